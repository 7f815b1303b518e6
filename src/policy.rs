//! What a ScaledObject asks for, validated: the values that `decide` works with.
//!
//! Everything here is built by `manifest`, which refuses what these types cannot hold.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};

use jiff::{SignedDuration, Timestamp};

use crate::cron::Schedule;
use crate::document::quoted;

/// Scale-in waits for the highest wanted count of this many seconds unless `behavior` says otherwise.
/// The Kubernetes controller's own default (`--horizontal-pod-autoscaler-downscale-stabilization`, 5 min); a shorter one
/// would scale in on the gap between two bursts.
pub const DEFAULT_SCALE_IN_WINDOW_SECONDS: u32 = 300;

/// One workload's scaling rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The workload's name, for explanations.
    pub workload: String,
    /// Whether decisions are carried out.
    pub mode: Mode,
    /// Its namespace, for the commands in them.
    pub namespace: String,
    /// The limits of the replica count.
    pub bounds: ReplicaBounds,
    /// Seconds between two polls, `pollingInterval`.
    pub polling_seconds: NonZeroU32,
    /// Seconds without activity before zero or idle, `cooldownPeriod`.
    pub cooldown_seconds: u32,
    /// Seconds after creation before the first zero or idle, `initialCooldownPeriod`.
    pub initial_cooldown_seconds: u32,
    /// When the ScaledObject was created, if its metadata says so.
    pub created: Option<Timestamp>,
    /// How the count may rise.
    pub scale_out: ScalingRules,
    /// How it may fall.
    pub scale_in: ScalingRules,
    /// What to do when readings keep failing; `None` holds the count.
    pub fallback: Option<Fallback>,
    /// What a person has switched off.
    pub pause: Pause,
    /// `autoscaling.keda.sh/force-activation`: treat the workload as active whatever is read.
    pub force_activation: bool,
    /// What is read, in the order of the manifest.
    pub triggers: Vec<Trigger>,
}

/// Whether decisions are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// They are.
    #[default]
    Live,
    /// Somebody else scales; what this function would do is only told.
    Shadow,
}

impl Mode {
    /// The annotation of a ScaledObject that picks one.
    pub const ANNOTATION: &str = "outrigger.dev/mode";

    /// The modes by the names that people write.
    pub const NAMES: [(&'static str, Self); 2] = [("live", Self::Live), ("shadow", Self::Shadow)];
}

/// The limits of a replica count: `min <= max`, `max >= 1`, `idle < min` unless both are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaBounds {
    min: u32,
    max: NonZeroU32,
    idle: Option<u32>,
}

impl ReplicaBounds {
    /// `None` when the three contradict each other.
    #[must_use]
    pub fn new(min: u32, max: NonZeroU32, idle: Option<u32>) -> Option<Self> {
        let idle_fits = idle.is_none_or(|idle| idle < min || (idle == 0 && min == 0));
        (min <= max.get() && idle_fits).then_some(Self { min, max, idle })
    }

    /// `minReplicaCount`.
    #[must_use]
    pub fn min(self) -> u32 {
        self.min
    }

    /// `maxReplicaCount`, at least 1.
    #[must_use]
    pub fn max(self) -> u32 {
        self.max.get()
    }

    /// The lowest count of a workload that is active: `minReplicaCount`, but at least 1.
    #[must_use]
    pub fn active_min(self) -> u32 {
        self.min.max(1)
    }

    /// Where an inactive workload rests: `idleReplicaCount`, else 0 when `minReplicaCount` is 0, else nowhere.
    #[must_use]
    pub fn rest(self) -> Option<u32> {
        self.idle.or((self.min == 0).then_some(0))
    }
}

/// One direction of `advanced.horizontalPodAutoscalerConfig.behavior`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalingRules {
    /// Seconds of wanted counts that are respected, 0 to 3600.
    pub window_seconds: u32,
    /// Which of the policies counts; `None` when nothing limits the rate, as without a `behavior` block.
    pub select: Option<SelectPolicy>,
    /// How much may change in which time.
    pub policies: Vec<RatePolicy>,
    /// No change while `value / (target * replicas)` differs from 1 by no more than this many billionths.
    pub tolerance_billionths: u64,
}

/// The dead band both ways unless set: 0.1, the Kubernetes controller's default.
pub const DEFAULT_TOLERANCE_BILLIONTHS: u64 = 100_000_000;

impl ScalingRules {
    /// Scale-out without a `behavior` block: at once.
    pub const SCALE_OUT: Self = Self {
        window_seconds: 0,
        select: None,
        policies: Vec::new(),
        tolerance_billionths: DEFAULT_TOLERANCE_BILLIONTHS,
    };

    /// Scale-in without a `behavior` block: after the window.
    pub const SCALE_IN: Self = Self {
        window_seconds: DEFAULT_SCALE_IN_WINDOW_SECONDS,
        select: None,
        policies: Vec::new(),
        tolerance_billionths: DEFAULT_TOLERANCE_BILLIONTHS,
    };
}

/// Which of several rate policies counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectPolicy {
    /// The one that allows the biggest change.
    Max,
    /// The one that allows the smallest change.
    Min,
    /// None: no change in this direction.
    Disabled,
}

/// How much may change in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RatePolicy {
    /// How much, from the count at the start of the period.
    pub amount: Amount,
    /// The period, 1 to 1800 seconds.
    pub period_seconds: u32,
}

/// The size of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// This many replicas, at least 1.
    Pods(u32),
    /// This share of the replicas, at least 1 %; above 100 is allowed.
    Percent(u32),
}

/// `spec.fallback`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallback {
    /// A trigger falls back once it has failed more often in a row than this.
    pub failure_threshold: u32,
    /// The count to fall back to.
    pub replicas: u32,
    /// How the current count plays into it.
    pub behavior: FallbackBehavior,
}

/// `spec.fallback.behavior`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallbackBehavior {
    /// The configured count.
    Static,
    /// The current count.
    CurrentReplicas,
    /// The higher of the two.
    CurrentReplicasIfHigher,
    /// The lower of the two.
    CurrentReplicasIfLower,
}

impl Fallback {
    /// The count to fall back to.
    #[must_use]
    pub fn count(self, current: u32) -> u32 {
        match self.behavior {
            FallbackBehavior::Static => self.replicas,
            FallbackBehavior::CurrentReplicas => current,
            FallbackBehavior::CurrentReplicasIfHigher => current.max(self.replicas),
            FallbackBehavior::CurrentReplicasIfLower => current.min(self.replicas),
        }
    }
}

/// The pause annotations of KEDA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pause {
    /// `autoscaling.keda.sh/paused`: change nothing.
    pub all: bool,
    /// `autoscaling.keda.sh/paused-replicas`: keep exactly this count; wins over `all`.
    pub replicas: Option<u32>,
    /// `autoscaling.keda.sh/paused-scale-in`.
    pub scale_in: bool,
    /// `autoscaling.keda.sh/paused-scale-out`.
    pub scale_out: bool,
}

/// One source of numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// `aws-sqs-queue`.
    SqsQueue(SqsTrigger),
    /// `cron`.
    Cron(CronTrigger),
    /// `aws-cloudwatch`.
    CloudWatch(CloudWatchTrigger),
}

/// An `aws-sqs-queue` trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqsTrigger {
    /// Where the depth is read.
    pub queue: Queue,
    /// `queueLength`: messages that one replica takes care of.
    pub messages_per_replica: NonZeroU32,
    /// `activationQueueLength`: active only strictly above this many messages.
    pub activation_messages: u64,
    /// `scaleOnInFlight`: received messages that are not deleted yet count too.
    pub count_in_flight: bool,
    /// `scaleOutOnInFlight`: whether they also count for scale-out. Without it workers that are busy keep their replicas
    /// and call for no more.
    pub count_in_flight_for_scale_out: bool,
    /// `scaleOnDelayed`: messages that are not deliverable yet count too.
    pub count_delayed: bool,
}

/// A `cron` trigger. It needs no reading and never fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronTrigger {
    /// `start`: when the window opens.
    pub start: Schedule,
    /// `end`: when it closes.
    pub end: Schedule,
    /// `timezone`, as written.
    pub timezone: String,
    /// `desiredReplicas`: the count asked for while the window is open; while it is closed none is.
    pub replicas: NonZeroU32,
}

impl CronTrigger {
    /// Whether the window is open. As KEDA has it: unless it opens before it closes, it is open already.
    /// So a window from 22:00 to 06:00 is open at midnight, too.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        let opens = self.start.next(now).unwrap_or(Timestamp::MAX);
        let closes = self.end.next(now).unwrap_or(Timestamp::MAX);
        opens >= closes
    }
}

impl fmt::Display for CronTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, end) = (quoted(self.start.text()), quoted(self.end.text()));
        write!(f, "cron {start} to {end} ({})", self.timezone)
    }
}

/// An `aws-cloudwatch` trigger. Decimals are in thousandths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudWatchTrigger {
    /// What is read.
    pub metric: Metric,
    /// `targetMetricValue`: what one replica takes care of.
    pub target_milli: NonZeroU64,
    /// `activationTargetMetricValue`: active only strictly above it.
    pub activation_milli: i64,
    /// What no data counts as: `minMetricValue`; `None` with `ignoreNullValues: "false"`, when it is a failed reading.
    pub no_data_milli: Option<i64>,
}

/// A CloudWatch metric, its time window and the way to it. Equal values are read once a pass.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Metric {
    /// What is asked for.
    pub query: MetricQuery,
    /// `metricStatPeriod`: seconds that one value sums up, at least 1.
    pub period_seconds: u32,
    /// `metricCollectionTime`: seconds of values that are asked for, of which the newest counts.
    pub collection_seconds: u32,
    /// `metricEndTimeOffset`: how many seconds ago the window ends.
    pub end_offset_seconds: u32,
    /// `awsRegion`.
    pub region: String,
    /// `awsEndpoint`, replacing the regional CloudWatch endpoint.
    pub endpoint: Option<String>,
    /// Who asks.
    pub identity: Identity,
}

/// What is asked of CloudWatch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MetricQuery {
    /// One statistic of one metric.
    Statistic {
        /// `namespace`, such as `AWS/SQS`.
        namespace: String,
        /// `metricName`.
        name: String,
        /// `dimensionName` and `dimensionValue`, in the order of the manifest; never empty.
        dimensions: Vec<(String, String)>,
        /// `metricStat`, such as `Average` or `p99`.
        statistic: String,
        /// `metricUnit`.
        unit: Option<String>,
    },
    /// `expression`: metric math or a Metrics Insights query.
    Expression(String),
}

/// Seconds from the beginning of year 1, to which KEDA aligns periods, to the beginning of 1970.
const YEAR_ONE_TO_UNIX: i64 = 62_135_596_800;

impl Metric {
    /// The time that is asked for, from and to: to the last whole period before `metricEndTimeOffset` seconds ago.
    /// A period of 300 s at 12:34:56 ends at 12:30:00. `None` where the calendar ends.
    #[must_use]
    pub fn window(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let offset = i64::from(self.end_offset_seconds);
        let since_year_one = now.as_second() - offset + YEAR_ONE_TO_UNIX;
        let past_period = since_year_one.rem_euclid(i64::from(self.period_seconds.max(1)));
        let to = since_year_one - past_period - YEAR_ONE_TO_UNIX;
        let to = Timestamp::from_second(to).ok()?;
        let length = SignedDuration::from_secs(i64::from(self.collection_seconds));
        Some((to.checked_sub(length).ok()?, to))
    }
}

impl fmt::Display for Metric {
    /// `AWS/SQS ApproximateAgeOfOldestMessage QueueName=orders`, or the expression.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.query {
            MetricQuery::Expression(expression) => f.write_str(&quoted(expression)),
            MetricQuery::Statistic {
                namespace,
                name,
                dimensions,
                statistic: _,
                unit: _,
            } => {
                let dimensions = dimensions.iter();
                let dimensions: Vec<String> = dimensions
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                let dimensions = dimensions.join(",");
                f.write_str(&quoted(&format!("{namespace} {name} {dimensions}")))
            }
        }
    }
}

/// A queue and the way to it. Equal values are read once a pass, however many targets share them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Queue {
    /// Its URL or bare name.
    pub address: QueueAddress,
    /// `awsRegion`.
    pub region: String,
    /// `awsEndpoint`, replacing the regional SQS endpoint.
    pub endpoint: Option<String>,
    /// Who asks.
    pub identity: Identity,
}

/// How a queue is named in `queueURL`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum QueueAddress {
    /// A full URL, `https://host/account/name`.
    Url {
        /// The URL as written.
        url: String,
        /// The account in its path.
        account: String,
        /// The queue's name.
        name: String,
    },
    /// A bare name in the caller's account; its URL is looked up once.
    Name(String),
}

impl QueueAddress {
    /// The queue's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Url { name, .. } | Self::Name(name) => name,
        }
    }
}

/// Whose rights a read uses.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// The function's own role.
    Function,
    /// A role that the function assumes.
    Role {
        /// Its ARN.
        arn: String,
        /// The external id that its trust policy asks for.
        external_id: Option<String>,
    },
}

#[cfg(test)]
mod tests;
