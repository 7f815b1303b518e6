//! Other owners of the Rollout `worker`, as people and KEDA make them.

use outrigger::sandbox::Sandbox;
use serde_json::{Value as Json, json};

/// A `HorizontalPodAutoscaler` on the Rollout `worker`, changed by `change` before it is created.
pub(crate) fn create_autoscaler(sandbox: &Sandbox, name: &str, change: impl FnOnce(&mut Json)) {
    let mut object = json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": "default", "annotations": {"padding": "x".repeat(2_000)}},
        "spec": {
            "scaleTargetRef": {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "worker"},
            "minReplicas": 2,
            "maxReplicas": 16,
            "metrics": [{"type": "External", "external": {"metric": {"name": "s0-aws-sqs-orders"}}}],
        },
    });
    change(&mut object);
    sandbox.kubernetes().create(object).unwrap();
}

/// A `ScaledObject` on the Rollout `worker` that KEDA has seen, changed by `change` before it is created.
pub(crate) fn create_scaled_object(sandbox: &Sandbox, name: &str, change: impl FnOnce(&mut Json)) {
    let mut object = json!({
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name, "namespace": "default", "finalizers": ["finalizer.keda.sh"]},
        "spec": {"scaleTargetRef": {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "worker"}, "triggers": []},
    });
    change(&mut object);
    sandbox.kubernetes().create(object).unwrap();
}

/// What KEDA makes of a `ScaledObject`, under a label that people often overwrite.
pub(crate) fn create_autoscaler_of_keda(sandbox: &Sandbox, scaled_object: &str) {
    let name = format!("keda-hpa-{scaled_object}");
    create_autoscaler(sandbox, &name, |object| {
        object["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "Helm"});
        object["metadata"]["ownerReferences"] = json!([
            {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": scaled_object, "uid": "u", "controller": true}
        ]);
    });
}
