use super::super::signature::testing::{self, NOW, REGION, Signed};
use super::*;

const END: i64 = 1_795_392_000;

fn ask(metrics: &Metrics, body: &Value) -> (String, u16, Option<String>, Value) {
    let mut request = Signed::post("monitoring", encode(body))
        .header("smithy-protocol", PROTOCOL)
        .header("content-type", CONTENT_TYPE);
    request.target = format!("{PATH}GetMetricData");
    let request = request.request();
    let (action, reply) = handle(metrics, &testing::credentials(), REGION, &request, NOW);
    let Reply::Answer(response, _) = reply else {
        panic!("no answer: {reply:?}");
    };
    let code = response.headers().get("x-amzn-query-error");
    let code = code.and_then(|code| code.to_str().ok()).map(str::to_owned);
    let status = response.status().as_u16();
    let body = testing::body_bytes(response);
    let body = ciborium::from_reader(body.as_slice()).expect("CBOR");
    (action, status, code, body)
}

fn dimension(name: &str, value: &str) -> Value {
    map([("Name", text(name)), ("Value", text(value))])
}

fn statistic(stat: &str, period: i64, dimensions: Vec<Value>) -> Value {
    let metric = map([
        ("Namespace", text("Shop")),
        ("MetricName", text("Carts")),
        ("Dimensions", Value::Array(dimensions)),
    ]);
    map([
        ("Metric", metric),
        ("Period", Value::Integer(period.into())),
        ("Stat", text(stat)),
    ])
}

fn input(query: Value, from: i64, to: i64) -> Value {
    map([
        ("MetricDataQueries", Value::Array(vec![query])),
        ("StartTime", time(from)),
        ("EndTime", time(to)),
        ("ScanBy", text("TimestampDescending")),
    ])
}

fn carts(stat: &str) -> Value {
    let dimensions = vec![dimension("Shop", "eu"), dimension("Stage", "prod")];
    let query = map([
        ("Id", text("q")),
        ("MetricStat", statistic(stat, 60, dimensions)),
    ]);
    input(query, END - 180, END)
}

/// The values of the one result.
fn values(body: &Value) -> Vec<f64> {
    let field = |value: &Value, key: &str| -> Value {
        let Value::Map(entries) = value else {
            panic!("no map: {value:?}")
        };
        let entry = entries.iter().find(|(name, _)| name.as_text() == Some(key));
        entry.unwrap_or_else(|| panic!("no {key}")).1.clone()
    };
    let Value::Array(results) = field(body, "MetricDataResults") else {
        panic!("no list")
    };
    let Value::Array(values) = field(&results[0], "Values") else {
        panic!("no list")
    };
    values
        .iter()
        .map(|value| value.as_float().unwrap())
        .collect()
}

#[test]
fn points_are_summed_up_by_period_newest_first() {
    let metrics = Metrics::default();
    let at = |before: i64| Timestamp::from_second(END - before).unwrap();
    let dimensions = [("Stage", "prod"), ("Shop", "eu")];
    for (before, value) in [(181, 100.0), (180, 1.0), (121, 3.0), (60, 5.0), (0, 900.0)] {
        metrics.put("Shop", "Carts", &dimensions, at(before), value);
    }
    metrics.put("Shop", "Carts", &[("Shop", "eu")], at(60), 77.0);
    for (stat, expected) in [
        ("Average", [5.0, 2.0]),
        ("Sum", [5.0, 4.0]),
        ("Minimum", [5.0, 1.0]),
        ("Maximum", [5.0, 3.0]),
        ("SampleCount", [1.0, 2.0]),
        ("p99", [5.0, 3.0]),
    ] {
        let (action, status, _, body) = ask(&metrics, &carts(stat));
        assert_eq!(
            (action.as_str(), status),
            ("GetMetricData Shop Carts Shop=eu Stage=prod", 200)
        );
        assert_eq!(values(&body), expected, "{stat}");
    }
    metrics.clear();
    assert_eq!(values(&ask(&metrics, &carts("Sum")).3), [0.0; 0]);
    assert_eq!(metrics.asked().len(), 7);
}

#[test]
fn expressions_say_what_they_were_told_to() {
    let metrics = Metrics::default();
    metrics.hold_expression("SELECT 1", 2.5);
    let query = |text_: &str| {
        map([
            ("Id", text("q")),
            ("Expression", text(text_)),
            ("Period", Value::Integer(60.into())),
        ])
    };
    let (action, _, _, body) = ask(&metrics, &input(query("SELECT 1"), END - 120, END));
    assert_eq!(
        (action.as_str(), values(&body)),
        ("GetMetricData SELECT 1", vec![2.5, 2.5])
    );
    let (_, _, _, body) = ask(&metrics, &input(query("SELECT 2"), END - 120, END));
    assert_eq!(values(&body), [0.0; 0]);
}

#[test]
fn what_the_service_refuses_is_refused() {
    let metrics = Metrics::default();
    let stat = |period| {
        map([
            ("Id", text("q")),
            ("MetricStat", statistic("Sum", period, vec![])),
        ])
    };
    let bad_id = map([
        ("Id", text("Q")),
        ("MetricStat", statistic("Sum", 60, vec![])),
    ]);
    let neither = map([("Id", text("q")), ("Period", Value::Integer(60.into()))]);
    for (what, input) in [
        ("a window that is none", input(stat(60), END, END)),
        ("a period that is none", input(stat(45), END - 60, END)),
        ("an id that is none", input(bad_id, END - 60, END)),
        ("no query", input(neither, END - 60, END)),
        ("a key that is none", map([("Startime", time(END))])),
        ("a text", text("x")),
    ] {
        let (_, status, code, _) = ask(&metrics, &input);
        let expected = (400, Some("ValidationError;Sender"));
        assert_eq!((status, code.as_deref()), expected, "{what}");
    }
    assert_eq!(metrics.asked(), []);
}

#[test]
fn only_signed_requests_in_the_protocol_are_answered() {
    let metrics = Metrics::default();
    let answer = |request: &Request<Bytes>| {
        let (_, reply) = handle(&metrics, &testing::credentials(), REGION, request, NOW);
        reply.status()
    };
    let mut signed = Signed::post("monitoring", encode(&carts("Sum")));
    signed.target = format!("{PATH}GetMetricData");
    assert_eq!(answer(&signed.request()), 415);
    let signed = signed
        .header("smithy-protocol", PROTOCOL)
        .header("content-type", CONTENT_TYPE);
    assert_eq!(answer(&signed.request()), 200);
    let mut other = signed.clone();
    other.target = format!("{PATH}PutMetricData");
    assert_eq!(answer(&other.request()), 404);
    let mut other = signed.clone();
    "sqs".clone_into(&mut other.service);
    assert_eq!(answer(&other.request()), 403);
    let mut other = signed.clone();
    "wrong".clone_into(&mut other.credential.secret);
    assert_eq!(answer(&other.request()), 403);
}

#[test]
fn faults_strike_as_often_as_told() {
    let metrics = Metrics::default();
    metrics.fail_times(Fault::Throttled, 1);
    let (_, status, code, _) = ask(&metrics, &carts("Sum"));
    assert_eq!((status, code.as_deref()), (400, Some("Throttling;Sender")));
    assert_eq!(ask(&metrics, &carts("Sum")).1, 200);
    metrics.fail(Some(Fault::AccessDenied));
    assert_eq!(ask(&metrics, &carts("Sum")).1, 403);
    metrics.fail(None);
    assert_eq!(ask(&metrics, &carts("Sum")).1, 200);
}
