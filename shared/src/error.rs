//! The one error that crosses module boundaries: what was tried, why it failed, what to do. Its kind alone decides the
//! exit status, and later the HTTP status and the Lambda error type.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who must act, and therefore what a caller should do with the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The command line or the config is wrong; nothing was tried.
    Usage,
    /// A precondition in the outside world is not met, or a call was refused; nothing was changed.
    Failed,
    /// Another runner holds the lease, or the work must go on later; every target still holds a live secret.
    Unfinished,
    /// A journal or stored value is not what lakekey wrote; a person must look.
    Quarantined,
}

/// What a process answers with when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// All is as asked; a credential in `draining` included.
    Done,
    /// Failed before anything changed.
    Failed,
    /// The command line or the config is wrong.
    Usage,
    /// Not finished: a rotation is open, a target is parked, another runner holds the lease, or a credential is quarantined.
    Unfinished,
}

impl ExitStatus {
    /// The number that the operating system is given.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unfinished => 3,
        }
    }
}

impl From<ExitStatus> for std::process::ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

impl ErrorKind {
    /// How a command that ends with such an error exits.
    pub fn exit_status(self) -> ExitStatus {
        match self {
            Self::Usage => ExitStatus::Usage,
            Self::Failed => ExitStatus::Failed,
            Self::Unfinished | Self::Quarantined => ExitStatus::Unfinished,
        }
    }
}

/// A failure with a stable code. Secrets never appear in any part of it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    problem: Box<Problem>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The part of an error that users and scripts see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Problem {
    /// A stable kebab-case word, listed in the reference.
    pub code: String,
    /// What was tried and why it failed, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem without a hint.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), hint: None }
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether it is of a service or a network, and may pass without anybody's doing.
    pub fn is_passing(&self) -> bool {
        const PASSING: [&str; 12] = [
            "unreachable",
            "no-answer",
            "timeout",
            "throttled",
            "service-error",
            "unusable-answer",
            "login-page",
            "redirect",
            "unauthorized",
            "sign-in-refused",
            "gateway-unreachable",
            "target-unreachable",
        ];
        PASSING.contains(&self.code.as_str())
    }
}

impl Error {
    /// An error of this kind about this problem.
    pub fn new(kind: ErrorKind, problem: Problem) -> Self {
        Self { kind, problem: Box::new(problem), source: None }
    }

    /// Wrong usage or config.
    pub fn usage(code: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, Problem::new(code, message))
    }

    /// A failure before anything changed.
    pub fn failed(code: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, Problem::new(code, message))
    }

    /// Work that must go on later.
    pub fn unfinished(code: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unfinished, Problem::new(code, message))
    }

    /// A state that a person must look at.
    pub fn quarantined(code: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Quarantined, Problem::new(code, message))
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.problem.hint = Some(hint.into());
        self
    }

    /// Keeps the cause, for `source()`; it is never formatted into the message.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Who must act.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The stable code.
    pub fn code(&self) -> &str {
        &self.problem.code
    }

    /// What users and scripts see.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}
