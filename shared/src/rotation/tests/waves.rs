//! Canaries first: who they are, when the next wave starts, and what becomes of a rotation whose canary fails.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use jiff::SignedDuration;

use super::runner::{End, condemnations};
use super::world::{Manner, World};
use super::{FORCE, ROTATE, Sim};
use crate::config::Config;
use crate::config::WaveSize::{self, Count, Percent};
use crate::config::env_vars::Environment;
use crate::ids::{CredentialName, Generation, TargetId};
use crate::report::Phase;
use crate::rotation::event::{Condemnation, Event, PlanKind};
use crate::rotation::next::Step;
use crate::rotation::state::{Failures, State};
use crate::rotation::waves::{planned, split};

const TARGETS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn sizes(total: usize, sizes: &[WaveSize], last: &[&str]) -> Vec<Vec<String>> {
    let names: Vec<String> = (0..total).map(|number| format!("target-{number}")).collect();
    let world = World::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let targets = world.selection.iter().map(|id| Arc::new(world.spec(id))).collect();
    let last = last.iter().map(|id| TargetId::new(*id)).collect();
    let waves = split(&CredentialName::new("sales-bi"), sizes, targets, &last);
    waves.into_iter().map(|wave| wave.into_iter().map(|spec| spec.id.to_string()).collect()).collect()
}

fn counts(total: usize, wanted: &[WaveSize]) -> Vec<usize> {
    sizes(total, wanted, &[]).iter().map(Vec::len).collect()
}

#[test]
fn each_wave_counts_those_before_it_too() {
    let usual = [Count(1), Percent(10), Percent(100)];
    assert_eq!(counts(100, &usual), [1, 9, 90]);
    assert_eq!(counts(11, &usual), [1, 1, 9], "a percentage is rounded up");
    assert_eq!(counts(5, &usual), [1, 4], "ten percent are moved already");
    assert_eq!(counts(1, &usual), [1]);
    assert_eq!(counts(0, &usual), [0]);
    assert_eq!(counts(7, &[Percent(100)]), [7]);
    assert_eq!(counts(7, &[Count(20), Percent(100)]), [7]);
}

#[test]
fn the_same_targets_are_canaries_each_time_and_a_new_target_moves_few_others() {
    let usual = [Count(1), Percent(10), Percent(100)];
    let before = sizes(100, &usual, &[]);
    assert_eq!(sizes(100, &usual, &[]), before);
    let after = sizes(101, &usual, &[]);
    let early = |waves: &[Vec<String>]| waves[..2].concat().into_iter().collect::<BTreeSet<_>>();
    assert!(early(&before).difference(&early(&after)).count() <= 1);
    let canaries = |credential: &str| {
        let world = World::new(&TARGETS);
        let targets = world.selection.iter().map(|id| Arc::new(world.spec(id))).collect();
        split(&CredentialName::new(credential), &[Count(3), Percent(100)], targets, &BTreeSet::new())[0].clone()
    };
    assert!(["one", "two", "three", "four"].iter().any(|name| canaries(name) != canaries("zero")));
}

#[test]
fn what_failed_last_is_never_a_canary() {
    let canary = sizes(10, &[Count(1), Percent(100)], &[])[0][0].clone();
    let waves = sizes(10, &[Count(1), Percent(100)], &[&canary]);
    assert!(waves[0][0] != canary && waves[1].contains(&canary), "{waves:?}");
    let all: Vec<String> = (0..3).map(|number| format!("target-{number}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    assert_eq!(sizes(3, &[Count(1), Percent(100)], &all).len(), 1, "there is no canary left");
}

#[test]
fn a_plan_has_the_waves_of_the_config_and_what_failed_in_the_last_one() {
    let config = r#"{"version": 1, "state": "file:state", "identities": {"a": {"auth": "azure-cli"}},
        "credentials": {"sales-bi": {"workspace": "https://adb-1.1.azuredatabricks.net", "identity": "a",
        "service_principal": "p", "store": "file:store.json", "targets": {"identity": "a", "select": [{"all": true}], "waves": [1, "100%"]}}}}"#;
    let config = Config::of_document("config", config.into(), &Environment::default(), Path::new("/"));
    let credential = &config.unwrap_or_else(|problems| panic!("{problems:?}")).credentials[0];
    let sim = Sim::rotated(&["a", "b", "c"]);
    let mut state = sim.state();
    let waves = |state: &State| -> Vec<Vec<TargetId>> {
        let targets = sim.world.selection.iter().map(|id| sim.world.spec(id)).collect();
        planned(state, credential, targets).iter().map(|wave| wave.iter().map(|spec| spec.id.clone()).collect()).collect()
    };
    let before = waves(&state);
    assert_eq!(before.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
    let (canary, since) = (&before[0][0], sim.world.now);
    state.holder_mut(canary).unwrap().failures =
        Some(Box::new(Failures { since, last: since, count: 1, refusals: 1, problem: None, parked: false }));
    let after = waves(&state);
    assert!(after[0].len() == 1 && after[1].last() == Some(canary), "{after:?}");
}

/// Six targets with generation 1, to be moved by these waves; and the canary among them.
fn fleet() -> (Sim, String) {
    let mut sim = Sim::rotated(&TARGETS);
    sim.world.waves = vec![Count(1), Percent(50), Percent(100)];
    sim.days(8);
    let specs = sim.world.selection.iter().map(|id| Arc::new(sim.world.spec(id))).collect();
    let canary = split(&CredentialName::new("sales-bi"), &sim.world.waves, specs, &BTreeSet::new())[0][0].id.to_string();
    (sim, canary)
}

fn waves_of(sim: &Sim, generation: u32) -> Vec<usize> {
    let mut sent = Vec::new();
    for (_, _, event) in &sim.world.journal {
        if let Event::WaveStarted { generation: to, targets, .. } = event
            && *to == Generation(generation)
        {
            sent.push(targets.len());
        }
    }
    sent
}

#[test]
fn a_wave_starts_when_the_one_before_is_confirmed() {
    let (mut sim, canary) = fleet();
    sim.faults.passing = true;
    sim.world.site(&canary).manner = Manner::Silent(None);
    let mut runner = sim.open(ROTATE).unwrap();
    while runner.turn(&mut sim.world, &mut sim.faults).is_none() {}
    assert!(waves_of(&sim, 2).iter().all(|count| *count == 1), "{:?}", waves_of(&sim, 2));
    sim.world.site(&canary).manner = Manner::Takes;
    sim.minutes(10);
    assert_eq!(sim.run(ROTATE).end, End::Done);
    assert_eq!(waves_of(&sim, 2)[waves_of(&sim, 2).len() - 3..], [1, 2, 3]);
    assert!(TARGETS.iter().all(|id| sim.holds(id) == Some(sim.secret(2))));
}

#[test]
fn each_wave_begins_with_a_sign_in() {
    let (mut sim, _) = fleet();
    let mut runner = sim.open(ROTATE).unwrap();
    loop {
        // Every wave takes longer than a sign-in stays fresh.
        if matches!(runner.trace.last(), Some(Step::Wave { .. })) {
            sim.minutes(2);
        }
        if runner.turn(&mut sim.world, &mut sim.faults).is_some() {
            break;
        }
    }
    let waves = runner.trace.iter().enumerate().filter(|(_, step)| matches!(step, Step::Wave { .. }));
    let waves: Vec<usize> = waves.map(|(at, _)| at).collect();
    assert_eq!(waves.len(), 3, "{:?}", runner.trace);
    for at in &waves[1..] {
        assert!(matches!(runner.trace[at - 1], Step::CheckSignIn { .. }), "{:?}", runner.trace);
    }
}

#[test]
fn a_failed_canary_goes_back_and_quarantines_and_the_losing_generation_drains() {
    let (mut sim, canary) = fleet();
    sim.world.waves[0] = Count(2);
    let specs = sim.world.selection.iter().map(|id| Arc::new(sim.world.spec(id))).collect();
    let canaries = split(&CredentialName::new("sales-bi"), &sim.world.waves, specs, &BTreeSet::new())[0].clone();
    let other = canaries.iter().map(|spec| spec.id.to_string()).find(|id| *id != canary).unwrap();
    sim.world.site(&canary).manner = Manner::Refuses;
    let ran = sim.run(ROTATE);
    assert_eq!((ran.code(), ran.state.phase()), (Some("canary-failed"), Phase::Quarantined), "{:?}", ran.trace);
    let problem = ran.state.quarantine.clone().unwrap();
    assert!(problem.message.contains(&canary) && problem.hint.unwrap().contains("lakekey rotate sales-bi --force"));
    assert!(TARGETS.iter().all(|id| sim.holds(id) == Some(sim.secret(1))), "{other} went back");
    assert_eq!(waves_of(&sim, 2).iter().max(), Some(&2), "no other was sent it");
    assert_eq!(ran.state.current, Some(Generation(1)));
    let second = sim.secret(2);

    // No timer tries again; the losing generation lives until grace has passed, and as long as the canary may hold it.
    sim.minutes(60);
    assert_eq!(sim.run(ROTATE).code(), Some("canary-failed"));
    assert!(sim.world.alive(&second) && sim.world.creates == 2);
    sim.world.site(&canary).manner = Manner::Takes;
    sim.days(2);
    sim.run(ROTATE);
    assert!(sim.world.alive(&second), "the canary may hold it");
    assert_eq!(sim.state().gates(Generation(2)).collect::<Vec<_>>(), [&TargetId::new(&*canary)]);

    let ran = sim.run(FORCE);
    assert_eq!((ran.end, ran.state.current), (End::Done, Some(Generation(3))));
    assert!(TARGETS.iter().all(|id| sim.holds(id) == Some(sim.secret(3))));
    sim.days(2);
    assert_eq!(sim.run(ROTATE).state.phase(), Phase::Idle);
    assert_eq!(condemnations(&sim.world)[&second], Condemnation::Retired);
    sim.nothing_is_lost();
}

#[test]
fn the_losing_generation_of_a_canary_that_went_back_drains_while_quarantined() {
    let (mut sim, canary) = fleet();
    sim.world.site(&canary).manner = Manner::Refuses;
    let mut runner = sim.open(ROTATE).unwrap();
    while runner.state.turn.is_none() {
        assert_eq!(runner.turn(&mut sim.world, &mut sim.faults), None);
    }
    // It takes the old one again.
    sim.world.site(&canary).manner = Manner::Takes;
    while runner.turn(&mut sim.world, &mut sim.faults).is_none() {}
    let second = sim.secret(2);
    assert!(sim.world.alive(&second));
    sim.days(2);
    let ran = sim.run(ROTATE);
    assert_eq!((ran.code(), ran.state.phase()), (Some("canary-failed"), Phase::Quarantined));
    assert!(!sim.world.exists(&second));
    sim.nothing_is_lost();
}

#[test]
fn a_canary_of_the_first_rotation_has_nothing_to_go_back_to() {
    let mut sim = Sim::new(&TARGETS);
    sim.world.waves = vec![Count(6), Percent(100)];
    sim.world.site("a").manner = Manner::Refuses;
    sim.world.waves = vec![Count(5), Percent(100)];
    let ran = sim.run(ROTATE);
    let canaries = waves_of(&sim, 1)[0];
    if canaries == 5 && ran.state.quarantine.is_some() {
        assert_eq!(ran.state.failed_canaries, [TargetId::new("a")]);
        assert!(ran.state.turn.is_none() && ran.state.open.is_none());
        let first = sim.secret(1);
        sim.days(3);
        sim.run(ROTATE);
        assert!(sim.world.alive(&first), "canaries hold it");
    } else {
        panic!("{:?}", ran.trace);
    }
}

#[test]
fn a_service_in_trouble_is_no_failed_canary_until_a_day_has_passed() {
    let (mut sim, canary) = fleet();
    sim.faults.passing = true;
    sim.world.site(&canary).manner = Manner::Refuses;
    for hour in 0..23 {
        let ran = sim.run(ROTATE);
        assert!(matches!(ran.end, End::Waiting(_)), "hour {hour}: {:?}", ran.end);
        sim.minutes(60);
    }
    sim.minutes(120);
    assert_eq!(sim.run(ROTATE).code(), Some("canary-failed"));
}

#[test]
fn a_canary_that_a_person_vouches_for_lets_the_next_run_go_on() {
    let (mut sim, canary) = fleet();
    sim.world.site(&canary).manner = Manner::Refuses;
    sim.run(ROTATE);
    sim.minutes(10);
    sim.world.selection.remove(&TargetId::new(&*canary));
    let mut person = sim.open(ROTATE).unwrap();
    person.record(&mut sim.world, Event::Forgotten { target: TargetId::new(&*canary) }).unwrap();
    person.record(&mut sim.world, Event::LeaseReleased).unwrap();
    let ran = sim.run(ROTATE);
    assert_eq!((ran.end, ran.state.phase()), (End::Done, Phase::Draining), "{:?}", ran.trace);
    assert_eq!(ran.settled, [(PlanKind::Rotate, None)]);
}

#[test]
fn a_runner_may_die_at_any_point_of_going_back() {
    for point in 0.. {
        let (mut sim, canary) = fleet();
        sim.world.site(&canary).manner = Manner::Refuses;
        let died = sim.dies(ROTATE, point);
        for _ in 0..4 {
            let ran = sim.run(ROTATE);
            let settled = ran.state.quarantine.is_some();
            sim.world.pass(SignedDuration::from_mins(6));
            if settled {
                break;
            }
        }
        let state = sim.state();
        assert_eq!(state.phase(), Phase::Quarantined, "point {point}: {:?}", state.quarantine);
        // What a dying runner had sent may have landed, and the canary refuses everything: both secrets live.
        let others = TARGETS.iter().filter(|id| **id != canary);
        assert!(
            others.clone().count() == 5 && others.into_iter().all(|id| sim.holds(id) == Some(sim.secret(1))),
            "point {point}"
        );
        assert!(sim.world.alive(&sim.holds(&canary).unwrap()), "point {point}");
        if !died {
            assert!(point > 20, "{point}");
            return;
        }
    }
}
