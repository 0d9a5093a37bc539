//! Work that another invocation goes on with: what a message says, and the queue that carries it. A function of a platform
//! ends at a known time; what is left is in the journal, and a message says whose journal to look at.
//!
//! **Guarantees.** A message names and grants nothing: whoever takes it reads in the journal what may be done, so that one
//! that is lost, late, repeated, out of order or made up does no harm. It never carries a secret.

mod local;
mod message;
mod sqs;
mod storage_queue;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use url::Url;

use crate::config::hosts::HostPolicy;
use crate::error::{Error, Problem};
pub use local::{LocalQueue, LocalWorker};
pub use message::{Message, SliceName};
pub use sqs::SqsQueue;
pub use storage_queue::StorageQueue;

/// Carries messages. It may lose or repeat them: the schedule finds what was left behind.
#[async_trait]
pub trait WorkQueue: Send + Sync {
    /// Sees to it that `message` is taken by somebody, not before `delay` has passed; at most [`DELAY_MAX`].
    async fn send(&self, message: &Message, delay: Duration) -> Result<(), Error>;
}

/// The longest delay that every queue can keep; what must wait longer is left to the schedule.
pub const DELAY_MAX: Duration = Duration::from_secs(15 * 60);

/// One call of a platform's function: when it must have ended, and who carries what is left.
#[derive(Clone)]
pub struct Invocation {
    /// No step begins after this.
    pub leave_at: Timestamp,
    /// What is under way is broken off then, so that there is time to say so.
    pub break_off_at: Timestamp,
    /// Takes what is left.
    pub queue: Arc<dyn WorkQueue>,
}

impl Invocation {
    /// One that began at `now` and is killed at `ends`. A request that is under way when it leaves may take `request_timeout`;
    /// one that is short altogether works for half of its time all the same.
    pub fn new(now: Timestamp, ends: Timestamp, request_timeout: Duration, queue: Arc<dyn WorkQueue>) -> Self {
        let all = ends.duration_since(now).max(SignedDuration::ZERO);
        let answer = SignedDuration::try_from(request_timeout).unwrap_or(SignedDuration::MAX);
        let kept_back = answer.saturating_add(LEAVING).min(all / 2);
        let before = |end: SignedDuration| ends.checked_sub(end).unwrap_or(now);
        Self { leave_at: before(kept_back), break_off_at: before(LEAVING.min(kept_back / 2)), queue }
    }
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Worked {
    /// It is done with: worked off, or there was nothing left to do for it.
    Done,
    /// It is none that this version knows what to do with. Delivering it again would change nothing.
    Refused(Problem),
}

/// The address of a queue, from the environment: it is sent tokens, so it is one of https, or of this machine.
fn address(text: &str) -> Result<Url, Error> {
    let url = Url::parse(text).map_err(|error| unusable(text).caused_by(error))?;
    let named = url.path().len() > 1 && url.query().is_none() && url.fragment().is_none();
    match HostPolicy::only(&url).allows(&url) {
        Ok(()) if named => Ok(url),
        Ok(()) | Err(_) => Err(unusable(text)),
    }
}

fn unusable(text: &str) -> Error {
    // What follows a `?` may be a signature.
    let shown = text.split(['?', '#']).next().unwrap_or_default();
    let shown = if shown.contains('@') { "what is given" } else { shown };
    Error::usage("bad-queue-url", format!("`{shown}` is not the address of a work queue"))
        .hint("write `https://ACCOUNT.queue.core.windows.net/lakekey-work`, or the queue's URL of SQS, without a query")
}

/// For the last entry, the release of the lease and the message that goes on.
const LEAVING: SignedDuration = SignedDuration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invocation_leaves_while_its_last_request_can_still_be_answered() {
        let now: Timestamp = "2026-03-02T08:00:00Z".parse().unwrap();
        let after = |seconds| now.saturating_add(SignedDuration::from_secs(seconds)).unwrap();
        let queue = Arc::new(LocalQueue::nowhere());
        let leaves = |ends| Invocation::new(now, ends, Duration::from_secs(60), Arc::clone(&queue) as _).leave_at;
        assert_eq!(leaves(after(600)), after(525));
        assert_eq!(leaves(after(40)), after(20), "a short one does something before it leaves");
        assert_eq!(leaves(after(-40)), after(-40), "one that is over leaves at once");
    }
}
