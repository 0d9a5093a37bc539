//! A wave that is sent out: each slice goes by a message to whoever takes it, and is written under the lease of the runner
//! that sent it, which then leaves. A worker asks before each write whether the journal still ends where it did; whatever has
//! been added since ends its work. It leaves what became of its targets as a note of its own, and whoever finds all notes
//! there ends the wave. Nothing here needs a message to arrive, or to arrive once.

use std::time::Duration;

use futures::{FutureExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use object_store::path::Path;
use tracing::{info, warn};

use crate::error::Error;
use crate::ids::{Generation, TargetId};
use crate::journal::note::Notes;
use crate::rotation::drive::{Run, signed};
use crate::rotation::event::{Event, WaveResult};
use crate::rotation::next::past;
use crate::rotation::slices::{Counted, SLICE_TARGETS, SliceResult, count, cut};
use crate::rotation::state::Wave;
use crate::work::{Message, SliceName};

/// A slice of which nothing has been heard for so long is sent again.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(2);
/// A lease under which workers have less time is not handed to them.
const USEFUL_MIN: SignedDuration = SignedDuration::from_mins(4);
/// Messages sent at once.
const SENT_AT_ONCE: usize = 16;
/// Entries that others may write while a wave is being ended.
const RACES_MAX: usize = 8;

impl Run<'_> {
    /// Whether workers write to these places rather than this run.
    pub(super) fn is_sent_out(&self, targets: &[TargetId]) -> bool {
        let is_target = |id: &TargetId| self.state.place(id).is_some_and(|holder| holder.spec.is_some());
        self.ports.invocation.is_some()
            && !self.is_locked()
            && self.useful() >= USEFUL_MIN
            && self.state.open.is_some()
            && targets.len() > usize::try_from(SLICE_TARGETS).unwrap_or(usize::MAX)
            && targets.iter().all(is_target)
    }

    /// Whoever is to look how a wave is doing is sent for first. Where nothing can be sent, this run writes it itself.
    pub(super) async fn will_be_looked_after(&self) -> bool {
        let Some(invocation) = &self.ports.invocation else { return false };
        let credential = self.ports.credential.name.clone();
        let sent = invocation.queue.send(&Message::Drive { credential }, AGAIN_AFTER.unsigned_abs()).await;
        sent.inspect_err(|error| warn!(code = error.code(), "no message can be sent, so this run does all of the wave: {error}"))
            .is_ok()
    }

    /// Begins a wave and hands it, and the lease with it, to workers.
    pub(super) async fn send_out(&mut self, generation: Generation, targets: Vec<TargetId>) -> Result<(), Error> {
        let targets = cut(targets);
        self.renew_lease().await?;
        self.record(Event::WaveStarted { generation, targets: targets.clone(), slice_size: Some(SLICE_TARGETS) }).await?;
        self.hand_over();
        self.touch(targets);
        let Some(wave) = self.state.wave_out().cloned() else { return Ok(()) };
        let slices = (0..).take(wave.slices().len()).collect();
        self.send_slices(&wave, slices).await;
        Ok(())
    }

    async fn send_slices(&self, wave: &Wave, slices: Vec<u32>) {
        let (Some(invocation), Some(lease)) = (&self.ports.invocation, &self.state.lease) else { return };
        let credential = &self.ports.credential.name;
        info!(credential = %credential, wave = wave.number, epoch = lease.epoch, "sending {} slices out", slices.len());
        let send = |slice| {
            let (credential, epoch) = (credential.clone(), lease.epoch);
            let name = SliceName { credential, generation: wave.generation, wave: wave.number, slice, epoch };
            async move { (slice, invocation.queue.send(&Message::Slice(name), Duration::ZERO).await) }.boxed()
        };
        let sends: Vec<_> = slices.into_iter().map(send).collect();
        let sent: Vec<_> = futures::stream::iter(sends).buffer_unordered(SENT_AT_ONCE).collect().await;
        for (slice, error) in sent.into_iter().filter_map(|(slice, sent)| Some((slice, sent.err()?))) {
            // It is missing at the next look, and sent again.
            warn!(credential = %credential, wave = wave.number, slice, code = error.code(), "could not send a slice out: {error}");
        }
    }

    /// Whether somebody has added to the journal since a wave was sent out, or nobody can tell: then nothing more of it is
    /// written here.
    pub(super) async fn is_fenced(&self) -> bool {
        self.state.wave_out().is_some() && !self.journal.is_newest().await.unwrap_or(false)
    }

    /// Works on one slice as far as it is still wanted. Whether the wave has ended with it: then somebody must go on.
    pub async fn slice(&mut self, name: &SliceName) -> Result<bool, Error> {
        let wave = self.state.wave_out().filter(|wave| (wave.number, wave.generation) == (name.wave, name.generation)).cloned();
        let (Some(wave), true) = (wave, self.state.epoch == name.epoch) else {
            info!(credential = %name.credential, wave = name.wave, slice = name.slice, "a slice came too late");
            return Ok(false);
        };
        let wanted = self.counted(&wave).await?.missing.contains(&name.slice) && self.still_leased().is_ok();
        let targets = wave.slices().nth(usize::try_from(name.slice).unwrap_or(usize::MAX));
        if let Some(targets) = targets.filter(|_| wanted) {
            let results = self.write_slice(&wave, targets).await?;
            let by = self.ports.runner.clone();
            let body =
                SliceResult { generation: name.generation, wave: name.wave, slice: name.slice, epoch: name.epoch, by, results };
            self.notes(&wave).put(&format!("{:05}-{}.json", name.slice, self.ports.random.nonce()), &body).await?;
        }
        self.end_wave().await
    }

    async fn write_slice(&self, wave: &Wave, targets: &[TargetId]) -> Result<Vec<WaveResult>, Error> {
        let untouched = || targets.iter().map(|id| self.broken_off(id, false)).collect();
        if self.state.is_turning() {
            return Ok(untouched());
        }
        match self.value(wave.generation).await {
            Ok(value) => Ok(self.write_all(targets, &value).await),
            // Whoever looks next finds out, and knows what to do.
            Err(error) if error.code() == super::VALUE_LOST => Ok(untouched()),
            Err(error) => Err(error),
        }
    }

    /// Ends the wave that is out, if all of its slices have been heard of or its lease is over. Whether it was this run that
    /// did; afterwards it has caught up with whoever did.
    pub(in crate::rotation) async fn end_wave(&mut self) -> Result<bool, Error> {
        for _ in 0..RACES_MAX {
            self.catch_up().await?;
            let (Some(wave), Some(lease)) = (self.state.wave_out().cloned(), self.state.lease.clone()) else { return Ok(false) };
            let Counted { results, hashes, missing } = self.counted(&wave).await?;
            let over = past(lease.until, signed(self.ports.state_config.skew)) <= self.ports.clock.now();
            if !missing.is_empty() && !over {
                if past(wave.began, AGAIN_AFTER) <= self.ports.clock.now() && !self.state.is_turning() {
                    self.send_slices(&wave, missing).await;
                }
                return Ok(false);
            }
            match self.record(Event::WaveEnded { results, counted: hashes }).await {
                Ok(_) => {
                    self.touch(wave.targets);
                    return Ok(true);
                }
                // Somebody else has ended it, or asked for another direction.
                Err(error) if error.code() == crate::rotation::drive::SUPERSEDED => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// When it is worth looking again whether the wave that is out has ended, and why.
    pub(in crate::rotation) fn wave_looked_at_again(&self) -> (Timestamp, String) {
        let over = self.state.lease.as_ref().map_or(Timestamp::MIN, |lease| {
            past(lease.until, signed(self.ports.state_config.skew).saturating_add(SignedDuration::from_secs(1)))
        });
        let slices = self.state.wave_out().map_or(0, |wave| wave.slices().len());
        let at = past(self.ports.clock.now(), AGAIN_AFTER.saturating_add(SignedDuration::from_secs(1))).min(over);
        (at, format!("{slices} slices of a wave are with other workers"))
    }

    async fn counted(&self, wave: &Wave) -> Result<Counted, Error> {
        let notes = self.notes(wave).read::<SliceResult>().await?;
        Ok(count(wave, self.state.epoch, &notes))
    }

    fn notes(&self, wave: &Wave) -> Notes<'_> {
        let journal = self.ports.principal.application_id.as_str();
        Notes {
            store: &*self.ports.state,
            folder: Path::from_iter(["slices", journal, &format!("{:012}", wave.number)]),
            key: self.ports.state_key.as_deref(),
        }
    }
}
