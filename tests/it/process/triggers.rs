//! A ScaledObject with a queue, a cron window and a metric.

use outrigger::sandbox::fault::Fault;
use outrigger::sandbox::{Sandbox, Service};
use serde_json::Value as Json;

use super::{decisions, replicas, writes};
use crate::support::function::Function;
use crate::support::{WORKER, actions, assert_names, count, sandbox};

/// [`WORKER`] with a window of the minute at which this is, and the age of the oldest message.
fn manifest(window_is_open: bool, ignore_null_values: bool) -> String {
    // Open all year but for its first minute, or in that alone: the tests do not run at New Year.
    let (start, end) = if window_is_open {
        ("1 0 1 1 *", "0 0 1 1 *")
    } else {
        ("0 0 1 1 *", "1 0 1 1 *")
    };
    format!(
        r#"{WORKER}
  - type: cron
    metadata: {{timezone: Europe/Berlin, start: {start}, end: {end}, desiredReplicas: "9"}}
  - type: aws-cloudwatch
    metadata:
      namespace: AWS/SQS
      metricName: ApproximateAgeOfOldestMessage
      dimensionName: QueueName
      dimensionValue: orders
      metricStat: Maximum
      metricStatPeriod: "60"
      metricCollectionTime: "300"
      targetMetricValue: "30.5"
      minMetricValue: "0"
      ignoreNullValues: "{ignore_null_values}"
      awsRegion: ap-northeast-1
      identityOwner: operator
"#
    )
}

fn set_age(sandbox: &Sandbox, seconds: f64) {
    let dimensions = [("QueueName", "orders")];
    sandbox.metrics().hold(
        "AWS/SQS",
        "ApproximateAgeOfOldestMessage",
        &dimensions,
        seconds,
    );
}

fn record(lines: &[Json]) -> Json {
    decisions(lines)[0]["record"].clone()
}

#[tokio::test]
async fn the_highest_of_a_queue_a_window_and_a_metric_wins() {
    let sandbox = sandbox().await;
    set_age(&sandbox, 366.0);
    let function = Function::start(&sandbox, &manifest(true, false), &[]).await;
    // 63 messages want 7, the window 9, and 366 s at 30.5 s each 12.
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["reason"], "MetricValue", "{answer}");
    assert_eq!(writes(&sandbox), [(2, 12)]);
    let action = "GetMetricData AWS/SQS ApproximateAgeOfOldestMessage QueueName=orders";
    assert_eq!(actions(&sandbox, Service::CloudWatch), [action]);

    // The logged record replays to the same bytes.
    let lines = function.new_lines();
    let line = decisions(&lines)[0];
    let expected = r#"[{"visible":60,"inFlight":3,"delayed":0},{},{"valueMilli":366000}]"#;
    assert_eq!(line["record"]["readings"].to_string(), expected);
    let replayed = outrigger::record::Record::parse(line.to_string().as_bytes()).unwrap();
    let replayed = outrigger::record::decision_json(&replayed.decide());
    assert_eq!(replayed.to_string(), line["decision"].to_string());
}

#[tokio::test]
async fn a_window_keeps_the_count_while_it_is_open() {
    let sandbox = sandbox().await;
    sandbox.queues().set_counts("orders", 0, 0, 0);
    set_age(&sandbox, 0.0);
    let function = Function::start(&sandbox, &manifest(true, false), &[]).await;
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["reason"], "CronWindow", "{answer}");
    assert_eq!(replicas(&sandbox), Some(9));
    let explanation = answer["targets"][0]["explanation"].as_str().unwrap();
    assert_names(
        explanation,
        &[
            "cron `1 0 1 1 *`",
            "(Europe/Berlin) in its window with desiredReplicas 9",
        ],
    );
}

#[tokio::test]
async fn a_metric_that_is_throttled_fails_by_name_and_holds_back_no_queue() {
    let sandbox = sandbox().await;
    sandbox.metrics().fail(Some(Fault::Throttled));
    let function = Function::start(&sandbox, &manifest(false, true), &[]).await;
    let (kind, message) = function.error("{}").await;
    assert_eq!(kind, "Outrigger.TargetsFailed");
    let metric = "`AWS/SQS ApproximateAgeOfOldestMessage QueueName=orders`";
    assert_names(
        &message,
        &["`default/worker`", metric, "ap-northeast-1", "Throttling"],
    );
    assert_eq!(writes(&sandbox), [(2, 7)]);
    let readings = record(&function.new_lines())["readings"].clone();
    assert_eq!(readings[2].to_string(), r#"{"error":"Throttling"}"#);
}

#[tokio::test]
async fn no_data_is_what_the_manifest_says() {
    let sandbox = sandbox().await;
    let function = Function::start(&sandbox, &manifest(false, false), &[]).await;
    let (_, message) = function.error("{}").await;
    assert_names(
        &message,
        &["no data for the metric", "`ignoreNullValues` is false"],
    );
    assert_eq!(
        record(&function.new_lines())["readings"][2].to_string(),
        r#"{"error":"NoData"}"#
    );

    let function = Function::start(&sandbox, &manifest(false, true), &[]).await;
    function.answer("{}").await;
    assert_eq!(
        record(&function.new_lines())["readings"][2].to_string(),
        r#"{"noData":true}"#
    );
}

#[tokio::test]
async fn an_alarm_wakes_who_reads_a_metric_of_its_queue() {
    let sandbox = sandbox().await;
    set_age(&sandbox, 61.0);
    let (head, triggers) = WORKER.split_once("  - type").unwrap();
    assert!(triggers.starts_with(": aws-sqs-queue"));
    let manifest = manifest(false, false);
    let (_, metric) = manifest.split_once("  - type: aws-cloudwatch").unwrap();
    let manifest = format!("{head}  - type: aws-cloudwatch{metric}");
    let function = Function::start(&sandbox, &manifest, &[]).await;
    let event = |name: &str| std::fs::read(format!("events/{name}.json")).unwrap();
    let answer = function.answer(event("alarm-other-queue")).await;
    assert_eq!(answer["targets"].as_array().unwrap().len(), 0, "{answer}");
    let answer = function.answer(event("alarm-metric")).await;
    assert_eq!(answer["targets"][0]["reason"], "Steady", "{answer}");
    assert_eq!(count(&sandbox, "GetMetricData"), 1);
    assert_eq!(count(&sandbox, "GetQueueAttributes"), 0);
}

#[tokio::test]
async fn without_a_metric_no_metric_is_asked_for() {
    let sandbox = sandbox().await;
    let function = Function::start(&sandbox, WORKER, &[]).await;
    function.answer("{}").await;
    assert_eq!(count(&sandbox, "GetMetricData"), 0);
}
