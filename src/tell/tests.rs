use super::*;
use crate::decide::{Observation, QueueDepth, Reading, Stop, Workload, decide};
use crate::manifest::{Context, read};
use crate::pass::Decided;
use crate::ports::Seen;
use serde_json::json;

const CLUSTER: &str = "demo";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// So many ScaledObjects; more lines go into each spec, and an annotation into its metadata.
fn configuration(count: usize, annotation: &str, more: &str) -> Configuration {
    let one = |index| {
        format!(
            "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata:\n  name: w{index}\n  annotations: {{{annotation}}}\nspec:\n  \
             scaleTargetRef: {{name: w{index}}}\n{more}  triggers:\n  - type: aws-sqs-queue\n    metadata: {{queueURL: q.fifo, awsRegion: eu-west-1, \
             identityOwner: operator}}\n---\n"
        )
    };
    let text: String = (0..count).map(one).collect();
    let clusters = [CLUSTER.to_owned()];
    let context = Context {
        file: "test.yaml",
        namespace: "default",
        clusters: &clusters,
    };
    let configuration = read(text.as_bytes(), context);
    assert_eq!(
        configuration.targets.len(),
        count,
        "{:?}",
        configuration.findings
    );
    configuration
}

/// A target that is scaled from 1 to 2, or has this fault.
fn outcome(target: &Target, fault: Option<Fault>) -> Outcome<'_> {
    let workload = Workload {
        replicas: 1,
        rollout: None,
    };
    let depth = QueueDepth {
        visible: 10,
        ..QueueDepth::default()
    };
    let observation = Observation {
        workload,
        readings: vec![Reading::Queue(depth)],
        stop: Stop::default(),
        conflicts: Vec::new(),
        poll_seconds: None,
    };
    let decision = decide(&target.policy, &observation, None, at(0));
    Outcome {
        target,
        decided: Some(Decided {
            observation,
            state: None,
            decision,
        }),
        seen: Some(Seen {
            uid: "uid".to_owned(),
            version: "7".to_owned(),
            resource: "deployments".to_owned(),
            workload,
        }),
        effect: if fault.is_some() {
            Effect::NotDone
        } else {
            Effect::Scaled
        },
        faults: fault.into_iter().collect(),
    }
}

fn listed(target: &Target, status: Json) -> (String, ListedObject) {
    let object = ListedObject {
        id: target.id.clone(),
        uid: "u".to_owned(),
        version: "1".to_owned(),
        status,
        has_finalizer: false,
        is_deleted: false,
        left: None,
        mode: Mode::Live,
    };
    (CLUSTER.to_owned(), object)
}

/// Takes note of what it is told, and fails as it is told.
#[derive(Default)]
struct Server {
    events: RefCell<Vec<Event>>,
    statuses: RefCell<Vec<(String, Json)>>,
    fault: RefCell<Option<Fault>>,
    hangs: Cell<bool>,
    /// What is asked of this cluster has no answer.
    dark: RefCell<String>,
    /// Drops what is new in a status, as a server does whose definition of the kind is an old one.
    drops: Cell<bool>,
}

impl Events for Server {
    async fn create(&self, place: &Place, event: &Event) -> Result<(), Fault> {
        if self.hangs.get() || *self.dark.borrow() == place.namespace.cluster {
            std::future::pending::<()>().await;
        }
        self.events.borrow_mut().push(event.clone());
        self.fault.borrow().clone().map_or(Ok(()), Err)
    }
}

impl Statuses for Server {
    async fn write_status(
        &self,
        _: &Namespace,
        _: &str,
        seen: &Version,
        status: &Json,
    ) -> Result<String, Fault> {
        if self.hangs.get() {
            std::future::pending::<()>().await;
        }
        let mut statuses = self.statuses.borrow_mut();
        statuses.push((seen.version.clone(), status.clone()));
        match self.fault.borrow().clone() {
            None if self.drops.get() => Ok(seen.version.clone()),
            None => Ok(format!("{}0", seen.version)),
            Some(fault) => Err(fault),
        }
    }
}

async fn tell(
    server: &Server,
    teller: &Teller<'_>,
    outcomes: &mut [Outcome<'_>],
    seconds: i64,
) -> Vec<Untold> {
    let voice = Voice {
        events: server,
        statuses: server,
    };
    let occasion = Occasion {
        now: at(seconds),
        deadline: None,
        default_cluster: CLUSTER,
    };
    teller.outcomes(&voice, outcomes, occasion).await
}

#[tokio::test]
async fn an_invocation_creates_so_many_events() {
    let configuration = configuration(MAX_EVENTS + 20, "", "");
    let (server, told) = (Server::default(), Told::default());
    let teller = Teller::new(&told, &[]);
    let targets = configuration.targets.iter();
    let mut outcomes: Vec<_> = targets.map(|target| outcome(target, None)).collect();
    for left_out in [20, MAX_EVENTS + 20] {
        let untold = tell(&server, &teller, &mut outcomes, 0).await;
        let [Untold { fault, .. }] = untold.as_slice() else {
            panic!("{untold:?}");
        };
        assert_eq!(fault.code, "TooManyEvents");
        assert!(
            fault.message.starts_with(&format!("{left_out} Events")),
            "{fault}"
        );
    }
    assert_eq!(server.events.borrow().len(), MAX_EVENTS);
    let names: Vec<String> = server
        .events
        .borrow()
        .iter()
        .map(|event| event.key.clone())
        .collect();
    assert_eq!(names[0], "6b49d200-7-queuedepth-s");
}

fn ready(outcome: &Outcome<'_>) -> Json {
    let status = status::of(Live::of(outcome).unwrap(), &Json::Null).unwrap();
    status["conditions"][0].clone()
}

#[test]
fn what_a_target_lacks_most_is_in_its_status_and_no_count() {
    let configuration = configuration(1, "", "");
    let target = &configuration.targets[0];
    let faults = ["NonExistentQueue", "Forbidden", "NotFound"];
    let faults = faults.map(|code| Fault::failed(code, format!("{code} it is")));
    let unread = Outcome {
        decided: None,
        seen: None,
        faults: faults.to_vec(),
        ..outcome(target, None)
    };
    let expected = json!({"type": "Ready", "status": "False", "reason": "NotFound", "message": "NotFound it is"});
    assert_eq!(ready(&unread), expected);
    let failed = |to: u32| {
        let fault = Fault::failed(
            "Forbidden",
            format!("could not scale it from 1 to {to}: 403; add the rule"),
        );
        let failed = ready(&outcome(target, Some(fault)));
        assert_eq!(
            (&failed["status"], &failed["reason"]),
            (&json!("False"), &json!("Forbidden"))
        );
        failed
    };
    let message = failed(2)["message"].as_str().unwrap().to_owned();
    assert_eq!(message, "could not scale it: 403; add the rule");
    // What can be told of a scale that was made or not wanted is told.
    let held = Outcome {
        effect: Effect::Held,
        ..outcome(
            target,
            Some(Fault::failed("StateUnreadable", "the state is odd")),
        )
    };
    assert_eq!(ready(&held)["message"], "the state is odd");
}

/// Room for one more, a change and a trouble: the change is told, and the trouble as soon as it can be.
#[tokio::test]
async fn a_trouble_that_could_not_be_told_is_told_later() {
    let configuration = configuration(2, "", "");
    let (server, told) = (Server::default(), Told::default());
    let [a, b] = [&configuration.targets[0], &configuration.targets[1]];
    let denied = || Some(Fault::failed("AccessDenied", "…"));
    let reasons = || {
        let events = server.events.take().into_iter();
        events.map(|event| event.reason).collect::<Vec<_>>()
    };
    let teller = Teller::new(&told, &[]);
    teller.events_left.set(1);
    let mut outcomes = [outcome(a, denied()), outcome(b, None)];
    let untold = tell(&server, &teller, &mut outcomes, 0).await;
    assert_eq!(
        (reasons(), untold.len()),
        (vec!["QueueDepth".to_owned()], 1)
    );
    // The next invocation has room, but is not let.
    let teller = Teller::new(&told, &[]);
    *server.fault.borrow_mut() = Some(Fault::failed("Timeout", "no answer"));
    let mut outcomes = [outcome(a, denied())];
    tell(&server, &teller, &mut outcomes, 60).await;
    assert_eq!(reasons(), ["AccessDenied"]);
    *server.fault.borrow_mut() = None;
    for (seconds, expected) in [(120, 0), (660, 1), (720, 0), (1_320, 0)] {
        tell(&server, &teller, &mut outcomes, seconds).await;
        assert_eq!(reasons().len(), expected, "{seconds}");
    }
}

/// A target that a pass did not reach has neither more nor less trouble than before.
#[tokio::test]
async fn what_was_not_reached_neither_ends_nor_begins_a_trouble() {
    let configuration = configuration(1, "", "");
    let target = &configuration.targets[0];
    let (server, told) = (Server::default(), Told::default());
    let teller = Teller::new(&told, &[]);
    let denied = || outcome(target, Some(Fault::failed("AccessDenied", "…")));
    let late = Fault::out_of_time("target `a/b`", "reads took 60 s");
    let not_reached = |faults: Vec<Fault>| Outcome {
        effect: Effect::NotReached,
        faults,
        ..outcome(target, None)
    };
    let other = Fault::failed("Timeout", "no answer");
    for (seconds, outcome, expected) in [
        (0, not_reached(vec![other.clone(), late.clone()]), &[][..]),
        (60, denied(), &["AccessDenied"]),
        // Long after the last one was told, which would be told again had it gone.
        (660, not_reached(vec![late.clone()]), &[]),
        (720, denied(), &[]),
        (780, not_reached(vec![other, late]), &[]),
        (1_500, denied(), &[]),
        // So it is when a pass finds no trouble.
        (1_560, outcome(target, None), &["QueueDepth"]),
        (1_620, denied(), &["AccessDenied"]),
    ] {
        tell(&server, &teller, &mut [outcome], seconds).await;
        let events = server.events.take().into_iter();
        let reasons: Vec<String> = events.map(|event| event.reason).collect();
        assert_eq!(reasons, expected, "{seconds}");
    }
}

#[tokio::test]
async fn what_a_server_does_not_keep_is_not_sent_again_and_said_once() {
    let configuration = configuration(2, "", "");
    let (server, told) = (Server::default(), Told::default());
    let targets = configuration.targets.iter();
    let mut outcomes: Vec<_> = targets
        .clone()
        .map(|target| outcome(target, None))
        .collect();
    let old = |target: &Target| {
        let outcome = outcome(target, None);
        let mut status = status::of(Live::of(&outcome).unwrap(), &Json::Null).unwrap();
        status.as_object_mut().unwrap().remove("triggersTypes");
        listed(target, status)
    };
    server.drops.set(true);
    let mut said = Vec::new();
    for _ in 0..3 {
        // As each invocation lists them.
        let objects: Vec<_> = targets.clone().map(old).collect();
        let teller = Teller::new(&told, &objects);
        for _ in 0..2 {
            said.extend(tell(&server, &teller, &mut outcomes, 0).await);
        }
    }
    assert_eq!(server.statuses.take().len(), 2, "one for each object");
    let [Untold { fault, .. }] = said.as_slice() else {
        panic!("{said:?}");
    };
    let text = "cluster `demo` does not keep `triggersTypes` in the status";
    assert!(fault.message.starts_with(text), "{fault}");
    assert!(outcomes.iter().all(|outcome| outcome.faults.is_empty()));
    // Another status is.
    let objects = [old(&configuration.targets[0])];
    let teller = Teller::new(&told, &objects);
    let mut failed = [outcome(
        &configuration.targets[0],
        Some(Fault::failed("Forbidden", "no")),
    )];
    tell(&server, &teller, &mut failed, 0).await;
    assert_eq!(server.statuses.take().len(), 1);
}

#[tokio::test]
async fn a_shadow_is_not_told_of() {
    let configuration = configuration(1, "outrigger.dev/mode: shadow", "");
    let (server, told) = (Server::default(), Told::default());
    let target = &configuration.targets[0];
    let teller = Teller::new(&told, &[listed(target, Json::Null)]);
    let fault = Fault::failed("AccessDenied", "…");
    let mut outcomes = [outcome(target, None), outcome(target, Some(fault))];
    tell(&server, &teller, &mut outcomes, 0).await;
    assert_eq!(
        (server.events.take().len(), server.statuses.take().len()),
        (0, 0)
    );
}

#[tokio::test]
async fn a_status_is_written_where_it_differs() {
    let configuration = configuration(1, "", "");
    let target = &configuration.targets[0];
    let (server, told) = (Server::default(), Told::default());
    let teller = Teller::new(&told, &[listed(target, json!({"hpaName": "of KEDA"}))]);
    for _ in 0..3 {
        tell(&server, &teller, &mut [outcome(target, None)], 0).await;
    }
    let written = server.statuses.take();
    let [(version, status)] = written.as_slice() else {
        panic!("{written:?}");
    };
    assert_eq!((version.as_str(), &status["hpaName"]), ("1", &Json::Null));
    assert_eq!(status["externalMetricNames"], json!(["s0-aws-sqs-q-fifo"]));
    assert_eq!(status["scaleTargetKind"], "apps/v1.Deployment");
    // The next one goes into the version that this one made.
    let fault = Fault::failed("NotFound", "it is gone");
    let mut gone = Outcome {
        decided: None,
        seen: None,
        ..outcome(target, Some(fault))
    };
    tell(&server, &teller, std::slice::from_mut(&mut gone), 0).await;
    let written = server.statuses.take();
    assert_eq!((written.len(), written[0].0.as_str()), (1, "10"));
    let conditions = &written[0].1["conditions"];
    assert_eq!(
        conditions[0],
        json!({"type": "Ready", "status": "False", "reason": "NotFound", "message": "it is gone"})
    );
    // What is known from before is kept.
    for key in ["scaleTargetGVKR", "originalReplicaCount", "lastActiveTime"] {
        assert_eq!(written[0].1[key], status[key], "{key}");
    }
    // Nothing was looked at, or another copy does.
    for effect in [Effect::NotReached, Effect::LostRace] {
        let mut outcome = Outcome {
            effect,
            ..outcome(target, None)
        };
        tell(&server, &teller, std::slice::from_mut(&mut outcome), 0).await;
    }
    assert_eq!(server.statuses.take(), []);
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_told_and_what_is_late_is_not_a_failure() {
    let configuration = configuration(1, "", "");
    let target = &configuration.targets[0];
    let run = async |fault: Option<Fault>| {
        let (server, told) = (Server::default(), Told::default());
        let teller = Teller::new(&told, &[listed(target, Json::Null)]);
        server.hangs.set(fault.is_none());
        *server.fault.borrow_mut() = fault;
        let mut outcomes = [outcome(target, None)];
        let untold = tell(&server, &teller, &mut outcomes, 0).await;
        let codes: Vec<String> = untold.into_iter().map(|untold| untold.fault.code).collect();
        // A second pass of the invocation does not try the status again.
        *server.fault.borrow_mut() = None;
        server.hangs.set(false);
        tell(&server, &teller, &mut outcomes, 0).await;
        assert!(server.statuses.borrow().len() <= 1);
        (codes, outcomes[0].faults.len())
    };
    let failed = run(Some(Fault::failed("Forbidden", "no"))).await;
    assert_eq!(
        failed,
        (vec!["Forbidden".to_owned(), "Forbidden".to_owned()], 1)
    );
    // A lost race is neither.
    let lost = run(Some(Fault::lost_race("somebody was faster"))).await;
    assert_eq!(lost, (vec!["Conflict".to_owned()], 0), "the Event alone");
    let begun = Instant::now();
    let late = run(None).await;
    assert_eq!(late, (vec!["DeadlineExceeded".to_owned(); 2], 0));
    assert_eq!(begun.elapsed().as_secs(), TELL_SECONDS);
}

#[tokio::test]
async fn the_names_of_metrics_and_the_health_are_kedas() {
    let more = "  fallback: {failureThreshold: 3, replicas: 5}\n";
    let text = "  - type: cron\n    metadata: {timezone: Etc/UTC, start: 0 0 * * Thu, end: 59 23 * * Thu, desiredReplicas: '10'}\n";
    let configuration = configuration(1, "", more);
    let document = format!(
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {{name: c}}\nspec:\n  scaleTargetRef: {{name: c}}\n  triggers:\n{text}"
    );
    let context = Context {
        file: "test.yaml",
        namespace: "default",
        clusters: &[],
    };
    // The name that KEDA's own test of the cron scaler expects.
    let cron = read(document.as_bytes(), context);
    let status_of = |target: &Target| {
        let outcome = outcome(target, None);
        status::of(Live::of(&outcome).unwrap(), &Json::Null).unwrap()
    };
    let status = status_of(&cron.targets[0]);
    assert_eq!(
        status["externalMetricNames"],
        json!(["s0-cron-Etc-UTC-00xxThu-5923xxThu"])
    );
    assert_eq!(
        (&status["triggersTypes"], &status["authenticationsTypes"]),
        (&json!("cron"), &json!(""))
    );
    assert_eq!(status.get("health"), None);
    let status = status_of(&configuration.targets[0]);
    assert_eq!(
        status["health"],
        json!({"s0-aws-sqs-q-fifo": {"numberOfFailures": 0, "status": "Happy"}})
    );
}

/// Sixteen Events to a cluster that hangs are all the turns that it has.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_hangs_is_told_nothing_more_and_costs_the_other_nothing() {
    let mut configuration = configuration(60, "", "");
    for (index, target) in configuration.targets.iter_mut().enumerate() {
        target.cluster = (index < 40).then(|| "dark".to_owned());
    }
    let (server, told) = (Server::default(), Told::default());
    server.dark.replace("dark".to_owned());
    let teller = Teller::new(&told, &[]);
    let targets = configuration.targets.iter();
    let mut outcomes: Vec<_> = targets.map(|target| outcome(target, None)).collect();
    let begun = Instant::now();
    let untold = tell(&server, &teller, &mut outcomes, 0).await;
    assert_eq!((untold.len(), server.events.borrow().len()), (40, 20));
    assert_eq!(begun.elapsed(), Duration::from_secs(TELL_SECONDS));
    // The polls that come after do not wait for it again.
    let begun = Instant::now();
    let untold = tell(&server, &teller, &mut outcomes[10..50], 60).await;
    assert_eq!((untold.len(), server.events.borrow().len()), (30, 30));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let message = &untold[0].fault.message;
    assert!(
        message.contains("cluster `dark` before had no answer in time"),
        "{message}"
    );
}
