//! What is said beside the table.

use std::fmt::Write as _;

use super::row::{Row, RowError};
use crate::cli::hinted;
use crate::fields::is_near;
use crate::manifest::{Configuration, Target};
use crate::pass::Notice;

/// Errors that are printed below a table. Nobody reads more, and `-o json` has them all.
pub(super) const MAX_ERRORS: usize = 50;

/// The errors and warnings of all rows and their namespaces, each message once.
pub(super) fn complaints(rows: &[Row<'_>], notices: &[Notice]) -> String {
    let mut messages: Vec<(String, Vec<String>)> = Vec::new();
    let mut is_about_rights = false;
    for row in rows {
        for RowError { code, message } in row.errors() {
            is_about_rights |= code.starts_with("AccessDenied")
                || ["Unauthorized", "Forbidden", "NoCredentials"].contains(&code);
            // A finding names the object itself.
            let name = row.target().map(|_| row.name());
            match messages.iter_mut().find(|(known, _)| *known == message) {
                // A target may meet the same error twice, as with a cluster that cannot be reached.
                Some((_, names)) => names.extend(name.filter(|name| !names.contains(name))),
                None => messages.push((message, name.into_iter().collect())),
            }
        }
    }
    let mut text = String::new();
    for (message, names) in messages.iter().take(MAX_ERRORS) {
        let about = match names.as_slice() {
            [] => String::new(),
            [name] => format!("{name}: "),
            [name, more @ ..] => format!("{name} and {} more: ", more.len()),
        };
        let _infallible = writeln!(text, "error: {}", printable(&format!("{about}{message}")));
    }
    if let Some(more) = messages
        .len()
        .checked_sub(MAX_ERRORS)
        .filter(|more| *more > 0)
    {
        let _infallible = writeln!(text, "error: and {more} more errors; -o json has them all");
    }
    for Notice { text: notice, .. } in notices.iter().filter(|notice| notice.is_error) {
        let _infallible = writeln!(text, "error: {}", printable(notice));
    }
    for row in rows {
        let warnings = row.decided().map(|decided| &decided.decision.warnings);
        for warning in warnings.into_iter().flatten() {
            let warning = format!("{}: {warning}", row.name());
            let _infallible = writeln!(text, "warning: {}", printable(&warning));
        }
    }
    for Notice { text: notice, .. } in notices.iter().filter(|notice| !notice.is_error) {
        let _infallible = writeln!(text, "warning: {}", printable(notice));
    }
    if is_about_rights {
        text += "hint: `outrigger status` asks with your own AWS credentials, so that what is said of the function's role is about them; \
                 a profile that assumes its role (AWS_PROFILE) sees what the function sees\n";
    }
    text
}

pub(super) fn unknown_target(name: &str, configuration: &Configuration, source: &str) -> String {
    let known = configuration
        .targets
        .iter()
        .map(|target| target.id.to_string());
    let hint = match known.clone().find(|known| is_near(name, known)) {
        Some(near) => format!(", did you mean `{near}`?"),
        None => match known.take(10).collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => String::new(),
            names if configuration.targets.len() > 10 => format!("; there are {names}, …"),
            names => format!("; there are {names}"),
        },
    };
    format!("error: `{name}` is not a target of `{source}`{hint}")
}

/// Why there is not even a header to print.
pub(super) fn nothing(
    configuration: &Configuration,
    namespace: Option<&str>,
    source: &str,
) -> anyhow::Error {
    let mut namespaces: Vec<&str> = configuration
        .targets
        .iter()
        .map(|Target { id, .. }| id.namespace.as_str())
        .collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    match namespace {
        Some(namespace) if !namespaces.is_empty() => hinted(
            format!("no target of `{source}` is in the namespace `{namespace}`"),
            format!("there are targets in {}", namespaces.join(", ")),
        ),
        Some(_) | None => hinted(
            format!("no ScaledObject (keda.sh/v1alpha1) in `{source}`"),
            "see what is in it: outrigger check -f FILE",
        ),
    }
}

/// Text on one line, without what would move a terminal's cursor.
pub(super) fn printable(text: &str) -> String {
    let visible = |char: char| match char {
        '\n' | '\t' => ' ',
        char if char.is_control() => '\u{fffd}',
        char => char,
    };
    text.chars().map(visible).collect()
}
