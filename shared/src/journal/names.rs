//! Which journals belong to a credential: an empty object `credentials/CREDENTIAL/JOURNAL` for each, so that `status`
//! finds them without asking Databricks who the principal is. Markers are only ever created.

use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutPayload};
use percent_encoding::percent_decode_str;

use super::JournalError;
use crate::ids::CredentialName;

/// Notes that `journal` is one of `credential`; saying so twice is as good as once.
pub async fn remember(store: &dyn ObjectStore, credential: &CredentialName, journal: &str) -> Result<(), JournalError> {
    let marker = Path::from_iter([FOLDER, credential.as_str(), journal]);
    match store.put_opts(&marker, PutPayload::new(), PutMode::Create.into()).await {
        Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(JournalError::Unavailable(error)),
    }
}

/// The journals of `credential`, sorted.
pub async fn journals_of(store: &dyn ObjectStore, credential: &CredentialName) -> Result<Vec<String>, JournalError> {
    let folder = Path::from_iter([FOLDER, credential.as_str()]);
    let listing = store.list_with_delimiter(Some(&folder)).await?;
    let mut names: Vec<String> = listing.objects.iter().filter_map(|object| last_part(&object.location)).collect();
    names.sort();
    Ok(names)
}

/// The last part of `path` as it was before the object store encoded it.
pub(super) fn last_part(path: &Path) -> Option<String> {
    percent_decode_str(path.filename()?).decode_utf8().ok().map(Into::into)
}

const FOLDER: &str = "credentials";
