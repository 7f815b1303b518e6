//! The shipped rights are the calls that are made, no more and no less.

use std::collections::BTreeSet;

use outrigger::document::{Node, Value, parse_yaml};
use outrigger::sandbox::runtime_api::Outcome;
use outrigger::sandbox::{Sandbox, SandboxOptions, Service};

use crate::support::function::Function;
use crate::support::{WORKER, actions, bare, furnish};

const ROLE: &str = include_str!("../../infra/kubernetes/role.yaml");
const CLUSTER_MODE: &str = include_str!("../../infra/kubernetes/components/cluster-mode/role.yaml");
const EVERYWHERE: &str =
    include_str!("../../infra/kubernetes/components/cluster-mode-all-namespaces/clusterrole.yaml");

/// One thing that is allowed or done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) verb: String,
    /// Where a rule names names, one of them.
    pub(crate) name: Option<String>,
}

/// The rights of the shipped Role.
pub(crate) fn shipped() -> Vec<Right> {
    rights(ROLE)
}

/// What the component for ScaledObjects in the cluster adds.
pub(crate) fn cluster_mode() -> Vec<Right> {
    rights(CLUSTER_MODE)
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
                        rights.push(Right {
                            group: group.clone(),
                            resource: resource.clone(),
                            verb: verb.clone(),
                            name: name.clone(),
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
pub(crate) fn needed(action: &str) -> Right {
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
        verb: verb.to_owned(),
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
pub(crate) async fn full_cycle(sandbox: &Sandbox) -> bool {
    full_cycle_with(sandbox, WORKER, &[]).await
}

async fn full_cycle_with(sandbox: &Sandbox, file: &str, environment: &[(&str, &str)]) -> bool {
    let function = Function::start(sandbox, file, environment).await;
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
    // An Event that cannot be created fails nothing.
    let told = sandbox.kubernetes().list("events", "default").len();
    written == [(2, 7), (20, 7)] && told == 2
}

/// The same with the ScaledObject in the cluster, whose status must be true in the end.
async fn full_cycle_in_cluster(sandbox: &Sandbox) -> bool {
    let kubernetes = sandbox.kubernetes();
    let document = &parse_yaml(WORKER.as_bytes())[0];
    let object = document.root.as_ref().unwrap().to_json();
    kubernetes.create(object).unwrap();
    let cycled = full_cycle_with(sandbox, "", &[("OUTRIGGER_CONFIG", "cluster:default")]).await;
    let object = kubernetes.get("scaledobjects", "default", "worker");
    cycled && object.unwrap()["status"]["conditions"][0]["status"] == "True"
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

#[tokio::test]
async fn cluster_mode_needs_exactly_what_its_component_adds() {
    let rights: Vec<Right> = shipped().into_iter().chain(cluster_mode()).collect();
    let in_cluster = async |rights: &[Right]| {
        let sandbox = cluster(role(rights)).await;
        sandbox.kubernetes().set_keda_installed(true);
        (full_cycle_in_cluster(&sandbox).await, sandbox)
    };
    let (cycled, sandbox) = in_cluster(&rights).await;
    assert!(cycled);
    let made = actions(&sandbox, Service::Kubernetes);
    let made: BTreeSet<Right> = made.iter().map(|action| needed(action)).collect();
    assert_eq!(made, rights.iter().cloned().collect());
    for left_out in 0..rights.len() {
        let mut rights = rights.clone();
        let right = rights.remove(left_out);
        assert!(!in_cluster(&rights).await.0, "{right:?} is not needed");
    }
}

/// What is tried in one namespace is allowed in all of them, and so is the one list that no Role can allow.
#[test]
fn the_cluster_role_is_both_roles_and_one_right_more() {
    let mut both: BTreeSet<Right> = shipped().into_iter().chain(cluster_mode()).collect();
    both.insert(Right {
        group: "keda.sh".to_owned(),
        resource: "clustertriggerauthentications".to_owned(),
        verb: "list".to_owned(),
        name: None,
    });
    assert_eq!(
        rights(EVERYWHERE).into_iter().collect::<BTreeSet<_>>(),
        both
    );
}
