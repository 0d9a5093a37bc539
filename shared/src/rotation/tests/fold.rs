//! The fold refuses what cannot follow, whoever wrote it.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::runner::plan;
use super::world::By;
use super::{Sim, at};
use crate::error::Problem;
use crate::ids::{DatasetId, Generation, RunnerId, SecretId, TargetId};
use crate::rotation::event::{Condemnation, Event, Fate, PlanKind, TakenOver, WaveResult};
use crate::rotation::state::State;
use crate::targets::{DatasetRef, TargetSpec};

const ME: &str = "me";

pub(super) fn now() -> Timestamp {
    at("2026-12-01T00:00:00Z")
}

pub(super) fn lease(epoch: u64) -> Event {
    Event::LeaseTaken { epoch, until: now() + SignedDuration::from_hours(1), landing_ms: 300_000 }
}

/// A state with generation 1 everywhere and a rotation to generation 2 open, and what it must not be told.
pub(super) fn opened(events: &[Event]) -> Result<State, &'static str> {
    let sim = Sim::rotated(&["a"]);
    let mut state = sim.state();
    let mut seq = sim.world.journal.len() as u64;
    let planned = Event::Planned(Arc::new(plan(&sim.world, &state, PlanKind::Rotate, String::new())));
    for event in [lease(state.epoch + 1), planned].iter().chain(events) {
        seq += 1;
        state.apply(seq, now(), &RunnerId::new(ME), event).map_err(|illegal| {
            assert_eq!(illegal.seq, seq);
            illegal.reason
        })?;
    }
    Ok(state)
}

fn refuses(events: &[Event], reason: &str) {
    assert!(opened(&events[..events.len() - 1]).is_ok(), "{:?}", opened(&events[..events.len() - 1]));
    assert_eq!(opened(events).map(drop).unwrap_err(), reason);
}

pub(super) fn intended(attempt: u32) -> Event {
    Event::MintIntended { attempt, known: BTreeSet::new(), lifetime_s: 1_000 }
}

pub(super) fn minted(attempt: u32, generation: u32, id: &str) -> Event {
    let sim = Sim::rotated(&[]);
    let mut minted = sim.state().generations[&Generation(1)].minted.clone();
    (minted.attempt, minted.generation, minted.secret_id) = (attempt, Generation(generation), SecretId::new(id));
    Event::Minted(minted)
}

pub(super) fn condemned(id: &str, reason: Condemnation) -> Event {
    Event::Condemned { secret_id: SecretId::new(id), reason }
}

pub(super) fn verified(generation: u32) -> Event {
    Event::Verified { generation: Generation(generation) }
}

pub(super) fn wave(generation: u32) -> Event {
    Event::WaveStarted { generation: Generation(generation), targets: vec![TargetId::new("a")], slice_size: None }
}

pub(super) fn ended(fate: Fate) -> Event {
    let result = WaveResult { target: TargetId::new("a"), at: now(), fate, earlier_may_land: false, problem: None };
    Event::WaveEnded { results: vec![result], counted: Vec::new() }
}

#[test]
fn a_lease_is_taken_in_order_and_only_its_holder_writes() {
    let mut state = State::default();
    let me = RunnerId::new(ME);
    assert_eq!(state.apply(1, now(), &me, &lease(2)).unwrap_err().reason, "a lease skips an epoch");
    assert!(state.apply(1, now(), &me, &Event::LeaseReleased).is_err());
    state.apply(1, now(), &me, &lease(1)).unwrap();
    let other = RunnerId::new("other");
    let problem = Problem::new("x", "x");
    let reason = "it is by a runner that does not hold the lease";
    assert_eq!(state.apply(2, now(), &other, &Event::Quarantined { problem }).unwrap_err().reason, reason);
    assert_eq!(state.apply(2, now(), &other, &Event::LeaseRenewed { until: now() }).unwrap_err().reason, reason);
    state.apply(2, now(), &other, &lease(2)).unwrap();
    assert!(state.apply(3, now(), &me, &Event::LeaseRenewed { until: now() }).is_err());
}

#[test]
fn what_an_ended_epoch_had_under_way_lands_within_landing_of_its_last_sign() {
    let state = opened(&[intended(2), lease(3)]).unwrap();
    let crate::rotation::state::AttemptFate::Unanswered { until } = state.attempts[1].fate else {
        panic!("{:?}", state.attempts)
    };
    assert_eq!(until, now() + SignedDuration::from_mins(5));
}

#[test]
fn mints_are_in_order_one_at_a_time_and_counted_once() {
    refuses(&[intended(3)], "a mint attempt is out of number");
    refuses(&[intended(2), intended(3)], "a mint while one is under way");
    refuses(&[intended(2), minted(2, 2, "x"), intended(3)], "a mint although the plan has a secret");
    refuses(&[intended(2), minted(2, 3, "x")], "a secret or a generation is minted twice");
    refuses(&[intended(2), minted(7, 2, "x")], "a secret of an attempt that was never intended");
    refuses(&[intended(2), condemned("x", Condemnation::Stray), minted(2, 2, "x")], "a condemned secret is adopted");
    refuses(&[Event::MintUnanswered { attempt: 1 }], "an attempt ends that is not under way");
    refuses(&[intended(2), Event::Settled { problem: None }, intended(3)], "a mint outside a plan");
}

#[test]
fn what_is_condemned_or_unverified_is_not_used() {
    let made = [intended(2), minted(2, 2, "x")];
    let with = |events: &[Event]| made.iter().chain(events).cloned().collect::<Vec<_>>();
    refuses(&with(&[wave(2)]), "an unverified generation is sent");
    refuses(&with(&[Event::Promoted { generation: Generation(2) }]), "an unverified generation is promoted");
    let gone = condemned("x", Condemnation::VerificationFailed);
    refuses(&with(&[verified(2), gone.clone(), wave(2)]), "a condemned secret is used");
    refuses(&with(&[verified(2), gone.clone(), Event::Promoted { generation: Generation(2) }]), "a condemned secret is used");
    refuses(&with(&[gone.clone(), verified(2)]), "a condemned secret is used");
    refuses(&with(&[gone.clone(), gone]), "a secret is condemned twice");
    refuses(&[wave(9)], "a generation is used that was never minted");
    refuses(&[Event::Promoted { generation: Generation(1) }], "a generation is promoted that is not the plan's");
}

#[test]
fn what_a_place_may_hold_is_not_condemned() {
    let current = Sim::rotated(&["a"]).secret(1).to_string();
    refuses(&[condemned(&current, Condemnation::Expired)], "the current generation is condemned");
    let held = "a secret is condemned that a place may hold";
    let made = [intended(2), minted(2, 2, "x"), verified(2), wave(2), ended(Fate::Moved)];
    for reason in [Condemnation::Stray, Condemnation::ValueLost, Condemnation::OverCap, Condemnation::Retired] {
        let events: Vec<Event> = made.iter().cloned().chain([condemned("x", reason)]).collect();
        refuses(&events, held);
    }
    let promoted =
        [made.to_vec(), vec![Event::Promoted { generation: Generation(2) }, condemned(&current, Condemnation::Retired)]];
    assert!(opened(&promoted.concat()).is_ok());
}

#[test]
fn no_second_generation_is_sent_while_one_may_land() {
    let flying = [intended(2), minted(2, 2, "x"), verified(2), wave(2), ended(Fate::Unknown)];
    let events: Vec<Event> = flying.iter().cloned().chain([wave(1)]).collect();
    refuses(&events, "a generation is sent while another may still land");
    let same: Vec<Event> = flying.iter().cloned().chain([wave(2)]).collect();
    assert!(opened(&same).is_ok());
    refuses(&[wave(1), wave(1)], "a wave begins while one is under way");
    refuses(&[ended(Fate::Moved)], "a wave ends that never began");
    let mut moved = flying.to_vec();
    let Some(Event::WaveEnded { results, .. }) = moved.last_mut() else { panic!("it ends a wave") };
    (results[0].fate, results[0].earlier_may_land) = (Fate::Moved, true);
    refuses(&[moved, vec![wave(1)]].concat(), "a generation is sent while another may still land");
    let nowhere = Event::WaveStarted { generation: Generation(1), targets: vec![TargetId::new("nowhere")], slice_size: None };
    refuses(&[nowhere], "a generation is sent to a place in no plan");
}

#[test]
fn a_later_end_of_the_same_flight_is_not_forgotten() {
    let shorter = Event::LeaseTaken { epoch: 3, until: now() + SignedDuration::from_hours(1), landing_ms: 1_000 };
    let sent = [intended(2), minted(2, 2, "x"), verified(2), wave(2), ended(Fate::Unknown)];
    let state = opened(&[&sent[..], &[shorter, wave(2), lease(4)]].concat()).unwrap();
    let flight = state.holders[&TargetId::new("a")].in_flight;
    assert_eq!(flight, Some((Generation(2), now() + SignedDuration::from_mins(5))));
}

#[test]
fn plans_deletes_and_beginnings_have_their_place() {
    let planned = || {
        let sim = Sim::rotated(&["a"]);
        Event::Planned(Arc::new(plan(&sim.world, &sim.state(), PlanKind::Rotate, String::new())))
    };
    refuses(&[planned()], "a plan is made while one is open, or before the first look");
    let settled = Event::Settled { problem: None };
    refuses(&[settled.clone(), settled.clone()], "nothing is open that could be settled");
    refuses(&[settled.clone(), Event::Granted], "grants outside a plan");
    refuses(&[settled, Event::TakeOverStarted { datasets: Vec::new() }], "a take-over outside a plan");
    let begun = Sim::rotated(&[]).state().begun.unwrap();
    refuses(&[Event::Begun(begun)], "the journal begins twice");
    refuses(&[Event::Deleted { secret_id: SecretId::new("x") }], "a secret was deleted that was never condemned");
}

#[test]
fn a_forgotten_place_gates_nothing_and_is_forgotten_only_when_nothing_may_land_there() {
    let forgotten = Event::Forgotten { target: TargetId::new("a") };
    let sent = [intended(2), minted(2, 2, "x"), verified(2), wave(2)];
    let flying = [&sent[..], &[ended(Fate::Unknown), forgotten.clone()]].concat();
    refuses(&flying, "a place is forgotten while a write may still land there");
    let state = opened(&[&sent[..], &[ended(Fate::Refused), forgotten.clone()]].concat()).unwrap();
    assert_eq!(state.gates(Generation(1)).count() + state.gates(Generation(2)).count(), 0);
    assert!(state.open.unwrap().waves.iter().all(|wave| wave.is_empty()));
    refuses(&[forgotten.clone(), forgotten], "a place is forgotten that is in no plan");
}

#[test]
fn a_data_source_waits_for_each_of_its_datasets_in_turn_until_the_last_has_left_it() {
    let mut sim = Sim::rotated(&["a"]);
    sim.world.site("a").dataset = Some((DatasetId::new("first"), By::Person));
    let mut plan = plan(&sim.world, &sim.state(), PlanKind::Rotate, String::new());
    let spec = Arc::make_mut(&mut plan.waves[0][0]);
    let first = spec.datasets[0].clone();
    let second = DatasetRef { id: DatasetId::new("second"), ..first.clone() };
    spec.datasets.push(second.clone());
    let taken = |dataset: &DatasetRef, target: &str, problem: Option<Problem>| {
        let targets = vec![TargetSpec {
            id: TargetId::new(target),
            datasets: vec![dataset.clone()],
            take_over: None,
            ..TargetSpec::clone(&plan.waves[0][0])
        }];
        let targets = if problem.is_some() { Vec::new() } else { targets };
        Event::TakenOver { results: vec![TakenOver { dataset: dataset.clone(), targets, problem }] }
    };
    let after = |events: &[Event]| {
        let planned = [Event::Settled { problem: None }, Event::Planned(Arc::new(plan.clone()))];
        opened(&[&planned[..], events].concat()).unwrap()
    };
    let targets = |state: &State| state.open.as_ref().unwrap().targets().map(ToString::to_string).collect::<Vec<_>>();
    let (a, one) = (TargetId::new("a"), taken(&first, "one", None));

    let state = after(std::slice::from_ref(&one));
    assert_eq!(targets(&state), ["a", "one"]);
    assert_eq!(state.place(&a).unwrap().spec.as_ref().unwrap().take_over, Some(second.id.clone()));
    let state = after(&[one.clone(), taken(&second, "two", Some(Problem::new("forbidden", "no")))]);
    assert_eq!(state.place(&a).unwrap().failures.as_ref().unwrap().count, 1);
    let state = after(&[one, taken(&second, "two", None)]);
    assert_eq!(targets(&state), ["one", "two"]);
    assert!(!state.place(&a).unwrap().planned && state.gates(Generation(1)).any(|id| *id == a), "what it may hold still gates");
}

#[test]
fn a_new_target_gates_all_that_lives_and_a_moved_one_only_what_it_took() {
    let mut sim = Sim::rotated(&["a"]);
    sim.world.sites.insert(TargetId::new("b"), sim.world.sites[&TargetId::new("a")].clone());
    sim.world.selection.insert(TargetId::new("b"));
    sim.world.site("b").manner = super::world::Manner::Refuses;
    sim.run(super::FORCE);
    let state = sim.state();
    assert_eq!(state.gates(Generation(1)).collect::<Vec<_>>(), [&TargetId::new("b")]);
    assert_eq!(state.gates(Generation(2)).count(), 2);
}

#[test]
fn an_event_is_read_back_as_it_was_written() {
    let sim = Sim::rotated(&["a", "b"]);
    let plan = plan(&sim.world, &sim.state(), PlanKind::Rotate, String::new());
    for event in [Event::Planned(Arc::new(plan)), Event::Granted, intended(3), minted(3, 2, "s"), lease(7)] {
        let text = serde_json::to_string(&event).unwrap();
        assert!(text.starts_with(r#"{"type":""#), "{text}");
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["type"] == "planned", matches!(event, Event::Planned(_)), "{text}");
    }
    for broken in ["{}", r#"{"epoch":1,"type":"granted"}"#, r#"{"type":"planned"}"#, r#"{"type":"unheard-of"}"#, "[]"] {
        assert!(serde_json::from_str::<Event>(broken).is_err(), "{broken}");
    }
}
