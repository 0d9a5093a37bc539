//! One process of lakekey: made, run, perhaps killed, and what it said looked at.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lakekey_core::app::{App, Surroundings};
use lakekey_core::command::{Command, Outcome, Progress};
use lakekey_core::error::Error;
use lakekey_core::ids::RunnerId;
use lakekey_core::random::Random;
use lakekey_core::report::MoveReport;
use lakekey_core::work::Message;
use tokio::sync::mpsc::unbounded_channel;

use crate::broken;
use crate::places::Places;
use crate::plan::{Act, Ask, Edit, QueuePlan};
use crate::process::{Crash, Freeze, Incarnation, Process};
use crate::queue::Sender;
use crate::setup::Stage;
use crate::wire::Wire;

/// How one process is started.
#[derive(Clone, Debug)]
pub struct Start {
    /// Who it says it is.
    pub runner: RunnerId,
    /// By how much its clock is ahead, in milliseconds.
    pub skew_ms: i64,
    /// What it is asked.
    pub ask: Ask,
    /// When it dies.
    pub crash: Option<Crash>,
    /// When it stands still.
    pub freeze: Option<Freeze>,
    /// What a person does right after one of its effects.
    pub meanwhile: Option<(u64, Act)>,
    /// How its config differs.
    pub edit: Option<Edit>,
    /// Where it is an invocation of a platform.
    pub platform: Option<QueuePlan>,
    /// The message that it is to work off, in place of what it is asked.
    pub message: Option<String>,
}

impl Start {
    /// A process that nothing happens to.
    pub fn plain(runner: &str, ask: Ask) -> Self {
        let runner = RunnerId::new(runner);
        Self { runner, skew_ms: 0, ask, crash: None, freeze: None, meanwhile: None, edit: None, platform: None, message: None }
    }
}

/// How one process ended.
pub struct Finished {
    /// What it answered; `None` when it died.
    pub answer: Option<Result<Outcome, Error>>,
    /// Effects that it had.
    pub effects: u64,
}

impl Finished {
    /// The one credential's part of the answer.
    pub fn moved(&self) -> Option<&lakekey_core::report::CredentialMove> {
        match self.answer.as_ref()?.as_ref().ok()? {
            Outcome::Moved(report) => report.credentials.first(),
            Outcome::Plan(_) | Outcome::Status(_) | Outcome::History(_) | Outcome::Discovered(_) | Outcome::Doctor(_) => None,
        }
    }
}

/// Runs one process to its end.
pub async fn invoke(stage: &Stage, start: Start) -> Finished {
    let universe = &stage.universe;
    let number = universe.next_process();
    let clock = universe.clock.skewed(SignedDuration::from_millis(start.skew_ms));
    let process = Process::new(start.runner.clone(), clock.clone());
    let slice = start.message.as_deref().and_then(|text| match Message::parse(text) {
        Ok(Message::Slice(slice)) => Some(slice.epoch),
        Ok(Message::Drive { .. }) | Err(_) => None,
    });
    let process = Arc::new(process.fated(start.crash, start.freeze, start.meanwhile).working(slice));
    let who = start.runner.as_str();
    universe.trace(who, || format!("starts {:?}, crash {:?}, freeze {:?}", start.ask, start.crash, start.freeze));
    let surroundings = Surroundings {
        transport: Arc::new(Wire::new(Arc::clone(universe), Arc::clone(&process))),
        storage: Arc::new(Places::new(Arc::clone(universe), Arc::clone(&process))),
        clock,
        random: Random::seeded(stage.seed ^ number.rotate_left(40)),
        environment: stage.environment.clone(),
        sign_ins: None,
        runner: start.runner.clone(),
        decide: broken::decide(universe.variant),
    };
    let command = match start.ask {
        Ask::Rotate => Command::Rotate { names: Vec::new(), force: false },
        Ask::Force => Command::Rotate { names: Vec::new(), force: true },
        Ask::Reapply => Command::Reapply { names: Vec::new(), refresh: false },
        Ask::Refresh => Command::Reapply { names: Vec::new(), refresh: true },
        Ask::Rollback => Command::Rollback { names: Vec::new() },
        Ask::Revoke => Command::Revoke { names: Vec::new(), foreign: false },
        Ask::RevokeForeign => Command::Revoke { names: Vec::new(), foreign: true },
    };
    let (sender, mut heard) = unbounded_channel();
    let config = stage.config(start.edit).clone();
    let (platform, message, now) = (start.platform, start.message, process.clock.now());
    let queue = platform.map(|plan| Arc::new(Sender { universe: Arc::clone(universe), plan }));
    let work = Box::pin(async move {
        let app = App::new(config, surroundings)?;
        let (Some(platform), Some(queue)) = (platform, queue) else { return app.run(command, &Progress::to(sender)).await };
        let ends = now.saturating_add(SignedDuration::from_millis(millis(platform.ends_ms))).unwrap_or(Timestamp::MAX);
        let app = app.within(ends, queue);
        match (message, start.ask) {
            (Some(text), _) => app.work(&text).await.map(|_| Outcome::Moved(MoveReport::default())),
            (None, Ask::Rotate) => app.tick().await,
            (None, _) => app.run(command, &Progress::to(sender)).await,
        }
    });
    let lives = Incarnation::new(&process, work);
    let answer = match platform {
        // What has not ended by then the platform kills.
        Some(platform) => tokio::time::timeout(Duration::from_millis(platform.ends_ms), lives).await.unwrap_or_default(),
        None => lives.await,
    };
    let now = universe.cloud.now();
    let mut watch = universe.watch();
    while let Ok(event) = heard.try_recv() {
        watch.shown("progress", &event.step, now);
    }
    watch.counts.runs += 1;
    match &answer {
        None => watch.counts.crashes += 1,
        Some(answer) => watch.shown("a report or an error", &said(answer), now),
    }
    watch.counts.freezes += u64::from(process.stood_still());
    let (lines, telling) = universe.logs.take();
    watch.logged(lines, telling, now);
    watch.look_around(&universe.cloud);
    drop(watch);
    universe.trace(who, || format!("ends: {}", answer.as_ref().map_or_else(|| "died".to_owned(), brief)));
    Finished { answer, effects: process.effects() }
}

fn millis(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// Everything that an answer shows, its causes included.
fn said(answer: &Result<Outcome, Error>) -> String {
    match answer {
        Ok(outcome) => format!("{outcome:?}"),
        Err(error) => format!("{error:?}"),
    }
}

fn brief(answer: &Result<Outcome, Error>) -> String {
    match answer {
        Ok(Outcome::Moved(report)) => report
            .credentials
            .iter()
            .map(|one| {
                let error =
                    one.error.as_ref().map(|problem| format!(" ({}: {})", problem.code, problem.message)).unwrap_or_default();
                format!(
                    "{} {:?}, generation {:?}{error}",
                    one.outcome.as_str(),
                    one.phase,
                    one.generation.map(|generation| generation.0)
                )
            })
            .collect(),
        Ok(_) => "answered".to_owned(),
        Err(error) => format!("error {}: {error}", error.code()),
    }
}

/// Asks for something that changes nothing.
pub async fn ask(stage: &Stage, command: Command) -> Result<Outcome, Error> {
    let universe = &stage.universe;
    let runner = RunnerId::new("asks");
    let process = Arc::new(Process::new(runner.clone(), universe.clock.clone()));
    let surroundings = Surroundings {
        transport: Arc::new(Wire::new(Arc::clone(universe), Arc::clone(&process))),
        storage: Arc::new(Places::new(Arc::clone(universe), process)),
        clock: universe.clock.clone(),
        random: Random::seeded(stage.seed),
        environment: stage.environment.clone(),
        sign_ins: None,
        runner,
        decide: broken::decide(universe.variant),
    };
    App::new(stage.config.clone(), surroundings)?.run(command, &Progress::none()).await
}

/// Names processes apart.
pub fn runner_name(counter: &AtomicU64, runner: usize) -> RunnerId {
    let number = counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
    RunnerId::new(format!("runner-{runner}/{number}"))
}
