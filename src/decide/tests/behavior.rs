//! Tolerance, windows and rates.

use super::*;

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
    let sentence = "worker stays at 10: 30 messages (30 visible + 0 in flight) / 10 per replica asks for 3, held at 10 by the last 300 s; holds until 2027-01-15T08:16:41Z";
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
    let sentence = "worker 10 → 7: 30 messages (30 visible + 0 in flight) / 10 per replica asks for 3, held at 7 by the last 300 s; was limited by the 300 s scale-in window until 2027-01-15T08:20:00Z";
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
                    allow 14 now; was limited by the scaleUp policies until 2027-01-15T08:17:40Z";
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
                    allow 14 now; holds until 2027-01-15T08:16:41Z";
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
                    was limited by the scaleDown policies until 2027-01-15T08:17:40Z";
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
                    throughout the last 120 s; holds until 2027-01-15T08:16:41Z";
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
