//! Lets SDKs send over the transport of everything else: one TLS stack, the same proxies, roots and bounds, and a host check
//! like that of [`Http`](super::Http), which they do not pass. `smithy` fits it to the SDKs of AWS, `objects` to object stores.

mod objects;
mod smithy;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use url::{Host, Url};

use super::transport::{Transport, TransportError};
use crate::config::hosts::HostPolicy;

/// Carries the requests of SDKs.
#[derive(Clone)]
pub struct SdkTransport {
    transport: Arc<dyn Transport>,
    hosts: HostPolicy,
    timeout: Duration,
}

/// Why an SDK got no answer.
#[derive(Debug, thiserror::Error)]
pub enum NotCarried {
    /// Nothing was sent.
    #[error("credentials may not go to `{0}`")]
    ForbiddenHost(String),
    /// The transport gave up.
    #[error("no answer came back")]
    Transport(#[from] TransportError),
}

impl SdkTransport {
    /// Carries to `hosts` alone; `timeout` bounds one attempt.
    pub fn new(transport: Arc<dyn Transport>, hosts: HostPolicy, timeout: Duration) -> Self {
        Self { transport, hosts, timeout }
    }

    /// How long one attempt may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    async fn carry(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, NotCarried> {
        let url = Url::parse(&request.uri().to_string()).ok();
        let Some(url) = url.filter(|url| self.hosts.allows(url).is_ok() || is_metadata(url)) else {
            return Err(NotCarried::ForbiddenHost(request.uri().host().unwrap_or_default().to_owned()));
        };
        let method = request.method().clone();
        let outcome = self.transport.send(request, self.timeout).await;
        tracing::debug!(
            method = method.as_str(),
            host = url.host_str(),
            path = url.path(),
            status = outcome.as_ref().map_or(0, |answer| answer.status().as_u16()),
            "request of an SDK"
        );
        Ok(outcome?)
    }
}

impl std::fmt::Debug for SdkTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SdkTransport")
    }
}

/// Where machines and containers of the clouds learn their own credentials: fixed link-local addresses, always plain HTTP.
/// (docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html)
fn is_metadata(url: &Url) -> bool {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        Some(Host::Domain(_)) | None => return false,
    };
    url.scheme() == "http" && METADATA.iter().any(|known| known.parse() == Ok(address))
}

const METADATA: [&str; 5] = ["169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_known_link_local_addresses_give_credentials() {
        let is = |url: &str| is_metadata(&Url::parse(url).unwrap());
        assert!(is("http://169.254.169.254/latest/api/token") && is("http://169.254.170.2/v2") && is("http://[fd00:ec2::254]/"));
        assert!(!is("http://169.254.169.253/") && !is("https://169.254.169.254/") && !is("http://169.254.169.254.nip.io/"));
    }
}
