//! Why a store could not do what it was asked. Values never appear in it.

use std::io;

use crate::credential::ValueError;
use crate::error::Error;

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// What is there is not a value that lakekey can read.
    #[error("what `{place}` holds is not a credential")]
    Corrupt {
        /// Where.
        place: String,
        /// What is wrong with it.
        #[source]
        source: ValueError,
    },
    /// The slot of one secret holds another.
    #[error("the slot `{place}` holds the value of another secret")]
    Occupied {
        /// Where.
        place: String,
    },
    /// It could not be read.
    #[error("`{place}` cannot be read")]
    Unreadable {
        /// Where.
        place: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It could not be written.
    #[error("`{place}` cannot be written")]
    NotWritable {
        /// Where.
        place: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match &error {
            StoreError::Corrupt { .. } => Self::quarantined("store-corrupt", message)
                .hint("restore the value, or move it away if it is not lakekey's; nothing was deleted"),
            StoreError::Occupied { .. } => {
                Self::quarantined("store-slot-occupied", message).hint("move the file away if it is not lakekey's")
            }
            StoreError::Unreadable { .. } => {
                Self::failed("store-unavailable", message).hint("give the user that runs lakekey read access to it")
            }
            StoreError::NotWritable { .. } => Self::failed("store-not-writable", message)
                .hint("give the user that runs lakekey write access to the folder, and check that the path is a plain file"),
        }
        .caused_by(error)
    }
}
