//! The document as written: the one set of types from which both the JSON Schema and the reader of the config come.
//! Every field is optional to serde; what is required is marked for the schema, against which `shape.rs` checks the tree
//! first, so that one missing key does not hide the problems of the others. The doc comments are what editors show.
//! Not `Debug`: an inline secret passes through here before it is refused.

mod credential;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::hosts::Cloud;
pub(super) use credential::{
    AccountPart, AlwaysName, CredentialPart, GrantPart, PrincipalPart, RefreshName, SecurableName, SelectPart, TakeOverPart,
    TargetsPart, WindowPart,
};

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
    /// `azure-client-certificate`: the certificate and its private key, PEM.
    pub(super) client_certificate: Option<ReferenceText>,
    /// Azure resource id of the workspace, for an Entra identity that is no member of it but has a role on the resource.
    pub(super) azure_workspace_resource_id: Option<String>,
    /// `databricks-cli`: a profile of `~/.databrickscfg`, instead of the workspace's address.
    pub(super) profile: Option<String>,
    /// `env-oidc`: the variable that holds the token; `DATABRICKS_OIDC_TOKEN` by default.
    pub(super) oidc_token_env: Option<String>,
    /// `file-oidc`: the file that holds the token; `DATABRICKS_OIDC_TOKEN_FILEPATH` names it by default.
    pub(super) oidc_token_filepath: Option<String>,
    /// `aws-web-identity`: the audience asked for; the token endpoint of the workspace by default.
    pub(super) token_audience: Option<String>,
    /// Instead of `auth`: signs in as a credential that lakekey keeps.
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

/// One place to notify.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NotifyPart {
    /// Where to post; webhook addresses are secrets, so usually a reference.
    #[schemars(required)]
    pub(super) url: Option<PlainText>,
    /// The shape of the message.
    #[schemars(required)]
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
