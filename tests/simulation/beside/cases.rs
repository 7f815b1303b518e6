//! Known histories, second by second: what starved, and what it must be.

use outrigger::decide::Decision;
use serde_json::{Value as Json, json};

use super::Rules;
use crate::demand::{Demand, Supply};
use crate::life::at;
use crate::random::Random;
use outrigger::decide::decide;

/// Counts every poll of a regular life, to which the demand is told by the second.
fn counts(
    spec: Json,
    interval: u32,
    replicas: u32,
    until: u32,
    wanted: impl Fn(u32) -> u32,
) -> Vec<(u32, u32)> {
    let rules = Rules::new(spec, 1, interval);
    let polls = (0..=until).step_by(interval as usize);
    let polls: Vec<(u32, u64)> = polls
        .map(|second| (second, wanted(second).into()))
        .collect();
    decisions(&rules, replicas, &polls)
        .into_iter()
        .map(|(second, decision)| (second, decision.to))
        .collect()
}

fn decisions(rules: &Rules, replicas: u32, polls: &[(u32, u64)]) -> Vec<(u32, Decision)> {
    let policy = rules.policy();
    let (mut replicas, mut state) = (replicas, None);
    let decided = polls.iter().map(|(second, messages)| {
        let observation = super::observation(rules, replicas, Some(*messages));
        let now = at(i64::from(*second));
        let decision = decide(&policy, &observation, state.as_ref(), now);
        (replicas, state) = (decision.to, Some(decision.state.clone()));
        (*second, decision)
    });
    decided.collect()
}

fn behavior(scale_up: &Json, scale_down: &Json) -> Json {
    json!({"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": scale_up, "scaleDown": scale_down}}})
}

fn last(counts: &[(u32, u32)]) -> u32 {
    counts.last().unwrap().1
}

/// The HPA heeds what was wanted at 190 s: 21. What was wanted until the poll at 170 s is 132 s old by then: 18.
#[test]
fn a_rising_demand_is_followed_through_a_scale_out_window() {
    let spec = json!({
        "minReplicaCount": 1, "maxReplicaCount": 100,
        "advanced": behavior(&json!({"stabilizationWindowSeconds": 120}), &json!({})),
    });
    let counts = counts(spec, 10, 2, 300, |second| 2 + second / 10);
    assert!((18..=21).contains(&last(&counts)), "{counts:?}");
}

/// 5 messages a second too many, and 20 replicas that are just enough at first. Outside the tolerance from 50 s on, which
/// the HPA has heeded alone at 340 s. Here the count held until the poll at 50 s, and for 330 s from then at the most.
#[test]
fn a_backlog_that_grows_because_nothing_scales_is_caught() {
    let spec = json!({
        "minReplicaCount": 1, "maxReplicaCount": 200,
        "advanced": behavior(&json!({"stabilizationWindowSeconds": 300}), &json!({})),
    });
    let rules = Rules::new(spec, 100, 10);
    let demand = Demand::Loop {
        arrive_per_second: 25_000,
        arrive_later: 25_000,
        period_seconds: 10_000,
        served_per_second: 1000,
    };
    let mut supply = Supply::new(demand, 100, None).holding(2000);
    let policy = rules.policy();
    let (mut replicas, mut state, mut second) = (20, None, 0);
    let mut random = Random::new(1);
    while replicas == 20 && second < 5000 {
        let after = if second == 0 { 0 } else { 10 };
        let messages = supply.after(after, replicas, &mut random);
        let observation = super::observation(&rules, replicas, Some(messages));
        let decision = decide(&policy, &observation, state.as_ref(), at(second));
        (replicas, state) = (decision.to, Some(decision.state));
        second += 10;
    }
    let scaled = second - 10;
    assert!((340..=380).contains(&scaled), "{scaled} s");
}

/// The HPA heeds what was wanted from 910 s on: 39. What was wanted until 880 s is not heeded after 330 s any more: 43.
#[test]
fn a_falling_demand_is_followed_without_any_behavior() {
    let spec = json!({"minReplicaCount": 1, "maxReplicaCount": 200});
    let counts = counts(spec, 10, 130, 1200, |second| 130 - second / 10);
    assert!((39..=43).contains(&last(&counts)), "{counts:?}");
}

/// The HPA heeds what was wanted from 5,430 s on: 110. What was wanted until 5,250 s is not heeded after 1,980 s any more: 113.
#[test]
fn a_slowly_falling_demand_is_followed_through_a_long_window() {
    let spec = json!({
        "minReplicaCount": 1, "maxReplicaCount": 300,
        "advanced": behavior(&json!({}), &json!({"stabilizationWindowSeconds": 1800})),
    });
    let counts = counts(spec, 30, 200, 7200, |second| 200 - second / 60);
    assert!((110..=113).contains(&last(&counts)), "{counts:?}");
}

/// When the last of the replicas is gone.
fn at_zero_by(spec: Json, interval: u32, busy: u32) -> Option<u32> {
    let counts = counts(
        spec,
        interval,
        5,
        8000,
        |second| if second <= busy { 5 } else { 0 },
    );
    let mut zeros = counts.iter().filter(|(_, replicas)| *replicas == 0);
    zeros.next().map(|(second, _)| *second)
}

/// More than 300 s after the last poll that saw activity, which was the one at 0 s.
#[test]
fn the_cooldown_decides_about_rest_and_not_the_window() {
    let spec = json!({
        "minReplicaCount": 0, "maxReplicaCount": 10, "cooldownPeriod": 300,
        "advanced": behavior(&json!({}), &json!({"stabilizationWindowSeconds": 3600})),
    });
    assert_eq!(at_zero_by(spec, 30, 0), Some(330));
}

/// With polls as far apart as the cooldown is long: 600 s after the last active one, as under KEDA, and not 900 s.
#[test]
fn the_cooldown_counts_from_the_last_active_poll() {
    let spec = json!({"minReplicaCount": 0, "maxReplicaCount": 10, "cooldownPeriod": 300});
    assert_eq!(at_zero_by(spec, 300, 0), Some(600));
    let spec = json!({"minReplicaCount": 0, "maxReplicaCount": 10, "cooldownPeriod": 300});
    assert_eq!(at_zero_by(spec, 300, 900), Some(1500));
}

/// Without a cooldown, too, a queue that looks empty once may not be.
#[test]
fn rest_needs_two_empty_readings_a_minute_apart() {
    for (interval, expected) in [(10, 70), (30, 90), (60, 120), (100, 200)] {
        let spec = json!({"minReplicaCount": 0, "maxReplicaCount": 10, "cooldownPeriod": 0});
        assert_eq!(at_zero_by(spec, interval, 0), Some(expected), "{interval}");
    }
}

/// A replica a minute, by a policy, and past a window of an hour.
#[test]
fn the_way_to_rest_goes_along_the_policies() {
    let spec = json!({
        "minReplicaCount": 0, "maxReplicaCount": 10, "cooldownPeriod": 120,
        "advanced": behavior(&json!({}), &json!({
            "stabilizationWindowSeconds": 3600, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
        })),
    });
    let counts = counts(spec, 30, 5, 600, |second| if second == 0 { 5 } else { 0 });
    let first = |count| counts.iter().find(|(_, replicas)| *replicas == count);
    let reached: Vec<u32> = [4, 3, 2, 1, 0]
        .map(first)
        .map(|found| found.map_or(0, |one| one.0))
        .into();
    // After 60 s a change no longer counts, and after 66 s one that was merged: by the next poll at the latest.
    for (step, second) in (0..).zip(&reached) {
        assert!(
            (150 + 60 * step..=150 + 90 * step).contains(second),
            "{counts:?}"
        );
    }
}

/// Swings between nothing and as many as there can be sum up to more than a count can hold.
#[test]
fn no_stored_number_outgrows_its_contract() {
    let most = i32::MAX as u32;
    let any = json!({
        "stabilizationWindowSeconds": 0, "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": most, "periodSeconds": 1800}, {"type": "Percent", "value": most, "periodSeconds": 15}],
    });
    let spec =
        json!({"minReplicaCount": 0, "maxReplicaCount": most, "advanced": behavior(&any, &any)});
    let rules = Rules::new(spec, 1, 30);
    let polls: Vec<(u32, u64)> = (0..80)
        .map(|poll| (30 * poll, if poll % 2 == 0 { most.into() } else { 1 }))
        .collect();
    for (second, decision) in decisions(&rules, 1, &polls) {
        let text = decision.state.to_json().to_string();
        let read = outrigger::state::State::parse(&text);
        assert!(
            read.is_ok_and(|read| read == decision.state),
            "at {second} s: {text}"
        );
        assert!(
            text.len() <= super::MAX_STATE_BYTES,
            "at {second} s: {text}"
        );
    }
}
