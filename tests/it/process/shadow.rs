//! The function beside somebody else who scales.

use std::collections::BTreeSet;

use outrigger::sandbox::{Sandbox, SandboxOptions, Service};
use serde_json::{Value as Json, json};

use super::log::replays;
use super::{decisions, replicas, summary, writes};
use crate::support::function::Function;
use crate::support::{
    SCALE, WORKER, actions, bare, count, create_memory, furnish, sandbox, scaled_object,
};

const SHADOW: (&str, &str) = ("OUTRIGGER_MODE", "shadow");

fn annotated(mode: &str) -> String {
    let metadata = format!("namespace: default, annotations: {{outrigger.dev/mode: {mode}}}");
    WORKER.replacen("namespace: default", &metadata, 1)
}

fn keys(sandbox: &Sandbox) -> Vec<String> {
    let memory = sandbox.kubernetes().configmap("default", "outrigger");
    memory.unwrap().into_keys().collect()
}

/// Invokes it and returns the one decision line, if there is one.
async fn decision(function: &Function) -> Option<Json> {
    function.answer("{}").await;
    let lines = function.new_lines();
    let decisions = decisions(&lines);
    assert!(decisions.len() <= 1, "{decisions:?}");
    decisions.first().map(|line| (*line).clone())
}

#[tokio::test]
async fn beside_another_scaler_it_tells_and_writes_no_count() {
    for (configuration, environment) in [
        (annotated("shadow"), vec![]),
        (WORKER.to_owned(), vec![SHADOW]),
    ] {
        let sandbox = sandbox().await;
        let function = Function::start(&sandbox, &configuration, &environment).await;
        let mut told = Vec::new();
        // The other one follows slowly, overshoots, and comes back, more often than a live target would put up with.
        for (messages, others) in [
            (63, 2),
            (63, 2),
            (63, 4),
            (63, 9),
            (63, 7),
            (63, 7),
            (200, 7),
        ] {
            sandbox.queues().set_counts("orders", messages, 0, 0);
            sandbox
                .kubernetes()
                .set_replicas("default", "worker", others);
            if let Some(line) = decision(&function).await {
                replays(&line);
                let decided = &line["decision"];
                told.push((
                    line["effect"].as_str().unwrap().to_owned(),
                    decided["from"].as_u64().unwrap(),
                    decided["to"].as_u64().unwrap(),
                ));
            }
            assert_eq!(replicas(&sandbox), Some(others));
        }
        let told: Vec<(&str, u64, u64)> = told
            .iter()
            .map(|(effect, from, to)| (effect.as_str(), *from, *to))
            .collect();
        // Each change of what it says, once, and where it comes to stand above or below the other.
        assert_eq!(
            told,
            [
                ("shadow", 2, 7),
                ("shadow", 9, 7),
                ("held", 7, 7),
                ("shadow", 7, 16),
            ]
        );
        assert_eq!(writes(&sandbox), []);
        assert_eq!(count(&sandbox, SCALE), 0);
        assert_eq!(keys(&sandbox), ["about", "shadow.rollout.worker"]);
        let patched: BTreeSet<String> = actions(&sandbox, Service::Kubernetes)
            .into_iter()
            .filter(|action| !action.starts_with("GET "))
            .collect();
        let patched: Vec<&str> = patched.iter().map(String::as_str).collect();
        assert_eq!(
            patched,
            ["PATCH /api/v1/namespaces/default/configmaps/outrigger"]
        );
    }
}

#[tokio::test]
async fn shadow_decisions_are_counted_as_such() {
    let sandbox = sandbox().await;
    let kubernetes = sandbox.kubernetes();
    kubernetes.create_rollout("default", "other", Some(2));
    sandbox.queues().set_counts("other", 63, 0, 0);
    let live = scaled_object("other").replacen(
        "namespace: default",
        "namespace: default, annotations: {outrigger.dev/mode: live}",
        1,
    );
    let configuration = format!("{WORKER}---{live}");
    let function = Function::start(&sandbox, &configuration, &[SHADOW]).await;
    // A dry run is stricter.
    let answer = function.answer(r#"{"dryRun":true}"#).await;
    assert_eq!(answer["targets"][0]["effect"], "dryRun", "{answer}");
    assert_eq!(keys(&sandbox), ["about"]);
    function.new_lines();

    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "shadow", "{answer}");
    assert_eq!(answer["targets"][0]["to"], 7, "{answer}");
    assert_eq!(answer["targets"][1]["effect"], "scaled", "{answer}");
    let lines = function.new_lines();
    let summary = summary(&lines);
    assert_eq!(summary["summary"]["shadow"], 1, "{summary}");
    let totals = ["Targets", "ScaledOut", "ScaledIn", "Held", "Failed"].map(|name| &summary[name]);
    assert_eq!(totals, [2, 1, 0, 1, 0]);
    assert_eq!((replicas(&sandbox), writes(&sandbox)), (Some(2), vec![]));
    assert_eq!(kubernetes.scale_writes("default", "other"), [(2, 7)]);
    assert_eq!(
        keys(&sandbox),
        ["about", "rollout.other", "shadow.rollout.worker"]
    );
    // Read once for both.
    assert_eq!(count(&sandbox, "GET /api/v1/namespaces"), 2);
}

#[tokio::test]
async fn the_right_to_scale_may_be_left_out() {
    let rbac = "kind: Role\nrules:\n\
        - {apiGroups: [argoproj.io], resources: [rollouts], verbs: [get]}\n\
        - {apiGroups: [\"\"], resources: [configmaps], resourceNames: [outrigger], verbs: [get, patch]}\n";
    let sandbox = bare(SandboxOptions {
        rbac: rbac.to_owned(),
        ..SandboxOptions::default()
    })
    .await;
    furnish(&sandbox);
    let function = Function::start(&sandbox, WORKER, &[SHADOW]).await;
    for others in [2, 20, 0, 7] {
        sandbox
            .kubernetes()
            .set_replicas("default", "worker", others);
        function.answer("{}").await;
    }
    assert_eq!(keys(&sandbox), ["about", "shadow.rollout.worker"]);
}

#[tokio::test]
async fn from_shadow_to_live_it_begins_with_care() {
    let sandbox = sandbox().await;
    let shadow = Function::start(&sandbox, WORKER, &[SHADOW]).await;
    shadow.answer("{}").await;
    sandbox.kubernetes().set_replicas("default", "worker", 9);
    sandbox.queues().set_counts("orders", 0, 0, 0);
    let live = Function::start(&sandbox, WORKER, &[]).await;
    let answer = live.answer("{}").await;
    // A whole window, whatever was seen in shadow mode.
    assert_eq!(answer["targets"][0]["reason"], "ScaleInWindow", "{answer}");
    assert_eq!(
        keys(&sandbox),
        ["about", "rollout.worker", "shadow.rollout.worker"]
    );
}

#[tokio::test]
async fn without_a_memory_it_fails_and_says_so() {
    let sandbox = sandbox().await;
    sandbox
        .kubernetes()
        .delete_configmap("default", "outrigger");
    let function = Function::start(&sandbox, WORKER, &[SHADOW]).await;
    let (kind, message) = function.error("{}").await;
    assert_eq!(kind, "Outrigger.TargetsFailed");
    assert!(message.contains("default/outrigger"), "{message}");
    create_memory(&sandbox);
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], json!("shadow"), "{answer}");
}
