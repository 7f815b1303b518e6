//! The function as it is deployed: the wall clock, and no switch for another.

use std::process::ExitCode;

use outrigger::clock::Clock;
use outrigger::{lambda, log};

#[expect(
    clippy::disallowed_methods,
    reason = "the environment is read here, once"
)]
fn main() -> ExitCode {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        log::warn(
            "this program runs in AWS Lambda, and AWS_LAMBDA_RUNTIME_API is not set; on your machine use `cargo lambda watch` or `outrigger demo`",
        );
        return ExitCode::FAILURE;
    }
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    // One thread: the work is waiting for answers, and a small Lambda has less than one CPU.
    let served = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(lambda::serve(environment.collect(), Clock::wall())));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::warn(&format!(
                "the connection to the Lambda Runtime API failed: {error}"
            ));
            ExitCode::FAILURE
        }
    }
}
