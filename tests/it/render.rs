//! `outrigger render` as a person runs it, and what it renders as the function needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use outrigger::sandbox::{Sandbox, SandboxOptions, Service};
use serde_json::Value as Json;

use crate::cli::{WORKER, result_in};
use crate::contract::{full_cycle, needed, rights};
use crate::support::function::{Directory, Function};
use crate::support::{actions, assert_names, bare, furnish};

const HEADER: &str =
    "# Rendered by outrigger. Do not edit: change the ScaledObjects, and render again.\n";
const CLUSTER: [&str; 4] = ["--cluster", "prod", "--region", "eu-west-1"];

/// Exit code, standard output and standard error of `outrigger render` with some arguments more, in a folder.
fn render(directory: &Directory, arguments: &[&str], input: &str) -> (i32, String, String) {
    let arguments = [&["render"], arguments, &CLUSTER].concat();
    result_in(&directory.join(""), &arguments, input, &BTreeMap::new())
}

/// Every file below a folder, by path.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(relative) = folders.pop() {
        for entry in std::fs::read_dir(folder.join(&relative)).unwrap() {
            let entry = entry.unwrap();
            let path = relative.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                found.insert(path.to_str().unwrap().to_owned(), text);
            }
        }
    }
    found
}

#[test]
fn the_life_of_a_folder() {
    let directory = Directory::new();
    let run = |arguments: &[&str], input: &str| {
        let arguments = [&["-f", "-", "-d", "out"], arguments].concat();
        let (code, output, errors) = render(&directory, &arguments, input);
        // What it costs, and what the package must hold.
        let notes: Vec<&str> = errors.lines().collect();
        assert_eq!(notes.len(), 2, "{errors}");
        assert!(notes[0].starts_with("note: costs about $"), "{errors}");
        assert!(
            notes[1].contains("must hold the same objects as standard input"),
            "{errors}"
        );
        (code, output)
    };
    let besides = "not in these files: the objects themselves, such as a changed maxReplicaCount or pollingInterval, are in outrigger.yaml \
                   of the package; after a change build and deploy the function again\n";
    let folder = directory.join("out");
    let two = format!(
        "{WORKER}---\n{}",
        WORKER.replace("{name: worker}", "{name: worker, namespace: shop}")
    );
    let missing = "missing: access.yaml\nmissing: function.env\nmissing: kubernetes/prod/default.yaml\nmissing: kubernetes/prod/shop.yaml\n\
                   missing: template.yaml\nmissing: wiring.yaml\n\
                   out: 6 files differ from what would be rendered; render them again without --check\n";
    let missing = format!("{missing}{besides}");
    assert_eq!(run(&["--check"], &two), (1, missing));
    assert!(!folder.exists());

    let wrote = "wrote access.yaml\nwrote function.env\nwrote kubernetes/prod/default.yaml\nwrote kubernetes/prod/shop.yaml\nwrote template.yaml\n\
                 wrote wiring.yaml\nout: 6 files, 0 of them as they were\n";
    assert_eq!(run(&[], &two), (0, wrote.to_owned()));
    let before = files(&folder);
    assert_eq!(before.len(), 6);
    let header = format!(
        "{HEADER}#   outrigger render -f - --cluster prod --region eu-west-1 --output-dir out\n"
    );
    assert!(before.values().all(|text| text.starts_with(&header)));
    assert_eq!(
        run(&[], &two),
        (0, "out: 6 files, 6 of them as they were\n".to_owned())
    );
    assert_eq!(
        run(&["--check"], &two),
        (0, format!("out: 6 files, all up to date\n{besides}"))
    );
    // That is in the package, and in none of the files.
    let more = two.replace(
        "maxReplicaCount: 16",
        "maxReplicaCount: 77\n  pollingInterval: 45",
    );
    assert_ne!(more, two);
    let (code, output) = run(&["--check"], &more);
    assert_eq!(code, 0, "{output}");
    assert!(output.ends_with(besides), "{output}");

    // Another queue, one namespace fewer, a file that somebody else put there.
    std::fs::write(folder.join("mine.yaml"), "a: 1\n").unwrap();
    let changed = WORKER.replace("queueURL: orders", "queueURL: parcels");
    let (code, output) = run(&["--check"], &changed);
    assert_eq!(code, 1);
    assert_names(
        &output,
        &[
            "stale: access.yaml\n@@ line ",
            "-            - !Sub arn:aws:sqs:eu-west-1:${AWS::AccountId}:orders\n",
            "+            - !Sub arn:aws:sqs:eu-west-1:${AWS::AccountId}:parcels\n",
            "stale: template.yaml\n",
            "extra: kubernetes/prod/shop.yaml: no ScaledObject asks for it\n",
            "out: 4 files differ",
        ],
    );
    assert!(!output.contains("mine.yaml"));
    let expected = "wrote access.yaml\nwrote template.yaml\nwrote wiring.yaml\n\
                    removed kubernetes/prod/shop.yaml, which no ScaledObject asks for any more\n\
                    out: 5 files, 2 of them as they were\n";
    assert_eq!(run(&[], &changed), (0, expected.to_owned()));
    let after: Vec<String> = files(&folder).into_keys().collect();
    let expected = [
        "access.yaml",
        "function.env",
        "kubernetes/prod/default.yaml",
        "mine.yaml",
        "template.yaml",
        "wiring.yaml",
    ];
    assert_eq!(after, expected);
}

#[test]
fn what_was_not_rendered_is_not_overwritten() {
    let directory = Directory::new();
    let folder = directory.join("infra");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("template.yaml"), "mine: true\n").unwrap();
    let arguments = ["-f", "-", "--output-dir", "infra"];
    let (code, output, errors) = render(&directory, &arguments, WORKER);
    let expected = "error: in `infra` these were not rendered, so nothing is written: template.yaml\n\
                    hint: give another folder, or overwrite them with --force\n";
    assert_eq!((code, output.as_str()), (1, ""));
    assert!(errors.ends_with(expected), "{errors}");
    assert_eq!(files(&folder).len(), 1);
    let (code, output, _) = render(&directory, &[&arguments[..], &["--check"]].concat(), WORKER);
    assert_eq!(code, 1);
    assert_names(
        &output,
        &["stale: template.yaml is there, and was not rendered\n"],
    );
    let (code, ..) = render(&directory, &[&arguments[..], &["--force"]].concat(), WORKER);
    assert_eq!(code, 0);
    assert!(files(&folder)["template.yaml"].starts_with(HEADER));
}

#[test]
fn what_is_refused_writes_nothing() {
    let directory = Directory::new();
    let bad = WORKER
        .replace("queueLength: '10'", "queueLength: ten")
        .replace("name: worker}\nspec", "name: bad}\nspec");
    let both = format!("{WORKER}---\n{bad}");
    let (code, output, errors) = render(&directory, &["-f", "-", "-d", "out"], &both);
    assert_eq!((code, output.as_str()), (1, ""));
    assert_names(
        &errors,
        &[
            "error: -: document 2, line 2",
            "(default/bad)",
            "found `ten`",
        ],
    );
    for (input, arguments, wanted) in [
        ("", [].as_slice(), "no ScaledObject (keda.sh/v1alpha1)"),
        ("}{", &[], "error: -: document 1"),
        ("\u{0}", &[], "error: "),
        (
            WORKER,
            &["--window", "90"],
            "OUTRIGGER_WINDOW: found `90`, allowed: whole minutes",
        ),
        (
            WORKER,
            &["--account", "12"],
            "--account: found `12`, allowed: the 12 digits",
        ),
        (
            WORKER,
            &["--cluster", "arn:aws:eks:eu-west-1:12:cluster/east"],
            "found the account `12` in `arn:aws:eks:eu-west-1:12:cluster/east`, allowed: the 12 digits",
        ),
        (
            "apiVersion: v1\nkind: Service\n---\napiVersion: apps/v1\nkind: Deployment\n",
            &[],
            "no ScaledObject (keda.sh/v1alpha1) in what was given, which has: `Deployment`, `Service`",
        ),
        (
            WORKER,
            &["--resource", "oxen"],
            "--resource: found `oxen`, allowed: KIND.GROUP=RESOURCE",
        ),
        (
            WORKER,
            &["-f", "nowhere.yaml"],
            "could not read `nowhere.yaml`",
        ),
    ] {
        let arguments = [&["-f", "-", "-d", "out"], arguments].concat();
        let (code, output, errors) = render(&directory, &arguments, input);
        assert_eq!((code, output.as_str()), (1, ""), "{arguments:?}");
        assert_names(&errors, &[wanted]);
    }
    assert!(!directory.join("out").exists());
    let bare = ["render", "-f", "-", "--cluster", "prod"];
    let (code, _, errors) = result_in(&directory.join(""), &bare, WORKER, &BTreeMap::new());
    assert_eq!(code, 1);
    assert_names(&errors, &["no region for the cluster `prod`", "--region"]);
}

/// A `TriggerAuthentication` in a file beside its `ScaledObject`: a role to assume, in a stream of all that is rendered.
#[test]
fn several_files_are_one_stream_and_so_is_the_output() {
    let directory = Directory::new();
    let authentication = "apiVersion: keda.sh/v1alpha1\nkind: TriggerAuthentication\nmetadata: {name: team}\n\
                          spec: {podIdentity: {provider: aws, roleArn: 'arn:aws:iam::222222222222:role/reader', externalID: quite-private}}\n";
    let worker = WORKER.replace(
        "- type: aws-sqs-queue",
        "- type: aws-sqs-queue\n    authenticationRef: {name: team}",
    );
    std::fs::write(directory.join("worker.yaml"), &worker).unwrap();
    std::fs::write(directory.join("team.yaml"), authentication).unwrap();
    let both = ["-f", "worker.yaml", "-f", "team.yaml"];
    let (code, _, errors) = render(&directory, &both, "");
    assert_eq!(code, 1);
    assert_names(
        &errors,
        &["which account the function runs in", "--account ID"],
    );
    let both = [&both[..], &["--account", "111111111111"]].concat();
    let (code, output, errors) = render(&directory, &both, "");
    assert_eq!(code, 0, "{errors}");
    let paths: Vec<&str> = output
        .lines()
        .filter_map(|line| line.strip_prefix("# Source: "))
        .collect();
    let expected = [
        "access.yaml",
        "account-222222222222.yaml",
        "kubernetes/prod/default.yaml",
        "template.yaml",
        "wiring.yaml",
    ];
    assert_eq!(paths, expected);
    for part in output.split("---\n# Source: ") {
        let is_account = part.starts_with("account-222222222222.yaml");
        assert_eq!(part.contains("quite-private"), is_account, "{part}");
    }
    assert!(!errors.contains("quite-private"), "{errors}");
    let documents = outrigger::document::parse_yaml(output.as_bytes());
    // Role, RoleBinding and ConfigMap are one file.
    assert_eq!(documents.len(), expected.len() + 2);
    assert!(documents.iter().all(|document| document.root.is_ok()));

    // Nor does a stale one tell it.
    let arguments = [&both[..], &["-d", "out"]].concat();
    assert_eq!(render(&directory, &arguments, "").0, 0);
    std::fs::write(
        directory.join("team.yaml"),
        authentication.replace("quite-private", "more-private"),
    )
    .unwrap();
    let (code, output, _) = render(&directory, &[&arguments[..], &["--check"]].concat(), "");
    assert_eq!(code, 1);
    assert_names(&output, &["stale: account-222222222222.yaml"]);
    assert!(!output.contains("private"), "{output}");
}

#[test]
fn the_settings_of_the_function_count() {
    let directory = Directory::new();
    let variables = [
        (
            "OUTRIGGER_CLUSTERS",
            "arn:aws:eks:eu-west-1:123456789012:cluster/blue",
        ),
        ("OUTRIGGER_CONFIG", "file:mine.yaml"),
        ("OUTRIGGER_NAMESPACE", "shop"),
        ("OUTRIGGER_WINDOW", "120"),
        ("OUTRIGGER_MODE", "shadow"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    std::fs::write(directory.join("mine.yaml"), WORKER).unwrap();
    let arguments = ["render", "-d", "deploy/infra"];
    let (code, _, errors) = result_in(&directory.join(""), &arguments, "", &variables.into());
    assert_eq!(code, 0, "{errors}");
    let files = files(&directory.join("deploy/infra"));
    let template = &files["template.yaml"];
    assert_names(
        template,
        &[
            "#   OUTRIGGER_MODE=shadow outrigger render -f mine.yaml --cluster arn:aws:eks:eu-west-1:123456789012:cluster/blue \
             --region eu-west-1 --namespace shop --window 120 --output-dir deploy/infra\n",
            "CodeUri: \"../../target/lambda/outrigger-lambda/bootstrap.zip\"\n",
        ],
    );
    let role = &files["kubernetes/blue/shop.yaml"];
    assert!(!role.contains("rollouts/scale"), "{role}");
}

/// Variables and arguments.
type Given<'c> = (&'c [(&'c str, &'c str)], &'c [&'c str]);

/// The command of the header, run by a shell in an empty environment, renders the same bytes.
/// What a `pollingInterval` costs is what it costs where it counts.
#[test]
fn the_price_is_that_of_the_intervals_that_count() {
    let directory = Directory::new();
    let manifest = WORKER.replace("spec:\n", "spec:\n  pollingInterval: 1\n");
    let price = |floor: &str| {
        let variables = [("OUTRIGGER_MIN_POLLING".to_owned(), floor.to_owned())];
        let arguments = [&["render", "-f", "-", "-d", "out", "--force"], &CLUSTER[..]].concat();
        let variables = variables.into_iter().collect();
        let (code, _, errors) = result_in(&directory.join(""), &arguments, &manifest, &variables);
        assert_eq!(code, 0, "{errors}");
        let note = errors.lines().find(|line| line.contains("costs about"));
        let count = note.unwrap().split("SQS $").nth(1).unwrap();
        let count = count
            .split(['(', ' '])
            .find_map(|word| word.parse::<u64>().ok());
        let file = std::fs::read_to_string(directory.join("out/function.env")).unwrap();
        let line = format!("OUTRIGGER_MIN_POLLING=\"{floor}\"\n");
        assert!(file.contains(&line), "{file}");
        (
            count.unwrap(),
            errors.contains("is raised to 60 s (OUTRIGGER_MIN_POLLING)"),
        )
    };
    // 51 polls a minute, and one.
    assert_eq!(
        (price(""), price("60")),
        ((43_200 * 51, false), (43_200, true))
    );
}

#[test]
fn the_command_of_the_header_renders_the_same() {
    let cluster = "arn:aws:eks:eu-west-1:123456789012:cluster/blue";
    let role = "arn:aws:iam::123456789012:role/scaler";
    let authority = rcgen::generate_simple_self_signed(vec!["blue".to_owned()]).unwrap();
    let authority = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, authority.cert.pem());
    let in_cluster = [
        ("OUTRIGGER_CLUSTERS", cluster),
        ("OUTRIGGER_ROLES", role),
        (
            "OUTRIGGER_QUEUES",
            "arn:aws:sqs:eu-west-1:123456789012:all,blue/default=arn:aws:sqs:eu-west-1:123456789012:*",
        ),
        ("OUTRIGGER_EXPRESSIONS", "blue/shop,blue/default"),
        ("OUTRIGGER_MIN_POLLING", "45"),
        ("OUTRIGGER_MAX_METRIC_READS", "9"),
        ("OUTRIGGER_CONFIG", "file:unused.yaml"),
    ];
    let by_address = [
        ("OUTRIGGER_CLUSTERS", cluster),
        ("OUTRIGGER_CLUSTER_ENDPOINT", "https://10.0.0.1"),
        ("OUTRIGGER_CLUSTER_CA", authority.as_str()),
        ("OUTRIGGER_LOG", "all"),
        ("OUTRIGGER_SYNC", "30"),
        ("OUTRIGGER_WINDOW", "120"),
    ];
    let cases: [Given<'_>; 3] = [
        (
            &[
                ("OUTRIGGER_CLUSTERS", cluster),
                ("OUTRIGGER_METRICS", "totals"),
            ],
            &[],
        ),
        (&in_cluster, &["--config", "cluster:default,shop"]),
        (
            &by_address,
            &["--package", "a b.zip", "-d", "deploy/it's infra"],
        ),
    ];
    for (variables, arguments) in cases {
        let directory = Directory::new();
        std::fs::write(directory.join("worker.yaml"), WORKER).unwrap();
        let variables = variables.iter();
        let variables = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let given = ["render", "-f", "worker.yaml", "-d", "deploy"];
        let folder = arguments.iter().position(|argument| *argument == "-d");
        let folder = folder.map_or("deploy", |at| arguments[at + 1]);
        let given = if folder == "deploy" {
            &given[..]
        } else {
            &given[..3]
        };
        let given = [given, arguments].concat();
        let (code, _, errors) = result_in(&directory.join(""), &given, "", &variables.collect());
        assert_eq!(code, 0, "{errors}");
        let before = files(&directory.join(folder));
        std::fs::remove_dir_all(directory.join("deploy")).unwrap();
        let header = before["template.yaml"].lines().nth(1).unwrap();
        let command = header.strip_prefix("#   ").unwrap();
        let program = env!("CARGO_BIN_EXE_outrigger");
        let command = command.replacen("outrigger render", &format!("{program} render"), 1);
        let shell = std::process::Command::new("/bin/sh")
            .args(["-c", &command])
            .current_dir(directory.join(""))
            .env_clear()
            .output()
            .unwrap();
        assert!(shell.status.success(), "{command}: {shell:?}");
        assert_eq!(files(&directory.join(folder)), before, "{command}");
    }
}

/// What the function would refuse in a cluster, or never look at, has no rights rendered.
#[test]
fn objects_of_a_cluster_are_read_as_the_function_reads_them() {
    let directory = Directory::new();
    let reader = "arn:aws:iam::222222222222:role/reader";
    let authentication = format!(
        "apiVersion: keda.sh/v1alpha1\nkind: TriggerAuthentication\nmetadata: {{name: team, namespace: default}}\n\
         spec: {{podIdentity: {{provider: aws, roleArn: '{reader}'}}}}\n---\n"
    );
    let with_role = WORKER.replace(
        "- type: aws-sqs-queue",
        "- type: aws-sqs-queue\n    authenticationRef: {name: team}",
    );
    let with_role = authentication.clone() + &with_role;
    let annotated = WORKER.replace(
        "{name: worker}\nspec",
        "{name: worker, annotations: {outrigger.dev/cluster: prod}}\nspec",
    );
    let endpoint = WORKER.replace(
        "queueURL:",
        "awsEndpoint: 'https://sqs.example.com', queueURL:",
    );
    let config = ["-f", "-", "-d", "out", "--config"];
    for (input, namespaces, wanted) in [
        (
            WORKER,
            "cluster:shop",
            "metadata.namespace: found `default`, allowed: shop",
        ),
        (
            &with_role,
            "cluster:default",
            "a role that OUTRIGGER_ROLES of the function lists",
        ),
        (
            &annotated,
            "cluster:default",
            "an object in a cluster is about that cluster",
        ),
        (
            &endpoint,
            "cluster:default",
            "awsEndpoint: not allowed in a cluster",
        ),
    ] {
        let (code, output, errors) =
            render(&directory, &[&config[..], &[namespaces]].concat(), input);
        assert_eq!((code, output.as_str()), (1, ""), "{errors}");
        assert_names(&errors, &["(default/worker)", wanted]);
    }
    let two = [&config[..], &["cluster:default", "--cluster", "other"]].concat();
    let (code, _, errors) = render(&directory, &two, WORKER);
    assert_eq!(code, 1);
    assert_names(&errors, &["of which one it is", "one --cluster"]);
    let (code, _, errors) = render(&directory, &["--config", "cluster:shop"], "");
    assert_eq!(code, 1);
    assert_names(
        &errors,
        &["kubectl get scaledobjects,triggerauthentications -n shop -o yaml |"],
    );
    assert!(!directory.join("out").exists());

    let of_cluster = with_role
        .replace(
            "kind: TriggerAuthentication",
            "kind: ClusterTriggerAuthentication",
        )
        .replace("{name: team, namespace: default}", "{name: team}")
        .replace(
            "{name: team}\n    metadata",
            "{name: team, kind: ClusterTriggerAuthentication}\n    metadata",
        );
    let variables = [("OUTRIGGER_ROLES".to_owned(), reader.to_owned())];
    let account = ["cluster:default", "--account", "111111111111"];
    let arguments = [&["render"], &config[..], &account, &CLUSTER].concat();
    let (code, _, errors) = result_in(
        &directory.join(""),
        &arguments,
        &of_cluster,
        &variables.into(),
    );
    assert_eq!(code, 0, "{errors}");
    assert_names(
        &errors,
        &[
            "default/worker refers to a ClusterTriggerAuthentication",
            "ClusterRole",
        ],
    );
}

/// The function reads the one file of its package, or the cluster.
#[test]
fn what_the_package_must_hold_is_told() {
    let directory = Directory::new();
    let other = WORKER.replace("worker", "other");
    for (name, text) in [
        ("outrigger.yaml", WORKER),
        ("a.yaml", WORKER),
        ("b.yaml", &other),
    ] {
        std::fs::write(directory.join(name), text).unwrap();
    }
    let note = |arguments: &[&str], input: &str| {
        let (code, output, errors) =
            render(&directory, &[arguments, &["-d", "out"]].concat(), input);
        assert_eq!(code, 0, "{errors}{output}");
        let note = errors
            .lines()
            .find(|line| line.contains("must hold the same objects"));
        note.map(str::to_owned)
    };
    assert_eq!(note(&["-f", "outrigger.yaml"], ""), None);
    assert_eq!(note(&[], ""), None);
    let found = note(&["-f", "a.yaml", "-f", "b.yaml"], "").unwrap();
    assert_names(
        &found,
        &["`outrigger.yaml` of its package", "`a.yaml`, `b.yaml`"],
    );
    let found = note(&["-f", "outrigger.yaml", "-f", "-"], &other).unwrap();
    assert_names(&found, &["`outrigger.yaml`, standard input"]);
    let of_cluster = ["-f", "-", "--config", "cluster:default"];
    assert_eq!(note(&of_cluster, WORKER), None);
    let (code, output, _) = render(
        &directory,
        &[&of_cluster[..], &["-d", "out", "--check"]].concat(),
        WORKER,
    );
    assert_eq!(code, 0, "{output}");
    assert!(!output.contains("package"), "{output}");
}

#[test]
fn other_line_ends_are_no_difference() {
    let directory = Directory::new();
    let arguments = ["-f", "-", "-d", "out"];
    assert_eq!(render(&directory, &arguments, WORKER).0, 0);
    let folder = directory.join("out");
    for (path, text) in files(&folder) {
        std::fs::write(folder.join(path), text.replace('\n', "\r\n")).unwrap();
    }
    let (code, output, _) = render(&directory, &[&arguments[..], &["--check"]].concat(), WORKER);
    assert_eq!(code, 0, "{output}");
    assert!(
        output.starts_with("out: 5 files, all up to date\n"),
        "{output}"
    );
}

/// A whole chart in `outrigger.yaml` takes its Secrets into the package.
#[test]
fn a_secret_in_the_stream_is_warned_of() {
    let directory = Directory::new();
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {password: quite-private}\n---\n";
    let chart = format!("{secret}{WORKER}");
    for arguments in [["check", "-f", "-"].as_slice(), &["render", "-f", "-"]] {
        let cluster = if arguments[0] == "render" {
            &CLUSTER[..]
        } else {
            &[]
        };
        let arguments = [arguments, cluster].concat();
        let (code, output, errors) =
            result_in(&directory.join(""), &arguments, &chart, &BTreeMap::new());
        assert_eq!(code, 0, "{errors}");
        let told = output + &errors;
        assert_names(
            &told,
            &["document 1", "warning: a Secret is of no use here"],
        );
        assert!(!told.contains("quite-private"));
    }
}

/// What is rendered for a manifest in a cluster, by path.
pub(crate) fn rendered_files(manifest: &str, cluster: &str) -> BTreeMap<String, String> {
    let directory = Directory::new();
    let arguments = [
        "render",
        "-f",
        "-",
        "-d",
        "out",
        "--region",
        "ap-northeast-1",
    ];
    let arguments = [&arguments[..], &["--cluster", cluster]].concat();
    let (code, _, errors) = result_in(&directory.join(""), &arguments, manifest, &BTreeMap::new());
    assert_eq!(code, 0, "{errors}");
    files(&directory.join("out"))
}

/// The rendered Role, and what the rendered policy allows.
fn rendered(manifest: &str) -> (String, BTreeSet<(String, String)>) {
    let files = rendered_files(manifest, "demo");
    let kubernetes = &files["kubernetes/demo/default.yaml"];
    let (role, _) = kubernetes.split_once("---\n").unwrap();
    let access = outrigger::document::parse_yaml(files["access.yaml"].as_bytes());
    let access = access[0].root.as_ref().unwrap().to_json();
    let policy = &access["Resources"]["Role"]["Properties"]["Policies"][0]["PolicyDocument"];
    let mut allowed = BTreeSet::new();
    for statement in policy["Statement"].as_array().unwrap() {
        // The others are Lambda's, for log and failure queue.
        if let Json::Array(resources) = &statement["Resource"] {
            for resource in resources {
                let text = |value: &Json| value.as_str().unwrap().to_owned();
                allowed.insert((text(&statement["Action"]), text(resource)));
            }
        }
    }
    (role.to_owned(), allowed)
}

async fn cluster(rbac: String) -> Sandbox {
    let sandbox = bare(SandboxOptions {
        rbac,
        ..SandboxOptions::default()
    })
    .await;
    furnish(&sandbox);
    sandbox
}

/// The calls to AWS that need a right, as policies name them.
fn made(sandbox: &Sandbox) -> BTreeSet<(String, String)> {
    let mut made = BTreeSet::new();
    for (service, prefix) in [
        (Service::Sqs, "sqs"),
        (Service::Eks, "eks"),
        (Service::CloudWatch, "cloudwatch"),
    ] {
        for action in actions(sandbox, service) {
            let (action, name) = action.split_once(' ').unwrap_or((&action, ""));
            let place = "ap-northeast-1:123456789012";
            let resource = match prefix {
                "sqs" => format!("arn:aws:sqs:{place}:{name}"),
                "eks" => format!("arn:aws:eks:{place}:cluster/{name}"),
                _ => "*".to_owned(),
            };
            made.insert((format!("{prefix}:{action}"), resource));
        }
    }
    made
}

#[tokio::test]
async fn what_is_rendered_allows_exactly_the_calls_that_are_made() {
    let manifest = crate::support::WORKER;
    let (role, allowed) = rendered(manifest);
    let sandbox = cluster(role.clone()).await;
    assert!(full_cycle(&sandbox).await);
    let calls = actions(&sandbox, Service::Kubernetes);
    let names = |action: &String| {
        let right = needed(action);
        (right.group, right.resource, right.verb)
    };
    let calls: BTreeSet<_> = calls.iter().map(names).collect();
    let granted: BTreeSet<_> = rights(&role)
        .into_iter()
        .map(|right| (right.group, right.resource, right.verb))
        .collect();
    assert_eq!(calls, granted);
    assert_eq!(made(&sandbox), allowed);
}

/// The names in it count: the same function with another workload's rights gets nowhere.
#[tokio::test]
async fn the_rights_of_one_workload_are_not_those_of_another() {
    let other =
        crate::support::WORKER.replace("kind: Rollout, name: worker", "kind: Rollout, name: other");
    let (role, _) = rendered(&other);
    let sandbox = cluster(role).await;
    let function = Function::start(&sandbox, crate::support::WORKER, &[]).await;
    let (_, message) = function.error("{}").await;
    assert_names(&message, &["403", "rollouts.argoproj.io"]);
}
