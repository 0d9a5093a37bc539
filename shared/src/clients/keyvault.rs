//! Azure Key Vault: secrets and their versions. A write makes a version and never changes one; what was written last is the
//! current one; only the attributes of a version can be changed. No call deletes.
//! (learn.microsoft.com/rest/api/keyvault/secrets, API version 7.4)

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::http::{Call, Effect, Http, HttpError, Service, json, page};
use crate::identity::Signer;
use crate::secret::Secret;

/// Secrets of one vault.
#[derive(Clone)]
pub struct KeyVault {
    http: Arc<Http>,
    /// Without a trailing slash.
    base: String,
    signer: Signer,
}

/// One version of a secret, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// Its id.
    pub version: String,
    /// Whether its value can be read.
    pub enabled: bool,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// One version of a secret, with its value.
pub struct VersionValue {
    /// Its id.
    pub version: String,
    /// What it holds.
    pub value: Secret,
    /// When that expires, where whoever put it there has said so.
    pub expires_at: Option<Timestamp>,
}

/// A version to write.
pub struct NewVersion<'a> {
    /// What it holds.
    pub value: &'a str,
    /// Its tags.
    pub tags: BTreeMap<&'a str, String>,
    /// When what it holds expires; Key Vault tells of it before.
    pub expires_at: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SetWire<'a> {
    value: &'a str,
    content_type: &'static str,
    tags: &'a BTreeMap<&'a str, String>,
    attributes: SetAttributes,
}

#[derive(Serialize)]
struct SetAttributes {
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
}

#[derive(Serialize)]
struct DisableWire {
    attributes: SetAttributes,
}

#[derive(Deserialize)]
struct ValueWire {
    id: String,
    value: String,
    #[serde(default)]
    attributes: ValueAttributesWire,
}

#[derive(Default, Deserialize)]
struct ValueAttributesWire {
    /// Seconds since 1970.
    exp: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VersionsWire {
    #[serde(default)]
    value: Vec<VersionWire>,
    next_link: Option<String>,
}

#[derive(Deserialize)]
struct VersionWire {
    id: String,
    attributes: AttributesWire,
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct AttributesWire {
    enabled: bool,
}

impl KeyVault {
    /// The vault at `base`.
    pub fn new(http: Arc<Http>, base: String, signer: Signer) -> Self {
        Self { http, base, signer }
    }

    /// A version of `name`, the current one if none is named; `None` if there is no such secret or version.
    pub async fn secret(&self, name: &str, version: Option<&str>) -> Result<Option<VersionValue>, HttpError> {
        const WHAT: &str = "read the secret from Key Vault";
        let url = self.url(&format!("secrets/{name}/{}", version.unwrap_or_default()));
        match self.send(WHAT, json::request(Method::GET, &url), Effect::Repeatable).await {
            Ok(answer) => {
                let wire: ValueWire = json::read(WHAT, &self.target(name), &answer)?;
                Ok(Some(VersionValue {
                    version: last_part(&wire.id).to_owned(),
                    value: Secret::new(wire.value),
                    expires_at: wire.attributes.exp.and_then(|at| Timestamp::from_second(at).ok()),
                }))
            }
            Err(error) if error.status() == Some(http::StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every version of `name`, in no order; none if there is no such secret.
    pub async fn versions(&self, name: &str) -> Result<Vec<VersionInfo>, HttpError> {
        const WHAT: &str = "list the versions of the secret in Key Vault";
        let target = self.target(name);
        let listed = page::collect(WHAT, &target, async |next: Option<String>| {
            let url = next.unwrap_or_else(|| self.url(&format!("secrets/{name}/versions")));
            let answer = self.send(WHAT, json::request(Method::GET, &url), Effect::Repeatable).await?;
            let wire: VersionsWire = json::read(WHAT, &target, &answer)?;
            Ok((wire.value.into_iter().map(VersionWire::info).collect(), wire.next_link))
        });
        let listed = listed.await;
        match &listed {
            Err(error) if error.status() == Some(http::StatusCode::NOT_FOUND) => Ok(Vec::new()),
            Ok(_) | Err(_) => listed,
        }
    }

    /// Writes a version of `name`, which becomes its current one. Sent twice it makes two, which is once too often and no harm.
    pub async fn set(&self, name: &str, new: &NewVersion<'_>) -> Result<(), HttpError> {
        let attributes = SetAttributes { enabled: true, exp: new.expires_at.map(Timestamp::as_second) };
        let body = SetWire { value: new.value, content_type: "application/json", tags: &new.tags, attributes };
        let request = json::request_with(Method::PUT, &self.url(&format!("secrets/{name}")), &body);
        self.send("write the secret to Key Vault", request, Effect::Repeatable).await.map(drop)
    }

    /// Makes the value of a version unreadable.
    pub async fn disable(&self, name: &str, version: &str) -> Result<(), HttpError> {
        let body = DisableWire { attributes: SetAttributes { enabled: false, exp: None } };
        let request = json::request_with(Method::PATCH, &self.url(&format!("secrets/{name}/{version}")), &body);
        self.send("disable a version of the secret in Key Vault", request, Effect::Repeatable).await.map(drop)
    }

    async fn send(
        &self,
        what: &'static str,
        request: http::Request<bytes::Bytes>,
        effect: Effect,
    ) -> Result<http::Response<bytes::Bytes>, HttpError> {
        let call = Call { service: Service::KeyVault, what, request, signer: Some(&self.signer), effect, not_after: None };
        self.http.send(call).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}?api-version={API_VERSION}", self.base)
    }

    fn target(&self, name: &str) -> String {
        let host = self.base.split_once("://").map_or(self.base.as_str(), |(_, host)| host);
        format!("GET {host}/secrets/{name}")
    }
}

impl VersionWire {
    fn info(self) -> VersionInfo {
        VersionInfo {
            version: last_part(&self.id).to_owned(),
            enabled: self.attributes.enabled,
            tags: self.tags.unwrap_or_default(),
        }
    }
}

/// The version in `https://VAULT/secrets/NAME/VERSION`.
fn last_part(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}

const API_VERSION: &str = "7.4";
