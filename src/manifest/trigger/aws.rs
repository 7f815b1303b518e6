//! What the triggers that read from AWS have in common: where, and with whose rights.

use super::super::authentication::{self, Resolution};
use super::{Refused, given, needed};
use crate::document::Node;
use crate::fields::{Fields, Problems};
use crate::policy::Identity;

/// `awsRegion` and `awsEndpoint`, as far as they are right.
pub(super) struct Place {
    pub(super) region: Result<String, Refused>,
    pub(super) endpoint: Result<Option<String>, Refused>,
}

pub(super) fn place(metadata: &mut Fields<'_>, problems: &mut Problems) -> Place {
    let allowed = "a region such as ap-northeast-1";
    let region = needed(metadata, "awsRegion", allowed, problems);
    let endpoint = given(metadata, "awsEndpoint");
    let is_free = endpoint.is_some();
    let region =
        region.and_then(|node| region_of(node, &metadata.path("awsRegion"), is_free, problems));
    let endpoint = endpoint
        .map(|node| endpoint_of(node, &metadata.path("awsEndpoint"), problems).ok_or(Refused))
        .transpose();
    Place {
        region: region.ok_or(Refused),
        endpoint,
    }
}

/// Whose rights are used. Static keys are refused, wherever they would come from.
pub(super) fn identity(
    fields: &mut Fields<'_>,
    metadata: &mut Fields<'_>,
    namespace: &str,
    resolution: Resolution<'_>,
    problems: &mut Problems,
) -> Identity {
    for key in [
        "awsAccessKeyID",
        "awsAccessKeyIDFromEnv",
        "awsSecretAccessKeyFromEnv",
    ] {
        if let Some(node) = given(metadata, key) {
            problems.error(node.position, &metadata.path(key), "static keys are refused; allowed: `identityOwner: operator` or a TriggerAuthentication with `podIdentity.provider: aws`");
        }
    }
    authentication::identity(fields, metadata, namespace, resolution, problems)
}

/// A region such as `ap-northeast-1`; whether it exists is for AWS to say. What emulators take for one is any word.
fn region_of(node: &Node, path: &str, is_free: bool, problems: &mut Problems) -> Option<String> {
    let is_word = |text: &str| {
        (1..=63).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let found = node
        .as_text()
        .map(str::trim)
        .filter(|region| is_region(region) || (is_free && is_word(region)));
    if found.is_none() {
        problems.found(node, path, "a region such as ap-northeast-1");
    }
    found.map(str::to_owned)
}

/// Lower case words and a number, joined by `-`.
pub(crate) fn is_region(region: &str) -> bool {
    let parts: Vec<&str> = region.split('-').collect();
    let Some((last, words)) = parts.split_last() else {
        return false;
    };
    words.len() >= 2
        && !last.is_empty()
        && last.bytes().all(|byte| byte.is_ascii_digit())
        && words
            .iter()
            .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
}

fn endpoint_of(node: &Node, path: &str, problems: &mut Problems) -> Option<String> {
    let text = node.as_text().map(str::trim).unwrap_or_default();
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let found = rest
        .map(|rest| rest.trim_end_matches('/'))
        .filter(|host| is_host(host));
    if found.is_none() {
        problems.found(node, path, "a URL such as http://localhost:4566");
    }
    found.map(|_| text.trim_end_matches('/').to_owned())
}

/// A host name or address with an optional port; no user, no query.
pub(super) fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte))
}

/// The partition of a region
/// (<https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html>).
pub(crate) fn partition(region: &str) -> &'static str {
    const PARTITIONS: [(&str, &str); 7] = [
        ("us-gov-", "aws-us-gov"),
        ("cn-", "aws-cn"),
        ("us-isob-", "aws-iso-b"),
        ("us-isof-", "aws-iso-f"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-iso-", "aws-iso"),
        ("eusc-", "aws-eusc"),
    ];
    let found = PARTITIONS
        .iter()
        .find(|(prefix, _)| region.starts_with(prefix));
    found.map_or("aws", |(_, partition)| partition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_by_region() {
        for (region, expected) in [
            ("eu-west-1", "aws"),
            ("us-east-1", "aws"),
            ("cn-northwest-1", "aws-cn"),
            ("us-gov-east-1", "aws-us-gov"),
            ("us-iso-west-1", "aws-iso"),
            ("us-isob-east-1", "aws-iso-b"),
            ("eu-isoe-west-1", "aws-iso-e"),
            ("us-isof-south-1", "aws-iso-f"),
            ("eusc-de-east-1", "aws-eusc"),
        ] {
            assert_eq!(partition(region), expected, "{region}");
        }
    }
}
