//! What the services' limits cost: the least time that so many answered requests need where a service answers only so many
//! a minute, how many were refused, and whether anything was sent although its sender had been told to wait.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lakekey_sim::Seen;

/// The log of one rotation under limits.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// By service.
    pub services: BTreeMap<String, Limited>,
    /// Requests sent by somebody who had been told to wait.
    pub inside_retry_after: usize,
}

/// The requests to one service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limited {
    pub answered: usize,
    pub refused: usize,
}

/// From when until when somebody was to send nothing.
struct Hold {
    told: Timestamp,
    until: Timestamp,
}

impl Limits {
    /// Of a log. A request is logged when it arrives, `latency` after it was sent.
    pub fn of(log: &[Seen], latency: Duration) -> Self {
        let mut limits = Self::default();
        let mut holds: BTreeMap<(&str, &str), Hold> = BTreeMap::new();
        for seen in log.iter().filter(|seen| LIMITED.contains(&seen.service.as_str())) {
            let caller = (seen.service.as_str(), seen.caller.as_deref().unwrap_or_default());
            let sent = seen.at.checked_sub(latency).unwrap_or(seen.at);
            let held = holds.get(&caller).is_some_and(|hold| hold.told < sent && sent < hold.until);
            limits.inside_retry_after += usize::from(held);
            let counted = limits.services.entry(seen.service.clone()).or_default();
            let Some(wait) = seen.retry_after else {
                counted.answered += 1;
                continue;
            };
            counted.refused += 1;
            let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
            let until = seen.at.saturating_add(wait).unwrap_or(Timestamp::MAX);
            let told = holds.get(&caller).filter(|hold| hold.until >= seen.at).map_or(seen.at, |hold| hold.told);
            holds.insert(caller, Hold { told, until });
        }
        limits
    }

    /// The least time in which `per_minute` lets all that was answered through: so many at once, then as many each minute.
    pub fn floor_seconds(&self, per_minute: u32) -> f64 {
        let minutes = |limited: &Limited| limited.answered.saturating_sub(1) / usize::try_from(per_minute).unwrap_or(usize::MAX);
        self.services.values().map(minutes).max().unwrap_or_default() as f64 * 60.0
    }
}

/// The services whose limits an identity meets: Databricks allows far more than a rotation needs.
const LIMITED: [&str; 2] = ["powerbi", "fabric"];
