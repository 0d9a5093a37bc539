//! The command line of lakekey as a library: the binary, the tests and the demo all call [`run`] with the very same
//! arguments. It only translates: arguments into a command, a report into text or JSON and an exit status. Nothing here
//! reads the process's environment, writes to its streams or ends it.

mod args;
mod commands;
mod failure;
mod logging;
mod names;
mod person;
mod printer;
mod profiles;
mod progress;
mod settings;
mod signals;
mod stderr;
mod text;
mod transport;

use std::ffi::OsString;
use std::future::Future;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use lakekey_core::clock::Clock;
use lakekey_core::config::env_vars::Environment;
use lakekey_core::error::Error;
use lakekey_core::http::transport::Transport;
use lakekey_core::random::Random;
use tracing::instrument::WithSubscriber;

use args::{AuthVerb, Cli, Verb};
use commands::Session;
use failure::Failure;
use person::Person;
use printer::Printer;
use settings::Settings;
use stderr::Stderr;

pub use lakekey_core::error::ExitStatus;

// A fleet of ten thousand data sources is read into many small pieces, most of which are soon gone: this allocator gives their memory
// back, as `.cargo/config.toml` tells it to, and takes less time over them. Not in `main`, so that benchmarks measure what people run.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What a command takes from outside.
pub struct CliSurroundings {
    /// The environment: `LAKEKEY_` twins of flags, references, proxies.
    pub environment: Environment,
    /// What a relative path in the arguments is relative to.
    pub current_dir: PathBuf,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// Carries every request; `None` is the network.
    pub transport: Option<Arc<dyn Transport>>,
    /// A person's answers to questions, line by line; `None` where there is nobody to ask.
    pub stdin: Option<Box<dyn BufRead + Send>>,
    /// Takes the answer.
    pub stdout: Box<dyn Write + Send>,
    /// Takes everything else.
    pub stderr: Box<dyn Write + Send>,
    /// Whether `stdout` is a terminal.
    pub stdout_is_terminal: bool,
    /// Whether `stderr` is the process's own and a terminal.
    pub stderr_is_terminal: bool,
    /// The width of the terminal that `stdout` is.
    pub width: Option<usize>,
    /// Ends when somebody asks to stop, as with Ctrl-C. The command is dropped where it is: the journal remembers; `serve`
    /// alone ends by itself.
    pub stop: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Runs one command. `args` begin with the name of the program.
pub async fn run(args: Vec<OsString>, surroundings: CliSurroundings) -> ExitStatus {
    let CliSurroundings { environment, current_dir, clock, random, transport, stdin, stdout, stderr, .. } = surroundings;
    let mut printer = Printer {
        stdout,
        stderr: Stderr::new(stderr),
        colour_stdout: printer::colour(surroundings.stdout_is_terminal, &environment),
        colour_stderr: printer::colour(surroundings.stderr_is_terminal, &environment),
        width: surroundings.width.filter(|_| surroundings.stdout_is_terminal),
    };
    let Cli { options, verb } = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return not_a_command(&error, settings::guess_output(&args, &environment), &mut printer),
    };
    let settings = match Settings::resolve(options, &environment) {
        Ok(settings) => settings,
        Err(error) => return printer.failure(&error.into(), settings::guess_output(&args, &environment)),
    };
    if settings.output == args::Output::Csv && !matches!(verb, Verb::Discover(_)) {
        let error = Error::usage("usage", "only `discover` writes csv").hint("use `--output json` for programs");
        return printer.failure(&error.into(), settings.output);
    }
    let subscriber = logging::subscriber(&settings, printer.stderr.clone(), printer.colour_stderr, &clock);
    let bars = surroundings.stderr_is_terminal;
    let never = || -> Pin<Box<dyn Future<Output = ()> + Send>> { Box::pin(std::future::pending()) };
    let ends_itself = matches!(verb, Verb::Serve(_) | Verb::Exec(_));
    let (asked, dropped) = if ends_itself { (surroundings.stop, never()) } else { (never(), surroundings.stop) };
    let person = stdin.map(Person::new);
    let mut session =
        Session { settings, environment, current_dir, clock, random, transport, person, printer, bars, stop: asked };
    let ended = tokio::select! {
        // What has ended is not reported as stopped.
        biased;
        status = Box::pin(perform(&verb, &mut session)).with_subscriber(subscriber) => Some(status),
        () = dropped => None,
    };
    ended.unwrap_or_else(|| session.printer.failure(&stopped(&verb).into(), session.settings.output))
}

async fn perform(verb: &Verb, session: &mut Session) -> ExitStatus {
    // Boxed where a future is large: it would make that of every command as large.
    let result = match verb {
        Verb::Init(args) => commands::init::init(args, session).await,
        Verb::Schema => commands::schema::schema(session).await,
        Verb::Validate => commands::validate::validate(session).await,
        Verb::Doctor(args) => commands::doctor::doctor(args, session).await,
        Verb::Discover(args) => commands::discover::discover(args, session).await,
        Verb::Plan(args) => commands::plan::plan(args, session).await,
        Verb::Rotate(args) => commands::rotate::rotate(args, session).await,
        Verb::Reapply(args) => commands::reapply::reapply(args, session).await,
        Verb::Rollback(args) => commands::rollback::rollback(args, session).await,
        Verb::Revoke(args) => commands::revoke::revoke(args, session).await,
        Verb::Forget(args) => commands::forget::forget(args, session).await,
        Verb::Status(args) => commands::status::status(args, session).await,
        Verb::History(args) => commands::history::history(args, session).await,
        Verb::Login(args) => Box::pin(commands::login::login(args, session)).await,
        Verb::Logout(args) => Box::pin(commands::logout::logout(args, session)).await,
        Verb::Token(args) => Box::pin(commands::token::token(args, session)).await,
        Verb::Auth(args) => match &args.verb {
            AuthVerb::Token(args) => Box::pin(commands::token::token(args, session)).await,
        },
        Verb::Version => commands::version::version(session).await,
        Verb::Exec(args) => Box::pin(commands::exec::exec(args, session)).await,
        Verb::Serve(args) => Box::pin(commands::serve::serve(args, session)).await,
    };
    result.unwrap_or_else(|failure| session.printer.failure(&failure, session.settings.output))
}

/// Help and version are answers; the rest is wrong usage.
fn not_a_command(error: &clap::Error, output: args::Output, printer: &mut Printer) -> ExitStatus {
    let text = error.render().ansi().to_string();
    match (error.kind(), output) {
        (ErrorKind::DisplayHelp | ErrorKind::DisplayVersion, _) => match printer.text(&text) {
            Ok(()) => ExitStatus::Done,
            Err(error) => printer.failure(&error.into(), output),
        },
        (_, args::Output::Text | args::Output::Csv) => {
            printer.say(&text);
            ExitStatus::Usage
        }
        (_, args::Output::Json) => printer.failure(&Failure::Command(usage(error)), output),
    }
}

/// What clap says, as an error of the contract.
fn usage(error: &clap::Error) -> Error {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Error::usage("usage", "no command is given").hint("see `lakekey --help`");
    }
    let text = error.render().to_string();
    let first: Vec<&str> = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect();
    let message = first.join(" ");
    let wrong = Error::usage("usage", message.strip_prefix("error: ").unwrap_or(&message));
    let suggestions = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    match suggestions.into_iter().find_map(|kind| error.get(kind)) {
        Some(ContextValue::String(word)) => wrong.hint(format!("did you mean `{word}`?")),
        // Clap puts the likeliest last.
        Some(ContextValue::Strings(words)) if !words.is_empty() => {
            let words: Vec<String> = words.iter().rev().map(|word| format!("`{word}`")).collect();
            wrong.hint(format!("did you mean {}?", words.join(" or ")))
        }
        _ => wrong.hint("see `lakekey --help`"),
    }
}

/// Why a command ended before its time, and how to go on.
fn stopped(verb: &Verb) -> Error {
    let moved = "stopped; every target still holds a live secret";
    match verb {
        Verb::Rotate(_) | Verb::Rollback(_) | Verb::Revoke(_) => {
            Error::unfinished("stopped", moved).hint("`lakekey rotate` goes on where this was stopped")
        }
        Verb::Reapply(_) => Error::unfinished("stopped", moved).hint("`lakekey reapply` sends again what is left"),
        Verb::Serve(_) => Error::unfinished("stopped", moved).hint("`lakekey serve` goes on where this was stopped"),
        Verb::Forget(_) => Error::unfinished("stopped", moved).hint("`lakekey history` says whether it was recorded"),
        Verb::Init(_) => Error::unfinished("stopped", "stopped; no config was written, unless it was said to be"),
        Verb::Schema
        | Verb::Validate
        | Verb::Doctor(_)
        | Verb::Discover(_)
        | Verb::Plan(_)
        | Verb::Status(_)
        | Verb::History(_) => Error::unfinished("stopped", "stopped; nothing was changed"),
        Verb::Login(_) => Error::failed("stopped", "stopped; nobody was signed in").hint("run `lakekey login` again"),
        Verb::Logout(_) | Verb::Token(_) | Verb::Auth(_) | Verb::Exec(_) | Verb::Version => Error::failed("stopped", "stopped"),
    }
}

#[cfg(test)]
mod tests;
