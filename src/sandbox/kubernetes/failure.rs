//! The `Status` objects that a Kubernetes API server fails with.

use serde_json::{Value, json};

use super::super::server::{self, Response, with_header};
use super::resource::Resource;

/// A request that failed, in the words of an API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: u16,
    pub(super) reason: &'static str,
    pub(super) message: String,
    details: Value,
}

impl Failure {
    pub(super) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: Value::Null,
        }
    }

    fn about(mut self, resource: &Resource, name: &str) -> Self {
        self.details = json!({"name": name, "group": resource.group, "kind": resource.plural});
        self
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub(super) fn forbidden(message: String, group: &str, plural: &str, name: &str) -> Self {
        Self {
            details: json!({"name": name, "group": group, "kind": plural}),
            ..Self::new(403, "Forbidden", message)
        }
    }

    pub(super) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::new(404, "NotFound", message).about(resource, name)
    }

    pub(super) fn conflict(resource: &Resource, name: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": the object has been modified; please apply your changes to the latest version and try again",
            resource.qualified()
        );
        Self::new(409, "Conflict", message).about(resource, name)
    }

    pub(super) fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.qualified());
        Self::new(409, "AlreadyExists", message).about(resource, name)
    }

    pub(super) fn invalid(resource: &Resource, name: &str, cause: &str) -> Self {
        let message = format!(
            "{}.{} \"{name}\" is invalid: {cause}",
            resource.kind, resource.group
        );
        Self::new(422, "Invalid", message).about(resource, name)
    }

    /// A JSON Patch that does not apply: the server says no more than this.
    pub(super) fn patch_refused() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self {
            details: json!({}),
            ..Self::new(422, "Invalid", message)
        }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(super) fn media_type(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// A failure told by its status alone, for faults.
    pub(super) fn of_status(code: u16) -> Self {
        let (reason, message) = match code {
            400 => ("BadRequest", "bad request"),
            401 => ("Unauthorized", "Unauthorized"),
            403 => ("Forbidden", "forbidden"),
            404 => (
                "NotFound",
                "the server could not find the requested resource",
            ),
            409 => (
                "Conflict",
                "the object has been modified; please apply your changes to the latest version and try again",
            ),
            422 => return Self::patch_refused(),
            429 => (
                "TooManyRequests",
                "the server has received too many requests and has asked us to try again later",
            ),
            503 => (
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
            ),
            504 => (
                "Timeout",
                "the server was unable to return a response in the time allotted",
            ),
            _ => ("InternalError", "an internal error occurred"),
        };
        Self::new(code, reason, message)
    }

    pub(super) fn body(&self) -> Value {
        let mut body = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        });
        if !self.details.is_null()
            && let Some(body) = body.as_object_mut()
        {
            body.insert("details".to_owned(), self.details.clone());
        }
        body
    }
}

impl From<Failure> for Response {
    fn from(failure: Failure) -> Self {
        let response = server::json(failure.code, &failure.body());
        match failure.code {
            429 => with_header(response, "retry-after", "1"),
            _ => response,
        }
    }
}
