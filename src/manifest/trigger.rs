//! `spec.triggers`: `aws-sqs-queue`, `cron` and `aws-cloudwatch`.

mod aws;
mod cloudwatch;
mod cron;
mod host;
mod sqs;

use super::authentication::Resolution;
use crate::document::{Node, quoted};
use crate::fields::{self, Fields, MISSING, Problems};
use crate::policy::Trigger;

pub(crate) use aws::{is_region, partition};
#[cfg(feature = "cli")]
pub(crate) use sqs::is_of_emulator;
pub(crate) use sqs::is_queue_name;

/// Triggers of one object. Each is a call at every poll, and the turns for calls are everybody's.
const MAX_TRIGGERS: usize = 100;

pub(super) fn read_triggers(
    node: &Node,
    path: &str,
    namespace: &str,
    resolution: Resolution<'_>,
    problems: &mut Problems,
) -> Option<Vec<Trigger>> {
    let items = fields::items(node, path, problems)?;
    if items.is_empty() {
        problems.found(node, path, "at least one trigger");
    }
    if items.len() > MAX_TRIGGERS {
        let message = format!(
            "found {} triggers, allowed: at most {MAX_TRIGGERS}",
            items.len()
        );
        problems.error(node.position, path, message);
        return None;
    }
    let mut names: Vec<String> = Vec::new();
    let mut triggers = Vec::new();
    for (path, item) in items {
        triggers.push(read_trigger(
            item, &path, namespace, resolution, &mut names, problems,
        ));
    }
    triggers.into_iter().collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    SqsQueue,
    Cron,
    CloudWatch,
}

const KINDS: [(&str, Kind); 3] = [
    ("aws-sqs-queue", Kind::SqsQueue),
    ("cron", Kind::Cron),
    ("aws-cloudwatch", Kind::CloudWatch),
];

impl Kind {
    /// What its metadata must have at least.
    fn needed(self) -> &'static str {
        match self {
            Self::SqsQueue => "a mapping with at least `queueURL` and `awsRegion`",
            Self::Cron => "a mapping with `timezone`, `start`, `end` and `desiredReplicas`",
            Self::CloudWatch => {
                "a mapping with at least a metric, `targetMetricValue`, `minMetricValue` and `awsRegion`"
            }
        }
    }
}

/// What is none of these stays with KEDA, unless it is one of them, misspelt.
fn trigger_kind(node: &Node, path: &str, problems: &mut Problems) -> Option<Kind> {
    let mut told = Problems::default();
    let kind = fields::one_of(node, path, &KINDS, &mut told);
    for mut problem in told.list {
        if !problem.message.contains("did you mean") {
            problem.message += "; an object with another trigger stays with KEDA";
        }
        problems.list.push(problem);
    }
    kind
}

fn read_trigger(
    node: &Node,
    path: &str,
    namespace: &str,
    resolution: Resolution<'_>,
    names: &mut Vec<String>,
    problems: &mut Problems,
) -> Option<Trigger> {
    let mut fields = Fields::of(node, path, problems)?;
    let allowed = "aws-sqs-queue, cron or aws-cloudwatch";
    let Some(kind) = fields.require("type", allowed, problems) else {
        for key in [
            "name",
            "metricType",
            "useCachedMetrics",
            "metadata",
            "authenticationRef",
        ] {
            fields.take(key);
        }
        fields.finish(problems);
        return None;
    };
    let kind = trigger_kind(kind, &fields.path("type"), problems)?;
    let name = given(&mut fields, "name");
    let path_of_name = fields.path("name");
    if let Some(name) = name.and_then(|node| fields::text(node, &path_of_name, problems)) {
        if names.contains(&name) {
            problems.error(
                node.position,
                &fields.path("name"),
                format!("a second trigger named {}, allowed: one", quoted(&name)),
            );
        }
        names.push(name);
    }
    if let Some(kind) = given(&mut fields, "metricType")
        && kind.as_text().map(str::trim) != Some("AverageValue")
    {
        // `Value` divides by the number of ready pods, which is not to be had from outside.
        problems.found(kind, &fields.path("metricType"), "AverageValue");
    }
    // Every value is read once a pass and used for everything, so the field changes nothing.
    let cached = fields.take("useCachedMetrics");
    let is_cached =
        cached.and_then(|node| fields::boolean(node, &fields.path("useCachedMetrics"), problems));
    if let (Some(node), Some(true), Kind::Cron) = (cached, is_cached, kind) {
        let message = "found `true`, allowed: false: a cron trigger has no metric to keep, and KEDA refuses it, too";
        problems.error(node.position, &fields.path("useCachedMetrics"), message);
    }
    let Some(metadata_node) = fields.require("metadata", kind.needed(), problems) else {
        fields.take("authenticationRef");
        fields.finish(problems);
        return None;
    };
    let mut metadata = Fields::of(metadata_node, &fields.path("metadata"), problems)?;
    let trigger = match kind {
        Kind::SqsQueue => sqs::read(&mut fields, &mut metadata, namespace, resolution, problems)
            .map(Trigger::SqsQueue),
        Kind::Cron => cron::read(&mut fields, &mut metadata, problems).map(Trigger::Cron),
        Kind::CloudWatch => {
            cloudwatch::read(&mut fields, &mut metadata, namespace, resolution, problems)
                .map(Trigger::CloudWatch)
        }
    };
    let outside = ["authenticationRef", "metricType", "useCachedMetrics"];
    metadata.refuse(
        &outside,
        "a field of the trigger, allowed: beside `metadata`, one level up",
        problems,
    );
    metadata.finish(problems);
    fields.finish(problems);
    trigger
}

/// What was found is wrong, and was reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Refused;

/// KEDA counts a blank value as absent.
fn given<'a>(metadata: &mut Fields<'a>, key: &'static str) -> Option<&'a Node> {
    metadata
        .take(key)
        .filter(|node| node.as_text().is_none_or(|text| !text.trim().is_empty()))
}

/// The value of a key that must be there, and not blank.
fn needed<'a>(
    metadata: &mut Fields<'a>,
    key: &'static str,
    allowed: &str,
    problems: &mut Problems,
) -> Option<&'a Node> {
    let found = given(metadata, key);
    if found.is_none() {
        let message = format!("{MISSING}{allowed}");
        problems.error(metadata.position(), &metadata.path(key), message);
    }
    found
}

fn switch(
    metadata: &mut Fields<'_>,
    key: &'static str,
    default: bool,
    problems: &mut Problems,
) -> Option<bool> {
    match given(metadata, key) {
        Some(node) => fields::boolean(node, &metadata.path(key), problems),
        None => Some(default),
    }
}
