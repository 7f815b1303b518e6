//! The command line tool.

use std::process::ExitCode;

#[expect(
    clippy::disallowed_methods,
    reason = "the environment is read here, once"
)]
fn main() -> ExitCode {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    outrigger::cli::run(std::env::args_os(), environment.collect())
}
