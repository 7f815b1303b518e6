//! The failure table over a world in memory: every row of it, and that one target's failure stops no other.

mod apart;
mod budget;
mod functions;
mod late;
mod owners;
mod rhythm;
mod writes;

use std::cell::{Cell, RefCell};

use super::*;
use crate::decide::{QueueDepth, Reason, Workload};
use crate::manifest::{Configuration, Context, WorkloadRef, read};
use crate::policy::{Metric, Queue};
use crate::ports::{Change, StateWrite};

/// Servers in memory, with faults by name.
#[derive(Default)]
struct Servers {
    stops: LastStops,
    depths: RefCell<BTreeMap<String, QueueDepth>>,
    /// What every metric says, in thousandths.
    metric: Cell<Option<i64>>,
    workloads: RefCell<BTreeMap<String, (String, u32)>>,
    memories: RefCell<BTreeMap<String, BTreeMap<String, String>>>,
    autoscalers: RefCell<Vec<Autoscaler>>,
    scaled_objects: RefCell<Vec<ScaledObject>>,
    /// Faults by the name of what is called, such as `read worker`, and how often; calls not named succeed.
    faults: RefCell<BTreeMap<String, (Fault, u32)>>,
    /// Calls that never answer.
    hanging: RefCell<Vec<String>>,
    /// Calls that take so long.
    slow: RefCell<BTreeMap<String, Duration>>,
    calls: RefCell<Vec<String>>,
    running: Cell<usize>,
    most_running: Cell<usize>,
    /// The function that makes the passes.
    function: Cell<Option<&'static str>>,
}

impl Servers {
    fn new(targets: &[(&str, u64, u32)]) -> Self {
        let servers = Self::default();
        for (name, visible, replicas) in targets {
            servers.set_depth(name, *visible);
            servers
                .workloads
                .borrow_mut()
                .insert((*name).to_owned(), ("uid".into(), *replicas));
        }
        servers
            .memories
            .borrow_mut()
            .insert("default".into(), BTreeMap::new());
        servers
    }

    fn set_depth(&self, name: &str, visible: u64) {
        self.depths.borrow_mut().insert(
            name.to_owned(),
            QueueDepth {
                visible,
                ..QueueDepth::default()
            },
        );
    }

    fn fail(&self, call: &str, fault: Fault) {
        self.faults
            .borrow_mut()
            .insert(call.to_owned(), (fault, u32::MAX));
    }

    fn replicas(&self, name: &str) -> u32 {
        self.workloads.borrow()[name].1
    }

    /// Somebody else sets a count.
    fn set_replicas(&self, name: &str, replicas: u32) {
        self.workloads
            .borrow_mut()
            .insert(name.to_owned(), ("uid".into(), replicas));
    }

    fn state(&self, name: &str) -> Option<State> {
        let memories = self.memories.borrow();
        memories
            .get("default")?
            .get(&format!("rollout.{name}"))
            .map(|text| State::parse(text).unwrap())
    }

    fn calls(&self) -> Vec<String> {
        self.calls.take()
    }

    async fn call(&self, name: String) -> Result<(), Fault> {
        self.calls.borrow_mut().push(name.clone());
        self.running.set(self.running.get() + 1);
        self.most_running
            .set(self.most_running.get().max(self.running.get()));
        tokio::task::yield_now().await;
        if self.hanging.borrow().contains(&name) {
            std::future::pending::<()>().await;
        }
        let pause = self.slow.borrow().get(&name).copied();
        if let Some(pause) = pause {
            tokio::time::sleep_until(Instant::now() + pause).await;
        }
        self.running.set(self.running.get() - 1);
        self.fault(&name)
    }

    fn fault(&self, name: &str) -> Result<(), Fault> {
        let mut faults = self.faults.borrow_mut();
        match faults.get_mut(name) {
            Some((fault, times)) if *times > 0 => {
                *times -= 1;
                Err(fault.clone())
            }
            _ => Ok(()),
        }
    }
}

impl Sources for Servers {
    async fn depth(&self, queue: &Queue) -> Result<QueueDepth, Fault> {
        let name = queue.address.name();
        self.call(format!("depth {name}")).await?;
        Ok(self.depths.borrow()[name])
    }

    async fn metric(&self, metric: &Metric, now: Timestamp) -> Result<Option<i64>, Fault> {
        self.call(format!("metric {metric} {now}")).await?;
        Ok(self.metric.get())
    }
}

impl Workloads for Servers {
    async fn read(&self, place: &Place) -> Result<Seen, Fault> {
        let name = &place.workload.name;
        self.call(format!("read {name}")).await?;
        let (uid, replicas) = self.workloads.borrow()[name].clone();
        Ok(Seen {
            uid,
            version: "1".to_owned(),
            resource: "rollouts".to_owned(),
            workload: Workload {
                replicas,
                rollout: None,
            },
        })
    }

    async fn autoscalers(&self, namespace: &Namespace) -> Result<Vec<Autoscaler>, Fault> {
        self.call(format!("list autoscalers {}", namespace.name))
            .await?;
        Ok(self.autoscalers.borrow().clone())
    }

    async fn scaled_objects(&self, namespace: &Namespace) -> Result<Vec<ScaledObject>, Fault> {
        self.call(format!("list scaledobjects {}", namespace.name))
            .await?;
        Ok(self.scaled_objects.borrow().clone())
    }
}

impl Scaler for Servers {
    async fn scale(&self, place: &Place, change: &Change) -> Result<(), Fault> {
        let name = &place.workload.name;
        self.call(format!("scale {name} {} {}", change.from, change.to))
            .await?;
        let mut workloads = self.workloads.borrow_mut();
        let (uid, replicas) = workloads.get_mut(name).unwrap();
        if (&*uid, *replicas) != (&change.uid, change.from) {
            return Err(Fault::lost_race("changed"));
        }
        *replicas = change.to;
        Ok(())
    }
}

impl Memories for Servers {
    async fn load(&self, namespace: &Namespace) -> Result<BTreeMap<String, String>, Fault> {
        self.call(format!("load {}", namespace.name)).await?;
        Ok(self.memories.borrow()[&namespace.name].clone())
    }
}

impl LiveMemories for Servers {
    async fn store(&self, namespace: &Namespace, writes: &[StateWrite]) -> Vec<Result<(), Fault>> {
        self.swap(namespace, writes, WorkloadRef::key).await
    }
}

impl ShadowMemories for Servers {
    async fn store_shadow(
        &self,
        namespace: &Namespace,
        writes: &[StateWrite],
    ) -> Vec<Result<(), Fault>> {
        self.swap(namespace, writes, WorkloadRef::shadow_key).await
    }
}

impl Servers {
    /// The call is named by its keys in order, such as `store rollout.a rollout.b`. A fault of that name, or of `store default`, is one of
    /// the whole patch, and one of `store rollout.a` is one of that key wherever it is.
    async fn swap(
        &self,
        namespace: &Namespace,
        writes: &[StateWrite],
        key_of: impl Fn(&WorkloadRef) -> String,
    ) -> Vec<Result<(), Fault>> {
        let keys: Vec<String> = writes.iter().map(|write| key_of(&write.workload)).collect();
        let mut sorted = keys.clone();
        sorted.sort();
        let whole = self.call(format!("store {}", sorted.join(" "))).await;
        let whole = whole.and_then(|()| self.fault(&format!("store {}", namespace.name)));
        let mut memories = self.memories.borrow_mut();
        let kept = memories.get_mut(&namespace.name).unwrap();
        let mut swap = |key: &str, write: &StateWrite| {
            whole.clone()?;
            if keys.len() > 1 {
                self.fault(&format!("store {key}"))?;
            }
            if kept.get(key) != write.old.as_ref() {
                return Err(Fault::lost_race("changed"));
            }
            kept.insert(key.to_owned(), write.new.clone());
            Ok(())
        };
        let writes = keys.iter().zip(writes);
        writes.map(|(key, write)| swap(key, write)).collect()
    }
}

fn configuration(names: &[&str]) -> Configuration {
    let objects: Vec<String> = names.iter().map(|name| object(name, name)).collect();
    let configuration = read(
        objects.join("---\n").as_bytes(),
        Context {
            file: "test.yaml",
            namespace: "default",
            clusters: &[],
        },
    );
    assert_eq!(configuration.findings, []);
    configuration
}

fn object(name: &str, queue: &str) -> String {
    format!(
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {{name: {name}}}\nspec:\n  scaleTargetRef: {{name: {name}, kind: Rollout, \
         apiVersion: argoproj.io/v1alpha1}}\n  minReplicaCount: 2\n  maxReplicaCount: 16\n  triggers:\n  - type: aws-sqs-queue\n    metadata: \
         {{queueURL: {queue}, queueLength: '10', awsRegion: eu-west-1, identityOwner: operator}}\n"
    )
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

async fn pass_at<'t>(
    servers: &Servers,
    configuration: &'t Configuration,
    seconds: i64,
    deadline: Option<Duration>,
    dry_run: bool,
) -> Vec<Outcome<'t>> {
    passed_at(servers, configuration, seconds, deadline, dry_run)
        .await
        .outcomes
}

/// What a pass without a deadline finds of these polls.
async fn outcomes_of<'t>(
    servers: &Servers,
    due: impl IntoIterator<Item = Due<'t>>,
    seconds: i64,
) -> Vec<Outcome<'t>> {
    let plan = Plan {
        now: at(seconds),
        deadline: None,
        default_cluster: "prod",
        poll_seconds: None,
        stops: &servers.stops,
        function: None,
        known: None,
    };
    run(world_of(servers), due, plan).await.outcomes
}

type WorldOf<'s> = World<'s, Servers, Servers, Servers, Hands<'s, Servers, Servers, Servers>>;

/// A world that is these servers.
fn world_of(servers: &Servers) -> WorldOf<'_> {
    let hands = Hands {
        scaler: servers,
        memories: servers,
        shadow_memories: servers,
    };
    World {
        sources: servers,
        workloads: servers,
        memories: servers,
        hands: Some(hands),
    }
}

async fn passed_at<'t>(
    servers: &Servers,
    configuration: &'t Configuration,
    seconds: i64,
    deadline: Option<Duration>,
    dry_run: bool,
) -> Passed<'t> {
    let mut world = world_of(servers);
    if dry_run {
        world.hands = None;
    }
    let targets: Vec<&Target> = configuration.targets.iter().collect();
    let deadline = deadline.map(|left| Instant::now() + left);
    run(
        world,
        &targets,
        Plan {
            now: at(seconds),
            deadline,
            default_cluster: "prod",
            poll_seconds: None,
            stops: &servers.stops,
            function: servers.function.get(),
            known: None,
        },
    )
    .await
}

async fn pass<'t>(
    servers: &Servers,
    configuration: &'t Configuration,
    seconds: i64,
) -> Vec<Outcome<'t>> {
    pass_at(
        servers,
        configuration,
        seconds,
        Some(Duration::from_mins(1)),
        false,
    )
    .await
}

fn effects(outcomes: &[Outcome<'_>]) -> Vec<(Effect, bool)> {
    outcomes
        .iter()
        .map(|outcome| (outcome.effect, outcome.is_failed()))
        .collect()
}

#[tokio::test]
async fn a_pass_scales_and_a_steady_world_is_not_written_to() {
    let (servers, configuration) = (
        Servers::new(&[("worker", 63, 2)]),
        configuration(&["worker"]),
    );
    let outcomes = pass(&servers, &configuration, 0).await;
    assert_eq!(effects(&outcomes), [(Effect::Scaled, false)]);
    assert_eq!(servers.replicas("worker"), 7);
    // State first, then the count.
    assert_eq!(
        servers.calls(),
        [
            "read worker",
            "depth worker",
            "load default",
            "list autoscalers default",
            "list scaledobjects default",
            "store rollout.worker",
            "scale worker 2 7"
        ]
    );
    pass(&servers, &configuration, 60).await;
    assert_eq!(servers.state("worker").unwrap().last_written, Some(7));
    servers.calls();
    for seconds in [120, 180, 7200] {
        assert_eq!(
            effects(&pass(&servers, &configuration, seconds).await),
            [(Effect::Held, false)]
        );
        assert_eq!(
            servers.calls(),
            ["read worker", "depth worker", "load default"]
        );
    }
}

#[tokio::test]
async fn a_shared_queue_is_read_once() {
    let text = format!("{}---\n{}", object("a", "orders"), object("b", "orders"));
    let configuration = read(
        text.as_bytes(),
        Context {
            file: "test.yaml",
            namespace: "default",
            clusters: &[],
        },
    );
    let servers = Servers::new(&[("a", 0, 2), ("b", 0, 2), ("orders", 63, 0)]);
    let outcomes = pass(&servers, &configuration, 0).await;
    assert_eq!(
        effects(&outcomes),
        [(Effect::Scaled, false), (Effect::Scaled, false)]
    );
    let calls = servers.calls();
    assert_eq!(
        calls.iter().filter(|call| *call == "depth orders").count(),
        1,
        "{calls:?}"
    );
    assert_eq!(
        calls.iter().filter(|call| *call == "load default").count(),
        1,
        "{calls:?}"
    );
}

/// An object with a queue, a window that is always open but for a minute, and a metric.
fn all_kinds(name: &str, ignore_null_values: bool) -> String {
    format!(
        "{}  - type: cron\n    metadata: {{timezone: UTC, start: '1 0 * * *', end: '0 0 * * *', desiredReplicas: '3'}}\n  - type: aws-cloudwatch\n    \
         metadata: {{namespace: Shop, metricName: Carts, dimensionName: Shop, dimensionValue: eu, targetMetricValue: '2.5', minMetricValue: '0', \
         ignoreNullValues: '{ignore_null_values}', awsRegion: eu-west-1, identityOwner: operator}}\n",
        object(name, "orders"),
    )
}

fn read_all(objects: &[String]) -> Configuration {
    let configuration = read(
        objects.join("---\n").as_bytes(),
        Context {
            file: "test.yaml",
            namespace: "default",
            clusters: &[],
        },
    );
    assert_eq!(configuration.findings, []);
    configuration
}

#[tokio::test]
async fn all_kinds_of_triggers_are_read_once_and_the_highest_wins() {
    let configuration = read_all(&[all_kinds("a", true), all_kinds("b", true)]);
    let servers = Servers::new(&[("a", 0, 2), ("b", 0, 2), ("orders", 12, 0)]);
    servers.metric.set(Some(20_001));
    let outcomes = pass(&servers, &configuration, 0).await;
    assert_eq!(effects(&outcomes), [(Effect::Scaled, false); 2]);
    assert_eq!((servers.replicas("a"), servers.replicas("b")), (9, 9));
    let decided = outcomes[0].decided.as_ref().unwrap();
    assert_eq!(decided.decision.reason, Reason::MetricValue);
    let [
        Reading::Queue(_),
        Reading::Cron,
        Reading::Metric(Some(20_001)),
    ] = decided.observation.readings[..]
    else {
        panic!("{:?}", decided.observation.readings)
    };
    let calls = servers.calls();
    let metrics: Vec<&String> = calls
        .iter()
        .filter(|call| call.starts_with("metric"))
        .collect();
    assert_eq!(metrics, [&format!("metric `Shop Carts Shop=eu` {}", at(0))]);
}

#[tokio::test]
async fn a_metric_that_fails_holds_no_other_trigger_back_from_scaling_out() {
    let configuration = read_all(&[all_kinds("a", true)]);
    let servers = Servers::new(&[("a", 0, 2), ("orders", 63, 0)]);
    let call = format!("metric `Shop Carts Shop=eu` {}", at(0));
    servers.fail(&call, Fault::failed("Throttling", "slow down"));
    let outcomes = pass(&servers, &configuration, 0).await;
    assert_eq!(effects(&outcomes), [(Effect::Scaled, true)]);
    assert_eq!(servers.replicas("a"), 7);
    assert_eq!(outcomes[0].faults[0].code, "Throttling");
}

#[tokio::test]
async fn no_data_fails_where_the_manifest_says_so() {
    for (ignore_null_values, replicas, code) in [(true, 3, None), (false, 9, Some("NoData"))] {
        let configuration = read_all(&[all_kinds("a", ignore_null_values)]);
        let servers = Servers::new(&[("a", 0, 9), ("orders", 0, 0)]);
        let state = State {
            active: true,
            last_written: Some(9),
            ..State::new(at(-10_000))
        };
        let state = state.to_json().to_string();
        let memory = BTreeMap::from([("rollout.a".to_owned(), state)]);
        servers
            .memories
            .borrow_mut()
            .insert("default".into(), memory);
        let outcomes = pass(&servers, &configuration, 0).await;
        assert_eq!(servers.replicas("a"), replicas, "{outcomes:#?}");
        let fault = outcomes[0].faults.first();
        assert_eq!(fault.map(|fault| fault.code.as_str()), code);
        if let Some(fault) = fault {
            for part in [
                "`Shop Carts Shop=eu`",
                "eu-west-1",
                "`ignoreNullValues` is false",
                "aws cloudwatch list-metrics",
            ] {
                assert!(fault.message.contains(part), "{part} in {}", fault.message);
            }
        }
    }
}

#[tokio::test]
async fn sqs_failures_hold_their_target_and_no_other() {
    for code in [
        "RequestThrottled",
        "Timeout",
        "AccessDenied",
        "QueueDoesNotExist",
    ] {
        let (servers, configuration) = (
            Servers::new(&[("bad", 0, 9), ("good", 63, 2)]),
            configuration(&["bad", "good"]),
        );
        servers.fail(
            "depth bad",
            Fault::failed(code, format!("could not read `bad`: {code}")),
        );
        let outcomes = pass(&servers, &configuration, 0).await;
        assert_eq!(
            effects(&outcomes),
            [(Effect::Held, true), (Effect::Scaled, false)],
            "{code}"
        );
        assert_eq!((servers.replicas("bad"), servers.replicas("good")), (9, 7));
        assert_eq!(
            outcomes[0].decided.as_ref().unwrap().decision.reason,
            Reason::ReadingFailed
        );
        assert_eq!(outcomes[0].faults[0].code, code);
    }
}

#[tokio::test]
async fn an_error_never_scales_in_however_long_it_lasts() {
    let (servers, configuration) = (
        Servers::new(&[("worker", 90, 9)]),
        configuration(&["worker"]),
    );
    pass(&servers, &configuration, 0).await;
    servers.set_depth("worker", 0);
    servers.fail("depth worker", Fault::failed("Timeout", "no answer"));
    for hour in 1..50 {
        pass(&servers, &configuration, hour * 3600).await;
        assert_eq!(servers.replicas("worker"), 9);
    }
    // After the recovery scale-in waits a whole window again.
    servers.faults.borrow_mut().clear();
    pass(&servers, &configuration, 50 * 3600).await;
    pass(&servers, &configuration, 50 * 3600 + 299).await;
    assert_eq!(servers.replicas("worker"), 9);
    pass(&servers, &configuration, 50 * 3600 + 300).await;
    assert_eq!(servers.replicas("worker"), 2);
}

#[tokio::test]
async fn an_unreadable_workload_fails_its_target_and_writes_nothing() {
    for code in [
        "Unauthorized",
        "Forbidden",
        "NotFound",
        "InternalError",
        "Timeout",
    ] {
        let (servers, configuration) = (
            Servers::new(&[("bad", 90, 9), ("good", 63, 2)]),
            configuration(&["bad", "good"]),
        );
        servers.fail("read bad", Fault::failed(code, "no"));
        let outcomes = pass(&servers, &configuration, 0).await;
        assert_eq!(
            effects(&outcomes),
            [(Effect::NotDone, true), (Effect::Scaled, false)],
            "{code}"
        );
        assert!(
            !servers
                .calls()
                .iter()
                .any(|call| call.contains("store rollout.bad") || call.contains("scale bad"))
        );
    }
}

#[tokio::test]
async fn without_memory_it_scales_out_and_never_in() {
    for (call, code) in [
        ("load default", "NotFound"),
        ("store rollout.worker", "Forbidden"),
    ] {
        let (servers, configuration) = (
            Servers::new(&[("worker", 63, 2)]),
            configuration(&["worker"]),
        );
        servers.fail(call, Fault::failed(code, "no"));
        let outcomes = pass(&servers, &configuration, 0).await;
        assert_eq!(effects(&outcomes), [(Effect::Scaled, true)], "{call}");
        assert_eq!(servers.replicas("worker"), 7);
        // Above the maximum even a correction waits for the memory.
        servers
            .workloads
            .borrow_mut()
            .insert("worker".into(), ("uid".into(), 40));
        let outcomes = pass(&servers, &configuration, 60).await;
        assert_eq!(effects(&outcomes), [(Effect::NotDone, true)], "{call}");
        assert_eq!(servers.replicas("worker"), 40);
    }
}

#[tokio::test]
async fn a_lost_race_stops_the_tick_and_is_no_failure() {
    let (servers, configuration) = (
        Servers::new(&[("worker", 63, 2)]),
        configuration(&["worker"]),
    );
    servers.fail("store rollout.worker", Fault::lost_race("another copy"));
    assert_eq!(
        effects(&pass(&servers, &configuration, 0).await),
        [(Effect::LostRace, false)]
    );
    assert!(!servers.calls().iter().any(|call| call.starts_with("scale")));
    servers.faults.borrow_mut().clear();
    servers.fail("scale worker 2 7", Fault::lost_race("somebody scaled"));
    assert_eq!(
        effects(&pass(&servers, &configuration, 60).await),
        [(Effect::LostRace, false)]
    );
    assert_eq!(servers.replicas("worker"), 2);
}

#[tokio::test]
async fn the_second_of_two_invocations_finds_nothing_to_do() {
    let (servers, configuration) = (
        Servers::new(&[("worker", 63, 2)]),
        configuration(&["worker"]),
    );
    let (first, second) = futures_util::future::join(
        pass(&servers, &configuration, 0),
        pass(&servers, &configuration, 0),
    )
    .await;
    let mut both = vec![first[0].effect, second[0].effect];
    both.sort_by_key(|effect| *effect != Effect::Scaled);
    assert_eq!(both, [Effect::Scaled, Effect::LostRace]);
    // Late and out of order: the count is right already.
    assert_eq!(
        effects(&pass(&servers, &configuration, -30).await),
        [(Effect::Held, false)]
    );
    let scales = servers
        .calls()
        .iter()
        .filter(|call| call.starts_with("scale"))
        .count();
    assert_eq!((scales, servers.replicas("worker")), (1, 7));
}

#[tokio::test(start_paused = true)]
async fn a_killed_pass_is_settled_by_the_next() {
    // Killed between the state and the count: the count was not written.
    let (servers, configuration) = (
        Servers::new(&[("worker", 63, 2)]),
        configuration(&["worker"]),
    );
    servers.hanging.borrow_mut().push("scale worker 2 7".into());
    let killed =
        tokio::time::timeout(Duration::from_millis(1), pass(&servers, &configuration, 0)).await;
    assert!(killed.is_err());
    assert!(servers.state("worker").unwrap().pending.is_some());
    servers.hanging.borrow_mut().clear();
    assert_eq!(
        effects(&pass(&servers, &configuration, 60).await),
        [(Effect::Scaled, false)]
    );
    let state = servers.state("worker").unwrap();
    assert_eq!(
        (
            servers.replicas("worker"),
            state.events.len(),
            state.pending.map(|event| event.at)
        ),
        (7, 0, Some(at(60)))
    );
    // Killed after both: the next pass sees that it happened.
    pass(&servers, &configuration, 120).await;
    let state = servers.state("worker").unwrap();
    assert_eq!(
        (state.events.len(), state.pending, state.last_written),
        (1, None, Some(7))
    );
}

#[tokio::test(start_paused = true)]
async fn near_the_deadline_targets_are_not_reached_rather_than_half_done() {
    let (servers, configuration) = (
        Servers::new(&[("a", 63, 2), ("b", 63, 2)]),
        configuration(&["a", "b"]),
    );
    let outcomes = pass_at(
        &servers,
        &configuration,
        0,
        Some(Duration::from_secs(2)),
        false,
    )
    .await;
    assert_eq!(
        effects(&outcomes),
        [(Effect::NotReached, true), (Effect::NotReached, true)]
    );
    assert!(
        !servers
            .calls()
            .iter()
            .any(|call| call.starts_with("store") || call.starts_with("scale"))
    );
    // A server that never answers costs its own targets, and the pass still ends in time.
    servers.hanging.borrow_mut().push("read a".into());
    let begun = Instant::now();
    let outcomes = pass_at(
        &servers,
        &configuration,
        0,
        Some(Duration::from_secs(12)),
        false,
    )
    .await;
    assert_eq!(
        effects(&outcomes),
        [(Effect::NotReached, true), (Effect::Scaled, false)]
    );
    assert!(begun.elapsed() <= Duration::from_secs(12));
    assert!(outcomes[0].faults[0].message.contains("target `default/a`"));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_never_answers_ends_at_the_deadline() {
    let (servers, configuration) = (
        Servers::new(&[("worker", 63, 2)]),
        configuration(&["worker"]),
    );
    servers.hanging.borrow_mut().push("scale worker 2 7".into());
    let outcomes = pass(&servers, &configuration, 0).await;
    assert_eq!(effects(&outcomes), [(Effect::NotDone, true)]);
    assert_eq!(outcomes[0].faults[0].code, "DeadlineExceeded");
}

#[tokio::test]
async fn a_dry_run_writes_nothing_at_all() {
    let (servers, configuration) = (
        Servers::new(&[("out", 63, 2), ("still", 20, 2)]),
        configuration(&["out", "still"]),
    );
    let outcomes = pass_at(&servers, &configuration, 0, None, true).await;
    assert_eq!(
        effects(&outcomes),
        [(Effect::DryRun, false), (Effect::Held, false)]
    );
    assert_eq!(outcomes[0].decided.as_ref().unwrap().decision.to, 7);
    assert!(
        !servers
            .calls()
            .iter()
            .any(|call| call.starts_with("store") || call.starts_with("scale"))
    );
}

#[tokio::test]
async fn a_world_to_look_at_decides_the_same_and_has_nothing_to_write_with() {
    let targets = [("out", 63, 2), ("above", 0, 40), ("shadow-a", 63, 2)];
    let (servers, configuration) = (Servers::new(&targets), mixed(&["out", "above", "shadow-a"]));
    let targets: Vec<&Target> = configuration.targets.iter().collect();
    let plan = Plan {
        now: at(0),
        deadline: None,
        default_cluster: "prod",
        poll_seconds: None,
        stops: &servers.stops,
        function: None,
        known: None,
    };
    let world = World::to_look_at(&servers, &servers, &servers);
    let looked = run(world, &targets, plan).await.outcomes;
    assert_eq!(effects(&looked), [(Effect::DryRun, false); 3]);
    assert!(
        !servers
            .calls()
            .iter()
            .any(|call| call.starts_with("store") || call.starts_with("scale"))
    );
    let decided: Vec<Option<Decided>> = looked.into_iter().map(|seen| seen.decided).collect();
    let passed = pass(&servers, &configuration, 0).await;
    assert!(passed.iter().map(|outcome| &outcome.decided).eq(&decided));
}

/// Targets of which those named `shadow-…` are in shadow mode.
fn mixed(names: &[&str]) -> Configuration {
    let objects = names.iter().map(|name| {
        let object = object(name, name);
        let annotated = format!("{{name: {name}, annotations: {{outrigger.dev/mode: shadow}}}}");
        if name.starts_with("shadow-") {
            object.replacen(&format!("{{name: {name}}}"), &annotated, 1)
        } else {
            object
        }
    });
    read_all(&objects.collect::<Vec<_>>())
}

#[tokio::test]
async fn a_shadow_target_is_never_scaled_and_remembered_apart() {
    let (servers, configuration) = (
        Servers::new(&[("live", 63, 2), ("shadow-a", 63, 2)]),
        mixed(&["live", "shadow-a"]),
    );
    let outcomes = pass(&servers, &configuration, 0).await;
    assert_eq!(
        effects(&outcomes),
        [(Effect::Scaled, false), (Effect::Shadow, false)]
    );
    assert_eq!(outcomes[1].decided.as_ref().unwrap().decision.to, 7);
    let written = |servers: &Servers| -> Vec<String> {
        let calls = servers.calls().into_iter();
        calls
            .filter(|call| !call.starts_with("read") && !call.starts_with("depth"))
            .collect()
    };
    assert_eq!(
        written(&servers),
        [
            "load default",
            "list autoscalers default",
            "list scaledobjects default",
            "store rollout.live",
            "store shadow.rollout.shadow-a",
            "scale live 2 7"
        ]
    );
    // While nothing changes there is nothing to write, however much the two differ.
    for seconds in [60, 120, 7200] {
        let outcomes = pass(&servers, &configuration, seconds).await;
        assert_eq!(outcomes[1].effect, Effect::Shadow);
        let stored = written(&servers).into_iter();
        let stored: Vec<String> = stored.filter(|call| call.contains("shadow")).collect();
        assert_eq!(stored, [] as [String; 0], "{seconds}");
    }
    // Somebody else scales, again and again, and that is nothing to complain about.
    for (step, replicas) in (0..).zip([7, 3, 9, 4, 12, 7]) {
        servers.set_replicas("shadow-a", replicas);
        let outcomes = pass(&servers, &configuration, 10_000 + step * 60).await;
        assert!(!outcomes[1].is_failed());
        let decision = &outcomes[1].decided.as_ref().unwrap().decision;
        assert_eq!(decision.from, replicas);
        assert!(!decision.contested && decision.state.pending.is_none());
        assert_eq!(outcomes[1].effect == Effect::Held, decision.to == replicas);
        assert_eq!(servers.replicas("shadow-a"), replicas);
    }
    let keys: Vec<String> = servers.memories.borrow()["default"]
        .keys()
        .cloned()
        .collect();
    assert_eq!(keys, ["rollout.live", "shadow.rollout.shadow-a"]);
}

#[tokio::test]
async fn a_shadow_target_fails_stops_and_loses_races_as_others_do() {
    let names = ["shadow-a", "shadow-b"];
    let (servers, configuration) = (
        Servers::new(&[("shadow-a", 63, 2), ("shadow-b", 63, 2)]),
        mixed(&names),
    );
    let dry = pass_at(&servers, &configuration, 0, None, true).await;
    assert_eq!(
        effects(&dry),
        [(Effect::DryRun, false), (Effect::DryRun, false)]
    );
    assert!(!servers.calls().iter().any(|call| call.starts_with("store")));
    // The emergency stop names the workload, as for live targets.
    let stop = |text: &str| {
        let mut memories = servers.memories.borrow_mut();
        let keys = memories.get_mut("default").unwrap();
        keys.insert("pause".into(), text.into());
    };
    stop("rollout.shadow-b");
    servers.fail(
        "store shadow.rollout.shadow-a",
        Fault::lost_race("another copy"),
    );
    let outcomes = pass(&servers, &configuration, 0).await;
    assert_eq!(
        effects(&outcomes),
        [(Effect::LostRace, false), (Effect::Held, false)]
    );
    let reason = outcomes[1].decided.as_ref().unwrap().decision.reason;
    assert_eq!(reason, Reason::Stopped);
    // Without memory nothing scales in, so shadow mode does not pretend to.
    servers.fail(
        "store shadow.rollout.shadow-a",
        Fault::failed("Forbidden", "no"),
    );
    for (replicas, effect) in [(2, Effect::Shadow), (40, Effect::NotDone)] {
        servers.set_replicas("shadow-a", replicas);
        let outcomes = pass(&servers, &configuration, 60).await;
        assert_eq!(
            (outcomes[0].effect, outcomes[0].is_failed()),
            (effect, true)
        );
    }
    assert!(!servers.calls().iter().any(|call| call.starts_with("scale")));
}

#[tokio::test]
async fn an_unreadable_state_is_begun_anew_and_told() {
    let (servers, configuration) = (
        Servers::new(&[("worker", 0, 9)]),
        configuration(&["worker"]),
    );
    for junk in ["", "{", "[]", "{\"v\":2}", "not json"] {
        servers
            .memories
            .borrow_mut()
            .get_mut("default")
            .unwrap()
            .insert("rollout.worker".into(), junk.into());
        let outcomes = pass(&servers, &configuration, 0).await;
        assert_eq!(effects(&outcomes), [(Effect::Held, true)], "{junk}");
        assert_eq!(
            (
                outcomes[0].faults[0].code.as_str(),
                servers.replicas("worker")
            ),
            ("StateUnreadable", 9)
        );
        assert_eq!(servers.state("worker").unwrap().first_seen, at(0));
        assert_eq!(
            effects(&pass(&servers, &configuration, 60).await),
            [(Effect::Held, false)]
        );
    }
}

#[tokio::test]
async fn a_lost_state_goes_to_zero_after_a_whole_cooldown() {
    let text = object("worker", "worker")
        .replace("minReplicaCount: 2", "minReplicaCount: 0")
        .replace("spec:\n", "spec:\n  cooldownPeriod: 3600\n");
    let context = Context {
        file: "test.yaml",
        namespace: "default",
        clusters: &[],
    };
    let configuration = read(text.as_bytes(), context);
    assert_eq!(
        configuration.targets[0].policy.cooldown_seconds, 3600,
        "{text}"
    );
    assert_eq!(configuration.targets[0].policy.bounds.min(), 0, "{text}");
    let servers = Servers::new(&[("worker", 0, 1)]);
    let anew = r#"{"v":1,"firstSeen":"{now}","active":false,"lastActive":"{now}","inWindow":[{"replicas":1}]}"#;
    let state = anew.replace("{now}", &at(0).to_string());
    for lost in ["junk", &state] {
        servers
            .memories
            .borrow_mut()
            .get_mut("default")
            .unwrap()
            .insert("rollout.worker".into(), lost.into());
        servers.calls();
        let outcomes = pass(&servers, &configuration, 0).await;
        assert_eq!(effects(&outcomes), [(Effect::Held, lost == "junk")]);
        assert!(servers.calls().contains(&"store rollout.worker".to_owned()));
    }
    for seconds in [60, 400, 3600] {
        pass(&servers, &configuration, seconds).await;
        assert_eq!(servers.replicas("worker"), 1, "{seconds}");
    }
    pass(&servers, &configuration, 3601).await;
    assert_eq!(servers.replicas("worker"), 0);
}

#[tokio::test]
async fn the_emergency_stop_holds_also_when_it_cannot_be_read() {
    let (servers, configuration) = (
        Servers::new(&[("worker", 63, 2), ("other", 63, 2)]),
        configuration(&["worker", "other"]),
    );
    let stop = |text: &str| {
        let mut memories = servers.memories.borrow_mut();
        let keys = memories.get_mut("default").unwrap();
        keys.insert("pause".into(), text.into());
    };
    stop("rollout.worker");
    let outcomes = pass(&servers, &configuration, 0).await;
    assert_eq!(
        effects(&outcomes),
        [(Effect::Held, false), (Effect::Scaled, false)]
    );
    let reason = |outcomes: &[Outcome<'_>]| outcomes[0].decided.as_ref().unwrap().decision.reason;
    assert_eq!(reason(&outcomes), Reason::Stopped);
    servers.fail("load default", Fault::failed("Timeout", "no answer"));
    let outcomes = pass(&servers, &configuration, 60).await;
    assert_eq!(
        (reason(&outcomes), servers.replicas("worker")),
        (Reason::Stopped, 2)
    );
    servers.faults.borrow_mut().clear();
    stop("");
    pass(&servers, &configuration, 120).await;
    assert_eq!(servers.replicas("worker"), 7);
}

/// A stop may stand in a ConfigMap that is there and was never read. That ends, since a right that is missing is no stop.
#[tokio::test]
async fn a_cold_start_holds_where_a_stop_may_stand_and_says_until_when() {
    for code in ["Forbidden", "ServerError", "Timeout", "TooLarge"] {
        let (servers, configuration) = (
            Servers::new(&[("worker", 63, 2)]),
            configuration(&["worker"]),
        );
        servers.fail("load default", Fault::failed(code, "no"));
        for seconds in [0, 60, 299] {
            let outcomes = pass(&servers, &configuration, seconds).await;
            assert_eq!(effects(&outcomes), [(Effect::Held, true)], "{code}");
            let decision = &outcomes[0].decided.as_ref().unwrap().decision;
            assert_eq!(
                (decision.reason, decision.until),
                (Reason::StopUnknown, Some(at(300)))
            );
            let said = format!("so that a stop may stand in it; holds until {}", at(300));
            assert!(decision.explanation.ends_with(&said), "{decision:?}");
        }
        let outcomes = pass(&servers, &configuration, 300).await;
        assert_eq!(effects(&outcomes), [(Effect::Scaled, true)], "{code}");
        assert_eq!(servers.replicas("worker"), 7);
    }
}

#[tokio::test]
async fn a_cold_start_that_reads_the_config_map_later_goes_on_at_once() {
    let (servers, configuration) = (
        Servers::new(&[("worker", 63, 2), ("other", 63, 2)]),
        configuration(&["worker", "other"]),
    );
    servers.fail("load default", Fault::failed("ServerError", "no"));
    pass(&servers, &configuration, 0).await;
    assert_eq!(servers.replicas("worker"), 2);
    servers.faults.borrow_mut().clear();
    let keys = [("pause".to_owned(), "rollout.other".to_owned())];
    servers
        .memories
        .borrow_mut()
        .insert("default".into(), keys.into());
    pass(&servers, &configuration, 60).await;
    assert_eq!(
        (servers.replicas("worker"), servers.replicas("other")),
        (7, 2)
    );
}

#[tokio::test]
async fn calls_are_bounded() {
    let names: Vec<String> = (0..200).map(|index| format!("w{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let targets: Vec<(&str, u64, u32)> = names.iter().map(|name| (*name, 63, 2)).collect();
    let (servers, configuration) = (Servers::new(&targets), configuration(&names));
    let outcomes = pass(&servers, &configuration, 0).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome.effect == Effect::Scaled)
    );
    let most = servers.most_running.get();
    assert!(most <= 2 * MAX_CALLS && most > MAX_CALLS, "{most}");
}

#[tokio::test]
async fn a_change_that_was_refused_is_no_longer_pending() {
    let (servers, configuration) = (
        Servers::new(&[("worker", 63, 2)]),
        configuration(&["worker"]),
    );
    servers.fail("scale worker 2 7", Fault::failed("Forbidden", "no"));
    for seconds in [0, 60, 120, 180, 240] {
        let outcomes = pass(&servers, &configuration, seconds).await;
        assert_eq!(effects(&outcomes), [(Effect::NotDone, true)]);
        // Nobody else is blamed for what did not happen.
        assert!(!outcomes[0].decided.as_ref().unwrap().decision.contested);
        assert_eq!(servers.state("worker").unwrap().pending, None);
    }
    // Where the answer was lost, the next pass sees what became of it.
    let unclear = Fault {
        kind: FaultKind::Unclear,
        ..Fault::failed("Timeout", "no answer")
    };
    servers.fail("scale worker 2 7", unclear);
    pass(&servers, &configuration, 300).await;
    assert!(servers.state("worker").unwrap().pending.is_some());
    servers.faults.borrow_mut().clear();
    let outcomes = pass(&servers, &configuration, 360).await;
    assert_eq!(effects(&outcomes), [(Effect::Scaled, false)]);
}
