//! `outrigger demo`: the real function against local endpoints, judged by what the endpoints have seen.

mod function;
mod stage;
mod story;

use std::fmt::Write as _;
use std::process::ExitCode;

use super::{Failure, print};
use stage::Stage;

pub(crate) use function::{FunctionArguments, run as function};

/// How much faster the function's clock runs, for decisions and state only.
/// At 60 the 300 s scale-in window passes in 5 s, and a real second is a minute of polling.
const CLOCK_FACTOR: i32 = 60;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Leave the endpoints up afterwards and print how to point the function, `cargo lambda watch`, `aws` or `kubectl` at them.
    #[arg(long)]
    keep: bool,
}

/// Exit code 0 only when everything that the story promises was seen in the endpoints' own state.
pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    crate::lambda::install_crypto();
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
    if arguments.keep {
        print(&stage.invitation()?)?;
        // Until the person has had enough; without a terminal to press it on, until the process is ended.
        let _ended = tokio::signal::ctrl_c().await.is_ok();
    }
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}
