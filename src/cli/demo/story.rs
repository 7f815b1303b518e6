//! What happens in the demo, and what must have been seen at its end.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use serde_json::Value as Json;

use super::CLOCK_FACTOR;
use super::stage::{NAMESPACE, QUEUE, ROLLOUT, Stage};
use crate::cli::{Failure, print};
use crate::sandbox::fault::Fault;
use crate::sandbox::queues::Counts;
use crate::sandbox::runtime_api::Outcome;
use crate::sandbox::{Recorded, Service};

/// Something that the demo promises to show.
pub(super) struct Verdict {
    pub(super) what: &'static str,
    pub(super) seen: bool,
}

/// The state of the endpoints around one invocation.
struct Scene {
    before: u32,
    after: u32,
    /// Changes of the count that the API server accepted in it.
    writes: Vec<(u32, u32)>,
    requests: Vec<Recorded>,
    succeeded: bool,
    /// How often the function says that it looked.
    polls: usize,
}

impl Scene {
    fn asked_sqs(&self, status: impl Fn(u16) -> bool) -> bool {
        self.requests
            .iter()
            .any(|request| request.service == Service::Sqs && status(request.status))
    }

    /// How many requests the function made. The API server has STS check each new token.
    fn asked(&self) -> usize {
        let requests = self.requests.iter();
        requests
            .filter(|request| request.service != Service::Sts)
            .count()
    }

    fn held(&self) -> bool {
        self.writes.is_empty() && self.before == self.after
    }

    fn wrote(&self) -> bool {
        self.requests
            .iter()
            .any(|request| request.action.starts_with("PATCH"))
    }
}

const SCHEDULE: (&str, &str) = (
    "scheduler-default",
    include_str!("../../../events/scheduler-default.json"),
);
const RULE: (&str, &str) = (
    "eventbridge-rule-schedule",
    include_str!("../../../events/eventbridge-rule-schedule.json"),
);
const ALARM: (&str, &str) = (
    "alarm-metric",
    include_str!("../../../events/alarm-metric.json"),
);
const ALARM_OK: (&str, &str) = (
    "alarm-metric-ok",
    include_str!("../../../events/alarm-metric-ok.json"),
);
const EVENTBRIDGE: (&str, &str) = (
    "eventbridge-alarm",
    include_str!("../../../events/eventbridge-alarm.json"),
);
const SNS: (&str, &str) = ("sns-alarm", include_str!("../../../events/sns-alarm.json"));
const DRY_RUN: (&str, &str) = (
    "direct-dry-run",
    include_str!("../../../events/direct-dry-run.json"),
);

/// Characters of a reason in the table.
const MAX_REASON: usize = 150;

/// Plays the story event by event.
pub(super) async fn tell(stage: &mut Stage) -> Result<Vec<Verdict>, Failure> {
    print(&row("CLOCK", "EVENT", "QUEUE", "REPLICAS", "REASON"))?;
    let queues = stage.sandbox.queues().clone();

    let idle = fire(stage, SCHEDULE).await?;
    queues.send(QUEUE, 63);
    let rehearsal = fire(stage, DRY_RUN).await?;
    let burst = fire(stage, ALARM).await?;
    let remembered = remembers(stage, |state| {
        state["pending"]["to"] == 7 || state["lastWritten"] == 7
    });
    queues.receive(QUEUE, 5);
    let steady = fire(stage, SCHEDULE).await?;
    let settled = remembers(stage, |state| state["lastWritten"] == 7);
    let quiet = fire(stage, RULE).await?;

    queues.finish(QUEUE, 5);
    queues.receive(QUEUE, 58);
    queues.finish(QUEUE, 58);
    let drained = fire(stage, ALARM_OK).await?;
    queues.fail(QUEUE, Some(Fault::AccessDenied));
    let failed_at = stage.elapsed_seconds();
    let broken = fire(stage, EVENTBRIDGE).await?;
    queues.fail(QUEUE, None);
    let recovered = fire(stage, SNS).await?;

    let (waited, scaled_in) = wait_for_scale_in(stage).await?;
    let window_passed = stage.elapsed_seconds() - failed_at >= 300;
    let arrival = async {
        stage.polled().await;
        queues.send(QUEUE, 500);
        pending().await
    };
    let flood = fire_while(stage, ("scheduler-default, +500", SCHEDULE.1), arrival).await?;

    Ok(vec![
        Verdict {
            what: "an empty queue: the count is held at 2",
            seen: idle.held() && idle.after == 2 && idle.asked_sqs(|status| status == 200),
        },
        Verdict {
            what: "a dry run: the decision is told and nothing is written",
            seen: rehearsal.succeeded && !rehearsal.wrote(),
        },
        Verdict {
            what: "63 messages at 10 a replica: the Rollout goes from 2 to 7",
            seen: burst.writes == [(2, 7)] && burst.after == 7,
        },
        Verdict {
            what: "the change is remembered in the ConfigMap, and settled by the next poll",
            seen: remembered && settled,
        },
        Verdict {
            what: "the same backlog: the count is held at 7",
            seen: steady.held() && steady.after == 7,
        },
        Verdict {
            what: "nothing changes: each poll reads three times and writes nothing",
            seen: quiet.held()
                && !quiet.wrote()
                && quiet.polls > 0
                && quiet.asked() == 3 * quiet.polls,
        },
        Verdict {
            what: "the queue is drained: scale-in waits for its window",
            seen: drained.held() && drained.after == 7 && drained.succeeded,
        },
        Verdict {
            what: "SQS refuses: the count is held, and the invocation fails",
            seen: broken.held()
                && broken.after == 7
                && !broken.succeeded
                && broken.asked_sqs(|status| status >= 400),
        },
        Verdict {
            what: "SQS answers again: the next event goes on",
            seen: recovered.held()
                && recovered.succeeded
                && recovered.asked_sqs(|status| status == 200),
        },
        Verdict {
            what: "300 s after the failure: the Rollout goes from 7 to 2, and not before",
            seen: waited && window_passed && scaled_in.writes == [(7, 2)] && scaled_in.after == 2,
        },
        Verdict {
            what: "500 messages inside a scheduled minute: its next poll scales to the maximum of 16",
            seen: flood.writes == [(2, 16)] && flood.after == 16 && flood.polls > 1,
        },
    ])
}

/// One scheduled event a minute of the function's clock, until the count falls or far too much time has passed.
/// The first result says that there were invocations that held before.
async fn wait_for_scale_in(stage: &Stage) -> Result<(bool, Scene), Failure> {
    let mut minutes = tokio::time::interval(Duration::from_mins(1) / CLOCK_FACTOR.unsigned_abs());
    let mut holds = 0;
    loop {
        minutes.tick().await;
        let scene = fire(stage, SCHEDULE).await?;
        if !scene.held() || holds >= 12 {
            return Ok((holds > 0, scene));
        }
        holds += 1;
    }
}

/// Fires an event and prints its row.
async fn fire(stage: &Stage, event: (&str, &str)) -> Result<Scene, Failure> {
    fire_while(stage, event, pending()).await
}

/// Fires an event, lets something else happen until its end, and prints its row.
async fn fire_while(
    stage: &Stage,
    (name, event): (&str, &str),
    meanwhile: impl Future<Output = Infallible>,
) -> Result<Scene, Failure> {
    let kubernetes = stage.sandbox.kubernetes();
    let replicas = || kubernetes.replicas(NAMESPACE, ROLLOUT).unwrap_or_default();
    let (before, writes_before) = (
        replicas(),
        kubernetes.scale_writes(NAMESPACE, ROLLOUT).len(),
    );
    stage.sandbox.clear_requests();
    let clock = clock(stage.elapsed_seconds());
    let counts = stage.sandbox.queues().counts(QUEUE);
    let outcome = tokio::select! {
        outcome = stage.invoke(event) => outcome,
        never = meanwhile => match never {},
    };
    let mut polls = 0;
    let (succeeded, reason) = match &outcome {
        Outcome::Response(body) => {
            let response: Json = serde_json::from_slice(body).unwrap_or_default();
            let told = response["targets"][0]["polls"].as_u64();
            polls = told
                .and_then(|polls| usize::try_from(polls).ok())
                .unwrap_or(0);
            (true, reason(&response))
        }
        Outcome::Error { body, .. } => {
            let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
            (
                false,
                format!("{}: {}", text("errorType"), text("errorMessage")),
            )
        }
        Outcome::InitError(body) => (false, format!("the function could not start: {body}")),
        Outcome::TimedOut => (false, "no answer".to_owned()),
    };
    let after = replicas();
    let writes = kubernetes
        .scale_writes(NAMESPACE, ROLLOUT)
        .split_off(writes_before);
    let Counts {
        visible,
        in_flight,
        delayed: _,
    } = counts;
    let change = if before == after {
        before.to_string()
    } else {
        format!("{before} → {after}")
    };
    print(&row(
        &clock,
        name,
        &format!("{visible} + {in_flight}"),
        &change,
        &reason,
    ))?;
    Ok(Scene {
        before,
        after,
        writes,
        requests: stage.sandbox.requests(),
        succeeded,
        polls,
    })
}

/// The explanation, without what the row shows already.
fn reason(response: &Json) -> String {
    let target = &response["targets"][0];
    let explanation = target["explanation"].as_str().unwrap_or_default();
    let explanation = explanation
        .split_once(": ")
        .map_or(explanation, |(_, rest)| rest);
    let effect = if target["effect"] == "dryRun" {
        format!("dry run to {}: ", target["to"])
    } else {
        String::new()
    };
    format!(
        "{}: {effect}{explanation}",
        target["reason"].as_str().unwrap_or("?")
    )
}

fn remembers(stage: &Stage, test: impl Fn(&Json) -> bool) -> bool {
    let keys = stage
        .sandbox
        .kubernetes()
        .configmap(NAMESPACE, "outrigger")
        .unwrap_or_default();
    let memory: Option<Json> = keys
        .get("rollout.worker")
        .and_then(|text| serde_json::from_str(text).ok());
    memory.is_some_and(|memory| test(&memory))
}

fn clock(seconds: i64) -> String {
    format!("+{:02}:{:02}", seconds / 60, seconds % 60)
}

/// A line of the table. Long reasons are cut: the log has them whole.
fn row(clock: &str, event: &str, queue: &str, replicas: &str, reason: &str) -> String {
    let mut reason: String = reason.chars().take(MAX_REASON).collect();
    if reason.chars().count() == MAX_REASON {
        reason.push('…');
    }
    format!("{clock:<7} {event:<26} {queue:<8} {replicas:<9} {reason}\n")
}
