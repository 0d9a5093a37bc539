//! The mapping list: which rows select what, and everything that can be wrong with it.

use lakekey_sim::{Fleet, SourceTruth};
use serde_json::{Value, json};

use crate::arrange::column;
use crate::support::Bench;

const HEADER: &str = "gateway_data_source,workspace,warehouse,service_principal,gateway";

/// A customer whose config selects by the list alone.
fn bench(rows: &[String]) -> Bench {
    let mut bench = Bench::new(&Fleet::new(12, 5));
    bench.list_all_warehouses();
    bench.own_everything();
    bench.credential()["targets"].as_object_mut().unwrap().remove("select");
    bench.credential()["targets"]["mapping"] = json!("lists/mapping.csv");
    list(&bench, rows);
    bench
}

fn list(bench: &Bench, rows: &[String]) {
    std::fs::create_dir_all(bench.folder.path().join("lists")).unwrap();
    let text = format!("\u{feff}{HEADER}\r\n{}\r\n", rows.join("\r\n"));
    std::fs::write(bench.folder.path().join("lists/mapping.csv"), text).unwrap();
}

fn row(source: &SourceTruth, principal: &str, gateway: &str) -> String {
    let name = source.name.replace('"', "\"\"");
    format!("\"{name}\",https://{},{},{principal},{gateway}", source.host, source.warehouse)
}

fn fresh() -> Bench {
    bench(&[])
}

#[tokio::test(start_paused = true)]
async fn rows_of_this_principal_select_and_rows_of_others_are_skipped() {
    let bench = fresh();
    let (on_gateway, own) = (bench.gateway_source(), bench.own_source());
    let network = bench.target(|source| source.connectivity == "VirtualNetworkGateway");
    bench.cloud.rename_source(&on_gateway.id, "Sales, \"EU\"");
    let on_gateway = bench.source(&on_gateway.id);
    let me = bench.cloud.cast().principal.clone();
    let by_id = SourceTruth { name: own.id.to_uppercase(), ..own.clone() };
    list(
        &bench,
        &[
            row(&on_gateway, &me.display_name, "Contoso-GW"),
            row(&by_id, &me.application_id.to_uppercase(), ""),
            row(&network, &me.display_name, "vnet-gw"),
            "somebody else's,https://adb-9.9.azuredatabricks.net,abc,pbi-finance,".to_owned(),
        ],
    );
    let before = bench.mark();

    let (status, plan) = bench.one(&["plan"]).await;
    let done = bench.rotated().await;

    let expected = [&on_gateway, &own, &network].map(|source| source.target_id.clone()).into();
    assert_eq!((status, column(&plan["targets"], "id")), (0, expected), "{plan:#}");
    bench.assert_wrote_exactly(&before, &[&on_gateway.id, &own.id, &network.id], &done["secret_id"]);
}

#[tokio::test(start_paused = true)]
async fn a_principal_that_the_config_gives_by_id_is_found_by_its_name() {
    let mut bench = fresh();
    let (source, me) = (bench.gateway_source(), bench.cloud.cast().principal.clone());
    bench.credential()["service_principal"] = json!({ "application_id": me.application_id });
    list(&bench, &[row(&source, &me.display_name, "")]);

    let (status, plan) = bench.one(&["plan"]).await;

    assert_eq!((status, column(&plan["targets"], "id")), (0, [source.target_id].into()), "{plan:#}");
}

#[tokio::test(start_paused = true)]
async fn every_bad_row_is_named_at_once_with_its_file_and_line() {
    let mut bench = fresh();
    let source = bench.gateway_source();
    let place = format!("https://{},{}", source.host, source.warehouse);
    list(
        &bench,
        &[
            format!("A,{place},pbi-sales,"),
            format!("A,{place},pbi-sales,"),
            format!("A,{place},pbi-finance,"),
            format!("B,nonsense,{},pbi-sales,", source.warehouse),
            format!("C,{place},,"),
        ],
    );
    bench.credential()["lifetme"] = json!("14d");

    let (status, failure) = bench.json(&["validate"]).await;

    let told: Vec<(&str, &str, u64)> = failure["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| (problem["code"].as_str().unwrap(), problem["file"].as_str().unwrap(), problem["line"].as_u64().unwrap()))
        .collect();
    let of_list: Vec<_> = told.iter().filter(|(_, file, _)| *file == "lists/mapping.csv").map(|told| (told.0, told.2)).collect();
    assert_eq!(status, 2, "{failure:#}");
    assert_eq!(
        of_list,
        [
            ("mapping-duplicate", 3),
            ("mapping-contradiction", 4),
            ("mapping-contradiction", 4),
            ("mapping-row", 5),
            ("mapping-row", 6)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn unknown_names_and_wrong_places_are_all_problems_of_the_plan() {
    let bench = fresh();
    let source = bench.gateway_source();
    let other = bench.cloud.cast().warehouses.concat().into_iter().find(|id| *id != source.warehouse).unwrap();
    list(
        &bench,
        &[
            row(&SourceTruth { name: "No such source".to_owned(), ..source.clone() }, "pbi-sales", ""),
            row(&source, "pbi-sales", "No such gateway"),
            row(&SourceTruth { warehouse: other, ..source.clone() }, "pbi-sales", "Contoso-GW"),
            row(&SourceTruth { host: "adb-9.9.azuredatabricks.net".to_owned(), ..source }, "pbi-sales", "other"),
        ],
    );

    bench.refused("datasource-not-found").await;
    let (_, plan) = bench.one(&["plan"]).await;

    let problems: Vec<(&str, &str)> = plan["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| (problem["code"].as_str().unwrap(), problem["message"].as_str().unwrap()))
        .collect();
    let codes: Vec<&str> = problems.iter().map(|problem| problem.0).collect();
    assert_eq!(codes, ["datasource-not-found", "datasource-not-found", "mapping-place", "mapping-workspace"], "{problems:#?}");
    for (line, (_, message)) in (2..).zip(&problems) {
        assert!(message.starts_with(&format!("lists/mapping.csv:{line}: ")), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_name_lists_its_candidates_and_the_gateway_settles_it() {
    let bench = fresh();
    let source = bench.gateway_source();
    let other = bench.target(|other| other.connectivity == "OnPremisesGateway" && other.gateway != source.gateway);
    bench.cloud.rename_source(&other.id, &source.name);
    bench.cloud.repoint(&other.id, &source.host, &source.warehouse);
    list(&bench, &[row(&source, "pbi-sales", "")]);

    let problem = bench.refused("datasource-ambiguous").await;
    let message = problem["message"].as_str().unwrap();
    assert!(message.contains(&source.id) && message.contains(&other.id) && message.contains(&other.gateway), "{message}");

    list(&bench, &[row(&source, "pbi-sales", "Contoso-GW")]);
    let (status, plan) = bench.one(&["plan"]).await;
    assert_eq!((status, column(&plan["targets"], "id")), (0, [source.target_id].into()), "{plan:#}");
}

#[tokio::test(start_paused = true)]
async fn a_list_without_a_row_for_the_principal_or_without_a_file_is_an_error() {
    let bench = fresh();
    list(&bench, &[row(&bench.gateway_source(), "pbi-finance", "")]);
    let problem = bench.refused("mapping-selects-nothing").await;
    assert!(problem["hint"].as_str().unwrap().contains("pbi-finance"), "{problem}");

    std::fs::remove_file(bench.folder.path().join("lists/mapping.csv")).unwrap();
    let (status, failure) = bench.json(&["validate"]).await;
    let problem: &Value = &failure["problems"][0];
    assert_eq!((status, problem["code"].as_str()), (2, Some("mapping-unreadable")), "{failure:#}");
}
