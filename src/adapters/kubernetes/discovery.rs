//! Which resource a kind is, and whether it can be scaled: asked of the API server once for each group and version.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use tokio::sync::OnceCell;

use super::answer::Lenient;
use super::{Call, Clusters};
use crate::fields::suggestion;
use crate::manifest::WorkloadKind;
use crate::ports::Fault;

/// What the API servers have told about themselves, by cluster and `group/version`, kept while the environment is warm.
#[derive(Debug, Default)]
pub(super) struct Discovery(Mutex<HashMap<(String, String), Arc<Asked>>>);

/// One question and its answer. Whoever comes while it is asked waits for the same answer.
#[derive(Debug, Default)]
struct Asked {
    answer: OnceCell<Result<Vec<Resource>, Fault>>,
    /// Something was not as the answer says, or not in it: the next invocation asks again.
    doubtful: AtomicBool,
}

/// A resource of a group and version.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Resource {
    kind: String,
    plural: String,
    namespaced: bool,
    /// Whether it has the subresource `scale`.
    scales: bool,
}

impl Discovery {
    fn asked(&self, cluster: &str, api_version: String) -> Arc<Asked> {
        let Ok(mut known) = self.0.lock() else {
            return Arc::default();
        };
        let key = (cluster.to_owned(), api_version);
        Arc::clone(known.entry(key).or_default())
    }

    /// A new invocation: what failed or is doubtful is asked again, since a CRD may have been installed or repaired.
    pub(super) fn begin_invocation(&self) {
        let is_good = |asked: &Asked| {
            matches!(asked.answer.get(), Some(Ok(_))) && !asked.doubtful.load(Ordering::Relaxed)
        };
        if let Ok(mut known) = self.0.lock() {
            known.retain(|_, asked| is_good(asked));
        }
    }

    /// A workload is not where the answer says: its object may be gone, or its CRD.
    pub(super) fn doubt(&self, cluster: &str, kind: &WorkloadKind) {
        if kind.plural().is_none() {
            let asked = self.asked(cluster, kind.api_version());
            asked.doubtful.store(true, Ordering::Relaxed);
        }
    }
}

impl Clusters {
    /// The resource of a kind in URLs. Only kinds that are not known by heart are asked for.
    pub(super) async fn plural(
        &self,
        cluster: &str,
        kind: &WorkloadKind,
    ) -> Result<Cow<'static, str>, Fault> {
        if let Some(plural) = kind.plural() {
            return Ok(Cow::Borrowed(plural));
        }
        let asked = self.discovery.asked(cluster, kind.api_version());
        let ask = || self.ask_for_resources(cluster, kind);
        let resources = asked.answer.get_or_init(ask).await.as_ref();
        let found = resources.map_err(Clone::clone).and_then(|resources| {
            scalable(resources, kind)
                .map_err(|(code, reason)| not_scalable(cluster, kind, code, &reason))
        });
        if found.is_err() {
            asked.doubtful.store(true, Ordering::Relaxed);
        }
        found.map(Cow::Owned)
    }

    async fn ask_for_resources(
        &self,
        cluster: &str,
        kind: &WorkloadKind,
    ) -> Result<Vec<Resource>, Fault> {
        let api_version = kind.api_version();
        let call = Call {
            cluster,
            method: "GET",
            path: match kind.group() {
                "" => format!("/api/{api_version}"),
                _ => format!("/apis/{api_version}"),
            },
            body: Vec::new(),
            what: format!("ask which kinds {api_version} has, for {}", kind.kind()),
        };
        match self.send(&call).await {
            Ok(list) => Ok(resources(list)),
            Err(failure) if failure.status == Some(404) => {
                let reason = format!(
                    "the API server does not serve {api_version}: check `scaleTargetRef.apiVersion`, and that the CRD is installed; \
                     kubectl api-versions lists what is served"
                );
                Err(not_scalable(cluster, kind, "NotServed", &reason))
            }
            Err(failure) => Err(failure.fault),
        }
    }
}

/// What is read of an `APIResourceList`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ResourceList {
    resources: Lenient<Vec<Lenient<Entry>>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    name: Lenient<String>,
    kind: Lenient<String>,
    namespaced: Lenient<bool>,
}

/// The resources of a list. A subresource is an entry too, named `workers/scale`.
fn resources(list: Lenient<ResourceList>) -> Vec<Resource> {
    let entries = list.0.and_then(|list| list.resources.0);
    let entries = entries.unwrap_or_default().into_iter();
    let entries: Vec<(String, Entry)> = entries
        .filter_map(|entry| {
            let mut entry = entry.0?;
            Some((entry.name.0.take()?, entry))
        })
        .collect();
    let scales = |plural: &str| {
        let mut names = entries.iter().map(|(name, _)| name);
        names.any(|name| name.strip_prefix(plural) == Some("/scale"))
    };
    let resource = |(plural, entry): &(String, Entry)| {
        Some(Resource {
            kind: { !plural.contains('/') }.then(|| entry.kind.0.clone())??,
            plural: plural.clone(),
            namespaced: entry.namespaced.0 == Some(true),
            scales: scales(plural),
        })
    };
    entries.iter().filter_map(resource).collect()
}

/// The plural of the namespaced resource of a kind that has `/scale`, or a code and the reason why there is none.
fn scalable(resources: &[Resource], kind: &WorkloadKind) -> Result<String, (&'static str, String)> {
    let (name, api_version) = (kind.kind(), kind.api_version());
    let candidates: Vec<&Resource> = resources
        .iter()
        .filter(|resource| resource.kind == name)
        .collect();
    let namespaced = || candidates.iter().filter(|resource| resource.namespaced);
    if let Some(found) = namespaced().find(|resource| resource.scales) {
        return Ok(found.plural.clone());
    }
    if namespaced().next().is_some() {
        let reason = format!(
            "a {name} of {api_version} has no subresource `scale`, so it cannot be scaled; a CRD gets it by `subresources.scale` with a \
             specReplicasPath, from the one who makes it"
        );
        return Err(("NotScalable", reason));
    }
    if !candidates.is_empty() {
        let reason = format!(
            "a {name} of {api_version} belongs to the cluster and to no namespace, allowed: a kind that lives in the ScaledObject's namespace"
        );
        return Err(("ClusterScoped", reason));
    }
    let mut names: Vec<&str> = resources
        .iter()
        .filter(|resource| resource.namespaced && resource.scales)
        .map(|resource| resource.kind.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    let hint = match names.as_slice() {
        [] => ", which has no kind that can be scaled".to_owned(),
        names => suggestion(name, names),
    };
    Err((
        "UnknownKind",
        format!("there is no kind {name} in {api_version}{hint}"),
    ))
}

fn not_scalable(cluster: &str, kind: &WorkloadKind, code: &str, reason: &str) -> Fault {
    let (kind, api_version) = (kind.kind(), kind.api_version());
    let message = format!(
        "could not find the resource of {kind} ({api_version}) in cluster `{cluster}`: {reason}"
    );
    Fault::failed(code, message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn read(list: &Json) -> Vec<Resource> {
        resources(serde_json::from_str(&list.to_string()).unwrap())
    }

    fn list() -> Vec<Resource> {
        let entry = |name: &str, kind: &str, namespaced: bool| json!({"name": name, "kind": kind, "namespaced": namespaced});
        read(&json!({"kind": "APIResourceList", "resources": [
            entry("workers", "Worker", true),
            entry("workers/scale", "Scale", true),
            entry("workers/status", "Worker", true),
            entry("reports", "Report", true),
            entry("fleets", "Fleet", false),
            entry("fleets/scale", "Scale", false),
            // Two resources of one kind: the one that can be scaled is meant.
            entry("oldcrews", "Crew", true),
            entry("crews", "Crew", true),
            entry("crews/scale", "Scale", true),
            entry("globalcrews", "Crew", false),
            entry("globalcrews/scale", "Scale", false),
            json!({"name": 3}),
            json!(null),
        ]}))
    }

    #[test]
    fn a_kind_has_a_plural_or_a_reason() {
        let of = |kind: &str| {
            scalable(
                &list(),
                &WorkloadKind::parse("example.com/v1", kind).unwrap(),
            )
        };
        assert_eq!(of("Worker"), Ok("workers".to_owned()));
        assert_eq!(of("Crew"), Ok("crews".to_owned()));
        let (code, reason) = of("Wroker").unwrap_err();
        assert_eq!(
            (code, reason.as_str()),
            (
                "UnknownKind",
                "there is no kind Wroker in example.com/v1, did you mean `Worker`?"
            )
        );
        assert_eq!(of("Report").unwrap_err().0, "NotScalable");
        assert_eq!(of("Fleet").unwrap_err().0, "ClusterScoped");
        // The kind of a subresource is nobody's workload.
        assert_eq!(of("Scale").unwrap_err().0, "UnknownKind");
    }

    #[test]
    fn what_is_no_list_has_no_kinds() {
        for junk in [json!(null), json!([]), json!({"resources": {}})] {
            assert_eq!(read(&junk), []);
        }
        let kind = WorkloadKind::parse("example.com/v1", "Worker").unwrap();
        let (_, reason) = scalable(&[], &kind).unwrap_err();
        assert!(
            reason.ends_with("which has no kind that can be scaled"),
            "{reason}"
        );
    }
}
