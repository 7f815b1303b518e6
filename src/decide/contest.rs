//! What became of the last decision, and whether somebody else keeps changing the count.
//!
//! A single foreign change is a person at work. One that comes again and again is another controller, and two of them
//! would send the count up and down for ever: then this one stops scaling in, and scales out only now and then.

use jiff::Timestamp;

use super::activity::after;
use super::limit as rates;
use super::window::is_within;
use super::{Limit, Reason, Running};
use crate::policy::Policy;
use crate::state::{ScaleEvent, State};

/// Foreign changes within [`CONTEST_SECONDS`] that make a contest.
pub(super) const CONTEST_WRITES: usize = 3;
/// How long a foreign change counts; a contest is over when it has been quiet for as long.
pub(super) const CONTEST_SECONDS: u32 = 600;
/// Between two writes of ours in a contest. Consumers that are needed still come, however contested.
pub(super) const CONTESTED_WRITE_SECONDS: u32 = 300;

/// A change that is not seen after so long was not made, or taken back; before, another copy may still be about to make it.
pub(super) const CARRY_OUT_SECONDS: u32 = 10;

/// Settles the pending change from the real count, and notes a count that is not ours.
///
/// A pass that failed to make its change took it out of the state again. So one that is still pending, with the count as
/// before, was made and taken back by somebody quick, such as Argo CD's self-heal; or the pass was killed just before it.
/// While a person has switched scaling off or another owner is known, nobody need wonder who changes the count.
pub(super) fn settle(
    memory: &mut State,
    policy: &Policy,
    current: u32,
    is_explained: bool,
    now: Timestamp,
) {
    let expected = match memory.pending.take() {
        Some(pending) if pending.to == current => {
            rates::remember(&mut memory.events, pending, policy, now);
            memory.last_written = Some(current);
            return;
        }
        Some(pending) if pending.from == current => {
            if !is_explained && !is_within(pending.at, CARRY_OUT_SECONDS, now) {
                note_foreign(memory, now);
                if is_contested(memory, now) {
                    // So that the next write waits its turn.
                    rates::remember(&mut memory.events, pending, policy, now);
                }
            }
            return;
        }
        Some(pending) => Some(pending.from),
        None => memory.last_written,
    };
    if expected.is_none_or(|expected| expected == current) {
        return;
    }
    memory.last_written = Some(current);
    if !is_explained {
        note_foreign(memory, now);
    }
}

fn note_foreign(memory: &mut State, now: Timestamp) {
    memory
        .foreign_writes
        .retain(|at| is_within(*at, CONTEST_SECONDS, now));
    memory.foreign_writes.push(now);
    let surplus = memory.foreign_writes.len().saturating_sub(CONTEST_WRITES);
    memory.foreign_writes.drain(..surplus);
}

/// In shadow mode somebody else scales, and rightly so: nothing is pending and nothing foreign. The changes that were seen are
/// the scale events, so that the rates are measured on what happened and not on what would have.
pub(super) fn follow(memory: &mut State, policy: &Policy, current: u32, now: Timestamp) {
    memory.pending = None;
    memory.foreign_writes.clear();
    let before = memory.last_written.replace(current);
    if let Some(from) = before.filter(|before| *before != current) {
        let (at, to) = (now, current);
        let since = None;
        let event = ScaleEvent {
            at,
            since,
            from,
            to,
        };
        rates::remember(&mut memory.events, event, policy, now);
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

/// When the contest is over, if it stays quiet; for a scale-out also when its turn comes.
fn lets_go(memory: &State, is_scale_in: bool) -> Option<Timestamp> {
    let mut writes = memory.foreign_writes.clone();
    writes.sort_unstable();
    let first = writes.iter().rev().nth(CONTEST_WRITES - 1)?;
    let over = after(*first, CONTEST_SECONDS);
    let turn = memory.events.last().filter(|_| !is_scale_in);
    let turn = turn.map(|event| after(event.at, CONTESTED_WRITE_SECONDS));
    Some(turn.map_or(over, |turn| turn.min(over)))
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
    let is_scale_in = running.count < current;
    if is_scale_in || wrote_lately {
        let until = lets_go(memory, is_scale_in);
        running.limit_until(current, Reason::Contested, Limit::Contested, until);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, policy, seen, visible};
    use super::super::{Decision, decide};
    use super::*;
    use crate::policy::{Amount, Mode, RatePolicy, ScalingRules, SelectPolicy};

    fn event(seconds: i64, from: u32, to: u32) -> ScaleEvent {
        let (at, since) = (at(seconds), None);
        ScaleEvent {
            at,
            since,
            from,
            to,
        }
    }

    fn shadow(pods_a_minute: Option<u32>) -> Policy {
        let rate = |count| RatePolicy {
            amount: Amount::Pods(count),
            period_seconds: 60,
        };
        Policy {
            mode: Mode::Shadow,
            scale_out: ScalingRules {
                select: pods_a_minute.map(|_| SelectPolicy::Max),
                policies: pods_a_minute.map(rate).into_iter().collect(),
                ..ScalingRules::SCALE_OUT
            },
            ..policy(1, 100, None)
        }
    }

    /// The counts that somebody else sets, one a minute or faster, and what is decided each time.
    fn watch(policy: &Policy, backlog: u64, counts: &[(i64, u32)]) -> Vec<Decision> {
        let mut state = None;
        let mut decisions = Vec::new();
        for (seconds, count) in counts {
            let observation = seen(*count, &[visible(backlog)]);
            let decision = decide(policy, &observation, state.as_ref(), at(*seconds));
            state = Some(decision.state.clone());
            decisions.push(decision);
        }
        decisions
    }

    #[test]
    fn in_shadow_mode_nothing_is_pending_foreign_or_contested() {
        let counts = [3, 9, 4, 8, 5, 7, 2, 6];
        let counts: Vec<(i64, u32)> = (0..).step_by(30).zip(counts).collect();
        for decision in watch(&shadow(None), 200, &counts) {
            assert!(!decision.contested);
            assert_eq!((decision.to, decision.reason), (20, Reason::QueueDepth));
            assert_eq!(decision.state.pending, None);
            assert_eq!(decision.state.foreign_writes, []);
            assert_eq!(decision.state.last_written, Some(decision.from));
        }
    }

    #[test]
    fn in_shadow_mode_what_happened_counts_against_the_rates() {
        let decisions = watch(
            &shadow(Some(5)),
            500,
            &[(0, 10), (20, 13), (40, 13), (81, 13)],
        );
        let to: Vec<u32> = decisions.iter().map(|decision| decision.to).collect();
        // Three of the five were used up by somebody else, until a minute has gone by.
        assert_eq!(to, [15, 15, 15, 18]);
        let event = event(20, 10, 13);
        assert_eq!(decisions[3].state.events, [event]);
        // Nothing changed, so there is nothing to write.
        assert_eq!(decisions[1].state, decisions[2].state);
    }

    #[test]
    fn a_live_memory_is_put_right_in_shadow_mode() {
        let mut memory = State::new(at(0));
        memory.pending = Some(event(0, 2, 7));
        memory.foreign_writes = vec![at(0); 3];
        follow(&mut memory, &shadow(None), 4, at(60));
        assert_eq!((memory.pending, memory.last_written), (None, Some(4)));
        assert_eq!((memory.foreign_writes, memory.events), (vec![], vec![]));
    }
}
