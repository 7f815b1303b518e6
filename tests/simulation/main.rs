//! Random lives of a modelled world, with the real pass in the middle of it: queues whose counts lag, workloads that follow
//! slowly, rollouts, faults of every port, passes that overlap, come late or are killed, clocks that jump, people who interfere.
//!
//! Each life is a script of actions and nothing else, so it can be run again, and be made shorter as long as it still fails.
//! What must hold is said in `watch`, by naive means of its own: full logs where the function keeps run lengths.
//!
//! In `beside` the decision alone lives beside an HPA, without a world and its faults: there it must do as the HPA does, and
//! in time. Both run from a fixed seed in `cargo test`; `benches/simulate` runs as many steps as one has time for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs,
    reason = "tests"
)]

mod beside;
mod demand;
mod hpa;
mod life;
mod random;
mod rules;
mod script;
mod servers;
mod watch;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use life::Tally;
use random::Random;
use script::Script;

/// Steps of one life. A long one finds what takes long to build up, a short one begins anew with other rules.
const LIFE: usize = 400;

/// Steps in `cargo test`.
const STEPS: usize = 20_000;

#[test]
fn the_invariants_hold_through_random_lives() {
    let (steps, seed) = asked(STEPS);
    let mut tally = Tally::default();
    let mut seeds = Random::new(seed);
    while tally.steps < steps {
        let script = Script::random(seeds.next(), LIFE);
        match live(&script) {
            Ok(more) => tally.add(&more),
            Err(failure) => {
                let (shorter, failure) = shortened(script, failure);
                panic!(
                    "after {} steps with SIMULATE_SEED={seed}, and shortened: {failure}\n{shorter}",
                    tally.steps
                );
            }
        }
    }
    eprintln!("seed {seed}: {tally:#?}");
    tally.assert_that_much_happened();
}

/// How many steps from which seed: `SIMULATE_STEPS` and `SIMULATE_SEED`.
fn asked(usual: usize) -> (usize, u64) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the only way to ask a test for more"
    )]
    let asked = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let steps = asked("SIMULATE_STEPS").map_or(usual, |steps: u64| steps.try_into().unwrap());
    (steps, asked("SIMULATE_SEED").unwrap_or(1))
}

/// Runs a life; a panic of the function is a failure like any other.
fn live(script: &Script) -> Result<Tally, String> {
    catch_unwind(AssertUnwindSafe(|| life::run(script))).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", text.unwrap_or("with no message")))
    })
}

/// Leaves out actions for as long as the life still fails, in ever smaller pieces.
fn shortened(mut script: Script, mut failure: String) -> (Script, String) {
    let mut piece = script.actions.len() / 2;
    while piece > 0 {
        let mut start = 0;
        while start < script.actions.len() {
            let mut shorter = script.clone();
            let end = (start + piece).min(shorter.actions.len());
            shorter.actions.drain(start..end);
            match live(&shorter) {
                Err(again) => (script, failure) = (shorter, again),
                Ok(_) => start += piece,
            }
        }
        piece /= 2;
    }
    (script, failure)
}

/// How often something happened, by name.
type Counts = BTreeMap<&'static str, u64>;
