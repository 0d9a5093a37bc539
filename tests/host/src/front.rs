//! The front of the app, where clients are: it knows the routes of HTTP functions and no other way in, and hands on what
//! comes as it came.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::app::{App, Function, Trigger};
use crate::wire;

/// An open front; gone with the handle.
pub struct Front {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

/// A request that reached the handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub function: String,
    pub path: String,
    pub invocation: String,
}

#[derive(Clone)]
struct Behind {
    app: Arc<App>,
    handler: SocketAddr,
    seen: Arc<Mutex<Vec<Asked>>>,
}

impl Front {
    pub(crate) async fn open(app: Arc<App>, handler: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let seen = Arc::default();
        let router = Router::new().fallback(pass).with_state(Behind { app, handler, seen: Arc::clone(&seen) });
        #[expect(clippy::disallowed_methods, reason = "it serves until it is dropped")]
        let task = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { address, seen, task })
    }

    /// `http://HOST:PORT`.
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was handed on.
    pub fn seen(&self) -> Vec<Asked> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(State(behind): State<Behind>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let Some(function) = behind.app.functions.iter().find(|function| serves(&behind.app, function, &path)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Trigger::Http { level, methods, .. } = &function.trigger else { return StatusCode::NOT_FOUND.into_response() };
    if methods
        .as_ref()
        .is_some_and(|methods| !methods.iter().any(|method| method.eq_ignore_ascii_case(request.method().as_str())))
    {
        return StatusCode::NOT_FOUND.into_response();
    }
    if level != "anonymous" && request.headers().get("x-functions-key").is_none_or(|key| key != FUNCTION_KEY) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let invocation = uuid::Uuid::new_v4().to_string();
    let (mut head, body) = request.into_parts();
    // These replace whatever a client has sent under their names.
    for (name, value) in
        [("x-azure-functions-invocationid", invocation.as_str()), ("user-agent", "Azure-Functions-Host/4.1044.0")]
    {
        head.headers.insert(name, HeaderValue::from_str(value).expect("ids are header values"));
    }
    head.headers.insert("x-forwarded-for", HeaderValue::from_static("203.0.113.7:40000"));
    head.headers.insert("x-arr-log-id", HeaderValue::from_static("6a1d0a0c-0000-0000-0000-000000000000"));
    head.uri = head.uri.path_and_query().map(|path| path.as_str()).unwrap_or("/").parse().expect("it was one");
    let asked = Asked { function: function.name.clone(), path, invocation };
    behind.seen.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    match wire::send(behind.handler, http::Request::from_parts(head, body)).await {
        Ok(answer) => answer.map(Body::from),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

/// Only a route that takes everything is known here, and one that is a plain path.
fn serves(app: &App, function: &Function, path: &str) -> bool {
    let Trigger::Http { route, .. } = &function.trigger else { return false };
    let below = match app.route_prefix.as_str() {
        "" => Some(path),
        prefix => path.strip_prefix('/').and_then(|path| path.strip_prefix(prefix)),
    };
    below.is_some_and(|below| match route.starts_with("{*") {
        true => below.is_empty() || below.starts_with('/'),
        false => below == format!("/{route}"),
    })
}

/// The key of every function whose level asks for one.
const FUNCTION_KEY: &str = "host-function-key";
