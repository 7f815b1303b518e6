//! The whole way in: DescribeCluster, a token, the authenticator, STS, RBAC, and a count that changed.

use std::time::Duration;

use aws_credential_types::Credentials;
use outrigger::adapters::eks_token::mint;
use outrigger::sandbox::{SessionKeys, authenticator};
use serde_json::json;

use super::lab::Lab;
use super::world::{CLUSTER, GUEST, STRANGER, World, world};
use crate::support::assert_names;

const REGION: &str = "ap-northeast-1";

#[tokio::test]
async fn a_rollout_is_scaled_and_remembered() {
    let Some(world) = world() else { return };
    let lab = Lab::new(world).await;
    let function = lab.function().await;
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "scaled", "{answer}");
    assert_eq!(lab.replicas().await, Some(7));
    let remembered = lab.remembered().await.expect("nothing remembered");
    assert_eq!(remembered["v"], 1, "{remembered}");
    let worker = lab.worker().await;
    let managers = worker["metadata"]["managedFields"].as_array().unwrap();
    let ours = managers
        .iter()
        .find(|entry| entry["manager"] == "outrigger");
    let ours = ours.expect("no field manager");
    assert_eq!(ours["subresource"], "scale");
    assert_eq!(ours["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(world.gateway.said(&lab.keys.access_key).unwrap().0, 200);
}

#[tokio::test]
async fn a_steady_target_is_not_written() {
    let Some(world) = world() else { return };
    let lab = Lab::new(world).await;
    let function = lab.function().await;
    function.answer("{}").await;
    // The pass that sees the new count remembers it.
    function.answer("{}").await;
    let version = async || {
        let memory = lab.admin.get(&lab.memory_path()).await.good();
        let worker = lab.worker().await;
        [worker, memory].map(|object| object["metadata"]["resourceVersion"].clone())
    };
    let (before, requests) = (version().await, lab.requests().len());
    for _ in 0..3 {
        let answer = function.answer("{}").await;
        assert_eq!(answer["targets"][0]["effect"], "held", "{answer}");
    }
    assert_eq!(version().await, before);
    let requests = lab.requests().split_off(requests);
    let read_only = |(verb, _, status): &(String, String, u64)| verb != "patch" && *status == 200;
    assert!(requests.iter().all(read_only), "{requests:?}");
}

#[tokio::test]
async fn to_zero_and_back() {
    let Some(world) = world() else { return };
    let lab = Lab::new(world).await;
    lab.set_replicas(0).await;
    let function = lab.function().await;
    function.answer("{}").await;
    assert_eq!(lab.replicas().await, Some(7));
}

/// What the function answers to somebody who is not let in, or may not do this.
async fn refused(lab: &Lab, keys: &SessionKeys, environment: &[(&str, &str)]) -> String {
    let function = lab.function_of(keys, environment).await;
    let (kind, message) = function.error("{}").await;
    assert_eq!(kind, "Outrigger.TargetsFailed");
    assert_eq!(lab.replicas().await, Some(2));
    let output = function.output();
    for secret in [&keys.secret, &keys.token, "k8s-aws-v1."] {
        assert!(!output.contains(secret), "{output}");
    }
    message
}

#[tokio::test]
async fn a_role_without_an_access_entry_is_not_known() {
    let Some(world) = world() else { return };
    let lab = Lab::new(world).await;
    let keys = world.sts.assume_role(STRANGER);
    lab.sandbox.admit(&keys);
    let message = refused(&lab, &keys, &[]).await;
    let hint = "aws eks list-access-entries --cluster-name demo";
    assert_names(&message, &["401", "access entry", hint, "clock"]);
    // STS knew who it was; the cluster did not.
    assert_eq!(world.gateway.said(&keys.access_key).unwrap().0, 200);
}

#[tokio::test]
async fn a_role_of_another_group_has_no_right() {
    let Some(world) = world() else { return };
    let lab = Lab::new(world).await;
    let keys = world.sts.assume_role(GUEST);
    lab.sandbox.admit(&keys);
    let message = refused(&lab, &keys, &[]).await;
    assert_names(&message, &["403", "RoleBinding", "group `outrigger`"]);
    assert_names(&message, &["assumed-role/guest/outrigger"]);
}

#[tokio::test]
async fn a_token_for_another_cluster_is_refused_by_sts() {
    let Some(world) = world() else { return };
    let lab = Lab::new(world).await;
    let address = world.address();
    let environment = [
        ("OUTRIGGER_CLUSTERS", "another"),
        ("OUTRIGGER_CLUSTER_ENDPOINT", address.endpoint.as_str()),
        (
            "OUTRIGGER_CLUSTER_CA",
            address.certificate_authority.as_str(),
        ),
    ];
    let message = refused(&lab, &lab.keys, &environment).await;
    assert_names(&message, &["401", "the cluster's name and region"]);
    let (status, said) = world.gateway.said(&lab.keys.access_key).unwrap();
    assert_eq!(status, 403);
    assert_names(&said, &["SignatureDoesNotMatch"]);
}

#[tokio::test]
async fn a_session_that_sts_does_not_know_is_a_401() {
    let Some(world) = world() else { return };
    let lab = Lab::new(world).await;
    let keys = SessionKeys {
        token: format!("{}-another", lab.keys.token),
        ..lab.keys.clone()
    };
    // SQS and EKS are ours and take it, so that only the cluster can refuse.
    lab.sandbox.admit(&keys);
    let message = refused(&lab, &keys, &[]).await;
    assert_names(&message, &["401", "access entry"]);
    assert_eq!(world.gateway.said(&keys.access_key).unwrap().0, 403);
}

/// A fresh token of a session.
pub(super) fn bearer(keys: &SessionKeys) -> String {
    let SessionKeys {
        access_key,
        secret,
        token,
        ..
    } = keys.clone();
    let credentials = Credentials::new(access_key, secret, Some(token), None, "test");
    let now = outrigger::clock::wall_now();
    let token = mint(&credentials, REGION, CLUSTER, now).unwrap();
    token.expose().to_owned()
}

/// The status that a bearer token gets for something that the Role allows.
async fn status_of(world: &World, lab: &Lab, token: &str) -> u16 {
    world
        .client(token)
        .get(&lab.rollouts("worker"))
        .await
        .status
}

/// The same tokens, to the authenticator of EKS and to ours: whoever lets one in must be right.
#[tokio::test]
async fn the_sandbox_checks_a_token_as_the_authenticator_does() {
    let Some(world) = world() else { return };
    let lab = Lab::new(world).await;
    let SessionKeys {
        access_key,
        secret,
        token,
        ..
    } = lab.keys.clone();
    let credentials = Credentials::new(access_key, secret, Some(token), None, "test");
    let now = outrigger::clock::wall_now();
    let token = |cluster: &str, region: &str, age: Duration| {
        let token = mint(&credentials, region, cluster, now - age).unwrap();
        token.expose().to_owned()
    };
    let url = |change: &dyn Fn(&str) -> String| {
        let good = token(CLUSTER, REGION, Duration::ZERO);
        let decoded = decode(good.strip_prefix("k8s-aws-v1.").unwrap());
        format!("k8s-aws-v1.{}", encode(&change(&decoded)))
    };
    let good = token(CLUSTER, REGION, Duration::ZERO);
    for (what, token, lets_in) in [
        ("fresh", good.clone(), true),
        (
            "of another region",
            token(CLUSTER, "eu-west-1", Duration::ZERO),
            true,
        ),
        (
            "14 minutes old",
            token(CLUSTER, REGION, Duration::from_mins(14)),
            true,
        ),
        (
            "16 minutes old",
            token(CLUSTER, REGION, Duration::from_mins(16)),
            false,
        ),
        (
            "of another version",
            good.replace("aws-v1", "aws-v2"),
            false,
        ),
        ("padded", format!("{good}="), false),
        ("too large", format!("{good}{}", "A".repeat(4096)), false),
        ("no URL", "k8s-aws-v1.bm9uZQ".to_owned(), false),
        (
            "http",
            url(&|url| url.replace("https://", "http://")),
            false,
        ),
        (
            "with a port",
            url(&|url| url.replace(".com/", ".com:443/")),
            false,
        ),
        (
            "of another host",
            url(&|url| url.replace("amazonaws.com/", "example.com/")),
            false,
        ),
        (
            "of another partition",
            url(&|url| url.replace("amazonaws.com/", "amazonaws.com.cn/")),
            false,
        ),
        (
            "of another path",
            url(&|url| url.replace(".com/?", ".com/a?")),
            false,
        ),
        (
            "without a path",
            url(&|url| url.replace(".com/?", ".com?")),
            false,
        ),
        (
            "of another action",
            url(&|url| url.replace("GetCallerIdentity", "AssumeRole")),
            false,
        ),
        (
            "with more parameters",
            url(&|url| format!("{url}&Foo=bar")),
            false,
        ),
        (
            "with one parameter twice",
            url(&|url| format!("{url}&action=GetCallerIdentity")),
            false,
        ),
        ("with a semicolon", url(&|url| format!("{url};")), false),
        ("with a bad escape", url(&|url| format!("{url}%gh")), false),
        (
            "good for long",
            url(&|url| url.replace("Expires=60", "Expires=901")),
            false,
        ),
        (
            "good for no number",
            url(&|url| url.replace("Expires=60", "Expires=abc")),
            false,
        ),
        (
            "without the cluster's header",
            url(&|url| url.replace("%3Bx-k8s-aws-id", "")),
            false,
        ),
    ] {
        let status = status_of(world, &lab, &token).await;
        let expected = if lets_in { 200 } else { 401 };
        assert_eq!(
            status,
            expected,
            "a token {what}: {:?}",
            world.gateway.said(&lab.keys.access_key)
        );
        let ours = authenticator::check(&token, REGION, now);
        assert_eq!(ours.is_ok(), lets_in, "ours, a token {what}: {ours:?}");
    }
    assert_eq!(status_of(world, &lab, "").await, 403, "anonymous");
    assert_eq!(status_of(world, &lab, "nonsense").await, 401);
}

fn decode(text: &str) -> String {
    use base64::Engine as _;
    let bytes = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(text);
    String::from_utf8(bytes.unwrap()).unwrap()
}

fn encode(text: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(text)
}
