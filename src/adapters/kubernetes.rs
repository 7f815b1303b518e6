//! API servers of EKS clusters: connection, token, retries, and what went wrong in words.

mod connection;
mod fault;
mod objects;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use http::Request;
use serde_json::Value as Json;

use super::aws::Aws;
use super::retry::{MAX_ATTEMPTS, back_off};
use crate::ports::Fault;
use crate::settings::Cluster;
use connection::Connection;
use fault::{Failure, Next};

pub use objects::rollout_state;

/// The field manager that `kubectl get -o yaml --show-managed-fields` shows for our writes.
pub const FIELD_MANAGER: &str = "outrigger";

/// The API servers of the configured clusters.
#[derive(Debug)]
pub struct Clusters {
    aws: Arc<Aws>,
    known: Vec<Cluster>,
    /// Connections are kept while the environment is warm.
    connections: tokio::sync::Mutex<HashMap<String, Arc<Connection>>>,
    /// Clusters that were described again in this invocation.
    described_again: Mutex<Vec<String>>,
}

/// One request: method and path are all that differ.
struct Call<'a> {
    cluster: &'a str,
    method: &'static str,
    path: String,
    /// A JSON Patch for `PATCH`, else empty.
    body: Vec<u8>,
    /// What it is for, for messages: `read Rollout default/worker`.
    what: String,
}

impl Clusters {
    /// No network before the first call.
    #[must_use]
    pub fn new(aws: Arc<Aws>, known: Vec<Cluster>) -> Self {
        Self {
            aws,
            known,
            connections: tokio::sync::Mutex::default(),
            described_again: Mutex::default(),
        }
    }

    /// A new invocation: every connection makes itself a fresh token when it is first used.
    pub async fn begin_invocation(&self) {
        for connection in self.connections.lock().await.values() {
            connection.forget_token();
        }
        if let Ok(mut described) = self.described_again.lock() {
            described.clear();
        }
    }

    async fn connection(&self, cluster: &str) -> Result<Arc<Connection>, Fault> {
        let Some(known) = self.known.iter().find(|known| known.name == cluster) else {
            let names: Vec<&str> = self.known.iter().map(|known| known.name.as_str()).collect();
            let message = format!(
                "the cluster `{cluster}` is not configured; OUTRIGGER_CLUSTERS lists {}",
                names.join(", ")
            );
            return Err(Fault::failed("UnknownCluster", message));
        };
        // Held while connecting, so that a thousand targets describe the cluster once.
        let mut connections = self.connections.lock().await;
        if let Some(connection) = connections.get(cluster) {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(Connection::open(&self.aws, known).await?);
        connections.insert(cluster.to_owned(), Arc::clone(&connection));
        Ok(connection)
    }

    /// Sends a call, with the retries that make sense: a fresh token on 401, the cluster described again on a failed
    /// connection, a short pause on 409, 429 and 5xx. Everything is bounded by the deadline of the pass.
    async fn send(&self, call: &Call<'_>) -> Result<Json, Failure> {
        let mut attempt = 0;
        let mut minted_again = false;
        loop {
            let connection = self
                .connection(call.cluster)
                .await
                .map_err(Failure::from_fault)?;
            connection
                .ensure_token(&self.aws)
                .await
                .map_err(Failure::from_fault)?;
            let error = match connection.client().request::<Json>(request(call)?).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            let retried = attempt > 0;
            attempt += 1;
            match fault::next(&error) {
                Next::NewToken if !minted_again => {
                    minted_again = true;
                    self.aws.forget_credentials();
                    connection.forget_token();
                }
                Next::Again { asked } if attempt < MAX_ATTEMPTS => back_off(attempt, asked).await,
                Next::Reconnect if attempt < MAX_ATTEMPTS => {
                    self.describe_again(call.cluster, &connection).await;
                    back_off(attempt, None).await;
                }
                Next::NewToken | Next::Again { .. } | Next::Reconnect | Next::GiveUp => {
                    return Err(Failure::new(call, &error, retried));
                }
            }
        }
    }

    /// Once per invocation: the endpoint or the CA of a cluster may have changed since it was described.
    async fn describe_again(&self, cluster: &str, failed: &Arc<Connection>) {
        let first = self.described_again.lock().is_ok_and(|mut described| {
            let first = !described.iter().any(|known| known == cluster);
            if first {
                described.push(cluster.to_owned());
            }
            first
        });
        if !first {
            return;
        }
        let mut connections = self.connections.lock().await;
        let is_current = connections
            .get(cluster)
            .is_some_and(|current| Arc::ptr_eq(current, failed));
        let known = self.known.iter().find(|known| known.name == cluster);
        // What fails to open is no better than what there is: that may only have had a bad moment.
        if let (true, Some(known)) = (is_current, known)
            && let Ok(connection) = Connection::open(&self.aws, known).await
        {
            connections.insert(cluster.to_owned(), Arc::new(connection));
        }
    }
}

fn request(call: &Call<'_>) -> Result<Request<Vec<u8>>, Failure> {
    let mut builder = Request::builder()
        .method(call.method)
        .uri(&call.path)
        .header(http::header::ACCEPT, "application/json");
    if !call.body.is_empty() {
        builder = builder.header(http::header::CONTENT_TYPE, "application/json-patch+json");
    }
    builder.body(call.body.clone()).map_err(|error| {
        Failure::from_fault(Fault::failed(
            "BadRequest",
            format!("could not {}: {error}", call.what),
        ))
    })
}
