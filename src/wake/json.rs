//! Text to JSON, without a back door.
//!
//! `serde_json` in its `raw_value` feature keeps a key for itself: its own `Value` reads `{"$serde_json::private::RawValue": "…"}`
//! as the JSON inside that string, with a fresh depth limit. Strings in strings then nest thousands of levels within 1 MiB, enough to
//! overflow the stack, which ends the process. Here that key is a key like any other.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::wake::WakeError;

/// Reads a text. Of keys that occur twice in an object, the last counts.
pub(super) fn read(text: &str) -> Result<Value, WakeError> {
    if text.trim().is_empty() {
        return Err(WakeError::Empty);
    }
    let Plain(value) = serde_json::from_str(text).map_err(|error| WakeError::not_json(&error))?;
    Ok(value)
}

struct Plain(Value);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor).map(Self)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut read = Vec::new();
        while let Some(Plain(item)) = items.next_element()? {
            read.push(item);
        }
        Ok(Value::Array(read))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        while let Some((key, Plain(value))) = entries.next_entry::<String, Plain>()? {
            read.insert(key, value);
        }
        Ok(Value::Object(read))
    }
}
