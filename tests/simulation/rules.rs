//! Random manifests, as a user would write them: read by the function's own reader.

use outrigger::manifest::{Configuration, Context, read};
use serde_json::{Value as Json, json};

use crate::random::Random;

/// The workloads of every life.
pub(crate) const WORKLOADS: [&str; 2] = ["worker", "mailer"];
/// The queues of every life; workloads may share them.
pub(crate) const QUEUES: [&str; 3] = ["orders", "mails", "night"];

/// One ScaledObject.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) spec: Json,
    pub(crate) created: Option<i64>,
    pub(crate) annotations: Json,
}

impl Rules {
    pub(crate) fn random(random: &mut Random, workload: usize, with_cron: bool) -> Self {
        let min = random.pick(&[0, 0, 1, 2, 5]);
        let max = min + random.pick(&[1, 3, 10, 30]);
        let mut spec = json!({
            "scaleTargetRef": if workload == 0 {
                json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": WORKLOADS[workload]})
            } else {
                json!({"name": WORKLOADS[workload]})
            },
            "minReplicaCount": min,
            "maxReplicaCount": max,
            "triggers": (0..random.pick(&[1, 1, 2])).map(|_| trigger(random, with_cron)).collect::<Vec<_>>(),
        });
        if random.once_in(2) {
            spec["cooldownPeriod"] = json!(random.pick(&[0, 30, 90, 300, 700]));
        }
        if random.once_in(4) {
            spec["initialCooldownPeriod"] = json!(random.pick(&[0, 60, 400, 1000]));
        }
        if min > 0 && random.once_in(3) {
            spec["idleReplicaCount"] = json!(random.between(0, min - 1));
        }
        if random.once_in(3) {
            spec["fallback"] = json!({
                "failureThreshold": random.between(0, 3),
                "replicas": random.between(0, 12),
                "behavior": random.pick(&["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]),
            });
        }
        if random.once_in(2) {
            let mut behavior = json!({});
            for direction in ["scaleUp", "scaleDown"] {
                if random.once_in(2) {
                    behavior[direction] = direction_rules(random);
                }
            }
            spec["advanced"] = json!({"horizontalPodAutoscalerConfig": {"behavior": behavior}});
        }
        let created = random
            .once_in(2)
            .then(|| i64::from(random.between(0, 2000)) - 1500);
        Self {
            spec,
            created,
            annotations: json!({}),
        }
    }

    fn object(&self, workload: usize) -> Json {
        let mut metadata = json!({"name": WORKLOADS[workload], "namespace": "shop", "annotations": self.annotations});
        if let Some(created) = self.created {
            metadata["creationTimestamp"] = json!(crate::life::at(created).to_string());
        }
        json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": metadata, "spec": self.spec})
    }
}

fn direction_rules(random: &mut Random) -> Json {
    let mut rules = json!({});
    if random.once_in(2) {
        rules["stabilizationWindowSeconds"] = json!(random.pick(&[0, 60, 300, 900]));
    }
    if random.once_in(2) {
        rules["selectPolicy"] =
            json!(random.pick(&["Max", "Max", "Max", "Min", "Min", "Min", "Disabled"]));
    }
    if random.once_in(3) {
        rules["tolerance"] = json!(random.pick(&["0", "0.1", "250m"]));
    }
    if random.once_in(2) {
        let policies = (0..random.between(1, 2)).map(|_| {
            let period = random.pick(&[15, 60, 300, 1800]);
            if random.once_in(2) {
                json!({"type": "Pods", "value": random.between(1, 5), "periodSeconds": period})
            } else {
                json!({"type": "Percent", "value": random.pick(&[10, 50, 100, 300]), "periodSeconds": period})
            }
        });
        rules["policies"] = Json::Array(policies.collect());
    }
    rules
}

/// When the windows of cron triggers are open: in these first minutes of every hour.
pub(crate) const CRON_MINUTES: i64 = 20;

fn trigger(random: &mut Random, with_cron: bool) -> Json {
    if with_cron && random.once_in(2) {
        return json!({"type": "cron", "metadata": {
            "timezone": "Etc/UTC", "start": "0 * * * *", "end": format!("{CRON_MINUTES} * * * *"),
            "desiredReplicas": random.between(1, 12).to_string(),
        }});
    }
    if random.once_in(6) {
        let mut metadata = json!({
            "namespace": "AWS/SQS", "metricName": "ApproximateNumberOfMessagesVisible", "dimensionName": "QueueName",
            "dimensionValue": random.pick(&QUEUES), "targetMetricValue": random.pick(&["0.5", "4", "12.25"]),
            "minMetricValue": random.pick(&["0", "6.5"]), "awsRegion": "eu-west-1", "identityOwner": "operator",
        });
        metadata["ignoreNullValues"] = json!(random.pick(&["true", "true", "false"]));
        if random.once_in(3) {
            metadata["activationTargetMetricValue"] = json!(random.pick(&["0.5", "7"]));
        }
        return json!({"type": "aws-cloudwatch", "metadata": metadata});
    }
    let mut metadata = json!({
        "queueURL": random.pick(&QUEUES),
        "awsRegion": "eu-west-1",
        "identityOwner": "operator",
        "queueLength": random.pick(&["1", "5", "10"]),
    });
    if random.once_in(3) {
        metadata["activationQueueLength"] = json!(random.pick(&["1", "5", "20"]));
    }
    if random.once_in(4) {
        metadata["scaleOnDelayed"] = json!("true");
    }
    match random.below(6) {
        0 => metadata["scaleOnInFlight"] = json!("false"),
        1 => metadata["scaleOutOnInFlight"] = json!("false"),
        _ => {}
    }
    json!({"type": "aws-sqs-queue", "metadata": metadata})
}

/// What the function makes of the manifests.
pub(crate) fn configuration(rules: &[Rules]) -> Configuration {
    let objects = rules.iter().enumerate();
    let objects: Vec<String> = objects
        .map(|(workload, rules)| rules.object(workload).to_string())
        .collect();
    let context = Context {
        file: "simulation.yaml",
        namespace: "shop",
        clusters: &[],
    };
    let configuration = read(objects.join("\n---\n").as_bytes(), context);
    assert_eq!(configuration.findings, [], "{objects:#?}");
    configuration
}
