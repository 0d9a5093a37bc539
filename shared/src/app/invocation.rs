//! What the functions of a platform call: the schedule's tick, and one message of the work queue. Each works until shortly
//! before its invocation ends; what is left is in the journal, and a message goes on with it.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use super::App;
use crate::clock::Clock;
use crate::command::{Command, Outcome, Progress};
use crate::error::{Error, Problem};
use crate::ids::{CredentialName, RunnerId};
use crate::operations::OperationId;
use crate::report::{CredentialMove, MoveReport};
use crate::rotation::drive::Run;
use crate::rotation::next::{Goal, past};
use crate::rotation::preflight::Principal;
use crate::work::{Invocation, Message, SliceName, WorkQueue, Worked};

impl App {
    /// The same program inside one invocation that is killed at `ends`; `queue` carries what is left. It is a runner of its
    /// own: many invocations may share a process.
    #[must_use]
    pub fn within(&self, ends: Timestamp, queue: Arc<dyn WorkQueue>) -> Self {
        let mut within = self.clone();
        let Self { surroundings, config, .. } = self;
        let invocation = Invocation::new(self.now(), ends, config.state.request_timeout, queue);
        within.surroundings.runner = RunnerId::new(format!("{}/{}", surroundings.runner, &surroundings.random.nonce()[..8]));
        within.invocation = Some(invocation);
        within
    }

    /// One tick of the schedule: what was asked of the API and has not ended, then whatever is due, open or past grace.
    pub async fn tick(&self) -> Result<Outcome, Error> {
        let mut left = BTreeSet::new();
        for credential in self.credentials() {
            if !self.operate_all(credential).await? {
                left.insert(credential.clone());
            }
        }
        let names: Vec<CredentialName> = self.credentials().filter(|name| !left.contains(*name)).cloned().collect();
        match names.is_empty() {
            true => Ok(Outcome::Moved(MoveReport::default())),
            false => self.rotate_due(names).await,
        }
    }

    /// Works one message off. After an error it may be delivered again, for another invocation may fare better.
    pub async fn work(&self, text: &str) -> Result<Worked, Error> {
        match Message::parse(text) {
            Ok(message) => Box::pin(self.carry_on(message)).await,
            Err(problem) => Ok(refused(problem)),
        }
    }

    /// Does what a message is about.
    pub(crate) async fn carry_on(&self, message: Message) -> Result<Worked, Error> {
        let name = message.credential();
        if !self.credentials().any(|known| known == name) {
            return Ok(refused(
                Problem::new("message-outdated", "a message from the queue is about a credential that the config does not have")
                    .hint("run one config on this queue"),
            ));
        }
        match message {
            Message::Drive { credential } => self.drive_on(&credential).await.map(|()| Worked::Done),
            Message::Slice(slice) => self.work_slice(&slice).await.map(|()| Worked::Done),
        }
    }

    /// One slice of a wave; and whatever comes after it, where it was the last.
    async fn work_slice(&self, name: &SliceName) -> Result<(), Error> {
        let credential = self.credential(&name.credential)?;
        let state = self.last_state(credential).await?;
        let Some(open) = state.open.filter(|open| open.plan.credential == name.credential) else { return Ok(()) };
        let principal = Principal {
            id: open.plan.service_principal_id.clone(),
            application_id: open.plan.application_id.clone(),
            display_name: String::new(),
        };
        let ports = self.ports(credential, principal, &Progress::none()).await?;
        let mut run = Run::open(&ports, Goal::Rotate { force: false }, None, ports.read().await?).await?;
        let ended = run.slice(name).await?;
        run.close().await?;
        if ended { self.drive_on(&name.credential).await } else { Ok(()) }
    }

    /// Whatever a credential needs: what was asked for, then what is due, open or past grace.
    async fn drive_on(&self, credential: &CredentialName) -> Result<(), Error> {
        if self.operate_all(credential).await? {
            self.rotate_due(vec![credential.clone()]).await?;
        }
        Ok(())
    }

    async fn rotate_due(&self, names: Vec<CredentialName>) -> Result<Outcome, Error> {
        let answer = Box::pin(self.run(Command::Rotate { names, force: false }, &Progress::none())).await;
        self.look_again_if_held(&answer).await;
        answer
    }

    /// Works off what was asked of the API; whether all of it has ended.
    async fn operate_all(&self, credential: &CredentialName) -> Result<bool, Error> {
        let mut ended = true;
        for number in self.unended(credential).await? {
            let id = OperationId { credential: credential.clone(), number };
            match Box::pin(self.operate(&id, &Progress::none())).await {
                Ok(done) => ended &= done,
                Err(error) => {
                    warn!(operation = %id, code = error.code(), "an operation could not be worked off: {error}");
                    ended = false;
                }
            }
        }
        Ok(ended)
    }

    /// Whoever holds a lease may die: somebody comes again to see.
    pub(super) async fn look_again_if_held(&self, answer: &Result<Outcome, Error>) {
        let Ok(Outcome::Moved(report)) = answer else { return };
        let held = |moved: &&CredentialMove| moved.error.as_ref().is_some_and(|problem| problem.code == "lease-held");
        for moved in report.credentials.iter().filter(held) {
            self.leave_to_another(&moved.name, past(self.now(), LOOK_AGAIN)).await;
        }
    }

    /// Sees to it that somebody goes on with this credential, not before `at`.
    pub(super) async fn leave_to_another(&self, credential: &CredentialName, at: Timestamp) {
        let Some(invocation) = &self.invocation else { return };
        let delay = at.duration_since(self.now()).try_into().unwrap_or_default();
        let message = Message::Drive { credential: credential.clone() };
        match invocation.queue.send(&message, delay).await {
            Ok(()) => info!(credential = %credential, "left the rest to another invocation"),
            Err(error) => {
                warn!(credential = %credential, code = error.code(), "the rest is left to the schedule: {error}");
            }
        }
    }

    /// The clock of this program.
    pub(crate) fn clock(&self) -> &Clock {
        &self.surroundings.clock
    }
}

/// After which it is looked whether a lease is still held.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_mins(1);

fn refused(problem: Problem) -> Worked {
    warn!(code = problem.code, "{}", problem.message);
    Worked::Refused(problem)
}
