//! Runs a script: the real passes against the modelled servers, watched after every poll.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jiff::Timestamp;
use outrigger::decide::Rollout;
use outrigger::manifest::{Configuration, Target};
use outrigger::pass::{self, Decided, Effect, Hands, Plan, World};
use outrigger::policy::Trigger;
use outrigger::stop::LastStops;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::Counts;
use crate::random::Random;
use crate::rules::{Rules, WORKLOADS, configuration};
use crate::script::{Action, Script, State};
use crate::servers::{Ports, Servers, SqsQueue, Told};
use crate::watch::{Disturbance, Watch};

/// Environments that Lambda keeps for the function; each runs one pass at a time.
const ENVIRONMENTS: usize = 3;
/// A pass is over by then, or killed: what the deployed function has as its timeout.
pub(crate) const LONGEST_PASS_SECONDS: i64 = 75;
/// When a pass that has a deadline must be finished: then, less what the report takes.
const DEADLINE: Duration = Duration::from_millis(74_500);
/// Milliseconds that go by between two turns of a pass: mostly none, else less and more than a write waits for others. A whole
/// pass has at most a hundred turns, and ends far from its deadline.
const STEPS: [u64; 10] = [0, 0, 0, 0, 0, 1, 20, 100, 260, 700];

/// Seconds after the beginning of the world.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// What went on in some lives.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) lives: u64,
    pub(crate) steps: usize,
    pub(crate) passes: u64,
    pub(crate) killed: u64,
    pub(crate) overlapping: u64,
    pub(crate) decisions: u64,
    pub(crate) replayed: u64,
    pub(crate) stores: u64,
    pub(crate) scales: u64,
    pub(crate) rests: u64,
    /// Targets that a pass ran out of time for.
    pub(crate) late: u64,
    /// Decisions by reason, and scaling ones by reason.
    pub(crate) reasons: Counts,
    pub(crate) scaled: Counts,
}

impl Tally {
    pub(crate) fn add(&mut self, more: &Self) {
        let Self {
            lives,
            steps,
            passes,
            killed,
            overlapping,
            decisions,
            replayed,
            stores,
            scales,
            rests,
            late,
            reasons,
            scaled,
        } = more;
        self.lives += lives;
        self.steps += steps;
        self.passes += passes;
        self.killed += killed;
        self.overlapping += overlapping;
        self.decisions += decisions;
        self.replayed += replayed;
        self.stores += stores;
        self.scales += scales;
        self.rests += rests;
        self.late += late;
        for (to, from) in [(&mut self.reasons, reasons), (&mut self.scaled, scaled)] {
            for (name, count) in from {
                *to.entry(name).or_default() += count;
            }
        }
    }

    /// A world in which nothing happens proves nothing.
    pub(crate) fn assert_that_much_happened(&self) {
        for (what, count) in [
            ("killed", self.killed),
            ("overlapping", self.overlapping),
            ("replayed", self.replayed),
            ("rests", self.rests),
            ("late", self.late),
        ] {
            assert!(count > 0, "{what}");
        }
        let missing = outrigger::decide::Reason::ALL.map(|(reason, _)| reason.name());
        let missing: Vec<&str> = { missing.into_iter() }
            .filter(|reason| !self.reasons.contains_key(reason))
            .collect();
        // In a few lives a rare one may be missing.
        let allowed = if self.steps < 200_000 { 5 } else { 0 };
        assert!(missing.len() <= allowed, "no decision for {missing:?}");
    }
}

/// What a pass knows before it asks anybody.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) now: Timestamp,
    pub(crate) dry_run: bool,
    pub(crate) configuration: Rc<Configuration>,
    /// Another pass ran at the same time.
    pub(crate) overlapped: bool,
    /// The emergency stop that its environment read last.
    pub(crate) last_stop: Option<(String, String)>,
    /// When the ConfigMap could not be read for the first time, though it may be there.
    pub(crate) unread_since: Option<Timestamp>,
    environment: usize,
    began: i64,
}

impl Frame {
    pub(crate) fn target(&self, workload: usize) -> &Target {
        let targets = &self.configuration.targets;
        let mut found = targets
            .iter()
            .filter(|target| target.workload.name == WORKLOADS[workload]);
        found.next().unwrap()
    }
}

/// What a pass says of one target.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) decided: Option<Decided>,
    pub(crate) effect: Effect,
    pub(crate) is_failed: bool,
}

struct Pass {
    frame: Frame,
    deadline: Option<Instant>,
    told: Rc<RefCell<Told>>,
    future: Pin<Box<dyn Future<Output = Vec<Ended>>>>,
}

struct Environment {
    stops: Rc<LastStops>,
    last_stop: Option<(String, String)>,
    unread_since: Option<Timestamp>,
    is_busy: bool,
}

impl Environment {
    fn new() -> Self {
        Self {
            stops: Rc::default(),
            last_stop: None,
            unread_since: None,
            is_busy: false,
        }
    }
}

struct Life {
    /// The passes' own clock, which stands still but where the life moves it.
    runtime: Runtime,
    steps: Random,
    with_deadlines: bool,
    servers: Rc<Servers>,
    rules: Vec<Rules>,
    configuration: Rc<Configuration>,
    environments: Vec<Environment>,
    passes: Vec<Pass>,
    skew: i64,
    rivals: [Option<u32>; WORKLOADS.len()],
    watch: Watch,
    tally: Tally,
}

pub(crate) fn run(script: &Script) -> Result<Tally, String> {
    let mut life = Life {
        runtime: Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap(),
        steps: Random::new(0),
        with_deadlines: script.with_deadlines,
        servers: Rc::new(Servers::new()),
        rules: script.rules.clone(),
        configuration: Rc::new(configuration(&script.rules)),
        environments: (0..ENVIRONMENTS).map(|_| Environment::new()).collect(),
        passes: Vec::new(),
        skew: 0,
        rivals: [None; WORKLOADS.len()],
        watch: Watch::new(),
        tally: Tally {
            lives: 1,
            ..Tally::default()
        },
    };
    for (index, action) in script.actions.iter().enumerate() {
        life.tally.steps += 1;
        life.act(action)
            .map_err(|failure| format!("at action {index}, {action:?}: {failure}"))?;
    }
    Ok(life.tally)
}

impl Life {
    fn now(&self) -> Timestamp {
        at(self.servers.seconds.get() + self.skew)
    }

    fn act(&mut self, action: &Action) -> Result<(), String> {
        let servers = Rc::clone(&self.servers);
        match action {
            Action::Wait { seconds, jitter } => return self.wait(*seconds, *jitter),
            Action::Clock(skew) => {
                self.skew = *skew;
                self.disturb_all(Disturbance::Clock);
            }
            Action::Arrive {
                queue,
                visible,
                delayed,
            } => {
                let holds = &mut servers.queues.borrow_mut()[*queue].holds;
                holds.visible = holds.visible.saturating_add(*visible);
                holds.delayed = holds.delayed.saturating_add(*delayed);
            }
            Action::Purge(queue) => {
                let queue = &mut servers.queues.borrow_mut()[*queue];
                let SqsQueue { holds, .. } = queue;
                (holds.visible, holds.in_flight, holds.delayed) = (0, 0, 0);
            }
            Action::Stale { queue, seconds } => {
                servers.queues.borrow_mut()[*queue].stale_until =
                    servers.seconds.get() + i64::from(*seconds);
            }
            Action::Down { queue, is_down } => {
                servers.queues.borrow_mut()[*queue].is_down = *is_down;
            }
            Action::Silent { queue, is_silent } => {
                servers.queues.borrow_mut()[*queue].is_silent = *is_silent;
            }
            Action::Run => return self.whole_pass(false),
            Action::DryRun => return self.whole_pass(true),
            Action::Start { pace } => self.start(*pace, false),
            Action::Go(pass) => return self.go(*pass),
            Action::Kill(pass) => self.kill(*pass),
            Action::Trouble {
                call,
                index,
                trouble,
            } => {
                servers
                    .troubles
                    .borrow_mut()
                    .push((*call, *index, *trouble));
            }
            Action::Foreign { workload, replicas } => self.set_count(*workload, *replicas),
            Action::Rival { workload, replicas } => self.rivals[*workload] = *replicas,
            Action::Own { workload, is_owned } => {
                let mut owned = servers.owned.get();
                owned[*workload] = *is_owned;
                servers.owned.set(owned);
            }
            Action::HideOwners(hidden) => servers.owners_hidden.set(*hidden),
            Action::Recreate { workload, replicas } => {
                {
                    let pods = &mut servers.pods.borrow_mut()[*workload];
                    pods.uid += 1;
                    (pods.replicas, pods.ready) = (*replicas, 0);
                }
                self.disturb(*workload, Disturbance::Foreign);
            }
            Action::Rollout(state) => {
                servers.pods.borrow_mut()[0].rollout = Some(rollout(*state));
            }
            Action::Forget { workload, text } => {
                let key = self.configuration.targets[*workload].state_key();
                if let Some(keys) = servers.keys.borrow_mut().as_mut() {
                    match text {
                        Some(text) => keys.insert(key, (*text).to_owned()),
                        None => keys.remove(&key),
                    };
                }
            }
            Action::ConfigMap { exists } => {
                let mut keys = servers.keys.borrow_mut();
                *keys = exists.then(|| keys.take().unwrap_or_default());
            }
            Action::Stop { key, text } => {
                if let Some(keys) = servers.keys.borrow_mut().as_mut() {
                    keys.insert((*key).to_owned(), (*text).to_owned());
                }
            }
            Action::Annotate {
                workload,
                annotations,
            } => {
                self.rules[*workload].annotations = annotations.clone();
                self.configuration = Rc::new(configuration(&self.rules));
            }
            Action::Edit { workload, rules } => {
                self.rules[*workload] = rules.clone();
                self.configuration = Rc::new(configuration(&self.rules));
                self.disturb(*workload, Disturbance::Edited);
            }
            Action::Steady => return self.come_to_rest(),
        }
        Ok(())
    }

    /// Of the passes that come near their deadline meanwhile some go on to their end there.
    fn wait(&mut self, seconds: u32, jitter: u64) -> Result<(), String> {
        let until = self.servers.seconds.get() + i64::from(seconds);
        loop {
            let now = self.servers.seconds.get();
            let near = |pass: &Pass| pass.frame.began + LONGEST_PASS_SECONDS - 1;
            let passes = self.passes.iter().filter(|pass| pass.deadline.is_some());
            let moments = passes
                .map(near)
                .filter(|near| (now + 1..=until).contains(near));
            let Some(moment) = moments.min() else {
                break;
            };
            self.time_goes_by(u32::try_from(moment - now).unwrap(), jitter);
            let late = self.passes.iter().position(|pass| near(pass) == moment);
            if let (Some(late), true) = (late, self.steps.once_in(2)) {
                let count = self.passes.len();
                while self.passes.len() == count {
                    self.go(late)?;
                }
            }
        }
        let left = until - self.servers.seconds.get();
        if left > 0 {
            self.time_goes_by(u32::try_from(left).unwrap(), jitter);
        }
        Ok(())
    }

    fn time_goes_by(&mut self, seconds: u32, jitter: u64) {
        self.servers.wait(seconds, jitter);
        self.advance(Duration::from_secs(seconds.into()));
        for (workload, rival) in self.rivals.into_iter().enumerate() {
            if let Some(replicas) = rival {
                self.set_count(workload, replicas);
            }
        }
        let ends = self.servers.seconds.get() - LONGEST_PASS_SECONDS;
        while let Some(late) = self.passes.iter().position(|pass| pass.frame.began < ends) {
            self.kill(late);
        }
    }

    /// The passes' clock goes on.
    fn advance(&self, duration: Duration) {
        if !duration.is_zero() {
            self.runtime.block_on(tokio::time::advance(duration));
        }
    }

    /// Somebody else does.
    fn set_count(&mut self, workload: usize, replicas: u32) {
        let before = {
            let pods = &mut self.servers.pods.borrow_mut()[workload];
            std::mem::replace(&mut pods.replicas, replicas)
        };
        if before != replicas {
            self.disturb(workload, Disturbance::Foreign);
        }
    }

    fn disturb(&mut self, workload: usize, disturbance: Disturbance) {
        self.watch.disturb(workload, disturbance, self.now());
    }

    fn disturb_all(&mut self, disturbance: Disturbance) {
        for workload in 0..WORKLOADS.len() {
            self.disturb(workload, disturbance);
        }
    }

    /// A pass that nothing happens to but what its calls meet; others may be on their way.
    fn whole_pass(&mut self, dry_run: bool) -> Result<(), String> {
        self.start(0, dry_run);
        let Some(last) = self.passes.len().checked_sub(1) else {
            return Ok(());
        };
        let count = self.passes.len();
        while self.passes.len() == count {
            self.go(last)?;
        }
        Ok(())
    }

    fn start(&mut self, pace: u64, dry_run: bool) {
        let free = self.environments.iter().position(|one| !one.is_busy);
        let Some(environment) = free else {
            return;
        };
        self.tally.passes += 1;
        if !self.passes.is_empty() {
            self.tally.overlapping += 1;
            self.disturb_all(Disturbance::Overlap);
        }
        for other in &mut self.passes {
            other.frame.overlapped = true;
        }
        let frame = Frame {
            now: self.now(),
            dry_run,
            configuration: Rc::clone(&self.configuration),
            overlapped: !self.passes.is_empty(),
            last_stop: self.environments[environment].last_stop.clone(),
            unread_since: self.environments[environment].unread_since,
            environment,
            began: self.servers.seconds.get(),
        };
        self.environments[environment].is_busy = true;
        let told: Rc<RefCell<Told>> = Rc::default();
        let ports = Ports {
            servers: Rc::clone(&self.servers),
            told: Rc::clone(&told),
            pace: RefCell::new(Random::new(pace)),
        };
        let stops = Rc::clone(&self.environments[environment].stops);
        let (configuration, now) = (Rc::clone(&frame.configuration), frame.now);
        let started = self.runtime.block_on(async { Instant::now() });
        let deadline = self.with_deadlines.then(|| started + DEADLINE);
        let future = Box::pin(async move {
            let hands = Hands {
                scaler: &ports,
                memories: &ports,
                shadow_memories: &ports,
            };
            let world = World {
                sources: &ports,
                workloads: &ports,
                memories: &ports,
                hands: (!dry_run).then_some(hands),
            };
            let plan = Plan {
                now,
                deadline,
                default_cluster: "prod",
                poll_seconds: None,
                stops: &stops,
                function: None,
                known: None,
            };
            let targets: Vec<&Target> = configuration.targets.iter().collect();
            let passed = pass::run(world, &targets, plan).await;
            let ended = passed.outcomes.into_iter().map(|outcome| Ended {
                is_failed: outcome.is_failed(),
                decided: outcome.decided,
                effect: outcome.effect,
            });
            ended.collect()
        });
        self.passes.push(Pass {
            frame,
            deadline,
            told,
            future,
        });
    }

    /// Lets a pass go on by one turn.
    fn go(&mut self, pass: usize) -> Result<(), String> {
        let Some(index) = pass.checked_rem(self.passes.len()) else {
            return Ok(());
        };
        let step = self.steps.pick(&STEPS);
        self.advance(Duration::from_millis(step));
        let pass = &mut self.passes[index];
        // Within the runtime for its clock; when the pass goes on is for the script to say.
        let future = &mut pass.future;
        let poll = |_: &mut Context<'_>| {
            let context = &mut Context::from_waker(Waker::noop());
            Poll::Ready(future.as_mut().poll(context))
        };
        let polled = self.runtime.block_on(poll_fn(poll));
        let writes = std::mem::take(&mut pass.told.borrow_mut().writes);
        for write in &writes {
            self.watch
                .write(&pass.frame, &pass.told.borrow(), write, &mut self.tally)?;
        }
        let Poll::Ready(ended) = polled else {
            return Ok(());
        };
        let Pass {
            frame,
            told,
            deadline,
            ..
        } = self.passes.remove(index);
        let now = self.runtime.block_on(async { Instant::now() });
        let is_late = deadline.is_some_and(|deadline| now + Duration::from_secs(3) > deadline);
        let told = told.take();
        for (workload, ended) in ended.iter().enumerate() {
            self.tally.late += u64::from(is_late && ended.effect == Effect::NotReached);
            self.watch
                .ended(&frame, &told, workload, ended, &mut self.tally)?;
        }
        let environment = &mut self.environments[frame.environment];
        environment.is_busy = false;
        let has_decided = ended.iter().any(|one| one.decided.is_some());
        if let (Some(Err(fault)), true) = (&told.keys, has_decided)
            && fault.code != "NotFound"
        {
            let since = frame.unread_since.unwrap_or(frame.now);
            environment.unread_since = Some(since.min(frame.now));
        }
        if let (Some(Ok(keys)), true) = (&told.keys, ended.iter().any(|one| one.decided.is_some()))
        {
            let text = |key: &str| keys.get(key).cloned().unwrap_or_default();
            environment.last_stop = Some((text("pause"), text("pause-scale-in")));
        }
        Ok(())
    }

    /// The process is gone, and with it what its environment knew.
    fn kill(&mut self, pass: usize) {
        let Some(index) = pass.checked_rem(self.passes.len()) else {
            return;
        };
        let killed = self.passes.remove(index);
        self.environments[killed.frame.environment] = Environment::new();
        self.tally.killed += 1;
    }

    /// In a world that stands still the count settles, and then nothing is written.
    fn come_to_rest(&mut self) -> Result<(), String> {
        while !self.passes.is_empty() {
            self.go(0)?;
        }
        self.servers.troubles.borrow_mut().clear();
        let mut triggers = self
            .configuration
            .targets
            .iter()
            .flat_map(|target| &target.policy.triggers);
        if triggers.any(|trigger| matches!(trigger, Trigger::Cron(_))) {
            // Where the hour counts, nothing stands still.
            return Ok(());
        }
        (self.skew, self.rivals) = (0, [None; WORKLOADS.len()]);
        self.disturb_all(Disturbance::Clock);
        let mut quiet = 0;
        for pass in 0..200 {
            let pause = if pass < 12 { 60 } else { 1801 };
            quiet = if self.still_pass(pause)? {
                0
            } else {
                quiet + 1
            };
            if pass > 12 && quiet >= 3 {
                break;
            }
        }
        if quiet < 3 {
            return Err("a world that stands still never comes to rest".to_owned());
        }
        for workload in 0..WORKLOADS.len() {
            self.watch.at_rest(workload)?;
        }
        for pause in [1, 60, 601, 7200, 100_000] {
            if self.still_pass(pause)? {
                return Err(format!(
                    "after {pause} s in a world at rest something was written"
                ));
            }
        }
        self.tally.rests += 1;
        Ok(())
    }

    /// Whether a pass in a world that stands still writes anything.
    fn still_pass(&mut self, pause: i64) -> Result<bool, String> {
        self.servers.seconds.set(self.servers.seconds.get() + pause);
        self.advance(Duration::from_secs(pause.unsigned_abs()));
        let before = self.tally.stores + self.tally.scales;
        self.whole_pass(false)?;
        Ok(self.tally.stores + self.tally.scales > before)
    }
}

fn rollout(state: State) -> Rollout {
    let updating = !matches!(state, State::Stable | State::Handover);
    Rollout {
        updating,
        paused: state == State::Paused,
        aborted: state == State::Aborted,
        pause_step: state == State::PauseStep,
        handover: state == State::Handover,
    }
}
