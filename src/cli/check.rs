//! `outrigger check`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{Failure, print, read_input};
use crate::fields::Severity;
use crate::manifest::{Context, Target, read};
use crate::policy::{Mode, Trigger};
use crate::thousandths;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Files with ScaledObjects; `-` reads standard input, as in `helm template … | outrigger check -f -`.
    #[arg(
        short,
        long = "file",
        value_name = "FILE|-",
        default_value = "outrigger.yaml"
    )]
    files: Vec<PathBuf>,
    /// The namespace of objects that name none.
    #[arg(short, long, default_value = "default")]
    namespace: String,
}

/// Exit code 1 when anything is refused, or nothing is there. Findings and targets both go to standard output: they are what was asked for.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut text = String::new();
    let mut refused = 0;
    let mut found = 0;
    for path in &arguments.files {
        let bytes = read_input(path)?;
        let file = path.to_string_lossy();
        let configuration = read(
            &bytes,
            Context {
                file: &file,
                namespace: &arguments.namespace,
                clusters: &[],
            },
        );
        for finding in &configuration.findings {
            let label = if finding.problem.severity == Severity::Error {
                "error: "
            } else {
                ""
            };
            let _infallible = writeln!(text, "{label}{finding}");
        }
        for target in &configuration.targets {
            let _infallible = writeln!(text, "{}", describe(target));
        }
        let (good, bad) = (configuration.targets.len(), configuration.refused().len());
        let _infallible = writeln!(
            text,
            "{file}: {good} targets, {bad} refused, {} other documents skipped",
            configuration.skipped
        );
        refused += bad;
        found += good + bad;
    }
    if found == 0 {
        text += "error: no ScaledObject (keda.sh/v1alpha1) in what was given\n";
    }
    print(&text)?;
    Ok(if refused == 0 && found > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

fn describe(target: &Target) -> String {
    let Target {
        id,
        workload,
        polling_seconds,
        policy,
        ..
    } = target;
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
    format!(
        "ok: {id}: {} {} {min}..{max} by {}, polled every {polling_seconds} s{mode}",
        workload.kind.kind(),
        workload.name,
        triggers.join(", ")
    )
}
