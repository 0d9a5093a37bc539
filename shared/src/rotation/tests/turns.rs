//! Rollback: back to the generation before, and held there.

use super::runner::{End, condemnations};
use super::world::Manner;
use super::{FORCE, ROTATE, Sim};
use crate::ids::{Generation, TargetId};
use crate::report::Phase;
use crate::rotation::event::{Condemnation, Event, PlanKind, Turn};
use crate::rotation::next::{Goal, Step};
use crate::rotation::state::Held;

fn all_hold(sim: &Sim, generation: u32) -> bool {
    sim.world.selection.iter().all(|id| sim.world.sites[id].holds == Some(sim.secret(generation)))
}

/// Moved to generation 2, generation 1 still lives.
fn moved() -> Sim {
    let mut sim = Sim { world: super::World::new(&["a", "b"]).with_copy("copy"), ..Sim::new(&[]) };
    sim.rotates();
    sim.days(8);
    sim.rotates();
    sim
}

#[test]
fn a_rollback_moves_everything_back_and_holds_until_force() {
    let mut sim = moved();
    let ran = sim.rolls_back(1);
    assert_eq!((ran.end.clone(), &ran.settled[..]), (End::Done, &[(PlanKind::Rollback, None)][..]), "{:?}", ran.trace);
    assert!(all_hold(&sim, 1));
    assert_eq!((sim.world.stored.clone(), sim.holds("file:copy")), (Some(sim.secret(1)), Some(sim.secret(1))));
    assert_eq!((ran.state.current, ran.state.held), (Some(Generation(1)), Some(Held { generation: Generation(1) })));
    assert_eq!(ran.state.phase(), Phase::Draining);

    // The abandoned one drains; nothing else moves by itself, however old the secret gets.
    let second = sim.secret(2);
    assert!(sim.world.alive(&second));
    sim.days(3);
    sim.run(ROTATE);
    assert_eq!(condemnations(&sim.world)[&second], Condemnation::Retired);
    assert!(!sim.world.exists(&second) && all_hold(&sim, 1));
    assert_eq!((sim.run(ROTATE).end, sim.world.creates), (End::Done, 2));

    let ran = sim.run(FORCE);
    assert_eq!((ran.end, ran.state.held, ran.state.current), (End::Done, None, Some(Generation(3))));
    assert!(all_hold(&sim, 3));
    sim.days(2);
    sim.run(ROTATE);
    sim.nothing_is_lost();
}

#[test]
fn a_rollback_gives_an_open_rotation_up() {
    let mut sim = Sim::rotated(&["a", "b"]);
    sim.world.site("b").manner = Manner::Refuses;
    sim.days(8);
    assert!(matches!(sim.run(ROTATE).end, End::Waiting(_)));
    assert_eq!(sim.holds("a"), Some(sim.secret(2)));
    sim.world.site("b").manner = Manner::Takes;
    let ran = sim.rolls_back(1);
    assert_eq!(ran.end, End::Done, "{:?}", ran.trace);
    assert_eq!(ran.settled[1], (PlanKind::Rollback, None));
    assert!(all_hold(&sim, 1) && ran.state.held.is_some());
    sim.days(2);
    sim.run(ROTATE);
    assert!(!sim.world.exists(&sim.secret(2)));
    sim.nothing_is_lost();
}

#[test]
fn a_rollback_waits_for_writes_of_the_other_generation_to_land() {
    let mut sim = Sim::rotated(&["a"]);
    let mut runner = sim.open(FORCE).unwrap();
    while !matches!(runner.trace.last(), Some(Step::Verify { .. })) {
        assert_eq!(runner.turn(&mut sim.world, &mut sim.faults), None);
    }
    sim.faults.crash_in = Some(1);
    assert_eq!(runner.turn(&mut sim.world, &mut sim.faults), Some(End::Crashed));
    let ran = sim.rolls_back(1);
    assert!(matches!(ran.end, End::Waiting(_)), "{:?}", ran.end);
    assert_eq!(ran.state.phase(), Phase::Applying);
    // Whoever comes next carries it out, timer or person.
    sim.minutes(6);
    let ran = sim.run(ROTATE);
    assert_eq!((ran.end, ran.state.held.is_some()), (End::Done, true));
    assert!(all_hold(&sim, 1));
}

#[test]
fn a_runner_at_work_hears_of_a_rollback_at_its_next_entry() {
    let mut sim = Sim::rotated(&["a", "b"]);
    let mut runner = sim.open(FORCE).unwrap();
    while !matches!(runner.trace.last(), Some(Step::Wave { .. })) {
        assert_eq!(runner.turn(&mut sim.world, &mut sim.faults), None);
    }
    sim.asks(Turn::Rollback { to: Some(Generation(1)), canary: None });
    assert_eq!(runner.turn(&mut sim.world, &mut sim.faults), Some(End::Failed));
    let mut ran = sim.run(Goal::Rollback);
    if matches!(ran.end, End::Waiting(_)) {
        sim.minutes(6);
        ran = sim.run(Goal::Rollback);
    }
    assert_eq!(ran.end, End::Done, "{:?}", ran.trace);
    assert!(all_hold(&sim, 1));
}

#[test]
fn a_rollback_to_what_no_longer_lives_ends_at_once() {
    let mut sim = moved();
    sim.asks(Turn::Rollback { to: Some(Generation(1)), canary: None });
    let first = sim.secret(1);
    sim.world.person_deletes(&first);
    let ran = sim.run(Goal::Rollback);
    assert_eq!((ran.code(), &ran.state.turn), (Some("verification-failed"), &None));
    assert!(all_hold(&sim, 2) && ran.state.held.is_none());
    assert_eq!(sim.run(ROTATE).end, End::Done);
}

#[test]
fn the_fold_takes_no_rollback_to_nowhere_and_no_second_one() {
    let sim = moved();
    let by = crate::ids::RunnerId::new("person");
    let refused = |events: &[Turn]| {
        let mut state = sim.state();
        let turned = events.iter().map(|turn| {
            let event = Event::Turned { turn: turn.clone(), reason: String::new() };
            state.apply(1, sim.world.now, &by, &event).map_err(|illegal| illegal.reason)
        });
        turned.collect::<Result<Vec<_>, _>>().err()
    };
    let to = |to: Option<u32>| Turn::Rollback { to: to.map(Generation), canary: None };
    assert_eq!(refused(&[to(Some(1))]), None);
    assert_eq!(refused(&[to(None)]), Some("a rollback to nowhere"));
    assert_eq!(refused(&[to(Some(7))]), Some("a generation is used that was never minted"));
    assert_eq!(refused(&[to(Some(1)), to(Some(1))]), Some("a rollback is asked for while one is under way"));
}

#[test]
fn a_target_that_never_held_the_other_generation_is_not_written_by_a_rollback() {
    let mut sim = Sim::rotated(&["a", "b"]);
    sim.world.waves = vec![crate::config::WaveSize::Count(1), crate::config::WaveSize::Percent(100)];
    sim.days(8);
    let mut runner = sim.open(ROTATE).unwrap();
    while !matches!(runner.trace.last(), Some(Step::Wave { .. })) {
        assert_eq!(runner.turn(&mut sim.world, &mut sim.faults), None);
    }
    drop(runner);
    let ran = sim.rolls_back(1);
    let mut sent: Vec<&TargetId> = Vec::new();
    for step in &ran.trace {
        if let Step::Wave { targets, .. } = step {
            sent.extend(targets);
        }
    }
    assert_eq!(sent.len(), 1, "{:?}", ran.trace);
    assert!(all_hold(&sim, 1));
}
