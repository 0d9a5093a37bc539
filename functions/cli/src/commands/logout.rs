//! `lakekey logout`: forgets what sign-ins have left on this machine. The services are not told: a person ends their sessions
//! there.

use std::collections::BTreeSet;

use lakekey_core::config::Identity;
use lakekey_core::error::ExitStatus;
use lakekey_core::identity::{Audience, Identities};
use serde::Serialize;

use super::Session;
use super::login::{audience, hosts, is_person, person};
use crate::args::{Output, SignInArgs};
use crate::failure::Failure;
use crate::settings;

#[derive(Serialize)]
struct Answer {
    /// Identities whose sign-in was there.
    forgotten: BTreeSet<String>,
}

pub(crate) async fn logout(args: &SignInArgs, session: &mut Session) -> Result<ExitStatus, Failure> {
    let config = session.config().await?;
    let named = args.identity.is_some() || session.environment.get(settings::IDENTITY).is_some();
    let identities: Vec<&Identity> = match named {
        true => vec![person(args, session, &config)?],
        false => config.identities.values().filter(|identity| is_person(identity)).collect(),
    };
    let mut forgotten = BTreeSet::new();
    if let Some(shelf) = session.shelf() {
        for identity in identities {
            let audiences = match args.host {
                Some(_) => vec![audience(args, session, &config, identity)?],
                None => hosts(&config, identity).into_iter().map(Audience::Databricks).collect(),
            };
            for key in audiences.iter().map(|audience| Identities::sign_in_key(identity, audience)).collect::<BTreeSet<_>>() {
                if shelf.forget(&key).await? {
                    forgotten.insert(identity.name.to_string());
                }
            }
        }
        shelf.forget_tokens()?;
    }
    match session.settings.output {
        Output::Json => session.printer.json(&Answer { forgotten })?,
        Output::Text | Output::Csv if forgotten.is_empty() => session.printer.text("nobody was signed in\n")?,
        Output::Text | Output::Csv => {
            let names: Vec<String> = forgotten.iter().map(|name| format!("`{name}`")).collect();
            session.printer.text(&format!("signed out: {}\n", names.join(", ")))?;
        }
    }
    Ok(ExitStatus::Done)
}
