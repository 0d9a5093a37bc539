//! Secret scopes: places for values inside a workspace. A put overwrites, without versions and without conditions.

use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Databricks, segment};
use crate::http::{Effect, HttpError, Sent, json};
use crate::secret::Secret;

/// A secret scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Its name.
    pub name: String,
    /// Where its values are.
    pub backend: ScopeBackend,
}

/// Where the values of a scope are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScopeBackend {
    /// In Databricks: can be written.
    Databricks,
    /// In Azure Key Vault: this API only reads it.
    AzureKeyVault,
    /// Something newer.
    Other(String),
}

#[derive(Deserialize)]
struct ScopesWire {
    /// Absent when there are none; there are no pages.
    #[serde(default)]
    scopes: Vec<ScopeWire>,
}

#[derive(Deserialize)]
struct ScopeWire {
    name: String,
    backend_type: Option<String>,
}

#[derive(Serialize)]
struct PutWire<'a> {
    scope: &'a str,
    key: &'a str,
    string_value: &'a str,
}

#[derive(Deserialize)]
struct ValueWire {
    value: String,
}

impl Databricks {
    /// Every scope that the identity can see.
    pub async fn secret_scopes(&self) -> Result<Vec<Scope>, HttpError> {
        let wire: ScopesWire = self.get("list the secret scopes", "/api/2.0/secrets/scopes/list").await?;
        let backend = |kind: Option<String>| match kind.as_deref() {
            None | Some("DATABRICKS") => ScopeBackend::Databricks,
            Some("AZURE_KEYVAULT") => ScopeBackend::AzureKeyVault,
            Some(other) => ScopeBackend::Other(other.to_owned()),
        };
        Ok(wire.scopes.into_iter().map(|scope| Scope { name: scope.name, backend: backend(scope.backend_type) }).collect())
    }

    /// Writes a value of at most 128 KB, over whatever is there.
    pub async fn put_secret(
        &self,
        scope: &str,
        key: &str,
        value: &Secret,
        not_after: Option<Timestamp>,
    ) -> Result<Sent, HttpError> {
        let body = PutWire { scope, key, string_value: value.reveal() };
        let request = json::request_with(Method::POST, &self.url("/api/2.0/secrets/put"), &body);
        self.send("write to the secret scope", request, Effect::Repeatable, not_after).await.map(|answer| Sent::of(&answer))
    }

    /// Reads a value: base64, even of text. Some workspaces answer 400 outside a notebook.
    pub async fn get_secret(&self, scope: &str, key: &str) -> Result<Secret, HttpError> {
        let path = format!("/api/2.0/secrets/get?scope={}&key={}", segment(scope), segment(key));
        let wire: ValueWire = self.get("read from the secret scope", &path).await?;
        Ok(Secret::new(wire.value))
    }
}
