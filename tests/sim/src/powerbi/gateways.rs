//! On-premises gateways and their data sources. Only gateway admins see them; cloud sources have no gateway that could be
//! asked for, and virtual network gateways are not served by this API.

use serde_json::{Value, json};

use super::{Gateway, Source, not_authorized, not_found, pipeline_error, value_list};
use crate::connect;
use crate::wire::{Answer, Reply};
use crate::world::World;

pub(super) fn list(world: &World, caller: &str) -> Answer {
    let seen = world.bi.gateways.values().filter(|gateway| !gateway.is_virtual_network() && gateway.admins.contains(caller));
    Ok(value_list(world, "gateways", seen.map(shown).collect()))
}

pub(super) fn get(world: &World, caller: &str, id: &str) -> Answer {
    Ok(Reply::json(200, &shown(administered(world, caller, id)?)))
}

pub(super) fn sources(world: &World, caller: &str, id: &str) -> Answer {
    let gateway = administered(world, caller, id)?;
    let rows = world.bi.sources.values().filter(|source| source.gateway == gateway.id).map(shown_source).collect();
    Ok(value_list(world, "gatewayDatasources", rows))
}

pub(super) fn source(world: &World, caller: &str, gateway: &str, id: &str) -> Answer {
    let mut row = shown_source(readable(world, caller, gateway, id)?);
    row["@odata.context"] = format!("{}/v1.0/myorg/$metadata#gatewayDatasources/$entity", world.addresses.powerbi).into();
    Ok(Reply::json(200, &row))
}

pub(super) fn status(world: &mut World, caller: &str, gateway: &str, id: &str) -> Answer {
    let source = readable(world, caller, gateway, id)?.clone();
    reached(world, &source)?;
    match connect::attempt(world, &source.details, &source.credential) {
        Ok(delay) => Ok(Reply::empty(200).after(delay)),
        Err(why) => Err(pipeline_error(400, "DM_GWPipeline_Gateway_InvalidConnectionCredentials", &why)),
    }
}

/// Power BI speaks to the first member of an on-premises gateway.
pub(super) fn reached(world: &World, source: &Source) -> Result<(), Reply> {
    let first = world.bi.gateways.get(&source.gateway).and_then(|gateway| gateway.members.first());
    match first {
        Some(member) if !member.online => Err(pipeline_error(400, "DM_GWPipeline_Client_GatewayUnreachable", "")),
        Some(_) | None => Ok(()),
    }
}

fn administered<'a>(world: &'a World, caller: &str, id: &str) -> Result<&'a Gateway, Reply> {
    let gateway = world.bi.gateways.get(id).filter(|gateway| !gateway.is_virtual_network()).ok_or_else(not_found)?;
    if gateway.admins.contains(caller) { Ok(gateway) } else { Err(not_authorized(403)) }
}

fn readable<'a>(world: &'a World, caller: &str, gateway: &str, id: &str) -> Result<&'a Source, Reply> {
    let source = world.bi.sources.get(id).filter(|source| source.gateway == gateway);
    let own_cloud = |source: &&Source| {
        world.settings.cloud_sources_readable
            && source.home.is_cloud()
            && world.bi.users_of(id).any(|dataset| dataset.owner == caller)
    };
    if let Some(source) = source.filter(own_cloud) {
        return Ok(source);
    }
    administered(world, caller, gateway)?;
    source.ok_or_else(not_found)
}

fn shown(gateway: &Gateway) -> Value {
    let primary = gateway.members.first().map(|member| member.key.public());
    let (exponent, modulus) = primary.unwrap_or_default();
    json!({
        "id": gateway.id,
        "name": gateway.name,
        "type": "Resource",
        "publicKey": { "exponent": exponent, "modulus": modulus },
        "gatewayAnnotation": json!({ "gatewayVersion": VERSION }).to_string(),
    })
}

fn shown_source(source: &Source) -> Value {
    json!({
        "id": source.id,
        "gatewayId": source.gateway,
        "datasourceName": source.name,
        "datasourceType": source.details.type_name(),
        "connectionDetails": source.details.of_gateway(),
        "credentialType": source.credential.type_name().unwrap_or("Anonymous"),
        "credentialDetails": { "privacyLevel": source.privacy, "useEndUserOAuth2Credentials": source.sso },
    })
}

pub(crate) const VERSION: &str = "3000.230.14";
