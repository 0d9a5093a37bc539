//! Whether and when a request is sent again: a pure decision over what an attempt came back with. A create is sent again
//! only when it certainly never reached the service, or was refused for its token alone; everything is bounded by count and
//! by time. Nothing here reads a clock or waits.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;

use super::Effect;

/// Attempts of one call, the first included.
pub const ATTEMPTS_MAX: u32 = 8;
/// Time from the first attempt of a call within which its last one may start.
pub const BUDGET: Duration = Duration::from_secs(120);
/// Upper end of the first backoff; it doubles with each further one.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// Upper end of any backoff.
pub const BACKOFF_MAX: Duration = Duration::from_secs(20);
/// The longest `Retry-After` that is believed; a longer one is read as this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Spreads requests that were all told to wait for the same moment.
pub const SPREAD_MAX: Duration = Duration::from_secs(1);

/// The bounds of one call.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Attempts, the first included.
    pub attempts_max: u32,
    /// Time in which the last attempt must have started.
    pub time: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self { attempts_max: ATTEMPTS_MAX, time: BUDGET }
    }
}

/// One attempt that did not succeed.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Counted from 1.
    pub number: u32,
    /// Whether sending it twice is the same as sending it once.
    pub effect: Effect,
    /// Since the call began.
    pub elapsed: Duration,
    /// Whether a fresh token can still be asked for: the call is signed and has not done so yet.
    pub can_refresh: bool,
}

/// What an attempt came back with, as far as the decision needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The request never reached the service.
    NotSent,
    /// No whole answer: it may have taken effect.
    Ambiguous,
    /// The service refused the token itself (401, or Databricks' 403 for a token about to expire).
    TokenRejected,
    /// A whole answer, longer than is read: another would be as long.
    TooLarge,
    /// The service asked to slow down in words that carry no throttling status (token endpoints).
    Throttled,
    /// Any other answer that is no success.
    Answer {
        /// Its status.
        status: StatusCode,
        /// How long it asked to wait.
        retry_after: Option<Duration>,
    },
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Return the failure.
    GiveUp,
    /// Send again after this long.
    Retry(Duration),
    /// Get a fresh token and send again at once.
    RefreshSignIn,
}

/// Decides about the next attempt. `jitter` is uniform in `0..1`.
pub fn decide(attempt: &Attempt, outcome: Outcome, budget: &Budget, jitter: f64) -> Decision {
    let repeatable = attempt.effect == Effect::Repeatable;
    let wait = match outcome {
        Outcome::TokenRejected if attempt.can_refresh && attempt.number < budget.attempts_max => return Decision::RefreshSignIn,
        Outcome::TokenRejected => return Decision::GiveUp,
        Outcome::NotSent => backoff(attempt.number, jitter),
        Outcome::Ambiguous | Outcome::Throttled if repeatable => backoff(attempt.number, jitter),
        Outcome::Answer { status, retry_after } if repeatable && is_transient(status) => match retry_after {
            Some(asked) => asked + SPREAD_MAX.mul_f64(jitter),
            None => backoff(attempt.number, jitter),
        },
        Outcome::TooLarge | Outcome::Ambiguous | Outcome::Throttled | Outcome::Answer { .. } => return Decision::GiveUp,
    };
    if attempt.number >= budget.attempts_max || attempt.elapsed + wait > budget.time {
        return Decision::GiveUp;
    }
    Decision::Retry(wait)
}

/// Statuses after which the same request may well succeed.
pub fn is_transient(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// Full jitter: anywhere between nothing and the exponential bound.
fn backoff(attempt: u32, jitter: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    BACKOFF_FIRST.saturating_mul(1 << doublings).min(BACKOFF_MAX).mul_f64(jitter)
}

/// The wait that an answer received at `now` asks for. A date is taken against the server's own clock where it tells it.
pub fn asked_by(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let date = text(header::DATE).and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    retry_after(text(header::RETRY_AFTER)?, date.map_or(now, |date| date.timestamp()))
}

/// Reads a `Retry-After` given in seconds (fractions allowed) or as an HTTP date, seen at `now`.
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let asked = match value.parse::<f64>() {
        Ok(seconds) if seconds.is_nan() || seconds < 0.0 => return None,
        Ok(seconds) => Duration::try_from_secs_f64(seconds).unwrap_or(RETRY_AFTER_MAX),
        Err(_) => {
            let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
            Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
        }
    };
    Some(asked.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(number: u32, effect: Effect) -> Attempt {
        Attempt { number, effect, elapsed: Duration::ZERO, can_refresh: true }
    }

    fn answer(status: u16, retry_after: Option<u64>) -> Outcome {
        Outcome::Answer { status: StatusCode::from_u16(status).unwrap(), retry_after: retry_after.map(Duration::from_secs) }
    }

    fn decided(effect: Effect, outcome: Outcome) -> Decision {
        decide(&attempt(1, effect), outcome, &Budget::default(), 0.5)
    }

    #[test]
    fn first_attempts_are_decided_by_outcome_and_effect() {
        use Decision::{GiveUp, RefreshSignIn, Retry};
        let soon = Retry(Duration::from_millis(250));
        let table = [
            (Outcome::NotSent, soon, soon),
            (Outcome::Ambiguous, soon, GiveUp),
            (Outcome::Throttled, soon, GiveUp),
            (Outcome::TokenRejected, RefreshSignIn, RefreshSignIn),
            (answer(429, Some(7)), Retry(Duration::from_millis(7500)), GiveUp),
            (answer(429, None), soon, GiveUp),
            (answer(503, Some(0)), Retry(Duration::from_millis(500)), GiveUp),
            (answer(503, None), soon, GiveUp),
            (answer(408, None), soon, GiveUp),
            (answer(500, None), soon, GiveUp),
            (answer(502, None), soon, GiveUp),
            (answer(504, None), soon, GiveUp),
            (answer(400, None), GiveUp, GiveUp),
            (answer(403, None), GiveUp, GiveUp),
            (answer(404, None), GiveUp, GiveUp),
            (answer(409, None), GiveUp, GiveUp),
            (answer(501, None), GiveUp, GiveUp),
            (answer(302, None), GiveUp, GiveUp),
            (answer(429, Some(3600)), GiveUp, GiveUp),
        ];
        for (outcome, repeatable, once) in table {
            assert_eq!(decided(Effect::Repeatable, outcome), repeatable, "{outcome:?}");
            assert_eq!(decided(Effect::Once, outcome), once, "{outcome:?}");
        }
    }

    #[test]
    fn a_token_is_refreshed_only_once() {
        let again = Attempt { can_refresh: false, ..attempt(2, Effect::Repeatable) };
        assert_eq!(decide(&again, Outcome::TokenRejected, &Budget::default(), 0.0), Decision::GiveUp);
    }

    #[test]
    fn count_and_time_are_bounded() {
        let last = attempt(ATTEMPTS_MAX, Effect::Repeatable);
        for outcome in [Outcome::NotSent, Outcome::TokenRejected] {
            assert_eq!(decide(&last, outcome, &Budget::default(), 0.0), Decision::GiveUp);
            let last_but_one = attempt(ATTEMPTS_MAX - 1, Effect::Repeatable);
            assert_ne!(decide(&last_but_one, outcome, &Budget::default(), 0.0), Decision::GiveUp);
        }
        let late = Attempt { elapsed: BUDGET, ..attempt(2, Effect::Repeatable) };
        assert_eq!(decide(&late, answer(503, None), &Budget::default(), 0.1), Decision::GiveUp);
        let just = Attempt { elapsed: BUDGET - Duration::from_secs(7), ..attempt(2, Effect::Repeatable) };
        assert_eq!(decide(&just, answer(503, Some(7)), &Budget::default(), 0.0), Decision::Retry(Duration::from_secs(7)));
    }

    #[test]
    fn backoff_doubles_up_to_its_bound() {
        let bounds: Vec<_> = (1..9).map(|number| backoff(number, 1.0).as_millis()).collect();
        assert_eq!(bounds, [500, 1000, 2000, 4000, 8000, 16000, 20000, 20000]);
        assert_eq!(backoff(u32::MAX, 1.0), BACKOFF_MAX);
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = "2026-03-01T00:00:00Z".parse().unwrap();
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("0", now), Some(Duration::ZERO));
        assert_eq!(retry_after(" 1.5 ", now), Some(Duration::from_millis(1500)));
        assert_eq!(retry_after("Sun, 01 Mar 2026 00:00:30 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Sat, 28 Feb 2026 00:00:30 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("99999999999999", now), Some(RETRY_AFTER_MAX));
        assert_eq!(retry_after("1e400", now), Some(RETRY_AFTER_MAX));
        assert_eq!(retry_after("-5", now), None);
        assert_eq!(retry_after("NaN", now), None);
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("", now), None);
    }

    #[test]
    fn a_date_is_taken_against_the_servers_clock() {
        let now = "2026-03-01T00:00:00Z".parse().unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(asked_by(&headers, now), None);
        headers.insert("retry-after", "Sun, 01 Mar 2026 01:00:30 GMT".parse().unwrap());
        assert_eq!(asked_by(&headers, now), Some(RETRY_AFTER_MAX));
        headers.insert("date", "Sun, 01 Mar 2026 01:00:00 GMT".parse().unwrap());
        assert_eq!(asked_by(&headers, now), Some(Duration::from_secs(30)));
    }
}
