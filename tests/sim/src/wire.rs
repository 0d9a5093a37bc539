//! A request as the services read it and an answer as they write it, with no service's dialect in them.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// Which API of the cloud is meant; a workspace goes by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    Databricks(usize),
    Account,
    Entra,
    PowerBi,
    Fabric,
}

impl Service {
    pub fn name(self) -> String {
        match self {
            Self::Databricks(index) => format!("databricks-{index}"),
            Self::Account => "account".to_owned(),
            Self::Entra => "entra".to_owned(),
            Self::PowerBi => "powerbi".to_owned(),
            Self::Fabric => "fabric".to_owned(),
        }
    }
}

pub(crate) struct Call {
    pub(crate) service: Service,
    pub(crate) method: Method,
    /// Path and query as they were sent.
    pub(crate) target: String,
    /// The path's parts, percent-decoded.
    pub(crate) path: Vec<String>,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn new(service: Service, request: Request<Bytes>) -> Self {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        Self {
            service,
            method: parts.method,
            target: parts.uri.path_and_query().map_or_else(|| path.to_owned(), ToString::to_string),
            path: path.trim_start_matches('/').split('/').map(decoded).collect(),
            query: pairs(parts.uri.query().unwrap_or_default().as_bytes()),
            headers: parts.headers,
            body,
        }
    }

    pub(crate) fn parts(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    pub(crate) fn asked(&self, key: &str) -> Option<&str> {
        self.query.get(key).map(String::as_str)
    }

    /// The body as a JSON object; an empty body is an empty object.
    pub(crate) fn object(&self) -> Option<Value> {
        if self.body.is_empty() {
            return Some(Value::Object(serde_json::Map::new()));
        }
        serde_json::from_slice(&self.body).ok().filter(Value::is_object)
    }

    pub(crate) fn form(&self) -> Option<BTreeMap<String, String>> {
        let kind = self.header("content-type")?;
        kind.starts_with("application/x-www-form-urlencoded").then(|| pairs(&self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    pub(crate) fn basic(&self) -> Option<(String, String)> {
        let raw = STANDARD.decode(self.header("authorization")?.strip_prefix("Basic ")?).ok()?;
        let text = String::from_utf8(raw).ok()?;
        let (name, secret) = text.split_once(':')?;
        Some((name.to_owned(), secret.to_owned()))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    /// The effect is done at once, the answer takes this long: a cold warehouse, a slow statement.
    pub(crate) delay: Duration,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::text(status, "application/json; charset=utf-8", body.to_string())
    }

    pub(crate) fn text(status: u16, kind: &str, body: impl Into<Bytes>) -> Self {
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        Self { status, headers, body: body.into(), delay: Duration::ZERO }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new(), delay: Duration::ZERO }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// How long it asks its caller to wait, if it says so in seconds.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let (_, asked) = self.headers.iter().find(|(name, _)| name == "retry-after")?;
        asked.parse().ok().map(Duration::from_secs)
    }
}

/// What a handler gives: `Err` is an answer too, the refusing one.
pub(crate) type Answer = Result<Reply, Reply>;

/// A number in the query, or `default` where none is given; `None` where it is not a number.
pub(crate) fn number(call: &Call, key: &str, default: usize) -> Option<usize> {
    call.asked(key).map_or(Some(default), |text| text.parse().ok())
}

pub(crate) fn text<'a>(body: &'a Value, key: &str) -> Option<&'a str> {
    body.get(key)?.as_str()
}

fn pairs(encoded: &[u8]) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(encoded).into_owned().collect()
}

fn decoded(part: &str) -> String {
    percent_decode_str(part).decode_utf8_lossy().into_owned()
}
