//! Sessions of the Statement Execution API, as the SQL connector opens them before its first statement. They hold nothing
//! here but the right to be closed.

use serde_json::json;

use super::{Caller, invalid, malformed, missing, no_such_api, statements};
use crate::wire::{Answer, Call, Reply, text};
use crate::world::World;

pub(super) fn answer(world: &mut World, index: usize, caller: &Caller, call: &Call, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("POST", []) => {
            let body = call.object().ok_or_else(malformed)?;
            let warehouse = text(&body, "warehouse_id").ok_or_else(|| invalid("warehouse_id is required"))?;
            statements::may_run(world, index, caller, warehouse)?;
            let id = world.rng.uuid().to_string();
            world.account.workspaces[index].sessions.insert(id.clone(), caller.name.clone());
            Ok(Reply::json(200, &json!({ "session_id": id })))
        }
        ("DELETE", [id]) => {
            let sessions = &mut world.account.workspaces[index].sessions;
            let own = sessions.get(*id).is_some_and(|owner| *owner == caller.name);
            if !own {
                return Err(missing(&format!("The session {id} was not found.")));
            }
            sessions.remove(*id);
            Ok(Reply::json(200, &json!({})))
        }
        _ => Err(no_such_api(call)),
    }
}
