//! When the targets are polled inside one invocation.
//!
//! A schedule fires once a minute at best, so a scheduled invocation stands for a window of time, `OUTRIGGER_WINDOW`.
//! Targets whose `pollingInterval` is below the window are polled several times inside it; a slower one is polled in the
//! windows in which it is due, which the event's own time tells, so that nothing has to be remembered or written for it.
//! Every other invocation polls its targets once: whoever wakes the function by an alarm or by hand wants to know now.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use jiff::Timestamp;

/// What a pass may take: none begins later than this before the end of the window, nor before the function's deadline.
/// A thousand targets take 3 s, a call that is tried again a few more; two windows that overlap would only lose races.
pub const PASS_SECONDS: u32 = 10;

/// The time that a scheduled invocation covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its length, equal to the schedule's rate.
    pub seconds: NonZeroU32,
    /// The event's own time. Without one every target is due, since a poll too many costs less than one too few.
    pub event_time: Option<Timestamp>,
    /// What is left of the invocation at its beginning; `None` when that is not known.
    pub time_left: Option<Duration>,
}

/// One pass of an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// Seconds after the beginning of the invocation.
    pub offset: u32,
    /// Which targets are polled, ascending, each by its place in the list they came in.
    pub targets: Vec<usize>,
}

/// The passes of an invocation, one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticks {
    /// Polled at once.
    first: Vec<usize>,
    /// Polled again, each every so many seconds.
    again: Vec<(usize, NonZeroU32)>,
    /// No pass begins later.
    last_start: u32,
    /// When the last one began.
    last: Option<u32>,
    pace: Pace,
}

/// How often an invocation looks, for its report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// Passes that the window asks for.
    pub planned: usize,
    /// Passes that were begun.
    pub passes: usize,
    /// Targets that are not due in this window.
    pub not_due: usize,
    /// Whether the function's deadline comes before the last pass could begin.
    pub cut: bool,
}

impl Pace {
    /// Passes that were left out, because one before took too long or the deadline was near.
    #[must_use]
    pub fn skipped(self) -> usize {
        self.planned.saturating_sub(self.passes)
    }
}

impl Ticks {
    /// All of `count` targets, once and at once.
    #[must_use]
    pub fn once(count: usize) -> Self {
        Self {
            first: (0..count).collect(),
            again: Vec::new(),
            last_start: 0,
            last: None,
            pace: Pace {
                planned: usize::from(count > 0),
                ..Pace::default()
            },
        }
    }

    /// Each target as its interval says, given in the order of the targets.
    #[must_use]
    pub fn over(window: Window, intervals: &[NonZeroU32]) -> Self {
        let Window {
            seconds,
            event_time,
            time_left,
        } = window;
        let is_due = |interval| {
            interval < seconds || event_time.is_none_or(|time| due(seconds, time, interval))
        };
        let all = || intervals.iter().copied().enumerate();
        let first: Vec<usize> = all()
            .filter(|(_, interval)| is_due(*interval))
            .map(|(index, _)| index)
            .collect();
        let again: Vec<(usize, NonZeroU32)> =
            all().filter(|(_, interval)| *interval < seconds).collect();
        let window_end = seconds.get().saturating_sub(PASS_SECONDS);
        let deadline = time_left.map_or(u32::MAX, |left| {
            let left = u32::try_from(left.as_secs()).unwrap_or(u32::MAX);
            left.saturating_sub(PASS_SECONDS)
        });
        let distinct: BTreeSet<u32> = again.iter().map(|(_, interval)| interval.get()).collect();
        let offsets: BTreeSet<u32> = distinct
            .into_iter()
            .flat_map(|interval| (1..=window_end / interval).map(move |turn| turn * interval))
            .collect();
        let pace = Pace {
            planned: usize::from(!first.is_empty()) + offsets.len(),
            passes: 0,
            not_due: intervals.len() - first.len(),
            cut: offsets.last().is_some_and(|last| *last > deadline),
        };
        Self {
            first,
            again,
            last_start: window_end.min(deadline),
            last: None,
            pace,
        }
    }

    /// The next pass, `elapsed` seconds after the beginning; `None` when there is none, or it would begin too late.
    ///
    /// Passes whose time has gone by are made up for by one: a slow one leaves no queue of others behind it.
    pub fn next_after(&mut self, elapsed: u32) -> Option<Tick> {
        let tick = match self.last {
            None => Tick {
                offset: 0,
                targets: self.first.clone(),
            },
            Some(last) => self.turn_after(last, elapsed)?,
        };
        if tick.targets.is_empty() {
            return None;
        }
        self.last = Some(tick.offset);
        self.pace.passes += 1;
        Some(tick)
    }

    fn turn_after(&self, last: u32, elapsed: u32) -> Option<Tick> {
        let next_turn = |interval: NonZeroU32| (last / interval + 1).saturating_mul(interval.get());
        let next = self.again.iter().map(|(_, interval)| next_turn(*interval));
        let offset = next.min()?.max(elapsed);
        let had_turn = |interval: NonZeroU32| last / interval != offset / interval;
        (offset <= self.last_start).then(|| Tick {
            offset,
            targets: self
                .again
                .iter()
                .filter(|(_, interval)| had_turn(*interval))
                .map(|(index, _)| *index)
                .collect(),
        })
    }

    /// How often it looked so far.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.pace
    }
}

/// Whether a target's turn, which comes every `interval` seconds, came since the window before the one that `time` is in.
/// Every window has one answer, however late or often its event comes: of 100 s in windows of 60 s, 60 of 100 are due.
fn due(window: NonZeroU32, time: Timestamp, interval: NonZeroU32) -> bool {
    let (window, interval) = (i64::from(window.get()), i64::from(interval.get()));
    let begin = time.as_second().div_euclid(window) * window;
    begin.div_euclid(interval) != (begin - window).div_euclid(interval)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(seconds: u32) -> NonZeroU32 {
        NonZeroU32::new(seconds).unwrap()
    }

    fn at(time: i64) -> Timestamp {
        Timestamp::from_second(time).unwrap()
    }

    fn window(length: u32, time: Timestamp) -> Window {
        Window {
            seconds: seconds(length),
            event_time: Some(time),
            time_left: None,
        }
    }

    /// All passes when each takes `taken` seconds.
    fn play(mut ticks: Ticks, taken: u32) -> (Vec<(u32, Vec<usize>)>, Pace) {
        let mut played = Vec::new();
        let mut elapsed = 0;
        while let Some(Tick { offset, targets }) = ticks.next_after(elapsed) {
            elapsed = offset + taken;
            played.push((offset, targets));
        }
        (played, ticks.pace())
    }

    #[track_caller]
    fn check(window: Window, intervals: &[u32], taken: u32, expected: &[(u32, &[usize])]) -> Pace {
        let intervals: Vec<NonZeroU32> = intervals.iter().copied().map(seconds).collect();
        let (played, pace) = play(Ticks::over(window, &intervals), taken);
        let expected: Vec<(u32, Vec<usize>)> = expected
            .iter()
            .map(|(offset, targets)| (*offset, targets.to_vec()))
            .collect();
        assert_eq!(played, expected);
        pace
    }

    #[test]
    fn targets_below_the_window_are_polled_inside_it() {
        let minute = window(60, at(60));
        check(minute, &[30], 0, &[(0, &[0]), (30, &[0])]);
        // The same offset is one pass.
        let expected: &[(u32, &[usize])] = &[
            (0, &[0, 1, 2]),
            (15, &[1]),
            (20, &[2]),
            (30, &[0, 1]),
            (40, &[2]),
            (45, &[1]),
        ];
        check(minute, &[30, 15, 20], 0, expected);
        // 50 is the last second at which a pass may begin.
        check(minute, &[25], 0, &[(0, &[0]), (25, &[0]), (50, &[0])]);
        check(minute, &[51], 0, &[(0, &[0])]);
        check(minute, &[60], 0, &[(0, &[0])]);
        assert_eq!(check(minute, &[], 0, &[]), Pace::default());
    }

    #[test]
    fn slow_passes_are_not_piled_up() {
        let minute = window(60, at(60));
        let pace = check(minute, &[10], 25, &[(0, &[0]), (25, &[0]), (50, &[0])]);
        assert_eq!((pace.planned, pace.skipped()), (6, 3));
        // The turns of both went by; each is made up for once.
        check(minute, &[10, 30], 35, &[(0, &[0, 1]), (35, &[0, 1])]);
        let pace = check(minute, &[10], 51, &[(0, &[0])]);
        assert_eq!((pace.skipped(), pace.cut), (5, false));
    }

    #[test]
    fn the_deadline_ends_the_window_early() {
        let left = |left: u64| Window {
            time_left: Some(Duration::from_secs(left)),
            ..window(60, at(60))
        };
        assert!(!check(left(40), &[30], 0, &[(0, &[0]), (30, &[0])]).cut);
        let pace = check(left(39), &[30], 0, &[(0, &[0])]);
        assert_eq!((pace.planned, pace.skipped(), pace.cut), (2, 1, true));
        // The first pass is the pass' own affair: it reports what it does not reach.
        assert!(!check(left(0), &[60], 0, &[(0, &[0])]).cut);
        assert!(!check(left(u64::MAX), &[30], 0, &[(0, &[0]), (30, &[0])]).cut);
    }

    #[test]
    fn slower_targets_are_due_by_the_time_of_the_event() {
        let due_at = |event_time: Option<Timestamp>| {
            let window = Window {
                event_time,
                ..window(60, at(0))
            };
            let ticks = Ticks::over(window, &[60, 120, 300].map(seconds));
            let (played, pace) = play(ticks, 0);
            let polled = played.into_iter().map(|(_, targets)| targets).next();
            (polled.unwrap_or_default(), pace.not_due)
        };
        assert_eq!(due_at(Some(at(0))), (vec![0, 1, 2], 0));
        assert_eq!(due_at(Some(at(60))), (vec![0], 2));
        assert_eq!(due_at(Some(at(120))), (vec![0, 1], 1));
        assert_eq!(due_at(Some(at(179))), (vec![0, 1], 1));
        assert_eq!(due_at(Some(at(300))), (vec![0, 2], 1));
        assert_eq!(due_at(Some(at(-60))), (vec![0], 2));
        assert_eq!(due_at(None), (vec![0, 1, 2], 0));
        // Nothing due is nothing to do.
        let pace = check(window(60, at(60)), &[120], 0, &[]);
        assert_eq!((pace.planned, pace.passes, pace.not_due), (0, 0, 1));
    }

    #[test]
    fn other_wakes_poll_once() {
        let (played, pace) = play(Ticks::once(3), 0);
        assert_eq!(played, [(0, vec![0, 1, 2])]);
        assert_eq!((pace.passes, pace.skipped(), pace.not_due), (1, 0, 0));
        assert_eq!(play(Ticks::once(0), 0), (vec![], Pace::default()));
    }

    #[test]
    fn extremes() {
        for time in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH] {
            for length in [1, 9, 10, 60, u32::MAX] {
                let intervals = [u32::MAX / 2, i32::MAX.cast_unsigned(), u32::MAX];
                let intervals = intervals.map(seconds);
                let (played, _) = play(Ticks::over(window(length, time), &intervals), 0);
                assert!(played.len() <= 3, "{played:?}");
            }
        }
        // The most that the settings allow.
        let pace = play(Ticks::over(window(600, at(0)), &[seconds(1)]), 0).1;
        assert_eq!((pace.planned, pace.passes), (591, 591));
    }

    proptest! {
        #[test]
        fn polls_keep_their_distance(
            minutes in 1..=10u32,
            intervals in prop::collection::vec(1..=700u32, 0..6),
            time in any::<i32>(),
            taken in 0..40u32,
            left in prop::option::of(0..700u64),
        ) {
            let length = minutes * 60;
            let span = Window { time_left: left.map(Duration::from_secs), ..window(length, at(i64::from(time))) };
            let nonzero: Vec<NonZeroU32> = intervals.iter().copied().map(seconds).collect();
            let ticks = Ticks::over(span, &nonzero);
            prop_assert_eq!(&ticks, &Ticks::over(span, &nonzero));
            let (played, pace) = play(ticks, taken);
            prop_assert_eq!(pace.passes, played.len());
            prop_assert!(pace.passes <= pace.planned);
            let mut before = None;
            for (offset, targets) in &played {
                prop_assert!(before < Some(*offset));
                before = Some(*offset);
                prop_assert!(!targets.is_empty() && targets.is_sorted());
                prop_assert_eq!(targets.iter().collect::<BTreeSet<_>>().len(), targets.len());
                if *offset > 0 {
                    prop_assert!(*offset <= length - PASS_SECONDS);
                    let left = left.map_or(u64::MAX, |left| left.saturating_sub(u64::from(PASS_SECONDS)));
                    prop_assert!(u64::from(*offset) <= left);
                }
            }
            for (index, interval) in intervals.iter().enumerate() {
                let polls: Vec<u32> = played.iter().filter(|(_, targets)| targets.contains(&index)).map(|(offset, _)| *offset).collect();
                if *interval >= length {
                    prop_assert!(polls.is_empty() || polls == [0]);
                } else {
                    prop_assert_eq!(polls.first(), Some(&0));
                    // At its turns, or, where passes are slow, as soon as the one before is over.
                    for pair in polls.windows(2) {
                        prop_assert!(pair[0] / interval < pair[1] / interval);
                    }
                    if taken == 0 && left.is_none() {
                        let expected: Vec<u32> = (0..=(length - PASS_SECONDS) / interval).map(|turn| turn * interval).collect();
                        prop_assert_eq!(polls, expected);
                    }
                }
            }
            if taken == 0 && left.is_none() {
                prop_assert_eq!(pace.skipped(), 0);
            }
        }

        /// As many polls as intervals in any run of windows, never two of one interval and none left out.
        #[test]
        fn a_slow_target_is_polled_once_an_interval(
            minutes in 1..=10u32,
            more in 0..5_000u32,
            slot in -1_000_000..1_000_000i64,
            late in 0..60i64,
            slots in 1..400i64,
        ) {
            let length = minutes * 60;
            let (span, interval) = (i64::from(length), i64::from(length + more));
            let is_due = |slot: i64, late| due(seconds(length), Timestamp::from_second(slot * span + late).unwrap(), seconds(length + more));
            let mut polls = Vec::new();
            for slot in slot..slot + slots {
                // A late event, or one that comes twice, says the same.
                prop_assert_eq!(is_due(slot, 0), is_due(slot, late));
                if is_due(slot, late) {
                    polls.push(slot * span);
                }
            }
            for pair in polls.windows(2) {
                prop_assert_eq!(pair[0].div_euclid(interval) + 1, pair[1].div_euclid(interval));
                prop_assert!((pair[1] - pair[0] - interval).abs() < span);
            }
            let wanted = slots * span / interval;
            let polls = i64::try_from(polls.len()).unwrap();
            prop_assert!((wanted..=wanted + 1).contains(&polls), "{polls} of {wanted}");
        }
    }
}
