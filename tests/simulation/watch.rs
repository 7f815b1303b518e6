//! What must hold, said anew: with full logs in place of run lengths, and without the function's own arithmetic.
//!
//! A pass is in force once its memory is stored, or when it had nothing to store. What a killed pass or the loser of a race
//! has seen is nobody's memory, and nothing is asked of it.

mod decision;
mod naive;

use jiff::Timestamp;
use outrigger::decide::{Decision, Observation, Reason};
use outrigger::pass::Effect;
use outrigger::policy::Policy;
use outrigger::ports::{FaultKind, Seen as SeenWorkload};
use outrigger::state::State;

use crate::life::{Ended, Frame, LONGEST_PASS_SECONDS, Tally};
use crate::rules::WORKLOADS;
use crate::servers::{Told, Write};
use decision::Expected;

/// What may explain something that otherwise must not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disturbance {
    /// Somebody else changed the count.
    Foreign,
    /// Passes ran at the same time: the write of one is foreign to the other.
    Overlap,
    /// The clock jumped.
    Clock,
    /// The count was written and could not be remembered.
    Unremembered,
    /// A ScaledObject was edited: what no policy looked back to before is forgotten.
    Edited,
}

pub(crate) struct Watch {
    workloads: Vec<Workload>,
    /// In shadow mode another memory is in force.
    shadows: Vec<Workload>,
}

/// What has been seen of one workload by passes in force since its memory began.
#[derive(Debug, Default)]
struct Workload {
    /// Every pass: when, and whether the workload was active then.
    activity: Vec<Seen<Option<bool>>>,
    /// Every wanted count that scale-in must respect.
    wanted: Vec<Seen<u32>>,
    /// Every change that was made.
    changes: Vec<Change>,
    /// Since when there is a memory.
    first_seen: Option<Timestamp>,
    /// A memory that was lost counts as active until then.
    active_until: Option<Timestamp>,
    /// When rates were last excused.
    disturbed: Option<Timestamp>,
    /// Changes that the function cannot know as its own, and those it noted.
    foreign: usize,
    noted: usize,
    /// The memory that is in force.
    text: Option<String>,
    /// The last decision that had a place for its memory.
    last: Option<(Policy, Observation, Decision, naive::Asked)>,
}

/// What a pass in force saw.
#[derive(Debug, Clone, Copy)]
struct Seen<T> {
    at: Timestamp,
    what: T,
    overlapped: bool,
}

impl<T> Seen<T> {
    /// Whether it counts for a pass that must heed what is younger than this. Of passes that ran at the same time, either
    /// may have been the later one, by as much as a pass can take.
    fn counts(&self, seconds: i64, now: Timestamp) -> bool {
        let age = seconds_since(self.at, now);
        if self.overlapped {
            age >= LONGEST_PASS_SECONDS && age + LONGEST_PASS_SECONDS < seconds
        } else {
            age < seconds
        }
    }
}

/// A change of the count by the function.
#[derive(Debug, Clone, Copy)]
struct Change {
    at: Timestamp,
    from: u32,
    to: u32,
}

type Checked = Result<(), String>;

fn ensure(holds: bool, failure: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(failure()) }
}

fn seconds_since(then: Timestamp, now: Timestamp) -> i64 {
    now.duration_since(then).as_secs()
}

impl Watch {
    pub(crate) fn new() -> Self {
        let watched = || WORKLOADS.iter().map(|_| Workload::default()).collect();
        Self {
            workloads: watched(),
            shadows: watched(),
        }
    }

    fn of(&mut self, workload: usize, expected: &Expected<'_>) -> &mut Workload {
        if expected.is_shadow() {
            &mut self.shadows[workload]
        } else {
            &mut self.workloads[workload]
        }
    }

    pub(crate) fn disturb(&mut self, workload: usize, disturbance: Disturbance, now: Timestamp) {
        for watched in [&mut self.workloads[workload], &mut self.shadows[workload]] {
            watched.disturbed = Some(now);
            watched.foreign += match disturbance {
                Disturbance::Foreign | Disturbance::Unremembered => 1,
                Disturbance::Overlap => 2,
                Disturbance::Clock | Disturbance::Edited => 0,
            };
        }
    }

    /// A write as the servers saw it.
    pub(crate) fn write(
        &mut self,
        frame: &Frame,
        told: &Told,
        write: &Write,
        tally: &mut Tally,
    ) -> Checked {
        ensure(!frame.dry_run, || "a dry run writes".to_owned())?;
        match write {
            Write::Store {
                workload,
                done,
                key,
                text,
            } => {
                let expected = Expected::of(frame, told, *workload)?;
                ensure(*key == expected.target.state_key(), || {
                    format!("stored under {key}")
                })?;
                expected.is_stored_as(text)?;
                if *done {
                    tally.stores += 1;
                    self.decided(frame, *workload, &expected, tally)?;
                    let watched = self.of(*workload, &expected);
                    watched.in_force(frame, &expected)?;
                    watched.text = Some(text.clone());
                    // Until it is carried out: a change that is still pending is one that somebody took back.
                    watched.foreign += usize::from(expected.decision.is_scale());
                }
            }
            Write::TakeBack {
                workload,
                done,
                text,
            } => {
                let expected = Expected::of(frame, told, *workload)?;
                expected.is_taken_back_as(text)?;
                if *done {
                    tally.stores += 1;
                    let watched = self.of(*workload, &expected);
                    watched.text = Some(text.clone());
                    watched.foreign = watched.foreign.saturating_sub(1);
                }
            }
            Write::Scale {
                workload,
                done,
                change,
            } => {
                let expected = Expected::of(frame, told, *workload)?;
                let decision = &expected.decision;
                let what = || format!("{change:?} after: {}", decision.explanation);
                ensure(
                    (change.from, change.to) == (decision.from, decision.to),
                    || format!("not what was decided: {}", what()),
                )?;
                ensure(told.scale_calls[*workload] == 1, || {
                    format!("a second write of the count in one pass: {}", what())
                })?;
                ensure(!expected.is_shadow(), || {
                    format!("a count written in shadow mode: {}", what())
                })?;
                let store = told.stores[*workload].as_ref();
                let lost = store
                    .and_then(|store| store.answer.as_ref().err())
                    .is_some_and(|fault| fault.kind == FaultKind::LostRace);
                ensure(!lost, || format!("went on after a lost race: {}", what()))?;
                let unchanged = expected.has_memory && store.is_none();
                ensure(
                    change.to > change.from
                        || unchanged
                        || store.is_some_and(|store| store.answer.is_ok()),
                    || format!("scaled in without a memory of it: {}", what()),
                )?;
                if unchanged {
                    self.of(*workload, &expected).in_force(frame, &expected)?;
                }
                if *done {
                    tally.scales += 1;
                    *tally.scaled.entry(decision.reason.name()).or_default() += 1;
                    if unchanged || store.is_some_and(|store| store.done) {
                        let watched = &mut self.workloads[*workload];
                        watched.foreign = watched.foreign.saturating_sub(1);
                    } else {
                        self.disturb(*workload, Disturbance::Unremembered, frame.now);
                    }
                    let watched = &mut self.workloads[*workload];
                    watched.changes.push(Change {
                        at: frame.now,
                        from: change.from,
                        to: change.to,
                    });
                }
            }
        }
        Ok(())
    }

    /// A pass came to its end and says what it did.
    pub(crate) fn ended(
        &mut self,
        frame: &Frame,
        told: &Told,
        workload: usize,
        ended: &Ended,
        tally: &mut Tally,
    ) -> Checked {
        let Ended {
            decided,
            effect,
            is_failed,
        } = ended;
        let Some(decided) = decided else {
            return ensure(
                *is_failed && matches!(effect, Effect::NotDone | Effect::NotReached),
                || format!("nothing decided, and yet {effect:?}"),
            );
        };
        let expected = Expected::of(frame, told, workload)?;
        ensure(
            (&decided.observation, &decided.state, &decided.decision)
                == (&expected.observation, &expected.state, &expected.decision),
            || format!("decided was {decided:#?}, not {expected:#?}"),
        )?;
        ensure(*is_failed || !expected.any_failed(), || {
            "a failed reading fails nobody".to_owned()
        })?;
        let stored = told.stores[workload]
            .as_ref()
            .is_some_and(|store| store.done);
        if stored {
            return Ok(());
        }
        self.decided(frame, workload, &expected, tally)?;
        let unchanged = expected.has_memory && told.stores[workload].is_none() && !frame.dry_run;
        if unchanged {
            ensure(
                !expected.is_lost && expected.state.as_ref() == Some(&expected.decision.state),
                || "a memory that changed was not stored".to_owned(),
            )?;
            // When there was a count to write, it was looked at then; and another pass may have stored a memory without this one.
            let watched = self.of(workload, &expected);
            if told.scale_calls[workload] == 0 && watched.text == expected.text {
                watched.in_force(frame, &expected)?;
            }
        }
        Ok(())
    }

    fn decided(
        &mut self,
        frame: &Frame,
        workload: usize,
        expected: &Expected<'_>,
        tally: &mut Tally,
    ) -> Checked {
        let decision = &expected.decision;
        tally.decisions += 1;
        *tally.reasons.entry(decision.reason.name()).or_default() += 1;
        expected.holds(frame)?;
        if decision.is_scale() || tally.decisions.is_multiple_of(16) {
            tally.replayed += 1;
            expected.replays(frame)?;
        }
        // Without a place for a memory it waits for one, and in shadow mode for somebody else.
        let waits = !expected.has_memory || expected.is_shadow();
        self.workloads[workload].last = (!waits).then(|| {
            let policy = expected.target.policy.clone();
            let observation = expected.observation.clone();
            (policy, observation, decision.clone(), expected.asked())
        });
        Ok(())
    }

    /// The last decision in a world that stands still: everything that only waits has ended.
    pub(crate) fn at_rest(&self, workload: usize) -> Checked {
        let watched = &self.workloads[workload];
        let Some((policy, observation, decision, asked)) = &watched.last else {
            return Ok(());
        };
        naive::at_rest(policy, observation, decision, *asked)
    }
}

impl Workload {
    /// What only the past can tell, and then this pass becomes a part of it.
    fn in_force(&mut self, frame: &Frame, expected: &Expected<'_>) -> Checked {
        let now = frame.now;
        let policy = &expected.target.policy;
        let current = expected.observation.workload.replicas;
        if expected.state.is_none() {
            self.begin_anew(policy, current, now);
        }
        self.clamp(now);
        if !expected.decision.warnings.is_empty() || expected.decision.contested {
            // A clock was put back since, and what was long ago is young again; or a change was taken back.
            self.disturbed = Some(now);
        }
        let decision = &expected.decision;
        let what = || format!("{} at {now}\n{self:?}", decision.explanation);
        let failed = if decision.to >= decision.from {
            None
        } else if expected.is_resting() {
            self.rest_waited(frame, expected)
        } else {
            let may_rest = expected.may_be_on_its_way();
            let failed = self.scale_in_waited(expected, now);
            failed.filter(|_| !may_rest || self.rest_waited(frame, expected).is_some())
        };
        let failed = failed
            .or_else(|| self.rate_is_kept(expected, now))
            .or_else(|| self.contest_has_a_cause(expected, now));
        ensure(failed.is_none(), || {
            format!("{}: {}", failed.unwrap_or_default(), what())
        })?;
        self.noted += usize::from(notes_a_change(expected, now));
        // No policy looks further back. By a clock that is put back later, they would be young again.
        self.changes
            .retain(|change| seconds_since(change.at, now) < 1800);

        let overlapped = frame.overlapped;
        let asked = expected.asked();
        let (is_paused, was_owned) = (expected.is_paused(), expected.was_owned());
        self.activity.push(Seen {
            at: now,
            what: asked.active.filter(|_| !is_paused && !was_owned),
            overlapped,
        });
        let window = i64::from(policy.scale_in.window_seconds);
        self.wanted
            .retain(|seen| seconds_since(seen.at, now) < window);
        if window > 0 {
            let what = match asked.scale_in_must_respect(policy, current) {
                _ if is_paused => current,
                wanted if was_owned => wanted.max(current),
                wanted => wanted,
            };
            self.wanted.push(Seen {
                at: now,
                what,
                overlapped,
            });
        }
        Ok(())
    }

    /// Without a memory nobody knows what was: the count was wanted, and a workload that runs was active, until now.
    fn begin_anew(&mut self, policy: &Policy, current: u32, now: Timestamp) {
        let (cooldown, initial) = (policy.cooldown_seconds, policy.initial_cooldown_seconds);
        let is_new = match policy.created {
            Some(at) => seconds_since(at, now) <= i64::from(cooldown.max(initial)),
            None => initial > cooldown,
        };
        self.activity.clear();
        self.wanted.clear();
        if policy.scale_in.window_seconds > 0 {
            self.wanted.push(Seen {
                at: now,
                what: current,
                overlapped: false,
            });
        }
        self.first_seen = Some(now);
        self.active_until = (current > 0 && !is_new).then_some(now);
        self.disturbed = Some(now);
        (self.foreign, self.noted) = (0, 0);
    }

    /// Times after now come from a clock that was wrong.
    fn clamp(&mut self, now: Timestamp) {
        self.activity
            .iter_mut()
            .map(|seen| &mut seen.at)
            .chain(self.wanted.iter_mut().map(|seen| &mut seen.at))
            .chain(self.changes.iter_mut().map(|change| &mut change.at))
            .chain(&mut self.first_seen)
            .chain(&mut self.active_until)
            .chain(&mut self.disturbed)
            .for_each(|at| *at = (*at).min(now));
    }

    /// No flapping: never below what was wanted at any time of the window, nor soon after a scale-out that was called for.
    fn scale_in_waited(&self, expected: &Expected<'_>, now: Timestamp) -> Option<String> {
        let Expected {
            target, decision, ..
        } = expected;
        if matches!(decision.reason, Reason::AboveMax | Reason::PausedReplicas) {
            return None;
        }
        let window = i64::from(target.policy.scale_in.window_seconds);
        let max = target.policy.bounds.max();
        let missed = self
            .wanted
            .iter()
            .find(|seen| seen.counts(window, now) && seen.what.min(max) > decision.to);
        missed.map(|seen| {
            format!(
                "below {}, which was wanted at {}, within {window} s",
                seen.what, seen.at
            )
        })
    }

    /// Zero and idle: after the cooldown, on empty readings a minute apart.
    fn rest_waited(&self, frame: &Frame, expected: &Expected<'_>) -> Option<String> {
        let now = frame.now;
        let policy = &expected.target.policy;
        let cooldown = i64::from(policy.cooldown_seconds);
        // Strictly more than the cooldown ago, in seconds. When the last active poll was is not remembered: one interval
        // before the first inactive one at the earliest.
        let interval = i64::from(policy.polling_seconds.get());
        let active = self
            .activity
            .iter()
            .find(|seen| seen.what == Some(true) && seen.counts(cooldown + 1 - interval, now));
        if let Some(seen) = active {
            return Some(format!("to rest, but active at {}", seen.at));
        }
        let was_active = self.activity.iter().any(|seen| seen.what == Some(true));
        let initial = i64::from(policy.initial_cooldown_seconds);
        let (since, needed) = match self.active_until {
            Some(until) => (Some(until), cooldown),
            None if was_active => (None, cooldown),
            None => (policy.created.or(self.first_seen), initial),
        };
        if since.is_some_and(|since| seconds_since(since, now) <= needed) {
            return Some(format!("to rest within {needed} s of {since:?}"));
        }
        let recent = |seconds: i64| {
            self.activity
                .iter()
                .any(move |seen| seen.overlapped && seconds_since(seen.at, now) < seconds)
        };
        if frame.overlapped || recent(60 + LONGEST_PASS_SECONDS) {
            return None;
        }
        let run = self.activity.iter().rev();
        let empty_since = run
            .take_while(|seen| seen.what == Some(false))
            .last()
            .map(|seen| seen.at);
        let Some(empty_for) = empty_since.map(|since| seconds_since(since, now)) else {
            return Some("to rest on a first empty reading".to_owned());
        };
        (empty_for < 60).then(|| format!("to rest on readings that are empty for {empty_for} s"))
    }

    fn rate_is_kept(&self, expected: &Expected<'_>, now: Timestamp) -> Option<String> {
        let Expected {
            target, decision, ..
        } = expected;
        let excused = self
            .disturbed
            .is_some_and(|at| seconds_since(at, now) < 1800);
        let corrects = matches!(
            decision.reason,
            Reason::AboveMax | Reason::BelowMin | Reason::PausedReplicas
        );
        if excused || corrects || !decision.is_scale() || expected.is_shadow() {
            return None;
        }
        naive::past_the_rate(&target.policy, &self.changes, decision, now)
    }

    /// Each foreign change is noted once, and none that was not.
    fn contest_has_a_cause(&self, expected: &Expected<'_>, now: Timestamp) -> Option<String> {
        let noted = self.noted + usize::from(notes_a_change(expected, now));
        (noted > self.foreign)
            .then(|| format!("{noted} foreign changes noted of {} at most", self.foreign))
    }
}

fn notes_a_change(expected: &Expected<'_>, now: Timestamp) -> bool {
    let noted = |state: &State| state.foreign_writes.iter().filter(|at| **at == now).count();
    let Some(before) = &expected.state else {
        return false;
    };
    // Times in the future are read as now, and then nobody can tell the new one.
    expected.decision.warnings.is_empty() && noted(&expected.decision.state) > noted(before)
}

/// The reply to a read of a workload, when there was one.
type Reply = Option<Result<SeenWorkload, outrigger::ports::Fault>>;
