//! Calling a function, and judging its answer as the host does.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::{Method, Request, Response};
use lakekey_core::clock::Clock;
use serde_json::Value;

use crate::app::Function;
use crate::payload::Payload;
use crate::wire;

/// One invocation.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Its id.
    pub id: String,
    /// What the handler said, or why the host counts the invocation as failed.
    pub result: Result<Vec<String>, Failure>,
}

/// Why an invocation has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The app has no such function.
    NoSuchFunction,
    /// The handler could not be reached, or was gone before it had answered.
    Gone,
    /// Another status than 2xx: the body is not looked at.
    Status(u16),
    /// An answer that the host has no reader for, or cannot read.
    Unreadable(String),
    /// An empty answer: the real host would wait until its timeout, and then kill the handler.
    Hangs,
    /// An output that the host would take for base64, and change.
    Base64Output(String),
}

impl Invocation {
    pub(crate) fn unsent(failure: Failure) -> Self {
        Self { id: String::new(), result: Err(failure) }
    }

    /// Whether the host counts it as done.
    pub fn succeeded(&self) -> bool {
        self.result.is_ok()
    }
}

pub(crate) async fn invoke(port: u16, function: &Function, payload: &Payload) -> Invocation {
    let envelope = payload.envelope(&function.binding, &function.name, Clock::wall().now());
    send(port, &function.name, envelope.to_string().as_bytes()).await
}

pub(crate) async fn send(port: u16, function: &str, body: &[u8]) -> Invocation {
    let id = uuid::Uuid::new_v4().to_string();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/{function}"))
        .header("host", address.to_string())
        .header("X-Azure-Functions-InvocationId", &id)
        .header("X-Azure-Functions-HostVersion", "4.1044.0")
        .header("User-Agent", "Azure-Functions-Host/4.1044.0")
        .header("Content-Type", "application/json; charset=utf-8")
        .body(wire::in_chunks(body));
    let answer = match request {
        Ok(request) => wire::send(address, request).await,
        Err(error) => Err(error.into()),
    };
    let result = match answer {
        Ok(answer) => judge(&answer),
        Err(_) => Err(Failure::Gone),
    };
    Invocation { id, result }
}

fn judge(answer: &Response<Bytes>) -> Result<Vec<String>, Failure> {
    if !answer.status().is_success() {
        return Err(Failure::Status(answer.status().as_u16()));
    }
    let body = answer.body();
    if body.trim_ascii().is_empty() || body.trim_ascii() == b"null" {
        return Err(Failure::Hangs);
    }
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !matches!(kind, "application/json" | "text/json") {
        return Err(Failure::Unreadable(format!("the host reads no `{kind}`")));
    }
    let body: Value = serde_json::from_slice(body).map_err(|error| Failure::Unreadable(error.to_string()))?;
    let field = |name: &str| {
        body.as_object().and_then(|body| body.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
    };
    if !body.is_object() {
        return Err(Failure::Unreadable("no object".to_owned()));
    }
    let outputs = field("Outputs").and_then(Value::as_object).into_iter().flat_map(|outputs| outputs.values());
    for output in outputs.chain(field("ReturnValue")).filter_map(Value::as_str) {
        if output.len() % 4 == 0 && output.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)) {
            return Err(Failure::Base64Output(output.to_owned()));
        }
    }
    match field("Logs") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(logs) => serde_json::from_value(logs.clone()).map_err(|error| Failure::Unreadable(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, kind: &str, body: &'static str) -> Result<Vec<String>, Failure> {
        judge(&Response::builder().status(status).header("content-type", kind).body(Bytes::from_static(body.as_bytes())).unwrap())
    }

    #[test]
    fn answers_that_the_host_stumbles_over_are_known() {
        let json = "application/json; charset=utf-8";
        assert_eq!(judged(200, json, r#"{"Outputs":{},"Logs":["a"],"ReturnValue":null}"#), Ok(vec!["a".to_owned()]));
        assert_eq!(judged(201, json, r#"{"outputs":null}"#), Ok(Vec::new()));
        assert_eq!(judged(200, json, ""), Err(Failure::Hangs));
        assert_eq!(judged(204, json, ""), Err(Failure::Hangs));
        assert_eq!(judged(200, json, " null "), Err(Failure::Hangs));
        assert_eq!(judged(500, json, r#"{"Outputs":{}}"#), Err(Failure::Status(500)));
        assert!(matches!(judged(200, "text/plain", "{}"), Err(Failure::Unreadable(_))));
        assert!(matches!(judged(200, json, "[]"), Err(Failure::Unreadable(_))));
        assert!(matches!(judged(200, json, r#"{"Logs":"a"}"#), Err(Failure::Unreadable(_))));
        assert_eq!(judged(200, json, r#"{"Outputs":{"x":"abcd"}}"#), Err(Failure::Base64Output("abcd".to_owned())));
    }
}
