//! Entra ID: client credentials (secret or assertion) for one tenant, v2 and v1 (facts §0 of Power BI, §5.3 of Databricks), with AADSTS errors.

use std::collections::BTreeMap;

use serde_json::json;

use crate::people::{self, Door};
use crate::token::{Claims, DATABRICKS_AUDIENCE, FABRIC_AUDIENCE, POWERBI_AUDIENCE};
use crate::trust;
use crate::wire::{Answer, Call, Reply};
use crate::world::World;

pub(crate) struct Entra {
    pub(crate) tenant: String,
    /// By client id.
    pub(crate) apps: BTreeMap<String, App>,
    /// Tokens issued, by client id and audience.
    pub(crate) issued: BTreeMap<(String, String), u64>,
}

#[derive(Clone)]
pub(crate) struct App {
    /// Of the enterprise app; it is what Power BI and Fabric know the app by.
    pub(crate) object_id: String,
    pub(crate) secret: String,
}

pub(crate) fn answer(world: &mut World, call: &Call) -> Reply {
    let parts = call.parts();
    let result = match (call.method.as_str(), parts.as_slice()) {
        // The address of virtual machines, and that of App Service and Functions.
        ("GET", ["metadata", "identity", "oauth2", "token"]) => trust::managed_identity(world, call, false),
        ("GET", ["msi", "token"]) => trust::managed_identity(world, call, true),
        ("GET", [_, "oauth2", "v2.0", "authorize"]) => people::authorize(world, Door::Entra, call),
        ("POST", [_, "oauth2", "v2.0", "devicecode"]) => people::device_code(world, call),
        // AWS STS has no address of its own here.
        ("POST", ["sts", ..]) => trust::web_identity(world, call),
        ("POST", [tenant, "oauth2", "v2.0", "token"]) => token(world, call, tenant, "scope"),
        ("POST", [tenant, "oauth2", "token"]) => token(world, call, tenant, "resource"),
        _ => Err(Reply::empty(404)),
    };
    match result {
        Ok(reply) | Err(reply) => reply,
    }
}

fn token(world: &mut World, call: &Call, tenant: &str, key: &str) -> Answer {
    let form = call.form().ok_or_else(|| refusal(400, "invalid_request", 900_144, "The request body must be form-encoded."))?;
    let field = |name: &str| {
        let missing = || {
            refusal(400, "invalid_request", 900_144, &format!("The request body must contain the following parameter: '{name}'."))
        };
        form.get(name).cloned().ok_or_else(missing)
    };
    // People may come by an address that names no tenant.
    if tenant != world.entra.tenant && tenant != "organizations" {
        return Err(refusal(400, "invalid_request", 90_002, &format!("Tenant '{tenant}' not found.")));
    }
    if let Some(answer) = people::token(world, Door::Entra, call, &form) {
        return answer;
    }
    if tenant == "organizations" || field("grant_type")? != "client_credentials" {
        return Err(refusal(400, "unsupported_grant_type", 70_003, "The app requested an unsupported grant type."));
    }
    let client_id = field("client_id")?;
    world.caller = Some(client_id.clone());
    let Some(app) = world.entra.apps.get(&client_id).cloned() else {
        let text = format!("Application with identifier '{client_id}' was not found in the directory.");
        return Err(refusal(400, "unauthorized_client", 700_016, &text));
    };
    if form.contains_key("client_assertion") {
        let endpoint = format!("{}/{tenant}/oauth2/v2.0/token", world.addresses.entra);
        trust::check_assertion(world, &endpoint, &client_id, &form)?;
    } else if field("client_secret")? != app.secret {
        return Err(refusal(401, "invalid_client", 7_000_215, "Invalid client secret provided."));
    }
    let asked = field(key)?;
    let audience = if key == "scope" { asked.strip_suffix("/.default") } else { Some(asked.as_str()) };
    let Some(audience) = audience.filter(|audience| AUDIENCES.contains(audience)) else {
        let text = format!("The provided value for the input parameter '{key}' is not valid. The scope {asked} is not valid.");
        return Err(refusal(400, "invalid_scope", 70_011, &text));
    };
    let (token, life) = issue(world, &client_id, &app.object_id, audience);
    // v1 writes its numbers as text.
    let body = if key == "scope" {
        json!({ "token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": token })
    } else {
        let expires_on = (world.now.as_second() + life).to_string();
        json!({ "token_type": "Bearer", "expires_in": life.to_string(), "expires_on": expires_on, "resource": asked, "access_token": token })
    };
    Ok(Reply::json(200, &body))
}

/// A token of an app for an audience, and for how many seconds it is good: one less than was asked for, as it is there.
pub(crate) fn issue(world: &mut World, client_id: &str, object_id: &str, audience: &str) -> (String, i64) {
    let life = i64::try_from(world.settings.token_life.as_secs()).unwrap_or(i64::MAX / 2) - 1;
    let claims = Claims {
        aud: audience.to_owned(),
        iss: format!("https://sts.windows.net/{}/", world.entra.tenant),
        appid: client_id.to_owned(),
        oid: object_id.to_owned(),
        upn: None,
        scope: "all-apis".to_owned(),
        iat: world.now.as_second(),
        exp: world.now.as_second() + life,
        jti: 0,
    };
    *world.entra.issued.entry((client_id.to_owned(), audience.to_owned())).or_default() += 1;
    (world.tokens.issue(claims), life)
}

pub(crate) fn refusal(status: u16, error: &str, code: u32, text: &str) -> Reply {
    let description = format!("AADSTS{code}: {text} Trace ID: 0 Correlation ID: 0");
    let body = json!({ "error": error, "error_description": description, "error_codes": [code], "trace_id": "0", "correlation_id": "0" });
    Reply::json(status, &body)
}

pub(crate) const AUDIENCES: [&str; 6] = [
    DATABRICKS_AUDIENCE,
    POWERBI_AUDIENCE,
    FABRIC_AUDIENCE,
    trust::MANAGEMENT,
    "https://vault.azure.net",
    "https://storage.azure.com",
];
