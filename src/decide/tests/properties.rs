//! The invariants, through random lives.

use proptest::prelude::*;

use super::*;
use crate::state::MAX_STATE_BYTES;

fn any_rules() -> impl Strategy<Value = ScalingRules> {
    let amount = prop_oneof![
        (1u32..8).prop_map(Amount::Pods),
        (1u32..300).prop_map(Amount::Percent)
    ];
    let policy = (amount, 1u32..1801).prop_map(|(amount, period_seconds)| RatePolicy {
        amount,
        period_seconds,
    });
    let select = prop_oneof![
        4 => Just(None),
        2 => Just(Some(SelectPolicy::Max)),
        2 => Just(Some(SelectPolicy::Min)),
        1 => Just(Some(SelectPolicy::Disabled)),
    ];
    let window = prop_oneof![Just(0u32), Just(300), 1u32..900];
    (
        window,
        select,
        prop::collection::vec(policy, 1..4),
        0u64..400_000_000,
    )
        .prop_map(
            |(window_seconds, select, policies, tolerance_billionths)| ScalingRules {
                window_seconds,
                select,
                policies,
                tolerance_billionths,
            },
        )
}

fn any_fallback() -> impl Strategy<Value = Option<Fallback>> {
    let behavior = prop_oneof![
        Just(FallbackBehavior::Static),
        Just(FallbackBehavior::CurrentReplicas),
        Just(FallbackBehavior::CurrentReplicasIfHigher),
        Just(FallbackBehavior::CurrentReplicasIfLower),
    ];
    prop::option::of((0u32..4, 0u32..20, behavior).prop_map(
        |(failure_threshold, replicas, behavior)| Fallback {
            failure_threshold,
            replicas,
            behavior,
        },
    ))
}

prop_compose! {
    fn any_policy()(
        (min, extra) in (0u32..6, 0u32..30), idle in prop::option::of(0u32..6), cooldown in 0u32..700, initial in 0u32..700,
        (scale_out, scale_in) in (any_rules(), any_rules()), fallback in any_fallback(),
        switches in any::<(bool, bool, bool)>(), kinds in prop::collection::vec(any_trigger(), 1..4),
    ) -> Policy {
        let max = NonZeroU32::new((min + extra).max(1)).unwrap();
        let idle = idle.filter(|idle| *idle < min);
        Policy {
            bounds: ReplicaBounds::new(min, max, idle).unwrap(),
            cooldown_seconds: cooldown,
            initial_cooldown_seconds: initial,
            scale_out,
            scale_in,
            fallback,
            // Each switch is rare, so that most cases decide for themselves.
            pause: Pause { all: switches == (true, true, true), ..Pause::default() },
            force_activation: switches == (true, false, true),
            triggers: kinds,
            ..policy(0, 1, None)
        }
    }
}

fn any_trigger() -> impl Strategy<Value = Trigger> {
    let queue =
        (1u32..20, 0u64..10, any::<bool>()).prop_map(|(per_replica, activation, for_scale_out)| {
            let mut trigger = trigger(per_replica, activation);
            if let Trigger::SqsQueue(queue) = &mut trigger {
                queue.count_in_flight_for_scale_out = for_scale_out;
            }
            trigger
        });
    // Windows of minutes, so that a life of an hour sees them open and close.
    let windows = prop::sample::select(vec![
        ("*/20 * * * *", "10-59/20 * * * *"),
        ("0 * * * *", "30 * * * *"),
        ("5,50 * * * *", "*/15 * * * *"),
        ("0 8 * * *", "0 18 * * 1-5"),
    ]);
    let zones = prop::sample::select(vec!["UTC", "Europe/Berlin", "Asia/Kolkata"]);
    let cron = (windows, zones, 1u32..30)
        .prop_map(|((start, end), zone, replicas)| cron(start, end, zone, replicas));
    let cloudwatch = (
        1u64..20_000,
        -10i64..10_000,
        prop::option::of(-5i64..20_000),
    )
        .prop_map(|(target, activation, no_data)| cloudwatch(target, activation, no_data));
    prop_oneof![5 => queue, 2 => cron, 2 => cloudwatch]
}

/// What a trigger of any kind may have read.
#[derive(Debug, Clone, Copy)]
enum AnyReading {
    Failed,
    NoData,
    Of(u64, u64),
}

impl AnyReading {
    fn of(self, trigger: Option<&Trigger>) -> Reading {
        match (self, trigger) {
            (_, Some(Trigger::Cron(_))) => Reading::Cron,
            (Self::NoData, Some(Trigger::CloudWatch(_))) => Reading::Metric(None),
            (Self::Failed | Self::NoData, _) => failed(),
            (Self::Of(value, other), Some(Trigger::CloudWatch(_))) => {
                let value = i64::try_from(value).unwrap().saturating_mul(1000);
                Reading::Metric(Some(if other % 7 == 6 { -value } else { value }))
            }
            (Self::Of(visible, in_flight), _) => Reading::Queue(QueueDepth {
                visible,
                in_flight,
                delayed: 7,
            }),
        }
    }
}

/// Whether a reading says nothing to its trigger.
fn is_failed(trigger: &Trigger, reading: &Reading) -> bool {
    let no_data_fails = |trigger: &Trigger| matches!(trigger, Trigger::CloudWatch(trigger) if trigger.no_data_milli.is_none());
    match reading {
        Reading::Failed { .. } => true,
        Reading::Metric(None) => no_data_fails(trigger),
        Reading::Metric(Some(_)) | Reading::Queue(_) | Reading::Cron => false,
    }
}

fn any_reading() -> impl Strategy<Value = AnyReading> {
    prop_oneof![
        1 => Just(AnyReading::Failed),
        1 => Just(AnyReading::NoData),
        2 => Just(AnyReading::Of(0, 0)),
        4 => (0u64..200, 0u64..20).prop_map(|(visible, in_flight)| AnyReading::Of(visible, in_flight)),
        1 => any::<(u64, u64)>().prop_map(|(visible, in_flight)| AnyReading::Of(visible / 2000, in_flight)),
    ]
}

fn any_rollout() -> impl Strategy<Value = Option<Rollout>> {
    prop_oneof![
        3 => Just(None),
        1 => any::<(bool, bool, bool, bool, bool)>().prop_map(|(paused, aborted, updating, pause_step, handover)| {
            Some(Rollout { paused, aborted, updating, pause_step, handover })
        }),
    ]
}

/// One pass of a random life: seconds since the last, readings, state of the Rollout, a foreign count, whether the write is lost.
type Step = (i64, Vec<AnyReading>, Option<Rollout>, Option<u32>, bool);

fn any_step() -> impl Strategy<Value = Step> {
    let foreign = prop_oneof![9 => Just(None), 1 => (0u32..40).prop_map(Some)];
    let lost = prop_oneof![9 => Just(false), 1 => Just(true)];
    (
        0i64..200,
        prop::collection::vec(any_reading(), 3),
        any_rollout(),
        foreign,
        lost,
    )
}

/// Runs a life and hands each decision with its inputs to `inspect`.
fn live(
    policy: &Policy,
    start: u32,
    steps: &[Step],
    mut inspect: impl FnMut(&Observation, Option<&State>, Timestamp, &Decision),
) {
    let (mut replicas, mut state, mut seconds) = (start, None, 0);
    for (pause, readings, rollout, foreign, lost) in steps {
        seconds += pause;
        replicas = foreign.unwrap_or(replicas);
        let observation = Observation {
            workload: Workload {
                replicas,
                rollout: *rollout,
            },
            readings: (readings.iter().enumerate())
                .map(|(index, reading)| reading.of(policy.triggers.get(index)))
                .collect(),
            stop: Stop::default(),
            conflicts: Vec::new(),
            poll_seconds: None,
        };
        let decision = decide(policy, &observation, state.as_ref(), at(seconds));
        inspect(&observation, state.as_ref(), at(seconds), &decision);
        if !lost {
            replicas = decision.to;
        }
        state = Some(decision.state);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn invariants_hold_through_any_life(policy in any_policy(), start in 0u32..40, steps in prop::collection::vec(any_step(), 1..40)) {
        let mut last_not_empty = at(0);
        live(&policy, start, &steps, |observation, state, now, decision| {
            let bounds = policy.bounds;
            let current = observation.workload.replicas;
            let mut used = policy.triggers.iter().zip(&observation.readings);
            let any_failed = used.any(|(trigger, reading)| is_failed(trigger, reading));
            let demand = Demand::of(&policy, &observation.readings, &decision.state, current, now);
            if demand.active != Some(false) || policy.pause.all {
                last_not_empty = now;
            }

            // A scaling action stays within the bounds, zero and idle apart.
            let resting = matches!(decision.reason, Reason::ScaledToZero | Reason::ScaledToIdle);
            if decision.is_scale() && !resting {
                assert!((bounds.min()..=bounds.max()).contains(&decision.to), "{}", decision.explanation);
                assert!(decision.to > 0, "{}", decision.explanation);
            }
            // A failed reading never scales in, bounds apart.
            if any_failed && decision.to < current {
                assert_eq!(decision.reason, Reason::AboveMax);
            }
            // Never to rest before the cooldown, nor within a minute of the last reading that was not empty.
            if resting {
                assert!(now.duration_since(last_not_empty).as_secs() >= 60 || last_not_empty == at(0));
                let state = state.unwrap();
                if let Some(end) = state.last_active {
                    assert!(now.duration_since(end).as_secs() > i64::from(policy.cooldown_seconds));
                }
            }
            // Deciding again on the applied result changes nothing, but for a count of failures on its way to the fallback.
            if policy.fallback.is_none() || !any_failed {
                let applied = Observation { workload: Workload { replicas: decision.to, ..observation.workload }, ..observation.clone() };
                let again = decide(&policy, &applied, Some(&decision.state), now);
                assert_eq!(again.to, decision.to, "{} then {}", decision.explanation, again.explanation);
                let settled = decide(&policy, &applied, Some(&again.state), now);
                assert_eq!(settled.state, again.state);
            }
            // Same inputs, same bytes; and what is remembered survives its JSON and stays small.
            assert_eq!(&decide(&policy, observation, state, now), decision);
            let json = decision.state.to_json().to_string();
            assert_eq!(json.len(), decision.state.text_len(), "{json}");
            assert!(json.len() <= MAX_STATE_BYTES, "{json}");
            assert_eq!(State::parse(&json).unwrap(), decision.state);
        });
    }

    #[test]
    fn more_backlog_never_wants_fewer(
        policy in any_policy(), start in 0u32..40, steps in prop::collection::vec(any_step(), 1..12), more in 1u64..500, index in 0usize..3,
    ) {
        live(&policy, start, &steps, |observation, state, now, decision| {
            let mut larger = observation.clone();
            match larger.readings.get_mut(index) {
                Some(Reading::Queue(depth)) => depth.visible = depth.visible.saturating_add(more),
                Some(Reading::Metric(Some(value))) => *value = value.saturating_add_unsigned(more),
                Some(Reading::Metric(None) | Reading::Cron | Reading::Failed { .. }) | None => {}
            }
            let other = decide(&policy, &larger, state, now);
            assert!(other.to >= decision.to, "{}\n{}", decision.explanation, other.explanation);
        });
    }

    #[test]
    fn any_counts_are_decided_without_a_panic(
        policy in any_policy(), replicas in any::<u32>(), depth in any::<(u64, u64, u64)>(), value in any::<Option<i64>>(),
        seconds in 0i64..4_000_000_000, mixed in any::<bool>(),
    ) {
        let depth = QueueDepth { visible: depth.0, in_flight: depth.1, delayed: depth.2 };
        let reading = |trigger: &Trigger| match trigger {
            Trigger::CloudWatch(_) if !mixed => Reading::Metric(value),
            Trigger::Cron(_) if !mixed => Reading::Cron,
            _ => Reading::Queue(depth),
        };
        let readings: Vec<Reading> = policy.triggers.iter().map(reading).collect();
        let observation = seen(replicas, &readings);
        let decision = decide(&policy, &observation, None, Timestamp::from_second(seconds).unwrap());
        let _replayed = decide(&policy, &observation, Some(&decision.state), Timestamp::MIN);
        let _replayed = decide(&policy, &observation, Some(&decision.state), Timestamp::MAX);
    }
}
