//! What the tests share: a small cluster, the function as a process, a server that answers anything.

pub(crate) mod function;
pub(crate) mod owners;
pub(crate) mod stub;

use std::collections::BTreeMap;
use std::time::Duration;

use outrigger::sandbox::{Recorded, Sandbox, SandboxOptions, Service};

/// How long a condition is waited for: far more than any of them takes, so that a slow machine fails no test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The patch that scales, in the log of requests.
pub(crate) const SCALE: &str =
    "PATCH /apis/argoproj.io/v1alpha1/namespaces/default/rollouts/worker/scale";

/// A manifest as KEDA's users have it.
pub(crate) const WORKER: &str = r#"
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: worker, namespace: default}
spec:
  scaleTargetRef: {apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: worker}
  minReplicaCount: 2
  maxReplicaCount: 16
  triggers:
  - type: aws-sqs-queue
    authenticationRef: {name: keda-aws-credentials}
    metadata:
      queueURL: https://sqs.ap-northeast-1.amazonaws.com/123456789012/orders
      queueLength: "10"
      awsRegion: ap-northeast-1
      identityOwner: operator
"#;

/// [`WORKER`] under another name, with a workload and a queue of that name.
pub(crate) fn scaled_object(name: &str) -> String {
    let manifest = WORKER.replace("name: worker", &format!("name: {name}"));
    manifest.replace("/orders", &format!("/{name}"))
}

/// A cluster with the `ConfigMap`, a Rollout `worker` of 2 and a queue `orders` with 63 messages.
pub(crate) async fn sandbox() -> Sandbox {
    let sandbox = bare(SandboxOptions::default()).await;
    furnish(&sandbox);
    sandbox
}

/// A cluster with nothing in it.
pub(crate) async fn bare(options: SandboxOptions) -> Sandbox {
    Sandbox::start(options).await.unwrap()
}

/// Puts in what [`sandbox`] says.
pub(crate) fn furnish(sandbox: &Sandbox) {
    create_memory(sandbox);
    sandbox
        .kubernetes()
        .create_rollout("default", "worker", Some(2));
    sandbox.queues().set_counts("orders", 60, 3, 0);
}

/// The shipped `ConfigMap`, as good as empty.
pub(crate) fn create_memory(sandbox: &Sandbox) {
    let about = BTreeMap::from([("about".to_owned(), "…".to_owned())]);
    sandbox
        .kubernetes()
        .create_configmap("default", "outrigger", &about);
}

/// The actions of the requests to one service.
pub(crate) fn actions(sandbox: &Sandbox, service: Service) -> Vec<String> {
    let requests = sandbox.requests().into_iter();
    let requests = requests.filter(|request| request.service == service);
    requests.map(|Recorded { action, .. }| action).collect()
}

/// How many requests were made whose action begins so.
pub(crate) fn count(sandbox: &Sandbox, action: &str) -> usize {
    let requests = sandbox.requests();
    let matching = requests
        .iter()
        .filter(|request| request.action.starts_with(action));
    matching.count()
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        while !holds() {
            ticks.tick().await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    waited.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"));
}

/// Fails unless every text is in the message.
#[track_caller]
pub(crate) fn assert_names(message: &str, texts: &[&str]) {
    for text in texts {
        assert!(message.contains(text), "no `{text}` in: {message}");
    }
}
