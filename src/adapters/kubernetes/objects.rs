//! Workloads, their `/scale`, and the read of the ConfigMap with the state.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::answer::Lenient;
use super::fault::Failure;
use super::{Call, Clusters, FIELD_MANAGER, owners};
use crate::decide::{Rollout, Workload};
use crate::owners::{Autoscaler, ScaledObject};
use crate::ports::{Change, Fault, FaultKind, Memories, Namespace, Place, Scaler, Seen, Workloads};
use crate::state::MAX_REPLICAS;

/// The ConfigMap of a namespace that holds the state, one key a target.
pub(super) const CONFIG_MAP: &str = "outrigger";

impl Workloads for Clusters {
    /// A Rollout is read itself, for count, uid and state in one; other kinds through `/scale`, for which a smaller right is enough.
    async fn read(&self, place: &Place) -> Result<Seen, Fault> {
        let Place {
            namespace,
            workload,
        } = place;
        let subresource = if workload.kind.is_rollout() {
            ""
        } else {
            "/scale"
        };
        let plural = self.plural(&namespace.cluster, &workload.kind).await?;
        let call = Call {
            cluster: &namespace.cluster,
            method: "GET",
            path: format!("{}{subresource}", workload_path(place, &plural)),
            body: Vec::new(),
            what: format!("read {}", name_of(place)),
        };
        match self.send(&call).await {
            Ok(object) => seen(object, place, plural.into_owned()),
            Err(failure) => Err(self.workload_fault(place, failure)),
        }
    }

    async fn autoscalers(&self, namespace: &Namespace) -> Result<Vec<Autoscaler>, Fault> {
        owners::autoscalers(self, namespace).await
    }

    async fn scaled_objects(&self, namespace: &Namespace) -> Result<Vec<ScaledObject>, Fault> {
        owners::scaled_objects(self, namespace).await
    }
}

/// What is read of a workload or its `/scale`: a Rollout may have more than a megabyte, most of it a template and who wrote what.
#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    kind: Lenient<String>,
    metadata: Option<Metadata>,
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    uid: Lenient<String>,
    #[serde(rename = "resourceVersion")]
    version: Lenient<String>,
    generation: Lenient<u64>,
    annotations: Lenient<Annotations>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "rollout.argoproj.io/revision")]
    revision: Lenient<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Spec {
    replicas: Option<Count>,
    paused: Lenient<bool>,
    strategy: Lenient<Strategy>,
    #[serde(rename = "workloadRef")]
    adopted: Lenient<Adopted>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Strategy {
    canary: Option<IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Adopted {
    #[serde(rename = "scaleDown")]
    scale_down: Lenient<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    abort: Lenient<bool>,
    #[serde(rename = "observedGeneration")]
    generation: Lenient<String>,
    #[serde(rename = "currentPodHash")]
    current: Lenient<String>,
    #[serde(rename = "stableRS")]
    stable: Lenient<String>,
    #[serde(rename = "pauseConditions")]
    pauses: Lenient<Vec<PauseCondition>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PauseCondition {
    reason: Lenient<String>,
}

/// A count, or the beginning of what stands in its place.
struct Count(Result<u32, String>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Of what is no count.
        const SHOWN: usize = 40;
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let count = raw.parse().ok().filter(|count| *count <= MAX_REPLICAS);
        Ok(Self(count.ok_or_else(|| raw.chars().take(SHOWN).collect())))
    }
}

fn seen(object: Object, place: &Place, resource: String) -> Result<Seen, Fault> {
    let name = name_of(place);
    let bad = |found: &str| Fault::failed("BadResponse", format!("could not read {name}: {found}"));
    let rollout = { place.workload.kind.is_rollout() }.then(|| object.rollout());
    let Object {
        kind,
        metadata,
        spec,
        status: _,
    } = object;
    let (metadata, spec) = (metadata.unwrap_or_default(), spec.unwrap_or_default());
    let uid = { metadata.uid.0 }.ok_or_else(|| bad("the answer has no metadata.uid"))?;
    let is_scale = kind.0.as_deref() == Some("Scale");
    let replicas = match spec.replicas {
        // `/scale` leaves zero out.
        None if is_scale => 0,
        None => return Err(replicas_unset(place, "spec.replicas is not set")),
        Some(Count(Ok(count))) => count,
        Some(Count(Err(found))) => {
            return Err(bad(&format!(
                "spec.replicas is {found}, which is not a count"
            )));
        }
    };
    Ok(Seen {
        uid,
        version: metadata.version.0.unwrap_or_default(),
        resource,
        workload: Workload { replicas, rollout },
    })
}

fn replicas_unset(place: &Place, found: &str) -> Fault {
    let message = format!(
        "could not read {}: {found}, so there is no count to start from; \
         set it once: kubectl scale {} {} -n {} --replicas=1, and take `replicas` out of Git only with ignoreDifferences in place",
        name_of(place),
        place.workload.kind.kubectl_name(),
        place.workload.name,
        place.namespace.name
    );
    Fault::failed("ReplicasUnset", message)
}

/// The state of a Rollout, from the JSON that its controller writes; `None` of what is no such object.
#[must_use]
pub fn rollout_state(text: &str) -> Option<Rollout> {
    let object: Object = serde_json::from_str(text).ok()?;
    Some(object.rollout())
}

impl Object {
    /// From what the controller writes. The phase is not used: every scale-out makes it Progressing.
    fn rollout(&self) -> Rollout {
        let Self {
            kind: _,
            metadata,
            spec,
            status,
        } = self;
        let (no_metadata, no_spec, no_status) = Default::default();
        let metadata = metadata.as_ref().unwrap_or(&no_metadata);
        let spec = spec.as_ref().unwrap_or(&no_spec);
        let status = status.as_ref().unwrap_or(&no_status);
        let paused_by = |reasons: &[&str]| {
            let conditions = status.pauses.0.iter().flatten();
            conditions
                .filter_map(|condition| condition.reason.0.as_deref())
                .any(|reason| reasons.contains(&reason))
        };
        // The generation is a string in the status.
        let generation = metadata
            .generation
            .0
            .map(|generation| generation.to_string());
        let is_observed = status.generation.0 == generation;
        let strategy = spec.strategy.0.as_ref();
        let is_canary = strategy.is_some_and(|strategy| strategy.canary.is_some());
        // The controller acts on the Deployment at the first revision only; one that it has not numbered yet is the first.
        let annotations = metadata.annotations.0.as_ref();
        let revision = annotations.and_then(|annotations| annotations.revision.0.as_deref());
        let adopted = spec.adopted.0.as_ref();
        let scale_down = adopted.and_then(|adopted| adopted.scale_down.0.as_deref());
        Rollout {
            paused: is_canary
                && (spec.paused.0 == Some(true)
                    || paused_by(&["InconclusiveAnalysisRun", "InconclusiveExperiment"])),
            aborted: status.abort.0 == Some(true),
            updating: status.current != status.stable || !is_observed,
            // What is paused is the update of the spec that was observed; a newer one is in flight.
            pause_step: is_observed && paused_by(&["CanaryPauseStep", "BlueGreenPause"]),
            handover: scale_down == Some("progressively") && revision.unwrap_or("1") == "1",
        }
    }
}

impl Scaler for Clusters {
    /// A JSON Patch that tests uid and old count. A stale test answers 422 and writes nothing.
    async fn scale(&self, place: &Place, change: &Change) -> Result<(), Fault> {
        let namespace = &place.namespace;
        let Change { uid, from, to } = change;
        // At zero the field is absent.
        let old = if *from == 0 { Json::Null } else { json!(from) };
        let plural = self
            .plural(&namespace.cluster, &place.workload.kind)
            .await?;
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "test", "path": "/spec/replicas", "value": old},
            {"op": "add", "path": "/spec/replicas", "value": to},
        ]);
        let call = Call {
            cluster: &namespace.cluster,
            method: "PATCH",
            path: format!(
                "{}/scale?fieldManager={FIELD_MANAGER}",
                workload_path(place, &plural)
            ),
            body: patch.to_string().into_bytes(),
            what: format!("scale {} from {from} to {to}", name_of(place)),
        };
        let Err(failure) = self.send::<IgnoredAny>(&call).await else {
            return Ok(());
        };
        if failure.status != Some(422) {
            let maybe_done = failure.maybe_done;
            let fault = self.workload_fault(place, failure);
            return if maybe_done {
                self.what_became(place, change, fault).await
            } else {
                Err(fault)
            };
        }
        // 422 is a stale test or a value that the server does not take: look which.
        let now = match self.read(place).await {
            Ok(now) => now,
            // An attempt before may have been carried out, and is not to be taken back then.
            Err(fault) if failure.maybe_done => {
                return Err(Fault {
                    kind: FaultKind::Unclear,
                    ..fault
                });
            }
            Err(fault) => return Err(fault),
        };
        match now {
            // An attempt before was carried out although its answer was lost.
            Seen {
                uid: now_uid,
                workload,
                ..
            } if failure.maybe_done && now_uid == *uid && workload.replicas == *to => Ok(()),
            Seen {
                uid: now_uid,
                workload,
                ..
            } if now_uid == *uid && workload.replicas == *from => Err(failure.fault),
            Seen { workload, .. } => {
                let message = format!(
                    "{} has {} replicas now, not {from}",
                    name_of(place),
                    workload.replicas
                );
                Err(Fault::lost_race(message))
            }
        }
    }
}

impl Clusters {
    /// After a change whose answer was lost: done, not done, or not to be found out.
    async fn what_became(&self, place: &Place, change: &Change, fault: Fault) -> Result<(), Fault> {
        let Change { uid, from, to } = change;
        match self.read(place).await {
            Ok(now) if now.uid == *uid && now.workload.replicas == *to => Ok(()),
            Ok(now) if now.uid == *uid && now.workload.replicas == *from => Err(fault),
            Ok(_) | Err(_) => Err(Fault {
                kind: FaultKind::Unclear,
                ..fault
            }),
        }
    }
}

#[derive(Deserialize)]
struct ConfigMap {
    #[serde(default)]
    data: Lenient<BTreeMap<String, Lenient<String>>>,
}

impl Memories for Clusters {
    async fn load(&self, namespace: &Namespace) -> Result<BTreeMap<String, String>, Fault> {
        let call = Call {
            cluster: &namespace.cluster,
            method: "GET",
            path: config_map_path(namespace),
            body: Vec::new(),
            what: format!("read the ConfigMap `{}/{CONFIG_MAP}`", namespace.name),
        };
        let ConfigMap { data } = self.send(&call).await.map_err(|failure| failure.fault)?;
        let keys = data.0.unwrap_or_default().into_iter();
        Ok(keys
            .filter_map(|(key, value)| Some((key, value.0?)))
            .collect())
    }
}

fn name_of(place: &Place) -> String {
    let Place {
        namespace,
        workload,
    } = place;
    format!(
        "{} `{}/{}`",
        workload.kind.kind(),
        namespace.name,
        workload.name
    )
}

impl Clusters {
    /// What a failure means for a workload, beyond what it means for any call.
    fn workload_fault(&self, place: &Place, failure: Failure) -> Fault {
        let Place {
            namespace,
            workload,
        } = place;
        match failure {
            Failure {
                replicas_unset: Some(found),
                ..
            } => replicas_unset(place, &found),
            Failure { status, fault, .. } => {
                if status == Some(404) {
                    self.discovery.doubt(&namespace.cluster, &workload.kind);
                }
                fault
            }
        }
    }
}

fn workload_path(place: &Place, plural: &str) -> String {
    let Place {
        namespace,
        workload,
    } = place;
    let root = match workload.kind.group() {
        "" => "api",
        _ => "apis",
    };
    // The names are DNS-1123, so nothing needs escaping.
    format!(
        "/{root}/{}/namespaces/{}/{plural}/{}",
        workload.kind.api_version(),
        namespace.name,
        workload.name
    )
}

pub(super) fn config_map_path(namespace: &Namespace) -> String {
    format!(
        "/api/v1/namespaces/{}/configmaps/{CONFIG_MAP}",
        namespace.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(spec: &Json, status: &Json) -> Rollout {
        let object = json!({"metadata": {"generation": 7}, "spec": spec, "status": status});
        rollout_state(&object.to_string()).unwrap()
    }

    #[test]
    fn the_state_of_a_rollout() {
        let canary = json!({"strategy": {"canary": {}}});
        let stable = json!({"observedGeneration": "7", "currentPodHash": "a", "stableRS": "a", "phase": "Progressing"});
        assert_eq!(rollout(&canary, &stable), Rollout::default());
        let with = |key: &str, value: Json| {
            let mut status = stable.clone();
            status[key] = value;
            rollout(&canary, &status)
        };
        assert!(
            with("currentPodHash", json!("b")).updating
                && with("observedGeneration", json!("6")).updating
        );
        assert!(with("abort", json!(true)).aborted);
        let adopts = |scale_down: &str, revision: Json| {
            let reference =
                json!({"kind": "Deployment", "name": "worker", "scaleDown": scale_down});
            let annotations = json!({"rollout.argoproj.io/revision": revision});
            let object = json!({
                "metadata": {"generation": 7, "annotations": annotations},
                "spec": {"strategy": {"canary": {}}, "workloadRef": reference},
                "status": stable,
            });
            rollout_state(&object.to_string()).unwrap().handover
        };
        assert!(adopts("progressively", json!("1")) && adopts("progressively", Json::Null));
        assert!(!adopts("progressively", json!("2")));
        assert!(!adopts("onsuccess", json!("1")) && !adopts("never", json!("1")));
        assert!(with("pauseConditions", json!([{"reason": "CanaryPauseStep"}])).pause_step);
        assert!(
            with(
                "pauseConditions",
                json!([{"reason": "InconclusiveAnalysisRun"}])
            )
            .paused
        );
        assert!(
            rollout(
                &json!({"strategy": {"canary": {}}, "paused": true}),
                &stable
            )
            .paused
        );
        // A paused blue-green Rollout follows a new count.
        assert!(
            !rollout(
                &json!({"strategy": {"blueGreen": {}}, "paused": true}),
                &stable
            )
            .paused
        );
        assert!(rollout(&canary, &Json::Null).updating);
    }
}
