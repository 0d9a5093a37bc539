//! The keyring of a desktop session on Linux (Secret Service), by libsecret's own `secret-tool`: the crates that speak to it
//! bring a D-Bus stack of a hundred packages. Values go by standard input and output, never by arguments. A headless server
//! has no session bus, and so no keyring.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::config::env_vars::{self, Environment};
use crate::error::Error;
use crate::secret::Secret;

/// A keyring that may be there.
#[derive(Clone, Debug)]
pub(super) struct Keyring {
    tool: PathBuf,
}

impl Keyring {
    /// `None` where there is no session that would have one, no tool that speaks to it, or nobody wants it.
    pub(super) fn of(environment: &Environment) -> Option<Self> {
        let wanted = environment.get(env_vars::SIGN_INS).is_none() && cfg!(target_os = "linux");
        environment.get("DBUS_SESSION_BUS_ADDRESS").filter(|_| wanted)?;
        let mut folders = environment.get("PATH")?.split(':').map(PathBuf::from);
        folders
            .find_map(|folder| Some(folder.join("secret-tool")).filter(|tool| tool.is_absolute() && tool.is_file()))
            .map(|tool| Self { tool })
    }

    /// A keyring that this program speaks to.
    #[cfg(test)]
    pub(super) fn through(tool: &str) -> Self {
        Self { tool: tool.into() }
    }

    /// What is kept under this key.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Secret>, Error> {
        let (found, value) = self.run(&["lookup", "service", SERVICE, "account", key], None).await?;
        let value = String::from_utf8(value).ok().filter(|value| found && !value.is_empty());
        Ok(value.map(Secret::new))
    }

    pub(super) async fn set(&self, key: &str, value: &Secret) -> Result<(), Error> {
        let label = format!("lakekey: {key}");
        let arguments = ["store", "--label", &label, "service", SERVICE, "account", key];
        match self.run(&arguments, Some(value)).await? {
            (true, _) => Ok(()),
            (false, _) => Err(unusable("it keeps nothing")),
        }
    }

    /// What is not there needs no removing.
    pub(super) async fn remove(&self, key: &str) -> Result<(), Error> {
        self.run(&["clear", "service", SERVICE, "account", key], None).await.map(drop)
    }

    /// Whether it went well, and what it said.
    async fn run(&self, arguments: &[&str], input: Option<&Secret>) -> Result<(bool, Vec<u8>), Error> {
        let failed = |error: std::io::Error| unusable("`secret-tool` can't be run").caused_by(error);
        let mut child = Command::new(&self.tool)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let work = async {
            if let (Some(mut stdin), Some(value)) = (child.stdin.take(), input) {
                stdin.write_all(value.reveal().as_bytes()).await?;
            }
            child.wait_with_output().await
        };
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(output) => output.map(|output| (output.status.success(), output.stdout)).map_err(failed),
            Err(_) => Err(unusable("it does not answer")),
        }
    }
}

fn unusable(why: &str) -> Error {
    Error::failed("keyring-unusable", format!("the keyring of this session can't be used: {why}"))
        .hint("unlock it, or set LAKEKEY_SIGN_INS to a folder, where files are used in any case")
}

const SERVICE: &str = "lakekey";
/// A person may have to unlock it.
const PATIENCE: Duration = Duration::from_secs(60);
