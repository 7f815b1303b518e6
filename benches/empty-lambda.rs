//! A function that does nothing, on the same runtime as ours: what a start costs at least.

use std::process::ExitCode;

use lambda_runtime::{LambdaEvent, service_fn};

fn main() -> ExitCode {
    let served = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(lambda_runtime::run(service_fn(answer))));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

async fn answer(
    _event: LambdaEvent<serde_json::Value>,
) -> Result<serde_json::Value, lambda_runtime::Error> {
    Ok(serde_json::Value::Null)
}
