//! Who fails, hangs or asks for much delays nobody else: in modelled time, the first write of each other tenant with and without.

use super::*;
use crate::policy::{Identity, Trigger};

/// What a call of a healthy server takes: between 10 and 30 ms, the same each time. Were all alike, everything would go in steps of one
/// call, of which a first write takes four or five.
fn usual(call: &str) -> Duration {
    let hash = call.bytes().fold(17_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Duration::from_micros(10_000 + (hash >> 20) % 20_000)
}

/// What a queue holds: more than two replicas take.
const VISIBLE: u64 = 63;

/// What a call comes to.
enum Answer {
    After(Duration),
    FailsAfter(Duration),
    Never,
}

/// Servers of which some calls are bad. All workloads have two replicas and want more.
struct Fleet {
    bad: fn(&str) -> Answer,
    begun: Instant,
    /// By `cluster/namespace`, the moment of the first count.
    first_writes: RefCell<BTreeMap<String, Duration>>,
}

impl Fleet {
    /// Calls are named by their place, such as `depth eu-west-1 own tenant-03-0` or `load prod/tenant-03`.
    async fn call(&self, name: String) -> Result<(), Fault> {
        let (pause, result) = match (self.bad)(&name) {
            Answer::After(pause) => (pause, Ok(())),
            Answer::FailsAfter(pause) => (pause, Err(Fault::failed("NoCredentials", "no"))),
            Answer::Never => std::future::pending().await,
        };
        tokio::time::sleep_until(Instant::now() + pause).await;
        result
    }
}

fn named(namespace: &Namespace) -> String {
    format!("{}/{}", namespace.cluster, namespace.name)
}

impl Sources for Fleet {
    async fn depth(&self, queue: &Queue) -> Result<QueueDepth, Fault> {
        let who = match &queue.identity {
            Identity::Function => "own",
            Identity::Role { .. } => "role",
        };
        let name = queue.address.name();
        self.call(format!("depth {} {who} {name}", queue.region))
            .await?;
        Ok(QueueDepth {
            visible: VISIBLE,
            ..QueueDepth::default()
        })
    }

    async fn metric(&self, _: &Metric, _: Timestamp) -> Result<Option<i64>, Fault> {
        Ok(None)
    }
}

impl Workloads for Fleet {
    async fn read(&self, place: &Place) -> Result<Seen, Fault> {
        self.call(format!("read {}", named(&place.namespace)))
            .await?;
        Ok(Seen {
            uid: "uid".to_owned(),
            version: "1".to_owned(),
            resource: "rollouts".to_owned(),
            workload: Workload {
                replicas: 2,
                rollout: None,
            },
        })
    }

    async fn autoscalers(&self, namespace: &Namespace) -> Result<Vec<Autoscaler>, Fault> {
        self.call(format!("list {}", named(namespace))).await?;
        Ok(Vec::new())
    }

    async fn scaled_objects(&self, namespace: &Namespace) -> Result<Vec<ScaledObject>, Fault> {
        self.call(format!("list {}", named(namespace))).await?;
        Ok(Vec::new())
    }
}

impl Scaler for Fleet {
    async fn scale(&self, place: &Place, _: &Change) -> Result<(), Fault> {
        let name = named(&place.namespace);
        self.call(format!("scale {name}")).await?;
        let mut first_writes = self.first_writes.borrow_mut();
        first_writes.entry(name).or_insert(self.begun.elapsed());
        Ok(())
    }
}

impl Memories for Fleet {
    async fn load(&self, namespace: &Namespace) -> Result<BTreeMap<String, String>, Fault> {
        self.call(format!("load {}", named(namespace))).await?;
        Ok(BTreeMap::new())
    }
}

impl LiveMemories for Fleet {
    async fn store(&self, namespace: &Namespace, writes: &[StateWrite]) -> Vec<Result<(), Fault>> {
        let stored = self.call(format!("store {}", named(namespace))).await;
        vec![stored; writes.len()]
    }
}

impl ShadowMemories for Fleet {
    async fn store_shadow(&self, _: &Namespace, writes: &[StateWrite]) -> Vec<Result<(), Fault>> {
        vec![Ok(()); writes.len()]
    }
}

/// What one tenant has.
#[derive(Clone, Copy)]
struct Tenant {
    cluster: &'static str,
    objects: usize,
    triggers: usize,
    region: &'static str,
    is_by_role: bool,
}

const SMALL: Tenant = Tenant {
    cluster: "prod",
    objects: 2,
    triggers: 2,
    region: "eu-west-1",
    is_by_role: false,
};

/// The targets of one tenant.
fn targets(name: &str, tenant: Tenant) -> Vec<Target> {
    let Tenant {
        cluster,
        objects,
        triggers,
        region,
        is_by_role,
    } = tenant;
    let object = |index: usize| {
        let trigger = |trigger: usize| {
            format!(
                "  - type: aws-sqs-queue\n    metadata: {{queueURL: {name}-{index}-{trigger}, queueLength: '10', awsRegion: {region}, \
                 identityOwner: operator}}\n"
            )
        };
        let triggers: String = (0..triggers).map(trigger).collect();
        format!(
            "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {{name: w{index}, namespace: {name}}}\nspec:\n  scaleTargetRef: \
             {{name: w{index}, kind: Rollout, apiVersion: argoproj.io/v1alpha1}}\n  minReplicaCount: 2\n  maxReplicaCount: 16\n  \
             triggers:\n{triggers}"
        )
    };
    let configuration = read_all(&(0..objects).map(object).collect::<Vec<_>>());
    let mut targets = configuration.targets;
    for target in &mut targets {
        target.cluster = Some(cluster.to_owned());
        for trigger in &mut target.policy.triggers {
            let Trigger::SqsQueue(trigger) = trigger else {
                continue;
            };
            if is_by_role {
                trigger.queue.identity = Identity::Role {
                    arn: "arn:aws:iam::123456789012:role/queues".to_owned(),
                    external_id: None,
                };
            }
        }
    }
    targets
}

/// The first write of each tenant in a pass, and how long the pass took. Polls are in the order that a turn of the function gives them.
async fn first_writes(
    tenants: &[(String, Tenant)],
    bad: fn(&str) -> Answer,
) -> (BTreeMap<String, Duration>, Duration) {
    let all: Vec<Target> = tenants
        .iter()
        .flat_map(|(name, tenant)| targets(name, *tenant))
        .collect();
    let mut polls: Vec<((), &Target)> = all.iter().map(|target| ((), target)).collect();
    crate::fairness::Missed::default().order(&mut polls, 0);
    let targets: Vec<&Target> = polls.into_iter().map(|((), target)| target).collect();
    let fleet = Fleet {
        bad,
        begun: Instant::now(),
        first_writes: RefCell::default(),
    };
    let hands = Hands {
        scaler: &fleet,
        memories: &fleet,
        shadow_memories: &fleet,
    };
    let world = World {
        sources: &fleet,
        workloads: &fleet,
        memories: &fleet,
        hands: Some(hands),
    };
    let plan = Plan {
        now: at(0),
        deadline: Some(Instant::now() + Duration::from_mins(1)),
        default_cluster: "prod",
        poll_seconds: None,
        stops: &LastStops::default(),
        function: None,
        known: None,
    };
    run(world, &targets, plan).await;
    (fleet.first_writes.take(), fleet.begun.elapsed())
}

fn healthy(call: &str) -> Answer {
    Answer::After(usual(call))
}

/// Tenants that are as they should be.
fn small(count: usize) -> Vec<(String, Tenant)> {
    (0..count)
        .map(|index| (format!("tenant-{index:02}"), SMALL))
        .collect()
}

/// The mean of the first writes of these tenants, and the last of them.
fn mean_and_last(
    tenants: &[(String, Tenant)],
    writes: &BTreeMap<String, Duration>,
) -> (Duration, Duration) {
    let writes = tenants.iter().map(|(name, tenant)| {
        let name = format!("{}/{name}", tenant.cluster);
        *writes.get(&name).unwrap_or(&Duration::MAX)
    });
    let writes: Vec<Duration> = writes.collect();
    let count = u32::try_from(writes.len()).unwrap();
    let sum = writes
        .iter()
        .fold(Duration::ZERO, |sum, write| sum.saturating_add(*write));
    (sum / count, writes.into_iter().max().unwrap())
}

/// Checks that the first writes of tenants are not later by more than a tenth, in the mean and of the last, with others in the same
/// pass, of which some calls are bad. They are compared with those of a pass with the same others, all calls being good, or
/// without the others.
async fn check(
    tenants: &[(String, Tenant)],
    others: &[(String, Tenant)],
    bad: fn(&str) -> Answer,
    with_others: bool,
) {
    for others_first in [true, false] {
        let mut all = tenants.to_vec();
        let place = if others_first { 0 } else { all.len() };
        all.splice(place..place, others.iter().cloned());
        let compared = if with_others { &all[..] } else { tenants };
        let (usual, _) = first_writes(compared, healthy).await;
        let usual = mean_and_last(tenants, &usual);
        let (found, took) = first_writes(&all, bad).await;
        let found = mean_and_last(tenants, &found);
        assert!(
            found.0.saturating_mul(10) <= usual.0 * 11,
            "{usual:?}, {found:?}"
        );
        assert!(
            found.1.saturating_mul(10) <= usual.1 * 11,
            "{usual:?}, {found:?}"
        );
        // The next poll of the others is late by one read at most.
        let most = CALL_AT_MOST + WRITE_AT_MOST;
        assert!(took <= most, "{took:?}");
    }
}

fn one(name: &str, tenant: Tenant) -> Vec<(String, Tenant)> {
    vec![(name.to_owned(), tenant)]
}

#[tokio::test(start_paused = true)]
async fn a_greedy_tenant() {
    let greedy = Tenant {
        objects: 50,
        triggers: 100,
        ..SMALL
    };
    check(&small(19), &one("greedy", greedy), healthy, false).await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_of_three_that_hangs() {
    let mut others = small(6);
    for (index, (_, tenant)) in others.iter_mut().enumerate() {
        tenant.cluster = ["prod", "stage"][index % 2];
    }
    let hanging = Tenant {
        cluster: "dark",
        objects: 100,
        ..SMALL
    };
    let bad = |call: &str| {
        if call.contains(" dark/") {
            Answer::Never
        } else {
            healthy(call)
        }
    };
    check(&others, &one("hanging", hanging), bad, true).await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_answers_401() {
    let mut others = small(6);
    for (index, (_, tenant)) in others.iter_mut().enumerate() {
        tenant.cluster = ["prod", "stage"][index % 2];
    }
    let refusing = Tenant {
        cluster: "dark",
        objects: 100,
        ..SMALL
    };
    // Two tokens, one after the other.
    let bad = |call: &str| {
        if call.contains(" dark/") {
            Answer::FailsAfter(usual(call) * 2)
        } else {
            healthy(call)
        }
    };
    check(&others, &one("refusing", refusing), bad, true).await;
}

#[tokio::test(start_paused = true)]
async fn a_region_of_sqs_that_hangs() {
    let far = Tenant {
        region: "eu-south-9",
        objects: 4,
        ..SMALL
    };
    let others: Vec<(String, Tenant)> = (0..20)
        .map(|index| (format!("far-{index:02}"), far))
        .collect();
    let bad = |call: &str| {
        if call.starts_with("depth eu-south-9") {
            Answer::Never
        } else {
            healthy(call)
        }
    };
    check(&small(10), &others, bad, true).await;
}

#[tokio::test(start_paused = true)]
async fn queues_of_one_tenant_that_hang() {
    let many = Tenant {
        objects: 20,
        triggers: 10,
        ..SMALL
    };
    let bad = |call: &str| {
        if call.contains(" own hanging-") {
            Answer::Never
        } else {
            healthy(call)
        }
    };
    check(&small(19), &one("hanging", many), bad, true).await;
}

#[tokio::test(start_paused = true)]
async fn a_role_that_sts_throttles() {
    let by_role = Tenant {
        objects: 20,
        triggers: 5,
        is_by_role: true,
        ..SMALL
    };
    let bad = |call: &str| {
        if call.contains(" role ") {
            Answer::FailsAfter(Duration::from_millis(4_500))
        } else {
            healthy(call)
        }
    };
    check(&small(19), &one("by-role", by_role), bad, true).await;
}

#[tokio::test(start_paused = true)]
async fn a_config_map_that_is_slow() {
    let large = Tenant {
        objects: 50,
        ..SMALL
    };
    let bad = |call: &str| match call {
        "load prod/slow" | "store prod/slow" => Answer::After(Duration::from_secs(4)),
        _ => healthy(call),
    };
    check(&small(19), &one("slow", large), bad, true).await;
}

#[tokio::test(start_paused = true)]
async fn a_config_map_that_cannot_be_written() {
    let many = Tenant {
        objects: 50,
        ..SMALL
    };
    let bad = |call: &str| match call {
        "store prod/stuck" => Answer::Never,
        _ => healthy(call),
    };
    check(&small(19), &one("stuck", many), bad, true).await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_of_large_objects() {
    let large = Tenant {
        objects: 50,
        ..SMALL
    };
    let bad = |call: &str| {
        if call.ends_with(" prod/large") {
            Answer::After(Duration::from_millis(700))
        } else {
            healthy(call)
        }
    };
    check(&small(19), &one("large", large), bad, true).await;
}
