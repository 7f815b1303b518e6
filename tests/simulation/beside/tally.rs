//! What went on in the lives beside the HPA: lives in which nothing happens prove nothing.

use outrigger::decide::{Limit, Reason};

use super::Moment;
use crate::Counts;
use crate::hpa::Memory;

#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) lives: u64,
    pub(super) decisions: usize,
    /// Decisions in which the two memories of the HPA differ: there is something to be between.
    apart: u64,
    /// Of those, the ones that are as strict as they may be.
    latest: u64,
    /// Decisions by reason, by what limits them, and scaling ones by reason.
    reasons: Counts,
    limits: Counts,
    scaled: Counts,
    /// Scale-outs that a limit lets go on only so far, or not at all.
    out_in_part: u64,
    out_stands_still: u64,
    /// Scale-ins that a policy lets go on only so far.
    in_in_part: u64,
    /// Ways to rest past what the scale-in window would hold.
    rests_past_the_window: u64,
    /// The longest state, in bytes.
    longest_state: usize,
    /// Decisions that may keep a rate for longer than a tenth.
    squeezed: u64,
}

impl Tally {
    pub(super) fn add_decision(&mut self, moment: &Moment<'_>) {
        let decision = moment.decision;
        self.decisions += 1;
        let (exact, tenth) = (moment.hpa(Memory::Exact), moment.hpa(Memory::Tenth));
        self.apart += u64::from(exact != tenth);
        self.latest += u64::from(exact != tenth && decision.to == tenth);
        *self.reasons.entry(decision.reason.name()).or_default() += 1;
        if decision.is_scale() {
            *self.scaled.entry(decision.reason.name()).or_default() += 1;
        }
        for limit in &decision.limited_by {
            *self.limits.entry(limit.name()).or_default() += 1;
        }
        let is_limited = |limit| decision.limited_by.contains(&limit);
        if is_limited(Limit::ScaleOutPolicies) && decision.is_scale() {
            self.out_in_part += 1;
        } else if is_limited(Limit::ScaleOutPolicies) {
            self.out_stands_still += 1;
        }
        self.in_in_part += u64::from(is_limited(Limit::ScaleInPolicies) && decision.is_scale());
        let is_resting = matches!(decision.reason, Reason::ScaledToZero | Reason::ScaledToIdle);
        if is_resting && let Some(wanted) = moment.hpa.wanted(moment.seen) {
            let window = moment.hpa.stabilized(wanted, Memory::Exact, moment.now);
            self.rests_past_the_window +=
                u64::from(window.scale_in > decision.to.max(wanted.scale_in));
        }
        let text = decision.state.to_json().to_string();
        self.squeezed += u64::from(moment.is_squeezed);
        self.longest_state = self.longest_state.max(text.len());
    }

    pub(super) fn assert_that_much_happened(&self) {
        let of = |counts: &Counts, name: &str| counts.get(name).copied().unwrap_or_default();
        let reason = |reason: Reason| of(&self.reasons, reason.name());
        let scaled = |reason: Reason| of(&self.scaled, reason.name());
        // Of 10,000 decisions, at least so many; a few lives may have drawn none of a kind.
        let of_how_many = if self.decisions < 200_000 {
            100_000
        } else {
            10_000
        };
        for (what, times, least) in [
            (
                "held by the scale-in window",
                reason(Reason::ScaleInWindow),
                300,
            ),
            (
                "held by the scale-out window",
                reason(Reason::ScaleOutWindow),
                50,
            ),
            ("limited scale-outs", self.out_in_part, 50),
            (
                "limited scale-outs that stand still",
                self.out_stands_still,
                50,
            ),
            ("limited scale-ins", self.in_in_part, 20),
            ("scaled by the queue", scaled(Reason::QueueDepth), 50),
            ("woken", scaled(Reason::Activated), 5),
            ("to zero", scaled(Reason::ScaledToZero), 5),
            ("to idle", scaled(Reason::ScaledToIdle), 1),
            ("to rest past the window", self.rests_past_the_window, 2),
            ("cooling down", reason(Reason::Cooldown), 50),
            ("at rest", reason(Reason::Inactive), 200),
            ("failed readings", reason(Reason::ReadingFailed), 50),
            ("within the tolerance", reason(Reason::WithinTolerance), 50),
            ("two memories apart", self.apart, 100),
            ("as late as may be", self.latest, 20),
        ] {
            let enough = least * self.decisions as u64 / of_how_many;
            assert!(times >= enough, "{what}: {times} of {}", self.decisions);
        }
        // Else they would excuse too much.
        let decisions = u64::try_from(self.decisions).unwrap();
        assert!(self.squeezed * 10 < decisions, "{self:?}");
        assert!(self.longest_state > 1000, "{} bytes", self.longest_state);
    }
}
