//! What goes wrong around the function: a record that brings a defect to light, a bucket that is gone, a config that it was given
//! wrong addresses by.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use lakekey_aws::{Function, FunctionSurroundings};
use lakekey_core::http::transport::{Transport, TransportError};
use lakekey_core::random::Random;
use lakekey_parts::{Lambda, Moto};
use lambda_runtime::Context;
use serde_json::{Value, json};

use super::{bootstrap, drive, record, schedule, town};
use crate::clouds::aws::bench;
use crate::support::InProcess;

/// Carries requests, but for the first one to Databricks: that one strikes a defect.
struct Defect {
    inner: InProcess,
    struck: AtomicBool,
}

#[async_trait::async_trait]
impl Transport for Defect {
    async fn send(&self, request: Request<Bytes>, timeout: Duration) -> Result<Response<Bytes>, TransportError> {
        let is_databricks = request.uri().host().is_some_and(|host| host.contains("databricks"));
        assert!(!is_databricks || self.struck.swap(true, Ordering::Relaxed), "a defect of lakekey's");
        self.inner.send(request, timeout).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_panics_keeps_none_of_its_neighbours_from_being_worked_off() {
    let mut bench = bench().await;
    bench.credential()["copies"] = json!([]);
    bench.write_config();
    bench.environment.push(("LAKEKEY_CONFIG".to_owned(), "lakekey.yaml".to_owned()));
    let defect = Arc::new(Defect { inner: InProcess(bench.cloud.clone()), struck: AtomicBool::new(false) });
    let surroundings = FunctionSurroundings {
        environment: bench.environment.iter().cloned().collect(),
        clock: bench.clock.clone(),
        random: Random::system(),
        transport: Some(defect.clone()),
        stdout: Box::new(std::io::sink()),
    };
    let function = Function::new(surroundings, bench.folder.path()).await.unwrap();
    let batch = json!({ "Records": [record("struck", &drive()), record("good", &drive()), record("poison", "{")] });
    let mut context = Context::default();
    context.deadline = 600_000;

    let answer = function.answer(batch, &context).await.unwrap();

    assert!(defect.struck.load(Ordering::Relaxed));
    let failed: Vec<&Value> =
        answer["batchItemFailures"].as_array().unwrap().iter().map(|item| &item["itemIdentifier"]).collect();
    assert_eq!(failed, ["struck", "poison"], "{answer}");
    let (_, now) = bench.one(&["status"]).await;
    bench.assert_all_hold(now["secret_id"].as_str().unwrap());
    // Outside of a batch, it fails the invocation and not the process.
    defect.struck.store(false, Ordering::Relaxed);
    let error = function.answer(schedule(), &context).await.unwrap_err();
    assert_eq!(lakekey_aws::error_type(&error), "Lakekey.Permanent.defect");
    assert!(!error.to_string().contains("a defect of lakekey's"), "the text of a panic may quote anything: {error}");
    function.answer(schedule(), &context).await.unwrap();
}

#[tokio::test]
async fn a_bucket_that_is_gone_is_named_by_every_trigger_and_nothing_is_made() {
    let town = town().await;
    let config = town.config();
    let bucket = config["state"].as_str().unwrap()[5..].split('/').next().unwrap();
    let store = config["credentials"]["sales-bi"]["store"].as_str().unwrap().trim_start_matches("awssm:");
    let mut lambda = Lambda::start(bootstrap(), town.folder.path(), town.environment()).await.unwrap();
    lambda.invoke(&schedule()).await.unwrap();
    let arn = Moto::shared().begin_rotation(store, TOKEN).await.unwrap();
    let minted = town.minted();
    Moto::shared().remove_bucket(bucket).await.unwrap();

    let step = json!({ "Step": "createSecret", "SecretId": arn, "ClientRequestToken": TOKEN });
    for event in [schedule(), step] {
        let (kind, message) = lambda.invoke(&event).await.unwrap_err();
        assert!(kind.starts_with("Lakekey.") && kind.ends_with(".state-unavailable"), "{kind}: {message}");
    }
    let answer = lambda.invoke(&json!({ "Records": [record("m-1", &drive())] })).await.unwrap();
    assert_eq!(answer["batchItemFailures"], json!([{ "itemIdentifier": "m-1" }]), "it comes again");
    assert_eq!(town.minted(), minted);
    lambda.assert_proper();
}

#[tokio::test]
async fn an_address_that_was_forgotten_leads_nowhere_and_is_noticed() {
    let mut town = town().await;
    // As a test would that forgot where moto is.
    let address = Moto::shared().environment().into_iter().find(|(name, _)| name == "AWS_ENDPOINT_URL").unwrap().0;
    town.set(&address, "https://s3.eu-central-1.amazonaws.com");
    let mut lambda = Lambda::start(bootstrap(), town.folder.path(), town.environment()).await.unwrap();
    lambda.invoke(&schedule()).await.unwrap_err();
    let reached_for = lambda.reached_for();
    assert!(
        !reached_for.is_empty() && reached_for.iter().all(|host| host == "s3.eu-central-1.amazonaws.com:443"),
        "{reached_for:?}"
    );
    assert_eq!(town.minted(), 0);
}

const TOKEN: &str = "8f14e45f-ceea-467f-a834-1d9b0a2c3d4e";
