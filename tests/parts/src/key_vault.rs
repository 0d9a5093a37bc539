//! A small Key Vault, strict where the real one is: it challenges whoever comes without a token for it, wants a version of its API it
//! knows, makes a new version of a secret with each PUT, never shows a value in a list, and gives none of a disabled version.
//! (learn.microsoft.com/rest/api/keyvault/secrets)

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lakekey_core::clock::Clock;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::trust::{Tls, Trust};

/// An open vault; gone with the handle.
pub struct KeyVault {
    address: String,
    vault: Vault,
    task: JoinHandle<()>,
}

/// One version of a secret as it really is.
#[derive(Clone, Debug)]
pub struct SecretVersion {
    /// 32 hexadecimal digits.
    pub id: String,
    pub value: String,
    pub content_type: Option<String>,
    pub tags: BTreeMap<String, String>,
    /// Seconds since 1970.
    pub expires: Option<i64>,
    pub enabled: bool,
    created: i64,
}

#[derive(Clone)]
struct Vault {
    address: String,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    secrets: BTreeMap<String, Vec<SecretVersion>>,
    deleted: BTreeMap<String, Vec<SecretVersion>>,
    away: bool,
    mute: bool,
    requests: usize,
}

impl KeyVault {
    /// Opens an empty vault that answers for every vault's name.
    pub async fn open(trust: &Trust) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = format!("https://127.0.0.1:{}", listener.local_addr()?.port());
        let vault = Vault { address: address.clone(), shared: Arc::default() };
        let router = Router::new()
            .route("/secrets", get(list))
            .route("/secrets/{name}", get(current).put(set).delete(delete))
            .route("/secrets/{name}/", get(current))
            .route("/secrets/{name}/versions", get(versions))
            .route("/secrets/{name}/{version}", get(one).patch(update))
            .fallback(async || refusal(StatusCode::NOT_FOUND, "NotFound", "there is no such call"))
            .layer(from_fn_with_state(vault.clone(), guard))
            .with_state(vault.clone());
        let listener = Tls::new(listener, trust).context("the certificate can't be served")?;
        #[expect(clippy::disallowed_methods, reason = "it serves until it is dropped")]
        let task = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { address, vault, task })
    }

    /// `https://127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Every version of a secret, oldest first.
    pub fn versions(&self, name: &str) -> Vec<SecretVersion> {
        self.vault.lock().secrets.get(&name.to_lowercase()).cloned().unwrap_or_default()
    }

    /// Puts a secret there, as a person does; gives its version.
    pub fn put(&self, name: &str, value: &str) -> String {
        self.vault.lock().add(name, SecretVersion::fresh(value.to_owned()))
    }

    /// The same, of one that is said to expire then, in seconds since 1970.
    pub fn put_until(&self, name: &str, value: &str, expires: i64) -> String {
        self.vault.lock().add(name, SecretVersion { expires: Some(expires), ..SecretVersion::fresh(value.to_owned()) })
    }

    /// Whether the vault is out of order.
    pub fn set_away(&self, away: bool) {
        self.vault.lock().away = away;
    }

    /// Whether writes are done and never answered.
    pub fn set_mute(&self, mute: bool) {
        self.vault.lock().mute = mute;
    }

    /// Requests so far, challenges included.
    pub fn requests(&self) -> usize {
        self.vault.lock().requests
    }
}

impl Drop for KeyVault {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Vault {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self, name: &str, version: &SecretVersion, with_value: bool) -> Value {
        let SecretVersion { id, value, content_type, tags, expires, enabled, created } = version;
        let mut attributes =
            json!({ "enabled": enabled, "created": created, "updated": created, "recoveryLevel": "Recoverable+Purgeable" });
        if let Some(expires) = expires {
            attributes["exp"] = (*expires).into();
        }
        let mut shown = json!({ "id": format!("{}/secrets/{name}/{id}", self.address), "attributes": attributes, "tags": tags });
        if let Some(content_type) = content_type {
            shown["contentType"] = content_type.clone().into();
        }
        if with_value {
            shown["value"] = value.clone().into();
        }
        shown
    }
}

impl Shared {
    fn add(&mut self, name: &str, version: SecretVersion) -> String {
        let id = version.id.clone();
        self.secrets.entry(name.to_lowercase()).or_default().push(version);
        id
    }
}

impl SecretVersion {
    fn fresh(value: String) -> Self {
        Self {
            id: uuid::Uuid::new_v4().simple().to_string(),
            value,
            content_type: None,
            tags: BTreeMap::new(),
            expires: None,
            enabled: true,
            created: Clock::wall().now().as_second(),
        }
    }

    /// Takes what a body says; whether it makes sense.
    fn take(&mut self, body: &Map<String, Value>) -> bool {
        for (key, value) in body {
            let fits = match (key.as_str(), value) {
                ("value", Value::String(_)) => true,
                ("contentType", Value::String(text)) => {
                    self.content_type = Some(text.clone());
                    true
                }
                ("tags", Value::Object(tags)) => {
                    let tags = tags.iter().map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
                    tags.collect::<Option<BTreeMap<_, _>>>()
                        .filter(|tags| tags.len() <= TAGS_MAX)
                        .map(|tags| self.tags = tags)
                        .is_some()
                }
                ("attributes", Value::Object(attributes)) => {
                    self.enabled = attributes.get("enabled").and_then(Value::as_bool).unwrap_or(self.enabled);
                    self.expires = attributes.get("exp").and_then(Value::as_i64).or(self.expires);
                    attributes.get("exp").is_none_or(|exp| exp.is_i64() || exp.is_null())
                }
                _ => false,
            };
            if !fits {
                return false;
            }
        }
        true
    }
}

/// The outage, the challenge, the version of the API.
async fn guard(
    State(vault): State<Vault>,
    Query(query): Query<BTreeMap<String, String>>,
    request: Request,
    next: Next,
) -> Response {
    {
        let mut shared = vault.lock();
        shared.requests += 1;
        if shared.away {
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "out of order");
        }
    }
    if !is_for_vaults(request.headers()) {
        let mut refused =
            refusal(StatusCode::UNAUTHORIZED, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.");
        let challenge = "Bearer authorization=\"https://login.microsoftonline.com/63ed1b7c-0a52-4f0e-8f6f-6a1f2d3c4b5a\", resource=\"https://vault.azure.net\"";
        refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        return refused;
    }
    if !query.get("api-version").is_some_and(|version| VERSIONS.contains(&version.as_str())) {
        return refusal(StatusCode::BAD_REQUEST, "BadParameter", "the version of the API is missing or unknown");
    }
    let writes = request.method() == Method::PUT;
    let answer = next.run(request).await;
    if writes && vault.lock().mute {
        return std::future::pending().await;
    }
    answer
}

/// A token whose audience is Key Vault, and that has not expired.
fn is_for_vaults(headers: &HeaderMap) -> bool {
    let token =
        headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|text| text.strip_prefix("Bearer "));
    let claims = token.and_then(|token| URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok());
    let claims: Value = claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default();
    claims["aud"] == "https://vault.azure.net" && claims["exp"].as_i64().is_some_and(|at| at > Clock::wall().now().as_second())
}

async fn set(State(vault): State<Vault>, Path(name): Path<String>, Json(body): Json<Map<String, Value>>) -> Response {
    let named = (1..=127).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let value = body.get("value").and_then(Value::as_str).filter(|value| named && value.len() <= VALUE_BYTES_MAX);
    let Some(mut version) = value.map(|value| SecretVersion::fresh(value.to_owned())).filter(|_| named) else {
        return refusal(StatusCode::BAD_REQUEST, "BadParameter", "the name or the value is not one");
    };
    if !version.take(&body) {
        return refusal(StatusCode::BAD_REQUEST, "BadParameter", "the body has what no secret has");
    }
    let mut shared = vault.lock();
    if shared.deleted.contains_key(&name.to_lowercase()) {
        return refusal(StatusCode::CONFLICT, "ObjectIsDeletedButRecoverable", "a secret of this name is deleted");
    }
    shared.add(&name, version.clone());
    Json(vault.shown(&name, &version, true)).into_response()
}

async fn current(State(vault): State<Vault>, Path(name): Path<String>) -> Response {
    let newest = vault.lock().secrets.get(&name.to_lowercase()).and_then(|versions| versions.last()).cloned();
    value(&vault, &name, newest)
}

async fn one(State(vault): State<Vault>, Path((name, id)): Path<(String, String)>) -> Response {
    let found = vault
        .lock()
        .secrets
        .get(&name.to_lowercase())
        .and_then(|versions| versions.iter().find(|version| version.id == id))
        .cloned();
    value(&vault, &name, found)
}

fn value(vault: &Vault, name: &str, version: Option<SecretVersion>) -> Response {
    match version {
        None => refusal(StatusCode::NOT_FOUND, "SecretNotFound", "a secret with this name was not found"),
        Some(version) if !version.enabled => refusal(StatusCode::FORBIDDEN, "Forbidden", "the secret is disabled"),
        Some(version) => Json(vault.shown(name, &version, true)).into_response(),
    }
}

async fn update(
    State(vault): State<Vault>,
    Path((name, id)): Path<(String, String)>,
    Json(body): Json<Map<String, Value>>,
) -> Response {
    let mut shared = vault.lock();
    let versions = shared.secrets.get_mut(&name.to_lowercase());
    let Some(version) = versions.and_then(|versions| versions.iter_mut().find(|version| version.id == id)) else {
        return refusal(StatusCode::NOT_FOUND, "SecretNotFound", "a secret with this name was not found");
    };
    let mut changed = version.clone();
    if body.contains_key("value") || !changed.take(&body) {
        return refusal(StatusCode::BAD_REQUEST, "BadParameter", "a version's value can't be changed");
    }
    *version = changed.clone();
    Json(vault.shown(&name, &changed, false)).into_response()
}

async fn delete(State(vault): State<Vault>, Path(name): Path<String>) -> Response {
    let mut shared = vault.lock();
    match shared.secrets.remove(&name.to_lowercase()) {
        Some(versions) => {
            shared.deleted.insert(name.to_lowercase(), versions);
            Json(json!({ "recoveryId": format!("{}/deletedsecrets/{name}", vault.address) })).into_response()
        }
        None => refusal(StatusCode::NOT_FOUND, "SecretNotFound", "a secret with this name was not found"),
    }
}

async fn versions(
    State(vault): State<Vault>,
    Path(name): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let versions = vault.lock().secrets.get(&name.to_lowercase()).cloned().unwrap_or_default();
    let shown = versions.iter().map(|version| vault.shown(&name, version, false)).collect();
    page(&vault, &format!("/secrets/{name}/versions"), shown, &query)
}

async fn list(State(vault): State<Vault>, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let secrets = vault.lock().secrets.clone();
    let newest = secrets.iter().filter_map(|(name, versions)| Some((name, versions.last()?)));
    let shown = newest.map(|(name, version)| {
        let mut shown = vault.shown(name, version, false);
        shown["id"] = format!("{}/secrets/{name}", vault.address).into();
        shown
    });
    page(&vault, "/secrets", shown.collect(), &query)
}

/// A few at a time, in no order that means anything.
fn page(vault: &Vault, path: &str, mut items: Vec<Value>, query: &BTreeMap<String, String>) -> Response {
    items.sort_by_key(|item| item["id"].to_string());
    let skip: usize = query.get("$skiptoken").and_then(|token| token.parse().ok()).unwrap_or_default();
    let size = query.get("maxresults").and_then(|size| size.parse().ok()).unwrap_or(PAGE).clamp(1, PAGE);
    let version = query.get("api-version").cloned().unwrap_or_default();
    let more = items.len() > skip + size;
    let next =
        more.then(|| format!("{}{path}?api-version={version}&$skiptoken={}&maxresults={size}", vault.address, skip + size));
    let items: Vec<Value> = items.into_iter().skip(skip).take(size).collect();
    Json(json!({ "value": items, "nextLink": next })).into_response()
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({ "error": { "code": code, "message": message } }))).into_response()
}

const VERSIONS: [&str; 6] = ["7.3", "7.4", "7.5", "7.6", "2025-06-01-preview", "2025-07-01"];
const PAGE: usize = 5;
const TAGS_MAX: usize = 15;
const VALUE_BYTES_MAX: usize = 25_600;
