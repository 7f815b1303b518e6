//! Two hundred workloads of one namespace that wake together: one invocation scales them all, and their state is one write.
//!
//! Requests are counted, in the audit log of the API server; never seconds.

use std::collections::BTreeMap;

use outrigger::clock::wall_now;
use serde_json::{Value as Json, json};

use super::assets::tell;
use super::fleet::{Fleet, Request};
use super::world::world;
use crate::support::function::{Function, answer};

const TARGETS: usize = 200;

/// Patches of the ConfigMap in a pass. The state of all targets of a namespace is in one, as the README says, when they become ready
/// within a quarter of a second of each other and within two seconds in all. On a machine that is busy with other tests the
/// process may stand still for longer than that once, and what was ready then goes ahead.
const STATE_WRITES: usize = 2;

/// Patches of the ConfigMap by each of two copies that race: each of the above is tried four times at most (`MAX_ROUNDS`), always
/// with all keys that it has not lost.
const STATE_WRITES_IN_A_RACE: usize = 4 * STATE_WRITES;

/// What one invocation of all targets sent, once all of it succeeded.
struct Pass {
    effects: BTreeMap<String, u64>,
    state_writes: usize,
    count_writes: usize,
    requests: Vec<Request>,
}

async fn pass(fleet: &Fleet, function: &Function) -> Pass {
    let begun = wall_now();
    let answer = function.answer("{}").await;
    let requests = fleet.requests_since(begun);
    Pass {
        effects: effects(&answer),
        state_writes: count(&requests, Request::is_state_write),
        count_writes: count(&requests, Request::is_count_write),
        requests,
    }
}

/// How many targets had each effect.
fn effects(answer: &Json) -> BTreeMap<String, u64> {
    let mut effects = BTreeMap::new();
    for target in answer["targets"].as_array().unwrap() {
        let effect = target["effect"].as_str().unwrap().to_owned();
        *effects.entry(effect).or_default() += 1;
    }
    effects
}

fn all(effect: &str) -> BTreeMap<String, u64> {
    BTreeMap::from([(effect.to_owned(), TARGETS as u64)])
}

fn count(requests: &[Request], is: impl Fn(&Request) -> bool) -> usize {
    requests.iter().filter(|request| is(request)).count()
}

/// Requests that the API server refused. A cluster with the kinds of KEDA refuses none.
fn refused(requests: &[Request]) -> Vec<&Request> {
    { requests.iter() }
        .filter(|request| !request.is_good())
        .collect()
}

#[tokio::test]
async fn one_invocation_scales_all_of_a_namespace_with_one_write_of_state() {
    let Some(world) = world() else { return };
    let fleet = Fleet::new(world, TARGETS, 1).await;
    let function = fleet.function(&fleet.lab.keys, &[]).await;
    fleet.ask_for(9);

    let first = pass(&fleet, &function).await;
    assert_eq!(first.effects, all("scaled"));
    assert_eq!(refused(&first.requests), Vec::<&Request>::new());
    assert!(
        (1..=STATE_WRITES).contains(&first.state_writes),
        "{}",
        first.state_writes
    );
    assert_eq!(first.count_writes, TARGETS);
    // One change each, from the count that it was made with.
    assert_eq!(fleet.counts().await, BTreeMap::from([((9, 2), TARGETS)]));
    // State first, then the count; with one write there is no other order.
    let of = |is: fn(&Request) -> bool| first.requests.iter().filter(move |request| is(request));
    let first_state = of(Request::is_state_write)
        .map(|request| request.answered)
        .min();
    let first_count = of(Request::is_count_write)
        .map(|request| request.answered)
        .min();
    assert!(
        first_state < first_count,
        "{first_state:?}, {first_count:?}"
    );

    // The changes are seen, and are no longer pending.
    let settling = pass(&fleet, &function).await;
    assert_eq!(settling.effects, all("held"));
    assert_eq!(refused(&settling.requests), Vec::<&Request>::new());
    assert!(
        (1..=STATE_WRITES).contains(&settling.state_writes),
        "{}",
        settling.state_writes
    );
    assert_eq!(settling.count_writes, 0);

    let steady = pass(&fleet, &function).await;
    assert_eq!(steady.effects, all("held"));
    let writes = |request: &Request| request.verb != "get" && request.verb != "list";
    assert_eq!(count(&steady.requests, writes), 0, "{:?}", steady.requests);
    assert_eq!(
        count(&steady.requests, |request| request.is("get", "configmaps")),
        1
    );
    assert_eq!(
        count(&steady.requests, |request| request.is("get", "rollouts")),
        TARGETS
    );
    assert_eq!(fleet.counts().await, BTreeMap::from([((9, 2), TARGETS)]));
    let said = format!(
        "{TARGETS} targets, patches of the ConfigMap: {} scaling, {} settling, {} steady",
        first.state_writes, settling.state_writes, steady.state_writes
    );
    tell("counted", &said);
}

#[tokio::test]
async fn two_copies_at_once_scale_each_workload_once() {
    let Some(world) = world() else { return };
    let fleet = Fleet::new(world, TARGETS, 1).await;
    let keys = [fleet.lab.keys.clone(), fleet.other_keys()];
    let copies = [
        fleet.function(&keys[0], &[]).await,
        fleet.function(&keys[1], &[]).await,
    ];
    let mut said = Vec::new();
    // From nothing remembered with cold processes, then with both warm, settled and not.
    for (burst, replicas) in [(1, 9), (2, 17), (3, 30)] {
        fleet.ask_for(replicas);
        let begun = wall_now();
        let (one, other) = tokio::join!(copies[0].invoke("{}"), copies[1].invoke("{}"));
        // A lost race is no failure: the other copy has done it.
        let effects = [one, other].map(|outcome| effects(&answer(&outcome)));
        assert_eq!(
            fleet.counts().await,
            BTreeMap::from([((replicas, burst + 1), TARGETS)])
        );
        let requests = fleet.requests_since(begun);
        let written = |request: &Request| request.is_count_write() && request.is_good();
        assert_eq!(count(&requests, written), TARGETS, "{effects:?}");
        let mut patches = Vec::new();
        for keys in &keys {
            let access_key = &keys.access_key;
            let of =
                |request: &Request| request.is_state_write() && request.access_key == *access_key;
            let writes = count(&requests, of);
            assert!(writes <= STATE_WRITES_IN_A_RACE, "{writes} by {access_key}");
            patches.push(writes);
        }
        assert_eq!(
            patches.iter().sum::<usize>(),
            count(&requests, Request::is_state_write)
        );
        said.push(format!("{patches:?} {effects:?}"));
    }
    tell(
        "counted",
        &format!(
            "patches of the ConfigMap by two copies: {}",
            said.join("; ")
        ),
    );

    // A pass of one copy alone settles what is pending, and the next one writes nothing.
    pass(&fleet, &copies[0]).await;
    let steady = pass(&fleet, &copies[0]).await;
    assert_eq!((steady.state_writes, steady.count_writes), (0, 0));
    assert_eq!(steady.effects, all("held"));
    let state = fleet.lab.admin.get(&fleet.lab.memory_path()).await.good();
    let keys = state["data"].as_object().unwrap();
    let states = keys.iter().filter(|(key, _)| key.starts_with("rollout."));
    let states: Vec<Json> = states
        .map(|(_, text)| serde_json::from_str(text.as_str().unwrap()).unwrap())
        .collect();
    assert_eq!(states.len(), TARGETS);
    for state in states {
        assert_eq!(state["lastWritten"], json!(30), "{state}");
        assert_eq!(state.get("pending"), None, "{state}");
    }
}
