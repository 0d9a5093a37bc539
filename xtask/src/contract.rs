//! `cargo xtask contract`: the HTTP API against its own OpenAPI document. Schemathesis reads the document that is served, calls everything
//! in it with all that it allows and much that it doesn't, and fails on an answer of 5xx, one that is not documented, or one of
//! another form. lakekey and the simulated cloud are the real ones, over loopback.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use lakekey_cli::CliSurroundings;
use lakekey_core::clock::Clock;
use lakekey_core::config::env_vars::Environment;
use lakekey_core::random::Random;
use lakekey_sim::{Fleet, Served, Settings, serve};
use tokio::process::Command;

pub(crate) fn contract() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let program = installed().await?;
        let folder = tempfile::tempdir()?;
        let settings = Settings { secret_settles: Duration::ZERO, warehouse_start: Duration::ZERO, ..Settings::default() };
        let served = serve(&Fleet::new(2, SEED), settings).await.context("no port on loopback is free")?;
        let address = free_address()?;
        tokio::select! {
            checked = check(&program, folder.path(), &address) => checked,
            ended = lakekey(&served, folder.path(), &address) => match ended {
                Ok(status) => anyhow::bail!("`lakekey serve` ended with {status}"),
                Err(error) => Err(error),
            },
        }
    })
}

/// `lakekey serve`, until it is dropped.
async fn lakekey(served: &Served, folder: &Path, address: &str) -> anyhow::Result<u8> {
    let config = format!("{}\n{KEYS}", served.cloud.config(folder));
    std::fs::write(folder.join("lakekey.yaml"), config)?;
    let keys = ROLES.map(|(role, key)| (role.to_owned(), key.to_owned()));
    let environment: Environment = served.cloud.environment().into_iter().chain(keys).collect();
    let surroundings = CliSurroundings {
        environment,
        current_dir: folder.to_owned(),
        clock: Clock::wall(),
        random: Random::system(),
        transport: None,
        stdin: None,
        stdout: Box::new(std::io::sink()),
        stderr: Box::new(std::io::stderr()),
        stdout_is_terminal: false,
        stderr_is_terminal: false,
        width: None,
        stop: Box::pin(std::future::pending()),
    };
    let arguments = ["lakekey", "serve", "--listen", address].map(Into::into).to_vec();
    Ok(lakekey_cli::run(arguments, surroundings).await.code())
}

/// Twice: with any names, as whoever may do most; and with names that exist, as whoever may revoke.
async fn check(program: &Path, folder: &Path, address: &str) -> anyhow::Result<ExitCode> {
    let known = folder.join("known.toml");
    std::fs::write(&known, "[parameters]\n\"path.name\" = \"sales-bi\"\n\"path.id\" = \"sales-bi-1\"\n")?;
    wait_for(address).await?;
    for (role, config) in [("OPERATOR", None), ("BREAKGLASS", Some(&known))] {
        let key = ROLES.iter().find(|(name, _)| *name == role).map(|(_, key)| *key).context("a role of those above")?;
        let mut command = Command::new(program);
        if let Some(config) = config {
            command.arg("--config-file").arg(config);
        }
        command
            .args(["run", &format!("http://{address}/api/openapi.json"), "--no-color", "--seed", "1"])
            .args(["--header", &format!("x-lakekey-key: {key}"), "--max-examples", EXAMPLES, "--phases", "coverage,fuzzing"])
            .args(["--checks", CHECKS])
            .current_dir(folder)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if !command.status().await.context("Schemathesis can't be started")?.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn wait_for(address: &str) -> anyhow::Result<()> {
    let clock = Clock::wall();
    for _ in 0..READY_TRIES {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return Ok(());
        }
        clock.sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("nothing listens on {address}")
}

fn free_address() -> anyhow::Result<String> {
    Ok(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.to_string())
}

/// Schemathesis in a Python environment of its own, made once.
async fn installed() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is in the workspace")?;
    let environment = root.join("target/parts").join(SCHEMATHESIS.replace("==", "-"));
    let program = environment.join("bin/schemathesis");
    if !program.exists() {
        let path = environment.display().to_string();
        run("python3", &["-m", "venv", &path]).await?;
        run(&format!("{path}/bin/pip"), &["install", "--quiet", "--disable-pip-version-check", SCHEMATHESIS]).await?;
    }
    Ok(program)
}

async fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new(program).args(arguments).status().await.with_context(|| format!("{program} can't be started"))?;
    ensure!(status.success(), "`{program} {}` failed", arguments.join(" "));
    Ok(())
}

const SCHEMATHESIS: &str = "schemathesis==4.32.5";
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance";
const EXAMPLES: &str = "10";
const READY_TRIES: usize = 400;
const SEED: u64 = 1;
const KEYS: &str =
    "api: { keys: { reader: env:READER, operator: env:OPERATOR, breakglass: env:BREAKGLASS }, webhook_secret: env:WEBHOOK }\n";
const ROLES: [(&str, &str); 4] = [
    ("READER", "reader-key-0123456789abcdef"),
    ("OPERATOR", "operator-key-0123456789abcdef"),
    ("BREAKGLASS", "breakglass-key-0123456789abcdef"),
    ("WEBHOOK", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
];
