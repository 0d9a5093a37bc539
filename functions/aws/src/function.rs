//! The function: one event in, one answer out. What every event needs is made once, and only when the first one comes.

use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::Router;
use futures::FutureExt;
use jiff::Timestamp;
use lakekey_core::api::Api;
use lakekey_core::app::{App, Surroundings};
use lakekey_core::clock::Clock;
use lakekey_core::config::env_vars::Environment;
use lakekey_core::config::{Config, ConfigSource};
use lakekey_core::error::{Error, ErrorKind, Problem};
use lakekey_core::http::reqwest_transport::ReqwestTransport;
use lakekey_core::http::transport::Transport;
use lakekey_core::random::Random;
use lakekey_core::report::{CredentialMove, MoveOutcome, MoveReport};
use lakekey_core::rotation::next::next;
use lakekey_core::runner;
use lakekey_core::storage::{Places, load_config};
use lakekey_core::work::WorkQueue;
use lambda_runtime::Context;
use serde_json::{Value, json};
use tracing::{Instrument, error, info, warn};

use crate::event::Event;
use crate::queue::NoQueue;
use crate::triggers::{call, messages, schedule, step};
use crate::unusable::Unusable;
use crate::{failure, invocation, metrics};

/// What the function takes from outside.
pub struct FunctionSurroundings {
    /// The environment: the config and its references, the platform's words.
    pub environment: Environment,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// Carries every request; `None` is the network.
    pub transport: Option<Arc<dyn Transport>>,
    /// Takes metrics, a line each.
    pub stdout: Box<dyn Write + Send>,
}

/// The function.
pub struct Function {
    surroundings: FunctionParts,
    config: Config,
    ready: OnceLock<Ready>,
    stdout: Mutex<Box<dyn Write + Send>>,
    warm: AtomicBool,
}

struct FunctionParts {
    environment: Environment,
    clock: Clock,
    random: Random,
    transport: Arc<dyn Transport>,
}

/// What is kept from one invocation to the next: connections and tokens, never facts about a rotation.
#[derive(Clone)]
struct Ready {
    app: Arc<App>,
    queue: Arc<dyn WorkQueue>,
    router: Router,
}

impl Function {
    /// Reads the config: a broken one ends the process before it takes any event.
    pub async fn new(surroundings: FunctionSurroundings, current_dir: &Path) -> Result<Self, Unusable> {
        let FunctionSurroundings { environment, clock, random, transport, stdout } = surroundings;
        let transport = match transport {
            Some(transport) => transport,
            None => Arc::new(ReqwestTransport::new(&environment)?),
        };
        let config = load_config(&ConfigSource::Environment, &environment, current_dir, &transport, &clock).await?;
        config.check_for_functions()?;
        Ok(Self {
            surroundings: FunctionParts { environment, clock, random, transport },
            config,
            ready: OnceLock::new(),
            stdout: Mutex::new(stdout),
            warm: AtomicBool::new(false),
        })
    }

    /// Answers one event.
    pub async fn answer(&self, event: Value, context: &Context) -> Result<Value, Error> {
        let cold_start = !self.warm.swap(true, Ordering::Relaxed);
        let answer = async {
            let answered = AssertUnwindSafe(Box::pin(self.perform(event, context))).catch_unwind().await;
            let answer = answered.unwrap_or_else(|_| {
                Err(Error::failed("defect", "the invocation was broken off by a defect of lakekey")
                    .hint("every target still holds a live secret; please report it with the lines of the log before this one"))
            });
            if let Err(error) = &answer {
                let source = std::error::Error::source(error).map(ToString::to_string);
                error!(error_type = failure::error_type(error), hint = error.problem().hint, source, "failed: {error}");
            }
            answer
        };
        answer.instrument(invocation::span(context, cold_start)).await
    }

    async fn perform(&self, event: Value, context: &Context) -> Result<Value, Error> {
        let event = Event::of(event)?;
        let began = self.surroundings.clock.now();
        let ends = invocation::ends(context, began);
        if ends <= began {
            return Err(Error::unfinished("out-of-time", "the invocation had no time left when it began")
                .hint("nothing was done; give the function a longer timeout"));
        }
        let Ready { app, queue, router } = self.ready()?;
        let app = app.within(ends, queue);
        match event {
            Event::Call(event) => call::answer(&router, &event).await,
            Event::Messages(batch) => Ok(messages::work(&app, &batch).await),
            Event::Schedule(tick) => {
                let report = schedule::tick(&app, &tick).await?;
                self.count(&report, began);
                told(&report)?;
                Ok(json!(report))
            }
            Event::Step(event) => {
                let report = step::step(&app, event).await?;
                self.count(&report, began);
                Ok(Value::Null)
            }
        }
    }

    /// What the first event makes and later ones find.
    fn ready(&self) -> Result<Ready, Error> {
        if let Some(ready) = self.ready.get() {
            return Ok(ready.clone());
        }
        let FunctionParts { environment, clock, random, transport } = &self.surroundings;
        let app = Arc::new(App::new(
            self.config.clone(),
            Surroundings {
                transport: Arc::clone(transport),
                storage: Arc::new(Places::new(&self.config, environment, transport, clock)?),
                clock: clock.clone(),
                random: random.clone(),
                environment: environment.clone(),
                runner: runner::id(environment, random),
                decide: next,
                sign_ins: None,
            },
        )?);
        let queue = app.sqs()?.unwrap_or_else(|| Arc::new(NoQueue));
        let router = Api::new(Arc::clone(&app), Arc::clone(&queue)).router();
        Ok(self.ready.get_or_init(|| Ready { app, queue, router }).clone())
    }

    /// Metrics of a run, each line written at once: a frozen process has nothing left to flush.
    fn count(&self, report: &MoveReport, began: Timestamp) {
        let service = self.surroundings.environment.get(SERVICE).unwrap_or(SERVICE_DEFAULT);
        let mut stdout = self.stdout.lock().unwrap_or_else(PoisonError::into_inner);
        for line in metrics::lines(service, report, began, self.surroundings.clock.now()) {
            // There is nowhere else to say that stdout is gone.
            let _ = stdout.write_all(format!("{line}\n").as_bytes()).and_then(|()| stdout.flush());
        }
    }
}

/// What became of each credential. One that failed fails the invocation, so that people see it; one that is not finished
/// does not, for the journal and the next invocation have the rest.
fn told(report: &MoveReport) -> Result<(), Error> {
    for moved in &report.credentials {
        let CredentialMove { name, outcome, error, .. } = moved;
        match error {
            Some(problem) => warn!(credential = %name, code = problem.code, "{}: {}", outcome.as_str(), problem.message),
            None => info!(credential = %name, "{}", outcome.as_str()),
        }
    }
    let failed = |moved: &&CredentialMove| moved.outcome == MoveOutcome::Failed;
    let failed: Vec<&CredentialMove> = report.credentials.iter().filter(failed).collect();
    let problem = match failed[..] {
        [] => return Ok(()),
        [CredentialMove { error: Some(problem), .. }] => problem.clone(),
        _ => {
            let names: Vec<String> = failed.iter().map(|moved| format!("`{}`", moved.name)).collect();
            Problem::new("credentials-failed", format!("the run failed for {}", names.join(", ")))
                .hint("the lines of the log before this one say why")
        }
    };
    Err(Error::new(ErrorKind::Failed, problem))
}

/// The name under which the function's lines and metrics are found.
pub(crate) const SERVICE: &str = "POWERTOOLS_SERVICE_NAME";
pub(crate) const SERVICE_DEFAULT: &str = "lakekey";
