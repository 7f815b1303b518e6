//! The ScaledObjects of the clusters, with what they refer to.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{Loaded, Unreadable};
use crate::calls::{Limits, in_turn};
use crate::document::{Node, Value};
use crate::manifest::{
    self, ClusterContext, ClusterObjects, Configuration, ListedObject, Target, TargetId, Unlisted,
};
use crate::owners::Autoscaler;
use crate::pass::MAX_CALLS;
use crate::policy::Mode;
use crate::ports::{Fault, Namespace, ObjectKind, Objects, Place, Scope, Workloads};
use crate::settings::Settings;

/// What listing may take. A healthy cluster answers in a second; one that does not answer must not hold up the others,
/// whose targets wait until all lists are there or given up.
pub(super) const LIST_SECONDS: u64 = 10;

/// What a list may take that was given up in the last two invocations: whoever is well waits for it each time. A healthy one has
/// come by then, and once is a bad moment.
const LATE_LIST_SECONDS: u64 = 1;

/// One that was given up has the whole time again once in so many invocations, since it may be long and not dead.
const WHOLE_TIME_EVERY: u32 = 5;

/// The code of what a server does not allow.
const FORBIDDEN: &str = "Forbidden";

/// The last good list of each kind in each place.
pub(super) type Kept = BTreeMap<(ObjectKind, Scope), Rc<Vec<Node>>>;

/// How often in a row each list was given up because it took too long.
pub(super) type Late = BTreeMap<(ObjectKind, Scope), u32>;

/// The turns for calls, by cluster: one that does not answer takes no other's.
pub(super) type Turns = BTreeMap<String, Semaphore>;

/// The turns of one invocation.
pub(super) fn turns(settings: &Settings) -> Turns {
    let clusters = settings.clusters.iter();
    clusters
        .map(|cluster| (cluster.name.clone(), Semaphore::new(MAX_CALLS)))
        .collect()
}

/// The lists of one invocation.
pub(super) struct Lists<'l, O> {
    pub(super) kept: &'l RefCell<Kept>,
    pub(super) late: &'l RefCell<Late>,
    pub(super) objects: &'l O,
    pub(super) limit: Instant,
    pub(super) calls: Turns,
}

/// What came of listing a kind in one place: the objects, new or old, if there ever were any, and why they are not new.
struct List {
    scope: Scope,
    nodes: Option<Rc<Vec<Node>>>,
    fault: Option<Fault>,
    /// Nothing in the namespace may be read, as after its deletion.
    is_gone: bool,
}

/// The lists of one cluster.
struct OfCluster {
    scaled_objects: Vec<List>,
    authentications: Vec<List>,
    /// At most one.
    cluster_wide: Vec<List>,
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
    pub(super) async fn load(
        &self,
        settings: &Settings,
        namespaces: &[String],
    ) -> Result<Loaded, Unreadable> {
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
            all.configuration.not_run.extend(configuration.not_run);
            all.configuration.skipped += configuration.skipped;
            all.configuration
                .other_kinds
                .extend(configuration.other_kinds);
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
        let mut lists = self.lists(cluster, namespaces).await;
        let context = ClusterContext::of(cluster, settings);
        self.forget_gone(&mut lists, context).await;
        let mut stale = lists.stale();
        let is_known = lists.scaled_objects.iter().any(|list| list.nodes.is_some());
        let found = lists.found();
        let mut configuration =
            manifest::read_cluster(&found, context).with_default_mode(settings.mode);
        let stale_objects = lists.stale_objects();
        for target in &mut configuration.targets {
            let TargetId { namespace, name } = &target.id;
            target.is_stale = stale_objects.contains(&(namespace.as_str(), name.as_str()));
        }
        let objects = found.scaled_objects.iter();
        let objects = objects.filter_map(|node| ListedObject::read(node, settings.mode));
        let (configuration, objects) = self
            .without_kedas(
                cluster,
                configuration,
                objects
                    .filter(|object| !object.is_deleted || object.left.is_some())
                    .collect(),
                &mut stale,
            )
            .await;
        FromCluster {
            configuration,
            stale,
            objects: objects
                .into_iter()
                .map(|object| (cluster.to_owned(), object))
                .collect(),
            is_known,
        }
    }

    /// All lists of a cluster. Nobody asks for what no object refers to: least rights, least calls.
    async fn lists(&self, cluster: &str, namespaces: &[String]) -> OfCluster {
        let scope = |namespace: Option<&String>| Scope {
            cluster: cluster.to_owned(),
            namespace: namespace.cloned(),
        };
        let scopes: Vec<Scope> = match namespaces {
            [] => vec![scope(None)],
            some => some.iter().map(|name| scope(Some(name))).collect(),
        };
        let lists = scopes.into_iter();
        let lists = lists.map(|scope| self.list(ObjectKind::ScaledObject, scope));
        let scaled_objects = join_all(lists).await;

        let refers = |list: &List, to| list.nodes().any(|node| refers_to(node, to));
        let kind = ObjectKind::TriggerAuthentication;
        let needed = scaled_objects.iter().filter(|list| refers(list, kind));
        let authentications = needed.map(|list| self.list(kind, list.scope.clone()));
        let kind = ObjectKind::ClusterTriggerAuthentication;
        let needed = scaled_objects.iter().any(|list| refers(list, kind));
        let cluster_wide = needed.then(|| self.list(kind, scope(None)));
        let (authentications, cluster_wide) =
            join(join_all(authentications), join_all(cluster_wide)).await;
        OfCluster {
            scaled_objects,
            authentications,
            cluster_wide,
        }
    }

    /// Leaves out the last good list of a namespace in which nothing may be read any more: with the namespace its Role goes, and
    /// each object of the list would fail on its own. Only where the list is forbidden are other reads tried.
    async fn forget_gone(&self, lists: &mut OfCluster, context: ClusterContext<'_>) {
        let is_forbidden = |list: &List| {
            let fault = list.fault.as_ref().filter(|_| list.nodes.is_some());
            fault.is_some_and(|fault| fault.code == FORBIDDEN) && list.scope.namespace.is_some()
        };
        if !lists.scaled_objects.iter().any(is_forbidden) {
            return;
        }
        let configuration = manifest::read_cluster(&lists.found(), context);
        let probes = lists.scaled_objects.iter();
        let probes = probes.map(async |list| {
            is_forbidden(list) && self.is_gone(&list.scope, &configuration.targets).await
        });
        let gone = join_all(probes).await;
        for (list, is_gone) in lists.scaled_objects.iter_mut().zip(gone) {
            if !is_gone {
                continue;
            }
            list.is_gone = true;
            list.nodes = None;
            let others = lists.authentications.iter_mut();
            for other in others.filter(|other| other.scope == list.scope) {
                other.nodes = None;
            }
        }
    }

    /// Whether neither the autoscalers of a namespace may be listed nor the workload of a target there be read.
    async fn is_gone(&self, scope: &Scope, targets: &[Target]) -> bool {
        let Scope { cluster, namespace } = scope;
        let Some(name) = namespace else {
            return false;
        };
        let namespace = Namespace {
            cluster: cluster.clone(),
            name: name.clone(),
        };
        let what = format!("looking whether anything in `{name}` may be read");
        let list = || self.objects.autoscalers(&namespace);
        let listed = self.bounded(cluster, &what, list).await;
        if !listed.is_err_and(|fault| fault.code == FORBIDDEN) {
            return false;
        }
        let target = targets.iter().find(|target| target.id.namespace == *name);
        let Some(target) = target else {
            return true;
        };
        let place = Place {
            namespace: namespace.clone(),
            workload: target.workload.clone(),
        };
        let read = || self.objects.read(&place);
        let read = self.bounded(cluster, &what, read).await;
        read.is_err_and(|fault| fault.code == FORBIDDEN)
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
        let key = (kind, scope.clone());
        let limit = self.limit_of(&key);
        let fresh = self.until(limit, &scope.cluster, &what, list).await;
        self.note(&key, limit);
        let (nodes, fault) = match fresh {
            Ok(nodes) => {
                let nodes = Rc::new(nodes);
                self.kept.borrow_mut().insert(key, Rc::clone(&nodes));
                (Some(nodes), None)
            }
            // Without the kind there is no object of it, whatever there was.
            Err(fault) if fault.code == "NotFound" => {
                self.kept.borrow_mut().remove(&key);
                (None, Some(fault))
            }
            Err(fault) => (self.kept.borrow().get(&key).cloned(), Some(fault)),
        };
        List {
            scope,
            nodes,
            fault,
            is_gone: false,
        }
    }

    /// When a list is given up.
    fn limit_of(&self, list: &(ObjectKind, Scope)) -> Instant {
        let late = self.late.borrow().get(list).copied().unwrap_or_default();
        if late < 2 || late % WHOLE_TIME_EVERY == 0 {
            return self.limit;
        }
        let soon = Instant::now() + Duration::from_secs(LATE_LIST_SECONDS);
        soon.min(self.limit)
    }

    /// Notes whether a list was given up.
    fn note(&self, list: &(ObjectKind, Scope), limit: Instant) {
        let mut late = self.late.borrow_mut();
        if Instant::now() < limit {
            late.remove(list);
        } else {
            let times = late.entry(list.clone()).or_default();
            *times = times.saturating_add(1);
        }
    }

    async fn bounded<T, F: Future<Output = Result<T, Fault>>>(
        &self,
        cluster: &str,
        what: &str,
        call: impl FnOnce() -> F,
    ) -> Result<T, Fault> {
        self.until(self.limit, cluster, what, call).await
    }

    async fn until<T, F: Future<Output = Result<T, Fault>>>(
        &self,
        limit: Instant,
        cluster: &str,
        what: &str,
        call: impl FnOnce() -> F,
    ) -> Result<T, Fault> {
        let late = || {
            let message = format!(
                "{what} took too long: no whole answer in time; check the way to the API server"
            );
            Fault::failed("Timeout", message)
        };
        in_turn(self.calls.get(cluster), Limits::at(Some(limit)), late, call).await
    }

    /// Refuses the objects that KEDA's operator acts on, and leaves their status to it. Only what has its finalizer can be
    /// one, so that a cluster without KEDA pays nothing for it. Where nobody knows, the status is left alone, and the target
    /// is not refused: before each write the pass looks itself, and an error stops no scale-out.
    async fn without_kedas(
        &self,
        cluster: &str,
        mut configuration: Configuration,
        mut objects: Vec<ListedObject>,
        untold: &mut Vec<String>,
    ) -> (Configuration, Vec<ListedObject>) {
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
            (name.clone(), self.bounded(cluster, &what, list).await)
        });
        let autoscalers: BTreeMap<_, _> = join_all(lists).await.into_iter().collect();
        let faults = autoscalers.iter().filter_map(|(namespace, list)| {
            let fault = list.as_ref().err()?;
            Some(format!(
                "{fault}; the ScaledObjects in `{namespace}` that KEDA's finalizer is on are run, and their status is left alone"
            ))
        });
        untold.extend(faults);
        objects.retain(|object| {
            let found = autoscalers.get(&object.id.namespace);
            let Some(found) = found.filter(|_| is_suspect(object)) else {
                return true;
            };
            let Ok(found) = found else {
                return false;
            };
            let Some(message) = owned_by_keda(&object.id, &configuration.targets, found) else {
                return true;
            };
            // One that is being deleted is its operator's to let go.
            if !object.is_deleted {
                configuration.refuse(cluster, &object.id, message);
            }
            false
        });
        for object in &objects {
            if let Some(left) = object.left.as_ref().filter(|_| object.has_finalizer) {
                configuration.warn(cluster, &object.id, left.clone());
            }
        }
        // What is written there is no status of ours: a shadow changes nothing.
        objects.retain(|object| object.mode == Mode::Live);
        (configuration, objects)
    }
}

impl OfCluster {
    /// What was found, and which authentications nobody knows.
    fn found(&self) -> ClusterObjects<'_> {
        let Self {
            scaled_objects,
            authentications,
            cluster_wide,
        } = self;
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
        let unlisted_here = authentications.iter().filter_map(unlisted(false));
        ClusterObjects {
            scaled_objects: scaled_objects.iter().flat_map(List::nodes).collect(),
            authentications: authentications.iter().flat_map(List::nodes).collect(),
            cluster_authentications: cluster_wide.iter().flat_map(List::nodes).collect(),
            unlisted: unlisted_here
                .chain(cluster_wide.iter().filter_map(unlisted(true)))
                .collect(),
        }
    }

    /// Namespace and name of the ScaledObjects that are read from an old list, or whose authentications are.
    fn stale_objects(&self) -> BTreeSet<(&str, &str)> {
        let mut stale = BTreeSet::new();
        for list in &self.scaled_objects {
            let is_old = |others: &[List]| {
                let mut here = others
                    .iter()
                    .filter(|other| other.scope.namespace.is_none() || other.scope == list.scope);
                here.any(|other| other.fault.is_some())
            };
            let old_kinds = [
                (ObjectKind::TriggerAuthentication, &self.authentications),
                (ObjectKind::ClusterTriggerAuthentication, &self.cluster_wide),
            ];
            let old_kinds: Vec<ObjectKind> = old_kinds
                .into_iter()
                .filter(|(_, others)| is_old(others))
                .map(|(kind, _)| kind)
                .collect();
            let nodes = list.nodes().filter(|node| {
                list.fault.is_some() || old_kinds.iter().any(|kind| refers_to(node, *kind))
            });
            stale.extend(nodes.filter_map(|node| {
                let text = |key: &str| node.get("metadata")?.get(key)?.as_text();
                Some((text("namespace")?, text("name")?))
            }));
        }
        stale
    }

    /// What is said of the lists that are not new. Authentications that were never listed refuse the objects that refer to
    /// them, which says it.
    fn stale(&self) -> Vec<String> {
        let others = self.authentications.iter().chain(&self.cluster_wide);
        let others = others.filter(|list| list.nodes.is_some());
        let all = self.scaled_objects.iter().chain(others);
        all.filter_map(List::stale).collect()
    }
}

impl List {
    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flat_map(|nodes| nodes.iter())
    }

    /// What is said of a list that is not new.
    fn stale(&self) -> Option<String> {
        let fault = self.fault.as_ref()?;
        if self.nodes.is_some() {
            return Some(format!(
                "{fault}; the last good list is in force, and nothing is scaled in from it"
            ));
        }
        let namespace = self.scope.namespace.as_ref();
        let hint = match namespace.filter(|_| fault.code == FORBIDDEN) {
            Some(name) if self.is_gone => format!(
                "nothing in namespace `{name}` may be read any more: where it was deleted (kubectl get namespace {name}) take it out of \
                 OUTRIGGER_CONFIG, else apply its Role and RoleBinding again; "
            ),
            Some(name) => format!(
                "where there is no namespace `{name}` (kubectl get namespace {name}) correct OUTRIGGER_CONFIG; "
            ),
            None => String::new(),
        };
        Some(format!("{fault}; {hint}nothing is done there"))
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
        let is_there = reference.is_some_and(|node| node.value != Value::Null);
        let wanted = kind == ObjectKind::ClusterTriggerAuthentication;
        is_there && manifest::is_cluster_wide(trigger) == wanted
    })
}

/// Why an object with KEDA's finalizer is left to KEDA, if it is: an autoscaler that KEDA made for it is there. One without
/// was let go by KEDA, which is gone or paused for it.
fn owned_by_keda(id: &TargetId, targets: &[Target], autoscalers: &[Autoscaler]) -> Option<String> {
    let TargetId { namespace, name } = id;
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
