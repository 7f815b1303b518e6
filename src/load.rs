//! What there is to scale: read from a file, or listed in the clusters, at the beginning of each invocation.
//!
//! What cannot be read is replaced by what was read last while the environment is warm, and the invocation fails naming it.
//! Nothing is decided here: `manifest` reads the objects.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::document::{Node, Value};
use crate::manifest::{
    self, ClusterContext, ClusterObjects, Configuration, Context, ListedObject, Target, TargetId,
    Unlisted,
};
use crate::owners::Autoscaler;
use crate::pass::MAX_CALLS;
use crate::policy::Mode;
use crate::ports::{Fault, Namespace, ObjectKind, Objects, Scope, Workloads};
use crate::settings::{Settings, Source};

/// What listing may take. A healthy cluster answers in a second; one that does not answer must not hold up the others,
/// whose targets wait until all lists are there or given up.
const LIST_SECONDS: u64 = 10;

/// Kept of the invocation's time for the passes, however slow the lists are.
const PASS_RESERVE: Duration = Duration::from_secs(10);

/// The configuration of one invocation.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The targets, and what is wrong with the others.
    pub configuration: Arc<Configuration>,
    /// Why it is an old one or only a part of it; empty when it is whole and new.
    pub stale: Vec<String>,
    /// The ScaledObjects whose status is ours to write, by cluster.
    pub objects: Vec<(String, ListedObject)>,
}

/// There is nothing to act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

/// What a warm environment keeps.
#[derive(Debug, Default)]
pub struct Loader {
    file: RefCell<Option<(Vec<u8>, Arc<Configuration>)>>,
    lists: RefCell<BTreeMap<(ObjectKind, Scope), Rc<Vec<Node>>>>,
    told: RefCell<BTreeSet<String>>,
}

impl Loader {
    /// Loads the configuration anew. `read` reads a file; nothing is listed beyond `deadline`.
    pub async fn load<O: Objects + Workloads>(
        &self,
        settings: &Settings,
        read: impl FnOnce(&Path) -> io::Result<Vec<u8>>,
        objects: &O,
        deadline: Option<Instant>,
    ) -> Result<Loaded, Unreadable> {
        match &settings.source {
            Source::File(path) => self.from_file(settings, path, read(path)),
            Source::Clusters(namespaces) => {
                let limit = Instant::now() + Duration::from_secs(LIST_SECONDS);
                let latest = deadline.map(|deadline| deadline.checked_sub(PASS_RESERVE));
                let limit = latest.map_or(limit, |latest| latest.unwrap_or(limit).min(limit));
                let lists = Lists {
                    kept: &self.lists,
                    objects,
                    limit,
                    calls: Semaphore::new(MAX_CALLS),
                };
                lists.load(settings, namespaces).await
            }
        }
    }

    /// The findings that were not told yet, as lines. One that was put right and comes back is told again.
    pub fn untold(&self, configuration: &Configuration) -> Vec<String> {
        let lines = configuration.findings.iter().map(ToString::to_string);
        let now: BTreeSet<String> = lines.clone().collect();
        let before = self.told.replace(now);
        let mut untold: Vec<String> = lines.filter(|line| !before.contains(line)).collect();
        untold.dedup();
        untold
    }

    /// The configuration of a file, parsed when its bytes are new.
    fn from_file(
        &self,
        settings: &Settings,
        path: &Path,
        bytes: io::Result<Vec<u8>>,
    ) -> Result<Loaded, Unreadable> {
        let mut kept = self.file.borrow_mut();
        let bytes = match (bytes, &*kept) {
            (Ok(bytes), _) => bytes,
            (Err(error), last) => {
                let message = format!(
                    "could not read the configuration `{}` (OUTRIGGER_CONFIG): {error}; ship it with the function, beside the binary",
                    path.display()
                );
                let Some((_, configuration)) = last else {
                    return Err(Unreadable(message));
                };
                return Ok(Loaded {
                    configuration: Arc::clone(configuration),
                    stale: vec![format!("{message}; the last good one is in force")],
                    objects: Vec::new(),
                });
            }
        };
        let configuration = match &*kept {
            Some((last, configuration)) if *last == bytes => Arc::clone(configuration),
            Some(_) | None => {
                let clusters = settings.clusters.iter();
                let clusters: Vec<String> = clusters.map(|cluster| cluster.name.clone()).collect();
                let context = Context {
                    file: &path.to_string_lossy(),
                    namespace: &settings.namespace,
                    clusters: &clusters,
                };
                let configuration = manifest::read(&bytes, context);
                let configuration = Arc::new(configuration.with_default_mode(settings.mode));
                *kept = Some((bytes, Arc::clone(&configuration)));
                configuration
            }
        };
        Ok(Loaded {
            configuration,
            ..Loaded::default()
        })
    }
}

/// The lists of one invocation.
struct Lists<'l, O> {
    /// The last good ones.
    kept: &'l RefCell<BTreeMap<(ObjectKind, Scope), Rc<Vec<Node>>>>,
    objects: &'l O,
    limit: Instant,
    calls: Semaphore,
}

/// What came of listing a kind in one place: the objects, new or old, if there ever were any, and why they are not new.
struct List {
    scope: Scope,
    nodes: Option<Rc<Vec<Node>>>,
    fault: Option<Fault>,
}

/// What one cluster comes to.
#[derive(Default)]
struct FromCluster {
    configuration: Configuration,
    stale: Vec<String>,
    objects: Vec<(String, ListedObject)>,
    /// Whether any of its ScaledObjects could be listed, or were once.
    is_known: bool,
}

impl<O: Objects + Workloads> Lists<'_, O> {
    /// All clusters at the same time. One that fails stops no other.
    async fn load(&self, settings: &Settings, namespaces: &[String]) -> Result<Loaded, Unreadable> {
        let clusters = settings.clusters.iter();
        let clusters = clusters.map(|cluster| self.cluster(&cluster.name, settings, namespaces));
        let mut all = FromCluster::default();
        for cluster in join_all(clusters).await {
            let FromCluster {
                configuration,
                stale,
                objects,
                is_known,
            } = cluster;
            all.configuration.targets.extend(configuration.targets);
            all.configuration.findings.extend(configuration.findings);
            all.configuration.skipped += configuration.skipped;
            all.stale.extend(stale);
            all.objects.extend(objects);
            all.is_known |= is_known;
        }
        if !all.is_known {
            return Err(Unreadable(all.stale.join("; ")));
        }
        Ok(Loaded {
            configuration: Arc::new(all.configuration),
            stale: all.stale,
            objects: all.objects,
        })
    }

    async fn cluster(
        &self,
        cluster: &str,
        settings: &Settings,
        namespaces: &[String],
    ) -> FromCluster {
        let scope = |namespace: Option<&String>| Scope {
            cluster: cluster.to_owned(),
            namespace: namespace.cloned(),
        };
        let scopes: Vec<Scope> = match namespaces {
            [] => vec![scope(None)],
            some => some.iter().map(|name| scope(Some(name))).collect(),
        };
        let lists = scopes.iter().cloned();
        let lists = lists.map(|scope| self.list(ObjectKind::ScaledObject, scope));
        let scaled_objects = join_all(lists).await;
        let mut stale: Vec<String> = scaled_objects.iter().filter_map(List::stale).collect();
        let is_known = scaled_objects.iter().any(|list| list.nodes.is_some());

        // Nobody asks for what no object refers to: least rights, least calls.
        let refers = |list: &&List, to| list.nodes().any(|node| refers_to(node, to));
        let kind = ObjectKind::TriggerAuthentication;
        let needed = scaled_objects.iter().filter(|list| refers(list, kind));
        let authentications = needed.map(|list| self.list(kind, list.scope.clone()));
        let kind = ObjectKind::ClusterTriggerAuthentication;
        let needed = scaled_objects.iter().any(|list| refers(&list, kind));
        let cluster_wide = needed.then(|| self.list(kind, scope(None)));
        let (authentications, cluster_wide) =
            join(join_all(authentications), join_all(cluster_wide)).await;
        let unlisted = |cluster_wide: bool| {
            move |list: &List| {
                let fault = list.fault.as_ref().filter(|_| list.nodes.is_none())?;
                Some(Unlisted {
                    cluster_wide,
                    namespace: list.scope.namespace.clone(),
                    why: fault.message.clone(),
                })
            }
        };
        let of_all = |lists| {
            let lists: &[List] = lists;
            let known = lists.iter().filter(|list| list.nodes.is_some());
            known.filter_map(List::stale).collect::<Vec<_>>()
        };
        stale.extend(of_all(&authentications));
        stale.extend(of_all(&cluster_wide));
        let found = ClusterObjects {
            scaled_objects: scaled_objects.iter().flat_map(List::nodes).collect(),
            authentications: authentications.iter().flat_map(List::nodes).collect(),
            cluster_authentications: cluster_wide.iter().flat_map(List::nodes).collect(),
            unlisted: (authentications.iter().filter_map(unlisted(false)))
                .chain(cluster_wide.iter().filter_map(unlisted(true)))
                .collect(),
        };
        let context = ClusterContext {
            cluster,
            roles: &settings.roles,
        };
        let configuration =
            manifest::read_cluster(&found, context).with_default_mode(settings.mode);
        let objects = found.scaled_objects.iter();
        let objects: Vec<ListedObject> = objects
            .filter_map(|node| ListedObject::read(node, settings.mode))
            .filter(|object| !object.is_deleted)
            .collect();
        self.without_kedas(cluster, configuration, objects, stale, is_known)
            .await
    }

    async fn list(&self, kind: ObjectKind, scope: Scope) -> List {
        let place = match &scope.namespace {
            Some(namespace) => format!(" in namespace `{namespace}`"),
            None => String::new(),
        };
        let what = format!(
            "listing {}{place} in cluster `{}`",
            kind.plural(),
            scope.cluster
        );
        let list = || Objects::list(self.objects, kind, &scope);
        let fresh = self.bounded(&what, list).await;
        let key = (kind, scope.clone());
        let (nodes, fault) = match fresh {
            Ok(nodes) => {
                let nodes = Rc::new(nodes);
                self.kept.borrow_mut().insert(key, Rc::clone(&nodes));
                (Some(nodes), None)
            }
            Err(fault) => (self.kept.borrow().get(&key).cloned(), Some(fault)),
        };
        List {
            scope,
            nodes,
            fault,
        }
    }

    async fn bounded<T, F: Future<Output = Result<T, Fault>>>(
        &self,
        what: &str,
        call: impl FnOnce() -> F,
    ) -> Result<T, Fault> {
        let work = async {
            // Never closed.
            let _permit = self.calls.acquire().await.ok();
            call().await
        };
        let done = timeout_at(self.limit, work).await;
        done.unwrap_or_else(|_| {
            let message = format!("{what} took too long: no whole answer within {LIST_SECONDS} s");
            Err(Fault::failed("Timeout", message))
        })
    }

    /// Refuses the objects that KEDA's operator acts on, and leaves their status to it. Only what has its finalizer can be
    /// one, so that a cluster without KEDA pays nothing for it.
    async fn without_kedas(
        &self,
        cluster: &str,
        mut configuration: Configuration,
        mut objects: Vec<ListedObject>,
        stale: Vec<String>,
        is_known: bool,
    ) -> FromCluster {
        let is_suspect = |object: &ListedObject| object.has_finalizer && object.mode == Mode::Live;
        let suspects = objects.iter().filter(|object| is_suspect(object));
        let namespaces: BTreeSet<&String> = suspects.map(|object| &object.id.namespace).collect();
        let lists = namespaces.into_iter().map(async |name| {
            let namespace = Namespace {
                cluster: cluster.to_owned(),
                name: name.clone(),
            };
            let what = format!("looking for KEDA's autoscalers in `{name}`");
            let list = || self.objects.autoscalers(&namespace);
            (name.clone(), self.bounded(&what, list).await)
        });
        let autoscalers: BTreeMap<_, _> = join_all(lists).await.into_iter().collect();
        objects.retain(|object| {
            let found = autoscalers.get(&object.id.namespace);
            let Some(found) = found.filter(|_| is_suspect(object)) else {
                return true;
            };
            let Some(message) = owned_by_keda(&object.id, &configuration.targets, found) else {
                return true;
            };
            configuration.refuse(cluster, &object.id, message);
            false
        });
        // What is written there is no status of ours: a shadow changes nothing.
        objects.retain(|object| object.mode == Mode::Live);
        let objects = objects.into_iter();
        FromCluster {
            configuration,
            stale,
            objects: objects.map(|object| (cluster.to_owned(), object)).collect(),
            is_known,
        }
    }
}

impl List {
    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flat_map(|nodes| nodes.iter())
    }

    /// What is said of a list that is not new.
    fn stale(&self) -> Option<String> {
        let fault = self.fault.as_ref()?;
        let then = match self.nodes {
            Some(_) => "the last good list is in force",
            None => "nothing is done there",
        };
        Some(format!("{fault}; {then}"))
    }
}

/// Whether a trigger of a ScaledObject refers to an authentication of this kind.
fn refers_to(node: &Node, kind: ObjectKind) -> bool {
    let triggers = node.get("spec").and_then(|spec| spec.get("triggers"));
    let Some(Value::List(triggers)) = triggers.map(|triggers| &triggers.value) else {
        return false;
    };
    triggers.iter().any(|trigger| {
        let reference = trigger.get("authenticationRef");
        let Some(reference) = reference.filter(|node| node.value != Value::Null) else {
            return false;
        };
        let named = reference.get("kind").and_then(Node::as_text);
        let is_cluster_wide = named == Some("ClusterTriggerAuthentication");
        is_cluster_wide == (kind == ObjectKind::ClusterTriggerAuthentication)
    })
}

/// Why an object with KEDA's finalizer is left to KEDA, if it is: an autoscaler that KEDA made for it is there. One without
/// was let go by KEDA, which is gone or paused for it.
fn owned_by_keda(
    id: &TargetId,
    targets: &[Target],
    autoscalers: &Result<Vec<Autoscaler>, Fault>,
) -> Option<String> {
    let TargetId { namespace, name } = id;
    let autoscalers = match autoscalers {
        Ok(autoscalers) => autoscalers,
        Err(fault) => {
            return Some(format!(
                "KEDA's finalizer is on it, and whether KEDA's operator still acts on it is not known: {fault}"
            ));
        }
    };
    let mut owned = autoscalers.iter().filter(|autoscaler| {
        let named = autoscaler.scaled_object.as_deref() == Some(name);
        let target = targets.iter().find(|target| target.id == *id);
        let labelled = autoscaler.is_labelled_keda
            && target.is_some_and(|target| autoscaler.target.is(&target.workload));
        named || labelled
    });
    let autoscaler = &owned.next()?.name;
    Some(format!(
        "KEDA's operator acts on it, through the HorizontalPodAutoscaler `{autoscaler}`; to hand over, stop the operator (kubectl scale \
         deployment keda-operator -n keda --replicas=0, or helm uninstall), then: kubectl delete hpa {autoscaler} -n {namespace}; to compare first, \
         annotate it outrigger.dev/mode=shadow"
    ))
}
