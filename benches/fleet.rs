//! Queues, Rollouts and the configuration that joins them, on local endpoints.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use outrigger::sandbox::fault::Fault;
use outrigger::sandbox::{Recorded, Sandbox, SandboxOptions, Service};
use serde_json::json;

/// Messages that one replica takes care of.
const MESSAGES_PER_REPLICA: u64 = 10;

/// Where Linux keeps the certificates of authorities, on Amazon Linux and on Debian. Reading them is a part of a first pass.
const AUTHORITIES: [&str; 2] = [
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/certs/ca-certificates.crt",
];

/// One queue and one Rollout for each target, spread over the namespaces.
pub(crate) struct Fleet {
    sandbox: Sandbox,
    directory: PathBuf,
    targets: usize,
    namespaces: usize,
}

/// Requests by kind. Those that the API server itself makes to check a token are left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    pub(crate) queue_reads: usize,
    pub(crate) workload_reads: usize,
    pub(crate) memory_reads: usize,
    pub(crate) memory_writes: usize,
    pub(crate) scale_writes: usize,
    /// Of autoscalers and ScaledObjects, before a count is changed.
    pub(crate) owner_lists: usize,
    /// Events that tell of a change.
    pub(crate) events: usize,
    /// Such as `DescribeCluster`.
    pub(crate) others: usize,
    /// Answered with anything but success.
    pub(crate) failed: usize,
}

impl Fleet {
    /// Every Rollout at one replica, every queue empty. AWS is spoken to without TLS.
    pub(crate) async fn start(
        targets: usize,
        namespaces: usize,
        latency: Duration,
    ) -> io::Result<Self> {
        Self::create(targets, namespaces, latency, false).await
    }

    /// The same, with TLS to AWS.
    pub(crate) async fn start_with_tls(
        targets: usize,
        namespaces: usize,
        latency: Duration,
    ) -> io::Result<Self> {
        Self::create(targets, namespaces, latency, true).await
    }

    async fn create(
        targets: usize,
        namespaces: usize,
        latency: Duration,
        tls: bool,
    ) -> io::Result<Self> {
        let sandbox = Sandbox::start(SandboxOptions {
            namespaces: (0..namespaces).map(namespace).collect(),
            latency,
            tls,
            ..SandboxOptions::default()
        })
        .await?;
        let directory =
            std::env::temp_dir().join(format!("outrigger-bench-{}-{targets}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let fleet = Self {
            sandbox,
            directory,
            targets,
            namespaces,
        };
        fleet.populate()?;
        // What a function reads: the system's authorities, and that of this AWS.
        let mut authorities = AUTHORITIES
            .iter()
            .find_map(|file| fs::read_to_string(file).ok())
            .unwrap_or_default();
        authorities += fleet.sandbox.authority();
        fs::write(fleet.authorities(), authorities)?;
        Ok(fleet)
    }

    fn populate(&self) -> io::Result<()> {
        let about = BTreeMap::from([("about".to_owned(), "state".to_owned())]);
        let kubernetes = self.sandbox.kubernetes();
        for index in 0..self.namespaces {
            kubernetes.create_configmap(&namespace(index), "outrigger", &about);
        }
        let mut manifests = String::new();
        for index in 0..self.targets {
            let (namespace, name) = self.place(index);
            kubernetes.create_rollout(&namespace, &name, Some(1));
            self.sandbox.queues().create(&name);
            let url = self.sandbox.queues().url(&name);
            let written = write!(
                manifests,
                "---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  scaleTargetRef: {{apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: {name}}}
  minReplicaCount: 1
  maxReplicaCount: 100
  triggers:
  - type: aws-sqs-queue
    metadata:
      queueURL: {url}
      queueLength: \"{MESSAGES_PER_REPLICA}\"
      awsRegion: ap-northeast-1
      identityOwner: operator
"
            );
            written.map_err(io::Error::other)?;
        }
        fs::write(self.directory.join("outrigger.yaml"), manifests)
    }

    /// The environment of a function that scales this fleet.
    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        let mut environment = self.sandbox.environment();
        let file = self.directory.join("outrigger.yaml");
        environment.insert("OUTRIGGER_CLUSTERS".to_owned(), "demo".to_owned());
        environment.insert(
            "OUTRIGGER_CONFIG".to_owned(),
            format!("file:{}", file.display()),
        );
        let authorities = self.authorities().display().to_string();
        environment.insert("SSL_CERT_FILE".to_owned(), authorities);
        environment
    }

    fn authorities(&self) -> PathBuf {
        self.directory.join("authorities.pem")
    }

    /// Makes every Rollout so many bytes larger, about: with variables of its container, as people have them.
    pub(crate) fn enlarge(&self, bytes: usize) {
        /// Of a variable, its name and the rest of its JSON included.
        const EACH: usize = 200;
        let variables = (0..bytes / EACH).map(|number| {
            let name = format!("SETTING_{number:06}");
            json!({"name": name, "value": "x".repeat(EACH - r#"{"name":"SETTING_123456","value":""},"#.len())})
        });
        let variables: Vec<serde_json::Value> = variables.collect();
        for index in 0..self.targets {
            let (namespace, name) = self.place(index);
            self.sandbox
                .kubernetes()
                .set_rollout(&namespace, &name, |rollout| {
                    rollout["spec"]["template"]["spec"]["containers"] =
                        json!([{"name": "worker", "env": variables}]);
                });
        }
    }

    /// Reads of these queues are never answered from now on.
    pub(crate) fn silence(&self, is_silent: impl Fn(usize) -> bool) {
        for index in (0..self.targets).filter(|index| is_silent(*index)) {
            let (_, name) = self.place(index);
            self.sandbox.queues().fail(&name, Some(Fault::Hang));
        }
    }

    /// TLS handshakes that were given up, since the start.
    pub(crate) fn failed_handshakes(&self) -> usize {
        self.sandbox.failed_handshakes()
    }

    /// Gives every queue the backlog that asks for `replicas`.
    pub(crate) fn ask_for(&self, replicas: u32) {
        let visible = u64::from(replicas) * MESSAGES_PER_REPLICA;
        for index in 0..self.targets {
            let (_, name) = self.place(index);
            self.sandbox.queues().set_counts(&name, visible, 0, 0);
        }
    }

    /// How many Rollouts have this many replicas.
    pub(crate) fn at(&self, replicas: u32) -> usize {
        let kubernetes = self.sandbox.kubernetes();
        (0..self.targets)
            .filter(|index| {
                let (namespace, name) = self.place(*index);
                kubernetes.replicas(&namespace, &name) == Some(replicas)
            })
            .count()
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Requests {
        let mut requests = Requests::default();
        for Recorded {
            service,
            action,
            status,
        } in self.sandbox.requests()
        {
            let path = action.split_once(' ').map_or("", |(_, path)| path);
            let (is_get, is_patch) = (action.starts_with("GET "), action.starts_with("PATCH "));
            let is_memory = path.contains("/configmaps/");
            let count = match service {
                Service::Sts => continue,
                Service::Sqs if action.starts_with("GetQueueAttributes ") => {
                    &mut requests.queue_reads
                }
                Service::Kubernetes if is_get && is_memory => &mut requests.memory_reads,
                Service::Kubernetes if is_patch && is_memory => &mut requests.memory_writes,
                Service::Kubernetes if is_get && path.contains("/rollouts/") => {
                    &mut requests.workload_reads
                }
                Service::Kubernetes if is_patch && path.ends_with("/scale") => {
                    &mut requests.scale_writes
                }
                Service::Kubernetes
                    if is_get
                        && (path.ends_with("/horizontalpodautoscalers")
                            || path.ends_with("/scaledobjects")) =>
                {
                    &mut requests.owner_lists
                }
                Service::Kubernetes if action.starts_with("POST ") && path.ends_with("/events") => {
                    &mut requests.events
                }
                Service::Sqs | Service::CloudWatch | Service::Eks | Service::Kubernetes => {
                    &mut requests.others
                }
            };
            *count += 1;
            requests.failed += usize::from(!(200..300).contains(&status));
        }
        self.sandbox.clear_requests();
        requests
    }

    fn place(&self, index: usize) -> (String, String) {
        (
            namespace(index % self.namespaces),
            format!("worker-{index:04}"),
        )
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // What is left behind is a small file in the folder for such.
        fs::remove_dir_all(&self.directory).ok();
    }
}

fn namespace(index: usize) -> String {
    format!("team-{index:02}")
}
