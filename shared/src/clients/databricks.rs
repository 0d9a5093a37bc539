//! The Databricks workspace API: principals, their secrets, warehouses, grants, secret scopes, statements. One file per
//! area; each has its methods with the wire types beside them. Writes take `not_after`, after which none is started.
//! Principals and their secrets can also be managed at the account, whose API is the same behind other paths: `account.rs`.

mod account;
mod assignments;
mod catalog;
mod principals;
mod scopes;
mod secrets;
mod statements;
#[cfg(test)]
mod tests;
pub mod token;
mod warehouses;

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

use crate::http::memo::Memo;
use crate::http::{Call, Effect, Http, HttpError, Service, json};
use crate::identity::Signer;
use crate::ids::Workspace;
use account::Level;
pub use principals::{Me, ServicePrincipal};
pub use scopes::{Scope, ScopeBackend};
pub use secrets::{Minted, SecretInfo};
pub use token::token_of_secret;
pub use warehouses::{Access, Warehouse};

/// One workspace, as one identity sees it.
#[derive(Clone)]
pub struct Databricks {
    http: Arc<Http>,
    workspace: Workspace,
    signer: Signer,
    level: Level,
    memo: Option<Memo>,
}

impl Databricks {
    /// The client of `workspace`, signed in by `signer`; nothing is sent yet.
    pub fn new(http: Arc<Http>, workspace: Workspace, signer: Signer) -> Self {
        Self { http, workspace, signer, level: Level::Workspace { account: None }, memo: None }
    }

    /// The same client, whose reads are shared with everybody who has this memo.
    #[must_use]
    pub fn sharing(self, memo: Option<Memo>) -> Self {
        Self { memo, ..self }
    }

    /// The workspace it talks to.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.workspace.base())
    }

    fn target(&self, method: &Method, path: &str) -> String {
        format!("{method} {}{}", self.workspace.host(), path.split('?').next().unwrap_or(path))
    }

    async fn get<T: DeserializeOwned>(&self, what: &'static str, path: &str) -> Result<T, HttpError> {
        let (url, place) = (self.url(path), self.target(&Method::GET, path));
        let ask = Box::pin(self.send(what, json::request(Method::GET, &url), Effect::Repeatable, None));
        let answer = match &self.memo {
            Some(memo) => memo.read(format!("{} {url}", self.signer.identity()), (what, &place), ask).await?,
            None => ask.await?,
        };
        json::read(what, &place, &answer)
    }

    async fn send(
        &self,
        what: &'static str,
        request: Request<Bytes>,
        effect: Effect,
        not_after: Option<Timestamp>,
    ) -> Result<Response<Bytes>, HttpError> {
        let (service, signer) = (Service::Databricks, Some(&self.signer));
        self.http.send(Call { service, what, request, signer, effect, not_after }).await
    }
}

/// All but the unreserved characters of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `text` as one segment of a path or one value of a query.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}
