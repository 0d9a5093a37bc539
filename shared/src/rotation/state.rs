//! The state of one principal: the fold of its journal. A pure function; an event that cannot follow what came before is
//! an error, so that replaying a journal checks it.

mod fold;
mod refreshes;
mod take_over;
mod turn;
mod wave;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::event::{Asked, Begun, Condemnation, Minted, PlanKind, Planned, Turn};
use super::led::Led;
use super::refresh::RefreshState;
use crate::error::Problem;
use crate::ids::{DatasetId, Generation, RunnerId, SecretId, TargetId};
use crate::report::Phase;
use crate::targets::{DatasetRef, TargetSpec};
pub use wave::Wave;

/// A target that has failed for this long is parked.
pub const PARK_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// Everything that the journal says.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The first look, when there was one.
    pub begun: Option<Begun>,
    /// Heads of a lost journal that stored values may name.
    pub forgiven: BTreeSet<String>,
    /// The lease, until released.
    pub lease: Option<Lease>,
    /// On whose behalf the open rotation, or else the present run, is.
    pub asked: Option<Asked>,
    /// How far Secrets Manager has led the open rotation, where it leads it.
    pub led: Option<Led>,
    /// The operation of the API that asked for the newest change of direction, where one did.
    pub turned_for: Option<String>,
    /// The newest epoch.
    pub epoch: u64,
    /// Every generation ever made, with what became of it.
    pub generations: BTreeMap<Generation, GenerationState>,
    /// The generation that targets are meant to hold.
    pub current: Option<Generation>,
    /// The generation that was current before, where the last promotion was a rotation's: a rollback leads there.
    pub before: Option<Generation>,
    /// Every mint attempt.
    pub attempts: Vec<Attempt>,
    /// Every condemned secret.
    pub condemned: BTreeMap<SecretId, Condemned>,
    /// The open rotation, reapply or rollback.
    pub open: Option<Open>,
    /// Plans made so far.
    pub plans: u32,
    /// Every place that was ever sent a generation or is meant to be. Shared: an entry is tried on a copy of the state, which is
    /// made for each and must stay cheap for ten thousand places.
    pub holders: BTreeMap<TargetId, Arc<Holder>>,
    /// The refreshes of the last plan.
    pub refreshes: BTreeMap<DatasetId, RefreshState>,
    /// Datasets whose take-over has begun and not ended.
    pub taking_over: Vec<DatasetRef>,
    /// By dataset, sorted: the places that may have to wait until it is taken over.
    pub(super) take_overs: Arc<Vec<(DatasetId, TargetId)>>,
    /// The wave under way.
    pub wave: Option<Wave>,
    /// The last move of a target or promotion: grace counts from here.
    pub last_move: Option<Timestamp>,
    /// When the current generation was promoted.
    pub rotated_at: Option<Timestamp>,
    /// The grace of the last plan, in seconds.
    pub grace_s: u64,
    /// Whether a rotation has settled whose grace is not known to have passed.
    pub draining: bool,
    /// Why a person must act.
    pub quarantine: Option<Problem>,
    /// The targets for which it was quarantined as `canary-failed`.
    pub failed_canaries: Vec<TargetId>,
    /// A change of direction that has not been carried out.
    pub turn: Option<Turn>,
    /// A rollback holds here: no rotation starts by itself.
    pub held: Option<Held>,
}

/// Held after a rollback, until `rotate --force`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The generation that targets went back to.
    pub generation: Generation,
}

/// The right to write.
#[derive(Clone, Debug)]
pub struct Lease {
    /// Who has it.
    pub holder: RunnerId,
    /// Its fencing number.
    pub epoch: u64,
    /// When it ends.
    pub until: Timestamp,
    /// How long its writes may take to land after it was given up.
    pub landing: SignedDuration,
}

/// One generation.
#[derive(Clone, Debug)]
pub struct GenerationState {
    /// As journaled.
    pub minted: Minted,
    /// Whether it has signed in as the principal.
    pub verified: bool,
    /// Whether any place was ever sent it.
    pub sent: bool,
}

/// One mint attempt.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Its number.
    pub number: u32,
    /// The ids that existed before.
    pub known: BTreeSet<SecretId>,
    /// Its fingerprint.
    pub lifetime_s: u64,
    /// When an answered create can have taken effect, however often it was delivered: around the lease of then.
    pub made_between: (Timestamp, Timestamp),
    /// How it stands.
    pub fate: AttemptFate,
    /// Whether a person has decided to leave alone what it may have made and cannot be told from others' secrets.
    pub dismissed: bool,
}

/// How a mint attempt stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptFate {
    /// Intended in the present epoch.
    UnderWay,
    /// Certainly without effect.
    Refused,
    /// Its secret is journaled.
    Minted,
    /// It may take effect until about then (it is recognised later too).
    Unanswered {
        /// Until when it counts against the slots.
        until: Timestamp,
    },
}

/// One condemned secret.
#[derive(Clone, Copy, Debug)]
pub struct Condemned {
    /// Why.
    pub reason: Condemnation,
    /// The entry that says so, to be read back before the delete.
    pub seq: u64,
    /// Whether Databricks no longer lists it.
    pub deleted: bool,
}

/// The open plan.
#[derive(Clone, Debug)]
pub struct Open {
    /// Counted over the journal.
    pub number: u32,
    /// As frozen.
    pub plan: Arc<Planned>,
    /// The targets' waves by id, with those added by take-overs. Shared as the places are.
    pub waves: Vec<Arc<BTreeSet<TargetId>>>,
    /// Whether the grants have been added.
    pub granted: bool,
    /// What targets are being moved to.
    pub generation: Option<Generation>,
    /// Whether the store has it as current.
    pub promoted: bool,
    /// Whether a wave of it has been sent.
    pub sent: bool,
    /// Secrets of it that were discarded, and why: too many ends it.
    pub discarded: Vec<Condemnation>,
    /// How places stood that had failed before, for a plan that ends before it has come to them.
    pub left: BTreeMap<TargetId, Failures>,
}

/// A place that may hold a generation: a target, or a copy.
#[derive(Clone, Debug, Default)]
pub struct Holder {
    /// As last read; `None` for a copy.
    pub spec: Option<Arc<TargetSpec>>,
    /// Whether the latest plan includes it.
    pub planned: bool,
    /// In which of that plan's waves it is, where it is in one.
    pub wave: Option<usize>,
    /// Generations that it may hold.
    pub may_hold: BTreeSet<Generation>,
    /// The generation that it was last seen to take.
    pub confirmed: Option<Generation>,
    /// The plan and generation in which it was last moved.
    pub done: Option<(u32, Generation)>,
    /// A write that may still land, and until when.
    pub in_flight: Option<(Generation, Timestamp)>,
    /// Updates sent to it in the present plan.
    pub attempts: u32,
    /// Failures since it last moved. Few places have any, and every place would have room for them.
    pub failures: Option<Box<Failures>>,
    /// A dataset that uses it was being refreshed, so that it was left for a while.
    pub busy: Option<Box<Busy>>,
    /// Whether it was taken over and has not been written since: first in line.
    pub bare: bool,
}

/// A place that is left while a dataset that uses it is being refreshed.
#[derive(Clone, Debug)]
pub struct Busy {
    /// Since when.
    pub since: Timestamp,
    /// When it was last looked.
    pub last: Timestamp,
    /// Which dataset.
    pub problem: Option<Problem>,
}

/// Failures of one place since it last moved.
#[derive(Clone, Debug)]
pub struct Failures {
    /// The first.
    pub since: Timestamp,
    /// The last.
    pub last: Timestamp,
    /// How many in a row.
    pub count: u32,
    /// How many of them tell against the secret or the target, and not only of a service in trouble.
    pub refusals: u32,
    /// What the last one was.
    pub problem: Option<Problem>,
    /// Whether the rotation goes on without it.
    pub parked: bool,
}

/// An event that cannot follow what came before it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("entry {seq} cannot follow what the journal says before it: {reason}")]
pub struct IllegalEvent {
    /// The entry.
    pub seq: u64,
    /// Why not.
    pub reason: &'static str,
}

impl State {
    /// Every place, by id.
    pub fn places(&self) -> impl Iterator<Item = (&TargetId, &Holder)> {
        self.holders.iter().map(|(id, holder)| (id, &**holder))
    }

    /// A place.
    pub fn place(&self, id: &TargetId) -> Option<&Holder> {
        self.holders.get(id).map(Arc::as_ref)
    }

    /// A place, to be changed.
    pub(super) fn holder_mut(&mut self, id: &TargetId) -> Option<&mut Holder> {
        self.holders.get_mut(id).map(Arc::make_mut)
    }

    /// Generations whose secrets may live: neither condemned nor known to be deleted.
    pub fn living(&self) -> impl Iterator<Item = (Generation, &GenerationState)> {
        self.generations.iter().filter(|(_, state)| !self.condemned.contains_key(&state.minted.secret_id)).map(|(id, s)| (*id, s))
    }

    /// The generation that has this secret.
    pub fn generation_of(&self, secret_id: &SecretId) -> Option<Generation> {
        self.generations.iter().find(|(_, state)| state.minted.secret_id == *secret_id).map(|(generation, _)| *generation)
    }

    /// The places that may hold a generation, and therefore keep its secret alive.
    pub fn gates(&self, generation: Generation) -> impl Iterator<Item = &TargetId> {
        let may_hold = move |holder: &Holder| {
            holder.may_hold.contains(&generation) || holder.in_flight.is_some_and(|(flying, _)| flying == generation)
        };
        self.places().filter(move |(_, holder)| may_hold(holder)).map(|(id, _)| id)
    }

    /// The generation that targets are meant to hold: the incoming one from its first wave on.
    pub fn meant(&self) -> Option<Generation> {
        match &self.open {
            Some(open) if open.sent => open.generation.or(self.current),
            _ => self.current,
        }
    }

    /// The number that the next generation gets.
    pub fn next_generation(&self) -> Generation {
        Generation(self.generations.keys().next_back().map_or(1, |last| last.0 + 1))
    }

    /// Condemned secrets that Databricks may still list.
    pub fn undeleted(&self) -> impl Iterator<Item = (&SecretId, &Condemned)> {
        self.condemned.iter().filter(|(_, condemned)| !condemned.deleted)
    }

    /// Whether the last rotation's grace has not passed yet, or superseded generations still live.
    pub fn is_draining(&self) -> bool {
        self.draining || self.has_superseded()
    }

    /// Whether superseded generations still live.
    pub fn has_superseded(&self) -> bool {
        self.living().any(|(generation, _)| Some(generation) != self.current) || self.undeleted().next().is_some()
    }

    /// Where the credential stands, in the contract's words.
    pub fn phase(&self) -> Phase {
        if self.quarantine.is_some() {
            return Phase::Quarantined;
        }
        let Some(open) = &self.open else {
            if self.turn.is_some() {
                return Phase::Applying;
            }
            return if self.is_draining() { Phase::Draining } else { Phase::Idle };
        };
        match open.generation.and_then(|generation| self.generations.get(&generation)) {
            _ if matches!(open.plan.kind, PlanKind::Reapply | PlanKind::Join | PlanKind::Rollback) => Phase::Applying,
            _ if open.promoted => Phase::Promoted,
            _ if open.sent => Phase::Applying,
            None => Phase::Planned,
            Some(generation) if generation.verified => Phase::Verified,
            Some(_) => Phase::Minted,
        }
    }
}

impl Open {
    /// The targets of all waves.
    pub fn targets(&self) -> impl Iterator<Item = &TargetId> {
        self.waves.iter().flat_map(|wave| wave.iter())
    }
}

impl Holder {
    /// Whether it may hold, or may yet get, another generation than this.
    pub fn may_hold_other_than(&self, generation: Generation) -> bool {
        self.may_hold.iter().any(|held| *held != generation) || self.in_flight.is_some_and(|(flying, _)| flying != generation)
    }
}

/// `from`, later by this much.
pub(crate) fn past(from: Timestamp, by: SignedDuration) -> Timestamp {
    from.saturating_add(by).unwrap_or(Timestamp::MAX)
}
