//! Files that hold secrets or state: private to their user, written whole or not at all, synced to disk. Blocking.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Creates `folder` with its parents, each new one readable by its user only.
pub(crate) fn create_private_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    for parent in folder.ancestors().skip(1).take(2) {
        // One that may be passed through but not read can't be synced either.
        let _ = sync_folder(parent);
    }
    Ok(())
}

/// Finds out whether `file` can be written, without changing it.
pub(crate) fn probe(file: &Path) -> io::Result<()> {
    private_options().append(true).create(true).open(file).map(drop)
}

/// Whether `path` could be written or created, as far as the system's permissions tell; nothing is opened or made.
pub(crate) fn may_write(path: &Path) -> io::Result<()> {
    let existing = path.ancestors().find(|part| part.exists());
    let existing = existing.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no part of the path exists"))?;
    if existing != path && !existing.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("`{}` is no folder", existing.display())));
    }
    #[cfg(unix)]
    return Ok(rustix::fs::access(existing, rustix::fs::Access::WRITE_OK)?);
    #[cfg(not(unix))]
    match fs::metadata(existing)?.permissions().readonly() {
        true => Err(io::ErrorKind::PermissionDenied.into()),
        false => Ok(()),
    }
}

/// Puts `bytes` at `path`: after a crash it holds the old content or the new. A symbolic link there is refused, for a
/// rename would replace the link and leave what it points to stale.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    };
    create_private_folder(folder)?;
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is something that is not a plain file"));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let (mut file, staged) = stage(folder, name)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&staged, path));
    if written.is_err() {
        let _ = fs::remove_file(&staged);
    }
    written?;
    sync_folder(folder)?;
    // Younger ones may belong to a process that is writing; the file system's own clock tells.
    if let Ok(now) = file.metadata().and_then(|found| found.modified()) {
        remove_leftovers(folder, name, |at| now.duration_since(at).is_ok_and(|age| age > LEFTOVER_AGE_MIN));
    }
    Ok(())
}

/// The content of `path`; `None` when there is nothing.
pub(crate) fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Option<zeroize::Zeroizing<Vec<u8>>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(usize::try_from(bytes_max).unwrap_or_default() + 1));
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is too large"));
    }
    Ok(Some(bytes))
}

/// Removes `path`, which may be gone already, with all that crashed writes of it left behind.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    if let (Some(folder), Some(name)) = (path.parent(), path.file_name()) {
        remove_leftovers(folder, name, |_| true);
    }
    match fs::remove_file(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn stage(folder: &Path, name: &OsStr) -> io::Result<(File, PathBuf)> {
    loop {
        let mut staged = staged_prefix(name);
        staged.push(format!("{}-{}{STAGED_SUFFIX}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
        let staged = folder.join(staged);
        match private_options().write(true).create_new(true).open(&staged) {
            Ok(file) => return Ok((file, staged)),
            // A crashed process of the same id left it behind.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Removes staged files of `name` that a crash left behind, as far as `doomed` says so of their time.
fn remove_leftovers(folder: &Path, name: &OsStr, doomed: impl Fn(SystemTime) -> bool) {
    let prefix = staged_prefix(name);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let file_name = entry.file_name();
        let bytes = file_name.as_encoded_bytes();
        if bytes.starts_with(prefix.as_encoded_bytes())
            && bytes.ends_with(STAGED_SUFFIX.as_bytes())
            && entry.metadata().and_then(|found| found.modified()).is_ok_and(&doomed)
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn staged_prefix(name: &OsStr) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    prefix
}

fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

static COUNTER: AtomicU64 = AtomicU64::new(0);
const STAGED_SUFFIX: &str = ".tmp";
const LEFTOVER_AGE_MIN: Duration = Duration::from_secs(600);
