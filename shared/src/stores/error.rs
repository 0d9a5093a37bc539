//! Why a store could not do what it was asked. Values never appear in it.

use std::io;

use crate::credential::ValueError;
use crate::error::{Error, Problem};
use crate::http::HttpError;

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
    /// The service that keeps it could not be asked, or refused.
    #[error("`{place}` is out of reach")]
    Service {
        /// Where.
        place: String,
        /// How the call failed.
        #[source]
        source: Box<HttpError>,
    },
}

impl StoreError {
    /// The service's own error code, in its spelling.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Service { source, .. } => source.code(),
            Self::Corrupt { .. } | Self::Occupied { .. } | Self::Unreadable { .. } | Self::NotWritable { .. } => None,
        }
    }

    /// Whether a write that ended so may still take effect.
    pub fn may_land(&self) -> bool {
        match self {
            Self::Service { source, .. } => source.may_have_taken_effect(),
            Self::Corrupt { .. } | Self::Occupied { .. } | Self::Unreadable { .. } | Self::NotWritable { .. } => false,
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            // As any other call that fails, with the place in front.
            StoreError::Service { place, source } => {
                let error = Self::from(*source);
                let told = error.problem();
                let problem = Problem { message: format!("`{place}`: {}", told.message), ..told.clone() };
                Self::new(error.kind(), problem).caused_by(error)
            }
            StoreError::Corrupt { .. } => Self::quarantined("store-corrupt", message)
                .hint("restore the value, or move it away if it is not lakekey's; nothing was deleted")
                .caused_by(error),
            StoreError::Occupied { .. } => Self::quarantined("store-slot-occupied", message)
                .hint("move the value away if it is not lakekey's")
                .caused_by(error),
            StoreError::Unreadable { .. } => Self::failed("store-unavailable", message)
                .hint("give the user that runs lakekey read access to it")
                .caused_by(error),
            StoreError::NotWritable { .. } => Self::failed("store-not-writable", message)
                .hint("give the user that runs lakekey write access to the folder, and check that the path is a plain file")
                .caused_by(error),
        }
    }
}
