//! What the fold takes while slices of a wave are out, and what their end leaves behind.

use jiff::SignedDuration;

use super::fold::{ended, intended, lease, minted, now, opened, verified};
use crate::ids::{Generation, RunnerId, TargetId};
use crate::rotation::event::{Event, Fate, Turn};
use crate::rotation::state::State;

fn wave(generation: u32, slice_size: Option<u32>) -> Event {
    Event::WaveStarted { generation: Generation(generation), targets: vec![TargetId::new("a")], slice_size }
}

/// A rotation whose wave is out, and what follows.
fn out(events: &[Event]) -> Result<State, &'static str> {
    opened(&[&[intended(2), minted(2, 2, "x"), verified(2), wave(2, Some(1))], events].concat())
}

#[test]
fn while_slices_are_out_only_their_end_a_turn_or_the_next_lease_may_follow() {
    for event in [
        Event::LeaseReleased,
        Event::LeaseRenewed { until: now() },
        Event::Promoted { generation: Generation(2) },
        Event::Settled { problem: None },
        wave(2, None),
    ] {
        assert_eq!(out(std::slice::from_ref(&event)).map(drop), Err("slices of a wave are out"), "{event:?}");
    }
    let early = "a lease is taken while slices of a wave are out under another";
    assert_eq!(out(&[lease(3)]).map(drop), Err(early));
    let turn = Turn::Rollback { to: Some(Generation(1)), canary: None };
    let turned = Event::Turned { turn, reason: String::new(), operation: None };
    assert!(out(&[turned, ended(Fate::NotTried)]).is_ok());
    let nothing = Event::WaveEnded { results: Vec::new(), counted: Vec::new() };
    assert_eq!(out(&[nothing]).map(drop), Err("a wave ends before all of its slices have"));
}

#[test]
fn whoever_finishes_last_ends_the_wave_and_its_lease() {
    let mut state = out(&[]).unwrap();
    let seq = state.wave_out().unwrap().number + 1;
    state.apply(seq, now(), &RunnerId::new("worker"), &ended(Fate::Moved)).unwrap();
    assert!(state.lease.is_none() && state.wave_out().is_none());
    assert_eq!(state.holders[&TargetId::new("a")].confirmed, Some(Generation(2)));
}

#[test]
fn until_its_lease_would_have_ended_a_wave_may_land_once_more() {
    let landed = now() + SignedDuration::from_hours(1) + SignedDuration::from_mins(5);
    for fate in [Fate::Moved, Fate::Refused, Fate::NotTried, Fate::Unknown] {
        let state = out(&[ended(fate)]).unwrap();
        assert_eq!(state.holders[&TargetId::new("a")].in_flight, Some((Generation(2), landed)), "{fate:?}");
    }
    let sent = |generation| out(&[ended(Fate::Moved), lease(3), wave(generation, None)]).map(drop);
    assert_eq!(sent(1), Err("a generation is sent while another may still land"));
    assert_eq!(sent(2), Ok(()));
}

#[test]
fn when_the_lease_is_over_whatever_was_heard_of_counts() {
    let mut state = out(&[]).unwrap();
    let over = now() + SignedDuration::from_mins(63);
    let seq = state.wave_out().unwrap().number + 1;
    let nothing = Event::WaveEnded { results: Vec::new(), counted: Vec::new() };
    state.apply(seq, over, &RunnerId::new("schedule"), &nothing).unwrap();
    let holder = &state.holders[&TargetId::new("a")];
    assert!(holder.may_hold.contains(&Generation(2)) && holder.failures.is_none(), "{holder:?}");
    assert_eq!(holder.in_flight.unwrap().0, Generation(2));
}
