//! The shipped Role against RBAC as Kubernetes does it.

use std::collections::BTreeSet;

use outrigger::sandbox::runtime_api::Outcome;
use serde_json::json;

use super::assets::on_path;
use super::lab::{Lab, eventually, new_namespace};
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
        eventually("the Role is in force", || granted(&lab, right)).await;
    }
    lab
}

pub(super) async fn granted(lab: &Lab, right: &Right) -> bool {
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
    lab.admin
        .may("outrigger", &lab.namespace, &attributes)
        .await
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
    let allowed: BTreeSet<(String, String)> = rights
        .map(|right| (right.verb.to_owned(), right.resource))
        .collect();
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
            let allowed = rights
                .into_iter()
                .map(|right| (right.verb.to_owned(), right.resource));
            assert_eq!(made, allowed.collect());
            continue;
        };
        let message = failed.expect_err(&format!("{right:?} is not needed"));
        assert_names(&message, &["403", verb, resource, "Role", "`outrigger"]);
    }
}

#[tokio::test]
async fn the_shipped_folder_is_applied_by_kubectl() {
    let Some(world) = world() else { return };
    let Some(kubectl) = on_path("kubectl") else {
        super::assets::skip("kubectl is not installed");
        return;
    };
    let namespace = new_namespace(&world.admin()).await;
    let directory = crate::support::function::Directory::new();
    std::fs::write(directory.join("kubeconfig"), world.kubeconfig()).unwrap();
    let kubectl = |arguments: &[&str]| {
        let output = std::process::Command::new(&kubectl)
            .env_clear()
            .env("HOME", directory.join(""))
            .arg("--kubeconfig")
            .arg(directory.join("kubeconfig"))
            .args(["--namespace", &namespace])
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let text =
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {text}");
        text
    };
    kubectl(&["apply", "-k", "infra/kubernetes"]);
    // A second time it has nothing to do.
    let again = kubectl(&["apply", "-k", "infra/kubernetes"]);
    assert!(
        again.lines().all(|line| line.ends_with("unchanged")),
        "{again}"
    );
    let lists = kubectl(&[
        "auth",
        "can-i",
        "--list",
        "--as=somebody",
        "--as-group=outrigger",
    ]);
    for Right {
        group,
        resource,
        verb,
        ..
    } in shipped()
    {
        // As kubectl has it: `rollouts.argoproj.io/scale`.
        let (plural, subresource) = resource.split_once('/').unwrap_or((&resource, ""));
        let dot = if group.is_empty() { "" } else { "." };
        let slash = if subresource.is_empty() { "" } else { "/" };
        let name = format!("{plural}{dot}{group}{slash}{subresource} ");
        let line = lists.lines().find(|line| line.starts_with(&name));
        let line = line.unwrap_or_else(|| panic!("no {name}in: {lists}"));
        assert!(line.contains(verb), "{line}");
    }
}
