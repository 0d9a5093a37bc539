//! Blob storage, played by Azurite, and a strict fake of Key Vault.

use lakekey_core::random::Random;
use lakekey_parts::Passing;
use serde_json::{Value, json};

use super::{assert_state_is_discreet, customer, survives_crashes};
use crate::parts::azure::InAzure;
use crate::support::{Bench, days, hours, minutes};

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

/// A rotation that is due while something is away for ten minutes, and tried each minute: everything connects all the time,
/// and when it is back the rotation is finished.
async fn outlasts(bench: &Bench, goes: impl Fn(), comes_back: impl Fn()) {
    bench.rotated().await;
    bench.pass(days(8));
    goes();
    for minute in 0..10 {
        let away = bench.run(&["rotate", "--output", "json"]).await;
        assert!(matches!(away.status, 1 | 3), "minute {minute}: {away:?}");
        bench.assert_no_outage();
        bench.pass(minutes(1));
    }
    comes_back();
    // The lease of a run that could not even give it back.
    bench.pass(minutes(20));
    let (status, second) = bench.one(&["rotate"]).await;
    assert_eq!((status, second["outcome"].as_str()), (0, Some("rotated")), "{second:#}");
    bench.assert_all_hold(second["secret_id"].as_str().unwrap());
    bench.pass(hours(26));
    let (status, _) = bench.one(&["rotate"]).await;
    let (_, now) = bench.one(&["status"]).await;
    assert_eq!((status, now["phase"].as_str()), (0, Some("idle")), "{now:#}");
    let ours =
        |id: &String| now["secrets"].as_array().unwrap().iter().any(|secret| secret["id"] == **id && secret["role"] != "foreign");
    assert_eq!(bench.living().iter().filter(|id| ours(id)).count(), 1, "nothing was lost, and nothing is left");
    assert_state_is_discreet(bench).await;
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_is_away_costs_a_rotation_time_and_nothing_else() {
    let azure = InAzure::open().await;
    outlasts(&bench(&azure).await, || azure.vault.set_away(true), || azure.vault.set_away(false)).await;
}

#[tokio::test(start_paused = true)]
async fn storage_that_is_away_costs_a_rotation_time_and_nothing_else() {
    let azure = InAzure::open().await;
    // At once, and in the middle of a rotation: at the entry of this kind.
    for (name, entry) in [("at-once", ""), ("minted", "minted"), ("wave", "wave-ended"), ("promoted", "promoted")] {
        let goes = || match entry {
            "" => azure.blob.set_away(true),
            entry => azure.blob.away_from(move |passing| is_entry(passing, entry)),
        };
        outlasts(&named(&azure, name).await, goes, || azure.blob.set_away(false)).await;
        assert!(azure.blob.refused() > 0, "{name}");
    }
}

fn is_entry(passing: Passing<'_>, event: &str) -> bool {
    let entry: Value = serde_json::from_slice(passing.body).unwrap_or_default();
    passing.method == "PUT" && passing.path.contains("/journal/") && entry["event"]["type"] == event
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

#[tokio::test(start_paused = true)]
async fn doctor_shows_when_an_application_s_secret_in_key_vault_expires() {
    let azure = InAzure::open().await;
    let mut bench = bench(&azure).await;
    let value = bench.environment.iter().find(|(name, _)| name == "POWERBI_SECRET").unwrap().1.clone();
    bench.config["identities"]["powerbi"]["client_secret"] = json!("akv:my-vault/powerbi");
    for (left, warned) in [(days(30), false), (days(13), true)] {
        let ends = (bench.clock.now() + left).as_second();
        azure.vault.put_until("powerbi", &value, ends);

        let (_, report) = bench.json(&["doctor"]).await;

        let is_own = |check: &&Value| check["check"] == "own-secret" && check["subject"] == "identity powerbi";
        let own = report["checks"].as_array().unwrap().iter().find(is_own).unwrap();
        let shown = jiff::Timestamp::from_second(ends).unwrap().to_string();
        assert!(own["detail"].as_str().unwrap().ends_with(&shown), "{own:#}");
        assert_eq!((&own["ok"], own["fix"].is_null()), (&json!(true), !warned), "{own:#}");
    }
}
