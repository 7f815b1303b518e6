//! `aws-cloudwatch`.

use std::num::NonZeroU64;

use super::super::authentication::Resolution;
use super::aws::{self, Place};
use super::{Refused, given, needed, switch};
use crate::document::{Node, quoted};
use crate::fields::{self, Fields, Problems, suggestion};
use crate::policy::{CloudWatchTrigger, Metric, MetricQuery};
use crate::thousandths;

/// `metricStatPeriod` and `metricCollectionTime` unless set: KEDA's default.
const DEFAULT_PERIOD_SECONDS: u32 = 300;
/// `metricStat` unless set: KEDA's default.
const DEFAULT_STATISTIC: &str = "Average";

/// The statistics that have a name.
const STATISTICS: [&str; 6] = ["SampleCount", "Average", "Sum", "Minimum", "Maximum", "IQM"];

/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricStat.html>
const UNITS: [&str; 27] = [
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
    "None",
];

pub(super) fn read(
    fields: &mut Fields<'_>,
    metadata: &mut Fields<'_>,
    namespace: &str,
    resolution: Resolution<'_>,
    problems: &mut Problems,
) -> Option<CloudWatchTrigger> {
    let Place { region, endpoint } = aws::place(metadata, problems);
    let query = read_query(metadata, problems);
    let target = read_target(metadata, problems);
    let activation = given(metadata, "activationTargetMetricValue");
    let activation = match activation {
        Some(node) => decimal(
            node,
            &metadata.path("activationTargetMetricValue"),
            problems,
        ),
        None => Some(0),
    };
    let no_data = read_no_data(metadata, problems);
    let time = read_time(metadata, problems);
    let identity = aws::identity(fields, metadata, namespace, resolution, problems);
    let Time {
        period,
        collection,
        end_offset,
    } = time?;
    Some(CloudWatchTrigger {
        metric: Metric {
            query: query?,
            period_seconds: period,
            collection_seconds: collection,
            end_offset_seconds: end_offset,
            region: region.ok()?,
            endpoint: endpoint.ok()?,
            identity,
        },
        target_milli: target?,
        activation_milli: activation?,
        no_data_milli: no_data.ok()?,
    })
}

/// The keys of a metric that is not given by an expression.
const STATISTIC: [&str; 6] = [
    "namespace",
    "metricName",
    "dimensionName",
    "dimensionValue",
    "metricStat",
    "metricUnit",
];

fn read_query(metadata: &mut Fields<'_>, problems: &mut Problems) -> Option<MetricQuery> {
    let expression = given(metadata, "expression");
    let Some(expression) = expression else {
        if metadata.is_misspelt("expression") {
            for key in STATISTIC {
                metadata.take(key);
            }
            return None;
        }
        return read_statistic(metadata, problems);
    };
    for key in STATISTIC {
        if let Some(node) = given(metadata, key) {
            let message = "ignored, since `expression` is set";
            problems.warning(node.position, &metadata.path(key), message);
        }
    }
    let text = fields::text(expression, &metadata.path("expression"), problems);
    text.map(MetricQuery::Expression)
}

fn read_statistic(metadata: &mut Fields<'_>, problems: &mut Problems) -> Option<MetricQuery> {
    let mut required = |key, allowed, problems: &mut Problems| {
        let node = needed(metadata, key, allowed, problems)?;
        let text = fields::text(node, &metadata.path(key), problems)?;
        Some((text, node))
    };
    let namespace = required("namespace", "such as AWS/SQS, or an `expression`", problems);
    let name = required("metricName", "the name of a metric", problems);
    let allowed = "names separated by `;`; a metric without dimensions needs an `expression`";
    let names = required("dimensionName", allowed, problems);
    let allowed = "values separated by `;`, as many as names";
    let values = required("dimensionValue", allowed, problems);
    let dimensions = match (names, values) {
        (Some((names, _)), Some((values, node))) => {
            let found = pairs(&names, &values);
            if found.is_none() {
                let message = format!(
                    "found {}, allowed: as many values as `dimensionName` has names, separated by `;`, none of them empty",
                    quoted(&values)
                );
                let path = metadata.path("dimensionValue");
                problems.error(node.position, &path, message);
            }
            found
        }
        _ => None,
    };
    let statistic = match given(metadata, "metricStat") {
        Some(node) => read_name(
            node,
            &metadata.path("metricStat"),
            is_statistic,
            &STATISTICS,
            problems,
        ),
        None => Some(DEFAULT_STATISTIC.to_owned()),
    };
    let unit = given(metadata, "metricUnit").map(|node| {
        let is_unit = |text: &str| UNITS.contains(&text);
        read_name(
            node,
            &metadata.path("metricUnit"),
            is_unit,
            &UNITS,
            problems,
        )
    });
    Some(MetricQuery::Statistic {
        namespace: namespace?.0,
        name: name?.0,
        dimensions: dimensions?,
        statistic: statistic?,
        unit: match unit {
            Some(unit) => Some(unit?),
            None => None,
        },
    })
}

/// Names and values that belong together; `None` when they are not as many, or one is empty.
fn pairs(names: &str, values: &str) -> Option<Vec<(String, String)>> {
    let split = |text: &str| -> Vec<String> {
        text.split(';').map(|part| part.trim().to_owned()).collect()
    };
    let (names, values) = (split(names), split(values));
    let is_whole =
        names.len() == values.len() && names.iter().chain(&values).all(|part| !part.is_empty());
    is_whole.then(|| names.into_iter().zip(values).collect())
}

fn read_name(
    node: &Node,
    path: &str,
    is_known: impl Fn(&str) -> bool,
    names: &[&str],
    problems: &mut Problems,
) -> Option<String> {
    let text = node.as_text().map(str::trim).unwrap_or_default();
    if is_known(text) {
        return Some(text.to_owned());
    }
    let message = format!("found {}{}", node.describe(), suggestion(text, names));
    problems.error(node.position, path, message);
    None
}

/// A named statistic, `p99`, `tm90` and their like, or `TM(10%:90%)` and its like.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html>
fn is_statistic(text: &str) -> bool {
    let is_percentage = |number: &str| {
        let digits = number
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
        digits
            && number
                .parse::<f64>()
                .is_ok_and(|number| (0.0..=100.0).contains(&number))
    };
    let one_sided = ["p", "tm", "tc", "ts", "wm"];
    let two_sided = ["TM", "TC", "TS", "WM", "PR"];
    let after = |prefixes: [&str; 5]| {
        let mut rest = prefixes
            .iter()
            .filter_map(|prefix| text.strip_prefix(prefix));
        rest.next()
    };
    let is_range = |range: &str| {
        let inside = range
            .strip_prefix('(')
            .and_then(|range| range.strip_suffix(')'));
        inside.is_some_and(|inside| inside.len() > 1 && inside.matches(':').count() == 1)
    };
    STATISTICS.contains(&text)
        || after(one_sided).is_some_and(is_percentage)
        || after(two_sided).is_some_and(is_range)
}

fn read_target(metadata: &mut Fields<'_>, problems: &mut Problems) -> Option<NonZeroU64> {
    let allowed = "a number above 0, in thousandths at the finest";
    let node = needed(metadata, "targetMetricValue", allowed, problems)?;
    let path = metadata.path("targetMetricValue");
    let found = decimal(node, &path, problems)?;
    let target = u64::try_from(found).ok().and_then(NonZeroU64::new);
    if target.is_none() {
        problems.found(node, &path, allowed);
    }
    target
}

/// What no data counts as; `None` where it is a failed reading.
fn read_no_data(
    metadata: &mut Fields<'_>,
    problems: &mut Problems,
) -> Result<Option<i64>, Refused> {
    let least = needed(
        metadata,
        "minMetricValue",
        "a number, which no data counts as",
        problems,
    );
    let least = least.and_then(|node| decimal(node, &metadata.path("minMetricValue"), problems));
    let is_written = given(metadata, "ignoreNullValues").is_some();
    let counts = switch(metadata, "ignoreNullValues", true, problems).ok_or(Refused)?;
    let least = least.ok_or(Refused)?;
    if !is_written {
        let message = format!(
            "not set, so no data counts as minMetricValue {}, and may scale in; write `\"false\"` to hold the count then, or `\"true\"` to mean it",
            thousandths::shown(least)
        );
        problems.warning(
            metadata.position(),
            &metadata.path("ignoreNullValues"),
            message,
        );
    }
    Ok(counts.then_some(least))
}

/// In seconds.
struct Time {
    period: u32,
    collection: u32,
    end_offset: u32,
}

fn read_time(metadata: &mut Fields<'_>, problems: &mut Problems) -> Option<Time> {
    let mut seconds = |key, default, lowest, problems: &mut Problems| match given(metadata, key) {
        Some(node) => {
            let range = lowest..=i64::from(i32::MAX);
            let found = fields::integer(node, &metadata.path(key), range, problems);
            (
                Some(node),
                found.and_then(|found| u32::try_from(found).ok()),
            )
        }
        None => (None, Some(default)),
    };
    let (period_node, period) = seconds("metricStatPeriod", DEFAULT_PERIOD_SECONDS, 1, problems);
    let (collection_node, collection) =
        seconds("metricCollectionTime", DEFAULT_PERIOD_SECONDS, 1, problems);
    let (_, end_offset) = seconds("metricEndTimeOffset", 0, 0, problems);
    if metadata.is_misspelt("metricStatPeriod") || metadata.is_misspelt("metricCollectionTime") {
        return None;
    }
    let (period, collection) = (period?, collection?);
    if !matches!(period, 1 | 5 | 10 | 30) && period % 60 != 0 {
        let position = period_node.and_then(|node| node.position);
        let message =
            format!("found `{period}`, allowed: 1, 5, 10, 30 or a multiple of 60 seconds");
        problems.error(position, &metadata.path("metricStatPeriod"), message);
        return None;
    }
    if collection % period != 0 {
        let position = collection_node
            .or(period_node)
            .and_then(|node| node.position);
        let message = format!(
            "found `{collection}`, allowed: a multiple of `metricStatPeriod`, which is {period}"
        );
        problems.error(position, &metadata.path("metricCollectionTime"), message);
        return None;
    }
    Some(Time {
        period,
        collection,
        end_offset: end_offset?,
    })
}

/// A decimal number in thousandths. What is finer is cut off, as KEDA and Kubernetes do, and told.
fn decimal(node: &Node, path: &str, problems: &mut Problems) -> Option<i64> {
    let text = node.as_text().map(str::trim).unwrap_or_default();
    let Some(found) = thousandths::written(text) else {
        problems.found(node, path, "a number such as 12.5");
        return None;
    };
    if !found.is_exact {
        let shown = thousandths::shown(found.thousandths);
        let message = format!(
            "found {}, read as {shown}: Kubernetes knows thousandths",
            node.describe()
        );
        problems.warning(node.position, path, message);
    }
    Some(found.thousandths)
}
