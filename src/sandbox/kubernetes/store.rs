//! The objects: creation, reads, and writes with the checks of an API server.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::encoding::rfc3339;
use super::controller;
use super::failure::Failure;
use super::managed_fields;
use super::page::Page;
use super::patch::{self, PatchError};
use super::resource::{AUTOSCALERS, CONFIG_MAPS, EVENTS, Resource};
use super::selector::Selector;

/// What of an object a write is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Object,
    Status,
}

/// What the API server hands out and nobody else may change.
const OWN_METADATA: [&str; 7] = [
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "generation",
    "resourceVersion",
    "managedFields",
];

/// Every object of the cluster.
#[derive(Debug, Default)]
pub(super) struct Store {
    objects: BTreeMap<Key, Stored>,
    revision: u64,
}

type Key = (&'static str, String, String);

#[derive(Debug, Default)]
struct Stored {
    object: Value,
    /// Changes of `spec.replicas` that came in as requests, oldest first.
    writes: Vec<(u32, u32)>,
}

/// Bytes of all values of a ConfigMap.
const MAX_CONFIG_MAP_BYTES: usize = 1 << 20;

/// Bytes of a key of a ConfigMap.
const MAX_KEY_BYTES: usize = 253;

/// Stands for a count that is not set while a `Scale` is patched.
const UNSET: i64 = -1;

/// Where an object is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) resource: &'static Resource,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

impl Place<'_> {
    fn key(self) -> Key {
        let (namespace, name) = (self.namespace.to_owned(), self.name.to_owned());
        (self.resource.plural, namespace, name)
    }

    fn not_found(self) -> Failure {
        Failure::not_found(self.resource, self.name)
    }
}

/// A change as it came in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change<'a> {
    JsonPatch(&'a [u8]),
    MergePatch(&'a [u8]),
    StrategicMergePatch(&'a [u8]),
    Replace(&'a [u8]),
}

/// Who writes, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer<'a> {
    /// The field manager.
    pub(super) manager: &'a str,
    pub(super) dry_run: bool,
    /// Whether a change of replicas enters the list of writes.
    pub(super) counted: bool,
    pub(super) now: Timestamp,
}

impl Store {
    pub(super) fn get(&self, place: Place<'_>) -> Result<&Value, Failure> {
        let stored = self.objects.get(&place.key());
        Ok(&stored.ok_or_else(|| place.not_found())?.object)
    }

    pub(super) fn writes(&self, place: Place<'_>) -> Vec<(u32, u32)> {
        let stored = self.objects.get(&place.key());
        stored
            .map(|stored| stored.writes.clone())
            .unwrap_or_default()
    }

    pub(super) fn list(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        page: &Page,
        selector: &Selector,
    ) -> Value {
        let first = (
            resource.plural,
            namespace.unwrap_or_default().to_owned(),
            String::new(),
        );
        let matching = self
            .objects
            .range(first..)
            .take_while(|((plural, in_namespace, _), _)| {
                *plural == resource.plural && namespace.is_none_or(|wanted| wanted == in_namespace)
            })
            .filter(|((_, namespace, name), stored)| {
                page.is_after(namespace, name) && selector.fits(&stored.object)
            });
        let mut matching: Vec<(&Key, &Stored)> = matching.collect();
        let left = matching.split_off(page.size(matching.len())).len();
        let mut metadata = json!({"resourceVersion": self.revision.to_string()});
        if let (true, Some(((_, namespace, name), _))) = (left > 0, matching.last()) {
            set(
                &mut metadata,
                "continue",
                json!(Page::token(namespace, name)),
            );
            // Of what a selector leaves out nobody counts.
            if *selector == Selector::default() {
                set(&mut metadata, "remainingItemCount", json!(left));
            }
        }
        let items: Vec<Value> = matching
            .iter()
            .map(|(_, stored)| listed(resource, &stored.object))
            .collect();
        json!({
            "kind": format!("{}List", resource.kind),
            "apiVersion": resource.api_version(),
            "metadata": metadata,
            "items": items,
        })
    }

    /// Creates an object from a manifest; the place fills in name and namespace.
    pub(super) fn create(
        &mut self,
        place: Place<'_>,
        mut object: Value,
        now: Timestamp,
    ) -> Result<Value, Failure> {
        if self.objects.contains_key(&place.key()) {
            return Err(Failure::already_exists(place.resource, place.name));
        }
        normalise(place, &mut object)?;
        if place.resource == &EVENTS {
            check_event(place, &object)?;
        }
        if place.resource.has_status() && !place.resource.scales {
            // What is created has no status yet, whatever the manifest says.
            object = with_status(object, None);
        }
        set(&mut object, "kind", json!(place.resource.kind));
        set(
            &mut object,
            "apiVersion",
            json!(place.resource.api_version()),
        );
        let revision = self.next_revision();
        let metadata = metadata_mut(&mut object);
        metadata.insert("name".to_owned(), json!(place.name));
        if place.resource.namespaced {
            metadata.insert("namespace".to_owned(), json!(place.namespace));
        }
        metadata.insert("uid".to_owned(), json!(super::super::random_id()));
        metadata.insert("creationTimestamp".to_owned(), json!(rfc3339(now)));
        metadata.insert("resourceVersion".to_owned(), json!(revision));
        if counts_generations(place.resource) && object.get("spec").is_some() {
            metadata_mut(&mut object).insert("generation".to_owned(), json!(1));
        }
        controller::follow(place.resource, &mut object);
        let stored = Stored {
            object: object.clone(),
            writes: Vec::new(),
        };
        self.objects.insert(place.key(), stored);
        Ok(object)
    }

    pub(super) fn delete(&mut self, place: Place<'_>) -> Result<Value, Failure> {
        let removed = self.objects.remove(&place.key());
        self.next_revision();
        Ok(removed.ok_or_else(|| place.not_found())?.object)
    }

    /// Changes an object in any way, as its own controllers would. Returns whether it exists.
    pub(super) fn edit(&mut self, place: Place<'_>, change: impl FnOnce(&mut Value)) -> bool {
        let revision = self.next_revision();
        let Some(stored) = self.objects.get_mut(&place.key()) else {
            return false;
        };
        let before = stored.object.clone();
        change(&mut stored.object);
        if stored.object.get("spec") != before.get("spec") {
            bump_generation(&mut stored.object);
            if stored.object.get("status") == before.get("status") {
                controller::follow(place.resource, &mut stored.object);
            } else {
                controller::observe(place.resource, &before, &mut stored.object);
            }
        }
        metadata_mut(&mut stored.object).insert("resourceVersion".to_owned(), json!(revision));
        true
    }

    /// The `scale` subresource.
    pub(super) fn scale(&self, place: Place<'_>) -> Result<Value, Failure> {
        let object = self.get(place)?;
        if replicas(object).is_none() {
            let message = "Internal error occurred: the spec replicas field \".spec.replicas\" does not exist";
            return Err(Failure::new(500, "InternalError", message));
        }
        Ok(controller::scale_view(place.resource, object))
    }

    /// A write to `scale`: it changes `spec.replicas` and nothing else, whatever the patch says.
    pub(super) fn change_scale(
        &mut self,
        place: Place<'_>,
        change: Change<'_>,
        writer: Writer<'_>,
    ) -> Result<Value, Failure> {
        let object = self.get(place)?;
        let view = controller::scale_view(place.resource, object);
        let mut patched = view.clone();
        if replicas(object).is_none() {
            // What the server patches where there is no number: a mark, which no test for zero or null fits.
            set(&mut patched, "spec", json!({"replicas": UNSET}));
        }
        let patched = apply(place.resource, &patched, change)?;
        let before = replicas(object);
        let still_unset =
            before.is_none() && patched.pointer("/spec/replicas") == Some(&json!(UNSET));
        let after = if still_unset {
            None
        } else {
            patched_replicas(place, &patched)?
        };
        let after = match (before, after) {
            (_, Some(after)) => after,
            // Left out, the number is zero: that is how Go reads it.
            (Some(_), None) => 0,
            (None, None) => {
                let message = "the spec replicas field \".spec.replicas\" cannot be empty";
                return Err(Failure::bad_request(message));
            }
        };
        check_version(place, object, &patched)?;
        if before == Some(after) {
            return Ok(view);
        }
        let mut changed = object.clone();
        set_replicas(&mut changed, after);
        managed_fields::scale(&mut changed, place.resource, writer);
        if writer.dry_run {
            return Ok(controller::scale_view(place.resource, &changed));
        }
        let changed = self.write(place, changed, writer);
        Ok(controller::scale_view(place.resource, &changed))
    }

    /// A write to the object itself, or to its `status`: that one changes the status and nothing else, whatever the patch says.
    pub(super) fn change(
        &mut self,
        place: Place<'_>,
        part: Part,
        change: Change<'_>,
        writer: Writer<'_>,
    ) -> Result<Value, Failure> {
        let object = self.get(place)?;
        let mut patched = apply(place.resource, object, change)?;
        check_version(place, object, &patched)?;
        match part {
            Part::Object => {
                keep_own_fields(place, object, &mut patched);
                normalise(place, &mut patched)?;
            }
            Part::Status => patched = with_status(object.clone(), patched.get("status")),
        }
        if patched == *object {
            return Ok(patched);
        }
        match part {
            Part::Object if place.resource == &CONFIG_MAPS => {
                managed_fields::data(object, &mut patched, writer);
            }
            Part::Object => {}
            Part::Status => managed_fields::status(&mut patched, place.resource, writer),
        }
        if writer.dry_run {
            return Ok(patched);
        }
        Ok(self.write(place, patched, writer))
    }

    /// Stores a changed object and lets its controller react. Returns it as written, before the reaction.
    fn write(&mut self, place: Place<'_>, mut changed: Value, writer: Writer<'_>) -> Value {
        let revision = self.next_revision();
        // The controller's own write of the status gets a version of its own, as in a real cluster.
        let later = self.next_revision();
        let stored = self.objects.entry(place.key()).or_default();
        let (from, to) = (replicas(&stored.object), replicas(&changed));
        if changed.get("spec") != stored.object.get("spec") {
            bump_generation(&mut changed);
        }
        metadata_mut(&mut changed).insert("resourceVersion".to_owned(), json!(revision));
        stored.object = changed.clone();
        if let (true, Some(to)) = (writer.counted && from != to, to) {
            stored.writes.push((from.unwrap_or(0), to));
        }
        if controller::follow(place.resource, &mut stored.object) {
            metadata_mut(&mut stored.object).insert("resourceVersion".to_owned(), json!(later));
        }
        changed
    }

    fn next_revision(&mut self) -> String {
        self.revision += 1;
        self.revision.to_string()
    }
}

/// `spec.replicas` of an object.
pub(super) fn replicas(object: &Value) -> Option<u32> {
    let replicas = object.pointer("/spec/replicas")?.as_u64()?;
    u32::try_from(replicas).ok()
}

fn set_replicas(object: &mut Value, replicas: u32) {
    if let Some(spec) = object.get_mut("spec") {
        set(spec, "replicas", json!(replicas));
    }
}

fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(field.to_owned(), value);
    }
}

pub(super) fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    child_mut(object, "metadata")
}

/// A field that is an object, made one where it is not.
pub(super) fn child_mut<'a>(object: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    let child = fields_mut(object)
        .entry(field.to_owned())
        .or_insert(Value::Null);
    fields_mut(child)
}

fn with_status(mut object: Value, status: Option<&Value>) -> Value {
    match status {
        Some(status) => set(&mut object, "status", status.clone()),
        None => drop(fields_mut(&mut object).remove("status")),
    }
    object
}

fn fields_mut(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(fields) => fields,
        // Never taken: the value was just made an object.
        other => fields_mut(other),
    }
}

fn bump_generation(object: &mut Value) {
    let metadata = metadata_mut(object);
    let generation = metadata
        .get("generation")
        .and_then(Value::as_u64)
        .unwrap_or(0);
    metadata.insert("generation".to_owned(), json!(generation + 1));
}

fn apply(resource: &Resource, current: &Value, change: Change<'_>) -> Result<Value, Failure> {
    let parse = |body: &[u8]| -> Result<Value, Failure> {
        let value: Option<Value> = serde_json::from_slice(body).ok();
        let value = value.filter(Value::is_object);
        value.ok_or_else(|| Failure::bad_request("error decoding patch"))
    };
    match change {
        Change::JsonPatch(body) => patch::json_patch(current, body).map_err(|error| match error {
            PatchError::Malformed => Failure::bad_request("error decoding patch"),
            PatchError::DoesNotApply => Failure::patch_refused(),
            PatchError::TooMany(found) => {
                Failure::too_many_operations(patch::MAX_OPERATIONS, found)
            }
        }),
        Change::StrategicMergePatch(_) if resource.custom => Err(Failure::patch_type(resource)),
        Change::MergePatch(body) | Change::StrategicMergePatch(body) => {
            let mut patched = current.clone();
            patch::merge_patch(&mut patched, &parse(body)?);
            Ok(patched)
        }
        Change::Replace(body) => parse(body),
    }
}

/// `None` where the patched scale has no number.
fn patched_replicas(place: Place<'_>, patched: &Value) -> Result<Option<u32>, Failure> {
    let value = match patched.pointer("/spec/replicas") {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    let not_int32 = |value: &Value| {
        Failure::of_another_type(patched, &go_name(value), "ScaleSpec.spec.replicas", "int32")
    };
    let Some(number) = value.as_i64() else {
        return Err(not_int32(value));
    };
    // Kubernetes counts replicas in a signed number of 32 bits.
    let Ok(count) = i32::try_from(number) else {
        return Err(not_int32(value));
    };
    u32::try_from(count)
        .map(Some)
        .map_err(|_| Failure::negative(place.resource, place.name, number))
}

fn check_version(place: Place<'_>, current: &Value, patched: &Value) -> Result<(), Failure> {
    let version = |object: &Value| {
        let version = object.pointer("/metadata/resourceVersion");
        version
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let wanted = version(patched);
    if wanted.is_empty() || wanted == version(current) {
        return Ok(());
    }
    Err(Failure::conflict(place.resource, place.name))
}

fn keep_own_fields(place: Place<'_>, current: &Value, patched: &mut Value) {
    for field in ["kind", "apiVersion"] {
        set(
            patched,
            field,
            current.get(field).cloned().unwrap_or_default(),
        );
    }
    if place.resource.has_status() {
        *patched = with_status(std::mem::take(patched), current.get("status"));
    }
    let metadata = metadata_mut(patched);
    for field in OWN_METADATA {
        match current.pointer(&format!("/metadata/{field}")) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.remove(field),
        };
    }
}

/// An Event is in the namespace of what it is about.
fn check_event(place: Place<'_>, event: &Value) -> Result<(), Failure> {
    let about = event.pointer("/involvedObject/namespace");
    let about = about.and_then(Value::as_str).unwrap_or_default();
    if about == place.namespace {
        return Ok(());
    }
    let cause = format!(
        "involvedObject.namespace: Invalid value: \"{about}\": does not match event.namespace"
    );
    Err(Failure::invalid("", "Event", place.name, &cause))
}

/// An empty `data` is dropped and null becomes an empty text, as on the way through the API server's Go types.
fn normalise(place: Place<'_>, object: &mut Value) -> Result<(), Failure> {
    if place.resource != &CONFIG_MAPS {
        return Ok(());
    }
    let given = object.clone();
    let Some(data) = object.get_mut("data").and_then(Value::as_object_mut) else {
        if let Some(fields) = object.as_object_mut() {
            fields.remove("data");
        }
        return Ok(());
    };
    for (key, value) in data.iter_mut() {
        match value {
            Value::String(_) => {}
            Value::Null => *value = json!(""),
            other => {
                let name = go_name(other);
                let name = name.split(' ').next().unwrap_or_default();
                return Err(Failure::of_another_type(
                    &given,
                    name,
                    "ConfigMap.data",
                    "string",
                ));
            }
        }
        if key.len() > MAX_KEY_BYTES {
            return Err(Failure::key_too_long(place.name, key, MAX_KEY_BYTES));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if !key.chars().all(allowed) {
            let cause = format!(
                "data[{key}]: Invalid value: \"{key}\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
            );
            return Err(Failure::invalid("", "ConfigMap", place.name, &cause));
        }
    }
    let bytes: usize = data.values().filter_map(Value::as_str).map(str::len).sum();
    if bytes > MAX_CONFIG_MAP_BYTES {
        return Err(Failure::too_long(place.name, MAX_CONFIG_MAP_BYTES));
    }
    if data.is_empty()
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("data");
    }
    Ok(())
}

/// What Go's decoder calls a value that does not fit.
fn go_name(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(number) => format!("number {number}"),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    }
}

/// An object as a list has it: a list of a built-in kind says the kind once, for all.
fn listed(resource: &Resource, object: &Value) -> Value {
    let mut object = object.clone();
    if !resource.custom
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    object
}

/// An autoscaler has a `spec`, but the server does not number its versions.
fn counts_generations(resource: &Resource) -> bool {
    resource != &AUTOSCALERS
}

#[cfg(test)]
mod tests;
