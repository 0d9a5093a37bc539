//! When a rotation is due.

use jiff::{SignedDuration, Timestamp};

use super::runner::{End, policy};
use super::world::By;
use super::{FORCE, ROTATE, Sim, World};
use crate::ids::{Generation, TargetId};
use crate::rotation::due::{Due, due};
use crate::rotation::next::Policy;

const NEVER: Policy = Policy { may_start_at: None, rotate_every: None, grace: SignedDuration::ZERO, skew: SignedDuration::ZERO };

fn asked(sim: &Sim, policy: &Policy, now: Timestamp) -> Due {
    due(&sim.state(), policy, Some(&sim.world.list(SignedDuration::ZERO)), false, now)
}

fn created(sim: &Sim) -> Timestamp {
    sim.state().generations[&Generation(1)].minted.created_at
}

#[test]
fn it_is_due_at_the_age_of_rotate_every() {
    let sim = Sim::rotated(&["a"]);
    let at = created(&sim) + SignedDuration::from_hours(7 * 24);
    let second = SignedDuration::from_secs(1);
    let early = asked(&sim, &policy(), at - second);
    assert_eq!((early.due, early.at), (false, Some(at)));
    let now = asked(&sim, &policy(), at);
    assert_eq!((now.due, now.at), (true, Some(at)));
    assert_eq!(now.reason, "generation 1: it has reached `rotate_every`");
}

#[test]
fn it_is_due_three_hours_before_expiry() {
    let sim = Sim::rotated(&["a"]);
    let seldom = Policy { rotate_every: Some(SignedDuration::from_hours(24 * 30)), ..policy() };
    let expires_at = sim.state().generations[&Generation(1)].minted.expires_at.unwrap();
    let at = expires_at - SignedDuration::from_hours(3);
    assert!(!asked(&sim, &seldom, at - SignedDuration::from_secs(1)).due);
    let now = asked(&sim, &seldom, at);
    assert_eq!((now.due, now.at), (true, Some(at)));
    assert_eq!(now.reason, "generation 1: its expiry comes near");
}

#[test]
fn manual_is_due_by_force_only() {
    let mut sim = Sim::rotated(&["a"]);
    let manual = Policy { rotate_every: None, ..policy() };
    sim.days(13);
    let no = asked(&sim, &manual, sim.world.now);
    assert_eq!((no.due, no.at), (false, None));
    let ran = sim.run_with(FORCE, |runner| runner.policy.rotate_every = None);
    assert_eq!(ran.state.current, Some(Generation(2)));
}

#[test]
fn a_window_is_waited_for_but_not_by_force() {
    let mut sim = Sim::rotated(&["a"]);
    sim.days(8);
    let now = sim.world.now;
    let opens = now + SignedDuration::from_hours(2);
    let closed = Policy { may_start_at: Some(opens), ..policy() };
    let no = asked(&sim, &closed, now);
    assert_eq!((no.due, no.at), (false, Some(opens)));
    assert!(asked(&sim, &closed, opens).due);
    let never = Policy { may_start_at: None, ..policy() };
    assert_eq!((asked(&sim, &never, now).due, asked(&sim, &never, now).at), (false, None));
    let ran = sim.run_with(ROTATE, |runner| runner.policy.may_start_at = Some(opens));
    assert_eq!((ran.end, sim.world.creates), (End::Done, 1));
    assert_eq!(sim.run_with(FORCE, |runner| runner.policy.may_start_at = None).state.current, Some(Generation(2)));
}

#[test]
fn a_first_rotation_waits_for_its_window_too() {
    let sim = Sim::new(&["a"]);
    assert!(asked(&sim, &policy(), sim.world.now).due);
    assert!(!asked(&sim, &NEVER, sim.world.now).due);
}

#[test]
fn a_missing_current_secret_waits_for_nothing_but_a_list_that_may_lag() {
    let mut sim = Sim::rotated(&["a"]);
    let current = sim.secret(1);
    sim.world.person_deletes(&current);
    let soon = created(&sim) + SignedDuration::from_mins(10);
    assert!(!asked(&sim, &NEVER, soon).due);
    assert!(asked(&sim, &NEVER, soon + SignedDuration::from_secs(1)).due);
    assert!(!due(&sim.state(), &NEVER, None, false, sim.world.now + SignedDuration::from_hours(1)).due, "nobody has looked");
    sim.minutes(11);
    let ran = sim.run(ROTATE);
    assert_eq!((ran.end, sim.holds("a")), (End::Done, Some(sim.secret(2))));
}

#[test]
fn targets_that_were_moved_to_a_secret_that_is_gone_make_it_due() {
    let mut sim = Sim::rotated(&["a", "b"]);
    sim.world.site("b").manner = super::world::Manner::Refuses;
    sim.run(FORCE);
    sim.minutes(90);
    // The incoming secret vanishes, and others leave no slot for another.
    let second = sim.secret(2);
    sim.world.person_deletes(&second);
    let foreign: Vec<_> = (0..3).map(|_| sim.world.make(By::Person, None).unwrap().id).collect();
    assert_eq!(sim.run(ROTATE).code(), Some("slots-full"));
    assert_eq!(sim.holds("a"), Some(second));
    assert_eq!(sim.run(ROTATE).code(), Some("slots-full"), "it is due although generation 1 is fresh");
    foreign.iter().for_each(|id| sim.world.person_deletes(id));
    sim.world.site("b").manner = super::world::Manner::Takes;
    assert_eq!(sim.run(ROTATE).end, End::Done);
    assert_eq!(sim.holds("a"), Some(sim.secret(3)));
}

#[test]
fn a_parked_target_with_an_expired_secret_does_not_make_it_due() {
    let mut sim = Sim::rotated(&["a", "b"]);
    sim.world.site("b").manner = super::world::Manner::Refuses;
    sim.days(3);
    let run =
        |sim: &mut Sim, goal| sim.run_with(goal, |runner| runner.policy.rotate_every = Some(SignedDuration::from_hours(12 * 24)));
    run(&mut sim, FORCE);
    for _ in 0..30 {
        sim.minutes(60);
        run(&mut sim, ROTATE);
    }
    assert!(sim.state().holders[&TargetId::new("b")].failures.as_ref().unwrap().parked);
    sim.days(10);
    run(&mut sim, ROTATE);
    assert!(sim.state().condemned.contains_key(&sim.secret(1)));
    assert_eq!((run(&mut sim, ROTATE).end, sim.world.creates), (End::Done, 2));
}

#[test]
fn a_stored_secret_is_adopted_and_rotated_when_its_age_says_so() {
    let mut sim = Sim { world: World::new(&["a"]), ..Sim::new(&[]) };
    let stored = sim.world.make(By::Person, Some(86_400 * 90)).unwrap().id;
    sim.world.stored = Some(stored.clone());
    sim.minutes(20);
    let ran = sim.run(ROTATE);
    assert_eq!((ran.end, ran.state.current, sim.world.creates), (End::Done, Some(Generation(1)), 0));
    sim.days(7);
    sim.run(ROTATE);
    assert_eq!(sim.state().current, Some(Generation(2)));
    sim.days(2);
    sim.run(ROTATE);
    assert!(!sim.world.exists(&stored));
}
