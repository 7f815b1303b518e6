//! What the controller of Argo Rollouts makes of our numbers, and what of its status we read.

use outrigger::adapters::kubernetes::rollout_state;
use outrigger::decide::Rollout;
use serde_json::{Value as Json, json};

use super::client::MERGE_PATCH;
use super::controller::{NEVER_READY, controlled_world, looked_after};
use super::lab::{Lab, eventually, rollout, settled};
use super::world::World;

/// A Rollout `worker` with this strategy, once the controller says that it is healthy.
async fn healthy(world: &'static World, replicas: u32, strategy: Json) -> Lab {
    let mut rollout = looked_after(rollout("worker", Some(replicas)));
    rollout["spec"]["strategy"] = strategy;
    let lab = Lab::with_rollout(world, &rollout).await;
    wait_for_phase(&lab, "Healthy").await;
    lab
}

/// Waits until the controller has seen the newest spec, this is the phase, and it has no more to write.
async fn wait_for_phase(lab: &Lab, phase: &str) {
    settled(&format!("{}: {phase}", lab.namespace), async || {
        let worker = lab.worker().await;
        let generation = worker["metadata"]["generation"].to_string();
        let status = &worker["status"];
        if status["observedGeneration"] == generation.as_str() && status["phase"] == phase {
            return Ok(());
        }
        Err(format!("generation {generation}, {status}"))
    })
    .await;
    wait_until_quiet(lab).await;
}

/// Waits until the controller has written nothing for half a second. It keeps what it wrote last as what it read, and so does
/// not see what somebody else wrote within those milliseconds, before the next event or its resync, every 15 minutes.
async fn wait_until_quiet(lab: &Lab) {
    let (mut version, mut times) = (Json::Null, 0);
    settled(&format!("{}: quiet", lab.namespace), async || {
        let now = lab.worker().await["metadata"]["resourceVersion"].clone();
        times = if now == version { times + 1 } else { 0 };
        version = now;
        if times == 10 {
            return Ok(());
        }
        Err(format!("version {version}"))
    })
    .await;
}

/// Image and count of each ReplicaSet, in the order of their images.
async fn sets(lab: &Lab) -> Vec<(String, u64)> {
    let path = format!("/apis/apps/v1/namespaces/{}/replicasets", lab.namespace);
    let list = lab.admin.get(&path).await.good();
    let mut sets: Vec<(String, u64)> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|set| {
            let image = set["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
            (
                image.unwrap().to_owned(),
                set["spec"]["replicas"].as_u64().unwrap(),
            )
        })
        .collect();
    sets.sort();
    sets
}

async fn wait_for_sets(lab: &Lab, wanted: &[(&str, u64)]) {
    let wanted: Vec<(String, u64)> = wanted
        .iter()
        .map(|(image, count)| ((*image).to_owned(), *count))
        .collect();
    let what = format!("{}: {wanted:?}", lab.namespace);
    settled(&what, async || {
        let found = sets(lab).await;
        if found == wanted {
            return Ok(());
        }
        Err(format!("{found:?}, {}", lab.worker().await["status"]))
    })
    .await;
}

async fn change(lab: &Lab, patch: Json) {
    let path = lab.rollouts("worker");
    let answer = lab.admin.patch(&path, MERGE_PATCH, &patch);
    answer.await.good();
}

/// Begins an update.
async fn update(lab: &Lab, image: &str) {
    let containers = json!([{"name": "worker", "image": image}]);
    change(
        lab,
        json!({"spec": {"template": {"spec": {"containers": containers}}}}),
    )
    .await;
}

async fn state(lab: &Lab) -> Rollout {
    rollout_state(&lab.worker().await.to_string()).unwrap()
}

fn revision(worker: &Json) -> &Json {
    &worker["metadata"]["annotations"]["rollout.argoproj.io/revision"]
}

fn backlog(lab: &Lab, messages: u64) {
    lab.sandbox.queues().set_counts("orders", messages, 0, 0);
}

#[tokio::test]
async fn a_new_count_reaches_the_replica_set() {
    let Some(world) = controlled_world() else {
        return;
    };
    let lab = healthy(world, 2, json!({"canary": {}})).await;
    let before = lab.worker().await;
    assert_eq!(
        rollout_state(&before.to_string()).unwrap(),
        Rollout::default()
    );
    let function = lab.function().await;
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "scaled", "{answer}");
    wait_for_sets(&lab, &[("worker:1", 7)]).await;
    wait_for_phase(&lab, "Healthy").await;
    let after = lab.worker().await;
    assert_eq!(revision(&after), "1");
    for field in ["currentPodHash", "stableRS"] {
        assert_eq!(after["status"][field], before["status"][field], "{field}");
    }
    assert_eq!(after["status"]["HPAReplicas"], 7);
    assert_eq!(
        rollout_state(&after.to_string()).unwrap(),
        Rollout::default()
    );
    // The generation is a string in the status, and its alone of all kinds.
    assert!(after["status"]["observedGeneration"].is_string());
    let scale = lab.admin.get(&lab.rollouts("worker/scale")).await.good();
    assert_eq!(
        scale["status"],
        json!({"replicas": 7, "selector": "app=worker"})
    );
}

#[tokio::test]
async fn to_zero_and_back() {
    let Some(world) = controlled_world() else {
        return;
    };
    let lab = healthy(world, 2, json!({"canary": {}})).await;
    backlog(&lab, 0);
    lab.remember(r#"{"v":1,"firstSeen":"2026-01-01T00:00:00Z","active":false,"lastActive":"2026-01-01T00:00:00Z","emptySince":"2026-01-01T00:00:00Z","inWindow":[{"replicas":0}],"lastWritten":2}"#).await;
    let manifest = lab
        .manifest()
        .replace("minReplicaCount: 2", "minReplicaCount: 0");
    let function = lab.function_with(&lab.keys, &[], &manifest).await;
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["reason"], "ScaledToZero", "{answer}");
    wait_for_sets(&lab, &[("worker:1", 0)]).await;
    eventually("no pods", async || {
        lab.worker().await["status"]["HPAReplicas"].is_null()
    })
    .await;
    wait_for_phase(&lab, "Healthy").await;
    assert_eq!(state(&lab).await, Rollout::default());
    backlog(&lab, 25);
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "scaled", "{answer}");
    wait_for_sets(&lab, &[("worker:1", 3)]).await;
    assert_eq!(revision(&lab.worker().await), "1");
}

#[tokio::test]
async fn a_canary_at_a_pause_step_keeps_its_weight() {
    let Some(world) = controlled_world() else {
        return;
    };
    let steps = json!([{"setWeight": 25}, {"pause": {}}]);
    let lab = healthy(world, 4, json!({"canary": {"steps": steps}})).await;
    update(&lab, "worker:2").await;
    wait_for_phase(&lab, "Paused").await;
    wait_for_sets(&lab, &[("worker:1", 3), ("worker:2", 1)]).await;
    let paused = state(&lab).await;
    assert!(paused.updating && paused.pause_step, "{paused:?}");
    assert!(!paused.paused && !paused.aborted, "{paused:?}");
    backlog(&lab, 80);
    let function = lab.function().await;
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "scaled", "{answer}");
    wait_for_sets(&lab, &[("worker:1", 6), ("worker:2", 2)]).await;
    wait_for_phase(&lab, "Paused").await;
    let worker = lab.worker().await;
    assert_eq!(revision(&worker), "2");
    assert_eq!(worker["status"]["currentStepIndex"], 1);
    assert!(rollout_state(&worker.to_string()).unwrap().pause_step);
}

#[tokio::test]
async fn a_canary_that_is_paused_by_hand_does_not_follow_and_is_left_alone() {
    let Some(world) = controlled_world() else {
        return;
    };
    let lab = healthy(world, 4, json!({"canary": {}})).await;
    change(&lab, json!({"spec": {"paused": true}})).await;
    wait_for_phase(&lab, "Paused").await;
    assert!(state(&lab).await.paused);
    backlog(&lab, 80);
    let function = lab.function().await;
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["reason"], "RolloutPaused", "{answer}");
    assert_eq!(lab.replicas().await, Some(4));
    // Why it is left alone: the controller would not act, until somebody resumes it.
    lab.set_replicas(8).await;
    eventually("the controller has seen it", async || {
        let worker = lab.worker().await;
        let generation = worker["metadata"]["generation"].to_string();
        worker["status"]["observedGeneration"] == generation.as_str()
    })
    .await;
    wait_for_sets(&lab, &[("worker:1", 4)]).await;
    change(&lab, json!({"spec": {"paused": false}})).await;
    wait_for_sets(&lab, &[("worker:1", 8)]).await;
}

#[tokio::test]
async fn a_blue_green_rollout_that_is_paused_by_hand_follows() {
    let Some(world) = controlled_world() else {
        return;
    };
    let mut rollout = looked_after(rollout("worker", Some(4)));
    rollout["spec"]["strategy"] = json!({"blueGreen": {"activeService": "active"}});
    let lab = Lab::with_rollout(world, &rollout).await;
    let services = format!("/api/v1/namespaces/{}/services", lab.namespace);
    let service = json!({"metadata": {"name": "active"}, "spec": {"selector": {"app": "worker"}, "ports": [{"port": 80}]}});
    lab.admin.post(&services, &service).await.good();
    wait_for_phase(&lab, "Healthy").await;
    change(&lab, json!({"spec": {"paused": true}})).await;
    wait_for_phase(&lab, "Paused").await;
    assert!(!state(&lab).await.paused);
    backlog(&lab, 80);
    let function = lab.function().await;
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "scaled", "{answer}");
    wait_for_sets(&lab, &[("worker:1", 8)]).await;
}

/// The status counts the pods of both versions: <https://github.com/argoproj/argo-rollouts/issues/4847>.
#[tokio::test]
async fn pods_of_an_update_do_not_inflate_the_count() {
    let Some(world) = controlled_world() else {
        return;
    };
    let canary = json!({"canary": {"maxSurge": "50%", "maxUnavailable": 0}});
    let lab = healthy(world, 4, canary).await;
    backlog(&lab, 38);
    let function = lab.function().await;
    function.answer("{}").await;
    update(&lab, &format!("worker:{NEVER_READY}")).await;
    eventually("six pods", async || {
        lab.worker().await["status"]["HPAReplicas"] == 6
    })
    .await;
    let scale = lab.admin.get(&lab.rollouts("worker/scale")).await.good();
    assert_eq!(
        (&scale["spec"]["replicas"], &scale["status"]["replicas"]),
        (&json!(4), &json!(6))
    );
    let updating = state(&lab).await;
    assert!(
        updating.updating && !updating.pause_step && !updating.paused,
        "{updating:?}"
    );
    for _ in 0..3 {
        let answer = function.answer("{}").await;
        assert_eq!(answer["targets"][0]["effect"], "held", "{answer}");
    }
    assert_eq!(lab.replicas().await, Some(4));
    // Out is safe in the middle of an update, and counts from the spec.
    backlog(&lab, 80);
    function.answer("{}").await;
    assert_eq!(lab.replicas().await, Some(8));
    eventually("both versions", async || {
        sets(&lab).await.iter().map(|(_, count)| count).sum::<u64>() == 12
    })
    .await;
    assert_eq!(revision(&lab.worker().await), "2");
}

#[tokio::test]
async fn an_aborted_update_says_so() {
    let Some(world) = controlled_world() else {
        return;
    };
    let steps = json!([{"setWeight": 25}, {"pause": {}}]);
    let lab = healthy(world, 4, json!({"canary": {"steps": steps}})).await;
    update(&lab, "worker:2").await;
    wait_for_phase(&lab, "Paused").await;
    // What `kubectl argo rollouts abort` does.
    let path = lab.rollouts("worker/status");
    let abort = json!({"status": {"abort": true}});
    lab.admin.patch(&path, MERGE_PATCH, &abort).await.good();
    wait_for_phase(&lab, "Degraded").await;
    wait_for_sets(&lab, &[("worker:1", 4), ("worker:2", 0)]).await;
    let aborted = state(&lab).await;
    assert!(aborted.aborted && aborted.updating, "{aborted:?}");
    assert!(!aborted.paused && !aborted.pause_step, "{aborted:?}");
    backlog(&lab, 80);
    let function = lab.function().await;
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "scaled", "{answer}");
    wait_for_sets(&lab, &[("worker:1", 8), ("worker:2", 0)]).await;
}

/// The controller writes 1 where nobody wrote a count, so that there is one to start from.
#[tokio::test]
async fn a_count_that_nobody_set_becomes_one() {
    let Some(world) = controlled_world() else {
        return;
    };
    let rollout = looked_after(rollout("worker", None));
    let lab = Lab::with_rollout(world, &rollout).await;
    wait_for_phase(&lab, "Healthy").await;
    assert_eq!(lab.replicas().await, Some(1));
}

/// A Rollout that takes over the pods of a Deployment, little by little.
#[tokio::test]
async fn a_hand_over_ends_with_the_second_revision() {
    let Some(world) = controlled_world() else {
        return;
    };
    let mut rollout = looked_after(rollout("worker", Some(2)));
    let spec = rollout["spec"].as_object_mut().unwrap();
    let (template, selector) = (spec.remove("template"), spec.remove("selector"));
    spec.insert(
        "workloadRef".to_owned(),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker", "scaleDown": "progressively"}),
    );
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "worker"},
        "spec": {"replicas": 2, "selector": selector, "template": template},
    });
    let lab = Lab::with_rollout(world, &rollout).await;
    let deployments = format!("/apis/apps/v1/namespaces/{}/deployments", lab.namespace);
    lab.admin.post(&deployments, &deployment).await.good();
    wait_for_phase(&lab, "Healthy").await;
    let worker = lab.worker().await;
    assert_eq!(revision(&worker), "1");
    assert!(
        rollout_state(&worker.to_string()).unwrap().handover,
        "{worker}"
    );
    // Out goes through, and the Deployment is not scaled up beside it for long.
    let function = lab.function().await;
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "scaled", "{answer}");
    wait_for_sets(&lab, &[("worker:1", 7)]).await;
    let one = format!("{deployments}/worker");
    eventually("the Deployment is empty", async || {
        lab.admin.get(&one).await.good()["spec"]["replicas"] == 0
    })
    .await;
    let containers = json!([{"name": "worker", "image": "worker:2"}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    lab.admin.patch(&one, MERGE_PATCH, &patch).await.good();
    eventually("the second revision", async || {
        revision(&lab.worker().await) == "2"
    })
    .await;
    wait_for_phase(&lab, "Healthy").await;
    assert_eq!(state(&lab).await, Rollout::default());
}
