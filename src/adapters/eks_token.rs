//! The EKS bearer token.
//!
//! A token is a presigned URL for STS `GetCallerIdentity`, base64url-encoded behind a fixed prefix.
//! The cluster's authenticator follows the URL and learns who signed it, so minting needs no network and no IAM permission.
//! The text is the same, byte for byte, as the one of `aws eks get-token`: what one accepts, so does the other, and a 401 can be
//! examined with either.
//! See <https://github.com/kubernetes-sigs/aws-iam-authenticator#api-authorization-from-outside-a-cluster>.
//!
//! A leaked token is 15 minutes of cluster access.
//! Nothing here logs, but `aws-sigv4` writes the URL with its session token at the `TRACE` level of target `aws_sigv4`: a log filter
//! must never enable that.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningError, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};

#[cfg(test)]
mod tests;

/// Proof of identity for one cluster, sent as `Authorization: Bearer …`.
///
/// `Debug` shows the length and the expiry, not the text.
pub struct Token {
    bearer: String,
    expires_at: Timestamp,
}

impl Token {
    /// The secret text, for the `Authorization` header and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.bearer
    }

    /// When to stop using it: 14 minutes after `now`, in whole seconds.
    ///
    /// Credentials that end earlier end the token with them.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Whether the text is longer than 4096 bytes, which authenticators answer with a bare 401.
    ///
    /// Long session tokens cause it; they grow with session tags and session policies.
    /// Newer authenticators may allow more, so such a token is worth sending and worth a warning.
    #[must_use]
    pub fn is_oversized(&self) -> bool {
        self.bearer.len() > MAX_ACCEPTED_BYTES
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bearer, expires_at } = self;
        f.debug_struct("Token")
            .field("bearer", &format_args!("<{} bytes>", bearer.len()))
            .field("expires_at", &format_args!("{expires_at}"))
            .finish()
    }
}

/// Why no token could be minted. Trying again with the same input fails again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The region is not of a form that any AWS partition uses.
    #[error(
        "AWS region {found:?} is not known: allowed are lower-case names `PREFIX-PLACE-NUMBER`, such as `us-west-2`, \
         with PREFIX one of {}",
        known_prefixes()
    )]
    Region {
        /// What was given instead.
        found: String,
    },

    /// EKS has no cluster with such a name.
    #[error(
        "EKS cluster name {found:?} is not valid: allowed are 1 to 100 of `A-Z a-z 0-9 - _`, the first a letter or a digit"
    )]
    ClusterName {
        /// What was given instead.
        found: String,
    },

    /// The clock is at the end of representable time.
    #[error("the token's expiry, 14 minutes after {now}, is out of range")]
    Expiry {
        /// The time of minting.
        now: Timestamp,
        /// What the calendar said.
        #[source]
        source: jiff::Error,
    },

    /// The signer got incomplete parameters.
    #[error("the signing parameters for `{host}` are incomplete")]
    Parameters {
        /// The STS endpoint.
        host: String,
        /// What is missing.
        #[source]
        source: v4::signing_params::BuildError,
    },

    /// The signer refused the request.
    #[error("signing the request to `{host}` failed")]
    Sign {
        /// The STS endpoint.
        host: String,
        /// Why it was refused.
        #[source]
        source: SigningError,
    },
}

/// Signs a token for `cluster` in `region`, the cluster's own region.
///
/// `cluster` is the cluster's name, or its id for a local cluster on Outposts.
/// This is pure computation, some microseconds long: mint for each invocation rather than keep tokens across a freeze.
pub fn mint(
    credentials: &Credentials,
    region: &str,
    cluster: &str,
    now: Timestamp,
) -> Result<Token, TokenError> {
    if !is_cluster_name(cluster) {
        return Err(TokenError::ClusterName {
            found: cluster.to_owned(),
        });
    }
    let host = sts_host(region)?;
    let expires_at = expiry(now).map_err(|source| TokenError::Expiry { now, source })?;
    let url = presigned_url(credentials, region, &host, cluster, now)?;

    let mut bearer = String::from(PREFIX);
    URL_SAFE_NO_PAD.encode_string(url, &mut bearer);
    Ok(Token { bearer, expires_at })
}

/// The public regional STS endpoint: `sts.us-west-2.amazonaws.com` for `us-west-2`.
///
/// Authenticators accept no VPC endpoint's name and, outside the commercial partition, no global one, so this host is signed
/// whatever endpoint other calls use.
pub fn sts_host(region: &str) -> Result<String, TokenError> {
    // The first prefix decides, so that a malformed `us-gov-1` is refused instead of passing as some commercial region.
    PARTITIONS
        .iter()
        .find_map(|&(prefix, suffix)| {
            Some((region.strip_prefix(prefix)?.strip_prefix('-')?, suffix))
        })
        .filter(|(rest, _)| is_place_and_number(rest))
        .map(|(_, suffix)| format!("sts.{region}.{suffix}"))
        .ok_or_else(|| TokenError::Region {
            found: region.to_owned(),
        })
}

/// What `aws eks get-token` prints: the `ExecCredential` through which kubectl and other client-go programs take a token.
///
/// `exec_info` is the content of `KUBERNETES_EXEC_INFO`, in which the client names the version it wants to read.
/// `v1`, `v1beta1` and the deprecated `v1alpha1` are answered in kind, everything else in `v1beta1`.
/// The text holds the token and ends without a line feed.
/// See <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#input-and-output-formats>.
#[must_use]
pub fn exec_credential(token: &Token, exec_info: Option<&str>) -> String {
    let Token { bearer, expires_at } = token;
    let version = exec_version(exec_info);
    // Put together by hand because a `serde_json::Value` sorts its keys; no part holds a character that JSON escapes.
    format!(
        r#"{{
    "kind": "ExecCredential",
    "apiVersion": "{version}",
    "spec": {{}},
    "status": {{
        "expirationTimestamp": "{expires_at}",
        "token": "{bearer}"
    }}
}}"#
    )
}

/// Marks version 1 of the token format, the only one.
const PREFIX: &str = "k8s-aws-v1.";

/// Where authenticators cut off, the prefix included: `maxTokenLenBytes` in aws-iam-authenticator's `pkg/token/token.go`.
pub const MAX_ACCEPTED_BYTES: usize = 4096;

/// STS honours the URL for 15 minutes; one is slack for the clocks and the call under way, as in both of AWS's tools.
const LIFETIME: SignedDuration = SignedDuration::from_mins(14);

/// `X-Amz-Expires`. STS ignores it, old authenticators refuse more than 60 seconds, and `aws eks get-token` writes 60.
/// `aws-sigv4` panics when a presigned URL has none.
const URL_EXPIRES: Duration = Duration::from_mins(1);

/// Carries the cluster's name into the signature; the authenticator adds its own name, so a token fits one cluster only.
const CLUSTER_HEADER: &str = "x-k8s-aws-id";

/// The parameters in botocore's order. Any order is valid; this one makes the text equal to that of `aws eks get-token`.
const PARAMETER_ORDER: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
];

/// Region prefix and DNS suffix of every partition, the longer prefixes before those they begin with.
///
/// From botocore's `partitions.json`, <https://github.com/boto/botocore/blob/develop/botocore/data/partitions.json>.
const PARTITIONS: [(&str, &str); 16] = [
    ("us-gov", "amazonaws.com"),
    ("us-iso", "c2s.ic.gov"),
    ("us-isob", "sc2s.sgov.gov"),
    ("us-isof", "csp.hci.ic.gov"),
    ("eu-isoe", "cloud.adc-e.uk"),
    ("eusc-de", "amazonaws.eu"),
    ("cn", "amazonaws.com.cn"),
    ("us", "amazonaws.com"),
    ("eu", "amazonaws.com"),
    ("ap", "amazonaws.com"),
    ("sa", "amazonaws.com"),
    ("ca", "amazonaws.com"),
    ("me", "amazonaws.com"),
    ("af", "amazonaws.com"),
    ("il", "amazonaws.com"),
    ("mx", "amazonaws.com"),
];

fn known_prefixes() -> String {
    PARTITIONS
        .map(|(prefix, _)| format!("`{prefix}`"))
        .join(", ")
}

/// `west-2`: exactly one word and one number, so that no further label, port or path gets into the host.
fn is_place_and_number(rest: &str) -> bool {
    rest.split_once('-').is_some_and(|(place, number)| {
        !place.is_empty()
            && place
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            && !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
    })
}

/// The name pattern of the EKS API: `^[0-9A-Za-z][A-Za-z0-9\-_]*$`, at most 100 characters.
///
/// The signer collapses spaces, so an unchecked name could be signed as another one.
fn is_cluster_name(name: &str) -> bool {
    name.len() <= 100
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// In whole seconds, as `X-Amz-Date` is.
fn expiry(now: Timestamp) -> Result<Timestamp, jiff::Error> {
    Timestamp::from_second(now.as_second())?.checked_add(LIFETIME)
}

fn presigned_url(
    credentials: &Credentials,
    region: &str,
    host: &str,
    cluster: &str,
    now: Timestamp,
) -> Result<String, TokenError> {
    let mut url = format!("https://{host}/?Action=GetCallerIdentity&Version=2011-06-15");

    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(URL_EXPIRES);
    let identity = credentials.clone().into();
    let signing_params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("sts")
        .time(SystemTime::from(now))
        .settings(settings)
        .build()
        .map_err(|source| TokenError::Parameters {
            host: host.to_owned(),
            source,
        })?
        .into();
    let sign_error = |source| TokenError::Sign {
        host: host.to_owned(),
        source,
    };
    let headers = [(CLUSTER_HEADER, cluster)];
    let request = SignableRequest::new(
        "GET",
        url.as_str(),
        headers.into_iter(),
        SignableBody::empty(),
    )
    .map_err(sign_error)?;
    let (instructions, _signature) = sign(request, &signing_params)
        .map_err(sign_error)?
        .into_parts();

    let (_headers, mut parameters): (_, Vec<(&str, Cow<'_, str>)>) = instructions.into_parts();
    // A parameter that a later signer adds is part of the signature: it goes last, never away.
    parameters.sort_by_key(|&(name, _)| {
        PARAMETER_ORDER
            .iter()
            .position(|&n| n == name)
            .unwrap_or(PARAMETER_ORDER.len())
    });
    for (name, value) in parameters {
        url.push('&');
        url.push_str(name);
        url.push('=');
        push_percent_encoded(&mut url, &value);
    }
    Ok(url)
}

/// Everything but RFC 3986's unreserved characters is escaped: the authenticator refuses a bare `;`, and `+` would read as a space.
fn push_percent_encoded(url: &mut String, text: &str) {
    const HEX: [u8; 16] = *b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            url.push(char::from(byte));
        } else {
            url.push('%');
            url.push(char::from(HEX[usize::from(byte >> 4)]));
            url.push(char::from(HEX[usize::from(byte & 0x0f)]));
        }
    }
}

fn exec_version(exec_info: Option<&str>) -> &'static str {
    const V1: &str = "client.authentication.k8s.io/v1";
    const V1BETA1: &str = "client.authentication.k8s.io/v1beta1";
    const V1ALPHA1: &str = "client.authentication.k8s.io/v1alpha1";

    let info = exec_info.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    match info
        .as_ref()
        .and_then(|info| info.get("apiVersion")?.as_str())
    {
        Some(V1) => V1,
        Some(V1ALPHA1) => V1ALPHA1,
        _ => V1BETA1,
    }
}
