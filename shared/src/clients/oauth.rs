//! What the token endpoints of Databricks and Entra have in common.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::http::{Call, Effect, Http, HttpError, Service, json};
use crate::secret::Secret;

/// A token as an endpoint issued it.
#[derive(Debug)]
pub(crate) struct TokenAnswer {
    pub(crate) value: Secret,
    /// How long it is good for, when said.
    pub(crate) expires_in: Option<Duration>,
    /// When it was asked for, by our clock.
    pub(crate) asked: Timestamp,
    /// When the answer was there, by our clock.
    pub(crate) received: Timestamp,
    /// The server's clock at the answer.
    pub(crate) date: Option<Timestamp>,
}

#[derive(Deserialize)]
struct TokenWire {
    access_token: String,
    /// Seconds; Entra's older endpoints send text.
    #[serde(default)]
    expires_in: Value,
}

/// Sends a token request. Asking twice yields two tokens and harms nobody, so it is repeatable.
pub(crate) async fn token(
    http: &Http,
    service: Service,
    what: &'static str,
    request: Request<Bytes>,
) -> Result<TokenAnswer, HttpError> {
    let target = format!("POST {}{}", request.uri().host().unwrap_or_default(), request.uri().path());
    let asked = http.clock().now();
    let answer = http.send(Call { service, what, request, signer: None, effect: Effect::Repeatable, not_after: None }).await?;
    let wire: TokenWire = json::read(what, &target, &answer)?;
    if wire.access_token.is_empty() {
        return Err(HttpError::unusable(what, &target, "an empty token"));
    }
    let seconds = match &wire.expires_in {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let date = answer.headers().get(header::DATE).and_then(|value| value.to_str().ok());
    Ok(TokenAnswer {
        value: Secret::new(wire.access_token),
        expires_in: seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        asked,
        received: http.clock().now(),
        date: date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()).map(|date| date.timestamp()),
    })
}
