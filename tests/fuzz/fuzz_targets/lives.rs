//! Any record is decided, and its workload then lives on: polled, failed readings, counts that others set, clocks that jump.
//!
//! What must hold for every life is asserted here once more, in few words; `tests/simulation` has the rules in full.

#![no_main]

use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;
use outrigger::decide::{Decision, Observation, QueueDepth, Reading, Reason, decide};
use outrigger::policy::{Policy, Trigger};
use outrigger::record::{Record, decision_json, record_json};
use outrigger::state::State;
use outrigger_fuzz::{Random, assert_plain};

const POLLS: usize = 24;
/// The most that the text of a state may have, in bytes.
const MAX_STATE_BYTES: usize = 2048;

fuzz_target!(|data: &[u8]| {
    let Ok(record) = Record::parse(data) else {
        return;
    };
    let Some(object) = scaled_object(data) else {
        return;
    };
    let mut random = Random::of(data);
    let Record {
        mut now,
        policy,
        mut observation,
        mut state,
    } = record;
    for _ in 0..POLLS {
        let decision = decide(&policy, &observation, state.as_ref(), now);
        holds(&policy, &observation, state.as_ref(), &decision, now);
        replays(&object, &observation, state.as_ref(), &decision, now);
        remembers(&decision);
        (now, observation) = next(&policy, observation, &decision, now, &mut random);
        state = Some(decision.state);
    }
});

/// The ScaledObject of the record, as it was given.
fn scaled_object(data: &[u8]) -> Option<serde_json::Value> {
    let json: serde_json::Value = serde_json::from_slice(data).ok()?;
    let record = json.get("record").unwrap_or(&json);
    record.get("scaledObject").cloned()
}

fn holds(
    policy: &Policy,
    observation: &Observation,
    state: Option<&State>,
    decision: &Decision,
    now: Timestamp,
) {
    assert_plain(&decision.explanation, "an explanation");
    assert_eq!(decision.from, observation.workload.replicas);
    let is_failed = |reading: &Reading| matches!(reading, Reading::Failed { .. });
    let is_correction = matches!(decision.reason, Reason::AboveMax | Reason::PausedReplicas);
    if observation.readings.iter().any(is_failed) && !is_correction {
        assert!(
            decision.to >= decision.from,
            "scaled in on a failed reading: {decision:?}"
        );
    }
    if observation.stop.all {
        assert_eq!(decision.to, decision.from, "{decision:?}");
    }
    assert!(
        decision.to <= policy.bounds.max().max(decision.from)
            || decision.reason == Reason::PausedReplicas,
        "{decision:?}"
    );
    assert!(
        decision.until.is_none_or(|until| until > now),
        "a hold that is over: {decision:?}"
    );
    let again = decide(policy, observation, state, now);
    assert_eq!(decision_json(&again), decision_json(decision));
}

/// The record of the decision is read again and decided alike.
fn replays(
    object: &serde_json::Value,
    observation: &Observation,
    state: Option<&State>,
    decision: &Decision,
    now: Timestamp,
) {
    let record = record_json(object, observation, state, now).to_string();
    let read = Record::parse(record.as_bytes())
        .unwrap_or_else(|problems| panic!("{problems:?} in {record}"));
    assert_eq!(
        decision_json(&read.decide()),
        decision_json(decision),
        "{record}"
    );
}

fn remembers(decision: &Decision) {
    let text = decision.state.to_json().to_string();
    assert!(
        text.len() <= MAX_STATE_BYTES,
        "{} bytes: {text}",
        text.len()
    );
    assert_eq!(
        State::parse(&text).ok().as_ref(),
        Some(&decision.state),
        "{text}"
    );
}

/// What the next poll sees.
fn next(
    policy: &Policy,
    before: Observation,
    decision: &Decision,
    now: Timestamp,
    random: &mut Random,
) -> (Timestamp, Observation) {
    let seconds = match random.below(12) {
        0 => -i64::try_from(random.below(4_000)).unwrap(),
        1 => i64::try_from(random.below(40_000)).unwrap(),
        _ => i64::try_from(random.below(400)).unwrap(),
    };
    let now = now
        .checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(now);
    let replicas = match random.below(8) {
        0 => u32::try_from(random.below(30)).unwrap(),
        1 => decision.from,
        _ => decision.to,
    };
    let depth = |random: &mut Random| match random.below(4) {
        0 => 0,
        1 => random.below(u64::from(u32::MAX) * 4),
        _ => random.below(500),
    };
    let readings = policy
        .triggers
        .iter()
        .map(|trigger| match (trigger, random.below(5)) {
            (Trigger::Cron(_), _) => Reading::Cron,
            (_, 0) => Reading::Failed {
                error: "Throttled".to_owned(),
            },
            (Trigger::SqsQueue(_), _) => Reading::Queue(QueueDepth {
                visible: depth(random),
                in_flight: depth(random) / 10,
                delayed: 0,
            }),
            (Trigger::CloudWatch(_), 1) => Reading::Metric(None),
            (Trigger::CloudWatch(_), _) => Reading::Metric(i64::try_from(depth(random)).ok()),
        });
    let readings = readings.collect();
    let mut observation = Observation { readings, ..before };
    observation.workload.replicas = replicas;
    (now, observation)
}
