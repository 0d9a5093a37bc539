//! Five slots: what fills them, and what is done before and at the cap.

use lakekey_sim::{CapAnswer, Fleet, Settings};
use serde_json::Value;

use crate::arrange::{Before, hints};
use crate::support::Bench;

/// One target on a gateway, and as many secrets of people beside the one that it holds.
fn bench(foreign_secrets: usize, settings: Settings) -> Bench {
    let mut bench = Bench::with(&Fleet { decoys: false, foreign_secrets, ..Fleet::small(3) }, settings);
    let source = bench.gateway_source();
    bench.select_source(&source);
    bench
}

fn creates(bench: &Bench, before: &Before) -> usize {
    let is_create = |seen: &&lakekey_sim::Seen| seen.method == "POST" && seen.path.ends_with("/credentials/secrets");
    bench.requests_since(before).iter().filter(is_create).count()
}

#[tokio::test(start_paused = true)]
async fn foreign_secrets_that_fill_the_slots_are_named_and_left_alone() {
    for others in [3, 4] {
        let bench = bench(others, Settings::default());
        let foreign = bench.living();
        let before = bench.mark();

        let problem = bench.refused("slots-full").await;

        let message = problem["message"].as_str().unwrap();
        assert_eq!(foreign.len(), others + 1);
        assert!(foreign.iter().all(|id| message.contains(id)), "{message}");
        assert_eq!((bench.living(), creates(&bench, &before)), (foreign, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn with_three_slots_used_there_is_room_for_one_rotation() {
    let bench = bench(2, Settings::default());
    let foreign = bench.living();
    assert_eq!(foreign.len(), 3);

    let done = bench.rotated().await;

    assert_eq!(bench.source(&bench.gateway_source().id).secret_id.as_deref(), done["secret_id"].as_str());
    assert!(foreign.iter().all(|id| bench.living().contains(id)), "nothing foreign is deleted");
}

#[tokio::test(start_paused = true)]
async fn a_create_refused_at_a_lower_cap_is_sent_once_and_told_at_once_in_both_dialects() {
    for cap_answer in [CapAnswer::LimitExceeded, CapAnswer::Exhausted] {
        let bench = bench(2, Settings { secret_cap: 3, cap_answer, ..Settings::default() });
        let living = bench.living();
        let before = bench.mark();
        let start = bench.cloud.now();

        let ran = bench.run(&["rotate", "--output", "json"]).await;

        bench.assert_discreet(&ran);
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        let credential = &report["credentials"][0];
        assert_eq!((ran.status, credential["outcome"].as_str()), (1, Some("failed")), "{report:#}");
        assert_eq!(credential["error"]["code"], "slots-full", "{cap_answer:?}: {report:#}");
        assert!(hints(&credential["error"]), "{report:#}");
        let message = credential["error"]["message"].as_str().unwrap();
        assert!(living.iter().all(|id| message.contains(id)), "{message}");
        let took = bench.cloud.now().duration_since(start).as_secs();
        assert_eq!((creates(&bench, &before), took < 10), (1, true), "{took} s");
        bench.assert_untouched(&before);
    }
}
