//! Many workloads with a queue each in a few namespaces of the real API server, and what it says of the requests for them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use outrigger::sandbox::SessionKeys;
use serde_json::Value as Json;

use super::lab::{Lab, SHIPPED_ROLE, apply_shipped, new_namespace, rollout};
use super::lambda::program;
use super::world::{CLUSTER, ROLE, World};
use crate::support::function::{Directory, Function};

/// Messages that one replica takes care of, in every manifest here.
pub(super) const MESSAGES_PER_REPLICA: u64 = 10;

/// What every workload begins with.
pub(super) const BEGINNING: u32 = 2;

/// Objects that are made at the same time.
const MAKERS: usize = 8;

/// The manifest of one target, whose `REST` is what differs between them.
const TARGET: &str = r#"---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: NAME, namespace: NAMESPACE}
spec:
  scaleTargetRef: {apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: NAME}
REST
  triggers:
  - type: aws-sqs-queue
    metadata:
      queueURL: https://sqs.ap-northeast-1.amazonaws.com/123456789012/NAME
      queueLength: "10"
      awsRegion: ap-northeast-1
      identityOwner: operator
"#;

/// What a target of a fleet says beside its trigger, unless something else is asked for.
const PLAIN: &str = "  minReplicaCount: 2\n  maxReplicaCount: 100";

/// Workloads of the names `worker-0000` and so on, the namespaces in turn.
pub(super) struct Fleet {
    pub(super) lab: Lab,
    namespaces: Vec<String>,
    /// What each target says beside its trigger.
    rest: Vec<String>,
}

/// A request of the function as the API server's audit log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) verb: String,
    pub(super) resource: String,
    pub(super) name: String,
    pub(super) status: u64,
    /// When it was answered.
    pub(super) answered: Timestamp,
    /// The access key behind the token.
    pub(super) access_key: String,
}

impl Request {
    pub(super) fn is(&self, verb: &str, resource: &str) -> bool {
        self.verb == verb && self.resource == resource
    }

    /// A patch of state.
    pub(super) fn is_state_write(&self) -> bool {
        self.is("patch", "configmaps")
    }

    /// A patch of a count.
    pub(super) fn is_count_write(&self) -> bool {
        self.is("patch", "rollouts/scale")
    }

    pub(super) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Fleet {
    /// So many workloads, and empty queues.
    pub(super) async fn new(world: &'static World, targets: usize, namespaces: usize) -> Self {
        let rest = vec![PLAIN.to_owned(); targets];
        Self::of(world, rest, namespaces).await
    }

    /// A workload and an empty queue for each of these manifests, of which this is what stands beside the trigger.
    pub(super) async fn of(world: &'static World, rest: Vec<String>, namespaces: usize) -> Self {
        let admin = world.admin();
        let first = new_namespace(&admin).await;
        let lab = Lab::empty(world, first.clone()).await;
        let mut fleet = Self {
            lab,
            namespaces: vec![first],
            rest,
        };
        for _ in 1..namespaces {
            let namespace = new_namespace(&admin).await;
            apply_shipped(&admin, &namespace, SHIPPED_ROLE).await;
            fleet.namespaces.push(namespace);
        }
        let make = stream::iter(0..fleet.rest.len()).map(|index| fleet.make(index));
        make.buffer_unordered(MAKERS).collect::<Vec<()>>().await;
        fleet
    }

    /// Lets every target have so many replicas, in functions that are started from now on.
    pub(super) fn allow(&mut self, replicas: u64) {
        self.rest.fill(PLAIN.replace("100", &replicas.to_string()));
    }

    async fn make(&self, index: usize) {
        let (path, name) = (collection(self.namespace(index)), name(index));
        let manifest = rollout(&name, Some(BEGINNING));
        self.lab.admin.post(&path, &manifest).await.good();
        self.lab.sandbox.queues().create(&name);
    }

    /// Gives every queue the backlog that asks for so many replicas.
    pub(super) fn ask_for(&self, replicas: u64) {
        for index in 0..self.rest.len() {
            self.send(index, replicas * MESSAGES_PER_REPLICA);
        }
    }

    /// Gives the queue of one target so many messages.
    pub(super) fn send(&self, index: usize, messages: u64) {
        let queues = self.lab.sandbox.queues();
        queues.set_counts(&name(index), messages, 0, 0);
    }

    /// The release build as a process where one was made, and the tests' own where not.
    pub(super) async fn function(
        &self,
        keys: &SessionKeys,
        environment: &[(&str, &str)],
    ) -> Function {
        let directory = Directory::new();
        std::fs::write(directory.join("outrigger.yaml"), self.manifests()).unwrap();
        let mut all = vec![
            ("AWS_ACCESS_KEY_ID", keys.access_key.as_str()),
            ("AWS_SECRET_ACCESS_KEY", keys.secret.as_str()),
            ("AWS_SESSION_TOKEN", keys.token.as_str()),
            ("OUTRIGGER_CLUSTERS", CLUSTER),
        ];
        all.extend(environment);
        let program = program().display().to_string();
        Function::start_by(&[&program], directory, &self.lab.sandbox, &all).await
    }

    /// Another session of the function's role, by which its requests are told from those of the first.
    pub(super) fn other_keys(&self) -> SessionKeys {
        let keys = self.lab.world.sts.assume_role(ROLE);
        self.lab.sandbox.admit(&keys);
        keys
    }

    fn manifests(&self) -> String {
        let mut manifests = String::new();
        for (index, rest) in self.rest.iter().enumerate() {
            let manifest = TARGET
                .replace("NAMESPACE", self.namespace(index))
                .replace("NAME", &name(index))
                .replace("REST", rest);
            manifests.write_str(&manifest).unwrap();
        }
        manifests
    }

    /// How many workloads have each count and generation. Each change of a count is a generation, from the first one on.
    pub(super) async fn counts(&self) -> BTreeMap<(u64, u64), usize> {
        let mut counts = BTreeMap::new();
        for object in self.workloads().await {
            let count = object["spec"]["replicas"].as_u64().unwrap();
            let generation = object["metadata"]["generation"].as_u64().unwrap();
            *counts.entry((count, generation)).or_default() += 1;
        }
        counts
    }

    /// The count of each workload, by name.
    pub(super) async fn count_of_each(&self) -> BTreeMap<String, u64> {
        let objects = self.workloads().await.into_iter();
        let counts = objects.map(|object| {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            (name, object["spec"]["replicas"].as_u64().unwrap())
        });
        counts.collect()
    }

    async fn workloads(&self) -> Vec<Json> {
        let mut workloads = Vec::new();
        for namespace in &self.namespaces {
            let list = self.lab.admin.get(&collection(namespace)).await.good();
            workloads.extend(list["items"].as_array().unwrap().clone());
        }
        workloads
    }

    /// The requests of the function about these workloads since a moment, oldest first.
    pub(super) fn requests_since(&self, since: Timestamp) -> Vec<Request> {
        let events = self.lab.world.audit_with("\"userAgent\":\"outrigger/");
        let ours = events.iter().filter(|event| {
            let namespace = event["objectRef"]["namespace"].as_str();
            namespace.is_some_and(|namespace| self.namespaces.iter().any(|ours| ours == namespace))
        });
        let mut requests: Vec<Request> = ours
            .map(read)
            .filter(|request| request.answered >= since)
            .collect();
        requests.sort_by_key(|request| request.answered);
        requests
    }

    fn namespace(&self, index: usize) -> &str {
        &self.namespaces[index % self.namespaces.len()]
    }
}

fn collection(namespace: &str) -> String {
    format!("/apis/argoproj.io/v1alpha1/namespaces/{namespace}/rollouts")
}

/// The name of a workload and of its queue.
pub(super) fn name(index: usize) -> String {
    format!("worker-{index:04}")
}

fn read(event: &Json) -> Request {
    let text = |field: &Json| field.as_str().unwrap_or_default().to_owned();
    let reference = &event["objectRef"];
    let (resource, subresource) = (
        text(&reference["resource"]),
        text(&reference["subresource"]),
    );
    Request {
        verb: text(&event["verb"]),
        resource: [resource, subresource]
            .join("/")
            .trim_end_matches('/')
            .to_owned(),
        name: text(&reference["name"]),
        status: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
        answered: text(&event["stageTimestamp"]).parse().unwrap(),
        access_key: text(&event["user"]["extra"]["accessKeyId"][0]),
    }
}
