//! Any expression is refused, or comes again and again, each time later.

#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use outrigger::cron::{Schedule, time_zone};
use outrigger_fuzz::{Random, assert_plain};

const ZONES: [&str; 5] = [
    "UTC",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Africa/Casablanca",
];

fuzz_target!(|text: &str| {
    let mut random = Random::of(text.as_bytes());
    let zone = ZONES[usize::try_from(random.below(5)).unwrap()];
    let schedule = match Schedule::parse(text, &time_zone(zone).unwrap()) {
        Ok(schedule) => schedule,
        Err(error) => return assert_plain(&error.to_string(), "a refusal"),
    };
    let from = i64::try_from(random.below(4_000_000_000)).unwrap();
    let mut now = Timestamp::from_second(from).unwrap();
    for _ in 0..20 {
        let Some(next) = schedule.next(now) else {
            break;
        };
        assert!(next > now, "{text}: {next} does not follow {now}");
        // The same from anywhere in between.
        let before = Timestamp::from_second(next.as_second() - 1)
            .unwrap()
            .max(now);
        assert_eq!(schedule.next(before), Some(next), "{text} from {before}");
        now = next;
    }
});
