//! The file with the ScaledObjects: missing, lost, partly wrong, changed.

use super::writes;
use crate::support::function::{Directory, Function};
use crate::support::{WORKER, assert_names, count, sandbox, scaled_object};

#[tokio::test]
async fn without_a_configuration_nothing_is_done() {
    let sandbox = sandbox().await;
    let function = Function::start_in(Directory::new(), &sandbox, &[]).await;
    let (kind, message) = function.error("{}").await;
    assert_eq!(kind, "Outrigger.ConfigurationUnreadable");
    assert_names(&message, &["`outrigger.yaml`", "OUTRIGGER_CONFIG"]);
    assert_eq!(sandbox.requests(), []);

    std::fs::write(function.directory.join("outrigger.yaml"), WORKER).unwrap();
    function.answer("{}").await;
    assert_eq!(writes(&sandbox), [(2, 7)]);
}

#[tokio::test]
async fn a_lost_configuration_leaves_the_last_good_one_in_force() {
    let sandbox = sandbox().await;
    let function = Function::start(&sandbox, WORKER, &[]).await;
    function.answer("{}").await;
    let file = function.directory.join("outrigger.yaml");
    std::fs::remove_file(&file).unwrap();
    for (messages, expected) in [(80, (7, 8)), (90, (8, 9))] {
        sandbox.queues().set_counts("orders", messages, 0, 0);
        let (kind, message) = function.error("{}").await;
        assert_eq!(kind, "Outrigger.TargetsFailed");
        assert_names(
            &message,
            &[
                "1 failed",
                "configuration:",
                "`outrigger.yaml`",
                "last good one",
            ],
        );
        assert_eq!(writes(&sandbox).last(), Some(&expected));
        // The second time, something is there that is no file.
        std::fs::create_dir_all(&file).unwrap();
    }
    std::fs::remove_dir(&file).unwrap();
    std::fs::write(&file, WORKER).unwrap();
    function.answer("{}").await;
}

#[tokio::test]
async fn a_changed_file_is_read_again() {
    let sandbox = sandbox().await;
    let function = Function::start(&sandbox, WORKER, &[]).await;
    function.answer("{}").await;
    let more = WORKER.replace("minReplicaCount: 2", "minReplicaCount: 9");
    std::fs::write(function.directory.join("outrigger.yaml"), more).unwrap();
    function.answer("{}").await;
    assert_eq!(writes(&sandbox), [(2, 7), (7, 9)]);
}

#[tokio::test]
async fn a_bad_object_does_not_stop_a_good_one() {
    let sandbox = sandbox().await;
    let bad = scaled_object("bad").replace("maxReplicaCount: 16", "maxReplicaCount: many");
    let configuration = format!("{WORKER}---{bad}---\nkind: ConfigMap\napiVersion: v1\n");
    let function = Function::start(&sandbox, &configuration, &[]).await;
    let (kind, message) = function.error("{}").await;
    assert_eq!(kind, "Outrigger.TargetsFailed");
    assert_names(
        &message,
        &[
            "1 failed",
            "`default/bad` is refused",
            "outrigger.yaml: document 2",
            "spec.maxReplicaCount",
            "`many`",
        ],
    );
    let line = configuration
        .lines()
        .position(|line| line.contains("many"))
        .unwrap();
    let column = configuration
        .lines()
        .nth(line)
        .and_then(|line| line.find("many"))
        .unwrap();
    let position = format!("line {}, column {}", line + 1, column + 1);
    assert_names(&message, &[&position]);
    assert_eq!(writes(&sandbox), [(2, 7)]);
    let lines = function.new_lines();
    let findings: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["finding"].as_str())
        .collect();
    let finding = findings.iter().find(|text| text.contains(&position));
    assert_names(finding.unwrap(), &["default/bad", "spec.maxReplicaCount"]);

    // It is told again at each invocation, and found once.
    let (_, again) = function.error("{}").await;
    assert_eq!(again, message);
    let findings = |line: &&serde_json::Value| !line["finding"].is_null();
    assert_eq!(function.new_lines().iter().filter(findings).count(), 0);
}

#[tokio::test]
async fn a_syntax_error_refuses_its_document_only() {
    let sandbox = sandbox().await;
    let configuration = format!("{WORKER}---\nkind: [ScaledObject\n---\n");
    let function = Function::start(&sandbox, &configuration, &[]).await;
    let (kind, message) = function.error("{}").await;
    assert_eq!(kind, "Outrigger.TargetsFailed");
    assert_names(&message, &["document 2 of outrigger.yaml"]);
    assert_eq!(writes(&sandbox), [(2, 7)]);
}

#[tokio::test]
async fn two_objects_for_one_workload_are_both_refused() {
    let sandbox = sandbox().await;
    let second = WORKER.replace("metadata: {name: worker,", "metadata: {name: second,");
    let configuration = format!("{WORKER}---{second}");
    let function = Function::start(&sandbox, &configuration, &[]).await;
    let (_, message) = function.error("{}").await;
    assert_names(
        &message,
        &["2 failed", "`default/worker`", "`default/second`"],
    );
    assert_eq!(writes(&sandbox), []);
    assert_eq!(count(&sandbox, "PATCH"), 0);
}
