//! Rate limits: how far the count may move in a period, from the scale events on record.
//!
//! The arithmetic is that of the Kubernetes controller (`calculateScaleUpLimitWithScalingRules` and its twin), in binary64
//! and in its order, because its rounding shows: 100 + 10 % are 111.

use jiff::Timestamp;

use super::window::is_within;
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
    let grown = |start: f64, amount| match amount {
        Amount::Pods(pods) => start + f64::from(pods),
        Amount::Percent(percent) => (start * (1.0 + f64::from(percent) / 100.0)).ceil(),
    };
    let limit = selected(rules, events, current, now, grown, [f64::max, f64::min])?;
    Some(limit.max(current))
}

/// The lowest count that the rules allow now. `None` when nothing limits scale-in.
#[must_use]
pub(super) fn lowest_allowed(
    rules: &ScalingRules,
    events: &[ScaleEvent],
    current: u32,
    now: Timestamp,
) -> Option<u32> {
    let shrunk = |start: f64, amount| match amount {
        Amount::Pods(pods) => start - f64::from(pods),
        Amount::Percent(percent) => (start * (1.0 - f64::from(percent) / 100.0)).trunc(),
    };
    // The biggest change of a scale-in is the lowest count.
    let limit = selected(rules, events, current, now, shrunk, [f64::min, f64::max])?;
    Some(limit.min(current))
}

/// What the policies propose from the starts of their periods, and of that what `selectPolicy` picks:
/// the biggest change or the smallest.
fn selected(
    rules: &ScalingRules,
    events: &[ScaleEvent],
    current: u32,
    now: Timestamp,
    propose: impl Fn(f64, Amount) -> f64,
    [biggest, smallest]: [fn(f64, f64) -> f64; 2],
) -> Option<u32> {
    let policies = rules.policies.iter();
    let proposals =
        policies.map(|policy| propose(period_start(policy, events, current, now), policy.amount));
    let limit = match rules.select? {
        SelectPolicy::Max => proposals.reduce(biggest),
        SelectPolicy::Min => proposals.reduce(smallest),
        SelectPolicy::Disabled => None,
    };
    Some(limit.map_or(current, replicas))
}

/// The count when the policy's period began: what was added since is taken off, what was removed is put back.
/// An event counts while it is strictly younger than the period.
fn period_start(policy: &RatePolicy, events: &[ScaleEvent], current: u32, now: Timestamp) -> f64 {
    let recent = events
        .iter()
        .filter(|event| is_within(event.at, policy.period_seconds, now));
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
