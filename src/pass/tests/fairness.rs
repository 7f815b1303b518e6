//! Where time runs out, other targets are left each time.

use super::*;

/// Each reading takes so long that an invocation reaches little more than half of the targets.
#[tokio::test(start_paused = true)]
async fn a_target_that_is_not_reached_is_reached_by_one_of_the_next_two_invocations() {
    let names: Vec<String> = (0..300).map(|index| format!("w{index:03}")).collect();
    let targets: Vec<(&str, u64, u32)> = names.iter().map(|name| (&**name, 63, 2)).collect();
    let servers = Servers::new(&targets);
    for name in &names {
        let pause = Duration::from_secs(10);
        let mut slow = servers.slow.borrow_mut();
        slow.insert(format!("depth {name}"), pause);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let configuration = configuration(&names);
    let mut late = vec![0; names.len()];
    for minute in 0..9 {
        let left = Some(Duration::from_secs(45));
        let outcomes = pass_at(&servers, &configuration, minute * 60, left, false).await;
        let mut reached = 0;
        for (late, outcome) in late.iter_mut().zip(&outcomes) {
            if outcome.effect == Effect::NotReached {
                *late += 1;
                assert!(*late <= 2, "{} in minute {minute}", outcome.target.id);
                let message = &outcome.faults.last().unwrap().message;
                assert!(
                    message.contains("reads of queues in eu-west-1 took"),
                    "{message}"
                );
            } else {
                reached += 1;
                *late = 0;
            }
        }
        // Four rounds of as many calls as are made at the same time.
        assert_eq!(reached, 4 * MAX_CALLS, "in minute {minute}");
    }
}
