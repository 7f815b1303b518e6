//! `outrigger demo`: the real function against local endpoints, judged by what the endpoints have seen.

mod function;
mod stage;
mod story;

use std::fmt::Write as _;
use std::process::ExitCode;

use super::{Failure, interrupted, print};
use stage::Stage;

pub(crate) use function::{FunctionArguments, run as function};

/// How much faster the function's clock runs, for decisions, state and polls only.
/// At 60 the 300 s scale-in window passes in 5 s, and a scheduled minute of polls in a second.
const CLOCK_FACTOR: i32 = 60;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Leave the endpoints up afterwards and print how to point the function, `cargo lambda watch`, `aws` or `kubectl` at them.
    #[arg(long)]
    keep: bool,
}

/// Exit code 0 only when everything that the story promises was seen in the endpoints' own state.
/// Interrupted, it ends the function and removes its folder before it goes.
pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    crate::lambda::install_crypto();
    let (stage, complete) = tokio::select! {
        result = perform() => result?,
        () = interrupted() => return Ok(ExitCode::from(1)),
    };
    if arguments.keep {
        print(&stage.invitation()?)?;
        interrupted().await;
    }
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// Plays the story; returns the stage, still up, and whether everything was seen.
async fn perform() -> Result<(Stage, bool), Failure> {
    let mut stage = Stage::set().await?;
    print(&stage.introduction())?;
    let verdicts = story::tell(&mut stage).await?;
    let mut text = String::from("\nSeen by the endpoints themselves:\n");
    for verdict in &verdicts {
        let mark = if verdict.seen { "ok  " } else { "MISSING" };
        let _infallible = writeln!(text, "  {mark} {}", verdict.what);
    }
    let complete = verdicts.iter().all(|verdict| verdict.seen);
    if !complete {
        text += "\nThe demo failed. The function said last:\n";
        text += &stage.log_excerpt(40);
    }
    print(&text)?;
    Ok((stage, complete))
}
