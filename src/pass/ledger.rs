//! What the calls of a pass were and how long they took, so that a message about lost time says what took it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::calls::seconds;
use crate::ports::Namespace;

/// Calls of one kind to one server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// Reads of queues in a region.
    Queues(String),
    /// Reads of metrics in a region.
    Metrics(String),
    /// Reads of workloads in a cluster.
    Workloads(String),
    /// Reads of the state in a namespace.
    StateReads(Namespace),
    /// Keys written to the state in a namespace.
    StateWrites(Namespace),
    /// Lists of what else may own the workloads of a namespace.
    Owners(Namespace),
    /// Writes of counts in a cluster.
    Counts(String),
}

/// The calls of a pass by group.
#[derive(Debug)]
pub(super) struct Ledger {
    entries: RefCell<BTreeMap<Group, Entry>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    count: usize,
    under_way: usize,
    /// Since when at least one is under way.
    since: Option<Instant>,
    /// How long at least one was under way before that.
    took: Duration,
}

/// Calls that are under way for as long as this exists, also when they are given up.
pub(super) struct UnderWay<'l> {
    ledger: &'l Ledger,
    group: Group,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            entries: RefCell::default(),
        }
    }

    /// Enters `count` calls that begin now.
    pub(super) fn begin(&self, group: &Group, count: usize) -> UnderWay<'_> {
        let mut entries = self.entries.borrow_mut();
        let entry = entries.entry(group.clone()).or_default();
        entry.count += count;
        entry.under_way += 1;
        entry.since.get_or_insert_with(Instant::now);
        UnderWay {
            ledger: self,
            group: group.clone(),
        }
    }

    /// The group that took the longest until now, in words.
    pub(super) fn longest(&self) -> Option<String> {
        let now = Instant::now();
        let entries = self.entries.borrow();
        let (group, entry) = entries
            .iter()
            .max_by_key(|(_, entry)| entry.took_until(now))?;
        let Entry { count, .. } = entry;
        let took = seconds(entry.took_until(now));
        let plural = if *count == 1 { "" } else { "s" };
        Some(format!("{count} {} took {took}", group.words(plural)))
    }
}

impl Entry {
    fn took_until(&self, now: Instant) -> Duration {
        let current = self.since.map(|since| now.saturating_duration_since(since));
        self.took + current.unwrap_or_default()
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        if let Some(entry) = self.ledger.entries.borrow_mut().get_mut(&self.group) {
            entry.under_way = entry.under_way.saturating_sub(1);
            if entry.under_way == 0 {
                entry.took = entry.took_until(now);
                entry.since = None;
            }
        }
    }
}

impl Group {
    fn words(&self, plural: &str) -> String {
        match self {
            Self::Queues(region) => format!("read{plural} of queues in {region}"),
            Self::Metrics(region) => format!("read{plural} of metrics in {region}"),
            Self::Workloads(cluster) => format!("read{plural} of workloads in cluster `{cluster}`"),
            Self::StateReads(namespace) => {
                format!("read{plural} of state in `{}/outrigger`", namespace.name)
            }
            Self::StateWrites(namespace) => {
                format!("state write{plural} to `{}/outrigger`", namespace.name)
            }
            Self::Owners(namespace) => {
                format!("list{plural} of other owners in `{}`", namespace.name)
            }
            Self::Counts(cluster) => format!("write{plural} of counts in cluster `{cluster}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_counts_once_however_many_calls_share_it() {
        let ledger = Ledger::new();
        assert_eq!(ledger.longest(), None);
        let namespace = Namespace {
            cluster: "prod".to_owned(),
            name: "shop".to_owned(),
        };
        let queues = Group::Queues("eu-west-1".to_owned());
        let first = ledger.begin(&queues, 1);
        tokio::time::advance(Duration::from_millis(1_500)).await;
        let second = ledger.begin(&queues, 1);
        drop(first);
        tokio::time::advance(Duration::from_secs(1)).await;
        let longest = || ledger.longest().unwrap();
        assert_eq!(longest(), "2 reads of queues in eu-west-1 took 2.5 s");
        drop(second);
        let writes = ledger.begin(&Group::StateWrites(namespace), 200);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(longest(), "2 reads of queues in eu-west-1 took 2.5 s");
        tokio::time::advance(Duration::from_secs(59)).await;
        drop(writes);
        // Between calls no time is counted.
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(longest(), "200 state writes to `shop/outrigger` took 61 s");
        drop(ledger.begin(&queues, 1));
        assert_eq!(longest(), "200 state writes to `shop/outrigger` took 61 s");
    }
}
