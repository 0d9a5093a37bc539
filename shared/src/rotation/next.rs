//! What to do next: a pure function of what the journal says, what was observed in this run, and the time.
//!
//! Order: finish an interrupted take-over; look; sweep; finish what is open; retire what is past grace; start what is due.

mod drain;
mod open;
mod refresh;
mod turn;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

pub use drain::retire_after;

use super::due::{Due, due, is_current_gone};
use super::event::{Condemnation, PlanKind, Turn};
use super::led::{LedStep, Rest};
use super::recover::{self, Listed};
pub(crate) use super::state::past;
use super::state::{Holder, State};
use crate::config::schedule::Calendar;
use crate::error::Problem;
use crate::ids::{DatasetId, Generation, SecretId, TargetId};
use crate::targets::DatasetRef;

/// lakekey mints only while the secrets listed and its own attempts that may still land number at most this.
pub const SLOTS_USED_MAX: usize = 3;
/// Databricks keeps at most this many OAuth secrets for a principal.
pub const SLOTS: usize = 5;

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Rotate what is due, resume what is open, retire what is past grace.
    Rotate {
        /// Although not due; and a person has looked at what quarantined it.
        force: bool,
    },
    /// Send the current generation again.
    Reapply {
        /// And refresh the datasets of its targets.
        refresh: bool,
    },
    /// Carry out the rollback that was asked for.
    Rollback,
    /// Carry out the revoke that was asked for.
    Revoke,
    /// Do a step of the rotation that Secrets Manager leads.
    Step(LedStep),
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
    /// When rotations may start.
    pub calendar: Calendar,
}

/// What this run has seen. Gone when the run ends: nothing that matters later may be kept only here.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The principal's secrets; `None` when they must be listed (again).
    pub listing: Option<Vec<Listed>>,
    /// Secrets whose values are at hand in slots or as the store's current value.
    pub values: BTreeSet<SecretId>,
    /// Which generation's value the store has as its current one.
    pub stored: Option<Generation>,
    /// The account that the principal's current value names: other programs that rotate it may ask for that.
    pub account_id: Option<String>,
    /// A generation that signed in, and when.
    pub signs_in: Option<(Generation, Timestamp)>,
    /// A generation that was definitely refused.
    pub refused: Option<(Generation, Problem)>,
    /// Deletes sent, by secret.
    pub deletes: BTreeMap<SecretId, DeleteSent>,
    /// Creates that were refused in this run, and why the last was.
    pub mint_refusals: Vec<Problem>,
    /// Deletes that failed in this run, and why the last did.
    pub undeleted: Option<Problem>,
    /// A generation whose value turned out to be in no slot just when it was needed.
    pub lost: Option<Generation>,
    /// What is selected now, where that was looked at.
    pub selected: Option<BTreeSet<TargetId>>,
    /// When the refreshes under way were last looked at, and how often.
    pub polled: Option<(Timestamp, u32)>,
    /// Whether it was this run that quarantined the credential: no `--force` from before speaks to that.
    pub quarantined: bool,
    /// Plans settled in this run, and why early.
    pub settled: Vec<(PlanKind, Option<Problem>)>,
}

/// The deletes of one secret in this run.
#[derive(Clone, Copy, Debug)]
pub struct DeleteSent {
    /// How many.
    pub tries: u32,
    /// When the last was.
    pub last: Timestamp,
    /// Whether Databricks took one.
    pub accepted: bool,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Look at the store for the first time.
    Begin,
    /// List the secrets and the slots.
    Look,
    /// See what is selected now.
    Survey,
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
        /// Whether every dataset of its targets is refreshed.
        refresh: bool,
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
    /// Make the current generation the store's current one again: a promotion that was given up has come in between.
    PromoteAgain {
        /// Which.
        generation: Generation,
    },
    /// Record that grace has passed and nothing superseded is left.
    RecordDrained,
    /// Close the plan.
    Settle(Option<Problem>),
    /// Change direction.
    Turn {
        /// Which way.
        turn: Turn,
        /// Why.
        reason: String,
    },
    /// Start refreshes.
    Refresh {
        /// Of these datasets.
        datasets: Vec<DatasetId>,
    },
    /// See how far refreshes are.
    PollRefreshes {
        /// Of these datasets.
        datasets: Vec<DatasetId>,
    },
    /// Give a change of direction up.
    EndTurn(Problem),
    /// Nothing can be done before then.
    Wait {
        /// Until when.
        until: Timestamp,
        /// What for.
        why: String,
    },
    /// A led rotation rests until the next step is asked for.
    Rest {
        /// Where.
        at: Rest,
        /// When the schedule goes on with it all the same.
        until: Timestamp,
        /// What is to be asked for.
        next: LedStep,
    },
    /// All is as asked, or must be left to a later run.
    Done,
    /// It cannot go on, and why.
    Stop(Problem),
}

/// What decides. There is one, [`next`]; the simulation puts defective ones in its place, to show that it notices them.
pub type Decide = fn(&State, &Observed, Goal, &Policy, Timestamp) -> Step;

/// Decides.
pub fn next(state: &State, seen: &Observed, goal: Goal, policy: &Policy, now: Timestamp) -> Step {
    if state.begun.is_none() {
        return Step::Begin;
    }
    if !state.taking_over.is_empty() {
        return Step::TakeOver { datasets: state.taking_over.clone() };
    }
    if let Some(step) = cover_bare(state, seen, now) {
        return step;
    }
    let Some(listing) = &seen.listing else { return Step::Look };
    if let Some(problem) = &state.quarantine {
        let decided = goal == Goal::Rotate { force: true } && !seen.quarantined;
        return if decided || state.turn.is_some() {
            Step::Unquarantine { forced: true }
        } else if recover::is_mended(state, seen, problem) {
            Step::Unquarantine { forced: false }
        } else {
            // The losing generation of a failed canary drains like any other: nothing is doubtful about it.
            let drained = (!state.failed_canaries.is_empty() && state.open.is_none())
                .then(|| recover::sweep(state, seen, listing, now).or_else(|| drain::drain(state, seen, policy, now)));
            drained.flatten().unwrap_or_else(|| Step::Stop(problem.clone()))
        };
    }
    if let Some(step) = recover::sweep(state, seen, listing, now) {
        return step;
    }
    let scene = state.open.as_ref().map(|open| open::Scene { state, open, seen, listing, policy, now });
    if let Some(turn) = &state.turn {
        return turn::carry_out(state, turn, scene);
    }
    if let Some(scene) = scene {
        return open::continue_open(scene);
    }
    // The last step that Secrets Manager asks for leaves the old secret alone.
    if goal != Goal::Step(LedStep::FinishSecret)
        && let Some(step) = drain::drain(state, seen, policy, now)
    {
        return step;
    }
    start(state, seen, listing, goal, policy, now)
}

/// Data sources that a take-over left without a credential come before everything else. They get the incoming generation
/// once it is verified, else the current one; what the open plan must take over again, for its dataset has become somebody
/// else's meanwhile, is taken over first. Without an open plan nothing is known of owners: what was refused waits for the next
/// plan, which looks at them.
fn cover_bare(state: &State, seen: &Observed, now: Timestamp) -> Option<Step> {
    let fit = |generation: &Generation| {
        let refused = seen.refused.as_ref().is_some_and(|(refused, _)| refused == generation);
        state.generations.get(generation).is_some_and(|known| known.verified) && !refused && seen.lost != Some(*generation)
    };
    let incoming = state.open.as_ref().and_then(|open| open.generation);
    let generation = [incoming, state.current].into_iter().flatten().find(fit)?;
    let refused = |holder: &Holder| holder.failures.as_ref().is_some_and(|failures| failures.refusals > 0);
    let bare = |holder: &Holder| holder.bare && may_send(holder, generation, now) && (state.open.is_some() || !refused(holder));
    let ready: Vec<(&TargetId, &Holder)> = state.places().filter(|(_, holder)| bare(holder)).collect();
    match (ready.is_empty(), &state.open) {
        (true, _) => None,
        (false, Some(_)) => Some(open::send(generation, &ready)),
        (false, None) => {
            let targets = ready.into_iter().map(|(id, _)| id.clone()).collect();
            Some(Step::Wave { generation, targets })
        }
    }
}

fn start(state: &State, seen: &Observed, listing: &[Listed], goal: Goal, policy: &Policy, now: Timestamp) -> Step {
    if let (Some(generation), Some(stored)) = (state.current, seen.stored)
        && stored != generation
        && !matches!(goal, Goal::Step(_))
        // Without its value only a rotation can help.
        && state.generations.get(&generation).is_some_and(|known| seen.values.contains(&known.minted.secret_id))
    {
        return Step::PromoteAgain { generation };
    }
    match goal {
        Goal::Rollback | Goal::Revoke => Step::Done,
        Goal::Reapply { .. } if !seen.settled.is_empty() => Step::Done,
        Goal::Reapply { .. } => match state.current {
            Some(_) => {
                let refresh = goal == Goal::Reapply { refresh: true };
                Step::Plan { kind: PlanKind::Reapply, reason: "reapply was asked for".to_owned(), refresh }
            }
            None => Step::Stop(
                Problem::new("nothing-to-reapply", "no generation has been promoted yet, so there is nothing to send again")
                    .hint("run `lakekey rotate` first"),
            ),
        },
        Goal::Step(LedStep::SetSecret | LedStep::TestSecret | LedStep::FinishSecret) => Step::Done,
        // What others had left open is closed first; what failed is not tried again at once.
        Goal::Step(LedStep::CreateSecret) if seen.settled.iter().any(|(_, problem)| problem.is_some()) => Step::Done,
        Goal::Step(LedStep::CreateSecret) => match state.held {
            Some(held) => Step::Stop(
                Problem::new("held", format!("held at generation {} after a rollback, so nothing was rotated", held.generation))
                    .hint("`lakekey rotate --force` ends that; then let Secrets Manager rotate again"),
            ),
            None => Step::Plan { kind: PlanKind::Rotate, reason: "Secrets Manager asked for it".to_owned(), refresh: false },
        },
        // An interrupted reapply was not what was asked for; a rotation was, and one in a run is enough, if its secret lives.
        Goal::Rotate { .. } if seen.settled.iter().any(|(kind, _)| *kind != PlanKind::Reapply) => {
            let failed = seen.settled.iter().any(|(_, problem)| problem.is_some());
            match !failed && state.held.is_none() && is_current_gone(state, listing, now) {
                true => Step::Plan {
                    kind: PlanKind::Rotate,
                    reason: due(state, policy, Some(listing), false, now).reason,
                    refresh: false,
                },
                false => Step::Done,
            }
        }
        Goal::Rotate { force } => match due(state, policy, Some(listing), force, now) {
            Due { due: true, reason, .. } => Step::Plan { kind: PlanKind::Rotate, reason, refresh: false },
            // Nobody has asked for a rotation, but an outage is no rest.
            Due { due: false, reason, .. } => match state.held {
                Some(_) if is_current_gone(state, listing, now) => Step::Stop(
                    Problem::new("held-secret-gone", reason).hint("targets that hold it are cut off until a new one is sent"),
                ),
                Some(_) | None => join(state, seen, now),
            },
        },
    }
}

/// With nothing due, targets that were selected since the last plan get the current generation without a rotation, and those
/// that a reapply or a revoke could not reach get it again.
fn join(state: &State, seen: &Observed, now: Timestamp) -> Step {
    let Some(current) = state.current else { return Step::Done };
    let Some(selected) = &seen.selected else { return Step::Survey };
    let lacking = lacking(state, current, selected, now).len();
    match lacking {
        0 => Step::Done,
        count => {
            let reason =
                format!("{count} selected target{} the current generation", if count == 1 { " lacks" } else { "s lack" });
            Step::Plan { kind: PlanKind::Join, reason, refresh: false }
        }
    }
}

/// Targets that are selected but not known to hold the current generation: new ones, those that failed, and those that a plan
/// which was given up has left with another. Parked ones wait for a rotation.
pub fn lacking(state: &State, current: Generation, selected: &BTreeSet<TargetId>, now: Timestamp) -> BTreeSet<TargetId> {
    let lacks_it = |id: &&TargetId| match state.place(id) {
        None => true,
        Some(holder) if !holder.planned => may_send(holder, current, now),
        Some(holder) => {
            let parked = holder.failures.as_ref().is_some_and(|failures| failures.parked);
            !parked && holder.confirmed != Some(current) && may_send(holder, current, now)
        }
    };
    selected.iter().filter(lacks_it).cloned().collect()
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
    let quiet = holder.busy.as_ref().map_or(Timestamp::MIN, |busy| {
        let waited = busy.last.duration_since(busy.since);
        past(busy.last, (waited / 2).clamp(SignedDuration::from_secs(30), SignedDuration::from_mins(15)))
    });
    landed.max(retry).max(quiet)
}

/// How long a place is left alone after so many failures.
fn pause_after(count: u32) -> SignedDuration {
    SignedDuration::from_secs(match count {
        0 | 1 => 2,
        2 => 8,
        3 => 30,
        4 => 5 * 60,
        5 => 15 * 60,
        _ => 60 * 60,
    })
}
