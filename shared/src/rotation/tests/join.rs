//! Targets that appear between rotations get the current generation at once, and hold nothing else up.

use super::runner::End;
use super::world::Manner;
use super::{ROTATE, Sim};
use crate::ids::TargetId;
use crate::report::Phase;
use crate::rotation::event::PlanKind;
use crate::rotation::next::Step;

/// `b` exists, but is not selected at first.
fn grown() -> Sim {
    let mut sim = Sim::new(&["a", "b"]);
    sim.world.selection.remove(&TargetId::new("b"));
    sim.rotates();
    sim.days(3);
    sim.run(ROTATE);
    assert_eq!(sim.state().phase(), Phase::Idle);
    sim.world.selection.insert(TargetId::new("b"));
    sim
}

#[test]
fn a_target_that_appears_gets_the_current_generation_without_a_rotation() {
    let mut sim = grown();
    let ran = sim.run(ROTATE);
    assert_eq!((ran.end.clone(), &ran.settled[..]), (End::Done, &[(PlanKind::Join, None)][..]), "{:?}", ran.trace);
    assert_eq!((sim.holds("b"), sim.world.creates), (Some(sim.secret(1)), 1));
    let sent: Vec<&Step> = ran.trace.iter().filter(|step| matches!(step, Step::Wave { .. })).collect();
    assert!(matches!(sent[..], [Step::Wave { targets, .. }] if *targets == [TargetId::new("b")]), "{sent:?}");
    let entries = sim.world.journal.len();
    assert_eq!(sim.run(ROTATE).settled, [], "once is enough");
    assert_eq!(sim.world.journal.len(), entries + 2, "the lease alone");
}

#[test]
fn a_target_that_appears_and_takes_nothing_is_tried_by_each_run_and_blocks_no_rotation() {
    let mut sim = grown();
    sim.world.site("b").manner = Manner::Refuses;
    for _ in 0..3 {
        let ran = sim.run(ROTATE);
        assert_eq!((ran.end, &ran.settled[..]), (End::Done, &[(PlanKind::Join, None)][..]));
        sim.minutes(60);
    }
    sim.days(5);
    assert!(matches!(sim.run(ROTATE).end, End::Waiting(_)));
    assert_eq!(sim.holds("a"), Some(sim.secret(2)));
}

#[test]
fn a_target_that_vanished_and_came_back_is_sent_the_current_generation() {
    let mut sim = Sim::rotated(&["a", "b"]);
    sim.world.selection.remove(&TargetId::new("b"));
    sim.days(8);
    sim.rotates();
    assert_eq!(sim.holds("b"), Some(sim.secret(1)));
    sim.world.selection.insert(TargetId::new("b"));
    sim.minutes(10);
    assert_eq!(sim.run(ROTATE).end, End::Done);
    assert_eq!(sim.holds("b"), Some(sim.secret(2)));
    sim.days(2);
    assert_eq!(sim.run(ROTATE).state.phase(), Phase::Idle);
    sim.nothing_is_lost();
}

#[test]
fn a_parked_target_waits_for_the_next_rotation() {
    let mut sim = Sim::rotated(&["a", "b"]);
    sim.world.site("b").manner = Manner::Refuses;
    sim.days(8);
    for _ in 0..27 {
        sim.run(ROTATE);
        sim.minutes(60);
    }
    let writes = |sim: &mut Sim| sim.run(ROTATE).trace.iter().filter(|step| matches!(step, Step::Wave { .. })).count();
    assert_eq!(sim.state().phase(), Phase::Draining);
    assert_eq!(writes(&mut sim), 0);
}
