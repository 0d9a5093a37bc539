//! The shapes of the answers, and that looking changes nothing.

use std::collections::BTreeSet;

use lakekey_sim::Fleet;
use serde_json::{Value, json};

use crate::support::{Bench, days};

fn bench() -> Bench {
    let mut bench = Bench::new(&Fleet::new(8, 5));
    bench.list_all_warehouses();
    bench
}

/// The object has exactly these fields.
#[track_caller]
fn has(object: &Value, fields: &[&str]) {
    let found: BTreeSet<&str> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(found, fields.iter().copied().collect(), "{object:#}");
}

/// The same, for every element of a list that is not empty.
#[track_caller]
fn each_has(list: &Value, fields: &[&str]) {
    let list = list.as_array().expect("a list");
    assert!(!list.is_empty());
    list.iter().for_each(|object| has(object, fields));
}

const PROBLEM: [&str; 3] = ["code", "hint", "message"];

#[tokio::test(start_paused = true)]
async fn plan_writes_nothing_anywhere_on_first_use_and_later() {
    let bench = bench();
    for first in [true, false] {
        let before = bench.mark();

        let (status, plan) = bench.one(&["plan"]).await;

        assert_eq!((status, plan["due"].as_bool()), (0, Some(true)), "{plan:#}");
        bench.assert_only_read(&before);
        bench.assert_untouched(&before);
        bench.assert_no_file_changed(&before);
        assert_eq!(bench.folder.path().join("state").exists(), !first);
        if first {
            bench.rotated().await;
            bench.pass(days(8));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn status_and_history_write_nothing_anywhere_on_first_use_and_later() {
    let bench = bench();
    for first in [true, false] {
        let before = bench.mark();

        for arguments in [&["status"][..], &["history"], &["history", "--verify"]] {
            let (status, report) = bench.one(arguments).await;
            assert_eq!(status, 0, "{report:#}");
        }

        bench.assert_only_read(&before);
        bench.assert_untouched(&before);
        bench.assert_no_file_changed(&before);
        if first {
            bench.rotated().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn plan_answers_in_the_shape_of_the_contract() {
    let bench = bench();

    let (_, report) = bench.json(&["plan"]).await;

    has(&report, &["credentials"]);
    let plan = &report["credentials"][0];
    let fields = ["due", "left", "name", "phase", "problems", "reason", "secrets", "service_principal", "steps", "targets"];
    has(plan, &fields);
    has(&plan["service_principal"], &["application_id", "exists", "id"]);
    assert_eq!(plan["secrets"], json!({ "used": 1, "cap": 5, "foreign": 1 }));
    each_has(&plan["steps"], &["action", "detail", "subject"]);
    each_has(&plan["targets"], &["datasets", "host", "id", "kind", "warehouse", "wave"]);
    each_has(&plan["targets"][0]["datasets"], &["id", "name", "workspace"]);
    each_has(&plan["left"], &["id", "reason"]);
}

#[tokio::test(start_paused = true)]
async fn rotate_and_reapply_answer_in_the_shape_of_the_contract() {
    let bench = bench();
    for (arguments, outcome) in [(&["rotate"][..], "rotated"), (&["reapply", "--refresh"], "reapplied")] {
        let (status, report) = bench.json(arguments).await;

        has(&report, &["credentials"]);
        let moved = &report["credentials"][0];
        assert_eq!((status, moved["outcome"].as_str()), (0, Some(outcome)), "{report:#}");
        let fields =
            ["error", "expires_at", "generation", "name", "outcome", "phase", "retire_after", "retired", "secret_id", "targets"];
        has(moved, &fields);
        each_has(&moved["targets"], &["attempts", "error", "id", "outcome", "refresh"]);
        assert!(moved["targets"].as_array().unwrap().iter().all(|target| target["outcome"] == "updated"));
        assert!(moved["expires_at"].as_str().unwrap().ends_with('Z'));
    }
}

#[tokio::test(start_paused = true)]
async fn status_and_history_answer_in_the_shape_of_the_contract() {
    let bench = bench();
    bench.rotated().await;

    let (_, status) = bench.json(&["status"]).await;
    let (_, history) = bench.json(&["history", "--verify"]).await;

    has(&status, &["credentials"]);
    let now = &status["credentials"][0];
    let fields = [
        "error",
        "expires_at",
        "generation",
        "name",
        "next_rotation_at",
        "phase",
        "reason",
        "rotated_at",
        "secret_id",
        "secrets",
        "targets",
    ];
    has(now, &fields);
    has(&now["targets"], &["current", "failed", "parked", "stale", "total"]);
    assert_eq!(now["targets"]["current"], now["targets"]["total"], "{now:#}");
    each_has(&now["secrets"], &["created_at", "expires_at", "id", "role"]);
    has(&history, &["credentials"]);
    has(&history["credentials"][0], &["entries", "name", "verified"]);
    assert_eq!(history["credentials"][0]["verified"], true);
    each_has(&history["credentials"][0]["entries"], &["at", "by", "detail", "event", "generation", "seq"]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_answers_in_the_shape_of_the_contract() {
    let mut bench = bench();

    let (usage, unknown) = bench.json(&["rotate", "nobody"]).await;
    bench.credential()["grace"] = json!("soon");
    let (config, broken) = bench.json(&["status"]).await;

    assert_eq!((usage, config), (2, 2));
    for failure in [&unknown, &broken] {
        has(failure, &["error", "problems"]);
        has(&failure["error"], &PROBLEM);
    }
    assert_eq!(unknown["problems"], json!([]));
    each_has(&broken["problems"], &["code", "column", "file", "hint", "line", "message"]);
}

#[tokio::test(start_paused = true)]
async fn problems_have_one_shape_everywhere() {
    let mut bench = bench();
    bench.select(json!([{ "warehouse": "0123456789abcdef" }]));

    let (_, plan) = bench.one(&["plan"]).await;
    let (_, moved) = bench.one(&["rotate"]).await;

    each_has(&plan["problems"], &PROBLEM);
    has(&moved["error"], &PROBLEM);
}
