//! Changes of direction: a canary that failed, a person who wants the generation before.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Step, open, past};
use crate::error::Problem;
use crate::ids::TargetId;
use crate::rotation::event::{FailedCanary, PlanKind, Turn};
use crate::rotation::state::{Holder, Open, PARK_AFTER, State};

/// Refusals of one target, within a minute or so, after which a canary has failed.
const CANARY_REFUSALS: u32 = 4;

/// Goes the new way: gives up what is open, opens what carries the turn out, goes on with that.
pub(super) fn carry_out(state: &State, turn: &Turn, scene: Option<open::Scene<'_>>) -> Step {
    if let Some(scene) = scene {
        return match state.is_its_turn(scene.open) {
            true => open::continue_open(scene),
            false => Step::Settle(Some(given_up(turn))),
        };
    }
    match turn {
        Turn::Rollback { to: Some(to), canary } => {
            let living = state.living().any(|(generation, _)| generation == *to);
            let reason = match canary {
                Some(canary) => canary.problem.message.clone(),
                None => format!("a rollback to generation {to} was asked for"),
            };
            match living {
                true => Step::Plan { kind: PlanKind::Rollback, reason, refresh: false },
                false => Step::EndTurn(nowhere()),
            }
        }
        Turn::Rollback { to: None, .. } => Step::EndTurn(nowhere()),
        Turn::Revoke { .. } => Step::Plan { kind: PlanKind::Revoke, reason: "a revoke was asked for".to_owned(), refresh: false },
    }
}

fn nowhere() -> Problem {
    Problem::new("nothing-to-roll-back-to", "the generation before the current one no longer lives, so nothing was moved")
        .hint("`lakekey rotate --force` mints and sends a new secret")
}

fn given_up(turn: &Turn) -> Problem {
    match turn {
        Turn::Rollback { canary: Some(canary), .. } => canary.problem.clone(),
        Turn::Rollback { canary: None, .. } => Problem::new("turned-back", "it was given up because a rollback was asked for"),
        Turn::Revoke { .. } => Problem::new("turned-back", "it was given up because a revoke was asked for"),
    }
}

/// Whether the first of several waves has failed, so that what it moved goes back while both secrets live.
pub(super) fn failed_canary(state: &State, open: &Open, wave: &BTreeSet<TargetId>, now: Timestamp) -> Option<Step> {
    let is_canary =
        open.plan.kind == PlanKind::Rotate && open.waves.len() > 1 && open.waves.first().is_some_and(|first| **first == *wave);
    if !is_canary {
        return None;
    }
    let has_failed = |holder: &Holder| {
        holder
            .failures
            .as_ref()
            .is_some_and(|failures| failures.refusals >= CANARY_REFUSALS || past(failures.since, PARK_AFTER) <= now)
    };
    let known = |id: &TargetId| Some((id.clone(), state.place(id)?));
    let failed: Vec<(TargetId, &Holder)> = wave.iter().filter_map(known).filter(|(_, holder)| has_failed(holder)).collect();
    let (first, holder) = failed.first()?;
    let why = holder.failures.as_ref().and_then(|failures| failures.problem.as_ref());
    let cause = why.map_or_else(|| "it did not take it".to_owned(), |problem| problem.message.clone());
    let problem = canary_failed(state, open, (first, &cause), why.and_then(|problem| problem.hint.as_deref()));
    let targets = failed.iter().map(|(id, _)| id.clone()).collect();
    Some(Step::Turn {
        turn: Turn::Rollback { to: state.current, canary: Some(FailedCanary { targets, problem }) },
        reason: cause,
    })
}

fn canary_failed(state: &State, open: &Open, (target, cause): (&TargetId, &str), hint: Option<&str>) -> Problem {
    let generation = open.generation.map(|generation| format!("generation {generation}")).unwrap_or_default();
    let back = match state.current {
        Some(current) => format!("no other target was sent it, and the canaries went back to generation {current}"),
        None => "no other target was sent it, and there is no generation to go back to".to_owned(),
    };
    let name = &open.plan.credential;
    let mend = hint.map(|hint| format!("{hint}; then ")).unwrap_or_default();
    Problem::new("canary-failed", format!("canary `{target}` did not take {generation}: {cause}; {back}")).hint(format!(
        "{mend}run `lakekey rotate {name} --force` to try again, or, if the target is gone for good, `lakekey forget {name} {target}` and `lakekey rotate {name}`"
    ))
}
