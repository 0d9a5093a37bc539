//! Secret scopes (facts §4). A put overwrites silently, a get answers base64 or refuses outside a notebook.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Caller, denied, error, invalid, malformed, missing, no_such_api};
use crate::wire::{Answer, Call, Reply, text};
use crate::world::World;

pub(super) fn answer(world: &mut World, index: usize, caller: &Caller, call: &Call, rest: &[&str]) -> Answer {
    if !caller.admin {
        return Err(denied(&format!("{} does not have MANAGE permission on the scope.", caller.name)));
    }
    let body = call.object().ok_or_else(malformed)?;
    match (call.method.as_str(), rest) {
        ("POST", ["scopes", "create"]) => create(world, index, &body),
        ("GET", ["scopes", "list"]) => Ok(list_scopes(world, index)),
        ("POST", ["put"]) => put(world, index, &body),
        ("GET", ["get"]) => get(world, index, call),
        ("GET", ["list"]) => list(world, index, call),
        ("POST", ["delete"]) => delete(world, index, &body),
        _ => Err(no_such_api(call)),
    }
}

fn create(world: &mut World, index: usize, body: &Value) -> Answer {
    let name = named(text(body, "scope"), "scope")?;
    let scopes = &mut world.account.workspaces[index].scopes;
    if scopes.contains_key(name) {
        return Err(error(400, "RESOURCE_ALREADY_EXISTS", &format!("Scope {name} already exists!")));
    }
    scopes.insert(name.to_owned(), BTreeMap::new());
    Ok(Reply::json(200, &json!({})))
}

fn list_scopes(world: &World, index: usize) -> Reply {
    let names = world.account.workspaces[index].scopes.keys();
    let rows: Vec<Value> = names.map(|name| json!({ "name": name, "backend_type": "DATABRICKS" })).collect();
    Reply::json(200, &if rows.is_empty() { json!({}) } else { json!({ "scopes": rows }) })
}

fn put(world: &mut World, index: usize, body: &Value) -> Answer {
    let key = named(text(body, "key"), "key")?;
    let value = match (text(body, "string_value"), text(body, "bytes_value")) {
        (Some(value), None) => value.as_bytes().to_vec(),
        (None, Some(value)) => STANDARD.decode(value).map_err(|_| invalid("bytes_value is not base64"))?,
        _ => return Err(invalid("Exactly one of string_value and bytes_value must be given")),
    };
    if value.len() > VALUE_BYTES_MAX {
        return Err(invalid("The value is longer than 128 KB"));
    }
    let now = world.now;
    scope(world, index, text(body, "scope"))?.insert(key.to_owned(), (value, now));
    Ok(Reply::json(200, &json!({})))
}

fn get(world: &mut World, index: usize, call: &Call) -> Answer {
    if !world.settings.scopes_readable {
        return Err(error(400, "BAD_REQUEST", "This operation is not allowed outside databricks notebooks."));
    }
    let key = call.asked("key").unwrap_or_default();
    let found = scope(world, index, call.asked("scope"))?.get(key).map(|(value, _)| STANDARD.encode(value));
    let value = found.ok_or_else(|| missing(&format!("Secret does not exist with key: {key}")))?;
    Ok(Reply::json(200, &json!({ "key": key, "value": value })))
}

fn list(world: &mut World, index: usize, call: &Call) -> Answer {
    let rows: Vec<Value> = scope(world, index, call.asked("scope"))?
        .iter()
        .map(|(key, (_, at))| json!({ "key": key, "last_updated_timestamp": at.as_millisecond() }))
        .collect();
    Ok(Reply::json(200, &if rows.is_empty() { json!({}) } else { json!({ "secrets": rows }) }))
}

fn delete(world: &mut World, index: usize, body: &Value) -> Answer {
    let key = text(body, "key").unwrap_or_default();
    let gone = scope(world, index, text(body, "scope"))?.remove(key);
    gone.map(|_| Reply::json(200, &json!({}))).ok_or_else(|| missing(&format!("Secret does not exist with key: {key}")))
}

type Scope = BTreeMap<String, (Vec<u8>, jiff::Timestamp)>;

fn scope<'a>(world: &'a mut World, index: usize, name: Option<&str>) -> Result<&'a mut Scope, Reply> {
    let name = name.unwrap_or_default();
    let found = world.account.workspaces[index].scopes.get_mut(name);
    found.ok_or_else(|| missing(&format!("Scope {name} does not exist!")))
}

fn named<'a>(name: Option<&'a str>, what: &str) -> Result<&'a str, Reply> {
    let legal = |name: &&str| {
        (1..=128).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    name.filter(legal).ok_or_else(|| invalid(&format!("The {what} name is missing or has characters that are not allowed")))
}

const VALUE_BYTES_MAX: usize = 128 * 1024;
