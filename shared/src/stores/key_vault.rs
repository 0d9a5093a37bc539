//! `akv:VAULT/NAME`: the current value is the current version of NAME; superseded ones stay as its history. A slot is a version of
//! NAME-next that bears its secret's id as a tag, so that a late write can't cover another's. Emptying a slot disables what holds
//! that secret, here and among the superseded; nothing is deleted. Each version says by its tag what it holds, and of NAME when that
//! expires: Key Vault raises an event ahead of it.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{SecretStore, StoreError, bounded};
use crate::clients::keyvault::{KeyVault, NewVersion, VersionInfo};
use crate::config::KeyVaultName;
use crate::config::place::STAGED_SUFFIX;
use crate::credential::{StoredCredential, StoredValue, ValueError};
use crate::http::HttpError;
use crate::ids::SecretId;
use crate::secret::Secret;

/// A store in Key Vault.
#[derive(Clone)]
pub struct KeyVaultStore {
    vault: KeyVault,
    name: KeyVaultName,
    timeout: Duration,
}

impl KeyVaultStore {
    /// A store in `name`, which need not exist yet. `timeout` bounds one write.
    pub fn new(vault: KeyVault, name: KeyVaultName, timeout: Duration) -> Self {
        Self { vault, name, timeout }
    }

    /// The text of a version, the current one if none is named.
    pub async fn text(&self, version: Option<&str>) -> Result<Option<Secret>, StoreError> {
        let found = self.vault.secret(&self.name.secret, version).await.map_err(self.failed())?;
        Ok(found.map(|found| found.value).filter(|value| !value.reveal().is_empty()))
    }

    /// When that text expires, where Key Vault was told.
    pub async fn text_expiry(&self, version: Option<&str>) -> Result<Option<Timestamp>, StoreError> {
        let found = self.vault.secret(&self.name.secret, version).await.map_err(self.failed())?;
        Ok(found.and_then(|found| found.expires_at))
    }

    fn next(&self) -> String {
        format!("{}{STAGED_SUFFIX}", self.name.secret)
    }

    async fn stage_once(&self, credential: &StoredCredential) -> Result<(), StoreError> {
        let present = self.staged(&credential.secret_id).await;
        match present {
            Ok(Some(staged)) if staged.client_secret.reveal() == credential.client_secret.reveal() => Ok(()),
            Ok(Some(_)) => Err(StoreError::Occupied { place: self.slot_place(&credential.secret_id) }),
            // A version that can't be read is left, and the value written once more.
            Ok(None) | Err(StoreError::Corrupt { .. }) => self.write(&self.next(), credential).await,
            Err(error) => Err(error),
        }
    }

    async fn promote_once(&self, credential: &StoredCredential) -> Result<(), StoreError> {
        let present = self.vault.secret(&self.name.secret, None).await.map_err(self.failed())?;
        // Each promotion would make a version, and a promotion that was interrupted is done again.
        if present.is_some_and(|present| present.value.reveal().as_bytes() == credential.to_json().as_slice()) {
            return Ok(());
        }
        self.write(&self.name.secret, credential).await
    }

    async fn write(&self, name: &str, credential: &StoredCredential) -> Result<(), StoreError> {
        let json = credential.to_json();
        let new = NewVersion {
            value: std::str::from_utf8(&json).expect("JSON is UTF-8"),
            tags: BTreeMap::from([
                (TAG_SECRET_ID, credential.secret_id.to_string()),
                (TAG_GENERATION, credential.generation.to_string()),
            ]),
            expires_at: credential.expires_at,
        };
        self.vault.set(name, &new).await.map_err(self.failed())
    }

    async fn discard_once(&self, id: &SecretId) -> Result<(), StoreError> {
        // Other programs read the current version, whatever it holds. Which one that is no time of theirs tells: they have whole seconds.
        let current = self.vault.secret(&self.name.secret, None).await.map_err(self.failed())?.map(|found| found.version);
        let mut superseded = self.versions(&self.name.secret).await?;
        superseded.retain(|version| Some(&version.version) != current.as_ref());
        let staged = self.versions(&self.next()).await?;
        for (name, versions) in [(self.name.secret.clone(), superseded), (self.next(), staged)] {
            for version in versions.iter().filter(|version| holds(version, id)) {
                self.vault.disable(&name, &version.version).await.map_err(self.failed())?;
            }
        }
        Ok(())
    }

    async fn versions(&self, name: &str) -> Result<Vec<VersionInfo>, StoreError> {
        self.vault.versions(name).await.map_err(self.failed())
    }

    fn slot_place(&self, id: &SecretId) -> String {
        format!("{}{STAGED_SUFFIX} (tag `{id}`)", self.place())
    }

    fn corrupt(&self, source: ValueError) -> StoreError {
        StoreError::Corrupt { place: self.place(), source }
    }

    fn failed(&self) -> impl FnOnce(HttpError) -> StoreError {
        let place = self.place();
        move |error| StoreError::Service { place, source: Box::new(error) }
    }
}

#[async_trait]
impl SecretStore for KeyVaultStore {
    async fn stage(&self, credential: &StoredCredential) -> Result<(), StoreError> {
        bounded(self.timeout, self.place(), Box::pin(self.stage_once(credential))).await
    }

    async fn staged(&self, id: &SecretId) -> Result<Option<StoredCredential>, StoreError> {
        let versions = self.versions(&self.next()).await?;
        // A write that was sent twice has made two, which hold the same.
        let Some(version) = versions.iter().find(|version| holds(version, id)) else { return Ok(None) };
        let found = self.vault.secret(&self.next(), Some(&version.version)).await.map_err(self.failed())?;
        let Some(found) = found else { return Ok(None) };
        let credential = StoredCredential::from_json(found.value.reveal().as_bytes()).map_err(|source| self.corrupt(source))?;
        if credential.secret_id != *id {
            return Err(StoreError::Occupied { place: self.slot_place(id) });
        }
        Ok(Some(credential))
    }

    async fn staged_ids(&self) -> Result<Vec<SecretId>, StoreError> {
        let versions = self.versions(&self.next()).await?;
        let enabled = versions.iter().filter(|version| version.enabled);
        let mut ids: Vec<SecretId> = enabled.filter_map(|version| version.tags.get(TAG_SECRET_ID)).map(SecretId::new).collect();
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    async fn promote(&self, credential: &StoredCredential) -> Result<(), StoreError> {
        bounded(self.timeout, self.place(), Box::pin(self.promote_once(credential))).await
    }

    async fn current(&self) -> Result<Option<StoredValue>, StoreError> {
        let Some(found) = self.vault.secret(&self.name.secret, None).await.map_err(self.failed())? else { return Ok(None) };
        StoredValue::from_json(found.value.reveal().as_bytes()).map(Some).map_err(|source| self.corrupt(source))
    }

    async fn discard(&self, id: &SecretId) -> Result<(), StoreError> {
        bounded(self.timeout, self.place(), Box::pin(self.discard_once(id))).await
    }

    fn place(&self) -> String {
        format!("akv:{}", self.name)
    }
}

/// Whether a version can be read and says that it holds this secret.
fn holds(version: &VersionInfo, id: &SecretId) -> bool {
    version.enabled && version.tags.get(TAG_SECRET_ID).is_some_and(|tag| tag == id.as_str())
}

const TAG_SECRET_ID: &str = "lakekey-secret-id";
const TAG_GENERATION: &str = "lakekey-generation";
