//! The shipped Role against RBAC as Kubernetes does it.

use std::collections::BTreeSet;

use outrigger::sandbox::runtime_api::Outcome;
use serde_json::json;

use super::client::Client;
use super::lab::{Lab, eventually};
use super::world::{World, world};
use crate::contract::{Right, cluster_mode, role, shipped};
use crate::support::assert_names;
use crate::support::function::{Function, error};

/// As a manifest that a server takes.
pub(super) fn manifest(rights: &[Right]) -> String {
    let header = "apiVersion: rbac.authorization.k8s.io/v1\nmetadata: {name: outrigger}\n";
    format!("{header}{}", role(rights))
}

/// A lab with these rights, once the server grants them all: it learns of a new Role a moment after it is made.
async fn lab(world: &'static World, rights: &[Right]) -> Lab {
    let lab = Lab::with_role(world, &manifest(rights)).await;
    for right in rights {
        eventually("the Role is in force", || {
            granted(&lab.admin, &lab.namespace, right)
        })
        .await;
    }
    lab
}

/// Whether a user of the group `outrigger` has a right in a namespace; an empty one is the whole cluster.
pub(super) async fn granted(admin: &Client, namespace: &str, right: &Right) -> bool {
    let Right {
        group,
        resource,
        verb,
        name,
    } = right;
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let attributes = json!({
        "group": group, "resource": resource, "subresource": subresource, "verb": verb, "name": name,
    });
    admin.may("outrigger", namespace, &attributes).await
}

/// Out, settled, steady, and back in after somebody else went too far: what failed, if something did.
pub(super) async fn full_cycle(lab: &Lab, function: &Function) -> Result<(), String> {
    for step in 0..4 {
        if step == 3 {
            lab.set_replicas(20).await;
        }
        lab.settle().await;
        let outcome = function.invoke("{}").await;
        if !matches!(outcome, Outcome::Response(_)) {
            return Err(error(&outcome).1);
        }
        assert_eq!(lab.replicas().await, Some(7));
    }
    // An Event that cannot be created fails nothing, and is told.
    if lab.events("worker").await.len() == 2 {
        return Ok(());
    }
    let lines = function.new_lines();
    let mut warnings = lines
        .iter()
        .filter_map(|line| line["warning"]["message"].as_str());
    Err(warnings.next().unwrap_or("not told of").to_owned())
}

/// Verbs and resources of the requests that were made, none of which may have been refused.
pub(super) fn made(lab: &Lab) -> BTreeSet<(String, String)> {
    let requests = lab.requests();
    let refused = requests.iter().filter(|(_, _, status)| *status >= 400);
    assert_eq!(refused.count(), 0, "{requests:?}");
    let requests = requests.into_iter();
    requests
        .map(|(verb, resource, _)| (verb, resource))
        .collect()
}

#[tokio::test]
async fn the_role_allows_exactly_the_calls_of_a_full_cycle() {
    let Some(world) = world() else { return };
    let rights = shipped();
    let lab = lab(world, &rights).await;
    let function = lab.function().await;
    assert_eq!(full_cycle(&lab, &function).await, Ok(()));
    let made = made(&lab);
    let rights = rights.into_iter();
    let allowed: BTreeSet<(String, String)> =
        rights.map(|right| (right.verb, right.resource)).collect();
    assert_eq!(made, allowed);
}

#[tokio::test]
async fn no_right_can_be_left_out() {
    let Some(world) = world() else { return };
    let rights = shipped();
    for left_out in 0..rights.len() {
        let mut rights = rights.clone();
        let right = rights.remove(left_out);
        let lab = lab(world, &rights).await;
        let function = lab.function().await;
        let failed = full_cycle(&lab, &function).await;
        let message = failed.expect_err(&format!("{right:?} is not needed"));
        let Right { resource, verb, .. } = &right;
        assert_names(&message, &["403", verb, resource, "Role", "`outrigger`"]);
        // Without its memory it still scales out; whatever is missing, it never scales in.
        let replicas = lab.replicas().await;
        assert!(
            matches!(replicas, Some(2 | 7 | 20)),
            "{right:?}: {replicas:?}: {message}"
        );
    }
}

/// The Role `outrigger` has both, where the shipped ones are two: what matters is which rights there are.
#[tokio::test]
async fn cluster_mode_needs_exactly_what_its_component_adds() {
    let Some(world) = world() else { return };
    let rights: Vec<Right> = shipped().into_iter().chain(cluster_mode()).collect();
    for left_out in 0..=rights.len() {
        let mut rights = rights.clone();
        let right = (left_out < rights.len()).then(|| rights.remove(left_out));
        let lab = lab(world, &rights).await;
        lab.create_scaled_object(|_| {}).await;
        let function = lab.function_in_cluster(&[]).await;
        let failed = full_cycle(&lab, &function).await;
        let Some(Right { resource, verb, .. }) = &right else {
            assert_eq!(failed, Ok(()));
            let requests = lab.requests().into_iter();
            let made: BTreeSet<(String, String)> = requests
                .map(|(verb, resource, status)| {
                    assert!(status < 400, "{verb} {resource} {status}");
                    (verb, resource)
                })
                .collect();
            let allowed = rights.into_iter().map(|right| (right.verb, right.resource));
            assert_eq!(made, allowed.collect());
            continue;
        };
        let message = failed.expect_err(&format!("{right:?} is not needed"));
        assert_names(&message, &["403", verb, resource, "Role", "`outrigger"]);
    }
}
