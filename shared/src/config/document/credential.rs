//! The part of the document that describes one credential and its targets.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{DurationText, IdText};

/// One Databricks service principal whose OAuth secret is kept fresh.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct CredentialPart {
    /// The workspace where its secrets are managed.
    #[schemars(required)]
    pub(in crate::config) workspace: Option<String>,
    /// Further workspaces of the same account in which this principal is used.
    pub(in crate::config) also_workspaces: Option<Vec<String>>,
    /// The identity that signs in to the workspaces.
    #[schemars(required)]
    pub(in crate::config) identity: Option<String>,
    /// Display name, or `{ application_id: UUID }`.
    #[schemars(required)]
    pub(in crate::config) service_principal: Option<PrincipalPart>,
    /// Whether a missing principal is made, with SQL access.
    pub(in crate::config) create_service_principal: Option<bool>,
    /// Lifetime of a minted secret; at most 730d and at most three times `rotate_every`. Default 14d.
    pub(in crate::config) lifetime: Option<DurationText>,
    /// When the next rotation is due, or `manual`. Default 7d.
    pub(in crate::config) rotate_every: Option<String>,
    /// How long the previous secret lives after the last target has moved. Default 24h.
    pub(in crate::config) grace: Option<DurationText>,
    /// Rotations start only here.
    pub(in crate::config) window: Option<WindowPart>,
    /// Days on which no rotation starts: `2026-12-20..2027-01-03`, both included.
    pub(in crate::config) freeze: Option<Vec<String>>,
    /// Where the current generation is kept: `file:PATH`, `akv:VAULT/NAME` or `awssm:NAME`.
    #[schemars(required)]
    pub(in crate::config) store: Option<String>,
    /// Further stores, also `databricks:SCOPE/KEY` in the credential's workspace.
    pub(in crate::config) copies: Option<Vec<String>>,
    /// Warehouses on which the principal is given CAN_USE.
    pub(in crate::config) warehouses: Option<Vec<IdText>>,
    /// Unity Catalog privileges that the principal is given.
    pub(in crate::config) grants: Option<Vec<GrantPart>>,
    /// A smoke query, run as the new credential before any target is touched.
    pub(in crate::config) verify: Option<VerifyPart>,
    /// The account, where workspace-level calls are not allowed.
    pub(in crate::config) account: Option<AccountPart>,
    /// The data sources that hold this credential.
    pub(in crate::config) targets: Option<TargetsPart>,
}

/// How a principal is named.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum PrincipalPart {
    /// Its display name, which must be unique.
    DisplayName(String),
    /// Its application id.
    ApplicationId(ApplicationIdPart),
}

/// A principal by its application id.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ApplicationIdPart {
    /// The application (client) id, a UUID.
    #[schemars(required)]
    pub(in crate::config) application_id: Option<String>,
}

/// A recurring window.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct WindowPart {
    /// When it opens: minute, hour, day of month, month, day of week.
    #[schemars(required)]
    pub(in crate::config) cron: Option<String>,
    /// IANA time zone. Default UTC.
    pub(in crate::config) timezone: Option<String>,
    /// How long it stays open.
    #[schemars(required)]
    pub(in crate::config) length: Option<DurationText>,
}

/// Privileges on one Unity Catalog object.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct GrantPart {
    /// The kind of object.
    #[schemars(required)]
    pub(in crate::config) securable: Option<SecurableName>,
    /// Its full name, such as `main.sales`.
    #[schemars(required)]
    pub(in crate::config) name: Option<String>,
    /// Such as `USE_CATALOG`, `USE_SCHEMA`, `SELECT`.
    #[schemars(required)]
    pub(in crate::config) privileges: Option<Vec<String>>,
}

/// Kinds of Unity Catalog object.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum SecurableName {
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
pub(in crate::config) struct VerifyPart {
    /// Where it runs.
    #[schemars(required)]
    pub(in crate::config) warehouse: Option<IdText>,
}

/// A Databricks account.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AccountPart {
    /// The account console, such as `https://accounts.azuredatabricks.net`.
    #[schemars(required)]
    pub(in crate::config) host: Option<String>,
    /// The account id, a UUID.
    #[schemars(required)]
    pub(in crate::config) id: Option<String>,
}

/// The data sources that hold a credential.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct TargetsPart {
    /// The identity that signs in to Power BI and Fabric.
    #[schemars(required)]
    pub(in crate::config) identity: Option<String>,
    /// Rows of what is selected, by names or ids.
    pub(in crate::config) select: Option<Vec<SelectPart>>,
    /// A CSV file of gateway data sources and the principals they use.
    pub(in crate::config) mapping: Option<String>,
    /// Whether a dataset may be taken over to update a cloud data source; `always`: even one with other cloud sources,
    /// whose credentials someone must then enter again.
    pub(in crate::config) take_over: Option<TakeOverPart>,
    /// Whether another kind of credential may be replaced.
    pub(in crate::config) convert: Option<bool>,
    /// Canary waves, as numbers or percentages of targets. Default [100%].
    pub(in crate::config) waves: Option<Vec<IdText>>,
    /// Used only where the present privacy level can't be read.
    pub(in crate::config) privacy_level: Option<PrivacyLevelName>,
    /// How many targets are written at once. Default 16.
    #[schemars(range(min = 1, max = 64))]
    pub(in crate::config) concurrency: Option<u64>,
}

/// One row: `{ workspace, dataset[, refresh] }`, `{ warehouse }`, `{ all: true }`, `{ gateway, datasource }` or
/// `{ connection }`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct SelectPart {
    /// Power BI workspace.
    pub(in crate::config) workspace: Option<String>,
    /// Dataset (semantic model).
    pub(in crate::config) dataset: Option<String>,
    /// Whether the dataset is refreshed afterwards. Default none.
    pub(in crate::config) refresh: Option<RefreshName>,
    /// Every data source on this warehouse that the identity can see.
    pub(in crate::config) warehouse: Option<IdText>,
    /// Every data source on the credential's workspaces.
    pub(in crate::config) all: Option<bool>,
    /// On-premises or virtual network gateway.
    pub(in crate::config) gateway: Option<String>,
    /// Data source of the gateway.
    pub(in crate::config) datasource: Option<String>,
    /// Fabric connection, by its id.
    pub(in crate::config) connection: Option<String>,
}

/// What follows the update of a dataset's sources.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum RefreshName {
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
pub(in crate::config) enum TakeOverPart {
    /// Whether it may at all.
    Flag(bool),
    /// Even with other cloud sources.
    Word(AlwaysName),
}

/// The word `always`.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum AlwaysName {
    /// Even with other cloud sources.
    Always,
}

/// Power BI's privacy levels.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub(in crate::config) enum PrivacyLevelName {
    /// None.
    None,
    /// Private.
    Private,
    /// Organizational.
    Organizational,
    /// Public.
    Public,
}
