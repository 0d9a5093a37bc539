//! Ways to sign in, and the one cache of tokens. Every (identity, audience) has one cached token; whoever needs it first
//! fetches it, everybody else waits for that one fetch.
//!
//! Invariants: no token with less than a minute left is handed out, a secret is read anew for every fetch and never kept,
//! and values appear only in the token request and the `Authorization` header.

mod azure;
mod cache;
mod certificate;
mod claims;
mod expiry;
mod federation;
mod fetch;
mod login;
mod person;
mod reader;
mod tool;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use http::HeaderName;
use jiff::Timestamp;

use crate::config::{Account, Auth, Config, Endpoints, Identity, StoreLocation};
use crate::error::Error;
use crate::http::Http;
use crate::ids::{CredentialName, IdentityName, Workspace};
use crate::secret::Secret;
use crate::storage::Storage;
use cache::{Renewal, Slot};
pub use login::{Invitation, Show, SignedIn, Way};
pub use person::{PersonClient, SignIn, SignIns};
pub use reader::SecretReader;

/// Every identity of a config, with its tokens; clones share them.
#[derive(Clone)]
pub struct Identities(Arc<Inner>);

struct Inner {
    identities: BTreeMap<IdentityName, Arc<Identity>>,
    /// Whoever the environment signs in to Azure; no identity of the config.
    ambient: Arc<Identity>,
    /// Where the credentials that lakekey keeps have their values.
    kept: BTreeMap<CredentialName, StoreLocation>,
    endpoints: Endpoints,
    /// Where the tenant is looked up when an identity names none and the audience is not a workspace.
    home: Option<Workspace>,
    sources: Sources,
    http: Arc<Http>,
    /// By how much clocks may differ.
    skew: Duration,
    slots: Mutex<HashMap<Door, Held>>,
    /// Futures of [`Identities::keep_fresh`] that are alive.
    keepers: AtomicUsize,
}

/// One identity at one audience.
type Door = (IdentityName, Audience);
type Held = (Arc<Identity>, Arc<Slot>);

/// Where identities find what they sign in with.
#[derive(Clone)]
pub struct Sources {
    /// References, and the environment.
    pub secrets: Arc<SecretReader>,
    /// The stores of credentials that identities sign in as.
    pub storage: Arc<dyn Storage>,
    /// What people's sign-ins have left; `None` where nobody can have signed in.
    pub sign_ins: Option<Arc<dyn SignIns>>,
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
    /// Azure Resource Manager.
    Arm,
    /// Key Vault.
    KeyVault,
    /// Blob and queue storage.
    Storage,
}

/// A token as it is handed out.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The token itself.
    pub value: Secret,
    /// When it expires by this machine's clock, at least a minute from now; `None` where it does not say.
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

/// Between two looks at which tokens are due.
const KEEP_PAUSE: Duration = Duration::from_secs(10);

/// Tokens that are renewed at once in the background.
const KEEP_AT_ONCE: usize = 4;

impl Identities {
    /// Whoever the environment signs in to Azure, and no identity of a config.
    pub fn of_environment(endpoints: Endpoints, skew: Duration, sources: Sources, http: Arc<Http>) -> Self {
        Self(Arc::new(Inner {
            identities: BTreeMap::new(),
            ambient: Arc::new(ambient()),
            kept: BTreeMap::new(),
            endpoints,
            home: None,
            sources,
            http,
            skew,
            slots: Mutex::default(),
            keepers: AtomicUsize::new(0),
        }))
    }

    /// Prepares every identity; nothing is fetched yet.
    pub fn new(config: &Config, sources: Sources, http: Arc<Http>) -> Self {
        let home = config.credentials.first().map(|credential| credential.workspace.clone());
        let kept = config.credentials.iter().map(|credential| (credential.name.clone(), credential.store.clone()));
        Self(Arc::new(Inner {
            identities: config.identities.iter().map(|(name, identity)| (name.clone(), Arc::new(identity.clone()))).collect(),
            ambient: Arc::new(ambient()),
            kept: kept.collect(),
            endpoints: config.endpoints.clone(),
            home,
            sources,
            http,
            skew: config.state.skew,
            slots: Mutex::default(),
            keepers: AtomicUsize::new(0),
        }))
    }

    /// The signer of this identity for this audience.
    pub fn signer(&self, identity: &IdentityName, audience: &Audience) -> Result<Signer, Error> {
        let Some(known) = self.0.identities.get(identity) else {
            return Err(Error::usage("unknown-identity", format!("no identity is named `{identity}`"))
                .hint("name one of those under `identities` in the config"));
        };
        let Some(auth) = misplaced(&known.auth, audience) else { return Ok(self.cached(known, audience)) };
        let hint = match audience {
            Audience::Databricks(_) | Audience::Account(_) => {
                "use an identity with `auth: oauth-m2m` or `auth: azure-client-secret` there"
            }
            Audience::PowerBi | Audience::Fabric | Audience::Arm | Audience::KeyVault | Audience::Storage => {
                "use an identity of Entra there, such as one with `auth: azure-client-secret`"
            }
        };
        let message = format!("identity `{identity}` signs in with `{auth}`, which {audience} does not take");
        Err(Error::usage("wrong-audience", message).hint(hint))
    }

    /// The signer of whoever the environment signs in to Azure, without any identity in the config.
    pub fn ambient(&self, audience: &Audience) -> Signer {
        self.cached(&self.0.ambient, audience)
    }

    /// Renews in the background what is due and was asked for, for as long as it is polled; it never ends. Meanwhile nobody
    /// who asks for a token that works waits for its renewal.
    pub async fn keep_fresh(&self) {
        let _keeping = Keeping::begin(&self.0.keepers);
        let clock = self.0.http.clock();
        loop {
            let held: Vec<(Door, Held)> = self.slots().iter().map(|(door, held)| (door.clone(), held.clone())).collect();
            let renewals = held.iter().map(|((_, audience), (identity, slot))| async move {
                slot.keep(clock, || fetch::fetch(self, identity, audience)).await;
            });
            futures::stream::iter(renewals).buffer_unordered(KEEP_AT_ONCE).collect::<Vec<()>>().await;
            clock.sleep(KEEP_PAUSE).await;
        }
    }

    /// By which name the sign-in of this identity is kept: at Databricks each workspace and account has its own.
    pub fn sign_in_key(identity: &Identity, audience: &Audience) -> String {
        person::key(identity, audience)
    }

    /// The client through which whoever this identity is signs in, and where; an error if it is no person.
    pub async fn person_client(&self, identity: &IdentityName, audience: &Audience) -> Result<PersonClient, Error> {
        let known = self.0.identities.get(identity);
        let client = match known {
            Some(known) if misplaced(&known.auth, audience).is_none() => person::client(self, known, audience).await?,
            _ => None,
        };
        client.ok_or_else(|| {
            let message = format!("identity `{identity}` is no person who could sign in at {audience}");
            Error::usage("no-person", message)
                .hint("name an identity with `auth: external-browser`, `azure-browser` or `azure-device-code`")
        })
    }

    fn cached(&self, identity: &Arc<Identity>, audience: &Audience) -> Signer {
        let door = (identity.name.clone(), audience.clone());
        let (identity, slot) =
            self.slots().entry(door).or_insert_with(|| (Arc::clone(identity), Arc::new(Slot::default()))).clone();
        Signer(Kind::Cached { identities: self.clone(), identity, audience: audience.clone(), slot })
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, HashMap<Door, Held>> {
        self.0.slots.lock().expect("no code panics while it holds the map")
    }

    fn renewal(&self) -> Renewal {
        if self.0.keepers.load(Ordering::Relaxed) > 0 { Renewal::ByKeeper } else { Renewal::ByCaller }
    }
}

/// Counts a keeper for as long as it lives.
struct Keeping<'a>(&'a AtomicUsize);

impl<'a> Keeping<'a> {
    fn begin(keepers: &'a AtomicUsize) -> Self {
        keepers.fetch_add(1, Ordering::Relaxed);
        Self(keepers)
    }
}

impl Drop for Keeping<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Signer {
    /// A signer that always hands out this token: for a credential that is being verified.
    pub fn fixed(token: Secret) -> Self {
        Self(Kind::Fixed { token })
    }

    /// A token that is good for at least a minute.
    pub async fn token(&self) -> Result<Secret, Error> {
        self.issued().await.map(|issued| issued.value)
    }

    /// A token that is good for at least a minute, and until when.
    pub async fn issued(&self) -> Result<Issued, Error> {
        match &self.0 {
            Kind::Fixed { token } => Ok(Issued { value: token.clone(), expires_at: None }),
            Kind::Cached { identities, identity, audience, slot } => {
                let fetch = || fetch::fetch(identities, identity, audience);
                let token = slot.token(identities.0.http.clock(), identities.renewal(), fetch).await?;
                let expires_at = token.life.map(|life| life.expires_here());
                Ok(Issued { value: token.value, expires_at })
            }
        }
    }

    /// Headers that go beside the token: an Entra identity that is no member of the workspace shows that it may manage the
    /// resource in Azure.
    pub(crate) async fn headers(&self) -> Result<Vec<(HeaderName, Secret)>, Error> {
        let Kind::Cached { identities, identity, audience: Audience::Databricks(_), .. } = &self.0 else {
            return Ok(Vec::new());
        };
        let Some(resource) = &identity.workspace_resource else { return Ok(Vec::new()) };
        let management = Box::pin(identities.cached(identity, &Audience::Arm).token()).await?;
        Ok(vec![(MANAGEMENT_TOKEN, management), (WORKSPACE_RESOURCE, Secret::new(resource.clone()))])
    }

    /// Gets a fresh token after the service refused `rejected`; does nothing when another task already has.
    pub async fn reload(&self, rejected: &Secret) -> Result<(), Error> {
        match &self.0 {
            Kind::Fixed { .. } => Ok(()),
            Kind::Cached { identities, identity, audience, slot } => {
                slot.reload(rejected, identities.0.http.clock(), || fetch::fetch(identities, identity, audience)).await
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
            Self::Arm => f.write_str("Azure Resource Manager"),
            Self::KeyVault => f.write_str("Key Vault"),
            Self::Storage => f.write_str("Azure Storage"),
        }
    }
}

/// The name of this kind of sign-in where this audience takes none of its tokens.
fn misplaced(auth: &Auth, audience: &Audience) -> Option<&'static str> {
    let (name, takes) = match auth {
        // A personal access token belongs to one workspace.
        Auth::Pat { .. } => ("auth: pat", matches!(audience, Audience::Databricks(_))),
        Auth::OauthM2m { .. } => ("auth: oauth-m2m", audience.is_databricks()),
        Auth::Credential { .. } => ("credential", audience.is_databricks()),
        Auth::ExternalBrowser { .. } => ("auth: external-browser", audience.is_databricks()),
        Auth::DatabricksCli { .. } => ("auth: databricks-cli", audience.is_databricks()),
        Auth::Federation { .. } => ("a token of another issuer", audience.is_databricks()),
        Auth::AzureApplication { .. }
        | Auth::AzurePerson { .. }
        | Auth::AzureCli { .. }
        | Auth::AzureMsi { .. }
        | Auth::AzureWorkloadIdentity { .. }
        | Auth::AzureDefault { .. } => return None,
    };
    (!takes).then_some(name)
}

impl Audience {
    fn is_databricks(&self) -> bool {
        matches!(self, Self::Databricks(_) | Self::Account(_))
    }
}

fn ambient() -> Identity {
    Identity {
        name: IdentityName::new("(environment)"),
        auth: Auth::AzureDefault { tenant_id: None, client_id: None },
        workspace_resource: None,
    }
}

const MANAGEMENT_TOKEN: HeaderName = HeaderName::from_static("x-databricks-azure-sp-management-token");
const WORKSPACE_RESOURCE: HeaderName = HeaderName::from_static("x-databricks-azure-workspace-resource-id");

#[cfg(test)]
mod tests;
