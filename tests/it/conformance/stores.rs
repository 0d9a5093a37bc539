//! What every store must do, and what only one of them can suffer.

use std::path::Path;
use std::sync::Arc;

use lakekey_core::config::{AwsSecretName, KeyVaultName, StoreLocation};
use lakekey_core::credential::StoredCredential;
use lakekey_core::ids::SecretId;
use lakekey_core::random::Random;
use lakekey_core::storage::Storage;
use lakekey_core::stores::memory::MemoryStore;
use lakekey_core::stores::{SecretStore, StoreError};
use lakekey_parts::Moto;
use serde_json::json;

use crate::parts::azure::InAzure;
use crate::parts::places;

/// A value whose secret is `secret` and whose secret id is `id`, written when the journal's head was `head`.
fn credential(id: &str, secret: &str, head: &str) -> StoredCredential {
    let json = json!({
        "clientId": "2c8e0f3a-0000-4000-8000-000000000001",
        "clientSecret": secret,
        "oauthSecretId": id,
        "servicePrincipalId": "8935275498264287",
        "host": "https://adb-1.7.azuredatabricks.net",
        "generation": 3,
        "createdAt": "2026-11-01T00:00:00Z",
        "journal": head,
    });
    StoredCredential::from_json(json.to_string().as_bytes()).unwrap()
}

async fn secret_of(store: &dyn SecretStore, id: &SecretId) -> Option<String> {
    store.staged(id).await.unwrap().map(|staged| staged.client_secret.reveal().to_owned())
}

/// Slots apart from each other and from the current value; every write may be repeated.
async fn keeps_slots_apart_and_the_current_value(store: &dyn SecretStore) {
    // Ids are opaque: slashes, dots and letters beyond ASCII are nothing special.
    let (one, two) = (credential("../a/ü", "dose1", "aa"), credential("b", "dose2", "aa"));
    assert!(store.current().await.unwrap().is_none());
    assert!(store.staged(&one.secret_id).await.unwrap().is_none());
    assert!(store.staged_ids().await.unwrap().is_empty());
    store.discard(&one.secret_id).await.unwrap();

    store.stage(&one).await.unwrap();
    store.stage(&two).await.unwrap();
    store.stage(&one).await.unwrap();
    assert_eq!(store.staged_ids().await.unwrap(), [one.secret_id.clone(), two.secret_id.clone()]);
    assert_eq!(secret_of(store, &one.secret_id).await.as_deref(), Some("dose1"));
    assert_eq!(secret_of(store, &two.secret_id).await.as_deref(), Some("dose2"));
    assert!(store.current().await.unwrap().is_none(), "what is staged is not promoted");

    store.promote(&one).await.unwrap();
    store.promote(&two).await.unwrap();
    store.promote(&two).await.unwrap();
    let current = store.current().await.unwrap().unwrap().complete().unwrap();
    assert_eq!(*current.to_json(), *two.to_json());
    assert!(secret_of(store, &one.secret_id).await.is_some());

    // Again under a later head of the journal, and back again, as a rollback does.
    let later = credential("b", "dose2", "bb");
    for value in [&later, &one, &later] {
        store.promote(value).await.unwrap();
        let current = store.current().await.unwrap().unwrap().complete().unwrap();
        assert_eq!(*current.to_json(), *value.to_json());
    }

    store.discard(&one.secret_id).await.unwrap();
    store.discard(&one.secret_id).await.unwrap();
    assert_eq!(store.staged_ids().await.unwrap(), std::slice::from_ref(&two.secret_id));
    assert!(store.staged(&one.secret_id).await.unwrap().is_none());
    assert!(store.current().await.unwrap().is_some());
}

/// A copy is never staged.
async fn takes_a_value_that_was_never_staged(store: &dyn SecretStore) {
    let one = credential("a", "dose1", "aa");
    store.promote(&one).await.unwrap();
    assert_eq!(store.current().await.unwrap().unwrap().secret_id, Some(one.secret_id));
    assert!(store.staged_ids().await.unwrap().is_empty());
}

/// A store of each test's own in Secrets Manager.
fn in_secrets_manager() -> Arc<dyn SecretStore> {
    let name = AwsSecretName::parse(&format!("lakekey/{}", Random::system().nonce())).unwrap();
    places(&Moto::shared().environment()).store(&StoreLocation::SecretsManager(name)).unwrap()
}

/// A store in a vault of each test's own.
async fn in_key_vault() -> (InAzure, Arc<dyn SecretStore>) {
    let azure = InAzure::open().await;
    let name = KeyVaultName::parse("my-vault/sales-bi").unwrap();
    let store = azure.places().store(&StoreLocation::KeyVault(name)).unwrap();
    (azure, store)
}

fn in_a_file(folder: &Path) -> Arc<dyn SecretStore> {
    places(&[]).store(&StoreLocation::File(folder.join("made/later/sales.json"))).unwrap()
}

#[tokio::test]
async fn a_store_in_memory_or_a_file_keeps_slots_and_the_current_value() {
    let folder = tempfile::tempdir().unwrap();
    keeps_slots_apart_and_the_current_value(&MemoryStore::new()).await;
    keeps_slots_apart_and_the_current_value(&*in_a_file(folder.path())).await;
    takes_a_value_that_was_never_staged(&*in_a_file(&folder.path().join("copy"))).await;
}

#[tokio::test]
async fn a_store_in_secrets_manager_keeps_slots_and_the_current_value() {
    keeps_slots_apart_and_the_current_value(&*in_secrets_manager()).await;
    takes_a_value_that_was_never_staged(&*in_secrets_manager()).await;
}

#[tokio::test]
async fn a_store_in_key_vault_keeps_slots_and_the_current_value() {
    let (_azure, store) = in_key_vault().await;
    keeps_slots_apart_and_the_current_value(&*store).await;
    let (_azure, copy) = in_key_vault().await;
    takes_a_value_that_was_never_staged(&*copy).await;
}

#[tokio::test]
async fn versions_in_key_vault_say_what_they_hold_and_are_never_deleted() {
    let (azure, store) = in_key_vault().await;
    let (one, two) = (credential("a", "dose1", "aa"), credential("b", "dose2", "bb"));
    for value in [&one, &two] {
        store.stage(value).await.unwrap();
        store.stage(value).await.unwrap();
        store.promote(value).await.unwrap();
        store.promote(value).await.unwrap();
    }
    store.discard(&one.secret_id).await.unwrap();

    for name in ["sales-bi", "sales-bi-next"] {
        let versions = azure.vault.versions(name);
        let told: Vec<_> = versions.iter().map(|version| (version.tags["lakekey-secret-id"].as_str(), version.enabled)).collect();
        assert_eq!(told, [("a", false), ("b", true)], "{name}: one version for each value, the retired one disabled");
    }
}

#[tokio::test]
async fn labels_in_secrets_manager_are_those_that_other_programs_know() {
    let store = in_secrets_manager();
    let secret = store.secrets_manager().unwrap();
    let (one, two) = (credential("a", "dose1", "aa"), credential("b", "dose2", "bb"));
    store.stage(&one).await.unwrap();
    store.promote(&one).await.unwrap();
    store.stage(&two).await.unwrap();

    let described = secret.describe().await.unwrap().unwrap();
    let next = secret.version(described.labelled("lakekey-next").unwrap()).await.unwrap().unwrap();
    assert_eq!(*next.value, *two.to_json(), "what was staged last");
    assert!(described.labelled("AWSPENDING").is_none(), "a stray one would block AWS's own rotation");
    store.promote(&two).await.unwrap();
    let described = secret.describe().await.unwrap().unwrap();
    let previous = secret.version(described.labelled("AWSPREVIOUS").unwrap()).await.unwrap().unwrap();
    assert_eq!(*previous.value, *one.to_json());
}

#[tokio::test]
async fn promotion_moves_to_the_version_that_awss_own_rotation_waits_for() {
    let store = in_secrets_manager();
    let secret = store.secrets_manager().unwrap();
    let (one, two) = (credential("a", "dose1", "aa"), credential("b", "dose2", "bb"));
    store.promote(&one).await.unwrap();
    let token = "4f1a7a2e-0000-4000-8000-000000000001";
    secret.put(token, None, &two.to_json(), &["AWSPENDING"]).await.unwrap();
    store.stage(&two).await.unwrap();

    store.promote(&credential("b", "dose2", "cc")).await.unwrap();
    store.promote(&credential("b", "dose2", "dd")).await.unwrap();

    let described = secret.describe().await.unwrap().unwrap();
    assert_eq!((described.labelled("AWSCURRENT"), described.labelled("AWSPENDING")), (Some(token), Some(token)));
    assert_eq!(store.current().await.unwrap().unwrap().secret_id, Some(two.secret_id));
}

#[tokio::test]
async fn what_another_program_keeps_there_is_reported_without_its_content() {
    let store = in_secrets_manager();
    store.promote(&credential("a", "dose1", "aa")).await.unwrap();
    let secret = store.secrets_manager().unwrap();
    secret.put(&"0".repeat(32), None, br#"{"clientId":"x","clientSecret":"dose-secret""#, &["AWSCURRENT"]).await.unwrap();

    let error = store.current().await.unwrap_err();

    assert!(matches!(error, StoreError::Corrupt { .. }));
    assert!(!format!("{error:?}").contains("dose-secret"));
}
