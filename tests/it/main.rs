//! The adapters, the deployed binary and the shipped rights against local endpoints that speak the real wire forms.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::large_futures,
    missing_docs,
    reason = "tests"
)]

mod adapters;
mod cli;
mod contract;
mod docs;
mod gate;
mod infra;
mod manifests;
mod process;
mod render;
mod servers;
mod status;
mod support;
