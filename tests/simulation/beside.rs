//! Lives of one workload beside the HPA of `hpa`: the function's decisions drive the count, and the HPA is told the same count,
//! the same readings and the same changes. At every poll the decision must lie between what the two memories of the HPA make
//! of it: never less strict than Kubernetes, never more strict than a tenth longer.
//!
//! A life is its rules and what each poll saw, so it can be run again, and be made shorter as long as it still fails.

mod cases;
mod rules;
mod tally;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use outrigger::decide::{
    Decision, Limit, Observation, QueueDepth, Reading, Reason, Stop, Workload, decide,
};
use outrigger::state::State;

use crate::demand::{Demand, Supply};
use crate::hpa::{Hpa, Memory, Messages, Queue, Seen};
use crate::life::at;
use crate::random::Random;
use rules::Rules;
use tally::Tally;

/// Polls of one life, and of one in `LONG` that finds what takes long to build up.
const POLLS: [usize; 3] = [100, 200, 400];
const LONG_POLLS: usize = 4000;
const LONG: u64 = 50;

/// Decisions in `cargo test`.
const DECISIONS: usize = 20_000;

/// Polls that are run again to make a life shorter.
const PATIENCE: usize = 300_000;

/// What a key of the ConfigMap may hold.
const MAX_STATE_BYTES: usize = 2048;

/// One poll.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Poll {
    /// Seconds since the one before.
    after: u32,
    /// Messages in the queue; `None` when it could not be read.
    messages: Option<u64>,
}

/// A life as data.
#[derive(Debug, Clone)]
struct Life {
    rules: Rules,
    replicas: u32,
    begins: i64,
    polls: Vec<Poll>,
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rules,
            replicas,
            begins,
            polls,
        } = self;
        writeln!(f, "{}\n{replicas} replicas at {begins}", rules.spec)?;
        let mut polls = polls.iter().copied();
        let mut told = String::new();
        let mut tell = |line: String| told += &line;
        let ended = run(
            self,
            &mut |_| polls.next(),
            &mut Tally::default(),
            &mut tell,
        );
        write!(f, "{told}")?;
        writeln!(f, "{ended:?}")
    }
}

/// What must hold and did not: which rule, and with what numbers.
#[derive(Debug, Clone)]
struct Failure {
    rule: String,
    numbers: String,
}

type Checked = Result<(), Failure>;

fn ensure(holds: bool, rule: &str, numbers: impl FnOnce() -> String) -> Checked {
    if holds {
        return Ok(());
    }
    Err(Failure {
        rule: rule.to_owned(),
        numbers: numbers(),
    })
}

/// What a pass sees. The one place where an observation is made.
fn observation(rules: &Rules, replicas: u32, messages: Option<u64>) -> Observation {
    let reading = match messages {
        Some(messages) => {
            let (visible, in_flight) = rules.in_flight(messages);
            Reading::Queue(QueueDepth {
                visible,
                in_flight,
                delayed: 0,
            })
        }
        None => Reading::Failed {
            error: "AccessDenied".to_owned(),
        },
    };
    Observation {
        workload: Workload {
            replicas,
            rollout: None,
        },
        readings: vec![reading],
        stop: Stop::default(),
        conflicts: Vec::new(),
        poll_seconds: None,
    }
}

/// Runs a life, whose polls may depend on the count.
fn run(
    life: &Life,
    next: &mut dyn FnMut(u32) -> Option<Poll>,
    tally: &mut Tally,
    tell: &mut dyn FnMut(String),
) -> Checked {
    let rules = &life.rules;
    let policy = rules.policy();
    let (mut now, mut replicas) = (life.begins, life.replicas);
    let queue = Queue {
        per_replica: rules.per_replica,
        activation: rules.activation,
    };
    let mut hpa: Option<Hpa<'_>> = None;
    let mut state: Option<State> = None;
    let mut waits = 0;
    let mut squeezed: Option<i64> = None;
    tally.lives += 1;
    while let Some(poll) = next(replicas) {
        now += i64::from(poll.after);
        // Nobody remembers anything before the first poll.
        let begun = || Hpa::new(&policy, queue, rules.polling_seconds, replicas, now);
        let hpa = hpa.get_or_insert_with(begun);
        let messages = poll.messages.map(|messages| {
            let (visible, in_flight) = rules.in_flight(messages);
            let all = visible.saturating_add(in_flight);
            Messages {
                for_out: if rules.out_on_in_flight { all } else { visible },
                for_in: all,
            }
        });
        let seen = Seen { replicas, messages };
        let observation = observation(rules, replicas, poll.messages);
        let decision = decide(&policy, &observation, state.as_ref(), at(now));
        hpa.look(seen, now);
        tell(format!(
            "{:>7} s {:>10} messages: {}\n",
            now - life.begins,
            poll.messages
                .map_or_else(|| "no".to_owned(), |count| count.to_string()),
            decision.explanation
        ));
        if decision.state.text_len() > MAX_STATE_BYTES - ONE_EVENT {
            squeezed = Some(now);
        }
        let moment = Moment {
            hpa,
            seen,
            decision: &decision,
            is_squeezed: squeezed.is_some_and(|at| now - at <= LONGEST_PERIOD * 11 / 10),
            now,
        };
        moment.holds_no_count_for_ever()?;
        moment.lets_a_limited_scale_out_go_on()?;
        moment.rests_in_time()?;
        waits = moment.waits_needlessly(waits)?;
        moment.is_between()?;
        state = Some(moment.remembers()?);
        tally.add_decision(&moment);
        hpa.log(seen, now);
        if decision.is_scale() {
            hpa.change(replicas, decision.to, now);
        }
        replicas = decision.to;
    }
    Ok(())
}

/// The bytes of the longest scale event.
const ONE_EVENT: usize = 105;
/// The longest period of a policy.
const LONGEST_PERIOD: i64 = 1800;

/// A decision and what the HPA makes of the same poll.
struct Moment<'a> {
    hpa: &'a Hpa<'a>,
    seen: Seen,
    decision: &'a Decision,
    /// A state without room for one more event was written within the longest period: then more is merged than tenths, and a
    /// rate may be kept for longer. It is never exceeded all the same.
    is_squeezed: bool,
    now: i64,
}

impl Moment<'_> {
    fn hpa(&self, memory: Memory) -> u32 {
        self.hpa.count(self.seen, memory, self.now)
    }

    fn numbers(&self) -> String {
        format!(
            "{}; the HPA goes to {}, and to {} with everything a tenth longer",
            self.decision.explanation,
            self.hpa(Memory::Exact),
            self.hpa(Memory::Tenth)
        )
    }

    /// The comparison: between the count of the HPA and that of one whose memory is a tenth longer.
    fn is_between(&self) -> Checked {
        let (exact, tenth) = (self.hpa(Memory::Exact), self.hpa(Memory::Tenth));
        let Decision { from, to, .. } = *self.decision;
        if (exact.min(tenth)..=exact.max(tenth)).contains(&to) {
            return Ok(());
        }
        let is_out = to > from || (to == from && exact.max(tenth) > from);
        let goes_too_far = if is_out {
            to > exact.max(tenth)
        } else {
            to < exact.min(tenth)
        };
        // Where nothing but sums is left to merge that no count can hold, they are cut off: one needs a billion replicas for it.
        let is_cut_off = from.max(to).max(exact) >= 1 << 30;
        if self.is_squeezed && (!goes_too_far || is_cut_off) {
            return Ok(());
        }
        let way = if is_out { "out" } else { "in" };
        let rule = if goes_too_far {
            format!("scales {way} further than the HPA")
        } else {
            format!(
                "scales {way} less than an HPA a tenth longer: {}",
                self.decision.reason.name()
            )
        };
        ensure(false, &rule, || self.numbers())
    }

    /// A count that a window holds was wanted within the window and a tenth.
    fn holds_no_count_for_ever(&self) -> Checked {
        let Some(wanted) = self.hpa.wanted(self.seen) else {
            return Ok(());
        };
        let heeded = self.hpa.stabilized(wanted, Memory::Tenth, self.now);
        let Decision { to, limited_by, .. } = self.decision;
        let is_limited = |limit| limited_by.contains(&limit);
        ensure(
            !is_limited(Limit::ScaleInWindow)
                || is_limited(Limit::ScaleInPolicies)
                || *to <= heeded.scale_in,
            "a count is held past the scale-in window and a tenth",
            || format!("{} was wanted: {}", heeded.scale_in, self.numbers()),
        )?;
        ensure(
            !is_limited(Limit::ScaleOutWindow)
                || is_limited(Limit::ScaleOutPolicies)
                || *to >= heeded.out,
            "a count is held past the scale-out window and a tenth",
            || format!("{} was wanted: {}", heeded.out, self.numbers()),
        )
    }

    fn lets_a_limited_scale_out_go_on(&self) -> Checked {
        let Decision {
            from,
            to,
            limited_by,
            ..
        } = self.decision;
        let stands_still = from == to && limited_by.contains(&Limit::ScaleOutPolicies);
        let limit = self.hpa.limit(true, *from, Memory::Tenth, self.now);
        ensure(
            !stands_still || self.is_squeezed || limit == Some(*from),
            "a limited scale-out stands still while its policies allow more",
            || format!("up to {limit:?} is allowed: {}", self.numbers()),
        )
    }

    /// How many polls in a row a scale-out was wanted that nothing forbids, and was not written.
    fn waits_needlessly(&self, before: u32) -> Result<u32, Failure> {
        let Decision { from, to, .. } = *self.decision;
        let is_wanted = self.hpa(Memory::Tenth) > from && !self.is_squeezed;
        let waits = if is_wanted && to == from {
            before + 1
        } else {
            0
        };
        ensure(
            waits < 2,
            "a scale-out that nothing forbids is not written within two polls",
            || self.numbers(),
        )?;
        Ok(waits)
    }

    /// An inactive workload rests when the cooldown is over, whatever its window, and never before.
    fn rests_in_time(&self) -> Checked {
        let Decision { from, to, .. } = *self.decision;
        if let Some(rest) = self.hpa.resting(self.seen, Memory::Tenth, self.now) {
            ensure(to <= rest || self.is_squeezed, "rest comes late", || {
                format!("to {rest} by now: {}", self.numbers())
            })?;
        }
        let goes_to_rest = matches!(
            self.decision.reason,
            Reason::ScaledToZero | Reason::ScaledToIdle
        );
        ensure(
            !goes_to_rest || to >= from || self.hpa.may_rest(self.seen, Memory::Exact, self.now),
            "rest comes before the cooldown is over",
            || self.numbers(),
        )
    }

    /// What is remembered fits, and is read again as it was written.
    fn remembers(&self) -> Result<State, Failure> {
        let state = &self.decision.state;
        let text = state.to_json().to_string();
        ensure(
            text.len() <= MAX_STATE_BYTES,
            "the state is too long",
            || format!("{} bytes: {text}", text.len()),
        )?;
        let read = State::parse(&text).map_err(|problems| Failure {
            rule: "the state refuses what it wrote".to_owned(),
            numbers: format!("{problems:?} in {text}"),
        })?;
        ensure(read == *state, "the state is read as another", || {
            format!("{read:?} of {text}")
        })?;
        Ok(read)
    }
}

/// A random life: its rules are drawn, and its polls as it goes along, since a backlog depends on the count.
/// It is handed back when it failed.
fn random_life(seed: u64, tally: &mut Tally) -> Option<(Life, Failure)> {
    let mut random = Random::new(seed);
    let is_extreme = random.once_in(8);
    let is_quick = random.once_in(4);
    let rules = Rules::random(&mut random, is_extreme, is_quick);
    let max = u64::from(rules.max());
    let demand = if is_extreme && !random.once_in(3) {
        Demand::Extreme
    } else if is_quick && random.once_in(2) {
        Demand::Noise(max.min(400))
    } else {
        Demand::random(&mut random, max.min(400))
    };
    let silent = random.pick(&[None, None, Some(600), Some(3000), Some(20_000)]);
    let mut supply = Supply::new(demand, rules.per_replica, silent);
    let pace = Pace::random(&mut random, rules.polling_seconds);
    let failing = random.pick(&[0, 0, 0, 40, 7]);
    let usual = random.pick(&POLLS);
    let mut left = if random.once_in(LONG) {
        LONG_POLLS
    } else {
        usual
    };
    // A workload that begins below its minimum is asleep.
    let replicas = match rules.rest() {
        Some(rest) if random.once_in(2) => rest,
        _ => random.between(rules.min().max(1), rules.max().min(rules.min().max(1) + 60)),
    };
    let mut life = Life {
        rules,
        replicas,
        begins: i64::from(random.between(0, 100_000)),
        polls: Vec::new(),
    };
    let mut polls = Vec::new();
    let mut next = |replicas: u32| {
        left = left.checked_sub(1)?;
        let after = pace.after(&mut random);
        let messages = supply.after(after, replicas, &mut random);
        let is_failed = failing > 0 && random.once_in(failing);
        let poll = Poll {
            after,
            messages: (!is_failed).then_some(messages),
        };
        polls.push(poll);
        Some(poll)
    };
    let ended = caught(|| run(&life, &mut next, tally, &mut |_| ()));
    life.polls = polls;
    ended.err().map(|failure| (life, failure))
}

/// When polls come.
#[derive(Debug, Clone, Copy)]
enum Pace {
    Regular(u32),
    /// Anything up to this far apart, now and then much later.
    Irregular(u32),
    /// By the interval, and sometimes soon after.
    FollowedUp(u32),
}

impl Pace {
    fn random(random: &mut Random, interval: u32) -> Self {
        match random.below(6) {
            0 => Self::Irregular(random.pick(&[2, 20, 90])),
            1 => Self::FollowedUp(interval),
            _ => Self::Regular(interval),
        }
    }

    fn after(self, random: &mut Random) -> u32 {
        match self {
            Self::Irregular(_) if random.once_in(60) => random.between(1, 2500),
            Self::Irregular(most) => random.between(1, most),
            Self::FollowedUp(interval) if random.once_in(3) => interval.min(15),
            Self::Regular(interval) | Self::FollowedUp(interval) => interval,
        }
    }
}

/// A panic of the function is a failure like any other.
fn caught(life: impl FnOnce() -> Checked) -> Checked {
    catch_unwind(AssertUnwindSafe(life)).unwrap_or_else(|panic| {
        let text = { panic.downcast_ref::<String>() }
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        ensure(false, "panics", || {
            text.unwrap_or("with no message").to_owned()
        })
    })
}

fn again(life: &Life) -> Checked {
    let mut polls = life.polls.iter().copied();
    caught(|| {
        run(
            life,
            &mut |_| polls.next(),
            &mut Tally::default(),
            &mut |_| (),
        )
    })
}

/// Leaves out polls for as long as the life still breaks the same rule, in ever smaller pieces: with their time or without.
fn shortened(mut life: Life, mut failure: Failure) -> (Life, Failure) {
    let mut piece = life.polls.len() / 2;
    let mut patience = PATIENCE;
    while piece > 0 {
        let mut start = 0;
        while start < life.polls.len() {
            let Some(left) = patience.checked_sub(life.polls.len()) else {
                return (life, failure);
            };
            patience = left;
            let end = (start + piece).min(life.polls.len());
            let shorter = [true, false].into_iter().find_map(|keeps_time| {
                let mut shorter = life.clone();
                let removed: u32 = shorter.polls.drain(start..end).map(|poll| poll.after).sum();
                if let (true, Some(next)) = (keeps_time, shorter.polls.get_mut(start)) {
                    next.after += removed;
                }
                let again = again(&shorter).err()?;
                (again.rule == failure.rule).then_some((shorter, again))
            });
            match shorter {
                Some(shorter) => (life, failure) = shorter,
                None => start += piece,
            }
        }
        piece /= 2;
    }
    (life, failure)
}

#[test]
fn every_count_is_the_hpas_but_for_a_tenth() {
    let (decisions, seed) = crate::asked(DECISIONS);
    let mut tally = Tally::default();
    // One broken rule must not hide another, so each is told once.
    let mut failed: Vec<(Life, Failure, u64)> = Vec::new();
    let mut seeds = Random::new(seed);
    while tally.decisions < decisions {
        let Some((life, failure)) = random_life(seeds.next(), &mut tally) else {
            continue;
        };
        match failed
            .iter_mut()
            .find(|(_, known, _)| known.rule == failure.rule)
        {
            Some((_, _, times)) => *times += 1,
            None => failed.push((life, failure, 1)),
        }
    }
    eprintln!("seed {seed}: {tally:#?}");
    if !failed.is_empty() {
        let lives = tally.lives;
        let told = failed.into_iter().map(|(life, failure, times)| {
            let (life, failure) = shortened(life, failure);
            let Failure { rule, numbers } = failure;
            format!("{rule}, in {times} of {lives} lives, shortened: {numbers}\n{life}")
        });
        let told: Vec<String> = told.collect();
        panic!("with SIMULATE_SEED={seed}:\n{}", told.join("\n"));
    }
    tally.assert_that_much_happened();
}
