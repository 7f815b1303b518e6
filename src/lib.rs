//! Outrigger scales Kubernetes workloads on EKS, Argo Rollouts first, from the depth of SQS queues.

pub mod decide;
pub mod document;
pub mod fields;
pub mod manifest;
pub mod policy;
pub mod record;
pub mod settings;
pub mod state;
pub mod wake;

#[cfg(feature = "io")]
pub mod adapters;
#[cfg(feature = "sandbox")]
pub mod sandbox;
