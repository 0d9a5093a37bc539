//! A store in memory whose puts and listings can go wrong once, as real ones do.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// The store's own retry meets the object that its first try made.
    WorksThenExists,
    /// The answer is lost.
    WorksThenFails,
    /// The request is lost.
    Fails,
    /// The request arrives after it was given up.
    Later,
}

#[derive(Debug, Default)]
pub(super) struct Flaky {
    inner: InMemory,
    fault: Mutex<Option<Fault>>,
    pending: Mutex<Option<(Path, PutPayload, PutOptions)>>,
    hidden: Mutex<Option<Path>>,
}

impl Flaky {
    pub(super) fn next_put(&self, fault: Fault) {
        *self.fault.lock().unwrap() = Some(fault);
    }

    pub(super) fn hide(&self, path: &Path) {
        *self.hidden.lock().unwrap() = Some(path.clone());
    }

    pub(super) async fn land(&self) {
        let (path, payload, options) = self.pending.lock().unwrap().take().unwrap();
        self.inner.put_opts(&path, payload, options).await.unwrap();
    }
}

fn timeout() -> Error {
    Error::Generic { store: "flaky", source: "timed out".into() }
}

#[async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        match fault {
            None => self.inner.put_opts(path, payload, options).await,
            Some(Fault::Fails) => Err(timeout()),
            Some(Fault::Later) => {
                *self.pending.lock().unwrap() = Some((path.clone(), payload, options));
                Err(timeout())
            }
            Some(Fault::WorksThenFails) => {
                self.inner.put_opts(path, payload, options).await?;
                Err(timeout())
            }
            Some(Fault::WorksThenExists) => {
                self.inner.put_opts(path, payload, options).await?;
                Err(Error::AlreadyExists { path: path.to_string(), source: "it is there".into() })
            }
        }
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let hidden = self.hidden.lock().unwrap().clone();
        self.inner
            .list(prefix)
            .try_filter(move |object| futures::future::ready(Some(&object.location) != hidden.as_ref()))
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

impl std::fmt::Display for Flaky {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("flaky")
    }
}
