//! Workloads, their counts and the memory.

use std::collections::BTreeMap;

use outrigger::adapters::kubernetes::Clusters;
use outrigger::manifest::WorkloadKind;
use outrigger::ports::{
    Change, FaultKind, LiveMemories as _, Memories as _, Scaler as _, Workloads as _,
};
use outrigger::sandbox::kubernetes::KubernetesFault;
use outrigger::sandbox::{Sandbox, SandboxOptions, Service};
use serde_json::json;

use super::{
    change, clusters, failed, lost_race, namespace, place, read, state_write, store, worker,
};
use crate::support::{SCALE, actions, assert_names, bare, count, sandbox};

const READ: &str = "GET /apis/argoproj.io/v1alpha1/namespaces/default/rollouts/worker";
const LOAD: &str = "GET /api/v1/namespaces/default/configmaps/outrigger";
const STORE: &str = "PATCH /api/v1/namespaces/default/configmaps/outrigger";

#[tokio::test]
async fn a_rollout_is_read_in_one_request() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    let seen = read(&clusters).await;
    let object = sandbox.kubernetes().get("rollouts", "default", "worker");
    assert_eq!(object.unwrap()["metadata"]["uid"], seen.uid.as_str());
    assert_eq!(seen.workload.replicas, 2);
    assert_eq!(
        seen.workload.rollout,
        Some(outrigger::decide::Rollout::default())
    );
    assert_eq!(actions(&sandbox, Service::Kubernetes), [READ]);

    sandbox.kubernetes().set_replicas("default", "worker", 0);
    assert_eq!(read(&clusters).await.workload.replicas, 0);
    sandbox
        .kubernetes()
        .set_rollout("default", "worker", |rollout| {
            rollout["status"]["currentPodHash"] = json!("another");
            rollout["status"]["abort"] = json!(true);
        });
    let rollout = read(&clusters).await.workload.rollout.unwrap();
    assert!(rollout.updating && rollout.aborted && !rollout.paused);
}

/// A Rollout with so many bytes that nobody asked for.
fn enlarge(sandbox: &Sandbox, bytes: usize) {
    let kubernetes = sandbox.kubernetes();
    kubernetes.set_rollout("default", "worker", |rollout| {
        rollout["metadata"]["annotations"]["notes"] = json!("x".repeat(bytes));
    });
}

#[tokio::test]
async fn what_is_larger_than_any_object_is_not_read_and_not_asked_for_again() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    enlarge(&sandbox, (3 << 20) - 10_000);
    assert_eq!(read(&clusters).await.workload.replicas, 2);
    sandbox.clear_requests();
    enlarge(&sandbox, 3 << 20);
    let (code, message) = failed(clusters.read(&worker()).await);
    assert_eq!(code, "TooLarge");
    assert_names(
        &message,
        &[
            "Rollout `default/worker`",
            "more than 3 MiB",
            "make the object smaller",
        ],
    );
    assert_eq!(actions(&sandbox, Service::Kubernetes), [READ]);
}

#[tokio::test]
async fn fields_of_another_type_than_ours_are_as_good_as_missing() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    let kubernetes = sandbox.kubernetes();
    kubernetes.set_rollout("default", "worker", |rollout| {
        rollout["spec"]["paused"] = json!("yes");
        rollout["spec"]["strategy"] = json!([1]);
        rollout["spec"]["workloadRef"] = json!(7);
        rollout["status"]["abort"] = json!({});
        rollout["status"]["pauseConditions"] = json!([{"reason": 3}]);
        rollout["metadata"]["annotations"] = json!(null);
    });
    let seen = read(&clusters).await;
    assert_eq!(seen.workload.replicas, 2);
    assert_eq!(
        seen.workload.rollout,
        Some(outrigger::decide::Rollout::default())
    );
    for (count, found) in [
        (json!("3"), "spec.replicas is \"3\", which is not a count"),
        (json!(-1), "spec.replicas is -1, which is not a count"),
        (json!(2.5), "spec.replicas is 2.5, which is not a count"),
    ] {
        kubernetes.set_rollout("default", "worker", |rollout| {
            rollout["spec"]["replicas"] = count.clone();
        });
        let (code, message) = failed(clusters.read(&worker()).await);
        assert_eq!(code, "BadResponse");
        assert!(message.ends_with(found), "{message}");
    }
}

#[tokio::test]
async fn a_rollout_without_a_count_is_an_error() {
    let sandbox = sandbox().await;
    sandbox.kubernetes().create_rollout("default", "free", None);
    let place = place(WorkloadKind::ROLLOUT, "free");
    let (code, message) = failed(clusters(&sandbox).await.read(&place).await);
    assert_eq!(code, "ReplicasUnset");
    assert_names(
        &message,
        &[
            "Rollout `default/free`",
            "kubectl scale rollouts free -n default --replicas=1",
        ],
    );
}

#[tokio::test]
async fn a_workload_that_is_not_there() {
    let sandbox = sandbox().await;
    let place = place(WorkloadKind::ROLLOUT, "nobody");
    let (code, message) = failed(clusters(&sandbox).await.read(&place).await);
    assert_eq!(code, "NotFound");
    assert_names(
        &message,
        &["Rollout `default/nobody`", "404", "scaleTargetRef"],
    );
    assert_eq!(actions(&sandbox, Service::Kubernetes).len(), 1);
}

/// The rights for kinds other than Rollouts, which are not shipped by default.
async fn apps() -> Sandbox {
    let rbac = "kind: Role\nrules:\n- apiGroups: [apps]\n  resources: [deployments/scale, statefulsets/scale]\n  verbs: [get, patch]\n";
    let sandbox = bare(SandboxOptions {
        rbac: rbac.to_owned(),
        ..SandboxOptions::default()
    })
    .await;
    for replicas in [0, 3] {
        let name = format!("with-{replicas}");
        sandbox
            .kubernetes()
            .create_deployment("default", &name, replicas);
        sandbox
            .kubernetes()
            .create_stateful_set("default", &name, replicas);
    }
    sandbox
}

#[tokio::test]
async fn other_kinds_are_read_and_scaled_through_scale() {
    let sandbox = apps().await;
    let clusters = clusters(&sandbox).await;
    for kind in [WorkloadKind::DEPLOYMENT, WorkloadKind::STATEFUL_SET] {
        for (from, to) in [(0, 4), (3, 0)] {
            let place = place(kind.clone(), &format!("with-{from}"));
            let seen = clusters.read(&place).await.unwrap();
            assert_eq!(
                (seen.workload.replicas, seen.workload.rollout),
                (from, None)
            );
            clusters.scale(&place, &change(&seen, to)).await.unwrap();
            let seen = clusters.read(&place).await.unwrap();
            assert_eq!(seen.workload.replicas, to);
        }
    }
    let requests = actions(&sandbox, Service::Kubernetes);
    assert_eq!(requests.len(), 12);
    assert!(requests.iter().all(|request| request.ends_with("/scale")));
    let path = "GET /apis/apps/v1/namespaces/default/statefulsets/with-0/scale";
    assert!(requests.contains(&path.to_owned()), "{requests:?}");
}

#[tokio::test]
async fn a_count_is_written_once() {
    for (from, to) in [(2, 7), (0, 3), (3, 0), (5, 4)] {
        let sandbox = sandbox().await;
        sandbox.kubernetes().set_replicas("default", "worker", from);
        let clusters = clusters(&sandbox).await;
        let seen = read(&clusters).await;
        let changed = clusters.scale(&worker(), &change(&seen, to)).await;
        assert_eq!(changed, Ok(()));
        let kubernetes = sandbox.kubernetes();
        assert_eq!(kubernetes.replicas("default", "worker"), Some(to));
        assert_eq!(kubernetes.scale_writes("default", "worker"), [(from, to)]);
        let object = kubernetes.get("rollouts", "default", "worker").unwrap();
        let managers = object["metadata"]["managedFields"].as_array().unwrap();
        assert!(
            managers.iter().any(|entry| entry["manager"] == "outrigger"),
            "{managers:?}"
        );
    }
}

#[tokio::test]
async fn a_stale_count_is_a_lost_race() {
    // Also where somebody else has set the very count that is wanted.
    for (from, now) in [(2, 3), (2, 0), (0, 2), (2, 7)] {
        let sandbox = sandbox().await;
        sandbox.kubernetes().set_replicas("default", "worker", from);
        let clusters = clusters(&sandbox).await;
        let seen = read(&clusters).await;
        sandbox.kubernetes().set_replicas("default", "worker", now);
        let message = lost_race(clusters.scale(&worker(), &change(&seen, 7)).await);
        assert_names(&message, &[&format!("{now} replicas"), "default/worker"]);
        nothing_written(&sandbox, now);
    }
}

#[track_caller]
fn nothing_written(sandbox: &Sandbox, replicas: u32) {
    let kubernetes = sandbox.kubernetes();
    assert_eq!(kubernetes.replicas("default", "worker"), Some(replicas));
    assert_eq!(kubernetes.scale_writes("default", "worker"), []);
}

#[tokio::test]
async fn a_workload_that_was_made_again_is_a_lost_race() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    let seen = read(&clusters).await;
    sandbox.kubernetes().delete("rollouts", "default", "worker");
    sandbox
        .kubernetes()
        .create_rollout("default", "worker", Some(2));
    lost_race(clusters.scale(&worker(), &change(&seen, 7)).await);
    nothing_written(&sandbox, 2);
}

#[tokio::test]
async fn a_workload_that_went_away_cannot_be_scaled() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    let seen = read(&clusters).await;
    sandbox.kubernetes().delete("rollouts", "default", "worker");
    let (code, message) = failed(clusters.scale(&worker(), &change(&seen, 7)).await);
    assert_eq!(code, "NotFound");
    assert_names(&message, &["scale Rollout `default/worker` from 2 to 7"]);
}

#[tokio::test]
async fn a_count_that_the_server_does_not_take_is_no_lost_race() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    let seen = read(&clusters).await;
    let (code, _) = failed(clusters.scale(&worker(), &change(&seen, u32::MAX)).await);
    assert_eq!(code, "Invalid");
    nothing_written(&sandbox, 2);
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_not_made_twice() {
    for (from, to, fault) in [
        (2, 7, KubernetesFault::ApplyThenReset),
        (0, 3, KubernetesFault::ApplyThenReset),
        (3, 0, KubernetesFault::ApplyThenReset),
        // A server that fails after it was carried out.
        (2, 7, KubernetesFault::ApplyThenStatus(500)),
        (3, 0, KubernetesFault::ApplyThenStatus(503)),
        (0, 3, KubernetesFault::ApplyThenStatus(504)),
    ] {
        let sandbox = sandbox().await;
        sandbox.kubernetes().set_replicas("default", "worker", from);
        let clusters = clusters(&sandbox).await;
        let seen = read(&clusters).await;
        sandbox.kubernetes().fail("PATCH /scale", fault, 1);
        let changed = clusters.scale(&worker(), &change(&seen, to)).await;
        assert_eq!(changed, Ok(()));
        let kubernetes = sandbox.kubernetes();
        assert_eq!(kubernetes.scale_writes("default", "worker"), [(from, to)]);
        assert_eq!(count(&sandbox, SCALE), 2);
    }
}

#[tokio::test]
async fn what_became_of_a_write_is_looked_up_when_no_answer_comes() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    let seen = read(&clusters).await;
    let kubernetes = sandbox.kubernetes();
    kubernetes.fail("PATCH /scale", KubernetesFault::ApplyThenReset, 1_000);
    let changed = clusters.scale(&worker(), &change(&seen, 7)).await;
    assert_eq!(changed, Ok(()));
    // Nor can it be looked up.
    kubernetes.fail("GET /rollouts/", KubernetesFault::Reset, 1_000);
    let change = Change {
        from: 7,
        to: 9,
        ..change(&seen, 7)
    };
    let changed = clusters.scale(&worker(), &change).await;
    assert_eq!(changed.unwrap_err().kind, FaultKind::Unclear);
}

/// Whoever took it back would later find a change that nobody made.
#[tokio::test]
async fn a_write_that_may_have_been_made_and_cannot_be_looked_up_is_unclear() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    let seen = read(&clusters).await;
    let kubernetes = sandbox.kubernetes();
    // The second try finds the count changed.
    kubernetes.fail("PATCH /scale", KubernetesFault::ApplyThenReset, 1);
    kubernetes.fail("GET /rollouts/", KubernetesFault::Status(503), 1_000);
    let changed = clusters.scale(&worker(), &change(&seen, 7)).await;
    assert_eq!(changed.unwrap_err().kind, FaultKind::Unclear);
    assert_eq!(kubernetes.scale_writes("default", "worker"), [(2, 7)]);
}

async fn load(clusters: &Clusters) -> BTreeMap<String, String> {
    clusters.load(&namespace()).await.unwrap()
}

const KEY: &str = "rollout.worker";

#[tokio::test]
async fn a_key_is_created_and_replaced() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    assert_eq!(load(&clusters).await.keys().collect::<Vec<_>>(), ["about"]);
    let first = r#"{"v":1,"text":"a \"quoted\" ~/one"}"#;
    for (old, new) in [(None, first), (Some(first), "second")] {
        let stored = store(&clusters, old, new).await;
        assert_eq!(stored, Ok(()));
        let keys = load(&clusters).await;
        assert_eq!(keys[KEY], new);
        assert!(keys.contains_key("about"));
    }
    assert_eq!(count(&sandbox, STORE), 2);
    assert_eq!(count(&sandbox, LOAD), 3);
}

#[tokio::test]
async fn a_key_that_changed_is_a_lost_race() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    store(&clusters, None, "theirs").await.unwrap();
    for old in [None, Some("ours")] {
        let message = lost_race(store(&clusters, old, "new").await);
        assert_names(&message, &[KEY]);
    }
    // Also where another copy has written the very same.
    for old in [None, Some("ours")] {
        lost_race(store(&clusters, old, "theirs").await);
    }
    let other = state_write("other", Some("gone"), "new");
    let mut stored = clusters.store(&namespace(), &[other]).await;
    lost_race(stored.remove(0));
    let keys = load(&clusters).await;
    assert_eq!(keys[KEY], "theirs");
    assert!(!keys.contains_key("rollout.other"));
}

#[tokio::test]
async fn a_store_whose_answer_is_lost_is_a_success() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    for (old, new, fault) in [
        (None, "first", KubernetesFault::ApplyThenReset),
        (Some("first"), "second", KubernetesFault::ApplyThenReset),
        (
            Some("second"),
            "third",
            KubernetesFault::ApplyThenStatus(500),
        ),
        (
            Some("third"),
            "fourth",
            KubernetesFault::ApplyThenStatus(504),
        ),
    ] {
        sandbox.kubernetes().fail("PATCH /configmaps/", fault, 1);
        let stored = store(&clusters, old, new).await;
        assert_eq!(stored, Ok(()));
        assert_eq!(load(&clusters).await[KEY], new);
    }
}

#[tokio::test]
async fn a_missing_memory_is_told_with_the_command_that_makes_it() {
    let sandbox = sandbox().await;
    sandbox
        .kubernetes()
        .delete_configmap("default", "outrigger");
    let clusters = clusters(&sandbox).await;
    let loaded = failed(clusters.load(&namespace()).await);
    let stored = failed(store(&clusters, None, "new").await);
    for (code, message) in [loaded, stored] {
        assert_eq!(code, "NotFound");
        let command = "kubectl apply -k infra/kubernetes";
        assert_names(&message, &["ConfigMap `default/outrigger`", command]);
    }
}

#[tokio::test]
async fn a_memory_without_data_is_empty_and_cannot_be_written() {
    let sandbox = bare(SandboxOptions::default()).await;
    sandbox
        .kubernetes()
        .create_configmap("default", "outrigger", &BTreeMap::new());
    let clusters = clusters(&sandbox).await;
    assert!(load(&clusters).await.is_empty());
    let (code, message) = failed(store(&clusters, None, "new").await);
    assert_eq!(code, "Invalid");
    assert_names(&message, &["ConfigMap `default/outrigger`", KEY]);
}
