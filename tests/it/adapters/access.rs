//! Who is let in, and what they may.

use outrigger::ports::{Memories as _, Scaler as _, Workloads as _};
use outrigger::sandbox::authenticator::Refusal;
use outrigger::sandbox::kubernetes::KubernetesFault;
use outrigger::sandbox::{SandboxOptions, Service};

use super::{change, clusters, failed, namespace, read, store, worker};
use crate::support::{SCALE, actions, assert_names, bare, count, furnish, sandbox, until};

/// The role of the sandbox's own credentials.
const ROLE: &str = "arn:aws:iam::123456789012:role/outrigger";

#[tokio::test]
async fn one_token_serves_an_invocation() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    for _ in 0..3 {
        read(&clusters).await;
        clusters.load(&namespace()).await.unwrap();
    }
    assert_eq!(actions(&sandbox, Service::Sts), ["GetCallerIdentity"]);

    // A token is dated to the second, and the next invocation's is another one.
    let second = || outrigger::clock::wall_now().as_second();
    let last = second();
    until("the next second", || second() > last).await;
    clusters.begin_invocation().await;
    read(&clusters).await;
    assert_eq!(count(&sandbox, "GetCallerIdentity"), 2);
}

#[tokio::test]
async fn forgotten_logins_cost_nothing() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    read(&clusters).await;
    sandbox.kubernetes().forget_logins();
    read(&clusters).await;
    assert_eq!(count(&sandbox, "GET /apis/"), 2);
}

#[tokio::test]
async fn a_single_401_is_answered_with_another_token() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    let seen = read(&clusters).await;
    let refused = KubernetesFault::Status(401);
    sandbox.kubernetes().fail("PATCH /scale", refused, 1);
    let changed = clusters.scale(&worker(), &change(&seen, 7)).await;
    assert_eq!(changed, Ok(()));
    assert_eq!(count(&sandbox, SCALE), 2);
    let written = sandbox.kubernetes().scale_writes("default", "worker");
    assert_eq!(written, [(2, 7)]);
}

#[tokio::test]
async fn a_second_token_that_was_taken_closes_no_cluster() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    let refused = KubernetesFault::Status(401);
    sandbox.kubernetes().fail("GET /rollouts/", refused, 1);
    read(&clusters).await;
    // One server of several that does not know us fails what it is asked.
    for _ in 0..2 {
        sandbox.kubernetes().fail("GET /rollouts/", refused, 1);
        let (code, _) = failed(clusters.read(&worker()).await);
        assert_eq!(code, "Unauthorized");
        read(&clusters).await;
    }
}

#[tokio::test]
async fn without_an_access_entry_two_requests_are_enough() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    read(&clusters).await;
    sandbox.clear_requests();
    sandbox.kubernetes().unmap_role(ROLE);
    let (code, message) = failed(clusters.read(&worker()).await);
    assert_eq!(code, "Unauthorized");
    assert_names(
        &message,
        &[
            "401",
            "access entry",
            "aws eks list-access-entries --cluster-name demo",
            "clock",
        ],
    );
    assert_eq!(actions(&sandbox, Service::Kubernetes).len(), 2);
    let refusal = sandbox.kubernetes().last_auth_failure();
    assert_eq!(refusal, Some(Refusal::NotMapped(ROLE.to_owned())));

    // It is known until the invocation ends, and told each call in its own words.
    let (code, loaded) = failed(clusters.load(&namespace()).await);
    assert_eq!(code, "Unauthorized");
    assert_names(&loaded, &["ConfigMap", "401", "access entry"]);
    assert_eq!(failed(clusters.read(&worker()).await).1, message);
    assert_eq!(actions(&sandbox, Service::Kubernetes).len(), 2);
    sandbox.kubernetes().map_role(ROLE, &["outrigger"]);
    clusters.begin_invocation().await;
    read(&clusters).await;
}

#[tokio::test]
async fn credentials_that_expire_under_way_are_a_401() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    read(&clusters).await;
    sandbox.expire_credentials();
    let (code, message) = failed(clusters.read(&worker()).await);
    assert_eq!(code, "Unauthorized", "{message}");
}

#[tokio::test]
async fn a_token_for_another_cluster_is_a_401() {
    let sandbox = bare(SandboxOptions {
        cluster: "other".to_owned(),
        ..SandboxOptions::default()
    })
    .await;
    furnish(&sandbox);
    let cluster = outrigger::settings::Cluster {
        address: Some(super::address(&sandbox)),
        ..super::demo()
    };
    let clusters = outrigger::adapters::kubernetes::Clusters::new(
        super::aws(&sandbox, "EKS").await,
        vec![cluster],
    );
    let (code, message) = failed(clusters.read(&worker()).await);
    assert_eq!(code, "Unauthorized");
    assert_names(&message, &["cluster's name"]);
    let refusal = sandbox.kubernetes().last_auth_failure();
    assert!(
        matches!(refusal, Some(Refusal::Sts { status: 403, .. })),
        "{refusal:?}"
    );
}

#[tokio::test]
async fn a_missing_right_is_told_at_once() {
    let sandbox = bare(SandboxOptions {
        rbac: "kind: Role\nrules: []".to_owned(),
        ..SandboxOptions::default()
    })
    .await;
    furnish(&sandbox);
    let clusters = clusters(&sandbox).await;
    let uid = "unknown".to_owned();
    let change = outrigger::ports::Change {
        uid,
        from: 2,
        to: 7,
    };
    let read = failed(clusters.read(&worker()).await);
    let scaled = failed(clusters.scale(&worker(), &change).await);
    let loaded = failed(clusters.load(&namespace()).await);
    let stored = store(&clusters, None, "new");
    let stored = failed(stored.await);
    for ((code, message), verb, resource) in [
        (read, "get", "rollouts.argoproj.io"),
        (scaled, "patch", "rollouts/scale"),
        (loaded, "get", "configmaps"),
        (stored, "patch", "configmaps"),
    ] {
        assert_eq!(code, "Forbidden");
        let apply = "kubectl apply -k infra/kubernetes";
        assert_names(
            &message,
            &["403", verb, resource, "RoleBinding", "`outrigger`", apply],
        );
    }
    assert_eq!(actions(&sandbox, Service::Kubernetes).len(), 4);
    assert_eq!(actions(&sandbox, Service::Sts).len(), 1);
}

#[tokio::test]
async fn a_role_without_the_group_has_no_right() {
    let sandbox = sandbox().await;
    sandbox.kubernetes().map_role(ROLE, &["somebody-else"]);
    let (code, message) = failed(clusters(&sandbox).await.read(&worker()).await);
    assert_eq!(code, "Forbidden");
    assert_names(&message, &["group `outrigger`"]);
}
