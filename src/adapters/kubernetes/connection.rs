//! One API server: where it is and how to know it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Request;
use http::header::{HeaderValue, USER_AGENT};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use kube::client::Body;
use kube::client::middleware::BaseUriLayer;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tower::Layer as _;
use tower::util::MapRequestLayer;

use super::answer::{self, LargeTurns, MAX_LARGE_OF_CLUSTER};
use super::token::Tokens;
use crate::adapters::aws::{Aws, credentials_hint, describe};
use crate::policy::Identity;
use crate::ports::Fault;
use crate::settings::{Cluster, ClusterAddress};

/// What the API server's audit log shows.
const USER_AGENT_NAME: &str = concat!("outrigger/", env!("CARGO_PKG_VERSION"));

/// Bytes that are read ahead of an answer on each connection. Of large answers many may be under way, and few are read.
const READ_AHEAD_BYTES: usize = 64 << 10;

/// A connection pool to one API server.
pub(super) struct Connection {
    cluster: Cluster,
    client: kube::Client,
    tokens: Arc<Tokens>,
    /// The turns for its large answers.
    large: Semaphore,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("cluster", &self.cluster.name)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Finds the cluster, by `eks:DescribeCluster` unless its address is configured.
    pub(super) async fn open(
        aws: &Aws,
        cluster: &Cluster,
        tokens: Arc<Tokens>,
    ) -> Result<Self, Fault> {
        let address = match &cluster.address {
            Some(address) => address.clone(),
            None => describe_cluster(aws, cluster).await?,
        };
        let client = client(cluster, &address)?;
        Ok(Self {
            cluster: cluster.clone(),
            client,
            tokens,
            large: Semaphore::new(MAX_LARGE_OF_CLUSTER),
        })
    }

    /// Sends a request. `large` are the turns for the large answers of all clusters.
    pub(super) async fn request<T: DeserializeOwned>(
        &self,
        request: Request<Vec<u8>>,
        large: &Semaphore,
    ) -> Result<T, kube::Error> {
        let turns = LargeTurns {
            of_cluster: &self.large,
            of_all: large,
        };
        answer::request(&self.client, request, turns).await
    }

    /// The tokens for it.
    pub(super) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The cluster that it leads to.
    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

/// Who the cluster is spoken to as.
pub(super) fn identity(cluster: &Cluster) -> Identity {
    match &cluster.role_arn {
        None => Identity::Function,
        Some(arn) => Identity::Role {
            arn: arn.clone(),
            external_id: None,
        },
    }
}

async fn describe_cluster(aws: &Aws, cluster: &Cluster) -> Result<ClusterAddress, Fault> {
    let Cluster { name, region, .. } = cluster;
    let identity = identity(cluster);
    let config = aws.config(&identity, region).await;
    let answer = aws_sdk_eks::Client::new(&config)
        .describe_cluster()
        .name(name)
        .send()
        .await;
    let answer = answer.map_err(|error| {
        let (code, message) = describe(&error);
        let hint = match code.as_str() {
            "ResourceNotFoundException" => format!("check the name and the region: aws eks list-clusters --region {region}"),
            "AccessDeniedException" | "AccessDenied" => "allow eks:DescribeCluster on it to the function's role".to_owned(),
            "NoCredentials" => credentials_hint(&identity).to_owned(),
            "Timeout" | "ConnectionFailed" => "check the way to EKS, or set OUTRIGGER_CLUSTER_ENDPOINT and OUTRIGGER_CLUSTER_CA".to_owned(),
            _ => format!("try: aws eks describe-cluster --name {name} --region {region}"),
        };
        Fault::failed(code, format!("could not describe the cluster `{name}` in {region} (eks:DescribeCluster): {message}; {hint}"))
    })?;
    let cluster = answer.cluster.as_ref();
    let endpoint = cluster.and_then(|cluster| cluster.endpoint());
    let authority = cluster
        .and_then(|cluster| cluster.certificate_authority())
        .and_then(|authority| authority.data());
    if let (Some(endpoint), Some(authority)) = (endpoint, authority) {
        Ok(ClusterAddress {
            endpoint: endpoint.to_owned(),
            certificate_authority: authority.to_owned(),
        })
    } else {
        let status = cluster
            .and_then(|cluster| cluster.status())
            .map_or("unknown", |status| status.as_str());
        let message = format!(
            "the cluster `{name}` in {region} has no endpoint yet, its status is {status}; wait until it is ACTIVE"
        );
        Err(Fault::failed("ClusterNotReady", message))
    }
}

/// A client with our timeouts, without kube's own 15-fold retry. Each request brings its token.
///
/// It is put together here and not by kube from a `Config`, which would bring the kubeconfig's ways to sign in: a YAML parser,
/// `JSONPath` and regular expressions.
fn client(cluster: &Cluster, address: &ClusterAddress) -> Result<kube::Client, Fault> {
    let name = &cluster.name;
    let ClusterAddress {
        endpoint,
        certificate_authority,
    } = address;
    let bad = |message: String| {
        Fault::failed(
            "BadCluster",
            format!("the address of the cluster `{name}` cannot be used: {message}"),
        )
    };
    if !endpoint.starts_with("https://") {
        return Err(bad(format!(
            "found {}, allowed: an https URL, since a token is sent there",
            crate::document::quoted(endpoint)
        )));
    }
    let uri = endpoint
        .parse()
        .map_err(|error| bad(format!("{}: {error}", crate::document::quoted(endpoint))))?;
    let pem = BASE64_STANDARD
        .decode(certificate_authority.trim())
        .map_err(|_| bad("its CA is not base64".to_owned()))?;
    let certificates: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| bad(format!("its CA is not PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(bad("its CA holds no certificate".to_owned()));
    }
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates {
        roots
            .add(certificate)
            .map_err(|error| bad(format!("its CA cannot be trusted: {error}")))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_http1()
        .build();
    let mut connector = TimeoutConnector::new(connector);
    connector.set_connect_timeout(Some(Duration::from_secs(3)));
    connector.set_read_timeout(Some(Duration::from_secs(5)));
    connector.set_write_timeout(Some(Duration::from_secs(5)));
    // Without it the time that a pooled connection lay idle, also frozen, counts against the next read.
    connector.set_reset_reader_on_write(true);
    let service = legacy::Client::builder(TokioExecutor::new())
        .http1_max_buf_size(READ_AHEAD_BYTES)
        .build(connector);
    let address = BaseUriLayer::new(uri);
    let name_us = MapRequestLayer::new(|mut request: Request<Body>| {
        let name = HeaderValue::from_static(USER_AGENT_NAME);
        request.headers_mut().insert(USER_AGENT, name);
        request
    });
    let service = name_us.layer(address.layer(service));
    Ok(kube::Client::new(service, "default"))
}
