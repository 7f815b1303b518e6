//! What is told to the clusters after a pass: an Event about each workload that was scaled or has a new trouble, and the status
//! of each ScaledObject that is read from a cluster, where it changed.
//!
//! Telling comes after acting and never delays it: the counts are written by then. A steady pass has nothing to tell, so that it
//! writes nothing. Only live targets are told of: a target in shadow mode has somebody else who tells.

mod brief;
mod event;
mod status;
mod told;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use futures_util::future::{join, join_all};
use jiff::Timestamp;
use serde_json::Value as Json;
use tokio::time::Instant;

use crate::calls::{by, seconds};
use crate::manifest::{Configuration, ListedObject, Target, TargetId};
use crate::pass::{Effect, Outcome};
use crate::policy::Mode;
use crate::ports::{Event, Events, Fault, FaultKind, Namespace, Place, Statuses, Version};
use crate::turns::{Hanging, Line, Numbers, Turns};

pub use told::Told;

/// What telling may take after one pass. The next poll waits for it.
const TELL_SECONDS: u64 = 5;

/// Calls at the same time to a cluster: telling is never urgent, and the API servers have other work.
const MAX_CALLS: usize = 16;

/// Calls at the same time to all clusters: one that does not answer leaves the turns of another.
const MAX_CALLS_EVERYWHERE: usize = 2 * MAX_CALLS;

/// A call that has no answer for so long hangs. It is not the whole of [`TELL_SECONDS`], since a call may wait for its turn before.
const HANGS_AFTER: Duration = Duration::from_secs(3);

/// Events of one invocation. Each is an object in etcd for an hour; a thousand workloads that scale at once are told by the log.
pub const MAX_EVENTS: usize = 100;

/// What writes for the telling, and nothing else.
#[derive(Debug)]
pub struct Voice<'v, E, S> {
    /// Creates Events.
    pub events: &'v E,
    /// Writes statuses.
    pub statuses: &'v S,
}

/// The live targets among outcomes. Nothing here is told of any other.
#[derive(Debug, Clone, Copy)]
struct Live<'o, 't>(&'o Outcome<'t>);

impl<'o, 't> Live<'o, 't> {
    fn of(outcome: &'o Outcome<'t>) -> Option<Self> {
        match outcome.target.policy.mode {
            Mode::Live => Some(Self(outcome)),
            Mode::Shadow => None,
        }
    }
}

/// The cluster and the id of an object.
type Key = (String, TargetId);

/// What one invocation knows of what it tells.
#[derive(Debug)]
pub struct Teller<'f> {
    told: &'f Told,
    events_left: Cell<usize>,
    /// Events of the pass for which there was no room.
    left_out: Cell<usize>,
    is_refusal_told: Cell<bool>,
    /// Clusters that were found not to keep a status as it was sent.
    unkept: RefCell<Vec<Untold>>,
    /// The statuses as they are, by object. Without one there is no object of ours, or somebody else writes it.
    statuses: RefCell<BTreeMap<Key, ListedObject>>,
    /// Kept through the invocation: to a cluster that hangs nothing more is told in it.
    turns: Turns,
    namespaces: Numbers<Namespace>,
    clusters: Numbers<String>,
}

/// When it is told.
#[derive(Debug, Clone, Copy)]
pub struct Occasion<'p> {
    /// The time of the pass.
    pub now: Timestamp,
    /// When everything must be finished; `None` when that is not known.
    pub deadline: Option<Instant>,
    /// The cluster of targets that name none.
    pub default_cluster: &'p str,
}

/// What could not be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    /// The object that it is about: `namespace/name` of its ScaledObject.
    pub target: String,
    /// Why.
    pub fault: Fault,
}

/// The time for the calls after one pass.
struct Calls {
    begun: Instant,
    limit: Instant,
}

impl Calls {
    fn new(deadline: Option<Instant>) -> Self {
        let begun = Instant::now();
        let limit = begun + Duration::from_secs(TELL_SECONDS);
        Self {
            begun,
            limit: deadline.map_or(limit, |deadline| deadline.min(limit)),
        }
    }
}

impl<'f> Teller<'f> {
    /// For one invocation, with the objects that were listed for it.
    #[must_use]
    pub fn new(told: &'f Told, objects: &[(String, ListedObject)]) -> Self {
        let statuses = objects.iter().map(|(cluster, object)| {
            let key = (cluster.clone(), object.id.clone());
            (key, object.clone())
        });
        Self {
            told,
            events_left: Cell::new(MAX_EVENTS),
            left_out: Cell::default(),
            is_refusal_told: Cell::default(),
            unkept: RefCell::default(),
            statuses: RefCell::new(statuses.collect()),
            turns: Turns::at_places(MAX_CALLS_EVERYWHERE, MAX_CALLS),
            namespaces: Numbers::new(),
            clusters: Numbers::new(),
        }
    }

    /// Tells a cluster something in its turn, within the time for telling.
    async fn call<T, F: Future<Output = Result<T, Fault>>>(
        &self,
        calls: &Calls,
        namespace: &Namespace,
        what: &str,
        call: impl FnOnce() -> F,
    ) -> Result<T, Fault> {
        let late = || {
            let took = seconds(calls.begun.elapsed());
            Fault::out_of_time(what, &format!("Events and statuses took {took}"))
        };
        let line = Line {
            parties: vec![self.namespaces.of(namespace)],
            place: self.clusters.of(&namespace.cluster),
        };
        let turn = match by(Some(calls.limit), self.turns.take(line)).await {
            Some(Ok(turn)) => turn,
            Some(Err(Hanging)) => {
                let cluster = &namespace.cluster;
                let cause = format!(
                    "what was told to `{}` in cluster `{cluster}` before had no answer in time",
                    namespace.name
                );
                return Err(Fault::out_of_time(what, &cause));
            }
            None => return Err(late()),
        };
        let begun = Instant::now();
        let ended = by(Some(calls.limit), async { Box::pin(call()).await }).await;
        if ended.is_some() || begun.elapsed() < HANGS_AFTER {
            turn.answered();
        } else {
            turn.hung();
        }
        ended.unwrap_or_else(|| Err(late()))
    }

    /// Tells what came of a pass. A status that could not be written is a fault of its target, since what `kubectl` shows is
    /// not true then; an Event that could not be created is only returned.
    pub async fn outcomes<E: Events, S: Statuses>(
        &self,
        voice: &Voice<'_, E, S>,
        outcomes: &mut [Outcome<'_>],
        occasion: Occasion<'_>,
    ) -> Vec<Untold> {
        let calls = Calls::new(occasion.deadline);
        let live = outcomes.iter().enumerate();
        let live: Vec<_> = live
            .filter_map(|(index, outcome)| Some((index, Live::of(outcome)?)))
            .collect();
        // What was done comes before what was not: of that there is as much at the next pass.
        let scaled = live
            .iter()
            .filter_map(|(_, live)| Some((*live, event::scaled(*live, occasion.now)?)));
        let troubles = live
            .iter()
            .filter_map(|(_, live)| Some((*live, self.new_trouble(*live, occasion)?)));
        let events = scaled.chain(troubles).filter(|_| self.has_room());
        let events: Vec<(Live<'_, '_>, Event)> = events.collect();
        let created = events.iter().map(async |(live, event)| {
            let target = live.0.target;
            let created = self.create(voice.events, &calls, target, event, occasion);
            created.await.err().map(|fault| Untold {
                target: target.id.to_string(),
                fault,
            })
        });
        let written = live.iter().map(async |(index, live)| {
            let target = live.0.target;
            let cluster = cluster_of(target, occasion);
            let new = |listed: &Json| status::of(*live, listed);
            let written = self.write(voice.statuses, &calls, cluster, &target.id, new);
            written.await.err().map(|fault| (*index, fault))
        });
        let (created, written) = join(join_all(created), join_all(written)).await;
        let mut untold: Vec<Untold> = created.into_iter().flatten().collect();
        untold.extend(left_out(self.left_out.take()));
        untold.append(&mut self.unkept.borrow_mut());
        for (index, fault) in written.into_iter().flatten() {
            let Some(outcome) = outcomes.get_mut(index) else {
                continue;
            };
            untold.push(Untold {
                target: outcome.target.id.to_string(),
                fault: fault.clone(),
            });
            // Out of time is no error: the next pass writes it.
            if fault.kind != FaultKind::OutOfTime {
                outcome.faults.push(fault);
            }
        }
        untold
    }

    /// Writes into the objects that are refused, or kept while they are deleted, why that is so. What is listed once is told once.
    pub async fn refused<S: Statuses>(
        &self,
        statuses: &S,
        configuration: &Configuration,
        deadline: Option<Instant>,
    ) -> Vec<Untold> {
        if self.is_refusal_told.replace(true) {
            return Vec::new();
        }
        let calls = Calls::new(deadline);
        let is_target = |(cluster, id): &Key| {
            let mut targets = configuration.targets.iter();
            targets.any(|target| target.id == *id && target.cluster.as_ref() == Some(cluster))
        };
        let keys: Vec<Key> = self.statuses.borrow().keys().cloned().collect();
        let refused = keys.iter().filter(|key| !is_target(key));
        let written = refused.map(async |(cluster, id)| {
            let left = self.left(cluster, id);
            let new = |listed: &Json| match left {
                Some(left) => Some(status::deleted(&left, listed)),
                None => status::refused(configuration, cluster, id, listed),
            };
            let written = self.write(statuses, &calls, cluster, id, new).await;
            written.err().map(|fault| Untold {
                target: id.to_string(),
                fault,
            })
        });
        let written = join_all(written).await;
        let mut untold: Vec<Untold> = written.into_iter().flatten().collect();
        untold.append(&mut self.unkept.borrow_mut());
        untold
    }

    /// What keeps an object that is being deleted.
    fn left(&self, cluster: &str, id: &TargetId) -> Option<String> {
        let known = self.statuses.borrow();
        known.get(&(cluster.to_owned(), id.clone()))?.left.clone()
    }

    /// The Event of a trouble that is to be told.
    fn new_trouble(&self, live: Live<'_, '_>, occasion: Occasion<'_>) -> Option<Event> {
        // What was not looked at has neither more nor less trouble than before.
        if live.0.effect == Effect::NotReached {
            return None;
        }
        let trouble = event::trouble(live, occasion.now);
        let reason = trouble.as_ref().map(|event| event.reason.as_str());
        let key = key_of(live.0.target, occasion);
        let is_new = self.told.troubles.is_new(&key, reason, occasion.now);
        trouble.filter(|_| is_new)
    }

    /// Takes the room of one more Event, if there is any.
    fn has_room(&self) -> bool {
        let left = self.events_left.get();
        self.events_left.set(left.saturating_sub(1));
        let left_out = usize::from(left == 0);
        self.left_out.set(self.left_out.get() + left_out);
        left > 0
    }

    async fn create<E: Events>(
        &self,
        events: &E,
        calls: &Calls,
        target: &Target,
        event: &Event,
        occasion: Occasion<'_>,
    ) -> Result<(), Fault> {
        let place = Place {
            namespace: Namespace {
                cluster: cluster_of(target, occasion).to_owned(),
                name: target.id.namespace.clone(),
            },
            workload: target.workload.clone(),
        };
        let what = format!("an Event about `{}`", target.id);
        let create = || events.create(&place, event);
        let created = self.call(calls, &place.namespace, &what, create).await;
        if event.warning {
            let (key, is_told) = (key_of(target, occasion), created.is_ok());
            let troubles = &self.told.troubles;
            troubles.tried(key, &event.reason, occasion.now, is_told);
        }
        created
    }

    /// Writes a status that differs from the one that is there. Whoever was faster owns it until it is listed again.
    async fn write<S: Statuses>(
        &self,
        statuses: &S,
        calls: &Calls,
        cluster: &str,
        id: &TargetId,
        new: impl FnOnce(&Json) -> Option<Json>,
    ) -> Result<(), Fault> {
        let key = (cluster.to_owned(), id.clone());
        let listed = self.statuses.borrow().get(&key).cloned();
        let Some(listed) = listed else {
            return Ok(());
        };
        let is_vain = |new: &Json| {
            *new == listed.status || self.told.unkept.is_vain(&key, &listed.status, new)
        };
        let Some(new) = new(&listed.status).filter(|new| !is_vain(new)) else {
            return Ok(());
        };
        let namespace = Namespace {
            cluster: cluster.to_owned(),
            name: id.namespace.clone(),
        };
        let seen = Version {
            uid: listed.uid.clone(),
            version: listed.version.clone(),
        };
        let what = format!("the status of ScaledObject `{id}`");
        let write = || statuses.write_status(&namespace, &id.name, &seen, &new);
        let result = self.call(calls, &namespace, &what, write).await;
        let mut known = self.statuses.borrow_mut();
        match result {
            // As it was before, with another status sent.
            Ok(version) if version == listed.version => {
                let untold = unkept(cluster, id, &listed.status, &new);
                if self.told.unkept.add(key, listed.status, new) {
                    self.unkept.borrow_mut().push(untold);
                }
                Ok(())
            }
            Ok(version) => {
                let written = ListedObject {
                    status: new,
                    version,
                    ..listed
                };
                known.insert(key, written);
                Ok(())
            }
            Err(fault) => {
                // Whether it was written is not known in each of these cases; a second attempt could only fail its test.
                known.remove(&key);
                if fault.kind == FaultKind::LostRace {
                    return Ok(());
                }
                Err(fault)
            }
        }
    }
}

/// What is said of Events for which there was no room.
fn left_out(count: usize) -> Option<Untold> {
    let message = format!(
        "{count} Events are left out: an invocation creates at most {MAX_EVENTS}; the log has every change"
    );
    (count > 0).then(|| Untold {
        target: format!("{count} of them"),
        fault: Fault::failed("TooManyEvents", message),
    })
}

/// What is said of a cluster that does not keep a status as it was sent.
fn unkept(cluster: &str, id: &TargetId, kept: &Json, sent: &Json) -> Untold {
    let sent_fields = sent.as_object().into_iter().flatten();
    let lost = sent_fields.filter(|(name, value)| kept.get(name) != Some(value));
    let lost: Vec<&str> = lost.map(|(name, _)| name.as_str()).collect();
    let message = format!(
        "cluster `{cluster}` does not keep `{}` in the status of a ScaledObject, since its CustomResourceDefinition is older than KEDA 2.20; \
         scaling does not need it; to see all of the status apply \
         https://github.com/kedacore/keda/releases/download/v2.20.2/keda-2.20.2-crds.yaml",
        lost.join("`, `")
    );
    Untold {
        target: id.to_string(),
        fault: Fault::failed("StatusNotKept", message),
    }
}

fn key_of(target: &Target, occasion: Occasion<'_>) -> Key {
    (cluster_of(target, occasion).to_owned(), target.id.clone())
}

fn cluster_of<'a>(target: &'a Target, occasion: Occasion<'a>) -> &'a str {
    target
        .cluster
        .as_deref()
        .unwrap_or(occasion.default_cluster)
}

#[cfg(test)]
mod tests;
