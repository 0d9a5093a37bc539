//! Targets that do not move, and waiting: nothing blocks the others, and no secret goes before its time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lakekey_sim::{Action, Fleet, Rule, SourceTruth};
use serde_json::{Value, json};

use crate::support::{Bench, days, hours, minutes};

/// A customer after a first rotation, and one of its targets, on a gateway.
async fn rotated_once() -> (Bench, String, SourceTruth) {
    let bench = Bench::new(&Fleet::new(3, 9));
    let (status, first) = bench.one(&["rotate"]).await;
    assert_eq!(status, 0, "{first:#}");
    let stuck = bench.targets().into_iter().find(|source| source.connectivity == "OnPremisesGateway").unwrap();
    (bench, first["secret_id"].as_str().unwrap().to_owned(), stuck)
}

fn refuses(source: &SourceTruth) -> Rule {
    let body = json!({ "error": { "code": "DM_GWPipeline_Gateway_InvalidConnectionCredentials" } }).to_string();
    let refusal = Action::Status { status: 400, retry_after: None, body: Some(body), after_effect: false };
    Rule::always(refusal).service("powerbi").method("PATCH").path(&source.id)
}

fn target<'a>(answer: &'a Value, id: &str) -> &'a Value {
    let targets = answer["targets"].as_array().unwrap();
    targets.iter().find(|target| target["id"] == id).unwrap_or_else(|| panic!("{id} is not in {answer:#}"))
}

fn holds(bench: &Bench, id: &str) -> Option<String> {
    bench.cloud.sources().into_iter().find(|source| source.id == id).and_then(|source| source.secret_id)
}

/// Rotates each hour for so many hours; the last answer with its status.
async fn hourly(bench: &Bench, count: u32) -> (u8, Value) {
    let mut last = (0, Value::Null);
    for _ in 0..count {
        bench.pass(hours(1));
        last = bench.one(&["rotate"]).await;
        bench.assert_no_outage();
    }
    last
}

/// Rotates with a stuck target until that is parked; the generation that the others have.
async fn parked(bench: &Bench, stuck: &SourceTruth) -> String {
    bench.cloud.set_faults(vec![refuses(stuck)]);
    bench.pass(days(7));
    let (status, first) = bench.one(&["rotate"]).await;
    assert_eq!(
        (status, first["outcome"].as_str(), first["phase"].as_str()),
        (3, Some("incomplete"), Some("applying")),
        "{first:#}"
    );
    let failed = target(&first, &stuck.target_id);
    assert_eq!((failed["outcome"].as_str(), failed["attempts"].as_u64()), (Some("failed"), Some(4)), "{first:#}");
    assert_eq!(failed["error"]["code"], "credential-refused", "{first:#}");
    let incoming = first["secret_id"].as_str().unwrap().to_owned();
    for other in bench.targets().into_iter().filter(|source| source.id != stuck.id) {
        assert_eq!(other.secret_id.as_ref(), Some(&incoming), "{other:?}");
        assert_eq!(target(&first, &other.target_id)["outcome"], "updated");
    }

    let (status, day) = hourly(bench, 23).await;
    assert_eq!((status, day["phase"].as_str()), (3, Some("applying")), "before a day is over: {day:#}");
    let (status, day) = hourly(bench, 2).await;
    assert_eq!((status, day["phase"].as_str()), (3, Some("draining")), "{day:#}");
    assert_eq!(target(&day, &stuck.target_id)["outcome"], "parked");
    assert_eq!(day["secret_id"], incoming.as_str());
    incoming
}

#[tokio::test(start_paused = true)]
async fn a_parked_target_keeps_its_secret_alive_and_is_moved_by_the_next_rotation() {
    let (bench, generation_1, stuck) = rotated_once().await;
    let generation_2 = parked(&bench, &stuck).await;
    let (status, later) = hourly(&bench, 30).await;
    assert_eq!((status, later["phase"].as_str()), (3, Some("draining")), "{later:#}");
    assert!(bench.living().contains(&generation_1), "a target still holds it");
    assert_eq!(holds(&bench, &stuck.id).as_ref(), Some(&generation_1));

    bench.cloud.set_faults(Vec::new());
    bench.pass(days(5));
    let (status, next) = bench.one(&["rotate"]).await;
    assert_eq!((status, next["outcome"].as_str()), (0, Some("rotated")), "{next:#}");
    assert_eq!(target(&next, &stuck.target_id)["outcome"], "updated");
    let generation_3 = next["secret_id"].as_str().unwrap().to_owned();
    bench.assert_all_hold(&generation_3);

    let (status, done) = hourly(&bench, 25).await;
    assert_eq!((status, done["phase"].as_str()), (0, Some("idle")), "{done:#}");
    let living = bench.living();
    assert!(!living.contains(&generation_1) && !living.contains(&generation_2) && living.contains(&generation_3), "{living:?}");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_keeps_failing_is_warned_of_louder_as_its_old_secret_nears_expiry() {
    let (bench, generation_1, stuck) = rotated_once().await;
    let secrets = bench.cloud.secrets(&bench.cloud.cast().principal.application_id);
    let expires = secrets.into_iter().find(|secret| secret.id == generation_1).unwrap().expires;
    parked(&bench, &stuck).await;

    for (left, word) in [(100, "INFO"), (70, "warning: "), (23, "urgent: ")] {
        let wait = expires.duration_since(bench.clock.now()) - SignedDuration::from_hours(left);
        bench.pass(Duration::try_from(wait).unwrap());
        // Whether the run has something to tell of, or nothing to do, or cannot even begin.
        for service in [None, Some("databricks")] {
            bench.cloud.set_faults(vec![refuses(&stuck)]);
            if let Some(service) = service {
                bench.cloud.set_faults(vec![Rule::always(Action::Refuse).service(service)]);
            }
            let ran = bench.run(&["rotate", "-v"]).await;
            let said = ran.stderr.lines().find(|line| line.contains(word) && line.contains(&stuck.target_id));
            assert!(said.is_some_and(|line| line.contains("holds a secret that expires")), "{left} h: {ran:?}");
            assert_ne!(ran.status, 0, "{ran:?}");
        }
        let (_, now) = bench.one(&["status"]).await;
        let reason = now["reason"].as_str().unwrap();
        assert!(reason.contains(&stuck.target_id) && (word == "INFO" || reason.contains(word)), "{now:#}");
    }
    assert!(bench.living().contains(&generation_1), "it is never deleted under a target");
    assert_eq!(holds(&bench, &stuck.id), Some(generation_1));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_never_moves_blocks_no_rotation_and_its_secret_goes_when_it_has_expired() {
    let (mut bench, generation_1, stuck) = rotated_once().await;
    bench.config["credentials"]["sales-bi"]["rotate_every"] = json!("5d");
    let expires = bench.cloud.secrets(&bench.cloud.cast().principal.application_id);
    let expires = expires.into_iter().find(|secret| secret.id == generation_1).unwrap().expires;
    let generation_2 = parked(&bench, &stuck).await;

    while bench.cloud.now() < expires - SignedDuration::from_hours(7) {
        bench.pass(hours(6));
        let (status, answer) = bench.one(&["rotate"]).await;
        assert_eq!(status, 3, "{answer:#}");
        bench.assert_no_outage();
    }
    let generation_3 = bench.one(&["status"]).await.1["secret_id"].as_str().unwrap().to_owned();
    assert_ne!(generation_3, generation_2, "another rotation was due meanwhile, and was not blocked");
    assert!(bench.living().contains(&generation_1), "it has not expired yet");

    bench.pass(hours(9));
    let (_, after) = bench.one(&["rotate"]).await;
    assert_eq!(after["retired"], json!([generation_1]), "{after:#}");
    for other in bench.targets().into_iter().filter(|source| source.id != stuck.id) {
        assert_eq!((other.secret_id.as_ref(), other.connects), (Some(&generation_3), true), "{other:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_was_mended_within_the_day_is_moved_and_nothing_is_parked() {
    let (bench, generation_1, stuck) = rotated_once().await;
    bench.cloud.set_faults(vec![refuses(&stuck)]);
    bench.pass(days(7));
    assert_eq!(bench.one(&["rotate"]).await.0, 3);
    assert_eq!(hourly(&bench, 5).await.0, 3);

    bench.cloud.set_faults(Vec::new());
    let (status, mended) = hourly(&bench, 1).await;
    assert_eq!((status, mended["outcome"].as_str()), (0, Some("rotated")), "{mended:#}");
    bench.assert_all_hold(mended["secret_id"].as_str().unwrap());
    hourly(&bench, 25).await;
    assert!(!bench.living().contains(&generation_1));
}

#[tokio::test(start_paused = true)]
async fn short_waits_are_waited_out_in_the_same_run() {
    let (bench, _, stuck) = rotated_once().await;
    bench.cloud.set_faults(vec![refuses(&stuck).times(3)]);
    bench.pass(days(7));
    let began = bench.clock.now();
    let (status, rotated) = bench.one(&["rotate"]).await;
    assert_eq!((status, rotated["outcome"].as_str()), (0, Some("rotated")), "{rotated:#}");
    assert_eq!(target(&rotated, &stuck.target_id)["attempts"], 4);
    let waited = bench.clock.now().duration_since(began);
    assert!((SignedDuration::from_secs(40)..SignedDuration::from_mins(2)).contains(&waited), "{waited}");
    bench.assert_all_hold(rotated["secret_id"].as_str().unwrap());
}

#[tokio::test(start_paused = true)]
async fn grace_is_kept_to_the_second() {
    for (state, grace) in [(json!({ "url": "file:state" }), "24h"), (json!({ "url": "file:state", "lease": "30s" }), "1m")] {
        let mut bench = Bench::new(&Fleet::new(3, 9));
        bench.config["state"] = state;
        bench.config["credentials"]["sales-bi"]["grace"] = json!(grace);
        let first = bench.one(&["rotate"]).await.1["secret_id"].as_str().unwrap().to_owned();
        bench.pass(days(7));
        let (status, second) = bench.one(&["rotate"]).await;
        assert_eq!((status, second["phase"].as_str()), (0, Some("draining")), "{second:#}");
        let second_id = second["secret_id"].as_str().unwrap();
        let retire_after: Timestamp = second["retire_after"].as_str().unwrap().parse().unwrap();
        let last_write = bench.targets().into_iter().filter_map(|source| source.written_at).max().unwrap();
        let kept = retire_after.duration_since(last_write);
        let wanted = if grace == "24h" { SignedDuration::from_hours(24) } else { SignedDuration::from_mins(1) };
        assert!(kept >= wanted && kept < wanted + SignedDuration::from_mins(6), "{grace}: {kept}");

        let left = retire_after.duration_since(bench.clock.now()) - SignedDuration::from_secs(1);
        bench.pass(Duration::try_from(left).unwrap());
        let (status, early) = bench.one(&["rotate"]).await;
        assert_eq!((status, bench.living().contains(&first)), (0, true), "{grace}: a second early: {early:#}");
        // Reports cut times to the millisecond.
        bench.pass(Duration::from_millis(1_001));
        let (status, done) = bench.one(&["rotate"]).await;
        assert_eq!(
            (status, done["retired"].clone(), done["phase"].as_str()),
            (0, json!([first]), Some("idle")),
            "{grace}: {done:#}"
        );
        bench.assert_all_hold(second_id);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_thirty_seconds_is_renewed_through_a_rotation_that_takes_minutes() {
    let mut bench = Bench::new(&Fleet::new(24, 9));
    bench.config["state"] = json!({ "url": "file:state", "lease": "30s" });
    bench.config["credentials"]["sales-bi"]["grace"] = json!("1m");
    bench.cloud.configure(|settings| settings.latency = Duration::from_secs(2));
    let began = bench.clock.now();
    for _ in 0..10 {
        let (status, answer) = bench.one(&["rotate"]).await;
        if status == 0 {
            let took = bench.clock.now().duration_since(began);
            assert!(took > SignedDuration::from_mins(1), "{took}");
            bench.assert_all_hold(answer["secret_id"].as_str().unwrap());
            return;
        }
        assert_eq!(status, 3, "{answer:#}");
        bench.assert_no_outage();
        bench.pass(minutes(1));
    }
    panic!("it did not finish");
}
