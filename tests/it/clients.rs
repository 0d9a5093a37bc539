//! Real Databricks clients, from their package registries, against the simulated cloud: signed in through lakekey, they go on
//! while tokens expire and the secret behind them is rotated and revoked. `tests/clients/` has what runs in them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use lakekey_sim::Settings;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::town::{Town, binary, ended};

/// Lakekey hands out tokens with a minute left and more, SDKs ask again forty seconds before the end: so a token of this life
/// is asked for anew at least once a minute.
const TOKEN_LIFE: Duration = Duration::from_secs(90);
/// Long enough for every client to need a token that the revoked secret could not have got.
const SECONDS: &str = "75";

/// A client that goes on until it is done or a call fails.
struct Client {
    name: &'static str,
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Client {
    fn start(name: &'static str, command: &mut Command) -> Self {
        let mut process =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { name, process, lines }
    }

    /// The first answer that it got.
    async fn first(&mut self) -> String {
        let line = tokio::time::timeout(Duration::from_secs(60), self.lines.next_line()).await;
        match line.unwrap_or_else(|_| panic!("{}: no answer in a minute", self.name)).unwrap() {
            Some(line) => line,
            None => {
                let complaint = self.complaint().await;
                panic!("{}: {complaint}", self.name)
            }
        }
    }

    /// No call of it failed, and no answer was another.
    async fn assert_done(mut self) {
        let done = tokio::time::timeout(Duration::from_secs(120), self.process.wait()).await;
        let status = done.unwrap_or_else(|_| panic!("{}: it does not end", self.name)).unwrap();
        let complaint = self.complaint().await;
        assert!(status.success(), "{}: {status}: {complaint}", self.name);
        assert_eq!(self.lines.next_line().await.unwrap(), None, "{}", self.name);
    }

    async fn complaint(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut stderr) = self.process.stderr.take() {
            let _ = tokio::time::timeout(PATIENCE, tokio::io::AsyncReadExt::read_to_string(&mut stderr, &mut text)).await;
        }
        text
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_clients_do_not_notice_that_tokens_expire_and_secrets_are_rotated_and_revoked() {
    let (python, go) = (python("python"), go());
    let town = rotated(|_| ()).await;
    let cast = town.served.cloud.cast().clone();
    let exec = |words: &[&str]| town.command(&[&["exec", "--"], words].concat());
    let script = |name: &str| sources().join("python").join(name).display().to_string();
    let (python, go) = (python.to_str().unwrap(), go.to_str().unwrap());
    let mut clients = vec![
        Client::start("the SDK for Python", &mut exec(&[python, &script("sdk.py"), SECONDS])),
        Client::start("the SDK for Go", &mut exec(&[go, SECONDS])),
        Client::start("the SQL connector", &mut exec(&[python, &script("connector.py"), &cast.warehouses[0][0], SECONDS])),
        Client::start(
            "the SDK for Python over `auth token`",
            elsewhere(&town, python)
                .args([&script("sdk.py"), SECONDS])
                .env("DATABRICKS_AUTH_TYPE", "databricks-cli")
                .env("DATABRICKS_CLI_PATH", binary()),
        ),
    ];
    // Hourly work is not what this is about.
    let mut server = town.start(&["serve", "--listen", "127.0.0.1:0", "--schedule", "0 0 1 1 *"]);
    let ready = BufReader::new(server.stdout.take().unwrap()).lines().next_line().await.unwrap().unwrap();
    let ready: Value = serde_json::from_str(&ready).unwrap();
    clients.push(Client::start(
        "the SDK for Python over `serve`",
        elsewhere(&town, python)
            .args([&script("sdk.py"), SECONDS])
            .env("DATABRICKS_AUTH_TYPE", "metadata-service")
            .env("DATABRICKS_METADATA_SERVICE_URL", ready["metadata_service_url"].as_str().unwrap()),
    ));
    assert_unnoticed(&town, clients).await;
}

/// A program that lakekey does not start.
fn elsewhere(town: &Town, program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(town.folder.path())
        .env_clear()
        .envs(town.environment().iter().cloned())
        .env("DATABRICKS_HOST", &town.served.cloud.addresses().databricks[0]);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dbt_does_not_notice_either() {
    let python = python("dbt");
    // It asks as fast as it is answered.
    let town = rotated(|settings| settings.latency = Duration::from_millis(250)).await;
    let project = town.folder.path().join("project");
    copy(&sources().join("dbt"), &project);
    let (script, arguments) = (project.join("run_dbt.py"), format!("{{ seconds: {SECONDS} }}"));
    let words = [python.to_str().unwrap(), script.to_str().unwrap(), "--quiet", "run-operation", "ask", "--args", &arguments];
    let mut command = town.command(&[&["exec", "--"], words.as_slice()].concat());
    command.env("HOME", town.folder.path()).env("DBT_PROJECT_DIR", &project).env("DBT_PROFILES_DIR", &project);
    command.env("WAREHOUSE", &town.served.cloud.cast().warehouses[0][0]);
    assert_unnoticed(&town, vec![Client::start("dbt", &mut command)]).await;
}

/// A customer after a first rotation, whose local programs are the very principal whose secret is rotated.
async fn rotated(change: impl FnOnce(&mut Settings)) -> Town {
    let town = Town::with(|settings| {
        settings.token_life = TOKEN_LIFE;
        change(settings);
    })
    .await;
    town.change_config(|config| {
        config["identities"]["sales"] = json!({ "credential": "sales-bi" });
        config["broker"][0]["identity"] = json!("sales");
    });
    assert_eq!(town.one(&["rotate"]).await.0, 0);
    town
}

/// The clients go on while their tokens expire and the secret behind them is rotated and revoked: no call fails.
async fn assert_unnoticed(town: &Town, mut clients: Vec<Client>) {
    let principal = town.served.cloud.cast().principal.application_id.clone();
    for client in &mut clients {
        let answer = client.first().await;
        assert!(answer.starts_with(&principal), "{}: {answer}", client.name);
    }
    let before = town.living();
    let (status, revoked) = town.one(&["revoke", "--yes"]).await;
    assert_eq!((status, revoked["outcome"].as_str()), (0, Some("revoked")), "{revoked}");
    assert!(before.iter().any(|secret| !town.living().contains(secret)), "an older secret is dead");
    for client in clients {
        client.assert_done().await;
    }
    let refused = town
        .served
        .cloud
        .requests()
        .into_iter()
        .filter(|seen| seen.status == 401 && !seen.path.ends_with("/token") || seen.status == 403);
    assert_eq!(refused.map(|seen| seen.path).collect::<Vec<_>>(), Vec::<String>::new());
}

#[tokio::test]
async fn two_families_of_credentials_in_the_environment_are_no_trouble_under_exec() {
    let (python, go) = (python("python"), go());
    let mut town = Town::new().await;
    for (name, value) in [
        ("DATABRICKS_TOKEN", "dapi-stale"),
        ("DATABRICKS_CLIENT_ID", "somebody"),
        ("DATABRICKS_CLIENT_SECRET", "stale"),
        ("ARM_CLIENT_ID", "somebody"),
        ("ARM_CLIENT_SECRET", "stale"),
        ("ARM_TENANT_ID", "somewhere"),
    ] {
        town.set(name, value);
    }
    let shows = "from databricks.sdk import WorkspaceClient; print(WorkspaceClient().current_user.me().user_name)";
    let admin = &town.served.cloud.cast().admin.client_id;
    for words in [[python.to_str().unwrap(), "-c", shows].as_slice(), &[go.to_str().unwrap(), "1"]] {
        let output = town.command(&[&["exec", "--"], words].concat()).output().await.unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), admin, "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
async fn a_host_that_is_not_brokered_is_refused_to_a_real_client_too() {
    let python = python("python");
    let town = Town::new().await;
    let other = &town.served.cloud.addresses().databricks[1];
    let asks = format!("from databricks.sdk import WorkspaceClient; WorkspaceClient(host='{other}').current_user.me()");
    let output = town.command(&["exec", "--", python.to_str().unwrap(), "-c", &asks]).output().await.unwrap();
    assert!(!output.status.success());
    let (status, _) = ended(town.start(&["token", "--host", &town.served.cloud.addresses().databricks[0]])).await;
    assert_eq!(status, 0);
}

/// A Python that has the clients of this folder, installed once for each list of them.
fn python(name: &str) -> PathBuf {
    let requirements = sources().join(name).join("requirements.txt");
    let folder = parts().join(format!("clients-{name}"));
    let (stamp, python) = (folder.join("installed.txt"), folder.join("bin/python3"));
    let wanted = std::fs::read(&requirements).unwrap();
    let _lock = locked(&format!("clients-{name}.lock"));
    if std::fs::read(&stamp).ok().as_ref() != Some(&wanted) {
        run(std::process::Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
        let mut pip = std::process::Command::new(&python);
        run(pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(&requirements));
        std::fs::write(&stamp, wanted).unwrap();
    }
    python
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let copied = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &copied);
        } else {
            std::fs::copy(entry.path(), copied).unwrap();
        }
    }
}

/// The program in Go; the toolchain's own cache decides what is built anew.
fn go() -> PathBuf {
    static GO: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let _lock = locked("clients-go.lock");
        let program = parts().join("clients-go");
        run(std::process::Command::new("go").args(["build", "-o"]).arg(&program).arg(".").current_dir(sources().join("go")));
        program
    };
    GO.get_or_init(build).clone()
}

/// Whatever needs installing for tests is kept here, for every profile.
fn parts() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let target = this.ancestors().nth(3).expect("a test is in target/PROFILE/deps");
    let parts = target.join("parts");
    std::fs::create_dir_all(&parts).unwrap();
    parts
}

/// Held against other test processes until it is dropped.
fn locked(name: &str) -> std::fs::File {
    let lock = std::fs::File::create(parts().join(name)).unwrap();
    lock.lock().unwrap();
    lock
}

fn run(command: &mut std::process::Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} can't be started: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/it is in tests").join("clients")
}

const PATIENCE: Duration = Duration::from_secs(5);
