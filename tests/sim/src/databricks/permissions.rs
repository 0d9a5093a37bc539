//! Permissions of a warehouse (facts §3). PATCH merges, PUT replaces everything direct; requests are flat, answers nested.
//! A PATCH sets the level it names, be it lower than the present one.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Caller, Level, Who, denied, invalid, malformed, missing, no_such_api};
use crate::wire::{Answer, Call, Reply, text};
use crate::world::World;

pub(super) fn answer(world: &mut World, index: usize, caller: &Caller, call: &Call, id: &str) -> Answer {
    let warehouse = world.account.workspaces[index].warehouses.get(id);
    let warehouse = warehouse.ok_or_else(|| missing(&format!("Warehouse {id} does not exist.")))?;
    if !caller.admin && warehouse.level(&caller.name) < Some(Level::CanManage) {
        return Err(denied(&format!("{} does not have Manage permissions on warehouse {id}.", caller.name)));
    }
    let new = match call.method.as_str() {
        "GET" => None,
        "PATCH" => {
            let mut acl = warehouse.acl.clone();
            acl.extend(asked(world, index, call)?);
            Some(acl)
        }
        "PUT" => Some(asked(world, index, call)?),
        _ => return Err(no_such_api(call)),
    };
    if let (Some(acl), Some(warehouse)) = (new, world.account.workspaces[index].warehouses.get_mut(id)) {
        warehouse.acl = acl;
    }
    Ok(Reply::json(200, &shown(world, index, id)))
}

fn asked(world: &World, index: usize, call: &Call) -> Result<BTreeMap<Who, Level>, Reply> {
    let body = call.object().ok_or_else(malformed)?;
    body["access_control_list"].as_array().into_iter().flatten().map(|entry| one(world, index, entry)).collect()
}

fn one(world: &World, index: usize, entry: &Value) -> Result<(Who, Level), Reply> {
    let who = match (text(entry, "user_name"), text(entry, "group_name"), text(entry, "service_principal_name")) {
        (Some(name), None, None) => Who::User(name.to_owned()),
        (None, Some(name), None) => Who::Group(name.to_owned()),
        (None, None, Some(name)) => Who::Principal(name.to_owned()),
        _ => return Err(invalid("Exactly one of user_name, group_name and service_principal_name must be given")),
    };
    if let Who::Principal(name) = &who {
        let known = world.account.find(name).is_some_and(|principal| principal.workspaces.contains(&index));
        if !known {
            return Err(missing(&format!("Principal: ServicePrincipalName({name}) does not exist")));
        }
    }
    let level =
        text(entry, "permission_level").and_then(level).ok_or_else(|| invalid("permission_level is missing or unknown"))?;
    Ok((who, level))
}

fn level(name: &str) -> Option<Level> {
    [Level::CanView, Level::CanMonitor, Level::CanUse, Level::CanManage, Level::IsOwner]
        .into_iter()
        .find(|&level| written(level) == name)
}

fn written(level: Level) -> &'static str {
    match level {
        Level::CanView => "CAN_VIEW",
        Level::CanMonitor => "CAN_MONITOR",
        Level::CanUse => "CAN_USE",
        Level::CanManage => "CAN_MANAGE",
        Level::IsOwner => "IS_OWNER",
    }
}

fn shown(world: &World, index: usize, id: &str) -> Value {
    let workspace = &world.account.workspaces[index];
    let direct = workspace.warehouses.get(id).into_iter().flat_map(|warehouse| &warehouse.acl);
    let mut entries: Vec<Value> = direct
        .map(|(who, &level)| {
            let permissions = json!([{ "permission_level": written(level), "inherited": false }]);
            match who {
                Who::User(name) => json!({ "user_name": name, "display_name": name, "all_permissions": permissions }),
                Who::Group(name) => json!({ "group_name": name, "all_permissions": permissions }),
                Who::Principal(name) => {
                    let display = world.account.find(name).map(|principal| principal.display_name.as_str());
                    json!({ "service_principal_name": name, "display_name": display, "all_permissions": permissions })
                }
            }
        })
        .collect();
    entries.push(json!({
        "group_name": "admins",
        "all_permissions": [{ "permission_level": "CAN_MANAGE", "inherited": true, "inherited_from_object": ["/sql/warehouses/"] }],
    }));
    json!({ "object_id": format!("/sql/warehouses/{id}"), "object_type": "warehouses", "access_control_list": entries })
}
