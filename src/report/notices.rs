//! What people should know of namespaces, kept from pass to pass.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::pass::{Notice, Passed};
use crate::ports::Namespace;

/// The notices of each namespace as of the last pass that read its ConfigMap.
#[derive(Debug, Default)]
pub struct Notices(BTreeMap<Namespace, BTreeSet<Said>>);

/// A sentence, and whether it is an error.
type Said = (String, bool);

impl Notices {
    /// Takes over those of a pass. Returns the lines of the ones that are new: kept while the environment is warm, each notice
    /// has a line once, and another one when it comes back.
    pub fn update(&mut self, passed: &Passed<'_>) -> Vec<String> {
        let mut before = BTreeMap::new();
        for namespace in &passed.namespaces {
            before.extend(self.0.remove_entry(namespace));
        }
        let mut lines = Vec::new();
        for notice in &passed.notices {
            let Notice {
                namespace,
                text,
                is_error,
            } = notice;
            let said = (text.clone(), *is_error);
            if !{ before.get(namespace) }.is_some_and(|before| before.contains(&said)) {
                lines.push(line(notice));
            }
            let now = self.0.entry(namespace.clone()).or_default();
            now.insert(said);
        }
        lines
    }

    /// Those that fail no invocation.
    pub(super) fn warnings(&self) -> impl Iterator<Item = &str> {
        self.0.values().flatten().filter_map(warning)
    }

    /// The namespaces with those that do, each with at least one.
    pub(super) fn errors(&self) -> impl Iterator<Item = (&Namespace, Vec<&str>)> {
        let namespaces = self.0.iter();
        let namespaces = namespaces.map(|(namespace, said)| {
            let errors: Vec<&str> = said.iter().filter_map(error).collect();
            (namespace, errors)
        });
        namespaces.filter(|(_, errors)| !errors.is_empty())
    }
}

fn warning((text, is_error): &Said) -> Option<&str> {
    (!is_error).then_some(text)
}

fn error((text, is_error): &Said) -> Option<&str> {
    is_error.then_some(text)
}

fn line(notice: &Notice) -> String {
    let Notice {
        namespace: Namespace { cluster, name },
        text,
        is_error,
    } = notice;
    let kind = if *is_error { "error" } else { "warning" };
    json!({"cluster": cluster, "namespace": name, kind: text}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str) -> Namespace {
        Namespace {
            cluster: "prod".to_owned(),
            name: name.to_owned(),
        }
    }

    fn passed(namespaces: &[&str], notices: &[(&str, &str)]) -> Passed<'static> {
        let notices = notices.iter().map(|(name, text)| Notice {
            namespace: namespace(name),
            text: (*text).to_owned(),
            is_error: text.starts_with("error"),
        });
        Passed {
            outcomes: Vec::new(),
            namespaces: namespaces.iter().map(|name| namespace(name)).collect(),
            notices: notices.collect(),
        }
    }

    #[test]
    fn a_notice_has_a_line_at_each_change() {
        let mut notices = Notices::default();
        let mut lines = |namespaces: &[&str], told: &[(&str, &str)]| {
            let lines = notices.update(&passed(namespaces, told));
            (lines.len(), notices.warnings().count())
        };
        assert_eq!(lines(&["a", "b"], &[("a", "80 %")]), (1, 1));
        assert_eq!(lines(&["a", "b"], &[("a", "80 %")]), (0, 1));
        assert_eq!(lines(&["a"], &[("a", "80 %"), ("a", "typo")]), (1, 2));
        // A pass that does not read the namespace says nothing about it.
        assert_eq!(lines(&["b"], &[("b", "typo")]), (1, 3));
        assert_eq!(lines(&["a"], &[("a", "81 %")]), (1, 2));
        assert_eq!(lines(&["a"], &[]), (0, 1));
        assert_eq!(lines(&["a"], &[("a", "81 %")]), (1, 2));
        assert_eq!(
            notices.update(&passed(&["c"], &[("c", "full")])),
            [r#"{"cluster":"prod","namespace":"c","warning":"full"}"#]
        );
        assert_eq!(
            notices.update(&passed(&["c"], &[("c", "error 1"), ("c", "full")])),
            [r#"{"cluster":"prod","namespace":"c","error":"error 1"}"#]
        );
        let errors: Vec<_> = notices.errors().collect();
        assert_eq!(errors, [(&namespace("c"), vec!["error 1"])]);
    }
}
