//! The emergency stop: keys that people write into the ConfigMap, read in every pass anyway and never written by the function.
//!
//! `kubectl patch cm outrigger --type merge -p '{"data":{"pause":"*"}}'` stops scaling at the next pass, without a deployment.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::decide::Stop;
use crate::ports::Namespace;

/// Stops everything that its lines name.
pub const PAUSE: &str = "pause";
/// Stops the scale-in of what its lines name.
pub const PAUSE_SCALE_IN: &str = "pause-scale-in";

/// The stops that were last read, kept while the environment is warm: a ConfigMap that cannot be read lifts none.
#[derive(Debug, Default)]
pub struct LastStops(RefCell<BTreeMap<Namespace, Lines>>);

/// The text of the two keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Lines {
    all: String,
    scale_in: String,
}

impl LastStops {
    /// The stop of one target, by its state key: from what was read now, else from what was read last.
    #[must_use]
    pub fn of(
        &self,
        namespace: &Namespace,
        keys: Option<&BTreeMap<String, String>>,
        target: &str,
    ) -> Stop {
        let text =
            |keys: &BTreeMap<String, String>, key| keys.get(key).cloned().unwrap_or_default();
        let mut last = self.0.borrow_mut();
        if let Some(keys) = keys {
            let lines = Lines {
                all: text(keys, PAUSE),
                scale_in: text(keys, PAUSE_SCALE_IN),
            };
            if last.get(namespace) != Some(&lines) {
                last.insert(namespace.clone(), lines);
            }
        }
        let Some(Lines { all, scale_in }) = last.get(namespace) else {
            return Stop::default();
        };
        Stop {
            all: names(all, &namespace.name, target),
            scale_in: names(scale_in, &namespace.name, target),
        }
    }
}

/// What also means everything: whoever stops something in a hurry writes what KEDA's annotations take.
const EVERYTHING: [&str; 5] = ["*", "all", "true", "yes", "on"];

/// Whether the text names a target by its key, such as `rollout.worker`, in a form that people write: also as `rollout/worker`,
/// `rollouts.worker`, `rollout.*`, by its name alone or behind its namespace, in quotes, and several with commas or spaces between
/// them. Upper case does not matter.
fn names(text: &str, namespace: &str, target: &str) -> bool {
    let Some((kind, name)) = target.split_once('.') else {
        return false;
    };
    text.split(|separator: char| separator == ',' || separator.is_whitespace())
        .map(|word| word.trim_matches(['"', '\'']).to_ascii_lowercase())
        .any(|word| {
            let (before, after) = word.split_once(['/', '.']).unwrap_or((kind, &word));
            let is_of_it = before == kind
                || before.strip_suffix('s') == Some(kind)
                || before.eq_ignore_ascii_case(namespace);
            EVERYTHING.contains(&word.as_str())
                || word == name
                || is_of_it && (after == name || after == "*")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn lines_name_targets() {
        let (stops, namespace) = (
            LastStops::default(),
            Namespace {
                cluster: "prod".into(),
                name: "shop".into(),
            },
        );
        let of = |pairs: &[(&str, &str)], target| stops.of(&namespace, Some(&keys(pairs)), target);
        let (all, scale_in) = (
            Stop {
                all: true,
                scale_in: false,
            },
            Stop {
                all: false,
                scale_in: true,
            },
        );
        assert_eq!(of(&[], "rollout.worker"), Stop::default());
        assert_eq!(of(&[("pause", "*")], "rollout.worker"), all);
        assert_eq!(
            of(
                &[("pause", "rollout.a\n Rollout.Worker \r\n")],
                "rollout.worker"
            ),
            all
        );
        assert_eq!(
            of(&[("pause", "rollout.work")], "rollout.worker"),
            Stop::default()
        );
        assert_eq!(
            of(&[("pause-scale-in", "rollout.worker")], "rollout.worker"),
            scale_in
        );
        for text in [
            "true",
            "ALL",
            "\"*\"",
            "worker",
            "shop/worker",
            "rollout/worker",
            "rollouts.worker",
            "Rollout.*",
            "rollout.a, rollout.worker",
            "rollout.a rollout.worker",
        ] {
            assert_eq!(of(&[("pause", text)], "rollout.worker"), all, "{text}");
        }
        for text in [
            "",
            ",",
            "false",
            "other/worker",
            "deployment.worker",
            "rollout.worker.1",
            "deployment.*",
            "work",
        ] {
            assert_eq!(
                of(&[("pause", text)], "rollout.worker"),
                Stop::default(),
                "{text}"
            );
        }
        // A name may have dots.
        assert_eq!(of(&[("pause", "my.worker")], "rollout.my.worker"), all);
    }

    #[test]
    fn what_cannot_be_read_lifts_no_stop() {
        let (stops, namespace) = (
            LastStops::default(),
            Namespace {
                cluster: "prod".into(),
                name: "shop".into(),
            },
        );
        assert_eq!(
            stops.of(&namespace, None, "rollout.worker"),
            Stop::default()
        );
        assert!(
            stops
                .of(&namespace, Some(&keys(&[("pause", "*")])), "rollout.worker")
                .all
        );
        assert!(stops.of(&namespace, None, "rollout.worker").all);
        assert!(!stops.of(&namespace, Some(&keys(&[])), "rollout.worker").all);
        assert!(!stops.of(&namespace, None, "rollout.worker").all);
    }
}
