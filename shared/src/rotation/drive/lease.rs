//! The lease: one runner at a time. It is taken and renewed by an entry of the journal; a `file:` state has an OS lock
//! besides, whose release ends a dead runner's lease at once.

use jiff::{SignedDuration, Timestamp};
use tracing::info;

use super::{Ports, Run, signed};
use crate::error::Error;
use crate::ids::RunnerId;
use crate::rotation::event::Event;
use crate::rotation::next::past;
use crate::storage::Lock;

impl Run<'_> {
    /// The last moment at which a write may start under the present lease, and in the present invocation.
    pub(in crate::rotation) fn not_after(&self) -> Timestamp {
        let until = self.state.lease.as_ref().map_or(Timestamp::MIN, |lease| lease.until);
        let not_after = past(until, -self.kept_back());
        self.ports.invocation.as_ref().map_or(not_after, |invocation| not_after.min(invocation.leave_at))
    }

    /// The end of a lease in which no write may start: it could land when the lease is another's.
    fn kept_back(&self) -> SignedDuration {
        let config = &self.ports.state_config;
        signed(config.request_timeout).saturating_add(signed(config.skew))
    }

    /// How long writes may start under a fresh lease.
    pub(in crate::rotation) fn useful(&self) -> SignedDuration {
        signed(self.ports.state_config.lease).saturating_sub(self.kept_back())
    }

    /// The oldest list of secrets by which a new one may be made: a process that stood still before it took the lease, or long
    /// after, does not know who has taken the slots since.
    pub(in crate::rotation) fn lists_since(&self) -> Timestamp {
        let config = &self.ports.state_config;
        let until = self.state.lease.as_ref().map_or(Timestamp::MAX, |lease| lease.until);
        past(until, -signed(config.lease).saturating_add(signed(config.request_timeout)))
    }

    /// Before a write to a store, which is given no `not_after`: a process that stood still may have lost its lease meanwhile.
    pub(in crate::rotation) fn still_leased(&self) -> Result<(), Error> {
        if self.ports.clock.now() <= self.not_after() { Ok(()) } else { Err(superseded()) }
    }

    /// Renews the lease when less than half of its useful time is left; a lease that has ended is not renewed.
    pub(super) async fn keep_lease(&mut self) -> Result<(), Error> {
        let now = self.ports.clock.now();
        let Some(until) = self.state.lease.as_ref().map(|lease| lease.until) else { return Err(superseded()) };
        if until <= now {
            // A frozen process thaws: what it knows may be stale, so it starts over as a new runner would.
            return Err(superseded());
        }
        if past(until, -self.kept_back()).duration_since(now) < self.useful() / 2 {
            let until = past(now, signed(self.ports.state_config.lease));
            self.record(Event::LeaseRenewed { until }).await?;
        }
        Ok(())
    }

    /// Renews the lease to its full length.
    pub(in crate::rotation) async fn renew_lease(&mut self) -> Result<(), Error> {
        let until = past(self.ports.clock.now(), signed(self.ports.state_config.lease));
        self.record(Event::LeaseRenewed { until }).await.map(drop)
    }

    /// Waits, however short the lease is.
    pub(in crate::rotation) async fn pause(&mut self, pause: SignedDuration) -> Result<(), Error> {
        let until = past(self.ports.clock.now(), pause.max(PAUSE_MIN));
        loop {
            self.keep_lease().await?;
            let left = until.duration_since(self.ports.clock.now());
            if left <= SignedDuration::ZERO {
                return Ok(());
            }
            let nap = self.ports.clock.sleep(left.min((self.useful() / 2).max(PAUSE_MIN)).unsigned_abs());
            tokio::select! {
                () = nap => {}
                () = self.ports.stop.asked() => return Ok(()),
            }
        }
    }

    pub(super) async fn take_lease(&mut self) -> Result<(), Error> {
        let now = self.ports.clock.now();
        if let Some(lease) = &self.state.lease
            && (self.lock.is_none() || self.state.wave_out().is_some())
            && past(lease.until, signed(self.ports.state_config.skew)) > now
        {
            return Err(lease_held(&lease.holder, Some(lease.until)));
        }
        let until = past(now, signed(self.ports.state_config.lease));
        let landing_ms = i64::try_from(self.ports.landing().as_millis()).unwrap_or(i64::MAX);
        let epoch = self.state.epoch + 1;
        match self.record(Event::LeaseTaken { epoch, until, landing_ms }).await {
            Ok(_) => {
                info!(credential = %self.ports.credential.name, epoch, "took the lease");
                Ok(())
            }
            Err(error) if error.code() == SUPERSEDED => Err(lease_held(&RunnerId::new("another runner"), None)),
            Err(error) => Err(error),
        }
    }
}

pub(super) fn take_lock(ports: &Ports, name: &str) -> Result<Option<Box<dyn Send + Sync>>, Error> {
    match ports.storage.lock(&ports.state_config.location, name, &ports.runner)? {
        Lock::Taken(lock) => Ok(Some(lock)),
        Lock::None => Ok(None),
        Lock::Busy(holder) => Err(lease_held(&holder, None)),
    }
}

pub(in crate::rotation) const SUPERSEDED: &str = "superseded";

pub(super) fn superseded() -> Error {
    Error::unfinished(
        SUPERSEDED,
        "another runner has taken this credential over, or the lease ended while this process stood still",
    )
    .hint("every target still holds a live secret; run `lakekey rotate` again to see where it stands")
}

pub(super) fn lease_held(holder: &RunnerId, until: Option<Timestamp>) -> Error {
    let when = until.map(|until| format!(", its lease ends at {until:.0}")).unwrap_or_default();
    Error::unfinished("lease-held", format!("`{holder}` is working on this service principal{when}"))
        .hint("wait until it has finished, then run this again; a lease that nobody renews ends by itself")
}

const PAUSE_MIN: SignedDuration = SignedDuration::from_millis(1);
