//! Unity Catalog privileges: read as effective, only ever added.

use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Databricks, segment};
use crate::config::Securable;
use crate::http::{Effect, HttpError, json, page};
use crate::ids::ApplicationId;

#[derive(Deserialize)]
struct EffectiveWire {
    #[serde(default)]
    privilege_assignments: Vec<AssignmentWire>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct AssignmentWire {
    #[serde(default)]
    principal: String,
    #[serde(default)]
    privileges: Vec<PrivilegeWire>,
}

#[derive(Deserialize)]
struct PrivilegeWire {
    privilege: Option<String>,
}

#[derive(Serialize)]
struct ChangesWire<'a> {
    changes: [ChangeWire<'a>; 1],
    omit_permissions_in_response: bool,
}

#[derive(Serialize)]
struct ChangeWire<'a> {
    principal: &'a str,
    add: &'a [String],
}

impl Databricks {
    /// The privileges that the principal is known to have on the object, inherited ones included, underscores between words.
    /// The service does not say whether it looks into groups: one that is missing here may still be held.
    pub async fn effective_privileges(
        &self,
        securable: Securable,
        name: &str,
        principal: &ApplicationId,
    ) -> Result<Vec<String>, HttpError> {
        let what = "read the Unity Catalog privileges";
        let path = format!("/api/2.1/unity-catalog/effective-permissions/{}/{}", kind(securable), segment(name));
        let target = self.target(&Method::GET, &path);
        let path = &path;
        let mut privileges = page::collect(what, &target, |token| async move {
            let mut page = format!("{path}?principal={}", segment(principal.as_str()));
            if let Some(token) = token {
                page.push_str(&format!("&page_token={}", segment(&token)));
            }
            let wire: EffectiveWire = self.get(what, &page).await?;
            let of_principal = |assignment: &AssignmentWire| assignment.principal.eq_ignore_ascii_case(principal.as_str());
            let privileges = wire.privilege_assignments.into_iter().filter(of_principal).flat_map(|held| held.privileges);
            Ok((privileges.filter_map(|held| held.privilege).collect(), wire.next_page_token))
        })
        .await?;
        privileges.iter_mut().for_each(|privilege: &mut String| *privilege = privilege.replace(' ', "_"));
        privileges.sort();
        privileges.dedup();
        Ok(privileges)
    }

    /// Adds privileges. They take a moment to be seen: read again before relying on them.
    pub async fn grant(
        &self,
        securable: Securable,
        name: &str,
        principal: &ApplicationId,
        privileges: &[String],
        not_after: Option<Timestamp>,
    ) -> Result<(), HttpError> {
        let url = self.url(&format!("/api/2.1/unity-catalog/permissions/{}/{}", kind(securable), segment(name)));
        let change = ChangeWire { principal: principal.as_str(), add: privileges };
        let body = ChangesWire { changes: [change], omit_permissions_in_response: true };
        let request = json::request_with(Method::PATCH, &url, &body);
        self.send("grant Unity Catalog privileges", request, Effect::Repeatable, not_after).await.map(drop)
    }
}

fn kind(securable: Securable) -> &'static str {
    match securable {
        Securable::Catalog => "catalog",
        Securable::Schema => "schema",
        Securable::Table => "table",
    }
}
