//! The functions that the host calls by name. Each reads its envelope, makes one call of the core inside the invocation's
//! time, and says what came of it.

mod nearexpiry;
mod schedule;
mod worker;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use futures::FutureExt;
use jiff::SignedDuration;
use lakekey_core::app::App;
use lakekey_core::command::Outcome;
use lakekey_core::error::{Error, ErrorKind, Problem};
use lakekey_core::report::{CredentialMove, MoveOutcome};
use lakekey_core::work::WorkQueue;
use tracing::{error, info, warn};

use crate::answer;
use crate::envelope::Envelope;

/// A function that is not plain HTTP; `function.json` in the folder of its name says what triggers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Schedule,
    Worker,
    NearExpiry,
}

impl Function {
    const ALL: [Self; 3] = [Self::Schedule, Self::Worker, Self::NearExpiry];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Worker => "worker",
            Self::NearExpiry => "nearexpiry",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.as_str() == name)
    }
}

/// What the functions work with.
pub(crate) struct Functions {
    app: Arc<App>,
    queue: Arc<dyn WorkQueue>,
}

/// What a function has done, a sentence each; shown with the invocation.
type Said = Vec<String>;

impl Functions {
    pub(crate) fn new(app: Arc<App>, queue: Arc<dyn WorkQueue>) -> Self {
        Self { app, queue }
    }

    /// Answers one invocation, whatever happens.
    pub(crate) async fn invoke(&self, function: Function, body: Body) -> Response {
        let work = async {
            let envelope = Envelope::read(body).await?;
            Box::pin(self.perform(function, &envelope)).await
        };
        match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Ok(said)) => {
                info!("done");
                answer::done(&said)
            }
            Ok(Err(error)) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                warn!(code = error.code(), hint = error.problem().hint, source, "failed: {error}");
                answer::failed(error.problem())
            }
            Err(_) => {
                error!("broken off by a defect of lakekey; every target still holds a live secret");
                answer::failed(&Problem::new("defect", "the invocation was broken off by a defect of lakekey"))
            }
        }
    }

    async fn perform(&self, function: Function, envelope: &Envelope) -> Result<Said, Error> {
        let ends = self.app.now().saturating_add(INVOCATION_MAX).map_err(|_| too_late())?;
        let app = self.app.within(ends, Arc::clone(&self.queue));
        match function {
            Function::Schedule => schedule::schedule(&app, envelope).await,
            Function::Worker => worker::worker(&app, envelope).await,
            Function::NearExpiry => nearexpiry::nearexpiry(&app, envelope).await,
        }
    }
}

/// What became of each credential. One that failed fails the invocation, so that people see it and the host tries again;
/// one that is not finished does not, for the journal and the next invocation have the rest.
fn told(outcome: &Outcome) -> Result<Said, Error> {
    let Outcome::Moved(report) = outcome else { return Ok(Said::new()) };
    let failed = report.credentials.iter().filter(|moved| moved.outcome == MoveOutcome::Failed);
    let named: Vec<String> = failed.map(|moved| format!("`{}`", moved.name)).collect();
    if named.is_empty() {
        return Ok(report.credentials.iter().map(sentence).collect());
    }
    for moved in &report.credentials {
        warn!(credential = %moved.name, "{}", sentence(moved));
    }
    Err(Error::new(ErrorKind::Failed, Problem::new("credentials-failed", format!("the run failed for {}", named.join(", "))))
        .hint("the lines before this one say why; `GET /api/credentials` shows where each stands"))
}

fn sentence(moved: &CredentialMove) -> String {
    let CredentialMove { name, outcome, error, .. } = moved;
    match error {
        Some(Problem { code, message, .. }) => format!("{name}: {}: {code}: {message}", outcome.as_str()),
        None => format!("{name}: {}", outcome.as_str()),
    }
}

fn too_late() -> Error {
    Error::failed("clock-wrong", "this machine's clock is at the end of time")
}

/// Half of `functionTimeout` in `host.json`: past that the host kills the process, and every other invocation with it.
const INVOCATION_MAX: SignedDuration = SignedDuration::from_mins(5);

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_invocation_ends_well_before_the_host_ends_it() {
        let host: Value = serde_json::from_str(include_str!("../../../host.json")).unwrap();
        assert_eq!(host["functionTimeout"], "00:10:00", "as long as every plan allows");
        assert!(INVOCATION_MAX * 2 <= SignedDuration::from_mins(10));
    }
}
