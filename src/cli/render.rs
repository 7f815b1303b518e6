//! `outrigger render`: the infrastructure for exactly the targets that there are.

mod command;
mod folder;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use super::access::Access;
use super::check::nothing_found;
use super::{Failure, hinted, print, print_errors, read_manifests, read_manifests_by};
use crate::fields::Severity;
use crate::manifest::{
    ClusterContext, Configuration, WorkloadKind, is_account, is_region, read_exported,
};
use crate::render::{ENVIRONMENT, Plurals, RenderError, Rendered, Request, render};
use crate::settings::{Settings, Source};
use command::command;
use folder::Folder;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --output-dir all YAML goes to standard output as one stream. In the folder are then: template.yaml, the whole stack for SAM; \
access.yaml, function.env (for --env-file) and wiring.yaml, for a function that cargo lambda deploys; kubernetes/CLUSTER/NAMESPACE.yaml, for kubectl apply; and \
account-*.yaml for other accounts and regions, where there are any.

No profile is read: the region is that of --region, AWS_REGION or AWS_DEFAULT_REGION, else that of the first cluster's ARN. \
The same objects and settings give the same bytes, so that they can be committed; --check in a pipeline then tells when they are stale.

Exit code 1 when an object is refused, and nothing is written then.")]
pub(crate) struct Arguments {
    /// Files with ScaledObjects, read as one stream; `-` is standard input, as in `helm template … | outrigger render -f -`.
    /// Without any, the file of `OUTRIGGER_CONFIG`.
    #[arg(short, long = "file", value_name = "FILE|-")]
    files: Vec<PathBuf>,
    /// The folder to write to; without it, standard output.
    #[arg(short = 'd', long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Write nothing; tell what is stale, missing or extra in the folder, with exit code 1 if anything is.
    #[arg(long, requires = "output_dir")]
    check: bool,
    /// Also overwrite files that were not rendered.
    #[arg(long, requires = "output_dir", conflicts_with = "check")]
    force: bool,
    /// The namespace of objects that name none, as in `OUTRIGGER_NAMESPACE`.
    #[arg(short, long)]
    namespace: Option<String>,
    /// Seconds between scheduled events, as in `OUTRIGGER_WINDOW`.
    #[arg(long, value_name = "SECONDS")]
    window: Option<String>,
    #[command(flatten)]
    access: Access,
    /// The account of the function, where the ARNs of its clusters and the URLs of its queues do not tell it.
    #[arg(long, value_name = "ID")]
    account: Option<String>,
    /// The resource of a kind, where it is not as usual, such as `Ox.example.com=oxen`.
    #[arg(long, value_name = "KIND.GROUP=RESOURCE")]
    resource: Vec<String>,
    /// Where the package of the function is, for template.yaml.
    #[arg(long, value_name = "FILE", default_value = PACKAGE)]
    package: PathBuf,
}

/// What is packed with the function, by `Cargo.toml`.
const PACKAGED: &str = "outrigger.yaml";

/// Where `cargo lambda build --output-format zip` leaves it.
const PACKAGE: &str = "target/lambda/outrigger-lambda/bootstrap.zip";

pub(crate) fn run(
    arguments: &Arguments,
    environment: &BTreeMap<String, String>,
) -> Result<ExitCode, Failure> {
    let asked = Asked::of(arguments, environment)?;
    let configuration = asked.configuration()?;
    print_errors(&findings(&configuration));
    if configuration.errors().next().is_some() {
        return Ok(ExitCode::from(1));
    }
    if configuration.targets.is_empty() {
        let message = nothing_found(&configuration.other_kinds);
        return Err(Failure::User(anyhow::Error::msg(message)));
    }
    let rendered = asked.render(&configuration, arguments)?;
    for note in &rendered.notes {
        print_errors(&format!("note: {note}\n"));
    }
    if let Some(note) = asked.package_note() {
        print_errors(&format!("note: {note}\n"));
    }
    match &arguments.output_dir {
        None => {
            print(&stream(&rendered))?;
            Ok(ExitCode::SUCCESS)
        }
        Some(path) => {
            let folder = Folder {
                path,
                files: &rendered.files,
            };
            let (text, good) = if arguments.check {
                let (text, good) = folder.check()?;
                (text + asked.beside_files(), good)
            } else {
                (folder.write(arguments.force)?, true)
            };
            print(&text)?;
            Ok(ExitCode::from(u8::from(!good)))
        }
    }
}

/// All YAML files as one stream, each named as `helm template` does.
fn stream(rendered: &Rendered) -> String {
    let mut stream = String::new();
    let yaml = rendered
        .files
        .iter()
        .filter(|(path, _)| *path != ENVIRONMENT);
    for (path, text) in yaml {
        let _infallible = write!(stream, "---\n# Source: {path}\n{text}");
    }
    stream
}

fn findings(configuration: &Configuration) -> String {
    let mut text = String::new();
    for finding in &configuration.findings {
        let label = if finding.problem.severity == Severity::Error {
            "error: "
        } else {
            ""
        };
        let _infallible = writeln!(text, "{label}{finding}");
    }
    text
}

/// What is asked for, once it is known to make sense.
struct Asked {
    files: Vec<PathBuf>,
    settings: Settings,
    region: String,
    plurals: Plurals,
    command: String,
}

impl Asked {
    fn of(arguments: &Arguments, environment: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let variable = |name: &str| {
            let value = environment.get(name).map(|value| value.trim().to_owned());
            value.filter(|value| !value.is_empty())
        };
        // No profile is asked: what is rendered depends on the command alone, and on what its header repeats.
        let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        let mut variables = environment.clone();
        let given = [
            ("OUTRIGGER_NAMESPACE", &arguments.namespace),
            ("OUTRIGGER_WINDOW", &arguments.window),
        ];
        for (name, value) in given {
            variables.extend(value.clone().map(|value| (name.to_owned(), value)));
        }
        let settings = arguments
            .access
            .settings(None, &variables, region.clone())?;
        let named = arguments.access.region.clone().or(region);
        let first = settings.clusters.first();
        let region = named.or_else(|| first.map(|cluster| cluster.region.clone()));
        let region = region.unwrap_or_default();
        if !is_region(&region) {
            let message = format!("--region: found `{region}`, allowed: a region");
            return Err(hinted(message, "such as --region eu-west-1"));
        }
        if let Some(account) = arguments
            .account
            .as_ref()
            .filter(|account| !is_account(account))
        {
            let message =
                format!("--account: found `{account}`, allowed: the 12 digits of an account");
            return Err(hinted(message, "such as --account 123456789012"));
        }
        let files = match &settings.source {
            // A right on all namespaces names no workload.
            Source::Clusters(namespaces) if namespaces.is_empty() => {
                let hint = "name the namespaces, as in OUTRIGGER_CONFIG=cluster:NAMESPACE,…, or apply infra/kubernetes/components/cluster-mode-all-namespaces";
                let message = "the function is to read ScaledObjects of every namespace, and what is rendered is for known ones";
                return Err(hinted(message, hint));
            }
            Source::Clusters(_) if settings.clusters.len() > 1 => {
                let message = "the ScaledObjects are in the clusters, and nothing in what kubectl prints tells of which one it is";
                let hint = "render for one cluster at a time: one --cluster, its own objects, and a folder of their own";
                return Err(hinted(message, hint));
            }
            Source::Clusters(namespaces) if arguments.files.is_empty() => {
                // kubectl takes one namespace at a time.
                let get = |namespace: &String| {
                    format!(
                        "kubectl get scaledobjects,triggerauthentications -n {namespace} -o yaml"
                    )
                };
                let hint = match namespaces.as_slice() {
                    [one] => format!("{} | outrigger render -f -", get(one)),
                    several => format!(
                        "for each namespace a file, and a -f each, such as {} > {}.yaml",
                        several.first().map(get).unwrap_or_default(),
                        several.first().map_or("", String::as_str),
                    ),
                };
                return Err(hinted(
                    "the ScaledObjects are in the cluster, and nothing is rendered without them",
                    &hint,
                ));
            }
            Source::File(path) if arguments.files.is_empty() => vec![path.clone()],
            Source::File(_) | Source::Clusters(_) => arguments.files.clone(),
        };
        let resources: anyhow::Result<Plurals> =
            arguments.resource.iter().map(|text| plural(text)).collect();
        Ok(Self {
            command: command(arguments, &files, &settings, &region, environment),
            files,
            settings,
            region,
            plurals: resources?,
        })
    }

    fn configuration(&self) -> anyhow::Result<Configuration> {
        let Settings {
            source,
            clusters,
            namespace,
            min_polling_seconds,
            ..
        } = &self.settings;
        let names: Vec<String> = clusters
            .iter()
            .map(|cluster| cluster.name.clone())
            .collect();
        let configuration = match source {
            Source::File(_) => {
                read_manifests(&self.files, namespace, &names, *min_polling_seconds)?
            }
            Source::Clusters(namespaces) => {
                let cluster = names.first().map_or("", String::as_str);
                let context = ClusterContext::of(cluster, &self.settings);
                read_manifests_by(&self.files, |files| {
                    read_exported(files, namespace, namespaces, context)
                })?
            }
        };
        Ok(configuration.with_default_mode(self.settings.mode))
    }

    /// Where what is rendered for may be something else than what the function reads.
    fn package_note(&self) -> Option<String> {
        match self.settings.source {
            Source::File(_) => {}
            Source::Clusters(_) => return None,
        }
        let is_packaged = |path: &PathBuf| path.file_name().is_some_and(|name| name == PACKAGED);
        if let [file] = self.files.as_slice()
            && is_packaged(file)
        {
            return None;
        }
        let names: Vec<String> = self
            .files
            .iter()
            .map(|path| match path.to_string_lossy() {
                name if name == "-" => "standard input".to_owned(),
                name => format!("`{name}`"),
            })
            .collect();
        let names = names.join(", ");
        Some(format!(
            "the function reads `{PACKAGED}` of its package and no other file: it must hold the same objects as {names}, \
             in one stream with `---` between them"
        ))
    }

    /// What no rendered file shows and must be deployed all the same.
    fn beside_files(&self) -> &'static str {
        match self.settings.source {
            Source::File(_) => {
                "not in these files: the objects themselves, such as a changed maxReplicaCount or pollingInterval, are in outrigger.yaml \
                 of the package; after a change build and deploy the function again\n"
            }
            Source::Clusters(_) => "",
        }
    }

    fn render(
        &self,
        configuration: &Configuration,
        arguments: &Arguments,
    ) -> Result<Rendered, Failure> {
        let package = match &arguments.output_dir {
            Some(folder) => seen_from(&arguments.package, folder)?,
            None => arguments.package.clone(),
        };
        let request = Request {
            targets: &configuration.targets,
            settings: &self.settings,
            region: &self.region,
            account: arguments.account.as_deref(),
            plurals: &self.plurals,
            package: &package.to_string_lossy(),
            command: &self.command,
        };
        render(&request).map_err(|errors| {
            let is_internal = errors.iter().any(RenderError::is_internal);
            let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
            let message = format!("nothing is rendered: {}", messages.join("\n  "));
            let is_unclear = |error: &RenderError| matches!(error, RenderError::WhichAccount(_));
            let error = if errors.iter().any(is_unclear) {
                hinted(message, "such as --account 123456789012")
            } else {
                anyhow::Error::msg(message)
            };
            if is_internal {
                Failure::Internal(error)
            } else {
                Failure::User(error)
            }
        })
    }
}

/// `KIND.GROUP=RESOURCE`, or `KIND=RESOURCE` of the core group.
fn plural(text: &str) -> anyhow::Result<((String, String), String)> {
    let wrong = || {
        let message = format!("--resource: found `{text}`, allowed: KIND.GROUP=RESOURCE");
        hinted(message, "such as --resource Ox.example.com=oxen")
    };
    let (kind, resource) = text.split_once('=').ok_or_else(wrong)?;
    let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
    let version = if group.is_empty() {
        "v1".to_owned()
    } else {
        format!("{group}/v1")
    };
    WorkloadKind::parse(&version, kind).map_err(|_| wrong())?;
    let is_resource = crate::fields::is_dns_label(resource);
    if !is_resource {
        return Err(wrong());
    }
    let key = (group.to_owned(), kind.to_owned());
    Ok((key, resource.to_owned()))
}

/// The path to a file from a folder, both given from here.
fn seen_from(file: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let absolute = |path: &Path| {
        let path = std::path::absolute(path).map_err(|error| {
            let message = format!("could not tell where `{}` is: {error}", path.display());
            hinted(message, "run it in a folder that exists")
        })?;
        Ok::<_, anyhow::Error>(lexical(&path))
    };
    let (file, folder) = (absolute(file)?, absolute(folder)?);
    let shared = file
        .components()
        .zip(folder.components())
        .take_while(|(one, other)| one == other)
        .count();
    let up = folder
        .components()
        .skip(shared)
        .map(|_| Component::ParentDir);
    Ok(up.chain(file.components().skip(shared)).collect())
}

/// Without `..`, by name alone: what a link points to is not asked.
fn lexical(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}
