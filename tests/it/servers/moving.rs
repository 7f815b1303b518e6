//! The README's ways from an HPA and from KEDA, command by command on a real API server, and the function in between: the count
//! stays at each step, and who owns it is told.

use serde_json::{Value as Json, json};

use super::keda;
use super::lab::{Lab, new_namespace, rollout};
use super::shell::Guide;
use super::world::{World, world};
use crate::support::assert_names;
use crate::support::function::Function;

/// A lab whose Rollout is at rest.
async fn lab(world: &'static World) -> Lab {
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
async fn scales(lab: &Lab, function: &Function, messages: u64, to: u64) -> Json {
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
    let lab = lab(world).await;
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
    let lab = lab(world).await;
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

#[tokio::test]
async fn keda_is_stopped_and_let_go_with_the_scaled_objects_left_in_the_cluster() {
    let Some(world) = world() else { return };
    let lab = lab(world).await;
    let operator = install_operator(&lab).await;
    keda::adopts(&lab, "worker", &lab.manifest()).await;
    // One that KEDA has not seen yet, and one that another tool holds as well: neither is ours to change.
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
            .post(&keda::scaled_objects(&lab, ""), &object)
            .await
            .good();
    }
    let mut authentications = Vec::new();
    for (path, kind) in kinds_of_keda(&lab).await {
        if kind.ends_with("TriggerAuthentication") {
            let name = format!("{}-aws", lab.namespace);
            let object = json!({
                "apiVersion": "keda.sh/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": {"podIdentity": {"provider": "aws"}},
            });
            lab.admin.post(&path, &object).await.good();
            authentications.push(format!("{path}/{name}"));
            keda::holds(&lab, authentications.last().unwrap()).await;
        }
    }
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

/// A Rollout or Deployment as a person has it in a file, with or without the line.
fn manifest(kind: &str, replicas: Option<u32>) -> Json {
    let mut manifest = rollout("worker", replicas);
    if kind == "Deployment" {
        manifest["apiVersion"] = json!("apps/v1");
        manifest["kind"] = json!(kind);
        manifest["spec"].as_object_mut().unwrap().remove("strategy");
    }
    manifest
}

/// A workload that people apply from a file beside whoever scales it.
struct Applied {
    kind: &'static str,
    path: String,
    lab: Lab,
    guide: Guide,
}

impl Applied {
    async fn new(kind: &'static str) -> Option<Self> {
        let world = world()?;
        let namespace = new_namespace(&world.admin()).await;
        let lab = Lab::empty(world, namespace).await;
        let group = if kind == "Deployment" {
            "apps/v1"
        } else {
            "argoproj.io/v1alpha1"
        };
        let plural = format!("{}s", kind.to_lowercase());
        let path = format!("/apis/{group}/namespaces/{}/{plural}/worker", lab.namespace);
        let guide = Guide::new(
            world,
            "With Argo CD, Helm and kubectl apply",
            &lab.namespace,
        );
        Some(Self {
            kind,
            path,
            lab,
            guide,
        })
    }

    /// Writes the file.
    fn write(&self, replicas: Option<u32>) {
        let text = manifest(self.kind, replicas).to_string();
        std::fs::write(self.guide.shell.directory.join("rollout.yaml"), text).unwrap();
    }

    async fn count(&self) -> Option<u64> {
        self.lab.admin.get(&self.path).await.good()["spec"]["replicas"].as_u64()
    }

    /// Writes the count as the function does.
    async fn scale(&self, from: u64, to: u64) {
        let patch = json!([
            {"op": "test", "path": "/spec/replicas", "value": from},
            {"op": "replace", "path": "/spec/replicas", "value": to},
        ]);
        let path = format!("{}/scale?fieldManager=outrigger", self.path);
        let patched = self
            .lab
            .admin
            .patch(&path, super::client::JSON_PATCH, &patch);
        patched.await.good();
    }

    async fn run(&self, commands: &str) -> String {
        self.guide.shell.run(commands).await
    }
}

/// What is left of a count that nobody states: a Deployment gets the default, a Rollout its controller's, which is the same.
fn nobodys(kind: &str) -> &'static str {
    if kind == "Deployment" { "1\n" } else { "\n" }
}

#[tokio::test]
async fn the_line_goes_out_of_a_manifest_that_is_applied_client_side() {
    for kind in ["Rollout", "Deployment"] {
        let Some(mut applied) = Applied::new(kind).await else {
            return;
        };
        let apply = "kubectl apply -n shop -f rollout.yaml";
        applied.write(Some(2));
        applied.run(apply).await;
        applied.scale(2, 7).await;
        // With the line in it each time sets the count.
        applied.run(apply).await;
        assert_eq!(applied.count().await, Some(2));
        applied.scale(2, 7).await;
        applied.write(None);
        applied.guide.text("ignoreDifferences");
        let forget = applied.guide.text("set-last-applied");
        let ask = applied.guide.text("--dry-run=server");
        assert_eq!(applied.run(&ask).await, nobodys(kind), "{kind}");
        applied.run(&forget).await;
        assert_eq!(applied.run(&ask).await, "7\n", "{kind}");
        applied.run(apply).await;
        assert_eq!(applied.count().await, Some(7), "{kind}");
        // From now on for good.
        applied.scale(7, 12).await;
        applied.run(apply).await;
        assert_eq!(applied.count().await, Some(12), "{kind}");
        let applied_last = "kubectl apply view-last-applied -n shop -f rollout.yaml -o json";
        let last = applied.run(applied_last).await;
        let last: Json = serde_json::from_str(&last).unwrap();
        assert!(
            last["spec"].is_object() && last["spec"]["replicas"].is_null(),
            "{last}"
        );
    }
}

#[tokio::test]
async fn the_line_goes_out_of_a_manifest_that_is_applied_server_side() {
    for kind in ["Rollout", "Deployment"] {
        let Some(mut applied) = Applied::new(kind).await else {
            return;
        };
        let apply = "kubectl apply --server-side -n shop -f rollout.yaml";
        applied.write(Some(2));
        applied.run(apply).await;
        applied.write(None);
        let ask = loop {
            let block = applied.guide.text("");
            if block.contains("--server-side") {
                break block;
            }
        };
        // Too early: the line is still the only one who states the count.
        assert_eq!(applied.run(&ask).await, nobodys(kind), "{kind}");
        applied.scale(2, 7).await;
        assert_eq!(applied.run(&ask).await, "7\n", "{kind}");
        // With the line it is refused by name, and not lost in silence.
        applied.write(Some(2));
        let refused = applied.guide.shell.attempt(apply).await.unwrap_err();
        assert_names(&refused, &["conflict with \"outrigger\"", ".spec.replicas"]);
        assert_eq!(applied.count().await, Some(7));
        applied.run(&format!("{apply} --force-conflicts")).await;
        assert_eq!(applied.count().await, Some(2));
        applied.scale(2, 7).await;
        applied.write(None);
        applied.run(apply).await;
        assert_eq!(applied.count().await, Some(7), "{kind}");
        applied.scale(7, 12).await;
        applied.run(apply).await;
        assert_eq!(applied.count().await, Some(12), "{kind}");
        applied.guide.end();
    }
}

/// What Argo CD sends is the manifest, forced; with the settings of the README it has the live count in it.
#[tokio::test]
async fn argo_cd_leaves_the_count_alone_as_the_readme_says_it() {
    for kind in ["Rollout", "Deployment"] {
        let Some(mut applied) = Applied::new(kind).await else {
            return;
        };
        let sync = "kubectl apply --server-side --force-conflicts --field-manager=argocd-controller -n shop -f rollout.yaml";
        applied.write(Some(2));
        applied.run(sync).await;
        applied.scale(2, 7).await;

        let settings = applied.guide.text("ignoreDifferences");
        let settings = outrigger::document::parse_yaml(settings.as_bytes());
        let settings = settings[0].root.as_ref().unwrap().to_json();
        let options = &settings["spec"]["syncPolicy"]["syncOptions"];
        assert_eq!(options, &json!(["RespectIgnoreDifferences=true"]));
        let live = applied.lab.admin.get(&applied.path).await.good();
        let ignored = settings["spec"]["ignoreDifferences"].as_array().unwrap();
        let ours = ignored.iter().find(|rule| {
            let group = live["apiVersion"].as_str().unwrap().split('/').next();
            rule["kind"] == live["kind"] && rule["group"].as_str() == group
        });
        let [pointer] = ours.unwrap()["jsonPointers"].as_array().unwrap().as_slice() else {
            panic!("{ignored:?}");
        };
        let pointer = pointer.as_str().unwrap();
        assert_eq!(live.pointer(pointer), Some(&json!(7)), "{kind}");

        // Git's number with the live one in its place, sync after sync.
        for count in [7, 12, 5] {
            let mut target = manifest(kind, Some(2));
            *target.pointer_mut(pointer).unwrap() = json!(count);
            let before = applied.count().await.unwrap();
            if before != count {
                applied.scale(before, count).await;
            }
            std::fs::write(
                applied.guide.shell.directory.join("rollout.yaml"),
                target.to_string(),
            )
            .unwrap();
            applied.run(sync).await;
            assert_eq!(applied.count().await, Some(count), "{kind}");
        }
        // Without the settings, as it is in Git.
        applied.write(Some(2));
        applied.run(sync).await;
        assert_eq!(applied.count().await, Some(2));
        // And without the line, once we have written.
        applied.scale(2, 7).await;
        applied.write(None);
        applied.run(sync).await;
        assert_eq!(applied.count().await, Some(7));
    }
}

/// The function beside somebody who sets the count at each sync.
#[tokio::test]
async fn a_count_from_git_is_put_right_and_told() {
    let Some(world) = world() else { return };
    let lab = lab(world).await;
    let function = lab.function().await;
    let guide = Guide::new(
        world,
        "With Argo CD, Helm and kubectl apply",
        &lab.namespace,
    );
    let text = manifest("Rollout", Some(2)).to_string();
    std::fs::write(guide.shell.directory.join("rollout.yaml"), text).unwrap();
    let sync = "kubectl apply --server-side --force-conflicts --field-manager=argocd-controller -n shop -f rollout.yaml";
    for _ in 0..3 {
        scales(&lab, &function, 70, 7).await;
        // A count that is back within 10 s may be one that was never written: first it is seen.
        function.answer("{}").await;
        guide.shell.run(sync).await;
        assert_eq!(lab.replicas().await, Some(2));
    }
    let (_, message) = function.error("{}").await;
    assert_names(&message, &["ignoreDifferences", "Argo CD"]);
}
