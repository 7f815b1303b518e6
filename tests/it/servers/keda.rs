//! KEDA's operator, as far as it matters to whoever takes over from it: its objects as it leaves them, and what it does when
//! it is told to let go. It is not run here; what it does is taken from its sources (`controllers/keda`).

use serde_json::{Value as Json, json};

use super::client::MERGE_PATCH;
use super::lab::{Lab, eventually};

const FINALIZER: &str = "finalizer.keda.sh";

/// The path of a `ScaledObject`, or with an empty name of all of them.
pub(super) fn scaled_objects(lab: &Lab, name: &str) -> String {
    let namespace = &lab.namespace;
    let path = format!("/apis/keda.sh/v1alpha1/namespaces/{namespace}/scaledobjects/{name}");
    path.trim_end_matches('/').to_owned()
}

/// The path of an HPA, or with an empty name of all of them.
pub(super) fn autoscalers(lab: &Lab, name: &str) -> String {
    let namespace = &lab.namespace;
    let path =
        format!("/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/{name}");
    path.trim_end_matches('/').to_owned()
}

/// An HPA on the Rollout `worker`, between 2 and 16.
pub(super) fn autoscaler(name: &str) -> Json {
    json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "worker"},
            "minReplicas": 2,
            "maxReplicas": 16,
            "metrics": [{
                "type": "External",
                "external": {"metric": {"name": "s0-aws-sqs-orders"}, "target": {"type": "AverageValue", "averageValue": "10"}},
            }],
        },
    })
}

/// Makes the `ScaledObject` of a manifest, and of it what KEDA does at first sight.
pub(super) async fn adopts(lab: &Lab, name: &str, manifest: &str) {
    let collection = scaled_objects(lab, "");
    let posted = lab
        .admin
        .send("POST", &collection, "application/yaml", manifest);
    posted.await.unwrap().good();
    holds(lab, &scaled_objects(lab, name)).await;
    scales(lab, name).await;
}

/// Puts the finalizer on an object of KEDA's.
pub(super) async fn holds(lab: &Lab, path: &str) {
    let finalizers = json!({"metadata": {"finalizers": [FINALIZER]}});
    let patched = lab.admin.patch(path, MERGE_PATCH, &finalizers);
    patched.await.good();
}

/// Makes the HPA of a `ScaledObject`, and says so in its status. As where people label everything, KEDA's own label is
/// theirs on the HPA.
pub(super) async fn scales(lab: &Lab, name: &str) {
    let path = scaled_objects(lab, name);
    let object = lab.admin.get(&path).await.good();
    let mut made = autoscaler(&format!("keda-hpa-{name}"));
    made["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "Helm"});
    made["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": name, "uid": object["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true,
    }]);
    made["spec"]["scaleTargetRef"] = object["spec"]["scaleTargetRef"].clone();
    lab.admin.post(&autoscalers(lab, ""), &made).await.good();
    say(lab, name, "False").await;
}

/// What of its status matters: the HPA and whether it is paused.
async fn say(lab: &Lab, name: &str, paused: &str) {
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "ScaledObject"});
    let status = json!({"status": {
        "scaleTargetKind": "argoproj.io/v1alpha1.Rollout",
        "scaleTargetGVKR": {"group": "argoproj.io", "version": "v1alpha1", "kind": "Rollout", "resource": "rollouts"},
        "originalReplicaCount": 2,
        "externalMetricNames": ["s0-aws-sqs-orders"],
        "hpaName": format!("keda-hpa-{name}"),
        "conditions": [condition("Ready", "True"), condition("Active", "True"), condition("Paused", paused)],
    }});
    let path = format!("{}/status", scaled_objects(lab, name));
    lab.admin.patch(&path, MERGE_PATCH, &status).await.good();
}

/// Waits for the annotation, then stops: the HPA is deleted and the count stays.
pub(super) async fn pauses(lab: &Lab, name: &str) {
    let path = scaled_objects(lab, name);
    eventually("the annotation", || async {
        let object = lab.admin.get(&path).await.good();
        object["metadata"]["annotations"]["autoscaling.keda.sh/paused"] == "true"
    })
    .await;
    let autoscaler = autoscalers(lab, &format!("keda-hpa-{name}"));
    lab.admin.delete(&autoscaler).await.good();
    say(lab, name, "True").await;
}

/// Waits for the deletion, then lets go. It may set the count back then: `restoreToOriginalReplicaCount`.
pub(super) async fn lets_go(lab: &Lab, name: &str) {
    let path = scaled_objects(lab, name);
    eventually("the deletion", || async {
        let object = lab.admin.get(&path).await.good();
        object["metadata"]["deletionTimestamp"].is_string()
    })
    .await;
    let object = lab.admin.get(&path).await.good();
    if object["spec"]["advanced"]["restoreToOriginalReplicaCount"] == true {
        lab.set_replicas(2).await;
    }
    let none = json!({"metadata": {"finalizers": null}});
    lab.admin.patch(&path, MERGE_PATCH, &none).await.good();
}

/// Whether the finalizer is on an object.
pub(super) async fn is_held(lab: &Lab, path: &str) -> bool {
    let object = lab.admin.get(path).await.good();
    let finalizers = object["metadata"]["finalizers"].as_array().cloned();
    finalizers.unwrap_or_default().contains(&json!(FINALIZER))
}
