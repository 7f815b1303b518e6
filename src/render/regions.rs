//! The regions that there are, so that a misspelt one is told before everything is deployed for it.

use std::collections::BTreeSet;

use crate::fields::nearest;

/// As of 2026-11-28; newer ones are no mistake, so that nothing is refused for a region
/// (<https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html>).
const KNOWN: [&str; 44] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-isoe-west-1",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eusc-de-east-1",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-iso-east-1",
    "us-iso-west-1",
    "us-isob-east-1",
    "us-isof-south-1",
    "us-west-1",
    "us-west-2",
];

/// A warning for each region that is not known.
pub(super) fn unknown<'r>(regions: impl Iterator<Item = &'r str>) -> Vec<String> {
    let regions: BTreeSet<&str> = regions.filter(|region| !KNOWN.contains(region)).collect();
    let warning = |region: &str| {
        let cure = match nearest(region, &KNOWN) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "give one that there is, such as --region eu-west-1".to_owned(),
        };
        format!("warning: no region `{region}` was there on 2026-11-28; {cure}")
    };
    regions.into_iter().map(warning).collect()
}
