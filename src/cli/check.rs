//! `outrigger check`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use futures_util::future::{join, join_all};

use super::access::{Access, unusable};
use super::{Failure, hinted, print, read_manifests};
use crate::adapters::aws::Aws;
use crate::adapters::kubernetes::Clusters;
use crate::budget;
use crate::document::quoted;
use crate::fields::Severity;
use crate::lambda::install_crypto;
use crate::load::{Loaded, Loader};
use crate::log;
use crate::manifest::{Configuration, Target};
use crate::owners;
use crate::policy::{Mode, Pause, Policy, Trigger};
use crate::ports::{Fault, Memories as _, Namespace, Workloads as _};
use crate::settings::{self, Source};
use crate::stop::{Known, Mistake};
use crate::thousandths;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --config cluster:NS1,NS2 the ScaledObjects of the clusters are checked as the function does it, with your own AWS credentials; a file is \
checked without any.

Without --file and --config, OUTRIGGER_CONFIG says what is checked, and without that the file outrigger.yaml is.")]
pub(crate) struct Arguments {
    /// Files with ScaledObjects, read as one stream; `-` reads standard input, as in `helm template … | outrigger check -f -`.
    #[arg(
        short,
        long = "file",
        value_name = "FILE|-",
        conflicts_with_all = ["config", "cluster", "region"]
    )]
    files: Vec<PathBuf>,
    /// The namespace of objects that name none.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    access: Access,
}

impl Arguments {
    /// The files to check; `None` where the objects are in clusters, or an option says that they should be.
    fn files(&self, environment: &BTreeMap<String, String>) -> Option<Vec<PathBuf>> {
        if !self.files.is_empty() {
            return Some(self.files.clone());
        }
        if self.access.is_given() {
            return None;
        }
        let source = environment.get("OUTRIGGER_CONFIG");
        let source = source.filter(|source| !source.is_empty());
        let path = source.map_or(Some("outrigger.yaml"), |source| {
            source.strip_prefix("file:").filter(|path| !path.is_empty())
        });
        path.map(|path| vec![PathBuf::from(path)])
    }
}

/// What was found so far, as text.
#[derive(Default)]
struct Checked {
    text: String,
    refused: usize,
    /// Mistakes in a `ConfigMap` that fail the function.
    refused_stops: usize,
    found: usize,
    other_kinds: BTreeSet<String>,
}

/// Exit code 1 when anything is refused, a stop is mistyped, or nothing is there. Findings and targets both go to standard output: they are what was asked for.
pub(crate) async fn run(
    arguments: &Arguments,
    environment: &BTreeMap<String, String>,
) -> Result<ExitCode, Failure> {
    let mut checked = Checked::default();
    if let Some(files) = arguments.files(environment) {
        let floor = settings::of_file(environment).map_err(|errors| {
            let hint = "set what the function has, or nothing: the files are then checked as it would read them with its defaults";
            hinted(unusable(&errors, &[]), hint)
        })?;
        let configuration = read_manifests(&files, &arguments.namespace, &[], floor)?;
        let names: Vec<_> = files.iter().map(|path| path.to_string_lossy()).collect();
        checked.add(&configuration, &names.join(", "));
    } else {
        clusters(&arguments.access, environment, &mut checked).await?;
    }
    let Checked {
        mut text,
        refused,
        refused_stops,
        found,
        other_kinds,
    } = checked;
    if found == 0 {
        let _infallible = writeln!(text, "error: {}", nothing_found(&other_kinds));
    }
    print(&text)?;
    Ok(if refused == 0 && refused_stops == 0 && found > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// Lists and checks what is in the clusters. A file needs none of this.
async fn clusters(
    access: &Access,
    environment: &BTreeMap<String, String>,
    checked: &mut Checked,
) -> anyhow::Result<()> {
    install_crypto();
    log::to_standard_error();
    let aws = Aws::from_environment().await;
    let settings = access.settings(None, environment, aws.region())?;
    if let Source::File(path) = &settings.source {
        let path = path.display();
        let message = match access.config {
            Some(_) => format!("`--config` names the file `{path}`"),
            None => format!(
                "`--cluster` and `--region` are about clusters, and the ScaledObjects are in the file `{path}`"
            ),
        };
        let hint = "check a file with -f FILE, and clusters with --config cluster:NS1,NS2";
        return Err(hinted(message, hint));
    }
    let clusters = Clusters::new(Arc::new(aws), settings.clusters.clone());
    clusters.begin_invocation().await;
    let unread = |_: &Path| Err(io::Error::from(io::ErrorKind::Unsupported));
    let loader = Loader::default();
    let found = loader.load(&settings, unread, &clusters, None).await;
    let Loaded {
        configuration,
        stale,
        objects: _,
    } = found
        .map_err(|error| hinted(error.to_string(), "it asks with your own AWS credentials"))?;
    checked.refused += stale.len();
    for stale in stale {
        let _infallible = writeln!(checked.text, "error: {stale}");
    }
    // With an option only a part is looked at.
    let ungranted = (!access.is_given()).then(|| settings.unused_grants());
    let exceeded = budget::exceeded(&settings, &configuration.targets);
    for line in ungranted.into_iter().flatten().chain(exceeded) {
        let _infallible = writeln!(checked.text, "warning: {line}");
    }
    let default_cluster = settings.default_cluster();
    let owners = other_owners(&clusters, &configuration, default_cluster).await;
    let known = (checked.refused == 0).then(|| Known::of(&configuration, default_cluster));
    for (line, is_error) in stops(&clusters, &configuration, default_cluster, known.as_ref()).await
    {
        checked.refused_stops += usize::from(is_error);
        let _infallible = writeln!(checked.text, "{line}");
    }
    let unused = unused_namespaces(&settings.source, &configuration);
    // A namespace that cannot be listed is an error of its own.
    let unused = unused.iter().filter(|_| checked.refused == 0);
    for line in owners.iter().chain(unused) {
        let _infallible = writeln!(checked.text, "{line}");
    }
    checked.add(&configuration, &settings.source.to_string());
    Ok(())
}

/// What people typed into a `ConfigMap` that does not do what it says, and whether that is an error: the function fails for it.
async fn stops(
    clusters: &Clusters,
    configuration: &Configuration,
    default_cluster: &str,
    known: Option<&Known>,
) -> Vec<(String, bool)> {
    let loads = namespaces(configuration, default_cluster).into_iter();
    let loads = loads.map(async |namespace| {
        let keys = Box::pin(clusters.load(&namespace)).await;
        (namespace, keys)
    });
    let mut lines = Vec::new();
    for (namespace, keys) in join_all(loads).await {
        let Namespace { cluster, name } = &namespace;
        let mistakes = match keys {
            Ok(keys) => known.map_or_else(Vec::new, |known| known.mistakes(&namespace, &keys)),
            Err(Fault { message, .. }) => vec![Mistake {
                text: message,
                is_error: false,
            }],
        };
        lines.extend(mistakes.into_iter().map(|Mistake { text, is_error }| {
            let label = if is_error { "error" } else { "warning" };
            (
                format!("cluster {cluster} ({name}): {label}: {text}"),
                is_error,
            )
        }));
    }
    lines
}

/// Where the targets are.
fn namespaces(configuration: &Configuration, default_cluster: &str) -> BTreeSet<Namespace> {
    let targets = configuration.targets.iter();
    targets
        .map(|target| namespace_of(target, default_cluster))
        .collect()
}

fn namespace_of(target: &Target, default_cluster: &str) -> Namespace {
    let cluster = target.cluster.as_deref().unwrap_or(default_cluster);
    Namespace {
        cluster: cluster.to_owned(),
        name: target.id.namespace.clone(),
    }
}

/// Who else scales the targets' workloads: told before the first change, which would be held for it.
async fn other_owners(
    clusters: &Clusters,
    configuration: &Configuration,
    default_cluster: &str,
) -> Vec<String> {
    let namespaces = namespaces(configuration, default_cluster);
    let lists = namespaces.into_iter().map(async |namespace| {
        let lists = join(
            clusters.autoscalers(&namespace),
            clusters.scaled_objects(&namespace),
        );
        let lists = Box::pin(lists).await;
        (namespace, lists)
    });
    let lists: BTreeMap<_, _> = join_all(lists).await.into_iter().collect();
    let mut lines = Vec::new();
    for (namespace, (autoscalers, _)) in &lists {
        if let Err(fault) = autoscalers {
            let Namespace { cluster, name } = namespace;
            lines.push(format!("cluster {cluster} ({name}): warning: {fault}"));
        }
    }
    for target in &configuration.targets {
        let namespace = namespace_of(target, default_cluster);
        let Some((Ok(autoscalers), scaled_objects)) = lists.get(&namespace) else {
            continue;
        };
        let bounds = target.policy.bounds;
        let change = (bounds.min(), bounds.max());
        let scaled_objects = scaled_objects.as_deref().unwrap_or_default();
        let conflicts = owners::conflicts(&target.workload, change, autoscalers, scaled_objects);
        if owners::found(&conflicts).next().is_some() {
            let owner = owners::explain(&namespace.name, &conflicts);
            lines.push(format!(
                "cluster {} ({}): warning: the count would be held: {owner}",
                namespace.cluster, target.id
            ));
        }
    }
    lines
}

/// The namespaces without any ScaledObject, in each cluster: an API server lists what is in a namespace that it does not have.
fn unused_namespaces(source: &Source, configuration: &Configuration) -> Vec<String> {
    let Source::Clusters(namespaces) = source else {
        return Vec::new();
    };
    let targets = configuration.targets.iter();
    let mut used: BTreeSet<String> = targets.map(|target| target.id.namespace.clone()).collect();
    let objects = configuration.findings.iter();
    let objects = objects.filter_map(|finding| finding.object.as_ref()?.split_once('/'));
    used.extend(objects.map(|(namespace, _)| namespace.to_owned()));
    let unused = namespaces.iter().filter(|name| !used.contains(*name));
    unused
        .map(|name| {
            format!(
                "warning: no ScaledObject is in namespace `{name}`; where there should be one, is the name right? kubectl get namespace {name}"
            )
        })
        .collect()
}

impl Checked {
    fn add(&mut self, configuration: &Configuration, source: &str) {
        for finding in &configuration.findings {
            let label = if finding.problem.severity == Severity::Error {
                "error: "
            } else {
                ""
            };
            let _infallible = writeln!(self.text, "{label}{finding}");
        }
        for target in &configuration.targets {
            let _infallible = writeln!(self.text, "{}", describe(target));
        }
        let (good, bad) = (configuration.targets.len(), configuration.refused().len());
        let _infallible = writeln!(
            self.text,
            "{source}: {}, {bad} refused, {} skipped",
            counted(good, "target"),
            counted(configuration.skipped, "other document"),
        );
        self.other_kinds.extend(configuration.other_kinds.clone());
        self.refused += bad;
        self.found += good + bad;
    }
}

/// What is wrong with a stream that has nothing to scale.
pub(super) fn nothing_found(other_kinds: &BTreeSet<String>) -> String {
    let message = "no ScaledObject (keda.sh/v1alpha1) in what was given";
    if other_kinds.is_empty() {
        return message.to_owned();
    }
    let kinds: Vec<String> = other_kinds
        .iter()
        .take(8)
        .map(|kind| quoted(kind))
        .collect();
    let more = if other_kinds.len() > kinds.len() {
        ", …"
    } else {
        ""
    };
    format!("{message}, which has: {}{more}", kinds.join(", "))
}

fn counted(count: usize, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

/// How often the function polls. The window is that of the shipped schedule unless a setting says otherwise.
fn polls(policy: &Policy) -> String {
    let seconds = policy.polling_seconds.get();
    match policy.bounds.rest() {
        _ if seconds <= 60 => format!("polled every {seconds} s"),
        Some(rest) => format!("polled once a window (60 s), at {rest} every {seconds} s"),
        None => "polled once a window (60 s)".to_owned(),
    }
}

fn describe(target: &Target) -> String {
    let Target {
        id,
        workload,
        policy,
        ..
    } = target;
    let polls = polls(policy);
    let (min, max) = (policy.bounds.min(), policy.bounds.max());
    let triggers: Vec<String> = policy
        .triggers
        .iter()
        .map(|trigger| match trigger {
            Trigger::SqsQueue(trigger) => format!(
                "{} / {} per replica",
                trigger.queue.address.name(),
                trigger.messages_per_replica
            ),
            Trigger::Cron(trigger) => format!("{trigger} desiredReplicas {}", trigger.replicas),
            Trigger::CloudWatch(trigger) => {
                let target = i64::try_from(trigger.target_milli.get()).unwrap_or(i64::MAX);
                let target = thousandths::shown(target);
                format!("{} / {target} per replica", trigger.metric)
            }
        })
        .collect();
    let mode = match policy.mode {
        Mode::Live => "",
        Mode::Shadow => ", in shadow mode",
    };
    let pause = pause(policy);
    format!(
        "ok: {id}: {} {} {min}..{max} by {}, {polls}{mode}{pause}",
        workload.kind.kind(),
        workload.name,
        triggers.join(", ")
    )
}

/// The annotations that stop something. In a file they are easily forgotten: there they pause Outrigger, and not KEDA.
fn pause(policy: &Policy) -> String {
    let Pause {
        all,
        replicas,
        scale_in,
        scale_out,
    } = policy.pause;
    let replicas = replicas.map(|count| format!("paused-replicas ({count})"));
    let switches = [
        (all, "paused"),
        (scale_in, "paused-scale-in"),
        (scale_out, "paused-scale-out"),
    ];
    let switches = switches.into_iter().filter(|(is_on, _)| *is_on);
    let switches = switches.map(|(_, name)| name.to_owned());
    let names: Vec<String> = replicas.into_iter().chain(switches).collect();
    if names.is_empty() {
        return String::new();
    }
    format!(", PAUSED by its annotation {}", names.join(", "))
}
