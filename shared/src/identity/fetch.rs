//! Getting a token, one function per way to sign in. A refused client secret is read again and tried once more: somebody
//! may have rotated it meanwhile.

use std::time::Duration;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use super::cache::{Life, Token, life};
use super::{Audience, Identities, Inner, claims};
use crate::clients::databricks::token;
use crate::clients::entra;
use crate::clients::oauth::TokenAnswer;
use crate::config::reference::Reference;
use crate::config::{Auth, Identity, PlainOrReference};
use crate::error::Error;
use crate::http::HttpError;
use crate::ids::Workspace;
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
    let life = life(issued.asked, issued.received, issued.date, issued.expires_in, exp);
    Ok(Token { value: issued.value, life })
}

/// Leases, grace and expiry are told by this machine's clock: with one that is wrong by more than the config allows,
/// nothing is begun.
fn check_clock(issued: &TokenAnswer, skew: Duration) -> Result<(), Error> {
    let Some(theirs) = issued.date else { return Ok(()) };
    // The header has whole seconds.
    let allowed = SignedDuration::try_from(skew).unwrap_or(SignedDuration::MAX).saturating_add(SignedDuration::from_secs(1));
    let ahead = issued.asked.duration_since(theirs);
    let behind = theirs.duration_since(issued.received);
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
    /// A token that is the secret itself.
    Fixed(Token),
    /// What the token endpoint said.
    Issued(Result<TokenAnswer, HttpError>),
}

/// Reads the secret as it is now and asks once.
async fn ask(identities: &Identities, identity: &Identity, audience: &Audience) -> Result<Answer, Error> {
    let Inner { http, endpoints, .. } = &*identities.0;
    match &identity.auth {
        Auth::Pat { token } => Ok(Answer::Fixed(personal(read(identities, token).await?, http.clock().now()))),
        Auth::OauthM2m { client_id, client_secret } => {
            let address = match audience {
                Audience::Account(account) => token::account_address(account),
                Audience::Databricks(_) | Audience::PowerBi | Audience::Fabric => {
                    token::address(workspace_of(audience, &identities.0)?)
                }
            };
            let client_id = plain(identities, client_id).await?;
            let secret = read(identities, client_secret).await?;
            Ok(Answer::Issued(token::request(http, &address, &client_id, &secret, &[]).await))
        }
        Auth::AzureClientSecret { tenant_id, client_id, client_secret } => {
            let tenant = match tenant_id {
                Some(tenant) => plain(identities, tenant).await?,
                None => entra::tenant_of(http, workspace_of(audience, &identities.0)?, &endpoints.entra).await?,
            };
            let client_id = plain(identities, client_id).await?;
            let scope = match audience {
                Audience::Databricks(_) | Audience::Account(_) => entra::DATABRICKS_SCOPE,
                Audience::PowerBi => &endpoints.powerbi_scope,
                Audience::Fabric => &endpoints.fabric_scope,
            };
            let secret = read(identities, client_secret).await?;
            let client = entra::Client { tenant: &tenant, client_id: &client_id, secret: &secret };
            Ok(Answer::Issued(entra::token(http, &endpoints.entra, client, scope).await))
        }
    }
}

/// A personal access token; one that is a JWT says when it expires.
fn personal(value: Secret, now: Timestamp) -> Token {
    let life = claims::expiry(&value).map(|expires| Life { issued: now, expires, skew: SignedDuration::ZERO });
    Token { value, life }
}

/// The client id that the config gives this identity.
pub(super) async fn client_id(identities: &Identities, identity: &Identity) -> Result<Option<String>, Error> {
    match &identity.auth {
        Auth::Pat { .. } => Ok(None),
        Auth::OauthM2m { client_id, .. } | Auth::AzureClientSecret { client_id, .. } => {
            plain(identities, client_id).await.map(Some)
        }
    }
}

async fn read(identities: &Identities, reference: &Reference) -> Result<Secret, Error> {
    identities.0.secrets.read(reference, identities).await
}

async fn plain(identities: &Identities, value: &PlainOrReference) -> Result<String, Error> {
    match value {
        PlainOrReference::Plain(text) => Ok(text.clone()),
        PlainOrReference::Reference(reference) => Ok(read(identities, reference).await?.reveal().trim().to_owned()),
    }
}

fn workspace_of<'a>(audience: &'a Audience, inner: &'a Inner) -> Result<&'a Workspace, Error> {
    match audience {
        Audience::Databricks(workspace) => Ok(workspace),
        Audience::Account(_) | Audience::PowerBi | Audience::Fabric => inner.home.as_ref().ok_or_else(|| {
            Error::usage("no-tenant", "the identity names no tenant, and there is no workspace to ask for it")
                .hint("give the identity a `tenant_id`")
        }),
    }
}
