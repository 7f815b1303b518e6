//! `aws-sqs-queue`.

use std::num::NonZeroU32;

use super::super::authentication::Resolution;
use super::aws::{self, Place, is_host, is_region};
use super::{given, switch};
use crate::document::Node;
use crate::fields::{self, Fields, Problems};
use crate::policy::{Queue, QueueAddress, SqsTrigger};

/// Messages per replica unless `queueLength` is set: KEDA's default.
const DEFAULT_MESSAGES_PER_REPLICA: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);

pub(super) fn read(
    fields: &mut Fields<'_>,
    metadata: &mut Fields<'_>,
    namespace: &str,
    resolution: Resolution<'_>,
    problems: &mut Problems,
) -> Option<SqsTrigger> {
    let Place { region, endpoint } = aws::place(metadata, problems);
    let address = read_address(metadata, endpoint != Ok(None), problems);
    let per_replica = given(metadata, "queueLength").map(|node| {
        // At zero or below KEDA's HPA is refused by the API server at best; a fraction of a message is not a message.
        let found = fields::integer(
            node,
            &metadata.path("queueLength"),
            1..=i64::from(i32::MAX),
            problems,
        );
        found
            .and_then(|found| u32::try_from(found).ok())
            .and_then(NonZeroU32::new)
    });
    let activation = given(metadata, "activationQueueLength").map(|node| {
        let found = fields::integer(
            node,
            &metadata.path("activationQueueLength"),
            0..=i64::MAX,
            problems,
        );
        found.and_then(|found| u64::try_from(found).ok())
    });
    let count_in_flight = switch(metadata, "scaleOnInFlight", true, problems);
    let for_scale_out = given(metadata, "scaleOutOnInFlight");
    let count_in_flight_for_scale_out = match for_scale_out {
        Some(node) => fields::boolean(node, &metadata.path("scaleOutOnInFlight"), problems),
        None => count_in_flight,
    };
    if let (Some(node), Some(false), Some(true)) = (
        for_scale_out,
        count_in_flight,
        count_in_flight_for_scale_out,
    ) {
        let message = "found `true` while `scaleOnInFlight` is false, allowed: false: what calls for replicas must also keep them";
        problems.error(node.position, &metadata.path("scaleOutOnInFlight"), message);
    }
    let count_delayed = switch(metadata, "scaleOnDelayed", false, problems);
    let identity = aws::identity(fields, metadata, namespace, resolution, problems);
    let queue = Queue {
        address: address?,
        region: region.ok()?,
        endpoint: endpoint.ok()?,
        identity,
    };
    refuse_other_region(&queue, metadata, problems);
    Some(SqsTrigger {
        queue,
        messages_per_replica: per_replica.unwrap_or(Some(DEFAULT_MESSAGES_PER_REPLICA))?,
        activation_messages: activation.unwrap_or(Some(0))?,
        count_in_flight: count_in_flight?,
        count_in_flight_for_scale_out: count_in_flight_for_scale_out?,
        count_delayed: count_delayed?,
    })
}

fn read_address(
    metadata: &mut Fields<'_>,
    any_host: bool,
    problems: &mut Problems,
) -> Option<QueueAddress> {
    let from_env = given(metadata, "queueURLFromEnv");
    let path = metadata.path("queueURL");
    if let Some(node) = given(metadata, "queueURL") {
        return address(node, &path, any_host, problems);
    }
    match from_env {
        Some(node) => {
            let message = "pod templates are not read, so there is no environment to look in; write the URL into `queueURL`";
            problems.error(node.position, &metadata.path("queueURLFromEnv"), message);
        }
        None => problems.error(
            metadata.position(),
            &path,
            format!("missing, allowed: {ADDRESS_FORMS}"),
        ),
    }
    None
}

const ADDRESS_FORMS: &str =
    "https://sqs.REGION.amazonaws.com/ACCOUNT/NAME, or the bare name of a queue";

/// A URL with exactly account and name in its path, or a bare queue name.
/// With `awsEndpoint` any host goes: then it is an emulator or a private name.
fn address(
    node: &Node,
    path: &str,
    any_host: bool,
    problems: &mut Problems,
) -> Option<QueueAddress> {
    let text = node.as_text().map(str::trim).unwrap_or_default();
    let found = match text.split_once("://") {
        Some(("https" | "http", rest)) => {
            url_parts(rest, any_host).map(|(account, name)| QueueAddress::Url {
                url: text.to_owned(),
                account: account.to_owned(),
                name: name.to_owned(),
            })
        }
        Some(_) => None,
        None => is_queue_name(text).then(|| QueueAddress::Name(text.to_owned())),
    };
    if found.is_none() {
        problems.found(node, path, ADDRESS_FORMS);
    }
    found
}

/// Account and name of `host/account/name`.
fn url_parts(rest: &str, any_host: bool) -> Option<(&str, &str)> {
    let mut parts = rest.split('/');
    let (host, account, name) = (parts.next()?, parts.next()?, parts.next()?);
    let is_account = !account.is_empty()
        && account
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (parts.next().is_none()
        && is_host(host)
        && (any_host || is_sqs_host(host))
        && is_account
        && is_queue_name(name))
    .then_some((account, name))
}

/// A host that can be SQS: `sqs.REGION.…`, `sqs-fips.REGION.…`, the legacy `REGION.queue.…`, a VPC endpoint of it, or
/// an emulator on a name without a domain or on an address.
fn is_sqs_host(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_address = name.starts_with('[')
        || name
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let is_sqs = |label: &str| matches!(label, "sqs" | "sqs-fips" | "queue");
    is_address || !name.contains('.') || name.split('.').any(is_sqs)
}

/// SQS: 1 to 80 letters, digits, `-` and `_`, with `.fifo` at the end of a FIFO queue's name.
fn is_queue_name(name: &str) -> bool {
    let stem = name.strip_suffix(".fifo").unwrap_or(name);
    !stem.is_empty()
        && name.len() <= 80
        && stem
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// A queue URL of one region read through another region's endpoint fails only at run time, with a confusing error.
fn refuse_other_region(queue: &Queue, metadata: &Fields<'_>, problems: &mut Problems) {
    let QueueAddress::Url { url, .. } = &queue.address else {
        return;
    };
    let in_url = url
        .split("://sqs.")
        .nth(1)
        .and_then(|rest| rest.split('.').next())
        .filter(|label| is_region(label));
    if let Some(in_url) =
        in_url.filter(|in_url| *in_url != queue.region && queue.endpoint.is_none())
    {
        let message = format!(
            "found `{}`, but the queue's URL is of `{in_url}`",
            queue.region
        );
        problems.error(
            metadata.position(),
            &metadata.path("awsRegion"),
            format!("{message}, allowed: the same region in both"),
        );
    }
}
