//! The deployed binary as a process of its own, behind a Lambda Runtime API.

use std::cell::Cell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outrigger::sandbox::Sandbox;
use outrigger::sandbox::runtime_api::{Outcome, RuntimeApi};
use serde_json::Value as Json;
use tokio::process::{Child, Command};

use super::PATIENCE;

/// A directory that is removed with everything in it.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("outrigger-it-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A running function. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) runtime: RuntimeApi,
    pub(crate) directory: Directory,
    child: Child,
    /// How many log lines were looked at already.
    seen: Cell<usize>,
}

/// What is left of an invocation unless a test says otherwise: too little for a follow-up poll, 15 s after a count was raised.
const TIME_LEFT: Duration = Duration::from_secs(22);

/// The deployed program.
pub(crate) const DEPLOYED: &str = env!("CARGO_BIN_EXE_outrigger-lambda");

/// A command for a program with nothing in its environment, its output in files of the directory.
fn command(program: &str, directory: &Directory) -> Command {
    let output = |name: &str| Stdio::from(File::create(directory.join(name)).unwrap());
    let mut command = Command::new(program);
    command
        .env_clear()
        .current_dir(&directory.0)
        .stdin(Stdio::null())
        .stdout(output("stdout"))
        .stderr(output("stderr"))
        .kill_on_drop(true);
    command
}

impl Function {
    /// Starts the function with `outrigger.yaml` beside it; `environment` adds to what it needs, or replaces it.
    pub(crate) async fn start(
        sandbox: &Sandbox,
        configuration: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        let directory = Directory::new();
        std::fs::write(directory.join("outrigger.yaml"), configuration).unwrap();
        Self::start_in(directory, sandbox, environment).await
    }

    /// Starts the function in a directory as it is.
    pub(crate) async fn start_in(
        directory: Directory,
        sandbox: &Sandbox,
        environment: &[(&str, &str)],
    ) -> Self {
        let command = command(DEPLOYED, &directory);
        Self::spawn(command, directory, sandbox, environment).await
    }

    /// Starts the function on the demo's clock: the same entry point, in the other program.
    pub(crate) async fn start_fast(
        sandbox: &Sandbox,
        configuration: &str,
        environment: &[(&str, &str)],
        factor: u32,
    ) -> Self {
        let directory = Directory::new();
        std::fs::write(directory.join("outrigger.yaml"), configuration).unwrap();
        let start = outrigger::clock::wall_now().to_string();
        let mut command = command(env!("CARGO_BIN_EXE_outrigger"), &directory);
        command.args(["demo-function", "--clock-start", &start]);
        command.args(["--clock-factor", &factor.to_string()]);
        Self::spawn(command, directory, sandbox, environment).await
    }

    /// Starts the function through a program that becomes it.
    pub(crate) async fn start_by(
        program: &[&str],
        directory: Directory,
        sandbox: &Sandbox,
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = command(program[0], &directory);
        command.args(&program[1..]);
        Self::spawn(command, directory, sandbox, environment).await
    }

    /// The most memory that the process has had so far, in MiB; `None` where the system does not tell.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        let path = format!("/proc/{}/status", self.child.id()?);
        let status = std::fs::read_to_string(path).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib / 1024)
    }

    /// The number of the process, while it runs.
    pub(crate) fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    async fn spawn(
        mut command: Command,
        directory: Directory,
        sandbox: &Sandbox,
        environment: &[(&str, &str)],
    ) -> Self {
        let runtime = RuntimeApi::start().await.unwrap();
        let child = command
            .envs(sandbox.environment())
            .env("AWS_LAMBDA_RUNTIME_API", runtime.address())
            .env("AWS_LAMBDA_FUNCTION_NAME", "outrigger")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("OUTRIGGER_CLUSTERS", "demo")
            .envs(environment.iter().copied())
            .spawn()
            .unwrap();
        let function = Self {
            runtime,
            directory,
            child,
            seen: Cell::new(0),
        };
        let ready = tokio::time::timeout(PATIENCE, function.runtime.ready()).await;
        assert!(ready.is_ok(), "never ready: {}", function.output());
        function
    }

    /// Invokes it with bytes, whatever they are, and too little time for a follow-up poll by the wall clock.
    pub(crate) async fn invoke(&self, event: impl Into<Vec<u8>>) -> Outcome {
        self.invoke_with_time_left(event, TIME_LEFT).await
    }

    /// Invokes it and tells it that this much time is left, while more is waited for.
    pub(crate) async fn invoke_with_time_left(
        &self,
        event: impl Into<Vec<u8>>,
        left: Duration,
    ) -> Outcome {
        let deadline = outrigger::clock::wall_now() + left;
        let deadline = deadline.as_millisecond().to_string();
        self.invoke_with_deadline(event, &deadline).await
    }

    /// Invokes it with this text as its deadline.
    pub(crate) async fn invoke_with_deadline(
        &self,
        event: impl Into<Vec<u8>>,
        deadline: &str,
    ) -> Outcome {
        self.runtime.set_deadline(Some(deadline));
        let outcome = self.runtime.invoke(event.into(), PATIENCE).await.outcome;
        self.runtime.set_deadline(None);
        outcome
    }

    /// The answer to an event that must succeed.
    pub(crate) async fn answer(&self, event: impl Into<Vec<u8>>) -> Json {
        answer(&self.invoke(event).await)
    }

    /// Type and message of the error that an event must end in.
    pub(crate) async fn error(&self, event: impl Into<Vec<u8>>) -> (String, String) {
        error(&self.invoke(event).await)
    }

    /// The log lines since the last look. Each must be one JSON object.
    pub(crate) fn new_lines(&self) -> Vec<Json> {
        let text = read(&self.directory.join("stdout"));
        let new = text.lines().skip(self.seen.get());
        let new: Vec<Json> = new
            .map(|line| {
                let parsed = serde_json::from_str::<Json>(line);
                let parsed = parsed.unwrap_or_else(|error| panic!("{error} in: {line}"));
                assert!(parsed.is_object(), "not an object: {line}");
                parsed
            })
            .collect();
        self.seen.set(self.seen.get() + new.len());
        new
    }

    /// Everything written so far, standard error last.
    pub(crate) fn output(&self) -> String {
        read(&self.directory.join("stdout")) + &read(&self.directory.join("stderr"))
    }

    /// Ends the process at once, wherever it is.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Whether the process is still there.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

/// Runs the binary with only this environment until it ends by itself. Returns its status and everything it wrote.
pub(crate) async fn run(environment: &[(&str, &str)]) -> (ExitStatus, String) {
    let directory = Directory::new();
    let mut child = command(DEPLOYED, &directory)
        .envs(environment.iter().copied())
        .spawn()
        .unwrap();
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
    let output = read(&directory.join("stdout")) + &read(&directory.join("stderr"));
    (ended.expect("the process does not end").unwrap(), output)
}

/// What an invocation answered.
#[track_caller]
pub(crate) fn answer(outcome: &Outcome) -> Json {
    let Outcome::Response(body) = outcome else {
        panic!("{outcome:?}");
    };
    serde_json::from_slice(body).unwrap()
}

/// Type and message of what an invocation failed with.
#[track_caller]
pub(crate) fn error(outcome: &Outcome) -> (String, String) {
    let Outcome::Error { error_type, body } = outcome else {
        panic!("{outcome:?}");
    };
    // The runtime's header says no more than that the error is the function's; callers and destinations get the body.
    assert_eq!(error_type, "unhandled");
    let text = |key: &str| body[key].as_str().unwrap().to_owned();
    (text("errorType"), text("errorMessage"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
