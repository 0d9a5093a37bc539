//! The binary `lakekey`: hands the process's own surroundings to the library. The first Ctrl-C or SIGTERM asks it to stop, the second
//! ends the process at once; neither can lose anything, for the journal is the only memory.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use lakekey_cli::{CliSurroundings, ExitStatus, run};
use lakekey_core::clock::Clock;
use lakekey_core::config::env_vars::Environment;
use lakekey_core::random::Random;

fn main() -> ExitCode {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitStatus::Failed.into();
    };
    let (stop, stopped) = tokio::sync::oneshot::channel();
    // A thread of its own, so that the second Ctrl-C works even where the first one's answer is stuck.
    let listener = std::thread::Builder::new().name("signals".to_owned()).spawn(|| listen(stop));
    let surroundings = CliSurroundings {
        environment: Environment::of_process(),
        current_dir: std::env::current_dir().unwrap_or_default(),
        clock: Clock::wall(),
        random: Random::system(),
        transport: None,
        stdin: asks_a_person().then(|| Box::new(std::io::BufReader::new(std::io::stdin())) as _),
        stdout: Box::new(std::io::stdout()),
        stderr: Box::new(std::io::stderr()),
        stdout_is_terminal: std::io::stdout().is_terminal(),
        stderr_is_terminal: std::io::stderr().is_terminal(),
        width: console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns)),
        stop: Box::pin(async move {
            if listener.is_err() || stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        }),
    };
    let status = runtime.block_on(run(std::env::args_os().collect(), surroundings));
    runtime.shutdown_timeout(SHUTDOWN_MAX);
    status.into()
}

/// Whether there is a person to ask: questions go to stderr, answers come from stdin.
fn asks_a_person() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn listen(stop: tokio::sync::oneshot::Sender<()>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        if asked_to_stop().await.is_ok() && stop.send(()).is_err() {
            // Nobody waits for it: the command that runs deals with signals itself.
            return;
        }
        if asked_to_stop().await.is_ok() {
            #[expect(clippy::exit, reason = "a person has asked twice")]
            std::process::exit(STOPPED_BY_FORCE);
        }
    });
}

/// Ctrl-C, or what service managers send.
async fn asked_to_stop() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            asked = tokio::signal::ctrl_c() => asked,
            _ = terminated.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

/// A blocking write to a local file may still be under way.
const SHUTDOWN_MAX: Duration = Duration::from_secs(2);
/// What shells use for a process that SIGINT has ended.
const STOPPED_BY_FORCE: i32 = 130;
