//! When a rotation is due.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::runner::{End, policy};
use super::world::By;
use super::{FORCE, ROTATE, Sim, World};
use crate::config::schedule::{Calendar, Window};
use crate::ids::{DatasourceId, Generation, TargetId};
use crate::rotation::due::{Due, due, is_resting};
use crate::rotation::event::Turn;
use crate::rotation::next::Policy;
use crate::rotation::state::{Holder, State};

/// No window, and a freeze for ever.
fn never() -> Calendar {
    Calendar::new(None, vec![("2000-01-01".parse().unwrap(), Date::MAX)], "")
}

fn never_due() -> Policy {
    Policy { calendar: never(), rotate_every: None, ..policy() }
}

/// A calendar whose turn comes first in its window.
fn window(cron: &str, hours: u64, freeze: &[(&str, &str)]) -> Calendar {
    let window = Window::new(cron, "UTC", Duration::from_secs(hours * 3_600)).unwrap();
    let freeze = freeze.iter().map(|(first, last)| (first.parse().unwrap(), last.parse().unwrap())).collect();
    let first = |name: &String| Calendar::new(None, Vec::new(), name).share(Duration::from_secs(1_000)).is_zero();
    let name = (0..).map(|number| number.to_string()).find(first).unwrap();
    Calendar::new(Some(window), freeze, &name)
}

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
fn it_is_due_while_three_tries_an_hour_apart_leave_an_hour() {
    let sim = Sim::rotated(&["a"]);
    let seldom = Policy { rotate_every: Some(SignedDuration::from_hours(24 * 30)), ..policy() };
    let expires_at = sim.state().generations[&Generation(1)].minted.expires_at.unwrap();
    let at = expires_at - SignedDuration::from_hours(4);
    let early = asked(&sim, &seldom, at - SignedDuration::from_secs(1));
    assert_eq!((early.due, early.at), (false, Some(at)));
    assert_eq!(early.reason, "generation 1 is fresh; it is rotated before it expires");
    let as_long = Policy { rotate_every: Some(at.duration_since(created(&sim))), ..policy() };
    let early = asked(&sim, &as_long, at - SignedDuration::from_secs(1));
    assert!(early.reason.contains("it reaches `rotate_every`"), "{}", early.reason);
    let now = asked(&sim, &seldom, at);
    assert!(now.due && now.reason.starts_with("generation 1: its expiry comes near"), "{}", now.reason);
}

#[test]
fn with_windows_it_is_due_in_time_for_two_more_of_them() {
    let sim = Sim::rotated(&["a"]);
    // It expires on 2026-11-16, a little before 08:00; windows are an hour from 02:00, and a run in one fails once.
    let daily =
        Policy { rotate_every: Some(SignedDuration::from_hours(24 * 30)), calendar: window("0 2 * * *", 1, &[]), ..policy() };
    let due = |text: &str| asked(&sim, &daily, text.parse().unwrap()).due;
    assert!(!due("2026-11-13T02:00:00Z"), "three more windows follow");
    assert!(due("2026-11-14T02:00:00Z"), "two more follow");
    let between = asked(&sim, &daily, "2026-11-14T12:00:00Z".parse().unwrap());
    assert_eq!((between.due, between.at), (false, Some("2026-11-15T02:00:00Z".parse().unwrap())), "{}", between.reason);
}

#[test]
fn a_freeze_is_met_by_rotating_before_it_and_broken_only_at_the_last_moment() {
    let sim = Sim::rotated(&["a"]);
    let frozen = |freeze: &[(&str, &str)]| Policy {
        rotate_every: Some(SignedDuration::from_hours(24 * 30)),
        calendar: window("0 2 * * *", 3, freeze),
        ..policy()
    };
    let early = frozen(&[("2026-11-12", "2026-11-20")]);
    assert!(!asked(&sim, &early, "2026-11-10T02:00:00Z".parse().unwrap()).due);
    assert!(asked(&sim, &early, "2026-11-11T02:00:00Z".parse().unwrap()).due, "the last window before the freeze");
    // A freeze that has begun before anybody could rotate.
    let long = frozen(&[("2026-11-01", "2026-11-30")]);
    let waits = asked(&sim, &long, "2026-11-15T12:00:00Z".parse().unwrap());
    assert!(!waits.due && waits.reason.contains("all the same"), "{}", waits.reason);
    let expires_at = sim.state().generations[&Generation(1)].minted.expires_at.unwrap();
    assert_eq!(waits.at, Some(expires_at - SignedDuration::from_hours(4)));
    let breaks = asked(&sim, &long, waits.at.unwrap());
    assert!(breaks.due && breaks.reason.contains("before a window opens or the freeze ends"), "{}", breaks.reason);
}

#[test]
fn a_window_that_opens_an_hour_before_the_expiry_is_too_late() {
    let mut state = Sim::rotated(&["a"]).state();
    state.generations.get_mut(&Generation(1)).unwrap().minted.expires_at = Some("2026-11-16T03:00:00Z".parse().unwrap());
    let daily =
        Policy { rotate_every: Some(SignedDuration::from_hours(24 * 30)), calendar: window("0 2 * * *", 1, &[]), ..policy() };
    let answer = due(&state, &daily, None, false, "2026-11-15T12:00:00Z".parse().unwrap());
    assert_eq!((answer.due, answer.at), (false, Some("2026-11-15T23:00:00Z".parse().unwrap())), "{}", answer.reason);
}

#[test]
fn credentials_of_one_age_take_turns() {
    let sim = Sim::rotated(&["a"]);
    let at = |name: &str, age: SignedDuration| {
        let calendar = Calendar::new(None, Vec::new(), name);
        asked(&sim, &Policy { calendar, rotate_every: Some(age), ..policy() }, created(&sim)).at.unwrap()
    };
    // Four hours at most, and a twentieth of the age.
    for (hours, spread_minutes) in [(7 * 24, 4 * 60), (24, 72)] {
        let age = SignedDuration::from_hours(hours);
        let turns: BTreeSet<Timestamp> = (0..100).map(|number| at(&format!("credential-{number}"), age)).collect();
        assert!(turns.len() > 80, "{}", turns.len());
        let (latest, spread) = (created(&sim) + age, SignedDuration::from_mins(spread_minutes));
        assert!(turns.iter().all(|turn| *turn <= latest && *turn > latest - spread), "{turns:?}");
        assert!(*turns.first().unwrap() < latest - spread * 9 / 10, "{turns:?}");
        assert_eq!(at("sales-bi", age), at("sales-bi", age));
    }
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
    let opens: Timestamp = "2026-11-10T12:00:00Z".parse().unwrap();
    assert!(now < opens && now > opens - SignedDuration::from_hours(5));
    let closed = Policy { calendar: window("0 12 * * *", 3, &[]), ..policy() };
    let no = asked(&sim, &closed, now);
    assert_eq!((no.due, no.at), (false, Some(opens)));
    assert!(asked(&sim, &closed, opens).due);
    let never = Policy { calendar: never(), ..policy() };
    let frozen = asked(&sim, &never, now);
    assert!(!frozen.due && frozen.reason.contains("all the same"), "{}", frozen.reason);
    let ran = sim.run_with(ROTATE, |runner| runner.policy.calendar = window("0 12 * * *", 3, &[]));
    assert_eq!((ran.end, sim.world.creates), (End::Done, 1));
    assert_eq!(sim.run_with(FORCE, |runner| runner.policy.calendar = self::never()).state.current, Some(Generation(2)));
}

#[test]
fn a_first_rotation_waits_for_its_window_too() {
    let sim = Sim::new(&["a"]);
    assert!(asked(&sim, &policy(), sim.world.now).due);
    assert!(!asked(&sim, &never_due(), sim.world.now).due);
}

#[test]
fn a_missing_current_secret_waits_for_nothing_but_a_list_that_may_lag() {
    let mut sim = Sim::rotated(&["a"]);
    let current = sim.secret(1);
    sim.world.person_deletes(&current);
    let soon = created(&sim) + SignedDuration::from_mins(10);
    assert!(!asked(&sim, &never_due(), soon).due);
    assert!(asked(&sim, &never_due(), soon + SignedDuration::from_secs(1)).due);
    assert!(
        !due(&sim.state(), &never_due(), None, false, sim.world.now + SignedDuration::from_hours(1)).due,
        "nobody has looked"
    );
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

#[test]
fn a_large_idle_fleet_is_searched_once_in_as_many_hours_as_its_size_asks() {
    let fleet = |size: usize| {
        let holder = |number| {
            (TargetId::of(None, &DatasourceId::new(format!("{number}"))), Holder { planned: true, ..Holder::default() }.into())
        };
        State { holders: (0..size).map(holder).collect(), ..State::default() }
    };
    let start: Timestamp = "2026-03-02T08:17:00Z".parse().unwrap();
    let searched = |size| {
        let fleet = fleet(size);
        (0..48).filter(|hour| !is_resting(&fleet, start + SignedDuration::from_hours(*hour))).count()
    };
    assert_eq!([0, 500, 501, 2_000, 50_000].map(searched), [48, 48, 24, 12, 2]);
    let turned = State { turn: Some(Turn::Revoke { foreign: false }), ..fleet(50_000) };
    assert!((0..48).all(|hour| !is_resting(&turned, start + SignedDuration::from_hours(hour))), "there is something to do");
}
