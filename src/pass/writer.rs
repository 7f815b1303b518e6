//! Collects the state writes of the targets of a namespace and sends them together.
//!
//! Each target holds a [`Turn`]. It is at work, or it waits for its write, or it is done. A patch is sent when no target is at
//! work any more, or when [`WRITE_QUIET`] or [`WRITE_AT_MOST`] has gone by, whichever comes first. While a patch is under way
//! further writes collect for the next one.
//!
//! A namespace has a writer for live targets and another for shadow targets: those two must not share what can write.

use std::cell::{Cell, RefCell};

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

use super::{WRITE_AT_MOST, WRITE_QUIET};
use crate::ports::{Fault, StateWrite};

type Written = Result<(), Fault>;

/// The writer of a namespace.
#[derive(Debug)]
pub(super) struct Writer {
    /// Targets that may still ask for a write.
    at_work: Cell<usize>,
    waiting: RefCell<Vec<Waiting>>,
    changed: Notify,
    /// Nothing is held back from then on: what is left of the invocation is for acting.
    latest: Option<Instant>,
}

/// A write that waits to be sent.
#[derive(Debug)]
struct Waiting {
    write: StateWrite,
    ready: Instant,
    done: oneshot::Sender<Written>,
}

/// What one target has of the writer, for as long as it may still write.
#[derive(Debug)]
pub(super) struct Turn<'w> {
    writer: &'w Writer,
}

impl Writer {
    pub(super) fn new(latest: Option<Instant>) -> Self {
        Self {
            at_work: Cell::new(0),
            waiting: RefCell::default(),
            changed: Notify::new(),
            latest,
        }
    }

    /// Counts a target before any of them begins. It then takes its [`Turn`].
    pub(super) fn expect_target(&self) {
        self.at_work.set(self.at_work.get() + 1);
    }

    /// The turn of a target that is expected.
    pub(super) fn turn(&self) -> Turn<'_> {
        Turn { writer: self }
    }

    /// Sends what collects, for ever. `store` gives one result for each write, in order.
    pub(super) async fn run(&self, store: impl AsyncFn(&[StateWrite]) -> Vec<Written>) {
        loop {
            let batch = self.next_batch().await;
            let (writes, done): (Vec<StateWrite>, Vec<oneshot::Sender<Written>>) = batch
                .into_iter()
                .map(|Waiting { write, done, .. }| (write, done))
                .unzip();
            let mut results = store(&writes).await.into_iter();
            self.at_work.set(self.at_work.get() + done.len());
            for done in done {
                let result = results.next().unwrap_or_else(|| Err(not_written()));
                // A target that is gone needs no result.
                let _taken = done.send(result).is_ok();
            }
        }
    }

    /// Waits until it is time to send, then takes all that waits.
    async fn next_batch(&self) -> Vec<Waiting> {
        loop {
            let changed = self.changed.notified();
            let Some(moment) = self.moment() else {
                changed.await;
                continue;
            };
            if self.at_work.get() == 0 || moment <= Instant::now() {
                return self.waiting.take();
            }
            // Either a target changed, or the moment has come.
            let _changed = timeout_at(moment, changed).await.is_ok();
        }
    }

    /// When what waits is sent at the latest; `None` while nothing waits.
    fn moment(&self) -> Option<Instant> {
        let waiting = self.waiting.borrow();
        let (first, last) = (waiting.first()?, waiting.last()?);
        let moment = (first.ready + WRITE_AT_MOST).min(last.ready + WRITE_QUIET);
        Some(self.latest.map_or(moment, |latest| latest.min(moment)))
    }

    fn target_rests(&self) {
        self.at_work.set(self.at_work.get().saturating_sub(1));
        self.changed.notify_one();
    }
}

impl Turn<'_> {
    /// Has a write sent with others, and waits for what became of it.
    pub(super) async fn write(&self, write: StateWrite) -> Written {
        let (done, written) = oneshot::channel();
        let waiting = Waiting {
            write,
            ready: Instant::now(),
            done,
        };
        self.writer.waiting.borrow_mut().push(waiting);
        self.writer.target_rests();
        // The writer counts the target as at work again when it sends the result.
        written.await.unwrap_or_else(|_| Err(not_written()))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.writer.target_rests();
    }
}

/// Cannot happen: a writer lives longer than its targets, and a store gives a result for each write.
fn not_written() -> Fault {
    Fault::failed("NotWritten", "the state was not written")
}
