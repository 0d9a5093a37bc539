//! Events of Event Grid: an object, or that in a string or in a list, in either schema. Microsoft's own pages differ in the case of
//! its fields, so case does not count.

use lakekey_core::error::Error;
use serde_json::{Map, Value};

use crate::envelope::{find, unwrapped};

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its type, fit to be shown.
    pub(crate) kind: String,
    /// The secret that expires, if that is what it says.
    pub(crate) expiring: Option<VaultSecret>,
}

/// Where a secret is in Key Vault.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct VaultSecret {
    pub(crate) vault: String,
    pub(crate) name: String,
}

/// The events of a payload.
pub(crate) fn events(payload: &Value) -> Result<Vec<Event>, Error> {
    match payload.as_array() {
        Some(items) if items.is_empty() || items.len() > EVENTS_MAX => Err(malformed()),
        Some(items) => items.iter().map(|item| event(&unwrapped(item))).collect(),
        None => Ok(vec![event(payload)?]),
    }
}

fn event(value: &Value) -> Result<Event, Error> {
    let Value::Object(event) = value else { return Err(malformed()) };
    let kind = text(event, "eventType").or_else(|| text(event, "type")).ok_or_else(malformed)?;
    let expires = EXPIRING.iter().any(|known| known.eq_ignore_ascii_case(kind));
    let expiring = expires.then(|| secret(event)).flatten();
    Ok(Event { kind: kind.chars().filter(|c| !c.is_control()).take(KIND_CHARS_MAX).collect(), expiring })
}

/// The fields of its data, else the secret's address in there, else the envelope's own.
fn secret(event: &Map<String, Value>) -> Option<VaultSecret> {
    let data = find(event, "data").map(unwrapped);
    let data = data.as_ref().and_then(Value::as_object);
    let address = data.and_then(|data| text(data, "Id")).and_then(|id| id.split_once("://")).map(|(_, rest)| rest);
    let of_address = |at: usize| address.and_then(|address| address.split('/').nth(at));
    let vault = data
        .and_then(|data| text(data, "VaultName"))
        .or_else(|| of_address(0).and_then(|host| host.split('.').next()))
        .or_else(|| text(event, "topic").or_else(|| text(event, "source")).and_then(|topic| topic.rsplit('/').next()))?;
    let name = data.and_then(|data| text(data, "ObjectName")).or_else(|| of_address(2)).or_else(|| text(event, "subject"))?;
    let is_name = |text: &str| {
        !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    (is_name(vault) && is_name(name)).then(|| VaultSecret { vault: vault.to_owned(), name: name.to_owned() })
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    find(object, name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn malformed() -> Error {
    Error::usage("bad-event", "what Event Grid has sent is no event").hint("subscribe `nearexpiry` to events of Key Vault only")
}

const EXPIRING: [&str; 2] = ["Microsoft.KeyVault.SecretNearExpiry", "Microsoft.KeyVault.SecretExpired"];
/// A trigger of cardinality one gives one; a few more do no harm.
const EVENTS_MAX: usize = 100;
const KIND_CHARS_MAX: usize = 100;
/// Of the name of a secret in Key Vault.
const NAME_BYTES_MAX: usize = 127;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn expiring(event: &Value) -> Option<(String, String)> {
        let [event] = <[Event; 1]>::try_from(events(event).unwrap()).unwrap();
        event.expiring.map(|secret| (secret.vault, secret.name))
    }

    #[test]
    fn a_secret_is_found_in_every_spelling() {
        let found = Some(("kv-sales".to_owned(), "sales-bi".to_owned()));
        let id = "https://kv-sales.vault.azure.net/secrets/sales-bi/0123";
        for data in [
            json!({ "Id": id, "VaultName": "kv-sales", "ObjectType": "Secret", "ObjectName": "sales-bi", "NBF": null, "EXP": 1_559_082_102 }),
            json!({ "Id": id, "vaultName": "kv-sales", "objectName ": "sales-bi", "nbf": "1559081980" }),
            json!({ "id": id }),
            json!(json!({ "id": id }).to_string()),
        ] {
            for kind in ["SecretNearExpiry", "SecretExpired"] {
                let event =
                    json!({ "id": "1", "eventType": format!("Microsoft.KeyVault.{kind}"), "subject": "sales-bi", "data": data });
                assert_eq!(expiring(&event), found, "{event}");
                assert_eq!(expiring(&json!([event])), found);
                assert_eq!(expiring(&json!([event.to_string()])), found);
            }
        }
        let cloud_event = json!({ "specversion": "1.0", "type": "Microsoft.KeyVault.SecretNearExpiry", "subject": "sales-bi",
            "source": "/subscriptions/s/resourceGroups/r/providers/Microsoft.KeyVault/vaults/kv-sales" });
        assert_eq!(expiring(&cloud_event), found);
    }

    #[test]
    fn other_events_are_told_from_what_is_none() {
        for kind in ["Microsoft.KeyVault.SecretNewVersionCreated", "Microsoft.KeyVault.KeyNearExpiry", "x"] {
            let event = json!({ "eventType": kind, "subject": "sales-bi", "data": { "VaultName": "kv-sales", "ObjectName": "sales-bi" } });
            assert_eq!(events(&event).unwrap(), [Event { kind: kind.to_owned(), expiring: None }]);
        }
        for payload in [json!(null), json!("text"), json!([]), json!([1]), json!({}), json!({ "eventType": 1 })] {
            assert_eq!(events(&payload).unwrap_err().code(), "bad-event", "{payload}");
        }
        let hostile = json!({ "eventType": EXPIRING[0], "data": { "VaultName": "kv/../other", "ObjectName": "sales-bi" } });
        assert_eq!(expiring(&hostile), None);
    }
}
