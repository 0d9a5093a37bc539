//! Changes of direction: rollback, back to the generation before and held there; revoke, a new secret and none of the old.

use jiff::SignedDuration;

use super::runner::{End, condemnations, policy};
use super::world::{By, Manner};
use super::{FORCE, ROTATE, Sim};
use crate::error::Problem;
use crate::ids::{Generation, SecretId, TargetId};
use crate::report::Phase;
use crate::rotation::event::{Condemnation, Event, PlanKind, Turn};
use crate::rotation::led::LedStep;
use crate::rotation::next::{DeleteSent, Goal, Observed, Step, next};
use crate::rotation::recover::Listed;
use crate::rotation::state::{Condemned, Held, State};

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
fn a_hold_whose_secret_a_person_has_deleted_is_no_rest() {
    let mut sim = moved();
    sim.rolls_back(1);
    let first = sim.secret(1);
    sim.world.person_deletes(&first);
    let ran = sim.run(ROTATE);
    assert_eq!((ran.code(), ran.state.held), (Some("held-secret-gone"), Some(Held { generation: Generation(1) })));
    let ran = sim.run(FORCE);
    assert_eq!((ran.end, ran.state.held), (End::Done, None));
    assert!(all_hold(&sim, 3));
}

#[test]
fn a_promotion_that_lands_after_it_was_given_up_is_undone() {
    let mut sim = moved();
    sim.world.stored = Some(sim.secret(1));
    let ran = sim.run(ROTATE);
    assert_eq!((ran.end, sim.world.stored.clone(), sim.world.creates), (End::Done, Some(sim.secret(2)), 2));
    sim.rolls_back(1);
    sim.world.stored = Some(sim.secret(2));
    let ran = sim.run(ROTATE);
    assert_eq!((ran.end, sim.world.stored.clone()), (End::Done, Some(sim.secret(1))), "a hold keeps the store too");
}

#[test]
fn a_current_value_that_is_lost_does_not_keep_a_rotation_from_helping() {
    let mut sim = moved();
    let (first, second) = (sim.secret(1), sim.secret(2));
    sim.world.stored = Some(first);
    sim.world.slots.remove(&second);
    let ran = sim.run(FORCE);
    assert_eq!((ran.end, sim.world.stored.clone()), (End::Done, Some(sim.secret(3))));
    assert!(all_hold(&sim, 3));
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
            let event = Event::Turned { turn: turn.clone(), reason: String::new(), operation: None };
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

fn revokes(sim: &mut Sim, foreign: bool) -> super::Ran {
    sim.asks(Turn::Revoke { foreign });
    sim.run(Goal::Revoke)
}

#[test]
fn a_revoke_moves_everything_to_a_new_secret_and_deletes_every_older_one_of_its_own() {
    let mut sim = moved();
    let theirs = sim.world.make(By::Person, None).unwrap().id;
    let ran = revokes(&mut sim, false);
    assert_eq!((ran.end.clone(), &ran.settled[..]), (End::Done, &[(PlanKind::Revoke, None)][..]), "{:?}", ran.trace);
    assert!(all_hold(&sim, 3) && sim.holds("file:copy") == Some(sim.secret(3)));
    assert_eq!((sim.world.existing(By::Lakekey), sim.world.existing(By::Person)), (vec![sim.secret(3)], vec![theirs]));
    assert_eq!(condemnations(&sim.world)[&sim.secret(2)], Condemnation::Revoked);
    assert_eq!((ran.state.turn, ran.state.before), (None, None));
    assert_eq!(sim.run(ROTATE).end, End::Done);
    assert_eq!(sim.world.creates, 3);
}

#[test]
fn a_revoke_of_foreign_ones_too_leaves_one_secret() {
    let mut sim = moved();
    for _ in 0..2 {
        sim.world.make(By::Person, None).unwrap();
    }
    let ran = revokes(&mut sim, true);
    assert_eq!((ran.end, ran.settled), (End::Done, vec![(PlanKind::Revoke, None)]));
    assert!(all_hold(&sim, 3) && sim.world.existing(By::Person).is_empty());
    assert_eq!(sim.world.existing(By::Lakekey), [sim.secret(3)]);
}

#[test]
fn a_revoke_does_not_wait_for_a_target_that_does_not_move() {
    let mut sim = moved();
    sim.world.site("b").manner = Manner::Refuses;
    let ran = revokes(&mut sim, false);
    assert_eq!(ran.end, End::Done, "{:?}", ran.trace);
    assert_eq!(sim.holds("a"), Some(sim.secret(3)));
    assert_eq!(sim.holds("b"), Some(sim.secret(2)), "it is cut off");
    assert!(!sim.world.exists(&sim.secret(2)));
}

#[test]
fn a_revoke_supersedes_an_open_rotation_and_what_it_made() {
    let mut sim = Sim::rotated(&["a", "b"]);
    sim.world.site("b").manner = Manner::Refuses;
    sim.days(8);
    assert!(matches!(sim.run(ROTATE).end, End::Waiting(_)));
    sim.world.site("b").manner = Manner::Takes;
    let ran = revokes(&mut sim, false);
    assert_eq!(ran.settled.last(), Some(&(PlanKind::Revoke, None)), "{:?}", ran.trace);
    assert!(all_hold(&sim, 3));
    assert_eq!(sim.world.existing(By::Lakekey), [sim.secret(3)]);
}

#[test]
fn with_four_slots_used_a_revoke_mints_and_with_five_it_first_deletes_its_own_oldest() {
    for foreign in [2, 3] {
        let mut sim = moved();
        for _ in 0..foreign {
            sim.world.make(By::Person, None).unwrap();
        }
        let (first, second) = (sim.secret(1), sim.secret(2));
        let ran = revokes(&mut sim, false);
        assert_eq!(ran.settled.last(), Some(&(PlanKind::Revoke, None)), "{foreign}: {:?}", ran.trace);
        assert!(all_hold(&sim, 3) && !sim.world.exists(&first) && !sim.world.exists(&second));
        let minted = ran.trace.iter().position(|step| matches!(step, Step::Mint)).unwrap();
        let deleted = ran.trace.iter().position(|step| matches!(step, Step::Delete { .. })).unwrap();
        assert_eq!(deleted < minted, foreign == 3, "{:?}", ran.trace);
        assert_eq!(sim.world.existing(By::Person).len(), foreign);
    }
}

#[test]
fn a_rollback_asks_whether_its_own_generation_lives() {
    let sim = moved();
    let mut state = sim.state();
    state.turn = Some(Turn::Rollback { to: Some(Generation(1)), canary: None });
    let step = |state: &State| {
        let seen = Observed { listing: Some(Vec::new()), ..Observed::default() };
        next(state, &seen, Goal::Rollback, &policy(), sim.world.now)
    };
    assert!(matches!(step(&state), Step::Plan { kind: PlanKind::Rollback, .. }));
    state.condemned = [(sim.secret(1), Condemned { reason: Condemnation::Retired, seq: 1, deleted: true })].into();
    assert!(matches!(step(&state), Step::EndTurn(_)));
}

#[test]
fn a_revoke_waits_for_the_slot_that_it_frees() {
    let mut sim = moved();
    for _ in 0..3 {
        sim.world.make(By::Person, None).unwrap();
    }
    sim.asks(Turn::Revoke { foreign: false });
    let mut runner = sim.open(Goal::Revoke).unwrap_or_else(|end| panic!("{end:?}"));
    while !matches!(runner.trace.last(), Some(Step::Condemn { .. })) {
        assert_eq!(runner.turn(&mut sim.world, &mut sim.faults), None);
    }
    let (now, listing) = (sim.world.now, sim.world.list(SignedDuration::ZERO));
    let sent = DeleteSent { tries: 1, last: now, accepted: false };
    let step = |listing: Vec<Listed>, undeleted: Option<Problem>| {
        let values = [sim.secret(1), sim.secret(2)].into();
        let deletes = [(sim.secret(1), sent)].into();
        let seen = Observed { listing: Some(listing), values, deletes, undeleted, ..Observed::default() };
        next(&runner.state, &seen, Goal::Revoke, &policy(), now)
    };
    assert!(matches!(step(listing.clone(), None), Step::Wait { until, .. } if until == now + SignedDuration::from_secs(5)));
    let problem = Problem::new("forbidden", "no");
    assert_eq!(step(listing.clone(), Some(problem.clone())), Step::Settle(Some(problem.clone())));
    let theirs = listing.iter().find(|listed| listed.expires_at.is_none()).unwrap();
    let other = |number| Listed { id: SecretId::new(format!("other-{number}")), ..theirs.clone() };
    for undeleted in [None, Some(problem)] {
        let step = step((0..5).map(other).collect(), undeleted);
        assert!(matches!(&step, Step::Settle(Some(problem)) if problem.code == "slots-full"), "{step:?}");
    }
}

#[test]
fn a_revoke_is_not_held_up_by_what_secrets_manager_leads() {
    let mut sim = Sim::rotated(&["a", "b"]);
    sim.step(LedStep::CreateSecret);
    let ran = revokes(&mut sim, false);
    assert_eq!(ran.settled.last(), Some(&(PlanKind::Revoke, None)), "{:?}", ran.trace);
    assert!(all_hold(&sim, 3));
}

#[test]
fn with_five_slots_of_others_a_revoke_says_so_and_deletes_nothing() {
    let mut sim = Sim::rotated(&["a"]);
    for _ in 0..4 {
        sim.world.make(By::Person, None).unwrap();
    }
    let ran = revokes(&mut sim, false);
    assert_eq!(ran.code(), Some("slots-full"));
    assert_eq!((ran.state.turn, sim.world.deletes), (None, 0));
    assert!(all_hold(&sim, 1));
    // Where those may go too, one makes room.
    let ran = revokes(&mut sim, true);
    assert_eq!(ran.settled.last(), Some(&(PlanKind::Revoke, None)), "{:?}", ran.trace);
    assert!(all_hold(&sim, 2) && sim.world.existing(By::Person).is_empty());
}

#[test]
fn a_revoke_whose_secret_does_not_pass_deletes_nothing_else() {
    let mut sim = moved();
    sim.faults.unreadable = true;
    let ran = revokes(&mut sim, false);
    assert_eq!(ran.code(), Some("verification-failed"));
    assert!(sim.world.alive(&sim.secret(2)) && all_hold(&sim, 2));
}

#[test]
fn a_runner_may_die_at_any_point_of_a_revoke() {
    for point in 0.. {
        let mut sim = moved();
        sim.asks(Turn::Revoke { foreign: false });
        let died = sim.dies(Goal::Revoke, point);
        for _ in 0..3 {
            sim.run(ROTATE);
            sim.minutes(6);
        }
        let state = sim.state();
        let current = sim.secret(state.current.unwrap().0);
        assert_eq!((state.turn, state.open.is_none()), (None, true), "point {point}");
        assert_eq!(sim.world.existing(By::Lakekey), [current], "point {point}");
        assert!(all_hold(&sim, state.current.unwrap().0), "point {point}");
        if !died {
            assert!(point > 15, "{point}");
            return;
        }
    }
}

#[test]
fn the_fold_revokes_nothing_that_nobody_asked_to() {
    let condemned = |generation: u32, turn: Option<Turn>| {
        let mut sim = moved();
        let id = sim.secret(generation);
        if let Some(turn) = turn {
            sim.asks(turn);
        }
        let runner = sim.open(ROTATE).unwrap();
        let mut state = runner.state.clone();
        let event = Event::Condemned { secret_id: id, reason: Condemnation::Revoked };
        state.apply(99, sim.world.now, &runner.id, &event).map_err(|illegal| illegal.reason).err()
    };
    assert_eq!(condemned(1, None), Some("a secret is revoked although nobody asked for that"));
    assert_eq!(condemned(1, Some(Turn::Revoke { foreign: false })), Some("a secret is revoked outside a revoke"));
}
