//! The emergency stop: keys that people write into the ConfigMap, read in every pass anyway and never written by the function.
//!
//! `kubectl patch cm outrigger --type merge -p '{"data":{"pause":"*"}}'` stops scaling at the next pass, without a deployment.
//!
//! A text is cut into words by `words`, and `forms` lists every word that stops a target. Both the stop itself and the
//! warnings of [`mistakes()`] ask these two and nothing else, so that they cannot disagree.

mod mistakes;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::decide::Stop;
use crate::manifest::{Target, WorkloadRef};
use crate::ports::Namespace;

pub use mistakes::{MAX_MISTAKES, mistakes};

/// Stops everything that its lines name.
pub const PAUSE: &str = "pause";
/// Stops the scale-in of what its lines name.
pub const PAUSE_SCALE_IN: &str = "pause-scale-in";

/// The stops that were last read, kept while the environment is warm: a ConfigMap that cannot be read lifts none.
#[derive(Debug, Default)]
pub struct LastStops(RefCell<BTreeMap<Namespace, Switches>>);

/// The two keys of one namespace.
#[derive(Debug, Default)]
struct Switches {
    all: Switch,
    scale_in: Switch,
}

/// One key: its text, cut into words once and not for each target.
#[derive(Debug, Default)]
struct Switch {
    text: String,
    words: BTreeSet<String>,
}

/// The workloads of all targets of a function, by namespace.
#[derive(Debug, Default)]
pub struct Known(BTreeMap<Namespace, Vec<WorkloadRef>>);

impl Known {
    /// Those of a configuration, where a target that names no cluster is in the default one.
    #[must_use]
    pub fn of(targets: &[Target], default_cluster: &str) -> Self {
        let mut known: BTreeMap<Namespace, Vec<WorkloadRef>> = BTreeMap::new();
        for target in targets {
            let cluster = target.cluster.as_deref().unwrap_or(default_cluster);
            let namespace = Namespace {
                cluster: cluster.to_owned(),
                name: target.id.namespace.clone(),
            };
            let workloads = known.entry(namespace).or_default();
            workloads.push(target.workload.clone());
        }
        Self(known)
    }

    /// What people typed into the ConfigMap of a namespace that has no effect there.
    #[must_use]
    pub fn mistakes(&self, namespace: &Namespace, keys: &BTreeMap<String, String>) -> Vec<String> {
        let workloads = self.0.get(namespace).into_iter().flatten();
        mistakes(keys, &namespace.name, &workloads.collect::<Vec<_>>())
    }
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
        let mut last = self.0.borrow_mut();
        if let Some(keys) = keys {
            if !last.contains_key(namespace) {
                last.insert(namespace.clone(), Switches::default());
            }
            if let Some(switches) = last.get_mut(namespace) {
                switches.all.update(keys.get(PAUSE));
                switches.scale_in.update(keys.get(PAUSE_SCALE_IN));
            }
        }
        let Some(Switches { all, scale_in }) = last.get(namespace) else {
            return Stop::default();
        };
        let forms = forms(&namespace.name, target);
        Stop {
            all: all.has_any(&forms),
            scale_in: scale_in.has_any(&forms),
        }
    }
}

impl Switch {
    fn update(&mut self, text: Option<&String>) {
        let text = text.map_or("", String::as_str);
        if self.text != text {
            text.clone_into(&mut self.text);
            self.words = words(text).map(str::to_ascii_lowercase).collect();
        }
    }

    fn has_any(&self, forms: &[String]) -> bool {
        forms.iter().any(|form| self.words.contains(form))
    }
}

/// What also means everything: in a hurry people write what KEDA's annotations take.
const EVERYTHING: [&str; 5] = ["*", "all", "true", "yes", "on"];

/// What may stand between the kind and the name of a workload.
const SEPARATORS: [char; 2] = ['.', '/'];

/// The words of a text as they were typed: several stand on lines of their own or with commas or spaces between them, also in
/// quotes. Upper case does not matter to any of them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|separator: char| separator == ',' || separator.is_whitespace())
        .map(|word| word.trim_matches(['"', '\'']))
        .filter(|word| !word.is_empty())
}

/// Every word that stops a target, in lower case: its key such as `rollout.worker`, and what people write for it: also
/// `rollout/worker`, `rollouts.worker`, `rollout.*`, its name alone or behind its namespace. None for what is no state key.
fn forms(namespace: &str, target: &str) -> Vec<String> {
    let Some((kind, name)) = target.split_once('.') else {
        return Vec::new();
    };
    let mut forms: Vec<String> = EVERYTHING.iter().map(|word| (*word).to_owned()).collect();
    forms.push(name.to_owned());
    let plural = format!("{kind}s");
    for before in [kind, &plural, &namespace.to_ascii_lowercase()] {
        for separator in SEPARATORS {
            for after in [name, "*"] {
                forms.push(format!("{before}{separator}{after}"));
            }
        }
    }
    forms
}
