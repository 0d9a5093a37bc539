//! Each trigger's event through the built function, and what is no event of it.

use lakekey_core::clock::Clock;
use lakekey_parts::{Answer, Lambda, Moto};
use serde_json::{Value, json};

use super::{KEY, bootstrap, call, drive, gateway_call, record, schedule, town};
use crate::town::Town;

async fn deployed() -> (Town, Lambda) {
    let town = town().await;
    let lambda = Lambda::start(bootstrap(), town.folder.path(), town.environment()).await.unwrap();
    (town, lambda)
}

fn refused(answer: Answer) -> (String, String) {
    answer.expect_err("a refusal")
}

#[tokio::test]
async fn the_schedule_rotates_and_what_it_did_is_in_logs_and_metrics() {
    let (town, mut lambda) = deployed().await;
    let report = lambda.invoke(&schedule()).await.unwrap();
    let moved = &report["credentials"][0];
    assert_eq!(moved["outcome"], "rotated", "{report:#}");
    town.assert_all_hold(moved["secret_id"].as_str().unwrap());
    // The next tick finds nothing due.
    let report = lambda.invoke(&schedule()).await.unwrap();
    assert_eq!(report["credentials"][0]["outcome"], "unchanged", "{report:#}");
    lambda.idle().await;
    let lines = lambda.lines();
    let metrics: Vec<&Value> = lines.iter().filter(|line| line["_aws"].is_object()).collect();
    assert_eq!(metrics.len(), 2, "{lines:#?}");
    assert_eq!((&metrics[0]["Rotations"], &metrics[0]["TargetsMoved"]), (&json!(1), &json!(3)));
    assert_eq!((&metrics[1]["Rotations"], &metrics[1]["TargetsMoved"]), (&json!(0), &json!(0)));
    let logs: Vec<&Value> = lines.iter().filter(|line| line["_aws"].is_null()).collect();
    assert!(logs.len() > 5, "{logs:#?}");
    for line in &logs {
        for key in
            ["timestamp", "level", "message", "service", "location", "function_request_id", "function_name", "xray_trace_id"]
        {
            assert!(line[key].is_string(), "{key} of {line}");
        }
    }
    assert_eq!((&logs[0]["cold_start"], &logs[logs.len() - 1]["cold_start"]), (&json!(true), &json!(false)));
    lambda.assert_proper();
}

#[tokio::test]
async fn http_calls_are_answered_by_the_same_api() {
    let (_town, mut lambda) = deployed().await;
    let health = lambda.invoke(&call("GET", "/api/health")).await.unwrap();
    assert_eq!((&health["statusCode"], &health["cookies"]), (&json!(200), &json!([])), "{health}");
    let list = lambda.invoke(&call("GET", "/api/credentials")).await.unwrap();
    let body: Value = serde_json::from_str(list["body"].as_str().unwrap()).unwrap();
    assert_eq!((&list["statusCode"], &body[0]["name"]), (&json!(200), &json!("sales-bi")), "{list}");
    assert_eq!(lambda.invoke(&gateway_call("GET", "/api/credentials/sales-bi")).await.unwrap()["statusCode"], 200);
    let mut without_key = call("GET", "/api/credentials");
    without_key["headers"] = json!({});
    let refused = lambda.invoke(&without_key).await.unwrap();
    let kind = refused["headers"]["content-type"].as_str().unwrap();
    assert_eq!((&refused["statusCode"], kind), (&json!(401), "application/problem+json"), "{refused}");
    let mut unreadable = call("POST", "/api/webhook");
    (unreadable["body"], unreadable["isBase64Encoded"]) = (json!("dose~"), json!(true));
    assert_eq!(lambda.invoke(&unreadable).await.unwrap()["statusCode"], 400);
    assert!(!lambda.said().contains(KEY));
    lambda.assert_proper();
}

#[tokio::test]
async fn a_poison_record_keeps_none_of_its_neighbours_from_being_worked_off() {
    let (town, mut lambda) = deployed().await;
    let batch = json!({ "Records": [record("poison", "dose-secret {"), record("good", &drive()), record("empty", "")] });
    let answer = lambda.invoke(&batch).await.unwrap();
    let failed: Vec<&Value> =
        answer["batchItemFailures"].as_array().unwrap().iter().map(|item| &item["itemIdentifier"]).collect();
    assert_eq!(failed, ["poison", "empty"], "{answer}");
    let current = town.living().pop().unwrap();
    town.assert_all_hold(&current);
    assert!(!lambda.said().contains("dose-secret"));
    lambda.assert_proper();
}

#[tokio::test]
async fn what_is_no_event_of_the_function_is_named_and_not_quoted() {
    let (town, mut lambda) = deployed().await;
    for (event, code, named) in [
        (json!({ "alpha": "dose-secret" }), "unknown-event", "`alpha` (text)"),
        (json!(["dose-secret"]), "unknown-event", "a list"),
        (json!({ "Records": [{ "eventSource": "aws:s3", "s3": "dose-secret" }] }), "unknown-event", "aws:s3"),
        (json!({ "Step": "createSecret", "SecretId": "dose-secret" }), "bad-event", "`ClientRequestToken`"),
        (json!({ "version": "1.0", "httpMethod": "GET", "path": "/dose-secret" }), "unknown-event", "2.0"),
        (
            json!({ "Step": "createSecret", "SecretId": "arn:dose-secret", "ClientRequestToken": "dose-secret" }),
            "unknown-secret",
            "no credential",
        ),
    ] {
        let (kind, message) = refused(lambda.invoke(&event).await);
        assert_eq!(kind, format!("Lakekey.Permanent.{code}"), "{event}: {message}");
        assert!(message.contains(named), "{message}");
        assert!(!message.contains("dose-secret"), "{message}");
    }
    let (_, message) = refused(lambda.invoke_raw("dose-secret".to_owned(), u64::MAX).await);
    assert!(!message.contains("dose-secret"), "{message}");
    assert_eq!(town.minted(), 0);
    lambda.assert_proper();
}

#[tokio::test]
async fn an_invocation_without_time_does_nothing_and_is_worth_asking_again() {
    let (town, mut lambda) = deployed().await;
    let a_minute_ago = u64::try_from(Clock::wall().now().as_millisecond()).unwrap() - 60_000;
    for deadline_ms in [a_minute_ago, 0] {
        let (kind, _) = refused(lambda.invoke_raw(schedule().to_string(), deadline_ms).await);
        assert_eq!(kind, "Lakekey.Retryable.out-of-time", "{deadline_ms}");
    }
    assert_eq!(town.minted(), 0);
    // A host that tells how long there is instead of until when.
    let report = lambda.invoke_raw(schedule().to_string(), 600_000).await.unwrap();
    assert_eq!(report["credentials"][0]["outcome"], "rotated");
    lambda.assert_proper();
}

#[tokio::test]
async fn a_function_that_stood_still_between_two_events_goes_on() {
    let (town, mut lambda) = deployed().await;
    lambda.invoke(&schedule()).await.unwrap();
    lambda.idle().await;
    lambda.frozen(Clock::wall().sleep(std::time::Duration::from_millis(200))).await;
    let report = lambda.invoke(&schedule()).await.unwrap();
    assert_eq!(report["credentials"][0]["outcome"], "unchanged", "{report:#}");
    assert_eq!(town.minted(), 1);
    lambda.assert_proper();
}

#[tokio::test]
async fn a_broken_config_ends_the_process_before_any_event_and_says_why() {
    let mut town = Town::new().await;
    town.set("LAKEKEY_CONFIG", "lakekey.yaml");
    town.change_config(|config| config["credentials"]["sales-bi"]["rotate_evry"] = json!("7d"));
    let lambda = Lambda::start(bootstrap(), town.folder.path(), town.environment()).await.unwrap();
    let (status, lines) = lambda.ended().await.unwrap();
    assert_eq!(status, 2, "{lines:#?}");
    assert!(
        lines.iter().any(|line| line["level"] == "ERROR" && line["message"].as_str().unwrap().contains("rotate_evry")),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn state_and_stores_on_the_functions_own_disk_are_refused() {
    let mut town = Town::new().await;
    town.set("LAKEKEY_CONFIG", "lakekey.yaml");
    let lambda = Lambda::start(bootstrap(), town.folder.path(), town.environment()).await.unwrap();
    let (status, lines) = lambda.ended().await.unwrap();
    assert_eq!((status, &lines[0]["code"]), (2, &json!("file-on-platform")), "{lines:#?}");
}

#[tokio::test]
async fn an_order_of_the_api_is_queued_and_worked_off_by_its_message() {
    let (mut town, lambda) = deployed().await;
    drop(lambda);
    let queue = Moto::shared().queue().await.unwrap();
    town.set("LAKEKEY_QUEUE_URL", &queue);
    town.set("OPERATOR", KEY);
    town.change_config(|config| config["api"] = json!({ "keys": { "operator": "env:OPERATOR" } }));
    let mut lambda = Lambda::start(bootstrap(), town.folder.path(), town.environment()).await.unwrap();
    let mut rotate = call("POST", "/api/credentials/sales-bi/rotate");
    rotate["body"] = json!(r#"{"reason":"a test"}"#);
    let accepted = lambda.invoke(&rotate).await.unwrap();
    assert_eq!(accepted["statusCode"], 202, "{accepted}");
    let message = Moto::shared().message(&queue).await.unwrap();
    let answer = lambda.invoke(&json!({ "Records": [record("m-1", &message)] })).await.unwrap();
    assert_eq!(answer["batchItemFailures"], json!([]), "{}", lambda.said());
    let operation = lambda.invoke(&call("GET", accepted["headers"]["location"].as_str().unwrap())).await.unwrap();
    let operation: Value = serde_json::from_str(operation["body"].as_str().unwrap()).unwrap();
    assert_eq!(operation["state"], "succeeded", "{operation:#}");
    town.assert_all_hold(operation["result"]["credentials"][0]["secret_id"].as_str().unwrap());
}
