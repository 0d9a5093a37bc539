//! Gateways of both kinds, and the members of a cluster with a public key each.

use serde_json::{Value, json};

use super::{error, not_found, page};
use crate::powerbi::{Gateway, GatewayKey};
use crate::wire::{Answer, Call, Reply};
use crate::world::World;

pub(super) fn list(world: &World, caller: &str, call: &Call) -> Answer {
    let seen: Vec<&Gateway> = world.bi.gateways.values().filter(|gateway| gateway.admins.contains(caller)).collect();
    page(world, call, "gateways", &seen, |gateway| shown(gateway))
}

pub(super) fn get(world: &World, caller: &str, id: &str) -> Answer {
    Ok(Reply::json(200, &shown(administered(world, caller, id)?)))
}

pub(super) fn members(world: &World, caller: &str, call: &Call, id: &str) -> Answer {
    let gateway = administered(world, caller, id)?;
    if gateway.is_virtual_network() {
        return Err(error(400, "GatewayNotSupported", "The gateway has no members that could be listed"));
    }
    page(
        world,
        call,
        &format!("gateways/{id}/members"),
        &gateway.members,
        |member| json!({ "id": member.id, "displayName": member.name, "publicKey": key(member.key), "version": VERSION, "enabled": member.enabled }),
    )
}

fn administered<'a>(world: &'a World, caller: &str, id: &str) -> Result<&'a Gateway, Reply> {
    world.bi.gateways.get(id).filter(|gateway| gateway.admins.contains(caller)).ok_or_else(not_found)
}

fn shown(gateway: &Gateway) -> Value {
    match gateway.members.first() {
        None => json!({
            "id": gateway.id,
            "type": "VirtualNetwork",
            "displayName": gateway.name,
            "capacityId": gateway.id,
            "virtualNetworkAzureResource": {
                "subscriptionId": gateway.id, "resourceGroupName": "bi", "virtualNetworkName": "bi-net", "subnetName": "gateways",
            },
            "inactivityMinutesBeforeSleep": 30,
            "numberOfMemberGateways": 1,
        }),
        Some(primary) => json!({
            "id": gateway.id,
            "type": "OnPremises",
            "displayName": gateway.name,
            "publicKey": key(primary.key),
            "version": VERSION,
            "numberOfMemberGateways": gateway.members.len(),
            "loadBalancingSetting": "Failover",
            "allowCloudConnectionRefresh": false,
            "allowCustomConnectors": false,
        }),
    }
}

fn key(key: GatewayKey) -> Value {
    let (exponent, modulus) = key.public();
    json!({ "exponent": exponent, "modulus": modulus })
}

const VERSION: &str = "3000.230.14";
