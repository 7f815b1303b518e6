//! AWS configuration: the function's own, and that of each role it assumes.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt::Write as _;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_types::timeout::TimeoutConfig;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, timeout_at};

use super::one_line::one_line;
use crate::clock::wall_now;
use crate::policy::Identity;
use crate::ports::Fault;

/// The session name that CloudTrail and the API server's audit log show for an assumed role.
const SESSION_NAME: &str = "outrigger";

/// AWS clients' configuration, one for each identity and region, so that roles and connections are shared.
#[derive(Debug)]
pub struct Aws {
    own: SdkConfig,
    assumed: Mutex<HashMap<(Identity, String), SdkConfig>>,
    /// What was handed out and expires, so that a role is not assumed anew for every token.
    credentials: Mutex<HashMap<(Identity, String), Credentials>>,
}

/// Credentials are not handed out again with less time left than this: a token made from them must outlive its use.
const CREDENTIALS_RESERVE: SignedDuration = SignedDuration::from_mins(5);

impl Aws {
    /// Takes region, credentials and endpoints from the environment, as every AWS tool does. No network.
    pub async fn from_environment() -> Self {
        let own = aws_config::defaults(BehaviorVersion::v2026_01_12()).timeout_config(timeouts());
        Self::from_config(own.load().await)
    }

    /// Takes a configuration such as `aws_config` loads, but for the timeouts, which are always ours.
    #[must_use]
    pub fn from_config(own: SdkConfig) -> Self {
        Self {
            own: own.into_builder().timeout_config(timeouts()).build(),
            assumed: Mutex::default(),
            credentials: Mutex::default(),
        }
    }

    /// The region of the environment or profile.
    #[must_use]
    pub fn region(&self) -> Option<String> {
        self.own.region().map(ToString::to_string)
    }

    /// The configuration for an identity in a region.
    pub async fn config(&self, identity: &Identity, region: &str) -> SdkConfig {
        let key = (identity.clone(), region.to_owned());
        let known = self
            .assumed
            .lock()
            .ok()
            .and_then(|known| known.get(&key).cloned());
        if let Some(config) = known {
            return config;
        }
        let mut builder = self.own.to_builder().region(Region::new(region.to_owned()));
        if let Identity::Role { arn, external_id } = identity {
            // No session policy and no tags: both make the session token, and with it the EKS token, longer.
            let mut role = AssumeRoleProvider::builder(arn)
                .session_name(SESSION_NAME)
                .configure(&self.own);
            if self.own.region().is_none() {
                role = role.region(Region::new(region.to_owned()));
            }
            if let Some(external_id) = external_id {
                role = role.external_id(external_id);
            }
            let assumed = Assumed {
                role: role.build().await,
                last: tokio::sync::Mutex::default(),
            };
            builder.set_credentials_provider(Some(SharedCredentialsProvider::new(assumed)));
        }
        let config = builder.build();
        keep(&self.assumed, key, config.clone(), MAX_CLIENTS);
        config
    }

    /// Credentials of an identity, for signing what no client signs.
    pub async fn credentials(
        &self,
        identity: &Identity,
        region: &str,
    ) -> Result<Credentials, Fault> {
        let key = (identity.clone(), region.to_owned());
        if let Some(known) = self.known_credentials(&key) {
            return Ok(known);
        }
        let config = self.config(identity, region).await;
        let who = match identity {
            Identity::Function => "this process".to_owned(),
            Identity::Role { arn, .. } => format!("the role `{arn}`"),
        };
        let Some(provider) = config.credentials_provider() else {
            let message = format!(
                "no AWS credentials for {who}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            );
            return Err(Fault::failed("NoCredentials", message));
        };
        let credentials = provider.provide_credentials().await.map_err(|error| {
            let (reason, hint) = (chain(&error), credentials_hint(identity));
            let message = format!("could not get AWS credentials for {who}: {reason}; {hint}");
            Fault::failed("NoCredentials", message)
        })?;
        keep(&self.credentials, key, credentials.clone(), MAX_CLIENTS);
        Ok(credentials)
    }

    fn known_credentials(&self, key: &(Identity, String)) -> Option<Credentials> {
        let known = self.credentials.lock().ok()?.get(key).cloned()?;
        // Without an end they come from the environment, at no cost.
        let end = Timestamp::try_from(known.expiry()?).ok()?;
        (end.duration_since(wall_now()) > CREDENTIALS_RESERVE).then_some(known)
    }

    /// A cluster refused what was signed with them: the next of this identity are fresh ones. Those of others are kept.
    pub fn forget_credentials(&self, identity: &Identity, region: &str) {
        if let Ok(mut known) = self.credentials.lock() {
            known.remove(&(identity.clone(), region.to_owned()));
        }
    }
}

/// A role that is assumed. STS is asked once, however many calls need credentials at the same time, and what fails fails for all of
/// them: a role that STS throttles or refuses must not cost a call to STS for each queue.
#[derive(Debug)]
struct Assumed {
    role: AssumeRoleProvider,
    /// Held while STS is asked.
    last: tokio::sync::Mutex<Option<Failed>>,
}

/// When a role could not be assumed, and why.
#[derive(Debug)]
struct Failed {
    at: Instant,
    reason: String,
}

/// STS is not asked again for so long after a failure: about one pass, the shortest time between two polls being 10 s.
const ASSUME_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// What assuming a role may take. The SDK's cache of identities gives up after 5 s, and would hide the failure.
const ASSUME_TIMEOUT: Duration = Duration::from_millis(4_500);

impl Assumed {
    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        let mut last = self.last.lock().await;
        if let Some(Failed { at, reason }) = &*last
            && at.elapsed() < ASSUME_AGAIN_AFTER
        {
            return Err(CredentialsError::provider_error(reason.clone()));
        }
        let at = Instant::now();
        let assumed = timeout_at(at + ASSUME_TIMEOUT, self.role.provide_credentials()).await;
        let reason = match assumed {
            Ok(Ok(credentials)) => {
                *last = None;
                return Ok(credentials);
            }
            Ok(Err(error)) => error.source().map_or_else(|| chain(&error), chain),
            Err(_) => "no answer from STS in time".to_owned(),
        };
        *last = Some(Failed {
            at: Instant::now(),
            reason: reason.clone(),
        });
        Err(CredentialsError::provider_error(reason))
    }
}

impl ProvideCredentials for Assumed {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

/// Identities, regions and endpoints that are kept: more than anybody uses at once, and few enough for the function's memory.
const MAX_CLIENTS: usize = 500;

/// Keeps a value while the environment is warm. What objects in clusters name comes and goes for weeks, so a full map is
/// begun anew: what is still used is made once more.
pub(crate) fn keep<K: Eq + Hash, V>(map: &Mutex<HashMap<K, V>>, key: K, value: V, most: usize) {
    if let Ok(mut map) = map.lock() {
        if map.len() >= most && !map.contains_key(&key) {
            map.clear();
        }
        map.insert(key, value);
    }
}

/// The clients of one service, each made at its first use and kept: one for each identity, region and endpoint.
#[derive(Debug)]
pub(crate) struct Clients<C> {
    aws: Arc<Aws>,
    make: fn(&SdkConfig, Option<&str>) -> C,
    known: Mutex<HashMap<ClientKey, C>>,
}

type ClientKey = (Identity, String, Option<String>);

impl<C: Clone> Clients<C> {
    /// `make` takes a configuration and the endpoint that replaces the regional one.
    pub(crate) fn new(aws: Arc<Aws>, make: fn(&SdkConfig, Option<&str>) -> C) -> Self {
        Self {
            aws,
            make,
            known: Mutex::default(),
        }
    }

    pub(crate) async fn get(&self, identity: &Identity, region: &str, endpoint: Option<&str>) -> C {
        let key = (
            identity.clone(),
            region.to_owned(),
            endpoint.map(str::to_owned),
        );
        let known = self
            .known
            .lock()
            .ok()
            .and_then(|known| known.get(&key).cloned());
        if let Some(client) = known {
            return client;
        }
        let config = self.aws.config(identity, region).await;
        let client = (self.make)(&config, endpoint);
        keep(&self.known, key, client.clone(), MAX_CLIENTS);
        client
    }
}

/// Short: a scaler that waits is late, and the next pass is a minute away. One call ends within 8 s, retries included.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(2))
        .read_timeout(Duration::from_secs(3))
        .operation_attempt_timeout(Duration::from_secs(3))
        .operation_timeout(Duration::from_secs(8))
        .build()
}

/// A short stable code and a sentence for what an AWS call came back with.
pub(crate) fn describe<E, R>(error: &SdkError<E, R>) -> (String, String)
where
    E: ProvideErrorMetadata + StdError + 'static,
    R: std::fmt::Debug + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            // Without a code it is no answer of the service, whatever its status.
            let Some(code) = service.err().code() else {
                return bad_response();
            };
            let message = service.err().message().unwrap_or("no message");
            let message = one_line(message.trim_end_matches('.'));
            // `AWS.SimpleQueueService.NonExistentQueue` and `com.amazonaws.sqs#QueueDoesNotExist` both end in the name.
            let short = one_line(code.rsplit(['.', '#']).next().unwrap_or(code));
            let message = format!("{short}: {message}");
            (short, message)
        }
        SdkError::TimeoutError(_) => ("Timeout".to_owned(), "no answer in time".to_owned()),
        SdkError::DispatchFailure(failure) => {
            let connector = failure.as_connector_error();
            if let Some(error) = connector.and_then(|error| credentials_error(error)) {
                return ("NoCredentials".to_owned(), chain(error));
            }
            let reason = connector.map(|error| chain(error)).unwrap_or_default();
            let code = if failure.is_timeout() {
                "Timeout"
            } else {
                "ConnectionFailed"
            };
            (code.to_owned(), format!("no connection: {reason}"))
        }
        SdkError::ResponseError(_) => bad_response(),
        SdkError::ConstructionFailure(_) => ("BadRequest".to_owned(), chain(error)),
        _ => ("Unknown".to_owned(), chain(error)),
    }
}

fn bad_response() -> (String, String) {
    (
        "BadResponse".to_owned(),
        "the answer is not one of this service".to_owned(),
    )
}

/// A request whose signing failed looks like one that found no connection.
fn credentials_error<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e CredentialsError> {
    let mut level = Some(error);
    while let Some(error) = level {
        if let Some(error) = error.downcast_ref() {
            return Some(error);
        }
        level = error.source();
    }
    None
}

/// Whose rights a read uses, for its errors.
pub(crate) fn owner(identity: &Identity) -> String {
    match identity {
        Identity::Function => "the function's role".to_owned(),
        Identity::Role { arn, .. } => format!("the role `{arn}`"),
    }
}

/// What to do next about an error that every service may give.
pub(crate) fn hint(code: &str, identity: &Identity, service: &str) -> String {
    let who = owner(identity);
    match code {
        "RequestThrottled" | "Throttling" | "ThrottlingException" => {
            "the count is held; the next pass tries again".to_owned()
        }
        "Timeout" | "ConnectionFailed" => format!(
            "check the way to {service}: NAT or a VPC endpoint when the function is in a VPC"
        ),
        "NoCredentials" => {
            let hint = credentials_hint(identity);
            format!("no credentials for {who}: {hint}")
        }
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException" => {
            format!("check the credentials of {who}, and its clock")
        }
        _ => "the count is held".to_owned(),
    }
}

/// What to check when an identity has no credentials.
pub(crate) fn credentials_hint(identity: &Identity) -> &'static str {
    match identity {
        Identity::Function => "check the environment's AWS credentials",
        Identity::Role { .. } => {
            "check that its trust policy allows the function's role, and the external id"
        }
    }
}

/// An error with everything below it, each level once, and the same at each attempt.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let level = error.to_string();
        if !text.contains(&level) {
            let _infallible = write!(text, ": {level}");
        }
        source = error.source();
    }
    one_line(&without_request_id(&text))
}

/// What the SDK shows of an error without the id of the request: a text that is new each time would be told each time.
fn without_request_id(text: &str) -> String {
    let mut rest = text;
    let mut kept = String::new();
    while let Some((before, after)) = rest.split_once(", aws_request_id: \"") {
        kept += before;
        rest = after.split_once('"').map_or("", |(_, after)| after);
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_that_end_soon_are_not_handed_out_again() {
        let aws = Aws::from_config(SdkConfig::builder().build());
        let arn = "arn:aws:iam::123456789012:role/reader".to_owned();
        let role = Identity::Role {
            arn,
            external_id: None,
        };
        let key = (role, "eu-west-1".to_owned());
        let reserve = CREDENTIALS_RESERVE.as_secs();
        for (left, is_known) in [(reserve + 60, true), (reserve - 60, false), (-60, false)] {
            let end = wall_now() + SignedDuration::from_secs(left);
            let credentials = Credentials::new("id", "secret", None, Some(end.into()), "test");
            keep(&aws.credentials, key.clone(), credentials, MAX_CLIENTS);
            assert_eq!(aws.known_credentials(&key).is_some(), is_known, "{left}");
        }
        // Those without an end are asked for each time.
        let credentials = Credentials::new("id", "secret", None, None, "test");
        keep(&aws.credentials, key.clone(), credentials, MAX_CLIENTS);
        assert_eq!(aws.known_credentials(&key), None);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let map = Mutex::default();
        for key in [1, 2, 2, 3] {
            keep(&map, key, key, 2);
        }
        assert_eq!(map.into_inner().unwrap(), HashMap::from([(3, 3)]));
    }
}
