//! What an object in a cluster must not reach: other clusters and namespaces, other endpoints than AWS' own, and what the function's
//! owner has not granted to its namespace.

use super::super::scaled_object::CLUSTER;
use super::super::{Target, is_account, partition};
use super::ClusterContext;
use crate::document::{Node, Value, quoted};
use crate::fields::Problems;
use crate::policy::{Identity, Metric, MetricQuery, Queue, QueueAddress, Trigger};
use crate::ports::Namespace;
use crate::settings::grants::{Tenants, is_queue, shown};

/// The CloudWatch namespace in which queues tell their depth.
const QUEUE_METRICS: &str = "AWS/SQS";

/// Refuses what would reach out of the object's own namespace.
pub(super) fn confine(
    target: Option<&Target>,
    node: &Node,
    context: ClusterContext<'_>,
    problems: &mut Problems,
) {
    let annotations = node
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations"));
    if annotations.is_some_and(|annotations| annotations.get(CLUSTER).is_some()) {
        let message =
            "not allowed here: an object in a cluster is about that cluster; remove the annotation";
        problems.error(None, &format!("metadata.annotations[{CLUSTER}]"), message);
    }
    let triggers = node.get("spec").and_then(|spec| spec.get("triggers"));
    let triggers = match triggers.map(|triggers| &triggers.value) {
        Some(Value::List(triggers)) => triggers.as_slice(),
        _ => &[],
    };
    for (index, trigger) in triggers.iter().enumerate() {
        let endpoint = trigger
            .get("metadata")
            .and_then(|metadata| metadata.get("awsEndpoint")?.as_text());
        if endpoint.is_some_and(|endpoint| !endpoint.trim().is_empty()) {
            let path = format!("spec.triggers[{index}].metadata.awsEndpoint");
            let message = "not allowed in a cluster: the function signs requests with its own credentials and sends them \
                to AWS alone; remove it, or ship the object in a file";
            problems.error(None, &path, message);
        }
    }
    let Some(target) = target else {
        return;
    };
    let ClusterContext {
        cluster,
        tenants,
        own_account,
        min_polling_seconds: _,
    } = context;
    let tenant = Tenant {
        namespace: Namespace {
            cluster: cluster.to_owned(),
            name: target.id.namespace.clone(),
        },
        tenants,
        own_account,
    };
    for (index, trigger) in target.policy.triggers.iter().enumerate() {
        let is_cluster_wide = triggers.get(index).is_some_and(is_cluster_wide);
        for (field, message) in tenant.refusals(trigger, is_cluster_wide) {
            problems.error(None, &format!("spec.triggers[{index}].{field}"), message);
        }
    }
}

/// Whether a trigger refers to a ClusterTriggerAuthentication.
pub(crate) fn is_cluster_wide(trigger: &Node) -> bool {
    let reference = trigger.get("authenticationRef");
    reference.and_then(|reference| reference.get("kind")?.as_text())
        == Some("ClusterTriggerAuthentication")
}

/// Whose object it is.
struct Tenant<'a> {
    namespace: Namespace,
    tenants: &'a Tenants,
    own_account: Option<&'a str>,
}

/// The field that is wrong, and why.
type Refusal = (&'static str, String);

impl Tenant<'_> {
    /// What of a trigger is not granted. The lists are the function's owner's, and the object's status is not the place to read
    /// them: it says what is missing, and nothing of what is there.
    fn refusals(&self, trigger: &Trigger, is_cluster_wide: bool) -> Vec<Refusal> {
        match trigger {
            Trigger::Cron(_) => Vec::new(),
            Trigger::SqsQueue(trigger) => match &trigger.queue.identity {
                Identity::Function => self.queue(&trigger.queue).into_iter().collect(),
                Identity::Role { arn, .. } => self.role(arn, is_cluster_wide).into_iter().collect(),
            },
            Trigger::CloudWatch(trigger) => {
                let metric = &trigger.metric;
                let of_identity = match &metric.identity {
                    Identity::Function => self.queue_metric(metric),
                    Identity::Role { arn, .. } => self.role(arn, is_cluster_wide),
                };
                of_identity
                    .into_iter()
                    .chain(self.expression(metric))
                    .collect()
            }
        }
    }

    fn role(&self, arn: &str, is_cluster_wide: bool) -> Option<Refusal> {
        let roles = &self.tenants.roles;
        if roles.allow(&self.namespace, |granted| granted == arn) {
            return None;
        }
        let here = shown(&self.namespace);
        // Who may refer to a cluster-wide authentication need not be allowed to read it.
        let (role, item) = if is_cluster_wide {
            ("a role that is not allowed".to_owned(), "it".to_owned())
        } else {
            (format!("the role {}", quoted(arn)), format!("{here}={arn}"))
        };
        let message = format!(
            "the authentication names {role}, allowed: a role that OUTRIGGER_ROLES of the function lists for {here}; ask its owner to add {item}"
        );
        Some(("authenticationRef", message))
    }

    fn queue(&self, queue: &Queue) -> Option<Refusal> {
        let (account, name) = match &queue.address {
            QueueAddress::Url { account, name, .. } => (Some(account.as_str()), name),
            QueueAddress::Name(name) => (self.own_account, name),
        };
        let unknown = "a bare name does not tell; write the queue's URL, or ";
        let message = self.no_queue(&queue.region, account, name, unknown)?;
        Some(("metadata.queueURL", message))
    }

    /// A queue tells its depth to CloudWatch, too.
    fn queue_metric(&self, metric: &Metric) -> Option<Refusal> {
        let MetricQuery::Statistic {
            namespace,
            dimensions,
            ..
        } = &metric.query
        else {
            return None;
        };
        if namespace != QUEUE_METRICS {
            return None;
        }
        let unknown = "a metric does not tell; read the queue itself by its URL, or ";
        let mut queues = dimensions.iter().filter(|(name, _)| name == "QueueName");
        let refused = queues.find_map(|(_, queue)| {
            self.no_queue(&metric.region, self.own_account, queue, unknown)
        })?;
        Some(("metadata.dimensionValue", refused))
    }

    /// Why a queue is not read with the function's own role, if it is not. `unknown` says what does not tell its account, and what does.
    fn no_queue(
        &self,
        region: &str,
        account: Option<&str>,
        name: &str,
        unknown: &str,
    ) -> Option<String> {
        let granted = self.tenants.queues.as_ref()?;
        let Some(account) = account else {
            return Some(format!(
                "not granted: OUTRIGGER_QUEUES of the function grants queues by their account, which {unknown}ask the function's owner to name \
                 the cluster by its ARN in OUTRIGGER_CLUSTERS"
            ));
        };
        let is_it = |item: &str| is_queue(item, region, account, name);
        if granted.allow(&self.namespace, is_it) {
            return None;
        }
        let here = shown(&self.namespace);
        let item = if is_account(account) {
            format!(
                "{here}=arn:{}:sqs:{region}:{account}:{name}",
                partition(region)
            )
        } else {
            format!("the queue for {here}")
        };
        Some(format!(
            "the queue is not granted to {here} and is not read; ask the function's owner to add {item} to OUTRIGGER_QUEUES"
        ))
    }

    fn expression(&self, metric: &Metric) -> Option<Refusal> {
        match &metric.query {
            MetricQuery::Statistic { .. } => None,
            MetricQuery::Expression(_) if self.tenants.expressions.allow(&self.namespace) => None,
            MetricQuery::Expression(_) => {
                let here = shown(&self.namespace);
                let message = format!(
                    "not allowed here, since an expression reads any metric; name one with namespace, metricName and dimensionName, or ask the \
                     function's owner to add {here} to OUTRIGGER_EXPRESSIONS"
                );
                Some(("metadata.expression", message))
            }
        }
    }
}
