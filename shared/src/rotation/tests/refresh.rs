//! Refreshes after the move: once, found again after a crash, counted against a target only where they could not sign in.

use jiff::SignedDuration;

use super::runner::End;
use super::world::{By, Manner};
use super::{ROTATE, Sim};
use crate::config::WaveSize;
use crate::ids::{DatasetId, Generation, GroupId, TargetId};
use crate::report::{Phase, RefreshOutcome};
use crate::rotation::event::Event;
use crate::rotation::next::{Goal, Step};
use crate::rotation::refresh::{RefreshFate, RefreshWanted};

/// Two targets, `a` used by a dataset that is refreshed; generation 2 is due.
fn waited_for(wait: bool) -> Sim {
    let mut sim = Sim::rotated(&["a", "b"]);
    sim.world.site("a").dataset = Some((DatasetId::new("sales"), By::Lakekey));
    sim.world.refresh = vec![RefreshWanted { group: GroupId::new("group"), dataset: DatasetId::new("sales"), wait }];
    sim.days(8);
    sim
}

fn fate(sim: &Sim) -> RefreshFate {
    sim.state().refreshes[&DatasetId::new("sales")].fate.clone()
}

#[test]
fn a_refresh_is_started_once_and_waited_for_where_asked() {
    for wait in [false, true] {
        let mut sim = waited_for(wait);
        let ran = sim.run(ROTATE);
        assert_eq!((ran.end, sim.world.refreshes), (End::Done, 1));
        let outcome = if wait { RefreshOutcome::Completed } else { RefreshOutcome::Started };
        assert_eq!(fate(&sim), RefreshFate::Over(outcome));
        let polls = ran.trace.iter().filter(|step| matches!(step, Step::PollRefreshes { .. })).count();
        assert_eq!(polls, usize::from(wait));
    }
}

#[test]
fn a_refresh_that_takes_long_is_looked_at_ever_more_seldom_and_by_the_next_runs() {
    let mut sim = waited_for(true);
    sim.faults.refreshes = None;
    let began = sim.world.now;
    let ran = sim.run(ROTATE);
    assert!(matches!(ran.end, End::Waiting(_)), "{:?}", ran.end);
    assert_eq!(ran.state.phase(), Phase::Applying);
    let took = sim.world.now.duration_since(began);
    assert!((SignedDuration::from_mins(10)..SignedDuration::from_mins(20)).contains(&took), "{took}");
    let polls = ran.trace.iter().filter(|step| matches!(step, Step::PollRefreshes { .. })).count();
    assert_eq!(polls, 16);
    let entries = sim.world.journal.len();
    sim.minutes(60);
    sim.faults.refreshes = Some((RefreshOutcome::Completed, false));
    assert_eq!((sim.run(ROTATE).end, sim.world.refreshes), (End::Done, 1), "no second one was started");
    assert!(sim.world.journal.len() < entries + 12);
}

#[test]
fn a_runner_may_die_at_any_point_and_no_second_refresh_is_recorded() {
    for point in 0.. {
        let mut sim = waited_for(true);
        let died = sim.dies(ROTATE, point);
        for _ in 0..3 {
            sim.run(ROTATE);
            sim.minutes(6);
        }
        assert_eq!(fate(&sim), RefreshFate::Over(RefreshOutcome::Completed), "point {point}");
        assert_eq!(sim.events(|event| matches!(event, Event::RefreshesAsked { .. })), 1, "point {point}");
        assert_eq!(sim.state().phase(), Phase::Draining, "point {point}");
        if !died {
            return;
        }
    }
}

#[test]
fn a_refresh_that_cannot_sign_in_counts_against_the_target_and_another_failure_does_not() {
    let mut sim = waited_for(true);
    sim.faults.refreshes = Some((RefreshOutcome::Failed, false));
    assert_eq!(sim.run(ROTATE).end, End::Done);
    assert!(sim.state().holders[&TargetId::new("a")].failures.is_none());
    assert_eq!(fate(&sim), RefreshFate::Over(RefreshOutcome::Failed));

    let mut sim = waited_for(true);
    sim.faults.refreshes = Some((RefreshOutcome::Failed, true));
    let ran = sim.run(ROTATE);
    assert!(matches!(ran.end, End::Waiting(_)), "{:?}", ran.end);
    let failures = ran.state.holders[&TargetId::new("a")].failures.clone().unwrap();
    assert!(failures.count >= 3 && failures.count == failures.refusals, "{failures:?}");
    assert_eq!(sim.holds("b"), Some(sim.secret(2)));
    for _ in 0..26 {
        sim.minutes(60);
        sim.run(ROTATE);
    }
    assert!(sim.state().holders[&TargetId::new("a")].failures.as_ref().is_some_and(|failures| failures.parked));
    assert_eq!(sim.state().phase(), Phase::Draining);
}

#[test]
fn a_dataset_is_refreshed_after_the_last_wave_of_its_data_sources() {
    let mut sim = waited_for(false);
    sim.world.site("b").dataset = Some((DatasetId::new("sales"), By::Lakekey));
    sim.world.waves = vec![WaveSize::Count(1), WaveSize::Percent(100)];
    let ran = sim.run(ROTATE);
    let at = |is: fn(&Step) -> bool| (0..ran.trace.len()).filter(|at| is(&ran.trace[*at])).collect::<Vec<_>>();
    let (waves, refreshes) = (at(|step| matches!(step, Step::Wave { .. })), at(|step| matches!(step, Step::Refresh { .. })));
    assert_eq!((waves.len(), sim.world.refreshes), (2, 1), "{:?}", ran.trace);
    assert!(waves[1] < refreshes[0], "{:?}", ran.trace);
}

#[test]
fn a_dataset_is_refreshed_though_one_of_its_data_sources_is_parked() {
    let mut sim = waited_for(false);
    sim.world.site("b").dataset = Some((DatasetId::new("sales"), By::Lakekey));
    sim.world.site("b").manner = Manner::Refuses;
    assert!(matches!(sim.run(ROTATE).end, End::Waiting(_)));
    assert_eq!(sim.world.refreshes, 0, "it may move yet");
    for _ in 0..26 {
        sim.minutes(60);
        sim.run(ROTATE);
    }
    assert!(sim.state().holders[&TargetId::new("b")].failures.as_ref().is_some_and(|failures| failures.parked));
    assert_eq!((sim.world.refreshes, fate(&sim)), (1, RefreshFate::Over(RefreshOutcome::Started)));
}

#[test]
fn a_reapply_refreshes_no_dataset_whose_data_source_has_not_taken_it() {
    for (manner, refreshes) in [(Manner::Takes, 1), (Manner::Refuses, 0)] {
        let mut sim = waited_for(false);
        sim.world.site("a").manner = manner;
        let ran = sim.run(Goal::Reapply { refresh: true });
        assert_eq!((ran.state.phase(), sim.world.refreshes), (Phase::Idle, refreshes), "{:?}", ran.trace);
    }
}

#[test]
fn a_canary_whose_refresh_cannot_sign_in_goes_back() {
    let mut sim = waited_for(true);
    sim.world.selection.remove(&TargetId::new("b"));
    sim.world.selection.insert(TargetId::new("b"));
    sim.world.waves = vec![WaveSize::Count(1), WaveSize::Percent(100)];
    sim.world.site("b").dataset = Some((DatasetId::new("other"), By::Lakekey));
    let wanted = |id: &str| RefreshWanted { group: GroupId::new("group"), dataset: DatasetId::new(id), wait: true };
    sim.world.refresh = vec![wanted("other"), wanted("sales")];
    sim.faults.refreshes = Some((RefreshOutcome::Failed, true));
    let ran = sim.run(ROTATE);
    assert_eq!((ran.code(), ran.state.current), (Some("canary-failed"), Some(Generation(1))), "{:?}", ran.trace);
    assert_eq!((sim.holds("a"), sim.holds("b")), (Some(sim.secret(1)), Some(sim.secret(1))));
    assert_eq!(sim.world.refreshes, 4);
}
