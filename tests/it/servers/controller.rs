//! The controller of Argo Rollouts, and as much of the rest of a cluster as it needs.

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::client::{Client, MERGE_PATCH};
use super::daemon::{Daemon, free_ports};
use super::world::{World, world};

/// The Rollouts that the controller looks after; those of the other tests have no such label.
const INSTANCE_LABEL: &str = "argo-rollouts.argoproj.io/controller-instance-id";
const INSTANCE: &str = "tests";

/// Pods of an image with this in its name exist and are never ready.
pub(super) const NEVER_READY: &str = "never-ready";

/// The servers with the controller; `None` where this run has none, which was then said.
pub(super) fn controlled_world() -> Option<&'static World> {
    static STARTED: OnceLock<()> = OnceLock::new();
    let world = world()?;
    super::assets::Assets::find(&["rollouts-controller"])?;
    STARTED.get_or_init(|| start(world));
    Some(world)
}

fn start(world: &'static World) {
    let folder = world.root().join("rollouts-controller");
    std::fs::create_dir_all(&folder).unwrap();
    let kubeconfig = folder.join("kubeconfig");
    std::fs::write(&kubeconfig, world.kubeconfig()).unwrap();
    let [metrics, health] = free_ports();
    let arguments = [
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--instance-id={INSTANCE}"),
        "--leader-elect=false".to_owned(),
        format!("--metricsPort={metrics}"),
        format!("--healthzPort={health}"),
    ];
    let program = world.assets().path("rollouts-controller");
    let mut daemon = Daemon::start("rollouts-controller", &folder, &program, &arguments, &[]);
    daemon.wait_until("ready", || {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], health));
        let request = "GET /healthz HTTP/1.0\r\nhost: localhost\r\n\r\n";
        match super::ministack::exchange(address, request.as_bytes()) {
            Ok((200, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    world.keep(daemon);
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(run_pods(&world.admin()));
    });
}

/// What the controller of `ReplicaSet`s, the scheduler and every kubelet come to together: as many pods as asked for, at once.
async fn run_pods(admin: &Client) {
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    loop {
        ticks.tick().await;
        // The servers end before this thread does.
        let Ok(list) = admin.send("GET", "/apis/apps/v1/replicasets", "", "").await else {
            return;
        };
        for set in list.body["items"].as_array().into_iter().flatten() {
            if let Some((path, status)) = pods_of(set) {
                let status = json!({"status": status}).to_string();
                // A set that changed meanwhile is seen again in the next round.
                admin.send("PATCH", &path, MERGE_PATCH, &status).await.ok();
            }
        }
    }
}

/// The status that a `ReplicaSet` is to have, unless it has it.
fn pods_of(set: &Json) -> Option<(String, Json)> {
    let metadata = &set["metadata"];
    let pods = set["spec"]["replicas"].as_u64().unwrap_or(1);
    let image = set["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
    let is_ready = !image.is_some_and(|image| image.contains(NEVER_READY));
    let ready = if is_ready { pods } else { 0 };
    let wanted = [
        ("replicas", pods),
        ("fullyLabeledReplicas", pods),
        ("readyReplicas", ready),
        ("availableReplicas", ready),
        ("observedGeneration", metadata["generation"].as_u64()?),
    ];
    let status = &set["status"];
    let is_there = |(field, value): &(&str, u64)| status[field].as_u64().unwrap_or(0) == *value;
    if wanted.iter().all(is_there) {
        return None;
    }
    let (namespace, name) = (metadata["namespace"].as_str()?, metadata["name"].as_str()?);
    let path = format!("/apis/apps/v1/namespaces/{namespace}/replicasets/{name}/status");
    let status = wanted
        .iter()
        .map(|(field, value)| ((*field).to_owned(), json!(value)));
    Some((path, status.collect()))
}

/// Gives a Rollout to the controller.
pub(super) fn looked_after(mut rollout: Json) -> Json {
    rollout["metadata"]["labels"] = json!({INSTANCE_LABEL: INSTANCE});
    rollout
}
