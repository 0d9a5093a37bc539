//! Who was told to wait, and until when. A `Retry-After` that one request sees holds every other request of the same
//! service, host and identity, so that nothing is sent inside it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Service;
use super::retry::RETRY_AFTER_MAX;

/// A service counts requests per host and identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Party {
    pub(super) service: Service,
    pub(super) host: String,
    pub(super) identity: String,
}

/// Every hold that may still stand.
#[derive(Default)]
pub(super) struct Cooldowns(Mutex<HashMap<Party, Timestamp>>);

impl Cooldowns {
    /// Nothing of `party` is sent before `asked` has passed; an earlier, longer hold stays.
    pub(super) fn hold(&self, party: &Party, asked: Duration, now: Timestamp) {
        let asked = SignedDuration::try_from(asked.min(RETRY_AFTER_MAX)).unwrap_or(SignedDuration::ZERO);
        let until = now.saturating_add(asked).unwrap_or(Timestamp::MAX);
        let mut holds = self.0.lock().expect("no code panics while it holds the map");
        holds.retain(|_, until| *until > now);
        let held = holds.entry(party.clone()).or_insert(until);
        *held = until.max(*held);
    }

    /// How long `party` must still wait; nothing when it may send. Bounded, should the clock have been set back.
    pub(super) fn remaining(&self, party: &Party, now: Timestamp) -> Option<Duration> {
        let holds = self.0.lock().expect("no code panics while it holds the map");
        let left = Duration::try_from(holds.get(party)?.duration_since(now)).ok()?;
        (!left.is_zero()).then(|| left.min(RETRY_AFTER_MAX))
    }
}
