//! Every file of `events/` means exactly what is written here.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{alarm, queues, targets};
use crate::wake::{Cause, Scope, Wake, parse};

/// The file, its cause, its scope, whether it is a dry run, and its time.
type Sample = (&'static str, Cause, Scope, bool, Option<&'static str>);

fn samples() -> Vec<Sample> {
    let mut samples = alarm_samples();
    samples.extend(other_samples());
    samples
}

fn alarm_samples() -> Vec<Sample> {
    let sample =
        |file, name, state, scope, time| (file, alarm(name, state), scope, false, Some(time));
    let orders = || queues(&["orders"]);
    vec![
        sample(
            "alarm-metric.json",
            "orders-depth",
            "ALARM",
            orders(),
            "2026-11-20T03:15:08.431Z",
        ),
        sample(
            "alarm-metric-ok.json",
            "orders-depth",
            "OK",
            orders(),
            "2026-11-20T03:42:08.419Z",
        ),
        sample(
            "alarm-math.json",
            "orders total depth",
            "ALARM",
            queues(&["orders", "order-returns.fifo"]),
            "2026-11-20T04:02:17.006Z",
        ),
        sample(
            "alarm-composite.json",
            "orders-trouble",
            "ALARM",
            Scope::All,
            "2026-11-20T05:20:32.118Z",
        ),
        sample(
            "alarm-composite-suppressor.json",
            "orders-trouble-by-day",
            "ALARM",
            Scope::All,
            "2026-11-20T05:22:32.140Z",
        ),
        sample(
            "alarm-anomaly.json",
            "orders-unusual",
            "ALARM",
            orders(),
            "2026-11-20T06:35:44.920Z",
        ),
        sample(
            "alarm-period-day.json",
            "orders-daily-intake",
            "ALARM",
            orders(),
            "2026-11-20T00:01:12.300Z",
        ),
        sample(
            "alarm-no-reason-data.json",
            "orders-depth",
            "ALARM",
            orders(),
            "2026-11-20T07:00:05.077Z",
        ),
        sample(
            "alarm-other-queue.json",
            "invoices-depth",
            "ALARM",
            queues(&["invoices-archive"]),
            "2026-11-20T03:16:41.250Z",
        ),
        sample(
            "eventbridge-alarm.json",
            "orders-depth",
            "ALARM",
            orders(),
            "2026-11-20T03:15:08Z",
        ),
        sample(
            "sns-alarm.json",
            "orders-depth",
            "ALARM",
            orders(),
            "2026-11-20T03:15:08.431Z",
        ),
        sample(
            "sns-alarm-composite.json",
            "orders-trouble",
            "ALARM",
            Scope::All,
            "2026-11-20T05:20:32.118Z",
        ),
    ]
}

fn other_samples() -> Vec<Sample> {
    let on_the_minute = Some("2026-11-20T03:15:00Z");
    vec![
        (
            "eventbridge-rule-schedule.json",
            Cause::Schedule,
            Scope::All,
            false,
            on_the_minute,
        ),
        (
            "scheduler-default.json",
            Cause::Schedule,
            Scope::All,
            false,
            on_the_minute,
        ),
        (
            "scheduler-custom.json",
            Cause::Schedule,
            targets(&[("default", "worker"), ("shop", "order-worker")]),
            false,
            on_the_minute,
        ),
        ("direct-all.json", Cause::Direct, Scope::All, false, None),
        (
            "direct-targets.json",
            Cause::Direct,
            targets(&[("default", "worker")]),
            false,
            None,
        ),
        ("direct-dry-run.json", Cause::Direct, Scope::All, true, None),
    ]
}

pub(super) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("events")
}

#[test]
fn every_sample_is_read_as_expected() {
    for (file, cause, scope, dry_run, time) in samples() {
        let expected = Wake {
            cause,
            scope,
            dry_run,
            time: time.map(|time| time.parse().unwrap()),
        };
        let payload = std::fs::read(folder().join(file)).unwrap();
        assert_eq!(parse(&payload), Ok(expected), "{file}");
    }
}

#[test]
fn no_sample_is_missing_from_the_table() {
    let listed: BTreeSet<String> = samples()
        .into_iter()
        .map(|(file, ..)| file.to_owned())
        .collect();
    let present: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(present, listed);
}
