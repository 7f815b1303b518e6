//! How many targets a function of so much memory holds: with it come the share of a core and the limit of Lambda.
//!
//! `benches/run memory` builds what this needs and runs it, and takes megabytes to measure those alone. `OUTRIGGER_LAMBDA` is the
//! program, by default `outrigger-lambda` in the folder of release builds. Root is needed, for control groups.
//!
//! AWS and the API server are spoken to with TLS here, and everything that a pass shakes hands with is new in the first one. Lambda gives a
//! start more than this share of a core; this is not counted on.

#![allow(clippy::print_stdout, reason = "the figures are the output")]

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fleet::{Fleet, Requests};
use outrigger::sandbox::limit::Limit;
use outrigger::sandbox::runtime_api::Outcome;
use process::Process;
use table::program;

#[allow(dead_code, reason = "each measurement uses a part of it")]
mod fleet;
#[allow(dead_code, reason = "each measurement uses a part of it")]
mod process;
#[allow(dead_code, reason = "each measurement uses a part of it")]
mod table;

/// A round trip to an AWS or Kubernetes API in the same region.
const LATENCY: Duration = Duration::from_millis(20);

/// Megabytes of functions.
const SIZES: [u32; 3] = [128, 256, 512];

const TARGETS: [usize; 5] = [1, 10, 100, 300, 1000];

/// Targets of a namespace.
const TOGETHER: usize = 50;

/// Replicas that every target with a backlog gets, at its `maxReplicaCount`: one below it would be polled again in the same invocation.
const AFTER: u32 = 100;

/// Of so many queues one still answers when the others are silent.
const ONE_IN: usize = 10;

/// Half of a window: a pass must be over before the next one, also when calls take longer than here.
const MAX_PASS: Duration = Duration::from_secs(30);

/// The default holds so many.
const DEFAULT_MB: u32 = 128;
const DEFAULT_TARGETS: usize = 100;

fn main() -> io::Result<ExitCode> {
    let function = program("OUTRIGGER_LAMBDA", "outrigger-lambda")?;
    let asked: Vec<u32> = std::env::args()
        .filter_map(|text| text.parse().ok())
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    println!(
        "{:<8} {:>7} {:>8} {:>8} {:>8} {:>9} {:>8} {:>7} {:>8} {:>6}",
        "memory",
        "targets",
        "start",
        "first",
        "steady",
        "resident",
        "silent",
        "served",
        "repeated",
        "holds"
    );
    let sizes = SIZES
        .iter()
        .filter(|size| asked.is_empty() || asked.contains(size));
    let mut is_kept = true;
    for memory_mb in sizes {
        for targets in TARGETS {
            let measured = runtime.block_on(measure(&function, *memory_mb, targets))?;
            println!(
                "{:<8} {targets:>7} {}",
                format!("{memory_mb} MB"),
                measured.row()
            );
            if let Some(failure) = &measured.failure {
                println!("  {failure}");
            }
            let is_default = *memory_mb <= DEFAULT_MB && targets <= DEFAULT_TARGETS;
            is_kept &= measured.holds() || !is_default;
        }
    }
    println!("start: to the first poll; first: every target is new and scaled; steady: none is");
    println!(
        "silent: the first pass where all queues but one in {ONE_IN} never answer; served: those that do, as scaled by that pass"
    );
    println!(
        "repeated: TLS handshakes given up and requests made again in the first and the steady pass"
    );
    println!(
        "holds: nothing failed or repeated, the first and the steady pass within {} s",
        MAX_PASS.as_secs()
    );
    println!(
        "bar: {DEFAULT_MB} MB hold {DEFAULT_TARGETS} targets: {}",
        if is_kept { "kept" } else { "MISSED" }
    );
    Ok(if is_kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A function of one size with so many targets.
struct Measured {
    start: Duration,
    first: Duration,
    steady: Duration,
    resident_kib: u64,
    silent: Duration,
    /// Of the queues that answer.
    served: (usize, usize),
    repeated: usize,
    /// Why the first or the steady pass failed.
    failure: Option<String>,
}

impl Measured {
    fn holds(&self) -> bool {
        let Self {
            start: _,
            first,
            steady,
            resident_kib: _,
            // How many queues are silent counts there, and not the memory.
            silent: _,
            served: _,
            repeated,
            failure,
        } = self;
        let in_time = *first < MAX_PASS && *steady < MAX_PASS;
        in_time && *repeated == 0 && failure.is_none()
    }

    fn row(&self) -> String {
        let seconds = |duration: Duration| format!("{:.2} s", duration.as_secs_f64());
        let (served, all) = self.served;
        format!(
            "{:>8} {:>8} {:>8} {:>9} {:>8} {:>7} {:>8} {:>6}",
            seconds(self.start),
            seconds(self.first),
            seconds(self.steady),
            format!("{} MB", self.resident_kib.div_ceil(1024)),
            seconds(self.silent),
            format!("{served}/{all}"),
            self.repeated,
            if self.holds() { "yes" } else { "NO" },
        )
    }
}

async fn measure(function: &Path, memory_mb: u32, targets: usize) -> io::Result<Measured> {
    let namespaces = targets.div_ceil(TOGETHER);
    let fleet = Fleet::start_with_tls(targets, namespaces, LATENCY).await?;
    fleet.ask_for(AFTER);
    let (_limit, process) = start(function, memory_mb, &fleet).await?;
    let (first, outcome) = process.timed_pass().await;
    let mut failure = failed("first", &outcome);
    let scaled = fleet.at(AFTER);
    if scaled != targets {
        failure.get_or_insert_with(|| format!("first pass: {scaled} of {targets} scaled"));
    }
    let mut repeated = repeated(&fleet.requests(), targets, namespaces);

    // The changes are seen and remembered before.
    let (_, outcome) = process.timed_pass().await;
    failure = failure.or(failed("second", &outcome));
    fleet.requests();
    let (steady, outcome) = process.timed_pass().await;
    failure = failure.or(failed("steady", &outcome));
    repeated += self::repeated(&fleet.requests(), targets, namespaces);
    repeated += fleet.failed_handshakes();
    let (started_in, resident_kib) = (process.started_in(), process.peak_resident_kib()?);
    drop(process);
    drop(fleet);

    let (silent, served) = with_silent_queues(function, memory_mb, targets).await?;
    Ok(Measured {
        start: started_in,
        first,
        steady,
        resident_kib,
        silent,
        served,
        repeated,
        failure,
    })
}

/// A first pass in which most queues do not answer: how long it takes, and how many of those that do are scaled, of how many.
async fn with_silent_queues(
    function: &Path,
    memory_mb: u32,
    targets: usize,
) -> io::Result<(Duration, (usize, usize))> {
    let fleet = Fleet::start_with_tls(targets, targets.div_ceil(TOGETHER), LATENCY).await?;
    fleet.ask_for(AFTER);
    fleet.silence(|index| index % ONE_IN != 0);
    let (_limit, process) = start(function, memory_mb, &fleet).await?;
    let (taken, _) = process.timed_pass().await;
    Ok((taken, (fleet.at(AFTER), targets.div_ceil(ONE_IN))))
}

/// A new process with the limits of a function. They go after the process.
async fn start(function: &Path, memory_mb: u32, fleet: &Fleet) -> io::Result<(Limit, Process)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("outrigger-memory-{}-{number}", std::process::id());
    let limit = Limit::share_and_memory(&name, memory_mb)?;
    let process = Process::start_within(&limit, function, &fleet.environment()).await?;
    Ok((limit, process))
}

/// How a pass failed, if it did.
fn failed(pass: &str, outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Response(_) => None,
        Outcome::TimedOut => Some(format!(
            "{pass} pass: not answered, or killed for its memory"
        )),
        failed => Some(
            format!("{pass} pass: {failed:?}")
                .chars()
                .take(400)
                .collect(),
        ),
    }
}

/// Reads and writes beyond one of each for every target.
fn repeated(requests: &Requests, targets: usize, namespaces: usize) -> usize {
    let Requests {
        queue_reads,
        workload_reads,
        memory_reads,
        memory_writes: _,
        scale_writes,
        owner_lists: _,
        events: _,
        others: _,
        // Without KEDA there is no list of its objects.
        failed,
    } = requests;
    queue_reads.saturating_sub(targets)
        + workload_reads.saturating_sub(targets)
        + scale_writes.saturating_sub(targets)
        + memory_reads.saturating_sub(namespaces)
        + failed.saturating_sub(namespaces)
}
