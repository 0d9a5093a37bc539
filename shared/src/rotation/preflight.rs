//! Everything that can be known before anything is created. Reads only; a problem found here costs nothing.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt;
use futures::future::{BoxFuture, join, join3};
use futures::stream::{self, StreamExt};

use super::event::Permission;
use super::recover::Listed;
use crate::clients::databricks::{Access, Databricks};
use crate::config::{Credential, PrincipalSelector, Securable};
use crate::error::{Error, Problem};
use crate::ids::{ApplicationId, ServicePrincipalId, WarehouseId, Workspace};
use crate::inventory::{self, Selection};
use crate::targets::{PowerBiTargets, TargetSpec};

/// Questions of one kind asked at once.
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
    /// Display name.
    pub display_name: String,
}

/// What a mapping list may call the principal.
fn names<'a>(credential: &'a Credential, principal: Option<&'a Principal>) -> Vec<&'a str> {
    let configured = match &credential.service_principal {
        PrincipalSelector::DisplayName(name) => name.as_str(),
        PrincipalSelector::ApplicationId(id) => id.as_str(),
    };
    let found = principal.into_iter().flat_map(|found| [found.application_id.as_str(), found.display_name.as_str()]);
    let mut names = vec![configured];
    names.extend(found.filter(|name| *name != configured && !name.is_empty()));
    names
}

/// Reads the selection and the permissions of one credential.
pub async fn preflight(
    credential: &Credential,
    workspaces: &BTreeMap<Workspace, Databricks>,
    principal: Option<&Principal>,
    targets: Option<&PowerBiTargets>,
) -> Result<Preflight, Error> {
    let selection = selection(credential, workspaces, principal, targets).await?;
    Ok(rights(credential, workspaces, principal, selection).await)
}

/// Reads what the rows of `select` and of the mapping list mean.
pub async fn selection(
    credential: &Credential,
    workspaces: &BTreeMap<Workspace, Databricks>,
    principal: Option<&Principal>,
    targets: Option<&PowerBiTargets>,
) -> Result<Selection, Error> {
    let (Some(targets), Some(wanted)) = (targets, &credential.targets) else { return Ok(Selection::default()) };
    let hosts: Vec<Workspace> = workspaces.keys().cloned().collect();
    let (wanted, unmapped) = wanted.of_principal(&names(credential, principal));
    let mut selection = inventory::select(&targets.powerbi, &targets.fabric, &hosts, &wanted).await?;
    selection.problems.splice(0..0, unmapped);
    Ok(selection)
}

/// Reads the permissions that the config and this selection need, all at once.
pub async fn rights(
    credential: &Credential,
    workspaces: &BTreeMap<Workspace, Databricks>,
    principal: Option<&Principal>,
    selection: Selection,
) -> Preflight {
    let (assignments, warehouses, grants) = join3(
        assignments(credential, workspaces, principal),
        warehouses(credential, workspaces, principal, &selection),
        grants(credential, workspaces, principal),
    )
    .await;
    let problems = selection.problems.clone();
    let mut found = Preflight { selection, problems, ..Preflight::default() };
    // Assignments come first: what has no part in a workspace can be given no permission there.
    for (permission, outcome) in assignments.into_iter().chain(warehouses).chain(grants) {
        found.note(permission, outcome);
    }
    found
}

type Answers = Vec<(Permission, Result<bool, Problem>)>;

/// Answers in order. Boxed by the caller, as all that a server may move between threads.
async fn some_at_once<T>(looks: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    stream::iter(looks).buffered(CONCURRENCY).collect().await
}

/// Workspaces that the principal has to be assigned to. The credential's own is asked only where an account can have
/// principals that it lacks.
async fn assignments(
    credential: &Credential,
    workspaces: &BTreeMap<Workspace, Databricks>,
    principal: Option<&Principal>,
) -> Answers {
    let own = credential.account.as_ref().filter(|_| principal.is_some()).map(|_| &credential.workspace);
    let others = credential.also_workspaces.iter().filter(|workspace| **workspace != credential.workspace);
    let asked: BTreeSet<&Workspace> = own.into_iter().chain(others).collect();
    let looks = asked.into_iter().map(|workspace| {
        let look = async move {
            let member = match principal {
                Some(principal) => workspaces[workspace].has_member(&principal.application_id).await,
                // It is made in the credential's own workspace, or at the account.
                None => Ok(false),
            };
            (Permission::Assignment { workspace: workspace.clone() }, member.map_err(|error| problem_of(error.into())))
        };
        look.boxed()
    });
    some_at_once(looks.collect()).await
}

/// The warehouses that the config lists, which a rotation may add CAN_USE to, and the others that targets and the smoke query
/// need, where the principal must have it.
async fn warehouses(
    credential: &Credential,
    workspaces: &BTreeMap<Workspace, Databricks>,
    principal: Option<&Principal>,
    selection: &Selection,
) -> Answers {
    let listed = credential.warehouses.iter().map(|warehouse| {
        find_warehouse(credential, workspaces, selection, warehouse, principal).map(move |found| (warehouse, found)).boxed()
    });
    let (needed_listed, needed): (BTreeSet<_>, BTreeSet<_>) = needed(credential, workspaces, selection)
        .into_iter()
        .partition(|(_, warehouse)| credential.warehouses.contains(warehouse));
    let (listed, others) = join(some_at_once(listed.collect()), usable(workspaces, principal, needed)).await;
    let mut answers = Answers::new();
    let mut given = BTreeSet::new();
    for (warehouse, answer) in listed {
        let (workspace, outcome) = match answer {
            Ok((workspace, usable)) => {
                given.insert((workspace.clone(), warehouse.clone()));
                (workspace, Ok(usable))
            }
            Err(error) => (credential.workspace.clone(), Err(problem_of(error))),
        };
        answers.push((Permission::CanUse { workspace, warehouse: warehouse.clone() }, outcome));
    }
    // A listed warehouse that was found elsewhere than a target says.
    let elsewhere = needed_listed.difference(&given).cloned().collect();
    answers.extend(usable(workspaces, principal, elsewhere).await);
    answers.extend(others);
    answers
}

/// The warehouses that targets and the smoke query use.
fn needed(
    credential: &Credential,
    workspaces: &BTreeMap<Workspace, Databricks>,
    selection: &Selection,
) -> BTreeSet<(Workspace, WarehouseId)> {
    let on = |host: &str| workspaces.keys().find(|workspace| workspace.host() == host);
    let targets = selection.targets.iter().filter_map(|target| Some((on(&target.host)?.clone(), target.warehouse.clone()?)));
    let verify = credential.verify_warehouse.iter().map(|warehouse| (credential.workspace.clone(), warehouse.clone()));
    targets.chain(verify).collect()
}

/// Whether the principal may use these warehouses; that it may not is a problem.
async fn usable(
    workspaces: &BTreeMap<Workspace, Databricks>,
    principal: Option<&Principal>,
    asked: BTreeSet<(Workspace, WarehouseId)>,
) -> Answers {
    let looks = asked.into_iter().map(|(workspace, warehouse)| {
        let look = async move {
            let outcome = match can_use(&workspaces[&workspace], &warehouse, principal).await {
                Ok(true) => Ok(true),
                Ok(false) => Err(no_can_use(&workspace, &warehouse)),
                Err(error) => Err(problem_of(error)),
            };
            (Permission::CanUse { workspace, warehouse }, outcome)
        };
        look.boxed()
    });
    some_at_once(looks.collect()).await
}

async fn can_use(databricks: &Databricks, warehouse: &WarehouseId, principal: Option<&Principal>) -> Result<bool, Error> {
    // A stopped warehouse is as good as a running one: a statement starts it. Permissions of a deleted one may still be
    // readable, and would be worth nothing.
    let access = async {
        match principal {
            Some(principal) => databricks.warehouse_access(warehouse, &principal.application_id).await,
            None => Ok(Access::None),
        }
    };
    let (found, access) = join(databricks.warehouse(warehouse), access).await;
    let found = found.map_err(Error::from)?;
    if found.is_deleted() {
        return Err(Error::failed(
            "warehouse-deleted",
            format!("warehouse `{warehouse}` (`{}`) on {} is deleted", found.name, databricks.workspace().host()),
        )
        .hint("name another warehouse, and point the data sources that use this one elsewhere"));
    }
    Ok(access.map_err(Error::from)? == Access::CanUse)
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

/// What the config grants in Unity Catalog.
async fn grants(credential: &Credential, workspaces: &BTreeMap<Workspace, Databricks>, principal: Option<&Principal>) -> Answers {
    let databricks = &workspaces[&credential.workspace];
    let looks = credential.grants.iter().map(|grant| {
        let look = async move {
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
            (Permission::Privileges { securable, name, privileges }, outcome)
        };
        look.boxed()
    });
    some_at_once(looks.collect()).await
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
