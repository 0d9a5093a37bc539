//! Problems of RFC 9457: how the API says no. The stable word is in `type` and, for programs, by itself in `code`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::warn;
use utoipa::ToSchema;

use crate::error::{Error, ErrorKind, Problem};
use crate::operations::OperationId;

/// An answer from 400 up.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    problem: Box<Problem>,
    operation: Option<OperationId>,
    headers: Vec<(header::HeaderName, &'static str)>,
}

/// A problem of RFC 9457.
#[derive(Serialize, ToSchema)]
#[schema(as = HttpProblem)]
pub(super) struct ProblemBody {
    /// `urn:lakekey:problem:` and the code.
    r#type: String,
    /// The code in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What was tried and why it failed.
    detail: String,
    /// A stable kebab-case word, listed in the reference.
    code: String,
    /// What to do about it.
    hint: Option<String>,
    /// The operation that is in the way, where one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, problem: Problem) -> Self {
        Self { status, problem: Box::new(problem), operation: None, headers: Vec::new() }
    }

    /// Names the operation that is in the way.
    pub(super) fn because_of(mut self, operation: Option<OperationId>) -> Self {
        self.operation = operation;
        self
    }

    /// With a header.
    pub(super) fn with(mut self, name: header::HeaderName, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The part that stays the same for every caller.
    #[cfg(test)]
    pub(super) fn code(&self) -> &str {
        &self.problem.code
    }
}

/// What failed inside is logged here, once; the caller is told what a person at the command line would be.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match (error.kind(), error.code()) {
            (ErrorKind::Usage, "unknown-credential" | "unknown-operation" | "host-not-brokered") => StatusCode::NOT_FOUND,
            (ErrorKind::Usage, _) => StatusCode::BAD_REQUEST,
            (ErrorKind::Unfinished, _) => StatusCode::CONFLICT,
            (ErrorKind::Failed, _) => StatusCode::SERVICE_UNAVAILABLE,
            (ErrorKind::Quarantined, _) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            warn!(code = error.code(), "a call could not be answered: {error}");
        }
        Self::new(status, error.problem().clone())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Problem { code, message, hint } = *self.problem;
        let location = self.operation.as_ref().map(|operation| format!("/api/operations/{operation}"));
        let body = ProblemBody {
            r#type: format!("urn:lakekey:problem:{code}"),
            title: code.replace('-', " "),
            status: self.status.as_u16(),
            detail: message,
            code,
            hint,
            operation: self.operation.map(|operation| operation.to_string()),
        };
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/problem+json")], json).into_response();
        for (name, value) in self.headers {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        if let Some(location) = location.and_then(|location| HeaderValue::try_from(location).ok()) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}
