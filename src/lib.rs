//! Outrigger scales Kubernetes workloads on EKS, Argo Rollouts first, from the depth of SQS queues, from outside the cluster.
//!
//! [`wake`] says why the function was invoked and for which targets, [`load`] and [`manifest`] which targets there are, [`ticks`]
//! when each is polled. A poll is one [`pass`]: it observes each target through its [`ports`], asks [`decide`] and acts. [`tell`]
//! tells the clusters what happened, [`report`] everybody else. `lambda` serves
//! invocations, `cli` is the tool for people, `render` writes the infrastructure for targets, `adapters` reach the outside systems, and `sandbox` plays those systems for
//! the demo, the tests and the benchmarks.
//!
//! # Invariants
//!
//! - A failed or missing reading is never a zero, and an error never scales in; only the configured bounds correct a
//!   count without a reading.
//! - The modules without a feature are pure: they take data and return data. No clock, environment, log or network.
//!   (`log` and `clock` are the two exceptions, and nothing pure uses them.)
//! - `now` is a parameter. Only `clock` asks for it.
//! - Only [`load`], [`pass`] and [`tell`] call the ports, one after another. State is written before the count, each under a condition;
//!   a lost race is given up.
//! - A pass over a world in which nothing changed writes nothing and has nothing to tell.
//! - What acts for a target in shadow mode is composed without the port that writes counts, and a dry run without any that writes.
//! - Nothing here can change a pod template, receive a message or read a Secret.
//! - No log of another library is ever written.

pub mod budget;
mod calls;
pub mod capacity;
#[cfg(feature = "cli")]
pub mod cli;
pub mod clock;
pub mod cron;
pub mod decide;
pub mod document;
pub mod fairness;
pub mod fields;
#[cfg(feature = "lambda")]
pub mod lambda;
pub mod load;
pub mod log;
pub mod manifest;
pub mod owners;
pub mod pass;
pub mod policy;
pub mod ports;
pub mod record;
#[cfg(feature = "cli")]
pub mod render;
pub mod report;
pub mod settings;
pub mod state;
pub mod stop;
pub mod tell;
pub mod thousandths;
pub mod ticks;
pub mod timeout;
mod turns;
pub mod wake;
#[cfg(feature = "cli")]
mod yaml;

#[cfg(feature = "io")]
pub mod adapters;
#[cfg(feature = "sandbox")]
pub mod sandbox;
