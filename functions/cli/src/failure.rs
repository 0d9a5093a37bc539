//! Why a command has no report: one error, or a config with problems.

use lakekey_core::config::ConfigProblem;
use lakekey_core::error::{Error, ExitStatus, Problem};
use lakekey_core::report::{FailureReport, LocatedProblem};

/// Why there is no report.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong or the command as a whole failed.
    Command(Error),
    /// The config is wrong: everything that is, at once.
    Config(Vec<LocatedProblem>),
}

impl Failure {
    pub(crate) fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Command(error) => error.kind().exit_status(),
            Self::Config(_) => ExitStatus::Usage,
        }
    }

    /// The JSON of the contract.
    pub(crate) fn report(&self) -> FailureReport {
        match self {
            Self::Command(error) => FailureReport::from(error),
            Self::Config(problems) => FailureReport {
                error: Problem::new("config-invalid", self.summary()).hint("see `problems`"),
                problems: problems.clone(),
            },
        }
    }

    /// One sentence.
    pub(crate) fn summary(&self) -> String {
        match self {
            Self::Command(error) => error.problem().message.clone(),
            Self::Config(problems) if problems.len() == 1 => "the config has 1 problem".to_owned(),
            Self::Config(problems) => format!("the config has {} problems", problems.len()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Command(error)
    }
}

impl From<Vec<ConfigProblem>> for Failure {
    fn from(problems: Vec<ConfigProblem>) -> Self {
        Self::Config(problems.into_iter().map(located).collect())
    }
}

fn located(problem: ConfigProblem) -> LocatedProblem {
    let ConfigProblem { code, message, hint, file, line, column } = problem;
    LocatedProblem { code, message, hint, file: Some(file), line: Some(line), column: Some(column) }
}
