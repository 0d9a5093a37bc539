//! A rotation in the functions of a platform: invocations that end at a known time, and messages that go on with what they
//! left.

use std::sync::Arc;
use std::time::Duration;

use lakekey_core::work::Worked;
use lakekey_sim::Fleet;

use crate::belt::Belt;
use crate::support::{Bench, InProcess};

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
