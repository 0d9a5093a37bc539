//! Reading an operation back, from whichever process accepted or worked it off.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};

use super::Api;
use super::access::Need;
use super::problem::{ProblemBody, Refusal};
use crate::error::Problem;
use crate::operations::{Operation, OperationId};

/// An operation, which has ended when `result` or `error` is set
#[utoipa::path(get, path = "/api/operations/{id}", tag = "operations", security(("key" = [])),
    params(("id" = String, Path, description = "from the `Location` of the answer that accepted it")), responses(
    (status = 200, description = "the answer", body = Operation),
    (status = "4XX", description = "refused", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", description = "could not be answered", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn operation(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<Operation>, Refusal> {
    api.access.check(&api.app, &headers, Need::Read).await?;
    let text = id.map_or_else(|_| "?".to_owned(), |Path(text)| text);
    let id = OperationId::parse(&text).filter(|id| api.app.credentials().any(|name| *name == id.credential));
    let Some(id) = id else { return Err(unknown(&text)) };
    let shown = api.with_log(&id.credential, async |log| log.show(id.number).await).await?;
    shown.map(Json).ok_or_else(|| unknown(&text))
}

fn unknown(text: &str) -> Refusal {
    let problem = Problem::new("unknown-operation", format!("there is no operation `{text}`"))
        .hint("an id is in the `Location` of the answer that accepted it");
    Refusal::new(StatusCode::NOT_FOUND, problem)
}
