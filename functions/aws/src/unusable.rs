//! Why the process ends before it has taken any event: a broken config above all.

use lakekey_core::config::ConfigProblem;
use lakekey_core::error::{Error, ExitStatus};
use tracing::error;

/// Why there is no function.
#[derive(Debug)]
pub enum Unusable {
    /// Everything that is wrong with the config.
    Config(Vec<ConfigProblem>),
    /// What the config or the environment asks for cannot be.
    Setting(Error),
}

impl Unusable {
    /// Says why, a line for each reason.
    pub fn log(&self) {
        match self {
            Self::Config(problems) => {
                for problem in problems {
                    let ConfigProblem { code, hint, file, line, column, .. } = problem;
                    error!(code, hint, file, line, column, "{problem}");
                }
            }
            Self::Setting(error) => {
                let source = std::error::Error::source(error).map(ToString::to_string);
                error!(code = error.code(), hint = error.problem().hint, source, "{error}");
            }
        }
    }

    /// What the process ends with.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Config(_) => ExitStatus::Usage,
            Self::Setting(error) => error.kind().exit_status(),
        }
    }
}

impl From<Vec<ConfigProblem>> for Unusable {
    fn from(problems: Vec<ConfigProblem>) -> Self {
        Self::Config(problems)
    }
}

impl From<Error> for Unusable {
    fn from(error: Error) -> Self {
        Self::Setting(error)
    }
}
