//! One process of lakekey as the simulation sees it: its effects are numbered, and it may die or freeze at one of them.
//!
//! A dying process is not asked: its effect pends for ever, and [`Incarnation`] drops the whole future.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::LocalBoxFuture;
use futures::task::AtomicWaker;
use http::Request;
use jiff::Timestamp;
use lakekey_core::clock::Clock;
use lakekey_core::ids::RunnerId;

use crate::plan::Act;

/// When a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// At its so manyth effect, counted from 1.
    pub at: u64,
    /// At which moment of it.
    pub when: When,
}

/// The moment of an effect at which its process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// It was never sent.
    Before,
    /// It was sent, and takes effect so many milliseconds later.
    InFlight(u64),
    /// It took effect, nobody saw the answer.
    AfterEffect,
    /// The answer was seen; nothing was done with it.
    AfterAnswer,
}

/// A process that stands still for a while after one of its effects, and does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// After its so manyth effect.
    pub at: u64,
    /// For how long.
    pub ms: u64,
}

/// One process.
pub struct Process {
    /// Who it says it is.
    pub runner: RunnerId,
    /// Its clock, which may be wrong.
    pub clock: Clock,
    /// The end of the lease that it holds, by its own clock, and the lease's epoch.
    pub lease: Mutex<Option<(u64, Timestamp)>>,
    /// The epoch of the slice that it works on, where it is a worker.
    pub slice: Option<u64>,
    /// Where it has written although its epoch was over.
    late: Mutex<BTreeSet<String>>,
    /// The object that it put last.
    pub last_put: Mutex<Option<String>>,
    crash: Option<Crash>,
    freeze: Option<Freeze>,
    meanwhile: Option<(u64, Act)>,
    effects: AtomicU64,
    dying: AtomicBool,
    dead: AtomicBool,
    frozen_ms: AtomicU64,
    stood_still: AtomicBool,
    waker: AtomicWaker,
}

/// What is to become of one effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// Its number.
    pub number: u64,
    /// Whether the process dies in it.
    pub dies: Option<When>,
}

impl Process {
    /// A process that has done nothing yet.
    pub fn new(runner: RunnerId, clock: Clock) -> Self {
        Self {
            runner,
            clock,
            lease: Mutex::default(),
            slice: None,
            late: Mutex::default(),
            last_put: Mutex::default(),
            crash: None,
            freeze: None,
            meanwhile: None,
            effects: AtomicU64::new(0),
            dying: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            frozen_ms: AtomicU64::new(0),
            stood_still: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// The same process, with what is to happen to it.
    pub fn fated(self, crash: Option<Crash>, freeze: Option<Freeze>, meanwhile: Option<(u64, Act)>) -> Self {
        Self { crash, freeze, meanwhile, ..self }
    }

    /// The same process, as a worker of a slice of this epoch.
    pub fn working(self, slice: Option<u64>) -> Self {
        Self { slice, ..self }
    }

    /// Whether a worker may still send this although its epoch is over. It looks before each place that it writes, and what it
    /// has begun by then it ends: as many places as it writes at a time.
    pub fn is_late(&self, request: &Request<Bytes>) -> bool {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        late.insert(request.uri().path().to_owned());
        late.len() <= CONCURRENCY
    }

    /// What a person does right after this effect.
    pub fn meanwhile(&self, fate: Fate) -> Option<Act> {
        self.meanwhile.filter(|(at, _)| *at == fate.number).map(|(_, act)| act)
    }

    /// Numbers an effect that is about to begin; dies instead when that is its fate.
    pub async fn begin(&self) -> Fate {
        let number = self.effects.fetch_add(1, Ordering::Relaxed) + 1;
        let dies = self.crash.filter(|crash| crash.at == number).map(|crash| crash.when);
        if self.dying.load(Ordering::Relaxed) || dies == Some(When::Before) {
            self.die().await;
        }
        Fate { number, dies }
    }

    /// The effect has been answered.
    pub async fn end(&self, fate: Fate) {
        match fate.dies {
            Some(When::AfterEffect | When::InFlight(_)) => self.die().await,
            Some(When::AfterAnswer) => self.dying.store(true, Ordering::Relaxed),
            Some(When::Before) | None => {}
        }
        if let Some(freeze) = self.freeze.filter(|freeze| freeze.at == fate.number) {
            self.stand_still(freeze.ms).await;
        }
    }

    /// Never returns: whoever polls this process sees that it is dead.
    pub async fn die(&self) {
        self.dead.store(true, Ordering::Relaxed);
        self.waker.wake();
        std::future::pending().await
    }

    async fn stand_still(&self, ms: u64) {
        self.frozen_ms.store(ms, Ordering::Relaxed);
        self.stood_still.store(true, Ordering::Relaxed);
        let mut stood = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut stood, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Effects so far.
    pub fn effects(&self) -> u64 {
        self.effects.load(Ordering::Relaxed)
    }

    /// Whether it stood still.
    pub fn stood_still(&self) -> bool {
        self.stood_still.load(Ordering::Relaxed)
    }

    /// Whether a crash ended it.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed) || self.dying.load(Ordering::Relaxed)
    }

    /// The lease that it holds, as far as anybody saw it take one.
    pub fn held_lease(&self) -> Option<(u64, Timestamp)> {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Polls a process while it lives and is not frozen. Ends with `None` when it died.
pub struct Incarnation<'a, T> {
    process: &'a Process,
    future: Option<LocalBoxFuture<'a, T>>,
    thaw: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<'a, T> Incarnation<'a, T> {
    /// Starts `future` as what `process` does.
    pub fn new(process: &'a Process, future: LocalBoxFuture<'a, T>) -> Self {
        Self { process, future: Some(future), thaw: None }
    }
}

impl<T> Future for Incarnation<'_, T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.process.waker.register(context.waker());
        loop {
            if let Some(thaw) = &mut self.thaw {
                if thaw.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                self.thaw = None;
            }
            let Some(future) = &mut self.future else { return Poll::Ready(None) };
            let polled = future.as_mut().poll(context);
            if self.process.dead.load(Ordering::Relaxed) {
                // Everything that the process had under way ends here, locks included.
                self.future = None;
                return Poll::Ready(None);
            }
            match (polled, self.process.frozen_ms.swap(0, Ordering::Relaxed)) {
                (Poll::Ready(value), _) => return Poll::Ready(Some(value)),
                (Poll::Pending, 0) => return Poll::Pending,
                (Poll::Pending, ms) => self.thaw = Some(Box::pin(sleep(Duration::from_millis(ms)))),
            }
        }
    }
}

/// How many places a process writes at a time: the config says so.
pub const CONCURRENCY: usize = 4;

/// Virtual time passes.
#[expect(clippy::disallowed_methods, reason = "the simulation itself waits here")]
pub fn sleep(how_long: Duration) -> tokio::time::Sleep {
    tokio::time::sleep(how_long)
}

/// What goes on although its process is dead: a request in flight.
#[expect(clippy::disallowed_methods, reason = "a request in flight outlives its process")]
pub fn detach(work: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(work));
}
