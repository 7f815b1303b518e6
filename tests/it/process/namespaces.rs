//! What the targets of a namespace share: one write of their state, and the room for it.

use serde_json::json;

use super::{decisions, summary, writes};
use crate::support::function::Function;
use crate::support::{WORKER, assert_names, count, sandbox, scaled_object};

const STORE: &str = "PATCH /api/v1/namespaces/default/configmaps/outrigger";

#[tokio::test]
async fn fifty_targets_that_wake_together_are_one_write_of_state() {
    let sandbox = sandbox().await;
    let kubernetes = sandbox.kubernetes();
    let names: Vec<String> = (0..50).map(|number| format!("w{number:02}")).collect();
    for name in &names {
        kubernetes.create_rollout("default", name, Some(2));
        sandbox.queues().create(name);
        sandbox.queues().set_counts(name, 63, 0, 0);
    }
    let objects: Vec<String> = names.iter().map(|name| scaled_object(name)).collect();
    let function = Function::start(&sandbox, &objects.join("---"), &[]).await;
    function.answer("{}").await;
    for name in &names {
        assert_eq!(kubernetes.scale_writes("default", name), [(2, 7)], "{name}");
    }
    let stores = count(&sandbox, STORE);
    // On a machine that is busy the reads take longer than the moment that a write waits.
    assert!((1..=3).contains(&stores), "{stores}");
    assert_eq!(summary(&function.new_lines())["LostRaces"], 0);
}

/// What a workload that is gone has left, in so many bytes and some more.
fn like_state(bytes: usize) -> String {
    let state = r#"{"v":1,"firstSeen":"2026-11-01T00:00:00Z","active":false"#;
    format!("{state}{}}}", " ".repeat(bytes))
}

#[tokio::test]
async fn a_memory_that_fills_up_is_a_warning_once_and_in_each_summary() {
    let sandbox = sandbox().await;
    let kubernetes = sandbox.kubernetes();
    let fill = |bytes: usize| {
        kubernetes.edit("configmaps", "default", "outrigger", |object| {
            object["data"]["rollout.gone"] = json!(like_state(bytes));
        });
    };
    let function = Function::start(&sandbox, WORKER, &[]).await;
    function.answer("{}").await;
    fill(900_000);
    function.new_lines();
    let mut lines = Vec::new();
    for _ in 0..2 {
        function.answer("{}").await;
        let new = function.new_lines();
        let warnings = &summary(&new)["summary"]["warnings"];
        let text = warnings[0].as_str().unwrap();
        assert_names(
            text,
            &["`default/outrigger` holds 85 %", "kubectl get configmap"],
        );
        lines.extend(new);
    }
    let warnings = lines.iter().filter(|line| !line["warning"].is_null());
    let warnings: Vec<_> = warnings.collect();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert_eq!(warnings[0]["namespace"], "default");
    fill(10);
    function.answer("{}").await;
    let new = function.new_lines();
    let summary = &summary(&new)["summary"];
    assert!(summary["warnings"].is_null(), "{summary}");
}

/// A stop with a typing mistake stops nothing, fails each invocation, and says so once in the log and in each summary until it is
/// put right.
#[tokio::test]
async fn a_stop_that_stops_nothing_fails_the_invocation_with_the_right_spelling() {
    let sandbox = sandbox().await;
    let kubernetes = sandbox.kubernetes();
    let set = |key: &str, text: Option<&str>| {
        kubernetes.edit("configmaps", "default", "outrigger", |object| {
            let data = object["data"].as_object_mut().unwrap();
            match text {
                Some(text) => data.insert(key.to_owned(), json!(text)),
                None => data.remove(key),
            };
        });
    };
    set("paused", Some("*"));
    set("pause", Some("rollout.wroker"));
    let function = Function::start(&sandbox, WORKER, &[]).await;
    let mut lines = Vec::new();
    for _ in 0..2 {
        let (kind, message) = function.error("{}").await;
        assert_eq!(kind, "Outrigger.TargetsFailed");
        assert_names(
            &message,
            &[
                "1 failed, all others are done: ",
                "`rollout.wroker`",
                "(and 1 more)",
            ],
        );
        let new = function.new_lines();
        let line = summary(&new);
        assert_eq!(
            line["summary"]["failed"],
            json!(["ConfigMap default/outrigger"])
        );
        assert_eq!(line["Failed"], 1);
        let [name, key] = line["summary"]["errors"].as_array().unwrap().as_slice() else {
            panic!("{line}");
        };
        assert_names(
            key.as_str().unwrap(),
            &[
                "`paused`",
                "did you mean `pause`",
                "kubectl patch cm outrigger -n default",
            ],
        );
        assert_names(
            name.as_str().unwrap(),
            &["`rollout.wroker`", "did you mean `rollout.worker`"],
        );
        lines.extend(new);
    }
    assert_eq!(
        sandbox.kubernetes().scale_writes("default", "worker"),
        [(2, 7)]
    );
    let told = lines.iter().filter(|line| !line["error"].is_null());
    assert_eq!(told.count(), 2);

    set("paused", None);
    set("pause", Some("rollouts.argoproj.io/worker # incident 42"));
    sandbox.queues().set_counts("orders", 1000, 0, 0);
    function.answer("{}").await;
    let new = function.new_lines();
    assert!(summary(&new)["summary"]["errors"].is_null());
    assert_eq!(summary(&new)["summary"]["reasons"], json!({"Stopped": 1}));

    // What is no list of names stops everything, and fails all the same.
    set("pause", Some("{all: true}"));
    let (_, message) = function.error("{}").await;
    assert_names(
        &message,
        &["`{all: true}`", "no list of names", "stops everything"],
    );
    let new = function.new_lines();
    assert_eq!(summary(&new)["summary"]["reasons"], json!({"Stopped": 1}));

    // What asks for no stop is a warning.
    set("pause", Some("# over: *"));
    function.answer("{}").await;
    let new = function.new_lines();
    assert_names(
        summary(&new)["summary"]["warnings"][0].as_str().unwrap(),
        &["`pause`", "is empty and stops nothing"],
    );
}

#[tokio::test]
async fn with_a_full_memory_it_scales_out_and_the_error_names_the_cure() {
    let sandbox = sandbox().await;
    let full = "x".repeat(1 << 20);
    let kubernetes = sandbox.kubernetes();
    kubernetes.edit("configmaps", "default", "outrigger", |object| {
        object["data"]["rollout.gone"] = json!(full);
    });
    let function = Function::start(&sandbox, WORKER, &[]).await;
    let (kind, message) = function.error("{}").await;
    assert_eq!(kind, "Outrigger.TargetsFailed");
    assert_names(
        &message,
        &[
            "`default/outrigger` in cluster `demo` is full",
            "kubectl get configmap outrigger -n default",
            "kubectl patch configmap outrigger -n default",
        ],
    );
    assert_eq!(writes(&sandbox), [(2, 7)]);
    let lines = function.new_lines();
    assert_eq!(decisions(&lines)[0]["errors"][0]["code"], "ConfigMapFull");
    let object = kubernetes.get("configmaps", "default", "outrigger");
    assert_eq!(object.unwrap()["data"]["rollout.gone"], full.as_str());
}
