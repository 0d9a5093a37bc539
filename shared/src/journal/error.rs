//! Why a journal cannot be read or written: another runner was first, somebody edited it, or its place is out of reach.

use crate::error::{Error, ErrorKind, Problem};
use crate::http::sdk::NotCarried;

/// Why a journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another runner appended entry `seq` first; nothing of ours was written. Refresh, then decide again.
    #[error("another runner wrote journal entry {seq} first")]
    Lost {
        /// The place that was wanted.
        seq: u64,
    },
    /// Entry `seq` is not one that lakekey wrote there.
    #[error("journal entry {seq} cannot be trusted: {reason}")]
    Broken {
        /// The entry, or where it should be.
        seq: u64,
        /// What is wrong with it.
        reason: BrokenReason,
    },
    /// What is to be recorded is larger than any entry may be; nothing was written.
    #[error("journal entry {seq} would be larger than 32 MiB")]
    TooLarge {
        /// The place that was wanted.
        seq: u64,
    },
    /// The journal is signed and no state key is set: it can be read, not continued.
    #[error("the journal is signed, and no state key is set to go on with")]
    KeyMissing,
    /// The place of the journal did not answer or refused; an append may still land.
    #[error("the state cannot be reached or written")]
    Unavailable(#[from] object_store::Error),
}

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenReason {
    /// Not an entry of this version.
    #[error("it is unreadable ({0})")]
    Unreadable(String),
    /// Written by another version of lakekey.
    #[error("it has the unknown version {0}")]
    Version(u32),
    /// An object in the journal's folder that is not named as an entry.
    #[error("`{0}` is not an entry's name")]
    Name(String),
    /// Later entries exist, this one does not.
    #[error("it is missing")]
    Missing,
    /// It names another place than where it is.
    #[error("it says that it is entry {0}")]
    Sequence(u64),
    /// It does not follow its predecessor, or is not the one read before.
    #[error("its hash does not fit the chain")]
    Chain,
    /// Larger than any entry may be.
    #[error("it is larger than 32 MiB")]
    Oversize,
    /// It carries no signature although it must.
    #[error("it is not signed")]
    Unsigned,
    /// Its signature is not the state key's.
    #[error("its signature is wrong")]
    Signature,
}

impl From<JournalError> for Error {
    fn from(error: JournalError) -> Self {
        let message = error.to_string();
        let (kind, code, hint) = match error {
            JournalError::Unavailable(source) => return unavailable(source),
            JournalError::Lost { .. } => (ErrorKind::Unfinished, "lost-race", "another runner is at work; run again later"),
            JournalError::Broken { reason, .. } => (ErrorKind::Quarantined, "journal-broken", hint(&reason)),
            JournalError::TooLarge { .. } => (
                ErrorKind::Failed,
                "journal-entry-too-large",
                "select fewer data sources with this credential, and the others with another one",
            ),
            JournalError::KeyMissing => (ErrorKind::Failed, "state-key-missing", "set `state.key` to the key it was signed with"),
        };
        let problem = Problem::new(code, message).hint(hint);
        Self::new(kind, problem)
    }
}

/// The place of a journal refused, or was not reached.
fn unavailable(source: object_store::Error) -> Error {
    use object_store::Error as Cause;
    let error = if matches!(source, Cause::PermissionDenied { .. } | Cause::Unauthenticated { .. }) {
        Error::failed("state-forbidden", "the state may not be read or written")
            .hint("sign in, or give the identity the rights that the README lists")
    } else if is_forbidden_host(&source) {
        Error::failed("forbidden-host", "the state is at a host that credentials may not go to")
            .hint("correct the address, or add its host to LAKEKEY_ALLOWED_HOSTS in the environment")
    } else {
        Error::failed("state-unavailable", "the state cannot be reached or written")
            .hint("check that the place in `state` exists and may be read and written")
    };
    error.caused_by(source)
}

fn is_forbidden_host(error: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(found) = cause {
        if matches!(found.downcast_ref(), Some(NotCarried::ForbiddenHost(_))) {
            return true;
        }
        cause = found.source();
    }
    false
}

fn hint(reason: &BrokenReason) -> &'static str {
    match reason {
        BrokenReason::Version(_) => "run the version of lakekey that wrote it, or a later one",
        BrokenReason::Name(_) => "move the object out of the journal's folder if lakekey did not put it there",
        BrokenReason::Unsigned => {
            "if the state key was introduced just now, `--force` takes the journal so far on trust, once, and signs from there on"
        }
        BrokenReason::Signature => {
            "check that `state.key` is the key the journal was signed with, else restore the state from a backup"
        }
        BrokenReason::Unreadable(_)
        | BrokenReason::Missing
        | BrokenReason::Sequence(_)
        | BrokenReason::Chain
        | BrokenReason::Oversize => "nothing was deleted; see `lakekey history --verify` and restore the state from a backup",
    }
}
