//! Request bodies: read once, bounded in size and time, before anything is made of them.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::problem::Refusal;
use crate::error::Problem;

/// The whole body.
pub(super) async fn read(body: Body) -> Result<Bytes, Refusal> {
    // The limit is looked at apart from `to_bytes`, whose error does not say whether it was that or the connection.
    let declared = axum::body::HttpBody::size_hint(&body).lower();
    if declared > DRAINED_BYTES_MAX as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(READ_MAX, to_bytes(body, DRAINED_BYTES_MAX)).await {
        Ok(Ok(bytes)) if bytes.len() > BYTES_MAX => Err(too_large()),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_limit(&error) => Err(too_large()),
        Ok(Err(_)) => Err(wrong("the body could not be read to its end")),
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            Problem::new("body-timeout", "the body did not arrive in time").hint("send it again"),
        )),
    }
}

/// What the body says; an empty one and `null` say nothing.
pub(super) fn parse<T: DeserializeOwned + Default>(bytes: &[u8]) -> Result<T, Refusal> {
    match bytes.is_empty() || bytes.trim_ascii() == b"null" {
        true => Ok(T::default()),
        false => json(bytes),
    }
}

/// What the body says.
pub(super) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    // The text of the error names keys and lines of the body, which is the caller's own.
    let told = |error| wrong(format!("the body is not what this call takes: {error}"));
    // An object and nothing else: serde would also fill a struct from a list.
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes).map_err(told)?;
    serde_json::from_value(object.into()).map_err(told)
}

/// A body that says something wrong.
pub(super) fn wrong(message: impl Into<String>) -> Refusal {
    let problem = Problem::new("bad-body", message).hint("`GET /api/openapi.json` describes it");
    Refusal::new(StatusCode::BAD_REQUEST, problem)
}

fn too_large() -> Refusal {
    let problem = Problem::new("body-too-large", "the body is longer than 64 KiB").hint("no call needs a longer one");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, problem)
}

fn is_limit(error: &axum::Error) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        source = error.source();
    }
    false
}

const BYTES_MAX: usize = 64 * 1024;
/// What is a little too long is read to its end all the same: a proxy that is still sending would not see why it was refused.
const DRAINED_BYTES_MAX: usize = 1024 * 1024;
const READ_MAX: Duration = Duration::from_secs(20);
