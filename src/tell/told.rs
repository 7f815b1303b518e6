//! What was told, kept while the environment is warm. What is new to a new environment is told once more.

use std::cell::RefCell;
use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value as Json;

use super::Key;

/// A trouble that comes and goes is told again only after so many minutes.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// Different troubles of one target that are told within that time. Whoever has more of them knows already.
const MAX_TROUBLES: usize = 4;

/// What was told of all targets.
#[derive(Debug, Default)]
pub struct Told {
    pub(super) troubles: Troubles,
    pub(super) unkept: Unkept,
}

#[derive(Debug, Default)]
pub(super) struct Troubles(RefCell<HashMap<Key, TroublesOfTarget>>);

#[derive(Debug, Default)]
struct TroublesOfTarget {
    /// The trouble of the last pass, if it was told.
    lasts: Option<String>,
    /// What was tried of late.
    tried: Vec<Tried>,
}

#[derive(Debug)]
struct Tried {
    reason: String,
    at: Timestamp,
    is_told: bool,
}

impl Troubles {
    /// Whether a target's trouble of now, if there is one, is to be told: it was not there a pass ago, nor tried of late.
    /// One that is not tried after all stays new.
    pub(super) fn is_new(&self, key: &Key, reason: Option<&str>, now: Timestamp) -> bool {
        let mut known = self.0.borrow_mut();
        let Some(reason) = reason else {
            if let Some(target) = known.get_mut(key) {
                target.lasts = None;
            }
            return false;
        };
        let Some(target) = known.get_mut(key) else {
            return true;
        };
        target
            .tried
            .retain(|tried| now.duration_since(tried.at) < AGAIN_AFTER);
        if let Some(tried) = target.tried.iter().find(|tried| tried.reason == reason) {
            target.lasts = tried.is_told.then(|| reason.to_owned());
            return false;
        }
        if target.lasts.as_deref() == Some(reason) {
            return false;
        }
        target.lasts = None;
        target.tried.len() < MAX_TROUBLES
    }

    /// It was told, or not: a server that refuses it is not asked at each poll.
    pub(super) fn tried(&self, key: Key, reason: &str, now: Timestamp, is_told: bool) {
        let mut known = self.0.borrow_mut();
        let target = known.entry(key).or_default();
        target.lasts = is_told.then(|| reason.to_owned());
        target.tried.push(Tried {
            reason: reason.to_owned(),
            at: now,
            is_told,
        });
    }
}

/// Statuses that a server did not keep as they were sent: its definition of the kind lacks some of their fields, and whoever
/// sends them again only changes nothing again.
#[derive(Debug, Default)]
pub(super) struct Unkept(RefCell<HashMap<Key, Sent>>);

#[derive(Debug)]
struct Sent {
    onto: Json,
    status: Json,
}

impl Unkept {
    /// Whether this status, sent onto that one, is known to change nothing.
    pub(super) fn is_vain(&self, key: &Key, onto: &Json, status: &Json) -> bool {
        let known = self.0.borrow();
        let sent = known.get(key);
        sent.is_some_and(|sent| sent.onto == *onto && sent.status == *status)
    }

    /// It changed nothing. Whether it is the first of its cluster.
    pub(super) fn add(&self, key: Key, onto: Json, status: Json) -> bool {
        let mut known = self.0.borrow_mut();
        let is_first = !known.keys().any(|(cluster, _)| *cluster == key.0);
        known.insert(key, Sent { onto, status });
        is_first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::TargetId;

    fn key(cluster: &str) -> Key {
        let id = TargetId {
            namespace: "a".to_owned(),
            name: "b".to_owned(),
        };
        (cluster.to_owned(), id)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    /// The seconds at which these troubles are told.
    fn told(
        troubles: &Troubles,
        passes: impl IntoIterator<Item = (i64, Option<&'static str>)>,
    ) -> Vec<i64> {
        let mut told = Vec::new();
        for (seconds, reason) in passes {
            if troubles.is_new(&key("demo"), reason, at(seconds)) {
                told.push(seconds);
                troubles.tried(key("demo"), reason.unwrap(), at(seconds), true);
            }
        }
        told
    }

    #[test]
    fn a_trouble_is_new_when_it_begins_and_not_of_late() {
        let troubles = Troubles::default();
        let denied = Some("AccessDenied");
        let passes = [
            (0, None),
            (60, denied),
            (120, denied),
            // However long it lasts.
            (9_000, denied),
            (9_060, None),
            (9_120, denied),
            (9_180, None),
            (9_240, denied),
            (9_300, None),
            (9_720, denied),
            (9_780, Some("Contested")),
            (9_840, Some("Contested")),
        ];
        assert_eq!(told(&troubles, passes), [60, 9_120, 9_720, 9_780]);
        assert!(troubles.is_new(&key("other"), Some("Contested"), at(9_900)));
    }

    #[test]
    fn troubles_that_alternate_are_told_once_in_ten_minutes_each() {
        let two = ["Timeout", "ConnectionFailed"];
        let polls = (0..240).map(|poll| (poll * 5, Some(two[usize::try_from(poll).unwrap() % 2])));
        assert_eq!(told(&Troubles::default(), polls), [0, 5, 600, 605]);
        // However many they are.
        let many = ["A", "B", "C", "D", "E", "F", "G"];
        let polls = (0..240).map(|poll| (poll * 5, Some(many[usize::try_from(poll).unwrap() % 7])));
        let told = told(&Troubles::default(), polls);
        assert_eq!(told.len(), 2 * MAX_TROUBLES, "{told:?}");
        assert_eq!(told[..4], [0, 5, 10, 15]);
    }

    #[test]
    fn what_was_not_told_is_new_until_it_is() {
        let troubles = Troubles::default();
        for seconds in [0, 60] {
            assert!(troubles.is_new(&key("demo"), Some("Timeout"), at(seconds)));
        }
        assert_eq!(
            told(&troubles, [(120, Some("Timeout")), (180, Some("Timeout"))]),
            [120]
        );
        // Five in a row, the last of which lasts.
        let five = [
            (240, "A"),
            (300, "B"),
            (360, "C"),
            (420, "D"),
            (660, "D"),
            (720, "D"),
            (1_440, "D"),
        ];
        let five = five.map(|(seconds, reason)| (seconds, Some(reason)));
        assert_eq!(told(&troubles, five), [240, 300, 360, 720]);
    }

    #[test]
    fn what_could_not_be_told_is_tried_again_after_ten_minutes_also_when_it_lasts() {
        let troubles = Troubles::default();
        let mut tries = Vec::new();
        for seconds in (0..1_800).step_by(5) {
            if troubles.is_new(&key("demo"), Some("Timeout"), at(seconds)) {
                tries.push(seconds);
                troubles.tried(key("demo"), "Timeout", at(seconds), seconds > 0);
            }
        }
        assert_eq!(tries, [0, 600], "the second time it was told, and lasts");
    }

    #[test]
    fn the_same_status_is_vain_until_something_changes() {
        let unkept = Unkept::default();
        let (old, new) = (Json::from("old"), Json::from("new"));
        assert!(!unkept.is_vain(&key("demo"), &old, &new));
        assert!(unkept.add(key("demo"), old.clone(), new.clone()));
        assert!(!unkept.add(key("demo"), old.clone(), new.clone()));
        assert!(unkept.is_vain(&key("demo"), &old, &new));
        assert!(!unkept.is_vain(&key("demo"), &new, &old));
        assert!(!unkept.is_vain(&key("other"), &old, &new));
        assert!(unkept.add(key("other"), old, new));
    }
}
