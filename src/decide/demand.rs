//! From readings to the counts that they ask for: exact integers, one rounding.

use super::{QueueDepth, Reading};
use crate::policy::{Policy, SqsTrigger, Trigger};
use crate::state::State;

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
    /// A trigger's reading.
    Queue(usize, QueueDepth),
    /// `spec.fallback`.
    Fallback,
}

impl Demand {
    /// Reads a policy's triggers. A reading that is missing counts as failed.
    /// `memory` has this pass' failures counted already.
    pub(super) fn of(policy: &Policy, readings: &[Reading], memory: &State, current: u32) -> Self {
        let mut demand = Self {
            range: None,
            active: None,
            within_tolerance: false,
            failed: 0,
            leading: Leading::Nothing,
        };
        let mut any_active = policy.force_activation;
        for (index, trigger) in policy.triggers.iter().enumerate() {
            let Trigger::SqsQueue(trigger) = trigger;
            if let Some(Reading::Queue(depth)) = readings.get(index) {
                any_active |= messages(trigger, *depth) > trigger.activation_messages;
                let asked = Asked::by(policy, trigger, *depth, current);
                demand.add(
                    asked.range,
                    asked.within_tolerance,
                    Leading::Queue(index, *depth),
                );
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
    for (index, trigger) in (0..triggers).enumerate() {
        if matches!(readings.get(index), Some(Reading::Queue(_))) {
            memory.failures.remove(&trigger);
        } else {
            let failures = memory.failures.entry(trigger).or_default();
            *failures = failures
                .saturating_add(1)
                .min(fallback.failure_threshold.saturating_add(1));
        }
    }
}

struct Asked {
    range: Range,
    within_tolerance: bool,
}

impl Asked {
    fn by(policy: &Policy, trigger: &SqsTrigger, depth: QueueDepth, current: u32) -> Self {
        let per_replica = trigger.messages_per_replica.get();
        let for_scale_in = messages(trigger, depth);
        let for_scale_out = messages_for_scale_out(trigger, depth);
        let propose = |messages| {
            let exact = replicas_for(messages, per_replica);
            let within = is_within(policy, messages, per_replica, current);
            (
                if within { current } else { exact },
                within && exact != current,
            )
        };
        let ((out, within_out), (scale_in, within_in)) =
            (propose(for_scale_out), propose(for_scale_in));
        Self {
            range: Range { out, scale_in },
            within_tolerance: within_out && within_in,
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

/// `ceil(messages / messages_per_replica)`: 63 messages at 10 a replica are 7.
fn replicas_for(messages: u64, messages_per_replica: u32) -> u32 {
    u32::try_from(messages.div_ceil(u64::from(messages_per_replica.max(1)))).unwrap_or(u32::MAX)
}

/// `1 - scale_in <= messages / (messages_per_replica * current) <= 1 + scale_out`, cross-multiplied.
/// Both ends are inside, as in Kubernetes 1.33 and later. Without replicas there is no ratio, and nothing is inside.
fn is_within(policy: &Policy, messages: u64, messages_per_replica: u32, current: u32) -> bool {
    const ONE: u128 = 1_000_000_000;
    let scale_in = u128::from(policy.scale_in.tolerance_billionths);
    let scale_out = u128::from(policy.scale_out.tolerance_billionths);
    let capacity = u128::from(messages_per_replica) * u128::from(current);
    // At most 2^64 * 10^9 and 2^64 * 2^65: the first fits, the second saturates.
    let value = u128::from(messages) * ONE;
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
                replicas_for(messages, per_replica),
                expected,
                "{messages} / {per_replica}"
            );
        }
    }

    #[test]
    fn both_ends_of_the_tolerance_are_inside() {
        let mut policy = super::super::tests::policy(1, 10, None);
        let inside = |policy: &Policy, messages, current| is_within(policy, messages, 10, current);
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
        assert!(is_within(&policy, u64::MAX, u32::MAX, u32::MAX));
    }
}
