//! One decision: what it must come from, and what holds of it whatever was before.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use outrigger::decide::{Decision, Observation, Reading, Reason, Rollout, Stop, decide};
use outrigger::manifest::Target;
use outrigger::owners::Conflict;
use outrigger::policy::{Mode, Trigger};
use outrigger::ports::Fault;
use outrigger::record::{Record, decision_json, record_json};
use outrigger::state::State;
use serde_json::json;

use super::{Change, Checked, Reply, ensure, naive};
use crate::life::Frame;
use crate::rules::WORKLOADS;
use crate::servers::{Told, queue_of};

/// What a pass must decide from what it was told.
#[derive(Debug)]
pub(super) struct Expected<'a> {
    pub(super) target: &'a Target,
    pub(super) observation: Observation,
    pub(super) state: Option<State>,
    /// The text of it.
    pub(super) text: Option<String>,
    /// There was a memory that could not be read.
    pub(super) is_lost: bool,
    /// There is a place for a memory.
    pub(super) has_memory: bool,
    pub(super) decision: Decision,
    now: Timestamp,
}

impl<'a> Expected<'a> {
    /// Nothing may be decided before everything was asked for.
    pub(super) fn of(frame: &'a Frame, told: &Told, workload: usize) -> Result<Self, String> {
        let target = frame.target(workload);
        let reply: &Reply = &told.workloads[workload];
        let Some(Ok(seen)) = reply else {
            return Err(format!("decided without a count: {reply:?}"));
        };
        let triggers = target.policy.triggers.iter();
        let readings = triggers.map(|trigger| reading(told, trigger));
        let readings: Vec<Reading> = readings.collect::<Result<_, _>>()?;
        let keys = told.keys.as_ref().ok_or("decided without the ConfigMap")?;
        let stop = stop(frame, keys, &target.workload.key());
        let keys = keys.as_ref().ok();
        let text = keys.and_then(|keys| keys.get(&target.state_key()));
        let text = text.cloned();
        let parsed = text.as_deref().map(State::parse);
        let is_lost = matches!(parsed, Some(Err(_)));
        let state = parsed.and_then(Result::ok);
        let mut observation = Observation {
            workload: seen.workload,
            readings,
            stop,
            conflicts: Vec::new(),
            poll_seconds: None,
        };
        let mut decision = decide(&target.policy, &observation, state.as_ref(), frame.now);
        let asks = match target.policy.mode {
            Mode::Live if frame.dry_run => true,
            Mode::Live => decision.depends_on_owners(state.as_ref()),
            Mode::Shadow => decision.is_scale(),
        };
        if asks {
            observation.conflicts = conflicts(told, workload)?;
            decision = decide(&target.policy, &observation, state.as_ref(), frame.now);
        }
        Ok(Self {
            target,
            observation,
            state,
            text,
            is_lost,
            has_memory: keys.is_some(),
            decision,
            now: frame.now,
        })
    }

    /// What its readings ask for.
    pub(super) fn asked(&self) -> naive::Asked {
        naive::asked(&self.target.policy, &self.observation, self.now)
    }

    pub(super) fn any_failed(&self) -> bool {
        let failed = |reading: &Reading| matches!(reading, Reading::Failed { .. });
        self.observation.readings.iter().any(failed)
    }

    /// A person or another owner has the say.
    pub(super) fn is_paused(&self) -> bool {
        let pause = self.target.policy.pause;
        self.observation.stop.all
            || pause.all
            || pause.replicas.is_some()
            || (self.is_owned() && !self.is_shadow())
    }

    /// Another owner was found.
    pub(super) fn is_owned(&self) -> bool {
        let owns = |conflict: &Conflict| matches!(conflict, Conflict::Autoscaler { .. });
        self.observation.conflicts.iter().any(owns)
    }

    /// Nobody knows whether there is another owner.
    fn is_owner_unknown(&self) -> bool {
        let is_unknown = |conflict: &Conflict| matches!(conflict, Conflict::Unknown { .. });
        self.observation.conflicts.iter().any(is_unknown) && !self.is_shadow()
    }

    /// The last count of another owner counts as one that was wanted.
    pub(super) fn was_owned(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.other_owner)
    }

    /// Somebody else scales, and this is only told.
    pub(super) fn is_shadow(&self) -> bool {
        self.target.policy.mode == Mode::Shadow
    }

    /// To zero or idle, or below the minimum on the way there.
    pub(super) fn is_resting(&self) -> bool {
        matches!(
            self.decision.reason,
            Reason::ScaledToZero | Reason::ScaledToIdle
        )
    }

    /// A step that may be on the way there, and ends at the rates or at a pause step.
    pub(super) fn may_be_on_its_way(&self) -> bool {
        let asked = self.asked();
        let steps = matches!(
            self.decision.reason,
            Reason::ScaleInLimit | Reason::RolloutPauseStep
        );
        steps && self.target.policy.bounds.rest().is_some() && asked.active == Some(false)
    }

    pub(super) fn is_stored_as(&self, text: &str) -> Checked {
        Self::is_written_as(&self.decision.state, text)
    }

    /// The change is no longer pending.
    pub(super) fn is_taken_back_as(&self, text: &str) -> Checked {
        let state = State {
            pending: None,
            ..self.decision.state.clone()
        };
        Self::is_written_as(&state, text)
    }

    fn is_written_as(state: &State, text: &str) -> Checked {
        let decided = state.to_json().to_string();
        ensure(decided == text, || {
            format!("another memory than decided: {text}")
        })?;
        ensure(text.len() <= 2048, || {
            format!("a memory of {} bytes: {text}", text.len())
        })?;
        ensure(
            State::parse(text).is_ok_and(|parsed| parsed == *state),
            || format!("not read as written: {text}"),
        )
    }

    /// The same inputs again, from the log line.
    pub(super) fn replays(&self, frame: &Frame) -> Checked {
        let record = record_json(
            &self.target.manifest,
            &self.observation,
            self.state.as_ref(),
            frame.now,
        );
        let first = decision_json(&self.decision).to_string();
        let line = json!({"_aws": {}, "record": record, "decision": self.decision.to}).to_string();
        let again = Record::parse(line.as_bytes())
            .map_err(|problems| format!("{line} is not read: {problems:?}"))?;
        let again = decision_json(&again.decide()).to_string();
        ensure(first == again, || {
            format!("{line} replays to {again}, not {first}")
        })
    }

    /// The invariants of a single decision.
    pub(super) fn holds(&self, frame: &Frame) -> Checked {
        let failed = self
            .leaves_the_bounds()
            .or_else(|| self.ignores_an_owner())
            .or_else(|| self.ignores_a_pause())
            .or_else(|| self.scales_in_in_a_contest())
            .or_else(|| self.scales_in_on_an_error())
            .or_else(|| self.ignores_the_rollout())
            .or_else(|| self.is_not_asked_for())
            .or_else(|| self.goes_past_the_rate())
            .or_else(|| self.is_not_final(frame))
            .or_else(|| self.wants_fewer_for_more(frame));
        let what = || format!("{}\n{self:?}", self.decision.explanation);
        ensure(failed.is_none(), || {
            format!("{}: {}", failed.unwrap_or_default(), what())
        })
    }

    fn leaves_the_bounds(&self) -> Option<&'static str> {
        let Decision { from, to, .. } = self.decision;
        let bounds = self.target.policy.bounds;
        let is_inside = (bounds.active_min()..=bounds.max()).contains(&to);
        let wrong = from != to && !is_inside && !self.is_resting() && !self.is_paused();
        if wrong {
            return Some("outside the bounds");
        }
        let rests_low = self.is_resting() && bounds.rest().is_none_or(|rest| to < rest);
        rests_low.then_some("below where it rests")
    }

    fn ignores_an_owner(&self) -> Option<&'static str> {
        let Decision { from, to, .. } = self.decision;
        let wrong = (self.is_owned() && !self.is_shadow() && to != from)
            || (self.is_owner_unknown() && to < from);
        wrong.then_some("beside another owner")
    }

    fn ignores_a_pause(&self) -> Option<&'static str> {
        let Decision { from, to, .. } = self.decision;
        if self.is_owned() && !self.is_shadow() {
            return None;
        }
        let pause = self.target.policy.pause;
        let Stop {
            all,
            scale_in,
            unread_until,
        } = self.observation.stop;
        let wrong = match pause.replicas {
            _ if all || unread_until.is_some() => to != from,
            Some(count) => to != count && !((self.is_owner_unknown() || scale_in) && count < from),
            None => {
                (pause.all && to != from)
                    || (pause.scale_in && to < from)
                    || (pause.scale_out && to > from)
            }
        };
        let wrong = wrong || (scale_in && to < from);
        wrong.then_some("against a pause")
    }

    /// Corrections to the bounds included.
    fn scales_in_in_a_contest(&self) -> Option<&'static str> {
        let wrong = self.decision.contested && self.decision.to < self.decision.from;
        wrong.then_some("scaled in in a contest")
    }

    fn scales_in_on_an_error(&self) -> Option<&'static str> {
        let corrects = matches!(
            self.decision.reason,
            Reason::AboveMax | Reason::PausedReplicas
        );
        let wrong = self.any_failed() && self.decision.to < self.decision.from && !corrects;
        wrong.then_some("scaled in on an error")
    }

    fn ignores_the_rollout(&self) -> Option<&'static str> {
        let Decision { from, to, .. } = self.decision;
        let rollout = self.observation.workload.rollout;
        let Rollout {
            paused,
            aborted,
            updating,
            pause_step,
            handover,
        } = rollout.filter(|_| !self.is_paused())?;
        let wrong = (paused && to != from)
            || ((aborted || (handover && !pause_step)) && to < from)
            || (updating && !pause_step && to < from)
            || (pause_step && to == 0 && from > 0);
        wrong.then_some("against the state of the Rollout")
    }

    /// No flapping, the other half: a count moves towards what the readings ask for and never past it.
    fn is_not_asked_for(&self) -> Option<&'static str> {
        let Decision {
            from, to, reason, ..
        } = self.decision;
        let policy = &self.target.policy;
        let asked = self.asked();
        if self.is_paused() || self.is_resting() || self.may_be_on_its_way() {
            return None;
        }
        let min = policy.bounds.active_min();
        let past = match to.cmp(&from) {
            std::cmp::Ordering::Equal => false,
            std::cmp::Ordering::Greater => {
                let fallback = policy.fallback.filter(|_| self.any_failed());
                let fallback = fallback.map_or(0, |fallback| fallback.count(from));
                to > asked.out.max(min).max(fallback)
            }
            std::cmp::Ordering::Less => {
                reason != Reason::AboveMax && to < asked.scale_in.min(policy.bounds.max())
            }
        };
        past.then_some("past what is asked for")
    }

    /// No step is larger than the policies allow after the changes that are remembered, on the way to zero or idle as well.
    /// Whether those are all that were made is asked of the whole life, where disturbances excuse much.
    fn goes_past_the_rate(&self) -> Option<&'static str> {
        let corrects = matches!(
            self.decision.reason,
            Reason::AboveMax | Reason::BelowMin | Reason::PausedReplicas
        );
        let events = self.decision.state.events.iter();
        let changes: Vec<Change> = events
            .map(|event| Change {
                at: event.at,
                from: event.from,
                to: event.to,
            })
            .collect();
        let is_past = self.decision.is_scale()
            && !corrects
            && naive::past_the_rate(&self.target.policy, &changes, &self.decision, self.now)
                .is_some();
        is_past.then_some("past the rate")
    }

    /// Deciding again on the applied result changes nothing, but for a count of failures on its way to the fallback.
    fn is_not_final(&self, frame: &Frame) -> Option<&'static str> {
        let policy = &self.target.policy;
        if policy.fallback.is_some() && self.any_failed() {
            return None;
        }
        let mut applied = self.observation.clone();
        applied.workload.replicas = self.decision.to;
        let again = decide(policy, &applied, Some(&self.decision.state), frame.now);
        let settled = decide(policy, &applied, Some(&again.state), frame.now);
        let same = decide(policy, &self.observation, self.state.as_ref(), frame.now);
        if same != self.decision {
            return Some("another decision from the same inputs");
        }
        // In shadow mode the change is somebody else's, and measured as such.
        let wrong =
            (again.to != self.decision.to && !self.is_shadow()) || settled.state != again.state;
        wrong.then_some("decided again on the result")
    }

    fn wants_fewer_for_more(&self, frame: &Frame) -> Option<&'static str> {
        let now = frame.now.as_second();
        let mut more = self.observation.clone();
        let index = usize::try_from(now).unwrap_or_default() % more.readings.len();
        let added = now.unsigned_abs().wrapping_mul(2_654_435_761) % 300;
        match more.readings.get_mut(index) {
            Some(Reading::Queue(depth)) => depth.visible = depth.visible.saturating_add(added),
            Some(Reading::Metric(Some(value))) => {
                *value = value.saturating_add(1000 * i64::try_from(added).unwrap());
            }
            _ => {}
        }
        let other = decide(&self.target.policy, &more, self.state.as_ref(), frame.now);
        (other.to < self.decision.to).then_some("more messages want fewer replicas")
    }
}

/// What a trigger was told.
fn reading(told: &Told, trigger: &Trigger) -> Result<Reading, String> {
    let failed = |fault: &Fault| Reading::Failed {
        error: fault.code.clone(),
    };
    let reading = match trigger {
        Trigger::Cron(_) => return Ok(Reading::Cron),
        Trigger::SqsQueue(trigger) => {
            let depth = told.depths.get(trigger.queue.address.name());
            depth.map(|depth| {
                depth
                    .as_ref()
                    .map_or_else(failed, |depth| Reading::Queue(*depth))
            })
        }
        Trigger::CloudWatch(trigger) => {
            let value = told.metrics.get(queue_of(&trigger.metric));
            value.map(|value| match value {
                Ok(None) if trigger.no_data_milli.is_none() => Reading::Failed {
                    error: "NoData".to_owned(),
                },
                value => value
                    .as_ref()
                    .map_or_else(failed, |value| Reading::Metric(*value)),
            })
        }
    };
    reading.ok_or_else(|| "decided without a reading".to_owned())
}

/// Who was found to own the workload, and what could not be looked at.
fn conflicts(told: &Told, workload: usize) -> Result<Vec<Conflict>, String> {
    let autoscalers = told.autoscalers.as_ref();
    let autoscalers = autoscalers.ok_or("decided without looking for autoscalers")?;
    let objects = told.scaled_objects.as_ref();
    let objects = objects.ok_or("decided without looking for ScaledObjects")?;
    let faults = [autoscalers.as_ref().err(), objects.as_ref().err()];
    let unknown = faults.into_iter().flatten().map(|fault| Conflict::Unknown {
        error: fault.code.clone(),
    });
    let autoscalers = autoscalers.as_deref().unwrap_or_default().iter();
    let found = autoscalers
        .filter(|autoscaler| autoscaler.target.name == WORKLOADS[workload])
        .map(|autoscaler| Conflict::Autoscaler {
            name: autoscaler.name.clone(),
            scaled_object: None,
        });
    Ok(unknown.chain(found).collect())
}

/// The emergency stop, from what was read now, else from what was read last.
fn stop(frame: &Frame, keys: &Result<BTreeMap<String, String>, Fault>, target: &str) -> Stop {
    let text = |keys: &BTreeMap<String, String>, key| keys.get(key).cloned().unwrap_or_default();
    let read =
        { keys.as_ref().ok() }.map(|keys| (text(keys, "pause"), text(keys, "pause-scale-in")));
    let known = read.or_else(|| frame.last_stop.clone());
    // One that was never read, and may be there, counts as a stop for five minutes.
    let is_unread = known.is_none() && keys.as_ref().is_err_and(|fault| fault.code != "NotFound");
    let since = frame.unread_since.unwrap_or(frame.now).min(frame.now);
    let until = since + SignedDuration::from_mins(5);
    let (all, scale_in) = known.unwrap_or_default();
    let names = |text: &str| text.lines().any(|line| line == "*" || line == target);
    Stop {
        all: names(&all),
        scale_in: names(&scale_in),
        unread_until: (is_unread && frame.now < until).then_some(until),
    }
}
