//! Waves: canaries first, the others when those are confirmed, and the way back when a canary fails.

use std::collections::BTreeSet;

use lakekey_sim::{Action, Fleet, Rule, SourceTruth};
use serde_json::{Value, json};

use crate::crashes::assert_no_leak;
use crate::fuse::{Cut, Fuse};
use crate::support::{Bench, days, hours, minutes};

/// Targets that need no take-over and are written through Power BI, with generation 1 a week ago, to be moved in waves.
async fn fleet(waves: Value) -> (Bench, String) {
    let mut bench = Bench::new(&Fleet { decoys: false, ..Fleet::new(6, 9) });
    for source in bench.targets().into_iter().filter(|source| source.connectivity == "VirtualNetworkGateway") {
        bench.cloud.delete_source(&source.id);
    }
    bench.list_all_warehouses();
    bench.own_everything();
    let first = bench.rotated().await["secret_id"].as_str().unwrap().to_owned();
    bench.credential()["targets"]["waves"] = waves;
    bench.pass(days(7));
    (bench, first)
}

fn refuses(source: &SourceTruth) -> Rule {
    let body = json!({ "error": { "code": "DM_GWPipeline_Gateway_InvalidConnectionCredentials" } }).to_string();
    let refusal = Action::Status { status: 400, retry_after: None, body: Some(body), after_effect: false };
    Rule::always(refusal).service("powerbi").method("PATCH").path(&source.id)
}

/// The targets of each wave, as `plan` says.
async fn planned(bench: &Bench) -> Vec<Vec<SourceTruth>> {
    let (_, plan) = bench.one(&["plan"]).await;
    let mut waves: Vec<Vec<SourceTruth>> = Vec::new();
    for target in plan["targets"].as_array().unwrap() {
        let wave = usize::try_from(target["wave"].as_u64().unwrap()).unwrap();
        waves.resize_with(waves.len().max(wave), Vec::new);
        let source = bench.targets().into_iter().find(|source| source.target_id == target["id"]).unwrap();
        waves[wave - 1].push(source);
    }
    waves
}

/// Data sources in the order of their writes.
fn written(bench: &Bench, since: usize) -> Vec<String> {
    let requests = bench.cloud.requests().split_off(since);
    let writes = requests.into_iter().filter(|seen| seen.method == "PATCH" && seen.path.contains("/datasources/"));
    writes.map(|seen| seen.path.rsplit('/').next().unwrap().to_owned()).collect()
}

fn holds(bench: &Bench, source: &SourceTruth) -> Option<String> {
    bench.cloud.sources().into_iter().find(|now| now.id == source.id).unwrap().secret_id
}

#[tokio::test(start_paused = true)]
async fn targets_move_in_the_waves_that_plan_shows() {
    let (bench, _) = fleet(json!([1, "50%", "100%"])).await;
    let waves = planned(&bench).await;
    let total = bench.targets().len();
    let half = total.div_ceil(2);
    assert_eq!(waves.iter().map(Vec::len).collect::<Vec<_>>(), [1, half - 1, total - half]);
    let again: Vec<Vec<String>> =
        planned(&bench).await.iter().map(|wave| wave.iter().map(|source| source.id.clone()).collect()).collect();
    let ids: Vec<Vec<String>> = waves.iter().map(|wave| wave.iter().map(|source| source.id.clone()).collect()).collect();
    assert_eq!(ids, again);

    let since = bench.cloud.requests().len();
    let rotated = bench.rotated().await;

    let written = written(&bench, since);
    let mut from = 0;
    for wave in &ids {
        let moved: BTreeSet<&String> = written[from..from + wave.len()].iter().collect();
        assert_eq!(moved, wave.iter().collect(), "{written:?}");
        from += wave.len();
    }
    bench.assert_all_hold(rotated["secret_id"].as_str().unwrap());
    let (_, history) = bench.one(&["history"]).await;
    let started = history["entries"].as_array().unwrap().iter().filter(|entry| entry["event"] == "wave-started");
    assert_eq!(started.filter(|entry| entry["generation"] == 2).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_failed_canary_goes_back_says_why_and_its_secret_drains() {
    let (bench, first) = fleet(json!([2, "100%"])).await;
    let waves = planned(&bench).await;
    let (failing, other) = (&waves[0][0], &waves[0][1]);
    bench.cloud.set_faults(vec![refuses(failing)]);

    let (status, failed) = bench.one(&["rotate"]).await;

    assert_eq!((status, &failed["outcome"], &failed["phase"]), (3, &json!("incomplete"), &json!("quarantined")), "{failed:#}");
    assert_eq!(failed["error"]["code"], "canary-failed", "{failed:#}");
    assert!(failed["error"]["message"].as_str().unwrap().contains(&failing.target_id), "{failed:#}");
    let hint = failed["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("lakekey rotate sales-bi --force") && hint.contains("keeps the secret that it holds"), "{failed:#}");
    assert_eq!(failed["generation"], 1, "{failed:#}");
    bench.assert_all_hold(&first);
    assert_eq!(bench.cloud.sources().iter().find(|now| now.id == other.id).unwrap().writes, other.writes + 2, "there and back");
    for source in &waves[1] {
        assert_eq!(bench.cloud.sources().iter().find(|now| now.id == source.id).unwrap().writes, source.writes, "{source:?}");
    }

    // The timer waits for a person, who has seen why.
    let (status, now) = bench.one(&["status"]).await;
    assert_eq!((status, &now["phase"], &now["error"]["code"]), (3, &json!("quarantined"), &json!("canary-failed")), "{now:#}");
    assert_eq!(now["error"]["hint"], hint, "whoever looks reads the same");
    bench.cloud.set_faults(Vec::new());
    bench.pass(hours(1));
    assert_eq!(bench.one(&["rotate"]).await.0, 3);
    bench.assert_all_hold(&first);

    let (status, mended) = bench.one(&["rotate", "--force"]).await;
    assert_eq!((status, &mended["outcome"], &mended["generation"]), (0, &json!("rotated"), &json!(3)), "{mended:#}");
    let third = mended["secret_id"].as_str().unwrap();
    bench.assert_all_hold(third);
    bench.pass(hours(25));
    let (_, done) = bench.one(&["rotate"]).await;
    assert_eq!((&done["phase"], done["retired"].as_array().unwrap().len()), (&json!("idle"), 2), "{done:#}");
    assert!(holds(&bench, other).as_deref() == Some(third) && bench.living().contains(&third.to_owned()));
    assert_no_leak(&bench, "after a failed canary");
}

#[tokio::test(start_paused = true)]
async fn a_parked_target_is_never_the_canary() {
    let (mut bench, _) = fleet(json!(["100%"])).await;
    bench.credential()["targets"]["waves"] = json!([1, "100%"]);
    let canary = planned(&bench).await[0][0].clone();
    bench.credential()["targets"]["waves"] = json!(["100%"]);
    bench.cloud.set_faults(vec![refuses(&canary)]);
    for _ in 0..27 {
        bench.one(&["rotate"]).await;
        bench.pass(hours(1));
    }
    assert_eq!(bench.one(&["status"]).await.1["targets"]["parked"], 1);
    bench.credential()["targets"]["waves"] = json!([1, "100%"]);
    let waves = planned(&bench).await;
    assert!(waves[0][0].id != canary.id && waves[1].iter().any(|source| source.id == canary.id), "{waves:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_down_fails_no_canary() {
    let (bench, first) = fleet(json!([1, "100%"])).await;
    let down = Action::Status { status: 503, retry_after: None, body: None, after_effect: false };
    bench.cloud.set_faults(vec![Rule::always(down).service("powerbi").method("PATCH")]);
    let (status, held_up) = bench.one(&["rotate"]).await;
    assert_eq!((status, &held_up["phase"], &held_up["error"]["code"]), (3, &json!("applying"), &json!("waiting")), "{held_up:#}");
    assert_ne!(held_up["secret_id"], json!(first));
    bench.assert_no_outage();
    bench.cloud.set_faults(Vec::new());
    bench.pass(minutes(20));
    let (status, done) = bench.one(&["rotate"]).await;
    assert_eq!((status, &done["outcome"]), (0, &json!("rotated")), "{done:#}");
}

/// A rotation whose canary fails, cut off once, and the next runs.
async fn turned_back(cut: Cut) -> (usize, bool) {
    let (bench, first) = fleet(json!([2, "100%"])).await;
    let waves = planned(&bench).await;
    bench.cloud.set_faults(vec![refuses(&waves[0][0])]);
    let fuse = Fuse::new(&bench.cloud, cut);
    let mut last = Value::Null;
    for _ in 0..6 {
        if let Some(ran) = fuse.burn(bench.run_over(fuse.clone(), &["rotate", "--output", "json"])).await {
            assert_eq!(ran.status, 3, "{cut:?}: {ran:?}");
            last = serde_json::from_str(&ran.stdout).unwrap();
            if last["credentials"][0]["phase"] == "quarantined" {
                break;
            }
            bench.pass(minutes(6));
        }
    }
    assert_eq!(last["credentials"][0]["error"]["code"], "canary-failed", "{cut:?}: {last:#}");
    assert_eq!(fuse.outages(), Vec::<String>::new(), "{cut:?}");
    for source in bench.targets() {
        assert_eq!(source.secret_id.as_deref(), Some(first.as_str()), "{cut:?} {source:?}");
    }
    bench.cloud.set_faults(Vec::new());
    bench.pass(hours(1));
    let (status, rotated) = bench.one(&["rotate", "--force"]).await;
    assert_eq!(status, 0, "{cut:?}: {rotated:#}");
    let current = rotated["secret_id"].as_str().unwrap().to_owned();
    bench.assert_all_hold(&current);
    bench.pass(hours(25));
    let (_, done) = bench.one(&["rotate"]).await;
    assert_eq!(done["phase"], "idle", "{cut:?}: {done:#}");
    assert!(!bench.living().contains(&first) && bench.living().contains(&current), "{cut:?}");
    let (_, history) = bench.one(&["history", "--verify"]).await;
    assert_eq!(history["verified"], true, "{cut:?}");
    (fuse.requests(), fuse.spent())
}

#[tokio::test(start_paused = true)]
async fn a_run_that_dies_while_a_canary_fails_is_resumed_and_goes_back() {
    let (whole, _) = turned_back(Cut::Never).await;
    let mut crashes = 0;
    for request in (0..whole).step_by(9) {
        crashes += usize::from(turned_back(Cut::BeforeAnswer(request)).await.1);
        crashes += usize::from(turned_back(Cut::AfterAnswer(request)).await.1);
    }
    assert!(crashes > 8, "{crashes} of {whole} requests");
}
