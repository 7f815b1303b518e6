//! The function's settings for commands that look at what the function looks at.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::hinted;
use crate::settings::{Settings, SettingsError, TENANTS};

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

    /// Whether the first `--cluster` is the first one of this value of `OUTRIGGER_CLUSTERS`, or that names none. An ARN and a name
    /// are the same cluster where the names are; two ARNs have to be alike.
    fn is_first_of(&self, configured: &str) -> bool {
        let first = |list: &str| {
            let mut items = list.split(',').map(str::trim);
            let item = items.find(|item| !item.is_empty())?;
            let (cluster, _role) = item.split_once('=').unwrap_or((item, ""));
            Some(cluster.trim().to_owned())
        };
        let given = self.cluster.first().and_then(|given| first(given));
        let (Some(given), Some(configured)) = (given, first(configured)) else {
            return true;
        };
        if given.starts_with("arn:") && configured.starts_with("arn:") {
            return given == configured;
        }
        let name = |cluster: &str| cluster.rsplit('/').next().map(str::to_owned);
        name(&given) == name(&configured)
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
            for name in TENANTS {
                environment.remove(name);
            }
            options.push(("OUTRIGGER_CONFIG", "--file"));
        }
        if let Some(config) = &self.config {
            environment.insert("OUTRIGGER_CONFIG".to_owned(), config.clone());
            options.push(("OUTRIGGER_CONFIG", "--config"));
        }
        if !self.cluster.is_empty() {
            let configured =
                environment.insert("OUTRIGGER_CLUSTERS".to_owned(), self.cluster.join(","));
            // Of another cluster they are not, and a token is sent there. Where no cluster is configured they are for this one.
            if !self.is_first_of(configured.as_deref().unwrap_or_default()) {
                environment.remove("OUTRIGGER_CLUSTER_ENDPOINT");
                environment.remove("OUTRIGGER_CLUSTER_CA");
            }
            options.push(("OUTRIGGER_CLUSTERS", "--cluster"));
        }
        if let Some(region) = self.region.clone().or(region) {
            environment.insert("AWS_REGION".to_owned(), region);
        }
        Settings::from_environment(&environment).map_err(|errors| {
            hinted(
                unusable(&errors, &options),
                "give --cluster NAME and --region, or set what the function has: \
                 aws lambda get-function-configuration --function-name outrigger --query Environment.Variables",
            )
        })
    }
}

/// What is wrong with the settings, each by the option that it came from.
pub(super) fn unusable(errors: &[SettingsError], options: &[(&str, &str)]) -> String {
    let mut message = "the function's settings cannot be used:".to_owned();
    for SettingsError {
        variable,
        message: what,
    } in errors
    {
        let option = options.iter().find(|(name, _)| name == variable);
        let source = option.map_or(variable.as_str(), |(_, option)| option);
        let _infallible = write!(message, "\n  {source}: {what}");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: &str = "OUTRIGGER_CLUSTER_ENDPOINT";

    /// The endpoint that `--cluster` is reached at, beside this value of `OUTRIGGER_CLUSTERS`.
    fn endpoint(cluster: &str, configured: &str) -> Option<String> {
        let access = Access {
            config: None,
            cluster: vec![cluster.to_owned()],
            region: Some("eu-west-1".to_owned()),
        };
        let mut environment = BTreeMap::from([
            (ENDPOINT.to_owned(), "https://10.0.0.1".to_owned()),
            ("OUTRIGGER_CLUSTER_CA".to_owned(), "Q0E=".to_owned()),
        ]);
        if !configured.is_empty() {
            environment.insert("OUTRIGGER_CLUSTERS".to_owned(), configured.to_owned());
        }
        let settings = access.settings(None, &environment, None).unwrap();
        let address = settings.clusters[0].address.as_ref();
        address.map(|address| address.endpoint.clone())
    }

    #[test]
    fn the_address_is_that_of_the_cluster_that_is_configured() {
        let arn = |region: &str| format!("arn:aws:eks:{region}:123456789012:cluster/demo");
        let west = arn("eu-west-1");
        for (cluster, configured) in [
            ("demo", ""),
            ("demo", "demo"),
            ("demo", "demo=arn:aws:iam::123456789012:role/a,other"),
            ("demo", west.as_str()),
            (west.as_str(), "demo"),
            (west.as_str(), west.as_str()),
        ] {
            assert!(
                endpoint(cluster, configured).is_some(),
                "{cluster} {configured}"
            );
        }
        // A token for one cluster is not sent to another.
        let east = arn("us-east-1");
        for (cluster, configured) in [
            ("other", "demo"),
            ("other", "demo,other"),
            (west.as_str(), east.as_str()),
        ] {
            assert_eq!(
                endpoint(cluster, configured),
                None,
                "{cluster} {configured}"
            );
        }
    }
}
