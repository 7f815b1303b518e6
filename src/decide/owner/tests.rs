use proptest::prelude::*;

use super::super::tests::{active, at, failed, policy, seen, visible};
use super::super::{Decision, Observation, Reading, Stop, decide};
use super::*;
use crate::policy::{Mode, Pause};
use crate::state::WindowEntry;

fn plain() -> Conflict {
    Conflict::Autoscaler {
        name: "their-hpa".into(),
        scaled_object: None,
    }
}

fn keda() -> Conflict {
    Conflict::Autoscaler {
        name: "keda-hpa-worker".into(),
        scaled_object: Some("worker".into()),
    }
}

fn unknown() -> Conflict {
    Conflict::Unknown {
        error: "Forbidden".into(),
    }
}

fn left_over() -> Conflict {
    Conflict::Finalizer {
        scaled_object: "worker".into(),
        index: 2,
    }
}

fn found(replicas: u32, messages: u64, conflicts: &[Conflict]) -> Observation {
    Observation {
        conflicts: conflicts.to_vec(),
        ..seen(replicas, &[visible(messages)])
    }
}

#[track_caller]
fn check(
    policy: &Policy,
    state: &State,
    observation: &Observation,
    to: u32,
    reason: Reason,
    sentence: &str,
) -> Decision {
    let decision = decide(policy, observation, Some(state), at(1000));
    assert_eq!(
        (decision.to, decision.reason, decision.explanation.as_str()),
        (to, reason, sentence)
    );
    decision
}

#[test]
fn an_owner_holds_every_count() {
    let sentence = "worker stays at 4: HorizontalPodAutoscaler their-hpa scales it; to hand over, with the count as it is: \
                    kubectl delete hpa their-hpa -n default";
    for messages in [0, 40, 900] {
        let observation = found(4, messages, &[plain()]);
        let decision = check(
            &policy(2, 16, None),
            &active(2),
            &observation,
            4,
            Reason::OtherOwner,
            sentence,
        );
        assert!(!decision.contested && decision.limited_by.is_empty());
    }
    let sentence = "worker stays at 4: KEDA scales it by ScaledObject worker, HorizontalPodAutoscaler keda-hpa-worker (and 1 more); to hand \
                    over, with the count as it is: kubectl annotate scaledobject worker -n default autoscaling.keda.sh/paused=true, where \
                    KEDA is gone: kubectl delete hpa keda-hpa-worker -n default";
    let _decision = check(
        &policy(2, 16, None),
        &active(2),
        &found(4, 900, &[unknown(), keda(), plain()]),
        4,
        Reason::OtherOwner,
        sentence,
    );
}

#[test]
fn an_owner_holds_what_is_out_of_bounds_and_what_a_pause_asks_for() {
    let reason = |policy: &Policy, replicas, stop| {
        let observation = Observation {
            stop,
            ..found(replicas, 0, &[plain()])
        };
        let decision = decide(policy, &observation, Some(&active(2)), at(1000));
        assert!(!decision.is_scale(), "{}", decision.explanation);
        decision.reason
    };
    let bounds = policy(2, 16, None);
    let paused = Policy {
        pause: Pause {
            all: true,
            replicas: Some(9),
            ..Pause::default()
        },
        ..bounds.clone()
    };
    let stop = Stop {
        all: true,
        ..Stop::default()
    };
    assert_eq!(reason(&bounds, 40, Stop::default()), Reason::OtherOwner);
    assert_eq!(reason(&bounds, 0, Stop::default()), Reason::OtherOwner);
    assert_eq!(reason(&paused, 4, Stop::default()), Reason::OtherOwner);
    assert_eq!(reason(&bounds, 4, stop), Reason::OtherOwner);
}

#[test]
fn in_shadow_mode_an_owner_stops_nothing() {
    let shadow = Policy {
        mode: Mode::Shadow,
        ..policy(2, 16, None)
    };
    for conflicts in [[plain()], [unknown()]] {
        let observation = found(40, 0, &conflicts);
        let decision = decide(&shadow, &observation, Some(&active(2)), at(1000));
        assert_eq!((decision.to, decision.reason), (2, Reason::QueueDepth));
        assert!(!decision.state.other_owner);
    }
}

#[test]
fn while_owners_are_unknown_only_scale_in_waits() {
    let bounds = policy(2, 16, None);
    let sentence = "worker 4 → 9: 90 messages (90 visible + 0 in flight) / 10 per replica; was limited by nothing";
    let out = found(4, 90, &[unknown()]);
    let _decision = check(&bounds, &active(2), &out, 9, Reason::QueueDepth, sentence);

    let sentence = "worker stays at 9: 40 messages (40 visible + 0 in flight) / 10 per replica, but whether another autoscaler owns it \
                    could not be found out (Forbidden), so no scale-in; holds until that is known";
    let scale_in = found(9, 40, &[unknown()]);
    let decision = check(
        &bounds,
        &active(2),
        &scale_in,
        9,
        Reason::OwnersUnknown,
        sentence,
    );
    assert_eq!(decision.limited_by, [Limit::OwnersUnknown]);

    let to = |policy: &Policy, replicas, messages| {
        let observation = found(replicas, messages, &[unknown()]);
        let decision = decide(policy, &observation, Some(&active(2)), at(1000));
        (decision.to, decision.reason)
    };
    // Above the maximum waits as well; below the minimum does not.
    assert_eq!(to(&bounds, 40, 0), (40, Reason::OwnersUnknown));
    assert_eq!(to(&bounds, 0, 0), (2, Reason::BelowMin));
    let paused = |count| Policy {
        pause: Pause {
            replicas: Some(count),
            ..Pause::default()
        },
        ..bounds.clone()
    };
    assert_eq!(to(&paused(1), 4, 0), (4, Reason::OwnersUnknown));
    assert_eq!(to(&paused(9), 4, 0), (9, Reason::PausedReplicas));
}

#[test]
fn a_left_over_finalizer_is_a_warning_with_its_command() {
    let decision = decide(
        &policy(2, 16, None),
        &found(4, 90, &[left_over()]),
        Some(&active(2)),
        at(1000),
    );
    assert_eq!((decision.to, decision.reason), (9, Reason::QueueDepth));
    assert_eq!(
        decision.warnings,
        [
            "ScaledObject worker carries finalizer.keda.sh and has no HorizontalPodAutoscaler: if KEDA is gone, it can only be deleted \
             after kubectl patch scaledobject worker -n default --type json -p \
             '[{\"op\":\"test\",\"path\":\"/metadata/finalizers/2\",\"value\":\"finalizer.keda.sh\"},\
             {\"op\":\"remove\",\"path\":\"/metadata/finalizers/2\"}]'"
        ]
    );
}

#[test]
fn a_conflict_comes_to_rest_and_ends_with_a_held_count() {
    let policy = policy(2, 16, None);
    let mut state = State {
        last_written: Some(9),
        ..active(9)
    };
    let mut pass = |seconds, replicas, conflicts: &[Conflict]| {
        let observation = found(replicas, 0, conflicts);
        let decision = decide(&policy, &observation, Some(&state), at(seconds));
        let is_same = decision.state == state;
        state = decision.state;
        (decision.to, decision.reason, is_same)
    };
    // It was settled, and the queue has been empty for long: found before the first write, and from then on unchanged.
    assert_eq!(pass(1000, 9, &[plain()]), (9, Reason::OtherOwner, false));
    for seconds in [1060, 1120, 9000] {
        assert_eq!(pass(seconds, 9, &[plain()]), (9, Reason::OtherOwner, true));
    }
    // Another count of theirs is remembered, not contested.
    for (seconds, replicas) in [(9060, 5), (9120, 8), (9180, 6), (9240, 7)] {
        let found = pass(seconds, replicas, &[plain()]);
        assert_eq!(found, (replicas, Reason::OtherOwner, false));
    }
    // An error says nothing about who is gone, so that what happens meanwhile is still theirs.
    for (seconds, replicas) in [(9300, 6), (9360, 7)] {
        let found = pass(seconds, replicas, &[unknown()]);
        assert_eq!((found.0, found.1), (replicas, Reason::ScaleInWindow));
    }
    // Gone, with a last change: the count that it left is held for a whole window, and nobody wonders who changed it.
    for seconds in [9420, 9480, 9779] {
        let (to, reason, _) = pass(seconds, 8, &[]);
        assert_eq!((to, reason), (8, Reason::ScaleInWindow), "{seconds}");
    }
    assert_eq!(pass(9780, 8, &[]), (2, Reason::QueueDepth, false));
    assert!(!state.other_owner && state.foreign_writes.is_empty());
}

#[test]
fn owners_are_asked_for_before_a_change_in_a_contest_and_once_one_was_found() {
    let policy = policy(2, 16, None);
    let depends = |policy: &Policy, state: &State, replicas, messages| {
        let observation = found(replicas, messages, &[]);
        let decision = decide(policy, &observation, Some(state), at(1000));
        decision.depends_on_owners(Some(state))
    };
    let steady = active(4);
    assert!(!depends(&policy, &steady, 4, 40));
    assert!(depends(&policy, &steady, 4, 90));
    let contested = State {
        foreign_writes: vec![at(900), at(950), at(990)],
        last_written: Some(4),
        ..active(4)
    };
    assert!(depends(&policy, &contested, 4, 40));
    let owned = State {
        other_owner: true,
        ..active(4)
    };
    assert!(depends(&policy, &owned, 4, 40));
    // In a pause nothing is written, and nobody looks.
    let paused = |pause| Policy {
        pause,
        ..policy.clone()
    };
    let all = paused(Pause {
        all: true,
        ..Pause::default()
    });
    assert!(!depends(&all, &owned, 4, 900) && !depends(&all, &contested, 4, 900));
    let replicas = paused(Pause {
        replicas: Some(5),
        ..Pause::default()
    });
    assert!(depends(&replicas, &owned, 4, 900) && !depends(&replicas, &owned, 5, 900));
}

fn any_conflicts() -> impl Strategy<Value = Vec<Conflict>> {
    let any = prop_oneof![
        Just(plain()),
        Just(keda()),
        Just(unknown()),
        Just(left_over())
    ];
    prop::collection::vec(any, 0..3)
}

fn any_reading() -> impl Strategy<Value = Reading> {
    prop_oneof![1 => Just(failed()), 2 => Just(visible(0)), 4 => (0u64..300).prop_map(visible)]
}

proptest! {
    #[test]
    fn an_owner_is_never_interfered_with_and_ignorance_never_scales_in(
        (min, idle) in (0u32..4, any::<bool>()), paused in prop::option::of(0u32..20), start in 0u32..40,
        steps in prop::collection::vec((0i64..400, any_reading(), any_conflicts(), prop::option::of(0u32..40)), 1..30),
    ) {
        let policy = Policy {
            pause: Pause { replicas: paused, ..Pause::default() },
            ..policy(min, 16, (idle && min > 0).then_some(0))
        };
        let (mut replicas, mut state, mut seconds): (u32, Option<State>, i64) = (start, None, 0);
        for (pause, reading, conflicts, foreign) in steps {
            seconds += pause;
            replicas = foreign.unwrap_or(replicas);
            let observation = Observation { conflicts, ..seen(replicas, &[reading]) };
            let conflicts = &observation.conflicts;
            let decision = decide(&policy, &observation, state.as_ref(), at(seconds));
            if is_owned(conflicts) {
                prop_assert_eq!(decision.to, replicas);
                prop_assert_eq!(decision.reason, Reason::OtherOwner);
                prop_assert!(!decision.contested);
                let again = decide(&policy, &observation, Some(&decision.state), at(seconds + 60));
                prop_assert_eq!(&again.state, &decision.state);
            }
            if error(conflicts).is_some() {
                prop_assert!(decision.to >= replicas, "{}", decision.explanation);
            }
            if error(conflicts).is_some() && !is_owned(conflicts) {
                // Ignorance takes nothing away from scale-out.
                let known = Observation { conflicts: Vec::new(), ..observation.clone() };
                let known = decide(&policy, &known, state.as_ref(), at(seconds));
                prop_assert_eq!(decision.to, known.to.max(replicas));
            }
            let json = decision.state.to_json().to_string();
            prop_assert!(json.len() <= 2048);
            prop_assert_eq!(&State::parse(&json).unwrap(), &decision.state);
            replicas = decision.to;
            state = Some(decision.state);
        }
    }
}

#[test]
fn after_an_owner_the_way_to_zero_begins_anew() {
    let policy = policy(0, 16, None);
    let check = |replicas, passes: &[(i64, &[Conflict], u32)]| {
        let mut state = State {
            last_active: Some(at(0)),
            empty_since: Some(at(0)),
            in_window: vec![WindowEntry {
                replicas: 1,
                until: None,
            }],
            ..State::new(at(-10_000))
        };
        for (seconds, conflicts, to) in passes {
            let observation = found(replicas, 0, conflicts);
            let decision = decide(&policy, &observation, Some(&state), at(*seconds));
            assert_eq!(decision.to, *to, "{seconds}: {}", decision.explanation);
            state = decision.state;
        }
    };
    // A whole cooldown from the first pass that finds no owner any more.
    let gone = (1300, [].as_slice(), 1);
    let unknown = [(1000, [plain()]), (1060, [unknown()]), (1240, [unknown()])];
    let mut passes: Vec<_> = unknown
        .iter()
        .map(|(seconds, conflicts)| (*seconds, conflicts.as_slice(), 1))
        .collect();
    passes.extend([gone, (1360, &[], 1), (1600, &[], 1), (1601, &[], 0)]);
    check(1, &passes);
    // And of several replicas none goes before.
    check(
        3,
        &[
            (1000, &[plain()], 3),
            (1060, &[], 3),
            (1120, &[], 3),
            (1359, &[], 3),
            (1361, &[], 0),
        ],
    );
}

#[test]
fn a_window_of_no_length_does_not_hold_the_count_that_an_owner_leaves() {
    let mut policy = policy(2, 16, None);
    policy.scale_in.window_seconds = 0;
    let state = State {
        other_owner: true,
        ..State::new(at(0))
    };
    let decision = decide(&policy, &found(9, 30, &[]), Some(&state), at(1000));
    assert_eq!((decision.to, decision.reason), (3, Reason::QueueDepth));
}
