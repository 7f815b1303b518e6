//! One call in its turn and in its time.

use std::future::Future;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::ports::Fault;

/// Waits for its turn, then calls, and gives up at `limit` with the fault that `late` makes.
///
/// The call is set up when its turn has come, and in memory of its own: a call in an SDK is tens of kilobytes large,
/// and of a thousand targets most are waiting.
pub(crate) async fn in_turn<T, F: Future<Output = Result<T, Fault>>>(
    turns: Option<&Semaphore>,
    limit: Option<Instant>,
    late: impl FnOnce() -> Fault,
    call: impl FnOnce() -> F,
) -> Result<T, Fault> {
    let work = async {
        // The semaphores are never closed; without a permit the call would only be unbounded.
        let _permit = match turns {
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        };
        Box::pin(call()).await
    };
    match limit {
        None => work.await,
        Some(limit) => timeout_at(limit, work)
            .await
            .unwrap_or_else(|_| Err(late())),
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
