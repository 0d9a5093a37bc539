//! A wave: who may hold its generation from its start on, and what became of each place at its end. One that was sent out in
//! slices is worked on by runners of which the journal hears only at its end; until then it takes nothing but a change of
//! direction, that end, or the next lease when this one is over.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::fold::Folded;
use super::{Busy, Holder, State, past};
use crate::ids::{Generation, TargetId};
use crate::rotation::event::{Fate, WaveResult};

/// The wave under way.
#[derive(Clone, Debug)]
pub struct Wave {
    /// The number of the entry that began it.
    pub number: u64,
    /// When it began.
    pub began: Timestamp,
    /// What is sent.
    pub generation: Generation,
    /// To whom.
    pub targets: Vec<TargetId>,
    /// It was sent out in slices of so many targets.
    pub slice_size: Option<u32>,
}

impl Wave {
    /// The targets of each slice. A wave that was not sent out is one slice.
    pub fn slices(&self) -> impl ExactSizeIterator<Item = &[TargetId]> {
        let size = self.slice_size.map_or(self.targets.len(), |size| usize::try_from(size).unwrap_or(usize::MAX));
        self.targets.chunks(size.max(1))
    }
}

impl State {
    /// The wave under way, where it was sent out in slices.
    pub fn wave_out(&self) -> Option<&Wave> {
        self.wave.as_ref().filter(|wave| wave.slice_size.is_some())
    }

    pub(super) fn wave_started(
        &mut self,
        (number, at): (u64, Timestamp),
        generation: Generation,
        targets: &[TargetId],
        slice_size: Option<u32>,
    ) -> Folded {
        if self.wave.is_some() {
            return Err("a wave begins while one is under way");
        }
        let known = self.alive(generation)?;
        if !known.verified {
            return Err("an unverified generation is sent");
        }
        known.sent = true;
        for id in targets {
            let holder = self.holder_mut(id).ok_or("a generation is sent to a place in no plan")?;
            if holder.in_flight.is_some_and(|(flying, until)| flying != generation && until > at) {
                return Err("a generation is sent while another may still land");
            }
            holder.may_hold.insert(generation);
        }
        if let Some(open) = self.open.as_mut().filter(|open| open.generation == Some(generation)) {
            open.sent = true;
        }
        self.wave = Some(Wave { number, began: at, generation, targets: targets.to_vec(), slice_size });
        Ok(())
    }

    pub(super) fn wave_ended(&mut self, at: Timestamp, results: &[WaveResult]) -> Folded {
        let wave = self.wave.take().ok_or("a wave ends that never began")?;
        self.count(at, &wave, results);
        if wave.slice_size.is_some() {
            self.come_home(at, &wave, results)?;
        }
        Ok(())
    }

    /// The end of a wave that was sent out is the end of its epoch. A message may be delivered twice, and a worker stand still
    /// right after it has looked: until the lease would have ended, each of the wave's places may be written once more.
    fn come_home(&mut self, at: Timestamp, wave: &Wave, results: &[WaveResult]) -> Folded {
        self.end_epoch(at);
        let Some(lease) = self.lease.take() else { return Err("a wave that was sent out has no lease") };
        let heard: BTreeSet<&TargetId> = results.iter().map(|result| &result.target).collect();
        if at < lease.until && !wave.targets.iter().all(|id| heard.contains(id)) {
            return Err("a wave ends before all of its slices have");
        }
        let until = past(lease.until, lease.landing);
        for id in &wave.targets {
            if let Some(holder) = self.holder_mut(id) {
                holder.flies(wave.generation, until);
            }
        }
        Ok(())
    }

    fn count(&mut self, at: Timestamp, wave: &Wave, results: &[WaveResult]) {
        let plan = self.open.as_ref().map_or(self.plans, |open| open.number);
        let landing = self.landing();
        for result in results {
            let unproven = self.has_failed_to_refresh(&result.target);
            let Some(holder) = self.holders.get_mut(&result.target).map(Arc::make_mut) else { continue };
            holder.attempts += u32::from(!matches!(result.fate, Fate::NotTried | Fate::Busy));
            let busy = holder.busy.take();
            // The answer to one request says nothing of an earlier one, which may outlive its sender.
            holder.in_flight = holder.in_flight.filter(|(_, until)| *until > result.at);
            if result.fate == Fate::Unknown || (result.fate == Fate::Moved && result.earlier_may_land) {
                holder.flies(wave.generation, past(result.at, landing));
            }
            match result.fate {
                Fate::Moved => {
                    // An earlier write of another generation cannot be under way: `next` waits for it to land first.
                    holder.may_hold = BTreeSet::from([wave.generation]);
                    holder.confirmed = Some(wave.generation);
                    holder.done = Some((plan, wave.generation));
                    // Where a refresh has told against it, the next refresh tells whether it is well.
                    holder.failures = holder.failures.take().filter(|_| unproven);
                    holder.bare = false;
                    self.last_move = Some(self.last_move.map_or(result.at, |last| last.max(result.at)));
                }
                Fate::Refused | Fate::NotWritten | Fate::Unknown => self.fail(&result.target, at, result.problem.as_ref()),
                Fate::Busy => {
                    let since = busy.map_or(at, |busy| busy.since);
                    holder.busy = Some(Box::new(Busy { since, last: at, problem: result.problem.clone() }));
                }
                Fate::NotTried => holder.busy = busy,
            }
        }
    }
}

impl Holder {
    /// A write of this generation may land until then.
    pub(super) fn flies(&mut self, generation: Generation, until: Timestamp) {
        let earlier = self.in_flight.filter(|(flying, _)| *flying == generation).map_or(until, |(_, earlier)| earlier);
        self.in_flight = Some((generation, until.max(earlier)));
    }
}
