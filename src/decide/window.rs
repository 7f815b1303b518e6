//! Stabilization windows, run-length coded: a monotone list whose newest entry extends to now.
//!
//! The Kubernetes controller logs one recommendation a sync and takes the highest of the window.
//! Here an entry holds until the wanted count changes, so an unchanged situation needs no write, and an entry that a newer
//! one outdoes is dropped. A count is held until the pass that saw it change, at most one pass longer than by Kubernetes.
//!
//! Closed entries whose ends fall into the same tenth of the window are one: the more extreme count until the latest end. So a
//! window of any length fits [`MAX_ENTRIES`], and a count is held a tenth of its window too long at most, never too short.
//! (To merge the oldest of too many entries instead would renew the most extreme count for as long as demand moves.)

use jiff::{SignedDuration, Timestamp};

use super::activity::after;
use crate::state::{MAX_ENTRIES, WindowEntry};

/// The highest count wanted less than `seconds` ago, `None` when nothing is known of that time.
#[must_use]
pub(crate) fn highest(window: &[WindowEntry], seconds: u32, now: Timestamp) -> Option<u32> {
    recent(window, seconds, now).max()
}

/// The lowest count wanted less than `seconds` ago, `None` when nothing is known of that time.
#[must_use]
pub(crate) fn lowest(window: &[WindowEntry], seconds: u32, now: Timestamp) -> Option<u32> {
    recent(window, seconds, now).min()
}

fn recent(window: &[WindowEntry], seconds: u32, now: Timestamp) -> impl Iterator<Item = u32> {
    let is_recent = move |entry: &&WindowEntry| is_within(entry.until.unwrap_or(now), seconds, now);
    window.iter().filter(is_recent).map(|entry| entry.replicas)
}

/// Which counts a window is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extreme {
    /// The highest: a scale-in window.
    Highest,
    /// The lowest: a scale-out window.
    Lowest,
}

impl Extreme {
    /// Whether one count says more than another, and so outlives it.
    fn outlives(self, old: u32, new: u32) -> bool {
        match self {
            Self::Highest => old > new,
            Self::Lowest => old < new,
        }
    }
}

/// The ends within a window fall into eleven tenths at most, which are [`MAX_ENTRIES`] with the open entry.
pub(super) const TENTHS: i64 = 10;

/// Enters a wanted count into a window. Unchanged when the newest entry already says so; a window of 0 s remembers nothing.
#[must_use]
pub(crate) fn enter(
    extreme: Extreme,
    window: &[WindowEntry],
    wanted: u32,
    seconds: u32,
    now: Timestamp,
) -> Vec<WindowEntry> {
    if seconds == 0 {
        return Vec::new();
    }
    if window
        .last()
        .is_some_and(|newest| newest.until.is_none() && newest.replicas == wanted)
    {
        return window.to_vec();
    }
    // What is no more extreme than the new count no longer matters: the new one says as much and is newer.
    let mut closed: Vec<(Timestamp, u32)> = window
        .iter()
        .map(|entry| (entry.until.unwrap_or(now), entry.replicas))
        .filter(|(until, replicas)| {
            extreme.outlives(*replicas, wanted) && is_within(*until, seconds, now)
        })
        .collect();
    // The list comes from a record, too, where it need not be in order.
    closed.sort_by_key(|(until, _)| *until);
    let mut kept: Vec<(Timestamp, u32)> = Vec::with_capacity(MAX_ENTRIES);
    for (until, replicas) in closed {
        while kept
            .pop_if(|(_, older)| !extreme.outlives(*older, replicas))
            .is_some()
        {}
        match kept.last_mut() {
            Some((end, _)) if part(*end, seconds, TENTHS) == part(until, seconds, TENTHS) => {
                *end = until;
            }
            _ => kept.push((until, replicas)),
        }
    }
    let entries = kept.into_iter().map(|(until, replicas)| WindowEntry {
        replicas,
        until: Some(until),
    });
    let newest = WindowEntry {
        replicas: wanted,
        until: None,
    };
    entries.chain([newest]).collect()
}

/// Which of the parts of all stretches of so many seconds a time falls into: the same for everyone who asks, whenever.
pub(super) fn part(time: Timestamp, seconds: u32, parts: i64) -> i64 {
    // The seconds of a timestamp are a thousandth of what the product can hold.
    (time.as_second() * parts).div_euclid(i64::from(seconds.max(1)))
}

/// When the last entry leaves that holds a count at `held`, if one does. What was wanted until now leaves last.
pub(super) fn lets_go(
    extreme: Extreme,
    window: &[WindowEntry],
    held: u32,
    seconds: u32,
    now: Timestamp,
) -> Option<Timestamp> {
    let holding = window
        .iter()
        .filter(|entry| !extreme.outlives(held, entry.replicas));
    let end = holding.map(|entry| entry.until.unwrap_or(now)).max()?;
    Some(after(end, seconds))
}

/// Kubernetes counts what is strictly younger than the window.
pub(super) fn is_within(then: Timestamp, seconds: u32, now: Timestamp) -> bool {
    now.duration_since(then) < SignedDuration::from_secs(i64::from(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn entry(replicas: u32, until: Option<i64>) -> WindowEntry {
        WindowEntry {
            replicas,
            until: until.map(at),
        }
    }

    #[test]
    fn the_highest_of_the_window_counts_strictly() {
        let window = [entry(10, Some(0)), entry(7, Some(100)), entry(3, None)];
        assert_eq!(highest(&window, 300, at(299)), Some(10));
        assert_eq!(highest(&window, 300, at(300)), Some(7));
        assert_eq!(highest(&window, 300, at(400)), Some(3));
        assert_eq!(highest(&window, 0, at(400)), None);
        assert_eq!(highest(&[], 300, at(0)), None);
    }

    #[test]
    fn an_unchanged_count_changes_nothing() {
        let window = [entry(10, Some(0)), entry(3, None)];
        assert_eq!(enter(Extreme::Highest, &window, 3, 300, at(5000)), window);
    }

    #[test]
    fn lower_counts_queue_up_and_higher_ones_clear() {
        let mut window = enter(Extreme::Highest, &[], 10, 300, at(0));
        window = enter(Extreme::Highest, &window, 7, 300, at(60));
        window = enter(Extreme::Highest, &window, 3, 300, at(120));
        assert_eq!(
            window,
            [entry(10, Some(60)), entry(7, Some(120)), entry(3, None)]
        );
        assert_eq!(
            enter(Extreme::Highest, &window, 7, 300, at(180)),
            [entry(10, Some(60)), entry(7, None)]
        );
        assert_eq!(
            enter(Extreme::Highest, &window, 11, 300, at(180)),
            [entry(11, None)]
        );
        assert_eq!(
            enter(Extreme::Highest, &window, 2, 300, at(400)),
            [entry(7, Some(120)), entry(3, Some(400)), entry(2, None)]
        );
    }

    #[test]
    fn a_scale_out_window_is_the_mirror_image() {
        let mut window = enter(Extreme::Lowest, &[], 3, 300, at(0));
        window = enter(Extreme::Lowest, &window, 7, 300, at(60));
        assert_eq!(window, [entry(3, Some(60)), entry(7, None)]);
        assert_eq!(
            (lowest(&window, 300, at(359)), lowest(&window, 300, at(360))),
            (Some(3), Some(7))
        );
        assert_eq!(
            enter(Extreme::Lowest, &window, 2, 300, at(90)),
            [entry(2, None)]
        );
        assert_eq!(enter(Extreme::Lowest, &window, 9, 0, at(90)), []);
    }

    #[test]
    fn ends_in_the_same_tenth_become_one() {
        let mut window = Vec::new();
        for step in 0..400 {
            let now = at(step);
            let wanted = 1000 - u32::try_from(step).unwrap();
            window = enter(Extreme::Highest, &window, wanted, 100, now);
            assert!(window.len() <= MAX_ENTRIES, "{window:?}");
            let held = highest(&window, 100, now).unwrap();
            // The count wanted until 99 s ago, and none that was wanted until 110 s ago.
            let oldest = u32::try_from(step.min(99)).unwrap();
            assert!(held >= wanted + oldest, "{held} at {step}");
            assert!(held <= wanted + oldest + 10, "{held} at {step}");
        }
    }

    #[test]
    fn a_list_that_is_in_no_order_is_put_into_one() {
        let window = [
            entry(3, Some(250)),
            entry(9, Some(100)),
            entry(8, Some(240)),
            entry(5, Some(200)),
            entry(2, None),
        ];
        // Ends of 240 to 269 are of one tenth.
        assert_eq!(
            enter(Extreme::Highest, &window, 1, 300, at(260)),
            [entry(9, Some(100)), entry(8, Some(260)), entry(1, None)]
        );
    }

    #[test]
    fn a_window_says_when_it_lets_go() {
        let window = [entry(9, Some(100)), entry(8, Some(240)), entry(1, None)];
        let lets_go_at = |held| lets_go(Extreme::Highest, &window, held, 300, at(250));
        assert_eq!(
            [10, 9, 8, 5, 1].map(lets_go_at),
            [
                None,
                Some(at(400)),
                Some(at(540)),
                Some(at(540)),
                Some(at(550))
            ]
        );
        let rising = [entry(2, Some(100)), entry(7, None)];
        assert_eq!(
            lets_go(Extreme::Lowest, &rising, 2, 60, at(110)),
            Some(at(160))
        );
    }
}
