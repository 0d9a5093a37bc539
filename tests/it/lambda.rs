//! The function on AWS: the built `bootstrap` against a strict Runtime API and against cargo-lambda's, and rotations that a strict
//! Secrets Manager leads.

mod cargo;
mod events;
mod secrets;
mod steps;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use lakekey_core::random::Random;
use lakekey_parts::Moto;
use serde_json::{Value, json};

use crate::town::Town;

const KEY: &str = "reader-key-0123456789abcdef";

/// The `bootstrap` of this very source, built once.
fn bootstrap() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| lakekey_bench::built("lakekey-aws", "bootstrap").unwrap())
}

/// A customer whose journal is in a bucket and whose store is in Secrets Manager, both of its own.
async fn town() -> Town {
    let (mut town, moto) = (Town::new().await, Moto::shared());
    let bucket = moto.bucket().await.unwrap();
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
    town
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

/// The same through an API Gateway with a named stage.
fn gateway_call(method: &str, path: &str) -> Value {
    let mut call = call(method, &format!("/prod{path}"));
    call["requestContext"]["stage"] = json!("prod");
    call
}

/// A message as SQS delivers it.
fn record(id: &str, body: &str) -> Value {
    json!({
        "messageId": id, "receiptHandle": "AQEB", "body": body, "attributes": { "ApproximateReceiveCount": "1" },
        "messageAttributes": {}, "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:lakekey",
        "awsRegion": "eu-central-1",
    })
}

/// What goes on with the one credential.
fn drive() -> String {
    json!({ "v": 1, "do": "drive", "credential": "sales-bi" }).to_string()
}
