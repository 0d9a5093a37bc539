//! Everything that can be known before anything is created. Reads only; a problem found here costs nothing.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt;
use futures::stream::{self, StreamExt};

use super::event::Permission;
use super::recover::Listed;
use crate::clients::databricks::{Access, Databricks};
use crate::config::{Credential, Securable};
use crate::error::{Error, Problem};
use crate::ids::{ApplicationId, ServicePrincipalId, WarehouseId, Workspace};
use crate::inventory::{self, Selection};
use crate::targets::{PowerBiTargets, TargetSpec};

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
    let selection = &found.selection;
    let listed = credential.warehouses.iter().map(|warehouse| {
        find_warehouse(credential, workspaces, selection, warehouse, principal).map(move |found| (warehouse, found)).boxed()
    });
    let answers: Vec<_> = stream::iter(listed.collect::<Vec<_>>()).buffered(CONCURRENCY).collect().await;
    let mut given = BTreeSet::new();
    for (warehouse, answer) in answers {
        match answer {
            Ok((workspace, usable)) => {
                given.insert((workspace.clone(), warehouse.clone()));
                if !usable {
                    found.missing.push(Permission::CanUse { workspace, warehouse: warehouse.clone() });
                }
            }
            Err(error) => found.problems.push(error.problem().clone()),
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
    let asked = used.difference(&given).map(|(workspace, warehouse)| {
        let usable = can_use(&workspaces[workspace], warehouse, principal);
        usable.map(move |usable| (workspace, warehouse, usable)).boxed()
    });
    let answers: Vec<_> = stream::iter(asked.collect::<Vec<_>>()).buffered(CONCURRENCY).collect().await;
    for (workspace, warehouse, answer) in answers {
        match answer {
            Ok(true) => {}
            Ok(false) => found.problems.push(no_can_use(workspace, warehouse)),
            Err(error) => found.problems.push(error.problem().clone()),
        }
    }
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

/// The workspace that a listed warehouse belongs to, and whether the principal may use it there. Selected targets tell the
/// workspace; without one, the credential's own is asked first.
async fn find_warehouse(
    credential: &Credential,
    workspaces: &BTreeMap<Workspace, Databricks>,
    selection: &Selection,
    warehouse: &WarehouseId,
    principal: Option<&Principal>,
) -> Result<(Workspace, bool), Error> {
    let used_on = |workspace: &Workspace| {
        let uses = |target: &TargetSpec| target.warehouse.as_ref() == Some(warehouse) && target.host == workspace.host();
        selection.targets.iter().any(uses)
    };
    let own = &credential.workspace;
    if let Some(workspace) = workspaces.keys().find(|workspace| used_on(workspace)) {
        return Ok((workspace.clone(), can_use(&workspaces[workspace], warehouse, principal).await?));
    }
    let missing = match can_use(&workspaces[own], warehouse, principal).await {
        Err(error) if error.code() == "not-found" => error,
        answer => return Ok((own.clone(), answer?)),
    };
    for (workspace, databricks) in workspaces.iter().filter(|(workspace, _)| *workspace != own) {
        match can_use(databricks, warehouse, principal).await {
            Err(error) if error.code() == "not-found" => {}
            answer => return Ok((workspace.clone(), answer?)),
        }
    }
    Err(missing)
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
