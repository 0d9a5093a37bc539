//! Updates through the real client and retry code, over a transport that answers from a table.

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;
use crate::http::testing::{Scripted, endpoints, reply, timed_out};
use crate::identity::Signer;
use crate::ids::{DatasetId, GroupId, WarehouseId};
use crate::targets::SourceKind;

const US: &str = "725c0000-0000-4000-8000-000000000001";
const HOST: &str = "adb-1.7.azuredatabricks.net";
const SECRET: &str = "dose\"0123";
const SOURCE: &str = "/v1.0/myorg/gateways/v1/datasources/s1";
const SOURCES_A: &str = "/v1.0/myorg/groups/g/datasets/a/datasources";
const SOURCES_B: &str = "/v1.0/myorg/groups/g/datasets/b/datasources";
const TAKE_OVER: &str = "/v1.0/myorg/groups/g/datasets/a/Default.TakeOver";
const GATEWAY: &str = "/v1.0/myorg/gateways/v1";
const CONNECTION: &str = "/v1/connections/s1";

/// Answers by method and path; what is not in the table is a 404.
fn service(table: &[(&str, &str, u16, Value)]) -> Arc<Scripted> {
    let table: Vec<_> =
        table.iter().map(|(method, path, status, body)| (format!("{method} {path}"), *status, body.clone())).collect();
    Scripted::new().always(move |request| {
        let line = format!("{} {}", request.method(), request.uri().path());
        let (status, body) = table.iter().find(|row| row.0 == line).map_or((404, &Value::Null), |row| (row.1, &row.2));
        let text = if body.is_null() { String::new() } else { body.to_string() };
        reply(status, &[("content-type", "application/json")], &text)
    })
}

fn targets(service: &Arc<Scripted>, convert: bool, privacy_level: Option<&str>) -> PowerBiTargets {
    let claims = URL_SAFE_NO_PAD.encode(json!({"appid": US}).to_string());
    let signer = Signer::fixed(Secret::new(format!("e30.{claims}.x")));
    let (http, endpoints) = (service.http(), endpoints());
    PowerBiTargets {
        powerbi: PowerBi::new(http.clone(), endpoints.powerbi, signer.clone()),
        fabric: Fabric::new(http, endpoints.fabric, signer),
        random: Random::seeded(1),
        convert,
        privacy_level: privacy_level.map(str::to_owned),
        keys: Mutex::default(),
        members: Members::default(),
    }
}

fn path(warehouse: &str) -> String {
    json!({"host": HOST, "httpPath": format!("/sql/1.0/warehouses/{warehouse}")}).to_string()
}

fn dataset_view(warehouse: &str, datasource: &str) -> Value {
    json!({"value": [
        {"datasourceType": "Sql", "connectionDetails": {"server": "s"}, "gatewayId": "v1", "datasourceId": "sql"},
        {"datasourceType": "Extension", "gatewayId": "v1", "datasourceId": datasource,
         "connectionDetails": {"kind": "Databricks", "path": path(warehouse)}}]})
}

fn gateway_view(credential: &str) -> Value {
    let details = json!({"extensionDataSourceKind": "Databricks", "extensionDataSourcePath": path("w1")});
    json!({"id": "s1", "gatewayId": "v1", "connectionDetails": details.to_string(), "credentialType": credential,
           "credentialDetails": {"privacyLevel": "Private", "useEndUserOAuth2Credentials": true}})
}

fn connection(connectivity: &str, credential: &str) -> Value {
    json!({"id": "s1", "connectivityType": connectivity, "privacyLevel": "Public",
           "credentialDetails": {"credentialType": credential, "singleSignOnType": "MicrosoftEntraID"}})
}

fn dataset(id: &str, owner: &str) -> DatasetRef {
    DatasetRef {
        workspace: "Sales".into(),
        group: GroupId::new("g"),
        name: id.to_uppercase().into(),
        id: DatasetId::new(id),
        owner: Some(owner.into()),
    }
}

fn target(kind: TargetKind) -> TargetSpec {
    let source = DatabricksSource {
        kind: SourceKind::Databricks,
        host: HOST.into(),
        http_path: "/sql/1.0/warehouses/w1".into(),
        warehouse: Some(WarehouseId::new("w1")),
    };
    let datasets = vec![dataset("a", "ann@contoso.com"), dataset("b", US)];
    TargetSpec::new(kind, (&GatewayId::new("v1"), &DatasourceId::new("s1")), &source, datasets)
}

async fn apply(targets: &PowerBiTargets, target: &TargetSpec) -> Result<Applied, ApplyError> {
    let not_after = "2026-03-01T01:00:00Z".parse().unwrap();
    targets.apply(target, &ApplicationId::new("client"), &Secret::new(SECRET), not_after).await
}

fn writes(service: &Scripted) -> Vec<Value> {
    let seen = service.seen().into_iter().filter(|seen| !seen.line.starts_with("GET"));
    seen.map(|seen| serde_json::from_str(&seen.body).unwrap_or(Value::Null)).collect()
}

/// Asserts a definite failure before anything was written.
fn assert_unwritten(result: Result<Applied, ApplyError>, code: &str, service: &Scripted) {
    let error = result.unwrap_err();
    assert_eq!((error.problem.code.as_str(), error.landed), (code, Landed::No), "{}", error.problem.message);
    assert!(error.problem.hint.is_some());
    assert!(writes(service).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cloud_source_is_read_through_our_dataset_and_keeps_privacy_and_single_sign_on() {
    let service = service(&[
        ("GET", SOURCES_B, 200, dataset_view("w1", "s1")),
        ("GET", CONNECTION, 200, connection("ShareableCloud", "Basic")),
        ("PATCH", SOURCE, 200, Value::Null),
    ]);
    let applied = apply(&targets(&service, false, Some("Private")), &target(TargetKind::Cloud)).await.unwrap();
    assert_eq!(applied, Applied { earlier_may_land: false });
    assert_eq!(service.lines().len(), 3);
    let details = &writes(&service)[0]["credentialDetails"];
    let credentials = json!({"credentialData": [{"name": "username", "value": "client"}, {"name": "password", "value": SECRET}]});
    let text = details["credentials"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), credentials);
    let mut rest = details.clone();
    rest.as_object_mut().unwrap().remove("credentials");
    assert_eq!(
        rest,
        json!({"credentialType": "Basic", "encryptedConnection": "Encrypted", "encryptionAlgorithm": "None",
               "privacyLevel": "Public", "useEndUserOAuth2Credentials": true})
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_neither_guessed_nor_sent() {
    let table = [
        ("GET", SOURCES_B, 200, dataset_view("w1", "s1")),
        ("GET", CONNECTION, 403, Value::Null),
        ("PATCH", SOURCE, 200, Value::Null),
    ];
    let without = service(&table);
    assert_unwritten(apply(&targets(&without, false, None), &target(TargetKind::Cloud)).await, "privacy-level-unknown", &without);
    let with = service(&table);
    apply(&targets(&with, false, Some("Private")), &target(TargetKind::Cloud)).await.unwrap();
    let details = &writes(&with)[0]["credentialDetails"];
    assert_eq!((&details["privacyLevel"], details.get("useEndUserOAuth2Credentials")), (&json!("Private"), None));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_no_longer_what_was_selected_is_not_written() {
    for (view, said, code) in [
        (dataset_view("w2", "s1"), connection("ShareableCloud", "Basic"), "target-changed"),
        (dataset_view("w1", "s1"), connection("VirtualNetworkGateway", "Basic"), "target-changed"),
        (dataset_view("w1", "s1"), connection("ShareableCloud", "OAuth2"), "target-changed"),
        (dataset_view("w1", "other"), connection("ShareableCloud", "Basic"), "target-gone"),
    ] {
        let service = service(&[
            ("GET", SOURCES_A, 200, dataset_view("w2", "other")),
            ("GET", SOURCES_B, 200, view),
            ("GET", CONNECTION, 200, said),
            ("PATCH", SOURCE, 200, Value::Null),
        ]);
        assert_unwritten(apply(&targets(&service, false, None), &target(TargetKind::Cloud)).await, code, &service);
    }
    let service = service(&[("GET", SOURCE, 200, gateway_view("Key")), ("PATCH", SOURCE, 200, Value::Null)]);
    assert_unwritten(apply(&targets(&service, false, None), &target(TargetKind::Gateway)).await, "target-changed", &service);
}

fn gateway_with_key() -> Value {
    let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let der: PublicKeyX509Der<'_> = private.public_key().as_der().unwrap();
    // The modulus of a 2048-bit key stands before the five bytes of the exponent.
    let der = der.as_ref();
    let modulus = STANDARD.encode(&der[der.len() - 5 - 256..der.len() - 5]);
    json!({"id": "v1", "name": "GW", "publicKey": {"modulus": modulus, "exponent": "AQAB"}})
}

#[tokio::test(start_paused = true)]
async fn a_gateway_source_is_sealed_confirmed_and_its_key_read_once() {
    let gateway = gateway_with_key();
    let service = service(&[
        ("GET", SOURCE, 200, gateway_view("Basic")),
        ("GET", GATEWAY, 200, gateway),
        ("PATCH", SOURCE, 200, Value::Null),
        ("GET", "/v1.0/myorg/gateways/v1/datasources/s1/status", 200, Value::Null),
    ]);
    let targets = targets(&service, false, None);
    apply(&targets, &target(TargetKind::Gateway)).await.unwrap();
    assert_eq!(service.lines().len(), 4);
    apply(&targets, &target(TargetKind::Gateway)).await.unwrap();
    assert_eq!(service.lines().len(), 7);
    let details = &writes(&service)[0]["credentialDetails"];
    assert_eq!(
        (&details["encryptionAlgorithm"], &details["privacyLevel"], &details["useEndUserOAuth2Credentials"]),
        (&json!("RSA-OAEP"), &json!("Private"), &json!(true))
    );
    assert!(service.seen().iter().all(|seen| !seen.body.contains("dose")));
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_the_gateway_cannot_use_may_still_be_held() {
    let gateway = gateway_with_key();
    let refusal = json!({"error": {"code": "DM_GWPipeline_Client_GatewayUnreachable"}});
    let service = service(&[
        ("GET", SOURCE, 200, gateway_view("Basic")),
        ("GET", GATEWAY, 200, gateway),
        ("PATCH", SOURCE, 200, Value::Null),
        ("GET", "/v1.0/myorg/gateways/v1/datasources/s1/status", 400, refusal),
    ]);
    let error = apply(&targets(&service, false, None), &target(TargetKind::Gateway)).await.unwrap_err();
    assert_eq!((error.problem.code.as_str(), error.landed), ("gateway-unreachable", Landed::Maybe));
}

#[tokio::test(start_paused = true)]
async fn refusals_are_told_from_answers_that_never_came() {
    let credentials = json!({"error": {"code": "DM_GWPipeline_Gateway_InvalidConnectionCredentials"}});
    for (status, body, code, landed) in [
        (403, Value::Null, "not-owner", Landed::Refused),
        (404, Value::Null, "not-owner", Landed::Refused),
        (400, json!({"error": {"code": "PowerBINotAuthorizedException"}}), "not-owner", Landed::Refused),
        (400, json!({"Message": "This operation is only supported for the dataset owner"}), "not-owner", Landed::Refused),
        (400, credentials, "credential-refused", Landed::Refused),
        (400, json!({"error": {"code": "Something"}}), "update-refused", Landed::Refused),
        (500, Value::Null, "service-error", Landed::Maybe),
    ] {
        let service = service(&[
            ("GET", SOURCES_B, 200, dataset_view("w1", "s1")),
            ("GET", CONNECTION, 200, connection("ShareableCloud", "Basic")),
            ("PATCH", SOURCE, status, body),
        ]);
        let error = apply(&targets(&service, false, None), &target(TargetKind::Cloud)).await.unwrap_err();
        assert_eq!((error.problem.code.as_str(), error.landed), (code, landed), "{status}: {}", error.problem.message);
        assert!(!error.problem.message.contains("dose") && error.problem.hint.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_before_a_success_is_told() {
    let service = Scripted::new()
        .json(200, &dataset_view("w1", "s1").to_string())
        .json(200, &connection("ShareableCloud", "Basic").to_string())
        .then(|_| timed_out())
        .json(200, "");
    let applied = apply(&targets(&service, false, None), &target(TargetKind::Cloud)).await.unwrap();
    assert_eq!(applied, Applied { earlier_may_land: true });
}

#[tokio::test(start_paused = true)]
async fn a_take_over_returns_the_sources_as_they_are_then() {
    let not_after = "2026-03-01T01:00:00Z".parse().unwrap();
    let workspaces = [Workspace::parse(HOST).unwrap()];
    let taken = service(&[
        ("POST", TAKE_OVER, 200, Value::Null),
        ("GET", SOURCES_A, 200, dataset_view("w1", "new")),
        ("GET", "/v1/connections/new", 403, Value::Null),
    ]);
    let found = targets(&taken, false, None).take_over(&dataset("a", "ann@contoso.com"), &workspaces, not_after).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].id.as_str(), found[0].kind), ("powerbi:v1/new", TargetKind::Cloud));
    assert_eq!(found[0].datasets, [dataset("a", US)]);

    let refused = service(&[("POST", TAKE_OVER, 403, Value::Null)]);
    let error = targets(&refused, false, None).take_over(&dataset("a", "x"), &workspaces, not_after).await.unwrap_err();
    assert_eq!((error.problem.code.as_str(), error.landed), ("take-over-refused", Landed::Refused));

    let unreadable = service(&[("POST", TAKE_OVER, 200, Value::Null), ("GET", SOURCES_A, 403, Value::Null)]);
    let error = targets(&unreadable, false, None).take_over(&dataset("a", "x"), &workspaces, not_after).await.unwrap_err();
    assert_eq!((error.problem.code.as_str(), error.landed), ("target-unreadable", Landed::Maybe));
}
