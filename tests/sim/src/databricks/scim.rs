//! Service principals over SCIM (facts §1), of a workspace or of the whole account: 1-based `startIndex`, `Resources` with a capital R and absent when empty,
//! quoted filter values, names compared without regard to case, and errors in SCIM's own shape.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Caller, Principal, no_such_api};
use crate::wire::{Answer, Call, Reply, number, text};
use crate::world::World;

pub(super) fn service_principals(world: &mut World, index: Option<usize>, caller: &Caller, call: &Call, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("GET", []) => list(world, index, call),
        ("GET", [id]) => get(world, index, id),
        ("POST", []) if caller.admin => create(world, index, call),
        ("POST", []) => Err(error(403, None, "Only admins can create service principals.")),
        _ => Err(no_such_api(call)),
    }
}

pub(super) fn me(world: &World, index: usize, caller: &Caller) -> Answer {
    let body = match world.account.find(&caller.name) {
        Some(principal) => {
            let mut body = shown(principal);
            body["userName"] = principal.application_id.clone().into();
            body
        }
        None => json!({ "userName": caller.name, "id": format!("{}", 1000 + index), "active": true }),
    };
    Ok(Reply::json(200, &body))
}

/// Whether a principal is one of this workspace's; all are the account's.
fn belongs(principal: &Principal, index: Option<usize>) -> bool {
    index.is_none_or(|index| principal.workspaces.contains(&index))
}

fn list(world: &World, index: Option<usize>, call: &Call) -> Answer {
    let bad = |what: &str| error(400, Some("invalidValue"), what);
    let start = number(call, "startIndex", 1).filter(|&at| at > 0).ok_or_else(|| bad("startIndex is 1-based"))?;
    let count = number(call, "count", 100).ok_or_else(|| bad("count must be a number"))?;
    let filter =
        call.asked("filter").map(|text| parse(text).ok_or_else(|| error(400, Some("invalidFilter"), "The filter is invalid")));
    let filter = filter.transpose()?;
    let known = world.account.principals.values().filter(|principal| belongs(principal, index));
    let found: Vec<_> = known.filter(|principal| filter.as_ref().is_none_or(|filter| filter.matches(principal))).collect();
    let page: Vec<Value> =
        found.iter().skip(start - 1).take(count.min(world.settings.page)).map(|principal| shown(principal)).collect();
    let mut body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": found.len(),
        "startIndex": start,
        "itemsPerPage": page.len(),
    });
    if !page.is_empty() {
        body["Resources"] = Value::Array(page);
    }
    Ok(scim(200, &body))
}

fn get(world: &World, index: Option<usize>, id: &str) -> Answer {
    let found = id.parse().ok().and_then(|id: u64| world.account.principals.get(&id));
    let found = found.filter(|principal| belongs(principal, index));
    found
        .map(|principal| scim(200, &shown(principal)))
        .ok_or_else(|| error(404, None, &format!("ServicePrincipal with id {id} not found.")))
}

fn create(world: &mut World, index: Option<usize>, call: &Call) -> Answer {
    let body = call.object().ok_or_else(|| error(400, Some("invalidSyntax"), "Request is unparsable"))?;
    let is_principal = body["schemas"].as_array().is_some_and(|list| list.iter().any(|schema| schema == SCHEMA));
    let given = text(&body, "applicationId");
    if !is_principal || (given.is_none() && text(&body, "displayName").is_none()) {
        return Err(error(400, Some("invalidValue"), "schemas and displayName or applicationId are required"));
    }
    let entitlements: BTreeSet<String> = body["entitlements"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| text(entry, "value"))
        .map(str::to_owned)
        .collect();
    // The account knows no entitlements.
    let legal = |entitlement: &String| index.is_some() && ENTITLEMENTS.contains(&entitlement.as_str());
    if !entitlements.iter().all(legal) {
        return Err(error(400, Some("invalidValue"), "Unknown entitlement"));
    }
    if let Some(application_id) = given {
        if uuid::Uuid::parse_str(application_id).is_err() {
            return Err(error(400, Some("invalidValue"), "applicationId must be a UUID"));
        }
        // One that the account knows already is added to the workspace; one that is here already is a conflict.
        if let Some(known) = world.account.find_mut(application_id) {
            if !index.is_some_and(|index| known.workspaces.insert(index)) {
                let message = format!("Service principal with application ID {application_id} already exists.");
                return Err(error(409, Some("uniqueness"), &message));
            }
            known.entitlements.extend(entitlements);
            return Ok(scim(201, &shown(known)));
        }
    }
    let id = world.account.principals.keys().max().map_or(1, |last| last + 1);
    let principal = Principal {
        id,
        application_id: given.map_or_else(|| world.rng.uuid().to_string(), str::to_owned),
        display_name: text(&body, "displayName").or(given).unwrap_or_default().to_owned(),
        entra_managed: given.is_some(),
        active: body["active"].as_bool().unwrap_or(true),
        entitlements,
        workspaces: index.into_iter().collect(),
        secrets: Vec::new(),
    };
    let reply = scim(201, &shown(&principal));
    world.account.principals.insert(id, principal);
    Ok(reply)
}

struct Filter {
    attribute: String,
    value: String,
}

impl Filter {
    fn matches(&self, principal: &Principal) -> bool {
        match self.attribute.as_str() {
            "displayname" => principal.display_name.to_lowercase() == self.value.to_lowercase(),
            _ => principal.application_id == self.value,
        }
    }
}

/// `attribute eq "value"`; the value must be quoted, with `\"` and `\\` as its escapes.
fn parse(filter: &str) -> Option<Filter> {
    let (attribute, rest) = filter.trim().split_once(' ')?;
    let quoted = rest.trim_start().strip_prefix("eq ")?.trim();
    let inner = quoted.strip_prefix('"')?;
    let mut value = String::new();
    let mut chars = inner.chars();
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => value.push(chars.next().filter(|&char| char == '"' || char == '\\')?),
            char => value.push(char),
        }
    }
    let attribute = attribute.to_lowercase();
    let known = ["displayname", "applicationid"].contains(&attribute.as_str());
    (known && chars.as_str().is_empty()).then_some(Filter { attribute, value })
}

fn shown(principal: &Principal) -> Value {
    let mut body = json!({
        "schemas": [SCHEMA],
        "id": principal.id.to_string(),
        "applicationId": principal.application_id,
        "displayName": principal.display_name,
        "active": principal.active,
        "entitlements": principal.entitlements.iter().map(|name| json!({ "value": name })).collect::<Vec<_>>(),
    });
    if principal.entra_managed {
        body["externalId"] = principal.application_id.clone().into();
    }
    body
}

fn scim(status: u16, body: &Value) -> Reply {
    Reply::text(status, "application/scim+json", body.to_string())
}

fn error(status: u16, kind: Option<&str>, detail: &str) -> Reply {
    let mut body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "detail": detail,
        "status": status.to_string(),
    });
    if let Some(kind) = kind {
        body["scimType"] = kind.into();
    }
    scim(status, &body)
}

const SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:ServicePrincipal";
const ENTITLEMENTS: [&str; 5] =
    ["allow-cluster-create", "allow-instance-pool-create", "databricks-sql-access", "workspace-access", "workspace-consume"];
