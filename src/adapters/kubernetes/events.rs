//! Kubernetes Events about workloads.

use serde::de::IgnoredAny;
use serde_json::{Value as Json, json};

use super::{Call, Clusters, FIELD_MANAGER};
use crate::ports::{Event, Events, Fault, Place};

/// Of a workload's name as much as leaves room for what follows: a name has at most 253 characters.
const MAX_NAME: usize = 200;

impl Events for Clusters {
    /// Of the core group, as client-go's recorder writes them: these `kubectl describe` finds, by the uid.
    /// <https://github.com/kubernetes/kubectl/blob/master/pkg/describe/describe.go>
    async fn create(&self, place: &Place, event: &Event) -> Result<(), Fault> {
        let Place {
            namespace,
            workload,
        } = place;
        let call = Call {
            cluster: &namespace.cluster,
            method: "POST",
            path: format!(
                "/api/v1/namespaces/{}/events?fieldManager={FIELD_MANAGER}",
                namespace.name
            ),
            body: object(place, event).to_string().into_bytes(),
            what: format!(
                "create an Event about {} `{}/{}`",
                workload.kind.kind(),
                namespace.name,
                workload.name
            ),
        };
        match self.send::<IgnoredAny>(&call).await {
            Ok(_) => Ok(()),
            // An attempt before was carried out although its answer was lost.
            Err(failure) if failure.status == Some(409) && failure.maybe_done => Ok(()),
            Err(failure) => Err(failure.fault),
        }
    }
}

fn object(place: &Place, event: &Event) -> Json {
    let Place {
        namespace,
        workload,
    } = place;
    let Event {
        key,
        at,
        warning,
        reason,
        action,
        message,
        uid,
        version,
    } = event;
    // Names are ASCII.
    let name = workload.name.get(..MAX_NAME).unwrap_or(&workload.name);
    let name = name.trim_end_matches(['-', '.']);
    let at = at.as_second();
    let at = jiff::Timestamp::from_second(at).map(|at| at.to_string());
    let at = at.unwrap_or_default();
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": format!("{name}.{key}"), "namespace": namespace.name},
        "involvedObject": {
            "apiVersion": workload.kind.api_version(),
            "kind": workload.kind.kind(),
            "namespace": namespace.name,
            "name": workload.name,
            "uid": uid,
            "resourceVersion": version,
        },
        "type": if *warning { "Warning" } else { "Normal" },
        "reason": reason,
        "action": action,
        "message": message,
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    })
}
