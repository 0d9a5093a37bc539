//! The binary `lakekey-azure`: a custom handler of Azure Functions. It never ends well: the host starts a process anew only when
//! it has ended with another status than 0.

use std::io::Write;
use std::process::ExitCode;

use lakekey_azure::{log_to_stdout, run};
use lakekey_core::clock::Clock;
use lakekey_core::config::env_vars::Environment;

fn main() -> ExitCode {
    let (environment, clock) = (Environment::of_process(), Clock::wall());
    log_to_stdout(&environment, &clock);
    let ended = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            runtime.block_on(run(environment, &std::env::current_dir().unwrap_or_default(), clock)).map_err(|fatal| fatal.0)
        }
        Err(error) => Err(format!("the process can't wait for anything: {error}")),
    };
    let why = match ended {
        Ok(never) => match never {},
        Err(why) => why,
    };
    // The host shows the last lines of stderr as the reason of a process's end; nothing else is ever written there.
    let _ = writeln!(std::io::stderr(), "{why}");
    ExitCode::FAILURE
}
