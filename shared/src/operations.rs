//! What the HTTP API has been asked for: each order is an operation that is accepted at once, worked off later by whatever
//! process comes to it, and read back to its end by any. A credential's operations are a journal of their own in the state,
//! so that acceptance is one conditional create, signed where the rotations are, and nothing is ever overwritten.
//!
//! An operation grants nothing by being queued: who works it off reads here what was accepted.

mod log;
mod task;

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::Problem;
use crate::ids::CredentialName;
use crate::report::MoveReport;

pub use log::{Admission, Known, OperationLog, Order, Request, Stage, Writer};
pub use task::Task;

/// `CREDENTIAL-NUMBER`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OperationId {
    /// Whose.
    pub credential: CredentialName,
    /// The number of the entry that accepted it.
    pub number: u64,
}

impl OperationId {
    /// The id in `text`, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        let (credential, number) = text.rsplit_once('-')?;
        let canonical = !credential.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
        Some(Self { credential: CredentialName::new(credential), number: number.parse().ok().filter(|_| canonical)? })
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.credential, self.number)
    }
}

/// An operation as callers see it. It has ended when `result` or `error` is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Operation {
    /// Its id.
    pub id: String,
    /// How far it is.
    pub state: OperationState,
    /// What the command answered, as on the command line.
    pub result: Option<MoveReport>,
    /// Why there is no result.
    pub error: Option<Problem>,
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OperationState {
    /// Accepted; nobody is working on it yet.
    Queued,
    /// Somebody has begun.
    Running,
    /// It has ended, and all is as asked.
    Succeeded,
    /// It has ended with something left to do, which the timer goes on with.
    Incomplete,
    /// It has ended without having done what was asked.
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_what_it_was_written_as_or_none() {
        let id = OperationId { credential: CredentialName::new("sales-bi"), number: 12 };
        assert_eq!(OperationId::parse(&id.to_string()), Some(id));
        for text in ["", "-", "sales-bi", "sales-bi-", "-1", "sales-bi-01", "sales-bi-0", "sales-bi-+1", "a-99999999999999999999"]
        {
            assert_eq!(OperationId::parse(text), None, "{text}");
        }
    }
}
