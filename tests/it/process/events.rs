//! Every file of `events/`, each in a world of its own.

use std::collections::BTreeSet;

use outrigger::sandbox::{Sandbox, Service};

use super::{replicas, summary, writes};
use crate::support::function::Function;
use crate::support::{WORKER, actions, assert_names, sandbox};

/// What the function must do with a file of `events/`.
pub(crate) enum Expected {
    /// The Rollout is scaled.
    Scaled,
    /// Nothing is read or written, and the note says so.
    NobodyReads,
    /// The Rollout is scaled, and the invocation fails naming what is not there.
    Unknown(&'static str),
    /// The decision is told and nothing is written.
    DryRun,
}

pub(crate) const EVENTS: [(&str, Expected); 18] = [
    ("alarm-anomaly.json", Expected::Scaled),
    ("alarm-composite-suppressor.json", Expected::Scaled),
    ("alarm-composite.json", Expected::Scaled),
    ("alarm-math.json", Expected::Scaled),
    ("alarm-metric-ok.json", Expected::Scaled),
    ("alarm-metric.json", Expected::Scaled),
    ("alarm-no-reason-data.json", Expected::Scaled),
    ("alarm-other-queue.json", Expected::NobodyReads),
    ("alarm-period-day.json", Expected::Scaled),
    ("direct-all.json", Expected::Scaled),
    ("direct-dry-run.json", Expected::DryRun),
    ("direct-targets.json", Expected::Scaled),
    ("eventbridge-alarm.json", Expected::Scaled),
    ("eventbridge-rule-schedule.json", Expected::Scaled),
    (
        "scheduler-custom.json",
        Expected::Unknown("shop/order-worker"),
    ),
    ("scheduler-default.json", Expected::Scaled),
    ("sns-alarm-composite.json", Expected::Scaled),
    ("sns-alarm.json", Expected::Scaled),
];

pub(crate) const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/events");

#[test]
fn every_file_is_listed() {
    let files = std::fs::read_dir(DIRECTORY).unwrap();
    let files: BTreeSet<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let listed: BTreeSet<String> = EVENTS.iter().map(|(file, _)| (*file).to_owned()).collect();
    assert_eq!(files, listed);
}

#[tokio::test]
async fn every_file_does_what_it_says() {
    for (file, expected) in EVENTS {
        let sandbox = sandbox().await;
        let function = Function::start(&sandbox, &polled_once(), &[]).await;
        assert_does(file, expected, &sandbox, &function).await;
    }
}

/// The configuration that the events are tried with: polled as often as the window is long, so that a schedule polls once, too.
pub(crate) fn polled_once() -> String {
    WORKER.replace("minReplicaCount", "pollingInterval: 60\n  minReplicaCount")
}

/// A new function with [`polled_once`] does what is expected of the file.
pub(crate) async fn assert_does(
    file: &str,
    expected: Expected,
    sandbox: &Sandbox,
    function: &Function,
) {
    let event = std::fs::read(format!("{DIRECTORY}/{file}")).unwrap();
    match expected {
        Expected::Scaled => {
            let answer = function.answer(event).await;
            let target = &answer["targets"][0];
            assert_eq!(target["effect"], "scaled", "{file}: {answer}");
            assert_eq!((&target["from"], &target["to"]), (&2.into(), &7.into()));
            assert_eq!(writes(sandbox), [(2, 7)], "{file}");
        }
        Expected::NobodyReads => {
            let answer = function.answer(event).await;
            let note = answer["note"].as_str().unwrap();
            assert_names(note, &["no target reads the queue `invoices-archive`"]);
            assert_eq!(answer["targets"], serde_json::json!([]));
            assert_eq!(sandbox.requests(), [], "{file}");
            let lines = function.new_lines();
            assert_eq!(summary(&lines)["summary"]["note"], note);
        }
        Expected::Unknown(name) => {
            let (kind, message) = function.error(event).await;
            assert_eq!(kind, "Outrigger.TargetsFailed", "{file}");
            assert_names(&message, &["1 failed", name, "`namespace/name`"]);
            assert_eq!(writes(sandbox), [(2, 7)], "{file}");
        }
        Expected::DryRun => {
            let answer = function.answer(event).await;
            let target = &answer["targets"][0];
            assert_eq!(target["effect"], "dryRun", "{file}: {answer}");
            assert_eq!((&target["from"], &target["to"]), (&2.into(), &7.into()));
            let requests = actions(sandbox, Service::Kubernetes);
            assert!(!requests.is_empty());
            let is_read = |request: &String| request.starts_with("GET ");
            assert!(requests.iter().all(is_read), "{requests:?}");
            assert_eq!(replicas(sandbox), Some(2));
        }
    }
}
