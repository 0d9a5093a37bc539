//! Refreshing datasets: after their data sources have moved, once, and what becomes of targets whose dataset is refreshing.

use std::time::Duration;

use lakekey_sim::{Action, DatasetTruth, Fleet, Rule, Settings};
use serde_json::{Value, json};

use crate::fuse::{Cut, Fuse};
use crate::support::{Bench, days, hours, minutes};

/// One cloud source of a dataset of the identity's own, selected by that dataset; a week after its first rotation.
async fn bench(refresh: &str, settings: Settings) -> (Bench, DatasetTruth) {
    let mut bench = Bench::with(&Fleet { decoys: false, ..Fleet::new(3, 9) }, settings);
    bench.list_all_warehouses();
    bench.own_everything();
    let dataset = bench.dataset_of(&bench.own_source());
    bench.select(json!([{ "workspace": dataset.group, "dataset": dataset.id, "refresh": "none" }]));
    bench.rotated().await;
    bench.select(json!([{ "workspace": dataset.group, "dataset": dataset.id, "refresh": refresh }]));
    bench.pass(days(7));
    (bench, dataset)
}

fn refreshes(bench: &Bench, dataset: &DatasetTruth) -> Vec<String> {
    bench.dataset(&dataset.id).refreshes
}

fn outcome(answer: &Value) -> (&Value, &Value) {
    (&answer["targets"][0]["outcome"], &answer["targets"][0]["refresh"])
}

#[tokio::test(start_paused = true)]
async fn a_refresh_is_waited_for_on_any_capacity() {
    for dedicated_capacity in [true, false] {
        let settings = Settings { dedicated_capacity, refresh_time: minutes(4), ..Settings::default() };
        let (bench, dataset) = bench("wait", settings).await;
        let rotated = bench.rotated().await;
        assert_eq!(outcome(&rotated), (&json!("updated"), &json!("completed")), "{rotated:#}");
        assert_eq!(refreshes(&bench, &dataset), ["Completed"]);
    }
}

#[tokio::test(start_paused = true)]
async fn plan_names_the_refreshes_that_a_rotation_then_makes() {
    for (refresh, how) in [("none", None), ("start", Some("its end is not waited for")), ("wait", Some("its end is waited for"))]
    {
        let (bench, dataset) = bench(refresh, Settings { refresh_time: minutes(1), ..Settings::default() }).await;
        let before = bench.mark();

        let (status, plan) = bench.one(&["plan"]).await;

        assert_eq!(status, 0, "{plan:#}");
        bench.assert_untouched(&before);
        let steps = plan["steps"].as_array().unwrap();
        let at = |action: &str| steps.iter().position(|step| step["action"] == action);
        let step = steps.iter().find(|step| step["action"] == "refresh");
        let expected = how.map(|how| json!({ "action": "refresh", "subject": dataset.id, "detail": how }));
        assert_eq!(step, expected.as_ref(), "{plan:#}");
        assert!(at("apply") < at("refresh").or_else(|| at("promote")) && at("refresh") < at("promote"), "{plan:#}");

        let rotated = bench.rotated().await;
        assert_eq!(refreshes(&bench, &dataset).len(), usize::from(how.is_some()), "{rotated:#}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_is_started_and_not_waited_for() {
    let (bench, dataset) = bench("start", Settings { refresh_time: hours(1), ..Settings::default() }).await;
    let rotated = bench.rotated().await;
    assert_eq!(outcome(&rotated), (&json!("updated"), &json!("started")), "{rotated:#}");
    assert_eq!(refreshes(&bench, &dataset), ["Unknown"]);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_never_ends_is_reported_and_not_waited_for_for_ever() {
    let (bench, dataset) = bench("wait", Settings { refresh_time: days(30), ..Settings::default() }).await;
    let (status, first) = bench.one(&["rotate"]).await;
    assert_eq!((status, &first["error"]["code"], &first["phase"]), (3, &json!("waiting"), &json!("applying")), "{first:#}");
    assert_eq!(outcome(&first), (&json!("updated"), &json!("started")), "{first:#}");
    for _ in 0..4 {
        bench.pass(hours(1));
        assert_eq!(bench.one(&["rotate"]).await.0, 3);
    }
    bench.pass(hours(2));
    let (status, last) = bench.one(&["rotate"]).await;
    assert_eq!((status, &last["outcome"]), (0, &json!("rotated")), "{last:#}");
    assert_eq!(outcome(&last), (&json!("updated"), &json!("failed")), "{last:#}");
    assert_eq!(refreshes(&bench, &dataset).len(), 1, "no second one was started");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_cannot_be_started_is_told_and_does_not_count() {
    let (bench, dataset) = bench("wait", Settings::default()).await;
    let refusal = Action::Status { status: 400, retry_after: None, body: None, after_effect: false };
    bench.cloud.set_faults(vec![Rule::always(refusal).service("powerbi").method("POST").path("/refreshes")]);
    let rotated = bench.rotated().await;
    assert_eq!(outcome(&rotated), (&json!("updated"), &json!("failed")), "{rotated:#}");
    assert!(refreshes(&bench, &dataset).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_cannot_sign_in_counts_against_the_target() {
    let (bench, dataset) = bench("wait", Settings { refresh_time: minutes(1), ..Settings::default() }).await;
    // Another source of the same dataset holds a credential that works no more.
    let source = bench.own_source();
    let principal = bench.cloud.cast().principal.application_id.clone();
    let level = bench.cloud.truth().warehouses.iter().find(|found| found.id == source.warehouse).unwrap().permissions.clone();
    assert!(!level.is_empty());
    let late = Rule::always(Action::Latency { ms: 1 }).service("powerbi").method("POST").path("/refreshes");
    bench.cloud.set_faults(vec![late]);
    let fuse = Fuse::new(&bench.cloud, Cut::Never);
    let run = bench.run_over(fuse.clone(), &["rotate", "--output", "json"]);
    // As soon as a refresh runs, the principal may not use the warehouse any more.
    let spoil = async {
        while refreshes(&bench, &dataset).is_empty() {
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        bench.cloud.set_warehouse_level(&source.warehouse, &principal, None);
    };
    let (ran, ()) = tokio::join!(run, spoil);
    assert_eq!(ran.status, 3, "{ran:?}");
    let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
    let answer = &answer["credentials"][0];
    assert_eq!(outcome(answer).0, "failed", "{answer:#}");
    assert!(
        ["refresh-refused", "credential-refused"].contains(&answer["targets"][0]["error"]["code"].as_str().unwrap()),
        "{answer:#}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_dataset_that_is_refreshing_is_left_until_it_has_finished() {
    let (bench, dataset) = bench("none", Settings { refresh_time: minutes(40), ..Settings::default() }).await;
    let (status, again) = bench.one(&["reapply", "--refresh"]).await;
    assert_eq!((status, outcome(&again).1), (0, &json!("started")), "{again:#}");
    let source = bench.own_source();

    let (status, left) = bench.one(&["rotate"]).await;

    assert_eq!((status, &left["phase"], outcome(&left).0), (3, &json!("applying"), &json!("pending")), "{left:#}");
    assert_eq!(left["targets"][0]["error"]["code"], "model-refreshing", "{left:#}");
    assert_eq!(bench.source(&source.id).writes, source.writes);
    bench.pass(minutes(41));
    let (status, moved) = bench.one(&["rotate"]).await;
    assert_eq!((status, &moved["outcome"]), (0, &json!("rotated")), "{moved:#}");
    assert_eq!(refreshes(&bench, &dataset), ["Completed"], "both secrets were good for it");
}

#[tokio::test(start_paused = true)]
async fn a_dataset_that_refreshes_for_hours_is_written_after_one() {
    let (bench, _) = bench("none", Settings { refresh_time: hours(20), ..Settings::default() }).await;
    bench.one(&["reapply", "--refresh"]).await;
    for _ in 0..8 {
        let (status, answer) = bench.one(&["rotate"]).await;
        if status == 0 {
            assert_eq!(answer["outcome"], "rotated", "{answer:#}");
            return;
        }
        bench.pass(minutes(10));
    }
    panic!("it was left for longer than an hour");
}

/// A rotation with a refresh that is waited for, cut off once; how many refreshes there were.
async fn cut_off(cut: Cut) -> (usize, bool, usize) {
    let (bench, dataset) = bench("wait", Settings { refresh_time: minutes(3), ..Settings::default() }).await;
    let fuse = Fuse::new(&bench.cloud, cut);
    for _ in 0..5 {
        match fuse.burn(bench.run_over(fuse.clone(), &["rotate", "--output", "json"])).await {
            Some(ran) if ran.status == 0 => {
                let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
                // A run that only promoted has nothing to tell of targets.
                let told = outcome(&answer["credentials"][0]).1;
                assert!(*told == "completed" || answer["credentials"][0]["targets"] == json!([]), "{cut:?} {answer:#}");
                return (fuse.requests(), fuse.spent(), refreshes(&bench, &dataset).len());
            }
            Some(ran) => {
                assert_eq!(ran.status, 3, "{cut:?} {ran:?}");
                bench.pass(minutes(6));
            }
            None => {}
        }
    }
    panic!("{cut:?}: it did not finish");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_dies_finds_the_refresh_that_was_started() {
    let (whole, _, once) = cut_off(Cut::Never).await;
    assert_eq!(once, 1);
    let mut crashes = 0;
    for request in (whole / 2..whole).step_by(2) {
        for cut in [Cut::BeforeAnswer(request), Cut::AfterAnswer(request)] {
            let (_, crashed, count) = cut_off(cut).await;
            crashes += usize::from(crashed);
            assert_eq!(count, 1, "{cut:?}");
        }
    }
    assert!(crashes > 6, "{crashes}");
}
