//! SQL warehouses as their callers see them (facts §3): a list holds only those the caller has a right on.

use serde_json::{Value, json};

use super::{Caller, Warehouse, denied, invalid, missing, no_such_api, page};
use crate::wire::{Answer, Call, Reply, number};
use crate::world::{World, host_of};

pub(super) fn answer(world: &mut World, index: usize, caller: &Caller, call: &Call, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("GET", []) => list(world, index, caller, call),
        ("GET", [id]) => {
            let warehouse = visible(world, index, caller, id)?;
            Ok(Reply::json(200, &shown(world, index, warehouse)))
        }
        ("POST", [id, "start"]) => {
            visible(world, index, caller, id)?;
            let (now, settings) = (world.now, world.settings.clone());
            if let Some(warehouse) = world.account.workspaces[index].warehouses.get_mut(*id) {
                warehouse.start(now, &settings);
            }
            Ok(Reply::json(200, &json!({})))
        }
        _ => Err(no_such_api(call)),
    }
}

fn list(world: &World, index: usize, caller: &Caller, call: &Call) -> Answer {
    let size = number(call, "page_size", 100).filter(|&size| size > 0).ok_or_else(|| invalid("page_size must be positive"))?;
    let seen = world.account.workspaces[index].warehouses.values().filter(|warehouse| sees(caller, warehouse));
    let rows: Vec<Value> = seen.map(|warehouse| shown(world, index, warehouse)).collect();
    let (rows, next) = page(rows, call.asked("page_token"), size.min(world.settings.page))?;
    let mut body = json!({ "warehouses": rows });
    if let Some(next) = next {
        body["next_page_token"] = next.into();
    }
    Ok(Reply::json(200, &body))
}

fn visible<'a>(world: &'a World, index: usize, caller: &Caller, id: &str) -> Result<&'a Warehouse, Reply> {
    let found = world.account.workspaces[index].warehouses.get(id);
    let warehouse = found.ok_or_else(|| missing(&format!("Warehouse {id} does not exist.")))?;
    if sees(caller, warehouse) {
        Ok(warehouse)
    } else {
        Err(denied(&format!("{} does not have permission on warehouse {id}.", caller.name)))
    }
}

fn sees(caller: &Caller, warehouse: &Warehouse) -> bool {
    caller.admin || warehouse.level(&caller.name).is_some()
}

fn shown(world: &World, index: usize, warehouse: &Warehouse) -> Value {
    let hostname = host_of(&world.account.workspaces[index].base);
    let path = format!("/sql/1.0/warehouses/{}", warehouse.id);
    json!({
        "id": warehouse.id,
        "name": warehouse.name,
        "cluster_size": "2X-Small",
        "state": warehouse.state(world.now),
        "auto_stop_mins": 10,
        "warehouse_type": "PRO",
        "enable_serverless_compute": true,
        "num_clusters": 1,
        "jdbc_url": format!("jdbc:spark://{hostname}/default;transportMode=http;ssl=1;AuthMech=3;httpPath={path};"),
        "health": { "status": "HEALTHY" },
        "odbc_params": { "hostname": hostname, "path": path, "port": 443, "protocol": "https" },
    })
}
