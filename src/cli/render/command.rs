//! The command in the headers of rendered files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Arguments, PACKAGE};
use crate::render::named;
use crate::settings::{Settings, Source, TENANTS};

/// The command that renders the same again, whatever the environment.
pub(super) fn command(
    arguments: &Arguments,
    files: &[PathBuf],
    settings: &Settings,
    region: &str,
    environment: &BTreeMap<String, String>,
) -> String {
    let mut words = Vec::new();
    let mut variables = vec![
        "OUTRIGGER_SYNC",
        "OUTRIGGER_MIN_POLLING",
        "OUTRIGGER_MAX_METRIC_READS",
        "OUTRIGGER_MODE",
        "OUTRIGGER_LOG",
        "OUTRIGGER_METRICS",
    ];
    match settings.source {
        Source::File(_) => {}
        Source::Clusters(_) => variables.extend(TENANTS),
    }
    // An option for a cluster would discard the address.
    let has_address = settings
        .clusters
        .iter()
        .any(|cluster| cluster.address.is_some());
    if has_address {
        variables.extend(["OUTRIGGER_CLUSTER_ENDPOINT", "OUTRIGGER_CLUSTER_CA"]);
        let clusters: Vec<String> = settings.clusters.iter().map(named).collect();
        words.push(format!("OUTRIGGER_CLUSTERS={}", word(&clusters.join(","))));
    }
    for name in variables {
        let value = environment.get(name).map(|value| value.trim());
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            words.push(format!("{name}={}", word(value)));
        }
    }
    words.push("outrigger render".to_owned());
    let mut option = |name: &str, value: &str| words.push(format!("{name} {}", word(value)));
    for file in files {
        option("-f", &file.to_string_lossy());
    }
    match settings.source {
        Source::File(_) => {}
        Source::Clusters(_) => option("--config", &settings.source.to_string()),
    }
    let by_option = settings.clusters.iter().filter(|_| !has_address);
    for cluster in by_option {
        option("--cluster", &named(cluster));
    }
    option("--region", region);
    if let Some(account) = &arguments.account {
        option("--account", account);
    }
    if settings.namespace != "default" {
        option("--namespace", &settings.namespace);
    }
    if settings.window_seconds.get() != 60 {
        option("--window", &settings.window_seconds.to_string());
    }
    for resource in &arguments.resource {
        option("--resource", resource);
    }
    if arguments.package != Path::new(PACKAGE) {
        option("--package", &arguments.package.to_string_lossy());
    }
    if let Some(folder) = &arguments.output_dir {
        option("--output-dir", &folder.to_string_lossy());
    }
    words.join(" ")
}

/// A word of a shell, on one line.
fn word(text: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_./:=,@+".contains(char);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let text: String = text
        .chars()
        .map(|char| if char.is_control() { '?' } else { char })
        .collect();
    format!("'{}'", text.replace('\'', "'\\''"))
}
