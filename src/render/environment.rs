//! What the function is told by its environment: in the template, and as a file for `cargo lambda deploy --env-file`.

use std::fmt::Write as _;
use std::num::NonZeroU32;

use super::{RenderError, Request};
use crate::manifest::partition;
use crate::policy::Mode;
use crate::settings::grants::Grants;
use crate::settings::{Cluster, Log, Metrics, Settings, Source, VARIABLES};
use crate::yaml::scalar;

/// Bytes of all variables together that Lambda takes
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>).
const MAX_BYTES: usize = 4096;

/// What is set, in the order of the README.
pub(super) struct Environment(Vec<(&'static str, String)>);

impl Environment {
    /// That of the settings, when Lambda takes it.
    pub(super) fn of(request: &Request<'_>) -> Result<Self, RenderError> {
        let Settings {
            source,
            tenants,
            clusters,
            namespace,
            window_seconds,
            sync_seconds,
            min_polling_seconds,
            metric_reads,
            mode,
            log,
            metrics,
        } = request.settings;
        let mode = match mode {
            Mode::Live => "live",
            Mode::Shadow => "shadow",
        };
        let log = match log {
            Log::Changes => "changes",
            Log::All => "all",
        };
        let metrics = match metrics {
            Metrics::Totals => "totals",
            Metrics::Targets => "targets",
            Metrics::Off => "off",
        };
        let config = match source {
            // What is packed with the function has this name, wherever it was read from.
            Source::File(_) => "file:outrigger.yaml".to_owned(),
            Source::Clusters(_) => source.to_string(),
        };
        let list: Vec<String> = clusters.iter().map(named).collect();
        let mut set = vec![
            ("OUTRIGGER_CLUSTERS", list.join(",")),
            ("OUTRIGGER_CONFIG", config),
            ("OUTRIGGER_ROLES", tenants.roles.to_string()),
            ("OUTRIGGER_NAMESPACE", namespace.clone()),
            ("OUTRIGGER_WINDOW", window_seconds.to_string()),
            ("OUTRIGGER_MODE", mode.to_owned()),
            ("OUTRIGGER_LOG", log.to_owned()),
            ("OUTRIGGER_METRICS", metrics.to_owned()),
        ];
        let given = [
            ("OUTRIGGER_QUEUES", tenants.queues_shown()),
            ("OUTRIGGER_EXPRESSIONS", tenants.expressions.to_string()),
        ];
        set.extend(given.into_iter().filter(|(_, value)| !value.is_empty()));
        let numbers = [
            ("OUTRIGGER_SYNC", sync_seconds.map(NonZeroU32::get)),
            (
                "OUTRIGGER_MIN_POLLING",
                min_polling_seconds.map(NonZeroU32::get),
            ),
            ("OUTRIGGER_MAX_METRIC_READS", *metric_reads),
        ];
        let numbers =
            { numbers.into_iter() }.filter_map(|(name, number)| Some((name, number?.to_string())));
        set.extend(numbers);
        if let Some(address) = clusters.first().and_then(|first| first.address.as_ref()) {
            set.extend([
                ("OUTRIGGER_CLUSTER_ENDPOINT", address.endpoint.clone()),
                (
                    "OUTRIGGER_CLUSTER_CA",
                    address.certificate_authority.clone(),
                ),
            ]);
        }
        // As JSON: each with four quotes, a colon and a comma.
        let bytes = set
            .iter()
            .map(|(name, value)| name.len() + value.len() + 6)
            .sum();
        if bytes > MAX_BYTES {
            let queues = tenants.queues.as_ref().map_or(0, Grants::count);
            return Err(RenderError::EnvironmentTooLong {
                bytes,
                clusters: clusters.len(),
                grants: tenants.roles.count() + queues,
            });
        }
        Ok(Self(set))
    }

    /// The variables in a template.
    pub(super) fn yaml(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.0 {
            let _infallible = writeln!(text, "{name}: {}", quoted(value));
        }
        text
    }

    /// The file. A variable that is not set is emptied: `cargo lambda deploy` keeps what it does not name, and the address of
    /// another cluster must not stay.
    pub(super) fn file(&self) -> String {
        let mut text = String::new();
        for (name, ..) in VARIABLES {
            let set = self.0.iter().find(|(set, _)| *set == name);
            let value = set.map_or("", |(_, value)| value);
            // Unquoted it does not take a second `=`.
            let _infallible = writeln!(text, "{name}=\"{value}\"");
        }
        text
    }
}

/// Lambda takes texts only.
fn quoted(value: &str) -> String {
    if value.is_empty() || value.bytes().all(|byte| byte.is_ascii_digit()) {
        return format!("'{value}'");
    }
    scalar(value)
}

/// A cluster as `OUTRIGGER_CLUSTERS` has it.
pub(crate) fn named(cluster: &Cluster) -> String {
    let Cluster {
        name,
        region,
        account,
        role_arn,
        address: _,
    } = cluster;
    let mut text = match account {
        Some(account) => {
            let partition = partition(region);
            format!("arn:{partition}:eks:{region}:{account}:cluster/{name}")
        }
        None => name.clone(),
    };
    if let Some(role) = role_arn {
        let _infallible = write!(text, "={role}");
    }
    text
}
