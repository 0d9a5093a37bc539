//! The answer of `status`: where every credential stands.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Phase, maybe_milliseconds};
use crate::error::Problem;
use crate::ids::{CredentialName, Generation, SecretId};

/// The answer of `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusReport {
    /// One for each credential asked for.
    pub credentials: Vec<CredentialStatus>,
}

/// Where one credential stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CredentialStatus {
    /// The credential.
    pub name: CredentialName,
    /// Its phase.
    pub phase: Phase,
    /// The current generation; `null` before the first.
    pub generation: Option<Generation>,
    /// The id of its secret.
    pub secret_id: Option<SecretId>,
    /// When the last rotation reached `draining`.
    #[serde(serialize_with = "maybe_milliseconds")]
    pub rotated_at: Option<Timestamp>,
    /// When the current secret expires.
    #[serde(serialize_with = "maybe_milliseconds")]
    pub expires_at: Option<Timestamp>,
    /// When the next rotation is due, windows and freezes counted in; `null` where rotation is manual.
    #[serde(serialize_with = "maybe_milliseconds")]
    pub next_rotation_at: Option<Timestamp>,
    /// What it waits for, or why it is held; `null` where there is nothing to say.
    pub reason: Option<String>,
    /// Its targets, counted.
    pub targets: TargetCounts,
    /// The secrets of its principal.
    pub secrets: Vec<SecretStatus>,
    /// What keeps it from going on.
    pub error: Option<Problem>,
}

/// Targets by what they hold. `failed` and `parked` ones count in `stale` too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TargetCounts {
    /// All of them.
    pub total: u32,
    /// Hold the current generation.
    pub current: u32,
    /// Do not, or may not.
    pub stale: u32,
    /// Their last update failed.
    pub failed: u32,
    /// The rotation went on without them.
    pub parked: u32,
}

/// One secret of a principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretStatus {
    /// Its id.
    pub id: SecretId,
    /// What it is to lakekey.
    pub role: SecretRole,
    /// When it was made.
    #[serde(serialize_with = "maybe_milliseconds")]
    pub created_at: Option<Timestamp>,
    /// When it expires.
    #[serde(serialize_with = "maybe_milliseconds")]
    pub expires_at: Option<Timestamp>,
}

/// What a secret is to lakekey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretRole {
    /// Targets are meant to hold it.
    Current,
    /// Targets held it before; it lives on for grace and rollback.
    Previous,
    /// Minted, not yet applied.
    Next,
    /// About to be deleted.
    Condemned,
    /// Neither minted nor adopted by lakekey.
    Foreign,
}

impl SecretRole {
    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Previous => "previous",
            Self::Next => "next",
            Self::Condemned => "condemned",
            Self::Foreign => "foreign",
        }
    }
}
