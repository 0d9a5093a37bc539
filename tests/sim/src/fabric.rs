//! Fabric's platform API below `/v1` (facts §3): the data sources of Power BI as connections, and gateways with all their
//! members. Dispatch, sign-in, paging and the error dialect are here.

mod connections;
mod gateways;
mod operations;
mod update;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::token::FABRIC_AUDIENCE;
use crate::wire::{Answer, Call, Reply};
use crate::world::World;

pub(crate) fn answer(world: &mut World, call: &Call) -> Reply {
    match route(world, call) {
        Ok(reply) | Err(reply) => reply,
    }
}

fn route(world: &mut World, call: &Call) -> Answer {
    let caller = sign_in(world, call)?;
    let parts = call.parts();
    match (call.method.as_str(), parts.as_slice()) {
        ("GET", ["v1", "connections"]) => connections::list(world, &caller, call),
        ("GET", ["v1", "connections", id]) => connections::get(world, &caller, id),
        ("PATCH", ["v1", "connections", id]) => update::patch(world, &caller, call, id),
        ("POST", ["v1", "connections", id, "testConnection"]) => connections::test(world, &caller, id),
        ("GET", ["v1", "operations", id]) => operations::state(world, &caller, id),
        ("GET", ["v1", "operations", id, "result"]) => operations::result(world, &caller, id),
        ("GET", ["v1", "gateways"]) => gateways::list(world, &caller, call),
        ("GET", ["v1", "gateways", id]) => gateways::get(world, &caller, id),
        ("GET", ["v1", "gateways", id, "members"]) => gateways::members(world, &caller, call, id),
        _ => Err(error(404, "EndpointNotFound", "The requested endpoint was not found")),
    }
}

/// The object id of the caller.
fn sign_in(world: &mut World, call: &Call) -> Result<String, Reply> {
    let refused = || error(401, "Unauthorized", "The caller is not authenticated");
    let token = call.bearer().ok_or_else(refused)?;
    let claims = world.tokens.read(token).filter(|claims| claims.aud == FABRIC_AUDIENCE).ok_or_else(refused)?;
    if claims.seconds_left(world.now) <= 0 {
        return Err(error(401, "TokenExpired", "Access token has expired, resubmit with a new access token"));
    }
    // People are known by their names.
    let me = claims.upn.unwrap_or(claims.oid);
    world.caller = Some(claims.appid);
    if let Some(seconds) = world.throttle(call.service, &me) {
        return Err(
            error(429, "RequestBlocked", "Request is blocked by the upstream service").with("retry-after", seconds.to_string())
        );
    }
    if world.bi.kept_from_fabric.contains(&me) {
        let text = "The caller does not have sufficient permissions on Fabric APIs: the tenant setting is off";
        return Err(error(403, "InsufficientPrivileges", text));
    }
    Ok(me)
}

/// One page. The token is given percent-encoded already, and the URI names the public host, wherever this runs: who sends
/// a token after it has lost it.
fn page<T>(world: &World, call: &Call, collection: &str, all: &[T], shown: impl Fn(&T) -> Value) -> Answer {
    let bad = || error(400, "InvalidParameter", "The continuation token is invalid");
    let start: usize = match call.asked("continuationToken") {
        None => 0,
        Some(token) => STANDARD.decode(token).ok().and_then(|raw| String::from_utf8(raw).ok()?.parse().ok()).ok_or_else(bad)?,
    };
    let end = start + world.settings.page;
    let more = all.len() > end;
    let rows: Vec<Value> = all.iter().skip(start).take(world.settings.page).map(shown).collect();
    let mut body = json!({ "value": rows });
    if more {
        let token = utf8_percent_encode(&STANDARD.encode(end.to_string()), NON_ALPHANUMERIC).to_string();
        body["continuationUri"] = format!("https://api.fabric.microsoft.com/v1/{collection}?continuationToken={token}").into();
        body["continuationToken"] = token.into();
    }
    Ok(Reply::json(200, &body))
}

fn error(status: u16, code: &str, message: &str) -> Reply {
    let body = json!({ "requestId": "00000000-0000-0000-0000-000000000000", "errorCode": code, "message": message });
    Reply::json(status, &body)
}

fn not_found() -> Reply {
    error(404, "EntityNotFound", "The requested resource could not be found")
}
