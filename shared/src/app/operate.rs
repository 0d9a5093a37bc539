//! Working off what the HTTP API has accepted, and what it must know of a credential before it accepts anything.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{App, Surroundings};
use crate::aws::Aws;
use crate::command::{Outcome, Progress};
use crate::config::{Api, Credential, StoreLocation};
use crate::error::{Error, ErrorKind, ExitStatus, Problem};
use crate::ids::CredentialName;
use crate::operations::{OperationId, OperationLog, OperationState, Stage, Task, Writer};
use crate::report::MoveReport;
use crate::rotation::event::Asked;
use crate::rotation::next::past;
use crate::secret::Secret;
use crate::stop::Stop;
use crate::work::{SqsQueue, WorkQueue};

impl App {
    /// The same program, on somebody's behalf: the journal says whose.
    #[must_use]
    pub fn on_behalf_of(&self, asked: Asked) -> Self {
        Self { asked: Some(asked), ..self.clone() }
    }

    /// The same program, which leaves off when it is asked to.
    #[must_use]
    pub fn until(&self, stop: Stop) -> Self {
        Self { stop, ..self.clone() }
    }

    /// The work queue of AWS, where the environment names one.
    pub fn sqs(&self) -> Result<Option<Arc<dyn WorkQueue>>, Error> {
        let Surroundings { transport, clock, environment, .. } = &self.surroundings;
        let Some(url) = environment.get(QUEUE_URL) else { return Ok(None) };
        let aws = Aws::new(environment.clone(), Arc::clone(transport), clock.clone(), self.config.state.request_timeout)?;
        Ok(Some(Arc::new(SqsQueue::new(aws, url))))
    }

    /// Every credential of the config.
    pub fn credentials(&self) -> impl Iterator<Item = &CredentialName> {
        self.config.credentials.iter().map(|credential| &credential.name)
    }

    /// The credential that is kept in this secret of Key Vault, as its store or a copy. Case does not count there.
    pub fn kept_in_key_vault(&self, vault: &str, name: &str) -> Option<&CredentialName> {
        let place = format!("akv:{vault}/{name}");
        let keeps = |location: &StoreLocation| location.to_string().eq_ignore_ascii_case(&place);
        let keeper = self
            .config
            .credentials
            .iter()
            .find(|credential| std::iter::once(&credential.store).chain(&credential.copies).any(keeps));
        keeper.map(|credential| &credential.name)
    }

    /// Now, by this program's clock.
    pub fn now(&self) -> Timestamp {
        self.surroundings.clock.now()
    }

    /// Works an operation off: done at once if it has ended already, taken up again if whoever had begun has died. Whether it
    /// has ended: an invocation leaves what it can't finish to another.
    pub async fn operate(&self, id: &OperationId, progress: &Progress) -> Result<bool, Error> {
        let mut log = self.operation_log(&id.credential).await?;
        let Some(known) = log.known().get(&id.number).cloned() else { return Err(unknown_operation(id)) };
        let again = match known.stage {
            Stage::Ended { .. } => return Ok(true),
            Stage::Running => true,
            Stage::Queued => false,
        };
        log.start(&self.writer(), id.number).await?;
        let task = match known.order.task {
            // Its rotation may have been the last thing that a process did before it died.
            Task::Rotate { force: true } if again && self.rotated_since(&id.credential, known.at).await? => {
                Task::Rotate { force: false }
            }
            task @ (Task::Rotate { .. } | Task::Reapply { .. } | Task::Rollback | Task::Revoke) => task,
        };
        let asked = Asked {
            by: known.order.by,
            reason: known.order.reason,
            operation: id.to_string(),
            config: self.config.digest.clone(),
        };
        let answer = Box::pin(self.on_behalf_of(asked).run(task.command(id.credential.clone()), progress)).await;
        self.look_again_if_held(&answer).await;
        let later = self.is_for_another(&answer, known.at);
        let (state, answer) = ending(answer);
        if state != OperationState::Succeeded && (later || self.stop.is_asked()) {
            return Ok(false);
        }
        log.end(&self.writer(), id.number, state, answer).await.map(|()| true)
    }

    /// Whether another invocation goes on with an operation that was accepted then.
    fn is_for_another(&self, answer: &Result<Outcome, Error>, accepted: Timestamp) -> bool {
        let in_time = past(accepted, GIVEN_UP_AFTER) > self.now();
        let left = |problem: &Problem| ["carried-on", "lease-held"].contains(&problem.code.as_str());
        let Ok(Outcome::Moved(report)) = answer else { return false };
        let errors = report.credentials.iter().filter_map(|moved| moved.error.as_ref());
        self.invocation.is_some() && in_time && errors.into_iter().any(left)
    }

    /// Operations that have not ended: queued, or left behind by a process that has died.
    pub async fn pending_operations(&self) -> Result<Vec<OperationId>, Error> {
        let mut pending = Vec::new();
        for credential in self.credentials() {
            let numbers = self.unended(credential).await?;
            pending.extend(numbers.into_iter().map(|number| OperationId { credential: credential.clone(), number }));
        }
        Ok(pending)
    }

    pub(super) async fn unended(&self, credential: &CredentialName) -> Result<Vec<u64>, Error> {
        let log = self.operation_log(credential).await?;
        Ok(log.known().iter().filter(|(_, known)| !known.stage.is_end()).map(|(number, _)| *number).collect())
    }

    /// What was asked of the API for one credential.
    pub(crate) async fn operation_log(&self, credential: &CredentialName) -> Result<OperationLog, Error> {
        let store = self.surroundings.storage.open_state(&self.config.state.location).await?;
        OperationLog::open(store, credential, self.state_key().await?).await
    }

    /// Whether a rotation or reapply is open, and the operation that is for, where an operation began it. A journal that
    /// cannot be trusted has none: the run itself will say what is wrong.
    pub(crate) async fn open_rotation(&self, name: &CredentialName) -> Result<Option<Option<OperationId>>, Error> {
        let state = match self.last_known(self.credential(name)?).await {
            Ok(state) => state,
            Err(error) if error.kind() == ErrorKind::Quarantined => return Ok(None),
            Err(error) => return Err(error),
        };
        let operation = state.asked.as_ref().and_then(|asked| OperationId::parse(&asked.operation));
        Ok(state.phase().is_open().then_some(operation))
    }

    /// Who writes to the log of operations.
    pub(crate) fn writer(&self) -> Writer<'_> {
        Writer { random: &self.surroundings.random, at: self.now(), runner: &self.surroundings.runner }
    }

    /// Keys of the API, as the config refers to them.
    pub(crate) fn api(&self) -> &Api {
        &self.config.api
    }

    /// The value of a reference, read now.
    pub(crate) async fn secret(&self, reference: &crate::config::reference::Reference) -> Result<Secret, Error> {
        self.secrets.read(reference, &self.identities).await
    }

    async fn rotated_since(&self, name: &CredentialName, at: Timestamp) -> Result<bool, Error> {
        let state = self.last_known(self.credential(name)?).await?;
        Ok(state.rotated_at.is_some_and(|rotated| rotated >= at))
    }

    pub(super) fn credential(&self, name: &CredentialName) -> Result<&Credential, Error> {
        self.named(std::slice::from_ref(name)).map(|named| named[0])
    }
}

fn ending(answer: Result<Outcome, Error>) -> (OperationState, Result<MoveReport, Problem>) {
    match answer {
        Ok(outcome) => {
            let state = state_of(outcome.exit_status());
            match outcome {
                Outcome::Moved(report) => (state, Ok(report)),
                Outcome::Plan(_) | Outcome::Status(_) | Outcome::History(_) | Outcome::Discovered(_) | Outcome::Doctor(_) => {
                    (state, Ok(MoveReport::default()))
                }
            }
        }
        Err(error) => (state_of(error.kind().exit_status()), Err(error.problem().clone())),
    }
}

fn state_of(status: ExitStatus) -> OperationState {
    match status {
        ExitStatus::Done => OperationState::Succeeded,
        ExitStatus::Unfinished => OperationState::Incomplete,
        ExitStatus::Failed | ExitStatus::Usage | ExitStatus::OfCommand(_) => OperationState::Failed,
    }
}

fn unknown_operation(id: &OperationId) -> Error {
    Error::usage("unknown-operation", format!("there is no operation `{id}`"))
        .hint("an id is in the `Location` of the answer that accepted it")
}

/// An operation that was carried on for so long ends as it stands; the schedule goes on with what it left open.
const GIVEN_UP_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// The work queue.
const QUEUE_URL: &str = "LAKEKEY_QUEUE_URL";
