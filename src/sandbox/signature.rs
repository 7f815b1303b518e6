//! Checks AWS Signature Version 4, in headers and in a presigned query, from the published algorithm.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, Request};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::encoding::{hex, parse_basic_time, percent_decode, percent_encode, query_pairs};
use super::lock;

/// How far a request's date may be from the server's clock.
const CLOCK_TOLERANCE: Duration = Duration::from_mins(5);

/// How long STS accepts a presigned query after its date, whatever `X-Amz-Expires` says.
const PRESIGNED_LIFE: Duration = Duration::from_mins(15);

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Who signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`.
    pub(super) arn: String,
    /// `ROLEID:SESSION`.
    pub(super) user_id: String,
}

/// A set of temporary credentials.
#[derive(Clone, Debug)]
pub(super) struct Credential {
    pub(super) access_key: String,
    pub(super) secret: String,
    pub(super) token: String,
    pub(super) expires: Timestamp,
    pub(super) identity: Identity,
}

/// Every credential the sandbox has given out.
#[derive(Debug, Default)]
pub(super) struct Credentials(Mutex<HashMap<String, Credential>>);

impl Credentials {
    pub(super) fn add(&self, credential: Credential) {
        lock(&self.0).insert(credential.access_key.clone(), credential);
    }

    /// Makes every credential given out so far an expired one.
    pub(super) fn expire_all(&self, now: Timestamp) {
        for credential in lock(&self.0).values_mut() {
            credential.expires = now;
        }
    }

    /// Makes every credential but this one an expired one.
    pub(super) fn expire_others(&self, access_key: &str, now: Timestamp) {
        for credential in lock(&self.0).values_mut() {
            if credential.access_key != access_key {
                credential.expires = now;
            }
        }
    }

    fn find(&self, access_key: &str) -> Option<Credential> {
        lock(&self.0).get(access_key).cloned()
    }
}

/// The region and service a request must be signed for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

/// Why a signature was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SignatureError {
    #[error("Request is missing Authentication Token")]
    Missing,
    #[error("{0}")]
    Incomplete(String),
    #[error("The security token included in the request is invalid.")]
    UnknownCredential,
    #[error("The security token included in the request is expired")]
    ExpiredCredential,
    #[error("Signature expired: `{0}` is now earlier than the server's time less the allowed skew")]
    Stale(String),
    #[error("Signature not yet current: `{0}` is still later than the server's time")]
    Early(String),
    #[error("Credential should be scoped to a valid region and to the correct service: `{0}`")]
    Scope(String),
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method."
    )]
    Mismatch,
}

impl SignatureError {
    /// The error code in the JSON protocols.
    pub(super) fn json_code(&self) -> &'static str {
        match self {
            Self::Missing => "MissingAuthenticationTokenException",
            Self::Incomplete(_) => "IncompleteSignatureException",
            Self::UnknownCredential => "UnrecognizedClientException",
            Self::ExpiredCredential => "ExpiredTokenException",
            Self::Stale(_) | Self::Early(_) | Self::Scope(_) | Self::Mismatch => {
                "InvalidSignatureException"
            }
        }
    }

    /// The error code in the query protocol.
    pub(super) fn query_code(&self) -> &'static str {
        match self {
            Self::Missing => "MissingAuthenticationToken",
            Self::Incomplete(_) => "IncompleteSignature",
            Self::UnknownCredential => "InvalidClientTokenId",
            Self::ExpiredCredential => "ExpiredToken",
            Self::Stale(_) | Self::Early(_) | Self::Scope(_) | Self::Mismatch => {
                "SignatureDoesNotMatch"
            }
        }
    }
}

/// Checks the `Authorization` header of a request.
pub(super) fn verify_header(
    request: &Request<Bytes>,
    scope: Scope<'_>,
    credentials: &Credentials,
    now: Timestamp,
) -> Result<Identity, SignatureError> {
    let headers = request.headers();
    let authorization = header(headers, "authorization").ok_or(SignatureError::Missing)?;
    let date = header(headers, "x-amz-date")
        .ok_or_else(|| SignatureError::Incomplete("`x-amz-date` is missing".to_owned()))?;
    let claim = Claim::from_authorization(&authorization, date)?;
    claim.check_time(now, CLOCK_TOLERANCE)?;
    claim.check_scope(scope)?;
    let must_be_signed = headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| *name == "host" || name.starts_with("x-amz-"));
    for name in must_be_signed.chain(["host"]) {
        claim.check_signed(name)?;
    }
    let credential = find_credential(credentials, &claim.access_key, now)?;
    if header(headers, "x-amz-security-token").as_deref() != Some(credential.token.as_str()) {
        return Err(SignatureError::UnknownCredential);
    }
    let payload = hex(&Sha256::digest(request.body()));
    if header(headers, "x-amz-content-sha256").is_some_and(|claimed| claimed != payload) {
        return Err(SignatureError::Mismatch);
    }
    claim.check_signature(request, &payload, &credential)
}

/// Checks a presigned `GET`, query parameters only, whose scope must be `scope`.
pub(super) fn verify_query(
    request: &Request<Bytes>,
    scope: Scope<'_>,
    credentials: &Credentials,
    now: Timestamp,
) -> Result<Identity, SignatureError> {
    let bad_query = || SignatureError::Incomplete("the query cannot be read".to_owned());
    let pairs = query_pairs(request.uri().query().unwrap_or_default()).ok_or_else(bad_query)?;
    let parameter = |wanted: &str| {
        let found = pairs.iter().find(|(name, _)| name == wanted);
        found
            .map(|(_, value)| value.clone())
            .ok_or_else(|| SignatureError::Incomplete(format!("`{wanted}` is missing")))
    };
    let algorithm = parameter("X-Amz-Algorithm")?;
    if algorithm != ALGORITHM {
        return Err(SignatureError::Incomplete(format!(
            "algorithm `{algorithm}`"
        )));
    }
    let claim = Claim::new(
        &parameter("X-Amz-Credential")?,
        &parameter("X-Amz-SignedHeaders")?,
        parameter("X-Amz-Signature")?,
        parameter("X-Amz-Date")?,
    )?;
    claim.check_time(now, PRESIGNED_LIFE)?;
    claim.check_scope(scope)?;
    claim.check_signed("host")?;
    let credential = find_credential(credentials, &claim.access_key, now)?;
    if parameter("X-Amz-Security-Token").ok().as_deref() != Some(credential.token.as_str()) {
        return Err(SignatureError::UnknownCredential);
    }
    claim.check_signature(request, &hex(&Sha256::digest(b"")), &credential)
}

fn find_credential(
    credentials: &Credentials,
    access_key: &str,
    now: Timestamp,
) -> Result<Credential, SignatureError> {
    let found = credentials.find(access_key);
    let credential = found.ok_or(SignatureError::UnknownCredential)?;
    if credential.expires <= now {
        return Err(SignatureError::ExpiredCredential);
    }
    Ok(credential)
}

/// What a request says about its own signature.
#[derive(Debug)]
pub(super) struct Claim {
    access_key: String,
    date: String,
    region: String,
    service: String,
    signed_headers: Vec<String>,
    signature: String,
    time: String,
}

impl Claim {
    fn from_authorization(authorization: &str, time: String) -> Result<Self, SignatureError> {
        let incomplete = |what: &str| {
            SignatureError::Incomplete(format!("Authorization header requires `{what}` parameter"))
        };
        let parameters = authorization
            .strip_prefix(ALGORITHM)
            .filter(|rest| rest.starts_with(' '))
            .ok_or_else(|| incomplete(ALGORITHM))?;
        let parameter = |name: &str| {
            let mut parts = parameters.split(',').map(str::trim);
            let found = parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            found.ok_or_else(|| incomplete(name))
        };
        Self::new(
            parameter("Credential")?,
            parameter("SignedHeaders")?,
            parameter("Signature")?.to_owned(),
            time,
        )
    }

    fn new(
        credential: &str,
        signed_headers: &str,
        signature: String,
        time: String,
    ) -> Result<Self, SignatureError> {
        let parts: Vec<&str> = credential.split('/').collect();
        let [access_key, date, region, service, "aws4_request"] = parts.as_slice() else {
            return Err(SignatureError::Incomplete(format!(
                "credential `{credential}`"
            )));
        };
        Ok(Self {
            access_key: (*access_key).to_owned(),
            date: (*date).to_owned(),
            region: (*region).to_owned(),
            service: (*service).to_owned(),
            signed_headers: signed_headers.split(';').map(str::to_owned).collect(),
            signature,
            time,
        })
    }

    fn check_time(&self, now: Timestamp, life: Duration) -> Result<(), SignatureError> {
        let time = parse_basic_time(&self.time)
            .filter(|_| self.time.starts_with(&self.date) && self.date.len() == 8)
            .ok_or_else(|| SignatureError::Incomplete(format!("date `{}`", self.time)))?;
        let age = now.duration_since(time);
        let limit = |limit: Duration| {
            jiff::SignedDuration::try_from(limit).unwrap_or(jiff::SignedDuration::MAX)
        };
        if age > limit(life) {
            return Err(SignatureError::Stale(self.time.clone()));
        }
        if -age > limit(CLOCK_TOLERANCE) {
            return Err(SignatureError::Early(self.time.clone()));
        }
        Ok(())
    }

    fn check_scope(&self, scope: Scope<'_>) -> Result<(), SignatureError> {
        if self.region == scope.region && self.service == scope.service {
            return Ok(());
        }
        Err(SignatureError::Scope(format!(
            "{}/{}",
            self.region, self.service
        )))
    }

    fn check_signed(&self, header: &str) -> Result<(), SignatureError> {
        if self.signed_headers.iter().any(|signed| signed == header) {
            return Ok(());
        }
        Err(SignatureError::Incomplete(format!(
            "`{header}` must be a signed header"
        )))
    }

    fn check_signature(
        &self,
        request: &Request<Bytes>,
        payload: &str,
        credential: &Credential,
    ) -> Result<Identity, SignatureError> {
        let canonical = canonical_request(request, &self.signed_headers, payload)
            .ok_or(SignatureError::Mismatch)?;
        if self.sign(&canonical, &credential.secret) != self.signature {
            return Err(SignatureError::Mismatch);
        }
        Ok(credential.identity.clone())
    }

    fn sign(&self, canonical: &str, secret: &str) -> String {
        let text = format!(
            "{ALGORITHM}\n{}\n{}/{}/{}/aws4_request\n{}",
            self.time,
            self.date,
            self.region,
            self.service,
            hex(&Sha256::digest(canonical.as_bytes())),
        );
        let mut key = format!("AWS4{secret}").into_bytes();
        for part in [
            self.date.as_str(),
            &self.region,
            &self.service,
            "aws4_request",
        ] {
            key = keyed_hash(&key, part);
        }
        hex(&keyed_hash(&key, &text))
    }
}

fn keyed_hash(key: &[u8], message: &str) -> Vec<u8> {
    // HMAC takes a key of any length, so the empty answer is never given; it would match no signature.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Vec::new();
    };
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The canonical request; `None` where the query has a bad escape.
fn canonical_request(
    request: &Request<Bytes>,
    signed_headers: &[String],
    payload: &str,
) -> Option<String> {
    let mut text = format!(
        "{}\n{}\n{}\n",
        request.method(),
        canonical_path(request.uri().path()),
        canonical_query(request.uri().query().unwrap_or_default())?,
    );
    for name in signed_headers {
        let value = header(request.headers(), name)?;
        // Writing to a string cannot fail.
        writeln!(text, "{name}:{value}").ok();
    }
    text.push('\n');
    text.push_str(&signed_headers.join(";"));
    text.push('\n');
    text.push_str(payload);
    Some(text)
}

/// Every service but S3 encodes the path a second time, after removing dot segments and empty ones.
fn canonical_path(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    let mut normal = format!("/{}", kept.join("/"));
    if path.ends_with('/') && normal.len() > 1 {
        normal.push('/');
    }
    percent_encode(normal.as_bytes(), b"/")
}

fn canonical_query(query: &str) -> Option<String> {
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = percent_encode(&percent_decode(name, true)?, b"");
        if name == "X-Amz-Signature" {
            continue;
        }
        pairs.push((name, percent_encode(&percent_decode(value, true)?, b"")));
    }
    pairs.sort();
    let pairs: Vec<String> = pairs.into_iter().map(|(n, v)| format!("{n}={v}")).collect();
    Some(pairs.join("&"))
}

/// A header's values joined by commas, each trimmed and with inner runs of spaces as one.
fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = Vec::new();
    for value in headers.get_all(name) {
        let text = std::str::from_utf8(value.as_bytes()).ok()?;
        values.push(
            text.split(' ')
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join(" "),
        );
    }
    (!values.is_empty()).then(|| values.join(","))
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
