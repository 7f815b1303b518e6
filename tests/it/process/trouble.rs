//! Something fails: the others go on, and the invocation says what.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::SignedDuration;
use outrigger::sandbox::fault::Fault;
use outrigger::sandbox::kubernetes::KubernetesFault;
use outrigger::sandbox::{SandboxOptions, Service};

use super::{decisions, replicas, summary, writes};
use crate::support::function::{Directory, Function, error};
use crate::support::{
    SCALE, WORKER, actions, assert_names, bare, count, furnish, sandbox, scaled_object,
};

#[tokio::test]
async fn a_failing_queue_holds_its_target_only() {
    for (fault, code) in [
        (Fault::AccessDenied, "AccessDeniedException"),
        (Fault::NotFound, "NonExistentQueue"),
        (Fault::Garbage, "BadResponse"),
    ] {
        let sandbox = sandbox().await;
        let kubernetes = sandbox.kubernetes();
        kubernetes.create_rollout("default", "other", Some(5));
        sandbox.queues().create("other");
        sandbox.queues().fail("other", Some(fault));
        let configuration = format!("{}---{WORKER}", scaled_object("other"));
        let function = Function::start(&sandbox, &configuration, &[]).await;
        let (kind, message) = function.error("{}").await;
        assert_eq!(kind, "Outrigger.TargetsFailed");
        assert_names(&message, &["1 failed", "`default/other`", "queue `other`"]);
        assert_names(&message, &["sqs:GetQueueAttributes"]);
        assert!(!message.contains("default/worker"), "{message}");
        assert_eq!(writes(&sandbox), [(2, 7)]);
        assert_eq!(kubernetes.scale_writes("default", "other"), []);

        let lines = function.new_lines();
        let line = decisions(&lines)[0];
        assert_eq!(line["target"], "default/other");
        assert_eq!(line["errors"][0]["code"], code);
        assert_eq!(line["record"]["readings"][0]["error"], code);
        assert_eq!(line["decision"]["reason"], "ReadingFailed");
        let summary = &summary(&lines)["summary"];
        assert_eq!(summary["failed"], serde_json::json!(["default/other"]));
    }
}

#[tokio::test]
async fn at_most_fifty_names_are_told() {
    let sandbox = sandbox().await;
    let names: Vec<String> = (0..60).map(|number| format!("bad-{number:02}")).collect();
    for name in &names {
        sandbox.queues().create(name);
    }
    let objects: Vec<String> = names.iter().map(|name| scaled_object(name)).collect();
    let configuration = format!("{}---{WORKER}", objects.join("---"));
    let function = Function::start(&sandbox, &configuration, &[]).await;
    let (kind, message) = function.error("{}").await;
    assert_eq!(kind, "Outrigger.TargetsFailed");
    assert_names(
        &message,
        &["60 failed", "`default/bad-49`", "; and 10 more"],
    );
    assert!(!message.contains("bad-50"), "{message}");
    assert_eq!(writes(&sandbox), [(2, 7)]);
    let lines = function.new_lines();
    assert_eq!(decisions(&lines).len(), 61);
    assert_eq!(summary(&lines)["Failed"], 60);
}

#[tokio::test]
async fn with_no_time_left_nothing_is_begun() {
    let sandbox = sandbox().await;
    let function = Function::start(&sandbox, WORKER, &[]).await;
    let left = Duration::from_millis(1_500);
    let (kind, message) = error(&function.invoke_with_time_left("{}", left).await);
    assert_eq!(kind, "Outrigger.TargetsFailed");
    assert_names(
        &message,
        &["`default/worker`", "no time left", "the pass began with"],
    );
    assert_eq!(count(&sandbox, "PATCH"), 0);
    let lines = function.new_lines();
    assert_eq!(decisions(&lines)[0]["effect"], "notReached");
    function.answer("{}").await;
    assert_eq!(writes(&sandbox), [(2, 7)]);
}

#[tokio::test]
async fn a_silent_server_ends_with_the_deadline_and_the_others_are_done() {
    let sandbox = sandbox().await;
    let kubernetes = sandbox.kubernetes();
    kubernetes.create_rollout("default", "stuck", Some(2));
    sandbox.queues().set_counts("stuck", 90, 0, 0);
    kubernetes.fail("PATCH /rollouts/stuck/scale", KubernetesFault::Hang, 1_000);
    let configuration = format!("{}---{WORKER}", scaled_object("stuck"));
    let function = Function::start(&sandbox, &configuration, &[]).await;
    let left = Duration::from_secs(9);
    let (kind, message) = error(&function.invoke_with_time_left("{}", left).await);
    assert_eq!(kind, "Outrigger.TargetsFailed");
    assert_names(
        &message,
        &[
            "1 failed",
            "`default/stuck`",
            "scaling Rollout",
            "2 writes of counts in cluster `demo` took",
        ],
    );
    assert_eq!(writes(&sandbox), [(2, 7)]);
    let lines = function.new_lines();
    assert_eq!(decisions(&lines)[0]["effect"], "notDone");
    assert_eq!(
        decisions(&lines)[0]["errors"][0]["code"],
        "DeadlineExceeded"
    );
}

/// A process that has just started knows no stop, and one may stand in what it may not read.
#[tokio::test]
async fn a_cold_start_that_cannot_read_the_stop_changes_nothing_yet() {
    let sandbox = sandbox().await;
    let kubernetes = sandbox.kubernetes();
    let forbidden = KubernetesFault::Status(403);
    kubernetes.fail("GET /configmaps/outrigger", forbidden, 1);
    let function = Function::start(&sandbox, WORKER, &[]).await;
    let (_, message) = function.error("{}").await;
    assert_names(&message, &["1 failed", "403", "RoleBinding"]);
    let lines = function.new_lines();
    let decision = &decisions(&lines)[0]["decision"];
    assert_eq!(decision["reason"], "StopUnknown");
    assert!(decision["until"].is_string(), "{decision}");
    assert_eq!(writes(&sandbox), []);
    // It is read, and holds nothing back.
    function.answer("{}").await;
    assert_eq!(writes(&sandbox), [(2, 7)]);
    // From then on it is known.
    kubernetes.fail("GET /configmaps/outrigger", forbidden, 1_000);
    sandbox.queues().set_counts("orders", 1000, 0, 0);
    function.error("{}").await;
    assert_eq!(writes(&sandbox), [(2, 7), (7, 16)]);
}

/// A frozen environment thaws with a clock that is wrong for a moment: the timeout is what it was before.
#[tokio::test]
async fn a_clock_that_jumped_while_frozen_leaves_the_invocation_its_end() {
    let sandbox = sandbox().await;
    let kubernetes = sandbox.kubernetes();
    let function = Function::start(&sandbox, WORKER, &[]).await;
    let left = Duration::from_secs(6);
    function.invoke_with_time_left("{}", left).await;
    assert_eq!(writes(&sandbox), [(2, 7)]);
    sandbox.queues().set_counts("orders", 1000, 0, 0);
    kubernetes.fail("PATCH /rollouts/worker/scale", KubernetesFault::Hang, 1_000);
    let now = outrigger::clock::wall_now();
    for wrong in [-600, 600] {
        let deadline = now + SignedDuration::from_secs(wrong);
        let deadline = deadline.as_millisecond().to_string();
        let outcome = function.invoke_with_deadline("{}", &deadline).await;
        let (_, message) = error(&outcome);
        // Without an end the call would wait for an answer as long as it may.
        assert_names(&message, &["`default/worker`", "no time left"]);
    }
}

#[tokio::test]
async fn without_its_memory_it_scales_out_and_never_in() {
    let sandbox = sandbox().await;
    let kubernetes = sandbox.kubernetes();
    kubernetes.create_rollout("default", "large", Some(20));
    kubernetes.delete_configmap("default", "outrigger");
    sandbox.queues().create("large");
    let configuration = format!("{}---{WORKER}", scaled_object("large"));
    let function = Function::start(&sandbox, &configuration, &[]).await;
    let (_, message) = function.error("{}").await;
    let command = "kubectl apply -k infra/kubernetes";
    assert_names(&message, &["2 failed", "ConfigMap", command]);
    assert_eq!(writes(&sandbox), [(2, 7)]);
    assert_eq!(kubernetes.scale_writes("default", "large"), []);
}

#[tokio::test]
async fn a_memory_that_cannot_be_read_is_begun_anew() {
    let sandbox = sandbox().await;
    sandbox
        .kubernetes()
        .edit("configmaps", "default", "outrigger", |object| {
            object["data"]["rollout.worker"] = serde_json::json!("{broken");
        });
    let function = Function::start(&sandbox, WORKER, &[]).await;
    let (_, message) = function.error("{}").await;
    assert_names(&message, &["`rollout.worker`", "begun anew"]);
    assert_eq!(writes(&sandbox), [(2, 7)]);
    function.answer("{}").await;
}

#[tokio::test]
async fn expired_credentials_fail_and_do_nothing() {
    let sandbox = sandbox().await;
    let function = Function::start(&sandbox, WORKER, &[]).await;
    sandbox.expire_credentials();
    let (kind, message) = function.error("{}").await;
    assert_eq!(kind, "Outrigger.TargetsFailed");
    assert_names(&message, &["`default/worker`", "credentials"]);
    assert_eq!(count(&sandbox, SCALE), 0);
    assert_eq!(replicas(&sandbox), Some(2));
}

#[tokio::test]
async fn roles_come_from_the_environment_too() {
    const HUB: &str = "arn:aws:iam::123456789012:role/hub";
    let sandbox = sandbox().await;
    sandbox.sts().allow_role(HUB, None);
    sandbox.kubernetes().map_role(HUB, &["outrigger"]);
    let clusters = format!("arn:aws:eks:ap-northeast-1:123456789012:cluster/demo={HUB}");
    let environment = [("OUTRIGGER_CLUSTERS", clusters.as_str())];
    let function = Function::start(&sandbox, WORKER, &environment).await;
    function.answer("{}").await;
    assert_eq!(writes(&sandbox), [(2, 7)]);
    function.answer("{}").await;
    // One for the EKS client, one for the tokens.
    let assumed = count(&sandbox, "AssumeRole");
    assert!((1..=2).contains(&assumed), "{assumed}");
}

#[tokio::test]
async fn init_needs_no_network() {
    let sandbox = sandbox().await;
    let functions = join_all((0..2).map(|_| Function::start(&sandbox, WORKER, &[]))).await;
    assert_eq!(functions.len(), 2);
    for service in [
        Service::Sqs,
        Service::Sts,
        Service::Eks,
        Service::Kubernetes,
    ] {
        assert!(actions(&sandbox, service).is_empty());
    }
}

/// What benchmarks with TLS rely on: the function trusts whom the system trusts, and nobody else.
#[tokio::test]
async fn an_aws_with_tls_is_trusted_by_its_authority_alone() {
    let sandbox = bare(SandboxOptions {
        tls: true,
        ..SandboxOptions::default()
    })
    .await;
    furnish(&sandbox);
    let directory = Directory::new();
    let file = directory.join("authority.pem");
    std::fs::write(&file, sandbox.authority()).unwrap();
    let function = Function::start(&sandbox, WORKER, &[]).await;
    let (_, message) = function.error("{}").await;
    assert_names(&message, &["no connection", "certificate"]);
    assert!(sandbox.failed_handshakes() > 0 && writes(&sandbox).is_empty());
    assert!(actions(&sandbox, Service::Eks).is_empty());

    let before = sandbox.failed_handshakes();
    let trusted = [("SSL_CERT_FILE", file.to_str().unwrap())];
    let function = Function::start(&sandbox, WORKER, &trusted).await;
    function.answer("{}").await;
    assert_eq!(writes(&sandbox), [(2, 7)]);
    assert_eq!(sandbox.failed_handshakes(), before);
}
