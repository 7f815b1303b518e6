//! A client of an API server with no opinion: method, path, body, and whatever comes back.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Request;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use outrigger::settings::ClusterAddress;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value as Json, json};
use std::sync::Arc;

pub(super) const JSON: &str = "application/json";
pub(super) const JSON_PATCH: &str = "application/json-patch+json";
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";
pub(super) const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
pub(super) const APPLY: &str = "application/apply-patch+yaml";

/// What a server answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) text: String,
    /// Null where it is not JSON.
    pub(super) body: Json,
}

impl Answer {
    /// The body of an answer that must be a success.
    #[track_caller]
    pub(super) fn good(self) -> Json {
        let Self {
            status, text, body, ..
        } = self;
        assert!((200..300).contains(&status), "{status}: {text}");
        body
    }
}

type Inner = legacy::Client<HttpsConnector<HttpConnector>, Full<bytes::Bytes>>;

/// Somebody with a bearer token.
#[derive(Debug, Clone)]
pub(super) struct Client {
    inner: Inner,
    pub(super) address: ClusterAddress,
    token: String,
}

impl Client {
    pub(super) fn new(address: ClusterAddress, token: &str) -> Self {
        let pem = BASE64_STANDARD.decode(&address.certificate_authority);
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem.unwrap()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .build();
        Self {
            inner: legacy::Client::builder(TokioExecutor::new()).build(connector),
            address,
            token: token.to_owned(),
        }
    }

    /// Any request; an error is one of the connection.
    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &str,
    ) -> Result<Answer, String> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address.endpoint))
            .header(ACCEPT, JSON)
            .header(USER_AGENT, "somebody-else/1");
        if !self.token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.token));
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request.body(Full::from(body.to_owned())).unwrap();
        let answer = self.inner.request(request).await;
        let answer = answer.map_err(|error| format!("{error:?}"))?;
        let status = answer.status().as_u16();
        let content_type = answer.headers().get(CONTENT_TYPE);
        let content_type = content_type
            .map_or("", |value| value.to_str().unwrap())
            .to_owned();
        let body = answer.into_body().collect().await;
        let body = body.map_err(|error| format!("{error:?}"))?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer {
            status,
            content_type,
            body: serde_json::from_str(&text).unwrap_or_default(),
            text,
        })
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", "").await.unwrap()
    }

    /// As `kubectl get` asks for it: the columns and rows that it prints.
    pub(super) async fn table(&self, path: &str) -> Json {
        let request = Request::builder()
            .uri(format!("{}{path}", self.address.endpoint))
            .header(ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io")
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Full::from(String::new()));
        let answer = self.inner.request(request.unwrap()).await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, "", "").await.unwrap()
    }

    pub(super) async fn post(&self, path: &str, body: &Json) -> Answer {
        let body = body.to_string();
        self.send("POST", path, JSON, &body).await.unwrap()
    }

    pub(super) async fn patch(&self, path: &str, content_type: &str, body: &Json) -> Answer {
        let body = body.to_string();
        self.send("PATCH", path, content_type, &body).await.unwrap()
    }

    /// What `kubectl apply --server-side` does with one object.
    pub(super) async fn apply(&self, path: &str, manifest: &str) -> Json {
        let path = format!("{path}?fieldManager=kubectl&force=true");
        let answer = self.send("PATCH", &path, APPLY, manifest).await.unwrap();
        answer.good()
    }

    /// Whether a user of this group may do this.
    pub(super) async fn may(&self, group: &str, namespace: &str, attributes: &Json) -> bool {
        let mut attributes = attributes.clone();
        attributes["namespace"] = json!(namespace);
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": "somebody", "groups": [group], "resourceAttributes": attributes},
        });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        self.post(path, &review).await.good()["status"]["allowed"] == true
    }
}
