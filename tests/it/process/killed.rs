//! A process that ends in the middle of a pass, wherever that is: the next one settles what happened, and writes once.

use std::process::Command;
use std::time::Duration;

use outrigger::sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value as Json, json};

use super::{replicas, writes};
use crate::support::function::Function;
use crate::support::{WORKER, bare, count, furnish, until};

/// Long enough that a process is ended while it waits for the answer to a request that was carried out.
const LATENCY: Duration = Duration::from_millis(300);

fn state(sandbox: &Sandbox) -> Json {
    let memory = sandbox.kubernetes().configmap("default", "outrigger");
    serde_json::from_str(&memory.unwrap()["rollout.worker"]).unwrap()
}

async fn slow_sandbox() -> Sandbox {
    let sandbox = bare(SandboxOptions {
        latency: LATENCY,
        ..SandboxOptions::default()
    })
    .await;
    furnish(&sandbox);
    sandbox
}

/// The process gets this signal once so many requests of its first pass were carried out.
async fn end_after(sandbox: &Sandbox, requests: usize, signal: &str) {
    let mut function = Function::start(sandbox, WORKER, &[]).await;
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

/// Each request of a pass is a phase: described, signed in, read, looked for owners, remembered, scaled, told.
#[tokio::test]
async fn a_signal_after_each_request_of_a_pass_leaves_one_write() {
    let whole = slow_sandbox().await;
    Function::start(&whole, WORKER, &[])
        .await
        .answer("{}")
        .await;
    let requests = whole.requests().len();
    // Fewer would be no whole pass.
    assert!(requests >= 9, "{:?}", whole.requests());
    let phases = (1..=requests).map(|request| async move {
        let signal = if request % 2 == 0 { "TERM" } else { "KILL" };
        let sandbox = slow_sandbox().await;
        // The last answer ends the pass.
        if request < requests {
            end_after(&sandbox, request, signal).await;
        }
        let between = replicas(&sandbox);
        assert!(matches!(between, Some(2 | 7)), "{request}: {between:?}");
        let next = Function::start(&sandbox, WORKER, &[]).await;
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
        assert_eq!(
            (&events[0]["from"], &events[0]["to"]),
            (&json!(2), &json!(7))
        );
        sandbox.clear_requests();
        next.answer("{}").await;
        assert_eq!(count(&sandbox, "PATCH"), 0, "{request}");
    });
    futures_util::future::join_all(phases).await;
}
