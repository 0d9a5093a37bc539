//! Retiring superseded secrets: grace, gates, expiry, deletes that fail.

use jiff::SignedDuration;

use super::runner::{End, condemnations, in_order};
use super::world::{By, Create, Manner, World};
use super::{FORCE, ROTATE, Sim};
use crate::ids::{Generation, TargetId};
use crate::report::Phase;
use crate::rotation::event::{Condemnation, Event};
use crate::rotation::next::{Policy, Step, retire_after};

/// One that has moved to generation 2 just now.
fn draining() -> Sim {
    let mut sim = Sim::rotated(&["a"]);
    sim.days(8);
    sim.rotates();
    sim
}

#[test]
fn draining_waits_for_grace_and_twice_the_skew_after_the_last_move() {
    let mut sim = draining();
    let moved = sim.state().last_move.unwrap();
    sim.world.now = moved + SignedDuration::from_mins(24 * 60 + 4) - SignedDuration::from_secs(5);
    sim.run(ROTATE);
    assert!(sim.world.exists(&sim.secret(1)));
    sim.world.now = moved + SignedDuration::from_mins(24 * 60 + 4);
    sim.run(ROTATE);
    assert!(!sim.world.exists(&sim.secret(1)));
    assert_eq!(condemnations(&sim.world)[&sim.secret(1)], Condemnation::Retired);
}

#[test]
fn a_longer_grace_wins_and_a_shorter_one_does_not() {
    let sim = draining();
    let state = sim.state();
    let after = |hours| {
        let policy = Policy { grace: SignedDuration::from_hours(hours), ..super::runner::policy() };
        retire_after(&state, &policy).unwrap().duration_since(state.last_move.unwrap())
    };
    assert_eq!(after(1), SignedDuration::from_mins(24 * 60 + 4));
    assert_eq!(after(48), SignedDuration::from_mins(48 * 60 + 4));
}

#[test]
fn a_target_gone_from_the_selection_gates_what_it_may_hold_until_that_expires() {
    let mut sim = Sim::rotated(&["a", "b"]);
    sim.world.selection.remove(&TargetId::new("b"));
    sim.days(8);
    sim.rotates();
    sim.days(3);
    sim.run(ROTATE);
    let first = sim.secret(1);
    assert!(sim.world.alive(&first));
    assert_eq!(sim.state().gates(Generation(1)).collect::<Vec<_>>(), [&TargetId::new("b")]);
    sim.world.pass(SignedDuration::from_hours(3 * 24 + 1));
    sim.run(ROTATE);
    assert_eq!(condemnations(&sim.world)[&first], Condemnation::Expired);
    assert!(!sim.world.exists(&first));
    assert_eq!(sim.state().phase(), Phase::Idle);
}

#[test]
fn an_expired_secret_goes_only_after_the_skew() {
    let mut sim = Sim::rotated(&["a", "b"]);
    sim.world.selection.remove(&TargetId::new("b"));
    sim.days(8);
    sim.rotates();
    let expires_at = sim.state().generations[&Generation(1)].minted.expires_at.unwrap();
    sim.world.now = expires_at + SignedDuration::from_mins(1);
    sim.run(ROTATE);
    assert!(sim.world.exists(&sim.secret(1)));
    sim.world.now = expires_at + SignedDuration::from_mins(3);
    sim.run(ROTATE);
    assert!(!sim.world.exists(&sim.secret(1)));
}

#[test]
fn the_current_generation_is_never_retired_even_when_it_has_expired() {
    let mut sim = Sim::rotated(&["a"]);
    sim.days(30);
    let ran = sim.run_with(ROTATE, |runner| runner.policy.rotate_every = None);
    assert_eq!((ran.end, sim.world.deletes), (End::Done, 0));
}

#[test]
fn a_late_copy_gates_and_is_tried_again_by_later_runs() {
    let mut sim = Sim { world: World::new(&["a"]).with_copy("copy"), ..Sim::new(&[]) };
    sim.rotates();
    sim.world.site("file:copy").manner = Manner::Refuses;
    sim.days(8);
    let ran = sim.rotates();
    assert_eq!(ran.state.phase(), Phase::Draining);
    sim.days(3);
    sim.run(ROTATE);
    assert!(sim.world.alive(&sim.secret(1)));
    sim.world.site("file:copy").manner = Manner::Takes;
    sim.minutes(60);
    sim.run(ROTATE);
    assert_eq!(sim.holds("file:copy"), Some(sim.secret(2)));
    sim.days(2);
    sim.run(ROTATE);
    assert!(!sim.world.exists(&sim.secret(1)));
}

#[test]
fn a_copy_that_left_the_config_gates_what_it_may_hold_and_nothing_more() {
    let mut sim = Sim { world: World::new(&["a"]).with_copy("copy"), ..Sim::new(&[]) };
    sim.rotates();
    sim.world.copies.clear();
    sim.days(8);
    sim.rotates();
    let sent =
        |event: &Event| matches!(event, Event::WaveStarted { targets, .. } if targets.contains(&TargetId::new("file:copy")));
    sim.days(2);
    let ran = sim.run(ROTATE);
    assert_eq!((ran.end, sim.events(sent)), (End::Done, 1));
    assert_eq!(sim.state().gates(Generation(1)).count(), 1);
    assert_eq!(sim.state().gates(Generation(2)).count(), 1, "the target alone");
}

#[test]
fn a_delete_that_keeps_failing_holds_nothing_else_up() {
    let mut sim = draining();
    sim.days(2);
    sim.faults.undeletable = true;
    let ran = sim.run(FORCE);
    assert_eq!((&ran.end, ran.state.current), (&End::Done, Some(Generation(3))), "{:?}", ran.trace);
    let deletes = |ran: &super::Ran| ran.trace.iter().filter(|step| matches!(step, Step::Delete { .. })).count();
    assert!(deletes(&ran) <= 2, "{:?}", ran.trace);
    assert!(sim.world.exists(&sim.secret(1)) && sim.state().undeleted().count() == 1);
    sim.faults.undeletable = false;
    sim.minutes(60);
    assert_eq!(deletes(&sim.run(ROTATE)), 1);
    assert!(!sim.world.exists(&sim.secret(1)));
    assert_eq!(sim.state().undeleted().count(), 0);
}

#[test]
fn a_list_that_lags_behind_a_delete_holds_nothing_up() {
    let mut sim = draining();
    sim.days(2);
    sim.world.list_age = SignedDuration::from_secs(30);
    let ran = sim.run(ROTATE);
    assert_eq!((ran.end, sim.state().undeleted().count()), (End::Done, 1));
    sim.minutes(10);
    sim.run(ROTATE);
    assert_eq!(sim.state().undeleted().count(), 0);
}

#[test]
fn a_condemned_secret_that_is_listed_again_is_deleted_again() {
    let mut sim = Sim::new(&["a"]);
    sim.faults.creates = vec![Create::Lost(Some(SignedDuration::ZERO))];
    sim.rotates();
    let stray = condemnations(&sim.world).into_keys().next().unwrap();
    assert!(sim.state().condemned[&stray].deleted);
    sim.world.secrets.get_mut(&stray).unwrap().gone = None;
    assert_eq!(sim.run(ROTATE).end, End::Done);
    sim.nothing_is_lost();
}

#[test]
fn the_oldest_goes_first_and_foreign_secrets_stay() {
    let mut sim = Sim::rotated(&["a"]);
    sim.world.make(By::Person, None);
    sim.rotates();
    sim.minutes(10);
    sim.rotates();
    sim.days(2);
    sim.run(ROTATE);
    let order = in_order(&sim.world).into_iter().map(|(id, _)| id);
    assert_eq!(order.collect::<Vec<_>>(), [sim.secret(1), sim.secret(2)]);
    assert_eq!(sim.world.existing(By::Person).len(), 1);
}
