//! The HPA controller and KEDA's executor again, by full histories: every recommendation, every change of the count and every
//! look at the queue with its time; nothing capped, run together or forgotten, and everything in whole numbers but for the
//! percentages, whose rounding shows.
//!
//! It answers twice. To the second it is what Kubernetes would do on the same polls, and nothing may be less strict. With
//! everything a tenth longer, and each recommendation in force until the next poll, it is as strict as the function may be.
//! What it decides on purpose otherwise than they do is marked "Here:".

use outrigger::policy::{Amount, Policy, RatePolicy, ScalingRules, SelectPolicy};

/// Empty readings are believed once they are this far apart.
const BELIEVED_SECONDS: i64 = 60;

/// How long what was is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// As Kubernetes does: a recommendation is a moment.
    Exact,
    /// As long as the function may at the most: a recommendation holds until the next poll, and then for the window and a tenth.
    /// What limits is young for a tenth longer, what makes room for a tenth shorter.
    Tenth,
}

impl Memory {
    /// Whether a window still heeds a recommendation.
    fn heeds(self, recommendation: &Recommendation, window: u32, now: i64) -> bool {
        let window = i64::from(window);
        match self {
            Self::Exact => now - recommendation.at < window,
            Self::Tenth => 10 * (now - recommendation.until.unwrap_or(now)) < 11 * window,
        }
    }

    /// Whether a period still counts a change, for a limit in this direction.
    fn counts(self, change: &Change, is_out: bool, period: u32, now: i64) -> bool {
        let (age, period) = (now - change.at, i64::from(period));
        match self {
            Self::Exact => age < period,
            Self::Tenth if change.is_out() == is_out => 10 * age < 11 * period,
            Self::Tenth => 10 * age < 9 * period,
        }
    }
}

/// A count that was wanted.
#[derive(Debug, Clone, Copy)]
struct Recommendation {
    replicas: u32,
    at: i64,
    /// The next poll; `None` while there was none.
    until: Option<i64>,
}

/// A change of the count, whoever in KEDA or the HPA would have made it.
#[derive(Debug, Clone, Copy)]
struct Change {
    at: i64,
    from: u32,
    to: u32,
}

impl Change {
    fn is_out(&self) -> bool {
        self.to >= self.from
    }
}

/// What a poll sees.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) replicas: u32,
    /// `None` when the reading failed.
    pub(crate) messages: Option<Messages>,
}

/// What a queue asks for, by direction: they differ where messages in flight call for no more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Messages {
    pub(crate) for_out: u64,
    pub(crate) for_in: u64,
}

/// The rules of one queue that are not among the policy's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queue {
    pub(crate) per_replica: u32,
    pub(crate) activation: u64,
}

/// The counts that the readings ask for, for each direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) out: u32,
    pub(crate) scale_in: u32,
}

/// A workload's history.
#[derive(Debug)]
pub(crate) struct Hpa<'a> {
    policy: &'a Policy,
    queue: Queue,
    polling_seconds: i64,
    out: Vec<Recommendation>,
    scale_in: Vec<Recommendation>,
    changes: Vec<Change>,
    /// The last poll that saw activity.
    last_active: Option<i64>,
    /// The first one after it that saw none.
    first_inactive: Option<i64>,
    /// The first one of those that saw none, with no failed reading since.
    empty_since: Option<i64>,
    /// What the last reading said that did not fail.
    was_active: bool,
}

impl<'a> Hpa<'a> {
    /// A controller that begins with this count takes it as recommended, and KEDA's executor a running workload as active.
    pub(crate) fn new(
        policy: &'a Policy,
        queue: Queue,
        polling_seconds: u32,
        replicas: u32,
        now: i64,
    ) -> Self {
        let seed = vec![Recommendation {
            replicas,
            at: now,
            until: None,
        }];
        Self {
            policy,
            queue,
            polling_seconds: polling_seconds.into(),
            out: seed.clone(),
            scale_in: seed,
            changes: Vec::new(),
            last_active: (replicas > 0).then_some(now),
            first_inactive: None,
            empty_since: None,
            was_active: false,
        }
    }

    /// Enters the activity of a poll, before anything is decided from it.
    pub(crate) fn look(&mut self, seen: Seen, now: i64) {
        match self.is_active(seen) {
            Some(true) => {
                (self.last_active, self.first_inactive) = (Some(now), None);
                (self.empty_since, self.was_active) = (None, true);
            }
            Some(false) => {
                if self.was_active {
                    self.first_inactive = Some(now);
                }
                self.was_active = false;
                self.empty_since = self.empty_since.or(Some(now));
            }
            None => self.empty_since = None,
        }
    }

    /// Enters what a poll wanted, after it was decided.
    pub(crate) fn log(&mut self, seen: Seen, now: i64) {
        let replicas = seen.replicas;
        let wanted = self.wanted(seen);
        // Here: at rest a workload is left alone, and what was wanted before it slept is not what it wakes to.
        // Of what could not be read the present count is what was wanted.
        if wanted.is_none() && replicas < self.policy.bounds.active_min() {
            self.out.clear();
        } else {
            log(
                &mut self.out,
                wanted.map_or(replicas, |wanted| wanted.out),
                now,
            );
        }
        let scale_in = wanted.map_or(replicas, |wanted| wanted.scale_in);
        log(&mut self.scale_in, scale_in, now);
    }

    /// Enters a change that really happened.
    pub(crate) fn change(&mut self, from: u32, to: u32, now: i64) {
        self.changes.push(Change { at: now, from, to });
    }

    fn is_active(&self, seen: Seen) -> Option<bool> {
        let messages = seen.messages?;
        Some(messages.for_in > self.queue.activation)
    }

    /// What the readings ask for within the bounds; `None` when nothing is asked: a failed reading, or a workload at rest.
    pub(crate) fn wanted(&self, seen: Seen) -> Option<Wanted> {
        let messages = seen.messages?;
        if self.is_at_rest(seen) {
            return None;
        }
        let bounds = self.policy.bounds;
        let wanted = |messages: u64| {
            let count = self.proposed(messages, seen.replicas);
            count.max(bounds.active_min()).min(bounds.max())
        };
        Some(Wanted {
            out: wanted(messages.for_out),
            scale_in: wanted(messages.for_in),
        })
    }

    fn is_at_rest(&self, seen: Seen) -> bool {
        let is_active = self.is_active(seen).unwrap_or(self.was_active);
        self.policy.bounds.rest() == Some(seen.replicas) && !is_active
    }

    /// As many replicas as the messages need, or those that are there when their load is within the tolerance, ends included.
    fn proposed(&self, messages: u64, replicas: u32) -> u32 {
        let per_replica = u128::from(self.queue.per_replica);
        let messages = u128::from(messages);
        let capacity = per_replica * u128::from(replicas);
        let billion = 1_000_000_000;
        let spare = |rules: &ScalingRules| capacity * u128::from(rules.tolerance_billionths);
        let is_over = messages * billion > capacity * billion + spare(&self.policy.scale_out);
        let is_under = messages * billion + spare(&self.policy.scale_in) < capacity * billion;
        if replicas > 0 && !is_over && !is_under {
            return replicas;
        }
        let needed = messages / per_replica + u128::from(!messages.is_multiple_of(per_replica));
        u32::try_from(needed).unwrap_or(u32::MAX)
    }

    /// The lowest count that the scale-out window allows, and the highest that the scale-in window asks for.
    pub(crate) fn stabilized(&self, wanted: Wanted, memory: Memory, now: i64) -> Wanted {
        let heeded = |log: &[Recommendation], rules: &ScalingRules| -> Vec<u32> {
            let heeded = { log.iter() }
                .filter(|logged| memory.heeds(logged, rules.window_seconds, now))
                .map(|logged| logged.replicas);
            // A window of no length heeds nothing, also not what holds until now.
            heeded.filter(|_| rules.window_seconds > 0).collect()
        };
        let out = heeded(&self.out, &self.policy.scale_out);
        let scale_in = heeded(&self.scale_in, &self.policy.scale_in);
        Wanted {
            out: out.into_iter().fold(wanted.out, u32::min),
            scale_in: scale_in.into_iter().fold(wanted.scale_in, u32::max),
        }
    }

    /// How far the policies let the count go in a direction; `None` for as far as it likes.
    pub(crate) fn limit(
        &self,
        is_out: bool,
        replicas: u32,
        memory: Memory,
        now: i64,
    ) -> Option<u32> {
        let rules = if is_out {
            &self.policy.scale_out
        } else {
            &self.policy.scale_in
        };
        let mut limits: Vec<f64> = { rules.policies.iter() }
            .map(|policy| self.limit_of(*policy, is_out, replicas, memory, now))
            .collect();
        limits.sort_by(f64::total_cmp);
        let limit = match (rules.select?, is_out) {
            (SelectPolicy::Disabled, _) => return Some(replicas),
            (SelectPolicy::Max, true) | (SelectPolicy::Min, false) => *limits.last()?,
            (SelectPolicy::Min, true) | (SelectPolicy::Max, false) => *limits.first()?,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a limit beyond what a count can be is none"
        )]
        let limit = limit.clamp(0.0, f64::from(u32::MAX)) as u32;
        Some(if is_out {
            limit.max(replicas)
        } else {
            limit.min(replicas)
        })
    }

    fn limit_of(
        &self,
        policy: RatePolicy,
        is_out: bool,
        replicas: u32,
        memory: Memory,
        now: i64,
    ) -> f64 {
        let changed: i64 = { self.changes.iter() }
            .filter(|change| memory.counts(change, is_out, policy.period_seconds, now))
            .map(|change| i64::from(change.to) - i64::from(change.from))
            .sum();
        #[expect(
            clippy::cast_precision_loss,
            reason = "the sum of a million changes is below 2^53"
        )]
        let start = (i64::from(replicas) - changed) as f64;
        // In the controller's order of operations: its rounding is what makes 111 of 100 and 10 %.
        match (policy.amount, is_out) {
            (Amount::Pods(pods), true) => start + f64::from(pods),
            (Amount::Pods(pods), false) => start - f64::from(pods),
            (Amount::Percent(percent), true) => (start * (1.0 + f64::from(percent) / 100.0)).ceil(),
            (Amount::Percent(percent), false) => {
                (start * (1.0 - f64::from(percent) / 100.0)).trunc()
            }
        }
    }

    /// When activity ended, as KEDA has it: at the last poll that saw any. A poll that comes late has not seen when it ended,
    /// so one polling interval before it is as good; which of the two counts is open.
    fn activity_ended(&self, memory: Memory) -> Option<i64> {
        let last = self.last_active?;
        let Some(first_inactive) = self.first_inactive else {
            return Some(last);
        };
        let assumed = first_inactive - self.polling_seconds;
        Some(match memory {
            Memory::Exact => last.min(assumed),
            Memory::Tenth => last.max(assumed),
        })
    }

    /// Whether an inactive workload may go where it rests, policies apart. Here: on empty readings a minute apart.
    pub(crate) fn may_rest(&self, seen: Seen, memory: Memory, now: i64) -> bool {
        let is_inactive = self.is_active(seen) == Some(false);
        let is_believed = { self.empty_since }.is_some_and(|since| now - since >= BELIEVED_SECONDS);
        let cooldown = i64::from(self.policy.cooldown_seconds);
        let is_cool = { self.activity_ended(memory) }.is_none_or(|ended| now - ended > cooldown);
        is_inactive && is_believed && is_cool
    }

    /// Where an inactive workload goes that may rest. Here: along the scale-in policies; and without any scale-in the
    /// minimum is as low as it goes.
    pub(crate) fn resting(&self, seen: Seen, memory: Memory, now: i64) -> Option<u32> {
        let rest = { self.policy.bounds.rest() }.filter(|_| self.may_rest(seen, memory, now))?;
        let limit = self.limit(false, seen.replicas, memory, now).unwrap_or(0);
        let next = limit.max(rest);
        let is_stuck = self.policy.scale_in.select == Some(SelectPolicy::Disabled)
            && next < self.policy.bounds.active_min();
        (!is_stuck && rest < seen.replicas).then_some(next)
    }

    /// The count after this poll.
    pub(crate) fn count(&self, seen: Seen, memory: Memory, now: i64) -> u32 {
        let bounds = self.policy.bounds;
        let replicas = seen.replicas;
        if self.is_at_rest(seen) {
            return replicas;
        }
        let Some(wanted) = self.wanted(seen) else {
            // Nothing is known, and the bounds are configuration.
            return replicas.max(bounds.min()).min(bounds.max());
        };
        if let Some(next) = self.resting(seen, memory, now) {
            return next.min(bounds.max());
        }
        let stabilized = self.stabilized(wanted, memory, now);
        let mut count = replicas.min(stabilized.scale_in).max(stabilized.out);
        // Waking is KEDA's: to the minimum, whatever the HPA's windows and policies say.
        let woken = bounds.active_min();
        if replicas < woken {
            count = count.max(woken);
        }
        if count > replicas {
            let limit = self.limit(true, replicas, memory, now).unwrap_or(u32::MAX);
            let limit = if replicas < woken {
                limit.max(woken)
            } else {
                limit
            };
            count = count.min(limit);
        } else {
            count = count.max(self.limit(false, replicas, memory, now).unwrap_or(0));
        }
        count.max(bounds.min()).min(bounds.max())
    }
}

fn log(log: &mut Vec<Recommendation>, replicas: u32, now: i64) {
    if let Some(last) = log.last_mut() {
        last.until = Some(now);
    }
    log.push(Recommendation {
        replicas,
        at: now,
        until: None,
    });
}
