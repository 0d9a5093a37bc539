//! After a rotation: late copies, and the retirement of what no place may hold any more.

use jiff::{SignedDuration, Timestamp};

use super::{Observed, Policy, Step, may_send, past};
use crate::ids::{Generation, TargetId};
use crate::rotation::event::Condemnation;
use crate::rotation::state::{GenerationState, Holder, State};

/// When superseded secrets may go: grace and twice the skew after the last move or promotion.
pub fn retire_after(state: &State, policy: &Policy) -> Option<Timestamp> {
    let planned = SignedDuration::from_secs(i64::try_from(state.grace_s).unwrap_or(i64::MAX));
    let grace = planned.max(policy.grace);
    Some(past(past(state.last_move?, grace), policy.skew.saturating_mul(2)))
}

/// Sends the current generation to the plan's copies that lack it.
pub(super) fn send_copies(state: &State, seen: &Observed, now: Timestamp) -> Option<Step> {
    let current = state.current?;
    if !seen.values.contains(&state.generations.get(&current)?.minted.secret_id) {
        return None;
    }
    let lacks_it = |holder: &Holder| {
        holder.spec.is_none() && holder.planned && holder.confirmed != Some(current) && may_send(holder, current, now)
    };
    let targets: Vec<TargetId> = state.places().filter(|(_, holder)| lacks_it(holder)).map(|(id, _)| id.clone()).collect();
    (!targets.is_empty()).then_some(Step::Wave { generation: current, targets })
}

/// The next thing that superseded generations need.
pub(super) fn drain(state: &State, seen: &Observed, policy: &Policy, now: Timestamp) -> Option<Step> {
    send_copies(state, seen, now)
        .or_else(|| {
            // Oldest first: generations are counted upwards.
            state.living().find_map(|(generation, known)| {
                let reason = retirement(state, generation, known, policy, now)?;
                Some(Step::Condemn { secret_id: known.minted.secret_id.clone(), reason })
            })
        })
        .or_else(|| {
            let over = state.draining && !state.has_superseded() && retire_after(state, policy).is_none_or(|at| at <= now);
            over.then_some(Step::RecordDrained)
        })
}

fn retirement(
    state: &State,
    generation: Generation,
    known: &GenerationState,
    policy: &Policy,
    now: Timestamp,
) -> Option<Condemnation> {
    if Some(generation) == state.current {
        return None;
    }
    if known.minted.expires_at.is_some_and(|expires_at| past(expires_at, policy.skew) < now) {
        return Some(Condemnation::Expired);
    }
    let held = state.gates(generation).next().is_some();
    let in_time = retire_after(state, policy).is_some_and(|retire_after| retire_after <= now);
    (!held && in_time).then_some(Condemnation::Retired)
}
