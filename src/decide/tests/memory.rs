//! What is remembered, and what begins without it.

use super::*;

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
    // Now is not the future.
    let state = State {
        last_active: Some(at(1000)),
        ..inactive(1)
    };
    let observation = seen(1, &[visible(0)]);
    let decision = decide(&policy(0, 16, None), &observation, Some(&state), at(1000));
    assert_eq!(decision.warnings, [""; 0]);
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
    assert!(begun(None, 300), "neither is longer");
    assert!(!begun(None, 600), "it waits for the longer one");
    assert!(begun(Some(0), 0) && begun(Some(0), 600), "long past");
    assert!(!begun(Some(9_800), 0), "just created");
    assert!(!begun(Some(9_500), 600), "within its initial cooldown");
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
