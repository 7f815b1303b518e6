//! Rule 1: a workload that another autoscaler owns is left to it.
//!
//! Nobody looks for owners while nothing is to be written, so that a decision without findings only means that none are
//! known. What was found is remembered: from then on every pass looks, until nobody is found any more. The
//! count that the owner leaves is then held for a whole window.

use jiff::Timestamp;

use super::demand::Range;
use super::{Limit, Reason, Running, activity};
use crate::owners::{self, Conflict, STALE};
use crate::policy::{Mode, Policy};
use crate::state::State;

/// Whether another autoscaler owns the workload.
pub(super) fn is_owned(conflicts: &[Conflict]) -> bool {
    owners::found(conflicts).next().is_some()
}

/// Enters whether there is another owner. In a pause nobody has looked, and an error says nothing either way.
pub(super) fn remember(memory: &mut State, conflicts: &[Conflict], is_paused: bool) {
    if is_owned(conflicts) {
        memory.other_owner = true;
        // Whoever changed the count has been found.
        memory.foreign_writes.clear();
    } else if !is_paused && error(conflicts).is_none() {
        memory.other_owner = false;
    }
}

/// The last count of an owner that may be gone is kept as one that is wanted now, for a whole window, and as active until now, for
/// a whole cooldown.
pub(super) fn keep(memory: &mut State, range: Option<&mut Range>, current: u32, now: Timestamp) {
    activity::forget(memory);
    if !memory.other_owner {
        memory.last_active = Some(now);
    }
    if let Some(range) = range {
        range.scale_in = range.scale_in.max(current);
    }
}

/// While nobody knows who owns the workload, nothing is scaled in: the owner may be about to scale out. Nor while nobody knows
/// what its ScaledObject says by now.
pub(super) fn limit(running: &mut Running, conflicts: &[Conflict], current: u32) {
    if running.count < current && error(conflicts).is_some() {
        running.limit(current, Reason::OwnersUnknown, Limit::OwnersUnknown);
    }
}

/// The owner, and how to take the workload over.
pub(super) fn explain(policy: &Policy, conflicts: &[Conflict]) -> String {
    owners::explain(&policy.namespace, conflicts)
}

/// What is not known, so that nothing is scaled in.
pub(super) fn unknown(conflicts: &[Conflict]) -> String {
    match error(conflicts) {
        Some(STALE) => format!("its ScaledObject was read before and cannot be read now ({STALE})"),
        error => format!(
            "whether another autoscaler owns it could not be found out ({})",
            error.unwrap_or("Unknown")
        ),
    }
}

/// Why nobody knows.
pub(super) fn error(conflicts: &[Conflict]) -> Option<&str> {
    conflicts.iter().find_map(|conflict| match conflict {
        Conflict::Unknown { error } => Some(error.as_str()),
        Conflict::Autoscaler { .. } | Conflict::Finalizer { .. } => None,
    })
}

/// What does not decide: in shadow mode an owner, and in both what is left over of KEDA, with the command that removes it.
pub(super) fn warnings(policy: &Policy, conflicts: &[Conflict]) -> Vec<String> {
    let mut warnings = left_over(policy, conflicts);
    if policy.mode == Mode::Shadow && is_owned(conflicts) {
        let owner = explain(policy, conflicts);
        warnings.push(format!("live, this would hold: {owner}"));
    } else if policy.mode == Mode::Shadow && error(conflicts).is_some() {
        warnings.push(format!(
            "{}; live, this would not scale in",
            unknown(conflicts)
        ));
    }
    warnings
}

/// The command tests what it removes: the list may have changed.
fn left_over(policy: &Policy, conflicts: &[Conflict]) -> Vec<String> {
    let left = conflicts.iter().filter_map(|conflict| match conflict {
        Conflict::Finalizer {
            scaled_object,
            index,
        } => Some((scaled_object, index)),
        Conflict::Autoscaler { .. } | Conflict::Unknown { .. } => None,
    });
    let warning = |(name, index): (&String, &u32)| {
        let command = owners::without_finalizer(&policy.namespace, name, *index);
        format!(
            "ScaledObject {name} carries finalizer.keda.sh and has no HorizontalPodAutoscaler: if KEDA is gone, it can only be deleted \
             after {command}"
        )
    };
    left.map(warning).collect()
}

#[cfg(test)]
mod tests;
