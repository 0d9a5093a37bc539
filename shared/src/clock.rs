//! Time, passed in. One type serves production (wall clock), the demo (wall clock plus an offset that can be advanced)
//! and simulation (tokio's paused clock), so that no code asks the operating system for the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// A source of the current time; clones share their offset.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
    offset_ms: Arc<AtomicI64>,
}

/// A moment on the wall clock and on the one that is never set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    wall: Timestamp,
    steady: tokio::time::Instant,
}

impl Moment {
    /// By the wall clock.
    pub fn wall(self) -> Timestamp {
        self.wall
    }
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Wall,
    Runtime { start: Timestamp, origin: tokio::time::Instant },
}

impl Clock {
    /// The machine's wall clock.
    pub fn wall() -> Self {
        Self { source: Source::Wall, offset_ms: Arc::default() }
    }

    /// `start` plus the time that tokio's clock has passed since this call; with a paused runtime, virtual time.
    pub fn runtime(start: Timestamp) -> Self {
        Self { source: Source::Runtime { start, origin: tokio::time::Instant::now() }, offset_ms: Arc::default() }
    }

    /// The same source with an offset of its own, to simulate skew between machines.
    pub fn skewed(&self, by: SignedDuration) -> Self {
        let offset = self.offset_ms.load(Ordering::Relaxed) + milliseconds(by);
        Self { source: self.source, offset_ms: Arc::new(AtomicI64::new(offset)) }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        let base = match self.source {
            #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
            Source::Wall => Timestamp::now(),
            Source::Runtime { start, origin } => start
                .saturating_add(SignedDuration::try_from(origin.elapsed()).unwrap_or(SignedDuration::MAX))
                .unwrap_or(Timestamp::MAX),
        };
        base.saturating_add(SignedDuration::from_millis(self.offset_ms.load(Ordering::Relaxed))).unwrap_or(Timestamp::MAX)
    }

    /// This moment on both clocks of the machine.
    pub fn moment(&self) -> Moment {
        Moment { wall: self.now(), steady: tokio::time::Instant::now() }
    }

    /// How long ago that was, by whichever clock says more: the steady one stands still while a function is frozen or a
    /// machine sleeps, and the wall clock may be set back.
    pub fn since(&self, moment: Moment) -> SignedDuration {
        let steady = SignedDuration::try_from(moment.steady.elapsed()).unwrap_or(SignedDuration::MAX);
        self.now().duration_since(moment.wall).max(steady)
    }

    /// Lets `by` pass at once for every clone of this clock.
    pub fn advance(&self, by: SignedDuration) {
        self.offset_ms.fetch_add(milliseconds(by), Ordering::Relaxed);
    }

    /// Waits until `duration` has passed.
    pub async fn sleep(&self, duration: Duration) {
        #[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
        tokio::time::sleep(duration).await;
    }
}

fn milliseconds(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
