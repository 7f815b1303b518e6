//! Names and ARNs as templates write them.

use std::fmt::Write as _;

use super::RenderError;
use super::needs::{Place, Rights};
use crate::manifest::partition;
use crate::yaml::scalar;

/// The ARN of what is in a place. Where nothing tells the account it is that of the stack.
pub(super) fn arn(service: &str, place: &Place) -> String {
    let Place {
        region,
        account,
        name,
    } = place;
    let partition = partition(region);
    let resource = match service {
        "eks" => format!("cluster/{name}"),
        _ => name.clone(),
    };
    match account {
        Some(account) => scalar(&format!(
            "arn:{partition}:{service}:{region}:{account}:{resource}"
        )),
        None => format!("!Sub arn:{partition}:{service}:{region}:${{AWS::AccountId}}:{resource}"),
    }
}

/// The statements of a policy, in the form of the shipped ones.
pub(super) fn statements<'r>(rights: &Rights, assumed: impl Iterator<Item = &'r String>) -> String {
    let Rights {
        depths,
        lookups,
        metrics,
        described,
    } = rights;
    let arns = |service, places: &std::collections::BTreeSet<Place>| {
        places.iter().map(|place| arn(service, place)).collect()
    };
    let mut text = String::new();
    let mut statement = |why: &str, sid: &str, action: &str, resources: Vec<String>| {
        if resources.is_empty() {
            return;
        }
        let _infallible = writeln!(
            text,
            "# {why}\n- Sid: {sid}\n  Effect: Allow\n  Action: {action}\n  Resource:"
        );
        for resource in resources {
            let _infallible = writeln!(text, "  - {resource}");
        }
    };
    let why = "Endpoint and CA of the clusters with workloads to scale.";
    statement(
        why,
        "DescribeClusters",
        "eks:DescribeCluster",
        arns("eks", described),
    );
    let why = "The depths of the queues. No right to receive a message.";
    statement(
        why,
        "ReadQueues",
        "sqs:GetQueueAttributes",
        arns("sqs", depths),
    );
    let why = "The URLs of the queues that the triggers name without one.";
    statement(why, "FindQueues", "sqs:GetQueueUrl", arns("sqs", lookups));
    let why = "For the aws-cloudwatch triggers. CloudWatch knows no narrower resource for it.";
    let everything = metrics.then(|| "'*'".to_owned());
    statement(
        why,
        "ReadMetrics",
        "cloudwatch:GetMetricData",
        everything.into_iter().collect(),
    );
    let why = "The roles of clusters and TriggerAuthentications.";
    let assumed = assumed.map(|arn| scalar(arn)).collect();
    statement(why, "TakeRoles", "sts:AssumeRole", assumed);
    text
}

/// Whether IAM takes these statements beside so many characters of others: white space does not count
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>).
pub(super) fn fitting(
    role: &str,
    rights: &Rights,
    statements: &str,
    others: usize,
) -> Result<(), RenderError> {
    const MAX_POLICY: usize = 10_240;
    let length: usize = statements.split_whitespace().map(str::len).sum();
    if length + others <= MAX_POLICY {
        return Ok(());
    }
    Err(RenderError::PolicyTooLong {
        role: role.to_owned(),
        queues: rights.depths.len(),
        length,
    })
}

/// A name as part of a logical id, which has letters and digits only: `orders` is `Orders`, and `orders-dlq.fifo` is `OrdersDlqFifo` with
/// a number behind it that tells it from `ordersDlq.fifo`.
pub(super) fn logical(name: &str) -> String {
    let mut camel = String::new();
    for word in name.split(|char: char| !char.is_ascii_alphanumeric()) {
        let mut chars = word.chars();
        camel.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        camel.extend(chars);
    }
    let is_plain = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if is_plain {
        return camel;
    }
    let _infallible = write!(camel, "X{:08x}", fnv(name));
    camel
}

/// FNV-1a: stable for good, since what it names is replaced when it changes.
fn fnv(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn different_names_have_different_ids() {
        assert_eq!(logical("orders"), "Orders");
        let names = [
            "orders",
            "Orders",
            "ORDERS",
            "o-rders",
            "orders.fifo",
            "orders-fifo",
            "orders_fifo",
            "ordersFifo",
            "1orders",
            "a-b",
            "aB",
            "ab",
        ];
        let ids: BTreeSet<String> = names.iter().map(|name| logical(name)).collect();
        assert_eq!(ids.len(), names.len(), "{ids:?}");
        let is_id = |id: &String| id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        assert!(ids.iter().all(is_id), "{ids:?}");
    }
}
