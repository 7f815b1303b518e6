//! The deployment package as a function in somebody else's Lambda, woken as a real one is: by a schedule, by an alarm through SNS,
//! asynchronously.
//!
//! Everything it talks to is real or somebody else's: its credentials are a session of its role, the queue and the rights are
//! ministack's, its token goes through the authenticator of EKS back to the STS of ministack, and the API server is real.
//! `DescribeCluster` is left out: no emulator describes a cluster whose certificate authority can be had.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use outrigger::settings::ClusterAddress;
use serde_json::{Value as Json, json};

use super::assets::Assets;
use super::aws::{config, root};
use super::lab::Lab;
use super::ministack::{ACCOUNT, REGION, form_encode};
use super::world::{CLUSTER, ROLE, World, world};
use crate::support::assert_names;
use crate::support::function::Directory;

/// How long an event may take that comes once a minute.
const PATIENCE: Duration = Duration::from_mins(4);

/// Puts a program as `bootstrap`, and a configuration beside it, into a zip; from another zip everything but its configuration.
const PACK: &str = r#"
import sys, zipfile
package, program, configuration, made = sys.argv[1:]
with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
    if made:
        with zipfile.ZipFile(made) as entries:
            for entry in entries.infolist():
                if entry.filename != "outrigger.yaml":
                    out.writestr(entry, entries.read(entry))
    else:
        out.write(program, "bootstrap")
    out.write(configuration, "outrigger.yaml")
"#;

/// A deployed function with a queue of 63 messages and a Rollout of 2 in a namespace of its own.
pub(super) struct Deployed {
    pub(super) lab: Lab,
    /// Of the function and of its queue.
    pub(super) name: String,
    sqs: aws_sdk_sqs::Client,
}

impl Deployed {
    async fn new(world: &'static World) -> Self {
        let deployed = Self::without_function(world).await;
        world.sts.allow(
            ROLE,
            &["sqs:GetQueueAttributes"],
            &format!("arn:aws:sqs:{REGION}:{ACCOUNT}:*"),
        );
        deployed.create_function();
        deployed
    }

    /// All but the function, for somebody else to deploy.
    pub(super) async fn without_function(world: &'static World) -> Self {
        let lab = Lab::new(world).await;
        let name = format!("outrigger-{}", lab.namespace);
        Self::furnished(lab, name).await
    }

    /// The same with another name, for one test alone.
    pub(super) async fn named(world: &'static World, name: &str) -> Self {
        Self::furnished(Lab::new(world).await, name.to_owned()).await
    }

    async fn furnished(lab: Lab, name: String) -> Self {
        let world = lab.world;
        let sqs = aws_sdk_sqs::Client::new(&config(&world.sts, root()).await);
        let deployed = Self { lab, name, sqs };
        let url = deployed.create_queue(&deployed.name).await;
        for batch in 0..7 {
            let entries = (0..9).map(|number| {
                let entry = SendMessageBatchRequestEntry::builder().id(format!("{batch}-{number}"));
                entry.message_body("work").build().unwrap()
            });
            let request = deployed.sqs.send_message_batch().queue_url(&url);
            let request = request.set_entries(Some(entries.collect()));
            request.send().await.unwrap();
        }
        deployed
    }

    pub(super) async fn queue_url(&self, name: &str) -> String {
        let request = self.sqs.get_queue_url().queue_name(name);
        request.send().await.unwrap().queue_url.unwrap()
    }

    async fn create_queue(&self, name: &str) -> String {
        let request = self.sqs.create_queue().queue_name(name);
        request.send().await.unwrap().queue_url.unwrap()
    }

    /// As `cargo lambda deploy` does it.
    fn create_function(&self) {
        let Self { lab, name, .. } = self;
        let ClusterAddress {
            endpoint,
            certificate_authority,
        } = lab.world.address();
        let package = BASE64_STANDARD.encode(packed(lab.world.assets(), &self.manifest()));
        let function = json!({
            "FunctionName": name,
            "Runtime": "provided.al2023",
            "Handler": "bootstrap",
            "Role": format!("arn:aws:iam::{ACCOUNT}:role/{ROLE}"),
            "Code": {"ZipFile": package},
            "MemorySize": 128,
            "Timeout": 75,
            "Environment": {"Variables": {
                "OUTRIGGER_CLUSTERS": CLUSTER,
                "OUTRIGGER_CLUSTER_ENDPOINT": endpoint,
                "OUTRIGGER_CLUSTER_CA": certificate_authority,
                "AWS_ENDPOINT_URL": lab.world.sts.endpoint(),
            }},
        });
        self.lambda("POST", "/2015-03-31/functions", &function);
    }

    /// The ScaledObject for its queue, polled once a minute.
    pub(super) fn manifest(&self) -> String {
        let manifest = self.lab.manifest();
        manifest
            .replace("/orders", &format!("/{}", self.name))
            .replace("minReplicaCount", "pollingInterval: 60\n  minReplicaCount")
    }

    pub(super) fn lambda(&self, method: &str, path: &str, body: &Json) -> Json {
        self.lab.world.sts.rest(method, path, "lambda", body)
    }

    fn arn(&self) -> String {
        format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}", self.name)
    }

    /// Invokes it and waits: the error, if it is one, and the answer.
    fn invoke(&self, event: &Json) -> (Option<Json>, Json) {
        self.invoke_qualified("$LATEST", event)
    }

    /// The same with a version or an alias of it.
    pub(super) fn invoke_qualified(&self, qualifier: &str, event: &Json) -> (Option<Json>, Json) {
        let name = &self.name;
        let path = format!("/2015-03-31/functions/{name}/invocations?Qualifier={qualifier}");
        let answer = self.lambda("POST", &path, event);
        let error = answer.get("errorType").cloned();
        (error, answer)
    }

    /// Invokes a function, or an alias of it, without waiting.
    fn send_event(&self, function: &str, event: &Json) {
        let path = format!("/2015-03-31/functions/{function}/invocations");
        let headers = [
            ("content-type", "application/json"),
            ("x-amz-invocation-type", "Event"),
        ];
        let sts = &self.lab.world.sts;
        let (status, answer) = sts.as_root("POST", &path, "lambda", &headers, event.to_string());
        assert_eq!(status, 202, "{answer}");
    }

    /// Waits until the Rollout is scaled, and the log says what by.
    pub(super) async fn wait_until_scaled_by(&self, cause: &str) {
        let wait = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(250));
            while self.lab.replicas().await != Some(7) {
                ticks.tick().await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        let requests = self.lab.requests();
        waited.unwrap_or_else(|_| panic!("not scaled within {PATIENCE:?}: {requests:?}"));
        // The authenticator asked the same STS that gave the function its session.
        let worker = self.lab.worker().await;
        let managers = worker["metadata"]["managedFields"].as_array().unwrap();
        let is_ours = |entry: &Json| {
            entry["manager"] == "outrigger"
                && entry["fieldsV1"] == json!({"f:spec": {"f:replicas": {}}})
        };
        assert!(managers.iter().any(is_ours), "{managers:?}");
        super::lab::settled(cause, async || {
            let log = self.log();
            let is_told = log.iter().any(|line| {
                // Once the follow-up poll is over, too: then the reason is another one.
                line["summary"]["cause"] == cause && line["ScaledOut"] == 1
            });
            if is_told {
                Ok(())
            } else {
                Err(format!("{log:?}"))
            }
        })
        .await;
    }

    /// What the function wrote, of which Lambda's own lines are no part.
    fn log(&self) -> Vec<Json> {
        let group = json!({"logGroupName": format!("/aws/lambda/{}", self.name)});
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "Logs_20140328.FilterLogEvents"),
        ];
        let sts = &self.lab.world.sts;
        let (_, answer) = sts.as_root("POST", "/", "logs", &headers, group.to_string());
        let answer: Json = serde_json::from_str(&answer).unwrap();
        let events = answer["events"].as_array().cloned().unwrap_or_default();
        let lines = events.iter().filter_map(|event| event["message"].as_str());
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    async fn receive(&self, url: &str) -> Option<Json> {
        let request = self.sqs.receive_message().queue_url(url);
        let answer = request.wait_time_seconds(1).send().await.unwrap();
        let message = answer.messages.unwrap_or_default().pop()?;
        Some(serde_json::from_str(&message.body.unwrap()).unwrap())
    }

    /// What the failure destination is told, waited for.
    async fn told_failure(&self, url: &str) -> Json {
        let wait = async {
            loop {
                if let Some(message) = self.receive(url).await {
                    return message;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap()
    }

    /// Lets a service invoke it.
    fn permit(&self, principal: &str, source: &str) {
        let path = format!("/2015-03-31/functions/{}/policy", self.name);
        let statement = json!({
            "StatementId": "tests", "Action": "lambda:InvokeFunction", "Principal": principal, "SourceArn": source,
        });
        self.lambda("POST", &path, &statement);
    }
}

/// The bytes of the package: the release build where one was made, and the tests' own where not.
pub(super) fn packed(assets: &Assets, manifest: &str) -> Vec<u8> {
    let made = from_environment("OUTRIGGER_PACKAGE");
    packed_from(assets, made.unwrap_or_default(), manifest)
}

/// A package that cargo-lambda has made, with another configuration: compressing takes long. An empty name is none.
pub(super) fn packed_from(assets: &Assets, made: OsString, manifest: &str) -> Vec<u8> {
    let program = program();
    let directory = Directory::new();
    let (package, configuration) = (directory.join("package"), directory.join("outrigger.yaml"));
    std::fs::write(&configuration, manifest).unwrap();
    let packed = std::process::Command::new(assets.path("python/bin/python"))
        .args(["-c", PACK])
        .args([&package, &program, &configuration])
        .arg(made)
        .status();
    assert!(
        packed.unwrap().success(),
        "no package of {}",
        program.display()
    );
    std::fs::read(package).unwrap()
}

/// The program that is deployed.
pub(super) fn program() -> PathBuf {
    let program = from_environment("OUTRIGGER_LAMBDA");
    program.map_or_else(
        || env!("CARGO_BIN_EXE_outrigger-lambda").into(),
        PathBuf::from,
    )
}

#[expect(
    clippy::disallowed_methods,
    reason = "where the release build and the tools are is known to the environment alone"
)]
pub(super) fn from_environment(variable: &str) -> Option<OsString> {
    std::env::var_os(variable)
}

#[tokio::test]
async fn one_environment_serves_many_invocations() {
    let Some(world) = world() else { return };
    let deployed = Deployed::new(world).await;
    let (error, answer) = deployed.invoke(&json!({"dryRun": true}));
    assert_eq!(error, None, "{answer}");
    assert_eq!(answer["targets"][0]["effect"], "dryRun", "{answer}");
    assert_eq!(deployed.lab.replicas().await, Some(2));
    for effect in ["scaled", "held"] {
        let (error, answer) = deployed.invoke(&json!({}));
        assert_eq!(error, None, "{answer}");
        assert_eq!(answer["targets"][0]["effect"], effect, "{answer}");
    }
    deployed.wait_until_scaled_by("direct").await;
    let (error, answer) = deployed.invoke(&json!({"nonsense": 1}));
    assert_eq!(error, Some(json!("Outrigger.EventRefused")), "{answer}");
}

/// The event is EventBridge's own for a target without an input.
#[tokio::test]
async fn a_schedule_fires_it() {
    let Some(world) = world() else { return };
    let deployed = Deployed::new(world).await;
    let schedule = json!({
        "ScheduleExpression": "rate(1 minute)",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {
            "Arn": deployed.arn(),
            "RoleArn": format!("arn:aws:iam::{ACCOUNT}:role/{ROLE}"),
            "RetryPolicy": {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60},
        },
    });
    let path = format!("/schedules/{}", deployed.name);
    world.sts.rest("POST", &path, "scheduler", &schedule);
    deployed.wait_until_scaled_by("schedule").await;
}

/// The way in which an alarm that cannot name a function does. <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html>
#[tokio::test]
async fn an_alarm_wakes_it_through_sns() {
    let Some(world) = world() else { return };
    let deployed = Deployed::new(world).await;
    let (name, arn) = (&deployed.name, deployed.arn());
    let topic = format!("arn:aws:sns:{REGION}:{ACCOUNT}:{name}");
    let encoded = form_encode(&topic);
    let sns = |form: &str| {
        world
            .sts
            .query("sns", &format!("Version=2010-03-31&{form}"))
    };
    sns(&format!("Action=CreateTopic&Name={name}"));
    deployed.permit("sns.amazonaws.com", &topic);
    let endpoint = form_encode(&arn);
    sns(&format!(
        "Action=Subscribe&TopicArn={encoded}&Protocol=lambda&Endpoint={endpoint}"
    ));
    let metric = "Namespace=AWS%2FSQS&MetricName=ApproximateNumberOfMessagesVisible";
    let monitoring = |form: &str| {
        let form = format!("Version=2010-08-01&{form}");
        world.sts.query("monitoring", &form)
    };
    monitoring(&format!(
        "Action=PutMetricAlarm&AlarmName={name}&{metric}&Dimensions.member.1.Name=QueueName&Dimensions.member.1.Value={name}\
         &Statistic=Maximum&Period=60&EvaluationPeriods=1&Threshold=50&ComparisonOperator=GreaterThanOrEqualToThreshold\
         &TreatMissingData=notBreaching&AlarmActions.member.1={encoded}"
    ));
    // SQS publishes it by itself.
    let (namespace, metric) = metric.split_once('&').unwrap();
    monitoring(&format!(
        "Action=PutMetricData&{namespace}&MetricData.member.1.{metric}&MetricData.member.1.Value=63\
         &MetricData.member.1.Dimensions.member.1.Name=QueueName&MetricData.member.1.Dimensions.member.1.Value={name}"
    ));
    let cause = format!("alarm {name} ALARM");
    deployed.wait_until_scaled_by(&cause).await;
}

/// What failed is told to the failure destination with its event, after everything that could be done was.
#[tokio::test]
async fn a_failure_reaches_its_destination() {
    let Some(world) = world() else { return };
    let deployed = Deployed::new(world).await;
    let failures = format!("{}-failures", deployed.name);
    let url = deployed.create_queue(&failures).await;
    let path = format!(
        "/2019-09-25/functions/{}/event-invoke-config",
        deployed.name
    );
    let destination = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{failures}");
    let invocation = json!({
        "MaximumRetryAttempts": 0,
        "MaximumEventAgeInSeconds": 60,
        "DestinationConfig": {"OnFailure": {"Destination": destination}},
    });
    deployed.lambda("PUT", &path, &invocation);
    let worker = format!("{}/worker", deployed.lab.namespace);
    let event = json!({"targets": [worker, "shop/order-worker"]});
    deployed.send_event(&deployed.name, &event);
    deployed.wait_until_scaled_by("direct").await;
    let told = deployed.told_failure(&url).await;
    assert_eq!(told["requestPayload"], event, "{told}");
    assert_eq!(told["requestContext"]["condition"], "RetriesExhausted");
    let failure = &told["responsePayload"];
    assert_eq!(failure["errorType"], "Outrigger.TargetsFailed", "{told}");
    let message = failure["errorMessage"].as_str().unwrap();
    assert_names(message, &["1 failed", "shop/order-worker"]);
    assert_eq!(deployed.receive(&url).await, None);
}
