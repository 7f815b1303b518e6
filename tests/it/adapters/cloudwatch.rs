//! Metric values.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use outrigger::adapters::cloudwatch::CloudWatch;
use outrigger::policy::{Identity, Metric, MetricQuery};
use outrigger::sandbox::fault::Fault;
use outrigger::sandbox::metrics::Asked;
use outrigger::sandbox::{Sandbox, SandboxOptions, Service};

use super::{aws, failed};
use crate::support::{actions, assert_names, bare, count, stub};

const NOW: &str = "2026-11-23T12:34:56Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn before(time: &str, seconds: i64) -> Timestamp {
    let time: Timestamp = format!("2026-11-23T{time}Z").parse().unwrap();
    time - SignedDuration::from_secs(seconds)
}

async fn sandbox() -> Sandbox {
    bare(SandboxOptions::default()).await
}

async fn cloudwatch(sandbox: &Sandbox) -> CloudWatch {
    CloudWatch::new(aws(sandbox, "STS").await)
}

const CARTS: [(&str, &str); 2] = [("Shop", "eu"), ("Stage", "prod")];

/// The metric `Shop Carts` of the sandbox, by the minute, as the function itself.
fn carts(sandbox: &Sandbox) -> Metric {
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    Metric {
        query: MetricQuery::Statistic {
            namespace: "Shop".to_owned(),
            name: "Carts".to_owned(),
            dimensions: CARTS.map(own).into(),
            statistic: "Average".to_owned(),
            unit: None,
        },
        period_seconds: 60,
        collection_seconds: 300,
        end_offset_seconds: 60,
        region: super::REGION.to_owned(),
        endpoint: Some(sandbox.environment()["AWS_ENDPOINT_URL_CLOUDWATCH"].clone()),
        identity: Identity::Function,
    }
}

#[tokio::test]
async fn the_newest_value_of_the_window_in_one_request() {
    let sandbox = sandbox().await;
    let metrics = sandbox.metrics();
    // The window is 12:28:00 to 12:33:00, of which 12:31 and 12:32 have data.
    for (time, seconds, value) in [
        ("12:33:00", 0, 900.0),
        ("12:32:00", 0, 10.0),
        ("12:32:59", 0, 11.5),
        ("12:31:00", 0, 70.0),
        ("12:27:59", 0, 900.0),
    ] {
        metrics.put("Shop", "Carts", &CARTS, before(time, seconds), value);
    }
    let cloudwatch = cloudwatch(&sandbox).await;
    assert_eq!(
        cloudwatch.value(&carts(&sandbox), now()).await,
        Ok(Some(10_750))
    );
    let action = "GetMetricData Shop Carts Shop=eu Stage=prod";
    assert_eq!(actions(&sandbox, Service::CloudWatch), [action]);
    let expected = Asked {
        from: before("12:28:00", 0),
        to: before("12:33:00", 0),
        period: 60,
        statistic: Some("Average".to_owned()),
        unit: None,
    };
    assert_eq!(metrics.asked(), [expected]);
}

#[tokio::test]
async fn statistic_and_unit_are_asked_for_as_configured() {
    let sandbox = sandbox().await;
    sandbox.metrics().hold("Shop", "Carts", &CARTS, 3.0);
    let mut metric = carts(&sandbox);
    if let MetricQuery::Statistic {
        statistic, unit, ..
    } = &mut metric.query
    {
        "p99".clone_into(statistic);
        *unit = Some("Count".to_owned());
    }
    metric.period_seconds = 30;
    assert_eq!(
        cloudwatch(&sandbox).await.value(&metric, now()).await,
        Ok(Some(3000))
    );
    let asked = sandbox.metrics().asked();
    let asked = (
        asked[0].period,
        asked[0].statistic.as_deref(),
        asked[0].unit.as_deref(),
    );
    assert_eq!(asked, (30, Some("p99"), Some("Count")));
}

#[tokio::test]
async fn an_expression_is_asked_for_as_it_is() {
    let sandbox = sandbox().await;
    let expression = "SELECT MAX(Carts) FROM SCHEMA(\"Shop\", Shop)";
    sandbox.metrics().hold_expression(expression, -1.25);
    let metric = Metric {
        query: MetricQuery::Expression(expression.to_owned()),
        ..carts(&sandbox)
    };
    assert_eq!(
        cloudwatch(&sandbox).await.value(&metric, now()).await,
        Ok(Some(-1250))
    );
    assert_eq!(count(&sandbox, "GetMetricData SELECT MAX(Carts)"), 1);
}

#[tokio::test]
async fn no_data_is_told_as_none_and_never_as_zero() {
    let sandbox = sandbox().await;
    let cloudwatch = cloudwatch(&sandbox).await;
    assert_eq!(cloudwatch.value(&carts(&sandbox), now()).await, Ok(None));
    sandbox
        .metrics()
        .put("Shop", "Carts", &CARTS, before("12:33:00", 0), 5.0);
    assert_eq!(cloudwatch.value(&carts(&sandbox), now()).await, Ok(None));
    sandbox.metrics().hold("Shop", "Carts", &CARTS, 0.0);
    assert_eq!(cloudwatch.value(&carts(&sandbox), now()).await, Ok(Some(0)));
}

#[tokio::test]
async fn empty_pages_are_turned_over() {
    let sandbox = sandbox().await;
    sandbox.metrics().hold("Shop", "Carts", &CARTS, 7.0);
    sandbox.metrics().begin_with_empty_pages(2);
    let cloudwatch = cloudwatch(&sandbox).await;
    assert_eq!(
        cloudwatch.value(&carts(&sandbox), now()).await,
        Ok(Some(7000))
    );
    assert_eq!(count(&sandbox, "GetMetricData"), 3);
    sandbox.metrics().begin_with_empty_pages(100);
    let (code, message) = failed(cloudwatch.value(&carts(&sandbox), now()).await);
    assert_eq!(code, "BadResponse");
    assert_names(&message, &["Shop Carts", "only empty pages"]);
}

#[tokio::test]
async fn what_is_no_number_or_not_whole_is_a_failure() {
    let sandbox = sandbox().await;
    let cloudwatch = cloudwatch(&sandbox).await;
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        sandbox.metrics().hold("Shop", "Carts", &CARTS, value);
        let (code, message) = failed(cloudwatch.value(&carts(&sandbox), now()).await);
        assert_eq!(code, "BadResponse");
        assert_names(
            &message,
            &["Shop Carts Shop=eu,Stage=prod", super::REGION, "no number"],
        );
    }
    for (status, hint) in [
        ("Forbidden", "allow cloudwatch:GetMetricData"),
        ("InternalError", "not whole"),
    ] {
        sandbox.metrics().set_status(Some(status));
        let (code, message) = failed(cloudwatch.value(&carts(&sandbox), now()).await);
        assert_eq!(code, status);
        assert_names(&message, &["Shop Carts", hint]);
    }
}

#[tokio::test]
async fn answers_that_are_none_are_failures() {
    let sandbox = sandbox().await;
    let cloudwatch = cloudwatch(&sandbox).await;
    // JSON, an empty CBOR map, a CBOR text, and a value without a time.
    for body in [
        &b"{\"MetricDataResults\":[]}"[..],
        b"\xa0",
        b"cabc",
        b"\xa1\x71MetricDataResults\x81\xa1\x66Values\x81\xfb\x3f\xf0\0\0\0\0\0\0",
    ] {
        let metric = Metric {
            endpoint: Some(stub::answering(body)),
            ..carts(&sandbox)
        };
        let (code, message) = failed(cloudwatch.value(&metric, now()).await);
        assert_eq!(code, "BadResponse", "{body:?}: {message}");
    }
}

async fn check_fault(fault: Fault, code: &str, hint: &str) {
    let sandbox = sandbox().await;
    sandbox.metrics().hold("Shop", "Carts", &CARTS, 1.0);
    sandbox.metrics().fail(Some(fault));
    let cloudwatch = cloudwatch(&sandbox).await;
    let (found, message) = failed(cloudwatch.value(&carts(&sandbox), now()).await);
    assert_eq!(found, code, "{message}");
    let parts = [
        "Shop Carts",
        super::REGION,
        "cloudwatch:GetMetricData",
        hint,
    ];
    assert_names(&message, &parts);
    sandbox.metrics().fail(None);
    assert_eq!(
        cloudwatch.value(&carts(&sandbox), now()).await,
        Ok(Some(1000))
    );
}

#[tokio::test]
async fn a_throttled_read() {
    check_fault(Fault::Throttled, "Throttling", "the next pass").await;
}

#[tokio::test]
async fn a_denied_read() {
    check_fault(
        Fault::AccessDenied,
        "AccessDenied",
        "to the function's role",
    )
    .await;
}

#[tokio::test]
async fn a_broken_service() {
    check_fault(
        Fault::ServerError,
        "InternalServiceFault",
        "the count is held",
    )
    .await;
}

#[tokio::test]
async fn a_silent_service() {
    check_fault(Fault::Hang, "Timeout", "the way to CloudWatch").await;
}

#[tokio::test]
async fn a_reset_connection() {
    check_fault(Fault::Reset, "ConnectionFailed", "VPC endpoint").await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_read() {
    check_fault(Fault::Garbage, "BadResponse", "the count is held").await;
}

#[tokio::test]
async fn one_bad_moment_is_bridged() {
    for fault in [Fault::Throttled, Fault::ServerError, Fault::Reset] {
        let sandbox = sandbox().await;
        sandbox.metrics().hold("Shop", "Carts", &CARTS, 1.0);
        sandbox.metrics().fail_times(fault, 1);
        let value = cloudwatch(&sandbox)
            .await
            .value(&carts(&sandbox), now())
            .await;
        assert_eq!(value, Ok(Some(1000)), "{fault:?}");
        assert_eq!(count(&sandbox, "GetMetricData"), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn expired_credentials() {
    let sandbox = sandbox().await;
    sandbox.expire_credentials();
    let (code, message) = failed(
        cloudwatch(&sandbox)
            .await
            .value(&carts(&sandbox), now())
            .await,
    );
    assert_eq!(code, "ExpiredToken", "{message}");
    assert_names(&message, &["the credentials of the function's role"]);
}

#[tokio::test]
async fn a_role_is_assumed_once() {
    let role = "arn:aws:iam::210987654321:role/metrics/reader";
    let sandbox = sandbox().await;
    sandbox.sts().allow_role(role, Some("shop-42"));
    sandbox.metrics().hold("Shop", "Carts", &CARTS, 1.0);
    let aws = aws(&sandbox, "STS").await;
    let cloudwatch = CloudWatch::new(Arc::clone(&aws));
    let assumed = |external_id: &str| Metric {
        identity: Identity::Role {
            arn: role.to_owned(),
            external_id: Some(external_id.to_owned()),
        },
        ..carts(&sandbox)
    };
    for _ in 0..3 {
        let value = cloudwatch.value(&assumed("shop-42"), now()).await;
        assert_eq!(value, Ok(Some(1000)));
    }
    assert_eq!(actions(&sandbox, Service::Sts), ["AssumeRole"]);
    let (code, message) = failed(cloudwatch.value(&assumed("wrong"), now()).await);
    assert_eq!(code, "NoCredentials", "{message}");
    assert_names(&message, &["Shop Carts", role, "trust policy"]);
}
