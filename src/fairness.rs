//! Who comes first where the time of an invocation runs out: those that the last ones did not reach.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::manifest::Target;
use crate::pass::{Effect, Outcome};

/// How often in a row each target was not reached, kept while the environment is warm.
#[derive(Debug, Default)]
pub struct Missed(HashMap<String, u32>);

impl Missed {
    /// Whether the last poll of a target was due and did not reach it.
    #[must_use]
    pub fn is_owed(&self, target: &Target) -> bool {
        self.0.contains_key(&key(target))
    }

    /// Puts the polls of a pass into the order in which they begin: first who has waited longest, so that every target has its
    /// turn, however few are reached each time. Among equals namespaces take turns, and others come first at each `turn`, for
    /// environments that know nothing of each other.
    pub fn order<T>(&self, polls: &mut [(T, &Target)], turn: i64) {
        let first = start(turn, polls.len());
        polls.rotate_left(first);
        let missed = |target: &Target| self.0.get(&key(target)).copied().unwrap_or_default();
        polls.sort_by_cached_key(|(_, target)| Reverse(missed(target)));
        // Namespaces take turns: the first poll of each, then the second of each.
        let mut polled: HashMap<(u32, Option<String>, String), usize> = HashMap::new();
        polls.sort_by_cached_key(|(_, target)| {
            let missed = missed(target);
            let namespace = target.id.namespace.clone();
            let polled = polled.entry((missed, target.cluster.clone(), namespace));
            let nth = polled.and_modify(|nth| *nth += 1).or_default();
            (Reverse(missed), *nth)
        });
    }

    /// Takes in what came of a target.
    pub fn note(&mut self, outcome: &Outcome<'_>) {
        let key = key(outcome.target);
        if outcome.effect == Effect::NotReached {
            let missed = self.0.entry(key).or_default();
            *missed = missed.saturating_add(1);
        } else {
            self.0.remove(&key);
        }
    }
}

/// Which of so many begins at a turn: another one at each, for environments that know nothing of each other.
pub(crate) fn start(turn: i64, count: usize) -> usize {
    // Multiples of the golden ratio spread evenly over a circle, in whatever steps they are taken.
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let share = u128::from(turn.cast_unsigned().wrapping_mul(GOLDEN));
    usize::try_from((share * count as u128) >> 64).unwrap_or_default()
}

fn key(target: &Target) -> String {
    let cluster = target.cluster.as_deref().unwrap_or_default();
    format!("{cluster}/{}", target.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Configuration, Context, read};

    fn configuration(count: usize) -> Configuration {
        let objects = (0..count).map(|index| {
            format!(
                "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {{name: w{index:03}}}\nspec:\n  scaleTargetRef: {{name: \
                 w{index:03}}}\n  triggers:\n  - type: aws-sqs-queue\n    metadata: {{queueURL: orders, awsRegion: eu-west-1, \
                 identityOwner: operator}}\n"
            )
        });
        let text = objects.collect::<Vec<_>>().join("---\n");
        let context = Context {
            file: "test.yaml",
            namespace: "default",
            clusters: &[],
        };
        read(text.as_bytes(), context)
    }

    /// The most invocations in a row that do not reach a target, where each reaches so many, in a run of environments that stay
    /// warm or not.
    fn longest_wait(targets: usize, reached: usize, step: i64, is_warm: bool) -> u32 {
        let configuration = configuration(targets);
        let mut missed = Missed::default();
        let mut waits: HashMap<String, u32> = HashMap::new();
        let mut longest = 0;
        for turn in (1000..1000 + 60 * step).step_by(usize::try_from(step).unwrap()) {
            if !is_warm {
                missed = Missed::default();
            }
            let all = configuration.targets.iter();
            let mut polls: Vec<(usize, &Target)> = all.enumerate().collect();
            missed.order(&mut polls, turn);
            for (place, (_, target)) in polls.into_iter().enumerate() {
                let effect = if place < reached {
                    Effect::Held
                } else {
                    Effect::NotReached
                };
                let wait = waits.entry(key(target)).or_default();
                *wait = if place < reached { 0 } else { *wait + 1 };
                longest = longest.max(*wait);
                missed.note(&Outcome {
                    target,
                    decided: None,
                    seen: None,
                    effect,
                    faults: Vec::new(),
                });
                assert_eq!(missed.is_owed(target), effect == Effect::NotReached);
            }
        }
        longest
    }

    #[test]
    fn a_target_that_is_not_reached_is_reached_by_one_of_the_next_two() {
        // Whatever the rhythm in which they are due, in windows.
        for step in [1, 3, 5, 6, 10, 15, 60] {
            assert_eq!(longest_wait(300, 100, step, true), 2, "{step}");
            assert_eq!(longest_wait(300, 128, step, true), 2, "{step}");
        }
        // Of fewer, each has its turn when those before it had theirs.
        assert_eq!(longest_wait(600, 96, 1, true), 6);
        assert_eq!(longest_wait(50, 1, 3, true), 49);
    }

    #[test]
    fn namespaces_take_turns_in_the_order_of_a_pass() {
        let mut configuration = configuration(7);
        for (target, namespace) in configuration.targets.iter_mut().zip("aaaaabb".chars()) {
            target.id.namespace = namespace.to_string();
        }
        let missed = Missed::default();
        let ordered = |missed: &Missed| {
            let targets = configuration.targets.iter();
            let mut polls: Vec<((), &Target)> = targets.map(|target| ((), target)).collect();
            missed.order(&mut polls, 0);
            let names = polls.iter().map(|((), target)| target.id.to_string());
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            ordered(&missed),
            "a/w000 b/w005 a/w001 b/w006 a/w002 a/w003 a/w004"
        );
        // What was not reached comes before that, in turns too.
        let mut missed = missed;
        for index in [2, 3, 6] {
            missed.note(&Outcome {
                target: &configuration.targets[index],
                decided: None,
                seen: None,
                effect: Effect::NotReached,
                faults: Vec::new(),
            });
        }
        assert_eq!(
            ordered(&missed),
            "a/w002 b/w006 a/w003 a/w000 b/w005 a/w001 a/w004"
        );
    }

    #[test]
    fn environments_that_know_nothing_of_each_other_starve_no_target() {
        for step in [1, 3, 5, 6, 10, 15, 60] {
            let wait = longest_wait(300, 128, step, false);
            assert!(wait < 10, "{step}: {wait}");
            let wait = longest_wait(600, 96, step, false);
            assert!(wait < 20, "{step}: {wait}");
        }
    }
}
