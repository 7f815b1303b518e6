//! An API server that fails for a moment, or for good.

use std::time::Duration;

use outrigger::ports::{Scaler as _, Workloads as _};
use outrigger::sandbox::kubernetes::KubernetesFault;

use super::{change, clusters, failed, read, store, worker};
use crate::support::{SCALE, assert_names, count, sandbox};

const READ: &str = "GET /apis/argoproj.io/v1alpha1/namespaces/default/rollouts/worker";

/// A fault that strikes once costs a second request and nothing else.
async fn check_bridged(fault: KubernetesFault) {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    sandbox.kubernetes().fail("GET /rollouts/", fault, 1);
    let seen = read(&clusters).await;
    assert_eq!(count(&sandbox, READ), 2, "{fault:?}");

    sandbox.kubernetes().fail("PATCH /scale", fault, 1);
    sandbox.kubernetes().fail("PATCH /configmaps/", fault, 1);
    let stored = store(&clusters, None, "{}");
    let (place, change) = (worker(), change(&seen, 7));
    let (stored, changed) = tokio::join!(stored, clusters.scale(&place, &change));
    assert_eq!((stored, changed), (Ok(()), Ok(())), "{fault:?}");
    assert_eq!(count(&sandbox, SCALE), 2, "{fault:?}");
    let written = sandbox.kubernetes().scale_writes("default", "worker");
    assert_eq!(written, [(2, 7)], "{fault:?}");
}

#[tokio::test]
async fn a_conflict_for_a_moment() {
    check_bridged(KubernetesFault::Status(409)).await;
}

#[tokio::test]
async fn too_many_requests_for_a_moment() {
    check_bridged(KubernetesFault::Status(429)).await;
}

#[tokio::test]
async fn a_server_error_for_a_moment() {
    for code in [500, 502, 503, 504] {
        check_bridged(KubernetesFault::Status(code)).await;
    }
}

#[tokio::test]
async fn a_reset_for_a_moment() {
    check_bridged(KubernetesFault::Reset).await;
}

#[tokio::test]
async fn garbage_for_a_moment() {
    check_bridged(KubernetesFault::Garbage).await;
}

#[tokio::test]
async fn silence_for_a_moment() {
    check_bridged(KubernetesFault::Hang).await;
}

#[tokio::test]
async fn a_slow_answer_is_an_answer() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    let slow = KubernetesFault::Slow(Duration::from_millis(300));
    sandbox.kubernetes().fail("/rollouts/", slow, 2);
    let seen = read(&clusters).await;
    let changed = clusters.scale(&worker(), &change(&seen, 7)).await;
    assert_eq!(changed, Ok(()));
    assert_eq!((count(&sandbox, READ), count(&sandbox, SCALE)), (1, 1));
}

/// A fault that strikes for ever is told after a few requests.
async fn check_told(fault: KubernetesFault, requests: usize, code: &str, texts: &[&str]) {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    let seen = read(&clusters).await;
    sandbox.clear_requests();
    sandbox.kubernetes().fail("PATCH /scale", fault, 1_000);
    let (found, message) = failed(clusters.scale(&worker(), &change(&seen, 7)).await);
    assert_eq!(found, code, "{fault:?}: {message}");
    assert_names(&message, &["scale Rollout `default/worker` from 2 to 7"]);
    assert_names(&message, &["cluster `demo`"]);
    assert_names(&message, texts);
    assert_eq!(count(&sandbox, SCALE), requests, "{fault:?}");
    sandbox.kubernetes().clear_faults();
    clusters.begin_invocation().await;
    assert_eq!(read(&clusters).await, seen, "{fault:?}");
}

#[tokio::test]
async fn a_conflict_for_ever() {
    check_told(KubernetesFault::Status(409), 5, "Conflict", &["409"]).await;
}

#[tokio::test]
async fn too_many_requests_for_ever() {
    let texts = &["429", "overloaded"];
    check_told(KubernetesFault::Status(429), 5, "TooManyRequests", texts).await;
}

#[tokio::test]
async fn a_server_error_for_ever() {
    for code in [500, 503] {
        let texts = &[code.to_string(), "overloaded".to_owned()];
        let texts = texts.each_ref().map(String::as_str);
        check_told(KubernetesFault::Status(code), 5, "ServerError", &texts).await;
    }
}

#[tokio::test]
async fn resets_for_ever() {
    let texts = &["public access list"];
    check_told(KubernetesFault::Reset, 5, "ConnectionFailed", texts).await;
}

#[tokio::test]
async fn garbage_for_ever() {
    let texts = &["not that of an API server"];
    check_told(KubernetesFault::Garbage, 5, "BadResponse", texts).await;
}

#[tokio::test]
async fn silence_for_ever() {
    let texts = &["no answer in time", "public access list"];
    check_told(KubernetesFault::Hang, 5, "Timeout", texts).await;
}

#[tokio::test]
async fn what_will_not_change_is_not_tried_again() {
    for (status, code) in [(400, "Refused"), (403, "Forbidden"), (404, "NotFound")] {
        check_told(KubernetesFault::Status(status), 1, code, &[]).await;
    }
}

#[tokio::test]
async fn a_broken_moment_of_a_warm_connection_does_not_need_eks() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    read(&clusters).await;
    sandbox
        .eks()
        .fail(Some(outrigger::sandbox::fault::Fault::Throttled));
    sandbox
        .kubernetes()
        .fail("GET /rollouts/", KubernetesFault::Reset, 1);
    let seen = clusters.read(&worker()).await;
    assert_eq!(seen.unwrap().workload.replicas, 2);
}
