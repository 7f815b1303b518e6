//! `aws-sqs-queue`.

use std::num::NonZeroU32;

use super::super::authentication::{Resolution, is_account};
#[cfg(feature = "cli")]
use super::aws::is_region;
use super::aws::{self, Place, is_host};
use super::host::{self, Host};
use super::{given, switch};
use crate::document::{Node, quoted};
use crate::fields::{self, Fields, MISSING, Problems};
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
    look_at_url(&queue, metadata, problems);
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
            format!("{MISSING}{ADDRESS_FORMS}"),
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
            let parts = url_parts(rest);
            if let Some((host, ..)) = parts
                && !any_host
                && host::of(host) == Host::Other
            {
                let message = format!(
                    "found {}, whose host is none of SQS, allowed: {ADDRESS_FORMS} \
                     (amazonaws.com.cn in China); an emulator or a name of your own needs `awsEndpoint`",
                    quoted(text)
                );
                problems.error(node.position, path, message);
                return None;
            }
            parts.map(|(_, account, name)| QueueAddress::Url {
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

/// Host, account and name of `host/account/name`.
fn url_parts(rest: &str) -> Option<(&str, &str, &str)> {
    let mut parts = rest.split('/');
    let (host, account, name) = (parts.next()?, parts.next()?, parts.next()?);
    let is_word = !account.is_empty()
        && account
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    (parts.next().is_none() && is_host(host) && is_word && is_queue_name(name))
        .then_some((host, account, name))
}

/// What the host of a queue's URL is.
fn host_of(url: &str) -> Option<Host<'_>> {
    let (_, rest) = url.split_once("://")?;
    Some(host::of(rest.split('/').next().unwrap_or_default()))
}

/// Whether a queue is an emulator's, so that there is nothing of it in AWS.
#[cfg(feature = "cli")]
pub(crate) fn is_of_emulator(queue: &Queue) -> bool {
    let is_elsewhere = match &queue.address {
        QueueAddress::Url { url, .. } => host_of(url) == Some(Host::Emulator),
        QueueAddress::Name(_) => false,
    };
    is_elsewhere || !is_region(&queue.region)
}

/// SQS: 1 to 80 letters, digits, `-` and `_`, with `.fifo` at the end of a FIFO queue's name.
pub(crate) fn is_queue_name(name: &str) -> bool {
    let stem = name.strip_suffix(".fifo").unwrap_or(name);
    !stem.is_empty()
        && name.len() <= 80
        && stem
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// What AWS would refuse only at run time, with a confusing error: a URL of one region that is read in another, one of an
/// emulator, and one of an account that is none.
fn look_at_url(queue: &Queue, metadata: &mut Fields<'_>, problems: &mut Problems) {
    let QueueAddress::Url { url, account, .. } = &queue.address else {
        return;
    };
    if queue.endpoint.is_some() {
        return;
    }
    let mut position = |key| {
        let node = metadata.take(key);
        node.and_then(|node| node.position)
    };
    let (region_at, url_at) = (position("awsRegion"), position("queueURL"));
    match host_of(url) {
        Some(Host::Sqs(in_url)) if in_url != queue.region => {
            let message = format!(
                "found `{}`, but the queue's URL is of `{in_url}`, allowed: the same region in both",
                queue.region
            );
            problems.error(region_at, &metadata.path("awsRegion"), message);
        }
        Some(Host::Emulator) => {
            let host = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
            let message = format!(
                "{} is of an emulator, and without `awsEndpoint` SQS itself is asked, which has no such queue; write `awsEndpoint: {host}`",
                quoted(url)
            );
            problems.warning(url_at, &metadata.path("queueURL"), message);
            return;
        }
        Some(Host::Sqs(_) | Host::Other) | None => {}
    }
    if !is_account(account) {
        let message = format!(
            "the account {} in the URL is none, since an account has 12 digits: SQS has no such queue, and no right and no alarm can \
             be rendered for it",
            quoted(account)
        );
        problems.warning(url_at, &metadata.path("queueURL"), message);
    }
}
