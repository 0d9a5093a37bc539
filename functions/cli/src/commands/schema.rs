//! `lakekey schema`: the JSON Schema of the config, the same in every output format.

use lakekey_core::config;
use lakekey_core::error::{Error, ExitStatus};

use super::Session;
use crate::failure::Failure;

pub(crate) async fn schema(session: &mut Session) -> Result<ExitStatus, Failure> {
    let schema = serde_json::to_string_pretty(config::schema())
        .map_err(|source| Error::failed("schema-unwritable", "the schema can't be written").caused_by(source))?;
    session.printer.text(&format!("{schema}\n"))?;
    Ok(ExitStatus::Done)
}
