//! Where the story plays: the served cloud, a folder with lakekey's config, and the real command line over both.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use lakekey_cli::{CliSurroundings, ExitStatus};
use lakekey_core::clock::Clock;
use lakekey_core::config::env_vars::Environment;
use lakekey_core::http::reqwest_transport::ReqwestTransport;
use lakekey_core::random::Random;
use lakekey_sim::{Cloud, Fleet, Rule, Served, Settings, serve};
use serde_json::Value;
use tempfile::TempDir;

use super::DemoArgs;
use super::watch::Watch;

pub(super) struct Scene {
    pub(super) served: Served,
    pub(super) clock: Clock,
    pub(super) watch: Arc<Watch>,
    /// What was asked for beyond the defaults, for the story's opening.
    pub(super) latency: Duration,
    pub(super) faults: Option<String>,
    folder: Mutex<Option<TempDir>>,
    path: PathBuf,
    bars: bool,
}

/// What a command came to.
pub(super) struct Answer {
    /// The one credential's part of the JSON.
    pub(super) credential: Value,
    pub(super) seconds: f64,
    pub(super) requests: usize,
    /// How often it was called until it had finished: more than once only under faults.
    pub(super) runs: usize,
}

impl Scene {
    /// `bars`: whether stderr is a terminal.
    pub(super) async fn open(args: &DemoArgs, clock: Clock, bars: bool) -> anyhow::Result<Self> {
        let faults = args.faults.as_deref().map(Rule::parse).transpose().map_err(anyhow::Error::msg).context("--faults")?;
        let latency = Duration::from_millis(args.latency);
        let (warehouse_start, refresh_time) = (Duration::from_millis(500), Duration::from_millis(200));
        let settings = Settings { latency, page: 100, warehouse_start, refresh_time, ..Settings::default() };
        let served = serve(&Fleet::new(args.targets.into(), SEED), settings).await.context("no port on loopback is free")?;
        served.cloud.set_faults(faults.unwrap_or_default());
        let folder = tempfile::Builder::new().prefix("lakekey-demo-").tempdir()?;
        let path = folder.path().canonicalize()?;
        std::fs::write(path.join(CONFIG), served.cloud.config(&path))?;
        // The production transport, with a look at the truth after every answer.
        let transport = ReqwestTransport::new(&Environment::of_process())?;
        let watch = Arc::new(Watch::new(transport, served.cloud.clone()));
        let (faults, folder) = (args.faults.clone(), Mutex::new(Some(folder)));
        Ok(Self { served, clock, watch, latency, faults, folder, path, bars })
    }

    pub(super) fn cloud(&self) -> &Cloud {
        &self.served.cloud
    }

    pub(super) fn config(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    /// Leaves the folder behind.
    pub(super) fn keep(&self) -> &Path {
        if let Some(folder) = self.folder.lock().expect("no code panics while it holds the folder").take() {
            let _ = folder.keep();
        }
        &self.path
    }

    /// Runs `lakekey COMMAND` until it has finished, as a schedule would. Between two runs some time passes for everybody.
    pub(super) async fn lakekey(&self, command: &str) -> anyhow::Result<Answer> {
        let (start, before) = (self.clock.now(), self.cloud().requests().len());
        let mut skipped = Duration::ZERO;
        for run in 1..=RUNS_MAX {
            let (status, text) = self.once(command).await;
            if status == ExitStatus::Done {
                let mut answer: Value = serde_json::from_str(&text).context("lakekey's answer is not JSON")?;
                let took = self.clock.now().duration_since(start).as_secs_f64() - skipped.as_secs_f64();
                let requests = self.cloud().requests().len() - before;
                return Ok(Answer { credential: answer["credentials"][0].take(), seconds: took, requests, runs: run });
            }
            if self.faults.is_none() || status == ExitStatus::Usage {
                anyhow::bail!("`lakekey {command}` ended with {}: {text}", status.code());
            }
            self.pass(BETWEEN_RUNS);
            skipped += BETWEEN_RUNS;
        }
        anyhow::bail!("`lakekey {command}` had not finished after {RUNS_MAX} runs")
    }

    async fn once(&self, command: &str) -> (ExitStatus, String) {
        let stdout = Captured::default();
        let surroundings = CliSurroundings {
            environment: self.cloud().environment().into_iter().collect(),
            current_dir: self.path.clone(),
            clock: self.clock.clone(),
            random: Random::system(),
            transport: Some(Arc::clone(&self.watch) as _),
            stdin: None,
            stdout: Box::new(stdout.clone()),
            stderr: Box::new(std::io::stderr()),
            stdout_is_terminal: false,
            stderr_is_terminal: self.bars,
            width: None,
            stop: Box::pin(std::future::pending()),
        };
        let arguments = ["lakekey", command, "--output", "json"].map(Into::into).to_vec();
        let status = lakekey_cli::run(arguments, surroundings).await;
        (status, stdout.text())
    }

    /// Lets time pass for lakekey and the cloud alike, and looks at the truth afterwards.
    pub(super) fn pass(&self, time: Duration) {
        self.clock.advance(SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX));
        self.cloud().advance(time);
        self.watch.look();
    }

    /// Lets time pass until then.
    pub(super) fn pass_until(&self, until: Timestamp) {
        self.pass(Duration::try_from(until.duration_since(self.clock.now())).unwrap_or_default());
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

const CONFIG: &str = "lakekey.yaml";
const SEED: u64 = 1;
/// Far more than any faults have needed.
const RUNS_MAX: usize = 40;
/// Longer than a lost write may take to land.
const BETWEEN_RUNS: Duration = Duration::from_secs(10 * 60);
