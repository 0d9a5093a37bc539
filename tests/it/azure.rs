//! Azure Functions: the built handler, unpacked as it is shipped, driven by a host of Functions over the wire. Its journal is in
//! Azurite, its store in a vault, its sign-in a managed identity.

mod crashes;
mod doors;
mod starts;
mod triggers;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lakekey_bench::{Deployed, built};
use lakekey_core::rotation::drive;
use lakekey_host::{Host, Invocation, Payload, Stream, Tick};
use lakekey_sim::Fleet;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::WEBHOOK;
use doors::Outside;

const READER: &str = "reader-key-0123456789abcdef";
const OPERATOR: &str = "operator-key-0123456789abcdef";
const BREAKGLASS: &str = "breakglass-key-0123456789abcdef";

/// The handler, built once.
fn handler() -> &'static Path {
    static HANDLER: OnceLock<PathBuf> = OnceLock::new();
    HANDLER.get_or_init(|| built("lakekey-azure", "lakekey-azure").unwrap())
}

/// A deployment whose API has keys, and whose services take so long to answer.
async fn deployed(fleet: &Fleet, latency: Duration) -> Deployed {
    let mut deployed = Deployed::new(handler(), fleet, latency).await.unwrap();
    deployed.config["api"] = json!({
        "keys": { "reader": "env:READER", "operator": "env:OPERATOR", "breakglass": "env:BREAKGLASS" },
        "webhook_secret": "env:WEBHOOK",
    });
    let keys = [("READER", READER), ("OPERATOR", OPERATOR), ("BREAKGLASS", BREAKGLASS), ("WEBHOOK", WEBHOOK)];
    deployed.settings.extend(keys.map(|(name, key)| (name.to_owned(), key.to_owned())));
    deployed
}

/// What the tests ask of a deployment.
trait Checks {
    /// Ids of the principal's living secrets that lakekey's admin made.
    fn living(&self) -> Vec<String>;
    /// Every target holds the secret that the vault's newest version is of, and it works.
    fn assert_moved(&self);
    /// The journal's chain holds, for a reader that has nothing but the blobs.
    async fn assert_journal_is_whole(&self);
    /// No handler has said a secret, or anything on stderr, or anything but JSON.
    fn assert_discreet(&self, host: &Host);
}

impl Checks for Deployed {
    fn living(&self) -> Vec<String> {
        let cast = self.served.cloud.cast();
        let secrets = self.served.cloud.secrets(&cast.principal.application_id);
        let ours = secrets.into_iter().filter(|secret| secret.made_by == cast.admin.client_id && secret.deleted.is_none());
        ours.map(|secret| secret.id).collect()
    }

    fn assert_moved(&self) {
        let current = self.vault.versions("sales-bi").last().cloned().expect("the store has a value");
        let value: Value = serde_json::from_str(&current.value).unwrap();
        for source in self.served.cloud.sources().into_iter().filter(|source| source.target) {
            assert_eq!(source.secret_id.as_deref(), value["oauthSecretId"].as_str(), "{source:?}");
            assert!(source.connects, "{source:?}");
        }
    }

    async fn assert_journal_is_whole(&self) {
        let copy = Arc::new(InMemory::new());
        for name in self.azurite.blobs("state").await.unwrap() {
            let bytes = self.azurite.read("state", &name).await.unwrap();
            copy.put(&name.into(), bytes.into()).await.unwrap();
        }
        let application_id = &self.served.cloud.cast().principal.application_id;
        let (_, state) = drive::read(copy, application_id, None, false).await.unwrap();
        assert!(state.current.is_some());
    }

    fn assert_discreet(&self, host: &Host) {
        let mut secrets: Vec<String> = self.served.cloud.minted_values().into_values().collect();
        secrets.extend(self.served.cloud.environment().into_values());
        secrets.extend([READER, OPERATOR, BREAKGLASS, WEBHOOK].map(str::to_owned));
        for line in host.lines() {
            assert_eq!(line.stream, Stream::Stdout, "{line:?}");
            let json: Value = serde_json::from_str(&line.text).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            assert!(json["timestamp"].is_string() && json["level"].is_string() && json["message"].is_string(), "{line:?}");
            assert!(!secrets.iter().any(|secret| line.text.contains(secret.as_str())), "{line:?}");
        }
    }
}

/// A tick of the timer, as the first one of all is told.
fn tick() -> Payload {
    Payload::Timer(Tick { first: true, monitored: true, ..Tick::default() })
}

/// The lines of one invocation.
fn lines_of(host: &Host, invocation: &Invocation) -> Vec<Value> {
    let lines = host.lines().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line.text).ok());
    lines.filter(|line| line["invocation_id"] == invocation.id.as_str()).collect()
}

/// Where to read the operation of a rotation that was asked for.
async fn ordered(host: &Host) -> String {
    let outside = Outside::of(host).await;
    let asked = outside.ask(Method::POST, "/api/credentials/sales-bi/rotate").header("x-lakekey-key", OPERATOR);
    let (status, operation) = Outside::answer(asked.body(json!({ "force": true }).to_string())).await;
    assert_eq!(status, 202, "{operation:#}");
    format!("/api/operations/{}", operation["id"].as_str().unwrap())
}

async fn asked(host: &Host, path: &str) -> Value {
    let outside = Outside::of(host).await;
    let (status, answer) = Outside::answer(outside.ask(Method::GET, path).header("x-lakekey-key", READER)).await;
    assert_eq!(status, 200, "{path}: {answer:#}");
    answer
}
