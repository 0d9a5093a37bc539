//! Two runners on one principal: one works, the other leaves.

use futures::future::join_all;
use lakekey_sim::{Action, Rule};

use crate::town::{Town, ended};

#[tokio::test]
async fn of_two_processes_one_works_and_the_other_names_it_and_leaves() {
    let town = Town::new().await;
    let slow = Rule::always(Action::Latency { ms: 3_000 });
    town.served.cloud.set_faults(vec![slow.service("databricks").method("POST").path("credentials/secrets")]);
    let first = town.start(&["rotate"]);
    town.until("the first one has journaled its intent", || town.journal_entries() >= 4).await;

    let (status, second) = town.one(&["rotate"]).await;
    assert_eq!((status, second["error"]["code"].as_str()), (3, Some("lease-held")), "{second:#}");
    assert!(second["error"]["hint"].as_str().is_some(), "{second:#}");

    let (status, first) = ended(first).await;
    let first = &first["credentials"][0];
    assert_eq!((status, first["outcome"].as_str()), (0, Some("rotated")), "{first:#}");
    assert_eq!(town.minted(), 1);
    town.assert_all_hold(first["secret_id"].as_str().unwrap());
}

#[tokio::test]
async fn of_six_processes_started_at_once_one_mints() {
    let town = Town::new().await;
    let ends = join_all((0..6).map(|_| ended(town.start(&["rotate"])))).await;
    for (status, answer) in &ends {
        let one = &answer["credentials"][0];
        let done = *status == 0 && matches!(one["outcome"].as_str(), Some("rotated" | "unchanged"));
        let held = *status == 3 && one["error"]["code"] == "lease-held";
        assert!(done || held, "{answer:#}");
    }
    let rotated = ends.iter().filter(|(_, answer)| answer["credentials"][0]["outcome"] == "rotated").count();
    assert_eq!((rotated, town.minted()), (1, 1));
}
