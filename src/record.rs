//! The replayable record: what a decision was made from, and the decision, as JSON. A documented contract, version 1.
//!
//! ```json
//! {"v":1,"now":"2026-11-23T00:00:00Z","scaledObject":{…},
//!  "workload":{"replicas":4,"rollout":{"paused":false,"aborted":false,"updating":false,"pauseStep":false}},
//!  "readings":[{"visible":120,"inFlight":4,"delayed":0},{"error":"AccessDenied"}],"conflicts":[],"state":null}
//! ```
//!
//! `conflicts` is what was found when other owners were looked for, empty when nothing was found or nobody looked:
//! `{"kind":"HorizontalPodAutoscaler","name":"worker"}`, with `"scaledObject":"worker"` when it is KEDA's;
//! `{"kind":"ScaledObject","name":"worker","finalizer":0}` for one without an autoscaler that still carries KEDA's finalizer, at
//! that place of its list; `{"error":"Forbidden"}` when nobody could tell.
//!
//! `readings[i]` belongs to `triggers[i]`: the counts of a queue; `{"valueMilli":1500}`, in thousandths, or `{"noData":true}` (also
//! written `{"valueMilli":null}`) of a CloudWatch metric; `{}` for a cron trigger, which is computed from `now`; or `{"error":"…"}` for a reading that failed.
//!
//! While somebody has stopped the target in the ConfigMap, there is also `"stop":{"all":true,"scaleIn":false}`; in `rollout`, while
//! it takes over from a Deployment, `"handover":true`. `"pollSeconds":60` says that the workload is polled that often while it is
//! awake, where its `pollingInterval` is longer: the cooldown counts from the poll before the first inactive one.
//!
//! The example gives `{"v":1,"action":"scale","from":4,"to":13,"reason":"QueueDepth","limitedBy":[],"explanation":"…","state":{…}}`.

mod conflict;
#[cfg(test)]
mod schema;

use std::num::NonZeroU32;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::decide::{Decision, Observation, QueueDepth, Reading, Rollout, Stop, Workload, decide};
use crate::document::{Node, Value, parse_json};
use crate::fields::{self, Fields, Problems};
use crate::manifest::{self, Resolution, read_scaled_object};
use crate::policy::{Policy, SqsTrigger, Trigger};
use crate::state::State;

/// The JSON Schema of the record and of the decision: the contract in full, as `outrigger decide --schema` prints it.
pub const SCHEMA: &str = include_str!("record/schema.json");

/// Everything that a decision depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// When it was decided.
    pub now: Timestamp,
    /// The rules.
    pub policy: Policy,
    /// What was seen.
    pub observation: Observation,
    /// What was remembered.
    pub state: Option<State>,
}

impl Record {
    /// Decides again.
    pub fn decide(&self) -> Decision {
        let Self {
            now,
            policy,
            observation,
            state,
        } = self;
        decide(policy, observation, state.as_ref(), *now)
    }

    /// Reads a record, or a log line that holds one under `record`. All mistakes at once.
    pub fn parse(bytes: &[u8]) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let node = match parse_json(bytes) {
            Ok(node) => node,
            Err(error) => {
                problems.error(error.position, "", error.message);
                return Err(problems);
            }
        };
        let record = match node.get("record") {
            Some(record) => read(record, "record", &mut problems),
            None => read(&node, "", &mut problems),
        };
        record.filter(|_| problems.errors() == 0).ok_or(problems)
    }
}

fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Record> {
    let mut fields = Fields::of(node, path, problems)?;
    if let Some(version) = fields.require("v", "1", problems) {
        fields::integer(version, &fields.path("v"), 1..=1, problems);
    }
    let now = fields.require("now", "a time such as 2026-11-23T00:00:00Z", problems);
    let now = now.and_then(|node| fields::timestamp(node, &fields.path("now"), problems));
    let object = fields.require("scaledObject", "a ScaledObject", problems);
    if let Some(object) = object {
        refuse_other_kinds(object, problems);
    }
    let target = object
        .and_then(|object| read_scaled_object(object, "default", Resolution::Skip, problems).1);
    let workload = fields.require("workload", "a mapping with `replicas`", problems);
    let workload =
        workload.and_then(|node| read_workload(node, &fields.path("workload"), problems));
    let readings = fields.require("readings", "a list with one reading a trigger", problems);
    let triggers = target
        .as_ref()
        .map(|target| target.policy.triggers.as_slice());
    let readings =
        readings.and_then(|node| read_readings(node, &fields.path("readings"), triggers, problems));
    let conflicts = fields.take("conflicts");
    let conflicts =
        conflicts.map(|node| conflict::read_all(node, &fields.path("conflicts"), problems));
    let stop = fields.read("stop", problems, read_stop);
    let poll_seconds = fields.read("pollSeconds", problems, |node, path, problems| {
        let seconds = fields::integer(node, path, 1..=i64::from(i32::MAX), problems)?;
        u32::try_from(seconds).ok().and_then(NonZeroU32::new)
    });
    let state = fields
        .take("state")
        .map(|node| State::read(node, &fields.path("state"), problems));
    fields.finish(problems);
    Some(Record {
        now: now?,
        policy: target?.policy,
        observation: Observation {
            workload: workload?,
            readings: readings?,
            stop: stop.unwrap_or_default(),
            conflicts: match conflicts {
                Some(conflicts) => conflicts?,
                None => Vec::new(),
            },
            poll_seconds,
        },
        state: match state {
            Some(state) => Some(state?),
            None => None,
        },
    })
}

/// What it is may be left out, but then it is nothing else.
fn refuse_other_kinds(object: &Node, problems: &mut Problems) {
    for (key, only) in [
        ("apiVersion", manifest::API_VERSION),
        ("kind", "ScaledObject"),
    ] {
        let found = object.get(key).filter(|node| node.value != Value::Null);
        if let Some(found) = found.filter(|node| node.as_text() != Some(only)) {
            problems.found(found, key, only);
        }
    }
}

fn read_workload(node: &Node, path: &str, problems: &mut Problems) -> Option<Workload> {
    let mut fields = Fields::of(node, path, problems)?;
    let replicas = fields.require("replicas", "a whole number", problems);
    let replicas =
        replicas.and_then(|node| fields::count(node, &fields.path("replicas"), problems));
    let rollout = fields.read("rollout", problems, |node, path, problems| {
        let mut fields = Fields::of(node, path, problems)?;
        let mut flag = |key| {
            fields
                .read(key, problems, fields::boolean)
                .unwrap_or_default()
        };
        let rollout = Rollout {
            paused: flag("paused"),
            aborted: flag("aborted"),
            updating: flag("updating"),
            pause_step: flag("pauseStep"),
            handover: flag("handover"),
        };
        fields.finish(problems);
        Some(rollout)
    });
    fields.finish(problems);
    Some(Workload {
        replicas: replicas?,
        rollout,
    })
}

fn read_stop(node: &Node, path: &str, problems: &mut Problems) -> Option<Stop> {
    let mut fields = Fields::of(node, path, problems)?;
    let mut flag = |key| {
        fields
            .read(key, problems, fields::boolean)
            .unwrap_or_default()
    };
    let stop = Stop {
        all: flag("all"),
        scale_in: flag("scaleIn"),
        unread_until: fields.read("unreadUntil", problems, fields::timestamp),
    };
    fields.finish(problems);
    Some(stop)
}

fn read_readings(
    node: &Node,
    path: &str,
    triggers: Option<&[Trigger]>,
    problems: &mut Problems,
) -> Option<Vec<Reading>> {
    let items = fields::items(node, path, problems)?;
    if let Some(triggers) = triggers.filter(|triggers| triggers.len() != items.len()) {
        let (found, allowed) = (items.len(), triggers.len());
        problems.error(
            node.position,
            path,
            format!("found {found} readings, allowed: {allowed}, one a trigger"),
        );
        return None;
    }
    let readings: Vec<Option<Reading>> = items
        .into_iter()
        .enumerate()
        .map(|(index, (path, item))| {
            read_reading(
                item,
                &path,
                triggers.and_then(|triggers| triggers.get(index)),
                problems,
            )
        })
        .collect();
    readings.into_iter().collect()
}

fn read_reading(
    node: &Node,
    path: &str,
    trigger: Option<&Trigger>,
    problems: &mut Problems,
) -> Option<Reading> {
    let mut fields = Fields::of(node, path, problems)?;
    let reading = match trigger? {
        Trigger::Cron(_) => Some(Reading::Cron),
        Trigger::SqsQueue(trigger) => read_error(&mut fields, problems)
            .or_else(|| read_depth(&mut fields, trigger, problems).map(Reading::Queue)),
        Trigger::CloudWatch(_) => {
            read_error(&mut fields, problems).or_else(|| read_metric(&mut fields, problems))
        }
    };
    fields.finish(problems);
    reading
}

fn read_error(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Reading> {
    let node = fields.take("error")?;
    let error = fields::text(node, &fields.path("error"), problems);
    // What is wrong with it is told, and then nothing else is missing.
    Some(Reading::Failed {
        error: error.unwrap_or_default(),
    })
}

fn read_depth(
    fields: &mut Fields<'_>,
    trigger: &SqsTrigger,
    problems: &mut Problems,
) -> Option<QueueDepth> {
    // A count that the trigger needs must be there: what is missing is not zero.
    let mut messages = |key, needed| {
        let found = if needed {
            fields.require(key, "a number of messages", problems)
        } else {
            fields.take(key)
        };
        match found {
            Some(node) => fields::integer(node, &fields.path(key), 0..=i64::MAX, problems)
                .and_then(|found| u64::try_from(found).ok()),
            None => (!needed).then_some(0),
        }
    };
    let visible = messages("visible", true);
    let in_flight = messages("inFlight", trigger.count_in_flight);
    let delayed = messages("delayed", trigger.count_delayed);
    Some(QueueDepth {
        visible: visible?,
        in_flight: in_flight?,
        delayed: delayed?,
    })
}

/// A value in thousandths, or no data, which must be said.
fn read_metric(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Reading> {
    let no_data = fields.read("noData", problems, fields::boolean);
    let no_data = no_data.unwrap_or_else(|| fields.is_null("valueMilli"));
    let path = fields.path("valueMilli");
    match (fields.take("valueMilli"), no_data) {
        (Some(node), false) => {
            let value = fields::integer(node, &path, i64::MIN..=i64::MAX, problems)?;
            Some(Reading::Metric(Some(value)))
        }
        (None, true) => Some(Reading::Metric(None)),
        (Some(node), true) => {
            problems.found(node, &path, "a value or `noData`, not both");
            None
        }
        (None, false) => {
            let message = "missing, allowed: a whole number of thousandths, or `noData`: true";
            problems.error(fields.position(), &path, message);
            None
        }
    }
}

/// The record of one decision. `manifest` is the target's ScaledObject.
#[must_use]
pub fn record_json(
    manifest: &Json,
    observation: &Observation,
    state: Option<&State>,
    now: Timestamp,
) -> Json {
    let Observation {
        workload: Workload { replicas, rollout },
        readings,
        stop,
        conflicts,
        poll_seconds,
    } = observation;
    let mut workload = json!({"replicas": replicas});
    if let (
        Some(Rollout {
            paused,
            aborted,
            updating,
            pause_step,
            handover,
        }),
        Json::Object(workload),
    ) = (rollout, &mut workload)
    {
        let mut rollout = json!({"paused": paused, "aborted": aborted, "updating": updating, "pauseStep": pause_step});
        if let (true, Json::Object(rollout)) = (handover, &mut rollout) {
            rollout.insert("handover".into(), json!(true));
        }
        workload.insert("rollout".into(), rollout);
    }
    let mut record = json!({
        "v": 1,
        "now": now.to_string(),
        "scaledObject": manifest,
        "workload": workload,
        "readings": readings.iter().map(reading_json).collect::<Vec<_>>(),
        "conflicts": conflicts.iter().map(conflict::json).collect::<Vec<_>>(),
        "state": state.map(State::to_json),
    });
    let Stop {
        all,
        scale_in,
        unread_until,
    } = *stop;
    if let (true, Json::Object(record)) = (*stop != Stop::default(), &mut record) {
        let mut stop = json!({"all": all, "scaleIn": scale_in});
        if let (Some(until), Json::Object(stop)) = (unread_until, &mut stop) {
            stop.insert("unreadUntil".into(), json!(until.to_string()));
        }
        record.insert("stop".into(), stop);
    }
    if let (Some(seconds), Json::Object(record)) = (poll_seconds, &mut record) {
        record.insert("pollSeconds".into(), json!(seconds));
    }
    record
}

fn reading_json(reading: &Reading) -> Json {
    match reading {
        Reading::Queue(QueueDepth {
            visible,
            in_flight,
            delayed,
        }) => {
            json!({"visible": visible, "inFlight": in_flight, "delayed": delayed})
        }
        Reading::Metric(Some(value)) => json!({"valueMilli": value}),
        Reading::Metric(None) => json!({"noData": true}),
        Reading::Cron => json!({}),
        Reading::Failed { error } => json!({"error": error}),
    }
}

/// The decision as the contract has it; `warnings` only when there are any.
#[must_use]
pub fn decision_json(decision: &Decision) -> Json {
    let Decision {
        from,
        to,
        reason,
        limited_by,
        explanation,
        warnings,
        until,
        contested: _,
        active: _,
        leading: _,
        state,
    } = decision;
    let mut object = json!({
        "v": 1,
        "action": if decision.is_scale() { "scale" } else { "hold" },
        "from": from,
        "to": to,
        "reason": reason.name(),
        "limitedBy": limited_by.iter().map(|limit| limit.name()).collect::<Vec<_>>(),
        "explanation": explanation,
        "state": state.to_json(),
    });
    if let (Some(until), Json::Object(object)) = (until, &mut object) {
        object.insert("until".into(), json!(until.to_string()));
    }
    if let (false, Json::Object(object)) = (warnings.is_empty(), &mut object) {
        object.insert("warnings".into(), json!(warnings));
    }
    object
}

#[cfg(test)]
mod tests;
