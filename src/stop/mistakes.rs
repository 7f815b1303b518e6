//! What people typed into the ConfigMap that has no effect, in words that say how to put it right.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use super::{EVERYTHING, PAUSE, PAUSE_SCALE_IN, SEPARATORS, forms, words};
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
/// What people write for everything, and what does not mean it.
const AFFIRMATIONS: [&str; 9] = [
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

/// Everything in the ConfigMap `outrigger` of a namespace that people typed and that has no effect: keys that are neither state
/// nor a switch, and words of a switch that stop no workload. Each is a sentence that says how to put it right.
///
/// `known` are the workloads of *all* targets that the function has there, also of those that are not polled now or are in shadow
/// mode; where they are not known in full, nothing can be said. The order depends on the input alone: what looks like a switch
/// first, then the switches, then other keys. After [`MAX_MISTAKES`] the last entry is the number of the others.
#[must_use]
pub fn mistakes(
    keys: &BTreeMap<String, String>,
    namespace: &str,
    known: &[&WorkloadRef],
) -> Vec<String> {
    let known = Known::new(namespace, known);
    let place = Place {
        keys,
        known: &known,
    };
    let strange: Vec<_> = keys
        .iter()
        .filter(|(key, value)| !place.is_ours(key, value))
        .map(|(key, value)| (meant(key), key.as_str(), value.as_str()))
        .collect();
    let misspelt = strange.iter().filter_map(|&(switch, key, value)| {
        let switch = switch?;
        Some(Mistake::Switch { switch, key, value })
    });
    let idle = [PAUSE, PAUSE_SCALE_IN].into_iter().flat_map(|switch| {
        let text = keys.get(switch).map(String::as_str);
        text.into_iter()
            .flat_map(move |text| place.idle(switch, text))
    });
    let others = strange
        .iter()
        .filter(|(switch, ..)| switch.is_none())
        .map(|&(_, key, _)| Mistake::Key { key });
    let mut mistakes = misspelt.chain(idle).chain(others);
    let texts = mistakes.by_ref().take(MAX_MISTAKES);
    let mut texts: Vec<String> = texts.map(|mistake| place.tell(&mistake)).collect();
    match mistakes.count() {
        0 => {}
        1 => texts.push(format!(
            "1 more key or name in {} stops nothing",
            place.map()
        )),
        more => texts.push(format!(
            "{more} more keys or names in {} stop nothing",
            place.map()
        )),
    }
    texts
}

/// One thing without effect. What is near is looked for only when it is put into words.
enum Mistake<'k> {
    /// A key that looks like a switch.
    Switch {
        switch: &'static str,
        key: &'k str,
        value: &'k str,
    },
    /// Another key.
    Key { key: &'k str },
    /// A switch without a word.
    Empty { switch: &'static str },
    /// A word of a switch.
    Word { switch: &'static str, word: &'k str },
}

/// The workloads of a namespace.
struct Known<'k> {
    namespace: &'k str,
    /// Their state keys.
    targets: BTreeSet<String>,
    /// The state keys of shadow mode.
    shadows: BTreeSet<String>,
    /// Every word that stops one of them; not needed while people have typed nothing.
    forms: OnceCell<BTreeSet<String>>,
}

impl<'k> Known<'k> {
    fn new(namespace: &'k str, known: &[&WorkloadRef]) -> Self {
        Self {
            namespace,
            targets: known.iter().map(|workload| workload.key()).collect(),
            shadows: known.iter().map(|workload| workload.shadow_key()).collect(),
            forms: OnceCell::new(),
        }
    }

    /// Whether a word in lower case stops any of them.
    fn stops(&self, word: &str) -> bool {
        let targets = || self.targets.iter();
        let forms = || targets().flat_map(|target| forms(self.namespace, target));
        self.forms.get_or_init(|| forms().collect()).contains(word)
    }

    /// Kind and name of each.
    fn parts(&self) -> impl Iterator<Item = (&str, &str)> {
        let targets = self.targets.iter();
        targets.filter_map(|target| target.split_once('.'))
    }

    /// A word that stops something and that another one in lower case was perhaps meant to be.
    fn near(&self, word: &str) -> Option<String> {
        let everything = || EVERYTHING.first().map(|word| (*word).to_owned());
        if self.targets.is_empty() {
            return None;
        }
        let is_stars = word.contains('*') && word.chars().all(|char| "*./:".contains(char));
        if is_stars || word == self.namespace {
            return everything();
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
        let means_all = AFFIRMATIONS.contains(&word) || EVERYTHING.iter().any(is_misspelt);
        means_all.then(everything).flatten()
    }

    /// All of a kind, or of the namespace.
    fn near_glob(&self, before: &str) -> Option<String> {
        let before = before.trim_end_matches(|char: char| !char.is_alphanumeric());
        let mut valid: BTreeSet<&str> = self.parts().map(|(kind, _)| kind).collect();
        valid.insert(self.namespace);
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

    /// The words of a switch that stop nothing, each once.
    fn idle(self, switch: &'static str, text: &'k str) -> impl Iterator<Item = Mistake<'k>> {
        let empty = words(text).next().is_none();
        let mut seen = BTreeSet::new();
        let idle = words(text).filter(move |word| {
            let word = word.to_ascii_lowercase();
            !self.known.stops(&word) && seen.insert(word)
        });
        let empty = empty.then_some(Mistake::Empty { switch });
        empty
            .into_iter()
            .chain(idle.map(move |word| Mistake::Word { switch, word }))
    }

    fn tell(&self, mistake: &Mistake<'_>) -> String {
        match *mistake {
            Mistake::Switch { switch, key, value } => self.tell_switch(switch, key, value),
            Mistake::Key { key } => self.tell_key(key),
            Mistake::Empty { switch } => format!(
                "the key {} is empty and stops nothing; `*` stops everything. {}",
                self.at(switch),
                self.removal(switch)
            ),
            Mistake::Word { switch, word } => self.tell_word(switch, word),
        }
    }

    fn tell_switch(&self, switch: &'static str, key: &str, value: &str) -> String {
        let asks_for_none = asks_for_stop(&folded(key))
            && words(value).next().is_some()
            && words(value).all(|word| self.is_negation(&word.to_ascii_lowercase()));
        if asks_for_none {
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
        let everything = EVERYTHING.first().copied().unwrap_or_default();
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
        // A name that stops nothing here is perhaps known to another function.
        let there = self.keys.get(switch).map_or("", String::as_str);
        let there = lower(there)
            .into_iter()
            .filter(|word| is_plain(word, "-./*"));
        let mut names: Vec<String> = Vec::new();
        for word in there.chain(wanted.iter().cloned()) {
            if !names.contains(&word) {
                names.push(word);
            }
            if names.len() > MAX_SUGGESTED_NAMES {
                return everything.to_owned();
            }
        }
        let text = names.join(" ");
        let is_everything = names.iter().any(|word| EVERYTHING.contains(&word.as_str()));
        if wanted.is_empty() || is_everything || text.len() > MAX_SUGGESTED_TEXT {
            return everything.to_owned();
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
            let namespace = self.known.namespace;
            format!("This removes it, in an editor: kubectl edit cm outrigger -n {namespace}")
        }
    }

    fn patch(&self, pairs: &[(&str, Option<&str>)]) -> String {
        let namespace = self.known.namespace;
        let data = data(pairs);
        format!("kubectl patch cm outrigger -n {namespace} --type merge -p '{data}'")
    }

    fn at(&self, key: &str) -> String {
        format!("{} of {}", quoted(key), self.map())
    }

    fn map(&self) -> String {
        format!("the ConfigMap `{}/outrigger`", self.known.namespace)
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
