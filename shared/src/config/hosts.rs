//! Where credentials may go.
/// Hosts that credentials may be sent to.
#[derive(Clone, Debug)]
pub struct HostPolicy;

/// A host that credentials may not be sent to.
#[derive(Debug)]
pub struct ForbiddenHost;

/// The clouds whose built-in addresses lakekey knows.
#[derive(Clone, Copy, Debug)]
pub enum Cloud {
    /// The public cloud.
    Public,
}

impl HostPolicy {
    /// The policy of a cloud.
    pub fn new(cloud: Cloud, extra_hosts: Option<&str>) -> Result<Self, String> {
        let _ = (cloud, extra_hosts);
        Ok(Self)
    }

    /// Whether credentials may be sent there.
    pub fn allows(&self, url: &url::Url) -> Result<(), ForbiddenHost> {
        let host = url.host_str().unwrap_or_default();
        let known = [".azuredatabricks.net", "login.microsoftonline.com", "api.powerbi.com", "api.fabric.microsoft.com"];
        let allowed = (url.scheme() == "https" && known.iter().any(|known| host.ends_with(known))) || host == "127.0.0.1";
        if allowed { Ok(()) } else { Err(ForbiddenHost) }
    }
}
