//! `spec.scaleTargetRef`: which workload, of which kind.

use std::borrow::Cow;

use crate::document::{Node, quoted};
use crate::fields::{self, Fields, Problems, is_dns_subdomain, is_near, suggestion};

/// The longest key of a ConfigMap.
const MAX_KEY: usize = 253;

/// `spec.scaleTargetRef`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadRef {
    /// What it is.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: String,
}

impl WorkloadRef {
    /// `<kind>.<name>` in lower case, such as `rollout.worker`: how the ConfigMap names the workload.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}.{}", self.kind.kind().to_lowercase(), self.name)
    }

    /// `shadow.<kind>.<name>`: the key of the workload's state in shadow mode.
    #[must_use]
    pub fn shadow_key(&self) -> String {
        format!("shadow.{}", self.key())
    }
}

/// A kind of workload by API group, version and kind. Any kind with `/scale` can be scaled; whether one has it, only the
/// API server knows. The names are such that they need no escaping in a URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadKind {
    group: Cow<'static, str>,
    version: Cow<'static, str>,
    kind: Cow<'static, str>,
}

/// What of a kind is not a name of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// Neither `group/version` nor `v1`.
    ApiVersion,
    /// Not a name in `CamelCase`.
    Kind,
}

/// The scalable kinds of the groups that are known by heart. In these groups a name that is not here is misspelt.
static WELL_KNOWN: [WorkloadKind; 5] = [
    WorkloadKind::ROLLOUT,
    WorkloadKind::DEPLOYMENT,
    WorkloadKind::STATEFUL_SET,
    WorkloadKind::known("apps", "v1", "ReplicaSet"),
    WorkloadKind::known("", "v1", "ReplicationController"),
];

impl WorkloadKind {
    /// `argoproj.io/v1alpha1` Rollout.
    pub const ROLLOUT: Self = Self::known("argoproj.io", "v1alpha1", "Rollout");
    /// `apps/v1` Deployment.
    pub const DEPLOYMENT: Self = Self::known("apps", "v1", "Deployment");
    /// `apps/v1` StatefulSet.
    pub const STATEFUL_SET: Self = Self::known("apps", "v1", "StatefulSet");

    const fn known(group: &'static str, version: &'static str, kind: &'static str) -> Self {
        Self {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            kind: Cow::Borrowed(kind),
        }
    }

    /// The kind of a manifest's `apiVersion` and `kind`, if they are well formed.
    pub fn parse(api_version: &str, kind: &str) -> Result<Self, Malformed> {
        let (group, version) = match api_version.split_once('/') {
            Some((group, version)) if is_dns_subdomain(group) => (group, version),
            // The core group has no name and one version.
            None if api_version == "v1" => ("", api_version),
            _ => return Err(Malformed::ApiVersion),
        };
        if !is_version(version) {
            return Err(Malformed::ApiVersion);
        }
        if !is_camel_case(kind) {
            return Err(Malformed::Kind);
        }
        let owned = |text: &str| Cow::Owned(text.to_owned());
        Ok(Self {
            group: owned(group),
            version: owned(version),
            kind: owned(kind),
        })
    }

    /// The kind as manifests name it.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Its API group, empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Its API version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Group and version as manifests write them.
    #[must_use]
    pub fn api_version(&self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }

    /// Whether it is Argo's Rollout, in whatever version: its state matters, not its count alone.
    #[must_use]
    pub fn is_rollout(&self) -> bool {
        self.is_like(&Self::ROLLOUT)
    }

    /// Its resource in URLs and RBAC rules, for the kinds that nobody needs to be asked about.
    #[must_use]
    pub fn plural(&self) -> Option<&'static str> {
        [
            (Self::ROLLOUT, "rollouts"),
            (Self::DEPLOYMENT, "deployments"),
            (Self::STATEFUL_SET, "statefulsets"),
        ]
        .into_iter()
        .find(|(known, _)| known == self)
        .map(|(_, plural)| plural)
    }

    /// What `kubectl` understands: the plural, or `worker.v1.example.com`.
    #[must_use]
    pub fn kubectl_name(&self) -> String {
        match (self.plural(), self.group()) {
            (Some(plural), _) => plural.to_owned(),
            (None, "") => self.kind().to_lowercase(),
            (None, group) => format!("{}.{}.{group}", self.kind().to_lowercase(), self.version()),
        }
    }

    /// Whether it is a scalable kind of Kubernetes or Argo's Rollout, in whatever version.
    #[must_use]
    pub fn is_well_known(&self) -> bool {
        WELL_KNOWN.iter().any(|known| self.is_like(known))
    }

    /// The same kind, in whatever version.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.group == other.group && self.kind == other.kind
    }

    /// Of a group that Kubernetes itself serves, in this version alone.
    fn is_built_in(&self) -> bool {
        !self.group.contains('.')
    }
}

/// A DNS-1035 label, as the version of an API must be.
fn is_version(text: &str) -> bool {
    fields::is_dns_label(text)
        && text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_lowercase())
}

/// `v1`, `v2beta1`, `v1alpha1`: how versions are called wherever nobody had another idea.
fn is_usual_version(text: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(rest) = text.strip_prefix('v') else {
        return false;
    };
    let split = rest.split_once("alpha").or_else(|| rest.split_once("beta"));
    split.map_or(number(rest), |(major, minor)| {
        number(major) && number(minor)
    })
}

fn is_camel_case(text: &str) -> bool {
    text.len() <= 63
        && text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_uppercase())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Reads `spec.scaleTargetRef`; without `kind` and `apiVersion` it is a Deployment, as in KEDA.
pub(super) fn read_workload(node: &Node, problems: &mut Problems) -> Option<WorkloadRef> {
    let path = "spec.scaleTargetRef";
    let mut fields = Fields::of(node, path, problems)?;
    let name = fields.require(
        "name",
        "the name of a workload in the same namespace",
        problems,
    );
    let name_position = name.and_then(|node| node.position);
    let name =
        name.and_then(|node| fields::object_name(node, "spec.scaleTargetRef.name", problems));
    // Empty ones are none, as in KEDA.
    let version = fields.take("apiVersion").filter(|node| !node.is_blank());
    let kind = fields.take("kind").filter(|node| !node.is_blank());
    // Pod templates are not read, so the container does not matter.
    fields.take("envSourceContainerName");
    let outside = [
        "minReplicaCount",
        "maxReplicaCount",
        "idleReplicaCount",
        "pollingInterval",
        "cooldownPeriod",
        "triggers",
    ];
    let message = "a field of `spec`, allowed: beside `scaleTargetRef`, one level up";
    fields.refuse(&outside, message, problems);
    let message =
        "not a field here, allowed: none: the workload is in the namespace of the ScaledObject";
    fields.refuse(&["namespace"], message, problems);
    let is_misspelt = fields.is_misspelt("apiVersion") || fields.is_misspelt("kind");
    fields.finish(problems);
    if is_misspelt {
        return None;
    }
    let is_text = |node: Option<&Node>| node.is_none_or(|node| node.as_text().is_some());
    if !is_text(version) || !is_text(kind) {
        let allowed = "group/version such as argoproj.io/v1alpha1";
        for (node, key, allowed) in [
            (version, "apiVersion", allowed),
            (kind, "kind", "a kind such as Rollout"),
        ] {
            if let Some(node) = node.filter(|node| node.as_text().is_none()) {
                problems.found(node, &format!("{path}.{key}"), allowed);
            }
        }
        return None;
    }
    let found = read_kind(
        version.map(|node| node.as_text().unwrap_or_default()),
        kind.map_or(Some("Deployment"), Node::as_text)
            .unwrap_or_default(),
    );
    let found = match found {
        Ok(found) => found,
        Err((Malformed::ApiVersion, message)) => {
            let position = version.map_or(node.position, |node| node.position);
            problems.error(position, "spec.scaleTargetRef.apiVersion", message);
            return None;
        }
        Err((Malformed::Kind, message)) => {
            let position = kind.or(version).map_or(node.position, |node| node.position);
            problems.error(position, "spec.scaleTargetRef.kind", message);
            return None;
        }
    };
    let workload = WorkloadRef {
        kind: found,
        name: name?,
    };
    // Every target may be put into shadow mode.
    let key_length = workload.shadow_key().len();
    if key_length > MAX_KEY {
        let message = format!(
            "found a name of {} characters, allowed: {}, since a key of the ConfigMap holds the kind too, and {MAX_KEY} at most",
            workload.name.len(),
            (MAX_KEY + workload.name.len()).saturating_sub(key_length),
        );
        problems.error(name_position, "spec.scaleTargetRef.name", message);
        return None;
    }
    Some(workload)
}

/// The kind, or which of the two is wrong and why.
fn read_kind(version: Option<&str>, kind: &str) -> Result<WorkloadKind, (Malformed, String)> {
    let found_version = match version {
        Some(text) => format!("found {}", quoted(text)),
        None => "missing, which is apps/v1 as in KEDA".to_owned(),
    };
    let found_kind = format!("found {}", quoted(kind));
    match WorkloadKind::parse(version.unwrap_or("apps/v1"), kind) {
        Ok(found) => match doubt(&found) {
            None => Ok(found),
            Some((wrong @ Malformed::ApiVersion, hint)) => Err((wrong, found_version + &hint)),
            Some((wrong @ Malformed::Kind, hint)) => Err((wrong, found_kind + &hint)),
        },
        Err(wrong @ Malformed::ApiVersion) => {
            let hint =
                ", allowed: group/version such as argoproj.io/v1alpha1, or v1 for the core group";
            Err((wrong, found_version + hint))
        }
        Err(wrong @ Malformed::Kind) => {
            let hint = near_kinds(kind)
                .unwrap_or_else(|| ", allowed: a kind in CamelCase such as Rollout".to_owned());
            Err((wrong, found_kind + &hint))
        }
    }
}

/// What is likely to be misspelt about a kind, and what it should be. A misspelt Rollout is well formed too, so what is close
/// to a kind that is known by heart, or is of its group, must be that kind.
fn doubt(found: &WorkloadKind) -> Option<(Malformed, String)> {
    let is_known_group = WELL_KNOWN
        .iter()
        .any(|known| known.group() == found.group());
    let must_be = |home: &WorkloadKind| {
        let (version, kind) = (home.api_version(), home.kind());
        let hint = format!(", allowed: {version} for a {kind}");
        Some((Malformed::ApiVersion, hint))
    };
    match WELL_KNOWN.iter().find(|known| known.kind() == found.kind()) {
        Some(home) if home.is_like(found) => {
            let is_newer = !home.is_built_in() && is_usual_version(found.version());
            if home == found || is_newer {
                None
            } else {
                must_be(home)
            }
        }
        Some(home) if is_known_group || is_near(found.group(), home.group()) => must_be(home),
        // `extensions` and its like: Kubernetes' own groups have no dot, and no other of them has what can be scaled.
        Some(home) if !found.group().contains('.') => must_be(home),
        None if !is_known_group && !found.group().contains('.') => {
            let hint = ", allowed: apps/v1, or a group with a dot such as argoproj.io/v1alpha1: of Kubernetes' own groups no other \
                        has a kind that can be scaled";
            Some((Malformed::ApiVersion, hint.to_owned()))
        }
        None if is_known_group => {
            let others = || {
                let kinds: Vec<&str> = WELL_KNOWN.iter().map(WorkloadKind::kind).collect();
                format!(
                    ", allowed: {}, or a kind of another group with its apiVersion",
                    kinds.join(", ")
                )
            };
            let hint = near_kinds(found.kind()).unwrap_or_else(others);
            Some((Malformed::Kind, hint))
        }
        // Somebody else's kind, perhaps of the same name.
        Some(_) | None => {
            let near = WELL_KNOWN
                .iter()
                .find(|known| !known.group().is_empty() && is_near(found.group(), known.group()));
            let hint = |near: &WorkloadKind| format!(", did you mean `{}`?", near.api_version());
            near.map(|near| (Malformed::ApiVersion, hint(near)))
        }
    }
}

/// `, did you mean …` when a kind that is known by heart is near.
fn near_kinds(kind: &str) -> Option<String> {
    let near: Vec<&str> = WELL_KNOWN
        .iter()
        .map(WorkloadKind::kind)
        .filter(|known| is_near(kind, known))
        .collect();
    (!near.is_empty()).then(|| suggestion(kind, &near))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(version: Option<&str>, kind: &str, expected: Result<(&str, &str), &str>) {
        let found = read_kind(version, kind);
        let found = found.map(|found| (found.api_version(), found.kind().to_owned()));
        match (&found, expected) {
            (Ok((version, kind)), Ok(expected)) => {
                assert_eq!((version.as_str(), kind.as_str()), expected);
            }
            (Err((_, message)), Err(expected)) => {
                assert!(message.starts_with(expected), "{message}");
            }
            _ => panic!("{version:?} {kind}: {found:?}"),
        }
    }

    #[test]
    fn any_group_version_and_kind() {
        for (version, kind) in [
            ("argoproj.io/v1alpha1", "Rollout"),
            ("argoproj.io/v1", "Rollout"),
            ("argoproj.io/v2beta11", "Rollout"),
            ("apps/v1", "Deployment"),
            ("apps/v1", "ReplicaSet"),
            ("v1", "ReplicationController"),
            ("example.com/v1", "Worker"),
            ("example.com/stable", "Worker"),
            ("apps.kruise.io/v1alpha1", "StatefulSet"),
            ("apps.openshift.io/v1", "DeploymentConfig"),
            ("rollouts.kruise.io/v1beta1", "Rollout"),
            ("k8s.io/v1", "X"),
        ] {
            check(Some(version), kind, Ok((version, kind)));
        }
        check(None, "Deployment", Ok(("apps/v1", "Deployment")));
    }

    #[test]
    fn misspelt_names_are_refused_with_the_nearest() {
        for (version, kind, expected) in [
            (
                "argoproj.io/v1alpha1",
                "rollout",
                "found `rollout`, did you mean `Rollout`?",
            ),
            (
                "argoproj.io/v1alpha1",
                "Rollouts",
                "found `Rollouts`, did you mean `Rollout`?",
            ),
            (
                "argoproj.io/v1alpha1",
                "CronTab",
                "found `CronTab`, allowed: Rollout, Deployment, StatefulSet, ReplicaSet, ReplicationController, or a kind of",
            ),
            ("apps/v1", "DaemonSet", "found `DaemonSet`, "),
            (
                "apps/v1",
                "Rollout",
                "found `apps/v1`, allowed: argoproj.io/v1alpha1 for a Rollout",
            ),
            (
                "v1",
                "Deployment",
                "found `v1`, allowed: apps/v1 for a Deployment",
            ),
            (
                "apps/v1beta2",
                "Deployment",
                "found `apps/v1beta2`, allowed: apps/v1 for a Deployment",
            ),
            (
                "extensions/v1beta1",
                "Deployment",
                "found `extensions/v1beta1`, allowed: apps/v1 for a Deployment",
            ),
            (
                "extensions/v1beta1",
                "Rollout",
                "found `extensions/v1beta1`, allowed: argoproj.io/v1alpha1 for a Rollout",
            ),
            (
                "batch/v1",
                "CronJob",
                "found `batch/v1`, allowed: apps/v1, or a group with a dot",
            ),
            (
                "argoproj.io/v1aplha1",
                "Rollout",
                "found `argoproj.io/v1aplha1`, allowed: argoproj.io/v1alpha1 for a Rollout",
            ),
            (
                "argoprj.io/v1alpha1",
                "Rollout",
                "found `argoprj.io/v1alpha1`, allowed: argoproj.io/v1alpha1 for a Rollout",
            ),
            (
                "argoprj.io/v1alpha1",
                "Rolout",
                "found `argoprj.io/v1alpha1`, did you mean `argoproj.io/v1alpha1`?",
            ),
        ] {
            check(Some(version), kind, Err(expected));
        }
        check(
            None,
            "Rollout",
            Err(
                "missing, which is apps/v1 as in KEDA, allowed: argoproj.io/v1alpha1 for a Rollout",
            ),
        );
        check(None, "Worker", Err("found `Worker`, allowed: Rollout, "));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for version in [
            "argoproj.io",
            "v2",
            "Example.com/v1",
            "example.com/v1/x",
            "example.com/",
            "example.com/1",
            "/v1",
            "",
        ] {
            let expected = format!("found `{version}`, allowed: group/version such as");
            check(Some(version), "Worker", Err(&expected));
        }
        for kind in ["worker", "../x", "Work/er", "Wörker", ""] {
            let expected = format!("found `{kind}`, allowed: a kind in CamelCase");
            check(Some("example.com/v1"), kind, Err(&expected));
        }
    }

    #[test]
    fn names_for_people() {
        let name = |version, kind| WorkloadKind::parse(version, kind).unwrap().kubectl_name();
        assert_eq!(name("argoproj.io/v1alpha1", "Rollout"), "rollouts");
        assert_eq!(name("argoproj.io/v1", "Rollout"), "rollout.v1.argoproj.io");
        assert_eq!(name("v1", "ReplicationController"), "replicationcontroller");
        assert!(
            WorkloadKind::parse("argoproj.io/v1", "Rollout")
                .unwrap()
                .is_rollout()
        );
        assert!(
            !WorkloadKind::parse("kruise.io/v1", "Rollout")
                .unwrap()
                .is_rollout()
        );
    }
}
