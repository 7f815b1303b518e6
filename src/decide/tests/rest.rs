//! Activity, and the way to zero or idle.

use super::*;

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
    let sentence = "worker stays at 0: no reading: 1 of 1 failed; holds until the reading succeeds";
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
    let sentence = "worker stays at 1: 0 messages (0 visible + 0 in flight) / 10 per replica, inactive for 1000 s, to rest after 1000 s; holds until 2027-01-15T08:16:41Z";
    check(
        &policy,
        &inactive(1),
        &seen(1, &[visible(0)]),
        1,
        Reason::Cooldown,
        &[Limit::Cooldown],
        sentence,
    );
    let sentence = "worker 3 → 1: 0 messages (0 visible + 0 in flight) / 10 per replica; was limited by the cooldown until 2027-01-15T08:16:41Z";
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
fn zero_does_not_wait_for_the_scale_in_window() {
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
    let to = |seconds| decide(&policy, &seen(10, &[visible(0)]), Some(&state), at(seconds)).to;
    assert_eq!([910, 911].map(to), [10, 0]);
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
    let sentence = "worker stays at 2: no reading: 1 of 1 failed; holds until the reading succeeds";
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
                    but the scaleDown policies allow 3 now; holds until 2027-01-15T08:17:30Z";
    check(
        &policy,
        &state,
        &seen(3, &[visible(0)]),
        3,
        Reason::ScaleInLimit,
        &[Limit::ScaleInPolicies],
        sentence,
    );
    // A step that ends there is on its way, and says what keeps it from more.
    let decision = decide(
        &policy,
        &seen(5, &[visible(0)]),
        Some(&inactive(5)),
        at(1000),
    );
    assert_eq!(
        (decision.to, decision.reason, decision.limited_by),
        (3, Reason::ScaledToZero, vec![Limit::ScaleInPolicies])
    );
    // Where nothing goes down at all, nothing is on its way to idle, and the minimum holds.
    policy.scale_in.select = Some(SelectPolicy::Disabled);
    let decision = decide(&policy, &seen(3, &[visible(0)]), Some(&state), at(1000));
    assert_eq!((decision.to, decision.reason), (5, Reason::BelowMin));
    // At the minimum it is this that keeps it there.
    let decision = decide(
        &policy,
        &seen(5, &[visible(0)]),
        Some(&inactive(5)),
        at(1000),
    );
    assert_eq!((decision.to, decision.reason), (5, Reason::ScaleInLimit));
}

#[test]
fn failed_readings_put_off_the_way_to_zero() {
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
    // Empty again, the cooldown over: it takes two empty readings a minute apart once more.
    for seconds in [330, 389] {
        assert_eq!(pass(seconds, visible(0)), (10, Reason::ScaleInWindow));
    }
    assert_eq!(pass(390, visible(0)), (0, Reason::ScaledToZero));
}

#[test]
fn the_cooldown_that_holds_is_the_one_told() {
    let told = |policy: &Policy, state: Option<&State>, seconds| {
        let decision = decide(policy, &seen(1, &[visible(0)]), state, at(seconds));
        assert_eq!(decision.reason, Reason::Cooldown);
        let (cause, until) = decision.explanation.split_once("; holds until ").unwrap();
        assert_eq!(until, decision.until.unwrap().to_string());
        cause.to_owned()
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
