//! `nearexpiry`: Key Vault says that a secret expires within 30 days, or has. A secret that lives for 14 days always does, so an
//! event starts no rotation: it is only looked, now rather than at the next tick, whether one is due. What is not due
//! writes no new version, so that no event can bring about the next.

use lakekey_core::app::App;
use lakekey_core::command::{Command, Progress};
use lakekey_core::error::Error;
use tracing::info;

use super::{Said, told};
use crate::envelope::Envelope;
use crate::event::{self, VaultSecret};

pub(super) async fn nearexpiry(app: &App, envelope: &Envelope) -> Result<Said, Error> {
    let events = event::events(&envelope.payload()?)?;
    let (mut names, mut said) = (Vec::new(), Said::new());
    for event in events {
        let Some(VaultSecret { vault, name }) = event.expiring else {
            said.push(passed_over(format!("an event of type `{}` is none of a secret that expires", event.kind)));
            continue;
        };
        match app.kept_in_key_vault(&vault, &name) {
            Some(credential) if !names.contains(credential) => names.push(credential.clone()),
            Some(_) => {}
            None => said.push(passed_over(format!("no credential is kept in the secret `{name}` of the vault `{vault}`"))),
        }
    }
    if !names.is_empty() {
        info!(credentials = ?names, "a secret expires: looking whether a rotation is due");
        said.extend(told(&app.run(Command::Rotate { names, force: false }, &Progress::none()).await?)?);
    }
    Ok(said)
}

/// It is acknowledged: to fail would only bring it back.
fn passed_over(why: String) -> String {
    info!("passed over: {why}");
    format!("passed over: {why}")
}
