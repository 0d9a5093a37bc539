//! A simulated cloud in process, a config for it, and the real command line over both, in virtual time.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use lakekey_cli::CliSurroundings;
use lakekey_core::clock::Clock;
use lakekey_core::config::env_vars::Environment;
use lakekey_core::config::{Config, ConfigSource};
use lakekey_core::http::transport::{Transport, TransportError};
use lakekey_core::ids::SecretId;
use lakekey_core::random::Random;
use lakekey_core::storage::{Places, Storage};
use lakekey_sim::{Addresses, Cloud, Fleet, Settings, SourceTruth};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::parts::RealTime;

/// When every test begins.
pub const START: &str = "2026-03-02T08:00:00Z";

/// Carries requests to the cloud without a socket.
pub struct InProcess(pub Cloud);

#[async_trait::async_trait]
impl Transport for InProcess {
    async fn send(&self, request: http::Request<Bytes>, timeout: Duration) -> Result<http::Response<Bytes>, TransportError> {
        // The simulated services have names; what is on loopback is a part beside them.
        if RealTime::takes(&request) {
            return RealTime.send(request, timeout).await;
        }
        match tokio::time::timeout(timeout, self.0.handle(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(lost)) if lost.sent => Err(TransportError::Ambiguous(lost.into())),
            Ok(Err(lost)) => Err(TransportError::NotSent(lost.into())),
            Err(_) => Err(TransportError::Timeout(timeout)),
        }
    }
}

/// One customer with lakekey set up.
pub struct Bench {
    pub cloud: Cloud,
    pub clock: Clock,
    pub folder: TempDir,
    pub config: Value,
    pub environment: Vec<(String, String)>,
    /// What a person types at a terminal; `None` where there is none.
    pub answers: Option<String>,
    /// All that was ever written to stdout and stderr, by runs that were cut off too.
    said: Arc<Mutex<Vec<u8>>>,
}

/// What one command came to.
#[derive(Debug)]
pub struct Ran {
    pub status: u8,
    pub stdout: String,
    pub stderr: String,
}

impl Bench {
    /// A customer made from `fleet`, with a config that selects everything.
    pub fn new(fleet: &Fleet) -> Self {
        Self::with(fleet, Settings::default())
    }

    pub fn with(fleet: &Fleet, settings: Settings) -> Self {
        Self::at(fleet, settings, Addresses::default())
    }

    /// A customer whose services are at other addresses.
    pub fn at(fleet: &Fleet, settings: Settings, addresses: Addresses) -> Self {
        let start: Timestamp = START.parse().unwrap();
        let cloud = fleet.build_at(Settings { start: Some(start), ..settings }, addresses);
        let folder = tempfile::tempdir().unwrap();
        let cast = cloud.cast();
        let environment = vec![
            ("ADMIN_SECRET".to_owned(), cast.admin.client_secret.clone()),
            ("POWERBI_SECRET".to_owned(), cast.powerbi.client_secret.clone()),
        ];
        let config = config(&cloud);
        Self { clock: Clock::runtime(start), folder, config, environment, answers: None, cloud, said: Arc::default() }
    }

    /// Runs `lakekey` with these arguments, `--output json` added.
    pub async fn json(&self, arguments: &[&str]) -> (u8, Value) {
        let ran = self.run(&[arguments, &["--output", "json"]].concat()).await;
        let value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("no JSON on stdout: {ran:?}"));
        (ran.status, value)
    }

    /// The same, for the one credential of the answer.
    pub async fn one(&self, arguments: &[&str]) -> (u8, Value) {
        let (status, value) = self.json(arguments).await;
        let credential = value["credentials"].get(0).cloned().unwrap_or_else(|| panic!("no credential in {value}"));
        (status, credential)
    }

    /// Runs `lakekey` with these arguments.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        self.run_over(Arc::new(InProcess(self.cloud.clone())), arguments).await
    }

    /// The same, over another transport.
    pub async fn run_over(&self, transport: Arc<dyn Transport>, arguments: &[&str]) -> Ran {
        let (stdout, stderr) = (self.captured(), self.captured());
        self.write_config();
        let surroundings = CliSurroundings {
            environment: self.environment.iter().cloned().collect::<Environment>(),
            current_dir: self.folder.path().to_owned(),
            clock: self.clock.clone(),
            random: Random::system(),
            transport: Some(transport),
            stdin: self.answers.clone().map(|answers| Box::new(std::io::Cursor::new(answers)) as _),
            stdout: Box::new(stdout.clone()),
            stderr: Box::new(stderr.clone()),
            stdout_is_terminal: false,
            stderr_is_terminal: false,
            width: None,
            stop: Box::pin(std::future::pending()),
        };
        let arguments = std::iter::once("lakekey").chain(arguments.iter().copied()).map(Into::into).collect();
        let status = lakekey_cli::run(arguments, surroundings).await.code();
        Ran { status, stdout: stdout.text(), stderr: stderr.text() }
    }

    /// Writes `lakekey.yaml` as `config` is now.
    pub fn write_config(&self) {
        std::fs::write(self.folder.path().join("lakekey.yaml"), format!("{:#}", self.config)).unwrap();
    }

    /// State and stores as lakekey finds them.
    pub fn places(&self) -> (Config, Places) {
        self.write_config();
        let environment: Environment = self.environment.iter().cloned().collect();
        let config = Config::load(&ConfigSource::Flag("lakekey.yaml".to_owned()), &environment, self.folder.path()).unwrap();
        let transport: Arc<dyn Transport> = Arc::new(InProcess(self.cloud.clone()));
        let places = Places::new(&config, &environment, &transport, &self.clock).unwrap();
        (config, places)
    }

    /// The slots of the one credential's store.
    pub async fn slots(&self) -> Vec<SecretId> {
        let (config, places) = self.places();
        places.store(&config.credentials[0].store).unwrap().staged_ids().await.unwrap()
    }

    /// All that was ever said.
    pub fn said(&self) -> String {
        String::from_utf8(self.said.lock().unwrap().clone()).unwrap()
    }

    /// Every file below a part of the customer's folder, with its content.
    pub fn files(&self, part: &str) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().join(part)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false => found.push((entry.path().display().to_string(), std::fs::read(entry.path()).unwrap())),
                }
            }
        }
        found.sort();
        found
    }

    fn captured(&self) -> Captured {
        Captured { own: Arc::default(), all: Arc::clone(&self.said) }
    }

    /// Lets time pass for everybody.
    pub fn pass(&self, time: Duration) {
        self.clock.advance(SignedDuration::try_from(time).unwrap());
        self.cloud.advance(time);
    }

    /// The data sources that a rotation of everything must move.
    pub fn targets(&self) -> Vec<SourceTruth> {
        self.cloud.sources().into_iter().filter(|source| source.target).collect()
    }

    /// Ids of the principal's living secrets.
    pub fn living(&self) -> Vec<String> {
        let now = self.cloud.now();
        let secrets = self.cloud.secrets(&self.cloud.cast().principal.application_id);
        let living = secrets.into_iter().filter(|secret| secret.deleted.is_none() && secret.expires > now);
        living.map(|secret| secret.id).collect()
    }

    /// Every target holds exactly this secret, and it works.
    pub fn assert_all_hold(&self, secret_id: &str) {
        for source in self.targets() {
            assert_eq!(source.secret_id.as_deref(), Some(secret_id), "{source:?}");
            assert!(source.connects, "{source:?}");
        }
    }

    /// Every target's connection works.
    pub fn assert_no_outage(&self) {
        for source in self.targets() {
            assert!(source.connects, "{source:?}");
        }
    }
}

/// Minutes as a duration.
pub const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

/// Hours as a duration.
pub fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3600)
}

/// Days as a duration.
pub fn days(count: u64) -> Duration {
    hours(count * 24)
}

fn config(cloud: &Cloud) -> Value {
    let (addresses, cast) = (cloud.addresses(), cloud.cast());
    json!({
        "version": 1,
        "endpoints": { "entra": addresses.entra, "powerbi": addresses.powerbi, "fabric": addresses.fabric },
        "state": { "url": "file:state" },
        "identities": {
            "dbx-admin": { "auth": "oauth-m2m", "client_id": cast.admin.client_id, "client_secret": "env:ADMIN_SECRET" },
            "powerbi": {
                "auth": "azure-client-secret",
                "tenant_id": cast.tenant,
                "client_id": cast.powerbi.client_id,
                "client_secret": "env:POWERBI_SECRET",
            },
        },
        "credentials": { "sales-bi": {
            "workspace": addresses.databricks[0],
            "also_workspaces": addresses.databricks[1..],
            "identity": "dbx-admin",
            "service_principal": cast.principal.display_name,
            "store": "file:store/sales-bi.json",
            "warehouses": cast.warehouses[0],
            "verify": { "warehouse": cast.warehouses[0][0] },
            "targets": { "identity": "powerbi", "select": [{ "all": true }], "take_over": true },
        } },
    })
}

/// A stream that keeps what is written.
#[derive(Clone)]
struct Captured {
    own: Arc<Mutex<Vec<u8>>>,
    all: Arc<Mutex<Vec<u8>>>,
}

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.own.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.own.lock().unwrap().extend_from_slice(bytes);
        self.all.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
