//! Real parts: other people's programs that play the clouds on loopback. Each is started once, on a free port, by whichever
//! test needs it first, and ends with this process: it watches a pipe that only we hold. `cargo xtask parts` installs them.

pub mod moto;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use lakekey_core::clock::Clock;
use lakekey_core::config::Config;
use lakekey_core::config::env_vars::Environment;
use lakekey_core::http::reqwest_transport::ReqwestTransport;
use lakekey_core::http::transport::{Transport, TransportError};
use lakekey_core::storage::Places;
use serde_json::json;
use tokio::runtime::Runtime;

/// Places as production opens them, with these variables and no others.
pub fn places(environment: &[(String, String)]) -> Places {
    let environment: Environment = environment.iter().cloned().collect();
    let transport: Arc<dyn Transport> = Arc::new(RealTime::shared().clone());
    Places::new(&small_config(), &environment, &transport, &Clock::wall()).unwrap()
}

/// Nothing that places look at.
fn small_config() -> Config {
    let document = json!({
        "version": 1,
        "state": "file:state",
        "identities": { "admin": { "auth": "pat", "token": "env:TOKEN" } },
        "credentials": { "sales": {
            "workspace": "https://adb-1.7.azuredatabricks.net",
            "identity": "admin",
            "service_principal": "sales",
            "store": "file:store",
        } },
    });
    let document = document.to_string().into_bytes();
    Config::of_document("config", document, &Environment::default(), std::path::Path::new("/")).unwrap()
}

/// Where a part was installed.
fn installed(name: &str) -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned();
    let folder = target.join("parts").join(name);
    assert!(folder.join("installed.txt").exists(), "{} is not there: run `cargo xtask parts` first", folder.display());
    folder
}

/// Starts a part that prints its port once it is ready. It ends when its stdin does, so the child is kept for as long as we live.
fn started(command: &mut Command) -> (Child, u16) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim().parse().unwrap_or_else(|_| panic!("{command:?} did not come up: {line:?}"));
    (child, port)
}

/// Carries requests to parts by real time. A test's own time stands still meanwhile: tokio does not advance a paused clock
/// while a blocking thread is at work.
#[derive(Clone)]
pub struct RealTime(Arc<ReqwestTransport>);

impl RealTime {
    /// To plain HTTP on loopback.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<RealTime> = OnceLock::new();
        SHARED.get_or_init(|| Self(Arc::new(ReqwestTransport::new(&Environment::default()).unwrap())))
    }

    /// Sends one request of the test's own.
    pub async fn send_once(request: http::Request<Bytes>) -> http::Response<Bytes> {
        Self::shared().send(request, Duration::from_secs(30)).await.unwrap()
    }

    fn runtime() -> &'static Runtime {
        static RUNTIME: OnceLock<Runtime> = OnceLock::new();
        RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap())
    }
}

#[async_trait::async_trait]
impl Transport for RealTime {
    async fn send(&self, request: http::Request<Bytes>, timeout: Duration) -> Result<http::Response<Bytes>, TransportError> {
        let transport = Arc::clone(&self.0);
        let sent =
            tokio::task::spawn_blocking(move || Self::runtime().block_on(async move { transport.send(request, timeout).await }));
        sent.await.unwrap()
    }
}
