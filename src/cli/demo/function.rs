//! The Lambda process of the demo: the same entry point as the deployed binary, on another clock.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context as _;
use jiff::Timestamp;

use crate::cli::Failure;
use crate::clock::Clock;
use crate::lambda::serve;

#[derive(Debug, clap::Args)]
pub(crate) struct FunctionArguments {
    /// When the clock shows the true time.
    #[arg(long)]
    pub(crate) clock_start: Timestamp,
    /// How much faster it runs from then on.
    #[arg(long)]
    pub(crate) clock_factor: i32,
}

pub(crate) async fn run(
    arguments: FunctionArguments,
    environment: BTreeMap<String, String>,
) -> Result<ExitCode, Failure> {
    let FunctionArguments {
        clock_start,
        clock_factor,
    } = arguments;
    let served = serve(environment, Clock::fast(clock_start, clock_factor)).await;
    served
        .map_err(anyhow::Error::from_boxed)
        .context("the connection to the Lambda Runtime API failed")?;
    Ok(ExitCode::SUCCESS)
}
