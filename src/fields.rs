//! Reading a mapping field by field, collecting every mistake on the way instead of stopping at the first.

use std::fmt;
use std::ops::RangeInclusive;

use jiff::Timestamp;

use crate::document::{Node, Position, Value, quoted};

/// How the message about a field that must be there and is not begins.
pub(crate) const MISSING: &str = "missing, allowed: ";

/// Unknown fields of one mapping that get a suggestion.
const MAX_SUGGESTIONS: usize = 50;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The object is refused.
    Error,
    /// The object runs, but probably not as its author thinks.
    Warning,
}

/// One finding in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// Where the value stands; `None` for JSON input and for what is missing.
    pub position: Option<Position>,
    /// The field, such as `spec.triggers[0].metadata.queueLength`.
    pub path: String,
    /// What was found and what is allowed.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// Collects findings.
#[derive(Debug, Clone, Default)]
pub struct Problems {
    /// In the order they were found.
    pub list: Vec<Problem>,
    /// Errors in another object that this one needs, which are told there.
    elsewhere: usize,
}

impl Problems {
    /// Adds an error at a value.
    pub fn error(&mut self, position: Option<Position>, path: &str, message: impl Into<String>) {
        self.list.push(Problem {
            severity: Severity::Error,
            position,
            path: path.to_owned(),
            message: message.into(),
        });
    }

    /// Adds a warning at a value.
    pub fn warning(&mut self, position: Option<Position>, path: &str, message: impl Into<String>) {
        self.list.push(Problem {
            severity: Severity::Warning,
            position,
            path: path.to_owned(),
            message: message.into(),
        });
    }

    /// Adds the usual error: what was found, what is allowed.
    pub fn found(&mut self, node: &Node, path: &str, allowed: &str) {
        let template = template_hint(node);
        self.error(
            node.position,
            path,
            format!("found {}{template}, allowed: {allowed}", node.describe()),
        );
    }

    /// Notes an error in another object that this one needs: it refuses this one too, and is told once, where it stands.
    pub(crate) fn error_elsewhere(&mut self) {
        self.elsewhere += 1;
    }

    /// How many errors were found; warnings do not count.
    #[must_use]
    pub fn errors(&self) -> usize {
        let here = self.list.iter();
        let here = here.filter(|problem| problem.severity == Severity::Error);
        here.count() + self.elsewhere
    }
}

/// What to do about a text that a chart was to fill in.
fn template_hint(node: &Node) -> &'static str {
    let is_template = node.as_text().is_some_and(|text| text.contains("{{"));
    if is_template { TEMPLATE_HINT } else { "" }
}

/// Said of a value that has `{{` in it.
const TEMPLATE_HINT: &str =
    ", a template that is not rendered (helm template CHART | outrigger check -f -)";

/// A mapping that is being read. Every field taken is known; `finish` reports the others.
#[derive(Debug)]
pub struct Fields<'a> {
    path: String,
    position: Option<Position>,
    entries: &'a [(String, Node)],
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Starts on a mapping; anything else is an error, `null` an empty mapping.
    pub fn of(node: &'a Node, path: &str, problems: &mut Problems) -> Option<Self> {
        let entries: &[(String, Node)] = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            Value::Scalar { .. } | Value::List(_) => {
                problems.found(node, path, "a mapping");
                return None;
            }
        };
        Some(Self {
            path: path.to_owned(),
            position: node.position,
            entries,
            known: Vec::new(),
        })
    }

    /// Where the mapping starts, for messages about what it lacks.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// The full path of a field of this mapping.
    #[must_use]
    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The value of a field; `null` counts as absent, as it does for Kubernetes.
    pub fn take(&mut self, key: &'static str) -> Option<&'a Node> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let found = self
            .entries
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, node)| node);
        found.filter(|node| node.value != Value::Null)
    }

    /// Whether a field is there and says `null`, for the few where that says something else than leaving it out.
    #[must_use]
    pub fn is_null(&self, key: &str) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|(name, node)| name == key && node.value == Value::Null)
    }

    /// Whether a field is not there, and one that nothing has taken is likely to be it. What only follows from its absence is not
    /// told then, as the misspelt one is.
    #[must_use]
    pub fn is_misspelt(&self, key: &str) -> bool {
        let is_there = self.entries.iter().any(|(name, _)| name == key);
        let is_known = |name: &str| self.known.contains(&name);
        let mut entries = self.entries.iter();
        !is_there && entries.any(|(name, _)| !is_known(name) && is_near(name, key))
    }

    /// The value of a field that must be there.
    pub fn require(
        &mut self,
        key: &'static str,
        allowed: &str,
        problems: &mut Problems,
    ) -> Option<&'a Node> {
        let found = self.take(key);
        if found.is_none() {
            problems.error(
                self.position,
                &self.path(key),
                format!("{MISSING}{allowed}"),
            );
        }
        found
    }

    /// Reads a field with one of the functions of this module.
    pub fn read<T>(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
        read: impl FnOnce(&'a Node, &str, &mut Problems) -> Option<T>,
    ) -> Option<T> {
        let node = self.take(key)?;
        read(node, &self.path(key), problems)
    }

    /// Reports fields that are known, only not in this mapping, with what to do about them.
    pub fn refuse(&mut self, keys: &[&'static str], what: &str, problems: &mut Problems) {
        for key in keys {
            let found = self.entries.iter().find(|(name, _)| name == key);
            if let Some((_, node)) = found {
                self.known.push(key);
                problems.error(node.position, &self.path(key), what);
            }
        }
    }

    /// Reports the fields that nobody took, each with the nearest valid name.
    /// Looking for a near name costs time, so it ends after a few: whoever has more has another problem.
    pub fn finish(self, problems: &mut Problems) {
        let is_known = |key: &str| self.known.contains(&key);
        let unknown = self.entries.iter().filter(|(key, _)| !is_known(key));
        for (index, (key, node)) in unknown.enumerate() {
            let near = { index < MAX_SUGGESTIONS }
                .then(|| likely(key, &self.known))
                .flatten();
            if let Some(near) = near {
                // It is not missing besides: it is this one, misspelt.
                let path = self.path(near);
                problems.list.retain(|problem| {
                    problem.path != path || !problem.message.starts_with("missing, ")
                });
            }
            let hint = if index < MAX_SUGGESTIONS {
                suggestion(key, &self.known)
            } else {
                String::new()
            };
            let path = self.path(&shown_key(key));
            problems.error(node.position, &path, format!("unknown field{hint}"));
        }
    }
}

/// A key for a path: as it is when it reads like a field's name, else escaped and shortened.
fn shown_key(key: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    if key.len() <= 80 && key.bytes().all(is_plain) {
        key.to_owned()
    } else {
        quoted(key)
    }
}

/// `, did you mean …` when a valid name is near, else the list of valid names.
#[must_use]
pub fn suggestion(found: &str, valid: &[&str]) -> String {
    match likely(found, valid) {
        Some(name) => format!(", did you mean `{name}`?"),
        None if valid.is_empty() => ", nothing is allowed here".to_owned(),
        None => format!(", allowed: {}", valid.join(", ")),
    }
}

/// The valid name that was meant: one that is spelt nearly so, or else one that shares its words.
fn likely<'v>(found: &str, valid: &[&'v str]) -> Option<&'v str> {
    nearest(found, valid)
        .or_else(|| by_another_name(found, valid))
        .or_else(|| sharing_words(found, valid))
}

/// Names that the same thing has elsewhere: in the HPA, in KEDA 1, in AWS.
const OTHER_NAMES: [(&str, &str); 7] = [
    ("deploymentName", "name"),
    ("queueName", "queueURL"),
    ("queueArn", "queueURL"),
    ("queue", "queueURL"),
    ("sqs", "aws-sqs-queue"),
    ("cloudwatch", "aws-cloudwatch"),
    ("targetQueueLength", "queueLength"),
];

fn by_another_name<'v>(found: &str, valid: &[&'v str]) -> Option<&'v str> {
    let (_, meant) = { OTHER_NAMES.iter() }.find(|(other, _)| other.eq_ignore_ascii_case(found))?;
    valid.iter().copied().find(|name| name == meant)
}

/// The valid name that has all words of the found one, or at least two of them, and more of them than any other.
fn sharing_words<'v>(found: &str, valid: &[&'v str]) -> Option<&'v str> {
    if found.len() > MAX_COMPARED {
        return None;
    }
    let words = words_of(found);
    let share = |name: &&'v str| {
        let others = words_of(name);
        let is_there = |word: &&String| others.iter().any(|other| is_same_word(word, other));
        let shared = words.iter().filter(is_there).count();
        let is_enough = shared > 1 || (shared == 1 && words.len() == 1);
        // In parts of all words, in thousandths.
        let all = (words.len() + others.len()).saturating_sub(shared);
        is_enough.then(|| (shared * 1000 / all.max(1), *name))
    };
    let shares: Vec<(usize, &str)> = valid.iter().filter_map(share).collect();
    let (most, name) = shares.iter().copied().max_by_key(|(share, _)| *share)?;
    let is_clear = shares.iter().filter(|(share, _)| *share == most).count() == 1;
    is_clear.then_some(name)
}

/// The words of `camelCase` and `kebab-case`, in lower case.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for char in name.chars() {
        if !char.is_alphanumeric() || (char.is_uppercase() && was_lower) {
            words.push(String::new());
        }
        was_lower = !char.is_uppercase();
        if let Some(word) = words.last_mut().filter(|_| char.is_alphanumeric()) {
            word.extend(char.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The same word, perhaps one of them in the plural.
fn is_same_word(left: &str, right: &str) -> bool {
    let is_plural_of = |many: &str, one: &str| many.strip_suffix('s') == Some(one);
    left == right || is_plural_of(left, right) || is_plural_of(right, left)
}

/// The valid name that a misspelt one is near to.
#[must_use]
pub fn nearest<'v>(found: &str, valid: &[&'v str]) -> Option<&'v str> {
    let near = valid
        .iter()
        .filter_map(|name| Some((edits(found, name)?, *name)));
    near.min().map(|(_, name)| name)
}

/// Whether a name is likely to be a misspelt one, or is that one.
#[must_use]
pub fn is_near(found: &str, valid: &str) -> bool {
    edits(found, valid).is_some()
}

/// The edits between a valid name and a likely misspelling of it.
#[must_use]
pub fn edits(found: &str, valid: &str) -> Option<usize> {
    let tolerated = tolerated(valid);
    // Each surplus character is an edit: most names need no closer look.
    let length = |text: &str| text.chars().take(MAX_COMPARED).count();
    if length(found).abs_diff(length(valid)) > tolerated {
        return None;
    }
    Some(distance(found, valid)).filter(|edits| *edits <= tolerated)
}

/// The edits that a misspelt name may be away from the one that was meant.
fn tolerated(name: &str) -> usize {
    1 + name.len().min(MAX_COMPARED) / 4
}

/// Characters that are compared.
const MAX_COMPARED: usize = 64;

/// Edit distance without regard to case. Inputs are cut: few valid names are longer.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right
        .chars()
        .take(MAX_COMPARED)
        .flat_map(char::to_lowercase)
        .collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, from) in left
        .chars()
        .take(MAX_COMPARED)
        .flat_map(char::to_lowercase)
        .enumerate()
    {
        let mut diagonal = index;
        let mut left_cell = index + 1;
        let mut next = vec![left_cell];
        for (to, above) in right.iter().zip(row.iter().skip(1)) {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = *above;
            left_cell = substituted.min(above + 1).min(left_cell + 1);
            next.push(left_cell);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// Non-empty text.
pub fn text(node: &Node, path: &str, problems: &mut Problems) -> Option<String> {
    match node.as_text().map(str::trim) {
        Some(found) if !found.is_empty() => Some(found.to_owned()),
        Some(_) | None => {
            problems.found(node, path, "text that is not empty");
            None
        }
    }
}

/// A whole number in a range; also in quotes, since templates often render it so.
pub fn integer(
    node: &Node,
    path: &str,
    range: RangeInclusive<i64>,
    problems: &mut Problems,
) -> Option<i64> {
    let text = node.as_text().map(str::trim).unwrap_or_default();
    let digits = text.trim_start_matches(['-', '+']);
    // Kubernetes reads a plain 010 as the octal of 8, people as 10.
    let is_octal = digits.len() > 1 && digits.starts_with('0');
    let found = text.parse::<i64>().ok();
    let found = found.filter(|number| range.contains(number) && !is_octal);
    if found.is_none() {
        problems.found(
            node,
            path,
            &format!("a whole number from {} to {}", range.start(), range.end()),
        );
    }
    found
}

/// A whole number of seconds, replicas or the like: 0 to 2147483647, Kubernetes' int32.
pub fn count(node: &Node, path: &str, problems: &mut Problems) -> Option<u32> {
    integer(node, path, 0..=i64::from(i32::MAX), problems)
        .and_then(|number| u32::try_from(number).ok())
}

/// `true` or `false`, also in quotes and in the other spellings that Go's parser takes.
pub fn boolean(node: &Node, path: &str, problems: &mut Problems) -> Option<bool> {
    let found = node.as_text().and_then(|text| go_bool(text.trim()));
    if found.is_none() {
        problems.found(node, path, "true or false");
    }
    found
}

/// The spellings of Go's `strconv.ParseBool`, which KEDA uses.
#[must_use]
pub fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// A time in RFC 3339 with its offset.
pub fn timestamp(node: &Node, path: &str, problems: &mut Problems) -> Option<Timestamp> {
    let found = node
        .as_text()
        .and_then(|text| text.parse::<Timestamp>().ok());
    if found.is_none() {
        problems.found(node, path, "a time such as 2026-11-23T00:00:00Z");
    }
    found
}

/// The items of a list with their paths.
pub fn items<'a>(
    node: &'a Node,
    path: &str,
    problems: &mut Problems,
) -> Option<Vec<(String, &'a Node)>> {
    let Value::List(list) = &node.value else {
        problems.found(node, path, "a list");
        return None;
    };
    Some(
        list.iter()
            .enumerate()
            .map(|(index, item)| (format!("{path}[{index}]"), item))
            .collect(),
    )
}

/// A DNS-1123 label of at most 63 characters, as Kubernetes asks of namespaces.
#[must_use]
pub fn is_dns_label(name: &str) -> bool {
    name.len() <= 63 && is_label(name)
}

/// A DNS-1123 subdomain of at most 253 characters, as Kubernetes asks of most object names.
/// Kubernetes bounds the whole name, not its labels.
#[must_use]
pub fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let edge = |byte: Option<u8>| byte.is_some_and(alphanumeric);
    edge(label.bytes().next())
        && edge(label.bytes().last())
        && label.bytes().all(|byte| alphanumeric(byte) || byte == b'-')
}

/// An object name, with the error for what is not one.
pub fn object_name(node: &Node, path: &str, problems: &mut Problems) -> Option<String> {
    let found = node.as_text().filter(|name| is_dns_subdomain(name));
    if found.is_none() {
        problems.found(
            node,
            path,
            "a name of lower case letters, digits, `-` and `.`, at most 253 characters (DNS-1123)",
        );
    }
    found.map(str::to_owned)
}

/// A namespace, with the error for what is not one.
pub fn namespace(node: &Node, path: &str, problems: &mut Problems) -> Option<String> {
    let found = node.as_text().filter(|name| is_dns_label(name));
    if found.is_none() {
        problems.found(
            node,
            path,
            "a name of lower case letters, digits and `-`, at most 63 characters (DNS-1123)",
        );
    }
    found.map(str::to_owned)
}

/// A value that must be text, shown in the message otherwise: for enumerations.
pub fn one_of<T: Copy>(
    node: &Node,
    path: &str,
    choices: &[(&'static str, T)],
    problems: &mut Problems,
) -> Option<T> {
    let found = node
        .as_text()
        .and_then(|text| choices.iter().find(|(name, _)| *name == text.trim()));
    if found.is_none() {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let hint = suggestion(node.as_text().unwrap_or_default(), &names);
        problems.error(
            node.position,
            path,
            format!(
                "found {}{}{hint}",
                node.as_text().map_or_else(|| node.describe(), quoted),
                template_hint(node)
            ),
        );
    }
    found.map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested() {
        assert_eq!(
            suggestion("queueLenght", &["queueLength", "awsRegion"]),
            ", did you mean `queueLength`?"
        );
        assert_eq!(
            suggestion("QUEUEURL", &["queueURL"]),
            ", did you mean `queueURL`?"
        );
        assert_eq!(
            suggestion("zzz", &["queueURL", "awsRegion"]),
            ", allowed: queueURL, awsRegion"
        );
        assert_eq!(suggestion("zzz", &[]), ", nothing is allowed here");
    }

    #[test]
    fn names_that_share_words_are_suggested() {
        let counts = [
            "idleReplicaCount",
            "minReplicaCount",
            "maxReplicaCount",
            "name",
        ];
        let metric = [
            "metricName",
            "metricStat",
            "metricStatPeriod",
            "targetMetricValue",
            "activationTargetMetricValue",
            "minMetricValue",
        ];
        let queue = [
            "queueURL",
            "queueURLFromEnv",
            "queueLength",
            "activationQueueLength",
        ];
        let types = ["aws-sqs-queue", "cron", "aws-cloudwatch"];
        for (found, valid, meant) in [
            ("minReplicas", &counts[..], Some("minReplicaCount")),
            ("maxReplicas", &counts, Some("maxReplicaCount")),
            ("deploymentName", &counts, Some("name")),
            ("replicas", &counts, None),
            ("metricStatType", &metric, Some("metricStat")),
            ("statPeriod", &metric, Some("metricStatPeriod")),
            ("targetValue", &metric, Some("targetMetricValue")),
            ("queueName", &queue, Some("queueURL")),
            ("QueueArn", &queue, Some("queueURL")),
            ("aws-sqs", &types, Some("aws-sqs-queue")),
            ("sqs", &types, Some("aws-sqs-queue")),
            ("aws_sqs", &types, Some("aws-sqs-queue")),
            ("cloudwatch", &types, Some("aws-cloudwatch")),
            ("aws-dynamodb", &types, None),
            ("kafka", &types, None),
            ("", &types, None),
        ] {
            assert_eq!(likely(found, valid), meant, "{found}");
        }
    }

    #[test]
    fn edits_are_counted_for_near_names_alone() {
        assert_eq!(edits("wroker", "worker"), Some(2));
        assert_eq!(edits("WORKER", "worker"), Some(0));
        assert_eq!(edits("web", "worker"), None);
        // A long name is not near to everything.
        let (left, right) = ("a".repeat(250), "b".repeat(250));
        assert!(is_near(&left, &left) && !is_near(&left, &right));
        // Two edits are too many for a short name, not for a longer one.
        assert_eq!(nearest("xyaab", &["aab", "xyaabbbb"]), Some("xyaabbbb"));
    }

    #[test]
    fn a_leading_zero_is_not_guessed_at() {
        let read = |text: &str| {
            let node = Node {
                value: Value::Scalar {
                    text: text.to_owned(),
                    plain: true,
                },
                position: None,
            };
            integer(&node, "x", -9..=99, &mut Problems::default())
        };
        assert_eq!((read("010"), read("-07"), read("00")), (None, None, None));
        assert_eq!(
            (read("0"), read("-7"), read("+8")),
            (Some(0), Some(-7), Some(8))
        );
    }

    #[test]
    fn dns_names() {
        for good in ["a", "a-b", "1a", &"x".repeat(63)] {
            assert!(is_dns_label(good) && is_dns_subdomain(good), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a_b",
            "a/b",
            "ä",
            "a.b",
            &"x".repeat(64),
        ] {
            assert!(!is_dns_label(bad), "{bad}");
        }
        assert!(is_dns_subdomain("a.b-c.d") && is_dns_subdomain(&"x".repeat(253)));
        for bad in [
            "",
            ".",
            "a..b",
            "a.",
            &"x".repeat(254),
            &format!("{}-", "x".repeat(100)),
        ] {
            assert!(!is_dns_subdomain(bad), "{bad}");
        }
    }
}
