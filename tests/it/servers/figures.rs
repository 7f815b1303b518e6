//! What has a number against the real servers. `benches/real` runs these and says what they are; nobody else does.

#![allow(clippy::print_stdout, reason = "the figures are the output")]

use std::cell::RefCell;
use std::fmt::Write as _;
use std::time::Duration;

use futures_util::future::join;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use jiff::Timestamp;
use outrigger::clock::wall_now;
use outrigger::sandbox::limit::Limit;
use outrigger::sandbox::runtime_api::Outcome;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::fleet::{Fleet, Request, name};
use super::world::{World, world};
use crate::support::function::Function;

/// Megabytes of the shipped function, which has this share of a core.
const MEMORY_MB: u32 = 128;

/// What an invocation is given, as the shipped function.
const TIMEOUT: Duration = Duration::from_secs(75);

/// All counts are written this soon after the poll.
const BAR: f64 = 3.0;

/// With a new process each: the most replicas of every target, which a burst asks for, so that there is no follow-up poll that
/// would be a part of the invocation; and the invocations.
const ORDER: [(u64, &[&str]); 2] = [
    (9, &["burst, new process", "settling", "steady"]),
    (
        19,
        &[
            "first, new process",
            "burst, warm process",
            "settling",
            "steady",
        ],
    ),
];

/// The servers, where `benches/real` asks for figures. They are no tests: nothing is asserted that a busy machine could miss.
fn asked_for() -> Option<&'static World> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the only way to ask a test for figures"
    )]
    let is_asked = std::env::var_os("OUTRIGGER_FIGURES").is_some();
    if is_asked { world() } else { None }
}

#[tokio::test]
async fn together() {
    let Some(world) = asked_for() else { return };
    println!(
        "{:<14} {:<7} {:<20} {:>8} {:>8} {:>9} {:>7} {:>7} {:>6}",
        "workloads",
        "speed",
        "pass",
        "written",
        "answered",
        "ConfigMap",
        "counts",
        "refused",
        "ratio"
    );
    let mut base = None;
    let mut is_kept = true;
    for (targets, namespaces) in [(200, 1), (1000, 1), (1000, 10)] {
        for is_limited in [false, true] {
            let mut fleet = Fleet::new(world, targets, namespaces).await;
            let what = format!("{targets} in {namespaces}");
            let speed = if is_limited { "7.2 %" } else { "full" };
            for (most, passes) in ORDER {
                fleet.allow(most);
                let function = fleet.function(&fleet.lab.keys, &[]).await;
                let limit = is_limited.then(|| limited(&function)).transpose();
                let Ok(_limit) =
                    limit.inspect_err(|why| println!("{what}: no share of a core: {why}"))
                else {
                    continue;
                };
                for pass in passes {
                    let is_burst = pass.starts_with("burst");
                    if is_burst {
                        fleet.ask_for(most);
                    }
                    let measured = measure(&fleet, &function).await;
                    let row = measured.row(*base.get_or_insert(measured.seconds()));
                    println!("{what:<14} {speed:<7} {pass:<20} {row}");
                    if let Some(failure) = &measured.failure {
                        println!("  failed: {failure}");
                        is_kept = false;
                    }
                    if targets == 200 && !is_limited && is_burst {
                        is_kept &= measured.count_writes == targets && measured.seconds() < BAR;
                    }
                }
                let counts = fleet.counts().await;
                if counts.keys().any(|(count, _)| *count != most) {
                    println!("  not all have {most} replicas: {counts:?}");
                    is_kept = false;
                }
            }
        }
    }
    println!(
        "written: from the beginning of the invocation to the last count, or to the last state of a pass without counts"
    );
    println!("ratio: to the first row");
    println!("load average: {}", load());
    println!(
        "bar: 200 in 1 at full speed, all counts within {BAR} s: {}",
        if is_kept { "kept" } else { "MISSED" }
    );
    assert!(is_kept, "a bar was missed, or an invocation failed");
}

/// What one invocation took.
struct Measured {
    written: Option<f64>,
    answered: f64,
    state_writes: usize,
    count_writes: usize,
    /// Writes that the API server refused, lost races among them.
    refused: usize,
    failure: Option<String>,
}

impl Measured {
    /// What is compared.
    fn seconds(&self) -> f64 {
        self.written.unwrap_or(self.answered)
    }

    fn row(&self, base: f64) -> String {
        let written = { self.written }.map_or("-".to_owned(), |written| format!("{written:.2} s"));
        format!(
            "{written:>8} {:>6.2} s {:>9} {:>7} {:>7} {:>6.2}",
            self.answered,
            self.state_writes,
            self.count_writes,
            self.refused,
            self.seconds() / base
        )
    }
}

async fn measure(fleet: &Fleet, function: &Function) -> Measured {
    let begun = wall_now();
    let outcome = function.invoke_with_time_left("{}", TIMEOUT).await;
    let answered = seconds(begun, wall_now());
    let requests = fleet.requests_since(begun);
    let is_write = |request: &&Request| request.is_state_write() || request.is_count_write();
    let writes: Vec<&Request> = requests.iter().filter(is_write).collect();
    let counts: Vec<&&Request> = writes
        .iter()
        .filter(|request| request.is_count_write())
        .collect();
    let last = counts.last().copied().or(writes.last());
    Measured {
        written: last.map(|request| seconds(begun, request.answered)),
        answered,
        state_writes: writes.len() - counts.len(),
        count_writes: counts.len(),
        refused: writes.iter().filter(|request| !request.is_good()).count(),
        failure: failure(&outcome),
    }
}

/// Gives a function that runs the share of a core that Lambda would.
fn limited(function: &Function) -> std::io::Result<Limit> {
    let ended = || std::io::Error::other("the function has ended");
    let process = function.process_id().ok_or_else(ended)?;
    let limit = Limit::share(&format!("outrigger-real-{process}"), MEMORY_MB)?;
    limit.take(process)?;
    Ok(limit)
}

/// How an invocation failed, if it did.
fn failure(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Response(_) => None,
        failed => Some(format!("{failed:?}").chars().take(600).collect()),
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// How busy the machine was, or nothing where it does not tell.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// The steps of the `behavior` block that was measured with KEDA: 2, 6, 12, 24, 48, 96.
const IN_STEPS: &str = "  pollingInterval: SECONDS
  minReplicaCount: 2
  maxReplicaCount: 100
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        scaleUp:
          policies:
          - {type: Percent, value: 100, periodSeconds: 15}
          - {type: Pods, value: 4, periodSeconds: 15}";

/// The manifest that this project began with.
const IN_ONE: &str = "  pollingInterval: 100\n  minReplicaCount: 2\n  maxReplicaCount: 16";

/// Bursts of each kind, so many seconds apart: together they are at all phases of a minute.
const BURSTS: u32 = 12;
const APART: Duration = Duration::from_millis(5_100);

/// How often the schedule fires, and how often in all.
const MINUTE: Duration = Duration::from_mins(1);
const MINUTES: u32 = 4;

/// Targets of one kind, which differ in the phase of their burst.
struct Kind {
    what: &'static str,
    rest: String,
    messages: u64,
    to: u64,
    keda: &'static str,
}

fn in_steps(seconds: &str, what: &'static str, keda: &'static str) -> Kind {
    Kind {
        what,
        rest: IN_STEPS.replace("SECONDS", seconds),
        messages: 960,
        to: 96,
        keda,
    }
}

#[tokio::test]
async fn climb() {
    let Some(world) = asked_for() else { return };
    let usual = [
        in_steps("10", "2 to 96 in steps, pollingInterval 10", "70 s"),
        in_steps("30", "2 to 96 in steps, pollingInterval 30", "73 s"),
        in_steps("60", "2 to 96 in steps, pollingInterval 60", "70 to 73 s"),
        Kind {
            what: "2 to 16 in one write, pollingInterval 100",
            rest: IN_ONE.to_owned(),
            messages: 1_000,
            to: 16,
            keda: "about 40 s",
        },
    ];
    let often = [
        in_steps("10", "the same, 10, OUTRIGGER_SYNC=15", "70 s"),
        in_steps("30", "the same, 30, OUTRIGGER_SYNC=15", "73 s"),
        in_steps("60", "the same, 60, OUTRIGGER_SYNC=15", "70 to 73 s"),
    ];
    println!(
        "{:<44} {:>7} {:>8} {:>8} {:>8} {:>7}  KEDA 2.20.2",
        "from a burst to the whole count", "bursts", "shortest", "mean", "longest", "writes"
    );
    let (usual, often) = join(
        climbs(world, &usual, &[]),
        climbs(world, &often, &[("OUTRIGGER_SYNC", "15")]),
    )
    .await;
    println!("{usual}{often}load average: {}", load());
}

/// Bursts on all targets of some kinds, which one function scales. The rows of a table.
async fn climbs(world: &'static World, kinds: &[Kind], environment: &[(&str, &str)]) -> String {
    let each = kinds.iter().flat_map(|kind| vec![kind; BURSTS as usize]);
    let each: Vec<&Kind> = each.collect();
    let rest = each.iter().map(|kind| kind.rest.clone()).collect();
    let fleet = Fleet::of(world, rest, 1).await;
    let copies = [
        fleet.function(&fleet.lab.keys, environment).await,
        fleet.function(&fleet.lab.keys, environment).await,
    ];
    let begun = wall_now();
    let start = Instant::now();
    let sent: RefCell<Vec<(usize, Timestamp)>> = RefCell::default();
    let bursts = async {
        for burst in 0..BURSTS {
            sleep_until(start + MINUTE + APART * burst).await;
            for (kind, target) in kinds
                .iter()
                .zip((burst as usize..).step_by(BURSTS as usize))
            {
                fleet.send(target, kind.messages);
                sent.borrow_mut().push((target, wall_now()));
            }
        }
    };
    let (failures, ()) = join(schedule(&copies, start), bursts).await;
    let (requests, counts) = (fleet.requests_since(begun), fleet.count_of_each().await);
    let mut rows = String::new();
    for (index, kind) in kinds.iter().enumerate() {
        let mut taken = Vec::new();
        let mut writes = Vec::new();
        for (target, at) in sent
            .borrow()
            .iter()
            .filter(|(target, _)| target / BURSTS as usize == index)
        {
            let name = name(*target);
            if counts[&name] != kind.to {
                let Kind { what, to, .. } = kind;
                writeln!(rows, "  {name}, {what}: {}, not {to}", counts[&name]).unwrap();
                continue;
            }
            let written = requests.iter().filter(|request| {
                request.is_count_write() && request.is_good() && request.name == name
            });
            let written: Vec<&Request> = written.collect();
            let Some(last) = written.last() else { continue };
            writes.push(written.len());
            taken.push(seconds(*at, last.answered));
        }
        taken.sort_by(f64::total_cmp);
        let bursts = u32::try_from(taken.len()).unwrap();
        let mean = taken.iter().sum::<f64>() / f64::from(bursts);
        let (Some(least), Some(most)) = (writes.iter().min(), writes.iter().max()) else {
            continue;
        };
        let writes = if least == most {
            least.to_string()
        } else {
            format!("{least}-{most}")
        };
        writeln!(
            rows,
            "{:<44} {bursts:>7} {:>6.1} s {mean:>6.1} s {:>6.1} s {writes:>7}  {}",
            kind.what,
            taken[0],
            taken[taken.len() - 1],
            kind.keda
        )
        .unwrap();
    }
    let lost = requests
        .iter()
        .filter(|request| request.verb == "patch" && !request.is_good())
        .count();
    let states = requests
        .iter()
        .filter(|request| request.is_state_write())
        .count();
    writeln!(
        rows,
        "  {states} patches of the ConfigMap, {lost} refused; failed invocations: {failures:?}"
    )
    .unwrap();
    rows
}

/// Fires each minute as a schedule does; a second copy takes what comes while the first is busy. What failed.
async fn schedule(copies: &[Function; 2], start: Instant) -> Vec<String> {
    let busy = [RefCell::new(()), RefCell::new(())];
    let mut running = FuturesUnordered::new();
    let mut failures = Vec::new();
    for minute in 0..MINUTES {
        let next = sleep_until(start + MINUTE * minute);
        tokio::pin!(next);
        loop {
            tokio::select! {
                () = &mut next => break,
                Some(failure) = running.next() => failures.extend(failure),
            }
        }
        let copy = busy
            .iter()
            .zip(copies)
            .find_map(|(busy, copy)| Some((busy.try_borrow_mut().ok()?, copy)));
        let Some((turn, copy)) = copy else {
            failures.push(format!("minute {minute}: both copies are busy"));
            continue;
        };
        running.push(async move {
            let time = wall_now().to_string();
            let event = json!({
                "version": "0", "id": "1", "detail-type": "Scheduled Event", "source": "aws.scheduler", "account": "123456789012",
                "time": time, "region": "ap-northeast-1", "resources": ["arn:aws:scheduler:ap-northeast-1:123456789012:schedule/default/outrigger"],
                "detail": "{}",
            });
            let outcome = copy.invoke_with_time_left(event.to_string(), TIMEOUT).await;
            drop(turn);
            failure(&outcome)
        });
    }
    failures.extend(running.collect::<Vec<_>>().await.into_iter().flatten());
    failures
}
