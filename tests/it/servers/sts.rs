//! An STS that we did not write: ministack, with `AUTH=true`, so that it checks every signature, the cluster's header included.
//!
//! Where it differs from AWS: it answers XML also to who asks for JSON, which [`super::gateway`] puts right.
//! <https://pypi.org/project/ministack/>

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use outrigger::sandbox::SessionKeys;

use super::assets::Assets;
use super::daemon::{Daemon, free_ports};

pub(super) const ACCOUNT: &str = "123456789012";

/// Anybody of the account may take the roles of the tests.
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"sts:AssumeRole"}]}"#;

#[derive(Debug)]
pub(super) struct Sts {
    pub(super) address: SocketAddr,
    _daemon: Daemon,
}

impl Sts {
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
                ("MINISTACK_REGION", "ap-northeast-1"),
                ("IOT_MTLS_ENABLED", "0"),
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

    pub(super) fn create_role(&self, name: &str) {
        let trust = form_encode(TRUST);
        let form = format!(
            "Action=CreateRole&Version=2010-05-08&RoleName={name}&AssumeRolePolicyDocument={trust}"
        );
        self.as_root("iam", &form);
    }

    /// Fresh credentials of a role, as Lambda puts them into a function's environment.
    pub(super) fn assume_role(&self, name: &str) -> SessionKeys {
        let form = format!(
            "Action=AssumeRole&Version=2011-06-15&RoleSessionName=outrigger&RoleArn=arn:aws:iam::{ACCOUNT}:role/{name}"
        );
        let answer = self.as_root("sts", &form);
        let field = |name: &str| element(&answer, name).unwrap_or_else(|| panic!("{answer}"));
        SessionKeys {
            access_key: field("AccessKeyId"),
            secret: field("SecretAccessKey"),
            token: field("SessionToken"),
            arn: field("Arn"),
        }
    }

    /// As the account's root, whose signature ministack does not look at.
    fn as_root(&self, service: &str, form: &str) -> String {
        let request = format!(
            "POST / HTTP/1.0\r\nhost: localhost\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=test/20260101/ap-northeast-1/{service}/aws4_request, SignedHeaders=host, Signature=0\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            form.len()
        );
        let (status, answer) = exchange(self.address, request.as_bytes()).unwrap();
        assert_eq!(status, 200, "{answer}");
        answer
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

fn form_encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}
