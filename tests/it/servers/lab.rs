//! A namespace for one test, with SQS and EKS of our own around a Kubernetes that is ours or real.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outrigger::sandbox::{Sandbox, SandboxOptions, SessionKeys};
use outrigger::settings::ClusterAddress;
use serde_json::{Value as Json, json};

use super::client::Client;
use super::world::{CLUSTER, ROLE, World};
use crate::support::function::Function;
use crate::support::{PATIENCE, WORKER};

pub(super) const SHIPPED_ROLE: &str = include_str!("../../../infra/kubernetes/role.yaml");
const SHIPPED_BINDING: &str = include_str!("../../../infra/kubernetes/rolebinding.yaml");
const SHIPPED_MEMORY: &str = include_str!("../../../infra/kubernetes/configmap.yaml");

/// What a test works in.
#[derive(Debug)]
pub(super) struct Lab {
    pub(super) world: &'static World,
    /// SQS, and the EKS endpoint that describes the real cluster.
    pub(super) sandbox: Sandbox,
    pub(super) admin: Client,
    pub(super) namespace: String,
    /// Who the function is.
    pub(super) keys: SessionKeys,
}

impl Lab {
    /// A namespace with the shipped Role, `RoleBinding` and `ConfigMap`, a Rollout `worker` of 2 and 63 messages.
    pub(super) async fn new(world: &'static World) -> Self {
        Self::with_role(world, SHIPPED_ROLE).await
    }

    /// The same with another Role.
    pub(super) async fn with_role(world: &'static World, role: &str) -> Self {
        let namespace = new_namespace(&world.admin()).await;
        Self::furnished(world, namespace, role, &rollout("worker", Some(2))).await
    }

    /// The same in the namespace `default`, which every cluster has: for one test alone.
    pub(super) async fn in_default(world: &'static World) -> Self {
        let namespace = "default".to_owned();
        Self::furnished(world, namespace, SHIPPED_ROLE, &rollout("worker", Some(2))).await
    }

    /// The same with another Rollout.
    pub(super) async fn with_rollout(world: &'static World, rollout: &Json) -> Self {
        let namespace = new_namespace(&world.admin()).await;
        Self::furnished(world, namespace, SHIPPED_ROLE, rollout).await
    }

    /// A namespace with the shipped objects and no workload.
    pub(super) async fn empty(world: &'static World, namespace: String) -> Self {
        Self::with_rights(world, namespace, SHIPPED_ROLE).await
    }

    async fn furnished(
        world: &'static World,
        namespace: String,
        role: &str,
        rollout: &Json,
    ) -> Self {
        let lab = Self::with_rights(world, namespace, role).await;
        lab.admin.post(&lab.rollouts(""), rollout).await.good();
        lab
    }

    async fn with_rights(world: &'static World, namespace: String, role: &str) -> Self {
        let sandbox = crate::support::bare(SandboxOptions::default()).await;
        describe(&sandbox, world.address());
        sandbox.queues().set_counts("orders", 60, 3, 0);
        let keys = world.sts.assume_role(ROLE);
        sandbox.admit(&keys);
        let admin = world.admin();
        let lab = Self {
            world,
            sandbox,
            admin,
            namespace,
            keys,
        };
        apply_shipped(&lab.admin, &lab.namespace, role).await;
        lab
    }

    /// The path of a Rollout, or with an empty name of all of them.
    pub(super) fn rollouts(&self, name: &str) -> String {
        let path = format!(
            "/apis/argoproj.io/v1alpha1/namespaces/{}/rollouts/{name}",
            self.namespace
        );
        path.trim_end_matches('/').to_owned()
    }

    pub(super) fn memory_path(&self) -> String {
        format!("/api/v1/namespaces/{}/configmaps/outrigger", self.namespace)
    }

    pub(super) async fn worker(&self) -> Json {
        self.admin.get(&self.rollouts("worker")).await.good()
    }

    pub(super) async fn replicas(&self) -> Option<u64> {
        self.worker().await["spec"]["replicas"].as_u64()
    }

    /// Somebody else sets the count.
    pub(super) async fn set_replicas(&self, replicas: u32) {
        let path = self.rollouts("worker/scale");
        let patch = json!({"spec": {"replicas": replicas}});
        let answer = self.admin.patch(&path, super::client::MERGE_PATCH, &patch);
        answer.await.good();
    }

    /// Writes into the status what the controller of Argo Rollouts does when it is done.
    pub(super) async fn settle(&self) {
        let worker = self.worker().await;
        let generation = worker["metadata"]["generation"].to_string();
        let status = json!({"status": {"observedGeneration": generation, "currentPodHash": "a", "stableRS": "a"}});
        let path = self.rollouts("worker/status");
        let answer = self.admin.patch(&path, super::client::MERGE_PATCH, &status);
        answer.await.good();
    }

    /// The key of `worker` in the memory.
    pub(super) async fn remembered(&self) -> Option<Json> {
        let object = self.admin.get(&self.memory_path()).await.good();
        let text = object["data"]["rollout.worker"].as_str()?;
        Some(serde_json::from_str(text).unwrap())
    }

    /// Removes the key of `worker`, as if it had never been scaled.
    pub(super) async fn forget(&self) {
        let path = self.memory_path();
        let patch = json!({"data": {"rollout.worker": null}});
        let answer = self.admin.patch(&path, super::client::MERGE_PATCH, &patch);
        answer.await.good();
    }

    /// Puts a memory of `worker` into the `ConfigMap` as an earlier invocation would have left it.
    pub(super) async fn remember(&self, state: &str) {
        let patch = json!({"data": {"rollout.worker": state}});
        let path = self.memory_path();
        let answer = self.admin.patch(&path, super::client::MERGE_PATCH, &patch);
        answer.await.good();
    }

    /// The manifest of `worker` in this namespace.
    pub(super) fn manifest(&self) -> String {
        WORKER.replace(
            "namespace: default",
            &format!("namespace: {}", self.namespace),
        )
    }

    /// The deployed program with credentials of the STS that the authenticator asks.
    pub(super) async fn function(&self) -> Function {
        self.function_of(&self.keys, &[]).await
    }

    pub(super) async fn function_of(
        &self,
        keys: &SessionKeys,
        environment: &[(&str, &str)],
    ) -> Function {
        self.function_with(keys, environment, &self.manifest())
            .await
    }

    pub(super) async fn function_with(
        &self,
        keys: &SessionKeys,
        environment: &[(&str, &str)],
        manifest: &str,
    ) -> Function {
        let mut all = vec![
            ("AWS_ACCESS_KEY_ID", keys.access_key.as_str()),
            ("AWS_SECRET_ACCESS_KEY", keys.secret.as_str()),
            ("AWS_SESSION_TOKEN", keys.token.as_str()),
            ("OUTRIGGER_CLUSTERS", CLUSTER),
        ];
        all.extend(environment);
        Function::start(&self.sandbox, manifest, &all).await
    }

    /// The deployed program with the ScaledObjects of this namespace.
    pub(super) async fn function_in_cluster(&self, environment: &[(&str, &str)]) -> Function {
        let config = format!("cluster:{}", self.namespace);
        let mut all = vec![("OUTRIGGER_CONFIG", config.as_str())];
        all.extend(environment);
        self.function_with(&self.keys, &all, "").await
    }

    /// The path of a ScaledObject, or with an empty name of all of them.
    pub(super) fn scaled_objects(&self, name: &str) -> String {
        let namespace = &self.namespace;
        let path = format!("/apis/keda.sh/v1alpha1/namespaces/{namespace}/scaledobjects/{name}");
        path.trim_end_matches('/').to_owned()
    }

    /// Creates the ScaledObject `worker`, changed before that.
    pub(super) async fn create_scaled_object(&self, change: impl FnOnce(&mut Json)) {
        let documents = outrigger::document::parse_yaml(WORKER.as_bytes());
        let mut object = documents[0].root.as_ref().unwrap().to_json();
        object["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("namespace");
        change(&mut object);
        let answer = self.admin.post(&self.scaled_objects(""), &object).await;
        answer.good();
    }

    /// The Events about a Rollout, found as `kubectl describe` finds them.
    pub(super) async fn events(&self, rollout: &str) -> Vec<Json> {
        let uid = self.admin.get(&self.rollouts(rollout)).await.good()["metadata"]["uid"].clone();
        let fields = [
            ("involvedObject.kind", "Rollout"),
            ("involvedObject.name", rollout),
            ("involvedObject.namespace", &self.namespace),
            ("involvedObject.uid", uid.as_str().unwrap()),
        ];
        let fields = fields.map(|(field, value)| format!("{field}%3D{value}"));
        let path = format!(
            "/api/v1/namespaces/{}/events?fieldSelector={}",
            self.namespace,
            fields.join("%2C")
        );
        let list = self.admin.get(&path).await.good();
        list["items"].as_array().unwrap().clone()
    }

    /// The requests of the function that the API server saw: verb, resource, status.
    pub(super) fn requests(&self) -> Vec<(String, String, u64)> {
        let events = self.world.audit(&self.namespace);
        let ours = events.iter().filter(|event| {
            let agent = event["userAgent"].as_str();
            agent.is_some_and(|agent| agent.starts_with("outrigger/"))
        });
        ours.map(|event| {
            let text = |field: &Json| field.as_str().unwrap_or_default().to_owned();
            let reference = &event["objectRef"];
            let resource = match text(&reference["subresource"]) {
                none if none.is_empty() => text(&reference["resource"]),
                subresource => format!("{}/{subresource}", text(&reference["resource"])),
            };
            let status = event["responseStatus"]["code"].as_u64();
            (text(&event["verb"]), resource, status.unwrap_or_default())
        })
        .collect()
    }
}

/// Puts the shipped `RoleBinding` and `ConfigMap` into a namespace, and a Role.
pub(super) async fn apply_shipped(admin: &Client, namespace: &str, role: &str) {
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}");
    let memory = format!("/api/v1/namespaces/{namespace}/configmaps/outrigger");
    for (path, manifest) in [
        (format!("{rbac}/roles/outrigger"), role),
        (format!("{rbac}/rolebindings/outrigger"), SHIPPED_BINDING),
        (memory, SHIPPED_MEMORY),
    ] {
        admin.apply(&path, manifest).await;
    }
}

/// Makes the sandbox's EKS describe another cluster.
pub(super) fn describe(sandbox: &Sandbox, address: &ClusterAddress) {
    let ClusterAddress {
        endpoint,
        certificate_authority,
    } = address.clone();
    sandbox.eks().set_cluster(|cluster| {
        cluster["endpoint"] = json!(endpoint);
        cluster["certificateAuthority"] = json!({"data": certificate_authority});
    });
}

/// Makes a namespace of a name that no other test has.
pub(super) async fn new_namespace(admin: &Client) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let name = format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let manifest = json!({"metadata": {"name": name}});
    admin.post("/api/v1/namespaces", &manifest).await.good();
    name
}

/// A Rollout as its users write it: a canary without steps.
pub(super) fn rollout(name: &str, replicas: Option<u32>) -> Json {
    let mut spec = json!({
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "worker", "image": "worker:1"}]},
        },
        "strategy": {"canary": {}},
    });
    if let Some(replicas) = replicas {
        spec["replicas"] = json!(replicas);
    }
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name},
        "spec": spec,
    })
}

/// Waits until a server says yes.
pub(super) async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    settled(what, async || {
        if holds().await {
            Ok(())
        } else {
            Err(String::new())
        }
    })
    .await;
}

/// Waits until it is as wanted; says how it is instead where it never is.
pub(super) async fn settled(what: &str, mut ask: impl AsyncFnMut() -> Result<(), String>) {
    let mut last = String::new();
    let wait = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        loop {
            ticks.tick().await;
            match ask().await {
                Ok(()) => return,
                Err(found) => last = found,
            }
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    waited.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}; found {last}"));
}
