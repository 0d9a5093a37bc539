//! The config as the rest of the program sees it: every value parsed, every name resolved. If one of these exists, it is
//! valid; `config/document.rs` holds the raw document and `config/check.rs` makes one from the other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::Date;
use url::Url;

use super::mapping::{MappedRow, Mapping};
use super::place::{AwsSecretName, KeyVaultName, ObjectPlace};
use super::reference::Reference;
use super::schedule::Window;
use crate::ids::{AccountId, ApplicationId, CredentialName, DatasourceId, IdentityName, WarehouseId, Workspace};

/// A whole, valid config.
#[derive(Clone, Debug)]
pub struct Config {
    /// The addresses of the chosen cloud, overrides applied.
    pub endpoints: Endpoints,
    /// Hosts that credentials may be sent to.
    pub hosts: super::hosts::HostPolicy,
    /// Where the journal lives and how its lease is timed.
    pub state: StateConfig,
    /// Ways to sign in, by name.
    pub identities: BTreeMap<IdentityName, Identity>,
    /// What is rotated, in the order of the document.
    pub credentials: Vec<Credential>,
    /// Where people are told what happened.
    pub notify: Vec<Channel>,
    /// Who may call the HTTP API.
    pub api: Api,
    /// Hosts for which local programs may ask for tokens; empty is off.
    pub broker: Vec<BrokerRow>,
    /// Environment variables that hold what the config refers to: secrets, which programs that lakekey starts need not see.
    pub variables: BTreeSet<String>,
    /// SHA-256 of the document as read, in hex: journal entries say which config they were made under.
    pub digest: String,
}

/// One place that is told what happened.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Where to post. Whoever has it can post there: it is as secret as a password.
    pub url: PlainOrReference,
    /// The shape of the message.
    pub format: Format,
    /// Signs the message.
    pub secret: Option<Reference>,
}

/// Shapes of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An Adaptive Card, as workflows of Microsoft Teams take it.
    Teams,
    /// A message of Slack's incoming webhooks.
    Slack,
    /// CloudEvents 1.0 in structured mode.
    CloudEvents,
}

/// Who may call the HTTP API. Without any key it refuses every call that needs one.
#[derive(Clone, Debug, Default)]
pub struct Api {
    /// For reading.
    pub reader: Option<Reference>,
    /// For rotating, reapplying and rolling back.
    pub operator: Option<Reference>,
    /// For revoking.
    pub breakglass: Option<Reference>,
    /// Verifies webhooks.
    pub webhook_secret: Option<Reference>,
}

/// A host for which local programs may ask for tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRow {
    /// The workspace.
    pub workspace: Workspace,
    /// Signs in to it.
    pub identity: IdentityName,
}

/// Base addresses without a trailing slash, and token audiences.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// `https://login.microsoftonline.com` or its twin.
    pub entra: Url,
    /// `https://api.powerbi.com` or its twin.
    pub powerbi: Url,
    /// `https://api.fabric.microsoft.com` or its twin.
    pub fabric: Url,
    /// Key Vault.
    pub keyvault: ServiceAddress,
    /// Blob storage.
    pub blob: ServiceAddress,
    /// Queue storage.
    pub queue: ServiceAddress,
    /// The scope for Power BI tokens, ending in `/.default`.
    pub powerbi_scope: String,
    /// The scope for Fabric tokens, ending in `/.default`.
    pub fabric_scope: String,
    /// The scope for tokens of Azure Resource Manager; its resource ends in a slash of its own.
    pub arm_scope: String,
    /// The scope for Key Vault tokens.
    pub keyvault_scope: String,
}

/// Where a service is that has an address for each vault or account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceAddress {
    /// Below this suffix: `https://NAME.vault.azure.net`.
    Suffix(&'static str),
    /// At one address, whatever the name.
    Override(Url),
}

impl ServiceAddress {
    /// The address of one vault or account, without a trailing slash.
    pub fn of(&self, name: &str) -> String {
        match self {
            Self::Suffix(suffix) => format!("https://{name}.{suffix}"),
            Self::Override(url) => url.as_str().trim_end_matches('/').to_owned(),
        }
    }
}

/// Where the journal lives and how its lease is timed.
#[derive(Clone, Debug)]
pub struct StateConfig {
    /// The journal's place.
    pub location: StateLocation,
    /// Signs the journal when given.
    pub key: Option<Reference>,
    /// How long a lease lasts from when it is taken or renewed.
    pub lease: Duration,
    /// By how much the clocks of runners and services may differ.
    pub skew: Duration,
    /// After which a request is given up; no write starts later than this plus skew before the lease's end.
    pub request_timeout: Duration,
}

/// The journal's place. Handlers on the platforms refuse `File`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateLocation {
    /// A folder, absolute.
    File(PathBuf),
    /// A folder in an object store.
    Objects(ObjectPlace),
}

impl std::fmt::Display for StateLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Objects(place) => write!(f, "{place}"),
        }
    }
}

/// One way to sign in.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name in the config.
    pub name: IdentityName,
    /// How it signs in.
    pub auth: Auth,
    /// The Azure resource id of the workspace, for an Entra identity that is no member of it but has a role on the resource.
    pub workspace_resource: Option<String>,
}

/// How an identity signs in; names are those of Databricks unified authentication.
#[derive(Clone, Debug)]
pub enum Auth {
    /// `pat`: a personal access token.
    Pat { token: Reference },
    /// `oauth-m2m`: a Databricks service principal with an OAuth secret.
    OauthM2m { client_id: PlainOrReference, client_secret: Reference },
    /// `credential: NAME`: the service principal of a credential that lakekey keeps, with the secret that is current.
    Credential { name: CredentialName },
    /// `external-browser`: a person at Databricks.
    ExternalBrowser { client_id: Option<PlainOrReference> },
    /// `databricks-cli`: whoever signed in with the Databricks CLI.
    DatabricksCli { profile: Option<String> },
    /// `env-oidc`, `file-oidc`, `aws-web-identity`: a token of somebody else, exchanged at Databricks. Without a client id
    /// the account's policy says who that is.
    Federation { client_id: Option<PlainOrReference>, from: OidcToken },
    /// `azure-client-secret`, `azure-client-certificate`: an Entra application.
    AzureApplication { tenant_id: Option<PlainOrReference>, client_id: PlainOrReference, proof: Proof },
    /// `azure-browser`, `azure-device-code`: a person in Entra.
    AzurePerson { tenant_id: Option<PlainOrReference>, client_id: Option<PlainOrReference>, by: AzureSignIn },
    /// `azure-cli`: whoever signed in with the Azure CLI.
    AzureCli { tenant_id: Option<PlainOrReference> },
    /// `azure-msi`: a managed identity; without a client id the system-assigned one, or that of `AZURE_CLIENT_ID`.
    AzureMsi { client_id: Option<PlainOrReference> },
    /// `azure-workload-identity`: a Kubernetes service account. What is absent comes from the environment.
    AzureWorkloadIdentity { tenant_id: Option<PlainOrReference>, client_id: Option<PlainOrReference> },
    /// `azure-default`: environment, workload identity, managed identity, Azure CLI, whichever comes first.
    AzureDefault { tenant_id: Option<PlainOrReference>, client_id: Option<PlainOrReference> },
}

/// How an Entra application proves itself.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A client secret.
    Secret(Reference),
    /// A certificate and its private key, PEM.
    Certificate(Reference),
}

/// How a person signs in to Entra.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AzureSignIn {
    /// In a browser on this machine.
    Browser,
    /// Anywhere, with a code.
    DeviceCode,
}

/// Where the token to exchange comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OidcToken {
    /// This environment variable; `None` is the one that Databricks' SDKs read.
    Env(Option<String>),
    /// This file; `None` is the one that the environment names.
    File(Option<PathBuf>),
    /// AWS, for this audience; `None` is the token endpoint that takes it.
    Aws(Option<String>),
}

/// A value that is no secret, written out or referred to.
#[derive(Clone, Debug)]
pub enum PlainOrReference {
    /// Written out in the config.
    Plain(String),
    /// To be read from elsewhere.
    Reference(Reference),
}

/// One Databricks service principal whose OAuth secret is kept fresh.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Its name in the config.
    pub name: CredentialName,
    /// The workspace where its secrets are managed.
    pub workspace: Workspace,
    /// Further workspaces of the same account in which the principal is used.
    pub also_workspaces: Vec<Workspace>,
    /// Signs in to the workspaces.
    pub identity: IdentityName,
    /// Which principal.
    pub service_principal: PrincipalSelector,
    /// Whether a missing principal is made.
    pub create_service_principal: bool,
    /// Lifetime of a minted secret.
    pub lifetime: Duration,
    /// When the next rotation is due; `None` is `manual`.
    pub rotate_every: Option<Duration>,
    /// How long the previous secret lives after the last target has moved.
    pub grace: Duration,
    /// When rotations may start.
    pub window: Option<Window>,
    /// Days on which none may start, both ends included.
    pub freeze: Vec<(Date, Date)>,
    /// Where the current generation is kept.
    pub store: StoreLocation,
    /// Further places for the value.
    pub copies: Vec<StoreLocation>,
    /// Warehouses on which the principal is given CAN_USE.
    pub warehouses: BTreeSet<WarehouseId>,
    /// Unity Catalog privileges that the principal is given.
    pub grants: Vec<Grant>,
    /// Where the smoke query of a new secret runs.
    pub verify_warehouse: Option<WarehouseId>,
    /// The account, for what the workspace does not let the identity do.
    pub account: Option<Account>,
    /// The targets.
    pub targets: Option<Targets>,
}

/// A Databricks account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    /// Its console.
    pub host: Workspace,
    /// Its id.
    pub id: AccountId,
}

/// How the config names a principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrincipalSelector {
    /// Exactly this display name.
    DisplayName(String),
    /// This application id.
    ApplicationId(ApplicationId),
}

/// A place that keeps a credential's value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreLocation {
    /// `file:PATH`, absolute, mode 0600.
    File(PathBuf),
    /// `akv:VAULT/NAME`.
    KeyVault(KeyVaultName),
    /// `awssm:NAME-OR-ARN`.
    SecretsManager(AwsSecretName),
    /// `databricks:SCOPE/KEY` in the credential's workspace; copies only.
    DatabricksScope {
        /// The secret scope.
        scope: String,
        /// The key in it.
        key: String,
    },
}

impl std::fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::KeyVault(name) => write!(f, "akv:{name}"),
            Self::SecretsManager(name) => write!(f, "awssm:{name}"),
            Self::DatabricksScope { scope, key } => write!(f, "databricks:{scope}/{key}"),
        }
    }
}

/// Privileges on one Unity Catalog object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Catalog, schema or table.
    pub securable: Securable,
    /// Full name, dots between parts.
    pub name: String,
    /// Privileges in the service's spelling, underscores between words.
    pub privileges: Vec<String>,
}

/// Kinds of Unity Catalog object that lakekey grants on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Securable {
    /// A catalog.
    Catalog,
    /// A schema.
    Schema,
    /// A table or view.
    Table,
}

/// Which data sources hold a credential.
#[derive(Clone, Debug)]
pub struct Targets {
    /// Signs in to Power BI and Fabric.
    pub identity: IdentityName,
    /// The rows of `select`.
    pub select: Vec<Selector>,
    /// The mapping list, whose rows select too.
    pub mapping: Option<Mapping>,
    /// Whether a dataset may be taken over to update a cloud data source.
    pub take_over: TakeOver,
    /// Whether another kind of credential may be replaced.
    pub convert: bool,
    /// Used only where the present privacy level cannot be read.
    pub privacy_level: Option<String>,
    /// How many targets are written at once, 1 to 64.
    pub concurrency: usize,
    /// How many targets have moved when each wave has ended; the last one is all of them.
    pub waves: Vec<WaveSize>,
    /// Datasets that are refreshed.
    pub refresh: Vec<RefreshRow>,
}

/// A row of `select` whose dataset is refreshed when its data sources have moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshRow {
    /// Power BI workspace, name or id.
    pub workspace: String,
    /// Dataset, name or id.
    pub dataset: String,
    /// Whether its end is waited for.
    pub wait: bool,
}

/// How many targets have moved when a wave has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaveSize {
    /// So many.
    Count(u32),
    /// So many in a hundred, rounded up.
    Percent(u32),
}

/// One row of `select`. Workspaces, datasets, gateways and data sources are given by name or id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The Databricks data sources of one dataset.
    Dataset {
        /// Power BI workspace, name or id.
        workspace: String,
        /// Dataset, name or id.
        dataset: String,
    },
    /// Every data source on this warehouse.
    Warehouse(WarehouseId),
    /// Every data source on the credential's workspaces.
    All,
    /// One data source of an on-premises or virtual network gateway.
    Gateway {
        /// Gateway, name or id.
        gateway: String,
        /// Data source, name or id.
        datasource: String,
    },
    /// One Fabric connection, written through Fabric.
    Connection(DatasourceId),
    /// One row of the mapping list.
    Mapped(Box<MappedRow>),
}

impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dataset { workspace, dataset } => write!(f, "workspace `{workspace}`, dataset `{dataset}`"),
            Self::Warehouse(warehouse) => write!(f, "warehouse `{warehouse}`"),
            Self::All => f.write_str("all"),
            Self::Gateway { gateway, datasource } => write!(f, "gateway `{gateway}`, data source `{datasource}`"),
            Self::Connection(connection) => write!(f, "connection `{connection}`"),
            Self::Mapped(row) => write!(f, "{}, data source `{}`", row.at, row.source),
        }
    }
}

/// Whether a dataset may be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeOver {
    /// Never.
    Never,
    /// Unless it has other cloud data sources, whose credentials belong to the old owner.
    Allowed,
    /// Even then.
    Always,
}
