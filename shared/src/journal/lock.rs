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
    use std::path::Path;
    use std::process::{Command, Stdio};
    use std::time::Duration;

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

    #[test]
    fn the_lock_of_a_killed_process_is_free_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "journal::lock::tests::hold_until_killed"])
            .env(FOLDER_VARIABLE, folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let waits = (0..500).take_while(|_| {
            std::thread::sleep(Duration::from_millis(20));
            FileLock::holder(folder.path(), "j").is_none()
        });
        assert!(waits.count() < 500, "the child never took the lock");

        assert!(FileLock::try_take(folder.path(), "j", &RunnerId::new("parent")).unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(FileLock::try_take(folder.path(), "j", &RunnerId::new("parent")).unwrap().is_some());
    }

    /// The child of the test above; run as a test of its own it has nothing to do.
    #[test]
    fn hold_until_killed() {
        if let Some(folder) = std::env::var_os(FOLDER_VARIABLE) {
            let _held = FileLock::try_take(Path::new(&folder), "j", &RunnerId::new("child")).unwrap().unwrap();
            // Ends with the parent, whatever becomes of it.
            std::io::stdin().read_line(&mut String::new()).unwrap();
        }
    }

    const FOLDER_VARIABLE: &str = "LAKEKEY_TEST_LOCK_FOLDER";
}
