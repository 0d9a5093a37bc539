//! What a listed secret is, and what that asks for: the recovery of attempts whose end nobody saw. Pure.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::due::LISTED_AFTER;
use super::event::Condemnation;
use super::next::{Observed, SLOTS, Step, past};
use super::state::{Attempt, AttemptFate, State};
use crate::error::Problem;
use crate::ids::{Generation, SecretId};
use crate::report::SecretRole;

/// One secret as Databricks lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: SecretId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires; `None` for ever.
    pub expires_at: Option<Timestamp>,
}

/// What a secret that Databricks lists is to lakekey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Journaled as minted or adopted.
    Known(Generation),
    /// To be deleted.
    Condemned,
    /// Its value waits in its slot, but no entry names it.
    Staged {
        /// The attempt that made it.
        attempt: u32,
    },
    /// Made by an attempt whose answer was lost.
    Stray,
    /// Neither minted nor adopted.
    Foreign,
}

/// Tells what a listed secret is.
pub fn origin(state: &State, values: &BTreeSet<SecretId>, listed: &Listed) -> Origin {
    if state.condemned.contains_key(&listed.id) {
        return Origin::Condemned;
    }
    if let Some(generation) = state.generation_of(&listed.id) {
        return Origin::Known(generation);
    }
    if values.contains(&listed.id)
        && let Some(attempt) = staged_by(state, &listed.id)
    {
        return Origin::Staged { attempt };
    }
    // A request may be delivered twice, so an answered attempt can have a stray as well.
    match state.attempts.iter().any(|attempt| !attempt.known.contains(&listed.id) && bears(listed, attempt)) {
        true => Origin::Stray,
        false => Origin::Foreign,
    }
}

/// The role of a listed secret in the reports.
pub fn role(state: &State, values: &BTreeSet<SecretId>, listed: &Listed) -> SecretRole {
    match origin(state, values, listed) {
        Origin::Known(generation) if Some(generation) == state.meant() => SecretRole::Current,
        Origin::Known(generation) if state.current.is_none_or(|current| generation > current) => SecretRole::Next,
        Origin::Known(_) => SecretRole::Previous,
        Origin::Condemned | Origin::Stray => SecretRole::Condemned,
        Origin::Staged { .. } => SecretRole::Next,
        Origin::Foreign => SecretRole::Foreign,
    }
}

/// The next piece of tidying, if there is one.
pub fn sweep(state: &State, seen: &Observed, listing: &[Listed], now: Timestamp) -> Option<Step> {
    unrecognisable(state, seen, listing)
        .or_else(|| settle_staged(state, seen))
        .or_else(|| condemn_strays(state, seen, listing))
        .or_else(|| delete_condemned(state, seen, listing, now))
}

/// A value in a slot is adopted without waiting for the list, which may be stale: what is in a store is not minted again.
fn settle_staged(state: &State, seen: &Observed) -> Option<Step> {
    let wanted = state.open.as_ref().is_some_and(|open| open.generation.is_none());
    seen.values.iter().find_map(|id| {
        if state.condemned.contains_key(id) || state.generation_of(id).is_some() {
            return None;
        }
        let attempt = staged_by(state, id)?;
        Some(match wanted {
            true => Step::Adopt { secret_id: id.clone(), attempt },
            false => Step::Condemn { secret_id: id.clone(), reason: Condemnation::Stray },
        })
    })
}

/// The newest attempt that may have made a secret whose value is in a slot.
fn staged_by(state: &State, id: &SecretId) -> Option<u32> {
    let candidates = state.attempts.iter().rev().filter(|attempt| !attempt.known.contains(id));
    candidates.filter(|attempt| is_unended(attempt)).map(|attempt| attempt.number).next()
}

/// Whether nobody saw how it ended.
fn is_unended(attempt: &Attempt) -> bool {
    match attempt.fate {
        AttemptFate::UnderWay | AttemptFate::Unanswered { .. } => true,
        AttemptFate::Refused | AttemptFate::Minted => false,
    }
}

fn condemn_strays(state: &State, seen: &Observed, listing: &[Listed]) -> Option<Step> {
    listing
        .iter()
        .find(|listed| origin(state, &seen.values, listed) == Origin::Stray)
        .map(|listed| Step::Condemn { secret_id: listed.id.clone(), reason: Condemnation::Stray })
}

/// Condemned secrets are deleted whether or not they are listed now, and gone once a later list lacks them. One that is
/// listed although it was gone (its create took effect late, or a list lagged behind) is deleted again.
fn delete_condemned(state: &State, seen: &Observed, listing: &[Listed], now: Timestamp) -> Option<Step> {
    state.condemned.iter().find_map(|(id, condemned)| {
        let listed = listing.iter().any(|listed| listed.id == *id);
        if condemned.deleted && !listed {
            return None;
        }
        match seen.deletes.get(id) {
            Some(sent) if sent.accepted && !listed => Some(Step::RecordDeleted { secret_id: id.clone() }),
            // The list lags behind, or Databricks refuses; nothing else waits for it, and the next run tries again.
            Some(sent) if past(sent.last, again_after(sent.tries)) > now => None,
            Some(_) | None => Some(Step::Delete { secret_id: id.clone(), condemned_by: condemned.seq }),
        }
    })
}

fn again_after(deletes: u32) -> SignedDuration {
    SignedDuration::from_secs(5 << deletes.min(8))
}

/// If Databricks rounds lifetimes, a stray cannot be told from a person's secret: nothing is deleted, a person decides.
fn unrecognisable(state: &State, seen: &Observed, listing: &[Listed]) -> Option<Step> {
    let doubtful = doubtful(state, seen, listing);
    if doubtful.is_empty() || state.open.as_ref().is_none_or(|open| open.generation.is_some()) {
        return None;
    }
    let name = &state.open.as_ref()?.plan.credential;
    let ids = doubtful.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
    Some(Step::Quarantine(
        Problem::new("strays-unrecognisable", format!("an answer to a create was lost, and Databricks does not keep the lifetimes asked for, so it is not certain whose these secrets are: {ids}"))
            .hint(format!("delete those that nobody uses at Databricks, then run `lakekey rotate {name}`; or run `lakekey rotate {name} --force` to leave them as they are")),
    ))
}

fn doubtful(state: &State, seen: &Observed, listing: &[Listed]) -> Vec<SecretId> {
    let rounds = state.generations.values().any(|known| known.minted.attempt > 0 && !known.minted.fingerprint_shown);
    if !rounds {
        return Vec::new();
    }
    let unanswered: Vec<&Attempt> = state.attempts.iter().filter(|attempt| is_unended(attempt) && !attempt.dismissed).collect();
    listing
        .iter()
        .filter(|listed| origin(state, &seen.values, listed) == Origin::Foreign)
        .filter(|listed| unanswered.iter().any(|attempt| !attempt.known.contains(&listed.id)))
        .map(|listed| listed.id.clone())
        .collect()
}

/// Whether what quarantined the credential is as it should be again.
pub fn is_mended(state: &State, seen: &Observed, problem: &Problem) -> bool {
    match problem.code.as_str() {
        "value-lost" => state
            .open
            .as_ref()
            .and_then(|open| state.generations.get(&open.generation?))
            .is_none_or(|known| seen.values.contains(&known.minted.secret_id)),
        "strays-unrecognisable" => seen.listing.as_ref().is_some_and(|listing| doubtful(state, seen, listing).is_empty()),
        // People vouched for the canaries: they are gone.
        "canary-failed" => state.failed_canaries.iter().all(|target| !state.holders.contains_key(target)),
        _ => false,
    }
}

/// Whether a secret's dates show the lifetime that an attempt asked for. An answered attempt may have been delivered twice, but
/// what is made long after it is somebody else's who asked for the same; one without an answer may take effect at any time.
pub fn bears(listed: &Listed, attempt: &Attempt) -> bool {
    let (from, to) = attempt.made_between;
    let in_time = from <= listed.created_at && (listed.created_at <= to || is_unended(attempt));
    in_time && shows(listed.created_at, listed.expires_at, attempt.lifetime_s)
}

/// Whether these dates show this lifetime, to the second.
pub fn shows(created_at: Timestamp, expires_at: Option<Timestamp>, lifetime_s: u64) -> bool {
    expires_at.is_some_and(|expires_at| {
        let lived = expires_at.duration_since(created_at).as_millis();
        (lived - i128::from(lifetime_s) * 1000).abs() < 1000
    })
}

/// Secrets that use up slots: those listed, and lakekey's own that are too young for a list that lags behind.
pub fn used_slots(state: &State, listing: &[Listed], now: Timestamp) -> usize {
    let deleted = |id: &SecretId| state.condemned.get(id).is_some_and(|condemned| condemned.deleted);
    let unlisted = state.generations.values().map(|known| &known.minted).filter(|minted| {
        past(minted.created_at, LISTED_AFTER) >= now
            && !deleted(&minted.secret_id)
            && !listing.iter().any(|listed| listed.id == minted.secret_id)
    });
    listing.len() + unlisted.count()
}

/// Why nothing is minted: who fills the slots, and what to do.
pub fn slots_full(state: &State, listing: &[Listed], now: Timestamp) -> Problem {
    let nothing = BTreeSet::new();
    let foreign: Vec<String> = listing
        .iter()
        .filter(|listed| origin(state, &nothing, listed) == Origin::Foreign)
        .map(|listed| format!("`{}`", listed.id))
        .collect();
    let used = used_slots(state, listing, now);
    let problem = match foreign.is_empty() {
        true => format!("{used} of {SLOTS} secret slots are in use, all by generations that targets may still hold"),
        false => format!(
            "{used} of {SLOTS} secret slots are in use, {} of them by secrets that lakekey neither made nor adopted: {}",
            foreign.len(),
            foreign.join(", ")
        ),
    };
    Problem::new("slots-full", problem).hint(match foreign.is_empty() {
        true => {
            "run `lakekey status` to see which targets hold old generations; mend those targets, or wait until grace has passed"
        }
        false => {
            "delete the foreign secrets that nobody uses at Databricks (lakekey never does), then run `lakekey rotate` again"
        }
    })
}
