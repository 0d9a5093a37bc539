//! What was added last: shorter courses, so that a given time holds more of them, fleets of which a wave is sent out in slices,
//! and data sources that people add.

use super::{Act, Plan, QueuePlan};
use crate::dice::Dice;

pub(super) fn plan(seed: u64, mut plan: Plan) -> Plan {
    let mut dice = Dice::new(seed.rotate_left(48));
    let dice = &mut dice;
    if dice.chance(0.8) {
        shorten(dice, &mut plan);
    }
    if dice.chance(0.15) {
        for _ in 0..1 + dice.below(2) {
            plan.acts.push((dice.between(0, plan.calm_at_ms), Act::AddsSource(dice.below(6))));
        }
        plan.acts.sort_by_key(|(at, _)| *at);
    }
    if dice.chance(0.01) {
        send_out(dice, &mut plan);
    }
    plan
}

/// Leaves what happens in the first part only. Gateways' own encryption takes most of a seed's time, and is the same each time.
fn shorten(dice: &mut Dice, plan: &mut Plan) {
    plan.calm_at_ms = plan.calm_at_ms * dice.between(15, 45) / 100;
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
