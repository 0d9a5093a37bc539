//! Writing a data source's credential (facts §1.2). Strict: every required field, no unknown values, the right algorithm
//! for the kind, only those who may; then the service connects with the credential before it keeps it.

use serde_json::Value;

use super::{Credential, Details, Home, Source, error, not_authorized, not_found, pipeline_error};
use crate::connect;
use crate::wire::{Answer, Call, Reply, text};
use crate::world::World;

pub(super) fn patch(world: &mut World, caller: &str, call: &Call, gateway: &str, id: &str) -> Answer {
    let source = world.bi.sources.get(id).filter(|source| source.gateway == gateway).ok_or_else(not_found)?.clone();
    let body = call.object().ok_or_else(|| bad("the body is not a JSON object"))?;
    let asked = Asked::read(&body)?;
    may_write(world, caller, &source)?;
    super::gateways::reached(world, &source)?;
    let plain = match source.home {
        Home::OnPremises => opened(world, &source, &asked)?,
        Home::PersonalCloud | Home::ShareableCloud if asked.sealed => {
            return Err(bad("encryptionAlgorithm must be None for a cloud data source"));
        }
        Home::PersonalCloud | Home::ShareableCloud => asked.credentials.clone(),
        Home::VirtualNetwork => return Err(pipeline_error(400, "DM_GWPipeline_UnsupportedGatewayType", "")),
    };
    if asked.caller_identity && matches!(source.details, Details::Databricks { .. }) {
        return Err(bad("useCallerAADIdentity is not supported for extension data sources"));
    }
    let credential = credential_data(&asked.kind, &plain).map_err(|why| bad(&why))?;
    let delay = match connect::attempt(world, &source.details, &credential) {
        Ok(delay) => delay,
        Err(why) => return Err(pipeline_error(400, "DM_GWPipeline_Gateway_InvalidConnectionCredentials", &why)),
    };
    let now = world.now;
    if let Some(source) = world.bi.sources.get_mut(id) {
        source.credential = credential;
        source.privacy = asked.privacy;
        source.sso = asked.sso;
        source.encryption = asked.encryption;
        source.writes += 1;
        source.written_at = Some(now);
        let source = source.clone();
        world.written(&source, Some(caller));
    }
    Ok(Reply::empty(200).after(delay))
}

fn may_write(world: &World, caller: &str, source: &Source) -> Result<(), Reply> {
    let allowed = if source.home.is_cloud() {
        world.bi.users_of(&source.id).any(|dataset| dataset.owner == caller)
    } else {
        world.bi.gateways.get(&source.gateway).is_some_and(|gateway| gateway.admins.contains(caller))
    };
    if allowed { Ok(()) } else { Err(not_authorized(403)) }
}

/// What the gateway itself reads out of the sealed text, with the key of its first member.
fn opened(world: &World, source: &Source, asked: &Asked) -> Result<String, Reply> {
    let key = world.bi.gateways.get(&source.gateway).and_then(|gateway| gateway.members.first()).map(|member| member.key);
    let plain = if asked.sealed { key.and_then(|key| key.open(&asked.credentials)) } else { None };
    let plain = plain.and_then(|bytes| String::from_utf8(bytes).ok());
    plain.ok_or_else(|| pipeline_error(400, "DM_GWPipeline_Gateway_DecryptionError", "the credentials could not be decrypted"))
}

/// `{"credentialData":[{"name":…,"value":…},…]}` with exactly the names that the type has.
pub(crate) fn credential_data(kind: &str, plain: &str) -> Result<Credential, String> {
    let parsed: Value = serde_json::from_str(plain).map_err(|_| "credentials is not JSON".to_owned())?;
    let outer = parsed.as_object().filter(|outer| outer.len() == 1).and_then(|outer| outer.get("credentialData"));
    let list = outer.and_then(Value::as_array).ok_or("credentials must hold credentialData alone")?;
    let value = |name: &str| {
        let mut found = list.iter().filter(|entry| text(entry, "name") == Some(name));
        let value = found.next().and_then(|entry| text(entry, "value")).filter(|value| !value.is_empty());
        value.filter(|_| found.next().is_none()).map(str::to_owned).ok_or_else(|| format!("credentialData needs one {name}"))
    };
    let (credential, names) = match kind {
        "Basic" => (Credential::Basic { username: value("username")?, password: value("password")? }, 2),
        "Key" => (Credential::Key(value("key")?), 1),
        _ => return Err(format!("credentialType {kind} is not supported here")),
    };
    if list.len() == names { Ok(credential) } else { Err("credentialData has a name too many".to_owned()) }
}

struct Asked {
    credentials: String,
    kind: String,
    encryption: String,
    sealed: bool,
    privacy: String,
    sso: bool,
    caller_identity: bool,
}

impl Asked {
    fn read(body: &Value) -> Result<Self, Reply> {
        let outer = body.as_object().filter(|outer| outer.len() == 1);
        let details = outer.and_then(|outer| outer.get("credentialDetails")).filter(|details| details.is_object());
        let details = details.ok_or_else(|| bad("credentialDetails alone is required"))?;
        for key in details.as_object().into_iter().flat_map(serde_json::Map::keys) {
            if !KEYS.contains(&key.as_str()) {
                return Err(bad(&format!("unknown property {key}")));
            }
        }
        let word = |key: &str, known: &[&str]| {
            let given = text(details, key).ok_or_else(|| bad(&format!("{key} is required")))?;
            if known.is_empty() || known.contains(&given) {
                Ok(given.to_owned())
            } else {
                Err(bad(&format!("{key} {given} is unknown")))
            }
        };
        let flag = |key: &str| match details.get(key) {
            None => Ok(false),
            Some(given) => given.as_bool().ok_or_else(|| bad(&format!("{key} must be a boolean"))),
        };
        Ok(Self {
            credentials: word("credentials", &[])?,
            kind: word("credentialType", &["Basic", "Windows", "Anonymous", "OAuth2", "Key", "SAS"])?,
            encryption: word("encryptedConnection", &["Encrypted", "NotEncrypted"])?,
            sealed: word("encryptionAlgorithm", &["None", "RSA-OAEP"])? == "RSA-OAEP",
            privacy: word("privacyLevel", &["None", "Public", "Organizational", "Private"])?,
            sso: flag("useEndUserOAuth2Credentials")?,
            caller_identity: flag("useCallerAADIdentity")?,
        })
    }
}

fn bad(message: &str) -> Reply {
    error(400, "BadRequest", message)
}

const KEYS: [&str; 7] = [
    "credentials",
    "credentialType",
    "encryptedConnection",
    "encryptionAlgorithm",
    "privacyLevel",
    "useCallerAADIdentity",
    "useEndUserOAuth2Credentials",
];
