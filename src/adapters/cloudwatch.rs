//! Metric values by `GetMetricData`, which costs money for each metric asked for.

use std::sync::Arc;

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::operation::get_metric_data::GetMetricDataOutput;
use aws_sdk_cloudwatch::types::{
    Dimension, Metric as SdkMetric, MetricDataQuery, MetricDataResult, MetricStat, ScanBy,
    StandardUnit, StatusCode,
};
use aws_smithy_types::DateTime;
use jiff::Timestamp;

use super::aws::{Aws, Clients, describe, hint, owner};
use crate::policy::{Metric, MetricQuery};
use crate::ports::Fault;
use crate::thousandths;

const ACTION: &str = "cloudwatch:GetMetricData";

/// The id of the one query of a request.
const QUERY_ID: &str = "value";

/// Pages that are asked for. CloudWatch may answer with empty ones on the way to the first value.
const MAX_PAGES: usize = 5;

/// The CloudWatch API.
#[derive(Debug)]
pub struct CloudWatch {
    clients: Clients<Client>,
}

impl CloudWatch {
    /// No network before the first read.
    #[must_use]
    pub fn new(aws: Arc<Aws>) -> Self {
        let clients = Clients::new(aws, |config, endpoint| {
            let mut builder = aws_sdk_cloudwatch::config::Builder::from(config);
            if let Some(endpoint) = endpoint {
                builder = builder.endpoint_url(endpoint);
            }
            Client::from_conf(builder.build())
        });
        Self { clients }
    }

    /// The newest value of a metric in its window before `now`, in thousandths, `None` when there is no data.
    /// Of several series, as an expression may give, the first counts.
    pub async fn value(&self, metric: &Metric, now: Timestamp) -> Result<Option<i64>, Fault> {
        let Metric {
            query,
            period_seconds,
            collection_seconds: _,
            end_offset_seconds: _,
            region,
            endpoint,
            identity,
        } = metric;
        let window = metric.window(now);
        let (from, to) = window.ok_or_else(|| bad(metric, "there is no such time"))?;
        let client = self.clients.get(identity, region, endpoint.as_deref());
        let request = client
            .await
            .get_metric_data()
            .start_time(DateTime::from_secs(from.as_second()))
            .end_time(DateTime::from_secs(to.as_second()))
            .scan_by(ScanBy::TimestampDescending)
            .metric_data_queries(sdk_query(query, *period_seconds));
        let mut page = None;
        for _ in 0..MAX_PAGES {
            let answer = request.clone().set_next_token(page).send().await;
            let answer = answer.map_err(|error| fault(metric, describe(&error)))?;
            let value = newest(metric, &answer)?;
            page = answer.next_token;
            if value.is_some() || page.is_none() {
                return Ok(value);
            }
        }
        Err(bad(metric, "only empty pages"))
    }
}

/// The one query of a request.
fn sdk_query(query: &MetricQuery, period_seconds: u32) -> MetricDataQuery {
    let period = i32::try_from(period_seconds).unwrap_or(i32::MAX);
    let builder = MetricDataQuery::builder().id(QUERY_ID);
    let query = match query {
        MetricQuery::Expression(expression) => builder.expression(expression).period(period),
        MetricQuery::Statistic {
            namespace,
            name,
            dimensions,
            statistic,
            unit,
        } => {
            let dimensions = dimensions
                .iter()
                .map(|(name, value)| Dimension::builder().name(name).value(value).build());
            let metric = SdkMetric::builder()
                .namespace(namespace)
                .metric_name(name)
                .set_dimensions(Some(dimensions.collect()));
            let statistic = MetricStat::builder()
                .metric(metric.build())
                .period(period)
                .stat(statistic)
                .set_unit(unit.as_deref().map(StandardUnit::from));
            builder.metric_stat(statistic.build())
        }
    };
    query.build()
}

/// The newest value of the first series, by its time and not by its place. An answer that says it is not whole is no answer, and
/// one without results, or with values that have no time, is not one of this service.
fn newest(metric: &Metric, answer: &GetMetricDataOutput) -> Result<Option<i64>, Fault> {
    let Some(results) = &answer.metric_data_results else {
        return Err(bad(metric, "an answer without results"));
    };
    let Some(MetricDataResult {
        timestamps,
        values,
        status_code,
        ..
    }) = results.first()
    else {
        return Ok(None);
    };
    if let Some(status @ (StatusCode::Forbidden | StatusCode::InternalError)) = status_code {
        let code = status.as_str().to_owned();
        let message = format!("{code}: the result is not whole");
        return Err(fault(metric, (code, message)));
    }
    let times = timestamps.as_deref().unwrap_or_default();
    let values = values.as_deref().unwrap_or_default();
    if times.len() != values.len() {
        let message = format!("found {} values and {} times", values.len(), times.len());
        return Err(bad(metric, &message));
    }
    let newest = times.iter().zip(values).max_by_key(|(time, _)| **time);
    let Some((_, value)) = newest else {
        return Ok(None);
    };
    let found = thousandths::measured(*value);
    let found = found.ok_or_else(|| bad(metric, &format!("found {value}, which is no number")))?;
    Ok(Some(found))
}

fn bad(metric: &Metric, message: &str) -> Fault {
    fault(metric, ("BadResponse".to_owned(), message.to_owned()))
}

fn fault(metric: &Metric, (code, message): (String, String)) -> Fault {
    let Metric {
        region, identity, ..
    } = metric;
    let who = owner(identity);
    let hint = match code.as_str() {
        "AccessDenied" | "AccessDeniedException" | "Forbidden" => {
            format!("allow {ACTION} (on `*`: CloudWatch knows no narrower resource) to {who}")
        }
        "ValidationError"
        | "ValidationException"
        | "InvalidParameterValue"
        | "InvalidParameterCombination"
        | "MissingRequiredParameter"
        | "MissingParameter" => "check the trigger's metadata".to_owned(),
        code => hint(code, identity, "CloudWatch"),
    };
    Fault::failed(
        code,
        format!("could not read the metric {metric} in {region} ({ACTION}): {message}; {hint}"),
    )
}
