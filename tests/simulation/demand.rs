//! What a queue holds over time, as a number of replicas would have to take care of it.
//!
//! Slow ramps renew the most extreme recommendation of a window at each poll, sines do so in both directions, and a closed
//! loop grows *because* nothing scales: a controller that waits for the end of it waits for ever.

use crate::random::Random;

/// The course of a demand.
#[derive(Debug, Clone)]
pub(crate) enum Demand {
    Steady(u64),
    /// One count more every so many seconds up to the highest, then back to the lowest, and again.
    Ramp {
        every_seconds: u64,
        lowest: u64,
        highest: u64,
    },
    /// One count more, or less, at each poll.
    Climb {
        from: u64,
        to: u64,
    },
    Sine {
        middle: u64,
        swing: u64,
        period_seconds: u64,
    },
    /// From poll to poll up or down by no more than this.
    Walk {
        step: u64,
        highest: u64,
    },
    /// High for a while, low for the rest of the period.
    Bursts {
        low: u64,
        high: u64,
        period_seconds: u64,
        high_seconds: u64,
    },
    /// Messages that arrive and are taken care of: the backlog is what the replicas leave. Thousandths of messages.
    Loop {
        arrive_per_second: u64,
        /// What arrives in the second half of each period.
        arrive_later: u64,
        period_seconds: u64,
        served_per_second: u64,
    },
    /// Anything at each poll.
    Noise(u64),
    /// As many as a count can be, or nothing.
    Extreme,
}

/// A queue under a demand.
#[derive(Debug)]
pub(crate) struct Supply {
    demand: Demand,
    /// Messages that one replica takes care of.
    per_replica: u64,
    /// Nothing comes for the last half of each period of this length.
    silent_period: Option<u64>,
    /// A walk's or a climb's place, or a loop's backlog in thousandths of messages.
    at: u64,
    seconds: u64,
}

impl Demand {
    pub(crate) fn random(random: &mut Random, max: u64) -> Self {
        let some = |random: &mut Random, most: u64| 1 + random.below(most.max(1));
        // Beyond the maximum, too.
        let most = max + max / 4 + 1;
        match random.below(12) {
            0 => Self::Steady(random.below(most)),
            1 | 2 => Self::Ramp {
                every_seconds: random.pick(&[1, 5, 10, 20, 30, 60, 60]),
                lowest: random.below(most / 4 + 1),
                highest: most / 4 + some(random, most),
            },
            3 => Self::Climb {
                from: random.below(most / 8 + 1),
                to: most + random.below(most),
            },
            4 => Self::Climb {
                from: most,
                to: random.below(most / 8 + 1),
            },
            5 => Self::Sine {
                middle: most / 2,
                swing: some(random, most / 2),
                period_seconds: random.pick(&[120, 600, 3600, 86_400]),
            },
            6 => Self::Walk {
                step: some(random, (most / 10).clamp(2, 20)),
                highest: most,
            },
            7 => Self::Bursts {
                low: random.below(most / 8 + 1),
                high: some(random, most),
                period_seconds: random.pick(&[90, 600, 1500, 5000]),
                high_seconds: random.pick(&[1, 45, 300, 900]),
            },
            8 | 9 => {
                let served_per_second = random.pick(&[50, 1000, 1000, 20_000]);
                let arrive = |random: &mut Random| served_per_second * random.below(most);
                Self::Loop {
                    arrive_per_second: arrive(random),
                    arrive_later: arrive(random),
                    period_seconds: random.pick(&[1200, 7200, 30_000]),
                    served_per_second,
                }
            }
            10 => Self::Noise(most),
            _ => Self::Extreme,
        }
    }
}

impl Supply {
    pub(crate) fn new(demand: Demand, per_replica: u32, silent_period: Option<u64>) -> Self {
        let at = match &demand {
            Demand::Climb { from, .. } => *from,
            Demand::Walk { highest, .. } => *highest / 2,
            _ => 0,
        };
        Self {
            demand,
            per_replica: per_replica.into(),
            silent_period,
            at,
            seconds: 0,
        }
    }

    /// A backlog that is there from the beginning.
    pub(crate) fn holding(self, messages: u64) -> Self {
        Self {
            at: messages * 1000,
            ..self
        }
    }

    /// The messages in the queue, so many seconds after the last look at it, in which so many replicas were at work.
    pub(crate) fn after(&mut self, seconds: u32, replicas: u32, random: &mut Random) -> u64 {
        let before = self.seconds;
        self.seconds += u64::from(seconds);
        let now = self.seconds;
        let is_silent =
            |at: u64| { self.silent_period }.is_some_and(|period| at % period >= period / 2);
        let wanted = match self.demand {
            Demand::Steady(count) => count,
            Demand::Ramp {
                every_seconds,
                lowest,
                highest,
            } => {
                let span = highest.saturating_sub(lowest).max(1);
                let along = now / every_seconds % (2 * span);
                lowest + along.min(2 * span - along)
            }
            Demand::Climb { to, .. } => {
                self.at = match self.at {
                    at if at < to => at + 1,
                    at => at.saturating_sub(1).max(to),
                };
                self.at
            }
            Demand::Sine {
                middle,
                swing,
                period_seconds,
            } => {
                let degrees = now % period_seconds * 360 / period_seconds;
                let swung = swing * sine(degrees % 180) / 1000;
                if degrees < 180 {
                    middle + swung
                } else {
                    middle.saturating_sub(swung)
                }
            }
            Demand::Walk { step, highest } => {
                let moved = self.at + random.below(2 * step + 1);
                self.at = moved.saturating_sub(step).min(highest);
                self.at
            }
            Demand::Bursts {
                low,
                high,
                period_seconds,
                high_seconds,
            } => {
                if now % period_seconds < high_seconds {
                    high
                } else {
                    low
                }
            }
            Demand::Loop {
                arrive_per_second,
                arrive_later,
                period_seconds,
                served_per_second,
            } => {
                for second in before..now {
                    let arrive = match second % period_seconds {
                        _ if is_silent(second) => 0,
                        early if early < period_seconds / 2 => arrive_per_second,
                        _ => arrive_later,
                    };
                    let served = served_per_second * u64::from(replicas);
                    self.at = (self.at + arrive).saturating_sub(served);
                }
                return self.at / 1000;
            }
            Demand::Noise(most) => random.below(most),
            Demand::Extreme => random.pick(&[
                0,
                0,
                1,
                2,
                1000,
                1 << 16,
                1 << 30,
                (1 << 31) - 2,
                (1 << 31) - 1,
                u64::MAX,
            ]),
        };
        if is_silent(now) {
            return 0;
        }
        // As many messages as need just so many replicas, the last of them with little or much to do.
        let spare = random.below(self.per_replica);
        wanted
            .saturating_mul(self.per_replica)
            .saturating_sub(spare)
    }
}

/// The sine of an angle below 180 degrees, in thousandths, by Bhaskara: the same on every machine.
fn sine(degrees: u64) -> u64 {
    let product = degrees * (180 - degrees);
    4000 * product / (40_500 - product)
}
