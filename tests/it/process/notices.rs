//! Kubernetes Events about the workloads, with a file and with objects in the cluster alike.

use std::time::Duration;

use outrigger::sandbox::Sandbox;
use outrigger::sandbox::kubernetes::KubernetesFault;
use serde_json::{Value as Json, json};

use super::{decisions, writes};
use crate::support::function::Function;
use crate::support::owners::create_autoscaler;
use crate::support::{WORKER, assert_names, count, sandbox};

const POST: &str = "POST /api/v1/namespaces/default/events";

fn events(sandbox: &Sandbox) -> Vec<Json> {
    sandbox.kubernetes().list("events", "default")
}

fn said(events: &[Json]) -> Vec<(&str, &str)> {
    let said = events.iter().map(|event| {
        (
            event["type"].as_str().unwrap(),
            event["reason"].as_str().unwrap(),
        )
    });
    said.collect()
}

#[tokio::test]
async fn each_change_is_an_event_of_the_workload() {
    let sandbox = sandbox().await;
    let function = Function::start(&sandbox, WORKER, &[]).await;
    function.answer("{}").await;
    let told = events(&sandbox);
    assert_eq!(said(&told), [("Normal", "QueueDepth")]);
    let worker = sandbox
        .kubernetes()
        .get("rollouts", "default", "worker")
        .unwrap();
    let event = &told[0];
    let about = &event["involvedObject"];
    for (key, expected) in [
        ("apiVersion", "argoproj.io/v1alpha1"),
        ("kind", "Rollout"),
        ("namespace", "default"),
        ("name", "worker"),
        ("uid", worker["metadata"]["uid"].as_str().unwrap()),
    ] {
        assert_eq!(about[key], expected, "{about}");
    }
    assert!(
        about["resourceVersion"]
            .as_str()
            .is_some_and(|version| !version.is_empty())
    );
    assert_names(
        event["message"].as_str().unwrap(),
        &["worker 2 → 7: 63 messages (60 visible + 3 in flight) / 10 per replica"],
    );
    assert_eq!(
        (&event["action"], &event["count"]),
        (&json!("ScaleOut"), &json!(1))
    );
    assert_eq!(event["reportingComponent"], "outrigger");
    assert_eq!(event["source"]["component"], "outrigger");
    assert_eq!(event["firstTimestamp"], event["lastTimestamp"]);

    // A steady pass has nothing to tell, and the next change has.
    for _ in 0..3 {
        function.answer("{}").await;
    }
    assert_eq!(count(&sandbox, POST), 1);
    sandbox.queues().set_counts("orders", 90, 0, 0);
    function.answer("{}").await;
    assert_eq!(writes(&sandbox), [(2, 7), (7, 9)]);
    assert_eq!(events(&sandbox).len(), 2);
}

#[tokio::test]
async fn another_kind_is_told_of_too() {
    let rbac = include_str!("../../../infra/kubernetes/role.yaml");
    let more = "\n- {apiGroups: [apps], resources: [deployments/scale], verbs: [get, patch]}\n";
    let sandbox = crate::support::bare(outrigger::sandbox::SandboxOptions {
        rbac: format!("{}{more}", rbac.trim_end()),
        ..outrigger::sandbox::SandboxOptions::default()
    })
    .await;
    crate::support::furnish(&sandbox);
    sandbox
        .kubernetes()
        .create_deployment("default", "worker", 2);
    let worker = WORKER.replace(
        "argoproj.io/v1alpha1, kind: Rollout",
        "apps/v1, kind: Deployment",
    );
    Function::start(&sandbox, &worker, &[])
        .await
        .answer("{}")
        .await;
    let deployment = sandbox
        .kubernetes()
        .get("deployments", "default", "worker")
        .unwrap();
    let told = events(&sandbox);
    assert_eq!(told.len(), 1);
    let about = &told[0]["involvedObject"];
    assert_eq!(
        (&about["apiVersion"], &about["kind"]),
        (&json!("apps/v1"), &json!("Deployment"))
    );
    assert_eq!(about["uid"], deployment["metadata"]["uid"]);
}

#[tokio::test]
async fn a_trouble_is_told_when_it_begins() {
    let sandbox = sandbox().await;
    sandbox.kubernetes().set_replicas("default", "worker", 7);
    let function = Function::start(&sandbox, WORKER, &[]).await;
    sandbox.queues().delete("orders");
    for _ in 0..3 {
        function.error("{}").await;
    }
    let told = events(&sandbox);
    assert_eq!(said(&told), [("Warning", "NonExistentQueue")]);
    assert_names(told[0]["message"].as_str().unwrap(), &["queue `", "orders"]);
    // It comes and goes: told of late.
    sandbox.queues().set_counts("orders", 63, 0, 0);
    function.answer("{}").await;
    sandbox.queues().delete("orders");
    function.error("{}").await;
    assert_eq!(events(&sandbox).len(), 1);

    // Another one.
    sandbox.queues().set_counts("orders", 90, 0, 0);
    create_autoscaler(&sandbox, "cpu", |_| {});
    for _ in 0..3 {
        function.answer("{}").await;
    }
    let told = events(&sandbox);
    assert_eq!(said(&told)[1..], [("Warning", "OtherOwner")]);
    assert_names(
        told[1]["message"].as_str().unwrap(),
        &["HorizontalPodAutoscaler cpu", "kubectl delete hpa cpu"],
    );
}

#[tokio::test]
async fn an_event_that_cannot_be_created_is_a_warning() {
    let role = include_str!("../../../infra/kubernetes/role.yaml");
    let without = role.split("# Tell `kubectl describe`").next().unwrap();
    let sandbox = crate::support::bare(outrigger::sandbox::SandboxOptions {
        rbac: without.to_owned(),
        ..outrigger::sandbox::SandboxOptions::default()
    })
    .await;
    crate::support::furnish(&sandbox);
    let function = Function::start(&sandbox, WORKER, &[]).await;
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "scaled", "{answer}");
    assert_eq!(writes(&sandbox), [(2, 7)]);
    let lines = function.new_lines();
    let warnings: Vec<_> = decisions(&lines)
        .into_iter()
        .filter(|line| !line["warning"].is_null())
        .collect();
    assert_eq!(warnings.len(), 1, "{lines:?}");
    assert_names(
        warnings[0]["warning"]["message"].as_str().unwrap(),
        &[
            "could not create an Event about Rollout `default/worker`",
            "403",
            "resources: [events], verbs: [create]} to the Role `outrigger`",
        ],
    );
}

/// The counts are written long before, and the answer does not wait for ever.
#[tokio::test]
async fn an_event_that_is_never_answered_holds_up_little() {
    let sandbox = sandbox().await;
    sandbox.kubernetes().fail(POST, KubernetesFault::Hang, 9);
    let function = Function::start(&sandbox, WORKER, &[]).await;
    let begun = tokio::time::Instant::now();
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "scaled", "{answer}");
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    let lines = function.new_lines();
    assert!(
        decisions(&lines)
            .iter()
            .any(|line| line["warning"]["code"] == "DeadlineExceeded"),
        "{lines:?}"
    );
}
