//! The ScaledObjects in the cluster itself: `OUTRIGGER_CONFIG=cluster:`.

use outrigger::document::parse_yaml;
use outrigger::sandbox::kubernetes::KubernetesFault;
use outrigger::sandbox::{Sandbox, SandboxOptions, Service};
use serde_json::{Value as Json, json};

use super::{decisions, replicas, writes};
use crate::support::function::Function;
use crate::support::owners::{create_autoscaler, create_autoscaler_of_keda};
use crate::support::{WORKER, actions, assert_names, bare, count, furnish, scaled_object, until};

const BASE: &str = include_str!("../../../infra/kubernetes/role.yaml");
const CLUSTER_MODE: &str =
    include_str!("../../../infra/kubernetes/components/cluster-mode/role.yaml");
const EVERYWHERE: &str = include_str!(
    "../../../infra/kubernetes/components/cluster-mode-all-namespaces/clusterrole.yaml"
);
const ROLE_ARN: &str = "arn:aws:iam::123456789012:role/reader";
const OBJECTS: &str = "GET /apis/keda.sh/v1alpha1/namespaces/default/scaledobjects";
const STATUS: &str = "PATCH /apis/keda.sh/v1alpha1/namespaces/default/scaledobjects/worker/status";

/// A cluster with KEDA's kinds, the rights of cluster mode in the namespace `default`, and what every test has.
async fn cluster() -> Sandbox {
    cluster_with(&format!("{BASE}\n---\n{CLUSTER_MODE}")).await
}

async fn cluster_with(rbac: &str) -> Sandbox {
    let sandbox = bare(SandboxOptions {
        rbac: rbac.to_owned(),
        ..SandboxOptions::default()
    })
    .await;
    furnish(&sandbox);
    sandbox.kubernetes().set_keda_installed(true);
    sandbox
}

async fn function(sandbox: &Sandbox, more: &[(&str, &str)]) -> Function {
    let mut environment = vec![("OUTRIGGER_CONFIG", "cluster:default")];
    environment.extend(more);
    Function::start(sandbox, "", &environment).await
}

/// Puts an object into the cluster, changed before that.
fn create(sandbox: &Sandbox, yaml: &str, change: impl FnOnce(&mut Json)) {
    let documents = parse_yaml(yaml.as_bytes());
    let mut object = documents[0].root.as_ref().unwrap().to_json();
    change(&mut object);
    sandbox.kubernetes().create(object).unwrap();
}

fn object(sandbox: &Sandbox, name: &str) -> Json {
    let object = sandbox.kubernetes().get("scaledobjects", "default", name);
    object.unwrap()
}

fn condition(object: &Json, kind: &str) -> (String, String, String) {
    let conditions = object["status"]["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|entry| entry["type"] == kind);
    let text = |key: &str| found.unwrap()[key].as_str().unwrap().to_owned();
    (text("status"), text("reason"), text("message"))
}

#[tokio::test]
async fn they_are_run_and_told() {
    let sandbox = cluster().await;
    create(&sandbox, WORKER, |_| {});
    let function = function(&sandbox, &[]).await;
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "scaled", "{answer}");
    assert_eq!(writes(&sandbox), [(2, 7)]);
    let status = object(&sandbox, "worker")["status"].clone();
    let last_active = status["lastActiveTime"].as_str().unwrap().to_owned();
    assert_eq!(
        status,
        json!({
            "scaleTargetKind": "argoproj.io/v1alpha1.Rollout",
            "scaleTargetGVKR": {"group": "argoproj.io", "version": "v1alpha1", "kind": "Rollout", "resource": "rollouts"},
            "originalReplicaCount": 2,
            "lastActiveTime": last_active,
            "externalMetricNames": ["s0-aws-sqs-orders"],
            "triggersTypes": "aws-sqs-queue",
            "authenticationsTypes": "keda-aws-credentials",
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "ScaledObjectReady", "message": "ScaledObject is defined correctly and is ready for scaling"},
                {"type": "Active", "status": "True", "reason": "ScalerActive", "message": "Scaling is performed because triggers are active"},
                {"type": "Fallback", "status": "False", "reason": "NoFallbackFound", "message": "No fallbacks are active on this scaled object"},
                {"type": "Paused", "status": "False", "reason": "ScaledObjectUnpaused", "message": "ScaledObject is not paused"},
            ],
        })
    );

    // The pass that sees the new count remembers it. After that a pass costs two lists more than with a file, and no write.
    function.answer("{}").await;
    let before = object(&sandbox, "worker");
    for _ in 0..3 {
        sandbox.clear_requests();
        let answer = function.answer("{}").await;
        assert_eq!(answer["targets"][0]["effect"], "held", "{answer}");
        let mut requests = actions(&sandbox, Service::Kubernetes);
        requests.sort();
        assert_eq!(
            requests,
            [
                "GET /api/v1/namespaces/default/configmaps/outrigger",
                "GET /apis/argoproj.io/v1alpha1/namespaces/default/rollouts/worker",
                OBJECTS,
                "GET /apis/keda.sh/v1alpha1/namespaces/default/triggerauthentications",
            ]
        );
    }
    assert_eq!(object(&sandbox, "worker"), before);

    // What changes is told: here the end of the activity, by the time of it.
    sandbox.queues().set_counts("orders", 0, 0, 0);
    function.answer("{}").await;
    let after = object(&sandbox, "worker");
    assert_eq!(condition(&after, "Active").0, "False");
    assert_ne!(after["status"]["lastActiveTime"], Json::Null);
    assert_eq!(after["status"]["originalReplicaCount"], 2);
    assert_eq!(after["metadata"]["generation"], 1);
}

#[tokio::test]
async fn nobody_asks_for_authentications_that_no_object_refers_to() {
    let sandbox = cluster_with(&format!("{BASE}\n---\n{CLUSTER_MODE}")).await;
    create(&sandbox, WORKER, |object| {
        let trigger = object["spec"]["triggers"][0].as_object_mut().unwrap();
        trigger.remove("authenticationRef");
    });
    function(&sandbox, &[]).await.answer("{}").await;
    assert_eq!(writes(&sandbox), [(2, 7)]);
    assert_eq!(count(&sandbox, OBJECTS), 1, "also for the other owners");
    assert_eq!(
        count(
            &sandbox,
            "GET /apis/keda.sh/v1alpha1/namespaces/default/trigger"
        ),
        0
    );
}

#[tokio::test]
async fn a_bad_object_is_told_so_and_stops_no_other() {
    let sandbox = cluster().await;
    create(&sandbox, WORKER, |_| {});
    create(&sandbox, &scaled_object("bad"), |object| {
        object["spec"]["triggers"][0]["metadata"]["queueLenght"] = json!("3");
    });
    let function = function(&sandbox, &[]).await;
    let (kind, message) = function.error("{}").await;
    assert_eq!(kind, "Outrigger.TargetsFailed");
    let mistake =
        "spec.triggers[0].metadata.queueLenght: unknown field, did you mean `queueLength`?";
    assert_names(
        &message,
        &[
            "1 failed",
            "`default/bad` is refused: cluster demo (default/bad): ",
            mistake,
        ],
    );
    assert_eq!(writes(&sandbox), [(2, 7)]);
    let bad = object(&sandbox, "bad");
    let ready = (
        "False".to_owned(),
        "ScaledObjectCheckFailed".to_owned(),
        mistake.to_owned(),
    );
    assert_eq!(condition(&bad, "Ready"), ready);
    assert_eq!(condition(&bad, "Active").0, "Unknown");
    // The finding is logged once, and what is told does not change.
    let findings = |lines: &[Json]| {
        let texts = lines.iter().filter_map(|line| line["finding"].as_str());
        texts.filter(|text| text.contains("queueLenght")).count()
    };
    assert_eq!(findings(&function.new_lines()), 1);
    function.error("{}").await;
    assert_eq!(findings(&function.new_lines()), 0);
    assert_eq!(object(&sandbox, "bad"), bad);

    // Put right, it runs.
    sandbox
        .kubernetes()
        .create_rollout("default", "bad", Some(1));
    sandbox.queues().set_counts("bad", 40, 0, 0);
    sandbox
        .kubernetes()
        .edit("scaledobjects", "default", "bad", |object| {
            let metadata = object["spec"]["triggers"][0]["metadata"].as_object_mut();
            metadata.unwrap().remove("queueLenght");
        });
    function.answer("{}").await;
    assert_eq!(condition(&object(&sandbox, "bad"), "Ready").0, "True");
    assert_eq!(sandbox.kubernetes().replicas("default", "bad"), Some(4));
}

/// Together they are far more than is read of one answer.
#[tokio::test]
async fn objects_of_a_megabyte_are_refused_by_name_and_stop_no_other() {
    let sandbox = cluster().await;
    create(&sandbox, WORKER, |_| {});
    for index in 0..20 {
        create(
            &sandbox,
            &scaled_object(&format!("large-{index}")),
            |object| {
                let triggers = object["spec"]["triggers"].as_array_mut().unwrap();
                let mut one = triggers[0].clone();
                one["metadata"]["queueURL"] = json!("q".repeat(11_000));
                triggers.resize(101, one);
            },
        );
    }
    let function = function(&sandbox, &[]).await;
    let (_, message) = function.error("{}").await;
    let refused = "`default/large-0` is refused: cluster demo (default/large-0): spec: found `more than 64 KiB";
    assert_names(&message, &["20 failed", refused]);
    let peak = function.peak_memory();
    assert!(peak.is_none_or(|peak| peak < 64), "{peak:?} MiB");
    assert_eq!(writes(&sandbox), [(2, 7)]);
    let ready = condition(&object(&sandbox, "large-2"), "Ready");
    assert_names(&ready.2, &["more than 64 KiB"]);
}

/// A window may last ten minutes, and who has just applied the object is looking at it.
#[tokio::test]
async fn a_bad_object_is_told_so_before_the_window_ends() {
    let sandbox = cluster().await;
    create(&sandbox, WORKER, |object| {
        object["spec"]["pollingInterval"] = json!(1);
    });
    create(&sandbox, &scaled_object("bad"), |object| {
        object["spec"]["maxReplicaCount"] = json!(0);
    });
    let function = function(&sandbox, &[("OUTRIGGER_WINDOW", "600")]).await;
    let event = include_str!("../../../events/scheduler-default.json");
    let story = async {
        until("the status", || {
            !object(&sandbox, "bad")["status"].is_null()
        })
        .await;
        // And that was it.
        until("more polls", || {
            count(&sandbox, "GetQueueAttributes orders") > 3
        })
        .await;
    };
    tokio::select! {
        outcome = function.invoke(event.to_owned()) => panic!("{outcome:?}"),
        () = story => {}
    }
    assert_eq!(condition(&object(&sandbox, "bad"), "Ready").0, "False");
    assert_eq!(count(&sandbox, &STATUS.replace("worker", "bad")), 1);
}

#[tokio::test]
async fn an_object_reaches_no_further_than_its_namespace() {
    let sandbox = cluster().await;
    let authentication = |name: &str, arn: &str| {
        json!({
            "apiVersion": "keda.sh/v1alpha1", "kind": "TriggerAuthentication", "metadata": {"name": name, "namespace": "default"},
            "spec": {"podIdentity": {"provider": "aws", "roleArn": arn}},
        })
    };
    sandbox.sts().allow_role(ROLE_ARN, None);
    let other = "arn:aws:iam::123456789012:role/admin";
    for (name, arn) in [("listed", ROLE_ARN), ("other", other)] {
        sandbox
            .kubernetes()
            .create(authentication(name, arn))
            .unwrap();
    }
    create(&sandbox, &scaled_object("elsewhere"), |object| {
        object["metadata"]["annotations"]["outrigger.dev/cluster"] = json!("demo");
    });
    create(&sandbox, &scaled_object("endpoint"), |object| {
        object["spec"]["triggers"][0]["metadata"]["awsEndpoint"] =
            json!("https://evil.example.com");
    });
    for name in ["listed", "other"] {
        create(&sandbox, &scaled_object(name), |object| {
            object["spec"]["triggers"][0]["authenticationRef"]["name"] = json!(name);
        });
        sandbox
            .kubernetes()
            .create_rollout("default", name, Some(2));
        sandbox.queues().set_counts(name, 60, 3, 0);
    }
    let (_, message) = function(&sandbox, &[("OUTRIGGER_ROLES", ROLE_ARN)])
        .await
        .error("{}")
        .await;
    for (name, what) in [
        (
            "elsewhere",
            "metadata.annotations[outrigger.dev/cluster]: not allowed here",
        ),
        (
            "endpoint",
            "spec.triggers[0].metadata.awsEndpoint: not allowed in a cluster",
        ),
        (
            "other",
            "spec.triggers[0].authenticationRef: the authentication names the role",
        ),
    ] {
        let refused = format!("`default/{name}` is refused: cluster demo (default/{name}): {what}");
        assert_names(&message, &["3 failed", &refused]);
        let ready = condition(&object(&sandbox, name), "Ready");
        assert_eq!(
            (ready.0.as_str(), ready.2.starts_with(what)),
            ("False", true),
            "{ready:?}"
        );
        assert!(!ready.2.contains(ROLE_ARN), "{ready:?}");
    }
    assert_eq!(sandbox.kubernetes().replicas("default", "listed"), Some(7));
    assert_eq!(condition(&object(&sandbox, "listed"), "Ready").0, "True");
}

/// What is not granted to a namespace is not read, and nothing of it is told; the others run.
#[tokio::test]
async fn what_is_not_granted_to_a_namespace_is_refused_and_not_read() {
    const DEPTH: u32 = 48_611;
    let sandbox = cluster().await;
    let queue = |name: &str| format!("arn:aws:sqs:ap-northeast-1:123456789012:{name}");
    create(&sandbox, WORKER, |_| {});
    for name in ["billing", "named", "metric"] {
        create(&sandbox, &scaled_object(name), |object| {
            let trigger = &mut object["spec"]["triggers"][0];
            match name {
                "named" => trigger["metadata"]["queueURL"] = json!(name),
                "metric" => {
                    *trigger = json!({"type": "aws-cloudwatch", "metadata": {
                        "expression": "SELECT MAX(ApproximateNumberOfMessagesVisible) FROM \"AWS/SQS\"", "targetMetricValue": "1",
                        "minMetricValue": "0", "awsRegion": "ap-northeast-1", "identityOwner": "operator",
                    }});
                }
                _ => {}
            }
        });
        sandbox
            .kubernetes()
            .create_rollout("default", name, Some(2));
        sandbox.queues().set_counts(name, DEPTH.into(), 0, 0);
    }
    // Of a namespace whose name begins so, and of one of another cluster, which is not looked at.
    let granted = format!(
        "demo/default={},demo/default-2={},other/default={}",
        queue("orders"),
        queue("billing"),
        queue("named")
    );
    let settings = [("OUTRIGGER_QUEUES", granted.as_str())];
    let function = function(&sandbox, &settings).await;
    let (_, message) = function.error("{}").await;
    let billing = format!(
        "spec.triggers[0].metadata.queueURL: the queue is not granted to demo/default and is not read; ask the function's owner to add \
         demo/default={} to OUTRIGGER_QUEUES",
        queue("billing")
    );
    let named = "spec.triggers[0].metadata.queueURL: not granted: OUTRIGGER_QUEUES";
    let metric = "spec.triggers[0].metadata.expression: not allowed here";
    for (name, what) in [
        ("billing", billing.as_str()),
        ("named", named),
        ("metric", metric),
    ] {
        let refused = format!("`default/{name}` is refused: cluster demo (default/{name}): {what}");
        assert_names(&message, &["3 failed", &refused]);
        let ready = condition(&object(&sandbox, name), "Ready");
        assert_eq!(
            (ready.0.as_str(), ready.2.contains(what)),
            ("False", true),
            "{ready:?}"
        );
        assert_eq!(sandbox.kubernetes().replicas("default", name), Some(2));
        let status = object(&sandbox, name)["status"].to_string();
        assert!(!status.contains(&DEPTH.to_string()), "{status}");
    }
    assert_eq!(condition(&object(&sandbox, "worker"), "Ready").0, "True");
    assert_eq!(sandbox.kubernetes().replicas("default", "worker"), Some(7));
    assert_eq!(count(&sandbox, "GetQueueAttributes"), 1);
    assert_eq!(
        count(&sandbox, "GetQueueUrl") + count(&sandbox, "GetMetricData"),
        0
    );
    let log = function.output();
    assert!(!log.contains(&DEPTH.to_string()), "{log}");
}

/// Of two metrics one is paid for: each object has its turn, and the other holds and says for how long.
#[tokio::test]
async fn metrics_that_are_not_paid_for_are_held_in_turns() {
    let sandbox = cluster().await;
    for name in ["one", "two"] {
        create(&sandbox, &scaled_object(name), |object| {
            object["spec"]["triggers"][0] = json!({"type": "aws-cloudwatch", "metadata": {
                "namespace": "Shop", "metricName": "Carts", "dimensionName": "Shop", "dimensionValue": name, "targetMetricValue": "1",
                "minMetricValue": "0", "ignoreNullValues": "false", "awsRegion": "ap-northeast-1", "identityOwner": "operator",
            }});
        });
        sandbox
            .kubernetes()
            .create_rollout("default", name, Some(2));
        sandbox
            .metrics()
            .hold("Shop", "Carts", &[("Shop", name)], 5.0);
    }
    let function = function(&sandbox, &[("OUTRIGGER_MAX_METRIC_READS", "1")]).await;
    let count_of = |name: &str| sandbox.kubernetes().replicas("default", name);
    let (_, message) = function.error("{}").await;
    let why = "spec.triggers[0]: the 1 paid reads of namespace `default` in this invocation are used up, and its objects name 2 metrics; held for";
    assert_names(&message, &["1 failed"]);
    let (read, held) = match count_of("one") {
        Some(5) => ("one", "two"),
        _ => ("two", "one"),
    };
    assert_eq!((count_of(read), count_of(held)), (Some(5), Some(2)));
    let ready = condition(&object(&sandbox, held), "Ready");
    assert_eq!(
        (ready.0.as_str(), ready.1.as_str()),
        ("False", "TriggerError")
    );
    assert_names(&ready.2, &[why, "OUTRIGGER_MAX_METRIC_READS"]);
    assert!(ready.2.len() <= 250, "{}", ready.2);
    function.error("{}").await;
    assert_eq!((count_of(read), count_of(held)), (Some(5), Some(5)));
    assert_eq!(count(&sandbox, "GetMetricData"), 2);
    assert_eq!(condition(&object(&sandbox, held), "Ready").0, "True");
}

#[tokio::test]
async fn a_raised_polling_interval_is_told_in_the_status_and_once_in_the_log() {
    let sandbox = cluster().await;
    create(&sandbox, WORKER, |object| {
        object["spec"]["pollingInterval"] = json!(1);
    });
    let function = function(&sandbox, &[("OUTRIGGER_MIN_POLLING", "45")]).await;
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "scaled", "{answer}");
    let ready = condition(&object(&sandbox, "worker"), "Ready");
    assert_eq!(
        (ready.0.as_str(), ready.1.as_str()),
        ("True", "ScaledObjectReady")
    );
    let told = "its pollingInterval of 1 s counts as 45 s, the least of the function (OUTRIGGER_MIN_POLLING): write 45 or more, or ask";
    assert_names(&ready.2, &["is ready for scaling; ", told]);
    assert!(ready.2.len() <= 250, "{}", ready.2.len());
    function.answer("{}").await;
    let log = function.output();
    let line =
        "pollingInterval: 1 s is less than the function's owner lets count, and is raised to 45 s";
    assert_eq!(log.matches(line).count(), 1, "{log}");
    // What is said is written once, too.
    assert_eq!(count(&sandbox, STATUS), 1);
}

/// Whoever may refer to what is in no namespace is not told what is in it.
#[tokio::test]
async fn the_role_of_a_cluster_wide_authentication_is_not_named() {
    let sandbox = cluster_with(EVERYWHERE).await;
    create(&sandbox, WORKER, |object| {
        object["spec"]["triggers"][0]["authenticationRef"] =
            json!({"name": "all", "kind": "ClusterTriggerAuthentication"});
    });
    let authentication = json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ClusterTriggerAuthentication", "metadata": {"name": "all"},
        "spec": {"podIdentity": {"provider": "aws", "roleArn": ROLE_ARN}},
    });
    sandbox.kubernetes().create(authentication).unwrap();
    let function = function(&sandbox, &[("OUTRIGGER_CONFIG", "cluster:")]).await;
    let (_, message) = function.error("{}").await;
    let refused = "spec.triggers[0].authenticationRef: the authentication names a role that is not allowed, allowed: a role that OUTRIGGER_ROLES";
    assert_names(&message, &["1 failed", refused]);
    let ready = condition(&object(&sandbox, "worker"), "Ready");
    assert_names(&ready.2, &[refused]);
    assert!(!ready.2.contains(ROLE_ARN), "{ready:?}");
}

#[tokio::test]
async fn a_list_that_fails_is_replaced_by_the_last_good_one() {
    let sandbox = cluster().await;
    create(&sandbox, WORKER, |_| {});
    let function = function(&sandbox, &[]).await;
    let forbidden = KubernetesFault::Status(403);
    sandbox.kubernetes().fail(OBJECTS, forbidden, 1);
    let (kind, message) = function.error("{}").await;
    assert_eq!(kind, "Outrigger.ConfigurationUnreadable");
    assert_names(
        &message,
        &[
            "could not list scaledobjects in namespace `default`",
            "cluster `demo`",
            "403",
            "{apiGroups: [keda.sh], resources: [scaledobjects], verbs: [list]} to the Role `outrigger`",
            "nothing is done there",
        ],
    );
    assert_eq!(writes(&sandbox), []);

    function.answer("{}").await;
    assert_eq!(writes(&sandbox), [(2, 7)]);
    sandbox.queues().set_counts("orders", 90, 0, 0);
    sandbox.kubernetes().fail(OBJECTS, forbidden, 1);
    let (kind, message) = function.error("{}").await;
    assert_eq!(kind, "Outrigger.TargetsFailed");
    assert_names(
        &message,
        &[
            "configuration: could not list",
            "403",
            "the last good list is in force",
            "nothing is scaled in from it",
        ],
    );
    assert_eq!(writes(&sandbox), [(2, 7), (7, 9)]);
    function.answer("{}").await;

    // What the old list says may no longer be so: not even a count above its maximum is lowered.
    sandbox.kubernetes().set_replicas("default", "worker", 20);
    function.new_lines();
    sandbox.kubernetes().fail(OBJECTS, forbidden, 1);
    function.error("{}").await;
    assert_eq!(replicas(&sandbox), Some(20));
    let lines = function.new_lines();
    let line = decisions(&lines).pop().unwrap();
    assert_eq!(line["decision"]["reason"], "OwnersUnknown");
    assert_names(
        line["decision"]["explanation"].as_str().unwrap(),
        &["its ScaledObject was read before and cannot be read now"],
    );
    assert_eq!(
        line["record"]["conflicts"].to_string(),
        r#"[{"error":"ConfigurationStale"}]"#
    );
    function.answer("{}").await;
    assert_eq!(replicas(&sandbox), Some(9));
}

#[tokio::test]
async fn where_the_kind_is_gone_no_object_is_left() {
    let sandbox = cluster().await;
    create(&sandbox, WORKER, |_| {});
    let function = function(&sandbox, &[]).await;
    function.answer("{}").await;
    sandbox.queues().set_counts("orders", 90, 0, 0);
    sandbox.kubernetes().set_keda_installed(false);
    let told = ["404", "keda-2.20.2-crds.yaml", "nothing is done there"];
    let (kind, message) = function.error("{}").await;
    assert_eq!(kind, "Outrigger.ConfigurationUnreadable");
    assert_names(&message, &told);
    // Nor from a list of before the kind went.
    let server = KubernetesFault::Status(403);
    sandbox.kubernetes().fail(OBJECTS, server, 1);
    function.error("{}").await;
    assert_eq!(writes(&sandbox), [(2, 7)]);
    sandbox.kubernetes().set_keda_installed(true);
    function.answer("{}").await;
    assert_eq!(writes(&sandbox), [(2, 7), (7, 9)]);
}

#[tokio::test]
async fn a_namespace_that_fails_stops_no_other() {
    let sandbox = cluster().await;
    create(&sandbox, WORKER, |_| {});
    let function = function(&sandbox, &[("OUTRIGGER_CONFIG", "cluster:default,shop")]).await;
    for _ in 0..2 {
        let (kind, message) = function.error("{}").await;
        assert_eq!(kind, "Outrigger.TargetsFailed");
        assert_names(
            &message,
            &["1 failed", "scaledobjects in namespace `shop`", "403"],
        );
    }
    assert_eq!(writes(&sandbox), [(2, 7)]);
}

#[tokio::test]
async fn every_namespace_of_the_cluster() {
    let sandbox = cluster_with(EVERYWHERE).await;
    create(&sandbox, WORKER, |object| {
        let trigger = &mut object["spec"]["triggers"][0];
        trigger["authenticationRef"] =
            json!({"name": "all", "kind": "ClusterTriggerAuthentication"});
        trigger["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("identityOwner");
    });
    create(&sandbox, &scaled_object("other"), |object| {
        object["metadata"]["namespace"] = json!("shop");
    });
    let authentication = json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ClusterTriggerAuthentication", "metadata": {"name": "all"},
        "spec": {"podIdentity": {"provider": "aws"}},
    });
    sandbox.kubernetes().create(authentication).unwrap();
    sandbox.queues().set_counts("other", 1, 0, 0);
    let function = function(&sandbox, &[("OUTRIGGER_CONFIG", "cluster:")]).await;
    let (_, message) = function.error("{}").await;
    assert_eq!(writes(&sandbox), [(2, 7)]);
    // Its workload is not there.
    assert_names(&message, &["1 failed", "`shop/other`", "404"]);
    let other = sandbox
        .kubernetes()
        .get("scaledobjects", "shop", "other")
        .unwrap();
    assert_eq!(condition(&other, "Ready").1, "NotFound");
    assert_eq!(
        count(&sandbox, "GET /apis/keda.sh/v1alpha1/scaledobjects"),
        1
    );
    assert_eq!(
        count(
            &sandbox,
            "GET /apis/keda.sh/v1alpha1/clustertriggerauthentications"
        ),
        1
    );
}

#[tokio::test]
async fn without_the_right_to_cluster_wide_authentications_only_who_needs_them_is_refused() {
    let sandbox = cluster().await;
    create(&sandbox, WORKER, |_| {});
    create(&sandbox, &scaled_object("needs"), |object| {
        object["spec"]["triggers"][0]["authenticationRef"]["kind"] =
            json!("ClusterTriggerAuthentication");
    });
    let (_, message) = function(&sandbox, &[]).await.error("{}").await;
    assert_names(
        &message,
        &[
            "1 failed",
            "`default/needs` is refused",
            "spec.triggers[0].authenticationRef: the authentication `keda-aws-credentials` is not known",
            "{apiGroups: [keda.sh], resources: [clustertriggerauthentications], verbs: [list]} to a ClusterRole",
        ],
    );
    assert_eq!(writes(&sandbox), [(2, 7)]);
}

#[tokio::test]
async fn what_kedas_operator_acts_on_is_left_to_it() {
    let sandbox = cluster().await;
    create(&sandbox, WORKER, |object| {
        object["metadata"]["finalizers"] = json!(["finalizer.keda.sh"]);
    });
    create_autoscaler_of_keda(&sandbox, "worker");
    let function = function(&sandbox, &[]).await;
    let (_, message) = function.error("{}").await;
    assert_names(
        &message,
        &[
            "`default/worker` is refused",
            "KEDA's operator acts on it",
            "kubectl delete hpa keda-hpa-worker -n default",
        ],
    );
    assert_eq!(count(&sandbox, "PATCH"), 0);
    assert_eq!(object(&sandbox, "worker")["status"], Json::Null);

    // Whether it does is not known.
    let autoscalers = "GET /apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    sandbox
        .kubernetes()
        .fail(autoscalers, KubernetesFault::Status(403), 1);
    let (_, message) = function.error("{}").await;
    assert_names(
        &message,
        &[
            "horizontalpodautoscalers",
            "403",
            "their status is left alone",
        ],
    );
    // The pass looks again before it writes, and finds it.
    assert_eq!(writes(&sandbox), []);
    assert_eq!(object(&sandbox, "worker")["status"], Json::Null);

    sandbox.clear_requests();
    // Beside it, in shadow mode, nothing of the object is written.
    let set_mode = |mode: &str| {
        sandbox
            .kubernetes()
            .edit("scaledobjects", "default", "worker", |object| {
                object["metadata"]["annotations"]["outrigger.dev/mode"] = json!(mode);
            });
    };
    set_mode("shadow");
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "shadow", "{answer}");
    assert_eq!((count(&sandbox, STATUS), count(&sandbox, "POST")), (0, 0));

    // Handed over: the finalizer alone is nobody.
    set_mode("live");
    sandbox
        .kubernetes()
        .delete("horizontalpodautoscalers", "default", "keda-hpa-worker");
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "scaled", "{answer}");
    assert_eq!(condition(&object(&sandbox, "worker"), "Ready").0, "True");
}

#[tokio::test]
async fn without_the_autoscalers_what_kedas_operator_let_go_still_scales_out() {
    let sandbox = cluster().await;
    create(&sandbox, WORKER, |object| {
        object["metadata"]["finalizers"] = json!(["finalizer.keda.sh"]);
    });
    let function = function(&sandbox, &[]).await;
    let autoscalers = "GET /apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let forbidden = KubernetesFault::Status(403);
    sandbox.kubernetes().fail(autoscalers, forbidden, 100);
    let (_, message) = function.error("{}").await;
    assert_names(&message, &["403", "their status is left alone"]);
    assert_eq!(writes(&sandbox), [(2, 7)]);
    assert_eq!(object(&sandbox, "worker")["status"], Json::Null);
    sandbox.kubernetes().set_replicas("default", "worker", 20);
    function.error("{}").await;
    assert_eq!(replicas(&sandbox), Some(20));
}

#[tokio::test]
async fn what_is_being_deleted_is_left_alone() {
    let sandbox = cluster().await;
    create(&sandbox, WORKER, |object| {
        object["metadata"]["deletionTimestamp"] = json!("2026-11-23T00:00:00Z");
    });
    // So that the other one is no duplicate of it.
    create(
        &sandbox,
        &WORKER.replace("{name: worker, n", "{name: successor, n"),
        |_| {},
    );
    let answer = function(&sandbox, &[]).await.answer("{}").await;
    assert_eq!(answer["targets"].as_array().unwrap().len(), 1);
    assert_eq!(answer["targets"][0]["target"], "default/successor");
    assert_eq!(object(&sandbox, "worker")["status"], Json::Null);
    assert_eq!(writes(&sandbox), [(2, 7)]);
}

#[tokio::test]
async fn two_objects_for_one_workload_are_both_refused() {
    let sandbox = cluster().await;
    create(&sandbox, WORKER, |_| {});
    create(
        &sandbox,
        &WORKER.replace("{name: worker, n", "{name: second, n"),
        |_| {},
    );
    let (_, message) = function(&sandbox, &[]).await.error("{}").await;
    assert_names(
        &message,
        &["2 failed", "`default/second`", "`default/worker`"],
    );
    for (name, other) in [("worker", "second"), ("second", "worker")] {
        let ready = condition(&object(&sandbox, name), "Ready");
        assert_names(
            &ready.2,
            &[
                "2 ScaledObjects want to scale Rollout `worker`",
                &format!("remove the others: `default/{other}`"),
            ],
        );
    }
    assert_eq!(writes(&sandbox), []);
}

#[tokio::test]
async fn a_dry_run_and_a_shadow_tell_nothing() {
    let sandbox = cluster().await;
    create(&sandbox, WORKER, |_| {});
    create(&sandbox, &scaled_object("bad"), |object| {
        object["spec"]["maxReplicaCount"] = json!(0);
    });
    for (mode, event) in [("live", r#"{"dryRun":true}"#), ("shadow", "{}")] {
        let function = function(&sandbox, &[("OUTRIGGER_MODE", mode)]).await;
        function.error(event).await;
        for name in ["worker", "bad"] {
            assert_eq!(
                object(&sandbox, name)["status"],
                Json::Null,
                "{mode} {name}"
            );
        }
        assert_eq!((count(&sandbox, "POST"), replicas(&sandbox)), (0, Some(2)));
    }
}

#[tokio::test]
async fn a_status_that_cannot_be_written_fails_the_target_and_undoes_nothing() {
    let sandbox = cluster_with(BASE).await;
    create(&sandbox, WORKER, |object| {
        let trigger = object["spec"]["triggers"][0].as_object_mut().unwrap();
        trigger.remove("authenticationRef");
    });
    let function = function(&sandbox, &[]).await;
    let (kind, message) = function.error("{}").await;
    assert_eq!(kind, "Outrigger.TargetsFailed");
    assert_names(
        &message,
        &[
            "1 failed",
            "`default/worker`: could not write the status of ScaledObject `default/worker`",
            "403",
            "resources: [scaledobjects/status], verbs: [patch]} to the Role `outrigger-cluster-mode`",
        ],
    );
    assert_eq!(writes(&sandbox), [(2, 7)]);
    assert_eq!(count(&sandbox, STATUS), 1);
    let lines = function.new_lines();
    let told = decisions(&lines);
    assert!(
        told.iter()
            .any(|line| line["warning"]["code"] == "Forbidden"),
        "{told:?}"
    );
}

#[tokio::test]
async fn somebody_elses_newer_status_is_not_overwritten() {
    let sandbox = cluster().await;
    create(&sandbox, WORKER, |_| {});
    let function = function(&sandbox, &[]).await;
    // Between the list and the patch the object changes: as if the patch came late.
    sandbox
        .kubernetes()
        .fail(STATUS, KubernetesFault::Status(422), 1);
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "scaled", "{answer}");
    assert_eq!(object(&sandbox, "worker")["status"], Json::Null);
    // The next invocation lists it anew.
    function.answer("{}").await;
    assert_eq!(condition(&object(&sandbox, "worker"), "Ready").0, "True");
}

#[tokio::test]
async fn the_emergency_stop_and_failing_readings_are_in_the_status() {
    let sandbox = cluster().await;
    create(&sandbox, WORKER, |object| {
        object["spec"]["fallback"] = json!({"failureThreshold": 1, "replicas": 5});
    });
    let function = function(&sandbox, &[]).await;
    sandbox.queues().delete("orders");
    let health = |object: &Json| object["status"]["health"]["s0-aws-sqs-orders"].clone();
    for (failures, fallback, active) in [(1, "False", "Unknown"), (2, "True", "True")] {
        function.error("{}").await;
        let worker = object(&sandbox, "worker");
        let ready = condition(&worker, "Ready");
        assert_eq!(
            (ready.0.as_str(), ready.1.as_str()),
            ("False", "TriggerError")
        );
        assert_names(
            &ready.2,
            &["spec.triggers[0]: ", "orders", "aws sqs get-queue-url"],
        );
        assert_eq!(condition(&worker, "Fallback").0, fallback);
        assert_eq!(condition(&worker, "Active").0, active);
        assert_eq!(
            health(&worker),
            json!({"numberOfFailures": failures, "status": "Failing"})
        );
    }
    assert_eq!(replicas(&sandbox), Some(5));
    function.error("{}").await;
    let before = object(&sandbox, "worker");
    function.error("{}").await;
    assert_eq!(object(&sandbox, "worker"), before);

    sandbox.queues().set_counts("orders", 50, 0, 0);
    sandbox
        .kubernetes()
        .edit("configmaps", "default", "outrigger", |object| {
            object["data"]["pause"] = json!("*");
        });
    function.answer("{}").await;
    let worker = object(&sandbox, "worker");
    let paused = condition(&worker, "Paused");
    assert_eq!(
        (paused.0.as_str(), paused.1.as_str()),
        ("True", "ScaledObjectPaused")
    );
    assert_names(&paused.2, &["`pause`", "`outrigger`"]);
    assert_eq!(condition(&worker, "Ready").0, "True");
}

/// The condition is what `kubectl` shows: it says cause and cure in one line, and does not send its reader to the log.
#[tokio::test]
async fn a_condition_says_cause_and_cure_in_one_line() {
    let sandbox = cluster_with(&format!("{EVERYWHERE}\n---\n{BASE}\n---\n{CLUSTER_MODE}")).await;
    create(&sandbox, WORKER, |_| {});
    create_autoscaler(&sandbox, "web", |_| {});
    for (kind, name) in [
        ("TriggerAuthentication", "broken"),
        ("ClusterTriggerAuthentication", "hidden"),
    ] {
        let mut authentication = json!({
            "apiVersion": "keda.sh/v1alpha1", "kind": kind, "metadata": {"name": name},
            "spec": {"podIdentity": {"provider": "aws", "roleArn": "secret-role"}},
        });
        if kind == "TriggerAuthentication" {
            authentication["metadata"]["namespace"] = json!("default");
        }
        sandbox.kubernetes().create(authentication).unwrap();
        create(&sandbox, &scaled_object(name), |object| {
            let trigger = &mut object["spec"]["triggers"][0];
            trigger["authenticationRef"] = json!({"name": name, "kind": kind});
            trigger["metadata"]
                .as_object_mut()
                .unwrap()
                .remove("identityOwner");
        });
    }
    create(&sandbox, &scaled_object("many"), |object| {
        for key in [
            "queueLenght",
            "awsRegoin",
            "activationQueueLenght",
            "scaleOnInflght",
            "identityOwnr",
        ] {
            object["spec"]["triggers"][0]["metadata"][key] = json!("3");
        }
    });
    function(&sandbox, &[("OUTRIGGER_CONFIG", "cluster:")])
        .await
        .error("{}")
        .await;
    let ready = |name: &str| {
        let (_, _, message) = condition(&object(&sandbox, name), "Ready");
        assert!(message.len() <= 250 && !message.contains('\n'), "{message}");
        message
    };
    assert_names(
        &ready("worker"),
        &[
            "HorizontalPodAutoscaler web scales it",
            "kubectl delete hpa web -n default",
        ],
    );
    assert_names(
        &ready("broken"),
        &[
            "TriggerAuthentication default/broken: spec.podIdentity.roleArn: ",
            "secret-role",
        ],
    );
    let hidden = ready("hidden");
    assert_names(
        &hidden,
        &["ClusterTriggerAuthentication hidden: spec.podIdentity.roleArn is wrong"],
    );
    assert!(!hidden.contains("secret-role"), "{hidden}");
    let many = ready("many");
    assert_names(&many, &["did you mean", "more: see the log)"]);
}

/// With the namespace its Role goes: each of its objects would fail on its own, at each poll.
#[tokio::test]
async fn a_namespace_that_was_deleted_is_one_fault() {
    let sandbox = cluster().await;
    create(&sandbox, WORKER, |_| {});
    for index in 0..20 {
        create(&sandbox, &scaled_object(&format!("w{index}")), |_| {});
    }
    let function = function(&sandbox, &[]).await;
    function.error("{}").await;
    sandbox.clear_requests();
    function.new_lines();
    for path in ["GET /api", "PATCH /api", "POST /api"] {
        sandbox
            .kubernetes()
            .fail(path, KubernetesFault::Status(403), 1_000);
    }
    let (_, message) = function.error("{}").await;
    assert_names(
        &message,
        &[
            "nothing in namespace `default` may be read any more",
            "kubectl get namespace default",
            "OUTRIGGER_CONFIG",
        ],
    );
    let requests = actions(&sandbox, Service::Kubernetes);
    assert_eq!(requests.len(), 4, "{requests:?}");
    assert!(function.new_lines().len() < 4);
    assert!(message.len() < 1_500, "{message}");
}

#[tokio::test]
async fn a_namespace_that_is_misspelt_is_named_so() {
    let sandbox = cluster().await;
    create(&sandbox, WORKER, |_| {});
    let function = function(&sandbox, &[("OUTRIGGER_CONFIG", "cluster:default,defualt")]).await;
    let (_, message) = function.error("{}").await;
    assert_names(
        &message,
        &[
            "403",
            "where there is no namespace `defualt` (kubectl get namespace defualt) correct OUTRIGGER_CONFIG",
        ],
    );
    assert_eq!(writes(&sandbox), [(2, 7)]);
}

#[tokio::test]
async fn what_a_finalizer_keeps_is_named_with_the_command() {
    let sandbox = cluster().await;
    create(&sandbox, WORKER, |_| {});
    let function = function(&sandbox, &[]).await;
    function.answer("{}").await;
    assert_eq!(condition(&object(&sandbox, "worker"), "Ready").0, "True");
    let set = |finalizers: Json| {
        sandbox
            .kubernetes()
            .edit("scaledobjects", "default", "worker", |object| {
                object["metadata"]["deletionTimestamp"] = json!("2026-11-23T00:00:00Z");
                object["metadata"]["finalizers"] = finalizers;
            });
    };
    let one = "kubectl patch scaledobject worker -n default --type merge -p '{\"metadata\":{\"finalizers\":null}}'";
    let two = "kubectl patch scaledobject worker -n default --type json -p '[{\"op\":\"test\",\"path\":\"/metadata/finalizers/1\",\
        \"value\":\"finalizer.keda.sh\"},{\"op\":\"remove\",\"path\":\"/metadata/finalizers/1\"}]'";
    for (finalizers, command) in [
        (json!(["finalizer.keda.sh"]), one),
        (json!(["a", "finalizer.keda.sh"]), two),
        (json!(["a"]), "{.metadata.finalizers}"),
    ] {
        let is_kedas = finalizers.to_string().contains("keda");
        set(finalizers);
        function.new_lines();
        function.answer("{}").await;
        let (status, _, message) = condition(&object(&sandbox, "worker"), "Ready");
        assert_eq!(status, "False");
        assert_names(&message, &["it is being deleted", command]);
        assert!(message.len() <= 250, "{message}");
        let lines = function.new_lines();
        let findings = lines.iter().filter_map(|line| line["finding"].as_str());
        let named = findings.filter(|finding| finding.contains(command)).count();
        assert_eq!(named, usize::from(is_kedas));
        sandbox.clear_requests();
        function.answer("{}").await;
        assert_eq!(count(&sandbox, "PATCH"), 0);
    }
    // While its operator acts on it, its status and its end are the operator's.
    set(json!(["finalizer.keda.sh"]));
    create_autoscaler_of_keda(&sandbox, "worker");
    function.new_lines();
    function.answer("{}").await;
    assert_eq!(count(&sandbox, "PATCH"), 0);
    assert!(!format!("{:?}", function.new_lines()).contains("kubectl patch"));
}
