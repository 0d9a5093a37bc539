//! Two runners on one principal: one works, the other leaves; one that stood still while its lease ended writes no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use lakekey_core::clock::Clock;
use lakekey_core::http::transport::{Transport, TransportError};
use lakekey_sim::{Action, Fleet, Rule};

use crate::crashes::assert_no_leak;
use crate::fuse::{Cut, Fuse, has_effect};
use crate::support::{Bench, InProcess, days, hours, minutes};
use crate::town::{Town, ended};

/// Freezes its process for 20 minutes after the answer to one request; counts what is written after the thaw.
struct Freezer {
    inner: InProcess,
    clock: Clock,
    requests: AtomicUsize,
    freeze_at: usize,
    frozen: AtomicBool,
    written_after: AtomicUsize,
}

#[async_trait::async_trait]
impl Transport for Freezer {
    async fn send(&self, request: http::Request<Bytes>, timeout: Duration) -> Result<http::Response<Bytes>, TransportError> {
        // A query posted to a warehouse only reads.
        let writes = has_effect(&request) && !request.uri().path().contains("/sql/statements");
        if self.frozen.load(Ordering::Relaxed) && writes {
            self.written_after.fetch_add(1, Ordering::Relaxed);
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let answer = self.inner.send(request, timeout).await;
        if number == self.freeze_at {
            self.clock.sleep(minutes(20)).await;
            self.frozen.store(true, Ordering::Relaxed);
        }
        answer
    }
}

/// One runner freezes after this request of a second rotation; another takes over when the lease is over.
async fn frozen_at(request: usize) -> bool {
    let mut bench = Bench::new(&Fleet::new(3, 17));
    // One after the other, so that the freeze holds up whatever comes next.
    bench.config["credentials"]["sales-bi"]["targets"]["concurrency"] = serde_json::json!(1);
    let fuse = Fuse::new(&bench.cloud, Cut::Never);
    let foreign = bench.living();
    assert_eq!(bench.rotate_elsewhere(fuse.clone(), "first").await.status, 0);
    bench.pass(days(7));
    let freezer = Arc::new(Freezer {
        inner: InProcess(bench.cloud.clone()),
        clock: bench.clock.clone(),
        requests: AtomicUsize::new(0),
        freeze_at: request,
        frozen: AtomicBool::new(false),
        written_after: AtomicUsize::new(0),
    });
    let slow = bench.rotate_elsewhere(freezer.clone(), "frozen");
    let quick = async {
        bench.clock.sleep(minutes(18)).await;
        bench.rotate_elsewhere(fuse.clone(), "awake").await
    };
    let (slow, quick) = tokio::join!(slow, quick);
    if !freezer.frozen.load(Ordering::Relaxed) {
        assert_eq!((slow.status, quick.status), (0, 0), "{slow:?} {quick:?}");
        return false;
    }
    assert_eq!(
        freezer.written_after.load(Ordering::Relaxed),
        0,
        "request {request}: it wrote after its lease was over: {slow:?}"
    );

    for _ in 0..2 {
        bench.pass(minutes(20));
        bench.rotate_elsewhere(fuse.clone(), "third").await;
    }
    bench.pass(hours(26));
    let last = bench.rotate_elsewhere(fuse.clone(), "fourth").await;
    assert_eq!(last.status, 0, "request {request}: {slow:?} {quick:?} {last:?}");
    assert_eq!(fuse.outages(), Vec::<String>::new(), "request {request}");
    let living: Vec<String> = bench.living().into_iter().filter(|id| !foreign.contains(id)).collect();
    assert_eq!(living.len(), 1, "request {request}: {living:?}");
    bench.assert_all_hold(&living[0]);
    let files = bench.files("store").into_iter().map(|(path, _)| path).filter(|path| path.contains(".generations/"));
    let dead: Vec<String> = files.filter(|path| !path.contains(&living[0])).collect();
    assert!(dead.is_empty(), "request {request}: slots of dead secrets remain: {dead:?}");
    assert_no_leak(&bench, &format!("frozen at request {request}"));
    true
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_froze_until_its_lease_was_over_writes_no_more() {
    let mut frozen = 0;
    for request in 0..100 {
        if !frozen_at(request).await {
            break;
        }
        frozen += 1;
    }
    assert!(frozen > 25, "{frozen}");
}

#[tokio::test(start_paused = true)]
async fn of_two_runners_without_locks_one_works_and_the_other_leaves() {
    let bench = Bench::new(&Fleet::new(3, 17));
    let transport = || Arc::new(InProcess(bench.cloud.clone()));
    let (one, two) = tokio::join!(bench.rotate_elsewhere(transport(), "one"), bench.rotate_elsewhere(transport(), "two"));
    let (worked, left) = if one.status == 0 { (one, two) } else { (two, one) };
    assert_eq!((worked.status, left.status), (0, 3), "{worked:?} {left:?}");
    assert!(worked.stdout.contains("\"rotated\"") && left.stdout.contains("\"lease-held\""), "{worked:?} {left:?}");
    assert_eq!(bench.living().len(), 2, "the one that the targets held, and a new one");
}

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
