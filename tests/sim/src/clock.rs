//! The cloud's own time: a start, what tokio says has passed, and what somebody skipped. Under tokio's paused clock it is
//! virtual and a simulated year costs nothing; in served mode it starts at the wall clock and keeps pace with it.

use std::sync::Mutex;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Clock {
    start: Timestamp,
    since: Instant,
    skipped: Mutex<Duration>,
}

impl Clock {
    /// Without a start the wall clock gives it.
    pub(crate) fn new(start: Option<Timestamp>) -> Self {
        Self { start: start.unwrap_or_else(wall), since: Instant::now(), skipped: Mutex::default() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let skipped = *self.skipped.lock().expect("no holder of this lock panics");
        later(self.start, self.since.elapsed() + skipped)
    }

    pub(crate) fn advance(&self, by: Duration) {
        *self.skipped.lock().expect("no holder of this lock panics") += by;
    }
}

pub(crate) fn later(at: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| at.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

pub(crate) fn until(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// Times as Databricks and Power BI write them: UTC with milliseconds.
pub(crate) fn written(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

#[expect(clippy::disallowed_methods, reason = "the one place where the simulated cloud waits")]
pub(crate) async fn pause(how_long: Duration) {
    if !how_long.is_zero() {
        tokio::time::sleep(how_long).await;
    }
}

/// A cloud goes on with what it was asked to do when the asker hangs up, so such work may not hang on the asker's future.
#[expect(clippy::disallowed_methods, reason = "the cloud, unlike lakekey, outlives its requests")]
pub(crate) fn detach<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::spawn(work)
}

#[expect(clippy::disallowed_methods, reason = "served mode must agree with its clients' wall clock")]
fn wall() -> Timestamp {
    Timestamp::now()
}
