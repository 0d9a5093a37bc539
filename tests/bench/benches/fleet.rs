//! `cargo bench --bench fleet`: how lakekey behaves at the size of a large customer, each figure beside its floor.

use std::io::Write;
use std::time::Duration;

use lakekey_bench::{Customer, Measured};
use tokio::runtime::Builder;

fn main() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let latency = Duration::from_millis(150);
    let measured = Builder::new_current_thread().enable_all().start_paused(true).build()?.block_on(async {
        let customer = Customer::in_virtual_time(1_000, latency, Some(200))?;
        Measured::second_rotation(&customer, latency).await
    })?;
    writeln!(out, "x{:.2}\n{measured}", measured.ratio())?;
    Ok(())
}
