//! Ways to sign in, and the one cache of tokens. Every (identity, audience) has one cached token; whoever needs it first
//! fetches it, everybody else waits for that one fetch.
//!
//! Invariants: no token with less than a minute left is handed out, a secret is read anew for every fetch and never kept,
//! and values appear only in the token request and the `Authorization` header.

mod cache;
mod claims;
mod fetch;
mod reader;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use crate::config::{Account, Auth, Config, Endpoints, Identity};
use crate::error::Error;
use crate::http::Http;
use crate::ids::{IdentityName, Workspace};
use crate::secret::Secret;
use cache::Slot;
pub use reader::SecretReader;

/// Every identity of a config, with its tokens; clones share them.
#[derive(Clone)]
pub struct Identities(Arc<Inner>);

struct Inner {
    identities: BTreeMap<IdentityName, Identity>,
    endpoints: Endpoints,
    /// Where the tenant is looked up when an identity names none and the audience is not a workspace.
    home: Option<Workspace>,
    secrets: Arc<SecretReader>,
    http: Arc<Http>,
    /// By how much clocks may differ.
    skew: Duration,
    slots: Mutex<HashMap<(IdentityName, Audience), Arc<Slot>>>,
}

/// Whom a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    /// A Databricks workspace.
    Databricks(Workspace),
    /// A Databricks account, at its console.
    Account(Account),
    /// The Power BI REST API.
    PowerBi,
    /// The Fabric REST API.
    Fabric,
}

/// A token and when it expires.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The value.
    pub value: Secret,
    /// On this machine's clock; `None`: it does not say.
    pub expires_at: Option<Timestamp>,
}

/// Signs requests of one identity for one audience; clones share the cached token.
#[derive(Clone)]
pub struct Signer(Kind);

#[derive(Clone)]
enum Kind {
    Cached { identities: Identities, identity: Arc<Identity>, audience: Audience, slot: Arc<Slot> },
    Fixed { token: Secret },
}

impl Identities {
    /// Prepares every identity; nothing is fetched yet.
    pub fn new(config: &Config, secrets: Arc<SecretReader>, http: Arc<Http>) -> Self {
        let home = config.credentials.first().map(|credential| credential.workspace.clone());
        Self(Arc::new(Inner {
            identities: config.identities.clone(),
            endpoints: config.endpoints.clone(),
            home,
            secrets,
            http,
            skew: config.state.skew,
            slots: Mutex::default(),
        }))
    }

    /// The signer of this identity for this audience.
    pub fn signer(&self, identity: &IdentityName, audience: &Audience) -> Result<Signer, Error> {
        let Some(known) = self.0.identities.get(identity) else {
            return Err(Error::usage("unknown-identity", format!("no identity is named `{identity}`"))
                .hint("name one of those under `identities` in the config"));
        };
        let for_databricks = matches!(audience, Audience::Databricks(_) | Audience::Account(_));
        let auth = match &known.auth {
            // A personal access token belongs to one workspace.
            Auth::Pat { .. } if !matches!(audience, Audience::Databricks(_)) => "pat",
            Auth::OauthM2m { .. } if !for_databricks => "oauth-m2m",
            Auth::Pat { .. } | Auth::OauthM2m { .. } | Auth::AzureClientSecret { .. } => {
                let mut slots = self.0.slots.lock().expect("no code panics while it holds the map");
                let slot = slots.entry((identity.clone(), audience.clone())).or_default().clone();
                let (identities, audience) = (self.clone(), audience.clone());
                return Ok(Signer(Kind::Cached { identities, identity: Arc::new(known.clone()), audience, slot }));
            }
        };
        Err(Error::usage(
            "wrong-audience",
            format!("identity `{identity}` signs in with `{auth}`, which {audience} does not take"),
        )
        .hint(if for_databricks {
            "use an identity with `auth: oauth-m2m` or `auth: azure-client-secret` there"
        } else {
            "use an identity with `auth: azure-client-secret` there"
        }))
    }
}

impl Signer {
    /// A signer that always hands out this token: for a credential that is being verified.
    pub fn fixed(token: Secret) -> Self {
        Self(Kind::Fixed { token })
    }

    /// A token that is good for at least a minute.
    pub async fn token(&self) -> Result<Secret, Error> {
        match &self.0 {
            Kind::Fixed { token } => Ok(token.clone()),
            Kind::Cached { identities, identity, audience, slot } => {
                slot.token(identities.0.http.clock(), fetch::fetch(identities, identity, audience)).await
            }
        }
    }

    /// The same, with its expiry.
    pub async fn issued(&self) -> Result<Issued, Error> {
        let value = self.token().await?;
        let expires_at = match &self.0 {
            Kind::Fixed { .. } => None,
            Kind::Cached { slot, .. } => slot.expiry(&value),
        };
        Ok(Issued { value, expires_at })
    }

    /// Gets a fresh token after the service refused `rejected`; does nothing when another task already has.
    pub async fn reload(&self, rejected: &Secret) -> Result<(), Error> {
        match &self.0 {
            Kind::Fixed { .. } => Ok(()),
            Kind::Cached { identities, identity, audience, slot } => {
                slot.reload(rejected, identities.0.http.clock(), fetch::fetch(identities, identity, audience)).await
            }
        }
    }

    /// Ids by which services may name this identity as an owner: application id, object id, user name; lower case.
    pub async fn known_as(&self) -> Result<Vec<String>, Error> {
        let token = self.token().await?;
        let mut names = claims::names(&token);
        if let Kind::Cached { identities, identity, .. } = &self.0 {
            names.extend(fetch::client_id(identities, identity).await?.map(|id| id.to_ascii_lowercase()));
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// The client id that the config gives this identity, where its kind of sign-in has one.
    pub async fn client_id(&self) -> Result<Option<String>, Error> {
        match &self.0 {
            Kind::Fixed { .. } => Ok(None),
            Kind::Cached { identities, identity, .. } => fetch::client_id(identities, identity).await,
        }
    }

    /// Names whose rate limit a request of this signer counts against.
    pub(crate) fn identity(&self) -> &str {
        match &self.0 {
            Kind::Fixed { .. } => "(fixed)",
            Kind::Cached { identity, .. } => identity.name.as_str(),
        }
    }
}

impl std::fmt::Display for Audience {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Databricks(workspace) => write!(f, "`{}`", workspace.host()),
            Self::Account(account) => write!(f, "the account at `{}`", account.host.host()),
            Self::PowerBi => f.write_str("Power BI"),
            Self::Fabric => f.write_str("Fabric"),
        }
    }
}

#[cfg(test)]
mod tests;
