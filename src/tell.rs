//! What is told to the clusters after a pass: an Event about each workload that was scaled or has a new trouble, and the status
//! of each ScaledObject that is read from a cluster, where it changed.
//!
//! Telling comes after acting and never delays it: the counts are written by then. A steady pass has nothing to tell, so that it
//! writes nothing. Only live targets are told of: a target in shadow mode has somebody else who tells.

mod event;
mod status;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::time::Duration;

use futures_util::future::{join, join_all};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value as Json;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::manifest::{Configuration, ListedObject, Target, TargetId};
use crate::pass::{Effect, Outcome};
use crate::policy::Mode;
use crate::ports::{Event, Events, Fault, FaultKind, Namespace, Place, Statuses, Version};

/// What telling may take after one pass. The next poll waits for it.
const TELL_SECONDS: u64 = 5;

/// Calls at the same time: telling is never urgent, and the API servers have other work.
const MAX_CALLS: usize = 16;

/// Events of one invocation. Each is an object in etcd for an hour; a thousand workloads that scale at once are told by the log.
pub const MAX_EVENTS: usize = 100;

/// A trouble that comes and goes is told again only after so many minutes.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(10);

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

/// The troubles that were told, kept while the environment is warm. One that is new to a new environment is told once more.
#[derive(Debug, Default)]
pub struct Troubles(RefCell<HashMap<Key, Trouble>>);

#[derive(Debug)]
struct Trouble {
    reason: String,
    told: Timestamp,
    /// Whether the last pass had it, too.
    lasts: bool,
}

impl Troubles {
    /// Whether a target's trouble of now, if there is one, is to be told: it was not there a pass ago, nor told of late.
    fn is_new(&self, key: Key, reason: Option<&str>, now: Timestamp) -> bool {
        let mut known = self.0.borrow_mut();
        match (known.get_mut(&key), reason) {
            (Some(trouble), Some(reason)) if trouble.reason == reason => {
                let is_old = now.duration_since(trouble.told) >= AGAIN_AFTER;
                let is_new = !trouble.lasts && is_old;
                if is_new {
                    trouble.told = now;
                }
                trouble.lasts = true;
                is_new
            }
            (Some(trouble), None) => {
                trouble.lasts = false;
                false
            }
            (None, None) => false,
            (_, Some(reason)) => {
                let trouble = Trouble {
                    reason: reason.to_owned(),
                    told: now,
                    lasts: true,
                };
                known.insert(key, trouble);
                true
            }
        }
    }
}

/// What one invocation knows of what it tells.
#[derive(Debug)]
pub struct Teller<'f> {
    troubles: &'f Troubles,
    events_left: Cell<usize>,
    /// The statuses as they are, by object. Without one there is no object of ours, or somebody else writes it.
    statuses: RefCell<BTreeMap<Key, ListedObject>>,
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

/// The turns and the time for calls.
struct Calls {
    turns: Semaphore,
    limit: Instant,
}

impl Calls {
    fn new(deadline: Option<Instant>) -> Self {
        let limit = Instant::now() + Duration::from_secs(TELL_SECONDS);
        Self {
            turns: Semaphore::new(MAX_CALLS),
            limit: deadline.map_or(limit, |deadline| deadline.min(limit)),
        }
    }

    async fn bounded<T, F: Future<Output = Result<T, Fault>>>(
        &self,
        what: &str,
        call: impl FnOnce() -> F,
    ) -> Result<T, Fault> {
        let work = async {
            // Never closed.
            let _permit = self.turns.acquire().await.ok();
            Box::pin(call()).await
        };
        let done = timeout_at(self.limit, work).await;
        done.unwrap_or_else(|_| Err(Fault::out_of_time(what)))
    }
}

impl<'f> Teller<'f> {
    /// For one invocation, with the objects that were listed for it.
    #[must_use]
    pub fn new(troubles: &'f Troubles, objects: &[(String, ListedObject)]) -> Self {
        let statuses = objects.iter().map(|(cluster, object)| {
            let key = (cluster.clone(), object.id.clone());
            (key, object.clone())
        });
        Self {
            troubles,
            events_left: Cell::new(MAX_EVENTS),
            statuses: RefCell::new(statuses.collect()),
        }
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
        let events = live
            .iter()
            .flat_map(|(_, live)| self.events(*live, occasion));
        let events: Vec<(Place, TargetId, Event)> = events.collect();
        let created = events.iter().map(async |(place, id, event)| {
            let what = format!("an Event about `{id}`");
            let create = || voice.events.create(place, event);
            let created = calls.bounded(&what, create).await;
            created.err().map(|fault| Untold {
                target: id.to_string(),
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

    /// Writes into the objects that are refused why that is so.
    pub async fn refused<S: Statuses>(
        &self,
        statuses: &S,
        configuration: &Configuration,
        deadline: Option<Instant>,
    ) -> Vec<Untold> {
        let calls = Calls::new(deadline);
        let is_target = |(cluster, id): &Key| {
            let mut targets = configuration.targets.iter();
            targets.any(|target| target.id == *id && target.cluster.as_ref() == Some(cluster))
        };
        let keys: Vec<Key> = self.statuses.borrow().keys().cloned().collect();
        let refused = keys.iter().filter(|key| !is_target(key));
        let written = refused.map(async |(cluster, id)| {
            let new = |listed: &Json| status::refused(configuration, cluster, id, listed);
            let written = self.write(statuses, &calls, cluster, id, new).await;
            written.err().map(|fault| Untold {
                target: id.to_string(),
                fault,
            })
        });
        let written = join_all(written).await;
        written.into_iter().flatten().collect()
    }

    /// The Events of one outcome, while there are any left.
    fn events(&self, live: Live<'_, '_>, occasion: Occasion<'_>) -> Vec<(Place, TargetId, Event)> {
        let target = live.0.target;
        let cluster = cluster_of(target, occasion).to_owned();
        let trouble = event::trouble(live, occasion.now);
        let reason = trouble.as_ref().map(|event| event.reason.as_str());
        let key = (cluster.clone(), target.id.clone());
        // What was not looked at has neither more nor less trouble than before.
        let is_new =
            live.0.effect != Effect::NotReached && self.troubles.is_new(key, reason, occasion.now);
        let events = event::scaled(live, occasion.now).into_iter();
        let events = events.chain(trouble.filter(|_| is_new));
        let events = events.filter(|_| {
            let left = self.events_left.get();
            self.events_left.set(left.saturating_sub(1));
            left > 0
        });
        let place = Place {
            namespace: Namespace {
                cluster,
                name: target.id.namespace.clone(),
            },
            workload: target.workload.clone(),
        };
        events
            .map(|event| (place.clone(), target.id.clone(), event))
            .collect()
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
        let Some(new) = new(&listed.status).filter(|new| *new != listed.status) else {
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
        let result = calls.bounded(&what, write).await;
        let mut known = self.statuses.borrow_mut();
        match result {
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

fn cluster_of<'a>(target: &'a Target, occasion: Occasion<'a>) -> &'a str {
    target
        .cluster
        .as_deref()
        .unwrap_or(occasion.default_cluster)
}

/// A text that fits where the API wants it short.
fn shortened(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let mut end = max.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests;
