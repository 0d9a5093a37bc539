//! Stores: where lakekey keeps the value of a credential, for itself and for other programs.
//!
//! **Guarantees.** Each minted secret is staged in a slot of its own, keyed by its id, so that a late write cannot cover
//! another's. A write is whole or absent, and repeating it is harmless.
//! **Assumptions.** Which value is promoted is the journal's business: a store has no notion of newer.
//!
//! A further store is a file beside `file.rs`, a variant of `StoreLocation` and an arm in [`Places`](crate::storage::Places).

mod copies;
pub mod databricks_scope;
pub(crate) mod disk;
mod error;
pub mod file;
pub mod key_vault;
pub mod memory;
pub mod secrets_manager;
#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::credential::{StoredCredential, StoredValue};
use crate::http::transport::TransportError;
use crate::http::{Failure, HttpError};
use crate::ids::SecretId;
pub use copies::ValueCopy;
pub use error::StoreError;

/// A place that keeps one credential's value: the current generation, and a slot for each secret that is still alive.
#[async_trait]
pub trait SecretStore: Send + Sync {
    /// Puts a freshly minted secret into its slot.
    async fn stage(&self, credential: &StoredCredential) -> Result<(), StoreError>;

    /// What the slot of secret `id` holds.
    async fn staged(&self, id: &SecretId) -> Result<Option<StoredCredential>, StoreError>;

    /// The ids of all slots, sorted.
    async fn staged_ids(&self) -> Result<Vec<SecretId>, StoreError>;

    /// Makes `credential` the current value; slots stay as they are.
    async fn promote(&self, credential: &StoredCredential) -> Result<(), StoreError>;

    /// The current value.
    async fn current(&self) -> Result<Option<StoredValue>, StoreError>;

    /// Empties the slot of secret `id`; an empty one may be emptied again.
    async fn discard(&self, id: &SecretId) -> Result<(), StoreError>;

    /// The place as the config spells it.
    fn place(&self) -> String;

    /// The secret behind it, where AWS Secrets Manager keeps it and may ask for a rotation itself.
    fn secrets_manager(&self) -> Option<&secrets_manager::SecretsManagerStore> {
        None
    }
}

/// The name of the slot of secret `id`, for whatever kind of place: letters, digits, `-`, `_` and `%`.
fn slot_name(id: &SecretId) -> String {
    utf8_percent_encode(id.as_str(), ENCODED).to_string()
}

/// The secret whose slot has this name; `None` for what crashed writes and others left there.
fn id_of(name: &str) -> Option<SecretId> {
    let id = percent_decode_str(name).decode_utf8().ok()?;
    (!id.is_empty() && utf8_percent_encode(&id, ENCODED).to_string() == name).then(|| SecretId::new(id))
}

/// A write of several requests ends within the time that is kept back for one: none of them starts in another's lease.
async fn bounded(
    time: Duration,
    place: String,
    write: impl Future<Output = Result<(), StoreError>> + Send,
) -> Result<(), StoreError> {
    tokio::time::timeout(time, write).await.unwrap_or_else(|_| {
        let failure = Failure::Ambiguous(Some(TransportError::Timeout(time)));
        let target = format!("PUT {place}");
        let error = HttpError { what: "write the value", target, failure, attempts: 1, earlier_may_land: true };
        Err(StoreError::Service { place, source: Box::new(error) })
    })
}

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');
