//! Other people's manifests with a count in them, and Argo CD, beside whoever scales: what the README says of them, tried with
//! `kubectl` on a real API server.

use serde_json::{Value as Json, json};

use super::client::JSON_PATCH;
use super::lab::{Lab, new_namespace, rollout};
use super::moving::{at_rest, scales};
use super::shell::Guide;
use super::world::world;
use crate::support::assert_names;

/// The section of the README.
const HEADING: &str = "With Argo CD, Helm and kubectl apply";
/// What Argo CD sends when it syncs with server-side apply.
const SYNC: &str = "kubectl apply --server-side --force-conflicts --field-manager=argocd-controller -n shop -f rollout.yaml";

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
        let guide = Guide::new(world, HEADING, &lab.namespace);
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
        let patched = self.lab.admin.patch(&path, JSON_PATCH, &patch);
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
        applied.write(Some(2));
        applied.run(SYNC).await;
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
            applied.run(SYNC).await;
            assert_eq!(applied.count().await, Some(count), "{kind}");
        }
        // Without the settings, as it is in Git.
        applied.write(Some(2));
        applied.run(SYNC).await;
        assert_eq!(applied.count().await, Some(2));
        // And without the line, once we have written.
        applied.scale(2, 7).await;
        applied.write(None);
        applied.run(SYNC).await;
        assert_eq!(applied.count().await, Some(7));
    }
}

/// The function beside somebody who sets the count at each sync.
#[tokio::test]
async fn a_count_from_git_is_put_right_and_told() {
    let Some(world) = world() else { return };
    let lab = at_rest(world).await;
    let function = lab.function().await;
    let guide = Guide::new(world, HEADING, &lab.namespace);
    let text = manifest("Rollout", Some(2)).to_string();
    std::fs::write(guide.shell.directory.join("rollout.yaml"), text).unwrap();
    for _ in 0..3 {
        scales(&lab, &function, 70, 7).await;
        // A count that is back within 10 s may be one that was never written: first it is seen.
        function.answer("{}").await;
        guide.shell.run(SYNC).await;
        assert_eq!(lab.replicas().await, Some(2));
    }
    let (_, message) = function.error("{}").await;
    assert_names(&message, &["ignoreDifferences", "Argo CD"]);
}
