//! This process's own queue, for `lakekey serve`: bounded, and gone with the process. The operations' log says what has
//! ended, and the timer finds what was left behind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tracing::warn;

use super::{Message, WorkQueue, Worked};
use crate::app::App;
use crate::error::Error;
use crate::ids::CredentialName;
use crate::stop::Stop;

/// This process's own queue.
#[derive(Clone)]
pub struct LocalQueue(mpsc::Sender<Waiting>);

/// The other end.
pub struct LocalWorker {
    app: Arc<App>,
    receiver: mpsc::Receiver<Waiting>,
}

struct Waiting {
    message: Message,
    delay: Duration,
}

/// Credentials whose work is under way.
type Turns = Mutex<BTreeMap<CredentialName, Arc<tokio::sync::Mutex<()>>>>;

impl LocalQueue {
    /// A queue and who works it off with `app`.
    pub fn new(app: Arc<App>) -> (Self, LocalWorker) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), LocalWorker { app, receiver })
    }

    /// A queue that nobody works off.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Self {
        Self(mpsc::channel(1).0)
    }

    /// One tick of the timer: whatever each credential needs.
    pub async fn tick(&self, app: &App) {
        for credential in app.credentials() {
            self.wait(credential).await;
        }
    }

    /// What was left behind by a process that has died.
    pub async fn resume(&self, app: &App) -> Result<(), Error> {
        for id in app.pending_operations().await? {
            self.wait(&id.credential).await;
        }
        Ok(())
    }

    async fn wait(&self, credential: &CredentialName) {
        let message = Message::Drive { credential: credential.clone() };
        // The worker is gone only when the process is ending.
        let _ = self.0.send(Waiting { message, delay: Duration::ZERO }).await;
    }
}

#[async_trait]
impl WorkQueue for LocalQueue {
    async fn send(&self, message: &Message, delay: Duration) -> Result<(), Error> {
        self.0.try_send(Waiting { message: message.clone(), delay }).map_err(|_| {
            Error::failed("queue-full", "more work is waiting than this process takes on").hint(
                "it stays accepted and is worked off with the next tick of the timer; `GET /api/operations/{id}` follows it",
            )
        })
    }
}

impl LocalWorker {
    /// Works until `stop` is asked and what was under way has ended.
    pub async fn run(mut self, stop: Stop) {
        let app = self.app.until(stop.clone());
        let clock = app.clock();
        let turns = Turns::default();
        let mut running = FuturesUnordered::new();
        let mut delayed = FuturesUnordered::new();
        loop {
            let (message, delay) = tokio::select! {
                biased;
                () = stop.asked() => break,
                Some(()) = running.next() => continue,
                Some(message) = delayed.next(), if running.len() < AT_ONCE => (message, Duration::ZERO),
                waiting = self.receiver.recv(), if running.len() < AT_ONCE => match waiting {
                    Some(Waiting { message, delay }) => (message, delay),
                    None => break,
                },
            };
            match delay.is_zero() {
                true => running.push(one(&app, message, &turns)),
                false => delayed.push(async move {
                    clock.sleep(delay).await;
                    message
                }),
            }
        }
        while running.next().await.is_some() {}
    }
}

/// One credential's work is done in turn: this process is one runner, and would only find its own lease held.
async fn one(app: &App, message: Message, turns: &Turns) {
    let credential = message.credential().clone();
    let turn = Arc::clone(turns.lock().unwrap_or_else(PoisonError::into_inner).entry(credential.clone()).or_default());
    let _mine = turn.lock().await;
    match Box::pin(app.carry_on(message)).await {
        Ok(Worked::Done) => {}
        Ok(Worked::Refused(problem)) => warn!(credential = %credential, code = problem.code, "{}", problem.message),
        Err(error) => warn!(credential = %credential, code = error.code(), "work could not be carried on: {error}"),
    }
}

/// Messages that may wait; more would be a caller gone wild.
const WAITING_MAX: usize = 64;
/// Pieces of work at the same time; one credential's come in turn.
const AT_ONCE: usize = 4;
