use super::*;
use crate::cron::time_zone;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn window(timezone: &str, start: &str, end: &str) -> CronTrigger {
    let zone = time_zone(timezone).unwrap();
    CronTrigger {
        start: Schedule::parse(start, &zone).unwrap(),
        end: Schedule::parse(end, &zone).unwrap(),
        timezone: timezone.to_owned(),
        replicas: NonZeroU32::MIN,
    }
}

#[test]
fn windows_open_and_close() {
    for (timezone, start, end, moments) in [
        // Inclusive of the first moment, exclusive of the last.
        (
            "UTC",
            "0 8 * * *",
            "0 18 * * *",
            [
                ("2026-11-23T07:59:59.999Z", false),
                ("2026-11-23T08:00:00Z", true),
                ("2026-11-23T17:59:59Z", true),
                ("2026-11-23T18:00:00Z", false),
            ],
        ),
        // Past midnight.
        (
            "Europe/Berlin",
            "0 22 * * *",
            "0 6 * * *",
            [
                ("2026-11-23T20:59:59Z", false),
                ("2026-11-23T21:00:00Z", true),
                ("2026-11-24T04:59:59Z", true),
                ("2026-11-24T05:00:00Z", false),
            ],
        ),
        // Over the weekend.
        (
            "Asia/Kolkata",
            "0 20 * * fri",
            "0 8 * * mon",
            [
                ("2026-11-20T14:29:59Z", false),
                ("2026-11-20T14:30:00Z", true),
                ("2026-11-23T02:29:59Z", true),
                ("2026-11-23T02:30:00Z", false),
            ],
        ),
        // The clocks skip 02:30 on the 29th, so that nothing opens between two ends, and KEDA counts it as open all day.
        (
            "Europe/Berlin",
            "30 2 * * *",
            "0 5 * * *",
            [
                ("2026-03-28T01:29:59Z", false),
                ("2026-03-28T04:00:00Z", true),
                ("2026-03-29T02:59:59Z", true),
                ("2026-03-29T03:00:00Z", false),
            ],
        ),
        // A start and an end at once: as for KEDA, it is open before them.
        (
            "UTC",
            "0 8 * * *",
            "0 8 * * mon",
            [
                ("2026-11-21T12:00:00Z", false),
                ("2026-11-22T07:59:59Z", false),
                ("2026-11-22T08:00:00Z", true),
                ("2026-11-23T08:00:00Z", false),
            ],
        ),
        // Two starts before an end: as for KEDA, it is open from the last of them.
        (
            "UTC",
            "0 8,12 * * *",
            "0 18 * * *",
            [
                ("2026-11-23T08:00:00Z", false),
                ("2026-11-23T11:59:59Z", false),
                ("2026-11-23T12:00:00Z", true),
                ("2026-11-23T18:00:00Z", false),
            ],
        ),
        // They go from 02:00 back to 01:00: a window from 01:30 to 01:45 opens twice.
        (
            "America/New_York",
            "30 1 * * *",
            "45 1 * * *",
            [
                ("2026-11-01T05:30:00Z", true),
                ("2026-11-01T05:45:00Z", false),
                ("2026-11-01T06:30:00Z", true),
                ("2026-11-01T06:45:00Z", false),
            ],
        ),
    ] {
        let window = window(timezone, start, end);
        for (moment, is_open) in moments {
            assert_eq!(window.is_open(at(moment)), is_open, "{window} at {moment}");
        }
    }
}

#[test]
fn the_ends_of_time_are_no_panic() {
    let window = window("America/New_York", "0 8 * * *", "0 18 * * *");
    let _open = (
        window.is_open(Timestamp::MIN),
        window.is_open(Timestamp::MAX),
    );
}

fn metric(period_seconds: u32, collection_seconds: u32, end_offset_seconds: u32) -> Metric {
    Metric {
        query: MetricQuery::Expression("SELECT 1".into()),
        period_seconds,
        collection_seconds,
        end_offset_seconds,
        region: "eu-west-1".into(),
        endpoint: None,
        identity: Identity::Function,
    }
}

#[test]
fn metric_windows_end_with_whole_periods() {
    for (period, collection, offset, now, from, to) in [
        (300, 300, 0, "12:34:56", "12:25:00", "12:30:00"),
        (300, 600, 60, "12:34:56", "12:20:00", "12:30:00"),
        (300, 300, 300, "12:34:56", "12:20:00", "12:25:00"),
        (60, 300, 0, "12:34:00", "12:29:00", "12:34:00"),
        (10, 60, 0, "12:34:56.9", "12:33:50", "12:34:50"),
        // Not aligned to 1970: periods are counted from year 1.
        (420, 420, 0, "12:34:56", "12:22:00", "12:29:00"),
    ] {
        let at = |time: &str| at(&format!("2026-11-23T{time}Z"));
        let expected = Some((at(from), at(to)));
        let found = metric(period, collection, offset).window(at(now));
        assert_eq!(found, expected, "{period} s, {offset} s before {now}");
    }
    assert_eq!(metric(300, 300, 0).window(Timestamp::MIN), None);
    assert!(metric(1, 1, 0).window(Timestamp::MAX).is_some());
}
