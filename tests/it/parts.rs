//! Real parts: other people's programs that play the clouds on loopback, for tests whose own time stands still.

pub mod azure;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use lakekey_core::clock::Clock;
use lakekey_core::config::Config;
use lakekey_core::config::env_vars::Environment;
use lakekey_core::http::reqwest_transport::ReqwestTransport;
use lakekey_core::http::transport::{Transport, TransportError};
use lakekey_core::storage::Places;
use lakekey_parts::in_real_time;
use serde_json::{Value, json};
use url::Url;

/// Places as production opens them, with these variables and no others.
pub fn places(environment: &[(String, String)]) -> Places {
    places_at(environment, &json!({}))
}

/// The same, with services at other addresses.
pub fn places_at(environment: &[(String, String)], endpoints: &Value) -> Places {
    let environment: Environment = environment.iter().cloned().collect();
    let transport: Arc<dyn Transport> = Arc::new(RealTime);
    Places::new(&small_config(endpoints), &environment, &transport, &Clock::wall()).unwrap()
}

/// Nothing else that places look at.
fn small_config(endpoints: &Value) -> Config {
    let document = json!({
        "version": 1,
        "endpoints": endpoints,
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
    Config::of_document("config", document, &Environment::default(), Path::new("/")).unwrap()
}

/// Carries requests to parts by real time. Nobody else is spoken to.
pub struct RealTime;

impl RealTime {
    /// Whoever listens at this address is known by these roots.
    pub fn trust(address: &str, roots: &Path) {
        let roots = [("SSL_CERT_FILE".to_owned(), roots.display().to_string())].into_iter().collect();
        let transport = Arc::new(ReqwestTransport::new(&roots).unwrap());
        Self::trusted().lock().unwrap().insert(Url::parse(address).unwrap().port(), transport);
    }

    /// A platform gives its managed identity's tokens at the link-local address: here those of this endpoint.
    pub fn give_identity(variables: &BTreeMap<String, String>) {
        let client_id = variables["AZURE_CLIENT_ID"].clone();
        Self::identities().lock().unwrap().insert(client_id, variables.clone());
    }

    fn identities() -> &'static Mutex<HashMap<String, BTreeMap<String, String>>> {
        static IDENTITIES: OnceLock<Mutex<HashMap<String, BTreeMap<String, String>>>> = OnceLock::new();
        IDENTITIES.get_or_init(Mutex::default)
    }

    /// Whether a request is for a part: on loopback, or for the tokens of an identity that was given here.
    pub fn takes(request: &http::Request<Bytes>) -> bool {
        match request.uri().host() {
            Some("127.0.0.1") => true,
            Some(IMDS) => {
                let url = Url::parse(&request.uri().to_string()).unwrap();
                let client_id = url.query_pairs().find(|(key, _)| key == "client_id");
                client_id.is_some_and(|(_, id)| Self::identities().lock().unwrap().contains_key(&*id))
            }
            Some(_) | None => false,
        }
    }

    /// The question for IMDS, as the platform's endpoint for this identity takes it.
    fn at_platform(request: &http::Request<Bytes>) -> http::Request<Bytes> {
        assert_eq!(request.headers()["metadata"], "true");
        let url = Url::parse(&request.uri().to_string()).unwrap();
        let field = |name: &str| url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
        let variables = Self::identities().lock().unwrap()[&field("client_id")].clone();
        let query = [("api-version", "2019-08-01"), ("resource", &field("resource")), ("client_id", &field("client_id"))];
        let url = Url::parse_with_params(&variables["IDENTITY_ENDPOINT"], query).unwrap();
        let request = http::Request::get(url.as_str()).header("x-identity-header", &variables["IDENTITY_HEADER"]);
        request.body(Bytes::new()).unwrap()
    }

    /// A transport for each port with roots of its own.
    fn trusted() -> &'static Mutex<HashMap<Option<u16>, Arc<ReqwestTransport>>> {
        static TRUSTED: OnceLock<Mutex<HashMap<Option<u16>, Arc<ReqwestTransport>>>> = OnceLock::new();
        TRUSTED.get_or_init(Mutex::default)
    }
}

#[async_trait::async_trait]
impl Transport for RealTime {
    async fn send(&self, request: http::Request<Bytes>, timeout: Duration) -> Result<http::Response<Bytes>, TransportError> {
        static PLAIN: OnceLock<Arc<ReqwestTransport>> = OnceLock::new();
        let request = if request.uri().host() == Some(IMDS) { Self::at_platform(&request) } else { request };
        let host = request.uri().host().unwrap_or_default();
        assert!(["127.0.0.1", "localhost"].contains(&host), "a test has sent a request to {host}, which is not of this machine");
        let trusted = Self::trusted().lock().unwrap().get(&request.uri().port_u16()).cloned();
        let transport = trusted.unwrap_or_else(|| {
            Arc::clone(PLAIN.get_or_init(|| Arc::new(ReqwestTransport::new(&Environment::default()).unwrap())))
        });
        // The parts tell the time of day, which is not the test's own.
        in_real_time(async move { transport.send(request, timeout).await }).await.map(|mut answer| {
            answer.headers_mut().remove("date");
            answer
        })
    }
}

/// Where a machine asks for the tokens of its managed identity.
const IMDS: &str = "169.254.169.254";
