//! Events that are refused, and what the errors say.

use std::error::Error as _;

use serde_json::{Value, json};

use super::{notification, parse_value};
use crate::wake::{ACCEPTED, JsonFault, MAX_EVENT_BYTES, WakeError, parse};

/// The error with all that it follows from.
fn chain(error: &WakeError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[track_caller]
pub(super) fn check(payload: impl AsRef<[u8]>, expected: &str) {
    assert_eq!(chain(&parse(payload.as_ref()).unwrap_err()), expected);
}

#[track_caller]
pub(super) fn check_unsupported(event: &Value, expected: &str) {
    let error = parse_value(event).unwrap_err();
    assert!(
        matches!(&error, WakeError::Unsupported { found } if found == expected),
        "{error}"
    );
    for (shape, recognised_by) in ACCEPTED {
        assert!(
            error
                .to_string()
                .contains(&format!("{shape} ({recognised_by})")),
            "{error}"
        );
    }
}

#[test]
fn what_is_no_json() {
    check(
        "{\"targets\":",
        "event is not readable JSON: it ends too early at line 1 column 11",
    );
    check(
        "{\n  \"targets\": [\"defa",
        "event is not readable JSON: it ends too early at line 2 column 19",
    );
    check(
        "{\n targets: []}",
        "event is not readable JSON: syntax error at line 2 column 2",
    );
    check(
        "{} {}",
        "event is not readable JSON: syntax error at line 1 column 4",
    );
    for (payload, expected) in [
        ("\u{feff}{}", WakeError::ByteOrderMark),
        ("NaN", WakeError::PlainText),
        ("scale now, please", WakeError::PlainText),
        ("dryRun: true", WakeError::PlainText),
    ] {
        let error = parse(payload.as_bytes()).unwrap_err();
        assert_eq!(error, expected);
        assert!(error.to_string().contains("ccepted are CloudWatch alarm"));
    }
    check(
        "{\"a\":1e999}",
        "event is not readable JSON: syntax error at line 1 column 10",
    );
    check(
        "{\"a\":\"\\ud800\"}",
        "event is not readable JSON: syntax error at line 1 column 13",
    );
    check(
        b"{\"targets\":\n [\"d\xffb\"]}",
        "event is not UTF-8 at line 2 column 5",
    );
    check(b"\xc3", "event is not UTF-8 at line 1 column 1");
    for blank in ["", " ", "\r\n\t"] {
        assert_eq!(parse(blank.as_bytes()), Err(WakeError::Empty));
    }
}

#[test]
fn what_is_nested_too_deep() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(matches!(
        parse(nested(127).as_bytes()),
        Err(WakeError::Unsupported { .. })
    ));
    for levels in [128, 10_000, MAX_EVENT_BYTES / 2] {
        check(
            nested(levels),
            "event is not readable JSON: it is nested more than 127 levels deep at line 1 column 128",
        );
    }
    let objects = "{\"a\":".repeat(10_000);
    let expected = JsonFault::TooDeep;
    assert!(
        matches!(parse(objects.as_bytes()), Err(WakeError::NotJson { fault, .. }) if fault == expected)
    );
}

#[test]
fn what_is_too_large() {
    let padded = |length: usize| format!("{{{}}}", " ".repeat(length - 2));
    assert!(parse(padded(MAX_EVENT_BYTES).as_bytes()).is_ok());
    check(
        padded(MAX_EVENT_BYTES + 1),
        "event of 1048577 bytes is too large: at most 1048576 bytes (1 MiB) are read",
    );
    check(
        vec![0xff; 6_000_000],
        "event of 6000000 bytes is too large: at most 1048576 bytes (1 MiB) are read",
    );
}

/// `serde_json` keeps this key for itself and would follow it far beyond its depth limit.
#[test]
fn what_is_wrapped_for_the_reader() {
    let key = "$serde_json::private::RawValue";
    check_unsupported(
        &json!({key: 4711}),
        &format!("an object with the keys `{key}`"),
    );
    check_unsupported(
        &json!({key: "{}"}),
        &format!("an object with the keys `{key}`"),
    );
    let nest = |json: &str| "[".repeat(120) + json + &"]".repeat(120);
    let mut event = nest("0");
    loop {
        let wrapped = nest(&json!({key: event}).to_string());
        if wrapped.len() > MAX_EVENT_BYTES {
            break;
        }
        event = wrapped;
    }
    assert!(
        matches!(parse(event.as_bytes()), Err(WakeError::Unsupported { found }) if found == "an array")
    );
}

#[test]
fn what_is_no_object() {
    check_unsupported(&json!(null), "null");
    check_unsupported(&json!(""), "a string");
    check_unsupported(&json!("{}"), "a string");
    check_unsupported(&json!([]), "an array");
    check_unsupported(&json!(7), "a number");
    check_unsupported(&json!(false), "a boolean");
}

#[test]
fn what_is_some_other_event() {
    check_unsupported(&json!({"Bucket": "x"}), "an object with the keys `Bucket`");
    check_unsupported(
        &json!({"alarmData": {}}),
        "an object with the keys `alarmData`",
    );
    check_unsupported(
        &json!({"alarmData": [], "alarmArn": ""}),
        "an object with the keys `alarmData`, `alarmArn`",
    );
    check_unsupported(
        &json!({"detail-type": "Scheduled Event"}),
        "an object with the keys `detail-type`",
    );
    let configuration =
        json!({"source": "aws.cloudwatch", "detail-type": "CloudWatch Alarm Configuration Change"});
    check_unsupported(
        &configuration,
        "an EventBridge event with `source` `aws.cloudwatch` and `detail-type` `CloudWatch Alarm Configuration Change`",
    );
    check_unsupported(
        &json!({"source": "shop", "detail-type": "Scheduled Event"}),
        "an EventBridge event with `source` `shop` and `detail-type` `Scheduled Event`",
    );
    check_unsupported(
        &json!({"source": null, "detail-type": ["Scheduled Event"]}),
        "an EventBridge event with `source` null and `detail-type` an array",
    );
    let many: serde_json::Map<String, Value> = (0..100)
        .map(|index| (format!("k{index}"), Value::Null))
        .collect();
    let error = parse_value(&Value::Object(many)).unwrap_err().to_string();
    assert!(error.contains("`, …; accepted are"), "{error}");
    assert_eq!(error.matches("`k").count(), 6, "{error}");
}

#[test]
fn what_comes_in_records() {
    check_unsupported(
        &json!({"Records": []}),
        "an object with no entries in `Records`",
    );
    check_unsupported(
        &json!({"Records": [{}]}),
        "a record whose event source is missing",
    );
    check_unsupported(
        &json!({"Records": [null]}),
        "a record whose event source is missing",
    );
    check_unsupported(
        &json!({"Records": [{"eventSource": "aws:s3"}]}),
        "a record whose event source is `aws:s3`",
    );
    check_unsupported(
        &json!({"Records": [{"eventSource": "aws:sns"}]}),
        "a record whose event source is `aws:sns`",
    );
    check(
        r#"{"Records":{}}"#,
        "`Records` is an object, it takes a list of SNS records",
    );
    let record = |sns: &str| format!(r#"{{"Records":[{{"EventSource":"aws:sns","Sns":{sns}}}]}}"#);
    check(
        record("7"),
        "`Records[0].Sns.Message` is missing, it takes a string of JSON",
    );
    check(
        record(r#"{"Message":{}}"#),
        "`Records[0].Sns.Message` is an object, it takes a string of JSON",
    );
    for (message, found) in [
        ("", "an empty text"),
        ("it rains", "plain text and no JSON"),
        (
            "{it: rains}",
            "text that is not readable JSON: syntax error at line 1 column 2",
        ),
        ("[1]", "an array"),
        (r#"{"build":"green"}"#, "an object with the keys `build`"),
    ] {
        let error = chain(&parse_value(&notification(&["{}", message])).unwrap_err());
        let expected = format!(
            "`Records[1].Sns.Message` shows that the topic carries something that is no alarm, {found}; "
        );
        assert!(error.starts_with(&expected), "{error}");
        assert!(error.contains("; accepted are CloudWatch alarm"), "{error}");
    }
}

#[test]
fn keys_that_stand_twice() {
    check(
        r#"{"dryRun":true,"dryRun":false}"#,
        "the key `dryRun` stands twice in one object at line 1 column 23; write it once",
    );
    check(
        r#"{"targets":["a/b"],"targets":["a/b"]}"#,
        "the key `targets` stands twice in one object at line 1 column 28; write it once",
    );
    let event = r#"{"detail":{"a":1},"x":[{"detail":2,"deta\u0069l":3}]}"#;
    assert!(
        matches!(parse(event.as_bytes()), Err(WakeError::KeyTwice { key, .. }) if key == "detail")
    );
    let message = notification(&[r#"{"dryRun":true,"dryRun":false}"#]);
    check(
        message.to_string(),
        "cannot read `Records[0].Sns.Message`: the key `dryRun` stands twice in one object at line 1 column 23; write it once",
    );
    assert!(parse(br#"{"detail":{"a":1},"resources":[{"a":1},{"a":1}],"source":"aws.events","detail-type":"Scheduled Event"}"#).is_ok());
}

#[test]
fn a_bad_record_is_told_by_its_number() {
    let event = notification(&["{}", r#"{"dryRun":"yes"}"#]);
    check(
        event.to_string(),
        "cannot read `Records[1].Sns.Message`: `dryRun` is a string, it takes `true` or `false`",
    );
}

#[test]
fn a_notification_within_a_notification() {
    let inner = notification(&["{}"]).to_string();
    let error = chain(&parse_value(&notification(&[&inner])).unwrap_err());
    let expected = "`Records[0].Sns.Message` shows that the topic carries something that is no alarm, an object with the keys `Records`; ";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn a_queue_as_event_source() {
    let event = json!({"Records": [
        {"messageId": "1", "body": "{}", "eventSource": "aws:sqs", "awsRegion": "ap-northeast-1"},
    ]});
    let error = parse_value(&event).unwrap_err();
    assert_eq!(error, WakeError::SqsEventSource);
    let text = error.to_string();
    assert!(
        text.contains("consumes the messages of the work queue")
            && text.contains("never attach one"),
        "{text}"
    );
}

#[test]
fn what_is_repeated_is_short_and_visible() {
    let hostile = "\u{1b}[31m\n\u{202e}".repeat(1000);
    for event in [
        json!({hostile.as_str(): 1}),
        json!({"dryRun": true, hostile.as_str(): 1}),
        json!({"source": hostile, "detail-type": hostile}),
        json!({"Records": [{"EventSource": hostile}]}),
    ] {
        let error = parse_value(&event).unwrap_err().to_string();
        assert!(error.chars().count() < 1100, "{error}");
        assert!(
            error.chars().all(|c| !c.is_control() && c != '\u{202e}'),
            "{error:?}"
        );
        assert!(error.contains("\\u{1b}[31m\\n\\u{202e}"), "{error}");
    }
}

#[test]
fn no_error_quotes_a_value() {
    let secret = "5ECRET";
    for event in [
        json!(secret),
        json!([secret]),
        json!({"password": secret}),
        json!({"targets": secret}),
        json!({"targets": [secret]}),
        json!({"targets": [format!("default/{secret}")]}),
        json!({"dryRun": secret}),
        json!({"scheduledTime": secret}),
        json!({"executionId": [secret]}),
        json!({"Records": secret}),
        json!({"Records": [{"eventSource": "aws:sqs", "body": secret}]}),
        json!({"source": "x", "detail-type": "y", "detail": secret}),
        json!({"$serde_json::private::RawValue": [secret]}),
        json!({"$serde_json::private::RawValue": format!("[{secret}")}),
        notification(&[secret]),
        notification(&[&json!({"password": secret}).to_string()]),
    ] {
        let error = parse_value(&event).unwrap_err();
        let texts = format!("{error:?} {}", chain(&error));
        assert!(!texts.contains(secret), "{texts}");
    }
    let truncated = format!("{{\"password\":\"{secret}");
    assert!(!format!("{:?}", parse(truncated.as_bytes())).contains(secret));
}
