//! Notes beside a journal: objects that many runners leave at the same time, each created once under a name of its own, so
//! that nobody waits for anybody. An entry that counts notes carries their hashes. With a state key each is signed as
//! entries are, and one that is not signed does not count.

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::entry::{self, StateKey, sha256};
use super::{BrokenReason, JournalError};

/// The content of a folder, and what its notes are signed with.
pub struct Notes<'a> {
    /// Where they are kept.
    pub store: &'a dyn ObjectStore,
    /// The folder; it tells these notes from others, signed as they are.
    pub folder: Path,
    /// Signs them.
    pub key: Option<&'a StateKey>,
}

/// A note that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note<T> {
    /// What it says.
    pub body: T,
    /// SHA-256 of the object's bytes in hex.
    pub hash: String,
}

#[derive(Serialize)]
struct Sent<'a, T> {
    v: u32,
    #[serde(flatten)]
    body: &'a T,
}

#[derive(Deserialize)]
struct Wire<T> {
    v: u32,
    #[serde(flatten)]
    body: T,
    mac: Option<String>,
}

impl Notes<'_> {
    /// Leaves a note. `name` is not used by anybody else.
    pub async fn put<T: Serialize>(&self, name: &str, body: &T) -> Result<(), JournalError> {
        let unwritable = |reason| JournalError::Broken { seq: 0, reason };
        let line = serde_json::to_vec(&Sent { v: VERSION, body }).map_err(|error| unwritable(entry::unreadable(error)))?;
        let bytes: Bytes = entry::seal(self.folder.as_ref(), self.key, line).map_err(unwritable)?;
        let path = self.folder.clone().join(name);
        match self.store.put_opts(&path, bytes.into(), PutMode::Create.into()).await {
            // Stores repeat a put by themselves: it is ours, for nobody else has the name.
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(JournalError::Unavailable(error)),
        }
    }

    /// Every note that can be trusted, in the order of names. What is none is passed over: it was left by somebody else.
    pub async fn read<T: DeserializeOwned + Send>(&self) -> Result<Vec<Note<T>>, JournalError> {
        let mut paths: Vec<Path> = self.store.list(Some(&self.folder)).map_ok(|object| object.location).try_collect().await?;
        paths.sort();
        paths.truncate(NOTES_MAX);
        let reads: Vec<_> = paths.iter().map(|path| self.read_one(path).boxed()).collect();
        let read: Vec<Option<Note<T>>> = futures::stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }

    async fn read_one<T: DeserializeOwned + Send>(&self, path: &Path) -> Result<Option<Note<T>>, JournalError> {
        let found = self.store.get(path).await?;
        let decoded = match found.meta.size > BYTES_MAX {
            true => Err(BrokenReason::Oversize),
            false => {
                let bytes = found.bytes().await?;
                self.decode(&bytes).map(|body| Note { body, hash: sha256(&bytes) })
            }
        };
        Ok(decoded.inspect_err(|reason| warn!(note = %path, "a note does not count: {reason}")).ok())
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, BrokenReason> {
        let line = entry::line(bytes)?;
        let wire: Wire<T> = serde_json::from_slice(line).map_err(entry::unreadable)?;
        match (wire.v, &wire.mac) {
            (VERSION, Some(mac)) => entry::verify(self.folder.as_ref(), self.key, line, mac)?,
            (VERSION, None) if self.key.is_some() => return Err(BrokenReason::Unsigned),
            (VERSION, None) => {}
            (other, _) => return Err(BrokenReason::Version(other)),
        }
        Ok(wire.body)
    }
}

const VERSION: u32 = 1;
/// Many times the results of a slice.
const BYTES_MAX: u64 = 1 << 20;
/// More than the slices of a wave, each delivered some times over.
const NOTES_MAX: usize = 1_024;
const READS_AT_ONCE: usize = 16;

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::secret::Secret;

    fn notes<'a>(store: &'a InMemory, folder: &str, key: Option<&'a StateKey>) -> Notes<'a> {
        Notes { store, folder: Path::from(folder), key }
    }

    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Said {
        what: String,
    }

    fn said(what: &str) -> Said {
        Said { what: what.to_owned() }
    }

    async fn bodies(notes: &Notes<'_>) -> Vec<String> {
        notes.read::<Said>().await.unwrap().into_iter().map(|note| note.body.what).collect()
    }

    #[tokio::test]
    async fn what_was_left_is_read_and_what_is_no_note_is_passed_over() {
        let store = InMemory::new();
        let left = notes(&store, "slices/a/7", None);
        left.put("1-b", &said("one")).await.unwrap();
        left.put("0-a", &said("nought")).await.unwrap();
        left.put("1-b", &said("once more")).await.unwrap();
        for (name, bytes) in [("x", "{}\n"), ("y", "not JSON"), ("z", "{\"v\":2,\"what\":\"newer\"}\n")] {
            store.put(&left.folder.clone().join(name), bytes.into()).await.unwrap();
        }
        assert_eq!(bodies(&left).await, ["nought", "one"]);
        assert!(bodies(&notes(&store, "slices/a/8", None)).await.is_empty());
    }

    #[tokio::test]
    async fn with_a_key_only_what_was_signed_for_this_very_folder_counts() {
        let (store, key) = (InMemory::new(), StateKey::new(&Secret::new("0123456789abcdef")).unwrap());
        let (signed, unsigned) = (notes(&store, "slices/a/7", Some(&key)), notes(&store, "slices/a/7", None));
        signed.put("0-a", &said("signed")).await.unwrap();
        unsigned.put("0-b", &said("unsigned")).await.unwrap();
        let other = notes(&store, "slices/a/8", Some(&key));
        let moved = store.get(&signed.folder.clone().join("0-a")).await.unwrap().bytes().await.unwrap();
        store.put(&other.folder.clone().join("0-a"), moved.clone().into()).await.unwrap();
        let altered = String::from_utf8(moved.to_vec()).unwrap().replace("signed", "forged");
        store.put(&signed.folder.clone().join("0-c"), altered.into()).await.unwrap();

        assert_eq!(bodies(&signed).await, ["signed"]);
        assert!(bodies(&other).await.is_empty());
        assert_eq!(bodies(&unsigned).await.len(), 3, "without a key nobody can tell");
    }
}
