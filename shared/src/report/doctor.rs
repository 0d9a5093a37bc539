//! The answer of `doctor`: one line for each thing that was looked at.

use serde::{Deserialize, Serialize};

use crate::error::Problem;

/// The answer of `doctor`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorReport {
    /// In the order of the config.
    pub checks: Vec<Check>,
}

/// One thing that a rotation needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at: an identity, or a credential with the object in question.
    pub subject: String,
    /// A stable kebab-case word for what was asked, listed in the reference.
    pub check: String,
    /// Whether a rotation will get what it needs.
    pub ok: bool,
    /// What was found, in one sentence without a full stop.
    pub detail: String,
    /// What to do. With `ok` it is a warning: nothing is missing yet.
    pub fix: Option<String>,
}

impl Check {
    /// Passed.
    pub fn passed(check: &str, subject: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { subject: subject.into(), check: check.to_owned(), ok: true, detail: detail.into(), fix: None }
    }

    /// Passed, but not for ever, or not for everybody.
    pub fn warning(check: &str, subject: impl Into<String>, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..Self::passed(check, subject, detail) }
    }

    /// Failed.
    pub fn failed(check: &str, subject: impl Into<String>, problem: &Problem) -> Self {
        Self { ok: false, fix: problem.hint.clone(), ..Self::passed(check, subject, problem.message.clone()) }
    }
}
