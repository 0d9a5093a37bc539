//! Rotations that Secrets Manager leads: each step goes as far as it may, again and again, and whatever becomes of the one
//! who asks, the schedule brings the rotation to its end.

use jiff::SignedDuration;

use super::{End, Goal, ROTATE, Ran, Sim};
use crate::ids::{Generation, TargetId};
use crate::report::Phase;
use crate::rotation::event::{Event, Turn};
use crate::rotation::led::{ABANDONED_AFTER, LedStep, Rest, has_moved, rest};
use crate::rotation::next::Step;
use crate::rotation::state::Failures;

const STEPS: [LedStep; 4] = [LedStep::CreateSecret, LedStep::SetSecret, LedStep::TestSecret, LedStep::FinishSecret];

impl Sim {
    /// One step, as Secrets Manager asks for it.
    pub(super) fn step(&mut self, step: LedStep) -> Ran {
        let mut led = self.open(Goal::Step(step));
        if let Ok(runner) = &mut led {
            let token = "token".to_owned();
            // A test asks for nothing to be moved or promoted until it has proved the secret.
            runner.record(&mut self.world, Event::Led { token, step }).unwrap();
        }
        let mut runner = led.unwrap_or_else(|end| panic!("{end:?}"));
        loop {
            if let Some(end) = runner.turn(&mut self.world, &mut self.faults) {
                return Ran { end, state: runner.state, settled: runner.seen.settled, trace: runner.trace };
            }
        }
    }

    fn step_dies(&mut self, step: LedStep, point: u32) -> bool {
        self.faults.crash_in = Some(point);
        let ran = self.step(step);
        self.faults.crash_in = None;
        ran.end == End::Crashed
    }
}

fn phase_after(step: LedStep) -> Phase {
    match step {
        LedStep::CreateSecret => Phase::Verified,
        LedStep::SetSecret | LedStep::TestSecret => Phase::Applying,
        LedStep::FinishSecret => Phase::Draining,
    }
}

#[test]
fn steps_have_the_words_of_secrets_manager() {
    assert_eq!(STEPS.map(LedStep::as_str), ["createSecret", "setSecret", "testSecret", "finishSecret"]);
    assert_eq!(STEPS.map(|step| LedStep::parse(step.as_str())), STEPS.map(Some));
    assert_eq!(["", "CreateSecret", "deleteSecret"].map(LedStep::parse), [None; 3]);
}

#[test]
fn it_has_moved_when_each_target_has_or_is_parked() {
    let mut sim = Sim::rotated(&["a", "b"]);
    assert!(!has_moved(&sim.state()), "nothing is open");
    let mut created = sim.step(LedStep::CreateSecret).state;
    assert!(!has_moved(&created));
    let parked =
        Box::new(Failures { since: sim.world.now, last: sim.world.now, count: 9, refusals: 9, problem: None, parked: true });
    let targets: Vec<TargetId> = created.open.as_ref().unwrap().targets().cloned().collect();
    for (id, is_last) in targets.iter().zip([false, true]) {
        created.holder_mut(id).unwrap().failures = Some(parked.clone());
        assert_eq!(has_moved(&created), is_last);
    }
    assert!(has_moved(&sim.step(LedStep::SetSecret).state));
}

#[test]
fn each_step_goes_so_far_and_no_further_however_often_it_is_asked_for() {
    let mut sim = Sim::rotated(&["a", "b"]);
    let first = sim.secret(1);
    for step in STEPS {
        for _ in 0..2 {
            let ran = sim.step(step);
            assert_eq!(ran.state.phase(), phase_after(step), "{step:?}: {:?}", ran.trace);
            // An hourly schedule that comes in between leaves it alone.
            let ran = sim.run(ROTATE);
            assert_eq!(ran.state.phase(), phase_after(step), "the schedule after {step:?}");
        }
        let moved = step >= LedStep::SetSecret;
        assert_eq!(sim.holds("a") == Some(sim.secret(2)), moved, "{step:?}");
        assert_eq!(sim.world.stored == Some(sim.secret(2)), step == LedStep::FinishSecret, "{step:?}");
        assert!(sim.world.alive(&first), "the old secret after {step:?}");
    }
    assert_eq!(sim.world.creates, 2, "one secret a rotation");
    // Grace passes; only the schedule retires.
    sim.days(2);
    assert_eq!(sim.step(LedStep::FinishSecret).end, End::Done);
    assert!(sim.world.exists(&first));
    assert_eq!(sim.run(ROTATE).state.phase(), Phase::Idle);
    assert!(!sim.world.exists(&first));
    sim.nothing_is_lost();
}

#[test]
fn a_step_may_die_at_any_point_and_is_asked_for_again() {
    for dying in STEPS {
        for point in 0.. {
            let mut sim = Sim::rotated(&["a", "b"]);
            let mut died = false;
            for step in STEPS {
                if step == dying {
                    died = sim.step_dies(step, point);
                }
                let ran = sim.step(step);
                assert_eq!(ran.state.phase(), phase_after(step), "{dying:?} at {point}, {step:?}: {:?}", ran.trace);
            }
            sim.days(3);
            assert_eq!(sim.run(ROTATE).state.phase(), Phase::Idle, "{dying:?} at {point}");
            assert_eq!(sim.world.stored, Some(sim.secret(sim.state().current.unwrap().0)), "{dying:?} at {point}");
            sim.nothing_is_lost();
            if !died {
                break;
            }
        }
    }
}

#[test]
fn what_is_abandoned_at_any_point_the_schedule_finishes() {
    for last in STEPS {
        for point in 0.. {
            let mut sim = Sim::rotated(&["a", "b"]);
            let mut died = false;
            for step in STEPS.into_iter().filter(|step| *step <= last) {
                match step == last {
                    true => died = sim.step_dies(step, point),
                    false => drop(sim.step(step)),
                }
            }
            // Every hour for a day.
            for _ in 0..24 {
                sim.minutes(60);
                sim.run(ROTATE);
            }
            let state = sim.state();
            assert!(!state.phase().is_open(), "{last:?} at {point}: {:?}", state.phase());
            let current = sim.secret(state.current.unwrap().0);
            assert_eq!(sim.holds("a"), Some(current.clone()), "{last:?} at {point}");
            assert_eq!(sim.world.stored, Some(current), "{last:?} at {point}");
            if !died {
                break;
            }
        }
    }
}

#[test]
fn the_schedule_waits_for_the_next_step_for_a_while_only() {
    let mut sim = Sim::rotated(&["a"]);
    let created = sim.step(LedStep::CreateSecret).state;
    let over = created.led.as_ref().unwrap().at + ABANDONED_AFTER;
    let rests = |now| rest(&created, Rest::BeforeMoving, now).is_some();
    assert_eq!([over - SignedDuration::from_secs(1), over].map(rests), [true, false]);
    sim.world.pass(ABANDONED_AFTER - SignedDuration::from_mins(5));
    let ran = sim.run(ROTATE);
    assert!(matches!(ran.end, End::Waiting(_)), "{:?}", ran.end);
    assert!(matches!(ran.trace.last(), Some(Step::Rest { next: LedStep::SetSecret, .. })), "{:?}", ran.trace);
    sim.minutes(6);
    assert_eq!(sim.run(ROTATE).state.phase(), Phase::Draining);
}

#[test]
fn a_step_rotates_what_is_fresh_but_not_what_a_person_holds() {
    let mut sim = Sim::rotated(&["a"]);
    sim.rotates();
    sim.rolls_back(1);
    assert_eq!(sim.step(LedStep::CreateSecret).code(), Some("held"));
    assert_eq!(sim.holds("a"), Some(sim.secret(1)));
}

#[test]
fn a_rollback_ends_what_secrets_manager_leads() {
    let mut sim = Sim::rotated(&["a", "b"]);
    sim.step(LedStep::CreateSecret);
    sim.step(LedStep::SetSecret);
    sim.rolls_back(1);
    assert_eq!((sim.holds("a"), sim.state().held.is_some()), (Some(sim.secret(1)), true));
    // The next step finds nothing that it could go on with.
    let ran = sim.step(LedStep::FinishSecret);
    assert_eq!((ran.end, ran.state.current), (End::Done, Some(Generation(1))));
    assert!(ran.settled.is_empty());
}

#[test]
fn a_step_takes_over_what_the_schedule_has_begun() {
    for point in 0.. {
        let mut sim = Sim::rotated(&["a", "b"]);
        sim.days(8);
        let died = sim.dies(ROTATE, point);
        let settled = !sim.state().phase().is_open() && sim.state().current == Some(Generation(2));
        if !settled {
            for step in STEPS {
                let ran = sim.step(step);
                let ended = step == LedStep::FinishSecret;
                assert_eq!(ran.state.phase().is_open(), !ended, "{step:?} at {point}: {:?}", ran.trace);
            }
        }
        assert_eq!(sim.holds("a"), Some(sim.secret(sim.state().current.unwrap().0)), "at {point}");
        if !died {
            return;
        }
    }
}

#[test]
fn a_turn_back_of_a_failed_canary_is_not_held_up() {
    let mut sim = Sim::rotated(&["a", "b"]);
    sim.step(LedStep::CreateSecret);
    sim.asks(Turn::Rollback { to: Some(Generation(1)), canary: None });
    // The schedule carries it out although Secrets Manager leads.
    let ran = sim.run(ROTATE);
    assert_eq!((ran.end, ran.state.held.is_some()), (End::Done, true), "{:?}", ran.trace);
}
