//! Where credentials may go. The config can name hosts only inside this policy; widening it takes the environment
//! (`LAKEKEY_ALLOWED_HOSTS`), which whoever edits the config may not control. Invariant: a URL is judged by the host that
//! `url::Url` would connect to, never by its spelling.

use std::net::IpAddr;

use url::{Host, Origin, Url};

use super::env_vars::ALLOWED_HOSTS;
use super::model::{Endpoints, ServiceAddress};
use crate::error::Error;

/// The clouds whose built-in addresses lakekey knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cloud {
    /// The public cloud.
    #[default]
    Public,
    /// Azure and AWS for the US government.
    Usgov,
    /// Azure operated by 21Vianet.
    China,
}

/// The addresses of one cloud.
pub(super) struct CloudHosts {
    pub(super) entra: &'static str,
    pub(super) powerbi: &'static str,
    pub(super) fabric: &'static str,
    pub(super) arm: &'static str,
    pub(super) keyvault: &'static str,
    pub(super) blob: &'static str,
    pub(super) queue: &'static str,
    pub(super) powerbi_scope: &'static str,
    pub(super) fabric_scope: &'static str,
    pub(super) arm_scope: &'static str,
    pub(super) keyvault_scope: &'static str,
}

impl Endpoints {
    /// The built-in addresses of a cloud.
    pub fn of(cloud: Cloud) -> Self {
        let hosts = cloud.hosts();
        let address = |host: &str| Url::parse(&format!("https://{host}")).expect("the built-in hosts are hosts");
        Self {
            entra: address(hosts.entra),
            powerbi: address(hosts.powerbi),
            fabric: address(hosts.fabric),
            keyvault: ServiceAddress::Suffix(hosts.keyvault),
            blob: ServiceAddress::Suffix(hosts.blob),
            queue: ServiceAddress::Suffix(hosts.queue),
            powerbi_scope: hosts.powerbi_scope.to_owned(),
            fabric_scope: hosts.fabric_scope.to_owned(),
            arm_scope: hosts.arm_scope.to_owned(),
            keyvault_scope: hosts.keyvault_scope.to_owned(),
        }
    }
}

impl Cloud {
    /// The cloud of an Entra authority, as `AZURE_AUTHORITY_HOST` names it for every Azure program.
    pub fn of_authority(authority: Option<&str>) -> Self {
        let is_of = |cloud: &Self| authority.is_some_and(|authority| authority.contains(cloud.hosts().entra));
        [Self::Usgov, Self::China].into_iter().find(is_of).unwrap_or(Self::Public)
    }

    /// Fabric outside the public cloud follows the naming of its siblings and is untested: `endpoints.fabric` overrides it.
    pub(super) fn hosts(self) -> &'static CloudHosts {
        match self {
            Self::Public => &CloudHosts {
                entra: "login.microsoftonline.com",
                powerbi: "api.powerbi.com",
                fabric: "api.fabric.microsoft.com",
                arm: "management.azure.com",
                keyvault: "vault.azure.net",
                blob: "blob.core.windows.net",
                queue: "queue.core.windows.net",
                powerbi_scope: "https://analysis.windows.net/powerbi/api/.default",
                fabric_scope: "https://api.fabric.microsoft.com/.default",
                arm_scope: "https://management.core.windows.net//.default",
                keyvault_scope: "https://vault.azure.net/.default",
            },
            Self::Usgov => &CloudHosts {
                entra: "login.microsoftonline.us",
                powerbi: "api.powerbigov.us",
                fabric: "api.fabric.microsoft.us",
                arm: "management.usgovcloudapi.net",
                keyvault: "vault.usgovcloudapi.net",
                blob: "blob.core.usgovcloudapi.net",
                queue: "queue.core.usgovcloudapi.net",
                powerbi_scope: "https://analysis.usgovcloudapi.net/powerbi/api/.default",
                fabric_scope: "https://api.fabric.microsoft.us/.default",
                arm_scope: "https://management.core.usgovcloudapi.net//.default",
                keyvault_scope: "https://vault.usgovcloudapi.net/.default",
            },
            Self::China => &CloudHosts {
                entra: "login.chinacloudapi.cn",
                powerbi: "api.powerbi.cn",
                fabric: "api.fabric.azure.cn",
                arm: "management.chinacloudapi.cn",
                keyvault: "vault.azure.cn",
                blob: "blob.core.chinacloudapi.cn",
                queue: "queue.core.chinacloudapi.cn",
                powerbi_scope: "https://analysis.chinacloudapi.cn/powerbi/api/.default",
                fabric_scope: "https://api.fabric.azure.cn/.default",
                arm_scope: "https://management.core.chinacloudapi.cn//.default",
                keyvault_scope: "https://vault.azure.cn/.default",
            },
        }
    }
}

/// Databricks, on every cloud: workspaces and account consoles.
const DATABRICKS: [&str; 7] = [
    "azuredatabricks.net",
    "databricks.azure.us",
    "databricks.azure.cn",
    "cloud.databricks.com",
    "cloud.databricks.us",
    "cloud.databricks.mil",
    "gcp.databricks.com",
];

/// AWS: regional endpoints, those of China, dual-stack ones.
const AWS: [&str; 3] = ["amazonaws.com", "amazonaws.com.cn", "api.aws"];

/// Hosts that credentials may be sent to.
#[derive(Clone, Debug)]
pub struct HostPolicy {
    allowed: Vec<Pattern>,
    /// Where the platform hands out tokens of its managed identity; a link-local address speaks no TLS.
    platform: Option<Origin>,
}

/// One allowed host, or every host below a suffix. Without a port the scheme's own is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    /// Exact host in `Url`'s normal form; for a suffix, the part after `*.`.
    host: String,
    below: bool,
    port: Option<u16>,
}

/// A URL that credentials may not go to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForbiddenHost {
    /// The host is not on the list.
    #[error("credentials may not go to `{0}`")]
    Unlisted(String),
    /// `http`, or another scheme, beyond loopback.
    #[error("credentials go to `{0}` by https only")]
    Insecure(String),
    /// The URL names a user or a password.
    #[error("an address has no user or password in it")]
    UserInfo,
    /// The URL names no host.
    #[error("the address names no host")]
    NoHost,
}

impl ForbiddenHost {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unlisted(_) => {
                "check the spelling; if the host is yours, add it to the environment variable LAKEKEY_ALLOWED_HOSTS (the config can't)"
            }
            Self::Insecure(_) => "write `https://`; `http://` is for loopback only",
            Self::UserInfo => "remove the part before the `@`",
            Self::NoHost => "write `https://HOST`",
        }
    }
}

impl HostPolicy {
    /// The policy of a cloud, widened by the entries of `LAKEKEY_ALLOWED_HOSTS`: `host`, `host:port`, `*.suffix`,
    /// `*.suffix:port`, separated by commas or spaces. The error is the first entry that is none of these.
    pub fn new(cloud: Cloud, extra_hosts: Option<&str>) -> Result<Self, String> {
        let hosts = cloud.hosts();
        let exact = [hosts.entra, hosts.powerbi, hosts.fabric, hosts.arm].into_iter().map(|host| (host, false));
        Self::of(exact.chain(DATABRICKS.into_iter().map(|suffix| (suffix, true))), extra_hosts)
    }

    /// The policy of what keeps values and state at Azure: sign-in, Key Vault, Blob and Queue storage.
    pub fn azure_places(endpoints: &Endpoints, extra_hosts: Option<&str>) -> Result<Self, String> {
        let mut policy = Self::of(std::iter::empty(), extra_hosts)?;
        policy.allowed.extend(Pattern::at(&endpoints.entra));
        for service in [&endpoints.keyvault, &endpoints.blob, &endpoints.queue] {
            match service {
                ServiceAddress::Suffix(suffix) => {
                    policy.allowed.push(Pattern { host: (*suffix).to_owned(), below: true, port: None });
                }
                ServiceAddress::Override(url) => policy.allowed.extend(Pattern::at(url)),
            }
        }
        Ok(policy)
    }

    /// The policy of AWS.
    pub fn aws(extra_hosts: Option<&str>) -> Result<Self, String> {
        Self::of(AWS.into_iter().map(|suffix| (suffix, true)), extra_hosts)
    }

    /// The error about an entry of `LAKEKEY_ALLOWED_HOSTS` that is none.
    pub(crate) fn unreadable(entry: String) -> Error {
        Error::usage("bad-allowed-hosts", format!("`{entry}` in {ALLOWED_HOSTS} is not a host"))
            .hint("write `host`, `host:port` or `*.suffix`, separated by commas")
    }

    fn of(built_in: impl Iterator<Item = (&'static str, bool)>, extra_hosts: Option<&str>) -> Result<Self, String> {
        let mut allowed: Vec<Pattern> =
            built_in.map(|(host, below)| Pattern { host: host.to_owned(), below, port: None }).collect();
        for entry in extra_hosts.unwrap_or_default().split([',', ' ', '\t', '\n', '\r']).filter(|entry| !entry.is_empty()) {
            allowed.push(Pattern::parse(entry).ok_or_else(|| entry.to_owned())?);
        }
        Ok(Self { allowed, platform: None })
    }

    /// A policy that allows the host of this URL alone: for what carries no credential and goes where a secret says.
    pub fn only(url: &Url) -> Self {
        Self { allowed: Pattern::at(url).into_iter().collect(), platform: None }
    }

    /// A policy that allows this one address of the platform, by http too: it comes from the environment or is Azure's own,
    /// never from the config, and is sent nothing but the platform's own header.
    pub(crate) fn platform(url: &Url) -> Self {
        Self { allowed: Vec::new(), platform: Some(url.origin()) }
    }

    /// Whether credentials may be sent to this URL.
    pub fn allows(&self, url: &Url) -> Result<(), ForbiddenHost> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ForbiddenHost::UserInfo);
        }
        let host = url.host().ok_or(ForbiddenHost::NoHost)?;
        if self.platform.as_ref() == Some(&url.origin()) {
            return Ok(());
        }
        if is_loopback(&host) && matches!(url.scheme(), "http" | "https") {
            return Ok(());
        }
        let shown = url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"));
        if url.scheme() != "https" {
            return Err(ForbiddenHost::Insecure(shown));
        }
        let host = host.to_string();
        if self.allowed.iter().any(|pattern| pattern.matches(&host, url.port())) {
            Ok(())
        } else {
            Err(ForbiddenHost::Unlisted(shown))
        }
    }
}

impl Pattern {
    /// The host of one address.
    fn at(url: &Url) -> Option<Self> {
        url.host().map(|host| Self { host: host.to_string(), below: false, port: url.port() })
    }

    fn parse(entry: &str) -> Option<Self> {
        let (below, rest) = entry.strip_prefix("*.").map_or((false, entry), |rest| (true, rest));
        if rest.contains(['*', '/', '@', '?', '#', '\\']) || rest.ends_with('.') || rest.starts_with('.') {
            return None;
        }
        let url = Url::parse(&format!("https://{rest}")).ok()?;
        let host = url.host()?;
        // A wildcard over a whole top-level domain, or over an address, is a slip.
        if below && !matches!(&host, Host::Domain(name) if name.contains('.')) {
            return None;
        }
        Some(Self { host: host.to_string(), below, port: url.port() })
    }

    fn matches(&self, host: &str, port: Option<u16>) -> bool {
        let named = if self.below {
            host.strip_suffix(&self.host).and_then(|rest| rest.strip_suffix('.')).is_some_and(|rest| !rest.is_empty())
        } else {
            host == self.host
        };
        named && port == self.port
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => IpAddr::V4(*address).is_loopback(),
        Host::Ipv6(address) => IpAddr::V6(*address).is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(policy: &HostPolicy, url: &str) -> Result<(), ForbiddenHost> {
        policy.allows(&Url::parse(url).unwrap())
    }

    #[test]
    fn the_chosen_cloud_databricks_and_loopback_are_allowed() {
        let policy = HostPolicy::new(Cloud::Public, None).unwrap();
        for url in [
            "https://login.microsoftonline.com/x",
            "https://API.PowerBI.com:443/v1.0",
            "https://api.fabric.microsoft.com",
            "https://adb-1.7.azuredatabricks.net/oidc",
            "https://dbc-1.cloud.databricks.com",
            "https://1.2.gcp.databricks.com",
            "https://adb-1.7.databricks.azure.us",
            "https://adb-1.7.databricks.azure.cn",
            "http://127.0.0.1:8080",
            "http://127.1",
            "http://0x7f.1:99",
            "http://[::1]:9",
            "http://localhost:1",
            "https://localhost",
        ] {
            assert_eq!(judge(&policy, url), Ok(()), "{url}");
        }
    }

    #[test]
    fn lookalikes_and_other_clouds_are_refused() {
        let policy = HostPolicy::new(Cloud::Public, None).unwrap();
        for url in [
            "https://evil-azuredatabricks.net",
            "https://azuredatabricks.net",
            "https://.azuredatabricks.net",
            "https://x.azuredatabricks.net.evil.com",
            "https://x.azuredatabricks.net.",
            "https://x.azuredatabricks.net@evil.com",
            "https://evil.com/x.azuredatabricks.net",
            "https://evil.com#.azuredatabricks.net",
            "https://evil.com\\.azuredatabricks.net",
            "https://x.azuredatabricks.net:8443",
            "http://x.azuredatabricks.net",
            "ftp://127.0.0.1",
            "https://api.powerbigov.us",
            "https://login.microsoftonline.us",
            "https://128.0.0.1",
            "https://[::ffff:127.0.0.1]",
            "https://localhost.evil.com",
            "https://user:pw@api.powerbi.com",
            "https://x.azuredatabricks。net.evil.com",
            "data:text/plain,x",
        ] {
            if let Ok(url) = Url::parse(url) {
                assert!(policy.allows(&url).is_err(), "{url}");
            }
        }
    }

    #[test]
    fn the_environment_widens_the_policy_exactly() {
        let policy =
            HostPolicy::new(Cloud::Usgov, Some("proxy.corp:8443, *.lake.example\tplain.example *.ported.example:444")).unwrap();
        for url in [
            "https://proxy.corp:8443",
            "https://a.b.lake.example",
            "https://plain.example",
            "https://x.ported.example:444",
            "https://api.powerbigov.us",
        ] {
            assert_eq!(judge(&policy, url), Ok(()), "{url}");
        }
        for url in [
            "https://proxy.corp",
            "http://proxy.corp:8443",
            "https://lake.example",
            "https://plain.example:8443",
            "https://x.ported.example",
            "https://api.powerbi.com",
        ] {
            assert!(judge(&policy, url).is_err(), "{url}");
        }
    }

    #[test]
    fn careless_entries_of_the_environment_are_refused() {
        for entry in ["*", "*.com", "*.*.x.y", "https://x.y", "x.y/z", "x.y.", "a@b.c", "*.127.0.0.1", "*.", ".x.y"] {
            assert_eq!(HostPolicy::new(Cloud::Public, Some(entry)).map(|_| ()), Err(entry.to_owned()), "{entry}");
        }
    }
}
