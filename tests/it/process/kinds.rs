//! Kinds of faults of the machine, the network and AWS: `docs/faults.md` has a row for each.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outrigger::sandbox::fault::Fault;
use outrigger::sandbox::kubernetes::KubernetesFault;
use outrigger::sandbox::runtime_api::Outcome;
use outrigger::sandbox::{Sandbox, SandboxOptions, SessionKeys};
use serde_json::json;

use super::{replicas, writes};
use crate::adapters::address;
use crate::servers::assets::tell;
use crate::support::function::{DEPLOYED, Directory, Function, answer, error};
use crate::support::{
    SCALE, WORKER, assert_names, bare, count, furnish, sandbox, scaled_object, until,
};

const HUB: &str = "arn:aws:iam::123456789012:role/hub";
const SCHEDULED: &str = include_str!("../../../events/scheduler-default.json");

/// [`WORKER`] polled each second.
fn every_second() -> String {
    WORKER.replace("spec:\n", "spec:\n  pollingInterval: 1\n")
}

#[tokio::test]
async fn a_role_session_that_ends_inside_a_window_fails_no_poll() {
    let sandbox = sandbox().await;
    sandbox.sts().allow_role(HUB, None);
    sandbox.kubernetes().map_role(HUB, &["outrigger"]);
    let clusters = format!("demo={HUB}");
    let environment = [("OUTRIGGER_CLUSTERS", clusters.as_str())];
    let function = Function::start(&sandbox, &every_second(), &environment).await;
    let polls = || count(&sandbox, "GetQueueAttributes orders");
    let story = async {
        until("the first polls", || polls() >= 2).await;
        sandbox.end_sessions();
        sandbox.queues().set_counts("orders", 100, 0, 0);
    };
    let left = Duration::from_secs(15);
    let (outcome, ()) = tokio::join!(function.invoke_with_time_left(SCHEDULED, left), story);
    answer(&outcome);
    assert!(polls() >= 4, "{}", polls());
    assert_eq!(writes(&sandbox), [(2, 7), (7, 10)]);
    assert!(count(&sandbox, "AssumeRole") >= 2);
}

/// The local endpoints of one function, and a cluster `b` whose access entry is gone, and one `c` that is well.
async fn three_clusters() -> (Sandbox, Sandbox, Sandbox) {
    let first = sandbox().await;
    let environment = first.environment();
    let keys = SessionKeys {
        access_key: environment["AWS_ACCESS_KEY_ID"].clone(),
        secret: environment["AWS_SECRET_ACCESS_KEY"].clone(),
        token: environment["AWS_SESSION_TOKEN"].clone(),
        arn: "arn:aws:sts::123456789012:assumed-role/outrigger/outrigger".to_owned(),
    };
    let mut others = Vec::new();
    for name in ["b", "c"] {
        let cluster = bare(SandboxOptions {
            cluster: name.to_owned(),
            ..SandboxOptions::default()
        })
        .await;
        furnish(&cluster);
        cluster.admit(&keys);
        let address = address(&cluster);
        first
            .eks()
            .add_cluster(name, &address.endpoint, &address.certificate_authority);
        others.push(cluster);
    }
    let (third, second) = (others.remove(1), others.remove(0));
    (first, second, third)
}

/// One ScaledObject for each of three clusters, the first one the default.
fn in_three_clusters() -> String {
    let in_cluster = |name: &str| {
        let named = format!(
            "{{name: worker-{name}, namespace: default, annotations: {{outrigger.dev/cluster: {name}}}}}"
        );
        WORKER.replace("{name: worker, namespace: default}", &named)
    };
    [WORKER.to_owned(), in_cluster("b"), in_cluster("c")].join("---")
}

#[tokio::test]
async fn a_cluster_of_three_that_answers_401_fails_alone() {
    let (first, second, third) = three_clusters().await;
    second
        .kubernetes()
        .unmap_role("arn:aws:iam::123456789012:role/outrigger");
    let environment = [("OUTRIGGER_CLUSTERS", "demo,b,c")];
    let function = Function::start(&first, &in_three_clusters(), &environment).await;
    let (_, message) = function.error("{}").await;
    assert_names(
        &message,
        &[
            "1 failed",
            "`default/worker-b`",
            "401",
            "aws eks list-access-entries --cluster-name b",
        ],
    );
    assert_eq!(
        (writes(&first), writes(&third)),
        (vec![(2, 7)], vec![(2, 7)])
    );
    assert_eq!(writes(&second), []);
    second
        .kubernetes()
        .map_role("arn:aws:iam::123456789012:role/outrigger", &["outrigger"]);
    function.answer("{}").await;
    assert_eq!(writes(&second), [(2, 7)]);
}

/// Each cluster but the first is signed in to with a role, and STS throttles all who want one.
#[tokio::test]
async fn an_sts_that_throttles_fails_the_clusters_that_need_it() {
    let (first, second, third) = three_clusters().await;
    let roles = bare(SandboxOptions::default()).await;
    roles.sts().fail(Some(Fault::Throttled));
    let clusters = "demo,b=arn:aws:iam::123456789012:role/b,c=arn:aws:iam::123456789012:role/c";
    let endpoint = roles.environment()["AWS_ENDPOINT_URL_STS"].clone();
    let environment = [
        ("OUTRIGGER_CLUSTERS", clusters),
        ("AWS_ENDPOINT_URL_STS", endpoint.as_str()),
    ];
    let function = Function::start(&first, &in_three_clusters(), &environment).await;
    let (_, message) = function.error("{}").await;
    assert_names(
        &message,
        &[
            "2 failed",
            "`default/worker-b`",
            "`default/worker-c`",
            "Throttling",
        ],
    );
    assert_eq!(writes(&first), [(2, 7)]);
    assert_eq!((writes(&second), writes(&third)), (vec![], vec![]));
    let asked = count(&roles, "AssumeRole");
    // Two roles, three tries of each.
    assert!((2..=12).contains(&asked), "{asked}");
}

/// A TCP proxy whose connections can be ended from outside, in order or by a reset.
struct Gate {
    address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
    is_gone: Arc<AtomicBool>,
}

impl Gate {
    fn before(endpoint: &str) -> Self {
        let server: SocketAddr = endpoint["https://".len()..].parse().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let is_gone: Arc<AtomicBool> = Arc::default();
        let (all, gone) = (Arc::clone(&open), Arc::clone(&is_gone));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if gone.load(Ordering::Relaxed) {
                    continue;
                }
                let upstream = TcpStream::connect(server).unwrap();
                all.lock().unwrap().push(client.try_clone().unwrap());
                for (from, to) in [(&client, &upstream), (&upstream, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || forward(&from, &to));
                }
            }
        });
        Self {
            address,
            open,
            is_gone,
        }
    }

    /// Takes no further connection.
    fn leave(&self) {
        self.is_gone.store(true, Ordering::Relaxed);
    }

    /// Ends all connections that there are, as a server does that goes away. Returns how many there were.
    fn end_all(&self) -> usize {
        let mut open = self.open.lock().unwrap();
        for stream in open.iter() {
            // One that has ended already is no concern.
            stream.shutdown(Shutdown::Both).ok();
        }
        open.drain(..).count()
    }
}

/// Copies until either side is gone, then ends both.
fn forward(mut from: &TcpStream, mut to: &TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both).ok();
}

/// A gate before the API server, which EKS describes in its place.
fn gate(sandbox: &Sandbox) -> Gate {
    let gate = Gate::before(&address(sandbox).endpoint);
    let endpoint = format!("https://{}", gate.address);
    let eks = sandbox.eks();
    eks.set_cluster(|cluster| cluster["endpoint"] = json!(endpoint));
    gate
}

/// Of the API servers one after the other is replaced, and each takes the connections with it that lie idle in the function.
#[tokio::test]
async fn api_servers_that_roll_one_by_one_fail_no_invocation() {
    let sandbox = sandbox().await;
    let gate = gate(&sandbox);
    let function = Function::start(&sandbox, WORKER, &[]).await;
    let mut expected = Vec::new();
    for (from, to) in [(2, 3), (3, 4), (4, 5), (5, 6), (6, 7)] {
        let messages = u64::from(to) * 10;
        sandbox.queues().set_counts("orders", messages, 0, 0);
        function.answer("{}").await;
        expected.push((from, to));
        assert_eq!(writes(&sandbox), expected);
        assert!(gate.end_all() > 0, "there was no connection to end");
    }
}

/// The connection goes away under each request of a pass in turn: the request is sent again, and nothing is written twice.
#[tokio::test]
async fn a_reset_under_each_request_of_a_pass_fails_no_invocation() {
    for matching in [
        "GET /configmaps/outrigger",
        "GET /rollouts/worker",
        "GET /horizontalpodautoscalers",
        "GET /scaledobjects",
        "PATCH /configmaps/outrigger",
        "PATCH /rollouts/worker/scale",
        "POST /events",
    ] {
        let sandbox = sandbox().await;
        let function = Function::start(&sandbox, WORKER, &[]).await;
        sandbox
            .kubernetes()
            .fail(matching, KubernetesFault::Reset, 1);
        function.answer("{}").await;
        assert_eq!(writes(&sandbox), [(2, 7)], "{matching}");
    }
}

/// A ConfigMap that etcd would not take is refused with another status than one that the API server would not.
#[tokio::test]
async fn a_state_that_is_refused_with_413_scales_out_and_never_in() {
    let sandbox = sandbox().await;
    let kubernetes = sandbox.kubernetes();
    kubernetes.create_rollout("default", "large", Some(20));
    sandbox.queues().create("large");
    let too_large = KubernetesFault::Status(413);
    kubernetes.fail("PATCH /configmaps/outrigger", too_large, 1_000);
    let configuration = format!("{}---{WORKER}", scaled_object("large"));
    let function = Function::start(&sandbox, &configuration, &[]).await;
    let (_, message) = function.error("{}").await;
    assert_names(
        &message,
        &["2 failed", "`default/outrigger` in cluster `demo` is full"],
    );
    assert_eq!(writes(&sandbox), [(2, 7)]);
    assert_eq!(kubernetes.scale_writes("default", "large"), []);
}

/// No file with this number or a higher one can be opened from now on.
fn set_open_files(process: u32, limit: usize) {
    let limit = format!("--nofile={limit}:");
    let process = process.to_string();
    let status = Command::new("prlimit")
        .args(["--pid", &process, &limit])
        .status();
    assert!(status.unwrap().success());
}

/// The lowest number that no open file of a process has.
fn first_free_file(process: u32) -> usize {
    let is_open = |number: &usize| !Path::new(&format!("/proc/{process}/fd/{number}")).is_symlink();
    (0..1024).find(is_open).unwrap()
}

/// A count of 7 that an empty queue would take down to 2 at once.
fn that_would_scale_in(sandbox: &Sandbox, name: &str) {
    let ago = outrigger::clock::wall_now() - Duration::from_hours(1);
    let ago = jiff::Timestamp::from_second(ago.as_second()).unwrap();
    let state = json!({
        "v": 1, "firstSeen": ago, "active": true, "lastActive": ago, "inWindow": [{"replicas": 2}], "lastWritten": 7,
    });
    let kubernetes = sandbox.kubernetes();
    kubernetes.create_rollout("default", name, Some(7));
    kubernetes.edit("configmaps", "default", "outrigger", |object| {
        object["data"][format!("rollout.{name}")] = json!(state.to_string());
    });
    sandbox.queues().create(name);
}

#[tokio::test]
async fn out_of_file_descriptors_it_says_so_holds_and_recovers() {
    // None at the start of the environment, or so many: the pass gets further and further.
    for more in 0..10 {
        let sandbox = sandbox().await;
        let kubernetes = sandbox.kubernetes();
        that_would_scale_in(&sandbox, "idle");
        let configuration = format!("{}---{WORKER}", scaled_object("idle"));
        let mut function = Function::start(&sandbox, &configuration, &[]).await;
        let process = function.process_id().unwrap();
        set_open_files(process, first_free_file(process) + more);
        let outcome = function.invoke("{}").await;
        let (out, scaled_in) = (writes(&sandbox), kubernetes.scale_writes("default", "idle"));
        if let Outcome::Error { .. } = outcome {
            let (_, message) = error(&outcome);
            assert_names(&message, &["Too many open files"]);
        }
        if more == 0 {
            let (kind, message) = error(&outcome);
            assert_eq!(kind, "Outrigger.ConfigurationUnreadable", "{message}");
            assert_names(
                &message,
                &["nothing is done", "the next invocation tries again"],
            );
            assert_eq!((&out, &scaled_in), (&vec![], &vec![]));
        }
        // Whose readings failed is named, and not scaled in.
        if count(&sandbox, "GetQueueAttributes idle") == 0 {
            assert_eq!(scaled_in, [], "{more}");
        }
        assert!(function.is_running());
        assert!(!function.output().contains("panicked"));
        set_open_files(process, 1024);
        function.answer("{}").await;
        assert_eq!(writes(&sandbox), [(2, 7)], "{more}");
        let written = kubernetes.scale_writes("default", "idle");
        assert_eq!(written, [(7, 2)], "{more}");
    }
}

/// A warm function whose connections have ended cannot make new ones.
#[tokio::test]
async fn a_warm_function_out_of_file_descriptors_holds_and_recovers() {
    let sandbox = sandbox().await;
    let gate = gate(&sandbox);
    let mut function = Function::start(&sandbox, WORKER, &[]).await;
    function.answer("{}").await;
    let process = function.process_id().unwrap();
    set_open_files(process, 1);
    gate.end_all();
    sandbox.queues().set_counts("orders", 1000, 0, 0);
    let (kind, message) = function.error("{}").await;
    assert_eq!(kind, "Outrigger.TargetsFailed");
    assert_names(
        &message,
        &[
            "2 failed",
            "the last good one is in force",
            "`default/worker`",
            "Too many open files",
        ],
    );
    assert_eq!(writes(&sandbox), [(2, 7)]);
    assert!(function.is_running());
    set_open_files(process, 1024);
    function.answer("{}").await;
    assert_eq!(writes(&sandbox), [(2, 7), (7, 16)]);
}

/// The program that follows cannot write a byte to any file: it would be killed. What it logs goes through a pipe. It convinces itself.
const NO_FILES: &str = "exec > >(exec cat) 2>&1; ulimit -f 0; (echo probe > probe) 2> /dev/null; test -s probe && exit 3; exec \"$0\"";

#[tokio::test]
async fn with_no_room_on_any_disk_nothing_is_missed() {
    let sandbox = sandbox().await;
    let directory = Directory::new();
    std::fs::write(directory.join("outrigger.yaml"), WORKER).unwrap();
    let shell = ["bash", "-c", NO_FILES, DEPLOYED];
    // No folder for temporary files either.
    let environment = [("TMPDIR", "/nonexistent"), ("HOME", "/nonexistent")];
    let mut function = Function::start_by(&shell, directory, &sandbox, &environment).await;
    function.answer("{}").await;
    sandbox.queues().set_counts("orders", 100, 0, 0);
    function.answer("{}").await;
    assert_eq!(writes(&sandbox), [(2, 7), (7, 10)]);
    assert!(function.is_running());
}

/// A name of a domain that cannot exist, by RFC 6761.
const NO_SUCH_HOST: &str = "https://outrigger.invalid";

#[tokio::test]
async fn a_name_that_does_not_resolve_is_a_failed_reading_and_then_looked_up_again() {
    let sandbox = sandbox().await;
    let right = address(&sandbox).endpoint;
    let set = |endpoint: &str| {
        sandbox
            .eks()
            .set_cluster(|cluster| cluster["endpoint"] = json!(endpoint));
    };
    set(NO_SUCH_HOST);
    let function = Function::start(&sandbox, WORKER, &[]).await;
    let (_, message) = function.error("{}").await;
    assert_names(&message, &["1 failed", "dns error", "cluster `demo`"]);
    assert_eq!((count(&sandbox, SCALE), replicas(&sandbox)), (0, Some(2)));
    set(&right);
    function.answer("{}").await;
    assert_eq!(writes(&sandbox), [(2, 7)]);
}

#[tokio::test]
async fn a_queue_whose_name_does_not_resolve_holds_its_target_only() {
    let sandbox = sandbox().await;
    let kubernetes = sandbox.kubernetes();
    kubernetes.create_rollout("default", "lost", Some(5));
    let endpoint = format!("awsRegion: ap-northeast-1\n      awsEndpoint: {NO_SUCH_HOST}");
    let lost = scaled_object("lost").replace("awsRegion: ap-northeast-1", &endpoint);
    let function = Function::start(&sandbox, &format!("{lost}---{WORKER}"), &[]).await;
    let (_, message) = function.error("{}").await;
    assert_names(&message, &["1 failed", "`default/lost`", "dns error"]);
    assert_eq!(writes(&sandbox), [(2, 7)]);
    assert_eq!(kubernetes.scale_writes("default", "lost"), []);
}

/// A name server that hears each question and answers none, for what runs in this shell script. Where this machine has no way to do it,
/// the test says so and passes.
fn silent_name_server(directory: &Directory) -> Option<(UdpSocket, String)> {
    let address = "127.0.0.54";
    let socket = UdpSocket::bind((address, 53));
    let file = directory.join("resolv.conf");
    std::fs::write(&file, format!("nameserver {address}\n")).unwrap();
    let script = format!(
        "mount --bind {} /etc/resolv.conf && exec \"$0\"",
        file.display()
    );
    let tried = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            &script,
            "true",
        ])
        .status();
    let works = tried.is_ok_and(|status| status.success());
    match socket {
        Ok(socket) if works => Some((socket, script)),
        _ => {
            tell(
                "skipped",
                "no name server can be set up for one process here",
            );
            None
        }
    }
}

#[tokio::test]
async fn a_name_server_that_never_answers_holds_up_who_needs_it_only() {
    let directory = Directory::new();
    let Some((socket, script)) = silent_name_server(&directory) else {
        return;
    };
    let sandbox = sandbox().await;
    let kubernetes = sandbox.kubernetes();
    that_would_scale_in(&sandbox, "lost");
    let endpoint = "awsRegion: ap-northeast-1\n      awsEndpoint: https://sqs.slow.example";
    let lost = scaled_object("lost").replace("awsRegion: ap-northeast-1", endpoint);
    std::fs::write(
        directory.join("outrigger.yaml"),
        format!("{lost}---{WORKER}"),
    )
    .unwrap();
    let way = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
    ];
    let program = [&way[..], &[&script, DEPLOYED]].concat();
    let function = Function::start_by(&program, directory, &sandbox, &[]).await;
    let (_, message) = function.error("{}").await;
    assert_names(&message, &["1 failed", "`default/lost`", "queue `lost`"]);
    assert_eq!(writes(&sandbox), [(2, 7)]);
    assert_eq!(kubernetes.scale_writes("default", "lost"), []);
    // It was asked.
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 512]).is_ok());
}

/// An authority that is replaced while the function is warm: its connections last, and where they end the cluster is described again.
#[tokio::test]
async fn a_rotated_authority_is_described_again_by_a_warm_function() {
    let old = sandbox().await;
    let new = bare(SandboxOptions::default()).await;
    furnish(&new);
    let gate = Gate::before(&address(&old).endpoint);
    let endpoint = format!("https://{}", gate.address);
    old.eks()
        .set_cluster(|cluster| cluster["endpoint"] = json!(endpoint));
    let function = Function::start(&old, WORKER, &[]).await;
    function.answer("{}").await;
    assert_eq!(count(&old, "DescribeCluster"), 1);
    // The servers show what the new authority has signed, and the old ones are gone.
    let environment = old.environment();
    new.admit(&SessionKeys {
        access_key: environment["AWS_ACCESS_KEY_ID"].clone(),
        secret: environment["AWS_SECRET_ACCESS_KEY"].clone(),
        token: environment["AWS_SESSION_TOKEN"].clone(),
        arn: "arn:aws:sts::123456789012:assumed-role/outrigger/outrigger".to_owned(),
    });
    let rotated = address(&new);
    old.eks().set_cluster(|cluster| {
        cluster["endpoint"] = json!(rotated.endpoint);
        cluster["certificateAuthority"] = json!({"data": rotated.certificate_authority});
    });
    gate.end_all();
    gate.leave();
    function.answer("{}").await;
    assert_eq!(writes(&new), [(2, 7)]);
    assert_eq!(count(&old, "DescribeCluster"), 2);
}

/// Two functions that were given the same objects, one of them with another maximum: each is told which the other is.
#[tokio::test]
async fn two_functions_with_one_configuration_name_each_other() {
    let sandbox = sandbox().await;
    let one = Function::start(&sandbox, WORKER, &[]).await;
    let other = WORKER.replace("maxReplicaCount: 16", "maxReplicaCount: 5");
    let name = [("AWS_LAMBDA_FUNCTION_NAME", "outrigger-test")];
    let other = Function::start(&sandbox, &other, &name).await;
    one.answer("{}").await;
    let told = [
        (&other, "outrigger", "outrigger-test"),
        (&one, "outrigger-test", "outrigger"),
    ];
    for (function, theirs, own) in told {
        let (kind, message) = function.error("{}").await;
        assert_eq!(kind, "Outrigger.TargetsFailed");
        assert_names(
            &message,
            &[
                &format!("the function `ap-northeast-1/123456789012/{theirs}` scales Rollout"),
                &format!("this function is `ap-northeast-1/123456789012/{own}`"),
                &format!("put-function-concurrency --function-name {theirs} "),
            ],
        );
        let lines = function.new_lines();
        let decision = super::decisions(&lines).pop().unwrap();
        assert_eq!(decision["errors"][0]["code"], "OtherFunction");
    }
    // Scaling does not stop for it.
    assert_eq!(writes(&sandbox), [(2, 7), (7, 5), (5, 7)]);
}
