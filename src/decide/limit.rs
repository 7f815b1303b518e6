//! Rate limits: how far the count may move in a period, from the scale events on record.
//!
//! The arithmetic is that of the Kubernetes controller (`calculateScaleUpLimitWithScalingRules` and its twin), in binary64
//! and in its order, because its rounding shows: 100 + 10 % are 111.

use jiff::{SignedDuration, Timestamp};

use crate::policy::{Amount, RatePolicy, ScalingRules, SelectPolicy};
use crate::state::ScaleEvent;

/// The highest count that the rules allow now. `None` when nothing limits scale-out.
///
/// With Pods 4 in 60 s and one event 2 → 5 in that period, 5 may grow to 6: the period began at 2.
#[must_use]
pub(super) fn highest_allowed(
    rules: &ScalingRules,
    events: &[ScaleEvent],
    current: u32,
    now: Timestamp,
) -> Option<u32> {
    let proposals = rules.policies.iter().map(|policy| {
        let start = period_start(policy, events, current, now);
        match policy.amount {
            Amount::Pods(pods) => start + f64::from(pods),
            Amount::Percent(percent) => (start * (1.0 + f64::from(percent) / 100.0)).ceil(),
        }
    });
    let limit = match rules.select? {
        SelectPolicy::Max => proposals.reduce(f64::max),
        SelectPolicy::Min => proposals.reduce(f64::min),
        SelectPolicy::Disabled => None,
    };
    Some(limit.map_or(current, replicas).max(current))
}

/// The lowest count that the rules allow now. `None` when nothing limits scale-in.
#[must_use]
pub(super) fn lowest_allowed(
    rules: &ScalingRules,
    events: &[ScaleEvent],
    current: u32,
    now: Timestamp,
) -> Option<u32> {
    let proposals = rules.policies.iter().map(|policy| {
        let start = period_start(policy, events, current, now);
        match policy.amount {
            Amount::Pods(pods) => start - f64::from(pods),
            Amount::Percent(percent) => (start * (1.0 - f64::from(percent) / 100.0)).trunc(),
        }
    });
    // The biggest change of a scale-in is the lowest count.
    let limit = match rules.select? {
        SelectPolicy::Max => proposals.reduce(f64::min),
        SelectPolicy::Min => proposals.reduce(f64::max),
        SelectPolicy::Disabled => None,
    };
    Some(limit.map_or(current, replicas).min(current))
}

/// The count when the policy's period began: what was added since is taken off, what was removed is put back.
/// An event counts while it is strictly younger than the period.
fn period_start(policy: &RatePolicy, events: &[ScaleEvent], current: u32, now: Timestamp) -> f64 {
    let period = SignedDuration::from_secs(i64::from(policy.period_seconds));
    let recent = events
        .iter()
        .filter(|event| now.duration_since(event.at) < period);
    recent.fold(f64::from(current), |start, event| {
        start - f64::from(event.to) + f64::from(event.from)
    })
}

/// A limit as a count. Below zero is zero; beyond what a count can hold is no limit.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the range first"
)]
fn replicas(limit: f64) -> u32 {
    limit.clamp(0.0, f64::from(u32::MAX)) as u32
}
