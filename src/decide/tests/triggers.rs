//! Triggers of all kinds, alone and beside each other.

use super::*;

const OFFICE: [&str; 3] = ["0 8 * * 1-5", "0 18 * * 1-5", "Europe/Berlin"];

/// An `aws-sqs-queue`, a `cron` and an `aws-cloudwatch` trigger.
fn all_three() -> Policy {
    let [start, end, timezone] = OFFICE;
    Policy {
        triggers: vec![
            trigger(10, 0),
            cron(start, end, timezone, 5),
            cloudwatch(60_000, 0, Some(0)),
        ],
        ..policy(0, 16, None)
    }
}

/// Decides at a moment and compares what a person reads.
#[track_caller]
fn check_at(
    policy: &Policy,
    state: &State,
    observation: &Observation,
    moment: &str,
    (to, reason): (u32, Reason),
    sentence: &str,
) -> State {
    let decision = decide(policy, observation, Some(state), moment.parse().unwrap());
    let found = (decision.to, decision.reason, decision.explanation.as_str());
    assert_eq!(found, (to, reason, sentence));
    decision.state
}

const MONDAY: &str = "2026-11-23T09:00:00Z";
const SUNDAY: &str = "2026-11-22T09:00:00Z";

#[test]
fn the_highest_of_all_kinds_wins_and_is_named() {
    let policy = all_three();
    let readings = |messages, value| {
        seen(
            2,
            &[
                visible(messages),
                Reading::Cron,
                Reading::Metric(Some(value)),
            ],
        )
    };
    for (moment, observation, expected, sentence) in [
        (
            MONDAY,
            readings(63, 90_500),
            (7, Reason::QueueDepth),
            "worker 2 → 7: orders: 63 messages (63 visible + 0 in flight) / 10 per replica; was limited by nothing",
        ),
        (
            MONDAY,
            readings(3, 90_500),
            (5, Reason::CronWindow),
            "worker 2 → 5: cron `0 8 * * 1-5` to `0 18 * * 1-5` (Europe/Berlin) in its window with desiredReplicas 5; was limited by nothing",
        ),
        (
            MONDAY,
            readings(3, 600_001),
            (11, Reason::MetricValue),
            "worker 2 → 11: `AWS/SQS ApproximateAgeOfOldestMessage QueueName=orders`: 600.001 / 60 per replica; was limited by nothing",
        ),
        (
            SUNDAY,
            readings(3, 90_500),
            (2, Reason::Steady),
            "worker stays at 2: `AWS/SQS ApproximateAgeOfOldestMessage QueueName=orders`: 90.5 / 60 per replica",
        ),
    ] {
        check_at(
            &policy,
            &active(2),
            &observation,
            moment,
            expected,
            sentence,
        );
    }
}

#[test]
fn an_open_window_is_activity_and_a_closed_one_asks_for_nothing() {
    let [start, end, timezone] = OFFICE;
    let policy = Policy {
        triggers: vec![cron(start, end, timezone, 5)],
        ..policy(0, 16, None)
    };
    let asleep = seen(0, &[Reading::Cron]);
    let closed = "cron `0 8 * * 1-5` to `0 18 * * 1-5` (Europe/Berlin) out of its window";
    let open =
        "cron `0 8 * * 1-5` to `0 18 * * 1-5` (Europe/Berlin) in its window with desiredReplicas 5";
    let night = check_at(
        &policy,
        &inactive(0),
        &asleep,
        "2026-11-23T06:59:59Z",
        (0, Reason::Inactive),
        &format!("worker stays at 0: {closed}"),
    );
    let sentence = format!("worker 0 → 5: active again with {open}; was limited by nothing");
    let opened = check_at(
        &policy,
        &night,
        &asleep,
        "2026-11-23T07:00:00Z",
        (5, Reason::Activated),
        &sentence,
    );
    let awake = seen(5, &[Reading::Cron]);
    let day = check_at(
        &policy,
        &opened,
        &awake,
        "2026-11-23T16:59:59Z",
        (5, Reason::Steady),
        &format!("worker stays at 5: {open}"),
    );
    // It closes; the window of counts and the cooldown run from there.
    let sentence = format!(
        "worker stays at 5: {closed} asks for 1, held at 5 by the last 300 s; holds until 2026-11-23T17:05:00Z"
    );
    let closing = check_at(
        &policy,
        &day,
        &awake,
        "2026-11-23T17:00:00Z",
        (5, Reason::ScaleInWindow),
        &sentence,
    );
    let sentence = format!(
        "worker 5 → 0: inactive for 331 s with {closed}, so to zero; was limited by nothing"
    );
    check_at(
        &policy,
        &closing,
        &awake,
        "2026-11-23T17:05:01Z",
        (0, Reason::ScaledToZero),
        &sentence,
    );
    // Whatever a reading is given for it: it is computed.
    for readings in [&[][..], &[failed()], &[visible(900)]] {
        let decision = decide(
            &policy,
            &seen(5, readings),
            Some(&day),
            MONDAY.parse().unwrap(),
        );
        assert_eq!((decision.to, decision.reason), (5, Reason::Steady));
    }
}

#[test]
fn a_known_window_scales_out_while_a_reading_fails_and_never_in() {
    let policy = all_three();
    let readings = |replicas| seen(replicas, &[failed(), Reading::Cron, failed()]);
    let sentence = "worker 2 → 5: cron `0 8 * * 1-5` to `0 18 * * 1-5` (Europe/Berlin) in its window with desiredReplicas 5, \
                    2 other readings failed; was limited by nothing";
    check_at(
        &policy,
        &active(2),
        &readings(2),
        MONDAY,
        (5, Reason::CronWindow),
        sentence,
    );
    let sentence = "worker stays at 9: 2 of 3 readings failed, and the others ask for no more: \
                    cron `0 8 * * 1-5` to `0 18 * * 1-5` (Europe/Berlin) out of its window; holds until the readings succeed";
    check_at(
        &policy,
        &active(2),
        &readings(9),
        SUNDAY,
        (9, Reason::ReadingFailed),
        sentence,
    );
    // A reading of another kind of trigger is none.
    let crossed = seen(9, &[Reading::Metric(Some(0)), Reading::Cron, visible(0)]);
    check_at(
        &policy,
        &active(2),
        &crossed,
        SUNDAY,
        (9, Reason::ReadingFailed),
        sentence,
    );
}

#[test]
fn metrics_are_counted_exactly_in_thousandths() {
    let policy = |target| Policy {
        triggers: vec![cloudwatch(target, 2500, None)],
        ..policy(0, 1000, None)
    };
    let wanted = |target, value| {
        let observation = seen(0, &[Reading::Metric(Some(value))]);
        decide(&policy(target), &observation, Some(&inactive(0)), at(1000)).to
    };
    for (target, value, expected) in [
        (2500, 2500, 0), // not above the activation value
        (2500, 2501, 2),
        (2500, 5000, 2),
        (2500, 5001, 3),
        (1, 10_000, 1000),
        (333, 10_000, 31),
        (u64::MAX, i64::MAX, 1),
        (1000, i64::MIN, 0),
    ] {
        assert_eq!(wanted(target, value), expected, "{value} / {target}");
    }
    // Within the tolerance of 10 %.
    let observation = seen(10, &[Reading::Metric(Some(27_500))]);
    let name = "`AWS/SQS ApproximateAgeOfOldestMessage QueueName=orders`";
    let sentence = format!(
        "worker stays at 10: {name}: 27.5 / 2.5 per replica is within the tolerance of 10 replicas"
    );
    check(
        &policy(2500),
        &active(10),
        &observation,
        10,
        Reason::WithinTolerance,
        &[],
        &sentence,
    );
    // Below zero is no demand, and told.
    let observation = seen(0, &[Reading::Metric(Some(-1500))]);
    let sentence = format!(
        "worker stays at 0: {name}: -1.5, which counts as 0, / 2.5 per replica, not above 2.5"
    );
    check(
        &policy(2500),
        &inactive(0),
        &observation,
        0,
        Reason::Inactive,
        &[],
        &sentence,
    );
    // Awake, too: as little as there can be, however far below.
    let awake = Policy {
        triggers: vec![cloudwatch(1000, 0, None)],
        ..super::policy(2, 16, None)
    };
    let below = seen(4, &[Reading::Metric(Some(-90_000))]);
    let decision = decide(&awake, &below, Some(&active(2)), at(1000));
    assert_eq!((decision.to, decision.reason), (2, Reason::MetricValue));
}

#[test]
fn no_data_is_what_the_manifest_says() {
    let name = "`AWS/SQS ApproximateAgeOfOldestMessage QueueName=orders`";
    let policy = |no_data| Policy {
        triggers: vec![cloudwatch(60_000, 0, no_data)],
        fallback: Some(Fallback {
            failure_threshold: 0,
            replicas: 12,
            behavior: FallbackBehavior::Static,
        }),
        ..policy(2, 16, None)
    };
    let observation = seen(4, &[Reading::Metric(None)]);
    let sentence = format!(
        "worker 4 → 8: {name}: no data, which counts as minMetricValue 450.5, / 60 per replica; was limited by nothing"
    );
    check(
        &policy(Some(450_500)),
        &active(4),
        &observation,
        8,
        Reason::MetricValue,
        &[],
        &sentence,
    );
    let sentence = format!(
        "worker 4 → 2: {name}: no data, which counts as minMetricValue 0, / 60 per replica; was limited by minReplicaCount 2"
    );
    let limits = [Limit::MinReplicaCount];
    check(
        &policy(Some(0)),
        &active(2),
        &observation,
        2,
        Reason::MetricValue,
        &limits,
        &sentence,
    );
    // Else it is a failure like any other, and counted as one.
    let sentence = "worker 4 → 12: 1 of 1 readings failed more than 0 times in a row, so fallback asks for 12; was limited by nothing";
    check(
        &policy(None),
        &active(2),
        &observation,
        12,
        Reason::Fallback,
        &[],
        sentence,
    );
}

#[test]
fn failures_are_counted_by_trigger_and_never_for_cron() {
    let policy = Policy {
        fallback: Some(Fallback {
            failure_threshold: 1,
            replicas: 9,
            behavior: FallbackBehavior::Static,
        }),
        ..all_three()
    };
    let observation = seen(4, &[failed(), Reading::Cron, failed()]);
    let first = decide(
        &policy,
        &observation,
        Some(&active(2)),
        SUNDAY.parse().unwrap(),
    );
    assert_eq!(first.state.failures, [(0, 1), (2, 1)].into());
    let half = seen(4, &[visible(0), Reading::Cron, failed()]);
    let second = decide(&policy, &half, Some(&first.state), SUNDAY.parse().unwrap());
    assert_eq!(second.state.failures, [(2, 2)].into());
    assert_eq!((second.to, second.reason), (9, Reason::Fallback));
    let crossed = seen(4, &[Reading::Cron, failed(), Reading::Metric(Some(0))]);
    let third = decide(
        &policy,
        &crossed,
        Some(&second.state),
        SUNDAY.parse().unwrap(),
    );
    assert_eq!(third.state.failures, [(0, 1)].into());
}
