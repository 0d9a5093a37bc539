//! HTTP calls through a Function URL or an API Gateway, payload v2, answered by the very router of `lakekey serve`.

use axum::Router;
use axum::body::{Body, to_bytes};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use lakekey_core::error::{Error, Problem};
use serde_json::{Map, Value, json};
use tower::ServiceExt;

/// Answers one call.
pub(crate) async fn answer(router: &Router, event: &Map<String, Value>) -> Result<Value, Error> {
    let request = match request(event) {
        Ok(request) => request,
        Err(wrong) => return Ok(refused(wrong)),
    };
    let response = router.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
    translated(response).await
}

/// The call as the router knows calls. Whatever is wrong with it is the caller's doing.
fn request(event: &Map<String, Value>) -> Result<Request<Body>, &'static str> {
    let context = &event["requestContext"];
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let method: Method = word(&context["http"]["method"]).parse().map_err(|_| "its method is none")?;
    let path = without_stage(event.get("rawPath").and_then(Value::as_str).unwrap_or("/"), context["stage"].as_str());
    let query = event.get("rawQueryString").and_then(Value::as_str).unwrap_or_default();
    let uri = if query.is_empty() { encoded(path, b"?#") } else { format!("{}?{}", encoded(path, b"?#"), encoded(query, b"#")) };
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in event.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let name = HeaderName::try_from(name).map_err(|_| "the name of a header is none")?;
        let value = HeaderValue::try_from(word(value)).map_err(|_| "the value of a header is none")?;
        request = request.header(name, value);
    }
    // v2 takes cookies out of the headers.
    let cookies: Vec<&str> =
        event.get("cookies").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    if !cookies.is_empty() {
        request = request.header(COOKIE, HeaderValue::try_from(cookies.join("; ")).map_err(|_| "a cookie is none")?);
    }
    let text = event.get("body").and_then(Value::as_str).unwrap_or_default();
    let body = match event.get("isBase64Encoded").and_then(Value::as_bool) {
        Some(true) => BASE64_STANDARD.decode(text).map(Bytes::from).map_err(|_| "its body is not Base64")?,
        Some(false) | None => Bytes::copy_from_slice(text.as_bytes()),
    };
    request.body(Body::from(body)).map_err(|_| "its path is none")
}

/// An API Gateway with a named stage puts its name before the path; a custom domain does not. Only what is then a path of the
/// API is taken for one.
fn without_stage<'a>(path: &'a str, stage: Option<&str>) -> &'a str {
    let rest = stage
        .filter(|stage| !stage.is_empty() && *stage != "$default")
        .and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage));
    match rest {
        Some("") => "/",
        Some(rest) if rest == "/" || rest == "/api" || rest.starts_with("/api/") => rest,
        Some(_) | None => path,
    }
}

/// A path as the platform gives it, decoded or not, with what no URI may have encoded again.
fn encoded(text: &str, also: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => encoded.push_str(&format!("%{byte:02X}")),
            byte if byte.is_ascii_graphic() && !also.contains(&byte) => encoded.push(char::from(byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// The answer in the form of payload v2. `cookies` is always there: not every host of functions can do without.
async fn translated(response: Response<Body>) -> Result<Value, Error> {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, ANSWER_BYTES_MAX).await.map_err(|_| {
        Error::failed("answer-too-large", "the answer is larger than Lambda lets through (6 MB)")
            .hint("ask for one credential instead of all of them")
    })?;
    let text = is_text(&parts.headers).then(|| std::str::from_utf8(&body).ok()).flatten();
    Ok(json!({
        "statusCode": parts.status.as_u16(),
        "headers": headers(&parts.headers),
        "cookies": parts.headers.get_all(SET_COOKIE).iter().filter_map(|cookie| cookie.to_str().ok()).collect::<Vec<_>>(),
        "isBase64Encoded": text.is_none(),
        "body": text.map_or_else(|| BASE64_STANDARD.encode(&body), str::to_owned),
    }))
}

/// v2 has one value for a name: several are joined as HTTP allows, but for cookies, which are apart.
fn headers(headers: &HeaderMap) -> Map<String, Value> {
    let mut joined = Map::new();
    for name in headers.keys().filter(|name| *name != SET_COOKIE) {
        let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        joined.insert(name.as_str().to_owned(), json!(values.join(", ")));
    }
    joined
}

fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("text/plain");
    let text = ["text/", "application/json", "application/problem+json", "image/svg+xml"];
    !headers.contains_key(CONTENT_ENCODING) && text.iter().any(|prefix| kind.starts_with(prefix))
}

/// A call that is no HTTP request.
fn refused(why: &str) -> Value {
    let problem = Problem::new("bad-request", format!("the call is no HTTP request: {why}"));
    let body = json!({
        "type": "about:blank", "title": "Bad Request", "status": 400, "detail": problem.message, "code": problem.code,
    });
    json!({
        "statusCode": 400,
        "headers": { "content-type": "application/problem+json" },
        "cookies": [],
        "isBase64Encoded": false,
        "body": body.to_string(),
    })
}

/// Lambda's bound of an answer, less what Base64 and JSON add at most to it.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn event(value: Value) -> Map<String, Value> {
        let Value::Object(event) = value else { panic!("no object") };
        event
    }

    fn call(path: &str, stage: &str) -> Value {
        json!({
            "version": "2.0", "rawPath": path, "rawQueryString": "",
            "headers": {}, "requestContext": { "stage": stage, "http": { "method": "GET" } },
        })
    }

    /// Says back what it was asked.
    fn echo() -> Router {
        Router::new().fallback(async |request: Request<Body>| {
            let (parts, body) = request.into_parts();
            let body = to_bytes(body, 1024).await.expect("a body");
            let seen = json!({
                "method": parts.method.as_str(),
                "uri": parts.uri.to_string(),
                "cookie": parts.headers.get(COOKIE).map(|cookie| cookie.to_str().expect("text")),
                "accept": parts.headers.get("accept").map(|value| value.to_str().expect("text")),
                "body": body.to_vec(),
            });
            let mut response = Response::new(Body::from(seen.to_string()));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            for cookie in ["a=1; Secure", "b=2"] {
                response.headers_mut().append(SET_COOKIE, HeaderValue::from_static(cookie));
            }
            for vary in ["accept", "origin"] {
                response.headers_mut().append("vary", HeaderValue::from_static(vary));
            }
            response
        })
    }

    async fn seen(call: Value) -> (Value, Value) {
        let answer = answer(&echo(), &event(call)).await.expect("an answer");
        let body = answer["body"].as_str().expect("text");
        (serde_json::from_str(body).expect("JSON"), answer.clone())
    }

    #[tokio::test]
    async fn a_call_arrives_whole_and_its_answer_leaves_whole() {
        let mut call = call("/api/credentials/sales bi", "$default");
        call["rawQueryString"] = json!("a=1&b=%20x");
        call["cookies"] = json!(["s=1", "t=2"]);
        call["headers"] = json!({ "accept": "text/html,application/json" });
        call["requestContext"]["http"]["method"] = json!("POST");
        call["body"] = json!(BASE64_STANDARD.encode([0_u8, 255]));
        call["isBase64Encoded"] = json!(true);
        let (seen, mut answer) = seen(call).await;
        answer["headers"].as_object_mut().expect("headers").remove("content-length");
        assert_eq!(
            seen,
            json!({
                "method": "POST", "uri": "/api/credentials/sales%20bi?a=1&b=%20x", "cookie": "s=1; t=2",
                "accept": "text/html,application/json", "body": [0, 255],
            })
        );
        assert_eq!(answer["cookies"], json!(["a=1; Secure", "b=2"]));
        assert_eq!(answer["headers"], json!({ "content-type": "application/json", "vary": "accept, origin" }));
        assert_eq!((&answer["statusCode"], &answer["isBase64Encoded"]), (&json!(200), &json!(false)));
    }

    #[tokio::test]
    async fn a_stage_before_the_path_goes_and_a_path_that_looks_like_one_stays() {
        for (path, stage, uri) in [
            ("/prod/api/health", "prod", "/api/health"),
            ("/prod", "prod", "/"),
            ("/prod/", "prod", "/"),
            ("/api/health", "prod", "/api/health"),
            ("/api/health", "api", "/api/health"),
            ("/api/api/health", "api", "/api/health"),
            ("/production/api", "prod", "/production/api"),
            ("/$default/api/x", "$default", "/$default/api/x"),
        ] {
            assert_eq!(seen(call(path, stage)).await.0["uri"], json!(uri), "{path} of {stage}");
        }
    }

    #[tokio::test]
    async fn what_is_no_request_is_the_callers_problem_and_not_quoted() {
        let change = |key: &str, value: Value| {
            let mut call = call("/", "$default");
            call[key] = value;
            call
        };
        let mut no_body = change("body", json!("dose~secret"));
        no_body["isBase64Encoded"] = json!(true);
        let odd = [no_body, change("headers", json!({ "dose secret": "x" })), change("headers", json!({ "x": "dose\n" }))];
        for call in odd {
            let answer = answer(&echo(), &event(call)).await.expect("an answer");
            assert_eq!(answer["statusCode"], json!(400), "{answer}");
            assert!(!answer.to_string().contains("dose"), "{answer}");
        }
    }

    #[tokio::test]
    async fn what_is_not_text_leaves_as_base64() {
        let bytes = Router::new().fallback(async || ([(CONTENT_TYPE, "application/octet-stream")], vec![0_u8, 1]));
        let answer = answer(&bytes, &event(call("/", "$default"))).await.expect("an answer");
        assert_eq!((&answer["body"], &answer["isBase64Encoded"]), (&json!("AAE="), &json!(true)));
    }
}
