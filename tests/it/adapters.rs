//! The SDK clients and the Kubernetes client, in this process.

mod access;
mod cloudwatch;
mod cluster;
mod discovery;
mod keys;
mod objects;
mod owners;
mod retries;
mod sqs;

use std::sync::Arc;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use outrigger::adapters::aws::Aws;
use outrigger::adapters::kubernetes::Clusters;
use outrigger::adapters::sqs::Sqs;
use outrigger::manifest::{WorkloadKind, WorkloadRef};
use outrigger::policy::{Identity, Queue, QueueAddress};
use outrigger::ports::{
    Change, Fault, FaultKind, LiveMemories as _, Namespace, Place, Seen, StateWrite, Workloads as _,
};
use outrigger::sandbox::Sandbox;
use outrigger::settings::{Cluster, ClusterAddress};

const REGION: &str = "ap-northeast-1";

/// What an SDK would read from the sandbox's environment, with one endpoint for every client: `EKS` or `STS`.
/// A queue names its endpoint itself.
async fn aws(sandbox: &Sandbox, service: &str) -> Arc<Aws> {
    let environment = sandbox.environment();
    let endpoint = &environment[&format!("AWS_ENDPOINT_URL_{service}")];
    aws_at(sandbox, endpoint).await
}

async fn aws_at(sandbox: &Sandbox, endpoint: &str) -> Arc<Aws> {
    outrigger::lambda::install_crypto();
    let environment = sandbox.environment();
    let credentials = Credentials::new(
        &environment["AWS_ACCESS_KEY_ID"],
        &environment["AWS_SECRET_ACCESS_KEY"],
        Some(environment["AWS_SESSION_TOKEN"].clone()),
        None,
        "test",
    );
    let config = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(credentials)
        .endpoint_url(endpoint);
    Arc::new(Aws::from_config(config.load().await))
}

fn demo() -> Cluster {
    Cluster {
        name: "demo".to_owned(),
        region: REGION.to_owned(),
        account: None,
        role_arn: None,
        address: None,
    }
}

/// The address that `DescribeCluster` would give.
pub(crate) fn address(sandbox: &Sandbox) -> ClusterAddress {
    let kubeconfig = sandbox.kubeconfig();
    let field = |name: &str| {
        let mut lines = kubeconfig.lines();
        let value = lines.find_map(|line| line.trim().strip_prefix(name));
        value.unwrap().trim().to_owned()
    };
    ClusterAddress {
        endpoint: field("server:"),
        certificate_authority: field("certificate-authority-data:"),
    }
}

/// The clusters of a function whose one cluster is described by EKS.
async fn clusters(sandbox: &Sandbox) -> Clusters {
    Clusters::new(aws(sandbox, "EKS").await, vec![demo()])
}

async fn queues(sandbox: &Sandbox) -> Sqs {
    Sqs::new(aws(sandbox, "STS").await)
}

/// A queue of the sandbox by URL, read as the function itself.
fn queue(sandbox: &Sandbox, name: &str) -> Queue {
    Queue {
        address: QueueAddress::Url {
            url: sandbox.queues().url(name),
            account: "123456789012".to_owned(),
            name: name.to_owned(),
        },
        region: REGION.to_owned(),
        endpoint: Some(sandbox.environment()["AWS_ENDPOINT_URL_SQS"].clone()),
        identity: Identity::Function,
    }
}

fn by_name(queue: Queue) -> Queue {
    Queue {
        address: QueueAddress::Name(queue.address.name().to_owned()),
        ..queue
    }
}

fn namespace() -> Namespace {
    Namespace {
        cluster: "demo".to_owned(),
        name: "default".to_owned(),
    }
}

fn place(kind: WorkloadKind, name: &str) -> Place {
    Place {
        namespace: namespace(),
        workload: WorkloadRef {
            kind,
            name: name.to_owned(),
        },
    }
}

fn worker() -> Place {
    place(WorkloadKind::ROLLOUT, "worker")
}

/// A write of the state of a Rollout.
fn state_write(name: &str, old: Option<&str>, new: &str) -> StateWrite {
    StateWrite {
        workload: place(WorkloadKind::ROLLOUT, name).workload,
        old: old.map(str::to_owned),
        new: new.to_owned(),
    }
}

/// Writes the state of the Rollout `worker`.
async fn store(clusters: &Clusters, old: Option<&str>, new: &str) -> Result<(), Fault> {
    let mut results = clusters
        .store(&namespace(), &[state_write("worker", old, new)])
        .await;
    assert_eq!(results.len(), 1);
    results.remove(0)
}

/// The change of a workload from what was seen.
fn change(seen: &Seen, to: u32) -> Change {
    Change {
        uid: seen.uid.clone(),
        from: seen.workload.replicas,
        to,
    }
}

/// Reads the Rollout `worker`, which must go well.
async fn read(clusters: &Clusters) -> Seen {
    clusters.read(&worker()).await.unwrap()
}

/// The code and the message of a plain failure.
#[track_caller]
fn failed<T: std::fmt::Debug>(result: Result<T, Fault>) -> (String, String) {
    let Fault {
        kind,
        code,
        message,
    } = result.unwrap_err();
    assert_eq!(kind, FaultKind::Failed, "{message}");
    assert!(!message.ends_with('.'), "{message}");
    (code, message)
}

#[track_caller]
fn lost_race<T: std::fmt::Debug>(result: Result<T, Fault>) -> String {
    let fault = result.unwrap_err();
    assert_eq!(
        (fault.kind, fault.code.as_str()),
        (FaultKind::LostRace, "Conflict")
    );
    fault.message
}
