//! The deployed program under `cargo lambda watch`, invoked with every file of `events/` by `cargo lambda invoke`, against the
//! real API server.
//!
//! Its deadline is a constant of long ago, which must count as none. It builds with cargo, for which everything is there already.
//! <https://www.cargo-lambda.info/commands/watch.html>

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value as Json;
use tokio::process::Command;

use super::assets::Assets;
use super::daemon::{Daemon, free_ports};
use super::lab::Lab;
use super::world::{CLUSTER, world};
use crate::process::events::{DIRECTORY, EVENTS, Expected};
use crate::support::assert_names;
use crate::support::function::Directory;

/// What cargo needs of the environment to find its toolchain and what it has built.
const OF_CARGO: [&str; 7] = [
    "PATH",
    "HOME",
    "CARGO_HOME",
    "CARGO_TARGET_DIR",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "RUSTFLAGS",
];

/// `cargo lambda watch` with our program.
struct Watch {
    cargo_lambda: PathBuf,
    directory: Directory,
    port: u16,
    _daemon: Daemon,
}

impl Watch {
    fn start(lab: &Lab, assets: &Assets) -> Self {
        let directory = Directory::new();
        // As long as the window, so that a schedule polls once.
        let manifest = lab
            .manifest()
            .replace("minReplicaCount", "pollingInterval: 60\n  minReplicaCount");
        let path = directory.join("outrigger.yaml");
        std::fs::write(&path, manifest).unwrap();
        let config = format!("file:{}", path.display());
        let (of_cargo, of_sandbox) = (of_cargo(), lab.sandbox.environment());
        let mut environment: Vec<(&str, &str)> = of_cargo
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        environment.extend(
            of_sandbox
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        environment.extend([
            ("CARGO_NET_OFFLINE", "true"),
            ("RUSTUP_DIST_SERVER", "http://127.0.0.1:9"),
            ("AWS_ACCESS_KEY_ID", &lab.keys.access_key),
            ("AWS_SECRET_ACCESS_KEY", &lab.keys.secret),
            ("AWS_SESSION_TOKEN", &lab.keys.token),
            ("OUTRIGGER_CLUSTERS", CLUSTER),
            ("OUTRIGGER_CONFIG", &config),
        ]);
        let cargo_lambda = assets.path("python/bin/cargo-lambda");
        let [port] = free_ports();
        let arguments = [
            // Where cargo's own configuration is.
            "--chdir",
            env!("CARGO_MANIFEST_DIR"),
            &cargo_lambda.display().to_string(),
            "lambda",
            "watch",
            "--ignore-changes",
            "--invoke-address",
            "127.0.0.1",
            "--invoke-port",
            &port.to_string(),
            "--bin",
            "outrigger-lambda",
            "--locked",
        ]
        .map(str::to_owned);
        let mut daemon = Daemon::start(
            "cargo lambda watch",
            &lab.world.root().join("watch"),
            Path::new("/usr/bin/env"),
            &arguments,
            &environment,
        );
        daemon.wait_until("listening", || {
            let listens = std::net::TcpStream::connect(("127.0.0.1", port));
            listens.map(drop).map_err(|error| error.to_string())
        });
        Self {
            cargo_lambda,
            directory,
            port,
            _daemon: daemon,
        }
    }

    /// What `cargo lambda invoke` prints for a file: the answer, or the error.
    async fn invoke(&self, file: &str) -> Result<Json, String> {
        let output = Command::new(&self.cargo_lambda)
            .args(["lambda", "invoke", "outrigger-lambda"])
            .args(["--invoke-address", "127.0.0.1"])
            .args(["--invoke-port", &self.port.to_string()])
            .args(["--data-file", &format!("{DIRECTORY}/{file}")])
            .args(["--output-format", "json"])
            .env_clear()
            .env("HOME", self.directory.join(""))
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let [out, error] = [output.stdout, output.stderr].map(|bytes| {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            // It breaks long lines, and draws a line beside them.
            text.replace(['│', '×'], " ")
        });
        if output.status.success() {
            let answer = serde_json::from_str(&out);
            return Ok(answer.unwrap_or_else(|_| panic!("{file}: no JSON: {out}\n{error}")));
        }
        let words: Vec<&str> = error.split_whitespace().collect();
        Err(words.join(" "))
    }
}

pub(super) fn of_cargo() -> Vec<(&'static str, String)> {
    #[expect(
        clippy::disallowed_methods,
        reason = "where cargo is is known to the environment alone"
    )]
    let find = |name| Some((name, std::env::var(name).ok()?));
    OF_CARGO.into_iter().filter_map(find).collect()
}

#[tokio::test]
async fn every_event_as_cargo_lambda_delivers_it() {
    let Some(world) = world() else { return };
    let Some(assets) = Assets::find(&["python/bin/cargo-lambda"]) else {
        return;
    };
    // The events name it.
    let lab = Lab::in_default(world).await;
    let watch = Watch::start(&lab, &assets);
    for (file, expected) in EVENTS {
        lab.set_replicas(2).await;
        lab.forget().await;
        let before = lab.requests().len();
        let answer = watch.invoke(file).await;
        let requests = lab.requests().split_off(before);
        match expected {
            Expected::Scaled => {
                let answer = answer.unwrap_or_else(|error| panic!("{file}: {error}"));
                let target = &answer["targets"][0];
                assert_eq!(target["effect"], "scaled", "{file}: {answer}");
                assert_eq!(lab.replicas().await, Some(7), "{file}");
            }
            Expected::NobodyReads => {
                let answer = answer.unwrap_or_else(|error| panic!("{file}: {error}"));
                let note = answer["note"].as_str().unwrap();
                assert_names(note, &["no target reads the queue `invoices-archive`"]);
                assert_eq!(requests, [], "{file}");
            }
            Expected::Unknown(name) => {
                let error = answer.unwrap_err();
                assert_names(&error, &["Outrigger.TargetsFailed", "1 failed", name]);
                assert_eq!(lab.replicas().await, Some(7), "{file}");
            }
            Expected::DryRun => {
                let answer = answer.unwrap_or_else(|error| panic!("{file}: {error}"));
                assert_eq!(answer["targets"][0]["effect"], "dryRun", "{answer}");
                assert!(!requests.is_empty());
                assert!(requests.iter().all(|(verb, ..)| verb != "patch"));
                assert_eq!(lab.replicas().await, Some(2), "{file}");
            }
        }
    }
}
