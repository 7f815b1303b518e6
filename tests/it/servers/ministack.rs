//! AWS as somebody else wrote it: ministack, with `AUTH=true`, so that it checks every signature, also that of the cluster's
//! header, and every right that a role's policies give. <https://pypi.org/project/ministack/>
//!
//! Where it differs from AWS, and the tests touch it:
//!
//! - STS answers XML also to who asks for JSON; [`super::gateway`] puts that right.
//! - `GetMetricData` lists values oldest first, whatever `ScanBy` asks for, and knows no expressions.
//!   <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html>
//! - It checks no right to a CloudWatch action that comes as CBOR.
//! - An alarm's SNS message has no `AlarmArn`, and the capitals of the dimensions are those of the API.
//!   <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html>
//! - An alarm starts no function but through SNS, and counts what was put under any dimensions.
//! - Conditions of a stack know no `Fn::Join`, and no stack has an `AWS::EKS::AccessEntry`.
//! - Failures of an alias are told to no destination, whatever its configuration says.
//! - A failure destination is always told of three invocations, however many there were.
//!   <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html>

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use outrigger::sandbox::SessionKeys;
use serde_json::{Value as Json, json};

use super::assets::Assets;
use super::daemon::{Daemon, free_ports};

pub(super) const ACCOUNT: &str = "123456789012";
pub(super) const REGION: &str = "ap-northeast-1";

/// Anybody of the account may take the roles of the tests, and so may the services that run the function.
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root","Service":["lambda.amazonaws.com","scheduler.amazonaws.com"]},"Action":"sts:AssumeRole"}]}"#;

#[derive(Debug)]
pub(super) struct Ministack {
    pub(super) address: SocketAddr,
    _daemon: Daemon,
}

impl Ministack {
    pub(super) fn start(assets: &Assets, root: &Path) -> Self {
        let [port] = free_ports();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let port = port.to_string();
        let mut daemon = Daemon::start(
            "ministack",
            &root.join("ministack"),
            &assets.path("python/bin/python"),
            &["-m".to_owned(), "ministack".to_owned()],
            &[
                ("AUTH", "true"),
                ("BIND_HOST", "127.0.0.1"),
                ("GATEWAY_PORT", &port),
                ("MINISTACK_ACCOUNT_ID", ACCOUNT),
                ("MINISTACK_REGION", REGION),
                ("IOT_MTLS_ENABLED", "0"),
                // Functions are processes of this machine.
                ("LAMBDA_EXECUTOR", "local"),
                ("PYTHONDONTWRITEBYTECODE", "1"),
            ],
        );
        daemon.wait_until("ready", || {
            let request = "GET /_ministack/health HTTP/1.0\r\nhost: localhost\r\n\r\n";
            match exchange(address, request.as_bytes()) {
                Ok((200, _)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        Self {
            address,
            _daemon: daemon,
        }
    }

    /// Where every service is.
    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn create_role(&self, name: &str) {
        self.create_role_trusting(name, TRUST);
    }

    /// A role that may be taken as this policy says.
    pub(super) fn create_role_trusting(&self, name: &str, trust: &str) {
        let trust = form_encode(trust);
        let form = format!(
            "Action=CreateRole&Version=2010-05-08&RoleName={name}&AssumeRolePolicyDocument={trust}"
        );
        self.query("iam", &form);
    }

    /// Lets a role do these actions on this resource, and nothing else.
    pub(super) fn allow(&self, role: &str, actions: &[&str], resource: &str) {
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": actions, "Resource": resource}],
        });
        let policy = form_encode(&policy.to_string());
        let form = format!(
            "Action=PutRolePolicy&Version=2010-05-08&RoleName={role}&PolicyName=tests&PolicyDocument={policy}"
        );
        self.query("iam", &form);
    }

    /// Fresh credentials of a role, as Lambda puts them into a function's environment.
    pub(super) fn assume_role(&self, name: &str) -> SessionKeys {
        let form = format!(
            "Action=AssumeRole&Version=2011-06-15&RoleSessionName=outrigger&RoleArn=arn:aws:iam::{ACCOUNT}:role/{name}"
        );
        let answer = self.query("sts", &form);
        let field = |name: &str| element(&answer, name).unwrap_or_else(|| panic!("{answer}"));
        SessionKeys {
            access_key: field("AccessKeyId"),
            secret: field("SecretAccessKey"),
            token: field("SessionToken"),
            arn: field("Arn"),
        }
    }

    /// A request of the query protocol, as the account's root.
    pub(super) fn query(&self, service: &str, form: &str) -> String {
        let form_type = "application/x-www-form-urlencoded";
        let headers = [("content-type", form_type)];
        let (status, answer) = self.as_root("POST", "/", service, &headers, form);
        assert_eq!(status, 200, "{form}: {answer}");
        answer
    }

    /// A request of the REST protocol with a body of JSON, as the account's root.
    pub(super) fn rest(&self, method: &str, path: &str, service: &str, body: &Json) -> Json {
        let headers = [("content-type", "application/json")];
        let (status, answer) = self.as_root(method, path, service, &headers, body.to_string());
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        serde_json::from_str(&answer).unwrap_or_default()
    }

    /// Any request, as the account's root, whose signature ministack does not look at.
    pub(super) fn as_root(
        &self,
        method: &str,
        path: &str,
        service: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> (u16, String) {
        let body = body.as_ref();
        let headers: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let headers = headers.concat();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nhost: localhost\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0\r\n\
             {headers}content-length: {}\r\n\r\n",
            body.len()
        );
        let request = [head.as_bytes(), body].concat();
        exchange(self.address, &request).unwrap()
    }
}

/// One request on a connection of its own: status and body.
pub(super) fn exchange(address: SocketAddr, request: &[u8]) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(request)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let malformed = || std::io::Error::other(format!("no HTTP: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(malformed)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.ok_or_else(malformed)?, body.to_owned()))
}

/// The text of the first element of this name.
pub(super) fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.to_owned())
}

/// Percent-encoded, as in a form or a URL.
pub(super) fn form_encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}
