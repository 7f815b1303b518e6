//! One sentence for a decision, with the numbers in it.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::demand::{Demand, Leading, Range, messages, messages_for_scale_out};
use super::{Limit, MIN_EMPTY_SECONDS, Observation, QueueDepth, Reason, Running, owner};
use super::{activity, contest};
use crate::policy::{
    CloudWatchTrigger, CronTrigger, Policy, ScalingRules, SelectPolicy, SqsTrigger, Trigger,
};
use crate::state::State;
use crate::thousandths;

pub(super) fn explain(
    policy: &Policy,
    observation: &Observation,
    demand: &Demand,
    memory: &State,
    running: &Running,
    now: Timestamp,
) -> String {
    let name = &policy.workload;
    let current = observation.workload.replicas;
    let to = running.count;
    let mut sentence = if to == current {
        format!("{name} stays at {to}: ")
    } else {
        format!("{name} {current} → {to}: ")
    };
    sentence += &cause(policy, observation, demand, memory, running, now);
    if to == current {
        match running.until {
            Some(until) => {
                let _infallible = write!(sentence, "; holds until {until}");
            }
            None => sentence += &waits_for(policy, demand, running),
        }
    } else {
        let limits: Vec<String> = running
            .limited_by
            .iter()
            .map(|limit| limit_text(policy, *limit))
            .collect();
        let limits = if limits.is_empty() {
            "nothing".to_owned()
        } else {
            limits.join(" and ")
        };
        let _infallible = write!(sentence, "; was limited by {limits}");
        if let Some(until) = running.until {
            let _infallible = write!(sentence, " until {until}");
        }
    }
    sentence
}

/// What ends a hold that no time ends, where the cause does not say it already.
fn waits_for(policy: &Policy, demand: &Demand, running: &Running) -> String {
    let disabled = |rules: &ScalingRules| rules.select == Some(SelectPolicy::Disabled);
    let end = match running.reason {
        Reason::ReadingFailed if demand.failed == 1 => "until the reading succeeds",
        Reason::ReadingFailed => "until the readings succeed",
        Reason::Stopped | Reason::StoppedScaleIn => "until the key no longer names it",
        Reason::Paused
        | Reason::PausedReplicas
        | Reason::PausedScaleIn
        | Reason::PausedScaleOut => "until the annotation is removed",
        Reason::OwnersUnknown => "until that is known",
        Reason::RolloutPaused => "until the Rollout is resumed",
        Reason::RolloutPauseStep => "until the step is passed",
        Reason::ScaleOutLimit if disabled(&policy.scale_out) => {
            "while scaleUp.selectPolicy is Disabled"
        }
        Reason::ScaleInLimit if disabled(&policy.scale_in) => {
            "while scaleDown.selectPolicy is Disabled"
        }
        // Nothing holds, or the cause says what ends it.
        Reason::QueueDepth
        | Reason::MetricValue
        | Reason::CronWindow
        | Reason::Activated
        | Reason::ScaledToZero
        | Reason::ScaledToIdle
        | Reason::AboveMax
        | Reason::BelowMin
        | Reason::Steady
        | Reason::WithinTolerance
        | Reason::ScaleInWindow
        | Reason::ScaleOutWindow
        | Reason::ScaleOutLimit
        | Reason::ScaleInLimit
        | Reason::Fallback
        | Reason::Cooldown
        | Reason::Inactive
        | Reason::Contested
        | Reason::OtherOwner
        | Reason::StopUnknown
        | Reason::RolloutAborted
        | Reason::RolloutUpdating
        | Reason::RolloutHandover => return String::new(),
    };
    format!("; holds {end}")
}

#[expect(clippy::too_many_lines, reason = "one arm for each reason")]
fn cause(
    policy: &Policy,
    observation: &Observation,
    demand: &Demand,
    memory: &State,
    running: &Running,
    now: Timestamp,
) -> String {
    let current = observation.workload.replicas;
    let (min, max) = (policy.bounds.min(), policy.bounds.max());
    let backlog = backlog(policy, demand);
    match running.reason {
        Reason::QueueDepth | Reason::MetricValue | Reason::CronWindow => {
            format!("{backlog}{}", failed_too(demand))
        }
        Reason::Activated if policy.force_activation => {
            format!(
                "the annotation force-activation is set, with {backlog}{}",
                failed_too(demand)
            )
        }
        Reason::Activated => format!("active again with {backlog}{}", failed_too(demand)),
        Reason::Steady => format!(
            "{backlog}{}{}",
            at_limit(policy, running),
            failed_too(demand)
        ),
        Reason::WithinTolerance => format!(
            "{backlog} is within the tolerance of {current} replicas{}{}",
            at_limit(policy, running),
            failed_too(demand)
        ),
        Reason::ScaledToZero | Reason::ScaledToIdle => {
            let rest = if running.reason == Reason::ScaledToZero {
                "zero"
            } else {
                "idleReplicaCount"
            };
            format!(
                "inactive for {} with {backlog}, so to {rest}",
                inactive_for(memory, now)
            )
        }
        Reason::AboveMax => format!("maxReplicaCount is {max}"),
        Reason::BelowMin => format!("minReplicaCount is {min}"),
        Reason::PausedReplicas => {
            format!("the annotation paused-replicas asks for {}", running.count)
        }
        Reason::ScaleInWindow => {
            let wanted = asked(policy, demand, current);
            let seconds = policy.scale_in.window_seconds;
            format!(
                "{backlog} asks for {wanted}, held at {} by the last {seconds} s",
                running.count
            )
        }
        Reason::ScaleOutWindow => {
            let (wanted, seconds) = (
                asked(policy, demand, current),
                policy.scale_out.window_seconds,
            );
            format!(
                "{backlog} asks for {wanted}, but no more than {} were wanted throughout the last {seconds} s",
                running.count
            )
        }
        Reason::ScaleOutLimit => {
            let wanted = asked(policy, demand, current);
            format!(
                "{backlog} asks for {wanted}, but the scaleUp policies allow {} now",
                running.count
            )
        }
        Reason::ScaleInLimit if running.resting => format!(
            "inactive for {} with {backlog}, but the scaleDown policies allow {} now",
            inactive_for(memory, now),
            running.count
        ),
        Reason::ScaleInLimit => {
            let wanted = asked(policy, demand, current);
            format!(
                "{backlog} asks for {wanted}, but the scaleDown policies allow {} now",
                running.count
            )
        }
        Reason::Fallback => {
            let threshold = policy
                .fallback
                .map_or(0, |fallback| fallback.failure_threshold);
            format!(
                "{} of {} readings failed more than {threshold} times in a row, so fallback asks for {}",
                demand.failed,
                policy.triggers.len(),
                running.count
            )
        }
        Reason::Cooldown => format!("{backlog}, {}", cooldown(policy, memory, now)),
        Reason::Inactive => format!("{backlog}{}", not_active(policy, demand)),
        Reason::ReadingFailed if demand.range.is_some() => {
            format!(
                "{} of {} readings failed, and the others ask for no more: {backlog}",
                demand.failed,
                policy.triggers.len()
            )
        }
        Reason::ReadingFailed => format!(
            "no reading: {} of {} failed",
            demand.failed,
            policy.triggers.len()
        ),
        Reason::Contested => format!(
            "{backlog}, but somebody else changed the count {} times in the last {} s",
            contest::CONTEST_WRITES,
            contest::CONTEST_SECONDS
        ),
        Reason::OtherOwner => owner::explain(policy, &observation.conflicts),
        Reason::OwnersUnknown => format!(
            "{backlog}, but {}, so no scale-in",
            owner::unknown(&observation.conflicts)
        ),
        Reason::Stopped => "the key pause of the ConfigMap outrigger names it".to_owned(),
        Reason::StopUnknown => {
            "the ConfigMap outrigger cannot be read and was never read by this environment, so that a stop may stand in it".to_owned()
        }
        Reason::StoppedScaleIn => {
            format!("{backlog}, and the key pause-scale-in of the ConfigMap outrigger names it")
        }
        Reason::Paused => "the annotation paused is set".to_owned(),
        Reason::PausedScaleIn => format!("{backlog}, and the annotation paused-scale-in is set"),
        Reason::PausedScaleOut => format!("{backlog}, and the annotation paused-scale-out is set"),
        Reason::RolloutPaused => {
            format!("{backlog}, but the canary is paused and would not follow")
        }
        Reason::RolloutAborted => {
            format!("{backlog}, but the update was aborted, so no scale-in before the next one")
        }
        Reason::RolloutUpdating => {
            format!("{backlog}, but an update is in flight, so no scale-in before it ends")
        }
        Reason::RolloutPauseStep => {
            format!("{backlog}, but the update waits at a pause step, so not to zero")
        }
        Reason::RolloutHandover => {
            format!(
                "{backlog}, but at revision 1 the Rollout still takes over from its workloadRef progressively, so no scale-in before revision 2 \
                 or another workloadRef.scaleDown"
            )
        }
    }
}

/// The count that the readings ask for, within the bounds.
fn asked(policy: &Policy, demand: &Demand, current: u32) -> u32 {
    let within = |count: u32| count.clamp(policy.bounds.active_min(), policy.bounds.max());
    demand.range.map_or(current, |Range { out, scale_in }| {
        Range {
            out: within(out),
            scale_in: within(scale_in),
        }
        .nearest(current)
    })
}

/// What the trigger says that asks for most.
fn backlog(policy: &Policy, demand: &Demand) -> String {
    let trigger = |index: usize| policy.triggers.get(index);
    match demand.leading {
        Leading::Fallback => "fallback".to_owned(),
        Leading::Queue(index, depth) => match trigger(index) {
            Some(Trigger::SqsQueue(trigger)) => queue(policy, trigger, depth),
            Some(Trigger::Cron(_) | Trigger::CloudWatch(_)) | None => "no reading".to_owned(),
        },
        Leading::Metric(index, value) => match trigger(index) {
            Some(Trigger::CloudWatch(trigger)) => metric(trigger, value),
            Some(Trigger::SqsQueue(_) | Trigger::Cron(_)) | None => "no reading".to_owned(),
        },
        Leading::Cron(index, is_open) => match trigger(index) {
            Some(Trigger::Cron(trigger)) => cron(trigger, is_open),
            Some(Trigger::SqsQueue(_) | Trigger::CloudWatch(_)) | None => "no reading".to_owned(),
        },
        Leading::Nothing => "no reading".to_owned(),
    }
}

/// `63 messages (60 visible + 3 in flight) / 10 per replica`.
fn queue(policy: &Policy, trigger: &SqsTrigger, depth: QueueDepth) -> String {
    let messages = messages(trigger, depth);
    let noun = if messages == 1 { "message" } else { "messages" };
    let queue = if policy.triggers.len() > 1 {
        format!("{}: ", trigger.queue.address.name())
    } else {
        String::new()
    };
    let for_scale_out = messages_for_scale_out(trigger, depth);
    let out = if for_scale_out == messages {
        String::new()
    } else {
        format!(", {for_scale_out} for scale-out,")
    };
    format!(
        "{queue}{messages} {noun} ({}){out} / {} per replica",
        parts(trigger, depth),
        trigger.messages_per_replica
    )
}

/// `AWS/SQS ApproximateAgeOfOldestMessage QueueName=orders: 90.5 / 60 per replica`.
fn metric(trigger: &CloudWatchTrigger, value: Option<i64>) -> String {
    let shown = match (value, trigger.no_data_milli) {
        (Some(value), _) if value < 0 => {
            format!("{}, which counts as 0,", thousandths::shown(value))
        }
        (Some(value), _) => thousandths::shown(value),
        (None, counted) => {
            let counted = thousandths::shown(counted.unwrap_or_default());
            format!("no data, which counts as minMetricValue {counted},")
        }
    };
    let target = i64::try_from(trigger.target_milli.get()).unwrap_or(i64::MAX);
    let target = thousandths::shown(target);
    format!("{}: {shown} / {target} per replica", trigger.metric)
}

/// `cron `0 8 * * *` to `0 18 * * *` (UTC), in its window with desiredReplicas 10`.
fn cron(trigger: &CronTrigger, is_open: bool) -> String {
    if is_open {
        format!(
            "{trigger} in its window with desiredReplicas {}",
            trigger.replicas
        )
    } else {
        format!("{trigger} out of its window")
    }
}

fn parts(trigger: &SqsTrigger, depth: QueueDepth) -> String {
    let mut parts = format!("{} visible", depth.visible);
    if trigger.count_in_flight {
        let _infallible = write!(parts, " + {} in flight", depth.in_flight);
    }
    if trigger.count_delayed {
        let _infallible = write!(parts, " + {} delayed", depth.delayed);
    }
    parts
}

fn failed_too(demand: &Demand) -> String {
    match demand.failed {
        0 => String::new(),
        1 => ", 1 other reading failed".to_owned(),
        failed => format!(", {failed} other readings failed"),
    }
}

fn at_limit(policy: &Policy, running: &Running) -> String {
    if running.limited_by.contains(&Limit::MaxReplicaCount) {
        format!(", at maxReplicaCount {}", policy.bounds.max())
    } else if running.limited_by.contains(&Limit::MinReplicaCount) {
        format!(", at minReplicaCount {}", policy.bounds.min())
    } else {
        String::new()
    }
}

fn limit_text(policy: &Policy, limit: Limit) -> String {
    match limit {
        Limit::MaxReplicaCount => format!("maxReplicaCount {}", policy.bounds.max()),
        Limit::MinReplicaCount => format!("minReplicaCount {}", policy.bounds.min()),
        Limit::ScaleInWindow => format!("the {} s scale-in window", policy.scale_in.window_seconds),
        Limit::ScaleOutWindow => {
            format!("the {} s scale-out window", policy.scale_out.window_seconds)
        }
        Limit::ScaleOutPolicies => "the scaleUp policies".to_owned(),
        Limit::ScaleInPolicies => "the scaleDown policies".to_owned(),
        Limit::Cooldown => "the cooldown".to_owned(),
        Limit::FailedReading => "a failed reading".to_owned(),
        Limit::Contested => "foreign changes of the count".to_owned(),
        Limit::OwnersUnknown => "owners that nobody knows".to_owned(),
        Limit::Stop => "the key pause-scale-in".to_owned(),
        Limit::PausedScaleIn => "paused-scale-in".to_owned(),
        Limit::PausedScaleOut => "paused-scale-out".to_owned(),
        Limit::Rollout => "the state of the Rollout".to_owned(),
    }
}

/// What the leading trigger would have to be above.
fn not_active(policy: &Policy, demand: &Demand) -> String {
    let (Leading::Queue(index, _) | Leading::Metric(index, _)) = demand.leading else {
        return String::new();
    };
    match policy.triggers.get(index) {
        Some(Trigger::SqsQueue(trigger)) => format!(", not above {}", trigger.activation_messages),
        Some(Trigger::CloudWatch(trigger)) => {
            format!(
                ", not above {}",
                thousandths::shown(trigger.activation_milli)
            )
        }
        Some(Trigger::Cron(_)) | None => String::new(),
    }
}

fn inactive_for(memory: &State, now: Timestamp) -> String {
    let since = memory.last_active.unwrap_or(memory.first_seen);
    format!("{} s", now.duration_since(since).as_secs().max(0))
}

/// What a workload still waits for: the cooldown, or readings that agree for long enough after one that failed.
fn cooldown(policy: &Policy, memory: &State, now: Timestamp) -> String {
    let (since, seconds) = activity::cooldown(policy, memory);
    let age = |since| now.duration_since(since).as_secs().max(0);
    let (waited, empty) = (age(since), age(memory.empty_since.unwrap_or(now)));
    if waited > i64::from(seconds) {
        format!("seen inactive for {empty} s, to rest after {MIN_EMPTY_SECONDS} s")
    } else {
        let seconds = seconds.max(MIN_EMPTY_SECONDS);
        format!("inactive for {waited} s, to rest after {seconds} s")
    }
}
