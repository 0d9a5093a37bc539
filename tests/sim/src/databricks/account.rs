//! The account console (facts §1, §2, §5.1): principals, their secrets and who belongs to which workspace, for account
//! admins alone. Being an admin of a workspace counts for nothing here, and the other way round.

use serde_json::{Value, json};

use super::{Caller, assignments, denied, error, identify, invalid, missing, no_such_api, oauth, scim, secrets};
use crate::people::{self, Door};
use crate::wire::{Answer, Call, Reply};
use crate::world::World;

pub(crate) fn answer(world: &mut World, call: &Call) -> Reply {
    match route(world, call) {
        Ok(reply) | Err(reply) => reply,
    }
}

/// Who issues the account's own tokens.
pub(crate) fn issuer(world: &World) -> String {
    format!("{}/oidc/accounts/{}", world.addresses.account, world.account.id)
}

fn route(world: &mut World, call: &Call) -> Answer {
    let parts = call.parts();
    let id = world.account.id.to_string();
    if let ("POST", ["oidc", "accounts", account, "v1", "token"]) = (call.method.as_str(), parts.as_slice()) {
        if *account != id {
            return Err(Reply::json(404, &json!({ "error": "not_found", "error_description": "no such account" })));
        }
        let issuer = issuer(world);
        return oauth::issue(world, None, call, (id, issuer));
    }
    if let ("GET", ["oidc", "accounts", account, "v1", "authorize"]) = (call.method.as_str(), parts.as_slice())
        && *account == id
    {
        return people::authorize(world, Door::Account, call);
    }
    let caller = sign_in(world, call)?;
    let ["api", "2.0", "accounts", account, rest @ ..] = parts.as_slice() else { return Err(no_such_api(call)) };
    if *account != id {
        return Err(missing(&format!("Account {account} does not exist.")));
    }
    match rest {
        ["scim", "v2", "ServicePrincipals", rest @ ..] => scim::service_principals(world, None, &caller, call, rest),
        ["servicePrincipals", id, "credentials", "secrets", rest @ ..] => secrets::answer(world, None, &caller, call, id, rest),
        ["workspaces", workspace, "permissionassignments", rest @ ..] => {
            let org_id: u64 = workspace.parse().map_err(|_| invalid("workspace_id must be a number"))?;
            let index = world.account.workspaces.iter().position(|workspace| workspace.org_id == org_id);
            let index = index.ok_or_else(|| missing(&format!("Workspace {org_id} does not exist.")))?;
            assignments::answer(world, index, &caller, call, rest)
        }
        _ => Err(no_such_api(call)),
    }
}

fn sign_in(world: &mut World, call: &Call) -> Result<Caller, Reply> {
    let Some(token) = call.bearer() else {
        let body: Value =
            json!({ "error_code": 401, "message": "Credential was not sent or was of an unsupported type for this API." });
        return Err(Reply::json(401, &body));
    };
    let (name, scope) = identify(world, None, token)?;
    world.caller = Some(name.clone());
    if !world.account.find(&name).is_some_and(|principal| principal.active) {
        return Err(denied(&format!("{name} is not a member of this account.")));
    }
    if let Some(seconds) = world.throttle(call.service, &name) {
        let reply = error(429, "REQUEST_LIMIT_EXCEEDED", "Current request has to be retried later");
        return Err(reply.with("retry-after", seconds.to_string()));
    }
    let admin = world.account.admins.contains(&name);
    if !admin {
        return Err(denied("Only account admins can do this."));
    }
    Ok(Caller { name, admin, scope })
}
