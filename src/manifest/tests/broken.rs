//! One broken value in a manifest is one error, at that value, with a cure.

use serde_json::{Value as Json, json};

use super::super::*;
use super::WORKER;
use crate::document::{Position, parse_yaml};

/// What is not read, and may be anything.
const UNREAD: [&str; 6] = [
    "/metadata/labels",
    "/metadata/uid",
    "/spec/scaleTargetRef/envSourceContainerName",
    "/spec/advanced/horizontalPodAutoscalerConfig/name",
    "/spec/secretTargetRef",
    "/status",
];

/// Everything that a manifest can say, and everything that the repository has in manifests.
fn streams() -> Vec<Vec<Json>> {
    const ALL: &str = r#"
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata: {name: reader, namespace: shop}
spec: {podIdentity: {provider: aws, roleArn: "arn:aws:iam::123456789012:role/reader", externalID: x, identityOwner: keda}}
---
apiVersion: keda.sh/v1alpha1
kind: ClusterTriggerAuthentication
metadata: {name: everywhere}
spec: {podIdentity: {provider: aws}}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: all
  namespace: shop
  creationTimestamp: "2026-11-23T00:00:00Z"
  labels: {a: b}
  annotations:
    autoscaling.keda.sh/paused: "false"
    autoscaling.keda.sh/paused-replicas: "3"
    autoscaling.keda.sh/paused-scale-in: "false"
    autoscaling.keda.sh/paused-scale-out: "false"
    autoscaling.keda.sh/force-activation: "false"
    outrigger.dev/cluster: prod
    outrigger.dev/mode: shadow
spec:
  scaleTargetRef: {apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: all, envSourceContainerName: main}
  minReplicaCount: 2
  maxReplicaCount: 9
  idleReplicaCount: 1
  pollingInterval: 30
  cooldownPeriod: 60
  initialCooldownPeriod: 10
  fallback: {failureThreshold: 3, replicas: 4, behavior: static}
  advanced:
    restoreToOriginalReplicaCount: false
    horizontalPodAutoscalerConfig:
      name: hpa
      behavior:
        scaleUp: {stabilizationWindowSeconds: 1, selectPolicy: Max, tolerance: "0.1", policies: [{type: Pods, value: 2, periodSeconds: 15}]}
        scaleDown: {stabilizationWindowSeconds: 2, selectPolicy: Disabled}
  triggers:
  - type: aws-sqs-queue
    name: depth
    metricType: AverageValue
    useCachedMetrics: false
    authenticationRef: {name: reader, kind: TriggerAuthentication}
    metadata:
      queueURL: https://sqs.eu-west-1.amazonaws.com/123456789012/orders
      queueLength: "5"
      activationQueueLength: "1"
      awsRegion: eu-west-1
      scaleOnInFlight: "true"
      scaleOutOnInFlight: "true"
      scaleOnDelayed: "false"
      identityOwner: pod
  - type: aws-sqs-queue
    metadata: {queueURL: "http://localhost:4566/000000000000/q", awsRegion: eu-west-1, awsEndpoint: "http://localhost:4566", identityOwner: operator}
  - type: cron
    metadata: {timezone: Europe/Berlin, start: 0 8 * * *, end: 0 9 * * *, desiredReplicas: "3"}
  - type: aws-cloudwatch
    authenticationRef: {name: everywhere, kind: ClusterTriggerAuthentication}
    metadata:
      namespace: AWS/SQS
      metricName: ApproximateAgeOfOldestMessage
      dimensionName: QueueName
      dimensionValue: orders
      metricStat: Sum
      metricUnit: Seconds
      metricStatPeriod: "60"
      metricCollectionTime: "120"
      metricEndTimeOffset: "0"
      targetMetricValue: "60"
      activationTargetMetricValue: "1"
      minMetricValue: "0"
      ignoreNullValues: "false"
      awsRegion: eu-west-1
  - type: aws-cloudwatch
    metadata: {expression: SELECT 1, targetMetricValue: "60", minMetricValue: "0", ignoreNullValues: "false", awsRegion: eu-west-1, identityOwner: operator}
"#;
    let readme = include_str!("../../../README.md");
    let blocks = readme.split("```").skip(1).step_by(2);
    let blocks = blocks.filter_map(|block| block.strip_prefix("yaml\n"));
    let ours = blocks.filter(|block| block.contains("kind: ScaledObject"));
    let rich = include_str!("../../../tests/infra/rich.yaml");
    let texts = [WORKER, ALL, rich].into_iter().chain(ours);
    let stream = |text: &str| {
        let documents = parse_yaml(text.as_bytes()).into_iter();
        let objects = documents.map(|document| document.root.unwrap().to_json());
        let kedas = objects.filter(|object| object["apiVersion"] == API_VERSION);
        kedas.collect::<Vec<_>>()
    };
    texts.map(stream).collect()
}

fn text_of(documents: &[Json]) -> String {
    let texts = documents.iter();
    let texts = texts.map(|document| serde_json::to_string_pretty(document).unwrap());
    texts.collect::<Vec<_>>().join("\n---\n")
}

fn read_documents(documents: &[Json]) -> Configuration {
    let context = Context {
        file: "outrigger.yaml",
        namespace: "default",
        clusters: &[],
    };
    read(text_of(documents).as_bytes(), context)
}

/// The pointers to all values of a document, the document itself left out.
fn pointers(value: &Json, at: &str, found: &mut Vec<String>) {
    let children: Vec<(String, &Json)> = match value {
        Json::Object(entries) => entries
            .iter()
            .map(|(key, value)| (key.replace('/', "~1"), value))
            .collect(),
        Json::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, value)| (index.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    for (key, child) in children {
        let pointer = format!("{at}/{key}");
        if !UNREAD.contains(&pointer.as_str()) {
            pointers(child, &pointer, found);
            found.push(pointer);
        }
    }
}

/// Where a value stands in the text of the documents.
fn position_of(documents: &[Json], index: usize, pointer: &str) -> Option<Position> {
    let mut read = parse_yaml(text_of(documents).as_bytes());
    let root = read.remove(index).root.unwrap();
    let mut node = &root;
    for part in pointer.split('/').skip(1) {
        node = match &node.value {
            document::Value::List(items) => &items[part.parse::<usize>().unwrap()],
            _ => node.get(&part.replace("~1", "/")).unwrap(),
        };
    }
    node.position
}

fn errors_of(documents: &[Json]) -> Vec<Finding> {
    read_documents(documents).errors().cloned().collect()
}

#[test]
fn a_broken_value_is_one_error_at_that_value_with_a_cure() {
    let mut tried = 0;
    for documents in streams() {
        assert_eq!(errors_of(&documents), [], "{}", text_of(&documents));
        for index in 0..documents.len() {
            let mut places = Vec::new();
            pointers(&documents[index], "", &mut places);
            for pointer in places {
                let mut broken = documents.clone();
                let place = broken[index].pointer_mut(&pointer).unwrap();
                let junk = if place.is_object() || place.is_array() {
                    json!("{broken}")
                } else {
                    json!({"broken": true})
                };
                *place = junk;
                let found = errors_of(&broken);
                let [error] = found.as_slice() else {
                    panic!("{pointer} of document {}: {found:#?}", index + 1);
                };
                let position = position_of(&broken, index, &pointer);
                assert_eq!(error.document, index + 1, "{pointer}: {error}");
                assert_eq!(error.problem.position, position, "{pointer}: {error}");
                let has_cure = ["allowed: ", "did you mean"].into_iter();
                let mut has_cure = has_cure.map(|cure| error.problem.message.contains(cure));
                assert!(has_cure.any(|is_there| is_there), "{pointer}: {error}");
                tried += 1;
            }
        }
    }
    assert!(tried > 200, "{tried}");
}

/// A misspelt field is not missing besides.
#[test]
fn a_misspelt_field_is_one_error_with_its_name() {
    for documents in streams() {
        for index in 0..documents.len() {
            let mut places = Vec::new();
            pointers(&documents[index], "", &mut places);
            for pointer in places {
                let (parent, key) = pointer.rsplit_once('/').unwrap();
                // Kubernetes has many fields there, and the kind says what the rest is.
                let is_open = parent.starts_with("/metadata") || parent.is_empty();
                let mut broken = documents.clone();
                let place = broken[index].pointer_mut(parent).unwrap();
                let Some(entries) = place.as_object_mut().filter(|_| !is_open) else {
                    continue;
                };
                let value = entries.remove(key).unwrap();
                let misspelt = format!("{key}x");
                entries.insert(misspelt.clone(), value);
                let kind = broken[index]["kind"].as_str().unwrap();
                if kind != "ScaledObject" && !pointer.contains("podIdentity") {
                    continue;
                }
                let found = errors_of(&broken);
                let [error] = found.as_slice() else {
                    panic!("{pointer}: {found:#?}");
                };
                let path = format!("{misspelt}: unknown field, did you mean `{key}`?");
                assert!(error.to_string().ends_with(&path), "{pointer}: {error}");
            }
        }
    }
}
