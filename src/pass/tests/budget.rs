//! Metrics that are over the budget.

use super::*;

async fn pass_over<'t>(
    servers: &Servers,
    configuration: &'t Configuration,
    over_budget: &[Option<OverBudget>],
    second: i64,
) -> Vec<Outcome<'t>> {
    let due = { configuration.targets.iter().zip(over_budget) }.map(|(target, over_budget)| Due {
        target,
        unless_at_rest: false,
        over_budget: *over_budget,
    });
    outcomes_of(servers, due, second).await
}

/// Remembers long enough that nothing but a reading holds the count.
fn remember(servers: &Servers, names: &[&str]) {
    let state = State {
        active: true,
        last_written: Some(9),
        ..State::new(at(-10_000))
    };
    let keys = names.iter();
    let keys = keys.map(|name| (format!("rollout.{name}"), state.to_json().to_string()));
    let mut memories = servers.memories.borrow_mut();
    memories.insert("default".to_owned(), keys.collect());
}

#[tokio::test]
async fn a_metric_over_the_budget_is_a_failed_reading_and_is_not_asked_for() {
    let over = OverBudget {
        limit: 5,
        own: 1,
        named: 8,
        window_seconds: NonZeroU32::new(60).unwrap(),
    };
    // Of both the queue is empty and the window wants 3; one's metric is left out.
    let names = ["a", "b"];
    let configuration = read_all(&names.map(|name| all_kinds(name, true)));
    let servers = Servers::new(&[("a", 0, 9), ("b", 0, 9), ("orders", 0, 0)]);
    servers.metric.set(Some(0));
    remember(&servers, &names);
    let outcomes = pass_over(&servers, &configuration, &[Some(over), None], 0).await;
    assert_eq!(
        effects(&outcomes),
        [(Effect::Held, true), (Effect::Scaled, false)]
    );
    assert_eq!((servers.replicas("a"), servers.replicas("b")), (9, 3));
    let [fault] = &outcomes[0].faults[..] else {
        panic!("{:?}", outcomes[0].faults);
    };
    assert_eq!(*fault, over.fault(&configuration.targets[0]));
    assert_eq!(fault.code, "MetricBudget");
    let decided = outcomes[0].decided.as_ref().unwrap();
    let failed = Reading::Failed {
        error: "MetricBudget".to_owned(),
    };
    assert_eq!(decided.observation.readings[2], failed);

    // What else calls for more is heard, and when all are left out nothing is asked for.
    servers.calls();
    servers.set_depth("orders", 120);
    let outcomes = pass_over(&servers, &configuration, &[Some(over); 2], 60).await;
    assert_eq!(effects(&outcomes), [(Effect::Scaled, true); 2]);
    assert_eq!((servers.replicas("a"), servers.replicas("b")), (12, 12));
    let calls = servers.calls();
    assert!(
        !calls.iter().any(|call| call.starts_with("metric")),
        "{calls:?}"
    );
}

/// As any other failed reading: a fallback counts them, and a count that was above it stays.
#[tokio::test]
async fn a_fallback_answers_a_budget_that_stays_spent() {
    let over = OverBudget {
        limit: 0,
        own: 1,
        named: 1,
        window_seconds: NonZeroU32::new(60).unwrap(),
    };
    let fallback = "spec:\n  fallback: {failureThreshold: 2, replicas: 6}\n";
    let (only_metric, rest) = {
        let text = all_kinds("a", true).replace("spec:\n", fallback);
        let (head, _) = text.split_once("  - type: aws-sqs-queue").unwrap();
        let (_, metric) = text.split_once("  - type: aws-cloudwatch").unwrap();
        (format!("{head}  - type: aws-cloudwatch{metric}"), text)
    };
    assert_ne!(only_metric, rest);
    let configuration = read_all(&[only_metric]);
    for (before, after) in [(2, 6), (9, 9)] {
        let servers = Servers::new(&[("a", 0, before)]);
        for minute in 0..4 {
            pass_over(&servers, &configuration, &[Some(over)], minute * 60).await;
        }
        assert_eq!(servers.replicas("a"), after);
    }
}

/// A tenant who is over the budget at every poll must not spend the rest of it on the log.
#[tokio::test]
async fn what_stays_over_the_budget_is_told_once() {
    use crate::report::{LastReasons, decision_lines};
    use crate::settings::{Log, Metrics};

    let over = OverBudget {
        limit: 5,
        own: 2,
        named: 8,
        window_seconds: NonZeroU32::new(60).unwrap(),
    };
    let one = all_kinds("a", true);
    let (_, metric) = one.split_once("  - type: aws-cloudwatch").unwrap();
    let two = format!(
        "{one}  - type: aws-cloudwatch{}",
        metric.replace("eu,", "us,")
    );
    let configuration = read_all(&[two]);
    let servers = Servers::new(&[("a", 0, 9), ("orders", 90, 0)]);
    servers.metric.set(Some(0));
    let mut last = LastReasons::default();
    let mut lines = async |over_budget, second: i64| {
        let outcomes = pass_over(&servers, &configuration, &[over_budget], second).await;
        // Both metrics lack one thing, which is said once.
        assert_eq!(outcomes[0].faults.len(), usize::from(over_budget.is_some()));
        assert_eq!(outcomes[0].is_failed(), over_budget.is_some());
        let lines = |log| decision_lines(&outcomes, at(second), &mut last, log, Metrics::Off);
        let mut lines = lines;
        lines(Log::Changes)
    };
    let first = lines(Some(over), 0).await;
    assert!(
        first.len() == 1 && first[0].contains("MetricBudget"),
        "{first:?}"
    );
    for second in 1..10 {
        assert_eq!(lines(Some(over), second).await, [""; 0]);
    }
    assert_eq!(lines(None, 10).await.len(), 1);
    assert_eq!(lines(None, 11).await, [""; 0]);
    assert_eq!(lines(Some(over), 12).await.len(), 1);
    // Anything else that fails is told each time.
    servers.fail("depth orders", Fault::failed("Throttling", "slow down"));
    let count = async |second| {
        let outcomes = pass_over(&servers, &configuration, &[Some(over)], second).await;
        assert!(!outcomes[0].is_over_budget());
        decision_lines(
            &outcomes,
            at(second),
            &mut LastReasons::default(),
            Log::Changes,
            Metrics::Off,
        )
        .len()
    };
    assert_eq!((count(13).await, count(14).await), (1, 1));
}
