//! The only place that asks what time it is.

use std::time::Duration;

use jiff::Timestamp;

/// The time that decisions, state and polls go by.
///
/// The deployed binary passes [`Clock::wall`] and has no switch for another.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    #[cfg(feature = "sandbox")]
    fast: Option<Fast>,
}

/// A clock that runs faster from a given moment on.
#[cfg(feature = "sandbox")]
#[derive(Debug, Clone, Copy)]
struct Fast {
    start: Timestamp,
    factor: i32,
}

impl Clock {
    /// The wall clock.
    #[must_use]
    pub fn wall() -> Self {
        Self {
            #[cfg(feature = "sandbox")]
            fast: None,
        }
    }

    /// A clock that shows `start` when the wall clock does, and runs `factor` times as fast. For the demo only:
    /// the function is built without it.
    #[cfg(feature = "sandbox")]
    #[must_use]
    pub fn fast(start: Timestamp, factor: i32) -> Self {
        Self {
            fast: Some(Fast { start, factor }),
        }
    }

    /// The time now, in whole seconds: records and state carry no fractions.
    #[must_use]
    pub fn now(self) -> Timestamp {
        let now = self.exact();
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }

    /// How far this clock gets in a stretch of real time.
    #[must_use]
    pub fn stretch(self, real: Duration) -> Duration {
        real.saturating_mul(self.factor())
    }

    /// How long this clock takes for a stretch of its own time.
    #[must_use]
    pub fn real(self, stretch: Duration) -> Duration {
        stretch / self.factor()
    }

    #[cfg(feature = "sandbox")]
    fn exact(self) -> Timestamp {
        let now = wall_now();
        match self.fast {
            None => now,
            Some(Fast { start, factor }) => start
                .checked_add(now.duration_since(start) * factor)
                .unwrap_or(now),
        }
    }

    #[cfg(not(feature = "sandbox"))]
    #[expect(
        clippy::unused_self,
        reason = "with the sandbox there is more than one clock"
    )]
    fn exact(self) -> Timestamp {
        wall_now()
    }

    /// At least 1.
    #[cfg(feature = "sandbox")]
    fn factor(self) -> u32 {
        self.fast
            .and_then(|fast| u32::try_from(fast.factor).ok())
            .map_or(1, |factor| factor.max(1))
    }

    #[cfg(not(feature = "sandbox"))]
    #[expect(
        clippy::unused_self,
        reason = "with the sandbox there is more than one clock"
    )]
    fn factor(self) -> u32 {
        1
    }
}

/// The wall clock. Tokens, TLS and deadlines use it whatever clock decisions use.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn wall_now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_keeps_real_time() {
        let second = Duration::from_secs(1);
        assert_eq!(Clock::wall().stretch(second), second);
        assert_eq!(Clock::wall().real(second), second);
    }

    #[cfg(feature = "sandbox")]
    #[test]
    fn a_fast_clock_waits_less() {
        let minute = Duration::from_mins(1);
        let fast = |factor| Clock::fast(Timestamp::UNIX_EPOCH, factor);
        assert_eq!(fast(60).real(minute), Duration::from_secs(1));
        assert_eq!(fast(60).stretch(Duration::from_secs(1)), minute);
        assert_eq!(fast(60).stretch(Duration::MAX), Duration::MAX);
        // Time does not stand still, and nothing waits for ever.
        for factor in [0, -1, i32::MIN] {
            assert_eq!(fast(factor).real(minute), minute);
        }
    }
}
