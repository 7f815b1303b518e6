//! The shell around every endpoint: a listener, HTTP/1.1 with keep-alive, and the answers a healthy server never gives.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A whole answer, body in memory.
pub(super) type Response = http::Response<Full<Bytes>>;

/// What an endpoint does with a request.
#[derive(Debug)]
pub(super) enum Reply {
    /// Answer after a pause, zero for at once.
    Answer(Response, Duration),
    /// Keep the connection open and never answer.
    Hang,
    /// Reset the connection instead of answering.
    Reset,
}

impl Reply {
    /// The status for the request log: 0 where none is ever sent.
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Answer(response, _) => response.status().as_u16(),
            Self::Hang | Self::Reset => 0,
        }
    }

    /// Adds to the pause before the answer.
    pub(super) fn later(self, pause: Duration) -> Self {
        match self {
            Self::Answer(response, before) => Self::Answer(response, before.saturating_add(pause)),
            Self::Hang => Self::Hang,
            Self::Reset => Self::Reset,
        }
    }
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self::Answer(response, Duration::ZERO)
    }
}

/// An answer with a body of the given content type.
pub(super) fn answer(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = http::Response::new(Full::new(body.into()));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static(content_type),
    );
    response
}

/// A JSON answer.
pub(super) fn json(status: u16, body: &Value) -> Response {
    answer(status, "application/json", body.to_string())
}

/// Adds a header; a value that HTTP cannot carry is left out.
pub(super) fn with_header(mut response: Response, name: &'static str, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// An answer no client can read, with a status that promises otherwise.
pub(super) fn garbage() -> Response {
    answer(200, "application/json", "{\"garbage\": <<<")
}

/// A running endpoint; dropping it ends the listener and every connection.
#[derive(Debug)]
pub(super) struct Running(AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What became of TLS handshakes; cloning it shares the count.
#[derive(Clone, Debug, Default)]
pub(super) struct Handshakes(Arc<AtomicUsize>);

impl Handshakes {
    /// How many did not come to an end.
    pub(super) fn failed(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// How an endpoint speaks TLS.
#[derive(Clone, Debug)]
pub(super) struct Secured {
    pub(super) config: Arc<rustls::ServerConfig>,
    pub(super) handshakes: Handshakes,
}

/// Serves `handler` until the result is dropped.
pub(super) fn serve<H, F>(listener: TcpListener, secured: Option<Secured>, handler: H) -> Running
where
    H: Fn(Request<Bytes>) -> F + Clone + Send + Sync + Unpin + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let task = tokio::spawn(async move {
        // The set lives in this task, so that ending the task ends every connection with it.
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    connections.spawn(accept(stream, secured.clone(), handler.clone()));
                }
                Some(_) = connections.join_next() => {}
            }
        }
    });
    Running(task.abort_handle())
}

async fn accept<H, F>(stream: TcpStream, secured: Option<Secured>, handler: H)
where
    H: Fn(Request<Bytes>) -> F + Clone + Send + Sync + Unpin + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    // Without it, small answers wait 40 ms for the peer's delayed acknowledgement.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    match secured {
        None => connection(stream, handler).await,
        Some(Secured { config, handshakes }) => {
            match TlsAcceptor::from(config).accept(stream).await {
                Ok(stream) => connection(stream, handler).await,
                Err(_) => {
                    handshakes.0.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

/// A stream whose close can be made a reset.
trait Resettable {
    fn reset_on_close(&self) -> io::Result<()>;
}

impl Resettable for TcpStream {
    fn reset_on_close(&self) -> io::Result<()> {
        self.set_zero_linger()
    }
}

impl Resettable for TlsStream<TcpStream> {
    fn reset_on_close(&self) -> io::Result<()> {
        self.get_ref().0.set_zero_linger()
    }
}

async fn connection<S, H, F>(stream: S, handler: H)
where
    S: Resettable + tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Bytes>) -> F + Clone + Send + Sync + Unpin + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let reset = Arc::new(AtomicBool::new(false));
    let asked_to_reset = Arc::clone(&reset);
    let service = service_fn(move |request: Request<Incoming>| {
        let (handler, reset) = (handler.clone(), Arc::clone(&asked_to_reset));
        Box::pin(async move { respond(request, &handler, &reset).await })
    });
    let mut connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let ended = poll_fn(|context| Pin::new(&mut connection).poll_without_shutdown(context)).await;
    let stream = connection.into_parts().io.into_inner();
    if ended.is_err() && reset.load(Ordering::Relaxed) {
        // Best effort: where the option is refused the peer sees an orderly close, which is a failure to it all the same.
        stream.reset_on_close().ok();
    }
}

/// The connection is to be dropped without an answer.
#[derive(Debug, thiserror::Error)]
#[error("connection dropped on purpose")]
struct Dropped;

async fn respond<H, F>(
    request: Request<Incoming>,
    handler: &H,
    reset: &AtomicBool,
) -> Result<Response, Dropped>
where
    H: Fn(Request<Bytes>) -> F,
    F: Future<Output = Reply>,
{
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Dropped)?.to_bytes();
    match handler(Request::from_parts(parts, body)).await {
        Reply::Answer(response, after) => {
            if !after.is_zero() {
                super::pause(after).await;
            }
            Ok(response)
        }
        Reply::Hang => match pending::<Infallible>().await {},
        Reply::Reset => {
            reset.store(true, Ordering::Relaxed);
            Err(Dropped)
        }
    }
}
