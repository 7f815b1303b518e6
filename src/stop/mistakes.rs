//! What people typed into the ConfigMap that has no effect, in words that say how to put it right.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use super::{
    EVERYTHING, Here, PAUSE, PAUSE_SCALE_IN, SEPARATORS, STAR, forms, is_everything, is_list,
    normal, words,
};
use crate::document::quoted;
use crate::fields::{edits, is_dns_subdomain, is_near, nearest};
use crate::manifest::WorkloadRef;

/// The most mistakes of one ConfigMap that are named one by one; the others are counted.
pub const MAX_MISTAKES: usize = 10;

/// The key of the shipped ConfigMap that says what it is for.
const ABOUT: &str = "about";
/// The longest key that a command repeats; a longer one is removed in an editor.
const MAX_KEY_IN_COMMAND: usize = 80;
/// The most names that a suggested text holds; with more it is `*`, which stops no less.
const MAX_SUGGESTED_NAMES: usize = 5;
/// The most characters of such a text.
const MAX_SUGGESTED_TEXT: usize = 200;
/// The most workloads that are listed for a name that is near to none.
const MAX_LISTED: usize = 5;

/// The most parts of a word before the name of a workload: namespace, group, version and kind.
const MAX_PARTS: usize = 8;

/// How a key begins that asks for a stop.
const STOPPING: [&str; 8] = [
    "paus",
    "stop",
    "halt",
    "freez",
    "hold",
    "suspend",
    "disabl",
    "emergencystop",
];
/// What people write to end a stop.
const NEGATIONS: [&str; 10] = [
    "false", "no", "off", "none", "null", "nothing", "never", "0", "f", "n",
];
/// Something in the ConfigMap that does not do what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The sentence, which says how to put it right.
    pub text: String,
    /// Whether somebody who wants something stopped does not have that: the invocation then fails, so that its alarm fires.
    pub is_error: bool,
}

/// Everything in the ConfigMap `outrigger` of a namespace that people typed and that does not do what it says: keys that are neither
/// state nor a switch, words of a switch that stop no workload, and texts of a switch that are no list of names.
///
/// It is an error where somebody probably wants something stopped: a word that is no target's, a text that is no list, a key that is
/// misspelt. It is a warning where nobody does, or where that is not known: a key that is empty or says `false`, a note, a name
/// whose state is in the ConfigMap, since another function may scale it, and any name while some object cannot be read.
///
/// The order depends on the input alone: what looks like a switch first, then the switches, then other keys. After
/// [`MAX_MISTAKES`] the last entry is the number of the others.
#[must_use]
pub fn mistakes(keys: &BTreeMap<String, String>, here: &Here<'_>) -> Vec<Mistake> {
    let known = Known::new(here);
    let place = Place {
        keys,
        known: &known,
    };
    let strange: Vec<(Option<&'static str>, &str, &str)> = keys
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .filter(|(key, value)| !place.is_ours(key, value))
        .map(|(key, value)| (meant(key), key, value))
        .collect();
    let misspelt = strange.iter().filter_map(|&(switch, key, value)| {
        let switch = switch?;
        Some(Found::Switch { switch, key, value })
    });
    let idle = [PAUSE, PAUSE_SCALE_IN].into_iter().flat_map(|switch| {
        let text = keys.get(switch).map(String::as_str);
        text.into_iter()
            .flat_map(move |text| place.idle(switch, text))
    });
    let others = strange
        .iter()
        .filter(|(switch, ..)| switch.is_none())
        .map(|&(_, key, value)| Found::Key { key, value });
    let mut found = misspelt.chain(idle).chain(others);
    let mut mistakes: Vec<Mistake> = { found.by_ref().take(MAX_MISTAKES) }
        .map(|found| Mistake {
            text: place.tell(&found),
            is_error: place.is_error(&found),
        })
        .collect();
    let (mut more, mut is_error) = (0_usize, false);
    for found in found {
        more += 1;
        is_error = is_error || place.is_error(&found);
    }
    let map = place.map();
    let text = match more {
        0 => return mistakes,
        1 => format!("1 more key or name in {map} does not do what it says"),
        more => format!("{more} more keys or names in {map} do not do what they say"),
    };
    mistakes.push(Mistake { text, is_error });
    mistakes
}

/// One mistake. What is near is looked for only when it is put into words.
enum Found<'k> {
    /// A key that looks like a switch.
    Switch {
        switch: &'static str,
        key: &'k str,
        value: &'k str,
    },
    /// Another key.
    Key { key: &'k str, value: &'k str },
    /// A switch without a word.
    Empty { switch: &'static str },
    /// A text of a switch that is no list of names.
    NoList { switch: &'static str, text: &'k str },
    /// A word of a switch.
    Word { switch: &'static str, word: &'k str },
}

/// The workloads of a namespace.
struct Known<'k> {
    here: &'k Here<'k>,
    /// Their state keys.
    targets: BTreeSet<String>,
    /// The state keys of shadow mode.
    shadows: BTreeSet<String>,
    /// Every word that stops one of them and not everything; not needed while people have typed nothing.
    forms: OnceCell<BTreeSet<String>>,
    /// The same of what is not run.
    others: OnceCell<BTreeSet<String>>,
    /// The keys of the state of other workloads, by what they name.
    kept: OnceCell<BTreeMap<&'k str, &'k str>>,
}

impl<'k> Known<'k> {
    fn new(here: &'k Here<'k>) -> Self {
        let targets = || here.targets.iter();
        Self {
            here,
            targets: targets().map(|workload| workload.key()).collect(),
            shadows: targets().map(|workload| workload.shadow_key()).collect(),
            forms: OnceCell::new(),
            others: OnceCell::new(),
            kept: OnceCell::new(),
        }
    }

    fn namespace(&self) -> &'k str {
        self.here.namespace
    }

    /// Whether a word stops any of them.
    fn stops(&self, word: &str) -> bool {
        let word = normal(word);
        let of = |workload: &&WorkloadRef| forms(self.namespace(), workload);
        let forms = || self.here.targets.iter().flat_map(of).collect();
        let is_all = !self.targets.is_empty() && is_everything(&word, self.namespace());
        is_all || self.forms.get_or_init(forms).contains(&word)
    }

    /// Whether a word names the workload of an object that is not run, or everything where that is all there is.
    fn names_other(&self, word: &str) -> bool {
        let word = normal(word);
        let of = |workload: &&WorkloadRef| forms(self.namespace(), workload);
        let forms = || self.here.not_run.iter().flat_map(of).collect();
        let is_all = !self.here.not_run.is_empty() && is_everything(&word, self.namespace());
        is_all || self.others.get_or_init(forms).contains(&word)
    }

    /// The state of other workloads: its keys by what they name, also by the name alone.
    fn kept(&self, keys: &'k BTreeMap<String, String>) -> &BTreeMap<&'k str, &'k str> {
        let others = || {
            let is_ours = |key: &str| self.targets.contains(key) || self.shadows.contains(key);
            keys.iter()
                .filter(|(key, value)| !is_ours(key) && is_state(key, value))
                .flat_map(|(key, _)| {
                    let named = key.strip_prefix("shadow.").unwrap_or(key);
                    let name = named.split_once('.').map(|(_, name)| (name, key.as_str()));
                    [(named, key.as_str())].into_iter().chain(name)
                })
                .collect()
        };
        self.kept.get_or_init(others)
    }

    /// Kind and name of each.
    fn parts(&self) -> impl Iterator<Item = (&str, &str)> {
        let targets = self.targets.iter();
        targets.filter_map(|target| target.split_once('.'))
    }

    /// A word that stops something and that another one in lower case was perhaps meant to be.
    fn near(&self, word: &str) -> Option<String> {
        if self.targets.is_empty() {
            return None;
        }
        if let Some(before) = word.strip_suffix('*')
            && let Some(glob) = self.near_glob(before)
        {
            return Some(glob);
        }
        if let Some(target) = self.near_target(word) {
            return Some(target);
        }
        if let Some(glob) = self.near_glob(word) {
            return Some(glob);
        }
        let is_misspelt = |all: &&str| all.len() > 2 && is_near(word, all);
        let means_all = EVERYTHING.iter().any(is_misspelt);
        means_all.then(|| STAR.to_owned())
    }

    /// All of a kind, or of the namespace.
    fn near_glob(&self, before: &str) -> Option<String> {
        let before = before.trim_end_matches(|char: char| !char.is_alphanumeric());
        let mut valid: BTreeSet<&str> = self.parts().map(|(kind, _)| kind).collect();
        valid.insert(self.namespace());
        let valid: Vec<&str> = valid.into_iter().collect();
        let near = nearest(before, &valid)?;
        close(before, near).map(|_| format!("{near}.*"))
    }

    /// The workload with the nearest name, whatever stands before the name; of several the one with the nearest kind.
    fn near_target(&self, word: &str) -> Option<String> {
        let (before, after) = word.split_once(SEPARATORS).unwrap_or_default();
        let last = word.rsplit('/').next().unwrap_or_default();
        let near = self.parts().filter_map(|(kind, name)| {
            // `rollout-worker`, `rollout:worker`
            let rest = word.strip_prefix(kind).unwrap_or_default();
            let rest = rest.trim_start_matches(|char: char| !char.is_alphanumeric());
            let found = [word, after, last, rest].into_iter();
            let edits = found
                .filter_map(|found| Some((found != name, close(found, name)?)))
                .min()?;
            Some((edits, !is_near(before, kind), kind, name))
        });
        let (.., kind, name) = near.min()?;
        Some(format!("{kind}.{name}"))
    }
}

/// The edits between two near names that have a letter in common: a name of one letter is near to any other.
fn close(found: &str, valid: &str) -> Option<usize> {
    edits(found, valid).filter(|edits| *edits < found.len().max(valid.len()))
}

/// A ConfigMap and the workloads that are kept in it.
#[derive(Clone, Copy)]
struct Place<'k> {
    keys: &'k BTreeMap<String, String>,
    known: &'k Known<'k>,
}

impl<'k> Place<'k> {
    /// A switch, the shipped explanation, or state.
    fn is_ours(&self, key: &str, value: &str) -> bool {
        [PAUSE, PAUSE_SCALE_IN, ABOUT].contains(&key)
            || self.known.targets.contains(key)
            || self.known.shadows.contains(key)
            || is_state(key, value)
    }

    /// What is wrong with the text of a switch: that it is no list, or the words that stop nothing, each once.
    fn idle(self, switch: &'static str, text: &'k str) -> impl Iterator<Item = Found<'k>> {
        let is_list = is_list(text);
        let whole = if !is_list {
            Some(Found::NoList { switch, text })
        } else if words(text).next().is_none() {
            Some(Found::Empty { switch })
        } else {
            None
        };
        let mut seen = BTreeSet::new();
        let words = is_list.then(|| words(text)).into_iter().flatten();
        let idle = words.filter(move |word| {
            let is_known = self.known.stops(word) || self.known.names_other(word);
            !is_known && seen.insert(normal(word))
        });
        let idle = idle.map(move |word| Found::Word { switch, word });
        whole.into_iter().chain(idle)
    }

    /// Whether somebody probably wants something stopped that is not.
    fn is_error(&self, found: &Found<'_>) -> bool {
        match *found {
            Found::NoList { .. } => true,
            // What is beside a switch may be a note.
            Found::Switch { key, value, .. } => {
                let stops = |word| self.known.stops(word) || self.known.names_other(word);
                !self.asks_for_none(key, value) && (!is_list(value) || words(value).any(stops))
            }
            // `worker: stop`
            Found::Key { key, value } => {
                let is_all = |word| is_everything(&normal(word), self.known.namespace());
                self.known.stops(key) && words(value).any(is_all)
            }
            Found::Empty { .. } => false,
            Found::Word { word, .. } => {
                self.known.here.is_whole
                    && !self.is_negation(&word.to_ascii_lowercase())
                    && self.kept(word).is_none()
            }
        }
    }

    /// The key of a state that a word may mean: of a workload that another function scales, or that is gone.
    fn kept(&self, word: &str) -> Option<&'k str> {
        let word = normal(word);
        let behind = word.match_indices('.').take(MAX_PARTS);
        let behind = behind.filter_map(|(index, _)| word.get(index + 1..));
        let mut parts = std::iter::once(word.as_str()).chain(behind);
        parts.find_map(|part| self.known.kept(self.keys).get(part).copied())
    }

    fn tell(&self, found: &Found<'_>) -> String {
        match *found {
            Found::Switch { switch, key, value } => self.tell_switch(switch, key, value),
            Found::Key { key, value: _ } => self.tell_key(key),
            Found::Empty { switch } => format!(
                "the key {} is empty and stops nothing; `*` stops everything. {}",
                self.at(switch),
                self.removal(switch)
            ),
            Found::NoList { switch, text } => {
                let what = match switch {
                    PAUSE => "everything",
                    _ => "all scale-in",
                };
                format!(
                    "the key {} holds {}, which is no list of names, and so stops {what} in the namespace; write `*` for that, or names such as \
                     `{}`, and notes behind a `#`. This sets `*`: {}",
                    self.at(switch),
                    quoted(text),
                    self.known
                        .targets
                        .first()
                        .map_or("rollout.worker", String::as_str),
                    self.patch(&[(switch, Some(STAR))]),
                )
            }
            Found::Word { switch, word } => self.tell_word(switch, word),
        }
    }

    /// Whether a key that looks like a switch says that nothing is to be stopped.
    fn asks_for_none(&self, key: &str, value: &str) -> bool {
        asks_for_stop(&folded(key))
            && is_list(value)
            && words(value).next().is_some()
            && words(value).all(|word| self.is_negation(&word.to_ascii_lowercase()))
    }

    fn tell_switch(&self, switch: &'static str, key: &str, value: &str) -> String {
        if self.asks_for_none(key, value) {
            let value = quoted(value);
            return format!(
                "the key {} stops nothing, and {value} asks for no stop. {}",
                self.at(key),
                self.removal(key)
            );
        }
        let meaning = if is_scale_out(&folded(key)) {
            format!(": no key stops scale-out alone, `{switch}` stops both directions.")
        } else {
            format!(", did you mean `{switch}`?")
        };
        let text = self.text(switch, value);
        let way = self.replacement(key, switch, &text);
        format!("the key {} stops nothing{meaning} {way}", self.at(key))
    }

    fn tell_key(&self, key: &str) -> String {
        let word = key.to_ascii_lowercase();
        let named = if self.known.stops(&word) {
            Some(word)
        } else {
            self.known.near_target(&word)
        };
        let Some(named) = named else {
            return format!(
                "the key {} is neither state nor a switch and stops nothing; the switches are `{PAUSE}` and `{PAUSE_SCALE_IN}`. {}",
                self.at(key),
                self.removal(key)
            );
        };
        let text = self.text(PAUSE, &named);
        format!(
            "the key {} stops nothing: a workload is named in the text of `{PAUSE}`. {}",
            self.at(key),
            self.replacement(key, PAUSE, &text)
        )
    }

    fn tell_word(&self, switch: &'static str, word: &str) -> String {
        let start = format!(
            "{} in the key {} stops nothing",
            quoted(word),
            self.at(switch)
        );
        let word = word.to_ascii_lowercase();
        if self.is_negation(&word) {
            let command = self.patch(&[(switch, None)]);
            return format!("{start}; a stop ends when its key is deleted: {command}");
        }
        if let Some(key) = self.kept(&word) {
            return format!(
                "{start} of this function; {} holds the state of such a workload, which another function scales, or which is gone",
                self.at(key)
            );
        }
        if let Some(near) = self.known.near(&word) {
            return format!("{start}, did you mean `{near}`?");
        }
        let mut targets = self.known.targets.iter();
        let listed: Vec<String> = targets
            .by_ref()
            .take(MAX_LISTED)
            .map(|target| format!("`{target}`"))
            .collect();
        match (listed.is_empty(), targets.count()) {
            (true, _) => format!("{start}: no target is in that namespace"),
            (false, 0) => format!("{start}; the names there are {}", listed.join(", ")),
            (false, more) => format!(
                "{start}; the names there are {} and {more} more",
                listed.join(", ")
            ),
        }
    }

    /// What people write to end a stop, unless a workload is called so.
    fn is_negation(&self, word: &str) -> bool {
        NEGATIONS.contains(&word) && !self.known.stops(word)
    }

    /// A text for a switch that stops what another text was meant to stop, and what the switch stops already.
    fn text(&self, switch: &str, wanted: &str) -> String {
        // A name that stops nothing here is perhaps known to another function.
        let there = self.keys.get(switch).map_or("", String::as_str);
        if !is_list(there) || !is_list(wanted) {
            return STAR.to_owned();
        }
        let lower = |text: &str| -> Vec<String> {
            let lower = words(text).map(str::to_ascii_lowercase);
            lower.filter(|word| !self.is_negation(word)).collect()
        };
        let wanted: Vec<String> = lower(wanted)
            .into_iter()
            .filter_map(|word| {
                if self.known.stops(&word) {
                    Some(word)
                } else {
                    self.known.near(&word)
                }
            })
            .collect();
        let there = lower(there)
            .into_iter()
            .filter(|word| is_plain(word, "-./*"));
        let mut names: Vec<String> = Vec::new();
        for word in there.chain(wanted.iter().cloned()) {
            if !names.contains(&word) {
                names.push(word);
            }
            if names.len() > MAX_SUGGESTED_NAMES {
                return STAR.to_owned();
            }
        }
        let text = names.join(" ");
        let mut words = names.iter();
        let is_everything = words.any(|word| is_everything(&normal(word), self.known.namespace()));
        if wanted.is_empty() || is_everything || text.len() > MAX_SUGGESTED_TEXT {
            return STAR.to_owned();
        }
        text
    }

    /// How to set a switch and to remove the key that was typed instead.
    fn replacement(&self, key: &str, switch: &str, text: &str) -> String {
        if is_for_command(key) {
            let both = self.patch(&[(switch, Some(text)), (key, None)]);
            let removal = data(&[(key, None)]);
            format!("This sets `{switch}` and removes `{key}`: {both}; '{removal}' only removes it")
        } else {
            let set = self.patch(&[(switch, Some(text))]);
            let removal = self.removal(key);
            format!("This sets `{switch}`: {set}. {removal}")
        }
    }

    fn removal(&self, key: &str) -> String {
        if is_for_command(key) {
            format!("This removes it: {}", self.patch(&[(key, None)]))
        } else {
            let namespace = self.known.namespace();
            format!("This removes it, in an editor: kubectl edit cm outrigger -n {namespace}")
        }
    }

    fn patch(&self, pairs: &[(&str, Option<&str>)]) -> String {
        let namespace = self.known.namespace();
        let data = data(pairs);
        format!("kubectl patch cm outrigger -n {namespace} --type merge -p '{data}'")
    }

    fn at(&self, key: &str) -> String {
        format!("{} of {}", quoted(key), self.map())
    }

    fn map(&self) -> String {
        format!("the ConfigMap `{}/outrigger`", self.known.namespace())
    }
}

/// The body of a merge patch.
fn data(pairs: &[(&str, Option<&str>)]) -> Json {
    let pairs = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.map_or(Json::Null, Json::from)));
    let data: Map<String, Json> = pairs.collect();
    json!({"data": data})
}

/// Whether a key is like those of the API server, so that it needs no escape in a shell, and fits a command.
fn is_for_command(key: &str) -> bool {
    key.len() <= MAX_KEY_IN_COMMAND && is_plain(key, "-._")
}

fn is_plain(text: &str, others: &str) -> bool {
    text.chars()
        .all(|char| char.is_ascii_alphanumeric() || others.contains(char))
}

/// Whether a key holds the state of a workload, perhaps of one that is gone or that another function scales.
fn is_state(key: &str, value: &str) -> bool {
    // In shadow mode the word `shadow` stands where the kind stands.
    let is_key = key.split_once('.').is_some_and(|(kind, name)| {
        let is_kind = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        !kind.is_empty() && kind.bytes().all(is_kind) && is_dns_subdomain(name)
    });
    // State of any version.
    let state = || serde_json::from_str::<Map<String, Json>>(value).ok();
    is_key && state().is_some_and(|state| state.get("v").is_some_and(Json::is_u64))
}

/// The switch that a key was perhaps meant to be.
fn meant(key: &str) -> Option<&'static str> {
    let key = folded(key);
    if is_scale_out(&key) {
        return Some(PAUSE);
    }
    let is_scale_in = ["scalein", "scaledown"]
        .iter()
        .any(|word| key.contains(word));
    if is_scale_in || is_near(&key, &folded(PAUSE_SCALE_IN)) {
        return Some(PAUSE_SCALE_IN);
    }
    asks_for_stop(&key).then_some(PAUSE)
}

fn asks_for_stop(folded: &str) -> bool {
    STOPPING.iter().any(|stem| folded.starts_with(stem)) || is_near(folded, PAUSE)
}

fn is_scale_out(folded: &str) -> bool {
    ["scaleout", "scaleup"]
        .iter()
        .any(|word| folded.contains(word))
}

/// A key without what is misspelt most often: upper case, `_` and `-`.
fn folded(key: &str) -> String {
    let plain = key.chars().filter(char::is_ascii_alphanumeric);
    plain.map(|char| char.to_ascii_lowercase()).collect()
}
