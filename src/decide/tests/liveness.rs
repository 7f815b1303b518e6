//! Nothing is held for ever: windows that move steadily, the way to rest, and numbers that stay within the contract.

use super::*;

/// Polls every `poll` seconds up to and at second `last`, with the messages of each moment. Returns the last count.
fn follow(policy: &Policy, poll: usize, last: i64, messages: impl Fn(i64) -> u64) -> u32 {
    let mut count = u32::try_from(messages(0) / 10).unwrap();
    let mut state = None;
    for second in (0..=last).step_by(poll) {
        let observation = seen(count, &[visible(messages(second))]);
        let decision = decide(policy, &observation, state.as_ref(), at(second));
        count = decision.to;
        state = Some(decision.state);
    }
    count
}

/// A tenth of the window is the most that a count is held beyond it, and the poll that sees it change.
#[test]
fn a_count_that_moves_steadily_is_not_held_past_its_window_and_a_tenth() {
    let mut rising = policy(1, 10_000, None);
    rising.scale_out.window_seconds = 120;
    let count = follow(&rising, 10, 300, |second| {
        u64::try_from(2 + second / 10).unwrap() * 10
    });
    // Kubernetes has 21.
    assert!((19..=21).contains(&count), "{count}");

    let falling = policy(1, 10_000, None);
    let count = follow(&falling, 10, 1200, |second| {
        u64::try_from(130 - second / 10).unwrap() * 10
    });
    // Kubernetes has 39.
    assert!((39..=43).contains(&count), "{count}");

    let mut slow = policy(1, 10_000, None);
    slow.scale_in.window_seconds = 1800;
    let count = follow(&slow, 30, 7200, |second| {
        u64::try_from(200 - second / 60).unwrap() * 10
    });
    // Kubernetes has 110.
    assert!((110..=114).contains(&count), "{count}");
}

/// 25 messages a second arrive, 20 replicas do one a second each, and the backlog grows because nothing scales.
#[test]
fn a_backlog_that_grows_while_scale_out_waits_ends_the_wait() {
    let mut policy = policy(1, 1000, None);
    policy.triggers = vec![trigger(100, 0)];
    policy.scale_out.window_seconds = 300;
    let (mut backlog, mut count, mut state) = (2000, 20, None);
    for second in (0..4000).step_by(10) {
        let observation = seen(count, &[visible(backlog)]);
        let decision = decide(&policy, &observation, state.as_ref(), at(second));
        if decision.to > 20 {
            // Kubernetes scales out after 340 s.
            assert!(second <= 340 + 30 + 10, "{second}");
            return;
        }
        count = decision.to;
        state = Some(decision.state);
        backlog += 50;
    }
    panic!("never");
}

/// The whole life of an inactive workload, polled every `poll` seconds, active for the last time at second 0: when it rests.
fn rests_after(policy: &Policy, poll: usize, active_polls: i64) -> i64 {
    let poll_seconds = i64::try_from(poll).unwrap();
    let (mut count, mut state) = (5, None);
    for second in (-active_polls * poll_seconds..20_000).step_by(poll) {
        let messages = if second <= 0 { 50 } else { 0 };
        let observation = Observation {
            poll_seconds: NonZeroU32::new(u32::try_from(poll).unwrap()),
            ..seen(count, &[visible(messages)])
        };
        let decision = decide(policy, &observation, state.as_ref(), at(second));
        count = decision.to;
        state = Some(decision.state);
        if count == 0 {
            return second;
        }
    }
    panic!("never");
}

#[test]
fn to_rest_the_cooldown_decides_and_not_the_scale_in_window() {
    let mut policy = policy(0, 16, None);
    policy.scale_in.window_seconds = 3600;
    // KEDA: 330 s.
    assert_eq!(rests_after(&policy, 30, 100), 330);
}

#[test]
fn the_cooldown_counts_from_the_last_active_poll() {
    let mut policy = policy(0, 16, None);
    policy.polling_seconds = NonZeroU32::new(300).unwrap();
    for (poll, rests) in [(300, 600), (60, 360), (30, 330), (10, 310), (100, 400)] {
        assert_eq!(
            rests_after(&policy, poll, 50),
            rests,
            "polled every {poll} s"
        );
    }
    // Never before what is known: the workload became active at the only active poll.
    policy.cooldown_seconds = 100;
    assert_eq!(rests_after(&policy, 60, 0), 120);
}

#[test]
fn merged_scale_events_stay_within_a_replica_count() {
    let mut policy = policy(1, i32::MAX.cast_unsigned(), None);
    policy.scale_in.window_seconds = 0;
    let (mut count, mut state) = (1, None);
    for poll in 0..120 {
        let messages = if poll % 2 == 0 { u64::MAX } else { 10 };
        let observation = seen(count, &[visible(messages)]);
        let decision = decide(&policy, &observation, state.as_ref(), at(poll * 15));
        count = decision.to;
        let text = decision.state.to_json().to_string();
        assert_eq!(State::parse(&text).unwrap(), decision.state, "{text}");
        state = Some(decision.state);
    }
}

/// What a hold that has an end becomes at that end, and a second before, in a world that stands still.
fn at_its_end(
    policy: &Policy,
    observation: &Observation,
    held: &Decision,
) -> Option<[Decision; 2]> {
    let until = held.until?;
    let state = Some(&held.state);
    let before = until - jiff::SignedDuration::from_secs(1);
    Some([before, until].map(|now| decide(policy, observation, state, now)))
}

/// Bursts and lulls of three minutes, and what becomes of each hold at its end.
#[test]
fn every_hold_says_when_it_ends_and_ends_then() {
    let rules = |amount, rules: ScalingRules| ScalingRules {
        select: Some(SelectPolicy::Max),
        policies: vec![RatePolicy {
            amount,
            period_seconds: 45,
        }],
        ..rules
    };
    let mut policy = policy(0, 50, None);
    policy.scale_out = rules(Amount::Pods(4), ScalingRules::SCALE_OUT);
    policy.scale_out.window_seconds = 60;
    policy.scale_in = rules(Amount::Percent(30), ScalingRules::SCALE_IN);
    policy.scale_in.window_seconds = 120;
    let mut held = std::collections::BTreeSet::new();
    let (mut count, mut state) = (1, None);
    for poll in 0..600_i64 {
        let second = poll * 7;
        let messages = [0, 300, 300, 90, 0, 0, 0][usize::try_from(second / 180).unwrap() % 7];
        let observation = seen(count, &[visible(messages)]);
        let decision = decide(&policy, &observation, state.as_ref(), at(second));
        let sentence = &decision.explanation;
        let waits = matches!(
            decision.reason,
            Reason::ScaleInWindow
                | Reason::ScaleOutWindow
                | Reason::ScaleInLimit
                | Reason::ScaleOutLimit
                | Reason::Cooldown
        );
        if waits && !decision.is_scale() {
            held.insert(decision.reason);
            assert!(decision.until > Some(at(second)), "{sentence}");
            let [before, after] = at_its_end(&policy, &observation, &decision).unwrap();
            assert_eq!(before.to, count, "{sentence}, then: {}", before.explanation);
            let has_ended = after.to != count || after.reason != decision.reason;
            assert!(has_ended, "{sentence}, then: {}", after.explanation);
            let end = decision.until.unwrap();
            assert!(
                sentence.ends_with(&format!("; holds until {end}")),
                "{sentence}"
            );
        }
        count = decision.to;
        state = Some(decision.state);
    }
    assert_eq!(held.len(), 5, "{held:?}");
}

/// An alarm polls between two regular polls: the change it made is known, and the cooldown counts from there.
#[test]
fn the_cooldown_counts_from_a_poll_by_an_alarm_that_left_its_mark() {
    let mut policy = policy(0, 16, None);
    policy.polling_seconds = NonZeroU32::new(600).unwrap();
    let (mut count, mut state) = (0, None);
    let mut poll = |second, messages| {
        let observation = seen(count, &[visible(messages)]);
        let decision = decide(&policy, &observation, state.as_ref(), at(second));
        count = decision.to;
        state = Some(decision.state);
        count
    };
    assert_eq!(poll(0, 63), 7);
    assert_eq!(poll(600, 63), 7);
    assert_eq!(poll(1195, 100), 10);
    assert_eq!(
        [1200, 1261, 1495].map(|second| poll(second, 0)),
        [10, 10, 10]
    );
    assert_eq!(poll(1496, 0), 0);
}
