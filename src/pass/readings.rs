//! What the triggers of a pass read: each queue and each metric once, however many triggers share it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::hash::Hash;

use futures_util::future::{FutureExt as _, join_all};
use jiff::Timestamp;

use super::ledger::Group;
use super::{About, Calls, SharedRead};
use crate::budget::OverBudget;
use crate::decide::{QueueDepth, Reading};
use crate::manifest::Target;
use crate::policy::{CloudWatchTrigger, Identity, Metric, Queue, Trigger};
use crate::ports::{Fault, Sources};
use crate::turns::{Line, Turns};

/// Places of a service that have turns of their own. A function reads one region or two, as a few roles. What more tenants use comes
/// first, so that who names a hundred endpoints has the last place alone.
const MAX_PLACES: usize = 16;

/// Reads that nobody has begun yet; the first who waits for one does.
pub(super) struct Readings<'a, Q> {
    sources: &'a Q,
    calls: &'a Calls,
    now: Timestamp,
    wanted_queues: Wanted<Queue>,
    wanted_metrics: Wanted<Metric>,
    depths: HashMap<Queue, SharedRead<'a, QueueDepth>>,
    metrics: HashMap<Metric, SharedRead<'a, Option<i64>>>,
}

/// Who wants something to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Want {
    pub(super) party: usize,
    /// Whether it surely will be read: for a workload at rest it may not.
    pub(super) is_certain: bool,
}

/// All who want it.
#[derive(Debug, Default)]
struct Wants {
    parties: BTreeSet<usize>,
    is_certain: bool,
}

impl Wants {
    fn add(&mut self, Want { party, is_certain }: Want) {
        self.parties.insert(party);
        self.is_certain |= is_certain;
    }
}

/// What is to be read, and who wants it.
type Wanted<K> = HashMap<K, Wants>;

/// Where a reading comes from. One that does not answer takes no turns from another: region, endpoint, and who asks, since a role that
/// STS does not hand out is as bad as a region that is down.
type Origin<'k> = (&'k str, Option<&'k str>, &'k Identity);

impl<'a, Q: Sources> Readings<'a, Q> {
    pub(super) fn new(sources: &'a Q, calls: &'a Calls, now: Timestamp) -> Self {
        Self {
            sources,
            calls,
            now,
            wanted_queues: Wanted::new(),
            wanted_metrics: Wanted::new(),
            depths: HashMap::new(),
            metrics: HashMap::new(),
        }
    }

    /// Notes what a target reads, for the party that it belongs to. Metrics that are over the budget are not asked for.
    pub(super) fn add(&mut self, target: &Target, want: Want, is_over_budget: bool) {
        for trigger in &target.policy.triggers {
            match trigger {
                Trigger::SqsQueue(trigger) => {
                    let wanted = self.wanted_queues.entry(trigger.queue.clone());
                    wanted.or_default().add(want);
                }
                Trigger::CloudWatch(_) if is_over_budget => {}
                Trigger::CloudWatch(trigger) => {
                    let wanted = self.wanted_metrics.entry(trigger.metric.clone());
                    wanted.or_default().add(want);
                }
                Trigger::Cron(_) => {}
            }
        }
    }

    /// Makes ready what was added: whose each read is and where it goes is known now.
    pub(super) fn make_ready(&mut self) {
        let (sources, calls, now) = (self.sources, self.calls, self.now);
        let queues = std::mem::take(&mut self.wanted_queues);
        let in_lines = lines(queues, |queue| {
            (&queue.region, queue.endpoint.as_deref(), &queue.identity)
        });
        for (queue, line, is_certain) in in_lines {
            let read = in_line(&calls.sqs, line, is_certain, {
                let queue = queue.clone();
                move |line| depth(sources, calls, queue, line)
            });
            self.depths.insert(queue, read);
        }
        let metrics = std::mem::take(&mut self.wanted_metrics);
        let in_lines = lines(metrics, |metric| {
            (&metric.region, metric.endpoint.as_deref(), &metric.identity)
        });
        for (metric, line, is_certain) in in_lines {
            let read = in_line(&calls.cloudwatch, line, is_certain, {
                let metric = metric.clone();
                move |line| value(sources, calls, metric, now, line)
            });
            self.metrics.insert(metric, read);
        }
    }

    /// One reading for each trigger, in their order. Metrics that are over the budget are not asked for.
    pub(super) async fn of(
        &self,
        target: &Target,
        over_budget: Option<OverBudget>,
    ) -> Vec<Result<Reading, Fault>> {
        let triggers = target.policy.triggers.iter();
        let readings = triggers.map(async |trigger| match (trigger, over_budget) {
            (Trigger::CloudWatch(_), Some(over_budget)) => Err(over_budget.fault(target)),
            _ => self.of_trigger(trigger).await,
        });
        join_all(readings).await
    }

    async fn of_trigger(&self, trigger: &Trigger) -> Result<Reading, Fault> {
        match trigger {
            Trigger::SqsQueue(trigger) => {
                let depth = self.depths.get(&trigger.queue).cloned();
                wait(depth).await.map(Reading::Queue)
            }
            Trigger::CloudWatch(trigger) => {
                let value = wait(self.metrics.get(&trigger.metric).cloned()).await?;
                if value.is_none() && trigger.no_data_milli.is_none() {
                    return Err(no_data(trigger));
                }
                Ok(Reading::Metric(value))
            }
            Trigger::Cron(_) => Ok(Reading::Cron),
        }
    }
}

/// Gives each read a line, the parties that want it and the number of the place that it goes to, and tells whether it is certain.
fn lines<K: Hash + Eq>(
    wanted: Wanted<K>,
    origin: impl Fn(&K) -> Origin<'_>,
) -> Vec<(K, Line, bool)> {
    let mut users: BTreeMap<Origin<'_>, BTreeSet<usize>> = BTreeMap::new();
    for (key, Wants { parties, .. }) in &wanted {
        users.entry(origin(key)).or_default().extend(parties);
    }
    let mut origins: Vec<(Origin<'_>, usize)> = users
        .into_iter()
        .map(|(origin, parties)| (origin, parties.len()))
        .collect();
    origins.sort_by_key(|(_, parties)| std::cmp::Reverse(*parties));
    let places: BTreeMap<Origin<'_>, usize> = origins
        .into_iter()
        .enumerate()
        .map(|(place, (origin, _))| (origin, place.min(MAX_PLACES - 1)))
        .collect();
    let places: Vec<usize> = wanted
        .keys()
        .map(|key| places.get(&origin(key)).copied().unwrap_or_default())
        .collect();
    let lines = wanted.into_iter().zip(places);
    lines
        .map(|((key, wants), place)| {
            let parties = wants.parties.into_iter().collect();
            (key, Line { parties, place }, wants.is_certain)
        })
        .collect()
}

/// A read that is made when somebody waits for it, and that is announced now if somebody surely will.
fn in_line<'a, T: Clone + 'a, F: Future<Output = Result<T, Fault>> + 'a>(
    turns: &'a Turns,
    line: Line,
    is_certain: bool,
    read: impl FnOnce(Line) -> F + 'a,
) -> SharedRead<'a, T> {
    if is_certain {
        turns.expect(&line);
    }
    let read = async move {
        let result = read(line.clone()).await;
        if is_certain {
            turns.rest(&line);
        }
        result
    };
    read.boxed_local().shared()
}

async fn depth(
    sources: &impl Sources,
    calls: &Calls,
    queue: Queue,
    line: Line,
) -> Result<QueueDepth, Fault> {
    let about = About {
        turns: Some(&calls.sqs),
        line: &line,
        group: &Group::Queues(queue.region.clone()),
        count: 1,
        what: &format!("reading the queue `{}`", queue.address.name()),
        tells_hanging: true,
    };
    calls.read(about, || sources.depth(&queue)).await
}

async fn value(
    sources: &impl Sources,
    calls: &Calls,
    metric: Metric,
    now: Timestamp,
    line: Line,
) -> Result<Option<i64>, Fault> {
    let about = About {
        turns: Some(&calls.cloudwatch),
        line: &line,
        group: &Group::Metrics(metric.region.clone()),
        count: 1,
        what: &format!("reading the metric {metric}"),
        tells_hanging: true,
    };
    calls.read(about, || sources.metric(&metric, now)).await
}

/// What a shared read came to. Each trigger of a target has one; without it there would be no reading, never a zero.
async fn wait<T: Clone>(read: Option<SharedRead<'_, T>>) -> Result<T, Fault> {
    match read {
        Some(read) => read.await,
        None => Err(Fault::failed("NotRead", "the trigger was not read")),
    }
}

/// No data is an error where the manifest says so.
fn no_data(trigger: &CloudWatchTrigger) -> Fault {
    let metric = &trigger.metric;
    let message = format!(
        "CloudWatch has no data for the metric {metric} in {} in the {} s before {} s ago, and `ignoreNullValues` is false: the count is \
         held; check the names and dimensions (aws cloudwatch list-metrics --region {}), or a larger `metricCollectionTime`",
        metric.region, metric.collection_seconds, metric.end_offset_seconds, metric.region
    );
    Fault::failed("NoData", message)
}
