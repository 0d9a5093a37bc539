//! `GET /api/token/{segment}`: tokens for programs on this machine, in the form of the Databricks SDKs' `metadata-service`
//! sign-in (databricks-sdk-go config/auth_metadata_service.go has the wire form).
//!
//! Who may ask: whoever knows the segment, from this machine, not through a proxy and not from a web page. A page that
//! points its own name at loopback (DNS rebinding) sends that name as `Host`, and browsers say `Origin` or `Sec-Fetch-Site`.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde::Serialize;

use super::guard;
use super::problem::Refusal;
use crate::broker::Broker;
use crate::error::Problem;
use crate::ids::Workspace;
use crate::random::Random;
use crate::secret::Secret;

/// Answers programs that ask for tokens.
pub struct TokenService {
    broker: Broker,
    /// The part of the path that nobody can guess.
    segment: Secret,
    /// `host:port` as programs on this machine write it.
    authorities: [String; 3],
}

#[derive(Serialize)]
struct TokenBody<'a> {
    access_token: &'a str,
    token_type: &'static str,
    /// Seconds since 1970.
    expires_on: i64,
}

impl TokenService {
    /// A service on this address, which must be loopback; every one has a segment of its own.
    pub fn new(broker: Broker, address: SocketAddr, random: &Random) -> Self {
        let port = address.port();
        let authorities = ["127.0.0.1", "localhost", "[::1]"].map(|host| format!("{host}:{port}"));
        Self { broker, segment: Secret::new(format!("{}{}", random.nonce(), random.nonce())), authorities }
    }

    /// What `DATABRICKS_METADATA_SERVICE_URL` is set to; as secret as the tokens. SDKs take `127.0.0.1` and `localhost` only.
    pub fn url(&self, address: SocketAddr) -> String {
        let host = if address.is_ipv6() { "localhost" } else { "127.0.0.1" };
        format!("http://{host}:{}{PATH}/{}", address.port(), self.segment.reveal())
    }

    /// The one call, to be merged into a router that has calls of its own.
    pub fn router(self) -> Router {
        guard::guarded(self.call())
    }

    /// The one call on a port of its own: anything else is answered in the API's form too.
    pub fn server(self) -> Router {
        guard::guarded(self.call().fallback(guard::no_such_call).method_not_allowed_fallback(guard::method_not_allowed))
    }

    fn call(self) -> Router {
        Router::new().route(&format!("{PATH}/{{segment}}"), get(token)).with_state(Arc::new(self))
    }

    /// Where the request comes from.
    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if !self.authorities.iter().any(|authority| authority.eq_ignore_ascii_case(host)) {
            let problem = Problem::new("foreign-host", "the header `host` names another site");
            return Err(Refusal::new(StatusCode::FORBIDDEN, problem.hint(PROGRAMS_ONLY)));
        }
        if let Some(name) = FOREIGN.iter().find(|name| headers.contains_key(*name)) {
            let problem = Problem::new("foreign-origin", format!("the header `{name}` says that a web page or a proxy asks"));
            return Err(Refusal::new(StatusCode::FORBIDDEN, problem.hint(PROGRAMS_ONLY)));
        }
        Ok(())
    }
}

async fn token(
    State(service): State<Arc<TokenService>>,
    Path(segment): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    service.check_origin(&headers)?;
    if verify_slices_are_equal(segment.as_bytes(), service.segment.reveal().as_bytes()).is_err() {
        // As for any path that is none; the path is not repeated, for it may be nearly right.
        return Err(guard::no_such_call(Uri::from_static("/api/token")).await);
    }
    let host = asked_host(&service.broker, &headers)?;
    let handout = service.broker.token(&host).await?;
    let body =
        TokenBody { access_token: handout.token.reveal(), token_type: "Bearer", expires_on: handout.expires_at.as_second() };
    Ok(Json(body).into_response())
}

/// The host of the SDKs' own headers.
fn asked_host<'a>(broker: &'a Broker, headers: &HeaderMap) -> Result<Cow<'a, Workspace>, Refusal> {
    let value = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if value(VERSION_HEADER) != Some(VERSION) {
        let problem = Problem::new("metadata-version", format!("the header `{VERSION_HEADER}` is not `{VERSION}`"))
            .hint("ask as the Databricks SDKs do; other versions of that protocol are not known");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, problem));
    }
    let asked = value(HOST_HEADER);
    // As `exec` and most people write it; other spellings of the same host are parsed.
    if let Some(known) = broker.hosts().find(|known| asked == Some(known.base())) {
        return Ok(Cow::Borrowed(known));
    }
    asked.and_then(|host| Workspace::parse(host).ok()).map(Cow::Owned).ok_or_else(|| {
        let problem = Problem::new("metadata-host", format!("the header `{HOST_HEADER}` names no workspace"))
            .hint("set it to the workspace, such as `https://HOST`");
        Refusal::new(StatusCode::BAD_REQUEST, problem)
    })
}

const PATH: &str = "/api/token";
const VERSION: &str = "1";
const VERSION_HEADER: &str = "x-databricks-metadata-version";
const HOST_HEADER: &str = "x-databricks-host";
const PROGRAMS_ONLY: &str = "tokens are for programs on this machine, which ask at 127.0.0.1 directly";
/// What browsers and proxies add, and Databricks SDKs never send.
const FOREIGN: [HeaderName; 6] = [
    header::ORIGIN,
    header::REFERER,
    HeaderName::from_static("sec-fetch-site"),
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    header::VIA,
];
