//! The shipped rights are the calls that are made, no more and no less.

use std::collections::BTreeSet;

use outrigger::document::{Node, Value, parse_yaml};
use outrigger::sandbox::runtime_api::Outcome;
use outrigger::sandbox::{Sandbox, SandboxOptions, Service};

use crate::support::function::Function;
use crate::support::{WORKER, actions, bare, furnish};

const ROLE: &str = include_str!("../../infra/kubernetes/role.yaml");

/// One thing that is allowed or done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) verb: &'static str,
    /// Where a rule names names, one of them.
    pub(crate) name: Option<String>,
}

const VERBS: [&str; 4] = ["create", "get", "list", "patch"];

/// The rights of the shipped Role.
pub(crate) fn shipped() -> Vec<Right> {
    rights(ROLE)
}

/// The rights of a Role or `ClusterRole`.
pub(crate) fn rights(role: &str) -> Vec<Right> {
    let documents = parse_yaml(role.as_bytes());
    let [document] = documents.as_slice() else {
        panic!("{documents:?}");
    };
    let rules = items(document.root.as_ref().unwrap(), "rules");
    let mut rights = Vec::new();
    for rule in rules {
        let names = texts(rule, "resourceNames");
        let names: Vec<Option<String>> = match names.len() {
            0 => vec![None],
            _ => names.into_iter().map(Some).collect(),
        };
        for group in texts(rule, "apiGroups") {
            for resource in texts(rule, "resources") {
                for verb in texts(rule, "verbs") {
                    for name in &names {
                        let verb = VERBS.into_iter().find(|known| *known == verb).unwrap();
                        let (group, resource, name) =
                            (group.clone(), resource.clone(), name.clone());
                        rights.push(Right {
                            group,
                            resource,
                            verb,
                            name,
                        });
                    }
                }
            }
        }
    }
    rights
}

fn items<'n>(node: &'n Node, key: &str) -> Vec<&'n Node> {
    match node.get(key).map(|node| &node.value) {
        Some(Value::List(items)) => items.iter().collect(),
        None => Vec::new(),
        Some(other) => panic!("{key}: {other:?}"),
    }
}

fn texts(node: &Node, key: &str) -> Vec<String> {
    let items = items(node, key).into_iter();
    items
        .map(|item| item.as_text().unwrap().to_owned())
        .collect()
}

/// A Role of these rights, one rule each.
pub(crate) fn role(rights: &[Right]) -> String {
    let rules = rights.iter().map(|right| {
        let Right {
            group,
            resource,
            verb,
            name,
        } = right;
        let names = name
            .as_ref()
            .map(|name| format!(", resourceNames: [{name}]"))
            .unwrap_or_default();
        format!("- {{apiGroups: [\"{group}\"], resources: [{resource}], verbs: [{verb}]{names}}}\n")
    });
    format!("kind: Role\nrules:\n{}", rules.collect::<String>())
}

/// What a request needs, in the form of the shipped rules: only `ConfigMap`s are allowed by name.
fn needed(action: &str) -> Right {
    let (method, path) = action.split_once(' ').unwrap();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (group, rest) = match parts.as_slice() {
        ["api", "v1", "namespaces", _, rest @ ..] => ("", rest),
        ["apis", group, _, "namespaces", _, rest @ ..] => (*group, rest),
        _ => panic!("{action}"),
    };
    let (resource, name) = match rest {
        [resource] => ((*resource).to_owned(), None),
        [resource, name] => ((*resource).to_owned(), Some(*name)),
        [resource, name, subresource] => (format!("{resource}/{subresource}"), Some(*name)),
        _ => panic!("{action}"),
    };
    let verb = match (method, name) {
        ("GET", Some(_)) => "get",
        ("GET", None) => "list",
        ("POST", None) => "create",
        ("PATCH", Some(_)) => "patch",
        _ => panic!("{action}"),
    };
    let name = name.filter(|_| resource == "configmaps").map(str::to_owned);
    Right {
        group: group.to_owned(),
        resource,
        verb,
        name,
    }
}

async fn cluster(rbac: String) -> Sandbox {
    let sandbox = bare(SandboxOptions {
        rbac,
        ..SandboxOptions::default()
    })
    .await;
    furnish(&sandbox);
    sandbox
}

/// Out, settled, steady, and back in after somebody else went too far. Whether all of it went well.
async fn full_cycle(sandbox: &Sandbox) -> bool {
    let function = Function::start(sandbox, WORKER, &[]).await;
    for step in 0..4 {
        if step == 3 {
            let kubernetes = sandbox.kubernetes();
            kubernetes.set_replicas("default", "worker", 20);
        }
        if !matches!(function.invoke("{}").await, Outcome::Response(_)) {
            return false;
        }
    }
    let written = sandbox.kubernetes().scale_writes("default", "worker");
    written == [(2, 7), (20, 7)]
}

#[tokio::test]
async fn the_role_allows_exactly_the_calls_of_a_full_cycle() {
    let sandbox = cluster(ROLE.to_owned()).await;
    assert!(full_cycle(&sandbox).await);
    let made = actions(&sandbox, Service::Kubernetes);
    let made: BTreeSet<Right> = made.iter().map(|action| needed(action)).collect();
    assert_eq!(made, shipped().into_iter().collect());
}

#[tokio::test]
async fn no_right_can_be_left_out() {
    let rights = shipped();
    assert!(full_cycle(&cluster(role(&rights)).await).await);
    for left_out in 0..rights.len() {
        let mut rights = rights.clone();
        let right = rights.remove(left_out);
        let sandbox = cluster(role(&rights)).await;
        assert!(!full_cycle(&sandbox).await, "{right:?} is not needed");
    }
}
