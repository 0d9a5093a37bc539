//! One cached token: fetched once however many ask, renewed ahead of its expiry, judged by the server's clock.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
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
}

impl Life {
    fn left(&self, now: Timestamp) -> SignedDuration {
        self.expires.duration_since(now.saturating_add(self.skew).unwrap_or(now))
    }

    fn renews_at(&self) -> SignedDuration {
        (self.expires.duration_since(self.issued) / 2).min(RENEW_AHEAD_MAX)
    }
}

impl Token {
    fn is_usable(&self, now: Timestamp) -> bool {
        self.life.is_none_or(|life| life.left(now) >= LEFT_MIN)
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.life.is_some_and(|life| life.left(now) <= life.renews_at())
    }
}

/// A fetch that has not begun: a future does nothing until it is awaited, and most are dropped unused.
type Fetch<'a> = BoxFuture<'a, Result<Token, Error>>;

/// The place of one token.
#[derive(Default)]
pub(super) struct Slot {
    held: Mutex<Held>,
    /// Held while a token is fetched.
    flight: tokio::sync::Mutex<()>,
    /// Fetches that have ended: who waited for one takes its outcome instead of starting another.
    landed: AtomicU64,
}

#[derive(Default)]
struct Held {
    token: Option<Token>,
    failure: Option<(ErrorKind, Problem)>,
    renew_after: Option<Timestamp>,
}

impl Slot {
    /// The cached token, or a fetched one.
    pub(super) async fn token(&self, clock: &Clock, fetch: Fetch<'_>) -> Result<Secret, Error> {
        let landed = self.landed.load(Ordering::Acquire);
        if let Some((value, due)) = self.usable(clock.now()) {
            if due && let Ok(_flight) = self.flight.try_lock() {
                return self.renew(value, clock, fetch).await;
            }
            return Ok(value);
        }
        let _flight = self.flight.lock().await;
        if let Some((value, _)) = self.usable(clock.now()) {
            return Ok(value);
        }
        if self.landed.load(Ordering::Acquire) > landed
            && let Some(failure) = self.failure()
        {
            return Err(failure);
        }
        self.fetch(clock, fetch).await
    }

    /// When this token expires, if it is the one that is held and says so.
    pub(super) fn expiry(&self, value: &Secret) -> Option<Timestamp> {
        let held = self.lock();
        let life = held.token.as_ref().filter(|token| token.value.reveal() == value.reveal())?.life?;
        life.expires.checked_sub(life.skew).ok()
    }

    /// Replaces `rejected`, unless it already was.
    pub(super) async fn reload(&self, rejected: &Secret, clock: &Clock, fetch: Fetch<'_>) -> Result<(), Error> {
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
        self.fetch(clock, fetch).await.map(drop)
    }

    /// Renews ahead of time; while the present token works, a failure to do so is no failure.
    async fn renew(&self, present: Secret, clock: &Clock, fetch: Fetch<'_>) -> Result<Secret, Error> {
        let error = match tokio::time::timeout(RENEW_TIME_MAX, self.fetch(clock, fetch)).await {
            Ok(Ok(renewed)) => return Ok(renewed),
            Ok(Err(error)) => error,
            Err(_) => Error::failed("timeout", "signing in anew takes too long").hint("try again"),
        };
        self.lock().renew_after = clock.now().checked_add(RENEW_PAUSE).ok();
        if self.usable(clock.now()).is_none() {
            return Err(error);
        }
        tracing::warn!(
            error.code = error.code(),
            "a token could not be renewed ahead of its expiry; the present one still works"
        );
        Ok(present)
    }

    async fn fetch(&self, clock: &Clock, fetch: Fetch<'_>) -> Result<Secret, Error> {
        let outcome = fetch.await.and_then(|token| {
            if token.is_usable(clock.now()) {
                return Ok(token);
            }
            Err(Error::failed("short-token", "the service issued a token that is good for less than a minute")
                .hint("check this machine's clock and the token lifetime policy"))
        });
        let mut held = self.lock();
        let outcome = match outcome {
            Ok(token) => {
                let value = token.value.clone();
                *held = Held { token: Some(token), failure: None, renew_after: None };
                Ok(value)
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
    fn usable(&self, now: Timestamp) -> Option<(Secret, bool)> {
        let held = self.lock();
        let token = held.token.as_ref().filter(|token| token.is_usable(now))?;
        let due = token.is_due(now) && held.renew_after.is_none_or(|after| now >= after);
        Some((token.value.clone(), due))
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
pub(super) fn life(
    asked: Timestamp,
    now: Timestamp,
    date: Option<Timestamp>,
    expires_in: Option<Duration>,
    exp: Option<Timestamp>,
) -> Option<Life> {
    let skew = date.map_or(SignedDuration::ZERO, |date| {
        let ahead = date.duration_since(now);
        // The header has whole seconds and the answer took its time: a second or two says nothing.
        if ahead.abs() <= SignedDuration::from_secs(2) { SignedDuration::ZERO } else { ahead }
    });
    let issued = asked.saturating_add(skew).unwrap_or(asked);
    let told = expires_in
        .and_then(|life| SignedDuration::try_from(life).ok())
        .map(|life| issued.saturating_add(life).unwrap_or(Timestamp::MAX));
    let expires = match (told, exp) {
        (Some(told), Some(exp)) => told.min(exp),
        (told, exp) => told.or(exp)?,
    };
    Some(Life { issued, expires, skew })
}
