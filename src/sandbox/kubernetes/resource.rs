//! The kinds the sandbox knows, and how a path names them.

use serde_json::{Value, json};

/// A kind of object.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct Resource {
    /// Empty for the core group.
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) plural: &'static str,
    pub(super) kind: &'static str,
    short_name: &'static str,
    /// It lives in a namespace; a kind that belongs to the cluster can only be found out about.
    pub(super) namespaced: bool,
    /// It has `spec.replicas` and the `scale` subresource.
    pub(super) scales: bool,
    /// Defined by a `CustomResourceDefinition`, with the narrower patch types of one.
    pub(super) custom: bool,
}

pub(super) static ROLLOUTS: Resource = Resource {
    group: "argoproj.io",
    version: "v1alpha1",
    plural: "rollouts",
    kind: "Rollout",
    short_name: "ro",
    namespaced: true,
    scales: true,
    custom: true,
};

pub(super) static DEPLOYMENTS: Resource = Resource {
    group: "apps",
    version: "v1",
    plural: "deployments",
    kind: "Deployment",
    short_name: "deploy",
    namespaced: true,
    scales: true,
    custom: false,
};

pub(super) static STATEFUL_SETS: Resource = Resource {
    group: "apps",
    version: "v1",
    plural: "statefulsets",
    kind: "StatefulSet",
    short_name: "sts",
    namespaced: true,
    scales: true,
    custom: false,
};

pub(super) static CONFIG_MAPS: Resource = Resource {
    group: "",
    version: "v1",
    plural: "configmaps",
    kind: "ConfigMap",
    short_name: "cm",
    namespaced: true,
    scales: false,
    custom: false,
};

pub(super) static EVENTS: Resource = Resource {
    group: "",
    version: "v1",
    plural: "events",
    kind: "Event",
    short_name: "ev",
    namespaced: true,
    scales: false,
    custom: false,
};

pub(super) static AUTOSCALERS: Resource = Resource {
    group: "autoscaling",
    version: "v2",
    plural: "horizontalpodautoscalers",
    kind: "HorizontalPodAutoscaler",
    short_name: "hpa",
    namespaced: true,
    scales: false,
    custom: false,
};

/// KEDA's kinds are served only where it is said to be installed.
static SCALED_OBJECTS: Resource = Resource {
    group: "keda.sh",
    version: "v1alpha1",
    plural: "scaledobjects",
    kind: "ScaledObject",
    short_name: "so",
    namespaced: true,
    scales: false,
    custom: true,
};

static TRIGGER_AUTHENTICATIONS: Resource = Resource {
    group: "keda.sh",
    version: "v1alpha1",
    plural: "triggerauthentications",
    kind: "TriggerAuthentication",
    short_name: "ta",
    namespaced: true,
    scales: false,
    custom: true,
};

static CLUSTER_TRIGGER_AUTHENTICATIONS: Resource = Resource {
    group: "keda.sh",
    version: "v1alpha1",
    plural: "clustertriggerauthentications",
    kind: "ClusterTriggerAuthentication",
    short_name: "cta",
    namespaced: false,
    scales: false,
    custom: true,
};

/// A custom kind that can be scaled.
static WORKERS: Resource = Resource {
    group: "example.com",
    version: "v1",
    plural: "workers",
    kind: "Worker",
    short_name: "wk",
    namespaced: true,
    scales: true,
    custom: true,
};

/// A custom kind whose definition has no `scale` subresource.
static REPORTS: Resource = Resource {
    group: "example.com",
    version: "v1",
    plural: "reports",
    kind: "Report",
    short_name: "rp",
    namespaced: true,
    scales: false,
    custom: true,
};

/// A custom kind that could be scaled, but belongs to the cluster.
static FLEETS: Resource = Resource {
    group: "example.com",
    version: "v1",
    plural: "fleets",
    kind: "Fleet",
    short_name: "fl",
    namespaced: false,
    scales: true,
    custom: true,
};

/// The scalable kind of the core group.
static REPLICATION_CONTROLLERS: Resource = Resource {
    group: "",
    version: "v1",
    plural: "replicationcontrollers",
    kind: "ReplicationController",
    short_name: "rc",
    namespaced: true,
    scales: true,
    custom: false,
};

static ALL: [&Resource; 13] = [
    &ROLLOUTS,
    &DEPLOYMENTS,
    &STATEFUL_SETS,
    &CONFIG_MAPS,
    &EVENTS,
    &AUTOSCALERS,
    &SCALED_OBJECTS,
    &TRIGGER_AUTHENTICATIONS,
    &CLUSTER_TRIGGER_AUTHENTICATIONS,
    &WORKERS,
    &REPORTS,
    &FLEETS,
    &REPLICATION_CONTROLLERS,
];

impl Resource {
    /// `rollouts.argoproj.io`, as messages name a kind.
    pub(super) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// Whether the status is a subresource: writes to the object leave it alone.
    pub(super) fn has_status(&self) -> bool {
        self.scales || self.is_kedas()
    }

    fn is_kedas(&self) -> bool {
        self.group == SCALED_OBJECTS.group
    }

    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// Finds a kind by its manifest's `apiVersion` and `kind`.
pub(super) fn of_manifest(api_version: &str, kind: &str) -> Option<&'static Resource> {
    let mut all = ALL.into_iter();
    all.find(|resource| resource.kind == kind && resource.api_version() == api_version)
}

/// Finds a kind by its plural.
pub(super) fn of_plural(plural: &str) -> Option<&'static Resource> {
    let mut all = ALL.into_iter();
    all.find(|resource| resource.plural == plural)
}

/// What a path below `/api` or `/apis` asks for; the kind need not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) group: String,
    pub(super) version: String,
    /// `None` for every namespace.
    pub(super) namespace: Option<String>,
    pub(super) plural: String,
    /// `None` for the collection.
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

impl Target {
    /// `None` for a path that names no resource, discovery among them.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, plural, rest @ ..] => (Some(*namespace), (*plural, rest)),
            [plural, rest @ ..] => (None, (*plural, rest)),
            [] => return None,
        };
        let (plural, rest) = rest;
        let (name, subresource) = match rest {
            [] => (None, None),
            [name] => (Some(*name), None),
            [name, subresource] => (Some(*name), Some(*subresource)),
            _ => return None,
        };
        Some(Self {
            group: group.to_owned(),
            version: version.to_owned(),
            namespace: namespace.map(str::to_owned),
            plural: plural.to_owned(),
            name: name.map(str::to_owned),
            subresource: subresource.map(str::to_owned),
        })
    }

    /// `rollouts/scale`, as RBAC names it.
    pub(super) fn rbac_resource(&self) -> String {
        match &self.subresource {
            Some(subresource) => format!("{}/{subresource}", self.plural),
            None => self.plural.clone(),
        }
    }

    pub(super) fn resource(&self, keda: bool) -> Option<&'static Resource> {
        let mut all = served(keda);
        all.find(|resource| {
            resource.group == self.group
                && resource.version == self.version
                && resource.plural == self.plural
        })
    }
}

/// Whether the API server itself serves a group, rather than a `CustomResourceDefinition`.
pub(super) fn is_built_in(group: &str) -> bool {
    let mut all = ALL.into_iter();
    all.any(|resource| resource.group == group && !resource.custom)
}

fn served(keda: bool) -> impl Iterator<Item = &'static Resource> {
    ALL.into_iter()
        .filter(move |resource| keda || !resource.is_kedas())
}

/// The discovery documents that kubectl walks through; `None` for any other path.
pub(super) fn discovery(path: &str, keda: bool) -> Option<Value> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["version"] => Some(json!({
            "major": "1", "minor": "33", "gitVersion": "v1.33.0-eks-sandbox", "gitCommit": "",
            "gitTreeState": "clean", "buildDate": "2026-01-01T00:00:00Z", "goVersion": "",
            "compiler": "", "platform": "linux/amd64",
        })),
        ["api"] => Some(json!({"kind": "APIVersions", "versions": ["v1"]})),
        ["apis"] => {
            let mut groups: Vec<Value> = Vec::new();
            for resource in served(keda).filter(|resource| !resource.group.is_empty()) {
                let group = group(resource);
                if !groups.contains(&group) {
                    groups.push(group);
                }
            }
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["apis", name] => served(keda)
            .find(|resource| resource.group == *name)
            .map(group),
        ["api", version] => resource_list("", version, keda),
        ["apis", group, version] => resource_list(group, version, keda),
        _ => None,
    }
}

fn group(resource: &Resource) -> Value {
    let version = json!({"groupVersion": resource.api_version(), "version": resource.version});
    json!({
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": resource.group,
        "versions": [version],
        "preferredVersion": version,
    })
}

fn resource_list(group: &str, version: &str, keda: bool) -> Option<Value> {
    let mut resources = Vec::new();
    let mut group_version = None;
    for resource in served(keda) {
        if resource.group != group || resource.version != version {
            continue;
        }
        group_version = Some(resource.api_version());
        resources.push(json!({
            "name": resource.plural,
            "singularName": resource.kind.to_lowercase(),
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "shortNames": [resource.short_name],
            "verbs": ["create", "delete", "get", "list", "patch", "update"],
        }));
        if resource.has_status() {
            resources.push(json!({
                "name": format!("{}/status", resource.plural),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": resource.kind,
                "verbs": ["get", "patch", "update"],
            }));
        }
        if resource.scales {
            resources.push(json!({
                "name": format!("{}/scale", resource.plural),
                "singularName": "",
                "namespaced": resource.namespaced,
                "group": "autoscaling",
                "version": "v1",
                "kind": "Scale",
                "verbs": ["get", "patch", "update"],
            }));
        }
    }
    let mut list = json!({
        "kind": "APIResourceList",
        "groupVersion": group_version?,
        "resources": resources,
    });
    // The oldest list has none.
    if let (false, Some(fields)) = (group.is_empty(), list.as_object_mut()) {
        fields.insert("apiVersion".to_owned(), json!("v1"));
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_their_target() {
        let target =
            Target::parse("/apis/argoproj.io/v1alpha1/namespaces/default/rollouts/worker/scale");
        let target = target.unwrap();
        assert_eq!(target.rbac_resource(), "rollouts/scale");
        assert_eq!(target.namespace.as_deref(), Some("default"));
        assert_eq!(target.name.as_deref(), Some("worker"));
        assert_eq!(target.resource(false), Some(&ROLLOUTS));

        let list = Target::parse("/api/v1/configmaps").unwrap();
        assert_eq!((list.namespace, list.name), (None, None));
        for other in ["/version", "/api/v1", "/apis/apps/v1", "/healthz", "/"] {
            assert_eq!(Target::parse(other), None, "{other}");
        }
    }

    #[test]
    fn keda_is_there_only_where_it_is_installed() {
        let path = "/apis/keda.sh/v1alpha1/namespaces/default/scaledobjects";
        let target = Target::parse(path).unwrap();
        assert_eq!(target.resource(false), None);
        assert_eq!(target.resource(true), Some(&SCALED_OBJECTS));
        assert!(discovery("/apis/keda.sh/v1alpha1", false).is_none());
        assert!(discovery("/apis/keda.sh/v1alpha1", true).is_some());
    }

    #[test]
    fn discovery_lists_groups_once() {
        let groups = discovery("/apis", false).unwrap();
        let names: Vec<_> = groups["groups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|g| &g["name"])
            .collect();
        assert_eq!(names, ["argoproj.io", "apps", "autoscaling", "example.com"]);
        assert!(discovery("/openapi/v2", true).is_none());
    }

    #[test]
    fn discovery_tells_what_can_be_scaled() {
        let names = |path| {
            let list = discovery(path, false).unwrap();
            let entries = list["resources"].as_array().unwrap().clone();
            let names: Vec<String> = entries
                .iter()
                .map(|entry| entry["name"].as_str().unwrap().to_owned())
                .collect();
            names
        };
        assert_eq!(
            names("/apis/example.com/v1"),
            [
                "workers",
                "workers/status",
                "workers/scale",
                "reports",
                "fleets",
                "fleets/status",
                "fleets/scale"
            ]
        );
        assert!(names("/api/v1").contains(&"replicationcontrollers/scale".to_owned()));
        assert!(discovery("/apis/example.com/v2", false).is_none());
        assert!(discovery("/apis/nobody.example.com/v1", false).is_none());
    }
}
