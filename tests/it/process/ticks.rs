//! Several polls inside one invocation, and which targets are due in it.

use std::time::Duration;

use outrigger::sandbox::fault::Fault;
use outrigger::sandbox::runtime_api::Outcome;
use outrigger::sandbox::{Sandbox, Service};
use serde_json::{Value as Json, json};

use super::{decisions, summary, writes};
use crate::support::function::{Function, answer};
use crate::support::{WORKER, actions, assert_names, count, sandbox, scaled_object, until};

/// The clock runs so much faster where a window is played to its end.
const FACTOR: u32 = 100;

/// Another scheduled event than that of `events/`.
fn schedule(time: &str) -> String {
    let event = include_str!("../../../events/scheduler-default.json");
    let event = event.replace("2026-11-20T03:15:00Z", time);
    assert!(event.contains(time));
    event
}

/// A target like [`WORKER`], polled every so many seconds.
fn every(name: &str, seconds: u32) -> String {
    let polled = format!("pollingInterval: {seconds}\n  minReplicaCount");
    scaled_object(name).replace("minReplicaCount", &polled)
}

/// [`WORKER`], polled every so many seconds.
fn worker_every(seconds: u32) -> String {
    let polled = format!("pollingInterval: {seconds}\n  minReplicaCount");
    WORKER.replace("minReplicaCount", &polled)
}

/// A cluster with a second target, steady at its minimum.
async fn furnished(names: &[&str]) -> Sandbox {
    let sandbox = sandbox().await;
    for name in names {
        sandbox
            .kubernetes()
            .create_rollout("default", name, Some(2));
        sandbox.queues().create(name);
    }
    sandbox
}

/// A target that may go to zero, polled every so many seconds there.
fn may_rest(name: &str, seconds: u32) -> String {
    every(name, seconds).replace("minReplicaCount: 2", "minReplicaCount: 0")
}

/// One at zero, with nothing in its queue, as its state says.
fn at_rest(sandbox: &Sandbox, name: &str, seconds: u32) -> String {
    let kubernetes = sandbox.kubernetes();
    kubernetes.create_rollout("default", name, Some(0));
    sandbox.queues().create(name);
    let state =
        r#"{"v":1,"firstSeen":"2026-11-01T00:00:00Z","active":false,"inWindow":[{"replicas":0}]}"#;
    kubernetes.edit("configmaps", "default", "outrigger", |object| {
        object["data"][format!("rollout.{name}")] = json!(state);
    });
    may_rest(name, seconds)
}

fn reads(sandbox: &Sandbox, queue: &str) -> usize {
    count(sandbox, &format!("GetQueueAttributes {queue}"))
}

#[track_caller]
fn polls(answer: &Json) -> Vec<(&str, u64)> {
    let targets = answer["targets"].as_array().unwrap().iter();
    targets
        .map(|target| {
            let name = target["target"].as_str().unwrap();
            (name, target["polls"].as_u64().unwrap())
        })
        .collect()
}

/// On the clock of the deployed binary. Whatever the machine's speed, a window of a minute holds many such polls.
#[tokio::test]
async fn a_backlog_inside_the_window_is_answered_inside_it() {
    let sandbox = sandbox().await;
    sandbox.queues().set_counts("orders", 0, 0, 0);
    let function = Function::start(&sandbox, &worker_every(1), &[]).await;
    let story = async {
        until("a poll", || reads(&sandbox, "orders") > 0).await;
        sandbox.queues().set_counts("orders", 60, 3, 0);
        until("the answer", || writes(&sandbox) == [(2, 7)]).await;
        until("more polls", || reads(&sandbox, "orders") > 3).await;
    };
    tokio::select! {
        outcome = function.invoke(schedule("2026-11-20T03:15:00Z")) => panic!("{outcome:?}"),
        () = story => {}
    }
    // One cluster, one connection, one event.
    assert_eq!(actions(&sandbox, Service::Eks), ["DescribeCluster demo"]);
    assert_eq!(writes(&sandbox), [(2, 7)]);
}

#[tokio::test]
async fn a_window_is_one_invocation_in_the_books() {
    let sandbox = furnished(&["slow"]).await;
    let rare = at_rest(&sandbox, "rare", 1200);
    let configuration = [worker_every(300), every("slow", 600), rare].join("---");
    let environment = [("OUTRIGGER_WINDOW", "600"), ("OUTRIGGER_LOG", "all")];
    let function = Function::start_fast(&sandbox, &configuration, &environment, FACTOR).await;
    // In the second slot of 600 s a target of 1200 s is not due.
    let answer = function.answer(schedule("1970-01-01T00:10:00Z")).await;
    // Twice as its interval says, and once more to follow the change up.
    assert_eq!(
        polls(&answer),
        [("default/worker", 3), ("default/slow", 1)],
        "{answer}"
    );
    // What there is to know of its polls is the change.
    let target = &answer["targets"][0];
    assert_eq!(
        (&target["effect"], &target["from"], &target["to"]),
        (&"scaled".into(), &2.into(), &7.into())
    );
    assert_eq!(writes(&sandbox), [(2, 7)]);
    let made = ["orders", "slow", "rare"].map(|queue| reads(&sandbox, queue));
    assert_eq!(made, [3, 1, 0]);

    let lines = function.new_lines();
    let line = summary(&lines);
    let counts = ["Targets", "ScaledOut", "ScaledIn", "Held", "Messages"];
    let counts = counts.map(|name| line[name].as_u64().unwrap());
    assert_eq!(counts, [2, 1, 0, 1, 63], "{line}");
    let pace = ["passes", "skippedPasses", "notDue"];
    let pace = pace.map(|name| line["summary"][name].as_u64().unwrap());
    assert_eq!(pace, [3, 0, 1], "{line}");
    assert_eq!(line["summary"]["reasons"], json!({"Steady": 2}));
    assert_eq!(line["summary"]["note"], Json::Null);

    // Each poll is decided and remembered at its own time.
    let decisions = decisions(&lines);
    let times: Vec<jiff::Timestamp> = decisions
        .iter()
        .filter(|line| line["target"] == "default/worker")
        .map(|line| line["record"]["now"].as_str().unwrap().parse().unwrap())
        .collect();
    let [first, second, third] = times.as_slice() else {
        panic!("{times:?}");
    };
    // The first may be late, the others are on time or late.
    assert!(first < second && second < third, "{times:?}");
    let last = decisions.last().unwrap();
    assert_eq!(last["decision"]["state"]["lastWritten"], 7, "{last}");
}

#[tokio::test]
async fn one_failed_poll_of_several_fails_the_invocation_once() {
    let sandbox = furnished(&["other"]).await;
    sandbox.queues().fail_times("other", Fault::AccessDenied, 1);
    let configuration = [every("other", 300), worker_every(300)].join("---");
    let environment = [("OUTRIGGER_WINDOW", "600")];
    let function = Function::start_fast(&sandbox, &configuration, &environment, FACTOR).await;
    let (kind, message) = function.error(schedule("2026-11-20T03:20:00Z")).await;
    assert_eq!(kind, "Outrigger.TargetsFailed");
    assert_names(&message, &["1 failed", "(in 1 of 2 polls)"]);
    assert_eq!(message.matches("`default/other`").count(), 1, "{message}");
    let lines = function.new_lines();
    let line = summary(&lines);
    assert_eq!(line["Failed"], 1);
    assert_eq!(line["summary"]["failed"], json!(["default/other"]));
    assert_eq!(writes(&sandbox), [(2, 7)]);
}

#[tokio::test]
async fn a_slower_target_at_rest_is_polled_when_its_time_has_come() {
    let sandbox = sandbox().await;
    let night = at_rest(&sandbox, "night", 180);
    let function = Function::start(&sandbox, &night, &[]).await;
    for (time, expected) in [
        ("2026-11-20T03:15:00Z", 1),
        ("2026-11-20T03:15:00Z", 1),
        ("2026-11-20T03:16:00Z", 0),
        ("2026-11-20T03:17:59Z", 0),
        ("2026-11-20T03:18:30Z", 1),
        ("2026-11-20T03:15:20Z", 1),
        ("yesterday", 1),
    ] {
        sandbox.clear_requests();
        let answer = function.answer(schedule(time)).await;
        assert_eq!(polls(&answer).len(), expected, "{time}: {answer}");
        assert_eq!(reads(&sandbox, "night"), expected, "{time}");
        let lines = function.new_lines();
        let line = summary(&lines);
        // An invocation in which nothing is due says nothing of targets and messages: that is no zero.
        let told = ["Targets", "Messages"].map(|name| line[name].as_u64());
        let targets = Some(expected).filter(|expected| *expected > 0);
        assert_eq!(told[0], targets.map(|count| count as u64), "{time}");
        assert_eq!(told[1].is_some(), targets.is_some(), "{time}");
        assert_eq!(line["summary"]["notDue"], 1 - expected, "{time}");
        assert_eq!(line["summary"]["passes"], expected, "{time}");
        if expected == 0 {
            // The workload says that it rests.
            let reads = actions(&sandbox, Service::Kubernetes);
            let path = "GET /apis/argoproj.io/v1alpha1/namespaces/default/rollouts/night";
            assert_eq!(reads, [path], "{time}");
            assert!(decisions(&lines).is_empty(), "{time}");
        }
    }
    // Awake it is polled in every window.
    sandbox.queues().set_counts("night", 63, 0, 0);
    function.answer(schedule("2026-11-20T03:18:00Z")).await;
    assert_eq!(sandbox.kubernetes().replicas("default", "night"), Some(7));
    for minute in [19, 20] {
        let event = schedule(&format!("2026-11-20T03:{minute}:00Z"));
        assert_eq!(polls(&function.answer(event).await), [("default/night", 1)]);
    }
}

#[tokio::test]
async fn other_events_poll_once_whether_due_or_not() {
    let sandbox = furnished(&["slow"]).await;
    let configuration = [worker_every(1), every("slow", 86_400)].join("---");
    let function = Function::start(&sandbox, &configuration, &[]).await;
    let named =
        r#"{"targets":["default/worker","default/slow"],"scheduledTime":"2026-11-20T03:15:00Z"}"#;
    let dry = r#"{"dryRun":true,"scheduledTime":"2026-11-20T03:15:00Z"}"#;
    let alarm = include_str!("../../../events/alarm-composite.json");
    for event in ["{}", named, dry, alarm] {
        let answer = function.answer(event).await;
        let once = [("default/worker", 1), ("default/slow", 1)];
        assert_eq!(polls(&answer), once, "{event}: {answer}");
    }
}

#[tokio::test]
async fn the_schedule_may_come_as_an_input_of_our_own() {
    let sandbox = sandbox().await;
    let night = at_rest(&sandbox, "night", 120);
    let function = Function::start(&sandbox, &night, &[]).await;
    for (minute, expected) in [(14, 1), (15, 0)] {
        let event = format!(r#"{{"scheduledTime":"2026-11-20T03:{minute}:00Z"}}"#);
        let answer = function.answer(event).await;
        assert_eq!(polls(&answer).len(), expected, "{answer}");
    }
}

#[tokio::test]
async fn a_deadline_before_the_end_of_the_window_is_told_and_not_waited_for() {
    let sandbox = sandbox().await;
    let function = Function::start(&sandbox, &worker_every(30), &[]).await;
    let event = schedule("2026-11-20T03:15:00Z");
    let left = Duration::from_secs(22);
    let outcome = function.invoke_with_time_left(event.clone(), left).await;
    assert!(matches!(outcome, Outcome::Response(_)), "{outcome:?}");
    let answer = answer(&outcome);
    assert_eq!(polls(&answer), [("default/worker", 1)]);
    let note = answer["note"].as_str().unwrap();
    assert_names(note, &["1 of 2 passes", "timeout", "OUTRIGGER_WINDOW"]);
    let lines = function.new_lines();
    let summary = &summary(&lines)["summary"];
    assert_eq!(
        (&summary["passes"], &summary["skippedPasses"]),
        (&1.into(), &1.into())
    );
    assert_eq!(summary["note"], note);
    assert_eq!(writes(&sandbox), [(2, 7)]);
}
