//! Rule 9: what the state of a Rollout does not allow.

use super::observation::Rollout;
use super::{Limit, Reason, Running};
use crate::policy::Policy;

/// The last rule: nothing runs after it.
pub(super) fn gate(running: &mut Running, policy: &Policy, rollout: Option<Rollout>, current: u32) {
    let Some(Rollout {
        paused,
        aborted,
        updating,
        pause_step,
        handover,
    }) = rollout
    else {
        return;
    };
    if running.count == current {
        return;
    }
    if paused {
        running.limit(current, Reason::RolloutPaused, Limit::Rollout);
    } else if aborted && running.count < current {
        running.limit(current, Reason::RolloutAborted, Limit::Rollout);
    } else if pause_step {
        // Scaling works as usual at a pause step, but at zero the step could be passed with no pod ever started.
        if running.count == 0 {
            running.limit(
                policy.bounds.active_min().min(current),
                Reason::RolloutPauseStep,
                Limit::Rollout,
            );
        }
    } else if updating && running.count < current {
        running.limit(current, Reason::RolloutUpdating, Limit::Rollout);
    } else if handover && running.count < current {
        // Each scale-out after a scale-in would start pods of the Deployment once more.
        running.limit(current, Reason::RolloutHandover, Limit::Rollout);
    }
}
