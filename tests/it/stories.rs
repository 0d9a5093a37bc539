//! Whole rotations, as a user sees them.

use lakekey_sim::Fleet;
use serde_json::json;

use crate::arrange::column;
use crate::support::{Bench, days, hours};

#[tokio::test(start_paused = true)]
async fn two_rotations_move_every_target_and_retire_the_first_generation_after_grace() {
    let bench = Bench::new(&Fleet::medium(1));

    let (status, first) = bench.one(&["rotate"]).await;
    assert_eq!((status, first["outcome"].as_str()), (0, Some("rotated")), "{first:#}");
    let generation_1 = first["secret_id"].as_str().unwrap().to_owned();
    bench.assert_all_hold(&generation_1);

    let (status, again) = bench.one(&["rotate"]).await;
    assert_eq!(
        (status, again["outcome"].as_str(), again["phase"].as_str()),
        (0, Some("unchanged"), Some("draining")),
        "{again:#}"
    );

    bench.pass(days(7));
    let (status, second) = bench.one(&["rotate"]).await;
    assert_eq!(
        (status, second["outcome"].as_str(), second["phase"].as_str()),
        (0, Some("rotated"), Some("draining")),
        "{second:#}"
    );
    let generation_2 = second["secret_id"].as_str().unwrap().to_owned();
    bench.assert_all_hold(&generation_2);
    assert!(bench.living().contains(&generation_1), "the first generation lives until grace has passed");

    bench.pass(hours(23));
    bench.one(&["rotate"]).await;
    assert!(bench.living().contains(&generation_1), "grace has not passed");

    bench.pass(hours(2));
    let (status, third) = bench.one(&["rotate"]).await;
    assert_eq!((status, third["retired"][0].as_str()), (0, Some(generation_1.as_str())), "{third:#}");
    assert_eq!(third["phase"].as_str(), Some("idle"));
    assert!(!bench.living().contains(&generation_1));
    bench.assert_all_hold(&generation_2);
    assert_eq!(bench.cloud.leaks(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_medium_fleet_of_every_kind_moves_with_rotate_wave_by_wave() {
    let mut bench = Bench::new(&Fleet::medium(2));
    bench.list_all_warehouses();
    let mut rows = vec![json!({ "all": true })];
    let connections = bench.targets().into_iter().filter(|source| source.connectivity == "ShareableCloud");
    rows.extend(connections.map(|source| json!({ "connection": source.id })));
    bench.select(json!(rows));
    bench.credential()["targets"]["waves"] = json!([1, "10%", "100%"]);

    let (status, plan) = bench.one(&["plan"]).await;
    assert_eq!((status, &plan["problems"]), (0, &json!([])), "{plan:#}");
    assert_eq!(column(&plan["targets"], "kind"), ["cloud", "connection", "gateway", "vnet"].map(str::to_owned).into());
    assert_eq!(plan["targets"].as_array().unwrap().len(), bench.targets().len());
    for (wave, expected) in [(1, 1), (2, 3), (3, 36)] {
        let in_wave = plan["targets"].as_array().unwrap().iter().filter(|target| target["wave"] == json!(wave)).count();
        assert_eq!(in_wave, expected, "wave {wave}");
    }

    for days_on in [0, 7, 14] {
        bench.pass(days(if days_on == 0 { 0 } else { 7 }));
        let done = bench.rotated().await;
        assert!(done["targets"].as_array().unwrap().iter().all(|target| target["outcome"] == "updated"), "{done:#}");
        bench.assert_all_hold(done["secret_id"].as_str().unwrap());
    }
}
