//! The same requests to the sandbox and to a real API server: whatever one answers, the other must.
//!
//! What no client of ours reads is left out of the comparison: what a server defaults, when and under which number it
//! stored an object, and the work of controllers, of which the real server has none here.

use serde_json::{Value as Json, json};

use super::client::{Answer, Client, JSON, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH};
use super::lab::{Lab, SHIPPED_ROLE, new_namespace, rollout};
use super::world::{World, world};

/// Both servers, one namespace of the same name in each.
struct Pair {
    ours: Client,
    real: Client,
    namespace: String,
    _sandbox: outrigger::sandbox::Sandbox,
    differences: Vec<String>,
    requests: usize,
}

impl Pair {
    async fn new(world: &'static World) -> Self {
        let sandbox = crate::support::bare(outrigger::sandbox::SandboxOptions::default()).await;
        sandbox.kubernetes().set_keda_installed(true);
        let real = world.admin();
        let namespace = new_namespace(&real).await;
        Self {
            ours: admin_of(&sandbox),
            real,
            namespace,
            _sandbox: sandbox,
            differences: Vec::new(),
            requests: 0,
        }
    }

    /// Sends one request to both and notes where the answers differ. Returns the real status.
    async fn ask(&mut self, method: &str, path: &str, content_type: &str, body: &str) -> u16 {
        let path = path.replace("NS", &self.namespace);
        let mut answers = Vec::new();
        for client in [&self.ours, &self.real] {
            let (path, body) = (
                filled_in(client, &path, &path).await,
                filled_in(client, &path, body).await,
            );
            let answer = client.send(method, &path, content_type, &body).await;
            answers.push(answer.unwrap());
        }
        let [ours, real] = <[Answer; 2]>::try_from(answers).unwrap();
        self.requests += 1;
        let (our_shape, real_shape) = (shape(&ours), shape(&real));
        let mut found = Vec::new();
        differences("", &our_shape, &real_shape, &mut found);
        if !found.is_empty() {
            let request = format!("{method} {path} {content_type} {body}");
            self.differences
                .push(format!("{request}\n{}", found.concat()));
        }
        real.status
    }

    async fn get(&mut self, path: &str) -> u16 {
        self.ask("GET", path, "", "").await
    }

    async fn create(&mut self, path: &str, manifest: &Json) {
        let status = self.ask("POST", path, JSON, &manifest.to_string()).await;
        assert_eq!(status, 201, "{path}: {manifest}");
    }

    /// A JSON Patch.
    async fn patch(&mut self, path: &str, patch: &Json) -> u16 {
        let patch = patch.to_string();
        self.ask("PATCH", path, JSON_PATCH, &patch).await
    }

    async fn merge(&mut self, path: &str, patch: &Json) -> u16 {
        let patch = patch.to_string();
        self.ask("PATCH", path, MERGE_PATCH, &patch).await
    }

    #[track_caller]
    fn assert_same(self) {
        assert!(
            self.differences.is_empty(),
            "{} of {} answers differ:\n{}",
            self.differences.len(),
            self.requests,
            self.differences.join("\n")
        );
    }
}

pub(super) fn admin_of(sandbox: &outrigger::sandbox::Sandbox) -> Client {
    let kubeconfig = sandbox.kubeconfig();
    let token = kubeconfig
        .lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix("token: "));
    let token = token.unwrap().trim_matches('"').to_owned();
    Client::new(crate::adapters::address(sandbox), &token)
}

/// Puts in what each server gave its own object: `{uid}`, `{version}`, and `{next}` for the rest of a list.
async fn filled_in(client: &Client, path: &str, text: &str) -> String {
    let mut text = text.to_owned();
    let object = path.split('?').next().unwrap();
    let object = object
        .trim_end_matches("/scale")
        .trim_end_matches("/status");
    for (mark, field) in [("{uid}", "uid"), ("{version}", "resourceVersion")] {
        if text.contains(mark) {
            let found = client.get(object).await.good()["metadata"][field].clone();
            text = text.replace(mark, found.as_str().unwrap());
        }
    }
    if text.contains("{next}") {
        let first = client.get(&format!("{object}?limit=1")).await.good();
        text = text.replace("{next}", first["metadata"]["continue"].as_str().unwrap());
    }
    text
}

/// One line for each field that is not the same.
fn differences(path: &str, ours: &Json, real: &Json, found: &mut Vec<String>) {
    match (ours, real) {
        (Json::Object(ours), Json::Object(real)) => {
            let mut fields: Vec<&String> = ours.keys().chain(real.keys()).collect();
            fields.sort();
            fields.dedup();
            let none = Json::Null;
            for field in fields {
                let (ours, real) = (
                    ours.get(field).unwrap_or(&none),
                    real.get(field).unwrap_or(&none),
                );
                differences(&format!("{path}/{field}"), ours, real, found);
            }
        }
        (ours, real) if ours == real => {}
        (ours, real) => found.push(format!("  {path}\n    ours: {ours}\n    real: {real}\n")),
    }
}

/// What of an answer must be the same.
fn shape(answer: &Answer) -> Json {
    let Answer {
        status,
        content_type,
        text,
        body,
    } = answer;
    let body = match body["kind"].as_str() {
        None => json!(text),
        Some("Status") => failure_shape(body),
        Some("Scale") => scale_shape(body),
        Some("APIResourceList") => discovery_shape(body),
        Some(kind) if kind.ends_with("List") => list_shape(body),
        Some(_) => object_shape(body),
    };
    json!({"status": status, "type": content_type, "body": body})
}

/// A failure, without the object that was sent and the list of causes, which says the message again.
fn failure_shape(status: &Json) -> Json {
    let mut shape = status.clone();
    // Of an object that was deleted, it tells the uid.
    if let Some(details) = shape["details"].as_object_mut() {
        details.remove("causes");
        details.remove("uid");
    }
    let message = status["message"].as_str().unwrap_or_default();
    // What follows is Go's own parser speaking.
    for start in [
        "error decoding patch",
        "invalid continue token: continue key is not valid",
    ] {
        if message.starts_with(start) {
            shape["message"] = json!(start);
        }
    }
    if let (Some(from), Some(to)) = (message.find("Invalid value: \"{"), message.find("}\": ")) {
        shape["message"] = json!(format!("{}…{}", &message[..from], &message[to..]));
    }
    shape
}

fn object_shape(object: &Json) -> Json {
    let metadata = &object["metadata"];
    json!({
        "apiVersion": object["apiVersion"],
        "kind": object["kind"],
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "generation": metadata["generation"],
        "annotations": metadata["annotations"],
        "uid": metadata["uid"].is_string(),
        "resourceVersion": metadata["resourceVersion"].is_string(),
        "replicas": object["spec"]["replicas"],
        "data": object["data"],
        "allowed": object["status"]["allowed"],
        // A status that no controller writes here.
        "status": object["kind"].as_str().filter(|kind| *kind == "ScaledObject").map(|_| &object["status"]),
        "about": object["involvedObject"],
        "reason": object["reason"],
    })
}

fn scale_shape(scale: &Json) -> Json {
    let mut shape = scale.clone();
    let metadata = shape["metadata"].as_object_mut().unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp"] {
        let given = metadata.get(field).is_some_and(Json::is_string);
        metadata.insert(field.to_owned(), json!(given));
    }
    // A controller's.
    shape["status"].as_object_mut().unwrap().remove("replicas");
    if shape["metadata"]["name"] != "crew" {
        // So is the selector of a Rollout.
        shape["status"] = json!({});
    }
    shape
}

fn list_shape(list: &Json) -> Json {
    let items = list["items"].as_array().unwrap().iter();
    let items: Vec<Json> = items
        .map(|item| json!({"kind": item["kind"], "apiVersion": item["apiVersion"], "name": item["metadata"]["name"]}))
        .collect();
    let metadata = &list["metadata"];
    json!({
        "apiVersion": list["apiVersion"],
        "kind": list["kind"],
        "items": items,
        "continue": metadata["continue"].as_str().is_some_and(|token| !token.is_empty()),
        "remaining": metadata["remainingItemCount"],
        "version": metadata["resourceVersion"].is_string(),
    })
}

/// The entries that decide what can be scaled, and how.
fn discovery_shape(list: &Json) -> Json {
    let entries = list["resources"].as_array().unwrap().iter();
    let known = [
        "rollouts",
        "deployments",
        "statefulsets",
        "replicationcontrollers",
        "configmaps",
        "workers",
        "reports",
        "fleets",
        "horizontalpodautoscalers",
        "scaledobjects",
        "triggerauthentications",
        "clustertriggerauthentications",
        "events",
    ];
    let mut entries: Vec<Json> = entries
        .filter(|entry| {
            let name = entry["name"].as_str().unwrap();
            let (plural, subresource) = name.split_once('/').unwrap_or((name, ""));
            known.contains(&plural) && subresource != "status"
        })
        .map(|entry| {
            json!([
                entry["name"],
                entry["singularName"],
                entry["namespaced"],
                entry["kind"],
                entry["group"],
                entry["version"],
                entry["shortNames"],
            ])
        })
        .collect();
    entries.sort_by_key(|entry| entry[0].as_str().map(str::to_owned));
    json!({"kind": list["kind"], "apiVersion": list["apiVersion"], "groupVersion": list["groupVersion"], "resources": entries})
}

const ROLLOUTS: &str = "/apis/argoproj.io/v1alpha1/namespaces/NS/rollouts";
const WORKER: &str = "/apis/argoproj.io/v1alpha1/namespaces/NS/rollouts/worker";
const SCALE: &str = "/apis/argoproj.io/v1alpha1/namespaces/NS/rollouts/worker/scale";

fn test(path: &str, value: Json) -> Json {
    json!({"op": "test", "path": path, "value": value})
}

fn add(path: &str, value: Json) -> Json {
    json!({"op": "add", "path": path, "value": value})
}

#[tokio::test]
async fn a_count_is_changed_under_conditions() {
    let Some(world) = world() else { return };
    let mut pair = Pair::new(world).await;
    pair.get(WORKER).await;
    pair.get(SCALE).await;
    pair.patch(SCALE, &json!([add("/spec/replicas", json!(3))]))
        .await;
    pair.create(ROLLOUTS, &rollout("worker", Some(2))).await;
    let again = rollout("worker", Some(2)).to_string();
    pair.ask("POST", ROLLOUTS, JSON, &again).await;
    pair.get(WORKER).await;
    pair.get(SCALE).await;
    let (uid, other) = (
        test("/metadata/uid", json!("{uid}")),
        test("/metadata/uid", json!("other")),
    );
    for (conditions, to) in [
        (
            vec![uid.clone(), test("/spec/replicas", json!(2))],
            json!(7),
        ),
        (
            vec![uid.clone(), test("/spec/replicas", json!(2))],
            json!(7),
        ),
        (vec![other, test("/spec/replicas", json!(7))], json!(8)),
        (vec![test("/spec/replicas", json!(null))], json!(8)),
        (vec![test("/spec/replicas", json!("7"))], json!(8)),
        (vec![test("/spec/replicas", json!(7.0))], json!(8)),
        (vec![test("/spec/nothing", json!(null))], json!(8)),
        (vec![test("/nothing/below", json!(null))], json!(8)),
        (vec![], json!(-1)),
        (vec![], json!("9")),
        (vec![], json!(9.5)),
        (vec![], json!(i32::MAX)),
        (vec![], json!(i64::from(i32::MAX) + 1)),
        (vec![], json!(u32::MAX)),
        (vec![], json!(null)),
        (vec![], json!(0)),
        (vec![test("/spec/replicas", json!(0))], json!(3)),
        (vec![test("/spec", json!({}))], json!(3)),
        (vec![test("/spec/replicas", json!(3))], json!(0)),
        (vec![uid, test("/spec/replicas", json!(null))], json!(4)),
    ] {
        let mut patch = conditions;
        patch.push(add("/spec/replicas", to));
        pair.patch(SCALE, &json!(patch)).await;
        pair.get(SCALE).await;
        pair.get(WORKER).await;
    }
    pair.assert_same();
}

#[tokio::test]
async fn other_patches_of_a_count() {
    let Some(world) = world() else { return };
    let mut pair = Pair::new(world).await;
    pair.create(ROLLOUTS, &rollout("worker", Some(2))).await;
    let replicas = |count: u32| json!({"spec": {"replicas": count}});
    pair.merge(SCALE, &replicas(3)).await;
    let versioned =
        |version: &str| json!({"metadata": {"resourceVersion": version}, "spec": {"replicas": 4}});
    pair.merge(SCALE, &versioned("{version}")).await;
    pair.merge(SCALE, &versioned("1")).await;
    pair.merge(SCALE, &json!({"metadata": {"annotations": {"a": "b"}}}))
        .await;
    pair.merge(SCALE, &json!({"spec": null})).await;
    pair.merge(SCALE, &json!({})).await;
    for (content_type, body) in [
        (JSON_PATCH, "[]"),
        (JSON_PATCH, "{}"),
        (JSON_PATCH, "no JSON"),
        (JSON_PATCH, ""),
        (
            JSON_PATCH,
            r#"[{"op": "remove", "path": "/spec/replicas"}]"#,
        ),
        (
            JSON_PATCH,
            r#"[{"op": "replace", "path": "/spec/replicas", "value": 5}]"#,
        ),
        (
            JSON_PATCH,
            r#"[{"op": "replace", "path": "/spec/nothing", "value": 5}]"#,
        ),
        (JSON_PATCH, r#"[{"op": "remove", "path": "/spec/nothing"}]"#),
        (
            JSON_PATCH,
            r#"[{"op": "nonsense", "path": "/spec/replicas", "value": 5}]"#,
        ),
        (
            JSON_PATCH,
            r#"[{"op": "add", "path": "/nothing/below", "value": 5}]"#,
        ),
        (MERGE_PATCH, "no JSON"),
        (MERGE_PATCH, "[]"),
        (STRATEGIC_PATCH, r#"{"spec": {"replicas": 9}}"#),
        (JSON, r#"{"spec": {"replicas": 9}}"#),
        ("text/plain", "9"),
    ] {
        pair.ask("PATCH", SCALE, content_type, body).await;
        pair.get(SCALE).await;
    }
    // A rehearsal changes nothing.
    let dry = format!("{SCALE}?dryRun=All");
    pair.merge(&dry, &replicas(9)).await;
    pair.get(SCALE).await;
    pair.ask("DELETE", WORKER, "", "").await;
    pair.get(WORKER).await;
    pair.assert_same();
}

#[tokio::test]
async fn a_count_that_is_not_set() {
    let Some(world) = world() else { return };
    let mut pair = Pair::new(world).await;
    pair.create(ROLLOUTS, &rollout("worker", None)).await;
    pair.get(WORKER).await;
    pair.get(SCALE).await;
    pair.merge(SCALE, &json!({})).await;
    pair.merge(SCALE, &json!({"metadata": {"annotations": {"a": "b"}}}))
        .await;
    pair.patch(
        SCALE,
        &json!([
            test("/spec/replicas", json!(null)),
            add("/spec/replicas", json!(3))
        ]),
    )
    .await;
    pair.get(SCALE).await;
    pair.get(WORKER).await;
    pair.assert_same();
}

#[tokio::test]
async fn a_memory_is_changed_under_conditions() {
    let Some(world) = world() else { return };
    let mut pair = Pair::new(world).await;
    let (all, one) = (
        "/api/v1/namespaces/NS/configmaps",
        "/api/v1/namespaces/NS/configmaps/outrigger",
    );
    let key = "/data/rollout.worker";
    let swap = |old: Json, new: Json| json!([test(key, old), add(key, new)]);
    pair.get(one).await;
    pair.patch(one, &swap(json!(null), json!("first"))).await;
    // The server drops an empty `data`, and then refuses every key below it.
    pair.create(all, &json!({"metadata": {"name": "outrigger"}, "data": {}}))
        .await;
    pair.get(one).await;
    pair.patch(one, &swap(json!(null), json!("first"))).await;
    pair.merge(one, &json!({"data": {"about": "…"}})).await;
    for (old, new) in [
        (json!(null), json!("first")),
        (json!(null), json!("second")),
        (json!("first"), json!("second \"quoted\" ~/")),
        (json!("first"), json!("third")),
        (json!("second \"quoted\" ~/"), json!(3)),
        (json!("second \"quoted\" ~/"), json!(null)),
        (json!("second \"quoted\" ~/"), json!({})),
        (json!(""), json!("")),
    ] {
        pair.patch(one, &swap(old, new)).await;
        pair.get(one).await;
    }
    pair.merge(
        one,
        &json!({"metadata": {"resourceVersion": "1"}, "data": {"a": "b"}}),
    )
    .await;
    pair.merge(
        one,
        &json!({"metadata": {"resourceVersion": "{version}"}, "data": {"a": "b"}}),
    )
    .await;
    pair.merge(one, &json!({"data": {"a": 1}})).await;
    pair.merge(one, &json!({"data": {"a": null}})).await;
    pair.merge(one, &json!({"data": {"not a key": "b"}})).await;
    pair.merge(one, &json!({"metadata": {"annotations": {"note": "b"}}}))
        .await;
    pair.ask("PATCH", one, STRATEGIC_PATCH, r#"{"data": {"c": "d"}}"#)
        .await;
    pair.merge(one, &json!({"data": null})).await;
    pair.ask("PATCH", one, "text/plain", "9").await;
    pair.get(&format!("{one}/scale")).await;
    pair.ask("DELETE", one, "", "").await;
    pair.ask("DELETE", one, "", "").await;
    pair.assert_same();
}

pub(super) fn workload(api_version: &str, kind: &str, replicas: u32) -> Json {
    let labels = json!({"app": "crew"});
    let selector = match kind {
        "ReplicationController" => labels.clone(),
        _ => json!({"matchLabels": labels}),
    };
    let mut spec = json!({"replicas": replicas});
    if !matches!(kind, "Worker" | "Fleet" | "Report") {
        spec["selector"] = selector;
        let container = json!({"name": "worker", "image": "worker:1"});
        spec["template"] =
            json!({"metadata": {"labels": labels}, "spec": {"containers": [container]}});
    }
    if kind == "StatefulSet" {
        spec["serviceName"] = json!("crew");
    }
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "crew"}, "spec": spec})
}

#[tokio::test]
async fn every_kind_is_scaled_alike() {
    let Some(world) = world() else { return };
    let mut pair = Pair::new(world).await;
    for (api_version, kind, all) in [
        (
            "apps/v1",
            "Deployment",
            "/apis/apps/v1/namespaces/NS/deployments",
        ),
        (
            "apps/v1",
            "StatefulSet",
            "/apis/apps/v1/namespaces/NS/statefulsets",
        ),
        (
            "v1",
            "ReplicationController",
            "/api/v1/namespaces/NS/replicationcontrollers",
        ),
        (
            "example.com/v1",
            "Worker",
            "/apis/example.com/v1/namespaces/NS/workers",
        ),
    ] {
        pair.create(all, &workload(api_version, kind, 3)).await;
        let (one, scale) = (format!("{all}/crew"), format!("{all}/crew/scale"));
        pair.get(&one).await;
        pair.get(&scale).await;
        let uid = test("/metadata/uid", json!("{uid}"));
        for (old, new) in [
            (json!(3), 0),
            (json!(null), 4),
            (json!(3), 5),
            (json!(4), -1),
        ] {
            let patch = json!([
                uid,
                test("/spec/replicas", old),
                add("/spec/replicas", json!(new))
            ]);
            pair.patch(&scale, &patch).await;
            pair.get(&scale).await;
        }
        pair.patch(&scale, &json!([add("/spec/replicas", json!(u32::MAX))]))
            .await;
        pair.merge(&scale, &json!({"spec": {"replicas": null}}))
            .await;
        pair.get(&one).await;
        pair.get(&format!("{all}/nobody")).await;
        pair.get(&format!("{all}/nobody/scale")).await;
        pair.get(&format!("{all}/crew/nothing")).await;
    }
    let reports = "/apis/example.com/v1/namespaces/NS/reports";
    pair.create(reports, &workload("example.com/v1", "Report", 3))
        .await;
    pair.get(&format!("{reports}/crew/scale")).await;
    pair.patch(
        &format!("{reports}/crew/scale"),
        &json!([add("/spec/replicas", json!(1))]),
    )
    .await;
    pair.assert_same();
}

#[tokio::test]
async fn lists_come_in_pages() {
    let Some(world) = world() else { return };
    let mut pair = Pair::new(world).await;
    let target = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "worker"});
    let autoscalers = "/apis/autoscaling/v2/namespaces/NS/horizontalpodautoscalers";
    let scaled_objects = "/apis/keda.sh/v1alpha1/namespaces/NS/scaledobjects";
    for all in [autoscalers, scaled_objects, ROLLOUTS] {
        pair.get(all).await;
        for name in ["a", "b", "c"] {
            let manifest = if all == autoscalers {
                json!({"metadata": {"name": name}, "spec": {"scaleTargetRef": target, "maxReplicas": 3}})
            } else if all == scaled_objects {
                json!({
                    "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": name},
                    "spec": {"scaleTargetRef": target, "triggers": [{"type": "cpu", "metadata": {"value": "1"}}]},
                })
            } else {
                rollout(name, Some(1))
            };
            pair.create(all, &manifest).await;
        }
        for query in [
            "",
            "?limit=0",
            "?limit=1",
            "?limit=2",
            "?limit=3",
            "?limit=500",
            "?limit=1&continue={next}",
            "?limit=2&continue={next}",
            "?continue={next}",
            "?continue=nonsense",
            "?limit=nonsense",
            "?limit=-1",
        ] {
            pair.get(&format!("{all}{query}")).await;
        }
    }
    pair.assert_same();
}

const SCALED_OBJECT: &str = "/apis/keda.sh/v1alpha1/namespaces/NS/scaledobjects/worker";
const EVENTS: &str = "/api/v1/namespaces/NS/events";

#[tokio::test]
async fn a_status_is_changed_under_conditions() {
    let Some(world) = world() else { return };
    let mut pair = Pair::new(world).await;
    let all = "/apis/keda.sh/v1alpha1/namespaces/NS/scaledobjects";
    let status = format!("{SCALED_OBJECT}/status");
    let manifest = json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "worker"},
        "spec": {"scaleTargetRef": {"name": "worker"}, "triggers": [{"type": "cpu", "metadata": {"value": "1"}}]},
        "status": {"scaleTargetKind": "of whoever created it"},
    });
    pair.patch(&status, &json!([add("/status", json!({}))]))
        .await;
    pair.create(all, &manifest).await;
    pair.get(SCALED_OBJECT).await;
    let (uid, version) = (
        test("/metadata/uid", json!("{uid}")),
        test("/metadata/resourceVersion", json!("{version}")),
    );
    let ready = |status: &str| json!({"scaleTargetKind": "apps/v1.Deployment", "conditions": [{"type": "Ready", "status": status}]});
    for (conditions, to) in [
        (vec![uid.clone(), version.clone()], ready("True")),
        (vec![uid.clone(), version.clone()], ready("True")),
        (
            vec![uid.clone(), test("/metadata/resourceVersion", json!("1"))],
            ready("False"),
        ),
        (
            vec![test("/metadata/uid", json!("other")), version.clone()],
            ready("False"),
        ),
        (vec![uid, version], ready("Unknown")),
        (vec![], json!({})),
    ] {
        let mut patch = conditions;
        patch.push(add("/status", to));
        pair.patch(&status, &json!(patch)).await;
        pair.get(SCALED_OBJECT).await;
    }
    // The subresource changes nothing else, and the object not its status.
    pair.merge(
        &status,
        &json!({"spec": {"maxReplicaCount": 3}, "status": {"scaleTargetKind": "a"}}),
    )
    .await;
    pair.merge(SCALED_OBJECT, &json!({"status": {"scaleTargetKind": "b"}}))
        .await;
    pair.merge(SCALED_OBJECT, &json!({"spec": {"maxReplicaCount": 3}}))
        .await;
    pair.merge(&status, &json!({"status": null})).await;
    pair.get(SCALED_OBJECT).await;
    pair.get(&status).await;
    pair.get("/apis/keda.sh/v1alpha1/namespaces/NS/scaledobjects/nobody/status")
        .await;
    pair.get(&format!("{SCALED_OBJECT}/scale")).await;
    pair.assert_same();
}

#[tokio::test]
async fn events_are_created_and_found() {
    let Some(world) = world() else { return };
    let mut pair = Pair::new(world).await;
    let event = |name: &str, namespace: &str| {
        let about =
            json!({"kind": "Rollout", "namespace": namespace, "name": "worker", "uid": "u"});
        json!({"metadata": {"name": name}, "involvedObject": about, "reason": "QueueDepth", "type": "Normal", "message": "m"})
    };
    let namespace = pair.namespace.clone();
    pair.create(EVENTS, &event("a", &namespace)).await;
    pair.create(EVENTS, &event("b", &namespace)).await;
    for (name, namespace) in [("a", namespace.as_str()), ("c", "elsewhere"), ("c", "")] {
        let body = event(name, namespace).to_string();
        pair.ask("POST", EVENTS, JSON, &body).await;
    }
    for query in [
        "",
        "?fieldSelector=involvedObject.uid%3Du%2CinvolvedObject.kind%3DRollout",
        "?fieldSelector=involvedObject.uid%3Dv",
        "?fieldSelector=metadata.name%3Da",
        "?fieldSelector=reason%3DQueueDepth&limit=1",
        "?fieldSelector=type%3DWarning",
        "?fieldSelector=nonsense%3D1",
    ] {
        pair.get(&format!("{EVENTS}{query}")).await;
    }
    pair.assert_same();
}

#[tokio::test]
async fn kinds_are_discovered() {
    let Some(world) = world() else { return };
    let mut pair = Pair::new(world).await;
    for path in [
        "/api/v1",
        "/apis/apps/v1",
        "/apis/argoproj.io/v1alpha1",
        "/apis/example.com/v1",
        "/apis/autoscaling/v2",
        "/apis/keda.sh/v1alpha1",
        "/apis/example.com/v2",
        "/apis/nobody.example.com/v1",
        "/api/v2",
        "/apis/nobody.example.com/v1/namespaces/NS/things/a",
        "/apis/example.com/v1/namespaces/NS/things/a",
        "/apis/example.com/v1/namespaces/NS/things",
        "/api/v1/namespaces/NS/things/a",
        "/nothing",
        "/apis/apps/v1/namespaces/NS/rollouts/worker",
        "/apis/argoproj.io/v1/namespaces/NS/rollouts/worker",
    ] {
        pair.get(path).await;
    }
    pair.assert_same();
}

#[tokio::test]
async fn what_is_forbidden_is_told_in_the_same_words() {
    let Some(world) = world() else { return };
    let lab = Lab::with_role(world, SHIPPED_ROLE).await;
    let sandbox = crate::support::bare(outrigger::sandbox::SandboxOptions {
        namespaces: vec![lab.namespace.clone()],
        ..outrigger::sandbox::SandboxOptions::default()
    })
    .await;
    sandbox.kubernetes().set_keda_installed(true);
    let environment = sandbox.environment();
    let keys = |name: &str| environment[name].clone();
    let ours = outrigger::sandbox::SessionKeys {
        access_key: keys("AWS_ACCESS_KEY_ID"),
        secret: keys("AWS_SECRET_ACCESS_KEY"),
        token: keys("AWS_SESSION_TOKEN"),
        arn: String::new(),
    };
    let mut pair = Pair {
        ours: Client::new(
            crate::adapters::address(&sandbox),
            &super::access::bearer(&ours),
        ),
        real: world.client(&super::access::bearer(&lab.keys)),
        namespace: lab.namespace.clone(),
        _sandbox: sandbox,
        differences: Vec::new(),
        requests: 0,
    };
    for (method, path) in [
        ("GET", ROLLOUTS),
        ("GET", "/apis/argoproj.io/v1alpha1/rollouts"),
        ("GET", SCALE),
        ("PATCH", WORKER),
        ("DELETE", WORKER),
        ("GET", "/api/v1/namespaces/NS/secrets/outrigger"),
        ("GET", "/api/v1/namespaces/NS/configmaps"),
        ("GET", "/api/v1/namespaces/NS/configmaps/other"),
        ("PATCH", "/api/v1/namespaces/NS/configmaps/other"),
        ("DELETE", "/api/v1/namespaces/NS/configmaps/outrigger"),
        ("GET", "/api/v1/namespaces/default/configmaps/outrigger"),
        (
            "GET",
            "/apis/apps/v1/namespaces/NS/deployments/worker/scale",
        ),
        (
            "PATCH",
            "/apis/apps/v1/namespaces/NS/deployments/worker/scale",
        ),
        ("GET", "/apis/autoscaling/v2/horizontalpodautoscalers"),
        (
            "GET",
            "/apis/autoscaling/v2/namespaces/NS/horizontalpodautoscalers/a",
        ),
        ("GET", "/apis/nobody.example.com/v1/namespaces/NS/things/a"),
        ("GET", "/apis/keda.sh/v1alpha1/scaledobjects"),
        (
            "GET",
            "/apis/keda.sh/v1alpha1/clustertriggerauthentications",
        ),
        (
            "GET",
            "/apis/keda.sh/v1alpha1/namespaces/NS/triggerauthentications",
        ),
        ("GET", SCALED_OBJECT),
        ("PATCH", SCALED_OBJECT),
        (
            "PATCH",
            "/apis/keda.sh/v1alpha1/namespaces/NS/scaledobjects/worker/status",
        ),
        ("GET", EVENTS),
        ("PATCH", "/api/v1/namespaces/NS/events/a"),
    ] {
        let body = if method == "PATCH" { "{}" } else { "" };
        let status = pair.ask(method, path, MERGE_PATCH, body).await;
        assert_eq!(status, 403, "{method} {path}");
    }
    let review = |verb: &str, group: &str, resource: &str| {
        json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"namespace": lab.namespace, "verb": verb, "group": group, "resource": resource}},
        })
    };
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    pair.create(reviews, &review("get", "argoproj.io", "rollouts"))
        .await;
    pair.create(reviews, &review("delete", "argoproj.io", "rollouts"))
        .await;
    pair.get("/apis/argoproj.io/v1alpha1").await;
    // A token that nobody gave out.
    (pair.ours, pair.real) = (
        Client::new(pair.ours.address, "nonsense"),
        world.client("nonsense"),
    );
    pair.get(WORKER).await;
    pair.assert_same();
}
