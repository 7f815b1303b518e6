//! The package as Lambda starts it: unpacked into a folder that cannot be written to, on a system where only `/tmp` can, with
//! the variables that Lambda sets and no others.

use std::path::Path;
use std::process::Command;

use outrigger::sandbox::Sandbox;
use serde_json::json;

use super::assets::{Assets, skip, tell};
use super::lambda::{from_environment, packed, packed_from};
use crate::process::events::{EVENTS, assert_does, polled_once};
use crate::support::function::{Directory, Function};
use crate::support::{WORKER, sandbox};

/// What Lambda sets for `provided.al2023`, beside the credentials and what [`Function`] sets itself. There is no `HOME`.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>
const OF_LAMBDA: [(&str, &str); 14] = [
    ("_HANDLER", "bootstrap"),
    ("LAMBDA_TASK_ROOT", "/mnt"),
    ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
    ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
    ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/outrigger"),
    (
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "2026/11/23/[3]0123456789abcdef0123456789abcdef",
    ),
    ("AWS_DEFAULT_REGION", "ap-northeast-1"),
    ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"),
    ("AWS_XRAY_DAEMON_ADDRESS", "169.254.79.129:2000"),
    ("_AWS_XRAY_DAEMON_ADDRESS", "169.254.79.129"),
    ("LANG", "en_US.UTF-8"),
    ("TZ", ":UTC"),
    ("PATH", "/usr/local/bin:/usr/bin/:/bin:/opt/bin"),
    (
        "LD_LIBRARY_PATH",
        "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
    ),
];

/// Puts a package into a folder, with the modes that it says.
const UNPACK: &str = r"
import os, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as package:
    for entry in package.infolist():
        os.chmod(package.extract(entry, sys.argv[2]), entry.external_attr >> 16 & 0o777 | 0o400)
";

/// A mount namespace of our own: the package at `/mnt`, a fresh `/tmp`, and everything else read-only. It convinces itself.
const MOUNTED: &str = r#"
set -e
mount --bind "$1" /mnt
mount -o remount,bind,ro /mnt
mount -t tmpfs tmpfs /tmp
mount -o remount,bind,ro /
cd /mnt
touch /tmp/probe
if touch probe || touch /var/probe || touch bootstrap; then exit 3; fi 2>/dev/null
shift
exec "$@" ./bootstrap
"#;

/// As somebody who owns nothing: the folder is not writable to anybody else.
const PERMITTED: &str = r#"
set -e
cd "$1"
if touch probe || touch bootstrap; then exit 3; fi 2>/dev/null
shift
exec "$@" ./bootstrap
"#;

/// The way to confine a program that this machine has: a name, a program and its arguments.
fn way() -> (&'static str, Vec<&'static str>) {
    let works = |arguments: &[&str]| {
        let tried = Command::new(arguments[0]).args(&arguments[1..]).output();
        tried.is_ok_and(|output| output.status.success())
    };
    let namespace = ["unshare", "--user", "--map-root-user", "--mount"];
    if works(&[&namespace[..], &["mount", "-t", "tmpfs", "tmpfs", "/tmp"]].concat()) {
        let way = [&namespace[..], &["sh", "-c", MOUNTED, "sh"]].concat();
        return ("by a mount namespace", way);
    }
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let shell = ["sh", "-c", PERMITTED, "sh"];
    if works(&[&nobody[..], &["true"]].concat()) {
        return ("by another user", [&nobody[..], &shell].concat());
    }
    ("by the permissions of the folder", shell.to_vec())
}

/// What runs a program for arm64 on another machine, with the C library that it was linked with.
const EMULATOR: [&str; 3] = ["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"];

/// Starts the function of a package as Lambda would, by an emulator or by none.
async fn start(assets: &Assets, package: &[u8], emulator: &[&str], sandbox: &Sandbox) -> Function {
    let directory = Directory::new();
    let [file, task] = ["package", "task"].map(|name| directory.join(name));
    std::fs::write(&file, package).unwrap();
    let unpacked = Command::new(assets.path("python/bin/python"))
        .args(["-c", UNPACK])
        .args([&file, &task])
        .status();
    assert!(unpacked.unwrap().success());
    forbid_writing(&task);
    let (_, mut command) = way();
    let path = task.display().to_string();
    command.push(&path);
    command.extend(emulator);
    Function::start_by(&command, directory, sandbox, &OF_LAMBDA).await
}

#[tokio::test]
async fn it_runs_where_nothing_but_tmp_can_be_written() {
    let Some(assets) = Assets::find(&["python/bin/python"]) else {
        return;
    };
    tell("confined", way().0);
    let sandbox = sandbox().await;
    let function = start(&assets, &packed(&assets, WORKER), &[], &sandbox).await;
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["effect"], "scaled", "{answer}");
    let written = sandbox.kubernetes().scale_writes("default", "worker");
    assert_eq!(written, [(2, 7)]);
    let lines = function.new_lines();
    let summary = lines.iter().find_map(|line| line.get("summary")).unwrap();
    assert_eq!(summary["reasons"], json!({"QueueDepth": 1}));
}

/// Requests, TLS and tokens are those of the architecture too: its cryptography is written in assembler.
#[tokio::test]
async fn every_event_on_arm64() {
    let Some(assets) = Assets::find(&["python/bin/python"]) else {
        return;
    };
    let Some(made) = from_environment("OUTRIGGER_ARM64_PACKAGE") else {
        skip(
            "set OUTRIGGER_ARM64_PACKAGE to a package for arm64, as `.ci/run arm64` makes one of what tests/arm64/build prints",
        );
        return;
    };
    let package = packed_from(&assets, made, &polled_once());
    for (file, expected) in EVENTS {
        let sandbox = sandbox().await;
        let function = start(&assets, &package, &EMULATOR, &sandbox).await;
        assert_does(file, expected, &sandbox, &function).await;
    }
}

fn forbid_writing(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let read_only = std::fs::Permissions::from_mode(0o555);
    std::fs::set_permissions(folder, read_only).unwrap();
}
