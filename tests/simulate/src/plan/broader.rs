//! Shorter courses, so that a given time holds more of them, fleets of which a wave is sent out in slices, data sources that
//! people add, and a store that moves.

use super::{Act, Edit, Plan, QueuePlan};
use crate::dice::Dice;

pub(super) fn plan(seed: u64, mut plan: Plan) -> Plan {
    let mut dice = Dice::new(seed ^ BROADER);
    let dice = &mut dice;
    if dice.chance(0.9) {
        shorten(dice, &mut plan);
    }
    if dice.chance(0.15) {
        for _ in 0..1 + dice.below(2) {
            plan.acts.push((dice.between(0, plan.calm_at_ms), Act::AddsSource(dice.below(6))));
        }
        plan.acts.sort_by_key(|(at, _)| *at);
    }
    if dice.chance(0.02) {
        send_out(dice, &mut plan);
    }
    // What a store holds is adopted only where it is the store from the first run on.
    if dice.chance(0.1) && !plan.config.adopt {
        for shift in plan.shifts.iter_mut().filter(|shift| shift.edit.is_none()) {
            if dice.chance(0.3) {
                shift.edit = Some(Edit::OtherStore);
            }
        }
    }
    plan
}

/// Leaves what happens in the first part only. Gateways' own encryption takes most of a seed's time, and is the same each time.
fn shorten(dice: &mut Dice, plan: &mut Plan) {
    plan.calm_at_ms = plan.calm_at_ms * dice.between(8, 30) / 100;
    let end = plan.calm_at_ms;
    let first = plan.shifts.first().copied();
    plan.shifts.retain(|shift| shift.at_ms < end);
    if plan.shifts.is_empty() {
        plan.shifts.extend(first);
    }
    plan.acts.retain(|(at, _)| *at < end);
    plan.rivals.retain(|at| *at < end);
    plan.fleet.gateways &= dice.chance(0.5);
}

/// A platform without a lock, and more targets than one slice has.
fn send_out(dice: &mut Dice, plan: &mut Plan) {
    plan.fleet.targets = 33 + dice.below(40);
    plan.fleet.gateways = false;
    plan.fleet.hidden = false;
    plan.locked = false;
    plan.shifts.truncate(6);
    plan.queue.get_or_insert(QueuePlan { ends_ms: 600_000, late_ms: 2_000, twice: 0.2, lost: 0.0 });
}

/// Keeps these dice apart from the seed's others.
const BROADER: u64 = 0x2545_f491_4f6c_dd1d;
