//! ScaledObjects as what says what is to be scaled: their lists, and their status.

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::list::{Listed, Question, list};
use super::{Call, Clusters, FIELD_MANAGER};
use crate::document::{Node, Value};
use crate::ports::{Fault, Namespace, ObjectKind, Objects, Scope, Statuses, Version};

impl Objects for Clusters {
    async fn list(&self, kind: ObjectKind, scope: &Scope) -> Result<Vec<Node>, Fault> {
        let why = match kind {
            ObjectKind::ScaledObject => "to see what is to be scaled",
            ObjectKind::TriggerAuthentication | ObjectKind::ClusterTriggerAuthentication => {
                "to see which roles triggers use"
            }
        };
        let listed = Listed {
            group: "keda.sh",
            version: "v1alpha1",
            plural: kind.plural(),
            // Who configures a cluster as the source expects the kind there.
            may_be_unknown: false,
        };
        let question = Question {
            cluster: &scope.cluster,
            namespace: scope.namespace.as_deref(),
            listed: &listed,
            why,
        };
        list(self, &question, |object| Some(without_managers(object))).await
    }
}

/// Who wrote which field is half of an object, and nothing that anybody here asks for.
fn without_managers(mut object: Node) -> Node {
    if let Value::Map(fields) = &mut object.value {
        let metadata = fields.iter_mut().find(|(name, _)| name == "metadata");
        if let Some((_, metadata)) = metadata
            && let Value::Map(fields) = &mut metadata.value
        {
            fields.retain(|(name, _)| name != "managedFields");
        }
    }
    object
}

/// What a written object says about itself.
#[derive(Deserialize)]
struct Written {
    metadata: WrittenMetadata,
}

#[derive(Deserialize)]
struct WrittenMetadata {
    #[serde(rename = "resourceVersion")]
    version: String,
}

impl Statuses for Clusters {
    /// A JSON Patch that tests uid and version. A stale test answers 422 and writes nothing.
    async fn write_status(
        &self,
        namespace: &Namespace,
        name: &str,
        seen: &Version,
        status: &Json,
    ) -> Result<String, Fault> {
        let Version { uid, version } = seen;
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "add", "path": "/status", "value": status},
        ]);
        let call = Call {
            cluster: &namespace.cluster,
            method: "PATCH",
            path: format!(
                "/apis/keda.sh/v1alpha1/namespaces/{}/scaledobjects/{name}/status?fieldManager={FIELD_MANAGER}",
                namespace.name
            ),
            body: patch.to_string().into_bytes(),
            what: format!(
                "write the status of ScaledObject `{}/{name}`",
                namespace.name
            ),
        };
        match self.send::<Written>(&call).await {
            Ok(written) => Ok(written.metadata.version),
            // Deleted, or changed since it was listed: the next invocation lists it anew.
            Err(failure) if failure.status == Some(404) || failure.is_stale() => {
                Err(Fault::lost_race(format!(
                    "ScaledObject `{}/{name}` has changed since it was listed",
                    namespace.name
                )))
            }
            Err(failure) => Err(failure.fault),
        }
    }
}
