//! What people should know of namespaces, kept from pass to pass.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::pass::{Notice, Passed};
use crate::ports::Namespace;

/// The notices of each namespace as of the last pass that read its ConfigMap.
#[derive(Debug, Default)]
pub struct Notices(BTreeMap<Namespace, BTreeSet<String>>);

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
            let Notice { namespace, text } = notice;
            let texts = before.get(namespace);
            if !texts.is_some_and(|texts| texts.contains(text)) {
                lines.push(line(notice));
            }
            let now = self.0.entry(namespace.clone()).or_default();
            now.insert(text.clone());
        }
        lines
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.values().flatten().map(String::as_str)
    }
}

fn line(notice: &Notice) -> String {
    let Notice {
        namespace: Namespace { cluster, name },
        text,
    } = notice;
    json!({"cluster": cluster, "namespace": name, "warning": text}).to_string()
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
            (lines.len(), notices.texts().count())
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
    }
}
