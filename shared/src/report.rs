//! What commands answer: the JSON of the contract, one struct for each shape. The command line prints these, the HTTP API
//! will send the same ones, so that a script reads one format. Every field is always present; `null` says "none".

mod discover;
mod doctor;
mod history;
mod movement;
mod plan;
mod status;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use crate::error::{Error, Problem};

pub use discover::{DiscoverReport, Discovered, DiscoveredDataset, Looker, MappingRow, NamedGateway};
pub use doctor::{Check, DoctorReport};
pub use history::{CredentialHistory, HistoryEntry, HistoryReport};
pub use movement::{CredentialMove, MoveOutcome, MoveReport, RefreshOutcome, TargetMove, TargetOutcome};
pub use plan::{
    CredentialPlan, LeftOut, PlanReport, PlannedDataset, PlannedPrincipal, PlannedSecrets, PlannedStep, PlannedTarget,
    SECRETS_MAX,
};
pub use status::{CredentialStatus, SecretRole, SecretStatus, StatusReport, TargetCounts};

/// Where a credential stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing is under way.
    Idle,
    /// A rotation is planned; nothing is minted.
    Planned,
    /// A secret is minted, staged and journaled.
    Minted,
    /// The new secret signs in.
    Verified,
    /// Targets are being moved.
    Applying,
    /// Every target has moved; the store and its copies follow.
    Promoted,
    /// The previous secret lives on for the grace period.
    Draining,
    /// A person must act; targets stay live.
    Quarantined,
}

impl Phase {
    /// Whether a rotation is open: it must be finished before the next one starts.
    pub fn is_open(self) -> bool {
        match self {
            Self::Planned | Self::Minted | Self::Verified | Self::Applying | Self::Promoted => true,
            Self::Idle | Self::Draining | Self::Quarantined => false,
        }
    }

    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Planned => "planned",
            Self::Minted => "minted",
            Self::Verified => "verified",
            Self::Applying => "applying",
            Self::Promoted => "promoted",
            Self::Draining => "draining",
            Self::Quarantined => "quarantined",
        }
    }
}

/// The answer of any command that could not do what was asked, with exit status 1 or 2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailureReport {
    /// What failed.
    pub error: Problem,
    /// Everything that is wrong with the config, where that is the reason; else empty.
    pub problems: Vec<LocatedProblem>,
}

/// A problem with a place in the config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LocatedProblem {
    /// A stable kebab-case word, listed in the reference.
    pub code: String,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The document, as the user named it.
    pub file: Option<String>,
    /// Line in it, counted from 1.
    pub line: Option<u32>,
    /// Column in that line, counted from 1.
    pub column: Option<u32>,
}

impl From<&Error> for FailureReport {
    fn from(error: &Error) -> Self {
        Self { error: error.problem().clone(), problems: Vec::new() }
    }
}

/// Clocks give nanoseconds; readers of JSON expect no more than milliseconds.
fn milliseconds<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(*at).serialize(serializer)
}

fn maybe_milliseconds<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => milliseconds(at, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests;
