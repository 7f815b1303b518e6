//! API servers of EKS clusters: connection, token, retries, and what went wrong in words.

mod answer;
mod connection;
mod discovery;
mod events;
mod fault;
mod keys;
mod list;
mod objects;
mod observer;
mod owners;
mod scaled_objects;
mod token;

use std::sync::Arc;

use http::Request;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, Semaphore};

use super::aws::Aws;
use super::retry::{MAX_ATTEMPTS, back_off};
use crate::ports::Fault;
use crate::settings::Cluster;
use connection::Connection;
use discovery::Discovery;
use fault::{Failure, Next};
use token::{NoToken, Token, Tokens};

pub use objects::rollout_state;
pub use observer::Observer;

/// The field manager that `kubectl get -o yaml --show-managed-fields` shows for our writes.
pub const FIELD_MANAGER: &str = "outrigger";

/// The API servers of the configured clusters.
#[derive(Debug)]
pub struct Clusters {
    aws: Arc<Aws>,
    /// Each behind a lock of its own: a cluster that does not answer holds up nobody else's.
    slots: Vec<(Cluster, Mutex<Slot>)>,
    discovery: Discovery,
    scaled_objects: owners::Known,
    /// The turns for large answers.
    large: Semaphore,
}

/// The way to one cluster, kept while the environment is warm.
#[derive(Debug, Default)]
struct Slot {
    /// Once opened it stays; a failure is kept until the next invocation, so that a thousand targets ask once.
    connection: Option<Result<Arc<Connection>, Fault>>,
    /// Whether the cluster was described again in this invocation.
    described_again: bool,
    /// They are for the cluster, wherever it is found.
    tokens: Arc<Tokens>,
}

/// One request: method and path are all that differ.
struct Call<'a> {
    cluster: &'a str,
    method: &'static str,
    path: String,
    /// A JSON Patch for `PATCH`, an object for `POST`, else empty.
    body: Vec<u8>,
    /// What it is for, for messages: `read Rollout default/worker`.
    what: String,
}

impl Clusters {
    /// No network before the first call.
    #[must_use]
    pub fn new(aws: Arc<Aws>, known: Vec<Cluster>) -> Self {
        let slots = known.into_iter().map(|cluster| (cluster, Mutex::default()));
        Self {
            aws,
            slots: slots.collect(),
            discovery: Discovery::default(),
            scaled_objects: owners::Known::default(),
            large: Semaphore::new(answer::MAX_LARGE),
        }
    }

    /// A new invocation: every connection makes itself a fresh token when it is first used.
    pub async fn begin_invocation(&self) {
        self.discovery.begin_invocation();
        self.scaled_objects.begin_invocation();
        for (_, slot) in &self.slots {
            let mut slot = slot.lock().await;
            slot.described_again = false;
            slot.tokens.begin_invocation();
            if let Some(Err(_)) = slot.connection {
                slot.connection = None;
            }
        }
    }

    fn slot(&self, name: &str) -> Option<&(Cluster, Mutex<Slot>)> {
        self.slots.iter().find(|(cluster, _)| cluster.name == name)
    }

    async fn connection(&self, name: &str) -> Result<Arc<Connection>, Fault> {
        let Some((cluster, slot)) = self.slot(name) else {
            let names = self.slots.iter().map(|(cluster, _)| cluster.name.as_str());
            let names = names.collect::<Vec<_>>().join(", ");
            let message =
                format!("the cluster `{name}` is not configured; OUTRIGGER_CLUSTERS lists {names}");
            return Err(Fault::failed("UnknownCluster", message));
        };
        // Held while connecting, so that a thousand targets describe the cluster once.
        let mut slot = slot.lock().await;
        if let Some(connection) = &slot.connection {
            return connection.clone();
        }
        let tokens = Arc::clone(&slot.tokens);
        let connection = Connection::open(&self.aws, cluster, tokens).await;
        let connection = connection.map(Arc::new);
        slot.connection = Some(connection.clone());
        connection
    }

    /// Sends a call, with the retries that make sense: a fresh token on 401 if the cluster has not refused one yet, the cluster
    /// described again on a failed connection, a short pause on 409, 429 and 5xx. Everything is bounded by the deadline of the pass.
    async fn send<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<T, Failure> {
        let mut attempt = 0;
        let mut maybe_done = false;
        loop {
            let connection = self
                .connection(call.cluster)
                .await
                .map_err(Failure::from_fault)?;
            let (tokens, cluster) = (connection.tokens(), connection.cluster());
            let token = match tokens.next(&self.aws, cluster).await {
                Ok(token) => token,
                Err(NoToken::NotMade(fault)) => return Err(Failure::from_fault(fault)),
                // The answer that the call would get.
                Err(NoToken::Refused(status)) => {
                    return Err(Failure::new(call, &kube::Error::Api(status), maybe_done));
                }
            };
            let sent = connection.request(request(call, &token)?, &self.large);
            let error = match sent.await {
                Ok(body) => {
                    tokens.not_refused(&token);
                    return Ok(body);
                }
                Err(error) => error,
            };
            if let kube::Error::Api(status) = &error
                && status.code == 401
            {
                if tokens.refused(&token, &self.aws, cluster, status) {
                    continue;
                }
                return Err(Failure::new(call, &error, maybe_done));
            }
            tokens.not_refused(&token);
            // Those that wait for what this call finds need not wait for its pauses.
            drop(token);
            maybe_done |= fault::is_ambiguous(&error);
            attempt += 1;
            match fault::next(&error) {
                Next::Again { asked } if attempt < MAX_ATTEMPTS => back_off(attempt, asked).await,
                Next::Reconnect if attempt < MAX_ATTEMPTS => {
                    self.describe_again(call.cluster, &connection).await;
                    back_off(attempt, None).await;
                }
                Next::Again { .. } | Next::Reconnect | Next::GiveUp => {
                    return Err(Failure::new(call, &error, maybe_done));
                }
            }
        }
    }

    /// Once per invocation: the endpoint or the CA of a cluster may have changed since it was described.
    async fn describe_again(&self, name: &str, failed: &Arc<Connection>) {
        let Some((cluster, slot)) = self.slot(name) else {
            return;
        };
        let mut slot = slot.lock().await;
        let is_current =
            matches!(&slot.connection, Some(Ok(current)) if Arc::ptr_eq(current, failed));
        if slot.described_again || !is_current {
            return;
        }
        slot.described_again = true;
        // What fails to open is no better than what there is: that may only have had a bad moment.
        let tokens = Arc::clone(&slot.tokens);
        if let Ok(connection) = Connection::open(&self.aws, cluster, tokens).await {
            slot.connection = Some(Ok(Arc::new(connection)));
        }
    }
}

fn request(call: &Call<'_>, token: &Token<'_>) -> Result<Request<Vec<u8>>, Failure> {
    let mut builder = Request::builder()
        .method(call.method)
        .uri(&call.path)
        .header(http::header::ACCEPT, "application/json")
        .header(http::header::AUTHORIZATION, token.header.clone());
    if !call.body.is_empty() {
        let kind = match call.method {
            "PATCH" => "application/json-patch+json",
            _ => "application/json",
        };
        builder = builder.header(http::header::CONTENT_TYPE, kind);
    }
    builder.body(call.body.clone()).map_err(|error| {
        Failure::from_fault(Fault::failed(
            "BadRequest",
            format!("could not {}: {error}", call.what),
        ))
    })
}
