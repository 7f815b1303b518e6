//! JSON Patch (RFC 6902: add, remove, replace, test) and JSON Merge Patch (RFC 7396).

use serde_json::{Map, Value};

/// The patch cannot be read, or does not apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PatchError {
    /// Not a JSON Patch at all.
    Malformed,
    /// A `test` failed or a path is not there.
    DoesNotApply,
    /// It has so many operations.
    TooMany(usize),
}

/// Operations of one patch, as in an API server.
pub(super) const MAX_OPERATIONS: usize = 10_000;

/// Applies every operation or none.
pub(super) fn json_patch(document: &Value, body: &[u8]) -> Result<Value, PatchError> {
    let operations: Vec<Map<String, Value>> =
        serde_json::from_slice(body).map_err(|_| PatchError::Malformed)?;
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooMany(operations.len()));
    }
    let mut patched = document.clone();
    for operation in &operations {
        let text = |field: &str| operation.get(field).and_then(Value::as_str);
        let path = pointer(text("path").ok_or(PatchError::Malformed)?)?;
        let value = operation.get("value");
        let given = || value.cloned().ok_or(PatchError::Malformed);
        match text("op") {
            Some("test") => test(&patched, &path, value.unwrap_or(&Value::Null))?,
            Some("add") => add(&mut patched, &path, given()?)?,
            Some("replace") => replace(&mut patched, &path, given()?)?,
            Some("remove") => remove(&mut patched, &path)?,
            _ => return Err(PatchError::DoesNotApply),
        }
    }
    Ok(patched)
}

/// Objects merge, null removes, everything else replaces.
pub(super) fn merge_patch(document: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *document = patch.clone();
        return;
    };
    if !document.is_object() {
        *document = Value::Object(Map::new());
    }
    let Value::Object(fields) = document else {
        return;
    };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge_patch(fields.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

/// The parts of a JSON Pointer, unescaped: `~1` is `/`, then `~0` is `~`.
fn pointer(path: &str) -> Result<Vec<String>, PatchError> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let parts = path.strip_prefix('/').ok_or(PatchError::DoesNotApply)?;
    let unescape = |part: &str| part.replace("~1", "/").replace("~0", "~");
    Ok(parts.split('/').map(unescape).collect())
}

fn child<'a>(parent: &'a Value, part: &str) -> Option<&'a Value> {
    match parent {
        Value::Object(fields) => fields.get(part),
        Value::Array(items) => items.get(index(part)?),
        _ => None,
    }
}

fn child_mut<'a>(parent: &'a mut Value, part: &str) -> Option<&'a mut Value> {
    match parent {
        Value::Object(fields) => fields.get_mut(part),
        Value::Array(items) => items.get_mut(index(part)?),
        _ => None,
    }
}

/// RFC 6901 knows no sign and no leading zero.
fn index(part: &str) -> Option<usize> {
    let plain = part == "0" || !part.starts_with(['0', '+']);
    if plain { part.parse().ok() } else { None }
}

/// A missing last part is equal to null, as in the library that Kubernetes uses; a missing parent is not.
fn test(document: &Value, path: &[String], expected: &Value) -> Result<(), PatchError> {
    let mut found = Some(document);
    for part in path {
        let parent = found.ok_or(PatchError::DoesNotApply)?;
        if !parent.is_object() && !parent.is_array() {
            return Err(PatchError::DoesNotApply);
        }
        found = child(parent, part);
    }
    if found.unwrap_or(&Value::Null) == expected {
        return Ok(());
    }
    Err(PatchError::DoesNotApply)
}

fn existing<'a>(document: &'a mut Value, path: &[String]) -> Result<&'a mut Value, PatchError> {
    let mut found = document;
    for part in path {
        found = child_mut(found, part).ok_or(PatchError::DoesNotApply)?;
    }
    Ok(found)
}

fn add(document: &mut Value, path: &[String], value: Value) -> Result<(), PatchError> {
    let Some((last, parents)) = path.split_last() else {
        *document = value;
        return Ok(());
    };
    match existing(document, parents)? {
        Value::Object(fields) => {
            fields.insert(last.clone(), value);
            Ok(())
        }
        Value::Array(items) if last == "-" => {
            items.push(value);
            Ok(())
        }
        Value::Array(items) => {
            let at = index(last).filter(|at| *at <= items.len());
            items.insert(at.ok_or(PatchError::DoesNotApply)?, value);
            Ok(())
        }
        _ => Err(PatchError::DoesNotApply),
    }
}

/// A field that is not there is added, as by the library that Kubernetes uses; an item that is not there is refused.
fn replace(document: &mut Value, path: &[String], value: Value) -> Result<(), PatchError> {
    let (last, parents) = path.split_last().ok_or(PatchError::DoesNotApply)?;
    match existing(document, parents)? {
        Value::Object(fields) => {
            fields.insert(last.clone(), value);
        }
        parent => *child_mut(parent, last).ok_or(PatchError::DoesNotApply)? = value,
    }
    Ok(())
}

fn remove(document: &mut Value, path: &[String]) -> Result<(), PatchError> {
    let (last, parents) = path.split_last().ok_or(PatchError::DoesNotApply)?;
    match existing(document, parents)? {
        Value::Object(fields) => {
            fields.remove(last).ok_or(PatchError::DoesNotApply)?;
        }
        Value::Array(items) => {
            let at = index(last).filter(|at| *at < items.len());
            items.remove(at.ok_or(PatchError::DoesNotApply)?);
        }
        _ => return Err(PatchError::DoesNotApply),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(document: &Value, patch: &Value, expected: &Result<Value, PatchError>) {
        assert_eq!(
            &json_patch(document, patch.to_string().as_bytes()),
            expected
        );
    }

    static REFUSED: Result<Value, PatchError> = Err(PatchError::DoesNotApply);

    #[test]
    fn operations_apply_in_order() {
        check(
            &json!({"a": 1, "list": [1, 2]}),
            &json!([
                {"op": "test", "path": "/a", "value": 1},
                {"op": "replace", "path": "/a", "value": 2},
                {"op": "add", "path": "/b", "value": {"c": null}},
                {"op": "add", "path": "/list/1", "value": 9},
                {"op": "add", "path": "/list/-", "value": 3},
                {"op": "remove", "path": "/list/0"},
            ]),
            &Ok(json!({"a": 2, "b": {"c": null}, "list": [9, 2, 3]})),
        );
    }

    #[test]
    fn pointers_are_unescaped() {
        check(
            &json!({"a/b": {"c~d": 1, "~1": 2}}),
            &json!([
                {"op": "test", "path": "/a~1b/c~0d", "value": 1},
                {"op": "replace", "path": "/a~1b/~01", "value": 3},
            ]),
            &Ok(json!({"a/b": {"c~d": 1, "~1": 3}})),
        );
    }

    #[test]
    fn null_stands_for_a_missing_last_part_only() {
        let at_zero = json!({"spec": {}});
        let test = |path: &str, value: Value| json!([{"op": "test", "path": path, "value": value}]);
        check(
            &at_zero,
            &test("/spec/replicas", Value::Null),
            &Ok(at_zero.clone()),
        );
        check(&at_zero, &test("/spec/replicas", json!(0)), &REFUSED);
        check(&at_zero, &test("/data/key", Value::Null), &REFUSED);
        check(
            &json!({"spec": 1}),
            &test("/spec/replicas", Value::Null),
            &REFUSED,
        );
        check(&json!({"a": 1}), &test("/a", Value::Null), &REFUSED);
    }

    #[test]
    fn paths_that_are_not_there_are_refused() {
        let document = json!({"a": {}, "list": [1]});
        for patch in [
            json!([{"op": "add", "path": "/data/key", "value": 1}]),
            json!([{"op": "replace", "path": "/b/c", "value": 1}]),
            json!([{"op": "remove", "path": "/a/b"}]),
            json!([{"op": "add", "path": "/list/2", "value": 1}]),
            json!([{"op": "replace", "path": "/list/01", "value": 1}]),
            json!([{"op": "move", "path": "/a", "from": "/list"}]),
            json!([{"op": "test", "path": "a", "value": 1}]),
        ] {
            check(&document, &patch, &REFUSED);
        }
        check(&document, &json!({"a": 1}), &Err(PatchError::Malformed));
        check(
            &document,
            &json!([{"op": "add", "path": "/x"}]),
            &Err(PatchError::Malformed),
        );
    }

    #[test]
    fn merging_removes_with_null() {
        let mut document = json!({"a": {"b": 1, "c": 2}, "list": [1]});
        merge_patch(
            &mut document,
            &json!({"a": {"b": null, "d": {"e": null}}, "list": [2]}),
        );
        assert_eq!(document, json!({"a": {"c": 2, "d": {}}, "list": [2]}));
    }
}
