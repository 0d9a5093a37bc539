//! Makes a failing plan smaller: faults, crashes, freezes, runs and deeds are left out one at a time while the same guarantee
//! still breaks, until nothing more can go.

use crate::broken::Variant;
use crate::course;
use crate::plan::{Ask, Plan};

/// The smallest plan found that breaks the same guarantee as `plan`, with the runs that it took.
pub fn shrink(plan: &Plan, guarantee: &str, variant: Option<Variant>) -> (Plan, u32) {
    let mut best = plan.clone();
    let mut runs = 0;
    loop {
        let mut smaller = None;
        for candidate in candidates(&best) {
            if runs >= RUNS_MAX {
                return (best, runs);
            }
            runs += 1;
            let went = course::run(&candidate, variant, false);
            if went.is_ok_and(|went| went.violation.is_some_and(|violation| violation.guarantee == guarantee)) {
                smaller = Some(candidate);
                break;
            }
        }
        match smaller {
            Some(candidate) => best = candidate,
            None => return (best, runs),
        }
    }
}

/// Every plan that is one thing smaller, the biggest steps first.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Plan)| {
        let mut candidate = plan.clone();
        change(&mut candidate);
        all.push(candidate);
    };
    if plan.shifts.len() > 3 {
        with(&|plan| plan.shifts.truncate(plan.shifts.len() / 2));
        with(&|plan| drop(plan.shifts.drain(..plan.shifts.len() / 2)));
    }
    if !plan.rules.is_empty() {
        with(&|plan| plan.rules.clear());
    }
    if plan.trouble.state > 0.0 || plan.trouble.stores > 0.0 {
        with(&|plan| plan.trouble = crate::universe::Trouble::default());
    }
    for at in 0..plan.rules.len() {
        with(&|plan| drop(plan.rules.remove(at)));
    }
    for at in 0..plan.acts.len() {
        with(&|plan| {
            plan.acts.remove(at);
        });
    }
    for at in 0..plan.shifts.len() {
        with(&|plan| {
            plan.shifts.remove(at);
        });
        if plan.shifts[at].crash.is_some() {
            with(&|plan| plan.shifts[at].crash = None);
        }
        if plan.shifts[at].freeze.is_some() {
            with(&|plan| plan.shifts[at].freeze = None);
        }
    }
    for at in (0..plan.shifts.len()).filter(|at| plan.shifts[*at].edit.is_some()) {
        with(&|plan| plan.shifts[at].edit = None);
    }
    for at in (0..plan.shifts.len()).filter(|at| plan.shifts[*at].meanwhile.is_some()) {
        with(&|plan| plan.shifts[at].meanwhile = None);
    }
    for at in (0..plan.shifts.len()).filter(|at| !matches!(plan.shifts[*at].ask, Ask::Rotate | Ask::Force)) {
        with(&|plan| plan.shifts[at].ask = Ask::Rotate);
    }
    if !plan.config.waves.is_empty() {
        with(&|plan| plan.config.waves = &[]);
    }
    if plan.config.refresh.is_some() {
        with(&|plan| plan.config.refresh = None);
    }
    if plan.queue.is_some() {
        with(&|plan| plan.queue = None);
    }
    if plan.fleet.hidden {
        with(&|plan| plan.fleet.hidden = false);
    }
    if plan.fleet.targets > 1 {
        with(&|plan| plan.fleet.targets -= 1);
    }
    if plan.fleet.decoys {
        with(&|plan| plan.fleet.decoys = false);
    }
    if plan.fleet.foreign > 0 {
        with(&|plan| plan.fleet.foreign = 0);
    }
    if plan.skews_ms.iter().any(|skew| *skew != 0) {
        with(&|plan| plan.skews_ms.iter_mut().for_each(|skew| *skew = 0));
    }
    all
}

/// Runs of one search.
const RUNS_MAX: u32 = 600;
