//! `outrigger status` as a person runs it, beside a function that scales.

use std::collections::BTreeMap;
use std::process::{Output, Stdio};
use std::time::Duration;

use outrigger::document::{Node, parse_yaml};
use outrigger::sandbox::fault::Fault;
use outrigger::sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::function::{Directory, Function};
use crate::support::owners::create_autoscaler;
use crate::support::{
    PATIENCE, WORKER, assert_names, bare, count, furnish, sandbox, scaled_object,
};

/// A person's environment: the sandbox's, and the cluster of the function.
fn environment(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let mut variables = sandbox.environment();
    variables.insert("OUTRIGGER_CLUSTERS".to_owned(), "demo".to_owned());
    variables
}

fn spawn(variables: &BTreeMap<String, String>, arguments: &[&str]) -> Child {
    spawn_command("status", variables, arguments)
}

fn spawn_command(command: &str, variables: &BTreeMap<String, String>, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .arg(command)
        .args(arguments)
        .env_clear()
        .envs(variables)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Exit code, standard output and standard error of `status -f -` with this on standard input.
async fn run(
    variables: &BTreeMap<String, String>,
    input: &str,
    arguments: &[&str],
) -> (i32, String, String) {
    let mut child = spawn(variables, &[&["-f", "-"], arguments].concat());
    let mut stdin = child.stdin.take().unwrap();
    // What fails before it reads is gone already.
    stdin.write_all(input.as_bytes()).await.ok();
    drop(stdin);
    ended(child).await
}

async fn ended(child: Child) -> (i32, String, String) {
    let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let Output {
        status,
        stdout,
        stderr,
    } = ended.expect("status does not end").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

async fn status(sandbox: &Sandbox, input: &str, arguments: &[&str]) -> (i32, String, String) {
    run(&environment(sandbox), input, arguments).await
}

#[tokio::test]
async fn it_shows_what_the_function_does_next_and_writes_nothing() {
    let sandbox = sandbox().await;
    let (code, output, errors) = status(&sandbox, WORKER, &[]).await;
    let expected = "\
TARGET           QUEUE    DEPTH   IN FLIGHT   REPLICAS   WANTED   LIMITED BY   LAST CHANGE   REASON       AGE
default/worker   orders   60      3           2          7        <none>       <none>        QueueDepth   <none>
";
    assert_eq!((code, output.as_str(), errors.as_str()), (0, expected, ""));
    assert_eq!(count(&sandbox, "PATCH"), 0);

    let function = Function::start(&sandbox, WORKER, &[]).await;
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["to"], 7);
    // The change is settled by the count that is there, although no pass has seen it yet.
    let memory = sandbox.kubernetes().configmap("default", "outrigger");
    let memory: Json = serde_json::from_str(&memory.unwrap()["rollout.worker"]).unwrap();
    let changed: jiff::Timestamp = memory["pending"]["at"].as_str().unwrap().parse().unwrap();
    let later = (changed + Duration::from_secs(312)).to_string();
    let clock = ["--clock-start", &later, "--clock-factor", "0"];
    sandbox.clear_requests();
    let (code, output, errors) = status(&sandbox, WORKER, &clock).await;
    let expected = "\
TARGET           QUEUE    DEPTH   IN FLIGHT   REPLICAS   WANTED   LIMITED BY   LAST CHANGE   REASON   AGE
default/worker   orders   60      3           7          7        <none>       2 → 7         Steady   5m12s
";
    assert_eq!((code, output.as_str(), errors.as_str()), (0, expected, ""));
    assert_eq!(count(&sandbox, "PATCH"), 0);
}

#[tokio::test]
async fn rights_to_read_are_enough() {
    let role = std::fs::read_to_string("infra/kubernetes/role.yaml").unwrap();
    let mut kept = Vec::new();
    let mut rules = parse_yaml(role.as_bytes())[0]
        .root
        .as_ref()
        .unwrap()
        .to_json();
    for rule in rules["rules"].as_array_mut().unwrap() {
        let verbs = rule["verbs"].as_array_mut().unwrap();
        verbs.retain(|verb| verb == "get" || verb == "list");
        if !verbs.is_empty() {
            kept.push(rule.clone());
        }
    }
    rules["rules"] = Json::Array(kept);
    let sandbox = bare(SandboxOptions {
        rbac: rules.to_string(),
        ..SandboxOptions::default()
    })
    .await;
    furnish(&sandbox);
    let (code, output, errors) = status(&sandbox, WORKER, &["-o", "json"]).await;
    assert_eq!((code, errors.as_str()), (0, ""));
    let rows: Json = serde_json::from_str(&output).unwrap();
    assert_eq!(
        (&rows[0]["replicas"], &rows[0]["wanted"]),
        (&json!(2), &json!(7))
    );
}

#[tokio::test]
async fn json_and_yaml_say_the_same() {
    let sandbox = sandbox().await;
    let two = format!("{WORKER}---\n{}", scaled_object("gone"));
    let now = [
        "--clock-start",
        "2026-11-24T00:00:00Z",
        "--clock-factor",
        "0",
    ];
    let (code, output, errors) =
        status(&sandbox, &two, &[&now[..], &["-o", "json"]].concat()).await;
    assert_eq!(code, 1);
    assert_names(
        &errors,
        &["error: default/gone: ", "kubectl get rollouts -A"],
    );
    let json: Json = serde_json::from_str(&output).unwrap();
    assert_eq!(json[0]["target"], "default/worker");
    assert_eq!(json[0]["triggers"][0]["visible"], 60);
    assert_eq!(json[1]["replicas"], Json::Null);
    let codes = json[1]["errors"].as_array().unwrap();
    assert!(
        codes.iter().any(|error| error["code"] == "NotFound"),
        "{json:#}"
    );
    let (code, output, _) = status(&sandbox, &two, &[&now[..], &["-o", "yaml"]].concat()).await;
    assert_eq!(code, 1);
    let yaml = parse_yaml(output.as_bytes());
    let yaml: Json = yaml[0].root.as_ref().map(Node::to_json).unwrap();
    assert_eq!(yaml, json, "{output}");
}

#[tokio::test]
async fn a_failed_reading_is_in_the_row_and_stops_no_other() {
    let sandbox = sandbox().await;
    sandbox
        .kubernetes()
        .create_rollout("default", "other", Some(3));
    sandbox.queues().create("other");
    sandbox.queues().fail("other", Some(Fault::AccessDenied));
    let bad = scaled_object("bad").replace("minReplicaCount: 2", "minReplicaCount: 20");
    let input = [&scaled_object("other"), &bad, WORKER].join("---\n");
    let (code, output, errors) = status(&sandbox, &input, &[]).await;
    assert_eq!(code, 1);
    let line = |name: &str| {
        let line = output.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {output}"));
        line.split("   ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .collect::<Vec<_>>()
    };
    let failed = ["default/other", "other", "<unknown>", "<unknown>", "3", "3"];
    assert_eq!(line("default/other")[..6], failed);
    assert_eq!(
        line("default/other")[8],
        "ReadingFailed (AccessDeniedException)"
    );
    assert_eq!(
        line("default/worker")[..6],
        ["default/worker", "orders", "60", "3", "2", "7"]
    );
    assert_eq!(line("default/bad")[8], "Refused");
    assert_names(
        &errors,
        &[
            "error: default/other: could not read the depth of queue `other`",
            "error: -: document 2, line ",
            "hint: `outrigger status` asks with your own AWS credentials",
        ],
    );
}

#[tokio::test]
async fn targets_are_chosen_by_name_and_namespace() {
    let sandbox = sandbox().await;
    let elsewhere = scaled_object("mailer").replace("namespace: default", "namespace: shop");
    let input = format!("{WORKER}---\n{elsewhere}");
    for arguments in [
        &["default/worker"][..],
        &["worker", "-n", "default"],
        &["worker", "default/worker"],
        &["-n", "default"],
    ] {
        let (code, output, errors) = status(&sandbox, &input, arguments).await;
        assert_eq!((code, errors.as_str()), (0, ""), "{arguments:?}");
        assert_eq!(output.lines().count(), 2, "{arguments:?}: {output}");
    }
    // What is known is shown all the same.
    let (code, output, errors) = status(&sandbox, &input, &["wroker", "worker"]).await;
    assert_eq!((code, output.lines().count()), (1, 2));
    assert_eq!(
        errors,
        "error: `default/wroker` is not a target of `-`, did you mean `default/worker`?\n"
    );
    let (code, output, errors) = status(&sandbox, &input, &["wroker"]).await;
    assert_eq!((code, output.as_str()), (1, ""));
    assert_names(&errors, &["default/wroker"]);
    let (code, _, errors) = status(&sandbox, &input, &["-n", "shopp"]).await;
    assert_eq!(
        (code, errors.as_str()),
        (
            1,
            "error: no target of `-` is in the namespace `shopp`\nhint: there are targets in default, shop\n"
        )
    );
    let (code, _, errors) = status(&sandbox, "kind: Service\napiVersion: v1\n", &[]).await;
    assert_eq!(code, 1);
    assert_names(&errors, &["no ScaledObject", "hint: "]);
}

#[tokio::test]
async fn several_clusters_have_a_column_and_one_that_is_not_there_stops_no_other() {
    let sandbox = sandbox().await;
    let elsewhere = scaled_object("far").replace(
        "namespace: default",
        "namespace: default, annotations: {outrigger.dev/cluster: other}",
    );
    let input = format!("{WORKER}---\n{elsewhere}");
    let clusters = ["--cluster", "demo", "--cluster", "other"];
    let (code, output, errors) = run(&sandbox.environment(), &input, &clusters).await;
    assert_eq!(code, 1);
    let columns: Vec<&str> = output
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(columns, ["CLUSTER", "demo", "other"], "{output}");
    assert_names(&output, &["QueueDepth", "ResourceNotFoundException"]);
    // One failure, however many reads it fails.
    assert_names(&errors, &["error: default/far: could not describe"]);
    assert_eq!(
        errors
            .matches("could not describe the cluster `other`")
            .count(),
        1,
        "{errors}"
    );
}

#[tokio::test]
async fn what_is_missing_is_said_before_anything_is_asked() {
    let sandbox = sandbox().await;
    let with = |changes: &[(&str, &str)]| {
        let mut variables = environment(&sandbox);
        for (name, value) in changes {
            variables.insert((*name).to_owned(), (*value).to_owned());
        }
        variables
    };
    let (code, output, errors) = run(&sandbox.environment(), WORKER, &[]).await;
    assert_eq!((code, output.as_str()), (1, ""));
    assert_names(
        &errors,
        &["OUTRIGGER_CLUSTERS: missing", "hint: give --cluster NAME"],
    );
    let (code, _, errors) = run(&sandbox.environment(), WORKER, &["--cluster", "a:b"]).await;
    assert_eq!(code, 1);
    assert_names(&errors, &["--cluster: found `a:b`"]);

    let mut variables = with(&[]);
    variables.retain(|name, _| !name.starts_with("AWS_SE") && name != "AWS_ACCESS_KEY_ID");
    let (code, output, errors) = run(&variables, WORKER, &[]).await;
    assert_eq!((code, output.as_str()), (1, ""));
    assert_names(&errors, &["AWS credentials", "hint: sign in"]);
    assert_eq!(errors.matches("error: ").count(), 1, "{errors}");

    let mut child = spawn(&with(&[("OUTRIGGER_CONFIG", "file:/nowhere/x.yaml")]), &[]);
    drop(child.stdin.take());
    let ended = child.wait_with_output().await.unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let errors = String::from_utf8(ended.stderr).unwrap();
    assert_names(
        &errors,
        &[
            "could not read the configuration `/nowhere/x.yaml`",
            "hint: ",
        ],
    );
    assert_eq!(sandbox.requests(), []);
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_is_a_row_and_an_error() {
    let sandbox = sandbox().await;
    // Nobody listens there.
    sandbox
        .eks()
        .set_cluster(|cluster| cluster["endpoint"] = json!("https://127.0.0.1:1"));
    let (code, output, errors) = status(&sandbox, WORKER, &[]).await;
    assert_eq!(code, 1);
    assert_names(
        &output,
        &["default/worker   orders   <unknown>", "ConnectionFailed"],
    );
    assert_names(
        &errors,
        &[
            "error: default/worker: could not read Rollout",
            "check the way to the API server",
        ],
    );
}

#[tokio::test]
async fn a_watch_looks_again_until_it_is_interrupted() {
    let sandbox = sandbox().await;
    let directory = Directory::new();
    let file = directory.join("outrigger.yaml");
    std::fs::write(&file, WORKER).unwrap();
    let arguments = ["-f", file.to_str().unwrap(), "--watch", "--interval", "1"];
    let mut child = spawn(&environment(&sandbox), &arguments);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
        line.expect("no more lines").unwrap().unwrap()
    };
    assert!(next().await.starts_with("TARGET"));
    assert_names(&next().await, &["60      3           2          7"]);
    sandbox.queues().set_counts("orders", 20, 0, 0);
    // Between two tables there is an empty line and, off a terminal, nothing else.
    while !next().await.contains("20      0           2          2") {}
    assert_eq!(next().await, "");
    assert!(next().await.starts_with("TARGET"));
    let id = child.id().unwrap().to_string();
    let signal = Command::new("kill").args(["-INT", &id]).status().await;
    assert!(signal.unwrap().success());
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
    assert_eq!(ended.expect("it goes on").unwrap().code(), Some(0));

    // As in `| head`.
    let mut child = spawn(&environment(&sandbox), &arguments);
    drop(child.stdout.take());
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
    assert_eq!(ended.expect("it goes on").unwrap().code(), Some(0));
    assert_eq!(count(&sandbox, "PATCH"), 0);
}

/// The usual world with KEDA's kinds and these rights, and no object of them yet.
async fn cluster_mode(rbac: &str) -> Sandbox {
    let sandbox = bare(SandboxOptions {
        rbac: rbac.to_owned(),
        ..SandboxOptions::default()
    })
    .await;
    furnish(&sandbox);
    sandbox.kubernetes().set_keda_installed(true);
    sandbox
}

#[tokio::test]
async fn objects_in_the_cluster_are_shown_and_checked_and_nothing_is_written() {
    let base = include_str!("../../infra/kubernetes/role.yaml");
    let more = include_str!("../../infra/kubernetes/components/cluster-mode/role.yaml");
    let sandbox = cluster_mode(&format!("{base}\n---\n{more}")).await;
    for yaml in [
        WORKER,
        &scaled_object("bad").replace("maxReplicaCount: 16", "maxReplicaCount: 0"),
    ] {
        let object = parse_yaml(yaml.as_bytes())
            .remove(0)
            .root
            .unwrap()
            .to_json();
        sandbox.kubernetes().create(object).unwrap();
    }
    let variables = environment(&sandbox);
    let config = ["--config", "cluster:default"];
    let mistake = "cluster demo (default/bad): spec.maxReplicaCount: found `0`";
    let (code, table, errors) = ended(spawn(&variables, &config)).await;
    assert_eq!(code, 1, "{errors}");
    assert_names(&table, &["default/worker", "default/bad", "QueueDepth"]);
    assert_names(&errors, &[mistake]);

    let (code, text, _) = ended(spawn_command("check", &variables, &config)).await;
    assert_eq!(code, 1, "{text}");
    assert_names(
        &text,
        &[
            &format!("error: {mistake}"),
            "ok: default/worker: Rollout worker 2..16 by orders / 10 per replica",
            "cluster:default: 1 target, 1 refused, 0 other documents skipped",
        ],
    );
    // As the function's variable says it.
    let mut configured = variables.clone();
    configured.insert("OUTRIGGER_CONFIG".to_owned(), "cluster:default".to_owned());
    let (code, same, _) = ended(spawn_command("check", &configured, &[])).await;
    assert_eq!((code, same), (1, text));
    // What cannot be listed is named, and is no success.
    let shop = ["--config", "cluster:default,shop"];
    for command in ["status", "check"] {
        let (code, text, errors) = ended(spawn_command(command, &variables, &shop)).await;
        assert_eq!(code, 1);
        assert_names(
            &format!("{text}{errors}"),
            &[
                "error: could not list scaledobjects in namespace `shop`",
                "403",
            ],
        );
    }
    assert_eq!((count(&sandbox, "PATCH"), count(&sandbox, "POST")), (0, 0));
    let (code, _, errors) =
        ended(spawn_command("check", &variables, &["--config", "file:x"])).await;
    assert_eq!(code, 1);
    assert_names(&errors, &["names the file `x`", "-f FILE"]);
}

/// What a namespace is not granted is told with the item that its owner asks for, and is not read; nor is what it does not pay for.
#[tokio::test]
async fn what_is_not_granted_is_told_beforehand() {
    let base = include_str!("../../infra/kubernetes/role.yaml");
    let more = include_str!("../../infra/kubernetes/components/cluster-mode/role.yaml");
    let sandbox = cluster_mode(&format!("{base}\n---\n{more}")).await;
    let worker = parse_yaml(WORKER.as_bytes()).remove(0).root.unwrap();
    sandbox.kubernetes().create(worker.to_json()).unwrap();
    let mut variables = environment(&sandbox);
    let mut set = |name: &str, value: &str| {
        variables.insert(name.to_owned(), value.to_owned());
        variables.clone()
    };
    set("OUTRIGGER_CONFIG", "cluster:default");
    let arn = "arn:aws:sqs:ap-northeast-1:123456789012:orders";
    let others = set("OUTRIGGER_QUEUES", &format!("demo/shop={arn}"));
    let refused = format!(
        "cluster demo (default/worker): spec.triggers[0].metadata.queueURL: the queue is not granted to demo/default and is not read; ask \
         the function's owner to add demo/default={arn} to OUTRIGGER_QUEUES"
    );
    let (code, text, errors) = ended(spawn(&others, &[])).await;
    assert_eq!(code, 1);
    assert_names(&errors, &[&refused]);
    assert!(!text.contains("60"), "{text}");
    let (code, text, _) = ended(spawn_command("check", &others, &[])).await;
    assert_eq!(code, 1);
    assert_names(
        &text,
        &[
            &format!("error: {refused}"),
            "warning: demo/shop is granted something",
            "cluster:default: 0 targets, 1 refused",
        ],
    );
    assert_eq!(count(&sandbox, "GetQueueAttributes"), 0);
    let granted = set("OUTRIGGER_QUEUES", &format!("demo/default={arn}"));
    let (code, text, errors) = ended(spawn(&granted, &[])).await;
    assert_eq!(code, 0, "{errors}");
    assert_names(&text, &["default/worker", "QueueDepth"]);
    let (code, text, _) = ended(spawn_command("check", &granted, &[])).await;
    assert_eq!(
        (code, text.contains("warning: demo/")),
        (0, false),
        "{text}"
    );
}

/// Before the switch-over, and not at the first change.
#[tokio::test]
async fn other_owners_and_names_without_objects_are_seen_beforehand() {
    let everywhere = include_str!(
        "../../infra/kubernetes/components/cluster-mode-all-namespaces/clusterrole.yaml"
    );
    let sandbox = cluster_mode(everywhere).await;
    let worker = parse_yaml(WORKER.as_bytes()).remove(0).root.unwrap();
    sandbox.kubernetes().create(worker.to_json()).unwrap();
    create_autoscaler(&sandbox, "web", |_| {});
    // There is nothing to change.
    sandbox.queues().set_counts("orders", 20, 0, 0);
    let variables = environment(&sandbox);
    let owner = [
        "HorizontalPodAutoscaler web scales it",
        "kubectl delete hpa web -n default",
    ];
    let config = ["--config", "cluster:default,shpo"];
    let (code, text, _) = ended(spawn_command("check", &variables, &config)).await;
    assert_eq!(code, 0, "{text}");
    assert_names(&text, &owner);
    assert_names(
        &text,
        &[
            "cluster demo (default/worker): warning: the count would be held",
            "warning: no ScaledObject is in namespace `shpo`",
        ],
    );
    let wide = [&config[..], &["-o", "wide"]].concat();
    let (_, table, _) = ended(spawn(&variables, &wide)).await;
    assert_names(&table, &owner);
    assert_names(&table, &["OtherOwner"]);

    // A stop that stops nothing fails the function, and both say so.
    let kubernetes = sandbox.kubernetes();
    kubernetes.edit("configmaps", "default", "outrigger", |object| {
        object["data"]["pause"] = json!("rollout.wroker # incident 42");
    });
    let mistake = "error: `rollout.wroker` in the key `pause` of the ConfigMap `default/outrigger` stops nothing";
    let (code, text, _) = ended(spawn_command("check", &variables, &config)).await;
    assert_eq!(code, 1, "{text}");
    assert_names(
        &text,
        &[&mistake.replace("error", "cluster demo (default): error")],
    );
    let (code, _, errors) = ended(spawn(&variables, &["--config", "cluster:default"])).await;
    assert_eq!(code, 1, "{errors}");
    assert_names(&errors, &[mistake]);
    assert_eq!((count(&sandbox, "PATCH"), count(&sandbox, "POST")), (0, 0));
}

#[tokio::test]
async fn a_stop_that_stops_nothing_is_an_error() {
    let sandbox = sandbox().await;
    sandbox
        .kubernetes()
        .edit("configmaps", "default", "outrigger", |object| {
            object["data"]["Pause"] = json!("*");
            object["data"]["pause-scale-in"] = json!("deployment.worker");
            object["data"]["notes"] = json!("call Ann");
        });
    let (code, table, errors) = run(&environment(&sandbox), WORKER, &[]).await;
    assert_eq!(code, 1, "{errors}");
    assert!(table.contains("QueueDepth"), "{table}");
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 3, "{errors}");
    assert_names(lines[1], &["error: ", "`Pause`", "did you mean `pause`"]);
    assert_names(
        lines[0],
        &["error: ", "`deployment.worker`", "`rollout.worker`"],
    );
    assert_names(lines[2], &["warning: ", "`notes`"]);
}

#[tokio::test]
async fn a_memory_that_fills_up_is_a_warning() {
    let sandbox = sandbox().await;
    sandbox
        .kubernetes()
        .edit("configmaps", "default", "outrigger", |object| {
            object["data"]["rollout.gone"] = json!("x".repeat(900_000));
        });
    let (code, _, errors) = run(&environment(&sandbox), WORKER, &[]).await;
    assert_eq!(code, 0, "{errors}");
    assert!(errors.starts_with("warning: "), "{errors}");
    assert_names(&errors, &["`default/outrigger` holds 85 %"]);
}
