//! The identity endpoint of Azure Functions, strict where the real one is: without its own header, with another version or with two
//! identities it refuses. Its tokens are those that Azurite takes, which looks at everything in them but the signature.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lakekey_core::clock::Clock;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// An open endpoint; gone with the handle.
pub struct Identity {
    address: SocketAddr,
    header: String,
    client_id: String,
    issued: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Endpoint {
    header: String,
    client_id: String,
    issued: Arc<AtomicUsize>,
}

impl Identity {
    /// Opens an endpoint for one user-assigned identity.
    pub async fn open() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let [header, client_id] = std::array::from_fn(|_| uuid::Uuid::new_v4().to_string());
        let issued = Arc::default();
        let endpoint = Endpoint { header: header.clone(), client_id: client_id.clone(), issued: Arc::clone(&issued) };
        let router = Router::new().route("/msi/token", get(token)).with_state(endpoint);
        #[expect(clippy::disallowed_methods, reason = "it serves until it is dropped")]
        let task = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { address, header, client_id, issued, task })
    }

    /// The variables by which a function app finds it.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let variables = [
            ("IDENTITY_ENDPOINT", format!("http://{}/msi/token", self.address)),
            ("IDENTITY_HEADER", self.header.clone()),
            ("AZURE_CLIENT_ID", self.client_id.clone()),
        ];
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Tokens issued.
    pub fn issued(&self) -> usize {
        self.issued.load(Ordering::Relaxed)
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn token(State(endpoint): State<Endpoint>, headers: HeaderMap, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let asked = |name: &str| query.get(name).map(String::as_str);
    if headers.get("x-identity-header").is_none_or(|header| header != endpoint.header.as_str()) {
        return (StatusCode::UNAUTHORIZED, Json(json!({ "statusCode": 401, "message": "no identity header" }))).into_response();
    }
    let right = asked("api-version") == Some("2019-08-01") && asked("client_id") == Some(&endpoint.client_id);
    let Some(resource) = asked("resource").filter(|_| right) else {
        return (StatusCode::BAD_REQUEST, Json(json!({ "statusCode": 400, "message": "no such identity" }))).into_response();
    };
    endpoint.issued.fetch_add(1, Ordering::Relaxed);
    let expires = Clock::wall().now().as_second() + LIFE_SECONDS;
    Json(json!({
        "access_token": access_token(resource),
        // A string, as App Service writes it.
        "expires_on": expires.to_string(),
        "resource": resource,
        "token_type": "Bearer",
        "client_id": endpoint.client_id,
    }))
    .into_response()
}

/// A token for a resource of Azure that Azurite takes.
pub(crate) fn access_token(resource: &str) -> String {
    let now = Clock::wall().now().as_second();
    let claims = json!({
        "aud": resource.trim_end_matches('/'),
        "iss": format!("https://sts.windows.net/{TENANT}/"),
        "nbf": now - 60,
        "iat": now - 60,
        "exp": now + LIFE_SECONDS,
        "oid": "00000000-0000-0000-0000-000000000001",
        "tid": TENANT,
    });
    let part = |part: serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}.{}", part(json!({ "alg": "RS256", "typ": "JWT" })), part(claims), URL_SAFE_NO_PAD.encode("unsigned"))
}

const LIFE_SECONDS: i64 = 3_600;
const TENANT: &str = "63ed1b7c-0a52-4f0e-8f6f-6a1f2d3c4b5a";
