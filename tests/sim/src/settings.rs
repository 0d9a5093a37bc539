//! How this cloud behaves where the real ones differ, are unknown, or can be set. Defaults take the hostile variant.

use std::time::Duration;

use jiff::Timestamp;

#[derive(Clone, Debug)]
pub struct Settings {
    /// The cloud's time at its start; `None` is the wall clock.
    pub start: Option<Timestamp>,
    /// Before every answer of every service.
    pub latency: Duration,
    /// How long a new secret is refused by the token endpoint.
    pub secret_settles: Duration,
    /// How long access tokens live, at Databricks and at Entra.
    pub token_life: Duration,
    /// How often a device code may be asked about.
    pub device_interval: Duration,
    /// Whether a refresh gives no other refresh token; the first one stays good then.
    pub refresh_token_omitted: bool,
    /// How long a new secret is missing from lists and a deleted one stays in them.
    pub list_lag: Duration,
    pub secret_cap: usize,
    pub cap_answer: CapAnswer,
    /// Whether expired secrets are listed and use up slots.
    pub expired_count: bool,
    /// Lifetimes are rounded down to a multiple of this; some service may well do so.
    pub lifetime_rounding: Duration,
    /// The most that a page of a list holds, whatever was asked for.
    pub page: usize,
    pub take_over: TakeOver,
    /// Whether `gateways/{cloud}/datasources/{id}` answers for cloud sources; else only Fabric knows their privacy level.
    pub cloud_sources_readable: bool,
    /// Whether a secret scope's values can be read outside a notebook.
    pub scopes_readable: bool,
    pub warehouse_start: Duration,
    pub refresh_time: Duration,
    /// Whether workspaces are on a dedicated capacity; a shared one refuses enhanced refreshes.
    pub dedicated_capacity: bool,
    /// How long a test of a connection takes; what takes any time becomes an operation to follow.
    pub connection_test_time: Duration,
    /// Whether the tenant lets lakekey's identity use the scanner.
    pub scanner: Scanner,
    /// How long a scan takes.
    pub scan_time: Duration,
    /// Requests a minute for each service and identity.
    pub rate_limit: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            start: None,
            latency: Duration::ZERO,
            secret_settles: Duration::from_secs(1),
            token_life: Duration::from_secs(3_600),
            device_interval: Duration::from_secs(5),
            refresh_token_omitted: false,
            list_lag: Duration::ZERO,
            secret_cap: 5,
            cap_answer: CapAnswer::LimitExceeded,
            expired_count: true,
            lifetime_rounding: Duration::ZERO,
            page: 3,
            take_over: TakeOver::Rebinds,
            cloud_sources_readable: false,
            scopes_readable: true,
            warehouse_start: Duration::from_secs(4),
            refresh_time: Duration::from_secs(5),
            dedicated_capacity: true,
            connection_test_time: Duration::ZERO,
            scanner: Scanner::Closed { status: 401 },
            scan_time: Duration::from_secs(3),
            rate_limit: None,
        }
    }
}

/// Which of two refusals a tenant gives that lets no service principal use admin APIs is not certain: 401 or 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanner {
    Open,
    Closed { status: u16 },
}

/// The answer to a sixth secret is documented nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapAnswer {
    /// 400 `RESOURCE_LIMIT_EXCEEDED`
    LimitExceeded,
    /// 429 `RESOURCE_EXHAUSTED`, which SDKs take for throttling and retry.
    Exhausted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeOver {
    /// Cloud sources are bound to data sources of the new owner: other ids, no credentials unless that owner had them.
    Rebinds,
    /// Data sources and credentials stay.
    Keeps,
}
