//! A run may die at any instant. Two rotations and a retirement are cut off at every request (before it, after its effect,
//! after its answer) and at every await, and resumed: nothing may be lost, leaked, minted twice or left behind.
//!
//! By default every request that changes something and every few others are tried; with `LAKEKEY_EVERY_CRASH` set, all.

use std::collections::BTreeSet;
use std::sync::Arc;

use lakekey_sim::{Fleet, SourceTruth};
use serde_json::{Value, json};

use crate::fuse::{Cut, Fuse};
use crate::support::{Bench, Ran, days, hours, minutes};

/// Who goes on after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// The next run on the same machine, at once.
    AtOnce,
    /// A run on the same machine, when everything in flight has landed and the lease is over.
    Later,
    /// A runner elsewhere that sees only the journal and its lease.
    Elsewhere,
}

/// A cloud source of lakekey's own, one to take over, one on a gateway; a copy; two foreign secrets.
fn customer() -> Bench {
    let mut bench = Bench::new(&Fleet { foreign_secrets: 1, ..Fleet::new(3, 7) });
    bench.config["credentials"]["sales-bi"]["copies"] = json!(["databricks:powerbi/sales-bi", "file:copy.json"]);
    bench
}

/// A source on a virtual network, a shareable connection and a cluster of two members, all three written through Fabric, in two
/// waves, and a dataset whose refresh is waited for.
fn customer_of_fabric() -> Bench {
    let mut bench = Bench::new(&Fleet { decoys: false, ..Fleet::new(7, 7) });
    bench.list_all_warehouses();
    let is_kept = |source: &SourceTruth| {
        let on_cluster = bench.cloud.gateway_name(&source.gateway).is_some_and(|name| name.starts_with("Cluster"));
        on_cluster || ["VirtualNetworkGateway", "ShareableCloud"].contains(&source.connectivity.as_str())
    };
    let (kept, others): (Vec<SourceTruth>, Vec<SourceTruth>) = bench.targets().into_iter().partition(is_kept);
    for source in others {
        bench.cloud.delete_source(&source.id);
    }
    assert_eq!(kept.len(), 3, "{kept:#?}");
    let mut rows: Vec<Value> = kept.iter().map(|source| json!({ "connection": source.id })).collect();
    let shared = kept.iter().find(|source| source.connectivity == "ShareableCloud").unwrap();
    let mut row = bench.row(&bench.dataset_of(shared));
    row["refresh"] = json!("wait");
    rows.push(row);
    bench.select(json!(rows));
    bench.credential()["targets"]["waves"] = json!([1, "100%"]);
    bench
}

/// What a life came to, for comparing and counting.
pub struct Life {
    pub requests: usize,
    polls: usize,
    effects: Vec<usize>,
    pub crashed: bool,
}

/// Two rotations and the retirement of the first generation, cut off once; everything is checked at the end.
async fn live(customer: fn() -> Bench, cut: Cut, resume: Resume) -> Life {
    live_of(&customer(), cut, resume).await
}

/// The life of this customer.
pub async fn live_of(bench: &Bench, cut: Cut, resume: Resume) -> Life {
    let fuse = Fuse::new(&bench.cloud, cut);
    let foreign: BTreeSet<String> = bench.living().into_iter().collect();
    for stage in [hours(0), days(7), hours(25)] {
        bench.pass(stage);
        finish(bench, &fuse, resume, cut).await;
    }
    check(bench, &fuse, &foreign, cut).await;
    Life { requests: fuse.requests(), polls: fuse.polls(), effects: fuse.effects(), crashed: fuse.spent() }
}

/// Rotates until that ends 0.
async fn finish(bench: &Bench, fuse: &Arc<Fuse>, resume: Resume, cut: Cut) {
    let mut seen = Vec::new();
    for number in 0..8 {
        let ran = match resume {
            Resume::AtOnce | Resume::Later => {
                fuse.burn(bench.run_over(fuse.clone(), &["rotate", "--output", "json", "-vvv"])).await
            }
            Resume::Elsewhere => fuse.burn(bench.rotate_elsewhere(fuse.clone(), &format!("runner-{number}"))).await,
        };
        match ran {
            Some(Ran { status: 0, .. }) => return,
            Some(ran) => {
                assert_eq!(ran.status, 3, "{cut:?} {resume:?}: {ran:?}");
                seen.push(ran.stdout);
                bench.pass(minutes(6));
            }
            None if resume == Resume::Later => bench.pass(minutes(30)),
            None => {}
        }
    }
    panic!("{cut:?} {resume:?}: it did not finish: {seen:#?}");
}

async fn check(bench: &Bench, fuse: &Fuse, foreign: &BTreeSet<String>, cut: Cut) {
    assert_eq!(fuse.outages(), Vec::<String>::new(), "{cut:?}");
    let (status, now) = bench.one(&["status"]).await;
    assert_eq!((status, now["phase"].as_str(), now["generation"].as_u64().is_some()), (0, Some("idle"), true), "{cut:?} {now:#}");
    let current = now["secret_id"].as_str().unwrap().to_owned();
    bench.assert_all_hold(&current);

    let expected: BTreeSet<String> = foreign.iter().cloned().chain([current.clone()]).collect();
    assert_eq!(bench.living().into_iter().collect::<BTreeSet<_>>(), expected, "{cut:?}: foreign ones and the current one live");
    let all = bench.cloud.secrets(&bench.cloud.cast().principal.application_id);
    assert!(all.len() - foreign.len() <= 3, "{cut:?}: one crash costs at most one secret: {all:?}");

    let (status, history) = bench.one(&["history", "--verify"]).await;
    assert_eq!((status, history["verified"].as_bool()), (0, Some(true)), "{cut:?}");
    let slots = bench.slots().await;
    assert!(slots.len() == 1 && slots[0].as_str() == current, "{cut:?}: slots of dead secrets remain: {slots:?}");
    assert_no_leak(bench, &format!("{cut:?}"));
}

/// No value that was ever minted is anywhere but in stores and where credentials belong.
pub fn assert_no_leak(bench: &Bench, when: &str) {
    assert_eq!(bench.cloud.leaks(), Vec::<String>::new(), "{when}");
    let (said, state) = (bench.said(), bench.files("state"));
    for (id, value) in bench.cloud.minted_values() {
        assert!(!said.contains(&value), "{when}: the value of {id} was printed");
        for (path, bytes) in &state {
            assert!(!bytes.windows(value.len()).any(|part| part == value.as_bytes()), "{when}: {path} holds the value of {id}");
        }
    }
}

/// Whether every point is tried.
pub fn all() -> bool {
    #[expect(clippy::disallowed_methods, reason = "a switch of the tests themselves")]
    std::env::var("LAKEKEY_EVERY_CRASH").is_ok()
}

/// Cuts lives off at every request that changes something, and at every so many others.
async fn at_requests(customer: fn() -> Bench, every: usize, resume: Resume, cut: fn(usize) -> Cut) {
    let whole = live(customer, Cut::Never, resume).await;
    let others = (0..whole.requests).step_by(if all() { 1 } else { every });
    let points: BTreeSet<usize> = others.chain(whole.effects).collect();
    let mut crashes = 0;
    for point in &points {
        crashes += usize::from(live(customer, cut(*point), resume).await.crashed);
    }
    assert_eq!(crashes, points.len(), "each life was cut off");
    assert!(crashes > 15, "{crashes}");
}

/// Cuts lives off at every so many awaits. How many there are differs a little from life to life.
async fn at_awaits(first: usize, every: usize, resume: Resume) {
    let whole = live(customer, Cut::Never, resume).await;
    let mut crashes = 0;
    for point in (first..whole.polls).step_by(if all() { 1 } else { every }) {
        crashes += usize::from(live(customer, Cut::Poll(point), resume).await.crashed);
    }
    assert!(crashes > 10, "{crashes}");
}

#[tokio::test(start_paused = true)]
async fn an_undisturbed_life_needs_two_secrets() {
    let life = live(customer, Cut::Never, Resume::AtOnce).await;
    assert!(!life.crashed && life.requests > 100 && life.polls > life.requests);
    assert!(life.effects.len() > 10, "{:?}", life.effects);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_dies_before_a_request_is_resumed_at_once() {
    at_requests(customer, 12, Resume::AtOnce, Cut::BeforeSend).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_dies_before_an_answer_is_resumed_at_once() {
    at_requests(customer, 12, Resume::AtOnce, Cut::BeforeAnswer).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_dies_after_an_answer_is_resumed_at_once() {
    at_requests(customer, 12, Resume::AtOnce, Cut::AfterAnswer).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_dies_before_an_answer_is_resumed_later() {
    at_requests(customer, 40, Resume::Later, Cut::BeforeAnswer).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_dies_before_an_answer_is_resumed_elsewhere_when_its_lease_is_over() {
    at_requests(customer, 40, Resume::Elsewhere, Cut::BeforeAnswer).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_through_fabric_that_dies_before_a_request_is_resumed_at_once() {
    at_requests(customer_of_fabric, 40, Resume::AtOnce, Cut::BeforeSend).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_through_fabric_that_dies_before_an_answer_is_resumed_at_once() {
    at_requests(customer_of_fabric, 40, Resume::AtOnce, Cut::BeforeAnswer).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_through_fabric_that_dies_before_an_answer_is_resumed_elsewhere() {
    at_requests(customer_of_fabric, 60, Resume::Elsewhere, Cut::BeforeAnswer).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_dies_at_an_await_is_resumed_at_once() {
    at_awaits(0, 9, Resume::AtOnce).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_dies_at_an_await_is_resumed_elsewhere_when_its_lease_is_over() {
    at_awaits(4, 13, Resume::Elsewhere).await;
}

#[tokio::test(start_paused = true)]
async fn runs_that_each_die_a_request_later_than_the_one_before_come_to_an_end() {
    let bench = customer();
    let fuse = Fuse::new(&bench.cloud, Cut::Never);
    let foreign: BTreeSet<String> = bench.living().into_iter().collect();
    let mut crashes = 0;
    for stage in [hours(0), days(7), hours(30)] {
        bench.pass(stage);
        for request in 0.. {
            fuse.rearm(Cut::BeforeAnswer(request));
            match fuse.burn(bench.run_over(fuse.clone(), &["rotate", "--output", "json"])).await {
                Some(Ran { status: 0, .. }) => break,
                Some(ran) => {
                    assert_eq!(ran.status, 3, "{ran:?}");
                    bench.pass(minutes(6));
                }
                None => crashes += 1,
            }
            assert!(request < 100, "it does not get on");
        }
    }
    assert!(crashes > 40, "{crashes}");
    bench.pass(hours(30));
    let ran = bench.run(&["rotate", "--output", "json"]).await;
    assert_eq!(ran.status, 0, "{ran:?}");

    assert_eq!(fuse.outages(), Vec::<String>::new());
    let (_, now) = bench.one(&["status"]).await;
    let current = now["secret_id"].as_str().unwrap().to_owned();
    bench.assert_all_hold(&current);
    let expected: BTreeSet<String> = foreign.into_iter().chain([current]).collect();
    assert_eq!(bench.living().into_iter().collect::<BTreeSet<_>>(), expected);
    assert_no_leak(&bench, "after many crashes");
}
