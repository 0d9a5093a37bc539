//! What the open rotation, reapply or rollback needs next: grant, mint, verify, move wave by wave, promote, copy, settle.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::drain::send_copies;
use super::refresh::follow;
use super::turn::failed_canary;
use super::{Observed, Policy, SLOTS, SLOTS_USED_MAX, Step, may_send, past, ready_at};
use crate::error::Problem;
use crate::ids::{DatasetId, Generation, SecretId, TargetId};
use crate::rotation::due::LISTED_AFTER;
use crate::rotation::event::{Condemnation, PlanKind, Turn};
use crate::rotation::led::{self, Rest};
use crate::rotation::recover::{self, Listed};
use crate::rotation::state::{AttemptFate, GenerationState, Holder, Open, PARK_AFTER, State};
use crate::targets::DatasetRef;

/// A sign-in seen this recently need not be repeated before a wave.
const SIGN_IN_FRESH: SignedDuration = SignedDuration::from_secs(60);
/// How long a list may go on showing a secret that was just deleted.
const DELETED_WITHIN: SignedDuration = SignedDuration::from_secs(5);
/// Secrets that one plan may discard before it gives up.
const DISCARDS_MAX: usize = 3;
/// Datasets taken over before their data sources are written: keeps the gap between the two short.
const TAKE_OVER_BATCH: usize = 16;
/// Tries that each target gets of a reapply, and a canary on its way back.
const FEW_TRIES: u32 = 3;

/// The open plan, and what is at hand to judge it by.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) state: &'a State,
    pub(super) open: &'a Open,
    pub(super) seen: &'a Observed,
    pub(super) listing: &'a [Listed],
    pub(super) policy: &'a Policy,
    pub(super) now: Timestamp,
}

/// Goes on with what is open.
pub(super) fn continue_open(scene: Scene<'_>) -> Step {
    let Scene { state, open, seen, listing, now, .. } = scene;
    if !open.granted {
        return Step::Grant;
    }
    let Some(generation) = open.generation else { return mint(scene) };
    let Some(known) = state.generations.get(&generation) else {
        return Step::Stop(Problem::new("journal-inconsistent", "the open plan names a generation that was never minted"));
    };
    let secret_id = &known.minted.secret_id;
    if !seen.values.contains(secret_id) {
        return value_lost(open, generation, known);
    }
    if !known.verified {
        // Somebody else minted at the same moment: ours goes, so that a slot stays free.
        if recover::used_slots(state, listing, now) >= SLOTS && open.plan.kind != PlanKind::Revoke {
            return Step::Condemn { secret_id: secret_id.clone(), reason: Condemnation::OverCap };
        }
        return refused(scene, generation, known).unwrap_or(Step::Verify { generation });
    }
    let is_rotation = open.plan.kind == PlanKind::Rotate && !open.promoted;
    if is_rotation && let Some(rest) = led::rest(state, Rest::BeforeMoving, now) {
        return rest;
    }
    if let Some(step) = apply(scene, generation, known) {
        return step;
    }
    if is_rotation && let Some(rest) = led::rest(state, Rest::BeforePromoting, now) {
        return rest;
    }
    if !open.promoted {
        return check_sign_in(scene, generation, known).unwrap_or(Step::Promote { generation });
    }
    let copies = match open.plan.kind {
        PlanKind::Rotate | PlanKind::Rollback => send_copies(state, seen, now),
        PlanKind::Revoke => send_copies(state, seen, now).or_else(|| revoke_next(scene)),
        PlanKind::Reapply | PlanKind::Join => None,
    };
    copies.unwrap_or(Step::Settle(None))
}

fn value_lost(open: &Open, generation: Generation, known: &GenerationState) -> Step {
    let (secret_id, name) = (&known.minted.secret_id, &open.plan.credential);
    if open.promoted || open.plan.kind == PlanKind::Rollback {
        return Step::Settle(Some(
            Problem::new("value-lost", format!("the value of generation {generation} is in no slot of the store"))
                .hint(format!("restore the store's files, or run `lakekey rotate {name} --force` to mint and send a new secret")),
        ));
    }
    if known.sent {
        return Step::Quarantine(
            Problem::new(
                "value-lost",
                format!("the value of generation {generation} (secret `{secret_id}`) is in no slot of the store, but targets may hold it"),
            )
            .hint(format!(
                "restore the store's slot and run `lakekey rotate {name}`, or run `lakekey rotate {name} --force` to go on with a new secret"
            )),
        );
    }
    Step::Condemn { secret_id: secret_id.clone(), reason: Condemnation::ValueLost }
}

fn mint(scene: Scene<'_>) -> Step {
    let Scene { state, open, seen, listing, now, .. } = scene;
    if let Some(problem) = why_not_again(open, seen) {
        return Step::Settle(Some(problem));
    }
    if let Some(problem) = seen.mint_refusals.last() {
        let problem = if listing.len() >= SLOTS { recover::slots_full(state, listing, now) } else { problem.clone() };
        return Step::Settle(Some(problem));
    }
    let landing: Vec<Timestamp> = state
        .attempts
        .iter()
        .filter_map(|attempt| match attempt.fate {
            // What has landed at last takes its time to show in a list.
            AttemptFate::Unanswered { until } => Some(past(until, LISTED_AFTER)).filter(|until| *until > now),
            AttemptFate::UnderWay => Some(Timestamp::MAX),
            AttemptFate::Refused | AttemptFate::Minted => None,
        })
        .collect();
    let used_max = match open.plan.kind {
        PlanKind::Revoke => SLOTS - 1,
        PlanKind::Rotate | PlanKind::Reapply | PlanKind::Join | PlanKind::Rollback => SLOTS_USED_MAX,
    };
    if recover::used_slots(state, listing, now) + landing.len() <= used_max {
        return Step::Mint;
    }
    if open.plan.kind == PlanKind::Revoke
        && let Some(step) = free_a_slot(scene)
    {
        return step;
    }
    match landing.iter().min() {
        Some(until) => Step::Wait {
            until: *until,
            why: "a create whose answer was lost may still take effect and would fill the slots".to_owned(),
        },
        None => Step::Settle(Some(recover::slots_full(state, listing, now))),
    }
}

/// With every slot full, a revoke first deletes its own oldest that no target is meant to hold.
fn free_a_slot(scene: Scene<'_>) -> Option<Step> {
    let Scene { state, seen, listing, now, .. } = scene;
    let going = state.undeleted().any(|(id, _)| listing.iter().any(|listed| listed.id == *id));
    match &seen.undeleted {
        Some(problem) if going => Some(Step::Settle(Some(problem.clone()))),
        None if going => Some(Step::Wait { until: past(now, DELETED_WITHIN), why: "a secret is being deleted".to_owned() }),
        Some(_) | None => revoke_next(scene),
    }
}

/// The next secret that a revoke deletes, oldest generation first, then foreign ones where asked. Never the current one,
/// which goes only when its successor has been promoted.
fn revoke_next(scene: Scene<'_>) -> Option<Step> {
    let Scene { state, open, seen, listing, .. } = scene;
    let kept = [state.current, open.generation];
    let own = state.living().find(|(generation, _)| !kept.contains(&Some(*generation)));
    let own = own.map(|(_, known)| known.minted.secret_id.clone());
    let wants_foreign = matches!(state.turn, Some(Turn::Revoke { foreign: true }));
    let is_foreign = |listed: &&Listed| recover::origin(state, &seen.values, listed) == recover::Origin::Foreign;
    let foreign = || listing.iter().filter(|_| wants_foreign).find(is_foreign).map(|listed| listed.id.clone());
    let secret_id = own.or_else(foreign)?;
    Some(Step::Condemn { secret_id, reason: Condemnation::Revoked })
}

/// A plan that has discarded secrets goes on only where a fresh one can do better.
fn why_not_again(open: &Open, seen: &Observed) -> Option<Problem> {
    let last = open.discarded.last()?;
    let refused = seen.refused.as_ref().map(|(_, problem)| problem.clone());
    match last {
        Condemnation::OverCap => Some(
            Problem::new(
                "slots-taken",
                "somebody else minted at the same time and no slot stayed free; the new secret was discarded",
            )
            .hint("see who else creates secrets for this service principal, then run `lakekey rotate` again"),
        ),
        Condemnation::VerificationFailed if !open.sent => Some(refused.unwrap_or_else(|| {
            Problem::new(
                "verification-failed",
                "the new secret did not pass its verification and was deleted; no target was touched",
            )
        })),
        _ if open.discarded.len() >= DISCARDS_MAX => Some(
            Problem::new("mint-keeps-failing", format!("{DISCARDS_MAX} secrets in a row had to be discarded"))
                .hint("`lakekey history` says why each was; then run `lakekey rotate` again"),
        ),
        Condemnation::VerificationFailed
        | Condemnation::ValueLost
        | Condemnation::Stray
        | Condemnation::Retired
        | Condemnation::Revoked
        | Condemnation::Expired => None,
    }
}

/// The next thing that the plan's targets need; `None` when all have moved or are parked.
fn apply(scene: Scene<'_>, generation: Generation, known: &GenerationState) -> Option<Step> {
    let Scene { state, open, now, .. } = scene;
    let done = |holder: &Holder| holder.done == Some((open.number, generation));
    for wave in &open.waves {
        let pending: Vec<(&TargetId, &Holder)> = wave
            .iter()
            .filter_map(|id| state.place(id).map(|holder| (id, holder)))
            .filter(|(_, holder)| !done(holder) && !given_up(state, open, holder))
            .collect();
        if pending.is_empty() {
            // A dataset is refreshed while the wave that moved the last of its data sources is not yet confirmed.
            match follow(scene) {
                Some(step) => return Some(step),
                None => continue,
            }
        }
        if let Some(turn) = failed_canary(state, open, wave, now) {
            return Some(turn);
        }
        let ready: Vec<(&TargetId, &Holder)> =
            pending.iter().copied().filter(|(_, holder)| may_send(holder, generation, now)).collect();
        if !ready.is_empty() {
            return Some(check_sign_in(scene, generation, known).unwrap_or_else(|| send(generation, &ready)));
        }
        let since = |holder: &Holder| holder.failures.as_ref().map(|failures| failures.since);
        let stuck: Vec<TargetId> = pending
            .iter()
            .filter(|(_, holder)| since(holder).is_some_and(|since| past(since, PARK_AFTER) <= now))
            .map(|(id, _)| (*id).clone())
            .collect();
        return Some(match stuck.is_empty() {
            true => wait_for(&pending, generation, now),
            false => Step::Park { targets: stuck },
        });
    }
    None
}

/// Whether the plan does no more for this place.
pub(super) fn is_over(scene: Scene<'_>, holder: &Holder) -> bool {
    given_up(scene.state, scene.open, holder)
}

fn given_up(state: &State, open: &Open, holder: &Holder) -> bool {
    let tries = match (open.plan.kind, &state.turn) {
        // What a revoke cannot move in a few tries is cut off: that is what it is for.
        (PlanKind::Reapply | PlanKind::Join | PlanKind::Revoke, _) => FEW_TRIES,
        // A failed canary may take nothing at all: it keeps what it has, and both secrets live.
        (PlanKind::Rollback, Some(Turn::Rollback { canary: Some(_), .. })) => FEW_TRIES,
        (PlanKind::Rotate | PlanKind::Rollback, _) => u32::MAX,
    };
    holder.failures.as_ref().is_some_and(|failures| failures.parked || failures.count >= tries)
}

/// A wave to these places, after the take-overs that they need.
pub(super) fn send(generation: Generation, ready: &[(&TargetId, &Holder)]) -> Step {
    let mut datasets: BTreeMap<&DatasetId, &DatasetRef> = BTreeMap::new();
    let specs = ready.iter().filter_map(|(_, holder)| holder.spec.as_ref());
    let first = specs.filter_map(|spec| spec.datasets.iter().find(|dataset| Some(&dataset.id) == spec.take_over.as_ref()));
    for dataset in first {
        datasets.insert(&dataset.id, dataset);
        if datasets.len() == TAKE_OVER_BATCH {
            break;
        }
    }
    if !datasets.is_empty() {
        return Step::TakeOver { datasets: datasets.into_values().cloned().collect() };
    }
    Step::Wave { generation, targets: ready.iter().map(|(id, _)| (*id).clone()).collect() }
}

/// Before a wave or a promotion, its generation must still sign in: a person may have deleted it.
fn check_sign_in(scene: Scene<'_>, generation: Generation, known: &GenerationState) -> Option<Step> {
    if let Some(step) = refused(scene, generation, known) {
        return Some(step);
    }
    match &scene.seen.signs_in {
        Some((signed_in, at)) if *signed_in == generation && past(*at, SIGN_IN_FRESH) > scene.now => None,
        Some(_) | None => Some(Step::CheckSignIn { generation }),
    }
}

/// What a definite refusal of the generation to sign in asks for. One that targets may hold is given up only when it is
/// certainly gone: a refusal alone may have other causes, and to delete a secret that targets use would cut them off.
fn refused(scene: Scene<'_>, generation: Generation, known: &GenerationState) -> Option<Step> {
    let (_, problem) = scene.seen.refused.as_ref().filter(|(refused, _)| *refused == generation)?;
    if scene.open.promoted || scene.open.plan.kind == PlanKind::Rollback {
        return Some(Step::Settle(Some(problem.clone())));
    }
    let condemn = |reason| Some(Step::Condemn { secret_id: known.minted.secret_id.clone(), reason });
    if !known.sent {
        return condemn(Condemnation::VerificationFailed);
    }
    if known.minted.expires_at.is_some_and(|expires_at| past(expires_at, scene.policy.skew) < scene.now) {
        return condemn(Condemnation::Expired);
    }
    if is_gone(scene.listing, &known.minted.secret_id, known.minted.created_at, scene.now) {
        return condemn(Condemnation::VerificationFailed);
    }
    Some(Step::Stop(
        Problem::new("sign-in-refused", problem.message.clone())
            .hint("targets may hold this secret and Databricks still lists it, so it stays; see why the service principal may not sign in, then run `lakekey rotate` again"),
    ))
}

/// Whether a secret is certainly no longer there: a list may lag behind a create.
fn is_gone(listing: &[Listed], id: &SecretId, created_at: Timestamp, now: Timestamp) -> bool {
    !listing.iter().any(|listed| listed.id == *id) && past(created_at, LISTED_AFTER) < now
}

fn wait_for(pending: &[(&TargetId, &Holder)], generation: Generation, now: Timestamp) -> Step {
    let until = pending.iter().map(|(_, holder)| ready_at(holder, generation)).min().unwrap_or(now);
    let example = pending
        .iter()
        .find_map(|(_, holder)| {
            let failed = holder.failures.as_ref().and_then(|failures| failures.problem.as_ref());
            failed.or_else(|| holder.busy.as_ref()?.problem.as_ref())
        })
        .map_or_else(|| "an earlier write may still land there".to_owned(), |problem| problem.message.clone());
    let count = pending.len();
    Step::Wait { until, why: format!("{count} target{} not moved yet: {example}", if count == 1 { " has" } else { "s have" }) }
}
