use super::super::resource::{DEPLOYMENTS, ROLLOUTS};
use super::*;

const WORKER: Place<'_> = Place {
    resource: &ROLLOUTS,
    namespace: "default",
    name: "worker",
};

const STATE: Place<'_> = Place {
    resource: &CONFIG_MAPS,
    namespace: "default",
    name: "outrigger",
};

const WRITER: Writer<'_> = Writer {
    manager: "outrigger",
    dry_run: false,
    counted: true,
    now: Timestamp::UNIX_EPOCH,
};

fn rollout(replicas: Option<u32>) -> Store {
    let mut store = Store::default();
    let manifest = json!({"spec": {"replicas": replicas}});
    store
        .create(WORKER, manifest, Timestamp::UNIX_EPOCH)
        .unwrap();
    store
}

fn config_map(data: &Value) -> Store {
    let mut store = Store::default();
    store
        .create(STATE, json!({"data": data}), Timestamp::UNIX_EPOCH)
        .unwrap();
    store
}

fn json_patch(store: &mut Store, place: Place<'_>, patch: &Value) -> Result<Value, Failure> {
    let patch = patch.to_string();
    let change = Change::JsonPatch(patch.as_bytes());
    if place.resource.scales {
        store.change_scale(place, change, WRITER)
    } else {
        store.change(place, change, WRITER)
    }
}

fn merge(store: &mut Store, patch: &Value) -> Result<Value, Failure> {
    store.change_scale(
        WORKER,
        Change::MergePatch(patch.to_string().as_bytes()),
        WRITER,
    )
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Failure>, code: u16, reason: &str) {
    let failure = result.unwrap_err();
    assert_eq!(
        (failure.code, failure.reason),
        (code, reason),
        "{}",
        failure.message
    );
}

#[test]
fn a_scale_changes_replicas_and_the_controller_follows() {
    let mut store = rollout(Some(2));
    let uid = store.get(WORKER).unwrap()["metadata"]["uid"].clone();
    let patch = json!([
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "test", "path": "/spec/replicas", "value": 2},
        {"op": "replace", "path": "/spec/replicas", "value": 7},
        {"op": "add", "path": "/metadata/annotations", "value": {"dropped": "yes"}},
    ]);
    let answer = json_patch(&mut store, WORKER, &patch).unwrap();
    assert_eq!(answer["spec"], json!({"replicas": 7}));
    // The answer is as written, before the controller reacted.
    assert_eq!(answer["status"]["replicas"], 2);

    let worker = store.get(WORKER).unwrap();
    assert_eq!(worker["metadata"]["generation"], 2);
    assert_eq!(worker["metadata"].get("annotations"), None);
    assert_eq!(worker["status"]["observedGeneration"], "2");
    assert_eq!(worker["status"]["HPAReplicas"], 7);
    assert_eq!(
        worker["status"]["currentPodHash"],
        worker["status"]["stableRS"]
    );
    let manager = &worker["metadata"]["managedFields"][0];
    assert_eq!(
        (&manager["manager"], &manager["subresource"]),
        (&json!("outrigger"), &json!("scale"))
    );
    assert_eq!(store.writes(WORKER), [(2, 7)]);
    refused(json_patch(&mut store, WORKER, &patch), 422, "Invalid");
    assert_eq!(store.writes(WORKER), [(2, 7)]);
}

#[test]
fn a_wrong_uid_writes_nothing() {
    let mut store = rollout(Some(2));
    let patch = json!([
        {"op": "test", "path": "/metadata/uid", "value": "somebody-else"},
        {"op": "replace", "path": "/spec/replicas", "value": 7},
    ]);
    refused(json_patch(&mut store, WORKER, &patch), 422, "Invalid");
    assert_eq!(replicas(store.get(WORKER).unwrap()), Some(2));
}

#[test]
fn at_zero_the_number_is_left_out() {
    let mut store = rollout(Some(0));
    assert_eq!(store.scale(WORKER).unwrap()["spec"], json!({}));
    assert_eq!(
        store.get(WORKER).unwrap()["status"].get("HPAReplicas"),
        None
    );
    let from = |value: Value| {
        json!([
            {"op": "test", "path": "/spec/replicas", "value": value},
            {"op": "add", "path": "/spec/replicas", "value": 1},
        ])
    };
    refused(
        json_patch(&mut store, WORKER, &from(json!(0))),
        422,
        "Invalid",
    );
    json_patch(&mut store, WORKER, &from(Value::Null)).unwrap();
    assert_eq!(store.writes(WORKER), [(0, 1)]);
    merge(&mut store, &json!({"spec": {"replicas": null}})).unwrap();
    assert_eq!(replicas(store.get(WORKER).unwrap()), Some(0));
}

#[test]
fn a_rollout_without_a_number_has_no_scale() {
    let mut store = rollout(None);
    refused(store.scale(WORKER), 500, "InternalError");
    refused(merge(&mut store, &json!({"spec": {}})), 400, "BadRequest");
}

#[test]
fn a_stale_version_is_a_conflict() {
    let mut store = rollout(Some(2));
    let version = store.get(WORKER).unwrap()["metadata"]["resourceVersion"].clone();
    let patch = |replicas: u32| json!({"metadata": {"resourceVersion": version}, "spec": {"replicas": replicas}});
    merge(&mut store, &patch(3)).unwrap();
    refused(merge(&mut store, &patch(4)), 409, "Conflict");
}

#[test]
fn numbers_must_be_counts() {
    let mut store = rollout(Some(2));
    let write =
        |store: &mut Store, replicas: Value| merge(store, &json!({"spec": {"replicas": replicas}}));
    refused(write(&mut store, json!(-1)), 422, "Invalid");
    refused(write(&mut store, json!(3_000_000_000_u32)), 422, "Invalid");
    refused(write(&mut store, json!("3")), 422, "Invalid");
    // The same value again is no write.
    let before = store.get(WORKER).unwrap().clone();
    write(&mut store, json!(2)).unwrap();
    assert_eq!(store.get(WORKER).unwrap(), &before);
}

#[test]
fn a_dry_run_answers_and_stores_nothing() {
    let mut store = rollout(Some(2));
    let before = store.get(WORKER).unwrap().clone();
    let writer = Writer {
        dry_run: true,
        ..WRITER
    };
    let change = Change::MergePatch(br#"{"spec":{"replicas":9}}"#);
    let answer = store.change_scale(WORKER, change, writer).unwrap();
    assert_eq!(answer["spec"]["replicas"], 9);
    assert_eq!(store.get(WORKER).unwrap(), &before);
    assert_eq!(store.writes(WORKER), []);
}

#[test]
fn strategic_merge_is_for_built_in_kinds() {
    let mut store = rollout(Some(2));
    let change = Change::StrategicMergePatch(br#"{"spec":{"replicas":9}}"#);
    refused(
        store.change_scale(WORKER, change, WRITER),
        415,
        "UnsupportedMediaType",
    );
    let web = Place {
        resource: &DEPLOYMENTS,
        ..WORKER
    };
    let manifest = json!({"spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}}});
    store.create(web, manifest, Timestamp::UNIX_EPOCH).unwrap();
    let answer = store.change_scale(web, change, WRITER).unwrap();
    assert_eq!(answer["status"]["selector"], "app=web");
    assert_eq!(store.get(web).unwrap()["status"]["observedGeneration"], 2);
}

#[test]
fn a_key_is_compared_and_swapped() {
    let mut store = config_map(&json!({"about": "text"}));
    let swap = |from: Value, to: &str| {
        json!([
            {"op": "test", "path": "/data/rollout.worker", "value": from},
            {"op": "add", "path": "/data/rollout.worker", "value": to},
        ])
    };
    json_patch(&mut store, STATE, &swap(Value::Null, "1")).unwrap();
    refused(
        json_patch(&mut store, STATE, &swap(Value::Null, "2")),
        422,
        "Invalid",
    );
    let answer = json_patch(&mut store, STATE, &swap(json!("1"), "2")).unwrap();
    let fields = &answer["metadata"]["managedFields"][0]["fieldsV1"];
    assert_eq!(fields, &json!({"f:data": {"f:rollout.worker": {}}}));
    let numbers = json!([{"op": "add", "path": "/data/n", "value": 1}]);
    refused(json_patch(&mut store, STATE, &numbers), 422, "Invalid");
}

#[test]
fn an_empty_data_is_dropped_and_then_refuses_keys() {
    let mut store = config_map(&json!({}));
    assert_eq!(store.get(STATE).unwrap().get("data"), None);
    let add = json!([{"op": "add", "path": "/data/key", "value": "1"}]);
    refused(json_patch(&mut store, STATE, &add), 422, "Invalid");
    let change = Change::MergePatch(br#"{"data":{"key":"1"}}"#);
    store.change(STATE, change, WRITER).unwrap();
    let remove = json!([{"op": "remove", "path": "/data/key"}]);
    json_patch(&mut store, STATE, &remove).unwrap();
    assert_eq!(store.get(STATE).unwrap().get("data"), None);
}

#[test]
fn what_the_server_hands_out_cannot_be_changed() {
    let mut store = config_map(&json!({"about": "text"}));
    let before = store.get(STATE).unwrap().clone();
    let change = Change::MergePatch(br#"{"kind":"X","metadata":{"uid":"mine","name":"other"}}"#);
    store.change(STATE, change, WRITER).unwrap();
    assert_eq!(store.get(STATE).unwrap(), &before);
}

#[test]
fn any_state_can_be_set() {
    let mut store = rollout(Some(2));
    assert!(store.edit(WORKER, |worker| worker["spec"]["paused"] = json!(true)));
    let worker = store.get(WORKER).unwrap();
    assert_eq!(worker["status"]["observedGeneration"], "2");
    merge(&mut store, &json!({"spec": {"replicas": 5}})).unwrap();
    // Paused by hand: the number is there, the pods are not.
    assert_eq!(store.get(WORKER).unwrap()["status"]["replicas"], 2);

    store.edit(WORKER, |worker| {
        worker["spec"]["template"] = json!({"new": true});
        worker["status"]["currentPodHash"] = json!("new");
    });
    let worker = store.get(WORKER).unwrap();
    assert_eq!(worker["status"]["observedGeneration"], "4");
    assert_ne!(
        worker["status"]["currentPodHash"],
        worker["status"]["stableRS"]
    );
    let nobody = Place {
        name: "nobody",
        ..WORKER
    };
    assert!(!store.edit(nobody, |_| ()));
}

#[test]
fn lists_are_by_namespace_or_whole() {
    let mut store = rollout(Some(1));
    let elsewhere = Place {
        namespace: "other",
        ..WORKER
    };
    store
        .create(elsewhere, json!({"spec": {}}), Timestamp::UNIX_EPOCH)
        .unwrap();
    let count = |namespace| {
        store.list(&ROLLOUTS, namespace, &Page::default(), &Selector::default())["items"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(
        (count(Some("default")), count(Some("nobody")), count(None)),
        (1, 0, 2)
    );
    assert_eq!(
        store.list(&DEPLOYMENTS, None, &Page::default(), &Selector::default())["kind"],
        "DeploymentList"
    );
    refused(
        store.create(elsewhere, json!({}), Timestamp::UNIX_EPOCH),
        409,
        "AlreadyExists",
    );
    store.delete(elsewhere).unwrap();
    refused(store.get(elsewhere).map(|_| ()), 404, "NotFound");
}
