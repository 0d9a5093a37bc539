//! `file:PATH`: the current value at PATH, slots at `PATH.generations/SECRET-ID.json`, for its user's eyes only.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{SecretStore, StoreError, disk, id_of, slot_name};
use crate::credential::{StoredCredential, StoredValue, VALUE_BYTES_MAX, ValueError};
use crate::ids::SecretId;

/// A store in files.
#[derive(Clone, Debug)]
pub struct FileStore {
    path: PathBuf,
}

impl FileStore {
    /// A store at `path`, which need not exist yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn folder(&self) -> PathBuf {
        let mut folder = self.path.clone().into_os_string();
        folder.push(".generations");
        folder.into()
    }

    fn slot(&self, id: &SecretId) -> PathBuf {
        self.folder().join(format!("{}{SLOT_SUFFIX}", slot_name(id)))
    }
}

#[async_trait]
impl SecretStore for FileStore {
    async fn stage(&self, credential: &StoredCredential) -> Result<(), StoreError> {
        let slot = self.slot(&credential.secret_id);
        match self.staged(&credential.secret_id).await {
            // A slot that can't be read is this secret's by its name, and this value is what belongs there.
            Ok(_) | Err(StoreError::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
        let (path, json) = (slot.clone(), credential.to_json());
        blocking(move || disk::write_atomically(&path, &json)).await.map_err(not_writable(&slot))
    }

    async fn staged(&self, id: &SecretId) -> Result<Option<StoredCredential>, StoreError> {
        let slot = self.slot(id);
        let Some(json) = read(&slot).await? else { return Ok(None) };
        let credential = StoredCredential::from_json(&json).map_err(corrupt(&slot))?;
        // A file system that ignores case makes one slot of two ids.
        if credential.secret_id != *id {
            return Err(StoreError::Occupied { place: spelled(&slot) });
        }
        Ok(Some(credential))
    }

    async fn staged_ids(&self) -> Result<Vec<SecretId>, StoreError> {
        let folder = self.folder();
        let names = blocking({
            let folder = folder.clone();
            move || file_names(&folder)
        });
        let names = names.await.map_err(|source| StoreError::Unreadable { place: spelled(&folder), source })?;
        let mut ids: Vec<SecretId> = names.iter().filter_map(|name| id_of(name.strip_suffix(SLOT_SUFFIX)?)).collect();
        ids.sort();
        Ok(ids)
    }

    async fn promote(&self, credential: &StoredCredential) -> Result<(), StoreError> {
        let (path, json) = (self.path.clone(), credential.to_json());
        blocking(move || disk::write_atomically(&path, &json)).await.map_err(not_writable(&self.path))
    }

    async fn current(&self) -> Result<Option<StoredValue>, StoreError> {
        match read(&self.path).await? {
            None => Ok(None),
            Some(json) => StoredValue::from_json(&json).map(Some).map_err(corrupt(&self.path)),
        }
    }

    async fn discard(&self, id: &SecretId) -> Result<(), StoreError> {
        let slot = self.slot(id);
        let path = slot.clone();
        blocking(move || disk::remove(&path)).await.map_err(not_writable(&slot))
    }

    fn place(&self) -> String {
        spelled(&self.path)
    }
}

async fn read(path: &Path) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, StoreError> {
    let file = path.to_owned();
    blocking(move || disk::read_bounded(&file, VALUE_BYTES_MAX as u64))
        .await
        .map_err(|source| StoreError::Unreadable { place: spelled(path), source })
}

/// Every use of a file goes through here. If the future is dropped the work still ends by itself, within moments.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn file_names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    entries.map(|entry| entry.map(|entry| entry.file_name().into_string().ok())).filter_map(Result::transpose).collect()
}

fn spelled(path: &Path) -> String {
    format!("file:{}", path.display())
}

fn not_writable(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let place = spelled(path);
    move |source| StoreError::NotWritable { place, source }
}

fn corrupt(path: &Path) -> impl FnOnce(ValueError) -> StoreError {
    let place = spelled(path);
    move |source| StoreError::Corrupt { place, source }
}

const SLOT_SUFFIX: &str = ".json";
