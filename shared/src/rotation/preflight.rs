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
use crate::targets::{PowerBiTargets, TargetSpec};

/// Warehouses asked about at once.
const CONCURRENCY: usize = 16;

/// Who may manage secrets.
pub const SECRETS_HINT: &str =
    "make the credential's identity an admin of the workspace, or an account admin and set the credential's `account`";

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Preflight {
    /// The targets, what is left out, and what is wrong with the selection.
    pub selection: Selection,
    /// Every permission that the config needs.
    pub findings: Vec<Finding>,
    /// Permissions that the config asks for and the principal does not have.
    pub missing: Vec<Permission>,
    /// What keeps a rotation from starting, the selection's problems included.
    pub problems: Vec<Problem>,
}

/// One permission that the config needs.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which; of privileges only those that are missing, where some are.
    pub permission: Permission,
    /// Whether the principal has it; if not, a rotation adds it. A problem where it can't, or where that can't be told.
    pub outcome: Result<bool, Problem>,
}

impl Preflight {
    fn note(&mut self, permission: Permission, outcome: Result<bool, Problem>) {
        match &outcome {
            Ok(true) => {}
            Ok(false) => self.missing.push(permission.clone()),
            Err(problem) => self.problems.push(problem.clone()),
        }
        self.findings.push(Finding { permission, outcome });
    }
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
    let selection = selection(credential, workspaces, targets).await?;
    Ok(rights(credential, workspaces, principal, selection).await)
}

/// Reads what the rows of `select` mean.
pub async fn selection(
    credential: &Credential,
    workspaces: &BTreeMap<Workspace, Databricks>,
    targets: Option<&PowerBiTargets>,
) -> Result<Selection, Error> {
    match (targets, &credential.targets) {
        (Some(targets), Some(wanted)) => {
            let hosts: Vec<Workspace> = workspaces.keys().cloned().collect();
            inventory::select(&targets.powerbi, &targets.fabric, &hosts, wanted).await
        }
        _ => Ok(Selection::default()),
    }
}

/// Reads the permissions that the config and this selection need.
pub async fn rights(
    credential: &Credential,
    workspaces: &BTreeMap<Workspace, Databricks>,
    principal: Option<&Principal>,
    selection: Selection,
) -> Preflight {
    let problems = selection.problems.clone();
    let mut found = Preflight { selection, problems, ..Preflight::default() };
    assignments(credential, workspaces, principal, &mut found).await;
    permissions(credential, workspaces, principal, &mut found).await;
    missing_grants(credential, workspaces, principal, &mut found).await;
    found
}

/// Workspaces that the principal has to be assigned to. They come first: what has no part in a workspace can be given no
/// permission there. The credential's own is asked only where an account can have principals that it lacks.
async fn assignments(
    credential: &Credential,
    workspaces: &BTreeMap<Workspace, Databricks>,
    principal: Option<&Principal>,
    found: &mut Preflight,
) {
    let own = credential.account.as_ref().filter(|_| principal.is_some()).map(|_| &credential.workspace);
    let others = credential.also_workspaces.iter().filter(|workspace| **workspace != credential.workspace);
    let asked: BTreeSet<&Workspace> = own.into_iter().chain(others).collect();
    let looks = asked.into_iter().map(|workspace| async move {
        let member = match principal {
            Some(principal) => workspaces[workspace].has_member(&principal.application_id).await,
            // It is made in the credential's own workspace, or at the account.
            None => Ok(false),
        };
        (workspace, member)
    });
    let answers: Vec<_> = stream::iter(looks).buffered(CONCURRENCY).collect().await;
    for (workspace, answer) in answers {
        found.note(Permission::Assignment { workspace: workspace.clone() }, answer.map_err(|error| problem_of(error.into())));
    }
}

async fn permissions(
    credential: &Credential,
    workspaces: &BTreeMap<Workspace, Databricks>,
    principal: Option<&Principal>,
    found: &mut Preflight,
) {
    let selection = &found.selection;
    let listed = stream::iter(&credential.warehouses).map(|warehouse| async move {
        (warehouse, find_warehouse(credential, workspaces, selection, warehouse, principal).await)
    });
    let answers: Vec<_> = listed.buffered(CONCURRENCY).collect().await;
    let mut given = BTreeSet::new();
    for (warehouse, answer) in answers {
        let (workspace, outcome) = match answer {
            Ok((workspace, usable)) => {
                given.insert((workspace.clone(), warehouse.clone()));
                (workspace, Ok(usable))
            }
            Err(error) => (credential.workspace.clone(), Err(problem_of(error))),
        };
        found.note(Permission::CanUse { workspace, warehouse: warehouse.clone() }, outcome);
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
    let asked = used.difference(&given).map(|(workspace, warehouse)| async move {
        (workspace, warehouse, can_use(&workspaces[workspace], warehouse, principal).await)
    });
    let answers: Vec<_> = stream::iter(asked).buffered(CONCURRENCY).collect().await;
    for (workspace, warehouse, answer) in answers {
        let outcome = match answer {
            Ok(true) => Ok(true),
            Ok(false) => Err(no_can_use(workspace, warehouse)),
            Err(error) => Err(problem_of(error)),
        };
        found.note(Permission::CanUse { workspace: workspace.clone(), warehouse: warehouse.clone() }, outcome);
    }
}

async fn can_use(databricks: &Databricks, warehouse: &WarehouseId, principal: Option<&Principal>) -> Result<bool, Error> {
    // A stopped warehouse is as good as a running one: a statement starts it. Permissions of a deleted one may still be
    // readable, and would be worth nothing.
    let found = databricks.warehouse(warehouse).await.map_err(Error::from)?;
    if found.is_deleted() {
        return Err(Error::failed(
            "warehouse-deleted",
            format!("warehouse `{warehouse}` (`{}`) on {} is deleted", found.name, databricks.workspace().host()),
        )
        .hint("name another warehouse, and point the data sources that use this one elsewhere"));
    }
    let Some(principal) = principal else { return Ok(false) };
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
        let (privileges, outcome) = match held {
            Ok(held) => {
                let all = held.iter().any(|privilege| privilege == "ALL_PRIVILEGES");
                let missing: Vec<String> =
                    grant.privileges.iter().filter(|wanted| !all && !held.contains(wanted)).cloned().collect();
                let complete = missing.is_empty();
                (if complete { grant.privileges.clone() } else { missing }, Ok(complete))
            }
            Err(error) => (grant.privileges.clone(), Err(problem_of(error))),
        };
        let (securable, name) = (securable_word(grant.securable).to_owned(), grant.name.clone());
        found.note(Permission::Privileges { securable, name, privileges }, outcome);
    }
}

fn problem_of(error: Error) -> Problem {
    error.problem().clone()
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
    match can_use(&workspaces[own], warehouse, principal).await {
        Err(error) if error.code() == "not-found" => {}
        answer => return Ok((own.clone(), answer?)),
    }
    for (workspace, databricks) in workspaces.iter().filter(|(workspace, _)| *workspace != own) {
        match can_use(databricks, warehouse, principal).await {
            Err(error) if error.code() == "not-found" => {}
            answer => return Ok((workspace.clone(), answer?)),
        }
    }
    let hosts: Vec<&str> = workspaces.keys().map(Workspace::host).collect();
    Err(Error::failed("warehouse-not-found", format!("there is no warehouse `{warehouse}` on {}", hosts.join(" or "))).hint(
        "check the id (the last part of the warehouse's HTTP path); if it is on another workspace, add that to `also_workspaces`",
    ))
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
    let secrets = databricks.list_secrets(&principal.id).await.map_err(|error| match Error::from(error) {
        error if error.code() == "forbidden" => error.hint(SECRETS_HINT),
        error => error,
    })?;
    Ok(secrets
        .into_iter()
        .map(|secret| Listed { id: secret.id, created_at: secret.created_at, expires_at: secret.expires_at })
        .collect())
}
