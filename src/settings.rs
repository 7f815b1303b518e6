//! The environment variables of the function, read once and checked together.

pub mod grants;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::document::quoted;
use crate::fields::{is_dns_label, nearest};
use crate::manifest::{is_account, is_region, is_role_arn};
use crate::policy::Mode;
use crate::ports::Namespace;
use grants::{Tenants, shown};

/// Every variable with its default and meaning. The README's table is this one.
pub const VARIABLES: [(&str, &str, &str); 15] = [
    (
        "OUTRIGGER_CLUSTERS",
        "",
        "EKS clusters by name or ARN, separated by commas, the first being the default; `name=roleArn` assumes a role for that cluster. Required",
    ),
    (
        "OUTRIGGER_CONFIG",
        "file:outrigger.yaml",
        "where the ScaledObjects are: `file:PATH`, relative to the function's folder; `cluster:NS1,NS2`, in these namespaces of every cluster of OUTRIGGER_CLUSTERS; `cluster:`, in all of their namespaces",
    ),
    (
        "OUTRIGGER_ROLES",
        "",
        "the roles that ScaledObjects in clusters may have the function assume, separated by commas: `ARN` for everybody, `CLUSTER/NAMESPACE=ARN` for one namespace; only with `cluster:`",
    ),
    (
        "OUTRIGGER_QUEUES",
        "",
        "the queues that ScaledObjects in clusters may have read with the function's own role, in the same form: ARNs, with `*` at the end for any ending; unless set, everybody may have every queue read that this role can read; `none` for no queue; only with `cluster:`",
    ),
    (
        "OUTRIGGER_EXPRESSIONS",
        "",
        "which namespaces of clusters may have an `expression` in an `aws-cloudwatch` trigger, which reads any metric: `CLUSTER/NAMESPACE` separated by commas, or `everybody`; only with `cluster:`",
    ),
    (
        "OUTRIGGER_MIN_POLLING",
        "",
        "the least seconds that a `pollingInterval` counts, 1 to 3600: a lower one is raised to it, wherever the ScaledObjects are",
    ),
    (
        "OUTRIGGER_MAX_METRIC_READS",
        "",
        "reads of metrics, $0.01 for 1,000, that a namespace has in an invocation, for each minute of OUTRIGGER_WINDOW; more are failed readings; unless set, 500 with `cluster:`, and no limit with a file",
    ),
    (
        "OUTRIGGER_NAMESPACE",
        "default",
        "the namespace of objects that name none",
    ),
    (
        "OUTRIGGER_WINDOW",
        "60",
        "seconds that a scheduled invocation covers, equal to the schedule's rate: whole minutes, 60 to 600; the function's timeout is 15 s more",
    ),
    (
        "OUTRIGGER_SYNC",
        "",
        "seconds between two polls of a target above zero and idle, 15 to 60, where its `pollingInterval` is longer; unless set, OUTRIGGER_WINDOW. Polls cost money",
    ),
    (
        "OUTRIGGER_MODE",
        "live",
        "`live`: decisions are carried out; `shadow`: they are only told, beside somebody else who scales. The annotation `outrigger.dev/mode` sets it for one ScaledObject",
    ),
    (
        "OUTRIGGER_LOG",
        "changes",
        "`changes`: a record for every write, change of reason and error; `all`: for every decision",
    ),
    (
        "OUTRIGGER_METRICS",
        "off",
        "CloudWatch metrics, each for $0.30 a month: `totals`, 8 of the function; `targets`, also 3 of each target; `off`",
    ),
    (
        "OUTRIGGER_CLUSTER_ENDPOINT",
        "",
        "the URL of the default cluster's API server, to save `eks:DescribeCluster`; with OUTRIGGER_CLUSTER_CA",
    ),
    (
        "OUTRIGGER_CLUSTER_CA",
        "",
        "the CA of the default cluster, base64 of PEM as `DescribeCluster` gives it",
    ),
];

/// What is granted to objects in clusters, and to nobody else.
pub(crate) const TENANTS: [&str; 3] = [
    "OUTRIGGER_ROLES",
    "OUTRIGGER_QUEUES",
    "OUTRIGGER_EXPRESSIONS",
];

/// Reads of metrics that a namespace has for each minute of the window where its objects are in clusters: 125 metrics every 15 s,
/// which is as often as an HPA looks. With a window of a minute they cost $216 a month at most.
const DEFAULT_METRIC_READS: u32 = 500;

/// More than 32 calls at the same time can make in a minute.
const MAX_METRIC_READS: u32 = 1_000_000;

/// Variables of this project's own scripts, tests and benchmarks, and what reads each. They say nothing to the function, and whoever
/// has one set for `.ci/run` runs `outrigger` in the same environment.
pub const NOT_SETTINGS: [(&str, &str); 7] = [
    (
        "OUTRIGGER_CACHE",
        "`.ci/run` and what it calls: where builds and tools are kept",
    ),
    (
        "OUTRIGGER_LAMBDA",
        "the tests and the benchmarks: the program that is the function",
    ),
    (
        "OUTRIGGER_EMPTY_LAMBDA",
        "the benchmarks: a function that does nothing",
    ),
    ("OUTRIGGER_FIGURES", "`benches/real`: figures are asked for"),
    (
        "OUTRIGGER_PACKAGE",
        "the tests: the package of cargo-lambda",
    ),
    (
        "OUTRIGGER_ARM64_PACKAGE",
        "the tests: the same for arm64, which is run under emulation",
    ),
    (
        "OUTRIGGER_DEPLOY_TOOLS",
        "the tests: folders with `aws` and `sam`",
    ),
];

/// What the function is told by its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the ScaledObjects are.
    pub source: Source,
    /// What ScaledObjects in clusters may use.
    pub tenants: Tenants,
    /// The clusters, at least one, the first being the default.
    pub clusters: Vec<Cluster>,
    /// The namespace of objects that name none.
    pub namespace: String,
    /// Seconds that a scheduled invocation covers.
    pub window_seconds: NonZeroU32,
    /// Seconds between two polls of a target that is awake, at most; `None` for the window.
    pub sync_seconds: Option<NonZeroU32>,
    /// The least seconds that a `pollingInterval` counts; `None` where each counts as it is.
    pub min_polling_seconds: Option<NonZeroU32>,
    /// Reads of metrics that a namespace has for each minute of the window; `None` for no limit.
    pub metric_reads: Option<u32>,
    /// Whether decisions are carried out, for ScaledObjects that do not say.
    pub mode: Mode,
    /// Which decisions are logged.
    pub log: Log,
    /// Which metrics are written.
    pub metrics: Metrics,
}

/// Where the ScaledObjects are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In a file.
    File(PathBuf),
    /// In these namespaces of every cluster; without any, in all namespaces.
    Clusters(Vec<String>),
}

impl fmt::Display for Source {
    /// The path of the file, or as `OUTRIGGER_CONFIG` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Clusters(namespaces) => write!(f, "cluster:{}", namespaces.join(",")),
        }
    }
}

/// An EKS cluster and the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Its account, 12 digits, where it is given by ARN.
    pub account: Option<String>,
    /// The role that is assumed for it.
    pub role_arn: Option<String>,
    /// Endpoint and CA when they are given rather than asked for.
    pub address: Option<ClusterAddress>,
}

/// Where an API server is and how to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterAddress {
    /// The `https` URL.
    pub endpoint: String,
    /// Base64 of the CA's PEM.
    pub certificate_authority: String,
}

/// Which decisions are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// Writes, changes of reason and errors.
    Changes,
    /// All.
    All,
}

/// Which metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metrics {
    /// Totals of the function.
    Totals,
    /// Totals, and each target under dimensions of its own.
    Targets,
    /// None.
    Off,
}

/// A variable that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("environment variable {variable}: {message}")]
pub struct SettingsError {
    /// Its name.
    pub variable: String,
    /// What was found and what is allowed.
    pub message: String,
}

impl Settings {
    /// Reads the variables. All mistakes at once, so that one deployment shows them all.
    pub fn from_environment(
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, Vec<SettingsError>> {
        let mut errors = Vec::new();
        let mut reader = Reader {
            environment,
            errors: &mut errors,
        };
        reader.refuse_unknown();
        let source = reader.source();
        let tenants = reader.tenants(source.as_ref());
        let clusters = reader.clusters();
        let namespace = reader.get("OUTRIGGER_NAMESPACE").to_owned();
        if !is_dns_label(&namespace) {
            reader.error(
                "OUTRIGGER_NAMESPACE",
                format!(
                    "found {}, allowed: a namespace (DNS-1123 label)",
                    quoted(&namespace)
                ),
            );
        }
        let window_seconds = reader.window();
        let sync_seconds = reader.sync();
        let min_polling_seconds = reader.min_polling();
        let metric_reads = reader.metric_reads(source.as_ref());
        let mode = reader.choice("OUTRIGGER_MODE", &Mode::NAMES);
        let log = reader.choice(
            "OUTRIGGER_LOG",
            &[("changes", Log::Changes), ("all", Log::All)],
        );
        let choices = [
            ("totals", Metrics::Totals),
            ("targets", Metrics::Targets),
            ("off", Metrics::Off),
        ];
        let metrics = reader.choice("OUTRIGGER_METRICS", &choices);
        match (source, window_seconds, mode, log, metrics) {
            (Some(source), Some(window_seconds), Some(mode), Some(log), Some(metrics))
                if errors.is_empty() =>
            {
                Ok(Self {
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
                })
            }
            _ => Err(errors),
        }
    }

    /// Seconds between two polls of a target that is awake, at most.
    #[must_use]
    pub fn poll_seconds(&self) -> NonZeroU32 {
        let window = self.window_seconds;
        self.sync_seconds.map_or(window, |sync| sync.min(window))
    }

    /// The number of the window that a time is in: one more in each.
    #[must_use]
    pub fn turn(&self, time: Timestamp) -> i64 {
        let window = i64::from(self.window_seconds.get());
        time.as_second().div_euclid(window)
    }

    /// Reads of metrics that a namespace has in an invocation; `None` for no limit.
    #[must_use]
    pub fn metric_budget(&self) -> Option<u32> {
        let minutes = self.window_seconds.get().div_ceil(60);
        self.metric_reads.map(|reads| reads.saturating_mul(minutes))
    }

    /// Where something is granted and nothing is looked for: names that are wrong, or no more in use. One sentence each.
    #[must_use]
    pub fn unused_grants(&self) -> Vec<String> {
        let is_looked_at = |namespace: &Namespace| {
            let is_listed = match &self.source {
                Source::File(_) => false,
                Source::Clusters(names) => names.is_empty() || names.contains(&namespace.name),
            };
            is_listed && self.cluster(Some(&namespace.cluster)).is_some()
        };
        let unused: BTreeSet<&Namespace> = { self.tenants.namespaces() }
            .filter(|namespace| !is_looked_at(namespace))
            .collect();
        let sentence = |namespace: &Namespace| {
            format!(
                "{} is granted something (OUTRIGGER_ROLES, OUTRIGGER_QUEUES, OUTRIGGER_EXPRESSIONS), and no ScaledObject is looked for there: \
                 check it against OUTRIGGER_CLUSTERS and OUTRIGGER_CONFIG",
                shown(namespace)
            )
        };
        unused.into_iter().map(sentence).collect()
    }

    /// The account of the function, as far as the settings tell it: a cluster without a role of its own is described in it.
    #[must_use]
    pub fn own_account(&self) -> Option<&str> {
        let mut own = { self.clusters.iter() }.filter(|cluster| cluster.role_arn.is_none());
        own.find_map(|cluster| cluster.account.as_deref())
    }

    /// The name of the cluster of objects that name none.
    #[must_use]
    pub fn default_cluster(&self) -> &str {
        let first = self.clusters.first();
        first.map_or("", |cluster| cluster.name.as_str())
    }

    /// A cluster by the name that an annotation gives, or the default one.
    #[must_use]
    pub fn cluster(&self, name: Option<&str>) -> Option<&Cluster> {
        match name {
            Some(name) => self.clusters.iter().find(|cluster| cluster.name == name),
            None => self.clusters.first(),
        }
    }
}

/// What the settings say of a file that is read and not run: the floor of `pollingInterval`. A variable that is none is an error
/// here, too.
pub fn of_file(
    environment: &BTreeMap<String, String>,
) -> Result<Option<NonZeroU32>, Vec<SettingsError>> {
    let mut errors = Vec::new();
    let mut reader = Reader {
        environment,
        errors: &mut errors,
    };
    reader.refuse_unknown();
    let floor = reader.min_polling();
    if errors.is_empty() {
        Ok(floor)
    } else {
        Err(errors)
    }
}

struct Reader<'a> {
    environment: &'a BTreeMap<String, String>,
    errors: &'a mut Vec<SettingsError>,
}

impl<'a> Reader<'a> {
    fn error(&mut self, variable: &str, message: impl Into<String>) {
        self.errors.push(SettingsError {
            variable: variable.to_owned(),
            message: message.into(),
        });
    }

    /// The value of a variable, its default when it is unset or blank.
    fn get(&self, variable: &str) -> &'a str {
        let default = VARIABLES
            .iter()
            .find(|(name, ..)| *name == variable)
            .map_or("", |(_, default, _)| default);
        self.environment
            .get(variable)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
            .unwrap_or(default)
    }

    /// A misspelt variable would otherwise be a setting that silently does not apply.
    fn refuse_unknown(&mut self) {
        let settings: Vec<&str> = VARIABLES.iter().map(|(name, ..)| *name).collect();
        let others = NOT_SETTINGS.iter().map(|(name, _)| *name);
        let known: Vec<&str> = settings.iter().copied().chain(others).collect();
        let unknown: Vec<&String> = self
            .environment
            .keys()
            .filter(|name| name.starts_with("OUTRIGGER_") && !known.contains(&name.as_str()))
            .collect();
        for name in unknown {
            let cure = match nearest(name, &known) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("allowed: {}", settings.join(", ")),
            };
            self.error(name, format!("unknown, {cure}"));
        }
    }

    fn choice<T: Copy>(&mut self, variable: &str, choices: &[(&str, T)]) -> Option<T> {
        let found = self.get(variable);
        let choice = choices
            .iter()
            .find(|(name, _)| *name == found)
            .map(|(_, value)| *value);
        if choice.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            self.error(
                variable,
                format!("found {}, allowed: {}", quoted(found), names.join(", ")),
            );
        }
        choice
    }

    fn source(&mut self) -> Option<Source> {
        let variable = "OUTRIGGER_CONFIG";
        let found = self.get(variable);
        if let Some(list) = found.strip_prefix("cluster:") {
            let namespaces: Vec<String> = items(list).map(str::to_owned).collect();
            let twice =
                |at: usize, name: &String| namespaces.iter().take(at).any(|known| known == name);
            for (at, name) in namespaces.iter().enumerate() {
                if !is_dns_label(name) {
                    let message = format!(
                        "found {}, allowed: a namespace (DNS-1123 label)",
                        quoted(name)
                    );
                    self.error(variable, message);
                } else if twice(at, name) {
                    let message =
                        format!("found the namespace {} twice, allowed: once", quoted(name));
                    self.error(variable, message);
                }
            }
            return Some(Source::Clusters(namespaces));
        }
        let path = found.strip_prefix("file:").filter(|path| !path.is_empty());
        if path.is_none() {
            self.error(
                variable,
                format!(
                    "found {}, allowed: file:PATH or cluster:NS1,NS2",
                    quoted(found)
                ),
            );
        }
        path.map(|path| Source::File(PathBuf::from(path)))
    }

    /// A list that is not read would look like a limit that holds.
    fn tenants(&mut self, source: Option<&Source>) -> Tenants {
        let (roles, wrong_roles) = grants::grants(
            self.get("OUTRIGGER_ROLES"),
            "the ARN of an IAM role",
            is_role_arn,
        );
        let (queues, wrong_queues) = grants::queues(self.get("OUTRIGGER_QUEUES"));
        let (expressions, wrong_expressions) =
            grants::expressions(self.get("OUTRIGGER_EXPRESSIONS"));
        let wrong = [wrong_roles, wrong_queues, wrong_expressions];
        let may = ["name any role", "read any queue", "have any expression"];
        for ((variable, wrong), may) in TENANTS.into_iter().zip(wrong).zip(may) {
            for message in wrong {
                self.error(variable, message);
            }
            if let (Some(Source::File(_)), false) = (source, self.get(variable).is_empty()) {
                self.error(
                    variable,
                    format!(
                        "set beside a file, allowed: only with OUTRIGGER_CONFIG=cluster:…; a file is shipped with the function and may {may}"
                    ),
                );
            }
        }
        Tenants {
            roles,
            queues,
            expressions,
        }
    }

    /// What people write for a `pollingInterval`, up to an hour.
    /// `None` where it is not set.
    fn min_polling(&mut self) -> Option<NonZeroU32> {
        let variable = "OUTRIGGER_MIN_POLLING";
        let found = self.get(variable);
        if found.is_empty() {
            return None;
        }
        let seconds = found.parse::<u32>().ok().and_then(NonZeroU32::new);
        let seconds = seconds.filter(|seconds| seconds.get() <= 3600);
        if seconds.is_none() {
            let found = quoted(found);
            let message = format!("found {found}, allowed: seconds from 1 to 3600, or unset");
            self.error(variable, message);
        }
        seconds
    }

    /// Whoever writes the file pays the bill.
    fn metric_reads(&mut self, source: Option<&Source>) -> Option<u32> {
        let variable = "OUTRIGGER_MAX_METRIC_READS";
        let found = self.get(variable);
        if found.is_empty() {
            return match source {
                Some(Source::Clusters(_)) => Some(DEFAULT_METRIC_READS),
                Some(Source::File(_)) | None => None,
            };
        }
        let count = found.parse::<u32>().ok();
        let count = count.filter(|count| *count <= MAX_METRIC_READS);
        if count.is_none() {
            self.error(
                variable,
                format!(
                    "found {}, allowed: a whole number from 0 to {MAX_METRIC_READS}",
                    quoted(found)
                ),
            );
        }
        count
    }

    /// A schedule's rate is in minutes. 10 of them leave room below the 14 minutes of a token and the 15 of a function.
    fn window(&mut self) -> Option<NonZeroU32> {
        let found = self.get("OUTRIGGER_WINDOW");
        let seconds = found.parse::<u32>().ok();
        let seconds = seconds.filter(|seconds| (60..=600).contains(seconds) && seconds % 60 == 0);
        if seconds.is_none() {
            self.error(
                "OUTRIGGER_WINDOW",
                format!(
                    "found {}, allowed: whole minutes in seconds, 60, 120, … 600",
                    quoted(found)
                ),
            );
        }
        seconds.and_then(NonZeroU32::new)
    }

    /// Not more often than the HPA, and no more seldom than the shortest window.
    fn sync(&mut self) -> Option<NonZeroU32> {
        let found = self.get("OUTRIGGER_SYNC");
        if found.is_empty() {
            return None;
        }
        let seconds = found.parse::<u32>().ok();
        let seconds = seconds.filter(|seconds| (15..=60).contains(seconds));
        if seconds.is_none() {
            self.error(
                "OUTRIGGER_SYNC",
                format!("found {}, allowed: seconds from 15 to 60", quoted(found)),
            );
        }
        seconds.and_then(NonZeroU32::new)
    }

    fn clusters(&mut self) -> Vec<Cluster> {
        let variable = "OUTRIGGER_CLUSTERS";
        let own_region = self
            .environment
            .get("AWS_REGION")
            .map(String::as_str)
            .unwrap_or_default();
        let mut clusters: Vec<Cluster> = Vec::new();
        for item in items(self.get(variable)) {
            match cluster(item, own_region) {
                Ok(cluster) if clusters.iter().any(|known| known.name == cluster.name) => {
                    self.error(
                        variable,
                        format!(
                            "found the cluster {} twice, allowed: once",
                            quoted(&cluster.name)
                        ),
                    );
                }
                Ok(cluster) => clusters.push(cluster),
                Err(message) => self.error(variable, message),
            }
        }
        if self.get(variable).is_empty() {
            self.error(
                variable,
                "missing, allowed: the name or ARN of an EKS cluster",
            );
        }
        let endpoint = self.get("OUTRIGGER_CLUSTER_ENDPOINT");
        let certificate_authority = self.get("OUTRIGGER_CLUSTER_CA");
        match (endpoint.is_empty(), certificate_authority.is_empty()) {
            (true, true) => {}
            (false, false) if endpoint.starts_with("https://") => {
                let address = ClusterAddress {
                    endpoint: endpoint.to_owned(),
                    certificate_authority: certificate_authority.to_owned(),
                };
                if let Some(first) = clusters.first_mut() {
                    first.address = Some(address);
                }
            }
            (false, false) => {
                // A bearer token goes to this address.
                self.error(
                    "OUTRIGGER_CLUSTER_ENDPOINT",
                    format!("found {}, allowed: an https URL", quoted(endpoint)),
                );
            }
            (true, false) => self.error(
                "OUTRIGGER_CLUSTER_ENDPOINT",
                "missing, allowed: set with OUTRIGGER_CLUSTER_CA, or neither",
            ),
            (false, true) => self.error(
                "OUTRIGGER_CLUSTER_CA",
                "missing, allowed: set with OUTRIGGER_CLUSTER_ENDPOINT, or neither",
            ),
        }
        clusters
    }
}

/// The items of a list that is separated by commas.
fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// A cluster by its name or ARN, for a command that is about one.
#[cfg(feature = "cli")]
pub(crate) fn cluster_by_name_or_arn(item: &str, own_region: &str) -> Result<Cluster, String> {
    cluster(item.split('=').next().unwrap_or_default(), own_region)
}

/// `NAME`, `arn:…:eks:REGION:ACCOUNT:cluster/NAME`, either with `=ROLE_ARN` behind it.
fn cluster(item: &str, own_region: &str) -> Result<Cluster, String> {
    let (cluster, role_arn) = match item.split_once('=') {
        Some((cluster, role)) => (cluster.trim(), Some(role.trim())),
        None => (item, None),
    };
    if let Some(role) = role_arn.filter(|role| !is_role_arn(role)) {
        return Err(format!(
            "found the role {}, allowed: the ARN of an IAM role",
            quoted(role)
        ));
    }
    let parts: Vec<&str> = cluster.split(':').collect();
    let (name, region, account) = match parts.as_slice() {
        [name] => (*name, own_region, None),
        ["arn", _, "eks", region, account, resource] => (
            resource.strip_prefix("cluster/").unwrap_or_default(),
            *region,
            Some(*account),
        ),
        _ => ("", "", None),
    };
    if !is_cluster_name(name) {
        return Err(format!(
            "found {}, allowed: the name or ARN of an EKS cluster",
            quoted(cluster)
        ));
    }
    if !is_region(region) {
        return Err(format!(
            "no region for the cluster {}: found {}, allowed: the cluster's ARN, or AWS_REGION",
            quoted(name),
            quoted(region)
        ));
    }
    if let Some(account) = account.filter(|account| !is_account(account)) {
        return Err(format!(
            "found the account {} in {}, allowed: the 12 digits of an account",
            quoted(account),
            quoted(cluster)
        ));
    }
    Ok(Cluster {
        name: name.to_owned(),
        region: region.to_owned(),
        account: account.map(str::to_owned),
        role_arn: role_arn.map(str::to_owned),
        address: None,
    })
}

/// EKS: a letter or digit, then letters, digits, `-` and `_`, 100 at most.
pub(crate) fn is_cluster_name(name: &str) -> bool {
    name.len() <= 100
        && name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
        let mut environment: BTreeMap<String, String> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        environment
            .entry("AWS_REGION".to_owned())
            .or_insert_with(|| "eu-west-1".to_owned());
        Settings::from_environment(&environment)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn defaults() {
        let settings = read(&[("OUTRIGGER_CLUSTERS", "prod")]).unwrap();
        assert_eq!(
            settings.source,
            Source::File(PathBuf::from("outrigger.yaml"))
        );
        assert_eq!(settings.tenants, Tenants::default());
        assert_eq!(
            (settings.min_polling_seconds, settings.metric_budget()),
            (None, None)
        );
        assert_eq!(
            (settings.namespace.as_str(), settings.log, settings.metrics),
            ("default", Log::Changes, Metrics::Off)
        );
        assert_eq!(settings.window_seconds.get(), 60);
        assert_eq!(settings.mode, Mode::Live);
        let shadow = read(&[("OUTRIGGER_CLUSTERS", "prod"), ("OUTRIGGER_MODE", "shadow")]);
        assert_eq!(shadow.unwrap().mode, Mode::Shadow);
        assert_eq!(
            settings
                .cluster(None)
                .map(|cluster| (cluster.name.as_str(), cluster.region.as_str())),
            Some(("prod", "eu-west-1"))
        );
    }

    #[test]
    fn a_window_is_whole_minutes() {
        for (text, expected) in [
            ("60", Some(60)),
            (" 120 ", Some(120)),
            ("600", Some(600)),
            ("", Some(60)),
            ("0", None),
            ("30", None),
            ("90", None),
            ("660", None),
            ("-60", None),
            ("60s", None),
            ("4294967296", None),
        ] {
            let settings = read(&[("OUTRIGGER_CLUSTERS", "p"), ("OUTRIGGER_WINDOW", text)]);
            let found = settings.map(|settings| settings.window_seconds.get());
            assert_eq!(found.clone().ok(), expected, "{text} {found:?}");
            if let Err(errors) = found {
                let wanted = format!("OUTRIGGER_WINDOW: found `{text}`, allowed: whole minutes");
                assert!(errors[0].contains(&wanted), "{errors:?}");
            }
        }
    }

    #[test]
    fn clusters_by_name_and_arn_with_roles() {
        let settings = read(&[(
            "OUTRIGGER_CLUSTERS",
            "prod, arn:aws:eks:us-east-1:123456789012:cluster/east=arn:aws:iam::123456789012:role/hub",
        )])
        .unwrap();
        let east = settings.cluster(Some("east")).unwrap();
        assert_eq!(
            (east.region.as_str(), east.role_arn.as_deref()),
            ("us-east-1", Some("arn:aws:iam::123456789012:role/hub"))
        );
        assert_eq!(east.account.as_deref(), Some("123456789012"));
        assert_eq!(settings.cluster(Some("west")), None);
    }

    #[test]
    fn objects_in_clusters() {
        const ROLE: &str = "arn:aws:iam::123456789012:role/reader";
        let read = |config: &str, roles: &str| {
            let settings = read(&[
                ("OUTRIGGER_CLUSTERS", "p"),
                ("OUTRIGGER_CONFIG", config),
                ("OUTRIGGER_ROLES", roles),
            ]);
            settings.map(|settings| {
                let roles = settings.tenants.roles.to_string();
                (settings.source.to_string(), roles)
            })
        };
        let good = |config: &str| read(config, ROLE).unwrap();
        assert_eq!(
            good("cluster:a, b,"),
            ("cluster:a,b".to_owned(), ROLE.to_owned())
        );
        assert_eq!(good("cluster:").0, "cluster:");
        for (config, roles, wanted) in [
            (
                "cluster:a,A",
                "",
                "OUTRIGGER_CONFIG: found `A`, allowed: a namespace",
            ),
            (
                "cluster:a,b,a",
                "",
                "OUTRIGGER_CONFIG: found the namespace `a` twice",
            ),
            (
                "cluster",
                "",
                "OUTRIGGER_CONFIG: found `cluster`, allowed: file:PATH or",
            ),
            (
                "cluster:",
                "reader",
                "OUTRIGGER_ROLES: found `reader`, allowed: the ARN",
            ),
            (
                "file:x",
                ROLE,
                "OUTRIGGER_ROLES: set beside a file, allowed: only with",
            ),
        ] {
            let errors = read(config, roles).unwrap_err();
            assert!(
                errors.len() == 1 && errors[0].contains(wanted),
                "{errors:?}"
            );
        }
    }

    #[test]
    fn a_floor_of_polling_and_a_budget_of_metric_reads() {
        let read = |variables: &[(&str, &str)]| {
            let own = [("OUTRIGGER_CLUSTERS", "p"), ("OUTRIGGER_WINDOW", "120")];
            let settings = read(&[&own, variables].concat())?;
            let floor = settings.min_polling_seconds.map(NonZeroU32::get);
            Ok::<_, Vec<String>>((floor, settings.metric_budget()))
        };
        let cluster = ("OUTRIGGER_CONFIG", "cluster:");
        let (floor, reads) = ("OUTRIGGER_MIN_POLLING", "OUTRIGGER_MAX_METRIC_READS");
        assert_eq!(read(&[]), Ok((None, None)));
        assert_eq!(read(&[cluster]), Ok((None, Some(1_000))));
        assert_eq!(
            read(&[cluster, (floor, " 30 "), (reads, "7")]),
            Ok((Some(30), Some(14)))
        );
        // A file obeys both, too.
        assert_eq!(
            read(&[(floor, "3600"), (reads, "0")]),
            Ok((Some(3600), Some(0)))
        );
        for (variable, text) in [
            (floor, "0"),
            (floor, "3601"),
            (floor, "-1"),
            (floor, "30s"),
            (floor, "1.5"),
            (reads, "-1"),
            (reads, "1000001"),
            (reads, "4294967296"),
            (reads, "off"),
        ] {
            let errors = read(&[cluster, (variable, text)]).unwrap_err();
            let wanted = format!("{variable}: found `{text}`, allowed: ");
            assert!(
                errors.len() == 1 && errors[0].contains(&wanted),
                "{errors:?}"
            );
        }
    }

    #[test]
    fn what_is_granted_is_for_objects_in_clusters() {
        let queue = "prod/shop=arn:aws:sqs:eu-west-1:123456789012:shop-*";
        let granted = [
            ("OUTRIGGER_QUEUES", queue),
            ("OUTRIGGER_EXPRESSIONS", "prod/shop"),
        ];
        let own = [
            ("OUTRIGGER_CLUSTERS", "prod"),
            ("OUTRIGGER_CONFIG", "cluster:"),
        ];
        let settings = read(&[&own[..], &granted].concat()).unwrap();
        let Tenants {
            queues,
            expressions,
            ..
        } = settings.tenants;
        assert_eq!(
            queues.map(|queues| queues.to_string()).as_deref(),
            Some(queue)
        );
        assert_eq!(expressions.to_string(), "prod/shop");
        let errors = read(&[&own[..1], &granted].concat()).unwrap_err();
        for wanted in [
            "OUTRIGGER_QUEUES: set beside a file, allowed: only with OUTRIGGER_CONFIG=cluster:…; a file is shipped with the function and may read any queue",
            "OUTRIGGER_EXPRESSIONS: set beside a file, allowed: only with",
        ] {
            assert!(
                errors.iter().any(|error| error.contains(wanted)),
                "{errors:?}"
            );
        }
        let errors = read(&[&own[..], &[("OUTRIGGER_QUEUES", "prod/shop=")]].concat());
        assert!(errors.unwrap_err()[0].contains("OUTRIGGER_QUEUES: found `prod/shop=`"));
        // Nothing is open by a comma.
        assert!(read(&[&own[..], &[("OUTRIGGER_QUEUES", ",")]].concat()).is_err());
    }

    #[test]
    fn what_is_granted_where_nothing_is_looked_for_is_told() {
        let unused = |config: &str| {
            let queues = ["prod/shop", "prod/shp", "west/shop"]
                .map(|place| format!("{place}=arn:aws:sqs:eu-west-1:123456789012:x"));
            let settings = read(&[
                ("OUTRIGGER_CLUSTERS", "prod,east"),
                ("OUTRIGGER_CONFIG", config),
                ("OUTRIGGER_QUEUES", &queues.join(",")),
                ("OUTRIGGER_EXPRESSIONS", "prod/shp"),
            ]);
            let unused = settings.unwrap().unused_grants();
            let first = unused.iter().filter_map(|line| line.split(' ').next());
            first.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(unused("cluster:shop"), ["prod/shp", "west/shop"]);
        assert_eq!(unused("cluster:"), ["west/shop"]);
        assert_eq!(unused("cluster:shop,shp"), ["west/shop"]);
    }

    #[test]
    fn the_account_is_that_of_a_cluster_without_a_role() {
        const ARN: &str = "arn:aws:eks:eu-west-1:111111111111:cluster/own";
        let account = |clusters: &str| {
            let settings = read(&[("OUTRIGGER_CLUSTERS", clusters)]).unwrap();
            settings.own_account().map(str::to_owned)
        };
        assert_eq!(account("prod"), None);
        assert_eq!(
            account(&format!("prod,{ARN}")).as_deref(),
            Some("111111111111")
        );
        let by_role = format!("{ARN}=arn:aws:iam::111111111111:role/hub");
        assert_eq!(account(&by_role), None);
    }

    /// Of the scripts and tests some variables are set where `outrigger` runs, too.
    #[test]
    fn names_of_our_own_that_are_no_settings_are_no_mistakes() {
        let mut variables = vec![("OUTRIGGER_CLUSTERS", "p"), ("AWS_REGION", "eu-west-1")];
        let without = read(&variables).unwrap();
        variables.extend(NOT_SETTINGS.map(|(name, _)| (name, "/tmp/x")));
        assert_eq!(read(&variables), Ok(without));
        let meant = |wrong: &str| read(&[&variables[..], &[(wrong, "x")]].concat()).unwrap_err();
        for (wrong, cure) in [
            ("OUTRIGGER_CACH", "did you mean `OUTRIGGER_CACHE`?"),
            ("OUTRIGGER_METRIC", "did you mean `OUTRIGGER_METRICS`?"),
            ("OUTRIGGER_LOGS", "did you mean `OUTRIGGER_LOG`?"),
            ("OUTRIGGER_SOMETHING_ELSE", "allowed: OUTRIGGER_CLUSTERS, "),
        ] {
            let errors = meant(wrong);
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(errors[0].contains(cure), "{errors:?}");
            assert!(!errors[0].contains("allowed") || !errors[0].contains("OUTRIGGER_CACHE"));
        }
    }

    #[test]
    fn every_mistake_is_reported() {
        let errors = read(&[
            ("OUTRIGGER_CONFIG", "s3://x"),
            ("OUTRIGGER_LOG", "loud"),
            ("OUTRIGGER_MODE", "Shadow"),
            ("OUTRIGGER_CLUSTER", "x"),
            ("OUTRIGGER_NAMESPACE", "A"),
            (
                "OUTRIGGER_CLUSTERS",
                "a b,x=y,arn:aws:eks:::cluster/z,arn:aws:eks:eu-west-1:12:cluster/w,p,p",
            ),
            ("OUTRIGGER_CLUSTER_ENDPOINT", "http://x"),
            ("OUTRIGGER_CLUSTER_CA", "eA=="),
        ])
        .unwrap_err();
        for wanted in [
            "OUTRIGGER_CLUSTER: unknown, did you mean `OUTRIGGER_CLUSTERS`?",
            "OUTRIGGER_CONFIG: found `s3://x`, allowed: file:PATH or cluster:NS1,NS2",
            "OUTRIGGER_CLUSTERS: found `a b`",
            "OUTRIGGER_CLUSTERS: found the role `y`",
            "OUTRIGGER_CLUSTERS: no region",
            "OUTRIGGER_CLUSTERS: found the account `12` in `arn:aws:eks:eu-west-1:12:cluster/w`, allowed: the 12 digits",
            "OUTRIGGER_CLUSTERS: found the cluster `p` twice",
            "OUTRIGGER_CLUSTER_ENDPOINT: found `http://x`, allowed: an https URL",
            "OUTRIGGER_NAMESPACE: found `A`",
            "OUTRIGGER_LOG: found `loud`, allowed: changes, all",
            "OUTRIGGER_MODE: found `Shadow`, allowed: live, shadow",
        ] {
            assert!(
                errors.iter().any(|error| error.contains(wanted)),
                "{wanted} in {errors:#?}"
            );
        }
        assert_eq!(
            read(&[]).unwrap_err(),
            [
                "environment variable OUTRIGGER_CLUSTERS: missing, allowed: the name or ARN of an EKS cluster"
            ]
        );
        assert_eq!(
            read(&[("OUTRIGGER_CLUSTERS", "p"), ("OUTRIGGER_CLUSTER_CA", "x")])
                .unwrap_err()
                .len(),
            1
        );
    }
}
