//! The binary `bootstrap`: hands the process's own surroundings to the library.

use std::process::ExitCode;

use lakekey_aws::{Function, FunctionSurroundings};
use lakekey_core::clock::Clock;
use lakekey_core::config::env_vars::Environment;
use lakekey_core::error::ExitStatus;
use lakekey_core::random::Random;
use tracing::error;

fn main() -> ExitCode {
    let (environment, clock) = (Environment::of_process(), Clock::wall());
    lakekey_aws::log(std::io::stdout(), &environment, &clock);
    if let Some(name) = lakekey_aws::missing_variable(&environment) {
        error!("the environment has no `{name}`: this program is started by AWS Lambda, as `bootstrap` of a custom runtime");
        return ExitStatus::Usage.into();
    }
    let surroundings = FunctionSurroundings {
        environment,
        clock,
        random: Random::system(),
        transport: None,
        stdout: Box::new(std::io::stdout()),
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        error!("this process can't have a runtime: it lacks memory or descriptors");
        return ExitStatus::Failed.into();
    };
    let function = match runtime.block_on(Function::new(surroundings, &std::env::current_dir().unwrap_or_default())) {
        Ok(function) => function,
        Err(unusable) => {
            unusable.log();
            return unusable.exit_status().into();
        }
    };
    match runtime.block_on(lakekey_aws::serve(function)) {
        Ok(()) => ExitStatus::Done.into(),
        Err(cause) => {
            error!(%cause, "the platform's runtime API failed");
            ExitStatus::Failed.into()
        }
    }
}
