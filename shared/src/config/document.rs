//! The document as written: the one set of types from which both the JSON Schema and the reader of the config come.
//! Every field is optional to serde; what is required is marked for the schema, against which `shape.rs` checks the tree
//! first, so that one missing key does not hide the problems of the others. The doc comments are what editors show.
//! Not `Debug`: an inline secret passes through here before it is refused.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::hosts::Cloud;

/// Config of lakekey: Databricks service principals whose OAuth secrets are kept fresh, and the Power BI data sources
/// that hold them.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "lakekey.yaml")]
pub(super) struct Document {
    /// The format of this document; always 1.
    #[schemars(required)]
    pub(super) version: Option<u64>,
    /// Picks the Entra, Power BI, Fabric and ARM addresses and audiences.
    #[serde(default)]
    pub(super) cloud: Cloud,
    /// Overrides single addresses.
    pub(super) endpoints: Option<EndpointsPart>,
    /// Where the journal lives: a URL, or a URL with further settings.
    #[schemars(required)]
    pub(super) state: Option<StatePart>,
    /// Ways to sign in, by names of your own.
    #[schemars(required)]
    pub(super) identities: Option<BTreeMap<String, IdentityPart>>,
    /// Settings for every credential that does not set them itself.
    pub(super) defaults: Option<DefaultsPart>,
    /// What is rotated, by names of your own.
    #[schemars(required)]
    pub(super) credentials: Option<BTreeMap<String, CredentialPart>>,
    /// Where to tell people what happened.
    pub(super) notify: Option<Vec<NotifyPart>>,
    /// Keys of the HTTP API; without any, it refuses every call that needs one.
    pub(super) api: Option<ApiPart>,
    /// Hosts for which local programs may ask for tokens; absent is off.
    pub(super) broker: Option<Vec<BrokerPart>>,
}

/// A number and a unit: `90s`, `15m`, `24h`, `14d`.
#[derive(Clone, Deserialize, JsonSchema)]
#[schemars(extend("pattern" = "^[0-9]+[smhd]$", "examples" = ["15m", "24h", "14d"]))]
pub(super) struct DurationText(pub(super) String);

/// Where a secret is, never the secret itself: `env:NAME`, `file:PATH`, `akv:VAULT/NAME[/VERSION]`,
/// `awssm:NAME-OR-ARN[#json-key]`, `databricks:HOST/SCOPE/KEY?identity=NAME`.
#[derive(Clone, Deserialize, JsonSchema)]
#[schemars(extend("pattern" = "^(env|file|akv|awssm|databricks):.+$", "examples" = ["env:DBX_ADMIN_SECRET"]))]
pub(super) struct ReferenceText(pub(super) String);

/// A plain value, or a reference to where it is.
#[derive(Clone, Deserialize, JsonSchema)]
pub(super) struct PlainText(pub(super) String);

/// An id that may look like a number.
#[derive(Clone, Deserialize, JsonSchema)]
#[schemars(extend("type" = ["string", "integer"]))]
pub(super) struct IdText(pub(super) String);

/// Overrides of single addresses.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EndpointsPart {
    /// Entra token endpoints, instead of `https://login.microsoftonline.com`.
    pub(super) entra: Option<String>,
    /// Power BI REST API, instead of `https://api.powerbi.com`.
    pub(super) powerbi: Option<String>,
    /// Fabric REST API, instead of `https://api.fabric.microsoft.com`.
    pub(super) fabric: Option<String>,
    /// Azure Resource Manager.
    pub(super) arm: Option<String>,
    /// Key Vault.
    pub(super) keyvault: Option<String>,
    /// Blob storage, with the account's path.
    pub(super) blob: Option<String>,
    /// Queue storage, with the account's path.
    pub(super) queue: Option<String>,
}

/// Where the journal lives.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum StatePart {
    /// `file:PATH`, `s3://bucket/prefix` or `az://account/container/prefix`.
    Url(String),
    /// The URL with further settings.
    Full(StateSettings),
}

/// The journal's place, its key and its timing.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StateSettings {
    /// `file:PATH`, `s3://bucket/prefix` or `az://account/container/prefix`.
    #[schemars(required)]
    pub(super) url: Option<String>,
    /// The journal is signed with this key when it is given.
    pub(super) key: Option<ReferenceText>,
    /// How long a lease lasts; at least 30s, 15m by default.
    pub(super) lease: Option<DurationText>,
    /// By how much clocks may differ; 2m by default, less with a short lease.
    pub(super) skew: Option<DurationText>,
}

/// One way to sign in.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IdentityPart {
    /// The kind of sign-in, in the words of Databricks unified authentication.
    pub(super) auth: Option<AuthName>,
    /// `pat`: the personal access token.
    pub(super) token: Option<ReferenceText>,
    /// Application (client) id.
    pub(super) client_id: Option<PlainText>,
    /// Client secret.
    pub(super) client_secret: Option<ReferenceText>,
    /// Entra tenant; for Databricks alone it is found from the workspace.
    pub(super) tenant_id: Option<PlainText>,
    /// Instead of `auth`: signs in as a credential that lakekey keeps.
    #[expect(dead_code, reason = "`unavailable.rs` refuses it")]
    pub(super) credential: Option<String>,
}

/// Kinds of sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum AuthName {
    /// A Databricks personal access token.
    Pat,
    /// A Databricks service principal with an OAuth secret.
    OauthM2m,
    /// A browser, for a person.
    ExternalBrowser,
    /// The SQL connector's name for `external-browser`.
    DatabricksOauth,
    /// The Databricks CLI.
    DatabricksCli,
    /// An Entra application with a client secret.
    AzureClientSecret,
    /// The SQL connector's name for `azure-client-secret`.
    #[serde(rename = "azure-sp-m2m")]
    AzureSpM2m,
    /// An Entra application with a certificate.
    AzureClientCertificate,
    /// A browser, for a person in Entra.
    AzureBrowser,
    /// The SQL connector's name for `azure-browser`.
    AzureOauth,
    /// A device code, for a person in Entra.
    AzureDeviceCode,
    /// The Azure CLI.
    AzureCli,
    /// A managed identity.
    AzureMsi,
    /// Kubernetes workload identity.
    AzureWorkloadIdentity,
    /// Environment, workload identity, managed identity, Azure CLI, in that order.
    AzureDefault,
    /// Databricks token federation, token in an environment variable.
    EnvOidc,
    /// Databricks token federation, token in a file.
    FileOidc,
    /// Databricks token federation from AWS.
    AwsWebIdentity,
}

/// Settings for every credential that does not set them itself.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DefaultsPart {
    /// Lifetime of a minted secret.
    pub(super) lifetime: Option<DurationText>,
    /// When the next rotation is due, or `manual`.
    pub(super) rotate_every: Option<String>,
    /// How long the previous secret lives after the last target has moved.
    pub(super) grace: Option<DurationText>,
}

/// One Databricks service principal whose OAuth secret is kept fresh.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CredentialPart {
    /// The workspace where its secrets are managed.
    #[schemars(required)]
    pub(super) workspace: Option<String>,
    /// Further workspaces of the same account in which this principal is used.
    pub(super) also_workspaces: Option<Vec<String>>,
    /// The identity that signs in to the workspaces.
    #[schemars(required)]
    pub(super) identity: Option<String>,
    /// Display name, or `{ application_id: UUID }`.
    #[schemars(required)]
    pub(super) service_principal: Option<PrincipalPart>,
    /// Whether a missing principal is made, with SQL access.
    pub(super) create_service_principal: Option<bool>,
    /// Lifetime of a minted secret; at most 730d and at most three times `rotate_every`. Default 14d.
    pub(super) lifetime: Option<DurationText>,
    /// When the next rotation is due, or `manual`. Default 7d.
    pub(super) rotate_every: Option<String>,
    /// How long the previous secret lives after the last target has moved. Default 24h.
    pub(super) grace: Option<DurationText>,
    /// Rotations start only here.
    pub(super) window: Option<WindowPart>,
    /// Days on which no rotation starts: `2026-12-20..2027-01-03`, both included.
    pub(super) freeze: Option<Vec<String>>,
    /// Where the current generation is kept: `file:PATH`, `akv:VAULT/NAME` or `awssm:NAME`.
    #[schemars(required)]
    pub(super) store: Option<String>,
    /// Further stores, also `databricks:SCOPE/KEY` in the credential's workspace.
    pub(super) copies: Option<Vec<String>>,
    /// Warehouses on which the principal is given CAN_USE.
    pub(super) warehouses: Option<Vec<IdText>>,
    /// Unity Catalog privileges that the principal is given.
    pub(super) grants: Option<Vec<GrantPart>>,
    /// A smoke query, run as the new credential before any target is touched.
    pub(super) verify: Option<VerifyPart>,
    /// The account, where workspace-level calls are not allowed.
    pub(super) account: Option<AccountPart>,
    /// The data sources that hold this credential.
    pub(super) targets: Option<TargetsPart>,
}

/// How a principal is named.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum PrincipalPart {
    /// Its display name, which must be unique.
    DisplayName(String),
    /// Its application id.
    ApplicationId(ApplicationIdPart),
}

/// A principal by its application id.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApplicationIdPart {
    /// The application (client) id, a UUID.
    #[schemars(required)]
    pub(super) application_id: Option<String>,
}

/// A recurring window.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WindowPart {
    /// When it opens: minute, hour, day of month, month, day of week.
    #[schemars(required)]
    pub(super) cron: Option<String>,
    /// IANA time zone. Default UTC.
    pub(super) timezone: Option<String>,
    /// How long it stays open.
    #[schemars(required)]
    pub(super) length: Option<DurationText>,
}

/// Privileges on one Unity Catalog object.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantPart {
    /// The kind of object.
    #[schemars(required)]
    pub(super) securable: Option<SecurableName>,
    /// Its full name, such as `main.sales`.
    #[schemars(required)]
    pub(super) name: Option<String>,
    /// Such as `USE_CATALOG`, `USE_SCHEMA`, `SELECT`.
    #[schemars(required)]
    pub(super) privileges: Option<Vec<String>>,
}

/// Kinds of Unity Catalog object.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SecurableName {
    /// A catalog.
    Catalog,
    /// A schema.
    Schema,
    /// A table or view.
    Table,
}

/// A smoke query.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifyPart {
    /// Where it runs.
    #[schemars(required)]
    pub(super) warehouse: Option<IdText>,
}

/// A Databricks account.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountPart {
    /// The account console, such as `https://accounts.azuredatabricks.net`.
    #[schemars(required)]
    pub(super) host: Option<String>,
    /// The account id, a UUID.
    #[schemars(required)]
    pub(super) id: Option<String>,
}

/// The data sources that hold a credential.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TargetsPart {
    /// The identity that signs in to Power BI and Fabric.
    #[schemars(required)]
    pub(super) identity: Option<String>,
    /// Rows of what is selected, by names or ids.
    pub(super) select: Option<Vec<SelectPart>>,
    /// A CSV file of gateway data sources and the principals they use.
    #[expect(dead_code, reason = "`unavailable.rs` refuses it")]
    pub(super) mapping: Option<String>,
    /// Whether a dataset may be taken over to update a cloud data source; `always`: even one with other cloud sources,
    /// whose credentials someone must then enter again.
    pub(super) take_over: Option<TakeOverPart>,
    /// Whether another kind of credential may be replaced.
    pub(super) convert: Option<bool>,
    /// Canary waves, as numbers or percentages of targets. Default [100%].
    pub(super) waves: Option<Vec<IdText>>,
    /// Used only where the present privacy level can't be read.
    pub(super) privacy_level: Option<PrivacyLevelName>,
    /// How many targets are written at once. Default 16.
    #[schemars(range(min = 1, max = 64))]
    pub(super) concurrency: Option<u64>,
}

/// One row: `{ workspace, dataset[, refresh] }`, `{ warehouse }`, `{ all: true }`, `{ gateway, datasource }` or
/// `{ connection }`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SelectPart {
    /// Power BI workspace.
    pub(super) workspace: Option<String>,
    /// Dataset (semantic model).
    pub(super) dataset: Option<String>,
    /// Whether the dataset is refreshed afterwards. Default none.
    #[expect(dead_code, reason = "`unavailable.rs` refuses what it can't do")]
    pub(super) refresh: Option<RefreshName>,
    /// Every data source on this warehouse that the identity can see.
    pub(super) warehouse: Option<IdText>,
    /// Every data source on the credential's workspaces.
    pub(super) all: Option<bool>,
    /// On-premises or virtual network gateway.
    pub(super) gateway: Option<String>,
    /// Data source of the gateway.
    pub(super) datasource: Option<String>,
    /// Fabric connection.
    #[expect(dead_code, reason = "`unavailable.rs` refuses it")]
    pub(super) connection: Option<String>,
}

/// What follows the update of a dataset's sources.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RefreshName {
    /// Nothing.
    None,
    /// A refresh is started.
    Start,
    /// A refresh is started and waited for.
    Wait,
}

/// Whether a dataset may be taken over.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum TakeOverPart {
    /// Whether it may at all.
    Flag(bool),
    /// Even with other cloud sources.
    Word(AlwaysName),
}

/// The word `always`.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum AlwaysName {
    /// Even with other cloud sources.
    Always,
}

/// Power BI's privacy levels.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub(super) enum PrivacyLevelName {
    /// None.
    None,
    /// Private.
    Private,
    /// Organizational.
    Organizational,
    /// Public.
    Public,
}

/// One place to notify.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NotifyPart {
    /// Where to post; webhook addresses are secrets, so usually a reference.
    #[schemars(required)]
    pub(super) url: Option<PlainText>,
    /// The shape of the message.
    #[schemars(required)]
    #[expect(dead_code, reason = "for `serve`; only its shape is checked here")]
    pub(super) format: Option<FormatName>,
    /// Signs the message.
    pub(super) secret: Option<ReferenceText>,
}

/// Shapes of messages.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum FormatName {
    /// Microsoft Teams.
    Teams,
    /// Slack.
    Slack,
    /// CloudEvents.
    Cloudevents,
}

/// Keys of the HTTP API.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApiPart {
    /// One key to a role.
    pub(super) keys: Option<ApiKeysPart>,
    /// Verifies webhooks; `whsec_` and base64.
    pub(super) webhook_secret: Option<ReferenceText>,
}

/// One key to a role.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApiKeysPart {
    /// May read.
    pub(super) reader: Option<ReferenceText>,
    /// May rotate, reapply and roll back.
    pub(super) operator: Option<ReferenceText>,
    /// May revoke.
    pub(super) breakglass: Option<ReferenceText>,
}

/// A host for which local programs may ask for tokens.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BrokerPart {
    /// The workspace.
    #[schemars(required)]
    pub(super) host: Option<String>,
    /// Signs in to it.
    #[schemars(required)]
    pub(super) identity: Option<String>,
}
