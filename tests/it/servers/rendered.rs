//! What `outrigger render` writes, on a server that takes it at its word.

use super::lab::{Lab, eventually};
use super::rights::{full_cycle, granted, made, manifest};
use super::world::{CLUSTER, world};
use crate::contract::{Right, rights};
use crate::render::rendered_files;

/// `outrigger render` for the worker alone: applied by the server, enough for all that the function does, and for nothing of
/// the workload beside it.
#[tokio::test]
async fn what_is_rendered_is_for_its_workloads_alone() {
    let Some(world) = world() else { return };
    let lab = Lab::with_role(world, &manifest(&[])).await;
    let namespace = &lab.namespace;
    let files = rendered_files(&lab.manifest(), CLUSTER);
    let text = &files[&format!("kubernetes/{CLUSTER}/{namespace}.yaml")];
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}");
    let documents: Vec<&str> = text.split("---\n").collect();
    let [role, binding, memory] = documents.as_slice() else {
        panic!("{text}");
    };
    for (path, document) in [
        (format!("{rbac}/roles/outrigger"), role),
        (format!("{rbac}/rolebindings/outrigger"), binding),
        (lab.memory_path(), memory),
    ] {
        let applied = lab.admin.apply(&path, document).await;
        assert_eq!(applied["metadata"]["namespace"], **namespace);
    }
    let rights = rights(role);
    for right in &rights {
        eventually("the rendered Role is in force", || {
            granted(&lab.admin, namespace, right)
        })
        .await;
        // Nor would another name do, where one is given.
        let other = right.name.as_ref().map(|name| format!("not-{name}"));
        if other.is_some() {
            let other = Right {
                name: other,
                ..right.clone()
            };
            assert!(!granted(&lab.admin, namespace, &other).await, "{other:?}");
        }
    }
    for (resource, verb) in [
        ("rollouts", "patch"),
        ("rollouts", "list"),
        ("rollouts/status", "patch"),
        ("rollouts/scale", "update"),
    ] {
        let right = Right {
            group: "argoproj.io".to_owned(),
            resource: resource.to_owned(),
            verb: verb.to_owned(),
            name: Some("worker".to_owned()),
        };
        assert!(!granted(&lab.admin, namespace, &right).await, "{right:?}");
    }
    let function = lab.function().await;
    assert_eq!(full_cycle(&lab, &function).await, Ok(()));
    let allowed = rights.into_iter();
    let allowed = allowed.map(|right| (right.verb, right.resource));
    assert_eq!(made(&lab), allowed.collect());
}
