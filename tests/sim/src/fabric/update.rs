//! Writing a connection's credential: plaintext for cloud and virtual network, one ciphertext for each member of an
//! on-premises cluster. What the body leaves out stays as it was; the service connects before it keeps anything.

use serde_json::{Value, json};

use super::connections::{shown, visible};
use super::{error, not_found};
use crate::connect;
use crate::powerbi::{Credential, Gateway, Home, Source, credential_data};
use crate::wire::{Answer, Call, Reply, text};
use crate::world::World;

pub(super) fn patch(world: &mut World, caller: &str, call: &Call, id: &str) -> Answer {
    let source = visible(world, caller, id)?.clone();
    let administers = world.bi.gateways.get(&source.gateway).is_some_and(|gateway| gateway.admins.contains(caller));
    if !administers && source.shared_with.get(caller) != Some(&true) {
        let text = "The caller does not have sufficient permissions to manage the connection";
        return Err(error(403, "InsufficientPermissionsToManageConnection", text));
    }
    let body = call.object().ok_or_else(|| invalid("the body is not a JSON object"))?;
    known_keys(
        &body,
        &["connectivityType", "privacyLevel", "displayName", "credentialDetails", "allowConnectionUsageInGateway"],
    )?;
    if text(&body, "connectivityType") != Some(source.connectivity()) {
        return Err(invalid("connectivityType is required and cannot be changed"));
    }
    let mut new = source;
    if let Some(level) = word(&new, &body, "privacyLevel", &["None", "Private", "Organizational", "Public"])? {
        new.privacy = level;
    }
    let mut reply_after = std::time::Duration::ZERO;
    if let Some(details) = body.get("credentialDetails") {
        known_keys(details, &["singleSignOnType", "connectionEncryption", "skipTestConnection", "credentials"])?;
        if let Some(kind) = word(&new, details, "singleSignOnType", SSO)? {
            new.sso = kind != "None";
        }
        if let Some(encryption) = word(&new, details, "connectionEncryption", &["Encrypted", "Any", "NotEncrypted"])? {
            new.encryption = encryption;
        }
        if let Some(credentials) = details.get("credentials") {
            reached(world, &new)?;
            new.credential = credential(world, &new, credentials)?;
            new.writes += 1;
            new.written_at = Some(world.now);
            if details["skipTestConnection"] != json!(true) {
                reply_after = connect::attempt(world, &new.details, &new.credential)
                    .map_err(|why| error(400, "IncorrectCredentials", &why))?;
            }
        }
    }
    let reply = Reply::json(200, &shown(&new)).after(reply_after);
    world.written(&new, Some(caller));
    world.bi.sources.insert(id.to_owned(), new);
    Ok(reply)
}

/// Every member of a cluster must hear of a new credential.
fn reached(world: &World, source: &Source) -> Result<(), Reply> {
    let gateway = world.bi.gateways.get(&source.gateway);
    match gateway.and_then(|gateway| gateway.members.iter().find(|member| !member.online)) {
        Some(member) => Err(error(400, "UpdateGatewayConnectionFailed", &format!("member {} cannot be reached", member.name))),
        None => Ok(()),
    }
}

fn credential(world: &World, source: &Source, given: &Value) -> Result<Credential, Reply> {
    let kind = text(given, "credentialType").ok_or_else(|| invalid("credentialType is required"))?;
    if source.home == Home::OnPremises {
        let gateway = world.bi.gateways.get(&source.gateway).ok_or_else(not_found)?;
        return sealed(gateway, kind, given);
    }
    let value = |key: &str| {
        text(given, key)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
            .ok_or_else(|| invalid(&format!("{key} is required")))
    };
    match kind {
        "Basic" => {
            known_keys(given, &["credentialType", "username", "password"])?;
            Ok(Credential::Basic { username: value("username")?, password: value("password")? })
        }
        "Key" => {
            known_keys(given, &["credentialType", "key"])?;
            Ok(Credential::Key(value("key")?))
        }
        _ => Err(error(400, "UnsupportedCredentialType", "The credential type is not supported for this connection")),
    }
}

/// Every member must be able to read its own ciphertext, and all must read the same.
fn sealed(gateway: &Gateway, kind: &str, given: &Value) -> Result<Credential, Reply> {
    known_keys(given, &["credentialType", "values"])?;
    let values = given["values"].as_array().ok_or_else(|| invalid("values is required"))?;
    if values.len() != gateway.members.len() {
        return Err(invalid("values needs one entry for each member of the gateway"));
    }
    let mut read = Vec::new();
    for member in &gateway.members {
        let entry = values.iter().find(|entry| text(entry, "gatewayId") == Some(&member.id));
        let plain = entry.and_then(|entry| text(entry, "encryptedCredentials")).and_then(|text| member.key.open(text));
        let plain = plain.and_then(|bytes| String::from_utf8(bytes).ok());
        read.push(plain.ok_or_else(|| invalid(&format!("the credentials for member {} cannot be decrypted", member.id)))?);
    }
    read.dedup();
    match read.as_slice() {
        [plain] => credential_data(kind, plain).map_err(|why| invalid(&why)),
        _ => Err(invalid("the members were given different credentials")),
    }
}

/// `None` also where a word newer than the spec is sent back as it was shown: it stays.
fn word(source: &Source, body: &Value, key: &str, known: &[&str]) -> Result<Option<String>, Reply> {
    let Some(given) = body.get(key) else { return Ok(None) };
    if source.shown_as.get(key).is_some_and(|shown| given == shown.as_str()) {
        return Ok(None);
    }
    let given = given.as_str().filter(|given| known.contains(given)).ok_or_else(|| invalid(&format!("{key} is unknown")))?;
    Ok(Some(given.to_owned()))
}

fn known_keys(body: &Value, known: &[&str]) -> Result<(), Reply> {
    let keys = body.as_object().ok_or_else(|| invalid("an object was expected"))?.keys();
    match keys.into_iter().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(invalid(&format!("unknown property {key}"))),
    }
}

fn invalid(message: &str) -> Reply {
    error(400, "InvalidCredentialDetails", message)
}

const SSO: &[&str] =
    &["None", "Kerberos", "MicrosoftEntraID", "SecurityAssertionMarkupLanguage", "KerberosDirectQueryAndRefresh"];
