//! Sign-ins without a secret: certificates and pods that Entra trusts, the platform's own endpoint for managed identities,
//! federation policies of Databricks, and roles on the Azure resource of a workspace.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::entra;
use crate::token::Claims;
use crate::wire::{Answer, Call, Reply};
use crate::world::World;

/// What others are believed without a secret.
#[derive(Default)]
pub(crate) struct Trust {
    /// Certificates of Entra applications, by client id: public key and thumbprint.
    certificates: BTreeMap<String, (Vec<u8>, String)>,
    /// Assertions that were shown once.
    shown: BTreeSet<String>,
    /// Pods whose service account stands for an Entra application, by client id.
    pods: BTreeSet<String>,
    /// Managed identities of the resource that asks: client id and object id; the first is the system's where it has one.
    identities: Vec<(String, String)>,
    system_assigned: bool,
    policies: Vec<Policy>,
    /// Entra applications with a role on the Azure resource of the workspaces.
    contributors: BTreeSet<String>,
}

/// Whose tokens the account takes for a principal's.
struct Policy {
    issuer: String,
    subject: String,
    audience: String,
    application_id: String,
}

/// Whoever calls the platform's endpoint shows this.
pub const IDENTITY_HEADER: &str = "853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a";

const POD_ISSUER: &str = "https://oidc.cluster.example/4f2a";
const POD_SUBJECT: &str = "system:serviceaccount:lakekey:lakekey";
const POD_AUDIENCE: &str = "api://AzureADTokenExchange";

impl Cloud {
    /// An admin uploads a certificate to an Entra application: the certificate itself and its public key, both DER.
    pub fn upload_certificate(&self, client_id: &str, certificate: &[u8], public_key: &[u8]) {
        let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, certificate));
        self.lock().trust.certificates.insert(client_id.to_owned(), (public_key.to_owned(), thumbprint));
    }

    /// Lets a pod's service account stand for an Entra application; gives the token that the cluster puts into its file.
    pub fn trust_pod(&self, client_id: &str) -> String {
        self.lock().trust.pods.insert(client_id.to_owned());
        self.foreign_token(POD_ISSUER, POD_SUBJECT, POD_AUDIENCE)
    }

    /// Gives the resource that lakekey runs on a managed identity, system-assigned or user-assigned.
    pub fn assign_identity(&self, client_id: &str, object_id: &str, system: bool) {
        let mut world = self.lock();
        world.trust.identities.push((client_id.to_owned(), object_id.to_owned()));
        world.trust.system_assigned |= system;
    }

    /// An account admin trusts tokens of another issuer for a service principal.
    pub fn add_federation_policy(&self, issuer: &str, subject: &str, audience: &str, application_id: &str) {
        let own = str::to_owned;
        let policy =
            Policy { issuer: own(issuer), subject: own(subject), audience: own(audience), application_id: own(application_id) };
        self.lock().trust.policies.push(policy);
    }

    /// A token of another issuer, good for an hour.
    pub fn foreign_token(&self, issuer: &str, subject: &str, audience: &str) -> String {
        let mut world = self.lock();
        let claims = Claims {
            aud: audience.to_owned(),
            iss: issuer.to_owned(),
            appid: String::new(),
            oid: subject.to_owned(),
            scope: String::new(),
            iat: world.now.as_second(),
            exp: world.now.as_second() + 3600,
            jti: 0,
        };
        world.tokens.issue(claims)
    }

    /// Gives an Entra application a role on the Azure resource of the workspaces, and takes its membership away.
    pub fn make_contributor(&self, client_id: &str) -> String {
        let mut world = self.lock();
        world.trust.contributors.insert(client_id.to_owned());
        if let Some(principal) = world.account.find_mut(client_id) {
            principal.workspaces.clear();
        }
        resource_id(&world)
    }
}

/// What proves an Entra application that shows no secret: a JWT signed with the key of its certificate, or a pod's token.
pub(crate) fn check_assertion(
    world: &mut World,
    endpoint: &str,
    client_id: &str,
    form: &BTreeMap<String, String>,
) -> Result<(), Reply> {
    let refused = |code, text: &str| Err(entra::refusal(401, "invalid_client", code, text));
    let kind = form.get("client_assertion_type").map(String::as_str);
    let Some(assertion) = form.get("client_assertion").filter(|_| kind == Some(JWT_BEARER)) else {
        return refused(7_000_218, "The request body must contain 'client_assertion' or 'client_secret'.");
    };
    if world.trust.pods.contains(client_id)
        && let Some(claims) = world.tokens.read(assertion)
    {
        let fits = claims.iss == POD_ISSUER && claims.oid == POD_SUBJECT && claims.aud == POD_AUDIENCE;
        return match fits && claims.seconds_left(world.now) > 0 {
            true => Ok(()),
            false => refused(700_213, "No matching federated identity record found for presented assertion."),
        };
    }
    let Some((key, thumbprint)) = world.trust.certificates.get(client_id) else {
        return refused(700_027, "The certificate with identifier used to sign the client assertion is not registered.");
    };
    let Some((header, claims)) = verified(assertion, key) else {
        return refused(700_027, "Client assertion contains an invalid signature.");
    };
    let text = |name: &str| claims[name].as_str().unwrap_or_default();
    let time = |name: &str| claims[name].as_i64().unwrap_or_default();
    let now = world.now.as_second();
    let fits = header["x5t#S256"].as_str() == Some(thumbprint)
        && text("iss") == client_id
        && text("sub") == client_id
        && text("aud") == endpoint
        && (time("nbf") - 300..time("exp")).contains(&now)
        && time("exp") - time("nbf") <= 86_400;
    // An id may be shown once.
    match fits && !text("jti").is_empty() && world.trust.shown.insert(text("jti").to_owned()) {
        true => Ok(()),
        false => refused(700_024, "Client assertion is not within its valid time range, or not for this endpoint."),
    }
}

fn verified(jwt: &str, key: &[u8]) -> Option<(Value, Value)> {
    let (signed, signature) = jwt.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let read = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    let header = read(header).filter(|header| header["alg"] == "PS256")?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key).verify(signed.as_bytes(), &signature).ok()?;
    Some((header, read(claims)?))
}

/// `GET /metadata/identity/oauth2/token` of a virtual machine, `GET /msi/token` of App Service and Functions.
pub(crate) fn managed_identity(world: &mut World, call: &Call, app_service: bool) -> Answer {
    let refused = |error: &str, text: &str| Reply::json(400, &json!({ "error": error, "error_description": text }));
    let shown = match app_service {
        true => call.header("x-identity-header") == Some(IDENTITY_HEADER),
        false => call.header("metadata") == Some("true"),
    };
    if !shown {
        return Err(refused("unauthorized", "The required header is missing or wrong."));
    }
    if call.asked("api-version") != Some("2019-08-01") {
        return Err(refused("bad_request_102", "The api-version is not supported."));
    }
    let resource = call.asked("resource").ok_or_else(|| refused("invalid_resource", "A resource is required."))?.to_owned();
    let identities = &world.trust.identities;
    let found = match call.asked("client_id") {
        Some(id) => identities.iter().find(|(client_id, _)| client_id == id),
        None => identities.first().filter(|_| world.trust.system_assigned),
    };
    let Some((client_id, object_id)) = found.cloned() else {
        return Err(refused("invalid_request", "Identity not found"));
    };
    let (token, life) = entra::issue(world, &client_id, &object_id, &resource);
    // Numbers are text here, and how long it lasts is not said.
    let expires_on = (world.now.as_second() + life).to_string();
    Ok(Reply::json(
        200,
        &json!({
            "access_token": token, "expires_on": expires_on, "resource": resource, "token_type": "Bearer", "client_id": client_id,
        }),
    ))
}

/// `grant_type=urn:ietf:params:oauth:grant-type:token-exchange` at Databricks: the principal whom a policy names.
pub(crate) fn exchanged(world: &World, form: &BTreeMap<String, String>) -> Result<String, Reply> {
    let refused = |error: &str, text: &str| Reply::json(400, &json!({ "error": error, "error_description": text }));
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if field("subject_token_type") != "urn:ietf:params:oauth:token-type:jwt" {
        return Err(refused("invalid_request", "Unsupported subject_token_type"));
    }
    let claims = world.tokens.read(field("subject_token")).filter(|claims| claims.seconds_left(world.now) > 0);
    let claims = claims.ok_or_else(|| refused("invalid_grant", "Invalid or expired subject token"))?;
    let policy = world.trust.policies.iter().find(|policy| {
        let wanted = form.get("client_id").is_none_or(|id| *id == policy.application_id);
        wanted && policy.issuer == claims.iss && policy.subject == claims.oid && policy.audience == claims.aud
    });
    let policy = policy.ok_or_else(|| refused("invalid_grant", "No federation policy matches the subject token"))?;
    Ok(policy.application_id.clone())
}

/// Whether somebody who is no member of a workspace may use it all the same, for a role on its Azure resource.
pub(crate) fn may_manage(world: &World, call: &Call, name: &str) -> bool {
    let management = call.header("x-databricks-azure-sp-management-token").and_then(|token| world.tokens.read(token));
    let shown =
        management.is_some_and(|claims| claims.appid == name && claims.aud == MANAGEMENT && claims.seconds_left(world.now) > 0);
    let resource = call.header("x-databricks-azure-workspace-resource-id");
    shown && resource == Some(resource_id(world).as_str()) && world.trust.contributors.contains(name)
}

fn resource_id(world: &World) -> String {
    let subscription = &world.account.id;
    format!("/subscriptions/{subscription}/resourceGroups/lake/providers/Microsoft.Databricks/workspaces/sales")
}

/// What Entra issues tokens for beyond Power BI, Fabric and Databricks.
pub(crate) const MANAGEMENT: &str = "https://management.core.windows.net/";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
