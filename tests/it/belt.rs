//! A work queue in memory that keeps what the cloud's queues promise, and no more: each message at least once, some time
//! after its delay. Tests lose, repeat and reorder what is on it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lakekey_core::app::App;
use lakekey_core::clock::Clock;
use lakekey_core::error::Error;
use lakekey_core::http::transport::Transport;
use lakekey_core::work::{Message, WorkQueue};

use crate::support::Bench;

/// What is under way, by when it may be delivered.
pub struct Belt {
    clock: Clock,
    waiting: Mutex<Vec<(Timestamp, String)>>,
}

#[async_trait::async_trait]
impl WorkQueue for Belt {
    async fn send(&self, message: &Message, delay: Duration) -> Result<(), Error> {
        let due = self.clock.now().saturating_add(SignedDuration::try_from(delay).unwrap()).unwrap();
        self.waiting.lock().unwrap().push((due, message.to_text()));
        Ok(())
    }
}

impl Belt {
    pub fn new(bench: &Bench) -> Arc<Self> {
        Arc::new(Self { clock: bench.clock.clone(), waiting: Mutex::default() })
    }

    /// Takes the message that is due first off the belt, once it is due.
    pub fn take(&self, bench: &Bench) -> Option<String> {
        let mut waiting = self.waiting.lock().unwrap();
        let first = waiting.iter().enumerate().min_by_key(|(at, (due, _))| (*due, *at)).map(|(at, _)| at)?;
        let (due, text) = waiting.remove(first);
        let left = due.duration_since(self.clock.now()).max(SignedDuration::ZERO);
        bench.pass(left.unsigned_abs());
        Some(text)
    }

    /// Takes the messages of slices off the belt; what drives a credential on stays.
    pub fn take_slices(&self) -> Vec<String> {
        let mut waiting = self.waiting.lock().unwrap();
        let (slices, others) = waiting.drain(..).partition(|(_, text)| text.contains("\"do\":\"slice\""));
        *waiting = others;
        let slices: Vec<(Timestamp, String)> = slices;
        slices.into_iter().map(|(_, text)| text).collect()
    }

    /// Whoever took this has died: it comes again.
    pub fn put_back(&self, text: &str, after: Duration) {
        let due = self.clock.now().saturating_add(SignedDuration::try_from(after).unwrap()).unwrap();
        self.waiting.lock().unwrap().push((due, text.to_owned()));
    }

    pub fn lose_all(&self) {
        self.waiting.lock().unwrap().clear();
    }
}

impl Bench {
    /// One invocation of a function that is killed after so long.
    pub fn invocation(&self, transport: Arc<dyn Transport>, belt: &Arc<Belt>, lasts: Duration) -> App {
        let ends = self.clock.now().saturating_add(SignedDuration::try_from(lasts).unwrap()).unwrap();
        self.elsewhere(transport, "function", self.clock.clone()).within(ends, Arc::clone(belt) as _)
    }
}
