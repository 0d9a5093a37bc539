//! Host metadata, OAuth discovery and the token endpoint of a workspace (facts §5.1, §5.2).

use serde_json::json;

use super::{ALL, Principal};
use crate::people::{self, Door};
use crate::token::Claims;
use crate::trust;
use crate::wire::{Answer, Call, Reply};
use crate::world::World;

pub(super) fn host_metadata(world: &World, index: usize) -> Reply {
    let workspace = &world.account.workspaces[index];
    let body = json!({
        "oidc_endpoint": format!("{}/oidc", workspace.base),
        "account_id": world.account.id,
        "workspace_id": workspace.org_id.to_string(),
        "cloud": "Azure",
        "host_type": "workspace",
    });
    Reply::json(200, &body)
}

pub(super) fn endpoints(world: &World, index: usize) -> Reply {
    let base = &world.account.workspaces[index].base;
    let body = json!({
        "issuer": format!("{base}/oidc"),
        "authorization_endpoint": format!("{base}/oidc/v1/authorize"),
        "token_endpoint": format!("{base}/oidc/v1/token"),
    });
    Reply::json(200, &body)
}

pub(super) fn tenant_redirect(world: &World) -> Reply {
    let place = format!("{}/{}/oauth2/authorize?response_type=code", world.addresses.entra, world.entra.tenant);
    Reply::empty(302).with("location", place)
}

pub(super) fn token(world: &mut World, index: usize, call: &Call) -> Answer {
    let workspace = &world.account.workspaces[index];
    let (audience, issuer) = (workspace.org_id.to_string(), format!("{}/oidc", workspace.base));
    issue(world, Some(index), call, (audience, issuer))
}

/// For a principal of this workspace, or of the account.
pub(super) fn issue(world: &mut World, index: Option<usize>, call: &Call, (aud, iss): (String, String)) -> Answer {
    let form = call.form().ok_or_else(|| refusal(400, "invalid_request", "The body must be form-encoded"))?;
    if let Some(answer) = people::token(world, index.map_or(Door::Account, Door::Workspace), call, &form) {
        return answer;
    }
    let scope = form.get("scope").map_or(ALL, String::as_str).to_owned();
    let client_id = match form.get("grant_type").map(String::as_str) {
        Some("client_credentials") => client_of(world, index, call, &scope)?,
        Some("urn:ietf:params:oauth:grant-type:token-exchange") => {
            let client_id = trust::exchanged(world, &form)?;
            world.caller = Some(client_id.clone());
            client_id
        }
        _ => return Err(refusal(400, "unsupported_grant_type", "The grant type is not served here")),
    };
    let life = world.settings.token_life.as_secs();
    let claims = Claims {
        aud,
        iss,
        appid: client_id.clone(),
        oid: client_id,
        upn: None,
        scope: scope.clone(),
        iat: world.now.as_second(),
        exp: world.now.as_second() + i64::try_from(life).unwrap_or(i64::MAX / 2),
        jti: 0,
    };
    let token = world.tokens.issue(claims);
    Ok(Reply::json(200, &json!({ "access_token": token, "token_type": "Bearer", "expires_in": life, "scope": scope })))
}

/// The principal whose secret the request shows.
fn client_of(world: &mut World, index: Option<usize>, call: &Call, scope: &str) -> Result<String, Reply> {
    let (client_id, value) = call.basic().ok_or_else(|| refusal(401, "invalid_client", "Client authentication failed"))?;
    world.caller = Some(client_id.clone());
    let belongs = |principal: &&Principal| principal.active && index.is_none_or(|index| principal.workspaces.contains(&index));
    let known = world.account.find(&client_id).filter(belongs);
    let secret = known
        .and_then(|principal| principal.secrets.iter().find(|secret| secret.value == value))
        .filter(|secret| secret.accepted(world.now, &world.settings))
        .ok_or_else(|| refusal(401, "invalid_client", "Client authentication failed"))?;
    let allowed = |asked: &str| secret.scopes.is_empty() || secret.scopes.iter().any(|scope| scope == asked || scope == ALL);
    if scope.is_empty() || !scope.split(' ').all(allowed) {
        return Err(refusal(400, "invalid_scope", "The scope goes beyond that of the secret"));
    }
    Ok(client_id)
}

fn refusal(status: u16, error: &str, description: &str) -> Reply {
    Reply::json(status, &json!({ "error": error, "error_description": description }))
}
