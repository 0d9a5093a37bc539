//! The two doors of the process. Pure HTTP functions are proxied as they came, under `/api`; every other function is called by
//! its name, `POST /NAME`, with the host's envelope. Nobody but the host can reach the second door: whatever comes from
//! outside is under `/api`, and bears the marks of the front end it came through, which are looked for all the same.
//!
//! No header of the host is taken for a proof of anything: a client can send them too.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::{Notify, SetOnce};
use tower::ServiceExt;
use tracing::{Instrument, info_span};

use crate::functions::{Function, Functions};

/// Made when its first call comes: no start needs it, nor the document that is made with it.
pub(crate) type LazyApi = LazyLock<Router, Box<dyn FnOnce() -> Router + Send>>;

/// What is behind the doors.
pub(crate) struct Inside {
    pub(crate) functions: Functions,
    pub(crate) api: LazyApi,
}

/// The doors, shut until everything behind them is there.
#[derive(Default)]
pub(crate) struct Doors {
    inside: SetOnce<Inside>,
    knocked: Notify,
}

impl Doors {
    /// Waits for the first request.
    pub(crate) async fn knocked(&self) {
        self.knocked.notified().await;
    }

    /// Lets in whoever waits, and all that come.
    pub(crate) fn open(&self, inside: Inside) {
        // They are opened once.
        let _ = self.inside.set(inside);
    }
}

/// Everything that the host may call. `/` is where it asks whether this process is there.
pub(crate) fn router(doors: Arc<Doors>) -> Router {
    Router::new().route("/", get(ready).fallback(enter)).fallback(enter).with_state(doors)
}

async fn ready(State(doors): State<Arc<Doors>>) {
    doors.knocked.notify_one();
}

async fn enter(State(doors): State<Arc<Doors>>, request: Request) -> Response {
    let id = invocation(request.headers());
    let function = function(&request);
    let span = info_span!("invocation", invocation_id = id, function = function.map_or("api", Function::as_str));
    let answer = async {
        doors.knocked.notify_one();
        let inside = doors.inside.wait().await;
        match function {
            Some(function) => inside.functions.invoke(function, request.into_body()).await,
            None => Router::clone(&inside.api).oneshot(request).await.into_response(),
        }
    };
    answer.instrument(span).await
}

/// The function that the host calls by this request; the rest is the API's, unknown names and methods included.
fn function(request: &Request) -> Option<Function> {
    let from_outside = OUTSIDE.iter().any(|name| request.headers().contains_key(*name));
    let name = request.uri().path().strip_prefix('/').filter(|_| request.method() == Method::POST && !from_outside)?;
    Function::named(name)
}

/// The id of the invocation as the host gives it; `-` where what is given is none.
fn invocation(headers: &HeaderMap) -> String {
    let given = headers.get("x-azure-functions-invocationid").and_then(|id| id.to_str().ok());
    let is_id =
        |id: &&str| (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    given.filter(is_id).unwrap_or("-").to_owned()
}

/// What the front end of App Service adds to every request from outside, and the host to none of its own.
const OUTSIDE: [&str; 5] = ["x-forwarded-for", "x-forwarded-proto", "x-arr-log-id", "x-waws-unencoded-url", "disguised-host"];
const ID_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn entered(method: &str, path: &str, headers: &[(&str, &str)]) -> Option<Function> {
        let request = headers
            .iter()
            .fold(Request::builder().method(method).uri(path), |request, (name, value)| request.header(*name, *value));
        function(&request.body(Body::empty()).unwrap())
    }

    #[test]
    fn only_the_hosts_own_calls_reach_a_trigger() {
        let forged = [
            ("x-azure-functions-invocationid", "00000000-0000-0000-0000-000000000000"),
            ("user-agent", "Azure-Functions-Host/4"),
        ];
        for (name, known) in
            [("schedule", Function::Schedule), ("worker", Function::Worker), ("nearexpiry", Function::NearExpiry)]
        {
            assert_eq!(entered("POST", &format!("/{name}"), &forged), Some(known));
            assert_eq!(entered("POST", &format!("/{name}?code=x"), &[]), Some(known));
            for (method, path) in [
                ("GET", format!("/{name}")),
                ("PUT", format!("/{name}")),
                ("POST", format!("/api/{name}")),
                ("POST", format!("/{name}/")),
                ("POST", format!("//{name}")),
                ("POST", format!("/api/../{name}")),
                ("POST", name.to_uppercase()),
            ] {
                let path = if path.starts_with('/') { path } else { format!("/{path}") };
                assert_eq!(entered(method, &path, &forged), None, "{method} {path}");
            }
            for mark in OUTSIDE {
                assert_eq!(
                    entered("POST", &format!("/{name}"), &[forged[0], forged[1], (mark, "203.0.113.7:1234")]),
                    None,
                    "{mark}"
                );
            }
        }
        assert_eq!(entered("POST", "/api", &forged), None);
    }

    #[test]
    fn an_id_that_is_none_is_not_repeated() {
        let id = |text: &str| {
            invocation(&[("x-azure-functions-invocationid".parse().unwrap(), text.parse().unwrap())].into_iter().collect())
        };
        assert_eq!(id("9cd4c06c-0b7e-4d6b-9d9f-3f0a4a8b9c01"), "9cd4c06c-0b7e-4d6b-9d9f-3f0a4a8b9c01");
        assert_eq!(id(""), "-");
        assert_eq!(id("\",\"level\":\"x"), "-");
        assert_eq!(id(&"a".repeat(65)), "-");
        assert_eq!(invocation(&HeaderMap::new()), "-");
    }
}
