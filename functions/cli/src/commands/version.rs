//! `lakekey version`: SDKs ask the Databricks CLI for its version before they call `auth token`, to know which flags it takes
//! (databricks-sdk-go config/cli_token_source.go, databricks-sdk-py credentials_provider.py). lakekey's own is `--version`.

use lakekey_core::error::ExitStatus;
use serde::Serialize;

use super::Session;
use crate::args::Output;
use crate::failure::Failure;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: String,
    major: u32,
    minor: u32,
    patch: u32,
}

pub(crate) async fn version(session: &mut Session) -> Result<ExitStatus, Failure> {
    let (major, minor, patch) = CLI;
    let version = format!("{major}.{minor}.{patch}");
    match session.settings.output {
        Output::Text | Output::Csv => session.printer.text(&format!("Databricks CLI v{version}\n"))?,
        Output::Json => session.printer.json(&Version { version, major, minor, patch })?,
    }
    Ok(ExitStatus::Done)
}

/// The first whose `auth token` takes `--profile` and `--force-refresh`, as ours does.
const CLI: (u32, u32, u32) = (0, 296, 0);
