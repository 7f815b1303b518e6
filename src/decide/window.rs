//! Stabilization windows, run-length coded: a monotone list whose newest entry extends to now.
//!
//! The Kubernetes controller logs one recommendation a sync and takes the highest of the window.
//! Here an entry holds until the wanted count changes, so an unchanged situation needs no write, and an entry that a newer
//! one outdoes is dropped. A count is held until the pass that saw it change, at most one pass longer than by Kubernetes.

use jiff::{SignedDuration, Timestamp};

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

/// Enters a wanted count into a window. Overflow is merged to the more cautious count.
/// Unchanged when the newest entry already says so; a window of 0 s remembers nothing.
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
    let mut entries: Vec<WindowEntry> = window
        .iter()
        .map(|entry| WindowEntry {
            replicas: entry.replicas,
            until: Some(entry.until.unwrap_or(now)),
        })
        .filter(|entry| {
            extreme.outlives(entry.replicas, wanted)
                && entry
                    .until
                    .is_some_and(|until| is_within(until, seconds, now))
        })
        .collect();
    while entries.len() >= MAX_ENTRIES {
        // The two oldest become one: the more extreme count for the longer time.
        let oldest = entries.remove(0);
        if let Some(next) = entries.first_mut() {
            if extreme.outlives(oldest.replicas, next.replicas) {
                next.replicas = oldest.replicas;
            }
            // The list comes from a record, too, where it need not be in order.
            next.until = next.until.max(oldest.until);
        }
    }
    entries.push(WindowEntry {
        replicas: wanted,
        until: None,
    });
    entries
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
    fn overflow_keeps_the_more_cautious_count() {
        let mut window = Vec::new();
        for step in 0..40 {
            window = enter(
                Extreme::Highest,
                &window,
                100 - step,
                3600,
                at(i64::from(step)),
            );
            assert!(window.len() <= MAX_ENTRIES);
            assert_eq!(highest(&window, 3600, at(i64::from(step))), Some(100));
        }
    }
}
