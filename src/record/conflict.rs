//! The findings about other owners in a record.

use serde_json::{Value as Json, json};

use crate::document::Node;
use crate::fields::{self, Fields, Problems};
use crate::owners::Conflict;

const AUTOSCALER: &str = "HorizontalPodAutoscaler";
const SCALED_OBJECT: &str = "ScaledObject";

#[derive(Debug, Clone, Copy)]
enum Kind {
    Autoscaler,
    ScaledObject,
}

/// Reads the list. A kind that nothing is known about is refused: what it would mean for the decision is not known either.
pub(super) fn read_all(node: &Node, path: &str, problems: &mut Problems) -> Option<Vec<Conflict>> {
    let items = fields::items(node, path, problems)?;
    let conflicts: Vec<Option<Conflict>> = items
        .into_iter()
        .map(|(path, item)| read(item, &path, problems))
        .collect();
    conflicts.into_iter().collect()
}

fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Conflict> {
    let mut fields = Fields::of(node, path, problems)?;
    if let Some(node) = fields.take("error") {
        let error = fields::text(node, &fields.path("error"), problems);
        fields.finish(problems);
        return error.map(|error| Conflict::Unknown { error });
    }
    let kinds = [
        (AUTOSCALER, Kind::Autoscaler),
        (SCALED_OBJECT, Kind::ScaledObject),
    ];
    let kind = fields.require("kind", "HorizontalPodAutoscaler or ScaledObject", problems);
    let kind = kind.and_then(|kind| fields::one_of(kind, &fields.path("kind"), &kinds, problems));
    let name = fields.require("name", "the object's name", problems);
    let name = name.and_then(|name| fields::object_name(name, &fields.path("name"), problems));
    let conflict = match kind? {
        Kind::Autoscaler => {
            let scaled_object = fields.take("scaledObject");
            let scaled_object = scaled_object
                .map(|object| fields::object_name(object, &fields.path("scaledObject"), problems));
            match scaled_object {
                Some(None) => None,
                scaled_object => name.map(|name| Conflict::Autoscaler {
                    name,
                    scaled_object: scaled_object.flatten(),
                }),
            }
        }
        Kind::ScaledObject => {
            let index = fields.require("finalizer", "a place in the finalizers, from 0", problems);
            let index =
                index.and_then(|index| fields::count(index, &fields.path("finalizer"), problems));
            name.zip(index)
                .map(|(scaled_object, index)| Conflict::Finalizer {
                    scaled_object,
                    index,
                })
        }
    };
    fields.finish(problems);
    conflict
}

pub(super) fn json(conflict: &Conflict) -> Json {
    match conflict {
        Conflict::Autoscaler {
            name,
            scaled_object: None,
        } => json!({"kind": AUTOSCALER, "name": name}),
        Conflict::Autoscaler {
            name,
            scaled_object: Some(object),
        } => json!({"kind": AUTOSCALER, "name": name, "scaledObject": object}),
        Conflict::Finalizer {
            scaled_object,
            index,
        } => json!({"kind": SCALED_OBJECT, "name": scaled_object, "finalizer": index}),
        Conflict::Unknown { error } => json!({"error": error}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::parse_json;

    fn read(text: &str) -> Result<Vec<Conflict>, Vec<String>> {
        let (node, mut problems) = (parse_json(text.as_bytes()).unwrap(), Problems::default());
        let conflicts = read_all(&node, "conflicts", &mut problems);
        let told = problems.list.iter().map(ToString::to_string).collect();
        conflicts.filter(|_| problems.errors() == 0).ok_or(told)
    }

    #[test]
    fn every_finding_survives_its_json() {
        let conflicts = [
            (
                Conflict::Autoscaler {
                    name: "a".into(),
                    scaled_object: None,
                },
                r#"{"kind":"HorizontalPodAutoscaler","name":"a"}"#,
            ),
            (
                Conflict::Autoscaler {
                    name: "keda-hpa-a".into(),
                    scaled_object: Some("a".into()),
                },
                r#"{"kind":"HorizontalPodAutoscaler","name":"keda-hpa-a","scaledObject":"a"}"#,
            ),
            (
                Conflict::Finalizer {
                    scaled_object: "a".into(),
                    index: 3,
                },
                r#"{"kind":"ScaledObject","name":"a","finalizer":3}"#,
            ),
            (
                Conflict::Unknown {
                    error: "Forbidden".into(),
                },
                r#"{"error":"Forbidden"}"#,
            ),
        ];
        for (conflict, text) in conflicts {
            assert_eq!(json(&conflict).to_string(), text);
            assert_eq!(read(&format!("[{text}]")), Ok(vec![conflict]));
        }
        assert_eq!(read("[]"), Ok(Vec::new()));
    }

    #[test]
    fn an_error_without_a_code_is_one_mistake() {
        let told = ["conflicts[0].error: found ``, allowed: text that is not empty"];
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        assert_eq!(read(r#"[{"error":""}]"#), Err(told));
    }

    #[test]
    fn every_mistake_is_told_where_it_is() {
        let cases = [
            ("3", "conflicts: found `3`, allowed: a list"),
            ("[3]", "conflicts[0]: found `3`, allowed: a mapping"),
            ("[{}]", "conflicts[0].kind: missing"),
            (
                r#"[{"error":"x"},{"kind":"Person","name":"a"}]"#,
                "conflicts[1].kind: found `Person`, allowed: HorizontalPodAutoscaler, ScaledObject",
            ),
            (
                r#"[{"kind":"HorizontalPodAutoscaler"}]"#,
                "conflicts[0].name: missing",
            ),
            (
                r#"[{"kind":"HorizontalPodAutoscaler","name":"a; b"}]"#,
                "conflicts[0].name: found `a; b`",
            ),
            (
                r#"[{"kind":"HorizontalPodAutoscaler","name":"a","scaledObject":"B"}]"#,
                "conflicts[0].scaledObject: found `B`",
            ),
            (
                r#"[{"kind":"HorizontalPodAutoscaler","name":"a","finalizer":0}]"#,
                "conflicts[0].finalizer: unknown field",
            ),
            (
                r#"[{"kind":"ScaledObject","name":"a"}]"#,
                "conflicts[0].finalizer: missing",
            ),
            (
                r#"[{"kind":"ScaledObject","name":"a","finalizer":-1}]"#,
                "conflicts[0].finalizer: found `-1`",
            ),
            (
                r#"[{"error":"Forbidden","name":"a"}]"#,
                "conflicts[0].name: unknown field",
            ),
        ];
        for (text, wanted) in cases {
            let told = read(text).unwrap_err();
            assert!(
                told.iter().any(|line| line.starts_with(wanted)),
                "{wanted} in {told:#?}"
            );
        }
    }
}
