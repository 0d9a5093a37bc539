//! Defects of the decisions: each changes what [`next`] sees, or what it says.

use std::sync::Arc;

use jiff::Timestamp;
use lakekey_core::ids::SecretId;
use lakekey_core::rotation::event::{Condemnation, Turn};
use lakekey_core::rotation::next::{Decide, Goal, Observed, Policy, Step, next, retire_after};
use lakekey_core::rotation::state::{AttemptFate, Holder, State};

use super::Variant;

/// What decides, with this defect.
pub fn decide(variant: Option<Variant>) -> Decide {
    match variant {
        Some(Variant::MintsBlindly) => mints_blindly,
        Some(Variant::DeletesBeforeMoved) => deletes_before_moved,
        Some(Variant::ForgetsDropped) => forgets_dropped,
        Some(Variant::CompensatesAmbiguous) => compensates_ambiguous,
        Some(Variant::DrainsShort) => drains_short,
        Some(Variant::PinnedByTheDead) => pinned_by_the_dead,
        Some(Variant::IgnoresSlots) => ignores_slots,
        Some(Variant::DropsLoser) => drops_loser,
        Some(
            Variant::WritesOver
            | Variant::LosesValues
            | Variant::SharesSlot
            | Variant::IgnoresLock
            | Variant::Overwrites
            | Variant::StalledGoesOn
            | Variant::DoubtsOwnAppend
            | Variant::ReplacesPermissions
            | Variant::LogsBodies
            | Variant::Garbles,
        )
        | None => next,
    }
}

fn mints_blindly(state: &State, seen: &Observed, goal: Goal, policy: &Policy, now: Timestamp) -> Step {
    let mut state = state.clone();
    state.attempts.retain(|attempt| attempt.fate == AttemptFate::Minted);
    next(&state, seen, goal, policy, now)
}

fn deletes_before_moved(state: &State, seen: &Observed, goal: Goal, policy: &Policy, now: Timestamp) -> Step {
    before(state, seen, superseded(state, |_| true), || next(state, seen, goal, policy, now))
}

fn forgets_dropped(state: &State, seen: &Observed, goal: Goal, policy: &Policy, now: Timestamp) -> Step {
    let in_time = retire_after(state, policy).is_some_and(|at| at <= now);
    let gone = superseded(state, |holder| !holder.planned).filter(|_| in_time);
    before(state, seen, gone, || next(state, seen, goal, policy, now))
}

fn compensates_ambiguous(state: &State, seen: &Observed, goal: Goal, policy: &Policy, now: Timestamp) -> Step {
    let generation = state.open.as_ref().filter(|open| !open.promoted).and_then(|open| open.generation);
    let lost = |holder: &Holder| holder.in_flight.is_some_and(|(flying, _)| Some(flying) == generation);
    let incoming = generation.and_then(|generation| state.generations.get(&generation));
    let incoming =
        incoming.filter(|_| state.places().any(|(_, holder)| lost(holder))).map(|known| known.minted.secret_id.clone());
    before(state, seen, incoming, || next(state, seen, goal, policy, now))
}

fn drains_short(state: &State, seen: &Observed, goal: Goal, policy: &Policy, now: Timestamp) -> Step {
    let gone = superseded(state, |_| false);
    before(state, seen, gone, || next(state, seen, goal, policy, now))
}

fn drops_loser(state: &State, seen: &Observed, goal: Goal, policy: &Policy, now: Timestamp) -> Step {
    let rolled_back = state.held.is_some() || matches!(state.turn, Some(Turn::Rollback { .. }));
    let gone = superseded(state, |_| false).filter(|_| rolled_back);
    before(state, seen, gone, || next(state, seen, goal, policy, now))
}

fn pinned_by_the_dead(state: &State, seen: &Observed, goal: Goal, policy: &Policy, now: Timestamp) -> Step {
    let mut state = state.clone();
    let all: Vec<_> = state.generations.keys().copied().collect();
    for holder in state.holders.values_mut().filter(|holder| !holder.planned) {
        Arc::make_mut(holder).may_hold.extend(&all);
    }
    next(&state, seen, goal, policy, now)
}

fn ignores_slots(state: &State, seen: &Observed, goal: Goal, policy: &Policy, now: Timestamp) -> Step {
    let mut seen = seen.clone();
    let ours = |id: &SecretId| state.generation_of(id).is_some() || state.condemned.contains_key(id);
    if let Some(listing) = &mut seen.listing {
        listing.retain(|listed| ours(&listed.id));
    }
    next(state, &seen, goal, policy, now)
}

/// A superseded secret that is held only by places that count for nothing.
fn superseded(state: &State, counts_for_nothing: impl Fn(&Holder) -> bool) -> Option<SecretId> {
    let open = state.open.as_ref().and_then(|open| open.generation);
    let mut old = state.living().filter(|(generation, known)| {
        known.verified && Some(*generation) != state.current && Some(*generation) != open && state.current.is_some()
    });
    old.find(|(generation, _)| {
        let mut holders = state.gates(*generation).filter_map(|id| state.place(id));
        holders.all(&counts_for_nothing)
    })
    .map(|(_, known)| known.minted.secret_id.clone())
}

/// Condemns that secret once it has been looked at; else goes on.
fn before(state: &State, seen: &Observed, secret_id: Option<SecretId>, otherwise: impl FnOnce() -> Step) -> Step {
    match secret_id {
        Some(secret_id) if seen.listing.is_some() && !state.condemned.contains_key(&secret_id) => {
            Step::Condemn { secret_id, reason: Condemnation::Expired }
        }
        Some(_) | None => otherwise(),
    }
}
