//! What is done about a decision, with a hand for live targets and one for shadow targets.

use std::cell::Cell;
use std::time::Duration;

use super::ledger::Group;
use super::writer::Turn;
use super::{About, CALL_AT_MOST, Calls, Decided, Effect};
use crate::calls::Limits;
use crate::manifest::Target;
use crate::ports::{
    Change, Fault, FaultKind, LiveMemories, Namespace, Place, Scaler, Seen, ShadowMemories,
    StateWrite,
};
use crate::state::{Author, State};

/// No count is begun with less time left than this: it could be cut off, and nothing would tell whether it was written. The changes
/// of those that are left out are taken back meanwhile, in one patch a namespace.
const COUNT_RESERVE: Duration = Duration::from_secs(2);

/// What writes.
pub(super) trait Hand {
    /// Replaces what is remembered of some targets of a namespace, with one result each.
    async fn remember(
        &self,
        namespace: &Namespace,
        writes: &[StateWrite],
    ) -> Vec<Result<(), Fault>>;

    /// Changes the count, or does what this hand does instead.
    async fn scale(&self, place: &Place, change: &Change) -> Result<Effect, Fault>;
}

/// Writes memory and counts.
pub(super) struct Live<'w, C, L> {
    pub(super) scaler: &'w C,
    pub(super) memories: &'w L,
}

impl<C: Scaler, L: LiveMemories> Hand for Live<'_, C, L> {
    async fn remember(
        &self,
        namespace: &Namespace,
        writes: &[StateWrite],
    ) -> Vec<Result<(), Fault>> {
        self.memories.store(namespace, writes).await
    }

    async fn scale(&self, place: &Place, change: &Change) -> Result<Effect, Fault> {
        self.scaler.scale(place, change).await?;
        Ok(Effect::Scaled)
    }
}

/// Writes the memory of shadow targets, and has nothing that could write a count.
pub(super) struct Shadow<'w, S> {
    pub(super) memories: &'w S,
}

impl<S: ShadowMemories> Hand for Shadow<'_, S> {
    async fn remember(
        &self,
        namespace: &Namespace,
        writes: &[StateWrite],
    ) -> Vec<Result<(), Fault>> {
        self.memories.store_shadow(namespace, writes).await
    }

    async fn scale(&self, _: &Place, _: &Change) -> Result<Effect, Fault> {
        Ok(Effect::Shadow)
    }
}

/// A decision to carry out.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) target: &'a Target,
    pub(super) place: &'a Place,
    pub(super) seen: &'a Seen,
    pub(super) decided: &'a Decided,
}

/// What is kept for one target.
#[derive(Clone, Copy)]
pub(super) struct Remembered<'a> {
    /// Its turn at the writer of its namespace.
    pub(super) turn: &'a Turn<'a>,
    /// The text of its key.
    pub(super) old: Option<&'a str>,
    /// Whether that text already says what the decision wants remembered.
    pub(super) is_current: bool,
    /// Who writes it.
    pub(super) author: Option<&'a Author>,
}

/// A hand, and the turns and the time for its calls.
pub(super) struct Act<'a, H> {
    pub(super) hand: &'a H,
    pub(super) calls: &'a Calls,
}

impl<H: Hand> Act<'_, H> {
    /// State first, then the count: a scale event that did not happen only makes the next pass more careful,
    /// a count without its event would let it go too far.
    pub(super) async fn run(
        &self,
        task: Task<'_>,
        remembered: Option<Remembered<'_>>,
        faults: &mut Vec<Fault>,
    ) -> Effect {
        let decision = &task.decided.decision;
        let mut is_remembered = remembered.is_some();
        if let Some(remembered) = remembered.filter(|remembered| !remembered.is_current) {
            match remember(task, remembered, &decision.state).await {
                Ok(()) => {}
                Err(fault) if fault.kind == FaultKind::LostRace => return Effect::LostRace,
                Err(fault) => {
                    faults.push(fault);
                    is_remembered = false;
                }
            }
        }
        if !decision.is_scale() {
            return Effect::Held;
        }
        // What is not remembered must not scale in: the next pass would not know, and scale-in is never urgent.
        if !is_remembered && decision.to < decision.from {
            // The write may have been carried out although its answer says otherwise.
            if let Some(remembered) = remembered {
                take_back(task, remembered).await;
            }
            return Effect::NotDone;
        }
        let is_begun = Cell::new(false);
        match self.scale(task, &is_begun).await {
            Ok(effect) => effect,
            Err(fault) if fault.kind == FaultKind::LostRace => Effect::LostRace,
            Err(fault) => {
                let is_not_made = fault.kind == FaultKind::Failed || !is_begun.get();
                if let Some(remembered) = remembered.filter(|_| is_not_made) {
                    take_back(task, remembered).await;
                }
                faults.push(fault);
                Effect::NotDone
            }
        }
    }

    /// Writes the state of some targets of a namespace, in the time that is left.
    pub(super) async fn store(
        &self,
        namespace: &Namespace,
        writes: &[StateWrite],
    ) -> Vec<Result<(), Fault>> {
        let about = About {
            turns: self.calls.acts_on(&namespace.cluster),
            line: &self.calls.line(namespace),
            group: &Group::StateWrites(namespace.clone()),
            count: writes.len(),
            what: &format!(
                "writing state to `{}/outrigger` in cluster `{}`",
                namespace.name, namespace.cluster
            ),
            tells_hanging: false,
        };
        let limits = Limits::at(self.calls.before_deadline(Duration::ZERO));
        let store = || async { Ok(self.hand.remember(namespace, writes).await) };
        // Without an answer it is a write that failed: what scales out goes ahead, and the polls that come after are not late.
        let results = self
            .calls
            .within(about, limits, Some(CALL_AT_MOST), store)
            .await;
        results.unwrap_or_else(|fault| vec![Err(fault); writes.len()])
    }

    /// Counts are not begun in the last moment: those that never were are then taken back, in one write.
    async fn scale(&self, task: Task<'_>, is_begun: &Cell<bool>) -> Result<Effect, Fault> {
        let Task {
            target,
            place,
            seen,
            decided,
            ..
        } = task;
        let change = Change {
            uid: seen.uid.clone(),
            from: decided.decision.from,
            to: decided.decision.to,
        };
        let cluster = &place.namespace.cluster;
        let about = About {
            turns: self.calls.acts_on(cluster),
            line: &self.calls.line(&place.namespace),
            group: &Group::Counts(cluster.clone()),
            count: 1,
            what: &format!("scaling {} `{}`", place.workload.kind.kind(), target.id),
            tells_hanging: false,
        };
        let scale = || {
            is_begun.set(true);
            self.hand.scale(place, &change)
        };
        let limits = Limits {
            begin: self.calls.before_deadline(COUNT_RESERVE),
            end: self.calls.before_deadline(Duration::ZERO),
        };
        self.calls.within(about, limits, None, scale).await
    }
}

/// A change that was surely not made is no longer pending: a count found unchanged would otherwise look like one that
/// another writer took back. Without success the next pass is only the more careful.
async fn take_back(task: Task<'_>, remembered: Remembered<'_>) {
    let mut state = task.decided.decision.state.clone();
    let pending = text(remembered, &state);
    state.pending = None;
    let remembered = Remembered {
        old: Some(&pending),
        ..remembered
    };
    let _told_by_the_scale = remember(task, remembered, &state).await.is_ok();
}

async fn remember(task: Task<'_>, remembered: Remembered<'_>, state: &State) -> Result<(), Fault> {
    let write = StateWrite {
        workload: task.place.workload.clone(),
        old: remembered.old.map(str::to_owned),
        new: text(remembered, state),
    };
    remembered.turn.write(write).await
}

fn text(remembered: Remembered<'_>, state: &State) -> String {
    state.signed(remembered.author).to_json().to_string()
}
