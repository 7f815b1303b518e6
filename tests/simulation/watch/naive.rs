//! The arithmetic again, in the plainest words there are.

use jiff::Timestamp;
use outrigger::decide::{Decision, Observation, QueueDepth, Reading, Reason};
use outrigger::policy::{
    Amount, Policy, RatePolicy, ScalingRules, SelectPolicy, SqsTrigger, Trigger,
};

use crate::rules::CRON_MINUTES;

use super::{Change, Checked, ensure, seconds_since};

/// What the readings of one pass ask for; `fallback` is not among it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// To rise to, when lower.
    pub(super) out: u32,
    /// To fall to, when higher.
    pub(super) scale_in: u32,
    pub(super) active: Option<bool>,
    known: usize,
    failed: usize,
}

impl Asked {
    /// What the window must keep of this pass: nothing below what was wanted, and what could not be seen is the count itself.
    pub(super) fn scale_in_must_respect(&self, policy: &Policy, current: u32) -> u32 {
        let at_rest = policy.bounds.rest() == Some(current) && self.active != Some(true);
        if self.known == 0 || at_rest {
            return current;
        }
        let wanted = self
            .scale_in
            .clamp(policy.bounds.active_min(), policy.bounds.max());
        if self.failed > 0 {
            wanted.max(current)
        } else {
            wanted
        }
    }
}

pub(super) fn asked(policy: &Policy, observation: &Observation, now: Timestamp) -> Asked {
    let current = observation.workload.replicas;
    let mut asked = Asked {
        out: 0,
        scale_in: 0,
        active: None,
        known: 0,
        failed: 0,
    };
    let mut any_active = policy.force_activation;
    for (trigger, reading) in policy.triggers.iter().zip(&observation.readings) {
        let Some(Demand {
            for_out,
            for_scale_in,
            per_replica,
            active,
        }) = Demand::of(trigger, reading, now)
        else {
            asked.failed += 1;
            continue;
        };
        asked.known += 1;
        any_active |= active;
        asked.out = asked.out.max(wanted(policy, for_out, per_replica, current));
        let scale_in = wanted(policy, for_scale_in, per_replica, current);
        asked.scale_in = asked.scale_in.max(scale_in);
    }
    asked.active = if any_active {
        Some(true)
    } else {
        (asked.failed == 0).then_some(false)
    };
    asked
}

/// What one trigger wants to be taken care of, and how much of it a replica does.
struct Demand {
    for_out: u128,
    for_scale_in: u128,
    per_replica: u128,
    active: bool,
}

impl Demand {
    fn of(trigger: &Trigger, reading: &Reading, now: Timestamp) -> Option<Self> {
        let same = |value: u128, per_replica: u128, active| Self {
            for_out: value,
            for_scale_in: value,
            per_replica,
            active,
        };
        match (trigger, reading) {
            (Trigger::SqsQueue(trigger), Reading::Queue(depth)) => {
                Some(Self::of_queue(trigger, *depth))
            }
            (Trigger::CloudWatch(trigger), Reading::Metric(value)) => {
                let value = value.or(trigger.no_data_milli)?;
                let (target, active) =
                    (trigger.target_milli.get(), value > trigger.activation_milli);
                Some(same(
                    u128::try_from(value).unwrap_or(0),
                    target.into(),
                    active,
                ))
            }
            (Trigger::Cron(trigger), _) => {
                let is_open = now.as_second().rem_euclid(3600) / 60 < CRON_MINUTES;
                let replicas = if is_open { trigger.replicas.get() } else { 0 };
                Some(same(replicas.into(), 1, is_open))
            }
            _ => None,
        }
    }

    fn of_queue(trigger: &SqsTrigger, depth: QueueDepth) -> Self {
        let QueueDepth {
            visible,
            in_flight,
            delayed,
        } = depth;
        let delayed = if trigger.count_delayed { delayed } else { 0 };
        let in_flight = if trigger.count_in_flight {
            in_flight
        } else {
            0
        };
        let waiting = u128::from(visible) + u128::from(delayed);
        let all = waiting + u128::from(in_flight);
        let counts_out = trigger.count_in_flight_for_scale_out;
        Self {
            for_out: if counts_out { all } else { waiting },
            for_scale_in: all,
            per_replica: trigger.messages_per_replica.get().into(),
            active: all > u128::from(trigger.activation_messages),
        }
    }
}

/// As many replicas as take care of the messages, or those that are there when they nearly do.
fn wanted(policy: &Policy, messages: u128, per_replica: u128, current: u32) -> u32 {
    let billion = 1_000_000_000;
    let has = per_replica * u128::from(current);
    let tolerated = |rules: &ScalingRules| has * u128::from(rules.tolerance_billionths);
    let over = messages.saturating_sub(has) * billion;
    let under = has.saturating_sub(messages) * billion;
    if current > 0 && over <= tolerated(&policy.scale_out) && under <= tolerated(&policy.scale_in) {
        return current;
    }
    u32::try_from(messages.div_ceil(per_replica)).unwrap_or(u32::MAX)
}

/// Whether a change goes further than the policies allow, by the changes that were really made.
pub(super) fn past_the_rate(
    policy: &Policy,
    changes: &[Change],
    decision: &Decision,
    now: Timestamp,
) -> Option<String> {
    let Decision { from, to, .. } = *decision;
    let is_out = to > from;
    let rules = if is_out {
        &policy.scale_out
    } else {
        &policy.scale_in
    };
    let mut limits: Vec<f64> = rules
        .policies
        .iter()
        .map(|policy| limit(*policy, changes, from, is_out, now))
        .collect();
    limits.sort_by(f64::total_cmp);
    let (lowest, highest) = (*limits.first()?, *limits.last()?);
    let limit = match (rules.select?, is_out) {
        (SelectPolicy::Disabled, _) => f64::from(from),
        (SelectPolicy::Max, true) | (SelectPolicy::Min, false) => highest,
        (SelectPolicy::Min, true) | (SelectPolicy::Max, false) => lowest,
    };
    // Waking up is a rule of its own.
    let wakes = is_out && to <= policy.bounds.active_min();
    let is_past = if is_out {
        f64::from(to) > limit && !wakes
    } else {
        f64::from(to) < limit.max(0.0)
    };
    is_past.then(|| format!("past the limit of {limit}"))
}

fn limit(policy: RatePolicy, changes: &[Change], from: u32, is_out: bool, now: Timestamp) -> f64 {
    let period = i64::from(policy.period_seconds);
    let recent = changes
        .iter()
        .filter(|change| seconds_since(change.at, now) < period);
    let start = recent.fold(f64::from(from), |start, change| {
        start - f64::from(change.to) + f64::from(change.from)
    });
    match (policy.amount, is_out) {
        (Amount::Pods(pods), true) => start + f64::from(pods),
        (Amount::Pods(pods), false) => start - f64::from(pods),
        (Amount::Percent(percent), true) => (start * (1.0 + f64::from(percent) / 100.0)).ceil(),
        (Amount::Percent(percent), false) => (start * (1.0 - f64::from(percent) / 100.0)).trunc(),
    }
}

/// In a world that stands still nothing waits any more, and the count is the one asked for.
pub(super) fn at_rest(
    policy: &Policy,
    observation: &Observation,
    decision: &Decision,
    asked: Asked,
) -> Checked {
    let what = || {
        format!(
            "not at rest: {}\n{decision:?}\n{observation:?}\n{policy:?}",
            decision.explanation
        )
    };
    let disabled = |rules: &ScalingRules| rules.select == Some(SelectPolicy::Disabled);
    let bounds = policy.bounds;
    let within = |count: u32| count.clamp(bounds.active_min(), bounds.max());
    let current = decision.to;
    let is_right = match decision.reason {
        // While nobody knows who owns it, it waits.
        _ if !observation.conflicts.is_empty() => true,
        Reason::Steady | Reason::WithinTolerance => {
            asked.failed > 0
                || (within(asked.out)..=within(asked.scale_in).max(within(asked.out)))
                    .contains(&current)
        }
        Reason::Inactive => bounds.rest() == Some(current) && asked.active == Some(false),
        Reason::ReadingFailed | Reason::Fallback => asked.failed > 0,
        Reason::ScaleOutLimit => disabled(&policy.scale_out),
        Reason::ScaleInLimit => disabled(&policy.scale_in),
        Reason::Stopped
        | Reason::StopUnknown
        | Reason::StoppedScaleIn
        | Reason::Paused
        | Reason::PausedReplicas
        | Reason::PausedScaleIn
        | Reason::PausedScaleOut
        | Reason::OtherOwner => true,
        Reason::RolloutPaused
        | Reason::RolloutAborted
        | Reason::RolloutUpdating
        | Reason::RolloutHandover
        | Reason::RolloutPauseStep => {
            observation.workload.rollout != Some(outrigger::decide::Rollout::default())
        }
        Reason::QueueDepth
        | Reason::MetricValue
        | Reason::CronWindow
        | Reason::Activated
        | Reason::ScaledToZero
        | Reason::ScaledToIdle
        | Reason::AboveMax
        | Reason::BelowMin
        | Reason::ScaleInWindow
        | Reason::ScaleOutWindow
        | Reason::Cooldown
        | Reason::Contested
        | Reason::OwnersUnknown => false,
    };
    ensure(is_right, what)
}
