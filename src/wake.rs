//! What woke the function: a Lambda payload in, a scope of targets out.
//!
//! The kinds of event are told apart by the keys that only they have ([`ACCEPTED`]), and of each event only the few fields that
//! matter are looked at: AWS adds fields, leaves others out and renders the same alarm in three ways, none of which may cost a wake.
//! The direct shape is ours and therefore closed: an unknown key there is a typing mistake, and ignoring a misspelt `dryRun` would
//! write to the cluster.
//!
//! An alarm says *which queue* to look at, never what to do: its state and its number play no part in the decision.

mod alarm;
mod direct;
mod envelope;
mod error;
mod json;
#[cfg(test)]
mod tests;

pub use error::{JsonFault, TargetNameError, WakeError};

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;

use jiff::Timestamp;
use serde_json::Value;

/// The largest event that is read, in bytes: what Lambda itself allows for an asynchronous invocation.
///
/// Every accepted event is a few KiB, or some 300 KiB for a thousand of the longest target names; a synchronous caller could send 6 MB.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// The shapes of event that wake the function, each with what it is recognised by.
pub const ACCEPTED: &[(&str, &str)] = &[
    (
        "CloudWatch alarm action",
        "an object `alarmData` beside `alarmArn`",
    ),
    (
        "EventBridge alarm event",
        "`source` `aws.cloudwatch` and `detail-type` `CloudWatch Alarm State Change`",
    ),
    (
        "EventBridge schedule",
        "`source` `aws.events` or `aws.scheduler` and `detail-type` `Scheduled Event`",
    ),
    (
        "SNS notification",
        "`Records` with `EventSource` `aws:sns`, each `Message` an alarm or one of the other shapes",
    ),
    (
        "direct invocation or EventBridge Scheduler input",
        "an object with no keys but `targets`, `dryRun` and the context attributes `scheduledTime`, `executionId`, `scheduleArn` and `attemptNumber`, each optional; `{}` means all targets",
    ),
];

/// What woke the function and which targets it concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wake {
    /// The kind of event.
    pub cause: Cause,
    /// The targets to look at.
    pub scope: Scope,
    /// Whether the caller asked for a pass that writes nothing at all; only the direct shape can.
    pub dry_run: bool,
    /// The event's own time, from which a schedule tells which targets are due. `None` when the event carries none that can be read.
    pub time: Option<Timestamp>,
}

impl Wake {
    /// Whether the event stands for a stretch of time, in which each target is polled as often as its interval says.
    ///
    /// Only the schedule of all targets does: a list of targets is paced by whoever sends it, and a dry run is a question.
    #[must_use]
    pub fn covers_window(&self) -> bool {
        let Self {
            cause,
            scope,
            dry_run,
            time: _,
        } = self;
        *cause == Cause::Schedule && *scope == Scope::All && !dry_run
    }
}

/// The kind of event that woke the function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// A CloudWatch alarm changed state, whichever way the news came.
    Alarm {
        /// The alarm's name, taken from its ARN if the event lacks it; empty if neither has it.
        name: String,
        /// The new state as sent, `ALARM`, `OK`, `INSUFFICIENT_DATA` or one yet unknown; empty if the event lacks it.
        state: String,
    },
    /// A schedule fired: an EventBridge rule, EventBridge Scheduler, or a direct event that carries a `scheduledTime`.
    Schedule,
    /// Somebody, or something, invoked the function by name.
    Direct,
}

/// The targets that a wake concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every target.
    All,
    /// The targets that read one of these queues; at least one queue, none twice. There may be no such target.
    Queues(Vec<QueueId>),
    /// These targets, in the order asked for; at least one, none twice. They need not exist.
    Targets(Vec<TargetName>),
}

/// An SQS queue as a CloudWatch metric identifies it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId {
    /// The queue's name, with its `.fifo` if it has one.
    pub name: String,
    /// The twelve digits of the account that owns the queue.
    pub account: String,
    /// The region, such as `ap-northeast-1`.
    pub region: String,
}

/// A target's place in the cluster, written `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetName {
    /// The namespace, a DNS label.
    pub namespace: String,
    /// The target's name, a DNS subdomain.
    pub name: String,
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Reads a Lambda payload.
///
/// An alarm is never refused for what its details lack: if its queue cannot be told, it concerns every target.
pub fn parse(payload: &[u8]) -> Result<Wake, WakeError> {
    if payload.len() > MAX_EVENT_BYTES {
        return Err(WakeError::TooLarge {
            byte_count: payload.len(),
        });
    }
    let text = std::str::from_utf8(payload)
        .map_err(|error| WakeError::not_utf8(payload, error.valid_up_to()))?;
    envelope::event(&json::read(text)?)
}

/// The event's own time. One that cannot be read counts as absent: no wake is lost over it.
///
/// Alarms write `2026-11-20T03:15:08.431+0000`, without the colon that RFC 3339 asks for; jiff reads both.
fn read_time(value: Option<&Value>) -> Option<Timestamp> {
    value?.as_str()?.parse().ok()
}

/// Drops later duplicates and keeps the order.
fn unique<T: Clone + Eq + Hash>(mut items: Vec<T>) -> Vec<T> {
    let mut seen = HashSet::new();
    items.retain(|item| seen.insert(item.clone()));
    items
}
