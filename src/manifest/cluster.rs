//! The ScaledObjects of a cluster into targets: the same walker as for files, with tighter limits.
//!
//! Whoever may create a ScaledObject in one namespace must not reach further through the function: the object means its own
//! cluster and namespace, AWS' own endpoints, and the roles and queues that the function's owner has granted to its namespace.

mod confine;

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use super::scaled_object;
use super::{
    Authentications, Configuration, Finding, Kind, Origin, Reader, Target, TargetId, Unlisted,
    raise_polling, read_stream,
};
use crate::document::{Node, Value, quoted};
use crate::fields::{Problem, Problems, Severity};
use crate::owners::{self, FINALIZER};
use crate::policy::Mode;
use crate::settings::Settings;
use crate::settings::grants::Tenants;
pub(crate) use confine::is_cluster_wide;

/// Other objects that a finding names.
const MAX_OTHERS: usize = 3;

/// What was listed in a cluster.
#[derive(Debug, Clone, Default)]
pub struct ClusterObjects<'a> {
    /// `ScaledObject`s.
    pub scaled_objects: Vec<&'a Node>,
    /// `TriggerAuthentication`s.
    pub authentications: Vec<&'a Node>,
    /// `ClusterTriggerAuthentication`s.
    pub cluster_authentications: Vec<&'a Node>,
    /// The authentications that could not be listed.
    pub unlisted: Vec<Unlisted>,
}

/// What they are read against.
#[derive(Debug, Clone, Copy)]
pub struct ClusterContext<'a> {
    /// The cluster's name.
    pub cluster: &'a str,
    /// What its objects may use, by their namespaces.
    pub tenants: &'a Tenants,
    /// The account of the function, 12 digits, where it is known: that of queues by their bare names.
    pub own_account: Option<&'a str>,
    /// The least seconds that a `pollingInterval` counts; `None` where each counts as it is.
    pub min_polling_seconds: Option<NonZeroU32>,
}

impl<'a> ClusterContext<'a> {
    /// What the settings of the function say of the objects of a cluster.
    #[must_use]
    pub fn of(cluster: &'a str, settings: &'a Settings) -> Self {
        Self {
            cluster,
            tenants: &settings.tenants,
            own_account: settings.own_account(),
            min_polling_seconds: settings.min_polling_seconds,
        }
    }
}

/// A ScaledObject as a cluster lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedObject {
    /// Its namespace and name.
    pub id: TargetId,
    /// Its uid.
    pub uid: String,
    /// Its `resourceVersion`.
    pub version: String,
    /// Its status, null where it has none.
    pub status: serde_json::Value,
    /// Whether KEDA's finalizer is on it: its operator has seen it, and may be there still.
    pub has_finalizer: bool,
    /// Whether somebody has deleted it, and a finalizer keeps it.
    pub is_deleted: bool,
    /// Of one that is being deleted, what keeps it and what to do about that.
    pub left: Option<String>,
    /// Whether it is in shadow mode.
    pub mode: Mode,
}

impl ListedObject {
    /// Reads what an API server puts into every object. `default` is the mode of objects that name none.
    #[must_use]
    pub fn read(node: &Node, default: Mode) -> Option<Self> {
        let metadata = node.get("metadata")?;
        let text = |key: &str| Some(metadata.get(key)?.as_text()?.to_owned());
        let mode = metadata
            .get("annotations")
            .and_then(|annotations| annotations.get(Mode::ANNOTATION)?.as_text());
        let mode = Mode::NAMES
            .into_iter()
            .find(|(name, _)| Some(*name) == mode.map(str::trim));
        let finalizers = match metadata.get("finalizers").map(|node| &node.value) {
            Some(Value::List(items)) => items.as_slice(),
            _ => &[],
        };
        let id = TargetId {
            namespace: text("namespace")?,
            name: text("name")?,
        };
        let is_deleted = is_deleted(node);
        Some(Self {
            left: left(&id, finalizers).filter(|_| is_deleted),
            id,
            uid: text("uid")?,
            version: text("resourceVersion")?,
            status: node.get("status").map(Node::to_json).unwrap_or_default(),
            has_finalizer: finalizers
                .iter()
                .any(|item| item.as_text() == Some(FINALIZER)),
            is_deleted,
            mode: mode.map_or(default, |(_, mode)| mode),
        })
    }
}

/// Reads the objects of one cluster. Those that are being deleted are left alone, and counted as skipped.
#[must_use]
pub fn read_cluster(objects: &ClusterObjects<'_>, context: ClusterContext<'_>) -> Configuration {
    let mut reader = Reader {
        origin: Origin::Cluster(context.cluster.to_owned()),
        configuration: Configuration::default(),
        has_unread: false,
    };
    let kinds = [
        (Kind::ScaledObject, &objects.scaled_objects),
        (Kind::TriggerAuthentication, &objects.authentications),
        (
            Kind::ClusterTriggerAuthentication,
            &objects.cluster_authentications,
        ),
    ];
    let mut found: Vec<(usize, Kind, &Node)> = Vec::new();
    for (kind, nodes) in kinds {
        for node in nodes {
            if kind == Kind::ScaledObject && is_deleted(node) {
                reader.configuration.skipped += 1;
                let not_run = scaled_object::not_run(node, "default");
                reader.configuration.not_run.push(not_run);
            } else {
                found.push((found.len() + 1, kind, node));
            }
        }
    }
    let place = |target: Option<Target>, node: &Node, problems: &mut Problems| {
        placed(target, node, context, problems)
    };
    // Every object of a namespaced kind names its namespace.
    let mut configuration = reader.read(
        &found,
        Authentications::of_cluster(&objects.unlisted),
        "default",
        place,
    );
    name_others(&mut configuration.findings);
    configuration
}

/// Where one problem is that of several objects of a namespace, each of them names the others: who sees one need not know them.
fn name_others(findings: &mut [Finding]) {
    let mut shared: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for finding in findings.iter() {
        if let Some((namespace, name)) = about_all(finding) {
            let key = (namespace.to_owned(), finding.problem.message.clone());
            shared.entry(key).or_default().push(name.to_owned());
        }
    }
    for finding in findings {
        let Some((namespace, own)) = about_all(finding) else {
            continue;
        };
        let key = (namespace.to_owned(), finding.problem.message.clone());
        let names = shared.get(&key).into_iter().flatten();
        let others: Vec<String> = names
            .filter(|name| *name != own)
            .map(|name| format!("`{namespace}/{name}`"))
            .collect();
        let more = others.len().saturating_sub(MAX_OTHERS);
        let shown = others.get(..others.len() - more).unwrap_or_default();
        if shown.is_empty() {
            continue;
        }
        let more = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let shown = shown.join(", ");
        let message = format!("{}: {shown}{more}", finding.problem.message);
        finding.problem.message = message;
    }
}

/// Namespace and name of the object that an error about it as a whole is about.
fn about_all(finding: &Finding) -> Option<(&str, &str)> {
    let Problem { severity, path, .. } = &finding.problem;
    let is_whole = *severity == Severity::Error && path.is_empty();
    finding
        .object
        .as_deref()
        .filter(|_| is_whole)?
        .split_once('/')
}

/// Reads files with the objects of one cluster, as `kubectl get -o yaml` prints them, and refuses what the function would refuse
/// when it lists them there, or would not see: it looks at these namespaces alone.
#[must_use]
pub fn read_exported(
    files: &[(&str, &[u8])],
    default_namespace: &str,
    namespaces: &[String],
    context: ClusterContext<'_>,
) -> Configuration {
    read_stream(files, default_namespace, |target, node, problems| {
        let target = placed(target, node, context, problems)?;
        let namespace = &target.id.namespace;
        if namespaces.contains(namespace) {
            return Some(target);
        }
        let message = format!(
            "found {}, allowed: {}, since the function looks at no other namespace",
            quoted(namespace),
            namespaces.join(", ")
        );
        problems.error(None, "metadata.namespace", message);
        None
    })
}

/// The target in its cluster, unless it would reach out of its own namespace.
fn placed(
    target: Option<Target>,
    node: &Node,
    context: ClusterContext<'_>,
    problems: &mut Problems,
) -> Option<Target> {
    let errors = problems.errors();
    confine::confine(target.as_ref(), node, context, problems);
    let target = target.filter(|_| problems.errors() == errors)?;
    let target = raise_polling(target, node, context.min_polling_seconds, problems);
    Some(Target {
        cluster: Some(context.cluster.to_owned()),
        ..target
    })
}

/// What keeps an object that is being deleted, and what to do. Where KEDA's finalizer is the only one the command is short.
fn left(id: &TargetId, finalizers: &[Node]) -> Option<String> {
    let TargetId { namespace, name } = id;
    let keda = finalizers
        .iter()
        .position(|item| item.as_text() == Some(FINALIZER));
    let then = match (keda, finalizers) {
        (_, []) => return None,
        (Some(_), [_]) => format!(
            "where KEDA is gone, take {FINALIZER} off it: kubectl patch scaledobject {name} -n {namespace} --type merge -p \
             '{{\"metadata\":{{\"finalizers\":null}}}}'"
        ),
        (Some(index), _) => {
            let index = u32::try_from(index).ok()?;
            let command = owners::without_finalizer(namespace, name, index);
            format!("where KEDA is gone: {command}")
        }
        (None, _) => format!(
            "its finalizers keep it: kubectl get scaledobject {name} -n {namespace} -o jsonpath='{{.metadata.finalizers}}'"
        ),
    };
    Some(format!("it is being deleted and not scaled; {then}"))
}

fn is_deleted(node: &Node) -> bool {
    let metadata = node.get("metadata");
    metadata.is_some_and(|metadata| {
        let deleted = metadata.get("deletionTimestamp");
        deleted.is_some_and(|deleted| deleted.value != Value::Null)
    })
}

impl Configuration {
    /// Takes a target out of a cluster's configuration, for a reason that its object does not tell.
    pub(crate) fn refuse(&mut self, cluster: &str, id: &TargetId, message: String) {
        let is_it =
            |target: &Target| target.cluster.as_deref() == Some(cluster) && target.id == *id;
        let refused = self.targets.iter().filter(|target| is_it(target));
        self.not_run.extend(refused.map(Target::not_run));
        self.targets.retain(|target| !is_it(target));
        self.add(Severity::Error, cluster, id, message);
    }

    /// Says something of an object of a cluster.
    pub(crate) fn warn(&mut self, cluster: &str, id: &TargetId, message: String) {
        self.add(Severity::Warning, cluster, id, message);
    }

    fn add(&mut self, severity: Severity, cluster: &str, id: &TargetId, message: String) {
        self.findings.push(Finding {
            origin: Origin::Cluster(cluster.to_owned()),
            document: 0,
            object: Some(id.to_string()),
            problem: Problem {
                severity,
                position: None,
                path: String::new(),
                message,
            },
        });
    }
}
