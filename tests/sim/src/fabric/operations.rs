//! Long-running operations: a 202 names one, its state is asked for with status 200 whatever it is, and its result is there
//! once it has succeeded. Only who started it may ask.

use serde_json::json;

use super::connections::status;
use super::{error, not_found};
use crate::clock::later;
use crate::powerbi::Operation;
use crate::wire::{Answer, Reply};
use crate::world::World;

/// Starts a test of a connection. `Location` names the public host and leaves out `/v1`, as the official example does.
pub(super) fn start(world: &mut World, caller: &str, source: &str) -> Reply {
    let id = world.rng.uuid().to_string();
    let done = later(world.now, world.settings.connection_test_time);
    let operation = Operation { caller: caller.to_owned(), source: source.to_owned(), started: world.now, done };
    world.bi.operations.insert(id.clone(), operation);
    Reply::empty(202)
        .with("location", format!("https://api.fabric.microsoft.com/operations/{id}"))
        .with("x-ms-operation-id", id)
        .with("retry-after", RETRY_AFTER_SECONDS.to_string())
}

pub(super) fn state(world: &World, caller: &str, id: &str) -> Answer {
    let operation = own(world, caller, id)?;
    let is_done = world.now >= operation.done;
    let body = json!({
        "status": if is_done { "Succeeded" } else { "Running" },
        "createdTimeUtc": operation.started.to_string(),
        "lastUpdatedTimeUtc": world.now.to_string(),
        "percentComplete": if is_done { 100 } else { 50 },
    });
    Ok(Reply::json(200, &body).with("retry-after", RETRY_AFTER_SECONDS.to_string()))
}

pub(super) fn result(world: &mut World, caller: &str, id: &str) -> Answer {
    let operation = own(world, caller, id)?;
    if world.now < operation.done {
        return Err(error(400, "OperationHasNoResult", "The operation has no result yet"));
    }
    let source = operation.source.clone();
    status(world, &source)
}

fn own<'a>(world: &'a World, caller: &str, id: &str) -> Result<&'a Operation, Reply> {
    world.bi.operations.get(id).filter(|operation| operation.caller == caller).ok_or_else(not_found)
}

const RETRY_AFTER_SECONDS: u64 = 2;
