//! The outside systems in memory. Every call may take its time, fail, or be carried out and its answer lost.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use jiff::Timestamp;
use outrigger::decide::{QueueDepth, Rollout, Workload};
use outrigger::manifest::WorkloadRef;
use outrigger::owners::{Autoscaler, ScaledObject, TargetRef};
use outrigger::policy::{Metric, MetricQuery, Queue};
use outrigger::ports::{
    Change, Fault, FaultKind, LiveMemories, Memories, Namespace, Place, Scaler, Seen,
    ShadowMemories, Sources, StateWrite, Workloads,
};

use crate::random::Random;
use crate::rules::{QUEUES, WORKLOADS};

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Depth,
    Metric,
    Read,
    Load,
    Owners,
    Store,
    Scale,
}

impl Call {
    pub(crate) const ALL: [Self; 7] = [
        Self::Depth,
        Self::Metric,
        Self::Read,
        Self::Load,
        Self::Owners,
        Self::Store,
        Self::Scale,
    ];
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It fails and does nothing.
    Fails,
    /// The deadline comes first.
    OutOfTime,
    /// It is told that it lost a race.
    LostRace,
    /// Nobody knows whether it was carried out; it was not.
    Unclear,
    /// It is carried out, and the answer gets lost.
    AnswerLost,
}

impl Trouble {
    pub(crate) const ALL: [Self; 5] = [
        Self::Fails,
        Self::OutOfTime,
        Self::LostRace,
        Self::Unclear,
        Self::AnswerLost,
    ];

    fn fault(self) -> Fault {
        match self {
            Self::Fails => Fault::failed("InternalError", "it failed"),
            Self::Unclear | Self::AnswerLost => Fault {
                kind: FaultKind::Unclear,
                ..Fault::failed("InternalError", "no answer")
            },
            Self::OutOfTime => Fault::out_of_time("this call", "it met trouble"),
            Self::LostRace => Fault::lost_race("it changed"),
        }
    }
}

/// A queue and what SQS says of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SqsQueue {
    pub(crate) holds: QueueDepth,
    pub(crate) shown: QueueDepth,
    pub(crate) stale_until: i64,
    pub(crate) is_down: bool,
    /// CloudWatch has no data of it.
    pub(crate) is_silent: bool,
}

/// A workload and how far its pods have followed.
#[derive(Debug, Clone)]
pub(crate) struct Pods {
    pub(crate) uid: u32,
    pub(crate) replicas: u32,
    pub(crate) ready: u32,
    pub(crate) rollout: Option<Rollout>,
}

/// A write that the world has seen.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    /// A key of the ConfigMap.
    Store {
        workload: usize,
        done: bool,
        key: String,
        text: String,
    },
    /// The same once more, after a change of the count that failed.
    TakeBack {
        workload: usize,
        done: bool,
        text: String,
    },
    /// A count.
    Scale {
        workload: usize,
        done: bool,
        change: Change,
    },
}

/// What one pass was told: what its decisions must come from.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) depths: BTreeMap<String, Result<QueueDepth, Fault>>,
    pub(crate) metrics: BTreeMap<String, Result<Option<i64>, Fault>>,
    pub(crate) workloads: [Option<Result<Seen, Fault>>; WORKLOADS.len()],
    pub(crate) keys: Option<Result<BTreeMap<String, String>, Fault>>,
    pub(crate) autoscalers: Option<Result<Vec<Autoscaler>, Fault>>,
    pub(crate) scaled_objects: Option<Result<Vec<ScaledObject>, Fault>>,
    pub(crate) stores: [Option<Store>; WORKLOADS.len()],
    pub(crate) scale_calls: [u32; WORKLOADS.len()],
    /// Writes that nobody has looked at yet.
    pub(crate) writes: Vec<Write>,
}

/// How a write of the memory ended, for the world and for the caller.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) done: bool,
    pub(crate) answer: Result<(), Fault>,
}

/// Everything outside the function.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) seconds: Cell<i64>,
    pub(crate) queues: RefCell<Vec<SqsQueue>>,
    pub(crate) pods: RefCell<Vec<Pods>>,
    /// `None` while there is no ConfigMap.
    pub(crate) keys: RefCell<Option<BTreeMap<String, String>>>,
    /// The workloads that somebody's autoscaler scales too, and whether anybody may look.
    pub(crate) owned: Cell<[bool; WORKLOADS.len()]>,
    pub(crate) owners_hidden: Cell<bool>,
    /// What the next calls meet, first come first served.
    pub(crate) troubles: RefCell<Vec<(Call, usize, Trouble)>>,
}

impl Servers {
    pub(crate) fn new() -> Self {
        let pods = WORKLOADS.iter().enumerate().map(|(workload, _)| Pods {
            uid: 0,
            replicas: 3,
            ready: 3,
            rollout: (workload == 0).then(Rollout::default),
        });
        Self {
            seconds: Cell::new(0),
            queues: RefCell::new(vec![SqsQueue::default(); QUEUES.len()]),
            pods: RefCell::new(pods.collect()),
            keys: RefCell::new(Some(BTreeMap::from([(
                "about".to_owned(),
                "a first key".to_owned(),
            )]))),
            owned: Cell::default(),
            owners_hidden: Cell::default(),
            troubles: RefCell::default(),
        }
    }

    /// Time goes by: pods start, work is done, SQS tells what it knows.
    pub(crate) fn wait(&self, seconds: u32, jitter: u64) {
        self.seconds.set(self.seconds.get() + i64::from(seconds));
        let mut ready = 0;
        for pods in self.pods.borrow_mut().iter_mut() {
            pods.ready = pods
                .replicas
                .min(pods.ready.saturating_add(1 + seconds / 10));
            ready += u64::from(pods.ready);
        }
        for queue in self.queues.borrow_mut().iter_mut() {
            let QueueDepth {
                visible,
                in_flight,
                delayed,
            } = &mut queue.holds;
            let done = ready * u64::from(seconds) / 20;
            let received = done.saturating_sub(*in_flight).min(*visible);
            *in_flight = in_flight.saturating_sub(done);
            *visible -= received;
            let taken = (ready * 2).saturating_sub(*in_flight).min(*visible);
            *visible -= taken;
            *in_flight += taken;
            *visible = visible.saturating_add(delayed.div_ceil(2));
            *delayed /= 2;
            // SQS counts in signed numbers.
            *visible = (*visible).min(u64::MAX / 4);
            if queue.stale_until <= self.seconds.get() {
                queue.shown = queue.holds;
                // An estimate is off by a few when there are many, and now and then shows one that is not there.
                queue.shown.visible = queue
                    .shown
                    .visible
                    .saturating_add(jitter % (1 + queue.holds.visible / 20).min(7));
            }
        }
    }

    fn trouble(&self, call: Call, index: usize) -> Option<Trouble> {
        let mut troubles = self.troubles.borrow_mut();
        let met = troubles
            .iter()
            .position(|(on, at, _)| (*on, *at) == (call, index))?;
        Some(troubles.remove(met).2)
    }
}

/// Whether work that meets some trouble is done, and what its caller is told.
fn carried_out<T>(
    trouble: Option<Trouble>,
    work: impl FnOnce() -> Result<T, Fault>,
) -> (bool, Result<T, Fault>) {
    match trouble {
        None => {
            let result = work();
            (result.is_ok(), result)
        }
        Some(Trouble::AnswerLost) => (work().is_ok(), Err(Trouble::AnswerLost.fault())),
        Some(trouble) => (false, Err(trouble.fault())),
    }
}

/// One pass' way to the servers.
pub(crate) struct Ports {
    pub(crate) servers: Rc<Servers>,
    pub(crate) told: Rc<RefCell<Told>>,
    pub(crate) pace: RefCell<Random>,
}

impl Ports {
    /// A call on its way: other things happen before it is carried out, and before its answer comes.
    async fn call<T>(
        &self,
        call: Call,
        index: usize,
        work: impl FnOnce() -> Result<T, Fault>,
        done: impl FnOnce(bool, &Result<T, Fault>),
    ) -> Result<T, Fault> {
        let (before, after) = {
            let mut pace = self.pace.borrow_mut();
            (pace.below(3), pace.below(3))
        };
        Turns(before).await;
        let trouble = self.servers.trouble(call, index);
        let (was_done, told) = carried_out(trouble, work);
        done(was_done, &told);
        Turns(after).await;
        told
    }
}

impl Ports {
    async fn list<T: Clone>(
        &self,
        index: usize,
        list: impl FnOnce() -> Result<Vec<T>, Fault>,
        keep: impl FnOnce(&mut Told, Result<Vec<T>, Fault>),
    ) -> Result<Vec<T>, Fault> {
        let list = || {
            if self.servers.owners_hidden.get() {
                return Err(Fault::failed("Forbidden", "no right to list"));
            }
            list()
        };
        self.call(Call::Owners, index, list, |_, told| {
            keep(&mut self.told.borrow_mut(), told.clone());
        })
        .await
    }
}

impl Sources for Ports {
    async fn depth(&self, queue: &Queue) -> Result<QueueDepth, Fault> {
        let name = queue.address.name();
        let index = QUEUES.iter().position(|queue| *queue == name).unwrap();
        let read = || {
            let queue = &self.servers.queues.borrow()[index];
            if queue.is_down {
                Err(Fault::failed("AccessDenied", "down"))
            } else {
                Ok(queue.shown)
            }
        };
        self.call(Call::Depth, index, read, |_, told| {
            let depths = &mut self.told.borrow_mut().depths;
            assert!(
                depths.insert(name.to_owned(), told.clone()).is_none(),
                "a queue was read twice"
            );
        })
        .await
    }

    async fn metric(&self, metric: &Metric, _: Timestamp) -> Result<Option<i64>, Fault> {
        let name = queue_of(metric).to_owned();
        let index = QUEUES.iter().position(|queue| *queue == name).unwrap();
        let read = || {
            let queue = &self.servers.queues.borrow()[index];
            let visible = i64::try_from(queue.shown.visible).unwrap();
            match queue {
                SqsQueue { is_down: true, .. } => Err(Fault::failed("Throttling", "slow down")),
                SqsQueue {
                    is_silent: true, ..
                } => Ok(None),
                _ => Ok(Some(visible.saturating_mul(1000))),
            }
        };
        self.call(Call::Metric, index, read, |_, told| {
            let metrics = &mut self.told.borrow_mut().metrics;
            assert!(
                metrics.insert(name, told.clone()).is_none(),
                "a metric was read twice"
            );
        })
        .await
    }
}

/// The queue that a metric is about.
pub(crate) fn queue_of(metric: &Metric) -> &str {
    let MetricQuery::Statistic { dimensions, .. } = &metric.query else {
        panic!("{metric} is not of these rules");
    };
    &dimensions[0].1
}

fn index_of(workload: &WorkloadRef) -> usize {
    let name = &workload.name;
    WORKLOADS.iter().position(|known| known == name).unwrap()
}

impl Workloads for Ports {
    async fn read(&self, place: &Place) -> Result<Seen, Fault> {
        let index = index_of(&place.workload);
        let read = || {
            let pods = &self.servers.pods.borrow()[index];
            let workload = Workload {
                replicas: pods.replicas,
                rollout: pods.rollout,
            };
            Ok(Seen {
                uid: pods.uid.to_string(),
                version: String::new(),
                resource: String::new(),
                workload,
            })
        };
        self.call(Call::Read, index, read, |_, told| {
            self.told.borrow_mut().workloads[index] = Some(told.clone());
        })
        .await
    }

    async fn autoscalers(&self, _: &Namespace) -> Result<Vec<Autoscaler>, Fault> {
        let list = || {
            let owned = self.servers.owned.get().into_iter().enumerate();
            let owned = owned.filter(|(_, is_owned)| *is_owned);
            Ok(owned
                .map(|(workload, _)| Autoscaler {
                    name: format!("hpa-{}", WORKLOADS[workload]),
                    target: reference(workload),
                    scaled_object: None,
                    is_labelled_keda: false,
                    frozen_within: None,
                })
                .collect())
        };
        self.list(0, list, |told, autoscalers| {
            told.autoscalers = Some(autoscalers);
        })
        .await
    }

    async fn scaled_objects(&self, _: &Namespace) -> Result<Vec<ScaledObject>, Fault> {
        let list = || Ok(Vec::new());
        self.list(1, list, |told, objects| told.scaled_objects = Some(objects))
            .await
    }
}

fn reference(workload: usize) -> TargetRef {
    let (version, kind) = if workload == 0 {
        ("argoproj.io/v1alpha1", "Rollout")
    } else {
        ("apps/v1", "Deployment")
    };
    TargetRef::new(version, kind, WORKLOADS[workload])
}

impl Scaler for Ports {
    async fn scale(&self, place: &Place, change: &Change) -> Result<(), Fault> {
        let workload = index_of(&place.workload);
        let write = || {
            let pods = &mut self.servers.pods.borrow_mut()[workload];
            if (pods.uid.to_string(), pods.replicas) != (change.uid.clone(), change.from) {
                return Err(Fault::lost_race("changed"));
            }
            pods.replicas = change.to;
            pods.ready = pods.ready.min(change.to);
            Ok(())
        };
        self.call(Call::Scale, workload, write, |done, _| {
            let change = change.clone();
            let mut told = self.told.borrow_mut();
            told.scale_calls[workload] += 1;
            told.writes.push(Write::Scale {
                workload,
                done,
                change,
            });
        })
        .await
    }
}

impl Memories for Ports {
    async fn load(&self, _: &Namespace) -> Result<BTreeMap<String, String>, Fault> {
        let load = || {
            let keys = self.servers.keys.borrow().clone();
            keys.ok_or_else(|| Fault::failed("NotFound", "no ConfigMap"))
        };
        self.call(Call::Load, 0, load, |_, told| {
            self.told.borrow_mut().keys = Some(told.clone());
        })
        .await
    }
}

impl LiveMemories for Ports {
    async fn store(&self, _: &Namespace, writes: &[StateWrite]) -> Vec<Result<(), Fault>> {
        self.write_keys(writes, WorkloadRef::key).await
    }
}

impl ShadowMemories for Ports {
    async fn store_shadow(&self, _: &Namespace, writes: &[StateWrite]) -> Vec<Result<(), Fault>> {
        self.write_keys(writes, WorkloadRef::shadow_key).await
    }
}

impl Ports {
    /// Some keys at once, or in several patches with other things between them. What one meets, the others may meet too.
    async fn write_keys(
        &self,
        writes: &[StateWrite],
        key_of: impl Fn(&WorkloadRef) -> String,
    ) -> Vec<Result<(), Fault>> {
        let (before, after, pause, is_shared) = {
            let mut pace = self.pace.borrow_mut();
            let (before, after) = (pace.below(3), pace.below(3));
            let pause = if pace.once_in(3) { pace.below(3) } else { 0 };
            (before, after, pause, pace.once_in(2))
        };
        let workloads = writes.iter().map(|write| index_of(&write.workload));
        let mut given_up = GivenUp {
            told: &self.told,
            workloads: workloads.collect(),
        };
        Turns(before).await;
        let mut troubles: Vec<Option<Trouble>> = writes
            .iter()
            .map(|write| self.servers.trouble(Call::Store, index_of(&write.workload)))
            .collect();
        // A lost race is always one of a single key.
        let met = troubles.iter().flatten().copied();
        let met = { met }.find(|trouble| *trouble != Trouble::LostRace);
        if is_shared && met.is_some() {
            troubles.fill(met);
        }
        let mut answers = Vec::new();
        for (write, trouble) in writes.iter().zip(troubles) {
            if !answers.is_empty() {
                Turns(pause).await;
            }
            given_up
                .workloads
                .retain(|left| *left != index_of(&write.workload));
            answers.push(self.write_key(write, key_of(&write.workload), trouble));
        }
        Turns(after).await;
        answers
    }

    fn write_key(
        &self,
        write: &StateWrite,
        key: String,
        trouble: Option<Trouble>,
    ) -> Result<(), Fault> {
        let StateWrite { workload, old, new } = write;
        let workload = index_of(workload);
        let swap = || {
            let mut keys = self.servers.keys.borrow_mut();
            let Some(keys) = keys.as_mut() else {
                return Err(Fault::failed("NotFound", "no ConfigMap"));
            };
            if keys.get(&key) != old.as_ref() {
                return Err(Fault::lost_race("changed"));
            }
            keys.insert(key.clone(), new.clone());
            Ok(())
        };
        let (done, answer) = carried_out(trouble, swap);
        let mut told = self.told.borrow_mut();
        let text = new.clone();
        if told.scale_calls[workload] > 0 || told.stores[workload].is_some() {
            told.writes.push(Write::TakeBack {
                workload,
                done,
                text,
            });
        } else {
            told.stores[workload] = Some(Store {
                done,
                answer: answer.clone(),
            });
            told.writes.push(Write::Store {
                workload,
                done,
                key,
                text,
            });
        }
        answer
    }
}

/// Writes that were asked for. Those that are left when the deadline comes are not carried out.
struct GivenUp<'t> {
    told: &'t RefCell<Told>,
    workloads: Vec<usize>,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        let mut told = self.told.borrow_mut();
        for workload in &self.workloads {
            if told.scale_calls[*workload] == 0 {
                told.stores[*workload] = Some(Store {
                    done: false,
                    answer: Err(Trouble::OutOfTime.fault()),
                });
            }
        }
    }
}

/// Gives others so many turns.
struct Turns(u64);

impl Future for Turns {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
