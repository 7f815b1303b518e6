//! What the function's owner grants to the namespaces whose ScaledObjects are in clusters. Whoever may write one there has no more.

use std::fmt;

use super::is_cluster_name;
use crate::document::quoted;
use crate::fields::is_dns_label;
use crate::manifest::{is_account, is_queue_name, is_region};
use crate::ports::Namespace;

/// What ScaledObjects in clusters may use of the function's rights.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tenants {
    /// The roles that they may name, by ARN.
    pub roles: Grants,
    /// The queues that they may read with the function's own role, by ARN, of which the last letter may be a `*` for any ending;
    /// `None` for every queue.
    pub queues: Option<Grants>,
    /// Who may have an `expression` in an `aws-cloudwatch` trigger.
    pub expressions: Expressions,
}

/// Things that everybody may use, and things that one namespace may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    everybody: Vec<String>,
    bound: Vec<(Namespace, String)>,
}

/// Who may have an expression.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expressions {
    everybody: bool,
    bound: Vec<Namespace>,
}

/// Stands for every namespace.
const EVERYBODY: &str = "everybody";

/// Stands for an empty list, which an unset variable is not.
const NONE: &str = "none";

impl Grants {
    /// Whether something is granted to a namespace that is what is looked for.
    #[must_use]
    pub fn allow(&self, namespace: &Namespace, is_it: impl Fn(&str) -> bool) -> bool {
        let own = { self.bound.iter() }.filter(|(of, _)| of == namespace);
        let mut all = self.everybody.iter().chain(own.map(|(_, value)| value));
        all.any(|value| is_it(value))
    }

    /// The namespaces that something is granted to, each as often as that is so.
    pub fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        self.bound.iter().map(|(namespace, _)| namespace)
    }

    /// How many grants there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.everybody.len() + self.bound.len()
    }
}

impl fmt::Display for Grants {
    /// As the variable has it. A list without anything is the word for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = self.bound.iter();
        let bound = bound.map(|(namespace, value)| format!("{}={value}", shown(namespace)));
        let all: Vec<String> = self.everybody.iter().cloned().chain(bound).collect();
        f.write_str(&all.join(","))
    }
}

impl Tenants {
    /// `OUTRIGGER_QUEUES` as it would be set.
    #[must_use]
    pub fn queues_shown(&self) -> String {
        match &self.queues {
            None => String::new(),
            Some(grants) if grants.count() == 0 => NONE.to_owned(),
            Some(grants) => grants.to_string(),
        }
    }

    /// The namespaces that are named anywhere.
    pub fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        let queues = self.queues.iter().flat_map(Grants::namespaces);
        let others = self.roles.namespaces().chain(&self.expressions.bound);
        queues.chain(others)
    }
}

impl Expressions {
    /// Whether a namespace may have expressions.
    #[must_use]
    pub fn allow(&self, namespace: &Namespace) -> bool {
        self.everybody || self.bound.contains(namespace)
    }
}

impl fmt::Display for Expressions {
    /// As the variable has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let everybody = self.everybody.then(|| EVERYBODY.to_owned());
        let all: Vec<String> = { everybody.into_iter() }
            .chain(self.bound.iter().map(shown))
            .collect();
        f.write_str(&all.join(","))
    }
}

/// A namespace as these lists have it.
#[must_use]
pub fn shown(namespace: &Namespace) -> String {
    let Namespace { cluster, name } = namespace;
    format!("{cluster}/{name}")
}

/// Whether a queue is one of those that an item of `OUTRIGGER_QUEUES` stands for. A region is of one partition, so that the rest of
/// the ARN tells queues apart.
#[must_use]
pub fn is_queue(item: &str, region: &str, account: &str, name: &str) -> bool {
    let Some(granted) = item.splitn(4, ':').nth(3) else {
        return false;
    };
    let found = format!("{region}:{account}:{name}");
    match granted.strip_suffix('*') {
        Some(beginning) => found.starts_with(beginning),
        None => found == granted,
    }
}

/// The ARN of a queue, or how it begins, with one `*` at its end.
pub(super) fn is_queue_item(item: &str) -> bool {
    let parts: Vec<&str> = item.split(':').collect();
    let ["arn", partition, "sqs", region, account, name] = parts.as_slice() else {
        return false;
    };
    let is_name = match name.strip_suffix('*') {
        // What comes before the `*` is part of a name.
        Some(beginning) => beginning.is_empty() || is_queue_name(&format!("{beginning}x")),
        None => is_queue_name(name),
    };
    let is_partition = *partition == "aws" || partition.starts_with("aws-");
    is_partition && is_region(region) && is_account(account) && is_name
}

/// What is wrong with a list.
type Wrong = Vec<String>;

/// Reads a list of `VALUE` and `CLUSTER/NAMESPACE=VALUE`. What everybody has comes first: behind an item of one namespace it could
/// be meant for that one.
pub(super) fn grants(
    list: &str,
    allowed: &str,
    is_value: impl Fn(&str) -> bool,
) -> (Grants, Wrong) {
    let (mut grants, mut wrong) = (Grants::default(), Wrong::new());
    let mut before: Option<&str> = None;
    for item in list
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        // The name of a role may have a `=`, what comes before an ARN has no colon.
        let (namespace, value) = match item.split_once('=') {
            Some((namespace, value)) if !namespace.contains(':') => {
                (Some(namespace.trim()), value.trim())
            }
            _ => (None, item),
        };
        let namespace = match namespace.map(|text| place(text).ok_or(text)) {
            Some(Err(text)) => {
                wrong.push(format!(
                    "found {} before the `=`, allowed: CLUSTER/NAMESPACE, such as prod/shop=arn:…",
                    quoted(text)
                ));
                continue;
            }
            Some(Ok(namespace)) => Some(namespace),
            None => None,
        };
        let is_twice = match &namespace {
            Some(namespace) => grants.allow(namespace, |known| known == value),
            None => grants.everybody.iter().any(|known| known == value),
        };
        let is_everybodys = grants.everybody.iter().any(|known| known == value);
        if let (Some(_), true) = (&namespace, value.is_empty()) {
            wrong.push(format!(
                "found {}, which grants nothing, allowed: {allowed} behind the `=`, or no such item",
                quoted(item)
            ));
        } else if !is_value(value) {
            wrong.push(format!("found {}, allowed: {allowed}, for everybody, or for one namespace behind CLUSTER/NAMESPACE=", quoted(value)));
        } else if let (None, Some(before)) = (&namespace, before) {
            wrong.push(format!(
                "found {} behind {}, where it would be everybody's, allowed: before the items of namespaces, or CLUSTER/NAMESPACE= before it, too",
                quoted(value),
                quoted(before)
            ));
        } else if is_twice && is_everybodys && namespace.is_some() {
            wrong.push(format!(
                "found {}, which everybody has, allowed: for everybody, or for namespaces; take one of them out",
                quoted(item)
            ));
        } else if is_twice {
            wrong.push(format!("found {} twice, allowed: once", quoted(item)));
        } else {
            match namespace {
                Some(namespace) => {
                    grants.bound.push((namespace, value.to_owned()));
                    before = Some(item);
                }
                None => grants.everybody.push(value.to_owned()),
            }
        }
    }
    (grants, wrong)
}

/// Reads `OUTRIGGER_QUEUES`. A text without an item is a mistake: unset it would open what it seems to close.
pub(super) fn queues(list: &str) -> (Option<Grants>, Wrong) {
    match list {
        "" => return (None, Wrong::new()),
        NONE => return (Some(Grants::default()), Wrong::new()),
        _ => {}
    }
    let allowed = "the ARN of an SQS queue, or its beginning with one `*` at its end";
    let (grants, mut wrong) = grants(list, allowed, is_queue_item);
    if grants.count() == 0 && wrong.is_empty() {
        wrong.push(format!(
            "found {}, allowed: {allowed}, `{NONE}`, or unset for every queue",
            quoted(list)
        ));
    }
    (Some(grants), wrong)
}

/// Reads `OUTRIGGER_EXPRESSIONS`.
pub(super) fn expressions(list: &str) -> (Expressions, Wrong) {
    let (mut expressions, mut wrong) = (Expressions::default(), Wrong::new());
    let items: Vec<&str> = { list.split(',') }
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .collect();
    for item in &items {
        match place(item) {
            None if *item == EVERYBODY && items.len() == 1 => expressions.everybody = true,
            None => wrong.push(format!(
                "found {}, allowed: namespaces as CLUSTER/NAMESPACE, or `{EVERYBODY}` alone",
                quoted(item)
            )),
            Some(namespace) if expressions.bound.contains(&namespace) => {
                wrong.push(format!("found {} twice, allowed: once", quoted(item)));
            }
            Some(namespace) => expressions.bound.push(namespace),
        }
    }
    (expressions, wrong)
}

/// `CLUSTER/NAMESPACE`, whole: no part of a name stands for others.
fn place(text: &str) -> Option<Namespace> {
    let (cluster, name) = text.split_once('/')?;
    (is_cluster_name(cluster) && is_dns_label(name)).then(|| Namespace {
        cluster: cluster.to_owned(),
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests;
