//! A store in memory, for simulation: clones share their content, as two runners share a vault.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{SecretStore, StoreError};
use crate::credential::{StoredCredential, StoredValue, ValueError};
use crate::ids::SecretId;

/// A store in memory. Keeps JSON, so that what the simulation reads has been through the same bytes as in production.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    current: Option<Zeroizing<Vec<u8>>>,
    slots: BTreeMap<SecretId, Zeroizing<Vec<u8>>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts any bytes in place of the current value: what a person or another program may do to a store.
    pub fn tamper(&self, current: Option<&[u8]>) {
        self.content().current = current.map(|bytes| Zeroizing::new(bytes.to_vec()));
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn corrupt(&self, source: ValueError) -> StoreError {
        StoreError::Corrupt { place: self.place(), source }
    }
}

#[async_trait]
impl SecretStore for MemoryStore {
    async fn stage(&self, credential: &StoredCredential) -> Result<(), StoreError> {
        self.content().slots.insert(credential.secret_id.clone(), credential.to_json());
        Ok(())
    }

    async fn staged(&self, id: &SecretId) -> Result<Option<StoredCredential>, StoreError> {
        let json = self.content().slots.get(id).cloned();
        json.map(|json| StoredCredential::from_json(&json)).transpose().map_err(|error| self.corrupt(error))
    }

    async fn staged_ids(&self) -> Result<Vec<SecretId>, StoreError> {
        Ok(self.content().slots.keys().cloned().collect())
    }

    async fn promote(&self, credential: &StoredCredential) -> Result<(), StoreError> {
        self.content().current = Some(credential.to_json());
        Ok(())
    }

    async fn current(&self) -> Result<Option<StoredValue>, StoreError> {
        let json = self.content().current.clone();
        json.map(|json| StoredValue::from_json(&json)).transpose().map_err(|error| self.corrupt(error))
    }

    async fn discard(&self, id: &SecretId) -> Result<(), StoreError> {
        self.content().slots.remove(id);
        Ok(())
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}
