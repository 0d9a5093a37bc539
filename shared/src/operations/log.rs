//! The journal of one credential's operations, folded: accepted, started, ended.
//!
//! **Guarantees.** Of two orders at the same time one is accepted, whichever process they reach; the same request is
//! accepted once. **Caveats.** A result is an object of its own beside the log, whose hash the log has.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use serde::{Deserialize, Serialize};

use super::{Operation, OperationId, OperationState, Task};
use crate::error::{Error, Problem};
use crate::ids::{CredentialName, RunnerId, hex};
use crate::journal::{Entry, Journal, JournalError, StateKey};
use crate::random::Random;
use crate::report::MoveReport;

/// What is asked for, by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// What to do.
    pub task: Task,
    /// Who asked: the role of the key, or `webhook`.
    pub by: String,
    /// Why, in the caller's words.
    pub reason: Option<String>,
    /// By which the same request is known again.
    pub request: Option<Request>,
}

/// A request as it can be recognised. Hashes only: what callers send as a key may be anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Of its `Idempotency-Key` or `webhook-id`.
    pub key: String,
    /// Of what was asked.
    pub content: String,
}

/// One fact about operations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Fact {
    /// The number of this entry is the operation's.
    Accepted(Order),
    /// A process has begun with it; again if the one before has died.
    Started { number: u64 },
    /// It has ended.
    Ended { number: u64, state: OperationState, result: Option<String>, error: Option<Problem> },
}

/// An operation as the log knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// When it was accepted.
    pub at: Timestamp,
    /// What was asked for.
    pub order: Order,
    /// How far it is.
    pub stage: Stage,
}

/// How far an operation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nobody has begun.
    Queued,
    /// Somebody has, and may have died since.
    Running,
    /// It has ended.
    Ended {
        /// How.
        state: OperationState,
        /// The hash of its result.
        result: Option<String>,
        /// Why there is none.
        error: Option<Problem>,
    },
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is a new operation.
    Accepted(OperationId),
    /// The same request was accepted before.
    Same(OperationId),
    /// Another request with the same key was accepted before.
    Different(OperationId),
    /// Another operation has not ended.
    Busy(OperationId),
}

/// One credential's operations.
pub struct OperationLog {
    credential: CredentialName,
    store: Arc<dyn ObjectStore>,
    journal: Journal<Fact>,
    known: BTreeMap<u64, Known>,
}

impl OperationLog {
    /// Reads the whole log. With a state key it is another log than without, so that no unsigned one can be slipped in.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        credential: &CredentialName,
        key: Option<Arc<StateKey>>,
    ) -> Result<Self, Error> {
        let kind = if key.is_some() { "signed-operations" } else { "operations" };
        let mut known = BTreeMap::new();
        let reader = |entry| fold(&mut known, &entry);
        let journal = Journal::open(Arc::clone(&store), &format!("{kind}-{credential}"), key, reader).await?;
        Ok(Self { credential: credential.clone(), store, journal, known })
    }

    /// Reads what others have added since.
    pub async fn refresh(&mut self) -> Result<(), Error> {
        let fresh = self.journal.refresh().await?;
        fresh.iter().for_each(|entry| fold(&mut self.known, entry));
        Ok(())
    }

    /// Everything known, oldest first.
    pub fn known(&self) -> &BTreeMap<u64, Known> {
        &self.known
    }

    /// The operation that this request became, if it was accepted before.
    pub fn earlier(&self, request: &Request) -> Option<Admission> {
        let (number, known) = self
            .known
            .iter()
            .rev()
            .find(|(_, known)| known.order.request.as_ref().is_some_and(|earlier| earlier.key == request.key))?;
        let same = known.order.request.as_ref() == Some(request);
        Some(if same { Admission::Same(self.id(*number)) } else { Admission::Different(self.id(*number)) })
    }

    /// The newest operation that has not ended.
    pub fn pending(&self) -> Option<OperationId> {
        let mut newest = self.known.iter().rev();
        newest.find(|(_, known)| !known.stage.is_end()).map(|(number, _)| self.id(*number))
    }

    /// Accepts an order, unless it was accepted before or another one has not ended.
    pub async fn accept(&mut self, by: &Writer<'_>, order: &Order) -> Result<Admission, Error> {
        for _ in 0..RACES_MAX {
            if let Some(earlier) = order.request.as_ref().and_then(|request| self.earlier(request)) {
                return Ok(earlier);
            }
            if let Some(pending) = self.pending().filter(|_| !order.task.supersedes()) {
                return Ok(Admission::Busy(pending));
            }
            if let Some(number) = self.try_append(by, Fact::Accepted(order.clone())).await? {
                return Ok(Admission::Accepted(self.id(number)));
            }
        }
        Err(contended())
    }

    /// Notes that somebody works on it.
    pub async fn start(&mut self, by: &Writer<'_>, number: u64) -> Result<(), Error> {
        self.append(by, number, Fact::Started { number }).await
    }

    /// Notes how it ended; the first to say so is believed.
    pub async fn end(
        &mut self,
        by: &Writer<'_>,
        number: u64,
        state: OperationState,
        answer: Result<MoveReport, Problem>,
    ) -> Result<(), Error> {
        let (result, error) = match answer {
            Ok(report) => (Some(self.keep(number, &report).await?), None),
            Err(problem) => (None, Some(problem)),
        };
        self.append(by, number, Fact::Ended { number, state, result, error }).await
    }

    /// The operation as callers see it.
    pub async fn show(&self, number: u64) -> Result<Option<Operation>, Error> {
        let Some(known) = self.known.get(&number) else { return Ok(None) };
        let (state, result, error) = match &known.stage {
            Stage::Queued => (OperationState::Queued, None, None),
            Stage::Running => (OperationState::Running, None, None),
            Stage::Ended { state, result: Some(hash), .. } => (*state, Some(self.kept(number, hash).await?), None),
            Stage::Ended { state, error, .. } => (*state, None, error.clone()),
        };
        Ok(Some(Operation { id: self.id(number).to_string(), state, result, error }))
    }

    fn id(&self, number: u64) -> OperationId {
        OperationId { credential: self.credential.clone(), number }
    }

    async fn append(&mut self, by: &Writer<'_>, number: u64, fact: Fact) -> Result<(), Error> {
        for _ in 0..RACES_MAX {
            let ended = self.known.get(&number).is_none_or(|known| known.stage.is_end());
            if ended || self.try_append(by, fact.clone()).await?.is_some() {
                return Ok(());
            }
        }
        Err(contended())
    }

    /// `None` when somebody else was first: what they wrote is then known.
    async fn try_append(&mut self, by: &Writer<'_>, fact: Fact) -> Result<Option<u64>, Error> {
        match self.journal.append(by.random, by.at, by.runner, fact).await {
            Ok(entry) => {
                fold(&mut self.known, &entry);
                Ok(Some(entry.seq))
            }
            Err(JournalError::Lost { .. }) => self.refresh().await.map(|()| None),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps a result beside the log. Named by its hash, so that whoever comes second writes the same or another object.
    async fn keep(&self, number: u64, report: &MoveReport) -> Result<String, Error> {
        let bytes = serde_json::to_vec(report).map_err(|error| unkept().caused_by(error))?;
        let hash = sha256(&bytes);
        let put = self.store.put_opts(&self.place(number, &hash), Bytes::from(bytes).into(), PutMode::Create.into()).await;
        match put {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(hash),
            Err(error) => Err(JournalError::from(error).into()),
        }
    }

    async fn kept(&self, number: u64, hash: &str) -> Result<MoveReport, Error> {
        let found = self.store.get(&self.place(number, hash)).await.map_err(|error| unkept().caused_by(error))?;
        if found.meta.size > RESULT_BYTES_MAX {
            return Err(unkept());
        }
        let bytes = found.bytes().await.map_err(|error| unkept().caused_by(error))?;
        if sha256(&bytes) != hash {
            return Err(unkept());
        }
        serde_json::from_slice(&bytes).map_err(|error| unkept().caused_by(error))
    }

    fn place(&self, number: u64, hash: &str) -> Path {
        Path::from_iter(["operations", self.credential.as_str(), &format!("{number}-{hash}.json")])
    }
}

/// Who writes, when.
pub struct Writer<'a> {
    /// Makes entries unlike any other.
    pub random: &'a Random,
    /// Now.
    pub at: Timestamp,
    /// This process.
    pub runner: &'a RunnerId,
}

impl Stage {
    /// Whether nothing more will happen.
    pub fn is_end(&self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Ended { .. } => true,
        }
    }
}

fn fold(known: &mut BTreeMap<u64, Known>, entry: &Entry<Fact>) {
    match &entry.event {
        Fact::Accepted(order) => {
            known.insert(entry.seq, Known { at: entry.at, order: order.clone(), stage: Stage::Queued });
        }
        Fact::Started { number } => enter(known, *number, Stage::Running),
        Fact::Ended { number, state, result, error } => {
            enter(known, *number, Stage::Ended { state: *state, result: result.clone(), error: error.clone() });
        }
    }
}

/// What has ended stays as it ended.
fn enter(known: &mut BTreeMap<u64, Known>, number: u64, stage: Stage) {
    if let Some(known) = known.get_mut(&number).filter(|known| !known.stage.is_end()) {
        known.stage = stage;
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

fn contended() -> Error {
    Error::failed("operations-contended", "too many requests for this credential at the same time").hint("ask again in a moment")
}

fn unkept() -> Error {
    Error::failed("operation-result-lost", "the operation has ended, but its result can't be read back")
        .hint("`GET /api/credentials/{name}` says where the credential stands; the log has the cause")
}

/// Other writers that may be first before an append is given up.
const RACES_MAX: usize = 16;
/// Far beyond the report of the largest rotation.
const RESULT_BYTES_MAX: u64 = 16 * 1024 * 1024;
