//! What an AWS endpoint can be told to do instead of answering well.

/// A way for an AWS endpoint to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The queue or cluster is not there.
    NotFound,
    /// Too many requests.
    Throttled,
    /// The caller may not.
    AccessDenied,
    /// Status 500.
    ServerError,
    /// The connection stays open and silent.
    Hang,
    /// The connection is reset.
    Reset,
    /// Status 200 with a body that no client can read.
    Garbage,
}

/// A fault and how often it still strikes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FaultPlan {
    fault: Option<Fault>,
    /// `None` for always.
    remaining: Option<u32>,
}

impl FaultPlan {
    pub(super) fn always(fault: Fault) -> Self {
        Self {
            fault: Some(fault),
            remaining: None,
        }
    }

    pub(super) fn times(fault: Fault, times: u32) -> Self {
        Self {
            fault: Some(fault),
            remaining: Some(times),
        }
    }

    /// The fault for the request at hand.
    pub(super) fn next(&mut self) -> Option<Fault> {
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.checked_sub(1)?;
        }
        self.fault
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_fault_clears_itself() {
        let mut plan = FaultPlan::times(Fault::Throttled, 2);
        let struck: Vec<_> = (0..4).map(|_| plan.next().is_some()).collect();
        assert_eq!(struck, [true, true, false, false]);
        assert_eq!(FaultPlan::default().next(), None);
        assert_eq!(FaultPlan::always(Fault::Hang).next(), Some(Fault::Hang));
    }
}
