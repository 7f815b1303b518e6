//! The adapters and the deployed binary against servers that we did not write: kube-apiserver and etcd, the authenticator of EKS,
//! the controller of Argo Rollouts, an AWS of somebody else's, `cargo lambda`.
//!
//! They are found through `KUBEBUILDER_ASSETS`, the convention of the Kubernetes world; without it these tests say so and
//! pass. They are started once per run and end with it, however it ends.

#![allow(
    clippy::similar_names,
    clippy::needless_pass_by_value,
    reason = "a patch goes to a path, and `json!` makes values"
)]

mod access;
mod adapters;
mod applied;
pub(crate) mod assets;
mod aws;
mod client;
mod contract;
mod controller;
mod daemon;
mod faults;
mod figures;
mod fleet;
mod gateway;
mod gitops;
mod keda;
mod lab;
mod lambda;
mod ministack;
mod moving;
mod objects;
mod package;
mod pki;
mod readme;
mod rendered;
mod rights;
mod rollouts;
mod shell;
mod stack;
mod together;
mod watch;
mod world;
