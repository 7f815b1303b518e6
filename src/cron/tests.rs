use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn schedule(zone: &str, text: &str) -> Schedule {
    Schedule::parse(text, &time_zone(zone).unwrap()).unwrap()
}

#[track_caller]
fn check(zone: &str, text: &str, after: &str, expected: &str) {
    let found = schedule(zone, text).next(at(after));
    assert_eq!(
        found,
        Some(at(expected)),
        "`{text}` in {zone} after {after}"
    );
}

/// Zone, schedule, a moment, and what `robfig/cron` v3, which KEDA asks, gives as the next time.
#[rustfmt::skip]
const NEXT: &[[&str; 4]] = &[
    ["UTC", "0 8 * * *", "2026-11-23T07:59:59Z", "2026-11-23T08:00:00Z"],
    ["UTC", "0 8 * * *", "2026-11-23T08:00:00Z", "2026-11-24T08:00:00Z"],
    ["UTC", "*/15 8-18/2 * * 1-5", "2026-11-20T18:45:00Z", "2026-11-23T08:00:00Z"],
    ["UTC", "5/20 9 * * *", "2026-11-23T09:05:00Z", "2026-11-23T09:25:00Z"],
    ["UTC", "0 0 29 2 *", "2026-11-23T00:00:00Z", "2028-02-29T00:00:00Z"],
    ["UTC", "0 0 1 JAN ?", "2026-11-23T00:00:00Z", "2027-01-01T00:00:00Z"],
    ["UTC", "0 0 13 * fri", "2026-11-23T00:00:00Z", "2026-11-27T00:00:00Z"],
    ["UTC", "0 0 */13 * fri", "2026-11-21T00:00:00Z", "2026-11-27T00:00:00Z"],
    ["UTC", "0 0 */10 * mon", "2026-11-21T00:00:00Z", "2026-11-23T00:00:00Z"],
    ["UTC", "0 0 */1 * fri", "2026-11-21T00:00:00Z", "2026-11-27T00:00:00Z"],
    ["UTC", "59 23 31 12 *", "2026-12-31T23:59:00Z", "2027-12-31T23:59:00Z"],
    ["UTC", "0,30 12 1,15 6-8 *", "2026-06-15T12:00:00Z", "2026-06-15T12:30:00Z"],
    ["UTC", "0 8,,9 * * *", "2026-11-23T08:00:00Z", "2026-11-23T09:00:00Z"],
    ["UTC", "CRON_TZ=Asia/Tokyo 0 8 * * *", "2026-11-23T00:00:00Z", "2026-11-23T23:00:00Z"],
    ["UTC", "TZ=Asia/Tokyo 0 8 * * *", "2026-11-22T22:00:00Z", "2026-11-22T23:00:00Z"],
    ["Asia/Kolkata", "0 8 * * 1-5", "2026-11-20T12:00:00Z", "2026-11-23T02:30:00Z"],
    ["Asia/Kolkata", "30 5 * * *", "2026-11-22T23:59:59Z", "2026-11-23T00:00:00Z"],
    ["Europe/Berlin", "0 8 * * *", "2026-03-28T12:00:00Z", "2026-03-29T06:00:00Z"],
    ["Europe/Berlin", "30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z"],
    ["Europe/Berlin", "*/30 2 * * *", "2026-03-29T00:59:00Z", "2026-03-30T00:00:00Z"],
    ["Europe/Berlin", "0 3 * * *", "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"],
    ["Europe/Berlin", "30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"],
    ["Europe/Berlin", "30 2 * * *", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"],
    ["Europe/Berlin", "30 2 * * *", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"],
    ["Europe/Berlin", "0 3 * * *", "2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z"],
    ["America/New_York", "30 2 * * *", "2026-03-08T06:00:00Z", "2026-03-09T06:30:00Z"],
    ["America/New_York", "0 3 * * *", "2026-03-08T06:00:00Z", "2026-03-08T07:00:00Z"],
    ["America/New_York", "30 1 * * *", "2026-11-01T05:00:00Z", "2026-11-01T05:30:00Z"],
    ["America/New_York", "30 1 * * *", "2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"],
    ["America/New_York", "30 1 * * *", "2026-11-01T06:30:00Z", "2026-11-02T06:30:00Z"],
    ["America/New_York", "0 22 * * 0", "2026-11-01T05:30:00Z", "2026-11-02T03:00:00Z"],
    ["Australia/Lord_Howe", "45 1 * * *", "2026-10-03T12:00:00Z", "2026-10-03T15:15:00Z"],
    ["Australia/Lord_Howe", "15 2 * * *", "2026-10-03T12:00:00Z", "2026-10-04T15:15:00Z"],
    ["Australia/Lord_Howe", "45 1 * * *", "2026-04-04T12:00:00Z", "2026-04-04T14:45:00Z"],
    ["Australia/Lord_Howe", "45 1 * * *", "2026-04-04T14:50:00Z", "2026-04-04T15:15:00Z"],
];

#[test]
fn schedules_come_when_they_come_for_keda() {
    for [zone, text, after, expected] in NEXT {
        check(zone, text, after, expected);
    }
}

/// `robfig/cron` misses these: 4 October at 16:00 and 1 May at 06:00 are what it answers.
#[test]
fn times_that_exist_come_also_on_the_day_of_a_change() {
    for after in ["2026-10-03T12:00:00Z", "2026-10-03T15:45:00Z"] {
        check(
            "Australia/Lord_Howe",
            "0 3 * * *",
            after,
            "2026-10-03T16:00:00Z",
        );
    }
    check(
        "Africa/Cairo",
        "0 9 * * 5",
        "2026-04-22T12:00:00Z",
        "2026-04-24T06:00:00Z",
    );
}

#[test]
fn what_keda_refuses_is_refused() {
    for (text, message) in [
        ("@daily", "descriptors are refused, as KEDA does"),
        ("", "has 0 fields, allowed: 5"),
        ("* * * *", "has 4 fields, allowed: 5"),
        ("* * * * * *", "has 6 fields, allowed: 5"),
        ("60 * * * *", "`60` is no minute, allowed: 0 to 59"),
        ("0 24 * * *", "`24` is no hour, allowed: 0 to 23"),
        ("0 0 0 * *", "`0` is no day of month, allowed: 1 to 31"),
        ("0 0 32 * *", "`32` is no day of month"),
        (
            "0 0 * 13 *",
            "`13` is no month, allowed: 1 to 12 or jan to dec",
        ),
        ("0 0 * january *", "`january` is no month"),
        (
            "0 0 * * 7",
            "`7` is no day of week, allowed: 0 to 6 or sun to sat",
        ),
        ("0 0 * * fri-mon", "`fri-mon` is no day of week"),
        ("0 22-6 * * *", "`22-6` is no hour"),
        ("*/0 * * * *", "`*/0` is no minute"),
        ("1/2/3 * * * *", "`1/2/3` is no minute"),
        ("1-2-3 * * * *", "`1-2-3` is no minute"),
        ("a * * * *", "`a` is no minute"),
        ("-1 * * * *", "`-1` is no minute"),
        (
            "CRON_TZ=Europe/Berlim 0 8 * * *",
            "no time zone `Europe/Berlim`, did you mean `Europe/Berlin`?",
        ),
        ("TZ=UTC", "has 0 fields"),
    ] {
        let error = Schedule::parse(text, &TimeZone::UTC)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(message), "{text}: {error}");
    }
}

/// KEDA takes these and then never opens the window, or never closes it.
#[test]
fn what_never_comes_is_refused() {
    for text in ["0 0 30 2 *", "0 0 31 4,6,9,11 ?", "0 0 31 feb */1"] {
        assert_eq!(
            Schedule::parse(text, &TimeZone::UTC),
            Err(CronError::Never),
            "{text}"
        );
    }
    for text in [", * * * *", "*-5 * * * *"] {
        assert!(
            matches!(
                Schedule::parse(text, &TimeZone::UTC),
                Err(CronError::Item { .. })
            ),
            "{text}"
        );
    }
    // One of the days is enough, and every weekday comes.
    check(
        "UTC",
        "0 0 30 2 mon",
        "2026-11-23T00:00:00Z",
        "2027-02-01T00:00:00Z",
    );
    // No 29 February for eight years: KEDA gives up after five.
    check(
        "UTC",
        "0 0 29 2 *",
        "2096-03-01T00:00:00Z",
        "2104-02-29T00:00:00Z",
    );
}

#[test]
fn time_zones_are_those_of_iana() {
    for name in [
        "UTC",
        "Etc/UTC",
        "Europe/Berlin",
        "America/New_York",
        "Asia/Kolkata",
        "Asia/Calcutta",
        "Australia/Lord_Howe",
    ] {
        assert!(time_zone(name).is_ok(), "{name}");
    }
    for (name, message) in [
        (
            "Europe/Berln",
            "no time zone `Europe/Berln`, did you mean `Europe/Berlin`?",
        ),
        ("Local", "no time zone `Local`, allowed: a name of the IANA"),
        ("Etc/Unknown", "no time zone `Etc/Unknown`"),
        ("", "no time zone ``, allowed"),
        ("+09:00", "no time zone `+09:00`, allowed"),
        ("../../etc/passwd", "no time zone"),
    ] {
        let error = time_zone(name).unwrap_err().to_string();
        assert!(error.starts_with(message), "{name}: {error}");
    }
}

#[test]
fn the_ends_of_time_are_no_panic() {
    let schedule = schedule("Europe/Berlin", "0 8 * * 1-5");
    assert_eq!(schedule.next(Timestamp::MAX), None);
    assert!(schedule.next(Timestamp::MIN).is_some());
    assert_eq!(
        schedule.next(at("1969-12-31T23:59:59.5Z")),
        Some(at("1970-01-01T07:00:00Z"))
    );
}

fn any_field(low: u32, high: u32) -> impl Strategy<Value = String> {
    let range = (low..=high, low..=high)
        .prop_map(|(one, other)| format!("{}-{}", one.min(other), one.max(other)));
    prop_oneof![
        3 => Just("*".to_owned()),
        2 => (low..=high).prop_map(|value| value.to_string()),
        1 => range,
        1 => (1..=high).prop_map(|step| format!("*/{step}")),
        1 => (low..=high, low..=high).prop_map(|(one, other)| format!("{one},{other}")),
    ]
}

proptest! {
    /// The next time matches, and no minute before it does: the slow way to say the same.
    #[test]
    fn the_next_time_is_the_first_that_matches(
        fields in (any_field(0, 59), any_field(0, 23), any_field(1, 31), any_field(0, 6)), start in 0i64..400 * 86_400,
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Cairo"]),
    ) {
        let (minute, hour, day, weekday) = fields;
        let schedule = schedule(zone, &format!("{minute} {hour} {day} * {weekday}"));
        let start = Timestamp::from_second(1_774_000_000 + start).unwrap();
        let next = schedule.next(start).unwrap();
        assert!(next > start);
        let matches = |moment: Timestamp| {
            let local = schedule.zone.to_datetime(moment);
            let number = |value: i8| u32::try_from(value).unwrap();
            let Times { minutes, hours, days: _, months, weekdays: _ } = schedule.times;
            minutes.has(number(local.minute())) && hours.has(number(local.hour())) && months.has(number(local.month()))
                && schedule.times.is_day(number(local.day()), number(local.weekday().to_sunday_zero_offset()))
        };
        assert!(matches(next));
        let mut moment = Timestamp::from_second(start.as_second().div_euclid(60) * 60 + 60).unwrap();
        for _ in 0..4000 {
            if moment >= next {
                break;
            }
            assert!(!matches(moment), "{moment} before {next}");
            moment += jiff::SignedDuration::from_mins(1);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[-*?/, 0-9a-zA-Z@=]{0,24}") {
        if let Ok(schedule) = Schedule::parse(&text, &TimeZone::UTC) {
            assert!(schedule.next(Timestamp::UNIX_EPOCH).is_some(), "{text}");
        }
    }
}
