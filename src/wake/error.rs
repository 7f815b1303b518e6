//! Why an event is refused, told without quoting it.

use std::fmt;

use serde_json::{Map, Value, error::Category};
use thiserror::Error;

use crate::wake::{ACCEPTED, MAX_EVENT_BYTES, direct};

/// The longest piece of an event that an error repeats, in characters: enough for any AWS `detail-type`, too little to fill a log line.
const MAX_QUOTED_CHARS: usize = 100;

/// How many keys of an unknown object an error lists: enough to recognise the sender.
const MAX_LISTED_KEYS: usize = 6;

/// The most edits between a misspelt key and the one suggested for it; with three, `tags` would become `targets`.
const MAX_KEY_EDITS: usize = 2;

/// Why an event is refused.
///
/// An event may hold what nobody should read in a log, so that errors name keys and types and repeat no values but the
/// discriminators `source`, `detail-type` and `EventSource`, shortened and escaped.
/// Sending the same event again never helps.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WakeError {
    /// The event is over [`MAX_EVENT_BYTES`].
    #[error(
        "event of {byte_count} bytes is too large: at most {MAX_EVENT_BYTES} bytes (1 MiB) are read"
    )]
    TooLarge {
        /// The event's length.
        byte_count: usize,
    },
    /// There is nothing but white space.
    #[error("event is empty; accepted are {}", AcceptedShapes)]
    Empty,
    /// The event is no text.
    #[error("event is not UTF-8 at line {line} column {column}")]
    NotUtf8 {
        /// The line of the first bad byte, from 1.
        line: usize,
        /// The byte within the line, from 1.
        column: usize,
    },
    /// The event is no JSON, or nested too deep to be read.
    #[error("event is not readable JSON: {fault} at line {line} column {column}")]
    NotJson {
        /// What is wrong with it.
        fault: JsonFault,
        /// The line, from 1.
        line: usize,
        /// The byte within the line, from 1; 0 is the end of the line before.
        column: usize,
    },
    /// The event is text that does not even begin as JSON does.
    #[error(
        "event is plain text and no JSON, which begins with a brace; accepted are {}",
        AcceptedShapes
    )]
    PlainText,
    /// The event begins with a byte-order mark, as some editors and shells write it.
    #[error(
        "event begins with a byte-order mark, which JSON does not have; save it as UTF-8 without one. Accepted are {}",
        AcceptedShapes
    )]
    ByteOrderMark,
    /// A key stands twice in one object, and which of the two is meant is not for the reader to guess.
    #[error(
        "the key `{key}` stands twice in one object at line {line} column {column}; write it once"
    )]
    KeyTwice {
        /// The key, shortened and escaped.
        key: String,
        /// The line, from 1.
        line: usize,
        /// The byte within the line, from 1.
        column: usize,
    },
    /// The event is JSON of a shape that means nothing here.
    #[error("unsupported event, {found}; accepted are {}", AcceptedShapes)]
    Unsupported {
        /// What the event looks like.
        found: String,
    },
    /// The function is attached to a queue.
    #[error(
        "event has `eventSource` `aws:sqs`: an event source mapping consumes the messages of the work queue it reads, \
         and they would be lost here; remove the mapping and never attach one, only the queue's depth is needed"
    )]
    SqsEventSource,
    /// An SNS notification carries something else than an alarm or an event of ours.
    #[error(
        "`Records[{record}].Sns.Message` shows that the topic carries something that is no alarm, {found}; \
         subscribe to a topic of alarms alone, or filter by the subscription; accepted are {}",
        AcceptedShapes
    )]
    NoAlarm {
        /// The record, from 0.
        record: usize,
        /// What the message looks like.
        found: String,
    },
    /// The message within an SNS notification is refused.
    #[error("cannot read `Records[{record}].Sns.Message`")]
    SnsMessage {
        /// The record, from 0.
        record: usize,
        /// Why the message is refused; positions count from its own beginning.
        source: Box<WakeError>,
    },
    /// A value has another type than its key asks for.
    #[error("`{key}` is {found}, it takes {expected}")]
    WrongType {
        /// The path to the value.
        key: String,
        /// The type found.
        found: &'static str,
        /// The type needed.
        expected: &'static str,
    },
    /// A direct event has a key that it does not know.
    #[error("unknown key `{key}`{}; allowed are {}", Suggestion(*nearest), Quoted(&direct::KEYS))]
    UnknownKey {
        /// The key, shortened and escaped.
        key: String,
        /// The key that was perhaps meant.
        nearest: Option<&'static str>,
    },
    /// `targets` is there and names none.
    #[error(
        "`targets` is an empty list, which could mean none or all: name a target, or leave the key out for all"
    )]
    NoTargets,
    /// `targets` is too long.
    #[error(
        "`targets` has {count} entries, at most {} are allowed",
        direct::MAX_TARGETS
    )]
    TooManyTargets {
        /// The entries found, duplicates included.
        count: usize,
    },
    /// An entry of `targets` is no target name.
    #[error("`targets[{index}]` is not a target name")]
    InvalidTarget {
        /// The entry, from 0.
        index: usize,
        /// What is wrong with it.
        source: TargetNameError,
    },
    /// `scheduledTime` is no time.
    #[error("`scheduledTime` is not an RFC 3339 time such as `2026-11-20T03:15:00Z`")]
    InvalidScheduledTime,
}

/// Why a text is not readable JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum JsonFault {
    /// The text ends inside a value.
    #[error("it ends too early")]
    Truncated,
    /// Arrays and objects are nested beyond what the reader follows, 127 levels; accepted events need ten.
    #[error("it is nested more than 127 levels deep")]
    TooDeep,
    /// The text breaks the grammar.
    #[error("syntax error")]
    Malformed,
}

/// Why a text is no `namespace/name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TargetNameError {
    /// There is not exactly one slash.
    #[error("it has not exactly one `/`; write `namespace/name`")]
    NotTwoParts,
    /// The part before the slash cannot name a namespace.
    #[error(
        "its namespace is not a DNS label: 1 to 63 of `a-z`, `0-9` and `-`, with a letter or digit at both ends"
    )]
    InvalidNamespace,
    /// The part after the slash cannot name an object.
    #[error(
        "its name is not a DNS subdomain: at most 253 of `a-z`, `0-9`, `-` and `.`, with a letter or digit at both ends and \
         around every dot"
    )]
    InvalidName,
}

impl WakeError {
    pub(super) fn not_utf8(payload: &[u8], offset: usize) -> Self {
        let before = payload.get(..offset).unwrap_or(payload);
        let last_line = before.rsplit(|byte| *byte == b'\n').next();
        Self::NotUtf8 {
            line: before.split(|byte| *byte == b'\n').count(),
            column: last_line.map_or(0, <[u8]>::len).saturating_add(1),
        }
    }

    /// What is wrong with the message of an SNS record.
    pub(super) fn in_record(self, record: usize) -> Self {
        let found = match self {
            Self::Empty => "an empty text".to_owned(),
            Self::PlainText => "plain text and no JSON".to_owned(),
            Self::ByteOrderMark => "text with a byte-order mark".to_owned(),
            Self::NotJson {
                fault,
                line,
                column,
            } => format!("text that is not readable JSON: {fault} at line {line} column {column}"),
            Self::Unsupported { found } => found,
            other => {
                return Self::SnsMessage {
                    record,
                    source: Box::new(other),
                };
            }
        };
        Self::NoAlarm { record, found }
    }

    /// Keeps the position and drops the text, lest a later `serde_json` quotes the event in it.
    pub(super) fn not_json(error: &serde_json::Error) -> Self {
        let fault = match error.classify() {
            Category::Eof => JsonFault::Truncated,
            // serde_json has no predicate for its limit; a test holds the wording.
            Category::Syntax if error.to_string().starts_with("recursion limit") => {
                JsonFault::TooDeep
            }
            Category::Syntax | Category::Data | Category::Io => JsonFault::Malformed,
        };
        Self::NotJson {
            fault,
            line: error.line(),
            column: error.column(),
        }
    }

    pub(super) fn key_twice(key: &str, error: &serde_json::Error) -> Self {
        Self::KeyTwice {
            key: shorten(key),
            line: error.line(),
            column: error.column(),
        }
    }

    pub(super) fn unsupported(found: impl Into<String>) -> Self {
        Self::Unsupported {
            found: found.into(),
        }
    }

    pub(super) fn unsupported_object(fields: &Map<String, Value>) -> Self {
        let keys: Vec<String> = fields
            .keys()
            .take(MAX_LISTED_KEYS)
            .map(|key| shorten(key))
            .collect();
        let more = if fields.len() > keys.len() {
            ", …"
        } else {
            ""
        };
        Self::unsupported(format!("an object with the keys {}{more}", Quoted(&keys)))
    }

    pub(super) fn wrong_type(
        key: impl Into<String>,
        value: Option<&Value>,
        expected: &'static str,
    ) -> Self {
        Self::WrongType {
            key: key.into(),
            found: value.map_or("missing", type_name),
            expected,
        }
    }

    pub(super) fn unknown_key(key: &str) -> Self {
        Self::UnknownKey {
            key: shorten(key),
            nearest: nearest_key(key),
        }
    }
}

/// How an error names a value that it must not show.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A discriminator as an error shows it: a text in backticks, anything else by its type.
pub(super) fn discriminator(value: &Value) -> String {
    value.as_str().map_or_else(
        || type_name(value).to_owned(),
        |text| format!("`{}`", shorten(text)),
    )
}

/// The key of the direct shape that `key` is a misspelling of.
pub(super) fn nearest_key(key: &str) -> Option<&'static str> {
    // A longer text is no misspelling; the bound also keeps the comparison below cheap.
    if key.len() > 2 * MAX_QUOTED_CHARS {
        return None;
    }
    let fold = |text: &str| -> Vec<char> {
        text.to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric())
            .collect()
    };
    let key = fold(key);
    direct::KEYS
        .into_iter()
        .map(|candidate| (edit_count(&key, &fold(candidate)), candidate))
        .filter(|(edits, _)| *edits <= MAX_KEY_EDITS)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// The Levenshtein distance: how many characters to insert, drop or replace to turn one text into the other.
fn edit_count(from: &[char], to: &[char]) -> usize {
    // `row[i]` is the distance between the part of `from` read so far and the first `i` characters of `to`.
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (read, from_char) in from.iter().enumerate() {
        let mut left = read.saturating_add(1);
        let mut next = vec![left];
        for (to_char, pair) in to.iter().zip(row.windows(2)) {
            let &[diagonal, above] = pair else { continue };
            let replaced = diagonal.saturating_add(usize::from(from_char != to_char));
            left = replaced
                .min(above.saturating_add(1))
                .min(left.saturating_add(1));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(from.len())
}

/// Cuts a text to what an error may repeat and makes every control and invisible character visible.
fn shorten(text: &str) -> String {
    let mut shown = String::new();
    let mut char_count: usize = 0;
    for piece in text.chars().map(char::escape_debug) {
        char_count = char_count.saturating_add(piece.len());
        if char_count > MAX_QUOTED_CHARS {
            shown.push('…');
            break;
        }
        shown.extend(piece);
    }
    shown
}

struct AcceptedShapes;

impl fmt::Display for AcceptedShapes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (shape, recognised_by)) in ACCEPTED.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{shape} ({recognised_by})")?;
        }
        Ok(())
    }
}

struct Quoted<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Quoted<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, text) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}`{text}`")?;
        }
        Ok(())
    }
}

struct Suggestion(Option<&'static str>);

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(nearest) => write!(f, ", perhaps `{nearest}` is meant"),
            None => Ok(()),
        }
    }
}
