//! Single decisions, where a story would hide the condition.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::SignedDuration;

use super::fold::{condemned, ended, intended, lease, minted, now, opened, verified, wave};
use super::runner::{plan, policy};
use super::world::By;
use super::{ROTATE, Sim};
use crate::error::Problem;
use crate::ids::{DatasetId, Generation, SecretId, TargetId};
use crate::rotation::due::{LISTED_AFTER, due};
use crate::rotation::event::{Condemnation, Event, Fate, Permission, PlanKind, TakenOver};
use crate::rotation::led::LedStep;
use crate::rotation::next::{DeleteSent, Goal, Observed, SLOTS_USED_MAX, Step, lacking, next};
use crate::rotation::recover::{Listed, Origin, origin, sweep, used_slots};
use crate::rotation::state::{AttemptFate, Busy, Failures, State};

fn step(state: &State, seen: &Observed) -> Step {
    next(state, seen, ROTATE, &policy(), now())
}

fn listed(id: &str) -> Listed {
    Listed { id: SecretId::new(id), created_at: now() - SignedDuration::from_hours(1), expires_at: None }
}

/// Both generations' secrets are listed and their values at hand.
fn seen(state: &State) -> Observed {
    let ids: BTreeSet<SecretId> = state.generations.values().map(|known| known.minted.secret_id.clone()).collect();
    let listing = ids.iter().map(|id| listed(id.as_str())).collect();
    Observed { listing: Some(listing), values: ids, ..Observed::default() }
}

fn refusal(generation: u32) -> Option<(Generation, Problem)> {
    Some((Generation(generation), Problem::new("verification-failed", "no")))
}

fn to_all(generation: u32) -> Step {
    Step::Wave { generation: Generation(generation), targets: vec![TargetId::new("a")] }
}

/// Target `a` has just been taken over.
fn bared() -> [Event; 2] {
    let mut sim = Sim::new(&["a"]);
    sim.world.site("a").dataset = Some((DatasetId::new("sales"), By::Lakekey));
    let id = TargetId::new("a");
    let dataset = sim.world.dataset(&id).unwrap();
    let result = TakenOver { dataset: dataset.clone(), targets: vec![sim.world.spec(&id)], problem: None };
    [Event::TakeOverStarted { datasets: vec![dataset] }, Event::TakenOver { results: vec![result] }]
}

#[test]
fn a_bare_source_gets_the_best_generation_that_is_fit() {
    let made = [intended(2), minted(2, 2, "x")];
    let unverified = opened(&[&made[..], &bared()].concat()).unwrap();
    assert_eq!(step(&unverified, &Observed::default()), to_all(1));
    let both = opened(&[&made[..], &[verified(2)], &bared()].concat()).unwrap();
    assert_eq!(step(&both, &Observed::default()), to_all(2));
    assert_eq!(step(&both, &Observed { lost: Some(Generation(2)), ..Observed::default() }), to_all(1));
    assert_eq!(step(&both, &Observed { refused: refusal(2), ..Observed::default() }), to_all(1));
    let gone =
        opened(&[&made[..], &[verified(2)], &bared(), &[condemned("x", Condemnation::VerificationFailed)]].concat()).unwrap();
    assert_eq!(step(&gone, &Observed::default()), to_all(1));
}

/// A write would be refused each time, and the take-over's turn never come.
#[test]
fn a_bare_source_whose_dataset_a_person_took_back_is_taken_over_before_it_is_written() {
    let mut sim = Sim::rotated(&["a"]);
    sim.world.site("a").dataset = Some((DatasetId::new("sales"), By::Person));
    let again = plan(&sim.world, &sim.state(), PlanKind::Rotate, String::new());
    let turned_back = [Event::Settled { problem: None }, Event::Planned(Arc::new(again))];
    let state = opened(&[&bared()[..], &turned_back].concat()).unwrap();
    let datasets = vec![sim.world.dataset(&TargetId::new("a")).unwrap()];
    assert_eq!(step(&state, &Observed::default()), Step::TakeOver { datasets });
    // With nothing open nobody has allowed that any more.
    let closed = [&bared()[..], &turned_back, &[Event::Settled { problem: None }]].concat();
    assert_eq!(step(&opened(&closed).unwrap(), &Observed::default()), to_all(1));
    // That the service was in trouble says nothing of owners.
    let mut troubled = opened(&closed).unwrap();
    let since = now() - SignedDuration::from_hours(1);
    troubled.holder_mut(&TargetId::new("a")).unwrap().failures =
        Some(Box::new(Failures { since, last: since, count: 1, refusals: 0, problem: None, parked: false }));
    assert_eq!(step(&troubled, &Observed::default()), to_all(1));
    // Where the write was refused, the next plan looks at the owner first.
    let refused = [wave(1), ended(Fate::Refused), Event::Drained];
    let state = opened(&[&closed[..], &refused].concat()).unwrap();
    let later = now() + SignedDuration::from_mins(30);
    assert!(matches!(next(&state, &seen(&state), ROTATE, &policy(), later), Step::Plan { .. }));
}

#[test]
fn a_wave_needs_a_fresh_sign_in_of_its_own_generation() {
    let state = opened(&[intended(2), minted(2, 2, "x"), verified(2)]).unwrap();
    let check = Step::CheckSignIn { generation: Generation(2) };
    let ago = |generation, seconds| Some((Generation(generation), now() - SignedDuration::from_secs(seconds)));
    for (signs_in, wanted) in
        [(None, &check), (ago(1, 1), &check), (ago(2, 60), &check), (ago(2, 59), &to_all(2)), (ago(2, 0), &to_all(2))]
    {
        assert_eq!(step(&state, &Observed { signs_in, ..seen(&state) }), *wanted, "{signs_in:?}");
    }
}

#[test]
fn of_quarantines_only_that_of_a_canary_lets_a_superseded_secret_be_deleted() {
    let mut sim = Sim::rotated(&["a"]);
    sim.rotates();
    let mut state = sim.state();
    let later = sim.world.now + SignedDuration::from_hours(48);
    let step = |state: &State| next(state, &seen(state), ROTATE, &policy(), later);
    let retired = Step::Condemn { secret_id: sim.secret(1), reason: Condemnation::Retired };
    assert_eq!(step(&state), retired);
    let problem = Problem::new("store-changed", "a person must look");
    state.quarantine = Some(problem.clone());
    assert_eq!(step(&state), Step::Stop(problem.clone()));
    state.failed_canaries = vec![TargetId::new("a")];
    assert_eq!(step(&state), retired);
    state.open = opened(&[]).unwrap().open;
    assert_eq!(step(&state), Step::Stop(problem));
}

#[test]
fn what_failed_in_this_run_is_not_begun_again_at_once_for_secrets_manager() {
    let sim = Sim::rotated(&["a"]);
    let goal = Goal::Step(LedStep::CreateSecret);
    let step = |settled: Option<Problem>| {
        let state = sim.state();
        let settled = vec![(PlanKind::Rotate, settled)];
        next(&state, &Observed { settled, ..seen(&state) }, goal, &policy(), sim.world.now)
    };
    assert!(matches!(step(None), Step::Plan { kind: PlanKind::Rotate, .. }));
    assert_eq!(step(Some(Problem::new("slots-full", "no"))), Step::Done);
}

#[test]
fn one_rotation_in_a_run_is_enough_unless_its_secret_is_gone() {
    let sim = Sim::rotated(&["a"]);
    let state = sim.state();
    let later = sim.world.now + SignedDuration::from_hours(1);
    let step = |settled: Option<Problem>, is_listed: bool| {
        let mut seen = Observed { settled: vec![(PlanKind::Rotate, settled)], ..seen(&state) };
        seen.listing = seen.listing.filter(|_| is_listed).or(Some(Vec::new()));
        next(&state, &seen, ROTATE, &policy(), later)
    };
    assert_eq!(step(None, true), Step::Done);
    assert!(matches!(step(None, false), Step::Plan { kind: PlanKind::Rotate, .. }));
    assert_eq!(step(Some(Problem::new("slots-full", "no")), false), Step::Done);
}

#[test]
fn a_reapply_refreshes_only_where_that_was_asked_for() {
    let sim = Sim::rotated(&["a"]);
    let state = sim.state();
    for refresh in [false, true] {
        let step = next(&state, &seen(&state), Goal::Reapply { refresh }, &policy(), sim.world.now);
        assert_eq!(step, Step::Plan { kind: PlanKind::Reapply, reason: "reapply was asked for".to_owned(), refresh });
    }
}

#[test]
fn a_target_that_is_selected_again_lacks_what_it_was_last_seen_to_take() {
    let sim = Sim::rotated(&["a"]);
    let (mut state, id) = (sim.state(), TargetId::new("a"));
    let selected = BTreeSet::from([id.clone()]);
    let lacks = |state: &State, now| !lacking(state, Generation(1), &selected, now).is_empty();
    assert!(!lacks(&state, sim.world.now));
    state.holder_mut(&id).unwrap().planned = false;
    assert!(lacks(&state, sim.world.now), "a person may have changed it since");
    // One that was busy is looked at again after half the time that it has been so.
    let (since, last) = (sim.world.now, sim.world.now + SignedDuration::from_mins(10));
    state.holder_mut(&id).unwrap().busy = Some(Box::new(Busy { since, last, problem: None }));
    let again = last + SignedDuration::from_mins(5);
    assert_eq!([again - SignedDuration::from_secs(1), again].map(|now| lacks(&state, now)), [false, true]);
}

#[test]
fn a_target_that_fails_is_left_alone_for_longer_each_time() {
    let sim = Sim::rotated(&["a"]);
    let (mut state, id, failed) = (sim.state(), TargetId::new("a"), sim.world.now);
    let selected = BTreeSet::from([id.clone()]);
    for (count, pause_s) in [(1, 2), (2, 8), (3, 30), (4, 300), (5, 900), (6, 3_600), (40, 3_600)] {
        let failures = Box::new(Failures { since: failed, last: failed, count, refusals: 0, problem: None, parked: false });
        let holder = state.holder_mut(&id).unwrap();
        (holder.planned, holder.failures) = (false, Some(failures));
        let may = |after_s| !lacking(&state, Generation(1), &selected, failed + SignedDuration::from_secs(after_s)).is_empty();
        assert_eq!([may(pause_s - 1), may(pause_s)], [false, true], "after {count} failures");
    }
}

#[test]
fn a_secret_that_a_target_holds_is_condemned_when_it_has_expired_by_every_clock() {
    let mut sim = Sim::rotated(&["a"]);
    sim.rotates();
    let mut state = sim.state();
    state.holder_mut(&TargetId::new("a")).unwrap().may_hold.insert(Generation(1));
    let expired = state.generations[&Generation(1)].minted.expires_at.unwrap() + policy().skew;
    let condemned = Step::Condemn { secret_id: sim.secret(1), reason: Condemnation::Expired };
    let is_condemned = |now| next(&state, &seen(&state), ROTATE, &policy(), now) == condemned;
    assert_eq!([expired, expired + SignedDuration::from_nanos(1)].map(is_condemned), [false, true]);
}

#[test]
fn what_targets_may_hold_is_given_up_when_it_is_refused_and_has_expired_by_every_clock() {
    let state = opened(&[intended(2), minted(2, 2, "x"), verified(2), wave(2), lease(3)]).unwrap();
    let expired = state.generations[&Generation(2)].minted.expires_at.unwrap() + policy().skew;
    let seen = Observed { refused: refusal(2), ..seen(&state) };
    let step = |now| next(&state, &seen, ROTATE, &policy(), now);
    let at_once = step(expired);
    assert!(matches!(&at_once, Step::Stop(problem) if problem.code == "sign-in-refused"), "{at_once:?}");
    let condemned = Step::Condemn { secret_id: SecretId::new("x"), reason: Condemnation::Expired };
    assert_eq!(step(expired + SignedDuration::from_nanos(1)), condemned);
}

#[test]
fn an_unanswered_create_takes_a_slot_until_a_list_would_show_it() {
    let unanswered = opened(&[intended(2), Event::MintUnanswered { attempt: 2 }]).unwrap();
    let AttemptFate::Unanswered { until } = unanswered.attempts[1].fate else { panic!("{:?}", unanswered.attempts) };
    let until = until + LISTED_AFTER;
    let mut seen = seen(&unanswered);
    let foreign = |number: usize| listed(&format!("foreign-{number}"));
    seen.listing.as_mut().unwrap().extend((1..SLOTS_USED_MAX).map(foreign));
    let step = |now| next(&unanswered, &seen, ROTATE, &policy(), now);
    assert!(matches!(step(until - SignedDuration::from_nanos(1)), Step::Wait { until: told, .. } if told == until));
    assert_eq!(step(until), Step::Mint);
}

#[test]
fn grants_come_before_the_mint() {
    let sim = Sim::rotated(&["a"]);
    let mut planned = plan(&sim.world, &sim.state(), PlanKind::Rotate, String::new());
    planned.grants =
        vec![Permission::Privileges { securable: "catalog".to_owned(), name: "main".to_owned(), privileges: Vec::new() }];
    let state = opened(&[Event::Settled { problem: None }, Event::Planned(Arc::new(planned.clone()))]).unwrap();
    assert_eq!(step(&state, &seen(&state)), Step::Grant);
    let state = opened(&[Event::Settled { problem: None }, Event::Planned(Arc::new(planned)), Event::Granted]).unwrap();
    assert_eq!(step(&state, &seen(&state)), Step::Mint);
}

#[test]
fn a_sent_secret_is_given_up_only_when_no_list_could_still_lag_behind_it() {
    let state = opened(&[intended(2), minted(2, 2, "x"), verified(2), wave(2), ended(Fate::Moved)]).unwrap();
    let first = state.generations[&Generation(1)].minted.secret_id.clone();
    let unlisted = Observed { refused: refusal(2), listing: Some(vec![listed(first.as_str())]), ..seen(&state) };
    let created_at = state.generations[&Generation(2)].minted.created_at;
    let at = |minutes, seconds| {
        let when = created_at + SignedDuration::from_mins(minutes) + SignedDuration::from_secs(seconds);
        next(&state, &unlisted, ROTATE, &policy(), when)
    };
    assert!(matches!(at(10, 0), Step::Stop(_)), "{:?}", at(10, 0));
    let secret_id = SecretId::new("x");
    assert_eq!(at(10, 1), Step::Condemn { secret_id, reason: Condemnation::VerificationFailed });
}

#[test]
fn a_value_in_a_slot_belongs_to_an_attempt_without_an_end_that_did_not_know_it() {
    let staged = |events: &[Event]| {
        let state = opened(events).unwrap();
        origin(&state, &BTreeSet::from([SecretId::new("y")]), &listed("y"))
    };
    assert_eq!(staged(&[intended(2)]), Origin::Staged { attempt: 2 });
    assert_eq!(staged(&[intended(2), Event::MintUnanswered { attempt: 2 }]), Origin::Staged { attempt: 2 });
    let known = Event::MintIntended { attempt: 2, known: BTreeSet::from([SecretId::new("y")]), lifetime_s: 1_000 };
    assert_eq!(staged(&[known]), Origin::Foreign);
    let problem = Problem::new("refused", "refused");
    assert_eq!(staged(&[intended(2), Event::MintRefused { attempt: 2, problem }]), Origin::Foreign);
    assert_eq!(staged(&[intended(2), minted(2, 2, "x")]), Origin::Foreign);
}

#[test]
fn a_stray_bears_the_fingerprint_of_an_attempt_that_did_not_know_it() {
    let told = |known: &[&str]| {
        let known = known.iter().map(|id| SecretId::new(*id)).collect();
        let state = opened(&[Event::MintIntended { attempt: 2, known, lifetime_s: 1_000 }]).unwrap();
        origin(&state, &BTreeSet::new(), &bearing(0))
    };
    assert_eq!((told(&[]), told(&["y"])), (Origin::Stray, Origin::Foreign));
}

/// A secret with the lifetime of `intended`, made so long after it.
fn bearing(after_s: i64) -> Listed {
    let created_at = now() + SignedDuration::from_secs(after_s);
    Listed { created_at, expires_at: Some(created_at + SignedDuration::from_secs(1_000)), ..listed("y") }
}

#[test]
fn the_fingerprint_of_an_answered_attempt_is_anybodys_later_on() {
    let told = |events: &[Event], after_s| origin(&opened(events).unwrap(), &BTreeSet::new(), &bearing(after_s));
    let answered = [intended(2), minted(2, 2, "x")];
    // The lease ends an hour later, and a write may land five minutes after that.
    for (after_s, stray) in [(-301, false), (-300, true), (0, true), (3_900, true), (3_901, false), (86_400, false)] {
        let expected = if stray { Origin::Stray } else { Origin::Foreign };
        assert_eq!(told(&answered, after_s), expected, "{after_s} s");
    }
    let unanswered = [intended(2), Event::MintUnanswered { attempt: 2 }];
    for (after_s, stray) in [(-301, false), (-300, true), (86_400, true)] {
        let expected = if stray { Origin::Stray } else { Origin::Foreign };
        assert_eq!(told(&unanswered, after_s), expected, "{after_s} s");
    }
}

#[test]
fn a_staged_value_that_nobody_wants_any_more_goes_though_no_list_shows_it() {
    let lost = [intended(2), Event::MintUnanswered { attempt: 2 }];
    let swept = |events: &[Event]| {
        let seen = Observed { values: BTreeSet::from([SecretId::new("y")]), ..Observed::default() };
        sweep(&opened(&[&lost[..], events].concat()).unwrap(), &seen, &[], now())
    };
    let secret_id = SecretId::new("y");
    assert_eq!(swept(&[]), Some(Step::Adopt { secret_id: secret_id.clone(), attempt: 2 }));
    let gone = Some(Step::Condemn { secret_id, reason: Condemnation::Stray });
    assert_eq!(swept(&[Event::Settled { problem: None }]), gone);
    assert_eq!(swept(&[intended(3), minted(3, 2, "x")]), gone);
}

#[test]
fn only_a_delete_that_was_accepted_counts_as_one() {
    let state = opened(&[intended(2), condemned("y", Condemnation::Stray)]).unwrap();
    let swept = |accepted, seconds| {
        let last = now() - SignedDuration::from_secs(seconds);
        let deletes = [(SecretId::new("y"), DeleteSent { tries: 1, last, accepted })].into();
        sweep(&state, &Observed { deletes, ..Observed::default() }, &[], now())
    };
    assert_eq!(swept(true, 1), Some(Step::RecordDeleted { secret_id: SecretId::new("y") }));
    assert_eq!(swept(false, 1), None);
    assert!(matches!(swept(false, 10), Some(Step::Delete { .. })));
}

#[test]
fn an_own_secret_uses_its_slot_before_a_list_shows_it() {
    let state = opened(&[intended(2), minted(2, 2, "x")]).unwrap();
    let made = state.generations[&Generation(2)].minted.created_at;
    let used = |ids: &[&str], after_s| {
        let listing: Vec<Listed> = ids.iter().map(|id| listed(id)).collect();
        used_slots(&state, &listing, made + SignedDuration::from_secs(after_s))
    };
    let first = state.generations[&Generation(1)].minted.secret_id.to_string();
    assert_eq!((used(&[&first], 14), used(&[&first, "x"], 14), used(&[&first], 601)), (2, 2, 1));
}

#[test]
fn a_target_that_a_dead_runner_left_with_a_dead_secret_is_due() {
    let rotation = |events: &[Event]| {
        let gone = [condemned("x", Condemnation::VerificationFailed), Event::Settled { problem: None }];
        let state = opened(&[&[intended(2), minted(2, 2, "x"), verified(2)], events, &gone].concat()).unwrap();
        let policy = crate::rotation::next::Policy { rotate_every: None, ..policy() };
        due(&state, &policy, None, false, now()).due
    };
    // It died in the wave, and its successor found the secret deleted.
    assert!(rotation(&[wave(2), lease(3)]));
    assert!(!rotation(&[lease(3)]));
}
