//! JSON: the same trees, without positions.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Node, Position, SyntaxError, Value, quoted};

/// Reads one JSON text into the same tree, without positions. A key that stands twice is an error.
pub fn parse_json(bytes: &[u8]) -> Result<Node, SyntaxError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let describe = |error: &serde_json::Error| {
        let position = (error.line() > 0).then(|| Position {
            line: error.line(),
            column: error.column(),
        });
        let text = error.to_string();
        // serde_json appends the position, which the error already carries.
        let message = text
            .split(" at line ")
            .next()
            .unwrap_or_default()
            .to_owned();
        SyntaxError::new(position, format!("not valid JSON: {message}"))
    };
    let node = de::Deserialize::deserialize(&mut deserializer).map_err(|error| describe(&error))?;
    deserializer.end().map_err(|error| describe(&error))?;
    Ok(node)
}

impl<'de> de::Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl NodeVisitor {
    fn plain(text: impl Into<String>) -> Node {
        Node {
            value: Value::Scalar {
                text: text.into(),
                plain: true,
            },
            position: None,
        }
    }
}

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node {
            value: Value::Null,
            position: None,
        })
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        Ok(Self::plain(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
        Ok(Self::plain(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        Ok(Self::plain(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        Ok(Self::plain(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node {
            value: Value::Scalar {
                text: value.to_owned(),
                plain: false,
            },
            position: None,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node {
            value: Value::List(items),
            position: None,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        let mut names = HashSet::new();
        while let Some((key, value)) = access.next_entry::<String, Node>()? {
            if !names.insert(key.clone()) {
                return Err(de::Error::custom(format!(
                    "the key {} stands twice in one object",
                    quoted(&key)
                )));
            }
            entries.push((key, value));
        }
        Ok(Node {
            value: Value::Map(entries),
            position: None,
        })
    }
}
