//! `rollback`: back to the generation before while it lives, and no further rotation until a person says so.

use lakekey_sim::{Action, Fleet, Rule};
use serde_json::{Value, json};

use crate::crashes::assert_no_leak;
use crate::fuse::{Cut, Fuse};
use crate::support::{Bench, days, hours, minutes};

/// A copy, and two generations: the second has just been moved to.
async fn moved() -> (Bench, String, String) {
    let mut bench = Bench::new(&Fleet { foreign_secrets: 1, ..Fleet::new(4, 9) });
    bench.config["credentials"]["sales-bi"]["copies"] = json!(["file:copy.json"]);
    let first = bench.rotated().await["secret_id"].as_str().unwrap().to_owned();
    bench.pass(days(7));
    let second = bench.rotated().await["secret_id"].as_str().unwrap().to_owned();
    (bench, first, second)
}

/// The secret that a store's file holds.
fn stored(bench: &Bench, path: &str) -> String {
    let value: Value = serde_json::from_slice(&std::fs::read(bench.folder.path().join(path)).unwrap()).unwrap();
    value["oauthSecretId"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_rollback_moves_everything_back_and_holds_until_force() {
    let (bench, first, second) = moved().await;

    let (status, back) = bench.one(&["rollback"]).await;

    assert_eq!((status, &back["outcome"], &back["phase"]), (0, &json!("rolled-back"), &json!("draining")), "{back:#}");
    assert_eq!((&back["generation"], &back["secret_id"]), (&json!(1), &json!(first)), "{back:#}");
    assert!(back["targets"].as_array().unwrap().iter().all(|target| target["outcome"] == "updated"), "{back:#}");
    bench.assert_all_hold(&first);
    assert_eq!((stored(&bench, "store/sales-bi.json"), stored(&bench, "copy.json")), (first.clone(), first.clone()));
    let (_, again) = bench.one(&["rollback"]).await;
    assert_eq!(again["outcome"], "unchanged", "{again:#}");

    // Days later it still holds; what was given up has drained.
    bench.pass(days(2));
    let (status, held) = bench.one(&["rotate"]).await;
    assert_eq!((status, &held["retired"], &held["phase"]), (0, &json!([second]), &json!("idle")), "{held:#}");
    let (_, plan) = bench.one(&["plan"]).await;
    assert_eq!(plan["due"], false, "{plan:#}");
    assert!(plan["reason"].as_str().unwrap().contains("lakekey rotate --force"), "{plan:#}");
    let (_, now) = bench.one(&["status"]).await;
    assert_eq!((&now["next_rotation_at"], &now["generation"]), (&Value::Null, &json!(1)), "{now:#}");

    let (status, on) = bench.one(&["rotate", "--force"]).await;
    assert_eq!((status, &on["generation"]), (0, &json!(3)), "{on:#}");
    bench.assert_all_hold(on["secret_id"].as_str().unwrap());
    assert_no_leak(&bench, "after a rollback");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_gives_an_open_rotation_up() {
    let bench = Bench::new(&Fleet::new(4, 9));
    let first = bench.rotated().await["secret_id"].as_str().unwrap().to_owned();
    bench.pass(days(7));
    let stuck = bench.gateway_source();
    let refusal = Action::Status { status: 400, retry_after: None, body: None, after_effect: false };
    let rule = Rule::always(refusal).service("powerbi").method("PATCH").path(&stuck.id);
    bench.cloud.set_faults(vec![rule]);
    assert_eq!(bench.one(&["rotate"]).await.1["phase"], "applying");
    bench.cloud.set_faults(Vec::new());

    let (status, back) = bench.one(&["rollback"]).await;

    assert_eq!((status, &back["outcome"], &back["generation"]), (0, &json!("rolled-back"), &json!(1)), "{back:#}");
    bench.assert_all_hold(&first);
    let words: Vec<Value> =
        bench.one(&["history"]).await.1["entries"].as_array().unwrap().iter().map(|entry| entry["event"].clone()).collect();
    let asked = words.iter().position(|word| word == "rollback-asked").unwrap();
    assert!(words[asked..].contains(&json!("lease-taken")), "asked for before the lease is taken: {words:?}");
    assert!(words[asked..].contains(&json!("rollback-planned")), "{words:?}");
}

#[tokio::test(start_paused = true)]
async fn with_nothing_to_go_back_to_nothing_changes() {
    let bench = Bench::new(&Fleet::new(3, 9));
    let (status, none) = bench.one(&["rollback"]).await;
    assert_eq!((status, &none["error"]["code"]), (1, &json!("nothing-to-roll-back-to")), "{none:#}");
    let (bench, first, second) = moved().await;
    bench.cloud.person_deletes_secret(&first);
    let before = bench.mark();
    let (status, gone) = bench.one(&["rollback"]).await;
    assert_eq!(
        (status, &gone["outcome"], &gone["error"]["code"]),
        (1, &json!("failed"), &json!("nothing-to-roll-back-to")),
        "{gone:#}"
    );
    assert_eq!((&gone["phase"], &gone["generation"], &gone["secret_id"]), (&json!("draining"), &json!(2), &json!(second)));
    bench.assert_untouched(&before);
    bench.assert_all_hold(&second);
}

/// A rollback, cut off once; the timer carries it out.
async fn rolled_back(cut: Cut) -> (usize, bool) {
    let (bench, first, second) = moved().await;
    let foreign: Vec<String> = bench.living().into_iter().filter(|id| *id != first && *id != second).collect();
    let fuse = Fuse::new(&bench.cloud, cut);
    let mut command = "rollback";
    for _ in 0..6 {
        match fuse.burn(bench.run_over(fuse.clone(), &[command, "--output", "json"])).await {
            Some(ran) if ran.status == 0 => break,
            Some(ran) => {
                assert_eq!(ran.status, 3, "{cut:?}: {ran:?}");
                bench.pass(minutes(6));
            }
            // One that died before it was journaled has changed nothing.
            None if bench.one(&["history"]).await.1["entries"]
                .as_array()
                .unwrap()
                .iter()
                .all(|entry| entry["event"] != "rollback-asked") => {}
            None => command = "rotate",
        }
    }
    assert_eq!(fuse.outages(), Vec::<String>::new(), "{cut:?}");
    bench.assert_all_hold(&first);
    bench.pass(hours(30));
    let (status, done) = bench.one(&["rotate"]).await;
    assert_eq!((status, &done["phase"], &done["generation"]), (0, &json!("idle"), &json!(1)), "{cut:?}: {done:#}");
    let mut expected = foreign;
    expected.push(first);
    expected.sort();
    let mut living = bench.living();
    living.sort();
    assert_eq!(living, expected, "{cut:?}");
    assert_eq!(bench.one(&["history", "--verify"]).await.1["verified"], true, "{cut:?}");
    (fuse.requests(), fuse.spent())
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_dies_is_carried_out_by_the_next_run() {
    let (whole, _) = rolled_back(Cut::Never).await;
    let mut crashes = 0;
    for request in (0..whole).step_by(3) {
        crashes += usize::from(rolled_back(Cut::BeforeAnswer(request)).await.1);
        crashes += usize::from(rolled_back(Cut::AfterAnswer(request)).await.1);
    }
    assert!(crashes > 6, "{crashes} of {whole} requests");
}
