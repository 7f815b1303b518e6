//! A life as data: the rules it begins with and what happens in it.

use std::fmt;

use serde_json::{Value as Json, json};

use crate::random::Random;
use crate::rules::{QUEUES, Rules, WORKLOADS};
use crate::servers::{Call, Trouble};

#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) rules: Vec<Rules>,
    /// Whether passes have a deadline, as the deployed function gives them; without one they only may be killed.
    pub(crate) with_deadlines: bool,
    pub(crate) actions: Vec<Action>,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "with deadlines: {}", self.with_deadlines)?;
        for (workload, rules) in self.rules.iter().enumerate() {
            writeln!(f, "{}: {}", WORKLOADS[workload], rules.spec)?;
        }
        self.actions
            .iter()
            .enumerate()
            .try_for_each(|(index, action)| writeln!(f, "{index:3} {action:?}"))
    }
}

/// One thing that happens.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    /// Time goes by.
    Wait {
        seconds: u32,
        jitter: u64,
    },
    /// The function's clock runs this far ahead of time from now on; behind it when negative.
    Clock(i64),
    Arrive {
        queue: usize,
        visible: u64,
        delayed: u64,
    },
    Purge(usize),
    /// SQS keeps saying what it said.
    Stale {
        queue: usize,
        seconds: u32,
    },
    /// The queue cannot be read, or can be again.
    Down {
        queue: usize,
        is_down: bool,
    },
    /// CloudWatch has no data of the queue, or has again.
    Silent {
        queue: usize,
        is_silent: bool,
    },
    /// A pass from beginning to end.
    Run,
    /// Writes nothing at all.
    DryRun,
    /// A pass begins; its calls take their turns in a pace of their own.
    Start {
        pace: u64,
    },
    /// One of the running passes goes on.
    Go(usize),
    /// One of them dies where it is.
    Kill(usize),
    /// The next such call goes wrong.
    Trouble {
        call: Call,
        index: usize,
        trouble: Trouble,
    },
    /// Somebody else sets the count.
    Foreign {
        workload: usize,
        replicas: u32,
    },
    /// Another controller sets the count again and again, or gives up.
    Rival {
        workload: usize,
        replicas: Option<u32>,
    },
    /// Somebody makes an autoscaler for the workload, or deletes it.
    Own {
        workload: usize,
        is_owned: bool,
    },
    /// The right to look for autoscalers is taken away, or given back.
    HideOwners(bool),
    /// The workload is deleted and made again.
    Recreate {
        workload: usize,
        replicas: u32,
    },
    /// The Rollout goes on.
    Rollout(State),
    /// What the function remembers is lost, or no longer what it wrote.
    Forget {
        workload: usize,
        text: Option<&'static str>,
    },
    /// The ConfigMap is deleted, or made anew.
    ConfigMap {
        exists: bool,
    },
    /// A person writes a key of the ConfigMap.
    Stop {
        key: &'static str,
        text: &'static str,
    },
    /// The annotations of a ScaledObject are these from now on.
    Annotate {
        workload: usize,
        annotations: Json,
    },
    /// A ScaledObject is edited.
    Edit {
        workload: usize,
        rules: Rules,
    },
    /// Nothing changes any more until nothing is written any more.
    Steady,
}

/// What a Rollout can be doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Stable,
    Updating,
    PauseStep,
    Paused,
    Aborted,
    Handover,
}

/// Which kinds of trouble a life knows. Few at a time, so that what each breaks is not always excused by another.
#[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
struct Kinds {
    overlap: bool,
    faults: bool,
    clock: bool,
    foreign: bool,
    owners: bool,
    rollout: bool,
    memory: bool,
    people: bool,
    edits: bool,
    cron: bool,
}

impl Script {
    pub(crate) fn random(seed: u64, length: usize) -> Self {
        let mut random = Random::new(seed);
        let cron = random.once_in(5);
        let rules = (0..WORKLOADS.len())
            .map(|workload| Rules::random(&mut random, workload, cron))
            .collect();
        let mut some = || random.once_in(3);
        let kinds = Kinds {
            overlap: some(),
            faults: some(),
            clock: some(),
            foreign: some(),
            owners: some(),
            rollout: some(),
            memory: some(),
            people: some(),
            edits: some(),
            cron,
        };
        let busy = random.between(2, 12);
        let mut actions: Vec<Action> = (0..length - 1)
            .map(|_| action(&mut random, &kinds, busy))
            .collect();
        actions.push(Action::Steady);
        let with_deadlines = random.once_in(2);
        Self {
            rules,
            with_deadlines,
            actions,
        }
    }
}

fn action(random: &mut Random, kinds: &Kinds, busy: u32) -> Action {
    let troubled = random.once_in(6);
    if troubled && let Some(action) = trouble(random, kinds) {
        return action;
    }
    let queue = random.index(QUEUES.len());
    match random.below(40) {
        0..16 => Action::Wait {
            seconds: random.pick(&[
                1, 7, 15, 30, 30, 60, 60, 60, 60, 61, 90, 120, 300, 1000, 10_000,
            ]),
            jitter: random.below(8),
        },
        16..20 if random.below(12) < u64::from(busy) => Action::Arrive {
            queue,
            visible: random.pick(&[1, 1, 2, 5, 20, 60, 60, 200, 1000]),
            delayed: random.pick(&[0, 0, 3, 50]),
        },
        20 if random.once_in(4) => Action::Arrive {
            queue,
            visible: random.next() >> random.between(1, 63),
            delayed: 0,
        },
        21 | 22 => Action::Purge(queue),
        23 => Action::Stale {
            queue,
            seconds: random.between(1, 90),
        },
        24 if kinds.overlap => Action::Start {
            pace: random.next(),
        },
        25..28 if kinds.overlap => Action::Go(random.index(3)),
        28 if random.once_in(30) => Action::Steady,
        29 if random.once_in(10) => Action::DryRun,
        _ => Action::Run,
    }
}

fn trouble(random: &mut Random, kinds: &Kinds) -> Option<Action> {
    let workload = random.index(WORKLOADS.len());
    let action = match random.below(13) {
        0 | 1 if kinds.overlap => Action::Start {
            pace: random.next(),
        },
        2 if kinds.overlap => Action::Kill(random.index(3)),
        3 | 4 if kinds.faults => Action::Trouble {
            call: random.pick(&Call::ALL),
            index: random.index(WORKLOADS.len()),
            trouble: random.pick(&Trouble::ALL),
        },
        5 if kinds.faults && random.once_in(3) => Action::Silent {
            queue: random.index(QUEUES.len()),
            is_silent: random.once_in(2),
        },
        5 if kinds.faults => Action::Down {
            queue: random.index(QUEUES.len()),
            is_down: random.once_in(2),
        },
        6 if kinds.clock => {
            Action::Clock(random.pick(&[0, 0, 1, -1, 30, -30, 3600, -3600, 200_000]))
        }
        7 if kinds.foreign && random.once_in(4) => Action::Recreate {
            workload,
            replicas: random.between(0, 8),
        },
        7 if kinds.foreign && random.once_in(3) => Action::Rival {
            workload,
            replicas: random.once_in(2).then(|| random.between(0, 12)),
        },
        7 if kinds.foreign => Action::Foreign {
            workload,
            replicas: random.between(0, 40),
        },
        8 if kinds.rollout => Action::Rollout(random.pick(&[
            State::Stable,
            State::Stable,
            State::Updating,
            State::PauseStep,
            State::Paused,
            State::Aborted,
            State::Handover,
        ])),
        9 if kinds.memory && random.once_in(2) => Action::ConfigMap {
            exists: random.once_in(2),
        },
        9 if kinds.memory => Action::Forget {
            workload,
            text: random.pick(&[None, None, Some(""), Some("{\"v\":1}"), Some("garbage")]),
        },
        10 if kinds.people && random.once_in(2) => Action::Stop {
            key: random.pick(&["pause", "pause-scale-in"]),
            text: random.pick(&[
                "",
                "",
                "*",
                "rollout.worker",
                "deployment.mailer\nrollout.worker",
            ]),
        },
        10 if kinds.people => Action::Annotate {
            workload,
            annotations: random_annotations(random),
        },
        12 if kinds.owners && random.once_in(4) => Action::HideOwners(random.once_in(3)),
        12 if kinds.owners => Action::Own {
            workload,
            is_owned: random.once_in(3),
        },
        11 if kinds.edits => Action::Edit {
            workload,
            rules: Rules::random(random, workload, kinds.cron),
        },
        _ => return None,
    };
    Some(action)
}

fn random_annotations(random: &mut Random) -> Json {
    match random.below(9) {
        8 => json!({"outrigger.dev/mode": "shadow"}),
        0 => json!({"autoscaling.keda.sh/paused": "true"}),
        1 => json!({"autoscaling.keda.sh/paused-replicas": random.pick(&["0", "1", "7"])}),
        2 => json!({"autoscaling.keda.sh/paused-scale-in": "true"}),
        3 => json!({"autoscaling.keda.sh/paused-scale-out": "true"}),
        4 => json!({"autoscaling.keda.sh/force-activation": "true"}),
        _ => json!({}),
    }
}
