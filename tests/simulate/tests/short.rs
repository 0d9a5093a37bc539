//! The short run: seeds of the swarm, a stride through the crash matrix, and that one seed is one course.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use lakekey_simulate::course;
use lakekey_simulate::matrix::{self, Cell, MOMENTS, RESUMED};
use lakekey_simulate::plan::Plan;
use lakekey_simulate::process::{Crash, When};

fn holds(seed: u64) {
    of(&Plan::of(seed));
}

/// Seeds that failed before the plans became wider.
fn holds_narrow(seed: u64) {
    of(&Plan::narrow(seed));
}

/// Seeds that failed before the plans became broader.
fn holds_wide(seed: u64) {
    of(&Plan::wide(seed));
}

fn of(plan: &Plan) {
    let went = course::run(plan, None, false).unwrap();
    if let Some(violation) = went.violation {
        panic!("{}{violation}; see a seed's course with: cargo simulate -- --seed {} --trace", plan.describe(), plan.seed);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [4, 7, 24] {
        let runs = [(); 2].map(|()| course::run(&Plan::of(seed), None, true).unwrap().trace);
        assert!(runs[0].len() > 50, "seed {seed} does next to nothing");
        for (line, (one, other)) in runs[0].iter().zip(&runs[1]).enumerate() {
            assert_eq!(one, other, "seed {seed}, line {line}");
        }
        assert_eq!(runs[0].len(), runs[1].len());
    }
}

#[test]
fn the_first_seeds_hold() {
    (0..40).for_each(holds);
}

#[test]
fn every_crash_of_a_rotation_is_survived_by_stride() {
    let plan = matrix::plan(4, true);
    let (rotation, retirement) = matrix::effects(&plan).unwrap();
    assert!(rotation > 40 && retirement > 5, "a rotation has {rotation} effects, a retirement {retirement}");
    // Coprime to what it strides over, so that effects, moments and resumptions mix.
    let mut cells = 0;
    for (retiring, effects) in [(false, rotation), (true, retirement)] {
        for (index, at) in (1..=effects).enumerate() {
            let when = MOMENTS[index % MOMENTS.len()];
            // After the answer to its last effect there is nothing left that it could die before.
            let when = if at == effects && when == When::AfterAnswer { When::AfterEffect } else { when };
            let cell = Cell {
                retiring,
                first: Crash { at, when },
                second: None,
                resumed: RESUMED[index % RESUMED.len()],
                locked: index % 5 < 2,
            };
            let came = matrix::run(&plan, cell).unwrap();
            assert!(came.violation.is_none(), "{cell:?}: {}", came.violation.unwrap());
            assert!(came.died, "{cell:?} is never reached");
            cells += 1;
        }
    }
    assert!(cells > 45);
}

/// Seeds that once failed, each by what was wrong.
mod regressions {
    use super::{holds, holds_narrow, holds_wide};

    /// Another deployment asked for the same odd lifetime hours after an answered create: its living secret was deleted.
    #[test]
    fn a_fingerprint_is_not_lakekeys_for_ever() {
        [363, 518].into_iter().for_each(holds_narrow);
    }

    /// A person deleted the current secret a minute after it was made, while for ten minutes lakekey takes that for a list that lags.
    #[test]
    fn a_secret_that_is_deleted_as_soon_as_it_was_made_is_missed_in_time() {
        holds(114_973);
    }

    /// A rollback held at a secret that a person deleted afterwards, and `rotate` had nothing to say of it.
    #[test]
    fn a_hold_at_a_secret_that_is_gone_is_no_rest() {
        [1305, 1450, 2343].into_iter().for_each(holds_wide);
    }

    /// A rollback that was given up, for its secret had expired, left it in the store or in data sources.
    #[test]
    fn what_a_plan_that_was_given_up_has_left_is_put_back() {
        [10138, 11070].into_iter().for_each(holds_wide);
    }

    /// A revoke was ended by another run, which said nothing of a secret that was gone, or of a target that was cut off.
    #[test]
    fn whoever_ends_a_revoke_says_what_it_left() {
        [10220, 13014].into_iter().for_each(holds_wide);
    }

    /// A data source whose dataset a person took back after the take-over was written in vain by each run, and `rotate` said
    /// that nothing was to be done.
    #[test]
    fn a_dataset_that_a_person_takes_back_is_taken_over_by_the_next_plan() {
        holds(18_443);
    }

    /// A runner that stood still between its list and its lease minted by that list, into the last free slot.
    #[test]
    fn a_list_from_before_the_lease_is_not_minted_by() {
        holds(69_193);
    }

    /// A create whose answer was lost was waited for, and then minted again by the list from before the wait.
    #[test]
    fn a_list_from_before_a_wait_is_not_minted_by() {
        holds_narrow(1400);
    }
}
