//! What was added to seeds later, rolled by dice of its own: waves, refreshes, the other commands, rights that come and go,
//! and more ways in which a config changes.

use super::{Act, Ask, Edit, Plan, QueuePlan};
use crate::dice::Dice;

pub(super) fn plan(seed: u64, mut plan: Plan) -> Plan {
    let mut dice = Dice::new(seed.rotate_left(32));
    let dice = &mut dice;
    plan.fleet.shape = dice.below(SHAPES);
    plan.fleet.hidden = dice.chance(0.1);
    plan.config.waves = *dice.pick(&[&[] as &[&str], &[], &["1", "100%"], &["1", "50%", "100%"]]);
    plan.config.refresh = *dice.pick(&[None, None, None, Some(false), Some(true)]);
    if dice.chance(0.25) {
        plan.queue = Some(QueuePlan {
            ends_ms: *dice.pick(&[30_000, 120_000, 600_000, 600_000]),
            late_ms: *dice.pick(&[0, 2_000, 5 * 60_000]),
            twice: *dice.pick(&[0.0, 0.2, 0.7]),
            lost: *dice.pick(&[0.0, 0.0, 0.2]),
        });
    }
    others_asked(dice, &mut plan);
    rights(dice, &mut plan);
    // A row that names a dataset which is gone is its writer's mistake, and ends every plan.
    let gone = |act| matches!(act, Act::Hides(_) | Act::DeletesDataset(_) | Act::DeletesSource(_) | Act::Repoints(_));
    if plan.fleet.hidden || plan.has_act(gone) {
        plan.config.refresh = None;
    }
    if dice.chance(0.2) {
        let edits = [Edit::OtherWaves, Edit::SlowerRhythm, Edit::NoTakeOver, Edit::NoQuery];
        for shift in plan.shifts.iter_mut().filter(|shift| shift.edit.is_none()) {
            if dice.chance(0.3) {
                shift.edit = Some(*dice.pick(&edits));
            }
        }
    }
    plan
}

/// Some runs are asked for something else.
fn others_asked(dice: &mut Dice, plan: &mut Plan) {
    let share = *dice.pick(&[0.0, 0.0, 0.1, 0.25]);
    // Another deployment's secrets are foreign ones.
    let foreign = plan.rivals.is_empty() && dice.chance(0.3);
    let revoke = if foreign { Ask::RevokeForeign } else { Ask::Revoke };
    for shift in &mut plan.shifts {
        if dice.chance(share) {
            shift.ask = *dice.pick(&[Ask::Rollback, Ask::Rollback, Ask::Refresh, revoke]);
        }
    }
}

/// People take rights from lakekey's identity and give them back, and make mistakes.
fn rights(dice: &mut Dice, plan: &mut Plan) {
    if !dice.chance(0.25) {
        return;
    }
    for _ in 0..1 + dice.below(4) {
        let which = dice.below(6);
        let acts = [Act::Hides(which), Act::Shows, Act::TakesGateway(which), Act::Mistypes(which), Act::RevokesUse];
        plan.acts.push((dice.between(0, plan.calm_at_ms), *dice.pick(&acts)));
    }
    plan.acts.sort_by_key(|(at, _)| *at);
}

/// Shapes of data sources that a fleet has.
const SHAPES: usize = 8;
