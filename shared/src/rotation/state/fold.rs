//! Adding one entry to the state. What cannot follow is refused, and so is what would break a guarantee: a condemned
//! secret used again, the current one condemned, two generations in flight to one place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{Attempt, AttemptFate, Condemned, Failures, GenerationState, Holder, IllegalEvent, Lease, Open, State, past};
use crate::error::Problem;
use crate::ids::{Generation, RunnerId, SecretId, TargetId};
use crate::rotation::event::{Begun, Condemnation, Event, Minted, PlanKind, Planned, Turn};
use crate::rotation::led::{Led, LedStep};

pub(super) type Folded = Result<(), &'static str>;

impl State {
    /// Adds one entry. After an error the state is of no use any more.
    pub fn apply(&mut self, seq: u64, at: Timestamp, by: &RunnerId, event: &Event) -> Result<(), IllegalEvent> {
        self.fold(seq, at, by, event).map_err(|reason| IllegalEvent { seq, reason })
    }

    fn fold(&mut self, seq: u64, at: Timestamp, by: &RunnerId, event: &Event) -> Folded {
        let leased = self.lease.as_ref().is_some_and(|lease| lease.holder == *by);
        let is_out = self.wave_out().is_some();
        // Whoever works a slice last ends the wave, under no lease of its own.
        let ends_wave = is_out && matches!(event, Event::WaveEnded { .. });
        if !ends_wave && !matches!(event, Event::LeaseTaken { .. } | Event::Turned { .. }) {
            if is_out {
                return Err("slices of a wave are out");
            }
            if !leased {
                return Err("it is by a runner that does not hold the lease");
            }
        }
        match event {
            Event::LeaseTaken { epoch, until, landing_ms } => {
                if *epoch != self.epoch + 1 {
                    return Err("a lease skips an epoch");
                }
                if is_out && self.lease.as_ref().is_some_and(|lease| at < lease.until) {
                    return Err("a lease is taken while slices of a wave are out under another");
                }
                self.end_epoch(at);
                if self.open.is_none() {
                    self.asked = None;
                    self.led = None;
                }
                self.epoch = *epoch;
                let landing = SignedDuration::from_millis(*landing_ms);
                self.lease = Some(Lease { holder: by.clone(), epoch: *epoch, until: *until, landing });
            }
            Event::LeaseRenewed { until } => self.lease.as_mut().ok_or("no lease to renew")?.until = *until,
            Event::LeaseReleased => {
                self.end_epoch(at);
                self.lease = None;
            }
            Event::Asked(asked) => self.asked = Some(asked.clone()),
            Event::Led { token, step } => self.led_on(at, token, *step),
            Event::Begun(begun) => self.begin(begun)?,
            Event::Planned(plan) => self.open_plan(plan)?,
            Event::Granted => self.opened("grants outside a plan")?.granted = true,
            Event::MintIntended { attempt, known, lifetime_s } => self.mint_intended(at, *attempt, known, *lifetime_s)?,
            Event::MintRefused { attempt, .. } => self.under_way(*attempt)?.fate = AttemptFate::Refused,
            Event::MintUnanswered { attempt } => {
                let until = past(at, self.landing());
                self.under_way(*attempt)?.fate = AttemptFate::Unanswered { until };
            }
            Event::Minted(minted) => self.minted(minted)?,
            Event::Verified { generation } => self.alive(*generation)?.verified = true,
            Event::Condemned { secret_id, reason } => self.condemn(seq, secret_id, *reason)?,
            Event::Deleted { secret_id } => {
                self.condemned.get_mut(secret_id).ok_or("a secret was deleted that was never condemned")?.deleted = true;
            }
            Event::TakeOverStarted { datasets } => {
                self.opened("a take-over outside a plan")?;
                self.taking_over.clone_from(datasets);
            }
            Event::TakenOver { results } => self.taken_over(at, results),
            Event::WaveStarted { generation, targets, slice_size } => {
                self.wave_started((seq, at), *generation, targets, *slice_size)?;
            }
            Event::WaveEnded { results, .. } => self.wave_ended(at, results)?,
            Event::RefreshesAsked { refreshes } => self.refreshes_asked(at, refreshes)?,
            Event::RefreshesStarted { datasets } => self.refreshes_started(datasets)?,
            Event::RefreshesEnded { results } => self.refreshes_ended(at, results),
            Event::Parked { targets } => self.park(targets),
            Event::Forgotten { target } => self.forget(at, target)?,
            Event::Promoted { generation } => self.promote(at, *generation)?,
            Event::Settled { problem } => self.settled(problem.as_ref())?,
            Event::Turned { turn, operation, .. } => {
                self.turned(turn)?;
                self.turned_for.clone_from(operation);
            }
            Event::TurnEnded { .. } => self.turn_ended()?,
            Event::Drained => self.draining = false,
            Event::Quarantined { problem } => self.quarantine = Some(problem.clone()),
            Event::Unquarantined { forced } => {
                let canaries = std::mem::take(&mut self.failed_canaries);
                self.quarantine = None;
                // A failed canary leaves nothing open that a person could have decided about.
                if *forced && canaries.is_empty() {
                    self.decided();
                }
            }
        }
        Ok(())
    }

    /// A step that is asked for again does not take a later one back.
    fn led_on(&mut self, at: Timestamp, token: &str, step: LedStep) {
        let before = self.led.as_ref().filter(|led| led.token == token).map(|led| led.step);
        let step = before.map_or(step, |before| before.max(step));
        self.led = Some(Led { token: token.to_owned(), step, at });
    }

    fn opened(&mut self, otherwise: &'static str) -> Result<&mut Open, &'static str> {
        self.open.as_mut().ok_or(otherwise)
    }

    pub(super) fn landing(&self) -> SignedDuration {
        self.lease.as_ref().map_or(SignedDuration::ZERO, |lease| lease.landing)
    }

    fn under_way(&mut self, number: u32) -> Result<&mut Attempt, &'static str> {
        let attempt = self.attempts.iter_mut().find(|attempt| attempt.number == number);
        attempt.filter(|attempt| attempt.fate == AttemptFate::UnderWay).ok_or("an attempt ends that is not under way")
    }

    /// A generation that may be used.
    pub(super) fn alive(&mut self, generation: Generation) -> Result<&mut GenerationState, &'static str> {
        let known = self.generations.get_mut(&generation).ok_or("a generation is used that was never minted")?;
        match self.condemned.contains_key(&known.minted.secret_id) {
            true => Err("a condemned secret is used"),
            false => Ok(known),
        }
    }

    fn add_generation(&mut self, minted: &Minted, verified: bool) {
        self.generations.insert(minted.generation, GenerationState { minted: minted.clone(), verified, sent: false });
    }

    /// Whatever the runner of the ended epoch had under way may land for a while yet.
    pub(super) fn end_epoch(&mut self, at: Timestamp) {
        let Some(lease) = &self.lease else { return };
        let until = past(at.min(lease.until), lease.landing);
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.fate == AttemptFate::UnderWay) {
            attempt.fate = AttemptFate::Unanswered { until };
        }
        if let Some(wave) = self.wave.take() {
            for id in &wave.targets {
                if let Some(holder) = self.holder_mut(id) {
                    holder.flies(wave.generation, until);
                }
            }
        }
    }

    fn begin(&mut self, begun: &Begun) -> Folded {
        if self.begun.is_some() {
            return Err("the journal begins twice");
        }
        self.forgiven.extend(begun.forgiven.iter().cloned());
        self.begun = Some(begun.clone());
        if let Some(adopted) = &begun.adopted {
            self.add_generation(adopted, true);
            self.current = Some(adopted.generation);
        }
        Ok(())
    }

    fn open_plan(&mut self, plan: &Arc<Planned>) -> Folded {
        if self.open.is_some() || self.begun.is_none() {
            return Err("a plan is made while one is open, or before the first look");
        }
        self.plans += 1;
        self.grace_s = plan.grace_s;
        let generation = match plan.kind {
            PlanKind::Rotate | PlanKind::Revoke => None,
            PlanKind::Reapply | PlanKind::Join => self.current,
            PlanKind::Rollback => {
                let Some(Turn::Rollback { to: Some(to), .. }) = self.turn else { return Err("a rollback that nobody asked for") };
                Some(to)
            }
        };
        let own: BTreeSet<&TargetId> = plan.waves.iter().flatten().map(|spec| &spec.id).collect();
        // These are about some targets only; the others stay as they are.
        let others = !matches!(plan.kind, PlanKind::Rollback | PlanKind::Join);
        let mut left = BTreeMap::new();
        self.holders.values_mut().filter(|holder| holder.wave.is_some()).for_each(|holder| Arc::make_mut(holder).wave = None);
        for (id, holder) in self.holders.iter_mut().filter(|(id, _)| others || own.contains(id)) {
            // Each plan includes parked targets again and gives them a day of their own.
            let holder = Arc::make_mut(holder);
            left.extend(holder.failures.take().map(|failures| (id.clone(), *failures)));
            holder.attempts = 0;
            holder.planned = false;
            holder.busy = None;
        }
        self.plan_refreshes(plan);
        match plan.kind {
            PlanKind::Rotate | PlanKind::Revoke => self.held = None,
            PlanKind::Reapply | PlanKind::Join | PlanKind::Rollback => {}
        }
        for (number, wave) in plan.waves.iter().enumerate() {
            for spec in wave {
                let holder = self.holder_of(&spec.id);
                holder.spec = Some(Arc::clone(spec));
                holder.wave = Some(number);
            }
        }
        for copy in &plan.copies {
            self.holder_of(&copy.holder());
        }
        self.plan_take_overs();
        self.open = Some(Open {
            number: self.plans,
            waves: plan.waves.iter().map(|wave| Arc::new(wave.iter().map(|spec| spec.id.clone()).collect())).collect(),
            granted: plan.grants.is_empty(),
            generation,
            promoted: generation.is_some() && generation == self.current,
            sent: false,
            discarded: Vec::new(),
            left,
            plan: Arc::clone(plan),
        });
        Ok(())
    }

    /// A place in the plan. What a new one holds is not known: it gates whatever lives.
    pub(super) fn holder_of(&mut self, id: &TargetId) -> &mut Holder {
        let living: BTreeSet<Generation> = self.living().map(|(generation, _)| generation).collect();
        let new = || Arc::new(Holder { may_hold: living, ..Holder::default() });
        let holder = Arc::make_mut(self.holders.entry(id.clone()).or_insert_with(new));
        holder.planned = true;
        holder
    }

    fn mint_intended(&mut self, at: Timestamp, number: u32, known: &BTreeSet<SecretId>, lifetime_s: u64) -> Folded {
        if self.opened("a mint outside a plan")?.generation.is_some() {
            return Err("a mint although the plan has a secret");
        }
        if number != self.attempts.last().map_or(1, |last| last.number + 1) {
            return Err("a mint attempt is out of number");
        }
        if self.attempts.iter().any(|attempt| attempt.fate == AttemptFate::UnderWay) {
            return Err("a mint while one is under way");
        }
        let sent_until = self.lease.as_ref().map_or(at, |lease| lease.until);
        let made_between = (past(at, -self.landing()), past(sent_until, self.landing()));
        let (known, fate) = (known.clone(), AttemptFate::UnderWay);
        self.attempts.push(Attempt { number, known, lifetime_s, made_between, fate, dismissed: false });
        Ok(())
    }

    fn minted(&mut self, minted: &Minted) -> Folded {
        if self.condemned.contains_key(&minted.secret_id) {
            return Err("a condemned secret is adopted");
        }
        if self.generation_of(&minted.secret_id).is_some() || minted.generation != self.next_generation() {
            return Err("a secret or a generation is minted twice");
        }
        let open = self.opened("a mint outside a plan")?;
        if open.promoted || open.generation.is_some() {
            return Err("a secret is minted although the plan has one");
        }
        open.generation = Some(minted.generation);
        let attempt = self.attempts.iter_mut().find(|attempt| attempt.number == minted.attempt);
        let attempt = attempt.ok_or("a secret of an attempt that was never intended")?;
        if attempt.fate != AttemptFate::UnderWay {
            // Adopted out of a slot, perhaps another attempt's: its own create may still take effect at any time.
            attempt.made_between.1 = Timestamp::MAX;
        }
        attempt.fate = AttemptFate::Minted;
        self.add_generation(minted, false);
        Ok(())
    }

    fn condemn(&mut self, seq: u64, secret_id: &SecretId, reason: Condemnation) -> Folded {
        if self.condemned.contains_key(secret_id) {
            return Err("a secret is condemned twice");
        }
        let generation = self.generation_of(secret_id);
        if reason == Condemnation::Revoked {
            self.revocable(generation)?;
        }
        if let Some(generation) = generation {
            if Some(generation) == self.current {
                return Err("the current generation is condemned");
            }
            let sent = self.generations[&generation].sent;
            let allowed = match reason {
                Condemnation::Stray => false,
                Condemnation::ValueLost | Condemnation::OverCap => !sent,
                Condemnation::Retired => self.gates(generation).next().is_none(),
                Condemnation::VerificationFailed | Condemnation::Expired | Condemnation::Revoked => true,
            };
            if !allowed {
                return Err("a secret is condemned that a place may hold");
            }
        }
        self.condemned.insert(secret_id.clone(), Condemned { reason, seq, deleted: false });
        if let Some(open) = self.open.as_mut().filter(|open| open.generation.is_some() && open.generation == generation) {
            open.generation = None;
            open.discarded.push(reason);
        }
        Ok(())
    }

    pub(super) fn fail(&mut self, id: &TargetId, at: Timestamp, problem: Option<&Problem>) {
        let Some(holder) = self.holder_mut(id) else { return };
        let first = || Failures { since: at, last: at, count: 0, refusals: 0, problem: None, parked: false };
        let failures = holder.failures.get_or_insert_with(|| Box::new(first()));
        failures.count += 1;
        failures.refusals += u32::from(problem.is_none_or(|problem| !problem.is_passing()));
        failures.last = at;
        failures.problem = problem.cloned();
    }

    fn park(&mut self, targets: &[TargetId]) {
        for id in targets {
            if let Some(failures) = self.holder_mut(id).and_then(|holder| holder.failures.as_mut()) {
                failures.parked = true;
            }
        }
    }

    fn forget(&mut self, at: Timestamp, target: &TargetId) -> Folded {
        let holder = self.holders.remove(target).ok_or("a place is forgotten that is in no plan")?;
        if holder.in_flight.is_some_and(|(_, until)| until > at) {
            // It may be selected again at once, and must not be sent another generation before this one has landed.
            return Err("a place is forgotten while a write may still land there");
        }
        self.leave_waves(target);
        Ok(())
    }

    fn promote(&mut self, at: Timestamp, generation: Generation) -> Folded {
        if !self.alive(generation)?.verified {
            return Err("an unverified generation is promoted");
        }
        let open = self.opened("a promotion outside a plan")?;
        if open.promoted || open.generation != Some(generation) {
            return Err("a generation is promoted that is not the plan's");
        }
        open.promoted = true;
        self.before = match open.plan.kind {
            PlanKind::Rotate => self.current,
            PlanKind::Reapply | PlanKind::Join | PlanKind::Rollback | PlanKind::Revoke => None,
        };
        self.current = Some(generation);
        self.last_move = Some(self.last_move.map_or(at, |last| last.max(at)));
        self.rotated_at = Some(at);
        Ok(())
    }

    /// A person has looked at what quarantined the credential: a generation whose value is lost is given up, and secrets of
    /// which nobody can tell whose they are stay as they are.
    fn decided(&mut self) {
        match self.open.as_mut().filter(|open| !open.promoted && open.generation.is_some()) {
            Some(open) => open.generation = None,
            None => self.attempts.iter_mut().for_each(|attempt| attempt.dismissed = true),
        }
    }
}
