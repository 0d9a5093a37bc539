//! The answer of the commands that move targets: `rotate` and `reapply`; `rollback` and `revoke` share it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Phase, maybe_milliseconds};
use crate::error::Problem;
use crate::ids::{CredentialName, Generation, SecretId, TargetId};

/// The answer of the commands that move targets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MoveReport {
    /// One for each credential asked for.
    pub credentials: Vec<CredentialMove>,
}

/// What a command did for one credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CredentialMove {
    /// The credential.
    pub name: CredentialName,
    /// How it ended.
    pub outcome: MoveOutcome,
    /// Where the credential stands now.
    pub phase: Phase,
    /// The current generation, from the first wave on the incoming one.
    pub generation: Option<Generation>,
    /// The id of its secret.
    pub secret_id: Option<SecretId>,
    /// When its secret expires.
    #[serde(serialize_with = "maybe_milliseconds")]
    pub expires_at: Option<Timestamp>,
    /// The targets that this command was about.
    pub targets: Vec<TargetMove>,
    /// Secrets that this command deleted.
    pub retired: Vec<SecretId>,
    /// From when on the previous secret may be deleted; `null` when there is none to delete.
    #[serde(serialize_with = "maybe_milliseconds")]
    pub retire_after: Option<Timestamp>,
    /// Why it failed or is not finished, and what happens next.
    pub error: Option<Problem>,
}

/// How a command ended for one credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MoveOutcome {
    /// A rotation has reached `draining`.
    Rotated,
    /// The current generation was sent again.
    Reapplied,
    /// The targets hold the previous generation again.
    RolledBack,
    /// Every older secret is gone.
    Revoked,
    /// Nothing was due and nothing open.
    Unchanged,
    /// Something is left to do.
    Incomplete,
    /// Nothing was changed, or all of it was undone.
    Failed,
}

impl MoveOutcome {
    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rotated => "rotated",
            Self::Reapplied => "reapplied",
            Self::RolledBack => "rolled-back",
            Self::Revoked => "revoked",
            Self::Unchanged => "unchanged",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
        }
    }
}

/// What happened to one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TargetMove {
    /// The target.
    pub id: TargetId,
    /// How it ended.
    pub outcome: TargetOutcome,
    /// Updates sent to it for this generation.
    pub attempts: u32,
    /// Why the last one failed.
    pub error: Option<Problem>,
    /// The refresh of its datasets; `null` where none is asked for.
    pub refresh: Option<RefreshOutcome>,
}

/// How one target ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TargetOutcome {
    /// It holds the current generation.
    Updated,
    /// The last update failed; it will be tried again.
    Failed,
    /// It failed for so long that the rotation goes on without it; the next one includes it again.
    Parked,
    /// Not tried yet.
    Pending,
}

impl TargetOutcome {
    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Updated => "updated",
            Self::Failed => "failed",
            Self::Parked => "parked",
            Self::Pending => "pending",
        }
    }
}

/// How a refresh of datasets ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RefreshOutcome {
    /// Power BI has accepted it.
    Started,
    /// It was waited for and completed.
    Completed,
    /// It was refused, or it was waited for and failed.
    Failed,
}

impl RefreshOutcome {
    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}
