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

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::num::NonZeroU32;

use crate::document::{self, Document, Node};
use crate::fields::{self, Fields, Problem, Problems, Severity};
use crate::policy::{Mode, Policy};

pub use authentication::{Authentications, Resolution, Unlisted};
pub(crate) use authentication::{is_account, is_role_arn};
pub(crate) use cluster::is_cluster_wide;
pub use cluster::{ClusterContext, ClusterObjects, ListedObject, read_cluster, read_exported};
pub use scaled_object::read_scaled_object;
#[cfg(feature = "cli")]
pub(crate) use trigger::is_of_emulator;
pub(crate) use trigger::{is_queue_name, is_region, partition};
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
    /// The `pollingInterval` in seconds that the object asks for, where the function's owner has set a higher least one; else `None`.
    pub asked_polling_seconds: Option<NonZeroU32>,
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

    /// The same where it is refused.
    fn not_run(&self) -> NotRun {
        NotRun {
            namespace: Some(self.id.namespace.clone()),
            workload: Some(self.workload.clone()),
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
    /// Those kinds, for when there is nothing else.
    pub other_kinds: BTreeSet<String>,
    /// What is in the stream and is not run: refused objects, those that are being deleted, and what cannot be read.
    pub not_run: Vec<NotRun>,
}

/// An object that is not run, as far as it can be read: a person may name its workload all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRun {
    /// Its namespace; `None` where that cannot be read.
    pub namespace: Option<String>,
    /// The workload that it is about; `None` where that cannot be read.
    pub workload: Option<WorkloadRef>,
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
    read_polled(bytes, context, None)
}

/// Reads a stream, of whose `pollingInterval`s each counts at least so many seconds.
#[must_use]
pub fn read_polled(
    bytes: &[u8],
    context: Context<'_>,
    min_polling_seconds: Option<NonZeroU32>,
) -> Configuration {
    let Context {
        file,
        namespace,
        clusters,
    } = context;
    read_files(&[(file, bytes)], namespace, clusters, min_polling_seconds)
}

/// Reads several files, by name and content, as if they were one stream: an object may refer to one in another file.
#[must_use]
pub fn read_files(
    files: &[(&str, &[u8])],
    default_namespace: &str,
    clusters: &[String],
    min_polling_seconds: Option<NonZeroU32>,
) -> Configuration {
    read_stream(files, default_namespace, |target, node, problems| {
        let target = in_cluster(target?, node, clusters, problems)?;
        Some(raise_polling(target, node, min_polling_seconds, problems))
    })
}

/// Raises a `pollingInterval` to the least that the function's owner lets count, and says so. The record's ScaledObject then has it,
/// too, so that a decision replays without the environment that it was made in.
fn raise_polling(
    mut target: Target,
    node: &Node,
    least: Option<NonZeroU32>,
    problems: &mut Problems,
) -> Target {
    let asked = target.policy.polling_seconds;
    let Some(least) = least.filter(|least| asked < *least) else {
        return target;
    };
    target.policy.polling_seconds = least;
    target.asked_polling_seconds = Some(asked);
    let spec = target.manifest.get_mut("spec");
    if let Some(spec) = spec.and_then(serde_json::Value::as_object_mut) {
        spec.insert("pollingInterval".to_owned(), least.get().into());
    }
    let given = node
        .get("spec")
        .and_then(|spec| spec.get("pollingInterval"));
    let position = given.and_then(|given| given.position);
    let default = if given.is_some() {
        ""
    } else {
        ", the default,"
    };
    let message = format!(
        "{asked} s{default} is less than the function's owner lets count, and is raised to {least} s (OUTRIGGER_MIN_POLLING); write {least} or more"
    );
    problems.warning(position, "spec.pollingInterval", message);
    target
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
        has_unread: false,
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
    /// Whether some document could not be read, which may be what another one refers to.
    has_unread: bool,
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
        if self.has_unread {
            authentications.add_nameless();
        }
        for (document, kind, node) in objects {
            if *kind != Kind::ScaledObject {
                let cluster_wide = *kind == Kind::ClusterTriggerAuthentication;
                let problems =
                    authentications.add(*document, node, cluster_wide, default_namespace);
                if problems.errors() > 0 {
                    authentications.add_nameless();
                }
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
                if target.is_none() {
                    let not_run = scaled_object::not_run(node, default_namespace);
                    self.configuration.not_run.push(not_run);
                }
                let id = id.map(|id| id.to_string());
                self.report(*document, id.as_deref(), problems);
                for (other, object, problems) in authentications.used() {
                    self.report_other(other, &object, id.as_deref(), problems);
                }
                found.extend(target.map(|target| (*document, node.position, target)));
            }
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

    /// Reports what is wrong with another object, where that stands. Its errors refuse the object that refers to it, and name it.
    fn report_other(
        &mut self,
        document: usize,
        other: &str,
        object: Option<&str>,
        problems: Problems,
    ) {
        for mut problem in problems.list {
            let mut told = Problems::default();
            let about = match problem.severity {
                Severity::Error => {
                    problem.path = format!("{other}: {}", problem.path);
                    object
                }
                Severity::Warning => Some(other),
            };
            told.list.push(problem);
            self.report(document, about, told);
        }
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
        if problems.errors() > 0 {
            self.has_unread = true;
            self.configuration.not_run.push(NotRun {
                namespace: None,
                workload: None,
            });
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
                let kind = node.get("kind").and_then(Node::as_text).unwrap_or_default();
                if let Some(message) = about_other(kind, node) {
                    problems.warning(node.position, "", message);
                }
                self.configuration.other_kinds.insert(kind.to_owned());
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
            self.configuration.not_run.push(target.not_run());
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

/// What a person should know of a document that is skipped, as far as it matters.
fn about_other(kind: &str, node: &Node) -> Option<String> {
    let text = |node: Option<&Node>| {
        let text = node.and_then(Node::as_text).filter(|text| !text.is_empty());
        text.map(document::quoted)
    };
    let name = text(
        node.get("metadata")
            .and_then(|metadata| metadata.get("name")),
    );
    let name = name.map(|name| format!(" {name}")).unwrap_or_default();
    let version = node.get("apiVersion").and_then(Node::as_text);
    let group = version.unwrap_or_default().split('/').next();
    match (group.unwrap_or_default(), kind) {
        // The skipped ones go into the package all the same.
        ("v1", "Secret") => Some(
            "a Secret is of no use here, and would be readable in the function's package; leave it out, \
             as with helm template --show-only"
                .to_owned(),
        ),
        ("keda.sh", "ScaledJob") => Some(format!(
            "the ScaledJob{name} stays with KEDA, which has to stay installed for it: Outrigger scales workloads and starts no Jobs"
        )),
        ("autoscaling", "HorizontalPodAutoscaler") => {
            let target = node.get("spec").and_then(|spec| spec.get("scaleTargetRef"));
            let field = |key: &str| text(target.and_then(|target| target.get(key)));
            let workload = match (field("kind"), field("name")) {
                (Some(kind), Some(workload)) => format!("{} {workload}", kind.replace('`', "")),
                _ => "its workload".to_owned(),
            };
            Some(format!(
                "the HorizontalPodAutoscaler{name} is not read: a ScaledObject is needed in its place, and while it is in the cluster, \
                 {workload} is left to it (OtherOwner)"
            ))
        }
        _ => None,
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

/// The kind of ours that a misspelt one means. KEDA has other kinds, which are not ours and not misspelt.
fn misspelt_kind(found: &str, version: &str) -> Option<&'static str> {
    const OURS: [&str; 3] = [
        "ScaledObject",
        "TriggerAuthentication",
        "ClusterTriggerAuthentication",
    ];
    const OTHERS: [&str; 5] = [
        "ScaledJob",
        "ScaledJobList",
        "CloudEventSource",
        "ClusterCloudEventSource",
        "HTTPScaledObject",
    ];
    let same = OURS
        .into_iter()
        .find(|ours| ours.eq_ignore_ascii_case(found));
    let is_kedas = version == API_VERSION || version.starts_with("keda.");
    same.or_else(|| {
        { is_kedas && !OTHERS.contains(&found) }
            .then(|| fields::nearest(found, &OURS))
            .flatten()
    })
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
        Some(other) => {
            let Some(meant) = misspelt_kind(other, version_text) else {
                return Sorted::Other;
            };
            let found = document::quoted(other);
            let message = format!("found {found}, did you mean `{meant}`?");
            problems.error(kind.position, "kind", message);
            return Sorted::Refused;
        }
        None => {
            problems.found(kind, "kind", "the kind of a Kubernetes object");
            return Sorted::Refused;
        }
    };
    match version_text {
        API_VERSION => Sorted::Ours(kind),
        // Somebody else's object of the same kind.
        other
            if other.contains('/')
                && !other.starts_with("keda.")
                && !fields::is_near(other, API_VERSION) =>
        {
            Sorted::Other
        }
        other if other.starts_with("keda.k8s.io/") => {
            let message = format!(
                "found {}, which is KEDA 1 and no longer served, allowed: {API_VERSION}; its fields have other names, too, \
                 such as `name` for `deploymentName`",
                document::quoted(other)
            );
            problems.error(version.position, "apiVersion", message);
            Sorted::Refused
        }
        _ => {
            problems.found(version, "apiVersion", API_VERSION);
            Sorted::Refused
        }
    }
}

#[cfg(test)]
mod tests;
