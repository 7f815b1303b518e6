//! The way from the authenticator to STS: a proxy that ends the TLS of `https://sts.REGION.amazonaws.com` and asks
//! [`super::ministack`] instead.
//!
//! AWS answers in JSON where it is asked to, ministack in XML alone, so the answer is put into the form that AWS gives it:
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>. Nothing else is changed.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::ministack::{element, exchange};
use super::pki::Authority;

#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) address: SocketAddr,
    /// What STS said last about each access key.
    said: Arc<Mutex<HashMap<String, (u16, String)>>>,
}

impl Gateway {
    /// Until the test process ends.
    pub(super) fn start(authority: Arc<Authority>, sts: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let said = Arc::new(Mutex::new(HashMap::new()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (authority, heard) = (Arc::clone(&authority), Arc::clone(&heard));
                std::thread::spawn(move || {
                    // Whoever hangs up early is told nothing; the authenticator's log has the rest.
                    serve(stream, &authority, sts, &heard).ok();
                });
            }
        });
        Self { address, said }
    }

    /// Status and body of the last answer about an access key.
    pub(super) fn said(&self, access_key: &str) -> Option<(u16, String)> {
        self.said.lock().unwrap().get(access_key).cloned()
    }
}

fn serve(
    mut stream: TcpStream,
    authority: &Authority,
    sts: SocketAddr,
    said: &Mutex<HashMap<String, (u16, String)>>,
) -> std::io::Result<()> {
    let connect = head(&mut stream)?;
    let host = connect
        .strip_prefix("CONNECT ")
        .and_then(|rest| rest.split_once(":443 "))
        .map(|(host, _)| host.to_owned())
        .ok_or_else(|| std::io::Error::other(connect.clone()))?;
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let session =
        rustls::ServerConnection::new(authority.tls(&host)).map_err(std::io::Error::other)?;
    let mut stream = rustls::StreamOwned::new(session, stream);
    // One request: the answer closes the connection.
    let request = head(&mut stream)?;
    let key = request
        .split_once("X-Amz-Credential=")
        .and_then(|(_, rest)| rest.split_once("%2F"))
        .map(|(key, _)| key.to_owned())
        .unwrap_or_default();
    // HTTP/1.0, so that the answer comes in one piece and ends with the connection.
    let request = request.replacen(" HTTP/1.1\r\n", " HTTP/1.0\r\n", 1);
    let (status, body) = exchange(sts, request.as_bytes())?;
    said.lock().unwrap().insert(key, (status, body.clone()));
    let body = in_json(&body);
    write!(
        stream,
        "HTTP/1.1 {status} STS\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// Everything up to the empty line, that line included.
fn head(stream: &mut impl Read) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    String::from_utf8(head).map_err(std::io::Error::other)
}

fn in_json(xml: &str) -> String {
    let field = |name: &str| element(xml, name);
    let body = match field("Arn") {
        Some(arn) => json!({"GetCallerIdentityResponse": {
            "GetCallerIdentityResult": {"Account": field("Account"), "Arn": arn, "UserId": field("UserId")},
            "ResponseMetadata": {"RequestId": field("RequestId")},
        }}),
        None => json!({
            "Error": {"Code": field("Code"), "Message": field("Message"), "Type": field("Type")},
            "RequestId": field("RequestId"),
        }),
    };
    body.to_string()
}
