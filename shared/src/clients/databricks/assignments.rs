//! Which principals of the account belong to a workspace. PUT sets the whole assignment of a principal, so that it is sent
//! only for one that has none: it would make a user of an admin.

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::{Databricks, account, segment};
use crate::config::PrincipalSelector;
use crate::http::{Call, Effect, HttpError, Service, json};
use crate::ids::{ApplicationId, ServicePrincipalId};

const WHAT: &str = "assign the service principal to the workspace";

#[derive(Serialize)]
struct AssignWire {
    permissions: [&'static str; 1],
}

/// What a host tells anybody about itself.
#[derive(Deserialize)]
struct HostWire {
    workspace_id: Option<String>,
}

impl Databricks {
    /// Whether the principal belongs to this workspace.
    pub async fn has_member(&self, principal: &ApplicationId) -> Result<bool, HttpError> {
        let selector = PrincipalSelector::ApplicationId(principal.clone());
        Ok(!self.list_service_principals(&selector).await?.is_empty())
    }

    /// Fails where this identity may assign nobody to this workspace, neither here nor at the account.
    pub async fn may_assign(&self) -> Result<(), HttpError> {
        const WHAT: &str = "see who is assigned to the workspace";
        let refusal = match self.get::<IgnoredAny>(WHAT, "/api/2.0/preview/permissionassignments").await {
            Err(error) if account::is_beyond_workspace(&error) => error,
            outcome => return outcome.map(drop),
        };
        let Some(account) = self.account() else { return Err(refusal) };
        let Some(workspace_id) = self.workspace_id().await? else { return Err(refusal) };
        let path = format!(
            "/api/2.0/accounts/{}/workspaces/{}/permissionassignments",
            segment(account.id.as_str()),
            segment(&workspace_id)
        );
        account.client.get::<IgnoredAny>(WHAT, &path).await.map(drop)
    }

    /// Makes a principal of the account a user of this workspace; ask [`has_member`](Self::has_member) first. Where the
    /// workspace refuses, the account is asked.
    pub async fn assign(&self, principal: &ServicePrincipalId, not_after: Option<Timestamp>) -> Result<(), HttpError> {
        let path = format!("/api/2.0/preview/permissionassignments/principals/{}", segment(principal.as_str()));
        let refusal = match self.put_assignment(&path, not_after).await {
            Err(error) if account::is_beyond_workspace(&error) => error,
            outcome => return outcome,
        };
        let Some(account) = self.account() else { return Err(refusal) };
        let Some(workspace_id) = self.workspace_id().await? else { return Err(refusal) };
        let path = format!(
            "/api/2.0/accounts/{}/workspaces/{}/permissionassignments/principals/{}",
            segment(account.id.as_str()),
            segment(&workspace_id),
            segment(principal.as_str())
        );
        account.client.put_assignment(&path, not_after).await
    }

    async fn put_assignment(&self, path: &str, not_after: Option<Timestamp>) -> Result<(), HttpError> {
        let request = json::request_with(Method::PUT, &self.url(path), &AssignWire { permissions: ["USER"] });
        self.send(WHAT, request, Effect::Repeatable, not_after).await.map(drop)
    }

    /// The number by which the account knows this workspace; `None` where the host does not tell.
    async fn workspace_id(&self) -> Result<Option<String>, HttpError> {
        const PATH: &str = "/.well-known/databricks-config";
        let what = "find the id of the workspace";
        let request = json::request(Method::GET, &self.url(PATH));
        let call =
            Call { service: Service::Databricks, what, request, signer: None, effect: Effect::Repeatable, not_after: None };
        match self.http.send(call).await {
            Ok(answer) => Ok(json::read::<HostWire>(what, &self.target(&Method::GET, PATH), &answer)?.workspace_id),
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
