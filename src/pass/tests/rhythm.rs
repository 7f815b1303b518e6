//! How soon a burst is answered, in modelled time: the windows, polls and follow-up polls of one target after another, with the
//! real pass at each, over all phases of burst and poll. The figures of KEDA and the HPA are those of KEDA 2.20.2 on a real API
//! server: 70 to 73 s for the block below, about 40 s for the first manifest.

use super::*;
use crate::ticks::{Tick, Ticks, Window};
use std::num::NonZeroU32;

/// A schedule that fires every minute, and what it scales.
struct Schedule {
    servers: Servers,
    configuration: Configuration,
    sync_seconds: u32,
}

impl Schedule {
    fn new(spec: &str, sync_seconds: u32, replicas: u32) -> Self {
        let object = object("worker", "worker").replace(
            "  minReplicaCount: 2\n  maxReplicaCount: 16\n",
            &format!("  {}\n", spec.replace('\n', "\n  ")),
        );
        let context = Context {
            file: "test.yaml",
            namespace: "default",
            clusters: &[],
        };
        let configuration = read(object.as_bytes(), context);
        assert_eq!(configuration.errors().count(), 0);
        Self {
            servers: Servers::new(&[("worker", 0, replicas)]),
            configuration,
            sync_seconds,
        }
    }

    /// One invocation, with the backlog of each moment. The polls and the counts after them.
    async fn invoke(&self, second: i64, backlog: impl Fn(i64) -> u64) -> Vec<(i64, u32)> {
        let window = Window {
            seconds: NonZeroU32::new(60).unwrap(),
            sync_seconds: NonZeroU32::new(self.sync_seconds).unwrap(),
            event_time: Some(at(second)),
            time_left: None,
        };
        let targets = &self.configuration.targets;
        let intervals: Vec<NonZeroU32> = targets
            .iter()
            .map(|target| target.policy.polling_seconds)
            .collect();
        let mut ticks = Ticks::over(window, &intervals);
        let mut polls = Vec::new();
        let mut elapsed = 0;
        while let Some(Tick {
            offset,
            targets: due,
        }) = ticks.next_after(elapsed)
        {
            elapsed = offset;
            let now = second + i64::from(offset);
            self.servers.set_depth("worker", backlog(now));
            let due: Vec<Due<'_>> = due
                .iter()
                .map(|poll| Due {
                    target: &targets[poll.target],
                    unless_at_rest: poll.unless_at_rest,
                    over_budget: None,
                })
                .collect();
            for outcome in self.pass(due, now).await {
                ticks.found(0, offset, outcome.found(at(now)));
                if outcome.effect != Effect::AtRest {
                    polls.push((now, self.servers.replicas("worker")));
                }
            }
        }
        polls
    }

    async fn pass<'t>(&'t self, due: Vec<Due<'t>>, now: i64) -> Vec<Outcome<'t>> {
        let plan = Plan {
            now: at(now),
            deadline: None,
            default_cluster: "prod",
            poll_seconds: NonZeroU32::new(self.sync_seconds),
            stops: &self.servers.stops,
            function: None,
            known: None,
        };
        run(world_of(&self.servers), due, plan).await.outcomes
    }

    /// Seconds from a burst until a count is set.
    async fn answers(&self, burst: i64, messages: u64, wanted: u32) -> i64 {
        for second in (0..burst + 900).step_by(60) {
            let backlog = |now| if now < burst { 0 } else { messages };
            let polls = self.invoke(second, backlog).await;
            if let Some((now, _)) = polls.iter().find(|(_, count)| *count >= wanted) {
                return now - burst;
            }
        }
        panic!("never");
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the figures, for `cargo test rhythm -- --nocapture`"
)]
/// The mean and the longest of the answers to bursts at every phase.
async fn over_phases(
    spec: &str,
    sync_seconds: u32,
    replicas: u32,
    messages: u64,
    wanted: u32,
) -> (f64, i64) {
    // The windows and an interval of 100 s repeat after 300 s.
    let (mut sum, mut longest, mut phases) = (0, 0, 0);
    for phase in (0..300).step_by(7) {
        phases += 1;
        let schedule = Schedule::new(spec, sync_seconds, replicas);
        let seconds = schedule.answers(600 + phase, messages, wanted).await;
        sum += seconds;
        longest = longest.max(seconds);
    }
    let mean = f64::from(i32::try_from(sum).unwrap()) / f64::from(phases);
    eprintln!("sync {sync_seconds}: mean {mean:.1} s, longest {longest} s: {spec:?}");
    (mean, longest)
}

fn block(poll: u32) -> String {
    format!(
        "minReplicaCount: 2\nmaxReplicaCount: 100\npollingInterval: {poll}\nadvanced: {{horizontalPodAutoscalerConfig: {{behavior: \
         {{scaleUp: {{policies: [{{type: Percent, value: 100, periodSeconds: 15}}, {{type: Pods, value: 4, periodSeconds: 15}}]}}}}}}}}"
    )
}

/// Five steps along four periods of 15 s: 60 s from the first look on. A step that falls into the last 10 s of a window, in which
/// no pass begins, waits for the next.
#[tokio::test]
async fn a_climb_along_policies_takes_their_periods_and_the_first_look() {
    for (poll, in_the_mean) in [(10, 67.0), (30, 75.0), (60, 90.0)] {
        let (mean, longest) = over_phases(&block(poll), 60, 2, 960, 96).await;
        assert!(mean <= in_the_mean, "{poll}: {mean}");
        assert!(longest <= 60 + i64::from(poll) + 5, "{poll}: {longest}");
    }
    // Wherever one pays for the HPA's own rhythm, no slower than KEDA.
    for poll in [10, 30, 60, 300] {
        let (mean, longest) = over_phases(&block(poll), 15, 2, 960, 96).await;
        assert!(mean <= 68.0 && longest <= 75, "{poll}: {mean}, {longest}");
    }
}

#[tokio::test]
async fn a_long_interval_does_not_slow_down_what_is_awake() {
    let manifest = "minReplicaCount: 2\nmaxReplicaCount: 16\npollingInterval: 100";
    let (mean, longest) = over_phases(manifest, 60, 2, 1000, 16).await;
    assert!(mean <= 35.0 && longest <= 62, "{mean}, {longest}");
    // At zero it counts, as in KEDA: 100 s and the rest of a window.
    let at_zero = "minReplicaCount: 0\nmaxReplicaCount: 16\npollingInterval: 100";
    let (_, longest) = over_phases(at_zero, 60, 0, 1000, 16).await;
    assert!((100..=160).contains(&longest), "{longest}");
}

#[tokio::test]
async fn a_slow_target_that_rests_costs_one_read_of_its_workload() {
    let spec = "minReplicaCount: 0\nmaxReplicaCount: 16\npollingInterval: 300";
    let schedule = Schedule::new(spec, 60, 0);
    let mut polls = Vec::new();
    for second in (0..1200).step_by(60) {
        polls.extend(schedule.invoke(second, |_| 0).await);
        let calls = schedule.servers.calls();
        if second > 0 && second % 300 != 0 {
            assert_eq!(calls, ["read worker"], "{second}");
        }
    }
    let times: Vec<i64> = polls.iter().map(|(now, _)| *now).collect();
    assert_eq!(times, [0, 300, 600, 900]);
}

/// A backlog that doubles every 20 s from the burst on, 10 messages a replica.
fn doubling(burst: i64) -> impl Fn(i64) -> u64 + Copy {
    move |now| {
        let doublings = u32::try_from((now - burst).max(0)).unwrap();
        let replicas = 2.0 * 2f64.powf(f64::from(doublings) / 20.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and some thousands"
        )]
        let messages = (replicas * 10.0) as u64;
        messages
    }
}

/// From its first change on, the count lags behind the ramp by no more than the HPA's rhythm, at every interval.
#[tokio::test]
async fn a_ramp_is_followed_in_the_rhythm_of_the_hpa() {
    for poll in [10, 30, 60, 100] {
        for phase in (0..120).step_by(7) {
            let spec =
                format!("minReplicaCount: 2\nmaxReplicaCount: 1000\npollingInterval: {poll}");
            let schedule = Schedule::new(&spec, 60, 2);
            let burst = 600 + phase;
            let backlog = doubling(burst);
            let mut polls = Vec::new();
            for second in (0..burst + 240).step_by(60) {
                polls.extend(schedule.invoke(second, backlog).await);
            }
            let first = polls.iter().position(|(_, count)| *count > 2).unwrap();
            let ends = |count: u32| count == 1000;
            for pair in polls[first..]
                .windows(2)
                .take_while(|pair| !ends(pair[0].1))
            {
                let [(before, _), (now, count)] = pair else {
                    unreachable!();
                };
                // The HPA looks every 15 s, and then knows what was there at most 15 s ago.
                assert!(now - before <= 15, "{poll}, {phase}: {polls:?}");
                // Within the tolerance.
                let enough = u64::from(*count) * 11 >= backlog(*now).min(10_000);
                assert!(enough, "{poll}, {phase}: {polls:?}");
            }
        }
    }
}
