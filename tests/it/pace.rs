//! How fast a rotation is, in virtual time: only requests take any there, so the figures are the same on every machine.

use std::time::Duration;

use lakekey_bench::{Customer, Measured, RATIO_MAX};

const LATENCY: Duration = Duration::from_millis(50);

#[tokio::test(start_paused = true)]
async fn a_rotation_of_200_data_sources_stays_close_to_what_its_requests_need() {
    let customer = Customer::in_virtual_time(200, LATENCY, None).unwrap();
    let measured = Measured::second_rotation(&customer, LATENCY).await.unwrap();
    assert_eq!(measured.targets, 200);
    assert!(measured.ratio() <= RATIO_MAX, "x{:.2}\n{measured}", measured.ratio());
    for phase in &measured.floor.phases {
        assert!(phase.seconds <= phase.floor_seconds * RATIO_MAX, "{}\n{measured}", phase.name);
    }
    // One for each client and audience, however many requests they sign; the principal's own proves its new secret.
    assert!(measured.tokens.values().all(|&count| count == 1), "{measured}");
}
