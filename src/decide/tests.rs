use std::num::{NonZeroU32, NonZeroU64};

use proptest::prelude::*;

use super::*;
use crate::cron::{Schedule, time_zone};
use crate::policy::{
    Amount, CloudWatchTrigger, CronTrigger, Fallback, FallbackBehavior, Identity, Metric,
    MetricQuery, Pause, Queue, QueueAddress, RatePolicy, ReplicaBounds, ScalingRules, SelectPolicy,
    SqsTrigger, Trigger,
};
use crate::state::WindowEntry;

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
fn small_differences_are_within_the_tolerance() {
    let sentence = "worker stays at 10: 109 messages (109 visible + 0 in flight) / 10 per replica is within the tolerance of 10 replicas";
    check(
        &policy(2, 16, None),
        &active(10),
        &seen(10, &[visible(109)]),
        10,
        Reason::WithinTolerance,
        &[],
        sentence,
    );
    let sentence = "worker 10 → 12: 111 messages (111 visible + 0 in flight) / 10 per replica; was limited by nothing";
    check(
        &policy(2, 16, None),
        &active(10),
        &seen(10, &[visible(111)]),
        12,
        Reason::QueueDepth,
        &[],
        sentence,
    );
}

#[test]
fn scale_in_waits_for_the_window() {
    let window = |until| State {
        in_window: vec![
            WindowEntry {
                replicas: 10,
                until: Some(at(until)),
            },
            WindowEntry {
                replicas: 3,
                until: None,
            },
        ],
        ..active(3)
    };
    let sentence = "worker stays at 10: 30 messages (30 visible + 0 in flight) / 10 per replica asks for 3, held at 10 by the last 300 s";
    let limits = [Limit::ScaleInWindow];
    check(
        &policy(2, 16, None),
        &window(701),
        &seen(10, &[visible(30)]),
        10,
        Reason::ScaleInWindow,
        &limits,
        sentence,
    );
    let sentence = "worker 10 → 3: 30 messages (30 visible + 0 in flight) / 10 per replica; was limited by nothing";
    check(
        &policy(2, 16, None),
        &window(700),
        &seen(10, &[visible(30)]),
        3,
        Reason::QueueDepth,
        &[],
        sentence,
    );
}

#[test]
fn the_window_may_allow_a_part() {
    let state = State {
        in_window: vec![
            WindowEntry {
                replicas: 7,
                until: Some(at(900)),
            },
            WindowEntry {
                replicas: 3,
                until: None,
            },
        ],
        ..active(3)
    };
    let sentence = "worker 10 → 7: 30 messages (30 visible + 0 in flight) / 10 per replica asks for 3, held at 7 by the last 300 s; was limited by the 300 s scale-in window";
    check(
        &policy(2, 16, None),
        &state,
        &seen(10, &[visible(30)]),
        7,
        Reason::ScaleInWindow,
        &[Limit::ScaleInWindow],
        sentence,
    );
}

#[test]
fn failed_readings_hold_and_known_ones_scale_out() {
    let mut policy = policy(2, 16, None);
    let sentence = "worker stays at 9: no reading: 1 of 1 failed";
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
                    orders: 30 messages (30 visible + 0 in flight) / 10 per replica";
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

#[test]
fn zero_is_woken_by_activity_alone() {
    let mut policy = policy(0, 16, None);
    policy.triggers = vec![trigger(10, 5)];
    let sentence =
        "worker stays at 0: 5 messages (5 visible + 0 in flight) / 10 per replica, not above 5";
    check(
        &policy,
        &inactive(1),
        &seen(0, &[visible(5)]),
        0,
        Reason::Inactive,
        &[],
        sentence,
    );
    let sentence = "worker 0 → 1: active again with 6 messages (6 visible + 0 in flight) / 10 per replica; was limited by nothing";
    check(
        &policy,
        &inactive(1),
        &seen(0, &[visible(6)]),
        1,
        Reason::Activated,
        &[],
        sentence,
    );
    let sentence = "worker stays at 0: no reading: 1 of 1 failed";
    check(
        &policy,
        &inactive(1),
        &seen(0, &[failed()]),
        0,
        Reason::ReadingFailed,
        &[],
        sentence,
    );
    policy.force_activation = true;
    let sentence = "worker 0 → 1: the annotation force-activation is set, with 0 messages (0 visible + 0 in flight) / 10 per replica; was limited by nothing";
    check(
        &policy,
        &inactive(1),
        &seen(0, &[visible(0)]),
        1,
        Reason::Activated,
        &[],
        sentence,
    );
}

#[test]
fn zero_comes_after_the_cooldown() {
    let mut policy = policy(0, 16, None);
    let sentence = "worker 3 → 0: inactive for 1000 s with 0 messages (0 visible + 0 in flight) / 10 per replica, so to zero; \
                    was limited by nothing";
    check(
        &policy,
        &inactive(1),
        &seen(3, &[visible(0)]),
        0,
        Reason::ScaledToZero,
        &[],
        sentence,
    );
    policy.cooldown_seconds = 1000;
    let sentence = "worker stays at 1: 0 messages (0 visible + 0 in flight) / 10 per replica, inactive for 1000 s, to rest after 1000 s";
    check(
        &policy,
        &inactive(1),
        &seen(1, &[visible(0)]),
        1,
        Reason::Cooldown,
        &[Limit::Cooldown],
        sentence,
    );
    let sentence = "worker 3 → 1: 0 messages (0 visible + 0 in flight) / 10 per replica; was limited by the cooldown";
    check(
        &policy,
        &inactive(1),
        &seen(3, &[visible(0)]),
        1,
        Reason::QueueDepth,
        &[Limit::Cooldown],
        sentence,
    );
    policy.cooldown_seconds = 999;
    let decision = decide(
        &policy,
        &seen(1, &[visible(0)]),
        Some(&inactive(1)),
        at(1000),
    );
    assert_eq!(decision.reason, Reason::ScaledToZero);
}

#[test]
fn zero_needs_two_empty_readings_a_minute_apart() {
    let mut policy = policy(0, 16, None);
    policy.cooldown_seconds = 0;
    for (empty_since, expected) in [(Some(at(941)), 1), (Some(at(940)), 0), (None, 1)] {
        let state = State {
            empty_since,
            ..inactive(1)
        };
        let decision = decide(&policy, &seen(1, &[visible(0)]), Some(&state), at(1000));
        assert_eq!(
            decision.to, expected,
            "{empty_since:?}: {}",
            decision.explanation
        );
    }
}

#[test]
fn a_failed_reading_breaks_the_chain_of_empty_ones() {
    let policy = policy(0, 16, None);
    let decision = decide(&policy, &seen(1, &[failed()]), Some(&inactive(1)), at(1000));
    assert_eq!(
        (
            decision.to,
            decision.state.empty_since,
            decision.state.active
        ),
        (1, None, false)
    );
    let decision = decide(
        &policy,
        &seen(1, &[visible(0)]),
        Some(&decision.state),
        at(1030),
    );
    assert_eq!(
        (decision.to, decision.state.empty_since),
        (1, Some(at(1030)))
    );
}

#[test]
fn zero_does_not_bypass_the_window() {
    let mut policy = policy(0, 16, None);
    policy.cooldown_seconds = 60;
    let state = State {
        last_active: Some(at(850)),
        empty_since: Some(at(850)),
        in_window: vec![
            WindowEntry {
                replicas: 10,
                until: Some(at(850)),
            },
            WindowEntry {
                replicas: 1,
                until: None,
            },
        ],
        ..inactive(1)
    };
    assert_eq!(
        decide(&policy, &seen(10, &[visible(0)]), Some(&state), at(1000)).to,
        10
    );
    assert_eq!(
        decide(&policy, &seen(10, &[visible(0)]), Some(&state), at(1149)).to,
        10
    );
    assert_eq!(
        decide(&policy, &seen(10, &[visible(0)]), Some(&state), at(1150)).to,
        0
    );
}

#[test]
fn before_any_activity_the_initial_cooldown_counts_from_creation() {
    let mut policy = policy(0, 16, None);
    policy.initial_cooldown_seconds = 500;
    let state = State {
        last_active: None,
        first_seen: at(0),
        ..inactive(1)
    };
    for (created, expected) in [(Some(at(499)), 0), (Some(at(500)), 1), (None, 0)] {
        policy.created = created;
        assert_eq!(
            decide(&policy, &seen(1, &[visible(0)]), Some(&state), at(1000)).to,
            expected,
            "{created:?}"
        );
    }
}

#[test]
fn idle_may_be_any_number_below_min() {
    let policy = policy(5, 16, Some(2));
    let sentence = "worker 8 → 2: inactive for 1000 s with 0 messages (0 visible + 0 in flight) / 10 per replica, so to idleReplicaCount; \
                    was limited by nothing";
    check(
        &policy,
        &inactive(5),
        &seen(8, &[visible(0)]),
        2,
        Reason::ScaledToIdle,
        &[],
        sentence,
    );
    let sentence =
        "worker stays at 2: 0 messages (0 visible + 0 in flight) / 10 per replica, not above 0";
    check(
        &policy,
        &inactive(5),
        &seen(2, &[visible(0)]),
        2,
        Reason::Inactive,
        &[],
        sentence,
    );
    let sentence = "worker stays at 2: no reading: 1 of 1 failed";
    check(
        &policy,
        &inactive(5),
        &seen(2, &[failed()]),
        2,
        Reason::ReadingFailed,
        &[],
        sentence,
    );
    let sentence = "worker 2 → 5: active again with 1 message (1 visible + 0 in flight) / 10 per replica; was limited by minReplicaCount 5";
    check(
        &policy,
        &inactive(5),
        &seen(2, &[visible(1)]),
        5,
        Reason::Activated,
        &[Limit::MinReplicaCount],
        sentence,
    );
    let sentence = "worker 1 → 5: minReplicaCount is 5; was limited by nothing";
    check(
        &policy,
        &active(5),
        &seen(1, &[failed()]),
        5,
        Reason::BelowMin,
        &[],
        sentence,
    );
}

#[test]
fn a_missing_memory_holds_for_a_whole_window() {
    let policy = policy(2, 16, None);
    let first = decide(&policy, &seen(10, &[visible(0)]), None, at(0));
    assert_eq!((first.to, first.reason), (10, Reason::ScaleInWindow));
    let window = [
        WindowEntry {
            replicas: 10,
            until: Some(at(0)),
        },
        WindowEntry {
            replicas: 2,
            until: None,
        },
    ];
    assert_eq!(
        (first.state.in_window.as_slice(), first.state.first_seen),
        (window.as_slice(), at(0))
    );
    assert_eq!(
        decide(
            &policy,
            &seen(10, &[visible(0)]),
            Some(&first.state),
            at(299)
        )
        .to,
        10
    );
    assert_eq!(
        decide(
            &policy,
            &seen(10, &[visible(0)]),
            Some(&first.state),
            at(300)
        )
        .to,
        2
    );
    assert_eq!(
        decide(&policy, &seen(10, &[visible(900)]), None, at(0)).to,
        16
    );
}

#[test]
fn a_steady_workload_has_a_steady_memory() {
    for (policy, observation) in [
        (policy(2, 16, None), seen(7, &[visible(63)])),
        (policy(2, 16, None), seen(2, &[visible(0)])),
        (policy(0, 16, None), seen(0, &[visible(0)])),
        (policy(2, 16, None), seen(7, &[failed()])),
    ] {
        let first = decide(&policy, &observation, None, at(0));
        let second = decide(&policy, &observation, Some(&first.state), at(60));
        let third = decide(&policy, &observation, Some(&second.state), at(7200));
        assert_eq!((&first.state, &second.state), (&second.state, &third.state));
    }
}

#[test]
fn a_change_is_settled_by_the_next_pass() {
    let policy = policy(2, 16, None);
    let event = ScaleEvent {
        at: at(0),
        since: None,
        from: 2,
        to: 7,
    };
    let first = decide(&policy, &seen(2, &[visible(63)]), None, at(0));
    assert_eq!(
        (first.state.pending, first.state.events.len()),
        (Some(event), 0)
    );
    let done = decide(
        &policy,
        &seen(7, &[visible(63)]),
        Some(&first.state),
        at(60),
    );
    assert_eq!(
        (
            done.state.pending,
            done.state.events.as_slice(),
            done.state.last_written
        ),
        (None, [event].as_slice(), Some(7))
    );
    let lost = decide(
        &policy,
        &seen(2, &[visible(63)]),
        Some(&first.state),
        at(60),
    );
    assert_eq!(
        (
            lost.to,
            lost.state.pending.map(|event| event.at),
            lost.state.events.len()
        ),
        (7, Some(at(60)), 0)
    );
}

#[test]
fn times_in_the_future_are_read_as_now_and_told() {
    let state = State {
        last_active: Some(at(90_000)),
        ..inactive(1)
    };
    let decision = decide(
        &policy(0, 16, None),
        &seen(1, &[visible(0)]),
        Some(&state),
        at(1000),
    );
    assert_eq!(
        (decision.to, decision.state.last_active),
        (1, Some(at(1000)))
    );
    assert_eq!(
        decision.warnings,
        [
            "the state holds the time 2027-01-16T09:00:00Z, which lies after 2027-01-15T08:16:40Z: read as now; check the clocks"
        ]
    );
}

#[test]
fn pauses_come_first() {
    let paused = |pause| Policy {
        pause,
        ..policy(2, 16, None)
    };
    let sentence = "worker stays at 0: the annotation paused is set";
    let all = paused(Pause {
        all: true,
        ..Pause::default()
    });
    check(
        &all,
        &active(2),
        &seen(0, &[visible(900)]),
        0,
        Reason::Paused,
        &[],
        sentence,
    );
    let sentence =
        "worker 3 → 1: the annotation paused-replicas asks for 1; was limited by nothing";
    let count = paused(Pause {
        all: true,
        replicas: Some(1),
        ..Pause::default()
    });
    check(
        &count,
        &active(2),
        &seen(3, &[visible(900)]),
        1,
        Reason::PausedReplicas,
        &[],
        sentence,
    );
    let sentence = "worker stays at 0: 900 messages (900 visible + 0 in flight) / 10 per replica, and the annotation paused-scale-out is set";
    let out = paused(Pause {
        scale_out: true,
        ..Pause::default()
    });
    let limits = [Limit::MaxReplicaCount, Limit::PausedScaleOut];
    check(
        &out,
        &active(2),
        &seen(0, &[visible(900)]),
        0,
        Reason::PausedScaleOut,
        &limits,
        sentence,
    );
    let sentence = "worker stays at 20: 0 messages (0 visible + 0 in flight) / 10 per replica, and the annotation paused-scale-in is set";
    let scale_in = paused(Pause {
        scale_in: true,
        ..Pause::default()
    });
    let limits = [Limit::MinReplicaCount, Limit::PausedScaleIn];
    check(
        &scale_in,
        &active(2),
        &seen(20, &[visible(0)]),
        20,
        Reason::PausedScaleIn,
        &limits,
        sentence,
    );
}

#[test]
fn foreign_changes_are_met_with_restraint_and_never_freeze_scale_out() {
    let policy = policy(2, 16, None);
    let mut state = State {
        last_written: Some(7),
        ..active(7)
    };
    let mut pass = |seconds, replicas, messages| {
        let observation = seen(replicas, &[visible(messages)]);
        let decision = decide(&policy, &observation, Some(&state), at(seconds));
        state = decision.state.clone();
        (decision.to, decision.reason, decision.contested)
    };
    // Two foreign changes are set right like any other count.
    assert_eq!(pass(0, 3, 63), (7, Reason::QueueDepth, false));
    assert_eq!(pass(60, 7, 63), (7, Reason::Steady, false));
    assert_eq!(pass(120, 3, 63), (7, Reason::QueueDepth, false));
    assert_eq!(pass(180, 7, 63), (7, Reason::Steady, false));
    // The third makes a contest: one write in 5 minutes, none down.
    assert_eq!(pass(240, 3, 63), (3, Reason::Contested, true));
    assert_eq!(pass(420, 3, 63), (7, Reason::QueueDepth, true));
    assert_eq!(pass(430, 7, 0), (7, Reason::ScaleInWindow, true));
    assert_eq!(pass(820, 7, 0), (2, Reason::QueueDepth, false));
}

#[test]
fn what_is_taken_back_at_once_is_a_contest_too() {
    let policy = policy(2, 16, None);
    let mut state = State {
        last_written: Some(2),
        ..active(2)
    };
    // Somebody sets the count back to 2 seconds after each change.
    let mut pass = |seconds| {
        let decision = decide(&policy, &seen(2, &[visible(63)]), Some(&state), at(seconds));
        state = decision.state.clone();
        (decision.to, decision.reason, decision.contested)
    };
    assert_eq!(pass(0), (7, Reason::QueueDepth, false));
    // So soon another copy may only be about to make the change.
    assert_eq!(pass(5), (7, Reason::QueueDepth, false));
    assert_eq!(pass(60), (7, Reason::QueueDepth, false));
    assert_eq!(pass(120), (7, Reason::QueueDepth, false));
    assert_eq!(pass(180), (2, Reason::Contested, true));
    assert_eq!(pass(300), (2, Reason::Contested, true));
    // Five minutes after the last write it is tried again.
    assert_eq!(pass(420), (7, Reason::QueueDepth, true));
}

#[test]
fn in_a_contest_nothing_is_scaled_in_however_long_nothing_was_written() {
    let contested = State {
        foreign_writes: vec![at(500), at(700), at(900)],
        last_written: Some(20),
        ..active(2)
    };
    for (replicas, messages, to) in [(20, 0, 20), (9, 30, 9), (9, 120, 12)] {
        let state = State {
            last_written: Some(replicas),
            ..contested.clone()
        };
        let decision = decide(
            &policy(2, 16, None),
            &seen(replicas, &[visible(messages)]),
            Some(&state),
            at(1000),
        );
        assert!(decision.contested);
        assert_eq!(decision.to, to, "{}", decision.explanation);
    }
}

#[test]
fn what_a_person_does_in_a_pause_is_no_contest() {
    let paused = Policy {
        pause: Pause {
            all: true,
            ..Pause::default()
        },
        ..policy(2, 16, None)
    };
    let mut state = State {
        last_written: Some(7),
        ..active(7)
    };
    for (pass, replicas) in [3, 9, 4, 8].into_iter().enumerate() {
        let seconds = i64::try_from(pass).unwrap() * 60;
        let decision = decide(
            &paused,
            &seen(replicas, &[visible(63)]),
            Some(&state),
            at(seconds),
        );
        assert!(!decision.contested);
        state = decision.state;
    }
    assert_eq!(
        (state.foreign_writes.len(), state.last_written),
        (0, Some(8))
    );
}

#[test]
fn the_emergency_stop_comes_before_everything() {
    let policy = Policy {
        pause: Pause {
            replicas: Some(9),
            ..Pause::default()
        },
        ..policy(2, 16, None)
    };
    let stopped = |policy: &Policy, stop, replicas, messages| {
        let observation = Observation {
            stop,
            ..seen(replicas, &[visible(messages)])
        };
        let decision = decide(policy, &observation, Some(&active(2)), at(1000));
        (decision.to, decision.reason)
    };
    let all = Stop {
        all: true,
        scale_in: false,
    };
    assert_eq!(stopped(&policy, all, 0, 900), (0, Reason::Stopped));
    let scale_in = Stop {
        all: false,
        scale_in: true,
    };
    let policy = Policy {
        pause: Pause::default(),
        ..policy
    };
    assert_eq!(
        stopped(&policy, scale_in, 20, 0),
        (20, Reason::StoppedScaleIn)
    );
    assert_eq!(stopped(&policy, scale_in, 2, 90), (9, Reason::QueueDepth));
}

#[test]
fn the_rollout_gate_comes_last() {
    let gate = |rollout, replicas, messages| {
        let observation = Observation {
            workload: Workload {
                replicas,
                rollout: Some(rollout),
            },
            readings: vec![visible(messages)],
            stop: Stop::default(),
            conflicts: Vec::new(),
        };
        let decision = decide(
            &policy(0, 16, None),
            &observation,
            Some(&inactive(1)),
            at(1000),
        );
        (decision.to, decision.reason)
    };
    let updating = Rollout {
        updating: true,
        ..Rollout::default()
    };
    let aborted = Rollout {
        aborted: true,
        ..updating
    };
    let step = Rollout {
        pause_step: true,
        ..updating
    };
    let paused = Rollout {
        paused: true,
        ..updating
    };
    let handover = Rollout {
        handover: true,
        ..Rollout::default()
    };
    assert_eq!(gate(handover, 5, 0), (5, Reason::RolloutHandover));
    assert_eq!(gate(handover, 20, 900), (20, Reason::RolloutHandover));
    assert_eq!(gate(handover, 5, 90), (9, Reason::QueueDepth));
    assert_eq!(gate(handover, 0, 20), (2, Reason::Activated));
    assert_eq!(gate(updating, 5, 0), (5, Reason::RolloutUpdating));
    assert_eq!(gate(updating, 5, 90), (9, Reason::QueueDepth));
    assert_eq!(gate(updating, 20, 900), (20, Reason::RolloutUpdating));
    assert_eq!(gate(aborted, 5, 0), (5, Reason::RolloutAborted));
    assert_eq!(gate(aborted, 5, 90), (9, Reason::QueueDepth));
    assert_eq!(gate(step, 5, 0), (1, Reason::RolloutPauseStep));
    assert_eq!(gate(step, 5, 20), (2, Reason::QueueDepth));
    assert_eq!(gate(paused, 5, 90), (5, Reason::RolloutPaused));
    assert_eq!(gate(Rollout::default(), 5, 0), (0, Reason::ScaledToZero));
}

#[test]
fn a_memory_that_is_lost_costs_a_whole_cooldown_unless_the_object_is_new() {
    let begun = |created: Option<i64>, initial_cooldown_seconds| {
        let policy = Policy {
            created: created.map(at),
            initial_cooldown_seconds,
            ..policy(0, 16, None)
        };
        let decision = decide(&policy, &seen(1, &[visible(0)]), None, at(10_000));
        decision.state.last_active.is_some()
    };
    // The cooldown of the policy is 300 s.
    assert!(begun(None, 0), "nobody knows how old it is");
    assert!(!begun(None, 600), "it waits for the longer one");
    assert!(begun(Some(0), 0) && begun(Some(0), 600), "long past");
    assert!(!begun(Some(9_800), 0), "just created");
    assert!(!begun(Some(9_500), 600), "within its initial cooldown");
}

fn pods(pods: u32, period_seconds: u32) -> RatePolicy {
    RatePolicy {
        amount: Amount::Pods(pods),
        period_seconds,
    }
}

#[test]
fn policies_limit_both_directions_from_recorded_events() {
    let mut policy = policy(1, 100, None);
    policy.scale_out = ScalingRules {
        select: Some(SelectPolicy::Max),
        policies: vec![pods(4, 60)],
        ..ScalingRules::SCALE_OUT
    };
    policy.scale_in = ScalingRules {
        select: Some(SelectPolicy::Max),
        policies: vec![pods(1, 60)],
        window_seconds: 0,
        ..ScalingRules::SCALE_IN
    };
    let sentence = "worker 10 → 14: 900 messages (900 visible + 0 in flight) / 10 per replica asks for 90, but the scaleUp policies \
                    allow 14 now; was limited by the scaleUp policies";
    check(
        &policy,
        &active(10),
        &seen(10, &[visible(900)]),
        14,
        Reason::ScaleOutLimit,
        &[Limit::ScaleOutPolicies],
        sentence,
    );
    let sentence = "worker stays at 14: 900 messages (900 visible + 0 in flight) / 10 per replica asks for 90, but the scaleUp policies \
                    allow 14 now";
    let state = State {
        events: vec![ScaleEvent {
            at: at(941),
            since: None,
            from: 10,
            to: 14,
        }],
        ..active(14)
    };
    check(
        &policy,
        &state,
        &seen(14, &[visible(900)]),
        14,
        Reason::ScaleOutLimit,
        &[Limit::ScaleOutPolicies],
        sentence,
    );
    let state = State {
        events: vec![ScaleEvent {
            at: at(940),
            since: None,
            from: 10,
            to: 14,
        }],
        ..active(14)
    };
    assert_eq!(
        decide(&policy, &seen(14, &[visible(900)]), Some(&state), at(1000)).to,
        18
    );
    let sentence = "worker 10 → 9: 30 messages (30 visible + 0 in flight) / 10 per replica asks for 3, but the scaleDown policies allow 9 now; \
                    was limited by the scaleDown policies";
    check(
        &policy,
        &active(3),
        &seen(10, &[visible(30)]),
        9,
        Reason::ScaleInLimit,
        &[Limit::ScaleInPolicies],
        sentence,
    );
}

#[test]
fn a_percentage_alone_still_wakes_a_workload() {
    let mut policy = policy(0, 100, None);
    let percent = RatePolicy {
        amount: Amount::Percent(100),
        period_seconds: 60,
    };
    policy.scale_out = ScalingRules {
        select: Some(SelectPolicy::Max),
        policies: vec![percent],
        ..ScalingRules::SCALE_OUT
    };
    let decision = decide(
        &policy,
        &seen(0, &[visible(900)]),
        Some(&inactive(0)),
        at(1000),
    );
    assert_eq!((decision.to, decision.reason), (1, Reason::ScaleOutLimit));
}

#[test]
fn to_zero_goes_along_the_policies() {
    let mut policy = policy(0, 100, None);
    policy.scale_in = ScalingRules {
        select: Some(SelectPolicy::Max),
        policies: vec![pods(2, 60)],
        ..ScalingRules::SCALE_IN
    };
    let (mut replicas, mut state) = (5, inactive(1));
    let mut counts = Vec::new();
    for minute in 0..4 {
        let decision = decide(
            &policy,
            &seen(replicas, &[visible(0)]),
            Some(&state),
            at(1000 + 60 * minute),
        );
        (replicas, state) = (decision.to, decision.state);
        counts.push((replicas, decision.reason));
    }
    assert_eq!(
        counts,
        [
            (3, Reason::ScaleInLimit),
            (1, Reason::ScaleInLimit),
            (0, Reason::ScaledToZero),
            (0, Reason::Inactive)
        ]
    );
    // To an idle count below the minimum too, and there the counts between the two are within bounds.
    policy.bounds = ReplicaBounds::new(5, NonZeroU32::new(100).unwrap(), Some(1)).unwrap();
    let (mut replicas, mut state) = (6, inactive(5));
    let mut counts = Vec::new();
    for minute in 0..4 {
        let decision = decide(
            &policy,
            &seen(replicas, &[visible(0)]),
            Some(&state),
            at(1000 + 60 * minute),
        );
        (replicas, state) = (decision.to, decision.state);
        counts.push(replicas);
    }
    assert_eq!(counts, [4, 2, 1, 1]);
}

#[test]
fn between_min_and_idle_it_waits_for_the_policies_and_says_so() {
    let mut policy = policy(5, 100, Some(0));
    policy.scale_in = ScalingRules {
        select: Some(SelectPolicy::Max),
        policies: vec![pods(2, 60)],
        ..ScalingRules::SCALE_IN
    };
    let state = State {
        events: vec![ScaleEvent {
            at: at(990),
            since: None,
            from: 5,
            to: 3,
        }],
        last_written: Some(3),
        ..inactive(5)
    };
    let sentence = "worker stays at 3: inactive for 1000 s with 0 messages (0 visible + 0 in flight) / 10 per replica, \
                    but the scaleDown policies allow 3 now";
    check(
        &policy,
        &state,
        &seen(3, &[visible(0)]),
        3,
        Reason::ScaleInLimit,
        &[Limit::ScaleInPolicies],
        sentence,
    );
    // Where nothing goes down at all, nothing is on its way to idle, and the minimum holds.
    policy.scale_in.select = Some(SelectPolicy::Disabled);
    let decision = decide(&policy, &seen(3, &[visible(0)]), Some(&state), at(1000));
    assert_eq!((decision.to, decision.reason), (5, Reason::BelowMin));
}

#[test]
fn a_window_that_holds_nothing_holds_nobody() {
    // As after an edit that sets a window where there was none.
    let state = State {
        in_window: Vec::new(),
        empty_since: Some(at(900)),
        last_active: Some(at(0)),
        ..inactive(1)
    };
    let decision = decide(
        &policy(1, 16, None),
        &seen(5, &[visible(0)]),
        Some(&state),
        at(1000),
    );
    assert_eq!((decision.to, decision.reason), (1, Reason::QueueDepth));
    let decision = decide(
        &policy(0, 16, None),
        &seen(5, &[visible(0)]),
        Some(&state),
        at(1000),
    );
    assert_eq!((decision.to, decision.reason), (0, Reason::ScaledToZero));
}

#[test]
fn scale_out_waits_for_its_window() {
    let mut policy = policy(1, 100, None);
    policy.scale_out.window_seconds = 120;
    let state = |until| State {
        out_window: vec![
            WindowEntry {
                replicas: 2,
                until: Some(at(until)),
            },
            WindowEntry {
                replicas: 9,
                until: None,
            },
        ],
        ..active(9)
    };
    let sentence = "worker stays at 2: 90 messages (90 visible + 0 in flight) / 10 per replica asks for 9, but no more than 2 were wanted \
                    throughout the last 120 s";
    check(
        &policy,
        &state(881),
        &seen(2, &[visible(90)]),
        2,
        Reason::ScaleOutWindow,
        &[Limit::ScaleOutWindow],
        sentence,
    );
    assert_eq!(
        decide(
            &policy,
            &seen(2, &[visible(90)]),
            Some(&state(880)),
            at(1000)
        )
        .to,
        9
    );
    // Waking is not held up by it.
    assert_eq!(
        decide(
            &Policy {
                bounds: ReplicaBounds::new(0, NonZeroU32::new(9).unwrap(), None).unwrap(),
                ..policy
            },
            &seen(0, &[visible(90)]),
            Some(&state(999)),
            at(1000)
        )
        .to,
        2
    );
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

fn any_rules() -> impl Strategy<Value = ScalingRules> {
    let amount = prop_oneof![
        (1u32..8).prop_map(Amount::Pods),
        (1u32..300).prop_map(Amount::Percent)
    ];
    let policy = (amount, 1u32..1801).prop_map(|(amount, period_seconds)| RatePolicy {
        amount,
        period_seconds,
    });
    let select = prop_oneof![
        4 => Just(None),
        2 => Just(Some(SelectPolicy::Max)),
        2 => Just(Some(SelectPolicy::Min)),
        1 => Just(Some(SelectPolicy::Disabled)),
    ];
    let window = prop_oneof![Just(0u32), Just(300), 1u32..900];
    (
        window,
        select,
        prop::collection::vec(policy, 1..4),
        0u64..400_000_000,
    )
        .prop_map(
            |(window_seconds, select, policies, tolerance_billionths)| ScalingRules {
                window_seconds,
                select,
                policies,
                tolerance_billionths,
            },
        )
}

fn any_fallback() -> impl Strategy<Value = Option<Fallback>> {
    let behavior = prop_oneof![
        Just(FallbackBehavior::Static),
        Just(FallbackBehavior::CurrentReplicas),
        Just(FallbackBehavior::CurrentReplicasIfHigher),
        Just(FallbackBehavior::CurrentReplicasIfLower),
    ];
    prop::option::of((0u32..4, 0u32..20, behavior).prop_map(
        |(failure_threshold, replicas, behavior)| Fallback {
            failure_threshold,
            replicas,
            behavior,
        },
    ))
}

#[test]
fn a_failed_reading_keeps_the_count_for_a_whole_window_also_on_the_way_to_zero() {
    let policy = policy(0, 20, None);
    let mut state = active(10);
    let mut pass = |seconds, reading: Reading| {
        let decision = decide(&policy, &seen(10, &[reading]), Some(&state), at(seconds));
        state = decision.state.clone();
        (decision.to, decision.reason)
    };
    assert_eq!(pass(0, visible(0)), (10, Reason::ScaleInWindow));
    for seconds in (30..=300).step_by(30) {
        assert_eq!(pass(seconds, failed()), (10, Reason::ReadingFailed));
    }
    // Empty again, the cooldown long over: the failed readings stay in the window for 300 s.
    for seconds in [330, 391, 500, 629] {
        assert_eq!(pass(seconds, visible(0)), (10, Reason::ScaleInWindow));
    }
    assert_eq!(pass(630, visible(0)), (0, Reason::ScaledToZero));
}

#[test]
fn the_cooldown_that_holds_is_the_one_told() {
    let told = |policy: &Policy, state: Option<&State>, seconds| {
        let decision = decide(policy, &seen(1, &[visible(0)]), state, at(seconds));
        assert_eq!(decision.reason, Reason::Cooldown);
        decision.explanation
    };
    let one = policy(0, 20, None);
    let failing = decide(&one, &seen(1, &[failed()]), Some(&inactive(1)), at(5000));
    let again = decide(
        &one,
        &seen(1, &[visible(0)]),
        Some(&failing.state),
        at(5010),
    );
    let sentence = told(&one, Some(&again.state), 5030);
    assert!(
        sentence.ends_with("seen inactive for 20 s, to rest after 60 s"),
        "{sentence}"
    );
    let new = Policy {
        created: Some(at(-4)),
        initial_cooldown_seconds: 600,
        ..one
    };
    let sentence = told(&new, None, 500);
    assert!(
        sentence.ends_with("inactive for 504 s, to rest after 600 s"),
        "{sentence}"
    );
}

#[test]
fn a_count_above_a_maximum_of_one_rests_in_one_step() {
    let policy = policy(0, 1, None);
    let decision = decide(
        &policy,
        &seen(9, &[visible(0)]),
        Some(&inactive(9)),
        at(301),
    );
    assert_eq!((decision.to, decision.reason), (0, Reason::ScaledToZero));
    let policy = Policy {
        scale_in: ScalingRules {
            window_seconds: 900,
            ..ScalingRules::SCALE_IN
        },
        ..policy
    };
    let decision = decide(
        &policy,
        &seen(9, &[visible(0)]),
        Some(&inactive(9)),
        at(400),
    );
    let again = decide(
        &policy,
        &seen(decision.to, &[visible(0)]),
        Some(&decision.state),
        at(400),
    );
    assert_eq!(again.to, decision.to, "{}", again.explanation);
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

#[test]
fn a_count_below_idle_goes_to_idle_when_it_may_rest() {
    let policy = policy(5, 10, Some(3));
    let decision = decide(
        &policy,
        &seen(1, &[visible(0)]),
        Some(&inactive(5)),
        at(1000),
    );
    assert_eq!((decision.to, decision.reason), (3, Reason::ScaledToIdle));
    let again = decide(
        &policy,
        &seen(3, &[visible(0)]),
        Some(&decision.state),
        at(1000),
    );
    assert_eq!(again.to, 3);
}

#[test]
fn a_change_settles_at_the_first_second_of_time() {
    let state = State {
        pending: Some(ScaleEvent {
            at: Timestamp::MIN,
            since: None,
            from: 1,
            to: 2,
        }),
        ..inactive(2)
    };
    let decision = decide(
        &policy(0, 10, None),
        &seen(2, &[visible(20)]),
        Some(&state),
        Timestamp::MIN,
    );
    assert_eq!(decision.state.last_written, Some(2));
}

prop_compose! {
    fn any_policy()(
        (min, extra) in (0u32..6, 0u32..30), idle in prop::option::of(0u32..6), cooldown in 0u32..700, initial in 0u32..700,
        (scale_out, scale_in) in (any_rules(), any_rules()), fallback in any_fallback(),
        switches in any::<(bool, bool, bool)>(), kinds in prop::collection::vec(any_trigger(), 1..4),
    ) -> Policy {
        let max = NonZeroU32::new((min + extra).max(1)).unwrap();
        let idle = idle.filter(|idle| *idle < min);
        Policy {
            bounds: ReplicaBounds::new(min, max, idle).unwrap(),
            cooldown_seconds: cooldown,
            initial_cooldown_seconds: initial,
            scale_out,
            scale_in,
            fallback,
            // Each switch is rare, so that most cases decide for themselves.
            pause: Pause { all: switches == (true, true, true), ..Pause::default() },
            force_activation: switches == (true, false, true),
            triggers: kinds,
            ..policy(0, 1, None)
        }
    }
}

fn any_trigger() -> impl Strategy<Value = Trigger> {
    let queue =
        (1u32..20, 0u64..10, any::<bool>()).prop_map(|(per_replica, activation, for_scale_out)| {
            let mut trigger = trigger(per_replica, activation);
            if let Trigger::SqsQueue(queue) = &mut trigger {
                queue.count_in_flight_for_scale_out = for_scale_out;
            }
            trigger
        });
    // Windows of minutes, so that a life of an hour sees them open and close.
    let windows = prop::sample::select(vec![
        ("*/20 * * * *", "10-59/20 * * * *"),
        ("0 * * * *", "30 * * * *"),
        ("5,50 * * * *", "*/15 * * * *"),
        ("0 8 * * *", "0 18 * * 1-5"),
    ]);
    let zones = prop::sample::select(vec!["UTC", "Europe/Berlin", "Asia/Kolkata"]);
    let cron = (windows, zones, 1u32..30)
        .prop_map(|((start, end), zone, replicas)| cron(start, end, zone, replicas));
    let cloudwatch = (
        1u64..20_000,
        -10i64..10_000,
        prop::option::of(-5i64..20_000),
    )
        .prop_map(|(target, activation, no_data)| cloudwatch(target, activation, no_data));
    prop_oneof![5 => queue, 2 => cron, 2 => cloudwatch]
}

/// What a trigger of any kind may have read.
#[derive(Debug, Clone, Copy)]
enum AnyReading {
    Failed,
    NoData,
    Of(u64, u64),
}

impl AnyReading {
    fn of(self, trigger: Option<&Trigger>) -> Reading {
        match (self, trigger) {
            (_, Some(Trigger::Cron(_))) => Reading::Cron,
            (Self::NoData, Some(Trigger::CloudWatch(_))) => Reading::Metric(None),
            (Self::Failed | Self::NoData, _) => failed(),
            (Self::Of(value, other), Some(Trigger::CloudWatch(_))) => {
                let value = i64::try_from(value).unwrap().saturating_mul(1000);
                Reading::Metric(Some(if other % 7 == 6 { -value } else { value }))
            }
            (Self::Of(visible, in_flight), _) => Reading::Queue(QueueDepth {
                visible,
                in_flight,
                delayed: 7,
            }),
        }
    }
}

/// Whether a reading says nothing to its trigger.
fn is_failed(trigger: &Trigger, reading: &Reading) -> bool {
    let no_data_fails = |trigger: &Trigger| matches!(trigger, Trigger::CloudWatch(trigger) if trigger.no_data_milli.is_none());
    match reading {
        Reading::Failed { .. } => true,
        Reading::Metric(None) => no_data_fails(trigger),
        Reading::Metric(Some(_)) | Reading::Queue(_) | Reading::Cron => false,
    }
}

fn any_reading() -> impl Strategy<Value = AnyReading> {
    prop_oneof![
        1 => Just(AnyReading::Failed),
        1 => Just(AnyReading::NoData),
        2 => Just(AnyReading::Of(0, 0)),
        4 => (0u64..200, 0u64..20).prop_map(|(visible, in_flight)| AnyReading::Of(visible, in_flight)),
        1 => any::<(u64, u64)>().prop_map(|(visible, in_flight)| AnyReading::Of(visible / 2000, in_flight)),
    ]
}

fn any_rollout() -> impl Strategy<Value = Option<Rollout>> {
    prop_oneof![
        3 => Just(None),
        1 => any::<(bool, bool, bool, bool, bool)>().prop_map(|(paused, aborted, updating, pause_step, handover)| {
            Some(Rollout { paused, aborted, updating, pause_step, handover })
        }),
    ]
}

/// One pass of a random life: seconds since the last, readings, state of the Rollout, a foreign count, whether the write is lost.
type Step = (i64, Vec<AnyReading>, Option<Rollout>, Option<u32>, bool);

fn any_step() -> impl Strategy<Value = Step> {
    let foreign = prop_oneof![9 => Just(None), 1 => (0u32..40).prop_map(Some)];
    let lost = prop_oneof![9 => Just(false), 1 => Just(true)];
    (
        0i64..200,
        prop::collection::vec(any_reading(), 3),
        any_rollout(),
        foreign,
        lost,
    )
}

/// Runs a life and hands each decision with its inputs to `inspect`.
fn live(
    policy: &Policy,
    start: u32,
    steps: &[Step],
    mut inspect: impl FnMut(&Observation, Option<&State>, Timestamp, &Decision),
) {
    let (mut replicas, mut state, mut seconds) = (start, None, 0);
    for (pause, readings, rollout, foreign, lost) in steps {
        seconds += pause;
        replicas = foreign.unwrap_or(replicas);
        let observation = Observation {
            workload: Workload {
                replicas,
                rollout: *rollout,
            },
            readings: (readings.iter().enumerate())
                .map(|(index, reading)| reading.of(policy.triggers.get(index)))
                .collect(),
            stop: Stop::default(),
            conflicts: Vec::new(),
        };
        let decision = decide(policy, &observation, state.as_ref(), at(seconds));
        inspect(&observation, state.as_ref(), at(seconds), &decision);
        if !lost {
            replicas = decision.to;
        }
        state = Some(decision.state);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn invariants_hold_through_any_life(policy in any_policy(), start in 0u32..40, steps in prop::collection::vec(any_step(), 1..40)) {
        let mut last_not_empty = at(0);
        live(&policy, start, &steps, |observation, state, now, decision| {
            let bounds = policy.bounds;
            let current = observation.workload.replicas;
            let mut used = policy.triggers.iter().zip(&observation.readings);
            let any_failed = used.any(|(trigger, reading)| is_failed(trigger, reading));
            let demand = Demand::of(&policy, &observation.readings, &decision.state, current, now);
            if demand.active != Some(false) || policy.pause.all {
                last_not_empty = now;
            }

            // A scaling action stays within the bounds, zero and idle apart.
            let resting = matches!(decision.reason, Reason::ScaledToZero | Reason::ScaledToIdle);
            if decision.is_scale() && !resting {
                assert!((bounds.min()..=bounds.max()).contains(&decision.to), "{}", decision.explanation);
                assert!(decision.to > 0, "{}", decision.explanation);
            }
            // A failed reading never scales in, bounds apart.
            if any_failed && decision.to < current {
                assert_eq!(decision.reason, Reason::AboveMax);
            }
            // Never to rest before the cooldown, nor within a minute of the last reading that was not empty.
            if resting {
                assert!(now.duration_since(last_not_empty).as_secs() >= 60 || last_not_empty == at(0));
                let state = state.unwrap();
                if let Some(end) = state.last_active {
                    assert!(now.duration_since(end).as_secs() > i64::from(policy.cooldown_seconds));
                }
            }
            // Deciding again on the applied result changes nothing, but for a count of failures on its way to the fallback.
            if policy.fallback.is_none() || !any_failed {
                let applied = Observation { workload: Workload { replicas: decision.to, ..observation.workload }, ..observation.clone() };
                let again = decide(&policy, &applied, Some(&decision.state), now);
                assert_eq!(again.to, decision.to, "{} then {}", decision.explanation, again.explanation);
                let settled = decide(&policy, &applied, Some(&again.state), now);
                assert_eq!(settled.state, again.state);
            }
            // Same inputs, same bytes; and what is remembered survives its JSON and stays small.
            assert_eq!(&decide(&policy, observation, state, now), decision);
            let json = decision.state.to_json().to_string();
            assert!(json.len() <= 2048, "{}", json.len());
            assert_eq!(State::parse(&json).unwrap(), decision.state);
        });
    }

    #[test]
    fn more_backlog_never_wants_fewer(
        policy in any_policy(), start in 0u32..40, steps in prop::collection::vec(any_step(), 1..12), more in 1u64..500, index in 0usize..3,
    ) {
        live(&policy, start, &steps, |observation, state, now, decision| {
            let mut larger = observation.clone();
            match larger.readings.get_mut(index) {
                Some(Reading::Queue(depth)) => depth.visible = depth.visible.saturating_add(more),
                Some(Reading::Metric(Some(value))) => *value = value.saturating_add_unsigned(more),
                Some(Reading::Metric(None) | Reading::Cron | Reading::Failed { .. }) | None => {}
            }
            let other = decide(&policy, &larger, state, now);
            assert!(other.to >= decision.to, "{}\n{}", decision.explanation, other.explanation);
        });
    }

    #[test]
    fn any_counts_are_decided_without_a_panic(
        policy in any_policy(), replicas in any::<u32>(), depth in any::<(u64, u64, u64)>(), value in any::<Option<i64>>(),
        seconds in 0i64..4_000_000_000, mixed in any::<bool>(),
    ) {
        let depth = QueueDepth { visible: depth.0, in_flight: depth.1, delayed: depth.2 };
        let reading = |trigger: &Trigger| match trigger {
            Trigger::CloudWatch(_) if !mixed => Reading::Metric(value),
            Trigger::Cron(_) if !mixed => Reading::Cron,
            _ => Reading::Queue(depth),
        };
        let readings: Vec<Reading> = policy.triggers.iter().map(reading).collect();
        let observation = seen(replicas, &readings);
        let decision = decide(&policy, &observation, None, Timestamp::from_second(seconds).unwrap());
        let _replayed = decide(&policy, &observation, Some(&decision.state), Timestamp::MIN);
        let _replayed = decide(&policy, &observation, Some(&decision.state), Timestamp::MAX);
    }
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

#[test]
fn a_scale_out_window_does_not_keep_a_workload_asleep() {
    let mut policy = policy(0, 16, None);
    policy.scale_out.window_seconds = 300;
    let state = State {
        out_window: vec![
            WindowEntry {
                replicas: 0,
                until: Some(at(990)),
            },
            WindowEntry {
                replicas: 9,
                until: None,
            },
        ],
        ..inactive(1)
    };
    let decision = decide(&policy, &seen(0, &[visible(90)]), Some(&state), at(1000));
    assert_eq!((decision.to, decision.reason), (1, Reason::ScaleOutWindow));
    // What nobody could see enters as the present count, unless the workload rests.
    let mut outs = Vec::new();
    for replicas in [0, 1, 4] {
        let decision = decide(
            &policy,
            &seen(replicas, &[failed()]),
            Some(&inactive(1)),
            at(1000),
        );
        outs.push(decision.state.out_window.last().map(|entry| entry.replicas));
    }
    assert_eq!(outs, [None, Some(1), Some(4)]);
}

#[test]
fn a_memory_that_begins_at_zero_knows_of_no_activity() {
    let begun = |replicas| {
        let observation = seen(replicas, &[visible(0)]);
        decide(&policy(0, 16, None), &observation, None, at(1000))
            .state
            .last_active
    };
    assert_eq!((begun(0), begun(1)), (None, Some(at(1000))));
}
