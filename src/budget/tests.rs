use super::*;
use crate::manifest::{Configuration, Context, read};

/// An object that reads so many metrics of its own.
fn object(namespace: &str, name: &str, metrics: usize) -> String {
    let metrics: String = (0..metrics)
        .map(|index| trigger(&format!("{name}{index}")))
        .collect();
    of_triggers(namespace, name, &metrics)
}

fn trigger(dimension: &str) -> String {
    format!(
        "  - type: aws-cloudwatch\n    metadata: {{namespace: Shop, metricName: Carts, dimensionName: Shop, dimensionValue: {dimension}, \
         targetMetricValue: '1', minMetricValue: '0', ignoreNullValues: 'true', awsRegion: eu-west-1, identityOwner: operator}}\n"
    )
}

fn of_triggers(namespace: &str, name: &str, triggers: &str) -> String {
    format!(
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  scaleTargetRef: \
         {{name: {name}}}\n  triggers:\n{triggers}  - type: aws-sqs-queue\n    metadata: {{queueURL: {name}, awsRegion: eu-west-1, \
         identityOwner: operator}}\n"
    )
}

fn configuration(objects: &[String]) -> Configuration {
    let context = Context {
        file: "test.yaml",
        namespace: "default",
        clusters: &[],
    };
    let configuration = read(objects.join("---\n").as_bytes(), context);
    assert_eq!(configuration.findings.len(), 0);
    configuration
}

fn settings(limit: u32, window: u32) -> Settings {
    let variables = [
        ("OUTRIGGER_CLUSTERS", "prod".to_owned()),
        ("AWS_REGION", "eu-west-1".to_owned()),
        ("OUTRIGGER_WINDOW", window.to_string()),
        ("OUTRIGGER_MAX_METRIC_READS", limit.to_string()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value));
    Settings::from_environment(&variables.into()).unwrap()
}

/// Runs a pass over all targets, those named at rest unless they are due, and tells who was left out.
fn pass(
    budget: &mut Budget,
    left_out: &mut LeftOut,
    configuration: &Configuration,
    at_rest: &[&str],
) -> Vec<String> {
    let targets = configuration.targets.iter();
    let polls: Vec<(bool, &Target)> = targets
        .map(|target| (at_rest.contains(&target.id.name.as_str()), target))
        .collect();
    let over = budget.over(&polls, left_out);
    let outcomes: Vec<Outcome<'_>> = { polls.iter() }
        .map(|(rests, target)| Outcome {
            target,
            decided: None,
            seen: None,
            effect: if *rests { Effect::AtRest } else { Effect::Held },
            faults: Vec::new(),
        })
        .collect();
    let due: Vec<Due<'_>> = { polls.iter().zip(&over) }
        .map(|((unless_at_rest, target), over_budget)| Due {
            target,
            unless_at_rest: *unless_at_rest,
            over_budget: *over_budget,
        })
        .collect();
    budget.note(&due, &outcomes, left_out);
    let named = polls.iter().zip(&over).filter(|(_, over)| over.is_some());
    named
        .map(|((_, target), _)| target.id.to_string())
        .collect()
}

#[test]
fn a_namespace_has_so_many_reads_over_all_polls_of_an_invocation() {
    let configuration = configuration(&[
        object("shop", "greedy", 4),
        object("billing", "modest", 2),
        object("ops", "none", 0),
    ]);
    // Two minutes have twice as many as one.
    let (settings, mut left_out) = (settings(5, 120), LeftOut::default());
    let mut budget = Budget::new(&settings, &configuration.targets, 7);
    let mut pass = || pass(&mut budget, &mut left_out, &configuration, &[]);
    assert_eq!(pass(), [""; 0]);
    assert_eq!(pass(), [""; 0]);
    // 8 of 10 are spent, and others have theirs.
    assert_eq!(pass(), ["shop/greedy"]);
    assert_eq!(pass(), ["shop/greedy"]);
    assert_eq!(pass(), ["shop/greedy"]);
    assert_eq!(pass(), ["shop/greedy", "billing/modest"]);
    // The next invocation begins anew.
    let mut budget = Budget::new(&settings, &configuration.targets, 8);
    assert_eq!(
        super::tests::pass(&mut budget, &mut left_out, &configuration, &[]),
        [""; 0]
    );
}

#[test]
fn a_metric_that_objects_share_is_one_read() {
    let shared = trigger("all");
    let mine = |name: &str, more: &str| of_triggers("shop", name, &format!("{shared}{more}"));
    let configuration = configuration(&[
        mine("a", ""),
        mine("b", &shared),
        mine("c", &trigger("own")),
    ]);
    let mut budget = Budget::new(&settings(2, 60), &configuration.targets, 0);
    assert_eq!(
        pass(&mut budget, &mut LeftOut::default(), &configuration, &[]),
        [""; 0]
    );
    let mut budget = Budget::new(&settings(1, 60), &configuration.targets, 0);
    assert_eq!(
        pass(&mut budget, &mut LeftOut::default(), &configuration, &[]),
        ["shop/c"]
    );
}

#[test]
fn who_rests_spends_nothing_and_takes_no_turn() {
    let configuration = configuration(&[object("shop", "day", 2), object("shop", "night", 2)]);
    for turn in 0..20 {
        let mut left_out = LeftOut::default();
        let mut budget = Budget::new(&settings(4, 60), &configuration.targets, turn);
        let mut pass = |rests: &[&str]| {
            let named = pass(&mut budget, &mut left_out, &configuration, rests);
            (named, left_out.0.len())
        };
        assert_eq!(pass(&["night"]), (vec![], 0));
        // What it would read may no longer be there, and who is due comes first. Where it rests it is owed nothing.
        assert_eq!(pass(&["night"]), (vec!["shop/night".to_owned()], 0));
        assert_eq!(pass(&["night"]).1, 1);
    }
}

#[test]
fn who_is_gone_is_forgotten() {
    let all = configuration(&[object("shop", "here", 1), object("shop", "gone", 1)]);
    let budget = Budget::new(&settings(0, 60), &all.targets, 0);
    let mut left_out = LeftOut::default();
    let mut spending = Budget::new(&settings(0, 60), &all.targets, 0);
    assert_eq!(pass(&mut spending, &mut left_out, &all, &[]).len(), 2);
    left_out.keep(&budget, &all.targets);
    assert_eq!(left_out.0.len(), 2);
    left_out.keep(&budget, &all.targets[..1]);
    let [((namespace, name), 1)] = &left_out.0.iter().collect::<Vec<_>>()[..] else {
        panic!("{left_out:?}");
    };
    assert_eq!((namespace.name.as_str(), name.as_str()), ("shop", "here"));
}

#[test]
fn without_a_limit_nothing_is_over() {
    let configuration = configuration(&[object("shop", "greedy", 90)]);
    let variables = [("OUTRIGGER_CLUSTERS", "prod"), ("AWS_REGION", "eu-west-1")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = Settings::from_environment(&variables.into()).unwrap();
    let mut budget = Budget::new(&settings, &configuration.targets, 0);
    for _ in 0..1_000 {
        assert_eq!(
            pass(&mut budget, &mut LeftOut::default(), &configuration, &[]),
            [""; 0]
        );
    }
}

/// The most invocations in a row in which a target was left out.
fn longest_wait(metrics: &[usize], limit: u32, is_warm: bool) -> u32 {
    let objects: Vec<String> = { metrics.iter().enumerate() }
        .map(|(index, count)| object("shop", &format!("w{index:02}"), *count))
        .collect();
    // Others around them, so that places say nothing.
    let others = (0..30).map(|index| object("aside", &format!("x{index:02}"), 1));
    let configuration = configuration(&others.chain(objects).collect::<Vec<_>>());
    let settings = settings(limit, 60);
    let (mut left_out, mut waits, mut longest) = (LeftOut::default(), HashMap::new(), 0);
    for turn in 28_000_000..28_000_100 {
        if !is_warm {
            left_out = LeftOut::default();
        }
        let mut budget = Budget::new(&settings, &configuration.targets, turn);
        let over = pass(&mut budget, &mut left_out, &configuration, &[]);
        for target in &configuration.targets {
            let name = target.id.to_string();
            let wait: &mut u32 = waits.entry(name.clone()).or_default();
            *wait = if over.contains(&name) { *wait + 1 } else { 0 };
            if target.id.namespace == "shop" {
                longest = longest.max(*wait);
            }
        }
    }
    longest
}

/// As each message says: after so many invocations it has had its turn.
#[test]
fn it_is_not_always_the_same_ones_that_are_left_out() {
    assert_eq!(longest_wait(&[1; 50], 50, true), 0);
    assert_eq!(longest_wait(&[1; 50], 10, true), 4);
    assert_eq!(longest_wait(&[1; 50], 1, true), 49);
    assert_eq!(longest_wait(&[10; 5], 10, true), 4);
    // Those that take much are not passed over for ever by those that take little: at most twice 37 metrics by 10.
    let mixed = [9, 1, 1, 6, 1, 7, 1, 10, 1];
    let wait = longest_wait(&mixed, 10, true);
    assert!((1..8).contains(&wait), "{wait}");
    for (metrics, limit, most) in [(&[1; 50][..], 10, 10), (&[10; 5], 10, 10), (&mixed, 10, 20)] {
        let wait = longest_wait(metrics, limit, false);
        assert!((1..=most).contains(&wait), "{wait}");
    }
}

#[test]
fn a_reading_that_is_left_out_says_why_and_for_how_long() {
    let told = |metrics: &[usize], limit, window| {
        let objects = { metrics.iter().enumerate() }
            .map(|(index, count)| object("shop", &format!("w{index}"), *count));
        let configuration = configuration(&objects.collect::<Vec<_>>());
        let budget = Budget::new(&settings(limit, window), &configuration.targets, 0);
        let polls: Vec<(bool, &Target)> = { configuration.targets.iter() }
            .map(|target| (false, target))
            .collect();
        let over = budget.over(&polls, &LeftOut::default());
        let mut over = over.into_iter().zip(&polls);
        let fault = over.find_map(|(over, (_, target))| Some(over?.fault(target)));
        fault.map(|Fault { code, message, .. }| (code, message))
    };
    assert_eq!(told(&[3, 3], 6, 60), None);
    let (code, message) = told(&[3, 3], 5, 60).unwrap();
    assert_eq!(code, "MetricBudget");
    assert_eq!(
        message,
        "the 5 paid reads of namespace `shop` in this invocation are used up, and its objects name 6 metrics; held for 240 s at most; name \
         fewer, poll less often, or ask the function's owner for a higher OUTRIGGER_MAX_METRIC_READS"
    );
    // With its trigger in front it fits into a status.
    assert!(message.len() <= 235, "{}", message.len());
    let (_, message) = told(&[3], 2, 60).unwrap();
    assert_eq!(
        message,
        "the object names 3 metrics, and namespace `shop` has 2 paid reads in an invocation; held until it names no more than that, or the \
         function's owner sets a higher OUTRIGGER_MAX_METRIC_READS"
    );
    let (_, message) = told(&[1], 0, 60).unwrap();
    assert!(
        message.contains("names 1 metrics, and namespace `shop` has 0 paid reads"),
        "{message}"
    );
}

#[cfg(feature = "cli")]
#[test]
fn who_asks_for_more_than_there_is_is_told_beforehand() {
    let often = |name: &str, seconds: u32, metrics: usize| {
        let spec = format!("spec:\n  pollingInterval: {seconds}\n");
        object("shop", name, metrics).replace("spec:\n", &spec)
    };
    // Each 10 s that is 6 polls of 3, and each 300 s, awake, one of 4 in each window.
    let configuration =
        configuration(&[often("a", 10, 3), often("b", 300, 4), object("ops", "c", 1)]);
    let told = |limit| exceeded(&settings(limit, 60), &configuration.targets);
    assert_eq!(told(22), [""; 0]);
    let [told] = &told(21)[..] else {
        panic!("one namespace asks for more");
    };
    for part in [
        "namespace shop of cluster prod ask for up to 22 reads",
        "and have 21 (OUTRIGGER_MAX_METRIC_READS)",
        "name fewer metrics",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

/// What a greedy tenant asked for, and what it has: 252,450 reads in a minute for $2.52, and at most 500 for half a cent.
#[test]
fn a_greedy_namespace_takes_nothing_from_another() {
    let greedy = (0..50).map(|index| object("greedy", &format!("w{index:02}"), 99));
    let modest = (0..5).map(|index| object("modest", &format!("m{index}"), 1));
    let configuration = configuration(&greedy.chain(modest).collect::<Vec<_>>());
    let second = NonZeroU32::MIN;
    let window = crate::ticks::Window {
        seconds: NonZeroU32::new(60).unwrap(),
        sync_seconds: NonZeroU32::new(60).unwrap(),
        event_time: None,
        time_left: None,
    };
    let mut ticks = crate::ticks::Ticks::over(window, &[second]);
    let (mut elapsed, mut passes) = (0, 0);
    let mut budget = Budget::new(&settings(500, 60), &configuration.targets, 0);
    let mut left_out = LeftOut::default();
    while let Some(tick) = ticks.next_after(elapsed) {
        elapsed = tick.offset;
        passes += 1;
        let over = pass(&mut budget, &mut left_out, &configuration, &[]);
        assert!(
            over.iter().all(|name| name.starts_with("greedy/")),
            "{over:?}"
        );
    }
    assert_eq!((passes, passes * 50 * 99), (51, 252_450));
    let spent: Vec<u32> = budget.spent.into_values().collect();
    // Five objects of 99; no object has a part of its reads.
    assert_eq!(spent, [495, 51 * 5]);
}
