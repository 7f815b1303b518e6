//! A controller that is done at once: the status follows the specification.

use serde_json::{Value, json};

use super::resource::{ROLLOUTS, Resource};
use super::store::{child_mut, metadata_mut, replicas};

/// The hash of the one pod template, in status fields and selectors.
const POD_HASH: &str = "5d7c9f6b8";

/// Brings the status up to the specification. Returns whether it changed.
///
/// A Rollout with `spec.paused` keeps its pods: the real controller does not resize one that is paused by hand.
/// <https://github.com/argoproj/argo-rollouts/issues/4261>
pub(super) fn follow(resource: &Resource, object: &mut Value) -> bool {
    if !resource.scales {
        return false;
    }
    let before = object.get("status").cloned();
    let paused = object.pointer("/spec/paused") == Some(&Value::Bool(true));
    let generation = generation(object);
    let name = name(object);
    let wanted = replicas(object).filter(|_| !paused);
    let is_rollout = resource == &ROLLOUTS;
    let status = child_mut(object, "status");
    status.insert(
        "observedGeneration".to_owned(),
        observed(resource, generation),
    );
    if is_rollout {
        let selector = json!(format!("app={name}"));
        status.entry("selector").or_insert(selector);
        status
            .entry("currentPodHash")
            .or_insert_with(|| json!(POD_HASH));
        status.entry("stableRS").or_insert_with(|| json!(POD_HASH));
        status.entry("phase").or_insert_with(|| json!("Healthy"));
    }
    if let Some(wanted) = wanted {
        for field in [
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
        ] {
            status.insert(field.to_owned(), json!(wanted));
        }
        if is_rollout {
            // Left out at zero, as in the Go type.
            match wanted {
                0 => status.remove("HPAReplicas"),
                _ => status.insert("HPAReplicas".to_owned(), json!(wanted)),
            };
        }
    }
    object.get("status") != before.as_ref()
}

/// After a change of specification and status together: only the generation is noted, unless the change noted one.
pub(super) fn observe(resource: &Resource, before: &Value, object: &mut Value) {
    let observed_before = before.pointer("/status/observedGeneration");
    if object.pointer("/status/observedGeneration") == observed_before {
        let generation = generation(object);
        let status = child_mut(object, "status");
        status.insert(
            "observedGeneration".to_owned(),
            observed(resource, generation),
        );
    }
}

/// A Rollout writes its generation as a string, everything else as a number.
fn observed(resource: &Resource, generation: u64) -> Value {
    if resource == &ROLLOUTS {
        json!(generation.to_string())
    } else {
        json!(generation)
    }
}

fn generation(object: &mut Value) -> u64 {
    let generation = metadata_mut(object).get("generation");
    generation.and_then(Value::as_u64).unwrap_or(0)
}

fn name(object: &mut Value) -> String {
    let name = metadata_mut(object).get("name").and_then(Value::as_str);
    name.unwrap_or_default().to_owned()
}

/// The `autoscaling/v1` Scale of an object. At zero, and where there is no number, `spec` is empty.
pub(super) fn scale_view(resource: &Resource, object: &Value) -> Value {
    let metadata = |field: &str| object.pointer(&format!("/metadata/{field}"));
    let (count, selector) = if resource == &ROLLOUTS {
        (
            "/status/HPAReplicas",
            object.pointer("/status/selector").cloned(),
        )
    } else {
        ("/status/replicas", selector(resource, object))
    };
    let current = object.pointer(count).and_then(Value::as_u64).unwrap_or(0);
    let spec = match replicas(object) {
        None | Some(0) => json!({}),
        Some(replicas) => json!({"replicas": replicas}),
    };
    let mut status = json!({"replicas": current});
    if let (Some(selector), Some(fields)) = (selector, status.as_object_mut()) {
        fields.insert("selector".to_owned(), selector);
    }
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata("name"),
            "namespace": metadata("namespace"),
            "uid": metadata("uid"),
            "resourceVersion": metadata("resourceVersion"),
            "creationTimestamp": metadata("creationTimestamp"),
        },
        "spec": spec,
        "status": status,
    })
}

/// The selector as text. The oldest kind has plain labels; a custom one has a selector only where its definition says which.
fn selector(resource: &Resource, object: &Value) -> Option<Value> {
    if resource.custom {
        return None;
    }
    let selector = object.pointer("/spec/selector");
    let labels = selector.and_then(|selector| selector.get("matchLabels").or(Some(selector)));
    let pairs = labels.and_then(Value::as_object).into_iter().flatten();
    let pairs: Vec<String> = pairs
        .filter_map(|(label, value)| Some(format!("{label}={}", value.as_str()?)))
        .collect();
    Some(json!(pairs.join(",")))
}
