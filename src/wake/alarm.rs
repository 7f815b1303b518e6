//! The queues that a CloudWatch alarm watches, in the three renderings that alarms come in.
//!
//! Nothing here fails: an alarm whose queue cannot be told concerns every target.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-actions-Lambda.html>

use serde_json::{Map, Value};

use crate::wake::{Cause, QueueId, Scope, Wake, read_time, unique};

/// Reads an alarm that invokes the function by itself.
pub(super) fn from_action(event: &Map<String, Value>) -> Wake {
    state_change(
        event.get("alarmData"),
        event.get("alarmArn"),
        event.get("time"),
    )
}

/// Reads an alarm's state change as EventBridge passes it on. It holds the same block as the action, under another name.
pub(super) fn from_event_bridge(event: &Map<String, Value>) -> Wake {
    let arn = event
        .get("resources")
        .and_then(|resources| resources.get(0));
    state_change(event.get("detail"), arn, event.get("time"))
}

/// Reads the text that an alarm publishes to SNS. Its keys are capitalised, and its `Region` is a display name ("Asia Pacific
/// (Tokyo)"), so that the region comes from the ARN here too.
pub(super) fn from_notification(message: &Map<String, Value>) -> Wake {
    let arn = message.get("AlarmArn").and_then(AlarmArn::read);
    let trigger = message.get("Trigger");
    // An alarm on one metric has it in `Trigger` itself, one on metric math lists several; a composite has no `Trigger` at all.
    let metrics = trigger
        .into_iter()
        .map(|metric| Metric {
            metric,
            account: None,
        })
        .chain(listed_metrics(
            trigger.and_then(|trigger| trigger.get("Metrics")),
        ));
    Wake {
        scope: scope(arn.as_ref(), metrics),
        cause: cause(message.get("AlarmName"), message.get("NewStateValue"), arn),
        dry_run: false,
        time: read_time(message.get("StateChangeTime")),
    }
}

fn state_change(detail: Option<&Value>, arn: Option<&Value>, time: Option<&Value>) -> Wake {
    let arn = arn.and_then(AlarmArn::read);
    let get = |key: &str| detail.and_then(|detail| detail.get(key));
    let metrics = get("configuration").and_then(|configuration| configuration.get("metrics"));
    Wake {
        scope: scope(arn.as_ref(), listed_metrics(metrics)),
        cause: cause(
            get("alarmName"),
            get("state").and_then(|state| state.get("value")),
            arn,
        ),
        dry_run: false,
        time: read_time(time),
    }
}

fn cause(name: Option<&Value>, state: Option<&Value>, arn: Option<AlarmArn<'_>>) -> Cause {
    let name = name.and_then(Value::as_str).or(arn.map(|arn| arn.name));
    Cause::Alarm {
        name: name.unwrap_or_default().to_owned(),
        state: state.and_then(Value::as_str).unwrap_or_default().to_owned(),
    }
}

/// `arn:aws:cloudwatch:ap-northeast-1:123456789012:alarm:orders-depth`
#[derive(Clone, Copy)]
struct AlarmArn<'a> {
    region: &'a str,
    account: &'a str,
    name: &'a str,
}

impl<'a> AlarmArn<'a> {
    fn read(arn: &'a Value) -> Option<Self> {
        // The name comes last and may hold colons.
        let parts: Vec<&str> = arn.as_str()?.splitn(7, ':').collect();
        match *parts.as_slice() {
            ["arn", _, "cloudwatch", region, account, "alarm", name]
                if !region.is_empty() && is_account(account) =>
            {
                Some(Self {
                    region,
                    account,
                    name,
                })
            }
            _ => None,
        }
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A metric that an alarm watches.
struct Metric<'a> {
    /// Its namespace, name and dimensions.
    metric: &'a Value,
    /// The account that it is in, if the alarm says so: with CloudWatch cross-account observability it may be another than the alarm's.
    account: Option<&'a Value>,
}

/// The metrics of a list; entries that are expressions have none and are passed over.
fn listed_metrics(list: Option<&Value>) -> impl Iterator<Item = Metric<'_>> {
    list.and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            Some(Metric {
                metric: either(
                    either(entry, "metricStat", "MetricStat")?,
                    "metric",
                    "Metric",
                )?,
                account: either(entry, "accountId", "AccountId")
                    .filter(|account| !account.is_null()),
            })
        })
}

/// The queues among the metrics. An alarm's metrics are all in its own region.
fn scope<'a>(arn: Option<&AlarmArn<'_>>, metrics: impl Iterator<Item = Metric<'a>>) -> Scope {
    let Some(arn) = arn else { return Scope::All };
    let mut queues = Vec::new();
    for Metric { metric, account } in metrics {
        let Some(name) = queue_name(metric) else {
            continue;
        };
        let account = match account {
            None => arn.account,
            Some(Value::String(account)) if is_account(account) => account,
            // The queue is in some other account, which leaves no way to tell who reads it.
            Some(_) => return Scope::All,
        };
        queues.push(QueueId {
            name: name.to_owned(),
            account: account.to_owned(),
            region: arn.region.to_owned(),
        });
    }
    if queues.is_empty() {
        Scope::All
    } else {
        Scope::Queues(unique(queues))
    }
}

fn queue_name(metric: &Value) -> Option<&str> {
    if either(metric, "namespace", "Namespace")?.as_str() != Some("AWS/SQS") {
        return None;
    }
    let name = match either(metric, "dimensions", "Dimensions")? {
        Value::Object(dimensions) => dimensions.get("QueueName")?,
        Value::Array(dimensions) => {
            let named = |dimension: &&Value| {
                either(dimension, "name", "Name").and_then(Value::as_str) == Some("QueueName")
            };
            either(dimensions.iter().find(named)?, "value", "Value")?
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
    };
    name.as_str().filter(|name| !name.is_empty())
}

fn either<'a>(value: &'a Value, key: &str, other_key: &str) -> Option<&'a Value> {
    value.get(key).or_else(|| value.get(other_key))
}
