//! Signed requests for the tests of the endpoints.

use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::encoding::{basic_time, hex, percent_encode};
use super::super::server::Response;
use super::{Claim, Credential, Credentials, Identity, canonical_request, header};

pub(in crate::sandbox) const REGION: &str = "ap-northeast-1";
/// 2026-11-23T00:00:00Z.
pub(in crate::sandbox) const NOW: Timestamp = Timestamp::constant(1_795_392_000, 0);

pub(in crate::sandbox) fn credential() -> Credential {
    Credential {
        access_key: "ASIAEXAMPLE".to_owned(),
        secret: "secret/with+signs".to_owned(),
        token: "token/with+signs==".to_owned(),
        expires: Timestamp::constant(1_795_392_000 + 3600, 0),
        identity: Identity {
            arn: "arn:aws:sts::123456789012:assumed-role/outrigger/outrigger".to_owned(),
            user_id: "AROAEXAMPLE:outrigger".to_owned(),
        },
    }
}

pub(in crate::sandbox) fn credentials() -> Credentials {
    let credentials = Credentials::default();
    credentials.add(credential());
    credentials
}

pub(in crate::sandbox) fn body_json(response: Response) -> Value {
    serde_json::from_str(&body_text(response)).expect("a JSON body")
}

pub(in crate::sandbox) fn body_text(response: Response) -> String {
    String::from_utf8(body_bytes(response)).expect("text")
}

pub(in crate::sandbox) fn body_bytes(response: Response) -> Vec<u8> {
    let mut body = response.into_body();
    let frame = body.frame();
    let mut frame = std::pin::pin!(frame);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match frame.as_mut().poll(&mut context) {
        std::task::Poll::Ready(Some(Ok(frame))) => frame.into_data().expect("data").to_vec(),
        _ => Vec::new(),
    }
}

/// A request to sign, with the ways to get it wrong left open.
#[derive(Clone, Debug)]
pub(in crate::sandbox) struct Signed {
    pub(in crate::sandbox) credential: Credential,
    pub(in crate::sandbox) at: Timestamp,
    pub(in crate::sandbox) region: String,
    pub(in crate::sandbox) service: String,
    pub(in crate::sandbox) method: Method,
    pub(in crate::sandbox) target: String,
    pub(in crate::sandbox) headers: Vec<(&'static str, String)>,
    pub(in crate::sandbox) body: Vec<u8>,
}

impl Signed {
    pub(in crate::sandbox) fn get(service: &str, target: &str) -> Self {
        Self {
            credential: credential(),
            at: NOW,
            region: REGION.to_owned(),
            service: service.to_owned(),
            method: Method::GET,
            target: target.to_owned(),
            headers: vec![("host", "127.0.0.1:1".to_owned())],
            body: Vec::new(),
        }
    }

    pub(in crate::sandbox) fn post(service: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut signed = Self::get(service, "/");
        signed.method = Method::POST;
        signed.body = body.into();
        signed
    }

    pub(in crate::sandbox) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// The request with an `Authorization` header.
    pub(in crate::sandbox) fn request(&self) -> Request<Bytes> {
        let signed = self
            .clone()
            .header("x-amz-date", &basic_time(self.at))
            .header("x-amz-security-token", &self.credential.token);
        let mut request = signed.unsigned(&self.target);
        let mut names: Vec<String> = signed
            .headers
            .iter()
            .map(|(n, _)| (*n).to_owned())
            .collect();
        names.sort();
        names.dedup();
        let claim = self.claim(names);
        let payload = hex(&Sha256::digest(&self.body));
        let canonical =
            canonical_request(&request, &claim.signed_headers, &payload).expect("canonical");
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}/{}/{}/aws4_request, SignedHeaders={}, Signature={}",
            claim.access_key,
            claim.date,
            claim.region,
            claim.service,
            claim.signed_headers.join(";"),
            claim.sign(&canonical, &self.credential.secret),
        );
        let value = HeaderValue::from_str(&value).expect("a header value");
        request.headers_mut().insert("authorization", value);
        request
    }

    /// The path and query presigned, all given headers signed.
    pub(in crate::sandbox) fn presigned_target(&self) -> String {
        let mut names: Vec<String> = self.headers.iter().map(|(n, _)| (*n).to_owned()).collect();
        names.sort();
        let claim = self.claim(names);
        let encode = |text: &str| percent_encode(text.as_bytes(), b"");
        let target = format!(
            "{}&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={}&X-Amz-Expires=60&X-Amz-SignedHeaders={}&X-Amz-Security-Token={}",
            self.target,
            encode(&format!(
                "{}/{}/{}/{}/aws4_request",
                claim.access_key, claim.date, claim.region, claim.service
            )),
            claim.time,
            encode(&claim.signed_headers.join(";")),
            encode(&self.credential.token),
        );
        let request = self.unsigned(&target);
        let payload = hex(&Sha256::digest(b""));
        let canonical =
            canonical_request(&request, &claim.signed_headers, &payload).expect("canonical");
        format!(
            "{target}&X-Amz-Signature={}",
            claim.sign(&canonical, &self.credential.secret)
        )
    }

    pub(in crate::sandbox) fn unsigned(&self, target: &str) -> Request<Bytes> {
        let mut request = Request::builder().method(self.method.clone()).uri(target);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request
            .body(Bytes::from(self.body.clone()))
            .expect("a request")
    }

    fn claim(&self, signed_headers: Vec<String>) -> Claim {
        let time = basic_time(self.at);
        Claim {
            access_key: self.credential.access_key.clone(),
            date: time[..8].to_owned(),
            region: self.region.clone(),
            service: self.service.clone(),
            signed_headers,
            signature: String::new(),
            time,
        }
    }
}

#[test]
fn header_values_are_normalised() {
    let request = Signed::get("sqs", "/")
        .header("my-header", "  a   b ")
        .header("my-header", "c")
        .unsigned("/");
    assert_eq!(
        header(request.headers(), "my-header").as_deref(),
        Some("a b,c")
    );
}
