//! What must be remembered between two passes: one small JSON value per target, a documented contract.
//!
//! ```json
//! {"v":1,"firstSeen":T,"active":bool,"lastActive":T,"emptySince":T,"inWindow":[{"replicas":n,"until":T}],
//!  "outWindow":[…],"events":[{"at":T,"from":n,"to":n}],"pending":{…},"lastWritten":n,"foreignWrites":[T],"otherOwner":bool,
//!  "failures":{"0":n},"by":{"function":"…","at":T}}
//! ```
//! An event that stands for several has the time of the last in `at` and that of the first in `since`.
//! Nothing in it is a "last seen" time, so an unchanged situation leaves it unchanged and needs no write.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use crate::document::{Node, Value};
use crate::fields::{self, Fields, Problems};

/// Entries of a window: the open one, and one for each tenth of the window that its ends can fall into.
pub const MAX_ENTRIES: usize = 12;

/// Scale events kept apart. Of more, those that fall into the same tenth of a policy's period are one, which makes the rate
/// limits stricter for a tenth of the period at most.
pub const MAX_EVENTS: usize = 12;

/// The bytes of one target's text. 500 targets fit the 1 MiB of a ConfigMap. Where both windows are full, events are merged for it.
pub const MAX_STATE_BYTES: usize = 2048;

/// The highest replica count: Kubernetes has int32, and so has every count of the contract.
pub const MAX_REPLICAS: u32 = i32::MAX.cast_unsigned();

/// The memory of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// When this memory began.
    pub first_seen: Timestamp,
    /// Whether the last known readings were above their activation thresholds.
    pub active: bool,
    /// The last change of `active`; `None` while the workload has never been active.
    pub last_active: Option<Timestamp>,
    /// Since when every reading succeeded and none was active.
    pub empty_since: Option<Timestamp>,
    /// Wanted counts that scale-in must respect: falling, the newest without an end.
    pub in_window: Vec<WindowEntry>,
    /// Wanted counts that scale-out must respect: rising, the newest without an end.
    pub out_window: Vec<WindowEntry>,
    /// Changes of the count that were made and seen.
    pub events: Vec<ScaleEvent>,
    /// A change that was decided; the next pass sees whether it happened.
    pub pending: Option<ScaleEvent>,
    /// The count after the last change that was seen.
    pub last_written: Option<u32>,
    /// When somebody else changed the count.
    pub foreign_writes: Vec<Timestamp>,
    /// Whether another autoscaler owned the workload when somebody last looked.
    pub other_owner: bool,
    /// Failed readings in a row, by trigger.
    pub failures: BTreeMap<u32, u32>,
    /// Which function wrote this last. Only a write for another reason changes it.
    pub by: Option<Author>,
}

/// A function that wrote a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// Region, account and name, such as `eu-west-1/123456789012/outrigger`.
    pub function: String,
    /// When.
    pub at: Timestamp,
}

/// A wanted count and until when it was wanted; without an end it still is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowEntry {
    /// The wanted count.
    pub replicas: u32,
    /// Until when.
    pub until: Option<Timestamp>,
}

/// A change of the replica count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScaleEvent {
    /// When it was decided; of several that were merged, the last.
    pub at: Timestamp,
    /// When the first of several was decided that were merged.
    pub since: Option<Timestamp>,
    /// The count before.
    pub from: u32,
    /// The count after.
    pub to: u32,
}

impl State {
    /// A memory that begins now.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            first_seen: now,
            active: false,
            last_active: None,
            empty_since: None,
            in_window: Vec::new(),
            out_window: Vec::new(),
            events: Vec::new(),
            pending: None,
            last_written: None,
            foreign_writes: Vec::new(),
            other_owner: false,
            failures: BTreeMap::new(),
            by: None,
        }
    }

    /// The same, written by this function; without its name where that makes it longer than [`MAX_STATE_BYTES`].
    #[must_use]
    pub fn signed(&self, author: Option<&Author>) -> Self {
        let signed = Self {
            by: author.cloned(),
            ..self.clone()
        };
        match signed.text_len() {
            ..=MAX_STATE_BYTES => signed,
            _ => Self { by: None, ..signed },
        }
    }

    /// The JSON of the contract; what is empty is left out.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let Self {
            first_seen,
            active,
            last_active,
            empty_since,
            in_window,
            out_window,
            events,
            pending,
            last_written,
            foreign_writes,
            other_owner,
            failures,
            by,
        } = self;
        let mut object = Map::new();
        object.insert("v".into(), json!(1));
        object.insert("firstSeen".into(), time(first_seen));
        object.insert("active".into(), json!(active));
        let mut put = |key: &str, value: Option<Json>| {
            if let Some(value) = value {
                object.insert(key.into(), value);
            }
        };
        put("lastActive", last_active.as_ref().map(time));
        put("emptySince", empty_since.as_ref().map(time));
        put("inWindow", list(in_window, window_entry));
        put("outWindow", list(out_window, window_entry));
        put("events", list(events, event));
        put("pending", pending.as_ref().map(event));
        put("lastWritten", last_written.map(|count| json!(count)));
        put("foreignWrites", list(foreign_writes, time));
        put("otherOwner", other_owner.then_some(Json::Bool(true)));
        let counts: Map<String, Json> = failures
            .iter()
            .map(|(trigger, count)| (trigger.to_string(), json!(count)))
            .collect();
        put(
            "failures",
            (!counts.is_empty()).then_some(Json::Object(counts)),
        );
        put("by", by.as_ref().map(author));
        Json::Object(object)
    }

    /// The length of [`State::to_json`]'s text, without making it: every decision asks.
    #[must_use]
    pub fn text_len(&self) -> usize {
        let Self {
            first_seen,
            active,
            last_active,
            empty_since,
            in_window,
            out_window,
            events,
            pending,
            last_written,
            foreign_writes,
            other_owner,
            failures,
            by,
        } = self;
        let field = |key: &str, len: usize| key.len() + r#","":"#.len() + len;
        let list = |key: &str, count: usize, len: usize| match count {
            0 => 0,
            // Brackets, and commas between.
            _ => field(key, 2 + len + count - 1),
        };
        let window = |key: &str, window: &[WindowEntry]| {
            list(key, window.len(), window.iter().map(entry_len).sum())
        };
        let option = |key: &str, len: Option<usize>| len.map_or(0, |len| field(key, len));
        let counts = failures.iter();
        let counts =
            counts.map(|(trigger, count)| digits(*trigger) + digits(*count) + r#""":"#.len());
        r#"{"v":1}"#.len()
            + field("firstSeen", time_len(first_seen))
            + field("active", if *active { 4 } else { 5 })
            + option("lastActive", last_active.as_ref().map(time_len))
            + option("emptySince", empty_since.as_ref().map(time_len))
            + window("inWindow", in_window)
            + window("outWindow", out_window)
            + list("events", events.len(), events.iter().map(event_len).sum())
            + option("pending", pending.as_ref().map(event_len))
            + option("lastWritten", last_written.map(digits))
            + list(
                "foreignWrites",
                foreign_writes.len(),
                foreign_writes.iter().map(time_len).sum(),
            )
            + option("otherOwner", other_owner.then_some(4))
            + list("failures", failures.len(), counts.sum())
            + option("by", by.as_ref().map(|by| author(by).to_string().len()))
    }

    /// Reads the contract's JSON from a tree. `None` when any part of it is wrong; the problems say which.
    pub fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        let before = problems.list.len();
        let mut fields = Fields::of(node, path, problems)?;
        if let Some(version) = fields.require("v", "1", problems) {
            fields::integer(version, &fields.path("v"), 1..=1, problems);
        }
        let first_seen =
            fields.require("firstSeen", "a time such as 2026-11-23T00:00:00Z", problems);
        let first_seen = first_seen
            .and_then(|node| fields::timestamp(node, &fields.path("firstSeen"), problems));
        let active = fields
            .read("active", problems, fields::boolean)
            .unwrap_or_default();
        let last_active = fields.read("lastActive", problems, fields::timestamp);
        let empty_since = fields.read("emptySince", problems, fields::timestamp);
        let in_window = fields.read("inWindow", problems, |node, path, problems| {
            each(node, path, problems, read_entry)
        });
        let out_window = fields.read("outWindow", problems, |node, path, problems| {
            each(node, path, problems, read_entry)
        });
        let events = fields.read("events", problems, |node, path, problems| {
            each(node, path, problems, read_event)
        });
        let pending = fields.read("pending", problems, read_event);
        let last_written = fields.read("lastWritten", problems, fields::count);
        let foreign_writes = fields.read("foreignWrites", problems, |node, path, problems| {
            each(node, path, problems, fields::timestamp)
        });
        let other_owner = fields.read("otherOwner", problems, fields::boolean);
        let failures = fields.read("failures", problems, read_failures);
        let by = fields.read("by", problems, read_author);
        fields.finish(problems);
        let state = Self {
            first_seen: first_seen?,
            active,
            last_active,
            empty_since,
            in_window: in_window.unwrap_or_default(),
            out_window: out_window.unwrap_or_default(),
            events: events.unwrap_or_default(),
            pending,
            last_written,
            foreign_writes: foreign_writes.unwrap_or_default(),
            other_owner: other_owner.unwrap_or_default(),
            failures: failures.unwrap_or_default(),
            by,
        };
        (problems.list.len() == before).then_some(state)
    }

    /// Reads the text of a ConfigMap key.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        match crate::document::parse_json(text.as_bytes()) {
            Ok(node) => Self::read(&node, "", &mut problems).ok_or(problems),
            Err(error) => {
                problems.error(error.position, "", error.message);
                Err(problems)
            }
        }
    }
}

fn digits(count: u32) -> usize {
    count.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// With its quotes. Times in whole seconds of four-digit years, as the clock gives them, have one length.
fn time_len(at: &Timestamp) -> usize {
    const YEAR_0: i64 = -62_167_219_200;
    const YEAR_10000: i64 = 253_402_300_800;
    if at.subsec_nanosecond() == 0 && (YEAR_0..YEAR_10000).contains(&at.as_second()) {
        r#""2026-11-23T00:00:00Z""#.len()
    } else {
        at.to_string().len() + 2
    }
}

fn entry_len(entry: &WindowEntry) -> usize {
    let until = entry.until.as_ref();
    let until = until.map_or(0, |until| r#","until":"#.len() + time_len(until));
    r#"{"replicas":}"#.len() + digits(entry.replicas) + until
}

fn event_len(event: &ScaleEvent) -> usize {
    let since = event.since.as_ref();
    let since = since.map_or(0, |since| r#","since":"#.len() + time_len(since));
    r#"{"at":,"from":,"to":}"#.len()
        + time_len(&event.at)
        + digits(event.from)
        + digits(event.to)
        + since
}

fn time(at: &Timestamp) -> Json {
    Json::String(at.to_string())
}

fn list<T>(items: &[T], one: impl Fn(&T) -> Json) -> Option<Json> {
    (!items.is_empty()).then(|| items.iter().map(one).collect())
}

fn window_entry(entry: &WindowEntry) -> Json {
    match entry.until {
        Some(until) => json!({"replicas": entry.replicas, "until": time(&until)}),
        None => json!({"replicas": entry.replicas}),
    }
}

fn event(event: &ScaleEvent) -> Json {
    let mut object = json!({"at": time(&event.at), "from": event.from, "to": event.to});
    if let (Some(since), Json::Object(object)) = (event.since, &mut object) {
        object.insert("since".into(), time(&since));
    }
    object
}

fn author(author: &Author) -> Json {
    json!({"function": author.function, "at": time(&author.at)})
}

fn read_author(node: &Node, path: &str, problems: &mut Problems) -> Option<Author> {
    let mut fields = Fields::of(node, path, problems)?;
    let function = fields.require(
        "function",
        "a function's region, account and name",
        problems,
    );
    let function = function.and_then(|node| fields::text(node, &fields.path("function"), problems));
    let at = fields.require("at", "a time", problems);
    let at = at.and_then(|node| fields::timestamp(node, &fields.path("at"), problems));
    fields.finish(problems);
    Some(Author {
        function: function?,
        at: at?,
    })
}

fn each<T>(
    node: &Node,
    path: &str,
    problems: &mut Problems,
    one: impl Fn(&Node, &str, &mut Problems) -> Option<T>,
) -> Option<Vec<T>> {
    let items = fields::items(node, path, problems)?;
    items
        .into_iter()
        .map(|(path, item)| one(item, &path, problems))
        .collect()
}

fn read_entry(node: &Node, path: &str, problems: &mut Problems) -> Option<WindowEntry> {
    let mut fields = Fields::of(node, path, problems)?;
    let replicas = fields.require("replicas", "a whole number", problems);
    let replicas =
        replicas.and_then(|node| fields::count(node, &fields.path("replicas"), problems));
    let until = fields.read("until", problems, fields::timestamp);
    fields.finish(problems);
    Some(WindowEntry {
        replicas: replicas?,
        until,
    })
}

fn read_event(node: &Node, path: &str, problems: &mut Problems) -> Option<ScaleEvent> {
    let mut fields = Fields::of(node, path, problems)?;
    let at = fields.require("at", "a time", problems);
    let at = at.and_then(|node| fields::timestamp(node, &fields.path("at"), problems));
    let since = fields.read("since", problems, fields::timestamp);
    let from = fields.require("from", "a whole number", problems);
    let from = from.and_then(|node| fields::count(node, &fields.path("from"), problems));
    let to = fields.require("to", "a whole number", problems);
    let to = to.and_then(|node| fields::count(node, &fields.path("to"), problems));
    fields.finish(problems);
    Some(ScaleEvent {
        at: at?,
        since,
        from: from?,
        to: to?,
    })
}

fn read_failures(node: &Node, path: &str, problems: &mut Problems) -> Option<BTreeMap<u32, u32>> {
    let Value::Map(entries) = &node.value else {
        problems.found(node, path, "a mapping from trigger numbers to counts");
        return None;
    };
    let mut failures = BTreeMap::new();
    for (key, value) in entries {
        let Ok(trigger) = key.parse() else {
            problems.error(
                value.position,
                path,
                format!(
                    "found the key {}, allowed: a trigger's number from 0",
                    crate::document::quoted(key)
                ),
            );
            continue;
        };
        if let Some(count) = fields::count(value, &format!("{path}.{key}"), problems) {
            failures.insert(trigger, count);
        }
    }
    Some(failures)
}
