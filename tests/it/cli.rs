//! The command line tool as a person runs it: output, exit codes, hints.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use outrigger::sandbox::authenticator::check;
use outrigger::sandbox::{Sandbox, SandboxOptions};
use serde_json::Value as Json;

use crate::support::assert_names;
use crate::support::function::Directory;

/// Runs the tool in a folder with nothing of this environment but `variables`.
fn run_in(
    directory: &Path,
    arguments: &[&str],
    input: &[u8],
    variables: &BTreeMap<String, String>,
) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .envs(variables)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads nothing may be gone already.
    drop(child.stdin.take().unwrap().write_all(input));
    child.wait_with_output().unwrap()
}

fn run(arguments: &[&str], input: &[u8], variables: &BTreeMap<String, String>) -> Output {
    run_in(Path::new("."), arguments, input, variables)
}

/// Exit code, standard output and standard error.
fn result(arguments: &[&str], input: &str) -> (i32, String, String) {
    result_in(Path::new("."), arguments, input, &BTreeMap::new())
}

/// The same in a folder, with an environment.
pub(crate) fn result_in(
    directory: &Path,
    arguments: &[&str],
    input: &str,
    variables: &BTreeMap<String, String>,
) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = run_in(directory, arguments, input.as_bytes(), variables);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

pub(crate) const WORKER: &str = "\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: worker}
spec:
  scaleTargetRef: {name: worker, kind: Rollout, apiVersion: argoproj.io/v1alpha1}
  minReplicaCount: 2
  maxReplicaCount: 16
  triggers:
  - type: aws-sqs-queue
    metadata: {queueURL: orders, queueLength: '10', awsRegion: eu-west-1, identityOwner: operator}
";

#[test]
fn check_tells_what_would_be_scaled() {
    let (code, output, errors) = result(&["check", "-f", "-"], WORKER);
    let expected = "ok: default/worker: Rollout worker 2..16 by orders / 10 per replica, polled every 30 s\n\
                    -: 1 target, 0 refused, 0 other documents skipped\n";
    assert_eq!((code, output.as_str(), errors.as_str()), (0, expected, ""));
}

/// In a file it is easily forgotten, and pauses Outrigger instead of KEDA.
#[test]
fn check_tells_what_is_paused() {
    let paused = "metadata: {name: worker, annotations: {autoscaling.keda.sh/paused: 'true', autoscaling.keda.sh/paused-replicas: '3'}}";
    let (code, output, _) = result(
        &["check", "-f", "-"],
        &WORKER.replace("metadata: {name: worker}", paused),
    );
    assert_eq!(code, 0, "{output}");
    assert_names(
        &output,
        &["polled every 30 s, PAUSED by its annotation paused-replicas (3), paused\n"],
    );
}

#[test]
fn check_tells_triggers_of_all_kinds() {
    let all = format!(
        "{WORKER}  - type: cron\n    metadata: {{timezone: Asia/Tokyo, start: 0 8 * * 1-5, end: 0 20 * * 1-5, desiredReplicas: '10'}}\n  \
         - type: aws-cloudwatch\n    metadata: {{namespace: Shop, metricName: Carts, dimensionName: Shop, dimensionValue: eu, \
         targetMetricValue: '2.5', minMetricValue: '0', ignoreNullValues: 'false', awsRegion: eu-west-1, identityOwner: operator}}\n"
    );
    let (code, output, errors) = result(&["check", "-f", "-"], &all);
    let expected = "ok: default/worker: Rollout worker 2..16 by orders / 10 per replica, cron `0 8 * * 1-5` to `0 20 * * 1-5` \
                    (Asia/Tokyo) desiredReplicas 10, `Shop Carts Shop=eu` / 2.5 per replica, polled every 30 s\n\
                    -: 1 target, 0 refused, 0 other documents skipped\n";
    assert_eq!((code, output.as_str(), errors.as_str()), (0, expected, ""));
}

#[test]
fn check_counts_what_it_found() {
    let service = "---\napiVersion: v1\nkind: Service\n";
    let two = format!(
        "{WORKER}---\n{}{service}",
        WORKER.replace("name: worker", "name: other")
    );
    let (code, output, _) = result(&["check", "-f", "-"], &two);
    let last = output.lines().last();
    let expected = "-: 2 targets, 0 refused, 1 other document skipped";
    assert_eq!((code, last), (0, Some(expected)), "{output}");
}

/// As `status` finds them, but that a file needs no cluster.
#[test]
fn check_looks_where_the_function_would() {
    let directory = Directory::new();
    for (name, text) in [
        ("outrigger.yaml", WORKER.to_owned()),
        ("mine.yaml", WORKER.replace("worker", "mine")),
    ] {
        std::fs::write(directory.join(name), text).unwrap();
    }
    let check = |arguments: &[&str], config: Option<&str>| {
        let arguments = [&["check"], arguments].concat();
        let config = config.map(|config| ("OUTRIGGER_CONFIG".to_owned(), config.to_owned()));
        let variables = config.into_iter().collect();
        let (code, output, errors) = result_in(&directory.join(""), &arguments, "", &variables);
        (code, format!("{output}{errors}"))
    };
    for (arguments, config, file) in [
        (&[][..], None, "outrigger.yaml"),
        (&[], Some(""), "outrigger.yaml"),
        (&[], Some("file:mine.yaml"), "mine.yaml"),
        (&["-f", "mine.yaml"], Some("cluster:shop"), "mine.yaml"),
    ] {
        let (code, text) = check(arguments, config);
        assert_eq!(code, 0, "{text}");
        assert_names(&text, &[&format!("{file}: 1 target, 0 refused")]);
    }
    // Nothing says which cluster: the settings are asked, and no file instead.
    let (code, text) = check(&[], Some("cluster:shop"));
    assert_eq!(code, 1, "{text}");
    assert_names(&text, &["OUTRIGGER_CLUSTERS", "--cluster NAME"]);
    let (code, text) = check(&[], Some("s3://bucket"));
    assert_eq!(code, 1, "{text}");
    assert_names(&text, &["OUTRIGGER_CONFIG", "file:PATH or cluster:NS1,NS2"]);
    let options = ["--cluster", "prod", "--region", "eu-west-1"];
    let (code, text) = check(&options, None);
    assert_eq!(code, 1, "{text}");
    assert_names(
        &text,
        &[
            "are about clusters",
            "`outrigger.yaml`",
            "--config cluster:NS1,NS2",
        ],
    );
    let (code, text) = check(&["-f", "mine.yaml", "--cluster", "prod"], None);
    assert_eq!(code, 1, "{text}");
    assert_names(&text, &["--file", "cannot be used with", "--cluster"]);
}

/// A file obeys the least `pollingInterval` as a cluster does, and is told.
#[test]
fn check_says_where_a_polling_interval_is_raised() {
    let directory = Directory::new();
    let manifest = WORKER.replace("spec:\n", "spec:\n  pollingInterval: 1\n");
    std::fs::write(directory.join("outrigger.yaml"), manifest).unwrap();
    let check = |floor: &str| {
        let variable = ("OUTRIGGER_MIN_POLLING".to_owned(), floor.to_owned());
        let (code, output, errors) = result_in(
            &directory.join(""),
            &["check"],
            "",
            &[variable].into_iter().collect(),
        );
        (code, format!("{output}{errors}"))
    };
    let (code, text) = check("45");
    assert_eq!(code, 0, "{text}");
    assert_names(
        &text,
        &[
            "(default/worker): warning: spec.pollingInterval: 1 s is less than the function's owner lets count, and is raised to 45 s \
             (OUTRIGGER_MIN_POLLING)",
            "polled every 45 s",
        ],
    );
    let (code, text) = check("");
    assert_eq!(code, 0, "{text}");
    assert_names(&text, &["polled every 1 s"]);
    let (code, text) = check("1s");
    assert_eq!(code, 1, "{text}");
    assert_names(
        &text,
        &["OUTRIGGER_MIN_POLLING: found `1s`, allowed: seconds from 1"],
    );
}

/// What an object refers to may stand in another file, as it does in a chart.
#[test]
fn check_reads_several_files_as_one_stream() {
    let directory = Directory::new();
    let authentication = "apiVersion: keda.sh/v1alpha1\nkind: TriggerAuthentication\nmetadata: {name: reader}\n\
        spec: {podIdentity: {provider: aws, roleArn: 'arn:aws:iam::123456789012:role/reader'}}\n";
    let worker = WORKER.replace(
        "  - type: aws-sqs-queue\n",
        "  - type: aws-sqs-queue\n    authenticationRef: {name: reader}\n",
    );
    assert_ne!(worker, WORKER);
    for (name, text) in [
        ("worker.yaml", worker.as_str()),
        ("reader.yaml", authentication),
    ] {
        std::fs::write(directory.join(name), text).unwrap();
    }
    let check = |files: &[&str]| {
        let files = files.iter().flat_map(|file| ["-f", file]);
        let arguments: Vec<&str> = ["check"].into_iter().chain(files).collect();
        result_in(&directory.join(""), &arguments, "", &BTreeMap::new())
    };
    let (_, alone, _) = check(&["worker.yaml"]);
    assert_names(
        &alone,
        &["worker.yaml: document 1", "`reader` is not in this stream"],
    );
    for files in [
        ["worker.yaml", "reader.yaml"],
        ["reader.yaml", "worker.yaml"],
    ] {
        let (code, text, _) = check(&files);
        assert_eq!(code, 0, "{text}");
        assert!(!text.contains("`reader`"), "{text}");
        assert_names(
            &text,
            &[&format!("{}: 1 target, 0 refused", files.join(", "))],
        );
    }
}

#[test]
fn check_tells_every_mistake_and_goes_on() {
    let bad = WORKER
        .replace("metadata: {name: worker}", "metadata: {name: bad}")
        .replace("minReplicaCount: 2", "minReplicaCount: 20")
        .replace("queueLength: '10'", "queueLength: ten");
    let (code, output, _) = result(&["check", "-f", "-"], &format!("{bad}---\n{WORKER}"));
    assert_eq!(code, 1);
    for wanted in [
        "error: -: document 1, line 6, column 20 (default/bad): spec.minReplicaCount: found `20`, allowed: at most maxReplicaCount",
        "error: -: document 1, line 10, column 47 (default/bad): spec.triggers[0].metadata.queueLength: found `ten`",
        "ok: default/worker: Rollout worker 2..16",
        "-: 1 target, 1 refused",
    ] {
        assert!(output.contains(wanted), "{wanted}\n{output}");
    }
    let (code, output, _) = result(&["check", "-f", "-"], "kind: Service\napiVersion: v1\n");
    assert_eq!(code, 1);
    assert_names(
        &output,
        &["error: no ScaledObject (keda.sh/v1alpha1) in what was given, which has: `Service`\n"],
    );
    let (code, _, errors) = result(&["check", "-f", "/nowhere/x.yaml"], "");
    assert_eq!(code, 1);
    assert!(
        errors.starts_with("error: could not read `/nowhere/x.yaml`: "),
        "{errors}"
    );
}

#[test]
fn decide_prints_its_contract() {
    let (code, output, errors) = result(&["decide", "--schema"], "");
    assert_eq!((code, errors.as_str()), (0, ""));
    let schema: Json = serde_json::from_str(&output).unwrap();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    for contract in ["record", "decision", "state"] {
        assert_eq!(schema["$defs"][contract]["properties"]["v"]["const"], 1);
    }
    // It decides nothing, so there is nothing to read.
    let (code, _, errors) = result(&["decide", "--schema", "-f", "-"], "");
    assert_eq!(code, 1, "{errors}");
}

#[test]
fn decide_tells_what_is_wrong_with_its_input() {
    for (input, wanted) in [
        ("", "is not a record of a decision"),
        ("not json", "is not a record of a decision"),
        ("[]", "found a list, allowed: a mapping"),
        ("{\"record\":3}", "record: found `3`, allowed: a mapping"),
        ("{\"v\":1,\"v\":1}", "v"),
    ] {
        let (code, output, errors) = result(&["decide"], input);
        assert_eq!((code, output.as_str()), (1, ""), "{input}: {errors}");
        assert!(errors.contains(wanted), "{input}: {errors}");
        assert!(errors.contains("\nhint: "), "{input}: {errors}");
    }
    // A warning spoils nothing, so it is not told as a mistake.
    let record = r#"{"v":1,"now":"2026-11-23T00:00:00Z","scaledObject":{"metadata":{"name":"worker"},"spec":{"scaleTargetRef":{"name":"worker"},
        "triggers":[{"type":"aws-sqs-queue","metadata":{"queueURL":"orders","awsRegion":"eu-west-1"}}]}},"workload":{"replicas":2},"readings":[]}"#;
    let (_, _, errors) = result(&["decide"], record);
    assert_eq!(
        errors.lines().take(2).collect::<Vec<_>>(),
        [
            "error: standard input is not a record of a decision:",
            "  readings: found 0 readings, allowed: 1, one a trigger"
        ]
    );
    let (code, _, errors) = result(&["decide", "-f", "/no/such/file"], "");
    assert_eq!(code, 1);
    assert!(errors.contains("/no/such/file"), "{errors}");
}

#[test]
fn decide_replays_a_record() {
    let record = r#"{"v":1,"now":"2026-11-23T00:00:00Z","scaledObject":{"apiVersion":"keda.sh/v1alpha1","kind":"ScaledObject",
        "metadata":{"name":"worker"},"spec":{"scaleTargetRef":{"name":"worker"},"maxReplicaCount":16,"minReplicaCount":2,
        "triggers":[{"type":"aws-sqs-queue","metadata":{"queueURL":"orders","queueLength":"10","awsRegion":"eu-west-1"}}]}},
        "workload":{"replicas":2},"readings":[{"visible":60,"inFlight":3,"delayed":0}]}"#;
    let (code, output, errors) = result(&["decide"], record);
    assert_eq!((code, errors.as_str()), (0, ""));
    let decision: Json = serde_json::from_str(&output).unwrap();
    let sentence = "worker 2 → 7: 63 messages (60 visible + 3 in flight) / 10 per replica; was limited by nothing";
    assert_eq!(
        (&decision["to"], &decision["explanation"]),
        (&7.into(), &sentence.into())
    );
    assert_eq!(result(&["decide"], record).1, output);
    let (code, _, errors) = result(&["decide"], "{\"v\":1}");
    assert_eq!(code, 1);
    assert!(
        errors.contains("readings: missing") && errors.contains("hint: "),
        "{errors}"
    );
}

#[tokio::test]
async fn token_is_one_that_the_authenticator_takes() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let variables = sandbox.environment();
    let output = run(&["token", "--cluster", "demo"], b"", &variables);
    assert!(output.status.success(), "{output:?}");
    let credential: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(credential["kind"], "ExecCredential");
    assert_eq!(
        credential["apiVersion"],
        "client.authentication.k8s.io/v1beta1"
    );
    let token = credential["status"]["token"].as_str().unwrap();
    let expires: jiff::Timestamp = credential["status"]["expirationTimestamp"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let minted = expires - jiff::SignedDuration::from_mins(14);
    let url = check(token, "ap-northeast-1", minted).unwrap();
    assert_eq!(url.host, "sts.ap-northeast-1.amazonaws.com");

    let arn = "arn:aws:eks:eu-central-1:123456789012:cluster/demo";
    let output = run(&["token", "--cluster", arn], b"", &variables);
    assert!(output.status.success(), "{output:?}");
    let credential: Json = serde_json::from_slice(&output.stdout).unwrap();
    let token = credential["status"]["token"].as_str().unwrap();
    let url = check(token, "eu-central-1", minted).unwrap();
    assert_eq!(url.host, "sts.eu-central-1.amazonaws.com");
    for (arguments, wanted) in [
        (
            ["--cluster", "arn:aws:eks:eu-central-1:12:cluster/demo"].as_slice(),
            "found the account `12`",
        ),
        (
            &["--cluster", "arn:aws:eks:eu-central-1:123456789012:demo"],
            "allowed: the name or ARN of an EKS cluster",
        ),
        (
            &["--cluster", arn, "--region", "eu-west-1"],
            "the cluster's ARN is of `eu-central-1`",
        ),
    ] {
        let arguments = [&["token"], arguments].concat();
        let output = run(&arguments, b"", &variables);
        assert_eq!(output.status.code(), Some(1));
        assert_names(
            &String::from_utf8(output.stderr).unwrap(),
            &[wanted, "hint: "],
        );
    }
}

#[test]
fn token_says_what_is_missing() {
    let (code, _, errors) = result(&["token"], "");
    assert_eq!(code, 1);
    assert!(errors.contains("--cluster <NAME|ARN>"), "{errors}");
    let (code, _, errors) = result(&["token", "--cluster", "demo"], "");
    assert_eq!(
        (code, errors.as_str()),
        (
            1,
            "error: no region for the cluster\nhint: give --region, or --cluster with its ARN, or set AWS_REGION\n"
        )
    );
    let (code, _, errors) = result(&["token", "--cluster", "demo", "--role-arn", "admin"], "");
    assert_eq!(code, 1);
    assert!(
        errors.contains("`admin` is not the ARN of an IAM role") && errors.contains("hint: "),
        "{errors}"
    );
}

#[test]
fn help_is_no_error_and_a_wrong_word_is() {
    assert_eq!(result(&["--help"], "").0, 0);
    assert_eq!(result(&["--version"], "").0, 0);
    let (code, output, errors) = result(&["chek"], "");
    assert_eq!((code, output.as_str()), (1, ""));
    assert!(errors.contains("'check'"), "{errors}");
}
