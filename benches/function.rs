//! The shipped function against local endpoints: requests, time, memory, start.
//!
//! `benches/run` builds what this needs and runs it. `OUTRIGGER_LAMBDA` and `OUTRIGGER_EMPTY_LAMBDA` are the two programs, by
//! default `outrigger-lambda` and `empty-lambda` in the folder of release builds.
//!
//! Counts and memory are held to their bars. Times are quoted: they depend on the machine, and on what else it does.
//! SQS is spoken to without TLS here, the API server with it.

#![allow(clippy::print_stdout, reason = "the figures are the output")]

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use fleet::{Fleet, Requests};
use outrigger::tell::MAX_EVENTS;
use process::Process;
use table::{Table, median, program, quantile, quote};

#[allow(dead_code, reason = "each measurement uses a part of it")]
mod fleet;
#[allow(dead_code, reason = "each measurement uses a part of it")]
mod process;
#[allow(dead_code, reason = "each measurement uses a part of it")]
mod table;

/// A round trip to an AWS or Kubernetes API in the same region.
const LATENCY: Duration = Duration::from_millis(20);
const TARGETS: usize = 1000;
const NAMESPACES: usize = 20;
const STARTS: usize = 150;
const STEADY_PASSES: usize = 25;

/// Rollouts of one namespace that are large, and by how much.
const LARGE: usize = 200;
const LARGE_BYTES: usize = 1_450_000;

/// Half of the smallest function that Lambda runs.
const MAX_RESIDENT_KIB: u64 = 64 * 1024;

fn main() -> io::Result<ExitCode> {
    let function = program("OUTRIGGER_LAMBDA", "outrigger-lambda")?;
    let empty = program("OUTRIGGER_EMPTY_LAMBDA", "empty-lambda")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut table = Table::default();
    runtime.block_on(async {
        one_target(&mut table, &function).await?;
        many_targets(&mut table, &function).await?;
        large_objects(&mut table, &function).await?;
        start(&mut table, &function, &empty).await
    })?;
    Ok(table.finish())
}

/// What every minute costs that a target changes nothing.
async fn one_target(table: &mut Table, function: &Path) -> io::Result<()> {
    let fleet = Fleet::start(1, 1, LATENCY).await?;
    fleet.ask_for(1);
    let process = Process::start(function, &fleet.environment()).await?;
    let cold = process.pass().await?;
    process.pass().await?;
    fleet.requests();
    process.pass().await?;
    let requests = fleet.requests();
    let expected = Requests {
        queue_reads: 1,
        workload_reads: 1,
        memory_reads: 1,
        ..Requests::default()
    };
    table.hold(
        "steady pass, 1 target: SQS, workload, ConfigMap reads",
        reads(&requests),
        "1 + 1 + 1",
        requests == expected,
    );
    table.hold(
        "steady pass, 1 target: writes",
        writes(&requests),
        "0",
        writes(&requests) == 0,
    );
    let mut steady = Vec::new();
    for _ in 0..STEADY_PASSES {
        steady.push(milliseconds(process.pass().await?));
    }
    quote(
        "first pass of a process, 1 target, 20 ms a call",
        format!("{:.1} ms", milliseconds(cold)),
        "",
    );
    quote(
        "steady pass, 1 target, 20 ms a call, median",
        format!("{:.1} ms", median(steady)),
        "",
    );
    let resident = process.peak_resident_kib()?;
    quote("peak resident, 1 target", format!("{resident} KiB"), "");
    Ok(())
}

/// Everything at once: all of it new and scaling out, then all of it steady, in one process.
async fn many_targets(table: &mut Table, function: &Path) -> io::Result<()> {
    let fleet = Fleet::start(TARGETS, NAMESPACES, LATENCY).await?;
    // The most that a target has: below, it would be polled again in the same invocation.
    fleet.ask_for(100);
    let process = Process::start(function, &fleet.environment()).await?;
    let begun = process.processor_time()?;
    let scaling = process.pass().await?;
    let processor = process.processor_time()?.saturating_sub(begun);
    let requests = fleet.requests();
    let expected = Requests {
        queue_reads: TARGETS,
        workload_reads: TARGETS,
        memory_reads: NAMESPACES,
        memory_writes: NAMESPACES,
        scale_writes: TARGETS,
        owner_lists: 2 * NAMESPACES,
        events: MAX_EVENTS,
        // The cluster is described.
        others: 1,
        // Without KEDA there is no list of its objects.
        failed: NAMESPACES,
    };
    let name = "1,000 targets, first pass: Rollouts scaled";
    table.hold(name, fleet.at(100), "1000", fleet.at(100) == TARGETS);
    let name = "1,000 targets, first pass: requests";
    table.hold(name, total(&requests), "3181", requests == expected);
    let name = "1,000 targets, first pass, 20 ms a call";
    quote(name, seconds(scaling), "< 3 s");
    let name = "1,000 targets, first pass, processor time";
    quote(name, seconds(processor), "");

    // The changes are seen and remembered.
    process.pass().await?;
    fleet.requests();
    let begun = process.processor_time()?;
    let mut steady = vec![process.pass().await?.as_secs_f64()];
    let requests = fleet.requests();
    let expected = Requests {
        queue_reads: TARGETS,
        workload_reads: TARGETS,
        memory_reads: NAMESPACES,
        ..Requests::default()
    };
    for _ in 1..5 {
        steady.push(process.pass().await?.as_secs_f64());
    }
    let processor = process.processor_time()?.saturating_sub(begun) / 5;
    let name = "1,000 targets, steady pass: reads";
    table.hold(name, reads(&requests), "1000+1000+20", requests == expected);
    let name = "1,000 targets, steady pass: writes";
    table.hold(name, writes(&requests), "0", writes(&requests) == 0);
    let name = "1,000 targets, steady pass, 20 ms a call, median";
    quote(name, format!("{:.2} s", median(steady)), "< 3 s");
    let name = "1,000 targets, steady pass, processor time";
    quote(name, seconds(processor), "");

    let resident = process.peak_resident_kib()?;
    let name = "1,000 targets, peak resident of all passes";
    let is_kept = resident < MAX_RESIDENT_KIB;
    table.hold(name, format!("{resident} KiB"), "< 65536 KiB", is_kept);
    Ok(())
}

/// Rollouts as large as etcd takes them, of which hardly anything is read.
async fn large_objects(table: &mut Table, function: &Path) -> io::Result<()> {
    let fleet = Fleet::start(LARGE, 1, LATENCY).await?;
    fleet.ask_for(1);
    let process = Process::start(function, &fleet.environment()).await?;
    process.pass().await?;
    let begun = process.processor_time()?;
    process.pass().await?;
    let small = process.processor_time()?.saturating_sub(begun);
    fleet.enlarge(LARGE_BYTES);
    let begun = process.processor_time()?;
    let taken = process.pass().await?;
    let large = process.processor_time()?.saturating_sub(begun);
    let name = "200 Rollouts of 1.45 MB, steady pass, 20 ms a call";
    quote(name, seconds(taken), "");
    let name = "200 Rollouts of 1.45 MB, processor time, and of small ones";
    quote(name, format!("{} {}", seconds(large), seconds(small)), "");
    let resident = process.peak_resident_kib()?;
    let name = "200 Rollouts of 1.45 MB, peak resident";
    let is_kept = resident < MAX_RESIDENT_KIB;
    table.hold(name, format!("{resident} KiB"), "< 65536 KiB", is_kept);
    Ok(())
}

/// From nothing to the first question to the Runtime API, the two programs in turn.
async fn start(table: &mut Table, function: &Path, empty: &Path) -> io::Result<()> {
    let fleet = Fleet::start(1, 1, LATENCY).await?;
    let environment = fleet.environment();
    let (mut ours, mut least) = (Vec::new(), Vec::new());
    let mut sockets = 0;
    for round in 0..STARTS {
        // Each goes first as often as the other.
        let order = [round % 2 == 0, round % 2 == 1];
        for is_ours in order {
            let (program, times) = if is_ours {
                (function, &mut ours)
            } else {
                (empty, &mut least)
            };
            let process = Process::start(program, &environment).await?;
            times.push(milliseconds(process.started_in()));
            if is_ours {
                sockets = process.sockets()?.max(sockets);
            }
        }
    }
    let requests = total(&fleet.requests());
    let name = "start: requests to AWS or Kubernetes";
    table.hold(name, requests, "0", requests == 0);
    let name = "start: sockets besides the Runtime API's";
    let others = sockets.saturating_sub(1);
    table.hold(name, others, "0", others == 0);
    for (name, times) in [
        ("start to first poll, p10 p50 p90", &mut ours),
        ("the same, empty program", &mut least),
    ] {
        times.sort_by(f64::total_cmp);
        let [low, middle, high] = [0.1, 0.5, 0.9].map(|share| quantile(times, share));
        quote(name, format!("{low:.1} {middle:.1} {high:.1} ms"), "");
    }
    let ratio = median(ours) / median(least);
    quote(
        "start to first poll, as a ratio of medians",
        format!("{ratio:.2}"),
        "< 1.5",
    );
    Ok(())
}

fn reads(requests: &Requests) -> String {
    let Requests {
        queue_reads,
        workload_reads,
        memory_reads,
        ..
    } = requests;
    format!("{queue_reads} + {workload_reads} + {memory_reads}")
}

fn writes(requests: &Requests) -> usize {
    requests.memory_writes + requests.scale_writes + requests.events
}

fn total(requests: &Requests) -> usize {
    let Requests {
        queue_reads,
        workload_reads,
        memory_reads,
        memory_writes,
        scale_writes,
        owner_lists,
        events,
        others,
        failed: _,
    } = requests;
    queue_reads
        + workload_reads
        + memory_reads
        + memory_writes
        + scale_writes
        + owner_lists
        + events
        + others
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
