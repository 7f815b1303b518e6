//! The way to a cluster: `DescribeCluster`, its address, its role.

use futures_util::future::join_all;
use outrigger::adapters::kubernetes::Clusters;
use outrigger::ports::{Memories as _, Workloads as _};
use outrigger::sandbox::Service;
use outrigger::sandbox::fault::Fault;
use outrigger::settings::Cluster;
use serde_json::json;

use super::{address, aws, aws_at, clusters, demo, failed, namespace, read, worker};
use crate::support::{actions, assert_names, bare, count, sandbox, stub};

#[tokio::test]
async fn the_cluster_is_described_once() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    let seen = join_all((0..20).map(|_| read(&clusters))).await;
    assert!(seen.iter().all(|seen| seen.workload.replicas == 2));
    clusters.begin_invocation().await;
    read(&clusters).await;
    assert_eq!(actions(&sandbox, Service::Eks), ["DescribeCluster demo"]);
}

#[tokio::test]
async fn a_given_address_saves_the_call() {
    let sandbox = sandbox().await;
    let cluster = Cluster {
        address: Some(address(&sandbox)),
        ..demo()
    };
    let clusters = Clusters::new(aws(&sandbox, "EKS").await, vec![cluster]);
    read(&clusters).await;
    assert!(actions(&sandbox, Service::Eks).is_empty());
}

async fn check_fault(fault: Fault, code: &str, hint: &str) {
    let sandbox = sandbox().await;
    sandbox.eks().fail(Some(fault));
    let clusters = clusters(&sandbox).await;
    let (found, message) = failed(clusters.read(&worker()).await);
    assert_eq!(found, code, "{message}");
    assert_names(&message, &["`demo`", "eks:DescribeCluster", hint]);
    assert!(actions(&sandbox, Service::Kubernetes).is_empty());
    sandbox.eks().fail(None);
    // Nobody asks again in this invocation, however many targets there are; the next one does.
    let asked = actions(&sandbox, Service::Eks).len();
    assert_eq!(failed(clusters.read(&worker()).await).0, code);
    assert_eq!(actions(&sandbox, Service::Eks).len(), asked);
    clusters.begin_invocation().await;
    read(&clusters).await;
}

#[tokio::test]
async fn a_cluster_that_is_not_there() {
    let hint = "aws eks list-clusters --region ap-northeast-1";
    check_fault(Fault::NotFound, "ResourceNotFoundException", hint).await;
}

#[tokio::test]
async fn a_description_that_is_denied() {
    let hint = "allow eks:DescribeCluster";
    check_fault(Fault::AccessDenied, "AccessDeniedException", hint).await;
}

#[tokio::test]
async fn a_description_that_fails_otherwise() {
    let hint = "aws eks describe-cluster --name demo";
    check_fault(Fault::Throttled, "ThrottlingException", hint).await;
    check_fault(Fault::ServerError, "ServerException", hint).await;
    check_fault(Fault::Garbage, "BadResponse", hint).await;
}

#[tokio::test]
async fn a_description_that_never_comes() {
    let hint = "OUTRIGGER_CLUSTER_ENDPOINT";
    check_fault(Fault::Reset, "ConnectionFailed", hint).await;
    check_fault(Fault::Hang, "Timeout", hint).await;
}

#[tokio::test]
async fn nobody_describes_clusters() {
    let sandbox = sandbox().await;
    let endpoint = format!("http://127.0.0.1:{}", stub::closed_port());
    let clusters = Clusters::new(aws_at(&sandbox, &endpoint).await, vec![demo()]);
    let (code, message) = failed(clusters.read(&worker()).await);
    assert_eq!(code, "ConnectionFailed", "{message}");
    assert_names(&message, &["`demo`", "OUTRIGGER_CLUSTER_ENDPOINT"]);
}

#[tokio::test]
async fn a_cluster_in_the_making() {
    let sandbox = sandbox().await;
    sandbox.eks().set_cluster(|cluster| {
        cluster["status"] = json!("CREATING");
        cluster.as_object_mut().unwrap().remove("endpoint");
    });
    let (code, message) = failed(clusters(&sandbox).await.read(&worker()).await);
    assert_eq!(code, "ClusterNotReady");
    assert_names(&message, &["`demo`", "CREATING"]);
}

#[tokio::test]
async fn an_address_that_no_token_is_sent_to() {
    let (http, text) = ("http://127.0.0.1:1", "bm90IFBFTQ==");
    for (field, value, wanted) in [
        ("endpoint", json!(http), "https"),
        ("certificateAuthority", json!({"data": "%"}), "base64"),
        ("certificateAuthority", json!({"data": text}), "certificate"),
    ] {
        let sandbox = sandbox().await;
        sandbox
            .eks()
            .set_cluster(|cluster| cluster[field] = value.clone());
        let (code, message) = failed(clusters(&sandbox).await.read(&worker()).await);
        assert_eq!(code, "BadCluster", "{message}");
        assert_names(&message, &["`demo`", wanted]);
    }
}

#[tokio::test]
async fn a_cluster_that_moved_is_described_again_once() {
    let sandbox = sandbox().await;
    let right = address(&sandbox);
    let dead = format!("https://127.0.0.1:{}", stub::closed_port());
    sandbox
        .eks()
        .set_cluster(|cluster| cluster["endpoint"] = json!(dead));
    let clusters = clusters(&sandbox).await;
    let (code, message) = failed(clusters.read(&worker()).await);
    assert_eq!(code, "ConnectionFailed", "{message}");
    assert_names(&message, &["Rollout `default/worker`", "443"]);
    assert_eq!(count(&sandbox, "DescribeCluster"), 2);

    sandbox.clear_requests();
    sandbox
        .eks()
        .set_cluster(|cluster| cluster["endpoint"] = json!(right.endpoint));
    clusters.begin_invocation().await;
    let namespace = namespace();
    let (seen, keys, again) =
        tokio::join!(read(&clusters), clusters.load(&namespace), read(&clusters));
    assert_eq!((seen.workload.replicas, seen), (2, again));
    assert!(keys.unwrap().contains_key("about"));
    assert_eq!(count(&sandbox, "DescribeCluster"), 1);
}

#[tokio::test]
async fn a_new_authority_is_described_again_once() {
    let sandbox = sandbox().await;
    let other = bare(outrigger::sandbox::SandboxOptions::default()).await;
    let (right, wrong) = (address(&sandbox), address(&other));
    let set = |authority: &str| {
        let authority = json!({"data": authority});
        sandbox
            .eks()
            .set_cluster(|cluster| cluster["certificateAuthority"] = authority);
    };
    set(&wrong.certificate_authority);
    let clusters = clusters(&sandbox).await;
    let (code, message) = failed(clusters.read(&worker()).await);
    assert_eq!(code, "ConnectionFailed", "{message}");
    assert!(message.to_lowercase().contains("certificate"), "{message}");
    assert_names(&message, &["OUTRIGGER_CLUSTER_CA"]);
    assert!(actions(&sandbox, Service::Kubernetes).is_empty());

    sandbox.clear_requests();
    set(&right.certificate_authority);
    clusters.begin_invocation().await;
    read(&clusters).await;
    assert_eq!(count(&sandbox, "DescribeCluster"), 1);
}

const HUB: &str = "arn:aws:iam::123456789012:role/hub";

async fn through_role(sandbox: &outrigger::sandbox::Sandbox) -> Clusters {
    let cluster = Cluster {
        role_arn: Some(HUB.to_owned()),
        address: Some(address(sandbox)),
        ..demo()
    };
    Clusters::new(aws(sandbox, "STS").await, vec![cluster])
}

#[tokio::test]
async fn a_role_is_assumed_for_a_cluster() {
    let sandbox = sandbox().await;
    sandbox.sts().allow_role(HUB, None);
    sandbox.kubernetes().map_role(HUB, &["outrigger"]);
    let clusters = through_role(&sandbox).await;
    for _ in 0..3 {
        clusters.begin_invocation().await;
        read(&clusters).await;
    }
    assert_eq!(count(&sandbox, "AssumeRole"), 1);

    // Credentials that are no longer taken are not kept.
    sandbox.expire_credentials();
    let (code, message) = failed(clusters.read(&worker()).await);
    assert_eq!(code, "NoCredentials", "{message}");
    assert_eq!(count(&sandbox, "AssumeRole"), 2);
}

#[tokio::test]
async fn a_cluster_that_refuses_tokens_costs_the_other_none_of_its_credentials() {
    const OTHER: &str = "arn:aws:iam::123456789012:role/other";
    let sandbox = sandbox().await;
    for role in [HUB, OTHER] {
        sandbox.sts().allow_role(role, None);
    }
    sandbox.kubernetes().map_role(HUB, &["outrigger"]);
    let cluster = |name: &str, role: &str| Cluster {
        name: name.to_owned(),
        role_arn: Some(role.to_owned()),
        address: Some(address(&sandbox)),
        ..demo()
    };
    let known = vec![cluster("demo", HUB), cluster("other", OTHER)];
    let clusters = Clusters::new(aws(&sandbox, "STS").await, known);
    let mut elsewhere = worker();
    elsewhere.namespace.cluster = "other".to_owned();
    for invocation in 1..4 {
        clusters.begin_invocation().await;
        sandbox.clear_requests();
        for _ in 0..10 {
            let (code, message) = failed(clusters.read(&elsewhere).await);
            assert_eq!(code, "Unauthorized", "{message}");
            read(&clusters).await;
        }
        // The first time one for each cluster and one more for the second token, then one for the second token.
        let expected = if invocation == 1 { 3 } else { 1 };
        assert_eq!(count(&sandbox, "AssumeRole"), expected, "{invocation}");
        let reads = actions(&sandbox, Service::Kubernetes).len();
        assert_eq!(reads, 10 + 2, "{invocation}");
    }
}

#[tokio::test]
async fn a_role_that_may_not_be_assumed_for_a_cluster() {
    let sandbox = sandbox().await;
    let (code, message) = failed(through_role(&sandbox).await.read(&worker()).await);
    assert_eq!(code, "NoCredentials", "{message}");
    assert_names(&message, &[HUB, "trust policy"]);
    assert!(actions(&sandbox, Service::Kubernetes).is_empty());
}

#[tokio::test]
async fn a_cluster_that_is_not_configured() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    let mut place = worker();
    place.namespace.cluster = "other".to_owned();
    let (code, message) = failed(clusters.read(&place).await);
    assert_eq!(code, "UnknownCluster");
    assert_names(&message, &["`other`", "demo"]);
}
