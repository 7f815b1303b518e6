//! `fieldSelector`: which objects of a list are wanted, by the fields that the server knows of their kind.

use serde_json::Value;

use super::failure::Failure;
use super::resource::{EVENTS, Resource};

/// The fields of every kind.
const COMMON: [&str; 2] = ["metadata.name", "metadata.namespace"];

/// Those of Events, by which `kubectl describe` finds them.
const OF_EVENTS: [&str; 9] = [
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "reason",
    "reportingComponent",
    "type",
];

/// Fields, as JSON pointers, and the values that they must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selector(Vec<(String, String)>);

impl Selector {
    /// From the query of a request; only `=` is understood.
    pub(super) fn read(resource: &Resource, text: Option<&str>) -> Result<Self, Failure> {
        let text = text.unwrap_or_default();
        let mut fields = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let Some((field, value)) = part.split_once('=') else {
                let message = format!("invalid selector: '{text}'; can't understand '{part}'");
                return Err(Failure::bad_request(message));
            };
            let value = value.trim_start_matches('=');
            let known = resource == &EVENTS && OF_EVENTS.contains(&field);
            if !known && !COMMON.contains(&field) {
                return Err(Failure::bad_request(not_supported(resource, text, field)));
            }
            let pointer = format!("/{}", field.replace('.', "/"));
            fields.push((pointer, value.to_owned()));
        }
        Ok(Self(fields))
    }

    /// Whether an object is wanted. A field that is not there is as good as empty.
    pub(super) fn fits(&self, object: &Value) -> bool {
        self.0.iter().all(|(pointer, wanted)| {
            let found = object.pointer(pointer).and_then(Value::as_str);
            found.unwrap_or_default() == wanted
        })
    }
}

fn not_supported(resource: &Resource, text: &str, field: &str) -> String {
    let version = match resource.group {
        "" => format!("/{}", resource.version),
        group => format!("{group}/{}", resource.version),
    };
    format!(
        "Unable to find {:?} that match label selector \"\", field selector {text:?}: field label not supported: {field}",
        format!("{version}, Resource={}", resource.plural)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_found_by_what_they_are_about() {
        let event = json!({"involvedObject": {"kind": "Rollout", "uid": "u"}, "type": "Normal"});
        for (text, expected) in [
            ("", true),
            ("involvedObject.kind=Rollout,involvedObject.uid=u", true),
            ("involvedObject.kind=Rollout,involvedObject.uid=v", false),
            ("type==Normal", true),
            ("reason=", true),
            ("reason=QueueDepth", false),
        ] {
            let selector = Selector::read(&EVENTS, Some(text)).unwrap();
            assert_eq!(selector.fits(&event), expected, "{text}");
        }
        for bad in ["kind", "spec.replicas=1"] {
            assert_eq!(Selector::read(&EVENTS, Some(bad)).unwrap_err().code, 400);
        }
    }
}
