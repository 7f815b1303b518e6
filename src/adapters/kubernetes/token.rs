//! The bearer token for one cluster: one is made for an invocation, and one more if that is refused.
//!
//! A refusal belongs to the cluster and not to the call that met it. The calls that are refused at the same time share the second
//! token, one of them tries it, and the others wait for what it finds. If the second token is refused too, the cluster is not asked
//! again before the next invocation: neither the API server nor STS is to pay for each target.

use std::sync::{Mutex, MutexGuard, PoisonError};

use http::header::HeaderValue;
use kube::core::Status;

use super::connection::identity;
use crate::adapters::aws::{Aws, chain};
use crate::adapters::eks_token;
use crate::clock::wall_now;
use crate::ports::Fault;
use crate::settings::Cluster;

/// The tokens of one cluster. They outlive a connection to it.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// Held while a token is made, and by the call that tries the second one.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    warned: Mutex<bool>,
}

#[derive(Debug, Default)]
struct State {
    current: Option<HeaderValue>,
    /// Whether the first token of the invocation was refused.
    is_second: bool,
    /// Whether any answer but a 401 has come since that.
    is_tried: bool,
    /// What the second token was refused with.
    refused: Option<Box<Status>>,
}

/// A token for one request.
pub(super) struct Token<'t> {
    pub(super) header: HeaderValue,
    is_second: bool,
    /// The request tries the token for all others.
    _trial: Option<tokio::sync::MutexGuard<'t, ()>>,
}

/// Why there is no token.
pub(super) enum NoToken {
    /// It could not be made.
    NotMade(Fault),
    /// The cluster refused two in this invocation.
    Refused(Box<Status>),
}

impl Tokens {
    /// A new invocation: the next call makes a token.
    pub(super) fn begin_invocation(&self) {
        *self.state() = State::default();
    }

    /// The token for the next request. It costs no network, unless a role has to be assumed first.
    pub(super) async fn next(&self, aws: &Aws, cluster: &Cluster) -> Result<Token<'_>, NoToken> {
        let turn = self.turn.lock().await;
        let (header, is_second, is_tried) = {
            let state = self.state();
            if let Some(refused) = &state.refused {
                return Err(NoToken::Refused(refused.clone()));
            }
            (state.current.clone(), state.is_second, state.is_tried)
        };
        let header = match header {
            Some(header) => header,
            None => self.make(aws, cluster).await.map_err(NoToken::NotMade)?,
        };
        Ok(Token {
            header,
            is_second,
            _trial: (is_second && !is_tried).then_some(turn),
        })
    }

    /// The cluster has answered a request with something else than a 401, or has not answered it at all.
    pub(super) fn not_refused(&self, token: &Token<'_>) {
        let mut state = self.state();
        state.is_tried |= token.is_second == state.is_second;
    }

    /// The cluster has answered a request with a 401. Whether another token is worth a try.
    pub(super) fn refused(
        &self,
        token: &Token<'_>,
        aws: &Aws,
        cluster: &Cluster,
        status: &Status,
    ) -> bool {
        let mut state = self.state();
        match (token.is_second, state.is_second) {
            (false, false) => {
                *state = State {
                    is_second: true,
                    ..State::default()
                };
                aws.forget_credentials(&identity(cluster), &cluster.region);
                true
            }
            // Somebody else has met the refusal too, and there is a newer token.
            (false, true) => true,
            (true, _) => {
                // Where it was taken before, only this call fails: one of several servers may be at fault.
                if !state.is_tried {
                    state.refused = Some(Box::new(status.clone()));
                }
                false
            }
        }
    }

    async fn make(&self, aws: &Aws, cluster: &Cluster) -> Result<HeaderValue, Fault> {
        let Cluster { name, region, .. } = cluster;
        let credentials = aws.credentials(&identity(cluster), region).await?;
        let token = eks_token::mint(&credentials, region, name, wall_now()).map_err(|error| {
            let reason = chain(&error);
            let message = format!("could not make a token for the cluster `{name}`: {reason}");
            Fault::failed("TokenFailed", message)
        })?;
        if token.is_oversized()
            && self
                .warned
                .lock()
                .is_ok_and(|mut warned| !std::mem::replace(&mut *warned, true))
        {
            crate::log::warn(&format!(
                "the token for cluster `{name}` is {} bytes long, and EKS may refuse more than {}: shorten the session's tags and policies, or use a role directly",
                token.expose().len(),
                eks_token::MAX_ACCEPTED_BYTES,
            ));
        }
        let header = HeaderValue::try_from(format!("Bearer {}", token.expose()));
        let mut header = header.map_err(|_| {
            let message = format!("the token for the cluster `{name}` is not a header value");
            Fault::failed("TokenFailed", message)
        })?;
        header.set_sensitive(true);
        self.state().current = Some(header.clone());
        Ok(header)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
