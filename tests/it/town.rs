//! A simulated cloud on loopback ports, and the real `lakekey` binary as processes over it, in real time.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use lakekey_core::clock::Clock;
use lakekey_parts::Outside;
use lakekey_sim::{Fleet, Served, Settings, serve, sim_line};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// After which a test gives up on a process or on something that it waits for.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Town {
    pub served: Served,
    pub folder: TempDir,
    environment: Vec<(String, String)>,
    outside: Outside,
}

impl Town {
    /// Three targets, a copy in a secret scope, and two foreign secrets. Nothing is slow.
    pub async fn new() -> Self {
        Self::at(None).await
    }

    /// As [`new`](Self::new), with a cloud whose clock starts there.
    pub async fn at(start: Option<Timestamp>) -> Self {
        Self::with(|settings| settings.start = start).await
    }

    /// As [`new`](Self::new), with a cloud that behaves otherwise.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings { secret_settles: Duration::ZERO, warehouse_start: Duration::ZERO, ..Settings::default() };
        change(&mut settings);
        let served = serve(&Fleet { foreign_secrets: 1, ..Fleet::new(3, 11) }, settings).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let line = sim_line(&served, folder.path()).unwrap();
        let environment = line["env"].as_object().unwrap();
        let environment = environment.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
        let town = Self { served, folder, environment, outside: Outside::watched().await.unwrap() };
        town.change_config(|config| {
            config["credentials"]["sales-bi"]["copies"] = serde_json::json!(["databricks:powerbi/sales-bi"]);
        });
        town
    }

    pub fn config(&self) -> Value {
        serde_saphyr::from_str(&std::fs::read_to_string(self.folder.path().join("lakekey.yaml")).unwrap()).unwrap()
    }

    pub fn change_config(&self, change: impl FnOnce(&mut Value)) {
        let mut config = self.config();
        change(&mut config);
        std::fs::write(self.folder.path().join("lakekey.yaml"), config.to_string()).unwrap();
    }

    /// What the config's references read.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// Adds a variable to the environment of every process.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Starts the binary with `--output json` added; it dies with the handle.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.start_plainly(&[arguments, &["--output", "json"]].concat())
    }

    /// Starts the binary with these arguments alone.
    pub fn start_plainly(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// The binary with these arguments, where the config is.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        let variables = self.environment.iter().cloned();
        command.args(arguments).current_dir(self.folder.path()).env_clear().envs(self.outside.environment()).envs(variables);
        command
    }

    /// Runs the binary to its end.
    pub async fn run(&self, arguments: &[&str]) -> (i32, Value) {
        ended(self.start(arguments)).await
    }

    /// The same, for the one credential of the answer.
    pub async fn one(&self, arguments: &[&str]) -> (i32, Value) {
        let (status, answer) = self.run(arguments).await;
        (status, answer["credentials"].get(0).cloned().unwrap_or_else(|| panic!("no credential in {answer}")))
    }

    /// Waits until a fault has struck.
    pub async fn struck(&self) {
        self.until("a fault struck", || self.served.cloud.requests().iter().any(|seen| seen.fault.is_some())).await;
    }

    pub async fn until(&self, what: &str, so: impl Fn() -> bool) {
        let clock = Clock::wall();
        for _ in 0..PATIENCE.as_millis() / 10 {
            if so() {
                return;
            }
            clock.sleep(Duration::from_millis(10)).await;
        }
        panic!("it did not come about that {what}");
    }

    /// Entries in all journals.
    pub fn journal_entries(&self) -> usize {
        let journals = std::fs::read_dir(self.folder.path().join("state/journal")).into_iter().flatten().flatten();
        journals.flat_map(|journal| std::fs::read_dir(journal.path()).into_iter().flatten()).count()
    }

    /// Secrets of the principal that lakekey's admin made, dead ones included.
    pub fn minted(&self) -> usize {
        let cast = self.served.cloud.cast();
        let secrets = self.served.cloud.secrets(&cast.principal.application_id);
        secrets.iter().filter(|secret| secret.made_by == cast.admin.client_id).count()
    }

    /// Ids of the principal's living secrets.
    pub fn living(&self) -> Vec<String> {
        let secrets = self.served.cloud.secrets(&self.served.cloud.cast().principal.application_id);
        secrets.into_iter().filter(|secret| secret.deleted.is_none()).map(|secret| secret.id).collect()
    }

    /// Every target holds exactly this secret, and it works.
    pub fn assert_all_hold(&self, secret_id: &str) {
        let sources = self.served.cloud.sources();
        let targets: Vec<_> = sources.iter().filter(|source| source.target).collect();
        assert_eq!(targets.len(), 3);
        for source in targets {
            assert_eq!((source.secret_id.as_deref(), source.connects), (Some(secret_id), true), "{source:?}");
        }
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.outside.reached_for(), Vec::<String>::new(), "the program spoke to somebody outside of this machine");
        }
    }
}

/// Status and JSON of a process, when it has ended.
pub async fn ended(child: Child) -> (i32, Value) {
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("the process ends in time").unwrap();
    let Output { status, stdout, stderr } = output;
    let answer = serde_json::from_slice(&stdout).unwrap_or_else(|_| {
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        panic!("no JSON on stdout ({status}): {stdout} {stderr}")
    });
    (status.code().expect("the process was not killed"), answer)
}

/// Asks a process to stop, as Ctrl-C does.
pub async fn interrupt(child: &Child) {
    signal(child, "INT").await;
}

/// Asks a process to stop, as service managers do.
pub async fn terminate(child: &Child) {
    signal(child, "TERM").await;
}

async fn signal(child: &Child, name: &str) {
    let id = child.id().expect("the process runs").to_string();
    assert!(Command::new("sh").args(["-c", "kill -\"$1\" \"$0\"", &id, name]).status().await.unwrap().success());
}

/// The `lakekey` binary of this very source, built once.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| lakekey_bench::built("lakekey-cli", "lakekey").unwrap())
}
