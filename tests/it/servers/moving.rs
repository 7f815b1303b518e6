//! The README's ways from an HPA and from KEDA, command by command on a real API server, and the function in between: the count
//! stays at each step, and who owns it is told.

use serde_json::{Value as Json, json};

use super::keda;
use super::lab::Lab;
use super::shell::Guide;
use super::world::{World, world};
use crate::support::assert_names;
use crate::support::function::Function;

/// A lab whose Rollout is at rest.
pub(super) async fn at_rest(world: &'static World) -> Lab {
    let lab = Lab::new(world).await;
    lab.settle().await;
    lab
}

/// A pass that must find another owner: what it says of it. The count stays, and another was wanted.
async fn is_left_alone(lab: &Lab, function: &Function, names: &[&str]) {
    let before = lab.replicas().await;
    let answer = function.answer("{}").await;
    let target = &answer["targets"][0];
    assert_eq!(target["reason"], "OtherOwner", "{answer}");
    assert_names(target["explanation"].as_str().unwrap(), names);
    assert_eq!(lab.replicas().await, before);
}

/// A pass that must write this count.
pub(super) async fn scales(lab: &Lab, function: &Function, messages: u64, to: u64) -> Json {
    lab.settle().await;
    lab.sandbox.queues().set_counts("orders", messages, 0, 0);
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "scaled", "{answer}");
    assert_eq!(lab.replicas().await, Some(to));
    answer
}

/// An empty queue right after the workload was taken over: a whole window is waited for.
async fn waits_before_it_scales_in(lab: &Lab, function: &Function) {
    let before = lab.replicas().await;
    lab.settle().await;
    lab.sandbox.queues().set_counts("orders", 0, 0, 0);
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["reason"], "ScaleInWindow", "{answer}");
    assert_eq!(lab.replicas().await, before);
}

/// Runs the next commands, which must leave the count as it is.
async fn keeps(lab: &Lab, guide: &mut Guide, part: &str) -> String {
    let before = lab.replicas().await;
    let printed = guide.run(part).await;
    assert_eq!(lab.replicas().await, before, "{part}");
    printed
}

#[tokio::test]
async fn an_hpa_is_frozen_then_deleted_and_comes_back() {
    let Some(world) = world() else { return };
    let lab = at_rest(world).await;
    let autoscaler = keda::autoscaler("worker");
    let collection = keda::autoscalers(&lab, "");
    lab.admin.post(&collection, &autoscaler).await.good();
    let function = lab.function().await;
    let mut guide = Guide::new(world, "From an HPA", &lab.namespace);
    is_left_alone(&lab, &function, &["kubectl delete hpa worker"]).await;

    keeps(&lab, &mut guide, "Disabled").await;
    scales(&lab, &function, 70, 7).await;
    waits_before_it_scales_in(&lab, &function).await;

    keeps(&lab, &mut guide, "null").await;
    let object = lab
        .admin
        .get(&keda::autoscalers(&lab, "worker"))
        .await
        .good();
    for direction in ["scaleUp", "scaleDown"] {
        assert_eq!(
            object["spec"]["behavior"][direction]["selectPolicy"], "Max",
            "{object}"
        );
    }
    lab.sandbox.queues().set_counts("orders", 120, 0, 0);
    is_left_alone(&lab, &function, &["HorizontalPodAutoscaler", "worker"]).await;

    keeps(&lab, &mut guide, "kubectl delete hpa").await;
    scales(&lab, &function, 120, 12).await;

    std::fs::write(
        guide.shell.directory.join("hpa.yaml"),
        autoscaler.to_string(),
    )
    .unwrap();
    keeps(&lab, &mut guide, "hpa.yaml").await;
    lab.sandbox.queues().set_counts("orders", 160, 0, 0);
    is_left_alone(&lab, &function, &["HorizontalPodAutoscaler", "worker"]).await;
    guide.end();
}

#[tokio::test]
async fn keda_is_paused_then_removed_with_the_scaled_objects_in_a_file() {
    let Some(world) = world() else { return };
    let lab = at_rest(world).await;
    // KEDA would set the count back when the object is deleted.
    let manifest = lab.manifest();
    let restores = manifest.replace(
        "spec:\n",
        "spec:\n  advanced: {restoreToOriginalReplicaCount: true}\n",
    );
    keda::adopts(&lab, "worker", &restores).await;
    let function = lab.function().await;
    let heading = "From KEDA, with the ScaledObjects in a file";
    let mut guide = Guide::new(world, heading, &lab.namespace);
    is_left_alone(&lab, &function, &["KEDA", "keda-hpa-worker"]).await;

    let paused = keeps(&lab, &mut guide, "paused=true");
    tokio::join!(paused, keda::pauses(&lab, "worker"));
    let answer = scales(&lab, &function, 70, 7).await;
    assert_eq!(answer["failed"], Json::Null, "{answer}");
    waits_before_it_scales_in(&lab, &function).await;

    keeps(&lab, &mut guide, "paused-").await;
    keda::scales(&lab, "worker").await;
    lab.sandbox.queues().set_counts("orders", 120, 0, 0);
    is_left_alone(&lab, &function, &["KEDA", "keda-hpa-worker"]).await;

    // Forwards again.
    let commands = "kubectl annotate scaledobject worker -n shop autoscaling.keda.sh/paused=true";
    tokio::join!(guide.shell.run(commands), keda::pauses(&lab, "worker"));
    scales(&lab, &function, 120, 12).await;
    let deleted = keeps(&lab, &mut guide, "kubectl delete scaledobject");
    tokio::join!(deleted, keda::lets_go(&lab, "worker"));
    guide.pass("helm uninstall keda");
    scales(&lab, &function, 160, 16).await;
    guide.end();
}

/// What KEDA's kinds are called here, as far as this cluster has their definitions: path, kind.
async fn kinds_of_keda(lab: &Lab) -> Vec<(String, String)> {
    let served = lab.admin.get("/apis/keda.sh/v1alpha1").await.good();
    let kinds = served["resources"].as_array().unwrap().iter();
    let kinds = kinds.filter(|kind| !kind["name"].as_str().unwrap().contains('/'));
    let of_namespace = format!("namespaces/{}/", lab.namespace);
    kinds
        .map(|kind| {
            let place = if kind["namespaced"] == true {
                &of_namespace
            } else {
                ""
            };
            let plural = kind["name"].as_str().unwrap();
            let path = format!("/apis/keda.sh/v1alpha1/{place}{plural}");
            (path, kind["kind"].as_str().unwrap().to_owned())
        })
        .collect()
}

/// One ScaledObject that KEDA has not seen yet, and one that another tool holds as well: neither is ours to change. And an
/// authentication of each kind that KEDA holds; their paths.
async fn what_is_not_ours(lab: &Lab) -> Vec<String> {
    let others = [
        ("unseen", json!([])),
        ("foreign", json!(["example.com/keep", "finalizer.keda.sh"])),
    ];
    for (name, finalizers) in &others {
        let mut object = json!({
            "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": name, "finalizers": finalizers},
            "spec": {"scaleTargetRef": {"name": name}, "triggers": [{"type": "cron", "metadata": {}}]},
        });
        object["metadata"]["namespace"] = json!(lab.namespace);
        lab.admin
            .post(&keda::scaled_objects(lab, ""), &object)
            .await
            .good();
    }
    let mut authentications = Vec::new();
    for (path, kind) in kinds_of_keda(lab).await {
        if kind.ends_with("TriggerAuthentication") {
            let name = format!("{}-aws", lab.namespace);
            let object = json!({
                "apiVersion": "keda.sh/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": {"podIdentity": {"provider": "aws"}},
            });
            lab.admin.post(&path, &object).await.good();
            authentications.push(format!("{path}/{name}"));
            keda::holds(lab, authentications.last().unwrap()).await;
        }
    }
    authentications
}

/// A pass on the objects themselves: `worker` is scaled and told to be ready. The other two have no workloads; what is wrong with
/// them stops nothing.
async fn scales_by_its_object(lab: &Lab, messages: u64, to: u64) {
    lab.settle().await;
    lab.sandbox.queues().set_counts("orders", messages, 0, 0);
    let function = lab.function_in_cluster(&[]).await;
    let (_, message) = function.error("{}").await;
    assert_names(&message, &["2 failed", "/unseen", "/foreign"]);
    assert_eq!(lab.replicas().await, Some(to));
    let path = keda::scaled_objects(lab, "worker");
    let object = lab.admin.get(&path).await.good();
    let conditions = object["status"]["conditions"].as_array().unwrap();
    let ready = conditions
        .iter()
        .find(|condition| condition["type"] == "Ready");
    assert_eq!(ready.unwrap()["status"], "True", "{conditions:?}");
}

#[tokio::test]
async fn keda_is_stopped_and_let_go_with_the_scaled_objects_left_in_the_cluster() {
    let Some(world) = world() else { return };
    let lab = at_rest(world).await;
    let operator = install_operator(&lab).await;
    keda::adopts(&lab, "worker", &lab.manifest()).await;
    let authentications = what_is_not_ours(&lab).await;
    let own = json!({"kind": "Deployment", "apiVersion": "apps/v1", "name": "unseen"});
    let mut autoscaler = keda::autoscaler("somebodys");
    autoscaler["spec"]["scaleTargetRef"] = own;
    lab.admin
        .post(&keda::autoscalers(&lab, ""), &autoscaler)
        .await
        .good();

    let function = lab.function().await;
    is_left_alone(&lab, &function, &["KEDA", "keda-hpa-worker"]).await;
    let heading = "From KEDA, with the ScaledObjects left in the cluster";
    let mut guide = Guide::new(world, heading, &lab.namespace);
    keeps(&lab, &mut guide, "components/cluster-mode").await;
    for (group, resource, verb) in [
        ("keda.sh", "triggerauthentications", "list"),
        ("keda.sh", "scaledobjects", "list"),
    ] {
        let attributes = json!({"group": group, "resource": resource, "verb": verb});
        super::lab::eventually(resource, || async {
            lab.admin
                .may("outrigger", &lab.namespace, &attributes)
                .await
        })
        .await;
    }

    keeps(&lab, &mut guide, "keda-operator").await;
    assert_eq!(lab.admin.get(&operator).await.good()["spec"]["replicas"], 0);
    // The HPA is still there: nobody else scales yet.
    is_left_alone(&lab, &function, &["KEDA", "keda-hpa-worker"]).await;

    keeps(&lab, &mut guide, "finalizer.keda.sh").await;
    let left = lab.admin.get(&keda::autoscalers(&lab, "")).await.good();
    let left: Vec<&Json> = left["items"].as_array().unwrap().iter().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0]["metadata"]["name"], "somebodys");
    let worker = keda::scaled_objects(&lab, "worker");
    for path in authentications.iter().chain([&worker]) {
        assert!(!keda::is_held(&lab, path).await, "{path}");
    }
    assert!(keda::is_held(&lab, &keda::scaled_objects(&lab, "foreign")).await);

    // Nothing is paused, and what is left neither stops us nor is warned of.
    guide.pass("cargo lambda invoke");
    scales_by_its_object(&lab, 50, 5).await;
    scales(&lab, &function, 70, 7).await;
    let lines = function.new_lines();
    let scaled = lines
        .iter()
        .find(|line| line["decision"]["action"] == "scale");
    assert_eq!(scaled.unwrap()["decision"]["warnings"], Json::Null);
    waits_before_it_scales_in(&lab, &function).await;

    // The way back: the stop holds from the next pass on, and KEDA takes over from the count that is there.
    keeps(&lab, &mut guide, "pause").await;
    assert_eq!(lab.admin.get(&operator).await.good()["spec"]["replicas"], 1);
    lab.sandbox.queues().set_counts("orders", 120, 0, 0);
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["reason"], "Stopped", "{answer}");
    keda::holds(&lab, &worker).await;
    keda::scales(&lab, "worker").await;
    assert_eq!(lab.replicas().await, Some(7));

    // And forwards for good: the object is the user's, and can be deleted at once by whoever made it.
    let steps = Guide::new(world, heading, &lab.namespace);
    let again = steps.block("finalizer.keda.sh");
    guide.shell.run(&again).await;
    guide
        .shell
        .run("kubectl delete scaledobject worker -n shop --timeout=30s")
        .await;
    guide.pass("helm upgrade keda");
    guide.end();
    for path in &authentications {
        lab.admin.delete(path).await.good();
    }
}

/// KEDA's Deployment in its namespace, where no controller makes pods of it. Its path.
async fn install_operator(lab: &Lab) -> String {
    let namespace = json!({"metadata": {"name": "keda"}});
    lab.admin
        .post("/api/v1/namespaces", &namespace)
        .await
        .good();
    let labels = json!({"app": "keda-operator"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "keda-operator"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "keda-operator", "image": "keda:2"}]}},
        },
    });
    let deployments = "/apis/apps/v1/namespaces/keda/deployments";
    lab.admin.post(deployments, &deployment).await.good();
    format!("{deployments}/keda-operator")
}
