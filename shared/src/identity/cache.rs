//! One cached token: fetched once however many ask, renewed ahead of its expiry, judged by the server's clock.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use crate::clients::oauth::TokenAnswer;
use crate::clock::{Clock, Moment};
use crate::error::{Error, ErrorKind, Problem};
use crate::secret::Secret;

/// A token with less left than this is not handed out: Azure Databricks refuses one with 30 seconds left.
pub(super) const LEFT_MIN: SignedDuration = SignedDuration::from_secs(60);
/// A token is renewed this long before its expiry, or at half its life if that comes later.
pub(super) const RENEW_AHEAD_MAX: SignedDuration = SignedDuration::from_mins(20);
/// After a failed renewal of a token that still works, the next one is tried no sooner.
const RENEW_PAUSE: SignedDuration = SignedDuration::from_secs(60);

/// A renewal ahead of time may hold up its caller for this long; the present token still works.
const RENEW_TIME_MAX: Duration = Duration::from_secs(10);

/// A token and until when it works.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) value: Secret,
    /// `None`: it says nothing about its expiry (personal access tokens).
    pub(super) life: Option<Life>,
}

/// When a token was issued and expires, on the server's clock, and how far that runs ahead of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) issued: Timestamp,
    pub(super) expires: Timestamp,
    pub(super) skew: SignedDuration,
    /// When that was read off the answer.
    pub(super) read: Moment,
}

impl Life {
    /// Time passed by whichever clock says more: a function that was frozen wakes up with an expired token.
    fn left(&self, clock: &Clock) -> SignedDuration {
        let left_then = self.expires.duration_since(self.read.wall()).saturating_sub(self.skew);
        left_then.saturating_sub(clock.since(self.read))
    }

    /// When it expires, by our clock.
    pub(super) fn expires_here(&self) -> Timestamp {
        self.expires.saturating_sub(self.skew).unwrap_or(self.expires)
    }

    fn renews_at(&self) -> SignedDuration {
        (self.expires.duration_since(self.issued) / 2).min(RENEW_AHEAD_MAX)
    }
}

impl Token {
    /// Whether it is due for renewal; `None` where it may not be handed out any more.
    fn is_due(&self, clock: &Clock) -> Option<bool> {
        let Some(life) = self.life else { return Some(false) };
        let left = life.left(clock);
        (left >= LEFT_MIN).then(|| left <= life.renews_at())
    }
}

/// A fetch that has begun.
type Fetch<'a> = BoxFuture<'a, Result<Token, Error>>;

/// The place of one token.
#[derive(Default)]
pub(super) struct Slot {
    held: Mutex<Held>,
    /// Held while a token is fetched.
    flight: tokio::sync::Mutex<()>,
    /// Fetches that have ended: who waited for one takes its outcome instead of starting another.
    landed: AtomicU64,
    /// Whether anybody asked since the token was fetched: what nobody asks for is not renewed in the background.
    wanted: AtomicBool,
}

#[derive(Default)]
struct Held {
    token: Option<Token>,
    failure: Option<(ErrorKind, Problem)>,
    renew_after: Option<Timestamp>,
}

/// Who renews a token that is due and still works.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewal {
    /// The first who asks.
    ByCaller,
    /// [`Slot::keep`], in the background.
    ByKeeper,
}

impl Slot {
    /// The cached token, or a fetched one: most calls never begin `fetch`.
    pub(super) async fn token<'a>(
        &self,
        clock: &Clock,
        renewal: Renewal,
        fetch: impl FnOnce() -> Fetch<'a>,
    ) -> Result<Token, Error> {
        self.wanted.store(true, Ordering::Relaxed);
        let landed = self.landed.load(Ordering::Acquire);
        if let Some((token, due)) = self.usable(clock) {
            if due
                && renewal == Renewal::ByCaller
                && let Ok(_flight) = self.flight.try_lock()
            {
                return self.renew(token, clock, fetch()).await;
            }
            return Ok(token);
        }
        let _flight = self.flight.lock().await;
        if let Some((token, _)) = self.usable(clock) {
            return Ok(token);
        }
        if self.landed.load(Ordering::Acquire) > landed
            && let Some(failure) = self.failure()
        {
            return Err(failure);
        }
        self.fetch(clock, fetch()).await
    }

    /// Renews the token if it is due and was asked for since it was fetched. A failure has been logged; whoever asks next
    /// sees it if it lasts.
    pub(super) async fn keep<'a>(&self, clock: &Clock, fetch: impl FnOnce() -> Fetch<'a>) {
        let wanted = self.wanted.load(Ordering::Relaxed);
        if let Some((token, true)) = self.usable(clock)
            && wanted
            && let Ok(_flight) = self.flight.try_lock()
        {
            drop(self.renew(token, clock, fetch()).await);
        }
    }

    /// Replaces `rejected`, unless it already was.
    pub(super) async fn reload<'a>(
        &self,
        rejected: &Secret,
        clock: &Clock,
        fetch: impl FnOnce() -> Fetch<'a>,
    ) -> Result<(), Error> {
        let landed = self.landed.load(Ordering::Acquire);
        let _flight = self.flight.lock().await;
        let replaced = {
            let mut held = self.lock();
            let same = held.token.as_ref().is_some_and(|token| token.value.reveal() == rejected.reveal());
            if same {
                held.token = None;
            }
            held.token.is_some()
        };
        if replaced {
            return Ok(());
        }
        if self.landed.load(Ordering::Acquire) > landed
            && let Some(failure) = self.failure()
        {
            return Err(failure);
        }
        self.fetch(clock, fetch()).await.map(drop)
    }

    /// Renews ahead of time; while the present token works, a failure to do so is no failure.
    async fn renew(&self, present: Token, clock: &Clock, fetch: Fetch<'_>) -> Result<Token, Error> {
        let error = match tokio::time::timeout(RENEW_TIME_MAX, self.fetch(clock, fetch)).await {
            Ok(Ok(renewed)) => return Ok(renewed),
            Ok(Err(error)) => error,
            Err(_) => Error::failed("timeout", "signing in anew takes too long").hint("try again"),
        };
        self.lock().renew_after = clock.now().checked_add(RENEW_PAUSE).ok();
        if self.usable(clock).is_none() {
            return Err(error);
        }
        tracing::warn!(
            error.code = error.code(),
            "a token could not be renewed ahead of its expiry; the present one still works"
        );
        Ok(present)
    }

    async fn fetch(&self, clock: &Clock, fetch: Fetch<'_>) -> Result<Token, Error> {
        let outcome = fetch.await.and_then(|token| {
            if token.is_due(clock).is_some() {
                return Ok(token);
            }
            Err(Error::failed("short-token", "the service issued a token that is good for less than a minute")
                .hint("check this machine's clock and the token lifetime policy"))
        });
        let mut held = self.lock();
        let outcome = match outcome {
            Ok(token) => {
                *held = Held { token: Some(token.clone()), failure: None, renew_after: None };
                self.wanted.store(false, Ordering::Relaxed);
                Ok(token)
            }
            Err(error) => {
                held.failure = Some((error.kind(), error.problem().clone()));
                Err(error)
            }
        };
        self.landed.fetch_add(1, Ordering::Release);
        outcome
    }

    /// The token that may be handed out now, and whether it is due for renewal.
    fn usable(&self, clock: &Clock) -> Option<(Token, bool)> {
        let held = self.lock();
        let token = held.token.as_ref()?;
        let due = token.is_due(clock)? && held.renew_after.is_none_or(|after| clock.now() >= after);
        Some((token.clone(), due))
    }

    fn failure(&self) -> Option<Error> {
        self.lock().failure.clone().map(|(kind, problem)| Error::new(kind, problem))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().expect("no code panics while it holds the token")
    }
}

/// Reads a token's life off its answer: `expires_in` from when it was asked for, or the token's own `exp` if that is
/// sooner, with the `Date` header telling how far the server's clock runs ahead.
pub(super) fn life(answer: &TokenAnswer, exp: Option<Timestamp>) -> Option<Life> {
    let received = answer.received.wall();
    let skew = answer.date.map_or(SignedDuration::ZERO, |date| {
        let ahead = date.duration_since(received);
        // The header has whole seconds and the answer took its time: a second or two says nothing.
        if ahead.abs() <= SignedDuration::from_secs(2) { SignedDuration::ZERO } else { ahead }
    });
    let issued = answer.asked.saturating_add(skew).unwrap_or(answer.asked);
    let told = answer
        .expires_in
        .and_then(|life| SignedDuration::try_from(life).ok())
        .map(|life| issued.saturating_add(life).unwrap_or(Timestamp::MAX));
    let expires = [told, answer.expires_at, exp].into_iter().flatten().min()?;
    Some(Life { issued, expires, skew, read: answer.received })
}
