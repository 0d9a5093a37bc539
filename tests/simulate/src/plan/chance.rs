//! Rolls the plan of a seed.

use lakekey_sim::{Action, CapAnswer, Rule, TakeOver};

use super::{Act, Ask, ConfigPlan, Edit, FleetPlan, Plan, ServicesPlan, Shift};
use crate::dice::Dice;
use crate::process::{Crash, Freeze, When};
use crate::universe::Trouble;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

pub(super) fn plan(seed: u64) -> Plan {
    let mut dice = Dice::new(seed);
    let dice = &mut dice;
    let mut plan = Plan::calm(seed, 1 + dice.below(6), dice.chance(0.5));
    plan.fleet = FleetPlan { decoys: dice.chance(0.3), foreign: *dice.pick(&[0, 0, 0, 1, 2]), ..plan.fleet };
    plan.services = services(dice);
    plan.config = config(dice);
    plan.locked = dice.chance(0.4);
    plan.calm_at_ms = dice.between(DAY, 6 * DAY);
    let skew = plan.skew_ms();
    let runners = *dice.pick(&[1, 1, 2, 2, 3]);
    plan.skews_ms = (0..runners).map(|_| skewed(dice, skew)).collect();
    if dice.chance(0.05) {
        let wrong = dice.below(runners);
        plan.skews_ms[wrong] = far_off(dice, skew);
    }
    let timeout = plan.request_timeout_ms();
    plan.rules = (0..*dice.pick(&[0, 1, 2, 3, 5, 8])).map(|_| rule(dice, timeout)).collect();
    if dice.chance(0.25) {
        plan.trouble = Trouble { state: *dice.pick(&[0.0, 0.01, 0.05]), stores: *dice.pick(&[0.0, 0.05, 0.3]) };
    }
    plan.shifts = shifts(dice, &plan, runners);
    if dice.chance(0.5) {
        plan.acts = (0..1 + dice.below(4)).map(|_| (dice.between(0, plan.calm_at_ms), act(dice))).collect();
        plan.acts.sort_by_key(|(at, _)| *at);
    }
    if dice.chance(0.08) {
        plan.rivals = (0..1 + dice.below(6)).map(|_| dice.between(0, plan.calm_at_ms)).collect();
        plan.rivals.sort_unstable();
    }
    plan.other_principal = dice.chance(0.1);
    plan
}

/// Any two clocks, the services' among them, differ by at most the skew.
fn skewed(dice: &mut Dice, skew: u64) -> i64 {
    let half = i64::try_from(skew / 2).unwrap_or_default();
    i64::try_from(dice.between(0, skew)).unwrap_or_default() - half
}

/// A clock that differs from all others by more than the config allows.
fn far_off(dice: &mut Dice, skew: u64) -> i64 {
    let most = *dice.pick(&[10 * MINUTE, HOUR, 40 * DAY]);
    let off = i64::try_from(skew * 3 / 2 + dice.between(5_000, most)).unwrap_or_default();
    if dice.chance(0.5) { off } else { -off }
}

fn services(dice: &mut Dice) -> ServicesPlan {
    ServicesPlan {
        latency: *dice.pick(&[0, 0, 0, 20, 300]),
        list_lag: *dice.pick(&[0, 0, 0, 2_000, 45_000]),
        settles: *dice.pick(&[0, 1_000, 1_000, 20_000]),
        token_life: *dice.pick(&[HOUR, HOUR, HOUR, 5 * MINUTE, 92_000]),
        page: *dice.pick(&[1, 2, 3, 100]),
        cap: *dice.pick(&[CapAnswer::LimitExceeded, CapAnswer::Exhausted]),
        take_over: *dice.pick(&[TakeOver::Rebinds, TakeOver::Rebinds, TakeOver::Keeps]),
        expired_count: dice.chance(0.7),
    }
}

fn config(dice: &mut Dice) -> ConfigPlan {
    let (rotate_every, lifetime) = *dice.pick(&[(1, 3), (1, 2), (2, 6), (7, 14)]);
    ConfigPlan {
        lease: *dice.pick(&[30, 120, 900, 900]),
        lifetime: lifetime * 86_400,
        rotate_every: rotate_every * 86_400,
        grace: *dice.pick(&[1_800, 7_200, 43_200]),
        copy: dice.chance(0.3),
        adopt: dice.chance(0.3),
        waves: &[],
        refresh: None,
    }
}

fn rule(dice: &mut Dice, timeout: u64) -> Rule {
    let mut rule = Rule::always(action(dice, timeout));
    let services = [None, None, Some("databricks"), Some("powerbi"), Some("fabric"), Some("entra")];
    rule.service = dice.pick(&services).map(str::to_owned);
    let methods = [None, None, Some("GET"), Some("POST"), Some("PATCH"), Some("DELETE")];
    rule.method = dice.pick(&methods).map(str::to_owned);
    let paths = [None, None, None, Some("/credentials/secrets"), Some("/oidc/v1/token"), Some("/datasources"), Some("TakeOver")];
    rule.path = dice.pick(&paths).map(str::to_owned);
    rule.probability = Some(*dice.pick(&[0.01, 0.03, 0.1, 0.3, 0.7]));
    if dice.chance(0.3) || rule.probability > Some(0.2) {
        rule.times = Some(dice.between(1, 8));
    }
    rule
}

fn action(dice: &mut Dice, timeout: u64) -> Action {
    match dice.below(13) {
        // Slower than the request's time is as bad as a late effect.
        0 => Action::Latency { ms: dice.between(10, timeout * 3 / 2) },
        1 => Action::Status { status: 429, retry_after: wait(dice), body: None, after_effect: false },
        2 | 3 => {
            let status = *dice.pick(&[500, 502, 503, 504, 408]);
            Action::Status { status, retry_after: wait(dice), body: None, after_effect: false }
        }
        4 => Action::Status { status: *dice.pick(&[500, 502, 503, 504]), retry_after: None, body: None, after_effect: true },
        5 => Action::Refuse,
        6 => Action::DropBefore,
        7 => Action::DropAfter,
        8 => Action::Hang { after_effect: dice.chance(0.5) },
        9 => Action::Html,
        10 => Action::Truncate,
        11 => Action::Duplicate,
        _ => Action::Late { ms: dice.between(10, timeout) },
    }
}

fn wait(dice: &mut Dice) -> Option<String> {
    let waits =
        [None, None, Some("1"), Some("30"), Some("0"), Some("99999999"), Some("soon"), Some("Sun, 01 Mar 2026 00:00:30 GMT")];
    dice.pick(&waits).map(str::to_owned)
}

fn shifts(dice: &mut Dice, plan: &Plan, runners: usize) -> Vec<Shift> {
    let mut shifts = Vec::new();
    let mut at_ms = 0;
    let crashes = *dice.pick(&[0.0, 0.2, 0.5, 0.8]);
    let freezes = *dice.pick(&[0.0, 0.0, 0.1, 0.3]);
    let people = *dice.pick(&[0.0, 0.0, 0.1, 0.3]);
    let edits = *dice.pick(&[0.0, 0.0, 0.0, 0.3]);
    while at_ms < plan.calm_at_ms && shifts.len() < SHIFTS_MAX {
        let mut shift = Shift { at_ms, runner: dice.below(runners), ..Shift::plain(ask(dice)) };
        if dice.chance(crashes) {
            shift.crash = Some(Crash { at: effect(dice), when: when(dice, plan.request_timeout_ms()) });
        }
        if dice.chance(freezes) {
            let ms = *dice.pick(&[MINUTE, plan.config.lease * 1_000, plan.config.lease * 2_000, HOUR]);
            shift.freeze = Some(Freeze { at: effect(dice), ms });
        }
        if dice.chance(people) {
            shift.meanwhile = Some((effect(dice), act(dice)));
        }
        if dice.chance(edits) {
            let edits = [Edit::LongerGrace, Edit::ShorterGrace, Edit::FewerTargets, Edit::OtherCopies];
            shift.edit = Some(*dice.pick(&edits));
        }
        shifts.push(shift);
        at_ms += match dice.below(6) {
            // Another runner at the same moment, or soon after.
            0 if runners > 1 => dice.between(0, 3_000),
            0 | 1 => dice.between(1_000, 2 * MINUTE),
            2 => dice.between(MINUTE, 20 * MINUTE),
            _ => dice.between(20 * MINUTE, 12 * HOUR),
        };
    }
    shifts
}

/// Early effects are the more interesting ones: a run that has nothing to do has few.
fn effect(dice: &mut Dice) -> u64 {
    let most = *dice.pick(&[30, 60, 120]);
    dice.between(1, most)
}

fn when(dice: &mut Dice, timeout: u64) -> When {
    match dice.below(4) {
        0 => When::Before,
        1 => When::InFlight(dice.between(1, timeout)),
        2 => When::AfterEffect,
        _ => When::AfterAnswer,
    }
}

fn ask(dice: &mut Dice) -> Ask {
    match dice.below(10) {
        0 | 1 => Ask::Force,
        2 => Ask::Reapply,
        _ => Ask::Rotate,
    }
}

fn act(dice: &mut Dice) -> Act {
    let which = dice.below(6);
    match dice.below(9) {
        0 | 1 => Act::Mints,
        2 => Act::DeletesForeign,
        3 => Act::DeletesOurs(which),
        4 => Act::Repoints(which),
        5 => Act::DeletesDataset(which),
        6 => Act::DeletesSource(which),
        7 => Act::Owns(which),
        _ => Act::StopsWarehouses,
    }
}

/// Invocations of one seed.
const SHIFTS_MAX: usize = 24;
