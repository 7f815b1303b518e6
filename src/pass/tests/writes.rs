//! The state of a namespace is written together, and one target costs no other its turn.

use super::*;

const TARGETS: usize = 200;

/// Targets `w000`, `w001`, … that each have to go from 2 to 7 replicas.
fn many(count: usize) -> (Servers, Configuration, Vec<String>) {
    let names: Vec<String> = (0..count).map(|index| format!("w{index:03}")).collect();
    let targets: Vec<(&str, u64, u32)> = names.iter().map(|name| (&**name, 63, 2)).collect();
    let servers = Servers::new(&targets);
    let configuration = configuration(&names.iter().map(String::as_str).collect::<Vec<_>>());
    (servers, configuration, names)
}

/// The calls that write, in order: how many keys each store has, and `None` for a count.
fn writes(servers: &Servers) -> Vec<Option<usize>> {
    let calls = servers.calls();
    let writes = calls.iter().filter_map(|call| {
        let (what, about) = call.split_once(' ')?;
        match what {
            "store" => Some(Some(about.split(' ').count())),
            "scale" => Some(None),
            _ => None,
        }
    });
    writes.collect()
}

#[tokio::test]
async fn the_state_of_a_namespace_is_one_write_and_the_counts_come_after_it() {
    let (servers, configuration, names) = many(TARGETS);
    let outcomes = pass(&servers, &configuration, 0).await;
    assert_eq!(effects(&outcomes), [(Effect::Scaled, false); TARGETS]);
    let mut expected = vec![Some(TARGETS)];
    expected.extend([None; TARGETS]);
    assert_eq!(writes(&servers), expected);
    for name in &names {
        assert_eq!(servers.replicas(name), 7);
        assert!(servers.state(name).unwrap().pending.is_some());
    }
    // What became of the changes is remembered together too.
    pass(&servers, &configuration, 60).await;
    assert_eq!(writes(&servers), [Some(TARGETS)]);
    pass(&servers, &configuration, 120).await;
    assert_eq!(writes(&servers), []);
}

#[tokio::test]
async fn live_and_shadow_state_are_written_apart() {
    let names = ["a", "b", "shadow-a", "shadow-b"];
    let targets = names.map(|name| (name, 63, 2));
    let (servers, configuration) = (Servers::new(&targets), mixed(&names));
    pass(&servers, &configuration, 0).await;
    let calls = servers.calls().into_iter();
    let mut stores: Vec<String> = calls.filter(|call| call.starts_with("store")).collect();
    stores.sort();
    assert_eq!(
        stores,
        [
            "store rollout.a rollout.b",
            "store shadow.rollout.shadow-a shadow.rollout.shadow-b"
        ]
    );
}

#[tokio::test]
async fn a_contested_key_costs_itself_alone() {
    let (servers, configuration, _) = many(TARGETS);
    servers.fail("store rollout.w100", Fault::lost_race("another copy"));
    let outcomes = pass(&servers, &configuration, 0).await;
    for (index, outcome) in outcomes.iter().enumerate() {
        let expected = if index == 100 {
            (Effect::LostRace, 2)
        } else {
            (Effect::Scaled, 7)
        };
        let name = &outcome.target.id.name;
        assert_eq!((outcome.effect, servers.replicas(name)), expected, "{name}");
    }
    let stores = writes(&servers).into_iter().flatten();
    assert_eq!(stores.collect::<Vec<_>>(), [TARGETS]);
}

#[tokio::test]
async fn a_failed_write_lets_everything_scale_out_and_nothing_in() {
    let (servers, configuration, names) = many(TARGETS);
    let (out, above) = names.split_at(100);
    for name in above {
        servers.set_replicas(name, 40);
    }
    servers.fail("store default", Fault::failed("Forbidden", "no"));
    let outcomes = pass(&servers, &configuration, 0).await;
    assert!(outcomes.iter().all(Outcome::is_failed));
    assert!(out.iter().all(|name| servers.replicas(name) == 7));
    assert!(above.iter().all(|name| servers.replicas(name) == 40));
}

#[tokio::test]
async fn changes_that_are_refused_are_taken_back_together() {
    let (servers, configuration, names) = many(TARGETS);
    for name in &names {
        let call = format!("scale {name} 2 7");
        servers.fail(&call, Fault::failed("Forbidden", "no"));
    }
    let outcomes = pass(&servers, &configuration, 0).await;
    assert_eq!(effects(&outcomes), [(Effect::NotDone, true); TARGETS]);
    let stores = writes(&servers).into_iter().flatten();
    assert_eq!(stores.collect::<Vec<_>>(), [TARGETS, TARGETS]);
    for name in &names {
        assert_eq!(servers.state(name).unwrap().pending, None);
    }
}

/// The moments of the stores of a pass in which the read of some queues takes so long, and how many keys each has.
async fn stores_with_slow(slow: &[(usize, u64)]) -> Vec<(u64, usize)> {
    let (servers, configuration, names) = many(TARGETS);
    for (index, millis) in slow {
        let call = format!("depth {}", names[*index]);
        let pause = Duration::from_millis(*millis);
        servers.slow.borrow_mut().insert(call, pause);
    }
    let begun = Instant::now();
    let passing = pass(&servers, &configuration, 0);
    let mut passing = pin!(passing);
    let mut stores = Vec::new();
    loop {
        // Paused time goes on when nothing else can: in steps of a tenth of the shortest wait.
        let step = Instant::now() + WRITE_QUIET / 10;
        let ended = tokio::time::timeout_at(step, &mut passing).await;
        let at = u64::try_from(begun.elapsed().as_millis()).unwrap();
        let sizes = writes(&servers).into_iter().flatten();
        stores.extend(sizes.map(|size| (at, size)));
        if let Ok(outcomes) = ended {
            assert_eq!(effects(&outcomes), [(Effect::Scaled, false); TARGETS]);
            return stores;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_queue_delays_the_other_writes_by_a_moment() {
    let quiet = u64::try_from(WRITE_QUIET.as_millis()).unwrap();
    let most = u64::try_from(WRITE_AT_MOST.as_millis()).unwrap();
    // All at once: no waiting.
    assert_eq!(stores_with_slow(&[]).await, [(0, 200)]);
    // One is late by less than the moment, and shares the patch.
    assert_eq!(stores_with_slow(&[(7, 100)]).await, [(100, 200)]);
    // One is very late: the others go ahead after the moment.
    let stores = stores_with_slow(&[(7, 9_000)]).await;
    let [(first, 199), (second, 1)] = stores[..] else {
        panic!("{stores:?}")
    };
    assert!((quiet..=quiet + 25).contains(&first), "{stores:?}");
    assert!((9_000..=9_025).contains(&second), "{stores:?}");
    // One after another becomes ready: what came first waits for the longer moment, and the last for nothing.
    let trickle: Vec<(usize, u64)> = (1..=30).map(|index| (index, 200 * index as u64)).collect();
    let stores = stores_with_slow(&trickle).await;
    let [(first, many), (second, some), (third, rest)] = stores[..] else {
        panic!("{stores:?}")
    };
    assert!((most..=most + 25).contains(&first), "{stores:?}");
    assert!((179..=180).contains(&many), "{stores:?}");
    assert!((2 * most..=2 * most + 225).contains(&second), "{stores:?}");
    assert!((6_000..=6_025).contains(&third), "{stores:?}");
    assert_eq!(many + some + rest, 200);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_never_answers_costs_its_own_target_only() {
    let (servers, configuration, _) = many(TARGETS);
    servers.hanging.borrow_mut().push("depth w007".into());
    let begun = Instant::now();
    let outcomes = pass(&servers, &configuration, 0).await;
    for outcome in &outcomes {
        let expected = if outcome.target.id.name == "w007" {
            Effect::Held
        } else {
            Effect::Scaled
        };
        assert_eq!(outcome.effect, expected);
    }
    assert_eq!(begun.elapsed(), CALL_AT_MOST);
    let message = &outcomes[7].faults[0].message;
    assert_eq!(
        message,
        "reading the queue `w007` took too long: no whole answer within 10 s; check the way to the server; the next pass tries again"
    );
    // Where the time of the invocation ends before, it says what took it.
    let left = Some(Duration::from_secs(12));
    let outcomes = pass_at(&servers, &configuration, 60, left, false).await;
    assert_eq!(outcomes[7].effect, Effect::NotReached);
    assert_eq!(
        outcomes[7].faults[0].message,
        "no time left in this invocation for target `default/w007`: 200 reads of queues in eu-west-1 took 9.0 s"
    );
}

#[tokio::test(start_paused = true)]
async fn near_the_deadline_no_write_waits_for_others() {
    let (servers, configuration, _) = many(3);
    let slow = Duration::from_millis(900);
    servers.slow.borrow_mut().insert("depth w000".into(), slow);
    let left = ACT_RESERVE + Duration::from_millis(100);
    let passing = pass_at(&servers, &configuration, 0, Some(left), false);
    let outcomes = passing.await;
    let expected = [Effect::NotReached, Effect::Scaled, Effect::Scaled];
    let effects: Vec<Effect> = outcomes.iter().map(|outcome| outcome.effect).collect();
    assert_eq!(effects, expected);
}

#[tokio::test(start_paused = true)]
async fn the_message_says_what_took_the_time() {
    let (servers, configuration, names) = many(TARGETS);
    let keys: Vec<String> = names.iter().map(|name| format!("rollout.{name}")).collect();
    let store = format!("store {}", keys.join(" "));
    servers.hanging.borrow_mut().push(store);
    let left = Some(Duration::from_secs(8));
    let outcomes = pass_at(&servers, &configuration, 0, left, false).await;
    for outcome in &outcomes {
        assert_eq!(outcome.effect, Effect::NotDone);
        assert_eq!(
            outcome.faults[0].message,
            "no time left in this invocation for writing state to `default/outrigger` in cluster `prod`: 200 state writes to `default/outrigger` took 8.0 s"
        );
    }
    let soon = Some(Duration::from_millis(1_500));
    let outcomes = pass_at(&servers, &configuration, 0, soon, false).await;
    assert_eq!(
        outcomes[0].faults[0].message,
        "no time left in this invocation for target `default/w000`: the pass began with 1.5 s left, and 3.0 s are kept for its writes"
    );
}

#[tokio::test(start_paused = true)]
async fn a_state_write_that_never_answers_is_one_that_failed() {
    let (servers, configuration, names) = many(TARGETS);
    let (out, above) = names.split_at(100);
    for name in above {
        servers.set_replicas(name, 40);
    }
    let keys: Vec<String> = names.iter().map(|name| format!("rollout.{name}")).collect();
    let store = format!("store {}", keys.join(" "));
    servers.hanging.borrow_mut().push(store);
    let begun = Instant::now();
    let outcomes = pass(&servers, &configuration, 0).await;
    assert!(outcomes.iter().all(Outcome::is_failed));
    assert!(out.iter().all(|name| servers.replicas(name) == 7));
    assert!(above.iter().all(|name| servers.replicas(name) == 40));
    assert_eq!(begun.elapsed(), CALL_AT_MOST);
    assert_eq!(outcomes[0].faults[0].code, "Timeout");
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_is_killed_half_way_is_settled_by_the_next() {
    let (servers, configuration, names) = many(TARGETS);
    // Half of the counts are written, the other half hangs.
    for name in &names[100..] {
        servers
            .hanging
            .borrow_mut()
            .push(format!("scale {name} 2 7"));
    }
    let passing = pass(&servers, &configuration, 0);
    let killed = tokio::time::timeout(Duration::from_millis(1), passing).await;
    assert!(killed.is_err());
    let written = |servers: &Servers| {
        let counts = names.iter().map(|name| servers.replicas(name));
        counts.filter(|count| *count == 7).count()
    };
    let first = written(&servers);
    assert!((1..=100).contains(&first), "{first}");
    for name in &names {
        assert!(servers.state(name).unwrap().pending.is_some());
    }
    servers.hanging.borrow_mut().clear();
    let outcomes = pass(&servers, &configuration, 60).await;
    assert!(!outcomes.iter().any(Outcome::is_failed));
    assert_eq!(written(&servers), TARGETS);
    pass(&servers, &configuration, 120).await;
    for name in &names {
        let state = servers.state(name).unwrap();
        let settled = (state.events.len(), state.pending, state.last_written);
        assert_eq!(settled, (1, None, Some(7)), "{name}");
    }
}

#[tokio::test]
async fn a_memory_that_is_nearly_full_is_a_notice() {
    let (servers, configuration, _) = many(3);
    let notices = passed_at(&servers, &configuration, 0, None, false).await;
    assert_eq!(notices.notices, []);
    assert_eq!(notices.namespaces.len(), 1);
    let left_over = ("rollout.gone".to_owned(), "x".repeat(900_000));
    servers
        .memories
        .borrow_mut()
        .get_mut("default")
        .unwrap()
        .extend([left_over]);
    let passed = passed_at(&servers, &configuration, 60, None, true).await;
    let [
        Notice {
            namespace,
            text,
            is_error: false,
        },
    ] = &passed.notices[..]
    else {
        panic!("{:?}", passed.notices)
    };
    assert_eq!(namespace, &passed.namespaces[0]);
    assert!(text.contains("`default/outrigger` holds 85 %"), "{text}");
    assert!(!passed.outcomes.iter().any(Outcome::is_failed));
    servers.fail("load default", Fault::failed("Timeout", "no answer"));
    let unread = passed_at(&servers, &configuration, 120, None, true).await;
    assert_eq!((unread.namespaces, unread.notices), (vec![], vec![]));
}
