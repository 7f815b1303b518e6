//! ScaledObjects as what says what is to be scaled: their lists, and their status.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::list::{Listed, Question, list};
use super::{Call, Clusters, FIELD_MANAGER, owners};
use crate::document::{Node, Value, parse_json};
use crate::owners::ScaledObject;
use crate::policy::Mode;
use crate::ports::{Fault, Namespace, ObjectKind, Objects, Scope, Statuses, Version};

/// Bytes of a spec, with the annotations that are read. A hundred triggers have a third of it.
const MAX_OBJECT_BYTES: usize = 64 << 10;
/// Bytes of one value in the metadata.
const MAX_METADATA_BYTES: usize = 4 << 10;
/// What is read of the metadata, beside the annotations.
const METADATA: [&str; 6] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "finalizers",
    "deletionTimestamp",
];
/// Of the annotations that are read.
const PREFIXES: [&str; 2] = ["autoscaling.keda.sh/", "outrigger.dev/"];

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
        let read = |Read { object, owner }: Read| Some((object?, owner));
        let found = list(self, &question, read).await?;
        let (nodes, owners): (Vec<Node>, Vec<_>) = found.into_iter().unzip();
        if kind == ObjectKind::ScaledObject {
            self.scaled_objects.keep(scope, owners);
        }
        Ok(nodes)
    }
}

/// An object of a list, read while the list is: no other copy of its text is made.
struct Read {
    object: Option<Node>,
    /// What it says as an owner, where it is a ScaledObject.
    owner: Option<(String, ScaledObject)>,
}

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(Self {
            object: object(raw),
            owner: owners::read(raw),
        })
    }
}

/// What is read of an object, each part still as the server wrote it.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow, rename = "apiVersion")]
    api_version: Option<&'a RawValue>,
    #[serde(borrow)]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Part<'a>,
    #[serde(borrow)]
    spec: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
}

type Part<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// The tree of an object, without what nobody here asks for: labels, other people's annotations, and who wrote which field.
/// A tree takes twenty times the memory of its text, and whoever may write one object must not take that of all others: the
/// spec of a large one is left unread, which refuses the object by its name.
fn object(raw: &RawValue) -> Option<Node> {
    let Parts {
        api_version,
        kind,
        metadata,
        spec,
        status,
    } = serde_json::from_str(raw.get()).ok()?;
    let mut about: Vec<(String, Node)> = Vec::new();
    for key in METADATA {
        let part = metadata
            .get(key)
            .filter(|raw| raw.get().len() <= MAX_METADATA_BYTES);
        if let Some(raw) = part {
            about.push((key.to_owned(), tree(raw)?));
        }
    }
    let annotations: Option<Part<'_>> = match metadata.get("annotations") {
        Some(raw) => serde_json::from_str(raw.get()).ok()?,
        None => None,
    };
    let mut annotations = annotations.unwrap_or_default();
    annotations.retain(|key, _| PREFIXES.iter().any(|prefix| key.starts_with(prefix)));
    let bytes: usize = annotations
        .iter()
        .map(|(key, raw)| key.len() + raw.get().len())
        .sum();
    let is_large = bytes + spec.map_or(0, |raw| raw.get().len()) > MAX_OBJECT_BYTES;
    if is_large {
        // Whether its status may be written.
        annotations
            .retain(|key, raw| key == Mode::ANNOTATION && raw.get().len() <= MAX_METADATA_BYTES);
    }
    let annotations = annotations.into_iter();
    let annotations = annotations.map(|(key, raw)| Some((key.into_owned(), tree(raw)?)));
    let annotations: Option<Vec<(String, Node)>> = annotations.collect();
    about.push(("annotations".to_owned(), map(annotations?)));
    let spec = match spec {
        Some(_) | None if is_large => Some(unread()),
        Some(raw) => Some(tree(raw)?),
        None => None,
    };
    let small = |raw: &&RawValue| raw.get().len() <= MAX_OBJECT_BYTES;
    let fields = [
        ("apiVersion", api_version.filter(small).and_then(tree)),
        ("kind", kind.filter(small).and_then(tree)),
        ("metadata", Some(map(about))),
        ("spec", spec),
        ("status", status.filter(small).and_then(tree)),
    ];
    let fields = fields.into_iter();
    Some(map(fields
        .filter_map(|(key, node)| Some((key.to_owned(), node?)))
        .collect()))
}

/// Stands where a spec was too large to be read, for the message that refuses it.
fn unread() -> Node {
    Node {
        value: Value::Scalar {
            text: format!(
                "more than {} KiB, larger than any that is read",
                MAX_OBJECT_BYTES >> 10
            ),
            plain: false,
        },
        position: None,
    }
}

fn tree(raw: &RawValue) -> Option<Node> {
    parse_json(raw.get().as_bytes()).ok()
}

fn map(entries: Vec<(String, Node)>) -> Node {
    Node {
        value: Value::Map(entries),
        position: None,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(object: &Json) -> Json {
        let raw = RawValue::from_string(object.to_string()).unwrap();
        super::object(&raw).unwrap().to_json()
    }

    #[test]
    fn only_what_is_read_is_kept() {
        let object = json!({
            "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "spec": {"triggers": []}, "status": {"a": 1},
            "metadata": {
                "name": "a", "namespace": "b", "uid": "c", "resourceVersion": "1", "finalizers": ["f"],
                "annotations": {"outrigger.dev/mode": "shadow"},
            },
        });
        let mut more = object.clone();
        more["metadata"]["managedFields"] = json!(["x".repeat(MAX_OBJECT_BYTES)]);
        more["metadata"]["labels"] = json!({"app": "a"});
        more["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] =
            json!("x".repeat(MAX_OBJECT_BYTES));
        assert_eq!(read(&more), object);
    }

    #[test]
    fn a_large_object_is_kept_by_name_and_its_spec_is_not_read() {
        let object = |bytes: usize| {
            json!({
                "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "spec": {"text": "x".repeat(bytes)},
                "metadata": {"name": "a", "namespace": "b", "annotations": {"outrigger.dev/mode": "shadow", "autoscaling.keda.sh/paused": "true"}},
            })
        };
        let annotations = 18 + 8 + 26 + 6;
        let largest = MAX_OBJECT_BYTES - annotations - r#"{"text":""}"#.len();
        assert_eq!(read(&object(largest)), object(largest));
        let found = read(&object(largest + 1));
        let mut wanted = object(0);
        wanted["spec"] = json!("more than 64 KiB, larger than any that is read");
        wanted["metadata"]["annotations"] = json!({"outrigger.dev/mode": "shadow"});
        assert_eq!(found, wanted);
        let mut many = object(0);
        many["metadata"]["annotations"]["autoscaling.keda.sh/x"] =
            json!("x".repeat(MAX_OBJECT_BYTES));
        assert_eq!(read(&many), wanted);
    }
}
