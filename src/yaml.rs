//! JSON values as YAML that people read: blocks, and text without quotes where nothing could take it for something else.

use std::fmt::Write as _;

use serde_json::Value as Json;

/// One document, with a line break at its end.
pub(crate) fn document(value: &Json) -> String {
    let mut text = String::new();
    write_block(value, 0, &mut text);
    text
}

/// A value on lines of its own, each so far to the right.
fn write_block(value: &Json, indent: usize, text: &mut String) {
    match value {
        Json::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let _infallible = write!(text, "{:indent$}{}:", "", scalar(key));
                // A list below a key may stand as far to the left as the key.
                let deeper = indent + if value.is_array() { 0 } else { 2 };
                write_below(value, deeper, text);
            }
        }
        Json::Array(items) if !items.is_empty() => {
            for item in items {
                let mut block = String::new();
                write_block(item, indent + 2, &mut block);
                let _infallible = write!(text, "{:indent$}- {}", "", block.trim_start());
            }
        }
        other => {
            let _infallible = writeln!(text, "{:indent$}{}", "", on_one_line(other));
        }
    }
}

/// A value behind its key: on the same line where it fits.
fn write_below(value: &Json, indent: usize, text: &mut String) {
    let is_block = match value {
        Json::Object(entries) => !entries.is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
    };
    if is_block {
        text.push('\n');
        write_block(value, indent, text);
    } else {
        let _infallible = writeln!(text, " {}", on_one_line(value));
    }
}

fn on_one_line(value: &Json) -> String {
    match value {
        Json::String(text) => scalar(text),
        // Null, booleans, numbers, `[]` and `{}` are the same in both.
        other => other.to_string(),
    }
}

/// Words that some YAML readers take for a boolean or null.
const TAKEN: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

pub(crate) fn scalar(text: &str) -> String {
    let begins = text.starts_with(|first: char| first.is_ascii_alphabetic());
    let is_word = |char: char| char.is_ascii_alphanumeric() || "-_./".contains(char);
    let is_taken = TAKEN.iter().any(|word| word.eq_ignore_ascii_case(text));
    if begins && !is_taken && text.chars().all(is_word) {
        return text.to_owned();
    }
    // A string of JSON is one of YAML, but for a few characters that YAML calls unprintable.
    let mut quoted = String::new();
    for char in Json::from(text).to_string().chars() {
        match char {
            '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                let _infallible = write!(quoted, "\\u{:04x}", u32::from(char));
            }
            char => quoted.push(char),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::document::parse_yaml;

    #[test]
    fn blocks_as_kubectl_writes_them() {
        let value = json!([
            {"target": "default/worker", "limitedBy": [], "lastChange": {"at": "2026-11-24T00:00:00Z", "from": 2},
             "triggers": [{"queue": "orders", "visible": 60}, {"queue": "other"}], "wanted": null, "empty": {}},
            [["nested"], "no", ""],
        ]);
        let expected = "\
- target: default/worker
  limitedBy: []
  lastChange:
    at: \"2026-11-24T00:00:00Z\"
    from: 2
  triggers:
  - queue: orders
    visible: 60
  - queue: other
  wanted: null
  empty: {}
- - - nested
  - \"no\"
  - \"\"
";
        assert_eq!(document(&value), expected);
        assert_eq!(document(&json!([])), "[]\n");
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let text = prop_oneof![
            any::<String>(),
            "[a-zA-Z0-9 .:#&*!|>'\"%@`{}\\[\\],?~-]{0,8}"
        ];
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            text.clone().prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            let entries = prop::collection::vec((text.clone(), inner.clone()), 0..4);
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Json::from),
                entries.prop_map(|entries| Json::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(value in any_json()) {
            let text = document(&value);
            let documents = parse_yaml(text.as_bytes());
            prop_assert_eq!(documents.len(), 1, "{}", text);
            let root = documents[0].root.as_ref();
            let read = root.map(crate::document::Node::to_json);
            prop_assert_eq!(read.ok(), Some(value), "{}", text);
        }
    }
}
