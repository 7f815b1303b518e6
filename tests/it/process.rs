//! The deployed binary, started and invoked as Lambda does it.

mod cluster;
mod configuration;
pub(crate) mod events;
mod killed;
mod kinds;
mod log;
mod namespaces;
mod notices;
mod owners;
mod passes;
mod refused;
mod shadow;
mod storms;
mod ticks;
mod triggers;
mod trouble;

use outrigger::sandbox::Sandbox;
use serde_json::Value as Json;

/// The decision lines among log lines.
fn decisions(lines: &[Json]) -> Vec<&Json> {
    let lines = lines.iter();
    lines.filter(|line| !line["target"].is_null()).collect()
}

/// The one summary line among log lines.
#[track_caller]
fn summary(lines: &[Json]) -> &Json {
    let mut lines = lines.iter().filter(|line| !line["summary"].is_null());
    let line = lines.next().expect("no summary");
    assert!(lines.next().is_none(), "two summaries");
    line
}

fn replicas(sandbox: &Sandbox) -> Option<u32> {
    sandbox.kubernetes().replicas("default", "worker")
}

fn writes(sandbox: &Sandbox) -> Vec<(u32, u32)> {
    sandbox.kubernetes().scale_writes("default", "worker")
}
