//! `lakekey token`: a fresh token in the form of `databricks auth token`, which SDKs call by that name.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use lakekey_core::app::App;
use lakekey_core::broker::{Broker, Handout};
use lakekey_core::error::{Error, ExitStatus};
use lakekey_core::ids::{IdentityName, Workspace};
use serde::Serialize;

use super::Session;
use crate::args::{Format, TokenArgs};
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
    let config = session.config()?;
    let app = App::new(config, session.surroundings()?)?;
    let broker = app.broker();
    let identity = identity(args, session, &broker, &host)?;
    let Handout { token, expires_at } = match args.force_refresh {
        true => broker.fresh_token_as(&identity, &host).await?,
        false => broker.token_as(&identity, &host).await?,
    };
    let answer = Answer { access_token: token.reveal().to_owned(), token_type: "Bearer", expiry: expiry(expires_at) };
    match session.settings.output {
        Format::Json => session.printer.json(&answer)?,
        Format::Text => {
            let json = serde_json::to_string_pretty(&answer)
                .map_err(|error| Error::failed("token-unwritable", "the token can't be written").caused_by(error))?;
            session.printer.text(&format!("{json}\n"))?;
        }
    }
    Ok(ExitStatus::Done)
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

/// Who signs in.
fn identity(args: &TokenArgs, session: &Session, broker: &Broker, host: &Workspace) -> Result<IdentityName, Error> {
    match args.identity.as_deref().or_else(|| session.environment.get(settings::IDENTITY)) {
        Some(name) => Ok(IdentityName::new(name)),
        None => broker.identity(host).cloned().map_err(|error| {
            Error::new(error.kind(), error.problem().clone())
                .hint("say who signs in with `--identity NAME`, or add a row for this host to `broker:` in the config")
        }),
    }
}

/// As Go's clients write a time: in the zone of this machine, with a fraction. The Python SDK drops the fraction and what
/// follows it, and takes the rest for local time (databricks-sdk-py credentials_provider.py `_parse_expiry`).
fn expiry(at: Timestamp) -> String {
    written(&at.to_zoned(TimeZone::system()))
}

fn written(at: &Zoned) -> String {
    let text = at.strftime("%Y-%m-%dT%H:%M:%S.%6f%:z").to_string();
    text.strip_suffix("+00:00").map_or(text.clone(), |utc| format!("{utc}Z"))
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
