//! Our AWS adapters against an AWS that we did not write: queues with real messages, roles with real rights, real metrics.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum};
use aws_sdk_sqs::types::{Message, QueueAttributeName};
use jiff::{SignedDuration, Timestamp};
use outrigger::adapters::aws::Aws;
use outrigger::adapters::cloudwatch::CloudWatch;
use outrigger::adapters::sqs::Sqs;
use outrigger::decide::QueueDepth;
use outrigger::policy::{Identity, Metric, MetricQuery, Queue, QueueAddress};
use outrigger::ports::{Fault, FaultKind};

use super::assets::Assets;
use super::lab::settled;
use super::ministack::{ACCOUNT, Ministack, REGION};
use crate::support::assert_names;

/// The emulator of these tests, which need nothing else; `None` where this run has none, which was then said.
fn cloud() -> Option<&'static Ministack> {
    static STARTED: OnceLock<Option<Ministack>> = OnceLock::new();
    let assets = Assets::find(&["python/bin/python"])?;
    let start = || {
        let root = std::env::temp_dir().join(format!("outrigger-aws-{}", std::process::id()));
        std::panic::catch_unwind(|| Ministack::start(&assets, &root)).ok()
    };
    let cloud = STARTED.get_or_init(start).as_ref();
    // The others must not wait as long as the first.
    Some(cloud.expect("ministack does not start; the output of the first such test says why"))
}

/// What an SDK is told by `AWS_ENDPOINT_URL` and credentials.
pub(super) async fn config(cloud: &Ministack, credentials: Credentials) -> SdkConfig {
    outrigger::lambda::install_crypto();
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(credentials)
        .endpoint_url(cloud.endpoint())
        .load()
        .await
}

/// Who sets the stage.
pub(super) fn root() -> Credentials {
    Credentials::new("test", "test", None, None, "test")
}

/// A fresh role with these actions on everything, and a session of it as a function has one.
async fn session(cloud: &Ministack, role: &str, actions: &[&str]) -> Arc<Aws> {
    cloud.create_role(role);
    cloud.allow(role, actions, "*");
    let keys = cloud.assume_role(role);
    let credentials =
        Credentials::new(keys.access_key, keys.secret, Some(keys.token), None, "test");
    Arc::new(Aws::from_config(config(cloud, credentials).await))
}

/// The two rights of the shipped template.
const READS_QUEUES: [&str; 2] = ["sqs:GetQueueAttributes", "sqs:GetQueueUrl"];

/// A queue and everything that is done to it by others.
struct Work {
    sqs: aws_sdk_sqs::Client,
    url: String,
    name: String,
}

impl Work {
    async fn new(cloud: &Ministack, name: &str) -> Self {
        let sqs = aws_sdk_sqs::Client::new(&config(cloud, root()).await);
        let mut request = sqs.create_queue().queue_name(name);
        if let Some((_, "fifo")) = name.rsplit_once('.') {
            request = request
                .attributes(QueueAttributeName::FifoQueue, "true")
                .attributes(QueueAttributeName::ContentBasedDeduplication, "true");
        }
        let url = request.send().await.unwrap().queue_url.unwrap();
        Self {
            sqs,
            url,
            name: name.to_owned(),
        }
    }

    async fn send(&self, body: &str, delay_seconds: i32) {
        let request = self.sqs.send_message().queue_url(&self.url);
        let request = request.message_body(body).delay_seconds(delay_seconds);
        request.send().await.unwrap();
    }

    /// Sends to one group of a FIFO queue.
    async fn send_to_group(&self, group: &str, body: &str) {
        let request = self.sqs.send_message().queue_url(&self.url);
        let request = request.message_body(body).message_group_id(group);
        request.send().await.unwrap();
    }

    /// Receives for longer than any test takes.
    async fn receive(&self, count: i32) -> Vec<Message> {
        let request = self.sqs.receive_message().queue_url(&self.url);
        let request = request
            .max_number_of_messages(count)
            .visibility_timeout(3600);
        request.send().await.unwrap().messages.unwrap_or_default()
    }

    async fn delete(&self, message: &Message) {
        let request = self.sqs.delete_message().queue_url(&self.url);
        let handle = message.receipt_handle.clone();
        request.set_receipt_handle(handle).send().await.unwrap();
    }

    /// Has the time in which nobody else sees a message end in a second.
    async fn let_expire(&self, message: &Message) {
        let request = self.sqs.change_message_visibility().queue_url(&self.url);
        let request = request.set_receipt_handle(message.receipt_handle.clone());
        request.visibility_timeout(1).send().await.unwrap();
    }

    /// The queue by the URL that its users know, at the emulator as `awsEndpoint` says, and by its bare name at the one endpoint
    /// that is given for all.
    fn both(&self, cloud: &Ministack) -> [Queue; 2] {
        [
            Queue {
                endpoint: Some(cloud.endpoint()),
                ..by_url(&self.name)
            },
            by_name(&self.name),
        ]
    }
}

/// A queue of the account by its real URL.
fn by_url(name: &str) -> Queue {
    Queue {
        address: QueueAddress::Url {
            url: format!("https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}"),
            account: ACCOUNT.to_owned(),
            name: name.to_owned(),
        },
        region: REGION.to_owned(),
        endpoint: None,
        identity: Identity::Function,
    }
}

fn by_name(name: &str) -> Queue {
    Queue {
        address: QueueAddress::Name(name.to_owned()),
        ..by_url(name)
    }
}

fn depth([visible, in_flight, delayed]: [u64; 3]) -> QueueDepth {
    QueueDepth {
        visible,
        in_flight,
        delayed,
    }
}

/// Fails unless all ways to a queue find these counts.
#[track_caller]
fn assert_depth(found: &[Result<QueueDepth, Fault>], expected: [u64; 3]) {
    for found in found {
        assert_eq!(*found, Ok(depth(expected)));
    }
}

async fn read(sqs: &Sqs, queues: &[Queue]) -> Vec<Result<QueueDepth, Fault>> {
    futures_util::future::join_all(queues.iter().map(|queue| sqs.depth(queue))).await
}

async fn until_depth(sqs: &Sqs, queues: &[Queue], expected: [u64; 3]) {
    settled(&format!("{expected:?}"), async || {
        let found = read(sqs, queues).await;
        if found.iter().all(|found| *found == Ok(depth(expected))) {
            return Ok(());
        }
        Err(format!("{found:?}"))
    })
    .await;
}

#[track_caller]
fn failed<T: Debug>(result: Result<T, Fault>) -> (String, String) {
    let fault = result.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Failed, "{}", fault.message);
    (fault.code, fault.message)
}

#[tokio::test]
async fn the_counts_follow_the_messages() {
    let Some(cloud) = cloud() else { return };
    let work = Work::new(cloud, "orders").await;
    let sqs = Sqs::new(session(cloud, "reads-orders", &READS_QUEUES).await);
    let queues = &work.both(cloud);
    assert_depth(&read(&sqs, queues).await, [0, 0, 0]);
    for number in 0..4 {
        work.send(&number.to_string(), 0).await;
    }
    assert_depth(&read(&sqs, queues).await, [4, 0, 0]);
    work.send("much later", 900).await;
    assert_depth(&read(&sqs, queues).await, [4, 0, 1]);
    let received = work.receive(2).await;
    assert_depth(&read(&sqs, queues).await, [2, 2, 1]);
    work.delete(&received[0]).await;
    assert_depth(&read(&sqs, queues).await, [2, 1, 1]);
    // Its worker died.
    work.let_expire(&received[1]).await;
    until_depth(&sqs, queues, [3, 0, 1]).await;
    work.send("soon", 1).await;
    until_depth(&sqs, queues, [4, 0, 1]).await;
}

/// A group waits for its first message, and what waits is visible all the same.
#[tokio::test]
async fn a_fifo_queue_counts_like_any_other() {
    let Some(cloud) = cloud() else { return };
    let work = Work::new(cloud, "orders.fifo").await;
    let sqs = Sqs::new(session(cloud, "reads-fifo", &READS_QUEUES).await);
    let queues = &work.both(cloud);
    for body in ["a", "b", "b", "c"] {
        work.send_to_group("berlin", body).await;
    }
    assert_depth(&read(&sqs, queues).await, [3, 0, 0]);
    assert_eq!(work.receive(1).await.len(), 1);
    assert_eq!(work.receive(1).await, []);
    assert_depth(&read(&sqs, queues).await, [2, 1, 0]);
}

#[tokio::test]
async fn a_queue_that_is_not_there() {
    let Some(cloud) = cloud() else { return };
    let sqs = Sqs::new(session(cloud, "reads-nothing", &READS_QUEUES).await);
    for (queue, action) in [
        (by_url("gone"), "sqs:GetQueueAttributes"),
        (by_name("gone"), "sqs:GetQueueUrl"),
    ] {
        let (code, message) = failed(sqs.depth(&queue).await);
        assert_eq!(code, "NonExistentQueue");
        let hint = "aws sqs get-queue-url --queue-name gone --region ap-northeast-1";
        assert_names(&message, &["queue `gone`", action, "does not exist", hint]);
    }
}

#[tokio::test]
async fn a_name_outlives_its_queue() {
    let Some(cloud) = cloud() else { return };
    let sqs = Sqs::new(session(cloud, "reads-again", &READS_QUEUES).await);
    let work = Work::new(cloud, "short-lived").await;
    let queue = by_name("short-lived");
    assert_depth(&[sqs.depth(&queue).await], [0, 0, 0]);
    let delete = work.sqs.delete_queue().queue_url(&work.url);
    delete.send().await.unwrap();
    assert_eq!(failed(sqs.depth(&queue).await).0, "NonExistentQueue");
    Work::new(cloud, "short-lived").await.send("new", 0).await;
    assert_depth(&[sqs.depth(&queue).await], [1, 0, 0]);
}

/// Each of the two rights of the shipped template is needed, and what is said without it names it.
#[tokio::test]
async fn without_a_right_it_is_named() {
    let Some(cloud) = cloud() else { return };
    let work = Work::new(cloud, "guarded").await;
    let [url, name] = work.both(cloud);
    for (role, actions, by_url, by_name) in [
        (
            "no-right",
            &["eks:DescribeCluster"][..],
            Some("sqs:GetQueueAttributes"),
            Some("sqs:GetQueueUrl"),
        ),
        (
            "no-attributes",
            &["sqs:GetQueueUrl"],
            Some("sqs:GetQueueAttributes"),
            Some("sqs:GetQueueAttributes"),
        ),
        (
            "no-url",
            &["sqs:GetQueueAttributes"],
            None,
            Some("sqs:GetQueueUrl"),
        ),
    ] {
        let sqs = Sqs::new(session(cloud, role, actions).await);
        for (queue, missing) in [(&url, by_url), (&name, by_name)] {
            let found = sqs.depth(queue).await;
            let Some(missing) = missing else {
                assert_depth(&[found], [0, 0, 0]);
                continue;
            };
            let (code, message) = failed(found);
            assert_names(&code, &["AccessDenied"]);
            let hint = format!("allow {missing} on this queue to the function's role");
            assert_names(&message, &["queue `guarded`", "assumed-role", role, &hint]);
        }
    }
}

/// As a `TriggerAuthentication` names a role, of which our own session takes another.
#[tokio::test]
async fn a_role_is_assumed_with_its_external_id() {
    let Some(cloud) = cloud() else { return };
    Work::new(cloud, "lent").await.send("one", 0).await;
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"shop-42"}}}]}"#;
    cloud.create_role_trusting("lender", trust);
    cloud.allow("lender", &READS_QUEUES, "*");
    let arn = format!("arn:aws:iam::{ACCOUNT}:role/lender");
    let lent = |external_id: Option<&str>| Queue {
        identity: Identity::Role {
            arn: arn.clone(),
            external_id: external_id.map(str::to_owned),
        },
        ..by_name("lent")
    };
    let sqs = Sqs::new(session(cloud, "borrower", &["sts:AssumeRole"]).await);
    assert_depth(&[sqs.depth(&lent(Some("shop-42"))).await], [1, 0, 0]);
    // Its own role has no such right.
    let (code, _) = failed(sqs.depth(&by_name("lent")).await);
    assert_names(&code, &["AccessDenied"]);
    for external_id in [None, Some("shop-43")] {
        let (code, message) = failed(sqs.depth(&lent(external_id)).await);
        assert_eq!(code, "NoCredentials");
        assert_names(&message, &[&arn, "trust policy", "external id"]);
    }
    let stranger = Sqs::new(session(cloud, "no-borrower", &["sqs:*"]).await);
    let (code, message) = failed(stranger.depth(&lent(Some("shop-42"))).await);
    assert_eq!(code, "NoCredentials");
    assert_names(&message, &[&arn, "trust policy"]);
}

const SHOP: [(&str, &str); 2] = [("Shop", "eu"), ("Stage", "prod")];

/// One statistic of one metric, by the minute.
fn metric(cloud: &Ministack, name: &str, statistic: &str) -> Metric {
    Metric {
        query: MetricQuery::Statistic {
            namespace: "Shop".to_owned(),
            name: name.to_owned(),
            dimensions: SHOP
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            statistic: statistic.to_owned(),
            unit: None,
        },
        period_seconds: 60,
        collection_seconds: 300,
        end_offset_seconds: 0,
        region: REGION.to_owned(),
        endpoint: Some(cloud.endpoint()),
        identity: Identity::Function,
    }
}

/// Who publishes metrics.
struct Publisher {
    client: aws_sdk_cloudwatch::Client,
    name: &'static str,
}

impl Publisher {
    async fn new(cloud: &Ministack, name: &'static str) -> Self {
        let client = aws_sdk_cloudwatch::Client::new(&config(cloud, root()).await);
        Self { client, name }
    }

    async fn put(&self, dimensions: &[(&str, &str)], at: Timestamp, value: f64) {
        let dimensions = dimensions
            .iter()
            .map(|(name, value)| Dimension::builder().name(*name).value(*value).build());
        let datum = MetricDatum::builder()
            .metric_name(self.name)
            .set_dimensions(Some(dimensions.collect()))
            .timestamp(SystemTime::from(at).into())
            .value(value)
            .build();
        let request = self.client.put_metric_data().namespace("Shop");
        request.metric_data(datum).send().await.unwrap();
    }
}

async fn metrics(cloud: &Ministack, role: &str) -> CloudWatch {
    CloudWatch::new(session(cloud, role, &["cloudwatch:GetMetricData"]).await)
}

/// The beginning of the minute that is so many minutes ago.
fn minutes_ago(now: Timestamp, minutes: i64) -> Timestamp {
    let second = now.as_second();
    Timestamp::from_second(second - second.rem_euclid(60) - minutes * 60).unwrap()
}

#[tokio::test]
async fn a_metric_without_data_is_none() {
    let Some(cloud) = cloud() else { return };
    let cloudwatch = metrics(cloud, "reads-quiet").await;
    let now = outrigger::clock::wall_now();
    let quiet = metric(cloud, "Quiet", "Average");
    assert_eq!(cloudwatch.value(&quiet, now).await, Ok(None));
    let publisher = Publisher::new(cloud, "Quiet").await;
    // Before the window, in the minute that is not over, and under other dimensions.
    publisher.put(&SHOP, minutes_ago(now, 7), 1.0).await;
    publisher.put(&SHOP, minutes_ago(now, 0), 2.0).await;
    let other = [("Shop", "us"), ("Stage", "prod")];
    publisher.put(&other, minutes_ago(now, 2), 3.0).await;
    publisher.put(&[], minutes_ago(now, 2), 4.0).await;
    assert_eq!(cloudwatch.value(&quiet, now).await, Ok(None));
}

#[tokio::test]
async fn the_statistic_that_is_asked_for_of_the_newest_minute() {
    let Some(cloud) = cloud() else { return };
    let cloudwatch = metrics(cloud, "reads-carts").await;
    let now = outrigger::clock::wall_now();
    let publisher = Publisher::new(cloud, "Carts").await;
    let minute = minutes_ago(now, 2);
    for (seconds, value) in [(0, 10.5), (20, 20.0), (59, 60.0)] {
        let at = minute + SignedDuration::from_secs(seconds);
        publisher.put(&SHOP, at, value).await;
    }
    publisher.put(&SHOP, minutes_ago(now, 4), 900.0).await;
    for (statistic, expected) in [
        ("Average", 30_167),
        ("Sum", 90_500),
        ("Minimum", 10_500),
        ("Maximum", 60_000),
        ("SampleCount", 3000),
        ("p50", 20_000),
    ] {
        let value = cloudwatch
            .value(&metric(cloud, "Carts", statistic), now)
            .await;
        assert_eq!(value, Ok(Some(expected)), "{statistic}");
    }
}

/// AWS computes it; this emulator says that it cannot, in the way in which AWS says that a result is not whole.
#[tokio::test]
async fn a_result_that_is_not_whole_is_a_failure() {
    let Some(cloud) = cloud() else { return };
    let cloudwatch = metrics(cloud, "reads-expressions").await;
    let expression = Metric {
        query: MetricQuery::Expression("SELECT MAX(Carts) FROM SCHEMA(\"Shop\", Shop)".to_owned()),
        ..metric(cloud, "", "")
    };
    let now = outrigger::clock::wall_now();
    let (code, message) = failed(cloudwatch.value(&expression, now).await);
    assert_eq!(code, "InternalError");
    assert_names(
        &message,
        &["SELECT MAX(Carts)", "cloudwatch:GetMetricData", "not whole"],
    );
}

/// The endpoint of the environment, a role of a trigger's own, and credentials that nobody knows.
#[tokio::test]
async fn a_metric_is_read_as_who_is_named() {
    let Some(cloud) = cloud() else { return };
    cloud.create_role("measurer");
    cloud.allow("measurer", &["cloudwatch:GetMetricData"], "*");
    let now = outrigger::clock::wall_now();
    let publisher = Publisher::new(cloud, "Lent").await;
    publisher.put(&SHOP, minutes_ago(now, 1), 7.0).await;
    let lent = Metric {
        endpoint: None,
        identity: Identity::Role {
            arn: format!("arn:aws:iam::{ACCOUNT}:role/measurer"),
            external_id: None,
        },
        ..metric(cloud, "Lent", "Sum")
    };
    let cloudwatch = CloudWatch::new(session(cloud, "asks-measurer", &["sts:AssumeRole"]).await);
    assert_eq!(cloudwatch.value(&lent, now).await, Ok(Some(7000)));
    let unknown = Credentials::new("ASIAUNKNOWN", "secret", Some("token".to_owned()), None, "");
    let unknown = Arc::new(Aws::from_config(config(cloud, unknown).await));
    let (code, message) = failed(Sqs::new(unknown).depth(&by_name("lent")).await);
    assert_names(
        &message,
        &[&code, "check the credentials of the function's role"],
    );
}
