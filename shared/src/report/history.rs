//! The answer of `history`: the journal, entry by entry.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::milliseconds;
use crate::ids::{CredentialName, Generation, RunnerId};

/// The answer of `history`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryReport {
    /// One for each credential asked for.
    pub credentials: Vec<CredentialHistory>,
}

/// The journal of one credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CredentialHistory {
    /// The credential.
    pub name: CredentialName,
    /// Whether chain and signatures hold; `null` when that was not asked for.
    pub verified: Option<bool>,
    /// The entries, oldest first.
    pub entries: Vec<HistoryEntry>,
}

/// One entry of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryEntry {
    /// Its place in the journal.
    pub seq: u64,
    /// When it was written.
    #[serde(serialize_with = "milliseconds")]
    pub at: Timestamp,
    /// Who wrote it.
    pub by: RunnerId,
    /// What happened: a stable kebab-case word.
    pub event: String,
    /// The generation that it is about.
    pub generation: Option<Generation>,
    /// More about it, for people.
    pub detail: Option<String>,
}
