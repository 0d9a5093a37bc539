//! Permissions are read first and only ever added.

use lakekey_sim::{Fleet, Level, Seen};
use serde_json::json;

use crate::arrange::Before;
use crate::support::{Bench, days};

/// One target on a gateway, so that nothing but permissions is at stake.
fn bench() -> Bench {
    let mut bench = Bench::new(&Fleet { decoys: false, ..Fleet::small(3) });
    let source = bench.gateway_source();
    bench.select_source(&source);
    bench
}

/// Requests that changed permissions since then.
fn writes(bench: &Bench, before: &Before) -> Vec<Seen> {
    let is_write = |seen: &Seen| seen.method != "GET" && seen.path.contains("permissions/");
    bench.requests_since(before).into_iter().filter(is_write).collect()
}

fn principal(bench: &Bench) -> String {
    bench.cloud.cast().principal.application_id.clone()
}

#[tokio::test(start_paused = true)]
async fn can_use_is_added_and_the_grants_of_others_stay() {
    let mut bench = bench();
    let me = principal(&bench);
    let wanted = bench.gateway_source().warehouse;
    bench.cloud.set_warehouse_level(&wanted, &me, None);
    bench.credential()["warehouses"] = json!([wanted]);
    bench.credential().as_object_mut().unwrap().remove("verify");
    let before = bench.mark();

    bench.rotated().await;

    for (old, new) in before.warehouses.iter().zip(bench.cloud.truth().warehouses) {
        let mut expected = old.permissions.clone();
        if old.id == wanted {
            expected.insert(format!("principal {me}"), Level::CanUse);
        }
        assert_eq!(new.permissions, expected, "{}", old.name);
    }
    let written: Vec<_> = writes(&bench, &before).into_iter().map(|seen| seen.method).collect();
    assert_eq!(written, ["PATCH"]);
}

#[tokio::test(start_paused = true)]
async fn a_higher_level_is_never_lowered() {
    let bench = bench();
    let me = principal(&bench);
    for warehouse in &bench.cloud.cast().warehouses[0] {
        bench.cloud.set_warehouse_level(warehouse, &me, Some(Level::CanManage));
    }
    let before = bench.mark();

    bench.rotated().await;

    for (old, new) in before.warehouses.iter().zip(bench.cloud.truth().warehouses) {
        assert_eq!(new.permissions, old.permissions, "{}", old.name);
    }
    assert_eq!(writes(&bench, &before).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn privileges_are_added_and_none_is_removed() {
    let mut bench = bench();
    let me = principal(&bench);
    bench.cloud.grant("catalog", "main", &me, &["BROWSE"]);
    bench.cloud.grant("schema", "main.sales", "ada@contoso.example", &["USE_SCHEMA", "SELECT"]);
    bench.credential()["grants"] = json!([
        { "securable": "catalog", "name": "main", "privileges": ["USE_CATALOG"] },
        { "securable": "schema", "name": "main.sales", "privileges": ["USE SCHEMA"] },
        { "securable": "table", "name": "main.sales.odd `name`", "privileges": ["SELECT"] },
    ]);
    let before = bench.mark();

    bench.rotated().await;

    let mut expected = before.grants.clone();
    let mut add = |object: &str, held: &[&str]| {
        let held = held.iter().map(|&privilege| privilege.to_owned()).collect();
        expected.get_mut(object).unwrap().insert(me.clone(), held);
    };
    add("catalog main", &["BROWSE", "USE_CATALOG"]);
    add("schema main.sales", &["USE_SCHEMA"]);
    add("table main.sales.odd `name`", &["SELECT"]);
    assert_eq!(bench.cloud.truth().grants, expected);
}

#[tokio::test(start_paused = true)]
async fn what_is_there_already_is_not_written_again() {
    let mut bench = bench();
    let me = principal(&bench);
    bench.cloud.grant("catalog", "main", &me, &["USE_CATALOG", "USE_SCHEMA"]);
    bench.credential()["grants"] = json!([
        { "securable": "catalog", "name": "main", "privileges": ["USE_CATALOG"] },
        // Inherited from the catalog.
        { "securable": "schema", "name": "main.sales", "privileges": ["USE_SCHEMA"] },
    ]);
    let before = bench.mark();

    let (_, plan) = bench.one(&["plan"]).await;
    bench.rotated().await;

    assert!(plan["steps"].as_array().unwrap().iter().all(|step| step["action"] != "grant"), "{plan:#}");
    assert_eq!(writes(&bench, &before).len(), 0);
    assert_eq!(bench.cloud.truth().grants, before.grants);
}

#[tokio::test(start_paused = true)]
async fn a_target_on_a_warehouse_without_can_use_is_an_error_unless_the_warehouse_is_listed() {
    let mut bench = bench();
    let source = bench.gateway_source();
    let truth = bench.cloud.truth();
    let closed = truth.warehouses.iter().find(|warehouse| warehouse.name == "Finance").unwrap();
    bench.cloud.repoint(&source.id, &closed.host, &closed.id);

    let problem = bench.refused("no-can-use").await;
    assert!(problem["message"].as_str().unwrap().contains(&closed.id), "{problem}");

    bench.credential()["warehouses"] = json!([closed.id]);
    let done = bench.rotated().await;
    let moved = bench.source(&source.id);
    assert_eq!((moved.secret_id.as_deref(), moved.connects), (done["secret_id"].as_str(), true));
}

#[tokio::test(start_paused = true)]
async fn the_warehouse_of_the_smoke_query_needs_can_use_too() {
    let mut bench = bench();
    let truth = bench.cloud.truth();
    let closed = truth.warehouses.iter().find(|warehouse| warehouse.name == "Finance").unwrap();
    bench.credential()["verify"] = json!({ "warehouse": closed.id });

    bench.refused("no-can-use").await;
}

#[tokio::test(start_paused = true)]
async fn an_object_or_warehouse_that_is_not_there_is_an_error_before_anything_is_made() {
    let mut bench = bench();
    bench.credential()["grants"] = json!([{ "securable": "catalog", "name": "nowhere", "privileges": ["USE_CATALOG"] }]);
    bench.refused("not-found").await;

    bench.credential().as_object_mut().unwrap().remove("grants");
    bench.credential()["warehouses"] = json!(["0123456789abcdef"]);
    bench.refused("warehouse-not-found").await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_warehouse_is_as_good_as_a_running_one_and_a_deleted_one_is_an_error() {
    let bench = bench();
    let warehouse = bench.cloud.cast().warehouses[0][0].clone();
    bench.cloud.stop_warehouse(&warehouse);
    bench.rotated().await;

    bench.pass(days(8));
    bench.cloud.delete_warehouse(&warehouse);
    let problem = bench.refused("warehouse-deleted").await;
    assert!(problem["message"].as_str().unwrap().contains(&warehouse), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn all_privileges_include_those_that_are_asked_for() {
    let mut bench = bench();
    bench.cloud.grant("catalog", "main", &principal(&bench), &["ALL_PRIVILEGES"]);
    bench.credential()["grants"] = json!([
        { "securable": "catalog", "name": "main", "privileges": ["USE_CATALOG"] },
        { "securable": "table", "name": "main.sales.orders", "privileges": ["SELECT"] },
    ]);
    let before = bench.mark();

    bench.rotated().await;

    assert_eq!(writes(&bench, &before).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_may_not_manage_secrets_is_told_before_anything_is_made() {
    let bench = bench();
    bench.cloud.set_admin(&bench.cloud.cast().admin.client_id, false);

    bench.refused("forbidden").await;
}
