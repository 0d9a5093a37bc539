//! Data sources that are selected after a rotation: the next run sends them the current secret, without a new one.

use lakekey_sim::Fleet;
use serde_json::{Value, json};

use crate::support::{Bench, days, hours};

#[tokio::test(start_paused = true)]
async fn a_data_source_that_appears_gets_the_current_secret_without_a_rotation() {
    let mut bench = Bench::new(&Fleet { decoys: false, ..Fleet::new(4, 9) });
    bench.list_all_warehouses();
    bench.own_everything();
    let (first, later) = (bench.own_source(), bench.gateway_source());
    let row = |bench: &Bench, source: &lakekey_sim::SourceTruth| bench.row(&bench.dataset_of(source));
    bench.select(json!([row(&bench, &first)]));
    let current = bench.rotated().await["secret_id"].clone();
    bench.pass(days(2));
    bench.one(&["rotate"]).await;
    bench.select(json!([row(&bench, &first), row(&bench, &later)]));
    let before = bench.mark();

    let (status, joined) = bench.one(&["rotate"]).await;

    assert_eq!((status, &joined["outcome"], &joined["secret_id"]), (0, &json!("reapplied"), &current), "{joined:#}");
    let ids: Vec<&Value> = joined["targets"].as_array().unwrap().iter().map(|target| &target["id"]).collect();
    assert_eq!(ids, [&json!(later.target_id)]);
    assert_eq!(bench.source(&later.id).secret_id.as_deref(), current.as_str());
    assert_eq!(bench.source(&first.id).writes, before.sources[&first.id].writes, "the others are left alone");
    bench.pass(hours(1));
    assert_eq!(bench.one(&["rotate"]).await.1["outcome"], "unchanged");
}

#[tokio::test(start_paused = true)]
async fn a_data_source_that_vanished_keeps_what_it_may_hold_alive_until_it_is_forgotten() {
    let mut bench = Bench::new(&Fleet { decoys: false, ..Fleet::new(4, 9) });
    bench.list_all_warehouses();
    bench.own_everything();
    let (kept, gone) = (bench.own_source(), bench.gateway_source());
    let row = |bench: &Bench, source: &lakekey_sim::SourceTruth| bench.row(&bench.dataset_of(source));
    bench.select(json!([row(&bench, &kept), row(&bench, &gone)]));
    let first = bench.rotated().await["secret_id"].as_str().unwrap().to_owned();
    bench.select(json!([row(&bench, &kept)]));
    bench.pass(days(7));
    bench.rotated().await;
    bench.pass(days(3));
    bench.one(&["rotate"]).await;
    assert!(bench.living().contains(&first), "it may still hold it");
    let forget = format!("`lakekey forget sales-bi {}`", gone.target_id);
    let (_, now) = bench.one(&["status"]).await;
    assert!(now["reason"].as_str().unwrap().contains(&forget), "{now:#}");
    let (_, plan) = bench.one(&["plan"]).await;
    let left = plan["left"].as_array().unwrap().iter().find(|left| left["id"] == json!(gone.target_id)).unwrap();
    assert!(left["reason"].as_str().unwrap().contains(&forget), "{plan:#}");

    let (status, _) = bench.json(&["forget", "sales-bi", &gone.target_id]).await;
    assert_eq!(status, 0);
    let (_, done) = bench.one(&["rotate"]).await;
    assert_eq!((&done["retired"], &done["phase"]), (&json!([first]), &json!("idle")), "{done:#}");
    let (_, now) = bench.one(&["status"]).await;
    assert!(!now["reason"].as_str().unwrap().contains("forget"), "{now:#}");
}
