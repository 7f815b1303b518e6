//! What a function costs a month, all items of it, by a dated file of prices.

use std::fmt::{self, Write as _};

use serde_json::Value as Json;

use crate::settings::{Log, Metrics};
use crate::ticks::PASS_SECONDS;

/// Where and when the prices held. They are changed with their date, by hand.
const PRICES: &str = include_str!("prices.json");

/// Metrics of the function, and of each target, as `report` writes them.
const TOTALS: u64 = 8;
const OF_TARGET: u64 = 3;

/// Alarms on the function itself: `Failing` and `Silent`.
const OWN_ALARMS: u64 = 2;

/// Milliseconds at work in a poll, and bytes of log of an invocation: Lambda's own three lines and the summary. A record has about
/// 1.6 KB, the points of a target 0.4 KB, and so have the declarations of the totals.
const POLL_MILLISECONDS: u64 = 200;
const SUMMARY_BYTES: u64 = 900;
const RECORD_BYTES: u64 = 1_600;
const POINTS_BYTES: u64 = 400;

/// A month of 30 days.
const MONTH_SECONDS: u64 = 30 * 24 * 3600;

/// Millionths of a millionth of a dollar: the prices of single requests are whole in it.
const PICODOLLARS: u128 = 1_000_000_000_000;

/// What is paid for. Targets count as above zero and idle all the time, when they are polled most; follow-up polls are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Seconds between scheduled invocations.
    pub window_seconds: u32,
    /// The most seconds between two polls of a target that is awake.
    pub sync_seconds: u32,
    /// Memory of the function.
    pub memory_mb: u32,
    /// What is polled.
    pub targets: Vec<Polled>,
    /// Alarms on queues.
    pub queue_alarms: u64,
    /// Which metrics are written.
    pub metrics: Metrics,
    /// Which decisions are logged.
    pub log: Log,
    /// Whether there is a dashboard.
    pub dashboard: bool,
}

/// A target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Polled {
    /// Its `pollingInterval`.
    pub interval_seconds: u32,
    /// Its `aws-sqs-queue` triggers.
    pub queues: u64,
    /// Its `aws-cloudwatch` triggers.
    pub metrics: u64,
}

/// An item and its price a month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub name: &'static str,
    /// Its price, in millionths of a millionth of a dollar.
    pub picodollars: u128,
    /// What it is made of.
    pub amount: String,
}

/// All items, those that cost nothing included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// The items, always the same and in the same order.
    pub items: Vec<Item>,
}

/// The day and the region that the prices are of.
#[must_use]
pub fn priced() -> (String, String) {
    let prices = prices();
    let text = |key: &str| prices[key].as_str().unwrap_or_default().to_owned();
    (text("date"), text("region"))
}

/// How often a target is polled in a window, and for how many seconds the function stays up for it.
///
/// With an interval of 10 s in a window of 60 s: at 0, 10, … 50 s, 6 polls within 50 s.
#[must_use]
pub fn polls(window_seconds: u32, interval_seconds: u32) -> (u64, u64) {
    let last_start = window_seconds.saturating_sub(PASS_SECONDS);
    let more = if interval_seconds < window_seconds {
        last_start.checked_div(interval_seconds).unwrap_or_default()
    } else {
        0
    };
    (u64::from(more) + 1, u64::from(more * interval_seconds))
}

/// The bill of a month.
#[must_use]
pub fn bill(usage: &Usage) -> Bill {
    let Usage {
        window_seconds,
        sync_seconds,
        memory_mb,
        targets,
        queue_alarms,
        metrics,
        log,
        dashboard,
    } = usage;
    let prices = prices();
    let price = |path: &str| picodollars(prices.pointer(path).and_then(Json::as_str));
    let window = (*window_seconds).max(1);
    let invocations = MONTH_SECONDS / u64::from(window);
    let (mut longest, mut polled, mut requests, mut data) = (0, 0, 0, 0);
    for target in targets {
        let interval = target.interval_seconds.min(*sync_seconds).max(1);
        let (count, seconds) = polls(window, interval);
        longest = longest.max(seconds);
        polled += count * invocations;
        requests += count * invocations * target.queues;
        data += count * invocations * target.metrics;
    }
    let up_milliseconds = longest * 1_000 + POLL_MILLISECONDS;
    let megabyte_milliseconds = u128::from(invocations * up_milliseconds) * u128::from(*memory_mb);
    let count = u64::try_from(targets.len()).unwrap_or(u64::MAX);
    let custom = match metrics {
        Metrics::Off => 0,
        Metrics::Totals => TOTALS,
        Metrics::Targets => TOTALS + OF_TARGET * count,
    };
    let mut bytes = invocations * SUMMARY_BYTES;
    bytes += match metrics {
        Metrics::Off => 0,
        Metrics::Totals => invocations * POINTS_BYTES,
        Metrics::Targets => (invocations + polled) * POINTS_BYTES,
    };
    bytes += match log {
        Log::Changes => 0,
        Log::All => polled * RECORD_BYTES,
    };
    let alarms = OWN_ALARMS + queue_alarms;
    let times = |count: u64, path: &str| u128::from(count) * price(path);
    let lambda = times(invocations, "/lambda/request")
        + megabyte_milliseconds * price("/lambda/gbSecondArm64") / (1_024 * 1_000);
    let item = |name, picodollars, amount: String| Item {
        name,
        picodollars,
        amount,
    };
    Bill {
        items: vec![
            item(
                "alarms",
                times(alarms, "/cloudwatch/alarmMonth"),
                alarms.to_string(),
            ),
            item(
                "Scheduler",
                times(invocations, "/scheduler/invocation"),
                format!("{invocations} invocations"),
            ),
            item("Lambda", lambda, format!("{memory_mb} MB on arm64")),
            item(
                "log",
                times(bytes, "/cloudwatch/logGb") / 1_000_000_000,
                format!("{} MB", bytes / 1_000_000),
            ),
            item(
                "SQS",
                times(requests, "/sqs/request"),
                format!("{requests} requests"),
            ),
            item(
                "metrics read",
                times(data, "/cloudwatch/getMetricData"),
                format!("{data} of GetMetricData"),
            ),
            item(
                "metrics written",
                times(custom, "/cloudwatch/metricMonth"),
                custom.to_string(),
            ),
            item(
                "dashboard",
                times(u64::from(*dashboard), "/cloudwatch/dashboardMonth"),
                u64::from(*dashboard).to_string(),
            ),
        ],
    }
}

impl Bill {
    /// The sum of all items.
    #[must_use]
    pub fn total(&self) -> u128 {
        self.items.iter().map(|item| item.picodollars).sum()
    }

    /// One item by its name.
    #[must_use]
    pub fn item(&self, name: &str) -> u128 {
        let items = self.items.iter().filter(|item| item.name == name);
        items.map(|item| item.picodollars).sum()
    }
}

impl fmt::Display for Bill {
    /// The sum, then every item that costs something.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = String::new();
        for item in self.items.iter().filter(|item| item.picodollars > 0) {
            let comma = if parts.is_empty() { "" } else { ", " };
            let Item { name, amount, .. } = item;
            write!(
                parts,
                "{comma}{name} {} ({amount})",
                dollars(item.picodollars)
            )?;
        }
        write!(f, "{} a month: {parts}", dollars(self.total()))
    }
}

/// In whole cents, rounded half up.
#[must_use]
pub fn dollars(picodollars: u128) -> String {
    let cents = (picodollars * 100 + PICODOLLARS / 2) / PICODOLLARS;
    format!("${}.{:02}", cents / 100, cents % 100)
}

/// The prices; a test reads every one of them.
fn prices() -> Json {
    serde_json::from_str(PRICES).unwrap_or(Json::Null)
}

/// `0.0000133334` dollars are 13,333,400. What is no price counts nothing, and a test sees to it that none is.
fn picodollars(dollars: Option<&str>) -> u128 {
    let (whole, decimals) = dollars
        .and_then(|text| text.split_once('.'))
        .unwrap_or(("0", "0"));
    format!("{whole}{decimals:0<12}")
        .parse()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_price_is_read() {
        let prices = prices();
        let mut read = 0;
        for (service, of_service) in prices.as_object().unwrap() {
            for (name, price) in of_service.as_object().into_iter().flatten() {
                let found = picodollars(price.as_str());
                assert!(found > 0, "{service} {name}");
                // As it is written, and to the last digit.
                let written: f64 = price.as_str().unwrap().parse().unwrap();
                let again = found.to_string().parse::<f64>().unwrap() / 1e12;
                assert!((written - again).abs() < 1e-15, "{service} {name}");
                read += 1;
            }
        }
        assert_eq!(read, 9);
        let (date, region) = priced();
        assert!(date.parse::<jiff::civil::Date>().is_ok() && !region.is_empty());
    }

    /// Polls as they are planned in the function.
    #[test]
    fn polls_are_counted_as_the_function_makes_them() {
        use crate::ticks::{Ticks, Window};
        use std::num::NonZeroU32;
        for window in [60, 120, 600] {
            for interval in [
                1, 7, 10, 15, 25, 30, 45, 49, 50, 51, 59, 60, 61, 100, 590, 600,
            ] {
                let number = |value: u32| NonZeroU32::new(value).unwrap();
                let covered = Window {
                    seconds: number(window),
                    sync_seconds: number(window),
                    event_time: None,
                    time_left: None,
                };
                let mut ticks = Ticks::over(covered, &[number(interval)]);
                let (mut count, mut last) = (0, 0);
                while let Some(tick) = ticks.next_after(last) {
                    count += 1;
                    last = tick.offset;
                }
                let expected = (count, u64::from(last));
                assert_eq!(polls(window, interval), expected, "{interval} in {window}");
            }
        }
    }

    #[test]
    fn cents_are_rounded() {
        for (picodollars, expected) in [
            (0, "$0.00"),
            (4_999_999_999, "$0.00"),
            (5_000_000_000, "$0.01"),
            (123 * PICODOLLARS + 999_000_000_000, "$124.00"),
        ] {
            assert_eq!(dollars(picodollars), expected);
        }
    }
}
