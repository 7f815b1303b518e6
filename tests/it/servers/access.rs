//! The whole way in: `DescribeCluster`, a token, the authenticator, STS, RBAC, and a count that changed.

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
    token(keys, REGION, Duration::ZERO)
}

fn token(keys: &SessionKeys, region: &str, age: Duration) -> String {
    let SessionKeys {
        access_key,
        secret,
        token,
        ..
    } = keys.clone();
    let credentials = Credentials::new(access_key, secret, Some(token), None, "test");
    let minted = outrigger::clock::wall_now() - age;
    let token = mint(&credentials, region, CLUSTER, minted).unwrap();
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

/// What is changed in the URL of a good token, and what that makes of it.
const WRONG_URLS: [(&str, &str, &str); 15] = [
    ("http", "https://", "http://"),
    ("with a port", ".com/", ".com:443/"),
    ("of another host", "amazonaws.com/", "example.com/"),
    (
        "of another partition",
        "amazonaws.com/",
        "amazonaws.com.cn/",
    ),
    ("of another path", ".com/?", ".com/a?"),
    ("without a path", ".com/?", ".com?"),
    ("of another action", "GetCallerIdentity", "AssumeRole"),
    ("with more parameters", "?", "?Foo=bar&"),
    (
        "with one parameter twice",
        "?",
        "?action=GetCallerIdentity&",
    ),
    ("with a semicolon", "?", "?;"),
    ("with a bad escape", "?", "?%gh"),
    ("good for long", "Expires=60", "Expires=901"),
    ("good for less than nothing", "Expires=60", "Expires=-1"),
    ("good for no number", "Expires=60", "Expires=abc"),
    ("without the cluster's header", "%3Bx-k8s-aws-id", ""),
];

/// Tokens, right and wrong, and whether they let somebody in.
fn tokens(keys: &SessionKeys) -> Vec<(&'static str, String, bool)> {
    let minutes_old = |age| token(keys, REGION, Duration::from_mins(age));
    let good = minutes_old(0);
    let mut tokens = vec![
        ("fresh", good.clone(), true),
        (
            "of another region",
            token(keys, "eu-west-1", Duration::ZERO),
            true,
        ),
        ("14 minutes old", minutes_old(14), true),
        ("16 minutes old", minutes_old(16), false),
        (
            "of another version",
            good.replace("aws-v1", "aws-v2"),
            false,
        ),
        ("padded", format!("{good}="), false),
        ("too large", format!("{good}{}", "A".repeat(4096)), false),
        ("with no URL", "k8s-aws-v1.bm9uZQ".to_owned(), false),
    ];
    let url = decode(good.strip_prefix("k8s-aws-v1.").unwrap());
    for (what, from, to) in WRONG_URLS {
        assert!(url.contains(from), "{what}: {url}");
        let token = format!("k8s-aws-v1.{}", encode(&url.replacen(from, to, 1)));
        tokens.push((what, token, false));
    }
    tokens
}

/// The same tokens, to the authenticator of EKS and to ours: whoever lets one in must be right.
#[tokio::test]
async fn the_sandbox_checks_a_token_as_the_authenticator_does() {
    let Some(world) = world() else { return };
    let lab = Lab::new(world).await;
    for (what, token, lets_in) in tokens(&lab.keys) {
        let status = status_of(world, &lab, &token).await;
        let expected = if lets_in { 200 } else { 401 };
        assert_eq!(
            status,
            expected,
            "a token {what}: {:?}",
            world.gateway.said(&lab.keys.access_key)
        );
        let ours = authenticator::check(&token, REGION, outrigger::clock::wall_now());
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
