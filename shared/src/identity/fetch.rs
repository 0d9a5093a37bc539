//! Getting a token, one function per way to sign in. A refused client secret is read again and tried once more: somebody
//! may have rotated it meanwhile.

use super::cache::{Life, Token, life};
use super::{Audience, Identities, Inner, claims};
use crate::clients::databricks::token as databricks_token;
use crate::clients::entra;
use crate::clients::oauth::TokenAnswer;
use crate::config::{Auth, Identity, PlainOrReference};
use crate::error::Error;
use crate::http::HttpError;
use crate::ids::Workspace;
use crate::secret::Secret;

/// A fresh token of `identity` for `audience`.
pub(super) async fn fetch(
    inner: &Inner,
    identities: &Identities,
    identity: &Identity,
    audience: &Audience,
) -> Result<Token, Error> {
    match &identity.auth {
        Auth::Pat { token } => {
            let value = read(identities, token).await?;
            let life = claims::expiry(&value).map(|expires| Life {
                issued: inner.http.clock().now(),
                expires,
                skew: jiff::SignedDuration::ZERO,
            });
            Ok(Token { value, life })
        }
        Auth::OauthM2m { client_id, client_secret } => {
            let workspace = workspace_of(audience, inner)?;
            let client_id = plain(identities, client_id).await?;
            with_secret(identities, client_secret, async |secret: Secret| {
                databricks_token::request(&inner.http, workspace, &client_id, &secret, &[]).await
            })
            .await
        }
        Auth::AzureClientSecret { tenant_id, client_id, client_secret } => {
            let tenant = match tenant_id {
                Some(tenant) => plain(identities, tenant).await?,
                None => entra::tenant_of(&inner.http, workspace_of(audience, inner)?, &inner.endpoints.entra).await?,
            };
            let client_id = plain(identities, client_id).await?;
            let scope = match audience {
                Audience::Databricks(_) => entra::DATABRICKS_SCOPE,
                Audience::PowerBi => &inner.endpoints.powerbi_scope,
                Audience::Fabric => &inner.endpoints.fabric_scope,
            };
            with_secret(identities, client_secret, async |secret: Secret| {
                entra::token(&inner.http, &inner.endpoints.entra, &tenant, &client_id, &secret, scope).await
            })
            .await
        }
    }
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

/// Asks with the secret as it is now, and once more with the secret read anew when it was refused.
async fn with_secret(
    identities: &Identities,
    reference: &crate::config::reference::Reference,
    ask: impl AsyncFn(Secret) -> Result<TokenAnswer, HttpError>,
) -> Result<Token, Error> {
    let refused = |error: &HttpError| error.code() == Some("invalid_client");
    let answer = match ask(read(identities, reference).await?).await {
        Err(error) if refused(&error) => ask(read(identities, reference).await?).await,
        outcome => outcome,
    };
    let answer = answer?;
    let exp = claims::expiry(&answer.value);
    let life = life(answer.asked, answer.received, answer.date, answer.expires_in, exp);
    Ok(Token { value: answer.value, life })
}

/// Boxed: reading a secret may itself need a token, of another identity.
async fn read(identities: &Identities, reference: &crate::config::reference::Reference) -> Result<Secret, Error> {
    Box::pin(identities.0.secrets.read(reference, identities)).await
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
        Audience::PowerBi | Audience::Fabric => inner.home.as_ref().ok_or_else(|| {
            Error::usage("no-tenant", "the identity names no tenant, and there is no workspace to ask for it")
                .hint("give the identity a `tenant_id`")
        }),
    }
}
