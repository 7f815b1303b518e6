//! Who a bearer token belongs to: the checks of the authenticator, then the word of STS.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderMap, header};
use jiff::Timestamp;
use tokio::net::TcpStream;

use super::super::authenticator::{self, PresignedUrl, Refusal};
use super::super::lock;
use super::Shared;

/// How long the authenticator waits for STS.
const STS_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a good token is taken without asking again, as an API server caches its webhook.
const SESSION_LIFE: Duration = Duration::from_mins(1);

/// More than any test or demo mints in a minute; beyond it the expired ones are dropped.
const SESSION_LIMIT: usize = 1_000;

/// The group that may do everything.
const MASTERS: &str = "system:masters";

/// Somebody who was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) groups: Vec<String>,
}

impl User {
    pub(super) fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }
}

pub(super) async fn authenticate(
    shared: &Shared,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<User, Refusal> {
    let authorization = headers.get(header::AUTHORIZATION);
    let token = authorization
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .ok_or(Refusal::NoToken)?;
    if token == shared.admin_token {
        return Ok(User {
            name: "admin".to_owned(),
            groups: vec![MASTERS.to_owned()],
        });
    }
    if let Some(user) = known(shared, token, now) {
        return Ok(user);
    }
    // One question to STS at a time, so that a burst of requests with a new token asks once.
    let _asking = shared.asking.lock().await;
    if let Some(user) = known(shared, token, now) {
        return Ok(user);
    }
    let presigned = authenticator::check(token, &shared.region, now)?;
    let (status, body) = ask_sts(shared, &presigned).await?;
    let caller = authenticator::caller(status, &body)?;
    let groups = lock(&shared.access).get(&caller.canonical_arn).cloned();
    let user = User {
        groups: groups.ok_or(Refusal::NotMapped(caller.canonical_arn))?,
        name: caller.arn,
    };
    let mut sessions = lock(&shared.sessions);
    if sessions.len() >= SESSION_LIMIT {
        sessions.retain(|_, (_, until)| now < *until);
    }
    let until = now.checked_add(SESSION_LIFE).unwrap_or(now);
    sessions.insert(token.to_owned(), (user.clone(), until));
    Ok(user)
}

fn known(shared: &Shared, token: &str, now: Timestamp) -> Option<User> {
    let sessions = lock(&shared.sessions);
    let (user, until) = sessions.get(token)?;
    (now < *until).then(|| user.clone())
}

async fn ask_sts(shared: &Shared, presigned: &PresignedUrl) -> Result<(u16, String), Refusal> {
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: {}\r\nx-k8s-aws-id: {}\r\naccept: application/json\r\nconnection: close\r\n\r\n",
        presigned.target, presigned.host, shared.cluster
    );
    let exchange = exchange(shared.sts, request.as_bytes());
    let answer = match tokio::time::timeout(STS_TIMEOUT, exchange).await {
        Ok(answer) => answer.map_err(|error| Refusal::StsUnreachable(error.to_string()))?,
        Err(_) => return Err(Refusal::StsUnreachable("timed out".to_owned())),
    };
    let unreadable = || Refusal::StsUnreachable("the answer cannot be read".to_owned());
    let text = String::from_utf8(answer).map_err(|_| unreadable())?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(unreadable)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Ok((status.ok_or_else(unreadable)?, body.to_owned()))
}

/// One request on a connection of its own; the peer closes it after the answer.
async fn exchange(address: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let stream = TcpStream::connect(address).await?;
    let mut rest = request;
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut buffer) {
            Ok(0) => return Ok(answer),
            Ok(read) => answer.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
