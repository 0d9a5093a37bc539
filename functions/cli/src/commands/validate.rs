//! `lakekey validate`: checks the config offline.

use lakekey_core::config::Config;
use lakekey_core::error::ExitStatus;
use lakekey_core::ids::CredentialName;
use serde::Serialize;

use super::Session;
use crate::args::Format;
use crate::failure::Failure;
use crate::text::printable;

/// The answer where nothing is wrong; else there is a failure.
#[derive(Serialize)]
struct Valid<'a> {
    valid: bool,
    credentials: Vec<&'a CredentialName>,
}

pub(crate) async fn validate(session: &mut Session) -> Result<ExitStatus, Failure> {
    let config = session.config().await?;
    match session.settings.output {
        Format::Text => session.printer.text(&sentence(&config))?,
        Format::Json => {
            let credentials = config.credentials.iter().map(|credential| &credential.name).collect();
            session.printer.json(&Valid { valid: true, credentials })?;
        }
    }
    Ok(ExitStatus::Done)
}

fn sentence(config: &Config) -> String {
    let names: Vec<String> = config.credentials.iter().map(|credential| printable(credential.name.as_str())).collect();
    match names.as_slice() {
        [] => "the config is valid; it has no credentials\n".to_owned(),
        names => format!("the config is valid; its credentials: {}\n", names.join(", ")),
    }
}
