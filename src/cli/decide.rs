//! `outrigger decide`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{Failure, hinted, print, read_input};
use crate::fields::Severity;
use crate::record::{Record, SCHEMA, decision_json};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The record, or a line of the function's log that holds one; `-` reads standard input.
    #[arg(short, long = "file", value_name = "FILE|-", default_value = "-")]
    file: PathBuf,
    /// Print the JSON Schema of what is read and what is printed, and decide nothing.
    #[arg(long, conflicts_with = "file")]
    schema: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if arguments.schema {
        print(SCHEMA)?;
        return Ok(ExitCode::SUCCESS);
    }
    let bytes = read_input(&arguments.file)?;
    let record = Record::parse(&bytes).map_err(|problems| {
        let found = problems.list.iter();
        // A warning spoils nothing.
        let lines: Vec<String> = found
            .filter(|problem| problem.severity == Severity::Error)
            .map(|problem| match problem.position {
                Some(position) => format!("\n  {position}: {problem}"),
                None => format!("\n  {problem}"),
            })
            .collect();
        hinted(
            format!("{} is not a record of a decision:{}", shown(&arguments.file), lines.concat()),
            "give one JSON object on standard input: a line of the function's log, or what stands there under `record`; `outrigger decide --schema` prints its form",
        )
    })?;
    print(&format!("{}\n", decision_json(&record.decide())))?;
    Ok(ExitCode::SUCCESS)
}

fn shown(file: &Path) -> String {
    if file.as_os_str() == "-" {
        "standard input".to_owned()
    } else {
        format!("`{}`", file.display())
    }
}
