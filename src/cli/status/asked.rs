//! What is asked for: settings and targets.

use std::collections::BTreeMap;

use super::Arguments;
use super::words::printable;
use crate::cli::hinted;
use crate::cli::settings::{Given, clusters};
use crate::settings::Settings;
use crate::wake::{Scope, TargetName};

/// The function's settings, where an option stands in for its variable.
pub(super) fn settings(
    arguments: &Arguments,
    environment: &BTreeMap<String, String>,
    region: Option<String>,
) -> anyhow::Result<Settings> {
    let config = |option, value| Given {
        option,
        variable: "OUTRIGGER_CONFIG",
        value,
    };
    let mut environment = environment.clone();
    if arguments.file.is_some() {
        // They are for objects in clusters.
        environment.remove("OUTRIGGER_ROLES");
    }
    let file = arguments.file.as_ref();
    let file = file.map(|file| config("--file", format!("file:{}", file.to_string_lossy())));
    let source = arguments.config.clone();
    let source = source.map(|source| config("--config", source));
    let given = [file, source, clusters(&arguments.cluster)];
    let given = given.into_iter().flatten().collect();
    let region = arguments.region.clone().or(region);
    crate::cli::settings::settings(&environment, given, region)
}

/// The targets asked for; a name without a namespace is in this one.
pub(super) fn scope(targets: &[String], namespace: &str) -> anyhow::Result<Scope> {
    let mut names: Vec<TargetName> = Vec::new();
    for target in targets {
        let full = if target.contains('/') {
            target.clone()
        } else {
            format!("{namespace}/{target}")
        };
        let name: TargetName = full.parse().map_err(|error| {
            let target = printable(target);
            let message = format!("`{target}` is not the name of a target: {error}");
            hinted(
                message,
                "targets are named as their ScaledObjects: namespace/name",
            )
        })?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(if names.is_empty() {
        Scope::All
    } else {
        Scope::Targets(names)
    })
}
