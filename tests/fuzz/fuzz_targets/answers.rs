//! Whatever a server answers, a call ends, without a panic and without a reading that was not there.
//!
//! One server stands for all: plain for AWS, with TLS for the API server. The input says which call is made, with which status
//! it is answered, and with what.

#![no_main]

use std::convert::Infallible;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use outrigger::adapters::aws::Aws;
use outrigger::adapters::kubernetes::Clusters;
use outrigger::adapters::sqs::Sqs;
use outrigger::manifest::{WorkloadKind, WorkloadRef};
use outrigger::policy::{Identity, Queue, QueueAddress};
use outrigger::ports::{
    Change, Fault, FaultKind, LiveMemories as _, Memories as _, Namespace, ObjectKind,
    Objects as _, Place, Scaler as _, Scope, StateWrite, Workloads as _,
};
use outrigger::settings::{Cluster, ClusterAddress};
use outrigger_fuzz::assert_plain;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// None after which the caller waits for the server to recover. Answers that cannot be read are tried again, too: they make this the
/// slowest target.
const STATUSES: [u16; 9] = [200, 200, 200, 201, 400, 403, 404, 410, 422];

/// Longer than a caller may take for an answer that comes at once.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is answered next: a status and a body.
type Answer = Arc<Mutex<(u16, Bytes)>>;

struct World {
    runtime: Runtime,
    answer: Answer,
    aws: Arc<Aws>,
    queue: Queue,
    address: ClusterAddress,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        outrigger::lambda::install_crypto();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let answer = Answer::default();
        let authority = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (plain, tls) = runtime.block_on(serve(&answer, &authority));
        let keys = Credentials::new("AKIAEXAMPLE", "secret", None, None, "fuzz");
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(keys)
            .endpoint_url(&plain);
        let aws = Arc::new(Aws::from_config(runtime.block_on(config.load())));
        let queue = Queue {
            address: QueueAddress::Url {
                url: format!("{plain}/123456789012/orders"),
                account: "123456789012".to_owned(),
                name: "orders".to_owned(),
            },
            region: "eu-west-1".to_owned(),
            endpoint: Some(plain),
            identity: Identity::Function,
        };
        let address = ClusterAddress {
            endpoint: tls,
            certificate_authority: BASE64_STANDARD.encode(authority.cert.pem()),
        };
        World {
            runtime,
            answer,
            aws,
            queue,
            address,
        }
    })
}

/// The two addresses of the server.
async fn serve(
    answer: &Answer,
    authority: &rcgen::CertifiedKey<rcgen::KeyPair>,
) -> (String, String) {
    let key = authority.signing_key.serialize_der().try_into().unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![authority.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let mut addresses = Vec::new();
    for is_tls in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if is_tls { "https" } else { "http" };
        addresses.push(format!("{scheme}://{}", listener.local_addr().unwrap()));
        let (answer, acceptor) = (Arc::clone(answer), acceptor.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, acceptor) = (Arc::clone(&answer), acceptor.clone());
                let service = service_fn(move |_: Request<hyper::body::Incoming>| {
                    let (status, body) = answer.lock().unwrap().clone();
                    let response = Response::builder().status(status).body(Full::new(body));
                    async move { Ok::<_, Infallible>(response.unwrap()) }
                });
                // A client that hangs up is none of our business.
                tokio::spawn(async move {
                    if is_tls {
                        let Ok(stream) = acceptor.accept(stream).await else {
                            return;
                        };
                        http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await
                            .ok();
                    } else {
                        http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await
                            .ok();
                    }
                });
            }
        });
    }
    let tls = addresses.pop().unwrap();
    (addresses.pop().unwrap(), tls)
}

fuzz_target!(|data: &[u8]| {
    let [call, status, body @ ..] = data else {
        return;
    };
    let World {
        runtime,
        answer,
        aws,
        queue,
        address,
    } = world();
    let status = STATUSES[usize::from(*status) % STATUSES.len()];
    *answer.lock().unwrap() = (status, Bytes::copy_from_slice(body));
    let made = async {
        // New ones each time, so that an input does the same whatever came before it; connections are made anew, too.
        let cluster = |address: Option<ClusterAddress>| Cluster {
            name: "prod".to_owned(),
            region: "eu-west-1".to_owned(),
            account: None,
            role_arn: None,
            address,
        };
        let clusters = Clusters::new(Arc::clone(aws), vec![cluster(Some(address.clone()))]);
        match call % 10 {
            0 => told(Sqs::new(Arc::clone(aws)).depth(queue).await, |depth| {
                let texts =
                    [depth.visible, depth.in_flight, depth.delayed].map(|count| count.to_string());
                let body = String::from_utf8_lossy(body);
                assert!(
                    texts.iter().all(|text| body.contains(text)),
                    "{depth:?} of {body}"
                );
            }),
            1 => {
                let name = QueueAddress::Name("orders".to_owned());
                let queue = Queue {
                    address: name,
                    ..queue.clone()
                };
                told(Sqs::new(Arc::clone(aws)).depth(&queue).await, drop);
            }
            2 => {
                let described = Clusters::new(Arc::clone(aws), vec![cluster(None)]);
                told(described.load(&namespace()).await, drop);
            }
            3 => told(clusters.read(&place(WorkloadKind::ROLLOUT)).await, drop),
            4 => told(clusters.read(&place(WorkloadKind::DEPLOYMENT)).await, drop),
            5 => told(clusters.load(&namespace()).await, drop),
            6 => told(clusters.autoscalers(&namespace()).await, drop),
            7 => told(clusters.scaled_objects(&namespace()).await, drop),
            8 => {
                let Namespace { cluster, name } = namespace();
                let scope = Scope {
                    cluster,
                    namespace: Some(name),
                };
                told(clusters.list(ObjectKind::ScaledObject, &scope).await, drop);
            }
            _ => {
                let write = StateWrite {
                    workload: place(WorkloadKind::ROLLOUT).workload,
                    old: None,
                    new: "{}".to_owned(),
                };
                let results = clusters.store(&namespace(), &[write]).await;
                assert_eq!(results.len(), 1);
                results.into_iter().for_each(|result| told(result, drop));
                let change = Change {
                    uid: "1".to_owned(),
                    from: 2,
                    to: 7,
                };
                told(
                    clusters.scale(&place(WorkloadKind::ROLLOUT), &change).await,
                    drop,
                );
            }
        }
    };
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, made)
            .await
            .expect("a call did not end")
    });
});

/// A fault says what was wrong, in one line, without what a server may not put there.
fn told<T>(result: Result<T, Fault>, good: impl FnOnce(T)) {
    match result {
        Ok(value) => good(value),
        Err(Fault {
            kind,
            code,
            message,
        }) => {
            assert_ne!(kind, FaultKind::OutOfTime, "{message}");
            assert_plain(&code, "a code");
            assert_plain(&message, "a fault");
            assert!(message.len() < 4096, "{} bytes: {message}", message.len());
        }
    }
}

fn namespace() -> Namespace {
    Namespace {
        cluster: "prod".to_owned(),
        name: "shop".to_owned(),
    }
}

fn place(kind: WorkloadKind) -> Place {
    Place {
        namespace: namespace(),
        workload: WorkloadRef {
            kind,
            name: "worker".to_owned(),
        },
    }
}
