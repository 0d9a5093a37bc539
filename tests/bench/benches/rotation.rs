//! `cargo bench`: the second rotation of a credential with many data sources, beside the least time it could take.
//! `cargo bench -- TARGETS MS` measures another size.

use std::io::Write;
use std::time::Duration;

use lakekey_bench::{CONCURRENCY, Customer, Measured, RATIO_MAX};
use tokio::runtime::Builder;

fn main() -> anyhow::Result<()> {
    // Cargo adds flags of its own.
    let mut sizes = std::env::args().skip(1).filter_map(|word| word.parse().ok());
    let targets: usize = sizes.next().unwrap_or(TARGETS);
    let latency_ms: usize = sizes.next().unwrap_or(LATENCY_MS);
    let latency = Duration::from_millis(u64::try_from(latency_ms)?);
    let mut out = std::io::stdout().lock();

    writeln!(out, "{targets} data sources at {latency_ms} ms a request, at most {CONCURRENCY} at once, no limits")?;
    let measured = Builder::new_current_thread().enable_all().start_paused(true).build()?.block_on(async {
        let customer = Customer::in_virtual_time(targets, latency, None)?;
        Measured::second_rotation(&customer, latency).await
    })?;
    writeln!(out, "\nin virtual time, where only requests take any: x{:.2}\n{measured}", measured.ratio())?;

    let measured = Builder::new_current_thread().enable_all().build()?.block_on(async {
        let customer = Customer::over_sockets(targets, latency).await?;
        Measured::second_rotation(&customer, latency).await
    })?;
    writeln!(out, "over HTTP on loopback: x{:.2}\n{measured}", measured.ratio())?;
    let verdict = if measured.ratio() <= RATIO_MAX { "within" } else { "ABOVE" };
    writeln!(out, "x{:.2} is {verdict} the target of x{RATIO_MAX}", measured.ratio())?;
    Ok(())
}

const TARGETS: usize = 200;
const LATENCY_MS: usize = 50;
