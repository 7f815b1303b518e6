//! Outrigger scales Kubernetes workloads on EKS, Argo Rollouts first, from the depth of SQS queues.

pub mod wake;

#[cfg(feature = "io")]
pub mod adapters;
#[cfg(feature = "sandbox")]
pub mod sandbox;
