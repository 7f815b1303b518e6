//! `outrigger status`: what the function would see and do now, target by target. Nothing is written.

mod asked;
mod row;
mod table;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value as Json;
use tokio::time::MissedTickBehavior;

use super::access::Access;
use super::{Failure, hinted, interrupted, print_errors, print_while_read, read_input, told};
use crate::adapters::aws::Aws;
use crate::adapters::kubernetes::Clusters;
use crate::adapters::sources::AwsSources;
use crate::budget::{Budget, LeftOut};
use crate::clock::Clock;
use crate::fields::is_dns_label;
use crate::lambda::install_crypto;
use crate::load::{Loaded, Loader};
use crate::log;
use crate::manifest::{Configuration, Target};
use crate::pass::{self, Due, Outcome, Passed, Plan, World};
use crate::policy::Identity;
use crate::report::select;
use crate::settings::{Settings, Source};
use crate::stop::{Known, LastStops};
use crate::wake::Scope;
use crate::yaml;
use asked::scope;
use row::Row;
use words::{complaints, nothing, printable, unknown_target};

/// Puts the cursor into the corner of an empty screen.
const CLEAR: &str = "\x1b[2J\x1b[H";

#[derive(Debug, clap::Args)]
#[command(after_help = "\
It reads as the function does, with its settings (the OUTRIGGER_ variables, or the options here), and with your own AWS \
credentials and access to the cluster: the function's rights without the writing ones, and no list of pods, Rollouts or \
ConfigMaps. It writes nothing.

Exit code 1 when a target failed or an object is refused; all others are shown first.")]
pub(crate) struct Arguments {
    /// The targets, as `namespace/name` of their ScaledObjects; without any, all.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// Only this namespace; also that of a TARGET without one.
    #[arg(short, long)]
    namespace: Option<String>,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// Print again and again, until Ctrl-C.
    #[arg(short, long)]
    watch: bool,
    /// Seconds between two looks of `--watch`.
    #[arg(long, value_name = "SECONDS", requires = "watch", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=3600))]
    interval: u32,
    /// A file with ScaledObjects, `-` for standard input; else `OUTRIGGER_CONFIG` says where they are.
    #[arg(short, long, value_name = "FILE|-", conflicts_with = "config")]
    file: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
    /// The clock of the demo: when it shows the true time.
    #[arg(long, hide = true, requires = "clock_factor")]
    clock_start: Option<Timestamp>,
    /// How much faster it runs from then on.
    #[arg(long, hide = true, requires = "clock_start")]
    clock_factor: Option<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// One line a target.
    Table,
    /// The table with the bounds and the sentence that explains the count.
    Wide,
    /// A list of objects; times in RFC 3339, ages in seconds, `null` for what is not known.
    Json,
    /// The same as YAML.
    Yaml,
}

/// Exit code 1 when something failed; a watch that is ended is done.
pub(crate) async fn run(
    arguments: Arguments,
    environment: &BTreeMap<String, String>,
) -> Result<ExitCode, Failure> {
    install_crypto();
    log::to_standard_error();
    let (watch, interval) = (arguments.watch, arguments.interval);
    let status = Status::prepare(arguments, environment).await?;
    if watch {
        return tokio::select! {
            result = status.watch(Duration::from_secs(interval.into())) => result,
            () = interrupted() => Ok(ExitCode::SUCCESS),
        };
    }
    let view = status.look().await?;
    print_while_read(&view.output)?;
    print_errors(&view.errors);
    Ok(if view.failed {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    })
}

/// All that stays the same between two looks.
struct Status {
    settings: Settings,
    /// Standard input, which can be read once.
    input: Option<Vec<u8>>,
    scope: Scope,
    namespace: Option<String>,
    format: Format,
    clock: Clock,
    sources: AwsSources,
    clusters: Clusters,
    stops: LastStops,
    loader: Loader,
}

/// What was seen, as text.
struct View {
    output: String,
    errors: String,
    failed: bool,
}

impl Status {
    async fn prepare(
        arguments: Arguments,
        environment: &BTreeMap<String, String>,
    ) -> anyhow::Result<Self> {
        let aws = Aws::from_environment().await;
        let file = arguments.file.as_deref();
        let settings = arguments.access.settings(file, environment, aws.region())?;
        let Arguments {
            targets,
            namespace,
            output,
            file,
            clock_start,
            clock_factor,
            watch: _,
            interval: _,
            access: _,
        } = arguments;
        if let Some(namespace) = namespace.as_ref().filter(|name| !is_dns_label(name)) {
            let message = format!("`{}` is not a namespace", printable(namespace));
            return Err(hinted(message, "such as -n default"));
        }
        let scope = scope(&targets, namespace.as_ref().unwrap_or(&settings.namespace))?;
        let input = match file {
            Some(file) if file.as_os_str() == "-" => Some(read_input(&file)?),
            Some(_) | None => None,
        };
        // Without credentials every single read would fail, and say so.
        let region = settings
            .clusters
            .first()
            .map_or("", |cluster| &cluster.region);
        let credentials = aws.credentials(&Identity::Function, region).await;
        credentials.map_err(|fault| {
            let hint = "sign in, as with `aws sso login`, and set AWS_PROFILE, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
            hinted(fault.message, hint)
        })?;
        let aws = Arc::new(aws);
        let clock = match (clock_start, clock_factor) {
            (Some(start), Some(factor)) => Clock::fast(start, factor),
            (None, _) | (_, None) => Clock::wall(),
        };
        Ok(Self {
            input,
            scope,
            // Names say themselves where they are.
            namespace: namespace.filter(|_| targets.is_empty()),
            format: output,
            clock,
            sources: AwsSources::new(Arc::clone(&aws)),
            clusters: Clusters::new(aws, settings.clusters.clone()),
            stops: LastStops::default(),
            loader: Loader::default(),
            settings,
        })
    }

    /// Looks again and again. What fails the first time ends it, later it is told.
    async fn watch(&self, interval: Duration) -> Result<ExitCode, Failure> {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let is_table = matches!(self.format, Format::Table | Format::Wide);
        let between = match self.format {
            _ if is_table && std::io::stdout().is_terminal() => CLEAR,
            Format::Table | Format::Wide => "\n",
            Format::Json => "",
            Format::Yaml => "---\n",
        };
        let mut is_first = true;
        loop {
            ticks.tick().await;
            match self.look().await {
                Ok(view) => {
                    let between = if is_first && between != CLEAR {
                        ""
                    } else {
                        between
                    };
                    if !print_while_read(&format!("{between}{}", view.output))? {
                        return Ok(ExitCode::SUCCESS);
                    }
                    print_errors(&view.errors);
                }
                Err(error) if is_first => return Err(error.into()),
                Err(error) => print_errors(&told(&error)),
            }
            is_first = false;
        }
    }

    /// One pass without hands, and what came of it.
    async fn look(&self) -> anyhow::Result<View> {
        self.clusters.begin_invocation().await;
        let Loaded {
            configuration,
            stale,
            objects: _,
        } = self.load().await?;
        let source = self.settings.source.to_string();
        let (mut targets, unknown) = select(&configuration, &self.scope);
        targets.retain(|target| self.is_in_namespace(&target.id.namespace));
        let now = self.clock.now();
        let known = { stale.is_empty() }
            .then(|| Known::of(&configuration, self.settings.default_cluster()));
        let plan = Plan {
            now,
            // Each call has a timeout of its own.
            deadline: None,
            default_cluster: self.settings.default_cluster(),
            poll_seconds: Some(self.settings.poll_seconds()),
            stops: &self.stops,
            function: None,
            known: known.as_ref(),
        };
        let turn = self.settings.turn(now);
        let budget = Budget::new(&self.settings, &configuration.targets, turn);
        let looks: Vec<(bool, &Target)> = targets.iter().map(|target| (false, *target)).collect();
        let over = budget.over(&looks, &LeftOut::default());
        let due = { targets.iter().zip(over) }.map(|(target, over_budget)| Due {
            over_budget,
            ..Due::from(target)
        });
        let world = World::to_look_at(&self.sources, &self.clusters, &self.clusters);
        let Passed {
            outcomes,
            namespaces: _,
            notices,
        } = pass::run(world, due, plan).await;
        let rows = self.rows(&outcomes, &configuration);
        if rows.is_empty() && unknown.is_empty() && stale.is_empty() {
            return Err(nothing(&configuration, self.namespace.as_deref(), &source));
        }
        let mut errors = complaints(&rows, &notices);
        for stale in &stale {
            let _infallible = writeln!(errors, "error: {}", printable(stale));
        }
        for name in &unknown {
            let line = unknown_target(name, &configuration, &source);
            let _infallible = writeln!(errors, "{line}");
        }
        let json = || Json::Array(rows.iter().map(|row| row.to_json(now)).collect());
        let output = match self.format {
            // Without a row the errors say it all.
            Format::Table | Format::Wide if rows.is_empty() => String::new(),
            Format::Table => table::table(&rows, false, now),
            Format::Wide => table::table(&rows, true, now),
            Format::Json => format!("{:#}\n", json()),
            Format::Yaml => yaml::document(&json()),
        };
        Ok(View {
            output,
            errors,
            failed: !unknown.is_empty()
                || !stale.is_empty()
                || notices.iter().any(|notice| notice.is_error)
                || rows.iter().any(Row::is_failed),
        })
    }

    /// What there is to scale, as the function would find it. Nothing else here knows where that comes from.
    async fn load(&self) -> anyhow::Result<Loaded> {
        let read = |path: &Path| match &self.input {
            Some(bytes) => Ok(bytes.clone()),
            None => std::fs::read(path),
        };
        let loaded = self.loader.load(&self.settings, read, &self.clusters, None);
        loaded.await.map_err(|error| {
            let hint = match self.settings.source {
                Source::File(_) => {
                    "give the function's file with -f FILE, or say where it is with OUTRIGGER_CONFIG=file:PATH"
                }
                Source::Clusters(_) => "the function needs the same rights; the README lists them",
            };
            hinted(error.to_string(), hint)
        })
    }

    fn is_in_namespace(&self, namespace: &str) -> bool {
        let wanted = self.namespace.as_deref();
        wanted.is_none_or(|wanted| wanted == namespace)
    }

    /// The targets that were looked at, then what is refused of those asked for.
    fn rows<'a>(
        &self,
        outcomes: &'a [Outcome<'a>],
        configuration: &'a Configuration,
    ) -> Vec<Row<'a>> {
        let refused = configuration.refused().into_iter().filter(|refused| {
            let name = refused.name.as_str();
            let is_named = match &self.scope {
                Scope::Targets(names) => names.iter().any(|wanted| wanted.to_string() == name),
                Scope::All | Scope::Queues(_) => true,
            };
            let name = name.strip_prefix("TriggerAuthentication ").unwrap_or(name);
            let namespace = name.split_once('/').map(|(namespace, _)| namespace);
            is_named && (self.namespace.is_none() || self.namespace.as_deref() == namespace)
        });
        let refused = refused.map(Row::Refused);
        outcomes.iter().map(Row::Seen).chain(refused).collect()
    }
}
