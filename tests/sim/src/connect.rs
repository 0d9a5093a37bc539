//! What happens when Power BI or Fabric connects to a data source with a credential: a sign-in at the very workspace that
//! the source names and a look at the warehouse, as the connector does it.

use std::time::Duration;

use jiff::Timestamp;

use crate::clock::until;
use crate::databricks::{Level, Workspace};
use crate::powerbi::{Credential, Details};
use crate::world::World;

/// Connects; a stopped warehouse is started, which takes the time that is given back.
pub(crate) fn attempt(world: &mut World, details: &Details, credential: &Credential) -> Result<Duration, String> {
    check(world, details, credential, world.now)?;
    let Details::Databricks { host, http_path, .. } = details else { return Ok(Duration::ZERO) };
    let (now, settings) = (world.now, world.settings.clone());
    let workspace = world.account.workspaces.iter_mut().find(|workspace| workspace.host == *host);
    let warehouse = workspace.and_then(|workspace| workspace.warehouses.get_mut(warehouse_of(http_path)));
    Ok(warehouse.map_or(Duration::ZERO, |warehouse| until(now, warehouse.start(now, &settings))))
}

/// Whether the credential opens the source at that time. Only Databricks sources on workspaces of this cloud, and only
/// credentials that lakekey deals in, are really tried.
pub(crate) fn check(world: &World, details: &Details, credential: &Credential, at: Timestamp) -> Result<(), String> {
    if *credential == Credential::Missing {
        return Err("no credentials are set".to_owned());
    }
    let Details::Databricks { host, http_path, .. } = details else { return Ok(()) };
    let found = world.account.workspaces.iter().enumerate().find(|(_, workspace)| workspace.host == *host);
    match (credential, found) {
        (Credential::Basic { username, password }, Some((index, workspace))) => {
            basic(world, index, workspace, http_path, (username, password), at)
        }
        (Credential::Key(token), Some((_, workspace))) if !workspace.tokens.contains_key(token) => {
            Err(format!("the token is not valid at {host}"))
        }
        (Credential::Basic { .. }, None) => Err(format!("no such host is known: {host}")),
        _ => Ok(()),
    }
}

pub(crate) fn warehouse_of(http_path: &str) -> &str {
    http_path.rsplit('/').next().unwrap_or_default()
}

fn basic(
    world: &World,
    index: usize,
    workspace: &Workspace,
    http_path: &str,
    (username, password): (&str, &str),
    at: Timestamp,
) -> Result<(), String> {
    let host = &workspace.host;
    let member = world.account.find(username).is_some_and(|principal| principal.active && principal.workspaces.contains(&index));
    let secret = world.account.secret(username, password).filter(|secret| member && secret.accepted(at, &world.settings));
    let secret = secret.ok_or_else(|| format!("invalid_client: Client authentication failed at {host}"))?;
    if !secret.scopes.is_empty() && !secret.scopes.iter().any(|scope| scope == "sql" || scope == "all-apis") {
        return Err("invalid_scope: the secret is not good for SQL".to_owned());
    }
    let id = warehouse_of(http_path);
    let warehouse = workspace
        .warehouses
        .get(id)
        .filter(|found| !found.deleted)
        .ok_or_else(|| format!("warehouse {id} was not found at {host}"))?;
    if warehouse.level(username) < Some(Level::CanUse) && !workspace.admins.contains(username) {
        return Err(format!("PERMISSION_DENIED: {username} may not use warehouse {id}"));
    }
    Ok(())
}
