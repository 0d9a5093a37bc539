//! The Databricks side: one account, its workspaces, and the REST APIs of a workspace that a rotation needs. Dispatch,
//! sign-in and the error dialect are here; each API has its own file.

mod account;
mod assignments;
mod catalog;
mod oauth;
mod permissions;
mod scim;
mod scopes;
mod secrets;
mod state;
mod statements;
mod warehouses;

use serde_json::json;

pub(crate) use account::answer as account;
pub(crate) use secrets::mint;
pub use state::Level;
pub(crate) use state::{Account, Minted, Principal, Warehouse, Who, Workspace};

use crate::token::DATABRICKS_AUDIENCE;
use crate::trust;
use crate::wire::{Answer, Call, Reply};
use crate::world::World;

/// Who is asking, once signed in.
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) admin: bool,
    scope: String,
}

pub(crate) fn answer(world: &mut World, index: usize, call: &Call) -> Reply {
    let reply = match route(world, index, call) {
        Ok(reply) | Err(reply) => reply,
    };
    reply.with("x-databricks-org-id", world.account.workspaces[index].org_id.to_string())
}

fn route(world: &mut World, index: usize, call: &Call) -> Answer {
    let parts = call.parts();
    let method = call.method.as_str();
    match (method, parts.as_slice()) {
        ("GET", [".well-known", "databricks-config"]) => return Ok(oauth::host_metadata(world, index)),
        ("GET", ["oidc", ".well-known", "oauth-authorization-server"]) => return Ok(oauth::endpoints(world, index)),
        ("POST", ["oidc", "v1", "token"]) => return oauth::token(world, index, call),
        ("GET", ["aad", "auth"]) => return Ok(oauth::tenant_redirect(world)),
        _ => {}
    }
    let caller = sign_in(world, index, call)?;
    may_use_scope(&caller, &parts)?;
    match parts.as_slice() {
        ["api", "2.0", "preview", "scim", "v2", "Me"] if method == "GET" => scim::me(world, index, &caller),
        ["api", "2.0", "preview", "scim", "v2", "ServicePrincipals", rest @ ..] => {
            scim::service_principals(world, Some(index), &caller, call, rest)
        }
        ["api", "2.0", "accounts", "servicePrincipals", id, "credentials", "secrets", rest @ ..] => {
            secrets::answer(world, Some(index), &caller, call, id, rest)
        }
        ["api", "2.0", "preview", "permissionassignments", rest @ ..] => assignments::answer(world, index, &caller, call, rest),
        ["api", "2.0", "sql", "warehouses", rest @ ..] => warehouses::answer(world, index, &caller, call, rest),
        ["api", "2.0", "sql", "statements", rest @ ..] => statements::answer(world, index, &caller, call, rest),
        ["api", "2.0", "permissions", "warehouses", id] => permissions::answer(world, index, &caller, call, id),
        ["api", "2.1", "unity-catalog", "permissions", kind, name] => catalog::direct(world, &caller, call, kind, name),
        ["api", "2.1", "unity-catalog", "effective-permissions", kind, name] if method == "GET" => {
            catalog::effective(world, &caller, call, kind, name)
        }
        ["api", "2.0", "secrets", rest @ ..] => scopes::answer(world, index, &caller, call, rest),
        _ => Err(no_such_api(call)),
    }
}

fn sign_in(world: &mut World, index: usize, call: &Call) -> Result<Caller, Reply> {
    let Some(token) = call.bearer() else {
        let message = "Credential was not sent or was of an unsupported type for this API.";
        // A number in `error_code` is what this one really has.
        return Err(Reply::json(401, &json!({ "error_code": 401, "message": message })));
    };
    let (name, scope) = identify(world, Some(index), token)?;
    world.caller = Some(name.clone());
    let workspace = &world.account.workspaces[index];
    let manages = trust::may_manage(world, call, &name);
    let admin = manages || workspace.admins.contains(&name);
    let member = world.account.find(&name).is_some_and(|principal| principal.active && principal.workspaces.contains(&index));
    // People sign in with personal access tokens and are no service principals.
    if !member && !manages && !workspace.tokens.contains_key(token) {
        return Err(denied(&format!("{name} is not a member of this workspace.")));
    }
    if let Some(seconds) = world.throttle(call.service, &name) {
        let reply = error(429, "REQUEST_LIMIT_EXCEEDED", "Current request has to be retried later");
        return Err(reply.with("retry-after", seconds.to_string()));
    }
    Ok(Caller { name, admin, scope })
}

/// The name behind a token and what it may be used for, in a workspace or at the account.
fn identify(world: &World, index: Option<usize>, token: &str) -> Result<(String, String), Reply> {
    let workspace = index.map(|index| &world.account.workspaces[index]);
    if let Some(owner) = workspace.and_then(|workspace| workspace.tokens.get(token)) {
        return Ok((owner.clone(), ALL.to_owned()));
    }
    let (own_audience, own_issuer) = match workspace {
        Some(workspace) => (workspace.org_id.to_string(), format!("{}/oidc", workspace.base)),
        None => (world.account.id.to_string(), account::issuer(world)),
    };
    let Some(claims) = world.tokens.read(token) else {
        return Err(error(401, "UNAUTHENTICATED", "Invalid access token."));
    };
    let (audience, issuer) = if claims.iss == own_issuer {
        (own_audience, own_issuer)
    } else {
        (DATABRICKS_AUDIENCE.to_owned(), format!("https://sts.windows.net/{}/", world.entra.tenant))
    };
    for (claim, expected, given) in [("aud", &audience, &claims.aud), ("iss", &issuer, &claims.iss)] {
        if expected != given {
            return Err(wrong_claim(claim, expected, given));
        }
    }
    match claims.seconds_left(world.now) {
        left if left <= 0 => Err(error(401, "UNAUTHENTICATED", "Token is expired.")),
        left if left <= 30 => Err(denied("Token is expiring within 30 seconds. (token expired)")),
        _ => Ok((claims.appid, claims.scope)),
    }
}

/// A token from a scoped secret opens only the APIs of its scopes.
fn may_use_scope(caller: &Caller, parts: &[&str]) -> Result<(), Reply> {
    let open = caller.scope.split(' ').any(|scope| scope == ALL || parts.get(2) == Some(&scope));
    if open { Ok(()) } else { Err(denied("Provided OAuth token does not have required scopes.")) }
}

pub(crate) fn error(status: u16, code: &str, message: &str) -> Reply {
    let details = json!([{ "@type": "type.googleapis.com/google.rpc.RequestInfo", "request_id": "0", "serving_data": "" }]);
    Reply::json(status, &json!({ "error_code": code, "message": message, "details": details }))
}

fn denied(message: &str) -> Reply {
    error(403, "PERMISSION_DENIED", message)
}

fn invalid(message: &str) -> Reply {
    error(400, "INVALID_PARAMETER_VALUE", message)
}

fn missing(message: &str) -> Reply {
    error(404, "RESOURCE_DOES_NOT_EXIST", message)
}

fn malformed() -> Reply {
    error(400, "MALFORMED_REQUEST", "Invalid JSON given in the body of the request - expected a map")
}

fn no_such_api(call: &Call) -> Reply {
    error(404, "ENDPOINT_NOT_FOUND", &format!("No API found for '{} /{}'", call.method, call.path.join("/")))
}

/// Wrong tenants and audiences are answered by the JWT library's exception, in HTML.
fn wrong_claim(claim: &str, expected: &str, given: &str) -> Reply {
    let text = format!("IncorrectClaimException: Expected {claim} claim to be: {expected}, but was: {given}.");
    Reply::text(
        400,
        "text/html;charset=utf-8",
        format!("<html><head><title>Error 400</title></head><body><pre>{text}</pre></body></html>"),
    )
}

/// The rows of one page, and where the next begins if there is one.
fn page<T>(rows: Vec<T>, token: Option<&str>, size: usize) -> Result<(Vec<T>, Option<String>), Reply> {
    let start: usize = match token.filter(|token| !token.is_empty()) {
        None => 0,
        Some(token) => {
            token.strip_prefix("page-").and_then(|at| at.parse().ok()).ok_or_else(|| invalid("Invalid page token."))?
        }
    };
    let more = rows.len() > start + size;
    let rows = rows.into_iter().skip(start).take(size).collect();
    Ok((rows, more.then(|| format!("page-{}", start + size))))
}

const ALL: &str = "all-apis";
