//! State and stores in the clouds: whole rotations over the real parts, and what happens where these refuse or are out of reach.

pub mod aws;
mod azure;

use futures::TryStreamExt;
use lakekey_core::storage::Storage;
use lakekey_sim::Fleet;
use object_store::ObjectStoreExt;

use crate::crashes::{Life, Resume, live_of};
use crate::fuse::Cut;
use crate::support::Bench;

/// A cloud source of lakekey's own, one to take over, one on a gateway; two foreign secrets.
fn customer() -> Bench {
    Bench::new(&Fleet { foreign_secrets: 1, ..Fleet::new(3, 7) })
}

/// Two rotations and a retirement, cut off at so many places of each kind; each life has places of its own.
async fn survives_crashes(cuts: usize, new: impl AsyncFn() -> Bench) {
    let whole = live_of(&new().await, Cut::Never, Resume::Later).await;
    assert!(!whole.crashed && whole.requests > 200, "{}", whole.requests);
    let mut crashes = 0;
    let kinds: [fn(usize) -> Cut; 3] = [Cut::BeforeSend, Cut::BeforeAnswer, Cut::AfterAnswer];
    for (kind, cut) in kinds.into_iter().enumerate() {
        // Each kind begins elsewhere, so that between them they come to more places.
        let step = whole.requests / cuts;
        for point in (0..cuts).map(|number| number * step + kind * step / 3) {
            let bench = new().await;
            let Life { crashed, .. } = live_of(&bench, cut(point), Resume::Later).await;
            assert!(crashed, "request {point} was never sent");
            assert_state_is_discreet(&bench).await;
            crashes += 1;
        }
    }
    assert_eq!(crashes, 3 * cuts);
}

/// No object of the state holds a value that was ever minted, and each is as it was first written.
async fn assert_state_is_discreet(bench: &Bench) {
    let (config, places) = bench.places();
    let state = places.view_state(&config.state.location).await.unwrap();
    let objects: Vec<_> = state.list(None).try_collect().await.unwrap();
    assert!(objects.len() > 10, "{objects:?}");
    for object in objects {
        let bytes = state.get(&object.location).await.unwrap().bytes().await.unwrap();
        for (id, value) in bench.cloud.minted_values() {
            assert!(!bytes.windows(value.len()).any(|part| part == value.as_bytes()), "{} holds {id}", object.location);
        }
    }
}
