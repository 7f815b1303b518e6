//! Rate limits: how far the count may move in a period, from the scale events on record.
//!
//! The arithmetic is that of the Kubernetes controller (`calculateScaleUpLimitWithScalingRules` and its twin), in binary64
//! and in its order, because its rounding shows: 100 + 10 % are 111.

use jiff::Timestamp;

use super::activity::after;
use super::window::{TENTHS, is_within, part};
use crate::policy::{Amount, Policy, RatePolicy, ScalingRules, SelectPolicy};
use crate::state::{MAX_EVENTS, MAX_REPLICAS, MAX_STATE_BYTES, ScaleEvent, State};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
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

/// Enters an event, and forgets what no policy looks back to any more; the last one stays.
///
/// Of too many, those of one direction become one that fall into the same tenth of the next period that they leave: it keeps
/// both times, and limits a tenth of the period too long at most.
pub(super) fn remember(
    events: &mut Vec<ScaleEvent>,
    event: ScaleEvent,
    policy: &Policy,
    now: Timestamp,
) {
    let periods = periods(policy);
    let longest = periods.last().copied().unwrap_or_default();
    events.retain(|event| is_within(event.at, longest, now));
    events.push(event);
    if events.len() <= MAX_EVENTS {
        return;
    }
    let mut older = 0;
    while let Some(event) = events.get(older).copied() {
        match next_of_its_direction(events, older) {
            Some(younger)
                if falls_together(&event, &events[younger], &periods, now)
                    && fits(&event, &events[younger]) =>
            {
                merge_pair(events, older, younger);
            }
            _ => older += 1,
        }
    }
}

/// Merges what lies closest together until the whole state is small enough for its ConfigMap.
pub(super) fn fit(memory: &mut State) {
    if memory.events.len() < 2 {
        return;
    }
    while memory.text_len() > MAX_STATE_BYTES {
        let events = &mut memory.events;
        // A sum that no count can hold is cut off, but only where nothing else is left to merge.
        let pair = closest(events, fits).or_else(|| closest(events, |_, _| true));
        let Some((older, younger)) = pair else {
            return;
        };
        merge_pair(events, older, younger);
    }
}

/// The periods of all policies that limit anything, ascending.
fn periods(policy: &Policy) -> Vec<u32> {
    let mut periods: Vec<u32> = [&policy.scale_out, &policy.scale_in]
        .into_iter()
        .filter(|rules| matches!(rules.select, Some(SelectPolicy::Max | SelectPolicy::Min)))
        .flat_map(|rules| rules.policies.iter().map(|policy| policy.period_seconds))
        .collect();
    periods.sort_unstable();
    periods.dedup();
    periods
}

/// Whether two events leave the next period in the same tenth of it.
fn falls_together(
    older: &ScaleEvent,
    younger: &ScaleEvent,
    periods: &[u32],
    now: Timestamp,
) -> bool {
    let next = |event: &ScaleEvent| {
        let leaves_later = |period: &&u32| is_within(event.at, **period, now);
        periods.iter().copied().find(|period| leaves_later(&period))
    };
    match (next(older), next(younger)) {
        (Some(period), Some(same)) if period == same => {
            part(oldest(older), period, TENTHS) == part(younger.at, period, TENTHS)
        }
        _ => false,
    }
}

fn next_of_its_direction(events: &[ScaleEvent], older: usize) -> Option<usize> {
    let direction = Direction::of(events.get(older)?);
    let mut younger = events.iter().enumerate().skip(older + 1);
    younger
        .find(|(_, event)| Direction::of(event) == direction)
        .map(|(younger, _)| younger)
}

fn merge_pair(events: &mut Vec<ScaleEvent>, older: usize, younger: usize) {
    events[younger] = merge(events[older], events[younger]);
    events.remove(older);
}

/// The places of the two events of one direction with the least time between them, of those that may be merged.
fn closest(
    events: &[ScaleEvent],
    may_merge: impl Fn(&ScaleEvent, &ScaleEvent) -> bool,
) -> Option<(usize, usize)> {
    let pairs = (0..events.len()).filter_map(|older| {
        let younger = next_of_its_direction(events, older)?;
        if !may_merge(&events[older], &events[younger]) {
            return None;
        }
        let apart = events[younger].at.duration_since(oldest(&events[older]));
        Some((apart, (older, younger)))
    });
    pairs.min_by_key(|(apart, _)| *apart).map(|(_, pair)| pair)
}

/// The changes of two events added up.
fn sum(older: &ScaleEvent, younger: &ScaleEvent) -> u32 {
    let changed = older.to.abs_diff(older.from);
    changed.saturating_add(younger.to.abs_diff(younger.from))
}

/// Whether one event can hold the changes of two.
fn fits(older: &ScaleEvent, younger: &ScaleEvent) -> bool {
    sum(older, younger) <= MAX_REPLICAS
}

/// One event for two: their changes added up, within what a count can be.
fn merge(older: ScaleEvent, younger: ScaleEvent) -> ScaleEvent {
    let changed = sum(&older, &younger).min(MAX_REPLICAS);
    // Only the difference counts for a rate.
    let (from, to) = match Direction::of(&younger) {
        Direction::Out => {
            let from = older.from.min(MAX_REPLICAS - changed);
            (from, from + changed)
        }
        Direction::In => {
            let to = younger.to.min(MAX_REPLICAS - changed);
            (to + changed, to)
        }
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

/// When the policies of a direction next allow a further step, once the count that they allow now is set. `None` where no time
/// does: at the lowest count, or where the direction is switched off.
pub(super) fn lets_go(
    direction: Direction,
    policy: &Policy,
    events: &[ScaleEvent],
    (current, allowed): (u32, u32),
    now: Timestamp,
) -> Option<Timestamp> {
    let change = ScaleEvent {
        at: now,
        since: None,
        from: current,
        to: allowed,
    };
    let made = (allowed != current).then_some(change);
    let events: Vec<ScaleEvent> = events.iter().copied().chain(made).collect();
    let rules = match direction {
        Direction::Out => &policy.scale_out,
        Direction::In => &policy.scale_in,
    };
    let allows_more = |at: &Timestamp| match direction {
        Direction::Out => highest_allowed(rules, &events, allowed, *at) > Some(allowed),
        Direction::In => lowest_allowed(rules, &events, allowed, *at) < Some(allowed),
    };
    let leave = events.iter().flat_map(|event| {
        let at = counted_at(direction, event);
        let policies = rules.policies.iter();
        policies.map(move |policy| after(at, policy.period_seconds))
    });
    let mut times: Vec<Timestamp> = leave.filter(|at| *at > now).collect();
    times.sort_unstable();
    times.into_iter().find(allows_more)
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

/// The time of an event for a direction. Of a merged one the cautious time counts: what moved in the direction asked for is
/// young for longer, what made room for it is old sooner.
fn counted_at(direction: Direction, event: &ScaleEvent) -> Timestamp {
    if Direction::of(event) == direction {
        event.at
    } else {
        oldest(event)
    }
}

/// The count when the policy's period began: what was added since is taken off, what was removed is put back.
/// An event counts while it is strictly younger than the period.
fn period_start(
    direction: Direction,
    policy: &RatePolicy,
    events: &[ScaleEvent],
    current: u32,
    now: Timestamp,
) -> f64 {
    let recent = events
        .iter()
        .filter(|event| is_within(counted_at(direction, event), policy.period_seconds, now));
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

    use super::super::tests::{at, policy};
    use super::*;

    fn rates(amount: Amount, period_seconds: u32) -> Policy {
        let rules = |rules: ScalingRules| ScalingRules {
            select: Some(SelectPolicy::Max),
            policies: vec![RatePolicy {
                amount,
                period_seconds,
            }],
            ..rules
        };
        Policy {
            scale_out: rules(ScalingRules::SCALE_OUT),
            scale_in: rules(ScalingRules::SCALE_IN),
            ..policy(1, 100, None)
        }
    }

    fn event(second: i64, from: u32, to: u32) -> ScaleEvent {
        ScaleEvent {
            at: at(second),
            since: None,
            from,
            to,
        }
    }

    fn remembered(policy: &Policy, all: &[ScaleEvent]) -> Vec<ScaleEvent> {
        let mut events = Vec::new();
        for event in all {
            remember(&mut events, *event, policy, event.at);
        }
        events
    }

    #[test]
    fn as_many_events_are_kept_apart_as_there_is_room_for() {
        let policy = rates(Amount::Pods(1), 300);
        let all: Vec<ScaleEvent> = (0..13)
            .map(|step| event(i64::from(step) * 20, step, step + 1))
            .collect();
        assert_eq!(remembered(&policy, &all[..12]), all[..12]);
        // Tenths of 300 s: 0 and 20, 60 and 80, …
        let both = |older: ScaleEvent, younger: ScaleEvent| ScaleEvent {
            since: Some(older.at),
            from: older.from,
            ..younger
        };
        let expected = [
            both(all[0], all[1]),
            all[2],
            both(all[3], all[4]),
            all[5],
            both(all[6], all[7]),
            all[8],
            both(all[9], all[10]),
            all[11],
            all[12],
        ];
        assert_eq!(remembered(&policy, &all), expected);
    }

    #[test]
    fn what_no_policy_looks_back_to_is_forgotten_but_for_the_last() {
        let all = [event(0, 1, 2), event(30, 2, 3), event(89, 3, 4)];
        let policy = rates(Amount::Pods(1), 60);
        assert_eq!(remembered(&policy, &all), all[1..]);
        let unlimited = super::super::tests::policy(1, 100, None);
        assert_eq!(remembered(&unlimited, &all), all[2..]);
    }

    #[test]
    fn only_events_of_one_direction_become_one() {
        let both = merge(event(460, 10, 7), event(480, 12, 8));
        let expected = ScaleEvent {
            since: Some(at(460)),
            ..event(480, 15, 8)
        };
        assert_eq!(both, expected);
        let events = [event(0, 1, 5), event(10, 5, 3), event(20, 3, 9)];
        assert_eq!(closest(&events, fits), Some((0, 2)));
        assert_eq!(closest(&events[..2], fits), None);
    }

    #[test]
    fn merged_changes_stay_within_a_count() {
        let most = MAX_REPLICAS;
        let out = merge(event(0, 1, most), event(1, 1, most));
        assert_eq!((out.from, out.to), (0, most));
        let scale_in = merge(event(0, most, 1), event(1, most, 1));
        assert_eq!((scale_in.from, scale_in.to), (most, 0));
        let small = merge(event(0, most - 3, most), event(1, most - 3, most));
        assert_eq!((small.from, small.to), (most - 6, most));
    }

    #[test]
    fn policies_say_when_they_let_go() {
        let policy = rates(Amount::Pods(4), 60);
        let out = |events: &[ScaleEvent], from, to, second| {
            lets_go(Direction::Out, &policy, events, (from, to), at(second))
        };
        // The step that is made now leaves a minute later.
        assert_eq!(out(&[], 2, 6, 100), Some(at(160)));
        // Two of the four were added at 70: the next two may come at 130.
        assert_eq!(out(&[event(70, 2, 4)], 4, 6, 100), Some(at(130)));
        assert_eq!(
            out(&[event(70, 2, 4), event(90, 4, 6)], 6, 6, 100),
            Some(at(130))
        );
        let mut off = policy.clone();
        off.scale_out.select = Some(SelectPolicy::Disabled);
        assert_eq!(
            lets_go(Direction::Out, &off, &[event(70, 2, 4)], (4, 4), at(100)),
            None
        );
        assert_eq!(
            lets_go(Direction::In, &policy, &[], (10, 6), at(100)),
            Some(at(160))
        );
        assert_eq!(lets_go(Direction::In, &policy, &[], (4, 0), at(100)), None);
    }

    proptest! {
        /// What is merged never lets the count move further than the whole history would.
        #[test]
        fn merged_events_are_never_less_strict(
            steps in prop::collection::vec((1i64..90, 0u32..40), 1..60),
            period_seconds in 1u32..1800,
            amount in prop_oneof![(1u32..8).prop_map(Amount::Pods), (1u32..300).prop_map(Amount::Percent)],
        ) {
            let policy = rates(amount, period_seconds);
            let (mut second, mut count) = (0, 20);
            let mut whole = Vec::new();
            for (seconds, to) in steps {
                second += seconds;
                if to != count {
                    whole.push(event(second, count, to));
                    count = to;
                }
            }
            let kept = remembered(&policy, &whole);
            for now in [second, second + 30, second + 300].map(at) {
                let highest = |events: &[ScaleEvent]| highest_allowed(&policy.scale_out, events, count, now);
                prop_assert!(highest(&kept) <= highest(&whole), "{kept:?} {whole:?}");
                let lowest = |events: &[ScaleEvent]| lowest_allowed(&policy.scale_in, events, count, now);
                prop_assert!(lowest(&kept) >= lowest(&whole), "{kept:?} {whole:?}");
            }
        }

        /// Nor does it hold a steady climb for longer than a tenth of the period.
        #[test]
        fn merged_events_are_not_stricter_than_a_period_and_a_tenth(
            steps in prop::collection::vec((1i64..60, 1u32..5), 1..200),
            period_seconds in 10u32..1800,
            pods in 1u32..50,
        ) {
            let policy = rates(Amount::Pods(pods), period_seconds);
            let longer = rates(Amount::Pods(pods), period_seconds + period_seconds.div_ceil(10));
            let (mut second, mut count) = (0, 1);
            let (mut kept, mut whole) = (Vec::new(), Vec::new());
            for (seconds, more) in steps {
                second += seconds;
                let step = event(second, count, count + more);
                count += more;
                remember(&mut kept, step, &policy, at(second));
                whole.push(step);
                // Eleven tenths, and the one event too many that starts the merging.
                prop_assert!(kept.len() <= MAX_EVENTS, "{kept:?}");
                let highest = |policy: &Policy, events: &[ScaleEvent]| highest_allowed(&policy.scale_out, events, count, at(second));
                prop_assert!(highest(&policy, &kept) >= highest(&longer, &whole), "{kept:?} {whole:?}");
            }
        }
    }
}
