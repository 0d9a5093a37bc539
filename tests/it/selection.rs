//! What the rows of `select` mean: what is written, and that nothing else is.

use lakekey_sim::{Fleet, SourceTruth};
use serde_json::{Value, json};

use crate::arrange::{column, hints};
use crate::support::{Bench, days};

/// Data sources of every shape, and decoys.
fn bench() -> Bench {
    let mut bench = Bench::new(&Fleet::new(12, 5));
    bench.list_all_warehouses();
    bench
}

/// The ids, under which a plan names targets, of the sources that are like this.
fn planned(plan: &Value) -> std::collections::BTreeSet<String> {
    column(&plan["targets"], "id")
}

fn ids(sources: &[SourceTruth]) -> std::collections::BTreeSet<String> {
    sources.iter().map(|source| source.target_id.clone()).collect()
}

/// Selecting these rows moves exactly this source.
async fn moves_only(bench: &Bench, source: &SourceTruth) {
    let before = bench.mark();
    let done = bench.rotated().await;
    bench.assert_wrote_exactly(&before, &[&source.id], &done["secret_id"]);
    assert_eq!(column(&done["targets"], "id"), ids(std::slice::from_ref(source)));
}

#[tokio::test(start_paused = true)]
async fn a_dataset_row_moves_the_sources_of_that_dataset_alone() {
    let mut bench = bench();
    let source = bench.own_source();
    let dataset = bench.dataset_of(&source);
    let workspace = bench.cloud.group_name(&dataset.group).unwrap();
    bench.select(json!([{ "workspace": workspace, "dataset": dataset.name }]));

    moves_only(&bench, &source).await;
}

#[tokio::test(start_paused = true)]
async fn a_dataset_row_may_give_ids_in_any_case() {
    let mut bench = bench();
    let source = bench.gateway_source();
    let dataset = bench.dataset_of(&source);
    bench.select(json!([{ "workspace": dataset.group.to_uppercase(), "dataset": dataset.id.to_uppercase() }]));

    moves_only(&bench, &source).await;
}

#[tokio::test(start_paused = true)]
async fn names_with_quotes_spaces_and_other_alphabets_mean_exactly_one_thing() {
    let mut bench = bench();
    let source = bench.gateway_source();
    let dataset = bench.dataset_of(&source);
    let (workspace, name) = ("Vertrieb's \"50%\" / Köln & Отчёты; #1? ", "  売上 — O'Hare + \\path\\ ");
    bench.cloud.rename_group(&dataset.group, workspace);
    bench.cloud.rename_dataset(&dataset.id, name);
    bench.select(json!([{ "workspace": workspace, "dataset": name }]));

    moves_only(&bench, &source).await;
}

#[tokio::test(start_paused = true)]
async fn names_are_compared_exactly() {
    let mut bench = bench();
    let dataset = bench.dataset_of(&bench.gateway_source());
    let workspace = bench.cloud.group_name(&dataset.group).unwrap();
    bench.cloud.rename_dataset(&dataset.id, "Orders EU");
    bench.select(json!([{ "workspace": workspace, "dataset": "orders eu" }]));

    let problem = bench.refused("dataset-not-found").await;

    assert!(problem["message"].as_str().unwrap().contains("orders eu"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn a_workspace_or_dataset_that_is_not_there_is_named() {
    let mut bench = bench();
    bench.select(json!([{ "workspace": "No such workspace", "dataset": "Orders" }]));
    let problem = bench.refused("workspace-not-found").await;
    assert!(problem["message"].as_str().unwrap().contains("No such workspace"), "{problem}");

    let workspace = bench.cloud.group_name(&bench.dataset_of(&bench.own_source()).group).unwrap();
    bench.select(json!([{ "workspace": workspace, "dataset": "No such dataset" }]));
    let problem = bench.refused("dataset-not-found").await;
    assert!(problem["message"].as_str().unwrap().contains("No such dataset"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn two_workspaces_of_one_name_are_an_error_that_lists_their_ids() {
    let mut bench = bench();
    let dataset = bench.dataset_of(&bench.own_source());
    let truth = bench.cloud.truth();
    let other = truth
        .datasets
        .iter()
        .find(|other| other.group != dataset.group && bench.cloud.group_name(&other.group).as_deref() != Some("Hidden HR"))
        .unwrap();
    bench.cloud.rename_group(&dataset.group, "Twins");
    bench.cloud.rename_group(&other.group, "Twins");
    bench.select(json!([{ "workspace": "Twins", "dataset": dataset.name }]));

    let problem = bench.refused("workspace-ambiguous").await;

    let message = problem["message"].as_str().unwrap();
    assert!(message.contains(&dataset.group) && message.contains(&other.group), "{message}");
}

#[tokio::test(start_paused = true)]
async fn two_datasets_of_one_name_are_an_error_that_lists_their_ids() {
    let mut bench = bench();
    let dataset = bench.dataset_of(&bench.own_source());
    let truth = bench.cloud.truth();
    let other = truth.datasets.iter().find(|other| other.group == dataset.group && other.id != dataset.id).unwrap();
    bench.cloud.rename_dataset(&other.id, &dataset.name);
    bench.select(json!([{ "workspace": dataset.group, "dataset": dataset.name }]));

    let problem = bench.refused("dataset-ambiguous").await;

    let message = problem["message"].as_str().unwrap();
    assert!(message.contains(&dataset.id) && message.contains(&other.id), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_row_that_selects_nothing_is_an_error_beside_rows_that_do() {
    let mut bench = bench();
    let row = bench.row(&bench.dataset_of(&bench.own_source()));
    bench.select(json!([row, { "warehouse": "0123456789abcdef" }]));

    let problem = bench.refused("selects-nothing").await;

    assert!(problem["message"].as_str().unwrap().contains("0123456789abcdef"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn a_warehouse_row_moves_everything_on_that_warehouse_and_nothing_on_others() {
    let mut bench = bench();
    let on = |warehouse: &String| bench.targets().iter().filter(|source| source.warehouse == *warehouse).count();
    let warehouse = bench.cloud.cast().warehouses.concat().into_iter().max_by_key(on).unwrap();
    bench.select(json!([{ "warehouse": warehouse.to_uppercase() }]));
    bench.own_everything();
    let expected: Vec<SourceTruth> = bench.targets().into_iter().filter(|source| source.warehouse == warehouse).collect();
    assert!(expected.len() > 1 && expected.len() < bench.targets().len());
    let before = bench.mark();

    let done = bench.rotated().await;

    let written: Vec<&str> = expected.iter().map(|source| source.id.as_str()).collect();
    bench.assert_wrote_exactly(&before, &written, &done["secret_id"]);
}

#[tokio::test(start_paused = true)]
async fn all_moves_both_kinds_of_source_and_writes_no_decoy() {
    let mut bench = bench();
    bench.own_everything();
    let expected = bench.targets();
    for kind in ["Databricks", "DatabricksMultiCloud"] {
        assert!(expected.iter().any(|source| source.kind == kind), "the fleet has a target of kind {kind}");
    }
    let before = bench.mark();

    let (status, plan) = bench.one(&["plan"]).await;
    let done = bench.rotated().await;

    let written: Vec<&str> = expected.iter().map(|source| source.id.as_str()).collect();
    bench.assert_wrote_exactly(&before, &written, &done["secret_id"]);
    assert_eq!((status, planned(&plan)), (0, ids(&expected)));
}

#[tokio::test(start_paused = true)]
async fn what_else_uses_the_same_host_is_left_and_said_why() {
    let bench = bench();
    let me = bench.me();
    let hosts: Vec<String> = bench.targets().into_iter().map(|source| source.host).collect();

    let (_, plan) = bench.one(&["plan"]).await;

    let left = column(&plan["left"], "id");
    let visible = |source: &SourceTruth| {
        source.datasets.iter().any(|id| {
            let group = bench.dataset(id).group;
            bench.cloud.group_name(&group).is_some_and(|name| name != "Hidden HR" && !name.starts_with("My workspace"))
        })
    };
    let sources = bench.cloud.sources();
    let same_host = |source: &&SourceTruth| hosts.contains(&source.host) && visible(source);
    let (targets, others): (Vec<SourceTruth>, Vec<SourceTruth>) =
        sources.iter().filter(same_host).cloned().partition(|source| source.target);
    assert_eq!(planned(&plan), ids(&targets));
    assert!(others.len() >= 2, "the fleet has a signed-in source and one with a token");
    for other in &others {
        assert!(left.contains(&other.target_id), "{other:?} is not among {left:?}");
    }
    // Bound to nothing, so that the dataset stands for it.
    let truth = bench.cloud.truth();
    let unbound = truth.datasets.iter().find(|dataset| dataset.owner == me && dataset.sources == [None]).unwrap();
    assert!(left.contains(&format!("dataset:{}", unbound.id)), "{left:?}");
    let beyond = left.iter().filter(|id| id.starts_with("dataflow:") || id.starts_with("report:")).count();
    assert_eq!((left.len(), beyond), (others.len() + 1 + 2, 2), "nothing of other hosts or kinds is listed: {left:?}");
    assert!(plan["left"].as_array().unwrap().iter().all(|left| !left["reason"].as_str().unwrap().is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_row_moves_one_data_source_of_one_gateway() {
    let mut bench = bench();
    let source = bench.gateway_source();
    let name = "Sales \"DBX\" – 1";
    bench.cloud.rename_source(&source.id, name);
    bench.select(json!([{ "gateway": "Contoso-GW", "datasource": name }]));

    moves_only(&bench, &source).await;
}

#[tokio::test(start_paused = true)]
async fn a_gateway_or_data_source_that_is_not_there_is_named() {
    let mut bench = bench();
    bench.select(json!([{ "gateway": "No such gateway", "datasource": "x" }]));
    bench.refused("gateway-not-found").await;

    bench.select(json!([{ "gateway": "Contoso-GW", "datasource": "No such source" }]));
    bench.refused("datasource-not-found").await;
}

#[tokio::test(start_paused = true)]
async fn a_source_of_several_datasets_and_rows_is_written_once() {
    let mut bench = bench();
    let source = bench.gateway_source();
    assert_eq!(source.datasets.len(), 2);
    let rows: Vec<Value> = source.datasets.iter().map(|id| bench.row(&bench.dataset(id))).collect();
    let gateway = json!({ "gateway": source.gateway, "datasource": source.id });
    bench.select(json!([rows[0], rows[1], gateway, rows[0]]));

    let (_, plan) = bench.one(&["plan"]).await;
    moves_only(&bench, &source).await;

    let planned: Vec<&Value> = plan["targets"].as_array().unwrap().iter().collect();
    assert_eq!(planned.len(), 1, "{plan:#}");
    assert_eq!(column(&planned[0]["datasets"], "id"), source.datasets.iter().cloned().collect());
}

#[tokio::test(start_paused = true)]
async fn a_cloud_source_shared_by_two_datasets_is_written_once() {
    let mut bench = bench();
    let source = bench.own_source();
    let me = bench.me();
    let truth = bench.cloud.truth();
    let other = truth
        .datasets
        .iter()
        .find(|dataset| dataset.owner == me && dataset.id != source.datasets[0] && dataset.sources == [None])
        .unwrap();
    bench.cloud.bind(&other.id, &source.id);
    let rows = [bench.row(&bench.dataset_of(&source)), bench.row(other)];
    bench.select(json!(rows));

    moves_only(&bench, &source).await;
}

#[tokio::test(start_paused = true)]
async fn a_source_pointed_elsewhere_after_it_was_planned_is_not_written() {
    let mut bench = bench();
    let source = bench.gateway_source();
    bench.select_source(&source);
    let first = bench.rotated().await;
    bench.cloud.repoint(&source.id, "adb-999.9.azuredatabricks.net", "0123456789abcdef");
    let before = bench.mark();

    let (status, report) = bench.one(&["reapply"]).await;

    assert_eq!(status, 1, "{report:#}");
    assert!(hints(&report["error"]), "{report:#}");
    assert_eq!(bench.source(&source.id).writes, before.sources[&source.id].writes);
    assert_eq!(bench.source(&source.id).secret_id.as_deref(), first["secret_id"].as_str());
}

/// Two credentials of different principals, of which `select` of the second is the first's.
fn with_second(bench: &mut Bench) {
    let mut second = bench.credential().clone();
    second["service_principal"] = json!("pbi-finance");
    second["store"] = json!("file:store/second.json");
    bench.config["credentials"]["second"] = second;
}

#[tokio::test(start_paused = true)]
async fn a_target_that_two_credentials_select_is_an_error_on_both_before_anything_is_made() {
    let mut bench = bench();
    let source = bench.gateway_source();
    bench.select_source(&source);
    with_second(&mut bench);
    let before = bench.mark();

    let (planned, plan) = bench.json(&["plan"]).await;
    bench.assert_no_file_changed(&before);
    let (rotated, report) = bench.json(&["rotate"]).await;

    assert_eq!((planned, rotated), (1, 1), "{plan:#}\n{report:#}");
    for at in 0..2 {
        let problems = plan["credentials"][at]["problems"].as_array().unwrap();
        let shared: Vec<&Value> = problems.iter().filter(|problem| problem["code"] == "target-shared").collect();
        let error = &report["credentials"][at]["error"];
        assert_eq!((shared.len(), error["code"].as_str()), (1, Some("target-shared")), "{plan:#}\n{report:#}");
        assert!(hints(shared[0]) && hints(error) && error["message"].as_str().unwrap().contains(&source.target_id));
    }
    bench.assert_untouched(&before);
}

#[tokio::test(start_paused = true)]
async fn a_credential_named_alone_is_refused_a_target_that_another_one_keeps() {
    let mut bench = bench();
    let source = bench.gateway_source();
    bench.select_source(&source);
    bench.rotated().await;
    with_second(&mut bench);
    let before = bench.mark();

    let (planned, plan) = bench.one(&["plan", "second"]).await;
    let (rotated, report) = bench.one(&["rotate", "second"]).await;

    assert_eq!((planned, rotated), (1, 1), "{plan:#}\n{report:#}");
    assert!(column(&plan["problems"], "code").contains("target-shared"), "{plan:#}");
    assert_eq!(report["error"]["code"], "target-shared", "{report:#}");
    bench.assert_untouched(&before);
}

#[tokio::test(start_paused = true)]
async fn a_target_may_move_from_one_credential_to_another() {
    let mut bench = bench();
    let (source, other) = (bench.gateway_source(), bench.own_source());
    bench.select_source(&source);
    bench.rotated().await;
    with_second(&mut bench);
    bench.select_source(&other);

    let (status, report) = bench.one(&["rotate", "second"]).await;

    assert_eq!((status, report["outcome"].as_str()), (0, Some("rotated")), "{report:#}");
    assert_eq!(bench.source(&source.id).secret_id.as_deref(), report["secret_id"].as_str());
    bench.pass(days(8));
    let (status, both) = bench.json(&["rotate"]).await;
    assert_eq!(status, 0, "{both:#}");
    let second = both["credentials"].as_array().unwrap().iter().find(|credential| credential["name"] == "second").unwrap();
    assert_eq!(bench.source(&source.id).secret_id.as_deref(), second["secret_id"].as_str(), "{both:#}");
}
