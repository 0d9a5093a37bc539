//! Opens the folder where journals live. It is private to its user and synced to disk on every append, for a
//! power cut must not take back an entry that a deletion was based on.

use std::io;
use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;

use crate::error::Error;
use crate::stores::disk;

/// Opens a state folder for writing, creating it.
pub fn open_state(folder: &Path) -> Result<Arc<dyn ObjectStore>, Error> {
    let not_writable = |error: io::Error| not_writable(folder, error);
    for part in ["journal", "credentials", "locks"] {
        disk::create_private_folder(&folder.join(part)).map_err(not_writable)?;
    }
    disk::probe(&folder.join("locks/.writable")).map_err(not_writable)?;
    open_folder(folder)
}

/// Opens a state folder for reading and creates nothing; one that does not exist is an empty state.
pub fn view_state(folder: &Path) -> Result<Arc<dyn ObjectStore>, Error> {
    match folder.try_exists() {
        Ok(false) => Ok(Arc::new(InMemory::new())),
        Ok(true) | Err(_) => open_folder(folder),
    }
}

fn open_folder(folder: &Path) -> Result<Arc<dyn ObjectStore>, Error> {
    let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| {
        Error::failed("state-unavailable", format!("the state folder `{}` cannot be opened", folder.display()))
            .hint("check that it is a folder that you may read")
            .caused_by(error)
    })?;
    Ok(Arc::new(store.with_fsync(true)))
}

pub(crate) fn not_writable(folder: &Path, error: io::Error) -> Error {
    Error::failed("state-not-writable", format!("the state folder `{}` cannot be created or written", folder.display()))
        .hint("give the user that runs lakekey write access to it, or set `state` to another place")
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use object_store::path::Path as ObjectPath;
    use object_store::{ObjectStoreExt, PutPayload};

    use super::{open_state, view_state};
    use crate::error::ErrorKind;

    #[tokio::test]
    async fn a_missing_folder_is_made_private_when_written_and_left_alone_when_viewed() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("deep/.lakekey");

        assert!(crate::journal::list(&*view_state(&folder).unwrap()).await.unwrap().is_empty());
        assert!(!folder.exists());

        let store = open_state(&folder).unwrap();
        store.put(&ObjectPath::from("journal/a/b"), PutPayload::from_static(b"x")).await.unwrap();
        assert!(folder.join("journal/a/b").exists());
        assert_eq!(crate::journal::list(&*view_state(&folder).unwrap()).await.unwrap(), ["a"]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            for part in ["", "journal", "locks", "credentials"] {
                let mode = std::fs::metadata(folder.join(part)).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o700, "{part}");
            }
        }
    }

    #[test]
    fn a_place_that_cannot_be_a_folder_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let error = open_state(&file.join("state")).unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Failed, "state-not-writable"));
        assert!(error.to_string().contains("file/state"));
    }
}
