//! Rate limits: how far the count may move in a period, from the scale events on record.
//!
//! The arithmetic is that of the Kubernetes controller (`calculateScaleUpLimitWithScalingRules` and its twin), in binary64
//! and in its order, because its rounding shows: 100 + 10 % are 111.

use jiff::Timestamp;

use super::EVENT_MEMORY_SECONDS;
use super::window::is_within;
use crate::policy::{Amount, RatePolicy, ScalingRules, SelectPolicy};
use crate::state::{MAX_EVENTS, ScaleEvent};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Out,
    In,
}

impl Direction {
    fn of(event: &ScaleEvent) -> Self {
        if event.to < event.from {
            Self::In
        } else {
            Self::Out
        }
    }
}

/// Enters an event. Of too many the two of one direction that lie closest together become one, which keeps both times.
pub(super) fn remember(events: &mut Vec<ScaleEvent>, event: ScaleEvent, now: Timestamp) {
    events.retain(|event| is_within(event.at, EVENT_MEMORY_SECONDS, now));
    events.push(event);
    while events.len() > MAX_EVENTS {
        let Some((older, younger)) = closest(events) else {
            return;
        };
        let merged = merge(events[older], events[younger]);
        events[younger] = merged;
        events.remove(older);
    }
}

/// The places of the two events of one direction with the least time between them.
fn closest(events: &[ScaleEvent]) -> Option<(usize, usize)> {
    let pairs = events.iter().enumerate().filter_map(|(older, event)| {
        let rest = events.iter().enumerate().skip(older + 1);
        let same = |next: &ScaleEvent| Direction::of(next) == Direction::of(event);
        let (younger, next) = { rest }.find(|(_, next)| same(next))?;
        Some((next.at.duration_since(oldest(event)), (older, younger)))
    });
    pairs.min_by_key(|(apart, _)| *apart).map(|(_, pair)| pair)
}

fn merge(older: ScaleEvent, younger: ScaleEvent) -> ScaleEvent {
    let changed = older.to.abs_diff(older.from);
    let changed = changed.saturating_add(younger.to.abs_diff(younger.from));
    let (from, to) = match Direction::of(&younger) {
        Direction::Out => (older.from, older.from.saturating_add(changed)),
        Direction::In => (younger.to.saturating_add(changed), younger.to),
    };
    ScaleEvent {
        at: younger.at,
        since: Some(oldest(&older)),
        from,
        to,
    }
}

fn oldest(event: &ScaleEvent) -> Timestamp {
    event.since.unwrap_or(event.at)
}

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
    let start = |policy: &RatePolicy| period_start(Direction::Out, policy, events, current, now);
    let limit = selected(rules, current, start, grown, [f64::max, f64::min])?;
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
    let start = |policy: &RatePolicy| period_start(Direction::In, policy, events, current, now);
    let limit = selected(rules, current, start, shrunk, [f64::min, f64::max])?;
    Some(limit.min(current))
}

/// What the policies propose from the starts of their periods, and of that what `selectPolicy` picks:
/// the biggest change or the smallest.
fn selected(
    rules: &ScalingRules,
    current: u32,
    start: impl Fn(&RatePolicy) -> f64,
    propose: impl Fn(f64, Amount) -> f64,
    [biggest, smallest]: [fn(f64, f64) -> f64; 2],
) -> Option<u32> {
    let policies = rules.policies.iter();
    let proposals = policies.map(|policy| propose(start(policy), policy.amount));
    let limit = match rules.select? {
        SelectPolicy::Max => proposals.reduce(biggest),
        SelectPolicy::Min => proposals.reduce(smallest),
        SelectPolicy::Disabled => None,
    };
    Some(limit.map_or(current, replicas))
}

/// The count when the policy's period began: what was added since is taken off, what was removed is put back.
/// An event counts while it is strictly younger than the period. Of a merged one the cautious time counts: what moved in the
/// direction asked for is young for longer, what made room for it is old sooner.
fn period_start(
    direction: Direction,
    policy: &RatePolicy,
    events: &[ScaleEvent],
    current: u32,
    now: Timestamp,
) -> f64 {
    let at = |event: &ScaleEvent| {
        if Direction::of(event) == direction {
            event.at
        } else {
            oldest(event)
        }
    };
    let recent = events
        .iter()
        .filter(|event| is_within(at(event), policy.period_seconds, now));
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn as_many_events_are_kept_apart_as_there_is_room_for() {
        let mut events = Vec::new();
        for second in 0..=9_i64 {
            let from = u32::try_from(second).unwrap();
            let event = ScaleEvent {
                at: at(second * second),
                since: None,
                from,
                to: from + 1,
            };
            remember(&mut events, event, at(second * second));
            let merged = events.iter().filter(|event| event.since.is_some()).count();
            let expected = if second < 9 {
                (from as usize + 1, 0)
            } else {
                (MAX_EVENTS, 1)
            };
            assert_eq!((events.len(), merged), expected);
        }
        // The two that lay closest together.
        let first = ScaleEvent {
            at: at(1),
            since: Some(at(0)),
            from: 0,
            to: 2,
        };
        assert_eq!(events[0], first);
    }

    #[test]
    fn only_events_of_one_direction_become_one() {
        let event = |second, from, to| ScaleEvent {
            at: at(second),
            since: None,
            from,
            to,
        };
        // The least time, 20 s, lies between two scale-ins with a scale-out between them.
        let all = [
            event(0, 1, 5),
            event(100, 5, 3),
            event(200, 3, 9),
            event(300, 9, 8),
            event(400, 8, 10),
            event(460, 10, 7),
            event(470, 7, 12),
            event(480, 12, 8),
            event(700, 8, 20),
            event(900, 20, 10),
        ];
        let mut events = Vec::new();
        for event in all {
            remember(&mut events, event, event.at);
        }
        let both = ScaleEvent {
            since: Some(at(460)),
            ..event(480, 15, 8)
        };
        let mut expected = all.to_vec();
        expected.remove(5);
        expected[6] = both;
        assert_eq!(events, expected);
    }

    proptest! {
        /// What is forgotten for lack of room never lets the count move further than the whole history would.
        #[test]
        fn merged_events_are_never_less_strict(
            steps in prop::collection::vec((1i64..90, 0u32..40), 1..40),
            period_seconds in 1u32..1800,
            amount in prop_oneof![(1u32..8).prop_map(Amount::Pods), (1u32..300).prop_map(Amount::Percent)],
        ) {
            let (mut second, mut count) = (0, 20);
            let (mut kept, mut whole) = (Vec::new(), Vec::new());
            for (seconds, to) in steps {
                second += seconds;
                let event = ScaleEvent { at: at(second), since: None, from: count, to };
                if to != count {
                    remember(&mut kept, event, at(second));
                    whole.push(event);
                    count = to;
                }
            }
            let rules = ScalingRules {
                select: Some(SelectPolicy::Max),
                policies: vec![RatePolicy { amount, period_seconds }],
                ..ScalingRules::SCALE_OUT
            };
            prop_assert!(kept.len() <= MAX_EVENTS);
            for now in [second, second + 30, second + 300].map(at) {
                let highest = |events: &[ScaleEvent]| highest_allowed(&rules, events, count, now);
                prop_assert!(highest(&kept) <= highest(&whole), "{kept:?} {whole:?}");
                let lowest = |events: &[ScaleEvent]| lowest_allowed(&rules, events, count, now);
                prop_assert!(lowest(&kept) >= lowest(&whole), "{kept:?} {whole:?}");
            }
        }
    }
}
