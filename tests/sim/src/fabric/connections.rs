//! Connections: a list holds only those that the caller has a permission on; an admin of its gateway may read one too.

use serde_json::{Value, json};

use super::{not_found, operations, page};
use crate::connect;
use crate::powerbi::Source;
use crate::wire::{Answer, Call, Reply};
use crate::world::World;

pub(super) fn list(world: &World, caller: &str, call: &Call) -> Answer {
    let seen: Vec<&Source> = world.bi.sources.values().filter(|source| source.shared_with.contains_key(caller)).collect();
    page(world, call, "connections", &seen, |source| shown(source))
}

pub(super) fn get(world: &World, caller: &str, id: &str) -> Answer {
    Ok(Reply::json(200, &shown(visible(world, caller, id)?)))
}

pub(super) fn test(world: &mut World, caller: &str, id: &str) -> Answer {
    visible(world, caller, id)?;
    if world.settings.connection_test_time.is_zero() { status(world, id) } else { Ok(operations::start(world, caller, id)) }
}

/// What a test finds. A connection that does not work is no error.
pub(super) fn status(world: &mut World, id: &str) -> Answer {
    let source = world.bi.sources.get(id).ok_or_else(not_found)?.clone();
    if let Some(word) = source.shown_as.get("status") {
        return Ok(Reply::json(200, &json!({ "status": word })));
    }
    let offline = |code: &str, why: &str| {
        Reply::json(200, &json!({ "status": "Offline", "errors": [{ "errorCode": code, "message": why }] }))
    };
    let gateway = world.bi.gateways.get(&source.gateway);
    if gateway.is_some_and(|gateway| gateway.members.iter().any(|member| !member.online)) {
        return Ok(offline("DM_GWPipeline_Client_GatewayUnreachable", "a member of the gateway cannot be reached"));
    }
    Ok(match connect::attempt(world, &source.details, &source.credential) {
        Ok(delay) => Reply::json(200, &json!({ "status": "Online" })).after(delay),
        Err(why) => offline("IncorrectCredentials", &why),
    })
}

pub(super) fn visible<'a>(world: &'a World, caller: &str, id: &str) -> Result<&'a Source, Reply> {
    let administers =
        |source: &Source| world.bi.gateways.get(&source.gateway).is_some_and(|gateway| gateway.admins.contains(caller));
    let source = world.bi.sources.get(id);
    source.filter(|source| source.shared_with.contains_key(caller) || administers(source)).ok_or_else(not_found)
}

pub(super) fn shown(source: &Source) -> Value {
    let (kind, path) = source.details.of_connection();
    let mut details = json!({
        "singleSignOnType": if source.sso { "MicrosoftEntraID" } else { "None" },
        "connectionEncryption": source.encryption,
        "skipTestConnection": false,
    });
    if let Some(kind) = source.credential.type_name() {
        details["credentialType"] = kind.into();
    }
    let mut body = json!({
        "id": source.id,
        "gatewayId": source.gateway,
        "connectivityType": source.connectivity(),
        "connectionDetails": { "type": kind, "path": path },
        "privacyLevel": source.privacy,
        "credentialDetails": details,
    });
    // Personal connections have no name of their own.
    if source.home != crate::powerbi::Home::PersonalCloud {
        body["displayName"] = source.name.clone().into();
    }
    for (key, word) in &source.shown_as {
        match key.as_str() {
            "singleSignOnType" | "connectionEncryption" | "credentialType" => {
                body["credentialDetails"][key] = word.as_str().into()
            }
            "privacyLevel" => body[key] = word.as_str().into(),
            _ => {}
        }
    }
    body
}
