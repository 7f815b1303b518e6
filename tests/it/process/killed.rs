//! A process that ends in the middle of a pass, wherever that is: the next one settles what happened, and writes once.

use std::process::Command;
use std::time::Duration;

use outrigger::document::parse_yaml;
use outrigger::sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value as Json, json};

use super::{replicas, writes};
use crate::support::function::Function;
use crate::support::{WORKER, bare, count, furnish, until};

/// Long enough that a process is ended while it waits for the answer to a request that was carried out.
const LATENCY: Duration = Duration::from_millis(300);

const BASE: &str = include_str!("../../../infra/kubernetes/role.yaml");
const CLUSTER_MODE: &str =
    include_str!("../../../infra/kubernetes/components/cluster-mode/role.yaml");

fn state(sandbox: &Sandbox) -> Json {
    let memory = sandbox.kubernetes().configmap("default", "outrigger");
    serde_json::from_str(&memory.unwrap()["rollout.worker"]).unwrap()
}

/// Where the ScaledObject is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Source {
    File,
    Cluster,
}

impl Source {
    async fn sandbox(self) -> Sandbox {
        let sandbox = bare(SandboxOptions {
            latency: LATENCY,
            rbac: format!("{BASE}\n---\n{CLUSTER_MODE}"),
            ..SandboxOptions::default()
        })
        .await;
        furnish(&sandbox);
        if self == Self::Cluster {
            sandbox.kubernetes().set_keda_installed(true);
            let documents = parse_yaml(WORKER.as_bytes());
            let object = documents[0].root.as_ref().unwrap().to_json();
            sandbox.kubernetes().create(object).unwrap();
        }
        sandbox
    }

    async fn function(self, sandbox: &Sandbox) -> Function {
        let config = match self {
            Self::File => "file:outrigger.yaml",
            Self::Cluster => "cluster:default",
        };
        Function::start(sandbox, WORKER, &[("OUTRIGGER_CONFIG", config)]).await
    }
}

/// The process gets this signal once so many requests of its first pass were carried out.
async fn end_after(source: Source, sandbox: &Sandbox, requests: usize, signal: &str) {
    let mut function = source.function(sandbox).await;
    let process = function.process_id().unwrap().to_string();
    let reached = until("the request", || sandbox.requests().len() >= requests);
    tokio::select! {
        outcome = function.invoke("{}") => panic!("{outcome:?}"),
        () = reached => {}
    }
    let status = Command::new("kill").args(["-s", signal, &process]).status();
    assert!(status.unwrap().success());
    until("the end of the process", || !function.is_running()).await;
}

/// A process is ended after each request of its first pass in turn.
async fn check(source: Source, least: usize) {
    let whole = source.sandbox().await;
    source.function(&whole).await.answer("{}").await;
    let requests = whole.requests().len();
    // Fewer would be no whole pass.
    assert!(requests >= least, "{:?}", whole.requests());
    let phases = (1..requests).map(|request| async move {
        let signal = if request % 2 == 0 { "TERM" } else { "KILL" };
        let sandbox = source.sandbox().await;
        end_after(source, &sandbox, request, signal).await;
        let between = replicas(&sandbox);
        assert!(matches!(between, Some(2 | 7)), "{request}: {between:?}");
        let next = source.function(&sandbox).await;
        for _ in 0..2 {
            next.answer("{}").await;
            assert_eq!(writes(&sandbox), [(2, 7)], "{request}");
        }
        let state = state(&sandbox);
        assert_eq!(state["pending"], Json::Null, "{request}: {state}");
        assert_eq!(state["lastWritten"], 7, "{request}: {state}");
        assert_eq!(state["foreignWrites"], Json::Null, "{request}: {state}");
        // The change is remembered once.
        let events = state["events"].as_array().unwrap();
        assert_eq!(events.len(), 1, "{request}: {state}");
        let event = (&events[0]["from"], &events[0]["to"]);
        assert_eq!(event, (&json!(2), &json!(7)), "{request}");
        if source == Source::Cluster {
            let object = sandbox
                .kubernetes()
                .get("scaledobjects", "default", "worker");
            let ready = &object.unwrap()["status"]["conditions"][0];
            assert_eq!(
                (&ready["type"], &ready["status"]),
                (&json!("Ready"), &json!("True")),
                "{request}"
            );
        }
        sandbox.clear_requests();
        next.answer("{}").await;
        assert_eq!(count(&sandbox, "PATCH"), 0, "{request}");
    });
    futures_util::future::join_all(phases).await;
}

/// Described, signed in, read, looked for owners, remembered, scaled, told.
#[tokio::test]
async fn a_signal_after_each_request_of_a_pass_leaves_one_write() {
    check(Source::File, 9).await;
}

/// The same with the lists of objects before it, and their status behind it.
#[tokio::test]
async fn a_signal_after_each_request_in_cluster_mode_leaves_one_write() {
    check(Source::Cluster, 12).await;
}
