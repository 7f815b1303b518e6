//! Two functions that scale one workload by mistake, with their state in one `ConfigMap`.

use super::*;
use crate::state::Author;

const ONE: &str = "eu-west-1/123456789012/outrigger";
const OTHER: &str = "eu-west-1/123456789012/outrigger-test";

/// What a pass of a function came to: effect, the count then, and the codes and messages of what failed.
async fn pass_of(
    servers: &Servers,
    function: &'static str,
    configuration: &Configuration,
    seconds: i64,
) -> (Effect, u32, Vec<(String, String)>) {
    servers.function.set(Some(function));
    let mut outcomes = pass(servers, configuration, seconds).await;
    let outcome = outcomes.remove(0);
    let faults = outcome.faults.into_iter();
    let faults = faults.map(|fault| (fault.code, fault.message)).collect();
    (outcome.effect, servers.replicas("worker"), faults)
}

/// The same objects as those of [`configuration`] with another maximum.
fn up_to(max: u32) -> Configuration {
    let text = object("worker", "worker")
        .replace("maxReplicaCount: 16", &format!("maxReplicaCount: {max}"));
    read_all(&[text])
}

/// Each takes the other's change for its own, as one of two copies of a function should. So there is never a contest, and the count
/// goes up and down with each pass: nothing but the name tells.
#[tokio::test]
async fn two_functions_with_different_bounds_name_each_other_in_each_pass() {
    let servers = Servers::new(&[("worker", 100, 2)]);
    let (high, low) = (up_to(16), up_to(5));
    let mut seconds = 0;
    let mut counts = Vec::new();
    for turn in 0..6 {
        for (function, configuration, other) in [(ONE, &high, OTHER), (OTHER, &low, ONE)] {
            let (effect, count, faults) = pass_of(&servers, function, configuration, seconds).await;
            assert_eq!(effect, Effect::Scaled, "scaling goes on");
            counts.push(count);
            seconds += 30;
            if (turn, function) == (0, ONE) {
                assert_eq!(faults, []);
                continue;
            }
            let [(code, message)] = &faults[..] else {
                panic!("{faults:?}");
            };
            assert_eq!(code, "OtherFunction");
            for part in [
                &format!("the function `{other}` scales Rollout `default/worker` too"),
                &format!("this function is `{function}`"),
                &format!("--function-name {} ", other.rsplit('/').next().unwrap()),
            ] {
                assert!(message.contains(part), "{message}");
            }
        }
    }
    assert_eq!(counts, [10, 5].repeat(6));
}

/// With the same bounds they do no harm but that each pass is paid for twice.
#[tokio::test]
async fn two_functions_with_the_same_bounds_name_each_other_after_each_change() {
    let servers = Servers::new(&[("worker", 63, 2)]);
    let both = configuration(&["worker"]);
    let mut failed = Vec::new();
    for (seconds, visible) in [(0, 63), (60, 63), (120, 100), (180, 100), (240, 100)] {
        servers.set_depth("worker", visible);
        for (offset, function) in [(0, ONE), (1, OTHER)] {
            let (_, _, faults) = pass_of(&servers, function, &both, seconds + offset).await;
            failed.push(!faults.is_empty());
        }
    }
    assert_eq!(servers.replicas("worker"), 10);
    // Whoever finds the other's write: that of the count, or that of the pass which saw it.
    assert!(
        failed.iter().filter(|failed| **failed).count() >= 4,
        "{failed:?}"
    );
}

#[tokio::test]
async fn a_hand_over_ends_with_the_first_write_of_the_new_function_or_after_ten_minutes() {
    let servers = Servers::new(&[("worker", 63, 2)]);
    let targets = configuration(&["worker"]);
    for seconds in [0, 60, 120] {
        let (_, _, faults) = pass_of(&servers, ONE, &targets, seconds).await;
        assert_eq!(faults, []);
    }
    // The first one wrote for the last time when it saw its change.
    let by = || servers.state("worker").unwrap().by.unwrap();
    assert_eq!((by().function, by().at), (ONE.to_owned(), at(60)));
    for (seconds, is_told) in [(180, true), (659, true), (660, false), (700, false)] {
        let (effect, _, faults) = pass_of(&servers, OTHER, &targets, seconds).await;
        assert_eq!(
            (effect, !faults.is_empty()),
            (Effect::Held, is_told),
            "{seconds}"
        );
    }
    // For the name alone nothing was written.
    assert_eq!(by().function, ONE);
    servers.set_depth("worker", 100);
    let (effect, count, faults) = pass_of(&servers, OTHER, &targets, 720).await;
    assert_eq!((effect, count, faults), (Effect::Scaled, 10, vec![]));
    assert_eq!((by().function, by().at), (OTHER.to_owned(), at(720)));
    // And back, within the ten minutes: told once, until its own write.
    servers.set_depth("worker", 120);
    let mut told = Vec::new();
    for seconds in [780, 840, 900] {
        let (_, _, faults) = pass_of(&servers, ONE, &targets, seconds).await;
        told.push(faults.len());
    }
    assert_eq!((told, servers.replicas("worker")), (vec![1, 0, 0], 12));
}

/// Who may write the ConfigMap may write any text there: it is shown, but not as a part of a command.
#[tokio::test]
async fn a_name_that_is_none_is_in_no_command() {
    let servers = Servers::new(&[("worker", 63, 7)]);
    let targets = configuration(&["worker"]);
    pass_of(&servers, ONE, &targets, 0).await;
    let function = "eu-west-1/1/$(reboot)\n".to_owned() + &"x".repeat(1_000);
    let state = servers.state("worker").unwrap();
    let state = state.signed(Some(&Author {
        function,
        at: at(0),
    }));
    assert!(state.by.is_some());
    let text = state.to_json().to_string();
    let mut memories = servers.memories.take();
    memories
        .get_mut("default")
        .unwrap()
        .insert("rollout.worker".to_owned(), text);
    servers.memories.replace(memories);
    let (_, _, faults) = pass_of(&servers, ONE, &targets, 60).await;
    let (_, message) = &faults[0];
    assert!(
        message.contains("`eu-west-1/1/$(reboot)\\nxxx"),
        "{message}"
    );
    assert!(message.contains("--function-name NAME "), "{message}");
    assert!(message.len() < 700, "{message}");
}

#[tokio::test]
async fn a_state_that_is_full_goes_without_the_name() {
    let servers = Servers::new(&[("worker", 63, 7)]);
    let targets = configuration(&["worker"]);
    pass_of(&servers, ONE, &targets, 0).await;
    let state = servers.state("worker").unwrap();
    let author = |length: usize| Author {
        function: "x".repeat(length),
        at: at(0),
    };
    let room = crate::state::MAX_STATE_BYTES - state.signed(Some(&author(1))).text_len();
    for (length, is_signed) in [(room + 1, true), (room + 2, false)] {
        let signed = state.signed(Some(&author(length)));
        assert_eq!(signed.by.is_some(), is_signed);
        assert_eq!(signed.text_len(), signed.to_json().to_string().len());
        assert!(signed.text_len() <= crate::state::MAX_STATE_BYTES);
    }
}
