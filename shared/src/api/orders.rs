//! Calls that start work: checked, accepted, answered with 202, and worked off after the answer.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tracing::{info, warn};
use utoipa::ToSchema;

use super::access::Need;
use super::problem::{ProblemBody, Refusal};
use super::{Api, body, credentials};
use crate::error::Problem;
use crate::ids::{CredentialName, hex};
use crate::operations::{Admission, Operation, OperationId, Order, Request, Task};
use crate::work::Message;

/// How work is asked for.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OrderBody {
    /// `rotate`: although not due
    force: bool,
    /// `reapply`: refresh the datasets too
    refresh: bool,
    /// Why, for the journal; at most 500 characters
    #[schema(max_length = 500)]
    reason: Option<String>,
}

macro_rules! order {
    ($(#[$doc:meta])* $name:ident, $path:literal, $need:expr) => {
        $(#[$doc])*
        #[utoipa::path(post, path = $path, tag = "credentials", security(("key" = [])), request_body = Option<OrderBody>,
            params(
                ("name" = String, Path, description = "a credential of the config"),
                ("idempotency-key" = Option<String>, Header, description = "by which a repeated request is known again"),
            ),
            responses(
                (status = 202, description = "accepted", body = Operation, headers(("location" = String, description = "where the operation is read back"))),
                (status = 409, description = "another operation or rotation is open", body = ProblemBody, content_type = "application/problem+json"),
                (status = 422, description = "this key came with another request before", body = ProblemBody, content_type = "application/problem+json"),
                (status = "4XX", description = "refused", body = ProblemBody, content_type = "application/problem+json"),
                (status = "5XX", description = "could not be answered", body = ProblemBody, content_type = "application/problem+json"),
        ))]
        pub(super) async fn $name(
            State(api): State<Arc<Api>>,
            name: Result<Path<String>, PathRejection>,
            headers: HeaderMap,
            body: Body,
        ) -> Result<Response, Refusal> {
            let role = api.access.check(&api.app, &headers, $need).await?;
            let name = credentials::known(&api, name)?;
            let bytes = body::read(body).await?;
            let asked: OrderBody = body::parse(&bytes)?;
            let task = task(stringify!($name), &asked)?;
            let request = request(&headers, task, &bytes)?;
            let order = Order { task, by: format!("{} key", role.as_str()), reason: reason(asked.reason)?, request };
            let (operation, _) = accept(&api, &name, order).await?;
            Ok(accepted(operation))
        }
    };
}

order!(
    /// Rotates what is due, resumes what is open, retires what is past grace
    rotate, "/api/credentials/{name}/rotate", Need::Operate
);
order!(
    /// Sends the current secret to its targets again
    reapply, "/api/credentials/{name}/reapply", Need::Operate
);
order!(
    /// Moves targets back to the previous secret while it lives
    rollback, "/api/credentials/{name}/rollback", Need::Operate
);
order!(
    /// Rotates now and deletes every older secret at once
    revoke, "/api/credentials/{name}/revoke", Need::BreakGlass
);

fn task(call: &str, asked: &OrderBody) -> Result<Task, Refusal> {
    let task = match call {
        "rotate" => Task::Rotate { force: asked.force },
        "reapply" => Task::Reapply { refresh: asked.refresh },
        "rollback" => Task::Rollback,
        _ => Task::Revoke,
    };
    let stray = match task {
        Task::Rotate { .. } => asked.refresh.then_some("refresh"),
        Task::Reapply { .. } => asked.force.then_some("force"),
        Task::Rollback | Task::Revoke => asked.refresh.then_some("refresh").or_else(|| asked.force.then_some("force")),
    };
    match stray {
        Some(key) => Err(body::wrong(format!("`{key}` has no meaning for `{call}`"))),
        None => Ok(task),
    }
}

/// Accepts an order; the second answer is whether it is new.
pub(super) async fn accept(api: &Api, name: &CredentialName, order: Order) -> Result<(Operation, bool), Refusal> {
    let earlier = match &order.request {
        Some(request) => api.with_log(name, async |log| Ok(log.earlier(request))).await?,
        None => None,
    };
    let admission = match earlier {
        Some(earlier) => earlier,
        None => {
            if !order.task.supersedes()
                && let Some(operation) = api.app.open_rotation(name).await?
            {
                return Err(busy(name, operation));
            }
            api.with_log(name, async |log| log.accept(&api.app.writer(), &order).await).await?
        }
    };
    let (id, new) = match admission {
        Admission::Accepted(id) => (id, true),
        Admission::Same(id) => (id, false),
        Admission::Different(id) => return Err(another_request(id)),
        Admission::Busy(id) => return Err(busy(name, Some(id))),
    };
    if new {
        info!(credential = %name, operation = %id, "accepted `{}` for the {}", order.task.as_str(), order.by);
        let message = Message::Drive { credential: name.clone() };
        if let Err(error) = api.queue.send(&message, Duration::ZERO).await {
            // It is accepted: the timer finds it.
            warn!(operation = %id, code = error.code(), "could not queue an operation: {error}");
        }
    }
    let shown = api.with_log(name, async |log| log.show(id.number).await).await?;
    shown.map(|operation| (operation, new)).ok_or_else(|| another_request(id))
}

/// 202, and where the operation is.
pub(super) fn accepted(operation: Operation) -> Response {
    (StatusCode::ACCEPTED, located(operation)).into_response()
}

/// The operation, and where it is.
pub(super) fn located(operation: Operation) -> impl IntoResponse {
    ([(header::LOCATION, format!("/api/operations/{}", operation.id))], Json(operation))
}

/// What an `Idempotency-Key` and the rest of a request are known by.
fn request(headers: &HeaderMap, task: Task, bytes: &[u8]) -> Result<Option<Request>, Refusal> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let visible = |key: &[u8]| (1..=KEY_BYTES_MAX).contains(&key.len()) && key.iter().all(|byte| (0x21..0x7f).contains(byte));
    if keys.next().is_some() || !visible(key.as_bytes()) {
        let problem = Problem::new("bad-idempotency-key", "`Idempotency-Key` is not one word of at most 255 visible characters")
            .hint("a UUID is a good one");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, problem));
    }
    Ok(Some(known_by("idempotency-key", key.as_bytes(), &[task.as_str().as_bytes(), bytes])))
}

/// Hashes of what tells a request from others.
pub(super) fn known_by(kind: &str, key: &[u8], content: &[&[u8]]) -> Request {
    let hash = |parts: &[&[u8]]| {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        hex(context.finish().as_ref())
    };
    Request { key: hash(&[kind.as_bytes(), key]), content: hash(content) }
}

/// The caller's words, fit for a journal and a terminal.
pub(super) fn reason(reason: Option<String>) -> Result<Option<String>, Refusal> {
    match reason {
        Some(reason) if reason.chars().count() > REASON_CHARS_MAX || reason.chars().any(char::is_control) => {
            Err(body::wrong(format!("`reason` is longer than {REASON_CHARS_MAX} characters or has control characters")))
        }
        reason => Ok(reason.filter(|reason| !reason.trim().is_empty())),
    }
}

fn busy(name: &CredentialName, operation: Option<OperationId>) -> Refusal {
    let hint = match operation {
        Some(_) => "`operation` names it; wait until it has ended, or let the timer go on with what it left open",
        None => "no operation began it: a timer or a person did; `GET /api/credentials/{name}` shows where it stands",
    };
    let problem = Problem::new("rotation-open", format!("a rotation of `{name}` is open, or about to begin")).hint(hint);
    Refusal::new(StatusCode::CONFLICT, problem).because_of(operation)
}

fn another_request(id: OperationId) -> Refusal {
    let problem = Problem::new("idempotency-key-reused", "this `Idempotency-Key` came with another request before")
        .hint("use a new key for a new request");
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, problem).because_of(Some(id))
}

const KEY_BYTES_MAX: usize = 255;
const REASON_CHARS_MAX: usize = 500;
