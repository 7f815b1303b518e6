//! Whether a workload is active, since when, and whether it may rest at zero or idle.

use jiff::{SignedDuration, Timestamp};

use super::demand::Demand;
use super::{MIN_EMPTY_SECONDS, window};
use crate::policy::Policy;
use crate::state::State;

/// Whether the workload may rest, and at which count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// It is active, or may be, or has nowhere to rest.
    Active,
    /// It is inactive, but not for long enough.
    CoolingDown(u32),
    /// It may.
    Allowed(u32),
}

/// Enters the activity of this pass. Only changes are stored, so a steady workload needs no write.
pub(super) fn remember(memory: &mut State, demand: &Demand, now: Timestamp) {
    match demand.active {
        Some(active) => {
            if active != memory.active {
                memory.active = active;
                memory.last_active = Some(now);
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

/// A pass that could not see the queues breaks the chain of agreeing readings, and changes nothing else.
pub(super) fn forget(memory: &mut State) {
    memory.empty_since = None;
}

/// Rule 7 of the decision. The cooldown counts from the end of the last activity, before any activity from creation.
/// A count above the active minimum must also have been let go by the scale-in window: its entries, or inactivity seen for as long.
pub(super) fn rest(
    policy: &Policy,
    demand: &Demand,
    memory: &State,
    current: u32,
    now: Timestamp,
) -> Rest {
    let Some(count) = policy
        .bounds
        .rest()
        .filter(|_| demand.active == Some(false))
    else {
        return Rest::Active;
    };
    let cooled_down = match memory.last_active {
        Some(end) => is_over(end, policy.cooldown_seconds, now),
        None => is_over(
            policy.created.unwrap_or(memory.first_seen),
            policy.initial_cooldown_seconds,
            now,
        ),
    };
    let confirmed = memory
        .empty_since
        .is_some_and(|since| !window::is_within(since, MIN_EMPTY_SECONDS, now));
    let window_seconds = policy.scale_in.window_seconds;
    // A window that holds nothing holds nobody, here as on the way to the minimum: a memory that begins is seeded.
    let highest = window::highest(&memory.in_window, window_seconds, now).unwrap_or_default();
    // Only what was seen counts: a failed reading entered the window as the present count and broke the inactivity.
    // Above the maximum nothing is held, so what the maximum leaves is what must have been let go.
    let held = highest.min(current).min(policy.bounds.max());
    let let_go = held <= policy.bounds.active_min()
        || memory
            .empty_since
            .is_some_and(|since| is_over(since, window_seconds, now));
    if cooled_down && confirmed && let_go {
        Rest::Allowed(count)
    } else {
        Rest::CoolingDown(count)
    }
}

/// KEDA counts strictly: at exactly the period the workload still cools down.
pub(super) fn is_over(since: Timestamp, seconds: u32, now: Timestamp) -> bool {
    now.duration_since(since) > SignedDuration::from_secs(i64::from(seconds))
}
