//! Service principals, over SCIM.

use std::collections::BTreeSet;

use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Databricks, segment};
use crate::config::PrincipalSelector;
use crate::http::page::{PAGES_MAX, PageError};
use crate::http::{Effect, HttpError, json};
use crate::ids::{ApplicationId, ServicePrincipalId};

const PATH: &str = "/api/2.0/preview/scim/v2/ServicePrincipals";
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
    entitlements: [EntitlementWire; 1],
}

#[derive(Serialize)]
struct EntitlementWire {
    value: &'static str,
}

impl Databricks {
    /// Every service principal that `selector` names: none, one, or several of the same display name. SCIM may compare
    /// without regard to case, so equality is checked again here; its pages may shift while read, so ids count once.
    pub async fn find_service_principals(&self, selector: &PrincipalSelector) -> Result<Vec<ServicePrincipal>, HttpError> {
        let what = "find the service principal";
        let filter = segment(&filter(selector));
        let (mut found, mut seen, mut start) = (Vec::new(), BTreeSet::new(), 1_u64);
        for _ in 0..PAGES_MAX {
            let path = format!("{PATH}?filter={filter}&startIndex={start}&count={PAGE_SIZE}");
            let page: PageWire = self.get(what, &path).await?;
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
                return Err(HttpError::unusable(what, &self.target(&Method::GET, PATH), PageError::Loop));
            }
        }
        Err(HttpError::unusable(what, &self.target(&Method::GET, PATH), PageError::TooMany))
    }

    /// Makes a service principal with access to Databricks SQL: Databricks-managed, or Entra-managed when an application id
    /// is given. A create: after an ambiguous failure, look before trying again.
    pub async fn create_service_principal(
        &self,
        display_name: Option<&str>,
        application_id: Option<&ApplicationId>,
        not_after: Option<Timestamp>,
    ) -> Result<ServicePrincipal, HttpError> {
        let what = "create the service principal";
        let body = CreateWire {
            schemas: ["urn:ietf:params:scim:schemas:core:2.0:ServicePrincipal"],
            display_name,
            application_id: application_id.map(ApplicationId::as_str),
            active: true,
            entitlements: [EntitlementWire { value: "databricks-sql-access" }],
        };
        let request = json::request_with(Method::POST, &self.url(PATH), &body);
        let answer = self.send(what, request, Effect::Once, not_after).await?;
        let made: PrincipalWire = json::read(what, &self.target(&Method::POST, PATH), &answer)?;
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
