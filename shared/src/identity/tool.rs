//! Other people's command lines that hand out tokens: the Azure CLI and the Databricks CLI. They are started without a
//! shell, without input, and bounded in time and in what is read of them. Their output is a token: it is in no error.

use std::process::Stdio;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::config::env_vars::Environment;
use crate::error::Error;
use crate::http::redact;

/// After this long a program is ended; both may open a browser's worth of network themselves.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Bytes read of each of its streams.
const OUTPUT_BYTES_MAX: u64 = 256 * 1024;

/// Where the Databricks CLI is. Programs that are started do not see it: it may name lakekey itself, which then asks the
/// real one on `PATH`.
pub(super) const CLI_PATH: &str = "DATABRICKS_CLI_PATH";

/// A program that prints a token as JSON.
pub(super) struct Tool<'a> {
    /// As people know it.
    pub(super) name: &'static str,
    /// A name on `PATH`, or a path.
    pub(super) program: &'a str,
    pub(super) arguments: &'a [&'a str],
    /// What to do when it is not there or refuses.
    pub(super) hint: &'static str,
}

impl Tool<'_> {
    /// Runs it and reads what it printed.
    pub(super) async fn run<T: DeserializeOwned>(&self, environment: &Environment) -> Result<T, Error> {
        let Ok(ended) = tokio::time::timeout(TIME_MAX, self.output(environment)).await else {
            return Err(self.failed(format!("did not end within {} s", TIME_MAX.as_secs())));
        };
        let (ok, stdout, stderr) = ended.map_err(|error| {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let why = if missing { "is not installed, or not on PATH" } else { "cannot be started" };
            self.failed(why.to_owned()).caused_by(error)
        })?;
        if !ok {
            let said = String::from_utf8_lossy(&stderr);
            let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it did not say why");
            return Err(self.failed(format!("gave no token: {}", redact::message(last))));
        }
        serde_json::from_slice(&stdout).map_err(|_| self.failed("printed something else than a token".to_owned()))
    }

    /// Whether it succeeded, and what it wrote. It ends when this future is dropped.
    async fn output(&self, environment: &Environment) -> std::io::Result<(bool, Vec<u8>, Vec<u8>)> {
        let mut child = tokio::process::Command::new(self.program)
            .args(self.arguments)
            .env_clear()
            .envs(environment.iter().filter(|(name, _)| *name != CLI_PATH))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (stdout, stderr, status) = tokio::join!(read(stdout), read(stderr), child.wait());
        Ok((status?.success(), stdout?, stderr?))
    }

    fn failed(&self, why: String) -> Error {
        Error::failed("sign-in-tool", format!("the {} {why}", self.name)).hint(self.hint)
    }
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}
