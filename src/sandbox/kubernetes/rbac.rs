//! What a Role allows, read from the manifest that is shipped.

use std::borrow::Cow;

use granit_parser::{Event, Parser};

/// The Role cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::sandbox) enum RbacError {
    #[error("the Role is not YAML")]
    Yaml(#[source] granit_parser::ScanError),
    #[error("the Role has `{0}`, which the sandbox does not understand")]
    NotUnderstood(String),
}

/// One rule. `*` is understood in the first three, as Kubernetes does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::sandbox) struct Rule {
    api_groups: Vec<String>,
    resources: Vec<String>,
    verbs: Vec<String>,
    /// Empty for every name.
    resource_names: Vec<String>,
    /// Of a `ClusterRole`, bound everywhere.
    cluster_wide: bool,
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    pub(super) verb: &'a str,
    pub(super) group: &'a str,
    /// With its subresource: `rollouts/scale`.
    pub(super) resource: &'a str,
    /// `None` for a collection, which no list of names allows.
    pub(super) name: Option<&'a str>,
}

impl Rule {
    fn allows(&self, wish: Wish<'_>) -> bool {
        let Self {
            api_groups,
            resources,
            verbs,
            resource_names,
            cluster_wide: _,
        } = self;
        let has = |list: &[String], wanted: &str| {
            list.iter().any(|entry| entry == "*" || entry == wanted)
        };
        let named = || {
            wish.name
                .is_some_and(|name| resource_names.iter().any(|n| n == name))
        };
        has(api_groups, wish.group)
            && has(resources, wish.resource)
            && has(verbs, wish.verb)
            && (resource_names.is_empty() || named())
    }
}

/// Whether the rules allow it; those of a Role only in a namespace where it is bound.
pub(super) fn allowed(rules: &[Rule], is_bound: bool, wish: Wish<'_>) -> bool {
    let mut rules = rules.iter();
    rules.any(|rule| (is_bound || rule.cluster_wide) && rule.allows(wish))
}

/// The rules of every Role and `ClusterRole` in a YAML text; other documents are skipped.
pub(in crate::sandbox) fn rules(yaml: &str) -> Result<Vec<Rule>, RbacError> {
    let mut rules = Vec::new();
    for document in documents(yaml)? {
        let kind = document.field("kind").and_then(Node::scalar);
        if !matches!(kind, Some("Role" | "ClusterRole")) {
            continue;
        }
        let Some(Node::Sequence(entries)) = document.field("rules") else {
            return Err(RbacError::NotUnderstood("rules".to_owned()));
        };
        for entry in entries {
            rules.push(Rule {
                cluster_wide: kind == Some("ClusterRole"),
                ..rule(entry)?
            });
        }
    }
    Ok(rules)
}

fn rule(node: &Node) -> Result<Rule, RbacError> {
    let Node::Mapping(fields) = node else {
        return Err(RbacError::NotUnderstood("rules".to_owned()));
    };
    let mut rule = Rule::default();
    for (name, value) in fields {
        let not_understood = || RbacError::NotUnderstood(name.clone());
        let Node::Sequence(items) = value else {
            return Err(not_understood());
        };
        let items: Option<Vec<String>> = items
            .iter()
            .map(|item| item.scalar().map(str::to_owned))
            .collect();
        let items = items.ok_or_else(not_understood)?;
        match name.as_str() {
            "apiGroups" => rule.api_groups = items,
            "resources" => rule.resources = items,
            "verbs" => rule.verbs = items,
            "resourceNames" => rule.resource_names = items,
            _ => return Err(not_understood()),
        }
    }
    Ok(rule)
}

/// As much of YAML as a Role needs.
#[derive(Debug)]
enum Node {
    Scalar(String),
    Sequence(Vec<Node>),
    Mapping(Vec<(String, Node)>),
}

impl Node {
    fn scalar(&self) -> Option<&str> {
        match self {
            Self::Scalar(text) => Some(text),
            Self::Sequence(_) | Self::Mapping(_) => None,
        }
    }

    fn field(&self, wanted: &str) -> Option<&Self> {
        let Self::Mapping(fields) = self else {
            return None;
        };
        let found = fields.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value)
    }
}

/// A collection being read; for a mapping, with the key that waits for its value.
enum Open {
    Sequence(Vec<Node>),
    Mapping(Vec<(String, Node)>, Option<String>),
}

fn documents(yaml: &str) -> Result<Vec<Node>, RbacError> {
    let mut open: Vec<Open> = Vec::new();
    let mut documents = Vec::new();
    for event in Parser::new_from_str(yaml) {
        let (event, _) = event.map_err(RbacError::Yaml)?;
        let complete = match event {
            Event::Scalar(text, ..) => Some(Node::Scalar(Cow::into_owned(text))),
            Event::SequenceStart(..) => {
                open.push(Open::Sequence(Vec::new()));
                None
            }
            Event::MappingStart(..) => {
                open.push(Open::Mapping(Vec::new(), None));
                None
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::Sequence(items)) => Some(Node::Sequence(items)),
                Some(Open::Mapping(fields, _)) => Some(Node::Mapping(fields)),
                None => None,
            },
            Event::Alias(_) => return Err(RbacError::NotUnderstood("an alias".to_owned())),
            _ => None,
        };
        let Some(node) = complete else { continue };
        match open.last_mut() {
            None => documents.push(node),
            Some(Open::Sequence(items)) => items.push(node),
            Some(Open::Mapping(fields, key)) => match key.take() {
                Some(key) => fields.push((key, node)),
                None => match node {
                    Node::Scalar(text) => *key = Some(text),
                    Node::Sequence(_) | Node::Mapping(_) => {
                        return Err(RbacError::NotUnderstood("a key".to_owned()));
                    }
                },
            },
        }
    }
    Ok(documents)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../infra/kubernetes/role.yaml");

    fn may(verb: &str, group: &str, resource: &str, name: Option<&str>) -> bool {
        let rules = rules(SHIPPED).unwrap();
        let wish = Wish {
            verb,
            group,
            resource,
            name,
        };
        allowed(&rules, true, wish)
    }

    #[test]
    fn a_cluster_role_is_bound_everywhere() {
        let rule = "rules:\n- {apiGroups: [keda.sh], resources: [scaledobjects], verbs: [list]}\n";
        let wish = Wish {
            verb: "list",
            group: "keda.sh",
            resource: "scaledobjects",
            name: None,
        };
        for (kind, bound, expected) in [
            ("Role", true, true),
            ("Role", false, false),
            ("ClusterRole", true, true),
            ("ClusterRole", false, true),
        ] {
            let rules = rules(&format!("kind: {kind}\n{rule}")).unwrap();
            assert_eq!(allowed(&rules, bound, wish), expected, "{kind} {bound}");
        }
    }

    #[test]
    fn the_shipped_role_scales_and_remembers_and_no_more() {
        assert!(may("get", "argoproj.io", "rollouts", Some("worker")));
        assert!(may(
            "patch",
            "argoproj.io",
            "rollouts/scale",
            Some("worker")
        ));
        assert!(may("patch", "", "configmaps", Some("outrigger")));

        assert!(!may("patch", "argoproj.io", "rollouts", Some("worker")));
        assert!(!may("patch", "apps", "rollouts/scale", Some("worker")));
        assert!(!may(
            "update",
            "argoproj.io",
            "rollouts/scale",
            Some("worker")
        ));
        assert!(!may("get", "", "configmaps", Some("other")));
        assert!(!may("list", "", "configmaps", None));
        assert!(!may("get", "", "secrets", Some("outrigger")));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for bad in [
            "kind: Role",
            "kind: Role\nrules:\n- nonResourceURLs: [/version]\n  verbs: [get]",
            "kind: Role\nrules:\n- verbs: get",
            "kind: Role\nrules: [a]",
            "kind: Role\nrules: [",
            "a: &a [x]\nkind: Role\nrules: *a",
        ] {
            assert!(rules(bad).is_err(), "{bad}");
        }
        assert_eq!(rules("kind: RoleBinding").unwrap(), []);
    }
}
