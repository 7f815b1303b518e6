//! The lists that other owners are looked for in. Only what decides is read; the rest of each object is skipped unread.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::Clusters;
use super::list::{Listed, Question, list};
use crate::fields::{go_bool, is_dns_subdomain};
use crate::owners::{Autoscaler, FINALIZER, ScaledObject, TargetRef};
use crate::ports::{Fault, Namespace, Scope};

const AUTOSCALERS: Listed = Listed {
    group: "autoscaling",
    version: "v2",
    plural: "horizontalpodautoscalers",
    may_be_unknown: false,
};

const SCALED_OBJECTS: Listed = Listed {
    group: "keda.sh",
    version: "v1alpha1",
    plural: "scaledobjects",
    may_be_unknown: true,
};

pub(super) async fn autoscalers(
    clusters: &Clusters,
    namespace: &Namespace,
) -> Result<Vec<Autoscaler>, Fault> {
    list_owners(clusters, namespace, &AUTOSCALERS, autoscaler).await
}

pub(super) async fn scaled_objects(
    clusters: &Clusters,
    namespace: &Namespace,
) -> Result<Vec<ScaledObject>, Fault> {
    if let Some(known) = clusters.scaled_objects.of(namespace) {
        return Ok(known);
    }
    list_owners(clusters, namespace, &SCALED_OBJECTS, scaled_object).await
}

/// The ScaledObjects that were listed in this invocation to see what is to be scaled. They say as well to whom an autoscaler of
/// KEDA belongs, so that nobody lists them twice. Whether there is such an autoscaler is asked before each write.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<BTreeMap<Scope, OfNamespaces>>);

type OfNamespaces = BTreeMap<String, Vec<ScaledObject>>;

impl Known {
    pub(super) fn begin_invocation(&self) {
        self.lock().clear();
    }

    /// Keeps a whole list, each object with its namespace. One that is not understood makes none of it: who needs it lists anew.
    pub(super) fn keep(&self, scope: &Scope, objects: Vec<Option<(String, ScaledObject)>>) {
        let objects: Option<Vec<_>> = objects.into_iter().collect();
        let Some(objects) = objects else {
            return;
        };
        let mut found = OfNamespaces::default();
        for (namespace, object) in objects {
            found.entry(namespace).or_default().push(object);
        }
        self.lock().insert(scope.clone(), found);
    }

    /// Those of a namespace, where they are known.
    fn of(&self, namespace: &Namespace) -> Option<Vec<ScaledObject>> {
        let Namespace { cluster, name } = namespace;
        let known = self.lock();
        let found = [Some(name.clone()), None]
            .into_iter()
            .find_map(|namespace| {
                let cluster = cluster.clone();
                known.get(&Scope { cluster, namespace })
            });
        Some(found?.get(name).cloned().unwrap_or_default())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Scope, OfNamespaces>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an object says here, and its namespace.
pub(super) fn read(raw: &RawValue) -> Option<(String, ScaledObject)> {
    let object: ScaledObjectObject = serde_json::from_str(raw.get()).ok()?;
    let namespace = object.metadata.namespace.clone()?;
    Some((namespace, scaled_object(object)?))
}

async fn list_owners<W: DeserializeOwned, T>(
    clusters: &Clusters,
    namespace: &Namespace,
    listed: &Listed,
    read: impl Fn(W) -> Option<T>,
) -> Result<Vec<T>, Fault> {
    let question = Question {
        cluster: &namespace.cluster,
        namespace: Some(&namespace.name),
        listed,
        why: "to see who else scales there",
    };
    list(clusters, &question, read)
        .await
        .map_err(scale_in_waits)
}

fn scale_in_waits(fault: Fault) -> Fault {
    let message = format!(
        "{}; until it is known who else scales there, nothing is scaled in",
        fault.message
    );
    Fault { message, ..fault }
}

/// `None` where a name is none, since names end up in commands and records.
fn autoscaler(object: AutoscalerObject) -> Option<Autoscaler> {
    let AutoscalerObject { metadata, spec } = object;
    let AutoscalerSpec {
        target,
        min_replicas,
        max_replicas,
        behavior,
    } = spec;
    let owner = metadata.owners.unwrap_or_default().into_iter();
    let mut owner = owner
        .filter(|owner| owner.kind == "ScaledObject" && owner.api_version.starts_with("keda.sh/"));
    let manager = metadata.labels.unwrap_or_default().managed_by;
    let is_frozen = behavior.is_some_and(|behavior| {
        [behavior.scale_up, behavior.scale_down]
            .into_iter()
            .all(|rules| rules.and_then(|rules| rules.select).as_deref() == Some("Disabled"))
    });
    let within: RangeInclusive<u32> = min_replicas.unwrap_or(1)..=max_replicas;
    let scaled_object = match owner.next() {
        Some(owner) => Some(named(owner.name)?),
        None => None,
    };
    Some(Autoscaler {
        name: named(metadata.name)?,
        target: target.into(),
        scaled_object,
        is_labelled_keda: manager.as_deref() == Some("keda-operator"),
        frozen_within: is_frozen.then_some(within),
    })
}

fn scaled_object(object: ScaledObjectObject) -> Option<ScaledObject> {
    let ScaledObjectObject { metadata, spec } = object;
    let Annotations {
        paused,
        paused_replicas,
    } = metadata.annotations.unwrap_or_default();
    // What is not a boolean pauses KEDA, too.
    let is_paused = paused.is_some_and(|text| go_bool(&text) != Some(false));
    let finalizers = metadata.finalizers.unwrap_or_default();
    let finalizer = finalizers.iter().position(|name| name == FINALIZER);
    Some(ScaledObject {
        name: named(metadata.name)?,
        target: spec.target.into(),
        is_paused: is_paused || paused_replicas.is_some(),
        is_deleted: metadata.deletion_timestamp.is_some(),
        finalizer: finalizer.and_then(|index| u32::try_from(index).ok()),
    })
}

fn named(name: String) -> Option<String> {
    is_dns_subdomain(&name).then_some(name)
}

#[derive(Deserialize)]
struct AutoscalerObject {
    metadata: Metadata,
    spec: AutoscalerSpec,
}

#[derive(Deserialize)]
struct AutoscalerSpec {
    #[serde(rename = "scaleTargetRef")]
    target: Target,
    #[serde(rename = "minReplicas")]
    min_replicas: Option<u32>,
    #[serde(rename = "maxReplicas")]
    max_replicas: u32,
    behavior: Option<Behavior>,
}

#[derive(Deserialize)]
struct Behavior {
    #[serde(rename = "scaleUp")]
    scale_up: Option<Rules>,
    #[serde(rename = "scaleDown")]
    scale_down: Option<Rules>,
}

#[derive(Deserialize)]
struct Rules {
    #[serde(rename = "selectPolicy")]
    select: Option<String>,
}

#[derive(Deserialize)]
struct ScaledObjectObject {
    metadata: Metadata,
    spec: ScaledObjectSpec,
}

#[derive(Deserialize)]
struct ScaledObjectSpec {
    #[serde(rename = "scaleTargetRef")]
    target: KedaTarget,
}

#[derive(Deserialize)]
struct Target {
    #[serde(rename = "apiVersion")]
    api_version: Option<String>,
    kind: String,
    name: String,
}

impl From<Target> for TargetRef {
    fn from(target: Target) -> Self {
        let api_version = target.api_version.unwrap_or_default();
        Self::new(&api_version, &target.kind, &target.name)
    }
}

/// KEDA reads what is left out or empty as a Deployment.
#[derive(Deserialize)]
struct KedaTarget {
    #[serde(rename = "apiVersion")]
    api_version: Option<String>,
    kind: Option<String>,
    name: String,
}

impl From<KedaTarget> for TargetRef {
    fn from(target: KedaTarget) -> Self {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (version, kind) = (given(target.api_version), given(target.kind));
        Self::new(
            version.as_deref().unwrap_or("apps/v1"),
            kind.as_deref().unwrap_or("Deployment"),
            &target.name,
        )
    }
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    namespace: Option<String>,
    labels: Option<Labels>,
    annotations: Option<Annotations>,
    #[serde(rename = "ownerReferences")]
    owners: Option<Vec<OwnerReference>>,
    finalizers: Option<Vec<String>>,
    #[serde(rename = "deletionTimestamp")]
    deletion_timestamp: Option<String>,
}

#[derive(Deserialize, Default)]
struct Labels {
    #[serde(rename = "app.kubernetes.io/managed-by")]
    managed_by: Option<String>,
}

#[derive(Deserialize, Default)]
struct Annotations {
    #[serde(rename = "autoscaling.keda.sh/paused")]
    paused: Option<String>,
    #[serde(rename = "autoscaling.keda.sh/paused-replicas")]
    paused_replicas: Option<String>,
}

#[derive(Deserialize)]
struct OwnerReference {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    name: String,
}
