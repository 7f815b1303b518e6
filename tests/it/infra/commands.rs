//! The commands of the README as they stand there.

use std::collections::BTreeSet;

use super::{ACCESS, ACCOUNT, TEMPLATE, WIRING, tree};

/// The commands of every `sh` block, each on one line.
pub(crate) fn commands(readme: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut inside = false;
    let mut continues = false;
    for line in readme.lines().map(str::trim) {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if !inside || line.is_empty() || line.starts_with('#') => {}
            _ => {
                let text = line.strip_suffix('\\').unwrap_or(line).trim_end();
                match commands.last_mut().filter(|_| continues) {
                    Some(last) => {
                        last.push(' ');
                        last.push_str(text);
                    }
                    None => commands.push(text.to_owned()),
                }
                continues = line.ends_with('\\');
            }
        }
    }
    commands
}

/// Every parameter that a command gives to a stack is one of its template, with a value that the template allows, and none is
/// missing that has no default.
#[test]
fn stacks_are_made_with_parameters_that_there_are() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let mut deployed = BTreeSet::new();
    for command in commands(&readme) {
        let Some(template) = ["access", "wiring", "template"]
            .into_iter()
            .find(|name| command.contains(&format!("infra/{name}.yaml")))
        else {
            continue;
        };
        let Some((_, overrides)) = command.split_once("--parameter-overrides ") else {
            continue;
        };
        deployed.insert(template);
        let parameters = tree(match template {
            "access" => ACCESS,
            "wiring" => WIRING,
            _ => TEMPLATE,
        })["Parameters"]
            .clone();
        let overrides = overrides.split(" --").next().unwrap();
        let given: BTreeSet<&str> = overrides
            .split_whitespace()
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or_else(|| panic!("{command}"));
                let parameter = &parameters[name];
                assert!(
                    parameter.is_object(),
                    "{template}.yaml has no {name}: {command}"
                );
                if let Some(allowed) = parameter["AllowedValues"].as_array() {
                    let text = |known: &serde_json::Value| {
                        known.as_str().map_or(known.to_string(), str::to_owned)
                    };
                    assert!(allowed.iter().any(|known| text(known) == value), "{pair}");
                }
                name
            })
            .collect();
        for (name, parameter) in parameters.as_object().unwrap() {
            let needed = parameter.get("Default").is_none();
            assert!(
                !needed || given.contains(name.as_str()),
                "no {name}: {command}"
            );
        }
    }
    assert_eq!(deployed, ["access", "template", "wiring"].into());
}

/// A parameter in the text, as in `` `Window=120` ``, is one that there is.
#[test]
fn the_text_names_parameters_that_there_are() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let known: Vec<String> = [ACCESS, ACCOUNT, WIRING, TEMPLATE]
        .iter()
        .flat_map(|template| {
            let tree = tree(template);
            let names = tree["Parameters"].as_object().unwrap().keys();
            names.cloned().collect::<Vec<_>>()
        })
        .collect();
    let is_parameter = |name: &str| {
        name.starts_with(char::is_uppercase)
            && name.contains(char::is_lowercase)
            && name.chars().all(char::is_alphanumeric)
    };
    let named: BTreeSet<&str> = readme
        .split('`')
        .filter_map(|part| part.split_once('='))
        .map(|(name, _)| name)
        // That one is Argo CD's.
        .filter(|name| is_parameter(name) && *name != "Replace")
        .collect();
    for name in &named {
        assert!(known.iter().any(|known| known == name), "{name}");
    }
    assert!(named.len() > 5, "{named:?}");
}
