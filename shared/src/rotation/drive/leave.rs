//! When a run leaves before its goal is reached: its invocation ends soon, it would have to wait for long, or workers are at
//! it. A message then goes on, or the schedule.

use jiff::{SignedDuration, Timestamp};

use super::lease::lease_held;
use super::{Ended, PATIENCE, Run, signed};
use crate::error::Error;
use crate::rotation::next::past;
use crate::work::DELAY_MAX;

impl Run<'_> {
    /// No step may begin any more, after so many. Where there was no time for any, another is not called at once: it would fare
    /// no better, and so for ever.
    pub(super) fn out_of_time(&self, now: Timestamp, steps: usize) -> Option<Ended> {
        self.ports.invocation.as_ref().filter(|invocation| invocation.leave_at <= now)?;
        let at = if steps == 0 { past(now, TOO_SHORT_PAUSE) } else { now };
        Some(Ended::Left { at, why: "this invocation ends soon".to_owned() })
    }

    /// Workers are at it: nothing more can be done here before they have finished, or their lease is over.
    pub(super) fn wave_is_out(&self) -> Result<Ended, Error> {
        let (at, why) = self.wave_looked_at_again();
        match (&self.ports.invocation, &self.state.lease) {
            (None, Some(lease)) => Err(lease_held(&lease.holder, Some(lease.until))),
            (Some(_), _) | (None, None) => Ok(Ended::Left { at, why }),
        }
    }

    /// A wait that is not waited out. No message waits for long, so that a later one comes and sees.
    pub(super) fn come_again(&self, until: Timestamp, why: String) -> Ended {
        let now = self.ports.clock.now();
        match self.ports.invocation.is_some() && until <= past(now, SOON) {
            true => Ended::Left { at: until.min(past(now, signed(DELAY_MAX))), why },
            false => Ended::Waiting { until, why },
        }
    }

    /// Who has asked for another direction waits for what is in flight, rather than come again. An invocation is paid for
    /// while it waits.
    pub(super) fn patience(&self, now: Timestamp) -> SignedDuration {
        if let Some(invocation) = &self.ports.invocation {
            return PATIENCE_IN_INVOCATION.min(invocation.leave_at.duration_since(now));
        }
        match self.state.turn {
            Some(_) => PATIENCE.max(self.ports.landing().saturating_add(SignedDuration::from_secs(10))),
            None => PATIENCE,
        }
    }
}

/// The same inside an invocation.
const PATIENCE_IN_INVOCATION: SignedDuration = SignedDuration::from_secs(20);
/// After an invocation that was too short for a single step.
const TOO_SHORT_PAUSE: SignedDuration = SignedDuration::from_mins(5);
/// What must wait for longer is the schedule's.
const SOON: SignedDuration = SignedDuration::from_hours(1);
