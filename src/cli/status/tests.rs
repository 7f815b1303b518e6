//! What is printed about targets that were looked at.

use serde_json::json;

use super::words::MAX_ERRORS;
use super::*;
use crate::decide::{Observation, QueueDepth, Reading, Stop, Workload, decide};
use crate::manifest::{self, Target, TargetId};
use crate::pass::{Decided, Effect};
use crate::ports::Fault;
use crate::state::{ScaleEvent, State};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// ScaledObjects by name and by what else their metadata says.
fn configuration(objects: &[(&str, &str)]) -> Configuration {
    let objects = objects.iter().map(|(name, metadata)| {
        format!(
            "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {{name: {name}{metadata}}}\nspec:\n  scaleTargetRef: {{name: {name}, kind: Rollout, \
             apiVersion: argoproj.io/v1alpha1}}\n  minReplicaCount: 2\n  maxReplicaCount: 16\n  triggers:\n  - type: aws-sqs-queue\n    metadata: \
             {{queueURL: {name}-queue, queueLength: '10', awsRegion: eu-west-1, identityOwner: operator}}\n"
        )
    });
    let text = objects.collect::<Vec<_>>().join("---\n");
    let context = manifest::Context {
        file: "test.yaml",
        namespace: "default",
        clusters: &["one".to_owned(), "two".to_owned()],
    };
    manifest::read(text.as_bytes(), context)
}

fn queue(visible: u64, in_flight: u64) -> Reading {
    Reading::Queue(QueueDepth {
        visible,
        in_flight,
        delayed: 0,
    })
}

fn fault(code: &str) -> Fault {
    Fault::failed(code, format!("could not do it: {code}"))
}

/// A state whose last change was made so many seconds ago.
fn changed(ago: i64, from: u32, to: u32) -> State {
    let event = ScaleEvent {
        at: at(-ago),
        since: None,
        from,
        to,
    };
    State {
        events: vec![event],
        last_written: Some(to),
        ..State::new(at(-ago))
    }
}

fn outcome(
    target: &Target,
    reading: Reading,
    replicas: u32,
    state: Option<State>,
    faults: Vec<Fault>,
) -> Outcome<'_> {
    let observation = Observation {
        workload: Workload {
            replicas,
            rollout: None,
        },
        readings: vec![reading],
        stop: Stop::default(),
        conflicts: Vec::new(),
        poll_seconds: None,
    };
    let decision = decide(&target.policy, &observation, state.as_ref(), at(0));
    let effect = if decision.is_scale() {
        Effect::DryRun
    } else {
        Effect::Held
    };
    Outcome {
        target,
        decided: Some(Decided {
            observation,
            state,
            decision,
        }),
        seen: None,
        effect,
        faults,
    }
}

fn unread(target: &Target) -> Outcome<'_> {
    Outcome {
        target,
        decided: None,
        seen: None,
        effect: Effect::NotDone,
        faults: vec![fault("Forbidden")],
    }
}

/// What becomes of each target is told by its name.
fn seen(target: &Target) -> Outcome<'_> {
    let failed = || Reading::Failed {
        error: "AccessDenied".to_owned(),
    };
    match target.id.name.as_str() {
        "burst" => outcome(target, queue(60, 3), 2, Some(changed(312, 7, 2)), vec![]),
        "flood" => outcome(target, queue(5000, 0), 9, Some(State::new(at(-60))), vec![]),
        "denied" => {
            let (state, faults) = (changed(11_520, 2, 4), vec![fault("AccessDenied")]);
            outcome(target, failed(), 4, Some(state), faults)
        }
        "forgetful" => outcome(target, queue(0, 0), 4, None, vec![fault("NotFound")]),
        "gone" => unread(target),
        _ => outcome(target, queue(1, 0), 2, None, vec![]),
    }
}

fn outcomes(configuration: &Configuration) -> Vec<Outcome<'_>> {
    configuration.targets.iter().map(seen).collect()
}

fn rows<'a>(outcomes: &'a [Outcome<'a>], configuration: &'a Configuration) -> Vec<Row<'a>> {
    let refused = configuration.refused().into_iter().map(Row::Refused);
    outcomes.iter().map(Row::Seen).chain(refused).collect()
}

/// The same object in two clusters, one of which has another mistake.
#[test]
fn what_is_refused_is_of_its_cluster() {
    let mut configuration = Configuration::default();
    let id = TargetId {
        namespace: "shop".to_owned(),
        name: "worker".to_owned(),
    };
    for (cluster, mistake) in [("one", "a"), ("two", "b"), ("two", "c")] {
        configuration.refuse(cluster, &id, mistake.to_owned());
    }
    let rows = rows(&[], &configuration);
    let told: Vec<_> = rows.iter().map(|row| row.to_json(at(0))).collect();
    let told = told.iter().map(|row| {
        let errors = row["errors"].as_array().unwrap().len();
        (row["cluster"].as_str().unwrap(), errors)
    });
    assert_eq!(told.collect::<Vec<_>>(), [("one", 1), ("two", 2)]);
    let table = table::table(&rows, false, at(0));
    let columns: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(columns, ["CLUSTER", "one", "two"], "{table}");
}

const SHADOW: &str = ", annotations: {outrigger.dev/mode: shadow}";
const PAUSED: &str = ", annotations: {autoscaling.keda.sh/paused: 'true'}";

#[test]
fn a_table_as_kubectl_prints_it() {
    let configuration = configuration(&[
        ("burst", ""),
        ("flood", SHADOW),
        ("paused", PAUSED),
        ("denied", ""),
        ("forgetful", ""),
        ("gone", ""),
        ("bad", ", annotations: {outrigger.dev/mode: never}"),
    ]);
    let outcomes = outcomes(&configuration);
    let expected = "\
TARGET              QUEUE             DEPTH       IN FLIGHT   REPLICAS    WANTED      LIMITED BY                      LAST CHANGE   REASON                         AGE
default/burst       burst-queue       60          3           2           7           <none>                          7 → 2         QueueDepth                     5m12s
default/flood       flood-queue       5000        0           9           16          MaxReplicaCount                 <none>        QueueDepth (shadow)            <none>
default/paused      paused-queue      1           0           2           2           <none>                          <none>        Paused                         <none>
default/denied      denied-queue      <unknown>   <unknown>   4           4           <none>                          2 → 4         ReadingFailed (AccessDenied)   3h12m
default/forgetful   forgetful-queue   0           0           4           4           MinReplicaCount,ScaleInWindow   <unknown>     ScaleInWindow (NotFound)       <unknown>
default/gone        gone-queue        <unknown>   <unknown>   <unknown>   <unknown>   <unknown>                       <unknown>     Forbidden                      <unknown>
default/bad         <unknown>         <unknown>   <unknown>   <unknown>   <unknown>   <unknown>                       <unknown>     Refused                        <unknown>
";
    let text = table::table(&rows(&outcomes, &configuration), false, at(0));
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn wide_has_the_bounds_and_the_sentence() {
    let configuration = configuration(&[("burst", "")]);
    let outcomes = outcomes(&configuration);
    let text = table::table(&rows(&outcomes, &configuration), true, at(0));
    let (header, line) = text.trim_end().split_once('\n').unwrap();
    assert!(
        header.ends_with("REASON       AGE     MIN   MAX   EXPLANATION"),
        "{text}"
    );
    assert!(
        line.ends_with("QueueDepth   5m12s   2     16    63 messages (60 visible + 3 in flight) / 10 per replica; was limited by nothing"),
        "{text}"
    );
}

#[test]
fn clusters_have_a_column_when_there_are_several() {
    let two = ", annotations: {outrigger.dev/cluster: two}";
    for (metadata, expected) in [
        (two, vec!["CLUSTER", "one", "two"]),
        ("", vec!["TARGET", "default/a", "default/b"]),
    ] {
        let configuration = configuration(&[("a", ""), ("b", metadata)]);
        let outcomes = outcomes(&configuration);
        let text = table::table(&rows(&outcomes, &configuration), false, at(0));
        let first: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split("  ").next())
            .collect();
        assert_eq!(first, expected, "{text}");
    }
}

#[test]
fn objects_have_the_same_keys_whatever_is_known() {
    let configuration = configuration(&[
        ("burst", ""),
        ("denied", ""),
        ("gone", ""),
        ("bad", ", annotations: {outrigger.dev/mode: never}"),
    ]);
    let outcomes = outcomes(&configuration);
    let rows: Vec<Json> = rows(&outcomes, &configuration)
        .iter()
        .map(|row| row.to_json(at(0)))
        .collect();
    let keys = |row: &Json| row.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for row in &rows {
        assert_eq!(keys(row), keys(&rows[0]));
    }
    let expected = json!({
        "target": "default/burst",
        "cluster": "one",
        "mode": "live",
        "workload": {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "burst"},
        "minReplicaCount": 2,
        "maxReplicaCount": 16,
        "triggers": [{
            "type": "aws-sqs-queue", "leading": true, "queue": "burst-queue", "region": "eu-west-1", "messagesPerReplica": 10,
            "visible": 60, "inFlight": 3, "delayed": 0, "error": null,
        }],
        "replicas": 2,
        "wanted": 7,
        "limitedBy": [],
        "reason": "QueueDepth",
        "explanation": "burst 2 → 7: 63 messages (60 visible + 3 in flight) / 10 per replica; was limited by nothing",
        "lastChange": {"at": at(-312).to_string(), "ageSeconds": 312, "from": 7, "to": 2},
        "warnings": [],
        "errors": [],
    });
    assert_eq!(rows[0], expected);
    // What is not known is null, never zero.
    let trigger = &rows[1]["triggers"][0];
    assert_eq!(
        (&trigger["visible"], &trigger["error"]),
        (&Json::Null, &json!("AccessDenied"))
    );
    assert_eq!(
        (&rows[1]["replicas"], &rows[2]["replicas"]),
        (&json!(4), &Json::Null)
    );
    assert_eq!(
        rows[2]["errors"],
        json!([{"code": "Forbidden", "message": "could not do it: Forbidden"}])
    );
    assert_eq!(
        (&rows[3]["triggers"], &rows[3]["errors"][0]["code"]),
        (&Json::Null, &json!("Refused"))
    );
}

#[test]
fn a_trigger_without_a_queue_says_what_it_has() {
    let configuration = configuration(&[("worker", "")]);
    let mut target = configuration.targets[0].clone();
    let text = "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: worker}\nspec:\n  scaleTargetRef: {name: worker}\n  maxReplicaCount: 16\n  triggers:\n  \
        - {type: cron, metadata: {timezone: Etc/UTC, start: 0 8 * * *, end: 0 20 * * *, desiredReplicas: '10'}}\n  \
        - {type: aws-cloudwatch, metadata: {namespace: AWS/SQS, metricName: ApproximateAgeOfOldestMessage, dimensionName: QueueName, \
        dimensionValue: orders, targetMetricValue: '60', minMetricValue: '0', awsRegion: eu-west-1, identityOwner: operator}}\n";
    let context = manifest::Context {
        file: "test.yaml",
        namespace: "default",
        clusters: &[],
    };
    let triggers = manifest::read(text.as_bytes(), context).targets;
    target.policy.triggers = triggers[0].policy.triggers.clone();
    let cells = |metric: Reading| {
        let mut outcome = outcome(&target, Reading::Cron, 2, None, vec![]);
        let decided = outcome.decided.as_mut().unwrap();
        decided.observation.readings.push(metric);
        let (policy, observation) = (&target.policy, &decided.observation);
        decided.decision = decide(policy, observation, None, at(0));
        let row = Row::Seen(&outcome);
        let line = table::table(&[row], false, at(0));
        let line = line.lines().nth(1).unwrap().split("   ").map(str::trim);
        let line = line.filter(|cell| !cell.is_empty()).map(str::to_owned);
        (line.collect::<Vec<_>>(), Row::Seen(&outcome).to_json(at(0)))
    };
    // The window is open at 08:00 UTC, at(0).
    let (line, json) = cells(Reading::Metric(Some(90_500)));
    assert_eq!(line[1..6], ["cron + 1 more", "<none>", "<none>", "2", "10"]);
    assert_eq!(
        (
            &json["triggers"][0]["open"],
            &json["triggers"][0]["leading"]
        ),
        (&json!(true), &json!(true))
    );
    let (line, json) = cells(Reading::Metric(Some(900_500)));
    assert_eq!(
        line[1..6],
        [
            "ApproximateAgeOfOldestMessage + 1 more",
            "900.5",
            "<none>",
            "2",
            "16"
        ]
    );
    assert_eq!(
        (
            &json["triggers"][1]["valueMilli"],
            &json["triggers"][1]["leading"]
        ),
        (&json!(900_500), &json!(true))
    );
    let failed = Reading::Failed {
        error: "NoData".to_owned(),
    };
    assert_eq!(cells(failed).1["triggers"][1]["error"], "NoData");
}

#[test]
fn the_same_error_is_told_once() {
    let names: Vec<String> = (0..60).map(|number| format!("w{number}")).collect();
    let objects: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let configuration = configuration(&objects);
    let all: Vec<Outcome<'_>> = configuration.targets.iter().map(unread).collect();
    let text = complaints(&all.iter().map(Row::Seen).collect::<Vec<_>>(), &[]);
    let (error, hint) = text.split_once('\n').unwrap();
    assert_eq!(
        error,
        "error: default/w0 and 59 more: could not do it: Forbidden"
    );
    assert!(
        hint.starts_with("hint: ") && hint.contains("AWS_PROFILE"),
        "{hint}"
    );
    // Many that differ are cut.
    let differing = configuration.targets.iter().map(|target| {
        let fault = Fault::failed("Timeout", format!("no answer\u{1b}[2J for {}", target.id));
        Outcome {
            faults: vec![fault],
            ..unread(target)
        }
    });
    let all: Vec<Outcome<'_>> = differing.collect();
    let text = complaints(&all.iter().map(Row::Seen).collect::<Vec<_>>(), &[]);
    assert_eq!(text.lines().count(), MAX_ERRORS + 1);
    assert!(
        text.ends_with("error: and 10 more errors; -o json has them all\n"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn names_are_looked_for() {
    let configuration = configuration(&[("worker", ""), ("mailer", "")]);
    let told = |name| unknown_target(name, &configuration, "test.yaml");
    assert_eq!(
        told("default/wroker"),
        "error: `default/wroker` is not a target of `test.yaml`, did you mean `default/worker`?"
    );
    assert_eq!(
        told("shop/billing"),
        "error: `shop/billing` is not a target of `test.yaml`; there are default/worker, default/mailer"
    );
    let name = |name: &str| scope(&[name.to_owned()], "shop").map(|scope| format!("{scope:?}"));
    assert!(name("worker").unwrap().contains("shop"));
    assert!(name("a/b/c").is_err() && name("").is_err());
    assert_eq!(scope(&[], "shop").unwrap(), Scope::All);
}
