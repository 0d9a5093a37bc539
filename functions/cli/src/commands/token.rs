//! `lakekey token`: a fresh token in the form of `databricks auth token`, which SDKs call by that name.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use lakekey_core::app::App;
use lakekey_core::broker::Handout;
use lakekey_core::config::Config;
use lakekey_core::error::{Error, ExitStatus};
use lakekey_core::ids::{IdentityName, Workspace};
use serde::Serialize;

use super::Session;
use crate::args::{Output, TokenArgs};
use crate::failure::Failure;
use crate::{profiles, settings};

#[derive(Serialize)]
struct Answer {
    access_token: String,
    token_type: &'static str,
    expiry: String,
}

pub(crate) async fn token(args: &TokenArgs, session: &mut Session) -> Result<ExitStatus, Failure> {
    let host = host(args, session)?;
    let config = session.config().await?;
    let identity = identity(args, session, &config, &host)?;
    // Another config may mean another identity by the same name.
    let key = format!("{identity}@{} {}", host.base(), config.digest);
    let shelf = session.shelf();
    let kept = shelf.as_ref().filter(|_| !args.force_refresh).and_then(|shelf| shelf.token(&key));
    let Handout { token, expires_at, .. } = match kept {
        Some(kept) => kept,
        None => {
            fetched(args, session, config, (&identity, &host), |handout| {
                if let Some(shelf) = &shelf {
                    shelf.keep_token(&key, handout);
                }
            })
            .await?
        }
    };
    let answer = Answer { access_token: token.reveal().to_owned(), token_type: "Bearer", expiry: expiry(expires_at) };
    match session.settings.output {
        Output::Json => session.printer.json(&answer)?,
        Output::Text | Output::Csv => {
            let json = serde_json::to_string_pretty(&answer)
                .map_err(|error| Error::failed("token-unwritable", "the token can't be written").caused_by(error))?;
            session.printer.text(&format!("{json}\n"))?;
        }
    }
    Ok(ExitStatus::Done)
}

async fn fetched(
    args: &TokenArgs,
    session: &Session,
    config: Config,
    (identity, host): (&IdentityName, &Workspace),
    keep: impl Fn(&Handout),
) -> Result<Handout, Failure> {
    let surroundings = session.surroundings(&config)?;
    let broker = App::new(config, surroundings)?.broker();
    let handout = match args.force_refresh {
        true => broker.fresh_token_as(identity, host).await?,
        false => broker.token_as(identity, host).await?,
    };
    keep(&handout);
    Ok(handout)
}

/// The workspace that is meant.
fn host(args: &TokenArgs, session: &Session) -> Result<Workspace, Error> {
    let environment = &session.environment;
    let profile = args.profile.as_deref().or_else(|| environment.get(profiles::PROFILE));
    let given = args.host.as_deref().or_else(|| environment.get(settings::HOST));
    let text = match (given, profile) {
        (Some(host), _) => host.to_owned(),
        (None, Some(profile)) => profiles::host(profile, environment)?,
        (None, None) => environment
            .get(settings::DATABRICKS_HOST)
            .ok_or_else(|| Error::usage("host-missing", "no workspace is named").hint("say which with `--host https://HOST`"))?
            .to_owned(),
    };
    workspace(&text)
}

pub(crate) fn workspace(text: &str) -> Result<Workspace, Error> {
    Workspace::parse(text).map_err(|why| Error::usage("bad-host", why).hint("write `https://HOST`, as the browser shows it"))
}

/// Who signs in: whoever is named, else whom `broker:` names for the host, else whoever manages its credentials.
fn identity(args: &TokenArgs, session: &Session, config: &Config, host: &Workspace) -> Result<IdentityName, Error> {
    if let Some(name) = args.identity.as_deref().or_else(|| session.environment.get(settings::IDENTITY)) {
        return Ok(IdentityName::new(name));
    }
    let brokered = config.broker.iter().find(|row| row.workspace == *host).map(|row| &row.identity);
    let own =
        || config.credentials.iter().find(|credential| credential.workspace == *host).map(|credential| &credential.identity);
    brokered.or_else(own).cloned().ok_or_else(|| {
        Error::usage("host-not-brokered", format!("the config names nobody who signs in to `{}`", host.host()))
            .hint("say who with `--identity NAME`, or add a row for this host to `broker:`")
    })
}

/// As Go's clients write a time: in the zone of this machine, with a fraction. The Python SDK drops the fraction and what
/// follows it, and takes the rest for local time (databricks-sdk-py credentials_provider.py `_parse_expiry`).
fn expiry(at: Timestamp) -> String {
    written(&at.to_zoned(TimeZone::system()))
}

fn written(at: &Zoned) -> String {
    let time = at.strftime("%Y-%m-%dT%H:%M:%S.%6f");
    if at.offset().is_zero() { format!("{time}Z") } else { format!("{time}{}", at.strftime("%:z")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_local_time_with_a_fraction() {
        let at: Timestamp = "2026-07-01T12:00:00Z".parse().expect("a time");
        let in_zone = |name: &str| written(&at.in_tz(name).expect("a zone"));
        assert_eq!(in_zone("UTC"), "2026-07-01T12:00:00.000000Z");
        assert_eq!(in_zone("Europe/Berlin"), "2026-07-01T14:00:00.000000+02:00");
        assert_eq!(in_zone("America/New_York"), "2026-07-01T08:00:00.000000-04:00");
    }
}
