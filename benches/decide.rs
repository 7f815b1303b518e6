//! What one call of `decide` costs, and that what it remembers does not grow.
//!
//! `cargo bench --no-default-features --bench decide`

#![allow(clippy::print_stdout, reason = "the figures are the output")]
#![allow(clippy::unwrap_used, reason = "a broken measurement stops")]

use std::hint::black_box;
use std::num::{NonZeroU32, NonZeroU64};
use std::process::ExitCode;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use outrigger::cron::{Schedule, time_zone};
use outrigger::decide::{
    Observation, QueueDepth, Reading, Reason, Rollout, Stop, Workload, decide,
};
use outrigger::policy::{
    CloudWatchTrigger, CronTrigger, Identity, Metric, MetricQuery, Pause, Policy, Queue,
    QueueAddress, ReplicaBounds, ScalingRules, SqsTrigger, Trigger,
};
use outrigger::state::{MAX_ENTRIES, MAX_EVENTS, MAX_STATE_BYTES, ScaleEvent, State, WindowEntry};
use table::{Table, median, quote};

#[allow(dead_code, reason = "each measurement uses a part of it")]
mod table;

const CALLS: u32 = 20_000;
const BATCHES: usize = 25;

fn main() -> ExitCode {
    let mut table = Table::default();
    let at_seven = steady(7);
    time(
        "decide, steady",
        (policy(), observation(7, 63)),
        &at_seven,
        Reason::Steady,
        "about 1 us",
    );
    time(
        "decide, scaling out",
        (policy(), observation(7, 630)),
        &at_seven,
        Reason::QueueDepth,
        "about 1 us",
    );
    time(
        "decide, scaling in waits, all lists full",
        (policy(), observation(40, 10)),
        &full(),
        Reason::ScaleInWindow,
        "about 1 us",
    );
    time(
        "decide, with a cron and a CloudWatch trigger",
        all_kinds(),
        &at_seven,
        Reason::Steady,
        "a few us",
    );
    life(&mut table);
    table.finish()
}

/// The median of several batches of calls.
fn time(
    name: &str,
    (policy, observation): (Policy, Observation),
    state: &State,
    expected: Reason,
    bar: &str,
) {
    // A measurement of another case than the one named would be worse than none.
    let reason = decide(&policy, &observation, Some(state), at(1000)).reason;
    assert_eq!(reason, expected, "{name}");
    let batch = || {
        let begun = now();
        for _ in 0..CALLS {
            let state = black_box(Some(state));
            let (policy, observation) = (black_box(&policy), black_box(&observation));
            let _measured = black_box(decide(policy, observation, state, black_box(at(1000))));
        }
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
    };
    batch();
    let nanoseconds = median((0..BATCHES).map(|_| batch()).collect());
    quote(name, format!("{nanoseconds:.0} ns"), bar);
}

/// A long life of a restless queue: the longest lists and the most bytes that the state ever has.
fn life(table: &mut Table) {
    let policy = policy();
    let (mut replicas, mut random, mut state) = (1, 1_u64, None);
    let (mut entries, mut bytes) = (0, 0);
    for step in 0..50_000_i64 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // Falling for an hour at a time, which is what fills a window, in uneven steps.
        let tide = u64::try_from(59 - step % 60).unwrap() * 40;
        let observation = observation(replicas, tide + (random >> 60));
        let decision = decide(&policy, &observation, state.as_ref(), at(step * 20));
        replicas = decision.to;
        let next = decision.state;
        let longest = [
            next.in_window.len(),
            next.out_window.len(),
            next.events.len(),
            next.foreign_writes.len(),
        ];
        entries = longest.into_iter().fold(entries, usize::max);
        bytes = next.to_json().to_string().len().max(bytes);
        state = Some(next);
    }
    let name = "state, longest list in 50,000 passes";
    // It must also have come that far, or the life was too quiet to show anything.
    table.hold(
        name,
        format!("{entries} entries"),
        &MAX_ENTRIES.to_string(),
        entries == MAX_ENTRIES,
    );
    table.hold(
        "state, most bytes in 50,000 passes",
        format!("{bytes} B"),
        "<= 2048 B",
        bytes <= MAX_STATE_BYTES,
    );
    let bytes = full().to_json().to_string().len();
    table.hold(
        "state, bytes with every list full",
        format!("{bytes} B"),
        "<= 2048 B",
        bytes <= MAX_STATE_BYTES,
    );
}

fn policy() -> Policy {
    Policy {
        workload: "worker".to_owned(),
        mode: outrigger::policy::Mode::Live,
        namespace: "default".to_owned(),
        bounds: ReplicaBounds::new(0, NonZeroU32::new(400).unwrap(), None).unwrap(),
        polling_seconds: NonZeroU32::new(30).unwrap(),
        cooldown_seconds: 300,
        initial_cooldown_seconds: 0,
        created: None,
        scale_out: ScalingRules::SCALE_OUT,
        scale_in: ScalingRules {
            window_seconds: 900,
            ..ScalingRules::SCALE_IN
        },
        fallback: None,
        pause: Pause::default(),
        force_activation: false,
        triggers: vec![Trigger::SqsQueue(SqsTrigger {
            queue: Queue {
                address: QueueAddress::Name("orders".to_owned()),
                region: "ap-northeast-1".to_owned(),
                endpoint: None,
                identity: Identity::Function,
            },
            messages_per_replica: NonZeroU32::new(10).unwrap(),
            activation_messages: 0,
            count_in_flight: true,
            count_in_flight_for_scale_out: true,
            count_delayed: false,
        })],
    }
}

/// The same with a window of office hours and a metric beside the queue.
fn all_kinds() -> (Policy, Observation) {
    let zone = time_zone("Europe/Berlin").unwrap();
    let schedule = |text| Schedule::parse(text, &zone).unwrap();
    let cron = CronTrigger {
        start: schedule("0 8 * * 1-5"),
        end: schedule("0 18 * * 1-5"),
        timezone: "Europe/Berlin".to_owned(),
        replicas: NonZeroU32::new(5).unwrap(),
    };
    let cloudwatch = CloudWatchTrigger {
        metric: Metric {
            query: MetricQuery::Expression("SELECT 1".to_owned()),
            period_seconds: 60,
            collection_seconds: 300,
            end_offset_seconds: 0,
            region: "ap-northeast-1".to_owned(),
            endpoint: None,
            identity: Identity::Function,
        },
        target_milli: NonZeroU64::new(60_000).unwrap(),
        activation_milli: 0,
        no_data_milli: None,
    };
    let (mut policy, mut observation) = (policy(), observation(7, 63));
    policy.triggers.push(Trigger::Cron(cron));
    policy.triggers.push(Trigger::CloudWatch(cloudwatch));
    let readings = [Reading::Cron, Reading::Metric(Some(90_500))];
    observation.readings.extend(readings);
    (policy, observation)
}

fn observation(replicas: u32, visible: u64) -> Observation {
    let depth = QueueDepth {
        visible,
        in_flight: 3,
        delayed: 0,
    };
    Observation {
        workload: Workload {
            replicas,
            rollout: Some(Rollout::default()),
        },
        readings: vec![Reading::Queue(depth)],
        stop: Stop::default(),
        conflicts: Vec::new(),
        poll_seconds: None,
    }
}

/// A state that has been at one count for long.
fn steady(replicas: u32) -> State {
    State {
        active: true,
        last_active: Some(at(-5_000)),
        in_window: vec![WindowEntry {
            replicas,
            until: None,
        }],
        last_written: Some(replicas),
        ..State::new(at(-10_000))
    }
}

/// A state with both windows full, and as many merged events beside them as it may have.
fn full() -> State {
    let mut state = with_full_windows();
    while state.text_len() > MAX_STATE_BYTES {
        state.events.remove(0);
    }
    state
}

fn with_full_windows() -> State {
    let entries = i64::try_from(MAX_ENTRIES).unwrap();
    let replicas = |step: i64| u32::try_from(step).unwrap();
    let until = |step: i64| (step < entries - 1).then(|| at(500 + step));
    State {
        in_window: (0..entries)
            .map(|step| WindowEntry {
                replicas: replicas(60 - step),
                until: until(step),
            })
            .collect(),
        out_window: (0..entries)
            .map(|step| WindowEntry {
                replicas: replicas(10 + step),
                until: until(step),
            })
            .collect(),
        events: (0..i64::try_from(MAX_EVENTS).unwrap())
            .map(|step| ScaleEvent {
                at: at(step * 50),
                since: Some(at(step * 50 - 20)),
                from: replicas(20 + step),
                to: replicas(21 + step),
            })
            .collect(),
        ..steady(40)
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_800_000_000 + seconds)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a measurement of real time, not an input of a decision"
)]
fn now() -> Instant {
    Instant::now()
}
