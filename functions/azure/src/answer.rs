//! The answer to an invocation, in the only form in which the host takes one: 2xx, JSON, and never an empty body, which would
//! leave the invocation hanging until its timeout. Another status fails the invocation, and the host reads no further.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use lakekey_core::error::Problem;
use serde_json::json;

/// The invocation has done what it was for. `logs` are shown with it.
pub(crate) fn done(logs: &[String]) -> Response {
    answer(StatusCode::OK, logs)
}

/// It has not: timers and events are tried again, messages come back until they are put aside.
pub(crate) fn failed(problem: &Problem) -> Response {
    answer(StatusCode::INTERNAL_SERVER_ERROR, &[format!("{}: {}", problem.code, problem.message)])
}

fn answer(status: StatusCode, logs: &[String]) -> Response {
    let body = json!({ "Outputs": {}, "Logs": logs, "ReturnValue": null });
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
