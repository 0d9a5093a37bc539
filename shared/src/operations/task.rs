//! What an operation is to do, as it is kept, and the command that does it.

use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::ids::CredentialName;

/// What an operation is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Task {
    /// As `lakekey rotate`.
    Rotate {
        /// Although not due.
        force: bool,
    },
    /// As `lakekey reapply`.
    Reapply {
        /// Refresh the datasets too.
        refresh: bool,
    },
    /// As `lakekey rollback`.
    Rollback,
    /// As `lakekey revoke`.
    Revoke,
}

impl Task {
    /// The command for it.
    pub fn command(self, name: CredentialName) -> Command {
        let names = vec![name];
        match self {
            Self::Rotate { force } => Command::Rotate { names, force },
            Self::Reapply { refresh } => Command::Reapply { names, refresh },
            Self::Rollback => Command::Rollback { names },
            Self::Revoke => Command::Revoke { names, foreign: false },
        }
    }

    /// Whether it may begin while a rotation is open.
    pub fn supersedes(self) -> bool {
        match self {
            Self::Rotate { .. } | Self::Reapply { .. } => false,
            Self::Rollback | Self::Revoke => true,
        }
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rotate { .. } => "rotate",
            Self::Reapply { .. } => "reapply",
            Self::Rollback => "rollback",
            Self::Revoke => "revoke",
        }
    }
}
