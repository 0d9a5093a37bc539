//! Where credentials stand, and their journals: what `status` and `history` say, one object for each credential.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::Api;
use super::access::Need;
use super::problem::{ProblemBody, Refusal};
use crate::command::{Command, Outcome, Progress};
use crate::error::{Error, Problem};
use crate::ids::CredentialName;
use crate::report::{CredentialHistory, CredentialStatus};

/// Where every credential stands
#[utoipa::path(get, path = "/api/credentials", tag = "credentials", security(("key" = [])), responses(
    (status = 200, description = "the answer", body = [CredentialStatus]),
    (status = "4XX", description = "refused", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", description = "could not be answered", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn list(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Json<Vec<CredentialStatus>>, Refusal> {
    api.access.check(&api.app, &headers, Need::Read).await?;
    Ok(Json(statuses(&api, Vec::new()).await?))
}

/// Where one credential stands
#[utoipa::path(get, path = "/api/credentials/{name}", tag = "credentials", security(("key" = [])),
    params(("name" = String, Path, description = "a credential of the config")), responses(
    (status = 200, description = "the answer", body = CredentialStatus),
    (status = "4XX", description = "refused", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", description = "could not be answered", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<CredentialStatus>, Refusal> {
    api.access.check(&api.app, &headers, Need::Read).await?;
    let name = known(&api, name)?;
    let status = statuses(&api, vec![name.clone()]).await?.pop();
    status.map(Json).ok_or_else(|| unknown(&api, name.as_str()))
}

/// The journal of one credential
#[utoipa::path(get, path = "/api/credentials/{name}/history", tag = "credentials", security(("key" = [])),
    params(("name" = String, Path, description = "a credential of the config"),
        ("verify" = Option<bool>, Query, description = "check the hash chain and, with a state key, the signatures")), responses(
    (status = 200, description = "the answer", body = CredentialHistory),
    (status = "4XX", description = "refused", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", description = "could not be answered", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn history(
    State(api): State<Arc<Api>>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<HistoryQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<CredentialHistory>, Refusal> {
    api.access.check(&api.app, &headers, Need::Read).await?;
    let name = known(&api, name)?;
    let Query(HistoryQuery { verify }) = query.map_err(|_| wrong_query())?;
    let names = vec![name.clone()];
    let mut histories =
        match api.app.run(Command::History { names, verify: verify.unwrap_or_default() }, &Progress::none()).await? {
            Outcome::History(report) => report.credentials,
            Outcome::Plan(_) | Outcome::Moved(_) | Outcome::Status(_) | Outcome::Discovered(_) | Outcome::Doctor(_) => Vec::new(),
        };
    histories.pop().map(Json).ok_or_else(|| unknown(&api, name.as_str()))
}

/// How the journal is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    /// Check it too.
    verify: Option<bool>,
}

pub(super) async fn statuses(api: &Api, names: Vec<CredentialName>) -> Result<Vec<CredentialStatus>, Error> {
    match api.app.run(Command::Status { names }, &Progress::none()).await? {
        Outcome::Status(report) => Ok(report.credentials),
        Outcome::Plan(_) | Outcome::Moved(_) | Outcome::History(_) | Outcome::Discovered(_) | Outcome::Doctor(_) => {
            Ok(Vec::new())
        }
    }
}

/// The credential that a path names.
pub(super) fn known(api: &Api, name: Result<Path<String>, PathRejection>) -> Result<CredentialName, Refusal> {
    let Ok(Path(name)) = name else { return Err(unknown(api, "?")) };
    known_name(api, &name)
}

/// The credential of this name.
pub(super) fn known_name(api: &Api, name: &str) -> Result<CredentialName, Refusal> {
    api.app.credentials().find(|known| known.as_str() == name).cloned().ok_or_else(|| unknown(api, name))
}

fn unknown(api: &Api, name: &str) -> Refusal {
    let names: Vec<String> = api.app.credentials().map(|name| format!("`{name}`")).collect();
    let problem = Problem::new("unknown-credential", format!("the config has no credential `{name}`"))
        .hint(format!("it has {}", names.join(", ")));
    Refusal::new(StatusCode::NOT_FOUND, problem)
}

fn wrong_query() -> Refusal {
    let problem =
        Problem::new("bad-query", "the query is not what this call takes").hint("it takes `verify=true` or `verify=false`");
    Refusal::new(StatusCode::BAD_REQUEST, problem)
}
