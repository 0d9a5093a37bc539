//! The walk through the real clients: what is asked, how often, and what a refusal or a silence means.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::clients::fabric::Fabric;
use crate::clients::powerbi::PowerBi;
use crate::config::{Selector, TakeOver, Targets, WaveSize};
use crate::error::Error;
use crate::http::testing::{Scripted, endpoints, reply};
use crate::identity::Signer;
use crate::ids::{IdentityName, WarehouseId, Workspace};
use crate::inventory::{Selection, select};
use crate::secret::Secret;

const US: &str = "725c0000-0000-4000-8000-000000000001";
const HOST: &str = "adb-1.7.azuredatabricks.net";

/// Three workspaces in pages of two, two datasets in each, one cloud source per dataset and one shared by all.
fn answer(path: &str, query: &str) -> (u16, Value) {
    let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
    let source = |id: &str| {
        let path = json!({"host": HOST, "httpPath": "/sql/1.0/warehouses/w1"}).to_string();
        json!({"gatewayId": "v1", "datasourceId": id, "connectionDetails": {"kind": "Databricks", "path": path}})
    };
    let body = match parts[..] {
        ["v1.0", "myorg", "groups"] => {
            let skip: usize = query.split("$skip=").nth(1).unwrap().parse().unwrap();
            let groups = (0..3).map(|number| json!({"id": format!("g{number}"), "name": format!("W{number}")}));
            json!({"value": groups.skip(skip).take(2).collect::<Vec<_>>()})
        }
        ["v1.0", "myorg", "groups", group, "datasets"] => json!({"value": [
            {"id": format!("{group}a"), "name": "A", "configuredBy": US},
            {"id": format!("{group}b"), "name": "B", "configuredBy": "ann@contoso.com"}]}),
        ["v1.0", "myorg", "groups", _, "datasets", "g2b", "datasources"] => return (403, Value::Null),
        ["v1.0", "myorg", "groups", _, "datasets", dataset, "datasources"] => {
            json!({"value": [source(dataset), source("shared")]})
        }
        ["v1.0", "myorg", "gateways"] => json!({"value": []}),
        ["v1", "connections" | "gateways"] => json!({"value": []}),
        ["v1", "connections", id] => json!({"id": id, "connectivityType": "ShareableCloud", "privacyLevel": "Private"}),
        _ => return (404, Value::Null),
    };
    (200, body)
}

fn service(answer: fn(&str, &str) -> (u16, Value)) -> Arc<Scripted> {
    Scripted::new().always(move |request| {
        let (status, body) = answer(request.uri().path(), request.uri().query().unwrap_or_default());
        reply(status, &[("content-type", "application/json")], &body.to_string())
    })
}

async fn run(service: &Arc<Scripted>, rows: Vec<Selector>) -> Result<Selection, Error> {
    let claims = URL_SAFE_NO_PAD.encode(json!({"appid": US}).to_string());
    let signer = Signer::fixed(Secret::new(format!("e30.{claims}.x")));
    let (http, endpoints) = (service.http(), endpoints());
    let powerbi = PowerBi::new(http.clone(), endpoints.powerbi, signer.clone());
    let fabric = Fabric::new(http, endpoints.fabric, signer);
    let (identity, take_over) = (IdentityName::new("powerbi"), TakeOver::Never);
    let targets = Targets {
        concurrency: 4,
        identity,
        select: rows,
        mapping: None,
        take_over,
        convert: false,
        privacy_level: None,
        refresh: Vec::new(),
        waves: vec![WaveSize::Percent(100)],
    };
    select(&powerbi, &fabric, &[Workspace::parse(HOST).unwrap()], &targets).await
}

fn dataset_row() -> Selector {
    Selector::Dataset { workspace: "W1".to_owned(), dataset: "A".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn a_whole_walk_asks_nothing_twice_and_reads_every_page() {
    let service = service(answer);
    let rows = vec![Selector::All, Selector::Warehouse(WarehouseId::new("w1")), dataset_row()];
    let selection = run(&service, rows).await.unwrap();
    let ids: Vec<_> = selection.targets.iter().map(|target| target.datasource.as_str()).collect();
    assert_eq!(ids, ["g0a", "g0b", "g1a", "g1b", "g2a", "shared"]);
    assert_eq!(selection.targets[5].datasets.len(), 5);
    let codes: Vec<_> = selection.problems.iter().map(|problem| problem.code.as_str()).collect();
    assert_eq!(codes, ["not-owner", "not-owner"]);
    assert_eq!(selection.left[0].id, "dataset:g2b");

    let lines = service.lines();
    assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), lines.len(), "{lines:#?}");
    // Pages of workspaces (the last is empty), datasets, sources, gateways; Fabric's lists of both kinds; connections.
    assert_eq!(lines.len(), 3 + 3 + 6 + 1 + 2 + 6);
}

#[tokio::test(start_paused = true)]
async fn a_dataset_row_asks_for_its_dataset_only() {
    let service = service(answer);
    let selection = run(&service, vec![dataset_row()]).await.unwrap();
    assert_eq!((selection.targets.len(), selection.problems.len()), (2, 0));
    assert_eq!(service.lines().len(), 3 + 1 + 1 + 1 + 2);
}

#[tokio::test(start_paused = true)]
async fn many_connections_are_listed_before_any_is_asked_for_alone() {
    let service = service(|path, query| {
        let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let ids = |range: std::ops::Range<u32>| range.map(|number| format!("s{number:02}")).collect::<Vec<_>>();
        match parts[..] {
            [.., "datasets", "g1a", "datasources"] => {
                let path = json!({"host": HOST, "httpPath": "/sql/1.0/warehouses/w1"}).to_string();
                let source = |id| json!({"gatewayId": "v1", "datasourceId": id, "connectionDetails": {"kind": "Databricks", "path": path}});
                (200, json!({"value": ids(0..12).into_iter().map(source).collect::<Vec<_>>()}))
            }
            ["v1", "connections"] => {
                let (page, token) = if query.is_empty() { (ids(0..6), json!("LDE%3D")) } else { (ids(6..11), Value::Null) };
                assert!(query.is_empty() || query == "continuationToken=LDE%3D");
                let row = |id| json!({"id": id, "connectivityType": "PersonalCloud", "privacyLevel": "Private"});
                (200, json!({"value": page.into_iter().map(row).collect::<Vec<_>>(), "continuationToken": token}))
            }
            _ => answer(path, query),
        }
    });
    let selection = run(&service, vec![dataset_row()]).await.unwrap();
    assert_eq!((selection.targets.len(), selection.problems.len()), (12, 0));
    let asked: Vec<_> = service.lines().into_iter().filter(|line| line.contains("/v1/connections")).collect();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked[2].ends_with("/v1/connections/s11"));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_is_an_error_and_not_an_empty_selection() {
    for status in [500, 503, 429] {
        let service = Scripted::new().always(move |request| {
            let path = request.uri().path();
            let (status, body) = if path.ends_with("/g1b/datasources") {
                (status, Value::Null)
            } else {
                answer(path, request.uri().query().unwrap_or_default())
            };
            reply(status, &[("content-type", "application/json")], &body.to_string())
        });
        assert!(run(&service, vec![Selector::All]).await.is_err(), "{status}");
    }
    let refused = service(|_, _| (401, Value::Null));
    assert_eq!(run(&refused, vec![Selector::All]).await.unwrap_err().code(), "unauthorized");
}
