//! Whole rotations, as a user sees them.

use lakekey_sim::Fleet;

use crate::support::{Bench, days, hours};

#[tokio::test(start_paused = true)]
async fn two_rotations_move_every_target_and_retire_the_first_generation_after_grace() {
    let bench = Bench::new(&Fleet::medium(1));

    let (status, first) = bench.one(&["rotate"]).await;
    assert_eq!((status, first["outcome"].as_str()), (0, Some("rotated")), "{first:#}");
    let generation_1 = first["secret_id"].as_str().unwrap().to_owned();
    bench.assert_all_hold(&generation_1);

    let (status, again) = bench.one(&["rotate"]).await;
    assert_eq!(
        (status, again["outcome"].as_str(), again["phase"].as_str()),
        (0, Some("unchanged"), Some("draining")),
        "{again:#}"
    );

    bench.pass(days(7));
    let (status, second) = bench.one(&["rotate"]).await;
    assert_eq!(
        (status, second["outcome"].as_str(), second["phase"].as_str()),
        (0, Some("rotated"), Some("draining")),
        "{second:#}"
    );
    let generation_2 = second["secret_id"].as_str().unwrap().to_owned();
    bench.assert_all_hold(&generation_2);
    assert!(bench.living().contains(&generation_1), "the first generation lives until grace has passed");

    bench.pass(hours(23));
    bench.one(&["rotate"]).await;
    assert!(bench.living().contains(&generation_1), "grace has not passed");

    bench.pass(hours(2));
    let (status, third) = bench.one(&["rotate"]).await;
    assert_eq!((status, third["retired"][0].as_str()), (0, Some(generation_1.as_str())), "{third:#}");
    assert_eq!(third["phase"].as_str(), Some("idle"));
    assert!(!bench.living().contains(&generation_1));
    bench.assert_all_hold(&generation_2);
    assert_eq!(bench.cloud.leaks(), Vec::<String>::new());
}
