//! Whether a rotation is due, and why. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::next::{Policy, past};
use super::recover::Listed;
use super::state::State;
use crate::ids::Generation;

/// A list may lag behind a create for this long; before that, an unlisted current secret means nothing.
pub(super) const LISTED_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// A run that fails is repeated by an hourly timer.
const RETRY: SignedDuration = SignedDuration::from_hours(1);
/// What must be left of a secret when the last try begins: time to move everything.
const EXPIRY_MARGIN: SignedDuration = SignedDuration::from_hours(1);
/// Two tries may fail, and a third still has the margin.
const TRIES: i32 = 3;
/// By how much rotations are moved forward, at most, so that credentials of one age take turns: a share of their age…
const SPREAD_SHARE: u32 = 20;
/// …and no more than this.
const SPREAD_MAX: Duration = Duration::from_secs(4 * 3_600);

/// A fleet up to this size is searched for added data sources whenever nothing is due; a larger one rarer, for the search takes
/// a request for every dataset and services allow so many a minute.
const SEARCHED_ALWAYS: usize = 500;
/// However large a fleet is, it is searched this often: every so many hours.
const SEARCHED_HOURS_MAX: i64 = 24;

/// Whether a credential with nothing due leaves out, this hour, the search for data sources that were added. The hours in
/// which it searches depend on its name, so that not all large ones search at once.
pub fn is_resting(state: &State, now: Timestamp) -> bool {
    let held = state.holders.values().filter(|holder| holder.planned).count();
    if held <= SEARCHED_ALWAYS || state.open.is_some() || state.turn.is_some() {
        return false;
    }
    let period = i64::try_from(held.div_ceil(SEARCHED_ALWAYS)).unwrap_or(i64::MAX).min(SEARCHED_HOURS_MAX);
    let name = state.begun.as_ref().map(|begun| begun.credential.as_str()).unwrap_or_default();
    let turn: i64 = name.bytes().map(i64::from).sum();
    (now.as_second().div_euclid(3_600) + turn).rem_euclid(period) != 0
}

/// The answer, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Whether one starts now.
    pub due: bool,
    /// Why, or why not.
    pub reason: String,
    /// When the next one starts, windows and freezes counted in, if that is known.
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
        return within_window(policy, now, "no generation has been minted yet");
    };
    let created_at = known.minted.created_at;
    let gone = listing.is_some_and(|listing| is_current_gone(state, listing, now));
    if let Some(held) = state.held {
        let and = if gone { ", whose secret is no longer listed at Databricks" } else { "" };
        let why = format!("held after a rollback at generation {}{and}: `lakekey rotate --force` ends that", held.generation);
        return no(why, None);
    }
    if gone {
        // An outage in the making: no window is waited for.
        return yes(format!("the secret of generation {generation} is no longer listed at Databricks"), Some(now));
    }
    if stranded(state) {
        return yes("targets hold a secret that had to be deleted".to_owned(), Some(now));
    }
    let Some(rotate_every) = policy.rotate_every else {
        return no("rotation is manual: `lakekey rotate --force` starts one".to_owned(), None);
    };
    let age = Duration::try_from(rotate_every).unwrap_or_default();
    let by_age = past(created_at, rotate_every.saturating_sub(policy.calendar.share((age / SPREAD_SHARE).min(SPREAD_MAX))));
    let expires_at = known.minted.expires_at;
    let last_chance = expires_at.map(|expires_at| past(expires_at, -(RETRY * TRIES + EXPIRY_MARGIN)));
    if let Some(expires_at) = expires_at
        && expires_soon(policy, expires_at, now)
    {
        return before_expiry(policy, generation, expires_at, now);
    }
    if by_age <= now {
        return within_window(policy, now, &format!("generation {generation}: it has reached `rotate_every`"));
    }
    // No freeze is waited for beyond the last chance.
    let at = policy.calendar.next_turn(by_age).into_iter().chain(last_chance).min();
    if last_chance.is_some_and(|last_chance| last_chance < by_age) {
        return no(format!("generation {generation} is fresh; it is rotated before it expires"), at);
    }
    no(format!("generation {generation} is fresh; it reaches `rotate_every`, less this credential's turn, at {by_age:.0}"), at)
}

/// Whether somebody has deleted the current secret: every target that holds it is cut off.
pub(super) fn is_current_gone(state: &State, listing: &[Listed], now: Timestamp) -> bool {
    let current = state.current.and_then(|current| state.generations.get(&current));
    current.is_some_and(|known| {
        let listed = listing.iter().any(|listed| listed.id == known.minted.secret_id);
        !listed && past(known.minted.created_at, LISTED_AFTER) < now
    })
}

/// Whether a rotation that waited for the next chance, and then failed twice, would have no third one in time. Windows and
/// freezes decide when the chances are.
fn expires_soon(policy: &Policy, expires_at: Timestamp, now: Timestamp) -> bool {
    let limit = past(expires_at, -EXPIRY_MARGIN);
    let mut chance = now;
    for _ in 0..TRIES {
        match policy.calendar.next(past(chance, RETRY)) {
            Some(next) if next < limit => chance = next,
            Some(_) | None => return true,
        }
    }
    false
}

/// With no chance left before it expires, no window or freeze is waited for: that would be an outage in the making.
fn before_expiry(policy: &Policy, generation: Generation, expires_at: Timestamp, now: Timestamp) -> Due {
    let reason = format!("generation {generation}: its expiry comes near ({expires_at:.0})");
    let limit = past(expires_at, -EXPIRY_MARGIN);
    let last_chance = past(limit, -(RETRY * TRIES));
    match policy.calendar.next(now) {
        Some(start) if start <= now => Due { due: true, reason, at: Some(now) },
        Some(start) if start < limit => {
            Due { due: false, reason: format!("{reason}; the next window opens at {start:.0}"), at: Some(start) }
        }
        Some(_) | None if last_chance <= now => {
            Due { due: true, reason: format!("{reason}, before a window opens or the freeze ends"), at: Some(now) }
        }
        Some(_) | None => {
            let reason =
                format!("{reason}, before a window opens or the freeze ends: it is rotated at {last_chance:.0} all the same");
            Due { due: false, reason, at: Some(last_chance) }
        }
    }
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

fn within_window(policy: &Policy, now: Timestamp, reason: &str) -> Due {
    match policy.calendar.next_turn(now) {
        Some(start) if start <= now => Due { due: true, reason: reason.to_owned(), at: Some(now) },
        Some(start) => {
            let until =
                if policy.calendar.is_frozen(now) { "a freeze keeps it until" } else { "its turn in the next window is at" };
            Due { due: false, reason: format!("{reason}; {until} {start:.0}"), at: Some(start) }
        }
        None => Due { due: false, reason: format!("{reason}, but no window ever opens"), at: None },
    }
}
