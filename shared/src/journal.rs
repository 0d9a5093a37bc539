//! The journal: lease, write-ahead log and audit trail in one. Entry n is the object `journal/NAME/<n>.json`, created only
//! if absent and carrying the hash of entry n-1, so that of two runners one wins and an edit shows.
//!
//! **Guarantees.** An entry that [`Journal::append`] returned is durable and unique at its place; what
//! [`Journal::open`] returned is an unbroken chain, with a state key a signed one.
//! **Caveats.** A chain cut off at its end is still a chain: only a hash kept elsewhere shows the loss
//! ([`Journal::contains`]). A dropped or failed `append` may still land; the next one then answers `Lost`, and
//! [`Journal::refresh`] shows what landed.

mod entry;
mod error;
pub mod lock;
pub mod names;
pub mod note;
pub mod place;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ids::RunnerId;
use crate::random::Random;
pub use entry::{Entry, StateKey};
use entry::{Position, decode, encode, genesis, sha256};
pub use error::{BrokenReason, JournalError};

/// One journal, verified as far as it has been read.
pub struct Journal<E> {
    store: Arc<dyn ObjectStore>,
    name: String,
    folder: Path,
    key: Option<Arc<StateKey>>,
    unsigned: Unsigned,
    known: Vec<Known>,
    events: PhantomData<fn(E) -> E>,
}

/// An entry that has not been appended yet.
pub struct Prepared<E> {
    /// The entry.
    pub entry: Entry<E>,
    bytes: Bytes,
}

/// What is kept of an entry that was read: its event is its reader's to fold and to forget, for journals grow for ever.
struct Known {
    hash: String,
    signed: bool,
}

/// What to make of a journal without any signature while a state key is set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unsigned {
    Refused,
    Trusted,
}

impl<E: Serialize + DeserializeOwned + Clone> Journal<E> {
    /// Reads and verifies the whole journal `name`, giving each entry to `reader`; one that does not exist is empty. What was
    /// read counts only when all of it did.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        name: &str,
        key: Option<Arc<StateKey>>,
        reader: impl FnMut(Entry<E>),
    ) -> Result<Self, JournalError> {
        Self::open_with(store, name, key, Unsigned::Refused, reader).await
    }

    /// As [`open`](Self::open), but takes a journal without any signature as it is; entries appended from here on are
    /// signed and vouch for it. For a person who has just introduced a state key.
    pub async fn open_trusting_unsigned(
        store: Arc<dyn ObjectStore>,
        name: &str,
        key: Option<Arc<StateKey>>,
        reader: impl FnMut(Entry<E>),
    ) -> Result<Self, JournalError> {
        Self::open_with(store, name, key, Unsigned::Trusted, reader).await
    }

    /// The entries of journal `name` as far as they can be verified, and what stopped that: for showing, not for acting.
    pub async fn inspect(
        store: Arc<dyn ObjectStore>,
        name: &str,
        key: Option<Arc<StateKey>>,
    ) -> (Vec<Entry<E>>, Result<(), JournalError>) {
        let mut entries = Vec::new();
        let unread = Self::unread(store, name, key, Unsigned::Refused);
        let verified = unread.read_on(|entry| entries.push(entry)).await.map(drop);
        (entries, verified)
    }

    async fn open_with(
        store: Arc<dyn ObjectStore>,
        name: &str,
        key: Option<Arc<StateKey>>,
        unsigned: Unsigned,
        reader: impl FnMut(Entry<E>),
    ) -> Result<Self, JournalError> {
        let mut journal = Self::unread(store, name, key, unsigned);
        journal.known = journal.read_on(reader).await?;
        Ok(journal)
    }

    fn unread(store: Arc<dyn ObjectStore>, name: &str, key: Option<Arc<StateKey>>, unsigned: Unsigned) -> Self {
        let folder = Path::from_iter([FOLDER, name]);
        Self { store, name: name.to_owned(), folder, key, unsigned, known: Vec::new(), events: PhantomData }
    }

    /// How many entries have been read or appended; the number of the last.
    pub fn len(&self) -> u64 {
        self.known.len() as u64
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The hash of the last entry.
    pub fn head(&self) -> Option<&str> {
        self.known.last().map(|entry| entry.hash.as_str())
    }

    /// Whether an entry has this hash: false for a head that was kept elsewhere means that entries were lost or rewritten.
    pub fn contains(&self, hash: &str) -> bool {
        self.known.iter().any(|entry| entry.hash == hash)
    }

    /// Reads the entries appended since, by whomever; on an error none of them is taken.
    pub async fn refresh(&mut self) -> Result<Vec<Entry<E>>, JournalError> {
        let mut fresh = Vec::new();
        let known = self.read_on(|entry| fresh.push(entry)).await?;
        self.known.extend(known);
        Ok(fresh)
    }

    /// From here on a journal without any signature is not taken as it is: what was read so far must bear one, if a state key
    /// is set.
    pub fn refuse_unsigned(&mut self) -> Result<(), JournalError> {
        self.unsigned = Unsigned::Refused;
        match self.known.last() {
            Some(newest) if self.key.is_some() && !newest.signed => {
                Err(JournalError::Broken { seq: self.len(), reason: BrokenReason::Unsigned })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Appends `event` after the last entry read, or says who was first. On `Unavailable` it may still land.
    pub async fn append(&mut self, random: &Random, at: Timestamp, by: &RunnerId, event: E) -> Result<Entry<E>, JournalError> {
        let prepared = self.prepare(random, at, by, event)?;
        self.put(&prepared).await?;
        Ok(prepared.entry)
    }

    /// What [`put`](Self::put) appends. Its event is as it will be read back: of a large one only that is kept.
    pub fn prepare(&self, random: &Random, at: Timestamp, by: &RunnerId, event: E) -> Result<Prepared<E>, JournalError> {
        let seq = self.len() + 1;
        let newest = self.known.last();
        if self.key.is_none() && newest.is_some_and(|newest| newest.signed) {
            return Err(JournalError::KeyMissing);
        }
        let unwritable = |reason: BrokenReason| match matches!(reason, BrokenReason::Oversize) {
            true => JournalError::TooLarge { seq },
            false => JournalError::Broken { seq, reason },
        };
        let bytes = encode(&self.position(seq, newest), &random.nonce(), at, by, &event).map_err(unwritable)?;
        drop(event);
        // What could not be read back after a crash is never written.
        let entry = self.decode(seq, newest, &bytes)?;
        Ok(Prepared { entry, bytes })
    }

    /// Appends what was prepared, as [`append`](Self::append) does; nothing may have been read or appended since.
    pub async fn put(&mut self, prepared: &Prepared<E>) -> Result<(), JournalError> {
        let Prepared { entry, bytes } = prepared;
        if entry.seq != self.len() + 1 {
            return Err(JournalError::Lost { seq: entry.seq });
        }
        self.create(entry.seq, bytes).await?;
        self.known.push(Known { hash: entry.hash.clone(), signed: entry.signed });
        Ok(())
    }

    /// Whether nobody has appended anything since.
    pub async fn is_newest(&self) -> Result<bool, JournalError> {
        match self.store.head(&self.path(self.len() + 1)).await {
            Ok(_) => Ok(false),
            Err(object_store::Error::NotFound { .. }) => Ok(true),
            Err(error) => Err(JournalError::Unavailable(error)),
        }
    }

    /// Reads entry `seq` back from the store and checks that it is the one read or appended here.
    pub async fn confirm(&self, seq: u64) -> Result<(), JournalError> {
        let known = seq.checked_sub(1).and_then(|index| self.known.get(usize::try_from(index).ok()?));
        let Some(known) = known else { return Err(JournalError::Broken { seq, reason: BrokenReason::Missing }) };
        if sha256(&self.read(seq).await?) == known.hash {
            Ok(())
        } else {
            Err(JournalError::Broken { seq, reason: BrokenReason::Chain })
        }
    }

    /// Reads and verifies what follows the entries read so far, and gives it to `reader`; what is to be kept of it.
    async fn read_on(&self, mut reader: impl FnMut(Entry<E>)) -> Result<Vec<Known>, JournalError> {
        let mut fresh: Vec<Known> = Vec::new();
        let Some(last) = self.last_in_store().await? else { return Ok(fresh) };
        let objects = (self.len() + 1..=last).map(|seq| async move { self.read(seq).await.map(|bytes| (seq, bytes)) });
        let mut objects = futures::stream::iter(objects).buffered(READS_MAX);
        while let Some((seq, bytes)) = objects.try_next().await? {
            let newest = fresh.last().or_else(|| self.known.last());
            let entry = self.decode(seq, newest, &bytes)?;
            if newest.is_some_and(|newest| newest.signed) && !entry.signed {
                return Err(JournalError::Broken { seq, reason: BrokenReason::Unsigned });
            }
            fresh.push(Known { hash: entry.hash.clone(), signed: entry.signed });
            reader(entry);
        }
        let signature_owed = self.key.is_some() && self.unsigned == Unsigned::Refused;
        if signature_owed && fresh.last().is_some_and(|newest| !newest.signed) {
            return Err(JournalError::Broken { seq: last, reason: BrokenReason::Unsigned });
        }
        Ok(fresh)
    }

    /// A put that failed, "exists" included, may have worked: stores retry by themselves. The nonce makes our bytes ours. Where
    /// "exists" was said of nothing, two creates met and neither need have won (S3's `ConditionalRequestConflict`).
    async fn create(&self, seq: u64, ours: &Bytes) -> Result<(), JournalError> {
        let (path, mut conflicts) = (self.path(seq), 0);
        loop {
            let put = self.store.put_opts(&path, ours.clone().into(), PutMode::Create.into());
            let Err(error) = put.await else { return Ok(()) };
            match self.read(seq).await {
                Ok(found) if found == *ours => return Ok(()),
                Ok(_) | Err(JournalError::Broken { reason: BrokenReason::Oversize, .. }) => {
                    return Err(JournalError::Lost { seq });
                }
                Err(JournalError::Broken { reason: BrokenReason::Missing, .. })
                    if matches!(error, object_store::Error::AlreadyExists { .. }) && conflicts < CONFLICTS_MAX =>
                {
                    conflicts += 1;
                }
                Err(_) => return Err(JournalError::Unavailable(error)),
            }
        }
    }

    /// The number of the last entry in the store, if it is beyond what has been read.
    async fn last_in_store(&self) -> Result<Option<u64>, JournalError> {
        let mut objects = match self.len() {
            0 => self.store.list(Some(&self.folder)),
            newest => self.store.list_with_offset(Some(&self.folder), &self.path(newest)),
        };
        let mut last = None;
        while let Some(object) = objects.try_next().await? {
            let seq = self.seq_of(&object.location).ok_or_else(|| JournalError::Broken {
                seq: self.len() + 1,
                reason: BrokenReason::Name(object.location.to_string()),
            })?;
            last = last.max(Some(seq));
        }
        Ok(last.filter(|last| *last > self.len()))
    }

    /// A listing taken while others append may lack an entry before a later one, so every number is asked for by itself.
    async fn read(&self, seq: u64) -> Result<Bytes, JournalError> {
        let found = match self.store.get(&self.path(seq)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => {
                return Err(JournalError::Broken { seq, reason: BrokenReason::Missing });
            }
            Err(error) => return Err(JournalError::Unavailable(error)),
        };
        if found.meta.size > entry::BYTES_MAX {
            return Err(JournalError::Broken { seq, reason: BrokenReason::Oversize });
        }
        Ok(found.bytes().await?)
    }

    fn decode(&self, seq: u64, newest: Option<&Known>, bytes: &[u8]) -> Result<Entry<E>, JournalError> {
        decode(&self.position(seq, newest), bytes).map_err(|reason| JournalError::Broken { seq, reason })
    }

    fn position(&self, seq: u64, newest: Option<&Known>) -> Position<'_> {
        let prev = newest.map_or_else(|| genesis(&self.name), |newest| newest.hash.clone());
        Position { name: &self.name, seq, prev, key: self.key.as_deref() }
    }

    fn path(&self, seq: u64) -> Path {
        self.folder.clone().join(format!("{seq:0SEQ_DIGITS$}.json"))
    }

    fn seq_of(&self, path: &Path) -> Option<u64> {
        let mut below = path.prefix_match(&self.folder)?;
        let name = below.next().filter(|_| below.next().is_none())?;
        let digits = name.as_ref().strip_suffix(".json").filter(|digits| digits.len() == SEQ_DIGITS)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?.filter(|seq| *seq > 0)
    }
}

/// The names of the journals in `store`, sorted.
pub async fn list(store: &dyn ObjectStore) -> Result<Vec<String>, JournalError> {
    let listing = store.list_with_delimiter(Some(&Path::from(FOLDER))).await?;
    let mut names: Vec<String> = listing.common_prefixes.iter().filter_map(names::last_part).collect();
    names.sort();
    Ok(names)
}

const FOLDER: &str = "journal";
/// More entries than one a second for thirty thousand years have.
const SEQ_DIGITS: usize = 12;
/// Entries read at the same time.
const READS_MAX: usize = 16;
/// Creates of one entry that may meet another's before it is given up.
const CONFLICTS_MAX: usize = 4;
