//! What only files can suffer; the suite that every store must pass is in `tests/it/conformance`.

use std::path::Path;
use std::sync::Arc;

use super::file::FileStore;
use super::{SecretStore, StoreError, ValueCopy};
use crate::credential::tests::credential;
use crate::error::{Error, ErrorKind};
use crate::ids::SecretId;

#[cfg(unix)]
#[tokio::test]
async fn files_are_for_their_user_only_even_where_one_was_not() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sub/sales.json");
    let store = FileStore::new(&path);
    store.stage(&credential("a", "dose1")).await.unwrap();
    std::fs::write(&path, "{}").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    store.promote(&credential("a", "dose1")).await.unwrap();

    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join("sub")), 0o700);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&folder.path().join("sub/sales.json.generations")), 0o700);
    assert_eq!(mode(&folder.path().join("sub/sales.json.generations/a.json")), 0o600);
}

#[tokio::test]
async fn what_a_crashed_write_left_is_ignored_and_later_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::new(&folder.path().join("sales.json"));
    store.stage(&credential("a", "dose1")).await.unwrap();
    let slots = folder.path().join("sales.json.generations");
    let (old, young) = (slots.join(".a.json.1-0.tmp"), slots.join(".a.json.1-1.tmp"));
    std::fs::write(&old, "{half").unwrap();
    std::fs::write(&young, "{half").unwrap();
    let written = std::fs::metadata(&young).unwrap().modified().unwrap();
    let hour_ago = written - std::time::Duration::from_secs(3600);
    std::fs::File::options().write(true).open(&old).unwrap().set_modified(hour_ago).unwrap();

    assert_eq!(store.staged_ids().await.unwrap(), [SecretId::new("a")]);
    store.stage(&credential("a", "dose1")).await.unwrap();
    assert!(!old.exists());
    assert!(young.exists(), "it may be another process's");
    store.discard(&SecretId::new("a")).await.unwrap();
    assert!(!young.exists(), "the secret is to be gone for good");
}

#[tokio::test]
async fn a_corrupt_file_is_reported_without_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sales.json");
    let store = FileStore::new(&path);
    for content in [br#"{"clientId":"x","clientSecret":"dose-secret""#.to_vec(), vec![b'x'; 70_000]] {
        std::fs::write(&path, content).unwrap();
        let error = store.current().await.unwrap_err();
        assert!(!format!("{error:?}").contains("dose-secret"));
    }
    std::fs::write(&path, "{}").unwrap();
    assert_eq!(Error::from(store.current().await.unwrap_err()).kind(), ErrorKind::Quarantined);
}

#[tokio::test]
async fn a_corrupt_slot_is_mended_and_another_secrets_slot_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::new(&folder.path().join("sales.json"));
    let slot = folder.path().join("sales.json.generations/a.json");
    store.stage(&credential("a", "dose1")).await.unwrap();
    std::fs::write(&slot, "{half").unwrap();
    assert!(matches!(store.staged(&SecretId::new("a")).await, Err(StoreError::Corrupt { .. })));
    store.stage(&credential("a", "dose1")).await.unwrap();
    assert!(store.staged(&SecretId::new("a")).await.unwrap().is_some());

    std::fs::write(&slot, &*credential("A", "dose2").to_json()).unwrap();
    assert!(matches!(store.stage(&credential("a", "dose1")).await, Err(StoreError::Occupied { .. })));
    assert_eq!(std::fs::read(&slot).unwrap(), *credential("A", "dose2").to_json());
}

#[cfg(unix)]
#[tokio::test]
async fn a_symbolic_link_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sales.json");
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), &path).unwrap();
    let error = FileStore::new(&path).promote(&credential("a", "dose1")).await.unwrap_err();
    assert_eq!(Error::from(error).code(), "store-not-writable");
    assert!(path.is_symlink());
}

#[tokio::test]
async fn a_copy_in_a_file_reads_as_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.json");
    let copy = ValueCopy::store(Arc::new(FileStore::new(&path)));
    copy.write(&credential("a", "dose1"), jiff::Timestamp::MAX).await.unwrap();
    assert!(FileStore::new(&path).current().await.unwrap().is_some());
    assert_eq!(copy.place(), format!("file:{}", path.display()));
}
