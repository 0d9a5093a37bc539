//! Making a secret: lost answers, lost values, slots.

use jiff::SignedDuration;

use super::runner::{End, condemnations};
use super::world::{By, Create};
use super::{FORCE, ROTATE, Sim, origin_of};
use crate::ids::Generation;
use crate::report::Phase;
use crate::rotation::event::{Condemnation, Event};
use crate::rotation::next::{Observed, Step};
use crate::rotation::recover::{Origin, shows};

#[test]
fn a_lost_mint_reply_leaves_no_stray() {
    for after in [None, Some(0), Some(100), Some(86_400)] {
        let mut sim = Sim::new(&["a"]);
        sim.faults.creates = vec![Create::Lost(after.map(SignedDuration::from_secs))];
        let ran = sim.run(ROTATE);
        assert_eq!(ran.end, End::Done, "{after:?}");
        assert_eq!(sim.world.creates, 2);
        sim.days(2);
        sim.run(ROTATE);
        sim.nothing_is_lost();
        assert_eq!(sim.world.existing(By::Lakekey).len(), 1, "{after:?}");
        let strays = condemnations(&sim.world).values().filter(|reason| **reason == Condemnation::Stray).count();
        assert_eq!(strays, usize::from(after.is_some()), "{after:?}");
    }
}

#[test]
fn a_create_that_was_delivered_twice_leaves_one_secret() {
    let mut sim = Sim::new(&["a"]);
    sim.faults.creates = vec![Create::Doubled];
    sim.rotates();
    sim.nothing_is_lost();
    assert_eq!(sim.world.existing(By::Lakekey), [sim.secret(1)]);
}

#[test]
fn a_staged_secret_is_adopted_and_not_minted_again() {
    let mut adopted = 0;
    for point in 0..12 {
        let mut sim = Sim::new(&["a"]);
        sim.dies(ROTATE, point);
        let staged = sim.world.slots.len() == 1 && sim.state().generations.is_empty();
        sim.rotates();
        if staged {
            adopted += 1;
            assert_eq!(sim.world.creates, 1, "point {point}");
            assert!(sim.state().generations[&Generation(1)].minted.fingerprint_shown);
        }
        sim.nothing_is_lost();
    }
    assert_eq!(adopted, 1);
}

#[test]
fn a_value_that_reaches_its_slot_late_is_no_longer_wanted() {
    let mut sim = Sim::new(&["a"]);
    let point = (0..12).find(|point| {
        sim = Sim::new(&["a"]);
        sim.dies(ROTATE, *point) && sim.world.existing(By::Lakekey).len() == 1 && sim.world.slots.is_empty()
    });
    assert!(point.is_some());
    let lost = sim.world.existing(By::Lakekey).remove(0);
    sim.world.stage_late(&lost, SignedDuration::from_hours(1));
    sim.rotates();
    sim.days(2);
    sim.run(ROTATE);
    assert_eq!(condemnations(&sim.world)[&lost], Condemnation::Stray);
    assert_ne!(sim.holds("a"), Some(lost.clone()));
    assert!(!sim.world.exists(&lost));
}

#[test]
fn a_condemned_secret_is_never_adopted() {
    let mut sim = Sim::new(&["a"]);
    sim.faults.creates = vec![Create::Lost(Some(SignedDuration::ZERO))];
    sim.faults.undeletable = true;
    sim.run(ROTATE);
    let condemned = condemnations(&sim.world).into_keys().next().unwrap();
    sim.world.slots.insert(condemned.clone());
    sim.faults.undeletable = false;
    sim.rotates();
    assert_eq!(sim.state().generation_of(&condemned), None);
    assert!(!sim.world.exists(&condemned));
    assert_eq!(origin_of(&sim, &condemned), Origin::Condemned);
}

#[test]
fn over_cap_the_new_secret_goes() {
    let mut sim = Sim::rotated(&["a"]);
    let held = sim.holds("a");
    sim.world.make(By::Person, None);
    sim.world.make(By::Person, None);
    let mut runner = sim.open(FORCE).unwrap();
    let (mut world, mut faults) = (sim.world, sim.faults);
    while runner.state.generations.len() < 2 {
        assert_eq!(runner.turn(&mut world, &mut faults), None);
    }
    world.make(By::Person, None);
    let end = loop {
        if let Some(end) = runner.turn(&mut world, &mut faults) {
            break end;
        }
    };
    let code = runner.seen.settled.last().and_then(|(_, problem)| problem.clone()).map(|problem| problem.code);
    assert_eq!((end, code.as_deref()), (End::Done, Some("slots-taken")));
    (sim.world, sim.faults) = (world, faults);
    assert_eq!(condemnations(&sim.world).into_values().collect::<Vec<_>>(), [Condemnation::OverCap]);
    assert_eq!(sim.holds("a"), held);
    assert_eq!(sim.world.existing(By::Person).len(), 3);
    sim.nothing_is_lost();
}

#[test]
fn the_over_cap_check_survives_a_crash_after_minted() {
    let mut sim = Sim::rotated(&["a"]);
    sim.world.make(By::Person, None);
    sim.world.make(By::Person, None);
    let mut runner = sim.open(FORCE).unwrap();
    while runner.state.generations.len() < 2 {
        assert_eq!(runner.turn(&mut sim.world, &mut sim.faults), None);
    }
    drop(runner);
    sim.world.make(By::Person, None);
    let ran = sim.run(ROTATE);
    assert_eq!(ran.code(), Some("slots-taken"));
    sim.nothing_is_lost();
}

#[test]
fn a_secret_that_fails_its_verification_goes_and_no_target_is_touched() {
    for locked_out in [true, false] {
        let mut sim = Sim::rotated(&["a"]);
        let held = sim.holds("a");
        sim.days(8);
        (sim.faults.locked_out, sim.faults.unreadable) = (locked_out, !locked_out);
        let ran = sim.run(ROTATE);
        assert_eq!((&ran.end, ran.code()), (&End::Done, Some("verification-failed")));
        assert!(!ran.trace.iter().any(|step| matches!(step, Step::Wave { .. })));
        assert_eq!((sim.holds("a"), sim.world.creates), (held, 2));
        sim.nothing_is_lost();
        (sim.faults.locked_out, sim.faults.unreadable) = (false, false);
        assert_eq!(sim.run(ROTATE).state.current, Some(Generation(3)));
    }
}

#[test]
fn a_value_lost_before_the_first_wave_is_minted_anew() {
    let mut sim = Sim::new(&["a"]);
    let mut runner = sim.open(ROTATE).unwrap();
    while runner.state.phase() != Phase::Verified {
        assert_eq!(runner.turn(&mut sim.world, &mut sim.faults), None);
    }
    drop(runner);
    sim.world.slots.clear();
    sim.rotates();
    assert_eq!(condemnations(&sim.world).into_values().collect::<Vec<_>>(), [Condemnation::ValueLost]);
    assert_eq!(sim.holds("a"), Some(sim.secret(2)));
    sim.nothing_is_lost();
}

#[test]
fn values_that_keep_being_lost_end_the_plan() {
    let mut sim = Sim::new(&["a"]);
    for _ in 0..6 {
        let mut runner = sim.open(ROTATE).unwrap();
        while runner.turn(&mut sim.world, &mut sim.faults).is_none() && sim.world.slots.is_empty() {}
        sim.world.slots.clear();
    }
    let ended =
        |event: &Event| matches!(event, Event::Settled { problem: Some(problem) } if problem.code == "mint-keeps-failing");
    assert_eq!(sim.events(ended), 1);
}

#[test]
fn slots_full_of_foreign_secrets_stop_it_before_minting_and_are_named() {
    let mut sim = Sim::rotated(&["a"]);
    let foreign: Vec<String> = (0..3).map(|_| sim.world.make(By::Person, None).unwrap().id.to_string()).collect();
    sim.days(8);
    let ran = sim.run(ROTATE);
    assert_eq!((ran.code(), sim.world.creates), (Some("slots-full"), 1));
    let (_, Some(problem)) = &ran.settled[0] else { panic!("settled without a problem") };
    assert!(foreign.iter().all(|id| problem.message.contains(id)), "{}", problem.message);
    assert!(ran.state.open.is_none());
    assert_eq!(sim.world.deletes, 0);
    assert_eq!(sim.world.existing(By::Person).len(), 3);
}

#[test]
fn three_used_slots_leave_room_and_a_create_that_may_land_takes_one() {
    let mut sim = Sim::rotated(&["a"]);
    sim.world.make(By::Person, None);
    sim.world.make(By::Person, None);
    sim.faults.creates = vec![Create::Lost(None)];
    let ran = sim.run(FORCE);
    assert!(matches!(ran.end, End::Waiting(_)), "{:?}", ran.end);
    assert_eq!(sim.world.creates, 2);
    // It cannot land any more, but a list may lag behind.
    sim.minutes(6);
    assert!(matches!(sim.run(FORCE).end, End::Waiting(_)));
    assert_eq!(sim.world.creates, 2);
    sim.minutes(10);
    sim.rotates();
    assert_eq!(sim.world.creates, 3);
}

#[test]
fn a_refused_create_ends_the_plan_and_the_next_run_tries_again() {
    let mut sim = Sim::new(&["a"]);
    sim.faults.creates = vec![Create::Refused];
    assert_eq!(sim.run(ROTATE).code(), Some("refused"));
    sim.rotates();
}

/// A lost answer where Databricks rounds lifetimes; the stray is returned.
fn unrecognisable() -> (Sim, crate::ids::SecretId) {
    let mut sim = Sim::new(&["a"]);
    sim.world.rounds = true;
    sim.rotates();
    sim.faults.creates = vec![Create::Lost(Some(SignedDuration::ZERO))];
    let ran = sim.run(FORCE);
    assert_eq!((ran.code(), ran.state.phase()), (Some("strays-unrecognisable"), Phase::Quarantined));
    let stray = sim.world.existing(By::Lakekey).into_iter().find(|id| *id != sim.secret(1)).unwrap();
    (sim, stray)
}

#[test]
fn strays_that_cannot_be_told_from_others_wait_for_a_person() {
    let (mut sim, stray) = unrecognisable();
    assert_eq!(sim.run(ROTATE).code(), Some("strays-unrecognisable"));
    assert_eq!(sim.world.deletes, 0);
    sim.rotates();
    assert!(sim.world.exists(&stray), "a person decided to leave it");
    assert_eq!(sim.state().current, Some(Generation(2)));

    let (mut sim, stray) = unrecognisable();
    sim.world.person_deletes(&stray);
    assert_eq!((sim.run(ROTATE).end, sim.state().current), (End::Done, Some(Generation(2))));
}

#[test]
fn a_fingerprint_shows_to_the_second() {
    let (created, asked) = (super::at("2026-11-02T08:00:00.400Z"), 1_209_000);
    let shown = |text: &str| shows(created, Some(super::at(text)), asked);
    assert!(shown("2026-11-16T07:50:00.400Z"));
    assert!(shown("2026-11-16T07:50:01.399Z") && shown("2026-11-16T07:49:59.401Z"));
    assert!(!shown("2026-11-16T07:50:01.400Z") && !shown("2026-11-16T07:49:59.400Z"));
    assert!(!shows(created, None, asked));
}

#[test]
fn nothing_is_decided_before_the_first_look() {
    let sim = Sim::new(&["a"]);
    let step = crate::rotation::next::next(&sim.state(), &Observed::default(), ROTATE, &super::runner::policy(), sim.world.now);
    assert_eq!(step, Step::Begin);
}
