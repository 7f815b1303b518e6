//! What a decision is made from, besides the rules and the memory.

use std::num::NonZeroU32;

use jiff::Timestamp;

use crate::owners::Conflict;

/// What was true when the pass looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The workload.
    pub workload: Workload,
    /// One reading for each trigger of the policy, in its order.
    pub readings: Vec<Reading>,
    /// What people have stopped in the ConfigMap.
    pub stop: Stop,
    /// Who else owns the workload; empty when nothing was found or nobody looked.
    pub conflicts: Vec<Conflict>,
    /// The most seconds between two polls of the workload while it is awake, where that is less than the `pollingInterval`:
    /// the function's window, or `OUTRIGGER_SYNC`.
    pub poll_seconds: Option<NonZeroU32>,
}

/// The emergency stop of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stop {
    /// Nothing is changed.
    pub all: bool,
    /// Nothing is scaled in.
    pub scale_in: bool,
    /// The ConfigMap is there as far as is known, and was never read: before this moment nothing is changed, since a stop may stand
    /// in it.
    pub unread_until: Option<Timestamp>,
}

impl Stop {
    /// Until when a stop that was never read holds; `None` when none does.
    pub(super) fn unread(self, now: Timestamp) -> Option<Timestamp> {
        self.unread_until.filter(|until| now < *until)
    }
}

/// The workload as its object says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// `spec.replicas`. Never the status, which on a Rollout counts canary pods as well.
    pub replicas: u32,
    /// The state of a Rollout; `None` for other kinds.
    pub rollout: Option<Rollout>,
}

/// What of a Rollout's state limits scaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rollout {
    /// A canary with `spec.paused`, or paused by an inconclusive analysis: the controller would not act.
    pub paused: bool,
    /// The update was aborted.
    pub aborted: bool,
    /// An update is in flight.
    pub updating: bool,
    /// The update waits at a pause step.
    pub pause_step: bool,
    /// A Rollout at its first revision that takes over from a Deployment (`workloadRef` with `scaleDown: progressively`):
    /// while its pods are not all ready, the controller brings the Deployment's back.
    pub handover: bool,
}

/// What one trigger read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// The three counts of a queue.
    Queue(QueueDepth),
    /// The value of a metric, in thousandths; `None` when there is no data, which the trigger says what to make of.
    Metric(Option<i64>),
    /// Nothing: a cron trigger is computed from the time.
    Cron,
    /// No reading, and why. Never a zero.
    Failed {
        /// A short stable code, such as `AccessDenied`.
        error: String,
    },
}

/// Messages in a queue, as SQS estimates them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueDepth {
    /// Ready to be received.
    pub visible: u64,
    /// Received and not yet deleted.
    pub in_flight: u64,
    /// Not deliverable yet.
    pub delayed: u64,
}
