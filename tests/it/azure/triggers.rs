//! What each trigger brings about, and what it doesn't.

use std::time::Duration;

use futures::future::join_all;
use lakekey_bench::VAULT;
use lakekey_core::clock::Clock;
use lakekey_host::{Delivery, Failure, Payload, Tick};
use lakekey_sim::Fleet;
use reqwest::Method;
use serde_json::{Value, json};

use super::doors::Outside;
use super::{Checks, OPERATOR, asked, deployed, lines_of, ordered, tick};

fn event(kind: &str, vault: &str, name: &str) -> Value {
    json!({
        "id": "1", "topic": format!("/subscriptions/s/resourceGroups/r/providers/Microsoft.KeyVault/vaults/{vault}"), "subject": name,
        "eventType": format!("Microsoft.KeyVault.{kind}"), "eventTime": "2026-03-02T08:00:00Z", "dataVersion": "1", "metadataVersion": "1",
        "data": { "Id": format!("https://{vault}.vault.azure.net/secrets/{name}/0123"), "VaultName": vault, "ObjectType": "Secret",
            "ObjectName": name, "Version": "0123", "NBF": null, "EXP": 1_559_082_102 },
    })
}

#[tokio::test]
async fn a_tick_rotates_every_target_and_the_next_one_finds_nothing_due() {
    let deployed = deployed(&Fleet::new(6, 1), Duration::ZERO).await;
    let host = deployed.start().await.unwrap();
    assert!(host.ready_after().as_secs() < 5);
    let first = host.invoke("schedule", &tick()).await;
    assert_eq!(first.result, Ok(vec!["sales-bi: rotated".to_owned()]));
    deployed.work_off(&host).await.unwrap();
    deployed.assert_moved();
    assert!(lines_of(&host, &first).len() > 3, "every line of the run names the invocation");
    assert!(lines_of(&host, &first).iter().all(|line| line["function"] == "schedule"));

    let (versions, entries) = (deployed.vault.versions("sales-bi").len(), deployed.azurite.blobs("state").await.unwrap());
    for tick in [
        Tick { past_due: true, ..Tick::default() },
        Tick { monitored: true, ..Tick::default() },
        Tick { retry: Some(2), first: true, monitored: true, ..Tick::default() },
    ] {
        let next = host.invoke("schedule", &Payload::Timer(tick)).await;
        assert_eq!(next.result, Ok(vec!["sales-bi: unchanged".to_owned()]));
    }
    assert_eq!(deployed.vault.versions("sales-bi").len(), versions);
    assert_eq!(deployed.azurite.blobs("state").await.unwrap(), entries);
    assert!(deployed.identity.issued() > 0, "the managed identity was asked");
    deployed.assert_discreet(&host);
}

#[tokio::test]
async fn many_ticks_at_once_on_two_instances_mint_one_secret() {
    let deployed = deployed(&Fleet::new(3, 2), Duration::ZERO).await;
    let (one, other) = (deployed.start().await.unwrap(), deployed.start().await.unwrap());
    let tick = tick();
    let ticks = (0..24).map(|number| if number % 2 == 0 { &one } else { &other }.invoke("schedule", &tick));
    for invocation in join_all(ticks).await {
        assert!(invocation.succeeded(), "{invocation:?}");
    }
    deployed.work_off(&one).await.unwrap();
    assert_eq!(deployed.living().len(), 1);
    deployed.assert_moved();
}

#[tokio::test]
async fn an_event_looks_and_starts_nothing_that_is_not_due() {
    let deployed = deployed(&Fleet::new(2, 3), Duration::ZERO).await;
    let host = deployed.start().await.unwrap();
    let near = event("SecretNearExpiry", VAULT, "sales-bi");
    let due = host.invoke("nearexpiry", &Payload::Event(near.clone())).await;
    assert_eq!(due.result, Ok(vec!["sales-bi: rotated".to_owned()]));
    deployed.work_off(&host).await.unwrap();
    deployed.assert_moved();

    let versions = deployed.vault.versions("sales-bi").len();
    let literal = Value::from(near.to_string()).to_string();
    for form in [
        near.clone(),
        json!([near]),
        Value::from(near.to_string()),
        Value::from(literal),
        event("SecretExpired", "KV-SALES", "Sales-BI"),
    ] {
        let again = host.invoke("nearexpiry", &Payload::Event(form.clone())).await;
        assert_eq!(again.result, Ok(vec!["sales-bi: unchanged".to_owned()]), "{form}");
    }
    let (requests, asked) = (deployed.served.cloud.requests().len(), deployed.vault.requests());
    for other in [
        event("SecretNearExpiry", "another", "sales-bi"),
        event("SecretNearExpiry", VAULT, "sales-bi-next"),
        event("SecretNewVersionCreated", VAULT, "sales-bi"),
        json!({ "specversion": "1.0", "type": "Contoso.Other", "source": "/x", "id": "1" }),
    ] {
        let passed_over = host.invoke("nearexpiry", &Payload::Event(other)).await.result.unwrap();
        assert!(passed_over[0].starts_with("passed over: "), "{passed_over:?}");
    }
    assert_eq!((deployed.served.cloud.requests().len(), deployed.vault.requests()), (requests, asked));
    assert_eq!(deployed.vault.versions("sales-bi").len(), versions, "no event brings about the next");
    deployed.assert_discreet(&host);
}

#[tokio::test]
async fn what_is_no_invocation_fails_and_no_message_does_harm() {
    let deployed = deployed(&Fleet::new(1, 4), Duration::ZERO).await;
    let host = deployed.start().await.unwrap();
    let before = deployed.served.cloud.requests().len();
    for function in ["schedule", "worker", "nearexpiry"] {
        let large = format!("{{\"Data\":{{\"x\":\"{}\"}}}}", "x".repeat(4 * 1024 * 1024));
        for body in ["", "null", "{", "[]", "{\"Data\":1}", "{\"Data\":{},\"Metadata\":{}}", &large] {
            let refused = host.invoke_raw(function, body.as_bytes()).await;
            assert_eq!(refused.result, Err(Failure::Status(500)), "{function}: {}", &body[..body.len().min(40)]);
        }
    }
    for unknown in ["nosuch", "Schedule", "admin", "api"] {
        assert_eq!(host.invoke_raw(unknown, b"{}").await.result, Err(Failure::Status(404)), "{unknown}");
    }
    let planted = "dose-0123456789abcdef";
    for text in [
        "aaaaa".to_owned(),
        "ünï\u{1}".to_owned(),
        format!("{{\"v\":2,\"do\":\"drive\",\"credential\":\"sales-bi\",\"secret\":\"{planted}\"}}"),
        format!("{{\"v\":1,\"do\":\"{planted}\",\"sys\":\"mine\"}}"),
        "{\"v\":1,\"do\":\"drive\",\"credential\":\"none\"}".to_owned(),
        "{\"v\":1,\"do\":\"slice\",\"credential\":\"none\",\"generation\":2,\"wave\":9,\"slice\":1,\"epoch\":7}".to_owned(),
    ] {
        for count in [1, 5] {
            let worked = host.invoke("worker", &Payload::Queue(Delivery { text: text.clone(), count })).await;
            assert!(worked.result.as_ref().is_ok_and(|said| said[0].starts_with("passed over: ")), "{text}: {worked:?}");
        }
    }
    assert_eq!(deployed.served.cloud.requests().len(), before, "none of it was worth a request");
    assert!(!host.lines().iter().any(|line| line.text.contains(planted)), "the envelope is not logged");
}

#[tokio::test]
async fn a_vault_that_is_away_fails_the_tick_and_a_later_one_goes_on() {
    let deployed = deployed(&Fleet::new(2, 5), Duration::ZERO).await;
    let host = deployed.start().await.unwrap();
    assert!(host.invoke("schedule", &tick()).await.succeeded());
    deployed.work_off(&host).await.unwrap();
    let moved = deployed.vault.versions("sales-bi").len();
    deployed.vault.set_away(true);
    for _ in 0..2 {
        assert!(!host.invoke("schedule", &tick()).await.succeeded(), "people are to see it");
    }
    deployed.assert_moved();
    deployed.vault.set_away(false);
    let back = host.invoke("schedule", &tick()).await;
    assert_eq!(back.result, Ok(vec!["sales-bi: unchanged".to_owned()]));
    assert_eq!(deployed.vault.versions("sales-bi").len(), moved);
    deployed.assert_discreet(&host);
}

#[tokio::test]
async fn storage_that_is_away_fails_what_comes_and_a_later_tick_finishes_what_was_asked() {
    let deployed = deployed(&Fleet::new(2, 9), Duration::ZERO).await;
    let host = deployed.start().await.unwrap();
    assert!(host.invoke("schedule", &tick()).await.succeeded(), "{:#?}", host.lines());
    deployed.work_off(&host).await.unwrap();
    let operation = ordered(&host).await;

    deployed.set_storage_away(true);
    for _ in 0..2 {
        assert!(!host.invoke("schedule", &tick()).await.succeeded(), "people are to see it");
    }
    assert_eq!(deployed.work_off(&host).await.unwrap(), 1, "its message is put aside in the end");
    let now = asked(&host, "/api/credentials/sales-bi").await;
    assert_eq!((&now["error"]["code"], &now["reason"]), (&json!("state-unavailable"), &Value::Null), "{now:#}");
    let outside = Outside::of(&host).await;
    let order = outside.ask(Method::POST, "/api/credentials/sales-bi/reapply").header("x-lakekey-key", OPERATOR);
    let (status, problem) = Outside::answer(order.body("{}")).await;
    assert_eq!((status, problem["code"].as_str()), (503, Some("state-unavailable")), "{problem:#}");
    assert!(deployed.blob.refused() > 0);
    deployed.assert_moved();

    deployed.set_storage_away(false);
    for _ in 0..40 {
        host.invoke("schedule", &tick()).await;
        deployed.work_off(&host).await.unwrap();
        if asked(&host, &operation).await["state"] == "succeeded" {
            break;
        }
        Clock::wall().sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(asked(&host, &operation).await["state"], "succeeded");
    assert_eq!(asked(&host, "/api/credentials/sales-bi").await["generation"], 2);
    deployed.assert_moved();
    deployed.assert_journal_is_whole().await;
    deployed.assert_discreet(&host);
}
