//! Answers of an API server: read whole, but never many large ones at a time, and only for what is asked of them.

use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use kube::client::Body;
use kube::core::Status;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::adapters::one_line::one_line;

/// Bytes of an answer. A whole object has at most 1.5 MiB, as etcd stores it, and a list is asked for again in smaller pages.
pub(super) const MAX_ANSWER_BYTES: usize = 3 << 20;

/// Bytes of an answer that waits for nobody: more than a Rollout usually has. Of these there are as many at a time as there are calls.
const SMALL_BYTES: usize = 64 << 10;

/// Larger answers that are in memory at the same time, of one API server and of all: 24 MiB at most. One server that sends them slowly
/// leaves turns to the others.
pub(super) const MAX_LARGE_OF_CLUSTER: usize = 4;
pub(super) const MAX_LARGE: usize = 8;

/// The turns for answers that are large.
#[derive(Debug, Clone, Copy)]
pub(super) struct LargeTurns<'s> {
    /// Taken first.
    pub(super) of_cluster: &'s Semaphore,
    pub(super) of_all: &'s Semaphore,
}

/// Sends a request and reads the answer as `T`, which is everything that stays of it.
pub(super) async fn request<T: DeserializeOwned>(
    client: &kube::Client,
    request: Request<Vec<u8>>,
    turns: LargeTurns<'_>,
) -> Result<T, kube::Error> {
    let answer = client.send(request.map(Body::from)).await?;
    let status = answer.status();
    let Whole { bytes, _turns } = Whole::of(answer.into_body(), turns).await?;
    if status.is_client_error() || status.is_server_error() {
        return Err(kube::Error::Api(Box::new(refusal(status, &bytes))));
    }
    serde_json::from_slice(&bytes).map_err(kube::Error::SerdeError)
}

/// What an answer with an error says, whoever wrote it.
fn refusal(status: StatusCode, bytes: &[u8]) -> Status {
    serde_json::from_slice(bytes).unwrap_or_else(|_| {
        // It may be the whole page of a proxy, and is kept.
        let text = one_line(&String::from_utf8_lossy(bytes));
        Status::failure(&text, "Failed to parse error data").with_code(status.as_u16())
    })
}

/// A whole answer, and its turns where it is large.
struct Whole<'s> {
    bytes: Vec<u8>,
    _turns: Option<[SemaphorePermit<'s>; 2]>,
}

impl<'s> Whole<'s> {
    /// What is longer than any answer fails while it is read, before it takes the memory of everything else.
    async fn of(body: Body, turns: LargeTurns<'s>) -> Result<Self, kube::Error> {
        let mut body = Limited::new(body, MAX_ANSWER_BYTES);
        let (mut bytes, mut held) = (Vec::new(), None);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(kube::Error::Service)?.into_data() else {
                continue;
            };
            if held.is_none() && bytes.len() + data.len() > SMALL_BYTES {
                let LargeTurns { of_cluster, of_all } = turns;
                // The semaphores are never closed.
                let closed = |error| kube::Error::Service(Box::new(error));
                let first = of_cluster.acquire().await.map_err(closed)?;
                held = Some([first, of_all.acquire().await.map_err(closed)?]);
                // At once, so that nothing is copied as it grows; what is not written to takes no memory.
                bytes.reserve_exact(MAX_ANSWER_BYTES - bytes.len());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Self {
            bytes,
            _turns: held,
        })
    }
}

/// A value where it is one of the kind that is asked for, and nothing where it is missing or another.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lenient<T>(pub(super) Option<T>);

impl<T> Default for Lenient<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(Self(serde_json::from_str(raw.get()).ok()))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// The bytes of an answer where it can be read at once, with so many turns left of the cluster and of all.
    fn read(bytes: usize, of_cluster: usize, of_all: usize) -> Option<usize> {
        let (of_cluster, of_all) = (Semaphore::new(of_cluster), Semaphore::new(of_all));
        let turns = LargeTurns {
            of_cluster: &of_cluster,
            of_all: &of_all,
        };
        let before = (of_cluster.available_permits(), of_all.available_permits());
        let read = Whole::of(Body::from(vec![b'x'; bytes]), turns).now_or_never();
        let read = read.map(|whole| whole.unwrap().bytes.len());
        // Whatever came of it, no turn is lost.
        assert_eq!(
            (of_cluster.available_permits(), of_all.available_permits()),
            before
        );
        read
    }

    #[test]
    fn large_answers_wait_for_their_turns_and_small_ones_do_not() {
        assert_eq!(read(SMALL_BYTES, 0, 0), Some(SMALL_BYTES));
        assert_eq!(read(SMALL_BYTES + 1, 0, 1), None);
        assert_eq!(read(SMALL_BYTES + 1, 1, 0), None);
        assert_eq!(read(SMALL_BYTES + 1, 1, 1), Some(SMALL_BYTES + 1));
        assert_eq!(read(MAX_ANSWER_BYTES, 1, 1), Some(MAX_ANSWER_BYTES));
    }

    #[test]
    fn what_is_longer_than_any_answer_is_an_error() {
        let turns = &Semaphore::new(1);
        let turns = LargeTurns {
            of_cluster: turns,
            of_all: turns,
        };
        let body = Body::from(vec![b'x'; MAX_ANSWER_BYTES + 1]);
        let error = Whole::of(body, turns).now_or_never().unwrap().err();
        assert!(super::super::fault::is_too_large(&error.unwrap()));
    }

    #[test]
    fn the_page_of_a_proxy_is_cut_off() {
        let page = format!(" <html>\r\n<p>{}", "ü".repeat(2_000));
        let status = refusal(StatusCode::BAD_GATEWAY, page.as_bytes());
        assert_eq!(status.code, 502);
        assert!(status.message.len() < 2_100);
        assert!(status.message.starts_with("<html> <p>ü"));
    }
}
