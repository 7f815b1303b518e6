//! The emergency stop: keys that people write into the ConfigMap, read in every pass anyway and never written by the function.
//!
//! `kubectl patch cm outrigger --type merge -p '{"data":{"pause":"*"}}'` stops scaling at the next pass, without a deployment.
//!
//! People write in a hurry, so a text is read generously: `words` cuts it, `is_list` says whether it is a list of names at all, and
//! `forms` lists every word that stops a target. A text that is no list stops everything: what else it was meant to stop is not known.
//! Both the stop itself and what [`mistakes()`] says ask these and nothing else, so that they cannot disagree.

mod mistakes;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::decide::Stop;
use crate::manifest::{Configuration, NotRun, WorkloadKind, WorkloadRef};
use crate::ports::{Fault, Namespace};

pub use mistakes::{MAX_MISTAKES, Mistake, mistakes};

/// Stops everything that its lines name.
pub const PAUSE: &str = "pause";
/// Stops the scale-in of what its lines name.
pub const PAUSE_SCALE_IN: &str = "pause-scale-in";

/// How long a namespace is held whose ConfigMap cannot be read and was never read: as long as rights take to come into force, or an
/// API server to come back. Longer would turn a missing right into a stop of its own, shorter would be over before a second try.
pub const UNREAD_HOLD: SignedDuration = SignedDuration::from_mins(5);

/// The code of what is not there.
const ABSENT: &str = "NotFound";

/// The stops that were last read, kept while the environment is warm: a ConfigMap that cannot be read lifts none.
///
/// One that is there, or may be, and that this environment could never read, may hold a stop: it counts as one for
/// [`UNREAD_HOLD`]. One that is absent holds none.
#[derive(Debug, Default)]
pub struct LastStops {
    read: RefCell<BTreeMap<Namespace, Switches>>,
    /// When the first read failed of a ConfigMap that was never read.
    unread_since: RefCell<BTreeMap<Namespace, Timestamp>>,
}

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
    /// Whether it stops everything in the namespace.
    everything: bool,
    /// As [`normal`] has them.
    words: BTreeSet<String>,
}

/// What a function has to do with, by namespace: what it scales, and what it would scale.
#[derive(Debug, Default)]
pub struct Known {
    targets: BTreeMap<Namespace, Vec<WorkloadRef>>,
    not_run: Vec<NotRun>,
}

impl Known {
    /// All of a configuration, where a target that names no cluster is in the default one.
    #[must_use]
    pub fn of(configuration: &Configuration, default_cluster: &str) -> Self {
        let mut targets: BTreeMap<Namespace, Vec<WorkloadRef>> = BTreeMap::new();
        for target in &configuration.targets {
            let cluster = target.cluster.as_deref().unwrap_or(default_cluster);
            let namespace = Namespace {
                cluster: cluster.to_owned(),
                name: target.id.namespace.clone(),
            };
            let workloads = targets.entry(namespace).or_default();
            workloads.push(target.workload.clone());
        }
        Self {
            targets,
            not_run: configuration.not_run.clone(),
        }
    }

    /// What people typed into the ConfigMap of a namespace that does not do there what it says.
    #[must_use]
    pub fn mistakes(&self, namespace: &Namespace, keys: &BTreeMap<String, String>) -> Vec<Mistake> {
        let here = Here::new(
            &namespace.name,
            self.targets.get(namespace).into_iter().flatten(),
            &self.not_run,
        );
        mistakes(keys, &here)
    }
}

/// What a function has to do with in one namespace.
#[derive(Debug, Clone)]
pub struct Here<'k> {
    namespace: &'k str,
    /// The workloads of *all* targets that the function has there, also of those that are not polled now or are in shadow mode.
    targets: Vec<&'k WorkloadRef>,
    /// The workloads of what is not run, which a person may name all the same. Which cluster they are in does not matter.
    not_run: Vec<&'k WorkloadRef>,
    /// Whether that is all: an object that cannot be read may be about any workload.
    is_whole: bool,
}

impl<'k> Here<'k> {
    /// Those of this namespace.
    pub fn new(
        namespace: &'k str,
        targets: impl IntoIterator<Item = &'k WorkloadRef>,
        not_run: &'k [NotRun],
    ) -> Self {
        let not_run = not_run.iter().filter(|not_run| {
            let found = not_run.namespace.as_deref();
            found.is_none_or(|found| found == namespace)
        });
        Self {
            namespace,
            targets: targets.into_iter().collect(),
            is_whole: { not_run.clone() }.all(|not_run| not_run.workload.is_some()),
            not_run: not_run
                .filter_map(|not_run| not_run.workload.as_ref())
                .collect(),
        }
    }
}

impl LastStops {
    /// The stop of one target: from what was read now, else from what was read last.
    #[must_use]
    pub fn of(
        &self,
        namespace: &Namespace,
        keys: Result<&BTreeMap<String, String>, &Fault>,
        workload: &WorkloadRef,
        now: Timestamp,
    ) -> Stop {
        let mut read = self.read.borrow_mut();
        if let Ok(keys) = keys {
            if !read.contains_key(namespace) {
                read.insert(namespace.clone(), Switches::default());
            }
            if let Some(switches) = read.get_mut(namespace) {
                switches.all.update(&namespace.name, keys.get(PAUSE));
                let scale_in = keys.get(PAUSE_SCALE_IN);
                switches.scale_in.update(&namespace.name, scale_in);
            }
        }
        let Some(Switches { all, scale_in }) = read.get(namespace) else {
            let may_be_there = keys.is_err_and(|fault| fault.code != ABSENT);
            return Stop {
                unread_until: may_be_there
                    .then(|| self.unread_until(namespace, now))
                    .flatten(),
                ..Stop::default()
            };
        };
        // Nearly always nothing is stopped, and nobody asks for the forms.
        let forms = if all.words.is_empty() && scale_in.words.is_empty() {
            Vec::new()
        } else {
            forms(&namespace.name, workload)
        };
        Stop {
            all: all.stops(&forms),
            scale_in: scale_in.stops(&forms),
            unread_until: None,
        }
    }

    /// Until when a ConfigMap that was never read counts as a stop; `None` when that is over.
    fn unread_until(&self, namespace: &Namespace, now: Timestamp) -> Option<Timestamp> {
        let mut since = self.unread_since.borrow_mut();
        let since = since.entry(namespace.clone()).or_insert(now);
        // Also where the clock was set back it ends so long from now at the latest.
        *since = (*since).min(now);
        let until = since.checked_add(UNREAD_HOLD).ok()?;
        (now < until).then_some(until)
    }
}

impl Switch {
    fn update(&mut self, namespace: &str, text: Option<&String>) {
        let text = text.map_or("", String::as_str);
        if self.text != text {
            text.clone_into(&mut self.text);
            self.words = words(text).map(normal).collect();
            let mut words = self.words.iter();
            self.everything = !is_list(text) || words.any(|word| is_everything(word, namespace));
        }
    }

    fn stops(&self, forms: &[String]) -> bool {
        self.everything || forms.iter().any(|form| self.words.contains(form))
    }
}

/// What means everything in the namespace, besides `*` and the namespace's own name. A workload that is called so is named with its kind.
const EVERYTHING: [&str; 13] = [
    "all",
    "true",
    "yes",
    "on",
    "1",
    "t",
    "y",
    "enabled",
    "everything",
    "pause",
    "paused",
    "stop",
    "stopped",
];

/// What is used for everything where one word is to be given.
const STAR: &str = "*";

/// What may stand between the parts of a name.
const SEPARATORS: [char; 2] = ['.', '/'];

/// What a word may be made of besides letters and digits.
const OF_WORDS: &str = "-._/*";

/// What cuts words in ASCII, besides white space. A `\` is half of the `\n` that a shell leaves as it is.
const BETWEEN_WORDS: &str = ",;[]()\"'`\\#";

/// Whether a character stands between words. Beyond ASCII that is all that is no letter or digit: the quotes, dashes and bullets
/// of word processors and chats, and what has no width.
fn is_between(char: char) -> bool {
    let is_other = !char.is_ascii() && !char.is_alphanumeric();
    is_other || char.is_whitespace() || char.is_control() || BETWEEN_WORDS.contains(char)
}

/// The lines of a text without comments: a comment begins with a `#` at the beginning of a line or after white space, as in YAML.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split(['\n', '\r']).map(|line| {
        let mut hashes = line.match_indices('#').map(|(index, _)| index);
        let comment = hashes.find(|index| {
            let before = line.get(..*index).unwrap_or_default();
            before.chars().next_back().is_none_or(char::is_whitespace)
        });
        comment.and_then(|index| line.get(..index)).unwrap_or(line)
    })
}

/// The words of a text as they were typed: several stand on lines of their own or with commas, semicolons or spaces between them,
/// also in brackets and quotes. What no name begins or ends with is cut off: the `-` of a list, the `.` of a sentence.
fn words(text: &str) -> impl Iterator<Item = &str> {
    lines(text)
        .flat_map(|line| line.split(is_between))
        .map(|word| word.trim_matches(['-', '.', '_', '/']))
        .filter(|word| !word.is_empty())
}

/// Whether a text is a list of names, right ones or wrong ones: a mapping, an expression or a variable that a shell has not replaced
/// has characters that are in no list.
fn is_list(text: &str) -> bool {
    let is_of_list =
        |char: char| char.is_alphanumeric() || is_between(char) || OF_WORDS.contains(char);
    lines(text).all(|line| line.chars().all(is_of_list))
}

/// A word as it is compared: upper case does not matter, nor which separator is used.
fn normal(word: &str) -> String {
    word.to_ascii_lowercase()
        .replace(SEPARATORS, &SEPARATORS[0].to_string())
}

/// Whether a word as it is compared stops everything in a namespace.
fn is_everything(word: &str, namespace: &str) -> bool {
    let is_stars = word.contains('*') && word.chars().all(|char| "*.".contains(char));
    let all_of = word.strip_suffix(".*").unwrap_or(word);
    is_stars || EVERYTHING.contains(&word) || all_of.eq_ignore_ascii_case(namespace)
}

/// Every word that stops a target and not everything, as it is compared: its name alone; and its name or `*` behind its kind, its
/// group, both, or the namespace, as `kubectl` and its outputs have them.
fn forms(namespace: &str, workload: &WorkloadRef) -> Vec<String> {
    let WorkloadRef { kind, name } = workload;
    let singular = kind.kind().to_ascii_lowercase();
    let (group, version) = (kind.group(), kind.version());
    let namespace = namespace.to_ascii_lowercase();
    let mut kinds = vec![singular.clone(), format!("{singular}s")];
    kinds.extend(kind.plural().map(str::to_owned));
    kinds.extend(short_name(kind).map(str::to_owned));
    let mut before: Vec<String> = Vec::new();
    for kind in &kinds {
        before.push(kind.clone());
        // `shop/rollout/worker`, `apps/v1/deployment/web`, `v1/replicationcontroller/web`
        before.push(format!("{namespace}.{kind}"));
        before.push(format!("{version}.{kind}"));
        if !group.is_empty() {
            before.push(format!("{group}.{kind}"));
            before.push(format!("{group}.{version}.{kind}"));
            // `rollouts.argoproj.io/worker`, `rollouts.v1alpha1.argoproj.io/worker`
            before.push(format!("{kind}.{group}"));
            before.push(format!("{kind}.{version}.{group}"));
            before.push(format!("{namespace}.{kind}.{group}"));
        }
    }
    if !group.is_empty() {
        before.push(group.to_owned());
        before.push(format!("{group}.{version}"));
    }
    let name = name.to_ascii_lowercase();
    // Behind the namespace a `*` is everything.
    let mut forms = vec![
        name.clone(),
        format!("{namespace}.{name}"),
        format!("{STAR}.{name}"),
    ];
    for before in before {
        forms.push(format!("{before}.{name}"));
        forms.push(format!("{before}.{STAR}"));
    }
    forms
}

/// What `kubectl` calls a kind for short.
fn short_name(kind: &WorkloadKind) -> Option<&'static str> {
    match (kind.group(), kind.kind()) {
        ("argoproj.io", "Rollout") => Some("ro"),
        ("apps", "Deployment") => Some("deploy"),
        ("apps", "StatefulSet") => Some("sts"),
        ("apps", "ReplicaSet") => Some("rs"),
        ("", "ReplicationController") => Some("rc"),
        _ => None,
    }
}
