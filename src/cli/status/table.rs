//! The table, as `kubectl get` prints its tables.

use jiff::Timestamp;

use super::row::Row;
use super::words::printable;
use crate::decide::{Decision, QueueDepth, Reading};
use crate::manifest::Target;
use crate::policy::{CloudWatchTrigger, MetricQuery, Mode, Trigger};
use crate::thousandths;

/// There is none.
const NONE: &str = "<none>";
/// There may be one, and nobody knows: never a zero.
const UNKNOWN: &str = "<unknown>";
/// Between two columns: values may hold one space, and headers too.
const GAP: &str = "   ";

/// The rows as a table; `wide` with the bounds and the whole sentence.
pub(super) fn table(rows: &[Row<'_>], wide: bool, now: Timestamp) -> String {
    let mut clusters: Vec<&str> = rows.iter().filter_map(Row::cluster).collect();
    clusters.sort_unstable();
    clusters.dedup();
    let with_cluster = clusters.len() > 1;
    let mut header = vec![
        "TARGET",
        "QUEUE",
        "DEPTH",
        "IN FLIGHT",
        "REPLICAS",
        "WANTED",
        "LIMITED BY",
        "LAST CHANGE",
        "REASON",
        "AGE",
    ];
    if wide {
        header.extend(["MIN", "MAX", "EXPLANATION"]);
    }
    if with_cluster {
        header.insert(0, "CLUSTER");
    }
    let header = header.into_iter().map(str::to_owned).collect();
    let lines = rows.iter().map(|row| {
        let mut cells = cells(row, now);
        if wide {
            cells.extend(wide_cells(row));
        }
        if with_cluster {
            cells.insert(0, row.cluster().unwrap_or(UNKNOWN).to_owned());
        }
        cells
    });
    aligned(std::iter::once(header).chain(lines).collect())
}

/// The cells from `TARGET` to `AGE`.
fn cells(row: &Row<'_>, now: Timestamp) -> Vec<String> {
    let (queue, depth, in_flight) = source(row);
    let decided = row.decided();
    let decision = decided.map(|decided| &decided.decision);
    let count = |count: fn(&Decision) -> u32| {
        decision.map_or(UNKNOWN.to_owned(), |decision| count(decision).to_string())
    };
    let limited_by = decision.map_or(UNKNOWN.to_owned(), |decision| {
        let limits: Vec<&str> = decision
            .limited_by
            .iter()
            .map(|limit| limit.name())
            .collect();
        if limits.is_empty() {
            NONE.to_owned()
        } else {
            limits.join(",")
        }
    });
    let (change, age) = match row.last_change() {
        Some(event) => (
            format!("{} → {}", event.from, event.to),
            age(now.duration_since(event.at).as_secs()),
        ),
        None if row.is_remembered() => (NONE.to_owned(), NONE.to_owned()),
        None => (UNKNOWN.to_owned(), UNKNOWN.to_owned()),
    };
    vec![
        row.name(),
        queue,
        depth,
        in_flight,
        count(|decision| decision.from),
        count(|decision| decision.to),
        limited_by,
        change,
        reason(row),
        age,
    ]
}

/// `MIN`, `MAX` and `EXPLANATION`.
fn wide_cells(row: &Row<'_>) -> [String; 3] {
    let bounds = row.target().map(|target| target.policy.bounds);
    let unknown = || UNKNOWN.to_owned();
    let explanation = row.decided().map(|decided| {
        let explanation = decided.decision.explanation.as_str();
        // Without the counts, which the row has already.
        let short = explanation.split_once(": ");
        short.map_or(explanation, |(_, short)| short).to_owned()
    });
    [
        bounds.map_or_else(unknown, |bounds| bounds.min().to_string()),
        bounds.map_or_else(unknown, |bounds| bounds.max().to_string()),
        explanation.unwrap_or_else(unknown),
    ]
}

/// The rule that set the wanted count; in brackets the mode and what went wrong.
fn reason(row: &Row<'_>) -> String {
    let errors = row.errors();
    let mut codes: Vec<&str> = Vec::new();
    if row
        .target()
        .is_some_and(|target| target.policy.mode == Mode::Shadow)
    {
        codes.push("shadow");
    }
    let reason = match row.decided() {
        Some(decided) => decided.decision.reason.name(),
        None => errors.first().map_or(UNKNOWN, |error| error.code),
    };
    for error in &errors {
        if error.code != reason && !codes.contains(&error.code) {
            codes.push(error.code);
        }
    }
    match codes.as_slice() {
        [] => reason.to_owned(),
        codes => format!("{reason} ({})", codes.join(", ")),
    }
}

/// What is read for the trigger that leads, or for the first where none does: its name, and what is waiting and in flight.
fn source(row: &Row<'_>) -> (String, String, String) {
    let unknown = || UNKNOWN.to_owned();
    let Some(Target { policy, .. }) = row.target() else {
        return (unknown(), unknown(), unknown());
    };
    let leading = row.leading().unwrap_or(0);
    let Some(trigger) = policy.triggers.get(leading) else {
        return (unknown(), unknown(), unknown());
    };
    let readings = row.decided().map(|decided| &decided.observation.readings);
    let reading = readings.and_then(|readings| readings.get(leading));
    let none = || NONE.to_owned();
    let (name, depth, in_flight) = match (trigger, reading) {
        (Trigger::SqsQueue(trigger), Some(Reading::Queue(depth))) => {
            let QueueDepth {
                visible,
                in_flight,
                delayed: _,
            } = depth;
            let name = trigger.queue.address.name().to_owned();
            (name, visible.to_string(), in_flight.to_string())
        }
        (Trigger::SqsQueue(trigger), _) => {
            let name = trigger.queue.address.name().to_owned();
            (name, unknown(), unknown())
        }
        (Trigger::CloudWatch(trigger), Some(Reading::Metric(value))) => {
            let value = value.map_or_else(none, thousandths::shown);
            (metric_name(trigger), value, none())
        }
        (Trigger::CloudWatch(trigger), _) => (metric_name(trigger), unknown(), none()),
        // What it asks for is in the reason: there is nothing to read.
        (Trigger::Cron(_), _) => ("cron".to_owned(), none(), none()),
    };
    let name = match policy.triggers.len() {
        0 | 1 => name,
        count => format!("{name} + {} more", count - 1),
    };
    (name, depth, in_flight)
}

/// The metric's own name: with its namespace and dimensions a column would be far too wide.
fn metric_name(trigger: &CloudWatchTrigger) -> String {
    match &trigger.metric.query {
        MetricQuery::Statistic { name, .. } => name.clone(),
        MetricQuery::Expression(_) => "expression".to_owned(),
    }
}

/// How long ago, as kubectl has it: two units while the second one matters.
fn age(seconds: i64) -> String {
    let two = |first: i64, unit: &str, second: i64, sub: &str| match second {
        0 => format!("{first}{unit}"),
        _ => format!("{first}{unit}{second}{sub}"),
    };
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        ..120 => format!("{}s", seconds.max(0)),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        _ if days < 2 * 365 => format!("{days}d"),
        _ if days < 8 * 365 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

/// Columns as wide as their widest cell, the last one without an end.
fn aligned(lines: Vec<Vec<String>>) -> String {
    let mut widths: Vec<usize> = Vec::new();
    let lines: Vec<Vec<String>> = lines
        .into_iter()
        .map(|line| line.iter().map(|cell| printable(cell)).collect())
        .collect();
    for line in &lines {
        widths.resize(widths.len().max(line.len()), 0);
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text += cells.join(GAP).trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn ages_as_kubectl_prints_them() {
        for (seconds, expected) in [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (312, "5m12s"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (11_520, "3h12m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (691_200, "8d"),
            (86_400 * 729, "729d"),
            (86_400 * 731, "2y1d"),
            (86_400 * 365 * 8, "8y"),
            (i64::MAX, "292471208677y"),
        ] {
            assert_eq!(age(seconds), expected, "{seconds}");
        }
    }
}
