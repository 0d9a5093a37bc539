//! `cargo simulate -- --seeds N [--seed S] [--minutes M]`, `--matrix`, `--rate`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use lakekey_core::clock::Clock;
use lakekey_simulate::broken::Variant;
use lakekey_simulate::broken::shown::table;
use lakekey_simulate::counts::Counts;
use lakekey_simulate::matrix::{self, Cell};
use lakekey_simulate::plan::Plan;
use lakekey_simulate::process::Crash;
use lakekey_simulate::shrink::shrink;
use lakekey_simulate::swarm::{Asked, Came, Told, swarm};
use lakekey_simulate::{course, crew, rate};
use mimalloc::MiMalloc;
use serde_json::{Value, json};

/// A fifth of a seed's time is small allocations.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Simulates lakekey against a simulated cloud and checks its guarantees after every effect
#[derive(Parser, Debug)]
#[command(name = "cargo simulate")]
struct Args {
    /// How many seeds; 1,000 unless --seed names one
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed; alone, the only one
    #[arg(long)]
    seed: Option<u64>,
    /// Stop after so many minutes
    #[arg(long)]
    minutes: Option<u64>,
    /// Threads; one for each core by default
    #[arg(long)]
    threads: Option<usize>,
    /// Print the plan and the trace of the one seed
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Go on after a seed that fails, and list all that did
    #[arg(long)]
    keep_going: bool,
    /// Run with this deliberate defect, to see that it is noticed; `docs/guarantees.md` lists them
    #[arg(long)]
    broken: Option<String>,
    /// Run the narrower plans that seeds had once: those that the table of deliberate defects names
    #[arg(long)]
    narrow: bool,
    /// Run the whole crash matrix instead of seeds
    #[arg(long, conflicts_with_all = ["seed", "seeds", "minutes"])]
    matrix: bool,
    /// Print the table of deliberate defects
    #[arg(long)]
    table: bool,
    /// Measure rotations a second instead of running seeds
    #[arg(long, conflicts_with_all = ["seed", "seeds", "minutes", "matrix"])]
    rate: bool,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    // `cargo simulate -- --seed 5` arrives as `-- --seed 5`.
    let arguments = std::env::args_os().enumerate().filter(|(at, argument)| *at != 1 || argument != "--");
    let args = Args::parse_from(arguments.map(|(_, argument)| argument));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.unwrap_or(cores);
    if args.matrix {
        return whole_matrix(threads);
    }
    if args.table {
        std::io::stdout().write_all(table()?.as_bytes()).context("stdout is closed")?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.rate {
        return measured_rate(threads);
    }
    let variant = match &args.broken {
        Some(name) => Some(Variant::named(name).with_context(|| format!("no deliberate defect is called `{name}`"))?),
        None => None,
    };
    let first = args.seed.unwrap_or_default();
    let plan: fn(u64) -> Plan = if args.narrow { Plan::narrow } else { Plan::of };
    if args.trace {
        return trace(&plan(first), variant);
    }
    let asked = Asked {
        first,
        seeds: args.seeds.unwrap_or_else(|| if args.seed.is_some() { 1 } else { SEEDS_DEFAULT }),
        time: args.minutes.map(|minutes| Duration::from_secs(minutes * 60)),
        threads,
        keep_going: args.keep_going,
        variant,
        plan,
    };
    let came = swarm(&asked, &|told| match told {
        Told::Progress(counts, took) => progress(counts, took),
        Told::Failed(seed, violation) => say(&format!("seed {seed} FAILED: {violation}")),
    });
    let summary = if args.json { format!("{}\n", json(&came)) } else { text(&came) };
    std::io::stdout().write_all(summary.as_bytes()).context("stdout is closed")?;
    if let Some(error) = &came.error {
        say(error);
        return Ok(ExitCode::FAILURE);
    }
    let Some((seed, violation)) = came.failed.first() else { return Ok(ExitCode::SUCCESS) };
    say(&format!("seed {seed} FAILED: {violation}\nlooking for the shortest plan that fails so …"));
    let (plan, runs) = shrink(&(asked.plan)(*seed), violation.guarantee, variant);
    let went = course::run(&plan, variant, true)?;
    let mut report = went.trace.join("\n");
    report.push_str(&format!("\n\n{}\n", plan.describe()));
    let narrow = if args.narrow { "--narrow " } else { "" };
    let still = went.violation.map(|violation| violation.to_string()).unwrap_or_default();
    report.push_str(&format!(
        "after {runs} smaller plans: {still}\nthe whole seed again: cargo simulate -- {narrow}--seed {seed} --trace\n"
    ));
    std::io::stderr().write_all(report.as_bytes()).context("stderr is closed")?;
    Ok(ExitCode::FAILURE)
}

const SEEDS_DEFAULT: u64 = 1_000;

/// Every crash of a rotation and of a retirement, and every pair of crashes for a small credential.
fn whole_matrix(threads: usize) -> anyhow::Result<ExitCode> {
    let clock = Clock::wall();
    let start = clock.now();
    let plan = matrix::plan(4, true);
    let cells = matrix::cells(&plan)?;
    say(&format!("{} crashes: each effect × each moment × who goes on × with and without a lock", cells.len()));
    let singles = crew::each(&cells, threads, |cell| matrix::run(&plan, *cell).map(|came| (*cell, came)), failed);
    let mut came: Vec<(Cell, matrix::Came)> = singles.into_iter().collect::<anyhow::Result<_>>()?;
    let singles = came.len();
    let small = matrix::small_plan();
    let first: Vec<(Crash, bool)> = matrix::first_crashes(&small)?;
    say(&format!("every pair of crashes: {} first ones, each followed by every second one", first.len()));
    let pairs = crew::each(
        &first,
        threads,
        |(crash, locked)| {
            let mut pairs = Vec::new();
            matrix::pairs(&small, *locked, *crash, |cell, came| pairs.push((cell, came)))?;
            Ok(pairs)
        },
        |pairs: &anyhow::Result<Vec<(Cell, matrix::Came)>>| {
            pairs.as_ref().is_ok_and(|pairs| pairs.iter().any(|(_, came)| came.violation.is_some()))
        },
    );
    for pairs in pairs {
        came.extend(pairs?);
    }
    let seconds = clock.now().duration_since(start).as_secs_f64();
    let mut counts = Counts::default();
    came.iter().for_each(|(_, came)| counts.add(&came.counts));
    let unreached = came.iter().filter(|(_, came)| !came.died).count();
    let broken: Vec<&(Cell, matrix::Came)> = came.iter().filter(|(_, came)| came.violation.is_some()).collect();
    let mut text = format!(
        "crashes               {singles}\npairs of crashes      {}\nrotations             {}\nruns                  {}\ninvariants checked    {}\ntook                  {seconds:.1} s\n",
        came.len() - singles,
        counts.rotations,
        counts.runs,
        counts.checks.values().sum::<u64>(),
    );
    for (cell, came) in &broken {
        text.push_str(&format!(
            "FAILED                {cell:?}: {}\n",
            came.violation.as_ref().map(ToString::to_string).unwrap_or_default()
        ));
    }
    if unreached > 0 {
        text.push_str(&format!("FAILED                {unreached} crashes were never reached\n"));
    }
    std::io::stdout().write_all(text.as_bytes()).context("stdout is closed")?;
    Ok(if broken.is_empty() && unreached == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn failed(came: &anyhow::Result<(Cell, matrix::Came)>) -> bool {
    came.as_ref().is_ok_and(|(_, came)| came.violation.is_some())
}

/// Rotations a second, with five data sources in the cloud, and with some of them on gateways whose credentials are sealed
/// and opened again.
fn measured_rate(threads: usize) -> anyhow::Result<ExitCode> {
    let clock = Clock::wall();
    let mut text = String::new();
    for (gateways, name) in [(false, "cloud only"), (true, "with gateways")] {
        let start = clock.now();
        let customers: Vec<u64> = (0..RATE_CUSTOMERS).collect();
        let came = crew::each(&customers, threads, |seed| rate::rotations(*seed, gateways), anyhow::Result::is_err);
        let rotations: u64 = came.into_iter().sum::<anyhow::Result<u64>>()?;
        let took = clock.now().duration_since(start).as_secs_f64();
        let a_second = rotations as f64 / took.max(0.001);
        text.push_str(&format!(
            "{name:<22}{rotations} rotations of 5 targets in {took:.1} s: {a_second:.0} a second on {threads} threads\n"
        ));
    }
    std::io::stdout().write_all(text.as_bytes()).context("stdout is closed")?;
    Ok(ExitCode::SUCCESS)
}

/// Customers whose rotations are measured.
const RATE_CUSTOMERS: u64 = 400;

fn trace(plan: &Plan, variant: Option<Variant>) -> anyhow::Result<ExitCode> {
    let went = course::run(plan, variant, true)?;
    let mut report = went.trace.join("\n");
    report.push_str(&format!("\n\n{}", plan.describe()));
    let failed = went.violation.is_some();
    report.push_str(&went.violation.map_or_else(|| "every guarantee held".to_owned(), |violation| violation.to_string()));
    report.push('\n');
    std::io::stdout().write_all(report.as_bytes()).context("stdout is closed")?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn progress(counts: &Counts, took: Duration) {
    say(&format!(
        "{} seeds, {} rotations, {} crashes in {} s: {:.0} rotations/s",
        counts.seeds,
        counts.rotations,
        counts.crashes,
        took.as_secs(),
        rate(counts.rotations, took)
    ));
}

/// Progress is for people to see; when nobody can, the work goes on.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "simulate: {text}");
}

fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(0.001)
}

fn text(came: &Came) -> String {
    use std::fmt::Write;
    let counts = &came.counts;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<28}{value}");
    };
    line("seeds", counts.seeds.to_string());
    line("rotations", format!("{} ({:.0} a second)", counts.rotations, rate(counts.rotations, came.took)));
    line("runs", counts.runs.to_string());
    line("effects", counts.effects.to_string());
    line("crashes", counts.crashes.to_string());
    line("freezes", counts.freezes.to_string());
    line("deeds of people", counts.acts.to_string());
    line("secrets made", counts.minted.to_string());
    line("secrets deleted", counts.deleted.to_string());
    line("lines logged", counts.log_lines.to_string());
    line("messages", counts.messages.to_string());
    line("waves sent out", counts.sent_out.to_string());
    line("virtual days", (counts.virtual_s / 86_400).to_string());
    line("took", format!("{:.1} s", came.took.as_secs_f64()));
    line("invariants checked", counts.checks.values().sum::<u64>().to_string());
    for (guarantee, count) in &counts.checks {
        line(&format!("  {guarantee}"), count.to_string());
    }
    line("faults", counts.faults.values().sum::<u64>().to_string());
    for (kind, count) in &counts.faults {
        line(&format!("  {kind}"), count.to_string());
    }
    for (seed, violation) in &came.failed {
        line("FAILED", format!("seed {seed}: {violation}"));
    }
    line("result", if came.failed.is_empty() { "clean".to_owned() } else { format!("{} seeds failed", came.failed.len()) });
    text
}

fn json(came: &Came) -> Value {
    let counts = &came.counts;
    json!({
        "seeds": counts.seeds,
        "rotations": counts.rotations,
        "rotations_per_second": rate(counts.rotations, came.took),
        "runs": counts.runs,
        "effects": counts.effects,
        "crashes": counts.crashes,
        "freezes": counts.freezes,
        "acts": counts.acts,
        "minted": counts.minted,
        "deleted": counts.deleted,
        "log_lines": counts.log_lines,
        "messages": counts.messages,
        "waves_sent_out": counts.sent_out,
        "virtual_seconds": counts.virtual_s,
        "seconds": came.took.as_secs_f64(),
        "checks": counts.checks,
        "faults": counts.faults,
        "failed": came.failed.iter().map(|(seed, violation)| json!({
            "seed": seed, "guarantee": violation.guarantee, "at": violation.at, "what": violation.what,
        })).collect::<Vec<_>>(),
    })
}
