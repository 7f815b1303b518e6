//! Kinds that only the API server knows.

use futures_util::future::join_all;
use outrigger::adapters::kubernetes::Clusters;
use outrigger::manifest::WorkloadKind;
use outrigger::ports::{Place, Scaler as _, Workloads as _};
use outrigger::sandbox::kubernetes::KubernetesFault;
use outrigger::sandbox::{Sandbox, SandboxOptions, Service};
use serde_json::json;

use super::{change, clusters, failed, place};
use crate::support::{actions, assert_names, bare, count};

const GROUP: &str = "GET /apis/example.com/v1";

/// The rights for the kinds of these tests.
const RBAC: &str = "kind: Role\nrules:\n\
    - {apiGroups: [example.com], resources: [workers/scale], verbs: [get, patch]}\n\
    - {apiGroups: [\"\"], resources: [replicationcontrollers/scale], verbs: [get, patch]}\n";

async fn cluster() -> Sandbox {
    let sandbox = bare(SandboxOptions {
        rbac: RBAC.to_owned(),
        ..SandboxOptions::default()
    })
    .await;
    create(
        &sandbox,
        "example.com/v1",
        "Worker",
        &json!({"replicas": 3}),
    );
    create(
        &sandbox,
        "v1",
        "ReplicationController",
        &json!({"replicas": 3}),
    );
    sandbox
}

fn create(sandbox: &Sandbox, api_version: &str, kind: &str, spec: &serde_json::Value) {
    let manifest = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "crew"}, "spec": spec});
    sandbox.kubernetes().create(manifest).unwrap();
}

fn crew(api_version: &str, kind: &str) -> Place {
    place(WorkloadKind::parse(api_version, kind).unwrap(), "crew")
}

fn worker() -> Place {
    crew("example.com/v1", "Worker")
}

/// How often the whole list of a group was asked for, and not one of its objects.
fn asked(sandbox: &Sandbox, action: &str) -> usize {
    let actions = actions(sandbox, Service::Kubernetes);
    actions.iter().filter(|made| *made == action).count()
}

#[tokio::test]
async fn any_kind_is_asked_for_once_and_scaled() {
    let sandbox = cluster().await;
    let clusters = clusters(&sandbox).await;
    for (place, list, path) in [
        (
            worker(),
            GROUP,
            "/apis/example.com/v1/namespaces/default/workers/crew/scale",
        ),
        (
            crew("v1", "ReplicationController"),
            "GET /api/v1",
            "/api/v1/namespaces/default/replicationcontrollers/crew/scale",
        ),
    ] {
        let seen = clusters.read(&place).await.unwrap();
        assert_eq!((seen.workload.replicas, seen.workload.rollout), (3, None));
        clusters.scale(&place, &change(&seen, 0)).await.unwrap();
        let seen = clusters.read(&place).await.unwrap();
        assert_eq!(seen.workload.replicas, 0);
        clusters.begin_invocation().await;
        clusters.scale(&place, &change(&seen, 5)).await.unwrap();
        assert_eq!(clusters.read(&place).await.unwrap().workload.replicas, 5);
        assert_eq!(asked(&sandbox, list), 1);
        assert_eq!(count(&sandbox, &format!("GET {path}")), 3);
        assert_eq!(count(&sandbox, &format!("PATCH {path}")), 2);
    }
}

#[tokio::test]
async fn targets_at_the_same_time_share_the_question() {
    let sandbox = cluster().await;
    let clusters = clusters(&sandbox).await;
    let place = worker();
    let seen = join_all((0..50).map(|_| clusters.read(&place))).await;
    assert!(seen.iter().all(Result::is_ok), "{seen:?}");
    assert_eq!(asked(&sandbox, GROUP), 1);
    // Also when there is no answer.
    let other = crew("other.example.com/v1", "Worker");
    let seen = join_all((0..50).map(|_| clusters.read(&other))).await;
    assert!(seen.iter().all(Result::is_err), "{seen:?}");
    assert_eq!(asked(&sandbox, "GET /apis/other.example.com/v1"), 1);
}

#[tokio::test]
async fn what_cannot_be_scaled_is_told() {
    let sandbox = cluster().await;
    let clusters = clusters(&sandbox).await;
    for (api_version, kind, expected, texts) in [
        (
            "nobody.example.com/v1",
            "Worker",
            "NotServed",
            [
                "does not serve nobody.example.com/v1",
                "kubectl api-versions",
            ],
        ),
        (
            "example.com/v2",
            "Worker",
            "NotServed",
            ["does not serve example.com/v2", "scaleTargetRef.apiVersion"],
        ),
        (
            "argoproj.io/v2",
            "Rollout",
            "NotServed",
            ["does not serve argoproj.io/v2", "CRD"],
        ),
        (
            "example.com/v1",
            "Wroker",
            "UnknownKind",
            ["no kind Wroker", "did you mean `Worker`?"],
        ),
        (
            "example.com/v1",
            "Report",
            "NotScalable",
            ["a Report of example.com/v1", "no subresource `scale`"],
        ),
        (
            "example.com/v1",
            "Fleet",
            "ClusterScoped",
            ["a Fleet of example.com/v1", "no namespace"],
        ),
        (
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            "NotScalable",
            ["a HorizontalPodAutoscaler", "cluster `demo`"],
        ),
    ] {
        let (code, message) = failed(clusters.read(&crew(api_version, kind)).await);
        assert_eq!(code, expected, "{message}");
        assert_names(&message, &texts);
    }
    assert_eq!(asked(&sandbox, GROUP), 1);
    assert_eq!(count(&sandbox, "GET /apis/example.com/v1/namespaces"), 0);
}

async fn read_again(clusters: &Clusters) -> u32 {
    clusters.begin_invocation().await;
    clusters.read(&worker()).await.unwrap().workload.replicas
}

#[tokio::test]
async fn a_failure_is_kept_until_the_next_invocation() {
    for (fault, expected) in [
        (KubernetesFault::Status(404), "NotServed"),
        (KubernetesFault::Status(403), "Forbidden"),
    ] {
        let sandbox = cluster().await;
        let clusters = clusters(&sandbox).await;
        let kubernetes = sandbox.kubernetes();
        kubernetes.fail("GET /apis/example.com/v1", fault, 1);
        for _ in 0..3 {
            let (code, message) = failed(clusters.read(&worker()).await);
            assert_eq!(code, expected, "{message}");
        }
        assert_eq!(asked(&sandbox, GROUP), 1);
        assert_eq!(read_again(&clusters).await, 3);
        assert_eq!(asked(&sandbox, GROUP), 2);
    }
}

#[tokio::test]
async fn what_was_not_there_is_asked_for_again_in_the_next_invocation() {
    let sandbox = cluster().await;
    let clusters = clusters(&sandbox).await;
    failed(clusters.read(&crew("example.com/v1", "Report")).await);
    assert_eq!(read_again(&clusters).await, 3);
    assert_eq!(asked(&sandbox, GROUP), 2);
    assert_eq!(read_again(&clusters).await, 3);
    assert_eq!(asked(&sandbox, GROUP), 2);
    // Also when only the object is gone, since the kind may be gone with it.
    sandbox.kubernetes().delete("workers", "default", "crew");
    let (code, message) = failed(clusters.read(&worker()).await);
    assert_eq!(code, "NotFound");
    assert_names(&message, &["Worker `default/crew`", "scaleTargetRef"]);
    assert!(!message.contains("Rollout"), "{message}");
    clusters.begin_invocation().await;
    failed(clusters.read(&worker()).await);
    assert_eq!(asked(&sandbox, GROUP), 3);
}

#[tokio::test]
async fn a_custom_resource_without_a_count_is_told_at_once() {
    let sandbox = cluster().await;
    sandbox.kubernetes().delete("workers", "default", "crew");
    create(&sandbox, "example.com/v1", "Worker", &json!({}));
    let clusters = clusters(&sandbox).await;
    let (code, message) = failed(clusters.read(&worker()).await);
    assert_eq!(code, "ReplicasUnset");
    assert_names(
        &message,
        &[
            "Worker `default/crew`",
            "\".spec.replicas\" does not exist",
            "kubectl scale worker.v1.example.com crew -n default --replicas=1",
        ],
    );
    assert_eq!(count(&sandbox, "GET /apis/example.com/v1/namespaces"), 1);
}

#[tokio::test]
async fn a_missing_right_is_told_with_the_rule_to_add() {
    let sandbox = bare(SandboxOptions::default()).await;
    create(
        &sandbox,
        "example.com/v1",
        "Worker",
        &json!({"replicas": 3}),
    );
    let (code, message) = failed(clusters(&sandbox).await.read(&worker()).await);
    assert_eq!(code, "Forbidden");
    assert_names(&message, &["workers/scale", "get and patch"]);
}
