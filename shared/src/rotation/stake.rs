//! What is at stake while something waits for a person: the next secret to expire that a target still holds. Nothing is
//! deleted under a target, but time passes; the nearer that expiry, the louder the word. Pure.

use jiff::{SignedDuration, Timestamp};

use super::state::{Holder, State};
use crate::ids::{CredentialName, TargetId};

/// The next secret of a target to expire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stake {
    /// Who holds it.
    pub target: TargetId,
    /// When.
    pub expires_at: Timestamp,
    /// How near that is.
    pub urgency: Urgency,
}

/// How near an expiry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Days away.
    Notice,
    /// Three days or less.
    Warning,
    /// A day or less.
    Urgent,
    /// It has come.
    Expired,
}

impl Urgency {
    fn of(left: SignedDuration) -> Self {
        match left.as_hours() {
            _ if left <= SignedDuration::ZERO => Self::Expired,
            0..24 => Self::Urgent,
            24..72 => Self::Warning,
            _ => Self::Notice,
        }
    }
}

impl std::fmt::Display for Stake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { target, expires_at, urgency } = self;
        match urgency {
            Urgency::Notice => write!(f, "`{target}` holds a secret that expires at {expires_at:.0}"),
            Urgency::Warning => {
                write!(f, "warning: `{target}` holds a secret that expires within three days, at {expires_at:.0}")
            }
            Urgency::Urgent => write!(f, "urgent: `{target}` holds a secret that expires within a day, at {expires_at:.0}"),
            Urgency::Expired => write!(f, "`{target}` holds a secret that expired at {expires_at:.0}"),
        }
    }
}

/// What is at stake: of the targets that lag behind; of all of them where no rotation starts by itself.
pub fn at_stake(state: &State, now: Timestamp) -> Option<Stake> {
    let stands_still = state.quarantine.is_some() || state.held.is_some();
    let lags = |holder: &Holder| stands_still || holder.failures.is_some();
    let expiry = |(id, holder): (&TargetId, &Holder)| {
        let known = state.generations.get(&holder.confirmed?)?;
        Some((known.minted.expires_at?, id.clone()))
    };
    let holders = state.places().filter(|(_, holder)| holder.planned && holder.spec.is_some() && lags(holder));
    let (expires_at, target) = holders.filter_map(expiry).min()?;
    Some(Stake { target, expires_at, urgency: Urgency::of(expires_at.duration_since(now)) })
}

/// A target that no row selects any more and that may hold a superseded secret, which it keeps alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forsaken {
    /// Which.
    pub target: TargetId,
    /// What it keeps alive, until when, and what ends that.
    pub reason: String,
}

/// Targets that vanished from the selection of this credential and keep superseded secrets alive, sorted by id.
pub fn forsaken(state: &State, name: &CredentialName) -> Vec<Forsaken> {
    let meant = state.meant();
    let keeps = |(id, holder): (&TargetId, &Holder)| {
        let old = state.living().filter(|(generation, _)| Some(*generation) != meant && holder.may_hold.contains(generation));
        let (generation, known) = old.max_by_key(|(_, known)| known.minted.expires_at.unwrap_or(Timestamp::MAX))?;
        let until = known.minted.expires_at.map(|at| format!("until it expires at {at:.0}, ")).unwrap_or_default();
        let reason = format!(
            "is not selected any more and may hold generation {generation}, whose secret is kept alive {until}or until `lakekey forget {name} {id}`"
        );
        Some(Forsaken { target: id.clone(), reason })
    };
    state.places().filter(|(_, holder)| !holder.planned && holder.spec.is_some()).filter_map(keeps).collect()
}
