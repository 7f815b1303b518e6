//! Other owners: when they are looked for, what is done about them, and that all of it can be replayed.

use super::*;
use crate::owners::TargetRef;
use crate::record::{Record, decision_json, record_json};

fn rollout(name: &str) -> TargetRef {
    TargetRef::new("argoproj.io/v1alpha1", "Rollout", name)
}

/// Somebody else's autoscaler on a Rollout.
fn autoscaler(rollout_name: &str) -> Autoscaler {
    Autoscaler {
        name: "their-hpa".to_owned(),
        target: rollout(rollout_name),
        scaled_object: None,
        is_labelled_keda: false,
        frozen_within: None,
    }
}

/// A Rollout `worker`, a queue of that name, and the ScaledObject.
fn one(visible: u64, replicas: u32) -> (Servers, Configuration) {
    (
        Servers::new(&[("worker", visible, replicas)]),
        configuration(&["worker"]),
    )
}

fn reason(outcome: &Outcome<'_>) -> Reason {
    outcome.decided.as_ref().unwrap().decision.reason
}

fn lists(calls: &[String]) -> Vec<&str> {
    let calls = calls.iter().map(String::as_str);
    calls.filter(|call| call.starts_with("list")).collect()
}

/// Every decision is made again from its record, to the byte.
#[track_caller]
fn replayed(outcomes: &[Outcome<'_>], seconds: i64) {
    for outcome in outcomes {
        let Decided {
            observation,
            state,
            decision,
        } = outcome.decided.as_ref().unwrap();
        let manifest = &outcome.target.manifest;
        let record = record_json(manifest, observation, state.as_ref(), at(seconds)).to_string();
        let again = Record::parse(record.as_bytes()).unwrap().decide();
        assert_eq!(
            decision_json(&again).to_string(),
            decision_json(decision).to_string()
        );
    }
}

#[tokio::test]
async fn they_are_looked_for_once_a_namespace_and_only_before_a_change() {
    let names = ["a", "b", "c", "still"];
    let mut objects: Vec<String> = names.iter().map(|name| object(name, name)).collect();
    for name in ["d", "e", "quiet"] {
        let namespace = if name == "quiet" { "third" } else { "other" };
        let metadata = format!("metadata: {{name: {name}, namespace: {namespace}}}");
        objects.push(object(name, name).replace(&format!("metadata: {{name: {name}}}"), &metadata));
    }
    let configuration = read_all(&objects);
    let servers = Servers::new(&[
        ("a", 63, 2),
        ("b", 63, 2),
        ("c", 63, 2),
        ("still", 20, 2),
        ("d", 63, 2),
        ("e", 63, 2),
        ("quiet", 20, 2),
    ]);
    for namespace in ["other", "third"] {
        let mut memories = servers.memories.borrow_mut();
        memories.insert(namespace.to_owned(), BTreeMap::new());
    }
    let outcomes = pass(&servers, &configuration, 0).await;
    let scaled = outcomes.iter().filter(|o| o.effect == Effect::Scaled);
    assert_eq!(scaled.count(), 5);
    let calls = servers.calls();
    let mut lists = lists(&calls);
    lists.sort_unstable();
    assert_eq!(
        lists,
        [
            "list autoscalers default",
            "list autoscalers other",
            "list scaledobjects default",
            "list scaledobjects other"
        ]
    );
}

#[tokio::test]
async fn a_workload_with_an_owner_is_left_to_it_and_comes_to_rest() {
    let (servers, configuration) = one(63, 2);
    servers.autoscalers.borrow_mut().push(autoscaler("worker"));
    let outcomes = pass(&servers, &configuration, 0).await;
    // A hold for another owner fails nothing.
    assert_eq!(effects(&outcomes), [(Effect::Held, false)]);
    assert_eq!(reason(&outcomes[0]), Reason::OtherOwner);
    replayed(&outcomes, 0);
    let calls = servers.calls();
    assert_eq!(calls.last().unwrap(), "store rollout.worker");
    for (seconds, visible) in [(60, 63), (120, 900), (180, 0), (7200, 0)] {
        servers.set_depth("worker", visible);
        let outcomes = pass(&servers, &configuration, seconds).await;
        assert_eq!(effects(&outcomes), [(Effect::Held, false)]);
        assert_eq!(reason(&outcomes[0]), Reason::OtherOwner);
        replayed(&outcomes, seconds);
        let calls = servers.calls();
        assert_eq!(lists(&calls).len(), 2);
        assert!(
            !calls.iter().any(|call| call.starts_with("store")),
            "{calls:?}"
        );
    }
    assert_eq!(servers.replicas("worker"), 2);

    // Gone: it is remembered, and scale-out goes on.
    servers.autoscalers.borrow_mut().clear();
    let outcomes = pass(&servers, &configuration, 7260).await;
    assert_eq!(effects(&outcomes), [(Effect::Held, false)]);
    servers.set_depth("worker", 63);
    pass(&servers, &configuration, 7320).await;
    assert_eq!(servers.replicas("worker"), 7);
    pass(&servers, &configuration, 7380).await;
    servers.calls();
    pass(&servers, &configuration, 7440).await;
    assert_eq!(lists(&servers.calls()), [""; 0]);
}

#[tokio::test]
async fn an_owner_of_another_workload_is_nobody() {
    let (servers, configuration) = one(63, 2);
    servers.autoscalers.borrow_mut().push(autoscaler("other"));
    assert_eq!(
        effects(&pass(&servers, &configuration, 0).await),
        [(Effect::Scaled, false)]
    );
}

#[tokio::test]
async fn unknown_owners_forbid_scale_in_and_fail_the_target() {
    for list in ["list autoscalers default", "list scaledobjects default"] {
        let fault = Fault::failed("Forbidden", format!("{list} is forbidden"));
        let (servers, configuration) = one(63, 2);
        servers.fail(list, fault.clone());
        let outcomes = pass(&servers, &configuration, 0).await;
        assert_eq!(effects(&outcomes), [(Effect::Scaled, true)], "{list}");
        assert_eq!(outcomes[0].faults, std::slice::from_ref(&fault));
        replayed(&outcomes, 0);
        // Above the maximum, too.
        for (replicas, seconds) in [(7, 10_000), (40, 20_000)] {
            servers.set_depth("worker", 0);
            let workload = ("uid".to_owned(), replicas);
            servers
                .workloads
                .borrow_mut()
                .insert("worker".into(), workload);
            pass(&servers, &configuration, seconds).await;
            let outcomes = pass(&servers, &configuration, seconds + 600).await;
            assert_eq!(effects(&outcomes), [(Effect::Held, true)]);
            assert_eq!(reason(&outcomes[0]), Reason::OwnersUnknown);
            assert_eq!(outcomes[0].faults, std::slice::from_ref(&fault));
            assert_eq!(servers.replicas("worker"), replicas);
            replayed(&outcomes, seconds + 600);
            // It rests in the state that it has.
            servers.calls();
            pass(&servers, &configuration, seconds + 660).await;
            assert!(!servers.calls().iter().any(|call| call.starts_with("store")));
        }
    }
}

#[tokio::test]
async fn an_owner_that_is_known_counts_although_a_list_failed() {
    let (servers, configuration) = one(63, 2);
    servers.autoscalers.borrow_mut().push(autoscaler("worker"));
    let fault = Fault::failed("Forbidden", "no");
    servers.fail("list scaledobjects default", fault);
    let outcomes = pass(&servers, &configuration, 0).await;
    assert_eq!(effects(&outcomes), [(Effect::Held, true)]);
    assert_eq!(reason(&outcomes[0]), Reason::OtherOwner);
    replayed(&outcomes, 0);
}

#[tokio::test]
async fn a_dry_run_tells_of_an_owner() {
    let (servers, configuration) = one(63, 2);
    servers.autoscalers.borrow_mut().push(autoscaler("worker"));
    let outcomes = pass_at(&servers, &configuration, 0, None, true).await;
    assert_eq!(effects(&outcomes), [(Effect::Held, false)]);
    let decision = &outcomes[0].decided.as_ref().unwrap().decision;
    assert!(
        decision
            .explanation
            .contains("kubectl delete hpa their-hpa -n default"),
        "{}",
        decision.explanation
    );
    assert!(!servers.calls().iter().any(|call| call.starts_with("store")));
}

#[tokio::test]
async fn a_left_over_finalizer_is_told_and_stands_in_nobodys_way() {
    let (servers, configuration) = one(63, 2);
    servers.scaled_objects.borrow_mut().push(ScaledObject {
        name: "worker".to_owned(),
        target: rollout("worker"),
        is_paused: false,
        is_deleted: false,
        finalizer: Some(0),
    });
    let outcomes = pass(&servers, &configuration, 0).await;
    assert_eq!(effects(&outcomes), [(Effect::Scaled, false)]);
    let decision = &outcomes[0].decided.as_ref().unwrap().decision;
    assert_eq!(decision.warnings.len(), 1);
    replayed(&outcomes, 0);
}

#[tokio::test]
async fn in_a_pause_nobody_looks() {
    let (servers, configuration) = one(63, 2);
    servers.autoscalers.borrow_mut().push(autoscaler("worker"));
    let stop = |text: &str| {
        let mut memories = servers.memories.borrow_mut();
        let keys = memories.get_mut("default").unwrap();
        keys.insert("pause".into(), text.into());
    };
    for (seconds, text, looks) in [(0, "*", 0), (60, "", 2), (120, "*", 0), (180, "", 2)] {
        stop(text);
        pass(&servers, &configuration, seconds).await;
        assert_eq!(lists(&servers.calls()).len(), looks, "{seconds}");
    }
}

#[tokio::test]
async fn in_shadow_mode_others_are_expected_and_only_told() {
    let (servers, mut configuration) = one(63, 2);
    configuration.targets[0].policy.mode = Mode::Shadow;
    servers.autoscalers.borrow_mut().push(autoscaler("worker"));
    let outcomes = pass(&servers, &configuration, 0).await;
    assert_eq!(effects(&outcomes), [(Effect::Shadow, false)]);
    let warnings = |outcomes: &[Outcome<'_>]| {
        let decided = outcomes[0].decided.as_ref().unwrap();
        decided.decision.warnings.join("\n")
    };
    let told = warnings(&outcomes);
    assert!(
        told.starts_with("live, this would hold: HorizontalPodAutoscaler "),
        "{told}"
    );
    // The shadow needs no right to look.
    servers.fail("list autoscalers default", Fault::failed("Forbidden", "no"));
    let outcomes = pass(&servers, &configuration, 60).await;
    assert_eq!(effects(&outcomes), [(Effect::Shadow, false)]);
    let told = warnings(&outcomes);
    assert!(
        told.contains("(Forbidden); live, this would not scale in"),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_that_never_answers_leaves_its_targets_not_reached() {
    let (servers, configuration) = (
        Servers::new(&[("worker", 63, 2), ("still", 20, 2)]),
        configuration(&["worker", "still"]),
    );
    let list = "list scaledobjects default".to_owned();
    servers.hanging.borrow_mut().push(list);
    let (begun, left) = (Instant::now(), Duration::from_secs(12));
    let outcomes = pass_at(&servers, &configuration, 0, Some(left), false).await;
    assert_eq!(
        effects(&outcomes),
        [(Effect::NotReached, true), (Effect::Held, false)]
    );
    assert!(begun.elapsed() <= left);
    let calls = servers.calls();
    assert!(
        !calls
            .iter()
            .any(|call| call.starts_with("scale") || call == "store rollout.worker")
    );
}

/// With time left it is as good as a list that fails.
#[tokio::test(start_paused = true)]
async fn a_list_that_never_answers_delays_a_scale_out_by_one_read() {
    let (servers, configuration) = one(63, 2);
    let list = "list scaledobjects default".to_owned();
    servers.hanging.borrow_mut().push(list);
    let begun = Instant::now();
    let outcomes = pass(&servers, &configuration, 0).await;
    assert_eq!(effects(&outcomes), [(Effect::Scaled, true)]);
    assert_eq!(outcomes[0].faults[0].code, "Timeout");
    assert_eq!(begun.elapsed(), CALL_AT_MOST);
}

#[tokio::test]
async fn a_contest_names_whom_to_look_for_until_it_is_quiet() {
    let (servers, configuration) = one(63, 7);
    let set = |replicas| {
        let workload = ("uid".to_owned(), replicas);
        servers
            .workloads
            .borrow_mut()
            .insert("worker".into(), workload);
    };
    pass(&servers, &configuration, 0).await;
    let state = State {
        last_written: Some(7),
        ..servers.state("worker").unwrap()
    };
    servers
        .memories
        .borrow_mut()
        .get_mut("default")
        .unwrap()
        .insert("rollout.worker".into(), state.to_json().to_string());
    // Somebody takes back what is given, three times.
    for seconds in [60, 120, 180] {
        set(3);
        pass(&servers, &configuration, seconds).await;
        pass(&servers, &configuration, seconds + 30).await;
    }
    set(3);
    let mut written = 0;
    for minute in 4..10 {
        let outcomes = pass(&servers, &configuration, minute * 60).await;
        written += usize::from(outcomes[0].effect == Effect::Scaled);
        assert!(outcomes[0].is_failed(), "{minute}");
        let fault = outcomes[0].faults.first().unwrap();
        assert_eq!(fault.code, "Contested");
        for name in [
            "Rollout `default/worker`",
            "cron",
            "kubectl",
            "ignoreDifferences: [{group: argoproj.io, kind: Rollout, jsonPointers: [/spec/replicas]}]",
            "RespectIgnoreDifferences=true",
        ] {
            assert!(fault.message.contains(name), "{name} in {}", fault.message);
        }
        replayed(&outcomes, minute * 60);
        // What was given is seen before it is taken back.
        pass(&servers, &configuration, minute * 60 + 30).await;
        set(3);
    }
    // Scale-out is slow, but it is not frozen.
    assert!((1..=2).contains(&written), "{written}");

    // Left alone, it gets what it needs, and ten quiet minutes end the contest.
    assert!(pass(&servers, &configuration, 600).await[0].is_failed());
    for minute in 11..25 {
        pass(&servers, &configuration, minute * 60).await;
    }
    assert!(!pass(&servers, &configuration, 1500).await[0].is_failed());
    assert_eq!(servers.replicas("worker"), 7);
}

#[tokio::test]
async fn the_owner_behind_a_contest_is_named_instead() {
    let (servers, configuration) = one(0, 7);
    pass(&servers, &configuration, 0).await;
    let state = State {
        last_written: Some(7),
        foreign_writes: vec![at(10), at(20), at(30)],
        ..servers.state("worker").unwrap()
    };
    servers
        .memories
        .borrow_mut()
        .get_mut("default")
        .unwrap()
        .insert("rollout.worker".into(), state.to_json().to_string());
    servers.autoscalers.borrow_mut().push(autoscaler("worker"));
    let outcomes = pass(&servers, &configuration, 60).await;
    assert_eq!(effects(&outcomes), [(Effect::Held, false)]);
    assert_eq!(reason(&outcomes[0]), Reason::OtherOwner);
}
