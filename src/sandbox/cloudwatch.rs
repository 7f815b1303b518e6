//! The CloudWatch endpoint: `GetMetricData` in Smithy RPC v2 CBOR over the metrics.
//!
//! <https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html>,
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html>

use std::collections::BTreeMap;

use bytes::Bytes;
use ciborium::Value;
use http::{Method, Request};
use jiff::Timestamp;

use super::fault::Fault;
use super::metrics::{Asked, Metrics, Name, Point};
use super::server::{self, Reply, with_header};
use super::signature::{self, Credentials, Scope};

const PATH: &str = "/service/GraniteServiceVersion20100801/operation/";
const CONTENT_TYPE: &str = "application/cbor";
const PROTOCOL: &str = "rpc-v2-cbor";

/// The tag of a time in seconds since 1970.
const TIME_TAG: u64 = 1;

/// What a request did: the action for the request log, and the answer.
pub(super) fn handle(
    metrics: &Metrics,
    credentials: &Credentials,
    region: &str,
    request: &Request<Bytes>,
    now: Timestamp,
) -> (String, Reply) {
    let path = request.uri().path();
    let operation = path.strip_prefix(PATH).unwrap_or(path).to_owned();
    let scope = Scope {
        region,
        service: "monitoring",
    };
    if let Err(refused) = signature::verify_header(request, scope, credentials, now) {
        let error = Error::new(403, refused.query_code(), &refused.to_string());
        return (operation, error.into());
    }
    let query = match check_protocol(request, &operation).and_then(|()| parse(request.body())) {
        Ok(query) => query,
        Err(error) => return (operation, error.into()),
    };
    let action = format!("{operation} {}", shown(&query.name));
    if let Some(fault) = metrics.next_fault() {
        return (action, struck_by(fault));
    }
    let body = encode(&answer(metrics, query));
    let response = server::answer(200, CONTENT_TYPE, body);
    (
        action,
        with_header(response, "smithy-protocol", PROTOCOL).into(),
    )
}

fn check_protocol(request: &Request<Bytes>, operation: &str) -> Result<(), Error> {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    if request.method() != Method::POST || operation != "GetMetricData" {
        let message = format!("{} {operation} is not for this endpoint", request.method());
        return Err(Error::new(404, "UnknownOperationException", &message));
    }
    if header("smithy-protocol") != Some(PROTOCOL) || header("content-type") != Some(CONTENT_TYPE) {
        let message = "only Smithy RPC v2 CBOR is spoken here";
        return Err(Error::new(415, "UnsupportedMediaTypeException", message));
    }
    Ok(())
}

fn shown(name: &Name) -> String {
    match name {
        Name::Expression(expression) => expression.clone(),
        Name::Metric {
            namespace,
            name,
            dimensions,
        } => {
            let dimensions = dimensions
                .iter()
                .map(|(name, value)| format!(" {name}={value}"));
            format!("{namespace} {name}{}", dimensions.collect::<String>())
        }
    }
}

fn struck_by(fault: Fault) -> Reply {
    match fault {
        // There is no metric that is not there, only one without data; an alarm or a dashboard can be missing.
        Fault::NotFound => Error::new(404, "ResourceNotFound", "no such resource").into(),
        Fault::Throttled => Error::new(400, "Throttling", "Rate exceeded").into(),
        Fault::AccessDenied => Error::new(
            403,
            "AccessDenied",
            "User is not authorized to perform: cloudwatch:GetMetricData because no identity-based policy allows the cloudwatch:GetMetricData action",
        )
        .into(),
        Fault::ServerError => {
            Error::new(500, "InternalServiceFault", "internal failure").into()
        }
        Fault::Hang => Reply::Hang,
        Fault::Reset => Reply::Reset,
        Fault::Garbage => server::garbage().into(),
    }
}

/// An error in the form that CloudWatch puts on the wire: the shape in the body, the code of the older query protocol in a
/// header, for clients that still compare with it.
#[derive(Debug)]
struct Error {
    status: u16,
    code: String,
    message: String,
}

impl Error {
    fn new(status: u16, code: &str, message: &str) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "ValidationError", &message.into())
    }
}

impl From<Error> for Reply {
    fn from(error: Error) -> Self {
        let Error {
            status,
            code,
            message,
        } = error;
        let shape = format!("com.amazonaws.cloudwatch#{code}");
        let body = map([("__type", text(&shape)), ("message", text(&message))]);
        let response = server::answer(status, CONTENT_TYPE, encode(&body));
        let response = with_header(response, "smithy-protocol", PROTOCOL);
        with_header(response, "x-amzn-query-error", &format!("{code};Sender")).into()
    }
}

/// One query of a request. The endpoint takes no more than one.
#[derive(Debug)]
struct Query {
    id: String,
    name: Name,
    asked: Asked,
    newest_first: bool,
}

fn parse(body: &[u8]) -> Result<Query, Error> {
    let Ok(body) = ciborium::from_reader::<Value, _>(body) else {
        return Err(Error::new(
            400,
            "SerializationException",
            "the body is not CBOR",
        ));
    };
    let known = [
        "MetricDataQueries",
        "StartTime",
        "EndTime",
        "ScanBy",
        "NextToken",
    ];
    let input = Fields::of(&body, &known)?;
    let (from, to) = (input.time("StartTime")?, input.time("EndTime")?);
    if from >= to {
        let message = "The parameter StartTime must be less than the parameter EndTime.";
        return Err(Error::invalid(message));
    }
    let newest_first = match input.text("ScanBy")? {
        None | Some("TimestampDescending") => true,
        Some("TimestampAscending") => false,
        Some(_) => return Err(Error::invalid("ScanBy is no scan order")),
    };
    let Some(Value::Array(queries)) = input.get("MetricDataQueries") else {
        return Err(Error::invalid("MetricDataQueries is required"));
    };
    let [query] = queries.as_slice() else {
        return Err(Error::invalid("exactly one query is taken here"));
    };
    let known = ["Id", "MetricStat", "Expression", "Period", "ReturnData"];
    let query = Fields::of(query, &known)?;
    let id = query.text("Id")?.unwrap_or_default();
    if !id.starts_with(|first: char| first.is_ascii_lowercase()) {
        let message = "The value for parameter MetricDataQueries.member.1.Id must begin with a lower case letter.";
        return Err(Error::invalid(message));
    }
    let (name, period, statistic, unit) = match (query.get("MetricStat"), query.text("Expression")?)
    {
        (None, Some(expression)) => {
            let name = Name::Expression(expression.to_owned());
            (name, query.integer("Period")?, None, None)
        }
        (Some(statistic), None) => {
            let statistic = Fields::of(statistic, &["Metric", "Period", "Stat", "Unit"])?;
            let stat = statistic.required("Stat")?.to_owned();
            let unit = statistic.text("Unit")?.map(str::to_owned);
            let name = metric(statistic.get("Metric"))?;
            (name, statistic.integer("Period")?, Some(stat), unit)
        }
        _ => {
            return Err(Error::invalid(
                "exactly one of MetricStat and Expression is required",
            ));
        }
    };
    if !matches!(period, 1 | 5 | 10 | 30) && (period < 60 || period % 60 != 0) {
        return Err(Error::invalid(
            "Period must be 1, 5, 10, 30 or a multiple of 60",
        ));
    }
    Ok(Query {
        id: id.to_owned(),
        name,
        asked: Asked {
            from,
            to,
            period,
            statistic,
            unit,
        },
        newest_first,
    })
}

fn metric(value: Option<&Value>) -> Result<Name, Error> {
    let value = value.ok_or_else(|| Error::invalid("Metric is required"))?;
    let metric = Fields::of(value, &["Namespace", "MetricName", "Dimensions"])?;
    let mut dimensions = BTreeMap::new();
    if let Some(Value::Array(list)) = metric.get("Dimensions") {
        for dimension in list {
            let dimension = Fields::of(dimension, &["Name", "Value"])?;
            let name = dimension.required("Name")?.to_owned();
            dimensions.insert(name, dimension.required("Value")?.to_owned());
        }
    }
    Ok(Name::Metric {
        namespace: metric.required("Namespace")?.to_owned(),
        name: metric.required("MetricName")?.to_owned(),
        dimensions,
    })
}

fn answer(metrics: &Metrics, query: Query) -> Value {
    let Query {
        id,
        name,
        asked,
        newest_first,
    } = query;
    metrics.note(asked.clone());
    let is_empty_page = metrics.is_empty_page();
    let status = metrics.status();
    let mut values = if is_empty_page || status.is_some() {
        Vec::new()
    } else {
        by_period(&metrics.points(&name), &asked)
    };
    if newest_first {
        values.reverse();
    }
    let times = values.iter().map(|(at, _)| time(*at)).collect();
    let floats = values.iter().map(|(_, value)| Value::Float(*value));
    let status = match status {
        Some(status) => status,
        None if is_empty_page => "PartialData".to_owned(),
        None => "Complete".to_owned(),
    };
    let result = map([
        ("Id", text(&id)),
        ("Label", text(&id)),
        ("Timestamps", Value::Array(times)),
        ("Values", Value::Array(floats.collect())),
        ("StatusCode", text(&status)),
    ]);
    let results = ("MetricDataResults", Value::Array(vec![result]));
    if is_empty_page {
        map([results, ("NextToken", text("next"))])
    } else {
        map([results, ("Messages", Value::Array(Vec::new()))])
    }
}

/// One value for each period that has any, oldest first, with the period's beginning in seconds.
fn by_period(points: &[Point], asked: &Asked) -> Vec<(i64, f64)> {
    let begins = (asked.from.as_second()..asked.to.as_second())
        .step_by(usize::try_from(asked.period).unwrap_or(usize::MAX));
    let in_period = |begin: i64| {
        let is_in = move |point: &&Point| {
            point
                .at
                .is_none_or(|at| (begin..begin + asked.period).contains(&at.as_second()))
        };
        let values: Vec<f64> = points
            .iter()
            .filter(is_in)
            .map(|point| point.value)
            .collect();
        let value = aggregate(&values, asked.statistic.as_deref())?;
        Some((begin, value))
    };
    begins.filter_map(in_period).collect()
}

/// Percentiles and their like come to the highest value: nothing here depends on which they are.
fn aggregate(values: &[f64], statistic: Option<&str>) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a handful of values")]
    let count = values.len() as f64;
    let highest = values.iter().copied().reduce(f64::max)?;
    let value = match statistic {
        Some("SampleCount") => count,
        Some("Sum") => values.iter().sum(),
        Some("Average") => values.iter().sum::<f64>() / count,
        Some("Minimum") => values.iter().copied().reduce(f64::min)?,
        Some(_) | None => highest,
    };
    // `f64::max` passes over what is no number; a series of such values is told as it is.
    Some(if values.iter().any(|value| value.is_nan()) {
        f64::NAN
    } else {
        value
    })
}

/// A CBOR map that is read; keys that nobody knows are refused.
struct Fields<'v>(&'v [(Value, Value)]);

impl<'v> Fields<'v> {
    fn of(value: &'v Value, known: &[&str]) -> Result<Self, Error> {
        let Value::Map(entries) = value else {
            return Err(Error::invalid("a structure is required"));
        };
        let unknown = entries
            .iter()
            .find(|(key, _)| key.as_text().is_none_or(|key| !known.contains(&key)));
        match unknown {
            Some((key, _)) => Err(Error::invalid(format!("{key:?} is not for this endpoint"))),
            None => Ok(Self(entries)),
        }
    }

    fn get(&self, key: &str) -> Option<&'v Value> {
        let entry = self.0.iter().find(|(name, _)| name.as_text() == Some(key));
        entry.map(|(_, value)| value)
    }

    fn text(&self, key: &str) -> Result<Option<&'v str>, Error> {
        let text = self.get(key).map(|value| {
            let text = value.as_text().filter(|text| !text.is_empty());
            text.ok_or_else(|| Error::invalid(format!("{key} must be text")))
        });
        text.transpose()
    }

    fn required(&self, key: &str) -> Result<&'v str, Error> {
        let text = self.text(key)?;
        text.ok_or_else(|| Error::invalid(format!("{key} is required")))
    }

    fn integer(&self, key: &str) -> Result<i64, Error> {
        let number = self.get(key).and_then(Value::as_integer);
        let number = number.and_then(|number| i64::try_from(number).ok());
        number.ok_or_else(|| Error::invalid(format!("{key} must be a whole number")))
    }

    /// Seconds since 1970 under their tag, whole or not.
    fn time(&self, key: &str) -> Result<Timestamp, Error> {
        let seconds = match self.get(key) {
            Some(Value::Tag(TIME_TAG, value)) => match value.as_ref() {
                Value::Integer(seconds) => i64::try_from(*seconds).ok(),
                #[expect(clippy::cast_possible_truncation, reason = "times of this century")]
                Value::Float(seconds) if seconds.fract() == 0.0 => Some(*seconds as i64),
                _ => None,
            },
            _ => None,
        };
        let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
        time.ok_or_else(|| Error::invalid(format!("{key} must be a time in whole seconds")))
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn time(seconds: i64) -> Value {
    Value::Tag(TIME_TAG, Box::new(Value::Integer(seconds.into())))
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let entries = entries.into_iter().map(|(key, value)| (text(key), value));
    Value::Map(entries.collect())
}

fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to memory cannot fail.
    let _infallible = ciborium::into_writer(value, &mut bytes).is_ok();
    bytes
}

#[cfg(test)]
mod tests;
