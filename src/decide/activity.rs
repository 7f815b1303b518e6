//! Whether a workload is active, since when, and whether it may rest at zero or idle.

use jiff::{SignedDuration, Timestamp};

use super::MIN_EMPTY_SECONDS;
use super::demand::Demand;
use crate::policy::Policy;
use crate::state::State;

/// Whether the workload may rest, and at which count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// It is active, or may be, or has nowhere to rest.
    Active,
    /// It is inactive, but not for long enough: it may rest from `until` on.
    CoolingDown { count: u32, until: Timestamp },
    /// It may.
    Allowed(u32),
}

/// Enters the activity of this pass. Only changes are stored, so a steady workload needs no write.
///
/// As in KEDA, activity ended with the last active poll. When that was is not stored: one polling interval ago at the earliest,
/// and never before a poll that left its mark since, by an alarm or as a follow-up.
pub(super) fn remember(memory: &mut State, demand: &Demand, poll_seconds: u32, now: Timestamp) {
    match demand.active {
        Some(active) => {
            if active != memory.active {
                let last_poll = now.saturating_sub(seconds(poll_seconds)).unwrap_or(now);
                memory.active = active;
                memory.last_active = Some(if active {
                    now
                } else {
                    last_mark(memory).max(last_poll)
                });
            }
            memory.empty_since = if active {
                None
            } else {
                memory.empty_since.or(Some(now))
            };
        }
        None => forget(memory),
    }
}

/// The last poll before this one that the memory tells of: it began, a count was changed, or another count was wanted.
fn last_mark(memory: &State) -> Timestamp {
    let began = memory.last_active.unwrap_or(memory.first_seen);
    let changes = memory.events.iter().map(|event| event.at);
    let windows = memory.in_window.iter().chain(&memory.out_window);
    let ends = windows.filter_map(|entry| entry.until);
    changes.chain(ends).fold(began, Timestamp::max)
}

/// A pass that could not see the queues breaks the chain of agreeing readings, and changes nothing else.
pub(super) fn forget(memory: &mut State) {
    memory.empty_since = None;
}

/// Rule 7 of the decision. The cooldown counts from the end of the last activity, before any activity from creation. The scale-in
/// window has no say: it smooths the count between 1 and N, as in KEDA, where the operator scales to zero past the HPA.
pub(super) fn rest(policy: &Policy, demand: &Demand, memory: &State, now: Timestamp) -> Rest {
    let Some(count) = policy
        .bounds
        .rest()
        .filter(|_| demand.active == Some(false))
    else {
        return Rest::Active;
    };
    let (since, cooldown_seconds) = cooldown(policy, memory);
    let confirmed = after(memory.empty_since.unwrap_or(now), MIN_EMPTY_SECONDS);
    if is_over(since, cooldown_seconds, now) && now >= confirmed {
        return Rest::Allowed(count);
    }
    let cooled_down = after(since, cooldown_seconds.saturating_add(1));
    Rest::CoolingDown {
        count,
        until: cooled_down.max(confirmed),
    }
}

/// What the workload cools down from, and for how many seconds.
pub(super) fn cooldown(policy: &Policy, memory: &State) -> (Timestamp, u32) {
    match memory.last_active {
        Some(end) => (end, policy.cooldown_seconds),
        None => (
            policy.created.unwrap_or(memory.first_seen),
            policy.initial_cooldown_seconds,
        ),
    }
}

/// KEDA counts strictly: at exactly the period the workload still cools down.
pub(super) fn is_over(since: Timestamp, period_seconds: u32, now: Timestamp) -> bool {
    now.duration_since(since) > seconds(period_seconds)
}

/// So many seconds later; the end of time where there is no such moment.
pub(super) fn after(time: Timestamp, period_seconds: u32) -> Timestamp {
    time.saturating_add(seconds(period_seconds)).unwrap_or(time)
}

fn seconds(seconds: u32) -> SignedDuration {
    SignedDuration::from_secs(i64::from(seconds))
}
