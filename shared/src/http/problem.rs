//! The error dialects of the services, read into one shape: Databricks (new and legacy), SCIM, OAuth, Power BI, Fabric,
//! HTML pages, plain text and nothing at all. Only fields that explain the failure are read; whatever may echo what was
//! sent (Power BI's `details[].detail.value`) is dropped, the rest is redacted.

use http::{HeaderMap, StatusCode, header};
use serde_json::Value;

use super::redact;

/// What a service's error body said; free of values that could be secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceProblem {
    /// The service's own code, in its spelling.
    pub code: Option<String>,
    /// Its message, shortened and redacted.
    pub message: Option<String>,
    /// The request id to quote to the vendor.
    pub request_id: Option<String>,
}

/// The code of an answer that is a sign-in page instead of data.
pub const LOGIN_PAGE: &str = "LOGIN_PAGE";
/// The code of an answer that points elsewhere; it is not followed.
pub const REDIRECT: &str = "REDIRECT";
/// The code of a workspace that is reachable by Private Link only.
pub const PRIVATE_LINK: &str = "PRIVATE_LINK";

/// Headers that carry a request id, most telling first.
const REQUEST_ID_HEADERS: [&str; 5] =
    ["requestid", "x-ms-request-id", "x-databricks-request-id", "x-request-id", "x-ms-client-request-id"];

/// Bytes of a body that are looked at.
const BODY_BYTES_MAX: usize = 64 * 1024;

impl ServiceProblem {
    /// A problem with these words, redacted.
    pub fn new(code: &str, message: &str) -> Self {
        Self { code: sane_code(code), message: Some(redact::message(message)), request_id: None }
    }

    /// Reads the answer to a request that did not succeed.
    pub fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let mut problem = if status.is_redirection() {
            redirect(headers)
        } else {
            match serde_json::from_slice(body) {
                Ok(Value::Object(object)) => json(&Value::Object(object)),
                Ok(Value::String(text)) if !is_html(headers, body) => plain(&text),
                _ if is_html(headers, body) => html(&text_of(body)),
                _ => plain(&text_of(body)),
            }
        };
        problem.request_id = problem.request_id.or_else(|| header_request_id(headers));
        problem
    }

    /// A page for people where data was due: a sign-in page, or what a proxy puts in its place.
    pub fn page_instead_of_data(headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        is_html(headers, body).then(|| {
            let text = text_of(body);
            let code = if text.contains("private-link-validation-error") { PRIVATE_LINK } else { LOGIN_PAGE };
            Self { code: Some(code.to_owned()), request_id: header_request_id(headers), ..html(&text) }
        })
    }
}

impl std::fmt::Display for ServiceProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.code, &self.message) {
            (Some(code), Some(message)) => write!(f, "`{code}`: {message}"),
            (Some(code), None) => write!(f, "`{code}`"),
            (None, Some(message)) => f.write_str(message),
            (None, None) => f.write_str("no details given"),
        }
    }
}

fn json(body: &Value) -> ServiceProblem {
    if is_scim(body) {
        return scim(body);
    }
    let nested = body.get("error").filter(|error| error.is_object());
    let root = nested.unwrap_or(body);
    let pbi = root.get("pbi.error").unwrap_or(&Value::Null);
    let error_text = body.get("error").and_then(Value::as_str);
    let code = first(&[&root["error_code"], &root["errorCode"], &root["code"], &pbi["code"]]);
    let message = first(&[
        &root["message"],
        &root["Message"],
        &root["error_description"],
        &root["errorSummary"],
        &root["detail"],
        &pbi["message"],
    ]);
    // `{"error":"…"}` is OAuth's code when a description comes with it or when it is one word, else Databricks' old message.
    let (code, message) = match error_text {
        Some(text) if sane_code(text).is_some() => (Some(text.to_owned()), message),
        Some(text) => (code, message.or_else(|| Some(text.to_owned()))),
        None => (code, message),
    };
    let more = root["moreDetails"].as_array().into_iter().flatten().find_map(|detail| first(&[&detail["message"]]));
    ServiceProblem {
        code: code.as_deref().and_then(sane_code),
        message: join(message, more),
        request_id: first(&[&root["requestId"], &request_info(body)["request_id"], &root["trace_id"]])
            .and_then(|id| sane_code(&id)),
    }
}

fn is_scim(body: &Value) -> bool {
    let schema = |value: &Value| value.as_str().is_some_and(|schema| schema.starts_with("urn:ietf:params:scim:api:messages"));
    body["schemas"].as_array().is_some_and(|schemas| schemas.iter().any(schema))
        || (body["detail"].is_string() && !body["status"].is_null() && body["error_code"].is_null())
}

/// SCIM's `status` is text, and `detail` may be the four letters `null` (an internal error).
fn scim(body: &Value) -> ServiceProblem {
    let detail = body["detail"].as_str().filter(|detail| *detail != "null").unwrap_or("SCIM API internal error");
    let kind = body["scimType"].as_str().filter(|kind| *kind != "null");
    let message = kind.map_or_else(|| detail.to_owned(), |kind| format!("{kind} {detail}"));
    let status = first(&[&body["status"]]).unwrap_or_else(|| "ERROR".to_owned());
    ServiceProblem { code: sane_code(&format!("SCIM_{status}")), message: Some(redact::message(&message)), request_id: None }
}

fn request_info(body: &Value) -> &Value {
    let is_info = |detail: &&Value| detail["@type"].as_str().is_some_and(|kind| kind.ends_with("RequestInfo"));
    body["details"].as_array().and_then(|details| details.iter().find(is_info)).unwrap_or(&Value::Null)
}

/// The first of these that is a text with something in it, or a number.
fn first(values: &[&Value]) -> Option<String> {
    values.iter().find_map(|value| match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    })
}

fn join(message: Option<String>, more: Option<String>) -> Option<String> {
    let text = match (message, more) {
        (Some(message), Some(more)) => format!("{message} ({more})"),
        (message, more) => message.or(more)?,
    };
    Some(redact::message(&text))
}

fn redirect(headers: &HeaderMap) -> ServiceProblem {
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if location.contains("private-link-validation-error") {
        return ServiceProblem::new(PRIVATE_LINK, "the workspace is reachable by Private Link only");
    }
    let place = location.split(['?', '#']).next().unwrap_or_default();
    match place {
        "" => ServiceProblem::new(REDIRECT, "it points elsewhere without saying where"),
        place => ServiceProblem::new(REDIRECT, &format!("it points to {place}")),
    }
}

fn is_html(headers: &HeaderMap, body: &[u8]) -> bool {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let start = body.trim_ascii_start();
    // Some gateways call their JSON `text/html` too.
    let is_text = start.first().is_some_and(|first| !b"{[".contains(first));
    is_text && declared.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"))
        || [&b"<!doctype html"[..], b"<html"]
            .iter()
            .any(|tag| start.get(..tag.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(tag)))
}

fn html(text: &str) -> ServiceProblem {
    let words = ["pre", "title", "h1"].iter().find_map(|tag| element(text, tag));
    ServiceProblem { message: words.map(redact::message), ..ServiceProblem::default() }
}

/// What stands between `<tag …>` and `</tag>`.
fn element<'a>(text: &'a str, tag: &str) -> Option<&'a str> {
    let lower = text.to_ascii_lowercase();
    let open = lower.find(&format!("<{tag}"))?;
    let start = open + lower[open..].find('>')? + 1;
    let end = start + lower[start..].find(&format!("</{tag}"))?;
    Some(text[start..end].trim()).filter(|inner| !inner.is_empty())
}

/// `CODE: message`, or just words.
fn plain(text: &str) -> ServiceProblem {
    let text = text.trim();
    let is_code = |word: &str| word.len() > 2 && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    match text.split_once(": ") {
        Some((code, message)) if is_code(code) => ServiceProblem::new(code, message),
        _ if text.is_empty() => ServiceProblem::default(),
        _ => ServiceProblem { message: Some(redact::message(text)), ..ServiceProblem::default() },
    }
}

fn text_of(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(BODY_BYTES_MAX)]).into_owned()
}

/// A code is one short word; anything else is not shown as one.
fn sane_code(code: &str) -> Option<String> {
    let sane = (1..=100).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:".contains(&b));
    (sane && redact::message(code) == code).then(|| code.to_owned())
}

fn header_request_id(headers: &HeaderMap) -> Option<String> {
    REQUEST_ID_HEADERS.iter().find_map(|name| sane_code(headers.get(*name)?.to_str().ok()?))
}

#[cfg(test)]
mod tests;
