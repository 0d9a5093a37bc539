//! `cargo bench --bench fleet`: how lakekey behaves at the size of a large customer, each figure beside its floor or bound.
//! `cargo bench --bench fleet -- PART…` prints some of them: `limits`, `memory`, `many`, `restart`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use lakekey_bench::{Customer, Measured, Process, be_lakekey_if_asked};
use lakekey_sim::Seen;
use tokio::runtime::Builder;

fn main() -> anyhow::Result<ExitCode> {
    if let Some(status) = be_lakekey_if_asked()? {
        return Ok(status);
    }
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let asked = |part: &str| words.is_empty() || words.iter().any(|word| word == part);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    if asked("limits") {
        under_limits()?;
    }
    if asked("memory") {
        runtime.block_on(in_a_process())?;
    }
    if asked("many") {
        runtime.block_on(many_credentials())?;
    }
    if asked("restart") {
        runtime.block_on(after_a_kill())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// When a run is killed: as soon as the cloud has seen so many requests, or the journal has so many entries.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Request(usize),
    Entry(usize),
}

impl Moment {
    fn has_come(self, customer: &Customer) -> bool {
        match self {
            Self::Request(count) => customer.cloud.requests().len() >= count,
            Self::Entry(count) => customer.files_below("state/journal").len() >= count,
        }
    }
}

/// SIGKILL in the middle of a rotation, at every request and after every entry of the journal, and a start anew with a state
/// on this disk.
async fn after_a_kill() -> anyhow::Result<()> {
    let undisturbed = Customer::in_a_process(3, LATENCY).await?;
    undisturbed.start(&ROTATE)?.finish()?;
    let (requests, entries) = (undisturbed.cloud.requests().len(), undisturbed.files_below("state/journal").len());
    let moments = (1..requests).map(Moment::Request).chain((1..entries).map(Moment::Entry));
    let mut seen = Restarts::default();
    for moment in moments {
        seen.add(moment).await?;
    }
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "killed {} times on its way through {requests} requests and {entries} entries, and started anew, with a `file:` state",
        seen.tries
    )?;
    writeln!(out, "  the first useful request {:.2} s after the restart (at most 1)", seen.slowest)?;
    writeln!(out, "  {:>3} minted again although the value was in the store (at most 0)", seen.minted_twice)?;
    writeln!(out, "  {:>3} had lost the answer to their create, and made another secret", seen.lost)?;
    writeln!(out, "  {:>3} were not finished by the next run (at most 0)\n", seen.unfinished)?;
    Ok(())
}

#[derive(Default)]
struct Restarts {
    tries: u32,
    /// In seconds.
    slowest: f64,
    minted_twice: u32,
    lost: u32,
    unfinished: u32,
}

impl Restarts {
    async fn add(&mut self, moment: Moment) -> anyhow::Result<()> {
        let customer = Customer::in_a_process(3, LATENCY).await?;
        let run = customer.start(&ROTATE)?;
        while !moment.has_come(&customer) {
            customer.clock.sleep(SHORT).await;
        }
        run.kill()?;
        let kept_the_value = !customer.files_below("store").is_empty();
        let (seen, begun) = (customer.cloud.requests().len(), customer.clock.now());
        let run = customer.start(&["rotate", "--output", "json"])?;
        // A sign-in is for the sake of what follows it.
        let is_useful = |seen: &Seen| seen.service != "entra" && !seen.path.ends_with("/token");
        while !customer.cloud.requests().iter().skip(seen).any(is_useful) {
            anyhow::ensure!(seconds(begun, &customer) < GIVE_UP, "killed at {moment:?}: no useful request in {GIVE_UP} s");
            customer.clock.sleep(SHORT).await;
        }
        self.slowest = self.slowest.max(seconds(begun, &customer));
        self.unfinished += u32::from(run.finish().is_err());
        let is_mint = |seen: &&Seen| seen.method == "POST" && seen.path.ends_with("/credentials/secrets");
        if customer.cloud.requests().iter().filter(is_mint).count() > 1 {
            let counted = if kept_the_value { &mut self.minted_twice } else { &mut self.lost };
            *counted += 1;
        }
        self.tries += 1;
        Ok(())
    }
}

fn seconds(since: Timestamp, customer: &Customer) -> f64 {
    customer.clock.now().duration_since(since).as_secs_f64()
}

/// A plan of 1,000 credentials, over HTTP on loopback without latency.
async fn many_credentials() -> anyhow::Result<()> {
    let customer = Customer::large(1_000, 1).await?;
    customer.split(1_000)?;
    let (before, files, begun) = (customer.cloud.requests().len(), customer.files_below(""), customer.clock.now());
    let planned = customer.run(&["plan"]).await?;
    let seconds = customer.clock.now().duration_since(begun).as_secs_f64();
    let plans = planned["credentials"].as_array().map(Vec::as_slice).unwrap_or_default();
    let clean = plans.iter().filter(|plan| plan["problems"] == serde_json::json!([]) && plan["due"] == true).count();
    let requests = customer.cloud.requests().split_off(before);
    let wrote = requests.iter().filter(|seen| seen.method != "GET" && !seen.path.ends_with("/token")).count();
    let changed = customer.files_below("") != files;
    let mut out = std::io::stdout().lock();
    writeln!(out, "a plan of {} credentials, {clean} of them due and without a problem, over HTTP on loopback", plans.len())?;
    writeln!(out, "  {seconds:.1} s (at most 2), {} requests", requests.len())?;
    writeln!(
        out,
        "  {wrote} of them write (at most 0), files {}\n",
        if changed { "have changed, which they must not" } else { "are as before" }
    )?;
    Ok(())
}

/// 1,000 data sources where the services answer 200 requests a minute.
fn under_limits() -> anyhow::Result<()> {
    let latency = Duration::from_millis(150);
    let measured = Builder::new_current_thread().enable_all().start_paused(true).build()?.block_on(async {
        let customer = Customer::in_virtual_time(1_000, latency, Some(PER_MINUTE))?;
        Measured::second_rotation(&customer, latency).await
    })?;
    let floor = measured.limits.floor_seconds(PER_MINUTE).max(measured.floor.seconds());
    let mut out = std::io::stdout().lock();
    writeln!(out, "1,000 data sources at 150 ms a request, {PER_MINUTE} requests a minute, in virtual time")?;
    for (service, limited) in &measured.limits.services {
        writeln!(out, "  {service:<34} {:>8} answered, {} told to wait", limited.answered, limited.refused)?;
    }
    writeln!(out, "  {:<34} {:>8}", "sent although told to wait", measured.limits.inside_retry_after)?;
    let ratio = measured.seconds / floor;
    writeln!(out, "  {:.0} s, at least {floor:.0} s: x{ratio:.2} (at most x1.15)\n", measured.seconds)?;
    Ok(())
}

/// The second rotation of two sizes, each in a process of its own, over HTTP on loopback.
async fn in_a_process() -> anyhow::Result<()> {
    let (small, large) = (second_rotation(1_000).await?, second_rotation(10_000).await?);
    let mut out = std::io::stdout().lock();
    writeln!(out, "the second rotation in a process of its own, over HTTP on loopback, 5 datasets a data source")?;
    for (targets, (process, seconds)) in [(1_000, &small), (10_000, &large)] {
        writeln!(out, "  {targets:>6} data sources {seconds:>9.2} s {:>9.1} MiB at most", process.peak_mib)?;
    }
    let (time, memory) = (large.1 / small.1, large.0.peak_mib / small.0.peak_mib);
    writeln!(out, "  1,000 of them: {:.1} MiB (at most 64)", small.0.peak_mib)?;
    writeln!(out, "  ten times as many: x{time:.1} the time (at most x10.5), x{memory:.2} the memory (at most x2)\n")?;
    Ok(())
}

async fn second_rotation(targets: usize) -> anyhow::Result<(Process, f64)> {
    let customer = Customer::large(targets, 5).await?;
    customer.start(&ROTATE)?.finish()?;
    let begun = customer.clock.now();
    let process = customer.start(&ROTATE)?.finish()?;
    let seconds = customer.clock.now().duration_since(begun).as_secs_f64();
    anyhow::ensure!(process.answer["credentials"][0]["outcome"] == "rotated", "it was not rotated: {}", process.answer);
    Ok((process, seconds))
}

const ROTATE: [&str; 4] = ["rotate", "--force", "--output", "json"];
const PER_MINUTE: u32 = 200;
/// Long enough that a kill can be aimed at a request.
const LATENCY: Duration = Duration::from_millis(3);
const SHORT: Duration = Duration::from_micros(200);
/// In seconds.
const GIVE_UP: f64 = 30.0;
