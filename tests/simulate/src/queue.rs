//! A platform's queue between invocations: it delivers at least once, late and in any order, and may lose a message.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lakekey_core::error::Error;
use lakekey_core::work::{Message, WorkQueue};
use tokio::sync::Notify;

use crate::plan::QueuePlan;
use crate::universe::{Universe, held};

/// The queue of one universe; clones are the same queue.
#[derive(Clone, Default)]
pub struct Queue(Arc<Inner>);

#[derive(Default)]
struct Inner {
    waiting: Mutex<Vec<Waiting>>,
    put: Notify,
}

/// A message on its way.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// When it is delivered, in milliseconds after the start.
    pub at_ms: u64,
    /// What it says.
    pub text: String,
    /// How often it has been delivered in vain.
    pub tries: u32,
}

impl Queue {
    /// Adds a delivery.
    pub fn put(&self, waiting: Waiting) {
        held(&self.0.waiting).push(waiting);
        self.0.put.notify_one();
    }

    /// Takes the delivery that is due first, if any is due by then.
    pub fn take(&self, now_ms: u64) -> Option<Waiting> {
        let mut waiting = held(&self.0.waiting);
        let (first, _) = waiting.iter().enumerate().min_by_key(|(_, one)| one.at_ms).filter(|(_, one)| one.at_ms <= now_ms)?;
        Some(waiting.remove(first))
    }

    /// When the next delivery is due.
    pub fn next_ms(&self) -> Option<u64> {
        held(&self.0.waiting).iter().map(|one| one.at_ms).min()
    }

    /// How many deliveries are on their way.
    pub fn len(&self) -> usize {
        held(&self.0.waiting).len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until something has been put in.
    pub async fn put_into(&self) {
        self.0.put.notified().await;
    }
}

/// With so many on their way none is delivered twice.
const WAITING_MAX: usize = 3;

/// The queue as one process sees it.
pub struct Sender {
    /// Where the messages are.
    pub universe: Arc<Universe>,
    /// How unreliable it is.
    pub plan: QueuePlan,
}

#[async_trait]
impl WorkQueue for Sender {
    async fn send(&self, message: &Message, delay: Duration) -> Result<(), Error> {
        let universe = &self.universe;
        let text = message.to_text();
        universe.watch().shown("a queue message", &text, universe.cloud.now());
        universe.watch().counts.messages += 1;
        let due = universe.passed_ms() + u64::try_from(delay.as_millis()).unwrap_or_default();
        // Each delivery may send a message again: copies of copies of copies would be the queue's fault, not lakekey's.
        let crowded = universe.queue.len() >= WAITING_MAX;
        let copies = match (universe.chance(self.plan.lost), universe.chance(self.plan.twice)) {
            (true, _) => 0,
            (false, twice) => 1 + usize::from(twice && !crowded),
        };
        universe.trace("queue", || format!("{copies} × {text}"));
        for _ in 0..copies {
            let late = universe.between(0, self.plan.late_ms);
            universe.queue.put(Waiting { at_ms: due + late, text: text.clone(), tries: 0 });
        }
        Ok(())
    }
}
