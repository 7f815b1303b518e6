//! The Lambda Runtime API, as a function's process sees it: events to fetch, answers to post.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot, watch};

use super::lock;
use super::server::{self, Reply, Running, with_header};

const PREFIX: &str = "/2018-06-01/runtime/";

const FUNCTION_ARN: &str = "arn:aws:lambda:ap-northeast-1:123456789012:function:outrigger";

/// A running endpoint; dropping it ends it.
#[derive(Debug)]
pub struct RuntimeApi {
    address: SocketAddr,
    shared: Arc<Shared>,
    _running: Running,
}

/// One invocation and how it ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    /// `Lambda-Runtime-Aws-Request-Id`.
    pub request_id: String,
    /// How it ended.
    pub outcome: Outcome,
}

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The function answered with this body.
    Response(Vec<u8>),
    /// The function failed.
    Error {
        /// From the header `Lambda-Runtime-Function-Error-Type`, else from `errorType` in the body.
        error_type: String,
        /// What the function said; null where it was not JSON.
        body: Value,
    },
    /// The function failed before it asked for its first event; from then on every invocation ends like this.
    InitError(Value),
    /// The function did not end the invocation in time.
    TimedOut,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Says that an event may be waiting.
    arrived: Notify,
    first_poll: watch::Sender<Option<Instant>>,
}

#[derive(Debug, Default)]
struct State {
    queued: VecDeque<Event>,
    /// By request id, until the function ends them.
    waiting: HashMap<String, oneshot::Sender<Outcome>>,
    init_error: Option<Value>,
    /// Sent as it is, instead of the time the invocation ends at.
    fixed_deadline: Option<String>,
}

#[derive(Debug)]
struct Event {
    request_id: String,
    deadline: String,
    payload: Vec<u8>,
}

impl RuntimeApi {
    /// Starts the endpoint. It needs a tokio runtime with I/O and time.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            arrived: Notify::new(),
            first_poll: watch::Sender::new(None),
        });
        let handler = {
            let shared = Arc::clone(&shared);
            move |request: Request<Bytes>| {
                let shared = Arc::clone(&shared);
                async move { handle(&shared, &request).await }
            }
        };
        Ok(Self {
            address,
            shared,
            _running: server::serve(listener, None, handler),
        })
    }

    /// `127.0.0.1:PORT`, for `AWS_LAMBDA_RUNTIME_API`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Sends this text as `Lambda-Runtime-Deadline-Ms` with every event, whatever the time. `None` ends that.
    ///
    /// `cargo lambda watch` sends one constant deadline, and a function must not conclude that it has no time left.
    pub fn set_deadline(&self, deadline: Option<&str>) {
        lock(&self.shared.state).fixed_deadline = deadline.map(str::to_owned);
    }

    /// Hands the function an event and waits for the end of the invocation; `timeout` is also its deadline.
    pub async fn invoke(&self, payload: Vec<u8>, timeout: Duration) -> Invocation {
        let request_id = super::random_id();
        let end = super::now()
            .checked_add(timeout)
            .unwrap_or(jiff::Timestamp::MAX);
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = lock(&self.shared.state);
            if let Some(error) = &state.init_error {
                let outcome = Outcome::InitError(error.clone());
                return Invocation {
                    request_id,
                    outcome,
                };
            }
            let deadline = state.fixed_deadline.clone();
            let event = Event {
                request_id: request_id.clone(),
                deadline: deadline.unwrap_or_else(|| end.as_millisecond().to_string()),
                payload,
            };
            state.queued.push_back(event);
            state.waiting.insert(request_id.clone(), sender);
        }
        self.shared.arrived.notify_one();
        let outcome = match tokio::time::timeout(timeout, receiver).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Outcome::TimedOut,
        };
        let mut state = lock(&self.shared.state);
        state.waiting.remove(&request_id);
        state.queued.retain(|event| event.request_id != request_id);
        Invocation {
            request_id,
            outcome,
        }
    }

    /// Waits until the function has asked for its first event.
    pub async fn ready(&self) {
        let mut polls = self.shared.first_poll.subscribe();
        // The sender lives as long as this endpoint, so waiting cannot fail.
        polls.wait_for(Option::is_some).await.ok();
    }

    /// When the function asked for its first event.
    #[must_use]
    pub fn first_poll(&self) -> Option<Instant> {
        *self.shared.first_poll.borrow()
    }
}

async fn handle(shared: &Shared, request: &Request<Bytes>) -> Reply {
    let path = request
        .uri()
        .path()
        .strip_prefix(PREFIX)
        .unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    match (request.method(), parts.as_slice()) {
        (&Method::GET, ["invocation", "next"]) => next(shared).await,
        (&Method::POST, ["invocation", id, "response"]) => {
            end(shared, id, Outcome::Response(request.body().to_vec()))
        }
        (&Method::POST, ["invocation", id, "error"]) => end(shared, id, error(request)),
        (&Method::POST, ["init", "error"]) => {
            let mut state = lock(&shared.state);
            let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
            state.queued.clear();
            for (_, sender) in state.waiting.drain() {
                // A caller that no longer waits has timed out.
                sender.send(Outcome::InitError(body.clone())).ok();
            }
            state.init_error = Some(body);
            accepted()
        }
        _ => server::json(404, &serde_json::json!({"errorType": "NotFound"})).into(),
    }
}

async fn next(shared: &Shared) -> Reply {
    shared.first_poll.send_if_modified(|first| {
        let is_first = first.is_none();
        first.get_or_insert_with(super::steady_now);
        is_first
    });
    loop {
        let event = lock(&shared.state).queued.pop_front();
        if let Some(event) = event {
            return deliver(event).into();
        }
        shared.arrived.notified().await;
    }
}

fn deliver(event: Event) -> server::Response {
    let Event {
        request_id,
        deadline,
        payload,
    } = event;
    let trace = format!("Root=1-{:08x}-{}", super::now().as_second(), "0".repeat(24));
    let mut response = server::answer(200, "application/json", payload);
    for (name, value) in [
        ("lambda-runtime-aws-request-id", request_id.as_str()),
        ("lambda-runtime-deadline-ms", deadline.as_str()),
        ("lambda-runtime-invoked-function-arn", FUNCTION_ARN),
        ("lambda-runtime-trace-id", trace.as_str()),
    ] {
        response = with_header(response, name, value);
    }
    response
}

fn error(request: &Request<Bytes>) -> Outcome {
    let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
    let header = request.headers().get("lambda-runtime-function-error-type");
    let error_type = header
        .and_then(|value| value.to_str().ok())
        .or_else(|| body.get("errorType").and_then(Value::as_str))
        .unwrap_or_default()
        .to_owned();
    Outcome::Error { error_type, body }
}

fn end(shared: &Shared, request_id: &str, outcome: Outcome) -> Reply {
    match lock(&shared.state).waiting.remove(request_id) {
        Some(sender) => {
            // A caller that no longer waits has timed out.
            sender.send(outcome).ok();
            accepted()
        }
        None => server::json(400, &serde_json::json!({"errorType": "InvalidRequestID"})).into(),
    }
}

fn accepted() -> Reply {
    server::json(202, &serde_json::json!({"status": "OK"})).into()
}

#[cfg(test)]
mod tests {
    use super::super::tests::exchange;
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    async fn post(api: &RuntimeApi, path: &str, header: &str, body: &str) -> u16 {
        let request = format!(
            "POST {PREFIX}{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        exchange(api.address, &request).await.0
    }

    /// A function that handles one event and ends it with `ending`.
    async fn function(api: &RuntimeApi, ending: &str, header: &str, body: &str) -> (String, u16) {
        let request =
            format!("GET {PREFIX}invocation/next HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let (_, head, _) = exchange(api.address, &request).await;
        let id = head
            .lines()
            .find_map(|line| line.strip_prefix("lambda-runtime-aws-request-id: "));
        let path = format!("invocation/{}/{ending}", id.unwrap());
        let status = post(api, &path, header, body).await;
        (head, status)
    }

    #[tokio::test]
    async fn an_event_is_answered() {
        let api = RuntimeApi::start().await.unwrap();
        assert_eq!(api.first_poll(), None);
        api.set_deadline(Some("600000"));
        let (invocation, (head, status)) = tokio::join!(
            api.invoke(b"{}".to_vec(), TIMEOUT),
            function(&api, "response", "", "\"done\"")
        );
        assert_eq!(invocation.outcome, Outcome::Response(b"\"done\"".to_vec()));
        assert!(
            head.contains("lambda-runtime-deadline-ms: 600000\r\n"),
            "{head}"
        );
        assert_eq!(status, 202);
        api.ready().await;
        assert!(api.first_poll().is_some());
    }

    #[tokio::test]
    async fn an_error_carries_its_type() {
        let api = RuntimeApi::start().await.unwrap();
        let body = r#"{"errorType":"FromBody","errorMessage":"no"}"#;
        for (header, expected) in [
            ("", "FromBody"),
            (
                "lambda-runtime-function-error-type: FromHeader\r\n",
                "FromHeader",
            ),
        ] {
            let (invocation, _) = tokio::join!(
                api.invoke(b"{}".to_vec(), TIMEOUT),
                function(&api, "error", header, body)
            );
            let Outcome::Error { error_type, body } = invocation.outcome else {
                panic!("{invocation:?}");
            };
            assert_eq!(
                (error_type.as_str(), &body["errorMessage"]),
                (expected, &"no".into())
            );
        }
    }

    #[tokio::test]
    async fn a_silent_function_times_out_and_its_event_is_gone() {
        let api = RuntimeApi::start().await.unwrap();
        let invocation = api.invoke(b"{}".to_vec(), Duration::from_millis(1)).await;
        assert_eq!(invocation.outcome, Outcome::TimedOut);
        assert!(lock(&api.shared.state).queued.is_empty());
        let path = format!("invocation/{}/response", invocation.request_id);
        assert_eq!(post(&api, &path, "", "{}").await, 400);
    }

    #[tokio::test]
    async fn a_failed_start_ends_every_invocation() {
        let api = RuntimeApi::start().await.unwrap();
        let (invocation, status) = tokio::join!(
            api.invoke(b"{}".to_vec(), TIMEOUT),
            post(&api, "init/error", "", r#"{"errorType":"Init"}"#)
        );
        assert_eq!(status, 202);
        let expected = Outcome::InitError(serde_json::json!({"errorType": "Init"}));
        assert_eq!(invocation.outcome, expected);
        let next = api.invoke(b"{}".to_vec(), TIMEOUT).await;
        assert_eq!(next.outcome, expected);
    }
}
