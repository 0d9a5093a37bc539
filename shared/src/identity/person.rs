//! People: what their sign-in left behind gets fresh tokens without them. Signing in itself, in a browser or with a device
//! code, is not done here: `lakekey login` does it and keeps the refresh token.

use async_trait::async_trait;
use http::{HeaderValue, header};

use super::{Audience, Identities, fetch};
use crate::clients::databricks::token;
use crate::clients::entra;
use crate::clients::oauth::{self, TokenAnswer};
use crate::config::{Auth, Identity};
use crate::error::Error;
use crate::http::{Effect, Http, HttpError, Service, json};
use crate::ids::IdentityName;
use crate::secret::Secret;

/// Where sign-ins are kept: the keyring of this machine, or a file.
#[async_trait]
pub trait SignIns: Send + Sync {
    /// The sign-in of this key, held against other processes until it is dropped: a refresh token may work only once.
    async fn open(&self, key: &str) -> Result<Box<dyn SignIn>, Error>;
}

/// One sign-in that is held.
#[async_trait]
pub trait SignIn: Send + Sync {
    /// Its refresh token; `None` where nobody has signed in.
    fn refresh_token(&self) -> Option<Secret>;

    /// Keeps another one in its place, whole or not at all.
    async fn keep(&mut self, refresh_token: &Secret) -> Result<(), Error>;
}

/// By which name a sign-in is kept. One at Entra serves every audience; one at Databricks its workspace or account.
pub(super) fn key(identity: &Identity, audience: &Audience) -> String {
    match (&identity.auth, audience) {
        (Auth::ExternalBrowser { .. }, Audience::Databricks(workspace)) => format!("{}@{}", identity.name, workspace.host()),
        (Auth::ExternalBrowser { .. }, Audience::Account(account)) => {
            format!("{}@{}/{}", identity.name, account.host.host(), account.id)
        }
        _ => identity.name.as_str().to_owned(),
    }
}

/// The client through which a person signs in, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonClient {
    /// Whose it is: its error dialect.
    pub service: Service,
    /// Where a browser begins.
    pub authorize_url: String,
    /// Where codes and refresh tokens are redeemed.
    pub token_url: String,
    /// Where a device code is asked for; Databricks has none.
    pub device_url: Option<String>,
    /// The public client.
    pub client_id: String,
    /// What is asked for, space between words.
    pub scopes: String,
}

/// The client of an identity that is a person.
pub(super) async fn client(
    identities: &Identities,
    identity: &Identity,
    audience: &Audience,
) -> Result<Option<PersonClient>, Error> {
    let endpoints = &identities.0.endpoints;
    match &identity.auth {
        Auth::ExternalBrowser { client_id } => {
            let token_url = fetch::databricks_address(&identities.0, audience)?;
            Ok(Some(PersonClient {
                service: Service::Databricks,
                authorize_url: token_url.strip_suffix("token").map(|base| format!("{base}authorize")).unwrap_or_default(),
                token_url,
                device_url: None,
                client_id: fetch::optional(identities, client_id.as_ref())
                    .await?
                    .unwrap_or_else(|| token::PUBLIC_CLIENT_ID.to_owned()),
                scopes: token::PERSON_SCOPES.to_owned(),
            }))
        }
        Auth::AzurePerson { tenant_id, client_id, .. } => {
            let tenant = match (tenant_id, audience) {
                (None, Audience::Databricks(_)) => fetch::tenant(identities, None, audience).await?,
                (None, _) => entra::ANY_TENANT.to_owned(),
                (Some(_), _) => fetch::tenant(identities, tenant_id.as_ref(), audience).await?,
            };
            let at = |word: &str| entra::address(&endpoints.entra, &tenant, word);
            Ok(Some(PersonClient {
                service: Service::Entra,
                authorize_url: at("authorize"),
                token_url: at("token"),
                device_url: Some(at("devicecode")),
                client_id: fetch::optional(identities, client_id.as_ref())
                    .await?
                    .unwrap_or_else(|| entra::PUBLIC_CLIENT_ID.to_owned()),
                scopes: format!("{} offline_access openid profile", fetch::scope(endpoints, audience)),
            }))
        }
        Auth::Pat { .. }
        | Auth::OauthM2m { .. }
        | Auth::Credential { .. }
        | Auth::DatabricksCli { .. }
        | Auth::Federation { .. }
        | Auth::AzureApplication { .. }
        | Auth::AzureCli { .. }
        | Auth::AzureMsi { .. }
        | Auth::AzureWorkloadIdentity { .. }
        | Auth::AzureDefault { .. } => Ok(None),
    }
}

/// A token in the name of whoever signed in. The refresh token that comes with it is kept before the token is used; where
/// none comes, the old one stays good.
pub(super) async fn token(identities: &Identities, identity: &Identity, audience: &Audience) -> Result<TokenAnswer, Error> {
    let name = &identity.name;
    let Some(sign_ins) = &identities.0.sources.sign_ins else {
        let message = format!("identity `{name}` is a person, and nobody can sign in here");
        return Err(Error::failed("login-needed", message).hint("use an identity that needs no person on this platform"));
    };
    let mut sign_in = sign_ins.open(&key(identity, audience)).await?;
    let Some(refresh_token) = sign_in.refresh_token() else {
        return Err(login(name, "nobody has signed in as identity"));
    };
    let Some(client) = client(identities, identity, audience).await? else {
        return Err(login(name, "no person signs in as identity"));
    };
    let answer = renew(&identities.0.http, &client, &refresh_token).await.map_err(|error| match is_over(&error) {
        true => login(name, "the sign-in has ended of identity").caused_by(error),
        false => error.into(),
    })?;
    if let Some(next) = &answer.refresh_token {
        sign_in.keep(next).await?;
    }
    Ok(answer)
}

async fn renew(http: &Http, client: &PersonClient, refresh_token: &Secret) -> Result<TokenAnswer, HttpError> {
    let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.reveal()), ("scope", client.scopes.as_str())];
    redeem(http, client, "renew a person's sign-in", &fields, Effect::Repeatable).await
}

/// Redeems what a person's consent has become: a code, a device code, a refresh token. Of an application that is registered
/// as a single-page one Entra takes that only with an `Origin`, as a browser would send it, and of any other only without.
pub(super) async fn redeem(
    http: &Http,
    client: &PersonClient,
    what: &'static str,
    fields: &[(&str, &str)],
    effect: Effect,
) -> Result<TokenAnswer, HttpError> {
    let fields = [&[("client_id", client.client_id.as_str())], fields].concat();
    let request = json::form(&client.token_url, &fields);
    let outcome = oauth::send(http, client.service, what, request.clone(), effect).await;
    if !outcome.as_ref().is_err_and(wants_origin) {
        return outcome;
    }
    let mut request = request;
    let redirect = fields.iter().find_map(|(name, value)| (*name == "redirect_uri").then_some(*value));
    if let Ok(origin) = HeaderValue::from_str(redirect.unwrap_or(ORIGIN)) {
        request.headers_mut().insert(header::ORIGIN, origin);
    }
    oauth::send(http, client.service, what, request, effect).await
}

/// databricks-sdk-py oauth.py `retrieve_token` has the same.
fn wants_origin(error: &HttpError) -> bool {
    error.problem().and_then(|problem| problem.message.as_deref()).is_some_and(|says| says.contains("AADSTS9002327"))
}

/// Entra and Databricks both say `invalid_grant`; Databricks may say only that the token is not valid.
fn is_over(error: &HttpError) -> bool {
    let says = error.problem().and_then(|problem| problem.message.as_deref()).unwrap_or_default();
    matches!(error.code(), Some("invalid_grant" | "interaction_required")) || says.contains("Refresh token is invalid")
}

fn login(identity: &IdentityName, what: &str) -> Error {
    Error::failed("login-needed", format!("{what} `{identity}`")).hint(format!("run `lakekey login --identity {identity}`"))
}

/// Where no address is at hand that the browser came back to.
const ORIGIN: &str = "http://localhost";
