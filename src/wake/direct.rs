//! The direct shape: what a person, a script or an EventBridge Scheduler input says.

use std::str::FromStr;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::wake::error::nearest_key;
use crate::wake::{Cause, Scope, TargetName, TargetNameError, Wake, WakeError, unique};

/// The keys of the direct shape.
pub(super) const KEYS: [&str; 6] = [
    "targets",
    "dryRun",
    "scheduledTime",
    "executionId",
    "scheduleArn",
    "attemptNumber",
];

/// The most entries of `targets`: more than one pass can serve. Whoever has more means all of them and leaves the key out.
pub(super) const MAX_TARGETS: usize = 1000;

/// Reads an object that is no AWS event.
pub(super) fn read(fields: &Map<String, Value>) -> Result<Wake, WakeError> {
    check_keys(fields)?;
    let scope = match fields.get("targets") {
        None => Scope::All,
        Some(list) => Scope::Targets(read_targets(list)?),
    };
    let dry_run = match fields.get("dryRun") {
        None => false,
        Some(Value::Bool(dry_run)) => *dry_run,
        other => return Err(WakeError::wrong_type("dryRun", other, "`true` or `false`")),
    };
    let time = fields
        .get("scheduledTime")
        .map(read_scheduled_time)
        .transpose()?;
    // The context attributes of EventBridge Scheduler are there for the sender's own logs. Whether the number of the attempt
    // has quotes is up to the template that it stands in.
    for (key, allowed) in [
        ("executionId", "a string"),
        ("scheduleArn", "a string"),
        ("attemptNumber", "a number, in quotes or not"),
    ] {
        let is_right =
            |value: &Value| value.is_string() || (key == "attemptNumber" && value.is_number());
        if let Some(other) = fields.get(key).filter(|value| !is_right(value)) {
            return Err(WakeError::wrong_type(key, Some(other), allowed));
        }
    }
    Ok(Wake {
        cause: if time.is_some() {
            Cause::Schedule
        } else {
            Cause::Direct
        },
        scope,
        dry_run,
        time,
    })
}

/// Tells a misspelt event of ours, which deserves a hint, from something sent by mistake.
fn check_keys(fields: &Map<String, Value>) -> Result<(), WakeError> {
    let is_known = |key: &str| KEYS.contains(&key);
    let Some(unknown) = fields.keys().find(|key| !is_known(key)) else {
        return Ok(());
    };
    if fields
        .keys()
        .any(|key| is_known(key) || nearest_key(key).is_some())
    {
        return Err(WakeError::unknown_key(unknown));
    }
    Err(WakeError::unsupported_object(fields))
}

fn read_targets(list: &Value) -> Result<Vec<TargetName>, WakeError> {
    let Value::Array(entries) = list else {
        return Err(WakeError::wrong_type(
            "targets",
            Some(list),
            "a list of `namespace/name` strings",
        ));
    };
    if entries.is_empty() {
        return Err(WakeError::NoTargets);
    }
    if entries.len() > MAX_TARGETS {
        return Err(WakeError::TooManyTargets {
            count: entries.len(),
        });
    }
    let names: Vec<TargetName> = entries
        .iter()
        .enumerate()
        .map(|(index, entry)| match entry {
            Value::String(text) => text
                .parse()
                .map_err(|source| WakeError::InvalidTarget { index, source }),
            other => Err(WakeError::wrong_type(
                format!("targets[{index}]"),
                Some(other),
                "a `namespace/name` string",
            )),
        })
        .collect::<Result<_, _>>()?;
    Ok(unique(names))
}

/// Unlike an alarm's time this one is written by whoever set up the schedule, and a mistake in it is told rather than passed over.
fn read_scheduled_time(value: &Value) -> Result<Timestamp, WakeError> {
    let Value::String(text) = value else {
        return Err(WakeError::wrong_type(
            "scheduledTime",
            Some(value),
            "an RFC 3339 time",
        ));
    };
    text.parse().map_err(|_| WakeError::InvalidScheduledTime)
}

impl FromStr for TargetName {
    type Err = TargetNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, name) = text.split_once('/').ok_or(TargetNameError::NotTwoParts)?;
        if name.contains('/') {
            return Err(TargetNameError::NotTwoParts);
        }
        // https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
        if namespace.len() > 63 || !is_dns_label(namespace) {
            return Err(TargetNameError::InvalidNamespace);
        }
        if name.len() > 253 || !name.split('.').all(is_dns_label) {
            return Err(TargetNameError::InvalidName);
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// Whether the characters are those of a DNS-1123 label; its length is the caller's to check.
fn is_dns_label(text: &str) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (Some(first), Some(last)) = (text.bytes().next(), text.bytes().next_back()) else {
        return false;
    };
    is_alphanumeric(first)
        && is_alphanumeric(last)
        && text
            .bytes()
            .all(|byte| byte == b'-' || is_alphanumeric(byte))
}
