//! Somebody else scales the workload, or may.

use outrigger::sandbox::{Sandbox, SandboxOptions, Service};

use super::{decisions, replicas, summary, writes};
use crate::support::function::Function;
use crate::support::owners::{create_autoscaler_of_keda, create_scaled_object};
use crate::support::{WORKER, actions, assert_names, bare, count, furnish, sandbox};

const ROLE: &str = include_str!("../../../infra/kubernetes/role.yaml");

#[tokio::test]
async fn what_keda_scales_is_left_to_it_until_it_is_handed_over() {
    let sandbox = sandbox().await;
    let kubernetes = sandbox.kubernetes();
    kubernetes.set_keda_installed(true);
    create_scaled_object(&sandbox, "worker", |_| {});
    create_autoscaler_of_keda(&sandbox, "worker");
    let function = Function::start(&sandbox, WORKER, &[]).await;
    let dry = function.answer(r#"{"dryRun":true}"#).await;
    assert_eq!(dry["targets"][0]["reason"], "OtherOwner", "{dry}");
    assert_eq!(count(&sandbox, "PATCH"), 0);
    let lines = function.new_lines();
    assert_eq!(summary(&lines)["Held"], 1);
    let line = decisions(&lines)[0];
    assert_eq!(
        line["record"]["conflicts"].to_string(),
        r#"[{"kind":"HorizontalPodAutoscaler","name":"keda-hpa-worker","scaledObject":"worker"}]"#
    );
    let replayed = outrigger::record::Record::parse(line.to_string().as_bytes()).unwrap();
    let replayed = outrigger::record::decision_json(&replayed.decide());
    assert_eq!(replayed.to_string(), line["decision"].to_string());

    let answer = function.answer("{}").await;
    let target = &answer["targets"][0];
    assert_eq!(
        (&target["effect"], &target["from"], &target["to"]),
        (&"held".into(), &2.into(), &2.into())
    );
    assert_names(
        target["explanation"].as_str().unwrap(),
        &[
            "KEDA",
            "keda-hpa-worker",
            "kubectl annotate scaledobject worker -n default autoscaling.keda.sh/paused=true",
        ],
    );
    assert_eq!(decisions(&function.new_lines()).len(), 0);

    // Nothing changes: it is looked at again, and nothing is written.
    for _ in 0..2 {
        sandbox.clear_requests();
        let answer = function.answer("{}").await;
        assert_eq!(answer["targets"][0]["reason"], "OtherOwner", "{answer}");
        assert_eq!(actions(&sandbox, Service::Kubernetes).len(), 4);
        assert_eq!(count(&sandbox, "PATCH"), 0);
        assert_eq!(decisions(&function.new_lines()).len(), 0);
    }
    assert_eq!(writes(&sandbox), []);

    // What the annotation does.
    kubernetes.edit("scaledobjects", "default", "worker", |object| {
        object["metadata"]["annotations"]["autoscaling.keda.sh/paused"] = "true".into();
    });
    kubernetes.delete("horizontalpodautoscalers", "default", "keda-hpa-worker");
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "scaled", "{answer}");
    assert_eq!(writes(&sandbox), [(2, 7)]);
    let lines = function.new_lines();
    assert!(decisions(&lines)[0]["decision"]["warnings"].is_null());
}

#[tokio::test]
async fn what_keda_left_behind_is_told() {
    let sandbox = sandbox().await;
    sandbox.kubernetes().set_keda_installed(true);
    create_scaled_object(&sandbox, "worker", |_| {});
    let function = Function::start(&sandbox, WORKER, &[]).await;
    function.answer("{}").await;
    assert_eq!(writes(&sandbox), [(2, 7)]);
    let lines = function.new_lines();
    let warning = &decisions(&lines)[0]["decision"]["warnings"][0];
    assert_names(
        warning.as_str().unwrap(),
        &[
            "finalizer.keda.sh",
            "kubectl patch scaledobject worker -n default --type json",
        ],
    );
}

/// A cluster with the shipped Role without the rule for a list.
async fn without(plural: &str) -> Sandbox {
    let (rest, _) = ROLE
        .split_once(&format!("  resources: [{plural}]"))
        .unwrap();
    let (rest, _) = rest.rsplit_once("- apiGroups:").unwrap();
    let (_, other) = ROLE.rsplit_once("- apiGroups: [keda.sh]").unwrap();
    let other = match plural {
        "scaledobjects" => String::new(),
        _ => format!("- apiGroups: [keda.sh]{other}"),
    };
    let sandbox = bare(SandboxOptions {
        rbac: format!("{rest}{other}"),
        ..SandboxOptions::default()
    })
    .await;
    furnish(&sandbox);
    sandbox
}

#[tokio::test]
async fn without_the_right_to_look_it_scales_out_and_never_in() {
    for (plural, group) in [
        ("horizontalpodautoscalers", "autoscaling"),
        ("scaledobjects", "keda.sh"),
    ] {
        let sandbox = without(plural).await;
        let function = Function::start(&sandbox, WORKER, &[]).await;
        let rule = format!("{{apiGroups: [{group}], resources: [{plural}], verbs: [list]}}");
        let (kind, message) = function.error("{}").await;
        assert_eq!(kind, "Outrigger.TargetsFailed");
        assert_names(&message, &["1 failed", "`default/worker`", "403", &rule]);
        assert!(!message.contains("more)"), "{message}");
        assert_eq!(writes(&sandbox), [(2, 7)]);
        // Not even what is above the maximum.
        function.answer("{}").await;
        sandbox.kubernetes().set_replicas("default", "worker", 20);
        for _ in 0..2 {
            let (_, message) = function.error("{}").await;
            assert_names(&message, &[&rule, "nothing is scaled in"]);
        }
        assert_eq!(
            (writes(&sandbox), replicas(&sandbox)),
            (vec![(2, 7)], Some(20))
        );
        let lines = function.new_lines();
        let line = decisions(&lines).pop().unwrap();
        assert_eq!(line["decision"]["reason"], "OwnersUnknown");
        assert_eq!(line["errors"][0]["code"], "Forbidden");
        assert_eq!(
            line["record"]["conflicts"].to_string(),
            r#"[{"error":"Forbidden"}]"#
        );
    }
}
