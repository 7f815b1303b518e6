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
//! `readings[i]` belongs to `triggers[i]`: the counts of a queue; `{"valueMilli":1500}`, in thousandths, or `{"noData":true}` of a
//! CloudWatch metric; `{}` for a cron trigger, which is computed from `now`; or `{"error":"…"}` for a reading that failed.
//!
//! While somebody has stopped the target in the ConfigMap, there is also `"stop":{"all":true,"scaleIn":false}`; in `rollout`, while
//! it takes over from a Deployment, `"handover":true`.
//!
//! The example gives `{"v":1,"action":"scale","from":4,"to":13,"reason":"QueueDepth","limitedBy":[],"explanation":"…","state":{…}}`.

mod conflict;
#[cfg(test)]
mod schema;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::decide::{Decision, Observation, QueueDepth, Reading, Rollout, Stop, Workload, decide};
use crate::document::{Node, parse_json};
use crate::fields::{self, Fields, Problems};
use crate::manifest::{Resolution, read_scaled_object};
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
        },
        state: match state {
            Some(state) => Some(state?),
            None => None,
        },
    })
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
    let error = fields.read("error", problems, fields::text)?;
    Some(Reading::Failed { error })
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
    let path = fields.path("valueMilli");
    match (fields.take("valueMilli"), no_data == Some(true)) {
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
    let Stop { all, scale_in } = *stop;
    if let (true, Json::Object(record)) = (all || scale_in, &mut record) {
        record.insert("stop".into(), json!({"all": all, "scaleIn": scale_in}));
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
    if let (false, Json::Object(object)) = (warnings.is_empty(), &mut object) {
        object.insert("warnings".into(), json!(warnings));
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"v":1,"now":"2026-11-23T00:00:00Z","scaledObject":{"apiVersion":"keda.sh/v1alpha1","kind":"ScaledObject",
        "metadata":{"name":"worker","namespace":"default"},"spec":{"scaleTargetRef":{"name":"worker","apiVersion":"argoproj.io/v1alpha1",
        "kind":"Rollout"},"minReplicaCount":2,"maxReplicaCount":16,"triggers":[
        {"type":"aws-sqs-queue","authenticationRef":{"name":"x"},"metadata":{"queueURL":"orders","queueLength":"10","awsRegion":"eu-west-1"}},
        {"type":"aws-sqs-queue","metadata":{"queueURL":"other","queueLength":"10","awsRegion":"eu-west-1"}}]}},
        "workload":{"replicas":4,"rollout":{"paused":false,"aborted":false,"updating":false,"pauseStep":false}},
        "readings":[{"visible":120,"inFlight":4,"delayed":0},{"error":"AccessDenied"}],"conflicts":[],"state":null}"#;

    #[test]
    fn the_example_of_the_contract() {
        let record = Record::parse(RECORD.as_bytes()).unwrap();
        let decision = decision_json(&record.decide());
        let text = decision.to_string();
        assert!(text.starts_with(r#"{"v":1,"action":"scale","from":4,"to":13,"reason":"QueueDepth","limitedBy":[],"explanation":"worker 4 → 13: "#), "{text}");
        assert_eq!(
            decision["state"]["pending"].to_string(),
            r#"{"at":"2026-11-23T00:00:00Z","from":4,"to":13}"#
        );
    }

    #[test]
    fn a_record_replays_to_the_same_bytes() {
        let record = Record::parse(RECORD.as_bytes()).unwrap();
        let manifest = serde_json::from_str::<Json>(RECORD).unwrap()["scaledObject"].clone();
        let first = record.decide();
        for (state, seconds) in [(None, 0), (Some(&first.state), 60)] {
            let now = record.now + jiff::SignedDuration::from_secs(seconds);
            let decision = decide(&record.policy, &record.observation, state, now);
            let written = record_json(&manifest, &record.observation, state, now);
            let line = json!({"_aws": {}, "Targets": 1, "record": written, "decision": decision_json(&decision)}).to_string();
            let again = Record::parse(line.as_bytes()).unwrap().decide();
            assert_eq!(
                decision_json(&again).to_string(),
                decision_json(&decision).to_string()
            );
        }
    }

    /// A queue, a cron window, and a metric with and without `ignoreNullValues`.
    fn all_kinds(readings: &str) -> String {
        let metric = |ignore: &str| {
            format!(
                r#"{{"type":"aws-cloudwatch","metadata":{{"namespace":"AWS/SQS","metricName":"ApproximateAgeOfOldestMessage","dimensionName":"QueueName",
                "dimensionValue":"orders","targetMetricValue":"2.5","minMetricValue":0,"ignoreNullValues":"{ignore}","awsRegion":"eu-west-1"}}}}"#
            )
        };
        format!(
            r#"{{"v":1,"now":"2026-11-23T09:00:00Z","scaledObject":{{"apiVersion":"keda.sh/v1alpha1","kind":"ScaledObject","metadata":{{"name":"worker"}},
            "spec":{{"scaleTargetRef":{{"name":"worker"}},"triggers":[
            {{"type":"aws-sqs-queue","metadata":{{"queueURL":"orders","awsRegion":"eu-west-1"}}}},
            {{"type":"cron","metadata":{{"timezone":"Europe/Berlin","start":"0 8 * * *","end":"0 18 * * *","desiredReplicas":"6"}}}},{},{}]}}}},
            "workload":{{"replicas":4}},"readings":{readings}}}"#,
            metric("true"),
            metric("false"),
        )
    }

    #[test]
    fn readings_belong_to_their_triggers() {
        for readings in [
            r#"[{"visible":120,"inFlight":4,"delayed":0},{},{"valueMilli":90500},{"valueMilli":-1}]"#,
            r#"[{"error":"AccessDenied"},{},{"noData":true},{"error":"NoData"}]"#,
            r#"[{"visible":0,"inFlight":0,"delayed":0},{},{"error":"Throttling"},{"noData":true}]"#,
        ] {
            let text = all_kinds(readings);
            let record = Record::parse(text.as_bytes()).unwrap();
            let manifest = serde_json::from_str::<Json>(&text).unwrap()["scaledObject"].clone();
            let written = record_json(&manifest, &record.observation, None, record.now);
            assert_eq!(written["readings"].to_string(), readings);
            let decision = decision_json(&record.decide()).to_string();
            let again = Record::parse(written.to_string().as_bytes()).unwrap();
            assert_eq!(decision_json(&again.decide()).to_string(), decision);
        }
        let record = Record::parse(
            all_kinds(
                r#"[{"error":"AccessDenied"},{},{"noData":false,"valueMilli":1},{"noData":true}]"#,
            )
            .as_bytes(),
        );
        // The window is open, whatever the others say.
        assert_eq!(record.unwrap().decide().to, 6);
    }

    #[test]
    fn a_reading_of_another_kind_is_a_mistake() {
        for (readings, wanted) in [
            (
                r#"[{},{},{"valueMilli":1},{"valueMilli":1}]"#,
                "readings[0].visible: missing",
            ),
            (
                r#"[{"error":"x"},{"visible":3},{"valueMilli":1},{"valueMilli":1}]"#,
                "readings[1].visible: unknown field",
            ),
            (
                r#"[{"error":"x"},{"error":"x"},{"valueMilli":1},{"valueMilli":1}]"#,
                "readings[1].error: unknown field",
            ),
            (
                r#"[{"error":"x"},{},{},{"valueMilli":1}]"#,
                "readings[2].valueMilli: missing, allowed: a whole number of thousandths",
            ),
            (
                r#"[{"error":"x"},{},{"noData":false},{"valueMilli":1}]"#,
                "readings[2].valueMilli: missing",
            ),
            (
                r#"[{"error":"x"},{},{"valueMilli":1.5},{"valueMilli":1}]"#,
                "readings[2].valueMilli: found `1.5`, allowed: a whole number",
            ),
            (
                r#"[{"error":"x"},{},{"valueMilli":1,"noData":true},{"valueMilli":1}]"#,
                "readings[2].valueMilli: found `1`, allowed: a value or",
            ),
            (
                r#"[{"error":"x"},{},{"valueMilli":1},{"visible":1}]"#,
                "readings[3].visible: unknown field",
            ),
            (
                r#"[{"error":"x"},{},{"valueMilli":1},null]"#,
                "readings[3].valueMilli: missing",
            ),
        ] {
            let problems = Record::parse(all_kinds(readings).as_bytes()).unwrap_err();
            let found: Vec<String> = problems.list.iter().map(ToString::to_string).collect();
            assert!(
                found.iter().any(|line| line.starts_with(wanted)),
                "{wanted} in {found:#?}"
            );
        }
    }

    #[test]
    fn every_mistake_is_reported() {
        let broken = RECORD
            .replace(
                r#""v":1,"now":"2026-11-23T00:00:00Z""#,
                r#""v":2,"now":"yesterday","extra":1"#,
            )
            .replace(r#""replicas":4"#, r#""replicas":-4"#)
            .replace(r#""visible":120,"inFlight":4,"#, r#""visible":-1,"#)
            .replace(r#""conflicts":[]"#, r#""conflicts":[{}]"#)
            .replace(
                r#""state":null"#,
                r#""state":{"v":1,"firstSeen":"2026-11-23T00:00:00Z","active":"maybe"}"#,
            );
        let problems = Record::parse(broken.as_bytes()).unwrap_err();
        let found: Vec<String> = problems.list.iter().map(ToString::to_string).collect();
        for wanted in [
            "v: found `2`",
            "now: found",
            "extra: unknown",
            "workload.replicas",
            "readings[0].visible",
            "readings[0].inFlight: missing",
            "conflicts[0].kind: missing",
            "state.active: found `maybe`",
        ] {
            assert!(
                found.iter().any(|line| line.starts_with(wanted)),
                "{wanted} in {found:#?}"
            );
        }
        let short = RECORD.replace(r#",{"error":"AccessDenied"}"#, "");
        assert!(
            Record::parse(short.as_bytes()).unwrap_err().list[0]
                .message
                .contains("found 1 readings, allowed: 2")
        );
        for junk in ["", "[]", "{}", "null", r#"{"record":3}"#] {
            assert!(Record::parse(junk.as_bytes()).is_err(), "{junk}");
        }
    }
}
