//! Who works operations off after their callers have been answered: this process, from a bounded queue, or the platform's
//! queue. Either may lose or repeat an operation: the log says what has ended, and the timer finds what was left behind.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use std::sync::Arc;
use tokio::sync::mpsc;
use tracing::warn;

use super::OperationId;
use crate::app::App;
use crate::command::{Command, Progress};
use crate::error::Error;
use crate::ids::CredentialName;
use crate::stop::Stop;

/// Takes operations to be worked off.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Sees to it that `id` is worked off, soon and at least once.
    async fn put(&self, id: &OperationId) -> Result<(), Error>;
}

/// This process's own queue.
#[derive(Clone)]
pub struct LocalQueue(mpsc::Sender<Work>);

/// The other end.
pub struct LocalWorker {
    app: Arc<App>,
    receiver: mpsc::Receiver<Work>,
    turns: Mutex<BTreeMap<CredentialName, Arc<tokio::sync::Mutex<()>>>>,
}

/// One thing to do.
#[derive(Clone, Debug)]
enum Work {
    Operation(OperationId),
    /// The timer's: what is due, open or past grace.
    Due(CredentialName),
}

impl LocalQueue {
    /// A queue and who works it off with `app`.
    pub fn new(app: Arc<App>) -> (Self, LocalWorker) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), LocalWorker { app, receiver, turns: Mutex::default() })
    }

    /// One tick of the timer: what the API accepted and nobody ended, then each credential's due check.
    pub async fn tick(&self, app: &App) {
        match app.pending_operations().await {
            Ok(pending) => {
                for id in pending {
                    self.wait(Work::Operation(id)).await;
                }
            }
            Err(error) => warn!(code = error.code(), "could not look for operations that were left behind: {error}"),
        }
        for credential in app.credentials() {
            self.wait(Work::Due(credential.clone())).await;
        }
    }

    /// What was left behind by a process that has died.
    pub async fn resume(&self, app: &App) -> Result<(), Error> {
        for id in app.pending_operations().await? {
            self.wait(Work::Operation(id)).await;
        }
        Ok(())
    }

    async fn wait(&self, work: Work) {
        // The worker is gone only when the process is ending.
        let _ = self.0.send(work).await;
    }
}

#[async_trait]
impl Queue for LocalQueue {
    async fn put(&self, id: &OperationId) -> Result<(), Error> {
        self.0.try_send(Work::Operation(id.clone())).map_err(|_| {
            Error::failed("queue-full", "more operations are waiting than this process takes on").hint(
                "it stays accepted and is worked off with the next tick of the timer; `GET /api/operations/{id}` follows it",
            )
        })
    }
}

impl LocalWorker {
    /// Works until `stop` is asked and what was under way has ended.
    pub async fn run(mut self, stop: Stop) {
        let app = self.app.until(stop.clone());
        let turns = std::mem::take(&mut self.turns);
        let mut running = futures::stream::FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = stop.asked() => break,
                Some(()) = futures::StreamExt::next(&mut running) => {}
                work = self.receiver.recv(), if running.len() < AT_ONCE => match work {
                    Some(work) => running.push(one(&app, work, &turns)),
                    None => break,
                },
            }
        }
        while futures::StreamExt::next(&mut running).await.is_some() {}
    }
}

/// One credential's work is done in turn: this process is one runner, and would only find its own lease held.
async fn one(app: &App, work: Work, turns: &Mutex<BTreeMap<CredentialName, Arc<tokio::sync::Mutex<()>>>>) {
    let credential = match &work {
        Work::Operation(id) => id.credential.clone(),
        Work::Due(credential) => credential.clone(),
    };
    let turn = Arc::clone(turns.lock().unwrap_or_else(PoisonError::into_inner).entry(credential).or_default());
    let _mine = turn.lock().await;
    match work {
        Work::Operation(id) => {
            if let Err(error) = Box::pin(app.operate(&id, &Progress::none())).await {
                warn!(operation = %id, code = error.code(), "an operation could not be worked off: {error}");
            }
        }
        Work::Due(credential) => {
            let rotate = Command::Rotate { names: vec![credential.clone()], force: false };
            if let Err(error) = Box::pin(app.run(rotate, &Progress::none())).await {
                warn!(credential = %credential, code = error.code(), "the timer's run failed: {error}");
            }
        }
    }
}

/// Operations that may wait; more would be a caller gone wild.
const WAITING_MAX: usize = 64;
/// Pieces of work at the same time; one credential's come in turn.
const AT_ONCE: usize = 4;
