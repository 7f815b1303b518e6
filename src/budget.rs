//! Reads that cost money: each namespace has so many in an invocation, and what is over is a failed reading, never a value.
//!
//! A target has all of its reads in a pass or none: of a part of them it would hold all the same. Those that were left out longest
//! come first, so that it is not always the same ones; environments that know nothing of each other begin elsewhere at each turn.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;

use crate::fairness::start;
use crate::manifest::Target;
use crate::pass::{Due, Effect, Outcome};
use crate::policy::{Metric, Trigger};
use crate::ports::{Fault, Namespace};
use crate::settings::Settings;

/// The code of a reading that was left out.
pub const OVER_BUDGET: &str = "MetricBudget";

/// How often in a row each target was left out, kept while the environment is warm.
#[derive(Debug, Default)]
pub struct LeftOut(HashMap<Key, u32>);

/// Namespace and name of a ScaledObject.
type Key = (Namespace, String);

/// The paid reads of one invocation.
#[derive(Debug)]
pub struct Budget {
    /// Reads of a namespace; `None` for no limit.
    limit: Option<u32>,
    window_seconds: NonZeroU32,
    default_cluster: String,
    /// Which invocation it is, by its window.
    turn: i64,
    /// How many metrics the objects of a namespace name, each object its own.
    named: BTreeMap<Namespace, usize>,
    spent: BTreeMap<Namespace, u32>,
}

/// Why a target's metrics are not read in a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverBudget {
    /// Reads that its namespace has in an invocation.
    pub limit: u32,
    /// Different metrics that the target names.
    pub own: usize,
    /// Metrics that the objects of its namespace name, each object its own.
    pub named: usize,
    /// Seconds that an invocation covers.
    pub window_seconds: NonZeroU32,
}

impl LeftOut {
    /// Forgets the targets that are not there any more.
    pub fn keep(&mut self, budget: &Budget, targets: &[Target]) {
        if self.0.is_empty() {
            return;
        }
        let there: BTreeSet<Key> = targets.iter().map(|target| budget.key(target)).collect();
        self.0.retain(|key, _| there.contains(key));
    }
}

impl Budget {
    /// The budget of an invocation, with nothing spent. `targets` are all targets of the function; `turn` is one more in each window.
    #[must_use]
    pub fn new(settings: &Settings, targets: &[Target], turn: i64) -> Self {
        let mut budget = Self {
            limit: settings.metric_budget(),
            window_seconds: settings.window_seconds,
            default_cluster: settings.default_cluster().to_owned(),
            turn,
            named: BTreeMap::new(),
            spent: BTreeMap::new(),
        };
        for target in targets {
            let own: BTreeSet<&Metric> = metrics(target).collect();
            *budget.named.entry(budget.namespace(target)).or_default() += own.len();
        }
        budget
    }

    /// Which of the polls of a pass are over the budget, in their order. Each comes with whether it is made only where its target does
    /// not rest: those come last. Nothing is spent by this.
    #[must_use]
    pub fn over(&self, polls: &[(bool, &Target)], left_out: &LeftOut) -> Vec<Option<OverBudget>> {
        let mut over = vec![None; polls.len()];
        let Some(limit) = self.limit else {
            return over;
        };
        let mut by_namespace: BTreeMap<Namespace, Vec<usize>> = BTreeMap::new();
        for (place, (_, target)) in polls.iter().enumerate() {
            if metrics(target).next().is_some() {
                let namespace = self.namespace(target);
                by_namespace.entry(namespace).or_default().push(place);
            }
        }
        for (namespace, mut places) in by_namespace {
            let target = |place: &usize| polls.get(*place).copied();
            // Whatever the order in which they are polled.
            places.sort_by_key(|place| target(place).map(|(_, target)| &target.id.name));
            let first = start(self.turn, places.len());
            places.rotate_left(first);
            places.sort_by_key(|place| {
                let (unless_at_rest, target) = target(place)?;
                let times = left_out
                    .0
                    .get(&self.key(target))
                    .copied()
                    .unwrap_or_default();
                Some((unless_at_rest, Reverse(times)))
            });
            let spent = self.spent.get(&namespace).copied().unwrap_or_default();
            let mut left = usize::try_from(limit.saturating_sub(spent)).unwrap_or(usize::MAX);
            let mut read: BTreeSet<&Metric> = BTreeSet::new();
            for place in places {
                let Some((_, target)) = target(&place) else {
                    continue;
                };
                let own: BTreeSet<&Metric> = metrics(target).collect();
                let more = own.difference(&read).count();
                if more <= left {
                    left -= more;
                    read.extend(own);
                } else if let Some(over) = over.get_mut(place) {
                    *over = Some(OverBudget {
                        limit,
                        own: own.len(),
                        named: self.named.get(&namespace).copied().unwrap_or_default(),
                        window_seconds: self.window_seconds,
                    });
                }
            }
        }
        over
    }

    /// Takes in what came of the polls of a pass, in their order.
    pub fn note(&mut self, polls: &[Due<'_>], outcomes: &[Outcome<'_>], left_out: &mut LeftOut) {
        if self.limit.is_none() {
            return;
        }
        let mut read: BTreeMap<Namespace, BTreeSet<&Metric>> = BTreeMap::new();
        for (poll, outcome) in polls.iter().zip(outcomes) {
            let target = poll.target;
            // One that rests was not read, and lacks nothing.
            if outcome.effect == Effect::AtRest || metrics(target).next().is_none() {
                continue;
            }
            let key = self.key(target);
            if poll.over_budget.is_some() {
                let times = left_out.0.entry(key).or_default();
                *times = times.saturating_add(1);
            } else {
                left_out.0.remove(&key);
                let of_namespace = read.entry(key.0).or_default();
                of_namespace.extend(metrics(target));
            }
        }
        for (namespace, read) in read {
            let spent = self.spent.entry(namespace).or_default();
            *spent = spent.saturating_add(u32::try_from(read.len()).unwrap_or(u32::MAX));
        }
    }

    fn key(&self, target: &Target) -> Key {
        (self.namespace(target), target.id.name.clone())
    }

    fn namespace(&self, target: &Target) -> Namespace {
        let cluster = target.cluster.as_ref().unwrap_or(&self.default_cluster);
        Namespace {
            cluster: cluster.clone(),
            name: target.id.namespace.clone(),
        }
    }
}

/// The namespaces that ask for more than they have in an invocation, each poll at its interval. One sentence each.
#[cfg(feature = "cli")]
pub(crate) fn exceeded(settings: &Settings, targets: &[Target]) -> Vec<String> {
    let Some(limit) = settings.metric_budget() else {
        return Vec::new();
    };
    let budget = Budget::new(settings, &[], 0);
    let mut asked: BTreeMap<Namespace, u64> = BTreeMap::new();
    for target in targets {
        let interval = target.policy.polling_seconds.min(settings.poll_seconds());
        let (polls, _) = crate::render::polls(settings.window_seconds.get(), interval.get());
        let own: BTreeSet<&Metric> = metrics(target).collect();
        let own = u64::try_from(own.len()).unwrap_or(u64::MAX);
        let asked = asked.entry(budget.namespace(target)).or_default();
        *asked = asked.saturating_add(own.saturating_mul(polls));
    }
    let over = { asked.into_iter() }.filter(|(_, asked)| *asked > u64::from(limit));
    let sentence = |(Namespace { cluster, name }, asked)| {
        format!(
            "the objects in namespace {name} of cluster {cluster} ask for up to {asked} reads of metrics in an invocation, and have {limit} \
             (OUTRIGGER_MAX_METRIC_READS): more are failed readings, which hold the count; name fewer metrics, or poll less often"
        )
    };
    over.map(sentence).collect()
}

impl OverBudget {
    /// The failed reading, with the budget, what it is for, when it ends and what to do.
    #[must_use]
    pub fn fault(self, target: &Target) -> Fault {
        let Self {
            limit,
            own,
            named,
            window_seconds,
        } = self;
        let namespace = &target.id.namespace;
        let fits = u32::try_from(own).is_ok_and(|own| own <= limit);
        let message = if fits {
            format!(
                "the {limit} paid reads of namespace `{namespace}` in this invocation are used up, and its objects name {named} metrics; held \
                 for {} s at most; name fewer, poll less often, or ask the function's owner for a higher OUTRIGGER_MAX_METRIC_READS",
                self.longest(target, window_seconds)
            )
        } else {
            format!(
                "the object names {own} metrics, and namespace `{namespace}` has {limit} paid reads in an invocation; held until it names no \
                 more than that, or the function's owner sets a higher OUTRIGGER_MAX_METRIC_READS"
            )
        };
        Fault::failed(OVER_BUDGET, message)
    }

    /// Seconds until it has had its turn: as many invocations as its namespace needs for all of its metrics, or its own next poll
    /// where that is later.
    fn longest(self, target: &Target, window_seconds: NonZeroU32) -> u64 {
        let named = u64::try_from(self.named).unwrap_or(u64::MAX);
        let rounds = named.div_ceil(u64::from(self.limit.max(1))).max(1);
        let window = u64::from(window_seconds.get());
        let interval = u64::from(target.policy.polling_seconds.get());
        // Of some that do not fit together a part of a round may be left, so that half as many fit.
        let rounds = if rounds > 1 { rounds * 2 } else { rounds };
        rounds.saturating_mul(window.max(interval))
    }
}

/// The metrics that a target reads.
fn metrics(target: &Target) -> impl Iterator<Item = &Metric> {
    let triggers = target.policy.triggers.iter();
    triggers.filter_map(|trigger| match trigger {
        Trigger::CloudWatch(trigger) => Some(&trigger.metric),
        Trigger::SqsQueue(_) | Trigger::Cron(_) => None,
    })
}

#[cfg(test)]
mod tests;
