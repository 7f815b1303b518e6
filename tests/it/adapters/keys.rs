//! Many keys in one patch: what one costs the others.

use std::collections::BTreeMap;
use std::time::Duration;

use outrigger::adapters::kubernetes::Clusters;
use outrigger::manifest::WorkloadKind;
use outrigger::ports::{
    Fault, LiveMemories as _, Memories as _, Place, ShadowMemories as _, StateWrite,
};
use outrigger::sandbox::Sandbox;
use outrigger::sandbox::kubernetes::KubernetesFault;
use serde_json::json;

use super::{clusters, failed, lost_race, namespace, place, state_write};
use crate::support::{assert_names, bare, count, sandbox};
use outrigger::sandbox::SandboxOptions;

const LOAD: &str = "GET /api/v1/namespaces/default/configmaps/outrigger";
const STORE: &str = "PATCH /api/v1/namespaces/default/configmaps/outrigger";

type Results = Vec<Result<(), Fault>>;

/// Writes of the state of `w000`, `w001`, … that have none yet.
fn first_writes(count: usize) -> Vec<StateWrite> {
    (0..count)
        .map(|index| state_write(&format!("w{index:03}"), None, "first"))
        .collect()
}

async fn write(clusters: &Clusters, writes: &[StateWrite]) -> Results {
    let results = clusters.store(&namespace(), writes).await;
    assert_eq!(results.len(), writes.len());
    results
}

async fn load(clusters: &Clusters) -> BTreeMap<String, String> {
    clusters.load(&namespace()).await.unwrap()
}

fn set(sandbox: &Sandbox, key: &str, text: &str) {
    let kubernetes = sandbox.kubernetes();
    kubernetes.edit("configmaps", "default", "outrigger", |object| {
        object["data"][key] = json!(text);
    });
}

/// How often the ConfigMap was read and patched.
fn calls(sandbox: &Sandbox) -> (usize, usize) {
    (count(sandbox, LOAD), count(sandbox, STORE))
}

#[tokio::test]
async fn two_hundred_keys_are_one_patch() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    let writes = first_writes(200);
    assert_eq!(write(&clusters, &writes).await, vec![Ok(()); 200]);
    assert_eq!(calls(&sandbox), (0, 1));
    let keys = load(&clusters).await;
    // Beside the one that explains the ConfigMap.
    assert_eq!(keys.len(), 201);
    assert!(
        writes
            .iter()
            .all(|write| keys[&write.workload.key()] == "first")
    );
}

#[tokio::test]
async fn a_contested_key_costs_no_other_its_write() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    set(&sandbox, "rollout.w042", "theirs");
    let mut results = write(&clusters, &first_writes(200)).await;
    let message = lost_race(results.remove(42));
    assert_names(&message, &["`rollout.w042`"]);
    assert_eq!(results, vec![Ok(()); 199]);
    // The patch that fails, the read that says why, and the patch of the others.
    assert_eq!(calls(&sandbox), (1, 2));
    let keys = load(&clusters).await;
    assert_eq!(keys["rollout.w042"], "theirs");
    assert_eq!(keys.values().filter(|text| *text == "first").count(), 199);
}

#[tokio::test]
async fn another_copy_that_writes_again_and_again_is_given_up_after_four_patches() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    let pause = KubernetesFault::Slow(Duration::from_millis(100));
    // Each read is answered late, and meanwhile the other copy writes the next key.
    sandbox.kubernetes().fail("GET /configmaps/", pause, 100);
    set(&sandbox, "rollout.w000", "theirs");
    let rival = async {
        for index in 1..5 {
            while count(&sandbox, LOAD) < index {
                tokio::task::yield_now().await;
            }
            set(&sandbox, &format!("rollout.w{index:03}"), "theirs");
        }
    };
    let writes = first_writes(6);
    let (results, ()) = tokio::join!(write(&clusters, &writes), async {
        let limit = tokio::time::timeout(Duration::from_secs(2), rival).await;
        assert!(limit.is_ok());
    });
    for result in results {
        lost_race(result);
    }
    assert_eq!(calls(&sandbox), (4, 4));
}

#[tokio::test]
async fn keys_whose_answer_was_lost_are_written_once() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    let fault = KubernetesFault::ApplyThenReset;
    sandbox.kubernetes().fail("PATCH /configmaps/", fault, 1);
    let results = write(&clusters, &first_writes(20)).await;
    assert_eq!(results, vec![Ok(()); 20]);
    assert_eq!(calls(&sandbox), (1, 2));
    assert_eq!(load(&clusters).await["rollout.w019"], "first");
}

#[tokio::test]
async fn a_refusal_that_no_key_explains_is_one_of_all() {
    let sandbox = bare(SandboxOptions::default()).await;
    let kubernetes = sandbox.kubernetes();
    kubernetes.create_configmap("default", "outrigger", &BTreeMap::new());
    let clusters = clusters(&sandbox).await;
    for result in write(&clusters, &first_writes(3)).await {
        let (code, message) = failed(result);
        assert_eq!(code, "Invalid");
        assert_names(
            &message,
            &["write 3 keys of the ConfigMap `default/outrigger`"],
        );
    }
    assert_eq!(calls(&sandbox), (1, 1));
}

#[tokio::test]
async fn many_keys_are_several_patches_one_after_another() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    let text = "\"".repeat(2_000);
    let writes: Vec<StateWrite> = (0..300)
        .map(|index| state_write(&format!("w{index:03}"), None, &text))
        .collect();
    assert_eq!(write(&clusters, &writes).await, vec![Ok(()); 300]);
    // 4 KB of JSON each, 1 MiB a patch.
    assert_eq!(calls(&sandbox), (0, 2));
}

#[tokio::test]
async fn the_second_write_of_a_key_is_a_lost_race() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    let mut writes = first_writes(2);
    writes.push(state_write("w000", None, "second"));
    let mut results = write(&clusters, &writes).await;
    lost_race(results.remove(2));
    assert_eq!(results, [Ok(()), Ok(())]);
    assert_eq!(load(&clusters).await["rollout.w000"], "first");
}

#[tokio::test]
async fn in_a_full_configmap_what_does_not_grow_is_written_and_nothing_is_lost() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    let left_over = "x".repeat((1 << 20) - 1_000);
    set(&sandbox, "rollout.gone", &left_over);
    set(&sandbox, "rollout.same", "12345");
    set(&sandbox, "rollout.contested", "12345");
    let large = "y".repeat(2_000);
    let writes = [
        state_write("new", None, &large),
        state_write("same", Some("12345"), "54321"),
        state_write("contested", Some("other"), "54321"),
        state_write("grown", None, &large),
    ];
    let mut results = write(&clusters, &writes).await;
    for index in [3, 0] {
        let (code, message) = failed(results.remove(index));
        assert_eq!(code, "ConfigMapFull");
        assert_names(
            &message,
            &[
                "`default/outrigger`",
                "is full",
                "kubectl get configmap outrigger -n default",
                "kubectl patch configmap outrigger -n default",
                "several namespaces",
            ],
        );
    }
    assert_eq!(results[0], Ok(()));
    lost_race(results.remove(1));
    let keys = load(&clusters).await;
    assert_eq!(keys["rollout.same"], "54321");
    assert_eq!(keys["rollout.gone"], left_over);
    assert!(!keys.contains_key("rollout.new") && !keys.contains_key("rollout.grown"));
}

#[tokio::test]
async fn an_invalid_key_costs_no_other_its_write() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    // A kind and a name that are valid by themselves, and too long together.
    let mut writes = first_writes(3);
    writes[1] = state_write(&"n".repeat(253), None, "first");
    let mut results = write(&clusters, &writes).await;
    let (code, _) = failed(results.remove(1));
    assert_eq!(code, "Invalid");
    assert_eq!(results, [Ok(()), Ok(())]);
}

#[tokio::test]
async fn shadow_state_has_keys_of_its_own() {
    let sandbox = sandbox().await;
    let clusters = clusters(&sandbox).await;
    let Place { workload, .. } = place(WorkloadKind::DEPLOYMENT, "mailer");
    let mailer = StateWrite {
        workload,
        old: None,
        new: "second".to_owned(),
    };
    let writes = [state_write("worker", None, "first"), mailer];
    let stored = clusters
        .observer()
        .store_shadow(&namespace(), &writes)
        .await;
    assert_eq!(stored, [Ok(()), Ok(())]);
    let keys = load(&clusters).await;
    let keys: Vec<&str> = keys.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        ["about", "shadow.deployment.mailer", "shadow.rollout.worker"]
    );
}
