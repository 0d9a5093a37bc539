//! A customer with many data sources and lakekey set up, over real sockets or in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use lakekey_cli::{CliSurroundings, ExitStatus};
use lakekey_core::clock::Clock;
use lakekey_core::http::transport::{Transport, TransportError};
use lakekey_core::random::Random;
use lakekey_sim::{Cloud, Fleet, Served, Settings, serve};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::process::{self, Started};

/// One customer; what is served lives as long as this.
pub struct Customer {
    pub cloud: Cloud,
    pub clock: Clock,
    folder: TempDir,
    /// `None` is the network.
    transport: Option<Arc<dyn Transport>>,
    _served: Option<Elsewhere>,
}

/// A cloud on a thread of its own, as it is not on lakekey's in life.
struct Elsewhere {
    _served: Served,
    runtime: Option<Runtime>,
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Customer {
    /// Over HTTP on loopback, by the production transport.
    pub async fn over_sockets(targets: usize, latency: Duration) -> anyhow::Result<Self> {
        Self::serving(fleet(targets), latency).await
    }

    /// A large one, over HTTP on loopback: so many datasets use each data source, and all are in the cloud.
    pub async fn large(targets: usize, datasets_each: usize) -> anyhow::Result<Self> {
        let fleet = Fleet { decoys: false, gateways: false, datasets_each, ..Fleet::new(targets, SEED) };
        Self::serving(fleet, Duration::ZERO).await
    }

    /// The same for a lakekey in a process of its own.
    pub async fn in_a_process(targets: usize, latency: Duration) -> anyhow::Result<Self> {
        Self::serving(Fleet { gateways: false, decoys: false, ..Fleet::new(targets, SEED) }, latency).await
    }

    async fn serving(fleet: Fleet, latency: Duration) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let served = runtime.spawn(async move { serve(&fleet, settings(latency, None, None)).await }).await?;
        let served = served.context("no port on loopback is free")?;
        let cloud = served.cloud.clone();
        Self::new(cloud, Clock::wall(), None, Some(Elsewhere { _served: served, runtime: Some(runtime) }))
    }

    /// Without sockets, for a runtime whose clock is paused. `limit` is of requests a minute, for each service and identity.
    pub fn in_virtual_time(targets: usize, latency: Duration, limit: Option<u32>) -> anyhow::Result<Self> {
        let start: Timestamp = "2026-03-02T08:00:00Z".parse()?;
        let cloud = fleet(targets).build(settings(latency, limit, Some(start)));
        let transport = Arc::new(InProcess(cloud.clone()));
        Self::new(cloud, Clock::runtime(start), Some(transport), None)
    }

    fn new(cloud: Cloud, clock: Clock, transport: Option<Arc<dyn Transport>>, served: Option<Elsewhere>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("lakekey.yaml"), cloud.config(folder.path()))?;
        Ok(Self { cloud, clock, folder, transport, _served: served })
    }

    /// Has so many credentials instead of one, each with a data source of its own.
    pub fn split(&self, credentials: usize) -> anyhow::Result<()> {
        let path = self.folder.path().join("lakekey.yaml");
        let mut config: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path)?)?;
        let template = config["credentials"]["sales-bi"].take();
        let mut all = serde_json::Map::new();
        let mut datasets = self.cloud.truth().datasets;
        let mut used = BTreeSet::new();
        datasets.retain(|dataset| used.insert(dataset.sources.clone()));
        for (number, dataset) in datasets.iter().take(credentials).enumerate() {
            let name = format!("bi-{number:04}");
            let mut credential = template.clone();
            credential["warehouses"] = self.cloud.cast().warehouses.concat().into();
            credential["service_principal"] = self.cloud.add_principal(&name).into();
            credential["service_principal"] = serde_json::json!({ "application_id": credential["service_principal"] });
            credential["store"] = format!("file:store/{name}.json").into();
            credential["targets"]["select"] = serde_json::json!([{ "workspace": dataset.group, "dataset": dataset.id }]);
            all.insert(name, credential);
        }
        config["credentials"] = Value::Object(all);
        std::fs::write(&path, config.to_string())?;
        Ok(())
    }

    /// Runs `lakekey rotate`; gives the credential's part of the answer.
    pub async fn rotate(&self) -> anyhow::Result<Value> {
        let mut answer = self.run(&["rotate"]).await?;
        Ok(answer["credentials"][0].take())
    }

    /// Runs `lakekey` with these words; gives its answer.
    pub async fn run(&self, words: &[&str]) -> anyhow::Result<Value> {
        let stdout = Captured::default();
        let surroundings = CliSurroundings {
            environment: self.cloud.environment().into_iter().collect(),
            current_dir: PathBuf::from(self.folder.path()),
            clock: self.clock.clone(),
            random: Random::system(),
            transport: self.transport.clone(),
            stdin: None,
            stdout: Box::new(stdout.clone()),
            stderr: Box::new(std::io::sink()),
            stdout_is_terminal: false,
            stderr_is_terminal: false,
            width: None,
            stop: Box::pin(std::future::pending()),
        };
        let mut arguments = vec!["lakekey".into(), "--output".into(), "json".into()];
        arguments.extend(words.iter().map(Into::into));
        let status = lakekey_cli::run(arguments, surroundings).await;
        let answer = stdout.text();
        anyhow::ensure!(status == ExitStatus::Done, "it did not end well: {answer}");
        serde_json::from_str(&answer).context("the answer is not JSON")
    }

    /// Every file below a part of the customer's folder, with its content.
    pub fn files_below(&self, part: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.folder.path().join(part)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.path() {
                    path if path.is_dir() => folders.push(path),
                    // It may have been a temporary one that is gone again.
                    path => drop(std::fs::read(&path).map(|content| found.insert(path, content))),
                }
            }
        }
        found
    }

    /// Starts `lakekey` with these words in a process of its own.
    pub fn start(&self, words: &[&str]) -> anyhow::Result<Started> {
        let environment: Vec<_> = self.cloud.environment().into_iter().collect();
        process::start(words, self.folder.path(), &environment)
    }

    /// Lets time pass for everybody.
    pub fn pass(&self, time: Duration) {
        self.clock.advance(SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX));
        self.cloud.advance(time);
    }
}

/// A customer with so many data sources: cloud, gateway and virtual network mixed, and nothing else.
fn fleet(targets: usize) -> Fleet {
    Fleet { decoys: false, ..Fleet::new(targets, SEED) }
}

/// No waits but for the latency and the limit, pages as large as clients ask for.
fn settings(latency: Duration, limit: Option<u32>, start: Option<Timestamp>) -> Settings {
    Settings {
        start,
        latency,
        rate_limit: limit,
        page: 1_000,
        secret_settles: Duration::ZERO,
        warehouse_start: Duration::ZERO,
        ..Settings::default()
    }
}

/// Carries requests to the cloud without a socket.
struct InProcess(Cloud);

#[async_trait::async_trait]
impl Transport for InProcess {
    async fn send(&self, request: http::Request<Bytes>, timeout: Duration) -> Result<http::Response<Bytes>, TransportError> {
        match tokio::time::timeout(timeout, self.0.handle(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(lost)) if lost.sent => Err(TransportError::Ambiguous(lost.into())),
            Ok(Err(lost)) => Err(TransportError::NotSent(lost.into())),
            Err(_) => Err(TransportError::Timeout(timeout)),
        }
    }
}

/// A stream that keeps what is written.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no writer panics")).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no writer panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

const SEED: u64 = 1;
