//! The documents say what the code does.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use outrigger::decide::Reason;
use outrigger::report::METRICS;
use outrigger::settings::VARIABLES;
use outrigger::wake::ACCEPTED;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    std::fs::read_to_string(repository().join("README.md")).unwrap()
}

#[track_caller]
fn has_row(text: &str, row: &str) {
    assert!(
        text.lines().any(|line| line == row),
        "the README lacks the row\n{row}"
    );
}

/// The rows of the table below a header line.
pub(crate) fn rows<'t>(text: &'t str, header: &str) -> Vec<&'t str> {
    let below = text
        .split_once(header)
        .unwrap_or_else(|| panic!("no table `{header}`"))
        .1;
    below
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect()
}

#[test]
fn every_variable_is_in_the_table_and_no_other() {
    let text = readme();
    for (name, default, meaning) in VARIABLES {
        let default = if default.is_empty() {
            String::new()
        } else {
            format!("`{default}`")
        };
        has_row(&text, &format!("| `{name}` | {default} | {meaning} |"));
    }
    assert_eq!(
        rows(&text, "| environment variable | default | meaning |").len(),
        VARIABLES.len()
    );
}

#[test]
fn what_differs_on_purpose_is_in_the_table_and_nothing_else() {
    let text = readme();
    let differences = include_str!("../fixtures/differences.json");
    let differences: Vec<serde_json::Value> = serde_json::from_str(differences).unwrap();
    let cell = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap().to_owned();
    for row in &differences {
        let (what, theirs, here) = (cell(row, "what"), cell(row, "theirs"), cell(row, "here"));
        has_row(&text, &format!("| {what} | {theirs} | {here} |"));
    }
    assert_eq!(
        rows(&text, "| what | KEDA or the HPA | here |").len(),
        differences.len()
    );
}

#[test]
fn every_reason_is_explained_and_no_other() {
    let text = readme();
    for (reason, meaning) in Reason::ALL {
        has_row(&text, &format!("| `{}` | {meaning} |", reason.name()));
    }
    assert_eq!(rows(&text, "| reason | meaning |").len(), Reason::ALL.len());
}

#[test]
fn every_event_is_in_the_table_and_no_other() {
    let text = readme();
    for (shape, recognised_by) in ACCEPTED {
        has_row(&text, &format!("| {shape} | {recognised_by} |"));
    }
    assert_eq!(
        rows(&text, "| event | recognised by |").len(),
        ACCEPTED.len()
    );
}

#[test]
fn every_metric_is_named() {
    let text = readme();
    for (metric, _) in METRICS {
        assert!(text.contains(&format!("`{metric}`")), "{metric}");
    }
}

#[test]
fn the_code_map_names_every_module() {
    let text = readme();
    let map = rows(&text, "| file | what it holds |").join("\n");
    for entry in std::fs::read_dir(repository().join("src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if Path::new(&name)
            .extension()
            .is_some_and(|extension| extension == "rs")
        {
            assert!(
                map.contains(&format!("`src/{name}`")),
                "the code map lacks src/{name}"
            );
        }
    }
    for path in map.split('`').filter(|part| part.contains('/')) {
        assert!(
            repository().join(path).exists(),
            "the code map names {path}"
        );
    }
}

#[test]
fn help_names_the_commands_that_the_readme_names() {
    let output = Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let commands: BTreeSet<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    let text = readme();
    let (_, listed) = text.split_once("lists the commands: ").unwrap();
    let listed: BTreeSet<&str> = listed
        .split('.')
        .next()
        .unwrap()
        .split('`')
        .filter(|part| !part.is_empty() && part.chars().all(char::is_alphabetic))
        .collect();
    assert_eq!(commands, listed);
}

#[test]
fn the_shipped_role_asks_for_what_the_readme_says() {
    let role = std::fs::read_to_string(repository().join("infra/kubernetes/role.yaml")).unwrap();
    let documents = outrigger::document::parse_yaml(role.as_bytes());
    let role = documents[0].root.as_ref().unwrap().to_json();
    let rules: Vec<String> = role["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| format!("{} {}", rule["resources"], rule["verbs"]))
        .collect();
    assert_eq!(
        rules,
        [
            r#"["rollouts"] ["get"]"#,
            r#"["rollouts/scale"] ["patch"]"#,
            r#"["configmaps"] ["get","patch"]"#,
            r#"["horizontalpodautoscalers"] ["list"]"#,
            r#"["scaledobjects"] ["list"]"#,
            r#"["events"] ["create"]"#
        ]
    );
}
