//! `discover`: what is listed, by which way, and that the list it makes selects the same again.

use std::collections::BTreeSet;

use lakekey_sim::{Fleet, Scanner, SourceTruth};
use serde_json::{Value, json};

use crate::arrange::{column, hints};
use crate::support::Bench;

/// A customer whose config selects everything, with decoys of every kind.
fn bench(seed: u64) -> Bench {
    let mut bench = Bench::new(&Fleet::new(12, seed));
    bench.list_all_warehouses();
    bench
}

fn open_scanner(bench: &Bench) {
    bench.cloud.configure(|settings| settings.scanner = Scanner::Open);
}

async fn discover(bench: &Bench, words: &[&str]) -> Value {
    let (status, report) = bench.json(&[&["discover"], words].concat()).await;
    assert_eq!(status, 0, "{report:#}");
    report
}

async fn planned(bench: &Bench) -> BTreeSet<String> {
    let (_, plan) = bench.one(&["plan"]).await;
    column(&plan["targets"], "id")
}

/// Writes the list that `discover` makes, and has the config select by it alone.
async fn feed_back(bench: &mut Bench, words: &[&str]) -> String {
    let ran = bench.run(&[&["discover", "--output", "csv"], words].concat()).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    std::fs::write(bench.folder.path().join("mapping.csv"), &ran.stdout).unwrap();
    let targets = bench.credential()["targets"].as_object_mut().unwrap();
    targets.remove("select");
    targets.insert("mapping".to_owned(), json!("mapping.csv"));
    ran.stdout
}

fn found<'a>(report: &'a Value, source: &SourceTruth) -> &'a Value {
    let rows = report["datasources"].as_array().unwrap();
    rows.iter().find(|row| row["id"] == json!(source.target_id)).unwrap_or_else(|| panic!("{source:?} is not in {report:#}"))
}

fn codes(report: &Value) -> Vec<&str> {
    report["problems"].as_array().unwrap().iter().map(|problem| problem["code"].as_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn every_data_source_in_sight_is_listed_with_what_is_known_of_it_and_nothing_is_changed() {
    let bench = bench(5);
    let before = bench.mark();

    let ran = bench.run(&["discover", "--output", "json"]).await;

    bench.assert_only_read(&before);
    bench.assert_untouched(&before);
    bench.assert_no_file_changed(&before);
    bench.assert_discreet(&ran);
    let asked = bench.requests_since(&before);
    assert!(asked.iter().all(|seen| !seen.service.starts_with("databricks")), "Databricks is not asked: {asked:#?}");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.status, &report["identities"]), (0, &json!([{ "name": "powerbi", "by": "workspaces" }])));
    for source in bench.targets() {
        let row = found(&report, &source);
        assert_eq!((&row["host"], &row["warehouse"]), (&json!(source.host), &json!(source.warehouse)), "{row:#}");
        assert_eq!((&row["selected_by"], &row["left"]), (&json!(["sales-bi"]), &Value::Null), "{row:#}");
        let kind = match source.connectivity.as_str() {
            "OnPremisesGateway" => "gateway",
            "VirtualNetworkGateway" => "vnet",
            _ => "cloud",
        };
        assert_eq!(row["kind"], kind, "{row:#}");
        let datasets = row["datasets"].as_array().unwrap();
        assert_eq!(datasets.len(), source.datasets.len(), "{row:#}");
        assert_eq!(datasets[0]["owner"], json!(bench.dataset(datasets[0]["id"].as_str().unwrap()).owner));
        if kind == "gateway" {
            assert_eq!((&row["name"], &row["credential_kind"]), (&json!(source.name), &json!("Basic")), "{row:#}");
            assert_eq!(row["gateway"]["name"], json!(bench.cloud.gateway_name(&source.gateway)));
        }
    }
    let far = bench.cloud.sources().into_iter().find(|source| source.host.starts_with("adb-999")).unwrap();
    assert_eq!(found(&report, &far)["mapping"], Value::Null, "a host of no credential is listed, but not for the list");
    assert!(
        report["datasources"].as_array().unwrap().iter().all(|row| row["connector"].as_str().unwrap().starts_with("Databricks"))
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_covered_is_named_by_discover_and_by_plan() {
    let bench = bench(5);
    let report = discover(&bench, &[]).await;
    let (_, plan) = bench.one(&["plan"]).await;
    for left in [&report["left"], &plan["left"]] {
        let reason = |prefix: &str| {
            let rows = left.as_array().unwrap();
            let row = rows.iter().find(|row| row["id"].as_str().unwrap().starts_with(prefix));
            row.unwrap_or_else(|| panic!("no {prefix} in {left:#}"))["reason"].as_str().unwrap()
        };
        assert!(reason("dataflow:").contains("dataflow `Staging`"), "{left:#}");
        assert!(reason("report:").contains("paginated report `Invoices`"), "{left:#}");
        assert!(!left.to_string().contains("Orders at a glance"), "a report on a dataset has nothing of its own");
    }
}

#[tokio::test(start_paused = true)]
async fn the_list_fed_back_selects_the_same_set() {
    for (seed, words) in [(5, &[][..]), (6, &["sales-bi"][..]), (7, &["--by", "workspaces"][..])] {
        let mut bench = bench(seed);
        let expected = planned(&bench).await;
        assert!(expected.len() >= 12, "{expected:?}");
        feed_back(&mut bench, words).await;
        let (status, plan) = bench.one(&["plan"]).await;
        assert_eq!((status, &plan["problems"]), (0, &json!([])), "{plan:#}");
        assert_eq!(column(&plan["targets"], "id"), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn names_that_a_spreadsheet_would_run_repeat_or_hold_commas_come_back_as_they_are() {
    let mut bench = bench(5);
    let on_gateways: Vec<SourceTruth> =
        bench.targets().into_iter().filter(|source| source.connectivity == "OnPremisesGateway").collect();
    let names = ["=HYPERLINK(\"x\"), y", "'@cmd", "-1+1", "Sales, \"EU\"\n2"];
    for (source, name) in on_gateways.iter().zip(names.iter().cycle()) {
        bench.cloud.rename_source(&source.id, name);
    }
    // Two of one name at one place of one gateway, and two gateways of one name.
    let (first, second) = (&on_gateways[0], on_gateways[1..].iter().find(|other| other.gateway == on_gateways[0].gateway));
    if let Some(second) = second {
        bench.cloud.rename_source(&second.id, "twin");
        bench.cloud.rename_source(&first.id, "twin");
        bench.cloud.repoint(&second.id, &first.host, &first.warehouse);
    }
    for source in &on_gateways {
        bench.cloud.rename_gateway(&source.gateway, "+GW");
    }
    bench.credential()["service_principal"] = json!({ "application_id": bench.cloud.cast().principal.application_id });
    let expected = planned(&bench).await;

    let list = feed_back(&mut bench, &[]).await;

    let dangerous = |cell: &str| cell.trim_matches('"').starts_with(['=', '+', '-', '@']);
    assert!(!list.lines().flat_map(|line| line.split(',')).any(dangerous), "{list}");
    assert_eq!(planned(&bench).await, expected, "{list}");
}

#[tokio::test(start_paused = true)]
async fn the_scanner_shows_workspaces_without_a_role_and_personal_ones_but_maps_only_what_could_be_a_target() {
    let mut bench = bench(5);
    let expected = planned(&bench).await;
    open_scanner(&bench);
    bench.cloud.add_groups(250);
    let before = bench.mark();

    let report = discover(&bench, &[]).await;

    let asked = bench.requests_since(&before);
    let count = |part: &str| asked.iter().filter(|seen| seen.path.contains(part)).count();
    assert_eq!(report["identities"][0]["by"], "scanner");
    assert_eq!((count("/getInfo"), count("/scanResult/"), count("/modified")), (3, 3, 1), "a hundred at a time");
    assert!(asked.iter().all(|seen| seen.status != 429));
    assert_eq!(codes(&report), ["not-in-the-list"], "{report:#}");
    let rows = report["datasources"].as_array().unwrap();
    let left = |part: &str| rows.iter().find(|row| row["left"].as_str().is_some_and(|left| left.contains(part)));
    let hidden = left("no role in workspace `Hidden HR`").unwrap();
    assert_eq!((&hidden["mapping"], &hidden["datasets"][0]["workspace"]), (&Value::Null, &json!("Hidden HR")));
    assert!(left("personal workspace").is_some(), "{report:#}");
    assert!(report["left"].to_string().contains("only its owner can enter its credentials"), "{report:#}");
    feed_back(&mut bench, &["--by", "scanner"]).await;
    assert_eq!(planned(&bench).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_scanner_that_the_tenant_has_closed_is_told_and_gone_without() {
    for status in [401, 403] {
        let bench = bench(5);
        bench.cloud.configure(|settings| settings.scanner = Scanner::Closed { status });
        let report = discover(&bench, &[]).await;
        assert_eq!(report["identities"][0]["by"], "workspaces");
        assert!(codes(&report).contains(&"scanner-refused"), "{report:#}");
        assert!(report["problems"].as_array().unwrap().iter().all(hints), "{report:#}");

        let (status, failure) = bench.json(&["discover", "--by", "scanner"]).await;
        assert_eq!((status, failure["error"]["code"].as_str()), (1, Some("scanner-refused")), "{failure:#}");
        assert!(failure["error"]["hint"].as_str().unwrap().contains("Admin API settings"), "{failure:#}");

        let before = bench.mark();
        let report = discover(&bench, &["--by", "workspaces"]).await;
        assert!(!codes(&report).contains(&"scanner-refused"), "{report:#}");
        assert!(bench.requests_since(&before).iter().all(|seen| !seen.path.contains("/admin/")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_of_more_workspaces_than_an_hour_may_scan_is_scanned_without_a_refusal() {
    let bench = Bench::new(&Fleet::small(5));
    open_scanner(&bench);
    bench.cloud.add_groups(52_000);
    let (before, begun) = (bench.mark(), bench.clock.now());

    let report = discover(&bench, &["--by", "scanner"]).await;

    let asked = bench.requests_since(&before);
    assert!(asked.iter().all(|seen| seen.status != 429), "the limits are kept, not met");
    assert!(asked.iter().filter(|seen| seen.path.contains("/getInfo")).count() > 500);
    let minutes = bench.clock.now().duration_since(begun).as_mins();
    assert!((60..75).contains(&minutes), "{minutes} min");
    assert_eq!(report["identities"][0]["by"], "scanner");
}

#[tokio::test(start_paused = true)]
async fn a_data_source_that_two_credentials_could_have_goes_to_the_one_that_selects_it() {
    let mut bench = bench(5);
    bench.cloud.add_principal("pbi-other");
    let (mine, free) = (bench.gateway_source(), bench.own_source());
    bench.select_source(&mine);
    let mut other = bench.credential().clone();
    other["service_principal"] = json!("pbi-other");
    other["store"] = json!("file:store/other.json");
    let row = bench.row(&bench.dataset_of(&free));
    other["targets"]["select"] = json!([row]);
    bench.config["credentials"]["other"] = other;

    let report = discover(&bench, &[]).await;

    assert_eq!(found(&report, &mine)["mapping"]["service_principal"], "pbi-sales", "{report:#}");
    assert_eq!(found(&report, &free)["mapping"]["service_principal"], "pbi-other", "{report:#}");
    let told = report["problems"].to_string();
    assert!(told.contains("several credentials could have them"), "{told}");
    let report = discover(&bench, &["other"]).await;
    assert!(!report["problems"].to_string().contains("several credentials"), "one alone has them all: {report:#}");
}

#[tokio::test(start_paused = true)]
async fn the_text_names_how_it_looked_and_the_csv_warns_on_stderr_only() {
    let bench = bench(5);
    let text = bench.run(&["discover"]).await;
    assert!(text.stdout.starts_with("seen as powerbi, workspace by workspace"), "{}", text.stdout);
    assert!(
        text.stdout.contains("not covered:") && text.stdout.contains("warning: the scanner of Power BI is closed"),
        "{}",
        text.stdout
    );
    let csv = bench.run(&["discover", "--output", "csv"]).await;
    assert!(csv.stderr.contains("warning: "), "{}", csv.stderr);
    assert!(csv.stdout.starts_with("gateway_data_source,workspace,warehouse,service_principal,gateway\n"), "{}", csv.stdout);
    let (status, failure) = (bench.run(&["plan", "--output", "csv"]).await.status, ());
    assert_eq!((status, failure), (2, ()));
}
