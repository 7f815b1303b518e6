//! ScaledObjects in a real cluster, under KEDA's own definitions and without its operator.

use outrigger::ports::{Namespace, ObjectKind, Objects, Scope, Statuses as _, Version};
use serde_json::{Value as Json, json};

use super::client::MERGE_PATCH;
use super::lab::{Lab, SHIPPED_ROLE, eventually};
use super::shell::Shell;
use super::world::{CLUSTER, EVERYWHERE, WIDE, World, world};
use crate::support::assert_names;
use crate::support::function::Function;

const ROLE: &str = include_str!("../../../infra/kubernetes/components/cluster-mode/role.yaml");
const BINDING: &str =
    include_str!("../../../infra/kubernetes/components/cluster-mode/rolebinding.yaml");

/// A namespace with both shipped Roles, and the ScaledObject `worker`.
async fn lab(world: &'static World) -> Lab {
    let lab = without_objects(world).await;
    lab.create_scaled_object(|_| {}).await;
    lab
}

async fn without_objects(world: &'static World) -> Lab {
    let lab = Lab::with_role(world, SHIPPED_ROLE).await;
    let rbac = format!(
        "/apis/rbac.authorization.k8s.io/v1/namespaces/{}",
        lab.namespace
    );
    for (kind, manifest) in [("roles", ROLE), ("rolebindings", BINDING)] {
        let path = format!("{rbac}/{kind}/outrigger-cluster-mode");
        lab.admin.apply(&path, manifest).await;
    }
    let right = json!({"group": "keda.sh", "resource": "scaledobjects", "subresource": "status", "verb": "patch"});
    let in_force = async || lab.admin.may("outrigger", &lab.namespace, &right).await;
    eventually("the Role is in force", in_force).await;
    lab.settle().await;
    lab
}

/// The cells that `kubectl get scaledobject` prints, by column, of one object.
async fn printed(lab: &Lab, name: &str) -> Vec<(String, Json)> {
    let table = lab.admin.table(&lab.scaled_objects("")).await;
    let rows = table["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["cells"][0] == name).unwrap();
    let columns = table["columnDefinitions"].as_array().unwrap().iter();
    let names = columns.map(|column| column["name"].as_str().unwrap().to_owned());
    names
        .zip(row["cells"].as_array().unwrap().clone())
        .collect()
}

#[track_caller]
fn shows(printed: &[(String, Json)], expected: &[(&str, Json)]) {
    for (column, value) in expected {
        let found = printed.iter().find(|(name, _)| name == column);
        assert_eq!(
            found.map(|(_, found)| found),
            Some(value),
            "{column} in {printed:?}"
        );
    }
}

/// The requests of the function since this many, without the reads of the objects that every pass makes.
fn writes_since(lab: &Lab, before: usize) -> Vec<(String, String, u64)> {
    let requests = lab.requests().split_off(before);
    let writes = requests.into_iter();
    writes
        .filter(|(verb, ..)| !["get", "list"].contains(&verb.as_str()))
        .collect()
}

async fn version(lab: &Lab, name: &str) -> Json {
    let object = lab.admin.get(&lab.scaled_objects(name)).await.good();
    object["metadata"]["resourceVersion"].clone()
}

#[tokio::test]
async fn kubectl_get_prints_what_is_true() {
    let Some(world) = world() else { return };
    let lab = lab(world).await;
    let function = lab.function_in_cluster(&[]).await;
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "scaled", "{answer}");
    assert_eq!(lab.replicas().await, Some(7));
    let row = printed(&lab, "worker").await;
    shows(
        &row,
        &[
            ("ScaleTargetKind", json!("argoproj.io/v1alpha1.Rollout")),
            ("ScaleTargetName", json!("worker")),
            ("Min", json!(2)),
            ("Max", json!(16)),
            ("Ready", json!("True")),
            ("Active", json!("True")),
            ("Fallback", json!("False")),
            ("Paused", json!("False")),
            ("Triggers", json!("aws-sqs-queue")),
            ("Authentications", json!("keda-aws-credentials")),
        ],
    );
    let shell = Shell::new(world, &lab.namespace);
    assert_names(
        &shell.run("kubectl get scaledobject worker -n shop").await,
        &["argoproj.io/v1alpha1.Rollout", "worker", "aws-sqs-queue"],
    );

    // Settled, nothing is written any more.
    lab.settle().await;
    function.answer("{}").await;
    lab.settle().await;
    let (before, seen) = (lab.requests().len(), version(&lab, "worker").await);
    for _ in 0..3 {
        let answer = function.answer("{}").await;
        assert_eq!(answer["targets"][0]["effect"], "held", "{answer}");
    }
    assert_eq!(writes_since(&lab, before), []);
    assert_eq!(version(&lab, "worker").await, seen);
    // A pass costs its three reads, less the queue, and the two lists of the invocation.
    assert_eq!(lab.requests().len(), before + 3 * 4);

    // The status follows what changes, once.
    lab.sandbox.queues().set_counts("orders", 0, 0, 0);
    function.answer("{}").await;
    shows(
        &printed(&lab, "worker").await,
        &[("Ready", json!("True")), ("Active", json!("False"))],
    );
    let annotation = json!({"metadata": {"annotations": {"autoscaling.keda.sh/paused": "true"}}});
    let path = lab.scaled_objects("worker");
    lab.admin
        .patch(&path, MERGE_PATCH, &annotation)
        .await
        .good();
    function.answer("{}").await;
    shows(&printed(&lab, "worker").await, &[("Paused", json!("True"))]);
    let object = lab.admin.get(&path).await.good();
    assert_eq!(object["metadata"]["generation"], 1);
    assert_eq!(object["status"]["originalReplicaCount"], 2);
}

#[tokio::test]
async fn a_refused_object_shows_why() {
    let Some(world) = world() else { return };
    let lab = lab(world).await;
    lab.create_scaled_object(|object| {
        object["metadata"]["name"] = json!("bad");
        object["spec"]["scaleTargetRef"]["name"] = json!("other");
        object["spec"]["triggers"][0]["metadata"]["identityOwner"] = json!("operater");
    })
    .await;
    let function = lab.function_in_cluster(&[]).await;
    let (_, message) = function.error("{}").await;
    assert_names(
        &message,
        &["1 failed", "/bad` is refused", "did you mean `operator`?"],
    );
    assert_eq!(lab.replicas().await, Some(7));
    shows(
        &printed(&lab, "bad").await,
        &[("Ready", json!("False")), ("Active", json!("Unknown"))],
    );
    let object = lab.admin.get(&lab.scaled_objects("bad")).await.good();
    let ready = &object["status"]["conditions"][0];
    assert_names(
        ready["message"].as_str().unwrap(),
        &["spec.triggers[0].metadata.identityOwner"],
    );
    let seen = version(&lab, "bad").await;
    function.error("{}").await;
    assert_eq!(version(&lab, "bad").await, seen);
}

/// By which the function knows that the definition of the kind lacks what it has sent.
#[tokio::test]
async fn a_status_of_unknown_fields_alone_makes_no_new_version() {
    let Some(world) = world() else { return };
    let lab = lab(world).await;
    let function = lab.function_in_cluster(&[]).await;
    function.answer("{}").await;
    let object = lab.admin.get(&lab.scaled_objects("worker")).await.good();
    let metadata = &object["metadata"];
    let mut status = object["status"].clone();
    status["ofALaterVersion"] = json!("aws-sqs-queue");
    let namespace = Namespace {
        cluster: CLUSTER.to_owned(),
        name: lab.namespace.clone(),
    };
    let text = |key: &str| metadata[key].as_str().unwrap().to_owned();
    let seen = Version {
        uid: text("uid"),
        version: text("resourceVersion"),
    };
    let clusters = super::adapters::clusters(&lab.keys, world.address()).await;
    let written = clusters.write_status(&namespace, "worker", &seen, &status);
    assert_eq!(written.await, Ok(seen.version.clone()));
    status["scaleTargetKind"] = json!("another");
    let written = clusters.write_status(&namespace, "worker", &seen, &status);
    assert_ne!(written.await, Ok(seen.version));
}

#[tokio::test]
async fn more_than_a_page_of_objects() {
    let Some(world) = world() else { return };
    let lab = lab(world).await;
    for number in 0..105 {
        lab.create_scaled_object(|object| {
            object["metadata"]["name"] = json!(format!("a-{number:03}"));
            object["spec"]["triggers"] = json!([{"type": "cpu", "metadata": {"value": "1"}}]);
        })
        .await;
    }
    let function = lab.function_in_cluster(&[]).await;
    let (_, message) = function.error("{}").await;
    assert_names(&message, &["105 failed"]);
    // `worker` is on the second page.
    assert_eq!(lab.replicas().await, Some(7));
    let is_list =
        |(verb, resource, _): &(String, String, u64)| verb == "list" && resource == "scaledobjects";
    let lists = lab.requests().into_iter().filter(is_list).count();
    // Two pages, which also say who else scales.
    assert_eq!(lists, 2);
    shows(&printed(&lab, "a-104").await, &[("Ready", json!("False"))]);
}

/// The HPA is what KEDA makes, owned by its ScaledObject.
#[tokio::test]
async fn what_kedas_operator_acts_on_is_left_to_it() {
    let Some(world) = world() else { return };
    let lab = without_objects(world).await;
    lab.create_scaled_object(|object| {
        object["metadata"]["finalizers"] = json!(["finalizer.keda.sh"]);
    })
    .await;
    let object = lab.admin.get(&lab.scaled_objects("worker")).await.good();
    let owner = json!([{
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "worker",
        "uid": object["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    }]);
    let labels = json!({"app.kubernetes.io/managed-by": "keda-operator", "scaledobject.keda.sh/name": "worker"});
    let autoscaler = json!({
        "metadata": {"name": "keda-hpa-worker", "ownerReferences": owner, "labels": labels},
        "spec": {
            "scaleTargetRef": {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "worker"},
            "minReplicas": 2, "maxReplicas": 16,
        },
    });
    let all = format!(
        "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
        lab.namespace
    );
    lab.admin.post(&all, &autoscaler).await.good();
    let seen = version(&lab, "worker").await;
    let function = lab.function_in_cluster(&[]).await;
    let (_, message) = function.error("{}").await;
    assert_names(
        &message,
        &[
            "/worker` is refused",
            "KEDA's operator acts on it",
            "keda-hpa-worker",
        ],
    );
    assert_eq!(
        (version(&lab, "worker").await, lab.replicas().await),
        (seen, Some(2))
    );

    // Stopped, and its autoscaler deleted: handed over.
    lab.admin
        .delete(&format!("{all}/keda-hpa-worker"))
        .await
        .good();
    function.answer("{}").await;
    assert_eq!(lab.replicas().await, Some(7));
    // Somebody deletes it, and nobody takes the finalizer off: left alone.
    let path = lab.scaled_objects("worker");
    lab.admin.delete(&path).await.good();
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"], json!([]), "{answer}");
    let finalizers = json!({"metadata": {"finalizers": null}});
    lab.admin
        .patch(&path, MERGE_PATCH, &finalizers)
        .await
        .good();
}

/// Under the one `ClusterRole` alone, bound to a group that no other test is in. All namespaces are only looked at: they are the
/// other tests'.
#[tokio::test]
async fn the_cluster_role_is_enough_in_every_namespace() {
    let Some(world) = world() else { return };
    let lab = Lab::new(world).await;
    let folder = "components/cluster-mode-all-namespaces";
    let read = |name: &str| {
        let path = format!(
            "{}/infra/kubernetes/{folder}/{name}",
            env!("CARGO_MANIFEST_DIR")
        );
        std::fs::read_to_string(path).unwrap()
    };
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let path = format!("{rbac}/clusterroles/outrigger");
    lab.admin.apply(&path, &read("clusterrole.yaml")).await;
    let (subjects, group) = (
        "kind: Group\n  name: outrigger",
        format!("kind: Group\n  name: {EVERYWHERE}"),
    );
    let binding = read("clusterrolebinding.yaml");
    assert!(binding.contains(subjects), "{binding}");
    let path = format!("{rbac}/clusterrolebindings/outrigger");
    lab.admin
        .apply(&path, &binding.replace(subjects, &group))
        .await;
    let right =
        json!({"group": "keda.sh", "resource": "clustertriggerauthentications", "verb": "list"});
    let in_force = async || lab.admin.may(EVERYWHERE, "", &right).await;
    eventually("the ClusterRole is in force", in_force).await;

    // Of the function's own rights there are none but these.
    let all = "/apis/keda.sh/v1alpha1/clustertriggerauthentications";
    let authentication = json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ClusterTriggerAuthentication", "metadata": {"name": lab.namespace},
        "spec": {"podIdentity": {"provider": "aws"}},
    });
    lab.admin.post(all, &authentication).await.good();
    lab.create_scaled_object(|object| {
        let trigger = &mut object["spec"]["triggers"][0];
        trigger["authenticationRef"] =
            json!({"name": lab.namespace, "kind": "ClusterTriggerAuthentication"});
        trigger["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("identityOwner");
    })
    .await;
    let keys = world.sts.assume_role(WIDE);
    lab.sandbox.admit(&keys);
    let config = format!("cluster:{}", lab.namespace);
    let function = lab
        .function_with(&keys, &[("OUTRIGGER_CONFIG", &config)], "")
        .await;
    scaled(&lab, &function).await;
    assert_eq!(lab.events("worker").await.len(), 1);
    shows(
        &printed(&lab, "worker").await,
        &[
            ("Ready", json!("True")),
            ("Authentications", json!(lab.namespace)),
        ],
    );

    let clusters = super::adapters::clusters(&keys, world.address()).await;
    let scope = Scope {
        cluster: CLUSTER.to_owned(),
        namespace: None,
    };
    for kind in [ObjectKind::ScaledObject, ObjectKind::TriggerAuthentication] {
        let found = Objects::list(&clusters, kind, &scope).await.unwrap();
        let is_ours = |object: &outrigger::document::Node| {
            let namespace = object
                .get("metadata")
                .and_then(|metadata| metadata.get("namespace"));
            namespace.and_then(|namespace| namespace.as_text()) == Some(&lab.namespace)
        };
        let expected = usize::from(kind == ObjectKind::ScaledObject);
        assert_eq!(
            found.iter().filter(|object| is_ours(object)).count(),
            expected
        );
    }
}

async fn scaled(lab: &Lab, function: &Function) {
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "scaled", "{answer}");
    assert_eq!(lab.replicas().await, Some(7));
}

#[tokio::test]
async fn kubectl_describe_shows_why() {
    let Some(world) = world() else { return };
    let lab = Lab::new(world).await;
    lab.settle().await;
    // A file or the cluster, it is the same.
    let function = lab.function().await;
    scaled(&lab, &function).await;
    let events = lab.events("worker").await;
    let [event] = events.as_slice() else {
        panic!("{events:?}");
    };
    let worker = lab.worker().await;
    assert_eq!(event["involvedObject"]["uid"], worker["metadata"]["uid"]);
    assert_eq!(
        (&event["type"], &event["reason"]),
        (&json!("Normal"), &json!("QueueDepth"))
    );
    assert_names(
        event["message"].as_str().unwrap(),
        &["worker 2 → 7: 63 messages"],
    );
    let shell = Shell::new(world, &lab.namespace);
    let described = shell
        .run("kubectl describe rollouts.argoproj.io worker -n shop")
        .await;
    let (_, told) = described.split_once("Events:").unwrap();
    assert_names(
        told,
        &[
            "Normal",
            "QueueDepth",
            "outrigger",
            "worker 2 → 7: 63 messages",
        ],
    );
    lab.settle().await;
    for _ in 0..3 {
        function.answer("{}").await;
        lab.settle().await;
    }
    assert_eq!(lab.events("worker").await.len(), 1);
}
