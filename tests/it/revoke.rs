//! `revoke`: break glass. It asks first; then a new secret is everywhere and every older one is gone, whoever held it.

use lakekey_sim::{Action, Fleet, Rule};
use serde_json::{Value, json};

use crate::crashes::assert_no_leak;
use crate::fuse::{Cut, Fuse};
use crate::support::{Bench, days, minutes};

/// Two generations, the second just moved to, and a secret of somebody else's.
async fn moved() -> (Bench, String) {
    let mut bench = Bench::new(&Fleet { foreign_secrets: 0, ..Fleet::new(4, 9) });
    bench.config["credentials"]["sales-bi"]["copies"] = json!(["file:copy.json"]);
    let foreign = bench.living();
    assert_eq!(foreign.len(), 1);
    bench.rotated().await;
    bench.pass(days(7));
    bench.rotated().await;
    (bench, foreign[0].clone())
}

#[tokio::test(start_paused = true)]
async fn without_a_terminal_it_needs_to_be_told_not_to_ask() {
    let (bench, _) = moved().await;
    let before = bench.mark();
    let (status, answer) = bench.json(&["revoke"]).await;
    assert_eq!((status, &answer["error"]["code"]), (2, &json!("confirmation-needed")), "{answer:#}");
    assert!(answer["error"]["hint"].as_str().unwrap().contains("--yes"), "{answer:#}");
    bench.assert_untouched(&before);
    bench.assert_no_file_changed(&before);
}

#[tokio::test(start_paused = true)]
async fn on_a_terminal_it_says_what_goes_and_asks() {
    let (mut bench, _) = moved().await;
    let (living, before) = (bench.living(), bench.mark());
    bench.answers = Some("n\n".to_owned());
    let ran = bench.run(&["revoke"]).await;
    assert_eq!(ran.status, 1, "{ran:?}");
    let own = living.iter().filter(|id| ran.stderr.contains(id.as_str())).count();
    assert_eq!(own, 2, "both generations, and not the foreign one: {}", ran.stderr);
    bench.assert_untouched(&before);

    bench.answers = Some("yes\n".to_owned());
    let (status, revoked) = bench.one(&["revoke"]).await;
    assert_eq!((status, &revoked["outcome"]), (0, &json!("revoked")), "{revoked:#}");
}

#[tokio::test(start_paused = true)]
async fn every_older_secret_goes_and_foreign_ones_only_where_asked() {
    let (bench, foreign) = moved().await;

    let (status, revoked) = bench.one(&["revoke", "--yes"]).await;

    assert_eq!((status, &revoked["outcome"], &revoked["generation"]), (0, &json!("revoked"), &json!(3)), "{revoked:#}");
    assert_eq!(revoked["retired"].as_array().unwrap().len(), 2, "{revoked:#}");
    let third = revoked["secret_id"].as_str().unwrap().to_owned();
    bench.assert_all_hold(&third);
    let mut expected = [foreign.clone(), third];
    expected.sort();
    let mut living = bench.living();
    living.sort();
    assert_eq!(living, expected);
    let (_, after) = bench.one(&["rotate"]).await;
    assert_eq!(after["outcome"], "unchanged", "{after:#}");

    let (status, all) = bench.one(&["revoke", "--yes", "--foreign"]).await;
    assert_eq!((status, &all["outcome"]), (0, &json!("revoked")), "{all:#}");
    assert_eq!(bench.living(), [all["secret_id"].as_str().unwrap()]);
    bench.assert_all_hold(all["secret_id"].as_str().unwrap());
    assert_no_leak(&bench, "after revokes");
}

#[tokio::test(start_paused = true)]
async fn it_supersedes_an_open_rotation_and_names_whom_it_cut_off() {
    let (bench, _) = moved().await;
    bench.pass(days(7));
    let stuck = bench.gateway_source();
    let refusal = Action::Status { status: 400, retry_after: None, body: None, after_effect: false };
    bench.cloud.set_faults(vec![Rule::always(refusal).service("powerbi").method("PATCH").path(&stuck.id)]);
    assert_eq!(bench.one(&["rotate"]).await.1["phase"], "applying");

    let (status, revoked) = bench.one(&["revoke", "--yes"]).await;

    assert_eq!(
        (status, &revoked["outcome"], &revoked["error"]["code"]),
        (3, &json!("revoked"), &json!("cut-off")),
        "{revoked:#}"
    );
    let failed: Vec<&Value> =
        revoked["targets"].as_array().unwrap().iter().filter(|target| target["outcome"] == "failed").collect();
    assert_eq!(failed.len(), 1, "{revoked:#}");
    assert_eq!(failed[0]["id"], json!(stuck.target_id), "{revoked:#}");
    assert!(!bench.source(&stuck.id).alive, "it is cut off");

    // When it is mended, the current secret is sent again.
    bench.cloud.set_faults(Vec::new());
    let (status, again) = bench.one(&["reapply"]).await;
    assert_eq!(status, 0, "{again:#}");
    bench.assert_all_hold(revoked["secret_id"].as_str().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_selection_that_cannot_be_read_does_not_keep_a_leaked_secret_alive() {
    let (bench, _) = moved().await;
    let down = Action::Status { status: 503, retry_after: None, body: None, after_effect: false };
    bench.cloud.set_faults(vec![Rule::always(down).service("powerbi").method("GET").path("/groups?")]);
    let (status, revoked) = bench.one(&["revoke", "--yes"]).await;
    assert_eq!((status, &revoked["outcome"]), (0, &json!("revoked")), "{revoked:#}");
    bench.assert_all_hold(revoked["secret_id"].as_str().unwrap());
}

/// A revoke, cut off once; the timer carries it out.
async fn revoked(cut: Cut) -> (usize, bool) {
    let (bench, foreign) = moved().await;
    let fuse = Fuse::new(&bench.cloud, cut);
    let mut command: &[&str] = &["revoke", "--yes", "--output", "json"];
    for _ in 0..6 {
        match fuse.burn(bench.run_over(fuse.clone(), command)).await {
            Some(ran) if ran.status == 0 => break,
            Some(ran) => {
                assert_eq!(ran.status, 3, "{cut:?}: {ran:?}");
                bench.pass(minutes(6));
            }
            None => {
                let (_, history) = bench.one(&["history"]).await;
                if history["entries"].as_array().unwrap().iter().any(|entry| entry["event"] == "revoke-asked") {
                    command = &["rotate", "--output", "json"];
                }
            }
        }
    }
    let (status, now) = bench.one(&["status"]).await;
    assert_eq!((status, &now["phase"]), (0, &json!("draining")), "{cut:?}: {now:#}");
    let current = now["secret_id"].as_str().unwrap().to_owned();
    bench.assert_all_hold(&current);
    let mut expected = [foreign, current];
    expected.sort();
    let mut living = bench.living();
    living.sort();
    assert_eq!(living, expected, "{cut:?}");
    assert_eq!(bench.one(&["history", "--verify"]).await.1["verified"], true, "{cut:?}");
    (fuse.requests(), fuse.spent())
}

#[tokio::test(start_paused = true)]
async fn a_revoke_that_dies_is_carried_out_by_the_next_run() {
    let (whole, _) = revoked(Cut::Never).await;
    let mut crashes = 0;
    for request in (0..whole).step_by(7) {
        crashes += usize::from(revoked(Cut::BeforeAnswer(request)).await.1);
        crashes += usize::from(revoked(Cut::AfterAnswer(request)).await.1);
    }
    assert!(crashes > 8, "{crashes} of {whole} requests");
}
