//! What an EKS control plane checks in a bearer token before it asks STS who signed it.
//!
//! The checks and their order are those of aws-iam-authenticator:
//! <https://github.com/kubernetes-sigs/aws-iam-authenticator>

use std::collections::HashSet;
use std::time::Duration;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use jiff::Timestamp;
use serde_json::Value;

use super::encoding::{parse_basic_time, query_text};
use super::partition;

/// The longest token that is looked at, prefix included, in bytes.
const MAX_TOKEN_LENGTH: usize = 4096;

const PREFIX: &str = "k8s-aws-v1.";

/// How long a token is good after the date in it; STS has the same limit.
const TOKEN_LIFE: Duration = Duration::from_mins(15);

/// The largest `X-Amz-Expires`, in seconds.
const MAX_EXPIRES: i64 = 900;

/// Go's decoder does not look at the bits after the last whole byte either.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    NO_PAD.with_decode_allow_trailing_bits(true),
);

const ALLOWED_PARAMETERS: [&str; 9] = [
    "action",
    "version",
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];

/// Why a bearer token was not accepted. The caller only ever sees 401.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More than 4096 bytes.
    #[error("token is too large: {0} bytes")]
    TooLarge(usize),
    /// Not `k8s-aws-v1.`.
    #[error("token is missing the prefix `k8s-aws-v1.`")]
    Prefix,
    /// Not URL-safe base64 without padding.
    #[error("token is not unpadded URL-safe base64")]
    Base64,
    /// No URL can be read.
    #[error("token holds no URL")]
    Url,
    /// Not `https`.
    #[error("unexpected scheme `{0}` in the presigned URL")]
    Scheme(String),
    /// Not a public host of STS.
    #[error("unexpected host `{0}` in the presigned URL")]
    Host(String),
    /// Not `/`.
    #[error("unexpected path `{0}` in the presigned URL")]
    Path(String),
    /// A bad escape or an unencoded `;`.
    #[error("malformed query parameter")]
    Query,
    /// The same name twice, in whatever case.
    #[error("duplicate query parameter found: `{0}`")]
    Duplicate(String),
    /// A name outside the allow-list.
    #[error("non-allowed query parameter `{0}`")]
    Parameter(String),
    /// Not `GetCallerIdentity`.
    #[error("unexpected action `{0}` in the presigned URL")]
    Action(String),
    /// The cluster's header is not signed.
    #[error("client did not sign the `x-k8s-aws-id` header")]
    SignedHeaders,
    /// Not an integer from 0 to 900.
    #[error("invalid X-Amz-Expires `{0}` in the presigned URL")]
    Expires(String),
    /// Missing or not `YYYYMMDDTHHMMSSZ`.
    #[error("invalid X-Amz-Date `{0}` in the presigned URL")]
    Date(String),
    /// More than 15 minutes old.
    #[error("X-Amz-Date `{0}` is too old")]
    Expired(String),
    /// STS did not answer, or not with something that can be read.
    #[error("STS gave no answer: {0}")]
    StsUnreachable(String),
    /// STS refused the signature.
    #[error("STS refused the presigned URL with status {status}: {body}")]
    Sts {
        /// The HTTP status.
        status: u16,
        /// What STS said.
        body: String,
    },
    /// The caller's ARN or user id is not understood.
    #[error("unexpected identity `{0}`")]
    Identity(String),
    /// No access entry names the role.
    #[error("ARN `{0}` is not mapped")]
    NotMapped(String),
    /// Not a bearer token at all.
    #[error("no bearer token")]
    NoToken,
}

/// A presigned request that may be sent to STS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresignedUrl {
    /// The public name of an STS endpoint.
    pub host: String,
    /// Path and query, as they were signed.
    pub target: String,
}

/// Checks a token as far as it goes without asking STS. `region` is the cluster's, which also says the partition.
pub fn check(token: &str, region: &str, now: Timestamp) -> Result<PresignedUrl, Refusal> {
    if token.len() > MAX_TOKEN_LENGTH {
        return Err(Refusal::TooLarge(token.len()));
    }
    let encoded = token.strip_prefix(PREFIX).ok_or(Refusal::Prefix)?;
    let decoded = BASE64.decode(encoded).map_err(|_| Refusal::Base64)?;
    let url = String::from_utf8(decoded).map_err(|_| Refusal::Url)?;
    if url.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(Refusal::Url);
    }
    let (scheme, rest) = url.split_once(':').ok_or(Refusal::Url)?;
    if !scheme.eq_ignore_ascii_case("https") {
        return Err(Refusal::Scheme(scheme.to_owned()));
    }
    let rest = rest.strip_prefix("//").unwrap_or_default();
    let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
    let (location, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = match location.find('/') {
        Some(start) => location.split_at(start),
        None => (location, ""),
    };
    // As in Go, user information is not part of the host, a port is.
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    check_host(host, region)?;
    if path != "/" {
        return Err(Refusal::Path(path.to_owned()));
    }
    check_query(&parameters(query)?, now)?;
    Ok(PresignedUrl {
        host: host.to_owned(),
        target: format!("/?{query}"),
    })
}

fn check_host(host: &str, own_region: &str) -> Result<(), Refusal> {
    let refused = || Refusal::Host(host.to_owned());
    let own = partition::of_region(own_region);
    let labels: Vec<&str> = host.split('.').collect();
    let [_, region, domain @ ..] = labels.as_slice() else {
        return Err(refused());
    };
    if domain.is_empty() {
        return Err(refused());
    }
    if host == "sts.amazonaws.com" {
        return if own.name == "aws" {
            Ok(())
        } else {
            Err(refused())
        };
    }
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_label = region.bytes().all(inner)
        && !region.is_empty()
        && !region.starts_with('-')
        && !region.ends_with('-');
    if !is_label {
        return Err(refused());
    }
    let mut hosts = partition::of_region(region).sts_hosts(region);
    // A region newer than the resolver is still the cluster's own.
    hosts.push(format!("sts.{own_region}.{}", own.domain));
    if let Some(domain) = own.dual_stack_domain {
        hosts.push(format!("sts.{own_region}.{domain}"));
    }
    let domain = domain.join(".");
    let is_own_domain = domain == own.domain || Some(domain.as_str()) == own.dual_stack_domain;
    if hosts.iter().any(|known| known == host) && is_own_domain {
        return Ok(());
    }
    Err(refused())
}

/// The query as Go reads it: a `;` or a bad escape anywhere spoils it.
fn parameters(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    let mut parameters = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        if pair.contains(';') {
            return Err(Refusal::Query);
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = query_text(name).ok_or(Refusal::Query)?;
        parameters.push((name, query_text(value).ok_or(Refusal::Query)?));
    }
    Ok(parameters)
}

fn check_query(parameters: &[(String, String)], now: Timestamp) -> Result<(), Refusal> {
    let mut names = HashSet::new();
    for (name, _) in parameters {
        if !names.insert(name.to_ascii_lowercase()) {
            return Err(Refusal::Duplicate(name.clone()));
        }
    }
    if let Some(name) = names
        .iter()
        .find(|name| !ALLOWED_PARAMETERS.contains(&name.as_str()))
    {
        return Err(Refusal::Parameter(name.clone()));
    }
    let value = |wanted: &str| {
        let mut pairs = parameters.iter();
        let found = pairs.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map_or("", |(_, value)| value.as_str())
    };
    let action = value("action");
    if action != "GetCallerIdentity" {
        return Err(Refusal::Action(action.to_owned()));
    }
    let mut signed = value("x-amz-signedheaders").split(';');
    if !signed.any(|header| header.eq_ignore_ascii_case("x-k8s-aws-id")) {
        return Err(Refusal::SignedHeaders);
    }
    let expires = value("x-amz-expires");
    if !expires
        .parse()
        .is_ok_and(|seconds: i64| (0..=MAX_EXPIRES).contains(&seconds))
    {
        return Err(Refusal::Expires(expires.to_owned()));
    }
    let date = value("x-amz-date");
    let signed_at = parse_basic_time(date).ok_or_else(|| Refusal::Date(date.to_owned()))?;
    let end = signed_at.checked_add(TOKEN_LIFE).unwrap_or(Timestamp::MAX);
    if now > end {
        return Err(Refusal::Expired(date.to_owned()));
    }
    Ok(())
}

/// Who STS says the caller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The ARN as STS gives it: `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`.
    pub arn: String,
    /// What access entries name: `arn:aws:iam::ACCOUNT:role/ROLE`. It carries no path, because STS gives none.
    pub canonical_arn: String,
}

/// Reads the answer of STS to a presigned request.
pub fn caller(status: u16, body: &str) -> Result<Caller, Refusal> {
    if status != 200 {
        return Err(Refusal::Sts {
            status,
            body: body.to_owned(),
        });
    }
    let unreadable = || Refusal::Identity(body.to_owned());
    let answer: Value = serde_json::from_str(body).map_err(|_| unreadable())?;
    let result = answer.pointer("/GetCallerIdentityResponse/GetCallerIdentityResult");
    let field = |name: &str| {
        let value = result.and_then(|result| result.get(name)?.as_str());
        value
            .filter(|value| !value.is_empty())
            .ok_or_else(unreadable)
    };
    let (arn, user_id) = (field("Arn")?, field("UserId")?);
    field("Account")?;
    let canonical_arn = canonical(arn).ok_or_else(|| Refusal::Identity(arn.to_owned()))?;
    let is_role = canonical_arn != arn;
    if is_role && user_id.split(':').count() != 2 {
        return Err(Refusal::Identity(user_id.to_owned()));
    }
    Ok(Caller {
        arn: arn.to_owned(),
        canonical_arn,
    })
}

fn canonical(arn: &str) -> Option<String> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, service, "", account, resource] = parts.as_slice() else {
        return None;
    };
    if !partition::is_known(partition) {
        return None;
    }
    let resource: Vec<&str> = resource.split('/').collect();
    match (*service, resource.as_slice()) {
        ("sts", ["assumed-role", role, _session]) => {
            Some(format!("arn:{partition}:iam::{account}:role/{role}"))
        }
        ("sts", ["federated-user", ..]) | ("iam", ["user" | "role" | "root", ..]) => {
            Some(arn.to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
