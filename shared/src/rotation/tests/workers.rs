//! Workers of waves that are sent out, as `perform/slices` is but on the [`World`]: each takes one message, looks before each
//! write, and may stand still between the two.

use jiff::{SignedDuration, Timestamp};

use super::effects::write;
use super::faults::Faults;
use super::world::{REQUEST_TIMEOUT, SKEW, World};
use crate::error::Problem;
use crate::ids::{Generation, RunnerId, TargetId};
use crate::journal::note::Note;
use crate::rotation::event::{Event, Fate, WaveResult};
use crate::rotation::next::past;
use crate::rotation::slices::{Counted, SliceResult, count};
use crate::rotation::state::State;

/// What a message says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub(super) generation: Generation,
    pub(super) wave: u64,
    pub(super) slice: u32,
    pub(super) epoch: u64,
}

/// One delivery at work.
pub(super) struct Worker {
    id: RunnerId,
    ticket: Ticket,
    off: SignedDuration,
    state: State,
    read: usize,
    left: Vec<TargetId>,
    /// Looked, and about to write.
    looked: Option<TargetId>,
    results: Vec<WaveResult>,
}

impl Worker {
    /// Takes a message; `None` when the journal says that nothing is to be done for it.
    pub(super) fn take(world: &mut World, ticket: Ticket, id: &str, off: SignedDuration) -> Option<Self> {
        let state = world.fold();
        let wave = state.wave_out().filter(|wave| (wave.number, wave.generation) == (ticket.wave, ticket.generation))?;
        let left = wave.slices().nth(usize::try_from(ticket.slice).unwrap())?.to_vec();
        let heard = !counted(world, &state)?.missing.contains(&ticket.slice);
        let read = world.journal.len();
        let id = RunnerId::new(id);
        (state.epoch == ticket.epoch && !heard).then(|| Self {
            id,
            ticket,
            off,
            read,
            left,
            looked: None,
            results: Vec::new(),
            state: state.clone(),
        })
    }

    /// Looks, or writes, or leaves; whether it has left.
    pub(super) fn turn(&mut self, world: &mut World, faults: &mut Faults) -> bool {
        world.pass(SignedDuration::from_millis(200));
        let now = world.now + self.off;
        if let Some(target) = self.looked.take() {
            if faults.dice.percent(faults.chance / 8) {
                // It dies with the request sent.
                let secret = self.state.generations[&self.ticket.generation].minted.secret_id.clone();
                if now <= self.not_after() && faults.dice.percent(50) {
                    let after = faults.dice.seconds((REQUEST_TIMEOUT + SKEW).as_secs());
                    world.begin_write(&target, &secret);
                    world.write_late(&target, &secret, after);
                }
                return true;
            }
            self.write(world, faults, target);
            return false;
        }
        let fenced = world.journal.len() != self.read || self.state.is_turning();
        match self.left.pop() {
            Some(target) if fenced || now > self.not_after() => self.result(now, target, Fate::NotTried, false),
            Some(target) => self.looked = Some(target),
            None => {
                self.leave_note(world);
                if !faults.dice.percent(faults.chance / 8) {
                    end_wave(world, &self.id, self.off);
                }
                return true;
            }
        }
        false
    }

    fn not_after(&self) -> Timestamp {
        self.state.lease.as_ref().unwrap().until - REQUEST_TIMEOUT - SKEW
    }

    fn write(&mut self, world: &mut World, faults: &mut Faults, target: TargetId) {
        let secret = self.state.generations[&self.ticket.generation].minted.secret_id.clone();
        let (fate, earlier_may_land) = match world.now + self.off > self.not_after() || !world.slots.contains(&secret) {
            true => (Fate::NotTried, false),
            false => write(world, faults, &target, &secret),
        };
        self.result(world.now + self.off, target, fate, earlier_may_land);
    }

    fn result(&mut self, at: Timestamp, target: TargetId, fate: Fate, earlier_may_land: bool) {
        let problem = (!matches!(fate, Fate::Moved | Fate::NotTried)).then(|| Problem::new("target", "it does not take it"));
        self.results.push(WaveResult { target, at, fate, earlier_may_land, problem });
    }

    fn leave_note(&mut self, world: &mut World) {
        let Ticket { generation, wave, slice, epoch } = self.ticket;
        let results = std::mem::take(&mut self.results);
        let body = SliceResult { generation, wave, slice, epoch, by: self.id.clone(), results };
        let hash = format!("note-{}", world.notes.len());
        world.notes.push(Note { body, hash });
    }
}

/// Ends the wave that is out where that is allowed; whether none is out any more.
pub(super) fn end_wave(world: &mut World, by: &RunnerId, off: SignedDuration) -> bool {
    let state = world.fold();
    let Some(Counted { results, hashes, missing }) = counted(world, &state) else { return true };
    let now = world.now + off;
    let over = state.lease.as_ref().is_some_and(|lease| past(lease.until, SKEW) <= now);
    if !missing.is_empty() && !over {
        return false;
    }
    world.append(now, by, Event::WaveEnded { results, counted: hashes });
    true
}

fn counted(world: &World, state: &State) -> Option<Counted> {
    state.wave_out().map(|wave| count(wave, state.epoch, &world.notes))
}
