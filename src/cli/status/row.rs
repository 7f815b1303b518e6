//! One target at one time: what a pass came to, or why the object is refused.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::decide::{QueueDepth, Reading};
use crate::manifest::{Refused, Target, WorkloadRef};
use crate::pass::{Decided, Outcome};
use crate::policy::{Mode, Trigger};
use crate::state::ScaleEvent;

/// A row.
pub(super) enum Row<'a> {
    /// A target was looked at.
    Seen(&'a Outcome<'a>),
    /// An object is refused, for these reasons.
    Refused(Refused<'a>),
}

/// What went wrong.
pub(super) struct RowError<'a> {
    /// A short stable code, such as `AccessDenied`.
    pub(super) code: &'a str,
    /// What was tried, on what, what was wrong and what to do next.
    pub(super) message: String,
}

impl Row<'_> {
    /// `namespace/name` of the ScaledObject, or what else is refused.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Seen(outcome) => outcome.target.id.to_string(),
            Self::Refused(refused) => refused.name.clone(),
        }
    }

    pub(super) fn target(&self) -> Option<&Target> {
        match self {
            Self::Seen(outcome) => Some(outcome.target),
            Self::Refused(_) => None,
        }
    }

    pub(super) fn cluster(&self) -> Option<&str> {
        match self {
            Self::Seen(outcome) => outcome.target.cluster.as_deref(),
            Self::Refused(refused) => refused.origin.cluster(),
        }
    }

    pub(super) fn decided(&self) -> Option<&Decided> {
        match self {
            Self::Seen(outcome) => outcome.decided.as_ref(),
            Self::Refused(_) => None,
        }
    }

    /// The trigger that asks for most.
    pub(super) fn leading(&self) -> Option<usize> {
        self.decided()?.decision.leading
    }

    /// The last change of the count that was made and seen, settled by the decision of now.
    pub(super) fn last_change(&self) -> Option<&ScaleEvent> {
        self.decided()?.decision.state.events.last()
    }

    /// Whether it is known what is remembered, and be it nothing. A memory that is missing without an error has not begun.
    pub(super) fn is_remembered(&self) -> bool {
        let has_state = |decided: &Decided| decided.state.is_some();
        self.decided().is_some_and(has_state) || !self.is_failed()
    }

    pub(super) fn is_failed(&self) -> bool {
        match self {
            Self::Seen(outcome) => outcome.is_failed(),
            Self::Refused(_) => true,
        }
    }

    pub(super) fn errors(&self) -> Vec<RowError<'_>> {
        match self {
            Self::Seen(outcome) => {
                let faults = outcome.faults.iter();
                let error = faults.map(|fault| RowError {
                    code: &fault.code,
                    message: fault.message.clone(),
                });
                error.collect()
            }
            Self::Refused(refused) => {
                let findings = refused.findings.iter();
                let error = findings.map(|finding| RowError {
                    code: "Refused",
                    message: finding.to_string(),
                });
                error.collect()
            }
        }
    }

    /// For scripts: the same keys in every object, `null` where something is not known.
    pub(super) fn to_json(&self, now: Timestamp) -> Json {
        let target = self.target();
        let policy = target.map(|target| &target.policy);
        let decided = self.decided();
        let decision = decided.map(|decided| &decided.decision);
        let limited_by = decision.map(|decision| {
            let limits = decision.limited_by.iter();
            limits.map(|limit| limit.name()).collect::<Vec<_>>()
        });
        let last_change = self.last_change().map(|event| {
            json!({
                "at": event.at.to_string(),
                "ageSeconds": now.duration_since(event.at).as_secs().max(0),
                "from": event.from,
                "to": event.to,
            })
        });
        let errors = self.errors().into_iter();
        let errors = errors.map(|error| json!({"code": error.code, "message": error.message}));
        json!({
            "target": self.name(),
            "cluster": self.cluster(),
            "mode": policy.map(|policy| mode_name(policy.mode)),
            "workload": target.map(|target| workload_json(&target.workload)),
            "minReplicaCount": policy.map(|policy| policy.bounds.min()),
            "maxReplicaCount": policy.map(|policy| policy.bounds.max()),
            "triggers": target.map(|target| self.triggers_json(target, now)),
            "replicas": decision.map(|decision| decision.from),
            "wanted": decision.map(|decision| decision.to),
            "limitedBy": limited_by,
            "reason": decision.map(|decision| decision.reason.name()),
            "explanation": decision.map(|decision| decision.explanation.as_str()),
            "lastChange": last_change,
            "warnings": decision.map_or(&[][..], |decision| &decision.warnings),
            "errors": errors.collect::<Vec<_>>(),
        })
    }

    fn triggers_json(&self, target: &Target, now: Timestamp) -> Vec<Json> {
        let readings = self.decided().map(|decided| &decided.observation.readings);
        let triggers = target.policy.triggers.iter().enumerate();
        let one = |(index, trigger)| {
            let reading = readings.and_then(|readings| readings.get(index));
            trigger_json(trigger, reading, self.leading() == Some(index), now)
        };
        triggers.map(one).collect()
    }
}

fn mode_name(mode: Mode) -> &'static str {
    let known = Mode::NAMES.iter().find(|(_, known)| *known == mode);
    known.map_or("", |(name, _)| name)
}

fn workload_json(workload: &WorkloadRef) -> Json {
    let WorkloadRef { kind, name } = workload;
    json!({"apiVersion": kind.api_version(), "kind": kind.kind(), "name": name})
}

/// Messages as SQS counts them, decimals in thousandths; what was not read is `null`.
fn trigger_json(
    trigger: &Trigger,
    reading: Option<&Reading>,
    leading: bool,
    now: Timestamp,
) -> Json {
    let error = match reading {
        Some(Reading::Failed { error }) => Some(error),
        Some(Reading::Queue(_) | Reading::Metric(_) | Reading::Cron) | None => None,
    };
    match trigger {
        Trigger::SqsQueue(trigger) => {
            let depth = match reading {
                Some(Reading::Queue(depth)) => Some(*depth),
                _ => None,
            };
            let count = |count: fn(QueueDepth) -> u64| depth.map(count);
            json!({
                "type": "aws-sqs-queue",
                "leading": leading,
                "queue": trigger.queue.address.name(),
                "region": trigger.queue.region,
                "messagesPerReplica": trigger.messages_per_replica,
                "visible": count(|depth| depth.visible),
                "inFlight": count(|depth| depth.in_flight),
                "delayed": count(|depth| depth.delayed),
                "error": error,
            })
        }
        Trigger::CloudWatch(trigger) => {
            let value = match reading {
                Some(Reading::Metric(value)) => *value,
                _ => None,
            };
            json!({
                "type": "aws-cloudwatch",
                "leading": leading,
                "metric": trigger.metric.to_string(),
                "region": trigger.metric.region,
                "targetMilli": trigger.target_milli,
                "valueMilli": value,
                "error": error,
            })
        }
        Trigger::Cron(trigger) => json!({
            "type": "cron",
            "leading": leading,
            "start": trigger.start.text(),
            "end": trigger.end.text(),
            "timezone": trigger.timezone,
            "desiredReplicas": trigger.replicas,
            "open": trigger.is_open(now),
            "error": error,
        }),
    }
}
