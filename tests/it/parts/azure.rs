//! Azurite plays Blob storage, with small strict fakes of Key Vault and of the platform's identity endpoint beside it.

use std::sync::Arc;

use lakekey_core::storage::Places;
use lakekey_parts::{Azurite, Door, Identity, KeyVault, Trust, in_real_time};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{RealTime, places_at};

/// What of Azure a test needs, all its own.
pub struct InAzure {
    pub storage: Arc<Azurite>,
    /// By which lakekey comes to Blob storage.
    pub blob: Door,
    pub vault: KeyVault,
    trust: Trust,
    identity: Identity,
    _folder: TempDir,
}

impl InAzure {
    pub async fn open() -> Self {
        let this = in_real_time(Self::start()).await;
        RealTime::trust(this.blob.address(), this.storage.roots());
        RealTime::trust(this.vault.address(), &this.trust.roots);
        RealTime::give_identity(&this.identity.environment());
        this
    }

    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let trust = Trust::make(folder.path()).unwrap();
        let (storage, vault) = (Azurite::start().await.unwrap(), KeyVault::open(&trust).await.unwrap());
        let blob = storage.blob_door().await.unwrap();
        Self { storage: Arc::new(storage), blob, vault, trust, identity: Identity::open().await.unwrap(), _folder: folder }
    }

    /// What lakekey needs to sign in there: which identity is its own.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.identity.environment().into_iter().filter(|(name, _)| name == "AZURE_CLIENT_ID").collect()
    }

    pub fn endpoints(&self) -> Value {
        json!({ "keyvault": self.vault.address(), "blob": self.blob.address() })
    }

    pub fn places(&self) -> Places {
        places_at(&self.environment(), &self.endpoints())
    }

    /// The address of a state in a new container.
    pub async fn state(&self, container: &str, path: &str) -> String {
        let container = format!("lakekey-{container}");
        let (storage, name) = (Arc::clone(&self.storage), container.clone());
        in_real_time(async move { storage.create_container(&name).await }).await.unwrap();
        format!("az://{}/{container}/{path}", self.storage.account())
    }
}
