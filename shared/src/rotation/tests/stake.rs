//! The nearer the expiry of what a stuck target holds, the louder the word.

use jiff::SignedDuration;

use super::world::Manner;
use super::{ROTATE, Sim};
use crate::ids::{CredentialName, Generation, TargetId};
use crate::rotation::stake::{Urgency, at_stake, forsaken};
use crate::rotation::state::Holder;

#[test]
fn a_target_that_lags_behind_is_spoken_of_ever_louder_as_its_secret_nears_expiry() {
    let mut sim = Sim::rotated(&["a", "b"]);
    assert_eq!(at_stake(&sim.state(), sim.world.now), None, "nothing waits for anybody");
    sim.world.site("b").manner = Manner::Refuses;
    sim.days(8);
    sim.run(ROTATE);
    let state = sim.state();
    let expires_at = state.generations[&Generation(1)].minted.expires_at.unwrap();
    let told = |hours: i64| {
        let stake = at_stake(&state, expires_at - SignedDuration::from_hours(hours)).unwrap();
        assert_eq!((stake.target.clone(), stake.expires_at), (TargetId::new("b"), expires_at));
        (stake.urgency, stake.to_string())
    };
    let urgencies = [100, 71, 23, 0].map(|hours| told(hours).0);
    assert_eq!(urgencies, [Urgency::Notice, Urgency::Warning, Urgency::Urgent, Urgency::Expired]);
    assert!(urgencies.is_sorted());
    assert!(told(71).1.starts_with("warning: `b`") && told(23).1.starts_with("urgent: `b`"), "{}", told(23).1);
}

#[test]
fn what_nobody_rotates_is_at_stake_though_no_target_failed() {
    let mut sim = Sim::rotated(&["a"]);
    sim.days(8);
    sim.rotates();
    sim.rolls_back(1);
    let state = sim.state();
    let expires_at = state.generations[&Generation(1)].minted.expires_at.unwrap();
    assert_eq!(at_stake(&state, sim.world.now).map(|stake| stake.expires_at), Some(expires_at));
}

#[test]
fn what_nobody_selects_any_more_is_named_while_it_keeps_an_old_secret_alive() {
    let mut sim = Sim::rotated(&["a", "b"]);
    sim.rotates();
    let told = |change: fn(&mut Holder)| {
        let mut state = sim.state();
        change(state.holder_mut(&TargetId::new("b")).unwrap());
        let told = forsaken(&state, &CredentialName::new("sales-bi"));
        told.into_iter().map(|forsaken| (forsaken.target, forsaken.reason)).collect::<Vec<_>>()
    };
    let [(target, reason)] =
        &told(|holder| (holder.planned, holder.may_hold) = (false, [Generation(1), Generation(2)].into()))[..]
    else {
        panic!("one is forsaken")
    };
    assert_eq!(*target, TargetId::new("b"));
    assert!(reason.contains("may hold generation 1,") && reason.contains("`lakekey forget sales-bi b`"), "{reason}");
    assert_eq!(told(|holder| holder.may_hold = [Generation(1)].into()), [], "the next rotation moves it");
    assert_eq!(told(|holder| holder.planned = false), [], "it holds the current generation");
    assert_eq!(
        told(|holder| (holder.planned, holder.spec, holder.may_hold) = (false, None, [Generation(1)].into())),
        [],
        "a copy"
    );
}
