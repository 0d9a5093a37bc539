//! What is outside of this machine, for processes that a test starts: the proxy of their environment, which lets nothing through and
//! remembers who was asked for. A test that has forgotten to give an address of its own fails at once, and says which.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Lets nothing through until it is dropped.
pub struct Outside {
    address: String,
    reached_for: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

impl Outside {
    /// Begins to watch.
    pub async fn watched() -> anyhow::Result<Self> {
        let reached_for = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&reached_for);
        let refuse = move |request: Request| {
            let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(host);
            async { StatusCode::FORBIDDEN }
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = format!("http://{}", listener.local_addr()?);
        #[expect(clippy::disallowed_methods, reason = "it is beside the process, and ends with its handle")]
        let server = tokio::spawn(async move { drop(axum::serve(listener, Router::new().fallback(refuse)).await) });
        Ok(Self { address, reached_for, server })
    }

    /// What leads a process here with all that is not for loopback.
    pub fn environment(&self) -> [(String, String); 3] {
        let proxy = |name: &str| (name.to_owned(), self.address.clone());
        [proxy("HTTP_PROXY"), proxy("HTTPS_PROXY"), ("NO_PROXY".to_owned(), "127.0.0.1,localhost".to_owned())]
    }

    /// Whom somebody wanted to speak to, as `HOST:PORT`.
    pub fn reached_for(&self) -> Vec<String> {
        self.reached_for.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.server.abort();
    }
}
