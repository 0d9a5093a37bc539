//! Copies: further places that are given the current value and are never read back. One variant and one file for each kind.

use std::sync::Arc;

use jiff::Timestamp;

use super::SecretStore;
use super::databricks_scope::DatabricksScope;
use crate::clients::databricks::Databricks;
use crate::credential::StoredCredential;
use crate::error::{Error, Problem};
use crate::targets::{Applied, ApplyError, Landed};

/// One copy.
pub enum ValueCopy {
    /// A store, of which only the current value is written.
    Store(Arc<dyn SecretStore>),
    /// `databricks:SCOPE/KEY`.
    DatabricksScope(DatabricksScope),
}

impl ValueCopy {
    /// A copy in a store.
    pub fn store(store: Arc<dyn SecretStore>) -> Self {
        Self::Store(store)
    }

    /// A copy in a secret scope.
    pub fn scope(databricks: Databricks, scope: String, key: String) -> Self {
        Self::DatabricksScope(DatabricksScope::new(databricks, scope, key))
    }

    /// Puts `credential` there; writing it again is harmless. No request to a service starts after `not_after`.
    pub async fn write(&self, credential: &StoredCredential, not_after: Timestamp) -> Result<Applied, ApplyError> {
        match self {
            // A store takes no value over a newer one, however late the request arrives.
            Self::Store(store) => {
                let promoted = store.promote(credential).await.map(|()| Applied { earlier_may_land: false });
                promoted.map_err(|error| {
                    let landed = if error.may_land() { Landed::Maybe } else { Landed::No };
                    ApplyError { landed, problem: Error::from(error).problem().clone() }
                })
            }
            Self::DatabricksScope(scope) => scope.write(credential, not_after).await,
        }
    }

    /// Fails where it is plain, without writing, that the copy could not be written; files are their storage's business.
    pub async fn check(&self) -> Result<(), Problem> {
        match self {
            Self::Store(_) => Ok(()),
            Self::DatabricksScope(scope) => scope.check().await.map_err(|error| error.problem),
        }
    }

    /// The place as the config spells it.
    pub fn place(&self) -> String {
        match self {
            Self::Store(store) => store.place(),
            Self::DatabricksScope(scope) => scope.place(),
        }
    }
}
