//! Finding the service principal: exactly one, or made when the config says so.

use super::App;
use crate::clients::databricks::{Databricks, ServicePrincipal};
use crate::config::{Credential, PrincipalSelector};
use crate::error::{Error, ErrorKind};
use crate::ids::ApplicationId;
use crate::rotation::preflight::{self, Principal};

impl From<ServicePrincipal> for Principal {
    fn from(found: ServicePrincipal) -> Self {
        Self { id: found.id, application_id: found.application_id, display_name: found.display_name }
    }
}

/// The principal, if it exists; an error when there are several, or when there is none and none is to be made.
pub(super) async fn find(databricks: &Databricks, credential: &Credential) -> Result<Option<Principal>, Error> {
    Ok(look_up(databricks, credential).await?.map(Principal::from))
}

/// The same, with all that is known of it.
pub(super) async fn look_up(databricks: &Databricks, credential: &Credential) -> Result<Option<ServicePrincipal>, Error> {
    let mut found = databricks.find_service_principals(&credential.service_principal).await?;
    if found.len() > 1 {
        let ids: Vec<String> = found.iter().map(|principal| format!("`{}`", principal.application_id)).collect();
        return Err(Error::failed(
            "principal-ambiguous",
            format!("{} service principals on {} are named {}", found.len(), credential.workspace.host(), named(credential)),
        )
        .hint(format!("name one by `service_principal: {{ application_id: … }}`: {}", ids.join(", "))));
    }
    match found.pop() {
        Some(principal) if !principal.active => Err(Error::failed(
            "principal-inactive",
            format!("the service principal {} is deactivated on {}", named(credential), credential.workspace.host()),
        )
        .hint("activate it at Databricks; a deactivated principal cannot sign in, whatever secret it has")),
        Some(principal) => Ok(Some(principal)),
        None if credential.create_service_principal => Ok(None),
        None => Err(not_found(credential)),
    }
}

fn not_found(credential: &Credential) -> Error {
    Error::failed(
        "principal-not-found",
        format!("there is no service principal {} on {}", named(credential), credential.workspace.host()),
    )
    .hint("check the name (it is compared exactly), add the principal to this workspace, or set `create_service_principal: true`")
}

fn named(credential: &Credential) -> String {
    match &credential.service_principal {
        PrincipalSelector::DisplayName(name) => format!("`{name}`"),
        PrincipalSelector::ApplicationId(id) => format!("`{id}`"),
    }
}

impl App {
    /// Finds it.
    pub(super) async fn find(&self, credential: &Credential) -> Result<Principal, Error> {
        let workspaces = self.workspaces(credential)?;
        find(&workspaces[&credential.workspace], credential).await?.ok_or_else(|| not_found(credential))
    }

    /// Finds it, or makes it where the config says so and nothing else keeps a rotation from starting. A create whose answer
    /// is lost is looked for, never sent again blindly.
    pub(super) async fn find_or_create(&self, credential: &Credential) -> Result<Principal, Error> {
        let workspaces = self.workspaces(credential)?;
        let databricks = &workspaces[&credential.workspace];
        if let Some(principal) = find(databricks, credential).await? {
            return Ok(principal);
        }
        let targets = self.targets(credential)?;
        let ahead = Box::pin(preflight::preflight(credential, &workspaces, None, targets.as_ref())).await?;
        if let Some(problem) = ahead.problems.first() {
            return Err(Error::new(ErrorKind::Failed, problem.clone()));
        }
        let (name, application_id): (&str, Option<&ApplicationId>) = match &credential.service_principal {
            PrincipalSelector::DisplayName(name) => (name, None),
            PrincipalSelector::ApplicationId(id) => (credential.name.as_str(), Some(id)),
        };
        match databricks.create_service_principal(Some(name), application_id, None).await {
            Ok(created) => Ok(created.into()),
            Err(error) => match find(databricks, credential).await? {
                Some(principal) => Ok(principal),
                None => Err(error.into()),
            },
        }
    }
}
