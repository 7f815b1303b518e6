//! The endpoints over real sockets.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use super::signature::testing::Signed;
use super::*;

/// One request on a connection of its own: status, head and body of the answer; status 0 where there is none.
pub(super) async fn exchange(address: SocketAddr, request: &str) -> (u16, String, String) {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut rest = request.as_bytes();
    while !rest.is_empty() {
        stream.writable().await.unwrap();
        if let Ok(written) = stream.try_write(rest) {
            rest = &rest[written..];
        }
    }
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        stream.readable().await.unwrap();
        match stream.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    parse(&answer)
}

fn parse(answer: &[u8]) -> (u16, String, String) {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.unwrap_or(0), format!("{head}\r\n"), body.to_owned())
}

/// A blocking TLS request, as far from the adapters' client as can be.
async fn secure(
    sandbox: &Sandbox,
    token: &str,
    method: &str,
    path: &str,
    kind: &str,
    body: &str,
) -> (u16, String) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let address = field(sandbox, "server: https://");
    let authority = STANDARD
        .decode(field(sandbox, "certificate-authority-data: "))
        .unwrap();
    let exchange = move || -> io::Result<Vec<u8>> {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        use std::io::{Read, Write};
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(&authority).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut socket = std::net::TcpStream::connect(address)?;
        let mut stream = rustls::Stream::new(&mut session, &mut socket);
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
            _ => Ok(answer),
        }
    };
    let answer = tokio::task::spawn_blocking(exchange).await.unwrap();
    let (status, _, body) = parse(&answer.unwrap_or_default());
    (status, body)
}

fn field(sandbox: &Sandbox, name: &str) -> String {
    let kubeconfig = sandbox.kubeconfig();
    let found = kubeconfig
        .lines()
        .find_map(|line| line.trim().strip_prefix(name));
    found.unwrap().trim_matches('"').to_owned()
}

async fn started() -> Sandbox {
    Sandbox::start(SandboxOptions::default()).await.unwrap()
}

/// A presigned query with the sandbox's own credentials, for a cluster.
fn token(sandbox: &Sandbox, cluster: &str) -> String {
    let environment = sandbox.environment();
    let mut signed = Signed::get("sts", "/?Action=GetCallerIdentity&Version=2011-06-15");
    signed.at = now();
    signed
        .credential
        .access_key
        .clone_from(&environment["AWS_ACCESS_KEY_ID"]);
    signed
        .credential
        .secret
        .clone_from(&environment["AWS_SECRET_ACCESS_KEY"]);
    signed
        .credential
        .token
        .clone_from(&environment["AWS_SESSION_TOKEN"]);
    let host = "sts.ap-northeast-1.amazonaws.com";
    signed.headers = vec![("host", host.to_owned())];
    let target = signed.header("x-k8s-aws-id", cluster).presigned_target();
    let url = URL_SAFE_NO_PAD.encode(format!("https://{host}{target}"));
    format!("k8s-aws-v1.{url}")
}

const WORKER: &str = "/apis/argoproj.io/v1alpha1/namespaces/default/rollouts/worker";

#[tokio::test]
async fn a_token_opens_what_the_role_allows() {
    let sandbox = started().await;
    sandbox
        .kubernetes()
        .create_rollout("default", "worker", Some(2));
    let token = token(&sandbox, "demo");
    let scale = format!("{WORKER}/scale");
    let patch = r#"[{"op":"test","path":"/spec/replicas","value":2},{"op":"replace","path":"/spec/replicas","value":5}]"#;
    let json_patch = "application/json-patch+json";

    assert_eq!(secure(&sandbox, &token, "GET", WORKER, "", "").await.0, 200);
    assert_eq!(
        secure(&sandbox, &token, "PATCH", &scale, json_patch, patch)
            .await
            .0,
        200
    );
    assert_eq!(
        secure(&sandbox, &token, "PATCH", &scale, json_patch, patch)
            .await
            .0,
        422
    );
    let (status, body) = secure(&sandbox, &token, "PATCH", WORKER, json_patch, patch).await;
    assert_eq!(status, 403);
    let user = "arn:aws:sts::123456789012:assumed-role/outrigger/outrigger";
    let message = format!(
        r#"rollouts.argoproj.io \"worker\" is forbidden: User \"{user}\" cannot patch resource \"rollouts\" in API group \"argoproj.io\" in the namespace \"default\""#
    );
    assert!(body.contains(&message), "{body}");

    assert_eq!(sandbox.kubernetes().replicas("default", "worker"), Some(5));
    assert_eq!(
        sandbox.kubernetes().scale_writes("default", "worker"),
        [(2, 5)]
    );
    let actions: Vec<String> = sandbox
        .requests()
        .iter()
        .map(|request| {
            format!(
                "{:?} {} {}",
                request.service, request.action, request.status
            )
        })
        .collect();
    let expected = [
        "Sts GetCallerIdentity 200".to_owned(),
        format!("Kubernetes GET {WORKER} 200"),
        format!("Kubernetes PATCH {scale} 200"),
        format!("Kubernetes PATCH {scale} 422"),
        format!("Kubernetes PATCH {WORKER} 403"),
    ];
    assert_eq!(actions, expected);
}

#[tokio::test]
async fn tokens_for_others_do_not_open_anything() {
    let sandbox = started().await;
    let get = async |token: &str| secure(&sandbox, token, "GET", WORKER, "", "").await.0;
    let failure = || sandbox.kubernetes().last_auth_failure().unwrap();

    assert_eq!(get(&token(&sandbox, "other")).await, 401);
    assert!(
        failure().to_string().contains("SignatureDoesNotMatch"),
        "{}",
        failure()
    );
    assert_eq!(get("nonsense").await, 401);
    assert_eq!(failure(), authenticator::Refusal::Prefix);

    let good = token(&sandbox, "demo");
    assert_eq!(get(&good).await, 404);
    let role = "arn:aws:iam::123456789012:role/outrigger";
    sandbox.kubernetes().unmap_role(role);
    assert_eq!(get(&good).await, 401);
    assert_eq!(
        failure(),
        authenticator::Refusal::NotMapped(role.to_owned())
    );

    sandbox.kubernetes().map_role(role, &["outrigger"]);
    sandbox.expire_credentials();
    assert_eq!(get(&good).await, 401);
    assert!(
        failure().to_string().contains("ExpiredToken"),
        "{}",
        failure()
    );
}

#[tokio::test]
async fn the_administrator_needs_no_role() {
    let sandbox = started().await;
    sandbox
        .kubernetes()
        .create_deployment("elsewhere", "web", 1);
    let token = field(&sandbox, "token: ");
    let path = "/apis/apps/v1/namespaces/elsewhere/deployments/web/scale";
    let kind = "application/merge-patch+json";
    let (status, body) = secure(
        &sandbox,
        &token,
        "PATCH",
        path,
        kind,
        r#"{"spec":{"replicas":3}}"#,
    )
    .await;
    assert_eq!(status, 200, "{body}");
    let web = sandbox
        .kubernetes()
        .get("deployments", "elsewhere", "web")
        .unwrap();
    assert_eq!(web["status"]["readyReplicas"], 3);
}

#[tokio::test]
async fn faults_are_what_they_say_on_the_wire() {
    use kubernetes::KubernetesFault;
    let sandbox = started().await;
    let cluster = sandbox.kubernetes();
    cluster.create_rollout("default", "worker", Some(2));
    let token = field(&sandbox, "token: ");
    let scale = format!("{WORKER}/scale");
    let kind = "application/merge-patch+json";
    let write = async |replicas: u32| {
        let body = format!(r#"{{"spec":{{"replicas":{replicas}}}}}"#);
        secure(&sandbox, &token, "PATCH", &scale, kind, &body)
            .await
            .0
    };
    cluster.fail("PATCH /worker/scale", KubernetesFault::ApplyThenReset, 1);
    assert_eq!(write(3).await, 0);
    assert_eq!(cluster.replicas("default", "worker"), Some(3));
    cluster.fail("/worker", KubernetesFault::Reset, 1);
    assert_eq!(write(4).await, 0);
    assert_eq!(cluster.replicas("default", "worker"), Some(3));
    cluster.fail("GET /worker", KubernetesFault::Status(503), 1);
    cluster.fail("PATCH", KubernetesFault::Status(429), 1);
    assert_eq!(
        write(4).await,
        200,
        "a matcher without a path part is a path part"
    );
    cluster.clear_faults();
    cluster.fail("PATCH /", KubernetesFault::Status(429), 1);
    assert_eq!(write(5).await, 429);
    assert_eq!(write(5).await, 200);
    let statuses: Vec<u16> = sandbox
        .requests()
        .iter()
        .map(|request| request.status)
        .collect();
    assert_eq!(statuses, [0, 0, 200, 429, 200]);
}

#[tokio::test]
async fn a_reset_is_a_reset_and_dropping_ends_everything() {
    let sandbox = started().await;
    let environment = sandbox.environment();
    let address = environment["AWS_ENDPOINT_URL_EKS"]
        .strip_prefix("http://")
        .unwrap();
    let address: SocketAddr = address.parse().unwrap();
    let request = "GET /clusters HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert_eq!(exchange(address, request).await.0, 403);
    drop(sandbox);
    tokio::task::yield_now().await;
    assert!(TcpStream::connect(address).await.is_err());
}
