//! When the targets are polled inside one invocation.
//!
//! A schedule fires once a minute at best, so a scheduled invocation stands for a window of time, `OUTRIGGER_WINDOW`.
//! Targets whose `pollingInterval` is below the window are polled several times inside it. A slower one is polled in the
//! windows in which it is due, which the event's own time tells, so that nothing has to be remembered or written for it; in the
//! others only while it is awake: as in KEDA, a `pollingInterval` counts at zero and idle, and above that `OUTRIGGER_SYNC` (the
//! window unless set) does where it is shorter. Every other invocation polls its targets once: an alarm or a person wants to
//! know now.
//!
//! **Follow-up polls** make scale-out as quick as the HPA's, which looks every 15 s: after a count was raised, and when policies
//! or the scale-out window let go of one, a target is polled again inside the window, whatever its interval.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use jiff::Timestamp;

/// What a pass may take: none begins later than this before the end of the window, nor before the function's deadline.
/// A thousand targets take 3 s, a call that is tried again a few more; two windows that overlap would only lose races.
pub const PASS_SECONDS: u32 = 10;

/// The rhythm of follow-up polls: the Kubernetes controller's own (`--horizontal-pod-autoscaler-sync-period`). None comes sooner
/// after the change of a count or another follow-up poll, so a burst costs no more polls than the HPA makes all the time.
pub const FOLLOW_UP_SECONDS: u32 = 15;

/// The time that an invocation covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its length, equal to the schedule's rate.
    pub seconds: NonZeroU32,
    /// The most seconds between two polls of a target that is awake.
    pub sync_seconds: NonZeroU32,
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
    /// Which targets are polled, ascending.
    pub targets: Vec<Poll>,
}

/// A poll of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Poll {
    /// The target's place in the list that it came in.
    pub target: usize,
    /// Whether it is not due by its interval, and so not polled where it rests.
    pub unless_at_rest: bool,
}

/// What a poll found out about when to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The target was not polled, since it rests.
    Resting,
    /// It was polled.
    Polled {
        /// Whether it is above zero or idle, or may be.
        is_awake: bool,
        /// Whether its count was raised.
        was_raised: bool,
        /// In how many seconds a scale-out may go on that policies or the scale-out window hold back.
        lets_go_in: Option<u32>,
    },
}

impl Found {
    /// A poll that says nothing about when to look again.
    pub const QUIET: Self = Self::Polled {
        is_awake: true,
        was_raised: false,
        lets_go_in: None,
    };
}

/// The passes of an invocation, one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticks {
    turns: Vec<Turn>,
    /// Targets that are awake are polled at least as often inside the window; `None` where it is not covered.
    sync_seconds: Option<u32>,
    /// No pass but the first begins later.
    last_start: u32,
    is_first: bool,
    /// The last pass in which a target was polled.
    last_pass: Option<u32>,
    pace: Pace,
    /// Of the passes those that targets' intervals ask for.
    regular: usize,
}

/// The next poll of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    /// The interval of its regular polls inside the window, if there are any.
    interval: Option<u32>,
    next: Option<Next>,
    /// When a scale-out may go on.
    follow_up: Option<u32>,
    /// When its count was last raised in this invocation, or followed up.
    followed: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Next {
    offset: u32,
    why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Its interval.
    Due,
    /// It may be awake.
    Awake,
}

/// How often an invocation looks, for its report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// Passes that the targets' intervals ask for.
    pub planned: usize,
    /// Passes in which a target was polled, those of targets that are awake and follow-up polls included.
    pub passes: usize,
    /// Of the planned passes those that were left out, because one before took too long or the deadline was near.
    pub skipped: usize,
    /// Targets that are not due in this window, and rest.
    pub not_due: usize,
    /// Whether the function's deadline comes before the last planned pass could begin.
    pub cut: bool,
}

impl Ticks {
    /// All of `count` targets at once, then only follow-up polls.
    #[must_use]
    pub fn once(window: Window, count: usize) -> Self {
        let turn = Turn::new(None, Why::Due);
        Self::new(window, vec![turn; count], None)
    }

    /// Each target as its interval says, given in the order of the targets.
    #[must_use]
    pub fn over(window: Window, intervals: &[NonZeroU32]) -> Self {
        let Window {
            seconds,
            sync_seconds,
            event_time,
            time_left: _,
        } = window;
        let turn = |interval: NonZeroU32| {
            let is_inside = interval < seconds;
            let is_due = is_inside || event_time.is_none_or(|time| due(seconds, time, interval));
            let why = if is_due { Why::Due } else { Why::Awake };
            Turn::new(is_inside.then_some(interval.get()), why)
        };
        let turns = intervals.iter().copied().map(turn).collect();
        Self::new(window, turns, Some(sync_seconds.get()))
    }

    fn new(window: Window, turns: Vec<Turn>, sync_seconds: Option<u32>) -> Self {
        let window_end = window.seconds.get().saturating_sub(PASS_SECONDS);
        let deadline = window.time_left.map_or(u32::MAX, |left| {
            let left = u32::try_from(left.as_secs()).unwrap_or(u32::MAX);
            left.saturating_sub(PASS_SECONDS)
        });
        let distinct: BTreeSet<u32> = turns.iter().filter_map(|turn| turn.interval).collect();
        let offsets: BTreeSet<u32> = distinct
            .into_iter()
            .flat_map(|interval| (1..=window_end / interval).map(move |turn| turn * interval))
            .collect();
        let is_due = |turn: &Turn| turn.next.is_some_and(|next| next.why == Why::Due);
        let first = usize::from(turns.iter().any(is_due));
        let pace = Pace {
            planned: first + offsets.len(),
            cut: offsets.last().is_some_and(|last| *last > deadline),
            ..Pace::default()
        };
        Self {
            turns,
            sync_seconds,
            last_start: window_end.min(deadline),
            is_first: true,
            last_pass: None,
            pace,
            regular: 0,
        }
    }

    /// The next pass, `elapsed` seconds after the beginning; `None` when there is none, or it would begin too late.
    ///
    /// Passes whose time has gone by are made up for by one: a slow one leaves no queue of others behind it.
    pub fn next_after(&mut self, elapsed: u32) -> Option<Tick> {
        let earliest = self.turns.iter().filter_map(Turn::offset).min()?;
        let offset = if self.is_first {
            0
        } else {
            earliest.max(elapsed)
        };
        if offset > self.last_start && !self.is_first {
            return None;
        }
        self.is_first = false;
        let mut targets = Vec::new();
        let mut is_regular = false;
        for (target, turn) in self.turns.iter_mut().enumerate() {
            if turn.offset().is_none_or(|next| next > offset) {
                continue;
            }
            let why = turn.take(offset);
            is_regular |= why == Some(Why::Due);
            targets.push(Poll {
                target,
                unless_at_rest: offset == 0 && why == Some(Why::Awake),
            });
        }
        self.regular += usize::from(is_regular);
        Some(Tick { offset, targets })
    }

    /// Takes in what each poll of a pass found. `offset` is the time by which it decided, in seconds after the time at the
    /// beginning: later than that of its [`Tick`] where something came between.
    pub fn found(&mut self, target: usize, offset: u32, found: Found) {
        let Some(turn) = self.turns.get_mut(target) else {
            return;
        };
        match found {
            Found::Resting => self.pace.not_due += 1,
            Found::Polled {
                is_awake,
                was_raised,
                lets_go_in,
            } => {
                if self.last_pass.replace(offset) != Some(offset) {
                    self.pace.passes += 1;
                }
                let is_slower = |sync: &u32| turn.interval.is_none_or(|interval| interval > *sync);
                if let Some(sync) = self.sync_seconds.filter(is_slower).filter(|_| is_awake) {
                    turn.look(next_turn(offset, sync));
                }
                if was_raised {
                    turn.followed = Some(offset);
                }
                let rhythm = { turn.followed }.map(|last| last.saturating_add(FOLLOW_UP_SECONDS));
                let lets_go = lets_go_in.map(|seconds| offset.saturating_add(seconds.max(1)));
                if was_raised || lets_go.is_some() {
                    turn.follow_up = rhythm.max(lets_go);
                }
            }
        }
    }

    /// How often it looked so far.
    #[must_use]
    pub fn pace(&self) -> Pace {
        Pace {
            skipped: self.pace.planned.saturating_sub(self.regular),
            ..self.pace
        }
    }
}

impl Turn {
    /// Polled at the beginning.
    fn new(interval: Option<u32>, why: Why) -> Self {
        Self {
            interval,
            next: Some(Next { offset: 0, why }),
            follow_up: None,
            followed: None,
        }
    }

    /// When it is polled next.
    fn offset(&self) -> Option<u32> {
        let next = self.next.map(|next| next.offset);
        next.into_iter().chain(self.follow_up).min()
    }

    /// Begins the poll at `offset`, and says why it is made, where it is not a follow-up alone.
    fn take(&mut self, offset: u32) -> Option<Why> {
        if self.follow_up.take_if(|at| *at <= offset).is_some() {
            self.followed = Some(offset);
        }
        let next = self.next.take_if(|next| next.offset <= offset);
        if next.is_some() {
            self.next = self.interval.map(|interval| Next {
                offset: next_turn(offset, interval),
                why: Why::Due,
            });
        }
        next.map(|next| next.why)
    }

    /// Looks again at that time, unless it is polled by then anyway.
    fn look(&mut self, offset: u32) {
        if self.next.is_none_or(|next| offset < next.offset) {
            self.next = Some(Next {
                offset,
                why: Why::Awake,
            });
        }
    }
}

/// The next multiple of an interval.
fn next_turn(offset: u32, interval: u32) -> u32 {
    (offset / interval.max(1) + 1).saturating_mul(interval)
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
            sync_seconds: seconds(length),
            event_time: Some(time),
            time_left: None,
        }
    }

    const RAISED: Found = Found::Polled {
        is_awake: true,
        was_raised: true,
        lets_go_in: None,
    };

    /// All passes when each takes `taken` seconds, and what each poll finds.
    fn play_with(
        mut ticks: Ticks,
        taken: u32,
        find: impl Fn(Poll, u32) -> Found,
    ) -> (Vec<(u32, Vec<usize>)>, Pace) {
        let mut played = Vec::new();
        let mut elapsed = 0;
        while let Some(Tick { offset, targets }) = ticks.next_after(elapsed) {
            elapsed = offset + taken;
            let mut polled = Vec::new();
            for poll in targets {
                let found = find(poll, offset);
                ticks.found(poll.target, offset, found);
                if found != Found::Resting {
                    polled.push(poll.target);
                }
            }
            if !polled.is_empty() {
                played.push((offset, polled));
            }
        }
        (played, ticks.pace())
    }

    /// All passes where what is not due rests, and nothing is scaled.
    fn play(ticks: Ticks, taken: u32) -> (Vec<(u32, Vec<usize>)>, Pace) {
        play_with(ticks, taken, |poll, _| {
            if poll.unless_at_rest {
                Found::Resting
            } else {
                Found::QUIET
            }
        })
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

    /// The offsets of the polls of one target.
    fn polls(ticks: Ticks, find: impl Fn(Poll, u32) -> Found) -> Vec<u32> {
        let (played, _) = play_with(ticks, 0, find);
        played.into_iter().map(|(offset, _)| offset).collect()
    }

    #[test]
    fn a_slow_target_is_polled_in_every_window_while_it_is_awake() {
        // Not due in this window.
        let ticks = |sync| {
            let window = Window {
                sync_seconds: seconds(sync),
                ..window(60, at(60))
            };
            Ticks::over(window, &[seconds(300)])
        };
        assert_eq!(polls(ticks(60), |_, _| Found::QUIET), [0]);
        assert_eq!(polls(ticks(15), |_, _| Found::QUIET), [0, 15, 30, 45]);
        assert_eq!(polls(ticks(15), |_, _| Found::Resting), [0; 0]);
        let asleep = Found::Polled {
            is_awake: false,
            was_raised: false,
            lets_go_in: None,
        };
        assert_eq!(polls(ticks(15), |_, _| asleep), [0]);
        // A shorter interval stays as it is.
        let quick = Window {
            sync_seconds: seconds(20),
            ..window(60, at(60))
        };
        let quick = Ticks::over(quick, &[seconds(10)]);
        assert_eq!(polls(quick, |_, _| Found::QUIET), [0, 10, 20, 30, 40, 50]);
    }

    #[test]
    fn a_scale_out_is_followed_up_in_the_rhythm_of_the_hpa() {
        let slow = || Ticks::over(window(60, at(0)), &[seconds(60)]);
        let until = |last: u32| {
            move |_: Poll, offset: u32| if offset < last { RAISED } else { Found::QUIET }
        };
        assert_eq!(polls(slow(), until(0)), [0]);
        assert_eq!(polls(slow(), until(1)), [0, 15]);
        assert_eq!(polls(slow(), until(16)), [0, 15, 30]);
        assert_eq!(polls(slow(), until(60)), [0, 15, 30, 45]);
        // Regular polls between do not put it off.
        let quick = Ticks::over(window(60, at(0)), &[seconds(10)]);
        assert_eq!(polls(quick, until(1)), [0, 10, 15, 20, 30, 40, 50]);
        // After an alarm as well.
        assert_eq!(
            polls(Ticks::once(window(60, at(0)), 1), until(16)),
            [0, 15, 30]
        );
    }

    #[test]
    fn what_is_held_back_is_looked_at_when_it_is_let_go() {
        let slow = || Ticks::over(window(60, at(0)), &[seconds(60)]);
        let limited = |was_raised, lets_go_in| Found::Polled {
            is_awake: true,
            was_raised,
            lets_go_in: Some(lets_go_in),
        };
        let find = |first: Found| {
            move |_: Poll, offset: u32| if offset == 0 { first } else { Found::QUIET }
        };
        assert_eq!(polls(slow(), find(limited(false, 7))), [0, 7]);
        assert_eq!(polls(slow(), find(limited(true, 7))), [0, 15]);
        assert_eq!(polls(slow(), find(limited(true, 40))), [0, 40]);
        // Not in this window.
        assert_eq!(polls(slow(), find(limited(false, 51))), [0]);
        assert_eq!(polls(slow(), find(limited(false, u32::MAX))), [0]);
        // What is let go bit by bit is looked at every 15 s.
        assert_eq!(polls(slow(), |_, _| limited(false, 1)), [0, 1, 16, 31, 46]);
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
        assert_eq!((pace.planned, pace.skipped), (6, 3));
        // The turns of both went by; each is made up for once.
        check(minute, &[10, 30], 35, &[(0, &[0, 1]), (35, &[0, 1])]);
        let pace = check(minute, &[10], 51, &[(0, &[0])]);
        assert_eq!((pace.skipped, pace.cut), (5, false));
    }

    #[test]
    fn the_deadline_ends_the_window_early() {
        let left = |left: u64| Window {
            time_left: Some(Duration::from_secs(left)),
            ..window(60, at(60))
        };
        assert!(!check(left(40), &[30], 0, &[(0, &[0]), (30, &[0])]).cut);
        let pace = check(left(39), &[30], 0, &[(0, &[0])]);
        assert_eq!((pace.planned, pace.skipped, pace.cut), (2, 1, true));
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
        let (played, pace) = play(Ticks::once(window(60, at(0)), 3), 0);
        assert_eq!(played, [(0, vec![0, 1, 2])]);
        assert_eq!((pace.passes, pace.skipped, pace.not_due), (1, 0, 0));
        let none = Ticks::once(window(60, at(0)), 0);
        assert_eq!(play(none, 0), (vec![], Pace::default()));
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
                prop_assert_eq!(pace.skipped, 0);
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
