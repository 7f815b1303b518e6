//! The STS endpoint: who signed this, and credentials of another role.
//!
//! <https://docs.aws.amazon.com/STS/latest/APIReference/welcome.html>

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::encoding::{query_pairs, rfc3339};
use super::fault::{Fault, FaultPlan};
use super::lock;
use super::server::{self, Reply};
use super::signature::{self, Credential, Credentials, Identity, Scope, SignatureError};

/// How long assumed credentials live.
const SESSION_LIFE: Duration = Duration::from_hours(1);

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// A handle on the STS endpoint; cloning it shares the endpoint.
#[derive(Clone, Debug, Default)]
pub struct Sts {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Role ARN to the external id it asks for.
    roles: HashMap<String, Option<String>>,
    fault: FaultPlan,
}

impl Sts {
    /// Lets every caller assume the role, giving this external id where there is one.
    pub fn allow_role(&self, role_arn: &str, external_id: Option<&str>) {
        let external_id = external_id.map(str::to_owned);
        lock(&self.state)
            .roles
            .insert(role_arn.to_owned(), external_id);
    }

    /// Answers every request with `fault`, until told otherwise.
    pub fn fail(&self, fault: Option<Fault>) {
        lock(&self.state).fault = fault.map_or_else(FaultPlan::default, FaultPlan::always);
    }

    /// Answers the next `times` requests with `fault`.
    pub fn fail_times(&self, fault: Fault, times: u32) {
        lock(&self.state).fault = FaultPlan::times(fault, times);
    }
}

/// What a request did: the action for the request log, and the answer.
pub(super) fn handle(
    sts: &Sts,
    credentials: &Credentials,
    region: &str,
    request: &Request<Bytes>,
    now: Timestamp,
) -> (String, Reply) {
    let presigned = request.method() == Method::GET;
    let form = if presigned {
        request.uri().query().unwrap_or_default()
    } else {
        std::str::from_utf8(request.body()).unwrap_or_default()
    };
    let form = query_pairs(form).unwrap_or_default();
    let call = Call {
        form: &form,
        wants_json: wants_json(request),
    };
    let action = call.field("Action").unwrap_or_default().to_owned();
    if let Some(fault) = lock(&sts.state).fault.next() {
        return (action, call.struck_by(fault));
    }
    let host = request.headers().get(http::header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let scope = Scope {
        region: region_of_host(host).unwrap_or(region),
        service: "sts",
    };
    let signed = if presigned {
        signature::verify_query(request, scope, credentials, now)
    } else {
        signature::verify_header(request, scope, credentials, now)
    };
    let reply = match signed {
        Err(refused) => call.signature_error(&refused),
        Ok(_) if call.field("Version") != Some("2011-06-15") => call.error(
            400,
            "InvalidAction",
            "Could not find operation for this version",
        ),
        Ok(identity) if action == "GetCallerIdentity" => call.caller_identity(&identity),
        Ok(_) if action == "AssumeRole" && !presigned => {
            let allowed = lock(&sts.state).roles.clone();
            call.assume_role(&allowed, credentials, now)
        }
        Ok(_) => call.error(400, "InvalidAction", "Could not find operation"),
    };
    (action, reply)
}

/// The region a public STS name belongs to; `None` for an address such as 127.0.0.1.
fn region_of_host(host: &str) -> Option<&str> {
    if host == "sts.amazonaws.com" {
        return Some("us-east-1");
    }
    let rest = host
        .strip_prefix("sts.")
        .or_else(|| host.strip_prefix("sts-fips."))?;
    rest.split('.').next()
}

fn wants_json(request: &Request<Bytes>) -> bool {
    let accept = request.headers().get(http::header::ACCEPT);
    accept
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"))
}

/// A form and the kind of answer it wants.
struct Call<'a> {
    form: &'a [(String, String)],
    wants_json: bool,
}

impl Call<'_> {
    fn field(&self, wanted: &str) -> Option<&str> {
        let found = self.form.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str())
    }

    fn caller_identity(&self, identity: &Identity) -> Reply {
        let account = identity.arn.split(':').nth(4).unwrap_or_default();
        self.output(
            "GetCallerIdentity",
            &json!({"Arn": identity.arn, "UserId": identity.user_id, "Account": account}),
        )
    }

    fn assume_role(
        &self,
        allowed: &HashMap<String, Option<String>>,
        credentials: &Credentials,
        now: Timestamp,
    ) -> Reply {
        let (Some(role_arn), Some(session)) =
            (self.field("RoleArn"), self.field("RoleSessionName"))
        else {
            return self.error(
                400,
                "ValidationError",
                "RoleArn and RoleSessionName are required",
            );
        };
        let denied = || {
            let message = format!(
                "User is not authorized to perform: sts:AssumeRole on resource: {role_arn}"
            );
            self.error(403, "AccessDenied", &message)
        };
        match allowed.get(role_arn) {
            None => return denied(),
            Some(Some(wanted)) if self.field("ExternalId") != Some(wanted) => return denied(),
            Some(_) => {}
        }
        let expires = now.checked_add(SESSION_LIFE).unwrap_or(Timestamp::MAX);
        let Some(credential) = assumed(role_arn, session, expires) else {
            return self.error(400, "ValidationError", &format!("{role_arn} is invalid"));
        };
        let output = json!({
            "AssumedRoleUser": {
                "AssumedRoleId": credential.identity.user_id,
                "Arn": credential.identity.arn,
            },
            "Credentials": {
                "AccessKeyId": credential.access_key,
                "SecretAccessKey": credential.secret,
                "SessionToken": credential.token,
                "Expiration": rfc3339(expires),
            },
        });
        credentials.add(credential);
        self.output("AssumeRole", &output)
    }

    fn output(&self, operation: &str, result: &Value) -> Reply {
        let (response, result_name) =
            (format!("{operation}Response"), format!("{operation}Result"));
        if self.wants_json {
            let body = json!({response: {
                result_name: result,
                "ResponseMetadata": {"RequestId": super::random_id()},
            }});
            return server::json(200, &body).into();
        }
        let body = format!(
            "<{response} xmlns=\"{NAMESPACE}\"><{result_name}>{}</{result_name}><ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata></{response}>",
            xml(result),
            super::random_id(),
        );
        server::answer(200, "text/xml", body).into()
    }

    fn signature_error(&self, refused: &SignatureError) -> Reply {
        self.error(403, refused.query_code(), &refused.to_string())
    }

    fn error(&self, status: u16, code: &str, message: &str) -> Reply {
        let kind = if status < 500 { "Sender" } else { "Receiver" };
        let error = json!({"Type": kind, "Code": code, "Message": message});
        let id = super::random_id();
        let response = if self.wants_json {
            server::json(status, &json!({"Error": error, "RequestId": id}))
        } else {
            let body = format!(
                "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error>{}</Error><RequestId>{id}</RequestId></ErrorResponse>",
                xml(&error),
            );
            server::answer(status, "text/xml", body)
        };
        server::with_header(response, "x-amzn-requestid", &id).into()
    }

    fn struck_by(&self, fault: Fault) -> Reply {
        match fault {
            Fault::NotFound => self.error(404, "NotFound", "not found"),
            Fault::Throttled => self.error(400, "Throttling", "Rate exceeded"),
            Fault::AccessDenied => self.error(403, "AccessDenied", "not authorized"),
            Fault::ServerError => self.error(500, "InternalFailure", "internal failure"),
            Fault::Hang => Reply::Hang,
            Fault::Reset => Reply::Reset,
            Fault::Garbage => server::garbage().into(),
        }
    }
}

/// Fresh temporary credentials for a session of a role. `None` where the ARN is not a role's.
pub(super) fn assumed(role_arn: &str, session: &str, expires: Timestamp) -> Option<Credential> {
    let parts: Vec<&str> = role_arn.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, resource] = parts.as_slice() else {
        return None;
    };
    // A role's path does not appear in the ARN of its sessions.
    let role = resource.strip_prefix("role/")?.rsplit('/').next()?;
    let key = super::random_id().replace('-', "").to_uppercase();
    let unique = key.get(..16)?;
    Some(Credential {
        access_key: format!("ASIA{unique}"),
        // The characters that go wrong when somebody encodes too little.
        secret: format!("sandbox/secret+{}", super::random_id()),
        token: format!("sandbox/token+{}==", super::random_id()),
        expires,
        identity: Identity {
            arn: format!("arn:{partition}:sts::{account}:assumed-role/{role}/{session}"),
            user_id: format!("AROA{unique}:{session}"),
        },
    })
}

/// The elements of an object, in order.
fn xml(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let element = |(name, value)| format!("<{name}>{}</{name}>", xml(value));
            fields.iter().map(element).collect::<Vec<String>>().concat()
        }
        Value::String(text) => text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
