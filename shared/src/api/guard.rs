//! What surrounds every call: the time it may take, headers that keep answers out of caches and frames, and an answer in
//! the API's own form where the framework would give its own.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tracing::error;

use super::problem::Refusal;
use crate::error::Problem;

/// Puts the guard around a router.
pub(super) fn guarded(router: Router) -> Router {
    router.layer(from_fn(guard))
}

async fn guard(request: Request, next: Next) -> Response {
    let answer = AssertUnwindSafe(tokio::time::timeout(ANSWER_MAX, next.run(request))).catch_unwind().await;
    let mut response = match answer {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => too_slow().into_response(),
        Err(panic) => broken(panic).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    response
}

pub(super) async fn no_such_call(uri: Uri) -> Refusal {
    let problem = Problem::new("no-such-call", format!("there is no call at `{}`", uri.path()))
        .hint("`GET /api/openapi.json` lists the calls");
    Refusal::new(StatusCode::NOT_FOUND, problem)
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Refusal {
    let problem = Problem::new("method-not-allowed", format!("`{}` does not take {method}", uri.path()))
        .hint("the header `allow` names the methods that it takes");
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, problem)
}

fn too_slow() -> Refusal {
    let problem = Problem::new("answer-timeout", "the services that this call asks did not answer in time")
        .hint("ask again; nothing is started by a call that answers so, or it is, and `GET /api/credentials/{name}` shows it");
    Refusal::new(StatusCode::GATEWAY_TIMEOUT, problem)
}

/// The text of a panic may quote anything, so it stays out of the answer and the log.
fn broken(_: Box<dyn Any + Send>) -> Refusal {
    error!("a call was broken off by a defect of lakekey");
    let problem = Problem::new("defect", "the call was broken off by a defect of lakekey")
        .hint("every target still holds a live secret; please report it");
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, problem)
}

/// Below the 230 seconds after which Azure's front end gives up.
const ANSWER_MAX: Duration = Duration::from_secs(120);
