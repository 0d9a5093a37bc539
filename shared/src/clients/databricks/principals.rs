//! Service principals, over SCIM.

use std::collections::BTreeSet;

use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::account::{Level, is_beyond_workspace};
use super::{Databricks, segment};
use crate::config::PrincipalSelector;
use crate::http::page::{PAGES_MAX, PageError};
use crate::http::{Effect, HttpError, json};
use crate::ids::{ApplicationId, ServicePrincipalId};

const ME_PATH: &str = "/api/2.0/preview/scim/v2/Me";
const PAGE_SIZE: u64 = 100;

/// A service principal of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePrincipal {
    /// Its numeric SCIM id: paths of secrets want this one.
    pub id: ServicePrincipalId,
    /// Its application id, lower case: client id, user name, and principal of every grant.
    pub application_id: ApplicationId,
    /// Its name; not unique.
    pub display_name: String,
    /// Whether it may sign in.
    pub active: bool,
    /// Whether an identity provider knows it too, as Entra does those that it manages.
    pub external: bool,
}

/// Who is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// SCIM id.
    pub id: String,
    /// Mail address of a user, application id of a service principal.
    pub user_name: String,
    /// Name for people.
    pub display_name: Option<String>,
}

#[derive(Deserialize)]
struct PageWire {
    /// Capital R; absent when the page is empty.
    #[serde(rename = "Resources", default)]
    resources: Vec<PrincipalWire>,
    #[serde(rename = "totalResults")]
    total: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PrincipalWire {
    id: String,
    application_id: String,
    #[serde(default)]
    display_name: String,
    active: Option<bool>,
    external_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MeWire {
    #[serde(default)]
    id: String,
    user_name: String,
    display_name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreateWire<'a> {
    schemas: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_id: Option<&'a str>,
    active: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entitlements: Vec<EntitlementWire>,
}

#[derive(Serialize)]
struct EntitlementWire {
    value: &'static str,
}

impl Databricks {
    /// Every service principal that `selector` names: none, one, or several of the same display name. Where the workspace
    /// has none, or does not say, those of the account count.
    pub async fn find_service_principals(&self, selector: &PrincipalSelector) -> Result<Vec<ServicePrincipal>, HttpError> {
        let here = self.list_service_principals(selector).await;
        let elsewhere = match &here {
            Ok(found) => found.is_empty(),
            Err(error) => is_beyond_workspace(error),
        };
        match self.account() {
            Some(account) if elsewhere => account.client.list_service_principals(selector).await,
            Some(_) | None => here,
        }
    }

    /// Those of this workspace, or of this account. SCIM may compare without regard to case, so equality is checked again
    /// here; its pages may shift while read, so ids count once.
    pub(super) async fn list_service_principals(&self, selector: &PrincipalSelector) -> Result<Vec<ServicePrincipal>, HttpError> {
        let path = self.principals_path();
        let what = "find the service principal";
        let filter = segment(&filter(selector));
        let (mut found, mut seen, mut start) = (Vec::new(), BTreeSet::new(), 1_u64);
        for _ in 0..PAGES_MAX {
            let page = format!("{path}?filter={filter}&startIndex={start}&count={PAGE_SIZE}");
            let page: PageWire = self.get(what, &page).await?;
            let size = page.resources.len() as u64;
            let before = seen.len();
            for principal in page.resources {
                if seen.insert(principal.id.clone()) && matches(selector, &principal) {
                    found.push(principal.into());
                }
            }
            start += size;
            if size == 0 || page.total.is_some_and(|total| start > total) {
                return Ok(found);
            }
            if seen.len() == before {
                return Err(HttpError::unusable(what, &self.target(&Method::GET, &path), PageError::Loop));
            }
        }
        Err(HttpError::unusable(what, &self.target(&Method::GET, &path), PageError::TooMany))
    }

    /// Makes a service principal with access to Databricks SQL: Databricks-managed, or Entra-managed when an application id
    /// is given. Where the workspace refuses it is made at the account, and has still to be assigned. A create: after an
    /// ambiguous failure, look before trying again.
    pub async fn create_service_principal(
        &self,
        display_name: Option<&str>,
        application_id: Option<&ApplicationId>,
        not_after: Option<Timestamp>,
    ) -> Result<ServicePrincipal, HttpError> {
        let made = self.post_service_principal(display_name, application_id, not_after).await;
        match (made, self.account()) {
            (Err(error), Some(account)) if is_beyond_workspace(&error) => {
                account.client.post_service_principal(display_name, application_id, not_after).await
            }
            (made, _) => made,
        }
    }

    async fn post_service_principal(
        &self,
        display_name: Option<&str>,
        application_id: Option<&ApplicationId>,
        not_after: Option<Timestamp>,
    ) -> Result<ServicePrincipal, HttpError> {
        let path = self.principals_path();
        // Entitlements belong to workspaces; the account knows none.
        let entitlements = match self.level {
            Level::Workspace { .. } => vec![EntitlementWire { value: "databricks-sql-access" }],
            Level::Account(_) => Vec::new(),
        };
        let what = "create the service principal";
        let body = CreateWire {
            schemas: ["urn:ietf:params:scim:schemas:core:2.0:ServicePrincipal"],
            display_name,
            application_id: application_id.map(ApplicationId::as_str),
            active: true,
            entitlements,
        };
        let request = json::request_with(Method::POST, &self.url(&path), &body);
        let answer = self.send(what, request, Effect::Once, not_after).await?;
        let made: PrincipalWire = json::read(what, &self.target(&Method::POST, &path), &answer)?;
        Ok(made.into())
    }

    /// Who is signed in; needs a token of scope `all-apis` or an IAM scope.
    pub async fn me(&self) -> Result<Me, HttpError> {
        let wire: MeWire = self.get("see who is signed in to the workspace", ME_PATH).await?;
        Ok(Me { id: wire.id, user_name: wire.user_name, display_name: wire.display_name })
    }
}

impl From<PrincipalWire> for ServicePrincipal {
    fn from(wire: PrincipalWire) -> Self {
        Self {
            id: ServicePrincipalId::new(wire.id),
            application_id: ApplicationId::new(wire.application_id.to_ascii_lowercase()),
            display_name: wire.display_name,
            // Absent means the default, which is active.
            active: wire.active.unwrap_or(true),
            external: wire.external_id.is_some_and(|id| !id.is_empty()),
        }
    }
}

fn matches(selector: &PrincipalSelector, principal: &PrincipalWire) -> bool {
    match selector {
        PrincipalSelector::DisplayName(name) => principal.display_name == *name,
        PrincipalSelector::ApplicationId(id) => principal.application_id.eq_ignore_ascii_case(id.as_str()),
    }
}

/// `attribute eq "value"`, the value quoted and escaped: unquoted ones break at a space.
fn filter(selector: &PrincipalSelector) -> String {
    let (attribute, value) = match selector {
        PrincipalSelector::DisplayName(name) => ("displayName", name.as_str()),
        PrincipalSelector::ApplicationId(id) => ("applicationId", id.as_str()),
    };
    let escaped = value.replace('\\', r"\\").replace('"', r#"\""#);
    format!(r#"{attribute} eq "{escaped}""#)
}
