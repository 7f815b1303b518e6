//! What is asked for: settings and targets.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Arguments;
use super::words::printable;
use crate::cli::hinted;
use crate::settings::{Settings, SettingsError};
use crate::wake::{Scope, TargetName};

/// The function's settings, where an option stands in for its variable.
pub(super) fn settings(
    arguments: &Arguments,
    environment: &BTreeMap<String, String>,
    region: Option<String>,
) -> anyhow::Result<Settings> {
    let mut environment = environment.clone();
    let mut options: Vec<(&str, &str)> = Vec::new();
    if let Some(file) = &arguments.file {
        let source = format!("file:{}", file.to_string_lossy());
        environment.insert("OUTRIGGER_CONFIG".to_owned(), source);
        // They are for objects in clusters.
        environment.remove("OUTRIGGER_ROLES");
        options.push(("OUTRIGGER_CONFIG", "--file"));
    }
    if let Some(config) = &arguments.config {
        environment.insert("OUTRIGGER_CONFIG".to_owned(), config.clone());
        options.push(("OUTRIGGER_CONFIG", "--config"));
    }
    if !arguments.cluster.is_empty() {
        environment.insert("OUTRIGGER_CLUSTERS".to_owned(), arguments.cluster.join(","));
        // They are another cluster's, and a token is sent there.
        environment.remove("OUTRIGGER_CLUSTER_ENDPOINT");
        environment.remove("OUTRIGGER_CLUSTER_CA");
        options.push(("OUTRIGGER_CLUSTERS", "--cluster"));
    }
    if let Some(region) = arguments.region.clone().or(region) {
        environment.insert("AWS_REGION".to_owned(), region);
    }
    Settings::from_environment(&environment).map_err(|errors| {
        let mut message = "the function's settings cannot be used:".to_owned();
        for SettingsError { variable, message: what } in errors {
            let option = options.iter().find(|(name, _)| *name == variable);
            let source = option.map_or(variable.as_str(), |(_, option)| option);
            let _infallible = write!(message, "\n  {source}: {what}");
        }
        hinted(
            message,
            "give --cluster NAME and --region, or set what the function has: \
             aws lambda get-function-configuration --function-name outrigger --query Environment.Variables",
        )
    })
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
