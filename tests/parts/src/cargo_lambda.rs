//! cargo-lambda plays Lambda: a runtime API of other people's making, and the ways in which events come to a function.
//! Our own binary is started against it, as it was built.
//! <https://www.cargo-lambda.info/commands/watch.html>

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use lakekey_core::clock::Clock;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::lambda::Answer;
use crate::outside::Outside;
use crate::python;

/// A running cargo-lambda, with at most one function; both end with the handle.
pub struct CargoLambda {
    port: u16,
    client: reqwest::Client,
    outside: Outside,
    _process: Child,
    package: TempDir,
}

/// The built function, at work for it.
pub struct CargoFunction {
    process: Child,
    stdout: PathBuf,
}

impl CargoLambda {
    /// Starts one without a function.
    pub async fn start() -> anyhow::Result<Self> {
        let program = python::programs("cargo-lambda")?.join("cargo-lambda");
        // It wants to be in some package, though it builds none.
        let package = tempfile::tempdir()?;
        std::fs::create_dir(package.path().join("src"))?;
        std::fs::write(package.path().join("src/main.rs"), "fn main() {}\n")?;
        std::fs::write(package.path().join("Cargo.toml"), "[package]\nname = \"nothing\"\n[workspace]\n")?;
        let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let outside = Outside::watched().await?;
        let process = Command::new(program)
            .args(["lambda", "watch", "--only-lambda-apis", "--invoke-address", "127.0.0.1", "--invoke-port", &port.to_string()])
            .current_dir(package.path())
            .envs(outside.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("cargo-lambda can't be started")?;
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        let this = Self { port, client, outside, _process: process, package };
        this.wait().await?;
        Ok(this)
    }

    /// Starts the function `program` in `folder`, with these variables besides the platform's own.
    pub fn function(&self, program: &Path, folder: &Path, variables: &[(String, String)]) -> anyhow::Result<CargoFunction> {
        let platform = [
            ("AWS_LAMBDA_FUNCTION_NAME", "_".to_owned()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "4096".to_owned()),
            ("AWS_LAMBDA_RUNTIME_API", format!("{}/.rt", self.address())),
        ];
        let stdout = self.package.path().join("stdout");
        let process = Command::new(program)
            .current_dir(folder)
            .env_clear()
            .envs(platform)
            .envs(self.outside.environment())
            .envs(variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&stdout)?)
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} can't be started", program.display()))?;
        Ok(CargoFunction { process, stdout })
    }

    /// Sends an event as `aws lambda invoke` does.
    pub async fn invoke(&self, event: &Value) -> anyhow::Result<Answer> {
        let url = format!("{}/2015-03-31/functions/_/invocations", self.address());
        let answer = self.client.post(url).body(event.to_string()).send().await?;
        let is_error = answer.status().is_server_error();
        let body: Value = serde_json::from_slice(&answer.bytes().await?).context("an answer that is no JSON")?;
        let word = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        Ok(if is_error { Err((word("errorType"), word("errorMessage"))) } else { Ok(body) })
    }

    /// Where HTTP comes to the function as through its URL.
    pub fn url(&self) -> String {
        format!("{}/lambda-url/_", self.address())
    }

    /// Whom the function, or cargo-lambda itself, wanted to speak to outside of this machine.
    pub fn reached_for(&self) -> Vec<String> {
        self.outside.reached_for()
    }

    fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    async fn wait(&self) -> anyhow::Result<()> {
        let clock = Clock::wall();
        for _ in 0..READY_TRIES {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_ok() {
                return Ok(());
            }
            clock.sleep(POLL).await;
        }
        anyhow::bail!("cargo-lambda does not listen")
    }
}

impl CargoFunction {
    /// All that it has said. It must still be there.
    pub fn said(&mut self) -> anyhow::Result<String> {
        ensure!(self.process.try_wait()?.is_none(), "the function has ended by itself");
        Ok(std::fs::read_to_string(&self.stdout)?)
    }
}

const POLL: Duration = Duration::from_millis(50);
const READY_TRIES: usize = 600;
/// After which a test gives up on an answer.
const PATIENCE: Duration = Duration::from_secs(60);
