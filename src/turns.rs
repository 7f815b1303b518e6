//! Turns for calls at the same time, shared fairly between those that the calls are for.
//!
//! A call belongs to a party, such as a namespace, and goes to a place, such as a region of SQS. The next turn goes to the party
//! that has the fewest calls under way, and of those to the one that waits for the fewest; within a party it goes to the place with
//! the fewest under way. A party or a place that has its part already gets more only out of what the others cannot need, or out of
//! one half: the other half is kept for those that have less than their part. So whoever has many calls, or calls that hang, delays
//! the calls of nobody else, and one that is alone has all turns.
//!
//! Where a call hung, and no other of its party to that place was answered meanwhile, the party gets no further turns there: each
//! would only wait as long. The same goes for all parties where the place answered nobody meanwhile.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// The turns.
#[derive(Debug)]
pub(crate) struct Turns(RefCell<State>);

/// Whose a call is and where it goes. A call that several want is made when the first of them has a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) parties: Vec<usize>,
    pub(crate) place: usize,
}

/// The numbers of parties or places, in the order in which they are named.
#[derive(Debug)]
pub(crate) struct Numbers<K>(RefCell<BTreeMap<K, usize>>);

/// The right to make one call, for as long as this exists.
#[derive(Debug)]
pub(crate) struct Turn<'t> {
    turns: &'t Turns,
    party: usize,
    place: usize,
    /// The answers that the party had there when the call began, and those that everybody had.
    answers: (u64, u64),
}

/// No turn, since calls like this one hang.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hanging;

#[derive(Debug)]
struct State {
    most: usize,
    most_at_place: usize,
    free: usize,
    parties: Vec<Share>,
    places: Vec<Place>,
    waiting: HashMap<u64, Waiting>,
    next_ticket: u64,
    /// Somebody has come since turns were given out.
    is_due: bool,
}

/// What a party or a place has.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    running: usize,
    waiting: usize,
    /// Calls that are yet to end, also where they do not wait for a turn yet.
    expected: usize,
    served: usize,
}

/// A place and the calls to it, by party.
#[derive(Debug, Default)]
struct Place {
    share: Share,
    queues: Vec<Queue>,
    answers: u64,
    hangs: bool,
}

/// The calls of a party to a place.
#[derive(Debug, Default)]
struct Queue {
    share: Share,
    /// Some are gone already.
    tickets: VecDeque<u64>,
    answers: u64,
    hangs: bool,
}

#[derive(Debug)]
struct Waiting {
    line: Line,
    waker: Waker,
    given: Option<Result<usize, Hanging>>,
}

impl<K: Ord + Clone> Numbers<K> {
    pub(crate) fn new() -> Self {
        Self(RefCell::default())
    }

    pub(crate) fn of(&self, key: &K) -> usize {
        let mut numbers = self.0.borrow_mut();
        if let Some(number) = numbers.get(key) {
            return *number;
        }
        let number = numbers.len();
        numbers.insert(key.clone(), number);
        number
    }
}

impl Share {
    /// How many turns it could use.
    fn wanted(&self) -> usize {
        self.expected.max(self.running + self.waiting)
    }

    /// How many of these it could use more than it has.
    fn lacks(&self, part: usize) -> usize {
        self.wanted().min(part).saturating_sub(self.running)
    }
}

impl Turns {
    /// So many turns, and as many at one place.
    pub(crate) fn new(most: usize) -> Self {
        Self::at_places(most, most)
    }

    /// So many turns, of which one place has fewer.
    pub(crate) fn at_places(most: usize, most_at_place: usize) -> Self {
        Self(RefCell::new(State {
            most,
            most_at_place,
            free: most,
            parties: Vec::new(),
            places: Vec::new(),
            waiting: HashMap::new(),
            next_ticket: 0,
            is_due: false,
        }))
    }

    /// Announces a call, so that a turn is kept for it.
    pub(crate) fn expect(&self, line: &Line) {
        let mut state = self.state();
        state.know(line);
        state.of(line, |share| share.expected += 1);
    }

    /// A call that was announced has ended, or is not made.
    pub(crate) fn rest(&self, line: &Line) {
        let mut state = self.state();
        state.of(line, |share| {
            share.expected = share.expected.saturating_sub(1);
        });
        state.give();
    }

    /// Waits for a turn.
    pub(crate) fn take(&self, line: Line) -> Take<'_> {
        Take {
            turns: self,
            line: Some(line),
            ticket: None,
        }
    }

    fn state(&self) -> RefMut<'_, State> {
        self.0.borrow_mut()
    }
}

impl State {
    fn know(&mut self, line: &Line) {
        if self.places.len() <= line.place {
            self.places.resize_with(line.place + 1, Place::default);
        }
        let parties = line.parties.iter().max().map_or(0, |last| last + 1);
        if self.parties.len() < parties {
            self.parties.resize_with(parties, Share::default);
        }
        let at = self.places.get_mut(line.place);
        if let Some(at) = at.filter(|at| at.queues.len() < parties) {
            at.queues.resize_with(parties, Queue::default);
        }
    }

    fn queue(&self, party: usize, place: usize) -> Option<&Queue> {
        self.places.get(place)?.queues.get(party)
    }

    fn queue_mut(&mut self, party: usize, place: usize) -> Option<&mut Queue> {
        self.places.get_mut(place)?.queues.get_mut(party)
    }

    /// Changes what the parties have, overall and at the place, and what is at the place.
    fn change(&mut self, parties: &[usize], place: usize, change: impl Fn(&mut Share)) {
        for party in parties {
            if let Some(share) = self.parties.get_mut(*party) {
                change(share);
            }
            if let Some(queue) = self.queue_mut(*party, place) {
                change(&mut queue.share);
            }
        }
        if let Some(at) = self.places.get_mut(place) {
            change(&mut at.share);
        }
    }

    fn of(&mut self, line: &Line, change: impl Fn(&mut Share)) {
        self.change(&line.parties, line.place, change);
    }

    fn enter(&mut self, line: Line, waker: Waker) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.know(&line);
        self.of(&line, |share| share.waiting += 1);
        for party in &line.parties {
            if let Some(queue) = self.queue_mut(*party, line.place) {
                queue.tickets.push_back(ticket);
            }
        }
        let given = self.hangs(&line).then_some(Err(Hanging));
        let waiting = Waiting { line, waker, given };
        self.waiting.insert(ticket, waiting);
        self.is_due = true;
        ticket
    }

    /// Whether a call would only wait, whoever of its parties has the turn.
    fn hangs(&self, line: &Line) -> bool {
        let Some(at) = self.places.get(line.place) else {
            return false;
        };
        let hangs = |party: &usize| at.queues.get(*party).is_some_and(|queue| queue.hangs);
        at.hangs || line.parties.iter().all(hangs)
    }

    /// Tells the calls that wait and would only hang.
    fn leave_out(&mut self, place: usize) {
        let waiting = self.waiting.iter();
        let hanging: Vec<u64> = waiting
            .filter(|(_, waiting)| waiting.line.place == place && waiting.given.is_none())
            .filter(|(_, waiting)| self.hangs(&waiting.line))
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in hanging {
            if let Some(waiting) = self.waiting.get_mut(&ticket) {
                waiting.given = Some(Err(Hanging));
                waiting.waker.wake_by_ref();
            }
        }
    }

    /// The answers of a party at a place, and of everybody.
    fn answers(&self, party: usize, place: usize) -> (u64, u64) {
        let of_party = self.queue(party, place).map_or(0, |queue| queue.answers);
        let of_all = self.places.get(place).map_or(0, |at| at.answers);
        (of_party, of_all)
    }

    /// Gives out turns for as long as somebody may have one.
    fn give(&mut self) {
        self.is_due = false;
        while self.free > 0 && self.places.iter().any(|at| at.share.waiting > 0) {
            let Some((party, place, ticket)) = self.next() else {
                return;
            };
            let Some(waiting) = self.waiting.get_mut(&ticket) else {
                return;
            };
            waiting.given = Some(Ok(party));
            waiting.waker.wake_by_ref();
            let line = waiting.line.clone();
            self.of(&line, |share| {
                share.waiting = share.waiting.saturating_sub(1);
            });
            self.free -= 1;
            self.change(&[party], place, |share| {
                share.running += 1;
                share.served += 1;
            });
        }
    }

    /// Who has the next turn.
    fn next(&mut self) -> Option<(usize, usize, u64)> {
        let parties = Rule::new(self.parties.iter(), self.most, self.free);
        let at = self.places.iter().map(|at| &at.share);
        let places = Rule::new(at, self.most, self.free);
        let mut best = None;
        for (place, at) in self.places.iter_mut().enumerate() {
            let free = self.most_at_place.saturating_sub(at.share.running);
            if at.share.waiting == 0 || free == 0 || !places.allows(&at.share) {
                continue;
            }
            let shares = at.queues.iter().map(|queue| &queue.share);
            let here = Rule::new(shares, self.most_at_place, free);
            for (party, queue) in at.queues.iter_mut().enumerate() {
                let of_all = self.parties.get(party).copied().unwrap_or_default();
                let order = (
                    of_all.running,
                    of_all.waiting,
                    of_all.served,
                    at.share.running,
                    at.share.served,
                );
                if queue.share.waiting == 0
                    || best.is_some_and(|(least, _)| least <= order)
                    || !parties.allows(&of_all)
                    || !here.allows(&queue.share)
                {
                    continue;
                }
                if let Some(ticket) = queue.first(&self.waiting) {
                    best = Some((order, (party, place, ticket)));
                }
            }
        }
        best.map(|(_, next)| next)
    }

    /// A call of a party to a place has ended.
    fn end(&mut self, party: usize, place: usize) {
        self.free += 1;
        self.change(&[party], place, |share| {
            share.running = share.running.saturating_sub(1);
        });
        self.give();
    }

    /// Takes a call out that waits no more.
    fn leave(&mut self, ticket: u64) -> Option<(Line, Option<Result<usize, Hanging>>)> {
        let Waiting { line, given, .. } = self.waiting.remove(&ticket)?;
        if !matches!(given, Some(Ok(_))) {
            self.of(&line, |share| {
                share.waiting = share.waiting.saturating_sub(1);
            });
        }
        Some((line, given))
    }
}

/// Who may have one more of so many turns. Who has its part already leaves free what the others could still need of theirs, at
/// most half of all.
struct Rule {
    most: usize,
    free: usize,
    /// What each has if all that have calls get as many turns.
    part: usize,
    /// What is missing to that.
    lacking: usize,
}

impl Rule {
    fn new<'s>(shares: impl Iterator<Item = &'s Share> + Clone, most: usize, free: usize) -> Self {
        let alive = shares.clone().filter(|share| share.wanted() > 0).count();
        let part = most.div_ceil(alive.max(1));
        Self {
            most,
            free,
            part,
            lacking: shares.map(|share| share.lacks(part)).sum(),
        }
    }

    fn allows(&self, share: &Share) -> bool {
        let kept = (self.lacking - share.lacks(self.part)).min(self.most / 2);
        share.running < self.part || self.free > kept
    }
}

impl Queue {
    /// The first that still waits.
    fn first(&mut self, waiting: &HashMap<u64, Waiting>) -> Option<u64> {
        while let Some(ticket) = self.tickets.front() {
            let still = waiting.get(ticket);
            if still.is_some_and(|waiting| waiting.given.is_none()) {
                return Some(*ticket);
            }
            self.tickets.pop_front();
        }
        None
    }
}

impl Turn<'_> {
    /// The call was answered, whatever the answer is.
    pub(crate) fn answered(&self) {
        let mut state = self.turns.state();
        let Some(at) = state.places.get_mut(self.place) else {
            return;
        };
        at.answers += 1;
        at.hangs = false;
        if let Some(queue) = at.queues.get_mut(self.party) {
            queue.answers += 1;
            queue.hangs = false;
        }
    }

    /// The call hung.
    pub(crate) fn hung(&self) {
        let mut state = self.turns.state();
        let (of_party, of_all) = state.answers(self.party, self.place);
        let Some(at) = state.places.get_mut(self.place) else {
            return;
        };
        at.hangs |= of_all == self.answers.1;
        if let Some(queue) = at.queues.get_mut(self.party) {
            queue.hangs |= of_party == self.answers.0;
        }
        state.leave_out(self.place);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.state().end(self.party, self.place);
    }
}

/// Waiting for a turn.
#[derive(Debug)]
pub(crate) struct Take<'t> {
    turns: &'t Turns,
    line: Option<Line>,
    ticket: Option<u64>,
}

impl<'t> Future for Take<'t> {
    type Output = Result<Turn<'t>, Hanging>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let turns = self.turns;
        let mut state = turns.state();
        let ticket = match (self.ticket, self.line.take()) {
            (Some(ticket), _) => ticket,
            (None, Some(line)) => {
                self.ticket = Some(state.enter(line, context.waker().clone()));
                // Who begins at the same moment is to be seen before turns are given out.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            // It has been answered.
            (None, None) => return Poll::Pending,
        };
        if state.is_due {
            state.give();
        }
        let Some(waiting) = state.waiting.get_mut(&ticket) else {
            return Poll::Pending;
        };
        if waiting.given.is_none() {
            waiting.waker.clone_from(context.waker());
            return Poll::Pending;
        }
        self.ticket = None;
        match state.leave(ticket) {
            Some((line, Some(Ok(party)))) => Poll::Ready(Ok(Turn {
                turns,
                party,
                place: line.place,
                answers: state.answers(party, line.place),
            })),
            Some((_, Some(Err(hanging)))) => Poll::Ready(Err(hanging)),
            Some((_, None)) | None => Poll::Pending,
        }
    }
}

impl Drop for Take<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else {
            return;
        };
        let mut state = self.turns.state();
        match state.leave(ticket) {
            Some((line, Some(Ok(party)))) => state.end(party, line.place),
            // What was kept for it goes to others.
            Some(_) => state.give(),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests;
