//! The EKS endpoint: it describes the one cluster, and others that it is told of.
//!
//! <https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribeCluster.html>

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::encoding::percent_decode;
use super::fault::{Fault, FaultPlan};
use super::lock;
use super::server::{self, Reply, with_header};
use super::signature::{self, Credentials, Scope};

/// A handle on the EKS endpoint; cloning it shares the endpoint.
#[derive(Clone, Debug)]
pub struct Eks {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    cluster: Value,
    others: BTreeMap<String, Value>,
    fault: FaultPlan,
}

/// What the description of the cluster is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cluster<'a> {
    pub(super) name: &'a str,
    pub(super) region: &'a str,
    pub(super) account: &'a str,
    pub(super) endpoint: &'a str,
    pub(super) authority_pem: &'a str,
    pub(super) created: Timestamp,
}

impl Eks {
    pub(super) fn new(cluster: Cluster<'_>) -> Self {
        let Cluster {
            name,
            region,
            account,
            endpoint,
            authority_pem,
            created,
        } = cluster;
        let partition = super::partition(region);
        let cluster = json!({
            "name": name,
            "arn": format!("arn:{partition}:eks:{region}:{account}:cluster/{name}"),
            "createdAt": created.as_second(),
            "version": "1.33",
            "endpoint": endpoint,
            "roleArn": format!("arn:{partition}:iam::{account}:role/eks-cluster"),
            "resourcesVpcConfig": {
                "subnetIds": [],
                "securityGroupIds": [],
                "endpointPublicAccess": true,
                "endpointPrivateAccess": false,
                "publicAccessCidrs": ["0.0.0.0/0"],
            },
            "status": "ACTIVE",
            "certificateAuthority": {"data": STANDARD.encode(authority_pem)},
            "platformVersion": "eks.1",
            "tags": {},
            "accessConfig": {"authenticationMode": "API"},
        });
        let state = State {
            cluster,
            others: BTreeMap::new(),
            fault: FaultPlan::default(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Changes what `DescribeCluster` answers: another endpoint, another authority, another status.
    pub fn set_cluster(&self, change: impl FnOnce(&mut Value)) {
        change(&mut lock(&self.state).cluster);
    }

    /// Describes one more cluster: the first one under another name, at another endpoint with another authority.
    pub fn add_cluster(&self, name: &str, endpoint: &str, authority_base64: &str) {
        let mut state = lock(&self.state);
        let mut cluster = state.cluster.clone();
        if let Some(fields) = cluster.as_object_mut() {
            fields.insert("name".to_owned(), json!(name));
            fields.insert("endpoint".to_owned(), json!(endpoint));
            let authority = json!({"data": authority_base64});
            fields.insert("certificateAuthority".to_owned(), authority);
        }
        state.others.insert(name.to_owned(), cluster);
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
    eks: &Eks,
    credentials: &Credentials,
    region: &str,
    request: &Request<Bytes>,
    now: Timestamp,
) -> (String, Reply) {
    let path = request.uri().path();
    let name = path
        .strip_prefix("/clusters/")
        .and_then(|name| String::from_utf8(percent_decode(name, false)?).ok());
    let action = match &name {
        Some(name) => format!("DescribeCluster {name}"),
        None if path == "/clusters" => "ListClusters".to_owned(),
        None => format!("{} {path}", request.method()),
    };
    let scope = Scope {
        region,
        service: "eks",
    };
    if let Err(refused) = signature::verify_header(request, scope, credentials, now) {
        let reply = error(403, refused.json_code(), &refused.to_string());
        return (action, reply);
    }
    let mut state = lock(&eks.state);
    if let Some(fault) = state.fault.next() {
        return (action, struck_by(fault));
    }
    let known = state.cluster.get("name").and_then(Value::as_str);
    let reply = match name {
        _ if request.method() != Method::GET => {
            error(403, "AccessDeniedException", "only reads are allowed here")
        }
        Some(name) if known == Some(name.as_str()) => {
            server::json(200, &json!({"cluster": state.cluster})).into()
        }
        Some(name) if state.others.contains_key(&name) => {
            server::json(200, &json!({"cluster": state.others.get(&name)})).into()
        }
        Some(name) => error(
            404,
            "ResourceNotFoundException",
            &format!("No cluster found for name: {name}."),
        ),
        None if path == "/clusters" => server::json(200, &json!({"clusters": [known]})).into(),
        None => error(404, "UnknownOperationException", "no such operation"),
    };
    (action, reply)
}

fn struck_by(fault: Fault) -> Reply {
    match fault {
        Fault::NotFound => error(404, "ResourceNotFoundException", "No cluster found."),
        Fault::Throttled => error(429, "ThrottlingException", "Rate exceeded"),
        Fault::AccessDenied => error(
            403,
            "AccessDeniedException",
            "User is not authorized to perform: eks:DescribeCluster",
        ),
        Fault::ServerError => error(500, "ServerException", "internal failure"),
        Fault::Hang => Reply::Hang,
        Fault::Reset => Reply::Reset,
        Fault::Garbage => server::garbage().into(),
    }
}

fn error(status: u16, code: &str, message: &str) -> Reply {
    let response = server::json(status, &json!({"message": message}));
    with_header(response, "x-amzn-errortype", code).into()
}

#[cfg(test)]
mod tests {
    use super::super::signature::testing::{self, NOW, Signed};
    use super::*;

    fn eks() -> Eks {
        Eks::new(Cluster {
            name: "demo",
            region: testing::REGION,
            account: "123456789012",
            endpoint: "https://127.0.0.1:1",
            authority_pem: "PEM",
            created: Timestamp::UNIX_EPOCH,
        })
    }

    fn get(eks: &Eks, path: &str) -> (String, u16, Option<String>, Value) {
        let request = Signed::get("eks", path).request();
        let credentials = testing::credentials();
        let (action, reply) = handle(eks, &credentials, testing::REGION, &request, NOW);
        let Reply::Answer(response, _) = reply else {
            panic!("no answer: {reply:?}");
        };
        let kind = response.headers().get("x-amzn-errortype");
        let kind = kind.and_then(|kind| kind.to_str().ok()).map(str::to_owned);
        let status = response.status().as_u16();
        (action, status, kind, testing::body_json(response))
    }

    #[test]
    fn the_cluster_is_described() {
        let (action, status, _, body) = get(&eks(), "/clusters/demo");
        assert_eq!((action.as_str(), status), ("DescribeCluster demo", 200));
        let cluster = &body["cluster"];
        assert_eq!(cluster["endpoint"], "https://127.0.0.1:1");
        assert_eq!(cluster["certificateAuthority"]["data"], "UEVN");
        assert_eq!(cluster["status"], "ACTIVE");
        assert_eq!(
            cluster["arn"],
            "arn:aws:eks:ap-northeast-1:123456789012:cluster/demo"
        );
        assert_eq!(get(&eks(), "/clusters").3, json!({"clusters": ["demo"]}));
    }

    #[test]
    fn other_names_are_not_found() {
        let (action, status, kind, _) = get(&eks(), "/clusters/other%20one");
        assert_eq!(
            (action.as_str(), status),
            ("DescribeCluster other one", 404)
        );
        assert_eq!(kind.as_deref(), Some("ResourceNotFoundException"));
    }

    #[test]
    fn faults_strike_as_often_as_told() {
        let eks = eks();
        eks.fail_times(Fault::Throttled, 1);
        assert_eq!(get(&eks, "/clusters/demo").1, 429);
        assert_eq!(get(&eks, "/clusters/demo").1, 200);
        eks.fail(Some(Fault::AccessDenied));
        assert_eq!(get(&eks, "/clusters/demo").1, 403);
        eks.fail(None);
        assert_eq!(get(&eks, "/clusters/demo").1, 200);
    }
}
