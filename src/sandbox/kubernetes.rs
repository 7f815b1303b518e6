//! The Kubernetes endpoint: the objects a scaler meets, behind real authentication and the shipped RBAC.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::authenticator::Refusal;
use super::lock;
use failure::Failure;
use login::User;
use resource::{CONFIG_MAPS, DEPLOYMENTS, ROLLOUTS, Resource, STATEFUL_SETS};
use store::{Change, Place, Store, Writer};

pub(super) mod api;
mod controller;
mod failure;
mod login;
mod managed_fields;
mod page;
mod patch;
pub(super) mod rbac;
mod resource;
mod selector;
mod store;

/// A handle on the cluster; cloning it shares the cluster.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    shared: Arc<Shared>,
}

/// A way for the API server to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KubernetesFault {
    /// This status with a `Status` body; 429 with `Retry-After: 1`.
    Status(u16),
    /// The connection stays open and silent; nothing is applied.
    Hang,
    /// The connection is reset; nothing is applied.
    Reset,
    /// Status 200 with a body that no client can read; nothing is applied.
    Garbage,
    /// Applied at once, answered after this time.
    Slow(Duration),
    /// Applied, then the connection is reset instead of an answer.
    ApplyThenReset,
    /// Applied, then answered with this status, as by a proxy whose server took too long.
    ApplyThenStatus(u16),
}

/// A manifest that cannot be created.
#[derive(Debug, thiserror::Error)]
#[error("cannot create the object: {0}")]
pub struct CreateError(String);

/// What the endpoint and its handles share.
#[derive(Debug)]
pub(super) struct Shared {
    cluster: String,
    region: String,
    sts: SocketAddr,
    namespaces: Vec<String>,
    rules: Vec<rbac::Rule>,
    admin_token: String,
    keda: AtomicBool,
    store: Mutex<Store>,
    faults: Mutex<Vec<FaultRule>>,
    sessions: Mutex<HashMap<String, (User, Timestamp)>>,
    /// Held while STS is asked.
    asking: tokio::sync::Mutex<()>,
    /// Canonical role ARN to groups.
    access: Mutex<HashMap<String, Vec<String>>>,
    last_refusal: Mutex<Option<Refusal>>,
}

/// What a cluster is set up with.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) cluster: String,
    pub(super) region: String,
    pub(super) sts: SocketAddr,
    pub(super) namespaces: Vec<String>,
    pub(super) rules: Vec<rbac::Rule>,
    pub(super) admin_token: String,
}

#[derive(Debug)]
struct FaultRule {
    /// `None` for every method.
    method: Option<String>,
    path_part: String,
    fault: KubernetesFault,
    remaining: u32,
}

impl Shared {
    fn next_fault(&self, method: &Method, path: &str) -> Option<KubernetesFault> {
        let mut faults = lock(&self.faults);
        let strikes = |rule: &&mut FaultRule| {
            rule.remaining > 0
                && rule
                    .method
                    .as_deref()
                    .is_none_or(|wanted| wanted == method.as_str())
                && path.contains(&rule.path_part)
        };
        let rule = faults.iter_mut().find(strikes)?;
        rule.remaining -= 1;
        Some(rule.fault)
    }

    fn keda(&self) -> bool {
        self.keda.load(Ordering::Relaxed)
    }
}

impl Kubernetes {
    pub(super) fn new(setup: Setup) -> Self {
        let Setup {
            cluster,
            region,
            sts,
            namespaces,
            rules,
            admin_token,
        } = setup;
        let shared = Shared {
            cluster,
            region,
            sts,
            namespaces,
            rules,
            admin_token,
            keda: AtomicBool::new(false),
            store: Mutex::default(),
            faults: Mutex::default(),
            sessions: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            access: Mutex::default(),
            last_refusal: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Creates a Rollout, fully promoted; `None` leaves `spec.replicas` unset. One that exists is left as it is.
    pub fn create_rollout(&self, namespace: &str, name: &str, replicas: Option<u32>) {
        let mut manifest = workload(name, replicas);
        if let Some(spec) = manifest.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("strategy".to_owned(), json!({"canary": {}}));
        }
        self.create_in(&ROLLOUTS, namespace, name, manifest);
    }

    /// Creates a Deployment. One that exists is left as it is.
    pub fn create_deployment(&self, namespace: &str, name: &str, replicas: u32) {
        self.create_in(
            &DEPLOYMENTS,
            namespace,
            name,
            workload(name, Some(replicas)),
        );
    }

    /// Creates a `StatefulSet`. One that exists is left as it is.
    pub fn create_stateful_set(&self, namespace: &str, name: &str, replicas: u32) {
        self.create_in(
            &STATEFUL_SETS,
            namespace,
            name,
            workload(name, Some(replicas)),
        );
    }

    /// Creates a `ConfigMap`. One that exists is left as it is.
    pub fn create_configmap(&self, namespace: &str, name: &str, data: &BTreeMap<String, String>) {
        self.create_in(&CONFIG_MAPS, namespace, name, json!({"data": data}));
    }

    /// Creates any object of a known kind from its manifest; the namespace is `default` where it names none.
    pub fn create(&self, manifest: Value) -> Result<(), CreateError> {
        let text = |path: &str| {
            manifest
                .pointer(path)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let (api_version, kind) = (text("/apiVersion"), text("/kind"));
        let resource = resource::of_manifest(
            api_version.as_deref().unwrap_or_default(),
            kind.as_deref().unwrap_or_default(),
        );
        let resource = resource.ok_or_else(|| CreateError("unknown kind".to_owned()))?;
        let name = text("/metadata/name").ok_or_else(|| CreateError("no name".to_owned()))?;
        let namespace = text("/metadata/namespace").unwrap_or_else(|| {
            let default = if resource.namespaced { "default" } else { "" };
            default.to_owned()
        });
        let place = Place {
            resource,
            namespace: &namespace,
            name: &name,
        };
        let created = lock(&self.shared.store).create(place, manifest, super::now());
        created.map_err(|failure| CreateError(failure.message))?;
        Ok(())
    }

    /// An object as `kubectl get -o json` shows it, by the plural of its kind.
    #[must_use]
    pub fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let resource = resource::of_plural(plural)?;
        let store = lock(&self.shared.store);
        store.get(place(resource, namespace, name)).ok().cloned()
    }

    /// All objects of a kind in a namespace, by its plural, in the order of their names.
    #[must_use]
    pub fn list(&self, plural: &str, namespace: &str) -> Vec<Value> {
        let Some(resource) = resource::of_plural(plural) else {
            return Vec::new();
        };
        let (page, selector) = (page::Page::default(), selector::Selector::default());
        let list = lock(&self.shared.store).list(resource, Some(namespace), &page, &selector);
        let items = list.get("items").and_then(Value::as_array);
        items.cloned().unwrap_or_default()
    }

    /// Deletes an object, by the plural of its kind. One that is not there stays away.
    pub fn delete(&self, plural: &str, namespace: &str, name: &str) {
        if let Some(resource) = resource::of_plural(plural) {
            let mut store = lock(&self.shared.store);
            store.delete(place(resource, namespace, name)).ok();
        }
    }

    /// Changes an object in any way, status included. The controller then follows a changed specification, unless the
    /// change touched the status too. Returns whether the object exists.
    pub fn edit(
        &self,
        plural: &str,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> bool {
        let resource = resource::of_plural(plural);
        let mut store = lock(&self.shared.store);
        resource.is_some_and(|resource| store.edit(place(resource, namespace, name), change))
    }

    /// [`Kubernetes::edit`] for a Rollout.
    pub fn set_rollout(
        &self,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> bool {
        self.edit(ROLLOUTS.plural, namespace, name, change)
    }

    /// `spec.replicas` of a Rollout; `None` where it is unset or there is no such Rollout.
    #[must_use]
    pub fn replicas(&self, namespace: &str, name: &str) -> Option<u32> {
        let store = lock(&self.shared.store);
        store::replicas(store.get(place(&ROLLOUTS, namespace, name)).ok()?)
    }

    /// Changes of a Rollout's replicas that came in as requests, oldest first: from, to.
    #[must_use]
    pub fn scale_writes(&self, namespace: &str, name: &str) -> Vec<(u32, u32)> {
        lock(&self.shared.store).writes(place(&ROLLOUTS, namespace, name))
    }

    /// Somebody else sets a Rollout's replicas, through `scale` as field manager `somebody-else`. It is not listed as a
    /// write.
    pub fn set_replicas(&self, namespace: &str, name: &str, replicas: u32) {
        let patch = json!({"spec": {"replicas": replicas}}).to_string();
        let writer = Writer {
            manager: "somebody-else",
            dry_run: false,
            counted: false,
            now: super::now(),
        };
        let place = place(&ROLLOUTS, namespace, name);
        let change = Change::MergePatch(patch.as_bytes());
        let mut store = lock(&self.shared.store);
        // A Rollout that is not there cannot be written to, by somebody else neither.
        store.change_scale(place, change, writer).ok();
    }

    /// The data of a `ConfigMap`; `None` where there is none of that name.
    #[must_use]
    pub fn configmap(&self, namespace: &str, name: &str) -> Option<BTreeMap<String, String>> {
        let store = lock(&self.shared.store);
        let object = store.get(place(&CONFIG_MAPS, namespace, name)).ok()?;
        let data = object.get("data").and_then(Value::as_object);
        let entries = data.into_iter().flatten();
        let entries =
            entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        Some(entries.collect())
    }

    /// Deletes a `ConfigMap`.
    pub fn delete_configmap(&self, namespace: &str, name: &str) {
        self.delete(CONFIG_MAPS.plural, namespace, name);
    }

    /// Serves `scaledobjects`, or answers 404 as a cluster without KEDA does. Off at first.
    pub fn set_keda_installed(&self, installed: bool) {
        self.shared.keda.store(installed, Ordering::Relaxed);
    }

    /// Maps a role, by its ARN without a path, to groups, as an access entry does.
    pub fn map_role(&self, role_arn: &str, groups: &[&str]) {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        lock(&self.shared.access).insert(role_arn.to_owned(), groups);
    }

    /// Removes an access entry and everybody's cached login.
    pub fn unmap_role(&self, role_arn: &str) {
        lock(&self.shared.access).remove(role_arn);
        self.forget_logins();
    }

    /// Drops the cached logins, so that the next request of each token asks STS again.
    pub fn forget_logins(&self) {
        lock(&self.shared.sessions).clear();
    }

    /// Fails the next `times` requests that match: a part of the path, or a method, a space and a part of the path,
    /// such as `PATCH /rollouts/worker/scale`. The oldest matching fault strikes first.
    pub fn fail(&self, matching: &str, fault: KubernetesFault, times: u32) {
        let (method, path_part) = match matching.split_once(' ') {
            Some((method, path_part)) => (Some(method.to_owned()), path_part),
            None => (None, matching),
        };
        lock(&self.shared.faults).push(FaultRule {
            method,
            path_part: path_part.to_owned(),
            fault,
            remaining: times,
        });
    }

    /// Ends every fault.
    pub fn clear_faults(&self) {
        lock(&self.shared.faults).clear();
    }

    /// Why the last request that got a 401 was not let in: what a caller is never told.
    #[must_use]
    pub fn last_auth_failure(&self) -> Option<Refusal> {
        lock(&self.shared.last_refusal).clone()
    }

    /// Creation can only fail because the object is there, which is what was asked for.
    fn create_in(&self, resource: &'static Resource, namespace: &str, name: &str, manifest: Value) {
        let place = place(resource, namespace, name);
        let created: Result<Value, Failure> =
            lock(&self.shared.store).create(place, manifest, super::now());
        created.ok();
    }
}

fn place<'a>(resource: &'static Resource, namespace: &'a str, name: &'a str) -> Place<'a> {
    Place {
        resource,
        namespace,
        name,
    }
}

fn workload(name: &str, replicas: Option<u32>) -> Value {
    let mut spec = json!({
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "worker", "image": "worker:1"}]},
        },
    });
    if let (Some(replicas), Some(fields)) = (replicas, spec.as_object_mut()) {
        fields.insert("replicas".to_owned(), json!(replicas));
    }
    json!({"spec": spec})
}
