//! Each trigger's event through the built function, and what is no event of it.

use lakekey_core::clock::Clock;
use lakekey_core::random::Random;
use serde_json::{Value, json};

use super::platform::{Answer, Lambda};
use crate::parts::moto::Moto;
use crate::town::Town;

const KEY: &str = "reader-key-0123456789abcdef";

async fn deployed() -> (Town, Lambda) {
    let (mut town, moto) = (Town::new().await, Moto::shared());
    let bucket = moto.bucket().await;
    town.change_config(|config| {
        config["api"] = json!({ "keys": { "reader": "env:READER" } });
        config["state"] = json!(format!("s3://{bucket}/lakekey"));
        config["credentials"]["sales-bi"]["store"] = json!(format!("awssm:lakekey/{}", Random::system().nonce()));
    });
    for (name, value) in moto.environment() {
        town.set(&name, &value);
    }
    town.set("READER", KEY);
    town.set("LAKEKEY_CONFIG", "lakekey.yaml");
    let lambda = Lambda::start(town.folder.path(), town.environment()).await;
    (town, lambda)
}

fn schedule() -> Value {
    json!({ "lakekey": "schedule", "execution": "e-1", "scheduled": "2026-03-02T08:00:00Z", "attempt": "1" })
}

/// A call through a Function URL, as AWS documents it.
fn call(method: &str, path: &str) -> Value {
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "",
        "headers": { "x-lakekey-key": KEY, "host": "abc.lambda-url.eu-central-1.on.aws" },
        "requestContext": {
            "accountId": "123456789012", "stage": "$default", "requestId": "r", "time": "12/Mar/2020:19:03:58 +0000",
            "http": { "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "curl" },
        },
        "isBase64Encoded": false,
    })
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
    let mut behind_a_stage = call("GET", "/prod/api/credentials/sales-bi");
    behind_a_stage["requestContext"]["stage"] = json!("prod");
    assert_eq!(lambda.invoke(&behind_a_stage).await.unwrap()["statusCode"], 200);
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
    let record = |id: &str, body: &str| {
        json!({
            "messageId": id, "receiptHandle": "AQEB", "body": body, "attributes": { "ApproximateReceiveCount": "1" },
            "messageAttributes": {}, "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:lakekey",
            "awsRegion": "eu-central-1",
        })
    };
    let message = json!({ "v": 1, "do": "drive", "credential": "sales-bi" }).to_string();
    let batch = json!({ "Records": [record("poison", "dose-secret {"), record("good", &message), record("empty", "")] });
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
    let lambda = Lambda::start(town.folder.path(), town.environment()).await;
    let (status, lines) = lambda.ended().await;
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
    let lambda = Lambda::start(town.folder.path(), town.environment()).await;
    let (status, lines) = lambda.ended().await;
    assert_eq!((status, &lines[0]["code"]), (2, &json!("file-on-platform")), "{lines:#?}");
}

#[tokio::test]
async fn an_order_of_the_api_is_queued_and_worked_off_by_its_message() {
    let (mut town, lambda) = deployed().await;
    drop(lambda);
    let queue = Moto::shared().queue().await;
    town.set("LAKEKEY_QUEUE_URL", &queue);
    town.set("OPERATOR", KEY);
    town.change_config(|config| config["api"] = json!({ "keys": { "operator": "env:OPERATOR" } }));
    let mut lambda = Lambda::start(town.folder.path(), town.environment()).await;
    let mut rotate = call("POST", "/api/credentials/sales-bi/rotate");
    rotate["body"] = json!(r#"{"reason":"a test"}"#);
    let accepted = lambda.invoke(&rotate).await.unwrap();
    assert_eq!(accepted["statusCode"], 202, "{accepted}");
    let message = Moto::shared().message(&queue).await;
    let record = json!({ "eventSource": "aws:sqs", "messageId": "m-1", "body": message });
    let answer = lambda.invoke(&json!({ "Records": [record] })).await.unwrap();
    assert_eq!(answer["batchItemFailures"], json!([]), "{}", lambda.said());
    let operation = lambda.invoke(&call("GET", accepted["headers"]["location"].as_str().unwrap())).await.unwrap();
    let operation: Value = serde_json::from_str(operation["body"].as_str().unwrap()).unwrap();
    assert_eq!(operation["state"], "succeeded", "{operation:#}");
    town.assert_all_hold(operation["result"]["credentials"][0]["secret_id"].as_str().unwrap());
}
