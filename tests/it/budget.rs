//! How many requests moving a data source takes, and how often a token is fetched: both held by the cloud's own log.

use std::time::Duration;

use lakekey_sim::{Fleet, Seen, SourceTruth};
use serde_json::json;

use crate::support::{Bench, days};

/// A read that it is still what was selected, the write, and the question whether it works. Beside these, the history of
/// refreshes of each dataset that uses it is asked for, once a wave.
const GATEWAY_SOURCE_REQUESTS: usize = 3;
/// A read through a dataset, a read of the connection for what must stay as it is, and the write, which connects.
const CLOUD_SOURCE_REQUESTS: usize = 3;
/// A read, the write, and the test.
const VNET_SOURCE_REQUESTS: usize = 3;
/// Its key, however many sources it has.
const GATEWAY_REQUESTS: usize = 1;

/// Gateway and cloud sources that need no take-over, and a rotation behind them.
async fn bench(targets: usize) -> Bench {
    let mut bench = Bench::new(&Fleet { decoys: false, ..Fleet::new(targets, 7) });
    bench.list_all_warehouses();
    bench.own_everything();
    bench.rotated().await;
    bench.pass(days(8));
    bench
}

/// Requests to Power BI and Fabric from the first write's own reads on: the plan's reads end with the create of the secret.
fn apply_phase(requests: Vec<Seen>) -> Vec<Seen> {
    let create = requests.iter().position(|seen| seen.method == "POST" && seen.path.ends_with("/credentials/secrets")).unwrap();
    let of_targets = |seen: &Seen| seen.service == "powerbi" || seen.service == "fabric";
    requests.into_iter().skip(create).filter(of_targets).collect()
}

#[tokio::test(start_paused = true)]
async fn a_target_takes_three_requests_and_a_gateway_one_more_whatever_the_size() {
    for targets in [8, 40] {
        let bench = bench(targets).await;
        let moved = bench.targets();
        let (on_vnets, moved): (Vec<SourceTruth>, Vec<SourceTruth>) =
            moved.into_iter().partition(|source| source.connectivity == "VirtualNetworkGateway");
        let (cloud, on_gateways): (Vec<SourceTruth>, Vec<SourceTruth>) =
            moved.into_iter().partition(|source| source.connectivity.ends_with("Cloud"));
        let gateways: std::collections::BTreeSet<&str> = on_gateways.iter().map(|source| source.gateway.as_str()).collect();
        let before = bench.mark();

        bench.rotated().await;

        let mut sent = apply_phase(bench.requests_since(&before));
        let looks = sent.iter().filter(|seen| seen.path.contains("/refreshes?")).count();
        let datasets: std::collections::BTreeSet<String> =
            bench.targets().into_iter().flat_map(|source| source.datasets).collect();
        assert!(looks <= datasets.len(), "{looks} looks at {} datasets", datasets.len());
        sent.retain(|seen| !seen.path.contains("/refreshes?"));
        let allowed = cloud.len() * CLOUD_SOURCE_REQUESTS
            + on_gateways.len() * GATEWAY_SOURCE_REQUESTS
            + on_vnets.len() * VNET_SOURCE_REQUESTS
            + gateways.len() * GATEWAY_REQUESTS;
        assert!(!on_vnets.is_empty());
        assert_eq!(sent.len(), allowed, "{} cloud, {} on {} gateways", cloud.len(), on_gateways.len(), gateways.len());
        let writes = sent.iter().filter(|seen| seen.method == "PATCH").count();
        assert_eq!(writes, cloud.len() + on_gateways.len() + on_vnets.len(), "one write for each");
    }
}

#[tokio::test(start_paused = true)]
async fn no_token_is_fetched_twice_in_one_run() {
    let bench = bench(40).await;
    let principal = bench.cloud.cast().principal.application_id.clone();
    let tokens = bench.cloud.truth().tokens;
    let before = bench.mark();

    bench.rotated().await;

    for (who, count) in bench.cloud.truth().tokens {
        assert_eq!(count - tokens[&who], 1, "{who}");
    }
    let mut fetched = std::collections::BTreeMap::new();
    for seen in bench.requests_since(&before).into_iter().filter(|seen| seen.path == "/oidc/v1/token") {
        // What the new secret signs in with proves it, each time.
        if seen.caller.as_deref() != Some(&principal) {
            *fetched.entry((seen.service, seen.caller)).or_insert(0) += 1;
        }
    }
    assert!(fetched.values().all(|&count| count == 1), "{fetched:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_finds_nothing_due_only_looks_whether_targets_were_added() {
    let mut bench = Bench::new(&Fleet { decoys: false, ..Fleet::new(8, 7) });
    bench.list_all_warehouses();
    bench.rotated().await;
    let before = bench.mark();

    let (status, report) = bench.one(&["rotate"]).await;

    assert_eq!((status, &report["outcome"]), (0, &json!("unchanged")), "{report:#}");
    let asked: Vec<Seen> =
        bench.requests_since(&before).into_iter().filter(|seen| !seen.service.starts_with("databricks")).collect();
    assert!(asked.iter().all(|seen| seen.method == "GET" || seen.service == "entra"), "{asked:#?}");
    let looked: std::collections::BTreeSet<&String> = asked.iter().map(|seen| &seen.path).collect();
    assert_eq!(
        looked.len(),
        asked.iter().filter(|seen| seen.service != "entra").count()
            + usize::from(asked.iter().any(|seen| seen.service == "entra")),
        "nothing is asked twice: {asked:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_finds_nothing_due_leaves_no_entry_in_the_journal() {
    let mut bench = Bench::new(&Fleet { decoys: false, ..Fleet::new(2, 7) });
    bench.list_all_warehouses();
    bench.rotated().await;
    let entries = async |bench: &mut Bench| {
        let (_, history) = bench.one(&["history"]).await;
        history["entries"].as_array().unwrap().len()
    };
    let before = entries(&mut bench).await;
    for _ in 0..24 {
        bench.pass(Duration::from_secs(600));
        let (status, report) = bench.one(&["rotate"]).await;
        assert_eq!((status, &report["outcome"]), (0, &json!("unchanged")), "{report:#}");
    }
    assert_eq!(entries(&mut bench).await, before);
}

#[tokio::test(start_paused = true)]
async fn what_many_credentials_ask_in_a_plan_is_asked_once() {
    let mut bench = Bench::new(&Fleet { decoys: false, ..Fleet::new(12, 7) });
    bench.list_all_warehouses();
    let template = bench.credential().clone();
    let all = bench.config["credentials"].as_object_mut().unwrap();
    all.clear();
    for (number, source) in bench.cloud.sources().into_iter().filter(|source| source.target).enumerate() {
        let dataset = bench.cloud.truth().datasets.into_iter().find(|dataset| source.datasets.contains(&dataset.id)).unwrap();
        let name = format!("bi-{number}");
        let mut credential = template.clone();
        credential["service_principal"] = json!({ "application_id": bench.cloud.add_principal(&name) });
        credential["store"] = json!(format!("file:store/{name}.json"));
        credential["targets"]["select"] = json!([{ "workspace": dataset.group, "dataset": dataset.id }]);
        all.insert(name, credential);
    }
    let before = bench.mark();

    let (status, plan) = bench.json(&["plan"]).await;

    bench.assert_only_read(&before);
    bench.assert_no_file_changed(&before);
    assert_eq!((status, plan["credentials"].as_array().unwrap().len()), (0, 12), "{plan:#}");
    for credential in plan["credentials"].as_array().unwrap() {
        assert_eq!(credential["targets"].as_array().unwrap().len(), 1, "{credential:#}");
    }
    let mut counts: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    for seen in bench.requests_since(&before) {
        *counts.entry(format!("{} {} {}", seen.service, seen.method, seen.path)).or_default() += 1;
    }
    counts.retain(|path, count| *count > 1 && !path.contains("/token"));
    assert!(counts.is_empty(), "{counts:#?}");
}
