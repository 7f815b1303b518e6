//! Our Kubernetes client against the sandbox and against a real API server: the same story must be told in the same words.

use std::sync::Arc;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use outrigger::adapters::aws::Aws;
use outrigger::adapters::kubernetes::Clusters;
use outrigger::manifest::ListedObject;
use outrigger::manifest::{WorkloadKind, WorkloadRef};
use outrigger::policy::Mode;
use outrigger::ports::{
    Change, Event, Events as _, Fault, LiveMemories as _, Memories as _, Namespace, ObjectKind,
    Objects, Place, Scaler as _, Scope, StateWrite, Statuses as _, Version, Workloads as _,
};
use outrigger::sandbox::{Sandbox, SandboxOptions, SessionKeys};
use outrigger::settings::{Cluster, ClusterAddress};
use serde_json::{Value as Json, json};

use super::client::{Client, MERGE_PATCH};
use super::contract::admin_of;
use super::lab::{Lab, eventually, rollout};
use super::world::{CLUSTER, World, world};
use crate::support::assert_names;

/// The shipped rights, and those for other kinds.
const ROLE: &str = "apiVersion: rbac.authorization.k8s.io/v1\nmetadata: {name: outrigger}\nkind: Role\nrules:\n\
    - {apiGroups: [argoproj.io], resources: [rollouts], verbs: [get]}\n\
    - {apiGroups: [argoproj.io], resources: [rollouts/scale], verbs: [patch]}\n\
    - {apiGroups: [apps], resources: [deployments/scale, statefulsets/scale], verbs: [get, patch]}\n\
    - {apiGroups: [example.com], resources: [workers/scale], verbs: [get, patch]}\n\
    - {apiGroups: [\"\"], resources: [replicationcontrollers/scale], verbs: [get, patch]}\n\
    - {apiGroups: [\"\"], resources: [configmaps], resourceNames: [outrigger], verbs: [get, patch]}\n\
    - {apiGroups: [autoscaling], resources: [horizontalpodautoscalers], verbs: [list]}\n\
    - {apiGroups: [keda.sh], resources: [scaledobjects, triggerauthentications], verbs: [list]}\n\
    - {apiGroups: [keda.sh], resources: [scaledobjects/status], verbs: [patch]}\n\
    - {apiGroups: [\"\"], resources: [events], verbs: [create]}\n";

/// One of the two servers.
struct Side {
    name: &'static str,
    clusters: Clusters,
    admin: Client,
    namespace: String,
    _sandbox: Option<Sandbox>,
}

pub(super) async fn clusters(keys: &SessionKeys, address: &ClusterAddress) -> Clusters {
    outrigger::lambda::install_crypto();
    let SessionKeys {
        access_key,
        secret,
        token,
        ..
    } = keys.clone();
    let credentials = Credentials::new(access_key, secret, Some(token), None, "test");
    let config = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("ap-northeast-1"))
        .credentials_provider(credentials);
    let cluster = Cluster {
        name: CLUSTER.to_owned(),
        region: "ap-northeast-1".to_owned(),
        account: None,
        role_arn: None,
        address: Some(address.clone()),
    };
    Clusters::new(
        Arc::new(Aws::from_config(config.load().await)),
        vec![cluster],
    )
}

/// Both servers with the same namespace, Rollout and memory.
async fn sides(world: &'static World) -> [Side; 2] {
    let lab = Lab::with_role(world, ROLE).await;
    let sandbox = crate::support::bare(SandboxOptions {
        rbac: ROLE.to_owned(),
        namespaces: vec![lab.namespace.clone()],
        ..SandboxOptions::default()
    })
    .await;
    sandbox.kubernetes().set_keda_installed(true);
    let environment = sandbox.environment();
    let keys = SessionKeys {
        access_key: environment["AWS_ACCESS_KEY_ID"].clone(),
        secret: environment["AWS_SECRET_ACCESS_KEY"].clone(),
        token: environment["AWS_SESSION_TOKEN"].clone(),
        arn: String::new(),
    };
    let address = crate::adapters::address(&sandbox);
    let ours = Side {
        name: "ours",
        clusters: clusters(&keys, &address).await,
        admin: admin_of(&sandbox),
        namespace: lab.namespace.clone(),
        _sandbox: Some(sandbox),
    };
    let about = json!({"metadata": {"name": "outrigger"}, "data": {"about": "…"}});
    ours.create("/api/v1", "configmaps", &about).await;
    ours.create(ARGO, "rollouts", &rollout("worker", Some(2)))
        .await;
    let real = Side {
        name: "real",
        clusters: clusters(&lab.keys, world.address()).await,
        admin: lab.admin.clone(),
        namespace: lab.namespace.clone(),
        _sandbox: None,
    };
    // The Role is in force a moment after it is made.
    let right = json!({"group": "argoproj.io", "resource": "rollouts", "verb": "get"});
    let in_force = async || real.admin.may("outrigger", &real.namespace, &right).await;
    eventually("the Role is in force", in_force).await;
    [ours, real]
}

const ARGO: &str = "/apis/argoproj.io/v1alpha1";
const KEDA: &str = "/apis/keda.sh/v1alpha1";

impl Side {
    fn path(&self, root: &str, plural: &str) -> String {
        format!("{root}/namespaces/{}/{plural}", self.namespace)
    }

    async fn create(&self, root: &str, plural: &str, manifest: &Json) {
        let path = self.path(root, plural);
        self.admin.post(&path, manifest).await.good();
    }

    async fn delete(&self, root: &str, plural: &str, name: &str) {
        let path = format!("{}/{name}", self.path(root, plural));
        self.admin.delete(&path).await.good();
    }

    /// Somebody else sets the count of the Rollout.
    async fn set_replicas(&self, replicas: u32) {
        let path = format!("{}/worker/scale", self.path(ARGO, "rollouts"));
        let patch = json!({"spec": {"replicas": replicas}});
        self.admin.patch(&path, MERGE_PATCH, &patch).await.good();
    }

    fn namespace(&self) -> Namespace {
        Namespace {
            cluster: CLUSTER.to_owned(),
            name: self.namespace.clone(),
        }
    }

    fn place(&self, kind: WorkloadKind, name: &str) -> Place {
        Place {
            namespace: self.namespace(),
            workload: WorkloadRef {
                kind,
                name: name.to_owned(),
            },
        }
    }

    fn worker(&self) -> Place {
        self.place(WorkloadKind::ROLLOUT, "worker")
    }

    /// Reads a workload and scales it on that.
    async fn scale(&self, story: &mut Story, place: &Place, to: u32) {
        let seen = self.clusters.read(place).await;
        story.tell("read", &seen.as_ref().map(|seen| seen.workload.replicas));
        let Ok(seen) = seen else { return };
        let change = Change {
            uid: seen.uid,
            from: seen.workload.replicas,
            to,
        };
        story.tell("scaled", &self.clusters.scale(place, &change).await);
        let seen = self.clusters.read(place).await;
        story.tell("read again", &seen.map(|seen| seen.workload.replicas));
    }
}

/// What a server had us say, line by line.
#[derive(Debug, Default, PartialEq)]
struct Story(Vec<String>);

impl Story {
    fn tell(&mut self, what: &str, result: &impl std::fmt::Debug) {
        self.0.push(format!("{what}: {result:?}"));
    }

    /// The server's own words about a value contain the whole object, with its uid.
    fn told(self) -> Vec<String> {
        let lines = self.0.into_iter().map(|line| {
            match (
                line.find("Invalid value: \\\"{"),
                line.find("json: cannot unmarshal"),
            ) {
                (Some(from), Some(to)) => format!("{}…{}", &line[..from], &line[to..]),
                _ => line,
            }
        });
        lines.collect()
    }
}

/// Both stories, which must be one.
#[track_caller]
fn same(mut stories: Vec<(&'static str, Story)>) -> Vec<String> {
    let (real, ours) = (stories.pop().unwrap(), stories.pop().unwrap());
    assert_eq!((ours.0, real.0), ("ours", "real"));
    let (ours, real) = (ours.1.told(), real.1.told());
    for (ours, real) in ours.iter().zip(&real) {
        assert_eq!(ours, real, "ours and the real server's");
    }
    assert_eq!(ours.len(), real.len());
    real
}

#[tokio::test]
async fn a_rollout_is_read_and_scaled() {
    let Some(world) = world() else { return };
    let mut stories = Vec::new();
    for side in sides(world).await {
        let (mut story, worker) = (Story::default(), side.worker());
        for to in [7, 0, 3, 3, u32::MAX] {
            side.scale(&mut story, &worker, to).await;
        }
        // Somebody was faster: to another count, to none, to another Rollout of that name.
        for (from, faster) in [(3, 5), (5, 0), (0, 2)] {
            let seen = side.clusters.read(&worker).await.unwrap();
            let change = Change {
                uid: seen.uid,
                from,
                to: 9,
            };
            side.set_replicas(faster).await;
            story.tell("too late", &side.clusters.scale(&worker, &change).await);
        }
        let seen = side.clusters.read(&worker).await.unwrap();
        let change = Change {
            uid: seen.uid,
            from: 2,
            to: 9,
        };
        side.delete(ARGO, "rollouts", "worker").await;
        story.tell("gone", &side.clusters.scale(&worker, &change).await);
        story.tell(
            "gone",
            &side
                .clusters
                .read(&worker)
                .await
                .map(|seen| seen.workload.replicas),
        );
        side.create(ARGO, "rollouts", &rollout("worker", Some(2)))
            .await;
        story.tell("another", &side.clusters.scale(&worker, &change).await);
        side.create(ARGO, "rollouts", &rollout("free", None)).await;
        let free = side.place(WorkloadKind::ROLLOUT, "free");
        side.scale(&mut story, &free, 3).await;
        stories.push((side.name, story));
    }
    let story = same(stories).join("\n");
    assert_names(
        &story,
        &[
            "LostRace",
            "has 5 replicas now, not 3",
            "ReplicasUnset",
            "NotFound",
        ],
    );
}

#[tokio::test]
async fn other_kinds_are_found_and_scaled() {
    let Some(world) = world() else { return };
    let mut stories = Vec::new();
    for side in sides(world).await {
        let mut story = Story::default();
        for (root, plural, api_version, kind) in [
            ("/apis/apps/v1", "deployments", "apps/v1", "Deployment"),
            ("/apis/apps/v1", "statefulsets", "apps/v1", "StatefulSet"),
            (
                "/api/v1",
                "replicationcontrollers",
                "v1",
                "ReplicationController",
            ),
            (
                "/apis/example.com/v1",
                "workers",
                "example.com/v1",
                "Worker",
            ),
        ] {
            let manifest = super::contract::workload(api_version, kind, 3);
            side.create(root, plural, &manifest).await;
            let place = side.place(WorkloadKind::parse(api_version, kind).unwrap(), "crew");
            for to in [0, 4, u32::MAX] {
                side.scale(&mut story, &place, to).await;
            }
        }
        let unset = json!({"apiVersion": "example.com/v1", "kind": "Worker", "metadata": {"name": "free"}, "spec": {}});
        side.create("/apis/example.com/v1", "workers", &unset).await;
        for (api_version, kind, name) in [
            ("example.com/v1", "Worker", "free"),
            ("example.com/v1", "Worker", "nobody"),
            ("example.com/v1", "Report", "crew"),
            ("example.com/v1", "Fleet", "crew"),
            ("example.com/v1", "Wroker", "crew"),
            ("example.com/v2", "Worker", "crew"),
            ("nobody.example.com/v1", "Worker", "crew"),
            ("apps/v1", "Deployment", "nobody"),
        ] {
            let kind = WorkloadKind::parse(api_version, kind).unwrap();
            let seen = side.clusters.read(&side.place(kind, name)).await;
            story.tell("read", &seen.map(|seen| seen.workload.replicas));
        }
        stories.push((side.name, story));
    }
    let story = same(stories).join("\n");
    assert_names(
        &story,
        &["ReplicasUnset", "NotFound", "NotServed", "UnknownKind"],
    );
}

fn state_write(name: &str, old: Option<&str>, new: &str) -> StateWrite {
    StateWrite {
        workload: WorkloadRef {
            kind: WorkloadKind::ROLLOUT,
            name: name.to_owned(),
        },
        old: old.map(str::to_owned),
        new: new.to_owned(),
    }
}

/// Writes the state of the Rollout `worker`.
async fn store(
    clusters: &Clusters,
    namespace: &Namespace,
    old: Option<&str>,
    new: &str,
) -> Result<(), Fault> {
    let writes = [state_write("worker", old, new)];
    clusters.store(namespace, &writes).await.remove(0)
}

#[tokio::test]
async fn a_memory_is_kept() {
    let Some(world) = world() else { return };
    let mut stories = Vec::new();
    for side in sides(world).await {
        let (mut story, namespace) = (Story::default(), side.namespace());
        let Side { clusters, .. } = &side;
        for (old, new) in [
            (None, "first \"quoted\" ~/"),
            (None, "second"),
            (Some("wrong"), "second"),
            (Some("first \"quoted\" ~/"), "second"),
        ] {
            let stored = store(clusters, &namespace, old, new).await;
            story.tell("stored", &stored);
            let loaded = clusters
                .load(&namespace)
                .await
                .map(|mut keys| keys.remove("rollout.worker"));
            story.tell("loaded", &loaded);
        }
        // Many at once: one of them is contested, one has a key that is too long.
        let contested = state_write("worker", None, "third");
        let too_long = state_write(&"n".repeat(253), None, "first");
        let mut writes = vec![contested, too_long];
        writes.extend((0..200).map(|index| state_write(&format!("w{index:03}"), None, "first")));
        let mut results = clusters.store(&namespace, &writes).await;
        assert_eq!(results.split_off(2), vec![Ok(()); 200]);
        for result in results {
            story.tell("among many", &result);
        }
        // Full: what does not grow is written. The first key of the ConfigMap says what it is, in a thousand bytes or two.
        let bytes = "x".repeat((1 << 20) - 6_000);
        let writes = [
            state_write("gone", None, &bytes),
            state_write("w000", Some("first"), "other"),
            state_write("new", None, &"x".repeat(6_000)),
        ];
        for write in &writes[..1] {
            let stored = clusters
                .store(&namespace, std::slice::from_ref(write))
                .await;
            story.tell("nearly full", &stored[0]);
        }
        for result in clusters.store(&namespace, &writes[1..]).await {
            story.tell("full", &result);
        }
        side.delete("/api/v1", "configmaps", "outrigger").await;
        story.tell("without a memory", &clusters.load(&namespace).await);
        let stored = store(clusters, &namespace, None, "new").await;
        story.tell("without a memory", &stored);
        // Emptied by somebody: the server refuses every key below a `data` that is not there.
        side.create(
            "/api/v1",
            "configmaps",
            &json!({"metadata": {"name": "outrigger"}}),
        )
        .await;
        story.tell("empty", &clusters.load(&namespace).await);
        let stored = store(clusters, &namespace, None, "new").await;
        story.tell("empty", &stored);
        stories.push((side.name, story));
    }
    let story = same(stories).join("\n");
    assert_names(
        &story,
        &[
            "LostRace",
            "NotFound",
            "kubectl apply -k",
            "Invalid",
            "ConfigMapFull",
        ],
    );
}

#[tokio::test]
async fn other_owners_are_listed() {
    let Some(world) = world() else { return };
    let mut stories = Vec::new();
    for side in sides(world).await {
        let (mut story, namespace) = (Story::default(), side.namespace());
        let target =
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "worker"});
        let Side { clusters, .. } = &side;
        story.tell("none", &clusters.autoscalers(&namespace).await);
        story.tell("none", &clusters.scaled_objects(&namespace).await);
        let disabled = json!({"selectPolicy": "Disabled"});
        let owner = json!([{"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "worker", "uid": "u", "controller": true}]);
        for manifest in [
            json!({"metadata": {"name": "plain"}, "spec": {"scaleTargetRef": target, "maxReplicas": 9}}),
            json!({
                "metadata": {"name": "frozen"},
                "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 9, "behavior": {"scaleUp": disabled, "scaleDown": disabled}},
            }),
            json!({
                "metadata": {"name": "of-keda", "labels": {"app.kubernetes.io/managed-by": "keda-operator"}, "ownerReferences": owner},
                "spec": {"scaleTargetRef": target, "maxReplicas": 9},
            }),
        ] {
            side.create(
                "/apis/autoscaling/v2",
                "horizontalpodautoscalers",
                &manifest,
            )
            .await;
        }
        // More than a page.
        for number in 0..120 {
            let manifest = json!({"metadata": {"name": format!("z-{number:03}")}, "spec": {"scaleTargetRef": target, "maxReplicas": 9}});
            side.create(
                "/apis/autoscaling/v2",
                "horizontalpodautoscalers",
                &manifest,
            )
            .await;
        }
        let triggers = json!([{"type": "cpu", "metadata": {"value": "1"}}]);
        for (name, metadata) in [
            (
                "paused",
                json!({"annotations": {"autoscaling.keda.sh/paused": "true"}}),
            ),
            ("plain", json!({})),
            ("seen", json!({"finalizers": ["finalizer.keda.sh"]})),
        ] {
            let mut manifest = json!({
                "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": metadata,
                "spec": {"scaleTargetRef": {"name": "worker"}, "triggers": triggers},
            });
            manifest["metadata"]["name"] = json!(name);
            side.create("/apis/keda.sh/v1alpha1", "scaledobjects", &manifest)
                .await;
        }
        // Deleted, and waiting for a KEDA that is gone.
        let path = format!(
            "{}/seen",
            side.path("/apis/keda.sh/v1alpha1", "scaledobjects")
        );
        if side.name == "real" {
            side.admin.delete(&path).await.good();
        } else {
            let now = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
            side.admin.patch(&path, MERGE_PATCH, &now).await.good();
        }
        let autoscalers = clusters.autoscalers(&namespace).await.unwrap();
        story.tell("how many", &autoscalers.len());
        story.tell("autoscalers", &autoscalers);
        story.tell("scaled objects", &clusters.scaled_objects(&namespace).await);
        stories.push((side.name, story));
    }
    let story = same(stories).join("\n");
    assert_names(
        &story,
        &[
            "how many: 123",
            "is_deleted: true",
            "is_paused: true",
            "frozen_within: Some(2..=9)",
        ],
    );
}

/// The same with every object's keys in order: servers keep to orders of their own.
fn sorted(value: &Json) -> Json {
    match value {
        Json::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(key, value)| (key.clone(), sorted(value)));
            let fields: std::collections::BTreeMap<_, _> = fields.collect();
            fields.into_iter().collect()
        }
        Json::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// A ScaledObject that KEDA's definition takes.
fn scaled_object(name: &str) -> Json {
    json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": name},
        "spec": {"scaleTargetRef": {"name": "worker"}, "triggers": [{"type": "cpu", "metadata": {"value": "1"}}]},
    })
}

#[tokio::test]
async fn a_status_is_written_into_the_version_that_was_seen() {
    let Some(world) = world() else { return };
    let mut stories = Vec::new();
    for side in sides(world).await {
        let (mut story, namespace) = (Story::default(), side.namespace());
        let Side { clusters, .. } = &side;
        for number in 0..102 {
            let manifest = scaled_object(&format!("a-{number:03}"));
            side.create(KEDA, "scaledobjects", &manifest).await;
        }
        let list = async || {
            let scope = Scope {
                cluster: CLUSTER.to_owned(),
                namespace: Some(side.namespace.clone()),
            };
            let nodes = Objects::list(clusters, ObjectKind::ScaledObject, &scope).await;
            let nodes = nodes.unwrap().into_iter();
            let objects = nodes.map(|node| ListedObject::read(&node, Mode::Live).unwrap());
            objects.collect::<Vec<_>>()
        };
        let listed = list().await;
        story.tell("how many", &listed.len());
        let seen = |object: &ListedObject| Version {
            uid: object.uid.clone(),
            version: object.version.clone(),
        };
        let first = seen(&listed[0]);
        let status = |ready: &str| json!({"conditions": [{"type": "Ready", "status": ready}], "originalReplicaCount": 2});
        let write = async |seen: &Version, status: &Json| {
            let written = clusters
                .write_status(&namespace, "a-000", seen, status)
                .await;
            written.map(|version| (version != seen.version, version))
        };
        let told =
            |written: &Result<(bool, String), _>| written.clone().map(|(changed, _)| changed);
        let written = write(&first, &status("True")).await;
        story.tell("written", &told(&written));
        story.tell("too late", &told(&write(&first, &status("False")).await));
        let second = Version {
            version: written.unwrap().1,
            ..first
        };
        story.tell("again", &told(&write(&second, &status("False")).await));
        let other = Version {
            uid: "other".to_owned(),
            ..seen(&list().await[0])
        };
        story.tell(
            "another object",
            &told(&write(&other, &status("True")).await),
        );
        let now = list().await;
        story.tell("now", &sorted(&now[0].status).to_string());
        let written = clusters
            .write_status(&namespace, "nobody", &second, &status("True"))
            .await;
        story.tell("nobody", &written);
        let scope = Scope {
            cluster: CLUSTER.to_owned(),
            namespace: None,
        };
        for kind in [
            ObjectKind::ScaledObject,
            ObjectKind::ClusterTriggerAuthentication,
        ] {
            story.tell(
                "everywhere",
                &Objects::list(clusters, kind, &scope).await.map(drop),
            );
        }
        stories.push((side.name, story));
    }
    let story = same(stories).join("\n");
    assert_names(
        &story,
        &[
            "how many: 102",
            "LostRace",
            "now: \"{",
            "Forbidden",
            "ClusterRole",
        ],
    );
}

#[tokio::test]
async fn an_event_is_created_once() {
    let Some(world) = world() else { return };
    let mut stories = Vec::new();
    for side in sides(world).await {
        let mut story = Story::default();
        let Side { clusters, .. } = &side;
        let worker = side.worker();
        let seen = clusters.read(&worker).await.unwrap();
        let event = |key: &str| Event {
            key: key.to_owned(),
            at: jiff::Timestamp::from_second(1_800_000_000).unwrap(),
            warning: false,
            reason: "QueueDepth".to_owned(),
            action: "ScaleOut",
            message: "worker 2 → 7".to_owned(),
            uid: seen.uid.clone(),
            version: seen.version.clone(),
        };
        for key in ["6b49d200-1-s", "6b49d200-1-s", "6b49d200-2-s"] {
            story.tell("created", &clusters.create(&worker, &event(key)).await);
        }
        // As `kubectl describe` asks for them.
        let fields = [
            ("involvedObject.kind", "Rollout"),
            ("involvedObject.name", "worker"),
            ("involvedObject.namespace", &side.namespace),
            ("involvedObject.uid", &seen.uid),
        ];
        let selector: Vec<String> = fields
            .iter()
            .map(|(field, value)| format!("{field}%3D{value}"))
            .collect();
        let path = format!(
            "{}?fieldSelector={}",
            side.path("/api/v1", "events"),
            selector.join("%2C")
        );
        let found = side.admin.get(&path).await.good();
        let mut events: Vec<Json> = found["items"].as_array().unwrap().clone();
        for event in &mut events {
            for given in [
                "uid",
                "resourceVersion",
                "creationTimestamp",
                "managedFields",
            ] {
                event["metadata"].as_object_mut().unwrap().remove(given);
            }
            for given in ["uid", "resourceVersion"] {
                assert!(
                    event["involvedObject"]
                        .as_object_mut()
                        .unwrap()
                        .remove(given)
                        .is_some()
                );
            }
            // What the real server fills in.
            for filled in ["eventTime", "reportingInstance"] {
                event.as_object_mut().unwrap().remove(filled);
            }
            let sorted = sorted(event);
            let mut fields: Vec<String> = sorted
                .as_object()
                .unwrap()
                .iter()
                .map(|(key, value)| format!("{key}: {value}"))
                .collect();
            fields.sort();
            story.tell("event", &fields);
        }
        stories.push((side.name, story));
    }
    let story = same(stories).join("\n");
    assert_names(&story, &["created: Ok(())", "already exists", "ScaleOut"]);
}
