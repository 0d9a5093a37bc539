//! When a rotation starts: windows, freezes and expiry as a timer meets them, and that `plan` and `status` say why and when.

use jiff::Timestamp;
use lakekey_sim::{Action, Fleet, Rule};
use serde_json::{Value, json};

use crate::support::{Bench, days, hours, minutes};

/// One target on a gateway.
fn bench() -> Bench {
    let mut bench = Bench::new(&Fleet { decoys: false, ..Fleet::small(3) });
    let source = bench.gateway_source();
    bench.select_source(&source);
    bench
}

fn until(bench: &Bench, time: &str) {
    let time: Timestamp = time.parse().unwrap();
    bench.pass(time.duration_since(bench.clock.now()).try_into().unwrap());
}

/// Nothing starts now, for a reason with these words, which `plan` and `status` share; `rotate` leaves everything as it is.
async fn waits(bench: &Bench, words: &[&str], next: Option<&str>) {
    let (status, plan) = bench.one(&["plan"]).await;
    assert_eq!((status, &plan["due"]), (0, &json!(false)), "{plan:#}");
    assert!(words.iter().all(|word| plan["reason"].as_str().unwrap().contains(word)), "{words:?} in {plan:#}");
    let steps = plan["steps"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["action"] == "retire"), "{plan:#}");
    let (_, stands) = bench.one(&["status"]).await;
    assert_eq!(stands["reason"], plan["reason"], "{stands:#}");
    let at = |time: &str| time.parse::<Timestamp>().unwrap();
    assert_eq!(stands["next_rotation_at"].as_str().map(at), next.map(at), "{stands:#}");

    let before = bench.mark();
    let (status, left) = bench.one(&["rotate"]).await;
    assert_eq!((status, &left["outcome"]), (0, &json!("unchanged")), "{left:#}");
    bench.assert_untouched(&before);
}

/// `plan` says that one starts now, with these words.
async fn is_due(bench: &Bench, words: &[&str]) {
    let (status, plan) = bench.one(&["plan"]).await;
    assert_eq!((status, &plan["due"]), (0, &json!(true)), "{plan:#}");
    assert!(words.iter().all(|word| plan["reason"].as_str().unwrap().contains(word)), "{words:?} in {plan:#}");
}

#[tokio::test(start_paused = true)]
async fn rotations_start_in_the_window_also_where_daylight_saving_removes_its_start() {
    let mut bench = bench();
    bench.credential()["window"] = json!({ "cron": "30 2 * * *", "timezone": "Europe/Berlin", "length": "1h" });
    waits(&bench, &["no generation", "2026-03-03T01:30:00Z"], Some("2026-03-03T01:30:00Z")).await;
    until(&bench, "2026-03-03T01:30:00Z");
    assert_eq!(bench.rotated().await["generation"], 1);

    until(&bench, "2026-03-10T01:40:00Z");
    assert_eq!(bench.rotated().await["generation"], 2);
    until(&bench, "2026-03-11T12:00:00Z");
    let (_, ended) = bench.one(&["rotate"]).await;
    assert_eq!(ended["retired"].as_array().unwrap().len(), 1, "retiring waits for no window: {ended:#}");
    until(&bench, "2026-03-21T01:40:00Z");
    assert_eq!(bench.rotated().await["generation"], 3);

    until(&bench, "2026-03-23T12:00:00Z");
    assert_eq!(bench.one(&["rotate"]).await.1["phase"], "idle");

    // On the 29th clocks go from two to three: half past two is not, and the window opens at the change.
    until(&bench, "2026-03-28T12:00:00Z");
    waits(&bench, &["rotate_every", "2026-03-29T01:00:00Z"], Some("2026-03-29T01:00:00Z")).await;
    until(&bench, "2026-03-29T00:59:00Z");
    waits(&bench, &["2026-03-29T01:00:00Z"], Some("2026-03-29T01:00:00Z")).await;
    bench.pass(minutes(1));
    is_due(&bench, &["rotate_every"]).await;
    bench.pass(minutes(59));
    assert_eq!(bench.rotated().await["generation"], 4);
}

#[tokio::test(start_paused = true)]
async fn a_freeze_is_named_as_the_reason_and_lasts_to_its_end() {
    let mut bench = bench();
    bench.rotated().await;
    bench.credential()["freeze"] = json!(["2026-03-09..2026-03-10"]);
    until(&bench, "2026-03-09T12:00:00Z");
    let frozen = "a freeze keeps it until 2026-03-11T00:00:00Z";
    waits(&bench, &["rotate_every", frozen], Some("2026-03-11T00:00:00Z")).await;
    until(&bench, "2026-03-10T23:59:00Z");
    waits(&bench, &[frozen], Some("2026-03-11T00:00:00Z")).await;
    bench.pass(minutes(1));
    assert_eq!(bench.rotated().await["generation"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_freeze_that_the_secret_would_not_outlive_leaves_room_for_two_attempts_that_fail() {
    let mut bench = bench();
    let first = bench.rotated().await;
    let expires: Timestamp = first["expires_at"].as_str().unwrap().parse().unwrap();
    bench.credential()["freeze"] = json!(["2026-03-08..2026-03-25"]);
    until(&bench, "2026-03-14T12:00:00Z");
    let last_chance = expires - jiff::SignedDuration::from_hours(4);
    waits(&bench, &["expiry comes near", "rotated at", "all the same"], Some(&last_chance.to_string())).await;

    until(&bench, &last_chance.to_string());
    is_due(&bench, &["before a window opens or the freeze ends"]).await;
    let refused = Action::Status { status: 500, retry_after: None, body: None, after_effect: false };
    bench.cloud.set_faults(vec![Rule::always(refused).service("databricks")]);
    for _ in 0..2 {
        assert_ne!(bench.one(&["rotate"]).await.0, 0);
        bench.pass(hours(1));
    }
    bench.cloud.set_faults(Vec::new());
    assert_eq!(bench.rotated().await["generation"], 2);
    assert!(bench.clock.now() < expires - jiff::SignedDuration::from_hours(1), "{expires}");
}

#[tokio::test(start_paused = true)]
async fn a_manual_credential_starts_only_when_a_person_says_so() {
    let mut bench = bench();
    bench.rotated().await;
    bench.credential()["rotate_every"] = json!("manual");
    bench.pass(days(10));
    bench.one(&["rotate"]).await;
    waits(&bench, &["manual", "--force"], None).await;
    let (status, forced) = bench.one(&["rotate", "--force"]).await;
    assert_eq!((status, &forced["outcome"], &forced["generation"]), (0, &json!("rotated"), &json!(2)), "{forced:#}");
}

#[tokio::test(start_paused = true)]
async fn windows_that_cannot_keep_a_secret_fresh_are_refused_with_the_sum() {
    let mut bench = bench();
    bench.credential()["window"] = json!({ "cron": "0 2 1 * *", "timezone": "UTC", "length": "3h" });
    let before = bench.mark();
    for command in ["validate", "plan", "rotate"] {
        let (status, failure) = bench.json(&[command]).await;
        let problem: &Value = &failure["problems"][0];
        assert_eq!((status, &problem["code"]), (2, &json!("rotation-does-not-fit")), "{failure:#}");
        assert!(problem["message"].as_str().unwrap().contains("the longest gap between windows"), "{failure:#}");
    }
    bench.assert_untouched(&before);
}
