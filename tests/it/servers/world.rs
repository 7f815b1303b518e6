//! The servers of a run, started when the first test needs them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use outrigger::settings::ClusterAddress;
use serde_json::{Value as Json, json};

use super::assets::Assets;
use super::client::Client;
use super::daemon::{Daemon, free_ports};
use super::gateway::Gateway;
use super::ministack::{ACCOUNT, Ministack};
use super::pki::{Authority, signing_key};

/// The name that the authenticator knows its cluster by.
pub(super) const CLUSTER: &str = "demo";

/// The role of the function, whose access entry names the group of the shipped `RoleBinding`.
pub(super) const ROLE: &str = "outrigger";

/// The role that a stack makes, with the same access entry; each for one test.
pub(super) const OF_STACK: &str = "of-stack";
/// The role that the stack of a rendered template makes.
pub(super) const OF_RENDERED: &str = "of-rendered";
pub(super) const OF_README: &str = "of-readme";

/// A role whose access entry names another group.
pub(super) const GUEST: &str = "guest";

/// A role without an access entry.
pub(super) const STRANGER: &str = "stranger";

/// A role whose access entry names a group that only a `ClusterRole` is bound to.
pub(super) const WIDE: &str = "wide";

/// That group.
pub(super) const EVERYWHERE: &str = "everywhere";

/// The group `system:masters`, for the tests themselves.
const ADMIN_TOKEN: &str = "the-tests-themselves";

/// Kinds of somebody else, as the sandbox has them: plural, kind, short name, scope, whether there is a `scale`.
const CUSTOM: [(&str, &str, &str, &str, bool); 3] = [
    ("workers", "Worker", "wk", "Namespaced", true),
    ("reports", "Report", "rp", "Namespaced", false),
    ("fleets", "Fleet", "fl", "Cluster", true),
];

/// What every one of these tests needs.
const NEEDED: [&str; 6] = [
    "etcd",
    "kube-apiserver",
    "kubectl",
    "aws-iam-authenticator",
    "python/bin/python",
    "crds",
];

/// The running servers.
#[derive(Debug)]
pub(super) struct World {
    assets: Assets,
    root: PathBuf,
    address: ClusterAddress,
    pub(super) sts: Ministack,
    pub(super) gateway: Gateway,
    daemons: Mutex<Vec<Daemon>>,
}

/// The servers; `None` where this run has none, which was then said.
pub(super) fn world() -> Option<&'static World> {
    static WORLD: OnceLock<Option<World>> = OnceLock::new();
    // Each test says for itself that it is skipped.
    let assets = Assets::find(&NEEDED)?;
    // On a thread of its own, since a runtime cannot be started within that of a test.
    let start = || std::thread::spawn(|| World::start(assets)).join().ok();
    let world = WORLD.get_or_init(start).as_ref();
    // The others must not wait as long as the first.
    Some(world.expect("the servers do not start; the output of the first such test says why"))
}

impl World {
    fn start(assets: Assets) -> Self {
        let root = std::env::temp_dir().join(format!("outrigger-servers-{}", std::process::id()));
        let authority = Arc::new(Authority::new());
        let sts = Ministack::start(&assets, &root);
        for role in [ROLE, GUEST, WIDE, STRANGER] {
            sts.create_role(role);
        }
        let gateway = Gateway::start(Arc::clone(&authority), sts.address);
        let [etcd_port, etcd_peers, authenticator_port, api_port] = free_ports();
        let etcd = start_etcd(&assets, &root, etcd_port, etcd_peers);
        let authenticator =
            start_authenticator(&assets, &root, &authority, &gateway, authenticator_port);
        let address = ClusterAddress {
            endpoint: format!("https://127.0.0.1:{api_port}"),
            certificate_authority: BASE64_STANDARD.encode(authority.pem()),
        };
        let mut api = start_api_server(&assets, &root, &authority, etcd_port, api_port);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let admin = || Client::new(address.clone(), ADMIN_TOKEN);
        api.wait_until("ready", || {
            let answer =
                runtime.block_on(async { admin().send("GET", "/readyz", "", "").await })?;
            if answer.status == 200 {
                return Ok(());
            }
            Err(answer.text)
        });
        runtime.block_on(install_definitions(&admin(), &assets));
        Self {
            assets,
            root,
            address,
            sts,
            gateway,
            daemons: Mutex::new(vec![etcd, authenticator, api]),
        }
    }

    /// A client that may do everything, for the runtime of one test.
    pub(super) fn admin(&self) -> Client {
        Client::new(self.address.clone(), ADMIN_TOKEN)
    }

    /// A client with a token, or with none.
    pub(super) fn client(&self, token: &str) -> Client {
        Client::new(self.address.clone(), token)
    }

    pub(super) fn address(&self) -> &ClusterAddress {
        &self.address
    }

    pub(super) fn assets(&self) -> &Assets {
        &self.assets
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Keeps another server until the run ends.
    pub(super) fn keep(&self, daemon: Daemon) {
        let mut daemons = self.daemons.lock().unwrap_or_else(PoisonError::into_inner);
        daemons.push(daemon);
    }

    /// A kubeconfig that may do everything.
    pub(super) fn kubeconfig(&self) -> String {
        let ClusterAddress {
            endpoint,
            certificate_authority,
        } = &self.address;
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "admin",
            "clusters": [{"name": "tests", "cluster": {"server": endpoint, "certificate-authority-data": certificate_authority}}],
            "users": [{"name": "admin", "user": {"token": ADMIN_TOKEN}}],
            "contexts": [{"name": "admin", "context": {"cluster": "tests", "user": "admin"}}],
        })
        .to_string()
    }

    /// What the API server's audit log has about one namespace, oldest first.
    pub(super) fn audit(&self, namespace: &str) -> Vec<Json> {
        let mut events = self.audit_with(namespace);
        events.retain(|event| event["objectRef"]["namespace"] == namespace);
        events
    }

    /// What it has with this text anywhere in an event, as it is written there.
    pub(super) fn audit_with(&self, text: &str) -> Vec<Json> {
        let log = std::fs::read_to_string(self.root.join("kube-apiserver/audit")).unwrap();
        let lines = log.lines().filter(|line| line.contains(text));
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}

fn start_etcd(assets: &Assets, root: &Path, port: u16, peers: u16) -> Daemon {
    let (clients, peers) = (
        format!("http://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{peers}"),
    );
    let arguments = [
        format!("--data-dir={}", root.join("etcd/data").display()),
        format!("--listen-client-urls={clients}"),
        format!("--advertise-client-urls={clients}"),
        format!("--listen-peer-urls={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--initial-cluster=default={peers}"),
        // What a power failure would lose is thrown away at the end anyway.
        "--unsafe-no-fsync".to_owned(),
    ];
    Daemon::start(
        "etcd",
        &root.join("etcd"),
        &assets.path("etcd"),
        &arguments,
        &[],
    )
}

/// The server of `sigs.k8s.io/aws-iam-authenticator`, with an entry for each of the roles that have one.
/// It also listens at port 21363 of every interface, for its own health alone, which no flag can change: where that is not
/// wanted the tests are run in a network namespace, as `.ci/run` does.
fn start_authenticator(
    assets: &Assets,
    root: &Path,
    authority: &Authority,
    gateway: &Gateway,
    port: u16,
) -> Daemon {
    let folder = root.join("authenticator");
    std::fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    let entry = |role: &str, group: &str| {
        json!({
            "rolearn": format!("arn:aws:iam::{ACCOUNT}:role/{role}"),
            "username": format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{{{{SessionName}}}}"),
            "groups": [group],
        })
    };
    let config = json!({
        "clusterID": CLUSTER,
        "server": {
            "port": port,
            "stateDir": path(""),
            "generateKubeconfig": path("kubeconfig"),
            "mapRoles": [
                entry(ROLE, "outrigger"),
                entry(OF_STACK, "outrigger"),
                entry(OF_RENDERED, "outrigger"),
                entry(OF_README, "outrigger"),
                entry(GUEST, "somebody-else"),
                entry(WIDE, EVERYWHERE),
            ],
        },
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    let (proxy, authorities) = (format!("http://{}", gateway.address), path("ca.pem"));
    let mut daemon = Daemon::start(
        "the authenticator",
        &folder,
        &assets.path("aws-iam-authenticator"),
        &[
            "server".to_owned(),
            "--config".to_owned(),
            path("config.json"),
        ],
        &[
            ("HTTPS_PROXY", &proxy),
            ("SSL_CERT_FILE", &authorities),
            ("AWS_REGION", "ap-northeast-1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ],
    );
    daemon.wait_until("listening", || {
        let listens = std::net::TcpStream::connect(("127.0.0.1", port));
        listens.map_err(|error| error.to_string())?;
        std::fs::metadata(folder.join("kubeconfig")).map_err(|error| error.to_string())
    });
    daemon
}

fn start_api_server(
    assets: &Assets,
    root: &Path,
    authority: &Authority,
    etcd: u16,
    port: u16,
) -> Daemon {
    let folder = root.join("kube-apiserver");
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (certificate, key) = authority.server(&["127.0.0.1", "localhost"]);
    let (private, public) = signing_key();
    let tokens = format!("{ADMIN_TOKEN},admin,admin,\"system:masters\"\n");
    let audit = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [{"level": "Metadata"}]}"#;
    let webhook = root.join("authenticator/kubeconfig");
    let flags = [
        ("etcd-servers", format!("http://127.0.0.1:{etcd}")),
        ("bind-address", "127.0.0.1".to_owned()),
        ("advertise-address", "127.0.0.1".to_owned()),
        ("endpoint-reconciler-type", "none".to_owned()),
        ("secure-port", port.to_string()),
        ("tls-cert-file", file("server.pem", &certificate)),
        ("tls-private-key-file", file("server-key.pem", &key)),
        (
            "service-account-issuer",
            "https://kubernetes.default.svc".to_owned(),
        ),
        (
            "service-account-key-file",
            file("service-accounts.pem", &public),
        ),
        (
            "service-account-signing-key-file",
            file("service-accounts-key.pem", &private),
        ),
        ("service-cluster-ip-range", "10.0.0.0/24".to_owned()),
        // Nobody makes the service accounts that it would put into pods.
        ("disable-admission-plugins", "ServiceAccount".to_owned()),
        ("authorization-mode", "RBAC".to_owned()),
        ("token-auth-file", file("tokens.csv", &tokens)),
        (
            "authentication-token-webhook-config-file",
            webhook.display().to_string(),
        ),
        ("audit-policy-file", file("audit-policy.json", audit)),
        ("audit-log-path", folder.join("audit").display().to_string()),
    ];
    let flags: Vec<String> = flags
        .iter()
        .map(|(name, value)| format!("--{name}={value}"))
        .collect();
    let program = assets.path("kube-apiserver");
    Daemon::start("kube-apiserver", &folder, &program, &flags, &[])
}

/// The kinds as their projects ship them, until each is served.
async fn install_definitions(admin: &Client, assets: &Assets) {
    let collection = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let mut paths = Vec::new();
    for manifest in assets.definitions() {
        let text = std::fs::read_to_string(manifest).unwrap();
        let mut lines = text.lines();
        let name = lines
            .find_map(|line| line.strip_prefix("  name: "))
            .unwrap();
        let path = format!("{collection}/{name}");
        admin.apply(&path, &text).await;
        paths.push(path);
    }
    for (plural, kind, short, scope, scales) in CUSTOM {
        let name = format!("{plural}.example.com");
        let path = format!("{collection}/{name}");
        let scale =
            json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"});
        let subresources = if scales {
            json!({"status": {}, "scale": scale})
        } else {
            json!({})
        };
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let version = json!({
            "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}, "subresources": subresources,
        });
        let manifest = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": name},
            "spec": {
                "group": "example.com", "scope": scope, "versions": [version],
                "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "shortNames": [short]},
            },
        });
        admin.apply(&path, &manifest.to_string()).await;
        paths.push(path);
    }
    for path in paths {
        // For a moment after it is established, a list is answered with 429.
        let established = async || {
            let object = admin.get(&path).await.good();
            let conditions = object["status"]["conditions"].as_array().cloned();
            let is_established = conditions.unwrap_or_default().iter().any(|condition| {
                condition["type"] == "Established" && condition["status"] == "True"
            });
            let spec = &object["spec"];
            let text = |value: &Json| value.as_str().unwrap().to_owned();
            let [group, version, plural] = [
                text(&spec["group"]),
                text(&spec["versions"][0]["name"]),
                text(&spec["names"]["plural"]),
            ];
            let list = format!("/apis/{group}/{version}/{plural}?limit=1");
            is_established && admin.get(&list).await.status == 200
        };
        super::lab::eventually(&path, established).await;
    }
}
