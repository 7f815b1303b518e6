//! One pass over the selected targets: observe, decide, act. The only caller of the ports.
//!
//! All targets run at the same time; the calls to each kind of server are bounded, not the targets, so that a slow
//! queue holds up nobody else. Each queue, each metric and each namespace's memory is read once, however many targets share it,
//! and so are a namespace's other owners, but only once a target is about to change its count.
//!
//! The state of all targets of a namespace is written together, in one conditional patch when they are ready at the same time;
//! then each target writes its count, all at the same time. A target that reads slowly delays the writes of the others by
//! [`WRITE_QUIET`], and many that become ready one after another by [`WRITE_AT_MOST`]; those that are later share the next patch.
//! Live and shadow targets have patches of their own.

mod act;
mod ledger;
mod readings;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{FutureExt as _, LocalBoxFuture, Shared, join, join3, pending, select};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::budget::{OVER_BUDGET, OverBudget};
use crate::calls::{Limits, by, seconds};
use crate::capacity;
use crate::decide::{Decision, Limit, Observation, Reading, Stop, decide};
use crate::manifest::Target;
use crate::owners::{self, Autoscaler, Conflict, ScaledObject};
use crate::policy::{Mode, Policy};
use crate::ports::{
    Fault, FaultKind, LiveMemories, Memories, Namespace, Nobody, Place, Scaler, Seen,
    ShadowMemories, Sources, Workloads,
};
use crate::state::{Author, State};
use crate::stop::{Known, LastStops, Mistake};
use crate::ticks::Found;
use crate::turns::{Hanging, Line, Numbers, Turns};
use act::{Act, Hand, Live, Remembered, Shadow, Task};
use ledger::{Group, Ledger};
use readings::{Readings, Want};
use writer::Writer;

/// Calls at the same time to one place: an API server, or SQS or CloudWatch in a region, by an endpoint and as an identity. At 20 ms a
/// call 32 make 1,600 a second, and a small Lambda can still shake hands with as many connections in its first second.
pub const MAX_CALLS: usize = 32;
/// Calls at the same time to SQS wherever it is, and as many to CloudWatch: a region that hangs leaves the turns of another one, and
/// the connections stay far below the 1,024 files that a Lambda may have open.
const MAX_CALLS_EVERYWHERE: usize = 2 * MAX_CALLS;
/// What one read or one write of state may take, retries included. The SDKs give up after 8 s; an API server is asked up to five times for 5 s each, which is
/// cut short here, so that the polls that come after are not late.
const CALL_AT_MOST: Duration = Duration::from_secs(10);
/// A call without an answer for this time hangs. One that was answered does not, however long its retries take: a server that asks
/// for patience is there.
const HANGS_AFTER: Duration = Duration::from_secs(4);
/// The codes of what was not answered, by the server or by STS.
const NO_ANSWER: [&str; 3] = ["Timeout", "ConnectionFailed", "NoCredentials"];
/// State that is ready to be written waits this long for that of other targets of its namespace: until no more has become ready
/// for a quarter of a second. Calls of a pass take 20 ms each, so that targets that are read at the same time share a patch, and
/// one whose queue answers slowly does not delay the others noticeably.
pub const WRITE_QUIET: Duration = Duration::from_millis(250);
/// State that is ready to be written waits at most this long, however steadily more becomes ready: two seconds, in which 3,200
/// calls are made, for a thousand targets and their workloads.
pub const WRITE_AT_MOST: Duration = Duration::from_secs(2);
/// A target is not acted on with less time than this left: two writes with one retry each.
const ACT_RESERVE: Duration = Duration::from_secs(3);

/// So long after its last write another function counts as one that scales the workload, too: as long as a foreign change counts in a
/// contest. After a hand-over from one function to another it ends by then, or with the first write of the new one.
const OTHER_FUNCTION: SignedDuration = SignedDuration::from_mins(10);

/// The outside of a pass: what it looks at, and the hands with which it acts. `H` is [`Hands`].
#[derive(Debug, Clone, Copy)]
pub struct World<'w, Q, W, M, H> {
    /// What triggers read.
    pub sources: &'w Q,
    /// Workloads to read.
    pub workloads: &'w W,
    /// What is remembered.
    pub memories: &'w M,
    /// What writes. Without it everything is decided and nothing is written at all: a dry run.
    pub hands: Option<H>,
}

/// What a pass writes with. Live targets are acted on through `scaler` and `memories`, shadow targets through
/// `shadow_memories` alone.
#[derive(Debug, Clone, Copy)]
pub struct Hands<'w, C, L, S> {
    /// Workloads to scale.
    pub scaler: &'w C,
    /// What is to be remembered.
    pub memories: &'w L,
    /// What is to be remembered of shadow targets.
    pub shadow_memories: &'w S,
}

impl<'w, Q, W, M> World<'w, Q, W, M, Hands<'w, Nobody, Nobody, Nobody>> {
    /// A world that is only looked at. It has no hands, and none can be given to it, since nobody is [`Nobody`].
    #[must_use]
    pub fn to_look_at(sources: &'w Q, workloads: &'w W, memories: &'w M) -> Self {
        Self {
            sources,
            workloads,
            memories,
            hands: None,
        }
    }
}

/// How a pass is run.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'p> {
    /// The time of this pass.
    pub now: Timestamp,
    /// When everything must be finished; `None` when that is not known.
    pub deadline: Option<Instant>,
    /// The cluster of targets that name none.
    pub default_cluster: &'p str,
    /// The most seconds between two polls of a target that is awake, whatever its `pollingInterval`; `None` where that alone counts.
    pub poll_seconds: Option<NonZeroU32>,
    /// What people have stopped.
    pub stops: &'p LastStops,
    /// The function that makes it, by region, account and name; `None` for what is none.
    pub function: Option<&'p str>,
    /// All that the function has to do with, polled now or not; `None` where that is not known in full.
    pub known: Option<&'p Known>,
}

/// A target to poll.
#[derive(Debug, Clone, Copy)]
pub struct Due<'t> {
    /// The target.
    pub target: &'t Target,
    /// Whether the workload is read first, and nothing else where it rests at zero or idle.
    pub unless_at_rest: bool,
    /// Why its metrics are not read, where they are not: each is a failed reading then.
    pub over_budget: Option<OverBudget>,
}

impl<'t> From<&&'t Target> for Due<'t> {
    fn from(target: &&'t Target) -> Self {
        Self {
            target,
            unless_at_rest: false,
            over_budget: None,
        }
    }
}

/// What came of a pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Passed<'t> {
    /// What came of each target, in the order in which they were given.
    pub outcomes: Vec<Outcome<'t>>,
    /// The namespaces whose ConfigMap was read.
    pub namespaces: Vec<Namespace>,
    /// What people should know of these namespaces, each once, in order.
    pub notices: Vec<Notice>,
}

/// What people should know of a namespace. It fails no target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Notice {
    /// The namespace.
    pub namespace: Namespace,
    /// The sentence, which names the namespace.
    pub text: String,
    /// Whether the invocation fails for it.
    pub is_error: bool,
}

/// What came of one target.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome<'t> {
    /// The target.
    pub target: &'t Target,
    /// What was seen, remembered and decided; `None` when the workload could not be read.
    pub decided: Option<Decided>,
    /// The workload as it was read, if it was.
    pub seen: Option<Seen>,
    /// What was done about it.
    pub effect: Effect,
    /// What went wrong on the way.
    pub faults: Vec<Fault>,
}

/// A decision and what it was made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// What was seen.
    pub observation: Observation,
    /// What was remembered.
    pub state: Option<State>,
    /// The decision.
    pub decision: Decision,
}

impl Decided {
    fn from(
        target: &Target,
        observation: Observation,
        state: Option<State>,
        now: Timestamp,
    ) -> Self {
        let decision = decide(&target.policy, &observation, state.as_ref(), now);
        Self {
            observation,
            state,
            decision,
        }
    }
}

/// What a pass did for a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The count was written.
    Scaled,
    /// It rests, and was not due: nothing but the workload was read.
    AtRest,
    /// There was no count to write.
    Held,
    /// There was, but this is a dry run.
    DryRun,
    /// There was, but the target is in shadow mode.
    Shadow,
    /// Somebody else was faster; this tick is theirs.
    LostRace,
    /// There was no time left.
    NotReached,
    /// There was a count to write, and it was not written, or nothing could be decided.
    NotDone,
}

impl Outcome<'_> {
    /// Whether this target fails the invocation.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        !self.faults.is_empty() || matches!(self.effect, Effect::NotReached | Effect::NotDone)
    }

    /// Whether all that went wrong is that metrics are over the budget.
    #[must_use]
    pub fn is_over_budget(&self) -> bool {
        let over = |fault: &Fault| fault.code == OVER_BUDGET;
        !self.faults.is_empty() && self.faults.iter().all(over)
    }

    /// What it says about when to look again.
    #[must_use]
    pub fn found(&self, now: Timestamp) -> Found {
        if self.effect == Effect::AtRest {
            return Found::Resting;
        }
        let Some(Decided { decision, .. }) = &self.decided else {
            return Found::QUIET;
        };
        let Policy { bounds, pause, .. } = &self.target.policy;
        let is_scaled = self.effect == Effect::Scaled;
        let count = if is_scaled {
            decision.to
        } else {
            decision.from
        };
        let is_paused = pause.all || pause.replicas.is_some();
        let holds_back_scale_out = matches!(
            decision.limited_by.last(),
            Some(Limit::ScaleOutPolicies | Limit::ScaleOutWindow)
        );
        let lets_go = decision.until.filter(|_| {
            holds_back_scale_out && matches!(self.effect, Effect::Scaled | Effect::Held)
        });
        let seconds = |until: Timestamp| until.duration_since(now).as_secs();
        Found::Polled {
            is_awake: bounds.rest() != Some(count) && !is_paused,
            was_raised: is_scaled && decision.to > decision.from && decision.to < bounds.max(),
            lets_go_in: lets_go.map(|until| u32::try_from(seconds(until)).unwrap_or_default()),
        }
    }

    /// Whether the decision lowers the count.
    #[must_use]
    pub fn is_scale_in(&self) -> bool {
        self.decided
            .as_ref()
            .is_some_and(|Decided { decision, .. }| decision.to < decision.from)
    }
}

/// Runs one pass. Every target gets an outcome, in the order of `targets`; nothing stops another target.
pub async fn run<'t, Q, W, M, C, L, S>(
    world: World<'_, Q, W, M, Hands<'_, C, L, S>>,
    targets: impl IntoIterator<Item = impl Into<Due<'t>>>,
    plan: Plan<'_>,
) -> Passed<'t>
where
    Q: Sources,
    W: Workloads,
    M: Memories,
    C: Scaler,
    L: LiveMemories,
    S: ShadowMemories,
{
    let targets: Vec<Due<'t>> = targets.into_iter().map(Into::into).collect();
    let clusters = { targets.iter() }.map(|due| plan.cluster(due.target).to_owned());
    let calls = Calls {
        began: Instant::now(),
        deadline: plan.deadline,
        ledger: Ledger::new(),
        namespaces: Numbers::new(),
        sqs: Turns::at_places(MAX_CALLS_EVERYWHERE, MAX_CALLS),
        cloudwatch: Turns::at_places(MAX_CALLS_EVERYWHERE, MAX_CALLS),
        clusters: clusters
            .map(|cluster| {
                let turns = ClusterTurns {
                    reads: Turns::new(MAX_CALLS),
                    acts: Turns::new(MAX_CALLS),
                };
                (cluster, turns)
            })
            .collect(),
    };
    let pass = &Pass { world, plan, calls };
    let shared = pass.shared_reads(&targets);
    // Calls come in the order in which their targets begin.
    let mut running: FuturesUnordered<_> = targets
        .iter()
        .enumerate()
        .map(|(index, due)| {
            pass.target(*due, &shared).map(move |outcome| {
                pass.calls.no_more_calls(&pass.place(due.target).namespace);
                (index, outcome)
            })
        })
        .collect();
    let mut outcomes = Vec::with_capacity(targets.len());
    let reaching = async {
        while let Some(outcome) = running.next().await {
            outcomes.push(outcome);
        }
    };
    // The writers have no end of their own.
    select(pin!(reaching), pin!(pass.write(&shared))).await;
    outcomes.sort_by_key(|(index, _)| *index);
    Passed {
        outcomes: outcomes.into_iter().map(|(_, outcome)| outcome).collect(),
        namespaces: shared
            .loaded()
            .map(|(namespace, _)| namespace)
            .cloned()
            .collect(),
        notices: shared.notices(plan.known),
    }
}

type SharedRead<'a, T> = Shared<LocalBoxFuture<'a, Result<T, Fault>>>;

/// Reads that several targets wait for.
struct SharedReads<'a, Q> {
    readings: Readings<'a, Q>,
    memories: BTreeMap<Namespace, SharedMemory<'a>>,
    owners: BTreeMap<Namespace, Shared<LocalBoxFuture<'a, Rc<Owners>>>>,
}

/// What may own the workloads of a namespace.
struct Owners {
    autoscalers: Result<Vec<Autoscaler>, Fault>,
    scaled_objects: Result<Vec<ScaledObject>, Fault>,
}

struct SharedMemory<'a> {
    keys: SharedRead<'a, Rc<BTreeMap<String, String>>>,
    live: Writer,
    shadow: Writer,
}

impl SharedMemory<'_> {
    /// What writes the state of targets in this mode.
    fn writer(&self, mode: Mode) -> &Writer {
        match mode {
            Mode::Live => &self.live,
            Mode::Shadow => &self.shadow,
        }
    }
}

impl<Q> SharedReads<'_, Q> {
    /// The namespaces whose ConfigMap was read, and its keys.
    fn loaded(&self) -> impl Iterator<Item = (&Namespace, &BTreeMap<String, String>)> {
        self.memories.iter().filter_map(|(namespace, memory)| {
            let keys = memory.keys.peek()?.as_ref().ok()?;
            Some((namespace, keys.as_ref()))
        })
    }

    /// What people should know of the namespaces that were read.
    fn notices(&self, known: Option<&Known>) -> Vec<Notice> {
        let mut notices = BTreeSet::new();
        for (namespace, keys) in self.loaded() {
            let full = capacity::warning(&namespace.name, keys);
            let mistakes = known.map(|known| known.mistakes(namespace, keys));
            let full = full.map(|text| Mistake {
                text,
                is_error: false,
            });
            let all = full.into_iter().chain(mistakes.into_iter().flatten());
            notices.extend(all.map(|Mistake { text, is_error }| Notice {
                namespace: namespace.clone(),
                text,
                is_error,
            }));
        }
        notices.into_iter().collect()
    }
}

struct Pass<'w, Q, W, M, C, L, S> {
    world: World<'w, Q, W, M, Hands<'w, C, L, S>>,
    plan: Plan<'w>,
    calls: Calls,
}

/// The turns and the time for calls.
struct Calls {
    began: Instant,
    deadline: Option<Instant>,
    ledger: Ledger,
    /// The parties that calls are for.
    namespaces: Numbers<Namespace>,
    sqs: Turns,
    cloudwatch: Turns,
    /// By cluster: one that does not answer takes no other's turns.
    clusters: BTreeMap<String, ClusterTurns>,
}

/// The turns at an API server. Reads that hang take none from the targets that were read.
struct ClusterTurns {
    reads: Turns,
    acts: Turns,
}

/// A call, for its turn and for messages.
#[derive(Clone, Copy)]
struct About<'a> {
    turns: Option<&'a Turns>,
    line: &'a Line,
    group: &'a Group,
    /// How many calls it counts as.
    count: usize,
    what: &'a str,
    /// Whether calls in the same line are left out when this one hangs.
    tells_hanging: bool,
}

impl Plan<'_> {
    /// The cluster that a target is in.
    fn cluster<'c>(&'c self, target: &'c Target) -> &'c str {
        target.cluster.as_deref().unwrap_or(self.default_cluster)
    }
}

impl Calls {
    /// The turns for reads at the API server of a cluster.
    fn to(&self, cluster: &str) -> Option<&Turns> {
        self.clusters.get(cluster).map(|turns| &turns.reads)
    }

    /// The turns for what comes after a decision.
    fn acts_on(&self, cluster: &str) -> Option<&Turns> {
        self.clusters.get(cluster).map(|turns| &turns.acts)
    }

    /// The line of a namespace at the API server of its cluster.
    fn line(&self, namespace: &Namespace) -> Line {
        Line {
            parties: vec![self.namespaces.of(namespace)],
            place: 0,
        }
    }

    /// Announces the calls of a target of this namespace.
    fn expect_calls(&self, namespace: &Namespace) {
        if let Some(ClusterTurns { reads, acts }) = self.clusters.get(&namespace.cluster) {
            let line = self.line(namespace);
            reads.expect(&line);
            acts.expect(&line);
        }
    }

    /// A target of this namespace makes no more calls.
    fn no_more_calls(&self, namespace: &Namespace) {
        if let Some(ClusterTurns { reads, acts }) = self.clusters.get(&namespace.cluster) {
            let line = self.line(namespace);
            reads.rest(&line);
            acts.rest(&line);
        }
    }

    /// Reads in its turn and within [`CALL_AT_MOST`], with time left to act. Where calls like this one hang it is left out.
    async fn read<T, F: Future<Output = Result<T, Fault>>>(
        &self,
        about: About<'_>,
        call: impl FnOnce() -> F,
    ) -> Result<T, Fault> {
        let limit = self.before_deadline(ACT_RESERVE);
        let limits = Limits::at(limit);
        self.within(about, limits, Some(CALL_AT_MOST), call).await
    }

    /// Waits for its turn, then calls, giving up at these limits, and when the call took longer than `longest`. It enters the ledger
    /// without the time in which it waits for its turn.
    async fn within<T, F: Future<Output = Result<T, Fault>>>(
        &self,
        about: About<'_>,
        limits: Limits,
        longest: Option<Duration>,
        call: impl FnOnce() -> F,
    ) -> Result<T, Fault> {
        let About {
            turns,
            line,
            group,
            count,
            what,
            tells_hanging,
        } = about;
        // Without turns a call is only unbounded.
        let turn = async {
            match turns {
                Some(turns) => turns.take(line.clone()).await.map(Some),
                None => Ok(None),
            }
        };
        let turn = match by(limits.begin, turn).await {
            Some(Ok(turn)) => turn,
            Some(Err(Hanging)) => return Err(left_out(what)),
            None => return Err(self.out_of_time(what)),
        };
        let begun = Instant::now();
        let longest = longest.map(|longest| begun + longest);
        let end = longest.into_iter().chain(limits.end).min();
        let under_way = self.ledger.begin(group, count);
        // Set up when its turn has come, and in memory of its own: a call in an SDK is tens of kilobytes large, and of a thousand
        // targets most are waiting.
        let ended = by(end, async { Box::pin(call()).await }).await;
        drop(under_way);
        let is_answered = match &ended {
            Some(Ok(_)) => true,
            Some(Err(fault)) => !NO_ANSWER.contains(&fault.code.as_str()),
            None => false,
        };
        if let Some(turn) = turn.as_ref().filter(|_| tells_hanging) {
            if is_answered || begun.elapsed() < HANGS_AFTER {
                turn.answered();
            } else {
                turn.hung();
            }
        }
        ended.unwrap_or_else(|| {
            let is_over = limits.end.is_some_and(|limit| limit <= Instant::now());
            Err(if is_over {
                self.out_of_time(what)
            } else {
                too_slow(what)
            })
        })
    }

    /// When only `reserve` is left of the invocation.
    fn before_deadline(&self, reserve: Duration) -> Option<Instant> {
        let deadline = self.deadline?;
        Some(deadline.checked_sub(reserve).unwrap_or(deadline))
    }

    /// No time left, with the calls that took the most of it.
    fn out_of_time(&self, what: &str) -> Fault {
        let left = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(self.began));
        let cause = match left {
            Some(left) if left < ACT_RESERVE => format!(
                "the pass began with {} left, and {} are kept for its writes",
                seconds(left),
                seconds(ACT_RESERVE)
            ),
            Some(_) | None => {
                let longest = self.ledger.longest();
                longest.unwrap_or_else(|| "no call was made".to_owned())
            }
        };
        Fault::out_of_time(what, &cause)
    }

    /// Whether there is time to act and to finish it.
    fn has_time(&self) -> bool {
        self.deadline.is_none_or(|deadline| {
            deadline.saturating_duration_since(Instant::now()) >= ACT_RESERVE
        })
    }
}

impl<Q, W, M, C, L, S> Pass<'_, Q, W, M, C, L, S>
where
    Q: Sources,
    W: Workloads,
    M: Memories,
    C: Scaler,
    L: LiveMemories,
    S: ShadowMemories,
{
    fn place(&self, target: &Target) -> Place {
        let cluster = self.plan.cluster(target).to_owned();
        Place {
            namespace: Namespace {
                cluster,
                name: target.id.namespace.clone(),
            },
            workload: target.workload.clone(),
        }
    }

    fn shared_reads<'s>(&'s self, targets: &[Due<'_>]) -> SharedReads<'s, Q> {
        let mut reads = SharedReads {
            readings: Readings::new(self.world.sources, &self.calls, self.plan.now),
            memories: BTreeMap::new(),
            owners: BTreeMap::new(),
        };
        for Due {
            target,
            over_budget,
            unless_at_rest,
        } in targets
        {
            let namespace = self.place(target).namespace;
            let want = Want {
                party: self.calls.namespaces.of(&namespace),
                is_certain: !unless_at_rest,
            };
            reads.readings.add(target, want, over_budget.is_some());
            self.calls.expect_calls(&namespace);
            reads
                .owners
                .entry(namespace.clone())
                .or_insert_with_key(|namespace| {
                    self.owners(namespace.clone()).boxed_local().shared()
                });
            reads
                .memories
                .entry(namespace)
                .or_insert_with_key(|namespace| {
                    let namespace = namespace.clone();
                    let read = async move {
                        let load = || self.world.memories.load(&namespace);
                        let about = About {
                            turns: self.calls.to(&namespace.cluster),
                            line: &self.calls.line(&namespace),
                            group: &Group::StateReads(namespace.clone()),
                            count: 1,
                            what: &format!(
                                "reading the ConfigMap `{}/outrigger` in cluster `{}`",
                                namespace.name, namespace.cluster
                            ),
                            tells_hanging: true,
                        };
                        self.calls.read(about, load).await.map(Rc::new)
                    };
                    let latest = self.calls.before_deadline(ACT_RESERVE);
                    SharedMemory {
                        keys: read.boxed_local().shared(),
                        live: Writer::new(latest),
                        shadow: Writer::new(latest),
                    }
                })
                .writer(target.policy.mode)
                .expect_target();
        }
        reads.readings.make_ready();
        reads
    }

    /// Sends the state that targets want written, for ever. Without hands there is none.
    async fn write(&self, shared: &SharedReads<'_, Q>) {
        let calls = &self.calls;
        if let Some(Hands {
            scaler,
            memories,
            shadow_memories,
        }) = self.world.hands
        {
            let live = &Live { scaler, memories };
            let shadow = &Shadow {
                memories: shadow_memories,
            };
            let writers = shared.memories.iter().map(|(namespace, memory)| {
                join(
                    write(&memory.live, namespace, Act { hand: live, calls }),
                    write(
                        &memory.shadow,
                        namespace,
                        Act {
                            hand: shadow,
                            calls,
                        },
                    ),
                )
            });
            let mut writers: FuturesUnordered<_> = writers.collect();
            while writers.next().await.is_some() {}
        }
        pending::<()>().await;
    }

    /// Begun by the first target that asks: while nothing is to be written, nobody looks.
    async fn owners(&self, namespace: Namespace) -> Rc<Owners> {
        let about = About {
            // A part of acting: reads that hang must not hold it up.
            turns: self.calls.acts_on(&namespace.cluster),
            line: &self.calls.line(&namespace),
            group: &Group::Owners(namespace.clone()),
            count: 1,
            what: &format!(
                "looking for other autoscalers in `{}` in cluster `{}`",
                namespace.name, namespace.cluster
            ),
            // The writes of the namespace are in the same line.
            tells_hanging: false,
        };
        let autoscalers = || self.world.workloads.autoscalers(&namespace);
        let scaled_objects = || self.world.workloads.scaled_objects(&namespace);
        let (autoscalers, scaled_objects) = join(
            self.calls.read(about, autoscalers),
            self.calls.read(about, scaled_objects),
        )
        .await;
        Rc::new(Owners {
            autoscalers,
            scaled_objects,
        })
    }

    async fn target<'t>(&self, due: Due<'t>, shared: &SharedReads<'_, Q>) -> Outcome<'t> {
        let target = due.target;
        let place = self.place(target);
        let mut outcome = Outcome {
            target,
            decided: None,
            seen: None,
            effect: Effect::NotDone,
            faults: Vec::new(),
        };
        let Some(memory) = shared.memories.get(&place.namespace) else {
            return outcome;
        };
        let turn = memory.writer(target.policy.mode).turn();
        let mut workload = None;
        if due.unless_at_rest {
            let seen = self.workload(&place).await;
            let rest = target.policy.bounds.rest();
            if rest.is_some() && seen.as_ref().ok().map(|seen| seen.workload.replicas) == rest {
                outcome.effect = Effect::AtRest;
                return outcome;
            }
            workload = Some(seen);
        }
        let workload = async {
            match workload {
                Some(seen) => seen,
                None => self.workload(&place).await,
            }
        };
        let readings = shared.readings.of(target, due.over_budget);
        let (workload, readings, keys) = join3(workload, readings, memory.keys.clone()).await;

        let faults = readings.iter().filter_map(|reading| reading.as_ref().err());
        let faults = faults
            .chain(workload.as_ref().err())
            .chain(keys.as_ref().err());
        let ran_out = faults
            .into_iter()
            .any(|fault| fault.kind == FaultKind::OutOfTime);
        if ran_out || !self.calls.has_time() {
            return self.not_reached(outcome);
        }
        outcome.faults.extend(failed(&readings));
        outcome.faults.extend(keys.as_ref().err().cloned());
        let seen = match workload {
            Ok(seen) => seen,
            Err(fault) => {
                outcome.faults.push(fault);
                return outcome;
            }
        };
        let stop = self.stop(&place, keys.as_deref());
        let keys = keys.ok();
        let old = keys.as_ref().and_then(|keys| keys.get(&target.state_key()));
        // One that cannot be read is as good as none, and written anew.
        let state = old.and_then(|text| {
            let told = |problems| outcome.faults.push(unreadable_state(target, &problems));
            State::parse(text).map_err(told).ok()
        });
        let readings = readings.into_iter().map(|reading| {
            reading.unwrap_or_else(|Fault { code, .. }| Reading::Failed { error: code })
        });
        let observation = Observation {
            workload: seen.workload,
            readings: readings.collect(),
            stop,
            conflicts: stale(target),
            poll_seconds: { self.plan.poll_seconds }
                .filter(|seconds| *seconds < target.policy.polling_seconds),
        };
        let decided = Decided::from(target, observation, state, self.plan.now);
        let faults = &mut outcome.faults;
        let Some(decided) = self.with_owners(target, decided, shared, faults).await else {
            return self.not_reached(outcome);
        };
        let contest = { decided.decision.contested }.then(|| contested(&place));
        let other = self.other_function(target, decided.state.as_ref());
        outcome.faults.extend(contest.into_iter().chain(other));
        let author = self.author();
        let remembered = keys.is_some().then_some(Remembered {
            turn: &turn,
            old: old.map(String::as_str),
            is_current: decided.state.as_ref() == Some(&decided.decision.state),
            author: author.as_ref(),
        });
        outcome.effect = self
            .act(
                target,
                &place,
                &seen,
                &decided,
                remembered,
                &mut outcome.faults,
            )
            .await;
        outcome.decided = Some(decided);
        outcome.seen = Some(seen);
        outcome
    }

    /// Who writes the state.
    fn author(&self) -> Option<Author> {
        Some(Author {
            function: self.plan.function?.to_owned(),
            at: self.plan.now,
        })
    }

    /// Another function that has lately written the state of a target. The two take each other's changes for their own, so that no
    /// contest is ever seen, however different their bounds are.
    fn other_function(&self, target: &Target, state: Option<&State>) -> Option<Fault> {
        let (own, by) = (self.plan.function?, state?.by.as_ref()?);
        let ago = self.plan.now.duration_since(by.at).abs();
        if by.function == own || ago >= OTHER_FUNCTION {
            return None;
        }
        let other = crate::document::quoted(&by.function);
        let name = by.function.rsplit('/').next().unwrap_or_default();
        let message = format!(
            "the function {other} scales {} `{}` too, with the state in the same ConfigMap, and this function is `{own}`; leave it \
             to one of them: take the object out of the configuration of the other, or switch that one off (aws lambda \
             put-function-concurrency --function-name {} --reserved-concurrent-executions 0). After a hand-over this ends by itself \
             within {} minutes",
            target.workload.kind.kind(),
            target.id,
            if is_function_name(name) { name } else { "NAME" },
            OTHER_FUNCTION.as_mins(),
        );
        Some(Fault::failed("OtherFunction", message))
    }

    /// What people have stopped of a workload.
    fn stop(&self, place: &Place, keys: Result<&BTreeMap<String, String>, &Fault>) -> Stop {
        let Plan { stops, now, .. } = self.plan;
        stops.of(&place.namespace, keys, &place.workload, now)
    }

    async fn workload(&self, place: &Place) -> Result<Seen, Fault> {
        let Place {
            namespace,
            workload,
        } = place;
        let (kind, name) = (workload.kind.kind(), &workload.name);
        let about = About {
            turns: self.calls.to(&namespace.cluster),
            line: &self.calls.line(namespace),
            group: &Group::Workloads(namespace.cluster.clone()),
            count: 1,
            what: &format!(
                "reading {kind} `{}/{name}` in cluster `{}`",
                namespace.name, namespace.cluster
            ),
            tells_hanging: true,
        };
        let read = || self.world.workloads.read(place);
        self.calls.read(about, read).await
    }

    fn not_reached<'t>(&self, mut outcome: Outcome<'t>) -> Outcome<'t> {
        let what = format!("target `{}`", outcome.target.id);
        outcome.effect = Effect::NotReached;
        outcome.faults.push(self.calls.out_of_time(&what));
        outcome
    }

    /// The decision, made again with the other owners where it depends on them. `None` when there is no time left.
    async fn with_owners(
        &self,
        target: &Target,
        decided: Decided,
        shared: &SharedReads<'_, Q>,
        faults: &mut Vec<Fault>,
    ) -> Option<Decided> {
        let Decided {
            mut observation,
            state,
            decision,
        } = decided;
        let owners = shared.owners.get(&self.place(target).namespace);
        let depends = match target.policy.mode {
            // Who only looks sees before the first write who else scales there.
            Mode::Live if self.world.hands.is_none() => true,
            Mode::Live => decision.depends_on_owners(state.as_ref()),
            // Only to tell who they are.
            Mode::Shadow => decision.is_scale(),
        };
        let (true, Some(owners)) = (depends, owners) else {
            return Some(Decided {
                observation,
                state,
                decision,
            });
        };
        let owners = owners.clone().await;
        if owners.ran_out() || !self.calls.has_time() {
            return None;
        }
        if target.policy.mode == Mode::Live {
            faults.extend(owners.faults().cloned());
        }
        let conflicts = owners.conflicts(target, (decision.from, decision.to));
        observation.conflicts.extend(conflicts);
        Some(Decided::from(target, observation, state, self.plan.now))
    }

    async fn act(
        &self,
        target: &Target,
        place: &Place,
        seen: &Seen,
        decided: &Decided,
        remembered: Option<Remembered<'_>>,
        faults: &mut Vec<Fault>,
    ) -> Effect {
        let Some(Hands {
            scaler,
            memories,
            shadow_memories,
        }) = self.world.hands
        else {
            return if decided.decision.is_scale() {
                Effect::DryRun
            } else {
                Effect::Held
            };
        };
        let task = Task {
            target,
            place,
            seen,
            decided,
        };
        let calls = &self.calls;
        match target.policy.mode {
            Mode::Live => {
                let hand = &Live { scaler, memories };
                Act { hand, calls }.run(task, remembered, faults).await
            }
            Mode::Shadow => {
                let hand = &Shadow {
                    memories: shadow_memories,
                };
                Act { hand, calls }.run(task, remembered, faults).await
            }
        }
    }
}

/// One read took longer than any may.
fn too_slow(what: &str) -> Fault {
    let message = format!(
        "{what} took too long: no whole answer within {}; check the way to the server; the next pass tries again",
        seconds(CALL_AT_MOST)
    );
    Fault::failed("Timeout", message)
}

/// Calls like this one hang, and this one is not made.
fn left_out(what: &str) -> Fault {
    let message = format!(
        "{what} was left out: the last reads of this namespace there had no answer in time, and this one would only wait as long; \
         check the way to the server; the next pass tries again"
    );
    Fault::failed("Timeout", message)
}

async fn write<H: Hand>(writer: &Writer, namespace: &Namespace, act: Act<'_, H>) {
    writer
        .run(async |writes| act.store(namespace, writes).await)
        .await;
}

impl Owners {
    fn faults(&self) -> impl Iterator<Item = &Fault> {
        let autoscalers = self.autoscalers.as_ref().err();
        autoscalers
            .into_iter()
            .chain(self.scaled_objects.as_ref().err())
    }

    fn ran_out(&self) -> bool {
        self.faults()
            .any(|fault| fault.kind == FaultKind::OutOfTime)
    }

    /// What is known about a workload whose count would change so. Nobody knows what a list left out that failed.
    fn conflicts(&self, target: &Target, change: (u32, u32)) -> Vec<Conflict> {
        let Self {
            autoscalers,
            scaled_objects,
        } = self;
        let unknown = self.faults().map(|fault| Conflict::Unknown {
            error: fault.code.clone(),
        });
        let known = match (autoscalers, scaled_objects) {
            (Ok(autoscalers), scaled_objects) => {
                let scaled_objects = scaled_objects.as_deref().unwrap_or_default();
                owners::conflicts(&target.workload, change, autoscalers, scaled_objects)
            }
            // Without the autoscalers a ScaledObject says nothing.
            (Err(_), _) => Vec::new(),
        };
        unknown.chain(known).collect()
    }
}

/// What is known before anybody looks: who stopped or changed a target that cannot be read any more is not.
fn stale(target: &Target) -> Vec<Conflict> {
    let error = || Conflict::Unknown {
        error: owners::STALE.to_owned(),
    };
    target.is_stale.then(error).into_iter().collect()
}

/// Why readings failed, each reason once: a hundred triggers may lack one thing.
fn failed(readings: &[Result<Reading, Fault>]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for fault in readings.iter().filter_map(|reading| reading.as_ref().err()) {
        if !faults.contains(fault) {
            faults.push(fault.clone());
        }
    }
    faults
}

/// Whether it can be shown in a command: anybody who may patch the ConfigMap can have written it.
fn is_function_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    !name.is_empty() && name.len() <= 64 && name.bytes().all(is_plain)
}

/// Named at every pass until it is quiet, since only a person can end it.
fn contested(place: &Place) -> Fault {
    let Place {
        namespace,
        workload,
    } = place;
    let (kind, name) = (&workload.kind, &workload.name);
    let message = format!(
        "somebody else keeps changing the count of {} `{}/{name}`: look for a cron job, a person with kubectl, or Argo CD's self-heal, \
         whose Application then needs ignoreDifferences: [{{group: {}, kind: {}, jsonPointers: [/spec/replicas]}}] and syncPolicy: \
         {{syncOptions: [RespectIgnoreDifferences=true]}}; kubectl get {} {name} -n {} -o yaml --show-managed-fields names the last writers",
        kind.kind(),
        namespace.name,
        kind.group(),
        kind.kind(),
        kind.kubectl_name(),
        namespace.name,
    );
    Fault::failed("Contested", message)
}

fn unreadable_state(target: &Target, problems: &crate::fields::Problems) -> Fault {
    let first = problems
        .list
        .first()
        .map(ToString::to_string)
        .unwrap_or_default();
    let message = format!(
        "the state of target `{}` in key `{}` of ConfigMap `{}/outrigger` cannot be read ({first}): it is begun anew: scale-in waits a whole window, zero and idle a whole cooldown",
        target.id,
        target.state_key(),
        target.id.namespace,
    );
    Fault::failed("StateUnreadable", message)
}

#[cfg(test)]
mod tests;
