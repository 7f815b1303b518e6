//! Which targets are asked for.

use super::words::printable;
use crate::cli::hinted;
use crate::wake::{Scope, TargetName};

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
