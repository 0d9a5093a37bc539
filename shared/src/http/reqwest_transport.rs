//! The production transport: reqwest over rustls. It follows no redirect, bounds every answer, takes the proxy from the
//! usual variables, and trusts `SSL_CERT_FILE` besides the system's own roots.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::transport::{BODY_BYTES_MAX, BodyLimit, Transport, TransportError};
use crate::config::env_vars::Environment;
use crate::error::Error;

/// Time for DNS, TCP and TLS of one connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// An idle connection is closed after this, before the services' own load balancers do so under a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Where Linux systems keep their trusted roots in one file. The platform verifier reads `SSL_CERT_FILE` *instead* of them.
const SYSTEM_ROOTS: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Carries requests over the network.
#[derive(Debug)]
pub struct ReqwestTransport {
    /// As the proxy variables say.
    outside: Client,
    /// Loopback and the platform's link-local addresses are spoken to directly: it may be plain HTTP, which no proxy may see.
    near: Client,
}

/// A client that is set up when it is first needed: reading the system's trusted roots takes longer than all else that a process
/// does at its start.
#[derive(Debug)]
struct Client {
    proxied: bool,
    /// Trusted besides the system's own, which are then read as well; without any, the platform verifier finds those.
    roots: Vec<reqwest::Certificate>,
    ready: OnceLock<Result<reqwest::Client, Arc<reqwest::Error>>>,
}

impl ReqwestTransport {
    /// A transport as this environment asks for it.
    pub fn new(environment: &Environment) -> Result<Self, Error> {
        let trusted = environment.get("SSL_CERT_FILE").map(roots).transpose()?.unwrap_or_default();
        let client = |proxied| Client { proxied, roots: trusted.clone(), ready: OnceLock::new() };
        Ok(Self { outside: client(true), near: client(false) })
    }
}

impl Client {
    fn ready(&self) -> Result<&reqwest::Client, TransportError> {
        let built = self.ready.get_or_init(|| self.build().map_err(Arc::new));
        built.as_ref().map_err(|error| TransportError::NotSent(Box::new(Arc::clone(error))))
    }

    fn build(&self) -> reqwest::Result<reqwest::Client> {
        let system = match self.roots[..] {
            [] => Vec::new(),
            _ => SYSTEM_ROOTS.iter().find_map(|path| roots(path).ok()).unwrap_or_default(),
        };
        let builder = reqwest::Client::builder()
            .user_agent(concat!("lakekey/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tls_certs_merge(self.roots.iter().cloned().chain(system));
        if self.proxied { builder } else { builder.no_proxy() }.build()
    }
}

#[async_trait::async_trait]
impl Transport for ReqwestTransport {
    async fn send(&self, request: http::Request<Bytes>, timeout: Duration) -> Result<http::Response<Bytes>, TransportError> {
        let limit = request.extensions().get::<BodyLimit>().map_or(BODY_BYTES_MAX, |limit| limit.0);
        let request = reqwest::Request::try_from(request).map_err(|error| TransportError::NotSent(error.into()))?;
        match tokio::time::timeout(timeout, self.exchange(request, limit)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(TransportError::Timeout(timeout)),
        }
    }
}

impl ReqwestTransport {
    async fn exchange(&self, request: reqwest::Request, limit: usize) -> Result<http::Response<Bytes>, TransportError> {
        let client = if is_near(request.url()) { &self.near } else { &self.outside };
        let mut answer = client.ready()?.execute(request).await.map_err(classify)?;
        if answer.content_length().is_some_and(|length| length > limit as u64) {
            return Err(TransportError::TooLarge { limit });
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(cut)? {
            if body.len() + chunk.len() > limit {
                return Err(TransportError::TooLarge { limit });
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = http::Response::new(body.freeze());
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(response)
    }
}

fn is_near(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback() || address.is_link_local(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Only what fails while connecting certainly never arrived.
fn classify(error: reqwest::Error) -> TransportError {
    let never_arrived = error.is_connect() || error.is_builder();
    // An address may carry a query; it has no place in an error.
    let error = error.without_url();
    if never_arrived { TransportError::NotSent(error.into()) } else { TransportError::Ambiguous(error.into()) }
}

fn cut(error: reqwest::Error) -> TransportError {
    TransportError::Ambiguous(error.without_url().into())
}

fn roots(path: &str) -> Result<Vec<reqwest::Certificate>, Error> {
    let unreadable = || {
        Error::usage("trusted-roots", format!("SSL_CERT_FILE names `{path}`, which holds no readable certificates"))
            .hint("it must be a file of certificates in PEM format")
    };
    let pem = std::fs::read(path).map_err(|error| unreadable().caused_by(error))?;
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(unreadable()),
        Err(error) => Err(unreadable().caused_by(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str, value: &str) -> Environment {
        [(name.to_owned(), value.to_owned())].into_iter().collect()
    }

    #[test]
    fn unreadable_roots_are_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for path in ["/nonexistent/roots.pem", file.path().to_str().unwrap()] {
            let error = ReqwestTransport::new(&environment("SSL_CERT_FILE", path)).unwrap_err();
            assert_eq!(error.code(), "trusted-roots");
            assert!(error.to_string().contains(path));
        }
    }

    #[tokio::test]
    async fn a_refused_connection_was_certainly_not_sent() {
        let transport = ReqwestTransport::new(&environment("X", "y")).unwrap();
        // Port 1 on loopback: nothing listens there.
        let request = http::Request::get("http://127.0.0.1:1/x?secret=1").body(Bytes::new()).unwrap();
        let error = transport.send(request, Duration::from_secs(5)).await.unwrap_err();
        assert!(matches!(error, TransportError::NotSent(_)), "{error:?}");
        assert!(!format!("{error:?}").contains("secret"));
    }
}
