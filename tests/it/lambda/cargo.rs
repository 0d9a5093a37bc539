//! Each trigger's event through cargo-lambda, which is other people's idea of what Lambda is to a function.

use lakekey_core::http::reqwest_transport::ReqwestTransport;
use lakekey_core::http::transport::Transport;
use lakekey_parts::{CargoFunction, CargoLambda, Moto};
use serde_json::{Value, json};

use super::{KEY, bootstrap, call, drive, gateway_call, record, schedule, town};
use crate::town::Town;

async fn deployed() -> (Town, CargoLambda, CargoFunction) {
    let town = town().await;
    let cargo = CargoLambda::start().await.unwrap();
    let function = cargo.function(bootstrap(), town.folder.path(), town.environment()).unwrap();
    (town, cargo, function)
}

/// The function is still there, has said no secret, and nobody wanted to leave this machine.
fn assert_proper(town: &Town, cargo: &CargoLambda, function: &mut CargoFunction) {
    let said = function.said().unwrap();
    let minted = town.served.cloud.minted_values();
    assert!(!said.contains(KEY) && minted.values().all(|value| !said.contains(value)), "{said}");
    assert_eq!(cargo.reached_for(), Vec::<String>::new());
}

#[tokio::test]
async fn each_trigger_through_cargo_lambda() {
    let (town, cargo, mut function) = deployed().await;
    let report = cargo.invoke(&schedule()).await.unwrap().unwrap();
    assert_eq!(report["credentials"][0]["outcome"], "rotated", "{report:#}");
    town.assert_all_hold(report["credentials"][0]["secret_id"].as_str().unwrap());

    let batch = json!({ "Records": [record("good", &drive()), record("poison", "{")] });
    let answer = cargo.invoke(&batch).await.unwrap().unwrap();
    assert_eq!(answer["batchItemFailures"], json!([{ "itemIdentifier": "poison" }]));

    for event in [call("GET", "/api/credentials"), gateway_call("GET", "/api/credentials")] {
        let answer = cargo.invoke(&event).await.unwrap().unwrap();
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!((&answer["statusCode"], &body[0]["name"]), (&json!(200), &json!("sales-bi")), "{answer}");
    }

    let (kind, message) = cargo.invoke(&json!({ "alpha": "dose-secret" })).await.unwrap().unwrap_err();
    assert_eq!(kind, "Lakekey.Permanent.unknown-event", "{message}");
    assert!(message.contains("`alpha` (text)") && !message.contains("dose"), "{message}");
    assert_proper(&town, &cargo, &mut function);
}

#[tokio::test]
async fn http_comes_to_the_function_through_the_url_that_cargo_lambda_gives_it() {
    let (town, cargo, mut function) = deployed().await;
    let transport = ReqwestTransport::new(&Default::default()).unwrap();
    let ask = async |path: &str, key: Option<&str>| {
        let request = http::Request::get(format!("{}{path}", cargo.url())).header("cookie", "a=1; b=2");
        let request = key.into_iter().fold(request, |request, key| request.header("x-lakekey-key", key));
        transport.send(request.body(Default::default()).unwrap(), std::time::Duration::from_secs(60)).await.unwrap()
    };
    for (path, key, status, kind) in [
        ("/", None, 200, None),
        ("/api/health", None, 200, Some("application/json")),
        ("/api/credentials/sales-bi", Some(KEY), 200, Some("application/json")),
        ("/api/credentials/sales-bi?x=%20", None, 401, Some("application/problem+json")),
        ("/api/credentials/other", Some(KEY), 404, Some("application/problem+json")),
        ("/api/ui", Some(KEY), 200, Some("text/html")),
    ] {
        let answer = ask(path, key).await;
        let seen = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        assert_eq!(answer.status(), status, "{path}: {answer:?}");
        let right = kind.is_none_or(|kind| seen.as_ref().is_some_and(|seen| seen.starts_with(kind)));
        assert!(right, "{path}: {seen:?}");
    }
    assert_proper(&town, &cargo, &mut function);
}

#[tokio::test]
async fn the_four_steps_of_secrets_manager_through_cargo_lambda() {
    let (town, cargo, mut function) = deployed().await;
    let before = cargo.invoke(&schedule()).await.unwrap().unwrap();
    let first = before["credentials"][0]["secret_id"].as_str().unwrap().to_owned();
    let store = town.config()["credentials"]["sales-bi"]["store"].as_str().unwrap().to_owned();
    let arn = Moto::shared().begin_rotation(store.trim_start_matches("awssm:"), TOKEN).await.unwrap();

    for step in ["createSecret", "setSecret", "testSecret", "finishSecret"] {
        let event = json!({ "Step": step, "SecretId": arn, "ClientRequestToken": TOKEN });
        for _ in 0..2 {
            assert_eq!(cargo.invoke(&event).await.unwrap(), Ok(Value::Null), "{step}");
        }
    }

    let asked = json!({ "SecretId": arn, "VersionId": TOKEN, "VersionStage": "AWSCURRENT" });
    let (status, current) = Moto::shared().secrets_manager("GetSecretValue", asked).await.unwrap();
    assert_eq!(status, 200, "the version that AWS made is the current one: {current}");
    let value: Value = serde_json::from_str(current["SecretString"].as_str().unwrap()).unwrap();
    let second = value["oauthSecretId"].as_str().unwrap();
    assert_ne!(second, first);
    town.assert_all_hold(second);
    assert!(town.living().contains(&first), "the old one is the schedule's to retire");

    let foreign =
        json!({ "Step": "createSecret", "SecretId": arn.replace("secret:lakekey", "secret:other"), "ClientRequestToken": TOKEN });
    let (kind, _) = cargo.invoke(&foreign).await.unwrap().unwrap_err();
    assert_eq!(kind, "Lakekey.Permanent.unknown-secret");
    assert_proper(&town, &cargo, &mut function);
}

const TOKEN: &str = "8f14e45f-ceea-467f-a834-1d9b0a2c3d4e";
