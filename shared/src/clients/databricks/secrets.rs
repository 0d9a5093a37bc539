//! OAuth secrets of service principals, by the workspace-level API or the account's. The path wants the numeric SCIM id.

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Databricks, segment};
use crate::http::{Effect, HttpError, json, page};
use crate::ids::{SecretId, ServicePrincipalId};
use crate::secret::Secret;

/// A secret as it is listed; its value is told once, when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretInfo {
    /// Its id; opaque, not secret.
    pub id: SecretId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires; `None` for ever (secrets made before 2025).
    pub expires_at: Option<Timestamp>,
    /// The API scopes that its tokens are held to; empty means all.
    pub scopes: Vec<String>,
}

/// A secret just made.
#[derive(Clone, Debug)]
pub struct Minted {
    /// What lists will say about it.
    pub info: SecretInfo,
    /// Its value, told only now.
    pub value: Secret,
}

#[derive(Deserialize)]
struct ListWire {
    /// Absent when there are none.
    #[serde(default)]
    secrets: Vec<InfoWire>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct InfoWire {
    id: String,
    create_time: Timestamp,
    expire_time: Option<Timestamp>,
    scopes: Option<Vec<String>>,
}

#[derive(Serialize)]
struct CreateWire<'a> {
    /// A protobuf duration: seconds with an `s`.
    lifetime: String,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    scopes: &'a [String],
}

#[derive(Deserialize)]
struct MintedWire {
    secret: String,
    #[serde(flatten)]
    info: InfoWire,
}

impl Databricks {
    /// Every secret of the principal, at most five. The size of a page says nothing about its being the last.
    pub async fn list_secrets(&self, principal: &ServicePrincipalId) -> Result<Vec<SecretInfo>, HttpError> {
        match self.keeper().list_own_secrets(principal).await {
            Err(error) => match self.turn_to_account(&error) {
                Some(account) => account.list_own_secrets(principal).await,
                None => Err(error),
            },
            listed => listed,
        }
    }

    async fn list_own_secrets(&self, principal: &ServicePrincipalId) -> Result<Vec<SecretInfo>, HttpError> {
        let what = "list the secrets of the service principal";
        let path = self.secrets_path(principal);
        let target = self.target(&Method::GET, &path);
        let path = &path;
        page::collect(what, &target, |token| async move {
            let page = match token {
                Some(token) => format!("{path}?page_size=100&page_token={}", segment(&token)),
                None => format!("{path}?page_size=100"),
            };
            let wire: ListWire = self.get(what, &page).await?;
            Ok((wire.secrets.into_iter().map(SecretInfo::from).collect(), wire.next_page_token))
        })
        .await
    }

    /// Makes a secret that lives for `lifetime_s` seconds (730 days at most). There is no idempotency token: it is sent
    /// again only when it certainly never arrived, and an answer that can't be read may hide a secret whose value is lost.
    pub async fn create_secret(
        &self,
        principal: &ServicePrincipalId,
        lifetime_s: u64,
        scopes: &[String],
        not_after: Option<Timestamp>,
    ) -> Result<Minted, HttpError> {
        match self.keeper().create_own_secret(principal, lifetime_s, scopes, not_after).await {
            Err(error) => match self.turn_to_account(&error) {
                Some(account) => account.create_own_secret(principal, lifetime_s, scopes, not_after).await,
                None => Err(error),
            },
            made => made,
        }
    }

    async fn create_own_secret(
        &self,
        principal: &ServicePrincipalId,
        lifetime_s: u64,
        scopes: &[String],
        not_after: Option<Timestamp>,
    ) -> Result<Minted, HttpError> {
        let what = "create a secret of the service principal";
        let path = self.secrets_path(principal);
        let body = CreateWire { lifetime: format!("{lifetime_s}s"), scopes };
        let request = json::request_with(Method::POST, &self.url(&path), &body);
        let answer = self.send(what, request, Effect::Once, not_after).await?;
        let wire: MintedWire = json::read(what, &self.target(&Method::POST, &path), &answer)?;
        if wire.secret.is_empty() {
            return Err(HttpError::unusable(what, &self.target(&Method::POST, &path), "no secret in it"));
        }
        Ok(Minted { value: Secret::new(wire.secret), info: wire.info.into() })
    }

    /// Deletes a secret; one that is gone already counts as deleted.
    pub async fn delete_secret(
        &self,
        principal: &ServicePrincipalId,
        secret: &SecretId,
        not_after: Option<Timestamp>,
    ) -> Result<(), HttpError> {
        let deleted = match self.keeper().delete_own_secret(principal, secret, not_after).await {
            Err(error) if error.status() == Some(StatusCode::FORBIDDEN) => match self.turn_to_account(&error) {
                Some(account) => account.delete_own_secret(principal, secret, not_after).await,
                None => Err(error),
            },
            outcome => outcome,
        };
        match deleted {
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(()),
            outcome => outcome,
        }
    }

    async fn delete_own_secret(
        &self,
        principal: &ServicePrincipalId,
        secret: &SecretId,
        not_after: Option<Timestamp>,
    ) -> Result<(), HttpError> {
        let url = self.url(&format!("{}/{}", self.secrets_path(principal), segment(secret.as_str())));
        let request = json::request(Method::DELETE, &url);
        self.send("delete a secret of the service principal", request, Effect::Repeatable, not_after).await.map(drop)
    }

    fn secrets_path(&self, principal: &ServicePrincipalId) -> String {
        format!("{}/{}/credentials/secrets", self.secrets_root(), segment(principal.as_str()))
    }
}

impl From<InfoWire> for SecretInfo {
    fn from(wire: InfoWire) -> Self {
        Self {
            id: SecretId::new(wire.id),
            created_at: wire.create_time,
            expires_at: wire.expire_time,
            scopes: wire.scopes.unwrap_or_default(),
        }
    }
}
