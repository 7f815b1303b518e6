//! The status of a ScaledObject in KEDA's form, from what a pass came to.
//!
//! Only what is known is in it, and nothing that changes while nothing does: no counts, no times of looking. So it differs from
//! the one that is there only when there is something to tell.
//! <https://github.com/kedacore/keda/blob/v2.20.2/apis/keda/v1alpha1/scaledobject_types.go>

use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use super::Live;
use super::brief::{brief, is_same};
use crate::decide::{Decision, Limit, Observation, Reading, Reason};
use crate::manifest::{Configuration, Finding, Target, TargetId};
use crate::owners;
use crate::pass::{Decided, Effect};
use crate::policy::{CronTrigger, Policy, Trigger};
use crate::ports::{Fault, FaultKind};
use crate::state::State;

/// Bytes of a condition's message: one line, with cause and cure. Longer evidence is in the log.
const MAX_MESSAGE: usize = 250;

/// What a condition says: status, reason, message.
type Said = (&'static str, String, String);

/// The status after a pass; `None` where this pass has nothing to say: it was not reached, or another copy owns the tick.
pub(super) fn of(live: Live<'_, '_>, listed: &Json) -> Option<Json> {
    let outcome = live.0;
    match outcome.effect {
        Effect::AtRest | Effect::NotReached | Effect::LostRace => return None,
        Effect::Scaled | Effect::Held | Effect::DryRun | Effect::Shadow | Effect::NotDone => {}
    }
    let target = outcome.target;
    let mut status = Map::new();
    status.insert("scaleTargetKind".into(), json!(gvk(target)));
    let resource = outcome.seen.as_ref().map(|seen| &seen.resource);
    // A workload that cannot be read at the moment has not become another one.
    let known = listed.get("scaleTargetGVKR");
    let gvkr = resource.map(|resource| gvkr(target, resource));
    put(
        &mut status,
        "scaleTargetGVKR",
        gvkr.or_else(|| known.cloned()),
    );
    let decided = outcome.decided.as_ref();
    // What it was before anything was scaled here: known on the first look, and kept.
    let first = decided.filter(|decided| decided.state.is_none());
    let first = first.map(|decided| json!(decided.decision.from));
    let original = listed.get("originalReplicaCount").cloned();
    put(&mut status, "originalReplicaCount", original.or(first));
    let last_active = decided.and_then(|decided| last_active(&decided.decision.state));
    let last_active = last_active.or_else(|| listed.get("lastActiveTime").cloned());
    put(&mut status, "lastActiveTime", last_active);
    let names = metric_names(&target.policy);
    let triggers = names.iter().enumerate();
    if let (Some(_), Some(decided)) = (target.policy.fallback, decided) {
        let state = &decided.decision.state;
        let health = triggers.map(|(index, name)| (name.clone(), health(state, index)));
        status.insert("health".into(), Json::Object(health.collect()));
    } else if target.policy.fallback.is_some() {
        put(&mut status, "health", listed.get("health").cloned());
    }
    status.insert("externalMetricNames".into(), json!(names));
    put(
        &mut status,
        "pausedReplicaCount",
        target.policy.pause.replicas.map(|count| json!(count)),
    );
    let (types, authentications) = types(target);
    status.insert("triggersTypes".into(), json!(types));
    status.insert("authenticationsTypes".into(), json!(authentications));
    let conditions = conditions([
        ("Ready", ready(live)),
        ("Active", active(target, decided)),
        ("Fallback", fallback(target, decided)),
        ("Paused", paused(target, decided)),
    ]);
    let conditions = settled(conditions, listed);
    status.insert("conditions".into(), conditions);
    Some(Json::Object(status))
}

/// The status of an object that is refused. What it was before is kept where it is about the past.
pub(super) fn refused(
    configuration: &Configuration,
    cluster: &str,
    id: &TargetId,
    listed: &Json,
) -> Option<Json> {
    let name = id.to_string();
    let problems = configuration.errors().filter(|finding| {
        finding.object.as_ref() == Some(&name) && finding.origin.is_cluster(cluster)
    });
    let problems: Vec<String> = problems.map(cause).collect();
    let message = all_or_first(&problems)?;
    Some(not_run("ScaledObjectCheckFailed", message, listed))
}

/// The status of an object that is being deleted and kept by a finalizer.
pub(super) fn deleted(left: &str, listed: &Json) -> Json {
    not_run("ScaledObjectDeleted", left.to_owned(), listed)
}

fn not_run(reason: &str, message: String, listed: &Json) -> Json {
    let mut status = Map::new();
    for key in ["originalReplicaCount", "lastActiveTime"] {
        put(&mut status, key, listed.get(key).cloned());
    }
    let unknown = || unknown("ScaledObject check failed");
    let conditions = conditions([
        ("Ready", said("False", reason, message)),
        ("Active", unknown()),
        ("Fallback", unknown()),
        ("Paused", unknown()),
    ]);
    status.insert("conditions".into(), conditions);
    Json::Object(status)
}

/// All problems where they fit, else the first, and how many more the log names.
fn all_or_first(problems: &[String]) -> Option<String> {
    let first = problems.first()?;
    let all = problems.join("; ");
    if all.len() <= MAX_MESSAGE || problems.len() == 1 {
        return Some(all);
    }
    let more = format!(" (and {} more: see the log)", problems.len() - 1);
    Some(brief(first, MAX_MESSAGE - more.len()) + &more)
}

/// What is wrong with an object. The values of a cluster-wide authentication are not for each reader of the ScaledObject.
fn cause(finding: &Finding) -> String {
    let problem = &finding.problem;
    if problem.path.starts_with("ClusterTriggerAuthentication ") {
        format!("{} is wrong; the function's log says how", problem.path)
    } else {
        problem.to_string()
    }
}

/// The conditions, where a message that differs in its times and request ids alone stays as it was.
fn settled(mut conditions: Json, listed: &Json) -> Json {
    let known = listed.get("conditions").and_then(Json::as_array);
    for condition in conditions.as_array_mut().into_iter().flatten() {
        let before = known.into_iter().flatten().find(|before| {
            let same = |key: &str| before.get(key) == condition.get(key);
            let text = |condition: &Json| condition["message"].as_str().map(str::to_owned);
            let is_same = match (text(before), text(condition)) {
                (Some(before), Some(now)) => is_same(&before, &now),
                _ => false,
            };
            same("type") && same("status") && same("reason") && is_same
        });
        if let Some(before) = before {
            condition["message"] = before["message"].clone();
        }
    }
    conditions
}

fn put(status: &mut Map<String, Json>, key: &str, value: Option<Json>) {
    if let Some(value) = value {
        status.insert(key.to_owned(), value);
    }
}

fn conditions(all: [(&str, Said); 4]) -> Json {
    let one = |(kind, (status, reason, message)): (&str, Said)| {
        let message = brief(&message, MAX_MESSAGE);
        json!({"type": kind, "status": status, "reason": reason, "message": message})
    };
    all.into_iter().map(one).collect()
}

fn said(status: &'static str, reason: &str, message: impl Into<String>) -> Said {
    (status, reason.to_owned(), message.into())
}

fn unknown(message: &str) -> Said {
    said("Unknown", "UnknownState", message)
}

/// As KEDA writes it: `argoproj.io/v1alpha1.Rollout`.
fn gvk(target: &Target) -> String {
    let kind = &target.workload.kind;
    format!("{}/{}.{}", kind.group(), kind.version(), kind.kind())
}

fn gvkr(target: &Target, resource: &str) -> Json {
    let kind = &target.workload.kind;
    json!({
        "group": kind.group(),
        "version": kind.version(),
        "kind": kind.kind(),
        "resource": resource,
    })
}

/// While the workload is active, since when; after that, until when. KEDA writes the time of each look, which would be a write
/// each time. A state that has only begun takes a running workload for active, and does not know it.
fn last_active(state: &State) -> Option<Json> {
    let at = state.last_active?;
    if !state.active && at == state.first_seen {
        return None;
    }
    let at = Timestamp::from_second(at.as_second()).ok()?;
    Some(json!(at.to_string()))
}

/// KEDA's names, by which `health` knows the triggers. There is no metrics API that would serve them.
fn metric_names(policy: &Policy) -> Vec<String> {
    let triggers = policy.triggers.iter().enumerate();
    let name = |(index, trigger): (usize, &Trigger)| {
        let name = match trigger {
            Trigger::SqsQueue(trigger) => format!("aws-sqs-{}", trigger.queue.address.name()),
            Trigger::Cron(trigger) => cron_name(trigger),
            Trigger::CloudWatch(_) => "aws-cloudwatch".to_owned(),
        };
        format!(
            "s{index}-{}",
            name.replace(['/', '.', ':', '%', '(', ')'], "-")
        )
    };
    triggers.map(name).collect()
}

fn cron_name(trigger: &CronTrigger) -> String {
    let part = |schedule: &str| {
        let part = schedule.replace(' ', "").replace('*', "x");
        part.replace('/', "Sl")
            .replace('?', "Qm")
            .replace(',', "Cm")
    };
    let (start, end) = (part(trigger.start.text()), part(trigger.end.text()));
    format!("cron-{}-{start}-{end}", trigger.timezone)
}

/// Failures in a row, counted to one above the threshold.
fn health(state: &State, trigger: usize) -> Json {
    let trigger = u32::try_from(trigger).unwrap_or(u32::MAX);
    let failures = state.failures.get(&trigger).copied().unwrap_or_default();
    let status = if failures == 0 { "Happy" } else { "Failing" };
    json!({"numberOfFailures": failures, "status": status})
}

/// The kinds of the triggers, and the names of their authentications, each once.
fn types(target: &Target) -> (String, String) {
    let triggers = target.manifest.pointer("/spec/triggers");
    let triggers = triggers.and_then(Json::as_array);
    let distinct = |path: &str| {
        let mut found: Vec<&str> = Vec::new();
        for trigger in triggers.into_iter().flatten() {
            let text = trigger.pointer(path).and_then(Json::as_str);
            found.extend(text.filter(|text| !found.contains(text)));
        }
        found.join(",")
    };
    (distinct("/type"), distinct("/authenticationRef/name"))
}

fn ready(live: Live<'_, '_>) -> Said {
    let outcome = live.0;
    let Some(Decided {
        observation,
        decision,
        ..
    }) = &outcome.decided
    else {
        // That of the workload, which is what this target lacks; others, of its readings and its state, may come before it.
        let fault = outcome.faults.last();
        let (code, message) = fault.map_or(("Unknown", ""), |fault| (&fault.code, &fault.message));
        return said("False", code, message);
    };
    let Decision {
        reason, contested, ..
    } = decision;
    let namespace = &outcome.target.id.namespace;
    if *reason == Reason::OtherOwner {
        let owner = owners::explain(namespace, &observation.conflicts);
        return said("False", reason.name(), owner);
    }
    if *contested {
        let code = Reason::Contested.name();
        let fault = outcome.faults.iter().find(|fault| fault.code == code);
        let message = fault.map_or("another writer keeps changing the count", |fault| {
            &fault.message
        });
        return said("False", code, message);
    }
    let failing = failing(observation, &outcome.faults);
    match failing.len() {
        0 => {}
        some if some == observation.readings.len() => {
            return said("False", "TriggerError", first_of(&failing));
        }
        _ => return said("Unknown", "PartialTriggerError", first_of(&failing)),
    }
    if let (Effect::NotDone, Some(fault)) = (outcome.effect, outcome.faults.last()) {
        // Without the counts, which follow the queue.
        let counts = format!(" from {} to {}", decision.from, decision.to);
        return said("False", &fault.code, fault.message.replace(&counts, ""));
    }
    let fault = outcome.faults.iter();
    let mut fault = fault.filter(|fault| fault.kind == FaultKind::Failed);
    match fault.next() {
        Some(fault) => said("False", &fault.code, fault.message.clone()),
        None => said("True", "ScaledObjectReady", is_ready(outcome.target)),
    }
}

/// As KEDA says it, and what of the object does not count as it is written.
fn is_ready(target: &Target) -> String {
    let ready = "ScaledObject is defined correctly and is ready for scaling";
    let counts = target.policy.polling_seconds;
    match target.asked_polling_seconds {
        None => ready.to_owned(),
        Some(asked) => format!(
            "{ready}; its pollingInterval of {asked} s counts as {counts} s, the least of the function (OUTRIGGER_MIN_POLLING): write {counts} or \
             more, or ask the function's owner for less"
        ),
    }
}

/// The triggers that could not be read, and why. The faults of the readings come first, in the order of the triggers.
fn failing<'o>(observation: &'o Observation, faults: &'o [Fault]) -> Vec<(usize, &'o str)> {
    let readings = observation.readings.iter().enumerate();
    let failing = readings.filter_map(|(index, reading)| match reading {
        Reading::Failed { error } => Some((index, error.as_str())),
        Reading::Queue(_) | Reading::Metric(_) | Reading::Cron => None,
    });
    let mut faults = faults.iter();
    let failing = failing.map(|(index, error)| {
        let fault = faults.next().filter(|fault| fault.code == error);
        (index, fault.map_or(error, |fault| &fault.message))
    });
    failing.collect()
}

/// What is wrong with the first of these triggers, and with how many more something is.
fn first_of(failing: &[(usize, &str)]) -> String {
    let Some(((index, why), more)) = failing.split_first() else {
        return String::new();
    };
    let more = match more.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("spec.triggers[{index}]{more}: {why}")
}

fn active(target: &Target, decided: Option<&Decided>) -> Said {
    let Some(Decided { decision, .. }) = decided else {
        return unknown("The workload could not be read");
    };
    let is_cooling_down = decision.limited_by.contains(&Limit::Cooldown);
    match decision.active {
        Some(true) if target.policy.force_activation => said(
            "True",
            "ScalerActive",
            "Scaling is performed because activation is being forced by annotation",
        ),
        Some(true) => said(
            "True",
            "ScalerActive",
            "Scaling is performed because triggers are active",
        ),
        Some(false) if is_cooling_down => said(
            "False",
            "ScalerCooldown",
            "Scaler cooling down because triggers are not active",
        ),
        Some(false) => said(
            "False",
            "ScalerNotActive",
            "Scaling is not performed because triggers are not active",
        ),
        None => unknown("Whether triggers are active could not be read"),
    }
}

fn fallback(target: &Target, decided: Option<&Decided>) -> Said {
    let is_used = match (target.policy.fallback, decided) {
        (None, _) => false,
        (Some(_), None) => return unknown("The workload could not be read"),
        (Some(fallback), Some(decided)) => {
            let mut failures = decided.decision.state.failures.values();
            failures.any(|failures| *failures > fallback.failure_threshold)
        }
    };
    if is_used {
        let message = "At least one trigger is falling back on this scaled object";
        said("True", "FallbackExists", message)
    } else {
        let message = "No fallbacks are active on this scaled object";
        said("False", "NoFallbackFound", message)
    }
}

/// By an annotation, or by a key of the ConfigMap.
fn paused(target: &Target, decided: Option<&Decided>) -> Said {
    let pause = target.policy.pause;
    let stop = decided.map(|decided| decided.observation.stop);
    let stop = stop.unwrap_or_default();
    if pause.all || pause.replicas.is_some() || pause.scale_in || pause.scale_out {
        return said("True", "ScaledObjectPaused", "ScaledObject is paused");
    }
    if stop.unread_until.is_some() {
        let message = "the ConfigMap `outrigger` cannot be read, and a stop may stand in it";
        return said("Unknown", "StopUnknown", message);
    }
    let key = match (stop.all, stop.scale_in) {
        (true, _) => "pause",
        (false, true) => "pause-scale-in",
        (false, false) => {
            return said(
                "False",
                "ScaledObjectUnpaused",
                "ScaledObject is not paused",
            );
        }
    };
    let message = format!("stopped by the key `{key}` of the ConfigMap `outrigger`");
    said("True", "ScaledObjectPaused", message)
}
