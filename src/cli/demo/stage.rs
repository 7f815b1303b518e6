//! Endpoints, a queue, a Rollout, and the function in a process of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;

use super::CLOCK_FACTOR;
use crate::cli::Failure;
use crate::clock::{Clock, wall_now};
use crate::sandbox::runtime_api::{Outcome, RuntimeApi};
use crate::sandbox::{Recorded, Sandbox, SandboxOptions, Service};

pub(super) const QUEUE: &str = "orders";
pub(super) const NAMESPACE: &str = "default";
pub(super) const ROLLOUT: &str = "worker";
const CLUSTER: &str = "demo";
/// What the introduction shows of the manifest.
const SHOWN: [&str; 3] = ["Count", "queueLength", "pollingInterval"];
/// What the function may take for one invocation.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Everything the demo plays with. Dropping it ends the function and removes its folder.
pub(super) struct Stage {
    pub(super) sandbox: Sandbox,
    runtime: RuntimeApi,
    function: Child,
    folder: PathBuf,
    clock: Clock,
    start: Timestamp,
}

impl Stage {
    /// Starts the endpoints and the function, and waits until it asks for its first event.
    pub(super) async fn set() -> Result<Self, Failure> {
        let options = SandboxOptions {
            cluster: CLUSTER.to_owned(),
            ..SandboxOptions::default()
        };
        let sandbox = Sandbox::start(options)
            .await
            .context("could not start the local endpoints on 127.0.0.1")?;
        sandbox.queues().create(QUEUE);
        sandbox
            .kubernetes()
            .create_rollout(NAMESPACE, ROLLOUT, Some(2));
        let about = BTreeMap::from([(
            "about".to_owned(),
            "Outrigger keeps one key a workload here.".to_owned(),
        )]);
        sandbox
            .kubernetes()
            .create_configmap(NAMESPACE, "outrigger", &about);
        let runtime = RuntimeApi::start()
            .await
            .context("could not start the local Lambda Runtime API on 127.0.0.1")?;

        let folder = std::env::temp_dir().join(format!("outrigger-demo-{}", std::process::id()));
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("could not make the folder `{}`", folder.display()))?;
        let write = |name: &str, text: &str| {
            std::fs::write(folder.join(name), text)
                .with_context(|| format!("could not write `{name}` in `{}`", folder.display()))
        };
        write("outrigger.yaml", &manifest(&sandbox.queues().url(QUEUE)))?;
        let start = wall_now();
        let function = spawn(&sandbox, &runtime, &folder, start)?;
        let mut stage = Self {
            sandbox,
            runtime,
            function,
            folder,
            clock: Clock::fast(start, CLOCK_FACTOR),
            start,
        };
        let ready = tokio::time::timeout(TIMEOUT, stage.runtime.ready()).await;
        if ready.is_err() {
            let end = stage
                .function
                .try_wait()
                .ok()
                .flatten()
                .map_or("runs".to_owned(), |status| format!("ended with {status}"));
            let error = anyhow!(
                "the function did not ask for an event within {} s; it {end} and said:\n{}",
                TIMEOUT.as_secs(),
                stage.log_excerpt(20)
            );
            return Err(Failure::Internal(error));
        }
        Ok(stage)
    }

    /// Hands an event to the function and waits for its answer.
    pub(super) async fn invoke(&self, event: &str) -> Outcome {
        self.runtime
            .invoke(event.as_bytes().to_vec(), TIMEOUT)
            .await
            .outcome
    }

    /// Waits until the function has read the queue, of the requests that were not cleared yet.
    pub(super) async fn polled(&self) {
        let mut looks = tokio::time::interval(Duration::from_millis(2));
        let is_read = |request: &Recorded| request.service == Service::Sqs;
        while !self.sandbox.requests().iter().any(is_read) {
            looks.tick().await;
        }
    }

    /// Seconds on the function's clock since the start.
    pub(super) fn elapsed_seconds(&self) -> i64 {
        self.clock.now().duration_since(self.start).as_secs()
    }

    pub(super) fn introduction(&self) -> String {
        format!(
            "Queue `{QUEUE}` and Rollout `{NAMESPACE}/{ROLLOUT}` on local endpoints; the function runs as process {} with\n{}\n\
             Its clock runs {CLOCK_FACTOR} times faster for decisions, state and polls; tokens, TLS and deadlines use real time.\n\n",
            self.function.id(),
            manifest("…/orders")
                .lines()
                .filter(|line| SHOWN.iter().any(|key| line.contains(key)))
                .collect::<Vec<_>>()
                .join("\n"),
        )
    }

    /// The last lines of the function's log.
    pub(super) fn log_excerpt(&self, lines: usize) -> String {
        let text = std::fs::read_to_string(self.folder.join("function.log")).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        let mut excerpt = all
            .get(all.len().saturating_sub(lines)..)
            .unwrap_or_default()
            .join("\n");
        excerpt.push('\n');
        excerpt
    }

    /// How to use the endpoints from elsewhere.
    pub(super) fn invitation(&self) -> Result<String, Failure> {
        let kubeconfig = self.folder.join("kubeconfig");
        let command = std::env::current_exe().context("could not find this program")?;
        let text = self.sandbox.kubeconfig().replace(
            "command: outrigger",
            &format!("command: {}", command.display()),
        );
        std::fs::write(&kubeconfig, text)
            .with_context(|| format!("could not write `{}`", kubeconfig.display()))?;
        let mut text = String::from(
            "\nThe endpoints stay up until Ctrl-C. Point the function or `cargo lambda watch` at them with\n\n",
        );
        let variables = self.sandbox.environment();
        for (name, value) in &variables {
            let _infallible = writeln!(text, "export {name}='{value}'");
        }
        let _infallible = writeln!(text, "export OUTRIGGER_CLUSTERS={CLUSTER}");
        let _infallible = writeln!(
            text,
            "export OUTRIGGER_CONFIG=file:{}",
            self.folder.join("outrigger.yaml").display()
        );
        let _infallible = writeln!(text, "export KUBECONFIG={}", kubeconfig.display());
        let endpoint = variables
            .get("AWS_ENDPOINT_URL_SQS")
            .map_or("", String::as_str);
        let url = self.sandbox.queues().url(QUEUE);
        let _infallible = write!(
            text,
            "\nand try\n\n  {} status --clock-start {} --clock-factor {CLOCK_FACTOR}\n  \
             cargo lambda watch --bin outrigger-lambda --no-default-features --features lambda -A 127.0.0.1\n  \
             cargo lambda invoke --invoke-address 127.0.0.1 outrigger-lambda --data-file events/direct-all.json\n  \
             aws sqs send-message --endpoint-url {endpoint} --queue-url {url} --message-body hello\n  \
             kubectl get rollouts.argoproj.io {ROLLOUT} -n {NAMESPACE} -o jsonpath='{{.spec.replicas}}'\n  \
             kubectl --context admin scale rollouts.argoproj.io/{ROLLOUT} -n {NAMESPACE} --replicas=4\n",
            command.display(),
            self.start,
        );
        Ok(text)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // It may have ended by itself; nothing more can be done about it.
        let _ended = self
            .function
            .kill()
            .and_then(|()| self.function.wait())
            .is_ok();
        let _removed = std::fs::remove_dir_all(&self.folder).is_ok();
    }
}

/// Starts the function with nothing of this process' environment: as in Lambda, what it needs is given to it.
fn spawn(
    sandbox: &Sandbox,
    runtime: &RuntimeApi,
    folder: &PathBuf,
    start: Timestamp,
) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("could not find this program")?;
    let log = File::create(folder.join("function.log"))
        .with_context(|| format!("could not write into `{}`", folder.display()))?;
    let errors = log
        .try_clone()
        .context("could not open the function's log twice")?;
    Command::new(&program)
        .args([
            "demo-function",
            "--clock-start",
            &start.to_string(),
            "--clock-factor",
            &CLOCK_FACTOR.to_string(),
        ])
        .env_clear()
        .envs(sandbox.environment())
        .env("AWS_LAMBDA_RUNTIME_API", runtime.address())
        .env("AWS_LAMBDA_FUNCTION_NAME", "outrigger")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("OUTRIGGER_CLUSTERS", CLUSTER)
        .env("OUTRIGGER_LOG", "all")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("could not start `{}`", program.display()))
}

/// The ScaledObject of the demo, as a KEDA user has it.
fn manifest(queue_url: &str) -> String {
    format!(
        "apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: worker
  namespace: default
spec:
  scaleTargetRef:
    apiVersion: argoproj.io/v1alpha1
    kind: Rollout
    name: worker
  minReplicaCount: 2
  maxReplicaCount: 16
  pollingInterval: 15
  triggers:
  - type: aws-sqs-queue
    metadata:
      queueURL: {queue_url}
      queueLength: \"10\"
      awsRegion: ap-northeast-1
      identityOwner: operator
"
    )
}
