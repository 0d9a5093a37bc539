//! The effects of a runner's steps that can go wrong half-way: as in `perform`, with a point to die at wherever there is one.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::faults::{Faults, chance_of_create, chance_of_take_over};
use super::runner::{Did, End, Runner, minted};
use super::workers::Ticket;
use super::world::{LEASE, LIFETIME_S, Manner, REQUEST_TIMEOUT, SKEW, World};
use crate::error::Problem;
use crate::ids::{DatasetId, Generation, SecretId, TargetId};
use crate::report::RefreshOutcome;
use crate::rotation::event::{Event, Fate, PlanKind, RefreshAsked, TakenOver, WaveResult};
use crate::rotation::next::{DeleteSent, SLOTS_USED_MAX, past};
use crate::rotation::recover;
use crate::rotation::refresh::{RefreshFate, RefreshResult};
use crate::rotation::state::AttemptFate;
use crate::targets::DatasetRef;

impl Runner {
    pub(super) fn mint(&mut self, world: &mut World, faults: &mut Faults) -> Did {
        let listing = self.seen.listing.take().unwrap();
        let may_land = self.state.attempts.iter().filter(|attempt| match attempt.fate {
            AttemptFate::Unanswered { until } => until > world.now + self.off,
            AttemptFate::UnderWay | AttemptFate::Refused | AttemptFate::Minted => false,
        });
        let revoke = self.state.open.as_ref().is_some_and(|open| open.plan.kind == PlanKind::Revoke);
        let used = listing.len() + may_land.count();
        assert!(used <= SLOTS_USED_MAX + usize::from(revoke), "G4: minted with too few slots: {listing:?}");
        let lost = self.seen.values.iter().find(|id| !world.is_condemned(id) && self.state.generation_of(id).is_none());
        assert!(lost.is_none(), "G2: {lost:?} is staged, and another is minted");
        let attempt = self.state.attempts.last().map_or(1, |last| last.number + 1);
        let lifetime_s = LIFETIME_S - 61 - faults.dice.below(3_539);
        let known: BTreeSet<SecretId> = listing.iter().map(|listed| listed.id.clone()).collect();
        self.record(world, Event::MintIntended { attempt, known, lifetime_s })?;
        Self::point(faults)?;
        let scripted = (!faults.creates.is_empty()).then(|| faults.creates.remove(0));
        let fate = scripted.unwrap_or_else(|| chance_of_create(faults));
        match world.create(lifetime_s, fate) {
            Err(()) => {
                let problem = Problem::new("refused", "refused");
                self.record(world, Event::MintRefused { attempt, problem: problem.clone() })?;
                self.seen.mint_refusals.push(problem);
                Ok(())
            }
            Ok(None) => {
                Self::point(faults)?;
                self.record(world, Event::MintUnanswered { attempt })
            }
            Ok(Some(listed)) => {
                if faults.dice.percent(faults.chance / 8) {
                    // It dies while the slot is being written.
                    world.stage_late(&listed.id, faults.dice.seconds(120));
                    return Err(End::Crashed);
                }
                Self::point(faults)?;
                world.slots.insert(listed.id.clone());
                Self::point(faults)?;
                self.seen.values.insert(listed.id.clone());
                self.minted(world, &listed.id, attempt)
            }
        }
    }

    pub(super) fn minted(&mut self, world: &mut World, id: &SecretId, attempt: u32) -> Did {
        let listed = &world.secrets[id].listed;
        let shown = self.state.attempts.iter().any(|attempt| recover::bears(listed, attempt));
        let event = Event::Minted(minted(listed, self.state.next_generation(), attempt, shown));
        self.record(world, event)
    }

    pub(super) fn delete(&mut self, world: &mut World, faults: &mut Faults, id: &SecretId, condemned_by: u64) -> Did {
        let entry = &world.journal[usize::try_from(condemned_by).unwrap() - 1].2;
        assert!(matches!(entry, Event::Condemned { secret_id, .. } if secret_id == id), "deletion discipline: {entry:?}");
        let accepted = !faults.undeletable && !faults.dice.percent(faults.chance / 2);
        if accepted {
            world.delete(id);
        }
        Self::point(faults)?;
        let last = world.now + self.off;
        let sent = self.seen.deletes.entry(id.clone()).or_insert(DeleteSent { tries: 0, last, accepted });
        *sent = DeleteSent { tries: sent.tries + 1, last, accepted: sent.accepted || accepted };
        match accepted {
            true => self.seen.listing = None,
            false => self.seen.undeleted = Some(Problem::new("undeletable", "undeletable")),
        }
        Ok(())
    }

    pub(super) fn value(&self, world: &World, generation: Generation) -> Result<SecretId, End> {
        let id = self.state.generations[&generation].minted.secret_id.clone();
        let at_hand = world.slots.contains(&id) || world.stored.as_ref() == Some(&id);
        at_hand.then_some(id).ok_or(End::Failed)
    }

    pub(super) fn signs_in(&mut self, world: &mut World, faults: &mut Faults, generation: Generation) -> Result<bool, End> {
        let id = self.value(world, generation)?;
        if faults.dice.percent(faults.chance / 4) {
            return Err(End::Failed);
        }
        let signs_in = world.alive(&id) && !faults.locked_out;
        if signs_in {
            self.seen.signs_in = Some((generation, world.now + self.off));
        } else {
            world.pass(SignedDuration::from_mins(1));
            self.seen.refused = Some((generation, Problem::new("verification-failed", "it does not sign in")));
            self.seen.listing = None;
        }
        Ok(signs_in)
    }

    pub(super) fn take_over(&mut self, world: &mut World, faults: &mut Faults, datasets: Vec<DatasetRef>) -> Did {
        if self.state.taking_over.is_empty() {
            self.record(world, Event::TakeOverStarted { datasets: datasets.clone() })?;
        }
        Self::point(faults)?;
        let mut results = Vec::new();
        for dataset in datasets {
            let how = if faults.chance > 0 { chance_of_take_over(faults) } else { faults.take_over };
            let taken = world.take_over(&dataset.id, how);
            let problem = taken.is_none().then(|| Problem::new("take-over-refused", "refused"));
            results.push(TakenOver { dataset, targets: taken.unwrap_or_default(), problem });
        }
        Self::point(faults)?;
        self.record(world, Event::TakenOver { results })
    }

    /// As `perform` does: first the intents, then, in a step of its own, the starts.
    pub(super) fn refresh(&mut self, world: &mut World, faults: &mut Faults, datasets: Vec<DatasetId>) -> Did {
        let fresh = |id: &&DatasetId| self.state.refreshes[*id].fate == RefreshFate::Wanted;
        let asked: Vec<RefreshAsked> =
            datasets.iter().filter(fresh).map(|id| RefreshAsked { dataset: id.clone(), before: None }).collect();
        if !asked.is_empty() {
            return self.record(world, Event::RefreshesAsked { refreshes: asked });
        }
        Self::point(faults)?;
        world.refreshes += u32::try_from(datasets.len()).unwrap();
        self.record(world, Event::RefreshesStarted { datasets })
    }

    pub(super) fn poll(&mut self, world: &mut World, faults: &mut Faults, datasets: Vec<DatasetId>) -> Did {
        let looks = self.seen.polled.map_or(0, |(_, looks)| looks);
        self.seen.polled = Some((world.now + self.off, looks + 1));
        Self::point(faults)?;
        let by_chance = match faults.dice.percent(faults.chance) {
            true => Some((RefreshOutcome::Failed, faults.dice.percent(50))),
            false => faults.refreshes,
        };
        let Some((outcome, credential)) = by_chance else { return Ok(()) };
        let problem = Problem::new("refresh-failed", "it failed");
        let result = |dataset| RefreshResult { dataset, outcome, credential, problem: Some(problem.clone()) };
        self.record(world, Event::RefreshesEnded { results: datasets.into_iter().map(result).collect() })
    }

    /// Messages may be lost or doubled; the run leaves, and its lease stays.
    fn send_out(&mut self, world: &mut World, faults: &mut Faults, generation: Generation, targets: &[TargetId]) -> Did {
        let until = past(world.now + self.off, LEASE);
        self.record(world, Event::LeaseRenewed { until })?;
        Self::point(faults)?;
        self.record(world, Event::WaveStarted { generation, targets: targets.to_vec(), slice_size: Some(1) })?;
        let wave = world.journal.len() as u64;
        for slice in 0..u32::try_from(targets.len()).unwrap() {
            let ticket = Ticket { generation, wave, slice, epoch: self.state.epoch };
            let copies = if faults.dice.percent(faults.chance / 2) { faults.dice.below(3) } else { 1 };
            world.messages.extend((0..copies).map(|_| ticket));
        }
        Err(End::Waiting(until))
    }

    pub(super) fn wave(&mut self, world: &mut World, faults: &mut Faults, generation: Generation, targets: &[TargetId]) -> Did {
        let Ok(secret) = self.value(world, generation) else {
            self.seen.lost = Some(generation);
            self.seen.listing = None;
            return Ok(());
        };
        let is_target = |id: &TargetId| self.state.place(id).is_some_and(|holder| holder.spec.is_some());
        if world.sends_out && targets.len() > 1 && self.state.open.is_some() && targets.iter().all(is_target) {
            return self.send_out(world, faults, generation, targets);
        }
        self.record(world, Event::WaveStarted { generation, targets: targets.to_vec(), slice_size: None })?;
        let not_after = self.state.lease.as_ref().map(|lease| lease.until - REQUEST_TIMEOUT - SKEW).unwrap();
        let mut results = Vec::new();
        for target in targets {
            if Self::point(faults).is_err() {
                // The process dies with the request sent: it may land for as long as a request lives.
                if faults.dice.percent(50) {
                    let after = faults.dice.seconds((REQUEST_TIMEOUT + SKEW).as_secs());
                    world.begin_write(target, &secret);
                    world.write_late(target, &secret, after);
                }
                return Err(End::Crashed);
            }
            let (fate, earlier_may_land) = match world.now + self.off > not_after {
                true => (Fate::NotTried, false),
                false => write(world, faults, target, &secret),
            };
            let code = if faults.passing { "service-error" } else { "target" };
            let problem = (!matches!(fate, Fate::Moved | Fate::NotTried)).then(|| Problem::new(code, "it does not take it"));
            results.push(WaveResult { target: target.clone(), at: world.now + self.off, fate, earlier_may_land, problem });
        }
        Self::point(faults)?;
        self.record(world, Event::WaveEnded { results, counted: Vec::new() })
    }
}

pub(super) fn write(world: &mut World, faults: &mut Faults, target: &TargetId, secret: &SecretId) -> (Fate, bool) {
    world.begin_write(target, secret);
    let lives = (REQUEST_TIMEOUT + SKEW).as_secs();
    let manner = match faults.dice.percent(faults.chance) {
        false => world.sites[target].manner,
        true => match faults.dice.below(4) {
            0 => Manner::Refuses,
            1 => Manner::Silent(None),
            2 => Manner::Silent(Some(SignedDuration::ZERO)),
            _ => Manner::Silent(Some(faults.dice.seconds(lives))),
        },
    };
    match manner {
        Manner::Takes => {
            world.put(target, secret);
            let earlier = faults.dice.percent(faults.chance / 2);
            if earlier {
                let after = faults.dice.seconds(lives);
                world.write_late(target, secret, after);
            }
            (Fate::Moved, earlier)
        }
        Manner::Refuses => (Fate::Refused, false),
        Manner::Changed => (Fate::NotWritten, false),
        Manner::Silent(after) => {
            if let Some(after) = after {
                world.write_late(target, secret, after);
            }
            (Fate::Unknown, false)
        }
    }
}
