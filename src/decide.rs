//! The decision: how many replicas, and why. Pure: same inputs, same bytes.
//!
//! The rules run in the order of the functions called by `by_the_rules`; each takes and returns a running count.
//! The reason of a [`Decision`] is the rule that set the final count, also when that count is the present one.

mod activity;
mod contest;
mod demand;
mod explain;
mod limit;
mod memory;
mod observation;
mod owner;
mod reason;
mod rollout;
mod window;

use jiff::Timestamp;

use crate::owners::Conflict;
use crate::policy::{Mode, Policy, SelectPolicy};
use crate::state::{ScaleEvent, State};

pub use observation::{Observation, QueueDepth, Reading, Rollout, Stop, Workload};
pub use reason::{Limit, Reason};

use activity::Rest;
use demand::{Demand, Leading, Range};
use limit::Direction;
use window::Extreme;

/// Zero needs empty readings at least this far apart, whatever the cooldown: SQS counts may lag by a minute.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html>
pub const MIN_EMPTY_SECONDS: u32 = 60;

/// What to do and why. Acting on it leaves nothing to choose.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The count observed.
    pub from: u32,
    /// The count to write; equal to `from` on a hold.
    pub to: u32,
    /// The rule that set `to`.
    pub reason: Reason,
    /// What kept the count from being what the backlog asks for.
    pub limited_by: Vec<Limit>,
    /// One sentence with the numbers in it.
    pub explanation: String,
    /// What is odd about the inputs and was put right.
    pub warnings: Vec<String>,
    /// When the last of those lets go, if nothing else changes; `None` where no time ends it, or nothing limits the count.
    pub until: Option<Timestamp>,
    /// Whether somebody else keeps changing the count.
    pub contested: bool,
    /// Whether a trigger is active; `None` when a failed reading leaves it open.
    pub active: Option<bool>,
    /// The trigger that asks for most, by its place in the policy; `None` when no reading leads.
    pub leading: Option<usize>,
    /// What to remember for the next pass.
    pub state: State,
}

impl Decision {
    /// Whether there is a count to write.
    #[must_use]
    pub fn is_scale(&self) -> bool {
        self.from != self.to
    }

    /// Whether other owners must be looked for before this decision counts: it changes the count, somebody keeps changing it,
    /// or it takes an owner that was there in the state `before` to be gone.
    #[must_use]
    pub fn depends_on_owners(&self, before: Option<&State>) -> bool {
        let was_owned = before.is_some_and(|state| state.other_owner);
        self.is_scale() || self.contested || (was_owned && !self.state.other_owner)
    }
}

/// The count so far, and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Running {
    count: u32,
    reason: Reason,
    limited_by: Vec<Limit>,
    /// When the last of `limited_by` lets go.
    until: Option<Timestamp>,
    /// On its way to zero or idle, where a count below the minimum is within bounds.
    resting: bool,
}

impl Running {
    fn new(count: u32, reason: Reason) -> Self {
        Self {
            count,
            reason,
            limited_by: Vec::new(),
            until: None,
            resting: false,
        }
    }

    /// Sets the count because of a rule.
    fn set(&mut self, count: u32, reason: Reason) {
        (self.count, self.reason) = (count, reason);
    }

    /// Sets the count because a rule does not allow the one so far. What ends it is no time that is known.
    fn limit(&mut self, count: u32, reason: Reason, limit: Limit) {
        self.limit_until(count, reason, limit, None);
    }

    /// Sets the count because a rule does not allow the one so far, and lets go at a time.
    fn limit_until(&mut self, count: u32, reason: Reason, limit: Limit, until: Option<Timestamp>) {
        self.set(count, reason);
        self.limited_by.push(limit);
        self.until = until;
    }
}

/// Decides from what was observed and remembered. `state` is `None` when nothing is remembered:
/// then the current count is held for a whole scale-in window.
pub fn decide(
    policy: &Policy,
    observation: &Observation,
    state: Option<&State>,
    now: Timestamp,
) -> Decision {
    let current = observation.workload.replicas;
    let mut warnings = Vec::new();
    let mut memory = match state {
        Some(state) => memory::clamped(state, now, &mut warnings),
        None => memory::begun(policy, current, now),
    };
    let is_stopped = observation.stop.all || observation.stop.unread(now).is_some();
    let is_paused = is_stopped || policy.pause.all || policy.pause.replicas.is_some();
    warnings.extend(owner::warnings(policy, &observation.conflicts));
    // In shadow mode others are expected to scale: they are told, and stop nothing.
    let conflicts = match policy.mode {
        Mode::Live => observation.conflicts.as_slice(),
        Mode::Shadow => &[],
    };
    let is_owned = owner::is_owned(conflicts);
    let was_owned = memory.other_owner;
    let is_explained = is_paused || is_owned || was_owned;
    match policy.mode {
        Mode::Live => contest::settle(&mut memory, policy, current, is_explained, now),
        Mode::Shadow => contest::follow(&mut memory, policy, current, now),
    }
    owner::remember(&mut memory, conflicts, is_paused);

    let (demand, running) = if is_owned || is_paused {
        left_alone(policy, observation, conflicts, &mut memory, now)
    } else {
        by_the_rules(policy, observation, conflicts, was_owned, &mut memory, now)
    };

    if running.count != current && policy.mode == Mode::Live {
        memory.pending = Some(ScaleEvent {
            at: now,
            since: None,
            from: current,
            to: running.count,
        });
    }
    limit::fit(&mut memory);
    let explanation = explain::explain(policy, observation, &demand, &memory, &running, now);
    let Running {
        count: to,
        reason,
        limited_by,
        until,
        resting: _,
    } = running;
    Decision {
        from: current,
        to,
        reason,
        limited_by,
        explanation,
        warnings,
        until,
        contested: !is_paused && contest::is_contested(&memory, now),
        active: demand.active,
        leading: demand.leading.trigger(),
        state: memory,
    }
}

/// Rules 1 and 2: somebody else has the say. What was wanted meanwhile nobody knows.
fn left_alone(
    policy: &Policy,
    observation: &Observation,
    conflicts: &[Conflict],
    memory: &mut State,
    now: Timestamp,
) -> (Demand, Running) {
    let current = observation.workload.replicas;
    activity::forget(memory);
    remember_scale_in(memory, policy, current, now);
    memory.out_window.clear();
    let demand = Demand::of(policy, &observation.readings, memory, current, now);
    let mut running = match policy.pause.replicas {
        _ if owner::is_owned(conflicts) => Running::new(current, Reason::OtherOwner),
        _ if observation.stop.all => Running::new(current, Reason::Stopped),
        _ if observation.stop.unread(now).is_some() => Running {
            until: observation.stop.unread(now),
            ..Running::new(current, Reason::StopUnknown)
        },
        Some(count) => Running::new(count, Reason::PausedReplicas),
        None => Running::new(current, Reason::Paused),
    };
    owner::limit(&mut running, conflicts, current);
    within_stop(&mut running, observation.stop, current);
    (demand, running)
}

/// The other rules, in their order.
fn by_the_rules(
    policy: &Policy,
    observation: &Observation,
    conflicts: &[Conflict],
    was_owned: bool,
    memory: &mut State,
    now: Timestamp,
) -> (Demand, Running) {
    let Workload {
        replicas: current,
        rollout,
    } = observation.workload;
    demand::count_failures(policy, &observation.readings, memory);
    let demand = Demand::of(policy, &observation.readings, memory, current, now);
    let poll_seconds = observation.poll_seconds.unwrap_or(policy.polling_seconds);
    let poll_seconds = poll_seconds.min(policy.polling_seconds).get();
    activity::remember(memory, &demand, poll_seconds, now);
    let (mut running, mut range) = wanted(policy, &demand, current);
    if was_owned {
        // A window of no length holds nothing, here either.
        let held = range
            .as_mut()
            .filter(|_| policy.scale_in.window_seconds > 0);
        owner::keep(memory, held, current, now);
    }
    let rest = activity::rest(policy, &demand, memory, now);
    stabilize(&mut running, range, policy, memory, current, now);
    limit_rate(&mut running, policy, memory, current, now);
    remember_wanted(memory, policy, range, current, now);
    to_rest(&mut running, policy, rest, memory, current, now);
    within_bounds(&mut running, policy, &demand, memory, current);
    contest::limit(&mut running, memory, current, now);
    owner::limit(&mut running, conflicts, current);
    within_stop(&mut running, observation.stop, current);
    within_pause(&mut running, policy, current);
    rollout::gate(&mut running, policy, rollout, current);
    (demand, running)
}

/// Rules 3 and 5: the counts that the readings ask for. Without a range nothing is asked for, and the count stays.
fn wanted(policy: &Policy, demand: &Demand, current: u32) -> (Running, Option<Range>) {
    let bounds = policy.bounds;
    let Some(raw) = demand.range else {
        let forced = policy.force_activation && current < bounds.active_min();
        return if forced {
            (Running::new(bounds.active_min(), Reason::Activated), None)
        } else {
            (Running::new(current, Reason::ReadingFailed), None)
        };
    };
    if bounds.rest() == Some(current) && demand.active != Some(true) {
        // Asleep: only activity wakes it, and a failed reading is not activity.
        let reason = if demand.failed > 0 {
            Reason::ReadingFailed
        } else {
            Reason::Inactive
        };
        return (Running::new(current, reason), None);
    }
    let within = |count: u32| count.clamp(bounds.active_min(), bounds.max());
    let mut range = Range {
        out: within(raw.out),
        scale_in: within(raw.scale_in),
    };
    let count = range.nearest(current);
    let reason = match (demand.leading, demand.within_tolerance) {
        (Leading::Fallback, _) => Reason::Fallback,
        _ if count != current && bounds.rest() == Some(current) => Reason::Activated,
        (leading, _) if count != current => leading.reason(),
        (_, true) => Reason::WithinTolerance,
        (_, false) => Reason::Steady,
    };
    let mut running = Running::new(count, reason);
    if raw.out > bounds.max() {
        running.limited_by.push(Limit::MaxReplicaCount);
    } else if raw.scale_in < bounds.min() {
        running.limited_by.push(Limit::MinReplicaCount);
    }
    if demand.failed > 0 {
        // Whatever is configured: an error never scales in.
        range.scale_in = range.scale_in.max(current);
        if count < current {
            running.limit(current, Reason::ReadingFailed, Limit::FailedReading);
        }
    }
    (running, Some(range))
}

/// Rule 6, the windows: the current count, moved into what was wanted at every moment of them.
fn stabilize(
    running: &mut Running,
    range: Option<Range>,
    policy: &Policy,
    memory: &State,
    current: u32,
    now: Timestamp,
) {
    let Some(Range { out, scale_in }) = range else {
        return;
    };
    let lowest = window::lowest(&memory.out_window, policy.scale_out.window_seconds, now)
        .map_or(out, |lowest| lowest.min(out));
    let highest = window::highest(&memory.in_window, policy.scale_in.window_seconds, now)
        .map_or(scale_in, |highest| highest.max(scale_in));
    let mut count = Range {
        out: lowest,
        scale_in: highest,
    }
    .nearest(current);
    if current < policy.bounds.active_min() {
        // Waking is a rule of its own: the window smooths what comes after.
        count = count.max(policy.bounds.active_min());
    }
    if count < running.count {
        let (window, seconds) = (&memory.out_window, policy.scale_out.window_seconds);
        let until = window::lets_go(Extreme::Lowest, window, count, seconds, now);
        running.limit_until(count, Reason::ScaleOutWindow, Limit::ScaleOutWindow, until);
    } else if count > running.count {
        let (window, seconds) = (&memory.in_window, policy.scale_in.window_seconds);
        let until = window::lets_go(Extreme::Highest, window, count, seconds, now);
        running.limit_until(count, Reason::ScaleInWindow, Limit::ScaleInWindow, until);
    }
}

/// Rule 6, the rates.
fn limit_rate(
    running: &mut Running,
    policy: &Policy,
    memory: &State,
    current: u32,
    now: Timestamp,
) {
    if running.count > current {
        let Some(mut allowed) =
            limit::highest_allowed(&policy.scale_out, &memory.events, current, now)
        else {
            return;
        };
        if current < policy.bounds.active_min() {
            // A share of nothing is nothing, so a percentage alone could never wake a workload.
            allowed = allowed.max(policy.bounds.active_min());
        }
        if running.count > allowed {
            let until = limit::lets_go(
                Direction::Out,
                policy,
                &memory.events,
                (current, allowed),
                now,
            );
            running.limit_until(
                allowed,
                Reason::ScaleOutLimit,
                Limit::ScaleOutPolicies,
                until,
            );
        }
    } else if running.count < current {
        let allowed = limit::lowest_allowed(&policy.scale_in, &memory.events, current, now);
        if let Some(allowed) = allowed.filter(|allowed| running.count < *allowed) {
            limit_scale_in(running, policy, memory, (current, allowed), now);
        }
    }
}

/// Sets the count that the scale-in policies leave.
fn limit_scale_in(
    running: &mut Running,
    policy: &Policy,
    memory: &State,
    (current, allowed): (u32, u32),
    now: Timestamp,
) {
    let until = limit::lets_go(
        Direction::In,
        policy,
        &memory.events,
        (current, allowed),
        now,
    );
    running.limit_until(allowed, Reason::ScaleInLimit, Limit::ScaleInPolicies, until);
}

/// Enters what was wanted into the windows; what nobody could see, as the current count.
fn remember_wanted(
    memory: &mut State,
    policy: &Policy,
    range: Option<Range>,
    current: u32,
    now: Timestamp,
) {
    let scale_in = range.map_or(current, |range| range.scale_in);
    remember_scale_in(memory, policy, scale_in, now);
    // A workload at rest starts its scale-out window afresh when it wakes.
    let awake = (current >= policy.bounds.active_min()).then_some(current);
    let out = range.map(|range| range.out).or(awake);
    let seconds = policy.scale_out.window_seconds;
    memory.out_window = out.map_or_else(Vec::new, |out| {
        window::enter(Extreme::Lowest, &memory.out_window, out, seconds, now)
    });
}

fn remember_scale_in(memory: &mut State, policy: &Policy, wanted: u32, now: Timestamp) {
    memory.in_window = window::enter(
        Extreme::Highest,
        &memory.in_window,
        wanted,
        policy.scale_in.window_seconds,
        now,
    );
}

/// Rule 7: to zero or idle once the workload has been inactive for long enough, along the scale-in policies.
fn to_rest(
    running: &mut Running,
    policy: &Policy,
    rest: Rest,
    memory: &State,
    current: u32,
    now: Timestamp,
) {
    match rest {
        Rest::Active => {}
        Rest::Allowed(count) => {
            if running.count <= count {
                return;
            }
            let allowed = limit::lowest_allowed(&policy.scale_in, &memory.events, current, now);
            let next = allowed.map_or(count, |allowed| allowed.max(count));
            let active_min = policy.bounds.active_min();
            if next < active_min && policy.scale_in.select == Some(SelectPolicy::Disabled) {
                // Not on its way anywhere, so the minimum holds.
                return;
            }
            running.limited_by.clear();
            running.resting = true;
            running.until = None;
            if next > count {
                limit_scale_in(running, policy, memory, (current, next), now);
            }
            if next > count && (next >= active_min || next == current) {
                return;
            }
            let reason = if count == 0 {
                Reason::ScaledToZero
            } else {
                Reason::ScaledToIdle
            };
            running.set(next, reason);
        }
        Rest::CoolingDown { count, until } => {
            // Above the active minimum it is the backlog or the window that holds the count; at it, only the cooldown does.
            if running.count > count && running.count <= policy.bounds.active_min() {
                running.limited_by.push(Limit::Cooldown);
                running.until = Some(until);
                if running.count == current {
                    running.reason = Reason::Cooldown;
                }
            }
        }
    }
}

/// Rule 8: the configured limits, at once, also when readings fail.
fn within_bounds(
    running: &mut Running,
    policy: &Policy,
    demand: &Demand,
    memory: &State,
    current: u32,
) {
    let bounds = policy.bounds;
    let (min, max) = (bounds.min(), bounds.max());
    // A reading that failed says nothing about activity, so the last known one decides.
    let inactive = !demand.active.unwrap_or(memory.active);
    let resting = running.resting || (inactive && Some(running.count) == bounds.rest());
    if running.count > max {
        running.set(max, Reason::AboveMax);
    } else if running.count < min && !resting {
        running.set(min, Reason::BelowMin);
    } else if current > max && running.count == max {
        running.reason = Reason::AboveMax;
    } else if current < min
        && running.count == min
        && running.reason.is_demand()
        && demand.range.is_some_and(|range| range.out <= min)
    {
        running.reason = Reason::BelowMin;
        running
            .limited_by
            .retain(|limit| *limit != Limit::MinReplicaCount);
    }
}

/// Rule 2, the stop of scale-in: whoever writes it means every one, also what an annotation asks for.
fn within_stop(running: &mut Running, stop: Stop, current: u32) {
    if stop.scale_in && running.count < current {
        running.limit(current, Reason::StoppedScaleIn, Limit::Stop);
    }
}

/// Rule 2, the half pauses: nothing moves in a direction that a person has switched off, corrections included.
fn within_pause(running: &mut Running, policy: &Policy, current: u32) {
    if policy.pause.scale_in && running.count < current {
        running.limit(current, Reason::PausedScaleIn, Limit::PausedScaleIn);
    } else if policy.pause.scale_out && running.count > current {
        running.limit(current, Reason::PausedScaleOut, Limit::PausedScaleOut);
    }
}

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tests;
