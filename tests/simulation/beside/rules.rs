//! Random rules of one workload with one queue: what the manifest asks for, and the few numbers that the HPA is told beside
//! the policy that is read from it.

use outrigger::manifest::{Context, read};
use outrigger::policy::Policy;
use serde_json::{Value as Json, json};

use crate::random::Random;

#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) spec: Json,
    pub(super) per_replica: u32,
    pub(super) activation: u64,
    pub(super) polling_seconds: u32,
    /// `scaleOutOnInFlight`. Without it half of the messages are in flight and call for no more.
    pub(super) out_on_in_flight: bool,
}

impl Rules {
    /// With the rest of a `spec` that has no queue yet.
    pub(super) fn new(mut spec: Json, per_replica: u32, polling_seconds: u32) -> Self {
        spec["scaleTargetRef"] = json!({"name": "worker"});
        spec["pollingInterval"] = json!(polling_seconds);
        spec["triggers"] = json!([{"type": "aws-sqs-queue", "metadata": {
            "queueURL": "orders", "awsRegion": "eu-west-1", "identityOwner": "operator", "queueLength": per_replica.to_string(),
        }}]);
        Self {
            spec,
            per_replica,
            activation: 0,
            polling_seconds,
            out_on_in_flight: true,
        }
    }

    /// Quick rules have no windows, so that it is the policies that hold.
    pub(super) fn random(random: &mut Random, is_extreme: bool, is_quick: bool) -> Self {
        let min: u32 = random.pick(&[0, 0, 1, 2, 5]);
        let most: &[u32] = if is_extreme {
            &[1 << 16, 1 << 30, (1 << 31) - 6, (1 << 31) - 6]
        } else {
            &[1, 3, 10, 30, 130, 130, 400]
        };
        let mut spec = json!({"minReplicaCount": min, "maxReplicaCount": min + random.pick(most)});
        if random.once_in(2) {
            spec["cooldownPeriod"] = json!(random.pick(&[0, 30, 90, 300, 700, 3600]));
        }
        if min > 0 && !random.once_in(3) {
            spec["idleReplicaCount"] = json!(random.between(0, min - 1));
        }
        if !random.once_in(4) {
            let mut behavior = json!({});
            // Numbers grow where nothing holds them.
            let is_free = is_extreme && random.once_in(2);
            for direction in ["scaleUp", "scaleDown"] {
                if is_free {
                    behavior[direction] = free();
                } else if is_quick || !random.once_in(4) {
                    behavior[direction] = direction_rules(random, is_extreme, is_quick);
                }
            }
            spec["advanced"] = json!({"horizontalPodAutoscalerConfig": {"behavior": behavior}});
        }
        let polling_seconds = random.pick(&[1, 5, 10, 15, 27, 30, 60, 100]);
        let mut rules = Self::new(spec, random.pick(&[1, 1, 5, 100]), polling_seconds);
        let metadata = &mut rules.spec["triggers"][0]["metadata"];
        if random.once_in(4) {
            rules.activation = random.pick(&[1, 5, 20]);
            metadata["activationQueueLength"] = json!(rules.activation.to_string());
        }
        if random.once_in(5) {
            rules.out_on_in_flight = false;
            metadata["scaleOutOnInFlight"] = json!("false");
        }
        rules
    }

    /// Of so many messages, those that are visible and those in flight.
    pub(super) fn in_flight(&self, messages: u64) -> (u64, u64) {
        let in_flight = if self.out_on_in_flight {
            0
        } else {
            messages / 2
        };
        (messages - in_flight, in_flight)
    }

    /// What the function makes of the manifest.
    pub(super) fn policy(&self) -> Policy {
        let object = json!({
            "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "worker", "namespace": "shop"}, "spec": self.spec,
        });
        let context = Context {
            file: "simulation.yaml",
            namespace: "shop",
            clusters: &[],
        };
        let mut configuration = read(object.to_string().as_bytes(), context);
        let refused: Vec<_> = configuration.errors().collect();
        assert!(refused.is_empty(), "{refused:#?}");
        configuration.targets.remove(0).policy
    }

    fn count(&self, name: &str) -> Option<u32> {
        let count = self.spec.get(name)?.as_u64()?;
        u32::try_from(count).ok()
    }

    pub(super) fn min(&self) -> u32 {
        self.count("minReplicaCount").unwrap_or(0)
    }

    pub(super) fn max(&self) -> u32 {
        self.count("maxReplicaCount").unwrap_or(100)
    }

    pub(super) fn rest(&self) -> Option<u32> {
        let zero = (self.min() == 0).then_some(0);
        self.count("idleReplicaCount").or(zero)
    }
}

/// As far as it likes, and remembered for as long as can be.
fn free() -> Json {
    json!({"stabilizationWindowSeconds": 0, "policies": [
        {"type": "Pods", "value": i32::MAX, "periodSeconds": 1800}, {"type": "Percent", "value": i32::MAX, "periodSeconds": 15},
    ]})
}

fn direction_rules(random: &mut Random, is_extreme: bool, is_quick: bool) -> Json {
    let mut rules = json!({});
    if is_quick {
        rules["stabilizationWindowSeconds"] = json!(0);
    } else if !random.once_in(4) {
        let window = random.pick(&[0, 0, 1, 15, 60, 120, 300, 330, 900, 1800, 3600]);
        rules["stabilizationWindowSeconds"] = json!(window);
    }
    if random.once_in(2) {
        rules["selectPolicy"] =
            json!(random.pick(&["Max", "Max", "Min", "Min", "Min", "Disabled"]));
    }
    if random.once_in(2) {
        rules["tolerance"] = json!(random.pick(&["0", "0", "0.1", "250m"]));
    }
    if !random.once_in(4) {
        let policies = (0..random.between(1, 3)).map(|_| {
            let period = random.pick(&[15, 15, 20, 60, 60, 100, 300, 900, 1800]);
            let (kind, value) = match random.below(4) {
                0..3 if is_extreme => {
                    let kind = random.pick(&["Pods", "Percent"]);
                    (kind, random.pick(&[1 << 16, 1 << 30, i32::MAX]))
                }
                0..2 => ("Pods", random.pick(&[1, 1, 2, 4, 10, 50])),
                _ => ("Percent", random.pick(&[1, 10, 10, 33, 50, 100, 300])),
            };
            json!({"type": kind, "value": value, "periodSeconds": period})
        });
        rules["policies"] = Json::Array(policies.collect());
    }
    rules
}
