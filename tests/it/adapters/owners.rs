//! The lists that other owners are looked for in.

use outrigger::adapters::kubernetes::Clusters;
use outrigger::owners::{Autoscaler, ScaledObject, TargetRef};
use outrigger::ports::{Fault, Workloads as _};
use outrigger::sandbox::kubernetes::KubernetesFault;
use outrigger::sandbox::{SandboxOptions, Service};
use serde_json::json;

use super::{clusters, failed, namespace};
use crate::support::owners::{create_autoscaler, create_autoscaler_of_keda, create_scaled_object};
use crate::support::{actions, assert_names, bare, count, sandbox};

const AUTOSCALERS: &str = "GET /apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
const SCALED_OBJECTS: &str = "GET /apis/keda.sh/v1alpha1/namespaces/default/scaledobjects";

fn rollout(name: &str) -> TargetRef {
    TargetRef::new("argoproj.io/v1alpha1", "Rollout", name)
}

fn plain(name: &str) -> Autoscaler {
    Autoscaler {
        name: name.to_owned(),
        target: rollout("worker"),
        scaled_object: None,
        is_labelled_keda: false,
        frozen_within: None,
    }
}

async fn autoscalers(clusters: &Clusters) -> Result<Vec<Autoscaler>, Fault> {
    clusters.autoscalers(&namespace()).await
}

async fn scaled_objects(clusters: &Clusters) -> Result<Vec<ScaledObject>, Fault> {
    clusters.scaled_objects(&namespace()).await
}

#[tokio::test]
async fn autoscalers_are_read_for_what_decides() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    assert_eq!(autoscalers(&clusters).await, Ok(Vec::new()));
    create_autoscaler(&sandbox, "a-plain", |_| {});
    create_autoscaler(&sandbox, "b-labelled", |object| {
        object["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "keda-operator"});
    });
    create_autoscaler(&sandbox, "c-frozen", |object| {
        let disabled = json!({"selectPolicy": "Disabled"});
        object["spec"]["behavior"] = json!({"scaleUp": disabled, "scaleDown": disabled});
        object["spec"]
            .as_object_mut()
            .unwrap()
            .remove("minReplicas");
    });
    create_autoscaler(&sandbox, "d-half-frozen", |object| {
        let disabled = json!({"selectPolicy": "Disabled"});
        object["spec"]["behavior"] =
            json!({"scaleUp": {"selectPolicy": "Max"}, "scaleDown": disabled});
    });
    create_autoscaler(&sandbox, "e-elsewhere", |object| {
        object["metadata"]["namespace"] = json!("elsewhere");
    });
    create_autoscaler(&sandbox, "f-core", |object| {
        object["spec"]["scaleTargetRef"] = json!({"kind": "Rollout", "name": "worker"});
    });
    create_autoscaler_of_keda(&sandbox, "worker");
    let expected = [
        plain("a-plain"),
        Autoscaler {
            is_labelled_keda: true,
            ..plain("b-labelled")
        },
        Autoscaler {
            frozen_within: Some(1..=16),
            ..plain("c-frozen")
        },
        plain("d-half-frozen"),
        Autoscaler {
            target: TargetRef::new("", "Rollout", "worker"),
            ..plain("f-core")
        },
        Autoscaler {
            scaled_object: Some("worker".to_owned()),
            ..plain("keda-hpa-worker")
        },
    ];
    assert_eq!(autoscalers(&clusters).await.unwrap(), expected);
    assert_eq!(count(&sandbox, AUTOSCALERS), 2);
}

#[tokio::test]
async fn scaled_objects_are_read_with_the_defaults_of_keda() {
    let sandbox = sandbox().await;
    sandbox.kubernetes().set_keda_installed(true);
    let clusters = clusters(&sandbox).await;
    assert_eq!(scaled_objects(&clusters).await, Ok(Vec::new()));
    create_scaled_object(&sandbox, "a", |_| {});
    create_scaled_object(&sandbox, "b", |object| {
        object["spec"]["scaleTargetRef"] = json!({"name": "worker"});
        object["metadata"]["finalizers"] = json!(["other", "finalizer.keda.sh"]);
    });
    let annotated = [
        ("c", json!({"autoscaling.keda.sh/paused": "true"})),
        ("d", json!({"autoscaling.keda.sh/paused": "false"})),
        ("e", json!({"autoscaling.keda.sh/paused": "since Monday"})),
        ("f", json!({"autoscaling.keda.sh/paused-replicas": "0"})),
    ];
    for (name, annotations) in annotated {
        create_scaled_object(&sandbox, name, |object| {
            object["metadata"]["annotations"] = annotations;
            let metadata = object["metadata"].as_object_mut().unwrap();
            metadata.remove("finalizers");
        });
    }
    create_scaled_object(&sandbox, "g", |object| {
        object["metadata"]["deletionTimestamp"] = json!("2026-11-23T00:00:00Z");
    });
    let object = |name: &str, is_paused, finalizer| ScaledObject {
        name: name.to_owned(),
        target: rollout("worker"),
        is_paused,
        is_deleted: false,
        finalizer,
    };
    let expected = [
        object("a", false, Some(0)),
        ScaledObject {
            target: TargetRef::new("apps/v1", "Deployment", "worker"),
            ..object("b", false, Some(1))
        },
        object("c", true, None),
        object("d", false, None),
        object("e", true, None),
        object("f", true, None),
        ScaledObject {
            is_deleted: true,
            ..object("g", false, Some(0))
        },
    ];
    assert_eq!(scaled_objects(&clusters).await.unwrap(), expected);
}

#[tokio::test]
async fn without_keda_there_are_no_scaled_objects() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    assert_eq!(scaled_objects(&clusters).await, Ok(Vec::new()));
    assert_eq!(count(&sandbox, SCALED_OBJECTS), 1);
    // Where autoscalers are not known, something else is wrong.
    let fault = KubernetesFault::Status(404);
    sandbox
        .kubernetes()
        .fail("/horizontalpodautoscalers", fault, 1);
    let (code, message) = failed(autoscalers(&clusters).await);
    assert_eq!(code, "NotFound");
    assert_names(&message, &["Kubernetes 1.23", "nothing is scaled in"]);
}

#[tokio::test]
async fn a_long_list_is_read_to_its_end() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    for (number, requests) in [(100, 1), (101, 2), (250, 3)] {
        for index in 0..number {
            let name = format!("hpa-{index:03}");
            if sandbox
                .kubernetes()
                .get("horizontalpodautoscalers", "default", &name)
                .is_none()
            {
                create_autoscaler(&sandbox, &name, |_| {});
            }
        }
        sandbox.clear_requests();
        let found = autoscalers(&clusters).await.unwrap();
        let names: std::collections::BTreeSet<_> =
            found.iter().map(|autoscaler| &autoscaler.name).collect();
        assert_eq!((found.len(), names.len()), (number, number));
        assert_eq!(count(&sandbox, AUTOSCALERS), requests);
    }
    // Half a list is none.
    sandbox.clear_requests();
    let slow = KubernetesFault::Slow(std::time::Duration::ZERO);
    sandbox
        .kubernetes()
        .fail("/horizontalpodautoscalers", slow, 1);
    let gone = KubernetesFault::Status(410);
    sandbox
        .kubernetes()
        .fail("/horizontalpodautoscalers", gone, 1);
    let (_, message) = failed(autoscalers(&clusters).await);
    assert_names(&message, &["410", "nothing is scaled in"]);
    assert_eq!(count(&sandbox, AUTOSCALERS), 2);
}

/// Where the first page was there, the kind is known: a page that is not is no end of the list.
#[tokio::test]
async fn a_page_that_is_gone_is_no_end_of_a_list() {
    let sandbox = sandbox().await;
    sandbox.kubernetes().set_keda_installed(true);
    for index in 0..101 {
        create_scaled_object(&sandbox, &format!("so-{index:03}"), |_| {});
    }
    let clusters = clusters(&sandbox).await;
    for code in [404, 410] {
        sandbox.clear_requests();
        let first = KubernetesFault::Slow(std::time::Duration::ZERO);
        for fault in [first, KubernetesFault::Status(code)] {
            sandbox.kubernetes().fail("/scaledobjects", fault, 1);
        }
        let (_, message) = failed(scaled_objects(&clusters).await);
        assert_names(&message, &[&code.to_string(), "scaledobjects"]);
        assert_eq!(count(&sandbox, SCALED_OBJECTS), 2);
    }
    assert_eq!(scaled_objects(&clusters).await.unwrap().len(), 101);
    // 410 on the first page is a failure as well: what is there, nobody knows.
    let gone = KubernetesFault::Status(410);
    sandbox.kubernetes().fail("/scaledobjects", gone, 1);
    failed(scaled_objects(&clusters).await);
}

#[tokio::test]
async fn a_missing_right_names_its_rule() {
    let sandbox = bare(SandboxOptions {
        rbac: "kind: Role\nrules: []".to_owned(),
        ..SandboxOptions::default()
    })
    .await;
    let clusters = clusters(&sandbox).await;
    let refused = [
        (
            failed(autoscalers(&clusters).await),
            "{apiGroups: [autoscaling], resources: [horizontalpodautoscalers], verbs: [list]}",
        ),
        (
            failed(scaled_objects(&clusters).await),
            "{apiGroups: [keda.sh], resources: [scaledobjects], verbs: [list]}",
        ),
    ];
    for ((code, message), rule) in refused {
        assert_eq!(code, "Forbidden");
        assert_names(
            &message,
            &[
                "403",
                rule,
                "namespace `default`",
                "kubectl apply -k infra/kubernetes",
                "nothing is scaled in",
            ],
        );
    }
    assert_eq!(actions(&sandbox, Service::Kubernetes).len(), 2);
}

#[tokio::test]
async fn a_list_that_fails_for_a_moment_is_asked_for_again() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    create_autoscaler(&sandbox, "theirs", |_| {});
    for fault in [
        KubernetesFault::Status(500),
        KubernetesFault::Status(429),
        KubernetesFault::Reset,
        KubernetesFault::Garbage,
    ] {
        sandbox
            .kubernetes()
            .fail("/horizontalpodautoscalers", fault, 1);
        assert_eq!(
            autoscalers(&clusters).await,
            Ok(vec![plain("theirs")]),
            "{fault:?}"
        );
    }
    let fault = KubernetesFault::Garbage;
    sandbox
        .kubernetes()
        .fail("/horizontalpodautoscalers", fault, 1_000);
    assert_eq!(failed(autoscalers(&clusters).await).0, "BadResponse");
}

#[tokio::test]
async fn an_object_that_is_none_is_no_answer() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    create_autoscaler(&sandbox, "A; rm -rf", |_| {});
    let (code, message) = failed(autoscalers(&clusters).await);
    assert_eq!(code, "BadResponse", "{message}");
    sandbox
        .kubernetes()
        .delete("horizontalpodautoscalers", "default", "A; rm -rf");
    create_autoscaler(&sandbox, "no-spec", |object| object["spec"] = json!({}));
    assert_eq!(failed(autoscalers(&clusters).await).0, "BadResponse");
}
