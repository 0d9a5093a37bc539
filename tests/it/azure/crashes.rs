//! SIGKILL in every phase of a rotation: the host starts the handler anew, and the next tick after the dead one's lease finishes.

use std::time::Duration;

use futures::future::join_all;
use lakekey_bench::Deployed;
use lakekey_core::clock::Clock;
use lakekey_sim::{Fleet, Seen};

use super::{Checks, deployed, tick};

/// After which request of a rotation the handler is killed.
struct Point {
    phase: &'static str,
    is: fn(&Seen) -> bool,
    /// The how manieth.
    nth: usize,
}

const POINTS: [Point; 6] = [
    Point { phase: "planning", is: |seen| seen.service == "powerbi", nth: 3 },
    Point { phase: "minting", is: is_mint, nth: 1 },
    Point { phase: "verifying", is: |seen| seen.path.contains("/sql/statements"), nth: 1 },
    Point { phase: "applying, at the beginning", is: is_move, nth: 1 },
    Point { phase: "applying, in the middle", is: is_move, nth: 8 },
    Point { phase: "applying, at the end", is: is_move, nth: 14 },
];

fn is_mint(seen: &Seen) -> bool {
    seen.method == "POST" && seen.path.ends_with("/credentials/secrets")
}

fn is_move(seen: &Seen) -> bool {
    seen.method == "PATCH" && seen.path.contains("/datasources/")
}

#[tokio::test]
async fn a_handler_that_is_killed_in_any_phase_leaves_a_rotation_that_the_next_one_finishes() {
    join_all(POINTS.iter().enumerate().map(|(at, point)| killed_at(u64::try_from(at).unwrap(), point))).await;
}

async fn killed_at(seed: u64, point: &Point) {
    let deployed = deployed(&Fleet { hard_cases: false, ..Fleet::new(20, 40 + seed) }, Duration::from_millis(20)).await;
    let mut host = deployed.start().await.unwrap();
    let clock = Clock::wall();
    {
        let tick = tick();
        let strike = async {
            for _ in 0..STRIKE_TRIES {
                if deployed.served.cloud.requests().iter().filter(|seen| (point.is)(seen)).count() >= point.nth {
                    return;
                }
                clock.sleep(Duration::from_millis(5)).await;
            }
            panic!("{}: there was no such request", point.phase);
        };
        tokio::select! {
            invocation = host.invoke("schedule", &tick) => panic!("{}: it ended before: {invocation:?}", point.phase),
            () = strike => {}
        }
    }
    host.restart().await.unwrap();
    assert_no_outage(&deployed, point.phase);
    // The lease and the skew of the dead.
    clock.sleep(Duration::from_secs(32)).await;
    for _ in 0..TICKS_MAX {
        let invocation = host.invoke("schedule", &tick()).await;
        deployed.work_off(&host).await.unwrap();
        assert_no_outage(&deployed, point.phase);
        match invocation.result.as_ref().is_ok_and(|said| said[0].contains(": rotated") || said[0].contains(": unchanged")) {
            true => break,
            // A write of the dead may still land somewhere.
            false => clock.sleep(Duration::from_secs(5)).await,
        }
    }
    deployed.assert_moved();
    assert_eq!(deployed.living().len(), 1, "{}: a secret was lost or left", point.phase);
    deployed.assert_discreet(&host);
}

fn assert_no_outage(deployed: &Deployed, phase: &str) {
    for source in deployed.served.cloud.sources().into_iter().filter(|source| source.target) {
        assert!(source.connects, "{phase}: {source:?}");
    }
}

const STRIKE_TRIES: usize = 6_000;
const TICKS_MAX: usize = 12;
