//! The HTTP API: one axum router for `lakekey serve` and the platforms' functions. It only translates: a request into a
//! command or an operation, a report into JSON. Work is done after the answer, by whoever takes from the queue.
//!
//! Every answer from 400 up is a problem of RFC 9457, made in `api/problem.rs`. The OpenAPI document is made from the
//! handlers themselves.

mod access;
mod body;
mod credentials;
mod document;
mod guard;
mod operations;
mod orders;
mod page;
mod problem;
#[cfg(test)]
mod tests;
mod webhook;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::error::Error;
use crate::ids::CredentialName;
use crate::operations::OperationLog;
use crate::work::WorkQueue;
use access::Access;

/// What the calls work with.
pub struct Api {
    app: Arc<App>,
    queue: Arc<dyn WorkQueue>,
    access: Access,
    logs: Mutex<BTreeMap<CredentialName, SharedLog>>,
}

/// One at a time reads on and appends; what was read is kept.
type SharedLog = Arc<tokio::sync::Mutex<Option<OperationLog>>>;

impl Api {
    /// An API over `app` whose operations go to `queue`.
    pub fn new(app: Arc<App>, queue: Arc<dyn WorkQueue>) -> Self {
        let access = Access::new(app.api().clone());
        Self { app, queue, access, logs: Mutex::default() }
    }

    /// Every call of the API, with its limits.
    pub fn router(self) -> Router {
        let api = Arc::new(self);
        let (router, mut document) = calls().split_for_parts();
        document::complete(&mut document);
        let router = router
            .route("/", get(|| async {}))
            .route("/api/openapi.json", get(move || document::show(document)))
            .route("/api/ui", get(page::page))
            .fallback(guard::no_such_call)
            .method_not_allowed_fallback(guard::method_not_allowed)
            .with_state(api);
        guard::guarded(router)
    }

    /// A credential's operations, as of now.
    async fn with_log<T>(
        &self,
        name: &CredentialName,
        work: impl AsyncFnOnce(&mut OperationLog) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let shared = Arc::clone(self.logs.lock().unwrap_or_else(PoisonError::into_inner).entry(name.clone()).or_default());
        let mut slot = shared.lock().await;
        let mut log = match slot.take() {
            Some(mut log) => {
                log.refresh().await?;
                log
            }
            None => self.app.operation_log(name).await?,
        };
        // Kept only where nothing failed: a fresh look mends what a failed one may have left.
        let done = work(&mut log).await?;
        *slot = Some(log);
        Ok(done)
    }
}

/// The documented calls.
fn calls() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(document::head())
        .routes(routes!(document::health))
        .routes(routes!(credentials::list))
        .routes(routes!(credentials::one))
        .routes(routes!(credentials::history))
        .routes(routes!(orders::rotate))
        .routes(routes!(orders::reapply))
        .routes(routes!(orders::rollback))
        .routes(routes!(orders::revoke))
        .routes(routes!(operations::operation))
        .routes(routes!(webhook::webhook))
}
