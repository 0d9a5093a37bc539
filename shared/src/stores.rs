//! Stores: where lakekey keeps the value of a credential, for itself and for other programs.
//!
//! **Guarantees.** Each minted secret is staged in a slot of its own, keyed by its id, so that a late write cannot cover
//! another's. A write is whole or absent, and repeating it is harmless.
//! **Assumptions.** Which value is promoted is the journal's business: a store has no notion of newer.
//!
//! A further store is a file beside `file.rs`, a variant of `StoreLocation` and an arm in [`open`].

mod copies;
pub mod databricks_scope;
pub(crate) mod disk;
mod error;
pub mod file;
pub mod memory;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;

use crate::config::StoreLocation;
use crate::credential::{StoredCredential, StoredValue};
use crate::error::Error;
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
}

/// The store at `location`.
pub fn open(location: &StoreLocation) -> Result<Arc<dyn SecretStore>, Error> {
    match location {
        StoreLocation::File(path) => Ok(Arc::new(file::FileStore::new(path))),
        StoreLocation::DatabricksScope { .. } => {
            Err(Error::usage("store-copies-only", format!("`{location}` can't be a store: Databricks does not give values back"))
                .hint("name it under `copies` and give another place as `store`"))
        }
    }
}
