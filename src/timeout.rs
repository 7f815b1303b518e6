//! How much time an invocation has, whatever the clock says.
//!
//! Lambda tells each invocation its deadline by the wall clock, and nothing tells the timeout itself. The wall clock of an
//! environment that thaws may be ahead, so that the deadline seems to be over, or behind, so that it seems to be far away.

use std::time::Duration;

/// The longest timeout of a Lambda function. What seems to be more is a wrong clock.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html>
const LONGEST: Duration = Duration::from_mins(15);

/// What invocations of one timeout may differ by: the first one begins while the process still starts. A clock that is wrong by
/// no more than that cannot be told, and takes the report of an invocation at most.
const SLACK: Duration = Duration::from_secs(2);

/// What the shipped template gives an invocation beyond its window.
const BEYOND_WINDOW: Duration = Duration::from_secs(15);

/// The timeout of the function as its invocations showed it, kept while the environment is warm: it is one for all of them.
#[derive(Debug, Default)]
pub struct Timeout {
    /// The longest time that an invocation had.
    known: Option<Duration>,
    /// A longer one that the last invocation seemed to have.
    longer: Option<Duration>,
}

impl Timeout {
    /// The time that an invocation has: what its deadline tells, as far as that can be. `told` is the time to the deadline by the
    /// wall clock, `None` when it is over. Where it is over, the invocation has the timeout as it is known, else what the template
    /// gives a window of so many seconds.
    ///
    /// A time that is longer than any before, and than that of the template, is believed when the next invocation tells it too:
    /// then the clock was ahead before, and is not behind now.
    pub fn left(&mut self, told: Option<Duration>, window_seconds: u32) -> Duration {
        let told = told.filter(|told| !told.is_zero() && *told <= LONGEST);
        let longer = self.longer.take();
        let usual = Duration::from_secs(window_seconds.into()) + BEYOND_WINDOW;
        match (told, self.known) {
            (None, known) => known.unwrap_or(usual),
            (Some(told), Some(known)) if told > known.max(usual) + SLACK => {
                if longer.is_some_and(|longer| told.abs_diff(longer) <= SLACK) {
                    self.known = Some(told);
                    return told;
                }
                self.longer = Some(told);
                known
            }
            (Some(told), known) => {
                self.known = known.max(Some(told));
                told
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The time that each of these invocations has, by what each is told; 0 is a deadline that is over.
    #[track_caller]
    fn check(told: &[u64], expected: &[u64]) {
        let mut timeout = Timeout::default();
        let left = told.iter().map(|seconds| {
            let told = (*seconds > 0).then(|| Duration::from_secs(*seconds));
            timeout.left(told, 60).as_secs()
        });
        assert_eq!(left.collect::<Vec<_>>(), expected, "{told:?}");
    }

    #[test]
    fn a_deadline_that_is_over_leaves_the_timeout_that_is_known() {
        check(&[75, 75, 0, 75], &[75, 75, 75, 75]);
        check(&[30, 0], &[30, 30]);
        // A process that starts reads its first deadline late.
        check(&[74, 75, 0], &[74, 75, 75]);
        // Nothing is known yet: what the template gives.
        check(&[0, 0, 40, 0], &[75, 75, 40, 40]);
    }

    #[test]
    fn a_clock_that_is_behind_gives_no_more_time() {
        check(&[75, 600, 75], &[75, 75, 75]);
        check(&[30, 600, 30], &[30, 30, 30]);
        check(&[75, 600, 0, 600], &[75, 75, 75, 75]);
        // Hours behind there is no such timeout.
        check(&[75, 5_000, 5_000], &[75, 75, 75]);
        check(&[5_000, 75], &[75, 75]);
    }

    #[test]
    fn a_clock_that_is_ahead_a_little_shortens_that_invocation_alone() {
        check(&[75, 20, 75, 0], &[75, 20, 75, 75]);
        // Also where it was the first one; where the timeout is longer than that of the template, after one more.
        check(&[20, 75, 75, 0], &[20, 75, 75, 75]);
        check(&[20, 200, 200, 0], &[20, 20, 200, 200]);
    }

    proptest! {
        #[test]
        fn there_is_always_an_end(told in prop::collection::vec(0_u64..100_000, 1..20), window in 1_u32..900) {
            let mut timeout = Timeout::default();
            for seconds in told {
                let told = (seconds > 0).then(|| Duration::from_secs(seconds));
                let left = timeout.left(told, window);
                prop_assert!(!left.is_zero() && left <= LONGEST + BEYOND_WINDOW, "{left:?}");
                // It is never longer than what is told and may be true.
                let is_longer = told.is_some_and(|told| told <= LONGEST && left > told);
                prop_assert!(!is_longer);
            }
        }
    }
}
