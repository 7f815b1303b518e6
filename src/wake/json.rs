//! Text to JSON, without a back door.
//!
//! `serde_json` in its `raw_value` feature keeps a key for itself: its own `Value` reads `{"$serde_json::private::RawValue": "…"}`
//! as the JSON inside that string, with a fresh depth limit. Strings in strings then nest thousands of levels within 1 MiB, enough to
//! overflow the stack, which ends the process. Here that key is a key like any other.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::wake::WakeError;

/// Reads a text. A key that stands twice in an object is an error: of two values for `dryRun` none is the one that was meant.
pub(super) fn read(text: &str) -> Result<Value, WakeError> {
    if text.trim().is_empty() {
        return Err(WakeError::Empty);
    }
    if text.starts_with('\u{feff}') {
        return Err(WakeError::ByteOrderMark);
    }
    let twice = RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = Plain(&twice)
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| match twice.take() {
        Some(key) => WakeError::key_twice(&key, &error),
        None if text.trim_start().starts_with(['{', '[', '"']) => WakeError::not_json(&error),
        None => WakeError::PlainText,
    })
}

/// Reads a value, and keeps the key that stands twice.
#[derive(Clone, Copy)]
struct Plain<'k>(&'k RefCell<Option<String>>);

impl<'de> DeserializeSeed<'de> for Plain<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Plain<'_> {
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
        while let Some(item) = items.next_element_seed(self)? {
            read.push(item);
        }
        Ok(Value::Array(read))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if read.contains_key(&key) {
                *self.0.borrow_mut() = Some(key);
                return Err(Error::custom("a key twice"));
            }
            let value = entries.next_value_seed(self)?;
            read.insert(key, value);
        }
        Ok(Value::Object(read))
    }
}
