//! Why the process ends: a broken config above all. Every reason is a line of the log first.

use lakekey_core::config::ConfigProblem;
use lakekey_core::error::Error;
use tracing::error;

/// Sentences for people, one a line, already logged.
#[derive(Debug)]
pub struct Fatal(pub String);

impl From<Error> for Fatal {
    fn from(error: Error) -> Self {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        error!(code = error.code(), hint = error.problem().hint, source, "{error}");
        Self(with_hint(error.to_string(), error.problem().hint.as_deref()))
    }
}

impl From<Vec<ConfigProblem>> for Fatal {
    fn from(problems: Vec<ConfigProblem>) -> Self {
        let said = problems.iter().map(|problem| {
            let ConfigProblem { code, hint, file, line, column, .. } = problem;
            error!(code, hint, file, line, column, "{problem}");
            with_hint(problem.to_string(), hint.as_deref())
        });
        Self(said.collect::<Vec<_>>().join("\n"))
    }
}

fn with_hint(sentence: String, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{sentence}; {hint}"),
        None => sentence,
    }
}
