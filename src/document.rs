//! YAML and JSON text into trees of values that know where they stand.
//!
//! A derived `Deserialize` stops at its first mistake and forgets positions.
//! Here every document of a stream becomes a [`Node`] tree, and `manifest` walks it and collects all mistakes.
//! Aliases are expanded under a budget, so a small file cannot become a huge tree.

mod json;
mod yaml;

use std::fmt;

pub use json::parse_json;
pub use yaml::{Document, parse_yaml};

/// Bytes of a whole stream. 1,000 ScaledObjects are about 1 MB; CRDs in the same stream add some more.
pub const MAX_STREAM_BYTES: usize = 16 << 20;
/// Bytes of one document: what etcd takes in one request (1.5 MiB), rounded up.
pub const MAX_DOCUMENT_BYTES: usize = 2 << 20;
/// Values of one document after aliases are expanded. The largest CRD in use has about 30,000.
pub const MAX_NODES: usize = 200_000;
/// Levels of nesting. A ScaledObject has 7, a CRD about 40; deeper trees only serve to exhaust a stack.
pub const MAX_DEPTH: usize = 100;

/// Where a value stands in its file. Both count from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line in the file.
    pub line: usize,
    /// Column in that line.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A value with its position; JSON input has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The value itself.
    pub value: Value,
    /// Where it starts; `None` for JSON input.
    pub position: Option<Position>,
}

/// What a document is made of. Scalars stay text: the reader of a field knows what it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// A scalar; `plain` when it was written without quotes, so that `"5"` and `5` can be told apart.
    Scalar {
        /// The text after unquoting.
        text: String,
        /// Written without quotes.
        plain: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the file; keys are unique.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value below `key`, when this is a mapping that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, node)| node),
            Value::Null | Value::Scalar { .. } | Value::List(_) => None,
        }
    }

    /// The text of a scalar.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Whether this is text with nothing in it, as a chart renders a value that is not set.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.as_text().is_some_and(|text| text.trim().is_empty())
    }

    /// What this is, for an error message: scalars in backticks, shortened; the rest by kind.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Scalar { text, .. } => quoted(text),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    /// The same tree as JSON. Plain scalars become null, booleans and numbers as YAML 1.2's core schema reads them.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Scalar { text, plain: false } => text.as_str().into(),
            Value::Scalar { text, plain: true } => plain_to_json(text),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => serde_json::Value::Object(
                entries
                    .iter()
                    .map(|(key, node)| (key.clone(), node.to_json()))
                    .collect(),
            ),
        }
    }
}

/// Text in backticks, control characters escaped, cut after 80 characters.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    // `escape_debug` also escapes quotes, which need no escape between backticks.
    shown = shown.replace("\\\"", "\"").replace("\\'", "'");
    if text.chars().nth(80).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

fn plain_to_json(text: &str) -> serde_json::Value {
    match text {
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        _ => {
            if let Ok(number) = text.parse::<i64>() {
                return number.into();
            }
            let looks_decimal = text
                .starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
                && !text.contains(|c: char| c.is_alphabetic() && c != 'e' && c != 'E');
            match text
                .parse::<f64>()
                .ok()
                .and_then(serde_json::Number::from_f64)
            {
                Some(number) if looks_decimal => serde_json::Value::Number(number),
                Some(_) | None => text.into(),
            }
        }
    }
}

/// Why a text is not YAML or JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// Where the reader stopped.
    pub position: Option<Position>,
    /// What was wrong and what is allowed.
    pub message: String,
}

impl SyntaxError {
    fn new(position: Option<Position>, message: impl Into<String>) -> Self {
        Self {
            position,
            message: message.into(),
        }
    }
}

#[cfg(test)]
mod tests;
