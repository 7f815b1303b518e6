use std::num::{NonZeroU32, NonZeroU64};

use super::*;
use crate::cron::{Schedule, time_zone};
use crate::policy::{
    Amount, CloudWatchTrigger, CronTrigger, Fallback, FallbackBehavior, Identity, Metric,
    MetricQuery, Pause, Queue, QueueAddress, RatePolicy, ReplicaBounds, ScalingRules, SelectPolicy,
    SqsTrigger, Trigger,
};
use crate::state::WindowEntry;

mod behavior;
mod liveness;
mod memory;
mod others;
mod properties;
mod rest;
mod triggers;

/// Seconds after an arbitrary beginning.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn trigger(per_replica: u32, activation: u64) -> Trigger {
    Trigger::SqsQueue(SqsTrigger {
        queue: Queue {
            address: QueueAddress::Name("orders".into()),
            region: "ap-northeast-1".into(),
            endpoint: None,
            identity: Identity::Function,
        },
        messages_per_replica: NonZeroU32::new(per_replica).unwrap(),
        activation_messages: activation,
        count_in_flight: true,
        count_in_flight_for_scale_out: true,
        count_delayed: false,
    })
}

fn cron(start: &str, end: &str, timezone: &str, replicas: u32) -> Trigger {
    let zone = time_zone(timezone).unwrap();
    Trigger::Cron(CronTrigger {
        start: Schedule::parse(start, &zone).unwrap(),
        end: Schedule::parse(end, &zone).unwrap(),
        timezone: timezone.to_owned(),
        replicas: NonZeroU32::new(replicas).unwrap(),
    })
}

fn cloudwatch(target_milli: u64, activation_milli: i64, no_data_milli: Option<i64>) -> Trigger {
    let query = MetricQuery::Statistic {
        namespace: "AWS/SQS".into(),
        name: "ApproximateAgeOfOldestMessage".into(),
        dimensions: vec![("QueueName".into(), "orders".into())],
        statistic: "Maximum".into(),
        unit: None,
    };
    Trigger::CloudWatch(CloudWatchTrigger {
        metric: Metric {
            query,
            period_seconds: 60,
            collection_seconds: 300,
            end_offset_seconds: 0,
            region: "ap-northeast-1".into(),
            endpoint: None,
            identity: Identity::Function,
        },
        target_milli: NonZeroU64::new(target_milli).unwrap(),
        activation_milli,
        no_data_milli,
    })
}

pub(super) fn policy(min: u32, max: u32, idle: Option<u32>) -> Policy {
    Policy {
        workload: "worker".into(),
        mode: Mode::Live,
        namespace: "default".into(),
        bounds: ReplicaBounds::new(min, NonZeroU32::new(max).unwrap(), idle).unwrap(),
        polling_seconds: NonZeroU32::new(30).unwrap(),
        cooldown_seconds: 300,
        initial_cooldown_seconds: 0,
        created: None,
        scale_out: ScalingRules::SCALE_OUT,
        scale_in: ScalingRules::SCALE_IN,
        fallback: None,
        pause: Pause::default(),
        force_activation: false,
        triggers: vec![trigger(10, 0)],
    }
}

pub(super) fn visible(messages: u64) -> Reading {
    Reading::Queue(QueueDepth {
        visible: messages,
        ..QueueDepth::default()
    })
}

pub(super) fn failed() -> Reading {
    Reading::Failed {
        error: "AccessDenied".into(),
    }
}

pub(super) fn seen(replicas: u32, readings: &[Reading]) -> Observation {
    Observation {
        workload: Workload {
            replicas,
            rollout: None,
        },
        readings: readings.to_vec(),
        stop: Stop::default(),
        conflicts: Vec::new(),
        poll_seconds: None,
    }
}

/// A workload that has been inactive, at one wanted count, since second 0.
fn inactive(wanted: u32) -> State {
    State {
        last_active: Some(at(0)),
        empty_since: Some(at(0)),
        in_window: vec![WindowEntry {
            replicas: wanted,
            until: None,
        }],
        ..State::new(at(-10_000))
    }
}

/// A workload that is active, at one wanted count.
pub(super) fn active(wanted: u32) -> State {
    State {
        active: true,
        last_active: Some(at(-5_000)),
        in_window: vec![WindowEntry {
            replicas: wanted,
            until: None,
        }],
        ..State::new(at(-10_000))
    }
}

/// Decides at second 1000 and compares what a person reads: count, reason, limits and sentence.
#[track_caller]
fn check(
    policy: &Policy,
    state: &State,
    observation: &Observation,
    to: u32,
    reason: Reason,
    limits: &[Limit],
    sentence: &str,
) {
    let decision = decide(policy, observation, Some(state), at(1000));
    assert_eq!(
        (decision.to, decision.reason, decision.limited_by.as_slice()),
        (to, reason, limits),
        "{}",
        decision.explanation
    );
    assert_eq!(decision.explanation, sentence);
    assert!(decision.warnings.is_empty(), "{:?}", decision.warnings);
}

#[test]
fn the_backlog_sets_the_count() {
    let observation = Observation {
        workload: Workload {
            replicas: 2,
            rollout: None,
        },
        readings: vec![Reading::Queue(QueueDepth {
            visible: 60,
            in_flight: 3,
            delayed: 9,
        })],
        stop: Stop::default(),
        conflicts: Vec::new(),
        poll_seconds: None,
    };
    let sentence = "worker 2 → 7: 63 messages (60 visible + 3 in flight) / 10 per replica; was limited by nothing";
    check(
        &policy(2, 16, None),
        &active(2),
        &observation,
        7,
        Reason::QueueDepth,
        &[],
        sentence,
    );
}

#[test]
fn the_maximum_limits_scale_out() {
    let sentence = "worker 2 → 16: 1000 messages (1000 visible + 0 in flight) / 10 per replica; was limited by maxReplicaCount 16";
    let limits = [Limit::MaxReplicaCount];
    check(
        &policy(2, 16, None),
        &active(2),
        &seen(2, &[visible(1000)]),
        16,
        Reason::QueueDepth,
        &limits,
        sentence,
    );
    let sentence = "worker stays at 16: 1000 messages (1000 visible + 0 in flight) / 10 per replica, at maxReplicaCount 16";
    check(
        &policy(2, 16, None),
        &active(2),
        &seen(16, &[visible(1000)]),
        16,
        Reason::Steady,
        &limits,
        sentence,
    );
}

#[test]
fn failed_readings_hold_and_known_ones_scale_out() {
    let mut policy = policy(2, 16, None);
    let sentence = "worker stays at 9: no reading: 1 of 1 failed; holds until the reading succeeds";
    check(
        &policy,
        &active(9),
        &seen(9, &[failed()]),
        9,
        Reason::ReadingFailed,
        &[],
        sentence,
    );
    check(
        &policy,
        &active(9),
        &seen(9, &[]),
        9,
        Reason::ReadingFailed,
        &[],
        sentence,
    );
    policy.triggers.push(trigger(10, 0));
    let sentence = "worker stays at 9: 1 of 2 readings failed, and the others ask for no more: \
                    orders: 30 messages (30 visible + 0 in flight) / 10 per replica; holds until the reading succeeds";
    let both = [failed(), visible(30)];
    check(
        &policy,
        &active(2),
        &seen(9, &both),
        9,
        Reason::ReadingFailed,
        &[Limit::FailedReading],
        sentence,
    );
    let sentence = "worker 4 → 13: orders: 124 messages (124 visible + 0 in flight) / 10 per replica, 1 other reading failed; \
                    was limited by nothing";
    check(
        &policy,
        &active(2),
        &seen(4, &[visible(124), failed()]),
        13,
        Reason::QueueDepth,
        &[],
        sentence,
    );
}

#[test]
fn the_bounds_hold_without_any_reading() {
    let sentence = "worker 20 → 16: maxReplicaCount is 16; was limited by nothing";
    check(
        &policy(2, 16, None),
        &active(9),
        &seen(20, &[failed()]),
        16,
        Reason::AboveMax,
        &[],
        sentence,
    );
    let sentence = "worker 0 → 2: minReplicaCount is 2; was limited by nothing";
    check(
        &policy(2, 16, None),
        &inactive(2),
        &seen(0, &[failed()]),
        2,
        Reason::BelowMin,
        &[],
        sentence,
    );
    check(
        &policy(2, 16, None),
        &inactive(2),
        &seen(0, &[visible(0)]),
        2,
        Reason::BelowMin,
        &[],
        sentence,
    );
}

fn pods(pods: u32, period_seconds: u32) -> RatePolicy {
    RatePolicy {
        amount: Amount::Pods(pods),
        period_seconds,
    }
}

#[test]
fn fallback_after_too_many_failures_and_never_down() {
    let mut policy = policy(1, 100, None);
    let fallback = |behavior| {
        Some(Fallback {
            failure_threshold: 3,
            replicas: 10,
            behavior,
        })
    };
    policy.fallback = fallback(FallbackBehavior::Static);
    let mut state = active(5);
    for pass in 1..=5 {
        let decision = decide(
            &policy,
            &seen(5, &[failed()]),
            Some(&state),
            at(1000 + pass),
        );
        assert_eq!(
            decision.state.failures.get(&0),
            Some(&u32::try_from(pass.min(4)).unwrap())
        );
        assert_eq!(
            decision.to,
            if pass > 3 { 10 } else { 5 },
            "{}",
            decision.explanation
        );
        state = State {
            pending: None,
            ..decision.state
        };
    }
    let sentence = "worker 5 → 10: 1 of 1 readings failed more than 3 times in a row, so fallback asks for 10; was limited by nothing";
    check(
        &policy,
        &state,
        &seen(5, &[failed()]),
        10,
        Reason::Fallback,
        &[],
        sentence,
    );
    for (behavior, current, expected) in [
        (FallbackBehavior::Static, 20, 20),
        (FallbackBehavior::CurrentReplicas, 6, 6),
        (FallbackBehavior::CurrentReplicasIfHigher, 6, 10),
        (FallbackBehavior::CurrentReplicasIfHigher, 12, 12),
        (FallbackBehavior::CurrentReplicasIfLower, 4, 4),
        (FallbackBehavior::CurrentReplicasIfLower, 12, 12),
    ] {
        policy.fallback = fallback(behavior);
        let decision = decide(&policy, &seen(current, &[failed()]), Some(&state), at(1010));
        assert_eq!(
            decision.to, expected,
            "{behavior:?} {current}: {}",
            decision.explanation
        );
    }
    let decision = decide(&policy, &seen(5, &[visible(50)]), Some(&state), at(1010));
    assert!(decision.state.failures.is_empty());
}

#[test]
fn in_flight_messages_may_keep_replicas_without_calling_for_more() {
    let mut policy = policy(1, 100, None);
    let Trigger::SqsQueue(trigger) = &mut policy.triggers[0] else {
        panic!("{:?}", policy.triggers)
    };
    trigger.count_in_flight_for_scale_out = false;
    let depth = |visible, in_flight| {
        Reading::Queue(QueueDepth {
            visible,
            in_flight,
            delayed: 0,
        })
    };
    for (replicas, visible, in_flight, expected) in [
        (5, 30, 60, 5),
        (5, 80, 60, 8),
        (9, 0, 50, 5),
        (9, 0, 90, 9),
        (1, 0, 90, 1),
    ] {
        let decision = decide(
            &policy,
            &seen(replicas, &[depth(visible, in_flight)]),
            Some(&active(1)),
            at(1000),
        );
        assert_eq!(decision.to, expected, "{}", decision.explanation);
    }
    let sentence = "worker 5 → 8: 140 messages (80 visible + 60 in flight), 80 for scale-out, / 10 per replica; was limited by nothing";
    check(
        &policy,
        &active(1),
        &seen(5, &[depth(80, 60)]),
        8,
        Reason::QueueDepth,
        &[],
        sentence,
    );
}

#[test]
fn every_reason_is_listed_once() {
    let names: std::collections::BTreeSet<&str> = Reason::ALL
        .iter()
        .map(|(reason, _)| reason.name())
        .collect();
    assert_eq!(names.len(), Reason::ALL.len());
}

#[test]
fn a_count_below_min_goes_to_the_wanted_one_at_once() {
    let policy = Policy {
        triggers: vec![trigger(1, 10)],
        ..policy(2, 16, None)
    };
    let decision = decide(
        &policy,
        &seen(0, &[visible(3)]),
        Some(&inactive(2)),
        at(1000),
    );
    assert_eq!((decision.to, decision.reason), (3, Reason::QueueDepth));
}

/// What only just is, or only just is not.
#[test]
fn edges() {
    // What asks for exactly what is allowed is limited by nothing.
    let exact = |policy: &Policy, state: &State, replicas, messages| {
        let decision = decide(
            policy,
            &seen(replicas, &[visible(messages)]),
            Some(state),
            at(1000),
        );
        (decision.to, decision.reason, decision.limited_by)
    };
    let plain = policy(2, 16, None);
    assert_eq!(
        exact(&plain, &active(2), 2, 160),
        (16, Reason::QueueDepth, vec![])
    );
    let limited = Policy {
        scale_out: ScalingRules {
            select: Some(SelectPolicy::Max),
            policies: vec![pods(4, 60)],
            ..ScalingRules::SCALE_OUT
        },
        scale_in: ScalingRules {
            select: Some(SelectPolicy::Max),
            policies: vec![pods(4, 60)],
            window_seconds: 0,
            ..ScalingRules::SCALE_IN
        },
        ..policy(1, 100, None)
    };
    assert_eq!(
        exact(&limited, &active(10), 10, 140),
        (14, Reason::QueueDepth, vec![])
    );
    assert_eq!(
        exact(&limited, &active(10), 10, 60),
        (6, Reason::QueueDepth, vec![])
    );
    // A workload that stays where the known readings want it is steady, also while another reading fails.
    let two = Policy {
        triggers: vec![trigger(10, 5), trigger(10, 5)],
        ..policy(0, 16, None)
    };
    let both = |replicas, state: &State, messages| {
        let observation = seen(replicas, &[visible(messages), failed()]);
        let decision = decide(&two, &observation, Some(state), at(1000));
        (decision.to, decision.reason)
    };
    assert_eq!(both(7, &active(7), 70), (7, Reason::Steady));
    // At rest it is the failed reading that is told, since it may hide activity.
    assert_eq!(both(0, &inactive(1), 3), (0, Reason::ReadingFailed));
}

#[test]
fn force_activation_needs_no_reading() {
    let policy = Policy {
        force_activation: true,
        ..policy(0, 16, None)
    };
    let forced = |replicas| {
        let decision = decide(
            &policy,
            &seen(replicas, &[failed()]),
            Some(&inactive(1)),
            at(1000),
        );
        (decision.to, decision.reason)
    };
    assert_eq!(forced(0), (1, Reason::Activated));
    assert_eq!(forced(1), (1, Reason::ReadingFailed));
}
