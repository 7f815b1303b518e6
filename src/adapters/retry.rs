//! Retries of calls to an API server: a few, soon, and cut off by the deadline of the pass.

use std::time::Duration;

/// How often one call is tried. With the pauses below that is at most 1.5 s of waiting.
pub(super) const MAX_ATTEMPTS: u32 = 5;

/// Waits after the given number of attempts: 100 ms, doubling, or what the server asks for, at most 2 s.
#[expect(
    clippy::disallowed_methods,
    reason = "the server is given time to recover; the pass bounds it"
)]
pub(super) async fn back_off(attempt: u32, asked: Option<u64>) {
    let own = Duration::from_millis(100 << attempt.saturating_sub(1).min(4));
    let pause = asked
        .map_or(own, Duration::from_secs)
        .min(Duration::from_secs(2));
    tokio::time::sleep(pause).await;
}
