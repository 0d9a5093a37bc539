//! Where each deliberate defect shows: a seed of the swarm, or a plan of its own where chance alone would take too long.

use lakekey_sim::{Action, Rule};

use super::Variant;
use crate::course;
use crate::plan::{Act, Ask, Plan, Shift};
use crate::process::Freeze;
use crate::watch::Violation;

/// The plan that shows a defect, and what it is called in the table.
pub fn shown_by(variant: Variant) -> (Plan, String) {
    let seed = |seed: u64| (Plan::narrow(seed), format!("`--narrow --seed {seed}`"));
    match variant {
        Variant::MintsBlindly => seed(70),
        Variant::DeletesBeforeMoved | Variant::DrainsShort => seed(2),
        Variant::ForgetsDropped => seed(42),
        Variant::CompensatesAmbiguous => seed(16),
        Variant::WritesOver => (late_write(), "a write that lands 50 s late, and a second rotation meanwhile".to_owned()),
        Variant::PinnedByTheDead | Variant::LosesValues => seed(0),
        Variant::IgnoresSlots => seed(3),
        Variant::SharesSlot => (two_rotations(), "two rotations".to_owned()),
        Variant::IgnoresLock => seed(42),
        Variant::Overwrites => seed(204),
        Variant::StalledGoesOn => (stalled(), "a runner that stands still, with a clock too far behind".to_owned()),
        Variant::DropsLoser => (rolled_back(), "two rotations and a rollback".to_owned()),
        Variant::DoubtsOwnAppend => seed(1),
        Variant::ReplacesPermissions => (missing_right(), "a right to add".to_owned()),
        Variant::LogsBodies | Variant::Garbles => (two_rotations(), "two rotations".to_owned()),
    }
}

/// What the simulation says of a defect, and of the same plan without it.
pub fn verdicts(variant: Variant) -> anyhow::Result<(Option<Violation>, Option<Violation>)> {
    let (plan, _) = shown_by(variant);
    Ok((course::run(&plan, Some(variant), false)?.violation, course::run(&plan, None, false)?.violation))
}

/// The table of `docs/guarantees.md`.
pub fn table() -> anyhow::Result<String> {
    let mut table = "| deliberate defect | `--broken` | noticed by | with |\n|---|---|---|---|\n".to_owned();
    for variant in Variant::ALL {
        let (_, place) = shown_by(variant);
        let noticed = verdicts(variant)?.0.map_or("**nothing**", |violation| violation.guarantee);
        table.push_str(&format!("| {} | `{}` | {noticed} | {place} |\n", variant.defect(), variant.name()));
    }
    Ok(table)
}

fn run_at(at_ms: u64, runner: usize, ask: Ask) -> Shift {
    Shift { at_ms, runner, ..Shift::plain(ask) }
}

fn two_rotations() -> Plan {
    let mut plan = Plan::calm(3, 2, false);
    plan.shifts = vec![run_at(0, 0, Ask::Rotate), run_at(3_600_000, 0, Ask::Force)];
    plan.calm_at_ms = 7_200_000;
    plan
}

fn rolled_back() -> Plan {
    let mut plan = two_rotations();
    plan.shifts.push(run_at(7_200_000, 0, Ask::Rollback));
    plan.calm_at_ms = 10_800_000;
    plan
}

fn late_write() -> Plan {
    let mut plan = Plan::calm(3, 1, false);
    let late = Rule::always(Action::Late { ms: 50_000 });
    plan.rules = vec![Rule { method: Some("PATCH".to_owned()), path: Some("/datasources".to_owned()), times: Some(1), ..late }];
    plan.shifts = vec![run_at(0, 0, Ask::Rotate), run_at(20_000, 0, Ask::Force)];
    plan.calm_at_ms = 7_200_000;
    plan
}

fn stalled() -> Plan {
    let mut plan = Plan::calm(3, 2, false);
    plan.locked = false;
    plan.services.latency = 20;
    plan.skews_ms = vec![-120_000, 120_000];
    // Its clock is behind the other's by twice the skew, a breach of the contract: when it goes on, its lease is taken over
    // and has not ended by its own clock.
    let stalled = Shift { freeze: Some(Freeze { at: STALLS_AT, ms: 796_000 }), ..run_at(0, 0, Ask::Rotate) };
    plan.shifts = vec![stalled, run_at(790_000, 1, Ask::Rotate)];
    plan.calm_at_ms = 7_200_000;
    plan
}

fn missing_right() -> Plan {
    let mut plan = two_rotations();
    plan.acts = vec![(0, Act::RevokesUse)];
    plan.shifts = vec![run_at(1_000, 0, Ask::Rotate)];
    plan
}

/// The effect of a first rotation of two data sources after which its runner stands still: it holds the lease by then.
const STALLS_AT: u64 = 46;
