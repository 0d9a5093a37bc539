//! OAuth secrets of a service principal, through the account API or the workspace's proxy of it (facts §2). A create is not
//! idempotent, gives the value once, and knows no label; that is what lakekey exists for.

use std::time::Duration;

use aws_lc_rs::digest;
use serde_json::{Value, json};

use super::{Caller, Minted, Principal, denied, error, invalid, malformed, missing, no_such_api, page};
use crate::clock::{later, written};
use crate::history::Happened;
use crate::settings::CapAnswer;
use crate::wire::{Answer, Call, Reply, number};
use crate::world::{MINTED, World};

pub(super) fn answer(world: &mut World, index: Option<usize>, caller: &Caller, call: &Call, id: &str, rest: &[&str]) -> Answer {
    let id: u64 = id.parse().map_err(|_| invalid(&format!("Could not parse service principal id '{id}' as a number")))?;
    if !caller.admin {
        return Err(denied("Only account admins and workspace admins can manage secrets of a service principal."));
    }
    let belongs = |principal: &Principal| index.is_none_or(|index| principal.workspaces.contains(&index));
    if !world.account.principals.get(&id).is_some_and(belongs) {
        return Err(missing(&format!("Service principal {id} does not exist here.")));
    }
    match (call.method.as_str(), rest) {
        ("GET", []) => list(world, call, id),
        ("POST", []) => create(world, caller, call, id),
        ("DELETE", [secret]) => delete(world, id, secret),
        _ => Err(no_such_api(call)),
    }
}

fn list(world: &World, call: &Call, id: u64) -> Answer {
    let size = number(call, "page_size", 100).filter(|&size| size > 0).ok_or_else(|| invalid("page_size must be positive"))?;
    let rows = world.account.principals[&id]
        .secrets
        .iter()
        .filter(|secret| secret.listed(world.now, &world.settings))
        .map(|secret| shown(secret, false))
        .collect();
    let (rows, next) = page(rows, call.asked("page_token"), size.min(world.settings.page))?;
    let mut body = json!({});
    if !rows.is_empty() {
        body["secrets"] = Value::Array(rows);
    }
    if let Some(next) = next {
        body["next_page_token"] = next.into();
    }
    Ok(Reply::json(200, &body))
}

fn create(world: &mut World, caller: &Caller, call: &Call, id: u64) -> Answer {
    let body = call.object().ok_or_else(malformed)?;
    for key in body.as_object().into_iter().flat_map(serde_json::Map::keys) {
        if key != "lifetime" && key != "scopes" {
            return Err(invalid(&format!("Unknown field '{key}'")));
        }
    }
    let lifetime = lifetime(body.get("lifetime"))?;
    let scopes = scopes(body.get("scopes"))?;
    if world.account.principals[&id].used(world.now, &world.settings) >= world.settings.secret_cap {
        return Err(at_cap(world));
    }
    let secret = mint(world, id, lifetime, scopes, &caller.name);
    Ok(Reply::json(200, &shown(&secret, true)))
}

/// Makes a secret with no question asked; people's hands use it too.
pub(crate) fn mint(world: &mut World, id: u64, lifetime: Duration, scopes: Vec<String>, made_by: &str) -> Minted {
    let rounding = world.settings.lifetime_rounding.as_secs().max(1);
    let lifetime = Duration::from_secs(lifetime.as_secs() / rounding * rounding);
    let secret = Minted {
        id: world.rng.hex(4),
        value: format!("{MINTED}{}", world.rng.hex(2)),
        created: world.now,
        expires: later(world.now, lifetime),
        deleted: None,
        scopes,
        made_by: made_by.to_owned(),
    };
    let Some(principal) = world.account.principals.get_mut(&id) else { return secret };
    principal.secrets.push(secret.clone());
    let what = Happened::Minted {
        secret: secret.id.clone(),
        application_id: principal.application_id.clone(),
        by: made_by.to_owned(),
        expires: secret.expires,
        used: principal.used(world.now, &world.settings),
    };
    world.happened(what);
    secret
}

fn delete(world: &mut World, id: u64, secret: &str) -> Answer {
    let now = world.now;
    let principal = world.account.principals.get_mut(&id);
    let found = principal
        .and_then(|principal| principal.secrets.iter_mut().find(|minted| minted.id == secret && minted.deleted.is_none()));
    let found = found.ok_or_else(|| missing(&format!("Secret {secret} does not exist.")))?;
    found.deleted = Some(now);
    let by = world.caller.clone();
    world.happened(Happened::Deleted { secret: secret.to_owned(), by });
    Ok(Reply::json(200, &json!({})))
}

fn lifetime(given: Option<&Value>) -> Result<Duration, Reply> {
    let Some(given) = given else { return Ok(LONGEST) };
    let text = given.as_str().ok_or_else(|| error(400, "MALFORMED_REQUEST", "Expected a Duration string in 'lifetime'"))?;
    let seconds = text.strip_suffix('s').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let seconds = seconds
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| invalid("Illegal duration format; duration must end with 's'"))?;
    let lifetime = Duration::from_secs(seconds);
    if lifetime.is_zero() || lifetime > LONGEST {
        return Err(invalid("The lifetime must be positive and at most 730 days"));
    }
    Ok(lifetime)
}

fn scopes(given: Option<&Value>) -> Result<Vec<String>, Reply> {
    let Some(given) = given else { return Ok(Vec::new()) };
    let texts =
        given.as_array().map(|list| list.iter().map(|scope| scope.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>());
    texts.flatten().ok_or_else(|| invalid("scopes must be a list of strings"))
}

fn at_cap(world: &World) -> Reply {
    let message = format!("The service principal has reached the limit of {} secrets.", world.settings.secret_cap);
    match world.settings.cap_answer {
        CapAnswer::LimitExceeded => error(400, "RESOURCE_LIMIT_EXCEEDED", &message),
        CapAnswer::Exhausted => error(429, "RESOURCE_EXHAUSTED", &message),
    }
}

fn shown(secret: &Minted, with_value: bool) -> Value {
    let hash = digest::digest(&digest::SHA256, secret.value.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut body = json!({
        "id": secret.id,
        "secret_hash": hash,
        "status": "ACTIVE",
        "create_time": written(secret.created),
        "update_time": written(secret.created),
        "expire_time": written(secret.expires),
    });
    if !secret.scopes.is_empty() {
        body["scopes"] = json!(secret.scopes);
    }
    if with_value {
        body["secret"] = secret.value.clone().into();
    }
    body
}

/// 730 days, the default as well as the maximum.
const LONGEST: Duration = Duration::from_secs(63_072_000);
