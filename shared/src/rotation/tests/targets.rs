//! Moving targets: failures, parking, writes in flight, take-overs, reapply, values lost under way.

use jiff::SignedDuration;

use super::runner::{End, Runner, condemnations};
use super::world::{By, Manner, TakeOver};
use super::{FORCE, ROTATE, Sim};
use crate::ids::{DatasetId, Generation, TargetId};
use crate::report::Phase;
use crate::rotation::event::{Condemnation, Event, PlanKind};
use crate::rotation::next::{Goal, Step};

fn failing(manner: Manner) -> Sim {
    let mut sim = Sim::rotated(&["a", "b"]);
    sim.world.site("b").manner = manner;
    sim.days(8);
    sim
}

/// Runs each hour until it is done.
fn hourly(sim: &mut Sim, hours: u32) -> u32 {
    (0..hours)
        .find(|_| {
            let ran = sim.run(ROTATE);
            sim.minutes(60);
            ran.end == End::Done
        })
        .unwrap_or(hours)
}

#[test]
fn a_target_that_fails_for_a_day_is_parked_and_blocks_neither_this_rotation_nor_the_next() {
    let mut sim = failing(Manner::Refuses);
    let held = sim.holds("b");
    let ran = sim.run(ROTATE);
    assert!(matches!(ran.end, End::Waiting(_)));
    assert_eq!(sim.holds("a"), Some(sim.secret(2)));
    let hours = hourly(&mut sim, 30);
    assert!((23..=26).contains(&hours), "{hours}");
    let state = sim.state();
    assert_eq!((state.phase(), state.current), (Phase::Draining, Some(Generation(2))));
    let failures = state.holders[&TargetId::new("b")].failures.clone().unwrap();
    assert!(failures.parked && failures.count > 20);

    // What it holds stays alive, beyond grace.
    sim.days(3);
    sim.run(ROTATE);
    assert_eq!(sim.holds("b"), held);
    assert!(sim.world.alive(&held.unwrap()));

    // The next rotation includes it again.
    sim.world.site("b").manner = Manner::Takes;
    sim.rotates();
    assert_eq!(sim.holds("b"), Some(sim.secret(3)));
    sim.days(2);
    sim.run(ROTATE);
    assert_eq!(sim.state().phase(), Phase::Idle);
    sim.nothing_is_lost();
}

#[test]
fn the_next_rotation_gives_a_parked_target_a_day_of_its_own() {
    let mut sim = failing(Manner::Refuses);
    hourly(&mut sim, 30);
    let ran = sim.run(FORCE);
    assert!(matches!(ran.end, End::Waiting(_)), "{:?}", ran.end);
    assert!(ran.state.holders[&TargetId::new("b")].failures.as_ref().is_some_and(|failures| !failures.parked));
    assert_eq!(sim.holds("a"), Some(sim.secret(3)));
}

#[test]
fn a_write_in_flight_holds_up_another_generation_but_not_its_own() {
    let mut sim = Sim::rotated(&["a"]);
    sim.world.site("a").manner = Manner::Silent(Some(SignedDuration::from_secs(150)));
    let mut runner = sim.open(FORCE).unwrap();
    while sim.events(|event| matches!(event, Event::WaveEnded { .. })) < 2 {
        assert_eq!(runner.turn(&mut sim.world, &mut sim.faults), None);
    }
    // The next try carries the same generation and need not wait, though its answer ends no wait for the first.
    sim.world.site("a").manner = Manner::Takes;
    while runner.turn(&mut sim.world, &mut sim.faults).is_none() {}
    let state = sim.state();
    assert_eq!((state.phase(), state.current), (Phase::Draining, Some(Generation(2))));
    let (flying, until) = state.holders[&TargetId::new("a")].in_flight.unwrap();
    assert!(flying == Generation(2) && until > sim.world.now);
    let ran = sim.run(FORCE);
    assert_eq!(ran.end, End::Waiting(until), "{:?}", ran.trace);
    assert_eq!(sim.holds("a"), Some(sim.secret(2)));
    sim.minutes(6);
    assert_eq!(sim.run(ROTATE).end, End::Done);
    assert_eq!(sim.holds("a"), Some(sim.secret(3)));
}

#[test]
fn a_refusal_does_not_recall_the_write_before_it() {
    let mut sim = Sim::rotated(&["a"]);
    sim.world.site("a").manner = Manner::Silent(Some(SignedDuration::from_secs(170)));
    let mut runner = sim.open(FORCE).unwrap();
    while sim.events(|event| matches!(event, Event::WaveEnded { .. })) < 2 {
        assert_eq!(runner.turn(&mut sim.world, &mut sim.faults), None);
    }
    sim.world.site("a").manner = Manner::Refuses;
    while sim.events(|event| matches!(event, Event::WaveEnded { .. })) < 3 {
        assert_eq!(runner.turn(&mut sim.world, &mut sim.faults), None);
    }
    assert!(sim.state().holders[&TargetId::new("a")].in_flight.is_some());
}

#[test]
fn a_runner_that_dies_in_a_wave_leaves_its_writes_in_flight() {
    let mut sim = Sim::rotated(&["a"]);
    let mut runner = sim.open(FORCE).unwrap();
    while !matches!(runner.trace.last(), Some(Step::Verify { .. })) {
        assert_eq!(runner.turn(&mut sim.world, &mut sim.faults), None);
    }
    sim.faults.crash_in = Some(1);
    assert_eq!(runner.turn(&mut sim.world, &mut sim.faults), Some(End::Crashed));
    let next = sim.open(FORCE).unwrap();
    let (flying, until) = next.state.holders[&TargetId::new("a")].in_flight.unwrap();
    assert_eq!((flying, until), (Generation(2), sim.world.now + super::world::LANDING));
}

#[test]
fn an_interrupted_take_over_is_the_first_thing_resumed() {
    let mut sim = Sim::rotated(&["a"]);
    sim.world.site("a").dataset = Some((DatasetId::new("sales"), By::Person));
    let mut runner = sim.open(FORCE).unwrap();
    while runner.state.taking_over.is_empty() {
        sim.faults.crash_in = matches!(runner.trace.last(), Some(Step::Verify { .. })).then_some(2);
        runner.turn(&mut sim.world, &mut sim.faults);
    }
    let ran = sim.run(ROTATE);
    assert!(matches!(ran.trace[..2], [Step::TakeOver { .. }, Step::Wave { .. }]), "{:?}", ran.trace);
    assert_eq!((ran.end, sim.holds("a'")), (End::Done, Some(sim.secret(2))));
    assert_eq!(sim.holds("a"), Some(sim.secret(1)));
}

#[test]
fn sixteen_datasets_are_taken_over_before_their_data_sources_are_written() {
    let names: Vec<String> = (0..20).map(|number| format!("source-{number:02}")).collect();
    let mut sim = Sim::rotated(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for name in &names {
        sim.world.site(name).dataset = Some((DatasetId::new(format!("dataset-of-{name}")), By::Person));
    }
    let ran = sim.run(FORCE);
    let taken = |step: &Step| if let Step::TakeOver { datasets } = step { Some(datasets.len()) } else { None };
    let written = |step: &Step| if let Step::Wave { targets, .. } = step { Some(targets.len()) } else { None };
    let sizes: Vec<_> =
        ran.trace.iter().map(|step| (taken(step), written(step))).filter(|sizes| *sizes != (None, None)).collect();
    assert_eq!(sizes, [(Some(16), None), (None, Some(16)), (Some(4), None), (None, Some(4))]);
    assert_eq!(ran.end, End::Done);
}

#[test]
fn a_take_over_that_keeps_failing_is_tried_again_with_pauses_and_parked() {
    let mut sim = Sim::rotated(&["a", "b"]);
    sim.world.site("b").dataset = Some((DatasetId::new("sales"), By::Person));
    sim.faults.take_over = TakeOver::Refused;
    sim.days(8);
    let ran = sim.run(ROTATE);
    assert!(matches!(ran.end, End::Waiting(_)));
    assert!(ran.trace.iter().filter(|step| matches!(step, Step::TakeOver { .. })).count() <= 4, "{:?}", ran.trace);
    assert!((20..30).contains(&hourly(&mut sim, 40)));
    assert_eq!(sim.holds("a"), Some(sim.secret(2)));
}

/// Simulation seed 812: a plan that found the slots full had made a parked target look like one that holds the current secret.
#[test]
fn a_plan_that_ends_before_its_first_wave_leaves_what_had_failed_as_it_was() {
    let mut sim = Sim::rotated(&["a", "b"]);
    sim.world.site("b").manner = Manner::Refuses;
    sim.days(8);
    hourly(&mut sim, 30);
    let is_parked =
        |sim: &Sim| sim.state().holders[&TargetId::new("b")].failures.as_ref().is_some_and(|failures| failures.parked);
    assert!(is_parked(&sim));
    for _ in 0..3 {
        sim.world.make(By::Person, None);
    }
    assert_eq!(sim.run(FORCE).code(), Some("slots-full"));
    assert!(is_parked(&sim), "{:?}", sim.state().holders);
}

#[test]
fn a_bared_source_never_gets_an_unverified_generation() {
    let mut sim = Sim::rotated(&["a"]);
    sim.world.site("a").dataset = Some((DatasetId::new("sales"), By::Person));
    sim.world.site("a").manner = Manner::Refuses;
    let ran = sim.run(FORCE);
    assert!(matches!(ran.end, End::Waiting(_)) && ran.state.holders[&TargetId::new("a'")].bare);
    // The incoming generation is deleted by a person; its successor cannot be verified.
    let second = sim.secret(2);
    sim.world.person_deletes(&second);
    sim.minutes(70);
    sim.world.site("a'").manner = Manner::Takes;
    sim.faults.locked_out = true;
    sim.run(ROTATE);
    sim.faults.locked_out = false;
    for _ in 0..3 {
        sim.minutes(70);
        sim.run(ROTATE);
    }
    let current = sim.state().current.unwrap();
    assert_eq!(sim.holds("a'"), Some(sim.secret(current.0)));
    assert!(sim.world.alive(&sim.secret(current.0)));
}

#[test]
fn a_secret_that_targets_hold_survives_a_refused_sign_in() {
    let mut sim = failing(Manner::Refuses);
    sim.run(ROTATE);
    sim.minutes(90);
    sim.faults.locked_out = true;
    let ran = sim.run(ROTATE);
    assert_eq!(ran.code(), Some("sign-in-refused"));
    assert!(sim.world.alive(&sim.secret(2)) && condemnations(&sim.world).is_empty());
    sim.faults.locked_out = false;
    sim.world.site("b").manner = Manner::Takes;
    sim.minutes(90);
    assert_eq!(sim.run(ROTATE).end, End::Done);
    assert_eq!(sim.holds("b"), Some(sim.secret(2)));
}

#[test]
fn a_secret_that_a_person_deleted_under_way_is_replaced() {
    let mut sim = failing(Manner::Refuses);
    sim.run(ROTATE);
    sim.minutes(90);
    sim.world.site("b").manner = Manner::Takes;
    let second = sim.secret(2);
    sim.world.person_deletes(&second);
    assert_eq!(sim.run(ROTATE).end, End::Done);
    assert_eq!(condemnations(&sim.world)[&second], Condemnation::VerificationFailed);
    assert_eq!((sim.holds("a"), sim.holds("b")), (Some(sim.secret(3)), Some(sim.secret(3))));
}

#[test]
fn a_generation_that_expires_under_way_is_replaced() {
    let mut sim = failing(Manner::Refuses);
    sim.run(ROTATE);
    sim.days(20);
    sim.world.site("b").manner = Manner::Takes;
    assert_eq!(sim.run(ROTATE).end, End::Done);
    assert_eq!(sim.holds("a"), Some(sim.secret(3)));
}

fn loses_its_value(sim: &mut Sim) {
    sim.run(ROTATE);
    let second = sim.secret(2);
    assert!(sim.world.slots.remove(&second));
    sim.minutes(90);
    let ran = sim.run(ROTATE);
    assert_eq!((ran.code(), ran.state.phase()), (Some("value-lost"), Phase::Quarantined));
    assert!(sim.world.alive(&second));
    assert_eq!(sim.run(Goal::Reapply { refresh: false }).code(), Some("value-lost"));
}

#[test]
fn a_value_lost_after_the_first_wave_quarantines_until_it_is_back() {
    let mut sim = failing(Manner::Refuses);
    loses_its_value(&mut sim);
    sim.world.site("b").manner = Manner::Takes;
    sim.world.slots.insert(sim.secret(2));
    let ran = sim.run(ROTATE);
    assert_eq!((ran.end, sim.holds("b")), (End::Done, Some(sim.secret(2))));
}

#[test]
fn a_value_lost_after_the_first_wave_is_given_up_by_force() {
    let mut sim = failing(Manner::Refuses);
    loses_its_value(&mut sim);
    sim.world.site("b").manner = Manner::Takes;
    assert_eq!(sim.run(FORCE).end, End::Done);
    assert_eq!((sim.holds("a"), sim.holds("b")), (Some(sim.secret(3)), Some(sim.secret(3))));
    sim.days(2);
    sim.run(ROTATE);
    sim.nothing_is_lost();
}

#[test]
fn force_does_not_decide_what_nobody_has_looked_at() {
    let mut sim = failing(Manner::Refuses);
    sim.run(ROTATE);
    sim.world.slots.clear();
    sim.minutes(90);
    let ran = sim.run(FORCE);
    assert_eq!(ran.code(), Some("value-lost"), "quarantined in this very run");
    assert_eq!(sim.events(|event| matches!(event, Event::Unquarantined { .. })), 0);
}

#[test]
fn a_value_lost_after_promotion_neither_blocks_nor_unmakes_the_current_generation() {
    let mut sim = Sim { world: super::World::new(&[]).with_copy("copy"), ..Sim::new(&[]) };
    let mut runner = sim.open(ROTATE).unwrap();
    while runner.state.current.is_none() {
        assert_eq!(runner.turn(&mut sim.world, &mut sim.faults), None);
    }
    drop::<Runner>(runner);
    sim.world.slots.clear();
    sim.world.stored = None;
    assert_eq!(sim.run(ROTATE).code(), Some("value-lost"));
    assert!(sim.world.alive(&sim.secret(1)));
    // The copy still lacks a value that nobody has any more; a new rotation mends both.
    assert_eq!(sim.run(ROTATE).end, End::Done);
    sim.rotates();
    assert_eq!(sim.holds("file:copy"), Some(sim.secret(2)));
}

#[test]
fn reapply_sends_the_current_generation_again_and_restarts_grace() {
    let mut sim = Sim::rotated(&["a", "b"]);
    sim.days(8);
    sim.rotates();
    sim.world.site("a").holds = None;
    sim.world.site("b").manner = Manner::Refuses;
    sim.minutes(23 * 60);
    let ran = sim.run(Goal::Reapply { refresh: false });
    assert_eq!((ran.end, &ran.settled[..]), (End::Done, &[(PlanKind::Reapply, None)][..]));
    assert_eq!(sim.holds("a"), Some(sim.secret(2)));
    let holder = ran.state.place(&TargetId::new("b")).unwrap().clone();
    assert_eq!((holder.attempts, holder.failures.map(|failures| failures.parked)), (3, Some(false)));
    assert_eq!(sim.world.creates, 2);
    sim.minutes(3 * 60);
    sim.run(ROTATE);
    assert!(sim.world.exists(&sim.secret(1)), "grace counts from the reapply");
    sim.days(1);
    sim.run(ROTATE);
    assert!(!sim.world.exists(&sim.secret(1)));
}

#[test]
fn rotate_finishes_an_interrupted_reapply_and_then_does_its_own_work() {
    let mut sim = Sim::rotated(&["a"]);
    sim.dies(Goal::Reapply { refresh: false }, 2);
    assert_eq!(sim.state().phase(), Phase::Applying);
    sim.days(8);
    let ran = sim.run(ROTATE);
    assert_eq!(ran.settled, [(PlanKind::Reapply, None), (PlanKind::Rotate, None)]);
}

#[test]
fn reapply_needs_a_current_generation_that_signs_in() {
    let mut sim = Sim::new(&["a"]);
    assert_eq!(sim.run(Goal::Reapply { refresh: false }).code(), Some("nothing-to-reapply"));
    sim.rotates();
    sim.faults.locked_out = true;
    let ran = sim.run(Goal::Reapply { refresh: false });
    assert_eq!((ran.end.clone(), ran.code()), (End::Done, Some("verification-failed")));
    assert!(sim.world.alive(&sim.secret(1)));
    sim.faults.locked_out = false;
    (sim.world.stored, sim.world.slots) = (None, [].into());
    assert_eq!(sim.run(Goal::Reapply { refresh: false }).code(), Some("value-lost"));
}
