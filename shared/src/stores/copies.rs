//! Copies: further places that are given the current value and are never read back. One variant and one file for each kind.

use std::path::Path;

use jiff::Timestamp;

use super::databricks_scope::DatabricksScope;
use super::file::FileStore;
use crate::clients::databricks::Databricks;
use crate::credential::StoredCredential;
use crate::error::Error;
use crate::targets::{Applied, ApplyError, Landed};

/// One copy.
pub enum ValueCopy {
    /// `file:PATH`.
    File(FileStore),
    /// `databricks:SCOPE/KEY`.
    DatabricksScope(DatabricksScope),
}

impl ValueCopy {
    /// A copy in a file.
    pub fn file(path: &Path) -> Self {
        Self::File(FileStore::new(path))
    }

    /// A copy in a secret scope.
    pub fn scope(databricks: Databricks, scope: String, key: String) -> Self {
        Self::DatabricksScope(DatabricksScope::new(databricks, scope, key))
    }

    /// Puts `credential` there; writing it again is harmless. No request to a service starts after `not_after`.
    pub async fn write(&self, credential: &StoredCredential, not_after: Timestamp) -> Result<Applied, ApplyError> {
        match self {
            // One rename on this machine: the caller looked at the clock just before, and nothing is left in flight.
            Self::File(file) => file
                .write_current(credential)
                .await
                .map(|()| Applied { earlier_may_land: false })
                .map_err(|error| ApplyError { landed: Landed::No, problem: Error::from(error).problem().clone() }),
            Self::DatabricksScope(scope) => scope.write(credential, not_after).await,
        }
    }

    /// The place as the config spells it.
    pub fn place(&self) -> String {
        match self {
            Self::File(file) => super::SecretStore::place(file),
            Self::DatabricksScope(scope) => scope.place(),
        }
    }
}
