//! Events that are unusual and still wake.

use serde_json::{Value, json};

use super::{ACCOUNT, REGION, alarm, notification, parse_value, queues, targets};
use crate::wake::{Cause, QueueId, Scope, TargetName, Wake};

const ARN: &str = "arn:aws:cloudwatch:ap-northeast-1:123456789012:alarm:orders-depth";

/// A direct alarm event with these metrics.
fn action(metrics: &Value) -> Value {
    json!({
        "alarmArn": ARN,
        "alarmData": {
            "alarmName": "orders-depth",
            "state": {"value": "ALARM"},
            "configuration": {"metrics": metrics},
        },
    })
}

/// An alarm's message as SNS carries it.
fn published(trigger: &Value) -> Value {
    json!({"AlarmName": "orders-depth", "NewStateValue": "ALARM", "AlarmArn": ARN, "Trigger": trigger})
}

fn through_sns(message: &Value) -> Wake {
    parse_value(&notification(&[&message.to_string()])).unwrap()
}

#[track_caller]
fn check_metrics(metrics: &Value, expected: &Scope) {
    assert_eq!(&parse_value(&action(metrics)).unwrap().scope, expected);
}

#[track_caller]
fn check_trigger(trigger: &Value, expected: &Scope) {
    assert_eq!(&through_sns(&published(trigger)).scope, expected);
}

fn queue_metric(dimensions: &Value) -> Value {
    json!({"metricStat": {"metric": {"namespace": "AWS/SQS", "dimensions": dimensions}}})
}

#[test]
fn queues_are_found_among_other_metrics_and_named_once() {
    let orders = queue_metric(&json!({"QueueName": "orders"}));
    let lambda = json!({"metricStat": {"metric": {"namespace": "AWS/Lambda", "dimensions": {"QueueName": "no-queue"}}}});
    let listed = queue_metric(&json!([{"Name": "QueueName", "Value": "refunds"}]));
    let sum = json!({"expression": "m1 + m2", "returnData": true});
    check_metrics(
        &json!([sum, orders, lambda, listed, orders]),
        &queues(&["orders", "refunds"]),
    );
}

#[test]
fn an_alarm_without_a_queue_concerns_all_targets() {
    for metrics in [
        json!([]),
        json!(null),
        json!("metrics"),
        json!({"QueueName": "orders"}),
        json!([null, 7, "x", [], {}]),
        json!([{"expression": "m1 / m2"}]),
        json!([{"metricStat": {"metric": {"namespace": "AWS/SQS"}}}]),
        json!([{"metricStat": {"metric": {"namespace": "Shop", "dimensions": {"QueueName": "orders"}}}}]),
        json!([queue_metric(&json!({}))]),
        json!([queue_metric(&json!({"QueueName": ""}))]),
        json!([queue_metric(&json!({"QueueName": 7}))]),
        json!([queue_metric(&json!("QueueName"))]),
        json!([queue_metric(
            &json!([{"name": "QueueName"}, "orders", null])
        )]),
    ] {
        check_metrics(&metrics, &Scope::All);
    }
}

#[test]
fn a_metric_of_another_account_keeps_its_account() {
    let mut metric = queue_metric(&json!({"QueueName": "orders"}));
    metric["accountId"] = json!("210987654321");
    let expected = Scope::Queues(vec![QueueId {
        name: "orders".to_owned(),
        account: "210987654321".to_owned(),
        region: REGION.to_owned(),
    }]);
    check_metrics(&json!([metric]), &expected);
    let capitalised = json!({
        "AccountId": "210987654321",
        "MetricStat": {"Metric": {"Namespace": "AWS/SQS", "Dimensions": [{"name": "QueueName", "value": "orders"}]}},
    });
    check_trigger(&json!({"Metrics": [capitalised]}), &expected);

    metric["accountId"] = Value::Null;
    check_metrics(&json!([metric]), &queues(&["orders"]));
    for unreadable in [
        json!(210_987_654_321_u64),
        json!("me"),
        json!("21098765432x"),
    ] {
        metric["accountId"] = unreadable;
        check_metrics(&json!([metric]), &Scope::All);
    }
}

#[test]
fn an_alarm_with_an_unreadable_arn_concerns_all_targets() {
    for arn in [
        json!(null),
        json!(7),
        json!(""),
        json!("arn:aws:cloudwatch:ap-northeast-1:123456789012"),
        json!("arn:aws:cloudwatch::123456789012:alarm:orders-depth"),
        json!("arn:aws:cloudwatch:ap-northeast-1:12345:alarm:orders-depth"),
        json!("arn:aws:sqs:ap-northeast-1:123456789012:alarm:orders-depth"),
    ] {
        let mut event = action(&json!([queue_metric(&json!({"QueueName": "orders"}))]));
        event["alarmArn"] = arn;
        let wake = parse_value(&event).unwrap();
        assert_eq!(
            (wake.cause, wake.scope),
            (alarm("orders-depth", "ALARM"), Scope::All)
        );
    }
    let mut message = published(
        &json!({"Namespace": "AWS/SQS", "Dimensions": [{"name": "QueueName", "value": "orders"}]}),
    );
    message.as_object_mut().unwrap().remove("AlarmArn");
    assert_eq!(through_sns(&message).scope, Scope::All);
}

#[test]
fn an_alarm_of_another_partition_and_with_a_colon_in_its_name_is_read() {
    let mut event = action(&json!([queue_metric(&json!({"QueueName": "orders"}))]));
    event["alarmArn"] = json!("arn:aws-cn:cloudwatch:cn-north-1:123456789012:alarm:orders: depth");
    event["alarmData"]
        .as_object_mut()
        .unwrap()
        .remove("alarmName");
    let wake = parse_value(&event).unwrap();
    assert_eq!(wake.cause, alarm("orders: depth", "ALARM"));
    let expected = QueueId {
        name: "orders".to_owned(),
        account: ACCOUNT.to_owned(),
        region: "cn-north-1".to_owned(),
    };
    assert_eq!(wake.scope, Scope::Queues(vec![expected]));
}

#[test]
fn an_alarm_may_lack_nearly_everything() {
    let bare = |cause| Wake {
        cause,
        scope: Scope::All,
        dry_run: false,
        time: None,
    };
    let action = json!({"alarmArn": null, "alarmData": {}});
    assert_eq!(parse_value(&action), Ok(bare(alarm("", ""))));
    let event = json!({"source": "aws.cloudwatch", "detail-type": "CloudWatch Alarm State Change"});
    assert_eq!(parse_value(&event), Ok(bare(alarm("", ""))));
    let named = json!({"source": "aws.cloudwatch", "detail-type": "CloudWatch Alarm State Change", "resources": [ARN], "detail": "{}"});
    assert_eq!(parse_value(&named), Ok(bare(alarm("orders-depth", ""))));
    let message = json!({"AlarmName": 7, "NewStateValue": null});
    assert_eq!(through_sns(&message), bare(alarm("", "")));
}

#[test]
fn any_state_wakes_as_sent() {
    for state in ["ALARM", "OK", "INSUFFICIENT_DATA", "SOMETHING_NEW"] {
        let mut event = action(&json!([]));
        event["alarmData"]["state"]["value"] = json!(state);
        assert_eq!(
            parse_value(&event).unwrap().cause,
            alarm("orders-depth", state)
        );
    }
}

#[test]
fn an_unreadable_time_is_no_time() {
    for time in [
        json!(null),
        json!(1_700_000_000),
        json!(""),
        json!("today"),
        json!("2026-11-20"),
        json!({}),
    ] {
        let mut event = action(&json!([]));
        event["time"] = time.clone();
        assert_eq!(parse_value(&event).unwrap().time, None);
        let event = json!({"source": "aws.events", "detail-type": "Scheduled Event", "time": time});
        assert_eq!(parse_value(&event).unwrap().time, None);
    }
}

#[test]
fn a_notification_falls_back_on_its_own_time() {
    let mut event = notification(&["{}"]);
    event["Records"][0]["Sns"]["Timestamp"] = json!("2026-11-20T03:15:08.502Z");
    assert_eq!(
        parse_value(&event).unwrap().time,
        Some("2026-11-20T03:15:08.502Z".parse().unwrap())
    );
}

#[test]
fn a_notification_of_metric_math_names_its_queues() {
    let entry = |queue: &str| json!({"MetricStat": {"Metric": {"Namespace": "AWS/SQS", "Dimensions": [{"name": "QueueName", "value": queue}]}}});
    let sum = json!({"Expression": "m1 + m2", "ReturnData": true});
    check_trigger(
        &json!({"Metrics": [sum, entry("orders"), entry("refunds")]}),
        &queues(&["orders", "refunds"]),
    );
    let capitalised =
        json!({"Namespace": "AWS/SQS", "Dimensions": [{"Name": "QueueName", "Value": "orders"}]});
    check_trigger(&capitalised, &queues(&["orders"]));
}

#[test]
fn a_notification_may_carry_other_shapes() {
    let named = through_sns(&json!({"targets": ["default/worker"], "dryRun": true}));
    let expected = Wake {
        cause: Cause::Direct,
        scope: targets(&[("default", "worker")]),
        dry_run: true,
        time: None,
    };
    assert_eq!(named, expected);
    let event: Value =
        serde_json::from_str(include_str!("../../../events/eventbridge-alarm.json")).unwrap();
    assert_eq!(Ok(through_sns(&event)), parse_value(&event));
    let event: Value = serde_json::from_str(include_str!(
        "../../../events/eventbridge-rule-schedule.json"
    ))
    .unwrap();
    assert_eq!(Ok(through_sns(&event)), parse_value(&event));
}

#[test]
fn only_the_schedule_of_all_targets_covers_a_window() {
    for (event, expected) in [
        (
            json!({"source": "aws.events", "detail-type": "Scheduled Event"}),
            true,
        ),
        (json!({"scheduledTime": "2026-11-20T03:15:00Z"}), true),
        (
            json!({"scheduledTime": "2026-11-20T03:15:00Z", "targets": ["a/a"]}),
            false,
        ),
        (
            json!({"scheduledTime": "2026-11-20T03:15:00Z", "dryRun": true}),
            false,
        ),
        (
            json!({
                "scheduledTime": "2026-11-20T03:15:00Z",
                "executionId": "7f",
                "scheduleArn": "arn:aws:scheduler:eu-west-1:123456789012:schedule/default/poll",
                "attemptNumber": "2",
            }),
            true,
        ),
        (
            json!({"scheduledTime": "2026-11-20T03:15:00Z", "attemptNumber": 2}),
            true,
        ),
        (json!({}), false),
        (json!({"executionId": "x"}), false),
        (action(&json!([])), false),
    ] {
        let wake = parse_value(&event).unwrap();
        assert_eq!(wake.covers_window(), expected, "{event}");
    }
    // What comes along with a schedule is not asked whether it is due.
    let schedule = r#"{"scheduledTime":"2026-11-20T03:15:00Z"}"#;
    for (messages, expected) in [
        ([schedule, schedule], true),
        ([schedule, "{}"], false),
        (["{}", schedule], false),
    ] {
        let wake = parse_value(&notification(&messages)).unwrap();
        assert_eq!(wake.covers_window(), expected, "{messages:?}");
    }
}

#[test]
fn several_records_are_one_wake_for_the_targets_of_all() {
    let alarm_of = |name: &str, queue: &str| {
        let mut message = published(
            &json!({"Namespace": "AWS/SQS", "Dimensions": [{"name": "QueueName", "value": queue}]}),
        );
        message["AlarmName"] = json!(name);
        message.to_string()
    };
    let (first, second) = (alarm_of("first", "orders"), alarm_of("second", "refunds"));
    let wake = parse_value(&notification(&[&first, &second, &first])).unwrap();
    assert_eq!(
        (wake.cause, wake.scope),
        (alarm("first", "ALARM"), queues(&["orders", "refunds"]))
    );

    let composite = json!({"AlarmName": "any", "NewStateValue": "OK", "AlarmArn": ARN}).to_string();
    let wake = parse_value(&notification(&[&first, &composite])).unwrap();
    assert_eq!(
        (wake.cause, wake.scope),
        (alarm("first", "ALARM"), Scope::All)
    );

    let (a, b) = (
        r#"{"targets":["a/a"]}"#,
        r#"{"targets":["b/b","a/a"],"dryRun":true}"#,
    );
    let wake = parse_value(&notification(&[a, b])).unwrap();
    assert_eq!(
        (wake.scope, wake.dry_run),
        (targets(&[("a", "a"), ("b", "b")]), true)
    );
    assert_eq!(
        parse_value(&notification(&[a, &first])).unwrap().scope,
        Scope::All
    );
}

#[test]
fn targets_are_named_once_and_in_order() {
    let wake = parse_value(&json!({"targets": ["b/y", "a/x", "b/y", "a/y"]})).unwrap();
    assert_eq!(wake.scope, targets(&[("b", "y"), ("a", "x"), ("a", "y")]));
}

#[test]
fn the_longest_names_and_lists_are_accepted() {
    let namespace = "n".repeat(63);
    let name = "d".repeat(253);
    let wake =
        parse_value(&json!({"targets": [format!("{namespace}/{name}"), "0/0.a-b.c"]})).unwrap();
    assert_eq!(
        wake.scope,
        targets(&[(&namespace, &name), ("0", "0.a-b.c")])
    );
    let thousand: Vec<String> = (0..1000)
        .map(|index| format!("{namespace}/{index:0>253}"))
        .collect();
    let wake = parse_value(&json!({"targets": thousand})).unwrap();
    assert!(matches!(wake.scope, Scope::Targets(names) if names.len() == 1000));
}

#[test]
fn a_target_name_is_written_as_it_is_read() {
    let name: TargetName = "shop/order-worker".parse().unwrap();
    assert_eq!(name.to_string(), "shop/order-worker");
}
