//! What an API server's refusal means, and the next command to run.

use http_body_util::LengthLimitError;

use super::Call;
use super::answer::MAX_ANSWER_BYTES;
use crate::adapters::aws::chain;
use crate::adapters::one_line::one_line;
use crate::ports::{Fault, FaultKind};

/// The code of an answer that was not read to its end.
const TOO_LARGE: &str = "TooLarge";

/// What to do about an error before giving up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// 409, 429, 5xx: the server asks for patience.
    Again { asked: Option<u64> },
    /// The connection failed.
    Reconnect,
    /// Anything else will not change.
    GiveUp,
}

/// A call that failed for good.
#[derive(Debug)]
pub(super) struct Failure {
    /// The HTTP status, when there was one.
    pub(super) status: Option<u16>,
    /// One of the attempts may have been carried out.
    pub(super) maybe_done: bool,
    /// The server's words when it has no count to show in `/scale`.
    pub(super) replicas_unset: Option<String>,
    /// The server says that a value is invalid, and not only that a patch does not apply.
    invalid: bool,
    /// The fields that the server says are invalid, such as `data[rollout.worker]`.
    refused: Vec<String>,
    /// The server says that the object would be too large.
    is_full: bool,
    pub(super) fault: Fault,
}

pub(super) fn next(error: &kube::Error) -> Next {
    match error {
        kube::Error::Api(status) => match status.code {
            _ if is_without_replicas(status) || is_full(status) => Next::GiveUp,
            409 | 429 | 500 | 502 | 503 | 504 => {
                let asked = status
                    .details
                    .as_ref()
                    .map(|details| u64::from(details.retry_after_seconds))
                    .filter(|asked| *asked > 0);
                Next::Again { asked }
            }
            _ => Next::GiveUp,
        },
        _ if is_too_large(error) => Next::GiveUp,
        kube::Error::HyperError(_) | kube::Error::Service(_) => Next::Reconnect,
        // An answer that is not JSON, cut off or garbled on the way.
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => Next::Again { asked: None },
        _ => Next::GiveUp,
    }
}

/// A custom resource without a count at its CRD's `specReplicasPath` is answered 500 by `/scale`: no patience helps.
/// <https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apiextensions-apiserver/pkg/registry/customresource/etcd.go>
fn is_without_replicas(status: &kube::core::Status) -> bool {
    status.code == 500
        && status.message.contains("spec replicas field")
        && status.message.contains("does not exist")
}

/// Whether the call may have been carried out all the same: the answer was lost, or the server failed half-way.
/// A 429 or a 409 says that it was not.
pub(super) fn is_ambiguous(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code >= 500 && !is_full(status),
        _ => true,
    }
}

/// Whether the object would be too large: for the API server, which counts the bytes of a ConfigMap's values, or for etcd,
/// which takes no request of more than 1.5 MiB.
/// <https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go>, `ValidateConfigMap`
fn is_full(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let is_too_long = |cause: &kube::core::response::StatusCause| {
        cause.reason == "FieldValueTooLong" || cause.message.starts_with("Too long")
    };
    match status.code {
        413 => true,
        422 => causes.into_iter().any(is_too_long),
        500 => status.message.contains("request is too large"),
        _ => false,
    }
}

/// A patch whose test fails and one that makes an invalid object are both 422. The latter says what is invalid.
fn is_invalid(status: &kube::core::Status) -> bool {
    let details = status.details.as_ref();
    status.code == 422 && details.is_some_and(|details| !details.causes.is_empty())
}

fn refused_fields(error: &kube::Error) -> Vec<String> {
    let kube::Error::Api(status) = error else {
        return Vec::new();
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.map(|cause| cause.field.clone()).collect()
}

impl Failure {
    /// Whether the test of a JSON Patch failed: somebody else was faster.
    pub(super) fn is_stale(&self) -> bool {
        self.status == Some(422) && !self.invalid
    }

    /// Whether the server refuses the field.
    pub(super) fn refuses(&self, field: &str) -> bool {
        self.refused.iter().any(|refused| refused == field)
    }

    /// Whether the server says that the object would be too large.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether the answer was too large to be read.
    pub(super) fn is_too_large(&self) -> bool {
        self.fault.code == TOO_LARGE
    }

    pub(super) fn from_fault(fault: Fault) -> Self {
        Self {
            status: None,
            maybe_done: false,
            replicas_unset: None,
            invalid: false,
            refused: Vec::new(),
            is_full: false,
            fault,
        }
    }

    pub(super) fn new(call: &Call<'_>, error: &kube::Error, maybe_done: bool) -> Self {
        let Call { cluster, what, .. } = call;
        let (status, code, reason) = match error {
            kube::Error::Api(status) => (
                Some(status.code),
                code_of(status.code),
                one_line(&status.message),
            ),
            _ if is_too_large(error) => (
                None,
                TOO_LARGE.to_owned(),
                format!(
                    "the answer has more than {} MiB, and no more of one is read",
                    MAX_ANSWER_BYTES >> 20
                ),
            ),
            kube::Error::HyperError(_) | kube::Error::Service(_) if is_timeout(error) => {
                (None, "Timeout".to_owned(), "no answer in time".to_owned())
            }
            kube::Error::HyperError(_) | kube::Error::Service(_) => {
                (None, "ConnectionFailed".to_owned(), chain(error))
            }
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => (
                None,
                "BadResponse".to_owned(),
                "the answer is not that of an API server".to_owned(),
            ),
            _ => (None, "Unknown".to_owned(), chain(error)),
        };
        let status_text = status
            .map(|status| format!("{status} "))
            .unwrap_or_default();
        let hint = hint(call, status, &code, &reason);
        let message = format!(
            "could not {what} in cluster `{cluster}`: {status_text}{code}: {reason}; {hint}"
        );
        let replicas_unset = match error {
            kube::Error::Api(status) if is_without_replicas(status) => {
                Some(format!("/scale shows no count ({reason})"))
            }
            _ => None,
        };
        Self {
            status,
            maybe_done,
            replicas_unset,
            invalid: matches!(error, kube::Error::Api(status) if is_invalid(status)),
            refused: refused_fields(error),
            is_full: matches!(error, kube::Error::Api(status) if is_full(status)),
            fault: Fault {
                kind: FaultKind::Failed,
                code,
                message,
            },
        }
    }
}

pub(super) fn is_too_large(error: &kube::Error) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.is::<LengthLimitError>() {
            return true;
        }
        source = error.source();
    }
    false
}

fn is_timeout(error: &kube::Error) -> bool {
    let text = chain(error).to_lowercase();
    text.contains("timed out") || text.contains("timeout") || text.contains("deadline has elapsed")
}

fn code_of(status: u16) -> String {
    match status {
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        422 => "Invalid",
        429 => "TooManyRequests",
        500..=599 => "ServerError",
        _ => "Refused",
    }
    .to_owned()
}

/// 401 and 403 say different things: who you are, and what you may.
fn hint(call: &Call<'_>, status: Option<u16>, code: &str, reason: &str) -> String {
    let Call { cluster, .. } = call;
    if let Some(hint) = needed_hint(call, status) {
        return hint;
    }
    match (status, code) {
        (Some(401), _) => format!(
            "the API server does not know us: check that the function's role has an access entry (aws eks list-access-entries \
             --cluster-name {cluster}; made before the role was made again, it no longer fits), then the cluster's name and region, then the clock"
        ),
        (Some(403), _) if !call.path.contains("/namespaces/") => {
            "asking which kinds there are takes the ClusterRole system:discovery, which every authenticated user has unless somebody took \
             it away: kubectl get clusterrolebinding system:discovery -o yaml"
                .to_owned()
        }
        (Some(403), _) if !call.path.contains("/configmaps/") && !call.path.contains("/rollouts/") => {
            "the role is known but has no right to this: it takes get and patch on this resource's `/scale` (kubectl apply -k \
             infra/kubernetes/components/deployments -n NAMESPACE, or statefulsets, or a copy of custom-kind), and the Kubernetes group `outrigger` in \
             the access entry"
                .to_owned()
        }
        (Some(403), _) => {
            "the role is known but has no right to this: apply the shipped Role and RoleBinding in that namespace \
             (kubectl apply -k infra/kubernetes -n NAMESPACE), and give the access entry the Kubernetes group `outrigger`"
                .to_owned()
        }
        (Some(404), _) if call.path.contains("/configmaps/") => {
            "make it once: kubectl apply -k infra/kubernetes -n NAMESPACE".to_owned()
        }
        (Some(404), _) if call.path.contains("/rollouts/") => {
            "check `scaleTargetRef` and the namespace, and that the Rollout CRD is installed: kubectl get rollouts -A".to_owned()
        }
        (Some(404), _) => "check `scaleTargetRef` and the namespace".to_owned(),
        (Some(429 | 500..=599), _) => "the server is overloaded or broken; the next pass tries again".to_owned(),
        (_, "ConnectionFailed") if reason.contains("certificate") => {
            "the server does not show a certificate of the cluster's CA: check OUTRIGGER_CLUSTER_ENDPOINT and OUTRIGGER_CLUSTER_CA if they \
             are set, and for a proxy in between"
                .to_owned()
        }
        (_, TOO_LARGE) => {
            "etcd stores no object of more than 1.5 MiB unless it is told to: make the object smaller, or look for a proxy in between"
                .to_owned()
        }
        (_, "Timeout" | "ConnectionFailed") => {
            "check the way to the API server: public access list, or VPC, security group and port 443 for a private endpoint".to_owned()
        }
        _ => "the next pass tries again".to_owned(),
    }
}

/// A right beside those on the workload and the memory: what a path of such a call has in it, the rule, and the shipped Role.
struct Needed {
    path: [&'static str; 2],
    group: &'static str,
    resource: &'static str,
    verb: &'static str,
    role: &'static str,
}

const NEEDED: [Needed; 6] = [
    Needed {
        path: ["/horizontalpodautoscalers?", ""],
        group: "autoscaling",
        resource: "horizontalpodautoscalers",
        verb: "list",
        role: BASE,
    },
    Needed {
        path: ["/scaledobjects?", ""],
        group: "keda.sh",
        resource: "scaledobjects",
        verb: "list",
        role: BASE,
    },
    Needed {
        path: ["/scaledobjects/", "/status?"],
        group: "keda.sh",
        resource: "scaledobjects/status",
        verb: "patch",
        role: CLUSTER_MODE,
    },
    Needed {
        path: ["/triggerauthentications?", ""],
        group: "keda.sh",
        resource: "triggerauthentications",
        verb: "list",
        role: CLUSTER_MODE,
    },
    Needed {
        path: ["/clustertriggerauthentications?", ""],
        group: "keda.sh",
        resource: "clustertriggerauthentications",
        verb: "list",
        role: CLUSTER_MODE,
    },
    Needed {
        path: ["/events?", ""],
        group: "\"\"",
        resource: "events",
        verb: "create",
        role: BASE,
    },
];

const BASE: &str =
    "the Role `outrigger` of that namespace (kubectl apply -k infra/kubernetes -n NAMESPACE)";
const CLUSTER_MODE: &str = "the Role `outrigger-cluster-mode` of that namespace (infra/kubernetes/components/cluster-mode)";
/// No Role can allow to list what is in no namespace, or in all of them.
const EVERYWHERE: &str = "a ClusterRole with a ClusterRoleBinding (such as the `outrigger` of \
    infra/kubernetes/components/cluster-mode-all-namespaces)";

/// What to do about a call that is neither about a workload nor about the memory.
fn needed_hint(call: &Call<'_>, status: Option<u16>) -> Option<String> {
    let is_about = |needed: &&Needed| needed.path.iter().all(|part| call.path.contains(part));
    let Needed {
        path: _,
        group,
        resource,
        verb,
        role,
    } = NEEDED.iter().find(is_about)?;
    let is_namespaced = call.path.contains("/namespaces/");
    match status {
        Some(403) => Some(format!(
            "add the rule {{apiGroups: [{group}], resources: [{resource}], verbs: [{verb}]}} to {}, and give the access entry the Kubernetes \
             group `outrigger`",
            if is_namespaced { role } else { EVERYWHERE }
        )),
        Some(404) if *group == "autoscaling" => {
            Some("the API server has to be of Kubernetes 1.23 or newer".to_owned())
        }
        Some(404) if *verb == "list" => Some(
            "install KEDA's CustomResourceDefinitions, without its operator: kubectl apply --server-side -f \
             https://github.com/kedacore/keda/releases/download/v2.20.2/keda-2.20.2-crds.yaml"
                .to_owned(),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: bool) {
        let status: kube::core::Status = serde_json::from_str(body).unwrap();
        assert_eq!(is_full(&status), expected, "{body}");
        let error = kube::Error::Api(Box::new(status));
        assert!(!expected || next(&error) == Next::GiveUp, "{body}");
        assert!(!expected || !is_ambiguous(&error), "{body}");
    }

    /// What is to be done about a status, and whether a write may have been carried out all the same.
    #[track_caller]
    fn check_status(code: u16, expected: Next, maybe_done: bool) {
        let body = format!(r#"{{"code":{code},"message":"no"}}"#);
        let error = kube::Error::Api(Box::new(serde_json::from_str(&body).unwrap()));
        assert_eq!(
            (next(&error), is_ambiguous(&error)),
            (expected, maybe_done),
            "{code}"
        );
    }

    #[test]
    fn a_server_that_fails_may_have_done_it_and_one_that_refuses_has_not() {
        let again = Next::Again { asked: None };
        for code in [500, 502, 503, 504] {
            check_status(code, again, true);
        }
        // No patience helps, and nobody knows.
        for code in [501, 505, 507, 599] {
            check_status(code, Next::GiveUp, true);
        }
        for code in [409, 429] {
            check_status(code, again, false);
        }
        check_status(401, Next::GiveUp, false);
        for code in [400, 403, 404, 405, 410, 413, 422] {
            check_status(code, Next::GiveUp, false);
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_too_large_is_not_asked_for_again() {
        use http_body_util::{BodyExt as _, Full, Limited};

        let body = Limited::new(Full::new(bytes::Bytes::from_static(b"too long")), 3);
        let error = kube::Error::Service(body.collect().await.unwrap_err());
        assert_eq!(next(&error), Next::GiveUp);
        // It may have been the answer to a write.
        assert!(is_ambiguous(&error));
        // What else ends a connection is tried again.
        let error = kube::Error::Service("reset by peer".into());
        assert_eq!(next(&error), Next::Reconnect);
    }

    #[test]
    fn an_object_that_is_too_large_is_refused_for_good() {
        let etcd =
            r#"{"code":500,"reason":"InternalError","message":"etcdserver: request is too large"}"#;
        check(etcd, true);
        let body = r#"{"code":413,"reason":"RequestEntityTooLarge","message":"Request entity too large: limit is 3145728"}"#;
        check(body, true);
        let cause = r#"{"code":422,"reason":"Invalid","message":"ConfigMap \"outrigger\" is invalid: []: Too long: may not be more than 1048576 bytes",
            "details":{"causes":[{"reason":"FieldValueTooLong","message":"Too long: may not be more than 1048576 bytes","field":"[]"}]}}"#;
        check(cause, true);
        // An older server's words, and a server that gives no reason.
        check(
            &cause.replace("may not be more than", "must have at most"),
            true,
        );
        check(
            &cause.replace("\"reason\":\"FieldValueTooLong\",", ""),
            true,
        );
        let key = r#"{"code":422,"reason":"Invalid","message":"no","details":{"causes":[{"reason":"FieldValueInvalid","message":"Invalid value","field":"data[a]"}]}}"#;
        check(key, false);
        check(
            r#"{"code":422,"reason":"Invalid","message":"the server rejected our request due to an error in our request","details":{}}"#,
            false,
        );
        check(
            r#"{"code":500,"reason":"InternalError","message":"no leader"}"#,
            false,
        );
    }
}
