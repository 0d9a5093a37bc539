//! A door before a service that speaks TLS: what comes is passed on as it is, unless the service is to be away, or an answer is
//! to be kept back. So outages and lost answers come when a test wants them, and not a moment earlier or later.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use url::Url;

use crate::trust::{Tls, Trust};

/// An open door; gone with the handle.
pub struct Door {
    address: String,
    way: Way,
    task: JoinHandle<()>,
}

/// A request as a door sees it.
#[derive(Clone, Copy, Debug)]
pub struct Passing<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub body: &'a [u8],
}

#[derive(Clone)]
struct Way {
    /// Without the path.
    to: Url,
    client: reqwest::Client,
    shared: Arc<Mutex<Shared>>,
    held: Arc<Notify>,
}

type Picks = Box<dyn Fn(Passing<'_>) -> bool + Send>;

#[derive(Default)]
struct Shared {
    away: bool,
    away_from: Option<Picks>,
    refused: usize,
    hold: Option<Picks>,
}

impl Door {
    /// Opens one to the service at `to`, which `client` trusts; whoever comes is shown the certificate of `trust`.
    pub(crate) async fn open(to: &str, client: &reqwest::Client, trust: &Trust) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let to = Url::parse(to)?;
        let address = format!("https://{}{}", listener.local_addr()?, to.path());
        let way = Way { to, client: client.clone(), shared: Arc::default(), held: Arc::default() };
        let router = Router::new().fallback(pass).with_state(way.clone());
        let listener = Tls::new(listener, trust).context("the certificate can't be served")?;
        #[expect(clippy::disallowed_methods, reason = "it serves until it is dropped")]
        let task = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { address, way, task })
    }

    /// As that of the service, with another port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether the service is out of order: each request is answered 503, and none is passed on.
    pub fn set_away(&self, away: bool) {
        self.way.lock().away = away;
    }

    /// It is out of order from the first request on that `picks` says yes to.
    pub fn away_from(&self, picks: impl Fn(Passing<'_>) -> bool + Send + 'static) {
        self.way.lock().away_from = Some(Box::new(picks));
    }

    /// Requests that were not passed on.
    pub fn refused(&self) -> usize {
        self.way.lock().refused
    }

    /// The first request that `picks` says yes to is passed on, and never answered.
    pub fn hold(&self, picks: impl Fn(Passing<'_>) -> bool + Send + 'static) {
        self.way.lock().hold = Some(Box::new(picks));
    }

    /// Waits until a request has taken effect whose answer is held.
    pub async fn held(&self) {
        self.way.held.notified().await;
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Way {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuses(&self, passing: Passing<'_>) -> bool {
        let mut shared = self.lock();
        shared.away |= shared.away_from.take_if(|picks| picks(passing)).is_some();
        shared.refused += usize::from(shared.away);
        shared.away
    }

    /// Whether this one's answer is to be held; one is.
    fn holds(&self, passing: Passing<'_>) -> bool {
        self.lock().hold.take_if(|picks| picks(passing)).is_some()
    }

    async fn forward(&self, method: Method, path: &str, headers: HeaderMap, body: Bytes) -> anyhow::Result<Response> {
        let request = self.client.request(method, self.to.join(path)?).headers(passed_on(&headers)).body(body);
        let answer = request.send().await?;
        let (status, headers) = (answer.status(), passed_on(answer.headers()));
        let mut passed = Response::new(Body::from(answer.bytes().await?));
        (*passed.status_mut(), *passed.headers_mut()) = (status, headers);
        Ok(passed)
    }
}

async fn pass(State(way): State<Way>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    let path = head.uri.path_and_query().map(|path| path.as_str()).unwrap_or_default();
    let passing = Passing { method: head.method.as_str(), path, body: &body };
    if way.refuses(passing) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let holds = way.holds(passing);
    let answer = way.forward(head.method.clone(), path, head.headers, body).await;
    if holds {
        way.held.notify_one();
        return std::future::pending().await;
    }
    answer.unwrap_or_else(|_| StatusCode::BAD_GATEWAY.into_response())
}

/// The headers that are not of one connection alone.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}

const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
