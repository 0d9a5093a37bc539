//! Whether a rotation is due, and why. Pure.

use jiff::{SignedDuration, Timestamp};

use super::next::{Policy, past};
use super::recover::Listed;
use super::state::State;
use crate::ids::Generation;

/// A list may lag behind a create for this long; before that, an unlisted current secret means nothing.
pub(super) const LISTED_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// Two runs of an hourly timer may fail, and the secret still has not expired.
const EXPIRY_MARGIN: SignedDuration = SignedDuration::from_hours(3);

/// The answer, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Whether one starts now.
    pub due: bool,
    /// Why, or why not.
    pub reason: String,
    /// When the next one is due, if that is known.
    pub at: Option<Timestamp>,
}

/// Decides, assuming that nothing is open.
pub fn due(state: &State, policy: &Policy, listing: Option<&[Listed]>, force: bool, now: Timestamp) -> Due {
    let yes = |reason: String, at| Due { due: true, reason, at };
    let no = |reason: String, at| Due { due: false, reason, at };
    if force {
        return yes("forced".to_owned(), Some(now));
    }
    let Some((generation, known)) = state.current.and_then(|current| Some((current, state.generations.get(&current)?))) else {
        return within_window(policy, now, now, "no generation has been minted yet");
    };
    if let Some(held) = state.held {
        let why = format!("held at generation {} after a rollback: `lakekey rotate --force` ends that", held.generation);
        return no(why, None);
    }
    let created_at = known.minted.created_at;
    let gone = listing.is_some_and(|listing| !listing.iter().any(|listed| listed.id == known.minted.secret_id));
    if gone && past(created_at, LISTED_AFTER) < now {
        // An outage in the making: no window is waited for.
        return yes(format!("the secret of generation {generation} is no longer listed at Databricks"), Some(now));
    }
    if stranded(state) {
        return yes("targets hold a secret that had to be deleted".to_owned(), Some(now));
    }
    let Some(rotate_every) = policy.rotate_every else {
        return no("rotation is manual: `lakekey rotate --force` starts one".to_owned(), None);
    };
    let by_age = past(created_at, rotate_every);
    let by_expiry = known.minted.expires_at.map(|expires_at| past(expires_at, -EXPIRY_MARGIN));
    let (at, why) = match by_expiry {
        Some(by_expiry) if by_expiry < by_age => (by_expiry, "its expiry comes near"),
        Some(_) | None => (by_age, "it has reached `rotate_every`"),
    };
    if at > now {
        return no(format!("generation {generation} is fresh"), Some(at));
    }
    within_window(policy, at, now, &format!("generation {generation}: {why}"))
}

/// Whether a rotation that ended early may have moved targets to a secret that is gone: also one whose runner died before
/// it could record what became of its writes. Targets that kept an older one are parked, and wait for their turn.
fn stranded(state: &State) -> bool {
    let dead = |generation: &Generation| {
        state.generations.get(generation).is_some_and(|known| state.condemned.contains_key(&known.minted.secret_id))
    };
    let targets = state.holders.values().filter(|holder| holder.planned);
    let mut held = targets.flat_map(|holder| holder.may_hold.iter().chain(&holder.confirmed));
    held.any(|generation| Some(*generation) > state.current && dead(generation))
}

fn within_window(policy: &Policy, at: Timestamp, now: Timestamp, reason: &str) -> Due {
    match policy.may_start_at {
        Some(start) if start <= now => Due { due: true, reason: reason.to_owned(), at: Some(at) },
        Some(start) => Due { due: false, reason: format!("{reason}; the next window opens at {start}"), at: Some(start) },
        None => Due { due: false, reason: format!("{reason}, but no window ever opens"), at: None },
    }
}
