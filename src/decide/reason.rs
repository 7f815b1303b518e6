//! The vocabulary of decisions.

/// The rule that set the final count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The backlog asks for another count.
    QueueDepth,
    /// A CloudWatch metric asks for another count.
    MetricValue,
    /// An open cron window asks for another count.
    CronWindow,
    /// A workload at rest became active.
    Activated,
    /// Inactive for long enough: to zero.
    ScaledToZero,
    /// Inactive for long enough: to `idleReplicaCount`.
    ScaledToIdle,
    /// The count was above `maxReplicaCount`.
    AboveMax,
    /// The count was below `minReplicaCount`.
    BelowMin,
    /// `autoscaling.keda.sh/paused-replicas` sets the count.
    PausedReplicas,
    /// The backlog asks for the present count.
    Steady,
    /// The backlog asks for another count, but the difference is within the tolerance.
    WithinTolerance,
    /// Scale-in waits for the highest wanted count of the window.
    ScaleInWindow,
    /// Scale-out waits for the lowest wanted count of its window.
    ScaleOutWindow,
    /// The scale-out policies allow no more in this period.
    ScaleOutLimit,
    /// The scale-in policies allow no more in this period.
    ScaleInLimit,
    /// Readings failed too often: `spec.fallback` sets the count.
    Fallback,
    /// Inactive, but not for long enough.
    Cooldown,
    /// Inactive and at rest.
    Inactive,
    /// A reading failed; nothing scales in on an error.
    ReadingFailed,
    /// Somebody else keeps changing the count.
    Contested,
    /// Another autoscaler owns the workload.
    OtherOwner,
    /// Who else owns the workload, or what its ScaledObject says by now, could not be found out; nothing scales in before that.
    OwnersUnknown,
    /// The key `pause` of the ConfigMap.
    Stopped,
    /// The ConfigMap was never read, and a stop may stand in it.
    StopUnknown,
    /// The key `pause-scale-in` of the ConfigMap.
    StoppedScaleIn,
    /// `autoscaling.keda.sh/paused`.
    Paused,
    /// `autoscaling.keda.sh/paused-scale-in`.
    PausedScaleIn,
    /// `autoscaling.keda.sh/paused-scale-out`.
    PausedScaleOut,
    /// The canary is paused: the Rollouts controller would not act on a new count.
    RolloutPaused,
    /// The update was aborted: no scale-in until the next one.
    RolloutAborted,
    /// An update is in flight: no scale-in until it ends.
    RolloutUpdating,
    /// The update waits at a pause step: never to zero there.
    RolloutPauseStep,
    /// The Rollout still takes over from a Deployment: no scale-in before its second revision.
    RolloutHandover,
}

impl Reason {
    /// All reasons with a one-line meaning, for the documentation.
    pub const ALL: [(Self, &'static str); 33] = [
        (Self::QueueDepth, "the backlog asks for another count"),
        (
            Self::MetricValue,
            "the metric of an `aws-cloudwatch` trigger asks for another count",
        ),
        (
            Self::CronWindow,
            "a `cron` window that is open, or all that are closed, ask for another count",
        ),
        (Self::Activated, "a workload at zero or idle became active"),
        (
            Self::ScaledToZero,
            "inactive for longer than `cooldownPeriod`: to zero",
        ),
        (
            Self::ScaledToIdle,
            "inactive for longer than `cooldownPeriod`: to `idleReplicaCount`",
        ),
        (Self::AboveMax, "the count was above `maxReplicaCount`"),
        (Self::BelowMin, "the count was below `minReplicaCount`"),
        (
            Self::PausedReplicas,
            "`autoscaling.keda.sh/paused-replicas` sets the count",
        ),
        (Self::Steady, "the backlog asks for the present count"),
        (
            Self::WithinTolerance,
            "the backlog differs from the present capacity by less than the tolerance",
        ),
        (
            Self::ScaleInWindow,
            "scale-in waits for the highest wanted count of its window, 300 s unless set",
        ),
        (
            Self::ScaleOutWindow,
            "scale-out waits for the lowest wanted count of its window",
        ),
        (
            Self::ScaleOutLimit,
            "the `scaleUp` policies allow no more in this period",
        ),
        (
            Self::ScaleInLimit,
            "the `scaleDown` policies allow no more in this period",
        ),
        (
            Self::Fallback,
            "readings failed more often than `failureThreshold`: `fallback` sets the count",
        ),
        (Self::Cooldown, "inactive, but not yet for `cooldownPeriod`"),
        (Self::Inactive, "inactive and at rest"),
        (
            Self::ReadingFailed,
            "a reading failed, and nothing scales in on an error",
        ),
        (
            Self::Contested,
            "somebody else changed the count three times in 10 minutes: no scale-in, and scale-out once in 5 minutes",
        ),
        (
            Self::OtherOwner,
            "another autoscaler owns the workload: an HPA, by itself or KEDA's",
        ),
        (
            Self::OwnersUnknown,
            "whether another autoscaler owns the workload, or whether its ScaledObject is still as it was read, could not be found out, and nothing scales in before that",
        ),
        (
            Self::Stopped,
            "the key `pause` of the ConfigMap names the workload",
        ),
        (
            Self::StopUnknown,
            "the ConfigMap cannot be read and was not read since the function's start: a stop may stand in it, and nothing changes for 5 minutes",
        ),
        (
            Self::StoppedScaleIn,
            "the key `pause-scale-in` of the ConfigMap names the workload",
        ),
        (Self::Paused, "`autoscaling.keda.sh/paused` is set"),
        (
            Self::PausedScaleIn,
            "`autoscaling.keda.sh/paused-scale-in` is set",
        ),
        (
            Self::PausedScaleOut,
            "`autoscaling.keda.sh/paused-scale-out` is set",
        ),
        (
            Self::RolloutPaused,
            "the canary is paused, and its controller would not act on a new count",
        ),
        (
            Self::RolloutAborted,
            "the update was aborted: no scale-in before the next one",
        ),
        (
            Self::RolloutUpdating,
            "an update is in flight: no scale-in before it ends",
        ),
        (
            Self::RolloutPauseStep,
            "the update waits at a pause step: never to zero there",
        ),
        (
            Self::RolloutHandover,
            "the Rollout still takes over from a Deployment (`workloadRef`, `scaleDown: progressively`, revision 1): no scale-in",
        ),
    ];

    /// Whether a trigger's own count is what was set.
    pub(super) fn is_demand(self) -> bool {
        matches!(
            self,
            Self::QueueDepth | Self::MetricValue | Self::CronWindow
        )
    }

    /// The name used in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::QueueDepth => "QueueDepth",
            Self::MetricValue => "MetricValue",
            Self::CronWindow => "CronWindow",
            Self::Activated => "Activated",
            Self::ScaledToZero => "ScaledToZero",
            Self::ScaledToIdle => "ScaledToIdle",
            Self::AboveMax => "AboveMax",
            Self::BelowMin => "BelowMin",
            Self::PausedReplicas => "PausedReplicas",
            Self::Steady => "Steady",
            Self::WithinTolerance => "WithinTolerance",
            Self::ScaleInWindow => "ScaleInWindow",
            Self::ScaleOutWindow => "ScaleOutWindow",
            Self::ScaleOutLimit => "ScaleOutLimit",
            Self::ScaleInLimit => "ScaleInLimit",
            Self::Fallback => "Fallback",
            Self::Cooldown => "Cooldown",
            Self::Inactive => "Inactive",
            Self::ReadingFailed => "ReadingFailed",
            Self::Contested => "Contested",
            Self::OtherOwner => "OtherOwner",
            Self::OwnersUnknown => "OwnersUnknown",
            Self::Stopped => "Stopped",
            Self::StopUnknown => "StopUnknown",
            Self::StoppedScaleIn => "StoppedScaleIn",
            Self::Paused => "Paused",
            Self::PausedScaleIn => "PausedScaleIn",
            Self::PausedScaleOut => "PausedScaleOut",
            Self::RolloutPaused => "RolloutPaused",
            Self::RolloutAborted => "RolloutAborted",
            Self::RolloutUpdating => "RolloutUpdating",
            Self::RolloutPauseStep => "RolloutPauseStep",
            Self::RolloutHandover => "RolloutHandover",
        }
    }
}

/// What kept a count from being what the backlog asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Limit {
    /// The backlog asks for more than `maxReplicaCount`.
    MaxReplicaCount,
    /// The backlog asks for less than `minReplicaCount`.
    MinReplicaCount,
    /// The scale-in window.
    ScaleInWindow,
    /// The scale-out window.
    ScaleOutWindow,
    /// The scale-out policies.
    ScaleOutPolicies,
    /// The scale-in policies.
    ScaleInPolicies,
    /// The cooldown before zero or idle.
    Cooldown,
    /// A failed reading: no scale-in.
    FailedReading,
    /// Foreign changes of the count.
    Contested,
    /// Owners that could not be looked up, or a ScaledObject: no scale-in.
    OwnersUnknown,
    /// The key `pause-scale-in` of the ConfigMap.
    Stop,
    /// `paused-scale-in`.
    PausedScaleIn,
    /// `paused-scale-out`.
    PausedScaleOut,
    /// The state of the Rollout.
    Rollout,
}

impl Limit {
    /// All limits, for the contract of a decision.
    pub const ALL: [Self; 14] = [
        Self::MaxReplicaCount,
        Self::MinReplicaCount,
        Self::ScaleInWindow,
        Self::ScaleOutWindow,
        Self::ScaleOutPolicies,
        Self::ScaleInPolicies,
        Self::Cooldown,
        Self::FailedReading,
        Self::Contested,
        Self::OwnersUnknown,
        Self::Stop,
        Self::PausedScaleIn,
        Self::PausedScaleOut,
        Self::Rollout,
    ];

    /// The name used in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxReplicaCount => "MaxReplicaCount",
            Self::MinReplicaCount => "MinReplicaCount",
            Self::ScaleInWindow => "ScaleInWindow",
            Self::ScaleOutWindow => "ScaleOutWindow",
            Self::ScaleOutPolicies => "ScaleOutPolicies",
            Self::ScaleInPolicies => "ScaleInPolicies",
            Self::Cooldown => "Cooldown",
            Self::FailedReading => "FailedReading",
            Self::Contested => "Contested",
            Self::OwnersUnknown => "OwnersUnknown",
            Self::Stop => "Stop",
            Self::PausedScaleIn => "PausedScaleIn",
            Self::PausedScaleOut => "PausedScaleOut",
            Self::Rollout => "Rollout",
        }
    }
}
