//! The memory that a decision starts from: one that begins, or one whose clock was wrong.

use jiff::Timestamp;

use super::demand::Range;
use super::{activity, remember_wanted};
use crate::policy::Policy;
use crate::state::State;

/// A memory that begins with the current count, which is held for a whole window: there was none, or it cannot be read.
///
/// Nobody knows what was before: a running workload counts as active until now, so that a lost memory costs a cooldown and
/// not the replicas. A workload that was only just created has no past. Where the creation is not known, the longer one of
/// the two cooldowns is waited for.
pub(super) fn begun(policy: &Policy, current: u32, now: Timestamp) -> State {
    let mut memory = State::new(now);
    let seed = Range {
        out: current,
        scale_in: current,
    };
    remember_wanted(&mut memory, policy, Some(seed), current, now);
    let (cooldown, initial) = (policy.cooldown_seconds, policy.initial_cooldown_seconds);
    let is_new = match policy.created {
        Some(created) => !activity::is_over(created, cooldown.max(initial), now),
        None => initial > cooldown,
    };
    if current > 0 && !is_new {
        memory.last_active = Some(now);
    }
    memory
}

/// The state with every time that lies in the future set to now: a clock was wrong when it was written.
pub(super) fn clamped(state: &State, now: Timestamp, warnings: &mut Vec<String>) -> State {
    let mut state = state.clone();
    let mut newest: Option<Timestamp> = None;
    {
        let mut clamp = |at: &mut Timestamp| {
            if *at > now {
                newest = Some(newest.map_or(*at, |known| known.max(*at)));
                *at = now;
            }
        };
        clamp(&mut state.first_seen);
        state.last_active.iter_mut().for_each(&mut clamp);
        state.empty_since.iter_mut().for_each(&mut clamp);
        state
            .in_window
            .iter_mut()
            .chain(&mut state.out_window)
            .filter_map(|entry| entry.until.as_mut())
            .for_each(&mut clamp);
        state
            .events
            .iter_mut()
            .chain(&mut state.pending)
            .flat_map(|event| event.since.iter_mut().chain([&mut event.at]))
            .for_each(&mut clamp);
        state.foreign_writes.iter_mut().for_each(&mut clamp);
    }
    if let Some(newest) = newest {
        warnings.push(format!("the state holds the time {newest}, which lies after {now}: read as now; check the clocks"));
    }
    state
}
