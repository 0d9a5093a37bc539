//! Copies: further places that are given the current value and are never read back. One variant and one file for each kind.

use std::path::Path;

use jiff::Timestamp;

use super::StoreError;
use super::file::FileStore;
use crate::credential::StoredCredential;

/// One copy.
pub enum ValueCopy {
    /// `file:PATH`.
    File(FileStore),
}

impl ValueCopy {
    /// A copy in a file.
    pub fn file(path: &Path) -> Self {
        Self::File(FileStore::new(path))
    }

    /// Puts `credential` there; writing it again is harmless. No request to a service starts after `not_after`.
    pub async fn write(&self, credential: &StoredCredential, _not_after: Timestamp) -> Result<(), StoreError> {
        match self {
            // One rename on this machine: the caller looked at the clock just before, and nothing is left in flight.
            Self::File(file) => file.write_current(credential).await,
        }
    }

    /// The place as the config spells it.
    pub fn place(&self) -> String {
        match self {
            Self::File(file) => super::SecretStore::place(file),
        }
    }
}
