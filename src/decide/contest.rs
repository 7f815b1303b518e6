//! What became of the last decision, and whether somebody else keeps changing the count.
//!
//! A single foreign change is a person at work. One that comes again and again is another controller, and two of them
//! would send the count up and down for ever: then this one stops scaling in, and scales out only now and then.

use jiff::Timestamp;

use super::limit as rates;
use super::window::is_within;
use super::{Limit, Reason, Running};
use crate::state::State;

/// Foreign changes within [`CONTEST_SECONDS`] that make a contest.
pub(super) const CONTEST_WRITES: usize = 3;
/// How long a foreign change counts; a contest is over when it has been quiet for as long.
pub(super) const CONTEST_SECONDS: u32 = 600;
/// Between two writes of ours in a contest. Consumers that are needed still come, however contested.
pub(super) const CONTESTED_WRITE_SECONDS: u32 = 300;

/// Settles the pending change from the real count, and notes a count that is not ours.
/// While a person has switched scaling off, whatever the count becomes is that person's wish.
pub(super) fn settle(memory: &mut State, current: u32, is_paused: bool, now: Timestamp) {
    let expected = match memory.pending.take() {
        Some(pending) if pending.to == current => {
            rates::remember(&mut memory.events, pending, now);
            memory.last_written = Some(current);
            return;
        }
        // It was not carried out.
        Some(pending) => Some(pending.from),
        None => memory.last_written,
    };
    if expected.is_none_or(|expected| expected == current) {
        return;
    }
    memory.last_written = Some(current);
    if !is_paused {
        memory
            .foreign_writes
            .retain(|at| is_within(*at, CONTEST_SECONDS, now));
        memory.foreign_writes.push(now);
        let surplus = memory.foreign_writes.len().saturating_sub(CONTEST_WRITES);
        memory.foreign_writes.drain(..surplus);
    }
}

/// Whether the count is contested.
pub(super) fn is_contested(memory: &State, now: Timestamp) -> bool {
    let recent = memory
        .foreign_writes
        .iter()
        .filter(|at| is_within(**at, CONTEST_SECONDS, now));
    recent.count() >= CONTEST_WRITES
}

/// In a contest nothing is scaled in, and out only so often.
pub(super) fn limit(running: &mut Running, memory: &State, current: u32, now: Timestamp) {
    if !is_contested(memory, now) || running.count == current {
        return;
    }
    let wrote_lately = memory
        .events
        .last()
        .is_some_and(|event| is_within(event.at, CONTESTED_WRITE_SECONDS, now));
    if running.count < current || wrote_lately {
        running.limit(current, Reason::Contested, Limit::Contested);
    }
}
