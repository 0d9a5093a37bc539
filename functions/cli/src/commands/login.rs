//! `lakekey login`: a person signs in once; tokens are had without them from then on.

use lakekey_core::app::App;
use lakekey_core::config::env_vars::Environment;
use lakekey_core::config::{Auth, AzureSignIn, Config, Identity};
use lakekey_core::error::{Error, ExitStatus};
use lakekey_core::identity::{Audience, Identities, Invitation, Way};
use lakekey_core::ids::Workspace;
use serde::Serialize;

use super::Session;
use super::token::workspace;
use crate::args::{LoginArgs, Output, SignInArgs};
use crate::failure::Failure;
use crate::settings;
use crate::text::printable;

#[derive(Serialize)]
struct Answer {
    identity: String,
    /// The workspace; of a sign-in at Entra every one.
    host: Option<String>,
    user: Option<String>,
    kept_in: String,
}

pub(crate) async fn login(args: &LoginArgs, session: &mut Session) -> Result<ExitStatus, Failure> {
    let config = session.config().await?;
    let identity = person(&args.who, session, &config)?.clone();
    let audience = audience(&args.who, session, &config, &identity)?;
    let device_code = settings::switch(args.device_code, settings::DEVICE_CODE, &session.environment)?;
    let no_browser = settings::switch(args.no_browser, settings::NO_BROWSER, &session.environment)?;
    let may_open = session.bars && !no_browser && has_display(&session.environment);
    let way = way(&identity, device_code, may_open || no_browser);
    let surroundings = session.surroundings(&config)?;
    let app = App::new(config, surroundings)?;
    let stderr = session.printer.stderr.clone();
    let show = |invitation| stderr.say(&invited(&invitation, may_open));
    let signed_in = app.identities().login(&identity.name, &audience, way, &session.random, &show).await?;
    let key = Identities::sign_in_key(&identity, &audience);
    let answer = Answer {
        identity: identity.name.to_string(),
        host: host_of(&identity, &audience),
        user: signed_in.name,
        kept_in: session.shelf().map(|shelf| shelf.place(&key)).unwrap_or_default(),
    };
    match session.settings.output {
        Output::Json => session.printer.json(&answer)?,
        Output::Text | Output::Csv => session.printer.text(&said(&answer))?,
    }
    Ok(ExitStatus::Done)
}

/// The identity that is meant: named, or the only one that needs a person.
pub(crate) fn person<'a>(args: &SignInArgs, session: &Session, config: &'a Config) -> Result<&'a Identity, Error> {
    let people: Vec<&Identity> = config.identities.values().filter(|identity| is_person(identity)).collect();
    let named = args.identity.as_deref().or_else(|| session.environment.get(settings::IDENTITY));
    if let Some(name) = named {
        return config.identities.values().find(|identity| identity.name.as_str() == name).ok_or_else(|| {
            Error::usage("unknown-identity", format!("no identity is named `{name}`"))
                .hint("name one of those under `identities` in the config")
        });
    }
    match people.as_slice() {
        [one] => Ok(one),
        [] => Err(Error::usage("no-person", "no identity of the config needs a person")
            .hint("`auth: external-browser`, `azure-browser` and `azure-device-code` do")),
        [_, _, ..] => {
            let names: Vec<String> = people.iter().map(|identity| format!("`{}`", identity.name)).collect();
            Err(Error::usage("identity-missing", "several identities of the config need a person")
                .hint(format!("say which with `--identity`: {}", names.join(", "))))
        }
    }
}

/// Identities whose sign-in `login` makes.
pub(crate) fn is_person(identity: &Identity) -> bool {
    matches!(identity.auth, Auth::ExternalBrowser { .. } | Auth::AzurePerson { .. })
}

/// What the sign-in is for. One at Entra serves every audience, and is tried with the workspace's.
pub(crate) fn audience(args: &SignInArgs, session: &Session, config: &Config, identity: &Identity) -> Result<Audience, Error> {
    let given = args.host.as_deref().or_else(|| session.environment.get(settings::HOST));
    let host = match given {
        Some(host) => Some(workspace(host)?),
        None => hosts(config, identity).into_iter().next(),
    };
    host.map(Audience::Databricks)
        .ok_or_else(|| Error::usage("host-missing", "no workspace is named").hint("say which with `--host https://HOST`"))
}

/// The workspaces that an identity signs in to, those of `broker:` first.
pub(crate) fn hosts(config: &Config, identity: &Identity) -> Vec<Workspace> {
    let brokered = config.broker.iter().filter(|row| row.identity == identity.name).map(|row| &row.workspace);
    let own = config.credentials.iter().filter(|credential| credential.identity == identity.name);
    let own = own.flat_map(|credential| std::iter::once(&credential.workspace).chain(&credential.also_workspaces));
    let any = config.credentials.iter().map(|credential| &credential.workspace);
    brokered.chain(own).chain(any).cloned().collect()
}

/// Without a display nobody sees a browser here: Entra then has codes.
fn way(identity: &Identity, device_code: bool, has_browser: bool) -> Way {
    let code_alone = matches!(identity.auth, Auth::AzurePerson { by: AzureSignIn::DeviceCode, .. });
    let has_codes = matches!(identity.auth, Auth::AzurePerson { .. });
    if device_code || code_alone || has_codes && !has_browser { Way::DeviceCode } else { Way::Browser }
}

/// Whether a browser that is opened here is seen by somebody.
fn has_display(environment: &Environment) -> bool {
    let remote = environment.get("SSH_CONNECTION").is_some();
    let shown = environment.get("DISPLAY").or_else(|| environment.get("WAYLAND_DISPLAY")).is_some();
    shown || !remote && !cfg!(all(unix, not(target_os = "macos")))
}

/// Opens the browser where that makes sense, and says in any case where to go.
fn invited(invitation: &Invitation, may_open: bool) -> String {
    match invitation {
        Invitation::Open(address) if may_open && webbrowser::open(address).is_ok() => {
            format!("sign in in the browser that opens, or open this address:\n{}\n", printable(address))
        }
        Invitation::Open(address) => format!(
            "open this address in a browser on this machine (elsewhere, forward the port that it comes back to):\n{}\n",
            printable(address)
        ),
        Invitation::Enter { code, address } => {
            format!("open {} in any browser and enter the code {}\n", printable(address), printable(code))
        }
    }
}

fn host_of(identity: &Identity, audience: &Audience) -> Option<String> {
    match (&identity.auth, audience) {
        (Auth::ExternalBrowser { .. }, Audience::Databricks(host)) => Some(host.base().to_owned()),
        _ => None,
    }
}

fn said(answer: &Answer) -> String {
    let user = answer.user.as_deref().map(|user| format!(" as {}", printable(user))).unwrap_or_default();
    let host = answer.host.as_deref().map(|host| format!(" to {}", printable(host))).unwrap_or_default();
    format!("identity `{}` is signed in{host}{user}; kept in {}\n", answer.identity, printable(&answer.kept_in))
}
