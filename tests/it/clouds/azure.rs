//! Blob storage, played by Azurite, and a strict fake of Key Vault.

use lakekey_core::random::Random;
use serde_json::json;

use super::{assert_state_is_discreet, customer, survives_crashes};
use crate::parts::azure::InAzure;
use crate::support::{Bench, days, hours};

/// State in Blob storage, store and copy in Key Vault.
async fn bench(azure: &InAzure) -> Bench {
    named(azure, "sales-bi").await
}

/// The same, apart from those of other names.
async fn named(azure: &InAzure, name: &str) -> Bench {
    let mut bench = customer();
    bench.environment.extend(azure.environment());
    bench.config["endpoints"].as_object_mut().unwrap().append(azure.endpoints().as_object_mut().unwrap());
    bench.config["state"] = json!(azure.state(name, "lakekey").await);
    bench.config["credentials"]["sales-bi"]["store"] = json!(format!("akv:my-vault/{name}"));
    bench.config["credentials"]["sales-bi"]["copies"] =
        json!([format!("akv:my-vault/{name}-copy"), "databricks:powerbi/sales-bi"]);
    bench
}

#[tokio::test(start_paused = true)]
async fn two_rotations_with_state_in_blob_storage_and_values_in_key_vault() {
    let azure = InAzure::open().await;
    let bench = bench(&azure).await;
    let first = bench.rotated().await;
    bench.pass(days(8));
    let ran = bench.run(&["rotate", "--output", "json", "-vvv"]).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    bench.pass(hours(26));
    let (status, last) = bench.one(&["rotate"]).await;
    assert_eq!((status, &last["retired"]), (0, &json!([first["secret_id"]])), "{last:#}");

    let (_, now) = bench.one(&["status"]).await;
    let current = now["secret_id"].as_str().unwrap();
    bench.assert_all_hold(current);
    let versions = azure.vault.versions("sales-bi");
    let newest = versions.last().unwrap();
    assert_eq!((newest.tags["lakekey-secret-id"].as_str(), newest.enabled), (current, true));
    assert!(newest.expires.is_some(), "Key Vault tells of it ahead of time");
    assert_eq!(bench.slots().await.len(), 1);
    assert_state_is_discreet(&bench).await;
    for (id, value) in bench.cloud.minted_values() {
        assert!(!bench.said().contains(&value), "{id} was printed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_over_blob_storage_and_key_vault_survives_a_crash_anywhere() {
    let azure = InAzure::open().await;
    survives_crashes(6, async || named(&azure, &format!("life-{}", &Random::system().nonce()[..8])).await).await;
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_is_away_costs_a_rotation_time_and_nothing_else() {
    let azure = InAzure::open().await;
    let bench = bench(&azure).await;
    let first = bench.rotated().await;
    bench.pass(days(8));
    azure.vault.set_away(true);
    let away = bench.run(&["rotate", "--output", "json"]).await;
    assert_ne!(away.status, 0, "{away:?}");
    bench.assert_all_hold(first["secret_id"].as_str().unwrap());

    azure.vault.set_away(false);
    bench.pass(hours(1));
    let (status, second) = bench.one(&["rotate"]).await;
    assert_eq!((status, second["outcome"].as_str()), (0, Some("rotated")), "{second:#}");
    bench.assert_all_hold(second["secret_id"].as_str().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_an_identity_signs_in_with_may_be_in_key_vault() {
    let azure = InAzure::open().await;
    let mut bench = bench(&azure).await;
    let value = bench.environment.iter().find(|(name, _)| name == "ADMIN_SECRET").unwrap().1.clone();
    let version = azure.vault.put("admin", &value);
    bench.environment.retain(|(name, _)| name != "ADMIN_SECRET");
    for reference in ["akv:my-vault/admin".to_owned(), format!("akv:my-vault/admin/{version}")] {
        bench.config["identities"]["dbx-admin"]["client_secret"] = json!(reference);
        let (status, plan) = bench.one(&["plan"]).await;
        assert_eq!(status, 0, "{plan:#}");
    }
    bench.config["identities"]["dbx-admin"]["client_secret"] = json!("akv:my-vault/none");
    let (_, plan) = bench.json(&["plan"]).await;
    assert!(plan.to_string().contains("secret-missing"), "{plan:#}");
}
