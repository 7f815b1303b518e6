//! What the function does not serve: bad events, bad settings, a machine that is not Lambda.

use outrigger::sandbox::runtime_api::Outcome;

use super::writes;
use crate::support::function::{Function, error, run};
use crate::support::{WORKER, assert_names, sandbox};

const SQS_EVENT: &str = r#"{"Records":[{"messageId":"1","receiptHandle":"h","body":"{}","attributes":{},"messageAttributes":{},
    "md5OfBody":"x","eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:ap-northeast-1:123456789012:orders","awsRegion":"ap-northeast-1"}]}"#;

#[tokio::test]
async fn a_bad_event_is_refused_and_the_next_one_served() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let large = format!(r#"{{"source":"{}"}}"#, "x".repeat(1 << 20));
    let events: [(&[u8], &str); 16] = [
        (b"", "event is empty; accepted are CloudWatch alarm"),
        (b"  \n", "event is empty; accepted are CloudWatch alarm"),
        (b"\xef\xbb\xbf{}", "byte-order mark"),
        (
            b"{\"dryRun\": true, \"dryRun\": false}",
            "`dryRun` stands twice",
        ),
        (b"{\"targets\": [\"default/wor", "JSON"),
        (b"not JSON", "event is plain text and no JSON"),
        (large.as_bytes(), "too large"),
        (deep.as_bytes(), "127 levels"),
        (
            b"{\"targets\": \"\xff\xfe\"}",
            "event is not UTF-8 at line 1 column 14",
        ),
        (b"null", "unsupported event"),
        (b"7", "unsupported event"),
        (b"[]", "unsupported event"),
        (SQS_EVENT.as_bytes(), "event source mapping"),
        (b"{\"dryrun\": true}", "`dryRun`"),
        (b"{\"targets\": []}", "empty list"),
        (b"{\"targets\": [\"worker\"]}", "namespace/name"),
    ];
    let sandbox = sandbox().await;
    let mut function = Function::start(&sandbox, WORKER, &[]).await;
    for (event, wanted) in events {
        let shown = String::from_utf8_lossy(&event[..event.len().min(60)]).into_owned();
        let (kind, message) = error(&function.invoke(event).await);
        assert_eq!(kind, "Outrigger.EventRefused", "{shown}");
        assert_names(&message, &[wanted]);
        assert!(message.len() < 2_000, "{} bytes", message.len());
        let lines = function.new_lines();
        assert_eq!(lines.len(), 1, "{shown}: {lines:?}");
        assert_eq!(lines[0]["errorType"], "Outrigger.EventRefused");
    }
    assert_eq!(sandbox.requests(), []);
    assert!(function.is_running());
    function.answer("{}").await;
    assert_eq!(writes(&sandbox), [(2, 7)]);
}

#[tokio::test]
async fn bad_settings_fail_each_invocation_and_name_every_variable() {
    let sandbox = sandbox().await;
    let environment = [
        ("OUTRIGGER_CLUSTERS", ""),
        ("OUTRIGGER_LOG", "loud"),
        ("OUTRIGGER_METRIC", "off"),
        ("OUTRIGGER_CONFIG", "s3://bucket/key"),
        ("OUTRIGGER_CLUSTER_CA", "eA=="),
    ];
    let mut function = Function::start(&sandbox, WORKER, &environment).await;
    for _ in 0..2 {
        let (kind, message) = function.error("{}").await;
        assert_eq!(kind, "Outrigger.SettingsInvalid");
        let names = environment.map(|(name, _)| name);
        assert_names(&message, &names);
        assert_names(&message, &["OUTRIGGER_METRICS"]);
    }
    assert!(function.is_running());
    assert_eq!(sandbox.requests(), []);
}

#[tokio::test]
async fn no_variable_gives_it_another_clock() {
    let sandbox = sandbox().await;
    for name in ["OUTRIGGER_CLOCK", "OUTRIGGER_CLOCK_FACTOR", "OUTRIGGER_NOW"] {
        let environment = [(name, "2020-01-01T00:00:00Z")];
        let function = Function::start(&sandbox, WORKER, &environment).await;
        let (kind, message) = function.error("{}").await;
        assert_eq!(kind, "Outrigger.SettingsInvalid");
        assert_names(&message, &[name, "unknown"]);
    }
    let environment = [
        ("FAKETIME", "@2020-01-01 00:00:00"),
        ("SOURCE_DATE_EPOCH", "1577836800"),
        ("CLOCK", "2020-01-01T00:00:00Z"),
        ("NOW", "2020-01-01T00:00:00Z"),
        ("TZ", "Asia/Tokyo"),
    ];
    let function = Function::start(&sandbox, WORKER, &environment).await;
    let before = outrigger::clock::wall_now();
    function.answer("{}").await;
    let after = outrigger::clock::wall_now();
    let lines = function.new_lines();
    let now = super::decisions(&lines)[0]["record"]["now"].as_str();
    let now: jiff::Timestamp = now.unwrap().parse().unwrap();
    // The record carries whole seconds.
    assert!(now.as_second() >= before.as_second(), "{now} {before}");
    assert!(now <= after, "{now} {after}");
}

#[tokio::test]
async fn outside_lambda_it_says_so_and_ends() {
    let (status, output) = run(&[("OUTRIGGER_CLUSTERS", "demo")]).await;
    assert_eq!(status.code(), Some(1));
    assert_names(
        &output,
        &[
            "AWS_LAMBDA_RUNTIME_API",
            "cargo lambda watch",
            "outrigger demo",
        ],
    );
    assert_eq!(output.lines().count(), 1, "{output}");
}

#[tokio::test]
async fn a_constant_deadline_long_ago_ends_nothing() {
    let sandbox = sandbox().await;
    let function = Function::start(&sandbox, WORKER, &[]).await;
    // At the maximum nothing is left to be followed up.
    sandbox.queues().set_counts("orders", 1000, 0, 0);
    let outcome = function.invoke_with_deadline("{}", "600000").await;
    assert!(matches!(outcome, Outcome::Response(_)), "{outcome:?}");
    assert_eq!(writes(&sandbox), [(2, 16)]);
}
