//! The only place that asks what time it is.

use jiff::Timestamp;

/// The time that decisions and state use.
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
}

/// The wall clock. Tokens, TLS and deadlines use it whatever clock decisions use.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn wall_now() -> Timestamp {
    Timestamp::now()
}
