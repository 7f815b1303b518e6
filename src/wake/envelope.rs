//! Which kind of event it is.

use serde_json::{Map, Value};

use crate::wake::error::{discriminator, type_name};
use crate::wake::{Cause, Scope, Wake, WakeError, alarm, direct, json, read_time, unique};

/// Reads an event as Lambda hands it over.
pub(super) fn event(event: &Value) -> Result<Wake, WakeError> {
    match event.get("Records") {
        Some(records) => notification(records),
        None => plain(event),
    }
}

/// Reads an event that wraps no other.
fn plain(event: &Value) -> Result<Wake, WakeError> {
    let Value::Object(fields) = event else {
        return Err(WakeError::unsupported(type_name(event)));
    };
    if fields.contains_key("alarmArn") && fields.get("alarmData").is_some_and(Value::is_object) {
        return Ok(alarm::from_action(fields));
    }
    match (fields.get("source"), fields.get("detail-type")) {
        (Some(source), Some(detail_type)) => event_bridge(fields, source, detail_type),
        _ => direct::read(fields),
    }
}

fn event_bridge(
    fields: &Map<String, Value>,
    source: &Value,
    detail_type: &Value,
) -> Result<Wake, WakeError> {
    match (source.as_str(), detail_type.as_str()) {
        (Some("aws.cloudwatch"), Some("CloudWatch Alarm State Change")) => {
            Ok(alarm::from_event_bridge(fields))
        }
        // `detail` is an empty object from a rule and the text "{}" from EventBridge Scheduler: it says nothing and is not read.
        (Some("aws.events" | "aws.scheduler"), Some("Scheduled Event")) => Ok(Wake {
            cause: Cause::Schedule,
            scope: Scope::All,
            dry_run: false,
            time: read_time(fields.get("time")),
        }),
        _ => Err(WakeError::unsupported(format!(
            "an EventBridge event with `source` {} and `detail-type` {}",
            discriminator(source),
            discriminator(detail_type),
        ))),
    }
}

/// Reads an SNS notification. Lambda gets one record at a time; should there be more, all of them are served.
fn notification(records: &Value) -> Result<Wake, WakeError> {
    let Value::Array(records) = records else {
        return Err(WakeError::wrong_type(
            "Records",
            Some(records),
            "a list of SNS records",
        ));
    };
    if records
        .iter()
        .any(|record| record.get("eventSource").and_then(Value::as_str) == Some("aws:sqs"))
    {
        return Err(WakeError::SqsEventSource);
    }
    records
        .iter()
        .enumerate()
        .map(|(index, record)| sns_record(index, record))
        .reduce(|joined, next| Ok(join(joined?, next?)))
        .unwrap_or_else(|| {
            Err(WakeError::unsupported(
                "an object with no entries in `Records`",
            ))
        })
}

fn sns_record(index: usize, record: &Value) -> Result<Wake, WakeError> {
    let event_source = record
        .get("EventSource")
        .or_else(|| record.get("eventSource"));
    if record.get("EventSource").and_then(Value::as_str) != Some("aws:sns") {
        let shown = event_source.map_or_else(|| "missing".to_owned(), discriminator);
        return Err(WakeError::unsupported(format!(
            "a record whose event source is {shown}"
        )));
    }
    let notification = record.get("Sns");
    let message = notification.and_then(|sns| sns.get("Message"));
    let Some(Value::String(text)) = message else {
        return Err(WakeError::wrong_type(
            format!("Records[{index}].Sns.Message"),
            message,
            "a string of JSON",
        ));
    };
    let mut wake = sns_message(text).map_err(|error| error.in_record(index))?;
    if wake.time.is_none() {
        wake.time = read_time(notification.and_then(|sns| sns.get("Timestamp")));
    }
    Ok(wake)
}

/// Reads what SNS carries. A message never holds a notification again, so that this goes one level deep and no further.
fn sns_message(text: &str) -> Result<Wake, WakeError> {
    let message = json::read(text)?;
    match &message {
        Value::Object(fields)
            if fields.contains_key("AlarmName") && fields.contains_key("NewStateValue") =>
        {
            Ok(alarm::from_notification(fields))
        }
        _ => plain(&message),
    }
}

/// Two wakes as one that looks at the targets of both and is named after the first that is no schedule: what somebody asks for
/// is polled whether it is due or not.
///
/// If either asked to write nothing, nothing is written: the other's change is made by the next wake, a write cannot be taken back.
fn join(first: Wake, second: Wake) -> Wake {
    let scope = match (first.scope, second.scope) {
        (Scope::Queues(queues), Scope::Queues(more)) => {
            Scope::Queues(unique([queues, more].concat()))
        }
        (Scope::Targets(targets), Scope::Targets(more)) => {
            Scope::Targets(unique([targets, more].concat()))
        }
        // Which targets read a queue is not known here, and all of them include the ones meant.
        (Scope::All | Scope::Queues(_) | Scope::Targets(_), _) => Scope::All,
    };
    Wake {
        cause: match first.cause {
            Cause::Schedule => second.cause,
            cause @ (Cause::Alarm { .. } | Cause::Direct) => cause,
        },
        scope,
        dry_run: first.dry_run || second.dry_run,
        time: first.time.or(second.time),
    }
}
