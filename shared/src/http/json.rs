//! Requests and answers in JSON.

use bytes::Bytes;
use http::{Method, Request, Response, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::HttpError;

/// A request without a body; an address that is none becomes one that [`Http::send`](super::Http::send) refuses.
pub fn request(method: Method, url: &str) -> Request<Bytes> {
    build(method, url, None)
}

/// A request with a JSON body.
pub fn request_with(method: Method, url: &str, body: &impl Serialize) -> Request<Bytes> {
    let body = serde_json::to_vec(body).expect("wire bodies are plain structs with text keys");
    build(method, url, Some(("application/json", body.into())))
}

/// A request with a form as its body.
pub fn form(url: &str, fields: &[(&str, &str)]) -> Request<Bytes> {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    build(Method::POST, url, Some(("application/x-www-form-urlencoded", body.into())))
}

fn build(method: Method, url: &str, body: Option<(&str, Bytes)>) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = method;
    *request.uri_mut() = url.parse().unwrap_or_default();
    request.headers_mut().insert(header::ACCEPT, http::HeaderValue::from_static("application/json"));
    if let Some((kind, body)) = body {
        if let Ok(kind) = http::HeaderValue::from_str(kind) {
            request.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        *request.body_mut() = body;
    }
    request
}

/// Reads a 2xx answer. The error says where it is unreadable, never what stands there: it may be a secret.
#[expect(clippy::result_large_err, reason = "the error is the same one that every call returns")]
pub fn read<T: DeserializeOwned>(what: &'static str, target: &str, response: &Response<Bytes>) -> Result<T, HttpError> {
    serde_json::from_slice(response.body()).map_err(|error| {
        let kind = match error.classify() {
            serde_json::error::Category::Io => "unreadable",
            serde_json::error::Category::Syntax => "no JSON",
            serde_json::error::Category::Data => "JSON of another shape",
            serde_json::error::Category::Eof => "cut short",
        };
        let sent = response.extensions().get::<super::Sent>().copied();
        let mut unusable =
            HttpError::unusable(what, target, format_args!("{kind} at line {}, column {}", error.line(), error.column()));
        if let Some(sent) = sent {
            unusable.attempts = sent.attempts;
            unusable.earlier_may_land = sent.earlier_may_land;
        }
        unusable
    })
}
