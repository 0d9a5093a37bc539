//! Many rotations with everything going wrong at once. A failure names its seed: `swarm(SEED)` shows it again.

use jiff::SignedDuration;

use super::faults::{Dice, Faults};
use super::runner::{End, Runner};
use super::workers::Worker;
use super::world::{By, Manner, World};
use super::{FORCE, ROTATE};
use crate::config::WaveSize;
use crate::ids::{DatasetId, GroupId, RunnerId, SecretId, TargetId};
use crate::report::Phase;
use crate::rotation::event::{Event, PlanKind, Turn};
use crate::rotation::next::Goal;
use crate::rotation::refresh::RefreshWanted;
use crate::rotation::state::{Holder, State};

const SEEDS: u64 = 2_000;
const RUNS_IN_TROUBLE: u64 = 40;
/// Runs, twelve hours apart, within which everything must have come to rest once nothing goes wrong any more.
const RUNS_TO_REST: u32 = 60;

#[test]
fn whatever_goes_wrong_no_holder_is_cut_off_and_all_comes_to_rest() {
    let only = option_env!("LAKEKEY_SWARM_SEED").and_then(|seed| seed.parse().ok());
    let mut slices = 0;
    for seed in only.map_or(0..SEEDS, |seed: u64| seed..seed + 1) {
        match std::panic::catch_unwind(|| swarm(seed)) {
            Ok(worked_on) => slices += worked_on,
            Err(panic) => {
                eprintln_seed(seed);
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert!(only.is_some() || slices > 1_000, "workers were hardly at it: {slices} slices");
}

#[expect(clippy::print_stderr, reason = "a failing seed must be known")]
fn eprintln_seed(seed: u64) {
    eprintln!("the swarm failed with seed {seed}");
}

/// How many slices workers have worked on.
fn swarm(seed: u64) -> usize {
    let mut dice = Dice(seed);
    let mut world = World::new(&["a", "b", "c", "d"]).with_copy("copy");
    world.list_age = SignedDuration::from_secs(i64::try_from(dice.below(3)).unwrap() * 20);
    for id in ["c", "d"] {
        world.site(id).dataset = Some((DatasetId::new(format!("dataset-{id}")), By::Person));
    }
    if dice.percent(30) {
        world.stored = world.make(By::Person, Some(86_400 * 30)).map(|listed| listed.id);
    }
    if dice.percent(50) {
        world.waves = vec![WaveSize::Count(1), WaveSize::Percent(50), WaveSize::Percent(100)];
    }
    if dice.percent(50) {
        let wanted = |id: &str, wait| RefreshWanted {
            group: GroupId::new("group"),
            dataset: DatasetId::new(format!("dataset-{id}")),
            wait,
        };
        world.refresh = vec![wanted("c", true), wanted("d", false)];
    }
    let mut faults = Faults { dice: dice.clone(), chance: 5 + dice.below(40), ..Faults::none() };
    let locks = dice.percent(50);
    world.sends_out = !locks && dice.percent(60);
    let mut runners: [Option<Runner>; 2] = [None, None];
    let mut workers = Vec::new();
    for run in 0..RUNS_IN_TROUBLE {
        meddle(&mut world, &mut dice);
        let goal = match dice.below(8) {
            0 => Goal::Reapply { refresh: false },
            1 | 2 => FORCE,
            _ => ROTATE,
        };
        if dice.percent(10) && runners.iter().all(Option::is_none) {
            forget(&mut world, run);
        }
        if dice.percent(8) {
            roll_back(&mut world, run);
        }
        if dice.percent(4) {
            revoke(&mut world, run, dice.percent(30));
        }
        interleaved(&mut world, &mut faults, &mut dice, (&mut runners, &mut workers, goal, locks, run));
        let pause = match dice.below(4) {
            0 => dice.seconds(120),
            1 => dice.seconds(3_600),
            2 => dice.seconds(86_400),
            _ => dice.seconds(86_400 * 9),
        };
        world.pass(pause);
    }
    let slices = world.notes.len();
    rests(&mut world, locks);
    slices
}

/// Two runners take turns; either may be left standing for as long as the other works.
fn interleaved(
    world: &mut World,
    faults: &mut Faults,
    dice: &mut Dice,
    (runners, workers, goal, locks, run): (&mut [Option<Runner>; 2], &mut Vec<Worker>, Goal, bool, u64),
) {
    for _ in 0..400 {
        if dice.percent(60) {
            work(world, faults, dice, workers);
        }
        let which = usize::from(dice.percent(20));
        if runners[which].is_none() {
            // The lock of a living process keeps others out; in the cloud only the lease does.
            if locks && runners[1 - which].is_some() {
                continue;
            }
            let off = dice.seconds(120) - SignedDuration::from_mins(1);
            runners[which] = Runner::open(world, &format!("runner-{run}-{which}"), goal, off, locks).ok();
        }
        if let Some(runner) = &mut runners[which]
            && runner.turn(world, faults).is_some()
        {
            runners[which] = None;
            if dice.percent(50) {
                return;
            }
        }
        if dice.percent(2) {
            world.pass(dice.seconds(3_600));
        }
    }
}

/// Delivers a message, in any order, some of them again later; or lets a worker go on, which may have stood still for long.
fn work(world: &mut World, faults: &mut Faults, dice: &mut Dice, workers: &mut Vec<Worker>) {
    let any = |dice: &mut Dice, of: usize| usize::try_from(dice.below(of as u64)).unwrap();
    if !world.messages.is_empty() && (workers.is_empty() || dice.percent(30)) {
        let at = any(dice, world.messages.len());
        let ticket = if dice.percent(20) { world.messages[at] } else { world.messages.swap_remove(at) };
        let off = dice.seconds(120) - SignedDuration::from_mins(1);
        let name = format!("worker-{}", dice.below(1 << 40));
        workers.extend(Worker::take(world, ticket, &name, off));
    } else if !workers.is_empty() {
        let at = any(dice, workers.len());
        if workers[at].turn(world, faults) {
            workers.swap_remove(at);
        }
    }
}

/// A person vouches for what is not selected any more: nothing reads through it.
fn forget(world: &mut World, run: u64) {
    let Ok(mut runner) = Runner::open(world, &format!("person-{run}"), ROTATE, SignedDuration::ZERO, true) else { return };
    let now = world.now;
    let gone = |(id, holder): &(&TargetId, &Holder)| {
        holder.spec.is_some() && !world.selection.contains(*id) && holder.in_flight.is_none_or(|(_, until)| until <= now)
    };
    let target = runner.state.places().find(gone).map(|(id, _)| id.clone());
    if let Some(target) = target {
        world.sites.get_mut(&target).unwrap().holds = None;
        runner.record(world, Event::Forgotten { target }).unwrap();
    }
    runner.record(world, Event::LeaseReleased).unwrap();
}

/// A person asks for a rollback, where there is something to go back to.
fn roll_back(world: &mut World, run: u64) {
    let state = world.fold();
    let under_way = state.open.as_ref().is_some_and(|open| open.plan.kind == PlanKind::Rotate && !open.promoted);
    let to = if under_way { state.current } else { state.before };
    let living = to.filter(|to| state.living().any(|(generation, _)| generation == *to));
    if let Some(to) = living.filter(|_| state.turn.is_none()) {
        let turn = Turn::Rollback { to: Some(to), canary: None };
        world.append(
            world.now,
            &RunnerId::new(format!("person-{run}")),
            Event::Turned { turn, reason: String::new(), operation: None },
        );
    }
}

/// A person breaks the glass.
fn revoke(world: &mut World, run: u64, foreign: bool) {
    let state = world.fold();
    if state.begun.is_some() && !matches!(state.turn, Some(Turn::Revoke { .. })) {
        let turn = Turn::Revoke { foreign };
        world.append(
            world.now,
            &RunnerId::new(format!("glass-{run}")),
            Event::Turned { turn, reason: String::new(), operation: None },
        );
    }
}

/// What people do meanwhile.
fn meddle(world: &mut World, dice: &mut Dice) {
    let theirs = world.existing(By::Person);
    if dice.percent(10) && theirs.len() < 2 {
        world.make(By::Person, Some(86_400 * (1 + dice.below(30))));
    }
    if dice.percent(10)
        && let Some(id) = theirs.first()
    {
        world.person_deletes(id);
    }
    if dice.percent(4) {
        let ours = world.existing(By::Lakekey);
        if !ours.is_empty() {
            world.person_deletes(&ours[usize::try_from(dice.below(ours.len() as u64)).unwrap()]);
        }
    }
    if dice.percent(2) {
        // A disk is lost.
        world.slots.clear();
    }
    for id in ["a", "b"].map(TargetId::new) {
        match dice.below(10) {
            0 => drop(world.selection.remove(&id)),
            1 | 2 => drop(world.selection.insert(id.clone())),
            _ => {}
        }
        world.sites.get_mut(&id).unwrap().manner = match dice.below(6) {
            0 => Manner::Refuses,
            1 => Manner::Changed,
            2 => Manner::Silent(None),
            _ => Manner::Takes,
        };
    }
}

/// G5 and G2: without faults everything comes to rest by itself, or says what a person must do.
fn rests(world: &mut World, locks: bool) {
    world.sites.values_mut().for_each(|site| site.manner = Manner::Takes);
    world.list_age = SignedDuration::ZERO;
    world.sends_out = false;
    let mut faults = Faults::none();
    let mut last = (End::Done, State::default());
    for run in 0..RUNS_TO_REST {
        world.pass(SignedDuration::from_hours(12));
        // People act where they are asked to: they clear away their own secrets, and decide.
        let waits = last.1.quarantine.is_some() || last.1.held.is_some();
        if run == RUNS_TO_REST / 3 {
            for id in world.existing(By::Person) {
                world.person_deletes(&id);
            }
        }
        let goal = if waits { FORCE } else { ROTATE };
        let mut runner = Runner::open(world, &format!("calm-{run}"), goal, SignedDuration::ZERO, locks).unwrap();
        let end = loop {
            if let Some(end) = runner.turn(world, &mut faults) {
                break end;
            }
        };
        assert!(!matches!(end, End::Failed | End::Crashed | End::Held), "{end:?}");
        last = (end, runner.state);
        let settled = last.1.open.is_none() && last.0 == End::Done && run > RUNS_TO_REST / 2;
        if settled && matches!(last.1.phase(), Phase::Idle | Phase::Draining) && world.nothing_is_late() {
            return at_rest(world, &last.1);
        }
    }
    panic!("not at rest: {:?}, {:?}, open {:?}, {:?}", last.0, last.1.phase(), last.1.open, last.1.quarantine);
}

fn at_rest(world: &World, state: &State) {
    let current = state.current.unwrap();
    let secret = &state.generations[&current].minted.secret_id;
    assert!(world.alive(secret), "the current secret is dead");
    assert_eq!(world.stored.as_ref(), Some(secret), "the store lags behind");
    for id in &world.selection {
        assert_eq!(world.sites[id].holds.as_ref(), Some(secret), "`{id}` lags behind");
    }
    let living: Vec<&SecretId> = state.living().map(|(_, known)| &known.minted.secret_id).collect();
    for id in world.existing(By::Lakekey) {
        assert!(living.contains(&&id), "G2: stray `{id}`, only {living:?} live");
    }
    assert!(living.len() <= 3, "G2: {living:?} never retire");
}
