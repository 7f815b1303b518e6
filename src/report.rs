//! What an invocation says: log lines with the replayable record and the metrics, the response, the failure.

mod notices;
mod tally;

pub use notices::Notices;
pub use tally::Tally;

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use crate::decide::{Decision, Reason};
use crate::manifest::{Configuration, Refused, Target};
use crate::pass::{Decided, Effect, Outcome};
use crate::policy::{MetricQuery, Mode};
use crate::record::{decision_json, record_json};
use crate::settings::{Log, Metrics};
use crate::tell::Untold;
use crate::ticks::Pace;
use crate::wake::{Cause, QueueId, Scope, Wake};
use tally::{Polled, Totals};

/// Names of targets in one error message. Lambda cuts an error at 256 KB, and nobody reads more.
pub const MAX_NAMES: usize = 50;

/// The CloudWatch namespace of the metrics.
pub const METRICS_NAMESPACE: &str = "Outrigger";

/// The metrics of a summary, with their CloudWatch units.
pub const METRICS: [(&str, &str); 8] = [
    ("Targets", "Count"),
    ("ScaledOut", "Count"),
    ("ScaledIn", "Count"),
    ("Held", "Count"),
    ("LostRaces", "Count"),
    ("Failed", "Count"),
    ("Messages", "Count"),
    ("Duration", "Milliseconds"),
];

/// What was asked of this invocation, and what it is about.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// The event.
    pub wake: &'a Wake,
    /// The targets and what is wrong with the others.
    pub configuration: &'a Configuration,
    /// Why the configuration is an old one or only a part of it, if it is.
    pub stale: &'a [String],
    /// Names that the event asks for and that do not exist.
    pub unknown: &'a [String],
    /// When it began.
    pub now: Timestamp,
    /// How long it was at work, in milliseconds: without the waiting between passes.
    pub duration_ms: u64,
    /// How often it looked.
    pub pace: Pace,
}

/// The targets that an event concerns, and the names it asks for in vain.
#[must_use]
pub fn select<'t>(
    configuration: &'t Configuration,
    scope: &Scope,
) -> (Vec<&'t Target>, Vec<String>) {
    let all = configuration.targets.iter();
    match scope {
        Scope::All => (all.collect(), Vec::new()),
        Scope::Queues(queues) => (
            all.filter(|target| queues.iter().any(|queue| reads(target, queue)))
                .collect(),
            Vec::new(),
        ),
        Scope::Targets(names) => {
            let is_named = |target: &&Target| {
                names.iter().any(|name| {
                    name.namespace == target.id.namespace && name.name == target.id.name
                })
            };
            let exists = |name: &String| {
                configuration
                    .targets
                    .iter()
                    .any(|target| target.id.to_string() == *name)
            };
            // A refused object is reported as such, which says more than that there is none.
            let refused = configuration.refused();
            let is_refused = |name: &String| refused.iter().any(|refused| refused.name == *name);
            let unknown = names
                .iter()
                .map(ToString::to_string)
                .filter(|name| !exists(name) && !is_refused(name));
            (all.filter(is_named).collect(), unknown.collect())
        }
    }
}

/// Whether a target reads the queue of an alarm, or an SQS metric of it. The account is compared when the manifest tells it.
fn reads(target: &Target, queue: &QueueId) -> bool {
    use crate::policy::{QueueAddress, Trigger};
    target.policy.triggers.iter().any(|trigger| match trigger {
        Trigger::SqsQueue(trigger) => {
            let account = match &trigger.queue.address {
                QueueAddress::Url { account, .. } if account.len() == 12 => Some(account),
                QueueAddress::Url { .. } | QueueAddress::Name(_) => None,
            };
            trigger.queue.address.name() == queue.name
                && trigger.queue.region == queue.region
                && account.is_none_or(|account| *account == queue.account)
        }
        Trigger::CloudWatch(trigger) => {
            trigger.metric.region == queue.region && is_about(&trigger.metric.query, &queue.name)
        }
        Trigger::Cron(_) => false,
    })
}

/// Whether a metric is one that SQS has of a queue. What an expression reads is not known.
fn is_about(query: &MetricQuery, queue: &str) -> bool {
    let MetricQuery::Statistic {
        namespace,
        dimensions,
        ..
    } = query
    else {
        return false;
    };
    let names_it = |(name, value): &(String, String)| name == "QueueName" && value == queue;
    namespace == "AWS/SQS" && dimensions.iter().any(names_it)
}

/// What each target was last seen to say, kept while the environment is warm.
#[derive(Debug, Default)]
pub struct LastReasons(HashMap<String, Said>);

/// The reason, in shadow mode, where no write tells of a new count, also that count and on which side of it the actual one is, and
/// whether metrics are over the budget.
type Said = (Reason, Option<(u32, Ordering)>, bool);

impl LastReasons {
    /// Whether a decision says something else than last time, or the first thing.
    fn changed(&mut self, outcome: &Outcome<'_>, decision: &Decision) -> bool {
        let target = outcome.target;
        let key = format!(
            "{}/{}",
            target.cluster.as_deref().unwrap_or_default(),
            target.id
        );
        let said = match target.policy.mode {
            Mode::Live => (decision.reason, None, outcome.is_over_budget()),
            Mode::Shadow => {
                let Decision {
                    reason, from, to, ..
                } = decision;
                let count = Some((*to, to.cmp(from)));
                (*reason, count, outcome.is_over_budget())
            }
        };
        self.0.insert(key, said) != Some(said)
    }
}

/// The lines of a pass: of its decisions those that are worth one.
#[must_use]
pub fn decision_lines(
    outcomes: &[Outcome<'_>],
    now: Timestamp,
    last: &mut LastReasons,
    log: Log,
    metrics: Metrics,
) -> Vec<String> {
    let mut lines = Vec::new();
    for outcome in outcomes {
        let changed = outcome
            .decided
            .as_ref()
            .is_none_or(|decided| last.changed(outcome, &decided.decision));
        let wrote = !matches!(outcome.effect, Effect::Held | Effect::Shadow);
        let points = match metrics {
            Metrics::Targets => points(outcome, now),
            Metrics::Totals | Metrics::Off => None,
        };
        // Over the budget it stays for many polls, on the same bill: once is enough.
        let failed =
            outcome.is_failed() && !(outcome.is_over_budget() && outcome.decided.is_some());
        if changed || wrote || failed || log == Log::All {
            lines.push(decision_line(outcome, now, points).to_string());
        } else if let Some(points) = points {
            // A graph has a point for each poll, whatever is worth a record.
            lines.push(Json::Object(points).to_string());
        }
    }
    lines
}

/// The line of a finding.
#[must_use]
pub fn finding_line(finding: &str) -> String {
    json!({"finding": finding}).to_string()
}

/// The line of what could not be told to a cluster.
#[must_use]
pub fn untold_line(untold: &Untold) -> String {
    let Untold { target, fault } = untold;
    let warning = json!({"code": fault.code, "message": fault.message});
    json!({"target": target, "warning": warning}).to_string()
}

/// The metrics of one poll of a target, under dimensions of its own; `None` where nothing was decided.
fn points(outcome: &Outcome<'_>, now: Timestamp) -> Option<Map<String, Json>> {
    let decided = outcome.decided.as_ref()?;
    let Decision { from, to, .. } = &decided.decision;
    let values = [
        ("Replicas", Some(u64::from(*from))),
        ("WantedReplicas", Some(u64::from(*to))),
        // A failed reading is no data point: left out, not zero.
        ("QueueMessages", messages(decided)),
    ];
    let values = values
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    let values: Vec<(&str, u64)> = values.collect();
    let units: Vec<(&str, &str)> = values.iter().map(|(name, _)| (*name, "Count")).collect();
    let mut line = Map::new();
    let header = emf(now, &[&["Cluster", "Namespace", "ScaledObject"]], &units);
    line.insert("_aws".into(), header);
    let cluster = outcome.target.cluster.as_deref().unwrap_or_default();
    line.insert("Cluster".into(), json!(cluster));
    line.insert("Namespace".into(), json!(outcome.target.id.namespace));
    line.insert("ScaledObject".into(), json!(outcome.target.id.name));
    let values = values.into_iter();
    line.extend(values.map(|(name, value)| (name.to_owned(), json!(value))));
    Some(line)
}

fn decision_line(outcome: &Outcome<'_>, now: Timestamp, points: Option<Map<String, Json>>) -> Json {
    let mut line = points.unwrap_or_default();
    line.insert("target".into(), json!(outcome.target.id.to_string()));
    line.extend(
        outcome
            .target
            .cluster
            .as_ref()
            .map(|cluster| ("cluster".to_owned(), json!(cluster))),
    );
    line.insert("effect".into(), json!(effect_name(outcome.effect)));
    if !outcome.faults.is_empty() {
        line.insert("errors".into(), errors(outcome));
    }
    if let Some(Decided {
        observation,
        state,
        decision,
    }) = &outcome.decided
    {
        line.insert(
            "record".into(),
            record_json(&outcome.target.manifest, observation, state.as_ref(), now),
        );
        line.insert("decision".into(), decision_json(decision));
    }
    Json::Object(line)
}

/// The line of a whole invocation.
#[must_use]
pub fn summary_line(invocation: &Invocation<'_>, tally: &Tally<'_>, metrics: Metrics) -> String {
    let mut line = Map::new();
    let failed = failed_names(invocation, tally);
    let totals = tally.totals(failed.len());
    let values: Vec<(&str, u64)> = totals.values(invocation.duration_ms).collect();
    if metrics != Metrics::Off {
        let is_told = |(name, _): &&(&str, &str)| values.iter().any(|(told, _)| told == name);
        let units: Vec<(&str, &str)> = METRICS.iter().filter(is_told).copied().collect();
        line.insert("_aws".into(), emf(invocation.now, &[&[]], &units));
    }
    let values = values.into_iter();
    line.extend(values.map(|(name, value)| (name.to_owned(), json!(value))));
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in tally.targets().filter_map(|polled| polled.reason) {
        *reasons.entry(reason.name()).or_default() += 1;
    }
    let pace = invocation.pace;
    let in_shadow = tally
        .targets()
        .filter(|polled| polled.told.effect == Effect::Shadow);
    let in_shadow = in_shadow.count();
    let mut summary = json!({
        "cause": cause(&invocation.wake.cause),
        "scope": scope(&invocation.wake.scope),
        "dryRun": invocation.wake.dry_run,
        "passes": pace.passes,
        "skippedPasses": pace.skipped,
        "notDue": pace.not_due,
        "reasons": reasons,
        "failed": shortened(failed),
    });
    if let (Some(note), Json::Object(summary)) = (note(invocation, tally), &mut summary) {
        summary.insert("note".into(), json!(note));
    }
    if let (true, Json::Object(summary)) = (in_shadow > 0, &mut summary) {
        summary.insert("shadow".into(), json!(in_shadow));
    }
    let errors = tally.notices().errors().flat_map(|(_, errors)| errors);
    let errors: Vec<&str> = errors.collect();
    if let (false, Json::Object(summary)) = (errors.is_empty(), &mut summary) {
        summary.insert("errors".into(), json!(errors));
    }
    let warnings: Vec<&str> = tally.notices().warnings().collect();
    if let (false, Json::Object(summary)) = (warnings.is_empty(), &mut summary) {
        summary.insert("warnings".into(), json!(warnings));
    }
    line.insert("summary".into(), summary);
    Json::Object(line).to_string()
}

impl Totals {
    /// By the names of [`METRICS`], without what nobody has looked at: that is no zero.
    fn values(&self, duration_ms: u64) -> impl Iterator<Item = (&'static str, u64)> {
        let Self {
            targets,
            scaled_out,
            scaled_in,
            held,
            lost_races,
            failed,
            messages,
        } = *self;
        let counts = [targets, scaled_out, scaled_in, held, lost_races, failed];
        let mut counts = counts.map(|count| Some(u64::try_from(count).unwrap_or(u64::MAX)));
        if targets == 0 {
            let [polled, _, _, kept, ..] = &mut counts;
            (*polled, *kept) = (None, None);
        }
        let values = counts.into_iter().chain([messages, Some(duration_ms)]);
        let values = METRICS.iter().map(|(name, _)| *name).zip(values);
        values.filter_map(|(name, value)| Some((name, value?)))
    }
}

/// At most [`MAX_NAMES`] names, then a count.
fn shortened(mut names: Vec<String>) -> Vec<String> {
    let more = names.len().saturating_sub(MAX_NAMES);
    names.truncate(MAX_NAMES);
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    names
}

/// The header of the embedded metric format.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
fn emf(now: Timestamp, dimensions: &[&[&str]], metrics: &[(&str, &str)]) -> Json {
    let metrics: Vec<Json> = metrics
        .iter()
        .map(|(name, unit)| json!({"Name": name, "Unit": unit}))
        .collect();
    let directive =
        json!({"Namespace": METRICS_NAMESPACE, "Dimensions": dimensions, "Metrics": metrics});
    json!({"Timestamp": now.as_millisecond(), "CloudWatchMetrics": [directive]})
}

/// All messages that a target's readings saw; `None` when one failed, or none is of a queue.
fn messages(decided: &Decided) -> Option<u64> {
    use crate::decide::{QueueDepth, Reading};
    let mut sum: Option<u64> = None;
    for reading in &decided.observation.readings {
        match reading {
            Reading::Queue(QueueDepth {
                visible,
                in_flight,
                delayed,
            }) => {
                let more = visible.saturating_add(*in_flight).saturating_add(*delayed);
                sum = Some(sum.unwrap_or_default().saturating_add(more));
            }
            Reading::Metric(_) | Reading::Cron => {}
            Reading::Failed { .. } => return None,
        }
    }
    sum
}

/// The names of everything that failed, each once: refused objects, unknown names, a `ConfigMap` with a stop that stops nothing, targets,
/// the configuration itself.
#[must_use]
pub fn failed_names(invocation: &Invocation<'_>, tally: &Tally<'_>) -> Vec<String> {
    let mut names: Vec<String> = invocation
        .stale
        .iter()
        .map(|_| "configuration".to_owned())
        .collect();
    let refused = invocation.configuration.refused().into_iter();
    names.extend(refused.map(|refused| refused.name));
    names.extend(invocation.unknown.iter().cloned());
    let stops = tally.notices().errors();
    names.extend(stops.map(|(namespace, _)| format!("ConfigMap {}/outrigger", namespace.name)));
    names.extend(
        tally
            .failed()
            .map(|polled| polled.told.target.id.to_string()),
    );
    names
}

/// What the invocation fails with, `None` when nothing failed.
/// Every name with its first error, at most [`MAX_NAMES`], then a count.
#[must_use]
pub fn failure(invocation: &Invocation<'_>, tally: &Tally<'_>) -> Option<String> {
    let mut causes: Vec<String> = invocation
        .stale
        .iter()
        .map(|stale| format!("configuration: {stale}"))
        .collect();
    for Refused { name, findings, .. } in invocation.configuration.refused() {
        if let Some((first, more)) = findings.split_first() {
            let more = and_more(more.len());
            causes.push(format!("`{name}` is refused: {first}{more}"));
        }
    }
    causes.extend(invocation.unknown.iter().map(|name| {
        format!("`{name}` is not a target of this configuration; targets are named `namespace/name` of their ScaledObject")
    }));
    for (_, errors) in tally.notices().errors() {
        if let Some((first, more)) = errors.split_first() {
            causes.push(format!("{first}{}", and_more(more.len())));
        }
    }
    causes.extend(
        tally
            .failed()
            .map(|polled| format!("`{}`: {}", polled.told.target.id, polled.cause())),
    );
    if causes.is_empty() {
        return None;
    }
    let count = causes.len();
    let mut message = format!("{count} failed, all others are done: ");
    message += &causes
        .iter()
        .take(MAX_NAMES)
        .cloned()
        .collect::<Vec<_>>()
        .join("; ");
    if let Some(more) = count.checked_sub(MAX_NAMES).filter(|more| *more > 0) {
        let _infallible = write!(message, "; and {more} more");
    }
    Some(message)
}

fn and_more(count: usize) -> String {
    match count {
        0 => String::new(),
        count => format!(" (and {count} more)"),
    }
}

/// The answer to a synchronous caller.
#[must_use]
pub fn response(invocation: &Invocation<'_>, tally: &Tally<'_>) -> Json {
    let targets: Vec<Json> = tally.targets().map(response_target).collect();
    let mut response = json!({"cause": cause(&invocation.wake.cause), "dryRun": invocation.wake.dry_run, "targets": targets});
    if let (Some(note), Json::Object(response)) = (note(invocation, tally), &mut response) {
        response.insert("note".into(), json!(note));
    }
    response
}

/// Of several polls the last is told that was more than a hold: that is what there is to know.
fn response_target(polled: &Polled<'_>) -> Json {
    let outcome = &polled.told;
    let mut target = json!({
        "target": outcome.target.id.to_string(),
        "effect": effect_name(outcome.effect),
        "polls": polled.polls,
    });
    if let Json::Object(target) = &mut target {
        if let Some(Decided { decision, .. }) = &outcome.decided {
            target.insert("from".into(), json!(decision.from));
            target.insert("to".into(), json!(decision.to));
            target.insert("reason".into(), json!(decision.reason.name()));
            target.insert("explanation".into(), json!(decision.explanation));
        }
        if !outcome.faults.is_empty() {
            target.insert("errors".into(), errors(outcome));
        }
    }
    target
}

fn errors(outcome: &Outcome<'_>) -> Json {
    outcome
        .faults
        .iter()
        .map(|fault| json!({"code": fault.code, "message": fault.message}))
        .collect()
}

/// What is odd about an invocation without being a failure.
fn note(invocation: &Invocation<'_>, tally: &Tally<'_>) -> Option<String> {
    let Configuration {
        targets, findings, ..
    } = invocation.configuration;
    match &invocation.wake.scope {
        _ if targets.is_empty() && findings.is_empty() => {
            Some("the configuration holds no ScaledObject; nothing to do".to_owned())
        }
        Scope::Queues(queues) if tally.is_empty() => {
            let name =
                |queue: &QueueId| format!("`{}` ({}, {})", queue.name, queue.account, queue.region);
            let names: Vec<String> = queues.iter().map(name).collect();
            Some(format!(
                "no target reads the queue {}; nothing to do",
                names.join(" or ")
            ))
        }
        _ if invocation.pace.cut => Some(format!(
            "{} of {} passes left out, since the function's deadline comes before the end of its window; \
             give it a timeout of OUTRIGGER_WINDOW and 15 s more",
            invocation.pace.skipped, invocation.pace.planned
        )),
        Scope::Queues(_) | Scope::All | Scope::Targets(_) => None,
    }
}

fn effect_name(effect: Effect) -> &'static str {
    match effect {
        Effect::Scaled => "scaled",
        Effect::AtRest => "atRest",
        Effect::Held => "held",
        Effect::DryRun => "dryRun",
        Effect::Shadow => "shadow",
        Effect::LostRace => "lostRace",
        Effect::NotReached => "notReached",
        Effect::NotDone => "notDone",
    }
}

fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Alarm { name, state } => format!("alarm {name} {state}"),
        Cause::Schedule => "schedule".to_owned(),
        Cause::Direct => "direct".to_owned(),
    }
}

fn scope(scope: &Scope) -> String {
    let list = |names: Vec<String>| match names.len() {
        0..=5 => names.join(", "),
        count => format!(
            "{} and {} more",
            names.iter().take(5).cloned().collect::<Vec<_>>().join(", "),
            count - 5
        ),
    };
    match scope {
        Scope::All => "all".to_owned(),
        Scope::Queues(queues) => format!(
            "queues {}",
            list(queues.iter().map(|queue| queue.name.clone()).collect())
        ),
        Scope::Targets(targets) => format!(
            "targets {}",
            list(targets.iter().map(ToString::to_string).collect())
        ),
    }
}
