//! AWS partitions: which names belong to a region.

/// A partition and the domains of its services.
#[derive(Debug)]
pub(super) struct Partition {
    /// The second part of every ARN.
    pub(super) name: &'static str,
    /// What follows `sts.REGION.`.
    pub(super) domain: &'static str,
    /// The same for IPv4 and IPv6 together, where the authenticator knows one.
    pub(super) dual_stack_domain: Option<&'static str>,
    /// Regions begin with one of these, followed by `-WORD-NUMBER`.
    prefixes: &'static [&'static str],
}

/// <https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html>
static PARTITIONS: [Partition; 8] = [
    Partition {
        name: "aws",
        domain: "amazonaws.com",
        dual_stack_domain: Some("api.aws"),
        prefixes: &["us", "eu", "ap", "sa", "ca", "me", "af", "il", "mx"],
    },
    Partition {
        name: "aws-us-gov",
        domain: "amazonaws.com",
        dual_stack_domain: Some("api.aws"),
        prefixes: &["us-gov"],
    },
    Partition {
        name: "aws-cn",
        domain: "amazonaws.com.cn",
        dual_stack_domain: Some("api.amazonwebservices.com.cn"),
        prefixes: &["cn"],
    },
    Partition {
        name: "aws-iso",
        domain: "c2s.ic.gov",
        dual_stack_domain: None,
        prefixes: &["us-iso"],
    },
    Partition {
        name: "aws-iso-b",
        domain: "sc2s.sgov.gov",
        dual_stack_domain: None,
        prefixes: &["us-isob"],
    },
    Partition {
        name: "aws-iso-e",
        domain: "cloud.adc-e.uk",
        dual_stack_domain: None,
        prefixes: &["eu-isoe"],
    },
    Partition {
        name: "aws-iso-f",
        domain: "csp.hci.ic.gov",
        dual_stack_domain: None,
        prefixes: &["us-isof"],
    },
    Partition {
        name: "aws-eusc",
        domain: "amazonaws.eu",
        dual_stack_domain: Some("api.amazonwebservices.eu"),
        prefixes: &["eusc-de"],
    },
];

/// The partition of a region; `aws` for a name that fits none, as the SDKs have it.
pub(super) fn of_region(region: &str) -> &'static Partition {
    let belongs = |partition: &&Partition| {
        let mut prefixes = partition.prefixes.iter();
        prefixes.any(|prefix| is_region(region, prefix))
    };
    PARTITIONS.iter().find(belongs).unwrap_or(&PARTITIONS[0])
}

/// Whether an ARN can carry this partition.
pub(super) fn is_known(name: &str) -> bool {
    PARTITIONS.iter().any(|partition| partition.name == name)
}

fn is_region(region: &str, prefix: &str) -> bool {
    let rest = region.strip_prefix(prefix);
    let Some((word, number)) = rest
        .and_then(|rest| rest.strip_prefix('-'))
        .and_then(|rest| rest.split_once('-'))
    else {
        return false;
    };
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !word.is_empty()
        && word.bytes().all(is_word)
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

impl Partition {
    /// Every public host name of STS in `region`: plain and FIPS, each also dual-stack.
    pub(super) fn sts_hosts(&self, region: &str) -> Vec<String> {
        // GovCloud's plain endpoint is the FIPS one.
        let fips = if self.name == "aws-us-gov" {
            "sts"
        } else {
            "sts-fips"
        };
        let mut hosts = vec![
            format!("sts.{region}.{}", self.domain),
            format!("{fips}.{region}.{}", self.domain),
        ];
        if let Some(domain) = self.dual_stack_domain {
            hosts.push(format!("sts.{region}.{domain}"));
            hosts.push(format!("sts-fips.{region}.{domain}"));
        }
        hosts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_find_their_partition() {
        for (region, expected) in [
            ("us-west-2", "aws"),
            ("ap-northeast-1", "aws"),
            ("us-gov-west-1", "aws-us-gov"),
            ("cn-north-1", "aws-cn"),
            ("us-iso-east-1", "aws-iso"),
            ("us-isob-east-1", "aws-iso-b"),
            ("eu-isoe-west-1", "aws-iso-e"),
            ("us-isof-south-1", "aws-iso-f"),
            ("eusc-de-east-1", "aws-eusc"),
            ("moon-base-1", "aws"),
        ] {
            assert_eq!(of_region(region).name, expected, "{region}");
        }
    }
}
