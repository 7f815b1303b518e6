//! Local SQS, CloudWatch, STS, EKS, Kubernetes and Lambda Runtime endpoints.
//!
//! `outrigger demo`, the tests and the benchmarks run the real function against them. They check what a careless double
//! would wave through: every AWS signature, every rule of the EKS authenticator, the shipped RBAC, and the preconditions
//! of every patch. They share no code with the adapters, so that a mistake there cannot cancel itself out here.
//!
//! Everything is in memory and listens on 127.0.0.1 only; nothing outlives the [`Sandbox`].

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use jiff::Timestamp;
use tokio::net::TcpListener;

use access::Connection;
use certificate::Certificate;
use eks::{Cluster, Eks};
use kubernetes::{Kubernetes, Setup};
use metrics::Metrics;
use queues::Queues;
use server::{Handshakes, Reply, Running, Secured};
use signature::{Credential, Credentials, Identity};
use sts::Sts;

mod access;
pub mod authenticator;
mod certificate;
mod cloudwatch;
pub mod eks;
mod encoding;
pub mod fault;
pub mod kubernetes;
pub mod limit;
pub mod metrics;
mod partition;
pub mod queues;
pub mod runtime_api;
mod server;
mod signature;
mod sqs;
pub mod sts;

/// The role that the sandbox's own credentials belong to, and its session.
const ROLE: &str = "outrigger";

/// How long the sandbox's own credentials live: longer than any demo or test.
const CREDENTIAL_LIFE: Duration = Duration::from_hours(12);

/// What a sandbox is made of.
#[derive(Clone, Debug)]
pub struct SandboxOptions {
    /// The one AWS region.
    pub region: String,
    /// The account, 12 digits.
    pub account: String,
    /// The name of the EKS cluster.
    pub cluster: String,
    /// The namespaces in which the Role is bound to group `outrigger`.
    pub namespaces: Vec<String>,
    /// Added to every answer.
    pub latency: Duration,
    /// Whether SQS, CloudWatch and EKS speak TLS, as in AWS, with the sandbox's own authority: see [`Sandbox::authority`]. STS does
    /// not, since the authenticator asks it, too.
    pub tls: bool,
    /// The YAML of the Role.
    pub rbac: String,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self {
            region: "ap-northeast-1".to_owned(),
            account: "123456789012".to_owned(),
            cluster: "demo".to_owned(),
            namespaces: vec!["default".to_owned()],
            latency: Duration::ZERO,
            tls: false,
            rbac: include_str!("../infra/kubernetes/role.yaml").to_owned(),
        }
    }
}

/// Temporary credentials that another STS gave out.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKeys {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret: String,
    /// `AWS_SESSION_TOKEN`.
    pub token: String,
    /// `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`.
    pub arn: String,
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKeys")
            .field("access_key", &self.access_key)
            .field("arn", &self.arn)
            .finish_non_exhaustive()
    }
}

/// An endpoint of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// Amazon SQS.
    Sqs,
    /// Amazon CloudWatch.
    CloudWatch,
    /// AWS STS.
    Sts,
    /// Amazon EKS.
    Eks,
    /// The Kubernetes API server.
    Kubernetes,
}

/// A request that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// To whom.
    pub service: Service,
    /// `GetQueueAttributes orders`, `GetMetricData AWS/SQS NumberOfMessagesSent QueueName=orders`, `DescribeCluster demo`, `GetCallerIdentity`, or method and path, without the query.
    pub action: String,
    /// The status it was answered with; 0 where it never was.
    pub status: u16,
}

/// Running endpoints; dropping it ends them.
#[derive(Debug)]
pub struct Sandbox {
    shared: Arc<Shared>,
    environment: BTreeMap<String, String>,
    kubeconfig: String,
    authority: String,
    _running: [Running; 5],
}

/// What the endpoints share.
#[derive(Debug)]
struct Shared {
    region: String,
    latency: Duration,
    credentials: Credentials,
    queues: Queues,
    metrics: Metrics,
    sts: Sts,
    eks: Eks,
    kubernetes: Kubernetes,
    requests: Mutex<Vec<Recorded>>,
    handshakes: Handshakes,
}

impl Sandbox {
    /// Starts every endpoint on a port of its own. It needs a tokio runtime with I/O and time.
    pub async fn start(options: SandboxOptions) -> io::Result<Self> {
        let SandboxOptions {
            region,
            account,
            cluster,
            namespaces,
            latency,
            tls,
            rbac,
        } = options;
        let sqs = Bound::new().await?;
        let cloudwatch = Bound::new().await?;
        let sts = Bound::new().await?;
        let eks = Bound::new().await?;
        let api = Bound::new().await?;
        let certificate = Certificate::new()?;
        let role_arn = format!("arn:{}:iam::{account}:role/{ROLE}", partition(&region));
        let started = now();
        let expires = started
            .checked_add(CREDENTIAL_LIFE)
            .unwrap_or(Timestamp::MAX);
        let credential = sts::assumed(&role_arn, ROLE, expires)
            .ok_or_else(|| io::Error::other("the account cannot be part of an ARN"))?;
        let endpoint = format!("https://{}", api.address);
        let admin_token = format!("sandbox-admin-{}", random_id());
        let addresses = access::Addresses {
            sqs: sqs.address,
            cloudwatch: cloudwatch.address,
            sts: sts.address,
            eks: eks.address,
        };
        let environment = access::environment(&region, &credential, addresses, tls);
        let connection = Connection {
            endpoint: &endpoint,
            authority_pem: &certificate.authority_pem,
            cluster: &cluster,
            region: &region,
            admin_token: &admin_token,
        };
        let kubeconfig = access::kubeconfig(connection, &environment);
        let description = Eks::new(Cluster {
            name: &cluster,
            region: &region,
            account: &account,
            endpoint: &endpoint,
            authority_pem: &certificate.authority_pem,
            created: started,
        });
        let objects = Kubernetes::new(Setup {
            cluster,
            region: region.clone(),
            sts: sts.address,
            namespaces,
            rules: kubernetes::rbac::rules(&rbac).map_err(io::Error::other)?,
            admin_token,
        });
        objects.map_role(&role_arn, &["outrigger"]);
        let credentials = Credentials::default();
        credentials.add(credential);
        let shared = Arc::new(Shared {
            region,
            latency,
            credentials,
            queues: Queues::new(access::url(sqs.address, tls), account),
            metrics: Metrics::default(),
            sts: Sts::default(),
            eks: description,
            kubernetes: objects,
            requests: Mutex::default(),
            handshakes: Handshakes::default(),
        });
        let Certificate {
            authority_pem: authority,
            server,
        } = certificate;
        let secured = || Secured {
            config: Arc::clone(&server),
            handshakes: shared.handshakes.clone(),
        };
        let running = [
            sqs.serve(&shared, tls.then(secured), answer_sqs),
            cloudwatch.serve(&shared, tls.then(secured), answer_cloudwatch),
            sts.serve(&shared, None, answer_sts),
            eks.serve(&shared, tls.then(secured), answer_eks),
            serve_kubernetes(api, &shared, secured()),
        ];
        Ok(Self {
            shared,
            environment,
            kubeconfig,
            authority,
            _running: running,
        })
    }

    /// The environment of a process that is to find this AWS and no other, credentials like a function's included.
    #[must_use]
    pub fn environment(&self) -> BTreeMap<String, String> {
        self.environment.clone()
    }

    /// A kubeconfig, YAML: context `outrigger` gets its token from `outrigger token`, context `admin` may do everything.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        self.kubeconfig.clone()
    }

    /// The certificate of the authority behind every endpoint that speaks TLS, PEM: what a client of the AWS endpoints must trust, such
    /// as by `SSL_CERT_FILE`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// TLS handshakes that clients did not finish, since the start: those that they gave up, or in which they refused the certificate.
    #[must_use]
    pub fn failed_handshakes(&self) -> usize {
        self.shared.handshakes.failed()
    }

    /// The queues.
    #[must_use]
    pub fn queues(&self) -> &Queues {
        &self.shared.queues
    }

    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The Kubernetes cluster.
    #[must_use]
    pub fn kubernetes(&self) -> &Kubernetes {
        &self.shared.kubernetes
    }

    /// The EKS endpoint, which describes the cluster.
    #[must_use]
    pub fn eks(&self) -> &Eks {
        &self.shared.eks
    }

    /// The STS endpoint.
    #[must_use]
    pub fn sts(&self) -> &Sts {
        &self.shared.sts
    }

    /// Takes credentials of another STS like its own, for a process that uses one set for all of AWS.
    pub fn admit(&self, keys: &SessionKeys) {
        let SessionKeys {
            access_key,
            secret,
            token,
            arn,
        } = keys.clone();
        let session = arn.rsplit('/').next().unwrap_or_default();
        let user_id = format!("AROA{access_key}:{session}");
        let expires = now().checked_add(CREDENTIAL_LIFE);
        self.shared.credentials.add(Credential {
            access_key,
            secret,
            token,
            expires: expires.unwrap_or(Timestamp::MAX),
            identity: Identity { arn, user_id },
        });
    }

    /// Makes every credential given out so far an expired one.
    pub fn expire_credentials(&self) {
        self.shared.credentials.expire_all(now());
        self.shared.kubernetes.forget_logins();
    }

    /// Ends the sessions of all assumed roles; the sandbox's own credentials go on.
    pub fn end_sessions(&self) {
        let own = self.environment.get("AWS_ACCESS_KEY_ID");
        let own = own.map(String::as_str).unwrap_or_default();
        self.shared.credentials.expire_others(own, now());
        self.shared.kubernetes.forget_logins();
    }

    /// Every request since the start or the last [`Sandbox::clear_requests`], in the order of their answers.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.shared.requests).clone()
    }

    /// Forgets the requests made so far.
    pub fn clear_requests(&self) {
        lock(&self.shared.requests).clear();
    }
}

impl Shared {
    /// Records the request and adds the latency.
    fn finish(&self, service: Service, action: String, reply: Reply) -> Reply {
        let status = reply.status();
        lock(&self.requests).push(Recorded {
            service,
            action,
            status,
        });
        reply.later(self.latency)
    }
}

fn answer_sqs(shared: &Shared, request: &Request<Bytes>) -> Reply {
    let Shared {
        queues,
        credentials,
        region,
        ..
    } = shared;
    let (action, reply) = sqs::handle(queues, credentials, region, request, now());
    shared.finish(Service::Sqs, action, reply)
}

fn answer_cloudwatch(shared: &Shared, request: &Request<Bytes>) -> Reply {
    let Shared {
        metrics,
        credentials,
        region,
        ..
    } = shared;
    let (action, reply) = cloudwatch::handle(metrics, credentials, region, request, now());
    shared.finish(Service::CloudWatch, action, reply)
}

fn answer_sts(shared: &Shared, request: &Request<Bytes>) -> Reply {
    let Shared {
        sts,
        credentials,
        region,
        ..
    } = shared;
    let (action, reply) = sts::handle(sts, credentials, region, request, now());
    shared.finish(Service::Sts, action, reply)
}

fn answer_eks(shared: &Shared, request: &Request<Bytes>) -> Reply {
    let Shared {
        eks,
        credentials,
        region,
        ..
    } = shared;
    let (action, reply) = eks::handle(eks, credentials, region, request, now());
    shared.finish(Service::Eks, action, reply)
}

async fn answer_kubernetes(shared: Arc<Shared>, request: Request<Bytes>) -> Reply {
    let action = format!("{} {}", request.method(), request.uri().path());
    let reply = kubernetes::api::handle(shared.kubernetes.shared(), &request, now()).await;
    shared.finish(Service::Kubernetes, action, reply)
}

fn serve_kubernetes(bound: Bound, shared: &Arc<Shared>, secured: Secured) -> Running {
    let shared = Arc::clone(shared);
    let handler = move |request| answer_kubernetes(Arc::clone(&shared), request);
    server::serve(bound.listener, Some(secured), handler)
}

/// A listener and where it listens.
struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    async fn new() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    fn serve(
        self,
        shared: &Arc<Shared>,
        secured: Option<Secured>,
        answer: fn(&Shared, &Request<Bytes>) -> Reply,
    ) -> Running {
        let shared = Arc::clone(shared);
        let handler = move |request: Request<Bytes>| {
            let shared = Arc::clone(&shared);
            async move { answer(&shared, &request) }
        };
        server::serve(self.listener, secured, handler)
    }
}

fn partition(region: &str) -> &'static str {
    partition::of_region(region).name
}

/// Locks even what a panicking test has left behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An identifier in the form of a UUID; unpredictable enough that two sandboxes never mistake each other.
fn random_id() -> String {
    // Each state is seeded by the operating system.
    let (high, low) = (
        RandomState::new().hash_one(0_u8),
        RandomState::new().hash_one(1_u8),
    );
    let text = format!("{high:016x}{low:016x}");
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    format!(
        "{}-{}-4{}-8{}-{}",
        part(0, 8),
        part(8, 12),
        part(13, 16),
        part(17, 20),
        part(20, 32)
    )
}

/// The wall clock: signatures, message timers and caches are about real time.
#[expect(
    clippy::disallowed_methods,
    reason = "the endpoints stand for systems with clocks of their own"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

/// The steady clock, for measuring how long a function takes to start.
#[expect(
    clippy::disallowed_methods,
    reason = "a measurement of real time, not an input of a decision"
)]
fn steady_now() -> Instant {
    Instant::now()
}

/// Waits for a latency that was asked for.
#[expect(
    clippy::disallowed_methods,
    reason = "the latency of the network is what is simulated"
)]
async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

#[cfg(test)]
mod tests;
