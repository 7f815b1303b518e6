//! The Lambda process: events in, passes run, answers and failures out.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lambda_runtime::tower::util::MapRequestLayer;
use lambda_runtime::{Context, Diagnostic, LambdaEvent, LambdaInvocation, Runtime, service_fn};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Value as Json, json};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep_until};

use crate::adapters::aws::{Aws, chain};
use crate::adapters::kubernetes::Clusters;
use crate::adapters::sources::AwsSources;
use crate::budget::{Budget, LeftOut};
use crate::clock::{Clock, wall_now};
use crate::fairness::Missed;
use crate::load::{Loaded, Loader};
use crate::log;
use crate::manifest::{Configuration, Target};
use crate::pass::{self, Due, Hands, Outcome, Passed, Plan, World};
use crate::report::{self, Invocation, LastReasons, Notices, Tally};
use crate::settings::{Settings, SettingsError};
use crate::stop::{Known, LastStops};
use crate::tell::{Occasion, Teller, Told, Untold, Voice};
use crate::ticks::{Found, Poll, Tick, Ticks, Window};
use crate::timeout::Timeout;
use crate::wake::{self, Wake, WakeError};

/// Kept of an invocation's time for the report and the answer.
const REPORT_RESERVE: Duration = Duration::from_millis(500);

/// Why an invocation failed. The type is stable; alarms and failure destinations may match on it.
#[derive(Debug, thiserror::Error)]
pub enum InvocationError {
    /// The environment variables.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Settings(Vec<SettingsError>),
    /// The event is none that this function knows.
    #[error("{0}")]
    Event(String),
    /// There is no configuration to run with.
    #[error("{0}")]
    Configuration(String),
    /// Some target failed; all others are done.
    #[error("{0}")]
    Targets(String),
}

impl InvocationError {
    /// The `errorType` that Lambda reports.
    #[must_use]
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::Settings(_) => "Outrigger.SettingsInvalid",
            Self::Event(_) => "Outrigger.EventRefused",
            Self::Configuration(_) => "Outrigger.ConfigurationUnreadable",
            Self::Targets(_) => "Outrigger.TargetsFailed",
        }
    }
}

impl From<InvocationError> for Diagnostic {
    fn from(error: InvocationError) -> Self {
        Self {
            error_type: error.error_type().to_owned(),
            error_message: error.to_string(),
        }
    }
}

/// Serves invocations until the environment is shut down. `clock` is what decisions and state go by.
///
/// Settings that are wrong fail each invocation instead of the start, where only a log would tell why.
pub async fn serve(
    environment: BTreeMap<String, String>,
    clock: Clock,
) -> Result<(), lambda_runtime::Error> {
    install_crypto();
    let (settings, clock) = (&Settings::from_environment(&environment), &clock);
    // Made by the first invocation: AWS clients read the system's certificates, which takes longer than the rest of a start.
    let function = &OnceCell::new();
    Runtime::new(service_fn(async move |event: LambdaEvent<Payload>| {
        let result = match settings {
            Ok(settings) => {
                let make = async || {
                    files_can_be_opened()?;
                    Ok(Function::new(settings.clone(), *clock, name(&event.context)).await)
                };
                match function.get_or_try_init(make).await {
                    Ok(function) => function.invoke(event.payload, &event.context).await,
                    Err(error) => Err(error),
                }
            }
            Err(errors) => Err(InvocationError::Settings(errors.clone())),
        };
        result.inspect_err(|error| {
            log::lines(&[
                json!({"errorType": error.error_type(), "errorMessage": error.to_string()})
                    .to_string(),
            ]);
        })
    }))
    .layer(MapRequestLayer::new(wrapped))
    .run()
    .await
}

/// One crypto provider for everything: with two compiled in, rustls panics at the first connection.
pub fn install_crypto() {
    // Only refused when one is installed already.
    let _installed = rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_ok();
}

/// Files that are open at the same time while the system's certificates are read, and some to spare.
const FILES_TO_BEGIN: usize = 4;

/// Whether files can be opened. AWS clients read the system's certificates once in the life of a process: one that begins without
/// them trusts no server until it ends, and says nothing of the cause.
fn files_can_be_opened() -> Result<(), InvocationError> {
    let opened: std::io::Result<Vec<_>> = (0..FILES_TO_BEGIN)
        .map(|_| std::fs::File::open("/"))
        .collect();
    opened.map(drop).map_err(|error| {
        InvocationError::Configuration(format!(
            "no more files can be opened ({error}), so that nothing can be read and nothing is done; the next invocation tries again, \
             and where that fails too a deployment gives the function a new environment"
        ))
    })
}

/// Region, account and name of the function, whatever its alias or version.
fn name(context: &Context) -> String {
    let name = &context.env_config.function_name;
    match context.invoked_function_arn.split(':').collect::<Vec<_>>()[..] {
        ["arn", _, "lambda", region, account, "function", ..] => {
            format!("{region}/{account}/{name}")
        }
        _ => name.clone(),
    }
}

/// The event as it came, of whatever bytes.
struct Payload(Vec<u8>);

/// The runtime reads each payload as JSON before the handler sees it, and answers for what is none with words of its own, or
/// ends the process. So the bytes become one JSON string before that, a character each.
fn wrapped(mut invocation: LambdaInvocation) -> LambdaInvocation {
    let text: String = invocation.body.iter().copied().map(char::from).collect();
    invocation.body = Json::from(text).to_string().into();
    invocation
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = text.chars().map(u8::try_from).collect::<Result<_, _>>();
        bytes.map(Self).map_err(D::Error::custom)
    }
}

/// What a warm environment keeps.
struct Function {
    settings: Settings,
    clock: Clock,
    /// By region, account and name; the same in each invocation.
    name: String,
    sources: AwsSources,
    clusters: Clusters,
    loader: Loader,
    last_reasons: RefCell<LastReasons>,
    notices: RefCell<Notices>,
    told: Told,
    stops: LastStops,
    missed: RefCell<Missed>,
    timeout: RefCell<Timeout>,
    left_out: RefCell<LeftOut>,
}

impl Function {
    async fn new(settings: Settings, clock: Clock, name: String) -> Self {
        let aws = Arc::new(Aws::from_environment().await);
        let clusters = Clusters::new(Arc::clone(&aws), settings.clusters.clone());
        Self {
            settings,
            clock,
            name,
            sources: AwsSources::new(aws),
            clusters,
            loader: Loader::default(),
            last_reasons: RefCell::default(),
            notices: RefCell::default(),
            told: Told::default(),
            stops: LastStops::default(),
            missed: RefCell::default(),
            timeout: RefCell::default(),
            left_out: RefCell::default(),
        }
    }

    async fn invoke(&self, payload: Payload, context: &Context) -> Result<Json, InvocationError> {
        let begun = Instant::now();
        let clock_start = self.clock.now();
        let wake = wake::parse(&payload.0)
            .map_err(|error: WakeError| InvocationError::Event(chain(&error)))?;
        let deadline = Some(self.deadline(context, begun));
        self.clusters.begin_invocation().await;
        let Loaded {
            configuration,
            stale,
            objects,
        } = self.load(deadline).await?;
        let teller = Teller::new(&self.told, &objects);
        let voice = self.voice(wake.dry_run);
        let (targets, unknown) = report::select(&configuration, &wake.scope);
        let mut ticks = self.ticks(&wake, &targets, deadline.map(|deadline| deadline - begun));
        let now = self.clock.now();
        let turn = self.settings.turn(wake.time.unwrap_or(now));
        let known = { stale.is_empty() }
            .then(|| Known::of(&configuration, self.settings.default_cluster()));
        let mut budget = self.budget(&configuration.targets, turn);
        let mut tally = Tally::default();
        let mut waited = Duration::ZERO;
        while let Some(Tick {
            offset,
            targets: places,
        }) = ticks.next_after(self.seconds_since(begun))
        {
            waited += self.wait_until(begun, offset).await;
            let mut polls: Vec<(Poll, &Target)> = places
                .iter()
                .filter_map(|poll| Some((*poll, *targets.get(poll.target)?)))
                .collect();
            self.missed.borrow().order(&mut polls, turn);
            let due = self.due(&polls, &budget);
            let now = self.clock.now();
            let mut passed = self
                .pass(
                    due.iter().copied(),
                    now,
                    deadline,
                    known.as_ref(),
                    wake.dry_run,
                )
                .await;
            budget.note(&due, &passed.outcomes, &mut self.left_out.borrow_mut());
            let decided_at =
                u32::try_from(now.duration_since(clock_start).as_secs()).unwrap_or(offset);
            let polled = polls.into_iter().zip(passed.outcomes);
            let polled = polled.filter(|((poll, _), outcome)| {
                self.missed.borrow_mut().note(outcome);
                let found = if wake.dry_run {
                    // It has changed nothing that could be followed up.
                    Found::QUIET
                } else {
                    outcome.found(now)
                };
                ticks.found(poll.target, offset.max(decided_at), found);
                found != Found::Resting
            });
            let polled = polled.map(|((poll, _), outcome)| (poll.target, outcome));
            let mut polled: Vec<(usize, Outcome<'_>)> = polled.collect();
            // What is said of them has the order of the configuration, whoever came first.
            polled.sort_by_key(|(place, _)| *place);
            let (places, outcomes): (Vec<usize>, Vec<Outcome<'_>>) = polled.into_iter().unzip();
            passed.outcomes = outcomes;
            self.log_pass(&passed, now);
            if let Some(voice) = &voice {
                self.tell(&teller, voice, &mut passed.outcomes, deadline)
                    .await;
                self.tell_refused(&teller, voice, &configuration, deadline)
                    .await;
            }
            tally.note(&passed);
            tally.add(&places, passed.outcomes);
        }
        // Also where nothing is left to poll.
        if let Some(voice) = &voice {
            self.tell_refused(&teller, voice, &configuration, deadline)
                .await;
        }

        let worked = begun.elapsed().saturating_sub(waited);
        let invocation = Invocation {
            wake: &wake,
            configuration: &configuration,
            stale: &stale,
            unknown: &unknown,
            now,
            duration_ms: u64::try_from(worked.as_millis()).unwrap_or(u64::MAX),
            pace: ticks.pace(),
        };
        log::lines(&[report::summary_line(
            &invocation,
            &tally,
            self.settings.metrics,
        )]);
        match report::failure(&invocation, &tally) {
            None => Ok(report::response(&invocation, &tally)),
            Some(message) => Err(InvocationError::Targets(message)),
        }
    }

    /// When the passes must be finished.
    fn deadline(&self, context: &Context, begun: Instant) -> Instant {
        let told = time_left(context.deadline, wall_now());
        let window = self.settings.window_seconds.get();
        let left = { self.timeout.borrow_mut() }.left(told, window);
        begun + left.saturating_sub(REPORT_RESERVE)
    }

    /// The paid reads of this invocation.
    fn budget(&self, targets: &[Target], turn: i64) -> Budget {
        let budget = Budget::new(&self.settings, targets, turn);
        self.left_out.borrow_mut().keep(&budget, targets);
        budget
    }

    /// The polls of a pass, with what each may read.
    fn due<'t>(&self, polls: &[(Poll, &'t Target)], budget: &Budget) -> Vec<Due<'t>> {
        let missed = self.missed.borrow();
        let looks = polls.iter().map(|(poll, target)| {
            let unless_at_rest = poll.unless_at_rest && !missed.is_owed(target);
            (unless_at_rest, *target)
        });
        let looks: Vec<(bool, &'t Target)> = looks.collect();
        let over = budget.over(&looks, &self.left_out.borrow());
        let due = looks.into_iter().zip(over);
        due.map(|((unless_at_rest, target), over_budget)| Due {
            target,
            unless_at_rest,
            over_budget,
        })
        .collect()
    }

    /// When these targets are polled in this invocation.
    fn ticks(&self, wake: &Wake, targets: &[&Target], time_left: Option<Duration>) -> Ticks {
        let window = Window {
            seconds: self.settings.window_seconds,
            sync_seconds: self.settings.poll_seconds(),
            event_time: wake.time,
            time_left: time_left.map(|left| self.clock.stretch(left)),
        };
        if !wake.covers_window() {
            return Ticks::once(window, targets.len());
        }
        let intervals: Vec<_> = targets
            .iter()
            .map(|target| target.policy.polling_seconds)
            .collect();
        Ticks::over(window, &intervals)
    }

    /// Seconds of the clock that polls go by.
    fn seconds_since(&self, begun: Instant) -> u32 {
        u32::try_from(self.clock.stretch(begun.elapsed()).as_secs()).unwrap_or(u32::MAX)
    }

    /// Waits until so many seconds of that clock after the beginning, and tells how long that took.
    async fn wait_until(&self, begun: Instant, offset: u32) -> Duration {
        let waiting = Instant::now();
        sleep_until(begun + self.clock.real(Duration::from_secs(offset.into()))).await;
        waiting.elapsed()
    }

    async fn pass<'t>(
        &self,
        targets: impl IntoIterator<Item = Due<'t>>,
        now: Timestamp,
        deadline: Option<Instant>,
        known: Option<&Known>,
        dry_run: bool,
    ) -> Passed<'t> {
        let hands = Hands {
            scaler: &self.clusters,
            memories: &self.clusters,
            shadow_memories: &self.clusters.observer(),
        };
        let world = World {
            sources: &self.sources,
            workloads: &self.clusters,
            memories: &self.clusters,
            hands: (!dry_run).then_some(hands),
        };
        let plan = Plan {
            now,
            deadline,
            default_cluster: self.settings.default_cluster(),
            poll_seconds: Some(self.settings.poll_seconds()),
            stops: &self.stops,
            function: Some(self.name.as_str()).filter(|name| !name.is_empty()),
            known,
        };
        pass::run(world, targets, plan).await
    }

    /// At once: an invocation that is cut off later has logged its decisions.
    fn log_pass(&self, passed: &Passed<'_>, now: Timestamp) {
        log::lines(&report::decision_lines(
            &passed.outcomes,
            now,
            &mut self.last_reasons.borrow_mut(),
            self.settings.log,
            self.settings.metrics,
        ));
        log::lines(&self.notices.borrow_mut().update(passed));
    }

    /// Tells the clusters what came of a pass.
    async fn tell(
        &self,
        teller: &Teller<'_>,
        voice: &Voice<'_, Clusters, Clusters>,
        outcomes: &mut [Outcome<'_>],
        deadline: Option<Instant>,
    ) {
        let occasion = Occasion {
            now: self.clock.now(),
            deadline,
            default_cluster: self.settings.default_cluster(),
        };
        log_untold(&teller.outcomes(voice, outcomes, occasion).await);
    }

    /// Tells the objects that are refused why that is so, once.
    async fn tell_refused(
        &self,
        teller: &Teller<'_>,
        voice: &Voice<'_, Clusters, Clusters>,
        configuration: &Configuration,
        deadline: Option<Instant>,
    ) {
        let refused = teller.refused(voice.statuses, configuration, deadline);
        log_untold(&refused.await);
    }

    /// What there is to scale, with its new findings told.
    async fn load(&self, deadline: Option<Instant>) -> Result<Loaded, InvocationError> {
        let read = |path: &Path| std::fs::read(path);
        let loaded = self
            .loader
            .load(&self.settings, read, &self.clusters, deadline)
            .await
            .map_err(|error| InvocationError::Configuration(error.to_string()))?;
        let findings = self.loader.untold(&loaded.configuration);
        let findings = findings.iter().map(|line| report::finding_line(line));
        log::lines(&findings.collect::<Vec<_>>());
        Ok(loaded)
    }

    /// What writes for the telling; nothing in a dry run.
    fn voice(&self, dry_run: bool) -> Option<Voice<'_, Clusters, Clusters>> {
        let voice = Voice {
            events: &self.clusters,
            statuses: &self.clusters,
        };
        (!dry_run).then_some(voice)
    }
}

fn log_untold(untold: &[Untold]) {
    let lines: Vec<String> = untold.iter().map(report::untold_line).collect();
    log::lines(&lines);
}

/// The time from now to a deadline, in milliseconds since 1970; `None` when that is over: the clock is ahead, or it is the constant
/// of `cargo lambda watch`.
fn time_left(deadline: u64, now: Timestamp) -> Option<Duration> {
    let deadline = Timestamp::from_millisecond(i64::try_from(deadline).ok()?).ok()?;
    let left = Duration::try_from(deadline.duration_since(now)).ok()?;
    (!left.is_zero()).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_is_over_or_no_time_leaves_none() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let left = |milliseconds| time_left(milliseconds, now);
        assert_eq!(left(1_800_000_075_250), Some(Duration::from_millis(75_250)));
        for over in [0, 600_000, 1_799_999_999_999, 1_800_000_000_000, u64::MAX] {
            assert_eq!(left(over), None, "{over}");
        }
    }
}
