//! Azurite plays Blob storage, with small strict fakes of Key Vault and of the platform's identity endpoint beside it.

use lakekey_core::storage::Places;
use lakekey_parts::{Azurite, Identity, KeyVault, Trust};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{RealTime, places_at};

/// What of Azure a test needs, all its own.
pub struct InAzure {
    pub storage: Azurite,
    pub vault: KeyVault,
    identity: Identity,
    _folder: TempDir,
}

impl InAzure {
    pub async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let trust = Trust::make(folder.path()).unwrap();
        let (storage, vault) = (Azurite::start().await.unwrap(), KeyVault::open(&trust).await.unwrap());
        RealTime::trust(storage.blob(), storage.roots());
        RealTime::trust(vault.address(), &trust.roots);
        Self { storage, vault, identity: Identity::open().await.unwrap(), _folder: folder }
    }

    /// What lakekey needs to sign in there, and nothing else.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.identity.environment().into_iter().collect()
    }

    pub fn endpoints(&self) -> Value {
        json!({ "keyvault": self.vault.address(), "blob": self.storage.blob() })
    }

    pub fn places(&self) -> Places {
        places_at(&self.environment(), &self.endpoints())
    }

    /// The address of a state in a new container.
    pub async fn state(&self, container: &str, path: &str) -> String {
        let container = format!("lakekey-{container}");
        self.storage.create_container(&container).await.unwrap();
        format!("az://{}/{container}/{path}", self.storage.account())
    }
}
