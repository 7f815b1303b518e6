//! Outrigger scales Kubernetes workloads on EKS, Argo Rollouts first, from the depth of SQS queues.

#[cfg(feature = "cli")]
pub mod cli;
pub mod clock;
pub mod decide;
pub mod document;
pub mod fields;
#[cfg(feature = "lambda")]
pub mod lambda;
pub mod log;
pub mod manifest;
pub mod pass;
pub mod policy;
pub mod ports;
pub mod record;
pub mod report;
pub mod settings;
pub mod state;
pub mod wake;

#[cfg(feature = "io")]
pub mod adapters;
#[cfg(feature = "sandbox")]
pub mod sandbox;
