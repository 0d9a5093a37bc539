//! People who mint, delete, move and re-point things while a rotation is under way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use lakekey_core::http::transport::{Transport, TransportError};
use lakekey_sim::{Cloud, Fleet, SourceTruth};
use serde_json::{Value, json};

use crate::crashes::assert_no_leak;
use crate::support::{Bench, InProcess, Ran, days, hours, minutes};

type Deed = Box<dyn FnOnce(&Cloud) + Send>;

/// Does something in the cloud just before the request of this number whose method and path match.
struct Meddler {
    inner: InProcess,
    method: &'static str,
    path: &'static str,
    left: AtomicUsize,
    deed: Mutex<Option<Deed>>,
}

#[async_trait::async_trait]
impl Transport for Meddler {
    async fn send(&self, request: http::Request<Bytes>, timeout: Duration) -> Result<http::Response<Bytes>, TransportError> {
        let matches = request.method().as_str() == self.method && request.uri().path().contains(self.path);
        if matches && self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            let deed = self.deed.lock().unwrap().take();
            deed.into_iter().for_each(|deed| deed(&self.inner.0));
        }
        self.inner.send(request, timeout).await
    }
}

impl Bench {
    /// `lakekey rotate`, with `deed` done just before request `number` of those that match.
    async fn meddled(
        &self,
        number: usize,
        (method, path): (&'static str, &'static str),
        deed: impl FnOnce(&Cloud) + Send + 'static,
    ) -> (u8, Value) {
        let meddler = Arc::new(Meddler {
            inner: InProcess(self.cloud.clone()),
            method,
            path,
            left: AtomicUsize::new(number),
            deed: Mutex::new(Some(Box::new(deed))),
        });
        let Ran { status, stdout, stderr } = self.run_over(meddler.clone(), &["rotate", "--output", "json"]).await;
        assert!(meddler.deed.lock().unwrap().is_none(), "nobody meddled: {stdout} {stderr}");
        let answer: Value = serde_json::from_str(&stdout).unwrap();
        (status, answer["credentials"][0].clone())
    }

    fn named(&self, connectivity: &str) -> SourceTruth {
        self.targets().into_iter().find(|source| source.connectivity == connectivity && source.datasets.len() < 3).unwrap()
    }
}

const CREATE: (&str, &str) = ("POST", "credentials/secrets");
const WRITE: (&str, &str) = ("PATCH", "/datasources/");

fn customer(foreign_secrets: usize) -> Bench {
    Bench::new(&Fleet { foreign_secrets, ..Fleet::new(3, 3) })
}

/// A customer after a first rotation, a week ago.
async fn a_week_on() -> (Bench, String) {
    let bench = customer(0);
    let (status, first) = bench.one(&["rotate"]).await;
    assert_eq!(status, 0, "{first:#}");
    bench.pass(days(7));
    (bench, first["secret_id"].as_str().unwrap().to_owned())
}

async fn converge(bench: &Bench) -> Value {
    let mut last = Value::Null;
    for _ in 0..8 {
        let (status, answer) = bench.one(&["rotate"]).await;
        if status == 0 {
            return answer;
        }
        last = answer;
        bench.pass(minutes(6));
    }
    panic!("it did not finish: {last:#}");
}

#[tokio::test(start_paused = true)]
async fn somebody_who_mints_at_the_same_moment_keeps_theirs_and_lakekey_discards_its_own() {
    let bench = customer(2);
    let (before, targets) = (bench.living(), bench.targets());
    let principal = bench.cloud.cast().principal.application_id.clone();
    let (status, failed) =
        bench.meddled(1, CREATE, move |cloud| assert!(cloud.person_mints(&principal, days(90)).is_some())).await;
    assert_eq!(
        (status, failed["outcome"].as_str(), failed["error"]["code"].as_str()),
        (1, Some("failed"), Some("slots-taken")),
        "{failed:#}"
    );
    let living = bench.living();
    assert_eq!(living.len(), 4, "{living:?}");
    assert!(before.iter().all(|id| living.contains(id)));
    assert_eq!(bench.targets(), targets, "no target was touched");

    let (status, full) = bench.one(&["rotate"]).await;
    assert_eq!((status, full["error"]["code"].as_str()), (1, Some("slots-full")), "{full:#}");
    for id in &living {
        assert!(full["error"]["message"].as_str().unwrap().contains(id), "{full:#}");
    }
    assert_eq!(bench.living(), living);
}

#[tokio::test(start_paused = true)]
async fn an_incoming_secret_that_somebody_deletes_is_replaced_and_every_target_ends_live() {
    for write in 1..=3 {
        let (bench, generation_1) = a_week_on().await;
        let principal = bench.cloud.cast().principal.application_id.clone();
        let deed = move |cloud: &Cloud| {
            let newest = cloud.secrets(&principal).into_iter().max_by_key(|secret| secret.created).unwrap();
            assert!(cloud.person_deletes_secret(&newest.id));
        };
        bench.meddled(write, WRITE, deed).await;
        let done = converge(&bench).await;
        let current = bench.one(&["status"]).await.1["secret_id"].as_str().unwrap().to_owned();
        assert_ne!(current, generation_1, "{done:#}");
        bench.assert_all_hold(&current);
        bench.pass(hours(25));
        converge(&bench).await;
        bench.assert_all_hold(&current);
        assert_eq!(bench.living().iter().filter(|id| **id == generation_1).count(), 0, "write {write}");
        assert_no_leak(&bench, "after a deletion");
    }
}

#[tokio::test(start_paused = true)]
async fn a_current_secret_that_somebody_deletes_is_replaced_by_the_next_run() {
    let bench = customer(0);
    let first = bench.one(&["rotate"]).await.1["secret_id"].as_str().unwrap().to_owned();
    bench.pass(hours(1));
    assert!(bench.cloud.person_deletes_secret(&first));
    let (status, mended) = bench.one(&["rotate"]).await;
    assert_eq!((status, mended["outcome"].as_str()), (0, Some("rotated")), "{mended:#}");
    let second = mended["secret_id"].as_str().unwrap();
    assert_ne!(second, first);
    bench.assert_all_hold(second);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_pointed_elsewhere_between_plan_and_write_is_not_written() {
    for connectivity in ["PersonalCloud", "OnPremisesGateway"] {
        let (bench, generation_1) = a_week_on().await;
        let moved = bench.named(connectivity);
        let id = moved.id.clone();
        let (status, answer) = bench
            .meddled(1, CREATE, move |cloud| assert!(cloud.repoint(&id, "adb-666.6.azuredatabricks.net", "0123456789abcdef")))
            .await;
        assert_eq!(status, 3, "{answer:#}");
        let targets = answer["targets"].as_array().unwrap();
        let one = targets.iter().find(|target| target["id"] == moved.target_id.as_str()).unwrap();
        assert_eq!(
            (one["outcome"].as_str(), one["error"]["code"].as_str()),
            (Some("failed"), Some("target-changed")),
            "{answer:#}"
        );
        for source in bench.cloud.sources().into_iter().filter(|source| source.target) {
            if source.id == moved.id {
                assert_eq!((source.writes, source.secret_id.as_ref()), (moved.writes, Some(&generation_1)), "{source:?}");
            } else {
                assert_eq!(source.secret_id.as_deref(), answer["secret_id"].as_str(), "{source:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dataset_deleted_between_plan_and_write_blocks_nobody() {
    let (bench, generation_1) = a_week_on().await;
    let gone = bench.named("PersonalCloud");
    let datasets = gone.datasets.clone();
    let deed = move |cloud: &Cloud| datasets.iter().for_each(|dataset| assert!(cloud.delete_dataset(dataset)));
    let (status, answer) = bench.meddled(1, CREATE, deed).await;
    assert_eq!(status, 3, "{answer:#}");
    let one = answer["targets"].as_array().unwrap().iter().find(|target| target["id"] == gone.target_id.as_str()).unwrap();
    assert_eq!(one["outcome"], "failed", "{answer:#}");
    bench.assert_all_hold(answer["secret_id"].as_str().unwrap());

    let mut last = (0, Value::Null);
    for _ in 0..26 {
        bench.pass(hours(1));
        last = bench.one(&["rotate"]).await;
    }
    assert_eq!(last.1["phase"], "draining", "{:#}", last.1);
    assert!(bench.living().contains(&generation_1), "what vanished is unknown, not gone");
    bench.pass(days(6));
    let (status, next) = bench.one(&["rotate"]).await;
    assert_eq!((status, next["outcome"].as_str()), (0, Some("rotated")), "{next:#}");
    bench.assert_all_hold(next["secret_id"].as_str().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_dataset_that_gets_another_owner_is_taken_over_by_the_next_rotation() {
    let (bench, _) = a_week_on().await;
    let lost = bench.named("PersonalCloud");
    let dataset = lost.datasets[0].clone();
    let (status, answer) = bench.meddled(1, CREATE, move |cloud| assert!(cloud.set_owner(&dataset, "ada@contoso.example"))).await;
    let one = answer["targets"].as_array().unwrap().iter().find(|target| target["id"] == lost.target_id.as_str()).unwrap();
    bench.assert_no_outage();
    if status != 0 {
        assert_eq!((one["outcome"].as_str(), one["error"]["code"].as_str()), (Some("failed"), Some("not-owner")), "{answer:#}");
        for _ in 0..25 {
            bench.pass(hours(1));
            bench.one(&["rotate"]).await;
            bench.assert_no_outage();
        }
    }
    bench.pass(days(6));
    let next = converge(&bench).await;
    assert_eq!(next["outcome"], "rotated", "{next:#}");
    bench.assert_all_hold(next["secret_id"].as_str().unwrap());
}

#[tokio::test(start_paused = true)]
async fn foreign_secrets_outlive_everything() {
    let bench = customer(1);
    let foreign = bench.living();
    for _ in 0..4 {
        converge(&bench).await;
        bench.pass(days(4));
    }
    let living = bench.living();
    assert!(foreign.iter().all(|id| living.contains(id)), "{living:?}");
    let (_, now) = bench.one(&["status"]).await;
    let roles = now["secrets"].as_array().unwrap().iter().filter(|secret| secret["role"] == "foreign");
    let mut named: Vec<Value> = roles.map(|secret| secret["id"].clone()).collect();
    named.sort_by_key(ToString::to_string);
    let mut expected = foreign;
    expected.sort();
    assert_eq!(json!(named), json!(expected));
}
