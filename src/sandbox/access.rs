//! What a client needs to find the sandbox: environment variables for AWS, a kubeconfig for the cluster.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::signature::Credential;

/// Where the AWS endpoints listen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) sqs: SocketAddr,
    pub(super) cloudwatch: SocketAddr,
    pub(super) sts: SocketAddr,
    pub(super) eks: SocketAddr,
}

/// Where an endpoint is found.
pub(super) fn url(address: SocketAddr, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{address}")
}

/// What an AWS SDK reads. All endpoints but that of STS speak TLS, or none does.
pub(super) fn environment(
    region: &str,
    credential: &Credential,
    addresses: Addresses,
    tls: bool,
) -> BTreeMap<String, String> {
    let Addresses {
        sqs,
        cloudwatch,
        sts,
        eks,
    } = addresses;
    let endpoint = |address| url(address, tls);
    [
        ("AWS_REGION", region.to_owned()),
        // What the AWS CLI reads, and a function has it, too.
        ("AWS_DEFAULT_REGION", region.to_owned()),
        ("AWS_ACCESS_KEY_ID", credential.access_key.clone()),
        ("AWS_SECRET_ACCESS_KEY", credential.secret.clone()),
        ("AWS_SESSION_TOKEN", credential.token.clone()),
        ("AWS_ENDPOINT_URL_SQS", endpoint(sqs)),
        ("AWS_ENDPOINT_URL_CLOUDWATCH", endpoint(cloudwatch)),
        ("AWS_ENDPOINT_URL_STS", url(sts, false)),
        ("AWS_ENDPOINT_URL_EKS", endpoint(eks)),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// What a kubeconfig needs besides the environment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection<'a> {
    pub(super) endpoint: &'a str,
    pub(super) authority_pem: &'a str,
    pub(super) cluster: &'a str,
    pub(super) region: &'a str,
    pub(super) admin_token: &'a str,
}

/// JSON strings are YAML strings, so every value is quoted by `serde_json`.
pub(super) fn kubeconfig(
    connection: Connection<'_>,
    environment: &BTreeMap<String, String>,
) -> String {
    let Connection {
        endpoint,
        authority_pem,
        cluster,
        region,
        admin_token,
    } = connection;
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let variable = |(name, value): (&String, &String)| {
        format!("      - {{name: {name}, value: {}}}\n", quoted(value))
    };
    let variables = environment
        .iter()
        .map(variable)
        .collect::<Vec<String>>()
        .concat();
    format!(
        "apiVersion: v1
kind: Config
current-context: outrigger
clusters:
- name: sandbox
  cluster:
    server: {endpoint}
    certificate-authority-data: {authority}
contexts:
- name: outrigger
  context: {{cluster: sandbox, user: outrigger}}
- name: admin
  context: {{cluster: sandbox, user: admin}}
users:
- name: outrigger
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      interactiveMode: Never
      command: outrigger
      args: [token, --cluster, {cluster}, --region, {region}]
      env:
{variables}- name: admin
  user:
    token: {admin}
",
        authority = STANDARD.encode(authority_pem),
        cluster = quoted(cluster),
        region = quoted(region),
        admin = quoted(admin_token),
    )
}
