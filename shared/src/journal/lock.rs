//! The lock of a `file:` state: the operating system frees it when its holder ends, however that ends, so that a killed
//! local run resumes without waiting for its lease. It only shortens the lease; the journal alone decides.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use object_store::path::PathPart;

use crate::error::Error;
use crate::ids::RunnerId;
use crate::stores::disk;

/// Held from [`try_take`](Self::try_take) until dropped or until the process ends. The file itself stays: deleting it
/// would let two runners lock two files of one name.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

impl FileLock {
    /// Takes the lock of journal `name` in the state folder; `None` when another holds it.
    pub fn try_take(folder: &Path, name: &str, by: &RunnerId) -> Result<Option<Self>, Error> {
        let path = path(folder, name);
        take(&path, by).map_err(|error| {
            Error::failed("state-not-writable", format!("the lock `{}` cannot be taken", path.display()))
                .hint("the state folder must be writable and on a file system with locks")
                .caused_by(error)
        })
    }

    /// Who holds the lock of journal `name`, or held it last; for messages only.
    pub fn holder(folder: &Path, name: &str) -> Option<RunnerId> {
        let mut text = String::new();
        File::open(path(folder, name)).ok()?.take(HOLDER_BYTES_MAX).read_to_string(&mut text).ok()?;
        Some(text.trim()).filter(|text| !text.is_empty()).map(RunnerId::new)
    }
}

fn take(path: &Path, by: &RunnerId) -> io::Result<Option<FileLock>> {
    if let Some(folder) = path.parent() {
        disk::create_private_folder(folder)?;
    }
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    file.set_len(0)?;
    writeln!(file, "{by}")?;
    Ok(Some(FileLock { _file: file }))
}

fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join("locks").join(format!("{}.lock", PathPart::from(name).as_ref()))
}

const HOLDER_BYTES_MAX: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::FileLock;
    use crate::ids::RunnerId;

    #[test]
    fn one_journal_is_locked_once_and_another_freely() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (RunnerId::new("first"), RunnerId::new("second"));
        let held = FileLock::try_take(folder.path(), "a/b", &first).unwrap();
        assert!(held.is_some());
        assert!(FileLock::try_take(folder.path(), "a/b", &second).unwrap().is_none());
        assert!(FileLock::try_take(folder.path(), "other", &second).unwrap().is_some());
        assert_eq!(FileLock::holder(folder.path(), "a/b"), Some(first));

        drop(held);
        assert!(FileLock::try_take(folder.path(), "a/b", &second).unwrap().is_some());
        assert_eq!(FileLock::holder(folder.path(), "a/b"), Some(second));
        assert!(folder.path().join("locks/a%2Fb.lock").exists());
    }
}
