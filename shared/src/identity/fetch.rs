//! Getting a token, one function per way to sign in. A refused client secret is read again and tried once more: somebody
//! may have rotated it meanwhile.

use std::time::Duration;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::cache::{Life, Token, life};
use super::certificate::Certificate;
use super::tool::{CLI_PATH, Tool};
use super::{Audience, Identities, Inner, azure, claims, federation, person};
use crate::clients::databricks::token;
use crate::clients::entra;
use crate::clients::oauth::TokenAnswer;
use crate::clock::Clock;
use crate::config::env_vars::Environment;
use crate::config::reference::Reference;
use crate::config::{Auth, Endpoints, Identity, PlainOrReference, Proof};
use crate::credential::StoredValue;
use crate::error::Error;
use crate::http::HttpError;
use crate::ids::{CredentialName, Workspace};
use crate::secret::Secret;

/// A fresh token of `identity` for `audience`. Boxed, because it closes a circle: fetching a token sends a request, which may
/// need a token of another identity.
pub(super) fn fetch<'a>(
    identities: &'a Identities,
    identity: &'a Identity,
    audience: &'a Audience,
) -> BoxFuture<'a, Result<Token, Error>> {
    Box::pin(fetch_now(identities, identity, audience))
}

async fn fetch_now(identities: &Identities, identity: &Identity, audience: &Audience) -> Result<Token, Error> {
    let answer = match ask(identities, identity, audience).await? {
        Answer::Fixed(token) => return Ok(token),
        Answer::Issued(Err(error)) if error.code() == Some("invalid_client") => ask(identities, identity, audience).await?,
        answer => answer,
    };
    let issued = match answer {
        Answer::Fixed(token) => return Ok(token),
        Answer::Issued(issued) => issued?,
    };
    check_clock(&issued, identities.0.skew)?;
    let exp = claims::expiry(&issued.value);
    let life = life(&issued, exp);
    Ok(Token { value: issued.value, life })
}

/// Leases, grace and expiry are told by this machine's clock: with one that is wrong by more than the config allows,
/// nothing is begun.
fn check_clock(issued: &TokenAnswer, skew: Duration) -> Result<(), Error> {
    let Some(theirs) = issued.date else { return Ok(()) };
    // The header has whole seconds.
    let allowed = SignedDuration::try_from(skew).unwrap_or(SignedDuration::MAX).saturating_add(SignedDuration::from_secs(1));
    let ahead = issued.asked.duration_since(theirs);
    let behind = theirs.duration_since(issued.received.wall());
    let (by, which) = if ahead >= behind { (ahead, "ahead of") } else { (behind, "behind") };
    if by <= allowed {
        return Ok(());
    }
    let by = by.as_secs();
    Err(Error::failed(
        "clock-wrong",
        format!("this machine's clock is {by} seconds {which} that of the service that signs it in"),
    )
    .hint("set the clock, or raise `state.skew` on every machine that shares this state if clocks cannot be better"))
}

/// What a way to sign in yields.
enum Answer {
    /// A token that comes from no token endpoint of ours.
    Fixed(Token),
    /// What the token endpoint said.
    Issued(Result<TokenAnswer, HttpError>),
}

/// Reads the secret as it is now and asks once.
async fn ask(identities: &Identities, identity: &Identity, audience: &Audience) -> Result<Answer, Error> {
    let inner = &*identities.0;
    let (http, endpoints, environment) = (&*inner.http, &inner.endpoints, inner.sources.secrets.environment());
    let scope = scope(endpoints, audience);
    let issued = |answer| Answer::Issued(Ok(answer));
    Ok(match &identity.auth {
        Auth::Pat { token } => Answer::Fixed(outside(read(identities, token).await?, None, http.clock())),
        Auth::OauthM2m { client_id, client_secret } => {
            let client_id = plain(identities, client_id).await?;
            let secret = read(identities, client_secret).await?;
            Answer::Issued(token::request(http, &databricks_address(inner, audience)?, &client_id, &secret, &[]).await)
        }
        Auth::Credential { name } => {
            let value = kept(inner, name).await?;
            let (client_id, secret) = (value.client_id.as_str(), &value.client_secret);
            Answer::Issued(token::request(http, &databricks_address(inner, audience)?, client_id, secret, &[]).await)
        }
        Auth::DatabricksCli { profile } => {
            let (value, expires) = databricks_cli(environment, profile.as_deref(), audience).await?;
            Answer::Fixed(outside(value, expires, http.clock()))
        }
        Auth::Federation { client_id, from } => {
            let address = databricks_address(inner, audience)?;
            let client_id = optional(identities, client_id.as_ref()).await?;
            let subject = federation::subject(from, &inner.sources, &address).await?;
            Answer::Issued(token::exchange(http, &address, client_id.as_deref(), &subject).await)
        }
        Auth::ExternalBrowser { .. } | Auth::AzurePerson { .. } => issued(person::token(identities, identity, audience).await?),
        Auth::AzureApplication { tenant_id, client_id, proof } => {
            let tenant = tenant(identities, tenant_id.as_ref(), audience).await?;
            let client_id = plain(identities, client_id).await?;
            application(identities, (&tenant, &client_id, proof), scope).await?
        }
        Auth::AzureCli { tenant_id } => {
            let tenant = optional(identities, tenant_id.as_ref()).await?;
            let (value, expires) = azure::cli(environment, tenant.as_deref(), scope).await?;
            Answer::Fixed(outside(value, Some(expires), http.clock()))
        }
        Auth::AzureMsi { client_id } => {
            let client_id = or_variable(identities, client_id.as_ref(), CLIENT_ID).await?;
            issued(azure::managed_identity(http, environment, client_id, scope).await?)
        }
        Auth::AzureWorkloadIdentity { tenant_id, client_id } => {
            workload(identities, tenant_id.as_ref(), client_id.as_ref(), scope).await?
        }
        Auth::AzureDefault { tenant_id, client_id } => {
            if let Some(found) = azure::application(environment)? {
                return application(identities, (&found.tenant, &found.client_id, &found.proof), scope).await;
            }
            if environment.get(TOKEN_FILE).is_some() {
                return workload(identities, tenant_id.as_ref(), client_id.as_ref(), scope).await;
            }
            let tenant = or_variable(identities, tenant_id.as_ref(), TENANT_ID).await?;
            let client_id = or_variable(identities, client_id.as_ref(), CLIENT_ID).await?;
            match azure::search(http, environment, (tenant.as_deref(), client_id), scope).await? {
                azure::Found::Managed(answer) => issued(answer),
                azure::Found::Cli(value, expires) => Answer::Fixed(outside(value, Some(expires), http.clock())),
            }
        }
    })
}

/// An Entra application at its token endpoint.
async fn application(
    identities: &Identities,
    (tenant, client_id, proof): (&str, &str, &Proof),
    scope: &str,
) -> Result<Answer, Error> {
    let Inner { http, endpoints, .. } = &*identities.0;
    let assertion;
    let secret;
    let grant = match proof {
        Proof::Secret(reference) => {
            secret = read(identities, reference).await?;
            entra::Grant::Secret(&secret)
        }
        Proof::Certificate(reference) => {
            let certificate = Certificate::parse(&read(identities, reference).await?)?;
            let endpoint = entra::token_address(&endpoints.entra, tenant);
            let id = http.random().nonce();
            assertion = certificate.assertion(client_id, &endpoint, http.clock().now(), &id)?;
            entra::Grant::Assertion(&assertion)
        }
    };
    Ok(Answer::Issued(entra::token(http, &endpoints.entra, entra::Client { tenant, client_id, grant }, scope).await))
}

async fn workload(
    identities: &Identities,
    tenant_id: Option<&PlainOrReference>,
    client_id: Option<&PlainOrReference>,
    scope: &str,
) -> Result<Answer, Error> {
    let Inner { http, endpoints, sources, .. } = &*identities.0;
    let environment = sources.secrets.environment();
    let tenant = match optional(identities, tenant_id).await? {
        Some(tenant) => tenant,
        None => azure::variable(environment, TENANT_ID)?.to_owned(),
    };
    let client_id = match optional(identities, client_id).await? {
        Some(client_id) => client_id,
        None => azure::variable(environment, CLIENT_ID)?.to_owned(),
    };
    let file = azure::variable(environment, TOKEN_FILE)?;
    let answer = azure::workload_identity(http, endpoints, (tenant, client_id, file), scope).await?;
    Ok(Answer::Issued(Ok(answer)))
}

/// The value that is current of a credential that lakekey keeps.
pub(super) async fn kept(inner: &Inner, name: &CredentialName) -> Result<StoredValue, Error> {
    let unknown = || {
        Error::usage("unknown-credential", format!("the config has no credential `{name}`"))
            .hint("name one of those under `credentials`")
    };
    let location = inner.kept.get(name).ok_or_else(unknown)?;
    let value = inner.sources.storage.store(location)?.current().await?;
    value.ok_or_else(|| {
        Error::failed("secret-missing", format!("credential `{name}` has no value in `{location}` yet"))
            .hint(format!("run `lakekey rotate {name}` first"))
    })
}

#[derive(Deserialize)]
struct CliToken {
    access_token: String,
    expiry: Option<Timestamp>,
}

/// What `databricks auth token` prints: by profile, else by the address of the workspace or account.
async fn databricks_cli(
    environment: &Environment,
    profile: Option<&str>,
    audience: &Audience,
) -> Result<(Secret, Option<Timestamp>), Error> {
    let mut arguments = vec!["auth", "token"];
    match (profile, audience) {
        (Some(profile), _) => arguments.extend(["--profile", profile]),
        (None, Audience::Databricks(workspace)) => arguments.extend(["--host", workspace.base()]),
        (None, Audience::Account(account)) => {
            arguments.extend(["--host", account.host.base(), "--account-id", account.id.as_str()]);
        }
        (None, Audience::PowerBi | Audience::Fabric | Audience::Arm | Audience::KeyVault | Audience::Storage) => {}
    }
    let program = environment.get(CLI_PATH).unwrap_or("databricks");
    let tool = Tool {
        name: "Databricks CLI",
        program,
        arguments: &arguments,
        hint: "install the Databricks CLI 0.207 or newer and run `databricks auth login --host …`",
    };
    let token: CliToken = tool.run(environment).await?;
    Ok((Secret::new(token.access_token), token.expiry))
}

/// A token that somebody else got; one that is a JWT says itself when it expires.
fn outside(value: Secret, expires: Option<Timestamp>, clock: &Clock) -> Token {
    let read = clock.moment();
    let expires = [expires, claims::expiry(&value)].into_iter().flatten().min();
    let life = expires.map(|expires| Life { issued: read.wall(), expires, skew: SignedDuration::ZERO, read });
    Token { value, life }
}

/// The client id that the config gives this identity.
pub(super) async fn client_id(identities: &Identities, identity: &Identity) -> Result<Option<String>, Error> {
    match &identity.auth {
        Auth::Pat { .. } | Auth::DatabricksCli { .. } | Auth::AzureCli { .. } => Ok(None),
        Auth::Credential { name } => kept(&identities.0, name).await.map(|value| Some(value.client_id.to_string())),
        Auth::OauthM2m { client_id, .. } | Auth::AzureApplication { client_id, .. } => {
            plain(identities, client_id).await.map(Some)
        }
        // Of people it is that of the program they sign in through.
        Auth::ExternalBrowser { .. } | Auth::AzurePerson { .. } => Ok(None),
        Auth::Federation { client_id, .. }
        | Auth::AzureMsi { client_id }
        | Auth::AzureWorkloadIdentity { client_id, .. }
        | Auth::AzureDefault { client_id, .. } => optional(identities, client_id.as_ref()).await,
    }
}

pub(super) async fn read(identities: &Identities, reference: &Reference) -> Result<Secret, Error> {
    identities.0.sources.secrets.read(reference, identities).await
}

async fn plain(identities: &Identities, value: &PlainOrReference) -> Result<String, Error> {
    match value {
        PlainOrReference::Plain(text) => Ok(text.clone()),
        PlainOrReference::Reference(reference) => Ok(read(identities, reference).await?.reveal().trim().to_owned()),
    }
}

pub(super) async fn optional(identities: &Identities, value: Option<&PlainOrReference>) -> Result<Option<String>, Error> {
    match value {
        Some(value) => plain(identities, value).await.map(Some),
        None => Ok(None),
    }
}

/// What the config says, else what the environment does.
async fn or_variable(identities: &Identities, value: Option<&PlainOrReference>, name: &str) -> Result<Option<String>, Error> {
    let given = optional(identities, value).await?;
    Ok(given.or_else(|| identities.0.sources.secrets.environment().get(name).map(str::to_owned)))
}

/// The tenant that the config names, else that of the workspace.
pub(super) async fn tenant(
    identities: &Identities,
    tenant_id: Option<&PlainOrReference>,
    audience: &Audience,
) -> Result<String, Error> {
    match tenant_id {
        Some(tenant) => plain(identities, tenant).await,
        None => {
            let inner = &identities.0;
            entra::tenant_of(&inner.http, workspace_of(audience, inner)?, &inner.endpoints.entra).await
        }
    }
}

/// What Entra is asked for.
pub(super) fn scope<'a>(endpoints: &'a Endpoints, audience: &Audience) -> &'a str {
    match audience {
        Audience::Databricks(_) | Audience::Account(_) => entra::DATABRICKS_SCOPE,
        Audience::PowerBi => &endpoints.powerbi_scope,
        Audience::Fabric => &endpoints.fabric_scope,
        Audience::Arm => &endpoints.arm_scope,
        Audience::KeyVault => &endpoints.keyvault_scope,
        Audience::Storage => STORAGE_SCOPE,
    }
}

/// The token endpoint of a workspace or an account.
pub(super) fn databricks_address(inner: &Inner, audience: &Audience) -> Result<String, Error> {
    match audience {
        Audience::Account(account) => Ok(token::account_address(account)),
        Audience::Databricks(_)
        | Audience::PowerBi
        | Audience::Fabric
        | Audience::Arm
        | Audience::KeyVault
        | Audience::Storage => Ok(token::address(workspace_of(audience, inner)?)),
    }
}

fn workspace_of<'a>(audience: &'a Audience, inner: &'a Inner) -> Result<&'a Workspace, Error> {
    match audience {
        Audience::Databricks(workspace) => Ok(workspace),
        Audience::Account(_) | Audience::PowerBi | Audience::Fabric | Audience::Arm | Audience::KeyVault | Audience::Storage => {
            inner.home.as_ref().ok_or_else(|| {
                Error::usage("no-tenant", "the identity names no tenant, and there is no workspace to ask for it")
                    .hint("give the identity a `tenant_id`")
            })
        }
    }
}

/// Blob and queue storage of every cloud.
const STORAGE_SCOPE: &str = "https://storage.azure.com/.default";

const CLIENT_ID: &str = "AZURE_CLIENT_ID";
const TENANT_ID: &str = "AZURE_TENANT_ID";
const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
