//! Passes one after another and at the same time.

use std::time::Duration;

use outrigger::sandbox::kubernetes::KubernetesFault;
use outrigger::sandbox::{Sandbox, SandboxOptions, Service};
use serde_json::json;

use super::{decisions, replicas, writes};
use crate::support::function::Function;
use crate::support::{SCALE, WORKER, actions, bare, count, furnish, sandbox, until};

#[tokio::test]
async fn a_steady_target_costs_three_reads_and_no_write() {
    let sandbox = sandbox().await;
    let function = Function::start(&sandbox, WORKER, &[]).await;
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "scaled");
    assert_eq!(actions(&sandbox, Service::Eks), ["DescribeCluster demo"]);
    // The pass that sees the new count remembers it.
    function.answer("{}").await;
    for _ in 0..3 {
        sandbox.clear_requests();
        function.new_lines();
        let answer = function.answer("{}").await;
        assert_eq!(answer["targets"][0]["effect"], "held", "{answer}");
        let mut requests = actions(&sandbox, Service::Kubernetes);
        requests.sort();
        assert_eq!(
            requests,
            [
                "GET /api/v1/namespaces/default/configmaps/outrigger",
                "GET /apis/argoproj.io/v1alpha1/namespaces/default/rollouts/worker",
            ]
        );
        assert_eq!(
            actions(&sandbox, Service::Sqs),
            ["GetQueueAttributes orders"]
        );
        assert!(actions(&sandbox, Service::Eks).is_empty());
        // An unchanged hold is in the summary only.
        assert_eq!(decisions(&function.new_lines()).len(), 0);
    }
    assert_eq!(writes(&sandbox), [(2, 7)]);
}

/// Puts a memory into the ConfigMap as an earlier invocation would have left it. `{ago}` stands for an hour ago.
fn remember(sandbox: &Sandbox, state: &str) {
    let ago = outrigger::clock::wall_now() - Duration::from_hours(1);
    let ago = jiff::Timestamp::from_second(ago.as_second()).unwrap();
    let state = state.replace("{ago}", &ago.to_string());
    let kubernetes = sandbox.kubernetes();
    kubernetes.edit("configmaps", "default", "outrigger", |object| {
        object["data"]["rollout.worker"] = json!(state);
    });
}

#[tokio::test]
async fn what_is_remembered_lets_it_scale_in() {
    let sandbox = sandbox().await;
    sandbox.kubernetes().set_replicas("default", "worker", 7);
    sandbox.queues().set_counts("orders", 40, 0, 0);
    let state = r#"{"v":1,"firstSeen":"{ago}","active":true,"lastActive":"{ago}","inWindow":[{"replicas":4}],"lastWritten":7}"#;
    remember(&sandbox, state);
    let function = Function::start(&sandbox, WORKER, &[]).await;
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "scaled", "{answer}");
    assert_eq!(writes(&sandbox), [(7, 4)]);
    let lines = function.new_lines();
    assert_eq!(super::summary(&lines)["ScaledIn"], 1);
}

#[tokio::test]
async fn to_zero_and_back() {
    let sandbox = sandbox().await;
    sandbox.queues().set_counts("orders", 0, 0, 0);
    let state = r#"{"v":1,"firstSeen":"{ago}","active":false,"lastActive":"{ago}","emptySince":"{ago}","inWindow":[{"replicas":0}],"lastWritten":2}"#;
    remember(&sandbox, state);
    let from_zero = WORKER.replace("minReplicaCount: 2", "minReplicaCount: 0");
    let function = Function::start(&sandbox, &from_zero, &[]).await;
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["reason"], "ScaledToZero", "{answer}");
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["reason"], "Inactive", "{answer}");
    // Steady at zero, too.
    sandbox.clear_requests();
    function.answer("{}").await;
    assert_eq!(count(&sandbox, "PATCH"), 0);
    sandbox.queues().set_counts("orders", 25, 0, 0);
    function.answer("{}").await;
    assert_eq!(writes(&sandbox), [(2, 0), (0, 3)]);
}

#[tokio::test]
async fn an_empty_queue_does_not_scale_in_at_once() {
    let sandbox = sandbox().await;
    let function = Function::start(&sandbox, WORKER, &[]).await;
    function.answer("{}").await;
    sandbox.queues().set_counts("orders", 0, 0, 0);
    for _ in 0..3 {
        let answer = function.answer("{}").await;
        assert_eq!(answer["targets"][0]["reason"], "ScaleInWindow", "{answer}");
    }
    assert_eq!(writes(&sandbox), [(2, 7)]);
}

/// During a canary with traffic routing the status counts canary pods too. What takes it for the present count adopts it
/// whenever it lies within the tolerance, which raises the canary's share, which raises the status: 10, 11, 13, …
/// <https://github.com/argoproj/argo-rollouts/issues/4847>
#[tokio::test]
async fn canary_pods_never_inflate_the_count() {
    let sandbox = sandbox().await;
    let kubernetes = sandbox.kubernetes();
    kubernetes.set_replicas("default", "worker", 10);
    sandbox.queues().set_counts("orders", 100, 0, 0);
    let function = Function::start(&sandbox, WORKER, &[]).await;
    function.answer("{}").await;
    let mut fooled = 10u32;
    for weight in [10, 20, 30, 40, 50, 100] {
        // All pods of the stable set, and the canary's share of `spec.replicas` on top.
        let pods = |replicas: u32| replicas + (replicas * weight).div_ceil(100);
        let spec = kubernetes.replicas("default", "worker").unwrap();
        kubernetes.set_rollout("default", "worker", |rollout| {
            let status = &mut rollout["status"];
            status["currentPodHash"] = json!("the-update");
            status["pauseConditions"] = json!([{"reason": "CanaryPauseStep"}]);
            status["HPAReplicas"] = json!(pods(spec));
            status["replicas"] = json!(pods(spec));
        });
        let answer = function.answer("{}").await;
        let target = &answer["targets"][0];
        assert_eq!(
            (&target["from"], &target["to"]),
            (&json!(10), &json!(10)),
            "{answer}"
        );
        let counted = pods(fooled);
        if (counted * 9..=counted * 11).contains(&100) {
            fooled = counted;
        }
    }
    assert!(fooled > 10, "this world fools nobody");
    assert!(writes(&sandbox).is_empty());
}

#[tokio::test]
async fn a_count_above_the_maximum_is_corrected() {
    let sandbox = sandbox().await;
    sandbox.kubernetes().set_replicas("default", "worker", 20);
    let function = Function::start(&sandbox, WORKER, &[]).await;
    function.answer("{}").await;
    assert_eq!(writes(&sandbox), [(20, 16)]);
}

#[tokio::test]
async fn a_process_killed_between_memory_and_count_is_made_good() {
    let sandbox = sandbox().await;
    let mut first = Function::start(&sandbox, WORKER, &[]).await;
    sandbox
        .kubernetes()
        .fail("PATCH /scale", KubernetesFault::Hang, 1_000);
    let scaling = until("the patch of the scale", || count(&sandbox, SCALE) > 0);
    tokio::select! {
        outcome = first.invoke("{}") => panic!("{outcome:?}"),
        () = scaling => {}
    }
    first.kill().await;
    let memory = sandbox.kubernetes().configmap("default", "outrigger");
    let state: serde_json::Value =
        serde_json::from_str(&memory.unwrap()["rollout.worker"]).unwrap();
    assert_eq!(state["pending"]["to"], 7, "{state}");
    assert_eq!(replicas(&sandbox), Some(2));

    sandbox.kubernetes().clear_faults();
    let second = Function::start(&sandbox, WORKER, &[]).await;
    let answer = second.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "scaled", "{answer}");
    assert_eq!(writes(&sandbox), [(2, 7)]);
    second.answer("{}").await;
    sandbox.clear_requests();
    let answer = second.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "held", "{answer}");
    assert_eq!(count(&sandbox, "PATCH"), 0);
    let memory = sandbox.kubernetes().configmap("default", "outrigger");
    let state: serde_json::Value =
        serde_json::from_str(&memory.unwrap()["rollout.worker"]).unwrap();
    assert_eq!(state["pending"], json!(null), "{state}");
    assert_eq!(state["events"].as_array().unwrap().len(), 1, "{state}");
}

#[tokio::test]
async fn two_processes_at_once_write_once() {
    let sandbox = sandbox().await;
    let first = Function::start(&sandbox, WORKER, &[]).await;
    let second = Function::start(&sandbox, WORKER, &[]).await;
    let (one, other) = tokio::join!(first.answer("{}"), second.answer("{}"));
    let effects = [&one, &other].map(|answer| answer["targets"][0]["effect"].clone());
    let scaled = effects.iter().filter(|effect| **effect == "scaled").count();
    assert_eq!(scaled, 1, "{effects:?}");
    assert!(
        effects
            .iter()
            .all(|effect| ["scaled", "lostRace", "held"].contains(&effect.as_str().unwrap())),
        "{effects:?}"
    );
    assert_eq!(writes(&sandbox), [(2, 7)]);
}

#[tokio::test]
async fn many_copies_at_once_write_once_a_change() {
    let sandbox = sandbox().await;
    let mut functions = Vec::new();
    for _ in 0..4 {
        functions.push(Function::start(&sandbox, WORKER, &[]).await);
    }
    let mut expected = Vec::new();
    for (from, to) in [(2, 5), (5, 9), (9, 16)] {
        sandbox
            .queues()
            .set_counts("orders", u64::from(to) * 10, 0, 0);
        let answers = functions.iter().map(|function| function.answer("{}"));
        futures_util::future::join_all(answers).await;
        // Whoever lost the race to settle the last change left the next one to a later pass.
        functions[0].answer("{}").await;
        expected.push((from, to));
        assert_eq!(writes(&sandbox), expected);
    }
}

/// Each has as many bytes as etcd takes of one, and the reads of 32 begin at the same time.
#[tokio::test]
async fn many_large_rollouts_leave_the_function_its_memory() {
    const COUNT: usize = 60;
    let sandbox = bare(SandboxOptions::default()).await;
    furnish(&sandbox);
    let notes = json!("x".repeat(1_450_000));
    let mut manifests = String::new();
    for number in 0..COUNT {
        let name = format!("large-{number}");
        let kubernetes = sandbox.kubernetes();
        kubernetes.create_rollout("default", &name, Some(2));
        kubernetes.set_rollout("default", &name, |rollout| {
            rollout["metadata"]["annotations"]["notes"] = notes.clone();
        });
        manifests += "---\n";
        manifests += &WORKER.replace("worker", &name);
    }
    let function = Function::start(&sandbox, &manifests, &[]).await;
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"].as_array().unwrap().len(), COUNT);
    let peak = function.peak_memory();
    assert!(peak.is_none_or(|peak| peak < 64), "{peak:?} MiB");
}

#[tokio::test]
async fn a_kind_that_only_the_server_knows_is_scaled_and_then_costs_as_little() {
    let rbac = "kind: Role\nrules:\n\
        - {apiGroups: [example.com], resources: [workers/scale], verbs: [get, patch]}\n\
        - {apiGroups: [\"\"], resources: [configmaps], verbs: [get, patch]}\n\
        - {apiGroups: [autoscaling, keda.sh], resources: [horizontalpodautoscalers, scaledobjects], verbs: [list]}\n";
    let options = SandboxOptions {
        rbac: rbac.to_owned(),
        ..SandboxOptions::default()
    };
    let sandbox = bare(options).await;
    furnish(&sandbox);
    let manifest = json!({"apiVersion": "example.com/v1", "kind": "Worker", "metadata": {"name": "worker"}, "spec": {"replicas": 2}});
    sandbox.kubernetes().create(manifest).unwrap();
    let worker = WORKER
        .replace("argoproj.io/v1alpha1", "example.com/v1")
        .replace("kind: Rollout", "kind: Worker");
    let function = Function::start(&sandbox, &worker, &[]).await;
    for effect in ["scaled", "held", "held"] {
        sandbox.clear_requests();
        let answer = function.answer("{}").await;
        assert_eq!(answer["targets"][0]["effect"], effect, "{answer}");
    }
    let mut requests = actions(&sandbox, Service::Kubernetes);
    requests.sort();
    assert_eq!(
        requests,
        [
            "GET /api/v1/namespaces/default/configmaps/outrigger",
            "GET /apis/example.com/v1/namespaces/default/workers/worker/scale",
        ]
    );
    let object = sandbox.kubernetes().get("workers", "default", "worker");
    assert_eq!(object.unwrap()["spec"]["replicas"], 7);
    let memory = sandbox.kubernetes().configmap("default", "outrigger");
    assert!(memory.unwrap().contains_key("worker.worker"));
}
