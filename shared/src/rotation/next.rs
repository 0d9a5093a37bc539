//! What to do next: a pure function of what the journal says, what was observed in this run, and the time.
//!
//! Order: finish an interrupted take-over; look; sweep; finish what is open; retire what is past grace; start what is due.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::due::{Due, due};
use super::event::{Condemnation, PlanKind};
use super::recover::{self, Listed};
use super::state::{AttemptFate, Holder, Open, PARK_AFTER, State};
use crate::error::Problem;
use crate::ids::{Generation, SecretId, TargetId};
use crate::targets::DatasetRef;

/// lakekey mints only while the secrets listed and its own attempts that may still land number at most this.
pub const SLOTS_USED_MAX: usize = 3;
/// Databricks keeps at most this many OAuth secrets for a principal.
pub const SLOTS: usize = 5;
/// A sign-in seen this recently need not be repeated before a wave.
const SIGN_IN_FRESH: SignedDuration = SignedDuration::from_secs(60);
/// Secrets that one plan may discard before it gives up.
const DISCARDS_MAX: usize = 3;
/// Datasets taken over before their data sources are written: keeps the gap between the two short.
const TAKE_OVER_BATCH: usize = 16;
/// Tries that a reapply gives each target.
const REAPPLY_TRIES: u32 = 3;

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Rotate what is due, resume what is open, retire what is past grace.
    Rotate {
        /// Although not due; and a person has looked at what quarantined it.
        force: bool,
    },
    /// Send the current generation again.
    Reapply,
}

/// The part of the config that decisions need, and what follows from it.
#[derive(Clone, Debug)]
pub struct Policy {
    /// When a rotation is due; `None` is `manual`.
    pub rotate_every: Option<SignedDuration>,
    /// The configured grace.
    pub grace: SignedDuration,
    /// By how much clocks may differ.
    pub skew: SignedDuration,
    /// When rotations may start next: now or earlier when a window is open and no freeze holds; `None` is never.
    pub may_start_at: Option<Timestamp>,
}

/// What this run has seen. Gone when the run ends: nothing that matters later may be kept only here.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The principal's secrets; `None` when they must be listed (again).
    pub listing: Option<Vec<Listed>>,
    /// Secrets whose values are at hand in slots or as the store's current value.
    pub values: BTreeSet<SecretId>,
    /// A generation that signed in, and when.
    pub signs_in: Option<(Generation, Timestamp)>,
    /// A generation that was definitely refused.
    pub refused: Option<(Generation, Problem)>,
    /// Deletes sent, by secret: how often and when last.
    pub deletes: BTreeMap<SecretId, (u32, Timestamp)>,
    /// Creates that were refused in this run, and why the last was.
    pub mint_refusals: Vec<Problem>,
    /// Plans settled in this run, and why early.
    pub settled: Vec<Option<Problem>>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Look at the store for the first time.
    Begin,
    /// List the secrets and the slots.
    Look,
    /// Go on after quarantine.
    Unquarantine {
        /// Whether a person decided.
        forced: bool,
    },
    /// Stop until a person has acted.
    Quarantine(Problem),
    /// Check everything and freeze it.
    Plan {
        /// What for.
        kind: PlanKind,
        /// Why now.
        reason: String,
    },
    /// Add the plan's permissions.
    Grant,
    /// Make a secret.
    Mint,
    /// Journal a secret whose value is in its slot.
    Adopt {
        /// The secret.
        secret_id: SecretId,
        /// The attempt that made it.
        attempt: u32,
    },
    /// Decide for good that a secret will be deleted.
    Condemn {
        /// The secret.
        secret_id: SecretId,
        /// Why.
        reason: Condemnation,
    },
    /// Delete a condemned secret.
    Delete {
        /// The secret.
        secret_id: SecretId,
        /// The entry that condemned it.
        condemned_by: u64,
    },
    /// Record that a condemned secret is gone.
    RecordDeleted {
        /// The secret.
        secret_id: SecretId,
    },
    /// Prove a new secret.
    Verify {
        /// Its generation.
        generation: Generation,
    },
    /// See whether a generation still signs in.
    CheckSignIn {
        /// Which.
        generation: Generation,
    },
    /// Take datasets over.
    TakeOver {
        /// Which; with their owners so far.
        datasets: Vec<DatasetRef>,
    },
    /// Send a generation to places.
    Wave {
        /// Which generation.
        generation: Generation,
        /// To whom.
        targets: Vec<TargetId>,
    },
    /// Go on without these.
    Park {
        /// Which.
        targets: Vec<TargetId>,
    },
    /// Make a generation the store's current one.
    Promote {
        /// Which.
        generation: Generation,
    },
    /// Close the plan.
    Settle(Option<Problem>),
    /// Nothing can be done before then.
    Wait {
        /// Until when.
        until: Timestamp,
        /// What for.
        why: String,
    },
    /// All is as asked, or must be left to a later run.
    Done,
    /// It cannot go on, and why.
    Stop(Problem),
}

/// Decides.
pub fn next(state: &State, seen: &Observed, goal: Goal, policy: &Policy, now: Timestamp) -> Step {
    if state.begun.is_none() {
        return Step::Begin;
    }
    if !state.taking_over.is_empty() {
        return Step::TakeOver { datasets: state.taking_over.clone() };
    }
    if let Some(step) = cover_bare(state, now) {
        return step;
    }
    let Some(listing) = &seen.listing else { return Step::Look };
    if let Some(problem) = &state.quarantine {
        return match goal {
            Goal::Rotate { force: true } => Step::Unquarantine { forced: true },
            _ if recover::is_mended(state, seen, problem) => Step::Unquarantine { forced: false },
            _ => Step::Stop(problem.clone()),
        };
    }
    if let Some(step) = recover::sweep(state, seen, listing, now) {
        return step;
    }
    if let Some(open) = &state.open {
        return continue_open(state, open, seen, listing, now);
    }
    if let Some(step) = drain(state, policy, now) {
        return step;
    }
    start(state, seen, listing, goal, policy, now)
}

/// Data sources that a take-over left without a credential come before everything else.
fn cover_bare(state: &State, now: Timestamp) -> Option<Step> {
    let generation = state.open.as_ref().and_then(|open| open.generation).or(state.current)?;
    let bare = |holder: &Holder| holder.bare && may_send(holder, generation, now);
    let targets: Vec<TargetId> = state.holders.iter().filter(|(_, holder)| bare(holder)).map(|(id, _)| id.clone()).collect();
    (!targets.is_empty()).then_some(Step::Wave { generation, targets })
}

fn start(state: &State, seen: &Observed, listing: &[Listed], goal: Goal, policy: &Policy, now: Timestamp) -> Step {
    if !seen.settled.is_empty() {
        return Step::Done;
    }
    match goal {
        Goal::Reapply => match state.current {
            Some(_) => Step::Plan { kind: PlanKind::Reapply, reason: "reapply was asked for".to_owned() },
            None => Step::Stop(
                Problem::new("nothing-to-reapply", "no generation has been promoted yet, so there is nothing to send again")
                    .hint("run `lakekey rotate` first"),
            ),
        },
        Goal::Rotate { force } => match due(state, policy, Some(listing), force, now) {
            Due { due: true, reason, .. } => Step::Plan { kind: PlanKind::Rotate, reason },
            Due { due: false, .. } => Step::Done,
        },
    }
}

fn continue_open(state: &State, open: &Open, seen: &Observed, listing: &[Listed], now: Timestamp) -> Step {
    if !open.granted {
        return Step::Grant;
    }
    let Some(generation) = open.generation else { return mint(state, open, seen, listing, now) };
    let Some(minted) = state.generations.get(&generation).map(|known| &known.minted) else {
        return Step::Stop(Problem::new("journal-inconsistent", "the open plan names a generation that was never minted"));
    };
    let known = &state.generations[&generation];
    if !seen.values.contains(&minted.secret_id) {
        return value_lost(open, generation, &minted.secret_id, known.sent);
    }
    if !known.verified {
        // Somebody else minted at the same moment: ours goes, so that a slot stays free.
        if !known.sent && listing.len() >= SLOTS {
            return Step::Condemn { secret_id: minted.secret_id.clone(), reason: Condemnation::OverCap };
        }
        return match &seen.refused {
            Some((refused, _)) if *refused == generation => condemn_refused(&minted.secret_id),
            _ => Step::Verify { generation },
        };
    }
    if let Some(step) = apply(state, open, generation, seen, now) {
        return step;
    }
    if !open.promoted {
        return match check_sign_in(open, generation, &minted.secret_id, seen, now) {
            Some(step) => step,
            None => Step::Promote { generation },
        };
    }
    if open.plan.kind == PlanKind::Rotate
        && let Some(step) = send_copies(state, &open.plan.copies.iter().map(super::event::Place::holder).collect(), now)
    {
        return step;
    }
    Step::Settle(None)
}

fn value_lost(open: &Open, generation: Generation, secret_id: &SecretId, sent: bool) -> Step {
    if open.plan.kind == PlanKind::Reapply {
        return Step::Settle(Some(
            Problem::new("value-lost", format!("the value of the current generation {generation} is in no slot of the store"))
                .hint("restore the store's files, or run `lakekey rotate --force` to mint and send a new secret"),
        ));
    }
    if sent {
        return Step::Quarantine(
            Problem::new(
                "value-lost",
                format!("the value of generation {generation} (secret `{secret_id}`) is in no slot of the store, but targets may hold it"),
            )
            .hint("every target still holds a live secret; restore the store's slot and run `lakekey rotate`, or run `lakekey rotate --force` to go on with a new secret"),
        );
    }
    Step::Condemn { secret_id: secret_id.clone(), reason: Condemnation::ValueLost }
}

fn condemn_refused(secret_id: &SecretId) -> Step {
    Step::Condemn { secret_id: secret_id.clone(), reason: Condemnation::VerificationFailed }
}

fn mint(state: &State, open: &Open, seen: &Observed, listing: &[Listed], now: Timestamp) -> Step {
    if let Some(problem) = why_not_again(open, seen) {
        return Step::Settle(Some(problem));
    }
    if let Some(problem) = seen.mint_refusals.last() {
        let problem = if listing.len() >= SLOTS { recover::slots_full(state, listing) } else { problem.clone() };
        return Step::Settle(Some(problem));
    }
    let landing = state.attempts.iter().filter_map(|attempt| match attempt.fate {
        AttemptFate::Unanswered { until } if until > now => Some(until),
        AttemptFate::UnderWay | AttemptFate::Refused | AttemptFate::Minted | AttemptFate::Unanswered { .. } => None,
    });
    let landing: Vec<Timestamp> = landing.collect();
    if listing.len() + landing.len() <= SLOTS_USED_MAX {
        return Step::Mint;
    }
    match landing.iter().min() {
        Some(until) => Step::Wait {
            until: *until,
            why: "a create whose answer was lost may still take effect and would fill the slots".to_owned(),
        },
        None => Step::Settle(Some(recover::slots_full(state, listing))),
    }
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
        | Condemnation::Expired => None,
    }
}

/// The next thing that the plan's targets need; `None` when all have moved or are parked.
fn apply(state: &State, open: &Open, generation: Generation, seen: &Observed, now: Timestamp) -> Option<Step> {
    let done = |holder: &Holder| holder.done == Some((open.number, generation));
    let given_up = |holder: &Holder| {
        holder
            .failures
            .as_ref()
            .is_some_and(|failures| failures.parked || (open.plan.kind == PlanKind::Reapply && failures.count >= REAPPLY_TRIES))
    };
    for wave in &open.waves {
        let pending: Vec<(&TargetId, &Holder)> = wave
            .iter()
            .filter_map(|id| state.holders.get(id).map(|holder| (id, holder)))
            .filter(|(_, holder)| !done(holder) && !given_up(holder))
            .collect();
        if pending.is_empty() {
            continue;
        }
        let ready: Vec<(&TargetId, &Holder)> =
            pending.iter().copied().filter(|(_, holder)| may_send(holder, generation, now)).collect();
        if !ready.is_empty() {
            return Some(send(open, state, generation, &ready, seen, now));
        }
        let stuck: Vec<TargetId> = pending
            .iter()
            .filter(|(_, holder)| holder.failures.as_ref().is_some_and(|failures| past(failures.since, PARK_AFTER) <= now))
            .map(|(id, _)| (*id).clone())
            .collect();
        if !stuck.is_empty() {
            return Some(Step::Park { targets: stuck });
        }
        return Some(wait_for(&pending, generation, now));
    }
    None
}

fn send(
    open: &Open,
    state: &State,
    generation: Generation,
    ready: &[(&TargetId, &Holder)],
    seen: &Observed,
    now: Timestamp,
) -> Step {
    let secret_id = &state.generations[&generation].minted.secret_id;
    if let Some(step) = check_sign_in(open, generation, secret_id, seen, now) {
        return step;
    }
    let mut datasets: BTreeMap<_, DatasetRef> = BTreeMap::new();
    for (_, holder) in ready.iter().filter(|(_, holder)| !holder.taken_over) {
        if let Some(spec) = &holder.spec
            && let Some(dataset) = spec.datasets.iter().find(|dataset| Some(&dataset.id) == spec.take_over.as_ref())
        {
            datasets.insert(dataset.id.clone(), dataset.clone());
        }
    }
    if !datasets.is_empty() {
        return Step::TakeOver { datasets: datasets.into_values().take(TAKE_OVER_BATCH).collect() };
    }
    Step::Wave { generation, targets: ready.iter().map(|(id, _)| (*id).clone()).collect() }
}

/// Before a wave or a promotion, its generation must still sign in: a person may have deleted it.
fn check_sign_in(open: &Open, generation: Generation, secret_id: &SecretId, seen: &Observed, now: Timestamp) -> Option<Step> {
    match (&seen.refused, &seen.signs_in) {
        (Some((refused, problem)), _) if *refused == generation => Some(match open.plan.kind {
            PlanKind::Rotate => condemn_refused(secret_id),
            PlanKind::Reapply => Step::Settle(Some(problem.clone())),
        }),
        (_, Some((signed_in, at))) if *signed_in == generation && past(*at, SIGN_IN_FRESH) > now => None,
        _ => Some(Step::CheckSignIn { generation }),
    }
}

fn wait_for(pending: &[(&TargetId, &Holder)], generation: Generation, now: Timestamp) -> Step {
    let until = pending.iter().map(|(_, holder)| ready_at(holder, generation)).min().unwrap_or(now);
    let example = pending
        .iter()
        .find_map(|(_, holder)| holder.failures.as_ref()?.problem.as_ref())
        .map_or_else(|| "an earlier write may still land there".to_owned(), |problem| problem.message.clone());
    let count = pending.len();
    Step::Wait { until, why: format!("{count} target{} not moved yet: {example}", if count == 1 { " has" } else { "s have" }) }
}

fn send_copies(state: &State, copies: &BTreeSet<TargetId>, now: Timestamp) -> Option<Step> {
    let current = state.current?;
    let due = |id: &TargetId| {
        state.holders.get(id).is_some_and(|holder| {
            holder.confirmed != Some(current)
                && may_send(holder, current, now)
                && holder.failures.as_ref().is_none_or(|failures| !failures.parked)
        })
    };
    let targets: Vec<TargetId> = copies.iter().filter(|id| due(id)).cloned().collect();
    (!targets.is_empty()).then_some(Step::Wave { generation: current, targets })
}

fn drain(state: &State, policy: &Policy, now: Timestamp) -> Option<Step> {
    let copies = state.holders.iter().filter(|(_, holder)| holder.spec.is_none() && !holder.may_hold.is_empty());
    if let Some(step) = send_copies(state, &copies.map(|(id, _)| id.clone()).collect(), now) {
        return Some(step);
    }
    let retire_after = retire_after(state, policy)?;
    state.living().find_map(|(generation, known)| {
        let reason = retirement(state, generation, known.minted.expires_at, retire_after, policy, now)?;
        Some(Step::Condemn { secret_id: known.minted.secret_id.clone(), reason })
    })
}

fn retirement(
    state: &State,
    generation: Generation,
    expires_at: Option<Timestamp>,
    retire_after: Timestamp,
    policy: &Policy,
    now: Timestamp,
) -> Option<Condemnation> {
    if Some(generation) == state.current {
        return None;
    }
    if expires_at.is_some_and(|expires_at| past(expires_at, policy.skew) < now) {
        return Some(Condemnation::Expired);
    }
    let held = gates(state, generation).next().is_some();
    (!held && retire_after <= now).then_some(Condemnation::Retired)
}

/// The places that may hold a generation, and therefore keep its secret alive.
pub fn gates(state: &State, generation: Generation) -> impl Iterator<Item = &TargetId> {
    state
        .holders
        .iter()
        .filter(move |(_, holder)| {
            holder.may_hold.contains(&generation) || holder.in_flight.is_some_and(|(flying, _)| flying == generation)
        })
        .map(|(id, _)| id)
}

/// When superseded secrets may go: grace and twice the skew after the last move or promotion.
pub fn retire_after(state: &State, policy: &Policy) -> Option<Timestamp> {
    let planned = SignedDuration::from_secs(i64::try_from(state.grace_s).unwrap_or(i64::MAX));
    let grace = planned.max(policy.grace);
    Some(past(past(state.last_move?, grace), policy.skew.saturating_mul(2)))
}

/// Whether a write of this generation may start there now.
fn may_send(holder: &Holder, generation: Generation, now: Timestamp) -> bool {
    ready_at(holder, generation) <= now
}

/// When a write of this generation may start there: no other generation in flight, and the last failure some time ago.
fn ready_at(holder: &Holder, generation: Generation) -> Timestamp {
    let landed = match holder.in_flight {
        Some((flying, until)) if flying != generation => until,
        Some(_) | None => Timestamp::MIN,
    };
    let retry = holder.failures.as_ref().map_or(Timestamp::MIN, |failures| past(failures.last, pause_after(failures.count)));
    landed.max(retry)
}

/// How long a place is left alone after so many failures.
fn pause_after(count: u32) -> SignedDuration {
    SignedDuration::from_secs(match count {
        0 => 0,
        1 => 2,
        2 => 8,
        3 => 30,
        4 => 5 * 60,
        5 => 15 * 60,
        _ => 60 * 60,
    })
}

pub(super) fn past(from: Timestamp, by: SignedDuration) -> Timestamp {
    from.saturating_add(by).unwrap_or(Timestamp::MAX)
}
