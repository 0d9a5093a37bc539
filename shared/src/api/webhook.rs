//! On-demand work for other systems, signed as Standard Webhooks ask for: <https://www.standardwebhooks.com>. A message is
//! looked at only after its signature holds, and its id is honoured once.

mod signature;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::orders::{accept, accepted, known_by, located, reason};
use super::problem::{ProblemBody, Refusal};
use super::{Api, body, credentials};
use crate::operations::{Operation, Order, Task};

/// What other systems may ask for. Further fields are theirs.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Message {
    /// What is asked for
    r#type: MessageType,
    data: MessageData,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
enum MessageType {
    /// Rotate what is due
    #[serde(rename = "credential.rotate")]
    Rotate,
    /// Send the current secret to its targets again
    #[serde(rename = "credential.reapply")]
    Reapply,
}

#[derive(Debug, Deserialize, ToSchema)]
struct MessageData {
    /// A credential of the config
    name: String,
    /// `credential.rotate`: although not due
    #[serde(default)]
    force: bool,
    /// `credential.reapply`: refresh the datasets too
    #[serde(default)]
    refresh: bool,
    /// Why, for the journal; at most 500 characters
    #[schema(max_length = 500)]
    reason: Option<String>,
}

/// Takes a signed message
#[utoipa::path(post, path = "/api/webhook", tag = "webhook", request_body = Message,
    params(
        ("webhook-id" = String, Header, description = "each is honoured once"),
        ("webhook-timestamp" = String, Header, description = "seconds since 1970, at most five minutes off"),
        ("webhook-signature" = String, Header, description = "`v1,` and base64 of the HMAC-SHA-256; several separated by spaces"),
    ),
    responses(
        (status = 202, description = "accepted", body = Operation, headers(("location" = String, description = "where the operation is read back"))),
        (status = 200, description = "this message was accepted before", body = Operation),
        (status = 401, description = "signature or timestamp do not hold", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "another operation or rotation is open", body = ProblemBody, content_type = "application/problem+json"),
        (status = "4XX", description = "refused", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "could not be answered", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn webhook(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    let secret = api.access.webhook_secret(&api.app).await?;
    let bytes = body::read(body).await?;
    let id = signature::verify(&secret, &headers, &bytes, api.app.now())?;
    let Message { r#type, data } = body::json(&bytes)?;
    let name = credentials::known_name(&api, &data.name)?;
    let task = match r#type {
        MessageType::Rotate => Task::Rotate { force: data.force },
        MessageType::Reapply => Task::Reapply { refresh: data.refresh },
    };
    // The same id with another content can't be told from a replay by its sender either: the id alone counts.
    let request = Some(known_by("webhook-id", id.as_bytes(), &[]));
    let order = Order { task, by: "webhook".to_owned(), reason: reason(data.reason)?, request };
    match accept(&api, &name, order).await? {
        (operation, true) => Ok(accepted(operation)),
        (operation, false) => Ok(located(operation).into_response()),
    }
}
