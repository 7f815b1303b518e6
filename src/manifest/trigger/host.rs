//! The hosts of queue URLs: those of SQS, each of a region, and those of emulators.

use super::aws::is_region;

/// What a host can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host<'a> {
    /// SQS in this region.
    Sqs(&'a str),
    /// An emulator, such as `LocalStack` or `ElasticMQ`.
    Emulator,
    /// None of both.
    Other,
}

/// Parts of the names that emulators run under.
const EMULATORS: [&str; 7] = [
    "localhost",
    "localstack",
    "elasticmq",
    "ministack",
    "moto",
    "goaws",
    "host.docker.internal",
];

/// Where a region's services are, by the beginning of its name; the first that fits counts.
/// <https://docs.aws.amazon.com/general/latest/gr/sqs-service.html>
const DOMAINS: [(&str, &[&str]); 8] = [
    ("cn-", &["amazonaws.com.cn", "api.amazonwebservices.com.cn"]),
    ("us-isob-", &["sc2s.sgov.gov", "api.aws.scloud"]),
    ("us-isof-", &["csp.hci.ic.gov", "api.aws.hci.ic.gov"]),
    ("eu-isoe-", &["cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"]),
    ("us-iso-", &["c2s.ic.gov", "api.aws.ic.gov"]),
    ("eusc-", &["amazonaws.eu", "api.amazonwebservices.eu"]),
    ("us-gov-", &["amazonaws.com", "api.aws"]),
    ("", &["amazonaws.com", "api.aws"]),
];

/// What `host`, with or without a port, is.
pub(super) fn of(host: &str) -> Host<'_> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let is_address = name.starts_with('[')
        || name
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let lower = name.to_ascii_lowercase();
    if is_address || EMULATORS.iter().any(|part| lower.contains(part)) {
        return Host::Emulator;
    }
    region(name).map_or(Host::Other, Host::Sqs)
}

/// The region of a host of SQS: `sqs.REGION.…`, `sqs-fips.REGION.…`, the legacy `REGION.queue.…` and `queue.…`, or an endpoint in a
/// VPC.
fn region(name: &str) -> Option<&str> {
    if name == "queue.amazonaws.com" {
        return Some("us-east-1");
    }
    let of_vpc = |rest: &'_ str| rest.strip_prefix("vpce.").is_some();
    let (first, rest) = name.split_once('.')?;
    let (region, rest) = match first {
        "sqs" | "sqs-fips" => rest.split_once('.')?,
        _ if is_region(first) => (first, rest.strip_prefix("queue.")?),
        _ if first.starts_with("vpce-") => {
            let rest = rest
                .strip_prefix("sqs.")
                .or_else(|| rest.strip_prefix("sqs-fips."))?;
            let (region, rest) = rest.split_once('.').filter(|(_, rest)| of_vpc(rest))?;
            (region, rest.strip_prefix("vpce.")?)
        }
        _ => return None,
    };
    let (_, domains) = { DOMAINS.iter() }.find(|(prefix, _)| region.starts_with(prefix))?;
    (is_region(region) && domains.contains(&rest)).then_some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_sqs_are_of_a_region() {
        for (host, region) in [
            ("sqs.eu-west-1.amazonaws.com", "eu-west-1"),
            ("sqs.eu-west-1.amazonaws.com:443", "eu-west-1"),
            ("sqs-fips.us-east-2.amazonaws.com", "us-east-2"),
            ("sqs.us-east-1.api.aws", "us-east-1"),
            ("sqs.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
            ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("sqs.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"),
            ("sqs.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
            ("us-west-2.queue.amazonaws.com", "us-west-2"),
            ("cn-north-1.queue.amazonaws.com.cn", "cn-north-1"),
            ("queue.amazonaws.com", "us-east-1"),
            ("vpce-0a1-b2.sqs.us-west-2.vpce.amazonaws.com", "us-west-2"),
            (
                "vpce-0a1-b2-us-west-2a.sqs.us-west-2.vpce.amazonaws.com",
                "us-west-2",
            ),
        ] {
            assert_eq!(of(host), Host::Sqs(region), "{host}");
        }
    }

    #[test]
    fn hosts_of_emulators() {
        for host in [
            "localhost",
            "localhost:4566",
            "127.0.0.1:4566",
            "[::1]:9324",
            "localstack:4566",
            "localstack.dev.svc.cluster.local:4566",
            "sqs.us-east-1.localhost.localstack.cloud:4566",
            "elasticmq:9324",
            "host.docker.internal:4566",
        ] {
            assert_eq!(of(host), Host::Emulator, "{host}");
        }
    }

    #[test]
    fn other_hosts() {
        for host in [
            "evil",
            "sqs",
            "queue",
            "example.com",
            "sqs.eu-west-1.example.com",
            "sqs.eu-west-1.amazonaws.com.example.com",
            "sqs.cn-north-1.amazonaws.com",
            "sqs.eu-west-1.amazonaws.com.cn",
            "sqs.amazonaws.com",
            "sqs.eu-west.amazonaws.com",
            "sns.eu-west-1.amazonaws.com",
            "eu-west-1.queue.example.com",
            "queue.amazonaws.com.cn",
            "vpce-1.sqs.eu-west-1.amazonaws.com",
            "vpce-1.sns.eu-west-1.vpce.amazonaws.com",
            "sqs.eu-west-1.vpce.amazonaws.com",
        ] {
            assert_eq!(of(host), Host::Other, "{host}");
        }
    }
}
