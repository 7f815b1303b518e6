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
            details: json!({}),
        }
    }

    /// Of what cannot even be read there are none.
    fn without_details(self) -> Self {
        Self {
            details: Value::Null,
            ..self
        }
    }

    fn about(mut self, resource: &Resource, name: &str) -> Self {
        self.details = details(name, resource.group, resource.plural);
        self
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized").without_details()
    }

    pub(super) fn forbidden(message: String, group: &str, plural: &str, name: &str) -> Self {
        Self {
            details: details(name, group, plural),
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

    /// A value that is not allowed in an object of this kind.
    pub(super) fn invalid(group: &str, kind: &str, name: &str, cause: &str) -> Self {
        let dot = if group.is_empty() { "" } else { "." };
        let message = format!("{kind}{dot}{group} \"{name}\" is invalid: {cause}");
        Self {
            details: details(name, group, kind),
            ..Self::new(422, "Invalid", message)
        }
    }

    /// A ConfigMap whose values are too long. The server says where by a path that is empty.
    /// <https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go>, `ValidateConfigMap`
    pub(super) fn too_long(name: &str, limit: usize) -> Self {
        let message = format!("Too long: may not be more than {limit} bytes");
        Self::invalid_config_map(name, "[]", "FieldValueTooLong", &message)
    }

    /// A ConfigMap with a key that is too long.
    pub(super) fn key_too_long(name: &str, key: &str, limit: usize) -> Self {
        let field = format!("data[{key}]");
        let message = format!("Invalid value: \"{key}\": must be no more than {limit} characters");
        Self::invalid_config_map(name, &field, "FieldValueInvalid", &message)
    }

    /// A ConfigMap with a field that the server refuses, and why.
    fn invalid_config_map(name: &str, field: &str, reason: &str, message: &str) -> Self {
        let mut failure = Self::invalid("", "ConfigMap", name, &format!("{field}: {message}"));
        let cause = json!({"reason": reason, "message": message, "field": field});
        if let Some(details) = failure.details.as_object_mut() {
            details.insert("causes".to_owned(), json!([cause]));
        }
        failure
    }

    /// A JSON Patch with more operations than the server carries out.
    pub(super) fn too_many_operations(limit: usize, found: usize) -> Self {
        let message = format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {limit}, got {found}"
        );
        Self::new(413, "RequestEntityTooLarge", message)
    }

    /// A count below zero. Built-in kinds are checked as a `Scale`, custom ones by the path in their definition.
    pub(super) fn negative(resource: &Resource, name: &str, count: i64) -> Self {
        if resource.custom {
            let cause =
                format!(".spec.replicas: Invalid value: {count}: should be a non-negative integer");
            return Self::invalid(resource.group, resource.kind, name, &cause);
        }
        let cause =
            format!("spec.replicas: Invalid value: {count}: must be greater than or equal to 0");
        Self::invalid("autoscaling", "Scale", name, &cause)
    }

    /// A patch whose result does not fit into the Go type. `found` is what Go calls the value: `string`, `number 9.5`.
    pub(super) fn of_another_type(patched: &Value, found: &str, field: &str, wanted: &str) -> Self {
        let patched = json!(patched.to_string());
        let message = format!(
            " \"\" is invalid: patch: Invalid value: {patched}: json: cannot unmarshal {found} into Go struct field {field} of type {wanted}"
        );
        Self::new(422, "Invalid", message)
    }

    /// A JSON Patch that does not apply: the server says no more than this.
    pub(super) fn patch_refused() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self::new(422, "Invalid", message)
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message).without_details()
    }

    /// A kind of patch that this kind of object does not take.
    pub(super) fn patch_type(resource: &Resource) -> Self {
        if resource.custom {
            // Applying is named, though the sandbox cannot do it.
            return Self::media_type(
                "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
            );
        }
        Self::new(415, "UnsupportedMediaType", "415: Unsupported Media Type")
    }

    pub(super) fn media_type(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Self::new(415, "UnsupportedMediaType", message).without_details()
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

/// What is empty is left out, as Go does.
fn details(name: &str, group: &str, kind: &str) -> Value {
    let fields = [("name", name), ("group", group), ("kind", kind)];
    let given = fields.into_iter().filter(|(_, text)| !text.is_empty());
    given
        .map(|(field, text)| (field.to_owned(), json!(text)))
        .collect()
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
