//! What the token endpoints of Databricks and Entra have in common.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::clock::Moment;
use crate::http::{Call, Effect, Http, HttpError, Service, json};
use crate::secret::Secret;

/// A token as an endpoint issued it.
#[derive(Debug)]
pub(crate) struct TokenAnswer {
    pub(crate) value: Secret,
    /// How long it is good for, when said.
    pub(crate) expires_in: Option<Duration>,
    /// When it expires by the server's clock, when said so.
    pub(crate) expires_at: Option<Timestamp>,
    /// What later gets another token in a person's name.
    pub(crate) refresh_token: Option<Secret>,
    /// When it was asked for, by our clock.
    pub(crate) asked: Timestamp,
    /// When the answer was there.
    pub(crate) received: Moment,
    /// The server's clock at the answer.
    pub(crate) date: Option<Timestamp>,
}

#[derive(Deserialize)]
struct TokenWire {
    access_token: String,
    /// Seconds; Entra's older endpoints send text.
    #[serde(default)]
    expires_in: Value,
    /// Seconds since 1970, as text or number: managed identities say only this.
    #[serde(default)]
    expires_on: Value,
    refresh_token: Option<String>,
}

/// Sends a token request. Asking twice yields two tokens and harms nobody, so it is repeatable.
pub(crate) async fn token(
    http: &Http,
    service: Service,
    what: &'static str,
    request: Request<Bytes>,
) -> Result<TokenAnswer, HttpError> {
    send(http, service, what, request, Effect::Repeatable).await
}

/// The same for a request that redeems something once.
pub(crate) async fn send(
    http: &Http,
    service: Service,
    what: &'static str,
    request: Request<Bytes>,
    effect: Effect,
) -> Result<TokenAnswer, HttpError> {
    let target = format!("{} {}{}", request.method(), request.uri().host().unwrap_or_default(), request.uri().path());
    let asked = http.clock().now();
    let answer = http.send(Call { service, what, request, signer: None, effect, not_after: None }).await?;
    read(http, what, &target, asked, &answer)
}

/// Reads the answer of a token endpoint.
#[expect(clippy::result_large_err, reason = "the error is the same one that every call returns")]
pub(crate) fn read(
    http: &Http,
    what: &'static str,
    target: &str,
    asked: Timestamp,
    answer: &Response<Bytes>,
) -> Result<TokenAnswer, HttpError> {
    let wire: TokenWire = json::read(what, target, answer)?;
    if wire.access_token.is_empty() {
        return Err(HttpError::unusable(what, target, "an empty token"));
    }
    let date = answer.headers().get(header::DATE).and_then(|value| value.to_str().ok());
    Ok(TokenAnswer {
        value: Secret::new(wire.access_token),
        expires_in: number(&wire.expires_in).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        expires_at: number(&wire.expires_on).and_then(|seconds| Timestamp::from_second(seconds as i64).ok()),
        refresh_token: wire.refresh_token.filter(|token| !token.is_empty()).map(Secret::new),
        asked,
        received: http.clock().moment(),
        date: date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()).map(|date| date.timestamp()),
    })
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
