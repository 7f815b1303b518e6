//! From readings to the counts that they ask for: exact integers, one rounding.

use std::num::NonZeroU64;

use jiff::Timestamp;

use super::{QueueDepth, Reading, Reason};
use crate::policy::{CloudWatchTrigger, CronTrigger, Policy, SqsTrigger, Trigger};
use crate::state::{MAX_REPLICAS, State};

/// What the readings ask for, before any rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Demand {
    /// The counts asked for, highest over the triggers; `None` when no reading succeeded and none falls back.
    pub(super) range: Option<Range>,
    /// Whether any value is above its activation threshold; `None` when a failed reading leaves it open.
    pub(super) active: Option<bool>,
    /// Whether the current count stays only because the difference is within the tolerance.
    pub(super) within_tolerance: bool,
    /// Readings that failed, those that fall back included.
    pub(super) failed: usize,
    /// Where the highest count comes from.
    pub(super) leading: Leading,
}

/// A count below `out` is to rise to it, one above `scale_in` to fall to it; between the two it stays.
/// They differ only where a trigger counts differently by direction, and then `out <= scale_in`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) out: u32,
    pub(super) scale_in: u32,
}

impl Range {
    /// The count that a current one should become.
    pub(super) fn nearest(self, current: u32) -> u32 {
        // Not `clamp`, which panics on a range that a mistake has turned round.
        current.min(self.scale_in).max(self.out)
    }

    fn highest(self, other: Self) -> Self {
        Self {
            out: self.out.max(other.out),
            scale_in: self.scale_in.max(other.scale_in),
        }
    }
}

/// What asks for the highest count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leading {
    /// No reading.
    Nothing,
    /// The queue of a trigger.
    Queue(usize, QueueDepth),
    /// The metric of a trigger; `None` for no data.
    Metric(usize, Option<i64>),
    /// The window of a trigger, and whether it is open.
    Cron(usize, bool),
    /// `spec.fallback`.
    Fallback,
}

impl Leading {
    /// Why the count becomes what this asks for.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::Nothing => Reason::ReadingFailed,
            Self::Queue(..) => Reason::QueueDepth,
            Self::Metric(..) => Reason::MetricValue,
            Self::Cron(..) => Reason::CronWindow,
            Self::Fallback => Reason::Fallback,
        }
    }

    /// The trigger, by its place in the policy.
    pub(super) fn trigger(self) -> Option<usize> {
        match self {
            Self::Queue(index, _) | Self::Metric(index, _) | Self::Cron(index, _) => Some(index),
            Self::Nothing | Self::Fallback => None,
        }
    }
}

impl Demand {
    /// Reads a policy's triggers. A reading that is missing, or of another kind of trigger, counts as failed.
    /// `memory` has this pass' failures counted already.
    pub(super) fn of(
        policy: &Policy,
        readings: &[Reading],
        memory: &State,
        current: u32,
        now: Timestamp,
    ) -> Self {
        let mut demand = Self {
            range: None,
            active: None,
            within_tolerance: false,
            failed: 0,
            leading: Leading::Nothing,
        };
        let mut any_active = policy.force_activation;
        for (index, trigger) in policy.triggers.iter().enumerate() {
            if let Some(asked) =
                Asked::by(policy, index, trigger, readings.get(index), current, now)
            {
                any_active |= asked.active;
                demand.add(asked.range, asked.within_tolerance, asked.leading);
                continue;
            }
            demand.failed += 1;
            if let Some(count) = fallback(policy, memory, index, current) {
                any_active |= count > 0;
                demand.add(
                    Range {
                        out: count,
                        scale_in: count,
                    },
                    false,
                    Leading::Fallback,
                );
            }
        }
        demand.active = match any_active {
            true => Some(true),
            false if demand.failed == 0 => Some(false),
            false => None,
        };
        demand
    }

    fn add(&mut self, range: Range, within_tolerance: bool, from: Leading) {
        if self
            .range
            .is_none_or(|known| (range.out, range.scale_in) > (known.out, known.scale_in))
        {
            (self.within_tolerance, self.leading) = (within_tolerance, from);
        }
        self.range = Some(self.range.map_or(range, |known| known.highest(range)));
    }
}

/// The count that a failing trigger stands for, once it has failed too often.
fn fallback(policy: &Policy, memory: &State, trigger: usize, current: u32) -> Option<u32> {
    let fallback = policy.fallback?;
    let failures = u32::try_from(trigger)
        .ok()
        .and_then(|trigger| memory.failures.get(&trigger).copied());
    (failures.unwrap_or_default() > fallback.failure_threshold).then(|| fallback.count(current))
}

/// Counts this pass' failures, once each. They stop at one above the threshold, so that a lasting failure needs no write;
/// without a fallback nobody asks for them.
pub(super) fn count_failures(policy: &Policy, readings: &[Reading], memory: &mut State) {
    let Some(fallback) = policy.fallback else {
        memory.failures.clear();
        return;
    };
    let triggers = u32::try_from(policy.triggers.len()).unwrap_or(u32::MAX);
    memory.failures.retain(|trigger, _| *trigger < triggers);
    for (index, (trigger, kind)) in (0..triggers).zip(&policy.triggers).enumerate() {
        if is_read(kind, readings.get(index)) {
            memory.failures.remove(&trigger);
        } else {
            let failures = memory.failures.entry(trigger).or_default();
            *failures = failures
                .saturating_add(1)
                .min(fallback.failure_threshold.saturating_add(1))
                .min(MAX_REPLICAS);
        }
    }
}

/// Whether a trigger's reading succeeded. A cron trigger has none that could fail.
fn is_read(trigger: &Trigger, reading: Option<&Reading>) -> bool {
    match (trigger, reading) {
        (Trigger::Cron(_), _) | (Trigger::SqsQueue(_), Some(Reading::Queue(_))) => true,
        (Trigger::CloudWatch(trigger), Some(Reading::Metric(value))) => {
            counted(trigger, *value).is_some()
        }
        (Trigger::SqsQueue(_) | Trigger::CloudWatch(_), _) => false,
    }
}

/// What one trigger asks for.
struct Asked {
    range: Range,
    active: bool,
    within_tolerance: bool,
    leading: Leading,
}

impl Asked {
    /// `None` when its reading failed.
    fn by(
        policy: &Policy,
        index: usize,
        trigger: &Trigger,
        reading: Option<&Reading>,
        current: u32,
        now: Timestamp,
    ) -> Option<Self> {
        match (trigger, reading) {
            (Trigger::SqsQueue(trigger), Some(Reading::Queue(depth))) => {
                Some(Self::by_queue(policy, index, trigger, *depth, current))
            }
            (Trigger::CloudWatch(trigger), Some(Reading::Metric(value))) => {
                Self::by_metric(policy, index, trigger, *value, current)
            }
            (Trigger::Cron(trigger), _) => {
                Some(Self::by_cron(policy, index, trigger, current, now))
            }
            (Trigger::SqsQueue(_) | Trigger::CloudWatch(_), _) => None,
        }
    }

    fn by_queue(
        policy: &Policy,
        index: usize,
        trigger: &SqsTrigger,
        depth: QueueDepth,
        current: u32,
    ) -> Self {
        let per_replica = trigger.messages_per_replica.into();
        let for_scale_in = messages(trigger, depth);
        let propose = |messages| Proposed::of(policy, messages, per_replica, current);
        let (out, scale_in) = (
            propose(messages_for_scale_out(trigger, depth)),
            propose(for_scale_in),
        );
        Self {
            range: Range {
                out: out.count,
                scale_in: scale_in.count,
            },
            active: for_scale_in > trigger.activation_messages,
            within_tolerance: out.within_tolerance && scale_in.within_tolerance,
            leading: Leading::Queue(index, depth),
        }
    }

    fn by_metric(
        policy: &Policy,
        index: usize,
        trigger: &CloudWatchTrigger,
        value: Option<i64>,
        current: u32,
    ) -> Option<Self> {
        let counted = counted(trigger, value)?;
        // As KEDA does: below zero is no demand.
        let value_milli = u64::try_from(counted).unwrap_or(0);
        let proposed = Proposed::of(policy, value_milli, trigger.target_milli, current);
        Some(Self {
            range: proposed.range(),
            active: counted > trigger.activation_milli,
            within_tolerance: proposed.within_tolerance,
            leading: Leading::Metric(index, value),
        })
    }

    /// While the window is closed KEDA reports 1, which is no more than the least count of any active workload: here it
    /// is nothing, so that another trigger is named as what asks for the count.
    fn by_cron(
        policy: &Policy,
        index: usize,
        trigger: &CronTrigger,
        current: u32,
        now: Timestamp,
    ) -> Self {
        let active = trigger.is_open(now);
        let replicas = if active { trigger.replicas.get() } else { 0 };
        let proposed = Proposed::of(policy, replicas.into(), NonZeroU64::MIN, current);
        Self {
            range: proposed.range(),
            active,
            within_tolerance: proposed.within_tolerance,
            leading: Leading::Cron(index, active),
        }
    }
}

/// The thousandths that a metric's reading counts as; `None` when it has no data and the trigger calls that a failure.
fn counted(trigger: &CloudWatchTrigger, value: Option<i64>) -> Option<i64> {
    value.or(trigger.no_data_milli)
}

/// A count, or the present one where the difference is within the tolerance.
struct Proposed {
    count: u32,
    within_tolerance: bool,
}

impl Proposed {
    fn of(policy: &Policy, value: u64, per_replica: NonZeroU64, current: u32) -> Self {
        let exact = replicas_for(value, per_replica);
        let within = is_within(policy, value, per_replica, current);
        Self {
            count: if within { current } else { exact },
            within_tolerance: within && exact != current,
        }
    }

    fn range(&self) -> Range {
        Range {
            out: self.count,
            scale_in: self.count,
        }
    }
}

/// The messages that a trigger counts.
pub(super) fn messages(trigger: &SqsTrigger, depth: QueueDepth) -> u64 {
    let QueueDepth {
        visible: _,
        in_flight,
        delayed: _,
    } = depth;
    let in_flight = if trigger.count_in_flight {
        in_flight
    } else {
        0
    };
    without_in_flight(trigger, depth).saturating_add(in_flight)
}

/// The messages that it counts for scale-out.
pub(super) fn messages_for_scale_out(trigger: &SqsTrigger, depth: QueueDepth) -> u64 {
    if trigger.count_in_flight_for_scale_out {
        messages(trigger, depth)
    } else {
        without_in_flight(trigger, depth)
    }
}

fn without_in_flight(trigger: &SqsTrigger, depth: QueueDepth) -> u64 {
    let delayed = if trigger.count_delayed {
        depth.delayed
    } else {
        0
    };
    depth.visible.saturating_add(delayed)
}

/// `ceil(value / per_replica)`: 63 messages at 10 a replica are 7.
fn replicas_for(value: u64, per_replica: NonZeroU64) -> u32 {
    u32::try_from(value.div_ceil(per_replica.get())).unwrap_or(u32::MAX)
}

/// `1 - scale_in <= value / (per_replica * current) <= 1 + scale_out`, cross-multiplied.
/// Both ends are inside, as in Kubernetes 1.33 and later. Without replicas there is no ratio, and nothing is inside.
fn is_within(policy: &Policy, value: u64, per_replica: NonZeroU64, current: u32) -> bool {
    const ONE: u128 = 1_000_000_000;
    let scale_in = u128::from(policy.scale_in.tolerance_billionths);
    let scale_out = u128::from(policy.scale_out.tolerance_billionths);
    let capacity = u128::from(per_replica.get()) * u128::from(current);
    // At most 2^64 * 10^9, 10^9 * 2^96 and 2^65 * 2^96: the first two fit, the last saturates.
    let value = u128::from(value) * ONE;
    let lowest = ONE.saturating_sub(scale_in) * capacity;
    let highest = (ONE + scale_out).saturating_mul(capacity);
    current > 0 && (lowest..=highest).contains(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_round_up() {
        for (messages, per_replica, expected) in [
            (0, 10, 0),
            (1, 10, 1),
            (10, 10, 1),
            (11, 10, 2),
            (63, 10, 7),
            (u64::MAX, 1, u32::MAX),
        ] {
            assert_eq!(
                replicas_for(messages, NonZeroU64::new(per_replica).unwrap()),
                expected,
                "{messages} / {per_replica}"
            );
        }
    }

    #[test]
    fn both_ends_of_the_tolerance_are_inside() {
        let mut policy = super::super::tests::policy(1, 10, None);
        let ten = NonZeroU64::new(10).unwrap();
        let inside = |policy: &Policy, messages, current| is_within(policy, messages, ten, current);
        for (messages, current) in [(11, 1), (9, 1), (110, 10), (90, 10)] {
            assert!(
                inside(&policy, messages, current),
                "{messages} at {current}"
            );
        }
        for (messages, current) in [(12, 1), (8, 1), (111, 10), (89, 10), (0, 0), (5, 0)] {
            assert!(
                !inside(&policy, messages, current),
                "{messages} at {current}"
            );
        }
        policy.scale_out.tolerance_billionths = u64::MAX;
        assert!(is_within(
            &policy,
            u64::MAX,
            NonZeroU64::new(u32::MAX.into()).unwrap(),
            u32::MAX
        ));
        assert!(!is_within(&policy, 0, NonZeroU64::MAX, u32::MAX));
    }
}
