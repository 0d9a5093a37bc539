//! `lakekey exec -- CMD`: a command whose Databricks SDK gets its tokens from lakekey, on a loopback port of its own, for as
//! long as it runs. The address that it is given is good for that long only; signals and its exit status are passed on.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitStatus as Ended;

use lakekey_core::api::tokens::TokenService;
use lakekey_core::app::App;
use lakekey_core::broker::Broker;
use lakekey_core::error::{Error, ExitStatus};
use lakekey_core::ids::Workspace;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use super::Session;
use super::token::workspace;
use crate::args::ExecArgs;
use crate::failure::Failure;
use crate::settings;
use crate::signals::Signals;

pub(crate) async fn exec(args: &ExecArgs, session: &mut Session) -> Result<ExitStatus, Failure> {
    let config = session.config().await?;
    let surroundings = session.surroundings(&config)?;
    let secret: Vec<String> = config.variables.iter().cloned().collect();
    let app = App::new(config, surroundings)?;
    let broker = app.broker();
    let host = host(args, session, &broker)?;
    // A sign-in that fails is told here, in whole sentences, and not by the command's SDK.
    broker.token(&host).await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(no_port)?;
    let address = listener.local_addr().map_err(no_port)?;
    let service = TokenService::new(broker.clone(), address, &session.random);
    let mut command = command(args, &secret, &host, &service.url(address));
    // From here on signals are the command's business: nobody is to end lakekey before it.
    let signals = Signals::take()?;
    session.stop = Box::pin(std::future::pending());
    let mut child = command.spawn().map_err(|error| not_started(&args.command, error))?;
    let server = axum::serve(listener, service.server());
    tokio::select! {
        biased;
        ended = wait(&mut child, signals) => Ok(status(ended.map_err(|error| lost(address, error))?)),
        () = broker.keep_fresh() => Err(lost(address, std::io::ErrorKind::UnexpectedEof.into()).into()),
        served = server.into_future() => {
            let error = served.err().unwrap_or_else(|| std::io::ErrorKind::UnexpectedEof.into());
            Err(lost(address, error).into())
        }
    }
}

fn host(args: &ExecArgs, session: &Session, broker: &Broker) -> Result<Workspace, Error> {
    if let Some(given) = args.host.as_deref().or_else(|| session.environment.get(settings::HOST)) {
        let host = workspace(given)?;
        return broker.identity(&host).map(|_| host.clone());
    }
    let own = session.environment.get(settings::DATABRICKS_HOST).and_then(|host| Workspace::parse(host).ok());
    let own = own.filter(|own| broker.hosts().any(|host| host == own));
    own.or_else(|| broker.hosts().next().cloned()).ok_or_else(|| {
        Error::usage("broker-off", "the config has no `broker:`, so there is no host to sign in to")
            .hint("add `broker: [{ host: https://HOST, identity: NAME }]` to the config")
    })
}

/// `secret` names what lakekey itself signs in with: the command gets tokens, and needs none of it.
fn command(args: &ExecArgs, secret: &[String], host: &Workspace, url: &str) -> Command {
    let [program, arguments @ ..] = args.command.as_slice() else { return Command::new("") };
    let mut command = Command::new(program);
    command.args(arguments);
    // Two ways to sign in at once are an error in the SDKs, and other programs might prefer the wrong one.
    for name in OTHER_SIGN_INS.into_iter().chain(secret.iter().map(String::as_str)) {
        command.env_remove(name);
    }
    command.env(settings::DATABRICKS_HOST, host.base()).env(AUTH_TYPE, "metadata-service").env(SERVICE_URL, url);
    command
}

/// Waits for the end of the command, and passes on what lakekey is told meanwhile.
async fn wait(child: &mut Child, mut signals: Signals) -> std::io::Result<Ended> {
    loop {
        tokio::select! {
            biased;
            ended = child.wait() => return ended,
            signal = signals.next() => signal.pass_on(child.id()),
        }
    }
}

/// As shells tell it: a command that a signal has ended has 128 and the signal's number.
fn status(ended: Ended) -> ExitStatus {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&ended);
    #[cfg(not(unix))]
    let signal: Option<i32> = None;
    let code = ended.code().or_else(|| signal.map(|signal| 128 + signal)).and_then(|code| u8::try_from(code & 0xff).ok());
    ExitStatus::OfCommand(code.unwrap_or(1))
}

fn no_port(error: std::io::Error) -> Error {
    Error::failed("address-unusable", "no port of loopback can be listened on")
        .hint("check what keeps this machine from opening sockets")
        .caused_by(error)
}

fn not_started(command: &[std::ffi::OsString], error: std::io::Error) -> Error {
    let program = command.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
    Error::usage("command-unusable", format!("`{program}` can't be started"))
        .hint("check its name, and that it may be run by this user")
        .caused_by(error)
}

fn lost(address: SocketAddr, error: std::io::Error) -> Error {
    Error::failed("command-lost", format!("the command can't be served at `{address}` any more"))
        .hint("start it again")
        .caused_by(error)
}

const AUTH_TYPE: &str = "DATABRICKS_AUTH_TYPE";
const SERVICE_URL: &str = "DATABRICKS_METADATA_SERVICE_URL";
/// Ways to sign in to Databricks by the environment. Variables of Azure, GitHub and Google are left: other programs use them,
/// such as another provider of the same `terraform`, and with `DATABRICKS_AUTH_TYPE` set the SDKs do not mind them.
const OTHER_SIGN_INS: [&str; 11] = [
    "DATABRICKS_TOKEN",
    "DATABRICKS_USERNAME",
    "DATABRICKS_PASSWORD",
    "DATABRICKS_CLIENT_ID",
    "DATABRICKS_CLIENT_SECRET",
    "DATABRICKS_CONFIG_PROFILE",
    "DATABRICKS_OIDC_TOKEN",
    "DATABRICKS_OIDC_TOKEN_ENV",
    "DATABRICKS_OIDC_TOKEN_FILEPATH",
    "DATABRICKS_OIDC_TOKEN_FILE",
    "DATABRICKS_GOOGLE_SERVICE_ACCOUNT",
];
