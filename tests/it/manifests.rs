//! The shipped Kubernetes objects, file by file: nothing that Kubernetes would silently ignore, and exactly these rights.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding, RoleRef};
use k8s_openapi::serde::{Serialize, de::DeserializeOwned};
use outrigger::document::parse_yaml;
use serde_json::{Value as Json, json};

use crate::contract::{Right, rights};

const FOLDERS: [&str; 6] = [
    "",
    "components/cluster-mode",
    "components/cluster-mode-all-namespaces",
    "components/custom-kind",
    "components/deployments",
    "components/statefulsets",
];

/// The rights of one folder, from its Role or `ClusterRole`.
pub(crate) fn rights_of(folder: &str) -> BTreeSet<Right> {
    let files = files(folder);
    let role = files.get("role.yaml").or(files.get("clusterrole.yaml"));
    rights(role.unwrap()).into_iter().collect()
}

fn place(folder: &str) -> std::path::PathBuf {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("infra/kubernetes");
    base.join(folder)
}

/// The files of a folder by name.
fn files(folder: &str) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(place(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.is_file());
    let named = paths.map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(path).unwrap())
    });
    named.collect()
}

/// The one document of a file.
fn document(text: &str) -> Json {
    let documents = parse_yaml(text.as_bytes());
    let [document] = documents.as_slice() else {
        panic!("{documents:?}");
    };
    document.root.as_ref().unwrap().to_json()
}

/// An object as Kubernetes has it. What it does not know would be missing on the way back.
#[track_caller]
fn typed<T: DeserializeOwned + Serialize + Debug>(object: &Json) -> T {
    let typed: T = serde_json::from_value(object.clone()).unwrap();
    assert_eq!(&serde_json::to_value(&typed).unwrap(), object);
    typed
}

#[track_caller]
fn assert_refers(reference: &RoleRef, kind: &str, name: Option<&String>) {
    let RoleRef {
        api_group,
        kind: of,
        name: to,
    } = reference;
    let known = ("rbac.authorization.k8s.io", kind, name);
    assert_eq!((api_group.as_str(), of.as_str(), Some(to)), known);
}

#[test]
fn every_folder_is_known() {
    let components = std::fs::read_dir(place("components")).unwrap();
    let components = components.map(|entry| entry.unwrap().file_name());
    let found: BTreeSet<String> = components
        .map(|name| format!("components/{}", name.to_str().unwrap()))
        .chain([String::new()])
        .collect();
    assert_eq!(found, FOLDERS.map(str::to_owned).into());
}

#[test]
fn every_file_is_applied_and_nothing_else() {
    for folder in FOLDERS {
        let mut files = files(folder);
        let kustomization = document(&files.remove("kustomization.yaml").unwrap());
        let (version, kind) = match folder {
            "" => ("v1beta1", "Kustomization"),
            _ => ("v1alpha1", "Component"),
        };
        let mut resources = kustomization["resources"].as_array().unwrap().clone();
        resources.sort_by_key(|name| name.as_str().map(str::to_owned));
        assert_eq!(resources, files.into_keys().collect::<Vec<_>>(), "{folder}");
        // No other field: the folders are only lists, so that what is applied is what the files say.
        assert_eq!(
            kustomization,
            json!({
                "apiVersion": format!("kustomize.config.k8s.io/{version}"),
                "kind": kind,
                "resources": kustomization["resources"],
            })
        );
    }
}

#[test]
fn every_object_has_only_what_kubernetes_knows_and_is_bound_to_the_group_alone() {
    let subjects =
        json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "outrigger"}]);
    for folder in FOLDERS {
        let mut files = files(folder);
        files.remove("kustomization.yaml");
        if let Some(text) = files.remove("configmap.yaml") {
            let memory: ConfigMap = typed(&document(&text));
            assert_eq!(memory.metadata.name.as_deref(), Some("outrigger"));
            // The one key without which the API server would refuse the others.
            let keys: Vec<String> = memory.data.unwrap().into_keys().collect();
            assert_eq!((folder, keys), ("", vec!["about".to_owned()]));
        }
        let everywhere = folder == "components/cluster-mode-all-namespaces";
        let bound = if everywhere {
            let role: ClusterRole = typed(&document(&files.remove("clusterrole.yaml").unwrap()));
            // A role that is put together from others by label would allow what stands nowhere.
            assert!(role.aggregation_rule.is_none());
            let binding = document(&files.remove("clusterrolebinding.yaml").unwrap());
            let ClusterRoleBinding { role_ref, .. } = typed(&binding);
            assert_refers(&role_ref, "ClusterRole", role.metadata.name.as_ref());
            binding
        } else {
            let role: Role = typed(&document(&files.remove("role.yaml").unwrap()));
            let binding = document(&files.remove("rolebinding.yaml").unwrap());
            let RoleBinding { role_ref, .. } = typed(&binding);
            assert_refers(&role_ref, "Role", role.metadata.name.as_ref());
            assert_eq!(binding["metadata"]["name"], json!(role.metadata.name));
            binding
        };
        assert_eq!(bound["subjects"], subjects, "{folder}");
        assert!(files.is_empty(), "{folder}: {files:?}");
    }
}

/// `group/resource verb` or, in the core group, `resource verb`; with the only name that is allowed.
fn told(folder: &str) -> Vec<String> {
    let rights = rights_of(folder).into_iter();
    let mut told: Vec<String> = rights
        .map(|right| {
            let Right {
                group,
                resource,
                verb,
                name,
            } = right;
            let slash = if group.is_empty() { "" } else { "/" };
            let name = name.map(|name| format!(" {name}")).unwrap_or_default();
            format!("{group}{slash}{resource} {verb}{name}")
        })
        .collect();
    told.sort();
    told
}

const BASE: [&str; 7] = [
    "argoproj.io/rollouts get",
    "argoproj.io/rollouts/scale patch",
    "autoscaling/horizontalpodautoscalers list",
    "configmaps get outrigger",
    "configmaps patch outrigger",
    "events create",
    "keda.sh/scaledobjects list",
];

const CLUSTER_MODE: [&str; 2] = [
    "keda.sh/scaledobjects/status patch",
    "keda.sh/triggerauthentications list",
];

/// Misspelt groups, resources and verbs are as valid to Kubernetes as any others, and mean nothing.
#[test]
fn the_rights_are_exactly_these() {
    assert_eq!(told(""), BASE);
    assert_eq!(told("components/cluster-mode"), CLUSTER_MODE);
    for (folder, scale) in [
        ("deployments", "apps/deployments/scale"),
        ("statefulsets", "apps/statefulsets/scale"),
        ("custom-kind", "example.com/workers/scale"),
    ] {
        let expected = ["get", "patch"].map(|verb| format!("{scale} {verb}"));
        assert_eq!(told(&format!("components/{folder}")), expected);
    }
    let mut everywhere = [&BASE[..], &CLUSTER_MODE].concat();
    everywhere.push("keda.sh/clustertriggerauthentications list");
    everywhere.sort_unstable();
    assert_eq!(told("components/cluster-mode-all-namespaces"), everywhere);
}

#[test]
fn no_two_roles_of_a_namespace_have_one_name() {
    let names = FOLDERS.map(|folder| {
        let files = files(folder);
        let role = files.get("role.yaml").or(files.get("clusterrole.yaml"));
        let role = document(role.unwrap());
        format!("{} {}", role["kind"], role["metadata"]["name"])
    });
    assert_eq!(names.clone().into_iter().collect::<BTreeSet<_>>().len(), 6);
    // Which the messages of the function name.
    assert_eq!(names[0], r#""Role" "outrigger""#);
}

#[test]
fn the_readme_has_a_row_for_each_folder() {
    let readme = include_str!("../../README.md");
    for folder in FOLDERS {
        let path = if folder.is_empty() { "." } else { folder };
        let row = readme
            .lines()
            .find(|line| line.starts_with(&format!("| `{path}` |")));
        let row = row.unwrap_or_else(|| panic!("no row for {path}"));
        // The base is told in the table above, and told again it would only go out of date.
        let own = rights_of(folder)
            .difference(&rights_of(""))
            .cloned()
            .collect::<Vec<_>>();
        for Right { resource, verb, .. } in own.into_iter().filter(|_| !folder.contains("all")) {
            assert!(
                row.contains(&format!("`{resource}`")) && row.contains(verb),
                "{row}"
            );
        }
    }
}
