//! One call in its turn and in its time.

use std::future::Future;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::ports::Fault;

/// When a call is given up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// It does not begin later; `None` where there is no such moment.
    pub(crate) begin: Option<Instant>,
    /// It does not take longer.
    pub(crate) end: Option<Instant>,
}

impl Limits {
    /// One moment for both.
    pub(crate) fn at(limit: Option<Instant>) -> Self {
        Self {
            begin: limit,
            end: limit,
        }
    }
}

/// Waits for its turn, then calls, and gives up at its limits with the fault that `late` makes.
///
/// The call is set up when its turn has come, and in memory of its own: a call in an SDK is tens of kilobytes large,
/// and of a thousand targets most are waiting.
pub(crate) async fn in_turn<T, F: Future<Output = Result<T, Fault>>>(
    turns: Option<&Semaphore>,
    limits: Limits,
    late: impl FnOnce() -> Fault,
    call: impl FnOnce() -> F,
) -> Result<T, Fault> {
    // The semaphores are never closed; without a permit the call would only be unbounded.
    let turn = async {
        match turns {
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        }
    };
    let Some(_permit) = by(limits.begin, turn).await else {
        return Err(late());
    };
    match by(limits.end, async { Box::pin(call()).await }).await {
        Some(result) => result,
        None => Err(late()),
    }
}

/// What comes of it by then; `None` when nothing does. It does not begin when that moment is over.
pub(crate) async fn by<T>(limit: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match limit {
        None => Some(work.await),
        Some(limit) if limit <= Instant::now() => None,
        Some(limit) => timeout_at(limit, work).await.ok(),
    }
}

/// A duration in words: tenths of a second below ten seconds, such as "2.5 s", else whole seconds.
pub(crate) fn seconds(duration: Duration) -> String {
    let tenths = (duration.as_millis() + 50) / 100;
    if tenths < 100 {
        format!("{}.{} s", tenths / 10, tenths % 10)
    } else {
        format!("{} s", (tenths + 5) / 10)
    }
}
