//! The state of one principal: the fold of its journal. A pure function; an event that cannot follow what came before is
//! an error, so that replaying a journal checks it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::event::{Begun, Condemnation, Event, Fate, Minted, PlanKind, Planned, TakenOver, WaveResult};
use crate::error::Problem;
use crate::ids::{Generation, RunnerId, SecretId, TargetId};
use crate::report::Phase;
use crate::targets::{DatasetRef, TargetSpec};

/// A target that has failed for this long is parked.
pub const PARK_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// Everything that the journal says.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The first look, when there was one.
    pub begun: Option<Begun>,
    /// The lease, until released.
    pub lease: Option<Lease>,
    /// The newest epoch.
    pub epoch: u64,
    /// Every generation ever made, with what became of it.
    pub generations: BTreeMap<Generation, GenerationState>,
    /// The generation that targets are meant to hold.
    pub current: Option<Generation>,
    /// Every mint attempt.
    pub attempts: Vec<Attempt>,
    /// Every condemned secret.
    pub condemned: BTreeMap<SecretId, Condemned>,
    /// The open rotation or reapply.
    pub open: Option<Open>,
    /// Plans made so far.
    pub plans: u32,
    /// Every place that was ever sent a generation or is meant to be.
    pub holders: BTreeMap<TargetId, Holder>,
    /// Datasets whose take-over has begun and not ended.
    pub taking_over: Vec<DatasetRef>,
    /// The wave under way.
    wave: Option<Wave>,
    /// The last move of a target or promotion: grace counts from here.
    pub last_move: Option<Timestamp>,
    /// When the current generation was promoted.
    pub rotated_at: Option<Timestamp>,
    /// The grace of the last plan, in seconds.
    pub grace_s: u64,
    /// Why a person must act.
    pub quarantine: Option<Problem>,
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
    /// How it stands.
    pub fate: AttemptFate,
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

/// The open rotation or reapply.
#[derive(Clone, Debug)]
pub struct Open {
    /// Counted over the journal.
    pub number: u32,
    /// As frozen.
    pub plan: Planned,
    /// The targets' waves by id, with those added by take-overs.
    pub waves: Vec<Vec<TargetId>>,
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
}

/// A place that may hold a generation: a target, or a copy.
#[derive(Clone, Debug, Default)]
pub struct Holder {
    /// As last read; `None` for a copy.
    pub spec: Option<TargetSpec>,
    /// Whether the latest plan includes it as a target.
    pub planned: bool,
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
    /// Failures since it last moved.
    pub failures: Option<Failures>,
    /// Whether it was taken over and has not been written since: first in line.
    pub bare: bool,
    /// Taken over already, in this plan.
    pub taken_over: bool,
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
    /// What the last one was.
    pub problem: Option<Problem>,
    /// Whether the rotation goes on without it.
    pub parked: bool,
}

#[derive(Clone, Debug)]
struct Wave {
    generation: Generation,
    targets: Vec<TargetId>,
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
    /// Adds one entry.
    pub fn apply(&mut self, seq: u64, at: Timestamp, by: &RunnerId, event: &Event) -> Result<(), IllegalEvent> {
        let illegal = |reason| Err(IllegalEvent { seq, reason });
        match event {
            Event::LeaseTaken { epoch, until, landing_ms } => {
                if *epoch != self.epoch + 1 {
                    return illegal("a lease skips an epoch");
                }
                self.end_epoch(at);
                self.epoch = *epoch;
                let landing = SignedDuration::from_millis(*landing_ms);
                self.lease = Some(Lease { holder: by.clone(), epoch: *epoch, until: *until, landing });
            }
            Event::LeaseRenewed { until } => match &mut self.lease {
                Some(lease) if lease.holder == *by => lease.until = *until,
                _ => return illegal("a lease is renewed by a runner that does not hold it"),
            },
            Event::LeaseReleased => {
                self.end_epoch(at);
                self.lease = None;
            }
            Event::Begun(begun) => {
                if self.begun.is_some() {
                    return illegal("the journal begins twice");
                }
                self.begun = Some(begun.clone());
                if let Some(adopted) = &begun.adopted {
                    self.add_generation(adopted);
                    self.current = Some(adopted.generation);
                    self.generations.entry(adopted.generation).and_modify(|state| state.verified = true);
                }
            }
            Event::Planned(plan) => {
                if self.open.is_some() || self.begun.is_none() {
                    return illegal("a plan is made while one is open, or before the first look");
                }
                self.open_plan(plan);
            }
            Event::Settled { .. } => {
                if self.open.take().is_none() {
                    return illegal("nothing is open that could be settled");
                }
            }
            Event::Quarantined { problem } => self.quarantine = Some(problem.clone()),
            Event::Unquarantined { forced } => {
                self.quarantine = None;
                if *forced && let Some(open) = self.open.as_mut().filter(|open| !open.promoted) {
                    open.generation = None;
                }
            }
            Event::Condemned { secret_id, reason } => {
                if self.condemned.contains_key(secret_id) {
                    return illegal("a secret is condemned twice");
                }
                self.condemn(seq, secret_id, *reason);
            }
            Event::Deleted { secret_id } => match self.condemned.get_mut(secret_id) {
                Some(condemned) => condemned.deleted = true,
                None => return illegal("a secret was deleted that was never condemned"),
            },
            Event::Granted
            | Event::MintIntended { .. }
            | Event::MintRefused { .. }
            | Event::MintUnanswered { .. }
            | Event::Minted(_)
            | Event::Verified { .. }
            | Event::TakeOverStarted { .. }
            | Event::TakenOver { .. }
            | Event::WaveStarted { .. }
            | Event::WaveEnded { .. }
            | Event::Parked { .. }
            | Event::Promoted { .. } => return self.apply_progress(at, event).or_else(illegal),
        }
        Ok(())
    }

    fn apply_progress(&mut self, at: Timestamp, event: &Event) -> Result<(), &'static str> {
        match event {
            Event::Granted => self.open.as_mut().ok_or("grants outside a plan")?.granted = true,
            Event::MintIntended { attempt, known, lifetime_s } => {
                if self.open.is_none() {
                    return Err("a mint outside a plan");
                }
                self.attempts.push(Attempt {
                    number: *attempt,
                    known: known.clone(),
                    lifetime_s: *lifetime_s,
                    fate: AttemptFate::UnderWay,
                });
            }
            Event::MintRefused { attempt, .. } => self.attempt(*attempt)?.fate = AttemptFate::Refused,
            Event::MintUnanswered { attempt } => {
                let until = at.saturating_add(self.landing()).unwrap_or(Timestamp::MAX);
                self.attempt(*attempt)?.fate = AttemptFate::Unanswered { until };
            }
            Event::Minted(minted) => {
                if self.condemned.contains_key(&minted.secret_id) {
                    return Err("a condemned secret is adopted");
                }
                self.attempt(minted.attempt)?.fate = AttemptFate::Minted;
                self.add_generation(minted);
                self.open.as_mut().ok_or("a mint outside a plan")?.generation = Some(minted.generation);
            }
            Event::Verified { generation } => {
                self.generations.get_mut(generation).ok_or("an unknown generation is verified")?.verified = true;
            }
            Event::TakeOverStarted { datasets } => self.taking_over.clone_from(datasets),
            Event::TakenOver { results } => self.taken_over(at, results),
            Event::WaveStarted { generation, targets } => self.wave_started(*generation, targets)?,
            Event::WaveEnded { results } => self.wave_ended(at, results)?,
            Event::Parked { targets } => {
                for id in targets {
                    if let Some(failures) = self.holders.get_mut(id).and_then(|holder| holder.failures.as_mut()) {
                        failures.parked = true;
                    }
                }
            }
            Event::Promoted { generation } => {
                self.open.as_mut().ok_or("a promotion outside a plan")?.promoted = true;
                self.current = Some(*generation);
                self.last_move = Some(at);
                self.rotated_at = Some(at);
            }
            Event::LeaseTaken { .. }
            | Event::LeaseRenewed { .. }
            | Event::LeaseReleased
            | Event::Begun(_)
            | Event::Planned(_)
            | Event::Settled { .. }
            | Event::Quarantined { .. }
            | Event::Unquarantined { .. }
            | Event::Condemned { .. }
            | Event::Deleted { .. } => return Err("not a step of a rotation"),
        }
        Ok(())
    }

    fn landing(&self) -> SignedDuration {
        self.lease.as_ref().map_or(SignedDuration::ZERO, |lease| lease.landing)
    }

    fn attempt(&mut self, number: u32) -> Result<&mut Attempt, &'static str> {
        self.attempts.iter_mut().find(|attempt| attempt.number == number).ok_or("an attempt that was never intended")
    }

    fn add_generation(&mut self, minted: &Minted) {
        let state = GenerationState { minted: minted.clone(), verified: false, sent: false };
        self.generations.insert(minted.generation, state);
    }

    /// Whatever the runner of the ended epoch had under way may land for a while yet.
    fn end_epoch(&mut self, at: Timestamp) {
        let Some(lease) = &self.lease else { return };
        let last_sign = at.min(lease.until);
        let until = last_sign.saturating_add(lease.landing).unwrap_or(Timestamp::MAX);
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.fate == AttemptFate::UnderWay) {
            attempt.fate = AttemptFate::Unanswered { until };
        }
        if let Some(wave) = self.wave.take() {
            for id in &wave.targets {
                if let Some(holder) = self.holders.get_mut(id) {
                    holder.in_flight = Some((wave.generation, until));
                }
            }
        }
    }

    fn open_plan(&mut self, plan: &Planned) {
        self.plans += 1;
        self.grace_s = plan.grace_s;
        let living: BTreeSet<Generation> = self.living().map(|(generation, _)| generation).collect();
        for holder in self.holders.values_mut() {
            holder.taken_over = false;
            // Each plan includes parked targets again and gives them a day of their own.
            holder.failures = None;
            holder.attempts = 0;
            holder.planned = false;
        }
        for spec in plan.waves.iter().flatten() {
            let holder =
                self.holders.entry(spec.id.clone()).or_insert_with(|| Holder { may_hold: living.clone(), ..Holder::default() });
            holder.spec = Some(spec.clone());
            holder.planned = true;
        }
        for copy in &plan.copies {
            self.holders.entry(copy.holder()).or_insert_with(|| Holder { may_hold: living.clone(), ..Holder::default() });
        }
        self.open = Some(Open {
            number: self.plans,
            waves: plan.waves.iter().map(|wave| wave.iter().map(|spec| spec.id.clone()).collect()).collect(),
            granted: plan.grants.is_empty(),
            generation: match plan.kind {
                PlanKind::Rotate => None,
                PlanKind::Reapply => self.current,
            },
            promoted: plan.kind == PlanKind::Reapply,
            sent: false,
            discarded: Vec::new(),
            plan: plan.clone(),
        });
    }

    fn condemn(&mut self, seq: u64, secret_id: &SecretId, reason: Condemnation) {
        self.condemned.insert(secret_id.clone(), Condemned { reason, seq, deleted: false });
        let generation = self.generation_of(secret_id);
        if let Some(open) = &mut self.open
            && open.generation.is_some()
            && open.generation == generation
        {
            open.generation = None;
            open.discarded.push(reason);
        }
    }

    fn taken_over(&mut self, at: Timestamp, results: &[TakenOver]) {
        self.taking_over.clear();
        for result in results {
            let before: Vec<TargetId> = self
                .holders
                .iter()
                .filter(|(_, holder)| {
                    holder.spec.as_ref().is_some_and(|spec| spec.take_over.as_ref() == Some(&result.dataset.id))
                })
                .map(|(id, _)| id.clone())
                .collect();
            if let Some(problem) = &result.problem {
                for id in &before {
                    self.fail(id, at, Some(problem));
                }
                continue;
            }
            for id in before.iter().filter(|id| !result.targets.iter().any(|spec| spec.id == **id)) {
                self.rebound(id, &result.dataset);
            }
            for spec in &result.targets {
                self.join_plan(spec);
            }
        }
    }

    /// A take-over gave the dataset another data source. The old one stays with its other datasets, of which the next is
    /// taken over in turn; without any it leaves the plan, and what it may hold still gates.
    fn rebound(&mut self, id: &TargetId, dataset: &DatasetRef) {
        let Some(holder) = self.holders.get_mut(id) else { return };
        holder.failures = None;
        let Some(spec) = &mut holder.spec else { return };
        spec.datasets.retain(|user| user.id != dataset.id);
        spec.take_over = spec.datasets.first().map(|user| user.id.clone());
        if spec.take_over.is_none() {
            holder.planned = false;
            for wave in self.open.iter_mut().flat_map(|open| open.waves.iter_mut()) {
                wave.retain(|target| target != id);
            }
        }
    }

    fn join_plan(&mut self, spec: &TargetSpec) {
        let holder = self.holders.entry(spec.id.clone()).or_default();
        holder.spec = Some(spec.clone());
        holder.planned = true;
        holder.bare = true;
        holder.taken_over = true;
        if let Some(open) = &mut self.open
            && !open.waves.iter().flatten().any(|id| *id == spec.id)
            && let Some(wave) = open.waves.first_mut()
        {
            wave.push(spec.id.clone());
        }
    }

    fn wave_started(&mut self, generation: Generation, targets: &[TargetId]) -> Result<(), &'static str> {
        self.generations.get_mut(&generation).ok_or("an unknown generation is sent")?.sent = true;
        for id in targets {
            self.holders.entry(id.clone()).or_default().may_hold.insert(generation);
        }
        if let Some(open) = &mut self.open {
            open.sent = true;
        }
        self.wave = Some(Wave { generation, targets: targets.to_vec() });
        Ok(())
    }

    fn wave_ended(&mut self, at: Timestamp, results: &[WaveResult]) -> Result<(), &'static str> {
        let wave = self.wave.take().ok_or("a wave ends that never began")?;
        let plan = self.open.as_ref().map_or(self.plans, |open| open.number);
        let landing = self.landing();
        for result in results {
            let settled = |until: Timestamp| until <= result.at;
            let Some(holder) = self.holders.get_mut(&result.target) else { continue };
            holder.attempts += u32::from(result.fate != Fate::NotTried);
            match result.fate {
                Fate::Moved => {
                    // An earlier write of another generation cannot be under way: `next` waits for it to land first.
                    holder.may_hold = BTreeSet::from([wave.generation]);
                    holder.confirmed = Some(wave.generation);
                    holder.done = Some((plan, wave.generation));
                    holder.in_flight = result
                        .earlier_may_land
                        .then(|| (wave.generation, result.at.saturating_add(landing).unwrap_or(Timestamp::MAX)));
                    holder.failures = None;
                    holder.bare = false;
                    self.last_move = Some(self.last_move.map_or(result.at, |last| last.max(result.at)));
                }
                Fate::Refused | Fate::NotWritten => {
                    if holder.in_flight.is_some_and(|(generation, until)| generation == wave.generation || settled(until)) {
                        holder.in_flight = None;
                    }
                    self.fail(&result.target, at, result.problem.as_ref());
                }
                Fate::Unknown => {
                    let until = result.at.saturating_add(landing).unwrap_or(Timestamp::MAX);
                    holder.in_flight = Some((wave.generation, until));
                    self.fail(&result.target, at, result.problem.as_ref());
                }
                Fate::NotTried => {}
            }
        }
        Ok(())
    }

    fn fail(&mut self, id: &TargetId, at: Timestamp, problem: Option<&Problem>) {
        let Some(holder) = self.holders.get_mut(id) else { return };
        let failures = holder.failures.get_or_insert(Failures { since: at, last: at, count: 0, problem: None, parked: false });
        failures.count += 1;
        failures.last = at;
        failures.problem = problem.cloned();
    }

    /// Generations whose secrets may live: neither condemned nor known to be deleted.
    pub fn living(&self) -> impl Iterator<Item = (Generation, &GenerationState)> {
        self.generations.iter().filter(|(_, state)| !self.condemned.contains_key(&state.minted.secret_id)).map(|(id, s)| (*id, s))
    }

    /// The generation that has this secret.
    pub fn generation_of(&self, secret_id: &SecretId) -> Option<Generation> {
        self.generations.iter().find(|(_, state)| state.minted.secret_id == *secret_id).map(|(generation, _)| *generation)
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

    /// Whether superseded generations still live.
    pub fn is_draining(&self) -> bool {
        self.living().any(|(generation, _)| Some(generation) != self.current) || self.undeleted().next().is_some()
    }

    /// Where the credential stands, in the contract's words.
    pub fn phase(&self) -> Phase {
        if self.quarantine.is_some() {
            return Phase::Quarantined;
        }
        let Some(open) = &self.open else {
            return if self.is_draining() { Phase::Draining } else { Phase::Idle };
        };
        match open.generation.and_then(|generation| self.generations.get(&generation)) {
            _ if open.plan.kind == PlanKind::Reapply => Phase::Applying,
            _ if open.promoted => Phase::Promoted,
            _ if open.sent => Phase::Applying,
            None => Phase::Planned,
            Some(generation) if generation.verified => Phase::Verified,
            Some(_) => Phase::Minted,
        }
    }
}
