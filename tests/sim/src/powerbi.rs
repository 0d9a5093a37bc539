//! Power BI's REST API below `/v1.0/myorg` (facts §1): dispatch, sign-in and the error dialect. What it keeps (workspaces,
//! datasets, data sources, gateways) is shared with Fabric, which shows the same data sources as connections.

mod datasets;
mod gateways;
mod groups;
mod items;
mod refresh;
mod scanner;
mod seal;
mod state;
mod update;

use serde_json::{Value, json};

pub(crate) use refresh::{Refresh, settle};
pub(crate) use scanner::Scans;
pub use seal::GatewayKey;
pub use state::Role;
pub(crate) use state::{
    Credential, Dataset, Details, Gateway, Group, Home, Item, ItemKind, Member, Operation, PowerBi, Source, Use,
};
pub(crate) use update::credential_data;

use crate::token::POWERBI_AUDIENCE;
use crate::wire::{Answer, Call, Reply};
use crate::world::World;

pub(crate) fn answer(world: &mut World, call: &Call) -> Reply {
    let reply = match route(world, call) {
        Ok(reply) | Err(reply) => reply,
    };
    reply.with("RequestId", world.rng.uuid().to_string())
}

fn route(world: &mut World, call: &Call) -> Answer {
    let caller = sign_in(world, call)?;
    let parts = call.parts();
    let Some(rest) = parts.strip_prefix(&["v1.0", "myorg"]) else {
        return Err(Reply::empty(404));
    };
    match (call.method.as_str(), rest) {
        // "My workspace" is a person's; a service principal has none.
        (_, ["datasets", ..]) => Err(Reply::json(403, &json!({ "Message": "API is not accessible for application" }))),
        ("GET", ["groups"]) => groups::list(world, &caller, call),
        ("GET", ["groups", group, "datasets"]) => datasets::list(world, &caller, group),
        ("GET", ["groups", group, "datasets", dataset]) => datasets::get(world, &caller, group, dataset),
        ("POST", ["groups", group, "datasets", dataset, "Default.TakeOver"]) => {
            datasets::take_over(world, &caller, group, dataset)
        }
        ("GET", ["groups", group, "datasets", dataset, "datasources"]) => datasets::sources(world, &caller, group, dataset),
        ("POST", ["groups", group, "datasets", dataset, "refreshes"]) => refresh::start(world, &caller, call, group, dataset),
        ("GET", ["groups", group, "datasets", dataset, "refreshes"]) => refresh::history(world, &caller, call, group, dataset),
        ("GET", ["groups", group, "datasets", dataset, "refreshes", id]) => refresh::detail(world, &caller, (group, dataset), id),
        ("GET", ["groups", group, "dataflows"]) => items::dataflows(world, &caller, group),
        ("GET", ["groups", group, "reports"]) => items::reports(world, &caller, group),
        ("GET", ["groups", group, kind @ ("dataflows" | "reports"), id, "datasources"]) => {
            items::sources(world, &caller, group, kind, id)
        }
        ("GET", ["admin", "workspaces", "modified"]) => scanner::modified(world, &caller, call),
        ("POST", ["admin", "workspaces", "getInfo"]) => scanner::start(world, &caller, call),
        ("GET", ["admin", "workspaces", "scanStatus", id]) => scanner::status(world, &caller, id),
        ("GET", ["admin", "workspaces", "scanResult", id]) => scanner::result(world, &caller, id),
        ("GET", ["gateways"]) => gateways::list(world, &caller),
        ("GET", ["gateways", gateway]) => gateways::get(world, &caller, gateway),
        ("GET", ["gateways", gateway, "datasources"]) => gateways::sources(world, &caller, gateway),
        ("GET", ["gateways", gateway, "datasources", source]) => gateways::source(world, &caller, gateway, source),
        ("GET", ["gateways", gateway, "datasources", source, "status"]) => gateways::status(world, &caller, gateway, source),
        ("PATCH", ["gateways", gateway, "datasources", source]) => update::patch(world, &caller, call, gateway, source),
        _ => Err(Reply::empty(404)),
    }
}

/// The object id of the caller.
fn sign_in(world: &mut World, call: &Call) -> Result<String, Reply> {
    let token = call.bearer().ok_or_else(|| Reply::empty(401))?;
    let claims = world.tokens.read(token).filter(|claims| claims.aud == POWERBI_AUDIENCE);
    let claims = claims.ok_or_else(|| error(401, "InvalidToken", "The access token is not meant for this service."))?;
    if claims.seconds_left(world.now) <= 0 {
        return Err(error(403, "TokenExpired", "Access token has expired, resubmit with a new access token"));
    }
    // People are known by their names.
    let me = claims.upn.unwrap_or(claims.oid);
    world.caller = Some(claims.appid);
    if let Some(seconds) = world.throttle(call.service, &me) {
        return Err(Reply::empty(429).with("retry-after", seconds.to_string()));
    }
    Ok(me)
}

fn value_list(world: &World, context: &str, rows: Vec<Value>) -> Reply {
    let context = format!("{}/v1.0/myorg/$metadata#{context}", world.addresses.powerbi);
    Reply::json(200, &json!({ "@odata.context": context, "value": rows }))
}

fn error(status: u16, code: &str, message: &str) -> Reply {
    Reply::json(status, &json!({ "error": { "code": code, "message": message } }))
}

/// The shape that errors from behind the gateway pipeline have.
fn pipeline_error(status: u16, code: &str, underlying: &str) -> Reply {
    let details = if underlying.is_empty() {
        json!([])
    } else {
        json!([{ "code": "DM_ErrorDetailNameCode_UnderlyingErrorMessage", "detail": { "type": 1, "value": underlying } }])
    };
    let inner = json!({ "code": code, "parameters": {}, "details": details, "exceptionCulprit": 1 });
    Reply::json(status, &json!({ "error": { "code": code, "pbi.error": inner } }))
}

fn not_found() -> Reply {
    pipeline_error(404, "PowerBIEntityNotFound", "")
}

fn not_authorized(status: u16) -> Reply {
    pipeline_error(status, "PowerBINotAuthorizedException", "")
}
