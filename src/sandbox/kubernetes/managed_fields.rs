//! Who wrote which field last, as far as this sandbox lets anybody write.

use serde_json::{Map, Value, json};

use super::super::encoding::rfc3339;
use super::resource::Resource;
use super::store::{Writer, metadata_mut};

/// Notes a write of `spec.replicas` through `scale`; earlier owners lose the field.
pub(super) fn scale(object: &mut Value, resource: &Resource, writer: Writer<'_>) {
    let entry = json!({
        "manager": writer.manager,
        "operation": "Update",
        "apiVersion": resource.api_version(),
        "time": rfc3339(writer.now),
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:replicas": {}}},
        "subresource": "scale",
    });
    let mut entries = entries(object);
    for entry in &mut entries {
        disown(entry, "f:spec", "f:replicas");
    }
    put(object, entries, entry);
}

/// Notes a write of the status through its subresource.
pub(super) fn status(object: &mut Value, resource: &Resource, writer: Writer<'_>) {
    let entry = json!({
        "manager": writer.manager,
        "operation": "Update",
        "apiVersion": resource.api_version(),
        "time": rfc3339(writer.now),
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:status": {}},
        "subresource": "status",
    });
    let is_status = |entry: &Value| entry.get("subresource") == Some(&json!("status"));
    let mut entries = entries(object);
    entries.retain(|entry| !is_status(entry));
    put(object, entries, entry);
}

/// Notes the keys of a `ConfigMap` that changed.
pub(super) fn data(before: &Value, object: &mut Value, writer: Writer<'_>) {
    let mut entries = entries(object);
    let is_own =
        |entry: &Value| entry.get("manager").and_then(Value::as_str) == Some(writer.manager);
    let own = entries.iter().position(is_own).map(|at| entries.remove(at));
    let mut fields = own
        .and_then(|entry| entry.pointer("/fieldsV1/f:data").cloned())
        .and_then(|fields| fields.as_object().cloned())
        .unwrap_or_default();
    let written = |object: &Value| {
        object
            .get("data")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    };
    let (old, new) = (written(before), written(object));
    fields.retain(|field, _| {
        field
            .strip_prefix("f:")
            .is_some_and(|key| new.contains_key(key))
    });
    for (key, value) in &new {
        if old.get(key) != Some(value) {
            let field = format!("f:{key}");
            for entry in &mut entries {
                disown(entry, "f:data", &field);
            }
            fields.insert(field, json!({}));
        }
    }
    let entry = json!({
        "manager": writer.manager,
        "operation": "Update",
        "apiVersion": "v1",
        "time": rfc3339(writer.now),
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": fields},
    });
    put(object, entries, entry);
}

fn entries(object: &mut Value) -> Vec<Value> {
    let entries = metadata_mut(object).get("managedFields");
    entries
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default()
}

/// Adds the entry and drops those that own nothing any more.
fn put(object: &mut Value, mut entries: Vec<Value>, entry: Value) {
    let owns = |entry: &Value| {
        let fields = entry.get("fieldsV1").and_then(Value::as_object);
        let mut groups = fields.into_iter().flat_map(Map::values);
        groups.any(|group| group.as_object().is_none_or(|group| !group.is_empty()))
    };
    entries.retain(owns);
    entries.push(entry);
    metadata_mut(object).insert("managedFields".to_owned(), Value::Array(entries));
}

fn disown(entry: &mut Value, group: &str, field: &str) {
    let fields = entry
        .get_mut("fieldsV1")
        .and_then(|fields| fields.get_mut(group));
    if let Some(fields) = fields.and_then(Value::as_object_mut) {
        fields.remove(field);
    }
}
