//! The shipped program as a process of its own, the way Lambda runs it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use outrigger::sandbox::limit::Limit;
use outrigger::sandbox::runtime_api::{Outcome, RuntimeApi};

/// The longest that any start may take here before the measurement is given up.
const PATIENCE: Duration = Duration::from_mins(1);

/// What an invocation is given, as the shipped function.
const TIMEOUT: Duration = Duration::from_secs(75);

/// A running function; dropping it ends it.
pub(crate) struct Process {
    child: Child,
    api: RuntimeApi,
    started_in: Duration,
}

impl Process {
    /// Starts a program and waits until it asks for its first event.
    pub(crate) async fn start(
        program: &Path,
        environment: &BTreeMap<String, String>,
    ) -> io::Result<Self> {
        Self::spawn(Command::new(program), program, environment).await
    }

    /// The same within a share of a core.
    pub(crate) async fn start_within(
        limit: &Limit,
        program: &Path,
        environment: &BTreeMap<String, String>,
    ) -> io::Result<Self> {
        Self::spawn(limit.command(program), program, environment).await
    }

    async fn spawn(
        mut command: Command,
        program: &Path,
        environment: &BTreeMap<String, String>,
    ) -> io::Result<Self> {
        let api = RuntimeApi::start().await?;
        command
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", api.address())
            .env("AWS_LAMBDA_FUNCTION_NAME", "outrigger")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let begun = now();
        let child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", program.display()))
        })?;
        let mut process = Self {
            child,
            api,
            started_in: Duration::ZERO,
        };
        tokio::time::timeout(PATIENCE, process.api.ready())
            .await
            .map_err(|_| io::Error::other("the program did not ask for an event"))?;
        let polled = process.api.first_poll().unwrap_or(begun);
        process.started_in = polled.duration_since(begun);
        Ok(process)
    }

    /// From before the process existed to its first question.
    pub(crate) fn started_in(&self) -> Duration {
        self.started_in
    }

    /// One invocation with an event that means all targets, and how long it took. One that fails is an error.
    pub(crate) async fn pass(&self) -> io::Result<Duration> {
        match self.timed_pass().await {
            (taken, Outcome::Response(_)) => Ok(taken),
            (_, outcome) => Err(io::Error::other(format!(
                "the invocation ended as {outcome:?}"
            ))),
        }
    }

    /// One invocation, how long it took and how it ended.
    pub(crate) async fn timed_pass(&self) -> (Duration, Outcome) {
        let begun = now();
        let invocation = self.api.invoke(b"{}".to_vec(), TIMEOUT).await;
        (begun.elapsed(), invocation.outcome)
    }

    /// The most memory that was ever resident, in KiB.
    pub(crate) fn peak_resident_kib(&self) -> io::Result<u64> {
        let status = fs::read_to_string(self.proc("status"))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .ok_or_else(|| io::Error::other("no VmHWM in /proc/PID/status"))
    }

    /// Processor time of all threads so far. Linux counts it in hundredths of a second.
    pub(crate) fn processor_time(&self) -> io::Result<Duration> {
        let stat = fs::read_to_string(self.proc("stat"))?;
        // Fields 14 and 15 of the file; the second one, the name in parentheses, may hold anything.
        let fields = stat.rsplit(") ").next().unwrap_or_default();
        let ticks: u64 = fields
            .split(' ')
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Internet sockets that the process holds, its own to the Runtime API included.
    pub(crate) fn sockets(&self) -> io::Result<usize> {
        let mut known = BTreeSet::new();
        for table in ["net/tcp", "net/tcp6", "net/udp", "net/udp6"] {
            // Without IPv6 there is no table of it.
            let text = fs::read_to_string(self.proc(table)).unwrap_or_default();
            let inodes = text.lines().skip(1);
            known
                .extend(inodes.filter_map(|line| Some(line.split_whitespace().nth(9)?.to_owned())));
        }
        let mut count = 0;
        for file in fs::read_dir(self.proc("fd"))? {
            let target = fs::read_link(file?.path())?;
            let inode = target
                .to_str()
                .and_then(|name| name.strip_prefix("socket:[")?.strip_suffix(']'));
            count += usize::from(inode.is_some_and(|inode| known.contains(inode)));
        }
        Ok(count)
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a measurement of real time, not an input of a decision"
)]
fn now() -> Instant {
    Instant::now()
}
