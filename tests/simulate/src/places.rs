//! State and stores in memory, as one process sees them: each write is a numbered effect and may go wrong.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use lakekey_core::config::{StateLocation, StoreLocation, VaultSecret};
use lakekey_core::credential::{StoredCredential, StoredValue};
use lakekey_core::error::Error;
use lakekey_core::ids::{RunnerId, SecretId};
use lakekey_core::secret::Secret;
use lakekey_core::storage::{Lock, Storage};
use lakekey_core::stores::memory::MemoryStore;
use lakekey_core::stores::{SecretStore, StoreError};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use crate::broken;
use crate::process::{Process, When, detach, sleep};
use crate::universe::{Mishap, Universe, held};

/// Opens the places of one universe for one process.
pub struct Places {
    universe: Arc<Universe>,
    process: Arc<Process>,
}

impl Places {
    /// The places as this process sees them.
    pub fn new(universe: Arc<Universe>, process: Arc<Process>) -> Self {
        Self { universe, process }
    }

    fn objects(&self) -> Arc<dyn ObjectStore> {
        Arc::new(Objects { universe: Arc::clone(&self.universe), process: Arc::clone(&self.process) })
    }
}

#[async_trait]
impl Storage for Places {
    async fn open_state(&self, _: &StateLocation) -> Result<Arc<dyn ObjectStore>, Error> {
        Ok(self.objects())
    }

    async fn view_state(&self, _: &StateLocation) -> Result<Arc<dyn ObjectStore>, Error> {
        Ok(self.objects())
    }

    fn lock(&self, _: &StateLocation, _: &str, by: &RunnerId) -> Result<Lock, Error> {
        let Some(lock) = &self.universe.lock else { return Ok(Lock::None) };
        if broken::ignores_lock(&self.universe) {
            return Ok(Lock::Taken(Box::new(())));
        }
        let mut holder = held(lock);
        if let Some(holder) = &*holder {
            return Ok(Lock::Busy(holder.clone()));
        }
        *holder = Some(by.clone());
        drop(holder);
        Ok(Lock::Taken(Box::new(Held(Arc::clone(lock)))))
    }

    async fn secret(&self, secret: &VaultSecret) -> Result<Secret, Error> {
        Err(Error::failed("secret-missing", format!("the simulated places have no vault, so no `{secret}`")))
    }

    fn store(&self, location: &StoreLocation) -> Result<Arc<dyn SecretStore>, Error> {
        let inner = self.universe.store(&location.to_string());
        Ok(Arc::new(Store { inner, universe: Arc::clone(&self.universe), process: Arc::clone(&self.process) }))
    }
}

/// As the operating system does, frees the lock when its holder ends, however that ends.
struct Held(Arc<Mutex<Option<RunnerId>>>);

impl Drop for Held {
    fn drop(&mut self) {
        *held(&self.0) = None;
    }
}

struct Objects {
    universe: Arc<Universe>,
    process: Arc<Process>,
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the simulated state")
    }
}

impl std::fmt::Display for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the simulated state")
    }
}

fn failed() -> object_store::Error {
    object_store::Error::Generic { store: "simulated", source: "the answer was lost".into() }
}

fn exists(path: &Path) -> object_store::Error {
    object_store::Error::AlreadyExists { path: path.to_string(), source: "the first try had worked".into() }
}

async fn put(
    universe: &Universe,
    process: &Process,
    path: &Path,
    payload: PutPayload,
    options: PutOptions,
) -> object_store::Result<PutResult> {
    let payload = broken::payload(universe, payload);
    let bytes = bytes::Bytes::from(payload.clone());
    let done = universe.objects.put_opts(path, payload, broken::put_options(universe, options)).await;
    if done.is_ok() {
        let living = universe.watch().object_put(process, path.as_ref(), &bytes, universe.cloud.now());
        for secret in living {
            in_a_slot(universe, &secret).await;
        }
    }
    done
}

/// What a journal entry says, for the trace.
fn event(payload: &PutPayload) -> String {
    let bytes = bytes::Bytes::from(payload.clone());
    let entry: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let mut event = entry["event"].to_string();
    event.truncate(event.char_indices().nth(EVENT_MAX).map_or(event.len(), |(at, _)| at));
    format!(" {event}")
}

/// Letters of an entry that a trace shows.
const EVENT_MAX: usize = 160;

/// G2: a secret that the journal names and has not condemned is in a slot, or no crash after this could find its value.
async fn in_a_slot(universe: &Universe, secret: &SecretId) {
    let stores: Vec<MemoryStore> = held(&universe.stores).values().cloned().collect();
    for store in stores {
        if store.staged(secret).await.is_ok_and(|value| value.is_some()) {
            return;
        }
    }
    universe.watch().broken("G2", universe.cloud.now(), format!("the journal names {secret}, whose value is in no slot"));
}

#[async_trait]
impl ObjectStore for Objects {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        let (universe, process) = (&self.universe, &self.process);
        let fate = process.begin().await;
        let event = if universe.is_traced() { event(&payload) } else { String::new() };
        // A local file is written at once or never; only a remote state has writes in flight.
        if let (Some(When::InFlight(ms)), None) = (fate.dies, &universe.lock) {
            universe.trace(process.runner.as_str(), || format!("#{} put {path}{event} in flight, dies", fate.number));
            let (universe, process, path) = (Arc::clone(universe), Arc::clone(process), path.clone());
            let dying = Arc::clone(&self.process);
            detach(async move {
                sleep(Duration::from_millis(ms)).await;
                let _ = put(&universe, &process, &path, payload, options).await;
            });
            dying.die().await;
            return Err(failed());
        }
        let answer = match universe.mishap(|trouble| trouble.state) {
            Mishap::None => put(universe, process, path, payload, options).await,
            Mishap::Fails => Err(failed()),
            Mishap::Unanswered => put(universe, process, path, payload, options).await.and(Err(failed())),
            Mishap::Repeated => put(universe, process, path, payload, options).await.and(Err(exists(path))),
        };
        *held(&process.last_put) = Some(path.to_string());
        let nothing = || PutResult { e_tag: None, version: None, extensions: Default::default() };
        let answer = broken::append_answer(universe, answer, nothing, || exists(path));
        let said = if answer.is_ok() { "done" } else { "failed" };
        universe.trace(process.runner.as_str(), || format!("#{} put {path}{event} -> {said}", fate.number));
        universe.ended(process, fate).await;
        answer
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.universe.objects.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        if broken::doubts_own_append(&self.universe) && held(&self.process.last_put).as_deref() == Some(path.as_ref()) {
            let other = Path::from("somebody-elses");
            self.universe.objects.put(&other, "{}\n".into()).await?;
            return self.universe.objects.get_opts(&other, options).await;
        }
        self.universe.objects.get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.universe.objects.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.universe.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.universe.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.universe.objects.copy_opts(from, to, options).await
    }
}

struct Store {
    inner: MemoryStore,
    universe: Arc<Universe>,
    process: Arc<Process>,
}

impl Store {
    /// One numbered write.
    async fn write(&self, what: &str, done: impl Future<Output = Result<(), StoreError>>) -> Result<(), StoreError> {
        let fate = self.process.begin().await;
        let not_writable = || StoreError::NotWritable { place: self.inner.place(), source: io::Error::other("simulated") };
        let answer = match self.universe.mishap(|trouble| trouble.stores) {
            Mishap::None => done.await,
            Mishap::Fails => Err(not_writable()),
            Mishap::Unanswered | Mishap::Repeated => done.await.and_then(|()| Err(not_writable())),
        };
        let said = if answer.is_ok() { "done" } else { "failed" };
        self.universe.trace(self.process.runner.as_str(), || format!("#{} {what} -> {said}", fate.number));
        self.universe.ended(&self.process, fate).await;
        answer
    }
}

#[async_trait]
impl SecretStore for Store {
    async fn stage(&self, credential: &StoredCredential) -> Result<(), StoreError> {
        if broken::loses_values(&self.universe) {
            return Ok(());
        }
        if broken::shares_slot(&self.universe) {
            for other in self.inner.staged_ids().await? {
                self.inner.discard(&other).await?;
            }
        }
        self.write("stage", self.inner.stage(credential)).await
    }

    async fn staged(&self, id: &SecretId) -> Result<Option<StoredCredential>, StoreError> {
        self.inner.staged(id).await
    }

    async fn staged_ids(&self) -> Result<Vec<SecretId>, StoreError> {
        self.inner.staged_ids().await
    }

    async fn promote(&self, credential: &StoredCredential) -> Result<(), StoreError> {
        self.write("promote", self.inner.promote(credential)).await
    }

    async fn current(&self) -> Result<Option<StoredValue>, StoreError> {
        self.inner.current().await
    }

    async fn discard(&self, id: &SecretId) -> Result<(), StoreError> {
        self.write("discard", self.inner.discard(id)).await
    }

    fn place(&self) -> String {
        self.inner.place()
    }
}
