//! The function's settings for commands that look at what the function looks at.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::hinted;
use crate::settings::{Settings, SettingsError};

/// Options that stand in for the function's variables.
#[derive(Debug, clap::Args)]
pub(crate) struct Access {
    /// Where the ScaledObjects are, as in `OUTRIGGER_CONFIG`.
    #[arg(long, value_name = "SOURCE")]
    pub(crate) config: Option<String>,
    /// A cluster by name or ARN, the first being the default, as in `OUTRIGGER_CLUSTERS`.
    #[arg(long, value_name = "NAME|ARN[=ROLE]")]
    cluster: Vec<String>,
    /// The region of clusters given by name; else that of the environment.
    #[arg(long)]
    pub(crate) region: Option<String>,
}

impl Access {
    /// Whether any of the options is.
    pub(crate) fn is_given(&self) -> bool {
        self.config.is_some() || !self.cluster.is_empty() || self.region.is_some()
    }

    /// The function's settings, where an option stands in for its variable, and a file for its source.
    pub(crate) fn settings(
        &self,
        file: Option<&Path>,
        environment: &BTreeMap<String, String>,
        region: Option<String>,
    ) -> anyhow::Result<Settings> {
        let mut environment = environment.clone();
        let mut options: Vec<(&str, &str)> = Vec::new();
        if let Some(file) = file {
            let source = format!("file:{}", file.to_string_lossy());
            environment.insert("OUTRIGGER_CONFIG".to_owned(), source);
            // They are for objects in clusters.
            environment.remove("OUTRIGGER_ROLES");
            options.push(("OUTRIGGER_CONFIG", "--file"));
        }
        if let Some(config) = &self.config {
            environment.insert("OUTRIGGER_CONFIG".to_owned(), config.clone());
            options.push(("OUTRIGGER_CONFIG", "--config"));
        }
        if !self.cluster.is_empty() {
            environment.insert("OUTRIGGER_CLUSTERS".to_owned(), self.cluster.join(","));
            // They are another cluster's, and a token is sent there.
            environment.remove("OUTRIGGER_CLUSTER_ENDPOINT");
            environment.remove("OUTRIGGER_CLUSTER_CA");
            options.push(("OUTRIGGER_CLUSTERS", "--cluster"));
        }
        if let Some(region) = self.region.clone().or(region) {
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
}
