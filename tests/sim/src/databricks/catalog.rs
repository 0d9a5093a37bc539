//! Unity Catalog grants (facts §3): direct and effective ones. Privileges flow down from catalog to schema to table.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Caller, Principal, denied, error, invalid, malformed, no_such_api};
use crate::wire::{Answer, Call, Reply, text};
use crate::world::World;

pub(super) fn direct(world: &mut World, caller: &Caller, call: &Call, kind: &str, name: &str) -> Answer {
    let key = securable(world, kind, name)?;
    match call.method.as_str() {
        "GET" => {}
        "PATCH" if caller.admin => change(world, call, &key)?,
        "PATCH" => return Err(denied(&format!("User does not have MANAGE on {} '{name}'.", key.0))),
        _ => return Err(no_such_api(call)),
    }
    let grants = world.account.grants.get(&key).into_iter().flatten();
    let of = call.asked("principal");
    let rows: Vec<Value> = grants
        .filter(|(principal, privileges)| !privileges.is_empty() && of.is_none_or(|of| of == principal.as_str()))
        .map(|(principal, privileges)| json!({ "principal": principal, "privileges": privileges }))
        .collect();
    Ok(Reply::json(200, &if rows.is_empty() { json!({}) } else { json!({ "privilege_assignments": rows }) }))
}

pub(super) fn effective(world: &World, caller: &Caller, call: &Call, kind: &str, name: &str) -> Answer {
    let (kind, name) = securable(world, kind, name)?;
    let of = call.asked("principal");
    if !caller.admin && of != Some(&caller.name) {
        return Err(denied("Only one's own effective permissions can be read."));
    }
    let mut rows: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for (from_kind, from_name) in lineage(&kind, &name) {
        let grants = world.account.grants.get(&(from_kind.clone(), from_name.clone())).into_iter().flatten();
        for (principal, privileges) in grants.filter(|(principal, _)| of.is_none_or(|of| of == principal.as_str())) {
            for privilege in privileges {
                let mut row = json!({ "privilege": privilege });
                if from_name != name {
                    row["inherited_from_type"] = from_kind.to_uppercase().into();
                    row["inherited_from_name"] = from_name.clone().into();
                }
                rows.entry(principal).or_default().push(row);
            }
        }
    }
    let rows: Vec<Value> =
        rows.into_iter().map(|(principal, privileges)| json!({ "principal": principal, "privileges": privileges })).collect();
    Ok(Reply::json(200, &json!({ "privilege_assignments": rows })))
}

/// Whether a principal may read a table: SELECT on it, USE on what it lies in, each granted there or further up.
pub(super) fn may_select(world: &World, principal: &str, table: &[String; 3]) -> bool {
    let [catalog, schema, _] = table;
    let schema = format!("{catalog}.{schema}");
    let holds = |kind: &str, name: &str, privilege: &str| {
        lineage(kind, name).into_iter().any(|key| {
            let of_group = |grants: &BTreeMap<String, BTreeSet<String>>, who: &str| {
                grants.get(who).is_some_and(|held| held.contains(privilege) || held.contains("ALL_PRIVILEGES"))
            };
            world.account.grants.get(&key).is_some_and(|grants| of_group(grants, principal) || of_group(grants, "account users"))
        })
    };
    holds("catalog", catalog, "USE_CATALOG")
        && holds("schema", &schema, "USE_SCHEMA")
        && holds("table", &table.join("."), "SELECT")
}

fn change(world: &mut World, call: &Call, key: &(String, String)) -> Result<(), Reply> {
    let body = call.object().ok_or_else(malformed)?;
    let changes = body["changes"].as_array().ok_or_else(|| invalid("changes must be a list"))?;
    let mut planned = Vec::new();
    for change in changes {
        let principal = text(change, "principal").ok_or_else(|| invalid("principal is required"))?;
        if world.account.find(principal).is_none() && !principal.contains('@') && principal != "account users" {
            return Err(error(404, "PRINCIPAL_DOES_NOT_EXIST", &format!("Could not find principal with name {principal}")));
        }
        planned.push((principal.to_owned(), privileges(change, "add")?, privileges(change, "remove")?));
    }
    let grants = world.account.grants.entry(key.clone()).or_default();
    for (principal, add, remove) in planned {
        let held = grants.entry(principal).or_default();
        held.extend(add);
        held.retain(|privilege| !remove.contains(privilege));
    }
    Ok(())
}

fn privileges(change: &Value, key: &str) -> Result<Vec<String>, Reply> {
    let names = change[key].as_array().into_iter().flatten();
    names
        .map(|name| {
            let name = name.as_str().unwrap_or_default().to_uppercase().replace(' ', "_");
            if PRIVILEGES.contains(&name.as_str()) {
                Ok(name)
            } else {
                Err(invalid(&format!("Privilege {name} is not applicable")))
            }
        })
        .collect()
}

fn securable(world: &World, kind: &str, name: &str) -> Result<(String, String), Reply> {
    let kind = kind.to_lowercase();
    let depth = match kind.as_str() {
        "catalog" => 1,
        "schema" => 2,
        "table" => 3,
        _ => return Err(invalid(&format!("Unsupported securable type '{kind}'"))),
    };
    let key = (kind, name.to_owned());
    if name.split('.').count() == depth && world.account.grants.contains_key(&key) {
        return Ok(key);
    }
    let kind = key.0.to_uppercase();
    Err(error(404, &format!("{kind}_DOES_NOT_EXIST"), &format!("{kind} '{name}' does not exist.")))
}

/// The securable and everything it lies in, innermost first.
fn lineage(kind: &str, name: &str) -> Vec<(String, String)> {
    let parts: Vec<&str> = name.split('.').collect();
    let kinds = ["catalog", "schema", "table"];
    let depth = kinds.iter().position(|&known| known == kind).map_or(0, |at| at + 1).min(parts.len());
    (1..=depth).rev().map(|depth| (kinds[depth - 1].to_owned(), parts[..depth].join("."))).collect()
}

/// Whether a principal may use SQL at all; a permission on a warehouse alone does not do.
pub(super) fn entitled(principal: &Principal) -> bool {
    ["databricks-sql-access", "workspace-consume", "workspace-access"].iter().any(|name| principal.entitlements.contains(*name))
}

const PRIVILEGES: [&str; 8] =
    ["USE_CATALOG", "USE_SCHEMA", "SELECT", "BROWSE", "MODIFY", "EXECUTE", "READ_VOLUME", "ALL_PRIVILEGES"];
