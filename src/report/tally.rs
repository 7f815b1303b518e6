//! What the passes of one invocation come to.
//!
//! Kept small: a window may hold hundreds of passes over a thousand targets, of each of which one outcome is told.

use std::collections::BTreeMap;

use super::{Notices, and_more, messages};
use crate::decide::Reason;
use crate::pass::{Effect, Outcome, Passed};

/// The outcomes of an invocation, by target.
#[derive(Debug, Default)]
pub struct Tally<'t> {
    /// By the target's place in the list that was asked for, which is the order of everything told.
    targets: BTreeMap<usize, Polled<'t>>,
    scaled_out: usize,
    scaled_in: usize,
    lost_races: usize,
    notices: Notices,
}

/// A target and its polls.
#[derive(Debug)]
pub(super) struct Polled<'t> {
    /// The last outcome that was more than a hold, else the last.
    pub(super) told: Outcome<'t>,
    pub(super) polls: usize,
    /// Polls that failed.
    pub(super) failed: usize,
    /// What went wrong in the first of them.
    cause: Option<String>,
    /// Why the count is what it is, by the last poll that could tell.
    pub(super) reason: Option<Reason>,
    /// The messages that the last poll saw that could read them.
    messages: Option<u64>,
    /// Whether no poll did or tried more than to hold.
    held: bool,
}

impl<'t> Tally<'t> {
    /// Adds a pass: the places of its targets, and their outcomes in the same order.
    pub fn add(&mut self, places: &[usize], outcomes: Vec<Outcome<'t>>) {
        for (place, outcome) in places.iter().zip(outcomes) {
            match outcome.effect {
                Effect::Scaled if outcome.is_scale_in() => self.scaled_in += 1,
                Effect::Scaled => self.scaled_out += 1,
                Effect::LostRace => self.lost_races += 1,
                Effect::AtRest
                | Effect::Held
                | Effect::DryRun
                | Effect::Shadow
                | Effect::NotReached
                | Effect::NotDone => {}
            }
            match self.targets.get_mut(place) {
                Some(polled) => polled.add(outcome),
                None => drop(self.targets.insert(*place, Polled::new(outcome))),
            }
        }
    }

    /// Adds what a pass says of namespaces.
    pub fn note(&mut self, passed: &Passed<'_>) {
        let _logged_by_the_environment = self.notices.update(passed);
    }

    pub(super) fn notices(&self) -> &Notices {
        &self.notices
    }

    /// Whether no target was polled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    pub(super) fn targets(&self) -> impl Iterator<Item = &Polled<'t>> {
        self.targets.values()
    }

    pub(super) fn failed(&self) -> impl Iterator<Item = &Polled<'t>> {
        self.targets().filter(|polled| polled.failed > 0)
    }

    /// Changes are counted each, targets and their messages once however often they were polled.
    pub(super) fn totals(&self, failed: usize) -> Totals {
        Totals {
            targets: self.targets.len(),
            scaled_out: self.scaled_out,
            scaled_in: self.scaled_in,
            held: self.targets().filter(|polled| polled.held).count(),
            lost_races: self.lost_races,
            failed,
            messages: self
                .targets()
                .filter_map(|polled| polled.messages)
                .reduce(u64::saturating_add),
        }
    }
}

impl<'t> Polled<'t> {
    fn new(outcome: Outcome<'t>) -> Self {
        Self {
            polls: 1,
            failed: usize::from(outcome.is_failed()),
            cause: cause(&outcome),
            reason: reason(&outcome),
            messages: outcome.decided.as_ref().and_then(messages),
            held: is_hold(&outcome),
            told: outcome,
        }
    }

    fn add(&mut self, outcome: Outcome<'t>) {
        self.polls += 1;
        self.failed += usize::from(outcome.is_failed());
        if self.cause.is_none() {
            self.cause = cause(&outcome);
        }
        self.reason = reason(&outcome).or(self.reason);
        self.messages = outcome
            .decided
            .as_ref()
            .and_then(messages)
            .or(self.messages);
        let is_hold = is_hold(&outcome);
        if !is_hold || self.held {
            self.told = outcome;
        }
        self.held &= is_hold;
    }

    /// What went wrong first, and how often something did.
    pub(super) fn cause(&self) -> String {
        let cause = self.cause.as_deref().unwrap_or_default();
        match self.polls {
            1 => cause.to_owned(),
            polls => format!("{cause} (in {} of {polls} polls)", self.failed),
        }
    }
}

/// The sums of an invocation.
#[derive(Debug)]
pub(super) struct Totals {
    pub(super) targets: usize,
    pub(super) scaled_out: usize,
    pub(super) scaled_in: usize,
    pub(super) held: usize,
    pub(super) lost_races: usize,
    pub(super) failed: usize,
    /// `None` where no poll could read any.
    pub(super) messages: Option<u64>,
}

fn is_hold(outcome: &Outcome<'_>) -> bool {
    matches!(
        outcome.effect,
        Effect::Held | Effect::DryRun | Effect::Shadow
    )
}

fn reason(outcome: &Outcome<'_>) -> Option<Reason> {
    let decided = outcome.decided.as_ref()?;
    Some(decided.decision.reason)
}

fn cause(outcome: &Outcome<'_>) -> Option<String> {
    let first = outcome.faults.first().map(ToString::to_string);
    let first = first.unwrap_or_else(|| "was not reached".to_owned());
    let more = and_more(outcome.faults.len().saturating_sub(1));
    outcome.is_failed().then(|| format!("{first}{more}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Configuration, Context, read};
    use crate::ports::Fault;

    fn configuration() -> Configuration {
        let object = |name: &str| {
            format!(
                "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {{name: {name}}}\nspec:\n  scaleTargetRef: {{name: {name}}}\n  \
                 triggers:\n  - type: aws-sqs-queue\n    metadata: {{queueURL: q, awsRegion: eu-west-1, identityOwner: operator}}\n"
            )
        };
        let text = format!("{}---\n{}", object("a"), object("b"));
        let context = Context {
            file: "test.yaml",
            namespace: "default",
            clusters: &[],
        };
        read(text.as_bytes(), context)
    }

    fn outcome<'t>(
        configuration: &'t Configuration,
        place: usize,
        effect: Effect,
        faults: &[&str],
    ) -> Outcome<'t> {
        Outcome {
            target: &configuration.targets[place],
            decided: None,
            seen: None,
            effect,
            faults: faults
                .iter()
                .map(|fault| Fault::failed("Code", *fault))
                .collect(),
        }
    }

    /// The effect that is told of target 0 after these, one a pass.
    #[track_caller]
    fn check(effects: &[Effect], told: Effect, held: usize) {
        let configuration = configuration();
        let mut tally = Tally::default();
        for effect in effects {
            tally.add(&[0], vec![outcome(&configuration, 0, *effect, &[])]);
        }
        let polled: Vec<_> = tally.targets().collect();
        assert_eq!(polled.len(), 1);
        assert_eq!(
            (polled[0].told.effect, polled[0].polls),
            (told, effects.len())
        );
        let totals = tally.totals(0);
        assert_eq!((totals.targets, totals.held), (1, held), "{effects:?}");
    }

    #[test]
    fn the_last_that_was_more_than_a_hold_is_told() {
        use Effect::{Held, LostRace, Scaled, Shadow};
        check(&[Held, Held], Held, 1);
        check(&[Scaled, Held], Scaled, 0);
        check(&[Held, LostRace, Scaled, Held], Scaled, 0);
        check(&[Scaled, LostRace], LostRace, 0);
        // In shadow mode nothing was done, so the last word counts.
        check(&[Held, Shadow], Shadow, 1);
        check(&[Shadow, Held], Held, 1);
        check(&[Shadow, LostRace, Shadow], LostRace, 0);
    }

    #[test]
    fn changes_are_summed_and_targets_are_not() {
        let configuration = configuration();
        let mut tally = Tally::default();
        for effects in [
            [Effect::Scaled, Effect::Held],
            [Effect::Scaled, Effect::LostRace],
            [Effect::LostRace, Effect::LostRace],
        ] {
            let outcomes = [0, 1].map(|place| outcome(&configuration, place, effects[place], &[]));
            tally.add(&[0, 1], outcomes.into());
        }
        let totals = tally.totals(7);
        let counts = (totals.targets, totals.scaled_out, totals.lost_races);
        assert_eq!((counts, totals.failed), ((2, 2, 3), 7));
        // Nobody could read a queue.
        assert_eq!(totals.messages, None);
    }

    #[test]
    fn where_nothing_was_polled_nothing_is_said_of_targets() {
        let names = |tally: &Tally<'_>| -> Vec<&str> {
            let totals = tally.totals(0);
            totals.values(5).map(|(name, _)| name).collect()
        };
        let mut tally = Tally::default();
        let nothing = ["ScaledOut", "ScaledIn", "LostRaces", "Failed", "Duration"];
        assert_eq!(names(&tally), nothing);
        let configuration = configuration();
        tally.add(&[0], vec![outcome(&configuration, 0, Effect::Held, &[])]);
        let unread = [
            "Targets",
            "ScaledOut",
            "ScaledIn",
            "Held",
            "LostRaces",
            "Failed",
            "Duration",
        ];
        assert_eq!(names(&tally), unread);
    }

    #[test]
    fn a_failed_poll_is_told_with_the_first_cause() {
        let configuration = configuration();
        let mut tally = Tally::default();
        let failing: [&[&str]; 4] = [&[], &["first", "with it"], &["later"], &[]];
        for faults in failing {
            let outcomes = vec![
                outcome(&configuration, 1, Effect::Held, faults),
                outcome(&configuration, 0, Effect::Held, &[]),
            ];
            tally.add(&[1, 0], outcomes);
        }
        let failed: Vec<_> = tally.failed().collect();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].told.target.id.name, "b");
        assert_eq!(failed[0].cause(), "first (and 1 more) (in 2 of 4 polls)");

        let mut tally = Tally::default();
        tally.add(
            &[0],
            vec![outcome(&configuration, 0, Effect::NotReached, &[])],
        );
        let causes: Vec<_> = tally.failed().map(Polled::cause).collect();
        assert_eq!(causes, ["was not reached"]);
    }
}
