//! What is logged: replayable records, known metrics, and no secret.

use outrigger::record::{Record, decision_json};
use outrigger::report::METRICS;
use outrigger::sandbox::fault::Fault;
use outrigger::sandbox::kubernetes::KubernetesFault;
use serde_json::{Value as Json, json};

use super::{decisions, summary};
use crate::support::function::Function;
use crate::support::{WORKER, sandbox, scaled_object};

/// Fails unless the record of a line gives its decision again, byte for byte.
#[track_caller]
pub(super) fn replays(line: &Json) {
    let record = Record::parse(line.to_string().as_bytes());
    let decision = record.unwrap_or_else(|problems| panic!("{problems:?}: {line}"));
    let again = decision_json(&decision.decide()).to_string();
    assert_eq!(again, line["decision"].to_string());
}

#[tokio::test]
async fn every_decision_replays() {
    let sandbox = sandbox().await;
    let kubernetes = sandbox.kubernetes();
    kubernetes.create_rollout("default", "other", Some(0));
    sandbox.queues().create("other");
    let other = scaled_object("other").replace("minReplicaCount: 2", "minReplicaCount: 0");
    let configuration = format!("{WORKER}---{other}");
    let environment = [("OUTRIGGER_LOG", "all"), ("OUTRIGGER_METRICS", "targets")];
    let function = Function::start(&sandbox, &configuration, &environment).await;
    let mut reasons = std::collections::BTreeSet::new();
    for step in 0..6 {
        match step {
            1 => sandbox.queues().set_counts("other", 0, 1, 0),
            2 => sandbox.queues().fail("orders", Some(Fault::AccessDenied)),
            3 => {
                sandbox.queues().fail("orders", None);
                sandbox.queues().set_counts("orders", 0, 0, 7);
            }
            4 => kubernetes.set_replicas("default", "worker", 12),
            5 => {
                sandbox.queues().set_counts("orders", 150, 0, 0);
                kubernetes.set_rollout("default", "worker", |rollout| {
                    rollout["spec"]["paused"] = json!(true);
                });
            }
            _ => {}
        }
        function.invoke("{}").await;
        let lines = function.new_lines();
        let decisions = decisions(&lines);
        assert_eq!(decisions.len(), 2, "{lines:?}");
        for line in decisions {
            replays(line);
            reasons.insert(line["decision"]["reason"].as_str().unwrap().to_owned());
        }
    }
    for reason in [
        "QueueDepth",
        "Inactive",
        "Activated",
        "ReadingFailed",
        "ScaleInWindow",
        "RolloutPaused",
    ] {
        assert!(reasons.contains(reason), "no {reason} in {reasons:?}");
    }
}

#[tokio::test]
async fn writes_changes_of_reason_and_errors_are_logged() {
    let sandbox = sandbox().await;
    let function = Function::start(&sandbox, WORKER, &[]).await;
    let mut logged = Vec::new();
    for step in 0..6 {
        match step {
            3 => sandbox.queues().fail("orders", Some(Fault::AccessDenied)),
            5 => sandbox.queues().fail("orders", None),
            _ => {}
        }
        function.invoke("{}").await;
        let lines = function.new_lines();
        let summary = &summary(&lines)["summary"];
        assert_eq!(summary["cause"], "direct");
        assert_eq!(summary["scope"], "all");
        let decisions = decisions(&lines);
        let decision = decisions.first();
        logged.push(decision.map(|line| line["decision"]["reason"].as_str().unwrap().to_owned()));
    }
    let logged: Vec<Option<&str>> = logged.iter().map(Option::as_deref).collect();
    assert_eq!(
        logged,
        [
            Some("QueueDepth"),
            Some("Steady"),
            None,
            Some("ReadingFailed"),
            Some("ReadingFailed"),
            Some("Steady"),
        ]
    );
}

/// The names of the metrics that a line declares; each must have a number.
#[track_caller]
fn metrics(line: &Json) -> Vec<String> {
    let header = &line["_aws"];
    assert!(header["Timestamp"].is_i64(), "{line}");
    let directive = &header["CloudWatchMetrics"][0];
    assert_eq!(directive["Namespace"], "Outrigger");
    let metrics = directive["Metrics"].as_array().unwrap().iter();
    metrics
        .map(|metric| {
            let name = metric["Name"].as_str().unwrap();
            assert!(line[name].is_u64(), "{name} in {line}");
            name.to_owned()
        })
        .collect()
}

#[tokio::test]
async fn metrics_are_what_is_asked_for() {
    let known = METRICS.map(|(name, _)| name.to_owned());
    for (mode, totals, targets) in [
        ("", false, false),
        ("totals", true, false),
        ("targets", true, true),
        ("off", false, false),
    ] {
        let sandbox = sandbox().await;
        let environment = [("OUTRIGGER_METRICS", mode)];
        let function = Function::start(&sandbox, WORKER, &environment).await;
        function.answer("{}").await;
        let lines = function.new_lines();
        let (decision, summary) = (decisions(&lines)[0], summary(&lines));
        assert_eq!(!summary["_aws"].is_null(), totals, "{mode}");
        assert_eq!(!decision["_aws"].is_null(), targets, "{mode}");
        if totals {
            assert_eq!(metrics(summary), known, "{mode}");
        }
        if targets {
            let names = ["Replicas", "WantedReplicas", "QueueMessages"];
            assert_eq!(metrics(decision), names);
            let dimensions = &decision["_aws"]["CloudWatchMetrics"][0]["Dimensions"];
            assert_eq!(
                dimensions,
                &json!([["Cluster", "Namespace", "ScaledObject"]])
            );
            assert_eq!(decision["ScaledObject"], "worker");
        }
        let counts = ["Targets", "ScaledOut", "Held", "Failed", "Messages"];
        let counts = counts.map(|name| summary[name].as_u64().unwrap());
        assert_eq!(counts, [1, 1, 0, 0, 63], "{mode}");
    }
}

/// A graph of a target has a point for each poll, though few polls are worth a record.
#[tokio::test]
async fn each_poll_has_its_points_whatever_is_logged() {
    for (mode, log, expected) in [
        ("targets", "changes", 4),
        ("targets", "all", 4),
        ("totals", "all", 0),
        ("off", "changes", 0),
    ] {
        let sandbox = sandbox().await;
        let environment = [("OUTRIGGER_METRICS", mode), ("OUTRIGGER_LOG", log)];
        let function = Function::start(&sandbox, WORKER, &environment).await;
        for _ in 0..4 {
            function.answer("{}").await;
        }
        let lines = function.new_lines();
        let points = lines.iter().filter(|line| line["ScaledObject"] == "worker");
        let points: Vec<u64> = points
            .map(|line| {
                assert!(
                    metrics(line).contains(&"QueueMessages".to_owned()),
                    "{line}"
                );
                line["QueueMessages"].as_u64().unwrap()
            })
            .collect();
        assert_eq!(points, vec![63; expected], "{mode} {log}");
    }
}

#[tokio::test]
async fn a_failed_reading_is_no_data_point() {
    let sandbox = sandbox().await;
    sandbox.queues().fail("orders", Some(Fault::AccessDenied));
    let environment = [("OUTRIGGER_METRICS", "targets")];
    let function = Function::start(&sandbox, WORKER, &environment).await;
    function.error("{}").await;
    let lines = function.new_lines();
    let line = decisions(&lines)[0];
    assert!(line["QueueMessages"].is_null(), "{line}");
    assert_eq!(line["Replicas"], 2);
    let total = summary(&lines);
    assert!(total["Messages"].is_null(), "{total}");
    assert!(!metrics(total).contains(&"Messages".to_owned()));
}

const MARKER: &str = "do-not-print-this";

#[tokio::test]
async fn no_secret_and_nothing_of_an_event_is_printed() {
    let sandbox = sandbox().await;
    let environment = [
        ("OUTRIGGER_LOG", "all"),
        ("OUTRIGGER_METRICS", "targets"),
        ("RUST_LOG", "trace"),
        ("AWS_LAMBDA_LOG_LEVEL", "TRACE"),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("RUST_BACKTRACE", "full"),
    ];
    let function = Function::start(&sandbox, WORKER, &environment).await;
    let kubernetes = sandbox.kubernetes();
    let mut told = Vec::new();
    let mut tell = |outcome| told.push(format!("{outcome:?}"));

    tell(function.invoke("{}").await);
    let sns = include_str!("../../../events/sns-alarm.json");
    let marked = sns.replace(
        r#"\"AlarmDescription\":null"#,
        &format!(r#"\"AlarmDescription\":\"{MARKER}\""#),
    );
    assert!(marked.contains(MARKER));
    tell(function.invoke(marked).await);
    for event in [
        format!(r#"{{"password": "{MARKER}"}}"#),
        format!(r#"{{"targets": "{MARKER}"}}"#),
        format!(r#"{{"Records": [{{"eventSource": "aws:sqs", "body": "{MARKER}"}}]}}"#),
        format!(r#"{{"targets": ["{MARKER}"#),
        MARKER.to_owned(),
    ] {
        tell(function.invoke(event).await);
    }
    for fault in [
        KubernetesFault::Status(401),
        KubernetesFault::Status(403),
        KubernetesFault::Garbage,
        KubernetesFault::Reset,
    ] {
        kubernetes.fail("/rollouts/", fault, 5);
        tell(function.invoke("{}").await);
        kubernetes.clear_faults();
    }
    for fault in [Fault::AccessDenied, Fault::Garbage, Fault::Reset] {
        sandbox.queues().fail("orders", Some(fault));
        tell(function.invoke("{}").await);
        sandbox.queues().fail("orders", None);
    }
    kubernetes.unmap_role("arn:aws:iam::123456789012:role/outrigger");
    tell(function.invoke("{}").await);
    sandbox.expire_credentials();
    tell(function.invoke("{}").await);

    let variables = sandbox.environment();
    let output = function.output() + &told.join("\n");
    assert!(output.contains("Unauthorized") && output.contains("EventRefused"));
    for secret in [
        variables["AWS_SECRET_ACCESS_KEY"].as_str(),
        variables["AWS_SESSION_TOKEN"].as_str(),
        variables["AWS_ACCESS_KEY_ID"].as_str(),
        "k8s-aws-v1.",
        "X-Amz-Signature",
        "X-Amz-Security-Token",
        "Bearer ",
        "AWS4-HMAC",
        MARKER,
    ] {
        let at = output.find(secret);
        let around = at.map(|at| &output[at.saturating_sub(300)..at]);
        assert_eq!(around, None, "`{secret}` is printed");
    }
    // Nothing but our own lines.
    function.new_lines();
    let stderr = std::fs::read_to_string(function.directory.join("stderr")).unwrap();
    assert_eq!(stderr, "");
}
