//! Where time runs out, where something hangs, and what is not due.

use super::*;
use crate::ticks::Found;

fn named(count: usize) -> (Servers, Configuration, Vec<String>) {
    let names: Vec<String> = (0..count).map(|index| format!("w{index:03}")).collect();
    let targets: Vec<(&str, u64, u32)> = names.iter().map(|name| (&**name, 63, 2)).collect();
    let servers = Servers::new(&targets);
    let configuration = configuration(&names.iter().map(String::as_str).collect::<Vec<_>>());
    (servers, configuration, names)
}

fn count(outcomes: &[Outcome<'_>], effect: Effect) -> usize {
    let found = outcomes.iter().filter(|outcome| outcome.effect == effect);
    found.count()
}

/// A count that was never sent is no longer pending, so that no other writer is suspected of taking it back.
#[tokio::test(start_paused = true)]
async fn counts_that_the_deadline_leaves_out_are_taken_back_and_contest_nothing() {
    let (servers, configuration, names) = named(200);
    for name in &names {
        let call = format!("scale {name} 2 7");
        let pause = Duration::from_millis(1_900);
        servers.slow.borrow_mut().insert(call, pause);
    }
    let mut scaled = 0;
    for minute in 0..6 {
        let left = Some(Duration::from_secs(7));
        let outcomes = pass_at(&servers, &configuration, minute * 60, left, false).await;
        scaled += count(&outcomes, Effect::Scaled);
        for outcome in &outcomes {
            let decision = &outcome.decided.as_ref().unwrap().decision;
            assert!(!decision.contested, "{}", decision.explanation);
        }
    }
    assert_eq!(scaled, 200);
    assert!(names.iter().all(|name| servers.replicas(name) == 7));
}

/// Reads that hang take no turns from the writes of the others.
#[tokio::test(start_paused = true)]
async fn reads_that_hang_delay_no_write() {
    let (servers, configuration, names) = named(MAX_CALLS + 8);
    let (ready, hanging) = names.split_at(8);
    for name in hanging {
        servers.hanging.borrow_mut().push(format!("read {name}"));
    }
    let (begun, left) = (Instant::now(), Some(Duration::from_secs(30)));
    let outcomes = pass_at(&servers, &configuration, 0, left, false).await;
    assert_eq!(count(&outcomes, Effect::Scaled), 8);
    assert!(ready.iter().all(|name| servers.replicas(name) == 7));
    assert_eq!(count(&outcomes, Effect::NotDone), MAX_CALLS);
    // The polls that come after are not late by more than one read.
    assert_eq!(begun.elapsed(), CALL_AT_MOST);
}

/// However many reads hang, they take the time of one: the others are not made.
#[tokio::test(start_paused = true)]
async fn reads_that_would_hang_too_are_left_out() {
    let (servers, configuration, names) = named(300);
    for name in &names {
        servers.hanging.borrow_mut().push(format!("read {name}"));
    }
    let begun = Instant::now();
    let outcomes = pass_at(&servers, &configuration, 0, None, false).await;
    assert_eq!(count(&outcomes, Effect::NotDone), 300);
    assert_eq!(begun.elapsed(), CALL_AT_MOST);
    let calls = servers.calls();
    let reads = calls.iter().filter(|call| call.starts_with("read"));
    assert_eq!(reads.count(), MAX_CALLS);
    let message = |index: usize| &outcomes[index].faults[0].message;
    assert_eq!(
        message(0),
        "reading Rollout `default/w000` in cluster `prod` took too long: no whole answer within 10 s; check the way to the server; the next pass tries again"
    );
    assert_eq!(
        message(299),
        "reading Rollout `default/w299` in cluster `prod` was left out: the last reads of this namespace there had no answer in time, and this one would \
         only wait as long; check the way to the server; the next pass tries again"
    );
    // The next pass asks anew.
    servers.hanging.borrow_mut().clear();
    let outcomes = pass_at(&servers, &configuration, 60, None, false).await;
    assert_eq!(count(&outcomes, Effect::Scaled), 300);
}

/// A server that asks for patience is there: nobody is left out for the time that its retries take.
#[tokio::test(start_paused = true)]
async fn reads_that_are_throttled_for_long_leave_out_no_other() {
    let (servers, configuration, names) = named(100);
    for name in &names {
        let call = format!("read {name}");
        let pause = HANGS_AFTER + Duration::from_secs(1);
        servers.slow.borrow_mut().insert(call.clone(), pause);
        servers.fail(&call, Fault::failed("TooManyRequests", "slow down"));
    }
    pass_at(&servers, &configuration, 0, None, false).await;
    let calls = servers.calls();
    let reads = calls.iter().filter(|call| call.starts_with("read"));
    assert_eq!(reads.count(), 100);
}

fn may_rest(name: &str) -> String {
    object(name, name).replace("minReplicaCount: 2", "minReplicaCount: 0")
}

/// What a poll of targets finds that are not due.
async fn not_due<'t>(
    servers: &Servers,
    configuration: &'t Configuration,
    seconds: i64,
) -> Vec<Outcome<'t>> {
    let due = configuration.targets.iter().map(|target| Due {
        target,
        unless_at_rest: true,
        over_budget: None,
    });
    outcomes_of(servers, due, seconds).await
}

/// The workload itself says whether it rests, whatever is remembered: by hand or by an alarm it may have been woken since.
#[tokio::test(start_paused = true)]
async fn what_is_not_due_costs_one_read_at_rest_and_is_polled_when_awake() {
    let configuration = read_all(&[may_rest("night"), object("day", "day")]);
    let servers = Servers::new(&[("night", 0, 0), ("day", 20, 2)]);
    pass(&servers, &configuration, 0).await;
    servers.calls();
    let outcomes = not_due(&servers, &configuration, 60).await;
    assert_eq!(
        effects(&outcomes),
        [(Effect::AtRest, false), (Effect::Held, false)]
    );
    assert_eq!(outcomes[0].found(at(60)), Found::Resting);
    let calls = servers.calls();
    assert!(!calls.contains(&"depth night".to_owned()), "{calls:?}");
    assert_eq!(calls.iter().filter(|call| *call == "read day").count(), 1);

    // The writes of the others do not wait for one that rests.
    servers.set_depth("day", 90);
    let before = Instant::now();
    not_due(&servers, &configuration, 120).await;
    assert_eq!(servers.replicas("day"), 9);
    assert_eq!(before.elapsed(), Duration::ZERO);

    // Woken by hand, though its state knows nothing of it.
    servers.set_replicas("night", 3);
    servers.set_depth("night", 160);
    not_due(&servers, &configuration, 180).await;
    assert_eq!(servers.replicas("night"), 16);

    // A workload that cannot be read is a failure, due or not.
    servers.fail("read night", Fault::failed("Forbidden", "no"));
    let outcomes = not_due(&servers, &configuration, 240).await;
    assert_eq!(effects(&outcomes)[0], (Effect::NotDone, true));
}
