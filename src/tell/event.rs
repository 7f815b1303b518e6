//! Events about a workload, from what a pass came to.

use jiff::Timestamp;

use super::Live;
use super::brief::shortened;
use crate::decide::{Decision, Reason};
use crate::pass::{Decided, Effect};
use crate::ports::{Event, FaultKind};

/// Bytes of a message. `events.k8s.io` takes no more, and both APIs show the same objects.
/// <https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/events.go>
const MAX_MESSAGE: usize = 1024;

/// The Event of a count that was written: why, in the words of the decision.
pub(super) fn scaled(live: Live<'_, '_>, now: Timestamp) -> Option<Event> {
    if live.0.effect != Effect::Scaled {
        return None;
    }
    let Decided { decision, .. } = live.0.decided.as_ref()?;
    let Decision {
        from,
        to,
        reason,
        explanation,
        ..
    } = decision;
    let action = if to > from { "ScaleOut" } else { "ScaleIn" };
    let draft = Draft {
        suffix: 's',
        warning: false,
        reason: reason.name(),
        action,
        message: explanation,
    };
    draft.about(live, now)
}

/// The Event of what a person should look at. What is out of time is about the invocation, and not about the workload.
pub(super) fn trouble(live: Live<'_, '_>, now: Timestamp) -> Option<Event> {
    let outcome = live.0;
    let decision = outcome.decided.as_ref().map(|decided| &decided.decision);
    let owned = decision.filter(|decision| decision.reason == Reason::OtherOwner);
    let mut faults = outcome
        .faults
        .iter()
        .filter(|fault| fault.kind != FaultKind::OutOfTime);
    let (reason, message) = match (faults.next(), owned) {
        (Some(fault), _) => (fault.code.as_str(), fault.message.as_str()),
        (None, Some(decision)) => (decision.reason.name(), decision.explanation.as_str()),
        (None, None) => return None,
    };
    let draft = Draft {
        suffix: 't',
        warning: true,
        reason,
        action: "Hold",
        message,
    };
    draft.about(live, now)
}

struct Draft<'a> {
    /// Of the name, since both may be told of one pass.
    suffix: char,
    warning: bool,
    reason: &'a str,
    action: &'static str,
    message: &'a str,
}

impl Draft<'_> {
    /// Two Events may be of one second, but then the workload has changed in between, or another thing is told.
    fn key(&self, version: &str, now: Timestamp) -> String {
        let plain = |text: &str| {
            let plain = text.chars().filter(char::is_ascii_alphanumeric);
            plain.take(40).collect::<String>().to_ascii_lowercase()
        };
        let (version, reason) = (plain(version), plain(self.reason));
        format!("{:x}-{version}-{reason}-{}", now.as_second(), self.suffix)
    }

    /// `None` where the workload was not seen: an Event is about an object with a uid.
    fn about(self, live: Live<'_, '_>, now: Timestamp) -> Option<Event> {
        let seen = live.0.seen.as_ref()?;
        Some(Event {
            key: self.key(&seen.version, now),
            at: now,
            warning: self.warning,
            reason: self.reason.to_owned(),
            action: self.action,
            message: shortened(self.message, MAX_MESSAGE),
            uid: seen.uid.clone(),
            version: seen.version.clone(),
        })
    }
}
