//! The command line tool: what a person runs, and what tests and pipelines read.
//!
//! Exit codes: 0 done, 1 the input or the world is wrong, 2 this program is.

mod access;
mod check;
mod decide;
mod demo;
mod render;
mod status;
mod token;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::manifest::{Configuration, read_files};

/// Scales Argo Rollouts on EKS by SQS queue depth from outside the cluster, with the KEDA `ScaledObject` YAML you have.
#[derive(Debug, Parser)]
#[command(name = "outrigger", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch a queue fill and a Rollout scale: local AWS and Kubernetes endpoints, the real function, no account.
    Demo(demo::Arguments),
    /// Show every target as the function would see it now: queue, replicas, wanted count, last change, reason.
    Status(status::Arguments),
    /// Check ScaledObject YAML: every mistake with its place, and what would be scaled.
    Check(check::Arguments),
    /// Write the infrastructure for exactly the targets of ScaledObject YAML: CloudFormation templates, IAM policies, RBAC.
    Render(render::Arguments),
    /// Decide again from a record of the function's log: the record in, the decision out.
    Decide(decide::Arguments),
    /// Print a token for an EKS cluster as a client-go ExecCredential, as `aws eks get-token` does.
    Token(token::Arguments),
    /// The Lambda process of the demo, on a clock that runs faster.
    #[command(hide = true)]
    DemoFunction(demo::FunctionArguments),
}

/// Why a command failed, and whose it is.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The input or the world: exit code 1.
    User(anyhow::Error),
    /// This program: exit code 2.
    Internal(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::User(error)
    }
}

/// An error with the next thing to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Hinted {
    message: String,
    hint: String,
}

pub(crate) fn hinted(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    let (message, hint) = (message.into(), hint.into());
    Hinted { message, hint }.into()
}

/// Runs one command.
pub fn run(
    arguments: impl Iterator<Item = OsString>,
    environment: BTreeMap<String, String>,
) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors. A message that cannot be printed has no reader.
            let _unprinted = error.print().is_err();
            return if error.use_stderr() {
                ExitCode::from(1)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let result = match arguments.command {
        Command::Demo(arguments) => block_on(demo::run(&arguments)),
        Command::DemoFunction(arguments) => block_on(demo::function(arguments, environment)),
        Command::Status(arguments) => block_on(status::run(arguments, &environment)),
        Command::Check(arguments) => block_on(check::run(&arguments, &environment)),
        Command::Render(arguments) => render::run(&arguments, &environment),
        Command::Decide(arguments) => decide::run(&arguments),
        Command::Token(arguments) => block_on(token::run(arguments, &environment)),
    };
    match result {
        Ok(code) => code,
        Err(failure) => report(&failure),
    }
}

fn block_on(work: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .context("could not start the async runtime")
        .map_err(Failure::Internal)?
        .block_on(work)
}

fn report(failure: &Failure) -> ExitCode {
    let (error, code) = match failure {
        Failure::User(error) => (error, 1),
        Failure::Internal(error) => (error, 2),
    };
    print_errors(&told(error));
    ExitCode::from(code)
}

/// The lines of an error.
pub(crate) fn told(error: &anyhow::Error) -> String {
    match error.downcast_ref() {
        Some(Hinted { hint, .. }) => format!("error: {error:#}\nhint: {hint}\n"),
        None => format!("error: {error:#}\n"),
    }
}

/// Prints to standard error. What cannot be printed has no reader.
pub(crate) fn print_errors(text: &str) {
    let _unprinted = std::io::stderr().write_all(text.as_bytes()).is_err();
}

/// Prints text. A reader that has closed the pipe has seen enough.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_while_read(text).map(|_| ())
}

/// Prints text, and tells whether anybody still reads.
pub(crate) fn print_while_read(text: &str) -> Result<bool, Failure> {
    let mut output = std::io::stdout().lock();
    match output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
    {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::User(
            anyhow::Error::new(error).context("could not write to standard output"),
        )),
    }
}

/// Until Ctrl-C or a request to end.
pub(crate) async fn interrupted() {
    let mut terminated =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok();
    let terminated = async {
        match &mut terminated {
            Some(signal) => {
                signal.recv().await;
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ended = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

/// Reads files with ScaledObjects as one stream; `clusters` are those that objects may name, none meaning any.
pub(crate) fn read_manifests(
    paths: &[PathBuf],
    namespace: &str,
    clusters: &[String],
    min_polling_seconds: Option<NonZeroU32>,
) -> anyhow::Result<Configuration> {
    read_manifests_by(paths, |files| {
        read_files(files, namespace, clusters, min_polling_seconds)
    })
}

/// The same by another reader.
pub(crate) fn read_manifests_by(
    paths: &[PathBuf],
    read: impl FnOnce(&[(&str, &[u8])]) -> Configuration,
) -> anyhow::Result<Configuration> {
    let mut files = Vec::new();
    for path in paths {
        files.push((path.to_string_lossy(), read_input(path)?));
    }
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, bytes)| (name.as_ref(), bytes.as_slice()))
        .collect();
    Ok(read(&files))
}

/// Reads a file, or standard input for `-`.
pub(crate) fn read_input(path: &PathBuf) -> anyhow::Result<Vec<u8>> {
    if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .context("could not read standard input")?;
        return Ok(bytes);
    }
    std::fs::read(path).with_context(|| format!("could not read `{}`", path.display()))
}
