//! What a pass needs of the outside, in our own words. `adapters` implements these, and so do the tests.

use std::collections::BTreeMap;
use std::future::Future;

use jiff::Timestamp;

use serde_json::Value as Json;

use crate::decide::{QueueDepth, Workload};
use crate::document::Node;
use crate::manifest::WorkloadRef;
use crate::owners::{Autoscaler, ScaledObject};
use crate::policy::{Metric, Queue};

/// Reads what triggers name.
pub trait Sources {
    /// The three counts of a queue. A count that is missing or not a number is a fault, never a zero.
    fn depth(&self, queue: &Queue) -> impl Future<Output = Result<QueueDepth, Fault>>;

    /// The newest value of a metric in its window before `now`, in thousandths, `None` when there is no data.
    /// What is no number is a fault.
    fn metric(
        &self,
        metric: &Metric,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<i64>, Fault>>;
}

/// Reads workloads.
pub trait Workloads {
    /// The count and state of a workload.
    fn read(&self, place: &Place) -> impl Future<Output = Result<Seen, Fault>>;

    /// All `HorizontalPodAutoscaler`s of a namespace, or a fault: a part of them would say that there is no other.
    fn autoscalers(
        &self,
        namespace: &Namespace,
    ) -> impl Future<Output = Result<Vec<Autoscaler>, Fault>>;

    /// All ScaledObjects of a namespace; none where the cluster does not know the kind.
    fn scaled_objects(
        &self,
        namespace: &Namespace,
    ) -> impl Future<Output = Result<Vec<ScaledObject>, Fault>>;
}

/// Reads the objects that say what is to be scaled, where clusters have them.
pub trait Objects {
    /// All objects of a kind, or a fault: a part of them is no configuration.
    fn list(
        &self,
        kind: ObjectKind,
        scope: &Scope,
    ) -> impl Future<Output = Result<Vec<Node>, Fault>>;
}

/// Writes the status of ScaledObjects, and nothing else.
pub trait Statuses {
    /// Replaces the status if the object still is the version that was seen; otherwise a lost race. Returns the new version.
    fn write_status(
        &self,
        namespace: &Namespace,
        name: &str,
        seen: &Version,
        status: &Json,
    ) -> impl Future<Output = Result<String, Fault>>;
}

/// Creates Kubernetes Events, and nothing else.
pub trait Events {
    /// Creates the Event about a workload.
    fn create(&self, place: &Place, event: &Event) -> impl Future<Output = Result<(), Fault>>;
}

/// Writes replica counts, and nothing else.
pub trait Scaler {
    /// Sets the count if the workload is still the same and still has the old one; otherwise a lost race.
    fn scale(&self, place: &Place, change: &Change) -> impl Future<Output = Result<(), Fault>>;
}

/// Reads the small memory of each target. What has nothing else cannot write it:
///
/// ```compile_fail,E0599
/// use outrigger::ports::{LiveMemories as _, Memories, Namespace, StateWrite};
///
/// async fn look(memories: &impl Memories, namespace: &Namespace, writes: &[StateWrite]) {
///     memories.store(namespace, writes).await;
/// }
/// ```
pub trait Memories {
    /// All that is kept in a namespace, by key.
    fn load(
        &self,
        namespace: &Namespace,
    ) -> impl Future<Output = Result<BTreeMap<String, String>, Fault>>;
}

/// A write of the state of one workload. It names the workload and not the key, so that no write reaches a key that is not
/// the state of a workload:
///
/// ```compile_fail,E0560
/// use outrigger::ports::StateWrite;
///
/// let write = StateWrite { key: "pause".to_owned(), old: None, new: String::new() };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateWrite {
    /// Whose state it is.
    pub workload: WorkloadRef,
    /// The text that the key must still have; `None` means that the key must be absent.
    pub old: Option<String>,
    /// The text that replaces it.
    pub new: String,
}

/// Keeps the memory of live targets.
pub trait LiveMemories {
    /// Replaces the keys `<kind>.<name>` of some workloads of a namespace, each if it still has its old value; otherwise that
    /// write is a lost race. One result for each write, in order: a lost race of one leaves the others alone.
    fn store(
        &self,
        namespace: &Namespace,
        writes: &[StateWrite],
    ) -> impl Future<Output = Vec<Result<(), Fault>>>;
}

/// Keeps the memory of shadow targets, beside that of live ones. Shadow targets are composed of nothing else that writes, so
/// that writing a count there does not compile:
///
/// ```compile_fail,E0599
/// use outrigger::ports::{Change, Place, Scaler as _, ShadowMemories};
///
/// async fn act(memories: &impl ShadowMemories, place: &Place, change: &Change) {
///     memories.scale(place, change).await.ok();
/// }
/// ```
pub trait ShadowMemories {
    /// Replaces the keys `shadow.<kind>.<name>` of some workloads of a namespace, as [`LiveMemories::store`] does the others.
    fn store_shadow(
        &self,
        namespace: &Namespace,
        writes: &[StateWrite],
    ) -> impl Future<Output = Vec<Result<(), Fault>>>;
}

/// Stands in for what writes where nothing may be written. It has no value, so that nothing can be written through it, and a
/// world that is made for it cannot be given hands:
///
/// ```compile_fail,E0423
/// use outrigger::pass::Hands;
/// use outrigger::ports::Nobody;
///
/// let hands = Hands { scaler: &Nobody, memories: &Nobody, shadow_memories: &Nobody };
/// ```
#[derive(Debug, Clone, Copy)]
pub enum Nobody {}

impl Scaler for Nobody {
    async fn scale(&self, _: &Place, _: &Change) -> Result<(), Fault> {
        match *self {}
    }
}

impl LiveMemories for Nobody {
    async fn store(&self, _: &Namespace, _: &[StateWrite]) -> Vec<Result<(), Fault>> {
        match *self {}
    }
}

impl ShadowMemories for Nobody {
    async fn store_shadow(&self, _: &Namespace, _: &[StateWrite]) -> Vec<Result<(), Fault>> {
        match *self {}
    }
}

/// A namespace of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace {
    /// The cluster's name.
    pub cluster: String,
    /// The namespace's name.
    pub name: String,
}

/// Where a workload is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Its namespace.
    pub namespace: Namespace,
    /// The workload.
    pub workload: WorkloadRef,
}

/// A workload as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The object's uid: a workload that was deleted and made again is another one.
    pub uid: String,
    /// Its `resourceVersion`, empty where the server told none.
    pub version: String,
    /// Its resource in URLs, such as `rollouts`.
    pub resource: String,
    /// Its count and state.
    pub workload: Workload,
}

/// What says what is to be scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// `ScaledObject`.
    ScaledObject,
    /// `TriggerAuthentication`.
    TriggerAuthentication,
    /// `ClusterTriggerAuthentication`, which no namespace has.
    ClusterTriggerAuthentication,
}

impl ObjectKind {
    /// The resource in URLs and in RBAC rules.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::ScaledObject => "scaledobjects",
            Self::TriggerAuthentication => "triggerauthentications",
            Self::ClusterTriggerAuthentication => "clustertriggerauthentications",
        }
    }
}

/// Where objects are listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// The cluster's name.
    pub cluster: String,
    /// The namespace; `None` for all of them, and for what is in none.
    pub namespace: Option<String>,
}

/// An object as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its uid.
    pub uid: String,
    /// Its `resourceVersion`.
    pub version: String,
}

/// A Kubernetes Event about a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What makes its name differ from that of any other Event about the workload: the same for the same event.
    pub key: String,
    /// When.
    pub at: Timestamp,
    /// Whether a person should look.
    pub warning: bool,
    /// Why, in one word.
    pub reason: String,
    /// What was done about it, in one word.
    pub action: &'static str,
    /// The whole sentence.
    pub message: String,
    /// The workload's uid.
    pub uid: String,
    /// The workload's `resourceVersion`, empty where it is not known.
    pub version: String,
}

/// A change to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The uid that was seen.
    pub uid: String,
    /// The count that was seen.
    pub from: u32,
    /// The count to set.
    pub to: u32,
}

/// Why a call did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What kind of failure it is.
    pub kind: FaultKind,
    /// A short stable code, such as `AccessDenied`, for records.
    pub code: String,
    /// What was tried, on what, what was wrong and what to do next.
    pub message: String,
}

/// What a caller can do about a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The world changed in between: somebody else owns this tick.
    LostRace,
    /// There was no time left to finish: it may have been done all the same.
    OutOfTime,
    /// It may have been done all the same: its answer was lost, and what became of it is not known.
    Unclear,
    /// Everything else, after the retries that make sense. It was not done.
    Failed,
}

impl Fault {
    /// A failure.
    #[must_use]
    pub fn failed(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind: FaultKind::Failed,
            code: code.into(),
            message: message.into(),
        }
    }

    /// A lost race.
    #[must_use]
    pub fn lost_race(message: impl Into<String>) -> Self {
        Self {
            kind: FaultKind::LostRace,
            code: "Conflict".to_owned(),
            message: message.into(),
        }
    }

    /// No time left for `what`, because of `cause`, such as "200 state writes to `shop/outrigger` took 61 s".
    #[must_use]
    pub fn out_of_time(what: &str, cause: &str) -> Self {
        Self {
            kind: FaultKind::OutOfTime,
            code: "DeadlineExceeded".to_owned(),
            message: format!("no time left in this invocation for {what}: {cause}"),
        }
    }
}
