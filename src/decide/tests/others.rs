//! Where somebody else has a say: people, other controllers, the Rollout.

use super::*;

#[test]
fn pauses_come_first() {
    let paused = |pause| Policy {
        pause,
        ..policy(2, 16, None)
    };
    let sentence =
        "worker stays at 0: the annotation paused is set; holds until the annotation is removed";
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
    let sentence = "worker stays at 0: 900 messages (900 visible + 0 in flight) / 10 per replica, and the annotation paused-scale-out is set; holds until the annotation is removed";
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
    let sentence = "worker stays at 20: 0 messages (0 visible + 0 in flight) / 10 per replica, and the annotation paused-scale-in is set; holds until the annotation is removed";
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
        ..Stop::default()
    };
    assert_eq!(stopped(&policy, all, 0, 900), (0, Reason::Stopped));
    // One that may stand there holds as one that does, until its time is over.
    let unread = |seconds| Stop {
        unread_until: Some(at(seconds)),
        ..Stop::default()
    };
    assert_eq!(
        stopped(&policy, unread(1001), 0, 900),
        (0, Reason::StopUnknown)
    );
    assert_eq!(
        stopped(&policy, unread(1000), 0, 900),
        stopped(&policy, Stop::default(), 0, 900)
    );
    let scale_in = Stop {
        scale_in: true,
        ..Stop::default()
    };
    // A stop is said after an annotation, which may ask for fewer.
    let (none, many) = (
        with_pause_replicas(&policy, 0),
        with_pause_replicas(&policy, 9),
    );
    assert_eq!(stopped(&none, scale_in, 4, 0), (4, Reason::StoppedScaleIn));
    assert_eq!(stopped(&many, scale_in, 4, 0), (9, Reason::PausedReplicas));
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

fn with_pause_replicas(policy: &Policy, count: u32) -> Policy {
    let pause = Pause {
        replicas: Some(count),
        ..Pause::default()
    };
    Policy {
        pause,
        ..policy.clone()
    }
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
            poll_seconds: None,
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

/// What is switched off is told only where something would move.
#[test]
fn a_switch_that_stops_nothing_is_no_reason() {
    let mut policy = policy(1, 16, None);
    policy.pause = Pause {
        scale_in: true,
        scale_out: true,
        ..Pause::default()
    };
    let mut observation = seen(3, &[visible(30)]);
    observation.stop.scale_in = true;
    let decision = decide(&policy, &observation, Some(&active(3)), at(1000));
    assert_eq!((decision.to, decision.reason), (3, Reason::Steady));
    observation.stop = Stop::default();
    let decision = decide(&policy, &observation, Some(&active(3)), at(1000));
    assert_eq!((decision.to, decision.reason), (3, Reason::Steady));
}
