//! How fast the simulation is: rotations of a five-target credential, with nothing going wrong.

use std::time::Duration;

use jiff::SignedDuration;

use crate::course::in_paused_time;
use crate::invoke::{Start, invoke};
use crate::plan::{Ask, Plan};
use crate::process::sleep;
use crate::setup;

/// Rotations of one customer: the first, and some forced ones with their drains.
pub fn rotations(seed: u64, gateways: bool) -> anyhow::Result<u64> {
    in_paused_time(async {
        let plan = Plan::calm(seed, TARGETS, gateways);
        let stage = setup::stage(&plan, None, false)?;
        drop(invoke(&stage, Start::plain("runner", Ask::Rotate)).await);
        for _ in 1..ROTATIONS {
            let grace = SignedDuration::from_secs(i64::try_from(plan.config.grace).unwrap_or_default());
            sleep(grace.unsigned_abs() + Duration::from_secs(600)).await;
            drop(invoke(&stage, Start::plain("runner", Ask::Force)).await);
        }
        let watch = stage.universe.watch();
        if let Some(violation) = &watch.violation {
            anyhow::bail!("{violation}");
        }
        Ok(watch.counts.rotations)
    })
}

const TARGETS: usize = 5;
/// Rotations of one customer.
const ROTATIONS: u32 = 5;
