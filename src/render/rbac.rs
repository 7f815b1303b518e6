//! What the function may in a namespace, narrowed to the workloads that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::base::{BaseError, Fill, fill};
use super::needs::{Named, Workloads};
use crate::manifest::WorkloadKind;
use crate::settings::Source;
use crate::yaml::scalar;

const ROLE: &str = include_str!("../../infra/kubernetes/role.yaml");
const ROLE_BINDING: &str = include_str!("../../infra/kubernetes/rolebinding.yaml");
const CONFIG_MAP: &str = include_str!("../../infra/kubernetes/configmap.yaml");
const CLUSTER_MODE_ROLE: &str =
    include_str!("../../infra/kubernetes/components/cluster-mode/role.yaml");
const CLUSTER_MODE_BINDING: &str =
    include_str!("../../infra/kubernetes/components/cluster-mode/rolebinding.yaml");

/// The plural of kinds by API group and kind, as a person has given them.
pub type Plurals = BTreeMap<(String, String), String>;

/// Role, `RoleBinding` and `ConfigMap` of a namespace; with ScaledObjects in the cluster itself also the rights for those.
pub(super) fn namespace(
    name: &str,
    workloads: &Workloads,
    plurals: &Plurals,
    source: &Source,
) -> Result<String, BaseError> {
    let rules: String = workloads
        .values()
        .map(|named| rules(named, &plural(&named.kind, plurals).0))
        .collect();
    // Shadow mode tells nothing to the cluster.
    let events = if workloads.values().all(|named| named.live.is_empty()) {
        Fill::Text(String::new())
    } else {
        Fill::Keep
    };
    let role = fill(
        ROLE,
        &[("workloads", Fill::Text(rules)), ("events", events)],
    )?;
    let mut bases = vec![role.as_str(), ROLE_BINDING, CONFIG_MAP];
    match source {
        Source::File(_) => {}
        Source::Clusters(_) => bases.extend([CLUSTER_MODE_ROLE, CLUSTER_MODE_BINDING]),
    }
    let documents: Result<Vec<String>, BaseError> =
        bases.iter().map(|base| in_namespace(base, name)).collect();
    Ok(documents?.join("---\n"))
}

/// The same object in a namespace. A base leaves that to `kubectl -n`.
fn in_namespace(base: &str, namespace: &str) -> Result<String, BaseError> {
    let (block, words) = ("metadata", "metadata:\n  name: ");
    let name = base.split_once(words).and_then(|(head, tail)| {
        let (name, tail) = tail.split_once('\n')?;
        Some((head, name, tail))
    });
    let (head, name, tail) = name.ok_or(BaseError::NoWords { block, words })?;
    let namespace = scalar(namespace);
    Ok(format!(
        "{head}{words}{name}\n  namespace: {namespace}\n{tail}"
    ))
}

/// A Rollout is read itself, other kinds through `/scale`; the count is written where it is.
fn rules(workloads: &Named, plural: &str) -> String {
    let Named { kind, all, live } = workloads;
    let group = scalar(kind.group());
    let scale = format!("{plural}/scale");
    let mut text = String::new();
    let mut rule = |why: &str, resource: &str, names: &BTreeSet<String>, verbs: &str| {
        if names.is_empty() {
            return;
        }
        let resource = scalar(resource);
        let names: Vec<String> = names.iter().map(|name| scalar(name)).collect();
        let _infallible = writeln!(
            text,
            "# {why}\n- apiGroups: [{group}]\n  resources: [{resource}]\n  resourceNames: [{}]\n  verbs: [{verbs}]",
            names.join(", ")
        );
    };
    if kind.is_rollout() {
        let why = "Read the replica count and the state of the update.";
        rule(why, plural, all, "get");
        let why = "Write the replica count, and nothing else.";
        rule(why, &scale, live, "patch");
    } else if all == live {
        let why = "Read and write the replica count, and nothing else.";
        rule(why, &scale, all, "get, patch");
    } else {
        rule(
            "Read the replica count, and nothing else.",
            &scale,
            all,
            "get",
        );
        let why = "Write the replica count, and nothing else.";
        rule(why, &scale, live, "patch");
    }
    text
}

/// The resource of a kind, and whether it was only derived from the kind.
pub(super) fn plural(kind: &WorkloadKind, plurals: &Plurals) -> (String, bool) {
    let key = (kind.group().to_owned(), kind.kind().to_owned());
    if let Some(given) = plurals.get(&key) {
        return (given.clone(), false);
    }
    (derived(kind.kind()), !kind.is_well_known())
}

/// As Kubernetes' own tools guess it where they cannot ask
/// (<https://pkg.go.dev/k8s.io/apimachinery/pkg/api/meta#UnsafeGuessKindToResource>).
fn derived(kind: &str) -> String {
    let singular = kind.to_lowercase();
    if singular.ends_with('s') {
        return format!("{singular}es");
    }
    match singular.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{singular}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plural_is_known_given_or_derived() {
        let kind = |version, kind| WorkloadKind::parse(version, kind).unwrap();
        let given = ("example.com".to_owned(), "Ox".to_owned());
        let plurals = Plurals::from([(given, "oxen".to_owned())]);
        for (version, name, expected) in [
            ("argoproj.io/v1alpha1", "Rollout", ("rollouts", false)),
            ("argoproj.io/v1", "Rollout", ("rollouts", false)),
            ("apps/v1", "Deployment", ("deployments", false)),
            ("apps/v1", "ReplicaSet", ("replicasets", false)),
            (
                "v1",
                "ReplicationController",
                ("replicationcontrollers", false),
            ),
            ("example.com/v1", "Worker", ("workers", true)),
            ("example.com/v1", "Proxy", ("proxies", true)),
            ("example.com/v1", "Redis", ("redises", true)),
            ("example.com/v1", "Ox", ("oxen", false)),
        ] {
            let (found, is_derived) = plural(&kind(version, name), &plurals);
            assert_eq!((found.as_str(), is_derived), expected, "{version} {name}");
        }
    }
}
