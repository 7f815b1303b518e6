//! The function's settings, where an option stands in for its variable.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::hinted;
use crate::settings::{Settings, SettingsError};

/// An option that was given, and the variable that it stands in for.
pub(crate) struct Given {
    pub(crate) option: &'static str,
    pub(crate) variable: &'static str,
    pub(crate) value: String,
}

/// `--cluster`, however often.
pub(crate) fn clusters(clusters: &[String]) -> Option<Given> {
    (!clusters.is_empty()).then(|| Given {
        option: "--cluster",
        variable: "OUTRIGGER_CLUSTERS",
        value: clusters.join(","),
    })
}

/// The settings with the options in place of their variables. Errors name whichever was used.
pub(crate) fn settings(
    environment: &BTreeMap<String, String>,
    given: Vec<Given>,
    region: Option<String>,
) -> anyhow::Result<Settings> {
    let mut environment = environment.clone();
    let mut options: Vec<(&str, &str)> = Vec::new();
    for Given {
        option,
        variable,
        value,
    } in given
    {
        environment.insert(variable.to_owned(), value);
        options.push((variable, option));
        if variable == "OUTRIGGER_CLUSTERS" {
            // They are another cluster's, and a token is sent there.
            environment.remove("OUTRIGGER_CLUSTER_ENDPOINT");
            environment.remove("OUTRIGGER_CLUSTER_CA");
        }
    }
    if let Some(region) = region {
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
