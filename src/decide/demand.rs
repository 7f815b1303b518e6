//! From readings to the count that they ask for: exact integers, one rounding.

use super::{QueueDepth, Reading};
use crate::policy::{Policy, SqsTrigger, Tolerance, Trigger};

/// What the readings ask for, before any rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Demand {
    /// The highest count over the readings that succeeded; `None` when none did.
    pub(super) raw: Option<u32>,
    /// Whether any value is above its activation threshold; `None` when a failed reading leaves it open.
    pub(super) active: Option<bool>,
    /// Whether `raw` is the current count only because the difference is within the tolerance.
    pub(super) within_tolerance: bool,
    /// Readings that failed.
    pub(super) failed: usize,
    /// The trigger that asks for most, and its reading.
    pub(super) leading: Option<(usize, QueueDepth)>,
}

impl Demand {
    /// Reads a policy's triggers. A reading that is missing counts as failed.
    pub(super) fn of(policy: &Policy, readings: &[Reading], current: u32) -> Self {
        let mut demand = Self {
            raw: None,
            active: None,
            within_tolerance: false,
            failed: 0,
            leading: None,
        };
        let mut any_active = policy.force_activation;
        for (index, trigger) in policy.triggers.iter().enumerate() {
            let Trigger::SqsQueue(trigger) = trigger;
            let Some(Reading::Queue(depth)) = readings.get(index) else {
                demand.failed += 1;
                continue;
            };
            let messages = messages(trigger, *depth);
            any_active |= messages > trigger.activation_messages;
            let exact = replicas_for(messages, trigger.messages_per_replica.get());
            let within = is_within(
                policy.tolerance,
                messages,
                trigger.messages_per_replica.get(),
                current,
            );
            let proposal = if within { current } else { exact };
            if demand.raw.is_none_or(|highest| proposal > highest) {
                demand.raw = Some(proposal);
                demand.within_tolerance = within && exact != current;
                demand.leading = Some((index, *depth));
            }
        }
        demand.active = match any_active {
            true => Some(true),
            false if demand.failed == 0 => Some(false),
            false => None,
        };
        demand
    }
}

/// The messages that a trigger counts.
pub(super) fn messages(trigger: &SqsTrigger, depth: QueueDepth) -> u64 {
    let QueueDepth {
        visible,
        in_flight,
        delayed,
    } = depth;
    let in_flight = if trigger.count_in_flight {
        in_flight
    } else {
        0
    };
    let delayed = if trigger.count_delayed { delayed } else { 0 };
    visible.saturating_add(in_flight).saturating_add(delayed)
}

/// `ceil(messages / messages_per_replica)`: 63 messages at 10 a replica are 7.
fn replicas_for(messages: u64, messages_per_replica: u32) -> u32 {
    u32::try_from(messages.div_ceil(u64::from(messages_per_replica.max(1)))).unwrap_or(u32::MAX)
}

/// `1 - scale_in <= messages / (messages_per_replica * current) <= 1 + scale_out`, cross-multiplied.
/// Both ends are inside, as in Kubernetes 1.33 and later. Without replicas there is no ratio, and nothing is inside.
fn is_within(tolerance: Tolerance, messages: u64, messages_per_replica: u32, current: u32) -> bool {
    const ONE: u128 = 1_000_000_000;
    let Tolerance {
        scale_out_billionths,
        scale_in_billionths,
    } = tolerance;
    let capacity = u128::from(messages_per_replica) * u128::from(current);
    // At most 2^64 * 10^9 and 2^63 * 2^65: both fit.
    let value = u128::from(messages) * ONE;
    let lowest = ONE.saturating_sub(u128::from(scale_in_billionths)) * capacity;
    let highest = (ONE + u128::from(scale_out_billionths)).saturating_mul(capacity);
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
        let inside = |messages, current| is_within(Tolerance::DEFAULT, messages, 10, current);
        assert!(inside(11, 1) && inside(9, 1) && inside(110, 10) && inside(90, 10));
        assert!(!inside(12, 1) && !inside(8, 1) && !inside(111, 10) && !inside(89, 10));
        assert!(!inside(0, 0) && !inside(5, 0));
        assert!(!is_within(
            Tolerance {
                scale_out_billionths: u64::MAX,
                scale_in_billionths: 0
            },
            1,
            u32::MAX,
            u32::MAX
        ));
    }
}
