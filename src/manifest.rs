//! KEDA's YAML, as people have it, into targets.
//!
//! A stream of `ScaledObject`, `TriggerAuthentication` and `ClusterTriggerAuthentication` documents; other kinds are
//! skipped and counted. Every mistake is collected; an object with an error is refused, the others run.
//! What is read from each field, and what is refused, follows KEDA 2.20 except where `DESIGN` says otherwise, on purpose.

mod authentication;
mod behavior;
mod cluster;
mod scaled_object;
mod trigger;
mod workload;

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::document::{self, Document, Node};
use crate::fields::{self, Fields, Problem, Problems, Severity};
use crate::policy::{Mode, Policy};

pub use authentication::{Authentications, Resolution, Unlisted};
pub(crate) use authentication::{is_account, is_role_arn};
pub(crate) use cluster::is_cluster_wide;
pub use cluster::{ClusterContext, ClusterObjects, ListedObject, read_cluster, read_exported};
pub use scaled_object::read_scaled_object;
pub(crate) use trigger::is_region;
pub use workload::{Malformed, WorkloadKind, WorkloadRef};

/// Of KEDA's objects.
pub(crate) const API_VERSION: &str = "keda.sh/v1alpha1";

/// One workload to scale, by one ScaledObject.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The ScaledObject.
    pub id: TargetId,
    /// The cluster named by the annotation `outrigger.dev/cluster`; `None` is the default one.
    pub cluster: Option<String>,
    /// The workload, in the ScaledObject's namespace.
    pub workload: WorkloadRef,
    /// The rules.
    pub policy: Policy,
    /// Whether it is as it was read before, because it cannot be read now: it may be paused, gone or another since.
    pub is_stale: bool,
    /// The ScaledObject as a record carries it: what a decision depends on, without labels and other people's annotations.
    pub manifest: serde_json::Value,
}

/// Namespace and name of a ScaledObject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId {
    /// Its namespace, also that of the workload.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Target {
    /// The key of this target's state in the ConfigMap: `<kind>.<name>` in lower case, in shadow mode `shadow.<kind>.<name>`.
    #[must_use]
    pub fn state_key(&self) -> String {
        match self.policy.mode {
            Mode::Live => self.workload.key(),
            Mode::Shadow => self.workload.shadow_key(),
        }
    }

    /// Puts it into shadow mode unless its ScaledObject names a mode. The record's ScaledObject then names it too, so that a
    /// decision replays without the environment that it was made in.
    fn shadow_unless_named(&mut self) {
        let metadata = self.manifest.get_mut("metadata");
        let Some(metadata) = metadata.and_then(serde_json::Value::as_object_mut) else {
            return;
        };
        let annotations = metadata
            .entry("annotations")
            .or_insert_with(|| serde_json::Map::new().into());
        if let Some(annotations) = annotations.as_object_mut()
            && !annotations.contains_key(Mode::ANNOTATION)
        {
            annotations.insert(Mode::ANNOTATION.to_owned(), "shadow".into());
            self.policy.mode = Mode::Shadow;
        }
    }
}

/// What a stream holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Configuration {
    /// The targets without errors, in the order of the stream.
    pub targets: Vec<Target>,
    /// Everything that is wrong or odd, in the order of the stream.
    pub findings: Vec<Finding>,
    /// Documents of other kinds.
    pub skipped: usize,
}

impl Configuration {
    /// The same with this mode for the targets whose ScaledObject names none.
    #[must_use]
    pub fn with_default_mode(mut self, mode: Mode) -> Self {
        match mode {
            Mode::Live => {}
            Mode::Shadow => self
                .targets
                .iter_mut()
                .for_each(Target::shadow_unless_named),
        }
        self
    }

    /// The findings that refuse something.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| finding.problem.severity == Severity::Error)
    }

    /// What is refused: objects, or the document when it has no name. Each once, in order.
    #[must_use]
    pub fn refused(&self) -> Vec<Refused<'_>> {
        let mut refused: Vec<Refused<'_>> = Vec::new();
        let mut index_of = HashMap::new();
        for finding in self.errors() {
            let (origin, name) = (&finding.origin, finding.refused_name());
            let index = *index_of.entry((origin, name.clone())).or_insert_with(|| {
                let findings = Vec::new();
                refused.push(Refused {
                    origin,
                    name,
                    findings,
                });
                refused.len() - 1
            });
            if let Some(refused) = refused.get_mut(index) {
                refused.findings.push(finding);
            }
        }
        refused
    }
}

/// What is refused, and all that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused<'c> {
    /// Where it is: another place may have a thing of the same name.
    pub origin: &'c Origin,
    /// `namespace/name` of a ScaledObject, the kind and the name of another object, or the document that has no name.
    pub name: String,
    /// At least one.
    pub findings: Vec<&'c Finding>,
}

/// Where objects come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A file, as it was named to us.
    File(String),
    /// The cluster of this name.
    Cluster(String),
}

impl Origin {
    /// The cluster, if it is one.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        match self {
            Self::File(_) => None,
            Self::Cluster(name) => Some(name),
        }
    }

    /// Whether it is this cluster.
    pub(crate) fn is_cluster(&self, name: &str) -> bool {
        self.cluster() == Some(name)
    }
}

/// A problem and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where the object is.
    pub origin: Origin,
    /// The document in the stream, or the object in the list, from 1.
    pub document: usize,
    /// The ScaledObject, such as `default/worker`, or kind and name of another object, once it has a name.
    pub object: Option<String>,
    /// The problem itself.
    pub problem: Problem,
}

impl Finding {
    /// What it refuses, when it is an error: the object, or the document when that has no name.
    #[must_use]
    pub fn refused_name(&self) -> String {
        self.object.clone().unwrap_or_else(|| match &self.origin {
            Origin::File(file) => format!("document {} of {file}", self.document),
            Origin::Cluster(cluster) => format!("object {} of cluster {cluster}", self.document),
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            origin,
            document,
            object,
            problem,
        } = self;
        match origin {
            Origin::File(file) => write!(f, "{file}: document {document}")?,
            Origin::Cluster(cluster) => write!(f, "cluster {cluster}")?,
        }
        if let Some(position) = problem.position {
            write!(f, ", {position}")?;
        }
        if let Some(object) = object {
            write!(f, " ({object})")?;
        }
        match problem.severity {
            Severity::Error => write!(f, ": {problem}"),
            Severity::Warning => write!(f, ": warning: {problem}"),
        }
    }
}

/// What a stream is read against.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The file, for the findings.
    pub file: &'a str,
    /// The namespace of objects that name none.
    pub namespace: &'a str,
    /// The clusters that an object may name, the first being the default; empty when they are not known.
    pub clusters: &'a [String],
}

/// Reads a stream.
#[must_use]
pub fn read(bytes: &[u8], context: Context<'_>) -> Configuration {
    let Context {
        file,
        namespace,
        clusters,
    } = context;
    read_files(&[(file, bytes)], namespace, clusters)
}

/// Reads several files, by name and content, as if they were one stream: an object may refer to one in another file.
#[must_use]
pub fn read_files(
    files: &[(&str, &[u8])],
    default_namespace: &str,
    clusters: &[String],
) -> Configuration {
    read_stream(files, default_namespace, |target, node, problems| {
        target.and_then(|target| in_cluster(target, node, clusters, problems))
    })
}

/// The same, where `place` says what becomes of each target.
fn read_stream(
    files: &[(&str, &[u8])],
    default_namespace: &str,
    place: impl Fn(Option<Target>, &Node, &mut Problems) -> Option<Target>,
) -> Configuration {
    // While they are read, documents are numbered through.
    let mut documents = Vec::new();
    for (file, bytes) in files {
        let of_file = document::parse_yaml(bytes).into_iter();
        documents.extend(of_file.map(|document| (*file, document)));
    }
    let mut reader = Reader {
        origin: Origin::File(String::new()),
        configuration: Configuration::default(),
    };
    let mut objects = Vec::new();
    for (index, (_, document)) in documents.iter().enumerate() {
        reader.sort(index, document, &mut objects);
    }
    let mut configuration = reader.read(
        &objects,
        Authentications::default(),
        default_namespace,
        place,
    );
    for finding in &mut configuration.findings {
        if let Some((file, document)) = documents.get(finding.document) {
            finding.origin = Origin::File((*file).to_owned());
            finding.document = document.number;
        }
    }
    configuration
}

/// Names the target's cluster, when the clusters are known.
fn in_cluster(
    target: Target,
    node: &Node,
    clusters: &[String],
    problems: &mut Problems,
) -> Option<Target> {
    let Some(default) = clusters.first() else {
        return Some(target);
    };
    let cluster = target.cluster.as_ref().unwrap_or(default).clone();
    if clusters.contains(&cluster) {
        return Some(Target {
            cluster: Some(cluster),
            ..target
        });
    }
    let annotations = node
        .get("metadata")
        .and_then(|node| node.get("annotations"));
    let position = annotations
        .and_then(|node| node.get(scaled_object::CLUSTER))
        .and_then(|node| node.position);
    let path = format!("metadata.annotations[{}]", scaled_object::CLUSTER);
    let allowed = clusters.join(", ");
    problems.error(
        position,
        &path,
        format!(
            "found {}, allowed: {allowed}, which OUTRIGGER_CLUSTERS lists",
            document::quoted(&cluster)
        ),
    );
    None
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    ScaledObject,
    TriggerAuthentication,
    ClusterTriggerAuthentication,
}

struct Reader {
    origin: Origin,
    configuration: Configuration,
}

impl Reader {
    /// Reads the objects. `place` has the last word on each: it gives the target its cluster, or refuses it.
    fn read(
        mut self,
        objects: &[(usize, Kind, &Node)],
        mut authentications: Authentications,
        default_namespace: &str,
        place: impl Fn(Option<Target>, &Node, &mut Problems) -> Option<Target>,
    ) -> Configuration {
        for (document, kind, node) in objects {
            if *kind != Kind::ScaledObject {
                let cluster_wide = *kind == Kind::ClusterTriggerAuthentication;
                let problems =
                    authentications.add(*document, node, cluster_wide, default_namespace);
                self.report(*document, None, problems);
            }
        }
        let mut found: Vec<(usize, Option<document::Position>, Target)> = Vec::new();
        for (document, kind, node) in objects {
            if *kind == Kind::ScaledObject {
                let mut problems = Problems::default();
                let resolution = Resolution::From(&authentications);
                let (id, target) =
                    read_scaled_object(node, default_namespace, resolution, &mut problems);
                let target = place(target, node, &mut problems);
                self.report(*document, id.map(|id| id.to_string()).as_deref(), problems);
                found.extend(target.map(|target| (*document, node.position, target)));
            }
        }
        for (document, object, problems) in authentications.used() {
            self.report(document, Some(&object), problems);
        }
        self.refuse_duplicates(&mut found);
        self.configuration.targets = found.into_iter().map(|(.., target)| target).collect();
        // Authentications are read before the objects that use them; the reader of the list wants the order of the file.
        self.configuration
            .findings
            .sort_by_key(|finding| (finding.document, finding.problem.position));
        self.configuration
    }

    fn report(&mut self, document: usize, object: Option<&str>, problems: Problems) {
        let origin = self.origin.clone();
        let finding = |problem| Finding {
            origin: origin.clone(),
            document,
            object: object.map(str::to_owned),
            problem,
        };
        self.configuration
            .findings
            .extend(problems.list.into_iter().map(finding));
    }

    /// Puts a document among the objects, or counts or refuses it.
    fn sort<'d>(
        &mut self,
        index: usize,
        document: &'d Document,
        objects: &mut Vec<(usize, Kind, &'d Node)>,
    ) {
        let mut problems = Problems::default();
        match &document.root {
            Ok(node) => self.sort_node(index, node, objects, &mut problems),
            Err(error) => problems.error(error.position, "", error.message.clone()),
        }
        self.report(index, None, problems);
    }

    /// The same for one object; a list, as `kubectl get -o yaml` prints several, stands for its items.
    fn sort_node<'d>(
        &mut self,
        document: usize,
        node: &'d Node,
        objects: &mut Vec<(usize, Kind, &'d Node)>,
        problems: &mut Problems,
    ) {
        if node.value == document::Value::Null {
            return;
        }
        match kind_of(node, problems) {
            Sorted::Ours(kind) => objects.push((document, kind, node)),
            Sorted::List => {
                let Some(list) = node.get("items") else {
                    return;
                };
                if list.value == document::Value::Null {
                    return;
                }
                for (_, item) in fields::items(list, "items", problems).unwrap_or_default() {
                    self.sort_node(document, item, objects, problems);
                }
            }
            Sorted::Other => {
                self.configuration.skipped += 1;
                // The skipped ones go into the package all the same.
                if node.get("kind").and_then(Node::as_text) == Some("Secret") {
                    let message = "a Secret is of no use here, and would be readable in the function's package; leave it out, \
                                   as with helm template --show-only";
                    problems.warning(node.position, "", message);
                }
            }
            Sorted::Refused => {}
        }
    }

    /// Two ScaledObjects for one workload, or of one name, are both refused: neither is more right than the other.
    fn refuse_duplicates(&mut self, found: &mut Vec<(usize, Option<document::Position>, Target)>) {
        let mut by_workload: BTreeMap<(Option<String>, String, String), Vec<usize>> =
            BTreeMap::new();
        let mut by_name: BTreeMap<(Option<String>, TargetId), Vec<usize>> = BTreeMap::new();
        for (index, (_, _, target)) in found.iter().enumerate() {
            let workload = (
                target.cluster.clone(),
                target.id.namespace.clone(),
                target.workload.key(),
            );
            by_workload.entry(workload).or_default().push(index);
            by_name
                .entry((target.cluster.clone(), target.id.clone()))
                .or_default()
                .push(index);
        }
        let mut refused: BTreeMap<usize, String> = BTreeMap::new();
        for indices in by_workload.values().filter(|indices| indices.len() > 1) {
            let workloads = indices
                .iter()
                .filter_map(|index| Some(&found.get(*index)?.2.workload));
            let message = shared_workload(&workloads.collect::<Vec<_>>());
            refused.extend(indices.iter().map(|index| (*index, message.clone())));
        }
        for ((_, id), indices) in by_name.into_iter().filter(|(_, indices)| indices.len() > 1) {
            for index in &indices {
                refused.entry(*index).or_insert_with(|| {
                    format!("{} ScaledObjects have the name `{id}`", indices.len())
                });
            }
        }
        for (index, message) in &refused {
            let Some((document, position, target)) = found.get(*index) else {
                continue;
            };
            let mut problems = Problems::default();
            problems.error(
                *position,
                "",
                format!("{message}, allowed: one; all of them are refused, remove the others"),
            );
            let (document, object) = (*document, target.id.to_string());
            self.report(document, Some(&object), problems);
        }
        let mut index = 0;
        found.retain(|_| {
            index += 1;
            !refused.contains_key(&(index - 1))
        });
    }
}

/// What several ScaledObjects have in common: their workload, or at least its key.
fn shared_workload(workloads: &[&WorkloadRef]) -> String {
    let count = workloads.len();
    let Some((first, others)) = workloads.split_first() else {
        return String::new();
    };
    let (kind, name) = (first.kind.kind(), &first.name);
    if others.iter().all(|other| other.kind.is_like(&first.kind)) {
        return format!("{count} ScaledObjects want to scale {kind} `{name}`");
    }
    let versions: Vec<String> = workloads
        .iter()
        .map(|workload| workload.kind.api_version())
        .collect();
    format!(
        "{count} ScaledObjects want to scale a {kind} `{name}`, of {}, and the key `{}` of the ConfigMap holds the state of one",
        versions.join(" and "),
        first.key(),
    )
}

/// What a document is to us.
enum Sorted {
    Ours(Kind),
    List,
    Other,
    Refused,
}

fn kind_of(node: &Node, problems: &mut Problems) -> Sorted {
    let Some(mut fields) = Fields::of(node, "", problems) else {
        return Sorted::Refused;
    };
    let kind = fields.require("kind", "the kind of a Kubernetes object", problems);
    let version = fields.require(
        "apiVersion",
        "the API version of a Kubernetes object",
        problems,
    );
    let (Some(kind), Some(version)) = (kind, version) else {
        return Sorted::Refused;
    };
    let version_text = version.as_text().unwrap_or_default();
    let kind = match kind.as_text() {
        Some("List") if version_text == "v1" => return Sorted::List,
        Some(
            "ScaledObjectList" | "TriggerAuthenticationList" | "ClusterTriggerAuthenticationList",
        ) if version_text == API_VERSION => {
            return Sorted::List;
        }
        Some("ScaledObject") => Kind::ScaledObject,
        Some("TriggerAuthentication") => Kind::TriggerAuthentication,
        Some("ClusterTriggerAuthentication") => Kind::ClusterTriggerAuthentication,
        Some(_) => return Sorted::Other,
        None => {
            problems.found(kind, "kind", "the kind of a Kubernetes object");
            return Sorted::Refused;
        }
    };
    match version_text {
        API_VERSION => Sorted::Ours(kind),
        // Somebody else's object of the same kind.
        other if other.contains('/') && !other.starts_with("keda.") => Sorted::Other,
        _ => {
            problems.found(version, "apiVersion", API_VERSION);
            Sorted::Refused
        }
    }
}

#[cfg(test)]
mod tests;
