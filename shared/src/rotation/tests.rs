//! The deciding part against a small world without IO: scenarios by name, and a swarm of random ones.

mod due;
mod effects;
mod faults;
mod fold;
mod join;
mod led;
mod mint;
mod out;
mod refresh;
mod retire;
mod runner;
mod stake;
mod steps;
mod swarm;
mod targets;
mod turns;
mod waves;
mod workers;
mod world;

use jiff::{SignedDuration, Timestamp};

use super::event::{Event, PlanKind, Turn};
use super::next::{Goal, Step};
use super::recover::{Origin, origin};
use super::state::State;
use crate::error::Problem;
use crate::ids::{DatasetId, Generation, RunnerId, SecretId, TargetId};
use crate::report::Phase;
use faults::Faults;
use runner::{End, Runner};
use world::{By, World};

const ROTATE: Goal = Goal::Rotate { force: false };
const FORCE: Goal = Goal::Rotate { force: true };

/// A world and what goes wrong in it, for one runner after another.
struct Sim {
    world: World,
    faults: Faults,
    locks: bool,
    runs: u32,
}

/// A run that has ended.
struct Ran {
    end: End,
    state: State,
    settled: Vec<(PlanKind, Option<Problem>)>,
    trace: Vec<Step>,
}

impl Ran {
    /// The code of the problem with which it stopped or settled.
    fn code(&self) -> Option<&str> {
        match (&self.end, self.settled.last()) {
            (End::Stopped(problem), _) | (_, Some((_, Some(problem)))) => Some(&problem.code),
            (_, Some((_, None)) | None) => None,
        }
    }
}

impl Sim {
    fn new(targets: &[&str]) -> Self {
        Self { world: World::new(targets), faults: Faults::none(), locks: true, runs: 0 }
    }

    /// As `new`, with generation 1 everywhere.
    fn rotated(targets: &[&str]) -> Self {
        let mut sim = Self::new(targets);
        sim.rotates();
        sim
    }

    fn open(&mut self, goal: Goal) -> Result<Runner, End> {
        self.runs += 1;
        let id = format!("runner-{}", self.runs);
        Runner::open(&mut self.world, &id, goal, SignedDuration::ZERO, self.locks)
    }

    fn run(&mut self, goal: Goal) -> Ran {
        self.run_with(goal, |_| {})
    }

    fn run_with(&mut self, goal: Goal, prepare: impl FnOnce(&mut Runner)) -> Ran {
        let mut runner = match self.open(goal) {
            Ok(runner) => runner,
            Err(end) => return Ran { end, state: self.state(), settled: Vec::new(), trace: Vec::new() },
        };
        prepare(&mut runner);
        loop {
            if let Some(end) = runner.turn(&mut self.world, &mut self.faults) {
                return Ran { end, state: runner.state, settled: runner.seen.settled, trace: runner.trace };
            }
        }
    }

    /// A whole rotation, forced; nothing goes wrong.
    fn rotates(&mut self) -> Ran {
        let ran = self.run(FORCE);
        assert_eq!((&ran.end, ran.code()), (&End::Done, None), "{:?}", ran.trace);
        assert_eq!(ran.settled, [(PlanKind::Rotate, None)]);
        ran
    }

    /// A person asks for a change of direction, whoever holds the lease.
    fn asks(&mut self, turn: Turn) {
        let mut state = self.state();
        let seq = self.world.journal.len() as u64 + 1;
        let by = RunnerId::new("person");
        let event = Event::Turned { turn, reason: "asked for".to_owned(), operation: None };
        state.apply(seq, self.world.now, &by, &event).unwrap();
        self.world.append(self.world.now, &by, event);
    }

    /// A rollback that a person asks for, carried out.
    fn rolls_back(&mut self, to: u32) -> Ran {
        self.asks(Turn::Rollback { to: Some(Generation(to)), canary: None });
        self.run(Goal::Rollback)
    }

    fn dies(&mut self, goal: Goal, point: u32) -> bool {
        self.faults.crash_in = Some(point);
        let ran = self.run(goal);
        self.faults.crash_in = None;
        ran.end == End::Crashed
    }

    fn days(&mut self, days: i64) {
        self.world.pass(SignedDuration::from_hours(24 * days));
    }

    fn minutes(&mut self, minutes: i64) {
        self.world.pass(SignedDuration::from_mins(minutes));
    }

    fn state(&self) -> State {
        let mut state = State::default();
        for (index, (at, by, event)) in self.world.journal.iter().enumerate() {
            state.apply(index as u64 + 1, *at, by, event).unwrap();
        }
        state
    }

    fn secret(&self, generation: u32) -> SecretId {
        self.state().generations[&Generation(generation)].minted.secret_id.clone()
    }

    fn holds(&self, target: &str) -> Option<SecretId> {
        self.world.sites[&TargetId::new(target)].holds.clone()
    }

    fn events(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.world.journal.iter().filter(|(_, _, event)| wanted(event)).count()
    }

    /// G2: of lakekey's secrets just those of its living generations exist.
    fn nothing_is_lost(&self) {
        let state = self.state();
        let living: Vec<SecretId> = state.living().map(|(_, known)| known.minted.secret_id.clone()).collect();
        let ours = self.world.existing(By::Lakekey);
        let stray: Vec<&SecretId> = ours.iter().filter(|id| !living.contains(id)).collect();
        assert!(stray.is_empty(), "G2: {stray:?} exist, but only {living:?} live");
        let slots = self.world.slots.iter().filter(|id| !living.contains(id)).count();
        assert_eq!(slots, 0, "G2: slots are left over");
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// What keeps the origin of a listed secret honest.
fn origin_of(sim: &Sim, id: &SecretId) -> Origin {
    origin(&sim.state(), &sim.world.slots, &sim.world.secrets[id].listed)
}

#[test]
fn a_rotation_moves_everything_and_retires_what_was_before() {
    let mut sim = Sim::rotated(&["a", "b"]);
    assert_eq!(sim.state().phase(), Phase::Draining, "grace counts from the first rotation too");
    let first = sim.secret(1);
    sim.days(8);
    let ran = sim.run(ROTATE);
    assert_eq!((ran.end, ran.state.phase()), (End::Done, Phase::Draining));
    let second = sim.secret(2);
    assert_eq!((sim.holds("a"), sim.holds("b")), (Some(second.clone()), Some(second.clone())));
    assert!(sim.world.alive(&first));
    sim.days(2);
    let ran = sim.run(ROTATE);
    assert_eq!((ran.end, ran.state.phase()), (End::Done, Phase::Idle));
    assert!(!sim.world.exists(&first) && sim.world.alive(&second));
    assert_eq!(sim.world.stored, Some(second));
    sim.nothing_is_lost();
}

#[test]
fn a_runner_may_die_at_any_point_and_the_next_one_finishes() {
    for point in 0.. {
        let mut sim = Sim::rotated(&["a", "b"]);
        sim.world.site("b").dataset = Some((DatasetId::new("sales"), By::Person));
        sim.days(8);
        let died = sim.dies(ROTATE, point);
        for _ in 0..4 {
            let ran = sim.run(ROTATE);
            assert!(matches!(ran.end, End::Done | End::Waiting(_)), "point {point}: {:?}", ran.end);
            sim.world.pass(SignedDuration::from_hours(49));
        }
        let state = sim.state();
        assert_eq!(state.phase(), Phase::Idle, "point {point}");
        let current = sim.secret(state.current.unwrap().0);
        assert_eq!(sim.holds("a"), Some(current.clone()), "point {point}");
        assert_eq!(sim.holds("b'"), Some(current), "point {point}");
        sim.nothing_is_lost();
        if !died {
            assert!(point > 15, "a rotation has more points than {point}");
            return;
        }
    }
}
