//! Who of the account belongs to a workspace (docs.databricks.com, "Workspace Permission Assignments"). PUT sets what a
//! principal is there, an admin made a user included; an empty list takes it out.

use serde_json::{Value, json};

use super::{Caller, Principal, denied, malformed, missing, no_such_api};
use crate::wire::{Answer, Call, Reply};
use crate::world::World;

pub(super) fn answer(world: &mut World, index: usize, caller: &Caller, call: &Call, rest: &[&str]) -> Answer {
    if !caller.admin {
        return Err(denied("Only account admins and workspace admins can assign principals."));
    }
    match (call.method.as_str(), rest) {
        ("GET", []) => {
            let all = world.account.principals.values().filter(|principal| principal.workspaces.contains(&index));
            let rows: Vec<Value> = all.map(|principal| shown(world, index, principal)).collect();
            Ok(Reply::json(200, &json!({ "permission_assignments": rows })))
        }
        ("PUT", ["principals", id]) => put(world, index, call, id),
        _ => Err(no_such_api(call)),
    }
}

fn put(world: &mut World, index: usize, call: &Call, id: &str) -> Answer {
    let body = call.object().ok_or_else(malformed)?;
    let asked = |name: &str| body["permissions"].as_array().into_iter().flatten().any(|permission| permission == name);
    let unknown = || missing(&format!("Principal {id} does not exist in this account."));
    let number: u64 = id.parse().map_err(|_| unknown())?;
    let principal = world.account.principals.get_mut(&number).ok_or_else(unknown)?;
    if asked("USER") || asked("ADMIN") {
        principal.workspaces.insert(index);
        // Whoever belongs to a workspace is in its group `users`, which has this by default.
        principal.entitlements.insert("databricks-sql-access".to_owned());
    } else {
        principal.workspaces.remove(&index);
    }
    let name = principal.application_id.clone();
    let admins = &mut world.account.workspaces[index].admins;
    if asked("ADMIN") {
        admins.insert(name)
    } else {
        admins.remove(&name)
    };
    let principal = world.account.principals.get(&number).ok_or_else(unknown)?;
    Ok(Reply::json(200, &shown(world, index, principal)))
}

fn shown(world: &World, index: usize, principal: &Principal) -> Value {
    let admin = world.account.workspaces[index].admins.contains(&principal.application_id);
    json!({
        "principal": {
            "principal_id": principal.id,
            "service_principal_name": principal.application_id,
            "display_name": principal.display_name,
        },
        "permissions": [if admin { "ADMIN" } else { "USER" }],
    })
}
