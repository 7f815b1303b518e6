//! The queues: real messages that become visible, are in flight and are delayed by wall-clock time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use super::fault::{Fault, FaultPlan};
use super::lock;

/// What SQS answers when a queue says nothing else.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html>
const DEFAULT_VISIBILITY_TIMEOUT: Duration = Duration::from_secs(30);

/// A handle on every queue; cloning it shares them.
#[derive(Clone, Debug)]
pub struct Queues {
    address: Arc<Address>,
    state: Arc<Mutex<State>>,
}

/// The three counts that SQS reports, in messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// `ApproximateNumberOfMessages`.
    pub visible: u64,
    /// `ApproximateNumberOfMessagesNotVisible`.
    pub in_flight: u64,
    /// `ApproximateNumberOfMessagesDelayed`.
    pub delayed: u64,
}

impl Queues {
    pub(super) fn new(base: String, account: String) -> Self {
        Self {
            address: Arc::new(Address { base, account }),
            state: Arc::default(),
        }
    }

    /// Creates an empty queue, or leaves the one of that name as it is.
    pub fn create(&self, name: &str) {
        self.create_with(name, &BTreeMap::new());
    }

    /// `http://127.0.0.1:PORT/ACCOUNT/NAME`, whether or not the queue exists.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.address.base, self.address.account)
    }

    /// Sends `count` visible messages, creating the queue if there is none.
    pub fn send(&self, name: &str, count: usize) {
        self.create(name);
        self.with(name, |queue| {
            for _ in 0..count {
                queue.send("{}".to_owned(), None);
            }
        });
    }

    /// Takes up to `count` visible messages in flight, where they stay until [`Queues::finish`].
    pub fn receive(&self, name: &str, count: usize) {
        self.with(name, |queue| queue.receive(count, Timestamp::MAX));
    }

    /// Deletes up to `count` messages in flight, those without a visibility timeout first.
    pub fn finish(&self, name: &str, count: usize) {
        self.with(name, |queue| queue.finish(count));
    }

    /// Reports these counts, whatever the messages say, until [`Queues::clear_counts`]; creates the queue if there is none.
    pub fn set_counts(&self, name: &str, visible: u64, in_flight: u64, delayed: u64) {
        self.create(name);
        let counts = Counts {
            visible,
            in_flight,
            delayed,
        };
        self.with(name, |queue| queue.fixed = Some(counts));
    }

    /// Reports the messages again.
    pub fn clear_counts(&self, name: &str) {
        self.with(name, |queue| queue.fixed = None);
    }

    /// What SQS would report now; zeros for a queue that does not exist.
    #[must_use]
    pub fn counts(&self, name: &str) -> Counts {
        self.with(name, |queue| queue.counts()).unwrap_or_default()
    }

    /// Deletes a queue and its messages.
    pub fn delete(&self, name: &str) {
        lock(&self.state).queues.remove(name);
    }

    /// Answers every request about this queue with `fault`, until told otherwise.
    pub fn fail(&self, name: &str, fault: Option<Fault>) {
        let plan = fault.map_or_else(FaultPlan::default, FaultPlan::always);
        lock(&self.state).faults.insert(name.to_owned(), plan);
    }

    /// Answers the next `times` requests about this queue with `fault`.
    pub fn fail_times(&self, name: &str, fault: Fault, times: u32) {
        let plan = FaultPlan::times(fault, times);
        lock(&self.state).faults.insert(name.to_owned(), plan);
    }

    pub(super) fn next_fault(&self, name: &str) -> Option<Fault> {
        lock(&self.state).faults.get_mut(name)?.next()
    }

    pub(super) fn account(&self) -> &str {
        &self.address.account
    }

    pub(super) fn names(&self, prefix: &str) -> Vec<String> {
        let state = lock(&self.state);
        let names = state.queues.keys().filter(|name| name.starts_with(prefix));
        let mut names: Vec<String> = names.cloned().collect();
        names.sort();
        names
    }

    /// Creates a queue with attributes; one that exists keeps its own.
    pub(super) fn create_with(&self, name: &str, attributes: &BTreeMap<String, String>) {
        let now = super::now();
        lock(&self.state)
            .queues
            .entry(name.to_owned())
            .or_insert_with(|| Queue::new(now, attributes));
    }

    /// Runs `change` on a queue whose timers have been settled. `None` where there is no such queue.
    pub(super) fn with<T>(&self, name: &str, change: impl FnOnce(&mut Queue) -> T) -> Option<T> {
        let now = super::now();
        let mut state = lock(&self.state);
        let queue = state.queues.get_mut(name)?;
        queue.settle(now);
        Some(change(queue))
    }
}

#[derive(Debug)]
struct Address {
    base: String,
    account: String,
}

#[derive(Debug, Default)]
struct State {
    queues: HashMap<String, Queue>,
    faults: HashMap<String, FaultPlan>,
}

/// A message; its key elsewhere says when it changes hands next.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) id: u64,
    pub(super) body: String,
    /// How often it was received.
    pub(super) receives: u32,
}

/// One queue. Timers are settled on access, so counting is three lengths, however many messages there are.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) created: Timestamp,
    pub(super) visibility_timeout: Duration,
    pub(super) delay: Duration,
    now: Timestamp,
    next_id: u64,
    visible: VecDeque<Message>,
    in_flight: BTreeMap<(Timestamp, u64), Message>,
    delayed: BTreeMap<(Timestamp, u64), Message>,
    fixed: Option<Counts>,
}

impl Queue {
    pub(super) fn new(now: Timestamp, attributes: &BTreeMap<String, String>) -> Self {
        let seconds = |name: &str| {
            let value = attributes.get(name)?.parse().ok()?;
            Some(Duration::from_secs(value))
        };
        Self {
            created: now,
            visibility_timeout: seconds("VisibilityTimeout").unwrap_or(DEFAULT_VISIBILITY_TIMEOUT),
            delay: seconds("DelaySeconds").unwrap_or_default(),
            now,
            next_id: 1,
            visible: VecDeque::new(),
            in_flight: BTreeMap::new(),
            delayed: BTreeMap::new(),
            fixed: None,
        }
    }

    /// Moves everything whose time has come back to visible.
    pub(super) fn settle(&mut self, now: Timestamp) {
        self.now = now;
        for waiting in [&mut self.delayed, &mut self.in_flight] {
            while let Some(entry) = waiting.first_entry() {
                if entry.key().0 > now {
                    break;
                }
                self.visible.push_back(entry.remove());
            }
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        self.fixed.unwrap_or(Counts {
            visible: count(self.visible.len()),
            in_flight: count(self.in_flight.len()),
            delayed: count(self.delayed.len()),
        })
    }

    /// Adds a message, after `delay` or the queue's own. Returns its id.
    pub(super) fn send(&mut self, body: String, delay: Option<Duration>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let message = Message {
            id,
            body,
            receives: 0,
        };
        let delay = delay.unwrap_or(self.delay);
        if delay.is_zero() {
            self.visible.push_back(message);
        } else {
            self.delayed.insert((self.at(delay), id), message);
        }
        id
    }

    /// Takes up to `count` messages in flight until `until`.
    pub(super) fn receive(&mut self, count: usize, until: Timestamp) -> Vec<Message> {
        let count = count.min(self.visible.len());
        let mut received = Vec::with_capacity(count);
        for mut message in self.visible.drain(..count) {
            message.receives += 1;
            received.push(message.clone());
            if until > self.now {
                self.in_flight.insert((until, message.id), message);
            }
        }
        if until <= self.now {
            // A visibility timeout of zero: seen, and visible at once again.
            self.visible.extend(received.iter().cloned());
        }
        received
    }

    /// Deletes by message id, in flight or visible again. Deleting twice is no error.
    pub(super) fn delete(&mut self, id: u64) {
        self.in_flight.retain(|(_, other), _| *other != id);
        self.visible.retain(|message| message.id != id);
    }

    fn finish(&mut self, count: usize) {
        for _ in 0..count.min(self.in_flight.len()) {
            self.in_flight.pop_last();
        }
    }

    pub(super) fn purge(&mut self) {
        self.visible.clear();
        self.in_flight.clear();
        self.delayed.clear();
    }

    /// The moment `delay` from now.
    pub(super) fn at(&self, delay: Duration) -> Timestamp {
        self.now.checked_add(delay).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(visible: u64, in_flight: u64, delayed: u64) -> Counts {
        Counts {
            visible,
            in_flight,
            delayed,
        }
    }

    #[test]
    fn messages_come_back_when_their_time_is_over() {
        let start = Timestamp::UNIX_EPOCH;
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut queue = Queue::new(start, &BTreeMap::new());
        queue.send("a".to_owned(), None);
        queue.send("b".to_owned(), Some(Duration::from_secs(5)));
        assert_eq!(queue.counts(), counts(1, 0, 1));

        let until = queue.at(queue.visibility_timeout);
        let received = queue.receive(10, until);
        assert_eq!(received.len(), 1);
        assert_eq!(queue.counts(), counts(0, 1, 1));

        queue.settle(after(5));
        assert_eq!(queue.counts(), counts(1, 1, 0));
        queue.settle(after(30));
        assert_eq!(queue.counts(), counts(2, 0, 0));

        queue.delete(received[0].id);
        queue.delete(received[0].id);
        assert_eq!(queue.counts(), counts(1, 0, 0));
        queue.purge();
        assert_eq!(queue.counts(), Counts::default());
    }

    #[test]
    fn a_visibility_timeout_of_zero_hides_nothing() {
        let mut queue = Queue::new(Timestamp::UNIX_EPOCH, &BTreeMap::new());
        queue.send("a".to_owned(), None);
        assert_eq!(queue.receive(1, queue.at(Duration::ZERO)).len(), 1);
        assert_eq!(queue.counts(), counts(1, 0, 0));
    }

    #[test]
    fn the_handle_moves_and_finishes_messages() {
        let queues = Queues::new("http://127.0.0.1:1".to_owned(), "123456789012".to_owned());
        queues.send("orders", 5);
        queues.receive("orders", 3);
        assert_eq!(queues.counts("orders"), counts(2, 3, 0));
        queues.finish("orders", 10);
        assert_eq!(queues.counts("orders"), counts(2, 0, 0));
        queues.set_counts("orders", 7, 8, 9);
        assert_eq!(queues.counts("orders"), counts(7, 8, 9));
        queues.clear_counts("orders");
        assert_eq!(queues.counts("orders"), counts(2, 0, 0));
        assert_eq!(
            queues.url("orders"),
            "http://127.0.0.1:1/123456789012/orders"
        );
        assert_eq!(queues.counts("nobody"), Counts::default());
    }
}
