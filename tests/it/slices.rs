//! A rotation in the functions of a platform: invocations that end at a known time, and messages that go on with what they
//! left.

use std::sync::Arc;
use std::time::Duration;

use lakekey_core::http::transport::Transport;
use lakekey_core::work::Worked;
use lakekey_sim::Fleet;
use serde_json::Value;

use crate::belt::Belt;
use crate::support::{Bench, InProcess, minutes};

/// How long an invocation of a platform lasts, where that is not what a test is about.
const LASTS: Duration = minutes(10);

#[tokio::test(start_paused = true)]
async fn a_rotation_goes_on_over_as_many_invocations_as_it_takes() {
    let bench = Bench::new(&Fleet::new(24, 7));
    let belt = Belt::new(&bench);
    let lasts = Duration::from_secs(8);
    let cloud = || Arc::new(InProcess(bench.cloud.clone()));
    let began = bench.clock.now();
    bench.invocation(cloud(), &belt, lasts).tick().await.unwrap();
    assert!(bench.clock.now().duration_since(began).as_secs() < 8, "it left in time");

    let mut invocations = 1;
    while let Some(text) = belt.take(&bench) {
        let began = bench.clock.now();
        let worked = bench.invocation(cloud(), &belt, lasts).work(&text).await.unwrap();
        assert_eq!(worked, Worked::Done);
        assert!(bench.clock.now().duration_since(began).as_secs() < 8, "it left in time");
        invocations += 1;
        assert!(invocations < 50, "it does not get on");
    }
    assert!(invocations > 2, "{invocations}");
    let (status, now) = bench.one(&["status"]).await;
    assert_eq!((status, now["phase"].as_str(), now["generation"].as_u64()), (0, Some("draining"), Some(1)), "{now:#}");
    bench.assert_all_hold(now["secret_id"].as_str().unwrap());
}

/// A customer whose targets make several slices; most need no take-over.
fn many() -> Bench {
    Bench::new(&Fleet::new(100, 7))
}

impl Bench {
    fn in_process(&self) -> Arc<dyn Transport> {
        Arc::new(InProcess(self.cloud.clone()))
    }

    async fn tick(&self, belt: &Arc<Belt>) {
        self.invocation(self.in_process(), belt, LASTS).tick().await.unwrap();
    }

    async fn deliver(&self, belt: &Arc<Belt>, text: &str) {
        let worked = self.invocation(self.in_process(), belt, LASTS).work(text).await.unwrap();
        assert_eq!(worked, Worked::Done, "{text}");
    }

    /// Delivers what is on the belt until nothing is.
    async fn deliver_all(&self, belt: &Arc<Belt>) -> usize {
        let mut delivered = 0;
        while let Some(text) = belt.take(self) {
            self.deliver(belt, &text).await;
            delivered += 1;
            assert!(delivered < 100, "it does not come to rest");
        }
        delivered
    }

    /// The words for what happened, in order.
    async fn events(&self) -> Vec<String> {
        let (_, history) = self.one(&["history", "--verify"]).await;
        assert_eq!(history["verified"], true);
        history["entries"].as_array().unwrap().iter().map(|entry| entry["event"].as_str().unwrap().to_owned()).collect()
    }

    /// Every target has moved, and the credential is `draining`.
    async fn assert_moved(&self, generation: u64) -> Value {
        let (status, now) = self.one(&["status"]).await;
        assert_eq!((status, &now["phase"], &now["generation"]), (0, &"draining".into(), &generation.into()), "{now:#}");
        self.assert_all_hold(now["secret_id"].as_str().unwrap());
        now
    }
}

fn count(events: &[String], event: &str) -> usize {
    events.iter().filter(|told| *told == event).count()
}

#[tokio::test(start_paused = true)]
async fn a_wave_is_written_by_many_workers_and_ended_by_the_last() {
    let bench = many();
    let belt = Belt::new(&bench);
    bench.tick(&belt).await;
    let slices = belt.waiting("slice");
    assert!(slices.len() > 2, "{slices:?}");
    let before = bench.events().await;
    for text in &slices[1..] {
        bench.deliver(&belt, text).await;
    }
    assert_eq!(bench.events().await, before, "workers write no entry, however many targets they have");
    bench.deliver(&belt, &slices[0]).await;
    let events = bench.events().await;
    assert_eq!((count(&events, "wave-started"), count(&events, "wave-ended")), (count(&before, "wave-started"), count(&before, "wave-started")));
    bench.assert_moved(1).await;
}
