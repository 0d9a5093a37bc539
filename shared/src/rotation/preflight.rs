//! Everything that can be known before anything is created. Reads only; a problem found here costs nothing.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt};

use super::event::Permission;
use super::recover::Listed;
use crate::clients::databricks::{Access, Databricks};
use crate::config::{Credential, Securable};
use crate::error::{Error, Problem};
use crate::ids::{ApplicationId, ServicePrincipalId, WarehouseId, Workspace};
use crate::inventory::{self, Selection};
use crate::targets::PowerBiTargets;

/// Warehouses asked about at once.
const CONCURRENCY: usize = 16;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Preflight {
    /// The targets, what is left out, and what is wrong with the selection.
    pub selection: Selection,
    /// Permissions that the config asks for and the principal does not have.
    pub missing: Vec<Permission>,
    /// What keeps a rotation from starting, the selection's problems included.
    pub problems: Vec<Problem>,
}

/// The principal, as far as it exists.
#[derive(Clone, Debug)]
pub struct Principal {
    /// SCIM id.
    pub id: ServicePrincipalId,
    /// Application id.
    pub application_id: ApplicationId,
}

/// Reads the selection and the permissions of one credential.
pub async fn preflight(
    credential: &Credential,
    workspaces: &BTreeMap<Workspace, Databricks>,
    principal: Option<&Principal>,
    targets: Option<&PowerBiTargets>,
) -> Result<Preflight, Error> {
    let mut found = Preflight::default();
    if let (Some(targets), Some(wanted)) = (targets, &credential.targets) {
        let hosts: Vec<Workspace> = workspaces.keys().cloned().collect();
        found.selection = inventory::select(&targets.powerbi, &targets.fabric, &hosts, wanted).await?;
        found.problems.extend(found.selection.problems.iter().cloned());
    }
    permissions(credential, workspaces, principal, &mut found).await?;
    Ok(found)
}

async fn permissions(
    credential: &Credential,
    workspaces: &BTreeMap<Workspace, Databricks>,
    principal: Option<&Principal>,
    found: &mut Preflight,
) -> Result<(), Error> {
    let mut given = BTreeSet::new();
    for warehouse in &credential.warehouses {
        if let Some(workspace) = workspace_of(credential, workspaces, &found.selection, warehouse) {
            given.insert((workspace, warehouse.clone()));
        }
    }
    let mut used = BTreeSet::new();
    for target in &found.selection.targets {
        if let (Some(warehouse), Some(workspace)) =
            (&target.warehouse, workspaces.keys().find(|workspace| workspace.host() == target.host))
        {
            used.insert((workspace.clone(), warehouse.clone()));
        }
    }
    if let Some(warehouse) = &credential.verify_warehouse {
        used.insert((credential.workspace.clone(), warehouse.clone()));
    }
    let asked = given.union(&used).map(|(workspace, warehouse)| async move {
        (workspace, warehouse, can_use(&workspaces[workspace], warehouse, principal).await)
    });
    let mut answers = stream::iter(asked).buffered(CONCURRENCY);
    while let Some((workspace, warehouse, answer)) = answers.next().await {
        match answer {
            Ok(true) => {}
            Ok(false) if given.contains(&(workspace.clone(), warehouse.clone())) => {
                found.missing.push(Permission::CanUse { workspace: workspace.clone(), warehouse: warehouse.clone() });
            }
            Ok(false) => found.problems.push(no_can_use(workspace, warehouse)),
            Err(error) => found.problems.push(error.problem().clone()),
        }
    }
    drop(answers);
    missing_grants(credential, workspaces, principal, found).await;
    Ok(())
}

async fn can_use(databricks: &Databricks, warehouse: &WarehouseId, principal: Option<&Principal>) -> Result<bool, Error> {
    let Some(principal) = principal else {
        // Reading proves that the warehouse exists and that its permissions are ours to change.
        databricks.warehouse(warehouse).await.map_err(Error::from)?;
        return Ok(false);
    };
    Ok(databricks.warehouse_access(warehouse, &principal.application_id).await.map_err(Error::from)? == Access::CanUse)
}

fn no_can_use(workspace: &Workspace, warehouse: &WarehouseId) -> Problem {
    Problem::new(
        "no-can-use",
        format!(
            "the service principal may not use warehouse `{warehouse}` on {}, which a selected target needs",
            workspace.host()
        ),
    )
    .hint(format!(
        "list `{warehouse}` under the credential's `warehouses` (CAN_USE is then added), or give CAN_USE at Databricks"
    ))
}

async fn missing_grants(
    credential: &Credential,
    workspaces: &BTreeMap<Workspace, Databricks>,
    principal: Option<&Principal>,
    found: &mut Preflight,
) {
    let databricks = &workspaces[&credential.workspace];
    for grant in &credential.grants {
        let held = match principal {
            Some(principal) => databricks
                .effective_privileges(grant.securable, &grant.name, &principal.application_id)
                .await
                .map_err(Error::from),
            None => Ok(Vec::new()),
        };
        match held {
            Ok(held) => {
                let all = held.iter().any(|privilege| privilege == "ALL_PRIVILEGES");
                let missing: Vec<String> =
                    grant.privileges.iter().filter(|wanted| !all && !held.contains(wanted)).cloned().collect();
                if !missing.is_empty() {
                    found.missing.push(Permission::Privileges {
                        securable: securable_word(grant.securable).to_owned(),
                        name: grant.name.clone(),
                        privileges: missing,
                    });
                }
            }
            Err(error) => found.problems.push(error.problem().clone()),
        }
    }
}

/// A warehouse belongs to one workspace: the one whose targets use it, else the credential's own.
fn workspace_of(
    credential: &Credential,
    workspaces: &BTreeMap<Workspace, Databricks>,
    selection: &Selection,
    warehouse: &WarehouseId,
) -> Option<Workspace> {
    let user = selection.targets.iter().find(|target| target.warehouse.as_ref() == Some(warehouse));
    let by_target = user.and_then(|target| workspaces.keys().find(|workspace| workspace.host() == target.host));
    by_target.or_else(|| workspaces.get_key_value(&credential.workspace).map(|(workspace, _)| workspace)).cloned()
}

/// The word that plans and the journal use.
pub(super) fn securable_word(securable: Securable) -> &'static str {
    match securable {
        Securable::Catalog => "catalog",
        Securable::Schema => "schema",
        Securable::Table => "table",
    }
}

/// Lists the principal's secrets in the shape that decisions need.
pub async fn list(databricks: &Databricks, principal: &Principal) -> Result<Vec<Listed>, Error> {
    let secrets = databricks.list_secrets(&principal.id).await.map_err(Error::from)?;
    Ok(secrets
        .into_iter()
        .map(|secret| Listed { id: secret.id, created_at: secret.created_at, expires_at: secret.expires_at })
        .collect())
}
