//! What the triggers of a pass read: each queue and each metric once, however many triggers share it.

use std::collections::HashMap;

use futures_util::future::{FutureExt as _, join_all};
use jiff::Timestamp;

use super::ledger::Group;
use super::{ACT_RESERVE, Calls, SharedRead};
use crate::budget::OverBudget;
use crate::decide::{QueueDepth, Reading};
use crate::manifest::Target;
use crate::policy::{CloudWatchTrigger, Metric, Queue, Trigger};
use crate::ports::{Fault, Sources};

/// Reads that nobody has begun yet; the first who waits for one does.
pub(super) struct Readings<'a, Q> {
    sources: &'a Q,
    calls: &'a Calls,
    now: Timestamp,
    depths: HashMap<Queue, SharedRead<'a, QueueDepth>>,
    metrics: HashMap<Metric, SharedRead<'a, Option<i64>>>,
}

impl<'a, Q: Sources> Readings<'a, Q> {
    pub(super) fn new(sources: &'a Q, calls: &'a Calls, now: Timestamp) -> Self {
        Self {
            sources,
            calls,
            now,
            depths: HashMap::new(),
            metrics: HashMap::new(),
        }
    }

    /// Makes ready what a target reads.
    pub(super) fn add(&mut self, target: &Target) {
        let (sources, calls, now) = (self.sources, self.calls, self.now);
        for trigger in &target.policy.triggers {
            match trigger {
                Trigger::SqsQueue(trigger) => {
                    let read = self.depths.entry(trigger.queue.clone());
                    read.or_insert_with_key(|queue| depth(sources, calls, queue.clone()));
                }
                Trigger::CloudWatch(trigger) => {
                    let read = self.metrics.entry(trigger.metric.clone());
                    read.or_insert_with_key(|metric| value(sources, calls, metric.clone(), now));
                }
                Trigger::Cron(_) => {}
            }
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

fn depth<'a>(
    sources: &'a impl Sources,
    calls: &'a Calls,
    queue: Queue,
) -> SharedRead<'a, QueueDepth> {
    let read = async move {
        let what = format!("reading the queue `{}`", queue.address.name());
        let depth = || sources.depth(&queue);
        let turns = Some(&calls.sqs);
        let group = Group::Queues(queue.region.clone());
        calls
            .bounded(turns, ACT_RESERVE, &group, 1, &what, depth)
            .await
    };
    read.boxed_local().shared()
}

fn value<'a>(
    sources: &'a impl Sources,
    calls: &'a Calls,
    metric: Metric,
    now: Timestamp,
) -> SharedRead<'a, Option<i64>> {
    let read = async move {
        let what = format!("reading the metric {metric}");
        let value = || sources.metric(&metric, now);
        let turns = Some(&calls.cloudwatch);
        let group = Group::Metrics(metric.region.clone());
        calls
            .bounded(turns, ACT_RESERVE, &group, 1, &what, value)
            .await
    };
    read.boxed_local().shared()
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
