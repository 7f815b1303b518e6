//! Who else scales a workload: what the autoscalers and ScaledObjects of a namespace say about one target.
//!
//! Two autoscalers on one count undo each other's work, so a workload that has another owner is left to it.
//!
//! - A `HorizontalPodAutoscaler` owns what it names by kind, name and API group; the version does not matter. One that cannot
//!   act at the moment, because its metrics fail or the count is zero, owns it all the same: it may act at any time.
//! - The exception is one that a person has frozen: both directions `Disabled`, and the counts before and after the change
//!   within its bounds, beyond which it would jump. One of KEDA's is no exception, since KEDA writes counts beside it.
//! - The annotation `validations.keda.sh/hpa-ownership: "false"` makes no difference: it asks KEDA's webhook to let a
//!   ScaledObject in beside the autoscaler, and stops neither of them from scaling.
//! - A ScaledObject owns nothing by itself. KEDA acts through an autoscaler; without one, KEDA is paused for it or not there.

use std::ops::RangeInclusive;

use crate::manifest::WorkloadRef;

/// Findings kept for one decision: more than a person acts on at once, and few enough for a log line.
pub const MAX_CONFLICTS: usize = 5;

/// What KEDA's operator puts on a ScaledObject, so that it is not overlooked when the object is deleted.
pub(crate) const FINALIZER: &str = "finalizer.keda.sh";

/// The error of a target that was read before and cannot be read now.
pub const STALE: &str = "ConfigurationStale";

/// What was found when other owners were looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// A `HorizontalPodAutoscaler` scales the workload.
    Autoscaler {
        /// Its name.
        name: String,
        /// KEDA's ScaledObject that it belongs to.
        scaled_object: Option<String>,
    },
    /// KEDA's finalizer is left on a ScaledObject without an autoscaler. It stands in nobody's way but its own deletion's.
    Finalizer {
        /// The ScaledObject.
        scaled_object: String,
        /// The finalizer's place in the list of finalizers.
        index: u32,
    },
    /// It could not be found out, or whether the target is still to be scaled so could not ([`STALE`]).
    Unknown {
        /// A short stable code, such as `Forbidden`.
        error: String,
    },
}

/// A `HorizontalPodAutoscaler`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Autoscaler {
    /// Its name.
    pub name: String,
    /// What it scales.
    pub target: TargetRef,
    /// The ScaledObject that owns it.
    pub scaled_object: Option<String>,
    /// KEDA's label is on it.
    pub is_labelled_keda: bool,
    /// Its bounds when both directions are disabled: within them it does nothing.
    pub frozen_within: Option<RangeInclusive<u32>>,
}

/// A ScaledObject in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaledObject {
    /// Its name.
    pub name: String,
    /// What it scales.
    pub target: TargetRef,
    /// KEDA is paused for it.
    pub is_paused: bool,
    /// Somebody has deleted it, and a finalizer keeps it.
    pub is_deleted: bool,
    /// Where KEDA's finalizer is in its list of finalizers.
    pub finalizer: Option<u32>,
}

/// What an autoscaler points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRef {
    /// The API group, without the version.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
}

impl TargetRef {
    /// From an `apiVersion` such as `apps/v1`.
    #[must_use]
    pub fn new(api_version: &str, kind: &str, name: &str) -> Self {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        Self {
            group: group.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Whether it points at this workload.
    pub(crate) fn is(&self, workload: &WorkloadRef) -> bool {
        let Self { group, kind, name } = self;
        group == workload.kind.group() && kind == workload.kind.kind() && *name == workload.name
    }
}

/// What the objects of its namespace mean for a workload whose count would go `from` one `to` another: owners first.
#[must_use]
pub fn conflicts(
    workload: &WorkloadRef,
    (from, to): (u32, u32),
    autoscalers: &[Autoscaler],
    scaled_objects: &[ScaledObject],
) -> Vec<Conflict> {
    let objects = || {
        scaled_objects
            .iter()
            .filter(|object| object.target.is(workload))
    };
    let autoscalers: Vec<&Autoscaler> = autoscalers
        .iter()
        .filter(|autoscaler| autoscaler.target.is(workload))
        .collect();
    let owners = autoscalers.iter().filter_map(|autoscaler| {
        let named = autoscaler.scaled_object.clone();
        let labelled = || {
            let object = objects().next().filter(|_| autoscaler.is_labelled_keda)?;
            Some(object.name.clone())
        };
        let scaled_object = named.or_else(labelled);
        let rests = |count| {
            let within = autoscaler.frozen_within.as_ref();
            within.is_some_and(|within| within.contains(&count))
        };
        let is_frozen = scaled_object.is_none() && rests(from) && rests(to);
        (!is_frozen).then(|| Conflict::Autoscaler {
            name: autoscaler.name.clone(),
            scaled_object,
        })
    });
    let has_autoscaler = |object: &ScaledObject| {
        autoscalers.iter().any(|autoscaler| {
            autoscaler.is_labelled_keda
                || autoscaler.scaled_object.as_deref() == Some(object.name.as_str())
        })
    };
    // Paused is how KEDA hands a workload over, and its finalizer then matters only to whoever deletes the object.
    let left = objects()
        .filter(|object| (!object.is_paused || object.is_deleted) && !has_autoscaler(object));
    let left = left.filter_map(|object| {
        Some(Conflict::Finalizer {
            scaled_object: object.name.clone(),
            index: object.finalizer?,
        })
    });
    owners.chain(left).take(MAX_CONFLICTS).collect()
}

/// The other autoscalers among findings, each with KEDA's ScaledObject that it belongs to.
pub(crate) fn found(conflicts: &[Conflict]) -> impl Iterator<Item = (&str, Option<&str>)> {
    conflicts.iter().filter_map(|conflict| match conflict {
        Conflict::Autoscaler {
            name,
            scaled_object,
        } => Some((name.as_str(), scaled_object.as_deref())),
        Conflict::Finalizer { .. } | Conflict::Unknown { .. } => None,
    })
}

/// The owner, and how to take the workload over. The count stays in each case.
pub(crate) fn explain(namespace: &str, conflicts: &[Conflict]) -> String {
    let mut owners = found(conflicts);
    let Some((name, scaled_object)) = owners.next() else {
        return "another autoscaler scales it".to_owned();
    };
    let more = match owners.count() {
        0 => String::new(),
        count => format!(" (and {count} more)"),
    };
    match scaled_object {
        None => format!(
            "HorizontalPodAutoscaler {name}{more} scales it; to hand over, with the count as it is: kubectl delete hpa {name} -n {namespace}"
        ),
        Some(object) => format!(
            "KEDA scales it by ScaledObject {object}, HorizontalPodAutoscaler {name}{more}; to hand over, with the count as it is: \
             kubectl annotate scaledobject {object} -n {namespace} autoscaling.keda.sh/paused=true, where KEDA is gone: \
             kubectl delete hpa {name} -n {namespace}"
        ),
    }
}

/// The command that takes KEDA's finalizer off a ScaledObject. It tests what it removes: the list may have changed.
pub(crate) fn without_finalizer(namespace: &str, name: &str, index: u32) -> String {
    let path = format!("/metadata/finalizers/{index}");
    format!(
        "kubectl patch scaledobject {name} -n {namespace} --type json -p \
         '[{{\"op\":\"test\",\"path\":\"{path}\",\"value\":\"{FINALIZER}\"}},{{\"op\":\"remove\",\"path\":\"{path}\"}}]'"
    )
}

#[cfg(test)]
mod tests;
